/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "model.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bytes {
	uint8_t *data;
	size_t len;
};

struct entry {
	struct bytes key;
	enum value_type type;
	int64_t expire_ms;
	struct bytes string;
	struct bytes *fields, *values;
	size_t n;
};

struct model {
	struct entry *entries;
	size_t n;
};

static void *
must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

static struct bytes
copy(struct slice s)
{
	struct bytes b = {must(malloc(s.len + 1)), s.len};

	if (s.len > 0)
		memcpy(b.data, s.data, s.len);
	return b;
}

static int
equal(const struct bytes *b, struct slice s)
{
	return b->len == s.len && (s.len == 0 || memcmp(b->data, s.data, s.len) == 0);
}

struct slice
text(const char *s)
{
	return (struct slice){(const uint8_t *)s, strlen(s)};
}

void
make_folder(char *path)
{
	snprintf(
	    path, 64, "%s/bh-test-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(path) == NULL)
		abort();
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
	(void)st;
	(void)flag;
	(void)f;
	return remove(path);
}

int
remove_folder(const char *path)
{
	return nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

struct model *
model_new(void)
{
	return must(calloc(1, sizeof(struct model)));
}

static void
clear_value(struct entry *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->fields[i].data);
		free(e->values[i].data);
	}
	free(e->fields);
	free(e->values);
	free(e->string.data);
	e->fields = e->values = NULL;
	e->n = 0;
	e->string = (struct bytes){NULL, 0};
	e->type = VALUE_NONE;
	e->expire_ms = 0;
}

static void
remove_entry(struct model *m, struct entry *e)
{
	clear_value(e);
	free(e->key.data);
	*e = m->entries[--m->n];
}

void
model_free(struct model *m)
{
	while (m->n > 0)
		remove_entry(m, &m->entries[0]);
	free(m->entries);
	free(m);
}

size_t
model_count(const struct model *m)
{
	return m->n;
}

static struct entry *
find(const struct model *m, struct slice key)
{
	for (size_t i = 0; i < m->n; i++)
		if (equal(&m->entries[i].key, key))
			return &m->entries[i];
	return NULL;
}

static struct entry *
find_or_make(struct model *m, struct slice key)
{
	struct entry *e = find(m, key);

	if (e != NULL)
		return e;
	m->entries = must(reallocarray(m->entries, m->n + 1, sizeof(*m->entries)));
	e = &m->entries[m->n++];
	memset(e, 0, sizeof(*e));
	e->key = copy(key);
	return e;
}

static void
hset(struct entry *e, const struct change_op *op)
{
	size_t i = 0;

	e->type = VALUE_HASH;
	while (i < e->n && !equal(&e->fields[i], op->field))
		i++;
	if (i == e->n) {
		e->n++;
		e->fields = must(reallocarray(e->fields, e->n, sizeof(*e->fields)));
		e->values = must(reallocarray(e->values, e->n, sizeof(*e->values)));
		e->fields[i] = copy(op->field);
	} else {
		free(e->values[i].data);
	}
	e->values[i] = copy(op->value);
}

static void
hdel(struct model *m, struct entry *e, struct slice field)
{
	for (size_t i = 0; i < e->n; i++) {
		if (!equal(&e->fields[i], field))
			continue;
		free(e->fields[i].data);
		free(e->values[i].data);
		e->n--;
		e->fields[i] = e->fields[e->n];
		e->values[i] = e->values[e->n];
		if (e->n == 0)
			remove_entry(m, e);
		return;
	}
}

static void
splice(struct entry *e, const struct change_op *op)
{
	size_t end = op->offset + op->value.len;

	e->type = VALUE_STRING;
	if (end > e->string.len) {
		e->string.data = must(realloc(e->string.data, end));
		memset(e->string.data + e->string.len, 0, end - e->string.len);
		e->string.len = end;
	}
	memcpy(e->string.data + op->offset, op->value.data, op->value.len);
}

static void
rename_entry(struct model *m, const struct change_op *op)
{
	struct entry *from = find(m, op->key), *to;

	if (from == NULL || equal(&from->key, op->field))
		return;
	to = find(m, op->field);
	if (to != NULL)
		remove_entry(m, to);
	from = find(m, op->key);
	free(from->key.data);
	from->key = copy(op->field);
}

void
model_apply(struct model *m, const struct change_op *op)
{
	struct entry *e = find(m, op->key);

	switch (op->kind) {
	case CHANGE_SET:
		e = find_or_make(m, op->key);
		clear_value(e);
		e->type = VALUE_STRING;
		e->expire_ms = op->expire_ms;
		e->string = copy(op->value);
		break;
	case CHANGE_DEL:
		if (e != NULL)
			remove_entry(m, e);
		break;
	case CHANGE_EXPIRE:
		if (e != NULL)
			e->expire_ms = op->expire_ms;
		break;
	case CHANGE_HSET:
		hset(find_or_make(m, op->key), op);
		break;
	case CHANGE_HDEL:
		if (e != NULL)
			hdel(m, e, op->field);
		break;
	case CHANGE_RENAME:
		rename_entry(m, op);
		break;
	case CHANGE_FLUSH:
		while (m->n > 0)
			remove_entry(m, &m->entries[0]);
		break;
	case CHANGE_SPLICE:
		if (op->value.len > 0)
			splice(find_or_make(m, op->key), op);
		break;
	case CHANGE_MAX:
		abort();
	}
}

