/* SPDX-License-Identifier: ISC */
/*
 * How a process gives up its powers. Called once each, in this order (doc/privsep.md):
 *   sandbox_drop()   steps 10-15 of the order of entering: empty root, uid, capabilities, checks
 *   (warm-up)        the process opens what it will ever need
 *   sandbox_enter()  Landlock, then the seccomp filter of its row of roles.def
 */
#ifndef BH_POLICY_SANDBOX_H
#define BH_POLICY_SANDBOX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "roles.h"

/* What the supervisor tells a child on its command line (decimal numbers, nothing else). */
struct sandbox_args {
	enum process process;
	uint32_t generation; /* how often this process has been started, from 1 */
	uid_t uid;
	gid_t gid;
	pid_t supervisor; /* pid of the parent, for the check against a race with its death */
	int degraded;	  /* 1: --allow-degraded: go on where the kernel lacks a layer */
};

/*
 * Fill args from argv (exactly: name process-name generation uid gid supervisor-pid degraded).
 * Returns 0, or -1 when the command line is not the supervisor's.
 */
int sandbox_parse_args(int argc, char **argv, struct sandbox_args *args);

/*
 * Steps 10 to 15. The working directory, given by the supervisor, becomes the root: it must be
 * empty and root's, or for the row with the promise `store` belong to its user alone. Exits with
 * EXIT_SANDBOX on any failure; there is no way to go on without it, and with EXIT_CHANNEL when the
 * supervisor is gone already.
 */
void sandbox_drop(const struct sandbox_args *args);

/*
 * Steps 17 and 18: Landlock with every right of the running kernel and no rule, then the seccomp
 * filter of the row. Exits with EXIT_SANDBOX on failure. In degraded mode a layer the kernel lacks
 * is skipped. Returns the set of layers in force (enum sandbox_layer bits).
 */
unsigned sandbox_enter(const struct sandbox_args *args);

enum sandbox_layer {
	LAYER_SECCOMP = 1,
	LAYER_LANDLOCK_FS = 2,
	LAYER_LANDLOCK_NET = 4,
	LAYER_LANDLOCK_SCOPE = 8,
	LAYER_REPORTS = 16, /* a build for tests: the filter names calls, and the process goes on */
};

/* 1 when the filters of this build only report (configure --enable-sanitizers), 0 in all others. */
int sandbox_reports(void);

/*
 * Stage-0 filter, step 8: in the forked child before exec, async-signal-safe (the program was
 * prepared by sandbox_stage0_prepare() in the supervisor). Returns 0 or -1 with errno.
 */
int sandbox_stage0_prepare(void);
int sandbox_stage0_apply(void);

/*
 * Step 6, in the forked child before exec, async-signal-safe: the bounding set keeps only what
 * sandbox_drop() needs (SETUID, SETGID, SYS_CHROOT, SETPCAP). Returns 0 or -1 with errno.
 */
int sandbox_limit_child(void);

/*
 * The supervisor gives up every capability that it does not need, for itself and for everything it
 * starts. The runner is forked before. Returns 0 or -1 with errno.
 */
int sandbox_limit_supervisor(void);

/*
 * Filter of the supervisor itself: entered once, after the last root-only set-up. Returns 0 or -1.
 */
int sandbox_enter_supervisor(int degraded);

/*
 * For the supervisor's log: the system call that the kernel killed a process for, "system call 41
 * (socket)", from the kernel log; NULL when there is no record of it (yet: it comes some
 * milliseconds after the end). open: before the supervisor's capabilities go; -1 when the kernel
 * log cannot be read, which is no error.
 */
int sandbox_killrecord_open(void);
const char *sandbox_killrecord(pid_t pid, char *buf, size_t size);

/* Exit codes of every program of the project, so that the log can tell why one ended. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_FATAL = 1,	    /* broken invariant, reason logged */
	EXIT_USAGE = 2,	    /* wrong command line */
	EXIT_CONFIG = 78,   /* config refused (EX_CONFIG of sysexits.h) */
	EXIT_SANDBOX = 110, /* could not enter the sandbox */
	EXIT_CHANNEL = 111, /* control channel closed: the supervisor is gone */
	EXIT_SIGSYS = 112,  /* a system call outside the promises; name logged */
	/* a peer broke the message protocol towards us on the control channel */
	EXIT_PROTOCOL = 113,
};

/* "exit 112 (system call outside its promises)": text of a wait status for the log. */
const char *exit_describe(int wait_status, char *buf, size_t size);

#endif
