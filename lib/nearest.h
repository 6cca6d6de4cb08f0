/* SPDX-License-Identifier: ISC */
/*
 * The valid name that somebody probably meant. Pure.
 */
#ifndef BH_LIB_NEAREST_H
#define BH_LIB_NEAREST_H

#include <stddef.h>

/*
 * Edits (insert, delete, replace, swap of neighbours) from a to b; only the first 63 bytes count.
 */
unsigned nearest_distance(const char *a, const char *b);

/* The search for the nearest of several names: start with {0}, offer each, read best. */
struct nearest {
	const char *best; /* NULL: none is near enough to be meant */
	unsigned distance;
};
void nearest_offer(struct nearest *n, const char *written, const char *valid);

#endif
