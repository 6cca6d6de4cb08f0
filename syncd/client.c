/* SPDX-License-Identifier: ISC */
/*
 * A connection: bytes in, requests executed in order, answers out (client.h).
 */
#include "config.h"

#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "action.h"
#include "command.h"
#include "lib/clock.h"
#include "lib/log.h"

enum {
	READ_SIZE = 64 * 1024, /* of a client in one turn: a long pipeline costs few syncs */
	IN_KEPT = 128 * 1024,  /* larger empty buffers are given back */
	QUEUE_FIRST = 8,
	COMPACT = 1024 * 1024
};

static void on_ready(uv_poll_t *handle, int status, int events);

struct client *
client_new(struct face *f, int fd, uid_t uid, pid_t pid)
{
	struct client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	if (fd >= 0 && uv_poll_init(f->loop, &c->poll, fd) != 0) {
		free(c);
		return NULL;
	}
	c->face = f;
	c->id = ++f->next_id;
	c->fd = fd;
	c->uid = uid;
	c->pid = pid;
	c->poll.data = c;
	c->since_ms = c->active_ms = now_ms();
	c->out.version = 2;
	c->out.max = f->options.output_max;
	resp_request_init(&c->request, f->options.bulk_max);
	if (fd < 0) {
		c->flags |= CLIENT_REMOTE;
		f->n_remote++;
	} else {
		f->n_handles++;
		c->events = UV_READABLE;
		uv_poll_start(&c->poll, UV_READABLE, on_ready);
	}
	c->next = f->clients;
	c->link = &f->clients;
	if (c->next != NULL)
		c->next->link = &c->next;
	f->clients = c;
	f->n_clients++;
	return c;
}

struct client *
client_find(struct face *f, uint64_t id)
{
	struct client *c = f->clients;

	while (c != NULL && c->id != id)
		c = c->next;
	return c;
}

static void
clear_interests(struct client *c)
{
	interest_clear(&c->face->watches, &c->watched);
	interest_clear(&c->face->channels, &c->channels);
	interest_clear(&c->face->patterns, &c->patterns);
	interest_clear(&c->face->served, &c->serves);
	action_forget(c);
}

/* ---- requests that the turn has no time for */

/* Nothing more is read of it in this turn; it goes on in the next, behind those that wait. */
static void
be_late(struct client *c)
{
	struct face *f = c->face;
	struct client **last = &f->late;

	if ((c->flags & CLIENT_LATE) != 0)
		return;
	c->flags |= CLIENT_LATE;
	c->next_late = NULL;
	while (*last != NULL)
		last = &(*last)->next_late;
	*last = c;
	client_in_turn(c);
}

static void
be_in_time(struct client *c)
{
	struct client **p = &c->face->late;

	if ((c->flags & CLIENT_LATE) == 0)
		return;
	c->flags &= ~(unsigned)CLIENT_LATE;
	while (*p != c)
		p = &(*p)->next_late;
	*p = c->next_late;
}

void
client_run_late(struct face *f)
{
	struct client *c = f->late;

	be_in_time(c);
	client_in_turn(c);
	client_run(c);
}

/* ---- its end */

void
client_end(struct client *c, const char *why)
{
	struct face *f = c->face;

	if ((c->flags & CLIENT_DEAD) != 0)
		return;
	c->flags |= CLIENT_DEAD;
	if (why != NULL)
		log_warn("app connection %llu (uid %u, pid %d) closed: %s",
		    (unsigned long long)c->id, (unsigned)c->uid, (int)c->pid, why);
	if ((c->flags & CLIENT_KNOWN) != 0 && f->calls->forget != NULL)
		f->calls->forget(f->arg, c->id);
	if (c->state == CLIENT_WAITS || c->state == CLIENT_HELD || c->state == CLIENT_ACTS)
		f->n_waiting--;
	clear_interests(c);
	be_in_time(c);
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	f->n_clients--;
	if (c->fd >= 0) {
		uv_poll_stop(&c->poll);
	} else {
		f->n_remote--;
		f->remote_bytes -= c->counted;
		c->counted = 0;
	}
	c->next_dead = f->dead;
	f->dead = c;
}

static void
free_client(struct client *c)
{
	client_queue_clear(c);
	resp_request_free(&c->request);
	resp_out_free(&c->out);
	free(c->in);
	free(c->name);
	free(c);
}

static void
on_closed(uv_handle_t *handle)
{
	struct client *c = handle->data;

	c->face->n_handles--;
	free_client(c);
}

