/* SPDX-License-Identifier: ISC */
/*
 * Reading: one key, and keys or fields in the order of their hash. Everything is read through the
 * open write transaction, so that it sees what was applied last.
 */
#include "config.h"

#include "store_internal.h"

#include <stdlib.h>
#include <string.h>

/* Where a walk is: behind a record. */
struct place {
	struct record_key last;
	uint64_t object;  /* of a walk through fields */
	uint64_t changes; /* of the store when the object was looked up */
};

static const struct set *
active(const struct store *s)
{
	return &s->sets[s->state.active];
}

/* The record of a key: 1, or 0 when it is not there at that time. */
static int
look_up(struct store *s, struct slice key, int64_t now_ms, struct record *r)
{
	struct record_key k;
	MDB_val at, data;

	state_key(s->hash_key, key, &k);
	at = store_val(k.bytes, k.len);
	if (mdb_get(s->txn, active(s)->keys, &at, &data) != 0 || state_parse(data, r) != 0)
		return 0;
	return r->expire_ms == 0 || r->expire_ms > now_ms;
}

static void
to_value(const struct record *r, struct value *v)
{
	*v = (struct value){r->type, r->expire_ms, r->string, r->fields};
}

int
store_get(struct store *s, struct slice key, int64_t now_ms, struct value *v)
{
	struct record r;

	if (look_up(s, key, now_ms, &r) == 0) {
		memset(v, 0, sizeof(*v));
		return 0;
	}
	to_value(&r, v);
	return 1;
}

int
store_hget(
    struct store *s, struct slice key, int64_t now_ms, struct slice field, struct slice *value)
{
	struct record_key f;
	struct record r;
	struct slice name;
	MDB_val at, data;

	if (look_up(s, key, now_ms, &r) == 0 || r.type != VALUE_HASH)
		return 0;
	state_field_key(s->hash_key, r.object, field, &f);
	at = store_val(f.bytes, f.len);
	if (mdb_get(s->txn, active(s)->fields, &at, &data) != 0)
		return 0;
	state_field_of(at, data, &name, value);
	return 1;
}

uint64_t
store_count(const struct store *s)
{
	MDB_stat stat;

	return mdb_stat(s->txn, active(s)->keys, &stat) == 0 ? stat.ms_entries : 0;
}

/* The first record at or behind a number; the first of all behind the last. */
int
store_random(struct store *s, uint64_t number, struct slice *key)
{
	uint8_t from[8];
	struct record r;
	MDB_cursor *c;
	MDB_val k = {sizeof(from), from}, data;
	int rc;

	state_put_u64(from, number >> 1);
	if (mdb_cursor_open(s->txn, active(s)->keys, &c) != 0)
		return 0;
	rc = mdb_cursor_get(c, &k, &data, MDB_SET_RANGE);
	if (rc == MDB_NOTFOUND)
		rc = mdb_cursor_get(c, &k, &data, MDB_FIRST);
	mdb_cursor_close(c);
	if (rc != 0 || state_parse(data, &r) != 0)
		return 0;
	*key = state_key_of(k, &r);
	return 1;
}

/*
 * The next record of a walk through a database. prefix: bytes that its keys begin with. The cursor
 * of the store stays where the walk is; it is set again when another walk or a change used it.
 */
static int
step(struct store *s, struct store_walk *w, MDB_dbi dbi, const uint8_t *prefix, size_t prefix_len,
    MDB_val *k, MDB_val *data)
{
	struct place *p = w->state;
	bool begun = p->last.len > 0;
	int rc;

	if (s->at_walk != NULL && s->walker == p && s->walk_changes == s->changes && begun) {
		rc = mdb_cursor_get(s->at_walk, k, data, MDB_NEXT);
	} else {
		if (s->at_walk != NULL)
			mdb_cursor_close(s->at_walk);
		s->at_walk = NULL;
		if (mdb_cursor_open(s->txn, dbi, &s->at_walk) != 0)
			return 0;
		if (!begun) {
			if (prefix_len > 0)
				memcpy(p->last.bytes, prefix, prefix_len);
			state_put_u64(p->last.bytes + prefix_len, w->cursor);
			p->last.len = prefix_len + 8;
		}
		*k = store_val(p->last.bytes, p->last.len);
		rc = mdb_cursor_get(s->at_walk, k, data, MDB_SET_RANGE);
		if (rc == 0 && begun && k->mv_size == p->last.len &&
		    memcmp(k->mv_data, p->last.bytes, k->mv_size) == 0)
			rc = mdb_cursor_get(s->at_walk, k, data, MDB_NEXT);
	}
	s->walker = p;
	s->walk_changes = s->changes;
	if (rc != 0 || k->mv_size < prefix_len + 8 || k->mv_size > sizeof(p->last.bytes) ||
	    (prefix_len > 0 && memcmp(k->mv_data, prefix, prefix_len) != 0))
		return 0;
	memcpy(p->last.bytes, k->mv_data, k->mv_size);
	p->last.len = k->mv_size;
	return 1;
}

