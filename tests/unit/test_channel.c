/* SPDX-License-Identifier: ISC */
/*
 * The message table, the field encoders and the eight checks of the receive path.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/channel.h"
#include "lib/log.h"
#include "policy/sandbox.h"
#include "lib/clock.h"

static int handled;
static int handler_result;
static uint16_t handled_type;
static int handled_fd = -1;

static int
count_message(struct channel *c, struct msg *m)
{
	(void)c;
	handled++;
	handled_type = m->type;
	if (handled_fd == -2)
		handled_fd = msg_take_fd(m);
	return handler_result;
}

struct ends {
	struct channel c;
	int raw; /* the other end, to send anything */
};

static void
setup(struct ends *e, enum process self, enum process peer)
{
	int fds[2];

	assert_int_equal(channel_pair(fds), 0);
	channel_init(&e->c, fds[0], self, peer, count_message, NULL);
	e->raw = fds[1];
	handled = 0;
	handler_result = 0;
	handled_fd = -1;
}

static void
teardown(struct ends *e)
{
	channel_close(&e->c);
	close(e->raw);
}

static void
raw_send(struct ends *e, unsigned type, unsigned zero, size_t body, int n_fds)
{
	static uint8_t buf[70000];
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec iov = {.iov_base = buf, .iov_len = 4 + body};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cm;

	memset(buf, 0, sizeof(buf));
	buf[0] = (uint8_t)type;
	buf[1] = (uint8_t)(type >> 8);
	buf[2] = (uint8_t)zero;
	if (n_fds > 0) {
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
		for (int i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(cm) + (size_t)i * sizeof(int), &e->raw, sizeof(int));
	}
	assert_true(sendmsg(e->raw, &mh, 0) >= 0);
}

/* Send one raw packet to a fresh channel in a state and return what the receive path says. */
static enum channel_violation
verdict(enum process self, enum process peer, enum channel_state state, unsigned type,
    unsigned zero, size_t body, int n_fds)
{
	struct ends e;
	enum channel_violation v;
	int r;

	setup(&e, self, peer);
	e.c.state = state;
	raw_send(&e, type, zero, body, n_fds);
	r = channel_read(&e.c);
	v = e.c.violation;
	if (v == V_NONE) {
		assert_int_equal(r, 0);
		assert_int_equal(handled, 1);
	} else {
		assert_int_equal(r, -1);
		assert_int_equal(handled, 0);
	}
	teardown(&e);
	return v;
}

static int
open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void
each_check_refuses(void **state)
{
	int before = open_fds();

	(void)state;
	assert_int_equal(verdict(PROC_KEYD, PROC_ROLED, S_RUN, MSG_KEY_DH, 0, 36, 0), V_NONE);
	assert_int_equal(verdict(PROC_KEYD, PROC_ROLED, S_RUN, MSG_KEY_DH, 1, 36, 0), V_SIZE);
	assert_int_equal(verdict(PROC_KEYD, PROC_ROLED, S_RUN, 0, 0, 0, 0), V_TYPE);
	assert_int_equal(verdict(PROC_KEYD, PROC_ROLED, S_RUN, 127, 0, 36, 0), V_TYPE);
	assert_int_equal(verdict(PROC_KEYD, PROC_ROLED, S_RUN, 60000, 0, 36, 0), V_TYPE);
	assert_int_equal(verdict(PROC_KEYD, PROC_NETD, S_RUN, MSG_KEY_DH, 0, 36, 0), V_FROM);
	assert_int_equal(verdict(PROC_ICMPD, PROC_ROLED, S_RUN, MSG_KEY_DH, 0, 36, 0), V_TO);
	assert_int_equal(verdict(PROC_KEYD, PROC_ROLED, S_RUN, MSG_KEY_DH, 0, 35, 0), V_LENGTH);
	assert_int_equal(verdict(PROC_KEYD, PROC_ROLED, S_RUN, MSG_KEY_DH, 0, 37, 0), V_LENGTH);
	assert_int_equal(verdict(PROC_KEYD, PROC_ROLED, S_RUN, MSG_KEY_DH, 0, 36, 1), V_FDS);
	assert_int_equal(verdict(PROC_NETD, PROC_SUPERVISOR, S_RUN, MSG_LISTENER, 0, 1, 0), V_FDS);
	assert_int_equal(verdict(PROC_NETD, PROC_SUPERVISOR, S_RUN, MSG_LISTENER, 0, 1, 2), V_FDS);
	assert_int_equal(verdict(PROC_NETD, PROC_SUPERVISOR, S_RUN, MSG_LISTENER, 0, 1, 8), V_FDS);
	assert_int_equal(verdict(PROC_NETD, PROC_SUPERVISOR, S_RUN, MSG_LISTENER, 0, 1, 1), V_NONE);
	assert_int_equal(verdict(PROC_KEYD, PROC_ROLED, S_STOP, MSG_KEY_DH, 0, 36, 0), V_STATE);
	assert_int_equal(verdict(PROC_SUPERVISOR, PROC_NETD, S_RUN, MSG_PONG, 0, 24, 0), V_FLAGS);
	assert_int_equal(open_fds(), before);
}

