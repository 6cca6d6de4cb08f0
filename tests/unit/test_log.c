/* SPDX-License-Identifier: ISC */
/*
 * The log of syncd on real files: appending, flushing, reading by index, going round, truncating,
 * damage. What a crash leaves is in crash_store.c.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "model.h"
#include "syncd/log_internal.h"

enum { SEGMENT = 16384 };

struct world {
	char path[64];
	int dir;
	struct log_options options;
	struct log *l;
};

static char last_error[1024];

static void
hear(enum log_level level, const char *line)
{
	if (level == LOG_L_ERROR && strstr(line, "cannot be opened") == NULL)
		snprintf(last_error, sizeof(last_error), "%s", line);
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	make_folder(w->path);
	w->dir = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->options =
	    (struct log_options){.backlog = 32 * SEGMENT, .segment = SEGMENT, .generation = 1};
	w->l = log_open(w->dir, &w->options);
	assert_non_null(w->l);
	last_error[0] = '\0';
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	log_close(w->l);
	close(w->dir);
	remove_folder(w->path);
	free(w);
	return 0;
}

static bool tear; /* the next write of more than a sector of zeros is one of a sector, then the disk
		     is gone */

ssize_t
pwrite(int fd, const void *b, size_t n, off_t at)
{
	if (!tear || n <= 512 || sodium_is_zero(b, n) != 1)
		return syscall(SYS_pwrite64, fd, b, n, at);
	tear = false;
	if (syscall(SYS_pwrite64, fd, b, 512, at) == 512)
		errno = EIO;
	return -1;
}

static int syncs; /* that were asked for */
/* of the next one; those after it say that all is well, as the kernel does */
static int sync_error;

int fdatasync(int fd);
int
fdatasync(int fd)
{
	int error = sync_error;

	syncs++;
	sync_error = 0;
	if (error == 0)
		return (int)syscall(SYS_fdatasync, fd);
	errno = error;
	return -1;
}

/* A body that says which record it is. */
static struct slice
body_of(uint64_t index, size_t len)
{
	static uint8_t b[SEGMENT * 20];

	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)(index * 7 + i);
	return (struct slice){b, len};
}

static size_t
length_of(uint64_t index)
{
	return index % 13 == 0 ? 5000 : index % 100 + 1;
}

static void
append(struct log *l, uint64_t epoch)
{
	uint64_t index = log_end(l).index + 1;
	struct position at;

	assert_int_equal(log_append(l, epoch, body_of(index, length_of(index)), &at), 0);
	assert_int_equal(at.index, index);
}

static void
assert_record(struct log *l, uint64_t index)
{
	struct position at;
	struct slice body, want = body_of(index, length_of(index));

	assert_int_equal(log_read(l, index, &at, &body), 1);
	assert_int_equal(at.index, index);
	assert_int_equal(body.len, want.len);
	assert_memory_equal(body.data, want.data, want.len);
}

static void
reopen(struct world *w, const struct position *base)
{
	log_close(w->l);
	w->options.base = *base;
	w->l = log_open(w->dir, &w->options);
}

static void
append_and_read(void **state)
{
	struct world *w = *state;
	struct position at, none = {0, 0, 0};
	struct slice body;
	struct dice d = {1234567};

	assert_int_equal(log_end(w->l).index, 0);
	assert_int_equal(log_read(w->l, 1, &at, &body), 0);
	for (int i = 0; i < 400; i++) {
		append(w->l, 1);
		if (i % 3 == 0)
			assert_int_equal(log_flush(w->l), 0);
		assert_record(w->l, dice_roll(&d, (uint32_t)i + 1) + 1); /* on disk or not yet */
	}
	assert_int_equal(log_durable(w->l).index, 400);
	for (uint64_t i = 1; i <= 400; i++)
		assert_record(w->l, i);
	for (uint64_t i = 0; i < 400; i += 33) {
		struct position from_read;

		assert_int_equal(log_at(w->l, i, &at), 1);
		assert_int_equal(at.index, i);
		if (i > 0 && log_read(w->l, i, &from_read, &body) == 1)
			assert_int_equal(from_read.hash, at.hash);
	}
	assert_int_equal(log_at(w->l, 401, &at), 0);
	assert_int_equal(log_bytes_behind(w->l, 400), 0);
	assert_int_equal(log_bytes_behind(w->l, 399), log_record_size(length_of(400)));
	assert_true(log_bytes_behind(w->l, 0) > 400 * 40);
	assert_int_equal(log_append(w->l, 0, text("x"), NULL), -1); /* an epoch that is over */
	assert_int_equal(errno, EINVAL);
	assert_int_equal(log_append(w->l, 2, text(""), NULL), -1);
	at = log_end(w->l);
	reopen(w, &none);
	assert_int_equal(log_end(w->l).index, 400);
	assert_int_equal(log_end(w->l).hash, at.hash);
	for (uint64_t i = 400; i > 3; i -= 3)
		assert_record(w->l, i);
}

