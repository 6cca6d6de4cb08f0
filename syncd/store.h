/* SPDX-License-Identifier: ISC */
/*
 * The data: the state in LMDB, and the log (log.h) in front of it.
 *
 * There is always one open LMDB write transaction. Changes go into it and into the log; an answer
 * leaves after store_flush() has the log on disk. A checkpoint commits the transaction with a sync,
 * in which the position of the state is a record of its own; after a crash the log from there on is
 * applied again. So LMDB is never written without a sync, and a change costs no LMDB commit. When a
 * change fails in the middle, the transaction is aborted and the log applied again: nothing is ever
 * half applied.
 *
 * Keys in LMDB: database "keys": u64 hash of the key (big endian), then the key (longer than
 * STORE_KEY_DIRECT: its BLAKE2b-256; the key itself is then in the value). The order of the hash
 * makes a SCAN cursor a number that needs no state, and a random key a lookup. Value: u8 type, i64
 * expires at, then the string, or u64 object id and u64 number of fields of a hash. Database
 * "fields": u64 object id, u64 hash of the field, field. Database "expiry": i64 expires at (big
 * endian), key as in "keys". Database "meta": format, group id, position, next object id.
 *
 * All slices that come out are good until the next call that changes anything.
 */
#ifndef BH_SYNCD_STORE_H
#define BH_SYNCD_STORE_H

#include "log.h"

#include <stdbool.h>

enum { STORE_KEY_DIRECT = 400, STORE_ID = 16 };

enum value_type { VALUE_NONE, VALUE_STRING, VALUE_HASH };

struct value {
	enum value_type type;
	int64_t expire_ms; /* Unix ms, 0: never */
	struct slice string;
	uint64_t fields; /* of a hash */
};

struct store_limits {
	uint64_t map_bytes;	/* address space of LMDB: the state cannot grow beyond */
	uint64_t backlog_bytes; /* of the log */
	uint64_t dirty_puts;	/* a checkpoint after so many changed keys or fields (0: default) */
	/* ... or bytes of pages that one would write, estimated (0: default) */
	uint64_t dirty_bytes;
	uint64_t segment_bytes; /* of a file of the log (0: LOG_SEGMENT); tests use small ones */
	uint64_t change_bytes;	/* of one change, at most (0: LOG_BODY_MAX) */
};

struct store;

/*
 * Opens the store in the folder path (made before), recovers. All of LMDB's late system calls are
 * provoked here, before the sandbox is entered. NULL with a logged reason.
 */
struct store *store_open(const char *path, const struct store_limits *limits);
void store_close(struct store *s); /* with a last checkpoint */

/*
 * All zero: blank, belongs to no group yet; it takes no change (EPERM). store_init: explicit, only
 * on a blank store. The id is a part of the hash that orders keys: SCAN cursors are good on all
 * servers.
 */
const uint8_t *store_id(const struct store *s);
int store_init(struct store *s, const uint8_t id[STORE_ID]);

struct position store_end(const struct store *s);     /* newest change in the state */
struct position store_durable(const struct store *s); /* newest that a power cut cannot take */
struct log *store_log(struct store *s);

/* Reads. 1: there, 0: not. An expired key (now_ms, Unix) is not there. */
int store_get(struct store *s, struct slice key, int64_t now_ms, struct value *v);
int store_hget(
    struct store *s, struct slice key, int64_t now_ms, struct slice field, struct slice *value);
/* keys, the expired that are not deleted yet included */
uint64_t store_count(const struct store *s);

/*
 * Walks the keys, or the fields of one, in the order of their hash: the first at or behind cursor,
 * which becomes the hash behind it (0: it was the last; those of one hash come in one walk, with
 * `more` set while there is another). 1: there is one, 0: no more. The slices are good until the
 * next call. Every walk is ended.
 */
struct store_walk {
	uint64_t cursor;
	bool more;   /* the next key has the same hash: a walk that stops here would lose it */
	void *state; /* NULL at first */
};
int store_walk_keys(struct store *s, struct store_walk *w, struct slice *key, struct value *v);
int store_walk_fields(struct store *s, struct slice key, struct store_walk *w, struct slice *field,
    struct slice *value);
void store_walk_end(struct store_walk *w);
/*
 * What an admin wants to know: bytes in use, bytes that may still come, and whether a change was
 * refused for want of room (ENOSPC) and there is none yet, or because the disk failed.
 */
enum store_trouble { STORE_WELL, STORE_FULL, STORE_FAILED };
struct store_room {
	uint64_t used, left;
	enum store_trouble trouble;
};
void store_describe(struct store *s, struct store_room *r);
/* A key that is there, chosen by number (any): 1, or 0 when there is none. */
int store_random(struct store *s, uint64_t number, struct slice *key);

