/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: the stage. Descriptors as the supervisor lays them out, something to aim at, and how
 * an attempt ended.
 */
#include "config.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempts.h"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#endif

enum { DRILL_USER = 61901, ATTEMPT_MS = 5000 };
#define M(x) (1U << (x))

const struct drill_role drill_roles[] = {
    {PROC_NETD, M(PROC_ROLED), M(12) | M(13), 0, 0},
    {PROC_ICMPD, M(PROC_ROLED), 0, 0, 0},
    {PROC_ROLED, M(PROC_NETD) | M(PROC_ICMPD) | M(PROC_KEYD), 0, M(FD_STATE) | M(FD_LEDGER), M(FD_ADMIN)},
    {PROC_KEYD, M(PROC_ROLED), 0, 0, 0},
    {PROC_PARSER, 0, 0, M(FD_CONFIG), 0},
};
const size_t drill_n_roles = sizeof(drill_roles) / sizeof(drill_roles[0]);
struct drill_targets drill_target;

static char folder[64], empty[80];

void
drill_die(const char *what)
{
	dprintf(STDERR_FILENO, "R setup: %s: %s\n", what, strerror(errno));
	_exit(99);
}

int
drill_has_mdwe(void)
{
	return prctl(PR_GET_MDWE, 0, 0, 0, 0) >= 0;
}

static int
listening_tcp(unsigned short *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, len) != 0 || listen(fd, 64) != 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &len) != 0)
		return -1;
	*port = ntohs(in.sin_port);
	return fd;
}

static int
listening_unix(const char *name, int abstract)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(un.sun_path + abstract, name, strlen(name));
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un,
	    sun_path) + (size_t)abstract + strlen(name))) != 0 || listen(fd, 64) != 0)
		return -1;
	return fd;
}

/* A process with the user of the attempts that does nothing to protect itself. */
static pid_t
start_same_user(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setresgid(DRILL_USER, DRILL_USER, DRILL_USER) != 0 ||
		    setresuid(DRILL_USER, DRILL_USER, DRILL_USER) != 0)
			_exit(1);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_DUMPABLE, 1);
		for (;;)
			pause();
	}
	return pid;
}

int
drill_prepare(void)
{
	pid_t pid;
	int status;

	if (geteuid() != 0)
		return 0;
	pid = fork();
	if (pid == 0)
		_exit(unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC) == 0 ? 0 : 1);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		return 0;
	snprintf(folder, sizeof(folder), "/tmp/bh-drill.XXXXXX");
	if (mkdtemp(folder) == NULL || chmod(folder, 0755) != 0)
		return 0;
	snprintf(empty, sizeof(empty), "%s/empty", folder);
	snprintf(drill_target.pathname, sizeof(drill_target.pathname), "%s/socket", folder);
	snprintf(drill_target.abstract, sizeof(drill_target.abstract), "bh-drill-%d", (int)getpid());
	if (mkdir(empty, 0555) != 0 || listening_tcp(&drill_target.port) < 0 ||
	    listening_unix(drill_target.pathname, 0) < 0 ||
	    listening_unix(drill_target.abstract, 1) < 0 || chmod(drill_target.pathname, 0777) != 0)
		return 0;
	drill_target.supervisor = getpid();
	drill_target.same_user = start_same_user();
	return drill_target.same_user > 0 && sandbox_stage0_prepare() == 0;
}

void
drill_clean_up(void)
{
	kill(drill_target.same_user, SIGKILL);
	waitpid(drill_target.same_user, NULL, 0);
	unlink(drill_target.pathname);
	rmdir(empty);
	rmdir(folder);
}

static void
put_at(int fd, int number)
{
	if (fd < 0 || dup2(fd, number) != number)
		drill_die("descriptor");
	drill_target.expected_fds |= 1ULL << number;
}

static int
channel_end(void)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) != 0)
		drill_die("socketpair");
	return fds[0]; /* the other end stays open until close_range() */
}