/* Says in w where a walk goes on that stops behind the record at which the cursor is. */
static void
look_ahead(struct store *s, struct store_walk *w, size_t prefix_len)
{
	const struct place *p = w->state;
	uint64_t hash = state_get_u64(p->last.bytes + prefix_len);
	MDB_val k, data;

	w->more = false;
	w->cursor = 0;
	if (mdb_cursor_get(s->at_walk, &k, &data, MDB_NEXT) == 0) {
		if (k.mv_size >= prefix_len + 8 &&
		    memcmp(k.mv_data, p->last.bytes, prefix_len) == 0) {
			w->more = state_get_u64((const uint8_t *)k.mv_data + prefix_len) == hash;
			w->cursor = w->more ? hash : hash + 1;
		}
		(void)mdb_cursor_get(s->at_walk, &k, &data, MDB_PREV);
	} else {
		s->walker = NULL; /* at the end: set again */
	}
}

/* The place of a walk, made at its first step. */
static struct place *
place_of(struct store_walk *w)
{
	if (w->state == NULL)
		w->state = calloc(1, sizeof(struct place));
	return w->state;
}

int
store_walk_keys(struct store *s, struct store_walk *w, struct slice *key, struct value *v)
{
	struct record r;
	MDB_val k, data;

	if (place_of(w) == NULL ||
	    step(s, w, active(s)->keys, (const uint8_t *)"", 0, &k, &data) == 0 ||
	    state_parse(data, &r) != 0) {
		w->cursor = 0;
		w->more = false;
		return 0;
	}
	look_ahead(s, w, 0);
	*key = state_key_of(k, &r);
	if (v != NULL)
		to_value(&r, v);
	return 1;
}

int
store_walk_fields(struct store *s, struct slice key, struct store_walk *w, struct slice *field,
    struct slice *value)
{
	struct place *p = place_of(w);
	struct record r;
	uint8_t prefix[8];
	MDB_val k, data;

	if (p == NULL)
		return 0;
	if (p->object == 0 || p->changes != s->changes) {
		/* INT64_MIN: the caller has looked whether the key has expired */
		if (look_up(s, key, INT64_MIN, &r) == 0 || r.type != VALUE_HASH) {
			w->cursor = 0;
			w->more = false;
			return 0;
		}
		if (p->object != r.object)
			p->last.len = 0;
		p->object = r.object;
		p->changes = s->changes;
	}
	state_put_u64(prefix, p->object);
	if (step(s, w, active(s)->fields, prefix, sizeof(prefix), &k, &data) == 0) {
		w->cursor = 0;
		w->more = false;
		return 0;
	}
	look_ahead(s, w, sizeof(prefix));
	state_field_of(k, data, field, value);
	return 1;
}

void
store_walk_end(struct store_walk *w)
{
	free(w->state);
	w->state = NULL;
}

/* The earliest time in the database of times. */
static int
first_expiry(struct store *s, MDB_val *k)
{
	MDB_cursor *c;
	MDB_val data;
	int rc;

	if (mdb_cursor_open(s->txn, active(s)->expiry, &c) != 0)
		return 0;
	rc = mdb_cursor_get(c, k, &data, MDB_FIRST);
	mdb_cursor_close(c);
	return rc == 0 && k->mv_size >= 16;
}

int64_t
store_next_expiry(struct store *s)
{
	MDB_val k;

	return first_expiry(s, &k) ? (int64_t)state_get_u64(k.mv_data) : 0;
}

int
store_next_expired(struct store *s, int64_t now_ms, struct slice *key)
{
	struct record r;
	MDB_val e, k, data;

	if (!first_expiry(s, &e) || (int64_t)state_get_u64(e.mv_data) > now_ms)
		return 0;
	k = store_val((const uint8_t *)e.mv_data + 8, e.mv_size - 8);
	if (mdb_get(s->txn, active(s)->keys, &k, &data) != 0 || state_parse(data, &r) != 0)
		return 0;
	*key = state_key_of(k, &r);
	return 1;
}
