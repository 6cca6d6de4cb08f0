/* SPDX-License-Identifier: ISC */
/*
 * The runner: executes hooks in strict order (alarms beside them) and health checks, each as its
 * own user in a process group of its own. It is root with all capabilities, because a hook may
 * be: it listens to the supervisor only, and knows commands from the config only. No libuv: it
 * lives across a fork of the supervisor, and poll(2) is all it needs.
 *
 * It is forked early and has no filter. It ends with the supervisor and takes what it runs along.
 */
#include "config.h"

#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hook_env.h"

enum {
	QUEUE = 64,
	LINGER = 8,  /* outputs of ended hooks that a grandchild holds open */
	LINES = 200, /* of one run; then the rest is dropped */
	LINE_SIZE = 512,
	TERM_MS = 2000, /* from SIGTERM to SIGKILL */
	GROUPS = 64,
	CODE_TIMEOUT = 124, /* of a check, as timeout(1) */
	CODE_NO_EXEC = 127,
	FIXED_POLLS = 2,
};

/* Output of a command, on its way into the log. */
struct output {
	int fd; /* -1: none */
	char label[CONF_NAME + 16];
	unsigned lines;
	size_t len;
	char line[LINE_SIZE];
};

/* A command that runs. */
struct command {
	pid_t pid;			 /* and process group; -1: none */
	int error_fd;			 /* gets errno when exec fails */
	int64_t started_ms, deadline_ms; /* deadline: of the present stage */
	enum { STAGE_RUNNING, STAGE_TERM, STAGE_KILL } stage;
	struct output out;
};

/* Who a command runs as, looked up when the config came. */
struct identity {
	uid_t uid;
	gid_t gid;
	int n_groups;
	gid_t groups[GROUPS];
};

/* What became of a command. */
struct outcome {
	enum action_result result;
	uint32_t code;
	uint32_t duration_ms;
};

static struct channel channel;
static int signal_fd, null_fd;
static struct conf conf, incoming;
static int incoming_begun, conf_known;
static struct identity hook_identity[HOOK_MAX], check_identity[CONF_CHECKS];

/*
 * Hooks of one lane run in strict order. Alarms have a lane of their own: a hook for becoming main
 * must not wait for an alarm that sends mail.
 */
enum { LANE_ROLE, LANE_ALARM, LANES };
static struct lane {
	struct hook_run queue[QUEUE];
	unsigned head, len;
	struct command command;
} lanes[LANES] = {
    {.command = {.pid = -1, .error_fd = -1, .out.fd = -1}},
    {.command = {.pid = -1, .error_fd = -1, .out.fd = -1}},
};

static struct {
	struct command command;
	struct health health;
	int64_t next_ms;
} checks[CONF_CHECKS];

static struct output lingering[LINGER];
static unsigned linger_next;

/* ---- output */

static void
output_line(struct output *o)
{
	char vis[2 * LINE_SIZE];

	if (o->lines == LINES)
		log_warn("%s: more than %d lines, the rest is dropped", o->label, LINES);
	if (o->lines++ < LINES)
		log_info("%s: %s", o->label, log_vis(vis, sizeof(vis), o->line, o->len));
	o->len = 0;
}

static void
output_close(struct output *o)
{
	if (o->fd < 0)
		return;
	if (o->len > 0)
		output_line(o);
	close(o->fd);
	o->fd = -1;
}

/* Read what is there; closes at the end of file. */
static void
output_read(struct output *o)
{
	char bytes[1024];

	for (int i = 0; i < 16 && o->fd >= 0; i++) {
		ssize_t n = read(o->fd, bytes, sizeof(bytes));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			output_close(o);
			return;
		}
		for (ssize_t k = 0; k < n; k++) {
			if (bytes[k] != '\n')
				o->line[o->len++] = bytes[k];
			if (bytes[k] == '\n' || o->len == sizeof(o->line))
				output_line(o);
		}
	}
}

