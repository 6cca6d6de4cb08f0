/* SPDX-License-Identifier: ISC */
/*
 * Copies of the state that leave while changes go on, and the other end: loading one beside the
 * state in use. Both states are in one file of LMDB, so one commit replaces the one by the other.
 */
#include "config.h"

#include "store_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

struct store_copy {
	struct store *s;
	struct store_copy *next;
	MDB_txn *txn;  /* read-only: what was committed when it began */
	uint64_t room; /* pages that LMDB could take then */
	struct state state;
	struct set set;
};

/* Where a copy is, behind an item. In bytes: u8 inside, u64 field hash, u32 nth, key. */
struct place {
	bool inside; /* a hash: more fields may follow */
	uint64_t field_hash;
	uint32_t nth; /* of the fields with that hash, from 1 */
	struct record_key key;
};

enum { PLACE_HEADER = 13 };

static void
put_place(const struct place *p, struct store_cursor *c)
{
	c->bytes[0] = p->inside;
	state_put_u64(c->bytes + 1, p->field_hash);
	for (unsigned int i = 0; i < 4; i++)
		c->bytes[9 + i] = (uint8_t)(p->nth >> (8 * i));
	memcpy(c->bytes + PLACE_HEADER, p->key.bytes, p->key.len);
	c->len = PLACE_HEADER + p->key.len;
}

/* Returns 0, or -1 with EINVAL: it is not one of ours. */
static int
get_place(const struct store_cursor *c, struct place *p)
{
	memset(p, 0, sizeof(*p));
	if (c->len == 0)
		return 0;
	if (c->len < PLACE_HEADER + 8 || c->len > PLACE_HEADER + RECORD_KEY_MAX ||
	    c->bytes[0] > 1) {
		errno = EINVAL;
		return -1;
	}
	p->inside = c->bytes[0] == 1;
	p->field_hash = state_get_u64(c->bytes + 1);
	for (unsigned int i = 0; i < 4; i++)
		p->nth |= (uint32_t)c->bytes[9 + i] << (8 * i);
	p->key.len = c->len - PLACE_HEADER;
	memcpy(p->key.bytes, c->bytes + PLACE_HEADER, p->key.len);
	return 0;
}

struct store_copy *
store_copy_open(struct store *s)
{
	struct store_copy *c = calloc(1, sizeof(*c));
	int rc;

	if (c == NULL)
		return NULL;
	c->s = s;
	rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &c->txn);
	if (rc == 0)
		rc = store_get_state(s, c->txn, &c->state);
	if (rc != 0) {
		if (c->txn != NULL)
			mdb_txn_abort(c->txn);
		free(c);
		errno = store_errno(rc);
		return NULL;
	}
	c->set = s->sets[c->state.active];
	c->next = s->copies;
	s->copies = c;
	(void)store_measure(s); /* without it the old figure is as good */
	c->room = s->room;
	return c;
}

uint64_t
store_copy_oldest(const struct store *s)
{
	uint64_t oldest = UINT64_MAX;

	for (const struct store_copy *c = s->copies; c != NULL; c = c->next) {
		if (mdb_txn_id(c->txn) < oldest)
			oldest = mdb_txn_id(c->txn);
	}
	return oldest;
}

bool
store_copy_hurts(const struct store_copy *c)
{
	return c->s->refused || c->s->room < c->room / 2;
}

struct position
store_copy_position(const struct store_copy *c)
{
	return c->state.position;
}

