/* SPDX-License-Identifier: ISC */
/*
 * Connections that carry: Unix stream -> pipe -> TCP, moved by splice(2), and TCP -> Unix stream.
 * Back-pressure is the kernel's: a flow that cannot get rid of its bytes is not read from.
 *
 * Whether splice(2) waits for room in a socket is a matter of O_NONBLOCK, which is one for all who
 * have that end. The owner may have kept netd's end, too, and switch it: so what goes there goes by
 * send(2), which can be told not to wait. TCP is netd's alone, and reading from a Unix stream waits
 * for nobody.
 *
 * How a connection ended is evidence for its owner, so it is told exactly: a read of 0 is a FIN
 * (the other side's process or kernel closed in order), ECONNRESET is a RST. Everything that came
 * before the end is in the Unix stream before LINK_CLOSED is sent, and that before the stream is
 * closed.
 */
#include "config.h"

#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"

enum {
	CHUNK = 65536,	 /* at once: room of a pipe */
	SMALL = 4096,	 /* after a shorter read the source is most likely empty */
	PUMP_BUDGET = 8, /* chunks per direction and wake-up: nobody starves the others */
};

static struct link *find(enum owner whose, uint32_t token);
static void on_tcp(uv_poll_t *poll, int status, int events);
static void on_owner(uv_poll_t *poll, int status, int events);
static void on_handle_closed(uv_handle_t *handle);
static void link_pump(struct link *l, int in, int out);
static void link_linger(struct link *l);
static void link_linger_on(struct link *l);

struct link links[LINKS];

/* Make all pipes, before the sandbox is entered. */
void
link_init(void)
{
	for (int i = 0; i < LINKS; i++) {
		links[i].tcp.fd = links[i].owner.fd = -1;
		if (pipe2(links[i].pipe, O_NONBLOCK | O_CLOEXEC) != 0)
			fatal("cannot make the pipes of %d links: errno %d", LINKS, errno);
	}
}

/* A free slot for the connection that whose knows by token; owner becomes its. NULL when full. */
struct link *
link_new(enum owner whose, uint32_t token, int owner)
{
	static uint32_t serial;

	for (int i = 0; i < LINKS; i++) {
		struct link *l = &links[i];

		if (l->state != LINK_FREE)
			continue;
		l->told = l->other = l->shut = 0;
		l->whose = (uint8_t)whose;
		l->token = token;
		l->serial = ++serial;
		l->deadline_ms = NEVER;
		l->tcp_error = 0;
		l->owner.fd = owner;
		l->in.bytes = l->out.bytes = 0;
		l->held = 0;
		l->in.wait = l->out.wait = FLOW_SOURCE;
		l->in.dead = l->out.dead = 0;
		return l;
	}
	return NULL;
}

/*
 * An admitted connection and the owner's stream, which both become ours: the hello that was read
 * here goes first. What goes wrong is told to the owner.
 */
void
link_carry_inbound(enum owner whose, uint32_t token, int tcp, int owner, const struct source *s,
    const uint8_t hello[HELLO_SIZE])
{
	struct link *l = link_new(whose, token, owner);
	static const int on = 1;

	if (l == NULL) {
		tell_link_closed(whose, token, CLOSE_ERROR, 0, 0);
		close(owner);
		close(tcp);
		return;
	}
	l->other = s->partner < 0;
	if (end_open(l, &l->tcp, tcp) != 0 ||
	    send(owner, hello, HELLO_SIZE, MSG_NOSIGNAL | MSG_DONTWAIT) != HELLO_SIZE) {
		link_end(l, CLOSE_ERROR);
		return;
	}
	(void)setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* else only slower */
	l->in.bytes = HELLO_SIZE;
	link_start(l);
}

/* TCP is up and opened: take the owner's end too, and move what is there already. */
void
link_start(struct link *l)
{
	l->state = LINK_CARRYING;
	l->deadline_ms = NEVER;
	if (end_open(l, &l->owner, l->owner.fd) != 0) {
		link_end(l, CLOSE_ERROR);
		return;
	}
	link_pump(l, 1, 1);
}

/* Is this a link of theirs that is not over? */
int
link_known(enum owner whose, uint32_t token)
{
	return find(whose, token) != NULL;
}

/* Slots in use for addresses that are no partner's. */
unsigned
link_count_other(void)
{
	unsigned n = 0;

	for (int i = 0; i < LINKS; i++)
		n += links[i].state != LINK_FREE && links[i].other;
	return n;
}