/* Every type in every wrong direction, length and state is refused before a handler runs. */
static void
whole_table_refuses(void **state)
{
	(void)state;
	for (unsigned type = 0; type < MSG_TYPE_MAX; type++) {
		const struct message_row *row = message_row(type);

		if (row == NULL)
			continue;
		for (enum process self = 0; self < PROC_MAX; self++) {
			for (enum process peer = 0; peer < PROC_MAX; peer++) {
				enum channel_violation v = verdict(
				    self, peer, S_RUN, type, 0, (size_t)row->max + 1, row->fds);

				if (!(row->from & (1U << peer)))
					assert_int_equal(v, V_FROM);
				else if (!(row->to & (1U << self)))
					assert_int_equal(v, V_TO);
				else
					assert_int_equal(v, V_LENGTH);
			}
		}
	}
}

static void
rows_are_sane(void **state)
{
	(void)state;
	for (unsigned type = 0; type < MSG_TYPE_MAX; type++) {
		const struct message_row *row = message_row(type);

		if (row == NULL)
			continue;
		assert_true(row->min <= row->max);
		assert_true(row->max <= MSG_SIZE_MAX - MSG_HEADER);
		assert_true(row->fds <= MSG_FDS_MAX);
		assert_true(row->states != 0 && (row->states & ~S_ANY) == 0);
		assert_true(row->from != 0 && row->to != 0);
	}
}

static void
once_and_permit(void **state)
{
	struct ends e;

	(void)state;
	setup(&e, PROC_SUPERVISOR, PROC_NETD);
	raw_send(&e, MSG_READY, 0, 1, 0);
	assert_int_equal(channel_read(&e.c), 0);
	raw_send(&e, MSG_READY, 0, 1, 0);
	assert_int_equal(channel_read(&e.c), -1);
	assert_int_equal(e.c.violation, V_FLAGS);
	teardown(&e);

	setup(&e, PROC_SUPERVISOR, PROC_NETD);
	channel_permit(&e.c, MSG_PONG);
	raw_send(&e, MSG_PONG, 0, 24, 0);
	assert_int_equal(channel_read(&e.c), 0);
	raw_send(&e, MSG_PONG, 0, 24, 0);
	assert_int_equal(channel_read(&e.c), -1);
	assert_int_equal(e.c.violation, V_FLAGS);
	teardown(&e);
}

/* A peer's answer: its cookie, or that of the last EDGE_PING when it is 0. */
static void
answer_beat(struct ends *e, uint64_t cookie)
{
	uint8_t packet[12];

	memset(packet, 0, sizeof(packet));
	while (recv(e->raw, packet, sizeof(packet), MSG_DONTWAIT) == (ssize_t)sizeof(packet))
		;
	packet[0] = MSG_EDGE_PONG;
	if (cookie != 0)
		memcpy(packet + 4, &cookie, sizeof(cookie));
	assert_int_equal(send(e->raw, packet, sizeof(packet), 0), sizeof(packet));
}

