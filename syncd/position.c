/* SPDX-License-Identifier: ISC */
/*
 * What roled is told of our data: where it ends, and whether it was all of main's when main was
 * last heard. Told at changes of the answer, and once in a status interval.
 */
#include "config.h"

#include "syncd.h"

#include <stdio.h>
#include <string.h>

#include "lib/loop.h"

#include "bundle.h"

enum { SHORT_MS = 2000 }; /* a link that is made again takes less: nobody has to be told */

static struct {
	int64_t in_sync_ms; /* last time that we had everything; 0: never */
	int64_t lost_ms;    /* main was last heard then: what it did later nobody can have */
	int64_t told_ms;
	int64_t enough_ms; /* last time that there were as many standbys as a write waits for */
	struct position told;
	uint8_t told_flags;
	uint8_t stale;
} state;

int
data_is_blank(void)
{
	static const uint8_t zero[STORE_ID];

	return memcmp(store_id(syncd.store), zero, STORE_ID) == 0;
}

int
data_may_begin(void)
{
	return syncd.role != DATA_DMZ && syncd.main == NO_SERVER && data_is_blank();
}

/* Everything that main had when it was last heard; -1: never. */
static int64_t
behind_ms(int64_t now)
{
	int64_t until = (syncd.flags & DATA_MAIN_HEARD) != 0 ? now : state.lost_ms;

	if (state.in_sync_ms == 0)
		return -1;
	return until > state.in_sync_ms ? until - state.in_sync_ms : 0;
}

/* What an admin has to do something about. */
static void
tell_trouble(struct ctl_data *d, int64_t now)
{
	static const uint8_t trouble[] = {
	    [STORE_WELL] = DATA_WELL, [STORE_FULL] = DATA_FULL, [STORE_FAILED] = DATA_DISK};
	struct store_room room;

	store_describe(syncd.store, &room);
	d->trouble = trouble[room.trouble];
	d->used_bytes = room.used;
	d->room_bytes = room.left;
	d->bundles = (uint16_t)bundle_count(now);
	if (syncd.role != DATA_MAIN || data_is_blank() || feed_enough())
		state.enough_ms = now;
	d->sync_short = now - state.enough_ms >= SHORT_MS;
}

/* The figures for bulkheadctl data and status. */
static void
tell_all(int64_t now)
{
	static const char *const roles[DATA_ROLE_MAX] = {"none", "main", "standby", "dmz"};
	const struct conf_general *g = &child_conf(&syncd.child)->general;
	struct position end = store_end(syncd.store), main_end;
	struct ctl_data d = {.epoch = end.epoch, .index = end.index};
	struct face_action_counts n;
	int64_t heard_ms;

	(void)follow_streams(&main_end, &heard_ms);
	snprintf(d.role, sizeof(d.role), "%s", roles[syncd.role]);
	snprintf(d.stream, sizeof(d.stream), "%s", syncd.role == DATA_MAIN ? "" : follow_state());
	d.blank = (uint8_t)data_is_blank();
	memcpy(d.id, store_id(syncd.store), sizeof(d.id));
	d.durable = store_durable(syncd.store).index;
	d.log_start = log_start(store_log(syncd.store)).index;
	d.keys = store_count(syncd.store);
	d.main_index = syncd.role == DATA_MAIN ? end.index : main_end.index;
	d.in_sync_age_ms = syncd.role == DATA_MAIN ? 0 : behind_ms(now);
	d.sync_mode = g->sync_mode;
	d.sync_standbys = g->sync_standbys;
	d.lost_if_dead = syncd.role == DATA_MAIN ? feed_alone() : 0;
	tell_trouble(&d, now);
	d.clients = syncd.face.n_clients;
	face_actions_count(&syncd.face, &n);
	d.action_names = (uint32_t)n.names;
	d.action_apps = (uint32_t)n.apps;
	d.actions_waiting = (uint32_t)n.waiting;
	d.actions_given = (uint32_t)n.given;
	d.actions_done = n.done;
	d.actions_failed = n.failed;
	d.actions_unknown = n.unknown;
	d.actions_refused = n.refused;
	tell_state(&d);
	if (syncd.role == DATA_MAIN)
		feed_tell(now);
}

void
position_report(int64_t now)
{
	const struct conf *c = child_conf(&syncd.child);
	struct position end, main_end;
	int64_t heard_ms, behind = behind_ms(now);
	uint64_t items = 0;
	uint8_t flags = 0;

	if (!syncd.running || c == NULL)
		return; /* roled may be there first, and the store opens with the first config */
	end = store_durable(syncd.store);
	if ((syncd.flags & DATA_MAIN_HEARD) != 0)
		state.lost_ms = now;
	(void)follow_streams(&main_end, &heard_ms);
	if (syncd.role == DATA_MAIN) {
		state.in_sync_ms = now;
		state.stale = 0;
		behind = 0;
	} else if (main_end.index > end.index) {
		items = main_end.index - end.index;
	}
	if (data_is_blank() && (syncd.flags & DATA_HAD_DATA) == 0) {
		flags = DATA_IN_SYNC; /* a group without data misses nothing */
		behind = 0;
	} else if (behind >= 0) {
		flags = DATA_IN_SYNC;
	}
	if (data_is_blank())
		flags |= DATA_BLANK;
	if (syncd.role != DATA_MAIN && (flags & DATA_IN_SYNC) != 0)
		state.stale = behind > c->general.sync_bound_ms;
	if (state.stale)
		flags |= DATA_STALE;
	tell_all(now);
	tell_position(flags, &end, items, behind >= 0 ? behind : 0);
	state.told_ms = now;
	state.told = end;
	state.told_flags = flags;
}

void
position_in_sync(void)
{
	int64_t now = now_ms();
	int was_behind = (state.told_flags & DATA_IN_SYNC) == 0 || state.stale;

	state.in_sync_ms = now;
	if (was_behind)
		position_report(now);
}

void
position_main_blank(void)
{
	int64_t now = now_ms();

	if ((state.told_flags & DATA_IN_SYNC) != 0 && !state.stale)
		state.in_sync_ms = now;
}

int64_t
position_staleness(int64_t now)
{
	return syncd.role == DATA_MAIN ? 0 : behind_ms(now);
}

int64_t
position_tick(int64_t now)
{
	int64_t interval_ms = child_conf(&syncd.child)->general.status_interval_ms;

	if (now >= state.told_ms + interval_ms)
		position_report(now);
	return state.told_ms + interval_ms;
}
