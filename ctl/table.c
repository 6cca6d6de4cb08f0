/* SPDX-License-Identifier: ISC */
/*
 * Tables for people: columns as wide as their widest cell.
 */
#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Characters, not bytes: what follows the first byte of a UTF-8 character has no width. */
static size_t
width(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

void
table_init(struct table *t, size_t n_columns, const char *const *headings, uint16_t right)
{
	memset(t, 0, sizeof(*t));
	t->n_columns = n_columns;
	t->right = right;
	table_row(t);
	for (size_t i = 0; i < n_columns; i++)
		table_set(t, i, "%s", headings[i]);
}

void
table_row(struct table *t)
{
	void *grown = reallocarray(t->cell, t->n_rows + 1, sizeof(*t->cell));

	if (grown == NULL)
		die(CTL_EXIT_FAILED, "out of memory");
	t->cell = grown;
	memset(t->cell[t->n_rows++], 0, sizeof(*t->cell));
}

void
table_set(struct table *t, size_t column, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t->cell[t->n_rows - 1][column], TABLE_CELL, fmt, ap);
	va_end(ap);
	clean_text(t->cell[t->n_rows - 1][column]); /* cut in the middle of a character */
}

/* Widest cell of a column; 0 when all below the heading are empty. */
static size_t
column_width(const struct table *t, size_t column)
{
	size_t widest = 0;

	for (size_t r = 1; r < t->n_rows; r++) {
		size_t w = width(t->cell[r][column]);

		widest = w > widest ? w : widest;
	}
	if (widest > 0 && width(t->cell[0][column]) > widest)
		widest = width(t->cell[0][column]);
	return widest;
}

static void
print_row(const struct table *t, size_t row, const size_t widths[TABLE_COLUMNS], FILE *out)
{
	size_t gap = 0; /* blanks due before the next cell; none at the end of a line */

	for (size_t i = 0; i < t->n_columns; i++) {
		const char *text = t->cell[row][i];
		size_t pad = widths[i] - (widths[i] > 0 ? width(text) : 0);
		int right = t->right >> i & 1;

		if (widths[i] == 0)
			continue;
		if (text[0] != '\0')
			fprintf(out, "%*s%s", (int)(gap + (right ? pad : 0)), "", text);
		gap = (text[0] == '\0' ? gap + widths[i] : right ? 0 : pad) + 2;
	}
	fputc('\n', out);
}

void
table_print(struct table *t, FILE *out)
{
	size_t widths[TABLE_COLUMNS];

	for (size_t i = 0; i < t->n_columns; i++)
		widths[i] = column_width(t, i);
	for (size_t r = 0; r < t->n_rows && t->n_rows > 1; r++)
		print_row(t, r, widths, out);
	free(t->cell);
	t->cell = NULL;
}
