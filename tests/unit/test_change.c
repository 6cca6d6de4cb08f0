/* SPDX-License-Identifier: ISC */
/*
 * Operations as bytes: there and back, and what is refused.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model.h"
#include "syncd/change.h"

static void
assert_slice(struct slice a, struct slice b)
{
	assert_int_equal(a.len, b.len);
	if (a.len > 0)
		assert_memory_equal(a.data, b.data, a.len);
}

static void
there_and_back(void **state)
{
	static uint8_t large[300000];
	struct change c;
	struct change_op op,
	    ops[] = {
		{.kind = CHANGE_SET, .key = text("k"), .expire_ms = INT64_MAX, .value = text("v")},
		{.kind = CHANGE_SET, .key = text(""), .value = {large, sizeof(large)}},
		{.kind = CHANGE_DEL, .key = text("k")},
		{.kind = CHANGE_EXPIRE, .key = text("k"), .expire_ms = 1},
		{.kind = CHANGE_HSET,
		    .key = text("k"),
		    .field = {large, 127},
		    .value = {large, 128}},
		{.kind = CHANGE_HDEL, .key = {large, 16383}, .field = {large, 16384}},
		{.kind = CHANGE_RENAME, .key = text("k"), .field = text("to")},
		{.kind = CHANGE_FLUSH},
		{.kind = CHANGE_SPLICE,
		    .key = text("k"),
		    .offset = CHANGE_KEY_MAX,
		    .value = text("v")},
	    };
	size_t pos = 0, n = sizeof(ops) / sizeof(ops[0]);

	(void)state;
	change_init(&c);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(change_append(&c, &ops[i]), 0);
	assert_int_equal(c.n_ops, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(change_next((struct slice){c.data, c.len}, &pos, &op), 1);
		assert_int_equal(op.kind, ops[i].kind);
		assert_int_equal(op.expire_ms, ops[i].expire_ms);
		assert_int_equal(op.offset, ops[i].offset);
		assert_slice(op.key, ops[i].key);
		assert_slice(op.field, ops[i].field);
		assert_slice(op.value, ops[i].value);
	}
	assert_int_equal(change_next((struct slice){c.data, c.len}, &pos, &op), 0);
	assert_int_equal(change_check((struct slice){c.data, c.len}), 1);
	/* no beginning of it but at the border of two operations is one */
	for (size_t i = 0, good = 0; i < 20; i++) {
		good += change_check((struct slice){c.data, i}) != 0;
		assert_true(good <= 1);
	}
	change_clear(&c);
	assert_int_equal(c.len, 0);
	assert_non_null(c.data);
	change_free(&c);
}

/* The bytes are the agreement with other servers. */
static void
bytes(void **state)
{
	static const uint8_t set[] = {
	    1, 1, 'k', 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 2, 'v', 'w'};
	static const uint8_t splice[] = {8, 1, 'k', 0x80, 1, 1, 'v'};
	struct change_op op = {.kind = CHANGE_SET,
	    .key = text("k"),
	    .expire_ms = 0x1122334455667788,
	    .value = text("vw")};
	struct change c;

	(void)state;
	change_init(&c);
	assert_int_equal(change_append(&c, &op), 0);
	assert_int_equal(c.len, sizeof(set));
	assert_memory_equal(c.data, set, sizeof(set));
	change_clear(&c);
	op = (struct change_op){
	    .kind = CHANGE_SPLICE, .key = text("k"), .offset = 128, .value = text("v")};
	assert_int_equal(change_append(&c, &op), 0);
	assert_int_equal(c.len, sizeof(splice));
	assert_memory_equal(c.data, splice, sizeof(splice));
	change_free(&c);
}

static void
refused(void **state)
{
	static const struct {
		uint8_t b[16];
		size_t n;
	} bad[] = {
	    {{0}, 1},					     /* no such kind */
	    {{CHANGE_MAX}, 1},				     /* nor this */
	    {{CHANGE_DEL}, 1},				     /* no key */
	    {{CHANGE_DEL, 2, 'k'}, 3},			     /* shorter than it says */
	    {{CHANGE_DEL, 0x81, 0x00, 'k'}, 4},		     /* a length that has a shorter form */
	    {{CHANGE_DEL, 0x81, 0x80, 0x80, 0x80, 0x02}, 6}, /* longer than 512 MiB */
	    {{CHANGE_DEL, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 7},	      /* of six bytes */
	    {{CHANGE_DEL, 0x80}, 2},				      /* a length without an end */
	    {{CHANGE_EXPIRE, 1, 'k', 0, 0, 0, 0, 0, 0, 0}, 10},	      /* half a time */
	    {{CHANGE_EXPIRE, 1, 'k', 0, 0, 0, 0, 0, 0, 0, 0x80}, 11}, /* before 1970 */
	    {{CHANGE_FLUSH, 0}, 2}, {{0}, 0},			      /* nothing */
	};
	struct change c;
	struct change_op op = {.kind = CHANGE_DEL, .key = {bad[0].b, (size_t)CHANGE_KEY_MAX + 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(change_check((struct slice){bad[i].b, bad[i].n}), 0);
	change_init(&c);
	assert_int_equal(change_append(&c, &op), -1);
	op = (struct change_op){.kind = CHANGE_EXPIRE, .key = text("k"), .expire_ms = -1};
	assert_int_equal(change_append(&c, &op), -1);
	assert_int_equal(c.len, 0);
	change_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(there_and_back),
	    cmocka_unit_test(bytes),
	    cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
