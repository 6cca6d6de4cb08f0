/* SPDX-License-Identifier: ISC */
/*
 * Changes: begin, apply, end; flush; checkpoints; what is done when one of them fails.
 */
#include "config.h"

#include "store_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "lib/clock.h"
#include "lib/log.h"

enum {
	REAP = 1000, /* fields of hashes that are gone, in one step */
	REFUSED_MS = 60000,
	RETRY_MS = 1000,   /* between looks whether there is room again */
	LOOK_MS = 5000,	   /* between looks how much room there is */
	RESERVE_MIN = 256, /* pages kept for deletions */
	RESERVE_MAX = 4096,
	RESERVE_PART = 32,
	WANTED_MAX = 1024,
	OP_PAGES = 8,	   /* that one operation can take, without its value */
	RECORD_BYTES = 48, /* of the log for a change, without its body */
};

const uint8_t *
store_id(const struct store *s)
{
	return s->state.id;
}

struct position
store_end(const struct store *s)
{
	return s->state.position;
}

struct position
store_durable(const struct store *s)
{
	return log_durable(s->log);
}

struct log *
store_log(struct store *s)
{
	return s->log;
}

void
store_listen(struct store *s, store_listener *f, void *arg)
{
	s->listener = f;
	s->listener_arg = arg;
}

static bool
is_blank(const struct store *s)
{
	return sodium_is_zero(s->state.id, STORE_ID) == 1;
}

/* Pages that a checkpoint would write now: more rather than less. */
static double
dirty_pages(const struct store *s)
{
	double pages = 0;

	for (unsigned int i = 0; i < 3; i++)
		pages += s->estimates[i].touched + s->estimates[i].grown;
	return pages > 0 ? pages * 1.05 + OP_PAGES : 0;
}

/*
 * Free pages inside the file that the open transaction may use: all that LMDB lists, but for those
 * that the last commit freed (they are what a crash goes back to), or that a copy may read.
 */
static int
count_free(struct store *s, uint64_t last_txn, uint64_t *pages)
{
	MDB_cursor *c;
	MDB_txn *txn;
	MDB_val key, data;
	uint64_t oldest = store_copy_oldest(s);
	size_t n, id;
	int rc;

	*pages = s->freed = 0;
	if ((rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn)) != 0)
		return rc;
	if ((rc = mdb_cursor_open(txn, 0, &c)) == 0) { /* 0: the list of free pages (mdb_stat -f) */
		while ((rc = mdb_cursor_get(c, &key, &data, MDB_NEXT)) == 0) {
			memcpy(&id, key.mv_data, sizeof(id));
			memcpy(&n, data.mv_data, sizeof(n));
			if (id < oldest)
				*(id < last_txn ? pages : &s->freed) += n;
		}
		mdb_cursor_close(c);
	}
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Finds out how many pages LMDB can still take. Returns 0 or an error. */
int
store_measure(struct store *s)
{
	MDB_envinfo info;
	struct statvfs fs;
	struct stat st;
	uint64_t pages, map;
	int64_t disk;
	int rc, fd;

	if ((rc = mdb_env_get_fd(s->env, &fd)) != 0 || (rc = mdb_env_info(s->env, &info)) != 0 ||
	    (rc = count_free(s, info.me_last_txnid, &pages)) != 0)
		return rc;
	if (fstat(fd, &st) != 0 || fstatvfs(fd, &fs) != 0)
		return errno;
	map = info.me_mapsize / s->page - (info.me_last_pgno + 1);
	disk = (int64_t)(fs.f_bavail * fs.f_frsize / s->page) +
	       (int64_t)st.st_blocks * 512 / (int64_t)s->page - (int64_t)(info.me_last_pgno + 1);
	s->disk_room = disk < 0 && (uint64_t)-disk > pages ? 0 : (uint64_t)((int64_t)pages + disk);
	if (disk > 0 && (uint64_t)disk > map)
		disk = (int64_t)map;
	s->room = disk < 0 && (uint64_t)-disk > pages ? 0 : (uint64_t)((int64_t)pages + disk);
	s->reserve = (s->room + info.me_last_pgno) / RESERVE_PART;
	s->reserve = s->reserve < RESERVE_MIN ? RESERVE_MIN : s->reserve;
	s->reserve = s->reserve > RESERVE_MAX ? RESERVE_MAX : s->reserve;
	s->used =
	    info.me_last_pgno + 1 > pages + s->freed ? info.me_last_pgno + 1 - pages - s->freed : 0;
	s->disk_free = (uint64_t)fs.f_bavail * fs.f_frsize;
	s->measured_ms = now_ms();
	return 0;
}

