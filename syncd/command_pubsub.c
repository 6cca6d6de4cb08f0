/* SPDX-License-Identifier: ISC */
/*
 * Keyspace notifications: channels __keyspace@0__:KEY and __keyevent@0__:EVENT, as of Redis with
 * notify-keyspace-events KEA, and nothing else is ever published.
 */
#include "config.h"

#include "command.h"

#include <string.h>

#include "glob.h"

static void
reply_subscription(struct call *a, const char *what, const struct slice *name)
{
	resp_push(a->out, 3);
	resp_text(a->out, what);
	if (name != NULL)
		resp_bulk(a->out, *name);
	else
		resp_null(a->out);
	resp_int(a->out, (int64_t)client_subscriptions(a->c));
}

static void
subscribe(struct call *a, struct interests *t, struct interest_list *own, const char *what)
{
	for (size_t i = 1; i < a->argc; i++) {
		bool is_new;

		if (interest_add(t, own, a->c, a->argv[i], &is_new) == NULL) {
			resp_error(a->out, "out of memory");
			return;
		}
		reply_subscription(a, what, &a->argv[i]);
	}
}

static void
unsubscribe(struct call *a, struct interests *t, struct interest_list *own, const char *what)
{
	if (a->argc == 1 && own->first == NULL)
		reply_subscription(a, what, NULL);
	while (a->argc == 1 && own->first != NULL) {
		struct slice name = topic_name(own->first->topic);

		resp_push(a->out, 3);
		resp_text(a->out, what);
		resp_bulk(a->out, name);
		interest_drop(t, own, own->first);
		resp_int(a->out, (int64_t)client_subscriptions(a->c));
	}
	for (size_t i = 1; i < a->argc; i++) {
		(void)interest_remove(t, own, a->c, a->argv[i]);
		reply_subscription(a, what, &a->argv[i]);
	}
}

void
command_subscribe(struct call *a)
{
	subscribe(a, &a->f->channels, &a->c->channels, "subscribe");
}

void
command_psubscribe(struct call *a)
{
	subscribe(a, &a->f->patterns, &a->c->patterns, "psubscribe");
}

void
command_unsubscribe(struct call *a)
{
	unsubscribe(a, &a->f->channels, &a->c->channels, "unsubscribe");
}

void
command_punsubscribe(struct call *a)
{
	unsubscribe(a, &a->f->patterns, &a->c->patterns, "punsubscribe");
}

void
command_publish(struct call *a)
{
	resp_error(a->out, "PUBLISH is not supported: channels carry notifications of keys only");
}

/* ---- sending */

/* "__keyspace@0__:" and key, without copying them into one piece. */
struct channel_name {
	struct slice prefix, rest;
};

static void
put_channel(struct resp_out *o, const struct channel_name *n)
{
	char head[RESP_INT_TEXT + 3];
	size_t len = n->prefix.len + n->rest.len, digits;

	head[0] = '$';
	digits = resp_format_int(head + 1, (int64_t)len) + 1;
	resp_raw(o, head, digits);
	resp_raw(o, "\r\n", 2);
	resp_raw(o, n->prefix.data, n->prefix.len);
	resp_raw(o, n->rest.data, n->rest.len);
	resp_raw(o, "\r\n", 2);
}

/* One message to one client. pattern: the one that it matches, or NULL. */
static void
send_message(struct client *c, const struct topic *pattern, const struct channel_name *n,
    struct slice message)
{
	size_t start = c->out.len;

	if ((c->flags & CLIENT_DEAD) != 0)
		return;
	resp_push(&c->out, pattern != NULL ? 4 : 3);
	resp_text(&c->out, pattern != NULL ? "pmessage" : "message");
	if (pattern != NULL)
		resp_bulk(&c->out, topic_name(pattern));
	put_channel(&c->out, n);
	resp_bulk(&c->out, message);
	if (c->face->changed)
		command_mark(c->face, c, start, c->out.len, true);
	client_in_turn(c);
}

/* Clients that do not read their notifications; not while the lists of clients are walked. */
static void
end_slow(struct face *f)
{
	struct client *next;

	for (struct client *c = f->turn; c != NULL; c = next) {
		next = c->next_turn;
		if (client_subscriptions(c) == 0 ||
		    (!c->out.failed && c->out.len - c->sent <= f->options.output_push_max))
			continue;
		f->counts.condemned++;
		client_end(c, "it does not read its notifications");
	}
}

static void
publish(struct face *f, const struct channel_name *n, struct slice message)
{
	uint8_t small[256], *name = small;
	size_t len = n->prefix.len + n->rest.len;
	struct resp_out big = {0};
	struct topic *topic;
	struct slice whole;

	if (len > sizeof(small)) {
		if (resp_reserve(&big, len) != 0)
			return;
		name = big.data;
	}
	memcpy(name, n->prefix.data, n->prefix.len);
	memcpy(name + n->prefix.len, n->rest.data, n->rest.len);
	whole = (struct slice){name, len};
	topic = interest_find(&f->channels, whole);
	for (struct interest *i = topic == NULL ? NULL : topic->first; i != NULL; i = i->next)
		send_message(i->client, NULL, n, message);
	for (size_t b = 0; f->patterns.n_topics > 0 && b < f->patterns.n_buckets; b++)
		for (topic = f->patterns.buckets[b]; topic != NULL; topic = topic->next)
			if (glob_match(topic_name(topic), whole, false))
				for (struct interest *i = topic->first; i != NULL; i = i->next)
					send_message(i->client, topic, n, message);
	end_slow(f);
	resp_out_free(&big);
}

void
command_send_events(struct face *f, bool done)
{
	struct slice space = slice_of("__keyspace@0__:"), event = slice_of("__keyevent@0__:");

	for (size_t i = 0; done && i < f->n_events; i++) {
		struct slice name = slice_of(f->events[i].name), key = f->events[i].key;

		publish(f, &(struct channel_name){space, key}, name);
		publish(f, &(struct channel_name){event, name}, key);
	}
	f->n_events = 0;
}

/* The name of what a change from main did: what it is, not which command did it. */
static const char *
event_of(enum change_kind kind)
{
	static const char *const names[CHANGE_MAX] = {[CHANGE_SET] = "set",
	    [CHANGE_DEL] = "del",
	    [CHANGE_EXPIRE] = "expire",
	    [CHANGE_HSET] = "hset",
	    [CHANGE_HDEL] = "hdel",
	    [CHANGE_RENAME] = "rename_from",
	    [CHANGE_SPLICE] = "setrange"};

	return names[kind];
}

void
face_changed(struct face *f, struct slice body)
{
	struct change_op op;
	size_t pos = 0;

	if (f->watches.n_topics == 0 && f->channels.n_topics == 0 && f->patterns.n_topics == 0)
		return;
	while (change_next(body, &pos, &op) == 1) {
		if (op.kind == CHANGE_FLUSH) {
			command_touch_all(f);
			continue;
		}
		command_touch(f, op.key);
		if (op.kind == CHANGE_RENAME)
			command_touch(f, op.field);
		db_notify(f, event_of(op.kind), op.key);
		if (op.kind == CHANGE_RENAME)
			db_notify(f, "rename_to", op.field);
	}
	f->db.failed = 0; /* a notification that found no memory is lost, the change is not */
	command_send_events(f, true);
}
