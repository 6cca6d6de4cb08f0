/* SPDX-License-Identifier: ISC */
/*
 * The token buckets per source: burst, refill, /64, a crowded table, clock steps.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "lib/limit.h"

static struct limit table;
static const uint8_t seed[LIMIT_SEED] = {1, 2, 3};

static struct limit_key
source4(uint32_t host)
{
	uint8_t a[16] = {
	    (uint8_t)(host >> 24), (uint8_t)(host >> 16), (uint8_t)(host >> 8), (uint8_t)host};
	struct limit_key k;

	limit_key_of(4, a, &k);
	return k;
}

/* How many of n tries in a row are let through. */
static unsigned
take(const struct limit_key *k, unsigned n, int64_t now_ms)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < n; i++)
		taken += (unsigned)limit_take(&table, k, now_ms);
	return taken;
}

static void
test_burst_then_rate(void **state)
{
	struct limit_key k = source4(0xc0000201);

	(void)state;
	limit_init(&table, seed, 5, 10);
	assert_int_equal(take(&k, 100, 1000), 5);
	assert_int_equal(take(&k, 10, 1099), 0);
	assert_int_equal(take(&k, 10, 1100), 1);
	assert_int_equal(take(&k, 10, 1350), 2); /* the half token is kept: */
	assert_int_equal(take(&k, 10, 1400), 1);
	assert_int_equal(take(&k, 100, 1000000), 5); /* never more than the burst */
}

static void
test_sources_are_apart(void **state)
{
	struct limit_key a = source4(0xc0000201), b = source4(0xc0000202);

	(void)state;
	limit_init(&table, seed, 3, 1);
	assert_int_equal(take(&a, 10, 0), 3);
	assert_int_equal(take(&b, 10, 0), 3);
	assert_int_equal(take(&a, 10, 0), 0);
}

static void
test_ipv6_counts_by_64(void **state)
{
	uint8_t a[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, [15] = 1};
	uint8_t b[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, [8] = 9, [15] = 2};
	uint8_t c[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 2, [15] = 1};
	struct limit_key ka, kb, kc;

	(void)state;
	limit_key_of(6, a, &ka);
	limit_key_of(6, b, &kb);
	limit_key_of(6, c, &kc);
	assert_true(limit_key_equal(&ka, &kb));
	assert_false(limit_key_equal(&ka, &kc));
}

static void
test_mapped_is_ipv4(void **state)
{
	uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 1};
	uint8_t zero_prefix[16] = {[15] = 1};
	struct limit_key a = source4(0xc0000201), b, c;

	(void)state;
	limit_key_of(6, mapped, &b);
	limit_key_of(6, zero_prefix, &c);
	assert_true(limit_key_equal(&a, &b));
	assert_false(limit_key_equal(&b, &c));
}

/* Far more sources than places: nobody gets more than a burst, later ones get less. */
static void
test_crowd(void **state)
{
	struct limit_key offender = source4(0xc6336401);
	unsigned taken = 0;

	(void)state;
	limit_init(&table, seed, 4, 1);
	assert_int_equal(take(&offender, 100, 0), 4);
	for (uint32_t i = 0; i < 50000; i++) {
		struct limit_key k = source4(0x0a000000 + i);
		unsigned n = take(&k, 10, 0);

		assert_in_range(n, 1, 4);
		taken += n;
	}
	/* once the table is full of spent sources each newcomer gets one */
	assert_in_range(taken, 50000, 50000 + 3 * LIMIT_ENTRIES + 3 * LIMIT_PROBES);
}

/* An entry that is full again says nothing: its place is free, and the newcomer gets all. */
static void
test_ageing(void **state)
{
	(void)state;
	limit_init(&table, seed, 4, 1);
	for (uint32_t i = 0; i < 20000; i++) {
		struct limit_key k = source4(0x0a000000 + i);

		take(&k, 10, 0);
	}
	for (uint32_t i = 0; i < 64; i++) {
		struct limit_key k = source4(0x0b000000 + i);

		assert_int_equal(take(&k, 10, 4000 + i * 4000), 4);
	}
}

static void
test_clock_and_limits(void **state)
{
	struct limit_key k = source4(0xc0000201), l = source4(0xc0000203);

	(void)state;
	limit_init(&table, seed, 2, 1);
	assert_int_equal(take(&k, 5, 100000), 2);
	assert_int_equal(take(&k, 5, 0), 0);		 /* a step back gives nothing */
	assert_int_equal(take(&k, 5, INT64_MAX / 2), 2); /* nor does a leap overflow */
	limit_set(&table, 1, 1);
	assert_int_equal(take(&k, 5, INT64_MAX / 2 + 90000), 1);
	limit_set(&table, 0, 0);
	assert_int_equal(take(&l, 5, 0), 0);
	limit_set(&table, UINT32_MAX, UINT32_MAX);
	assert_int_equal(take(&l, 5, 1000), 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_burst_then_rate),
	    cmocka_unit_test(test_sources_are_apart),
	    cmocka_unit_test(test_ipv6_counts_by_64),
	    cmocka_unit_test(test_mapped_is_ipv4),
	    cmocka_unit_test(test_crowd),
	    cmocka_unit_test(test_ageing),
	    cmocka_unit_test(test_clock_and_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
