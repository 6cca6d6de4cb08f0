/* SPDX-License-Identifier: ISC */
/*
 * The files of the log: which there are, their headers, reading and writing places of the stream.
 */
#include "config.h"

#include "log_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"

enum { NAME_SIZE = 24, HEADER_USED = 120 };

static const uint8_t magic[8] = "BHlog\0\0\1";
static const uint8_t header_key[crypto_shorthash_KEYBYTES] = "bulkhead segment";

static void
slot_name(uint32_t slot, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, "log.%08u", (unsigned int)slot);
}

/* All of it, or -1 with errno. */
int
log_pwrite(int fd, const uint8_t *b, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t w = pwrite(fd, b, n, (off_t)at);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			errno = w == 0 ? EIO : errno;
			return -1;
		}
		b += w;
		n -= (size_t)w;
		at += (uint64_t)w;
	}
	return 0;
}

static int
read_all(int fd, uint8_t *b, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t r = pread(fd, b, n, (off_t)at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			errno = r == 0 ? EILSEQ : errno; /* shorter than a segment is */
			return -1;
		}
		b += r;
		n -= (size_t)r;
		at += (uint64_t)r;
	}
	return 0;
}

int
log_segment_open(struct log *l, uint32_t slot)
{
	char name[NAME_SIZE];

	slot_name(slot, name);
	return openat(l->dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
}

static void
put_u64(uint8_t **p, uint64_t v)
{
	for (unsigned int i = 0; i < 8; i++)
		*(*p)++ = (uint8_t)(v >> (8 * i));
}

static uint64_t
get_u64(const uint8_t **p)
{
	uint64_t v = 0;

	for (unsigned int i = 0; i < 8; i++)
		v |= (uint64_t) * (*p)++ << (8 * i);
	return v;
}

static void
put_position(uint8_t **p, const struct position *at)
{
	put_u64(p, at->epoch);
	put_u64(p, at->index);
	put_u64(p, at->hash);
}

static struct position
get_position(const uint8_t **p)
{
	struct position at;

	at.epoch = get_u64(p);
	at.index = get_u64(p);
	at.hash = get_u64(p);
	return at;
}

/* Writes the header of a segment and syncs it. */
int
log_segment_write_header(struct log *l, const struct segment *s)
{
	uint8_t b[SEGMENT_HEADER] = {0}, *p = b;
	int fd = s == &l->segments[l->n_segments - 1] && l->write_fd >= 0
		     ? l->write_fd
		     : log_segment_open(l, s->slot);
	int r;

	if (fd < 0)
		return -1;
	memcpy(p, magic, sizeof(magic));
	p += sizeof(magic);
	put_u64(&p, l->segment_size);
	put_u64(&p, l->generation);
	put_u64(&p, s->seq);
	put_u64(&p, s->first);
	put_position(&p, &s->before);
	put_position(&p, &s->start);
	put_u64(&p, s->void_from);
	put_u64(&p, s->void_to);
	memcpy(p, s->key, sizeof(s->key));
	p += sizeof(s->key);
	crypto_shorthash(p, b, HEADER_USED, header_key);
	r = log_pwrite(fd, b, sizeof(b), 0);
	if (r == 0 && fdatasync(fd) != 0) {
		l->error = errno;
		r = -1;
	}
	if (fd != l->write_fd)
		close(fd);
	return r;
}

/* 1: holds a piece of this log, 0: does not, -1 with errno. */
static int
read_header(struct log *l, int fd, struct segment *s)
{
	uint8_t b[SEGMENT_HEADER], check[crypto_shorthash_BYTES];
	const uint8_t *p = b + sizeof(magic);
	uint64_t size, generation;

	if (read_all(fd, b, sizeof(b), 0) != 0)
		return -1;
	if (sodium_is_zero(b, sizeof(b)) == 1)
		return 0;
	crypto_shorthash(check, b, HEADER_USED, header_key);
	if (memcmp(b, magic, sizeof(magic)) != 0 ||
	    memcmp(check, b + HEADER_USED, sizeof(check)) != 0) {
		/* one sector is never written by half */
		log_error("store: the header of log.%08u is damaged", (unsigned int)s->slot);
		errno = EILSEQ;
		return -1;
	}
	size = get_u64(&p);
	generation = get_u64(&p);
	s->seq = get_u64(&p);
	s->first = get_u64(&p);
	s->before = get_position(&p);
	s->start = get_position(&p);
	s->void_from = get_u64(&p);
	s->void_to = get_u64(&p);
	memcpy(s->key, p, sizeof(s->key));
	if (generation == l->generation && size != l->segment_size) {
		log_error(
		    "store: the log is made of pieces of %llu bytes", (unsigned long long)size);
		errno = EINVAL;
		return -1;
	}
	return generation == l->generation;
}

/* Room for one more element. */
static int
grow(void **list, size_t *size, size_t n, size_t element)
{
	void *more;

	if (n < *size)
		return 0;
	more = reallocarray(*list, *size * 2 + 16, element);
	if (more == NULL)
		return -1;
	*list = more;
	*size = *size * 2 + 16;
	return 0;
}

static int
add_spare(struct log *l, uint32_t slot)
{
	if (grow((void **)&l->spares, &l->size_spares, l->n_spares, sizeof(*l->spares)) != 0)
		return -1;
	l->spares[l->n_spares++] = slot;
	return 0;
}

static int
by_seq(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	return (x->seq > y->seq) - (x->seq < y->seq);
}

/* One file of the folder. */
static int
scan_slot(struct log *l, uint32_t slot)
{
	struct segment s = {.slot = slot};
	int fd = log_segment_open(l, slot), r;
	off_t size;

	if (fd < 0)
		return -1;
	size = lseek(fd, 0, SEEK_END);
	r = size < SEGMENT_HEADER ? size < 0 ? -1 : 0 : read_header(l, fd, &s);
	close(fd);
	if (r < 0)
		return -1;
	if (slot >= l->next_slot)
		l->next_slot = slot + 1;
	if (r == 0 && (uint64_t)size != l->segment_size) { /* of a crash while it was made */
		char name[NAME_SIZE];

		slot_name(slot, name);
		return unlinkat(l->dir, name, 0);
	}
	if (r == 0)
		return add_spare(l, slot);
	if (grow((void **)&l->segments, &l->size_segments, l->n_segments, sizeof(*l->segments)) !=
	    0)
		return -1;
	l->segments[l->n_segments++] = s;
	return 0;
}

/*
 * Files that were given up are used again or removed in any order as far as the disk is concerned:
 * what is before a gap is old. If it were needed, the state would not be in what is left
 * (log_recover).
 */
static int
keep_newest_run(struct log *l)
{
	size_t first = l->n_segments - 1;

	while (first > 0 && l->segments[first - 1].seq + 1 == l->segments[first].seq)
		first--;
	for (size_t i = 0; i < first; i++)
		if (add_spare(l, l->segments[i].slot) != 0)
			return -1;
	l->n_segments -= first;
	memmove(l->segments, l->segments + first, l->n_segments * sizeof(*l->segments));
	return 0;
}

/* Reads which segments there are. Returns 0, or -1 with errno: EILSEQ when a header is damaged. */
int
log_segment_scan(struct log *l)
{
	int fd = openat(l->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while (r == 0 && (e = readdir(d)) != NULL) {
		unsigned int slot;
		char name[NAME_SIZE];

		if (sscanf(e->d_name, "log.%8u", &slot) != 1)
			continue;
		slot_name(slot, name);
		if (strcmp(name, e->d_name) == 0)
			r = scan_slot(l, slot);
	}
	closedir(d);
	if (r != 0 || l->n_segments == 0)
		return r;
	qsort(l->segments, l->n_segments, sizeof(*l->segments), by_seq);
	return keep_newest_run(l);
}

/* The segment with that place, NULL when it is not there. */
struct segment *
log_segment_of(struct log *l, uint64_t at)
{
	uint64_t seq = at / l->data_size, oldest;

	if (l->n_segments == 0)
		return NULL;
	oldest = l->segments[0].seq;
	if (seq < oldest || seq - oldest >= l->n_segments)
		return NULL;
	return &l->segments[seq - oldest];
}

/* Place in the stream where a segment begins. */
uint64_t
log_segment_at(const struct log *l, const struct segment *s)
{
	return s->seq * l->data_size;
}

/* Reads n bytes of the stream from the files. */
int
log_stream_read(struct log *l, uint64_t at, uint8_t *b, size_t n)
{
	while (n > 0) {
		const struct segment *s = log_segment_of(l, at);
		uint64_t in = at % l->data_size;
		size_t some = l->data_size - in < n ? (size_t)(l->data_size - in) : n;

		if (s == NULL) {
			errno = EILSEQ;
			return -1;
		}
		if (l->read_fd < 0 || l->read_slot != s->slot) {
			if (l->read_fd >= 0)
				close(l->read_fd);
			l->read_fd = log_segment_open(l, s->slot);
			l->read_slot = s->slot;
			if (l->read_fd < 0)
				return -1;
		}
		if (read_all(l->read_fd, b, some, SEGMENT_HEADER + in) != 0)
			return -1;
		at += some;
		b += some;
		n -= some;
	}
	return 0;
}

/* Writes zeros over a part of the stream, which is in one segment; not synced. */
int
log_segment_zero(struct log *l, uint64_t from, uint64_t to)
{
	const struct segment *s = log_segment_of(l, from);
	int fd, r = 0;

	if (s == NULL) {
		errno = EILSEQ;
		return -1;
	}
	if (to > log_segment_at(l, s) + l->data_size)
		to = log_segment_at(l, s) + l->data_size;
	fd = log_segment_open(l, s->slot);
	if (fd < 0)
		return -1;
	while (r == 0 && from < to) {
		size_t n = to - from < ZEROS ? (size_t)(to - from) : ZEROS;

		r = log_pwrite(fd, l->zeros, n, SEGMENT_HEADER + from % l->data_size);
		from += n;
	}
	if (r == 0 && (r = fdatasync(fd)) != 0)
		l->error = errno;
	close(fd);
	return r;
}

/* Makes a file full of zeros. */
static int
make_slot(struct log *l)
{
	char name[NAME_SIZE];
	int fd, r = 0, saved;

	slot_name(l->next_slot, name);
	fd = openat(l->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	for (uint64_t at = 0; r == 0 && at < l->segment_size; at += ZEROS) {
		size_t n = l->segment_size - at < ZEROS ? (size_t)(l->segment_size - at) : ZEROS;

		r = log_pwrite(fd, l->zeros, n, at);
	}
	if (r == 0)
		r = fsync(fd);
	if (r == 0)
		r = fsync(l->dir);
	if (r == 0)
		r = add_spare(l, l->next_slot);
	saved = errno;
	close(fd);
	if (r != 0)
		unlinkat(l->dir, name, 0);
	else
		l->next_slot++;
	errno = saved;
	return r;
}

/* The oldest segment becomes a spare, or goes where there are too many. */
static int
retire(struct log *l)
{
	uint32_t slot = l->segments[0].slot;
	uint64_t from;
	size_t n = 0;

	if (l->n_segments + l->n_spares > l->max_slots) {
		char name[NAME_SIZE];

		slot_name(slot, name);
		if (unlinkat(l->dir, name, 0) != 0)
			return -1;
	} else if (add_spare(l, slot) != 0) {
		return -1;
	}
	memmove(l->segments, l->segments + 1, --l->n_segments * sizeof(*l->segments));
	from = l->segments[0].first;
	while (n < l->n_marks && l->marks[n].at < from)
		n++;
	l->n_marks -= n;
	memmove(l->marks, l->marks + n, l->n_marks * sizeof(*l->marks));
	if (l->last.at < from)
		l->last.at = 0;
	if (l->window_at < from)
		l->window_len = 0;
	return 0;
}

/* Whether no record that starts in the oldest segment is needed. */
static bool
can_retire(const struct log *l)
{
	return l->n_segments > 1 && l->segments[1].start.index <= l->keep;
}

/* What is in that file is no segment any more; on disk when it returns 0. */
static int
clear_header(struct log *l, uint32_t slot)
{
	int fd = log_segment_open(l, slot), r;

	if (fd < 0)
		return -1;
	r = log_pwrite(fd, l->zeros, SEGMENT_HEADER, 0);
	if (r == 0 && (r = fdatasync(fd)) != 0)
		l->error = errno;
	close(fd);
	return r;
}

bool
log_has_room(const struct log *l)
{
	uint64_t newest = l->segments[l->n_segments - 1].seq;

	return (newest + l->n_spares + 1) * l->data_size - l->end_at > ZEROS || can_retire(l);
}

/* Gives up the oldest segments while all that starts in them is up to index. */
int
log_segment_expire(struct log *l, uint64_t index)
{
	while (can_retire(l) && l->segments[1].start.index <= index) {
		/* or the next start would find it before the others, as if it were not given up */
		if (clear_header(l, l->segments[0].slot) != 0 || retire(l) != 0)
			return -1;
	}
	return 0;
}

/*
 * Sees to it that there are files up to a place of the stream. alone: nothing else of the log is
 * needed, so there may be more files than the backlog says. Returns 0, or -1 with errno.
 */
int
log_segment_reserve(struct log *l, uint64_t end_at, bool alone)
{
	uint64_t have = l->segments[l->n_segments - 1].seq;
	uint64_t need = (end_at - 1) / l->data_size;

	if (end_at == 0 || need <= have)
		return 0;
	while (need - have > l->n_spares) {
		bool more = l->n_segments + l->n_spares < l->max_slots;

		if (!more && can_retire(l)) {
			if (retire(l) != 0)
				return -1;
			continue;
		}
		if (!more && !alone) {
			errno = ENOSPC;
			return -1;
		}
		if (l->allowed < l->segment_size) {
			errno = ENOSPC;
		} else if (make_slot(l) == 0) {
			l->allowed -= l->allowed == UINT64_MAX ? 0 : l->segment_size;
			continue;
		}
		if (errno != ENOSPC && errno != EDQUOT)
			return -1;
		errno = ENOSPC;
		if (!can_retire(l) || retire(l) != 0)
			return -1;
	}
	return 0;
}

/* The next segment, in a spare file, becomes the newest. All before it is synced. */
int
log_segment_next(struct log *l, struct position before, struct position start, uint64_t first)
{
	struct segment s = {.before = before, .start = start, .first = first};
	int fd;

	if (l->n_spares == 0) {
		errno = ENOSPC;
		return -1;
	}
	if (grow((void **)&l->segments, &l->size_segments, l->n_segments, sizeof(*l->segments)) !=
	    0)
		return -1;
	s.slot = l->spares[0]; /* the one that has been one longest */
	s.seq = l->n_segments > 0 ? l->segments[l->n_segments - 1].seq + 1 : first / l->data_size;
	randombytes_buf(s.key, sizeof(s.key));
	fd = log_segment_open(l, s.slot);
	if (fd < 0)
		return -1;
	if (l->write_fd >= 0)
		close(l->write_fd);
	l->write_fd = fd;
	if (l->read_fd >= 0 && l->read_slot == s.slot) {
		close(l->read_fd);
		l->read_fd = -1;
	}
	memmove(l->spares, l->spares + 1, --l->n_spares * sizeof(*l->spares));
	l->segments[l->n_segments++] = s;
	return log_segment_write_header(l, &l->segments[l->n_segments - 1]);
}

/* The newest segment is none any more; on disk when it returns 0. */
int
log_segment_drop_newest(struct log *l)
{
	uint32_t slot = l->segments[l->n_segments - 1].slot;

	if (clear_header(l, slot) != 0 || add_spare(l, slot) != 0)
		return -1;
	l->n_segments--;
	if (l->write_fd >= 0)
		close(l->write_fd);
	l->write_fd = -1;
	if (l->n_segments == 0)
		return 0;
	l->write_fd = log_segment_open(l, l->segments[l->n_segments - 1].slot);
	return l->write_fd >= 0 ? 0 : -1;
}

/* A log without records that starts at p; what there was is spare. On disk when it returns 0. */
int
log_segment_begin(struct log *l, uint64_t generation, const struct position *p)
{
	bool same = generation == l->generation;

	while (l->n_segments > 0) {
		if (same) { /* or it would be taken for a piece of the new one */
			if (log_segment_drop_newest(l) != 0)
				return -1;
			continue;
		}
		if (add_spare(l, l->segments[l->n_segments - 1].slot) != 0)
			return -1;
		l->n_segments--;
	}
	l->generation = generation;
	l->end = l->durable = *p;
	l->end_at = l->durable_at = l->data_size;
	if (l->n_spares == 0 && make_slot(l) != 0)
		return -1;
	return log_segment_next(l, *p, *p, l->end_at);
}
