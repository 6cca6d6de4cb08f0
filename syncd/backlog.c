/* SPDX-License-Identifier: ISC */
/*
 * Ages of changes.
 */
#include "backlog.h"

#include <string.h>

enum {
	STEP_MS = 1000,	   /* at first */
	LATELY_MS = 10000, /* for the rate */
};

void
backlog_start(struct backlog *b, int64_t now, uint64_t index, uint64_t place)
{
	memset(b, 0, sizeof(*b));
	b->step_ms = STEP_MS;
	b->mark[0] = (struct backlog_mark){now, index, place};
	b->n = 1;
	b->newest_ms = now;
	b->newest = index;
}

/* Every second one goes: the rest is twice as far apart. The oldest and the newest stay. */
static void
thin_out(struct backlog *b)
{
	size_t kept = 1;

	for (size_t i = 2; i < b->n; i += 2)
		b->mark[kept++] = b->mark[i];
	if (b->n % 2 == 0)
		b->mark[kept++] = b->mark[b->n - 1];
	b->n = kept;
	b->step_ms *= 2;
}

void
backlog_changed(struct backlog *b, int64_t now, uint64_t index, uint64_t place)
{
	struct backlog_mark *last;

	while (b->n > 1 && b->mark[b->n - 1].index >= index)
		b->n--;
	if (b->n == 0 || b->mark[0].index >= index || b->mark[b->n - 1].place > place) {
		backlog_start(b, now, index > 0 ? index - 1 : 0, place);
		b->newest = index;
		return;
	}
	b->newest_ms = now;
	b->newest = index;
	last = &b->mark[b->n - 1];
	if (last->index + 1 == index) { /* nothing happened since: it was so until now */
		last->ms = now;
		return;
	}
	if (now - last->ms < b->step_ms)
		return;
	if (b->n == BACKLOG_MARKS)
		thin_out(b);
	b->mark[b->n++] = (struct backlog_mark){now, index - 1, place};
}

int64_t
backlog_age(const struct backlog *b, int64_t now, uint64_t index)
{
	size_t i = b->n;

	if (i == 0)
		return 0;
	while (i > 1 && b->mark[i - 1].index > index)
		i--;
	return now > b->mark[i - 1].ms ? now - b->mark[i - 1].ms : 0;
}

uint64_t
backlog_before(const struct backlog *b, int64_t at_ms)
{
	size_t i = b->n;

	if (b->n > 0 && b->newest_ms <= at_ms)
		return b->newest;
	while (i > 0 && b->mark[i - 1].ms > at_ms)
		i--;
	return i > 0 ? b->mark[i - 1].index : 0;
}

uint64_t
backlog_rate(const struct backlog *b, int64_t now, uint64_t place)
{
	size_t i = b->n;
	int64_t ms;

	if (i == 0)
		return 0;
	while (i > 1 && now - b->mark[i - 1].ms < LATELY_MS)
		i--;
	ms = now - b->mark[i - 1].ms;
	if (place <= b->mark[i - 1].place)
		return 0;
	return (place - b->mark[i - 1].place) * 1000 / (uint64_t)(ms > STEP_MS ? ms : STEP_MS);
}
