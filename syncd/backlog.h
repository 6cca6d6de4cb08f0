/* SPDX-License-Identifier: ISC */
/*
 * When the changes of the log were made: marks of (time, index, place in the log), the more apart
 * the longer ago, in a table of fixed size. Tells how old a change is, how fast the log fills, and
 * up to where it is older than some time. Pure; times are boottime in ms.
 */
#ifndef BH_SYNCD_BACKLOG_H
#define BH_SYNCD_BACKLOG_H

#include <stddef.h>
#include <stdint.h>

enum { BACKLOG_MARKS = 256 };

struct backlog_mark {
	int64_t ms; /* then the newest change was ... */
	uint64_t index;
	uint64_t place; /* bytes of the log behind it */
};

struct backlog {
	struct backlog_mark mark[BACKLOG_MARKS];
	size_t n;
	int64_t step_ms;   /* between two marks */
	int64_t newest_ms; /* the newest change was made */
	uint64_t newest;   /* its index */
};

/* What is in the log already counts as made now: when it was nobody knows after a start. */
void backlog_start(struct backlog *b, int64_t now, uint64_t index, uint64_t place);
/* A change was made. The indexes may go back (truncated) or on with a gap (a snapshot). */
void backlog_changed(struct backlog *b, int64_t now, uint64_t index, uint64_t place);
/* The change behind index was made at most so long ago, in ms. */
int64_t backlog_age(const struct backlog *b, int64_t now, uint64_t index);
/* Up to this index everything was made before at_ms; 0: nothing is known to be. */
uint64_t backlog_before(const struct backlog *b, int64_t at_ms);
/* Bytes per second that the log grew by lately. */
uint64_t backlog_rate(const struct backlog *b, int64_t now, uint64_t place);

#endif
