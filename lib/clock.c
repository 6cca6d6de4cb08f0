/* SPDX-License-Identifier: ISC */
/*
 * The monotonic clock, for those without a loop too.
 */
#include "clock.h"

#include <time.h>

int64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
now_ms(void)
{
	return now_us() / 1000;
}
