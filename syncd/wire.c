/* SPDX-License-Identifier: ISC */
/*
 * Frames of data links, to bytes and back.
 */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

/* What is left of a body; ok goes to 0 with the first thing that is not there. */
struct reader {
	const uint8_t *at;
	size_t left;
	int ok;
};

static struct reader
read_body(struct slice body)
{
	return (struct reader){.at = body.data, .left = body.len, .ok = 1};
}

static const uint8_t *
get_bytes(struct reader *r, size_t n)
{
	const uint8_t *p = r->at;

	if (!r->ok || n > r->left) {
		r->ok = 0;
		return NULL;
	}
	r->at += n;
	r->left -= n;
	return p;
}

static uint64_t
get_number(struct reader *r, unsigned bytes)
{
	const uint8_t *p = get_bytes(r, bytes);
	uint64_t v = 0;

	for (unsigned i = 0; p != NULL && i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static void
get_copy(struct reader *r, uint8_t *to, size_t n)
{
	const uint8_t *p = get_bytes(r, n);

	if (p != NULL)
		memcpy(to, p, n);
}

static void
get_position(struct reader *r, struct position *p)
{
	p->epoch = get_number(r, 8);
	p->index = get_number(r, 8);
	p->hash = get_number(r, 8);
}

static void
get_cursor(struct reader *r, struct store_cursor *c)
{
	size_t n = (size_t)get_number(r, 2);

	if (n > sizeof(c->bytes))
		r->ok = 0;
	c->len = r->ok ? n : 0;
	get_copy(r, c->bytes, c->len);
}

/* Everything read, nothing missing? 0 or -1. */
static int
read_end(const struct reader *r)
{
	return r->ok && r->left == 0 ? 0 : -1;
}

static uint8_t *
put_number(uint8_t *out, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		out[i] = (uint8_t)(v >> (8 * i));
	return out + bytes;
}

static uint8_t *
put_bytes(uint8_t *out, const uint8_t *from, size_t n)
{
	memcpy(out, from, n);
	return out + n;
}

static uint8_t *
put_position(uint8_t *out, const struct position *p)
{
	return put_number(put_number(put_number(out, p->epoch, 8), p->index, 8), p->hash, 8);
}

static uint8_t *
put_cursor(uint8_t *out, const struct store_cursor *c)
{
	return put_bytes(put_number(out, c->len, 2), c->bytes, c->len);
}

/* ---- frames */

int
wire_next(const uint8_t *in, size_t n, size_t max, uint8_t *type, struct slice *body, size_t *used)
{
	size_t len;

	*used = 0;
	if (n < WIRE_HEADER)
		return 0;
	len = (size_t)in[0] | (size_t)in[1] << 8 | (size_t)in[2] << 16 | (size_t)in[3] << 24;
	if (len < 1 || in[4] == 0 || in[4] >= WIRE_TYPE_MAX)
		return -1;
	if (in[4] != WIRE_ITEMS && in[4] != WIRE_CHANGE && in[4] != WIRE_REQUEST &&
	    in[4] != WIRE_ANSWER && in[4] != WIRE_ACTION)
		max = WIRE_CONTROL_MAX;
	*used = len + 4;
	if (len - 1 > max)
		return -1;
	if (n < *used)
		return 0;
	*type = in[4];
	body->data = in + WIRE_HEADER;
	body->len = len - 1;
	return 1;
}

/* Room for n more bytes behind what is there; NULL without memory. */
static uint8_t *
reserve(struct change *out, size_t n)
{
	if (n > SIZE_MAX - out->len)
		return NULL;
	if (out->len + n > out->size) {
		size_t size = out->size > 0 ? out->size : 4096;
		uint8_t *data;

		while (size < out->len + n)
			size = size > SIZE_MAX / 2 ? out->len + n : size * 2;
		data = realloc(out->data, size);
		if (data == NULL)
			return NULL;
		out->data = data;
		out->size = size;
	}
	return out->data + out->len;
}

int
wire_put(struct change *out, uint8_t type, struct slice head, struct slice body)
{
	size_t len = 1 + head.len + body.len;
	uint8_t *p;

	if (head.len > UINT32_MAX / 4 || body.len > UINT32_MAX / 2)
		return -1;
	p = reserve(out, 4 + len);
	if (p == NULL)
		return -1;
	p = put_number(p, len, 4);
	*p++ = type;
	if (head.len > 0)
		p = put_bytes(p, head.data, head.len);
	if (body.len > 0)
		put_bytes(p, body.data, body.len);
	out->len += 4 + len;
	return 0;
}

int
wire_put_raw(struct change *out, struct slice frames)
{
	uint8_t *p = reserve(out, frames.len);

	if (p == NULL)
		return -1;
	memcpy(p, frames.data, frames.len);
	out->len += frames.len;
	return 0;
}

/* ---- sync link */

size_t
wire_u64_encode(uint8_t out[8], uint64_t v)
{
	put_number(out, v, 8);
	return 8;
}

size_t
wire_position_encode(uint8_t out[WIRE_POSITION], const struct position *p)
{
	put_position(out, p);
	return WIRE_POSITION;
}

size_t
wire_cursor_encode(uint8_t out[WIRE_CONTROL_MAX], const struct store_cursor *c)
{
	return (size_t)(put_cursor(out, c) - out);
}

size_t
wire_offer_encode(uint8_t out[WIRE_CONTROL_MAX], const struct wire_offer *o)
{
	uint8_t *p = put_number(out, o->epoch, 8);

	p = put_bytes(p, o->id, STORE_ID);
	p = put_position(p, &o->end);
	return (size_t)(put_position(p, &o->start) - out);
}

int
wire_offer_decode(struct slice body, struct wire_offer *o)
{
	struct reader r = read_body(body);

	o->epoch = get_number(&r, 8);
	get_copy(&r, o->id, STORE_ID);
	get_position(&r, &o->end);
	get_position(&r, &o->start);
	return read_end(&r);
}

size_t
wire_have_encode(uint8_t out[WIRE_CONTROL_MAX], const struct wire_have_body *h)
{
	uint8_t *p = out;

	*p++ = h->flags;
	p = put_bytes(p, h->id, STORE_ID);
	return (size_t)(put_position(p, &h->end) - out);
}

int
wire_have_decode(struct slice body, struct wire_have_body *h)
{
	struct reader r = read_body(body);

	h->flags = (uint8_t)get_number(&r, 1);
	get_copy(&r, h->id, STORE_ID);
	get_position(&r, &h->end);
	return (h->flags & ~HAVE_FLAGS) == 0 ? read_end(&r) : -1;
}

size_t
wire_snapshot_encode(uint8_t out[WIRE_CONTROL_MAX], const struct wire_snapshot *s)
{
	uint8_t *p = put_position(out, &s->at);

	p = put_bytes(p, s->id, STORE_ID);
	return (size_t)(put_number(p, s->keys, 8) - out);
}

int
wire_snapshot_decode(struct slice body, struct wire_snapshot *s)
{
	struct reader r = read_body(body);

	get_position(&r, &s->at);
	get_copy(&r, s->id, STORE_ID);
	s->keys = get_number(&r, 8);
	return read_end(&r);
}

int
wire_position_decode(struct slice body, struct position *p)
{
	struct reader r = read_body(body);

	get_position(&r, p);
	return read_end(&r);
}

int
wire_found_decode(struct slice body, uint8_t *found, struct position *p)
{
	struct reader r = read_body(body);

	*found = (uint8_t)get_number(&r, 1);
	get_position(&r, p);
	return *found <= 1 ? read_end(&r) : -1;
}

int
wire_ack_decode(struct slice body, uint64_t *applied, uint64_t *durable)
{
	struct reader r = read_body(body);

	*applied = get_number(&r, 8);
	*durable = get_number(&r, 8);
	return *durable <= *applied ? read_end(&r) : -1;
}

int
wire_u64_decode(struct slice body, uint64_t *v)
{
	struct reader r = read_body(body);

	*v = get_number(&r, 8);
	return read_end(&r);
}

int
wire_packed_decode(struct slice body, uint8_t *how, uint8_t *window_log)
{
	struct reader r = read_body(body);

	*how = (uint8_t)get_number(&r, 1);
	*window_log = (uint8_t)get_number(&r, 1);
	return read_end(&r);
}

int
wire_cursor_decode(struct slice body, struct store_cursor *c)
{
	struct reader r = read_body(body);

	get_cursor(&r, c);
	return read_end(&r);
}

/* The rest of a body is one slice. 0 or -1. */
static int
take_rest(struct reader *r, struct slice *rest)
{
	rest->data = r->at;
	rest->len = r->left;
	return r->ok ? 0 : -1;
}

int
wire_items_decode(struct slice body, struct store_cursor *cursor, struct slice *items)
{
	struct reader r = read_body(body);

	get_cursor(&r, cursor);
	return take_rest(&r, items);
}

int
wire_change_decode(struct slice body, struct position *at, struct slice *ops)
{
	struct reader r = read_body(body);

	get_position(&r, at);
	return take_rest(&r, ops);
}

/* ---- request link */

int
wire_answer_decode(struct slice body, uint64_t *client, struct position *at, struct slice *text)
{
	struct reader r = read_body(body);

	*client = get_number(&r, 8);
	get_position(&r, at);
	return take_rest(&r, text);
}

int
wire_refused_decode(struct slice body, uint64_t *client, struct slice *text)
{
	struct reader r = read_body(body);

	*client = get_number(&r, 8);
	return take_rest(&r, text);
}

/* Bytes that a request takes; SIZE_MAX: more than there can be. */
static size_t
request_size(const struct face_request *r)
{
	size_t n = 8 + 2 + 4 + 4;

	for (size_t i = 0; i < r->n_watched; i++)
		n += 4 + r->watched[i].key.len + DB_DIGEST;
	for (size_t i = 0; i < r->n_commands; i++) {
		n += 4;
		for (size_t k = 0; k < r->commands[i].argc; k++)
			n += 4 + r->commands[i].argv[k].len;
	}
	return n <= UINT32_MAX / 2 ? n : SIZE_MAX;
}

static uint8_t *
put_slice(uint8_t *out, struct slice s)
{
	out = put_number(out, s.len, 4);
	return s.len > 0 ? put_bytes(out, s.data, s.len) : out;
}

int
wire_put_request(struct change *out, uint64_t client, const struct face_request *r)
{
	size_t n = request_size(r);
	uint8_t *p = n != SIZE_MAX ? reserve(out, WIRE_HEADER + n) : NULL;

	if (p == NULL)
		return -1;
	p = put_number(p, n + 1, 4);
	*p++ = WIRE_REQUEST;
	p = put_number(p, client, 8);
	*p++ = (uint8_t)r->version;
	*p++ = r->transaction;
	p = put_number(p, r->n_watched, 4);
	for (size_t i = 0; i < r->n_watched; i++)
		p = put_bytes(put_slice(p, r->watched[i].key), r->watched[i].digest, DB_DIGEST);
	p = put_number(p, r->n_commands, 4);
	for (size_t i = 0; i < r->n_commands; i++) {
		p = put_number(p, r->commands[i].argc, 4);
		for (size_t k = 0; k < r->commands[i].argc; k++)
			p = put_slice(p, r->commands[i].argv[k]);
	}
	out->len += WIRE_HEADER + n;
	return 0;
}

static struct slice
get_slice(struct reader *r)
{
	struct slice s;

	s.len = (size_t)get_number(r, 4);
	s.data = get_bytes(r, s.len);
	if (!r->ok)
		s.len = 0;
	return s;
}

/* How many watched keys, commands and arguments a body has: so much memory is needed, no more. */
struct request_shape {
	size_t watched, commands, arguments;
};

static int
measure(struct reader r, struct request_shape *shape)
{
	shape->watched = (size_t)get_number(&r, 4);
	if (shape->watched > WIRE_COMMANDS_MAX)
		return -1;
	for (size_t i = 0; i < shape->watched && r.ok; i++) {
		(void)get_slice(&r);
		(void)get_bytes(&r, DB_DIGEST);
	}
	shape->commands = (size_t)get_number(&r, 4);
	shape->arguments = 0;
	if (!r.ok || shape->commands < 1 || shape->commands > WIRE_COMMANDS_MAX)
		return -1;
	for (size_t i = 0; i < shape->commands && r.ok; i++) {
		size_t argc = (size_t)get_number(&r, 4);

		if (argc < 1 || argc > WIRE_ARGS_MAX)
			return -1;
		for (size_t k = 0; k < argc && r.ok; k++)
			(void)get_slice(&r);
		shape->arguments += argc;
	}
	return read_end(&r);
}

int
wire_request_decode(struct slice body, uint64_t *client, struct face_request *out, void **memory)
{
	struct reader r = read_body(body);
	struct request_shape shape;
	struct face_watched *watched;
	struct face_command *commands;
	struct slice *arguments;
	unsigned transaction;

	*memory = NULL;
	memset(out, 0, sizeof(*out));
	*client = get_number(&r, 8);
	out->version = (int)get_number(&r, 1);
	transaction = (unsigned)get_number(&r, 1);
	if (!r.ok || (out->version != 2 && out->version != 3) || transaction > 1 ||
	    measure(r, &shape) != 0 ||
	    (!transaction && (shape.commands != 1 || shape.watched != 0)))
		return -1;
	*memory = malloc(shape.watched * sizeof(*watched) + shape.commands * sizeof(*commands) +
			 shape.arguments * sizeof(*arguments));
	if (*memory == NULL)
		return -1;
	commands = *memory;
	arguments = (struct slice *)(void *)(commands + shape.commands);
	watched = (struct face_watched *)(void *)(arguments + shape.arguments);
	out->transaction = transaction != 0;
	out->commands = commands;
	out->watched = watched;
	out->n_watched = (size_t)get_number(&r, 4);
	for (size_t i = 0; i < out->n_watched; i++) {
		watched[i].key = get_slice(&r);
		get_copy(&r, watched[i].digest, DB_DIGEST);
	}
	out->n_commands = (size_t)get_number(&r, 4);
	for (size_t i = 0; i < out->n_commands; i++) {
		commands[i].argv = arguments;
		commands[i].argc = (size_t)get_number(&r, 4);
		for (size_t k = 0; k < commands[i].argc; k++)
			*arguments++ = get_slice(&r);
	}
	return read_end(&r);
}

/* ---- actions */

enum { ACTION_LEFT_AT = 8 + 1 + 4 + 4, ACTION_HEAD = ACTION_LEFT_AT + 4 + 1 };

bool
wire_name_ok(struct slice name)
{
	if (name.len == 0 || name.len > ACTION_NAME)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    (c == '\0' || strchr("._:/@-", c) == NULL))
			return false;
	}
	return true;
}

