/* SPDX-License-Identifier: ISC */
/*
 * Channels: the eight checks in front of every handler, the bounded queue behind every send.
 */
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

/* A packet that the socket had no room for. */
struct channel_packet {
	struct channel_packet *next;
	int fd; /* a duplicate of ours, or -1 */
	size_t len;
	uint8_t bytes[];
};

enum {
	RECEIVE_FDS = 16, /* room to see (and close) more descriptors than any row allows */
	STAMP_SIZE = 16,  /* of a time stamp: two numbers of up to 8 bytes */
	LOG_INTERVAL_MS = 10000,
};

const char *
violation_name(enum channel_violation v)
{
	static const char *const names[V_MAX] = {
	    [V_NONE] = "none",
	    [V_SIZE] = "packet size or header",
	    [V_TYPE] = "unknown type",
	    [V_FROM] = "sender may not send it",
	    [V_TO] = "receiver does not take it",
	    [V_LENGTH] = "body length",
	    [V_FDS] = "number of descriptors",
	    [V_STATE] = "wrong state",
	    [V_FLAGS] = "repeated or not asked for",
	    [V_BODY] = "malformed body",
	    [V_QUEUE] = "does not read its channel",
	    [V_FLOOD] = "too many messages a second",
	    [V_CLOSED] = "closed its channel and lives on",
	};

	return (unsigned)v < V_MAX ? names[v] : "?";
}

int
channel_pair(int fds[2])
{
	const int on = 1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
		return -1;
	/* every packet carries a stamp, the end of file does not: is_stamped() */
	for (int i = 0; i < 2; i++)
		(void)setsockopt(fds[i], SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on));
	return 0;
}

void
channel_init(struct channel *c, int fd, enum process self, enum process peer,
    channel_handler *handler, void *user)
{
	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->self = self;
	c->peer = peer;
	c->state = S_START;
	c->handler = handler;
	c->user = user;
}

