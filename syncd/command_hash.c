/* SPDX-License-Identifier: ISC */
/*
 * Commands of hashes.
 */
#include "config.h"

#include "command.h"

#include "glob.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void
command_hset(struct call *a)
{
	struct value v;
	int there;
	int64_t created = 0;

	if (a->argc % 2 == 1) {
		resp_errorf(a->out, "wrong number of arguments for '%s' command", a->cmd->name);
		return;
	}
	there = arg_key(a, 1, VALUE_HASH, &v);
	if (there < 0)
		return;
	for (size_t i = 2; i < a->argc; i += 2) {
		struct slice old;

		created += !db_find_field(a->f, a->argv[1], a->argv[i], &old);
		db_set_field(a->f, a->argv[1], a->argv[i], a->argv[i + 1]);
	}
	db_notify(a->f, "hset", a->argv[1]);
	if (strcmp(a->cmd->name, "hmset") == 0)
		resp_ok(a->out);
	else
		resp_int(a->out, created);
}

void
command_hsetnx(struct call *a)
{
	struct value v;
	struct slice old;
	int there = arg_key(a, 1, VALUE_HASH, &v);

	if (there < 0)
		return;
	if (there == 1 && db_find_field(a->f, a->argv[1], a->argv[2], &old)) {
		resp_int(a->out, 0);
		return;
	}
	db_set_field(a->f, a->argv[1], a->argv[2], a->argv[3]);
	db_notify(a->f, "hset", a->argv[1]);
	resp_int(a->out, 1);
}

void
command_hget(struct call *a)
{
	struct value v;
	struct slice value;
	int there = arg_key(a, 1, VALUE_HASH, &v);

	if (there == 1 && db_find_field(a->f, a->argv[1], a->argv[2], &value))
		resp_bulk(a->out, value);
	else if (there >= 0)
		resp_null(a->out);
}

void
command_hmget(struct call *a)
{
	struct value v;
	struct slice value;
	int there = arg_key(a, 1, VALUE_HASH, &v);

	if (there < 0)
		return;
	resp_array(a->out, a->argc - 2);
	for (size_t i = 2; i < a->argc; i++) {
		if (there == 1 && db_find_field(a->f, a->argv[1], a->argv[i], &value))
			resp_bulk(a->out, value);
		else
			resp_null(a->out);
	}
}

void
command_hdel(struct call *a)
{
	struct value v;
	struct slice old;
	uint64_t deleted = 0;

	switch (arg_key(a, 1, VALUE_HASH, &v)) {
	case 0:
		resp_int(a->out, 0);
		return;
	case 1:
		break;
	default:
		return;
	}
	for (size_t i = 2; i < a->argc && deleted < v.fields; i++) {
		if (!db_find_field(a->f, a->argv[1], a->argv[i], &old))
			continue;
		db_delete_field(a->f, a->argv[1], a->argv[i]);
		deleted++;
	}
	if (deleted > 0)
		db_notify(a->f, "hdel", a->argv[1]);
	if (deleted == v.fields)
		db_notify(a->f, "del", a->argv[1]);
	resp_int(a->out, (int64_t)deleted);
}

void
command_hexists(struct call *a)
{
	struct value v;
	struct slice value;
	int there = arg_key(a, 1, VALUE_HASH, &v);

	if (there >= 0)
		resp_int(a->out, there == 1 && db_find_field(a->f, a->argv[1], a->argv[2], &value));
}

void
command_hlen(struct call *a)
{
	struct value v;
	int there = arg_key(a, 1, VALUE_HASH, &v);

	if (there >= 0)
		resp_int(a->out, there == 1 ? (int64_t)v.fields : 0);
}

void
command_hstrlen(struct call *a)
{
	struct value v;
	struct slice value;
	int there = arg_key(a, 1, VALUE_HASH, &v);

	if (there == 1 && db_find_field(a->f, a->argv[1], a->argv[2], &value))
		resp_int(a->out, (int64_t)value.len);
	else if (there >= 0)
		resp_int(a->out, 0);
}

