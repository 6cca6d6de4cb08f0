/* SPDX-License-Identifier: ISC */
/*
 * One atomic change of the data: a list of operations, each of which says what is true afterwards
 * (never "add one"), so that it can be applied anywhere and gives the same. It is the body of a
 * record of the log (log.h) and of a data message on a sync link. Pure: no I/O, no clock.
 *
 * An operation: u8 kind, then what its line in enum change_kind lists. A length is a varint of 1 to
 * 5 bytes (7 bits each, lowest first, the shortest form only), a time is an i64, little endian.
 */
#ifndef BH_SYNCD_CHANGE_H
#define BH_SYNCD_CHANGE_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that somebody else owns. */
struct slice {
	const uint8_t *data;
	size_t len;
};

enum change_kind {
	/* key, i64 expires at (Unix ms, 0: never), value: a string; replaces anything */
	CHANGE_SET = 1,
	CHANGE_DEL,    /* key */
	CHANGE_EXPIRE, /* key, i64 expires at (0: never) */
	CHANGE_HSET,   /* key, field, value: makes the hash where there is none */
	CHANGE_HDEL,   /* key, field; the hash goes with its last field */
	CHANGE_RENAME, /* key, new key: replaces what is there */
	CHANGE_FLUSH,  /* nothing: every key goes */
	CHANGE_SPLICE, /* key, varint offset, bytes: overwrites or lengthens a string, zeros before
			  it; the time it expires stays */
	CHANGE_MAX
};

struct change_op {
	enum change_kind kind;
	int64_t expire_ms;
	size_t offset;
	struct slice key, field, value; /* field is the new key of CHANGE_RENAME */
};

/* What grows by appending: bytes of operations. */
struct change {
	uint8_t *data;
	size_t len, size;
	size_t n_ops;
};

enum {
	CHANGE_KEY_MAX = 512 * 1024 * 1024, /* as in Redis: of a key, a field, a value */
};

void change_init(struct change *c);
void change_clear(struct change *c); /* keeps the memory, unless it is above 1 MiB */
void change_free(struct change *c);

/*
 * Appends one operation. Returns 0, or -1 without memory, or when a part of it is longer than
 * CHANGE_KEY_MAX or a time is negative (c is as before).
 */
int change_append(struct change *c, const struct change_op *op);

/*
 * Reads the operation at *pos of a body and moves *pos behind it; the slices point into body.
 * Returns 1, 0 at the end, -1 when it is malformed.
 */
int change_next(struct slice body, size_t *pos, struct change_op *op);

/* Whether every operation of body is well-formed, and there is at least one. */
int change_check(struct slice body);

#endif