static void
packet_free(struct channel_packet *p)
{
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

void
channel_close(struct channel *c)
{
	while (c->head != NULL) {
		struct channel_packet *p = c->head;

		c->head = p->next;
		packet_free(p);
	}
	c->tail = NULL;
	c->queued = 0;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

void
channel_permit(struct channel *c, enum message_type type)
{
	c->permit[type]++;
}

/*
 * One try. A packet without a descriptor goes by send(): in a child only the promise `sendfd` has
 * sendmsg, because sendmsg can name an address behind the filter's back.
 */
static ssize_t
try_packet(int sock, const struct iovec iov[2], int fd)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr mh = {.msg_iov = (struct iovec *)(uintptr_t)iov,
	    .msg_iovlen = 2,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cm;

	if (fd < 0) {
		static uint8_t packet[MSG_SIZE_MAX];

		memcpy(packet, iov[0].iov_base, iov[0].iov_len);
		memcpy(packet + iov[0].iov_len, iov[1].iov_base, iov[1].iov_len);
		return send(
		    sock, packet, iov[0].iov_len + iov[1].iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	memset(&control, 0, sizeof(control));
	cm = CMSG_FIRSTHDR(&mh);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof(int));
	return sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* One packet to the socket. */
enum sent { SENT, SENT_FULL, SENT_STARVED, SENT_BROKEN };
static enum sent
send_packet(int sock, const void *head, size_t head_len, const void *body, size_t body_len, int fd)
{
	struct iovec iov[2] = {
	    {.iov_base = (void *)(uintptr_t)head, .iov_len = head_len},
	    {.iov_base = (void *)(uintptr_t)body, .iov_len = body_len},
	};

	for (;;) {
		if (try_packet(sock, iov, fd) >= 0)
			return SENT;
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return SENT_FULL;
		if (errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS)
			return SENT_STARVED;
		return SENT_BROKEN;
	}
}

/*
 * A message is lost. Between processes that rely on it, that would leave each with another idea of
 * what goes on, for ever; to start again is the way back to a known state.
 */
static int
cannot_keep(const struct channel *c, const struct msg *m, const char *what)
{
	if (c->essential)
		fatal(
		    "no %s to keep %s for %s", what, message_name(m->type), process_name(c->peer));
	return -1;
}

/* Keep a packet until the socket has room. */
static int
enqueue(struct channel *c, const uint8_t header[MSG_HEADER], const struct msg *m)
{
	size_t len = MSG_HEADER + m->len;
	struct channel_packet *p;

	if (len > CHANNEL_QUEUE_BYTES - c->queued) {
		c->violation = V_QUEUE;
		return -1;
	}
	p = malloc(sizeof(*p) + len);
	if (p == NULL)
		return cannot_keep(c, m, "memory");
	p->next = NULL;
	p->len = len;
	/*
	 * the caller closes its own: keep one above the fixed numbers (promise sendfd has
	 * F_DUPFD_CLOEXEC)
	 */
	p->fd = m->n_fds > 0 ? fcntl(m->fd, F_DUPFD_CLOEXEC, FD_FIRST_FREE) : -1;
	if (m->n_fds > 0 && p->fd < 0) {
		free(p);
		return cannot_keep(c, m, "descriptor");
	}
	memcpy(p->bytes, header, MSG_HEADER);
	memcpy(p->bytes + MSG_HEADER, m->body, m->len);
	if (c->tail != NULL)
		c->tail->next = p;
	else
		c->head = p;
	c->tail = p;
	c->queued += len;
	if (c->want_write != NULL)
		c->want_write(c, 1);
	return 0;
}

int
channel_send(struct channel *c, struct msg *m)
{
	const struct message_row *row = message_row(m->type);
	uint8_t header[MSG_HEADER] = {(uint8_t)m->type, (uint8_t)(m->type >> 8), 0, 0};
	enum sent r;

	if (row == NULL || m->bad || m->len < row->min || m->len > row->max ||
	    m->n_fds != row->fds || !(row->from & (1U << c->self)) || !(row->to & (1U << c->peer)))
		fatal("message %s to %s does not match its row: %zu bytes, %u descriptors",
		    message_name(m->type), process_name(c->peer), m->len, m->n_fds);
	if (c->fd < 0)
		return -1;
	c->sent++;
	if (c->head != NULL)
		return enqueue(c, header, m);
	r = send_packet(c->fd, header, MSG_HEADER, m->body, m->len, m->n_fds > 0 ? m->fd : -1);
	c->starved = r == SENT_STARVED;
	if (r == SENT_FULL || r == SENT_STARVED)
		return enqueue(c, header, m);
	if (r == SENT_BROKEN)
		c->broken = 1;
	return r == SENT ? 0 : -1;
}

int
channel_flush(struct channel *c)
{
	while (c->head != NULL) {
		struct channel_packet *p = c->head;
		enum sent r = send_packet(c->fd, p->bytes, p->len, "", 0, p->fd);

		c->starved = r == SENT_STARVED;
		if (r == SENT_BROKEN)
			return -1;
		if (r != SENT) {
			if (c->want_write != NULL)
				c->want_write(c, 1);
			return 0;
		}
		c->head = p->next;
		if (c->head == NULL)
			c->tail = NULL;
		c->queued -= p->len;
		packet_free(p);
	}
	if (c->want_write != NULL)
		c->want_write(c, 0);
	return 0;
}

short
channel_events(const struct channel *c, int *timeout_ms)
{
	if (c->head == NULL)
		return POLLIN;
	if (!c->starved)
		return POLLIN | POLLOUT;
	if (*timeout_ms < 0 || *timeout_ms > CHANNEL_PAUSE_MS)
		*timeout_ms = CHANNEL_PAUSE_MS;
	return POLLIN;
}

/* Take the descriptors of a received packet: the first goes to m, all others are closed. */
static unsigned
collect_fds(struct msghdr *mh, struct msg *m)
{
	unsigned n = 0;

	for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm != NULL; cm = CMSG_NXTHDR(mh, cm)) {
		size_t count;

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		count = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
			if (n++ == 0)
				m->fd = fd;
			else
				close(fd);
		}
	}
	m->n_fds = n > UINT8_MAX ? UINT8_MAX : (uint8_t)n;
	return n;
}

/*
 * Did the descriptor of this message find no place with us? The kernel hands over as many as there
 * is room for, in our buffer and in our table: only a full table (or a kernel without memory)
 * leaves none.
 */
static int
fd_was_lost(const struct msg *m, int flags)
{
	const struct message_row *row = message_row(m->type);

	return row != NULL && row->fds == 1 && m->n_fds == 0 &&
	       (flags & (MSG_TRUNC | MSG_CTRUNC)) == MSG_CTRUNC;
}

/* The eight checks. Flags are only looked at here; take_flags() uses them up. */
static enum channel_violation
check_packet(const struct channel *c, const struct msg *m, const uint8_t header[MSG_HEADER],
    size_t len, int truncated)
{
	const struct message_row *row;

	if (len < MSG_HEADER || truncated || header[2] != 0 || header[3] != 0)
		return V_SIZE;
	row = message_row(m->type);
	if (row == NULL)
		return V_TYPE;
	if (!(row->from & (1U << c->peer)))
		return V_FROM;
	if (!(row->to & (1U << c->self)))
		return V_TO;
	if (m->len < row->min || m->len > row->max)
		return V_LENGTH;
	if (m->n_fds != row->fds)
		return V_FDS;
	if (!(row->states & c->state))
		return V_STATE;
	if ((row->flags & F_ONCE) && (c->once[m->type / 64] >> (m->type % 64) & 1))
		return V_FLAGS;
	if ((row->flags & F_PERMIT) && c->permit[m->type] == 0)
		return V_FLAGS;
	return V_NONE;
}

static void
take_flags(struct channel *c, const struct msg *m)
{
	uint8_t flags = message_row(m->type)->flags;

	if (flags & F_ONCE)
		c->once[m->type / 64] |= UINT64_C(1) << (m->type % 64);
	if (flags & F_PERMIT)
		c->permit[m->type]--;
}

static void
keep_evidence(struct channel *c, enum channel_violation v, const uint8_t header[MSG_HEADER],
    const struct msg *m, size_t len)
{
	size_t n = len < MSG_HEADER ? len : MSG_HEADER;
	size_t body =
	    m->len < sizeof(c->violation_bytes) - n ? m->len : sizeof(c->violation_bytes) - n;
	const struct message_row *row = message_row(m->type);

	if (row != NULL && (row->flags & F_SECRET)) /* it would be logged */
		body = 0;
	c->violation = v;
	memcpy(c->violation_bytes, header, n);
	memcpy(c->violation_bytes + n, m->body, body);
	c->violation_len = (uint8_t)(n + body);
}

static void
note_lost_fd(const struct channel *c, const struct msg *m)
{
	static struct log_limit limit;
	uint64_t held;

	if (log_limited(&limit, now_ms(), LOG_INTERVAL_MS, &held))
		log_error("out of descriptors: none is left for that of %s from %s (%llu more)",
		    message_name(m->type), process_name(c->peer), (unsigned long long)held);
}

/*
 * Was there a packet at all? A read of nothing is an empty packet or the end of file, and neither
 * MSG_EOR, which Linux does not set here, nor poll(2), which tells of an end behind packets that
 * wait, tells them apart. The stamp does, which each packet of channel_pair() has.
 */
static int
is_stamped(struct msghdr *mh)
{
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm != NULL; cm = CMSG_NXTHDR(mh, cm)) {
		if (cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_TIMESTAMP)
			return 1;
	}
	return 0;
}

/* What recvmsg(2) said besides the bytes. */
struct received {
	int truncated; /* bytes or descriptors had no room */
	int stamped;
};

/*
 * One packet into m and header. Returns its size, 0 for an empty one or at the end, -1 with errno.
 */
static ssize_t
receive_packet(struct channel *c, struct msg *m, uint8_t header[MSG_HEADER], struct received *r)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(STAMP_SIZE) + CMSG_SPACE(RECEIVE_FDS * sizeof(int))];
	} control;
	struct iovec iov[2] = {
	    {.iov_base = header, .iov_len = MSG_HEADER},
	    {.iov_base = m->body, .iov_len = sizeof(m->body)},
	};
	struct msghdr mh = {.msg_iov = iov,
	    .msg_iovlen = 2,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control.bytes)};
	ssize_t n;

	msg_begin(m, (enum message_type)0);
	do {
		/*
		 * ECONNRESET, once: the peer has ended and left something unread; what it said
		 * waits still
		 */
		n = recvmsg(c->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return -1;
	collect_fds(&mh, m);
	r->truncated = (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
	r->stamped = is_stamped(&mh);
	if (n >= MSG_HEADER) {
		m->type = (uint16_t)(header[0] | header[1] << 8);
		m->len = (size_t)n - MSG_HEADER;
	}
	if (n >= MSG_HEADER && fd_was_lost(m, mh.msg_flags)) {
		note_lost_fd(c, m);
		m->n_fds = 1; /* as it was sent; the handler finds -1 */
		r->truncated = 0;
	}
	return n;
}

/* ---- does the peer read? */

void
channel_beat_now(struct channel *c, int64_t now)
{
	c->beat_ms = now;
	c->beat_heard_ms = now;
}

int
channel_beat(struct channel *c, int64_t now)
{
	uint64_t *cookie = &c->beat_cookie[c->beat_next % BEAT_COOKIES];
	int stalled = c->beat_ms != 0 && now - c->beat_ms > BEAT_STALL_MS;
	int64_t limit_ms = c->peer == PROC_SYNCD ? BEAT_SILENT_DISK_MS : BEAT_SILENT_MS;
	struct msg m;

	if (c->fd < 0)
		return 0;
	if (c->beat_ms == 0)
		c->beat_heard_ms = now + BEAT_FIRST_MS - limit_ms;
	else if (stalled && c->beat_heard_ms < now)
		c->beat_heard_ms = now;
	c->beat_ms = now;
	if (now - c->beat_heard_ms >= limit_ms) {
		c->violation = V_QUEUE;
		return -1;
	}
	if (*cookie != 0)
		return 0; /* it has enough to answer, and what it will answer must still be known */
	c->beat_next++;
	if (getrandom(cookie, sizeof(*cookie), GRND_NONBLOCK) != sizeof(*cookie))
		*cookie = (uint64_t)now;
	*cookie |= 1; /* never 0 */
	msg_begin(&m, MSG_EDGE_PING);
	msg_put_u64(&m, *cookie);
	channel_permit(c, MSG_EDGE_PONG);
	return channel_send(c, &m);
}

/* EDGE_PING or EDGE_PONG. Returns 0 or -1. */
static int
handle_beat(struct channel *c, struct msg *m)
{
	uint64_t cookie = msg_get_u64(m);
	struct msg answer;

	if (msg_end(m) != 0)
		return -1;
	if (m->type == MSG_EDGE_PING) {
		msg_begin(&answer, MSG_EDGE_PONG);
		msg_put_u64(&answer, cookie);
		(void)channel_send(c, &answer); /* a failure shows as the channel's end */
		return 0;
	}
	for (unsigned i = 0; i < BEAT_COOKIES && cookie != 0; i++) {
		if (c->beat_cookie[i] == cookie) {
			c->beat_cookie[i] = 0;
			c->beat_heard_ms = now_ms();
			return 0;
		}
	}
	return -1;
}

static int
is_beat(uint16_t type)
{
	return type == MSG_EDGE_PING || type == MSG_EDGE_PONG;
}

/* Judge and handle one received packet. Returns 0, or -1 with the violation set. */
static int
handle_packet(
    struct channel *c, struct msg *m, const uint8_t header[MSG_HEADER], size_t len, int truncated)
{
	enum channel_violation v = check_packet(c, m, header, len, truncated);

	if (v == V_NONE && c->rate_max > 0 && ++c->rate_count > c->rate_max)
		v = V_FLOOD;
	if (v == V_NONE) {
		take_flags(c, m);
		c->received++;
		if ((is_beat(m->type) ? handle_beat(c, m) : c->handler(c, m)) != 0)
			v = V_BODY;
	}
	if (m->fd >= 0)
		close(msg_take_fd(m));
	if (v != V_NONE) {
		keep_evidence(c, v, header, m, len);
		return -1;
	}
	return 0;
}

/*
 * A socket that is not of channel_pair() (the admin socket) has no stamps: nothing was read, was
 * that a packet without a byte? Behind the end of file is the end of file. A second empty packet
 * looks like it; either way whoever sent it is not listened to any more.
 */
static int
is_followed(int fd)
{
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	do {
		n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_PEEK);
	} while (n < 0 && errno == EINTR);
	return n != 0 && (n > 0 || errno == EAGAIN || errno == EWOULDBLOCK);
}

int
channel_read(struct channel *c)
{
	static struct msg m; /* 16 KiB: not on the stack; handlers never read channels */

	if (c->rate_max > 0 && now_ms() - c->rate_ms >= 1000) {
		c->rate_ms = now_ms();
		c->rate_count = 0;
	}
	for (int i = 0; i < CHANNEL_BUDGET; i++) {
		uint8_t header[MSG_HEADER] = {0};
		struct received r = {0};
		int fd = c->fd;
		ssize_t n = receive_packet(c, &m, header, &r);

		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
		if (n == 0 && m.n_fds == 0 && !r.stamped && !is_followed(c->fd))
			return -1;
		if (handle_packet(c, &m, header, (size_t)n, r.truncated) != 0)
			return -1;
		if (c->violation == V_QUEUE) /* an answer found the queue full */
			return -1;
		if (c->fd != fd || fd < 0) /* the handler closed or replaced it */
			return 0;
	}
	return 1;
}
