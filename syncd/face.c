/* SPDX-License-Identifier: ISC */
/*
 * The local face (face.h): accepting, the turn of the loop, time.
 */
#include "config.h"

#include "face.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "action.h"
#include "command.h"
#include "lib/clock.h"
#include "lib/log.h"

enum {
	ACCEPT_MAX = 64,       /* connections in one turn */
	EXPIRE_MAX = 200,      /* keys in one turn */
	EXPIRE_LOOK_MS = 1000, /* the wall clock can be set: it is looked at so often */
	LOG_EVERY_MS = 1000,
	FORCE_EVERY_MS = 200,
	GATHER_MAX = 4, /* looks for more before a sync */
	REST_MS = 100,	/* no descriptors or memory for a connection */
	TURN_MS = 200	/* requests that are there are executed for so long */
};

static void on_listener(uv_poll_t *handle, int status, int events);
static void on_before_poll(uv_prepare_t *handle);
static void on_after_poll(uv_check_t *handle);
static void on_expiry(uv_timer_t *timer);
static void on_deadline(uv_timer_t *timer);
static void on_rested(uv_timer_t *timer);
static void on_late(uv_timer_t *timer);

static struct log_limit connect_log, disk_log, rest_log;

static void
set_default(size_t *value, size_t standard)
{
	if (*value == 0)
		*value = standard;
}

int
face_open(struct face *f, uv_loop_t *loop, int listen_fd, struct store *store,
    const struct face_calls *calls, void *arg, const struct face_options *options)
{
	memset(f, 0, sizeof(*f));
	f->loop = loop;
	f->calls = calls;
	f->arg = arg;
	f->options = *options;
	f->db.store = store;
	f->listen_fd = listen_fd;
	f->started_ms = now_ms();
	set_default(&f->options.bulk_max, RESP_BULK_MAX);
	set_default(&f->options.request_max, (size_t)1 << 30);
	set_default(&f->options.output_max, (size_t)1 << 30);
	set_default(&f->options.output_push_max, (size_t)32 << 20);
	if (f->options.clients_max == 0)
		f->options.clients_max = 900;
	if (f->options.action_ms == 0)
		f->options.action_ms = ACTION_MS;
	action_init(f);
	command_init();
	if (interests_init(&f->watches) != 0 || interests_init(&f->channels) != 0 ||
	    interests_init(&f->patterns) != 0 || interests_init(&f->served) != 0) {
		log_error("no memory for the local face");
		return -1;
	}
	f->before_poll.data = f->after_poll.data = f->gather.data = f->expiry.data =
	    f->deadlines.data = f;
	f->rest.data = f->late_ones.data = f;
	uv_prepare_init(loop, &f->before_poll);
	uv_check_init(loop, &f->after_poll);
	uv_idle_init(loop, &f->gather);
	uv_timer_init(loop, &f->expiry);
	uv_timer_init(loop, &f->deadlines);
	uv_timer_init(loop, &f->rest);
	uv_timer_init(loop, &f->late_ones);
	f->n_handles = 7;
	uv_prepare_start(&f->before_poll, on_before_poll);
	uv_check_start(&f->after_poll, on_after_poll);
	if (listen_fd >= 0) {
		f->listener.data = f;
		if (uv_poll_init(loop, &f->listener, listen_fd) != 0) {
			log_error("the local socket cannot be polled");
			return -1;
		}
		f->n_handles++;
		f->listening = f->accepting = true;
		uv_poll_start(&f->listener, UV_READABLE, on_listener);
	}
	uv_timer_start(&f->expiry, on_expiry, 0, 0);
	return 0;
}

static void
on_handle_closed(uv_handle_t *handle)
{
	struct face *f = handle->data;

	f->n_handles--;
}

void
face_close(struct face *f)
{
	if (f->closing)
		return;
	f->closing = true;
	while (f->clients != NULL)
		client_end(f->clients, NULL);
	f->turn = NULL;
	f->n_turn = 0;
	client_free_dead(f);
	uv_close((uv_handle_t *)&f->before_poll, on_handle_closed);
	uv_close((uv_handle_t *)&f->after_poll, on_handle_closed);
	uv_close((uv_handle_t *)&f->gather, on_handle_closed);
	uv_close((uv_handle_t *)&f->expiry, on_handle_closed);
	uv_close((uv_handle_t *)&f->deadlines, on_handle_closed);
	uv_close((uv_handle_t *)&f->rest, on_handle_closed);
	uv_close((uv_handle_t *)&f->late_ones, on_handle_closed);
	if (f->listening)
		uv_close((uv_handle_t *)&f->listener, on_handle_closed);
}

bool
face_closed(const struct face *f)
{
	return f->closing && f->n_handles == 0;
}

