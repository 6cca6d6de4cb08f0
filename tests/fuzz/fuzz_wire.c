/* SPDX-License-Identifier: ISC */
/*
 * Frames of data links, from the outside: the stream is cut into frames, every body is decoded as
 * what its type says, and what decodes must encode to the same bytes again.
 */
#include "config.h"

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "syncd/wire.h"

/* The encoder gives back what was decoded. */
static void
same(struct slice body, const uint8_t *bytes, size_t n)
{
	if (n != body.len || (n > 0 && memcmp(bytes, body.data, n) != 0))
		abort();
}

static void
try_request(struct slice body)
{
	struct change again;
	struct face_request r;
	uint64_t client;
	void *memory;

	if (wire_request_decode(body, &client, &r, &memory) == 0) {
		if (r.n_commands < 1 || r.commands[0].argc < 1)
			abort();
		change_init(&again);
		if (wire_put_request(&again, client, &r) != 0)
			abort();
		same(body, again.data + WIRE_HEADER, again.len - WIRE_HEADER);
		change_free(&again);
	}
	free(memory);
}

static void
try_action(struct slice body)
{
	struct change again;
	struct face_action a;
	uint64_t client;

	if (wire_action_decode(body, &client, &a) != 0)
		return;
	change_init(&again);
	if (!wire_name_ok(a.name) || wire_put_action(&again, client, &a) != 0)
		abort();
	same(body, again.data + WIRE_HEADER, again.len - WIRE_HEADER);
	change_free(&again);
}

/* Operations of a change are looked at to the end by whoever applies them. */
static void
try_operations(struct slice body)
{
	struct change_op op;
	size_t pos = 0, steps = 0;

	while (change_next(body, &pos, &op) == 1) {
		if (pos > body.len || ++steps > body.len)
			abort();
	}
}

