/* SPDX-License-Identifier: ISC */
/*
 * A token bucket: burst at once, then so many per second. Pure.
 */
#ifndef BH_SUPERVISOR_BUCKET_H
#define BH_SUPERVISOR_BUCKET_H

#include <stdint.h>

struct bucket {
	uint32_t burst, rate;
	int64_t milli; /* tokens in thousandths */
	int64_t at_ms;
};

/* A full bucket. */
void bucket_init(struct bucket *b, uint32_t burst, uint32_t rate, int64_t now_ms);
/* Take one token: 1, or 0 when there is none. */
int bucket_take(struct bucket *b, int64_t now_ms);

#endif
