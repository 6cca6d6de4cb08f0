/* SPDX-License-Identifier: ISC */
/*
 * Opening the store: LMDB, the record that says what the state is, the log, and what the log has
 * that the state does not.
 */
#include "config.h"

#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/log.h"

enum {
	FORMAT = 1,
	STATE_SIZE = 1 + 1 + STORE_ID + 8 + 24 + 8,
	LOAD_SIZE = STORE_ID + 24,
	PATH_SIZE = 4096,
	MAX_DBS = 16,
	SEGMENTS_MIN = 4, /* of the log */
	DIRTY_PUTS = 200 * 1000,
	DIRTY_BYTES = 64 * 1024 * 1024,
};

static const char *const set_names[2][3] = {
    {"keys", "fields", "expiry"}, {"keys'", "fields'", "expiry'"}};

/* The errno for a result of LMDB, which is one already or a code of its own. */
int
store_errno(int rc)
{
	switch (rc) {
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
	case EDQUOT:
		return ENOSPC;
	default:
		return rc < 0 ? EIO : rc;
	}
}

static void
put_position(uint8_t *p, const struct position *at)
{
	state_put_u64(p, at->epoch);
	state_put_u64(p + 8, at->index);
	state_put_u64(p + 16, at->hash);
}

static struct position
get_position(const uint8_t *p)
{
	return (struct position){state_get_u64(p), state_get_u64(p + 8), state_get_u64(p + 16)};
}

/* The key of the hash that orders the keys of a group. */
static void
derive_key(const uint8_t id[STORE_ID], uint8_t key[crypto_shorthash_KEYBYTES])
{
	static const uint8_t what[] = "order of keys";

	crypto_generichash(key, crypto_shorthash_KEYBYTES, what, sizeof(what), id, STORE_ID);
}

/* Writes the record "state" into the open transaction. Returns as LMDB does. */
int
store_put_state(struct store *s)
{
	const struct state *t = &s->state;
	MDB_val key = store_val("state", 5), data;
	uint8_t b[STATE_SIZE];

	b[0] = FORMAT;
	b[1] = (uint8_t)t->active;
	memcpy(b + 2, t->id, STORE_ID);
	state_put_u64(b + 18, t->generation);
	put_position(b + 26, &t->position);
	state_put_u64(b + 50, t->next_object);
	data = store_val(b, sizeof(b));
	return mdb_put(s->txn, s->meta, &key, &data, 0);
}

int
store_get_state(struct store *s, MDB_txn *txn, struct state *t)
{
	MDB_val key = store_val("state", 5), data;
	const uint8_t *b;
	int rc = mdb_get(txn, s->meta, &key, &data);

	if (rc == MDB_NOTFOUND) { /* a new store */
		*t = (struct state){.generation = 1, .next_object = 1};
		return 0;
	}
	b = data.mv_data;
	if (rc != 0 || data.mv_size != STATE_SIZE || b[0] != FORMAT || b[1] > 1)
		return rc != 0 ? rc : MDB_VERSION_MISMATCH;
	t->active = b[1];
	memcpy(t->id, b + 2, STORE_ID);
	t->generation = state_get_u64(b + 18);
	t->position = get_position(b + 26);
	t->next_object = state_get_u64(b + 50);
	return 0;
}

/* Writes the record "load", or takes it away when there is no load. */
int
store_put_load(struct store *s)
{
	const struct load *l = &s->load;
	MDB_val key = store_val("load", 4), data;
	uint8_t b[LOAD_SIZE + STORE_CURSOR_MAX];
	int rc;

	if (!l->active) {
		rc = mdb_del(s->txn, s->meta, &key, NULL);
		return rc == MDB_NOTFOUND ? 0 : rc;
	}
	memcpy(b, l->id, STORE_ID);
	put_position(b + STORE_ID, &l->position);
	memcpy(b + LOAD_SIZE, l->cursor.bytes, l->cursor.len);
	data = store_val(b, LOAD_SIZE + l->cursor.len);
	return mdb_put(s->txn, s->meta, &key, &data, 0);
}

/* Reads how far a load came, as of the last checkpoint. */
static int
get_load(struct store *s)
{
	struct load *l = &s->load;
	MDB_val key = store_val("load", 4), data;
	const uint8_t *b;
	int rc = mdb_get(s->txn, s->meta, &key, &data);

	memset(l, 0, sizeof(*l));
	if (rc != 0)
		return rc == MDB_NOTFOUND ? 0 : rc;
	if (data.mv_size < LOAD_SIZE || data.mv_size > LOAD_SIZE + STORE_CURSOR_MAX)
		return MDB_CORRUPTED;
	b = data.mv_data;
	memcpy(l->id, b, STORE_ID);
	l->position = get_position(b + STORE_ID);
	l->cursor.len = data.mv_size - LOAD_SIZE;
	memcpy(l->cursor.bytes, b + LOAD_SIZE, l->cursor.len);
	l->active = true;
	derive_key(l->id, s->load_hash_key);
	return 0;
}

