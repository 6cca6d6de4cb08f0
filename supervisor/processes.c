/* SPDX-License-Identifier: ISC */
/*
 * The process table: start, READY, config, PING, end, restart with back-off, ordered stop.
 */
#include "config.h"

#include "../lib/child.h"
#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILL_RECORD_MS = 30, KILL_RECORD_TRIES = 20 };

const enum process children[N_CHILDREN] = {PROC_NETD, PROC_ICMPD, PROC_ROLED, PROC_KEYD};

static struct proc procs[N_CHILDREN];
static uv_timer_t tick_timer;
static int64_t last_tick_ms;

/* Ordered stop: first roled, then all others, then nobody is left. */
enum stop_phase { STOP_NONE, STOP_ROLED, STOP_REST, STOP_KILLED };
static enum stop_phase stop_phase;
static int64_t stop_deadline_ms;
static uv_timer_t stop_timer;

static void proc_start(struct proc *p);
static void on_lingers(uv_timer_t *timer);

struct proc *
proc_of(enum process process)
{
	for (int i = 0; i < N_CHILDREN; i++) {
		if (procs[i].process == process)
			return &procs[i];
	}
	return NULL;
}

void
proc_kill(struct proc *p, const char *why)
{
	if (p->pid <= 0)
		return;
	if (p->killed_for == NULL && why != NULL) {
		p->killed_for = why;
		p->offences += !sup.stopping;
	}
	kill(p->pid, SIGKILL);
}

void
proc_send(struct proc *p, struct msg *m)
{
	if (p->control.fd < 0)
		return;
	if (channel_send(&p->control, m) != 0)
		proc_kill(p, p->control.violation == V_QUEUE ? "it does not read its channel"
							     : "its channel is broken");
}

/* ---- what roled is told */

/* p NULL: the supervisor itself, or the runner, which both live from start to end. */
static void
send_state(enum process process, enum process_state state, const struct proc *p, pid_t pid)
{
	static const struct proc constant; /* zeros */
	static struct msg m;
	struct proc *roled = proc_of(PROC_ROLED);
	int64_t since_ms = p != NULL ? p->since_ms : sup.started_ms;
	uint8_t own_layer = sandbox_reports() ? LAYER_REPORTS : LAYER_SECCOMP;

	if (roled->step != STEP_UP)
		return;
	if (p == NULL)
		p = &constant;
	msg_begin(&m, MSG_PROCESS_STATE);
	msg_put_u8(&m, (uint8_t)process);
	msg_put_u8(&m, (uint8_t)state);
	msg_put_u8(&m, process == PROC_SUPERVISOR ? own_layer : p->layers);
	msg_put_u32(&m, (uint32_t)pid);
	msg_put_u32(&m, p->restarts);
	msg_put_u32(&m, (uint32_t)p->last_status);
	msg_put_u32(&m, state == PROCESS_BACKOFF ? p->backoff.wait_ms : 0);
	msg_put_u64(&m, (uint64_t)since_ms);
	proc_send(roled, &m);
}

void
processes_report(struct proc *p)
{
	send_state(p->process, p->state, p, p->pid > 0 ? p->pid : 0);
}

void
processes_report_all(void)
{
	send_state(PROC_SUPERVISOR, PROCESS_UP, NULL, getpid());
	send_state(PROC_RUNNER, runner_pid > 0 ? PROCESS_UP : PROCESS_DOWN, NULL,
	    runner_pid > 0 ? runner_pid : 0);
	for (int i = 0; i < N_CHILDREN; i++)
		processes_report(&procs[i]);
}

static void
set_state(struct proc *p, enum process_state state)
{
	p->state = state;
	p->since_ms = now_ms();
	processes_report(p);
}

/* ---- config of one child */

void
proc_ask_prepare(struct proc *p, const struct conf *c, uint64_t serial)
{
	static struct msg m;

	if (config_send(&p->control, c) != 0) {
		proc_kill(p, "it does not read its channel");
		return;
	}
	msg_begin(&m, MSG_PREPARE);
	msg_put_u64(&m, serial);
	channel_permit(&p->control, MSG_PREPARED);
	channel_permit(&p->control, MSG_REFUSED);
	p->asked++;
	proc_send(p, &m);
}

