/* SPDX-License-Identifier: ISC */
/*
 * Frames of data links: cut at any byte, too long, malformed; requests there and back.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "syncd/pack.h"
#include "syncd/wire.h"

static const struct slice none = {NULL, 0};

static void
test_frames_in_pieces(void **state)
{
	struct change out;
	struct slice body;
	uint8_t type;
	size_t used;

	(void)state;
	change_init(&out);
	assert_int_equal(
	    wire_put(&out, WIRE_PROBE, (struct slice){(const uint8_t *)"12345678", 8}, none), 0);
	assert_int_equal(out.len, WIRE_HEADER + 8);
	for (size_t n = 0; n < out.len; n++) {
		assert_int_equal(wire_next(out.data, n, 100, &type, &body, &used), 0);
		assert_int_equal(used, n < WIRE_HEADER ? 0 : out.len);
	}
	assert_int_equal(wire_next(out.data, out.len, 100, &type, &body, &used), 1);
	assert_int_equal(type, WIRE_PROBE);
	assert_int_equal(body.len, 8);
	assert_memory_equal(body.data, "12345678", 8);
	change_free(&out);
}

/* Refused at the header, before anything is kept for it. */
static void
test_bad_frames(void **state)
{
	static const uint8_t empty[] = {0, 0, 0, 0, WIRE_BEAT};
	static const uint8_t empty_change[] = {0, 0, 0, 0, WIRE_CHANGE};
	static const uint8_t no_type[] = {1, 0, 0, 0, 0};
	static const uint8_t unknown[] = {1, 0, 0, 0, WIRE_TYPE_MAX};
	static const uint8_t too_long[] = {0xff, 0xff, 0xff, 0x7f, WIRE_CHANGE};
	static const uint8_t long_control[] = {2, 4, 0, 0, WIRE_OFFER};
	static const uint8_t longest_control[] = {1, 4, 0, 0, WIRE_OFFER};
	struct slice body;
	uint8_t type;
	size_t used;

	(void)state;
	assert_int_equal(wire_next(empty, 5, 4096, &type, &body, &used), -1);
	assert_int_equal(wire_next(empty_change, 5, 4096, &type, &body, &used), -1);
	assert_int_equal(wire_next(no_type, 5, 4096, &type, &body, &used), -1);
	assert_int_equal(wire_next(unknown, 5, 4096, &type, &body, &used), -1);
	assert_int_equal(wire_next(too_long, 5, 4096, &type, &body, &used), -1);
	assert_int_equal(used, 0x7fffffff + (size_t)4); /* for the log */
	assert_int_equal(wire_next(long_control, 5, 4096, &type, &body, &used), -1);
	assert_int_equal(wire_next(longest_control, 5, 4096, &type, &body, &used), 0);
}

/* The longest request in the encoding of RESP is no longer as a change or as a frame. */
static void
test_bounds(void **state)
{
	(void)state;
	assert_int_equal(wire_request_max(1024), 64 << 20);
	assert_int_equal(wire_request_max(32 << 20), 64 << 20);
	assert_int_equal(wire_request_max(512 << 20), 1 << 30);
	assert_true(wire_change_max(1024) >= wire_request_max(1024) + (size_t)WIRE_ARGS_MAX * 11);
	assert_true(
	    wire_frame_max(1024) >= wire_change_max(1024) + STORE_CURSOR_MAX + WIRE_POSITION);
	assert_true(wire_frame_max(512 << 20) < LOG_BODY_MAX);
}

/* Every body decodes from exactly its bytes, and from no other number of them. */
static void
test_exact_lengths(void **state)
{
	struct wire_offer offer = {.epoch = 3, .end = {3, 10, 77}, .start = {1, 2, 66}}, offer_back;
	struct wire_have_body have = {.flags = HAVE_BLANK, .end = {1, 2, 3}}, have_back;
	struct store_cursor cursor = {.bytes = {9, 8, 7}, .len = 3}, cursor_back;
	uint8_t out[WIRE_CONTROL_MAX] = {0};
	size_t n;

	(void)state;
	n = wire_offer_encode(out, &offer);
	for (size_t k = 0; k <= n + 1; k++)
		assert_int_equal(
		    wire_offer_decode((struct slice){out, k}, &offer_back), k == n ? 0 : -1);
	assert_int_equal(wire_offer_decode((struct slice){out, n}, &offer_back), 0);
	assert_memory_equal(&offer, &offer_back, sizeof(offer));
	n = wire_have_encode(out, &have);
	for (size_t k = 0; k <= n + 1; k++)
		assert_int_equal(
		    wire_have_decode((struct slice){out, k}, &have_back), k == n ? 0 : -1);
	out[0] = HAVE_FLAGS + 1;
	assert_int_equal(wire_have_decode((struct slice){out, n}, &have_back), -1);
	n = wire_cursor_encode(out, &cursor);
	for (size_t k = 0; k <= n + 1; k++)
		assert_int_equal(
		    wire_cursor_decode((struct slice){out, k}, &cursor_back), k == n ? 0 : -1);
	n = sizeof(cursor.bytes) + 1; /* longer than a cursor can be, and all there */
	out[0] = (uint8_t)n;
	out[1] = (uint8_t)(n >> 8);
	assert_true(2 + n <= sizeof(out));
	assert_int_equal(wire_cursor_decode((struct slice){out, 2 + n}, &cursor_back), -1);
}