/* Links that are not over yet. */
unsigned
link_busy(void)
{
	unsigned n = 0;

	for (int i = 0; i < LINKS; i++)
		n += links[i].state != LINK_FREE && links[i].state != LINK_CLOSING;
	return n;
}

/* An owner is gone: nothing is told any more, what it has written still goes out. */
void
link_orphan(enum owner whose)
{
	for (int i = 0; i < LINKS; i++) {
		struct link *l = &links[i];

		if (l->whose != whose)
			continue;
		l->told = 1;
		if (l->state == LINK_CARRYING)
			link_linger(l);
		else if (l->state == LINK_ASKED || l->state == LINK_DIALLING)
			link_end(l, CLOSE_LOCAL);
	}
}

/* We end now: the last that can be written, then FIN rather than what close(2) would do. */
void
link_shut_all(void)
{
	for (int i = 0; i < LINKS; i++) {
		struct link *l = &links[i];

		if (l->state == LINK_CARRYING || l->state == LINK_LINGERING) {
			link_pump(l, 0, 1);
			if (l->tcp.fd >= 0)
				(void)shutdown(l->tcp.fd, SHUT_WR);
		}
	}
}

/* End what is late. Returns the next deadline, or NEVER. */
int64_t
link_expire(int64_t now)
{
	int64_t next = NEVER;

	for (int i = 0; i < LINKS; i++) {
		struct link *l = &links[i];

		if (l->deadline_ms == NEVER || l->state == LINK_FREE || l->state == LINK_CLOSING)
			continue;
		if (l->deadline_ms <= now) {
			if (l->state == LINK_ASKED || l->state == LINK_DIALLING)
				dial_expired(l);
			else
				link_end(l, l->tcp_error ? close_cause(l->tcp_error) : CLOSE_LOCAL);
		} else if (next == NEVER || l->deadline_ms < next) {
			next = l->deadline_ms;
		}
	}
	return next;
}

void
link_dump(void)
{
	static const char *const states[] = {
	    "free", "asked", "dialling", "carrying", "lingering", "closing"};

	for (int i = 0; i < LINKS; i++) {
		const struct link *l = &links[i];

		if (l->state != LINK_FREE)
			log_info("link %d token %08x: %s, %llu bytes in, %llu bytes out", i,
			    (unsigned)l->token, states[l->state], (unsigned long long)l->in.bytes,
			    (unsigned long long)l->out.bytes);
	}
}

static struct link *
find(enum owner whose, uint32_t token)
{
	for (int i = 0; i < LINKS; i++) {
		struct link *l = &links[i];

		if (l->whose == whose && l->token == token && !l->told &&
		    (l->state == LINK_ASKED || l->state == LINK_DIALLING ||
			l->state == LINK_CARRYING))
			return l;
	}
	return NULL;
}

/* ---- ends */

int
end_open(struct link *l, struct end *e, int fd)
{
	e->fd = fd;
	e->events = 0;
	if (uv_poll_init(&netd_loop, &e->poll, fd) != 0) /* also makes it non-blocking */
		return -1;
	e->poll.data = l;
	e->polled = 1;
	l->handles++;
	return 0;
}

static void
end_watch(struct end *e, uv_poll_cb callback, int events)
{
	if (!e->polled || e->events == events)
		return;
	e->events = events;
	if (events == 0)
		uv_poll_stop(&e->poll);
	else
		uv_poll_start(&e->poll, events, callback);
}

static void
end_close(struct end *e)
{
	if (e->polled)
		uv_close((uv_handle_t *)&e->poll, on_handle_closed);
	e->polled = 0;
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}

static void
on_handle_closed(uv_handle_t *handle)
{
	struct link *l = handle->data;

	if (--l->handles == 0 && l->state == LINK_CLOSING) {
		l->state = LINK_FREE;
		netd_check_end();
	}
}

/* ---- flows */

/* Empty the pipe for its next connection, or because its destination is gone. */
static void
pipe_drop(struct link *l)
{
	static uint8_t nowhere[SMALL];

	while (l->held > 0) {
		ssize_t n = read(l->pipe[0], nowhere, l->held < SMALL ? l->held : SMALL);

		if (n <= 0)
			fatal("a pipe lost %zu bytes: errno %d", l->held, errno);
		l->held -= (size_t)n;
	}
}

