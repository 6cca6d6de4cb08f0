/* SPDX-License-Identifier: ISC */
/*
 * What the supervisor does with messages that are well-formed and still not right, on the stage of
 * its fuzz target: real tables and handlers, processes that are only numbers. And what it makes of
 * log lines.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/fuzz/fuzz_supervisor.c"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { NETD, ICMPD, ROLED, KEYD, SYNCD };

/* Send as the process of that channel would, and let the supervisor act. */
static void
say(int which, const struct msg *m)
{
	static uint8_t packet[MSG_SIZE_MAX];

	assert_false(m->bad);
	packet[0] = (uint8_t)m->type;
	packet[1] = packet[2] = packet[3] = 0;
	memcpy(packet + MSG_HEADER, m->body, m->len);
	assert_int_equal(send(list[which].end, packet, MSG_HEADER + m->len, MSG_NOSIGNAL),
	    (ssize_t)(MSG_HEADER + m->len));
	last_type = m->type;
	turn((size_t)which);
}

static void
say_u64(int which, enum message_type type, uint64_t value)
{
	static struct msg m;

	msg_begin(&m, type);
	msg_put_u64(&m, value);
	say(which, &m);
}

/* All children are up with the good config. */
static void
all_up(void)
{
	static struct msg m;

	start();
	for (int i = 0; i < N_CHILDREN; i++) {
		msg_begin(&m, MSG_READY);
		msg_put_u8(&m, 31);
		say(i, &m);
		say_u64(i, MSG_PREPARED, reload_serial());
		assert_int_equal(proc_of(children[i])->step, STEP_UP);
	}
	table_drain(list, CHANNELS);
}

static void
test_one_answer_per_question(void **state)
{
	static struct msg m;
	pid_t pid;

	(void)state;
	all_up();
	pid = proc_of(PROC_NETD)->pid;
	msg_begin(&m, MSG_REFUSED); /* PREPARED was the answer */
	msg_put_u64(&m, reload_serial());
	msg_put_u16(&m, REFUSE_CONFIG);
	msg_put_u8(&m, 0);
	say(NETD, &m);
	assert_int_not_equal(proc_of(PROC_NETD)->pid, pid);
}

static void
accuse(int who, enum process whom)
{
	static struct msg m;

	msg_begin(&m, MSG_PEER_BROKEN);
	msg_put_u8(&m, (uint8_t)whom);
	msg_put_u8(&m, V_LENGTH);
	say(who, &m);
}

static void
test_accusations(void **state)
{
	pid_t netd, keyd, roled;

	(void)state;
	all_up();
	netd = proc_of(PROC_NETD)->pid;
	keyd = proc_of(PROC_KEYD)->pid;
	accuse(NETD, PROC_KEYD); /* they have no channel */
	assert_int_equal(proc_of(PROC_KEYD)->pid, keyd);
	assert_int_not_equal(proc_of(PROC_NETD)->pid, netd);

	/* a face has nobody behind it killed: the first time both live on, then it goes itself */
	for (int i = 0; i < 3; i++) {
		all_up();
		roled = proc_of(PROC_ROLED)->pid;
		netd = proc_of(PROC_NETD)->pid;
		accuse(NETD, PROC_ROLED);
		assert_int_equal(proc_of(PROC_ROLED)->pid, roled);
		assert_int_equal(proc_of(PROC_NETD)->pid, netd);
		accuse(NETD, PROC_ROLED);
		assert_int_equal(proc_of(PROC_ROLED)->pid, roled);
		assert_int_not_equal(proc_of(PROC_NETD)->pid, netd);
	}

	/* roled is believed the second time */
	all_up();
	netd = proc_of(PROC_NETD)->pid;
	roled = proc_of(PROC_ROLED)->pid;
	accuse(ROLED, PROC_NETD);
	assert_int_equal(proc_of(PROC_NETD)->pid, netd);
	accuse(ROLED, PROC_NETD);
	assert_int_not_equal(proc_of(PROC_NETD)->pid, netd);
	assert_int_equal(proc_of(PROC_ROLED)->pid, roled);
}

