/* SPDX-License-Identifier: ISC */
/*
 * Exponential back-off of restarts.
 */
#include "backoff.h"

uint32_t
backoff_next(struct backoff *b, int64_t up_ms)
{
	if (b->wait_ms == 0 || (up_ms >= BACKOFF_GOOD_MS && up_ms >= b->wait_ms))
		b->wait_ms = BACKOFF_FIRST_MS;
	else if (b->wait_ms > BACKOFF_MAX_MS / 2)
		b->wait_ms = BACKOFF_MAX_MS;
	else
		b->wait_ms *= 2;
	return b->wait_ms;
}