/* Who answers lives; who does not is given up after its time, and no sooner. */
static void
beat_needs_its_answer(void **state)
{
	int64_t now = now_ms(), at, heard;
	struct ends e;

	(void)state;
	setup(&e, PROC_ROLED, PROC_NETD);
	e.c.state = S_RUN;
	assert_int_equal(channel_beat(&e.c, now), 0);
	answer_beat(&e, 0);
	assert_int_equal(channel_read(&e.c), 0);
	heard = now_ms();	      /* or earlier: until then some time may have gone by */
	assert_int_equal(handled, 0); /* not the owner's business */
	for (at = now + 500; at < now + BEAT_SILENT_MS - 100; at += 500)
		assert_int_equal(channel_beat(&e.c, at), 0);
	while (at < heard + BEAT_SILENT_MS + 100 && channel_beat(&e.c, at) == 0)
		at += 500;
	assert_int_equal(channel_beat(&e.c, at), -1);
	assert_int_equal(e.c.violation, V_QUEUE);
	teardown(&e);
}

static void
beat_is_patient_with_a_start(void **state)
{
	struct ends e;
	int ms;

	(void)state;
	setup(&e, PROC_ROLED, PROC_NETD);
	for (ms = 0; ms < BEAT_FIRST_MS; ms += 500)
		assert_int_equal(channel_beat(&e.c, 1000 + ms), 0);
	assert_int_equal(channel_beat(&e.c, 1000 + ms), -1);
	teardown(&e);

	setup(&e, PROC_ROLED, PROC_NETD);
	channel_beat_now(&e.c, 1000); /* it runs already */
	for (ms = 500; ms < BEAT_SILENT_MS; ms += 500)
		assert_int_equal(channel_beat(&e.c, 1000 + ms), 0);
	assert_int_equal(channel_beat(&e.c, 1000 + ms), -1);
	teardown(&e);
}

/*
 * Who stands still for less than its time, and then answers all that it was asked, is no offender.
 */
static void
beat_bears_late_answers(void **state)
{
	uint8_t packet[12];
	struct ends e;
	int64_t now = now_ms() - BEAT_SILENT_DISK_MS, n = 0;

	(void)state;
	setup(&e, PROC_NETD, PROC_SYNCD);
	e.c.state = S_RUN;
	channel_beat_now(&e.c, now);
	for (int ms = 500; ms < BEAT_SILENT_DISK_MS; ms += 500)
		assert_int_equal(channel_beat(&e.c, now + ms), 0);
	while (recv(e.raw, packet, sizeof(packet), MSG_DONTWAIT) == (ssize_t)sizeof(packet)) {
		assert_int_equal(packet[0], MSG_EDGE_PING);
		packet[0] = MSG_EDGE_PONG;
		assert_int_equal(send(e.raw, packet, sizeof(packet), 0), sizeof(packet));
		assert_int_equal(channel_read(&e.c), 0);
		n++;
	}
	assert_int_equal(n, BEAT_COOKIES);
	assert_int_equal(channel_beat(&e.c, now + BEAT_SILENT_DISK_MS), 0); /* it is asked again */
	assert_int_equal(recv(e.raw, packet, sizeof(packet), MSG_DONTWAIT), sizeof(packet));
	teardown(&e);
}

/* We stood still: our silence, not the peer's. */
static void
beat_knows_its_own_pauses(void **state)
{
	struct ends e;

	(void)state;
	setup(&e, PROC_ROLED, PROC_NETD);
	channel_beat_now(&e.c, 1000);
	assert_int_equal(channel_beat(&e.c, 60000), 0);
	assert_int_equal(channel_beat(&e.c, 60500), 0);
	teardown(&e);
}

