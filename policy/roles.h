/* SPDX-License-Identifier: ISC */
/*
 * Names of the processes and of their fixed file descriptors.
 */
#ifndef BH_POLICY_ROLES_H
#define BH_POLICY_ROLES_H

#include <stdint.h>

/*
 * Every process that can be the end of a channel. The order is the index in FD_EDGE and on the
 * wire; new ones are added before PROC_MAX. Runner (root: executes hooks and checks) and ctl
 * (admin tool) have no sandbox row in roles.def.
 */
enum process {
	PROC_SUPERVISOR,
	PROC_NETD,
	PROC_ICMPD,
	PROC_ROLED,
	PROC_KEYD,
	PROC_BEATD, /* this and the next two, of a later version, keep theirs: FD_EDGE is stable */
	PROC_NMCD,
	PROC_WEBD,
	PROC_SYNCD,
	PROC_PARSER,
	PROC_RUNNER,
	PROC_CTL,
	PROC_MAX
};

enum fixed_fd {
	FD_NULL = 0,
	FD_LOG = 1,	    /* and 2, so that an assertion of a library is seen */
	FD_CONTROL = 3,	    /* channel to the supervisor */
	FD_EDGE_BASE = 3,   /* FD_EDGE(PROC_NETD) = 4 ... FD_EDGE(PROC_SYNCD) = 11 */
	FD_RESOURCE = 12,   /* 12..15 */
	FD_LISTENER = 12,   /* netd: listeners 12..15 */
	FD_STATE = 12,	    /* roled: role state file */
	FD_LEDGER = 13,	    /* roled: ledger file */
	FD_ADMIN = 14,	    /* roled: listening Unix socket of bulkheadctl */
	FD_KEY_STATUS = 12, /* keyd: private key files, closed before the sandbox is entered */
	FD_KEY_DATA = 13,
	FD_LOCAL = 12,	/* syncd: listening Unix socket of local programs */
	FD_CONFIG = 12, /* parser: the config file, read-only */
	FD_FIRST_FREE = 16
};
#define FD_EDGE(process) (FD_EDGE_BASE + (int)(process))

/* Name as in roles.def; "supervisor", "runner", "ctl" too; "?" when out of range. Never NULL. */
const char *process_name(enum process p);
/*
 * How far a process is from outside bytes that it has to understand: of two, the nearer one is the
 * likelier culprit.
 */
int process_distance(enum process p);

/*
 * How long a file may get by its hand (RLIMIT_FSIZE), UINT64_MAX: no limit. roled has two of fixed
 * size, of which this is the longer one, syncd its folder, the others none.
 */
enum { LEDGER_BYTES = 8 << 20 };
uint64_t process_file_bytes(enum process p);

/* A line of roles.def. */
struct role_row {
	enum process process;
	const char *name, *what, *user, *promises, *fds;
	unsigned nofile, as_mib, memlock_kib, realtime;
};
/* NULL for a process without a line (supervisor, runner, ctl). */
const struct role_row *role_row(enum process p);

#endif
