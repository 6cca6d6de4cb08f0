/* SPDX-License-Identifier: ISC */
/*
 * What the word of one child against another is worth.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "supervisor/dispute.h"

enum { NOW = 1000000, LATER = 1000 };

static struct disputes d;

static int
setup(void **state)
{
	(void)state;
	memset(&d, 0, sizeof(d));
	return 0;
}

static void
test_a_face_never_has_the_inner_one_killed(void **state)
{
	int64_t now = NOW;

	(void)state;
	for (int i = 0; i < 20; i++, now += LATER) {
		assert_int_equal(dispute_weigh(&d, PROC_NETD, PROC_ROLED, now), DISPUTE_RENEW);
		now += LATER;
		assert_int_equal(dispute_weigh(&d, PROC_NETD, PROC_ROLED, now), DISPUTE_ACCUSER);
		dispute_forget(&d, PROC_NETD);
	}
	assert_int_equal(dispute_weigh(&d, PROC_ROLED, PROC_KEYD, now), DISPUTE_RENEW);
	assert_int_equal(dispute_weigh(&d, PROC_ROLED, PROC_KEYD, now + LATER), DISPUTE_ACCUSER);
}

static void
test_the_inner_one_is_believed_with_measure(void **state)
{
	(void)state;
	assert_int_equal(dispute_weigh(&d, PROC_ROLED, PROC_NETD, NOW), DISPUTE_RENEW);
	assert_int_equal(dispute_weigh(&d, PROC_ROLED, PROC_NETD, NOW + LATER), DISPUTE_ACCUSED);
	dispute_forget(&d, PROC_NETD);
	assert_int_equal(dispute_weigh(&d, PROC_ROLED, PROC_NETD, NOW + 2 * LATER), DISPUTE_RENEW);
	assert_int_equal(
	    dispute_weigh(&d, PROC_ROLED, PROC_NETD, NOW + 3 * LATER), DISPUTE_ACCUSER);
	dispute_forget(&d, PROC_ROLED);
	assert_int_equal(dispute_weigh(&d, PROC_ROLED, PROC_NETD, NOW + 4 * LATER), DISPUTE_RENEW);
}

static void
test_long_ago_does_not_count(void **state)
{
	(void)state;
	assert_int_equal(dispute_weigh(&d, PROC_NETD, PROC_ROLED, NOW), DISPUTE_RENEW);
	assert_int_equal(dispute_weigh(&d, PROC_NETD, PROC_ROLED, NOW + DISPUTE_MS), DISPUTE_RENEW);
	assert_int_equal(
	    dispute_weigh(&d, PROC_ICMPD, PROC_ROLED, NOW + 2 * DISPUTE_MS), DISPUTE_RENEW);
	assert_int_equal(
	    dispute_weigh(&d, PROC_NETD, PROC_ROLED, NOW + 3 * DISPUTE_MS - 1), DISPUTE_ACCUSED);
}

static void
test_two_are_believed(void **state)
{
	(void)state;
	assert_int_equal(dispute_weigh(&d, PROC_NETD, PROC_ROLED, NOW), DISPUTE_RENEW);
	assert_int_equal(dispute_weigh(&d, PROC_ICMPD, PROC_ROLED, NOW + LATER), DISPUTE_ACCUSED);
	/* its successor has done nothing yet */
	dispute_forget(&d, PROC_ROLED);
	assert_int_equal(dispute_weigh(&d, PROC_KEYD, PROC_ROLED, NOW + 2 * LATER), DISPUTE_RENEW);
	/* and who has ended is no witness any more */
	dispute_forget(&d, PROC_KEYD);
	assert_int_equal(
	    dispute_weigh(&d, PROC_ICMPD, PROC_ROLED, NOW + 3 * LATER), DISPUTE_ACCUSER);
}

/* Both tell of the same channel, and what they say crosses. */
static void
test_crossing(void **state)
{
	(void)state;
	assert_int_equal(dispute_weigh(&d, PROC_ROLED, PROC_NETD, NOW), DISPUTE_RENEW);
	assert_int_equal(dispute_weigh(&d, PROC_NETD, PROC_ROLED, NOW + 5), DISPUTE_IGNORE);
	assert_int_equal(
	    dispute_weigh(&d, PROC_NETD, PROC_ROLED, NOW + DISPUTE_CROSS_MS), DISPUTE_RENEW);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_a_face_never_has_the_inner_one_killed, setup),
	    cmocka_unit_test_setup(test_the_inner_one_is_believed_with_measure, setup),
	    cmocka_unit_test_setup(test_long_ago_does_not_count, setup),
	    cmocka_unit_test_setup(test_two_are_believed, setup),
	    cmocka_unit_test_setup(test_crossing, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