void
store_copy_close(struct store_copy *c)
{
	if (c == NULL)
		return;
	for (struct store_copy **p = &c->s->copies; *p != NULL; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	mdb_txn_abort(c->txn);
	free(c);
}

static int
append(struct change *body, const struct change_op *op)
{
	if (change_append(body, op) == 0)
		return 0;
	return ENOMEM;
}

/* Goes to the field behind the place. Returns 0, MDB_NOTFOUND when it was the last, or an error. */
static int
seek_field(MDB_cursor *fields, uint64_t object, const struct place *p, MDB_val *k, MDB_val *data)
{
	uint8_t from[16];
	uint32_t skip = p->inside ? p->nth : 0;
	int rc;

	state_put_u64(from, object);
	state_put_u64(from + 8, p->inside ? p->field_hash : 0);
	*k = store_val(from, sizeof(from));
	rc = mdb_cursor_get(fields, k, data, MDB_SET_RANGE);
	while (rc == 0 && skip > 0 && k->mv_size >= 16 && memcmp(k->mv_data, from, 16) == 0) {
		skip--;
		rc = mdb_cursor_get(fields, k, data, MDB_NEXT);
	}
	return rc;
}

/* The fields of a hash from the place on, until there are max bytes. */
static int
copy_hash(MDB_cursor *fields, const struct record *r, struct slice key, struct place *p, size_t max,
    struct change *body)
{
	struct change_op op = {.kind = CHANGE_HSET, .key = key};
	uint8_t prefix[8];
	MDB_val k, data;
	int rc = seek_field(fields, r->object, p, &k, &data);

	state_put_u64(prefix, r->object);
	while (rc == 0 && k.mv_size >= 16 && memcmp(k.mv_data, prefix, 8) == 0) {
		uint64_t hash = state_get_u64((const uint8_t *)k.mv_data + 8);

		if (body->n_ops > 0 && body->len >= max)
			return 0;
		state_field_of(k, data, &op.field, &op.value);
		if ((rc = append(body, &op)) != 0)
			return rc;
		p->nth = p->inside && p->field_hash == hash ? p->nth + 1 : 1;
		p->field_hash = hash;
		p->inside = true;
		rc = mdb_cursor_get(fields, &k, &data, MDB_NEXT);
	}
	if (rc != 0 && rc != MDB_NOTFOUND)
		return rc;
	p->inside = false;
	op = (struct change_op){.kind = CHANGE_EXPIRE, .key = key, .expire_ms = r->expire_ms};
	return r->expire_ms != 0 ? append(body, &op) : 0;
}

/* Goes to the key behind the place, or to the one in the middle of which it is. */
static int
seek_key(MDB_cursor *keys, const struct place *p, MDB_val *k, MDB_val *data)
{
	int rc;

	*k = store_val(p->key.bytes, p->key.len);
	if (p->key.len == 0)
		return mdb_cursor_get(keys, k, data, MDB_FIRST);
	rc = mdb_cursor_get(keys, k, data, MDB_SET_RANGE);
	if (rc == 0 && !p->inside && k->mv_size == p->key.len &&
	    memcmp(k->mv_data, p->key.bytes, k->mv_size) == 0)
		rc = mdb_cursor_get(keys, k, data, MDB_NEXT);
	return rc;
}

static int
copy_items(MDB_cursor *keys, MDB_cursor *fields, struct place *p, size_t max, struct change *body)
{
	MDB_val k, data;
	int rc = seek_key(keys, p, &k, &data);

	while (rc == 0 && (body->n_ops == 0 || body->len < max)) {
		struct record r;
		struct change_op op = {.kind = CHANGE_SET};

		if ((rc = state_parse(data, &r)) != 0)
			break;
		op.key = state_key_of(k, &r);
		op.value = r.string;
		op.expire_ms = r.expire_ms;
		memcpy(p->key.bytes, k.mv_data, k.mv_size);
		p->key.len = k.mv_size;
		rc = r.type == VALUE_HASH ? copy_hash(fields, &r, op.key, p, max, body)
					  : append(body, &op);
		if (rc != 0 || p->inside)
			break;
		rc = mdb_cursor_get(keys, &k, &data, MDB_NEXT);
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int
store_copy_next(struct store_copy *c, struct store_cursor *at, size_t max, struct change *body)
{
	size_t before = body->n_ops;
	MDB_cursor *keys, *fields;
	struct place p;
	int rc;

	if (get_place(at, &p) != 0)
		return -1;
	if ((rc = mdb_cursor_open(c->txn, c->set.keys, &keys)) == 0) {
		if ((rc = mdb_cursor_open(c->txn, c->set.fields, &fields)) == 0) {
			rc = copy_items(keys, fields, &p, max, body);
			mdb_cursor_close(fields);
		}
		mdb_cursor_close(keys);
	}
	if (rc != 0) {
		errno = store_errno(rc);
		return -1;
	}
	if (body->n_ops == before)
		return 0;
	put_place(&p, at);
	return 1;
}

/* The state that is not in use. */
static struct set *
other(struct store *s)
{
	return &s->sets[!s->state.active];
}

static int
failed(struct store *s, int rc)
{
	store_rebuild(s);
	errno = store_errno(rc);
	return -1;
}

int
store_load_begin(struct store *s, const struct position *p, const uint8_t id[STORE_ID])
{
	bool blank = sodium_is_zero(s->state.id, STORE_ID) == 1;
	int rc;

	if (s->in_change || sodium_is_zero(id, STORE_ID) == 1 ||
	    (!blank && memcmp(id, s->state.id, STORE_ID) != 0)) {
		errno = s->in_change ? EBUSY : EPERM;
		return -1;
	}
	if ((rc = state_clear(s, other(s))) != 0)
		return failed(s, rc);
	s->load = (struct load){.active = true, .position = *p};
	memcpy(s->load.id, id, STORE_ID);
	return store_checkpoint(s, true);
}

int
store_load_resume(struct store *s, const struct position *p, struct store_cursor *at)
{
	const struct position *q = &s->load.position;

	if (!s->load.active || q->epoch != p->epoch || q->index != p->index || q->hash != p->hash)
		return 0;
	s->load.lost = false;
	*at = s->load.cursor;
	return 1;
}

/* Whether a body holds only what store_copy_next() makes. */
static bool
is_copy(struct slice body)
{
	struct change_op op;
	size_t pos = 0;
	int r;

	while ((r = change_next(body, &pos, &op)) == 1)
		if (op.kind != CHANGE_SET && op.kind != CHANGE_HSET && op.kind != CHANGE_EXPIRE)
			return false;
	return r == 0;
}

int
store_load_items(struct store *s, struct slice body, const struct store_cursor *at)
{
	int rc;

	if (!s->load.active || s->load.lost || s->in_change) {
		errno = s->load.lost ? ESTALE : EINVAL;
		return -1;
	}
	if (!is_copy(body) || at->len > STORE_CURSOR_MAX) {
		errno = EPROTO;
		return -1;
	}
	if (!store_make_room(s, body.len)) {
		errno = ENOSPC;
		return -1;
	}
	if (s->load.lost) { /* making room failed */
		errno = ESTALE;
		return -1;
	}
	if ((rc = state_apply_body(s, other(s), s->load_hash_key, body)) != 0)
		return failed(s, rc == EINVAL ? EPROTO : rc);
	s->load.cursor = *at;
	return store_checkpoint(s, false);
}

int
store_load_end(struct store *s)
{
	struct load load = s->load;
	struct set *old = &s->sets[s->state.active];
	int rc;

	if (!load.active || load.lost || s->in_change) {
		errno = load.lost ? ESTALE : EINVAL;
		return -1;
	}
	if (store_flush(s) != 0)
		return -1;
	if ((rc = state_clear(s, old)) != 0)
		return failed(s, rc);
	s->state.active = !s->state.active;
	s->state.generation++;
	s->state.position = load.position;
	memcpy(s->state.id, load.id, STORE_ID);
	s->load.active = false;
	if ((rc = store_commit(s)) != 0)
		return failed(s, rc);
	if ((rc = store_txn_begin(s)) != 0)
		fatal("store: no transaction: %s", mdb_strerror(rc));
	if (log_reset(s->log, s->state.generation, &s->state.position) != 0)
		fatal("store: the log cannot be begun anew: %s", strerror(errno));
	s->log_bytes = 0;
	if ((rc = store_measure(s)) != 0)
		log_warn("store: no measure of the room: %s", mdb_strerror(rc));
	return 0;
}

void
store_load_abort(struct store *s)
{
	int rc;

	if (!s->load.active || s->in_change)
		return;
	s->load.active = false;
	if ((rc = state_clear(s, other(s))) != 0)
		failed(s, rc);
	(void)store_checkpoint(s, true);
}
