/* SPDX-License-Identifier: ISC */
/*
 * netd on loopback in its real sandbox, with the test as supervisor, as roled, as partner (server
 * 1, 127.0.0.2) and as everybody else (127.0.0.100 and on).
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake.h"
#include "lib/clock.h"
#include "lib/hello.h"
#include "policy/sandbox.h"

#define SELF "127.0.0.1"
#define PARTNER "127.0.0.2"

static struct fake netd;
static struct conf conf;
static int listener; /* that netd serves */
static uint16_t port;
enum { NETD_LINKS = 96 };		   /* as in netd.h */
static uint64_t counters[NET_COUNTER_MAX]; /* newest that netd has told */
static struct hello_keys keys;		   /* of server 0, that is netd */

/* ---- sockets */

static struct sockaddr_in
address(const char *text, uint16_t number)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(number)};

	assert_int_equal(inet_pton(AF_INET, text, &in.sin_addr), 1);
	return in;
}

static int
listen_on(const char *text, int backlog, uint16_t *number)
{
	struct sockaddr_in in = address(text, 0);
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*number = ntohs(in.sin_port);
	return fd;
}

/* A connect from that address, under way or done. */
static int
connect_from(const char *from, const char *to, uint16_t number)
{
	struct sockaddr_in source = address(from, 0), in = address(to, number);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	assert_true(fd >= 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&source, sizeof(source)), 0);
	if (connect(fd, (struct sockaddr *)&in, sizeof(in)) != 0)
		assert_int_equal(errno, EINPROGRESS);
	return fd;
}

static int
wait_for(int fd, short events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, ms) == 1;
}

/* Up to n bytes or the end of the stream. */
static size_t
read_all(int fd, void *buf, size_t n)
{
	size_t have = 0;
	int64_t end = now_ms() + SOON_MS;

	while (have < n && now_ms() < end) {
		ssize_t r;

		if (!wait_for(fd, POLLIN, 100))
			continue;
		r = recv(fd, (char *)buf + have, n - have, MSG_DONTWAIT);
		if (r == 0 || (r < 0 && errno != EAGAIN))
			break;
		have += r > 0 ? (size_t)r : 0;
	}
	return have;
}

/* What ends the stream within ms: 0 for FIN, an errno, -1 when it goes on (data is skipped). */
static int
ends_with(int fd, int ms)
{
	int64_t end = now_ms() + ms;
	char buf[4096];

	while (now_ms() <= end) {
		ssize_t r;

		if (!wait_for(fd, POLLIN, 10))
			continue;
		r = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (r == 0)
			return 0;
		if (r < 0 && errno != EAGAIN)
			return errno;
	}
	return -1;
}

static void
put(int fd, const void *p, size_t n)
{
	assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
}

