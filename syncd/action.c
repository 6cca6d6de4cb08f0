/* SPDX-License-Identifier: ISC */
/*
 * Actions that wait or that an app has (action.h).
 */
#include "config.h"

#include "action.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "lib/clock.h"
#include "lib/conf.h"

struct control {
	struct control *next, **link;
	uint64_t id;
	struct client *caller; /* NULL: gone, or answered */
	struct client *app;    /* that it was given to; NULL: it waits */
	bool ended;	       /* the app has it still, but its answer comes too late */
	int64_t since_ms, until_ms;
	uid_t uid, app_uid;
	pid_t pid, app_pid;
	char name[ACTION_NAME + 1], server[CONF_NAME];
	uint8_t *payload; /* until it is given */
	size_t len;
};

/* What the caller hears. "UNKNOWN": executed or not, and nothing else begins so. */
static const char *const words[CONTROL_END_MAX] = {
    [CONTROL_LATE] =
	"-UNKNOWN time-out: an app has the action and did not answer in time, it may or "
	"may not have been executed",
    [CONTROL_APP_GONE] =
	"-UNKNOWN the app that had the action is gone: it may or may not have been "
	"executed",
    [CONTROL_ROLE_GONE] =
	"-UNKNOWN this server is no longer main, and an app had the action: it may "
	"or may not have been executed",
    [CONTROL_NO_APP] = "-NOAPP no app on main serves this action: it was not executed",
    [CONTROL_NO_TIME] = "-TIMEOUT no app had room for the action in time: it was not executed",
    [CONTROL_NO_ROOM] = "-BUSY too many actions wait: it was not executed",
    [CONTROL_NOT_MAIN] = "-MASTERDOWN this server is no longer main: the action was not executed",
    [CONTROL_NOT_WANTED] = "-ERR nobody waits for it",
};

void
action_init(struct face *f)
{
	f->actions.last = &f->actions.first;
	f->actions.next_id = 1;
}

static struct slice
name_of(const struct control *a)
{
	return slice_of(a->name);
}

/* It waits no more: its payload goes. */
static void
drop_payload(struct face *f, struct control *a)
{
	f->actions.n_waiting--;
	f->actions.bytes -= a->len;
	free(a->payload);
	a->payload = NULL;
}

static void
free_action(struct face *f, struct control *a)
{
	*a->link = a->next;
	if (a->next != NULL)
		a->next->link = a->link;
	else
		f->actions.last = a->link;
	if (a->app != NULL)
		a->app->n_given--;
	else
		drop_payload(f, a);
	free(a);
}

/* Counts it, and tells the owner. */
static void
report(struct face *f, const struct control *a, enum control_end end)
{
	struct face_ended e = {.name = a->name,
	    .server = a->server,
	    .uid = a->uid,
	    .pid = a->pid,
	    .app_uid = a->app_uid,
	    .app_pid = a->app_pid,
	    .end = end,
	    .took_ms = now_ms() - a->since_ms};

	if (end == CONTROL_DONE)
		f->actions.done++;
	else if (end == CONTROL_FAILED)
		f->actions.failed++;
	else if (end < CONTROL_NO_APP)
		f->actions.unknown++;
	else
		f->actions.refused++;
	if (f->calls->action_ended != NULL)
		f->calls->action_ended(f->arg, &e);
}

static void
reply(struct client *c, enum control_end end, struct slice answer)
{
	if ((c->flags & (CLIENT_MUTE | CLIENT_SKIP)) != 0)
		return;
	if (end == CONTROL_DONE)
		resp_bulk(&c->out, answer);
	else if (end == CONTROL_FAILED)
		resp_errorf(&c->out, "-FAILED %.*s", (int)answer.len, (const char *)answer.data);
	else
		resp_error(&c->out, words[end]);
}

/*
 * The one end of an action. One that an app has goes on taking its place there until the app
 * answers or is gone: an app that hangs is given no more.
 */
