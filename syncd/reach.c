/* SPDX-License-Identifier: ISC */
/*
 * How far back our log reaches, and for how long it still will: its bound in age, and the forecast
 * for a partner that does not have all of it. Its bound in bytes is the log's own.
 */
#include "config.h"

#include "syncd.h"

#include "backlog.h"
#include "lib/log.h"
#include "lib/loop.h"

enum {
	TICK_MS = 1000,
	SHORT_MS = 600000, /* less than this, and more than half of a bound: somebody should know */
};

static struct {
	struct backlog backlog;
	int64_t tick_ms;
} reach;

void
reach_changed(const struct position *at)
{
	backlog_changed(&reach.backlog, now_ms(), at->index, log_place(store_log(syncd.store)));
}

void
reach_start(void)
{
	struct log *log = store_log(syncd.store);

	backlog_start(&reach.backlog, now_ms(), log_start(log).index, log_place(log));
}

/* Changes that are too old go, but for those that a connected partner will be sent. */
int64_t
reach_tick(int64_t now)
{
	int64_t age_ms = child_conf(&syncd.child)->general.data_backlog_age_ms;
	uint64_t index, needed = feed_needed();

	if (age_ms == CONF_NEVER)
		return INT64_MAX;
	if (now < reach.tick_ms + TICK_MS)
		return reach.tick_ms + TICK_MS;
	reach.tick_ms = now;
	index = backlog_before(&reach.backlog, now - age_ms);
	if (log_expire(store_log(syncd.store), index < needed ? index : needed) != 0)
		log_warn("store: changes that are older than data.backlog-age cannot be dropped");
	return now + TICK_MS;
}

void
reach_describe(struct ctl_data_partner *p, uint64_t held, int connected, int64_t now)
{
	struct log *log = store_log(syncd.store);
	int64_t age_ms = child_conf(&syncd.child)->general.data_backlog_age_ms;
	uint64_t end = store_end(syncd.store).index, ms;

	p->fill_bytes = backlog_rate(&reach.backlog, now, log_place(log));
	p->room_bytes = log_room(log, held);
	p->behind_ms = p->forecast_ms = -1;
	if (held >= end)
		return;
	p->behind_ms = backlog_age(&reach.backlog, now, held);
	if (held < log_start(log).index) {
		p->forecast_ms = 0;
	} else if (p->fill_bytes > 0) {
		ms = p->room_bytes / p->fill_bytes;
		p->forecast_ms = ms < CTL_TIME_MAX / 1000 ? (int64_t)ms * 1000 : CTL_TIME_MAX;
	}
	if (!connected && age_ms != CONF_NEVER && p->forecast_ms != 0 &&
	    (p->forecast_ms < 0 || age_ms - p->behind_ms < p->forecast_ms))
		p->forecast_ms = age_ms > p->behind_ms ? age_ms - p->behind_ms : 0;
	p->reaches_short =
	    p->forecast_ms == 0 ||
	    (p->forecast_ms > 0 && p->forecast_ms < SHORT_MS &&
		(p->room_bytes < log_room(log, end) / 2 ||
		    (!connected && age_ms != CONF_NEVER && p->behind_ms > age_ms / 2)));
}
