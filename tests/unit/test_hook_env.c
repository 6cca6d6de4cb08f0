/* SPDX-License-Identifier: ISC */
/*
 * What hooks and checks are given, and when a check counts as failed.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "supervisor/hook_env.h"

static struct conf conf;

static int
setup(void **state)
{
	(void)state;
	conf_defaults(&conf);
	strcpy(conf.general.group, "plant-7");
	conf.general.n_servers = 2;
	conf.general.self = 0;
	strcpy(conf.server[0].name, "alpha");
	strcpy(conf.server[1].name, "beta");
	strcpy(conf.check[3].name, "app");
	return 0;
}

static const char *
value(const struct hook_env *e, const char *name)
{
	size_t n = strlen(name);

	for (unsigned i = 0; e->entry[i] != NULL; i++) {
		if (strncmp(e->entry[i], name, n) == 0 && e->entry[i][n] == '=')
			return e->entry[i] + n + 1;
	}
	return NULL;
}

static void
test_hook(void **state)
{
	struct hook_run r = {.event = 7,
	    .entry = 12,
	    .epoch = 34,
	    .kind = HOOK_MAIN,
	    .role = HOOK_ROLE_MAIN,
	    .reason = 1,
	    .peer = 1};
	struct hook_env e;

	(void)state;
	assert_int_equal(hook_environment(&e, &conf, &r), 0);
	assert_string_equal(value(&e, "BULKHEAD_HOOK"), "main");
	assert_string_equal(value(&e, "BULKHEAD_ROLE"), "main");
	assert_string_equal(value(&e, "BULKHEAD_EVENT"), "12");
	assert_string_equal(value(&e, "BULKHEAD_EPOCH"), "34");
	assert_string_equal(value(&e, "BULKHEAD_REASON"), "takeover-stopped");
	assert_string_equal(value(&e, "BULKHEAD_PEER"), "beta");
	assert_string_equal(value(&e, "BULKHEAD_SELF"), "alpha");
	assert_string_equal(value(&e, "BULKHEAD_GROUP"), "plant-7");
	assert_non_null(value(&e, "PATH"));
	assert_null(value(&e, "BULKHEAD_TEST"));
	assert_int_equal(e.n, 9); /* and nothing else */
	r.test = 1;
	r.peer = HOOK_NO_PEER;
	assert_int_equal(hook_environment(&e, &conf, &r), 0);
	assert_string_equal(value(&e, "BULKHEAD_TEST"), "1");
	assert_string_equal(value(&e, "BULKHEAD_PEER"), "");
}

static void
test_out_of_range(void **state)
{
	struct hook_run r = {.kind = HOOK_MAIN, .role = 200, .reason = 255, .peer = 14};
	struct hook_env e;

	(void)state;
	assert_int_equal(hook_environment(&e, &conf, &r), 0);
	assert_string_equal(value(&e, "BULKHEAD_ROLE"), "");
	assert_string_equal(value(&e, "BULKHEAD_REASON"), "unknown");
	assert_string_equal(value(&e, "BULKHEAD_PEER"), "");
	assert_false(hook_reason_valid(255));
	assert_true(hook_reason_valid(0));
}

static void
test_check_environment(void **state)
{
	struct hook_env e;

	(void)state;
	assert_int_equal(check_environment(&e, &conf, 3), 0);
	assert_string_equal(value(&e, "BULKHEAD_CHECK"), "app");
	assert_null(value(&e, "BULKHEAD_ROLE"));
}

static void
test_split(void **state)
{
	struct hook_args a;
	char many[CONF_COMMAND] = "/bin/x";

	(void)state;
	assert_int_equal(hook_split(&a, "/bin/x  -a\tb "), 0);
	assert_string_equal(a.entry[0], "/bin/x");
	assert_string_equal(a.entry[1], "-a");
	assert_string_equal(a.entry[2], "b");
	assert_null(a.entry[3]);
	assert_int_equal(hook_split(&a, ""), -1);
	assert_int_equal(hook_split(&a, "  "), -1);
	assert_int_equal(hook_split(&a, "bin/x"), -1);
	for (int i = 0; i < HOOK_ARGS - 2; i++)
		strcat(many, " y");
	assert_int_equal(hook_split(&a, many), 0);
	strcat(many, " y");
	assert_int_equal(hook_split(&a, many), -1);
}

static void
test_rise_and_fall(void **state)
{
	struct health h = {0};

	(void)state;
	assert_int_equal(health_update(&h, 1, 2, 3), 1); /* the first decides */
	assert_int_equal(health_update(&h, 0, 2, 3), 0);
	assert_int_equal(health_update(&h, 0, 2, 3), 0);
	assert_int_equal(health_update(&h, 1, 2, 3), 0); /* starts over */
	assert_int_equal(health_update(&h, 0, 2, 3), 0);
	assert_int_equal(health_update(&h, 0, 2, 3), 0);
	assert_int_equal(h.healthy, 1);
	assert_int_equal(health_update(&h, 0, 2, 3), 1);
	assert_int_equal(h.healthy, 0);
	assert_int_equal(h.in_a_row, 3);
	assert_int_equal(health_update(&h, 0, 2, 3), 0);
	assert_int_equal(health_update(&h, 1, 2, 3), 0);
	assert_int_equal(health_update(&h, 1, 2, 3), 1);
	assert_int_equal(h.healthy, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_hook, setup),
	    cmocka_unit_test_setup(test_out_of_range, setup),
	    cmocka_unit_test_setup(test_check_environment, setup),
	    cmocka_unit_test(test_split),
	    cmocka_unit_test(test_rise_and_fall),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