static void
test_packed(void **state)
{
	static const uint8_t body[] = {PACK_ZSTD, PACK_WINDOW_LOG, 0};
	uint8_t how, window_log;

	(void)state;
	for (size_t n = 0; n <= sizeof(body); n++)
		assert_int_equal(wire_packed_decode((struct slice){body, n}, &how, &window_log),
		    n == 2 ? 0 : -1);
	assert_int_equal(wire_packed_decode((struct slice){body, 2}, &how, &window_log), 0);
	assert_int_equal(how, PACK_ZSTD);
	assert_int_equal(window_log, PACK_WINDOW_LOG);
}

static void
test_ack(void **state)
{
	uint64_t applied, durable;
	uint8_t out[16];

	(void)state;
	wire_u64_encode(out, 7);
	wire_u64_encode(out + 8, 7);
	assert_int_equal(wire_ack_decode((struct slice){out, 16}, &applied, &durable), 0);
	wire_u64_encode(out + 8, 8); /* on disk, and not in the state */
	assert_int_equal(wire_ack_decode((struct slice){out, 16}, &applied, &durable), -1);
	assert_int_equal(wire_ack_decode((struct slice){out, 15}, &applied, &durable), -1);
}

/* A transaction of two commands with a watched key. */
static struct face_request
sample(void)
{
	static const struct slice words[] = {{(const uint8_t *)"SET", 3}, {(const uint8_t *)"k", 1},
	    {(const uint8_t *)"", 0}, {(const uint8_t *)"GET", 3}, {(const uint8_t *)"k", 1}};
	static const struct face_command commands[] = {{words, 3}, {words + 3, 2}};
	static const struct face_watched watched[] = {{{(const uint8_t *)"k", 1}, {1, 2, 3}}};

	return (struct face_request){.commands = commands,
	    .n_commands = 2,
	    .transaction = true,
	    .watched = watched,
	    .n_watched = 1,
	    .version = 2};
}

static void
test_request(void **state)
{
	struct face_request r = sample(), back;
	struct change out;
	struct slice body;
	uint64_t client;
	void *memory;
	uint8_t type;
	size_t used;

	(void)state;
	change_init(&out);
	assert_int_equal(wire_put_request(&out, 99, &r), 0);
	assert_int_equal(wire_next(out.data, out.len, 4096, &type, &body, &used), 1);
	assert_int_equal(type, WIRE_REQUEST);
	assert_int_equal(used, out.len);
	assert_int_equal(wire_request_decode(body, &client, &back, &memory), 0);
	assert_int_equal(client, 99);
	assert_true(back.transaction);
	assert_int_equal(back.n_commands, 2);
	assert_int_equal(back.commands[0].argc, 3);
	assert_int_equal(back.commands[0].argv[2].len, 0);
	assert_memory_equal(back.commands[1].argv[0].data, "GET", 3);
	assert_int_equal(back.n_watched, 1);
	assert_int_equal(back.watched[0].digest[2], 3);
	free(memory);
	for (size_t n = 0; n < body.len; n++) { /* cut anywhere: refused, and nothing is lost */
		assert_int_equal(
		    wire_request_decode((struct slice){body.data, n}, &client, &back, &memory), -1);
		free(memory);
	}
	change_free(&out);
}

/* The frame in out holds no request. Whether memory was asked for to see that. */
static bool
refused(const struct change *out)
{
	struct slice body = {out->data + WIRE_HEADER, out->len - WIRE_HEADER};
	struct face_request back;
	uint64_t client;
	void *memory;
	bool asked;

	assert_int_equal(wire_request_decode(body, &client, &back, &memory), -1);
	asked = memory != NULL;
	free(memory);
	return asked;
}