/* The write transaction that is always open, and its cursors. */
int
store_txn_begin(struct store *s)
{
	MDB_stat stat;
	int rc = mdb_txn_begin(s->env, NULL, 0, &s->txn);

	for (unsigned int i = 0; rc == 0 && i < 2; i++) {
		rc = mdb_cursor_open(s->txn, s->sets[i].keys, &s->sets[i].at_keys);
		if (rc == 0)
			rc = mdb_cursor_open(s->txn, s->sets[i].fields, &s->sets[i].at_fields);
	}
	if (rc == 0)
		rc = store_get_state(s, s->txn, &s->state);
	if (rc == 0)
		rc = get_load(s);
	if (rc != 0)
		return rc;
	s->saved = s->state.position;
	derive_key(s->state.id, s->hash_key);
	s->puts = 0;
	s->deleted = 0;
	s->changes++;
	s->at_walk = NULL;
	memset(s->estimates, 0, sizeof(s->estimates));
	for (unsigned int i = 0; i < 3; i++) {
		const struct set *set =
		    &s->sets[s->load.active ? !s->state.active : s->state.active];

		if (mdb_stat(s->txn,
			i == 0	 ? set->keys
			: i == 1 ? set->fields
				 : set->expiry,
			&stat) == 0)
			s->estimates[i].leaves = (double)stat.ms_leaf_pages;
	}
	return 0;
}

void
store_txn_abort(struct store *s)
{
	if (s->txn != NULL)
		mdb_txn_abort(s->txn); /* and its cursors */
	s->txn = NULL;
	s->at_walk = NULL;
	s->changes++;
}

/* Opens the file; name: in the folder. */
static int
open_env(struct store *s, const char *path, const char *name)
{
	char file[PATH_SIZE];
	int rc;

	if ((size_t)snprintf(file, sizeof(file), "%s/%s", path, name) >= sizeof(file))
		return ENAMETOOLONG;
	if ((rc = mdb_env_create(&s->env)) != 0)
		return rc;
	if ((rc = mdb_env_set_maxdbs(s->env, MAX_DBS)) != 0 ||
	    (rc = mdb_env_set_mapsize(s->env, (size_t)s->limits.map_bytes)) != 0)
		return rc;
	return mdb_env_open(s->env, file, MDB_NOSUBDIR | MDB_NOTLS, 0600);
}

static void
close_env(struct store *s)
{
	store_txn_abort(s);
	if (s->env != NULL)
		mdb_env_close(s->env);
	s->env = NULL;
}

/* The databases: made in a new file, looked up in others. */
static int
open_databases(struct store *s)
{
	int rc = mdb_txn_begin(s->env, NULL, 0, &s->txn);

	if (rc == 0)
		rc = mdb_dbi_open(s->txn, "meta", MDB_CREATE, &s->meta);
	if (rc == 0)
		rc = mdb_dbi_open(s->txn, "garbage", MDB_CREATE, &s->garbage);
	for (unsigned int i = 0; rc == 0 && i < 2; i++) {
		struct set *set = &s->sets[i];

		rc = mdb_dbi_open(s->txn, set_names[i][0], MDB_CREATE, &set->keys);
		if (rc == 0)
			rc = mdb_dbi_open(s->txn, set_names[i][1], MDB_CREATE, &set->fields);
		if (rc == 0)
			rc = mdb_dbi_open(s->txn, set_names[i][2], MDB_CREATE, &set->expiry);
	}
	if (rc == 0)
		rc = mdb_txn_commit(s->txn);
	else if (s->txn != NULL)
		mdb_txn_abort(s->txn);
	s->txn = NULL;
	return rc;
}

/* A new file is made whole under another name: half a file would never be opened again. */
static int
make_file(struct store *s, const char *path)
{
	int rc;

	if (faccessat(s->dir, "data.mdb", F_OK, 0) == 0)
		return 0;
	if ((unlinkat(s->dir, "data.new", 0) != 0 || unlinkat(s->dir, "data.new-lock", 0) != 0) &&
	    errno != ENOENT)
		return errno;
	rc = open_env(s, path, "data.new");
	if (rc == 0)
		rc = open_databases(s);
	close_env(s);
	if (rc == 0 &&
	    (fsync(s->dir) != 0 || renameat(s->dir, "data.new", s->dir, "data.mdb") != 0 ||
		fsync(s->dir) != 0))
		rc = errno;
	if (rc == 0 && unlinkat(s->dir, "data.new-lock", 0) != 0 && errno != ENOENT)
		rc = errno;
	return rc;
}

