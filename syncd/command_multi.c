/* SPDX-License-Identifier: ISC */
/*
 * Transactions, and waiting for standbys.
 */
#include "config.h"

#include "command.h"

#include <errno.h>

#include "lib/clock.h"

/* Nothing is queued and nothing watched any more. */
static void
forget(struct client *c)
{
	client_queue_clear(c);
	interest_clear(&c->face->watches, &c->watched);
	c->flags &= ~(unsigned)(CLIENT_MULTI | CLIENT_SPOILED | CLIENT_WATCH_BROKEN);
}

void
command_multi(struct call *a)
{
	if ((a->c->flags & CLIENT_MULTI) != 0)
		resp_error(a->out, "MULTI calls can not be nested");
	else {
		a->c->flags |= CLIENT_MULTI;
		resp_ok(a->out);
	}
}

void
command_discard(struct call *a)
{
	if ((a->c->flags & CLIENT_MULTI) == 0) {
		resp_error(a->out, "DISCARD without MULTI");
		return;
	}
	forget(a->c);
	resp_ok(a->out);
}

static bool
is_expired_now(struct call *a, struct slice key)
{
	struct value v;

	return store_get(a->f->db.store, key, 0, &v) == 1 && v.expire_ms != 0 &&
	       a->f->db.now_ms > v.expire_ms;
}

void
command_exec(struct call *a)
{
	struct client *c = a->c;
	struct client_queue *q = &c->queue;

	if ((c->flags & CLIENT_MULTI) == 0) {
		resp_error(a->out, "EXEC without MULTI");
		return;
	}
	for (struct interest *w = c->watched.first; w != NULL; w = w->next_own)
		if (!w->expired && is_expired_now(a, topic_name(w->topic)))
			c->flags |= CLIENT_WATCH_BROKEN;
	if ((c->flags & (CLIENT_SPOILED | CLIENT_WATCH_BROKEN)) != 0) {
		if ((c->flags & CLIENT_SPOILED) != 0)
			resp_error(
			    a->out, "-EXECABORT Transaction discarded because of previous errors.");
		else
			resp_null_array(a->out);
		forget(c);
		return;
	}
	interest_clear(&a->f->watches, &c->watched);
	for (size_t i = 0; i < q->n_args; i++)
		q->args[i].data = q->bytes + (uintptr_t)q->args[i].data;
	resp_array(a->out, q->n_commands);
	for (size_t i = 0; i < q->n_commands; i++)
		command_run_queued(
		    c, q->commands[i].command, q->args + q->commands[i].first, q->commands[i].argc);
	/* the queue's bytes stay until the notifications are sent */
	c->flags &= ~(unsigned)CLIENT_MULTI;
}

void
command_watch(struct call *a)
{
	if ((a->c->flags & CLIENT_MULTI) != 0) {
		resp_error(a->out, "WATCH inside MULTI is not allowed");
		return;
	}
	for (size_t i = 1; i < a->argc; i++) {
		bool is_new;
		struct interest *w =
		    interest_add(&a->f->watches, &a->c->watched, a->c, a->argv[i], &is_new);

		if (w == NULL) {
			resp_error(a->out, command_failure(ENOMEM));
			return;
		}
		if (is_new)
			w->expired = is_expired_now(a, a->argv[i]);
	}
	resp_ok(a->out);
}

void
command_unwatch(struct call *a)
{
	interest_clear(&a->f->watches, &a->c->watched);
	a->c->flags &= ~(unsigned)CLIENT_WATCH_BROKEN;
	resp_ok(a->out);
}

/* A watched key was changed by anybody. */
void
command_touch(struct face *f, struct slice key)
{
	struct topic *topic = interest_find(&f->watches, key);
	struct value v;

	if (topic == NULL)
		return;
	for (struct interest *w = topic->first; w != NULL; w = w->next) {
		/* that an expired key went is no change for who saw it expired */
		if (w->expired && store_get(f->db.store, key, 0, &v) != 1)
			w->expired = false;
		else
			w->client->flags |= CLIENT_WATCH_BROKEN;
	}
}

/* Before everything goes: who watches a key that is there. */
void
command_touch_all(struct face *f)
{
	struct value v;

	for (size_t i = 0; f->watches.n_topics > 0 && i < f->watches.n_buckets; i++)
		for (struct topic *t = f->watches.buckets[i]; t != NULL; t = t->next)
			if (store_get(f->db.store, topic_name(t), 0, &v) == 1)
				for (struct interest *w = t->first; w != NULL; w = w->next)
					if (!w->expired)
						w->client->flags |= CLIENT_WATCH_BROKEN;
}

void
face_replaced(struct face *f)
{
	for (size_t i = 0; i < f->watches.n_buckets; i++)
		for (struct topic *t = f->watches.buckets[i]; t != NULL; t = t->next)
			for (struct interest *w = t->first; w != NULL; w = w->next)
				w->client->flags |= CLIENT_WATCH_BROKEN;
}

/* ---- WAIT */

bool
command_wait_done(struct client *c, bool deadline)
{
	struct face *f = c->face;
	size_t n = 0;
	bool local = store_durable(f->db.store).index >= c->written.index;

	if (f->calls->count_synced != NULL)
		n = f->calls->count_synced(f->arg, &c->written, c->wait_disk);
	if (!deadline && (n < c->wait_standbys || (c->wait_local && !local)))
		return false;
	if (c->wait_disk) {
		resp_array(&c->out, 2);
		resp_int(&c->out, local);
	}
	resp_int(&c->out, (int64_t)n);
	return true;
}

/* Waits until the client's newest change is where it is wanted, or the time is up (0: for ever). */
static void
wait_for(struct call *a, int64_t local, int64_t standbys, struct slice ms)
{
	struct client *c = a->c;
	int64_t timeout;

	if (arg_int(a, ms, &timeout, "timeout is not an integer or out of range") != 0)
		return;
	if (timeout < 0) {
		resp_error(a->out, "timeout is negative");
		return;
	}
	c->wait_standbys = standbys < 0 ? 0 : (size_t)standbys;
	c->wait_local = local > 0;
	/* a transaction does not wait, and what was written in this turn is not on disk yet */
	if ((c->flags & CLIENT_MULTI) != 0) {
		(void)command_wait_done(c, true);
		return;
	}
	if (!a->f->changed && command_wait_done(c, false))
		return;
	c->state = CLIENT_WAITS;
	c->wait_until_ms = timeout == 0 || timeout > INT64_MAX - now_ms() ? 0 : now_ms() + timeout;
	a->f->n_waiting++;
}

void
command_wait(struct call *a)
{
	int64_t standbys;

	if (arg_int(a, a->argv[1], &standbys, NULL) != 0)
		return;
	a->c->wait_disk = false;
	wait_for(a, 0, standbys, a->argv[2]);
}

void
command_waitaof(struct call *a)
{
	int64_t local, standbys;

	if (arg_range(a, a->argv[1], 0, 1, &local, "value is out of range, must between 0 and 1") !=
		0 ||
	    arg_range(a, a->argv[2], 0, INT64_MAX, &standbys,
		"value is out of range, must be positive") != 0)
		return;
	a->c->wait_disk = true;
	wait_for(a, local, standbys, a->argv[3]);
}