/* Not flushed: not there. */
static void
not_flushed(void **state)
{
	struct world *w = *state;
	struct position none = {0, 0, 0}, three, at;
	struct slice body;

	for (int i = 0; i < 3; i++)
		append(w->l, 1);
	three = log_end(w->l);
	append(w->l, 1);
	log_unappend(w->l);
	assert_int_equal(log_end(w->l).hash, three.hash);
	assert_int_equal(log_read(w->l, 4, &at, &body), 0);
	assert_int_equal(log_durable(w->l).index, 0);
	assert_int_equal(log_flush(w->l), 0);
	append(w->l, 1);
	reopen(w, &none);
	assert_int_equal(log_end(w->l).index, 3);
	assert_int_equal(log_end(w->l).hash, three.hash);
}

/* Around many times: old records go when they may, and not before. */
static void
going_round(void **state)
{
	struct world *w = *state;
	struct position base;
	int full = 0;

	w->options.backlog = 8 * SEGMENT;
	reopen(w, &w->options.base);
	for (int i = 0; i < 5000; i++) {
		uint64_t index = log_end(w->l).index + 1;

		if (log_append(w->l, 1, body_of(index, length_of(index)), NULL) != 0) {
			assert_int_equal(errno, ENOSPC);
			assert_record(
			    w->l, w->options.base.index + 1); /* what is needed is there */
			assert_int_equal(log_flush(w->l), 0);
			w->options.base = log_end(w->l);
			log_keep(w->l, w->options.base.index);
			full++;
			append(w->l, 1);
		}
		if (i % 5 == 0)
			assert_int_equal(log_flush(w->l), 0);
		if (i % 500 == 0) {
			assert_int_equal(log_flush(w->l), 0);
			reopen(w, &w->options.base);
			assert_non_null(w->l);
			assert_int_equal(log_end(w->l).index, i + 1);
		}
	}
	assert_true(full > 10);
	assert_int_equal(log_flush(w->l), 0);
	assert_true(log_start(w->l).index > 1000);
	assert_true(w->l->n_segments + w->l->n_spares <= 8);
	for (uint64_t i = log_start(w->l).index + 1; i <= log_end(w->l).index; i++)
		assert_record(w->l, i);
	assert_int_equal(log_at(w->l, log_start(w->l).index, &base), 1);
	base = (struct position){1, 5, 5};
	reopen(w, &base); /* a state that is older than what is left */
	assert_null(w->l);
	assert_int_equal(errno, EILSEQ);
	w->l = NULL;
}

/* So many bytes fit until a record goes: no fewer, and it goes then. */
static void
room(void **state)
{
	struct world *w = *state;

	w->options.backlog = 8 * SEGMENT;
	reopen(w, &w->options.base);
	for (uint64_t index = 100; index < 1100; index += 250) {
		uint64_t left, at;

		while (log_end(w->l).index < index + 50)
			append(w->l, 1);
		assert_int_equal(log_flush(w->l), 0);
		log_keep(w->l, log_end(w->l).index);
		assert_true(log_room(w->l, index) <= log_room(w->l, log_end(w->l).index));
		left = log_room(w->l, index);
		at = log_place(w->l);
		assert_true(left > SEGMENT);
		while (log_start(w->l).index <= index) {
			assert_true(log_place(w->l) - at <= left);
			append(w->l, 1);
			assert_int_equal(log_flush(w->l), 0);
			log_keep(w->l, log_end(w->l).index);
		}
		assert_true(log_place(w->l) - at > left);
		assert_int_equal(log_room(w->l, index), 0);
	}
}