/*
 * Changes: store_begin(), any number of store_apply(), store_end_change(): one record of the log
 * and one step of the state. Reads in between see what was applied. store_end_change() without an
 * operation makes no record. store_cancel() undoes everything since store_begin(). epoch: of the
 * main that we are. at: where the change is, NULL: no matter. Returns 0, or -1 with errno (ENOSPC:
 * no room; E2BIG; ENOMEM; EIO) and the state is as before store_begin().
 *
 * An operation on a value of the wrong type is EINVAL, and one on a key that is not there changes
 * nothing (CHANGE_SET, HSET and SPLICE make it). Time plays no part: what is expired is there until
 * it is deleted. When one of these functions fails the change is over, store_cancel() is not
 * needed.
 */
int store_begin(struct store *s, uint64_t epoch);
/*
 * From now on a change that is made here (not one of main's) has at most so many bytes, else E2BIG.
 */
void store_limit_change(struct store *s, uint64_t bytes);
int store_apply(struct store *s, const struct change_op *op);
int store_end_change(struct store *s, struct position *at);
int store_cancel(struct store *s);

/*
 * A change that main made, on a standby: refused (EPROTO) unless at follows the end: index + 1,
 * epoch not lower, the hash of the chain.
 */
int store_follow(struct store *s, const struct position *at, struct slice body);

/*
 * Forgets all changes behind p: the tail that a diverged main must not keep. -1: ESTALE when the
 * state on disk is newer than p, so that only a load helps; EINVAL when p is not in the log.
 */
int store_truncate(struct store *s, const struct position *p);

/*
 * Everything so far is on disk when it returns 0. -1: errno; the changes since the last are undone,
 * by this flush or before it, by one inside a checkpoint. After such a one no change is taken until
 * this has told it.
 */
int store_flush(struct store *s);

/*
 * When due (limits), or force: commits the state. Bounded work; call it from the loop. Returns 0,
 * or -1 (ENOSPC: tried again later; writes may fail meanwhile, reads go on).
 */
int store_checkpoint(struct store *s, bool force);

/* Next key whose time is up at now_ms: 1 and the key. */
int store_next_expired(struct store *s, int64_t now_ms, struct slice *key);
int64_t store_next_expiry(struct store *s); /* Unix ms of the earliest; 0: none */

/* Called for each change, in order, as soon as it is part of the state (not yet on disk). */
typedef void store_listener(void *arg, const struct position *at, struct slice body);
void store_listen(struct store *s, store_listener *f, void *arg);

/*
 * A consistent copy while changes go on: a read transaction at the position of a checkpoint.
 * Items are changes (change.h: CHANGE_SET, CHANGE_HSET..., CHANGE_EXPIRE) that build the state on
 * an empty store, in an order that can be resumed: *cursor is an opaque place of at most
 * STORE_CURSOR_MAX bytes. store_copy_next() appends up to max bytes (at least one item) to body:
 * 1, 0 when all is copied, -1 with errno (EINVAL: the cursor is none). While a copy is open, pages
 * that changes free are not used again: the file grows.
 */
enum { STORE_CURSOR_MAX = 512 };
struct store_cursor {
	uint8_t bytes[STORE_CURSOR_MAX];
	size_t len; /* 0: from the start */
};
struct store_copy *store_copy_open(struct store *s); /* NULL: errno */
struct position store_copy_position(const struct store_copy *c);
int store_copy_next(struct store_copy *c, struct store_cursor *at, size_t max, struct change *body);
/*
 * While a copy is open, what changes free is not used again. True when half of the room that there
 * was at its beginning is gone, or something was refused for want of room: it should be closed.
 */
bool store_copy_hurts(const struct store_copy *c);
void store_copy_close(struct store_copy *c);

/*
 * The receiver's side: a second state beside the one in use, which replaces it in store_load_end()
 * in one step (crash at any point: the old or the new one). After a crash in the middle
 * store_load_resume() says whether there is an unfinished one of position p and how far it came.
 */
/* EPERM: of another group. Durable when it returns 0, like the end. */
int store_load_begin(struct store *s, const struct position *p, const uint8_t id[STORE_ID]);
/* 1 and the cursor to go on from, 0: there is none of that position. */
int store_load_resume(struct store *s, const struct position *p, struct store_cursor *at);
/*
 * body: items of store_copy_next; at: the sender's cursor behind them, kept with them. -1: ESTALE
 * when what was loaded since the last checkpoint is lost (another change failed): ask
 * store_load_resume().
 */
int store_load_items(struct store *s, struct slice body, const struct store_cursor *at);
int store_load_end(struct store *s);
void store_load_abort(struct store *s);

#endif