static void
beat_answers_are_not_guessed(void **state)
{
	struct ends e;

	(void)state;
	setup(&e, PROC_ROLED, PROC_NETD);
	assert_int_equal(channel_beat(&e.c, 1000), 0);
	answer_beat(&e, 1);
	assert_int_equal(channel_read(&e.c), -1);
	assert_int_equal(e.c.violation, V_BODY);
	teardown(&e);

	setup(&e, PROC_ROLED, PROC_NETD); /* nor given twice, nor unasked */
	assert_int_equal(channel_beat(&e.c, 1000), 0);
	answer_beat(&e, 0);
	assert_int_equal(channel_read(&e.c), 0);
	answer_beat(&e, 7);
	assert_int_equal(channel_read(&e.c), -1);
	assert_int_equal(e.c.violation, V_FLAGS);
	teardown(&e);
}

/* What the other side asks is answered with its own cookie. */
static void
beat_is_answered(void **state)
{
	uint8_t packet[16] = {MSG_EDGE_PING, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
	struct ends e;

	(void)state;
	setup(&e, PROC_KEYD, PROC_ROLED);
	e.c.state = S_RUN;
	assert_int_equal(send(e.raw, packet, 12, 0), 12);
	assert_int_equal(channel_read(&e.c), 0);
	assert_int_equal(recv(e.raw, packet, sizeof(packet), MSG_DONTWAIT), 12);
	assert_int_equal(packet[0], MSG_EDGE_PONG);
	for (uint8_t i = 0; i < 8; i++)
		assert_int_equal(packet[4 + i], i + 1);
	teardown(&e);
}

static void
oversized_and_short_packets(void **state)
{
	struct ends e;

	(void)state;
	assert_int_equal(verdict(PROC_KEYD, PROC_ROLED, S_RUN, MSG_KEY_DH, 0, 20000, 0), V_SIZE);
	setup(&e, PROC_KEYD, PROC_ROLED);
	assert_int_equal(send(e.raw, "abc", 3, 0), 3);
	assert_int_equal(channel_read(&e.c), -1);
	assert_int_equal(e.c.violation, V_SIZE);
	assert_int_equal(e.c.violation_len, 3);
	teardown(&e);
}

/* What is kept of a refused packet is logged: of a secret one only the header. */
static void
secret_bodies_are_not_kept(void **state)
{
	struct ends e;

	(void)state;
	setup(&e, PROC_ROLED, PROC_KEYD);
	raw_send(&e, MSG_KEY_SHARED, 0, 37, 0);
	assert_int_equal(channel_read(&e.c), -1);
	assert_int_equal(e.c.violation, V_FLAGS);
	assert_int_equal(e.c.violation_len, MSG_HEADER);
	teardown(&e);
	setup(&e, PROC_ROLED, PROC_KEYD);
	raw_send(&e, MSG_KEY_PUBLIC, 0, 65, 0);
	assert_int_equal(channel_read(&e.c), -1);
	assert_int_equal(e.c.violation_len, 64);
	teardown(&e);
}

static void
malformed_body_is_a_violation(void **state)
{
	struct ends e;

	(void)state;
	setup(&e, PROC_KEYD, PROC_ROLED);
	e.c.state = S_RUN;
	handler_result = -1;
	raw_send(&e, MSG_KEY_DH, 0, 36, 0);
	assert_int_equal(channel_read(&e.c), -1);
	assert_int_equal(e.c.violation, V_BODY);
	teardown(&e);
}

/*
 * The last words of a peer that ends with something unread are heard: the kernel tells of that
 * first.
 */
static void
last_words_are_heard(void **state)
{
	struct ends e;
	static struct msg m;

	(void)state;
	setup(&e, PROC_SUPERVISOR, PROC_NETD);
	msg_begin(&m, MSG_DUMP);
	assert_int_equal(channel_send(&e.c, &m), 0);
	raw_send(&e, MSG_READY, 0, 1, 0);
	close(e.raw);
	e.raw = -1;
	assert_int_equal(channel_read(&e.c), -1);
	assert_int_equal(handled, 1);
	assert_int_equal(e.c.violation, V_NONE);
	channel_close(&e.c);
}

/* How a channel reads on which so many empty packets come, and then a good one, or the end. */
static enum channel_violation
read_empty(const int fds[2], int empty, int good, int closed)
{
	struct ends e = {.raw = fds[1]};
	enum channel_violation v;

	channel_init(&e.c, fds[0], PROC_SUPERVISOR, PROC_NETD, count_message, NULL);
	handled = 0;
	for (int i = 0; i < empty; i++)
		assert_int_equal(send(e.raw, "", 0, MSG_NOSIGNAL), 0);
	if (good)
		raw_send(&e, MSG_READY, 0, 1, 0);
	if (closed)
		assert_int_equal(shutdown(e.raw, SHUT_WR), 0);
	assert_int_equal(channel_read(&e.c), -1);
	assert_int_equal(handled, empty == 0 && good);
	v = e.c.violation;
	teardown(&e);
	return v;
}

/* An empty packet is a violation, however many there are and whatever follows; the end is not. */
static void
empty_packets_are_no_end_of_file(void **state)
{
	int fds[2];

	(void)state;
	for (int empty = 0; empty <= 3; empty++) {
		for (int rest = empty == 0 ? 1 : 0; rest <= 3;
		     rest++) { /* nothing, end, good, good and end */
			if (empty == 0 && rest == 2)
				continue; /* nothing wrong */
			assert_int_equal(channel_pair(fds), 0);
			assert_int_equal(read_empty(fds, empty, rest & 2, rest & 1),
			    empty > 0 ? V_SIZE : V_NONE);
		}
	}
}

/* A socket that channel_pair() did not make, as the admin socket: one empty packet is seen. */
static void
empty_packet_without_stamps(void **state)
{
	int fds[2];

	(void)state;
	for (int empty = 0; empty <= 1; empty++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
		assert_int_equal(
		    read_empty(fds, empty, 0, empty == 0), empty > 0 ? V_SIZE : V_NONE);
	}
}

static void
end_of_file_is_no_violation(void **state)
{
	struct ends e;

	(void)state;
	setup(&e, PROC_KEYD, PROC_ROLED);
	shutdown(e.raw, SHUT_WR);
	assert_int_equal(channel_read(&e.c), -1);
	assert_int_equal(e.c.violation, V_NONE);
	teardown(&e);
}

static void
one_wake_up_has_a_budget(void **state)
{
	struct ends e;
	int n = 0;

	(void)state;
	setup(&e, PROC_KEYD, PROC_ROLED);
	e.c.state = S_RUN;
	for (int i = 0; i < CHANNEL_BUDGET + 8; i++)
		raw_send(&e, MSG_KEY_DH, 0, 36, 0);
	while (channel_read(&e.c) == 1)
		n++;
	assert_int_equal(n, 1);
	assert_int_equal(handled, CHANNEL_BUDGET + 8);
	teardown(&e);
}

static void
full_socket_queues_in_order_then_gives_up(void **state)
{
	struct ends e;
	struct msg m;
	uint8_t buf[2048];
	uint64_t sent = 0, got = 0;
	int small = 4096;

	(void)state;
	setup(&e, PROC_ROLED, PROC_SUPERVISOR);
	setsockopt(e.c.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (;;) {
		msg_begin(&m, MSG_ACTION);
		msg_put_u64(&m, sent);
		msg_put_u64(&m, 0);
		msg_put_u64(&m, 0);
		if (channel_send(&e.c, &m) != 0)
			break;
		sent++;
		assert_true(sent < 1000000);
	}
	assert_int_equal(e.c.violation, V_QUEUE);
	while (got < sent) {
		ssize_t n = recv(e.raw, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0) {
			assert_int_equal(channel_flush(&e.c), 0);
			continue;
		}
		assert_int_equal(n, 28);
		assert_int_equal(buf[4] | buf[5] << 8 | buf[6] << 16, got & 0xffffff);
		got++;
	}
	assert_null(e.c.head);
	assert_int_equal(e.c.queued, 0);
	teardown(&e);
}

static void
descriptor_arrives_and_is_ours(void **state)
{
	struct ends e;
	int before = open_fds();

	(void)state;
	setup(&e, PROC_NETD, PROC_SUPERVISOR);
	handled_fd = -2;
	raw_send(&e, MSG_LISTENER, 0, 1, 1);
	assert_int_equal(channel_read(&e.c), 0);
	assert_true(handled_fd >= 0);
	assert_true(fcntl(handled_fd, F_GETFD) & FD_CLOEXEC);
	close(handled_fd);
	teardown(&e);
	assert_int_equal(open_fds(), before);
}

/* Our own table of descriptors is full: no fault of the sender, and the handler is told. */
static void
descriptor_without_room_is_no_violation(void **state)
{
	struct rlimit before, full;
	struct ends e;
	int r, r_none;
	enum channel_violation v;

	(void)state;
	if (getenv("BULKHEAD_VALGRIND") != NULL) {
		print_message(
		    "left out: valgrind keeps the limit of descriptors from the kernel\n");
		skip();
	}
	setup(&e, PROC_NETD, PROC_SUPERVISOR);
	handled_fd = -2;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	full = before;
	full.rlim_cur = (rlim_t)dup(0);
	close((int)full.rlim_cur);
	raw_send(&e, MSG_LISTENER, 0, 1, 1);
	raw_send(&e, MSG_LISTENER_CLOSE, 0, 1, 1); /* which has none */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
	r = channel_read(&e.c);
	r_none = handled;
	v = e.c.violation;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(r, -1);
	assert_int_equal(r_none, 1); /* the first one was handled, the second one refused */
	assert_int_equal(v, V_SIZE);
	assert_int_equal(handled_fd, -1);
	teardown(&e);
}

static int no_memory;
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

/* The linker puts this in the place of malloc (Makefile.am). */
void *
__wrap_malloc(size_t size)
{
	return no_memory ? NULL : __real_malloc(size);
}

/* A message that cannot be kept is an error of the sender's, or its end where others rely on it. */
static void
no_memory_for_the_queue(void **state)
{
	struct ends e;
	struct msg m;
	int small = 4096, status;
	pid_t pid;

	(void)state;
	setup(&e, PROC_ROLED, PROC_SUPERVISOR);
	setsockopt(e.c.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	msg_begin(&m, MSG_PONG);
	msg_put_u64(&m, 1);
	msg_put_bytes(&m, (const uint8_t[16]){0}, 16);
	while (e.c.head == NULL)
		assert_int_equal(channel_send(&e.c, &m), 0);
	no_memory = 1;
	assert_int_equal(channel_send(&e.c, &m), -1);
	assert_int_equal(e.c.violation, V_NONE);
	pid = fork();
	if (pid == 0) {
		e.c.essential = 1;
		log_to_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
		(void)channel_send(&e.c, &m);
		_exit(0);
	}
	no_memory = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FATAL);
	teardown(&e);
}

/*
 * While the kernel has no memory a socket says that it can be written to: it is left alone for a
 * while.
 */
static void
starved_channel_is_not_polled(void **state)
{
	struct ends e;
	struct msg m;
	int small = 4096, timeout = -1;

	(void)state;
	setup(&e, PROC_ROLED, PROC_SUPERVISOR);
	assert_int_equal(channel_events(&e.c, &timeout), POLLIN);
	setsockopt(e.c.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	msg_begin(&m, MSG_PONG);
	msg_put_u64(&m, 1);
	msg_put_bytes(&m, (const uint8_t[16]){0}, 16);
	while (e.c.head == NULL)
		assert_int_equal(channel_send(&e.c, &m), 0);
	assert_int_equal(channel_events(&e.c, &timeout), POLLIN | POLLOUT);
	assert_int_equal(timeout, -1);
	e.c.starved = 1;
	assert_int_equal(channel_events(&e.c, &timeout), POLLIN);
	assert_int_equal(timeout, CHANNEL_PAUSE_MS);
	timeout = 3;
	assert_int_equal(channel_events(&e.c, &timeout), POLLIN);
	assert_int_equal(timeout, 3);
	assert_int_equal(channel_flush(&e.c), 0); /* full, no longer starved */
	assert_false(e.c.starved);
	teardown(&e);
}

static void
fields_round_trip_and_stop_at_the_end(void **state)
{
	struct msg m;
	char text[8];
	uint8_t b[3];

	(void)state;
	msg_begin(&m, MSG_CTL_PAUSE);
	msg_put_u8(&m, 0xab);
	msg_put_u16(&m, 0x1234);
	msg_put_u32(&m, 0xdeadbeef);
	msg_put_u64(&m, UINT64_C(0x0123456789abcdef));
	msg_put_i64(&m, -5);
	msg_put_str(&m, "hello");
	assert_memory_equal(
	    m.body, "\xab\x34\x12\xef\xbe\xad\xde\xef\xcd\xab\x89\x67\x45\x23\x01", 15);
	assert_int_equal(msg_get_u8(&m), 0xab);
	assert_int_equal(msg_get_u16(&m), 0x1234);
	assert_int_equal(msg_get_u32(&m), 0xdeadbeef);
	assert_true(msg_get_u64(&m) == UINT64_C(0x0123456789abcdef));
	assert_true(msg_get_i64(&m) == -5);
	assert_int_equal(msg_end(&m), -1); /* the string is left */
	msg_get_str(&m, text, sizeof(text));
	assert_string_equal(text, "hello");
	assert_int_equal(msg_end(&m), 0);
	msg_get_bytes(&m, b, 3);
	assert_int_equal(msg_end(&m), -1);
}

static void
hostile_strings_are_bad(void **state)
{
	struct msg m;
	char text[8];

	(void)state;
	msg_begin(&m, MSG_CTL_PAUSE);
	msg_put_u16(&m, 3);
	msg_put_bytes(&m, "a\nb", 3);
	msg_get_str(&m, text, sizeof(text));
	assert_int_equal(msg_end(&m), -1);

	msg_begin(&m, MSG_CTL_PAUSE);
	msg_put_u16(&m, 0xffff);
	msg_put_bytes(&m, "abc", 3);
	msg_get_str(&m, text, sizeof(text));
	assert_int_equal(msg_end(&m), -1);

	msg_begin(&m, MSG_CTL_PAUSE);
	msg_put_u16(&m, 8);
	msg_put_bytes(&m, "abcdefgh", 8); /* does not fit with its NUL */
	msg_get_str(&m, text, sizeof(text));
	assert_int_equal(msg_end(&m), -1);

	msg_begin(&m, MSG_CTL_PAUSE);
	msg_put_u16(&m, 3);
	msg_put_bytes(&m, "a\0b", 3);
	msg_get_str(&m, text, sizeof(text));
	assert_int_equal(msg_end(&m), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rows_are_sane),
	    cmocka_unit_test(each_check_refuses),
	    cmocka_unit_test(whole_table_refuses),
	    cmocka_unit_test(once_and_permit),
	    cmocka_unit_test(beat_needs_its_answer),
	    cmocka_unit_test(beat_is_patient_with_a_start),
	    cmocka_unit_test(beat_knows_its_own_pauses),
	    cmocka_unit_test(beat_bears_late_answers),
	    cmocka_unit_test(beat_answers_are_not_guessed),
	    cmocka_unit_test(beat_is_answered),
	    cmocka_unit_test(oversized_and_short_packets),
	    cmocka_unit_test(secret_bodies_are_not_kept),
	    cmocka_unit_test(malformed_body_is_a_violation),
	    cmocka_unit_test(last_words_are_heard),
	    cmocka_unit_test(empty_packets_are_no_end_of_file),
	    cmocka_unit_test(empty_packet_without_stamps),
	    cmocka_unit_test(end_of_file_is_no_violation),
	    cmocka_unit_test(one_wake_up_has_a_budget),
	    cmocka_unit_test(full_socket_queues_in_order_then_gives_up),
	    cmocka_unit_test(descriptor_arrives_and_is_ours),
	    cmocka_unit_test(descriptor_without_room_is_no_violation),
	    cmocka_unit_test(no_memory_for_the_queue),
	    cmocka_unit_test(starved_channel_is_not_polled),
	    cmocka_unit_test(fields_round_trip_and_stop_at_the_end),
	    cmocka_unit_test(hostile_strings_are_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
