/* SPDX-License-Identifier: ISC */
/*
 * Starting a sandboxed process: fork, then steps 1 to 9 of the order of entering (doc/privsep.md),
 * then exec. Between fork and exec only async-signal-safe calls: everything that needs memory or a
 * lookup is done before. The child's own steps are in policy/sandbox.c.
 */
#include "config.h"

#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	SPAWN_HIGH = 128, /* descriptors are moved above this before they get their fixed numbers */
	RT_CPU_US = 5000000, /* real-time CPU without a blocking call: a loop that has gone mad */
	ARG_SIZE = 16,
	NOBODY = 65534,
};

/* The children that this version has, in the order of roles.def. */
static const enum process rows[] = {
#define ROLE(id, name, what, user, promises, fds, nofile, as_mib, memlock_kib, realtime) PROC_##id,
#include "../policy/roles.def"
#undef ROLE
};
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

/* All that the forked child needs, made before the fork. */
struct plan {
	const struct spawn *spawn;
	const struct role_row *row;
	char path[PATH_MAX];
	char number[5][ARG_SIZE]; /* generation uid gid supervisor degraded */
	char *argv[8];
	char *envp[1];
	int log_write;
	pid_t supervisor;
};

void
spawn_init(struct spawn *s, enum process process)
{
	memset(s, 0, sizeof(*s));
	s->process = process;
	s->root_fd = -1;
	for (int i = 0; i < SPAWN_FDS; i++)
		s->fd[i] = -1;
}

/* Last words of a child that cannot even start: a log line without stdio. */
static _Noreturn void
child_fail(const struct plan *plan, const char *what, int error)
{
	char line[160] = "0 start: ";
	char digits[12];
	size_t n = strlen(line), d = sizeof(digits);

	for (const char *s = what; *s != '\0' && n < 120; s++)
		line[n++] = *s;
	for (const char *s = ": error "; *s != '\0'; s++)
		line[n++] = *s;
	do {
		digits[--d] = (char)('0' + error % 10);
		error /= 10;
	} while (error > 0 && d > 0);
	while (d < sizeof(digits))
		line[n++] = digits[d++];
	line[n++] = '\n';
	if (write(plan->log_write, line, n) < 0)
		_exit(EXIT_SANDBOX);
	_exit(EXIT_SANDBOX);
}

/* Step 1. SIGPIPE stays ignored: a peer that goes away is an error to handle, never a death. */
static void
child_signals(void)
{
	struct sigaction sa;
	sigset_t none;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = SIG_DFL;
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &sa, NULL); /* not for KILL, STOP and those of libc */
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Step 3: the fixed numbers of policy/roles.h, and nothing else. */
static void
child_descriptors(struct plan *plan)
{
	int high[SPAWN_FDS];
	int root;

	/* first out of the way, so that no target number is still somebody's source */
	plan->log_write = fcntl(plan->log_write, F_DUPFD_CLOEXEC, SPAWN_HIGH);
	root = fcntl(plan->spawn->root_fd, F_DUPFD_CLOEXEC, SPAWN_HIGH);
	for (int i = 0; i < SPAWN_FDS; i++) {
		high[i] = -1;
		if (plan->spawn->fd[i] < 0)
			continue;
		high[i] = fcntl(plan->spawn->fd[i], F_DUPFD_CLOEXEC, SPAWN_HIGH);
		if (high[i] < 0)
			child_fail(plan, "descriptors", errno);
	}
	if (plan->log_write < 0 || root < 0)
		_exit(EXIT_SANDBOX);
	for (int i = 0; i < SPAWN_FDS; i++) {
		int from = i == FD_LOG || i == FD_LOG + 1 ? plan->log_write : high[i];

		if (from < 0)
			close(i);
		else if (dup2(from, i) < 0)
			child_fail(plan, "descriptors", errno);
	}
	if (fchdir(root) != 0) /* the child's sandbox_drop() chroots to it */
		child_fail(plan, "root", errno);
	plan->log_write = FD_LOG;
	if (syscall(SYS_close_range, (unsigned)SPAWN_FDS, ~0U, 0U) != 0)
		child_fail(plan, "close_range", errno);
}