/* Whether so many pages more can be taken, and the reserve (a part of it) stays. */
static bool
has_room(const struct store *s, double pages, uint64_t reserve)
{
	return dirty_pages(s) + pages + (double)reserve <= (double)s->room;
}

/* An error that a change of so many pages meets (0: of whatever size). Leaves errno. */
static void
note_error(struct store *s, int error, double pages)
{
	if (error != ENOSPC && error != EDQUOT)
		return;
	if (!s->full)
		s->wanted = OP_PAGES;
	s->full = true;
	if (pages > s->wanted) /* one that never fits is not waited for */
		s->wanted = pages < WANTED_MAX ? pages : WANTED_MAX;
}

/*
 * The state as the log says it: the transaction is of no use any more, or has what must not be in
 * it. What was acknowledged fitted in before, so this does not fail; if it does, a new process has
 * to look.
 */
void
store_rebuild(struct store *s)
{
	struct load before = s->load;
	int rc;

	store_txn_abort(s);
	rc = store_txn_begin(s);
	if (rc == MDB_PANIC && (rc = store_reopen(s)) == 0)
		rc = store_txn_begin(s);
	if (rc == 0)
		rc = store_replay(s, false);
	if (rc != 0)
		fatal("store: the log cannot be applied again: %s", mdb_strerror(rc));
	if (before.active &&
	    (before.lost || before.cursor.len != s->load.cursor.len ||
		memcmp(before.cursor.bytes, s->load.cursor.bytes, before.cursor.len) != 0))
		s->load.lost = true;
}

/* The change is over and leaves nothing. Returns -1 with that errno. */
static int
give_up(struct store *s, int error)
{
	bool applied = s->applied > 0;

	note_error(s, error, 0);
	s->in_change = false;
	s->applied = 0;
	change_clear(&s->body);
	if (applied)
		store_rebuild(s);
	errno = error;
	return -1;
}

int
store_cancel(struct store *s)
{
	int saved = errno;

	if (s->in_change)
		give_up(s, 0);
	errno = saved;
	return 0;
}

/* Says that there is no room, now and then. */
static void
refuse(struct store *s)
{
	uint64_t held;

	s->refused = true;
	if (log_limited(&s->no_room, now_ms(), REFUSED_MS, &held))
		log_warn("store: no room on the disk or in the map: %llu KiB are left, writes are "
			 "refused, "
			 "deletions are not",
		    (unsigned long long)(s->room * s->page / 1024));
}

/* Whether a checkpoint makes room that is worth it. */
static bool
would_gain(const struct store *s)
{
	return dirty_pages(s) + (double)s->freed + s->deleted > (double)s->reserve / 8;
}

/* Looks again for room that was missing: what was deleted is usable behind a checkpoint or two. */
static void
look_for_room(struct store *s)
{
	if (would_gain(s) && !has_room(s, s->wanted, s->reserve)) {
		if (store_checkpoint(s, true) == 0 && !has_room(s, s->wanted, s->reserve))
			(void)store_checkpoint(s, true);
	} else {
		(void)store_measure(s);
	}
	if (has_room(s, s->wanted, s->reserve) &&
	    (log_has_room(s->log) || s->disk_free > 2 * s->limits.segment_bytes))
		s->full = false;
}

