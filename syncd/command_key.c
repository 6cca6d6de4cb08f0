/* SPDX-License-Identifier: ISC */
/*
 * Commands of keys, whatever their type: presence, names, ends, walks.
 */
#include "config.h"

#include "command.h"

#include <string.h>

#include "glob.h"

enum { RANDOM_TRIES = 100, TEXT_EMBEDDED = 44, LIST_FIELDS = 128, LIST_BYTES = 64 };

static const char *
type_name(const struct value *v)
{
	return v->type == VALUE_HASH ? "hash" : "string";
}

void
command_type(struct call *a)
{
	struct value v;

	resp_status(a->out, db_find(a->f, a->argv[1], &v) == 1 ? type_name(&v) : "none");
}

void
command_exists(struct call *a)
{
	struct value v;
	int64_t n = 0;

	for (size_t i = 1; i < a->argc; i++)
		n += db_find(a->f, a->argv[i], &v);
	resp_int(a->out, n);
}

void
command_del(struct call *a)
{
	struct value v;
	int64_t n = 0;

	for (size_t i = 1; i < a->argc; i++) {
		if (db_find(a->f, a->argv[i], &v) == 0)
			continue;
		db_delete(a->f, a->argv[i]);
		db_notify(a->f, "del", a->argv[i]);
		n++;
	}
	resp_int(a->out, n);
}

/* RENAME: 1 done, 0 the new key is there and may not be replaced, -1 answered. */
static int
rename_key(struct call *a, bool replace)
{
	struct value v, old;
	bool same = slice_equal(a->argv[1], a->argv[2]);

	if (db_find(a->f, a->argv[1], &v) == 0) {
		resp_error(a->out, "no such key");
		return -1;
	}
	if (same)
		return replace;
	if (db_find(a->f, a->argv[2], &old) == 1 && !replace)
		return 0;
	db_rename(a->f, a->argv[1], a->argv[2]);
	db_notify(a->f, "rename_from", a->argv[1]);
	db_notify(a->f, "rename_to", a->argv[2]);
	return 1;
}

void
command_rename(struct call *a)
{
	if (rename_key(a, true) >= 0)
		resp_ok(a->out);
}

void
command_renamenx(struct call *a)
{
	int done = rename_key(a, false);

	if (done >= 0)
		resp_int(a->out, done);
}

void
command_randomkey(struct call *a)
{
	struct slice key;
	struct value v;

	for (int i = 0; i < RANDOM_TRIES; i++) {
		uint64_t number;

		randombytes_buf(&number, sizeof(number));
		if (store_random(a->f->db.store, number, &key) != 1)
			break;
		if (db_find(a->f, key, &v) == 1) {
			resp_bulk(a->out, key);
			return;
		}
	}
	resp_null(a->out);
}

/* ---- ends */

enum expire_option { EXPIRE_NX = 1, EXPIRE_XX = 2, EXPIRE_GT = 4, EXPIRE_LT = 8 };

static int
read_expire_options(struct call *a, unsigned *options)
{
	*options = 0;
	for (size_t i = 3; i < a->argc; i++) {
		if (slice_is(a->argv[i], "nx")) {
			*options |= EXPIRE_NX;
		} else if (slice_is(a->argv[i], "xx")) {
			*options |= EXPIRE_XX;
		} else if (slice_is(a->argv[i], "gt")) {
			*options |= EXPIRE_GT;
		} else if (slice_is(a->argv[i], "lt")) {
			*options |= EXPIRE_LT;
		} else {
			resp_errorf(a->out, "Unsupported option %.*s", (int)a->argv[i].len,
			    (const char *)a->argv[i].data);
			return -1;
		}
	}
	if ((*options & EXPIRE_NX) != 0 && (*options & ~(unsigned)EXPIRE_NX) != 0) {
		resp_error(
		    a->out, "NX and XX, GT or LT options at the same time are not compatible");
		return -1;
	}
	if ((*options & EXPIRE_GT) != 0 && (*options & EXPIRE_LT) != 0) {
		resp_error(a->out, "GT and LT options at the same time are not compatible");
		return -1;
	}
	return 0;
}

static void
expire(struct call *a, bool seconds, bool absolute)
{
	unsigned options;
	int64_t when, old;
	struct value v;

	if (read_expire_options(a, &options) != 0 ||
	    arg_expiry(a, a->argv[2], seconds, absolute, &when) != 0)
		return;
	if (db_find(a->f, a->argv[1], &v) == 0) {
		resp_int(a->out, 0);
		return;
	}
	old = v.expire_ms; /* none is as if it never ended */
	if (((options & EXPIRE_NX) != 0 && old != 0) || ((options & EXPIRE_XX) != 0 && old == 0) ||
	    ((options & EXPIRE_GT) != 0 && (old == 0 || when <= old)) ||
	    ((options & EXPIRE_LT) != 0 && old != 0 && when >= old)) {
		resp_int(a->out, 0);
		return;
	}
	if (when <= a->f->db.now_ms) {
		db_delete(a->f, a->argv[1]);
		db_notify(a->f, "del", a->argv[1]);
	} else {
		db_expire(a->f, a->argv[1], when);
		db_notify(a->f, "expire", a->argv[1]);
	}
	resp_int(a->out, 1);
}