/* syncd, which programs of this server talk to, must not be able to cost it its role. */
static void
test_accusations_of_syncd(void **state)
{
	static const enum process others[] = {PROC_NETD, PROC_ROLED, PROC_KEYD};
	static const int who[] = {NETD, ROLED, KEYD};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		const struct proc *other, *syncd;
		pid_t pid, its;

		/* the others are believed the second time */
		all_up();
		other = proc_of(others[i]);
		syncd = proc_of(PROC_SYNCD);
		pid = other->pid;
		its = syncd->pid;
		accuse(who[i], PROC_SYNCD);
		assert_int_equal(syncd->pid, its);
		accuse(who[i], PROC_SYNCD);
		assert_int_not_equal(syncd->pid, its);
		assert_int_equal(other->pid, pid);
		/* and it never is */
		all_up();
		pid = other->pid;
		its = syncd->pid;
		accuse(SYNCD, others[i]);
		assert_int_equal(syncd->pid, its);
		accuse(SYNCD, others[i]);
		assert_int_not_equal(syncd->pid, its);
		assert_int_equal(other->pid, pid);
	}
}

/* A reload is asked for, and the parser says that configuration. */
static void
reload_to(const struct conf *c)
{
	static uint8_t packets[8192];
	static struct msg m;
	uint8_t digest[16];
	size_t n;

	msg_begin(&m, MSG_ACTION);
	msg_put_u8(&m, ACTION_RELOAD);
	memset(m.body + 1, 0, 23);
	m.len = 24;
	say(ROLED, &m);
	assert_true(list[PARSER].end >= 0);
	n = table_append_conf(packets, sizeof(packets), 0, PARSER, c, PROC_SUPERVISOR);
	conf_digest(c, digest);
	msg_begin(&m, MSG_CONF_DONE);
	msg_put_bytes(&m, digest, sizeof(digest));
	n = table_append(packets, sizeof(packets), n, PARSER, &m);
	table_play(packets, n, list, CHANNELS, turn);
}

/* A parser that was taken over sends what no rule allows, with the digest that belongs to it. */
static void
test_parser_is_not_believed(void **state)
{
	static struct conf c;

	(void)state;
	for (int good_one = 1; good_one >= 0; good_one--) {
		all_up();
		table_conf(&c);
		c.general.hold_ms++;
		if (!good_one)
			strcpy(c.server[1].name, "a"); /* as server 0 */
		reload_to(&c);
		assert_int_equal(reload_preparing(), good_one);
	}
}

static void
refuse_prepare(int which, uint64_t serial)
{
	static struct msg m;

	msg_begin(&m, MSG_REFUSED);
	msg_put_u64(&m, serial);
	msg_put_u16(&m, REFUSE_RESOURCE);
	msg_put_u8(&m, 0);
	say(which, &m);
}

/*
 * A reload that was given up has the serial of the one after it: an answer to the first that comes
 * late must not stand for the second, which this child refuses.
 */
static void
test_late_answer_is_not_for_the_next(void **state)
{
	static struct conf c;
	uint64_t serial;

	(void)state;
	all_up();
	serial = reload_serial() + 1;
	table_conf(&c);
	c.general.hold_ms++;
	reload_to(&c);
	assert_true(reload_preparing());
	refuse_prepare(NETD, serial);
	assert_false(reload_preparing());

	c.general.hold_ms++;
	reload_to(&c);
	assert_true(reload_preparing());
	say_u64(NETD, MSG_PREPARED, serial);
	for (int i = ICMPD; i <= KEYD; i++)
		say_u64(i, MSG_PREPARED, serial); /* to the first */
	say_u64(ROLED, MSG_PREPARED, serial);
	say_u64(KEYD, MSG_PREPARED, serial);
	assert_true(reload_preparing());
	refuse_prepare(ICMPD, serial);
	assert_false(reload_preparing());
	assert_int_equal(reload_serial() + 1, serial);
	assert_int_equal(sup.conf.general.hold_ms, good.general.hold_ms);
	for (int i = NETD; i <= KEYD; i++)
		assert_int_equal(proc_of(children[i])->step, STEP_UP);
}