void
store_describe(struct store *s, struct store_room *r)
{
	double dirty, left;

	if (s->full && now_ms() - s->measured_ms >= RETRY_MS)
		look_for_room(s);
	else if (now_ms() - s->measured_ms >= LOOK_MS)
		(void)store_measure(s);
	dirty = dirty_pages(s);
	left = (double)s->room - (double)s->reserve - dirty;
	r->used = (uint64_t)(((double)s->used + dirty) * (double)s->page);
	r->left = left > 0 ? (uint64_t)left * s->page : 0;
	r->trouble = log_failed(s->log) ? STORE_FAILED : s->full ? STORE_FULL : STORE_WELL;
}

/*
 * Before a change of so many bytes: a state that would soon not fit is written while it does.
 * Returns whether there is room.
 */
bool
store_make_room(struct store *s, size_t bytes)
{
	double pages = (double)(bytes / s->page + OP_PAGES);

	if (would_gain(s) && !has_room(s, pages, s->reserve)) {
		/* the second makes the pages usable that the first frees */
		if (store_checkpoint(s, true) == 0 && !has_room(s, pages, s->reserve))
			(void)store_checkpoint(s, true);
	} else if (s->refused && now_ms() - s->measured_ms >= RETRY_MS)
		(void)store_measure(s);
	if (has_room(s, pages, s->reserve)) {
		s->refused = false;
		return true;
	}
	if (bytes > 0)
		refuse(s);
	return false;
}

int
store_begin(struct store *s, uint64_t epoch)
{
	if (s->in_change || is_blank(s) || epoch < s->state.position.epoch) {
		errno = s->in_change ? EBUSY : is_blank(s) ? EPERM : ESTALE;
		return -1;
	}
	(void)store_make_room(s, 0); /* operations are looked at one by one */
	if (s->undone != 0) {
		errno = s->undone;
		return -1;
	}
	s->in_change = true;
	s->epoch = epoch;
	s->applied = 0;
	change_clear(&s->body);
	return 0;
}

/*
 * Inside a change: what of it is in the state already is taken out, so that the state can be
 * written, and put back. Returns 0, or an error: the change is over.
 */
static int
make_room_in_change(struct store *s)
{
	int rc = 0;

	if (!would_gain(s))
		return 0;
	s->in_change = false;
	if (s->applied > 0)
		store_rebuild(s);
	for (int i = 0; i < 2 && would_gain(s); i++) { /* the second as in store_make_room() */
		if (store_checkpoint(s, true) != 0)
			break;
	}
	if (s->undone != 0)
		rc = s->undone;
	else if (s->applied > 0)
		rc = state_apply_body(s, &s->sets[s->state.active], s->hash_key,
		    (struct slice){s->body.data, s->body.len});
	s->in_change = true;
	return rc;
}

/*
 * Whether there is room for an operation, or can be made: deletions may take what others may not.
 * Returns 0, or an errno.
 */
static int
may_apply(struct store *s, const struct change_op *op)
{
	size_t bytes = op->key.len + op->field.len + op->value.len + op->offset;
	double pages = (double)(bytes / s->page + OP_PAGES);
	int rc;
	bool grows = op->kind == CHANGE_SET || op->kind == CHANGE_HSET ||
		     op->kind == CHANGE_SPLICE || op->kind == CHANGE_EXPIRE ||
		     op->kind == CHANGE_RENAME;

	for (int tried = 0; tried < 2; tried++) {
		if (has_room(s, grows ? pages : 0, grows ? s->reserve : s->reserve / 4)) {
			s->refused = false;
			return 0;
		}
		if (tried == 0 && (rc = make_room_in_change(s)) != 0)
			return store_errno(rc);
	}
	refuse(s);
	note_error(s, ENOSPC, grows ? pages : 0);
	return ENOSPC;
}

void
store_limit_change(struct store *s, uint64_t bytes)
{
	s->limits.change_bytes = bytes > 0 && bytes < LOG_BODY_MAX ? bytes : LOG_BODY_MAX;
}

