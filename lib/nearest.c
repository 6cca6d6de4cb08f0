/* SPDX-License-Identifier: ISC */
/*
 * The valid name that somebody probably meant. Pure.
 */
#include "nearest.h"

#include <string.h>

enum { LONGEST = 63 };

static unsigned
min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

unsigned
nearest_distance(const char *a, const char *b)
{
	/* three rows of the optimal string alignment table */
	unsigned rows[3][LONGEST + 1];
	unsigned *before = rows[0], *above = rows[1], *row = rows[2];
	size_t na = strnlen(a, LONGEST), nb = strnlen(b, LONGEST);

	for (size_t j = 0; j <= nb; j++)
		above[j] = (unsigned)j;
	memset(before, 0, sizeof(rows[0]));
	for (size_t i = 1; i <= na; i++) {
		unsigned *free_row = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned differ = a[i - 1] != b[j - 1];

			row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + differ);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		before = above;
		above = row;
		row = free_row;
	}
	return above[nb];
}

void
nearest_offer(struct nearest *n, const char *written, const char *valid)
{
	size_t len = strnlen(written, LONGEST);
	unsigned limit = len <= 4 ? 2 : (unsigned)len / 3 + 1;
	unsigned d = nearest_distance(written, valid);

	/* as many edits as letters: another word, not a slip */
	if (d > limit || d >= len || (n->best != NULL && d >= n->distance))
		return;
	n->best = valid;
	n->distance = d;
}