/* The next packet of that type for a process, with the number of its descriptors. Length, or -1. */
static ssize_t
heard(int which, enum message_type type, uint8_t *packet, size_t size, int *has_fd)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[128];
	} control;
	struct iovec iov = {packet, size};

	for (;;) {
		struct msghdr mh = {.msg_iov = &iov,
		    .msg_iovlen = 1,
		    .msg_control = &control,
		    .msg_controllen = sizeof(control.bytes)};
		ssize_t n = recvmsg(list[which].end, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n <= 0)
			return -1;
		*has_fd = 0;
		for (struct cmsghdr *cm = CMSG_FIRSTHDR(&mh); cm != NULL; cm = CMSG_NXTHDR(&mh, cm))
			*has_fd |= cm->cmsg_type == SCM_RIGHTS;
		if (n >= MSG_HEADER && (packet[0] | packet[1] << 8) == (int)type)
			return n;
	}
}

/*
 * What a child says before it ends counts, also when it leaves something unread behind: roled gets
 * another channel to the one that has complained.
 */
static void
test_last_words_count(void **state)
{
	const uint8_t accusation[] = {MSG_PEER_BROKEN, 0, 0, 0, PROC_ROLED, V_LENGTH};
	uint8_t packet[MSG_SIZE_MAX];
	static struct msg m;
	int has_fd;

	(void)state;
	all_up();
	while (heard(ROLED, MSG_PEER, packet, sizeof(packet), &has_fd) > 0)
		continue; /* of the start */
	msg_begin(&m, MSG_DUMP);
	proc_send(proc_of(PROC_KEYD), &m);
	assert_int_equal(send(list[KEYD].end, accusation, sizeof(accusation), MSG_NOSIGNAL),
	    (ssize_t)sizeof(accusation));
	forget_end(&list[KEYD]);
	run_loop();
	assert_int_equal(heard(ROLED, MSG_PEER, packet, sizeof(packet), &has_fd), MSG_HEADER + 2);
	assert_int_equal(packet[MSG_HEADER], PROC_KEYD);
	assert_true(has_fd);
}

/* netd asks for a connection, and must be told that there is none. */
static void
dial_in_vain(uint8_t server, uint8_t path, uint8_t kind)
{
	uint8_t packet[MSG_SIZE_MAX];
	static struct msg m;
	int has_fd = 0;

	msg_begin(&m, MSG_DIAL);
	msg_put_u32(&m, 0x04030201);
	msg_put_u8(&m, server);
	msg_put_u8(&m, path);
	msg_put_u8(&m, kind);
	say(NETD, &m);
	assert_int_equal(
	    heard(NETD, MSG_DIAL_FAILED, packet, sizeof(packet), &has_fd), MSG_HEADER + 5);
	assert_memory_equal(packet + MSG_HEADER, "\1\2\3\4", 4);
	assert_int_equal(packet[MSG_HEADER + 4], CLOSE_ERROR);
	assert_false(has_fd);
	assert_int_equal(heard(NETD, MSG_DIALED, packet, sizeof(packet), &has_fd), -1);
}

/*
 * Numbers that there can be, but that the configuration does not use: no socket, and nobody is
 * killed.
 */
static void
test_unused_numbers_dial_nothing(void **state)
{
	const struct conf_general *g = &good.general;
	pid_t pid;

	(void)state;
	all_up();
	/* addresses that are left over there must not matter */
	for (int server = 0; server < CONF_SERVERS; server++) {
		if (server >= g->n_servers)
			sup.conf.server[server] = good.server[1];
		for (int path = 1; path < CONF_PATHS; path++)
			sup.conf.server[server].path[path] = good.server[1].path[0];
	}
	pid = proc_of(PROC_NETD)->pid;
	for (uint8_t server = 0; server < CONF_SERVERS; server++) {
		for (uint8_t path = 0; path < CONF_PATHS; path++) {
			if (server < g->n_servers && server != g->self &&
			    path < good.server[server].n_paths)
				continue;
			dial_in_vain(server, path, LINK_STATUS);
			dial_in_vain(server, path, LINK_SYNC);
			dial_in_vain(server, path, LINK_REQUEST);
		}
	}
	assert_int_equal(proc_of(PROC_NETD)->pid, pid);
	sup.conf = good;
}

