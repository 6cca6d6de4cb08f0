/* SPDX-License-Identifier: ISC */
/*
 * A log whose newest segment somebody else wrote: the input is laid over the file behind its
 * header, or over all of it. It opens or is refused; what it then says it has can be read.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "syncd/log_internal.h"

enum { SEGMENT = 8192 };

static char path[] = "/tmp/bh-fuzz-log-XXXXXX";
static int dir = -1;
static const struct log_options options = {
    .backlog = 4 * SEGMENT, .segment = SEGMENT, .generation = 1};
static uint8_t good[SEGMENT]; /* a segment with some records */

static void
silent(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

static void
clear(void)
{
	char name[32];

	for (unsigned int i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "log.%08u", i);
		unlinkat(dir, name, 0);
	}
}

static void
end(void)
{
	clear();
	rmdir(path);
}

/* A log with records, of which the file is kept. */
static void
begin(void)
{
	static const uint8_t body[300] = {1, 2, 3};
	struct log *l;
	int fd;

	log_to(silent);
	if (sodium_init() < 0 || mkdtemp(path) == NULL ||
	    (dir = open(path, O_RDONLY | O_DIRECTORY)) < 0)
		abort();
	atexit(end);
	l = log_open(dir, &options);
	for (size_t i = 0; i < 12; i++)
		if (log_append(l, 1, (struct slice){body, i * 20 + 1}, NULL) != 0 ||
		    (i % 3 == 0 && log_flush(l) != 0))
			abort();
	if (log_flush(l) != 0 || (fd = log_segment_open(l, 0)) < 0 ||
	    pread(fd, good, sizeof(good), 0) != (ssize_t)sizeof(good))
		abort();
	close(fd);
	log_close(l);
}

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	size_t n = SEGMENT - SEGMENT_HEADER < size ? SEGMENT - SEGMENT_HEADER : size;

	if (dir < 0)
		begin();
	n = n < 3000 ? n : 3000;
	memcpy(out, good + SEGMENT_HEADER, n);
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t b[SEGMENT];
	struct position at;
	struct slice body;
	struct log *l;
	int fd;

	if (dir < 0)
		begin();
	clear();
	memcpy(b, good, sizeof(b));
	if (size > SEGMENT - SEGMENT_HEADER) /* over the header too */
		memcpy(b, data, size < SEGMENT ? size : SEGMENT);
	else if (size > 0)
		memcpy(b + SEGMENT_HEADER, data, size);
	fd = openat(dir, "log.00000000", O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || write(fd, b, sizeof(b)) != (ssize_t)sizeof(b))
		abort();
	close(fd);
	l = log_open(dir, &options);
	if (l == NULL)
		return 0;
	for (uint64_t i = log_start(l).index + 1; i <= log_end(l).index; i++)
		if (log_read(l, i, &at, &body) != 1 || at.index != i || body.len == 0)
			abort();
	if (log_append(l, log_end(l).epoch, (struct slice){(const uint8_t *)"x", 1}, NULL) != 0 ||
	    log_flush(l) != 0)
		abort();
	log_close(l);
	return 0;
}
