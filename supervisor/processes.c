/* SPDX-License-Identifier: ISC */
/*
 * The process table: start, READY, config, PING, end, restart with back-off, ordered stop.
 */
#include "config.h"

#include "../lib/admin.h"
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

const enum process children[N_CHILDREN] = {
    PROC_NETD, PROC_ICMPD, PROC_ROLED, PROC_KEYD, PROC_SYNCD};

static struct proc procs[N_CHILDREN];
/* What each process has done since the start of the supervisor. */
static struct record {
	uint32_t offences[OFFENCE_MAX];
	enum offence last;
	int64_t last_ms;
	uint32_t accused, accuses;
} records[PROC_MAX];
static struct disputes disputes;
static uint8_t runner_digest[16];
static int64_t config_ms; /* the config in force is that since then */
static uv_timer_t tick_timer;
static int64_t last_tick_ms;

/* Ordered stop: first roled, then all others, then nobody is left. */
enum stop_phase { STOP_NONE, STOP_ROLED, STOP_REST, STOP_KILLED };
static enum stop_phase stop_phase;
static int64_t stop_deadline_ms;
static uv_timer_t stop_timer;

static void proc_start(struct proc *p);
static void on_lingers(uv_timer_t *timer);
static void report_others(void);

struct proc *
proc_of(enum process process)
{
	for (int i = 0; i < N_CHILDREN; i++) {
		if (procs[i].process == process)
			return &procs[i];
	}
	return NULL;
}

/* How often that process was killed, or ended, for what it did. */
static unsigned
process_offences(enum process process)
{
	unsigned sum = 0;

	for (unsigned i = 1; i < OFFENCE_MAX; i++)
		sum += records[process].offences[i];
	return sum;
}

unsigned
process_offended(enum process process, enum offence offence)
{
	struct record *r = &records[process];

	r->offences[offence]++;
	r->last = offence;
	r->last_ms = now_ms();
	if (process == PROC_PARSER || process == PROC_RUNNER)
		report_others(); /* of a child it is told with its end */
	return process_offences(process);
}

/* OFFENCE_NONE: for nothing that it did. */
static void
proc_kill(struct proc *p, enum offence why)
{
	if (p->pid <= 0)
		return;
	if (p->killed_for == OFFENCE_NONE && why != OFFENCE_NONE) {
		p->killed_for = why;
		if (!sup.stopping)
			process_offended(p->process, why);
	}
	kill(p->pid, SIGKILL);
}

void
proc_send(struct proc *p, struct msg *m)
{
	if (p->control.fd < 0)
		return;
	if (channel_send(&p->control, m) != 0)
		proc_kill(p, p->control.violation == V_QUEUE ? OFFENCE_DEAF : OFFENCE_BROKEN);
}

/* ---- what roled is told */

/* Is that what it must have? Nothing is known of one that has not said it yet. */
static enum process_config
judge_config(enum process process, const uint8_t digest[16])
{
	static const uint8_t none[16];
	uint8_t wanted[16];

	if (memcmp(digest, none, sizeof(none)) == 0)
		return CONFIG_UNKNOWN;
	conf_digest_values(&sup.conf, process, wanted);
	if (memcmp(digest, wanted, sizeof(wanted)) == 0)
		return CONFIG_CURRENT;
	/* what it said may have been under way when it was told to change */
	return now_ms() - config_ms < SILENT_MS ? CONFIG_UNKNOWN : CONFIG_OTHER;
}

/* Times go as they are; roled makes ages of them. */
static void
send_state(struct ctl_process *s)
{
	static struct msg m;
	struct proc *roled = proc_of(PROC_ROLED);
	const struct record *r = &records[s->process];

	if (roled == NULL || roled->step != STEP_UP) /* a parser runs before all others */
		return;
	s->accused = r->accused;
	s->accuses = r->accuses;
	memcpy(s->offences, r->offences, sizeof(s->offences));
	s->last_offence = (uint8_t)r->last;
	s->offence_age_ms = r->last_ms;
	msg_begin(&m, MSG_PROCESS_STATE);
	ctl_put_process(&m, s);
	proc_send(roled, &m);
}