/* All fields, their names or their values or both. */
static void
reply_fields(struct call *a, bool names, bool values)
{
	struct store_walk w = {0};
	struct slice field, value;
	struct value v;
	uint64_t n;
	int there = arg_key(a, 1, VALUE_HASH, &v);

	if (there < 0)
		return;
	n = there == 1 ? v.fields : 0;
	if (names && values)
		resp_map(a->out, n);
	else
		resp_array(a->out, n);
	for (uint64_t i = 0; i < n; i++) {
		if (store_walk_fields(a->f->db.store, a->argv[1], &w, &field, &value) != 1)
			break;
		if (names)
			resp_bulk(a->out, field);
		if (values)
			resp_bulk(a->out, value);
	}
	if (n > 0)
		store_walk_end(&w);
}

void
command_hgetall(struct call *a)
{
	reply_fields(a, true, true);
}

void
command_hkeys(struct call *a)
{
	reply_fields(a, true, false);
}

void
command_hvals(struct call *a)
{
	reply_fields(a, false, true);
}

void
command_hincrby(struct call *a)
{
	char text[RESP_INT_TEXT];
	struct value v;
	struct slice old;
	int64_t by, n = 0;
	int there;

	if (arg_int(a, a->argv[3], &by, NULL) != 0)
		return;
	there = arg_key(a, 1, VALUE_HASH, &v);
	if (there < 0)
		return;
	if (there == 1 && db_find_field(a->f, a->argv[1], a->argv[2], &old) &&
	    arg_int(a, old, &n, "hash value is not an integer") != 0)
		return;
	if (__builtin_add_overflow(n, by, &n)) {
		resp_error(a->out, "increment or decrement would overflow");
		return;
	}
	db_set_field(a->f, a->argv[1], a->argv[2],
	    (struct slice){(uint8_t *)text, resp_format_int(text, n)});
	db_notify(a->f, "hincrby", a->argv[1]);
	resp_int(a->out, n);
}

void
command_hincrbyfloat(struct call *a)
{
	char text[RESP_FLOAT_TEXT];
	struct slice old, sum = {(uint8_t *)text, 0};
	struct value v;
	long double by, n = 0;
	int there;

	if (!resp_parse_float(a->argv[3], &by)) {
		resp_error(a->out, "value is not a valid float");
		return;
	}
	if (isinf(by)) {
		resp_error(a->out, "value is NaN or Infinity");
		return;
	}
	there = arg_key(a, 1, VALUE_HASH, &v);
	if (there < 0)
		return;
	if (there == 1 && db_find_field(a->f, a->argv[1], a->argv[2], &old) &&
	    !resp_parse_float(old, &n)) {
		resp_error(a->out, "hash value is not a float");
		return;
	}
	n += by;
	if (isnan(n) || isinf(n)) {
		resp_error(a->out, "increment would produce NaN or Infinity");
		return;
	}
	sum.len = resp_format_float(text, n);
	db_set_field(a->f, a->argv[1], a->argv[2], sum);
	db_notify(a->f, "hincrbyfloat", a->argv[1]);
	resp_bulk(a->out, sum);
}

void
command_hscan(struct call *a)
{
	struct store_walk w = {0};
	struct scan_options o;
	struct slice field, value;
	struct value v;
	uint64_t cursor;
	size_t place, n = 0;
	int there;

	if (arg_cursor(a, a->argv[2], &cursor) != 0)
		return;
	there = arg_key(a, 1, VALUE_HASH, &v);
	if (there == 0) {
		resp_array(a->out, 2);
		resp_text(a->out, "0");
		resp_array(a->out, 0);
	}
	if (there != 1 || arg_scan(a, 3, &o) != 0)
		return;
	w.cursor = cursor;
	place = resp_array_begin(a->out);
	for (int64_t i = 0; i < o.count || w.more; i++) {
		if (store_walk_fields(a->f->db.store, a->argv[1], &w, &field, &value) != 1) {
			w.cursor = 0;
			break;
		}
		if (!o.match || glob_match(o.pattern, field, false)) {
			resp_bulk(a->out, field);
			resp_bulk(a->out, value);
			n += 2;
		}
		if (w.cursor == 0 && !w.more)
			break;
	}
	store_walk_end(&w);
	reply_scan(a, place, w.cursor, n);
}

/* ---- HRANDFIELD */

enum { PICKS = 4096 };

/* A field that is wanted, and how often. */
struct pick {
	uint64_t index;
	size_t order;
	struct slice field, value;
};

static int
by_index(const void *x, const void *y)
{
	const struct pick *a = x, *b = y;

	return a->index < b->index ? -1 : a->index > b->index;
}

static int
by_order(const void *x, const void *y)
{
	const struct pick *a = x, *b = y;

	return a->order < b->order ? -1 : a->order > b->order;
}