void
client_free_dead(struct face *f)
{
	while (f->dead != NULL) {
		struct client *c = f->dead;

		f->dead = c->next_dead;
		if (c->fd < 0) {
			free_client(c);
			continue;
		}
		uv_close((uv_handle_t *)&c->poll, on_closed);
		if ((c->flags & CLIENT_GIVEN) == 0)
			close(c->fd);
	}
}

void
client_in_turn(struct client *c)
{
	if ((c->flags & CLIENT_IN_TURN) != 0)
		return;
	c->flags |= CLIENT_IN_TURN;
	c->next_turn = c->face->turn;
	c->face->turn = c;
	c->face->n_turn++;
}

void
client_proxied(struct client *c)
{
	c->state = CLIENT_PROXIED;
	c->flags |= CLIENT_KNOWN;
}

void
client_answered(struct client *c)
{
	c->state = CLIENT_RUNS;
	if ((c->flags & CLIENT_SKIP_NEXT) != 0)
		c->flags = (c->flags & ~(unsigned)CLIENT_SKIP_NEXT) | CLIENT_SKIP;
	else
		c->flags &= ~(unsigned)CLIENT_SKIP;
	client_in_turn(c);
}

/* ---- input */

/* Room behind what is there. 0, or -1: too large, or no memory. */
static int
make_room(struct client *c)
{
	size_t have = c->in_len - c->in_at, want = have + READ_SIZE, size;
	uint8_t *in;

	if (c->in_at > 0 && c->in_size - c->in_len < READ_SIZE) {
		memmove(c->in, c->in + c->in_at, have);
		c->in_at = 0;
		c->in_len = have;
	}
	if (have > c->face->options.request_max)
		return -1;
	/* a large argument that is announced: twice as much each time, not more than it needs */
	if (c->request.need > want)
		want = c->request.need < 2 * have ? c->request.need
		       : 2 * have > want	  ? 2 * have
						  : want;
	if (c->in_size - c->in_at >= want)
		return 0;
	size = c->in_at + want;
	in = realloc(c->in, size);
	if (in == NULL)
		return -1;
	c->in = in;
	c->in_size = size;
	return 0;
}

static int
run_one(struct client *c)
{
	struct face *f = c->face;
	struct resp_request *r = &c->request;
	const uint8_t *start = c->in + c->in_at;

	if (r->n > f->argv_size) {
		struct slice *argv = realloc(f->argv, r->size * sizeof(*argv));

		if (argv == NULL)
			return -1;
		f->argv = argv;
		f->argv_size = r->size;
	}
	for (size_t i = 0; i < r->n; i++)
		f->argv[i] = (struct slice){start + r->args[i].at, r->args[i].len};
	c->in_at += r->at;
	if (r->n > 0)
		command_run(c, f->argv, r->n);
	resp_request_next(r);
	return 0;
}

void
client_run(struct client *c)
{
	const char *why = NULL;

	while (c->state == CLIENT_RUNS && (c->flags & (CLIENT_DEAD | CLIENT_CLOSE_AFTER)) == 0 &&
	       c->in_at < c->in_len) {
		enum resp_result got;

		if (!face_has_time(c->face)) {
			be_late(c);
			return;
		}
		got = resp_request_read(&c->request, c->in + c->in_at, c->in_len - c->in_at);
		if (got == RESP_MORE)
			break;
		client_in_turn(c);
		if (got == RESP_ERROR) {
			resp_error(&c->out, c->request.error);
			c->flags |= CLIENT_CLOSE_AFTER;
		} else if (run_one(c) != 0)
			why = "no memory for a request";
		if (c->out.failed) {
			why = "it does not read its answers, or they are too large";
			c->face->counts.condemned++;
		}
		if (why != NULL) {
			client_end(c, why);
			return;
		}
	}
	if (c->in_at == c->in_len) {
		c->in_at = c->in_len = 0;
		if (c->in_size > IN_KEPT) {
			free(c->in);
			c->in = NULL;
			c->in_size = 0;
		}
	}
}

static void
read_input(struct client *c)
{
	ssize_t n;

	if (make_room(c) != 0) {
		client_end(c, "a request is too large");
		return;
	}
	n = recv(c->fd, c->in + c->in_len, c->in_size - c->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 0 && c->state == CLIENT_RUNS && c->out.len > c->sent) {
		/* it says no more, and may still hear what the turn ends with */
		c->flags |= CLIENT_CLOSE_AFTER;
		return;
	}
	if (n <= 0) {
		client_end(c, NULL);
		return;
	}
	c->in_len += (size_t)n;
	c->active_ms = now_ms();
	client_run(c);
}