int
wire_put_action(struct change *out, uint64_t client, const struct face_action *a)
{
	uint8_t head[ACTION_HEAD + ACTION_NAME], *p = head;

	if (a->name.len > ACTION_NAME)
		return -1;
	p = put_number(p, client, 8);
	*p++ = (uint8_t)a->version;
	p = put_number(p, (uint32_t)a->uid, 4);
	p = put_number(p, (uint32_t)a->pid, 4);
	p = put_number(p, (uint64_t)a->left_ms, 4);
	*p++ = (uint8_t)a->name.len;
	p = put_bytes(p, a->name.data, a->name.len);
	return wire_put(out, WIRE_ACTION, (struct slice){head, (size_t)(p - head)}, a->payload);
}

void
wire_action_left(struct change *frame, int64_t left_ms)
{
	put_number(
	    frame->data + WIRE_HEADER + ACTION_LEFT_AT, left_ms < 1 ? 1 : (uint64_t)left_ms, 4);
}

int
wire_action_decode(struct slice body, uint64_t *client, struct face_action *a)
{
	struct reader r = read_body(body);

	*client = get_number(&r, 8);
	a->version = (int)get_number(&r, 1);
	a->uid = (uid_t)get_number(&r, 4);
	a->pid = (pid_t)get_number(&r, 4);
	a->left_ms = (int64_t)get_number(&r, 4);
	a->name.len = (size_t)get_number(&r, 1);
	a->name.data = get_bytes(&r, a->name.len);
	if (!r.ok || (a->version != 2 && a->version != 3) || a->left_ms < 1 ||
	    a->left_ms > ACTION_MS_MAX || !wire_name_ok(a->name))
		return -1;
	return take_rest(&r, &a->payload);
}
