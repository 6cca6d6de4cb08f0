/* SPDX-License-Identifier: ISC */
/*
 * What a crash left of the log: where it ends, and whether what is missing there was ever
 * acknowledged.
 */
#include "config.h"

#include "log_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"

static int
damaged(const char *what, uint64_t index)
{
	log_error("store: %s at record %llu of the log: it cannot be trusted", what,
	    (unsigned long long)index);
	errno = EILSEQ;
	return -1;
}

/* Whether the header at a place was written by us, here. */
static bool
is_ours(const struct segment *s, uint64_t at, const uint8_t *bytes, const struct record_header *h)
{
	return h->len != 0 && h->len <= LOG_BODY_MAX && (at < s->void_from || at >= s->void_to) &&
	       log_tag(s, at, bytes) == h->tag;
}

/* Follows the chain from *m as far as it goes; m and l->durable become its end. */
static int
follow_chain(struct log *l, struct mark *m, const struct position *base)
{
	struct record_header h;
	uint8_t *bytes;
	int r;

	for (;;) {
		if (m->before.index == base->index &&
		    (m->before.hash != base->hash || m->before.epoch != base->epoch))
			return damaged("the log is not that of the state", base->index);
		r = log_record_at(l, m->at, &m->before, &h, &bytes);
		if (r <= 0)
			return r;
		bytes = log_fetch(l, m->at, RECORD_HEADER + h.len);
		if (bytes == NULL)
			return -1;
		if (log_chain(bytes, h.len, m->before.hash) != h.hash)
			return 0;
		if (log_mark(l, m) != 0)
			return -1;
		m->before = (struct position){h.epoch, h.index, h.hash};
		m->at += log_record_size(h.len);
	}
}

/*
 * Looks at what is behind the end, in its segment. A record that was written when one behind the
 * end was already on disk proves damage. Others are of a write that did not come to its end: they
 * are taken away, so that they never look like a part of what is written in front of them.
 */
static int
look_behind(struct log *l, const struct mark *end, bool wipe)
{
	const struct segment *s = log_segment_of(l, end->at);
	uint64_t limit = s != NULL ? log_segment_at(l, s) + l->data_size : 0;

	for (uint64_t at = end->at; at + RECORD_HEADER <= limit; at += 8) {
		const uint8_t *bytes = log_fetch(l, at, RECORD_HEADER);
		struct record_header h;

		if (bytes == NULL)
			return -1;
		log_header_read(bytes, &h);
		if (h.index <= end->before.index || h.back == 0 || h.back > h.index ||
		    !is_ours(s, at, bytes, &h))
			continue;
		if (h.index - h.back > end->before.index)
			return damaged("damage", end->before.index + 1);
		if (wipe && log_segment_zero(l, at, at + RECORD_HEADER) != 0)
			return -1;
	}
	return 0;
}

/* Segments that were begun for a record that is torn. */
static int
drop_behind(struct log *l, const struct mark *end)
{
	while (l->n_segments > 1) {
		const struct segment *s = &l->segments[l->n_segments - 1];

		if (log_segment_at(l, s) < end->at ||
		    (log_segment_at(l, s) == end->at && s->start.index == end->before.index))
			return 0;
		if (log_segment_drop_newest(l) != 0)
			return -1;
	}
	return 0;
}

/* A truncation that a crash interrupted comes to its end. */
static int
finish_truncation(struct log *l)
{
	struct segment *s = &l->segments[l->n_segments - 1];

	if (s->void_from == s->void_to)
		return 0;
	if (log_segment_zero(l, s->void_from, s->void_to) != 0)
		return -1;
	s->void_from = s->void_to = 0;
	return log_segment_write_header(l, s);
}

/* The last segment that starts at or before a position. */
static bool
find_segment(const struct log *l, uint64_t index, struct mark *m)
{
	bool found = false;

	for (size_t i = 0; i < l->n_segments && l->segments[i].start.index <= index; i++) {
		*m = (struct mark){l->segments[i].start, l->segments[i].first};
		found = true;
	}
	return found;
}

/* Finds the end, cuts off what is torn. Returns 0, or -1 with errno. */
int
log_recover(struct log *l, const struct position *base)
{
	struct segment *newest;
	struct mark m;

	if (l->n_segments == 0)
		return log_segment_begin(l, l->generation, base);
	newest = &l->segments[l->n_segments - 1];
	l->write_fd = log_segment_open(l, newest->slot);
	if (l->write_fd < 0 || finish_truncation(l) != 0)
		return -1;
	if (!find_segment(l, base->index, &m))
		return damaged("the state is older than the log: damage", base->index);
	/* as far as can be read */
	l->end_at = l->durable_at = log_segment_at(l, newest) + l->data_size;
	if (follow_chain(l, &m, base) != 0)
		return -1;
	if (newest->before.index > m.before.index)
		return damaged("damage", m.before.index + 1);
	/* nothing is changed before it is sure that all of it can be */
	if (look_behind(l, &m, false) != 0 || look_behind(l, &m, true) != 0 ||
	    drop_behind(l, &m) != 0)
		return -1;
	/* what was read may be in memory only, of a process that ended before its sync */
	if (fdatasync(l->write_fd) != 0)
		return -1;
	l->window_len = 0;
	l->end = l->durable = m.before;
	l->end_at = l->durable_at = m.at;
	if (m.before.index >= base->index)
		return 0;
	/* never with records that were acknowledged: the state was written after them */
	log_warn("store: the log is damaged behind record %llu, all of which is in the state: "
		 "begun anew",
	    (unsigned long long)m.before.index);
	return log_segment_begin(l, l->generation, base);
}