static uint64_t
random_below(uint64_t n)
{
	uint64_t r;

	/* the bias is below 2^-32 for any number of fields that memory holds */
	randombytes_buf(&r, sizeof(r));
	return r % n;
}

static void
reply_pick(struct call *a, struct slice field, struct slice value, bool values)
{
	if (values && a->out->version >= 3)
		resp_array(a->out, 2);
	resp_bulk(a->out, field);
	if (values)
		resp_bulk(a->out, value);
}

/* Fills n picks with fields, in the order of the hash, and restores the order of chance. */
static void
pick_fields(struct call *a, const struct value *v, struct pick *picks, size_t n)
{
	struct store_walk w = {0};
	struct slice field, value;
	size_t done = 0;

	for (size_t i = 0; i < n; i++)
		picks[i] = (struct pick){.index = random_below(v->fields), .order = i};
	qsort(picks, n, sizeof(*picks), by_index);
	for (uint64_t i = 0; done < n; i++) {
		if (store_walk_fields(a->f->db.store, a->argv[1], &w, &field, &value) != 1)
			break;
		for (; done < n && picks[done].index == i; done++) {
			picks[done].field = field; /* good: nothing changes meanwhile */
			picks[done].value = value;
		}
	}
	store_walk_end(&w);
	qsort(picks, n, sizeof(*picks), by_order);
}

/* count fields, any of them more than once. */
static void
reply_repeated(struct call *a, const struct value *v, uint64_t count, bool values)
{
	struct pick *picks = calloc(PICKS, sizeof(*picks));

	if (picks == NULL) {
		resp_error(a->out, command_failure(ENOMEM));
		return;
	}
	resp_array(a->out, values && a->out->version < 3 ? 2 * count : count);
	while (count > 0 && !a->out->failed) {
		size_t n = count < PICKS ? (size_t)count : PICKS;

		pick_fields(a, v, picks, n);
		for (size_t i = 0; i < n; i++)
			reply_pick(a, picks[i].field, picks[i].value, values);
		count -= n;
	}
	free(picks);
}

/* count different fields: each is taken with the right chance in one walk (Knuth 3.4.2, S). */
static void
reply_different(struct call *a, const struct value *v, uint64_t count, bool values)
{
	struct store_walk w = {0};
	struct slice field, value;
	uint64_t left = v->fields, wanted = count < left ? count : left;

	resp_array(a->out, values && a->out->version < 3 ? 2 * wanted : wanted);
	for (; wanted > 0; left--) {
		if (store_walk_fields(a->f->db.store, a->argv[1], &w, &field, &value) != 1)
			break;
		if (random_below(left) >= wanted)
			continue;
		reply_pick(a, field, value, values);
		wanted--;
	}
	store_walk_end(&w);
}

static void
reply_one(struct call *a, const struct value *v)
{
	struct store_walk w = {0};
	struct slice field = {NULL, 0}, value;

	for (uint64_t i = random_below(v->fields) + 1; i > 0; i--)
		if (store_walk_fields(a->f->db.store, a->argv[1], &w, &field, &value) != 1)
			break;
	resp_bulk(a->out, field);
	store_walk_end(&w);
}

void
command_hrandfield(struct call *a)
{
	bool values = a->argc == 4 && slice_is(a->argv[3], "withvalues");
	struct value v;
	int64_t count = 0;
	int there;

	if (a->argc >= 3 &&
	    arg_range(a, a->argv[2], -INT64_MAX, INT64_MAX, &count,
		"value is out of range, value must between -9223372036854775807 and "
		"9223372036854775807") != 0)
		return;
	if (a->argc > 4 || (a->argc == 4 && !values)) {
		reply_syntax(a);
		return;
	}
	if (values && (count < -INT64_MAX / 2 || count > INT64_MAX / 2)) {
		resp_error(a->out, "value is out of range");
		return;
	}
	there = arg_key(a, 1, VALUE_HASH, &v);
	if (there == 0 && a->argc == 2)
		resp_null(a->out);
	else if (there == 0 || (there == 1 && a->argc > 2 && count == 0))
		resp_array(a->out, 0);
	if (there != 1 || (a->argc > 2 && count == 0))
		return;
	if (a->argc == 2)
		reply_one(a, &v);
	else if (count < 0)
		reply_repeated(a, &v, (uint64_t)-count, values);
	else
		reply_different(a, &v, (uint64_t)count, values);
}