static void
child_limit(const struct plan *plan, int which, rlim_t soft, rlim_t hard)
{
	struct rlimit rl = {.rlim_cur = soft, .rlim_max = hard};

	if (setrlimit((__rlimit_resource_t)which, &rl) != 0)
		child_fail(plan, "resource limit", errno);
}

/* Step 5. */
static void
child_limits(const struct plan *plan)
{
	const struct role_row *row = plan->row;
	uint64_t file_bytes = process_file_bytes(row->process);

	child_limit(plan, RLIMIT_CORE, 0, 0);
	child_limit(plan, RLIMIT_NOFILE, row->nofile, row->nofile);
	child_limit(
	    plan, RLIMIT_MEMLOCK, (rlim_t)row->memlock_kib << 10, (rlim_t)row->memlock_kib << 10);
#ifndef BH_SANITIZERS /* their shadow memory is terabytes */
	if (row->as_mib > 0)
		child_limit(plan, RLIMIT_AS, (rlim_t)row->as_mib << 20, (rlim_t)row->as_mib << 20);
#endif
	child_limit(plan, RLIMIT_NPROC, 0, 0);
	if (file_bytes != UINT64_MAX)
		child_limit(plan, RLIMIT_FSIZE, file_bytes, file_bytes);
	if (row->realtime) {
		child_limit(plan, RLIMIT_RTPRIO, 0, 0);
		child_limit(plan, RLIMIT_RTTIME, RT_CPU_US, RT_CPU_US);
	}
}

/* Real-time scheduling is a gift to latency, not a condition: containers often refuse it. */
static void
child_schedule(const struct plan *plan)
{
	struct sched_param sp = {.sched_priority = 1};

	if (plan->spawn->realtime && plan->row->realtime)
		(void)syscall(SYS_sched_setscheduler, 0, SCHED_RR, &sp); /* watched by realtime.c */
}

/*
 * The data has no bound but the memory that there is: where that runs out, syncd is to end and be
 * started again, not the supervisor with all it guards. A system without this file does without.
 */
static void
child_memory(const struct plan *plan)
{
	static const char first[] = "500\n"; /* of 1000, added to the share of memory it uses */
	int fd;

	if (plan->row->process != PROC_SYNCD)
		return;
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, first, sizeof(first) - 1);
	close(fd);
}

/* In the forked child. */
static _Noreturn void
child_run(struct plan *plan)
{
	child_signals();
	if (setsid() < 0)
		child_fail(plan, "setsid", errno);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		child_fail(plan, "parent death signal", errno);
	if (getppid() != plan->supervisor)
		_exit(EXIT_CHANNEL);
	umask(077);
	child_descriptors(plan);
	if (unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) !=
	    0)
		child_fail(plan, "unshare", errno);
	child_schedule(plan);
	child_memory(plan);
	child_limits(plan);
	if (sandbox_limit_child() != 0)
		child_fail(plan, "capability bounding set", errno);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		child_fail(plan, "no_new_privs", errno);
	if (sandbox_stage0_apply() != 0 && !sup.degraded)
		child_fail(plan, "stage-0 filter", errno);
	execve(plan->path, plan->argv, plan->envp);
	child_fail(plan, plan->path, errno);
}

