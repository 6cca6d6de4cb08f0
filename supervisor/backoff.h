/* SPDX-License-Identifier: ISC */
/*
 * How long to wait before a process that ended is started again. Pure.
 */
#ifndef BH_SUPERVISOR_BACKOFF_H
#define BH_SUPERVISOR_BACKOFF_H

#include <stdint.h>

enum { BACKOFF_FIRST_MS = 10, BACKOFF_MAX_MS = 60000, BACKOFF_GOOD_MS = 10000 };

struct backoff {
	uint32_t wait_ms; /* the last wait; 0: none yet */
};

/*
 * The process ended after it had worked for up_ms (0: it never did). Returns how long to wait:
 * BACKOFF_FIRST_MS when it had been up for BACKOFF_GOOD_MS and for as long as it had been waited
 * for, else twice the last wait: one that dies after a second each time is backed off like one that
 * dies at its start.
 */
uint32_t backoff_next(struct backoff *b, int64_t up_ms);

#endif