void
drill_descriptors(const struct drill_role *role, const struct drill_report *report)
{
	unsigned short port;
	int from = fcntl(report->pipe[1], F_DUPFD, 200); /* out of the way of the fixed numbers */

	drill_target.expected_fds = 0;
	put_at(open("/dev/null", O_RDONLY), FD_NULL);
	put_at(from, 1);
	put_at(from, 2);
	for (int fd = FD_CONTROL; fd < 200; fd++)
		close(fd);
	put_at(fcntl(channel_end(), F_DUPFD, 100), FD_CONTROL);
	for (unsigned p = 0; p < PROC_MAX; p++) {
		if (role->peers & M(p))
			put_at(fcntl(channel_end(), F_DUPFD, 100), FD_EDGE(p));
	}
	for (int fd = FD_RESOURCE; fd < FD_FIRST_FREE; fd++) {
		if (role->listeners & M(fd))
			put_at(fcntl(listening_tcp(&port), F_DUPFD, 100), fd);
		if (role->files & M(fd))
			put_at(fcntl(open("/dev/zero", O_RDWR), F_DUPFD, 100), fd);
		if (role->admin & M(fd))
			put_at(fcntl(channel_end(), F_DUPFD, 100), fd);
	}
	for (int fd = FD_CONTROL; fd < FD_FIRST_FREE; fd++) {
		if (!(drill_target.expected_fds >> fd & 1))
			close(fd);
	}
	close_range(FD_FIRST_FREE, ~0U, 0);
	if (chdir(empty) != 0)
		drill_die("chdir");
}

void
drill_core_limit(rlim_t limit)
{
	struct rlimit core = {limit, RLIM_INFINITY};

	setrlimit(RLIMIT_CORE, &core);
}

void
drill_namespaces(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) != 0)
		drill_die("unshare");
}

void
drill_parse_args(enum process process, struct sandbox_args *args)
{
	char user[16], supervisor[16], name[16];
	char *argv[] = {name, name, (char[]){"1"}, user, user, supervisor, (char[]){"0"}, NULL};

	snprintf(name, sizeof(name), "%s", process_name(process));
	snprintf(user, sizeof(user), "%d", DRILL_USER);
	snprintf(supervisor, sizeof(supervisor), "%d", (int)getppid());
	if (sandbox_parse_args(7, argv, args) != 0)
		drill_die("arguments");
}

void
drill_report_open(struct drill_report *r)
{
	if (pipe(r->pipe) != 0)
		drill_die("pipe");
}

/* With write(2) only: the sandbox is in force. */
void
drill_report_result(long result)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "R %ld %s\n", result,
	    result == -1 ? strerrorname_np(errno) : "through");

	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(98);
}

/* Everything that the attempt wrote, until it ends or its time is up. */
static void
read_report(int fd, pid_t pid, char *text, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t len = 0;

	for (;;) {
		ssize_t n;

		if (poll(&p, 1, ATTEMPT_MS) <= 0) {
			kill(pid, SIGKILL);
			break;
		}
		n = read(fd, text + len, size - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
		if (len == size - 1)
			break;
	}
	text[len] = '\0';
}

void
drill_report_read(struct drill_report *r, pid_t pid, char *verdict, size_t size)
{
	char text[1024], word[32] = "?";
	const char *line;
	int status;

	close(r->pipe[1]);
	read_report(r->pipe[0], pid, text, sizeof(text));
	close(r->pipe[0]);
	waitpid(pid, &status, 0);
	line = strstr(text, "R ");
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
		snprintf(verdict, size, "K");
	} else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) {
		snprintf(verdict, size, WCOREDUMP(status) ? "core" : "no-core");
	} else if (WIFSIGNALED(status)) {
		snprintf(verdict, size, "signal %d", WTERMSIG(status));
	} else if (WEXITSTATUS(status) == EXIT_SIGSYS &&
	    strstr(text, "is outside the promises") != NULL) {
		snprintf(verdict, size, "T");
	} else if (WEXITSTATUS(status) == 0 && line != NULL && sscanf(line, "R %*d %31s", word) == 1) {
		snprintf(verdict, size, "%s", word);
	} else {
		text[strcspn(text, "\n")] = '\0';
		snprintf(verdict, size, "exit %d: %.40s", WEXITSTATUS(status), text);
	}
}
