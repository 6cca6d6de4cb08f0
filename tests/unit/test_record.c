/* SPDX-License-Identifier: ISC */
/*
 * Transport records: any split of the stream, rekeying, bounds, and forged bytes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sodium.h>
#include <string.h>

#include "lib/record.h"

static uint8_t wire[RECORD_MAX], plain[RECORD_PLAIN_MAX], out[RECORD_PLAIN_MAX];

/* Two ends as after a handshake, without one. */
static void
pair(struct record *a, struct record *b, size_t plain_max)
{
	memset(a, 0, sizeof(*a));
	a->plain_max = plain_max;
	randombytes_buf(a->send.key, 32);
	randombytes_buf(a->receive.key, 32);
	*b = *a;
	b->send = a->receive;
	b->receive = a->send;
}

static void
test_from_handshake(void **state)
{
	static struct noise n;
	struct record r;
	uint8_t key[32] = {9};

	(void)state;
	assert_int_equal(noise_init(&n, NOISE_RESPONDER, "", 0, key, NULL), 0);
	assert_int_equal(record_init(&r, &n, 100), -1);
	assert_int_equal(record_seal(&r, "x", 1, wire, sizeof(wire)), 0);
}

static void
test_sizes(void **state)
{
	static const size_t sizes[] = {0, 1, 127, 16384, RECORD_PLAIN_MAX};
	struct record a, b;

	(void)state;
	pair(&a, &b, RECORD_PLAIN_MAX);
	randombytes_buf(plain, sizeof(plain));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t used, len, n = record_seal(&a, plain, sizes[i], wire, sizeof(wire));

		assert_int_equal(n, sizes[i] + RECORD_OVERHEAD);
		assert_int_equal(
		    wire[0] | wire[1] << 8 | wire[2] << 16 | wire[3] << 24, sizes[i] + 16);
		assert_int_equal(record_open(&b, wire, n, &used, out, &len), RECORD_OK);
		assert_int_equal(used, n);
		assert_int_equal(len, sizes[i]);
		assert_memory_equal(out, plain, len);
	}
	assert_int_equal(record_seal(&a, plain, RECORD_PLAIN_MAX + 1, wire, sizeof(wire)), 0);
	assert_int_equal(record_seal(&a, plain, 10, wire, 10 + RECORD_OVERHEAD - 1), 0);
	assert_int_equal(record_seal(&a, plain, 10, wire, 0), 0);
	assert_int_equal(a.sent, 5);
	assert_int_equal(b.received, 5);
}

static void
test_stream_in_pieces(void **state)
{
	struct record a, b;
	size_t n = 0, at = 0, opened = 0;

	(void)state;
	pair(&a, &b, 200);
	for (uint8_t i = 0; i < 10; i++) {
		plain[0] = i;
		n += record_seal(&a, plain, 1 + i * 20U, wire + n, sizeof(wire) - n);
	}
	/* one byte more each time */
	for (size_t have = 0; have <= n; have++) {
		size_t used, len;
		enum record_result r = record_open(&b, wire + at, have - at, &used, out, &len);

		assert_int_not_equal(r, RECORD_BROKEN);
		if (r == RECORD_OK) {
			assert_int_equal(len, 1 + opened * 20);
			assert_int_equal(out[0], opened);
			opened++;
		}
		at += used;
	}
	assert_int_equal(at, n);
	assert_int_equal(opened, 10);
}

static void
test_rekey(void **state)
{
	struct record a, b;
	uint8_t first[32], second[32];

	(void)state;
	pair(&a, &b, 64);
	memcpy(first, a.send.key, 32);
	memcpy(second, first, 32);
	for (uint32_t i = 0; i < 2 * RECORD_REKEY + 3; i++) {
		size_t used, len, n = record_seal(&a, &i, sizeof(i), wire, sizeof(wire));

		assert_int_equal(record_open(&b, wire, n, &used, out, &len), RECORD_OK);
		assert_memory_equal(out, &i, sizeof(i));
		assert_memory_equal(a.send.key, b.receive.key, 32);
		if (i + 1 < RECORD_REKEY)
			assert_memory_equal(a.send.key, first, 32);
		if (i + 1 == RECORD_REKEY) {
			assert_memory_not_equal(a.send.key, first, 32);
			memcpy(second, a.send.key, 32);
		}
	}
	assert_memory_not_equal(a.send.key, second, 32);
	assert_int_equal(a.send.nonce, 2 * RECORD_REKEY + 3);
	assert_int_equal(a.receive.nonce, 0); /* each direction for itself */
}

static void
test_forged(void **state)
{
	struct record a, b, before;
	size_t used, len, n;

	(void)state;
	pair(&a, &b, 64);
	n = record_seal(&a, "status", 6, wire, sizeof(wire));
	before = b;
	for (size_t bit = 0; bit < n * 8; bit++) {
		enum record_result r;

		b = before;
		wire[bit / 8] ^= (uint8_t)(1U << bit % 8);
		r = record_open(&b, wire, n, &used, out, &len);
		/* a longer length waits for bytes that do not come; it never opens */
		assert_true(r == RECORD_BROKEN || (bit < 32 && r == RECORD_MORE));
		assert_int_equal(len, 0);
		if (r == RECORD_BROKEN) {
			assert_true(
			    sodium_is_zero(b.receive.key, 32) && sodium_is_zero(b.send.key, 32));
			assert_int_equal(record_seal(&b, "x", 1, out, sizeof(out)), 0);
		}
		wire[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if (r == RECORD_BROKEN)
			assert_int_equal(record_open(&b, wire, n, &used, out, &len), RECORD_BROKEN);
	}
	b = before;
	assert_int_equal(record_open(&b, wire, n, &used, out, &len), RECORD_OK);
	assert_int_equal(record_open(&b, wire, n, &used, out, &len), RECORD_BROKEN); /* replayed */
}

static void
test_length_out_of_range(void **state)
{
	static const uint8_t headers[][4] = {
	    {0, 0, 0, 0}, {15, 0, 0, 0}, {81, 0, 0, 0}, {0, 0, 1, 0}, {255, 255, 255, 255}};
	struct record a, b;
	size_t used, len;

	(void)state;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		pair(&a, &b, 64);
		assert_int_equal(record_open(&b, headers[i], 3, &used, out, &len), RECORD_MORE);
		/* refused as soon as the header is there */
		assert_int_equal(record_open(&b, headers[i], 4, &used, out, &len), RECORD_BROKEN);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_from_handshake),
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_stream_in_pieces),
	    cmocka_unit_test(test_rekey),
	    cmocka_unit_test(test_forged),
	    cmocka_unit_test(test_length_out_of_range),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
