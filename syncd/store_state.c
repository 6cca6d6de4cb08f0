/* SPDX-License-Identifier: ISC */
/*
 * Operations on the databases of a state. Each says what is true afterwards; none looks at a clock.
 * Numbers in keys are big endian, so that the order of bytes is theirs.
 *
 * A field of a hash that goes is deleted at once, a hash that goes (DEL, SET over it) only leaves
 * its object id in the database "garbage": its fields, which nothing can reach any more, are taken
 * away some at a time (state_reap).
 */
#include "config.h"

#include "store_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	TYPE_LONG = 0x80, /* the key is in the value */
	LONG_PREFIX = 4,
	OBJECT = 16,
	ENTRY = 16,
	NODE = 8,
	SCRATCH_KEEP = 64 * 1024,
};

void
state_put_u64(uint8_t *p, uint64_t v)
{
	for (unsigned int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (56 - 8 * i));
}

uint64_t
state_get_u64(const void *from)
{
	const uint8_t *p = from;
	uint64_t v = 0;

	for (unsigned int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

/* 63 bits, so that there is a number behind each. */
uint64_t
state_hash(const uint8_t *hash_key, struct slice key)
{
	uint8_t h[crypto_shorthash_BYTES];

	crypto_shorthash(h, key.data, key.len, hash_key);
	return state_get_u64(h) >> 1;
}

/* The key, or its hash and zeros: longer than any key that stands for itself. */
static size_t
put_name(uint8_t *p, struct slice name)
{
	if (name.len <= STORE_KEY_DIRECT) {
		if (name.len > 0)
			memcpy(p, name.data, name.len);
		return name.len;
	}
	memset(p, 0, STORE_KEY_DIRECT + 1);
	crypto_generichash(p, 32, name.data, name.len, NULL, 0);
	return STORE_KEY_DIRECT + 1;
}

void
state_key(const uint8_t *hash_key, struct slice key, struct record_key *k)
{
	state_put_u64(k->bytes, state_hash(hash_key, key));
	k->len = 8 + put_name(k->bytes + 8, key);
}

void
state_field_key(const uint8_t *hash_key, uint64_t object, struct slice field, struct record_key *k)
{
	state_put_u64(k->bytes, object);
	state_put_u64(k->bytes + 8, state_hash(hash_key, field));
	k->len = 16 + put_name(k->bytes + 16, field);
}

/* Takes a record of "keys" apart. Returns 0, or MDB_CORRUPTED. */
int
state_parse(MDB_val data, struct record *r)
{
	const uint8_t *p = data.mv_data;
	size_t n = data.mv_size, key_len;

	memset(r, 0, sizeof(*r));
	if (n < VALUE_HEADER)
		return MDB_CORRUPTED;
	r->type = (enum value_type)(p[0] & ~TYPE_LONG);
	r->expire_ms = (int64_t)state_get_u64(p + 1);
	if (p[0] & TYPE_LONG) {
		if (n < VALUE_HEADER + LONG_PREFIX)
			return MDB_CORRUPTED;
		key_len = (size_t)p[9] << 24 | (size_t)p[10] << 16 | (size_t)p[11] << 8 | p[12];
		if (key_len > n - VALUE_HEADER - LONG_PREFIX)
			return MDB_CORRUPTED;
		r->key = (struct slice){p + VALUE_HEADER + LONG_PREFIX, key_len};
		n -= LONG_PREFIX + key_len;
		p += LONG_PREFIX + key_len;
	}
	p += VALUE_HEADER;
	n -= VALUE_HEADER;
	if (r->type == VALUE_STRING)
		r->string = (struct slice){p, n};
	else if (r->type == VALUE_HASH && n == OBJECT) {
		r->object = state_get_u64(p);
		r->fields = state_get_u64(p + 8);
	} else
		return MDB_CORRUPTED;
	return 0;
}

/* The app's key of a record. */
struct slice
state_key_of(MDB_val k, const struct record *r)
{
	if (k.mv_size > 8 + STORE_KEY_DIRECT)
		return r->key;
	return (struct slice){(const uint8_t *)k.mv_data + 8, k.mv_size - 8};
}

/* Takes a record of "fields" apart. A long field is in the value, behind its length. */
void
state_field_of(MDB_val k, MDB_val data, struct slice *field, struct slice *value)
{
	const uint8_t *p = data.mv_data;
	size_t n = data.mv_size, len;

	*field = (struct slice){(const uint8_t *)k.mv_data + 16, k.mv_size - 16};
	if (k.mv_size > 16 + STORE_KEY_DIRECT && n >= LONG_PREFIX) {
		len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
		p += LONG_PREFIX;
		n -= LONG_PREFIX;
		if (len > n)
			len = n;
		*field = (struct slice){p, len};
		p += len;
		n -= len;
	}
	*value = (struct slice){p, n};
}

/* A put of so many bytes into one of the three databases, which hits any leaf. */
static void
count_put(struct store *s, unsigned int which, size_t bytes)
{
	struct estimate *e = &s->estimates[which];

	s->puts++;
	if (e->touched < e->leaves)
		e->touched += (e->leaves - e->touched) / e->leaves;
	e->grown += bytes > s->page / 2 ? (double)(bytes / s->page + 1)
					: (double)(bytes + ENTRY) * 1.5 / (double)s->page;
}

/* Bytes that go: their pages can be used again behind a checkpoint. */
static void
count_freed(struct store *s, size_t bytes)
{
	s->deleted += (double)bytes / (double)s->page;
}

static int
expiry_put(
    struct store *s, struct set *set, const struct record_key *k, int64_t expire_ms, bool add)
{
	struct record_key e;
	MDB_val key, none = {0, NULL};
	int rc;

	state_put_u64(e.bytes, (uint64_t)expire_ms);
	memcpy(e.bytes + 8, k->bytes, k->len);
	key = store_val(e.bytes, 8 + k->len);
	count_put(s, 2, add ? key.mv_size : 0);
	if (add)
		return mdb_put(s->txn, set->expiry, &key, &none, 0);
	rc = mdb_del(s->txn, set->expiry, &key, NULL);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* What belongs to a record that goes. */
static int
forget(struct store *s, struct set *set, const struct record_key *k, const struct record *r)
{
	uint8_t object[9];
	MDB_val key, none = {0, NULL};
	int rc = 0;

	if (r->expire_ms != 0)
		rc = expiry_put(s, set, k, r->expire_ms, false);
	if (rc != 0 || r->type != VALUE_HASH)
		return rc;
	object[0] = (uint8_t)(set - s->sets);
	state_put_u64(object + 1, r->object);
	key = store_val(object, sizeof(object));
	return mdb_put(s->txn, s->garbage, &key, &none, 0);
}

/* Looks a key up: 0 and the record, MDB_NOTFOUND, or an error. The cursor stays on it. */
static int
look_up(struct set *set, const struct record_key *k, MDB_val *data, struct record *r)
{
	MDB_val key = store_val(k->bytes, k->len);
	int rc = mdb_cursor_get(set->at_keys, &key, data, MDB_SET);

	return rc != 0 ? rc : state_parse(*data, r);
}

/* Bytes of a record before what is its own. */
static size_t
header_size(struct slice key)
{
	return VALUE_HEADER + (key.len > STORE_KEY_DIRECT ? LONG_PREFIX + key.len : 0);
}

static uint8_t *
put_header(uint8_t *p, enum value_type type, int64_t expire_ms, struct slice key)
{
	*p++ = (uint8_t)((unsigned int)type | (key.len > STORE_KEY_DIRECT ? TYPE_LONG : 0U));
	state_put_u64(p, (uint64_t)expire_ms);
	p += 8;
	if (key.len <= STORE_KEY_DIRECT)
		return p;
	for (unsigned int i = 0; i < LONG_PREFIX; i++)
		*p++ = (uint8_t)(key.len >> (24 - 8 * i));
	memcpy(p, key.data, key.len);
	return p + key.len;
}

static int
apply_set(struct store *s, struct set *set, const struct record_key *k, const struct change_op *op)
{
	MDB_val key = store_val(k->bytes, k->len),
		data = {header_size(op->key) + op->value.len, NULL};
	size_t size = data.mv_size;
	struct record old;
	uint8_t *p;
	int rc;

	count_put(s, 0, size + k->len + NODE);
	rc = mdb_cursor_put(set->at_keys, &key, &data, MDB_NOOVERWRITE | MDB_RESERVE);
	if (rc == MDB_KEYEXIST) {
		if ((rc = state_parse(data, &old)) != 0)
			return rc;
		count_freed(s, data.mv_size);
		if (old.expire_ms == op->expire_ms)
			old.expire_ms = 0;
		if ((rc = forget(s, set, k, &old)) != 0)
			return rc;
		data.mv_size = size;
		rc = mdb_cursor_put(set->at_keys, &key, &data, MDB_CURRENT | MDB_RESERVE);
	}
	if (rc != 0)
		return rc;
	p = put_header(data.mv_data, VALUE_STRING, op->expire_ms, op->key);
	if (op->value.len > 0)
		memcpy(p, op->value.data, op->value.len);
	return op->expire_ms != 0 ? expiry_put(s, set, k, op->expire_ms, true) : 0;
}

static int
apply_del(struct store *s, struct set *set, const struct record_key *k)
{
	struct record old;
	MDB_val data;
	int rc = look_up(set, k, &data, &old);

	if (rc != 0)
		return rc == MDB_NOTFOUND ? 0 : rc;
	count_put(s, 0, 0);
	count_freed(s, data.mv_size);
	if ((rc = forget(s, set, k, &old)) != 0)
		return rc;
	return mdb_cursor_del(set->at_keys, 0);
}

/* Memory to build a record in, good until the next call. NULL without memory. */
static uint8_t *
scratch(struct store *s, size_t n)
{
	if (n > s->scratch_size || (s->scratch_size > SCRATCH_KEEP && n <= SCRATCH_KEEP)) {
		free(s->scratch);
		s->scratch_size = n > SCRATCH_KEEP ? n : SCRATCH_KEEP;
		s->scratch = malloc(s->scratch_size);
		if (s->scratch == NULL)
			s->scratch_size = 0;
	}
	return s->scratch;
}

/*
 * Writes the record on which at_keys is, or a new one, with a body of two parts and zeros between.
 */
struct parts {
	struct slice first, second;
	size_t second_at; /* overwrites from here */
	size_t len;
};

static int
write_record(struct store *s, struct set *set, const struct record_key *k, struct slice name,
    const struct record *r, const struct parts *parts, unsigned int flags)
{
	MDB_val key = store_val(k->bytes, k->len), data;
	size_t header = header_size(name);
	uint8_t *b = scratch(s, header + parts->len), *p;

	if (b == NULL)
		return ENOMEM;
	p = put_header(b, r->type, r->expire_ms, name);
	if (parts->first.len > 0)
		memcpy(p, parts->first.data, parts->first.len);
	if (parts->len > parts->first.len)
		memset(p + parts->first.len, 0, parts->len - parts->first.len);
	if (parts->second.len > 0)
		memcpy(p + parts->second_at, parts->second.data, parts->second.len);
	data = store_val(b, header + parts->len);
	count_put(s, 0,
	    flags == MDB_CURRENT && data.mv_size < s->page / 2 ? 0 : data.mv_size + k->len + NODE);
	return mdb_cursor_put(set->at_keys, &key, &data, flags);
}

/* What a record of a hash holds of its own. */
static struct parts
object_parts(uint8_t b[OBJECT], const struct record *r)
{
	state_put_u64(b, r->object);
	state_put_u64(b + 8, r->fields);
	return (struct parts){.first = {b, OBJECT}, .len = OBJECT};
}

static int
write_hash(struct store *s, struct set *set, const struct record_key *k, struct slice name,
    const struct record *r, unsigned int flags)
{
	uint8_t b[OBJECT];
	struct parts parts = object_parts(b, r);

	return write_record(s, set, k, name, r, &parts, flags);
}

static int
apply_expire(
    struct store *s, struct set *set, const struct record_key *k, const struct change_op *op)
{
	struct record r;
	struct parts parts;
	uint8_t object[OBJECT];
	MDB_val data;
	int rc = look_up(set, k, &data, &r);

	if (rc != 0 || r.expire_ms == op->expire_ms)
		return rc == MDB_NOTFOUND ? 0 : rc;
	if (r.expire_ms != 0 && (rc = expiry_put(s, set, k, r.expire_ms, false)) != 0)
		return rc;
	r.expire_ms = op->expire_ms;
	parts = r.type == VALUE_HASH ? object_parts(object, &r)
				     : (struct parts){.first = r.string, .len = r.string.len};
	if ((rc = write_record(s, set, k, op->key, &r, &parts, MDB_CURRENT)) != 0)
		return rc;
	return op->expire_ms != 0 ? expiry_put(s, set, k, op->expire_ms, true) : 0;
}

static int
put_field(struct store *s, struct set *set, const struct record_key *f, const struct change_op *op,
    bool *added)
{
	size_t prefix = op->field.len > STORE_KEY_DIRECT ? LONG_PREFIX + op->field.len : 0;
	MDB_val key = store_val(f->bytes, f->len), data = {prefix + op->value.len, NULL};
	uint8_t *p;
	int rc;

	count_put(s, 1, data.mv_size + f->len + NODE);
	rc = mdb_cursor_put(set->at_fields, &key, &data, MDB_NOOVERWRITE | MDB_RESERVE);
	*added = rc == 0;
	if (rc == MDB_KEYEXIST) {
		data.mv_size = prefix + op->value.len;
		rc = mdb_cursor_put(set->at_fields, &key, &data, MDB_CURRENT | MDB_RESERVE);
	}
	if (rc != 0)
		return rc;
	p = data.mv_data;
	if (prefix > 0) {
		for (unsigned int i = 0; i < LONG_PREFIX; i++)
			*p++ = (uint8_t)(op->field.len >> (24 - 8 * i));
		memcpy(p, op->field.data, op->field.len);
		p += op->field.len;
	}
	if (op->value.len > 0)
		memcpy(p, op->value.data, op->value.len);
	return 0;
}

static int
apply_hset(struct store *s, struct set *set, const uint8_t *hash_key, const struct record_key *k,
    const struct change_op *op)
{
	struct record r;
	struct record_key f;
	MDB_val data;
	bool made, added;
	int rc = look_up(set, k, &data, &r);

	made = rc == MDB_NOTFOUND;
	if (made)
		r = (struct record){.type = VALUE_HASH, .object = s->state.next_object++};
	else if (rc != 0 || r.type != VALUE_HASH)
		return rc != 0 ? rc : EINVAL;
	state_field_key(hash_key, r.object, op->field, &f);
	if ((rc = put_field(s, set, &f, op, &added)) != 0 || !added)
		return rc;
	r.fields++;
	return write_hash(s, set, k, op->key, &r, made ? MDB_NOOVERWRITE : MDB_CURRENT);
}

static int
apply_hdel(struct store *s, struct set *set, const uint8_t *hash_key, const struct record_key *k,
    const struct change_op *op)
{
	struct record r;
	struct record_key f;
	MDB_val data, key;
	int rc = look_up(set, k, &data, &r);

	if (rc != 0 || r.type != VALUE_HASH)
		return rc == MDB_NOTFOUND ? 0 : rc != 0 ? rc : EINVAL;
	state_field_key(hash_key, r.object, op->field, &f);
	key = store_val(f.bytes, f.len);
	rc = mdb_cursor_get(set->at_fields, &key, &data, MDB_SET);
	if (rc != 0)
		return rc == MDB_NOTFOUND ? 0 : rc;
	count_put(s, 1, 0);
	count_freed(s, data.mv_size);
	if ((rc = mdb_cursor_del(set->at_fields, 0)) != 0)
		return rc;
	if (--r.fields > 0)
		return write_hash(s, set, k, op->key, &r, MDB_CURRENT);
	if (r.expire_ms != 0 && (rc = expiry_put(s, set, k, r.expire_ms, false)) != 0)
		return rc;
	count_put(s, 0, 0);
	return mdb_cursor_del(set->at_keys, 0);
}

/* The value goes to the new key; that of a hash as its object id, however many fields it has. */
static int
apply_rename(struct store *s, struct set *set, const uint8_t *hash_key, const struct record_key *k,
    const struct change_op *op)
{
	struct record r;
	struct record_key to;
	struct parts parts;
	uint8_t object[OBJECT];
	MDB_val data;
	int rc = look_up(set, k, &data, &r);

	state_key(hash_key, op->field, &to);
	if (rc != 0 || (to.len == k->len && memcmp(to.bytes, k->bytes, to.len) == 0))
		return rc == MDB_NOTFOUND ? 0 : rc;
	if ((rc = apply_del(s, set, &to)) != 0 || (rc = look_up(set, k, &data, &r)) != 0)
		return rc;
	parts = r.type == VALUE_HASH ? object_parts(object, &r)
				     : (struct parts){.first = r.string, .len = r.string.len};
	if ((rc = write_record(s, set, &to, op->field, &r, &parts, MDB_NOOVERWRITE)) != 0)
		return rc;
	if (r.expire_ms != 0 && ((rc = expiry_put(s, set, &to, r.expire_ms, true)) != 0 ||
				    (rc = expiry_put(s, set, k, r.expire_ms, false)) != 0))
		return rc;
	if ((rc = look_up(set, k, &data, &r)) != 0)
		return rc;
	count_put(s, 0, 0);
	return mdb_cursor_del(set->at_keys, 0);
}

static int
apply_splice(
    struct store *s, struct set *set, const struct record_key *k, const struct change_op *op)
{
	struct record r;
	struct parts parts;
	MDB_val data;
	int rc = look_up(set, k, &data, &r);
	bool made = rc == MDB_NOTFOUND;

	if (made)
		r = (struct record){.type = VALUE_STRING};
	else if (rc != 0 || r.type != VALUE_STRING)
		return rc != 0 ? rc : EINVAL;
	if (op->value.len == 0)
		return 0;
	if (op->offset > CHANGE_KEY_MAX - op->value.len)
		return EINVAL;
	parts = (struct parts){.first = r.string,
	    .second = op->value,
	    .second_at = op->offset,
	    .len = op->offset + op->value.len};
	if (parts.len < r.string.len)
		parts.len = r.string.len;
	return write_record(s, set, k, op->key, &r, &parts, made ? MDB_NOOVERWRITE : MDB_CURRENT);
}

/* Everything of a set goes. */
int
state_clear(struct store *s, struct set *set)
{
	uint8_t prefix = (uint8_t)(set - s->sets);
	MDB_cursor *c;
	MDB_val key = {1, &prefix}, data;
	int rc;

	if ((rc = mdb_drop(s->txn, set->keys, 0)) != 0 ||
	    (rc = mdb_drop(s->txn, set->fields, 0)) != 0 ||
	    (rc = mdb_drop(s->txn, set->expiry, 0)) != 0 ||
	    (rc = mdb_cursor_open(s->txn, s->garbage, &c)) != 0)
		return rc;
	while ((rc = mdb_cursor_get(c, &key, &data, MDB_SET_RANGE)) == 0 &&
	       *(const uint8_t *)key.mv_data == prefix && (rc = mdb_cursor_del(c, 0)) == 0)
		key = (MDB_val){1, &prefix};
	mdb_cursor_close(c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Takes away fields that belong to no hash any more: most of them. Returns 0, or an error. */
int
state_reap(struct store *s, size_t most)
{
	MDB_cursor *c;
	MDB_val key, data, field;
	struct set *set;
	uint8_t object[9];
	int rc;

	if ((rc = mdb_cursor_open(s->txn, s->garbage, &c)) != 0)
		return rc;
	while (most > 0 && (rc = mdb_cursor_get(c, &key, &data, MDB_FIRST)) == 0) {
		memcpy(object, key.mv_data, sizeof(object));
		set = &s->sets[object[0] & 1];
		field = (MDB_val){8, object + 1};
		while (most > 0 &&
		       (rc = mdb_cursor_get(set->at_fields, &field, &data, MDB_SET_RANGE)) == 0 &&
		       memcmp(field.mv_data, object + 1, 8) == 0) {
			s->estimates[1].grown +=
			    (double)(data.mv_size + field.mv_size + NODE) / (double)s->page;
			s->puts++;
			count_freed(s, data.mv_size);
			if ((rc = mdb_cursor_del(set->at_fields, 0)) != 0)
				goto out;
			field = (MDB_val){8, object + 1};
			most--;
		}
		if (rc != 0 && rc != MDB_NOTFOUND)
			break;
		if (most > 0 && (rc = mdb_cursor_del(c, 0)) != 0)
			break;
	}
out:
	mdb_cursor_close(c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* One operation. Returns 0, EINVAL, or an error of LMDB (the transaction is then of no use). */
int
state_apply(struct store *s, struct set *set, const uint8_t *hash_key, const struct change_op *op)
{
	struct record_key k;

	s->changes++;
	if (op->kind == CHANGE_FLUSH)
		return state_clear(s, set);
	state_key(hash_key, op->key, &k);
	switch (op->kind) {
	case CHANGE_SET:
		return apply_set(s, set, &k, op);
	case CHANGE_DEL:
		return apply_del(s, set, &k);
	case CHANGE_EXPIRE:
		return apply_expire(s, set, &k, op);
	case CHANGE_HSET:
		return apply_hset(s, set, hash_key, &k, op);
	case CHANGE_HDEL:
		return apply_hdel(s, set, hash_key, &k, op);
	case CHANGE_RENAME:
		return apply_rename(s, set, hash_key, &k, op);
	case CHANGE_SPLICE:
		return apply_splice(s, set, &k, op);
	case CHANGE_FLUSH:
	case CHANGE_MAX:
		break;
	}
	return EINVAL;
}

/* All operations of a body. Returns as state_apply(). */
int
state_apply_body(struct store *s, struct set *set, const uint8_t *hash_key, struct slice body)
{
	struct change_op op;
	size_t pos = 0;
	int r, rc = 0;

	while (rc == 0 && (r = change_next(body, &pos, &op)) != 0)
		rc = r == 1 ? state_apply(s, set, hash_key, &op) : EINVAL;
	return rc;
}