void
proc_decide(struct proc *p, enum message_type decision, uint64_t serial)
{
	static struct msg m;

	msg_begin(&m, decision);
	msg_put_u64(&m, serial);
	proc_send(p, &m);
}

/* What only a new roled has to know. */
static void
introduce(struct proc *roled)
{
	static struct msg m;

	msg_begin(&m, MSG_SELF_INFO);
	msg_put_u64(&m, sup.instance);
	msg_put_u32(&m, roled->generation);
	msg_put_u8(&m, sup.degraded || sandbox_reports());
	msg_put_u8(&m, 1);
	proc_send(roled, &m);
}

/* READY, and no reload is in the way. */
static void
configure(struct proc *p)
{
	if (p->process == PROC_ROLED)
		introduce(p);
	p->step = STEP_PREPARING;
	p->deadline_ms = now_ms() + CONFIGURE_MS;
	proc_ask_prepare(p, &sup.conf, reload_serial());
}

static void
check_all_up(void)
{
	for (int i = 0; i < N_CHILDREN; i++) {
		if (!procs[i].ever_up)
			return;
	}
	supervisor_is_up();
}

/* COMMIT: the child works from now on. */
static void
become_up(struct proc *p)
{
	proc_decide(p, MSG_COMMIT, reload_serial());
	p->control.state = S_RUN;
	p->step = STEP_UP;
	p->deadline_ms = 0;
	p->up_ms = now_ms();
	p->heard_ms = p->up_ms;
	p->ever_up = 1;
	set_state(p, PROCESS_UP);
	if (p->process == PROC_NETD)
		sockets_send_listeners(p);
	if (p->process == PROC_ICMPD)
		sockets_send_targets(p);
	if (p->process == PROC_ROLED) {
		processes_report_all();
		actions_report_checks();
		reload_report_last(p);
	}
	if (stop_phase == STOP_NONE) {
		check_all_up();
		reload_poke();
	}
}

int
processes_configuring(void)
{
	for (int i = 0; i < N_CHILDREN; i++) {
		if (procs[i].step == STEP_PREPARING)
			return 1;
	}
	return 0;
}

void
processes_release_held(void)
{
	for (int i = 0; i < N_CHILDREN; i++) {
		if (procs[i].step == STEP_HELD)
			configure(&procs[i]);
	}
}

/* ---- messages of children */

static int
on_ready(struct proc *p, struct msg *m)
{
	uint8_t layers = msg_get_u8(m);

	if (msg_end(m) != 0 || p->step != STEP_SPAWNED)
		return -1;
	p->layers = layers;
	if (reload_preparing()) {
		p->step = STEP_HELD;
		p->deadline_ms = 0;
	} else {
		configure(p);
	}
	return 0;
}

const char *
refusal_text(enum refusal reason)
{
	static const char *const text[REFUSE_MAX] = {
	    [REFUSE_NONE] = "no reason given",
	    [REFUSE_CONFIG] = "the config is incomplete",
	    [REFUSE_KEY] = "the keys in the state directory are unusable, or not those of self",
	    [REFUSE_RESOURCE] = "not enough descriptors or memory",
	    [REFUSE_STATE_FILE] = "role.state or ledger in the state directory cannot be used",
	    [REFUSE_RUNNING] = ("a standard server that runs is taken out or gets another key; "
				"stop bulkhead there first"),
	};

	return (unsigned)reason < REFUSE_MAX ? text[reason] : text[REFUSE_NONE];
}

/* Answer to the PREPARE of a start. */
static void
on_start_answer(struct proc *p, enum refusal reason)
{
	if (reason == REFUSE_NONE) {
		become_up(p);
		return;
	}
	log_error("%s refuses the config: %s", process_name(p->process), refusal_text(reason));
	proc_kill(p, "it refused the config");
	if (p->generation == 1)
		supervisor_give_up(EXIT_CONFIG);
}

