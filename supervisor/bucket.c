/* SPDX-License-Identifier: ISC */
/*
 * Token bucket.
 */
#include "bucket.h"

void
bucket_init(struct bucket *b, uint32_t burst, uint32_t rate, int64_t now_ms)
{
	b->burst = burst;
	b->rate = rate;
	b->milli = (int64_t)burst * 1000;
	b->at_ms = now_ms;
}

int
bucket_take(struct bucket *b, int64_t now_ms)
{
	int64_t full = (int64_t)b->burst * 1000;
	int64_t gone = now_ms - b->at_ms;

	b->at_ms = now_ms;
	if (gone > 0 && b->rate > 0) {
		/* compared against the time that fills it, so that nothing overflows */
		if (gone > full / b->rate)
			b->milli = full;
		else
			b->milli += gone * b->rate;
		if (b->milli > full)
			b->milli = full;
	}
	if (b->milli < 1000)
		return 0;
	b->milli -= 1000;
	return 1;
}
