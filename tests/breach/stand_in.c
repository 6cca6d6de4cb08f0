/* SPDX-License-Identifier: ISC */
/*
 * A child that was taken over, or is broken: stands in for one of the real programs in a libexec
 * folder of a test (tests/system/standin.py), plays by the rules until it is told to do otherwise,
 * and then does one thing. It drops its privileges like every child, but enters no sandbox: what
 * the others bear from it, they bear from any process that is held tighter.
 *
 * What it does is written into the copy of the program that is installed, because nothing else
 * reaches a child: `real program|first generation|last generation|act|edge`. In all other
 * generations it is the real program.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/admin.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "policy/sandbox.h"

enum {
	ORDERS = 512,
	FIELDS = 5,
	FLOOD = 1000000,      /* messages */
	LOG_FLOOD = 64 << 20, /* bytes */
	ACT_AFTER_MS = 300,   /* of good behaviour, after COMMIT */
	FDS = 250,	      /* in one packet */
	DEAF_AFTER_MS = 1300, /* the peer has asked at least once whether it reads */
	POINT = 32,
	RATE_MS = 1500,
	RATE_LIMIT_MS = 15000,
	RATE_STEP = 12, /* requests in RATE_STEP_MS: 2400 a second */
	RATE_STEP_MS = 5,
	RATE_AHEAD = 500, /* requests without an answer */
	MOODS = 1000,	  /* a second, in which no channel takes it for a flood */
	MOOD_AGAIN_MS = 300,
	ALL_LAYERS = 15,
};

/* tests/system/standin.py looks for the first word and writes the orders over it. */
static volatile char orders[ORDERS] = "@stand-in-orders@";

static struct {
	char text[ORDERS];
	const char *real, *act;
	unsigned long first, last;
	enum process edge; /* PROC_SUPERVISOR: the control channel */
} order;

static struct child child;
static struct channel edges[CHILD_EDGES];
static channel_handler *common_handler;
static unsigned prepares;
static int64_t act_ms; /* 0: not yet */
static int acted, reads_control = 1, reads_edge = 1;
static int once;		   /* not again with a fresh channel to the same peer */
static unsigned answered, refused; /* by keyd */

static int
act_is(const char *name)
{
	return strcmp(order.act, name) == 0;
}

static void
read_orders(void)
{
	char *field[FIELDS], *rest = order.text;

	for (size_t i = 0; i < ORDERS - 1; i++)
		order.text[i] = orders[i];
	for (int i = 0; i < FIELDS; i++) {
		field[i] = rest;
		rest = strchr(rest, i < FIELDS - 1 ? '|' : '\n');
		if (rest == NULL)
			_exit(EXIT_USAGE);
		*rest++ = '\0';
	}
	order.real = field[0];
	order.first = strtoul(field[1], NULL, 10);
	order.last = strtoul(field[2], NULL, 10);
	once = strncmp(field[3], "once-", strlen("once-")) == 0;
	order.act = field[3] + (once ? strlen("once-") : 0);
	for (enum process p = PROC_SUPERVISOR; p < PROC_MAX; p++) {
		if (strcmp(process_name(p), field[4]) == 0)
			order.edge = p;
	}
}

static void serve(struct channel *c, short revents);

/* The channel that the act is about. */
static struct channel *
target(void)
{
	for (size_t i = 0; i < child.n_edges; i++) {
		if (order.edge != PROC_SUPERVISOR && child.edge[i]->peer == order.edge)
			return child.edge[i];
	}
	return &child.control;
}

/* ---- acts */

