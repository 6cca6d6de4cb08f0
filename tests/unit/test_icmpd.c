/* SPDX-License-Identifier: ISC */
/*
 * icmpd in its real sandbox, with the test as supervisor and as roled. Hosts that live are
 * 127.0.0.1 and ::1; hosts that answer late, wrongly or not at all are played by the test on a
 * socketpair, which to icmpd is a connected socket like any other.
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
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake.h"
#include "lib/clock.h"
#include "lib/icmp.h"
#include "policy/sandbox.h"

static struct fake icmpd;
static struct conf conf;

struct report {
	uint8_t kind, index, path;
	enum probe_state state;
	unsigned loss, rtt_us;
	int64_t answer_ms, sent_ms;
};

/* ---- messages */

static void
give_target(uint8_t slot, uint8_t kind, uint8_t index, uint8_t family, int fd)
{
	struct msg m;

	msg_begin(&m, MSG_TARGET);
	msg_put_u8(&m, slot);
	msg_put_u8(&m, kind);
	msg_put_u8(&m, index);
	msg_put_u8(&m, 0);
	msg_put_u8(&m, family);
	msg_put_fd(&m, fd);
	fake_send(&icmpd, &icmpd.control, &m);
	close(fd);
}

/* The next report: how many targets, and the n-th of them. */
static unsigned
next_report(unsigned n, struct report *r)
{
	struct msg *m = fake_expect(&icmpd, MSG_ICMP_REPORT, SOON_MS);
	unsigned count;

	assert_non_null(m);
	count = (unsigned)(m->len / 27);
	assert_true(n < count);
	m->pos = n * 27;
	r->kind = msg_get_u8(m);
	r->index = msg_get_u8(m);
	r->path = msg_get_u8(m);
	r->state = (enum probe_state)msg_get_u8(m);
	r->loss = msg_get_u16(m);
	assert_int_equal(msg_get_u8(m), 0);
	r->rtt_us = msg_get_u32(m);
	r->answer_ms = (int64_t)msg_get_u64(m);
	r->sent_ms = (int64_t)msg_get_u64(m);
	fake_free(m);
	return count;
}

/* Reports until the n-th target is in that state; ends the test when that takes too long. */
static struct report
until_state(unsigned n, enum probe_state state)
{
	int64_t end = now_ms() + SOON_MS;
	struct report r;

	do {
		next_report(n, &r);
		if (r.state == state)
			return r;
	} while (now_ms() < end);
	fail_msg("the target stays in state %d", r.state);
	return r;
}

/* ---- sockets */

static int
raw4(const char *text)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP);

	assert_int_equal(inet_pton(AF_INET, text, &in.sin_addr), 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

static int
raw6(const char *text)
{
	struct sockaddr_in6 in = {.sin6_family = AF_INET6};
	int fd = socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMPV6);

	assert_int_equal(inet_pton(AF_INET6, text, &in.sin6_addr), 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof(in)) != 0)
		return -1; /* no IPv6 here */
	return fd;
}

/* A host played by the test (IPv6, so that no IP header is needed); returns its end. */
static int
played_host(uint8_t slot, uint8_t index)
{
	int ends[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	give_target(slot, TARGET_PARTNER, index, 6, ends[1]);
	return ends[0];
}

/* Next request, 0 when none comes within ms. */
static size_t
next_request(int fd, uint8_t packet[ICMP_ECHO_SIZE], int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, ms) != 1)
		return 0;
	n = recv(fd, packet, ICMP_ECHO_SIZE, MSG_DONTWAIT);
	assert_int_equal(n, ICMP_ECHO_SIZE);
	assert_int_equal(packet[0], 128);
	return (size_t)n;
}

static void
answer(int fd, uint8_t packet[ICMP_ECHO_SIZE])
{
	packet[0] = 129;
	assert_int_equal(send(fd, packet, ICMP_ECHO_SIZE, 0), ICMP_ECHO_SIZE);
}

/* ---- tests */

static int
setup(void **state)
{
	(void)state;
	fake_start(&icmpd, PROC_ICMPD, 0);
	fake_conf(&conf, 3, 5481);
	conf.general.icmp_interval_ms = 20;
	conf.general.icmp_misses = 3;
	fake_configure(&icmpd, &conf);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_stop(&icmpd);
	return 0;
}

