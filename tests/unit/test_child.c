/* SPDX-License-Identifier: ISC */
/*
 * The common life of a child: config in two phases, in and out of order.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/log.h"
#include "policy/sandbox.h"

static struct child child;
static struct channel supervisor, edge;
static struct msg last;
static unsigned answers;
static struct {
	int prepared, committed, aborted, stopped, dumped, down, up, other;
	enum refusal verdict;
	uint16_t misses_old, misses_new;
} seen;

static enum refusal
on_prepare(struct child *ch, const struct conf *new, uint8_t *index)
{
	uint8_t digest[sizeof(new->digest)];

	assert_ptr_not_equal(new, child_conf(ch));
	conf_digest(new, digest);
	assert_memory_equal(new->digest, digest, sizeof(digest));
	seen.prepared++;
	*index = 9;
	return seen.verdict;
}

static void
on_commit(struct child *ch, const struct conf *old)
{
	seen.committed++;
	seen.misses_old = old != NULL ? old->general.status_misses : 0;
	seen.misses_new = child_conf(ch)->general.status_misses;
}

static void
on_abort(struct child *ch)
{
	(void)ch;
	seen.aborted++;
}

static void
on_stop(struct child *ch, uint32_t ms)
{
	(void)ch;
	seen.stopped = (int)ms;
}

static void
on_peer_down(struct child *ch, struct channel *c)
{
	(void)ch;
	assert_ptr_equal(c, &edge);
	assert_true(c->fd >= 0);
	seen.down++;
}

static void
on_peer_up(struct child *ch, struct channel *c)
{
	(void)ch;
	assert_int_equal(c->fd, FD_EDGE(PROC_ROLED));
	seen.up++;
}

static void
on_dump(struct child *ch)
{
	(void)ch;
	seen.dumped++;
}

static int
on_other(struct child *ch, struct msg *m)
{
	(void)ch;
	seen.other = m->type;
	return 0;
}

static const struct child_ops ops = {
    .on_prepare = on_prepare,
    .on_commit = on_commit,
    .on_abort = on_abort,
    .on_stop = on_stop,
    .on_peer_down = on_peer_down,
    .on_peer_up = on_peer_up,
    .on_dump = on_dump,
    .on_other = on_other,
};

static int
on_answer(struct channel *c, struct msg *m)
{
	(void)c;
	last = *m;
	answers++;
	return 0;
}

static int
no_message(struct channel *c, struct msg *m)
{
	(void)c;
	(void)m;
	return 0;
}

/* A pair with one end at the fixed number; returns the other. */
static int
make_edge(int number)
{
	int fds[2], other;

	assert_int_equal(channel_pair(fds), 0);
	other = fcntl(fds[0], F_DUPFD_CLOEXEC, 40);
	close(fds[0]);
	if (fds[1] != number) {
		assert_int_equal(dup2(fds[1], number), number);
		close(fds[1]);
	}
	return other;
}

static int roled_end;

static int
setup(void **state)
{
	(void)state;
	for (int fd = FD_CONTROL; fd < FD_FIRST_FREE; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			dup2(0, fd);
	}
	channel_init(
	    &supervisor, make_edge(FD_CONTROL), PROC_SUPERVISOR, PROC_NETD, on_answer, NULL);
	roled_end = make_edge(FD_EDGE(PROC_ROLED));
	child_init(&child, PROC_NETD, &ops, NULL);
	child_add_edge(&child, &edge, PROC_ROLED, no_message, NULL);
	memset(&seen, 0, sizeof(seen));
	answers = 0;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	channel_close(&supervisor);
	close(roled_end);
	return 0;
}

static int
pump(void)
{
	int r = channel_read(&child.control);

	(void)channel_read(&supervisor);
	return r;
}

/* Send a message with one number and let the child read it; what channel_read said. */
static int
say(enum message_type type, uint64_t v)
{
	struct msg m;

	msg_begin(&m, type);
	if (type == MSG_STOP)
		msg_put_u32(&m, (uint32_t)v);
	else if (type != MSG_DUMP)
		msg_put_u64(&m, v);
	channel_permit(&supervisor, MSG_PREPARED);
	channel_permit(&supervisor, MSG_REFUSED);
	channel_permit(&supervisor, MSG_PONG);
	assert_int_equal(channel_send(&supervisor, &m), 0);
	return pump();
}

static void
say_config(uint16_t misses)
{
	static struct conf c;
	struct msg m;

	conf_defaults(&c);
	strcpy(c.general.group, "pair");
	c.general.n_servers = 1;
	c.general.status_misses = misses;
	msg_begin(&m, MSG_CONF_GENERAL);
	conf_put_general(&m, &c.general);
	assert_int_equal(channel_send(&supervisor, &m), 0);
	assert_int_equal(pump(), 0);
}

static void
run(uint16_t misses)
{
	say_config(misses);
	assert_int_equal(say(MSG_PREPARE, 1), 0);
	assert_int_equal(last.type, MSG_PREPARED);
	assert_int_equal(say(MSG_COMMIT, 1), 0);
}

static void
test_start(void **state)
{
	(void)state;
	child_ready(&child, 5);
	assert_int_equal(pump(), 0);
	assert_int_equal(last.type, MSG_READY);
	assert_int_equal(last.body[0], 5);
	assert_null(child_conf(&child));
	run(3);
	assert_int_equal(seen.committed, 1);
	assert_int_equal(seen.misses_old, 0);
	assert_int_equal(seen.misses_new, 3);
	assert_int_equal(child.control.state, S_RUN);
	assert_int_equal(edge.state, S_RUN);
}

