/* SPDX-License-Identifier: ISC */
/*
 * What roled may ask root to do: enums and indexes into root's own tables. The runner, a process of
 * its own, executes hooks and checks.
 */
#include "config.h"

#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hook_env.h"

enum {
	OUTSTANDING_MAX = 32,
	RUNNER_SILENT_MS = 5000, /* its end is that of the guard: more patience than with a child */
	RUNNER_END_MS = 1000,
	RUNNER_STEP_MS = 10,
	RUNNER_RATE = 5000, /* messages a second: 16 checks every 10 ms send far fewer */
};

struct channel runner_channel = {.fd = -1};
pid_t runner_pid = -1;

static struct log_pipe runner_log = {.fd = -1};
static int runner_log_fd = -1;
static int64_t heard_ms;	  /* last RUN_PONG */
static uint64_t cookies[COOKIES]; /* of the last RUN_PINGs, not to be guessed; 0: answered */
static unsigned next_cookie;
static enum offence killed_for;
static uv_timer_t linger;
static unsigned outstanding;		 /* RUN_HOOK without its RUN_RESULT */
static uint64_t test_event;		 /* of the test among them, or 0 */
static uint8_t role = HOOK_ROLE_STANDBY; /* of the last hook that stands for one */
/* What the runner last said of each check, for a roled that starts later. */
static struct {
	uint8_t known, healthy;
	uint16_t in_a_row;
	uint32_t code;
} checks[CONF_CHECKS];

/* With it goes the guard, in order: nobody else can run hooks. */
static void
kill_runner(enum offence why)
{
	if (runner_pid <= 0)
		return;
	if (killed_for == OFFENCE_NONE && !sup.stopping) {
		killed_for = why;
		log_error("runner[%d] is killed because %s (offence %u)", (int)runner_pid,
		    offence_text(why), process_offended(PROC_RUNNER, why));
	}
	kill(runner_pid, SIGKILL); /* its end is seen by SIGCHLD */
}

static void
cannot_start(int error)
{
	log_error("cannot start the runner of hooks and checks: %s (processes, open files or "
		  "memory of this machine used up?)",
	    strerror(error));
}

int
actions_start_runner(void)
{
	int fds[2], pipe_fds[2];
	pid_t supervisor = getpid();

	if (channel_pair(fds) != 0 || pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
		cannot_start(errno);
		return -1;
	}
	runner_pid = fork();
	if (runner_pid == 0)
		runner_main(fds[1], pipe_fds[1], supervisor);
	close(fds[1]);
	close(pipe_fds[1]);
	if (runner_pid < 0) {
		cannot_start(errno);
		return -1;
	}
	runner_log_fd = pipe_fds[0];
	channel_init(&runner_channel, fds[0], PROC_SUPERVISOR, PROC_RUNNER, NULL, NULL);
	return 0;
}

static void
send_result(uint64_t event, enum action_result result, uint32_t code, uint32_t duration_ms)
{
	static struct msg m;
	struct proc *roled = proc_of(PROC_ROLED);

	if (roled->step != STEP_UP)
		return;
	msg_begin(&m, MSG_ACTION_RESULT);
	msg_put_u64(&m, event);
	msg_put_u8(&m, (uint8_t)result);
	msg_put_u32(&m, code);
	msg_put_u32(&m, duration_ms);
	proc_send(roled, &m);
}

static int
on_result(struct msg *m)
{
	uint64_t event = msg_get_u64(m);
	uint8_t result = msg_get_u8(m);
	uint32_t code = msg_get_u32(m), duration_ms = msg_get_u32(m);

	if (msg_end(m) != 0 || result >= RESULT_MAX || outstanding == 0)
		return -1;
	outstanding--;
	if (event == test_event)
		test_event = 0;
	send_result(event, (enum action_result)result, code, duration_ms);
	if (outstanding == 0 && sup.stopping)
		processes_stop_continue();
	return 0;
}

static void
send_check(uint8_t index)
{
	static struct msg m;
	struct proc *roled = proc_of(PROC_ROLED);

	if (roled->step != STEP_UP || !checks[index].known)
		return;
	msg_begin(&m, MSG_CHECK_STATE);
	msg_put_u8(&m, index);
	msg_put_u8(&m, checks[index].healthy);
	msg_put_u16(&m, checks[index].in_a_row);
	msg_put_u32(&m, checks[index].code);
	proc_send(roled, &m);
}

