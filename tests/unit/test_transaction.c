/* SPDX-License-Identifier: ISC */
/*
 * The state machine of a reload.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "supervisor/transaction.h"

enum { A = 1, B = 3, C = 4, MASK = 1 << A | 1 << B };

static struct transaction t;

/* Up to the questions. */
static int
ask(void **state)
{
	(void)state;
	t = (struct transaction){.serial = 7};
	assert_int_equal(transaction_request(&t), NEXT_PARSE);
	transaction_parsed(&t);
	assert_int_equal(transaction_prepare(&t, MASK), NEXT_NOTHING);
	return 0;
}

static void
test_all_agree(void **state)
{
	(void)state;
	assert_int_equal(transaction_answer(&t, B, 8, 1), NEXT_NOTHING);
	assert_int_equal(transaction_answer(&t, A, 8, 1), NEXT_COMMIT);
	assert_int_equal(t.asked, MASK);
	assert_int_equal(transaction_end(&t, 1), NEXT_NOTHING);
	assert_int_equal(t.serial, 8);
	assert_int_equal(t.phase, TRANSACTION_IDLE);
}

static void
test_one_refuses(void **state)
{
	(void)state;
	assert_int_equal(transaction_answer(&t, A, 8, 1), NEXT_NOTHING);
	assert_int_equal(transaction_answer(&t, B, 8, 0), NEXT_ABORT);
	assert_int_equal(t.asked, MASK);
	transaction_end(&t, 0);
	assert_int_equal(t.serial, 7);
}

static void
test_answers_nobody_waits_for(void **state)
{
	(void)state;
	assert_int_equal(transaction_answer(&t, A, 7, 1), NEXT_NOTHING);
	assert_int_equal(transaction_answer(&t, A, 9, 0), NEXT_NOTHING);
	assert_int_equal(transaction_answer(&t, C, 8, 0), NEXT_NOTHING);
	assert_int_equal(transaction_answer(&t, A, 8, 1), NEXT_NOTHING);
	assert_int_equal(transaction_answer(&t, A, 8, 1), NEXT_NOTHING); /* not for B */
	assert_int_equal(t.waiting, 1 << B);
	transaction_end(&t, 0);
	assert_int_equal(transaction_answer(&t, B, 8, 1), NEXT_NOTHING); /* too late */
}

static void
test_one_dies(void **state)
{
	(void)state;
	assert_int_equal(transaction_died(&t, C), NEXT_NOTHING);
	assert_int_equal(transaction_answer(&t, A, 8, 1), NEXT_NOTHING);
	assert_int_equal(transaction_died(&t, A), NEXT_ABORT); /* also after its answer */
	assert_int_equal(t.asked, 1 << B);
}

static void
test_second_request_is_remembered(void **state)
{
	(void)state;
	assert_int_equal(transaction_request(&t), NEXT_NOTHING);
	assert_int_equal(transaction_request(&t), NEXT_NOTHING);
	assert_int_equal(transaction_end(&t, 0), NEXT_PARSE);
	assert_int_equal(t.phase, TRANSACTION_PARSING);
	assert_int_equal(transaction_end(&t, 0), NEXT_NOTHING); /* both at once */
}

static void
test_nobody_to_ask(void **state)
{
	(void)state;
	t = (struct transaction){.serial = 1};
	transaction_request(&t);
	assert_int_equal(transaction_prepare(&t, MASK), NEXT_NOTHING); /* not parsed yet */
	transaction_parsed(&t);
	assert_int_equal(transaction_died(&t, A), NEXT_NOTHING);
	assert_int_equal(transaction_prepare(&t, 0), NEXT_COMMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_all_agree, ask),
	    cmocka_unit_test_setup(test_one_refuses, ask),
	    cmocka_unit_test_setup(test_answers_nobody_waits_for, ask),
	    cmocka_unit_test_setup(test_one_dies, ask),
	    cmocka_unit_test_setup(test_second_request_is_remembered, ask),
	    cmocka_unit_test(test_nobody_to_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
