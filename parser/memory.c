/* SPDX-License-Identifier: ISC */
/*
 * Memory for the parser: there is some, or the process ends with one clear line. libconfuse and its
 * lexer go on without what they did not get, into an assertion or worse, so they are never told so.
 * That is no loss: the process does nothing else, and the old configuration stays in force.
 *
 * The C library allows a program to put its own functions in place of these (glibc manual,
 * "Replacing malloc"); the memory is still the C library's, so free() and the rest remain as they
 * are.
 */
#include "config.h"

#include <stdlib.h>

#include "../lib/log.h"

#if defined(__GLIBC__) && !defined(BH_SANITIZERS)

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *memory, size_t size);

void *
malloc(size_t size)
{
	void *memory = __libc_malloc(size);

	if (memory == NULL)
		fatal("out of memory");
	return memory;
}

void *
calloc(size_t n, size_t size)
{
	void *memory = __libc_calloc(n, size);

	if (memory == NULL)
		fatal("out of memory");
	return memory;
}

void *
realloc(void *memory, size_t size)
{
	void *bigger = __libc_realloc(memory, size);

	if (bigger == NULL && size > 0)
		fatal("out of memory");
	return bigger;
}

#else
typedef int not_here; /* a file must not be empty */
#endif
