/* SPDX-License-Identifier: ISC */
/*
 * The store of syncd on real files: every operation against a model, undoing, following,
 * truncating, reopening, walking, expiry. What a crash does to it is in tests/unit/crash_store.c.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "model.h"
#include "syncd/log_internal.h"
#include "syncd/store_internal.h"

static const uint8_t id[STORE_ID] = "a group of tests";
static const struct store_limits small = {
    .map_bytes = 256 << 20, .backlog_bytes = 4 << 20, .segment_bytes = 256 << 10};

static void
silent(enum log_level level, const char *line)
{
	(void)level;
	if (getenv("BULKHEAD_TEST_VERBOSE") != NULL)
		print_message("%s\n", line);
}

struct world {
	char path[64];
	struct store *s;
	struct model *m;
	struct dice dice;
};

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	make_folder(w->path);
	w->s = store_open(w->path, &small);
	assert_non_null(w->s);
	w->m = model_new();
	w->dice.state = 88172645463325252U;
	assert_int_equal(store_init(w->s, id), 0);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	store_close(w->s);
	model_free(w->m);
	remove_folder(w->path);
	free(w);
	return 0;
}

static void
assert_same(struct world *w)
{
	const char *different = model_compare(w->m, w->s);

	if (different != NULL)
		fail_msg("the store is not what the model is: %s", different);
}

static void
reopen(struct world *w)
{
	store_close(w->s);
	w->s = store_open(w->path, &small);
	assert_non_null(w->s);
}

/* One change of some operations, to both. */
static void
change(struct world *w, uint32_t n)
{
	struct change_op op;

	assert_int_equal(store_begin(w->s, 1), 0);
	for (; n > 0; n--) {
		dice_op(&w->dice, w->m, &op);
		assert_int_equal(store_apply(w->s, &op), 0);
		model_apply(w->m, &op);
	}
	assert_int_equal(store_end_change(w->s, NULL), 0);
}

static void
set(struct store *s, const char *key, const char *value)
{
	struct change_op op = {.kind = CHANGE_SET, .key = text(key), .value = text(value)};

	assert_int_equal(store_begin(s, 1), 0);
	assert_int_equal(store_apply(s, &op), 0);
	assert_int_equal(store_end_change(s, NULL), 0);
}

static void
operations(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 4000; i++) {
		change(w, dice_roll(&w->dice, 4) + 1);
		if (i % 40 == 0) {
			assert_same(w);
			assert_int_equal(store_flush(w->s), 0);
		}
		if (i % 300 == 0)
			assert_int_equal(store_checkpoint(w->s, true), 0);
		if (i % 700 == 0) {
			reopen(w);
			assert_same(w);
		}
	}
	assert_true(model_count(w->m) > 10);
}

/* ---- faults: these take the place of the C library's, for liblmdb too */

static int fault, fault_after; /* the errno that writes fail with, after so many */

static bool
fails(void)
{
	if (fault == 0 || fault_after-- > 0)
		return false;
	errno = fault;
	return true;
}

ssize_t
pwrite(int fd, const void *b, size_t n, off_t at)
{
	return fails() ? -1 : syscall(SYS_pwrite64, fd, b, n, at);
}

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	return fails() ? -1 : syscall(SYS_writev, fd, v, n);
}

/* ---- groups */

