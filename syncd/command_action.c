/* SPDX-License-Identifier: ISC */
/*
 * Actions: a program on any server asks, an app on main does it and answers (action.c).
 */
#include "config.h"

#include "command.h"

#include "action.h"
#include "wire.h"

/* Other servers' programs come as actions of their own (face_remote_act), not as requests. */
static bool
is_remote(struct call *a)
{
	if ((a->c->flags & CLIENT_REMOTE) == 0)
		return false;
	resp_error(a->out, "an action is no request");
	return true;
}

static bool
is_reader(struct call *a)
{
	if (!command_reads_only(a->c))
		return false;
	resp_error(a->out, "-NOPERM this user may only read");
	return true;
}

static bool
name_ok(struct call *a, struct slice name)
{
	if (wire_name_ok(name))
		return true;
	resp_error(a->out, "the name of an action is 1 to 64 letters, digits and . _ : / @ -");
	return false;
}

void
command_act(struct client *c, const struct face_action *a, const char *server)
{
	struct face *f = c->face;
	const char *refusal;

	switch (command_route(c, &refusal)) {
	case FACE_LOCAL:
		action_begin(c, a, server);
		break;
	case FACE_PROXY:
		if (f->calls->act != NULL && f->calls->act(f->arg, c->id, a, &refusal) == 0) {
			client_proxied(c);
			break;
		}
		/* fall through */
	case FACE_REFUSE:
		f->counts.rejected++;
		resp_error(&c->out, refusal);
		break;
	}
}

void
command_action(struct call *a)
{
	struct face *f = a->f;
	struct face_action in = {.name = a->argv[1],
	    .payload = a->argv[2],
	    .left_ms = f->options.action_ms,
	    .uid = a->c->uid,
	    .pid = a->c->pid,
	    .version = a->out->version};

	if (is_remote(a) || is_reader(a) || !name_ok(a, in.name))
		return;
	if (a->argc != 3 && (a->argc != 5 || !slice_is(a->argv[3], "timeout"))) {
		reply_syntax(a);
		return;
	}
	if (a->argc == 5 && arg_range(a, a->argv[4], 1, ACTION_MS_MAX, &in.left_ms,
				"the time-out of an action is 1 to 3600000 milliseconds") != 0)
		return;
	command_act(a->c, &in, f->calls->server_name != NULL ? f->calls->server_name(f->arg) : "");
}

void
command_action_serve(struct call *a)
{
	const char *refusal = "-READONLY apps of this server serve no actions";
	struct client *c = a->c;
	bool is_new;

	if (is_remote(a))
		return;
	if (is_reader(a))
		return;
	if (a->f->calls->may_serve != NULL && !a->f->calls->may_serve(a->f->arg, &refusal)) {
		resp_error(a->out, refusal);
		return;
	}
	for (size_t i = 1; i < a->argc; i++)
		if (!name_ok(a, a->argv[i]))
			return;
	if (a->argc - 1 > ACTION_SERVED_MAX - c->serves.n) {
		resp_error(a->out, "one connection serves 256 names at most");
		return;
	}
	for (size_t i = 1; i < a->argc; i++) {
		if (interest_add(&a->f->served, &c->serves, c, a->argv[i], &is_new) == NULL) {
			resp_error(a->out, "out of memory");
			return;
		}
	}
	action_room(a->f);
	resp_ok(a->out);
}

void
command_action_unserve(struct call *a)
{
	if (is_remote(a))
		return;
	if (a->argc == 1)
		interest_clear(&a->f->served, &a->c->serves);
	for (size_t i = 1; i < a->argc; i++)
		(void)interest_remove(&a->f->served, &a->c->serves, a->c, a->argv[i]);
	action_room(a->f);
	resp_ok(a->out);
}

static void
answer(struct call *a, enum control_end end, struct slice text)
{
	int64_t id;
	bool late;

	if (is_remote(a) ||
	    arg_int(a, a->argv[1], &id, "the number of an action is not an integer") != 0)
		return;
	if (id > 0 && action_answer(a->c, (uint64_t)id, end, text, &late))
		resp_ok(a->out);
	else if (id > 0 && late)
		resp_error(a->out, "-NOACTION the time of this action was over before: who asked "
				   "for it was told that "
				   "its outcome is unknown");
	else
		resp_error(a->out, "-NOACTION this connection was given no action of that number");
}

void
command_action_reply(struct call *a)
{
	answer(a, CONTROL_DONE, a->argv[2]);
}

void
command_action_fail(struct call *a)
{
	struct slice text = a->argv[2];

	if (text.len > ACTION_TEXT)
		text.len = ACTION_TEXT;
	answer(a, CONTROL_FAILED, text);
}
