/* SPDX-License-Identifier: ISC */
/*
 * Patterns of KEYS, SCAN, PSUBSCRIBE and CONFIG GET. Pure.
 */
#ifndef BH_SYNCD_GLOB_H
#define BH_SYNCD_GLOB_H

#include "change.h"

#include <stdbool.h>

/*
 * Whether the whole of s is like the pattern: * any bytes, ? one byte, [abc] [a-z] [^a] one byte of
 * (not of) a set, \ takes the next byte as it is. fold: upper and lower case are the same.
 * The time is bounded by the product of both lengths.
 */
bool glob_match(struct slice pattern, struct slice s, bool fold);

#endif
