/* SPDX-License-Identifier: ISC */
/*
 * The common life of a sandboxed child; see child.h.
 */
#include "config.h"

#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../policy/sandbox.h"
#include "clock.h"
#include "log.h"

static int child_control(struct channel *c, struct msg *m);

void
child_hold_numbers(void)
{
	for (int fd = FD_EDGE_BASE; fd < FD_FIRST_FREE; fd++) {
		if (fcntl(fd, F_GETFD) == -1 && dup3(FD_NULL, fd, O_CLOEXEC) == -1)
			fatal("cannot hold descriptor number %d", fd);
	}
}

void
child_init(struct child *ch, enum process self, const struct child_ops *ops, void *user)
{
	memset(ch, 0, sizeof(*ch));
	ch->self = self;
	ch->ops = ops;
	ch->user = user;
	channel_init(&ch->control, FD_CONTROL, self, PROC_SUPERVISOR, child_control, ch);
	ch->control.essential = 1;
}

void
child_add_edge(
    struct child *ch, struct channel *c, enum process peer, channel_handler *handler, void *user)
{
	if (ch->n_edges == CHILD_EDGES)
		fatal("more than %d edges", CHILD_EDGES);
	channel_init(c, FD_EDGE(peer), ch->self, peer, handler, user);
	c->rate_max = EDGE_RATE_MAX;
	c->essential = 1;
	ch->edge[ch->n_edges++] = c;
}

/* Send an answer on the control channel; that it cannot be sent shows as its end of file. */
static void
child_send(struct child *ch, struct msg *m)
{
	(void)channel_send(&ch->control, m);
}

void
child_ready(struct child *ch, unsigned layers)
{
	struct msg m;

	msg_begin(&m, MSG_READY);
	msg_put_u8(&m, (uint8_t)layers);
	child_send(ch, &m);
}

const struct conf *
child_conf(const struct child *ch)
{
	return ch->committed ? &ch->conf[ch->current] : NULL;
}

static void
child_set_state(struct child *ch, enum channel_state state)
{
	ch->control.state = state;
	for (size_t i = 0; i < ch->n_edges; i++)
		ch->edge[i]->state = state;
}

/* Forget the pending config, whatever its stage. */
static void
child_forget(struct child *ch)
{
	int was_prepared = ch->prepared;

	ch->filling = 0;
	ch->has_general = 0;
	ch->prepared = 0;
	if (ch->control.state == S_PREPARE)
		child_set_state(ch, S_RUN);
	if (was_prepared && ch->ops->on_abort != NULL)
		ch->ops->on_abort(ch);
}

/*
 * One CONF_* message into the pending config; the first one after a decision starts from defaults.
 */
static int
child_conf_part(struct child *ch, struct msg *m)
{
	struct conf *pending = &ch->conf[!ch->current];

	if (!ch->filling) {
		child_forget(ch);
		conf_defaults(pending);
		ch->filling = 1;
	}
	if (m->type == MSG_CONF_GENERAL)
		ch->has_general = 1;
	return conf_apply(pending, m);
}

static void
child_refuse(struct child *ch, uint64_t serial, enum refusal reason, uint8_t index)
{
	struct msg m;

	msg_begin(&m, MSG_REFUSED);
	msg_put_u64(&m, serial);
	msg_put_u16(&m, (uint16_t)reason);
	msg_put_u8(&m, index);
	child_send(ch, &m);
}

static int
child_prepare(struct child *ch, struct msg *m)
{
	struct conf *pending = &ch->conf[!ch->current];
	uint64_t serial = msg_get_u64(m);
	enum refusal reason = REFUSE_NONE;
	uint8_t index = 0;
	struct msg answer;

	if (msg_end(m) == -1)
		return -1;
	/* it is not sent: everybody makes it from what came */
	conf_digest(pending, pending->digest);
	if (!ch->filling || !ch->has_general)
		reason = REFUSE_CONFIG;
	else if (ch->ops->on_prepare != NULL)
		reason = ch->ops->on_prepare(ch, pending, &index);
	if (reason != REFUSE_NONE) {
		child_forget(ch);
		child_refuse(ch, serial, reason, index);
		return 0;
	}
	ch->filling = 0;
	ch->has_general = 0;
	ch->prepared = 1;
	ch->serial = serial;
	if (ch->control.state == S_RUN)
		child_set_state(ch, S_PREPARE);
	msg_begin(&answer, MSG_PREPARED);
	msg_put_u64(&answer, serial);
	child_send(ch, &answer);
	return 0;
}

