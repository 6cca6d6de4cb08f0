/* SPDX-License-Identifier: ISC */
/*
 * The log: appending, flushing, reading.
 */
#include "config.h"

#include "log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"

enum { SEGMENTS_MIN = 4, TAG = 0, BACK = 8, LENGTH = 12, EPOCH = 16, INDEX = 24, HASH = 32 };

/*
 * The same on all servers of all groups: it says which histories are equal, it keeps nothing out.
 */
static const uint8_t chain_key[crypto_shorthash_KEYBYTES] = "bulkhead changes";

static void
put_u64(uint8_t *p, uint64_t v)
{
	for (unsigned int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t
get_u64(const uint8_t *p)
{
	uint64_t v = 0;

	for (unsigned int i = 0; i < 8; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static void
put_u32(uint8_t *p, uint32_t v)
{
	for (unsigned int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t
get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void
log_header_read(const uint8_t *b, struct record_header *h)
{
	h->tag = get_u64(b + TAG);
	h->back = get_u32(b + BACK);
	h->len = get_u32(b + LENGTH);
	h->epoch = get_u64(b + EPOCH);
	h->index = get_u64(b + INDEX);
	h->hash = get_u64(b + HASH);
}

/* The tag that a header at this place of this segment has to have. */
uint64_t
log_tag(const struct segment *s, uint64_t at, const uint8_t *header)
{
	uint8_t b[RECORD_HEADER], hash[crypto_shorthash_BYTES];

	memcpy(b, header, sizeof(b));
	put_u64(b + TAG, at);
	crypto_shorthash(hash, b, sizeof(b), s->key);
	return get_u64(hash);
}

/* The hash of a record with a body of len bytes; the record is as before afterwards. */
uint64_t
log_chain(uint8_t *record, size_t len, uint64_t hash_before)
{
	uint8_t hash[crypto_shorthash_BYTES], saved[8];

	memcpy(saved, record + HASH, sizeof(saved));
	put_u64(record + HASH, hash_before);
	crypto_shorthash(hash, record + LENGTH, RECORD_HEADER - LENGTH + len, chain_key);
	memcpy(record + HASH, saved, sizeof(saved));
	return get_u64(hash);
}

/* Bytes of a record in the stream. */
size_t
log_record_size(size_t len)
{
	return (RECORD_HEADER + len + 7) & ~(size_t)7;
}

struct position
log_end(const struct log *l)
{
	return l->end;
}

struct position
log_durable(const struct log *l)
{
	return l->durable;
}

struct position
log_start(const struct log *l)
{
	return l->segments[0].start;
}

void
log_allow(struct log *l, uint64_t bytes)
{
	l->allowed = bytes;
}

uint64_t
log_files(const struct log *l)
{
	return l->n_segments + l->n_spares;
}

bool
log_failed(const struct log *l)
{
	return l->error != 0;
}

void
log_keep(struct log *l, uint64_t index)
{
	l->keep = index;
}

struct log *
log_open(int dir, const struct log_options *o)
{
	struct log *l = calloc(1, sizeof(*l));
	int saved;

	if (l == NULL)
		return NULL;
	l->dir = dir;
	l->write_fd = l->read_fd = -1;
	l->allowed = UINT64_MAX;
	l->segment_size = o->segment != 0 ? o->segment : LOG_SEGMENT;
	l->data_size = l->segment_size - SEGMENT_HEADER;
	l->generation = o->generation;
	l->max_slots = (size_t)((o->backlog + l->segment_size - 1) / l->segment_size);
	if (l->max_slots < SEGMENTS_MIN)
		l->max_slots = SEGMENTS_MIN;
	l->keep = o->base.index;
	l->zeros = calloc(1, ZEROS);
	if (l->zeros != NULL && log_segment_scan(l) == 0 && log_recover(l, &o->base) == 0)
		return l;
	saved = errno;
	log_error("store: the log cannot be opened: %s", strerror(errno));
	log_close(l);
	errno = saved;
	return NULL;
}

void
log_close(struct log *l)
{
	if (l == NULL)
		return;
	if (l->write_fd >= 0)
		close(l->write_fd);
	if (l->read_fd >= 0)
		close(l->read_fd);
	free(l->segments);
	free(l->spares);
	free(l->marks);
	free(l->pending);
	free(l->window);
	free(l->zeros);
	free(l);
}

/* Remembers a place, unless one near it is known. */
int
log_mark(struct log *l, const struct mark *m)
{
	size_t i = l->n_marks;

	while (i > 0 && l->marks[i - 1].at > m->at)
		i--;
	if (i > 0 && m->at - l->marks[i - 1].at < MARK_EVERY)
		return 0;
	if (i < l->n_marks && l->marks[i].at - m->at < MARK_EVERY)
		return 0;
	if (l->n_marks == l->size_marks) {
		size_t size = l->size_marks * 2 + 64;
		struct mark *more = reallocarray(l->marks, size, sizeof(*more));

		if (more == NULL)
			return -1;
		l->marks = more;
		l->size_marks = size;
	}
	memmove(l->marks + i + 1, l->marks + i, (l->n_marks - i) * sizeof(*m));
	l->marks[i] = *m;
	l->n_marks++;
	return 0;
}

/* Forgets the places behind at. */
static void
forget_behind(struct log *l, uint64_t at)
{
	while (l->n_marks > 0 && l->marks[l->n_marks - 1].at > at)
		l->n_marks--;
	if (l->last.at > at)
		memset(&l->last, 0, sizeof(l->last));
	l->window_len = 0;
}

/* Room for the pending part of the stream, and zeros for a header behind it. */
static int
pending_reserve(struct log *l, size_t n)
{
	size_t size = l->pending_size;
	uint8_t *more;

	if (n + RECORD_HEADER <= size)
		return 0;
	size += size < 64 * KEEP_MAX ? size : size / 4;
	if (size < n + RECORD_HEADER)
		size = n + RECORD_HEADER;
	more = realloc(l->pending, size);
	if (more == NULL)
		return -1;
	l->pending = more;
	l->pending_size = size;
	return 0;
}

static void
pending_shrink(struct log *l)
{
	if (l->pending_size <= 16 * KEEP_MAX)
		return;
	free(l->pending);
	l->pending = NULL;
	l->pending_size = 0;
}

/* Takes everything off the disk that a failed write may have left. */
static int
mend(struct log *l)
{
	const struct segment *s;

	while (l->n_segments > 1 &&
	       log_segment_at(l, &l->segments[l->n_segments - 1]) >= l->durable_at) {
		s = &l->segments[l->n_segments - 1];
		if (log_segment_at(l, s) == l->durable_at && s->before.index == l->durable.index &&
		    s->first == l->durable_at)
			break; /* it was begun in time */
		if (log_segment_drop_newest(l) != 0)
			return -1;
	}
	s = log_segment_of(l, l->durable_at);
	if (s != NULL && log_segment_zero(l, l->durable_at, l->torn_to) != 0)
		return -1;
	l->torn_to = 0;
	return 0;
}

int
log_append(struct log *l, uint64_t epoch, struct slice body, struct position *out)
{
	size_t size = log_record_size(body.len), used = (size_t)(l->end_at - l->durable_at);
	struct mark m = {l->end, l->end_at};
	bool alone = l->keep >= l->end.index;
	uint8_t *r;

	if (l->error != 0 || body.len == 0 || body.len > LOG_BODY_MAX || epoch < l->end.epoch) {
		errno = l->error != 0 ? l->error : body.len > LOG_BODY_MAX ? E2BIG : EINVAL;
		return -1;
	}
	if (l->torn_to != 0 && mend(l) != 0)
		return -1;
	if (log_segment_reserve(l, l->end_at + size, alone) != 0 ||
	    pending_reserve(l, used + size) != 0 || log_mark(l, &m) != 0)
		return -1;
	r = l->pending + used;
	memset(r, 0, RECORD_HEADER);
	put_u32(r + LENGTH, (uint32_t)body.len);
	put_u64(r + EPOCH, epoch);
	put_u64(r + INDEX, l->end.index + 1);
	memcpy(r + RECORD_HEADER, body.data, body.len);
	memset(r + RECORD_HEADER + body.len, 0, size - RECORD_HEADER - body.len);
	l->newest_before = l->end;
	l->newest_at = l->end_at;
	l->end.hash = log_chain(r, body.len, l->end.hash);
	put_u64(r + HASH, l->end.hash);
	l->end.epoch = epoch;
	l->end.index++;
	l->end_at += size;
	if (out != NULL)
		*out = l->end;
	return 0;
}

void
log_unappend(struct log *l)
{
	l->end = l->newest_before;
	l->end_at = l->newest_at;
	forget_behind(l, l->end_at);
}

/* A border of two segments inside what is pending: what is before it, what starts behind it. */
static void
describe_border(const struct log *l, uint64_t border, struct segment *s)
{
	struct record_header h;
	uint64_t at = l->durable_at;

	s->before = s->start = l->durable;
	s->first = at;
	while (at < border && at < l->end_at) {
		log_header_read(l->pending + (at - l->durable_at), &h);
		at += log_record_size(h.len);
		s->start = (struct position){h.epoch, h.index, h.hash};
		if (at <= border)
			s->before = s->start;
		s->first = at;
	}
}

/* Tags for the records that start in a segment. Returns the place of the next one. */
static uint64_t
put_tags(struct log *l, const struct segment *s, uint64_t at)
{
	uint64_t end = log_segment_at(l, s) + l->data_size;

	while (at < l->end_at && at < end) {
		uint8_t *r = l->pending + (at - l->durable_at);

		put_u32(r + BACK, (uint32_t)(get_u64(r + INDEX) - l->durable.index));
		put_u64(r + TAG, log_tag(s, at, r));
		at += log_record_size(get_u32(r + LENGTH));
	}
	return at;
}

/*
 * The disk failed, and what it has nobody knows. The kernel keeps what was written in memory and
 * says of it from now on that all is well: the next process would read it there and take it for
 * durable. So it is taken back, as far as that goes.
 */
static void
abandon(struct log *l, int error)
{
	l->error = error;
	log_error("store: the disk failed under the log: nothing is written any more before syncd "
		  "is started again");
	if (l->torn_to != 0)
		(void)mend(l);
	l->error = error;
}

static int
sync_file(struct log *l)
{
	if (fdatasync(l->write_fd) == 0)
		return 0;
	l->error = errno == ENOSPC || errno == EDQUOT ? 0 : errno;
	return -1;
}

/* Writes what is pending, through as many segments as it takes. */
static int
write_pending(struct log *l)
{
	uint64_t at = l->durable_at, tagged = at;

	memset(l->pending + (l->end_at - l->durable_at), 0, RECORD_HEADER);
	while (at < l->end_at) {
		const struct segment *s = &l->segments[l->n_segments - 1];
		uint64_t end = log_segment_at(l, s) + l->data_size;
		size_t n;

		if (at == end) {
			struct segment next;

			describe_border(l, end, &next);
			if ((at > l->durable_at && sync_file(l) != 0) ||
			    log_segment_next(l, next.before, next.start, next.first) != 0)
				return -1;
			continue;
		}
		tagged = put_tags(l, s, tagged);
		n = (size_t)(end - at);
		if (n > l->end_at - at + RECORD_HEADER)
			n = (size_t)(l->end_at - at + RECORD_HEADER);
		l->torn_to = at + n;
		if (log_pwrite(l->write_fd, l->pending + (at - l->durable_at), n,
			SEGMENT_HEADER + at % l->data_size) != 0)
			return -1;
		at += n;
	}
	return sync_file(l);
}

int
log_flush(struct log *l)
{
	bool tried = false;
	int r = -1, saved;

	if (l->error != 0)
		errno = l->error;
	else if (l->end_at == l->durable_at)
		return 0;
	else {
		tried = true;
		r = write_pending(l);
	}
	saved = errno;
	if (r == 0) {
		l->durable = l->end;
		l->durable_at = l->end_at;
		l->torn_to = 0;
	} else {
		l->end = l->durable;
		l->end_at = l->durable_at;
		forget_behind(l, l->end_at);
		if (tried && (l->error != 0 || saved == EIO))
			abandon(l, saved);
	}
	pending_shrink(l);
	errno = saved;
	return r;
}

/* n bytes of the stream, good until the next call; NULL with errno. */
uint8_t *
log_fetch(struct log *l, uint64_t at, size_t n)
{
	uint64_t limit = l->durable_at;
	size_t some;

	if (at >= l->durable_at)
		return l->pending + (at - l->durable_at);
	if (at >= l->window_at && at + n <= l->window_at + l->window_len)
		return l->window + (at - l->window_at);
	some = n > WINDOW ? n : limit - at < WINDOW ? (size_t)(limit - at) : WINDOW;
	l->window_len = 0;
	if (some > l->window_size || (l->window_size > KEEP_MAX && some <= KEEP_MAX)) {
		free(l->window);
		l->window_size = some > WINDOW ? some : WINDOW;
		l->window = malloc(l->window_size);
		if (l->window == NULL) {
			l->window_size = 0;
			return NULL;
		}
	}
	if (log_stream_read(l, at, l->window, some) != 0)
		return NULL;
	l->window_at = at;
	l->window_len = some;
	return l->window;
}

/*
 * The header of the record at a place and its first bytes. Returns 1, 0 when there is none that
 * follows *before, -1 with errno.
 */
int
log_record_at(struct log *l, uint64_t at, const struct position *before, struct record_header *h,
    uint8_t **bytes)
{
	const struct segment *s = log_segment_of(l, at);
	uint64_t limit = at >= l->durable_at ? l->end_at : l->durable_at;

	if (at > limit || limit - at < RECORD_HEADER)
		return 0;
	*bytes = log_fetch(l, at, RECORD_HEADER);
	if (*bytes == NULL)
		return -1;
	log_header_read(*bytes, h);
	if (h->index != before->index + 1 || h->epoch < before->epoch || h->len == 0 ||
	    h->len > LOG_BODY_MAX || log_record_size(h->len) > limit - at)
		return 0;
	if (at < l->durable_at && (s == NULL || (at >= s->void_from && at < s->void_to) ||
				      log_tag(s, at, *bytes) != h->tag))
		return 0;
	return 1;
}

/* The known place that is nearest before the record with an index. */
static struct mark
nearest_mark(const struct log *l, uint64_t index)
{
	struct mark best = {l->segments[0].start, l->segments[0].first};
	size_t low = 0, high = l->n_marks;

	for (size_t i = 1; i < l->n_segments && l->segments[i].start.index < index; i++)
		best = (struct mark){l->segments[i].start, l->segments[i].first};
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (l->marks[middle].before.index < index)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 0 && l->marks[low - 1].at > best.at)
		best = l->marks[low - 1];
	if (l->last.at > best.at && l->last.before.index < index)
		best = l->last;
	return best;
}

/* The place of the record with an index, which is in the log. */
static int
find(struct log *l, uint64_t index, struct mark *m)
{
	struct record_header h;
	uint8_t *bytes;

	*m = nearest_mark(l, index);
	while (m->before.index + 1 < index) {
		int r = log_record_at(l, m->at, &m->before, &h, &bytes);

		if (r != 1) {
			errno = r == 0 ? EILSEQ : errno;
			return -1;
		}
		m->at += log_record_size(h.len);
		m->before = (struct position){h.epoch, h.index, h.hash};
		if (log_mark(l, m) != 0)
			return -1;
	}
	return 0;
}

int
log_read(struct log *l, uint64_t index, struct position *at, struct slice *body)
{
	struct record_header h;
	struct mark m;
	uint8_t *bytes;
	int r;

	if (index <= log_start(l).index || index > l->end.index)
		return 0;
	if (find(l, index, &m) != 0)
		return -1;
	r = log_record_at(l, m.at, &m.before, &h, &bytes);
	if (r == 1)
		bytes = log_fetch(l, m.at, RECORD_HEADER + h.len);
	if (r < 0 || (r == 1 && bytes == NULL))
		return -1;
	if (r == 0 || (m.at < l->durable_at && log_chain(bytes, h.len, m.before.hash) != h.hash)) {
		log_error("store: record %llu of the log is damaged", (unsigned long long)index);
		errno = EILSEQ;
		return -1;
	}
	at->epoch = h.epoch;
	at->index = h.index;
	at->hash = h.hash;
	body->data = bytes + RECORD_HEADER;
	body->len = h.len;
	l->last.before = *at;
	l->last.at = m.at + log_record_size(h.len);
	return 1;
}

int
log_at(struct log *l, uint64_t index, struct position *at)
{
	struct mark m;

	if (index < log_start(l).index || index > l->end.index)
		return 0;
	if (index == l->end.index)
		*at = l->end;
	else if (index == log_start(l).index)
		*at = log_start(l);
	else if (find(l, index + 1, &m) == 0)
		*at = m.before;
	else
		return 0;
	return 1;
}

uint64_t
log_bytes_behind(struct log *l, uint64_t index)
{
	struct mark m = {{0}, l->segments[0].first};

	if (index >= l->end.index)
		return 0;
	if (index > log_start(l).index && find(l, index + 1, &m) != 0)
		return 0;
	return l->end_at - m.at;
}

uint64_t
log_place(const struct log *l)
{
	return l->end_at;
}

uint64_t
log_room(struct log *l, uint64_t index)
{
	struct mark m = {l->end, l->end_at};
	uint64_t until;

	if (index < log_start(l).index || (index < l->end.index && find(l, index + 1, &m) != 0))
		return 0;
	until = (m.at / l->data_size + l->max_slots) * l->data_size;
	return until > l->end_at ? until - l->end_at : 0;
}

int
log_expire(struct log *l, uint64_t index)
{
	return l->error != 0 || l->torn_to != 0 ? 0 : log_segment_expire(l, index);
}

/* Takes the part of the stream behind a place off the disk, in steps that a crash may cut. */
static int
wipe_behind(struct log *l, uint64_t at)
{
	struct segment *s;
	uint64_t old_end = l->durable_at;

	while (l->n_segments > 1 && log_segment_at(l, &l->segments[l->n_segments - 1]) >= at) {
		s = &l->segments[l->n_segments - 1];
		if (s->first == at && log_segment_at(l, s) == at)
			break;
		if (log_segment_drop_newest(l) != 0)
			return -1;
	}
	s = &l->segments[l->n_segments - 1];
	if (at >= old_end)
		return 0;
	s->void_from = at;
	s->void_to = old_end;
	if (log_segment_write_header(l, s) != 0 || log_segment_zero(l, at, old_end) != 0)
		return -1;
	s->void_from = s->void_to = 0;
	return log_segment_write_header(l, s);
}

int
log_truncate(struct log *l, const struct position *p)
{
	struct position at;
	struct mark m = {*p, l->end_at};

	if (l->error != 0 || log_at(l, p->index, &at) == 0 || at.epoch != p->epoch ||
	    at.hash != p->hash) {
		errno = l->error != 0 ? l->error : EINVAL;
		return -1;
	}
	if (l->torn_to != 0 && mend(l) != 0)
		return -1;
	if (p->index < l->end.index && p->index > log_start(l).index &&
	    find(l, p->index + 1, &m) != 0)
		return -1;
	if (p->index < l->end.index && p->index == log_start(l).index)
		m.at = l->segments[0].first;
	if (m.at < l->durable_at) {
		if (wipe_behind(l, m.at) != 0)
			return -1;
		l->durable = *p;
		l->durable_at = m.at;
	}
	l->end = *p;
	l->end_at = m.at;
	forget_behind(l, m.at);
	return 0;
}

int
log_reset(struct log *l, uint64_t generation, const struct position *p)
{
	if (l->error != 0) {
		errno = l->error;
		return -1;
	}
	forget_behind(l, 0);
	l->torn_to = 0;
	l->keep = p->index;
	return log_segment_begin(l, generation, p);
}