static void
on_ready(uv_poll_t *handle, int status, int events)
{
	struct client *c = handle->data;

	if (status < 0 || ((events & UV_DISCONNECT) != 0 && (events & UV_READABLE) == 0)) {
		client_end(c, NULL);
		return;
	}
	if ((events & UV_WRITABLE) != 0)
		client_in_turn(c);
	if ((events & UV_READABLE) != 0)
		read_input(c);
}

/* ---- output */

static void
poll_for(struct client *c, int events)
{
	if (events != c->events && (c->flags & CLIENT_DEAD) == 0)
		uv_poll_start(&c->poll, events, on_ready);
	c->events = events;
}

/* What is waited for. Of a late one nothing: its end shows when it is answered. */
static int
awaited(const struct client *c)
{
	if ((c->flags & CLIENT_LATE) != 0)
		return 0;
	return c->state == CLIENT_RUNS && (c->flags & CLIENT_CLOSE_AFTER) == 0 ? UV_READABLE
									       : UV_DISCONNECT;
}

/* Whether answers may not leave yet, because standbys do not have the change. */
static bool
is_held(struct client *c)
{
	struct face *f = c->face;
	bool held = false;

	if (c->owes != 0 && c->out.len > c->sent) {
		held = f->calls->released != NULL && f->calls->released(f->arg) < c->owes;
		c->owes = held ? c->owes : 0;
	}
	if (held && c->state == CLIENT_RUNS) {
		c->state = CLIENT_HELD;
		f->n_waiting++;
	} else if (!held && c->state == CLIENT_HELD) {
		c->state = CLIENT_RUNS;
		f->n_waiting--;
	}
	return held;
}

void
client_count(struct client *c)
{
	c->face->remote_bytes += c->out.len - c->counted;
	c->counted = c->out.len;
}

static void
send_remote(struct client *c)
{
	struct face *f = c->face;

	if (c->state != CLIENT_RUNS || c->out.len == 0)
		return;
	if (f->calls->remote_answer != NULL)
		f->calls->remote_answer(
		    f->arg, c->id, (struct slice){c->out.data, c->out.len}, &c->written);
	c->out.len = 0;
	client_count(c);
}

void
client_send(struct client *c)
{
	bool held;

	if ((c->flags & CLIENT_DEAD) != 0)
		return;
	if (c->out.failed) { /* of what came without a request of its own */
		c->face->counts.condemned++;
		client_end(c, "it does not read its answers, or they are too large");
		return;
	}
	held = is_held(c);
	if (c->fd < 0) {
		send_remote(c);
		return;
	}
	while (!held && c->sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent,
		    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			client_end(c, NULL);
			return;
		}
		if (n < 0)
			break;
		c->sent += (size_t)n;
	}
	if (c->sent == c->out.len) {
		c->sent = c->out.len = 0;
		if (c->out.size > IN_KEPT)
			resp_out_free(&c->out);
		if ((c->flags & CLIENT_CLOSE_AFTER) != 0) {
			client_end(c, NULL);
			return;
		}
		if (c->serves.n > 0)
			action_room(c->face);
	} else if (c->sent > COMPACT && c->sent > c->out.len / 2) {
		memmove(c->out.data, c->out.data + c->sent, c->out.len - c->sent);
		c->out.len -= c->sent;
		c->sent = 0;
	}
	poll_for(c, awaited(c) | (c->out.len > c->sent && !held ? UV_WRITABLE : 0));
}

/* ---- what it said about itself */

int
client_set_name(struct client *c, struct slice name)
{
	char *copy = NULL;

	if (name.len > 0) {
		copy = malloc(name.len + 1);
		if (copy == NULL)
			return -1;
		memcpy(copy, name.data, name.len);
		copy[name.len] = '\0';
	}
	free(c->name);
	c->name = copy;
	return 0;
}

size_t
client_subscriptions(const struct client *c)
{
	return c->channels.n + c->patterns.n;
}

void
client_reset(struct client *c)
{
	client_queue_clear(c);
	clear_interests(c);
	c->flags &= ~(unsigned)(CLIENT_MULTI | CLIENT_SPOILED | CLIENT_WATCH_BROKEN | CLIENT_MUTE |
				CLIENT_SKIP | CLIENT_SKIP_NEXT | CLIENT_NO_EVICT);
	c->out.version = 2;
	(void)client_set_name(c, (struct slice){NULL, 0});
}