static void
test_loopback(void **state)
{
	struct report r;
	int v6 = raw6("::1"), have_v6 = v6 >= 0;
	int64_t begin = now_ms();

	(void)state;
	give_target(0, TARGET_PARTNER, 1, 4, raw4("127.0.0.1"));
	if (have_v6)
		give_target(1, TARGET_REFERENCE, 2, 6, v6);
	r = until_state(0, PROBE_OK);
	assert_int_equal(r.kind, TARGET_PARTNER);
	assert_int_equal(r.index, 1);
	if (have_v6) {
		r = until_state(1, PROBE_OK);
		assert_int_equal(r.kind, TARGET_REFERENCE);
		assert_int_equal(r.index, 2);
	}
	for (int i = 0; i < 40; i++)
		next_report(0, &r);
	assert_int_equal(r.state, PROBE_OK);
	assert_int_equal(r.loss, 0);
	assert_in_range(r.rtt_us, 1, (now_ms() - begin + 1) * 1000);
	assert_in_range(r.answer_ms, begin, now_ms());
	/* that one or a later */
	assert_in_range(r.sent_ms, r.answer_ms - r.rtt_us / 1000 - 1, now_ms());
}

/* Answers are reported when they come, not an interval later. */
static void
test_first_answer_at_once(void **state)
{
	uint8_t packet[ICMP_ECHO_SIZE];
	struct report r;
	int64_t begin;
	int fd;

	(void)state;
	conf.general.icmp_interval_ms = 1000;
	fake_configure(&icmpd, &conf);
	fd = played_host(0, 1);
	assert_true(next_request(fd, packet, SOON_MS) > 0);
	answer(fd, packet);
	next_report(0, &r);
	assert_int_equal(r.state, PROBE_OK);
	for (int i = 0; i < 2; i++) {
		assert_true(next_request(fd, packet, SOON_MS) > 0);
		begin = now_ms();
		answer(fd, packet);
		do {
			next_report(0, &r);
		} while (r.answer_ms < begin);
		/* it was told before the next request, and that one was still the last */
		assert_true(r.sent_ms <= r.answer_ms);
	}
	close(fd);
}

static void
test_lost_and_back(void **state)
{
	uint8_t packet[ICMP_ECHO_SIZE];
	int fd = played_host(0, 1);
	struct report r;
	int64_t begin = 0;

	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_true(next_request(fd, packet, SOON_MS) > 0);
		begin = now_ms();
		answer(fd, packet);
	}
	do {
		r = until_state(0, PROBE_OK);
	} while (r.answer_ms < begin);
	r = until_state(0, PROBE_LOST);
	assert_in_range(r.answer_ms, begin, now_ms() - 40); /* three intervals of 20 ms */
	assert_true(r.loss > 0);
	while (next_request(fd, packet, 0) > 0)
		;
	assert_true(next_request(fd, packet, SOON_MS) > 0);
	answer(fd, packet);
	until_state(0, PROBE_OK);
	close(fd);
}

static void
test_never_answered(void **state)
{
	int fd = played_host(0, 1);
	struct report r = until_state(0, PROBE_LOST);

	(void)state;
	assert_int_equal(r.answer_ms, 0);
	for (int i = 0; i < 40; i++)
		next_report(0, &r);
	assert_int_equal(r.loss, 1000);
	close(fd);
}

/* Every second request unanswered: never lost, half of them counted. */
static void
test_half_the_answers(void **state)
{
	uint8_t packet[ICMP_ECHO_SIZE];
	int fd = played_host(0, 1);
	struct report r = {0};

	(void)state;
	conf.general.icmp_misses = 30; /* and not by a machine that stands still for 60 ms */
	fake_configure(&icmpd, &conf);
	for (int i = 0; i < 80 || r.loss < 400 || r.loss > 600; i++) {
		assert_in_range(i, 0, 1000);
		assert_true(next_request(fd, packet, SOON_MS) > 0);
		if (i % 2 == 0)
			answer(fd, packet);
		next_report(0, &r);
		if (i > 4)
			assert_int_equal(r.state, PROBE_OK);
	}
	close(fd);
}