/*
 * The result of a check that is not configured any more goes nowhere; one that cannot be ends the
 * runner.
 */
static void
test_unused_checks_are_not_told(void **state)
{
	uint8_t packet[MSG_SIZE_MAX];
	static struct msg m;
	int has_fd;

	(void)state;
	all_up();
	assert_int_not_equal(good.general.n_checks, CONF_CHECKS);
	for (unsigned index = good.general.n_checks; index < CONF_CHECKS; index++) {
		msg_begin(&m, MSG_RUN_CHECK);
		msg_put_u8(&m, (uint8_t)index);
		msg_put_u8(&m, 1);
		msg_put_u16(&m, 1);
		msg_put_u32(&m, 0);
		say(RUNNER, &m);
		assert_int_equal(
		    heard(ROLED, MSG_CHECK_STATE, packet, sizeof(packet), &has_fd), -1);
		assert_true(runner_channel.fd >= 0);
	}
	/* of a hook that was not asked for there is no result */
	msg_begin(&m, MSG_RUN_RESULT);
	msg_put_u64(&m, 1);
	msg_put_u8(&m, RESULT_OK);
	msg_put_u32(&m, 0);
	msg_put_u32(&m, 0);
	say(RUNNER, &m);
	assert_true(runner_channel.fd < 0);
}

/* Whatever a child writes is one printable line, and is told to be its own. */
static void
test_log_lines(void **state)
{
	static const char line[] =
	    "2 \x1b[2J\x07 fine\r2026-11-20T00:00:00.000Z supervisor[1] info: up \xff\x01\n";
	char text[4096];
	int out[2], saved = dup(2);
	ssize_t n;

	(void)state;
	all_up();
	assert_int_equal(pipe(out), 0);
	dup2(out[1], 2);
	logger_init(1);
	assert_int_equal(write(log_end, line, sizeof(line) - 1), (ssize_t)sizeof(line) - 1);
	for (int i = 0; i < 20; i++)
		run_loop();
	dup2(saved, 2);
	close(out[1]);
	n = read(out[0], text, sizeof(text) - 1);
	close(out[0]);
	close(saved);
	log_to(NULL);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "roled["));
	assert_non_null(strstr(text, "\\x1b[2J\\x07 fine\\x0d2026"));
	for (ssize_t i = 0; i < n; i++)
		assert_true(text[i] == '\n' ||
			    ((unsigned char)text[i] >= 0x20 && (unsigned char)text[i] < 0x7f));
}

/* ---- netd asks for connections */

/* The network of this test has loopback, or a connection could not even begin. */
static void
loopback_up(void)
{
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)ioctl(fd, SIOCSIFFLAGS, &r); /* not as root: it is the host's, and is up */
	close(fd);
}

/* Type of the next answer to a DIAL, behind whatever else the supervisor has to say. */
static int
dial(uint8_t server, uint8_t path, uint8_t kind)
{
	static uint8_t packet[MSG_SIZE_MAX];
	static struct msg m;

	msg_begin(&m, MSG_DIAL);
	msg_put_u32(&m, 7);
	msg_put_u8(&m, server);
	msg_put_u8(&m, path);
	msg_put_u8(&m, kind);
	say(NETD, &m);
	while (recv(list[NETD].end, packet, sizeof(packet), MSG_DONTWAIT) > 0) {
		if (packet[0] == MSG_DIALED || packet[0] == MSG_DIAL_FAILED)
			return packet[0];
	}
	return -1;
}