static void
end_action(struct face *f, struct control *a, enum control_end end, struct slice answer)
{
	struct client *c = a->caller;

	report(f, a, end);
	f->actions.due = true;
	a->caller = NULL;
	if (c != NULL) {
		f->n_waiting--;
		reply(c, end, answer);
		if ((c->flags & CLIENT_REMOTE) != 0)
			client_count(c);
		client_answered(c);
	}
	if (end == CONTROL_LATE || end == CONTROL_ROLE_GONE)
		a->ended = true;
	else
		free_action(f, a);
}

static void
end_without(struct face *f, struct control *a, enum control_end end)
{
	end_action(f, a, end, (struct slice){NULL, 0});
}

/* ---- beginning */

static bool
has_room(const struct face *f, struct slice name)
{
	const struct actions *all = &f->actions;
	size_t n = 0;

	if (all->n_waiting >= ACTION_WAITING_MAX || all->bytes > ACTION_BYTES_MAX)
		return false;
	if (all->n_waiting < ACTION_WAITING_NAME_MAX)
		return true;
	for (const struct control *a = all->first; a != NULL; a = a->next)
		n += a->app == NULL && slice_equal(name_of(a), name);
	return n < ACTION_WAITING_NAME_MAX;
}

/* NULL: no memory. */
static struct control *
new_action(const struct face_action *in, const char *server)
{
	struct control *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->payload = malloc(in->payload.len + 1);
	if (a->payload == NULL) {
		free(a);
		return NULL;
	}
	if (in->payload.len > 0)
		memcpy(a->payload, in->payload.data, in->payload.len);
	a->len = in->payload.len;
	memcpy(a->name, in->name.data, in->name.len);
	snprintf(a->server, sizeof(a->server), "%s", server);
	a->uid = in->uid;
	a->pid = in->pid;
	a->since_ms = now_ms();
	a->until_ms = a->since_ms + in->left_ms;
	return a;
}

/* It ends before it began. */
static void
refuse(struct client *c, const struct face_action *in, const char *server, enum control_end end)
{
	struct control a = {.uid = in->uid, .pid = in->pid, .since_ms = now_ms()};

	memcpy(a.name, in->name.data, in->name.len);
	snprintf(a.server, sizeof(a.server), "%s", server);
	report(c->face, &a, end);
	resp_error(&c->out, words[end]);
}

void
action_begin(struct client *c, const struct face_action *in, const char *server)
{
	struct face *f = c->face;
	struct control *a;

	if (interest_find(&f->served, in->name) == NULL) {
		refuse(c, in, server, CONTROL_NO_APP);
		return;
	}
	a = has_room(f, in->name) ? new_action(in, server) : NULL;
	if (a == NULL) {
		refuse(c, in, server, CONTROL_NO_ROOM);
		return;
	}
	a->id = f->actions.next_id++;
	a->caller = c;
	a->link = f->actions.last;
	*f->actions.last = a;
	f->actions.last = &a->next;
	f->actions.n_waiting++;
	f->actions.bytes += a->len;
	f->actions.due = true;
	c->state = CLIENT_ACTS;
	f->n_waiting++;
}

/* ---- giving */

/* An app that waits for something itself, does not read, or may only read now, is given nothing. */
static bool
takes(const struct client *c)
{
	return (c->flags & (CLIENT_DEAD | CLIENT_CLOSE_AFTER)) == 0 && c->state == CLIENT_RUNS &&
	       c->n_given < ACTION_GIVEN_MAX && !command_reads_only(c) &&
	       c->out.len - c->sent <= ACTION_UNREAD_MAX;
}

/* Who has the fewest; of those, who was not given one for longest. NULL: nobody has room. */
static struct client *
choose(const struct topic *topic)
{
	struct client *best = NULL;

	for (struct interest *i = topic->first; i != NULL; i = i->next) {
		struct client *c = i->client;

		if (takes(c) &&
		    (best == NULL || c->n_given < best->n_given ||
			(c->n_given == best->n_given && c->given_turn < best->given_turn)))
			best = c;
	}
	return best;
}