static int
on_check(struct msg *m)
{
	uint8_t index = msg_get_u8(m), healthy = msg_get_u8(m);
	uint16_t in_a_row = msg_get_u16(m);
	uint32_t code = msg_get_u32(m);

	if (msg_end(m) != 0 || healthy > 1)
		return -1;
	if (index >= sup.conf.general.n_checks) /* a reload took it away meanwhile */
		return 0;
	checks[index].known = 1;
	checks[index].healthy = healthy;
	checks[index].in_a_row = in_a_row;
	checks[index].code = code;
	send_check(index);
	return 0;
}

void
actions_report_checks(void)
{
	for (uint8_t i = 0; i < sup.conf.general.n_checks; i++)
		send_check(i);
}

static int
on_pong(struct msg *m)
{
	uint64_t cookie = msg_get_u64(m);
	uint8_t digest[16];

	msg_get_bytes(m, digest, sizeof(digest));
	if (msg_end(m) != 0 || cookie == 0)
		return -1;
	for (unsigned i = 0; i < COOKIES; i++) {
		if (cookies[i] == cookie) {
			cookies[i] = 0;
			heard_ms = now_ms();
			processes_runner_config(digest);
			return 0;
		}
	}
	return -1;
}

static int
on_message(struct channel *c, struct msg *m)
{
	(void)c;
	switch (m->type) {
	case MSG_RUN_RESULT:
		return on_result(m);
	case MSG_RUN_CHECK:
		return on_check(m);
	case MSG_RUN_PONG:
		return on_pong(m);
	default:
		return -1;
	}
}

static void
on_lingers(uv_timer_t *timer)
{
	(void)timer;
	kill_runner(OFFENCE_CLOSED);
}

static void
on_log_flood(enum process process)
{
	(void)process;
	kill_runner(OFFENCE_LOG);
}

static void
on_closed(struct channel *c)
{
	const uint8_t *b = c->violation_bytes;
	char hex[2 * sizeof(c->violation_bytes) + 1];

	if (c->violation == V_NONE) { /* usually it is ending already */
		uv_timer_start(&linger, on_lingers, LINGER_MS, 0);
	} else if (c->violation == V_QUEUE) {
		kill_runner(OFFENCE_DEAF);
	} else {
		log_error("the runner broke the protocol with %s (%s): %s",
		    message_name(
			c->violation_len >= 2 ? (unsigned)(b[0] | b[1] << 8) : MSG_TYPE_MAX),
		    violation_name(c->violation), log_hex(hex, b, c->violation_len));
		kill_runner(c->violation == V_FLOOD ? OFFENCE_FLOOD : OFFENCE_PROTOCOL);
	}
	channel_close(c);
}

void
actions_attach(void)
{
	runner_channel.handler = on_message;
	runner_channel.rate_max = RUNNER_RATE;
	uv_timer_init(sup.loop, &linger);
	loop_attach_channel(sup.loop, &runner_channel, on_closed);
	log_pipe_open(&runner_log, sup.loop, runner_log_fd, PROC_RUNNER, runner_pid, on_log_flood);
}

static int
send_runner(struct msg *m)
{
	if (runner_channel.fd < 0) /* it lingers, and is seen to */
		return -1;
	if (channel_send(&runner_channel, m) != 0) {
		kill_runner(runner_channel.violation == V_QUEUE ? OFFENCE_DEAF : OFFENCE_BROKEN);
		return -1;
	}
	return 0;
}

void
actions_send_config(const struct conf *c)
{
	static struct msg m;

	memset(checks, 0, sizeof(checks));
	if (config_send(&runner_channel, c) != 0)
		kill_runner(OFFENCE_DEAF);
	msg_begin(&m, MSG_RUN_CONFIG);
	send_runner(&m);
}

/* Role that a hook stands for. Alarm and stop: the present one. */
static uint8_t
role_of(enum hook_kind kind)
{
	static const uint8_t of_kind[KIND_MAX] = {
	    HOOK_ROLE_STANDBY, HOOK_ROLE_PERMANENT, HOOK_ROLE_DMZ};

	if (kind == HOOK_MAIN)
		return HOOK_ROLE_MAIN;
	if (kind == HOOK_STANDBY)
		return of_kind[sup.conf.server[sup.conf.general.self].kind];
	return role;
}