/* What is old goes in whole segments, not what is needed, and it does not come back. */
static void
expire(void **state)
{
	struct world *w = *state;
	struct position start;

	for (int i = 0; i < 800; i++)
		append(w->l, 1);
	assert_int_equal(log_flush(w->l), 0);
	assert_int_equal(log_start(w->l).index, 0);
	log_keep(w->l, 400);
	assert_int_equal(log_expire(w->l, 200), 0);
	start = log_start(w->l);
	assert_true(start.index > 100 && start.index <= 200);
	assert_int_equal(log_expire(w->l, 800), 0);
	assert_true(log_start(w->l).index > 300 && log_start(w->l).index <= 400);
	start = log_start(w->l);
	for (uint64_t i = start.index + 1; i <= 800; i++)
		assert_record(w->l, i);
	assert_int_equal(log_at(w->l, 400, &w->options.base), 1);
	reopen(w, &w->options.base);
	assert_int_equal(log_start(w->l).index, start.index);
	assert_int_equal(log_end(w->l).index, 800);
	for (int i = 0; i < 200; i++)
		append(w->l, 1);
	assert_int_equal(log_flush(w->l), 0);
	assert_record(w->l, 1000);
}

/* Records over the border of two segments, of many, of more than there may be. */
static void
large_records(void **state)
{
	static const size_t sizes[] = {
	    SEGMENT - 600, SEGMENT - 512 - 40, SEGMENT, SEGMENT * 3, SEGMENT * 15, 1};
	struct world *w = *state;
	struct position at, none = {0, 0, 0};
	struct slice body;

	for (uint64_t i = 1; i <= 6; i++) {
		log_keep(w->l, i - 1);
		assert_int_equal(log_append(w->l, 1, body_of(i, sizes[i - 1]), &at), 0);
		assert_int_equal(log_flush(w->l), 0);
		assert_int_equal(log_read(w->l, i, &at, &body), 1);
		assert_int_equal(body.len, sizes[i - 1]);
		assert_memory_equal(body.data, body_of(i, body.len).data, body.len);
	}
	log_at(w->l, 4, &none);
	reopen(w, &none);
	assert_non_null(w->l);
	assert_int_equal(log_end(w->l).hash, at.hash);
	assert_int_equal(log_read(w->l, 5, &at, &body), 1);
	assert_memory_equal(body.data, body_of(5, body.len).data, body.len);
}

static void
truncation(void **state)
{
	struct world *w = *state;
	struct position at, end, none = {0, 0, 0};

	for (uint64_t cut = 395; cut > 0; cut -= 79) {
		while (log_end(w->l).index < 400)
			append(w->l, 400 - cut + 1);
		assert_int_equal(log_flush(w->l), 0);
		append(w->l, 500);
		assert_int_equal(log_at(w->l, cut, &at), 1);
		end = at;
		end.hash ^= 1;
		assert_int_equal(log_truncate(w->l, &end), -1);
		assert_int_equal(errno, EINVAL);
		assert_int_equal(log_truncate(w->l, &at), 0);
		assert_int_equal(log_end(w->l).hash, at.hash);
		if (cut % 2 == 0) {
			reopen(w, &none);
			assert_int_equal(log_end(w->l).hash, at.hash);
		}
		for (uint64_t i = 1; i <= cut; i += 7)
			assert_record(w->l, i);
	}
	assert_int_equal(log_truncate(w->l, &none), 0);
	assert_int_equal(log_end(w->l).index, 0);
	reopen(w, &none);
	assert_int_equal(log_end(w->l).index, 0);
	append(w->l, 1);
}