/* The command has ended, but somebody that it started may still write. */
static void
output_linger(struct output *o)
{
	struct output *l = &lingering[linger_next];

	output_read(o);
	if (o->fd < 0)
		return;
	linger_next = (linger_next + 1) % LINGER;
	output_close(l);
	*l = *o;
	o->fd = -1;
}

/* ---- starting a command */

static void
identity_find(struct identity *id, uint32_t uid, uint32_t gid)
{
	const struct passwd *pw = getpwuid(uid);

	id->uid = uid;
	id->gid = gid;
	id->n_groups = GROUPS;
	if (pw == NULL || getgrouplist(pw->pw_name, gid, id->groups, &id->n_groups) < 0) {
		id->n_groups = 1;
		id->groups[0] = gid;
	}
}

/* In the child: become the user, leave everything of ours behind, exec. */
static _Noreturn void
command_child(const struct identity *id, char **argv, char **envp, int out_fd, int error_fd)
{
	struct sigaction sa;
	sigset_t none;
	int error;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = SIG_DFL;
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &sa, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(022);
	if (setsid() < 0 || dup2(null_fd, 0) < 0 || dup2(out_fd, 1) < 0 || dup2(out_fd, 2) < 0 ||
	    dup2(error_fd, 3) < 0 || fcntl(3, F_SETFD, FD_CLOEXEC) != 0 ||
	    syscall(SYS_close_range, 4U, ~0U, 0U) != 0)
		_exit(CODE_NO_EXEC);
	if (setgroups((size_t)id->n_groups, id->groups) != 0 ||
	    setresgid(id->gid, id->gid, id->gid) != 0 ||
	    setresuid(id->uid, id->uid, id->uid) != 0 || chdir("/") != 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		goto fail;
	execve(argv[0], argv, envp);
fail:
	error = errno;
	if (write(3, &error, sizeof(error)) < 0)
		_exit(CODE_NO_EXEC);
	_exit(CODE_NO_EXEC);
}

/* Returns 0, or an errno value. */
static int
command_start(struct command *c, const struct identity *id, struct hook_args *args,
    struct hook_env *env, int64_t timeout_ms)
{
	int out[2], error[2], e;

	if (pipe2(out, O_CLOEXEC) != 0)
		return errno;
	if (pipe2(error, O_CLOEXEC) != 0) {
		e = errno;
		close(out[0]);
		close(out[1]);
		return e;
	}
	c->started_ms = now_ms();
	c->pid = fork();
	e = errno;
	if (c->pid == 0)
		command_child(id, args->entry, env->entry, out[1], error[1]);
	close(out[1]);
	close(error[1]);
	if (c->pid < 0) {
		close(out[0]);
		close(error[0]);
		return e;
	}
	/* our ends only: the command writes as it is used to */
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(error[0], F_SETFL, O_NONBLOCK);
	c->error_fd = error[0];
	c->out.fd = out[0];
	c->out.lines = 0;
	c->out.len = 0;
	c->stage = STAGE_RUNNING;
	c->deadline_ms = c->started_ms + timeout_ms;
	return 0;
}

/* The process group, while its leader is not reaped and the number cannot be another's. */
static void
command_signal(const struct command *c, int sig)
{
	if (kill(-c->pid, sig) != 0)
		kill(c->pid, sig); /* it has not called setsid yet */
}

static void
command_expire(struct command *c, int64_t now)
{
	if (c->pid <= 0 || now < c->deadline_ms)
		return;
	if (c->stage == STAGE_RUNNING) {
		log_warn("%s: not done in time, terminating it", c->out.label);
		command_signal(c, SIGTERM);
		c->stage = STAGE_TERM;
		c->deadline_ms = now + TERM_MS;
	} else {
		command_signal(c, SIGKILL);
		c->stage = STAGE_KILL;
		c->deadline_ms = now + TERM_MS;
	}
}

/*
 * The leader has ended (not reaped yet): reap it, and its group when it was killed for its
 * deadline.
 */
static void
command_end(struct command *c, struct outcome *o)
{
	int status = 0, error = 0;

	if (c->stage != STAGE_RUNNING)
		kill(-c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	o->duration_ms = (uint32_t)(now_ms() - c->started_ms);
	if (read(c->error_fd, &error, sizeof(error)) == (ssize_t)sizeof(error)) {
		o->result = RESULT_FAILED;
		o->code = (uint32_t)error;
	} else if (c->stage != STAGE_RUNNING) {
		o->result = RESULT_TIMEOUT;
		o->code = 0;
	} else if (WIFSIGNALED(status)) {
		o->result = RESULT_SIGNAL;
		o->code = (uint32_t)WTERMSIG(status);
	} else {
		o->code = (uint32_t)WEXITSTATUS(status);
		o->result = o->code == 0 ? RESULT_OK : RESULT_EXIT;
	}
	close(c->error_fd);
	c->error_fd = -1;
	c->pid = -1;
	output_linger(&c->out);
}

/* ---- hooks */

static void
hook_answer(uint64_t event, const struct outcome *o)
{
	static struct msg m;

	msg_begin(&m, MSG_RUN_RESULT);
	msg_put_u64(&m, event);
	msg_put_u8(&m, (uint8_t)o->result);
	msg_put_u32(&m, o->code);
	msg_put_u32(&m, o->duration_ms);
	if (channel_send(&channel, &m) != 0)
		_exit(EXIT_CHANNEL);
}

static void
hook_log(const char *label, const struct outcome *o)
{
	switch (o->result) {
	case RESULT_OK:
		log_info("%s: done in %u ms", label, o->duration_ms);
		break;
	case RESULT_FAILED:
		log_error("%s: cannot be started: %s", label, strerror((int)o->code));
		break;
	case RESULT_TIMEOUT:
		log_error("%s: killed after %u ms, its time-out", label, o->duration_ms);
		break;
	case RESULT_SIGNAL:
		log_error("%s: ended by signal %u after %u ms", label, o->code, o->duration_ms);
		break;
	default:
		log_error(
		    "%s: failed with exit code %u after %u ms", label, o->code, o->duration_ms);
		break;
	}
}

/* The first hook of the lane is over. */
static void
hook_leave(struct lane *l, const struct outcome *o)
{
	hook_answer(l->queue[l->head].event, o);
	l->head = (l->head + 1) % QUEUE;
	l->len--;
}

/* Start the first hook of the lane. It leaves the queue when it has ended. */
static void
hook_next(struct lane *l)
{
	static struct hook_args args;
	static struct hook_env env;

	while (l->command.pid <= 0 && l->len > 0) {
		const struct hook_run *r = &l->queue[l->head];
		const struct conf_hook *h = &conf.hook[r->kind];
		struct outcome o = {.result = RESULT_NONE};
		int error = EINVAL;

		if (h->command[0] != '\0') {
			snprintf(l->command.out.label, sizeof(l->command.out.label),
			    "hook %s (%sevent %u)", hook_name(r->kind), r->test ? "test, " : "",
			    r->entry);
			if (hook_split(&args, h->command) == 0 &&
			    hook_environment(&env, &conf, r) == 0)
				error = command_start(&l->command, &hook_identity[r->kind], &args,
				    &env, h->timeout_ms);
			if (error == 0)
				return;
			o.result = RESULT_FAILED;
			o.code = (uint32_t)error;
			log_error("%s: cannot be started: %s: %s", l->command.out.label, h->command,
			    strerror(error));
		}
		hook_leave(l, &o);
	}
}

static void
hook_ended(struct lane *l)
{
	struct outcome o;

	command_end(&l->command, &o);
	hook_log(l->command.out.label, &o);
	hook_leave(l, &o);
	hook_next(l);
}

static int
on_run_hook(struct msg *m)
{
	struct hook_run r = {0};
	struct lane *l;

	r.event = msg_get_u64(m);
	r.kind = msg_get_u8(m);
	r.role = msg_get_u8(m);
	r.reason = msg_get_u8(m);
	r.peer = msg_get_u8(m);
	r.test = msg_get_u8(m);
	r.epoch = msg_get_u64(m);
	r.entry = msg_get_u32(m);
	l = &lanes[r.kind == HOOK_ALARM ? LANE_ALARM : LANE_ROLE];
	if (msg_end(m) != 0 || r.kind >= HOOK_MAX || r.role >= HOOK_ROLE_MAX || r.test > 1 ||
	    l->len == QUEUE)
		return -1;
	l->queue[(l->head + l->len++) % QUEUE] = r;
	hook_next(l);
	return 0;
}

/* ---- checks */

static void
check_result(uint8_t index, const struct outcome *o)
{
	static struct msg m;
	const struct conf_check *c = &conf.check[index];
	struct health *h = &checks[index].health;
	uint32_t code = o->code;

	if (o->result == RESULT_TIMEOUT)
		code = CODE_TIMEOUT;
	else if (o->result == RESULT_FAILED)
		code = CODE_NO_EXEC;
	else if (o->result == RESULT_SIGNAL)
		code = 128 + o->code;
	if (health_update(h, o->result == RESULT_OK, c->rise, c->fall)) {
		if (h->healthy)
			log_info("check %s: healthy", c->name);
		else
			log_warn("check %s: failed (code %u)", c->name, code);
	}
	msg_begin(&m, MSG_RUN_CHECK);
	msg_put_u8(&m, index);
	msg_put_u8(&m, h->healthy);
	msg_put_u16(&m, h->in_a_row);
	msg_put_u32(&m, code);
	if (channel_send(&channel, &m) != 0)
		_exit(EXIT_CHANNEL);
}

static void
check_start(uint8_t index)
{
	static struct hook_args args;
	static struct hook_env env;
	const struct conf_check *c = &conf.check[index];
	struct outcome o = {.result = RESULT_FAILED};
	int error = EINVAL;

	snprintf(checks[index].command.out.label, sizeof(checks[index].command.out.label),
	    "check %s", c->name);
	if (hook_split(&args, c->command) == 0 && check_environment(&env, &conf, index) == 0)
		error = command_start(
		    &checks[index].command, &check_identity[index], &args, &env, c->timeout_ms);
	if (error == 0)
		return;
	o.code = (uint32_t)error;
	check_result(index, &o);
}

/* Start what is due. A run that takes longer than the interval delays the next. */
static void
checks_due(int64_t now)
{
	for (uint8_t i = 0; i < conf.general.n_checks; i++) {
		if (checks[i].command.pid > 0 || now < checks[i].next_ms)
			continue;
		checks[i].next_ms = now + conf.check[i].interval_ms;
		check_start(i);
	}
}

/* ---- config */

static void
kill_check(unsigned index)
{
	struct command *c = &checks[index].command;

	if (c->pid <= 0)
		return;
	/* not waited for, it may hang in the kernel: reap() finds it when it is gone */
	command_signal(c, SIGKILL);
	close(c->error_fd);
	output_close(&c->out);
	c->error_fd = -1;
	c->pid = -1;
}

static int
same_check(const struct conf_check *a, const struct conf_check *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->command, b->command) == 0 &&
	       a->uid == b->uid && a->gid == b->gid;
}

/* A check that stays the same keeps its health; runs of the others are forgotten. */
static void
take_config(void)
{
	static struct health kept[CONF_CHECKS];

	memset(kept, 0, sizeof(kept));
	for (unsigned i = 0; i < incoming.general.n_checks; i++) {
		for (unsigned k = 0; k < conf.general.n_checks; k++) {
			if (same_check(&incoming.check[i], &conf.check[k]))
				kept[i] = checks[k].health;
		}
	}
	for (unsigned i = 0; i < CONF_CHECKS; i++) {
		kill_check(i);
		checks[i].health = kept[i];
		checks[i].next_ms = 0;
	}
	conf = incoming;
	conf_known = 1;
	for (unsigned i = 0; i < HOOK_MAX; i++)
		identity_find(&hook_identity[i], conf.hook[i].uid, conf.hook[i].gid);
	for (unsigned i = 0; i < conf.general.n_checks; i++)
		identity_find(&check_identity[i], conf.check[i].uid, conf.check[i].gid);
	incoming_begun = 0;
	if (conf.general.realtime) /* a hook must start at once also on a loaded machine */
		realtime_self();
}

static int
on_ping(struct msg *m)
{
	static struct msg answer;
	uint64_t cookie = msg_get_u64(m);
	uint8_t digest[16] = {0};

	if (msg_end(m) != 0)
		return -1;
	if (conf_known)
		conf_digest_values(&conf, PROC_RUNNER, digest);
	msg_begin(&answer, MSG_RUN_PONG);
	msg_put_u64(&answer, cookie);
	msg_put_bytes(&answer, digest, sizeof(digest));
	return channel_send(&channel, &answer);
}

static int
on_message(struct channel *c, struct msg *m)
{
	(void)c;
	switch (m->type) {
	case MSG_CONF_GENERAL:
	case MSG_CONF_SERVER:
	case MSG_CONF_HOOK:
	case MSG_CONF_CHECK:
		if (!incoming_begun)
			conf_defaults(&incoming);
		incoming_begun = 1;
		return conf_apply(&incoming, m);
	case MSG_RUN_CONFIG:
		if (msg_end(m) != 0 || !incoming_begun)
			return -1;
		take_config();
		return 0;
	case MSG_RUN_HOOK:
		return on_run_hook(m);
	case MSG_RUN_PING:
		return on_ping(m);
	default:
		return -1;
	}
}

/* ---- the process */

/* The supervisor is gone, or says so by closing: nothing that was started may outlive it. */
static _Noreturn void
runner_end(int code)
{
	for (unsigned i = 0; i < LANES; i++) {
		if (lanes[i].command.pid > 0)
			command_signal(&lanes[i].command, SIGKILL);
	}
	for (unsigned i = 0; i < CONF_CHECKS; i++) {
		if (checks[i].command.pid > 0)
			command_signal(&checks[i].command, SIGKILL);
	}
	_exit(code);
}

static void
reap(void)
{
	struct outcome o;
	siginfo_t info;

	for (;;) {
		memset(&info, 0, sizeof(info));
		/* looked at first: a group may only be killed while its leader is not reaped */
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
			return;
		for (unsigned i = 0; i < LANES; i++) {
			if (lanes[i].command.pid == info.si_pid) {
				hook_ended(&lanes[i]);
				info.si_pid = 0;
				break;
			}
		}
		if (info.si_pid == 0)
			continue;
		for (uint8_t i = 0; i < CONF_CHECKS; i++) {
			if (checks[i].command.pid == info.si_pid) {
				command_end(&checks[i].command, &o);
				check_result(i, &o);
				info.si_pid = 0;
			}
		}
		if (info.si_pid != 0)
			waitpid(info.si_pid, NULL, WNOHANG);
	}
}

static void
on_signals(void)
{
	struct signalfd_siginfo si;

	while (read(signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGTERM)
			runner_end(EXIT_CHANNEL);
	}
	reap();
}

static int
poll_timeout(int64_t now)
{
	int64_t next = INT64_MAX;

	for (unsigned i = 0; i < LANES; i++) {
		if (lanes[i].command.pid > 0 && lanes[i].command.deadline_ms < next)
			next = lanes[i].command.deadline_ms;
	}
	for (unsigned i = 0; i < CONF_CHECKS; i++) {
		int64_t at = INT64_MAX;

		if (checks[i].command.pid > 0)
			at = checks[i].command.deadline_ms;
		else if (i < conf.general.n_checks)
			at = checks[i].next_ms;
		if (at < next)
			next = at;
	}
	if (next == INT64_MAX)
		return -1;
	if (next <= now)
		return 0;
	return next - now > 60000 ? 60000 : (int)(next - now);
}

static void
add_output(struct pollfd *pfd, struct output **who, nfds_t *n, struct output *o)
{
	if (o->fd < 0)
		return;
	who[*n] = o;
	pfd[(*n)++] = (struct pollfd){.fd = o->fd, .events = POLLIN};
}

static void
wait_and_serve(void)
{
	struct pollfd pfd[FIXED_POLLS + LANES + CONF_CHECKS + LINGER];
	struct output *who[FIXED_POLLS + LANES + CONF_CHECKS + LINGER];
	nfds_t n = FIXED_POLLS;
	int timeout_ms = poll_timeout(now_ms());

	pfd[0] = (struct pollfd){.fd = channel.fd, .events = channel_events(&channel, &timeout_ms)};
	pfd[1] = (struct pollfd){.fd = signal_fd, .events = POLLIN};
	for (unsigned i = 0; i < LANES; i++)
		add_output(pfd, who, &n, &lanes[i].command.out);
	for (unsigned i = 0; i < CONF_CHECKS; i++)
		add_output(pfd, who, &n, &checks[i].command.out);
	for (unsigned i = 0; i < LINGER; i++)
		add_output(pfd, who, &n, &lingering[i]);
	if (poll(pfd, n, timeout_ms) < 0 && errno != EINTR)
		fatal("poll: %s", strerror(errno));
	if (((pfd[0].revents & POLLOUT) || channel.starved) && channel_flush(&channel) != 0)
		runner_end(EXIT_CHANNEL);
	if ((pfd[0].revents & (POLLIN | POLLHUP | POLLERR)) && channel_read(&channel) < 0)
		runner_end(channel.violation == V_NONE ? EXIT_CHANNEL : EXIT_PROTOCOL);
	for (nfds_t i = FIXED_POLLS; i < n; i++) {
		if (pfd[i].revents != 0 && who[i]->fd == pfd[i].fd)
			output_read(who[i]);
	}
	if (pfd[1].revents != 0)
		on_signals();
}

/* Descriptors: 0 /dev/null, 1 and 2 the log, 3 the channel; nothing else of the supervisor. */
static void
take_descriptors(int fd, int log_fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 16), log_high = fcntl(log_fd, F_DUPFD_CLOEXEC, 16);

	null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (high < 0 || log_high < 0 || null_fd < 0 || dup2(null_fd, 0) < 0 ||
	    dup2(log_high, 1) < 0 || dup2(log_high, 2) < 0 || dup2(high, 3) < 0 ||
	    fcntl(3, F_SETFD, FD_CLOEXEC) != 0 || syscall(SYS_close_range, 4U, ~0U, 0U) != 0)
		_exit(EXIT_FATAL);
	null_fd = 0;
}

