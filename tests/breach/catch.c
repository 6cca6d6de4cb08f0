/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: catches the parser at its work. It lives for some milliseconds only.
 *
 * usage: catch PID [STEPS]
 * PID: the supervisor. Makes it read its configuration again (SIGHUP), follows the parser that it
 * starts until all its filters are in force, and so many instructions from there on, while it
 * parses; leaves it there, stopped by SIGSTOP, and prints its process id. Each instruction is a
 * stop: a crowded machine does not get through thousands in the time that a parser is given.
 *
 * Exit 0 when it was caught, 2 when not. Nothing in the daemon helps: root's ptrace follows the
 * fork.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	EXIT_UNTRIED = 2,
	WAIT_S = 20,
	FILTERS = 3,  /* supervisor's, first, row's */
	STEPS = 5000, /* in the middle of its file */
};

static pid_t supervisor;

static _Noreturn void
untried(const char *what)
{
	fprintf(stderr, "catch: %s: %s\n", what, strerror(errno));
	_exit(EXIT_UNTRIED);
}

static void
on_alarm(int sig)
{
	(void)sig;
	_exit(EXIT_UNTRIED);
}

/* What /proc says: the line of a file that begins with key, behind it; "" when there is none. */
static const char *
proc_line(pid_t pid, const char *name, const char *key)
{
	static char line[256];
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	f = fopen(path, "r");
	if (f == NULL)
		return "";
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, key, strlen(key)) == 0) {
			fclose(f);
			return line + strlen(key);
		}
	}
	fclose(f);
	return "";
}

static int
is_parser(pid_t pid)
{
	return strcmp(proc_line(pid, "comm", ""), "parser\n") == 0;
}

/* The signal to hand on with the next request; 0 when the stop was ours. */
static int
signal_of(int status)
{
	return status >> 16 != 0 || WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
}

/* One stop of process pid. */
static int
wait_stop(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
		untried("it ended");
	return status;
}

static void
release(pid_t pid)
{
	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) != 0 ||
	    ptrace(PTRACE_DETACH, pid, 0, signal_of(wait_stop(pid))) != 0)
		untried("release");
}

/* Follow the supervisor and what it forks until one of them has become the parser. */
static pid_t
find_parser(void)
{
	const long options =
	    PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;

	if (ptrace(PTRACE_SEIZE, supervisor, 0, options) != 0)
		untried("attach");
	if (kill(supervisor, SIGHUP) != 0)
		untried("SIGHUP");
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL);

		if (pid < 0)
			untried("waitpid");
		if (!WIFSTOPPED(status))
			continue;
		if (pid != supervisor && status >> 16 == PTRACE_EVENT_EXEC) {
			if (is_parser(pid))
				return pid;
			ptrace(PTRACE_DETACH, pid, 0, 0); /* another child that was due */
			continue;
		}
		ptrace(PTRACE_CONT, pid, 0, signal_of(status));
	}
}

static void
run_into_sandbox(pid_t parser, int steps)
{
	int status;

	do {
		if (ptrace(PTRACE_SYSCALL, parser, 0, 0) != 0)
			untried("continue");
		status = wait_stop(parser);
	} while (atoi(proc_line(parser, "status", "Seccomp_filters:")) < FILTERS);
	for (int i = 0; i < steps; i++) {
		if (ptrace(PTRACE_SINGLESTEP, parser, 0, signal_of(status)) != 0)
			untried("step");
		status = wait_stop(parser);
	}
}

int
main(int argc, char **argv)
{
	pid_t parser;

	if (argc < 2 || argc > 3 || (supervisor = (pid_t)atoi(argv[1])) <= 1) {
		fprintf(stderr, "usage: catch PID [STEPS]\n");
		return EXIT_UNTRIED;
	}
	signal(SIGALRM, on_alarm);
	alarm(WAIT_S);
	parser = find_parser();
	release(supervisor);
	run_into_sandbox(parser, argc == 3 ? atoi(argv[2]) : STEPS);
	if (ptrace(PTRACE_DETACH, parser, 0, SIGSTOP) != 0)
		untried("leave");
	printf("%d\n", (int)parser);
	return 0;
}