/* A netd that was taken over gets the connections that the config has, and no other. */
static void
test_dials(void **state)
{
	pid_t netd;
	unsigned n = 0;

	(void)state;
	all_up();
	loopback_up();
	netd = proc_of(PROC_NETD)->pid;
	/* left from an earlier config, say: there, but not in force */
	sup.conf.server[3] = sup.conf.server[1];
	sup.conf.server[1].path[1] = sup.conf.server[1].path[0];
	assert_int_equal(dial(1, 0, LINK_STATUS), MSG_DIALED);
	assert_int_equal(dial(0, 0, LINK_STATUS), MSG_DIAL_FAILED); /* that is us */
	assert_int_equal(dial(1, 1, LINK_STATUS), MSG_DIAL_FAILED);
	assert_int_equal(dial(3, 0, LINK_STATUS), MSG_DIAL_FAILED);
	assert_int_equal(proc_of(PROC_NETD)->pid, netd); /* it may be a reload behind */

	/* nor as many as it likes of those */
	for (int i = 0; i < 200; i++)
		n += dial(1, 0, LINK_STATUS) == MSG_DIALED;
	assert_in_range(n, 90, 120);
	time_leap();
	assert_int_equal(dial(1, 0, LINK_STATUS), MSG_DIALED);
	assert_int_equal(proc_of(PROC_NETD)->pid, netd);
	assert_int_equal(dial(CONF_SERVERS, 0, LINK_STATUS), -1); /* never right: it is killed */
	assert_int_not_equal(proc_of(PROC_NETD)->pid, netd);
}

/*
 * Main dials sync links, a standby dials main; what never is main does not dial or is not dialled.
 */
static void
test_dials_by_kind(void **state)
{
	static const struct {
		uint8_t self, partner; /* enum server_kind */
		unsigned kinds;	       /* of links: 1 << LINK_... */
	} may[] = {
	    {KIND_STANDARD, KIND_STANDARD, 1 << LINK_STATUS | 1 << LINK_SYNC | 1 << LINK_REQUEST},
	    {KIND_STANDARD, KIND_PERMANENT, 1 << LINK_STATUS | 1 << LINK_SYNC},
	    {KIND_STANDARD, KIND_DMZ, 1 << LINK_STATUS | 1 << LINK_SYNC},
	    {KIND_PERMANENT, KIND_STANDARD, 1 << LINK_STATUS | 1 << LINK_REQUEST},
	    {KIND_PERMANENT, KIND_PERMANENT, 1 << LINK_STATUS},
	    {KIND_PERMANENT, KIND_DMZ, 1 << LINK_STATUS},
	    {KIND_DMZ, KIND_STANDARD, 0},
	    {KIND_DMZ, KIND_PERMANENT, 0},
	};
	pid_t netd;

	(void)state;
	all_up();
	loopback_up();
	netd = proc_of(PROC_NETD)->pid;
	for (size_t i = 0; i < sizeof(may) / sizeof(may[0]); i++) {
		sup.conf.server[0].kind = may[i].self;
		sup.conf.server[1].kind = may[i].partner;
		for (uint8_t kind = LINK_STATUS; kind < LINK_KIND_MAX; kind++)
			assert_int_equal(dial(1, 0, kind),
			    may[i].kinds >> kind & 1 ? MSG_DIALED : MSG_DIAL_FAILED);
	}
	assert_int_equal(proc_of(PROC_NETD)->pid, netd);
	sup.conf = good;
	assert_int_equal(dial(1, 0, LINK_KIND_MAX), -1); /* never right: it is killed */
	assert_int_not_equal(proc_of(PROC_NETD)->pid, netd);
}

/* ---- time */

/* Number of the last PING to a child. */
static uint64_t
last_ping(int which)
{
	static uint8_t packet[MSG_SIZE_MAX];
	uint64_t cookie = 0;

	while (recv(list[which].end, packet, sizeof(packet), MSG_DONTWAIT) > 0) {
		for (size_t i = 0; packet[0] == MSG_PING && i < sizeof(cookie); i++)
			cookie = (i == 0 ? 0 : cookie) | (uint64_t)packet[MSG_HEADER + i] << 8 * i;
	}
	return cookie;
}

