/* SPDX-License-Identifier: ISC */
/*
 * Arguments that many commands have: numbers, keys of a type, times, options of SCAN.
 */
#include "config.h"

#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
arg_int(struct call *a, struct slice s, int64_t *n, const char *text)
{
	if (resp_parse_int(s, n))
		return 0;
	resp_error(a->out, text != NULL ? text : "value is not an integer or out of range");
	return -1;
}

int
arg_range(struct call *a, struct slice s, int64_t low, int64_t high, int64_t *n, const char *text)
{
	if (arg_int(a, s, n, NULL) != 0)
		return -1;
	if (*n >= low && *n <= high)
		return 0;
	resp_error(a->out, text);
	return -1;
}

int
arg_key(struct call *a, size_t i, enum value_type type, struct value *v)
{
	if (db_find(a->f, a->argv[i], v) == 0) {
		a->f->counts.misses++;
		return 0;
	}
	a->f->counts.hits++;
	if (v->type == type)
		return 1;
	reply_wrong_type(a);
	return -1;
}

int
arg_expiry(struct call *a, struct slice s, bool seconds, bool absolute, int64_t *ms)
{
	int64_t n;

	if (arg_int(a, s, &n, NULL) != 0)
		return -1;
	/* EXPIRE and its kin take times in the past, for they delete */
	if (seconds && (n > INT64_MAX / 1000 || n < INT64_MIN / 1000))
		goto invalid;
	if (seconds)
		n *= 1000;
	if (!absolute && n > INT64_MAX - a->f->db.now_ms)
		goto invalid;
	*ms = absolute ? n : n + a->f->db.now_ms;
	return 0;
invalid:
	resp_errorf(a->out, "invalid expire time in '%s' command", a->cmd->name);
	return -1;
}

int
arg_cursor(struct call *a, struct slice s, uint64_t *cursor)
{
	char text[RESP_INT_TEXT], *end;

	if (s.len > 0 && s.len < sizeof(text) && s.data[0] != ' ' &&
	    (s.data[0] < '\t' || s.data[0] > '\r')) {
		memcpy(text, s.data, s.len);
		text[s.len] = '\0';
		errno = 0;
		*cursor = strtoul(text, &end, 10);
		if (*end == '\0' && errno == 0)
			return 0;
	}
	resp_error(a->out, "invalid cursor");
	return -1;
}

int
arg_scan(struct call *a, size_t from, struct scan_options *o)
{
	memset(o, 0, sizeof(*o));
	o->count = 10;
	for (size_t i = from; i < a->argc; i += 2) {
		bool more = a->argc - i >= 2;

		if (more && slice_is(a->argv[i], "count")) {
			if (arg_int(a, a->argv[i + 1], &o->count, NULL) != 0)
				return -1;
			if (o->count < 1) {
				reply_syntax(a);
				return -1;
			}
		} else if (more && slice_is(a->argv[i], "match")) {
			o->pattern = a->argv[i + 1];
			o->match = !(o->pattern.len == 1 && o->pattern.data[0] == '*');
		} else if (more && a->argv[0].len == 4 && slice_is(a->argv[i], "type")) {
			o->type = a->argv[i + 1];
		} else {
			reply_syntax(a);
			return -1;
		}
	}
	return 0;
}

void
reply_scan(struct call *a, size_t place, uint64_t cursor, size_t n)
{
	char head[96], digits[RESP_INT_TEXT];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)cursor);

	if (a->out->failed)
		return;
	len = snprintf(head, sizeof(head), "*2\r\n$%d\r\n%s\r\n*%zu\r\n", len, digits, n);
	resp_insert(a->out, place, head, (size_t)len);
}