int
store_apply(struct store *s, const struct change_op *op)
{
	int rc;

	if (!s->in_change) {
		errno = EINVAL;
		return -1;
	}
	if ((rc = may_apply(s, op)) != 0)
		return give_up(s, rc);
	if (s->body.len > LOG_BODY_MAX - 2 * (size_t)CHANGE_KEY_MAX - 64)
		return give_up(s, E2BIG);
	if (change_append(&s->body, op) != 0)
		return give_up(s, op->key.len > CHANGE_KEY_MAX || op->value.len > CHANGE_KEY_MAX
				      ? E2BIG
				      : ENOMEM);
	if (s->body.len > s->limits.change_bytes)
		return give_up(s, E2BIG);
	s->applied++; /* even if only half of it is */
	rc = state_apply(s, &s->sets[s->state.active], s->hash_key, op);
	return rc == 0 ? 0 : give_up(s, store_errno(rc));
}

/*
 * To the log, which may grow as far as it leaves room for the state: changes that are in the log
 * alone, on a full disk, could neither go into the state nor be followed by a deletion.
 */
static int
append(struct store *s, uint64_t epoch, struct slice body, struct position *at)
{
	double keep = dirty_pages(s) + (double)(body.len / s->page) + (double)s->reserve;
	uint64_t files = log_files(s->log);
	int r, saved;

	log_allow(s->log,
	    (double)s->disk_room > keep ? (uint64_t)((double)s->disk_room - keep) * s->page : 0);
	r = log_append(s->log, epoch, body, at);
	saved = errno;
	if (log_files(s->log) > files)
		(void)store_measure(s);
	errno = saved;
	return r;
}

/*
 * The log needs the records that the state on disk does not have: with a checkpoint it does not.
 * The change that is being made must not be in that, so it is applied again.
 */
static int
append_after_checkpoint(struct store *s, struct slice body, struct position *at)
{
	int rc;

	s->in_change = false;
	store_rebuild(s);
	if (store_checkpoint(s, true) != 0)
		return -1;
	rc = state_apply_body(s, &s->sets[s->state.active], s->hash_key, body);
	if (rc != 0) {
		errno = store_errno(rc);
		return -1;
	}
	return append(s, s->epoch, body, at);
}

/* A change is part of the state. */
static void
changed(struct store *s, const struct position *at, struct slice body)
{
	s->state.position = *at;
	s->log_bytes += body.len + RECORD_BYTES;
	if (s->listener != NULL)
		s->listener(s->listener_arg, at, body);
}

int
store_end_change(struct store *s, struct position *at)
{
	struct slice body = {s->body.data, s->body.len};
	struct position p = s->state.position;
	int r = 0;

	if (!s->in_change) {
		errno = EINVAL;
		return -1;
	}
	if (s->body.n_ops > 0)
		r = append(s, s->epoch, body, &p);
	if (r != 0 && errno == ENOSPC)
		r = append_after_checkpoint(s, body, &p);
	if (r != 0)
		return give_up(s, errno);
	s->in_change = false;
	s->applied = 0;
	if (s->body.n_ops > 0)
		changed(s, &p, body);
	if (at != NULL)
		*at = p;
	return 0;
}

/* Whether a flush inside a checkpoint undid changes: then with its errno, once. */
static bool
was_undone(struct store *s)
{
	if (s->undone == 0)
		return false;
	errno = s->undone;
	s->undone = 0;
	return true;
}

int
store_follow(struct store *s, const struct position *at, struct slice body)
{
	struct position p;
	bool room;
	int rc;

	if (s->in_change || is_blank(s)) {
		errno = s->in_change ? EBUSY : EPERM;
		return -1;
	}
	if (at->index != s->state.position.index + 1 || at->epoch < s->state.position.epoch ||
	    body.len > LOG_BODY_MAX || !change_check(body)) {
		errno = EPROTO;
		return -1;
	}
	room = store_make_room(s, body.len);
	if (was_undone(s))
		return -1;
	if (!room) {
		note_error(s, ENOSPC, (double)(body.len / s->page));
		errno = ENOSPC;
		return -1;
	}
	if (append(s, at->epoch, body, &p) != 0 &&
	    (errno != ENOSPC || store_checkpoint(s, true) != 0 ||
		append(s, at->epoch, body, &p) != 0)) {
		note_error(s, errno, 0);
		(void)was_undone(s);
		return -1;
	}
	if (p.hash != at->hash) {
		log_unappend(s->log);
		errno = EPROTO;
		return -1;
	}
	rc = state_apply_body(s, &s->sets[s->state.active], s->hash_key, body);
	if (rc != 0) {
		log_unappend(s->log);
		store_rebuild(s);
		errno = rc == EINVAL ? EPROTO : store_errno(rc);
		return -1;
	}
	changed(s, &p, body);
	return 0;
}