static void
say_pong(int who, uint64_t cookie)
{
	static struct msg m;
	uint8_t digest[16] = {1};

	msg_begin(&m, MSG_PONG);
	msg_put_u64(&m, cookie);
	msg_put_bytes(&m, digest, sizeof(digest));
	say(who, &m);
}

static void
test_pong_is_not_guessed(void **state)
{
	pid_t icmpd;
	uint64_t cookie;

	(void)state;
	for (int guess = 0; guess < 2; guess++) {
		all_up();
		icmpd = proc_of(PROC_ICMPD)->pid;
		time_leap();
		cookie = last_ping(ICMPD);
		assert_int_not_equal(cookie, 0);
		if (guess) {
			say_pong(ICMPD, cookie ^ 4);
		} else {
			say_pong(ICMPD, cookie);
			assert_int_equal(proc_of(PROC_ICMPD)->pid, icmpd);
			time_leap(); /* another PING is out */
			say_pong(ICMPD, cookie);
		}
		assert_int_not_equal(proc_of(PROC_ICMPD)->pid, icmpd);
	}
}

static void
test_silence(void **state)
{
	pid_t keyd, icmpd;
	int leaps = 0;

	(void)state;
	all_up();
	keyd = proc_of(PROC_KEYD)->pid;
	icmpd = proc_of(PROC_ICMPD)->pid;
	for (; leaps < 20 && proc_of(PROC_KEYD)->pid == keyd; leaps++) {
		time_leap();
		if (proc_of(PROC_ICMPD)->pid == icmpd)
			say_pong(ICMPD, last_ping(ICMPD));
	}
	assert_in_range(leaps * TIME_LEAP_MS, SILENT_MS, SILENT_MS + 2 * TIME_LEAP_MS);
	assert_int_equal(proc_of(PROC_ICMPD)->pid, icmpd);
}

/* ---- too much */

static void
test_floods(void **state)
{
	static char lines[32768];
	static struct msg m;
	pid_t roled, icmpd;
	int n = 0;

	(void)state;
	all_up();
	icmpd = proc_of(PROC_ICMPD)->pid;
	/* each is taken, and comes too late to accuse anybody */
	msg_begin(&m, MSG_PREPARED);
	msg_put_u64(&m, 99);
	for (; n < 10000 && proc_of(PROC_ICMPD)->pid == icmpd; n++) {
		for (int i = 0; i < N_CHILDREN; i++)
			proc_of(children[i])->heard_ms = now_ms(); /* nobody is silent */
		proc_of(PROC_ICMPD)->asked = 1;
		proc_of(PROC_ICMPD)->control.permit[MSG_PREPARED] = 1;
		say(ICMPD, &m);
	}
	/* one a millisecond, of which every second one is too many */
	assert_in_range(n, 2 * MESSAGE_BURST - 100, 2 * MESSAGE_BURST + 100);

	all_up();
	roled = proc_of(PROC_ROLED)->pid;
	memset(lines, 'x', sizeof(lines));
	lines[sizeof(lines) - 1] = '\n';
	for (n = 0; n < 400 && proc_of(PROC_ROLED)->pid == roled; n++) {
		(void)!write(log_end, lines, sizeof(lines));
		run_loop();
	}
	assert_in_range(n * (int)sizeof(lines), LOG_FLOOD_BYTES, 8 * LOG_FLOOD_BYTES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_answer_per_question),
	    cmocka_unit_test(test_accusations),
	    cmocka_unit_test(test_accusations_of_syncd),
	    cmocka_unit_test(test_parser_is_not_believed),
	    cmocka_unit_test(test_last_words_count),
	    cmocka_unit_test(test_late_answer_is_not_for_the_next),
	    cmocka_unit_test(test_unused_numbers_dial_nothing),
	    cmocka_unit_test(test_unused_checks_are_not_told),
	    cmocka_unit_test(test_log_lines),
	    cmocka_unit_test(test_dials),
	    cmocka_unit_test(test_dials_by_kind),
	    cmocka_unit_test(test_pong_is_not_guessed),
	    cmocka_unit_test(test_silence),
	    cmocka_unit_test(test_floods),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