static void
reset(int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

/* ---- messages */

static void
give_listener(uint8_t slot, int fd)
{
	struct msg m;

	msg_begin(&m, MSG_LISTENER);
	msg_put_u8(&m, slot);
	msg_put_fd(&m, fd);
	fake_send(&netd, &netd.control, &m);
}

static void
send_token(enum message_type type, uint32_t token, int fd)
{
	struct msg m;

	msg_begin(&m, type);
	msg_put_u32(&m, token);
	if (fd >= 0)
		msg_put_fd(&m, fd);
	fake_send(&netd, type == MSG_DIALED ? &netd.control : &netd.roled, &m);
}

/* LINK_OPEN to server 1 with that end of a stream. */
static void
open_link_with(uint32_t token, int end)
{
	struct msg m;

	msg_begin(&m, MSG_LINK_OPEN);
	msg_put_u32(&m, token);
	msg_put_u8(&m, 1);
	msg_put_u8(&m, 0);
	msg_put_u8(&m, LINK_STATUS);
	msg_put_fd(&m, end);
	fake_send(&netd, &netd.roled, &m);
}

/* LINK_OPEN to server 1; returns roled's end. */
static int
open_link(uint32_t token)
{
	int ends[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	open_link_with(token, ends[1]);
	close(ends[1]);
	return ends[0];
}

/* The DIAL that netd asks for; its number. */
static uint32_t
expect_dial(void)
{
	struct msg *m = fake_expect(&netd, MSG_DIAL, SOON_MS);
	uint32_t dial;

	assert_non_null(m);
	dial = msg_get_u32(m);
	assert_int_equal(msg_get_u8(m), 1);
	assert_int_equal(msg_get_u8(m), 0);
	assert_int_equal(msg_get_u8(m), LINK_STATUS);
	fake_free(m);
	return dial;
}

struct closed {
	uint32_t token;
	enum link_close cause;
	uint64_t in, out;
};

static struct closed
expect_closed(void)
{
	struct msg *m = fake_expect(&netd, MSG_LINK_CLOSED, SOON_MS);
	struct closed c = {0};

	if (m == NULL)
		(void)fake_log_count(&netd, "");
	assert_non_null(m);
	c.token = msg_get_u32(m);
	c.cause = (enum link_close)msg_get_u8(m);
	c.in = msg_get_u64(m);
	c.out = msg_get_u64(m);
	fake_free(m);
	return c;
}

static void
expect_connected(uint32_t token)
{
	struct msg *m = fake_expect(&netd, MSG_LINK_CONNECTED, SOON_MS);

	assert_non_null(m);
	assert_int_equal(msg_get_u32(m), token);
	fake_free(m);
}

/* A link that carries, dialled by netd: both ends of the world. */
struct carried {
	uint32_t token;
	int owner, tcp;
};

static struct carried
carry_to(uint32_t token, int owner)
{
	struct carried c = {.token = token, .owner = owner};
	uint16_t partner_port;
	int l = listen_on(PARTNER, 8, &partner_port), fd;

	fd = connect_from(SELF, PARTNER, partner_port);
	send_token(MSG_DIALED, expect_dial(), fd);
	close(fd);
	expect_connected(token);
	assert_true(wait_for(l, POLLIN, SOON_MS));
	c.tcp = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(c.tcp >= 0);
	close(l);
	return c;
}

static struct carried
carry(uint32_t token)
{
	return carry_to(token, open_link(token));
}

static void
drop(struct carried *c)
{
	close(c->owner);
	close(c->tcp);
}

/* Does a byte still go both ways? */
static void
assert_carries(const struct carried *c)
{
	char b[4];

	put(c->owner, "ping", 4);
	assert_int_equal(read_all(c->tcp, b, 4), 4);
	assert_memory_equal(b, "ping", 4);
	put(c->tcp, "pong", 4);
	assert_int_equal(read_all(c->owner, b, 4), 4);
	assert_memory_equal(b, "pong", 4);
}

static void
make_hello(uint8_t out[HELLO_SIZE], enum link_kind kind)
{
	uint8_t noise[HELLO_NOISE];

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)i;
	assert_int_equal(hello_encode(out, kind, noise, &keys), 0);
}

/* LINK_IN for a hello of ours; its token. */
static uint32_t
expect_link_in(void)
{
	struct msg *m = fake_expect(&netd, MSG_LINK_IN, SOON_MS);
	uint32_t token;

	assert_non_null(m);
	token = msg_get_u32(m);
	assert_true(token & 0x80000000);
	assert_int_equal(msg_get_u8(m), LINK_STATUS);
	assert_int_equal(msg_get_u8(m), 4);
	fake_free(m);
	return token;
}

/* A connection from that address with a good hello, taken by roled. */
static struct carried
take_from(const char *from)
{
	uint8_t hello[HELLO_SIZE], got[HELLO_SIZE];
	struct carried c = {.tcp = connect_from(from, SELF, port)};
	int ends[2];

	make_hello(hello, LINK_STATUS);
	assert_true(wait_for(c.tcp, POLLOUT, SOON_MS));
	put(c.tcp, hello, sizeof(hello));
	c.token = expect_link_in();
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	send_token(MSG_LINK_TAKE, c.token, ends[1]);
	close(ends[1]);
	c.owner = ends[0];
	assert_int_equal(read_all(c.owner, got, sizeof(got)), sizeof(got));
	assert_memory_equal(got, hello, sizeof(hello));
	return c;
}

/* Newest value of a counter, waiting until it is at least that: they come once a second. */
static uint64_t
expect_counter(enum net_counter counter, uint64_t at_least)
{
	int64_t end = now_ms() + SOON_MS;

	while (now_ms() < end) {
		struct msg *m = fake_expect(&netd, MSG_NET_COUNTERS, 0);

		if (m == NULL && counters[counter] >= at_least)
			break;
		if (m == NULL)
			m = fake_expect(&netd, MSG_NET_COUNTERS, 100);
		if (m == NULL)
			continue;
		for (unsigned i = 0; i < NET_COUNTER_MAX; i++)
			counters[i] = msg_get_u64(m);
		fake_free(m);
	}
	assert_true(counters[counter] >= at_least);
	return counters[counter];
}

/* ---- start and end of a test */

static int
setup_nofile(unsigned nofile)
{
	fake_start(&netd, PROC_NETD, nofile);
	memset(counters, 0, sizeof(counters));
	listener = listen_on(SELF, 512, &port);
	fake_conf(&conf, 2, port);
	conf.general.hello_timeout_ms = SOON_MS; /* see set_timeouts() */
	conf.general.dial_timeout_ms = SOON_MS;
	hello_keys_init(&keys, conf.server[0].key_status, conf.server[0].key_data);
	fake_configure(&netd, &conf);
	give_listener(0, listener);
	return 0;
}

/* For a test of the time-outs; the others may be as slow as they are. */
static void
set_timeouts(uint32_t hello_ms, uint32_t dial_ms)
{
	conf.general.hello_timeout_ms = hello_ms;
	conf.general.dial_timeout_ms = dial_ms;
	fake_configure(&netd, &conf);
}

static int
setup(void **state)
{
	(void)state;
	return setup_nofile(0);
}

static int
teardown(void **state)
{
	(void)state;
	close(listener);
	fake_stop(&netd);
	return 0;
}

/* ---- carrying */

/* Write what fits of a stream whose byte n is n * 31 % 251, and check what comes. */
struct stream {
	int from, to;
	uint64_t sent, received, total;
};

static uint8_t pattern[251 * 64];

static void
stream_step(struct stream *s)
{
	uint8_t buf[65536];
	ssize_t n;

	if (s->sent < s->total) {
		size_t at = s->sent % 251, want = sizeof(pattern) - at;

		if (want > s->total - s->sent)
			want = (size_t)(s->total - s->sent);
		n = send(s->from, pattern + at, want, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			s->sent += (uint64_t)n;
	}
	n = recv(s->to, buf, sizeof(pattern) - 251, MSG_DONTWAIT);
	if (n > 0) {
		assert_memory_equal(buf, pattern + s->received % 251, (size_t)n);
		s->received += (uint64_t)n;
	}
}

static void
test_carries_100_mb_both_ways(void **state)
{
	struct carried c = carry(7);
	const uint64_t total = 100 << 20;
	struct stream out = {c.owner, c.tcp, 0, 0, total}, in = {c.tcp, c.owner, 0, 0, total};
	int64_t end = now_ms() + 60000;
	struct closed closed;

	(void)state;
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i % 251 * 31 % 251);
	while ((out.received < total || in.received < total) && now_ms() < end) {
		stream_step(&out);
		stream_step(&in);
	}
	assert_int_equal(out.received, total);
	assert_int_equal(in.received, total);
	close(c.tcp);
	closed = expect_closed();
	assert_int_equal(closed.cause, CLOSE_FIN);
	assert_int_equal(closed.in, total);
	assert_int_equal(closed.out, total);
	close(c.owner);
}

/* A reader that does not read stops its own direction only, and loses nothing. */
static void
test_back_pressure(void **state)
{
	struct carried c = carry(7), other = carry(8);
	char buf[65536] = {0};
	uint64_t sent = 0, received = 0;
	int idle = 0;
	ssize_t n;

	(void)state;
	while (idle < 20) { /* until nothing more goes in */
		n = send(c.tcp, buf, sizeof(buf), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			sent += (uint64_t)n;
			idle = 0;
		} else {
			idle++;
			fake_poll(&netd, 10);
		}
	}
	put(c.owner, "ping", 4);
	assert_int_equal(read_all(c.tcp, buf, 4), 4);
	assert_memory_equal(buf, "ping", 4);
	assert_carries(&other);
	shutdown(c.tcp, SHUT_WR);
	while (received < sent && wait_for(c.owner, POLLIN, SOON_MS)) {
		n = recv(c.owner, buf, sizeof(buf), MSG_DONTWAIT);
		if (n > 0)
			received += (uint64_t)n;
	}
	assert_int_equal(received, sent);
	assert_int_equal(expect_closed().cause, CLOSE_FIN);
	drop(&c);
	drop(&other);
}

/* Write until nothing more is taken. */
static void
fill(int fd)
{
	char buf[65536] = {0};

	for (int idle = 0; idle < 10;) {
		if (send(fd, buf, sizeof(buf), MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
			idle = 0;
		} else {
			idle++;
			fake_poll(&netd, 10);
		}
	}
}

/*
 * An owner that keeps netd's end too, and makes it one that waits: that is its own link's matter,
 * and netd waits for nothing.
 */
static void
test_blocking_end(void **state)
{
	struct carried c, other = carry(8);
	char buf[65536] = {0};
	int ends[2];

	(void)state;
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	open_link_with(7, ends[1]);
	c = carry_to(7, ends[0]);
	assert_carries(&c);
	assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
	put(c.owner, buf, sizeof(buf)); /* whole chunks: netd looks for more behind the last */
	assert_int_equal(read_all(c.tcp, buf, sizeof(buf)), sizeof(buf));
	assert_carries(&other);
	fill(c.tcp);
	assert_carries(&other);
	assert_true(read_all(c.owner, buf, sizeof(buf)) == sizeof(buf)); /* it goes on, too */
	put(c.owner, "ping", 4);
	assert_int_equal(read_all(c.tcp, buf, 4), 4);
	close(ends[1]);
	drop(&c);
	drop(&other);
}

/* What a connection left in its pipes is not the next one's. */
static void
test_leftovers(void **state)
{
	struct carried c = carry(7), next;
	struct msg *m;

	(void)state;
	fill(c.owner);
	fill(c.tcp);
	close(c.owner);
	assert_int_equal(expect_closed().cause, CLOSE_LOCAL);
	/* until it has lingered enough */
	while ((m = fake_expect(&netd, MSG_NET_COUNTERS, 1100)) != NULL)
		fake_free(m);
	next = carry(8); /* in the same slot */
	assert_carries(&next);
	close(c.tcp);
	drop(&next);
}

/* ---- how a connection ends */

static void
test_fin(void **state)
{
	struct carried c = carry(7);
	struct closed closed;
	char buf[8];

	(void)state;
	put(c.tcp, "goodbye", 7);
	close(c.tcp);
	closed = expect_closed();
	assert_int_equal(closed.token, 7);
	assert_int_equal(closed.cause, CLOSE_FIN);
	assert_int_equal(closed.in, 7);
	/* all that came before the end is there when LINK_CLOSED is */
	assert_int_equal(recv(c.owner, buf, sizeof(buf), MSG_DONTWAIT), 7);
	assert_int_equal(ends_with(c.owner, SOON_MS), 0);
	close(c.owner);
}

static void
test_reset(void **state)
{
	struct carried c = carry(7);

	(void)state;
	assert_carries(&c);
	reset(c.tcp);
	assert_int_equal(expect_closed().cause, CLOSE_RESET);
	assert_int_equal(ends_with(c.owner, SOON_MS), 0);
	close(c.owner);
}

/* A reset that is noticed by a write must not look like a FIN, nor a FIN before it like a reset. */
static void
test_reset_and_fin_under_writes(void **state)
{
	char buf[4096] = {0};

	(void)state;
	for (int i = 0; i < 20; i++) {
		struct carried c = carry(100 + (uint32_t)i);
		int by_reset = i % 2;

		kill(netd.pid, SIGSTOP);     /* netd sees both at once */
		for (int j = 0; j < 40; j++) /* more than goes out in one piece */
			put(c.owner, buf, sizeof(buf));
		if (by_reset) {
			reset(c.tcp);
		} else {
			put(c.tcp, "end", 3);
			close(c.tcp);
		}
		kill(netd.pid, SIGCONT);
		assert_int_equal(expect_closed().cause, by_reset ? CLOSE_RESET : CLOSE_FIN);
		if (!by_reset)
			assert_int_equal(read_all(c.owner, buf, 3), 3);
		close(c.owner);
	}
}

static void
test_refused(void **state)
{
	uint16_t nobody;
	int l = listen_on(PARTNER, 1, &nobody), owner = open_link(7), fd;

	(void)state;
	close(l);
	fd = connect_from(SELF, PARTNER, nobody);
	send_token(MSG_DIALED, expect_dial(), fd);
	close(fd);
	assert_int_equal(expect_closed().cause, CLOSE_REFUSED);
	assert_int_equal(ends_with(owner, SOON_MS), 0);
	assert_int_equal(expect_counter(NET_DIALS_FAILED, 1), 1);
	close(owner);
}

/* A listener whose queue is full answers no SYN: the dial time-out ends it. */
static void
test_dial_timeout(void **state)
{
	uint16_t full;
	int l = listen_on(PARTNER, 0, &full), filler[4], owner, fd;
	int64_t begin;

	(void)state;
	set_timeouts(SOON_MS, 200);
	for (int i = 0; i < 4; i++)
		filler[i] = connect_from(SELF, PARTNER, full);
	owner = open_link(7);
	fd = connect_from(SELF, PARTNER, full);
	begin = now_ms();
	send_token(MSG_DIALED, expect_dial(), fd);
	close(fd);
	assert_int_equal(expect_closed().cause, CLOSE_TIMEOUT);
	assert_true(now_ms() - begin >= 190);
	for (int i = 0; i < 4; i++)
		close(filler[i]);
	close(l);
	close(owner);
}

static void
test_dial_failed_and_late(void **state)
{
	int owner = open_link(7), fd;
	uint32_t dial = expect_dial();
	struct msg m;
	uint16_t partner_port;
	int l = listen_on(PARTNER, 8, &partner_port);

	(void)state;
	msg_begin(&m, MSG_DIAL_FAILED);
	msg_put_u32(&m, dial);
	msg_put_u8(&m, CLOSE_UNREACHABLE);
	fake_send(&netd, &netd.control, &m);
	assert_int_equal(expect_closed().cause, CLOSE_UNREACHABLE);
	close(owner);
	/* an answer to a dial that was given up must not go to the next link in that slot */
	set_timeouts(SOON_MS, 200);
	owner = open_link(8);
	dial = expect_dial();
	assert_int_equal(expect_closed().cause, CLOSE_ERROR);
	close(owner);
	set_timeouts(SOON_MS, SOON_MS);
	owner = open_link(9);
	(void)expect_dial();
	fd = connect_from(SELF, PARTNER, partner_port);
	send_token(MSG_DIALED, dial, fd);
	close(fd);
	assert_null(fake_expect(&netd, MSG_LINK_CONNECTED, 100));
	close(owner);
	close(l);
}

/* roled closes its end: what it wrote just before goes out, then FIN, and one LINK_CLOSED. */
static void
test_owner_closes(void **state)
{
	struct carried c = carry(7);
	char buf[8];

	(void)state;
	put(c.owner, "goodbye", 7);
	close(c.owner);
	assert_int_equal(read_all(c.tcp, buf, 7), 7);
	assert_int_equal(ends_with(c.tcp, SOON_MS), 0);
	for (int i = 0; i < 3; i++) { /* is dropped, and answered by no reset */
		put(c.tcp, "late", 4);
		fake_poll(&netd, 20);
	}
	close(c.tcp);
	assert_int_equal(expect_closed().cause, CLOSE_LOCAL);
	assert_null(fake_expect(&netd, MSG_LINK_CLOSED, 50));
}

/* The owner has said all but still listens: bytes go on in the other direction. */
static void
test_half_close(void **state)
{
	struct carried c = carry(7);
	char buf[8];

	(void)state;
	put(c.owner, "request", 7);
	shutdown(c.owner, SHUT_WR);
	assert_int_equal(read_all(c.tcp, buf, 7), 7);
	assert_int_equal(ends_with(c.tcp, SOON_MS), 0);
	put(c.tcp, "answer", 6);
	assert_int_equal(read_all(c.owner, buf, 6), 6);
	close(c.tcp);
	assert_int_equal(expect_closed().cause, CLOSE_LOCAL);
	assert_int_equal(ends_with(c.owner, SOON_MS), 0);
	close(c.owner);
}

/* The latency that a take-over hangs on: FIN at TCP to LINK_CLOSED at roled. */
static void
test_fin_is_told_at_once(void **state)
{
	int64_t took[21];

	(void)state;
	for (int i = 0; i < 21; i++) {
		struct carried c = carry(100 + (uint32_t)i);
		int64_t begin;

		assert_carries(&c);
		begin = now_us();
		close(c.tcp);
		assert_int_equal(expect_closed().cause, CLOSE_FIN);
		took[i] = now_us() - begin;
		close(c.owner);
	}
	/* the median, so that one busy moment of the machine is none */
	for (int i = 1; i < 21; i++) {
		int64_t v = took[i];
		int j = i;

		for (; j > 0 && took[j - 1] > v; j--)
			took[j] = took[j - 1];
		took[j] = v;
	}
	print_message("FIN to LINK_CLOSED: median %lld us, worst %lld us\n", (long long)took[10],
	    (long long)took[20]);
	assert_in_range(took[10], 0, 20000);
}

/* ---- admission */

static void
test_inbound(void **state)
{
	struct carried c = take_from(PARTNER), d = take_from("127.0.0.100");

	(void)state;
	assert_carries(&c);
	assert_carries(&d);
	close(c.tcp);
	assert_int_equal(expect_closed().token, c.token);
	assert_carries(&d);
	close(c.owner);
	drop(&d);
}

static void
test_hello_in_pieces(void **state)
{
	uint8_t hello[HELLO_SIZE];
	int tcp = connect_from(PARTNER, SELF, port);

	(void)state;
	make_hello(hello, LINK_STATUS);
	assert_true(wait_for(tcp, POLLOUT, SOON_MS));
	for (size_t i = 0; i < sizeof(hello); i++) {
		put(tcp, hello + i, 1);
		fake_poll(&netd, i % 32 == 0);
	}
	(void)expect_link_in();
	close(tcp);
}

/* A connection that is closed at once. */
static void
assert_refused(const char *from, const void *bytes, size_t n)
{
	int tcp = connect_from(from, SELF, port);

	assert_true(wait_for(tcp, POLLOUT, SOON_MS));
	put(tcp, bytes, n);
	assert_int_not_equal(ends_with(tcp, SOON_MS), -1);
	close(tcp);
	assert_null(fake_expect(&netd, MSG_LINK_IN, 0));
}

/* A hello of that kind is syncd's to judge, and roled does not hear of it. */
static void
assert_for_syncd(enum link_kind kind)
{
	int tcp = connect_from(PARTNER, SELF, port);
	uint8_t hello[HELLO_SIZE], told[64];

	make_hello(hello, kind);
	assert_true(wait_for(tcp, POLLOUT, SOON_MS));
	put(tcp, hello, sizeof(hello));
	assert_true(wait_for(netd.syncd, POLLIN, SOON_MS));
	assert_true(recv(netd.syncd, told, sizeof(told), 0) > 8);
	assert_int_equal(told[0], MSG_LINK_IN);
	assert_int_equal(told[8], kind);
	assert_null(fake_expect(&netd, MSG_LINK_IN, 0));
	close(tcp);
}

static void
test_garbage(void **state)
{
	uint8_t hello[HELLO_SIZE];
	struct carried good = take_from(PARTNER);

	(void)state;
	assert_refused("127.0.0.100", "GET / HTTP/1.1\r\n", 16);
	assert_refused("127.0.0.100", "BHL2", 4);
	make_hello(hello, LINK_STATUS);
	hello[4]++;
	assert_refused("127.0.0.100", hello, sizeof(hello));
	for (size_t at = 8; at < sizeof(hello); at += 8) {
		make_hello(hello, LINK_STATUS);
		hello[at] ^= 0x80;
		assert_refused("127.0.0.101", hello, sizeof(hello));
	}
	assert_for_syncd(LINK_SYNC);
	assert_for_syncd(LINK_REQUEST);
	assert_carries(&good);
	assert_int_equal(expect_counter(NET_OWNER_REFUSED, 2), 2);
	assert_int_equal(expect_counter(NET_BAD_HELLO, 3), 3);
	assert_int_equal(expect_counter(NET_BAD_TAG, 16), 16);
	/* one line per cause, whatever the number */
	assert_int_equal(fake_log_count(&netd, "refused 127.0.0.101 port"), 1);
	assert_int_equal(fake_log_count(&netd, "made without our public key"), 1);
	drop(&good);
}

static void
test_slow_loris(void **state)
{
	uint8_t hello[HELLO_SIZE];
	int64_t begin;
	size_t sent;
	int tcp;

	(void)state;
	set_timeouts(300, SOON_MS);
	begin = now_ms();
	tcp = connect_from("127.0.0.100", SELF, port);
	make_hello(hello, LINK_STATUS);
	assert_true(wait_for(tcp, POLLOUT, SOON_MS));
	for (sent = 0; sent < sizeof(hello) - 1; sent++) {
		if (send(tcp, hello + sent, 1, MSG_NOSIGNAL) != 1)
			break;
		if (ends_with(tcp, 10) != -1)
			break;
	}
	assert_true(sent < sizeof(hello) - 1); /* all would take longer than is allowed */
	assert_true(now_ms() - begin >= 290);
	close(tcp);
	assert_int_equal(expect_counter(NET_HELLO_TIMEOUT, 1), 1);
}

static void
test_half_open(void **state)
{
	int tcp = connect_from("127.0.0.100", SELF, port);

	(void)state;
	assert_true(wait_for(tcp, POLLOUT, SOON_MS));
	put(tcp, "BHL1", 4);
	shutdown(tcp, SHUT_WR);
	assert_int_equal(ends_with(tcp, SOON_MS), 0);
	close(tcp);
	tcp = connect_from("127.0.0.100", SELF, port);
	assert_true(wait_for(tcp, POLLOUT, SOON_MS));
	reset(tcp);
	assert_int_equal(expect_counter(NET_BAD_HELLO, 2), 2);
}

static void
test_rate(void **state)
{
	unsigned refused = 0, allowed;
	int64_t begin = now_ms();
	int tcp[40];

	(void)state;
	for (int i = 0; i < 40; i++) { /* one at a time, so that slots are no matter */
		tcp[i] = connect_from("127.0.0.100", SELF, port);
		assert_true(wait_for(tcp[i], POLLOUT, SOON_MS));
		send(tcp[i], "x", 1, MSG_NOSIGNAL);
		(void)ends_with(tcp[i], SOON_MS);
		close(tcp[i]);
	}
	/* burst 20, and what 10 per second allow meanwhile */
	allowed = 20 + (unsigned)((now_ms() - begin) / 100 + 1);
	refused = (unsigned)expect_counter(NET_RATE_LIMITED, allowed < 40 ? 40 - allowed : 0);
	assert_in_range(refused, 0, 20);
	tcp[0] = connect_from("127.0.0.101", SELF, port); /* somebody else is not concerned */
	assert_true(wait_for(tcp[0], POLLOUT, SOON_MS));
	assert_int_equal(ends_with(tcp[0], 100), -1);
	close(tcp[0]);
}

/* 10,000 connections from everywhere: the good link works on, the partner still gets in. */
static void
test_flood(void **state)
{
	struct carried good = carry(7), again;
	static int tcp[10000];
	int64_t worst = 0;
	char from[32];
	uint64_t n = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		snprintf(from, sizeof(from), "127.%d.%d.3", 1 + i % 200, i % 100);
		tcp[i] = connect_from(from, SELF, port);
		if (i >= 500)
			close(tcp[i - 500]);
		if (i % 50 == 0) {
			int64_t begin = now_us();

			assert_carries(&good);
			if (now_us() - begin > worst)
				worst = now_us() - begin;
		}
		if (i == 5000 || i == 9000) {
			again = take_from(PARTNER);
			assert_carries(&again);
			drop(&again);
		}
	}
	for (int i = 9500; i < 10000; i++)
		close(tcp[i]);
	print_message("flood: worst round trip of the good link %lld us\n", (long long)worst);
	assert_carries(&good);
	assert_int_equal(fake_log_count(&netd, "too many connections without a hello"), 1);
	n = expect_counter(NET_SLOTS_FULL, 1);
	assert_true(n > 0);
	drop(&good);
}

/* All slots for others held: a partner has its own, and cannot take them all either. */
static void
test_slots(void **state)
{
	int tcp[300], n = 0, held[10];
	struct carried c;
	int64_t end;
	char from[32];

	(void)state;
	conf.general.slots = 200; /* less than there is room for: it is this number that counts */
	fake_configure(&netd, &conf);
	for (int i = 0; i < 300; i++) {
		snprintf(from, sizeof(from), "127.0.%d.%d", 1 + i / 100, 1 + i % 100);
		tcp[i] = connect_from(from, SELF, port);
	}
	expect_counter(NET_SLOTS_FULL, 300 - conf.general.slots);
	end = now_ms() + SOON_MS;
	do { /* counted before it is closed */
		n = 0;
		for (int i = 0; i < 300; i++)
			n += ends_with(tcp[i], 0) == -1;
	} while (n > conf.general.slots && now_ms() < end);
	assert_int_equal(n, conf.general.slots);
	c = take_from(PARTNER);
	assert_carries(&c);
	for (int i = 0; i < 10; i++)
		held[i] = connect_from(PARTNER, SELF, port);
	expect_counter(NET_SLOTS_FULL, 300 - conf.general.slots + 6);
	assert_carries(&c);
	for (int i = 0; i < 300; i++)
		close(tcp[i]);
	for (int i = 0; i < 10; i++)
		close(held[i]);
	expect_counter(NET_BAD_HELLO, 1);
	drop(&c);
	c = take_from("127.0.0.100"); /* all is free again */
	assert_carries(&c);
	drop(&c);
}

/* One source gets its share of the slots, not all. */
static void
test_share_of_a_source(void **state)
{
	int tcp[16];

	(void)state;
	for (int i = 0; i < 16; i++)
		tcp[i] = connect_from("127.0.0.100", SELF, port);
	assert_int_equal(expect_counter(NET_SLOTS_FULL, 8), 8); /* 64 / 8 of 16 */
	for (int i = 0; i < 16; i++)
		close(tcp[i]);
}

/* Addresses of nobody, with good hellos that roled takes: they leave links for the partners. */
static void
test_links_of_others(void **state)
{
	struct carried c[8], partner;
	uint8_t hello[HELLO_SIZE];
	char from[32];

	(void)state;
	for (int i = 0; i < 8; i++) {
		snprintf(from, sizeof(from), "127.0.1.%d", 1 + i);
		c[i] = take_from(from);
	}
	make_hello(hello, LINK_STATUS);
	assert_refused("127.0.2.1", hello, sizeof(hello));
	partner = take_from(PARTNER);
	assert_carries(&partner);
	for (int i = 0; i < 8; i++)
		drop(&c[i]);
	drop(&partner);
}

/* The largest group leaves fewer. */
static void
test_links_of_others_beside_a_large_group(void **state)
{
	struct carried c[6];
	uint8_t hello[HELLO_SIZE];
	char from[32];

	(void)state;
	fake_conf(&conf, CONF_SERVERS, port);
	fake_configure(&netd, &conf);
	hello_keys_init(&keys, conf.server[0].key_status, conf.server[0].key_data);
	for (int i = 0; i < 6; i++) {
		snprintf(from, sizeof(from), "127.0.1.%d", 1 + i);
		c[i] = take_from(from);
	}
	make_hello(hello, LINK_STATUS);
	assert_refused("127.0.2.1", hello, sizeof(hello));
	for (int i = 0; i < 6; i++)
		drop(&c[i]);
}

static void
test_owner_drops_or_sleeps(void **state)
{
	uint8_t hello[HELLO_SIZE];
	int tcp = connect_from(PARTNER, SELF, port), ends[2];
	struct closed closed;
	uint32_t token;

	(void)state;
	make_hello(hello, LINK_STATUS);
	assert_true(wait_for(tcp, POLLOUT, SOON_MS));
	put(tcp, hello, sizeof(hello));
	send_token(MSG_LINK_DROP, expect_link_in(), -1);
	assert_int_equal(ends_with(tcp, SOON_MS), 0);
	assert_int_equal(expect_counter(NET_OWNER_REFUSED, 1), 1);
	close(tcp);
	set_timeouts(300, SOON_MS);
	tcp = connect_from(PARTNER, SELF, port);
	assert_true(wait_for(tcp, POLLOUT, SOON_MS));
	put(tcp, hello, sizeof(hello));
	token = expect_link_in();
	assert_int_equal(ends_with(tcp, SOON_MS), 0);
	assert_int_equal(expect_counter(NET_OWNER_REFUSED, 2), 2);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	send_token(MSG_LINK_TAKE, token, ends[1]); /* too late */
	closed = expect_closed();
	assert_int_equal(closed.token, token);
	assert_int_equal(closed.cause, CLOSE_TIMEOUT);
	close(ends[0]);
	close(ends[1]);
	close(tcp);
}

/* A fresh listener in the slot of the old one, and none. */
static void
test_listeners(void **state)
{
	uint16_t other;
	int l = listen_on(SELF, 16, &other), tcp;
	struct carried c;
	struct msg m;

	(void)state;
	close(listener);
	for (int i = 0; i < 3; i++)
		give_listener(0, l);
	give_listener(3, l);
	listener = l;
	port = other;
	c = take_from(PARTNER);
	assert_carries(&c);
	for (uint8_t slot = 0; slot < 4; slot++) {
		msg_begin(&m, MSG_LISTENER_CLOSE);
		msg_put_u8(&m, slot);
		fake_send(&netd, &netd.control, &m);
	}
	assert_carries(&c);
	close(listener);
	listener = -1;
	tcp = connect_from(PARTNER, SELF, port);
	assert_int_equal(ends_with(tcp, SOON_MS), ECONNREFUSED);
	close(tcp);
	drop(&c);
}

/* Descriptors run out: the good link works on, nothing spins, and it recovers. */
static void
test_emfile(void **state)
{
	struct carried good, again;
	int tcp[64];
	char from[32];

	(void)state;
	fake_stop(&netd);
	close(listener);
	setup_nofile(16 + 8 + 2 * NETD_LINKS + 8);
	good = carry(7);
	for (int i = 0; i < 64; i++) {
		snprintf(from, sizeof(from), "127.0.1.%d", 1 + i);
		tcp[i] = connect_from(from, SELF, port);
	}
	expect_counter(NET_SLOTS_FULL, 1);
	assert_true(fake_log_count(&netd, "out of descriptors") == 1);
	assert_carries(&good);
	for (int i = 0; i < 64; i++)
		close(tcp[i]);
	again = take_from("127.0.0.100");
	assert_carries(&again);
	assert_carries(&good);
	drop(&again);
	drop(&good);
}

/* ---- life */

static void
test_roled_restarts(void **state)
{
	struct carried dialled = carry(7), taken = take_from(PARTNER);
	uint8_t hello[HELLO_SIZE];
	int waiting = connect_from(PARTNER, SELF, port), owner = open_link(9), fd;
	uint32_t dial = expect_dial();
	uint16_t partner_port;
	int l = listen_on(PARTNER, 8, &partner_port);
	char buf[16];

	(void)state;
	make_hello(hello, LINK_STATUS);
	assert_true(wait_for(waiting, POLLOUT, SOON_MS));
	put(waiting, hello, sizeof(hello));
	(void)expect_link_in();
	put(dialled.owner, "last words", 10);
	close(dialled.owner);
	close(taken.owner);
	close(owner);
	fake_new_roled(&netd);
	assert_int_equal(read_all(dialled.tcp, buf, 10), 10);
	assert_int_equal(ends_with(dialled.tcp, SOON_MS), 0);
	assert_int_equal(ends_with(taken.tcp, SOON_MS), 0);
	assert_int_equal(ends_with(waiting, SOON_MS), 0);
	fd = connect_from(SELF, PARTNER, partner_port);
	send_token(MSG_DIALED, dial, fd); /* was asked for by the old one */
	close(fd);
	close(dialled.tcp);
	close(taken.tcp);
	close(waiting);
	dialled = carry(7); /* the new one may use the same token */
	assert_carries(&dialled);
	assert_null(fake_expect(&netd, MSG_LINK_CLOSED, 50));
	drop(&dialled);
	close(l);
}

/* It stands still; 0 when it has ended instead. */
static int
stop_netd(void)
{
	int status;

	kill(netd.pid, SIGSTOP);
	assert_int_equal(waitpid(netd.pid, &status, WUNTRACED), netd.pid);
	if (WIFSTOPPED(status))
		return 1;
	netd.pid = 0;
	netd.status = status;
	return 0;
}

/* The supervisor dies: what roled writes in its last moments gets out, then netd goes. */
static void
test_obituary(void **state)
{
	struct carried a = carry(7), b = take_from(PARTNER);
	int tcp, refused, stands, status;
	int64_t ran_ms, began_ms = now_ms();
	char buf[16];

	(void)state;
	assert_true(stop_netd());
	close(listener);
	listener = -1;
	put(a.owner, "obituary", 8);
	put(b.owner, "obituary", 8);
	channel_close(&netd.control);
	do { /* refused while it still carries */
		ran_ms = now_ms();
		kill(netd.pid, SIGCONT);
		fake_poll(&netd, 1);
		stands = stop_netd();
		ran_ms = now_ms() - ran_ms;
		tcp = connect_from(PARTNER, SELF, port);
		refused = ends_with(tcp, 20);
		close(tcp);
	} while (stands && refused != ECONNREFUSED);
	assert_true(stands || ran_ms >= 40); /* or this test was too slow to see it */
	if (stands)
		kill(netd.pid, SIGCONT);
	close(a.owner);
	close(b.owner);
	assert_int_equal(read_all(a.tcp, buf, 8), 8);
	assert_int_equal(ends_with(a.tcp, SOON_MS), 0);
	assert_int_equal(read_all(b.tcp, buf, 8), 8);
	assert_int_equal(ends_with(b.tcp, SOON_MS), 0);
	status = fake_wait_end(&netd, SOON_MS);
	if (now_ms() - began_ms < 1000) /* its hard limit */
		assert_int_equal(status, EXIT_CHANNEL << 8);
	tcp = connect_from(PARTNER, SELF, port);
	assert_int_equal(ends_with(tcp, SOON_MS), ECONNREFUSED);
	close(tcp);
	close(a.tcp);
	close(b.tcp);
}

/* The same by the parent-death signal alone, with a roled that never closes. */
static void
test_parent_death_signal(void **state)
{
	struct carried a = carry(7);
	char buf[16];

	(void)state;
	fill(a.tcp); /* what is not read makes close(2) send a reset; the FIN must be before it */
	kill(netd.pid, SIGUSR1);
	put(a.owner, "obituary", 8);
	assert_int_equal(read_all(a.tcp, buf, 8), 8);
	assert_int_equal(ends_with(a.tcp, SOON_MS), 0);
	assert_int_equal(fake_wait_end(&netd, SOON_MS), EXIT_CHANNEL << 8);
	drop(&a);
}

static void
test_stop(void **state)
{
	struct carried a = carry(7);
	struct msg m;
	char buf[16];

	(void)state;
	put(a.owner, "goodbye", 7);
	msg_begin(&m, MSG_STOP);
	msg_put_u32(&m, 1000);
	fake_send(&netd, &netd.control, &m);
	assert_int_equal(read_all(a.tcp, buf, 7), 7);
	assert_int_equal(fake_wait_end(&netd, SOON_MS), EXIT_OK << 8);
	assert_int_equal(ends_with(a.tcp, SOON_MS), 0);
	drop(&a);
}

/* Descriptors that are not what the message says, tokens of the wrong half, a second use. */
static void
test_wrong_messages(void **state)
{
	int file = open("/dev/null", O_RDWR | O_CLOEXEC), owner;
	struct carried good = carry(7);
	struct msg m, *broken;
	struct closed closed;

	(void)state;
	owner = open_link(8);
	send_token(MSG_DIALED, expect_dial(), file);
	assert_int_equal(expect_closed().cause, CLOSE_ERROR);
	close(owner);
	owner = open_link(7); /* in use */
	closed = expect_closed();
	assert_int_equal(closed.token, 7);
	assert_int_equal(closed.cause, CLOSE_ERROR);
	close(owner);
	assert_carries(&good);
	send_token(MSG_LINK_DROP, 12345, -1);
	send_token(MSG_LINK_DROP, 0xffffffff, -1);
	assert_carries(&good);
	msg_begin(&m, MSG_LINK_OPEN); /* a partner that the config does not have */
	msg_put_u32(&m, 9);
	msg_put_u8(&m, 5);
	msg_put_u8(&m, 0);
	msg_put_u8(&m, LINK_STATUS);
	msg_put_fd(&m, file);
	fake_send(&netd, &netd.roled, &m);
	assert_int_equal(expect_closed().cause, CLOSE_ERROR);
	drop(&good);
	(void)expect_closed();
	msg_begin(&m, MSG_LINK_OPEN);
	msg_put_u32(&m, 0x80000001);
	msg_put_u8(&m, 1);
	msg_put_u8(&m, 0);
	msg_put_u8(&m, LINK_STATUS);
	msg_put_fd(&m, file);
	fake_send(&netd, &netd.roled, &m);
	broken = fake_expect(&netd, MSG_PEER_BROKEN, SOON_MS);
	assert_non_null(broken);
	fake_free(broken);
	close(file);
}

/* Each of the two opens its own kinds of link: others are not even asked for. */
static void
test_kinds_of_each_owner(void **state)
{
	static struct channel to_syncd;
	struct msg m, *dial;
	int ends[2];

	(void)state;
	channel_init(&to_syncd, netd.syncd, PROC_SYNCD, PROC_NETD, NULL, NULL);
	to_syncd.state = S_RUN;
	for (uint8_t kind = 0; kind <= LINK_KIND_MAX; kind++) {
		for (int syncd = 0; syncd < 2; syncd++) {
			int own =
			    syncd ? kind == LINK_SYNC || kind == LINK_REQUEST : kind == LINK_STATUS;
			uint8_t told[64];

			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
			msg_begin(&m, MSG_LINK_OPEN);
			msg_put_u32(&m, 100U + kind);
			msg_put_u8(&m, 1);
			msg_put_u8(&m, 0);
			msg_put_u8(&m, kind);
			msg_put_fd(&m, ends[1]);
			fake_send(&netd, syncd ? &to_syncd : &netd.roled, &m);
			close(ends[1]);
			if (own) {
				dial = fake_expect(&netd, MSG_DIAL, SOON_MS);
				assert_non_null(dial);
				fake_free(dial);
			} else if (syncd) {
				assert_true(wait_for(netd.syncd, POLLIN, SOON_MS));
				assert_true(recv(netd.syncd, told, sizeof(told), 0) > 0);
				assert_int_equal(told[0], MSG_LINK_CLOSED);
			} else
				assert_int_equal(expect_closed().cause, CLOSE_ERROR);
			if (!own)
				assert_null(fake_expect(&netd, MSG_DIAL, 0));
			close(ends[0]);
		}
	}
}

static void
test_idle_links_fill(void **state)
{
	static struct carried c[NETD_LINKS];
	int owner;

	(void)state;
	for (uint32_t i = 0; i < NETD_LINKS; i++)
		c[i] = carry(i);
	owner = open_link(NETD_LINKS);
	assert_int_equal(expect_closed().cause, CLOSE_ERROR);
	close(owner);
	for (int i = 0; i < NETD_LINKS; i++)
		assert_carries(&c[i]);
	for (int i = 0; i < NETD_LINKS; i++) {
		close(c[i].tcp);
		assert_int_equal(expect_closed().cause, CLOSE_FIN);
		close(c[i].owner);
	}
	c[0] = carry(NETD_LINKS + 1);
	assert_carries(&c[0]);
	drop(&c[0]);
}

#define NETD_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    NETD_TEST(test_carries_100_mb_both_ways),
	    NETD_TEST(test_back_pressure),
	    NETD_TEST(test_blocking_end),
	    NETD_TEST(test_leftovers),
	    NETD_TEST(test_fin),
	    NETD_TEST(test_reset),
	    NETD_TEST(test_reset_and_fin_under_writes),
	    NETD_TEST(test_refused),
	    NETD_TEST(test_dial_timeout),
	    NETD_TEST(test_dial_failed_and_late),
	    NETD_TEST(test_owner_closes),
	    NETD_TEST(test_half_close),
	    NETD_TEST(test_fin_is_told_at_once),
	    NETD_TEST(test_inbound),
	    NETD_TEST(test_hello_in_pieces),
	    NETD_TEST(test_garbage),
	    NETD_TEST(test_slow_loris),
	    NETD_TEST(test_half_open),
	    NETD_TEST(test_rate),
	    NETD_TEST(test_flood),
	    NETD_TEST(test_slots),
	    NETD_TEST(test_share_of_a_source),
	    NETD_TEST(test_links_of_others),
	    NETD_TEST(test_links_of_others_beside_a_large_group),
	    NETD_TEST(test_owner_drops_or_sleeps),
	    NETD_TEST(test_listeners),
	    NETD_TEST(test_emfile),
	    NETD_TEST(test_roled_restarts),
	    NETD_TEST(test_obituary),
	    NETD_TEST(test_parent_death_signal),
	    NETD_TEST(test_stop),
	    NETD_TEST(test_wrong_messages),
	    NETD_TEST(test_kinds_of_each_owner),
	    NETD_TEST(test_idle_links_fill),
	};

	if (!fake_can_run())
		return 77;
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