static void
try_sync(uint8_t type, struct slice body)
{
	uint8_t out[WIRE_CONTROL_MAX];
	struct wire_offer offer;
	struct wire_have_body have;
	struct wire_snapshot snapshot;
	struct store_cursor cursor;
	struct position p;
	struct slice rest;
	uint64_t a, b;
	uint8_t found, how, window_log;

	if (type == WIRE_OFFER && wire_offer_decode(body, &offer) == 0)
		same(body, out, wire_offer_encode(out, &offer));
	if (type == WIRE_HAVE && wire_have_decode(body, &have) == 0)
		same(body, out, wire_have_encode(out, &have));
	if (type == WIRE_SNAPSHOT && wire_snapshot_decode(body, &snapshot) == 0)
		same(body, out, wire_snapshot_encode(out, &snapshot));
	if (type == WIRE_FROM && wire_cursor_decode(body, &cursor) == 0)
		same(body, out, wire_cursor_encode(out, &cursor));
	if (type == WIRE_PROBE && wire_u64_decode(body, &a) == 0)
		same(body, out, wire_u64_encode(out, a));
	if ((type == WIRE_BEAT || type == WIRE_STREAM) && wire_position_decode(body, &p) == 0)
		same(body, out, wire_position_encode(out, &p));
	if (type == WIRE_FOUND && wire_found_decode(body, &found, &p) == 0 && found > 1)
		abort();
	if (type == WIRE_PACKED && wire_packed_decode(body, &how, &window_log) == 0)
		same(body, (const uint8_t[]){how, window_log}, 2);
	if (type == WIRE_ACK && wire_ack_decode(body, &a, &b) == 0 && b > a)
		abort();
	if (type == WIRE_ITEMS && wire_items_decode(body, &cursor, &rest) == 0) {
		if (cursor.len > STORE_CURSOR_MAX)
			abort();
		try_operations(rest);
	}
	if (type == WIRE_CHANGE && wire_change_decode(body, &p, &rest) == 0)
		try_operations(rest);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct position p;
	struct slice body, rest;
	size_t at = 0, used;
	uint64_t client;
	uint8_t type;
	int r;

	while ((r = wire_next(data + at, size - at, 4096, &type, &body, &used)) == 1) {
		if (used < WIRE_HEADER || used > size - at || body.len != used - WIRE_HEADER)
			abort();
		try_sync(type, body);
		if (type == WIRE_REQUEST)
			try_request(body);
		if (type == WIRE_ACTION)
			try_action(body);
		if (type == WIRE_ANSWER && wire_answer_decode(body, &client, &p, &rest) == 0 &&
		    rest.len > body.len)
			abort();
		if (type == WIRE_REFUSED)
			(void)wire_refused_decode(body, &client, &rest);
		at += used;
	}
	return 0;
}

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static const struct slice none = {NULL, 0};
	struct slice arguments[3] = {{(const uint8_t *)"set", 3}, {(const uint8_t *)"key", 3},
	    {(const uint8_t *)"value", 5}};
	struct face_command commands[2] = {{arguments, 3}, {arguments + 1, 1}};
	struct face_watched watched = {.key = arguments[1]};
	struct face_request r = {.commands = commands,
	    .n_commands = 2,
	    .transaction = true,
	    .watched = &watched,
	    .n_watched = 1,
	    .version = 3};
	struct change_op op = {.kind = CHANGE_SET, .key = arguments[1], .value = arguments[2]};
	struct wire_offer offer = {.epoch = 4, .end = {4, 9, 1}, .start = {1, 2, 3}};
	struct wire_have_body have = {.flags = HAVE_NOTHING, .end = {4, 8, 1}};
	struct wire_snapshot snapshot = {.at = {4, 9, 1}, .keys = 3};
	struct store_cursor cursor = {.bytes = {1, 2, 3}, .len = 3};
	struct face_action action = {.name = arguments[1],
	    .payload = arguments[2],
	    .left_ms = 5000,
	    .uid = 1000,
	    .pid = 99,
	    .version = 2};
	struct position p = {4, 9, 1};
	uint8_t body[WIRE_CONTROL_MAX];
	struct change frames, ops;
	size_t n;

	change_init(&frames);
	change_init(&ops);
	(void)change_append(&ops, &op);
	(void)wire_put(
	    &frames, WIRE_OFFER, (struct slice){body, wire_offer_encode(body, &offer)}, none);
	(void)wire_put(
	    &frames, WIRE_HAVE, (struct slice){body, wire_have_encode(body, &have)}, none);
	(void)wire_put(&frames, WIRE_SNAPSHOT,
	    (struct slice){body, wire_snapshot_encode(body, &snapshot)}, none);
	(void)wire_put(&frames, WIRE_ITEMS, (struct slice){body, wire_cursor_encode(body, &cursor)},
	    (struct slice){ops.data, ops.len});
	(void)wire_put(
	    &frames, WIRE_FROM, (struct slice){body, wire_cursor_encode(body, &cursor)}, none);
	(void)wire_put(&frames, WIRE_CHANGE, (struct slice){body, wire_position_encode(body, &p)},
	    (struct slice){ops.data, ops.len});
	(void)wire_put(
	    &frames, WIRE_BEAT, (struct slice){body, wire_position_encode(body, &p)}, none);
	(void)wire_put(&frames, WIRE_PROBE, (struct slice){body, wire_u64_encode(body, 7)}, none);
	(void)wire_put(&frames, WIRE_PACKED, (struct slice){(const uint8_t *)"\1\24", 2}, none);
	(void)wire_put_request(&frames, 12, &r);
	(void)wire_put_action(&frames, 13, &action);
	(void)wire_put(&frames, WIRE_FORGET, (struct slice){body, wire_u64_encode(body, 12)}, none);
	n = frames.len < size ? frames.len : size;
	memcpy(out, frames.data, n);
	change_free(&frames);
	change_free(&ops);
	return n;
}