static int
plan_make(struct plan *plan, const struct spawn *s)
{
	unsigned long value[5] = {
	    s->generation, s->uid, s->gid, (unsigned long)getpid(), sup.degraded != 0};
	int n;

	memset(plan, 0, sizeof(*plan));
	plan->spawn = s;
	plan->row = role_row(s->process);
	plan->supervisor = getpid();
	n = snprintf(plan->path, sizeof(plan->path), "%s/%s", sup.libexec, plan->row->name);
	if (n < 0 || (size_t)n >= sizeof(plan->path))
		return -1;
	plan->argv[0] = plan->path + (size_t)n - strlen(plan->row->name);
	plan->argv[1] = plan->argv[0];
	for (int i = 0; i < 5; i++) {
		snprintf(plan->number[i], ARG_SIZE, "%lu", value[i]);
		plan->argv[2 + i] = plan->number[i];
	}
	return 0;
}

/* Without the handlers that libraries register for a fork: the child will only exec. */
static pid_t
fork_plain(void)
{
#ifdef HAVE__FORK
	return _Fork();
#else
	return fork();
#endif
}

pid_t
spawn_process(const struct spawn *s, int *log_fd)
{
	static struct plan plan; /* PATH_MAX is not for the stack */
	sigset_t all, old;
	int pipe_fds[2];
	pid_t pid;

	if (plan_make(&plan, s) != 0) {
		log_error("the path of %s is too long", process_name(s->process));
		return -1;
	}
	/* both ends: a supervisor that was stopped must not make its children wait for it */
	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
		log_error("cannot start %s: pipe: %s", process_name(s->process), strerror(errno));
		return -1;
	}
	plan.log_write = pipe_fds[1];
	/* no handler of ours may run in the child before it has reset them */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork_plain();
	if (pid == 0)
		child_run(&plan);
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(pipe_fds[1]);
	if (pid < 0) {
		log_error("cannot start %s: fork: %s", process_name(s->process), strerror(errno));
		close(pipe_fds[0]);
		return -1;
	}
	*log_fd = pipe_fds[0];
	return pid;
}

int
spawn_check_programs(int parser_only)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		char path[PATH_MAX];
		struct stat st;

		if (parser_only && rows[i] != PROC_PARSER)
			continue;
		snprintf(path, sizeof(path), "%s/%s", sup.libexec, process_name(rows[i]));
		if (stat(path, &st) != 0) {
			log_error("%s: %s: the programs of the children are missing (installed? or "
				  "-x DIR)",
			    path, strerror(errno));
			return -1;
		}
		if (!S_ISREG(st.st_mode) || access(path, X_OK) != 0) {
			log_error("%s: not a program", path);
			return -1;
		}
	}
	return 0;
}

/* User of one row. The parser runs before the config is known: without its user, as nobody. */
static int
find_user(const struct role_row *row, const struct conf *c)
{
	const struct passwd *pw;
	uid_t uid = 0;
	gid_t gid = 0;

	if (c != NULL) {
		uid = c->general.uid[row->process];
		gid = c->general.gid[row->process];
	}
	if (uid == 0 && (pw = getpwnam(row->user)) != NULL) {
		uid = pw->pw_uid;
		gid = pw->pw_gid;
	}
	if (uid == 0 && row->process == PROC_PARSER) {
		uid = NOBODY;
		gid = NOBODY;
	}
	if (uid == 0 || gid == 0) {
		log_error(
		    "user %s of %s does not exist (create it with dist/create-users, or give a "
		    "number: user { %s = 61001 })",
		    row->user, row->name, row->name);
		return -1;
	}
	sup.uid[row->process] = uid;
	sup.gid[row->process] = gid;
	return 0;
}

int
spawn_find_users(const struct conf *c)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		if (c == NULL && rows[i] != PROC_PARSER)
			continue;
		if (find_user(role_row(rows[i]), c) != 0)
			return -1;
		for (size_t k = 0; k < i && c != NULL; k++) {
			if (sup.uid[rows[k]] == sup.uid[rows[i]]) {
				log_error("user: %s and %s have the same uid %u; each process "
					  "needs its own",
				    process_name(rows[k]), process_name(rows[i]),
				    (unsigned)sup.uid[rows[i]]);
				return -1;
			}
		}
	}
	return 0;
}