static int
child_commit(struct child *ch, struct msg *m)
{
	const struct conf *old = child_conf(ch);
	uint64_t serial = msg_get_u64(m);

	if (msg_end(m) == -1 || !ch->prepared || serial != ch->serial)
		return -1;
	ch->current = !ch->current;
	ch->committed = 1;
	ch->conf_serial = serial;
	ch->prepared = 0;
	child_set_state(ch, S_RUN);
	if (ch->ops->on_commit != NULL)
		ch->ops->on_commit(ch, old);
	return 0;
}

static int
child_abort(struct child *ch, struct msg *m)
{
	(void)msg_get_u64(m);
	if (msg_end(m) == -1)
		return -1;
	child_forget(ch);
	return 0;
}

static int
child_stop(struct child *ch, struct msg *m)
{
	uint32_t ms = msg_get_u32(m);

	if (msg_end(m) == -1)
		return -1;
	child_set_state(ch, S_STOP);
	if (ch->ops->on_stop != NULL)
		ch->ops->on_stop(ch, ms);
	return 0;
}

/* The old end of an edge goes: tell the owner, free what is queued. */
static void
child_edge_close(struct child *ch, struct channel *c)
{
	if (c->fd == -1)
		return;
	if (ch->ops->on_peer_down != NULL)
		ch->ops->on_peer_down(ch, c);
	channel_close(c);
}

/* PEER_BROKEN: what a peer did, with the first bytes of its packet. */
static void
child_tell(
    struct child *ch, enum process peer, enum channel_violation v, const void *bytes, size_t n)
{
	struct msg m;

	msg_begin(&m, MSG_PEER_BROKEN);
	msg_put_u8(&m, (uint8_t)peer);
	msg_put_u8(&m, (uint8_t)v);
	msg_put_bytes(&m, bytes, n);
	child_send(ch, &m);
}

/* Tell the supervisor of a packet that was refused, so that the less trusted end is replaced. */
static void
child_report(struct child *ch, const struct channel *c)
{
	char bytes[2 * sizeof(c->violation_bytes) + 1];

	if (c->violation == V_QUEUE) /* it is about no message */
		log_warn("%s %s", process_name(c->peer), violation_name(c->violation));
	else
		log_warn("a message of %s was refused (%s): %s", process_name(c->peer),
		    violation_name(c->violation),
		    log_hex(bytes, c->violation_bytes, c->violation_len));
	child_tell(ch, c->peer, c->violation, c->violation_bytes, c->violation_len);
}

void
child_edge_lost(struct child *ch, struct channel *c)
{
	enum process peer = c->peer;

	if (c->violation != V_NONE)
		child_report(ch, c);
	for (size_t i = 0; i < ch->n_edges; i++) {
		if (ch->edge[i] == c)
			ch->lost_ms[i] = now_ms();
	}
	child_edge_close(ch, c);
	if (dup3(FD_NULL, FD_EDGE(peer), O_CLOEXEC) == -1)
		fatal("cannot keep the descriptor of the channel to %s", process_name(peer));
}

/*
 * A peer whose end is gone ends itself as a rule, and its successor's end comes with PEER. One that
 * lives on, or takes nothing, would be missed for ever: the supervisor is told.
 */
static void
child_watch_edges(struct child *ch, int64_t now)
{
	for (size_t i = 0; i < ch->n_edges; i++) {
		struct channel *c = ch->edge[i];
		/*
		 * both ends may miss each other: the one that is farther from outside bytes speaks
		 * first, and is believed
		 */
		int64_t limit_ms = process_distance(ch->self) > process_distance(c->peer)
				       ? EDGE_LOST_MS
				       : 3 * EDGE_LOST_MS;

		if (c->fd >= 0 &&
		    (c->broken || c->violation != V_NONE || channel_beat(c, now) != 0)) {
			child_edge_lost(ch, c);
		} else if (ch->lost_ms[i] != 0 && now - ch->lost_ms[i] >= limit_ms) {
			ch->lost_ms[i] = now;
			child_tell(ch, c->peer, V_CLOSED, NULL, 0);
		}
	}
}