/* A crash while the tail is taken away: what is left of it is no damage, and does not come back. */
static void
truncation_cut(void **state)
{
	struct world *w = *state;
	struct position at, none = {0, 0, 0};

	for (int i = 0; i < 24; i++) {
		append(w->l, 1);
		assert_int_equal(log_flush(w->l), 0);
	}
	assert_int_equal(log_at(w->l, 2, &at), 1);
	tear = true;
	assert_int_equal(log_truncate(w->l, &at), -1);
	assert_false(tear);
	reopen(w, &none);
	assert_non_null(w->l);
	assert_int_equal(log_end(w->l).hash, at.hash);
	append(w->l, 1);
	assert_int_equal(log_flush(w->l), 0);
	reopen(w, &none);
	assert_int_equal(log_end(w->l).index, 3);
}

/*
 * The disk failed once, and from then on says that all is well: nothing is written any more, and
 * what it may not have is not there for the next one, though it could be read.
 */
static void
failed_sync(void **state)
{
	struct world *w = *state;
	struct position none = {0, 0, 0}, end;

	for (int large = 0; large < 2; large++) {
		for (int i = 0; i < 5; i++)
			append(w->l, 1);
		assert_int_equal(log_flush(w->l), 0);
		end = log_end(w->l);
		append(w->l, 1);
		if (large) /* through more than one segment */
			assert_int_equal(log_append(w->l, 1, body_of(0, SEGMENT * 2), NULL), 0);
		sync_error = EIO;
		assert_int_equal(log_flush(w->l), -1);
		assert_int_equal(errno, EIO);
		assert_int_equal(log_durable(w->l).index, end.index);
		assert_int_equal(log_end(w->l).hash, end.hash);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(log_append(w->l, 1, text("x"), NULL), -1);
			assert_int_equal(errno, EIO);
			assert_int_equal(log_flush(w->l), -1);
			assert_int_equal(errno, EIO);
		}
		assert_int_equal(log_truncate(w->l, &end), -1);
		assert_int_equal(log_reset(w->l, 2, &end), -1);
		assert_record(w->l, end.index); /* what was durable can be read */
		reopen(w, &none);
		assert_non_null(w->l);
		assert_int_equal(log_end(w->l).index, end.index);
		assert_int_equal(log_end(w->l).hash, end.hash);
	}
	/* no room is another matter: it is tried again, from what is known to be there */
	append(w->l, 1);
	sync_error = ENOSPC;
	assert_int_equal(log_flush(w->l), -1);
	assert_int_equal(errno, ENOSPC);
	append(w->l, 1);
	assert_int_equal(log_flush(w->l), 0);
	assert_int_equal(log_durable(w->l).index, end.index + 1);
}

/* What the process before wrote and did not sync is read, and is on disk before it counts. */
static void
synced_when_opened(void **state)
{
	struct world *w = *state;
	int before;

	append(w->l, 1);
	assert_int_equal(log_flush(w->l), 0);
	log_close(w->l);
	before = syncs;
	w->l = log_open(w->dir, &w->options);
	assert_non_null(w->l);
	assert_true(syncs > before);
	log_close(w->l);
	sync_error = EIO;
	w->l = log_open(w->dir, &w->options);
	assert_null(w->l);
	assert_int_equal(errno, EIO);
}

static void
reset(void **state)
{
	struct world *w = *state;
	struct position p = {7, 1000, 42}, at;

	for (int i = 0; i < 500; i++)
		append(w->l, 1);
	assert_int_equal(log_flush(w->l), 0);
	assert_int_equal(log_reset(w->l, 2, &p), 0);
	assert_int_equal(log_start(w->l).index, 1000);
	assert_int_equal(log_append(w->l, 6, text("x"), &at), -1);
	append(w->l, 7);
	assert_int_equal(log_flush(w->l), 0);
	at = log_end(w->l);
	w->options.generation = 2;
	reopen(w, &p);
	assert_int_equal(log_end(w->l).hash, at.hash);
	assert_record(w->l, 1001);
	w->options.generation = 3; /* a crash in front of the reset */
	p.index = 2000;
	reopen(w, &p);
	assert_int_equal(log_end(w->l).index, 2000);
}