static void
assert_bad(struct change *out, const struct face_request *r)
{
	out->len = 0;
	assert_int_equal(wire_put_request(out, 1, r), 0);
	(void)refused(out);
}

/* What no standby sends. */
static void
test_bad_requests(void **state)
{
	static const struct face_command no_words = {NULL, 0};
	struct face_request r = sample();
	struct change out;

	(void)state;
	r.transaction = false; /* two commands and a watched key need one */
	change_init(&out);
	assert_bad(&out, &r);
	r = sample();
	r.version = 4;
	assert_bad(&out, &r);
	r = sample();
	r.n_commands = 0; /* a transaction of nothing */
	r.n_watched = 0;
	assert_bad(&out, &r);
	r = sample();
	r.n_commands = 1;
	r.commands = &no_words; /* a command of nothing */
	assert_bad(&out, &r);
	/* a count that no body can hold asks for no memory */
	memset(out.data + WIRE_HEADER + 10, 0xff, 4);
	assert_false(refused(&out));
	change_free(&out);
}

/* An action there and back, cut anywhere, and what no standby sends. */
static void
test_action(void **state)
{
	struct face_action a = {.name = {(const uint8_t *)"valve", 5},
	    .payload = {(const uint8_t *)"open\0", 5},
	    .left_ms = 5000,
	    .uid = 1000,
	    .pid = 4000000,
	    .version = 3};
	struct face_action back;
	struct change out;
	struct slice body;
	uint64_t client;
	uint8_t type;
	size_t used;

	(void)state;
	change_init(&out);
	assert_int_equal(wire_put_action(&out, 77, &a), 0);
	wire_action_left(&out, 12);
	assert_int_equal(wire_next(out.data, out.len, 4096, &type, &body, &used), 1);
	assert_int_equal(type, WIRE_ACTION);
	assert_int_equal(wire_action_decode(body, &client, &back), 0);
	assert_int_equal(client, 77);
	assert_int_equal(back.uid, 1000);
	assert_int_equal(back.pid, 4000000);
	assert_int_equal(back.left_ms, 12);
	assert_int_equal(back.version, 3);
	assert_memory_equal(back.name.data, "valve", 5);
	assert_int_equal(back.payload.len, 5);
	for (size_t n = 0; n < body.len - 5; n++)
		assert_int_equal(
		    wire_action_decode((struct slice){body.data, n}, &client, &back), -1);
	wire_action_left(&out, -5); /* over while it waited */
	assert_int_equal(wire_action_decode(body, &client, &back), 0);
	assert_int_equal(back.left_ms, 1);
	wire_action_left(&out, ACTION_MS_MAX + 1);
	assert_int_equal(wire_action_decode(body, &client, &back), -1);
	a.name = (struct slice){(const uint8_t *)"va lve", 6};
	out.len = 0;
	assert_int_equal(wire_put_action(&out, 1, &a), 0);
	assert_int_equal(
	    wire_action_decode(
		(struct slice){out.data + WIRE_HEADER, out.len - WIRE_HEADER}, &client, &back),
	    -1);
	a.name = (struct slice){(const uint8_t *)"valve", 5};
	a.version = 4;
	out.len = 0;
	assert_int_equal(wire_put_action(&out, 1, &a), 0);
	assert_int_equal(
	    wire_action_decode(
		(struct slice){out.data + WIRE_HEADER, out.len - WIRE_HEADER}, &client, &back),
	    -1);
	change_free(&out);
}

static void
test_action_names(void **state)
{
	char text[ACTION_NAME + 2];

	(void)state;
	assert_true(wire_name_ok((struct slice){(const uint8_t *)"azAZ09._:/@-", 12}));
	assert_false(wire_name_ok((struct slice){(const uint8_t *)"", 0}));
	memset(text, 'x', sizeof(text));
	assert_true(wire_name_ok((struct slice){(const uint8_t *)text, ACTION_NAME}));
	assert_false(wire_name_ok((struct slice){(const uint8_t *)text, ACTION_NAME + 1}));
	for (unsigned c = 0; c < 256; c++) {
		uint8_t one = (uint8_t)c;
		bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			    (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == ':' ||
			    c == '/' || c == '@' || c == '-';

		assert_int_equal(wire_name_ok((struct slice){&one, 1}), good);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_frames_in_pieces),
	    cmocka_unit_test(test_bad_frames),
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_exact_lengths),
	    cmocka_unit_test(test_packed),
	    cmocka_unit_test(test_ack),
	    cmocka_unit_test(test_request),
	    cmocka_unit_test(test_bad_requests),
	    cmocka_unit_test(test_action),
	    cmocka_unit_test(test_action_names),
	};

	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