/* The slot of this process in the reader table is taken while files can still be locked. */
static int
warm_up(struct store *s)
{
	MDB_txn *reader;
	MDB_stat stat;
	int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &reader);

	if (rc == 0)
		mdb_txn_abort(reader);
	if (rc == 0)
		rc = mdb_env_stat(s->env, &stat);
	s->page = rc == 0 ? stat.ms_psize : 0;
	return rc;
}

/*
 * LMDB gives its environment up when the write of a meta page failed: it is opened anew. Returns 0,
 * or an error; MDB_PANIC when copies hold on to the old one.
 */
int
store_reopen(struct store *s)
{
	int rc;

	if (s->copies != NULL)
		return MDB_PANIC;
	log_warn("store: the file of the state is opened again");
	close_env(s);
	if ((rc = open_env(s, s->path, "data.mdb")) != 0 || (rc = open_databases(s)) != 0)
		return rc;
	return warm_up(s);
}

/*
 * Applies the records of the log that are behind the state. checkpoints: may commit in between (all
 * that is in the log is on disk). Returns 0, or an error.
 */
int
store_replay(struct store *s, bool checkpoints)
{
	struct position end = log_end(s->log), at;
	struct slice body;
	int rc;

	for (uint64_t i = s->state.position.index + 1; i <= end.index; i++) {
		int r = log_read(s->log, i, &at, &body);

		if (r != 1)
			return r == 0 ? EILSEQ : errno;
		rc = state_apply_body(s, &s->sets[s->state.active], s->hash_key, body);
		if (rc != 0)
			return rc;
		s->state.position = at;
		if (checkpoints && store_checkpoint(s, false) != 0)
			return errno;
	}
	return 0;
}

static int
open_all(struct store *s, const char *path)
{
	struct log_options o;
	int rc;

	s->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0)
		return errno;
	if (flock(s->dir, LOCK_EX | LOCK_NB) != 0)
		return errno;
	if ((rc = make_file(s, path)) != 0 || (rc = open_env(s, path, "data.mdb")) != 0 ||
	    (rc = open_databases(s)) != 0 || (rc = warm_up(s)) != 0 ||
	    (rc = store_txn_begin(s)) != 0)
		return rc;
	o = (struct log_options){.backlog = s->limits.backlog_bytes,
	    .segment = s->limits.segment_bytes,
	    .generation = s->state.generation,
	    .base = s->state.position};
	s->log = log_open(s->dir, &o);
	if (s->log == NULL)
		return errno;
	if ((rc = store_replay(s, true)) != 0)
		return rc;
	return store_measure(s);
}

struct store *
store_open(const char *path, const struct store_limits *limits)
{
	struct store *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return NULL;
	s->dir = -1;
	s->limits = *limits;
	s->path = strdup(path);
	if (s->path == NULL) {
		free(s);
		return NULL;
	}
	if (s->limits.dirty_puts == 0)
		s->limits.dirty_puts = DIRTY_PUTS;
	if (s->limits.dirty_bytes == 0)
		s->limits.dirty_bytes = DIRTY_BYTES;
	store_limit_change(s, limits->change_bytes);
	if (s->limits.segment_bytes == 0)
		s->limits.segment_bytes = LOG_SEGMENT;
	if (s->limits.backlog_bytes < SEGMENTS_MIN * s->limits.segment_bytes)
		s->limits.backlog_bytes = SEGMENTS_MIN * s->limits.segment_bytes;
	change_init(&s->body);
	rc = open_all(s, path);
	if (rc == 0)
		return s;
	log_error("store: %s cannot be opened: %s", path,
	    rc == EWOULDBLOCK ? "another process has it open" : mdb_strerror(rc));
	if (s->log != NULL)
		log_close(s->log);
	close_env(s);
	if (s->dir >= 0)
		close(s->dir);
	free(s->scratch);
	free(s->path);
	free(s);
	errno = store_errno(rc);
	return NULL;
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	if (store_checkpoint(s, true) != 0)
		log_warn(
		    "store: no last checkpoint: %s; the log has what is missing", strerror(errno));
	log_close(s->log);
	close_env(s);
	close(s->dir);
	change_free(&s->body);
	free(s->scratch);
	free(s->path);
	free(s);
}