/* A message that this process may send there at any time. */
static void
valid_message(struct msg *m, enum process to)
{
	static const uint8_t zeros[128];
	uint8_t self = (uint8_t)child.self;

	if (self == PROC_PARSER) {
		msg_begin(m, MSG_CONF_ERROR);
		msg_put_bytes(m, "1: a lie", 8);
	} else if (to == PROC_SUPERVISOR && self == PROC_NETD) {
		msg_begin(m, MSG_DIAL);
		msg_put_u32(m, 7);
		msg_put_u8(m, child_conf(&child)->general.self == 0);
		msg_put_u8(m, 0);
		msg_put_u8(m, LINK_STATUS);
	} else if (to == PROC_SUPERVISOR && self == PROC_ROLED) {
		msg_begin(m, MSG_ACTION);
		msg_put_u8(m, ACTION_RELOAD);
		msg_put_bytes(m, zeros, 2);
		msg_put_u8(m, UINT8_MAX);
		msg_put_bytes(m, zeros, 20);
	} else if (to == PROC_SUPERVISOR) {
		msg_begin(m, MSG_PEER_BROKEN);
		msg_put_u8(m, PROC_ROLED);
		msg_put_u8(m, V_CLOSED); /* a lie; there is nothing else for these to say */
	} else if (self == PROC_NETD && to == PROC_SYNCD) {
		msg_begin(m, MSG_LINK_CLOSED); /* it has ended already */
		msg_put_bytes(m, zeros, 21);
	} else if (self == PROC_KEYD && to == PROC_SYNCD) {
		msg_begin(m, MSG_KEY_SHARED); /* there is nothing that it may say unasked */
		msg_put_bytes(m, zeros, 37);
	} else if (self == PROC_ROLED && to == PROC_SYNCD) {
		msg_begin(m, MSG_DATA_ROLE);
		msg_put_u8(m, DATA_STANDBY);
		msg_put_u8(m, UINT8_MAX);
		msg_put_bytes(m, zeros, 9);
	} else if (self == PROC_SYNCD && to == PROC_ROLED) {
		msg_begin(m, MSG_DATA_POSITION);
		msg_put_u8(m, DATA_IN_SYNC);
		msg_put_bytes(m, zeros, 33);
	} else if (self == PROC_SYNCD && to == PROC_NETD) {
		msg_begin(m, MSG_LINK_DROP); /* of none that there is */
		msg_put_u32(m, 7);
	} else if (self == PROC_NETD) {
		msg_begin(m, MSG_NET_COUNTERS);
		msg_put_bytes(m, zeros, 80);
	} else if (self == PROC_ICMPD) {
		msg_begin(m, MSG_ICMP_REPORT);
		msg_put_bytes(m, zeros, 27);
	} else if (self == PROC_KEYD) {
		msg_begin(m, MSG_KEY_PUBLIC);
		msg_put_bytes(m, zeros, 64);
	} else if (to == PROC_KEYD) {
		msg_begin(m, MSG_KEY_DH);
		msg_put_u32(m, 1);
		msg_put_bytes(m, zeros, 31);
		msg_put_u8(m, 9);
	} else {
		msg_begin(m, MSG_NET_PING);
	}
}