static int
child_ping(struct child *ch, struct msg *m)
{
	uint64_t cookie = msg_get_u64(m);
	uint8_t digest[16] = {0};
	struct msg answer;

	if (msg_end(m) == -1)
		return -1;
	if (ch->committed) /* made anew each time: of what is there now, not of what once came */
		conf_digest_values(&ch->conf[ch->current], ch->self, digest);
	msg_begin(&answer, MSG_PONG);
	msg_put_u64(&answer, cookie);
	msg_put_bytes(&answer, digest, sizeof(digest));
	child_send(ch, &answer);
	child_watch_edges(ch, now_ms());
	return 0;
}

/* Is there a socket on the number of a channel? Of another kind it could not even be waited for. */
static int
child_is_socket(int fd)
{
	struct msghdr mh = {0};
	ssize_t n;

	do {
		n = recvmsg(fd, &mh, MSG_PEEK | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n >= 0 || errno != ENOTSOCK;
}

static int
child_peer(struct child *ch, struct msg *m)
{
	unsigned peer = msg_get_u8(m), same = msg_get_u8(m);
	struct channel *c = NULL;
	int64_t *lost = NULL;
	int fd;

	if (msg_end(m) == -1 || same > 1)
		return -1;
	for (size_t i = 0; i < ch->n_edges; i++) {
		if (ch->edge[i]->peer != peer)
			continue;
		c = ch->edge[i];
		lost = &ch->lost_ms[i];
	}
	if (c == NULL)
		return -1;
	fd = msg_take_fd(m);
	if (fd < 0)
		fatal("no descriptor is left for the channel to %s", process_name(c->peer));
	child_edge_close(ch, c);
	/* dup3, not use as received: the rules of the sandbox name descriptor numbers */
	if (dup3(fd, FD_EDGE(peer), O_CLOEXEC) == -1)
		fatal("cannot take over the channel to %s", process_name(c->peer));
	close(fd);
	if (!child_is_socket(FD_EDGE(peer))) {
		(void)dup3(FD_NULL, FD_EDGE(peer), O_CLOEXEC);
		return -1;
	}
	channel_init(c, FD_EDGE(peer), ch->self, c->peer, c->handler, c->user);
	c->rate_max = EDGE_RATE_MAX;
	c->essential = 1;
	if (same)
		channel_beat_now(c, now_ms());
	*lost = 0;
	c->state = ch->control.state;
	if (ch->ops->on_peer_up != NULL)
		ch->ops->on_peer_up(ch, c);
	return 0;
}

/* Handler of the control channel. */
static int
child_control(struct channel *c, struct msg *m)
{
	struct child *ch = c->user;

	switch (m->type) {
	case MSG_CONF_GENERAL:
	case MSG_CONF_SERVER:
	case MSG_CONF_REFERENCE:
	case MSG_CONF_HOOK:
	case MSG_CONF_CHECK:
		return child_conf_part(ch, m);
	case MSG_PREPARE:
		return child_prepare(ch, m);
	case MSG_COMMIT:
		return child_commit(ch, m);
	case MSG_ABORT:
		return child_abort(ch, m);
	case MSG_PING:
		return child_ping(ch, m);
	case MSG_STOP:
		return child_stop(ch, m);
	case MSG_PEER:
		return child_peer(ch, m);
	case MSG_DUMP:
		if (ch->ops->on_dump != NULL)
			ch->ops->on_dump(ch);
		return 0;
	default:
		return ch->ops->on_other != NULL ? ch->ops->on_other(ch, m) : -1;
	}
}

int
child_control_exit(const struct child *ch)
{
	const struct channel *c = &ch->control;
	char bytes[2 * sizeof(c->violation_bytes) + 1];

	if (c->violation == V_NONE)
		return EXIT_CHANNEL;
	log_error("a message of the supervisor was refused (%s): %s", violation_name(c->violation),
	    log_hex(bytes, c->violation_bytes, c->violation_len));
	return EXIT_PROTOCOL;
}
