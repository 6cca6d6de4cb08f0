/* SPDX-License-Identifier: ISC */
/*
 * Commands of strings.
 */
#include "config.h"

#include "command.h"

#include <math.h>

enum set_option {
	SET_NX = 1 << 0,
	SET_XX = 1 << 1,
	SET_EX = 1 << 2,
	SET_PX = 1 << 3,
	SET_EXAT = 1 << 4,
	SET_PXAT = 1 << 5,
	SET_KEEPTTL = 1 << 6,
	SET_GET = 1 << 7,
	SET_PERSIST = 1 << 8,
	SET_TIMES = SET_EX | SET_PX | SET_EXAT | SET_PXAT
};

static const char not_an_integer[] = "value is not an integer or out of range";

/* The options of SET and GETEX. 0, or -1 and answered. *time is the argument of EX and its kin. */
static int
read_options(struct call *a, size_t from, bool is_set, unsigned *options, struct slice *time)
{
	static const struct {
		const char *word;
		unsigned option, excludes;
		bool of_set, of_getex, has_time;
	} words[] = {
	    {"nx", SET_NX, SET_XX, true, false, false},
	    {"xx", SET_XX, SET_NX, true, false, false},
	    {"get", SET_GET, 0, true, false, false},
	    {"keepttl", SET_KEEPTTL, SET_TIMES | SET_PERSIST, true, false, false},
	    {"persist", SET_PERSIST, SET_TIMES | SET_KEEPTTL, false, true, false},
	    {"ex", SET_EX, SET_TIMES | SET_KEEPTTL | SET_PERSIST, true, true, true},
	    {"px", SET_PX, SET_TIMES | SET_KEEPTTL | SET_PERSIST, true, true, true},
	    {"exat", SET_EXAT, SET_TIMES | SET_KEEPTTL | SET_PERSIST, true, true, true},
	    {"pxat", SET_PXAT, SET_TIMES | SET_KEEPTTL | SET_PERSIST, true, true, true},
	};

	*options = 0;
	for (size_t i = from; i < a->argc; i++) {
		size_t w = 0, n = sizeof(words) / sizeof(words[0]);

		while (w < n && !slice_is(a->argv[i], words[w].word))
			w++;
		if (w == n || (is_set ? !words[w].of_set : !words[w].of_getex) ||
		    (*options & words[w].excludes & ~words[w].option) != 0 ||
		    (words[w].has_time && i + 1 == a->argc)) {
			reply_syntax(a);
			return -1;
		}
		*options |= words[w].option;
		if (words[w].has_time)
			*time = a->argv[++i];
	}
	return 0;
}

/* A time of SET and its kin, which must be above 0. */
static int
read_time(struct call *a, struct slice s, unsigned options, int64_t *ms)
{
	bool seconds = (options & (SET_EX | SET_EXAT)) != 0;
	bool absolute = (options & (SET_EXAT | SET_PXAT)) != 0;
	int64_t n;

	if (arg_int(a, s, &n, NULL) != 0)
		return -1;
	if (n <= 0) {
		resp_errorf(a->out, "invalid expire time in '%s' command", a->cmd->name);
		return -1;
	}
	return arg_expiry(a, s, seconds, absolute, ms);
}

/* SET in all its forms: as_number: answers 1 or 0. */
static void
set_generic(struct call *a, struct slice value, unsigned options, struct slice time, bool as_number)
{
	struct slice key = a->argv[1];
	struct value old = {.type = VALUE_NONE};
	int64_t expire_ms = 0;
	bool there;

	if ((options & SET_TIMES) != 0 && read_time(a, time, options, &expire_ms) != 0)
		return;
	there = db_find(a->f, key, &old) == 1;
	if ((options & SET_GET) != 0) {
		if (there && old.type != VALUE_STRING) {
			reply_wrong_type(a);
			return;
		}
		if (there)
			resp_bulk(a->out, old.string);
		else
			resp_null(a->out);
	}
	if ((there && (options & SET_NX) != 0) || (!there && (options & SET_XX) != 0)) {
		if ((options & SET_GET) == 0 && as_number)
			resp_int(a->out, 0);
		else if ((options & SET_GET) == 0)
			resp_null(a->out);
		return;
	}
	if ((options & SET_KEEPTTL) != 0 && there)
		expire_ms = old.expire_ms;
	db_set(a->f, key, value, expire_ms);
	db_notify(a->f, "set", key);
	if ((options & SET_TIMES) != 0)
		db_notify(a->f, "expire", key);
	if ((options & SET_GET) == 0 && as_number)
		resp_int(a->out, 1);
	else if ((options & SET_GET) == 0)
		resp_ok(a->out);
}

