/* SPDX-License-Identifier: ISC */
/*
 * Inside the store: store.c (changes, flush, checkpoints), store_open.c (opening, recovery, the
 * record that says what the state is), store_state.c (operations on the databases), store_walk.c
 * (reading in order), store_copy.c (copies and loads).
 */
#ifndef BH_SYNCD_STORE_INTERNAL_H
#define BH_SYNCD_STORE_INTERNAL_H

#include "store.h"

#include <lmdb.h>
#include <sodium.h>

#include "lib/log.h"

enum {
	RECORD_KEY_MAX = 8 + STORE_KEY_DIRECT + 1, /* hash, and the key or what stands for it */
	FIELD_KEY_MAX = 8 + RECORD_KEY_MAX,
	VALUE_HEADER = 9, /* u8 type, i64 expires at */
};

/* The databases of one state. There are two: a load fills the other one. */
struct set {
	MDB_dbi keys, fields, expiry;
	MDB_cursor *at_keys, *at_fields; /* of the write transaction */
};

/* A key of the databases "keys" and "expiry", or of "fields". */
struct record_key {
	size_t len;
	uint8_t bytes[8 + FIELD_KEY_MAX];
};

/* What a checkpoint would write, estimated: LMDB does not tell. In pages. */
struct estimate {
	double leaves;	/* of the database when the transaction began */
	double touched; /* of them */
	double grown;	/* new ones */
};

/* What is known of a load that is under way: the record "load". */
struct load {
	bool active;
	bool lost; /* items since the last checkpoint are gone: it has to be resumed */
	struct position position;
	uint8_t id[STORE_ID];
	struct store_cursor cursor;
};

/* What the record "state" says. */
struct state {
	uint8_t id[STORE_ID];
	unsigned int active; /* which set is in use */
	uint64_t generation; /* of the log */
	struct position position;
	uint64_t next_object;
};

struct store {
	struct store_limits limits;
	char *path;
	int dir;
	MDB_env *env;
	size_t page;  /* bytes of one of LMDB */
	MDB_txn *txn; /* always open */
	MDB_dbi meta, garbage;
	struct set sets[2];
	struct log *log;

	struct state state;    /* position: of the newest change in it */
	struct position saved; /* on disk in LMDB */
	uint8_t hash_key[crypto_shorthash_KEYBYTES];
	uint8_t load_hash_key[crypto_shorthash_KEYBYTES];
	struct load load;

	bool in_change;
	uint64_t epoch;
	struct change body;
	size_t applied;	  /* operations of the change */
	uint8_t *scratch; /* to build a record in */
	size_t scratch_size;

	uint64_t puts;		      /* since the last checkpoint */
	struct estimate estimates[3]; /* keys, fields, expiry */
	double deleted;		      /* pages of values that went since then */
	uint64_t log_bytes;	      /* of the log since then */
	uint64_t room;	     /* pages that LMDB can take before the disk or the map is full */
	uint64_t reserve;    /* of them, for deletions and checkpoints */
	uint64_t freed;	     /* pages that the next checkpoint makes usable */
	uint64_t used;	     /* pages of the last checkpoint that hold something */
	uint64_t disk_free;  /* bytes, for whoever takes them */
	uint64_t disk_room;  /* pages that LMDB can take before the disk is full */
	bool full;	     /* a change was refused for want of room, and there is none yet ... */
	double wanted;	     /* ... of so many pages */
	int64_t measured_ms; /* CLOCK_BOOTTIME */
	int64_t retry_ms;    /* no checkpoint before: the last one failed */
	/* errno of a flush inside a checkpoint, which store_flush() has to tell */
	int undone;
	bool refused;			       /* something, for want of room */
	struct log_limit no_room, not_written; /* and that it says so */
	struct store_copy *copies; /* open: pages that were freed since are not reused */

	uint64_t changes; /* of any kind, in this process: places of walks go stale */
	MDB_cursor *at_walk;
	const void *walker;    /* whose place at_walk is */
	uint64_t walk_changes; /* of changes when it was put there */

	store_listener *listener;
	void *listener_arg;
};

/* store.c, store_open.c; int: 0, or an error code of LMDB, or an errno (see store_errno()) */
void store_rebuild(struct store *s);
int store_commit(struct store *s);
int store_measure(struct store *s);
bool store_make_room(struct store *s, size_t bytes);
/*
 * store_copy.c: the transaction of the oldest copy; what that or a later one freed is not reused.
 */
uint64_t store_copy_oldest(const struct store *s);

/* store_open.c */
int store_errno(int rc);
int store_reopen(struct store *s);
int store_txn_begin(struct store *s);
void store_txn_abort(struct store *s);
int store_put_state(struct store *s);
int store_get_state(struct store *s, MDB_txn *txn, struct state *state);
int store_put_load(struct store *s);
int store_replay(struct store *s, bool checkpoints);

/* store_state.c: 0, or an error code of LMDB, or an errno */
int state_apply(
    struct store *s, struct set *set, const uint8_t *hash_key, const struct change_op *op);
int state_apply_body(struct store *s, struct set *set, const uint8_t *hash_key, struct slice body);
int state_clear(struct store *s, struct set *set);
int state_reap(struct store *s, size_t most);
uint64_t state_hash(const uint8_t *hash_key, struct slice key);
void state_key(const uint8_t *hash_key, struct slice key, struct record_key *k);
void state_field_key(
    const uint8_t *hash_key, uint64_t object, struct slice field, struct record_key *k);
/* A record of "keys", taken apart. */
struct record {
	enum value_type type;
	int64_t expire_ms;
	struct slice key; /* only of a long one, else it is in the record's key */
	struct slice string;
	uint64_t object, fields;
};
int state_parse(MDB_val data, struct record *r);
struct slice state_key_of(MDB_val k, const struct record *r);
void state_field_of(MDB_val k, MDB_val data, struct slice *field, struct slice *value);
void state_put_u64(uint8_t *p, uint64_t v);
uint64_t state_get_u64(const void *p);

static inline MDB_val
store_val(const void *data, size_t len)
{
	union {
		const void *in;
		void *out;
	} u = {.in = data};

	return (MDB_val){len, u.out};
}

#endif