static int
flush_log(struct store *s)
{
	int saved;

	if (log_flush(s->log) == 0)
		return 0;
	saved = errno;
	note_error(s, saved, 0);
	log_error("store: the log cannot be written: %s", strerror(saved));
	s->in_change = false;
	store_rebuild(s);
	errno = saved;
	return -1;
}

int
store_flush(struct store *s)
{
	return was_undone(s) ? -1 : flush_log(s);
}

/* Whether it is time for a checkpoint. */
static bool
is_due(const struct store *s)
{
	return s->puts >= s->limits.dirty_puts ||
	       dirty_pages(s) * (double)s->page >= (double)s->limits.dirty_bytes ||
	       s->log_bytes >= s->limits.backlog_bytes / 2;
}

/* Commits the transaction and begins the next. Returns 0 or an error; the state is as it was. */
int
store_commit(struct store *s)
{
	int rc = store_put_state(s);

	if (rc == 0)
		rc = store_put_load(s);
	if (rc != 0)
		return rc;
	rc = mdb_txn_commit(s->txn);
	s->txn = NULL; /* it is gone in any case */
	s->at_walk = NULL;
	return rc;
}

/* The state is as the log says, and could not be written. Sets errno. */
static void
failed_checkpoint(struct store *s, int error, double dirty)
{
	uint64_t held;

	s->retry_ms = now_ms() + RETRY_MS;
	store_rebuild(s);
	(void)store_measure(s);
	/* LMDB says so when a write was cut short */
	if (error == EIO && (double)s->disk_free < dirty * (double)s->page)
		error = ENOSPC;
	if (error != ENOSPC || log_limited(&s->not_written, now_ms(), REFUSED_MS, &held))
		log_warn("store: the state cannot be written: %s", strerror(error));
	errno = error;
}

int
store_checkpoint(struct store *s, bool force)
{
	MDB_stat garbage;
	int rc;

	if (s->in_change)
		return 0;
	if (mdb_stat(s->txn, s->garbage, &garbage) == 0 && garbage.ms_entries > 0 &&
	    has_room(s, OP_PAGES, s->reserve / 4) && (rc = state_reap(s, REAP)) != 0) {
		store_rebuild(s);
		errno = store_errno(rc);
		return -1;
	}
	if (!force && (!is_due(s) || now_ms() < s->retry_ms))
		return 0;
	if (flush_log(s) != 0) {
		s->undone = errno;
		return -1;
	}
	rc = store_commit(s);
	if (rc != 0) {
		failed_checkpoint(s, store_errno(rc), dirty_pages(s));
		return -1;
	}
	s->retry_ms = 0;
	s->log_bytes = 0;
	if ((rc = store_txn_begin(s)) != 0)
		fatal("store: no transaction: %s", mdb_strerror(rc));
	log_keep(s->log, s->saved.index);
	if ((rc = store_measure(s)) != 0)
		log_warn("store: no measure of the room: %s", mdb_strerror(rc));
	return 0;
}

int
store_init(struct store *s, const uint8_t id[STORE_ID])
{
	int saved;

	if (!is_blank(s) || sodium_is_zero(id, STORE_ID) == 1) {
		errno = is_blank(s) ? EINVAL : EEXIST;
		return -1;
	}
	memcpy(s->state.id, id, STORE_ID);
	if (store_checkpoint(s, true) == 0)
		return 0;
	saved = errno;
	memset(s->state.id, 0, STORE_ID);
	errno = saved;
	return -1;
}

int
store_truncate(struct store *s, const struct position *p)
{
	if (s->in_change || p->index < s->saved.index) {
		errno = s->in_change ? EBUSY : ESTALE;
		return -1;
	}
	if (log_truncate(s->log, p) != 0)
		return -1;
	store_rebuild(s);
	return 0;
}
