/* SPDX-License-Identifier: ISC */
/*
 * Names of the processes.
 */
#include "roles.h"

#include <stddef.h>

static const char *const names[PROC_MAX] = {
	[PROC_SUPERVISOR] = "supervisor",
	[PROC_RUNNER] = "runner",
	[PROC_CTL] = "ctl",
#define ROLE(id, name, what, user, promises, fds, nofile, as_mib, memlock_kib, realtime) [PROC_##id] = name,
#include "roles.def"
#undef ROLE
};

const char *
process_name(enum process p)
{
	if ((unsigned)p >= PROC_MAX || names[p] == NULL)
		return "?";
	return names[p];
}
