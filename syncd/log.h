/* SPDX-License-Identifier: ISC */
/*
 * The ordered log of changes: what was acknowledged is here, on disk, before the answer leaves.
 *
 * Files log.NNNNNNNN of LOG_SEGMENT bytes in the store folder, written full of zeros once and used
 * again when they are old, because a sync of blocks that exist is cheaper than one that allocates
 * (measured: 114 us against 192). The number is that of the file, not of what is in it: the header
 * of 512 bytes says which piece of the log the file holds, so that nothing is ever renamed. The
 * number of files is the configured backlog.
 *
 * The log is one stream of bytes through the segments, records one behind the other, 8-byte
 * aligned, across the border of two segments or more where they do not fit. A record, little
 * endian: u64 tag, u32 records since the last one that was on disk when this one was written, u32
 * length of the body, u64 epoch, u64 index, u64 hash, body, zeros up to the alignment. The hash is
 * a chain: SipHash-2-4 over (length, epoch, index, hash before, body) with a constant key, so two
 * logs that have the same hash at an index are the same up to there, and a torn or stale record
 * never passes. The tag is SipHash-2-4 of the place in the stream and the header with a random key
 * of the segment: a header that an app put into a value, or that is left of an older round, is not
 * taken for one. It tells a torn tail (nothing behind it was ever acknowledged) from damage to what
 * was acknowledged. Behind the last record of every write there are zeros for one header.
 *
 * What orders the writes: the header of a segment is written when everything before it is synced,
 * and synced before a record is written behind it.
 */
#ifndef BH_SYNCD_LOG_H
#define BH_SYNCD_LOG_H

#include <stdbool.h>

#include "change.h"

/* A place in the history of a group. index 0: before the first change. */
struct position {
	uint64_t epoch; /* of the main that made the change */
	uint64_t index;
	uint64_t hash;
};

enum {
	LOG_SEGMENT = 16 * 1024 * 1024,
	LOG_BODY_MAX = 0x7fffff00, /* bytes of one change */
};

struct log;

struct log_options {
	uint64_t backlog; /* bytes, rounded up to whole segments, at least 4 */
	uint64_t segment; /* bytes of a segment, a multiple of 4096 (0: LOG_SEGMENT); tests use
			     small ones */
	/* segments of another one are not of this log: a state that was loaded */
	uint64_t generation;
	struct position base; /* of the state on disk; where a log without records starts */
};

/*
 * Opens or makes the log in the folder dir (a descriptor that stays the caller's). After an unclean
 * end what is torn at the tail is cut off. Records behind base are read and checked, older ones
 * when they are asked for. Returns NULL with errno and a logged reason; a damaged record that is
 * not the tail is EILSEQ.
 */
struct log *log_open(int dir, const struct log_options *options);
void log_close(struct log *l);

/* Position of the newest record, and of the newest that is on disk. */
struct position log_end(const struct log *l);
struct position log_durable(const struct log *l);
/* The position before the oldest record that is still there. */
struct position log_start(const struct log *l);

/*
 * Adds one change in memory; nothing is on disk before log_flush(). epoch is not below that of the
 * end. *out: its position. Returns 0, or -1: ENOMEM, or ENOSPC when the oldest segment may not go
 * yet (log_keep) or the disk is full.
 */
int log_append(struct log *l, uint64_t epoch, struct slice body, struct position *out);

/* Takes back the newest record, which was appended since the last log_flush(). */
void log_unappend(struct log *l);

/*
 * Writes and syncs what was appended. Returns 0, or -1 with errno: nothing of it counts as durable
 * and all of it is forgotten. After EIO everything that writes fails with EIO: nobody knows what is
 * on disk.
 */
int log_flush(struct log *l);

/*
 * Forgets everything behind position p (which must be in the log): the tail that a diverged main
 * must not keep. Durable when it returns 0.
 */
int log_truncate(struct log *l, const struct position *p);

/*
 * An empty log of a new generation that starts at p: after a snapshot. Durable when it returns 0.
 */
int log_reset(struct log *l, uint64_t generation, const struct position *p);

/* Records behind index are still needed (the state on disk is that old): their segments stay. */
void log_keep(struct log *l, uint64_t index);

/*
 * Reads the record with that index, appended or on disk. body points into a buffer of the log that
 * is good until the next call of any function on it. Returns 1, 0 when there is no such record (too
 * old, or not yet), -1 with errno.
 */
int log_read(struct log *l, uint64_t index, struct position *at, struct slice *body);

/* The position at that index: 1, or 0 when it is not in the log (start and end are). */
int log_at(struct log *l, uint64_t index, struct position *at);

/* Bytes that have been appended in all: a place that only grows, until log_reset(). */
uint64_t log_place(const struct log *l);
/* Bytes that can still be appended before the record behind index has to go; 0 when it has gone. */
uint64_t log_room(struct log *l, uint64_t index);
/* Gives up the segments that have only records up to index, where log_keep() allows. 0 or -1. */
int log_expire(struct log *l, uint64_t index);

/*
 * Bytes of new files that may be made from now on, as long as old records can go instead; what the
 * disk has besides is needed for the state. Without it: all.
 */
void log_allow(struct log *l, uint64_t bytes);
uint64_t log_files(const struct log *l); /* how many there are */
/* Whether the disk failed: nothing is written any more. */
bool log_failed(const struct log *l);
/* Whether some bytes more find room in the files there are, or in the place of old records. */
bool log_has_room(const struct log *l);

/* Bytes of records behind index (all there are, when it is too old): for the figures of lag. */
uint64_t log_bytes_behind(struct log *l, uint64_t index);

#endif