/* PREPARED or REFUSED. */
static int
on_answer(struct proc *p, struct msg *m)
{
	uint64_t serial = msg_get_u64(m);
	enum refusal reason = REFUSE_NONE;
	uint8_t index = 0;

	if (m->type == MSG_REFUSED) {
		unsigned r = msg_get_u16(m);

		index = msg_get_u8(m);
		if (r == REFUSE_NONE || r >= REFUSE_MAX)
			return -1;
		reason = (enum refusal)r;
	}
	if (msg_end(m) != 0 || p->asked == 0)
		return -1;
	/* one answer per question: the leave for the other kind is taken back */
	p->asked--;
	p->control.permit[MSG_PREPARED] = p->asked;
	p->control.permit[MSG_REFUSED] = p->asked;
	/* they come in the order of the questions, and all but the last one were taken back (ABORT)
	 */
	if (p->asked > 0)
		return 0;
	if (p->step == STEP_PREPARING && serial == reload_serial())
		on_start_answer(p, reason);
	else if (p->step == STEP_UP)
		reload_answer(p->process, serial, reason, index);
	return 0;
}

static int
on_pong(struct proc *p, struct msg *m)
{
	uint64_t cookie = msg_get_u64(m);

	if (msg_end(m) != 0 || cookie == 0)
		return -1;
	for (unsigned i = 0; i < COOKIES; i++) {
		if (p->cookie[i] == cookie) {
			p->cookie[i] = 0; /* once each: it has to read our PINGs to answer them */
			p->heard_ms = now_ms();
			return 0;
		}
	}
	return -1;
}

/* Name of the type that a refused packet begins with. */
static const char *
first_type(const uint8_t *bytes, size_t n)
{
	return message_name(n >= 2 ? (unsigned)bytes[0] | (unsigned)bytes[1] << 8 : MSG_TYPE_MAX);
}

/* out: twice n bytes and one. */
static const char *
hex_text(char *out, const uint8_t *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * n] = '\0';
	return out;
}

static int
on_stopped(struct proc *p, struct msg *m)
{
	uint8_t handed_over = msg_get_u8(m);

	if (msg_end(m) != 0 || handed_over > 1 || !p->stop_sent)
		return -1;
	log_info("roled has left the group%s", handed_over ? ", another server is main" : "");
	if (stop_phase == STOP_ROLED) {
		stop_phase = STOP_REST;
		processes_stop_continue();
	}
	return 0;
}

/* How far a process is from outside bytes: one that is nearer to them is the likelier culprit. */
static int
distance(enum process process)
{
	return process == PROC_KEYD ? 2 : process == PROC_ROLED ? 1 : 0;
}

/* Has it lived for so long that whoever misses its channel must have been given the end? */
static int
has_lingered(enum process process, int64_t now)
{
	const struct proc *p = proc_of(process);

	return p->pid > 0 && now - p->started_ms >= EDGE_LOST_MS;
}

/*
 * A child refused what a peer sent and has cut it off. The peer is killed, as if it had sent that
 * to us. But a face that was taken over must not be able to have roled killed again and again: who
 * accuses one behind it more than once a minute is taken for the culprit itself.
 */
static int
on_peer_broken(struct proc *p, struct msg *m)
{
	unsigned accused = msg_get_u8(m), violation = msg_get_u8(m);
	uint8_t bytes[64];
	char hex[2 * sizeof(bytes) + 1];
	size_t n = msg_left(m);
	int64_t now = now_ms();

	if (n > sizeof(bytes))
		return -1;
	msg_get_bytes(m, bytes, n);
	if (msg_end(m) != 0 || accused >= PROC_MAX || violation == V_NONE || violation >= V_MAX ||
	    !channels_edge(p->process, (enum process)accused))
		return -1;
	if (proc_of((enum process)accused)->killed_for != NULL)
		return 0; /* it is condemned already: once is enough, in the log too */
	if (violation == V_CLOSED && !has_lingered((enum process)accused, now))
		return 0; /* it has ended, and its successor's end is under way */
	log_error("%s broke the protocol towards %s with %s (%s): %s",
	    process_name((enum process)accused), process_name(p->process),
	    n > 0 ? first_type(bytes, n) : "its channel",
	    violation_name((enum channel_violation)violation), hex_text(hex, bytes, n));
	if (distance(p->process) > distance((enum process)accused)) {
		proc_kill(proc_of((enum process)accused), "it broke the protocol");
		return 0;
	}
	if (p->accused_ms != 0 && now - p->accused_ms < ACCUSE_MS)
		proc_kill(p, "it accuses others too often");
	else
		proc_kill(proc_of((enum process)accused), "it broke the protocol");
	p->accused_ms = now;
	return 0;
}