/* To the socket itself: no queue of ours, every packet out as fast as it is taken. */
static int
send_raw(int fd, const struct msg *m)
{
	static uint8_t packet[MSG_SIZE_MAX];
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	memset(packet, 0, MSG_HEADER);
	packet[0] = (uint8_t)m->type;
	memcpy(packet + MSG_HEADER, m->body, m->len);
	for (;;) {
		if (send(fd, packet, MSG_HEADER + m->len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
		if (errno != EAGAIN)
			return -1;
		(void)poll(&p, 1, 1000);
	}
}

static void
flood_messages(void)
{
	static struct msg m;
	struct channel *c = target();

	valid_message(&m, c->peer);
	/* the answers are asked for: it floods, but accuses nobody */
	c->permit[MSG_NET_PONG] = FLOOD;
	c->permit[MSG_KEY_SHARED] = FLOOD;
	for (unsigned i = 0; i < FLOOD; i++) {
		if (send_raw(c->fd, &m) != 0)
			return;
	}
	log_warn("stand-in: all messages were taken");
}

static void
flood_log(void)
{
	static char text[4096];
	struct pollfd p = {.fd = FD_LOG, .events = POLLOUT};

	memset(text, 'x', sizeof(text));
	for (size_t i = 63; i < sizeof(text); i += 64)
		text[i] = '\n';
	for (size_t n = 0; n < LOG_FLOOD;) {
		ssize_t r = write(FD_LOG, text, sizeof(text));

		if (r > 0)
			n += (size_t)r;
		else if (errno != EAGAIN)
			return;
		else
			(void)poll(&p, 1, 1000);
	}
}

/* Packets full of descriptors where none belongs. */
static void
flood_fds(void)
{
	static struct msg m;
	static union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(FDS * sizeof(int))];
	} control;
	struct channel *c = target();
	uint8_t header[MSG_HEADER] = {0};
	struct iovec iov[2];
	struct msghdr mh = {.msg_iov = iov,
	    .msg_iovlen = 2,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);

	valid_message(&m, c->peer);
	header[0] = (uint8_t)m.type;
	iov[0] = (struct iovec){.iov_base = header, .iov_len = sizeof(header)};
	iov[1] = (struct iovec){.iov_base = m.body, .iov_len = m.len};
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(FDS * sizeof(int));
	for (int i = 0; i < FDS; i++) {
		int fd = i % 2 == 0 ? FD_NULL : c->fd; /* its own end too: a cycle */

		memcpy(CMSG_DATA(cm) + (size_t)i * sizeof(int), &fd, sizeof(int));
	}
	for (int i = 0; i < 100; i++)
		(void)sendmsg(c->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static const uint8_t zeros[16];

/* Answer a PING that was not read. */
static void
guess_pong(void)
{
	static struct msg m;

	reads_control = 0;
	(void)poll(NULL, 0, 700); /* one comes every 500 ms */
	msg_begin(&m, MSG_PONG);
	msg_put_u64(&m, 1);
	msg_put_bytes(&m, &zeros, sizeof(zeros));
	(void)send_raw(FD_CONTROL, &m);
}

/* A complaint of a peer that did nothing. */
static void
accuse(void)
{
	static struct msg m;

	msg_begin(&m, MSG_PEER_BROKEN);
	msg_put_u8(&m, (uint8_t)order.edge);
	msg_put_u8(&m, V_BODY);
	(void)send_raw(FD_CONTROL, &m);
}

/* ---- acts towards keyd */

static void
ask_key(struct channel *c, uint32_t cookie, uint8_t first, uint8_t others)
{
	struct msg m;

	msg_begin(&m, MSG_KEY_DH);
	msg_put_u32(&m, cookie);
	msg_put_u8(&m, first);
	for (int i = 1; i < POINT; i++)
		msg_put_u8(&m, others);
	channel_permit(c, MSG_KEY_SHARED);
	(void)channel_send(c, &m);
}

/* For so long, be there for the others, too. */
static void
wait_and_serve(struct channel *c, int64_t ms)
{
	for (int64_t end_ms = now_ms() + ms; now_ms() < end_ms;) {
		struct pollfd p[] = {
		    {.fd = c->fd, .events = POLLIN}, {.fd = child.control.fd, .events = POLLIN}};

		(void)poll(p, 2, 1);
		serve(c, p[0].revents);
		serve(&child.control, p[1].revents);
	}
}

/* Ten times what it may answer, but not so many at once that keyd calls it a flood. */
static void
ask_fast(void)
{
	struct channel *c = target();
	int64_t began_ms = now_ms();
	unsigned asked = 0;

	while (now_ms() - began_ms < RATE_MS) {
		for (int i = 0; i < RATE_STEP && asked - answered - refused < RATE_AHEAD; i++)
			ask_key(c, asked++, 9, 0);
		wait_and_serve(c, RATE_STEP_MS);
	}
	while (asked > answered + refused && now_ms() - began_ms < RATE_LIMIT_MS)
		wait_and_serve(c, RATE_STEP_MS);
	log_info("stand-in: %u asked in %lld ms, %u answered, %u refused", asked,
	    (long long)(now_ms() - began_ms), answered, refused);
}

/* The same point under cookies that look like numbers of keys, again, and points of low order. */
static void
ask_all(void)
{
	static const uint32_t cookies[] = {0, 1, 2, 0x80000000, 0xffffffff, 1, 1};
	struct channel *c = target();

	for (size_t i = 0; i < sizeof(cookies) / sizeof(cookies[0]); i++)
		ask_key(c, cookies[i], 9, 0);
	ask_key(c, 100, 0, 0);
	ask_key(c, 101, 1, 0);
	wait_and_serve(c, 500);
	log_info("stand-in: %u answered, %u refused", answered, refused);
}

/* With the number of the other key behind it, or before. */
static void
ask_index(void)
{
	static struct msg m;
	static const uint8_t point[POINT] = {9};

	msg_begin(&m, MSG_KEY_DH);
	msg_put_u32(&m, 1);
	msg_put_bytes(&m, point, sizeof(point) - (act_is("key-short") ? 1 : 0));
	if (act_is("key-index"))
		msg_put_u8(&m, 1);
	(void)send_raw(target()->fd, &m);
}

/* ---- acts of syncd */

/* What syncd says of the data: there is room for changes, or not. */
static void
say_mood(struct channel *c, enum data_trouble trouble)
{
	static struct msg m;
	struct ctl_data d = {.role = "standby", .stream = "down", .in_sync_age_ms = -1};

	d.trouble = (uint8_t)trouble;
	msg_begin(&m, MSG_DATA_STATE);
	ctl_put_data(&m, &d);
	(void)send_raw(c->fd, &m);
}

/* By turns that there is no room and that there is, then only that there is none. */
static void
change_mood(void)
{
	static unsigned said;

	for (; said < MOODS; said++)
		say_mood(target(), said % 2 == 0 ? DATA_FULL : DATA_WELL);
	say_mood(target(), DATA_FULL);
	acted = 0;
	act_ms = now_ms() + MOOD_AGAIN_MS;
}

static void
act(void)
{
	struct channel *c = target();

	acted = 1;
	log_info("stand-in: %s towards %s", order.act, process_name(c->peer));
	if (act_is("flood"))
		flood_messages();
	else if (act_is("log"))
		flood_log();
	else if (act_is("fds"))
		flood_fds();
	else if (act_is("guess"))
		guess_pong();
	else if (act_is("accuse"))
		accuse();
	else if (act_is("moods"))
		change_mood();
	else if (act_is("key-rate"))
		ask_fast();
	else if (act_is("key-ask"))
		ask_all();
	else if (act_is("key-index") || act_is("key-short"))
		ask_index();
	else if (act_is("half-close"))
		(void)shutdown(c->fd, SHUT_WR);
	else if (act_is("half-open") && shutdown(c->fd, SHUT_RD) == 0)
		reads_edge = c == &child.control; /* or it would close the rest, too */
	else if (act_is("deaf") && c == &child.control)
		reads_control = 0;
	else if (act_is("deaf"))
		reads_edge = 0;
	else if (act_is("byte"))
		(void)send(c->fd, "x", 1, MSG_NOSIGNAL);
	else if (act_is("empty"))
		(void)send(c->fd, "", 0, MSG_NOSIGNAL);
}

/* ---- answers to a config */

static void
answer(enum message_type type, uint64_t serial)
{
	struct msg m;

	msg_begin(&m, type);
	msg_put_u64(&m, serial);
	if (type == MSG_REFUSED) {
		msg_put_u16(&m, REFUSE_RESOURCE);
		msg_put_u8(&m, 3);
	}
	(void)send_raw(FD_CONTROL, &m);
}

/* PREPARE of a reload, or of the start. Returns 1 when it has been dealt with. */
static int
mistreat_prepare(struct msg *m)
{
	uint64_t serial = msg_get_u64(m);

	m->pos = 0;
	if (++prepares == 1) {
		if (act_is("start-refused"))
			answer(MSG_REFUSED, serial);
		return act_is("start-refused") || act_is("start-never");
	}
	log_info("stand-in: asked to prepare %llu, %s", (unsigned long long)serial, order.act);
	if (act_is("prepare-die"))
		_exit(3);
	if (act_is("prepare-refused"))
		answer(MSG_REFUSED, serial);
	if (act_is("prepare-wrong"))
		answer(MSG_PREPARED, serial + 77);
	if (act_is("prepare-twice")) {
		answer(MSG_PREPARED, serial);
		answer(MSG_PREPARED, serial);
	}
	if (act_is("prepared-die")) {
		answer(MSG_PREPARED, serial);
		_exit(3);
	}
	return strncmp(order.act, "prepare", strlen("prepare")) == 0;
}

static int
on_control(struct channel *c, struct msg *m)
{
	if (m->type == MSG_PREPARE && mistreat_prepare(m))
		return 0;
	return common_handler(c, m);
}

/* ---- the common life of a child, as far as the others can see it */

/* Of a point that everybody knows: what comes of it may be in the log of a test. */
static void
note_shared(struct msg *m)
{
	uint32_t cookie = msg_get_u32(m);
	uint8_t ok = msg_get_u8(m), shared[POINT];
	char hex[2 * POINT + 1];

	msg_get_bytes(m, shared, sizeof(shared));
	*(ok ? &answered : &refused) += 1;
	if (act_is("key-ask"))
		log_info("stand-in: cookie %u, ok %u, %s", cookie, ok,
		    log_hex(hex, shared, sizeof(shared)));
}

static int
take_anything(struct channel *c, struct msg *m)
{
	struct msg pong;

	if (m->type == MSG_NET_PING) {
		msg_begin(&pong, MSG_NET_PONG);
		(void)channel_send(c, &pong);
	} else if (m->type == MSG_KEY_SHARED) {
		note_shared(m);
	}
	return 0;
}

static int
other(struct child *ch, struct msg *m)
{
	(void)ch;
	(void)m;
	return 0;
}

static void
on_commit(struct child *ch, const struct conf *old)
{
	(void)ch;
	if (old == NULL)
		act_ms = now_ms() + (act_is("deaf") ? DEAF_AFTER_MS : ACT_AFTER_MS);
}

/* A fresh channel: it has learned nothing. */
static void
on_peer_up(struct child *ch, struct channel *c)
{
	(void)ch;
	if (!acted || once || c->peer != order.edge)
		return;
	acted = 0;
	reads_edge = 1;
	act_ms = now_ms();
}

static void
on_stop(struct child *ch, uint32_t ms)
{
	struct msg m;

	(void)ms;
	if (ch->self == PROC_ROLED) {
		msg_begin(&m, MSG_STOPPED);
		msg_put_u8(&m, 0);
		(void)channel_send(&ch->control, &m);
		return;
	}
	_exit(EXIT_OK);
}

static const struct child_ops ops = {
    .on_commit = on_commit,
    .on_peer_up = on_peer_up,
    .on_stop = on_stop,
    .on_other = other,
};

static void
serve(struct channel *c, short revents)
{
	if (c->fd >= 0 && (revents & POLLOUT))
		(void)channel_flush(c);
	if (c->fd < 0 || !(revents & (POLLIN | POLLHUP | POLLERR)) || channel_read(c) >= 0)
		return;
	if (c != &child.control)
		child_edge_lost(&child, c);
	else if (!acted)
		_exit(child_control_exit(&child));
	else
		reads_control = 0; /* it lives on */
}

static _Noreturn void
loop(void)
{
	for (;;) {
		struct pollfd p[1 + CHILD_EDGES];
		struct channel *c[1 + CHILD_EDGES] = {&child.control};
		size_t n = child.n_edges + 1;

		for (size_t i = 0; i < n; i++) {
			if (i > 0)
				c[i] = child.edge[i - 1];
			p[i] = (struct pollfd){.fd = c[i]->fd, .events = POLLIN};
			if (!reads_control && i == 0)
				p[i].fd = -1;
			if (!reads_edge && c[i] == target())
				p[i].fd = -1;
		}
		(void)poll(p, n, 20);
		for (size_t i = n; i-- > 0;) /* control last: PEER replaces what was polled */
			serve(c[i], p[i].fd >= 0 ? p[i].revents : 0);
		if (!reads_edge) /* or it would complain of the silence that it makes */
			channel_beat_now(target(), now_ms());
		if (!acted && act_ms != 0 && now_ms() >= act_ms)
			act();
	}
}

static void
add_edges(enum process self)
{
	/* supervisor/channels.c */
	static const uint32_t of[PROC_MAX] = {[PROC_NETD] = P(ROLED) | P(SYNCD),
	    [PROC_ICMPD] = P(ROLED),
	    [PROC_ROLED] = P(NETD) | P(ICMPD) | P(KEYD) | P(SYNCD),
	    [PROC_KEYD] = P(ROLED) | P(SYNCD),
	    [PROC_SYNCD] = P(NETD) | P(ROLED) | P(KEYD)};
	size_t n = 0;

	for (enum process p = PROC_SUPERVISOR; p < PROC_MAX; p++) {
		if (of[self] >> p & 1)
			child_add_edge(&child, &edges[n++], p, take_anything, NULL);
	}
}

int
main(int argc, char **argv)
{
	static char *no_environment[] = {NULL};
	struct sandbox_args args;

	log_to_fd(FD_LOG);
	read_orders();
	if (sandbox_parse_args(argc, argv, &args) != 0)
		_exit(EXIT_USAGE);
	if (args.generation < order.first || args.generation > order.last) {
		execve(order.real, argv, no_environment);
		fatal("stand-in: %s: %s", order.real, strerror(errno));
	}
	if (act_is("die"))
		_exit(3);
	if (act_is("abort"))
		abort();
	if (act_is("no-sandbox")) {
		log_error("stand-in: this machine has no sandbox");
		_exit(EXIT_SANDBOX);
	}
	sandbox_drop(&args);
	child_hold_numbers();
	child_init(&child, args.process, &ops, NULL);
	if (args.process == PROC_PARSER) { /* it has no life in common with the others */
		act();
		for (;;)
			(void)poll(NULL, 0, 1000);
	}
	add_edges(args.process);
	common_handler = child.control.handler;
	child.control.handler = on_control;
	if (!act_is("never-ready"))
		child_ready(&child, ALL_LAYERS);
	loop();
}
