/* SPDX-License-Identifier: ISC */
/*
 * The clock of every decision and of every age: CLOCK_BOOTTIME, which no administrator and no time
 * server sets.
 */
#ifndef BH_LIB_CLOCK_H
#define BH_LIB_CLOCK_H

#include <stdint.h>

int64_t now_ms(void);
int64_t now_us(void);

#endif