static int
on_message(struct channel *c, struct msg *m)
{
	struct proc *p = c->user;

	if (p->killed_for != NULL) /* it is condemned: its last words accuse and ask in vain */
		return 0;
	/* each costs root some time, and no child has a need for so many */
	if (!bucket_take(&p->messages, now_ms())) {
		proc_kill(p, "it floods its channel");
		return -1;
	}
	switch (m->type) {
	case MSG_READY:
		return on_ready(p, m);
	case MSG_PREPARED:
	case MSG_REFUSED:
		return on_answer(p, m);
	case MSG_PONG:
		return on_pong(p, m);
	case MSG_STOPPED:
		return on_stopped(p, m);
	case MSG_DIAL:
		return sockets_dial(p, m);
	case MSG_ACTION:
		return actions_request(p, m);
	case MSG_PEER_BROKEN:
		return on_peer_broken(p, m);
	default:
		return -1;
	}
}

static void
on_closed(struct channel *c)
{
	struct proc *p = c->user;
	char hex[2 * sizeof(c->violation_bytes) + 1];

	if (c->violation == V_QUEUE) {
		proc_kill(p, "it does not read its channel");
	} else if (c->violation != V_NONE && p->killed_for == NULL) {
		log_error("%s broke the protocol with %s (%s): %s", process_name(p->process),
		    first_type(c->violation_bytes, c->violation_len), violation_name(c->violation),
		    hex_text(hex, c->violation_bytes, c->violation_len));
		proc_kill(p, "it broke the protocol");
	} else {
		/* usually it is ending already, and its exit code stands */
		uv_timer_start(&p->retry, on_lingers, LINGER_MS, 0);
	}
	channel_close(c);
}

/* It closed its channel and lives on. */
static void
on_lingers(uv_timer_t *timer)
{
	proc_kill(timer->data, sup.stopping ? NULL : "it closed its channel");
}

/* ---- start */

static void
fill_resources(struct spawn *s)
{
	if (s->process == PROC_ROLED) {
		s->fd[FD_STATE] = sup.state_fd;
		s->fd[FD_LEDGER] = sup.ledger_fd;
		s->fd[FD_ADMIN] = sup.admin_fd;
	} else if (s->process == PROC_KEYD) {
		s->fd[FD_KEY_STATUS] = sup.key_status_fd;
		s->fd[FD_KEY_DATA] = sup.key_data_fd;
	}
	/* the offset is shared with the generation before */
	for (int i = FD_RESOURCE; i < FD_FIRST_FREE; i++) {
		if (s->fd[i] >= 0)
			(void)lseek(s->fd[i], 0, SEEK_SET);
	}
}

/* It could not even be forked: like an end at once. */
static void on_retry(uv_timer_t *timer);
static void
start_later(struct proc *p, int64_t up_ms)
{
	uint32_t wait_ms = backoff_next(&p->backoff, up_ms);

	set_state(p, PROCESS_BACKOFF);
	uv_timer_start(&p->retry, on_retry, wait_ms, 0);
}

