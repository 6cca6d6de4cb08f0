/* SPDX-License-Identifier: ISC */
/*
 * Waiting before a restart, and the token bucket.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "supervisor/backoff.h"
#include "supervisor/bucket.h"

static void
test_doubles_to_a_minute(void **state)
{
	static const uint32_t want[] = {
	    10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 20480, 40960, 60000, 60000};
	struct backoff b = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_int_equal(backoff_next(&b, 0), want[i]);
}

static void
test_good_run_starts_over(void **state)
{
	struct backoff b = {0};

	(void)state;
	backoff_next(&b, 0);
	assert_int_equal(backoff_next(&b, BACKOFF_GOOD_MS - 1), 2 * BACKOFF_FIRST_MS);
	assert_int_equal(backoff_next(&b, BACKOFF_GOOD_MS), BACKOFF_FIRST_MS);
	assert_int_equal(backoff_next(&b, 0), 2 * BACKOFF_FIRST_MS);
}

/* Who has been waited for a minute has to live for a minute. */
static void
test_good_run_is_as_long_as_the_wait(void **state)
{
	struct backoff b = {0};

	(void)state;
	for (int i = 0; i < 20; i++)
		backoff_next(&b, 0);
	assert_int_equal(backoff_next(&b, BACKOFF_GOOD_MS), BACKOFF_MAX_MS);
	assert_int_equal(backoff_next(&b, BACKOFF_MAX_MS - 1), BACKOFF_MAX_MS);
	assert_int_equal(backoff_next(&b, BACKOFF_MAX_MS), BACKOFF_FIRST_MS);
}

static void
test_bucket(void **state)
{
	struct bucket b;

	(void)state;
	bucket_init(&b, 3, 2, 1000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(bucket_take(&b, 1000), 1);
	assert_int_equal(bucket_take(&b, 1000), 0);
	assert_int_equal(bucket_take(&b, 1499), 0);
	assert_int_equal(bucket_take(&b, 1500), 1);
	assert_int_equal(bucket_take(&b, 1500), 0);
	/* a clock that steps back gives nothing, a long wait no more than the burst */
	assert_int_equal(bucket_take(&b, 0), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(bucket_take(&b, INT64_MAX / 2), 1);
	assert_int_equal(bucket_take(&b, INT64_MAX / 2), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_doubles_to_a_minute),
	    cmocka_unit_test(test_good_run_starts_over),
	    cmocka_unit_test(test_good_run_is_as_long_as_the_wait),
	    cmocka_unit_test(test_bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