/* ---- damage */

/* Changes one byte of the file in which a place is. */
static void
damage(struct world *w, uint64_t at, uint8_t with)
{
	const struct segment *s = log_segment_of(w->l, at);
	int fd = log_segment_open(w->l, s->slot);
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, (off_t)(SEGMENT_HEADER + at % w->l->data_size)), 1);
	b ^= with;
	assert_int_equal(pwrite(fd, &b, 1, (off_t)(SEGMENT_HEADER + at % w->l->data_size)), 1);
	close(fd);
}

static uint64_t
place_of(struct log *l, uint64_t index)
{
	return l->end_at - log_bytes_behind(l, index - 1);
}

/* Damage in front of what was acknowledged later is never taken for a torn tail. */
static void
damaged(void **state)
{
	static const size_t parts[] = {0, 8, 12, 16, 24, 32, RECORD_HEADER};
	struct world *w = *state;
	struct position none = {0, 0, 0};

	for (int i = 0; i < 60; i++) {
		append(w->l, 1);
		assert_int_equal(log_flush(w->l), 0);
	}
	for (uint64_t i = 1; i < 60; i += i < 54 ? 4 : 1) {
		for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
			struct log *before = w->l;
			uint64_t at = place_of(w->l, i) + parts[p];

			damage(w, at, 0x40);
			w->l = log_open(w->dir, &w->options);
			assert_null(w->l);
			assert_int_equal(errno, EILSEQ);
			assert_non_null(strstr(last_error, "record"));
			w->l = before;
			damage(w, at, 0x40);
		}
	}
	reopen(w, &none);
	assert_true(
	    w->l->segments[w->l->n_segments - 1].start.index < 57); /* both kinds of proof */
	assert_int_equal(log_end(w->l).index, 60);
}

/* Damage that comes while the log is open: such a record is never handed out. */
static void
damaged_while_open(void **state)
{
	struct world *w = *state;
	struct position at;
	struct slice body;

	for (int i = 0; i < 40; i++)
		append(w->l, 1);
	assert_int_equal(log_flush(w->l), 0);
	damage(w, place_of(w->l, 5) + RECORD_HEADER, 1);
	w->l->window_len = 0;
	assert_int_equal(log_read(w->l, 5, &at, &body), -1);
	assert_int_equal(errno, EILSEQ);
	assert_record(w->l, 4);
	assert_record(w->l, 6);
}

/* The newest write, of some records, by halves: it was not acknowledged. */
static void
torn(void **state)
{
	struct world *w = *state;
	struct position none = {0, 0, 0}, at;
	uint8_t behind[RECORD_HEADER];
	uint64_t end;
	int fd;

	for (uint64_t lost = 0; lost < 6; lost++) {
		uint64_t first = log_end(w->l).index;

		append(w->l, 1);
		assert_int_equal(log_flush(w->l), 0);
		for (int i = 0; i < 6; i++)
			append(w->l, 1);
		assert_int_equal(log_flush(w->l), 0);
		damage(w, place_of(w->l, first + 2 + lost) + 33, 0x10);
		reopen(w, &none);
		assert_non_null(w->l);
		assert_int_equal(log_end(w->l).index, first + 1 + lost);
		/*
		 * the same again, and the zeros behind it are not written: what was there does not
		 * come back
		 */
		at = log_end(w->l);
		end = w->l->end_at + log_record_size(length_of(at.index + 1));
		assert_int_equal(log_stream_read(w->l, end, behind, sizeof(behind)), 0);
		append(w->l, 1);
		assert_int_equal(log_flush(w->l), 0);
		fd = log_segment_open(w->l, log_segment_of(w->l, end)->slot);
		assert_int_equal(pwrite(fd, behind, sizeof(behind),
				     (off_t)(SEGMENT_HEADER + end % w->l->data_size)),
		    sizeof(behind));
		close(fd);
		reopen(w, &none);
		assert_int_equal(log_end(w->l).index, at.index + 1);
	}
}