static void
proc_start(struct proc *p)
{
	struct spawn s;
	int control[2], log_fd = -1;

	spawn_init(&s, p->process);
	s.generation = ++p->generation;
	s.uid = sup.uid[p->process];
	s.gid = sup.gid[p->process];
	s.realtime = sup.conf.general.realtime;
	s.root_fd = sup.empty_fd;
	s.fd[FD_NULL] = sup.null_fd;
	if (p->process == PROC_ROLED && p->generation > 1)
		files_renew_admin(&sup.conf);
	fill_resources(&s);
	p->pid = -1;
	if (channels_connect(&s) == 0 && channel_pair(control) == 0) {
		s.fd[FD_CONTROL] = control[1];
		p->pid = spawn_process(&s, &log_fd);
		close(control[1]);
		if (p->pid < 0)
			close(control[0]);
	}
	channels_release(&s);
	if (p->pid < 0) {
		start_later(p, 0);
		return;
	}
	p->step = STEP_SPAWNED;
	p->started_ms = now_ms();
	p->deadline_ms = p->started_ms + READY_MS;
	p->up_ms = 0;
	p->asked = 0;
	memset(p->cookie, 0, sizeof(p->cookie));
	p->stop_sent = 0;
	p->layers = 0;
	p->killed_for = NULL;
	bucket_init(&p->messages, MESSAGE_BURST, MESSAGE_RATE, now_ms());
	channel_init(&p->control, control[0], PROC_SUPERVISOR, p->process, on_message, p);
	loop_attach_channel(sup.loop, &p->control, on_closed);
	log_pipe_open(&p->log, sup.loop, log_fd, p->process, p->pid);
	set_state(p, PROCESS_STARTING);
}

static void
on_retry(uv_timer_t *timer)
{
	struct proc *p = timer->data;

	if (stop_phase == STOP_NONE && p->pid <= 0)
		proc_start(p);
}

/* ---- end */

/* One line: which process, why, what follows. */
static void
log_end(const struct proc *p, int status, uint32_t wait_ms)
{
	char cause[160], text[128];

	exit_describe(status, text, sizeof(text));
	/* it may have ended by itself in the moment before: then that is the cause */
	if (p->killed_for != NULL && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		snprintf(cause, sizeof(cause), "was killed because %s", p->killed_for);
	else
		snprintf(cause, sizeof(cause), "ended: %s", text);
	if (stop_phase != STOP_NONE)
		log_info("%s[%d] %s", process_name(p->process), (int)p->pid, cause);
	else
		log_error("%s[%d] %s; starting it again in %u ms (restart %u, offence %u)",
		    process_name(p->process), (int)p->pid, cause, wait_ms, p->restarts,
		    p->offences);
}

/* The kernel's record of a kill comes a little after the end: who waits for one. */
static struct killed {
	uv_timer_t timer;
	enum process process;
	pid_t pid;
	int tries;
} killed[N_CHILDREN];

static void
on_kill_record(uv_timer_t *timer)
{
	struct killed *k = timer->data;
	char text[96];

	if (sandbox_killrecord(k->pid, text, sizeof(text)) != NULL)
		log_error("%s[%d] was killed for %s", process_name(k->process), (int)k->pid, text);
	else if (++k->tries < KILL_RECORD_TRIES)
		return;
	uv_timer_stop(timer);
}

/* Name the call that a process was killed for, in a line of its own. */
static void
log_kill_record(const struct proc *p, int status)
{
	struct killed *k = &killed[p - procs];

	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
		return;
	k->process = p->process;
	k->pid = p->pid;
	k->tries = 0;
	uv_timer_start(&k->timer, on_kill_record, KILL_RECORD_MS, KILL_RECORD_MS);
}

/* A first start that no restart can cure. */
static int
can_never_work(const struct proc *p, int status)
{
	return p->generation == 1 && p->step == STEP_SPAWNED && WIFEXITED(status) &&
	       (WEXITSTATUS(status) == EXIT_SANDBOX || WEXITSTATUS(status) == EXIT_USAGE);
}

static void
proc_ended(struct proc *p, int status)
{
	int64_t up_ms = p->up_ms > 0 ? now_ms() - p->up_ms : 0;
	int never = can_never_work(p, status);

	loop_detach_channel(&p->control);
	channel_close(&p->control);
	log_pipe_close(&p->log);
	p->last_status = status;
	p->deadline_ms = 0;
	if (stop_phase != STOP_NONE) {
		if (p->killed_for != NULL || status != 0)
			log_end(p, status, 0);
		p->pid = -1;
		p->step = STEP_NONE;
		p->state = PROCESS_DOWN;
		processes_stop_continue();
		return;
	}
	p->restarts++;
	start_later(p, up_ms);
	if (!never)
		log_end(p, status, p->backoff.wait_ms);
	log_kill_record(p, status);
	p->pid = -1;
	p->step = STEP_NONE;
	channels_drop(p->process);
	if (p->process == PROC_NETD)
		sockets_renew_listeners();
	if (p->process == PROC_ICMPD)
		sockets_reset_targets();
	if (never) {
		log_error("%s cannot run here (its reason is in the line above); giving up",
		    process_name(p->process));
		supervisor_give_up(EXIT_SANDBOX);
		return;
	}
	reload_child_died(p->process);
	reload_poke();
}

void
processes_reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (config_reaped(pid, status))
			continue;
		if (pid == runner_pid) {
			actions_runner_ended(status);
			continue;
		}
		for (int i = 0; i < N_CHILDREN; i++) {
			if (procs[i].pid == pid)
				proc_ended(&procs[i], status);
		}
	}
}

