/* SPDX-License-Identifier: ISC */
/*
 * Ages of changes and the rate of the log, against a list of all changes.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "syncd/backlog.h"

enum { CHANGES = 20000, BYTES = 100 };

static struct backlog b;
static int64_t made_ms[CHANGES + 1];

/* A change every ms_of(i) ms, of BYTES each. Returns when it ended. */
static int64_t
make(int64_t (*ms_of)(uint64_t i))
{
	int64_t now = 1000;

	backlog_start(&b, now, 0, 0);
	for (uint64_t i = 1; i <= CHANGES; i++) {
		now += ms_of(i);
		made_ms[i] = now;
		backlog_changed(&b, now, i, i * BYTES);
		assert_true(b.n <= BACKLOG_MARKS);
	}
	return now;
}

static int64_t
steadily(uint64_t i)
{
	(void)i;
	return 100;
}

static int64_t
in_bursts(uint64_t i)
{
	return i % 100 == 0 ? 60000 : 1;
}

/* Never younger than it is, and not much older than the marks are apart. */
static void
check_ages(int64_t now)
{
	for (uint64_t i = 0; i < CHANGES; i += 7) {
		int64_t real = now - made_ms[i + 1], said = backlog_age(&b, now, i);

		assert_true(said >= real);
		assert_true(said <= real + b.step_ms + 60000);
	}
	for (int64_t at = 1000; at < now; at += 12345) {
		uint64_t before = backlog_before(&b, at);

		assert_true(before == 0 || made_ms[before] <= at);
	}
	assert_true(backlog_before(&b, now) + (uint64_t)b.step_ms >= CHANGES);
}

static void
test_ages(void **state)
{
	int64_t now;

	(void)state;
	now = make(steadily);
	check_ages(now);
	assert_int_equal(backlog_rate(&b, now, CHANGES * BYTES) / 100, 10); /* 1000 in a second */
	assert_int_equal(backlog_before(&b, 999), 0);
	check_ages(make(in_bursts));
}

/* The first change after a quiet time is as old as it is. */
static void
test_after_a_quiet_time(void **state)
{
	(void)state;
	backlog_start(&b, 0, 50, 5000);
	backlog_changed(&b, 3600000, 51, 5100);
	assert_int_equal(backlog_age(&b, 3600500, 50), 500);
	backlog_changed(&b, 3600500, 52, 5200);
	assert_int_equal(backlog_age(&b, 3601000, 50), 1000);
	backlog_changed(&b, 7200000, 53, 5300);
	assert_int_equal(backlog_age(&b, 7200000, 52), 0);
	assert_int_equal(backlog_age(&b, 7200000, 50), 3600000);
	assert_int_equal(backlog_rate(&b, 9000000, 5300), 0);
}

/* The end of the log goes back, or begins anew elsewhere. */
static void
test_other_history(void **state)
{
	(void)state;
	backlog_start(&b, 0, 0, 0);
	for (uint64_t i = 1; i <= 100; i++)
		backlog_changed(&b, (int64_t)i * 2000, i, i * 100);
	backlog_changed(&b, 300000, 51, 5100);
	assert_int_equal(backlog_before(&b, 299999), 49); /* rather too few */
	assert_int_equal(backlog_before(&b, 300000), 51);
	assert_true(backlog_age(&b, 300000, 50) <= 300000 - 100000);
	backlog_changed(&b, 310000, 900, 40); /* a snapshot: a new log */
	assert_int_equal(b.n, 1);
	assert_int_equal(backlog_age(&b, 310000, 899), 0);
	backlog_changed(&b, 320000, 5, 10);
	assert_int_equal(backlog_before(&b, 320000), 5);
}

/* All at once, and then nothing more: that grows old too. */
static void
test_one_burst(void **state)
{
	(void)state;
	backlog_start(&b, 0, 0, 0);
	for (uint64_t i = 1; i <= 48; i++)
		backlog_changed(&b, 5000 + (int64_t)i, i, i * 100);
	assert_int_equal(backlog_before(&b, 5047), 0);
	assert_int_equal(backlog_before(&b, 5048), 48);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ages),
	    cmocka_unit_test(test_after_a_quiet_time),
	    cmocka_unit_test(test_other_history),
	    cmocka_unit_test(test_one_burst),
	};

	return cmocka_run_group_tests_name("backlog", tests, NULL, NULL);
}
