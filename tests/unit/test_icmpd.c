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
	struct msg *m = fake_expect(&icmpd, MSG_ICMP_REPORT, 1000);
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

/* Reports until the n-th target is in that state; ends the test after ms. */
static struct report
until_state(unsigned n, enum probe_state state, int ms)
{
	int64_t end = now_ms() + ms;
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
	r = until_state(0, PROBE_OK, 1000);
	assert_int_equal(r.kind, TARGET_PARTNER);
	assert_int_equal(r.index, 1);
	if (have_v6) {
		r = until_state(1, PROBE_OK, 1000);
		assert_int_equal(r.kind, TARGET_REFERENCE);
		assert_int_equal(r.index, 2);
	}
	for (int i = 0; i < 40; i++)
		next_report(0, &r);
	assert_int_equal(r.state, PROBE_OK);
	assert_int_equal(r.loss, 0);
	assert_in_range(r.rtt_us, 1, 50000);
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
	conf.general.icmp_interval_ms = 500;
	fake_configure(&icmpd, &conf);
	begin = now_ms();
	fd = played_host(0, 1);
	assert_true(next_request(fd, packet, 200) > 0);
	answer(fd, packet);
	next_report(0, &r);
	assert_int_equal(r.state, PROBE_OK);
	assert_in_range(now_ms() - begin, 0, 200);
	for (int i = 0; i < 2; i++) {
		assert_true(next_request(fd, packet, 1000) > 0);
		begin = now_ms();
		answer(fd, packet);
		do {
			next_report(0, &r);
		} while (r.answer_ms < begin);
		assert_in_range(now_ms() - begin, 0, 200);
	}
	close(fd);
}

static void
test_lost_and_back(void **state)
{
	uint8_t packet[ICMP_ECHO_SIZE];
	int fd = played_host(0, 1);
	struct report r;
	int64_t last;

	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_true(next_request(fd, packet, 200) > 0);
		answer(fd, packet);
	}
	r = until_state(0, PROBE_OK, 500);
	last = now_ms();
	r = until_state(0, PROBE_LOST, 500);
	assert_in_range(now_ms() - last, 40, 200); /* three intervals of 20 ms */
	assert_true(r.loss > 0);
	assert_in_range(r.answer_ms, last - 100, last + 10);
	while (next_request(fd, packet, 0) > 0)
		;
	assert_true(next_request(fd, packet, 200) > 0);
	answer(fd, packet);
	until_state(0, PROBE_OK, 100);
	close(fd);
}

static void
test_never_answered(void **state)
{
	int fd = played_host(0, 1);
	struct report r = until_state(0, PROBE_LOST, 500);

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
	for (int i = 0; i < 80; i++) {
		assert_true(next_request(fd, packet, 200) > 0);
		if (i % 2 == 0)
			answer(fd, packet);
		next_report(0, &r);
		if (i > 4)
			assert_int_equal(r.state, PROBE_OK);
	}
	assert_in_range(r.loss, 400, 600);
	close(fd);
}

/* A round trip of several intervals is late, not lost. */
static void
test_late_answers(void **state)
{
	uint8_t late[8][ICMP_ECHO_SIZE];
	int fd = played_host(0, 1);
	struct report r = {0};
	struct msg *m;

	(void)state;
	for (int i = 0; i < 60; i++) {
		if (i >= 8) /* 160 ms old */
			answer(fd, late[i % 8]);
		assert_true(next_request(fd, late[i % 8], 200) > 0);
	}
	r = until_state(0, PROBE_OK, 500);
	while ((m = fake_expect(&icmpd, MSG_ICMP_REPORT, 0)) != NULL)
		fake_free(m);
	next_report(0, &r);
	assert_int_equal(r.state, PROBE_OK);
	assert_int_equal(r.loss, 0);
	assert_in_range(r.rtt_us, 100000, 400000);
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
	assert_true(next_request(fd, old, 200) > 0);
	for (int i = 0; i < 30; i++) {
		uint8_t wrong[ICMP_ECHO_SIZE];

		assert_true(next_request(fd, packet, 200) > 0);
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
	r = until_state(0, PROBE_LOST, 500);
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
	assert_true(next_request(fd, first, 200) > 0);
	answer(fd, first);
	r = until_state(0, PROBE_OK, 500);
	answered = r.answer_ms;
	for (int i = 0; i < 70; i++) {
		assert_true(next_request(fd, packet, 200) > 0);
		answer(fd, first);
	}
	r = until_state(0, PROBE_LOST, 2000);
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
	assert_true(next_request(fd, packet, 200) > 0);
	answer(fd, packet);
	until_state(0, PROBE_OK, 500);
	other = played_host(0, 2);
	give_target(1, TARGET_REFERENCE, 0, 4, raw4("127.0.0.1"));
	do {
		assert_int_not_equal(next_report(0, &r), 0);
	} while (r.index != 2);
	assert_int_not_equal(r.state, PROBE_OK); /* nothing of the old one is left */
	until_state(1, PROBE_OK, 500);
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
	assert_true(next_request(fd, packet, 200) > 0);
	close(fd); /* ECONNREFUSED from now on */
	played = played_host(1, 2);
	until_state(0, PROBE_LOST, 500);
	for (int i = 0; i < 10; i++) {
		assert_true(next_request(played, packet, 200) > 0);
		answer(played, packet);
		next_report(1, &r);
	}
	until_state(1, PROBE_OK, 200);
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
	struct timeval limit = {.tv_sec = 1};

	(void)state;
	assert_int_equal(bind(host, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(host, (struct sockaddr *)&in, &len), 0);
	close(host); /* UDP, because a port that nobody has makes the kernel complain */
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	give_target(0, TARGET_PARTNER, 1, 6, fd);
	until_state(0, PROBE_LOST, 500);
	host = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(host, (struct sockaddr *)&in, sizeof(in)), 0);
	setsockopt(host, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	for (int i = 0; i < 10; i++) {
		len = sizeof(from);
		assert_int_equal(
		    recvfrom(host, packet, sizeof(packet), 0, (struct sockaddr *)&from, &len),
		    ICMP_ECHO_SIZE);
		packet[0] = 129;
		sendto(host, packet, sizeof(packet), 0, (struct sockaddr *)&from, len);
	}
	until_state(0, PROBE_OK, 200);
	/* read when it came, not only at the interval */
	assert_in_range(until_state(0, PROBE_OK, 200).rtt_us, 1, 15000);
	close(host);
}

/* A new roled is told all at once; a new interval does not forget. */
static void
test_roled_restarts(void **state)
{
	struct report r;

	(void)state;
	give_target(0, TARGET_PARTNER, 1, 4, raw4("127.0.0.1"));
	until_state(0, PROBE_OK, 500);
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
	assert_int_equal(fake_wait_end(&icmpd, 1000), EXIT_PROTOCOL << 8);
}

static void
test_supervisor_gone(void **state)
{
	(void)state;
	channel_close(&icmpd.control);
	assert_int_equal(fake_wait_end(&icmpd, 1000), EXIT_CHANNEL << 8);
}

static void
test_stop(void **state)
{
	struct msg m;

	(void)state;
	msg_begin(&m, MSG_STOP);
	msg_put_u32(&m, 1000);
	fake_send(&icmpd, &icmpd.control, &m);
	assert_int_equal(fake_wait_end(&icmpd, 1000), EXIT_OK << 8);
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
