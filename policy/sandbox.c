/* SPDX-License-Identifier: ISC */
/*
 * Entering the sandbox, as the programs see it: command line, privilege drop, filters, and what an
 * exit code means.
 */
#include "config.h"

#include "sandbox.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../lib/log.h"
#include "policy.h"

void
sandbox_fail(const char *what)
{
	log_error("sandbox: %s", what);
	_exit(EXIT_SANDBOX);
}

void
sandbox_fail_errno(const char *what)
{
	log_error("sandbox: %s: %s", what, strerror(errno));
	_exit(EXIT_SANDBOX);
}

/* A decimal number up to max, digits only. Returns 0 or -1. */
static int
parse_number(const char *text, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (*text == '\0')
		return -1;
	for (; *text != '\0'; text++) {
		unsigned digit = (unsigned)(*text - '0');

		if (digit > 9 || digit > max || v > (max - digit) / 10)
			return -1;
		v = v * 10 + digit;
	}
	*out = v;
	return 0;
}

int
sandbox_parse_args(int argc, char **argv, struct sandbox_args *args)
{
	uint64_t generation, uid, gid, supervisor, degraded;
	const struct role_row *row = NULL;

	if (argc != 7)
		return -1;
	for (size_t i = 0; i < policy.n_roles; i++) {
		if (strcmp(policy.roles[i].name, argv[1]) == 0)
			row = &policy.roles[i];
	}
	if (row == NULL || parse_number(argv[2], UINT32_MAX, &generation) != 0 ||
	    parse_number(argv[3], UINT32_MAX - 1, &uid) != 0 ||
	    parse_number(argv[4], UINT32_MAX - 1, &gid) != 0 ||
	    parse_number(argv[5], INT32_MAX, &supervisor) != 0 ||
	    parse_number(argv[6], 1, &degraded) != 0)
		return -1;
	if (generation == 0 || uid == 0 || gid == 0 || supervisor == 0)
		return -1;
	args->process = row->process;
	args->generation = (uint32_t)generation;
	args->uid = (uid_t)uid;
	args->gid = (gid_t)gid;
	args->supervisor = (pid_t)supervisor;
	args->degraded = (int)degraded;
	return 0;
}

void
sandbox_drop(const struct sandbox_args *args)
{
	/* with no zone given, every localtime() of a library would look for /etc/localtime again */
	if (setenv("TZ", "UTC0", 1) != 0)
		sandbox_fail_errno("cannot set the time zone");
	tzset();
	privdrop_root(args);
	privdrop_ids(args);
	privdrop_prove();
	privdrop_tie(args);
}

unsigned
sandbox_enter(const struct sandbox_args *args)
{
	unsigned layers = 0;
	int r = files_enter(args->process);

	if (r < 0)
		sandbox_fail_errno("cannot enter Landlock");
	if (r == 0 && !args->degraded)
		sandbox_fail("this kernel has no Landlock; --allow-degraded goes on without");
	layers |= (unsigned)r;
	/* last: the calls of Landlock are in no promise */
	r = calls_enter(args->process);
	if (r < 0)
		sandbox_fail_errno("cannot load the seccomp filter");
	if (r == 1 && !args->degraded)
		sandbox_fail(
		    "this kernel has no seccomp filters; --allow-degraded goes on without");
	if (r == 0)
		layers |= sandbox_reports() ? LAYER_REPORTS : LAYER_SECCOMP;
#ifdef __GLIBC__
	/* making the filter took most of the memory that this process ever has: 0.6 MiB go back */
	malloc_trim(0);
#endif
	return layers;
}

const char *
exit_describe(int status, char *buf, size_t size)
{
	static const struct {
		int code;
		const char *text;
	} codes[] = {
	    {EXIT_OK, "in order"},
	    {EXIT_FATAL, "fatal error, logged before"},
	    {EXIT_USAGE, "wrong command line"},
	    {EXIT_CONFIG, "configuration refused"},
	    {EXIT_SANDBOX, "could not enter its sandbox"},
	    {EXIT_CHANNEL, "its control channel was closed"},
	    {EXIT_SIGSYS, "system call outside its promises, logged before"},
	    {EXIT_PROTOCOL, "message of a peer broke the protocol"},
	};

	if (WIFSIGNALED(status)) {
		int sig = WTERMSIG(status);

		snprintf(buf, size, "signal %d (%s)%s", sig,
		    sig == SIGSYS ? "SIGSYS: forbidden system call, killed by the kernel"
				  : strsignal(sig),
		    WCOREDUMP(status) ? ", core dumped" : "");
		return buf;
	}
	if (!WIFEXITED(status)) {
		snprintf(buf, size, "wait status 0x%x", (unsigned)status);
		return buf;
	}
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (codes[i].code == WEXITSTATUS(status)) {
			snprintf(buf, size, "exit %d (%s)", WEXITSTATUS(status), codes[i].text);
			return buf;
		}
	}
	snprintf(buf, size, "exit %d", WEXITSTATUS(status));
	return buf;
}