/* A round trip of several intervals is late, not lost. */
static void
test_late_answers(void **state)
{
	uint8_t late[8][ICMP_ECHO_SIZE];
	int fd = played_host(0, 1);
	struct report r = {0};

	(void)state;
	conf.general.icmp_misses = 100;
	fake_configure(&icmpd, &conf);
	/* in the end all that could have been answered is, but for when this test itself is late */
	for (int i = 0; i < 60 || r.state != PROBE_OK || r.loss != 0 || r.rtt_us < 100000; i++) {
		assert_in_range(i, 0, 1000);
		if (i >= 8) /* 160 ms old */
			answer(fd, late[i % 8]);
		assert_true(next_request(fd, late[i % 8], SOON_MS) > 0);
		next_report(0, &r);
	}
	close(fd);
}

/* None of these is an answer: each is a correct one with a single thing wrong. */
static void
test_forged_answers(void **state)
{
	uint8_t packet[ICMP_ECHO_SIZE], old[ICMP_ECHO_SIZE];
	int fd = played_host(0, 1);
	struct report r;

	(void)state;
	assert_true(next_request(fd, old, SOON_MS) > 0);
	for (int i = 0; i < 30; i++) {
		uint8_t wrong[ICMP_ECHO_SIZE];

		assert_true(next_request(fd, packet, SOON_MS) > 0);
		memcpy(wrong, packet, sizeof(wrong));
		switch (i % 5) {
		case 0:
			wrong[16] ^= 1; /* cookie */
			break;
		case 1:
			wrong[5] ^= 1; /* identifier: another target's */
			break;
		case 2:
			wrong[7]++; /* sequence: not sent yet */
			break;
		case 3:
			memcpy(wrong + 16, old + 16, 8); /* cookie of another request */
			break;
		case 4:
			assert_int_equal(send(fd, packet, ICMP_ECHO_SIZE, 0), ICMP_ECHO_SIZE);
			continue; /* our own request, as loopback gives it back */
		}
		answer(fd, wrong);
		wrong[0] = 129;
		assert_int_equal(send(fd, wrong, ICMP_ECHO_SIZE - 1, 0), ICMP_ECHO_SIZE - 1);
		assert_int_equal(send(fd, "", 0, 0), 0);
	}
	r = until_state(0, PROBE_LOST);
	assert_int_equal(r.answer_ms, 0);
	close(fd);
}

/* An answer that comes twice counts once; one that is 64 requests old does not count. */
static void
test_replayed_answer(void **state)
{
	uint8_t first[ICMP_ECHO_SIZE], packet[ICMP_ECHO_SIZE];
	int fd = played_host(0, 1);
	struct report r;
	int64_t answered;

	(void)state;
	assert_true(next_request(fd, first, SOON_MS) > 0);
	answer(fd, first);
	r = until_state(0, PROBE_OK);
	answered = r.answer_ms;
	for (int i = 0; i < 70; i++) {
		assert_true(next_request(fd, packet, SOON_MS) > 0);
		answer(fd, first);
	}
	r = until_state(0, PROBE_LOST);
	assert_int_equal(r.answer_ms, answered);
	close(fd);
}

static void
test_target_replaced_and_closed(void **state)
{
	uint8_t packet[ICMP_ECHO_SIZE];
	int fd = played_host(0, 1), other;
	struct report r;
	struct msg m;

	(void)state;
	assert_true(next_request(fd, packet, SOON_MS) > 0);
	answer(fd, packet);
	until_state(0, PROBE_OK);
	other = played_host(0, 2);
	give_target(1, TARGET_REFERENCE, 0, 4, raw4("127.0.0.1"));
	do {
		assert_int_not_equal(next_report(0, &r), 0);
	} while (r.index != 2);
	assert_int_not_equal(r.state, PROBE_OK); /* nothing of the old one is left */
	until_state(1, PROBE_OK);
	msg_begin(&m, MSG_TARGET_CLOSE);
	msg_put_u8(&m, 0);
	fake_send(&icmpd, &icmpd.control, &m);
	fake_send(&icmpd, &icmpd.control, &m); /* twice does no harm */
	while (next_report(0, &r) == 2)
		;
	assert_int_equal(r.kind, TARGET_REFERENCE);
	close(fd);
	close(other);
}