static void
test_reload(void **state)
{
	uint8_t digest[16];

	(void)state;
	run(3);
	say_config(4);
	assert_int_equal(child_conf(&child)->general.status_misses, 3);
	conf_digest(child_conf(&child), digest);
	assert_memory_equal(child_conf(&child)->digest, digest, sizeof(digest));
	assert_int_equal(say(MSG_PREPARE, 2), 0);
	assert_int_equal(edge.state, S_PREPARE);
	assert_int_equal(child_conf(&child)->general.status_misses, 3);
	assert_int_equal(say(MSG_COMMIT, 2), 0);
	assert_int_equal(seen.misses_old, 3);
	assert_int_equal(seen.misses_new, 4);
	assert_int_equal(edge.state, S_RUN);
}

static void
test_abort_and_refusal(void **state)
{
	(void)state;
	run(3);
	say_config(4);
	assert_int_equal(say(MSG_PREPARE, 2), 0);
	assert_int_equal(say(MSG_ABORT, 2), 0);
	assert_int_equal(seen.aborted, 1);
	assert_int_equal(edge.state, S_RUN);

	seen.verdict = REFUSE_RESOURCE;
	say_config(5);
	assert_int_equal(say(MSG_PREPARE, 3), 0);
	assert_int_equal(last.type, MSG_REFUSED);
	assert_true(msg_get_u64(&last) == 3);
	assert_int_equal(msg_get_u16(&last), REFUSE_RESOURCE);
	assert_int_equal(msg_get_u8(&last), 9);
	assert_int_equal(say(MSG_ABORT, 3), 0);
	assert_int_equal(seen.aborted, 1); /* nothing had been prepared */

	/* nothing sent, or no general part */
	seen.verdict = REFUSE_NONE;
	assert_int_equal(say(MSG_PREPARE, 4), 0);
	assert_int_equal(last.type, MSG_REFUSED);
	assert_int_equal(child_conf(&child)->general.status_misses, 3);
	assert_int_equal(seen.committed, 1);
}

static void
test_commit_needs_its_prepare(void **state)
{
	(void)state;
	run(3);
	say_config(4);
	assert_int_equal(say(MSG_PREPARE, 2), 0);
	assert_int_equal(say(MSG_COMMIT, 3), -1);
	assert_int_equal(child.control.violation, V_BODY);
	assert_int_equal(child_control_exit(&child), EXIT_PROTOCOL);
	assert_int_equal(seen.committed, 1);
}

static void
test_half_a_config_is_not_committed(void **state)
{
	(void)state;
	run(3);
	say_config(4);
	assert_int_equal(say(MSG_PREPARE, 2), 0);
	say_config(5); /* overwrites what was prepared */
	assert_int_equal(seen.aborted, 1);
	assert_int_equal(say(MSG_COMMIT, 2), -1);
	assert_int_equal(child_conf(&child)->general.status_misses, 3);
}

static void
test_small_things(void **state)
{
	(void)state;
	assert_int_equal(say(MSG_PING, UINT64_C(0x123456789abcdef0)), 0);
	assert_int_equal(last.type, MSG_PONG);
	assert_true(msg_get_u64(&last) == UINT64_C(0x123456789abcdef0));
	assert_int_equal(say(MSG_DUMP, 0), 0);
	assert_int_equal(seen.dumped, 1);
	assert_int_equal(say(MSG_STOP, 500), 0);
	assert_int_equal(seen.stopped, 500);
	assert_int_equal(edge.state, S_STOP);
	channel_close(&supervisor);
	assert_int_equal(channel_read(&child.control), -1);
	assert_int_equal(child_control_exit(&child), EXIT_CHANNEL);
}

/* Send the new end of a channel to a peer. */
static int
say_peer(enum process peer, int fd)
{
	struct msg m;

	msg_begin(&m, MSG_PEER);
	msg_put_u8(&m, (uint8_t)peer);
	msg_put_u8(&m, 0);
	msg_put_fd(&m, fd);
	assert_int_equal(channel_send(&supervisor, &m), 0);
	return pump();
}

static void
test_new_peer(void **state)
{
	int fds[2];
	char c;

	(void)state;
	/* the new end may come before the end of the old one was seen, or after */
	for (int before = 0; before < 2; before++) {
		if (!before) {
			close(roled_end);
			child_edge_lost(&child, &edge);
			assert_true(fcntl(FD_EDGE(PROC_ROLED), F_GETFD) >= 0);
			assert_int_equal(read(FD_EDGE(PROC_ROLED), &c, 1), 0); /* /dev/null */
		}
		assert_int_equal(channel_pair(fds), 0);
		assert_int_equal(say_peer(PROC_ROLED, fds[1]), 0);
		close(fds[1]);
		if (before) {
			/* nobody else holds the old end */
			assert_int_equal(recv(roled_end, &c, 1, MSG_DONTWAIT), 0);
			close(roled_end);
		}
		roled_end = fds[0];
		assert_int_equal(send(roled_end, "", 1, MSG_NOSIGNAL), 1);
		assert_int_equal(recv(FD_EDGE(PROC_ROLED), &c, 1, 0), 1);
		assert_int_equal(seen.down, before + 1);
		assert_int_equal(seen.up, before + 1);
	}
	/* not one of our edges */
	assert_int_equal(channel_pair(fds), 0);
	assert_int_equal(say_peer(PROC_KEYD, fds[1]), -1);
	close(fds[0]);
	close(fds[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_start, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_abort_and_refusal, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_commit_needs_its_prepare, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_half_a_config_is_not_committed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_small_things, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_new_peer, setup, teardown),
	};

	log_set_level(LOG_L_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