/* ---- watching */

static void
send_ping(struct proc *p)
{
	static struct msg m;

	uint64_t *cookie = &p->cookie[p->next_cookie++ % COOKIES];

	if (getrandom(cookie, sizeof(*cookie), GRND_NONBLOCK) != sizeof(*cookie))
		*cookie = (uint64_t)now_ms();
	*cookie |= 1; /* never 0 */
	msg_begin(&m, MSG_PING);
	msg_put_u64(&m, *cookie);
	channel_permit(&p->control, MSG_PONG);
	proc_send(p, &m);
}

static void
watch(struct proc *p, int64_t now, int stalled)
{
	if (p->pid <= 0)
		return;
	if (stalled) {
		/* we did not read: their silence is ours */
		p->heard_ms = now;
		if (p->deadline_ms > 0)
			p->deadline_ms = now + READY_MS;
	}
	if (p->deadline_ms > 0 && now >= p->deadline_ms)
		proc_kill(p, p->step == STEP_SPAWNED ? "it was not ready in time"
						     : "it did not answer its first config");
	realtime_watch(p);
	if (p->step != STEP_UP)
		return;
	if (now - p->heard_ms >= SILENT_MS) {
		proc_kill(p, "it was silent");
		return;
	}
	send_ping(p);
}

static void
on_tick(uv_timer_t *timer)
{
	int64_t now = now_ms();
	int stalled = now - last_tick_ms > STALL_MS;

	(void)timer;
	if (stalled)
		log_warn("stood still for %lld ms", (long long)(now - last_tick_ms));
	last_tick_ms = now;
	for (int i = 0; i < N_CHILDREN; i++)
		watch(&procs[i], now, stalled);
	actions_watch_runner(now, stalled);
	if (stop_phase == STOP_NONE)
		sockets_retry_targets();
}

void
processes_start(void)
{
	for (int i = 0; i < N_CHILDREN; i++) {
		struct proc *p = &procs[i];

		p->process = children[i];
		p->pid = -1;
		p->control.fd = -1;
		p->log.fd = -1;
		uv_timer_init(sup.loop, &p->retry);
		p->retry.data = p;
		uv_timer_init(sup.loop, &killed[i].timer);
		killed[i].timer.data = &killed[i];
	}
	last_tick_ms = now_ms();
	uv_timer_init(sup.loop, &tick_timer);
	uv_timer_start(&tick_timer, on_tick, TICK_MS, TICK_MS);
	uv_timer_init(sup.loop, &stop_timer);
	for (int i = 0; i < N_CHILDREN; i++)
		proc_start(&procs[i]);
}

/* ---- ordered stop */