void
runner_main(int fd, int log_fd, pid_t supervisor)
{
	sigset_t mask;

	take_descriptors(fd, log_fd);
	log_to(NULL);
	log_to_fd(FD_LOG);
	setsid(); /* a Ctrl-C at the supervisor's terminal is the supervisor's to handle */
	prctl(PR_SET_NAME, "bulkhead-runner", 0, 0, 0);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGUSR2);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) != 0)
		fatal("runner: %s", strerror(errno));
	if (getppid() != supervisor)
		_exit(EXIT_CHANNEL);
	channel_init(&channel, FD_CONTROL, PROC_RUNNER, PROC_SUPERVISOR, on_message, NULL);
	for (unsigned i = 0; i < CONF_CHECKS; i++) {
		checks[i].command.pid = -1;
		checks[i].command.error_fd = -1;
		checks[i].command.out.fd = -1;
	}
	for (unsigned i = 0; i < LINGER; i++)
		lingering[i].fd = -1;
	conf_defaults(&conf);
	for (;;) {
		int64_t now = now_ms();

		for (unsigned i = 0; i < LANES; i++)
			command_expire(&lanes[i].command, now);
		for (unsigned i = 0; i < CONF_CHECKS; i++)
			command_expire(&checks[i].command, now);
		checks_due(now);
		wait_and_serve();
	}
}
