/* SPDX-License-Identifier: ISC */
/*
 * Operations written to and read from bytes. What each kind carries is one row of a table, which
 * both directions follow.
 */
#include "change.h"

#include <stdlib.h>
#include <string.h>

enum {
	HAS_KEY = 1,
	HAS_EXPIRE = 2,
	HAS_OFFSET = 4,
	HAS_FIELD = 8,
	HAS_VALUE = 16,
	VARINT_MAX = 5,
	KEEP_MAX = 1024 * 1024, /* memory that change_clear() keeps */
};

/* What follows the kind, in the order of the bits. */
static const uint8_t parts[CHANGE_MAX] = {
    [CHANGE_SET] = HAS_KEY | HAS_EXPIRE | HAS_VALUE,
    [CHANGE_DEL] = HAS_KEY,
    [CHANGE_EXPIRE] = HAS_KEY | HAS_EXPIRE,
    [CHANGE_HSET] = HAS_KEY | HAS_FIELD | HAS_VALUE,
    [CHANGE_HDEL] = HAS_KEY | HAS_FIELD,
    [CHANGE_RENAME] = HAS_KEY | HAS_FIELD,
    [CHANGE_FLUSH] = 0,
    [CHANGE_SPLICE] = HAS_KEY | HAS_OFFSET | HAS_VALUE,
};

void
change_init(struct change *c)
{
	memset(c, 0, sizeof(*c));
}

void
change_free(struct change *c)
{
	free(c->data);
	change_init(c);
}

void
change_clear(struct change *c)
{
	if (c->size > KEEP_MAX) {
		change_free(c);
		return;
	}
	c->len = 0;
	c->n_ops = 0;
}

/* Room for more bytes. */
static int
change_reserve(struct change *c, size_t more)
{
	size_t size = c->size > 0 ? c->size : 256;
	uint8_t *data;

	if (more <= c->size - c->len)
		return 0;
	if (more > SIZE_MAX / 2 - c->len)
		return -1;
	while (size - c->len < more && size < KEEP_MAX)
		size *= 2;
	if (size - c->len < more) /* large: what is needed and some, not the double */
		size = c->len + more + (c->len + more) / 8;
	data = realloc(c->data, size);
	if (data == NULL)
		return -1;
	c->data = data;
	c->size = size;
	return 0;
}

static void
put_varint(struct change *c, size_t n)
{
	for (; n >= 0x80; n >>= 7)
		c->data[c->len++] = (uint8_t)(n | 0x80);
	c->data[c->len++] = (uint8_t)n;
}

static void
put_slice(struct change *c, struct slice s)
{
	put_varint(c, s.len);
	if (s.len > 0)
		memcpy(c->data + c->len, s.data, s.len);
	c->len += s.len;
}

static void
put_i64(struct change *c, int64_t v)
{
	for (unsigned int i = 0; i < 8; i++)
		c->data[c->len++] = (uint8_t)((uint64_t)v >> (8 * i));
}

int
change_append(struct change *c, const struct change_op *op)
{
	unsigned int has = parts[op->kind];

	if (op->key.len > CHANGE_KEY_MAX || op->field.len > CHANGE_KEY_MAX ||
	    op->value.len > CHANGE_KEY_MAX || op->offset > CHANGE_KEY_MAX || op->expire_ms < 0)
		return -1;
	if (change_reserve(
		c, op->key.len + op->field.len + op->value.len + 1 + 8 + 4 * VARINT_MAX) != 0)
		return -1;
	c->data[c->len++] = (uint8_t)op->kind;
	if (has & HAS_KEY)
		put_slice(c, op->key);
	if (has & HAS_EXPIRE)
		put_i64(c, op->expire_ms);
	if (has & HAS_OFFSET)
		put_varint(c, op->offset);
	if (has & HAS_FIELD)
		put_slice(c, op->field);
	if (has & HAS_VALUE)
		put_slice(c, op->value);
	c->n_ops++;
	return 0;
}

/* A varint of at most CHANGE_KEY_MAX, in its shortest form. */
static int
get_varint(struct slice body, size_t *pos, size_t *n)
{
	uint64_t v = 0;

	for (unsigned int i = 0; i < VARINT_MAX && *pos < body.len; i++) {
		uint8_t b = body.data[(*pos)++];

		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if (b & 0x80)
			continue;
		if ((b == 0 && i > 0) || v > CHANGE_KEY_MAX)
			return -1;
		*n = (size_t)v;
		return 0;
	}
	return -1;
}

static int
get_slice(struct slice body, size_t *pos, struct slice *s)
{
	if (get_varint(body, pos, &s->len) != 0 || s->len > body.len - *pos)
		return -1;
	s->data = body.data + *pos;
	*pos += s->len;
	return 0;
}

static int
get_i64(struct slice body, size_t *pos, int64_t *v)
{
	uint64_t u = 0;

	if (body.len - *pos < 8)
		return -1;
	for (unsigned int i = 0; i < 8; i++)
		u |= (uint64_t)body.data[(*pos)++] << (8 * i);
	if (u > INT64_MAX)
		return -1;
	*v = (int64_t)u;
	return 0;
}

int
change_next(struct slice body, size_t *pos, struct change_op *op)
{
	unsigned int has;
	uint8_t kind;

	memset(op, 0, sizeof(*op));
	if (*pos >= body.len)
		return 0;
	kind = body.data[(*pos)++];
	if (kind == 0 || kind >= CHANGE_MAX)
		return -1;
	op->kind = (enum change_kind)kind;
	has = parts[kind];
	if ((has & HAS_KEY) && get_slice(body, pos, &op->key) != 0)
		return -1;
	if ((has & HAS_EXPIRE) && get_i64(body, pos, &op->expire_ms) != 0)
		return -1;
	if ((has & HAS_OFFSET) && get_varint(body, pos, &op->offset) != 0)
		return -1;
	if ((has & HAS_FIELD) && get_slice(body, pos, &op->field) != 0)
		return -1;
	if ((has & HAS_VALUE) && get_slice(body, pos, &op->value) != 0)
		return -1;
	return 1;
}

int
change_check(struct slice body)
{
	struct change_op op;
	size_t pos = 0, n = 0;
	int r;

	while ((r = change_next(body, &pos, &op)) == 1)
		n++;
	return r == 0 && n > 0;
}