/* One child, to roled. */
static void
processes_report(struct proc *p)
{
	struct ctl_process s = {
	    .process = (uint8_t)p->process,
	    .state = (uint8_t)p->state,
	    .layers = p->layers,
	    .pid = p->pid > 0 ? (uint32_t)p->pid : 0,
	    .restarts = p->restarts,
	    .last_status = (uint32_t)p->last_status,
	    .backoff_ms = p->state == PROCESS_BACKOFF ? p->backoff.wait_ms : 0,
	    .age_ms = p->since_ms,
	    .config = p->config,
	};

	memcpy(s.digest, p->digest, sizeof(s.digest));
	send_state(&s);
}

/* Those that are not restarted: supervisor, runner, and the parser once it has offended. */
static void
report_others(void)
{
	struct ctl_process s = {.process = PROC_SUPERVISOR,
	    .state = PROCESS_UP,
	    .layers = sandbox_reports() ? LAYER_REPORTS : LAYER_SECCOMP,
	    .pid = (uint32_t)getpid(),
	    .age_ms = sup.started_ms,
	    .config = CONFIG_CURRENT};
	struct ctl_process runner = {.process = PROC_RUNNER,
	    .state = runner_pid > 0 ? PROCESS_UP : PROCESS_DOWN,
	    .pid = runner_pid > 0 ? (uint32_t)runner_pid : 0,
	    .age_ms = sup.started_ms,
	    .config = (uint8_t)judge_config(PROC_RUNNER, runner_digest)};
	struct ctl_process parser = {
	    .process = PROC_PARSER, .age_ms = records[PROC_PARSER].last_ms};

	conf_digest_values(&sup.conf, PROC_SUPERVISOR, s.digest);
	memcpy(runner.digest, runner_digest, sizeof(runner.digest));
	send_state(&s);
	send_state(&runner);
	if (process_offences(PROC_PARSER) > 0)
		send_state(&parser);
}

/* A roled that starts knows nothing yet. */
static void
processes_report_all(void)
{
	report_others();
	for (int i = 0; i < N_CHILDREN; i++)
		processes_report(&procs[i]);
}

void
processes_forget_configs(void)
{
	config_ms = now_ms();
	for (int i = 0; i < N_CHILDREN; i++) {
		procs[i].config = CONFIG_UNKNOWN;
		memset(procs[i].digest, 0, sizeof(procs[i].digest));
		processes_report(&procs[i]);
	}
	memset(runner_digest, 0, sizeof(runner_digest));
	report_others();
}

void
processes_runner_config(const uint8_t digest[16])
{
	if (memcmp(runner_digest, digest, sizeof(runner_digest)) == 0)
		return;
	memcpy(runner_digest, digest, sizeof(runner_digest));
	report_others();
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
		proc_kill(p, OFFENCE_DEAF);
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
	p->deadline_ms = now_ms() + (p->process == PROC_SYNCD ? CONFIGURE_DISK_MS : CONFIGURE_MS);
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
	    [REFUSE_DATA] = "the data in the state directory cannot be opened, logged before",
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
	proc_kill(p, OFFENCE_REFUSED);
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
	/*
	 * they come in the order of the questions, and all but the last one were taken back (ABORT)
	 */
	if (p->asked > 0)
		return 0;
	if (p->step == STEP_PREPARING && serial == reload_serial())
		on_start_answer(p, reason);
	else if (p->step == STEP_UP)
		reload_answer(p->process, serial, reason, index);
	return 0;
}

/* With each PONG: roled is told when it has changed, or the config in force has. */
static void
note_config(struct proc *p, const uint8_t digest[16])
{
	enum process_config config = judge_config(p->process, digest);

	if (p->config == config && memcmp(p->digest, digest, sizeof(p->digest)) == 0)
		return;
	p->config = (uint8_t)config;
	memcpy(p->digest, digest, sizeof(p->digest));
	processes_report(p);
}

