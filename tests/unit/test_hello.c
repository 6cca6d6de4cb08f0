/* SPDX-License-Identifier: ISC */
/*
 * The outer part of the first message: what passes, and that nothing else does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sodium.h>
#include <string.h>

#include "lib/hello.h"

static uint8_t public_status[32], public_data[32], inner[HELLO_NOISE];
static struct hello_keys keys;

static int
setup(void **state)
{
	(void)state;
	memset(public_status, 0x11, sizeof(public_status));
	memset(public_data, 0x22, sizeof(public_data));
	for (size_t i = 0; i < sizeof(inner); i++)
		inner[i] = (uint8_t)i;
	hello_keys_init(&keys, public_status, public_data);
	return 0;
}

static void
test_bytes_as_documented(void **state)
{
	static const uint8_t header[HELLO_HEADER] = {'B', 'H', 'L', '1', 1, LINK_STATUS, 0, 0};
	uint8_t out[HELLO_SIZE], key[32], tag[16], text[17 + 32];

	(void)state;
	assert_int_equal(hello_encode(out, LINK_STATUS, inner, &keys), 0);
	assert_memory_equal(out, header, sizeof(header));
	assert_memory_equal(hello_noise(out), inner, sizeof(inner));
	/* the tag, made again from the words of doc/protocol.md */
	memcpy(text, "bulkhead hello v1", 17);
	memcpy(text + 17, public_status, 32);
	crypto_generichash(key, sizeof(key), text, sizeof(text), NULL, 0);
	crypto_generichash(tag, sizeof(tag), out, 120, key, sizeof(key));
	assert_memory_equal(out + 120, tag, sizeof(tag));
}

static void
test_round_trip_of_each_kind(void **state)
{
	uint8_t out[HELLO_SIZE];
	struct hello_keys other;

	(void)state;
	hello_keys_init(&other, public_data, public_status);
	for (int kind = LINK_STATUS; kind < LINK_KIND_MAX; kind++) {
		enum link_kind got = LINK_KIND_MAX;

		assert_int_equal(hello_encode(out, (enum link_kind)kind, inner, &keys), 0);
		assert_int_equal(hello_verify(out, &keys, &got), HELLO_OK);
		assert_int_equal(got, kind);
		/* the key of the other kind does not do */
		assert_int_equal(hello_verify(out, &other, &got), HELLO_BAD_TAG);
	}
	assert_int_equal(hello_encode(out, (enum link_kind)0, inner, &keys), -1);
	assert_int_equal(hello_encode(out, LINK_KIND_MAX, inner, &keys), -1);
}

static void
test_every_changed_bit(void **state)
{
	uint8_t out[HELLO_SIZE];
	enum link_kind kind = LINK_KIND_MAX;

	(void)state;
	hello_encode(out, LINK_STATUS, inner, &keys);
	for (size_t bit = 0; bit < HELLO_SIZE * 8; bit++) {
		out[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_int_not_equal(hello_verify(out, &keys, &kind), HELLO_OK);
		out[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	assert_int_equal(kind, LINK_KIND_MAX);
	assert_int_equal(hello_verify(out, &keys, &kind), HELLO_OK);
}

static void
test_plausible(void **state)
{
	uint8_t out[HELLO_SIZE];

	(void)state;
	hello_encode(out, LINK_REQUEST, inner, &keys);
	for (size_t n = 0; n <= HELLO_SIZE; n++)
		assert_true(hello_plausible(out, n));
	for (size_t at = 0; at < HELLO_HEADER; at++) {
		uint8_t was = out[at];

		out[at] = 0xff;
		for (size_t n = 0; n <= HELLO_SIZE; n++)
			assert_int_equal(hello_plausible(out, n), n <= at);
		out[at] = was;
	}
	assert_false(hello_plausible((const uint8_t *)"GET / HTTP/1.1\r\n", 1));
}

static void
test_prologue(void **state)
{
	uint8_t out[HELLO_PROLOGUE_MAX];
	char longest[128];

	(void)state;
	assert_int_equal(hello_prologue(out, LINK_SYNC, "pair"), 8 + 2 + 4);
	assert_memory_equal(out, "bulkhead\001\002pair", 14);
	memset(longest, 'g', sizeof(longest));
	longest[127] = '\0';
	assert_true(hello_prologue(out, LINK_SYNC, longest) <= HELLO_PROLOGUE_MAX);
}

static void
test_payload(void **state)
{
	static const uint8_t wire[HELLO_PAYLOAD] = {
	    8, 7, 6, 5, 4, 3, 2, 1, 0xf0, 0, 0, 0, 0, 0, 0, 0x80};
	struct hello_payload p = {.boot = 0x0102030405060708, .counter = 0x80000000000000f0}, q;
	uint8_t out[HELLO_PAYLOAD];

	(void)state;
	hello_payload_encode(out, &p);
	assert_memory_equal(out, wire, sizeof(wire));
	hello_payload_decode(wire, &q);
	assert_true(q.boot == p.boot && q.counter == p.counter);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bytes_as_documented),
	    cmocka_unit_test(test_round_trip_of_each_kind),
	    cmocka_unit_test(test_every_changed_bit),
	    cmocka_unit_test(test_plausible),
	    cmocka_unit_test(test_prologue),
	    cmocka_unit_test(test_payload),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, setup, NULL);
}