/* From here on nobody else is ever given it. */
static void
give(struct face *f, struct control *a, struct client *app)
{
	resp_push(&app->out, 7);
	resp_text(&app->out, "action");
	resp_bulk(&app->out, name_of(a));
	resp_bulk_int(&app->out, (int64_t)a->id);
	resp_bulk(&app->out, (struct slice){a->payload, a->len});
	resp_text(&app->out, a->server);
	resp_bulk_int(&app->out, (int64_t)a->uid);
	resp_bulk_int(&app->out, (int64_t)f->db.epoch);
	drop_payload(f, a);
	a->app = app;
	a->app_uid = app->uid;
	a->app_pid = app->pid;
	app->n_given++;
	app->given_turn = ++f->actions.turn;
	client_in_turn(app);
}

void
action_turn(struct face *f)
{
	struct control *next;
	const char *refusal;
	bool is_main;

	if (!f->actions.due)
		return;
	f->actions.due = false;
	if (f->actions.n_waiting == 0)
		return;
	/* while the role is on its way to another server nothing is begun */
	is_main = f->calls->route(f->arg, &f->db.epoch, &refusal) == FACE_LOCAL;
	for (struct control *a = f->actions.first; a != NULL; a = next) {
		struct topic *topic;
		struct client *app;

		next = a->next;
		if (a->app != NULL)
			continue;
		topic = interest_find(&f->served, name_of(a));
		if (topic == NULL)
			end_without(f, a, CONTROL_NO_APP);
		else if (is_main && (app = choose(topic)) != NULL)
			give(f, a, app);
	}
	f->actions.due = false; /* what ended just now made no room */
}

void
action_room(struct face *f)
{
	if (f->actions.n_waiting > 0)
		f->actions.due = true;
}

/* ---- ending */

bool
action_answer(struct client *c, uint64_t id, enum control_end end, struct slice answer, bool *late)
{
	struct control *a = c->face->actions.first;

	*late = false;
	while (a != NULL && (a->id != id || a->app != c))
		a = a->next;
	if (a == NULL)
		return false;
	if (a->ended) {
		*late = true;
		free_action(c->face, a);
		action_room(c->face);
		return false;
	}
	end_action(c->face, a, end, answer);
	return true;
}

void
action_forget(struct client *c)
{
	struct face *f = c->face;
	struct control *next;

	for (struct control *a = f->actions.first; a != NULL; a = a->next) {
		if (a->caller == c)
			a->caller = NULL;
	}
	for (struct control *a = f->actions.first; a != NULL; a = next) {
		next = a->next;
		if (a->app == c && a->ended)
			free_action(f, a);
		else if (a->app == c)
			end_without(f, a, CONTROL_APP_GONE);
		else if (a->app == NULL && a->caller == NULL)
			end_without(f, a, CONTROL_NOT_WANTED);
	}
	action_room(f); /* what waits may have lost its last app */
}

void
action_expire(struct face *f)
{
	int64_t now = now_ms();
	struct control *next;

	for (struct control *a = f->actions.first; a != NULL; a = next) {
		next = a->next;
		if (!a->ended && a->until_ms <= now)
			end_without(f, a, a->app != NULL ? CONTROL_LATE : CONTROL_NO_TIME);
	}
}

int64_t
action_next_ms(const struct face *f)
{
	int64_t first = 0;

	for (const struct control *a = f->actions.first; a != NULL; a = a->next) {
		if (!a->ended && (first == 0 || a->until_ms < first))
			first = a->until_ms;
	}
	return first;
}

void
face_actions_stop(struct face *f)
{
	struct control *next;

	for (struct control *a = f->actions.first; a != NULL; a = next) {
		next = a->next;
		if (!a->ended)
			end_without(f, a, a->app != NULL ? CONTROL_ROLE_GONE : CONTROL_NOT_MAIN);
	}
}

void
face_actions_count(const struct face *f, struct face_action_counts *n)
{
	memset(n, 0, sizeof(*n));
	n->names = f->served.n_topics;
	n->waiting = f->actions.n_waiting;
	for (const struct client *c = f->clients; c != NULL; c = c->next)
		n->apps += c->serves.n > 0;
	for (const struct control *a = f->actions.first; a != NULL; a = a->next)
		n->given += a->app != NULL && !a->ended;
	n->done = f->actions.done;
	n->failed = f->actions.failed;
	n->unknown = f->actions.unknown;
	n->refused = f->actions.refused;
}