static int
on_pong(struct proc *p, struct msg *m)
{
	uint64_t cookie = msg_get_u64(m);
	uint8_t digest[16];

	msg_get_bytes(m, digest, sizeof(digest));
	if (msg_end(m) != 0 || cookie == 0)
		return -1;
	for (unsigned i = 0; i < COOKIES; i++) {
		if (p->cookie[i] == cookie) {
			p->cookie[i] = 0; /* once each: it has to read our PINGs to answer them */
			p->heard_ms = now_ms();
			note_config(p, digest);
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

/* Has it lived for so long that whoever misses its channel must have been given the end? */
static int
has_lingered(enum process process, int64_t now)
{
	const struct proc *p = proc_of(process);

	return p->pid > 0 && now - p->started_ms >= EDGE_LOST_MS;
}

/* What the complaint is worth; see dispute.h. Who complains without end is counted, not logged. */
static void
settle(enum dispute_verdict verdict, struct proc *accuser, struct proc *accused)
{
	if (verdict == DISPUTE_ACCUSED)
		proc_kill(accused, OFFENCE_PROTOCOL);
	else if (verdict == DISPUTE_ACCUSER)
		proc_kill(accuser, OFFENCE_ACCUSES);
	else if (verdict == DISPUTE_RENEW &&
		 channels_renew(accuser->process, accused->process) != 0)
		proc_kill(accuser, OFFENCE_BROKEN);
	processes_report(accused);
	processes_report(accuser);
}

/* A child refused what a peer sent and has cut it off. That is its word, and no more. */
static int
on_peer_broken(struct proc *p, struct msg *m)
{
	static const char *const outcome[] = {
	    [DISPUTE_RENEW] = "both get a new channel",
	    [DISPUTE_ACCUSED] = "it is killed",
	    [DISPUTE_ACCUSER] = "the one that says so is killed",
	};
	unsigned accused = msg_get_u8(m), violation = msg_get_u8(m);
	enum dispute_verdict verdict;
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
	if (proc_of((enum process)accused)->killed_for != OFFENCE_NONE)
		return 0; /* it is condemned already: once is enough, in the log too */
	if (violation == V_CLOSED && !has_lingered((enum process)accused, now))
		return 0; /* it has ended, and its successor's end is under way */
	verdict = dispute_weigh(&disputes, p->process, (enum process)accused, now);
	if (verdict == DISPUTE_IGNORE)
		return 0;
	records[accused].accused++;
	records[p->process].accuses++;
	log_error("%s broke the protocol towards %s with %s (%s): %s; %s",
	    process_name((enum process)accused), process_name(p->process),
	    n > 0 ? first_type(bytes, n) : "its channel",
	    violation_name((enum channel_violation)violation), log_hex(hex, bytes, n),
	    outcome[verdict]);
	settle(verdict, p, proc_of((enum process)accused));
	return 0;
}

static int
on_message(struct channel *c, struct msg *m)
{
	struct proc *p = c->user;

	if (p->killed_for != OFFENCE_NONE)
		return 0; /* it is condemned: its last words accuse and ask in vain */
	/* each costs root some time, and no child has a need for so many */
	if (!bucket_take(&p->messages, now_ms())) {
		proc_kill(p, OFFENCE_FLOOD);
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
		proc_kill(p, OFFENCE_DEAF);
	} else if (c->violation != V_NONE && p->killed_for == OFFENCE_NONE) {
		log_error("%s broke the protocol with %s (%s): %s", process_name(p->process),
		    first_type(c->violation_bytes, c->violation_len), violation_name(c->violation),
		    log_hex(hex, c->violation_bytes, c->violation_len));
		proc_kill(p, OFFENCE_PROTOCOL);
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
	proc_kill(timer->data, sup.stopping ? OFFENCE_NONE : OFFENCE_CLOSED);
}

static void
on_log_flood(enum process process)
{
	proc_kill(proc_of(process), OFFENCE_LOG);
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
	} else if (s->process == PROC_SYNCD) {
		s->fd[FD_LOCAL] = sup.data_fd;
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
	s.root_fd = p->process == PROC_SYNCD ? sup.store_fd : sup.empty_fd;
	s.fd[FD_NULL] = sup.null_fd;
	if ((p->process == PROC_ROLED || p->process == PROC_SYNCD) && p->generation > 1)
		files_renew_socket(p->process, &sup.conf);
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
	memset(p->digest, 0, sizeof(p->digest));
	p->config = CONFIG_UNKNOWN;
	p->stop_sent = 0;
	p->layers = 0;
	p->killed_for = OFFENCE_NONE;
	bucket_init(&p->messages, MESSAGE_BURST, MESSAGE_RATE, now_ms());
	channel_init(&p->control, control[0], PROC_SUPERVISOR, p->process, on_message, p);
	loop_attach_channel(sup.loop, &p->control, on_closed);
	log_pipe_open(&p->log, sup.loop, log_fd, p->process, p->pid, on_log_flood);
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
	if (p->killed_for != OFFENCE_NONE && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		snprintf(
		    cause, sizeof(cause), "was killed because %s", offence_text(p->killed_for));
	else
		snprintf(cause, sizeof(cause), "ended: %s", text);
	if (stop_phase != STOP_NONE)
		log_info("%s[%d] %s", process_name(p->process), (int)p->pid, cause);
	else
		log_error("%s[%d] %s; starting it again in %u ms (restart %u, offence %u)",
		    process_name(p->process), (int)p->pid, cause, wait_ms, p->restarts,
		    process_offences(p->process));
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

/*
 * How long it worked, in milliseconds. One that was killed for its silence did until it was last
 * heard.
 */
static int64_t
lived_ms(const struct proc *p)
{
	if (p->up_ms == 0)
		return 0;
	return (p->killed_for == OFFENCE_SILENT ? p->heard_ms : now_ms()) - p->up_ms;
}

static void
proc_ended(struct proc *p, int status)
{
	int64_t worked_ms = lived_ms(p);
	int never = can_never_work(p, status);

	loop_detach_channel(&p->control);
	channel_close(&p->control);
	log_pipe_close(&p->log);
	p->last_status = status;
	p->deadline_ms = 0;
	if (stop_phase != STOP_NONE) {
		if (p->killed_for != OFFENCE_NONE || status != 0)
			log_end(p, status, 0);
		p->pid = -1;
		p->step = STEP_NONE;
		p->state = PROCESS_DOWN;
		processes_stop_continue();
		return;
	}
	p->restarts++;
	start_later(p, worked_ms);
	if (!never)
		log_end(p, status, p->backoff.wait_ms);
	log_kill_record(p, status);
	p->pid = -1;
	p->step = STEP_NONE;
	channels_drop(p->process);
	dispute_forget(&disputes, p->process);
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

	uint64_t *cookie = &p->cookie[p->next_cookie % COOKIES];

	if (*cookie != 0)
		return; /* it has enough to answer, and what it will answer must still be known */
	p->next_cookie++;
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
		proc_kill(p, p->step == STEP_SPAWNED ? OFFENCE_NOT_READY : OFFENCE_NO_ANSWER);
	realtime_watch(p);
	if (p->step != STEP_UP)
		return;
	if (now - p->heard_ms >= (p->process == PROC_SYNCD ? SILENT_DISK_MS : SILENT_MS)) {
		proc_kill(p, OFFENCE_SILENT);
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
		proc_kill(p, OFFENCE_NONE);
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
		proc_kill(proc_of(PROC_ROLED), OFFENCE_NO_STOP);
		stop_phase = STOP_REST;
		processes_stop_continue();
		return;
	}
	for (int i = 0; i < N_CHILDREN; i++)
		proc_kill(&procs[i], OFFENCE_NO_STOP);
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
		proc_kill(&procs[i], OFFENCE_NONE);
	processes_stop_continue();
}

void
processes_dump(void)
{
	static const char *const states[PROCESS_STATE_MAX] = {"down", "starting", "up", "back-off"};
	static struct msg m;

	for (int i = 0; i < N_CHILDREN; i++) {
		const struct proc *p = &procs[i];

		log_info("%s: %s, pid %d, uid %u, generation %u, restarts %u, offences %u, layers "
			 "%#x, queued %zu, "
			 "received %llu, sent %llu",
		    process_name(p->process), states[p->state], (int)p->pid,
		    (unsigned)sup.uid[p->process], p->generation, p->restarts,
		    process_offences(p->process), p->layers, p->control.queued,
		    (unsigned long long)p->control.received, (unsigned long long)p->control.sent);
		msg_begin(&m, MSG_DUMP);
		proc_send(&procs[i], &m);
	}
}