/* Damage to what the state has already: nothing is lost but the history. */
static void
damaged_behind_state(void **state)
{
	struct world *w = *state;
	struct position end, at;

	for (int i = 0; i < 40; i++)
		append(w->l, 1); /* one write: nothing proves that it was acknowledged */
	assert_int_equal(log_flush(w->l), 0);
	end = log_end(w->l);
	damage(w, place_of(w->l, 40), 1);
	reopen(w, &end);
	assert_non_null(w->l);
	assert_int_equal(log_start(w->l).index, 40);
	append(w->l, 1);
	assert_int_equal(log_flush(w->l), 0);
	at = log_end(w->l);
	reopen(w, &end);
	assert_int_equal(log_end(w->l).hash, at.hash);
	end.hash ^= 1;
	reopen(w, &end); /* not the log of this state */
	assert_null(w->l);
	assert_int_equal(errno, EILSEQ);
}

static void
damaged_header(void **state)
{
	struct world *w = *state;
	struct position none = {0, 0, 0};
	int fd;

	append(w->l, 1);
	assert_int_equal(log_flush(w->l), 0);
	fd = log_segment_open(w->l, 0);
	assert_int_equal(pwrite(fd, "x", 1, 30), 1);
	close(fd);
	reopen(w, &none);
	assert_null(w->l);
	assert_int_equal(errno, EILSEQ);
	assert_non_null(strstr(last_error, "log.00000000"));
}

/* A piece that is missing in what is old: the log is shorter. In what is needed: refused. */
static void
gap(void **state)
{
	static const uint8_t zeros[SEGMENT_HEADER];
	struct world *w = *state;
	struct position end, none = {0, 0, 0};
	uint64_t start;
	int fd;

	while (w->l->n_segments < 4) {
		append(w->l, 1);
		assert_int_equal(log_flush(w->l), 0);
	}
	end = log_end(w->l);
	start = w->l->segments[2].start.index;
	fd = log_segment_open(w->l, w->l->segments[1].slot);
	assert_int_equal(pwrite(fd, zeros, sizeof(zeros), 0), sizeof(zeros));
	close(fd);
	reopen(w, &end);
	assert_non_null(w->l);
	assert_int_equal(log_start(w->l).index, start);
	for (uint64_t i = start + 1; i <= end.index; i++)
		assert_record(w->l, i);
	reopen(w, &none);
	assert_null(w->l);
	assert_int_equal(errno, EILSEQ);
}

/* What an app puts into a value is never taken for a record, however much it looks like one. */
static void
planted(void **state)
{
	static uint8_t body[4096];
	struct world *w = *state;
	struct position none = {0, 0, 0};
	uint64_t first;

	for (int i = 0; i < 3; i++)
		append(w->l, 1);
	assert_int_equal(log_flush(w->l), 0);
	/* copies of a real header with a higher index, at every place that is looked at */
	for (size_t at = 0; at + 64 <= sizeof(body); at += 40) {
		uint8_t *bytes = log_fetch(w->l, place_of(w->l, 3), RECORD_HEADER);

		memcpy(body + at, bytes, RECORD_HEADER);
		body[at + 24] = 9;
		body[at + 8] = 1;
	}
	first = log_end(w->l).index;
	append(w->l, 1);
	assert_int_equal(log_append(w->l, 1, (struct slice){body, sizeof(body)}, NULL), 0);
	assert_int_equal(log_flush(w->l), 0);
	damage(w, place_of(w->l, first + 1) + 40, 1);
	reopen(w, &none);
	assert_non_null(w->l);
	assert_int_equal(log_end(w->l).index, first);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(append_and_read),
	    TEST(not_flushed),
	    TEST(going_round),
	    TEST(room),
	    TEST(expire),
	    TEST(large_records),
	    TEST(truncation),
	    TEST(truncation_cut),
	    TEST(failed_sync),
	    TEST(synced_when_opened),
	    TEST(reset),
	    TEST(damaged),
	    TEST(damaged_while_open),
	    TEST(torn),
	    TEST(damaged_behind_state),
	    TEST(damaged_header),
	    TEST(gap),
	    TEST(planted),
	};

	log_to(hear);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