static void
send_stop(struct proc *p, int64_t ms)
{
	static struct msg m;

	if (p->pid <= 0 || p->stop_sent)
		return;
	p->stop_sent = 1;
	if (p->step != STEP_UP) { /* it has nothing to put in order */
		proc_kill(p, NULL);
		return;
	}
	msg_begin(&m, MSG_STOP);
	msg_put_u32(&m, (uint32_t)ms);
	if (p->process ==
	    PROC_ROLED) /* the others may have messages under way that S_STOP forbids */
		p->control.state = S_STOP;
	proc_send(p, &m);
}

static void
on_stop_timeout(uv_timer_t *timer)
{
	(void)timer;
	if (stop_phase == STOP_ROLED) {
		log_warn("roled did not finish in time; stopping without a hand-over");
		proc_kill(proc_of(PROC_ROLED), "it did not stop in time");
		stop_phase = STOP_REST;
		processes_stop_continue();
		return;
	}
	for (int i = 0; i < N_CHILDREN; i++)
		proc_kill(&procs[i], "it did not stop in time");
}

void
processes_stop_continue(void)
{
	int left = 0;

	if (stop_phase == STOP_NONE)
		return;
	if (stop_phase == STOP_ROLED) {
		if (proc_of(PROC_ROLED)->pid > 0)
			return;
		stop_phase = STOP_REST;
	}
	for (int i = 0; i < N_CHILDREN; i++) {
		if (procs[i].pid > 0)
			left++;
	}
	if (left == 0) {
		/* hooks of the last minute; each has its own deadline */
		if (stop_phase == STOP_REST && actions_busy())
			return;
		supervisor_end(sup.exit_code);
		return;
	}
	if (stop_phase != STOP_REST || stop_deadline_ms != 0)
		return;
	stop_deadline_ms = now_ms() + STOP_CHILD_MS;
	uv_timer_start(&stop_timer, on_stop_timeout, STOP_CHILD_MS, 0);
	for (int i = 0; i < N_CHILDREN; i++)
		send_stop(&procs[i], STOP_CHILD_MS);
}

void
processes_stop(int exit_code)
{
	struct proc *roled = proc_of(PROC_ROLED);
	const struct conf_hook *hook = sup.conf.hook;
	int64_t ms = sup.conf.general.handover_timeout_ms;
	int64_t limit_ms = ms + STOP_MARGIN_MS;

	if (stop_phase != STOP_NONE)
		return;
	sup.exit_code = exit_code;
	sup.stopping = 1;
	reload_cancel(); /* before STOP: behind it a child takes no decision on a config */
	stop_phase = STOP_ROLED;
	for (int i = 0; i < N_CHILDREN; i++)
		uv_timer_stop(&procs[i].retry);
	if (roled->pid > 0) {
		if (hook[HOOK_STANDBY].command[0] != '\0')
			limit_ms += hook[HOOK_STANDBY].timeout_ms;
		if (hook[HOOK_STOP].command[0] != '\0')
			limit_ms += hook[HOOK_STOP].timeout_ms;
		send_stop(roled, ms);
		uv_timer_start(&stop_timer, on_stop_timeout, (uint64_t)limit_ms, 0);
	}
	processes_stop_continue();
}

void
processes_stop_now(int exit_code)
{
	stop_phase = STOP_KILLED;
	sup.exit_code = exit_code;
	sup.stopping = 1;
	for (int i = 0; i < N_CHILDREN; i++)
		proc_kill(&procs[i], NULL);
	processes_stop_continue();
}

void
processes_dump(void)
{
	static const char *const states[PROCESS_STATE_MAX] = {"down", "starting", "up", "back-off"};
	static struct msg m;

	for (int i = 0; i < N_CHILDREN; i++) {
		const struct proc *p = &procs[i];

		log_info(
		    "%s: %s, pid %d, uid %u, generation %u, restarts %u, offences %u, layers "
		    "%#x, queued %zu, "
		    "received %llu, sent %llu",
		    process_name(p->process), states[p->state], (int)p->pid,
		    (unsigned)sup.uid[p->process], p->generation, p->restarts, p->offences, p->layers,
		    p->control.queued, (unsigned long long)p->control.received,
		    (unsigned long long)p->control.sent);
		msg_begin(&m, MSG_DUMP);
		proc_send(&procs[i], &m);
	}
}