void
command_set(struct call *a)
{
	struct slice time = {NULL, 0};
	unsigned options = 0;

	if (a->argc == 3 || read_options(a, 3, true, &options, &time) == 0)
		set_generic(a, a->argv[2], options, time, false);
}

void
command_setnx(struct call *a)
{
	set_generic(a, a->argv[2], SET_NX, a->argv[2], true);
}

void
command_setex(struct call *a)
{
	set_generic(a, a->argv[3], SET_EX, a->argv[2], false);
}

void
command_psetex(struct call *a)
{
	set_generic(a, a->argv[3], SET_PX, a->argv[2], false);
}

/* Answers the string at argv[1]: 1, 0 there is none (answered null), -1 wrong type. */
static int
reply_string(struct call *a, struct value *v)
{
	int there = arg_key(a, 1, VALUE_STRING, v);

	if (there == 1)
		resp_bulk(a->out, v->string);
	else if (there == 0)
		resp_null(a->out);
	return there;
}

void
command_get(struct call *a)
{
	struct value v;

	(void)reply_string(a, &v);
}

void
command_getset(struct call *a)
{
	struct value v;

	if (reply_string(a, &v) < 0)
		return;
	db_set(a->f, a->argv[1], a->argv[2], 0);
	db_notify(a->f, "set", a->argv[1]);
}

void
command_getdel(struct call *a)
{
	struct value v;

	if (reply_string(a, &v) != 1)
		return;
	db_delete(a->f, a->argv[1]);
	db_notify(a->f, "del", a->argv[1]);
}

void
command_getex(struct call *a)
{
	struct slice time = {NULL, 0};
	unsigned options;
	struct value v;
	int64_t expire_ms = 0;

	if (read_options(a, 2, false, &options, &time) != 0)
		return;
	switch (arg_key(a, 1, VALUE_STRING, &v)) {
	case 0:
		resp_null(a->out);
		return;
	case 1:
		break;
	default:
		return;
	}
	if ((options & SET_TIMES) != 0 && read_time(a, time, options, &expire_ms) != 0)
		return;
	resp_bulk(a->out, v.string);
	if ((options & (SET_EXAT | SET_PXAT)) != 0 && expire_ms <= a->f->db.now_ms) {
		db_delete(a->f, a->argv[1]);
		db_notify(a->f, "del", a->argv[1]);
	} else if ((options & SET_TIMES) != 0) {
		db_expire(a->f, a->argv[1], expire_ms);
		db_notify(a->f, "expire", a->argv[1]);
	} else if ((options & SET_PERSIST) != 0 && v.expire_ms != 0) {
		db_expire(a->f, a->argv[1], 0);
		db_notify(a->f, "persist", a->argv[1]);
	}
}

void
command_mget(struct call *a)
{
	struct value v;

	resp_array(a->out, a->argc - 1);
	for (size_t i = 1; i < a->argc; i++) {
		if (db_find(a->f, a->argv[i], &v) == 1 && v.type == VALUE_STRING)
			resp_bulk(a->out, v.string);
		else
			resp_null(a->out);
	}
}

static void
set_all(struct call *a)
{
	struct value v;

	for (size_t i = 1; i < a->argc; i += 2) {
		(void)db_find(a->f, a->argv[i], &v); /* notifies of one that is expired */
		db_set(a->f, a->argv[i], a->argv[i + 1], 0);
		db_notify(a->f, "set", a->argv[i]);
	}
}

static bool
is_odd_set(struct call *a)
{
	if (a->argc % 2 == 1)
		return false;
	resp_errorf(a->out, "wrong number of arguments for '%s' command", a->cmd->name);
	return true;
}

void
command_mset(struct call *a)
{
	if (is_odd_set(a))
		return;
	set_all(a);
	resp_ok(a->out);
}

void
command_msetnx(struct call *a)
{
	struct value v;

	if (is_odd_set(a))
		return;
	for (size_t i = 1; i < a->argc; i += 2) {
		if (db_find(a->f, a->argv[i], &v) == 1) {
			resp_int(a->out, 0);
			return;
		}
	}
	set_all(a);
	resp_int(a->out, 1);
}

/* Whether a string of that length is allowed; answered if not. */
static bool
fits(struct call *a, size_t length, size_t more)
{
	if (more <= a->f->options.bulk_max && length <= a->f->options.bulk_max - more)
		return true;
	resp_error(a->out, "string exceeds maximum allowed size (proto-max-bulk-len)");
	return false;
}

void
command_append(struct call *a)
{
	struct value v;
	int there = arg_key(a, 1, VALUE_STRING, &v);
	size_t length = there == 1 ? v.string.len : 0, more = a->argv[2].len;

	if (there < 0 || (there == 1 && !fits(a, length, more)))
		return;
	if (there == 0)
		db_set(a->f, a->argv[1], a->argv[2], 0);
	else if (more > 0)
		db_splice(a->f, a->argv[1], length, a->argv[2]);
	else
		command_touch(a->f, a->argv[1]);
	db_notify(a->f, "append", a->argv[1]);
	resp_int(a->out, (int64_t)(length + more));
}