void
client_describe(const struct client *c, struct resp_out *text)
{
	char line[1024], flags[8];
	size_t n = 0;
	int64_t now = now_ms();
	const char *path = c->face->options.path != NULL ? c->face->options.path : "";
	int len;

	if (client_subscriptions(c) > 0)
		flags[n++] = 'P';
	if ((c->flags & CLIENT_MULTI) != 0)
		flags[n++] = 'x';
	if (c->state == CLIENT_WAITS || c->state == CLIENT_ACTS)
		flags[n++] = 'b';
	if ((c->flags & CLIENT_WATCH_BROKEN) != 0)
		flags[n++] = 'd';
	if ((c->flags & CLIENT_CLOSE_AFTER) != 0)
		flags[n++] = 'c';
	if (c->fd >= 0)
		flags[n++] = 'U';
	if ((c->flags & CLIENT_NO_EVICT) != 0)
		flags[n++] = 'e';
	flags[n] = '\0';
	len = snprintf(line, sizeof(line),
	    "id=%llu addr=%s:0 laddr=%s:0 fd=%d name=", (unsigned long long)c->id, path, path,
	    c->fd);
	resp_raw(text, line, (size_t)len);
	if (c->name != NULL)
		resp_literal(text, c->name);
	len = snprintf(line, sizeof(line),
	    " age=%lld idle=%lld flags=%s db=0 sub=%zu psub=%zu ssub=0 multi=%lld qbuf=%zu "
	    "qbuf-free=%zu argv-mem=0 multi-mem=%zu rbs=%zu rbp=%zu obl=%zu oll=0 omem=%zu "
	    "tot-mem=%zu events=%s cmd=%s user=default redir=-1 resp=%d",
	    (long long)(now - c->since_ms) / 1000, (long long)(now - c->active_ms) / 1000, flags,
	    c->channels.n, c->patterns.n,
	    (c->flags & CLIENT_MULTI) != 0 ? (long long)c->queue.n_commands : -1LL,
	    c->in_len - c->in_at, c->in_size - (c->in_len - c->in_at), c->queue.len, c->out.size,
	    c->out.len, c->out.len - c->sent, c->out.size,
	    sizeof(*c) + c->in_size + c->out.size + c->queue.size,
	    (c->events & UV_WRITABLE) != 0 ? "rw" : "r", c->last != NULL ? c->last->name : "NULL",
	    c->out.version);
	resp_raw(text, line, (size_t)len);
}

/* ---- MULTI */

/* Room for n elements more. */
static int
grow(void *array, size_t *size, size_t used, size_t n, size_t element)
{
	void **p = array, *bigger;
	size_t want = *size == 0 ? QUEUE_FIRST : *size;

	if (*size - used >= n)
		return 0;
	while (want - used < n)
		want *= 2;
	bigger = realloc(*p, want * element);
	if (bigger == NULL)
		return -1;
	*p = bigger;
	*size = want;
	return 0;
}

int
client_queue_add(struct client *c, const struct command *cmd, const struct slice *argv, size_t argc)
{
	struct client_queue *q = &c->queue;
	size_t bytes = 0;

	for (size_t i = 0; i < argc; i++)
		bytes += argv[i].len;
	if (bytes > c->face->options.request_max || q->len > c->face->options.request_max - bytes ||
	    q->n_args > RESP_ARGS_MAX || q->n_commands >= RESP_ARGS_MAX)
		return -1;
	if (grow(&q->bytes, &q->size, q->len, bytes + 1, 1) != 0 ||
	    grow(&q->args, &q->args_size, q->n_args, argc, sizeof(*q->args)) != 0 ||
	    grow(&q->commands, &q->commands_size, q->n_commands, 1, sizeof(*q->commands)) != 0)
		return -1;
	q->commands[q->n_commands++] = (struct queued){cmd, q->n_args, argc};
	for (size_t i = 0; i < argc; i++) {
		q->args[q->n_args++] =
		    (struct slice){(const uint8_t *)(uintptr_t)q->len, argv[i].len};
		if (argv[i].len > 0)
			memcpy(q->bytes + q->len, argv[i].data, argv[i].len);
		q->len += argv[i].len;
	}
	q->writes |= (cmd->flags & CMD_WRITE) != 0;
	return 0;
}

void
client_queue_clear(struct client *c)
{
	struct client_queue *q = &c->queue;

	free(q->bytes);
	free(q->args);
	free(q->commands);
	memset(q, 0, sizeof(*q));
}
