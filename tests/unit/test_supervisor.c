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

#include <sys/socket.h>

enum { NETD, ICMPD, ROLED, KEYD };

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

	/* a face gets one process behind it killed, not one after the other */
	all_up();
	roled = proc_of(PROC_ROLED)->pid;
	accuse(NETD, PROC_ROLED);
	assert_int_not_equal(proc_of(PROC_ROLED)->pid, roled);
	roled = proc_of(PROC_ROLED)->pid;
	netd = proc_of(PROC_NETD)->pid;
	accuse(NETD, PROC_ROLED);
	assert_int_equal(proc_of(PROC_ROLED)->pid, roled);
	assert_int_not_equal(proc_of(PROC_NETD)->pid, netd);

	/* roled is always believed */
	all_up();
	for (int i = 0; i < 3; i++) {
		netd = proc_of(PROC_NETD)->pid;
		roled = proc_of(PROC_ROLED)->pid;
		accuse(ROLED, PROC_NETD);
		assert_int_not_equal(proc_of(PROC_NETD)->pid, netd);
		assert_int_equal(proc_of(PROC_ROLED)->pid, roled);
	}
}

/* A parser that was taken over sends what no rule allows, with the digest that belongs to it. */
static void
test_parser_is_not_believed(void **state)
{
	static uint8_t packets[8192];
	static struct conf c;
	static struct msg m;
	uint8_t digest[16];
	size_t n;

	(void)state;
	for (int good_one = 1; good_one >= 0; good_one--) {
		all_up();
		msg_begin(&m, MSG_ACTION);
		msg_put_u8(&m, ACTION_RELOAD);
		memset(m.body + 1, 0, 23);
		m.len = 24;
		say(ROLED, &m);
		assert_true(list[PARSER].end >= 0);
		table_conf(&c);
		c.general.hold_ms++;
		if (!good_one)
			strcpy(c.server[1].name, "a"); /* as server 0 */
		n = table_append_conf(packets, sizeof(packets), 0, PARSER, &c, PROC_SUPERVISOR);
		conf_digest(&c, digest);
		msg_begin(&m, MSG_CONF_DONE);
		msg_put_bytes(&m, digest, sizeof(digest));
		n = table_append(packets, sizeof(packets), n, PARSER, &m);
		table_play(packets, n, list, CHANNELS, turn);
		assert_int_equal(reload_preparing(), good_one);
	}
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_answer_per_question),
	    cmocka_unit_test(test_accusations),
	    cmocka_unit_test(test_parser_is_not_believed),
	    cmocka_unit_test(test_log_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