void
command_strlen(struct call *a)
{
	struct value v;
	int there = arg_key(a, 1, VALUE_STRING, &v);

	if (there >= 0)
		resp_int(a->out, there == 1 ? (int64_t)v.string.len : 0);
}

void
command_getrange(struct call *a)
{
	int64_t start, end, len;
	struct value v;
	struct slice part = {(const uint8_t *)"", 0};
	int there;

	if (arg_int(a, a->argv[2], &start, NULL) != 0 || arg_int(a, a->argv[3], &end, NULL) != 0)
		return;
	there = arg_key(a, 1, VALUE_STRING, &v);
	if (there < 0)
		return;
	len = there == 1 ? (int64_t)v.string.len : 0;
	if (start < 0 && end < 0 && start > end) {
		resp_bulk(a->out, part);
		return;
	}
	if (start < 0)
		start = start + len < 0 ? 0 : start + len;
	if (end < 0)
		end = end + len < 0 ? 0 : end + len;
	if (end >= len)
		end = len - 1;
	if (start <= end && len > 0)
		part = (struct slice){v.string.data + start, (size_t)(end - start + 1)};
	resp_bulk(a->out, part);
}

void
command_setrange(struct call *a)
{
	int64_t offset;
	struct value v;
	size_t length;
	int there;

	if (arg_int(a, a->argv[2], &offset, NULL) != 0)
		return;
	if (offset < 0) {
		resp_error(a->out, "offset is out of range");
		return;
	}
	there = arg_key(a, 1, VALUE_STRING, &v);
	if (there < 0)
		return;
	length = there == 1 ? v.string.len : 0;
	if (a->argv[3].len == 0) {
		resp_int(a->out, (int64_t)length);
		return;
	}
	if (!fits(a, (size_t)offset, a->argv[3].len))
		return;
	if (there == 0)
		db_set(a->f, a->argv[1], (struct slice){(const uint8_t *)"", 0}, 0);
	db_splice(a->f, a->argv[1], (size_t)offset, a->argv[3]);
	db_notify(a->f, "setrange", a->argv[1]);
	if (length < (size_t)offset + a->argv[3].len)
		length = (size_t)offset + a->argv[3].len;
	resp_int(a->out, (int64_t)length);
}

static void
increment(struct call *a, int64_t by)
{
	char text[RESP_INT_TEXT];
	struct value v;
	int64_t n = 0;
	int there = arg_key(a, 1, VALUE_STRING, &v);

	if (there < 0 || (there == 1 && arg_int(a, v.string, &n, not_an_integer) != 0))
		return;
	if (__builtin_add_overflow(n, by, &n)) {
		resp_error(a->out, "increment or decrement would overflow");
		return;
	}
	db_set(a->f, a->argv[1], (struct slice){(uint8_t *)text, resp_format_int(text, n)},
	    there == 1 ? v.expire_ms : 0);
	db_notify(a->f, "incrby", a->argv[1]);
	resp_int(a->out, n);
}

void
command_incr(struct call *a)
{
	increment(a, 1);
}

void
command_decr(struct call *a)
{
	increment(a, -1);
}

void
command_incrby(struct call *a)
{
	int64_t by;

	if (arg_int(a, a->argv[2], &by, NULL) == 0)
		increment(a, by);
}

void
command_decrby(struct call *a)
{
	int64_t by;

	if (arg_int(a, a->argv[2], &by, NULL) != 0)
		return;
	if (by == INT64_MIN)
		resp_error(a->out, "decrement would overflow");
	else
		increment(a, -by);
}

void
command_incrbyfloat(struct call *a)
{
	char text[RESP_FLOAT_TEXT];
	struct slice sum = {(uint8_t *)text, 0};
	struct value v;
	long double n = 0, by;
	int there = arg_key(a, 1, VALUE_STRING, &v);

	if (there < 0)
		return;
	if ((there == 1 && !resp_parse_float(v.string, &n)) || !resp_parse_float(a->argv[2], &by)) {
		resp_error(a->out, "value is not a valid float");
		return;
	}
	n += by;
	if (isnan(n) || isinf(n)) {
		resp_error(a->out, "increment would produce NaN or Infinity");
		return;
	}
	sum.len = resp_format_float(text, n);
	db_set(a->f, a->argv[1], sum, there == 1 ? v.expire_ms : 0);
	db_notify(a->f, "incrbyfloat", a->argv[1]);
	resp_bulk(a->out, sum);
}
