/* SPDX-License-Identifier: ISC */
/*
 * The text of the config file before libconfuse sees it. Pure.
 */
#ifndef BH_LIB_SOURCE_H
#define BH_LIB_SOURCE_H

#include <stddef.h>

enum { SOURCE_MAX = 256 * 1024 };

/*
 * Check the text and blank out its comments, in place; text[len] must be a NUL. Returns 0, or the
 * line number of what cannot be taken, with a sentence in error.
 */
unsigned source_prepare(char *text, size_t len, char *error, size_t size);

#endif