static void
blank(void **state)
{
	static const uint8_t none[STORE_ID];
	struct world *w = *state;
	char path[64];
	struct position at = {1, 1, 0};
	struct store *s;

	make_folder(path);
	s = store_open(path, &small);
	assert_non_null(s);
	assert_memory_equal(store_id(s), none, STORE_ID);
	assert_int_equal(store_begin(s, 1), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(store_follow(s, &at, text("x")), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(store_init(s, none), -1);
	assert_int_equal(store_init(s, id), 0);
	assert_int_equal(store_init(s, id), -1);
	assert_int_equal(errno, EEXIST);
	set(s, "a", "1");
	assert_null(store_open(path, &small)); /* somebody has it open */
	store_close(s);
	s = store_open(path, &small);
	assert_memory_equal(store_id(s), id, STORE_ID);
	assert_int_equal(store_end(s).index, 1);
	assert_memory_equal(s->hash_key, w->s->hash_key, sizeof(s->hash_key));
	store_close(s);
	remove_folder(path);
}

/* ---- undoing */

static void
undo(void **state)
{
	struct world *w = *state;
	struct change_op op = {.kind = CHANGE_SET, .key = text("s"), .value = text("1")};
	struct change_op wrong = {
	    .kind = CHANGE_HSET, .key = text("s"), .field = text("f"), .value = text("1")};
	struct position before;
	struct value v;

	for (int i = 0; i < 50; i++)
		change(w, 3);
	assert_int_equal(store_begin(w->s, 1), 0);
	assert_int_equal(store_apply(w->s, &op), 0);
	model_apply(w->m, &op);
	assert_int_equal(store_end_change(w->s, &before), 0);
	op.value = text("2");
	assert_int_equal(store_begin(w->s, 1), 0);
	assert_int_equal(store_begin(w->s, 1), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(store_apply(w->s, &op), 0);
	assert_int_equal(store_get(w->s, op.key, 0, &v), 1);
	assert_memory_equal(v.string.data, "2", 1);
	assert_int_equal(store_cancel(w->s), 0);
	assert_same(w);
	assert_int_equal(store_begin(w->s, 1), 0);
	assert_int_equal(store_apply(w->s, &op), 0);
	assert_int_equal(store_apply(w->s, &wrong), -1); /* and all of the change with it */
	assert_int_equal(errno, EINVAL);
	assert_same(w);
	assert_int_equal(store_apply(w->s, &op), -1);
	assert_int_equal(store_begin(w->s, 1), 0);
	assert_int_equal(store_end_change(w->s, NULL), 0); /* nothing: no record */
	assert_int_equal(store_end(w->s).index, before.index);
	assert_int_equal(store_begin(w->s, 0), -1);
	assert_int_equal(errno, ESTALE);
	reopen(w);
	assert_same(w);
}

/* Nobody asks for checkpoints: the log makes them when it has to. A crash then. */
static void
log_goes_round(void **state)
{
	struct world *w = *state;
	struct store_limits never = small;
	struct change_op op;
	struct position first;
	int status;
	pid_t pid;

	never.dirty_puts = never.dirty_bytes = UINT32_MAX;
	never.backlog_bytes = 1 << 20;
	store_close(w->s);
	for (int i = 0; i < 5; i++) {
		struct dice again = w->dice;

		pid = fork();
		if (pid == 0) {
			struct store *s = store_open(w->path, &never);

			first = store_end(s);
			for (int n = 0; n < 1000 + 100 * i; n++) {
				dice_op(&w->dice, w->m, &op);
				if (store_begin(s, 1) != 0 || store_apply(s, &op) != 0 ||
				    store_end_change(s, NULL) != 0 || store_flush(s) != 0)
					_exit(1);
				model_apply(w->m, &op);
			}
			if (log_start(store_log(s)).index <= first.index)
				_exit(2); /* it did not go round */
			raise(SIGKILL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, SIGKILL);
		w->dice = again;
		for (int n = 0; n < 1000 + 100 * i; n++) {
			dice_op(&w->dice, w->m, &op);
			model_apply(w->m, &op);
		}
		w->s = store_open(w->path, &never);
		assert_non_null(w->s);
		assert_same(w);
		store_close(w->s);
	}
	w->s = store_open(w->path, &never);
}

/* Writes that fail, at any of them: what was flushed before is there, and nothing else. */
static void
failing_writes(void **state)
{
	struct world *w = *state;
	struct model *acknowledged = w->m;
	int failed = 0;

	for (int i = 0; i < 300; i++) {
		struct position end = store_durable(w->s);
		struct change_op op;
		bool force = dice_roll(&w->dice, 4) == 0;

		fault_after = (int)dice_roll(&w->dice, force ? 30 : 3);
		assert_int_equal(store_begin(w->s, 1), 0);
		dice_op(&w->dice, w->m, &op);
		assert_int_equal(store_apply(w->s, &op), 0);
		assert_int_equal(store_end_change(w->s, NULL), 0);
		fault = ENOSPC;
		if (store_flush(w->s) == 0) {
			model_apply(acknowledged, &op);
		} else {
			assert_int_equal(errno, ENOSPC);
			assert_int_equal(store_end(w->s).index, end.index);
			assert_int_equal(store_end(w->s).hash, end.hash);
			failed++;
		}
		if (force && store_checkpoint(w->s, true) != 0) {
			assert_int_equal(errno, ENOSPC);
			failed++;
		}
		fault = 0;
		assert_same(w);
		if (i % 50 == 0) {
			reopen(w);
			assert_same(w);
		}
	}
	assert_true(failed > 50);
}

/* A checkpoint in the middle of a turn whose flush fails: who waits for the flush hears of it. */
static void
undone_by_a_checkpoint(void **state)
{
	struct world *w = *state;
	struct position end = store_durable(w->s);
	struct change_op op;

	dice_op(&w->dice, w->m, &op);
	assert_int_equal(store_begin(w->s, 1), 0);
	assert_int_equal(store_apply(w->s, &op), 0);
	assert_int_equal(store_end_change(w->s, NULL), 0);
	fault_after = 0;
	fault = ENOSPC;
	assert_int_equal(store_checkpoint(w->s, true), -1);
	fault = 0;
	assert_int_equal(store_begin(w->s, 1), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(store_flush(w->s), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(store_end(w->s).index, end.index);
	assert_same(w);
	change(w, 3);
	assert_int_equal(store_flush(w->s), 0);
	assert_same(w);
}

/* ---- following */

struct heard {
	struct store *to;
	int n;
};

static void
listener(void *arg, const struct position *at, struct slice body)
{
	struct heard *h = arg;

	h->n++;
	assert_int_equal(store_follow(h->to, at, body), 0);
	assert_int_equal(store_end(h->to).hash, at->hash);
}

static void
follow(void **state)
{
	struct world *w = *state;
	char path[64];
	struct store *main_store = w->s;
	struct heard heard = {NULL, 0};
	struct position at;
	struct slice body;
	uint8_t broken[1000];

	make_folder(path);
	heard.to = store_open(path, &small);
	assert_int_equal(store_init(heard.to, id), 0);
	store_listen(main_store, listener, &heard);
	for (int i = 0; i < 300; i++)
		change(w, 3);
	assert_int_equal(heard.n, 300);
	w->s = heard.to;
	assert_same(w);
	w->s = main_store;
	store_listen(main_store, NULL, NULL);
	set(main_store, "a", "1");
	assert_int_equal(
	    log_read(store_log(main_store), store_end(main_store).index, &at, &body), 1);
	memcpy(broken, body.data, body.len);
	body.data = broken;
	at.index++;
	assert_int_equal(store_follow(heard.to, &at, body), -1);
	assert_int_equal(errno, EPROTO);
	at.index--;
	at.hash++;
	assert_int_equal(store_follow(heard.to, &at, body), -1);
	at.hash--;
	at.epoch--;
	assert_int_equal(store_follow(heard.to, &at, body), -1);
	at.epoch++;
	broken[0] = 77;
	assert_int_equal(store_follow(heard.to, &at, body), -1);
	broken[0] = CHANGE_SET;
	broken[body.len - 1] ^= 1;
	assert_int_equal(store_follow(heard.to, &at, body), -1);
	assert_int_equal(errno, EPROTO);
	broken[body.len - 1] ^= 1;
	assert_int_equal(store_follow(heard.to, &at, body), 0);
	assert_int_equal(store_end(heard.to).hash, store_end(main_store).hash);
	store_close(heard.to);
	remove_folder(path);
}

static void
truncation(void **state)
{
	struct world *w = *state;
	struct position middle, end, other;

	for (int i = 0; i < 20; i++)
		change(w, 2);
	assert_int_equal(store_checkpoint(w->s, true), 0);
	for (int i = 0; i < 20; i++)
		change(w, 2);
	assert_int_equal(store_flush(w->s), 0);
	middle = store_end(w->s);
	set(w->s, "diverged", "1");
	set(w->s, "diverged", "2");
	assert_int_equal(store_flush(w->s), 0);
	set(w->s, "diverged", "3"); /* not on disk */
	end = store_end(w->s);
	other = middle;
	other.hash++;
	assert_int_equal(store_truncate(w->s, &other), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(store_end(w->s).index, end.index);
	assert_int_equal(store_truncate(w->s, &middle), 0);
	assert_same(w);
	reopen(w);
	assert_same(w);
	assert_int_equal(store_end(w->s).index, middle.index);
	for (int i = 0; i < 20; i++)
		change(w, 2);
	assert_int_equal(store_checkpoint(w->s, true), 0);
	assert_int_equal(store_truncate(w->s, &middle), -1);
	assert_int_equal(errno, ESTALE);
	assert_same(w);
}

/* ---- reading in order */

static void
walk(void **state)
{
	struct world *w = *state;
	static uint8_t seen[3000];
	struct store_walk k = {0};
	struct slice key;
	struct value v;
	char name[32];
	uint64_t last = 0;
	size_t n = 0, steps = 0;

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		set(w->s, name, name);
	}
	/* as SCAN does: some, then a new walk from the cursor, with other keys coming and going */
	do {
		for (int i = 0; i < 7 && store_walk_keys(w->s, &k, &key, &v) == 1; i++) {
			uint64_t hash = state_hash(w->s->hash_key, key);

			assert_true(hash > last || n == 0);
			assert_false(k.more);
			last = hash;
			memcpy(name, key.data, key.len);
			name[key.len] = '\0';
			if (name[0] == 'n')
				continue;
			assert_int_equal(seen[atoi(name)]++, 0);
			assert_memory_equal(v.string.data, name, key.len);
			n++;
			if (i == 3) { /* in the middle of a walk */
				snprintf(name, sizeof(name), "new %d", (int)steps);
				set(w->s, name, "x");
			}
		}
		store_walk_end(&k);
		k = (struct store_walk){.cursor = k.cursor};
		steps++;
	} while (k.cursor != 0);
	assert_int_equal(n, 3000);
	assert_true(steps > 3000 / 7);
	for (uint64_t i = 0; i < 200; i++) {
		assert_int_equal(store_random(w->s, i * 0x0123456789abcdefU, &key), 1);
		assert_int_equal(store_get(w->s, key, 0, &v), 1);
	}
}

static void
hset(struct store *s, const char *key, uint32_t field, const char *value)
{
	char name[32];
	struct change_op op = {.kind = CHANGE_HSET, .key = text(key), .value = text(value)};

	snprintf(name, sizeof(name), "field %u", field);
	op.field = text(name);
	assert_int_equal(store_apply(s, &op), 0);
}

static size_t
fields_in_lmdb(struct store *s)
{
	MDB_stat stat;

	assert_int_equal(mdb_stat(s->txn, s->sets[s->state.active].fields, &stat), 0);
	return stat.ms_entries;
}

/* A large hash: walked in pieces, renamed and deleted without touching its fields. */
static void
large_hash(void **state)
{
	enum { FIELDS = 20000 };
	struct world *w = *state;
	struct change_op op = {.kind = CHANGE_RENAME, .key = text("h"), .field = text("renamed")};
	struct store_walk walk = {0};
	struct slice field, value;
	struct value v;
	uint64_t puts;
	size_t n = 0;

	assert_int_equal(store_begin(w->s, 1), 0);
	for (uint32_t i = 0; i < FIELDS; i++)
		hset(w->s, "h", i, "value");
	hset(w->s, "other", 1, "value");
	assert_int_equal(store_end_change(w->s, NULL), 0);
	do {
		for (int i = 0;
		     i < 100 && store_walk_fields(w->s, text("h"), &walk, &field, &value); i++)
			n++;
		store_walk_end(&walk);
		walk = (struct store_walk){.cursor = walk.cursor};
	} while (walk.cursor != 0);
	assert_int_equal(n, FIELDS);
	puts = w->s->puts;
	assert_int_equal(store_begin(w->s, 1), 0);
	assert_int_equal(store_apply(w->s, &op), 0);
	assert_int_equal(store_end_change(w->s, NULL), 0);
	assert_true(w->s->puts - puts < 5);
	assert_int_equal(store_get(w->s, text("h"), 0, &v), 0);
	assert_int_equal(store_get(w->s, text("renamed"), 0, &v), 1);
	assert_int_equal(v.fields, FIELDS);
	assert_int_equal(store_hget(w->s, text("renamed"), 0, text("field 77"), &value), 1);
	op = (struct change_op){.kind = CHANGE_DEL, .key = text("renamed")};
	puts = w->s->puts;
	assert_int_equal(store_begin(w->s, 1), 0);
	assert_int_equal(store_apply(w->s, &op), 0);
	assert_int_equal(store_end_change(w->s, NULL), 0);
	assert_true(w->s->puts - puts < 5);
	assert_int_equal(store_count(w->s), 1);
	assert_int_equal(fields_in_lmdb(w->s), FIELDS + 1);
	for (int i = 0; i < 10; i++)
		assert_int_equal(store_checkpoint(w->s, i == 5), 0);
	assert_in_range(fields_in_lmdb(w->s), 2, FIELDS);
	reopen(w); /* goes on where it was */
	for (int i = 0; i < 20; i++)
		assert_int_equal(store_checkpoint(w->s, false), 0);
	assert_int_equal(fields_in_lmdb(w->s), 1);
	assert_int_equal(store_hget(w->s, text("other"), 0, text("field 1"), &value), 1);
}

static void
expiry(void **state)
{
	struct world *w = *state;
	struct change_op op = {.kind = CHANGE_SET, .value = text("x")};
	struct slice key;
	struct value v;
	char name[600];

	for (int i = 0; i < 100; i++) {
		memset(name, 'k', sizeof(name));
		snprintf(name, sizeof(name), "%03d", i);
		op.key = (struct slice){(uint8_t *)name, i % 2 == 0 ? 3 : sizeof(name)};
		op.expire_ms = 1000 + (i * 37) % 100;
		assert_int_equal(store_begin(w->s, 1), 0);
		assert_int_equal(store_apply(w->s, &op), 0);
		assert_int_equal(store_end_change(w->s, NULL), 0);
	}
	assert_int_equal(store_get(w->s, text("000"), 999, &v), 1);
	assert_int_equal(store_get(w->s, text("000"), 1000, &v), 0);
	assert_int_equal(store_next_expired(w->s, 999, &key), 0);
	for (int64_t i = 0; i < 100; i++) {
		assert_int_equal(store_next_expiry(w->s), 1000 + i);
		assert_int_equal(store_next_expired(w->s, 1000 + i, &key), 1);
		op = (struct change_op){.kind = CHANGE_DEL, .key = key};
		assert_int_equal(store_begin(w->s, 1), 0);
		assert_int_equal(store_apply(w->s, &op), 0);
		assert_int_equal(store_end_change(w->s, NULL), 0);
	}
	assert_int_equal(store_next_expiry(w->s), 0);
	assert_int_equal(store_count(w->s), 0);
}

/* ---- large values */

/* More than a segment, more than the whole log, more than a checkpoint should write. */
static void
large_value(void **state)
{
	struct world *w = *state;
	size_t size = getenv("BULKHEAD_TEST_LONG") != NULL ? CHANGE_KEY_MAX : 50 << 20;
	struct store_limits large = small;
	struct change_op op = {
	    .kind = CHANGE_SET, .key = text("large"), .value = {malloc(size), size}};
	struct position at;
	struct slice body;
	struct value v;

	large.map_bytes = (uint64_t)8 << 30;
	large.segment_bytes = 2 << 20;
	large.backlog_bytes = 16 << 20;
	store_close(w->s);
	remove_folder(w->path); /* pieces of another size are no log */
	assert_int_equal(mkdir(w->path, 0700), 0);
	w->s = store_open(w->path, &large);
	assert_int_equal(store_init(w->s, id), 0);
	assert_non_null(w->s);
	memset((uint8_t *)(uintptr_t)op.value.data, 'v', size);
	for (int i = 0; i < 3; i++) {
		set(w->s, "small", "1");
		assert_int_equal(store_begin(w->s, 1), 0);
		assert_int_equal(store_apply(w->s, &op), 0);
		assert_int_equal(store_end_change(w->s, &at), 0);
		assert_int_equal(store_flush(w->s), 0);
		if (i == 1) { /* from the log */
			assert_int_equal(log_read(store_log(w->s), at.index, &at, &body), 1);
			assert_true(body.len > size);
			store_close(w->s);
			w->s = store_open(w->path, &large);
		} else
			assert_int_equal(store_checkpoint(w->s, false), 0);
		assert_int_equal(store_get(w->s, text("large"), 0, &v), 1);
		assert_int_equal(v.string.len, size);
		assert_memory_equal(v.string.data, op.value.data, size);
	}
	for (int i = 0; i < 200000; i++) { /* the log goes back to its size */
		set(w->s, "small", "some bytes to fill the segments of the log again and again");
		if (i % 10000 == 0)
			assert_int_equal(store_checkpoint(w->s, true), 0);
	}
	assert_int_equal(store_flush(w->s), 0);
	assert_true(store_log(w->s)->n_segments + store_log(w->s)->n_spares <= 9);
	op.value.len = size + 1 > CHANGE_KEY_MAX ? size + 1 : (size_t)CHANGE_KEY_MAX + 1;
	assert_int_equal(store_begin(w->s, 1), 0);
	assert_int_equal(store_apply(w->s, &op), -1);
	assert_int_equal(errno, E2BIG);
	free((uint8_t *)(uintptr_t)op.value.data);
}

/* Longer changes than standbys take are not made, and nothing of them stays. */
static void
longest_change(void **state)
{
	struct world *w = *state;
	struct position before;
	struct change_op op = {.kind = CHANGE_SET, .key = text("k"), .value = text("0123456789")};
	struct value v;

	store_limit_change(w->s, 64);
	set(w->s, "k", "short");
	before = store_end(w->s);
	assert_int_equal(store_begin(w->s, 1), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(store_apply(w->s, &op), 0);
	assert_int_equal(store_apply(w->s, &op), -1);
	assert_int_equal(errno, E2BIG);
	assert_int_equal(store_end(w->s).index, before.index);
	assert_int_equal(store_get(w->s, text("k"), 0, &v), 1);
	assert_memory_equal(v.string.data, "short", 5);
	store_limit_change(w->s, 0);
	assert_int_equal(store_begin(w->s, 1), 0);
	for (int i = 0; i < 9; i++)
		assert_int_equal(store_apply(w->s, &op), 0);
	assert_int_equal(store_end_change(w->s, NULL), 0);
}

/* ---- no room */

/* Sets keys until there is no room. Returns how many. */
static int
fill(struct store *s, int from, struct change_op *op)
{
	char name[32];

	for (int i = from; i < 1000000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		op->key = text(name);
		if (store_begin(s, 1) != 0 || store_apply(s, op) != 0 ||
		    store_end_change(s, NULL) != 0 || (i % 16 == 0 && store_flush(s) != 0)) {
			assert_int_equal(errno, ENOSPC);
			return i;
		}
		(void)store_checkpoint(s, false);
	}
	fail_msg("never full");
	return 0;
}

static void
delete_keys(struct store *s, int from, int to)
{
	struct change_op op = {.kind = CHANGE_DEL};
	char name[32];

	for (int i = from; i < to; i++) {
		snprintf(name, sizeof(name), "%d", i);
		op.key = text(name);
		assert_int_equal(store_begin(s, 1), 0);
		assert_int_equal(store_apply(s, &op), 0);
		assert_int_equal(store_end_change(s, NULL), 0);
	}
	assert_int_equal(store_flush(s), 0);
}

static void
assert_keys(struct store *s, int from, int to)
{
	char name[32];
	struct value v;

	for (int i = from; i < to; i++) {
		snprintf(name, sizeof(name), "%d", i);
		if (store_get(s, text(name), 0, &v) == 0)
			fail_msg("%s is lost", name);
	}
}

/* The map is full: reads and deletions go on, then there is room again. */
static void
map_full(void **state)
{
	struct world *w = *state;
	struct store_limits tight = small;
	static uint8_t bytes[1500];
	struct change_op op = {.kind = CHANGE_SET, .value = {bytes, sizeof(bytes)}};
	int n, m;

	store_close(w->s);
	tight.map_bytes = 16 << 20;
	w->s = store_open(w->path, &tight);
	n = fill(w->s, 0, &op);
	assert_in_range(n, 2000, 11000);
	assert_int_equal(store_flush(w->s), 0);
	n = (int)store_count(w->s);
	assert_keys(w->s, 0, n);
	for (int i = 0; i < 50; i++) /* asked again and again */
		assert_in_range(fill(w->s, n, &op), n, n + 200);
	n = (int)store_count(w->s);
	delete_keys(w->s, 0, n / 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(store_checkpoint(w->s, true), 0);
	m = fill(w->s, n, &op);
	assert_true(m > n + n / 4);
	store_close(w->s);
	w->s = store_open(w->path, &tight);
	assert_keys(w->s, n / 2, m);
	delete_keys(w->s, n / 2, m);
	assert_int_equal(store_count(w->s), 0);
}

/* A store that was full and is nearly empty refuses nothing, in the middle of a change neither. */
static void
map_nearly_empty(void **state)
{
	struct world *w = *state;
	struct store_limits tight = small;
	static uint8_t bytes[20000];
	struct change_op op = {.kind = CHANGE_SET, .value = {bytes, sizeof(bytes)}};
	char name[32];

	store_close(w->s);
	tight.map_bytes = 16 << 20;
	w->s = store_open(w->path, &tight);
	for (int round = 0; round < 3; round++) {
		op.value.len = 3000;
		delete_keys(w->s, 20, fill(w->s, 0, &op));
		op.value.len = sizeof(bytes);
		for (int i = 0; i < 1000; i++) {
			assert_int_equal(store_begin(w->s, 1), 0);
			for (int k = 0; k < 8; k++) {
				snprintf(name, sizeof(name), "%d", k);
				op.key = text(name);
				bytes[0] = (uint8_t)i;
				if (store_apply(w->s, &op) != 0)
					fail_msg("refused: %s", strerror(errno));
			}
			assert_int_equal(store_end_change(w->s, NULL), 0);
			if (i % 16 == 0)
				assert_int_equal(store_flush(w->s), 0);
		}
		for (int k = 0; k < 8; k++) {
			struct value v;

			snprintf(name, sizeof(name), "%d", k);
			assert_int_equal(store_get(w->s, text(name), 0, &v), 1);
			assert_int_equal(v.string.len, sizeof(bytes));
			assert_int_equal(v.string.data[0], (uint8_t)999);
		}
		delete_keys(w->s, 0, 20);
		assert_int_equal(store_count(w->s), 0);
	}
}

/* The disk is full, on a small file system of our own. */
static void
disk_full(void **state)
{
	struct world *w = *state;
	char path[80], ballast[100];
	static uint8_t bytes[3000];
	struct change_op op = {.kind = CHANGE_SET, .value = {bytes, sizeof(bytes)}};
	struct store *s;
	int fd, n, m;

	if (unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0) {
		print_message("skipped: not root, no file system of our own\n");
		skip();
	}
	snprintf(path, sizeof(path), "%s/full", w->path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(mount("bh-test-full", path, "tmpfs", 0, "size=48m"), 0);
	snprintf(ballast, sizeof(ballast), "%s/ballast", path);
	s = store_open(path, &small);
	assert_non_null(s);
	assert_int_equal(store_init(s, id), 0);
	fd = open(ballast, O_RDWR | O_CREAT, 0600);
	assert_int_equal(posix_fallocate(fd, 0, 20 << 20), 0);
	for (int round = 0; round < 3; round++) {
		n = fill(s, (int)store_count(s), &op);
		assert_true(n > 1000);
		assert_int_equal(store_flush(s), 0);
		n = (int)store_count(s);
		assert_keys(s, 0, n);
		/* somebody else takes the last of it too */
		assert_true(posix_fallocate(fd, 20 << 20, 28 << 20) != 0);
		(void)store_checkpoint(s, true);
		m = fill(s, n, &op);
		assert_in_range(m, n, n + 2000);
		n = (int)store_count(s);
		assert_keys(s, 0, n);
		assert_int_equal(ftruncate(fd, 20 << 20), 0);
		if (round == 0) { /* a crash in this condition */
			store_close(s);
			s = store_open(path, &small);
			assert_non_null(s);
			assert_keys(s, 0, n);
		}
		assert_int_equal(ftruncate(fd, (16 - round * 5) << 20), 0);
		/* nobody has to do anything: it tries again */
		for (int tries = 0; store_begin(s, 1) != 0 || store_apply(s, &op) != 0; tries++) {
			assert_int_equal(errno, ENOSPC);
			assert_in_range(tries, 0, 1000);
			usleep(10000);
		}
		assert_int_equal(store_cancel(s), 0);
	}
	close(fd);
	n = (int)store_count(s);
	store_close(s);
	s = store_open(path, &small);
	assert_keys(s, 0, n);
	store_close(s);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
}

/* ---- copies and loads */

struct copy_end {
	struct store_copy *from;
	struct store_cursor at;
	struct store *to;
};

/* Carries some items over. 1: there may be more, 0: that was all. */
static int
carry(struct copy_end *c, int items, size_t max)
{
	struct change body;
	int r = 1;

	change_init(&body);
	for (int i = 0; i < items && r == 1; i++) {
		r = store_copy_next(c->from, &c->at, max, &body);
		assert_true(r >= 0);
		if (r == 1)
			assert_int_equal(
			    store_load_items(c->to, (struct slice){body.data, body.len}, &c->at),
			    0);
		change_clear(&body);
	}
	change_free(&body);
	return r;
}

/* Keys of 1500 bytes, of which there are 1000. */
static void
set_numbered(struct store *s, int n)
{
	char key[16], value[1501];

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	snprintf(key, sizeof(key), "%d", n % 1000);
	set(s, key, value);
	if (n % 100 == 0)
		assert_int_equal(store_checkpoint(s, true), 0);
}

/* A copy that stays open says so before any change is refused, and its room comes back. */
static void
copy_holds_room(void **state)
{
	struct world *w = *state;
	struct store_limits tight = small;
	struct store_copy *c;
	int n, m;

	store_close(w->s);
	tight.map_bytes = 16 << 20;
	w->s = store_open(w->path, &tight);
	for (int i = 0; i <= 5000; i++)
		set_numbered(w->s, i);
	for (int round = 0; round < 3; round++) {
		c = store_copy_open(w->s);
		assert_false(store_copy_hurts(c));
		for (n = 1; !store_copy_hurts(c); n++) {
			set_numbered(w->s, n);
			assert_in_range(n, 1, 20000);
		}
		assert_true(n > 100);
		store_copy_close(c);
		for (m = 1; m <= 5000; m++)
			set_numbered(w->s, m);
	}
	reopen(w);
}

/* What the copies below are of: a large hash among other things, all of it on disk. */
static void
fill_source(struct world *w)
{
	for (int i = 0; i < 200; i++)
		change(w, 3);
	assert_int_equal(store_begin(w->s, 1), 0);
	for (uint32_t i = 0; i < 600; i++) {
		char name[] = "large hash 0";

		name[sizeof(name) - 2] = (char)('0' + i % 10);
		hset(w->s, name, i, "value");
	}
	assert_int_equal(store_end_change(w->s, NULL), 0);
	assert_int_equal(store_checkpoint(w->s, true), 0);
}

/* A store to which p of another is carried only in part: what is on disk of it is gone on from. */
static void
carry_interrupted(struct copy_end *c, const char *path, const struct position *p)
{
	struct store_cursor at;

	assert_int_equal(store_load_resume(c->to, p, &at), 0);
	assert_int_equal(store_load_begin(c->to, p, id), 0);
	carry(c, 40, 500);
	assert_int_equal(store_checkpoint(c->to, true), 0);
	at = c->at;
	carry(c, 40, 500); /* lost with a crash that is none: not on disk */
	store_rebuild(c->to);
	assert_int_equal(store_load_end(c->to), -1);
	assert_int_equal(errno, ESTALE);
	assert_int_equal(store_load_resume(c->to, p, &c->at), 1);
	assert_int_equal(c->at.len, at.len);
	assert_memory_equal(c->at.bytes, at.bytes, at.len);
	carry(c, 60, 1);
	store_close(c->to);
	c->to = store_open(path, &small);
	assert_int_equal(store_count(c->to), 0);
	assert_int_equal(store_load_resume(c->to, p, &c->at), 1);
}

/* The change behind p follows a copy that ends there. */
static void
follow_one(struct store *to, struct store *from, const struct position *p)
{
	struct position q;
	struct slice body;

	assert_int_equal(log_read(store_log(from), p->index + 1, &q, &body), 1);
	assert_int_equal(store_follow(to, &q, body), 0);
	assert_int_equal(store_end(to).hash, store_end(from).hash);
	assert_int_equal(store_count(to), store_count(from));
}

/* All that is in from is in to, as it is there. */
static void
assert_holds_all(struct store *to, struct store *from)
{
	struct store_walk k = {0};
	struct slice key;
	struct value a, b;

	while (store_walk_keys(from, &k, &key, &a) == 1) {
		assert_int_equal(store_get(to, key, 0, &b), 1);
		assert_int_equal(a.type, b.type);
		assert_int_equal(a.expire_ms, b.expire_ms);
		assert_int_equal(a.fields, b.fields);
		assert_int_equal(a.string.len, b.string.len);
		if (a.string.len > 0)
			assert_memory_equal(a.string.data, b.string.data, a.string.len);
	}
	store_walk_end(&k);
}

static void
copy_and_load(void **state)
{
	struct world *w = *state;
	char path[64];
	uint8_t other_id[STORE_ID] = "another group";
	struct copy_end c = {.to = NULL};
	struct position p;
	struct store_cursor at;

	make_folder(path);
	c.to = store_open(path, &small);
	fill_source(w);
	c.from = store_copy_open(w->s);
	p = store_copy_position(c.from);
	assert_int_equal(p.hash, store_end(w->s).hash);
	/* what is changed now is not in the copy */
	set(w->s, "later", "1");
	assert_int_equal(store_checkpoint(w->s, true), 0);
	carry_interrupted(&c, path, &p);
	for (int i = 0; carry(&c, 10, i == 0 ? 300 : 1) == 1; i++) /* one at a time */
		assert_in_range(i, 0, 200);
	assert_int_equal(store_load_end(c.to), 0);
	assert_memory_equal(store_id(c.to), id, STORE_ID);
	assert_int_equal(store_end(c.to).hash, p.hash);
	assert_int_equal(log_start(store_log(c.to)).hash, p.hash);
	store_copy_close(c.from);
	follow_one(c.to, w->s, &p);
	assert_int_equal(store_load_begin(c.to, &p, other_id), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(store_load_begin(c.to, &p, id), 0);
	store_load_abort(c.to);
	assert_int_equal(store_load_resume(c.to, &p, &at), 0);
	store_close(c.to);
	c.to = store_open(path, &small);
	assert_int_equal(store_end(c.to).hash, store_end(w->s).hash);
	assert_holds_all(c.to, w->s);
	store_close(c.to);
	remove_folder(path);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(operations),
	    TEST(blank),
	    TEST(undo),
	    TEST(log_goes_round),
	    TEST(failing_writes),
	    TEST(undone_by_a_checkpoint),
	    TEST(follow),
	    TEST(truncation),
	    TEST(walk),
	    TEST(large_hash),
	    TEST(expiry),
	    TEST(large_value),
	    TEST(longest_change),
	    TEST(map_full),
	    TEST(map_nearly_empty),
	    TEST(disk_full),
	    TEST(copy_holds_room),
	    TEST(copy_and_load),
	};

	log_to(silent);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
