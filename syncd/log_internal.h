/* SPDX-License-Identifier: ISC */
/*
 * Inside the log: log.c (appending and reading), log_segment.c (the files), log_recover.c (what a
 * crash left).
 */
#ifndef BH_SYNCD_LOG_INTERNAL_H
#define BH_SYNCD_LOG_INTERNAL_H

#include "log.h"

#include <stdbool.h>
#include <sodium.h>

enum {
	SEGMENT_HEADER = 512,
	RECORD_HEADER = 40,
	MARK_EVERY = 64 * 1024, /* bytes between places that are remembered */
	WINDOW = 256 * 1024,	/* bytes read at a time */
	KEEP_MAX = 1024 * 1024, /* memory of a buffer that stays after something larger */
	ZEROS = 1024 * 1024,
};

/* A file that holds a piece of the stream. */
struct segment {
	uint64_t seq; /* the piece: bytes seq * data_size .. of the stream */
	uint32_t slot;
	uint64_t first; /* place in the stream of the first record that starts here, or later */
	struct position before;	     /* the newest record that ends before this segment */
	struct position start;	     /* what the first record that starts here follows */
	uint64_t void_from, void_to; /* being truncated: no record starts here */
	uint8_t key[crypto_shorthash_KEYBYTES];
};

/* Where the record behind a position starts. */
struct mark {
	struct position before;
	uint64_t at;
};

struct record_header {
	uint64_t tag;
	uint32_t back, len;
	uint64_t epoch, index, hash;
};

struct log {
	int dir;
	uint64_t segment_size, data_size, generation;
	size_t max_slots;

	struct segment *segments; /* oldest first, without gaps */
	size_t n_segments, size_segments;
	uint32_t *spares; /* slots: files that hold nothing */
	size_t n_spares, size_spares;
	uint32_t next_slot;

	uint64_t allowed; /* bytes of new files */

	int write_fd; /* of the newest segment */
	int read_fd;
	uint32_t read_slot;

	struct mark *marks;
	size_t n_marks, size_marks;
	struct mark last; /* behind what was read last */

	struct position end, durable;
	uint64_t end_at, durable_at; /* places in the stream */
	uint64_t keep;
	struct position newest_before; /* what the newest appended record follows */
	uint64_t newest_at;

	uint8_t *pending; /* the stream from durable_at to end_at */
	size_t pending_size;
	uint8_t *window; /* a piece of the stream */
	uint64_t window_at;
	size_t window_len, window_size;
	uint8_t *zeros;

	/* behind durable_at up to here there may be records that nobody knows of */
	uint64_t torn_to;
	int error; /* for good */
};

/* log.c */
void log_header_read(const uint8_t *b, struct record_header *h);
uint64_t log_tag(const struct segment *s, uint64_t at, const uint8_t *header);
uint64_t log_chain(uint8_t *record, size_t len, uint64_t hash_before);
size_t log_record_size(size_t len);
int log_mark(struct log *l, const struct mark *m);
/* The record at a place: 1, 0 when there is none that follows *before, -1 with errno. */
int log_record_at(struct log *l, uint64_t at, const struct position *before,
    struct record_header *h, uint8_t **bytes);
/* n bytes of the stream, good until the next call; NULL with errno. */
uint8_t *log_fetch(struct log *l, uint64_t at, size_t n);

/* log_segment.c */
struct segment *log_segment_of(struct log *l, uint64_t at);
uint64_t log_segment_at(const struct log *l, const struct segment *s);
int log_segment_scan(struct log *l);
int log_segment_next(struct log *l, struct position before, struct position start, uint64_t first);
int log_segment_begin(struct log *l, uint64_t generation, const struct position *p);
int log_segment_drop_newest(struct log *l);
int log_segment_write_header(struct log *l, const struct segment *s);
int log_segment_expire(struct log *l, uint64_t index);
int log_segment_reserve(struct log *l, uint64_t end_at, bool alone);
int log_segment_zero(struct log *l, uint64_t from, uint64_t to);
int log_segment_open(struct log *l, uint32_t slot);
int log_stream_read(struct log *l, uint64_t at, uint8_t *b, size_t n);
int log_pwrite(int fd, const uint8_t *b, size_t n, uint64_t at);

/* log_recover.c */
int log_recover(struct log *l, const struct position *base);

#endif
