/* SPDX-License-Identifier: ISC */
/*
 * Commands and the store (db.h).
 */
#include "config.h"

#include "db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

enum { EVENTS_FIRST = 64 };

/* Begins the change of this command, unless it is begun. 0, or -1: the command has failed. */
static int
begin(struct face *f)
{
	if (f->db.failed != 0)
		return -1;
	if (f->db.open)
		return 0;
	if (store_begin(f->db.store, f->db.epoch) != 0) {
		f->db.failed = errno != 0 ? errno : EIO;
		return -1;
	}
	f->db.open = true;
	return 0;
}

static void
apply(struct face *f, const struct change_op *op)
{
	if (begin(f) != 0)
		return;
	if (store_apply(f->db.store, op) != 0) {
		f->db.failed = errno != 0 ? errno : EIO;
		f->db.open = false; /* the store has undone it */
	}
}

static bool
is_expired(const struct face *f, const struct value *v)
{
	return v->expire_ms != 0 && f->db.now_ms > v->expire_ms;
}

int
db_find(struct face *f, struct slice key, struct value *v)
{
	/* asked for the time 0, the store hides nothing */
	if (store_get(f->db.store, key, 0, v) != 1)
		return 0;
	if (!is_expired(f, v))
		return 1;
	if (f->db.writing) {
		db_delete(f, key);
		db_notify(f, "expired", key);
		f->counts.expired++;
	}
	return 0;
}

int
db_find_field(struct face *f, struct slice key, struct slice field, struct slice *value)
{
	return store_hget(f->db.store, key, 0, field, value) == 1;
}

void
db_set(struct face *f, struct slice key, struct slice value, int64_t expire_ms)
{
	struct change_op op = {
	    .kind = CHANGE_SET, .key = key, .value = value, .expire_ms = expire_ms};

	apply(f, &op);
	command_touch(f, key);
}

void
db_splice(struct face *f, struct slice key, size_t offset, struct slice bytes)
{
	struct change_op op = {.kind = CHANGE_SPLICE, .key = key, .value = bytes, .offset = offset};

	apply(f, &op);
	command_touch(f, key);
}

void
db_delete(struct face *f, struct slice key)
{
	struct change_op op = {.kind = CHANGE_DEL, .key = key};

	apply(f, &op);
	command_touch(f, key);
}

void
db_expire(struct face *f, struct slice key, int64_t expire_ms)
{
	struct change_op op = {.kind = CHANGE_EXPIRE, .key = key, .expire_ms = expire_ms};

	apply(f, &op);
	command_touch(f, key);
}

void
db_set_field(struct face *f, struct slice key, struct slice field, struct slice value)
{
	struct change_op op = {.kind = CHANGE_HSET, .key = key, .field = field, .value = value};

	apply(f, &op);
	command_touch(f, key);
}

void
db_delete_field(struct face *f, struct slice key, struct slice field)
{
	struct change_op op = {.kind = CHANGE_HDEL, .key = key, .field = field};

	apply(f, &op);
	command_touch(f, key);
}

void
db_rename(struct face *f, struct slice key, struct slice to)
{
	struct change_op op = {.kind = CHANGE_RENAME, .key = key, .field = to};

	apply(f, &op);
	command_touch(f, key);
	command_touch(f, to);
}

void
db_flush(struct face *f)
{
	struct change_op op = {.kind = CHANGE_FLUSH};

	command_touch_all(f);
	apply(f, &op);
}

void
db_notify(struct face *f, const char *event, struct slice key)
{
	if (f->channels.n_topics == 0 && f->patterns.n_topics == 0)
		return;
	if (f->n_events == f->events_size) {
		size_t size = f->events_size == 0 ? EVENTS_FIRST : f->events_size * 2;
		struct face_event *events = realloc(f->events, size * sizeof(*events));

		if (events == NULL) {
			f->db.failed = ENOMEM; /* undone by db_commit(): nothing happens unseen */
			return;
		}
		f->events = events;
		f->events_size = size;
	}
	f->events[f->n_events].name = event;
	f->events[f->n_events++].key = key;
}

int
db_commit(struct face *f, struct position *at, bool *changed)
{
	struct position before = store_end(f->db.store);
	int failed = f->db.failed;

	*changed = false;
	f->db.failed = 0;
	if (f->db.open) {
		f->db.open = false;
		if (failed != 0)
			(void)store_cancel(f->db.store);
		else if (store_end_change(f->db.store, at) != 0)
			failed = errno != 0 ? errno : EIO;
		else
			*changed = at->index != before.index;
	}
	return failed;
}

/* Hash of two pieces, taken into digest by exclusive or: the order of the calls does not matter. */
static void
digest_add(uint8_t digest[DB_DIGEST], const uint64_t head[2], struct slice a, struct slice b)
{
	crypto_generichash_state h;
	uint8_t one[DB_DIGEST];

	crypto_generichash_init(&h, NULL, 0, DB_DIGEST);
	crypto_generichash_update(&h, (const uint8_t *)head, 2 * sizeof(head[0]));
	crypto_generichash_update(&h, a.data, a.len);
	crypto_generichash_update(&h, b.data, b.len);
	crypto_generichash_final(&h, one, DB_DIGEST);
	for (size_t i = 0; i < DB_DIGEST; i++)
		digest[i] ^= one[i];
}

void
db_digest(struct face *f, struct slice key, uint8_t digest[DB_DIGEST])
{
	struct value v = {.type = VALUE_NONE};
	struct slice field, value, none = {(const uint8_t *)"", 0};
	struct store_walk w = {0};
	uint64_t head[2];

	memset(digest, 0, DB_DIGEST);
	if (store_get(f->db.store, key, 0, &v) != 1 || is_expired(f, &v))
		memset(&v, 0, sizeof(v));
	head[0] = (uint64_t)v.type;
	head[1] = (uint64_t)v.expire_ms;
	digest_add(digest, head, v.type == VALUE_STRING ? v.string : none, none);
	if (v.type != VALUE_HASH)
		return;
	/* servers keep fields in different orders */
	while (store_walk_fields(f->db.store, key, &w, &field, &value) == 1) {
		head[0] = field.len;
		head[1] = value.len;
		digest_add(digest, head, field, value);
		if (w.cursor == 0 && !w.more)
			break;
	}
	store_walk_end(&w);
}

int
db_expire_due(struct face *f, int max)
{
	int n = 0;
	struct position at;
	bool changed;

	while (n < max) {
		uint8_t *copy;
		struct slice key;

		if (store_next_expired(f->db.store, f->db.now_ms - 1, &key) != 1)
			break;
		copy = malloc(key.len + 1); /* the store's slice ends with the change */
		if (copy == NULL)
			break;
		memcpy(copy, key.data, key.len);
		key.data = copy;
		db_delete(f, key);
		db_notify(f, "expired", key);
		f->db.failed = db_commit(f, &at, &changed);
		f->changed |= changed;
		command_send_events(f, f->db.failed == 0);
		free(copy);
		if (f->db.failed != 0) {
			f->db.failed = 0;
			return -1;
		}
		f->counts.expired++;
		n++;
	}
	return n;
}