static void
run_hook(const struct hook_run *r)
{
	static struct msg m;

	if (r->test && test_event != 0) { /* a role must not wait behind a row of tests */
		send_result(r->event, RESULT_FAILED, EBUSY, 0);
		return;
	}
	if (outstanding >= OUTSTANDING_MAX) {
		log_error("hook %s is not run: %d wait already; see what the one that runs hangs "
			  "on, or set a shorter hook.timeout",
		    hook_name(r->kind), OUTSTANDING_MAX);
		send_result(r->event, RESULT_FAILED, EAGAIN, 0);
		return;
	}
	if (!r->test)
		role = r->role;
	msg_begin(&m, MSG_RUN_HOOK);
	msg_put_u64(&m, r->event);
	msg_put_u8(&m, r->kind);
	msg_put_u8(&m, r->role);
	msg_put_u8(&m, r->reason);
	msg_put_u8(&m, r->peer);
	msg_put_u8(&m, r->test);
	msg_put_u64(&m, r->epoch);
	msg_put_u32(&m, r->entry);
	if (send_runner(&m) != 0) {
		send_result(r->event, RESULT_FAILED, EPIPE, 0);
		return;
	}
	outstanding++;
	if (r->test)
		test_event = r->event;
}

int
actions_request(struct proc *roled, struct msg *m)
{
	struct hook_run r = {0};
	uint8_t action = msg_get_u8(m);

	(void)roled;
	r.kind = msg_get_u8(m);
	r.reason = msg_get_u8(m);
	r.peer = msg_get_u8(m);
	r.entry = msg_get_u32(m);
	r.epoch = msg_get_u64(m);
	r.event = msg_get_u64(m);
	if (msg_end(m) != 0 || action >= ACTION_MAX || !hook_reason_valid(r.reason) ||
	    (r.peer != HOOK_NO_PEER && r.peer >= CONF_SERVERS))
		return -1;
	if (action == ACTION_RELOAD) {
		reload_request_bounded();
		return 0;
	}
	if (r.kind >= HOOK_MAX)
		return -1;
	r.test = action == ACTION_HOOK_TEST;
	r.role = role_of((enum hook_kind)r.kind);
	run_hook(&r);
	return 0;
}

void
actions_watch_runner(int64_t now, int stalled)
{
	static struct msg m;
	uint64_t *cookie;

	if (runner_pid <= 0)
		return;
	if (stalled || heard_ms == 0) /* we did not read: its silence is ours */
		heard_ms = now;
	if (now - heard_ms >= RUNNER_SILENT_MS) {
		kill_runner(OFFENCE_SILENT);
		heard_ms = now;
		return;
	}
	cookie = &cookies[next_cookie++ % COOKIES];
	if (getrandom(cookie, sizeof(*cookie), GRND_NONBLOCK) != sizeof(*cookie))
		*cookie = (uint64_t)now;
	*cookie |= 1; /* never 0 */
	msg_begin(&m, MSG_RUN_PING);
	msg_put_u64(&m, *cookie);
	channel_permit(&runner_channel, MSG_RUN_PONG);
	(void)send_runner(&m);
}

int
actions_busy(void)
{
	return outstanding > 0 && runner_pid > 0;
}

void
actions_runner_ended(int status)
{
	char text[128];

	log_pipe_close(&runner_log);
	loop_detach_channel(&runner_channel);
	channel_close(&runner_channel);
	runner_pid = -1;
	outstanding = 0;
	test_event = 0;
	if (sup.stopping) {
		processes_stop_continue();
		return;
	}
	/* it had powers that the supervisor has given up: it cannot be started again from here */
	log_error("the runner ended (%s): hooks cannot be run any more; stopping in order, "
		  "to be started again",
	    exit_describe(status, text, sizeof(text)));
	processes_stop(EXIT_FATAL);
}

void
actions_stop_runner(void)
{
	pid_t pid = runner_pid;

	loop_detach_channel(&runner_channel);
	channel_close(&runner_channel); /* it ends by itself, and what it runs with it */
	runner_pid = -1;
	for (int ms = 0; pid > 0 && waitpid(pid, NULL, WNOHANG) == 0; ms += RUNNER_STEP_MS) {
		struct timespec step = {.tv_nsec = RUNNER_STEP_MS * 1000000L};

		if (ms == RUNNER_END_MS)
			kill(pid, SIGKILL);
		nanosleep(&step, NULL);
	}
	log_pipe_close(&runner_log);
}