void
face_free(struct face *f)
{
	interests_free(&f->watches);
	interests_free(&f->channels);
	interests_free(&f->patterns);
	interests_free(&f->served);
	free(f->argv);
	free(f->events);
	free(f->marks);
	memset(f, 0, sizeof(*f));
}

/* ---- accepting */

static bool
has_room(const struct face *f)
{
	return f->n_clients - f->n_remote < f->options.clients_max && !f->resting;
}

/* Listens or not, as there is room. */
static void
look_at_room(struct face *f)
{
	bool room = has_room(f);

	if (!f->listening || room == f->accepting)
		return;
	f->accepting = room;
	if (room) {
		uv_poll_start(&f->listener, UV_READABLE, on_listener);
		return;
	}
	if (!f->resting)
		log_warn("%u local connections: no more are accepted", f->n_clients - f->n_remote);
	uv_poll_stop(&f->listener);
}

/* The listener would say at once, and for ever, that there is something to accept. */
static void
rest(struct face *f, int error)
{
	uint64_t held;

	if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
		return;
	if (log_limited(&rest_log, now_ms(), LOG_EVERY_MS, &held))
		log_warn("a local connection cannot be accepted: %s", strerror(error));
	f->resting = true;
	uv_timer_start(&f->rest, on_rested, REST_MS, 0);
	look_at_room(f);
}

static void
on_rested(uv_timer_t *timer)
{
	struct face *f = timer->data;

	f->resting = false;
	look_at_room(f);
}

/* Accepts while there is room for clients; the kernel's queue holds the others. */
static void
accept_some(struct face *f)
{
	for (int i = 0; i < ACCEPT_MAX && has_room(f); i++) {
		struct ucred peer = {.uid = (uid_t)-1, .pid = -1};
		socklen_t len = sizeof(peer);
		uint64_t held;
		int fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			rest(f, errno);
			return;
		}
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
		    client_new(f, fd, peer.uid, peer.pid) == NULL) {
			log_warn("a local connection was not accepted: %s", strerror(errno));
			close(fd);
			continue;
		}
		f->counts.connections++;
		if (!log_limited(&connect_log, now_ms(), LOG_EVERY_MS, &held))
			continue;
		if (held == 0)
			log_info(
			    "app connected: uid %u, pid %d", (unsigned)peer.uid, (int)peer.pid);
		else
			log_info("app connected: uid %u, pid %d (%llu more since the last line)",
			    (unsigned)peer.uid, (int)peer.pid, (unsigned long long)held);
	}
}

static void
on_listener(uv_poll_t *handle, int status, int events)
{
	struct face *f = handle->data;

	(void)events;
	if (status < 0)
		return;
	accept_some(f);
	look_at_room(f); /* nobody may say anything, and then no turn ends */
}

/* ---- the turn */

/*
 * The changes of this turn are undone: answers that rest on them become errors, notifications of
 * them go. From the last to the first, so that places stay right.
 */
static void
take_back(struct face *f, int error)
{
	struct resp_out text = {.version = 2};
	struct position end = store_end(f->db.store);
	uint64_t held;

	f->counts.undone++;
	if (log_limited(&disk_log, now_ms(), LOG_EVERY_MS, &held))
		log_error("changes are not durable and undone: %s", strerror(error));
	resp_error(&text, command_failure(error));
	while (f->n_marks > 0) {
		const struct face_mark *m = &f->marks[--f->n_marks];

		if ((m->client->flags & CLIENT_DEAD) != 0)
			continue;
		resp_replace(&m->client->out, m->start, m->end - m->start, text.data,
		    m->push ? 0 : text.len);
		if (m->client->out.failed)
			client_end(m->client, "no memory");
	}
	for (struct client *c = f->clients; c != NULL; c = c->next)
		if (c->written.index > end.index) {
			c->written = end;
			c->owes = c->owes > end.index ? end.index : c->owes;
		}
	resp_out_free(&text);
}

/* WAIT that is answered now: it got what it waits for, or (by time) its time is up. */
static void
look_at_waiting(struct face *f)
{
	int64_t now = now_ms();
	struct client *next;

	for (struct client *c = f->n_waiting > 0 ? f->clients : NULL; c != NULL; c = next) {
		next = c->next;
		if (c->state == CLIENT_HELD || (c->state == CLIENT_ACTS && c->out.len > c->sent))
			client_in_turn(c);
		if (c->state != CLIENT_WAITS ||
		    !command_wait_done(c, c->wait_until_ms != 0 && c->wait_until_ms <= now))
			continue;
		c->state = CLIENT_RUNS;
		f->n_waiting--;
		client_in_turn(c);
	}
}