void
command_expire(struct call *a)
{
	expire(a, true, false);
}

void
command_pexpire(struct call *a)
{
	expire(a, false, false);
}

void
command_expireat(struct call *a)
{
	expire(a, true, true);
}

void
command_pexpireat(struct call *a)
{
	expire(a, false, true);
}

/* -2: no key, -1: it does not end; else its end, or what is left. */
static void
reply_end(struct call *a, bool seconds, bool absolute)
{
	struct value v;
	int64_t n;

	if (db_find(a->f, a->argv[1], &v) == 0) {
		resp_int(a->out, -2);
		return;
	}
	if (v.expire_ms == 0) {
		resp_int(a->out, -1);
		return;
	}
	n = absolute ? v.expire_ms : v.expire_ms - a->f->db.now_ms;
	if (n < 0)
		n = 0;
	resp_int(a->out, seconds ? n / 1000 + (n % 1000 >= 500) : n);
}

void
command_ttl(struct call *a)
{
	reply_end(a, true, false);
}

void
command_pttl(struct call *a)
{
	reply_end(a, false, false);
}

void
command_expiretime(struct call *a)
{
	reply_end(a, true, true);
}

void
command_pexpiretime(struct call *a)
{
	reply_end(a, false, true);
}

void
command_persist(struct call *a)
{
	struct value v;
	bool done = db_find(a->f, a->argv[1], &v) == 1 && v.expire_ms != 0;

	if (done) {
		db_expire(a->f, a->argv[1], 0);
		db_notify(a->f, "persist", a->argv[1]);
	}
	resp_int(a->out, done);
}

/* ---- walks */

static bool
is_shown(const struct call *a, const struct value *v)
{
	return v->expire_ms == 0 || a->f->db.now_ms <= v->expire_ms;
}

void
command_keys(struct call *a)
{
	bool all = a->argv[1].len == 1 && a->argv[1].data[0] == '*';
	size_t place = resp_array_begin(a->out), n = 0;
	struct store_walk w = {0};
	struct slice key;
	struct value v;

	while (store_walk_keys(a->f->db.store, &w, &key, &v) == 1) {
		if (is_shown(a, &v) && (all || glob_match(a->argv[1], key, false))) {
			resp_bulk(a->out, key);
			n++;
		}
		if ((w.cursor == 0 && !w.more) || a->out->failed)
			break;
	}
	store_walk_end(&w);
	resp_array_end(a->out, place, n);
}

void
command_scan(struct call *a)
{
	struct store_walk w = {0};
	struct scan_options o;
	struct slice key;
	struct value v;
	size_t place, n = 0;

	if (arg_cursor(a, a->argv[1], &w.cursor) != 0 || arg_scan(a, 2, &o) != 0)
		return;
	place = resp_array_begin(a->out);
	for (int64_t i = 0; i < o.count || w.more; i++) {
		if (store_walk_keys(a->f->db.store, &w, &key, &v) != 1) {
			w.cursor = 0;
			break;
		}
		if (is_shown(a, &v) && (o.type.data == NULL || slice_is(o.type, type_name(&v))) &&
		    (!o.match || glob_match(o.pattern, key, false))) {
			resp_bulk(a->out, key);
			n++;
		}
		if (w.cursor == 0 && !w.more)
			break;
	}
	store_walk_end(&w);
	reply_scan(a, place, w.cursor, n);
}

/* ---- about a value */

static const char *
hash_encoding(struct call *a, const struct value *v)
{
	struct store_walk w = {0};
	struct slice field, value;
	const char *name = v->fields > LIST_FIELDS ? "hashtable" : "listpack";

	for (uint64_t i = 0; i < v->fields && v->fields <= LIST_FIELDS; i++) {
		if (store_walk_fields(a->f->db.store, a->argv[2], &w, &field, &value) != 1)
			break;
		if (field.len > LIST_BYTES || value.len > LIST_BYTES)
			name = "hashtable";
	}
	store_walk_end(&w);
	return name;
}

/* What Redis would say of a value that was set as a whole. */
void
command_object_encoding(struct call *a)
{
	struct value v;
	int64_t number;

	if (db_find(a->f, a->argv[2], &v) == 0)
		resp_null(a->out);
	else if (v.type == VALUE_HASH)
		resp_text(a->out, hash_encoding(a, &v));
	else if (resp_parse_int(v.string, &number))
		resp_text(a->out, "int");
	else
		resp_text(a->out, v.string.len <= TEXT_EMBEDDED ? "embstr" : "raw");
}
