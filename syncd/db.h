/* SPDX-License-Identifier: ISC */
/*
 * What commands do with the store: reads that never see an expired key, and changes that are begun
 * with the first write of a command and ended behind it, so that a command, or a transaction, is
 * one change or none.
 */
#ifndef BH_SYNCD_DB_H
#define BH_SYNCD_DB_H

#include "store.h"

struct face;

enum { DB_DIGEST = 32 };

struct db {
	struct store *store;
	int64_t now_ms; /* Unix; of the command, of all commands of a transaction */
	uint64_t epoch;
	bool writing; /* the command may change: an expired key that it meets is deleted */
	bool open;    /* a change is begun */
	int failed;   /* errno: the change is undone, the rest of the command does nothing */
};

/* 1 and the value (its slices are good until the next change), or 0. */
int db_find(struct face *f, struct slice key, struct value *v);
/* The same for a field of a hash, of a key that db_find() found. */
int db_find_field(struct face *f, struct slice key, struct slice field, struct slice *value);

/* Changes. They notify nobody: db_notify() does. */
void db_set(struct face *f, struct slice key, struct slice value, int64_t expire_ms);
void db_splice(struct face *f, struct slice key, size_t offset, struct slice bytes);
void db_delete(struct face *f, struct slice key);
void db_expire(struct face *f, struct slice key, int64_t expire_ms);
void db_set_field(struct face *f, struct slice key, struct slice field, struct slice value);
void db_delete_field(struct face *f, struct slice key, struct slice field);
void db_rename(struct face *f, struct slice key, struct slice to);
void db_flush(struct face *f);

/* A keyspace notification; event is a literal, key is good until the command ends. */
void db_notify(struct face *f, const char *event, struct slice key);

/*
 * The end of a command: the change becomes one record. 0, or errno when it failed: nothing happened
 * then. *at is set when something changed (*changed).
 */
int db_commit(struct face *f, struct position *at, bool *changed);

/* Type, value and time of expiry in one number: equal only when all of it is. */
void db_digest(struct face *f, struct slice key, uint8_t digest[DB_DIGEST]);

/* Deletes at most max keys whose time is up: returns how many, or -1 with db.failed. */
int db_expire_due(struct face *f, int max);

#endif