/* As recv(2) without waiting, never EINTR. */
static ssize_t
take(int source, void *buf, size_t size, int flags)
{
	ssize_t n;

	do {
		n = recv(source, buf, size, flags | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n;
}

/* Read into the pipe, or into nothing when the destination is dead. As read(2), never EINTR. */
static ssize_t
out_read(struct link *l)
{
	static uint8_t nowhere[CHUNK];
	ssize_t n;

	if (l->out.dead)
		return take(l->owner.fd, nowhere, sizeof(nowhere), 0);
	do {
		n = splice(
		    l->owner.fd, NULL, l->pipe[1], NULL, CHUNK, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		l->held = (size_t)n;
	return n;
}

/* Pass on what is in the pipe. Returns 0; FLOW_DESTINATION is set when not all went. -1: errno */
static int
out_write(struct link *l)
{
	while (l->held > 0) {
		ssize_t n = splice(
		    l->pipe[0], NULL, l->tcp.fd, NULL, l->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n > 0) {
			l->held -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			l->out.wait = FLOW_DESTINATION;
			return 0;
		} else if (n == 0 || errno != EINTR) {
			if (n == 0)
				errno = EPIPE;
			return -1;
		}
	}
	return 0;
}

/*
 * A read of 0 or -1: the source has nothing for now, or has ended. *error: errno if that ended it.
 */
static void
source_stopped(struct flow *f, ssize_t n, int *error)
{
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0)
		*error = errno;
	f->wait = FLOW_ENDED;
}

/*
 * Move the owner's bytes while both sides are willing, within the budget; wait says what comes
 * next. Returns 0, or errno of a TCP that failed: what is read from then on is dropped.
 */
static int
out_pump(struct link *l)
{
	struct flow *f = &l->out;
	int error = 0, nobody = 0;

	for (int i = 0; i < PUMP_BUDGET && f->wait != FLOW_ENDED; i++) {
		ssize_t n = SMALL;

		if (l->held == 0) {
			f->wait = FLOW_SOURCE;
			n = out_read(l);
			if (n <= 0) {
				source_stopped(f, n, &nobody);
				return error;
			}
			f->bytes += (uint64_t)n;
		}
		if (out_write(l) != 0) {
			error = errno;
			f->dead = 1;
			pipe_drop(l);
		}
		if (l->held > 0)
			return error;
		f->wait = FLOW_SOURCE;
		if (n < SMALL)
			return error;
	}
	return error;
}

/*
 * The same from TCP to the owner. What the owner has no room for stays in the socket: it is looked
 * at first, and taken when it was sent. Returns 0, or errno of a TCP that failed.
 */
static int
in_pump(struct link *l)
{
	static uint8_t bytes[CHUNK];
	struct flow *f = &l->in;
	int error = 0;

	for (int i = 0; i < PUMP_BUDGET && f->wait != FLOW_ENDED; i++) {
		ssize_t n, sent;

		f->wait = FLOW_SOURCE;
		n = take(l->tcp.fd, bytes, sizeof(bytes), f->dead ? 0 : MSG_PEEK);
		if (n <= 0) {
			source_stopped(f, n, &error);
			return error;
		}
		sent = n;
		if (!f->dead) {
			sent = send(l->owner.fd, bytes, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (sent < 0 && errno != EAGAIN && errno != EINTR) {
				f->dead = 1; /* and these bytes are the first that are dropped */
				continue;
			}
			if (sent > 0 && take(l->tcp.fd, bytes, (size_t)sent, 0) != sent) {
				f->wait = FLOW_ENDED; /* only urgent data can do that */
				return EPROTO;
			}
		}
		if (sent > 0)
			f->bytes += (uint64_t)sent;
		if (sent < n) {
			f->wait = FLOW_DESTINATION;
			return 0;
		}
		if (n < SMALL)
			return 0;
	}
	return 0;
}

/* ---- links */

/* Wait for what each flow lacks. */
static void
link_watch(struct link *l)
{
	int tcp = 0, owner = 0;

	if (l->in.wait == FLOW_SOURCE)
		tcp |= UV_READABLE;
	if (l->in.wait == FLOW_DESTINATION)
		owner |= UV_WRITABLE;
	if (l->out.wait == FLOW_SOURCE && !l->shut)
		owner |= UV_READABLE;
	if (l->out.wait == FLOW_DESTINATION)
		tcp |= UV_WRITABLE;
	end_watch(&l->tcp, on_tcp, tcp);
	end_watch(&l->owner, on_owner, owner);
}

/* Our side has said all: FIN, and a bounded wait for the other's. */
static void
link_shut(struct link *l)
{
	if (l->shut)
		return;
	l->shut = 1;
	(void)shutdown(l->tcp.fd, SHUT_WR); /* fails only when TCP is over, which shows by itself */
	if (l->deadline_ms == NEVER)
		deadline_set(&l->deadline_ms, LINGER_MS);
}

/* Incoming bytes to the owner; notes how TCP ended. */
static void
pump_in(struct link *l)
{
	int error = in_pump(l);

	if (l->tcp_error == 0)
		l->tcp_error = error;
}

/*
 * The owner's bytes to TCP. A failing write takes the error away from the socket, so it is noted
 * here: any but EPIPE is how TCP ended. EPIPE says only that it ended before, and reading tells
 * how.
 */
static void
pump_out(struct link *l)
{
	int error = out_pump(l);

	if (error != 0 && error != EPIPE && l->tcp_error == 0)
		l->tcp_error = error;
}

/* Incoming first: how TCP ended must be read before a failing write hides it. */
static void
link_pump(struct link *l, int in, int out)
{
	if (l->state == LINK_LINGERING) {
		link_linger_on(l);
		return;
	}
	if (in)
		pump_in(l);
	if (out && l->in.wait != FLOW_ENDED) {
		pump_out(l);
		if (l->out.dead)
			pump_in(l);
	}
	if (l->in.wait == FLOW_ENDED) {
		/* a FIN after ours is only the answer to it */
		link_end(l, l->shut && l->tcp_error == 0 ? CLOSE_LOCAL : close_cause(l->tcp_error));
		return;
	}
	if (l->out.dead && l->in.wait == FLOW_SOURCE) { /* bytes were lost on a TCP that lives on */
		link_end(l, close_cause(l->tcp_error));
		return;
	}
	if (l->out.dead && l->deadline_ms == NEVER) /* the owner does not read the rest */
		deadline_set(&l->deadline_ms, LINGER_MS);
	if (l->out.wait == FLOW_ENDED)
		link_shut(l);
	if (l->in.dead) { /* the owner has not only shut but closed its end */
		link_linger(l);
		return;
	}
	link_watch(l);
}

/* Over for the owner: it is told, the rest of what it wrote goes out, what comes in is dropped. */
static void
link_linger(struct link *l)
{
	l->state = LINK_LINGERING;
	l->in.dead = 1;
	if (l->in.wait == FLOW_DESTINATION)
		l->in.wait = FLOW_SOURCE;
	deadline_set(&l->deadline_ms, LINGER_MS);
	link_linger_on(l);
}

static void
link_linger_on(struct link *l)
{
	if (!l->shut) {
		pump_out(l);
		if (!l->told) {
			l->told = 1;
			tell_link_closed(
			    (enum owner)l->whose, l->token, CLOSE_LOCAL, l->in.bytes, l->out.bytes);
		}
		/* an owner that closed has written all it will */
		if (l->out.wait != FLOW_DESTINATION) {
			end_close(&l->owner);
			link_shut(l);
		}
	}
	pump_in(l);
	if (l->in.wait == FLOW_ENDED)
		link_end(l, CLOSE_LOCAL);
	else
		link_watch(l);
}

void
link_end(struct link *l, enum link_close cause)
{
	if (!l->told)
		tell_link_closed((enum owner)l->whose, l->token, cause, l->in.bytes, l->out.bytes);
	l->told = 1;
	if (l->state == LINK_CARRYING && !l->shut && l->held == 0)
		pump_out(l); /* after a FIN the other end may still read the owner's last word */
	pipe_drop(l);
	l->state = LINK_CLOSING;
	end_close(&l->tcp);
	end_close(&l->owner);
	if (l->handles == 0)
		l->state = LINK_FREE;
}

static void
on_tcp(uv_poll_t *poll, int status, int events)
{
	struct link *l = poll->data;

	if (status < 0) { /* an error waits on the socket, and libuv has stopped watching it */
		l->tcp.events = 0;
		events = UV_READABLE | UV_WRITABLE;
	}
	if (l->state == LINK_DIALLING)
		dial_progress(l);
	else if (l->state == LINK_CARRYING || l->state == LINK_LINGERING)
		link_pump(l, events & UV_READABLE, events & UV_WRITABLE);
}

static void
on_owner(uv_poll_t *poll, int status, int events)
{
	struct link *l = poll->data;

	if (status < 0) {
		l->owner.events = 0;
		events = UV_READABLE | UV_WRITABLE;
	}
	if (l->state == LINK_CARRYING || l->state == LINK_LINGERING)
		link_pump(l, events & UV_WRITABLE, events & UV_READABLE);
}

/* Wait until the connect of a dialled socket has come to an end. */
void
link_watch_connect(struct link *l)
{
	end_watch(&l->tcp, on_tcp, UV_WRITABLE);
}