/* Sending fails or ICMP complains: lost, and neither a loop nor an end. */
static void
test_unreachable(void **state)
{
	uint8_t packet[ICMP_ECHO_SIZE];
	int fd = played_host(0, 1), played;
	struct report r;

	(void)state;
	assert_true(next_request(fd, packet, SOON_MS) > 0);
	close(fd); /* ECONNREFUSED from now on */
	played = played_host(1, 2);
	until_state(0, PROBE_LOST);
	for (int i = 0; i < 10; i++) {
		assert_true(next_request(played, packet, SOON_MS) > 0);
		answer(played, packet);
		next_report(1, &r);
	}
	until_state(1, PROBE_OK);
	close(played);
}

/* A complaint that comes back is an error on the socket, and the host may live again after it. */
static void
test_complaints(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, from;
	socklen_t len = sizeof(in);
	uint8_t packet[ICMP_ECHO_SIZE];
	int host = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), fd;
	struct timeval limit = {.tv_sec = SOON_MS / 1000};
	struct report r = {0};

	(void)state;
	assert_int_equal(bind(host, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(host, (struct sockaddr *)&in, &len), 0);
	close(host); /* UDP, because a port that nobody has makes the kernel complain */
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	give_target(0, TARGET_PARTNER, 1, 6, fd);
	until_state(0, PROBE_LOST);
	host = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(host, (struct sockaddr *)&in, sizeof(in)), 0);
	setsockopt(host, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	/* answers are read when they come, not only at the interval of 20 ms */
	for (int i = 0; i < 10 || r.rtt_us > 15000; i++) {
		assert_in_range(i, 0, 1000);
		len = sizeof(from);
		assert_int_equal(
		    recvfrom(host, packet, sizeof(packet), 0, (struct sockaddr *)&from, &len),
		    ICMP_ECHO_SIZE);
		packet[0] = 129;
		sendto(host, packet, sizeof(packet), 0, (struct sockaddr *)&from, len);
		r = until_state(0, PROBE_OK);
	}
	close(host);
}

/* A new roled is told all at once; a new interval does not forget. */
static void
test_roled_restarts(void **state)
{
	struct report r;

	(void)state;
	give_target(0, TARGET_PARTNER, 1, 4, raw4("127.0.0.1"));
	until_state(0, PROBE_OK);
	conf.general.icmp_interval_ms = 1000;
	fake_configure(&icmpd, &conf);
	fake_new_roled(&icmpd);
	next_report(0, &r);
	assert_int_equal(r.state, PROBE_OK);
}

static void
test_wrong_target(void **state)
{
	struct msg m;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	msg_begin(&m, MSG_TARGET);
	msg_put_u8(&m, 200);
	msg_put_u8(&m, TARGET_PARTNER);
	msg_put_u8(&m, 0);
	msg_put_u8(&m, 0);
	msg_put_u8(&m, 4);
	msg_put_fd(&m, fd);
	fake_send(&icmpd, &icmpd.control, &m);
	close(fd);
	assert_int_equal(fake_wait_end(&icmpd, SOON_MS), EXIT_PROTOCOL << 8);
}

static void
test_supervisor_gone(void **state)
{
	(void)state;
	channel_close(&icmpd.control);
	assert_int_equal(fake_wait_end(&icmpd, SOON_MS), EXIT_CHANNEL << 8);
}

static void
test_stop(void **state)
{
	struct msg m;

	(void)state;
	msg_begin(&m, MSG_STOP);
	msg_put_u32(&m, 1000);
	fake_send(&icmpd, &icmpd.control, &m);
	assert_int_equal(fake_wait_end(&icmpd, SOON_MS), EXIT_OK << 8);
}

#define ICMPD_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    ICMPD_TEST(test_loopback),
	    ICMPD_TEST(test_first_answer_at_once),
	    ICMPD_TEST(test_lost_and_back),
	    ICMPD_TEST(test_never_answered),
	    ICMPD_TEST(test_half_the_answers),
	    ICMPD_TEST(test_late_answers),
	    ICMPD_TEST(test_forged_answers),
	    ICMPD_TEST(test_replayed_answer),
	    ICMPD_TEST(test_target_replaced_and_closed),
	    ICMPD_TEST(test_unreachable),
	    ICMPD_TEST(test_complaints),
	    ICMPD_TEST(test_roled_restarts),
	    ICMPD_TEST(test_wrong_target),
	    ICMPD_TEST(test_supervisor_gone),
	    ICMPD_TEST(test_stop),
	};

	if (!fake_can_run())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