void
model_apply_body(struct model *m, struct slice body)
{
	struct change_op op;
	size_t pos = 0;

	while (change_next(body, &pos, &op) == 1)
		model_apply(m, &op);
}

static const char *
why(const char *what, struct slice key)
{
	static char line[256];

	snprintf(line, sizeof(line), "%s %.*s", what, (int)(key.len < 100 ? key.len : 100),
	    (const char *)key.data);
	return line;
}

static const char *
compare_entry(const struct entry *e, struct store *s, struct slice key, const struct value *v)
{
	struct store_walk w = {0};
	struct slice field, value;
	size_t n = 0;

	if (v->type != e->type || v->expire_ms != e->expire_ms)
		return why("type or time of", key);
	if (v->type == VALUE_STRING)
		return equal(&e->string, v->string) ? NULL : why("string", key);
	if (v->fields != e->n)
		return why("number of fields of", key);
	while (store_walk_fields(s, key, &w, &field, &value)) {
		size_t i = 0;

		while (i < e->n && !equal(&e->fields[i], field))
			i++;
		if (i == e->n || !equal(&e->values[i], value)) {
			store_walk_end(&w);
			return why("a field of", key);
		}
		n++;
	}
	store_walk_end(&w);
	return n == e->n ? NULL : why("fields of", key);
}

const char *
model_compare(const struct model *m, struct store *s)
{
	struct slice key;
	struct value v;
	int64_t earliest = 0;

	if (store_count(s) != m->n)
		return "number of keys";
	for (size_t i = 0; i < m->n; i++) {
		const struct entry *e = &m->entries[i];
		const char *different;

		key = (struct slice){e->key.data, e->key.len};
		if (store_get(s, key, 0, &v) == 0)
			return why("missing", key);
		if ((different = compare_entry(e, s, key, &v)) != NULL)
			return different;
		if (e->expire_ms != 0 && (earliest == 0 || e->expire_ms < earliest))
			earliest = e->expire_ms;
	}
	if (store_next_expiry(s) != earliest)
		return "the earliest time";
	if (earliest != 0 && store_next_expired(s, earliest, &key) == 0)
		return "the key of the earliest time";
	if (earliest != 0 && (find(m, key) == NULL || find(m, key)->expire_ms != earliest))
		return "another key has the earliest time";
	return NULL;
}

uint32_t
dice_roll(struct dice *d, uint32_t below)
{
	d->state ^= d->state << 13;
	d->state ^= d->state >> 7;
	d->state ^= d->state << 17;
	return (uint32_t)(d->state >> 32) % below;
}

static struct slice
name(struct dice *d, char *b, size_t size, const char *kind, uint32_t most)
{
	uint32_t n = dice_roll(d, most);
	size_t len = (size_t)snprintf(b, size, "%s:%u", kind, n);

	if (n % 10 == 3) { /* longer than LMDB takes, and the same at its beginning */
		memset(b + len, 'x', 600 - len);
		b[599] = (char)('0' + n % 7);
		len = 600;
	}
	if (n == 0)
		len = 0;
	return (struct slice){(uint8_t *)b, len};
}

void
dice_op(struct dice *d, const struct model *m, struct change_op *op)
{
	static char key[700], field[700];
	static uint8_t value[70000];
	const struct entry *e;
	uint32_t kind = dice_roll(d, 100);

	memset(op, 0, sizeof(*op));
	op->kind = kind < 35   ? CHANGE_SET
		   : kind < 50 ? CHANGE_HSET
		   : kind < 60 ? CHANGE_HDEL
		   : kind < 70 ? CHANGE_DEL
		   : kind < 80 ? CHANGE_EXPIRE
		   : kind < 88 ? CHANGE_RENAME
		   : kind < 99 ? CHANGE_SPLICE
			       : CHANGE_FLUSH;
	if (op->kind == CHANGE_FLUSH && dice_roll(d, 10) != 0)
		op->kind = CHANGE_DEL;
	op->key = name(d, key, sizeof(key), "key", 60);
	op->field = name(d, field, sizeof(field), op->kind == CHANGE_RENAME ? "key" : "field", 60);
	op->value.data = value;
	op->value.len = dice_roll(d, 20) == 0 ? dice_roll(d, sizeof(value)) : dice_roll(d, 300);
	memset(value, (int)dice_roll(d, 256), op->value.len);
	op->offset = dice_roll(d, 500);
	op->expire_ms = dice_roll(d, 3) == 0 ? 1000 + dice_roll(d, 100) : 0;
	e = find(m, op->key);
	if (e != NULL && op->kind == CHANGE_SPLICE && e->type == VALUE_HASH)
		op->kind = CHANGE_HDEL;
	if (e != NULL && (op->kind == CHANGE_HSET || op->kind == CHANGE_HDEL) &&
	    e->type == VALUE_STRING)
		op->kind = CHANGE_SET;
}