static void
arm_timers(struct face *f)
{
	int64_t first = action_next_ms(f), now = now_ms(), next;
	struct timespec t;

	for (struct client *c = f->n_waiting > 0 ? f->clients : NULL; c != NULL; c = c->next)
		if (c->state == CLIENT_WAITS && c->wait_until_ms != 0 &&
		    (first == 0 || c->wait_until_ms < first))
			first = c->wait_until_ms;
	if (first != 0)
		uv_timer_start(
		    &f->deadlines, on_deadline, first > now ? (uint64_t)(first - now) : 0, 0);
	else
		uv_timer_stop(&f->deadlines);
	next = store_next_expiry(f->db.store);
	if (next == 0)
		return; /* a change that makes one comes through here */
	clock_gettime(CLOCK_REALTIME, &t);
	next -= (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 - 1;
	if (next > EXPIRE_LOOK_MS)
		next = EXPIRE_LOOK_MS;
	if (!uv_is_active((uv_handle_t *)&f->expiry) ||
	    uv_timer_get_due_in(&f->expiry) > (uint64_t)(next < 0 ? 0 : next))
		uv_timer_start(&f->expiry, on_expiry, next < 1 ? 1 : (uint64_t)next, 0);
}

/* What was deleted makes room for others when the state is written: so that a full one recovers. */
static void
checkpoint(struct face *f)
{
	bool force = f->refused && now_ms() - f->forced_ms >= FORCE_EVERY_MS;

	(void)store_checkpoint(f->db.store, force);
	if (force) {
		f->refused = false;
		f->forced_ms = now_ms();
	}
}

bool
face_has_time(struct face *f)
{
	int64_t now = now_ms();

	if (f->turn_ms == 0)
		f->turn_ms = now;
	return now - f->turn_ms < TURN_MS;
}

static void
on_late(uv_timer_t *timer)
{
	struct face *f = timer->data;

	while (f->late != NULL && face_has_time(f))
		client_run_late(f);
}

/*
 * What was executed becomes durable, then it is answered. An answered WAIT lets its client go on,
 * which is then flushed and answered too.
 */
static void
answer_turn(struct face *f)
{
	do {
		struct client *c;

		if (f->changed && f->calls->before_sync != NULL)
			f->calls->before_sync(f->arg);
		if (f->changed && store_flush(f->db.store) != 0)
			take_back(f, errno != 0 ? errno : EIO);
		f->changed = false;
		f->n_marks = 0;
		look_at_waiting(f);
		action_turn(f);
		while ((c = f->turn) != NULL) {
			enum client_state before = c->state;

			f->turn = c->next_turn;
			f->n_turn--;
			c->flags &= ~(unsigned)CLIENT_IN_TURN;
			client_send(c);
			if (before != CLIENT_RUNS || c->in_at < c->in_len)
				client_run(c);
			if (f->changed)
				break; /* nothing of that may leave before it is durable */
		}
	} while (f->changed || f->turn != NULL || f->actions.due);
}

static void
end_turn(struct face *f)
{
	if (f->turn != NULL || f->changed || f->dead != NULL || f->actions.due) {
		answer_turn(f);
		client_free_dead(f);
		look_at_room(f);
		checkpoint(f);
		arm_timers(f);
	}
	f->turn_ms = 0;
	if (f->late != NULL && !uv_is_active((uv_handle_t *)&f->late_ones))
		uv_timer_start(&f->late_ones, on_late, 1, 0);
}

bool
face_gathers(const struct face *f)
{
	return f->gathered > 0;
}

static void
on_before_poll(uv_prepare_t *handle)
{
	struct face *f = handle->data;

	if (!face_gathers(f))
		end_turn(f);
}

/* While it is active the loop does not wait. */
static void
on_gather(uv_idle_t *handle)
{
	(void)handle;
}

/*
 * Whether the loop shall look for more before the sync: something came since it looked last, and
 * there are clients that have nothing in this turn yet.
 */
static bool
look_for_more(struct face *f)
{
	bool more = f->changed && f->gathered < GATHER_MAX && f->n_turn < f->n_clients &&
		    (f->gathered == 0 || f->counts.commands != f->n_gathered) && f->late == NULL;

	f->n_gathered = f->counts.commands;
	if (more && f->gathered++ == 0)
		uv_idle_start(&f->gather, on_gather);
	if (!more && f->gathered > 0) {
		f->gathered = 0;
		uv_idle_stop(&f->gather);
	}
	return more;
}

static void
on_after_poll(uv_check_t *handle)
{
	struct face *f = handle->data;

	if (!look_for_more(f))
		end_turn(f);
}

static void
on_deadline(uv_timer_t *timer)
{
	struct face *f = timer->data;

	action_expire(f);
	look_at_waiting(f);
	arm_timers(f);
}

static void
on_expiry(uv_timer_t *timer)
{
	struct face *f = timer->data;
	const char *refusal;
	struct timespec t;
	int n;

	if (f->calls->route(f->arg, &f->db.epoch, &refusal) != FACE_LOCAL) {
		uv_timer_start(timer, on_expiry, EXPIRE_LOOK_MS, 0);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &t);
	f->db.now_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	n = db_expire_due(f, EXPIRE_MAX);
	if (n < 0)
		uv_timer_start(timer, on_expiry, EXPIRE_LOOK_MS, 0);
	else
		arm_timers(f);
}

/* ---- the owner's side */

/* The client goes on behind an answer from elsewhere. */
static void
go_on(struct client *c)
{
	client_answered(c);
	client_run(c);
}

void
face_answer(struct face *f, uint64_t client, struct slice answer)
{
	struct client *c = client_find(f, client);

	if (c == NULL || c->state != CLIENT_PROXIED)
		return;
	if ((c->flags & (CLIENT_MUTE | CLIENT_SKIP)) == 0)
		resp_raw(&c->out, answer.data, answer.len);
	go_on(c);
}

void
face_refuse(struct face *f, uint64_t client, const char *error)
{
	struct client *c = client_find(f, client);

	if (c == NULL || c->state != CLIENT_PROXIED)
		return;
	if ((c->flags & (CLIENT_MUTE | CLIENT_SKIP)) == 0)
		resp_error(&c->out, error);
	go_on(c);
}

void
face_progress(struct face *f)
{
	action_room(f);
	look_at_waiting(f);
	arm_timers(f);
	if (!uv_is_active((uv_handle_t *)&f->expiry))
		uv_timer_start(&f->expiry, on_expiry, 1, 0);
}

void
face_demoted(struct face *f)
{
	uint64_t released = f->calls->released != NULL ? f->calls->released(f->arg) : UINT64_MAX;
	struct client *next;

	for (struct client *c = f->clients; c != NULL; c = next) {
		next = c->next;
		if ((c->flags & CLIENT_DEAD) != 0)
			continue; /* with one before it */
		if (c->state == CLIENT_WAITS) {
			(void)command_wait_done(c, true);
			c->state = CLIENT_RUNS;
			f->n_waiting--;
			client_in_turn(c);
		}
		if (c->owes > released && c->out.len > c->sent)
			client_end(c,
			    "this server is main no more, and not enough standbys are known to "
			    "have its changes");
		c->owes = 0;
		memset(&c->written, 0, sizeof(c->written));
	}
}

void
face_promoted(struct face *f)
{
	for (struct client *c = f->clients; c != NULL; c = c->next)
		c->written = store_end(f->db.store);
}

uint64_t
face_remote_new(struct face *f)
{
	struct client *c = client_new(f, -1, (uid_t)-1, -1);

	if (c == NULL)
		return 0;
	c->written = store_end(f->db.store); /* its program may have written over another link */
	return c->id;
}

bool
face_remote_lives(struct face *f, uint64_t client)
{
	return client_find(f, client) != NULL;
}

/* Its answer finds no room. Whether the request was executed is up to the end of the turn. */
static void
lose_answer(struct client *c)
{
	struct face *f = c->face;
	size_t n = 0;

	for (size_t i = 0; i < f->n_marks; i++)
		if (f->marks[i].client != c)
			f->marks[n++] = f->marks[i];
	f->n_marks = n;
	f->counts.condemned++;
	resp_out_free(&c->out);
	c->out.failed = false;
	resp_error(&c->out,
	    "-UNKNOWN the answer is larger than main has room for: the request may or may "
	    "not have been executed");
}

int
face_remote_run(struct face *f, uint64_t client, const struct face_request *r)
{
	struct client *c = client_find(f, client);

	if (c == NULL || (c->flags & CLIENT_REMOTE) == 0 || c->state != CLIENT_RUNS)
		return -1;
	client_in_turn(c);
	command_run_request(c, r);
	if (c->out.failed)
		lose_answer(c);
	client_count(c);
	return 0;
}

int
face_remote_act(struct face *f, uint64_t client, const struct face_action *a, const char *server)
{
	struct client *c = client_find(f, client);

	if (c == NULL || (c->flags & CLIENT_REMOTE) == 0 || c->state != CLIENT_RUNS)
		return -1;
	client_in_turn(c);
	c->out.version = a->version == 3 ? 3 : 2;
	command_act(c, a, server);
	client_count(c);
	return 0;
}

void
face_remote_free(struct face *f, uint64_t client)
{
	struct client *c = client_find(f, client);

	if (c != NULL && (c->flags & CLIENT_REMOTE) != 0)
		client_end(c, NULL);
}
