/* SPDX-License-Identifier: ISC */
/*
 * Every action that ended goes into the ledger, which is roled's: the first of its kind (name, who,
 * app, end) at once, those that follow within a minute as one entry with their number. So a flood
 * neither fills the ledger nor goes unseen. Kinds beyond the table are counted together, by their
 * end.
 */
#include "config.h"

#include "syncd.h"

#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "lib/loop.h"

enum {
	KINDS = 64,
	TOGETHER_MS = 60000,
	AGAIN_MS = 1000, /* roled is not there: said again */
};

struct kind {
	struct ctl_action what; /* times: not told yet */
	int64_t due_ms;		/* those are told then; 0: free */
};

static struct kind kinds[KINDS + CONTROL_END_MAX];

static void
look_at(struct kind *k, int64_t now)
{
	if (k->due_ms == 0 || now < k->due_ms)
		return;
	if (k->what.times == 0) {
		k->due_ms = 0; /* none in all that time */
		return;
	}
	if (tell_action(&k->what) != 0) {
		k->due_ms = now + AGAIN_MS;
		return;
	}
	k->what.times = 0;
	k->what.took_ms = 0;
	k->due_ms = now + TOGETHER_MS;
}

static int
is_same(const struct ctl_action *a, const struct ctl_action *b)
{
	return a->end == b->end && a->uid == b->uid && a->app_uid == b->app_uid &&
	       a->app_pid == b->app_pid && strcmp(a->name, b->name) == 0 &&
	       strcmp(a->server, b->server) == 0;
}

/* The place of this kind; that of all others with the same end, when there is none. */
static struct kind *
place_of(const struct ctl_action *a)
{
	struct kind *free_one = NULL, *others = &kinds[KINDS + a->end];

	for (size_t i = 0; i < KINDS; i++) {
		if (kinds[i].due_ms == 0)
			free_one = &kinds[i];
		else if (is_same(&kinds[i].what, a))
			return &kinds[i];
	}
	if (free_one != NULL) {
		free_one->what = *a;
		free_one->what.took_ms = 0;
		return free_one;
	}
	if (others->due_ms == 0) {
		memset(&others->what, 0, sizeof(others->what));
		others->what.end = a->end;
		others->what.uid = others->what.app_uid = UINT32_MAX;
		strcpy(others->what.name, "*");
	}
	return others;
}

void
audit_ended(const struct face_ended *e)
{
	struct ctl_action a = {.end = (uint8_t)e->end,
	    .uid = (uint32_t)e->uid,
	    .pid = e->pid > 0 ? (uint32_t)e->pid : 0,
	    .app_uid = (uint32_t)e->app_uid,
	    .app_pid = e->app_pid > 0 ? (uint32_t)e->app_pid : 0};
	uint32_t took_ms = e->took_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)e->took_ms;
	int64_t now = now_ms();
	struct kind *k;

	snprintf(a.name, sizeof(a.name), "%s", e->name);
	snprintf(a.server, sizeof(a.server), "%s", e->server);
	k = place_of(&a);
	k->what.times++;
	if (k->what.name[0] != '*')
		k->what.pid = k->what.times == 1 ? a.pid : 0; /* of several */
	if (took_ms > k->what.took_ms)
		k->what.took_ms = took_ms;
	if (k->due_ms == 0)
		k->due_ms = now;
	look_at(k, now);
	syncd_wake_at(k->due_ms);
}

int64_t
audit_tick(int64_t now)
{
	int64_t due = INT64_MAX;

	for (size_t i = 0; i < KINDS + CONTROL_END_MAX; i++) {
		look_at(&kinds[i], now);
		if (kinds[i].due_ms != 0 && kinds[i].due_ms < due)
			due = kinds[i].due_ms;
	}
	return due;
}

void
audit_now(void)
{
	int64_t now = now_ms();

	for (size_t i = 0; i < KINDS + CONTROL_END_MAX; i++) {
		if (kinds[i].what.times > 0)
			kinds[i].due_ms = now;
		look_at(&kinds[i], now);
	}
}

void
audit_last(void)
{
	audit_now();
	for (size_t i = 0; i < KINDS + CONTROL_END_MAX; i++) {
		const struct ctl_action *a = &kinds[i].what;

		if (kinds[i].due_ms != 0 && a->times > 0)
			log_warn(
			    "not in the ledger, for roled has ended: action %s, %u times, for uid "
			    "%u on %s, how it ended: %u",
			    a->name, a->times, a->uid, a->server, a->end);
	}
}
