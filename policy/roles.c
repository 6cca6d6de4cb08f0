/* SPDX-License-Identifier: ISC */
/*
 * Names of the processes, and who is believed.
 */
#include "roles.h"

#include <stddef.h>

static const char *const names[PROC_MAX] = {
    [PROC_SUPERVISOR] = "supervisor",
    [PROC_RUNNER] = "runner",
    [PROC_CTL] = "ctl",
#define ROLE(id, name, what, user, promises, fds, nofile, as_mib, memlock_kib, realtime)           \
	[PROC_##id] = name,
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

uint64_t
process_file_bytes(enum process p)
{
	if (p == PROC_SYNCD)
		return UINT64_MAX;
	return p == PROC_ROLED ? LEDGER_BYTES : 0;
}

int
process_distance(enum process p)
{
	switch (p) {
	case PROC_KEYD: /* messages of ours alone */
		return 3;
	case PROC_ROLED: /* sealed records of status, and what an admin asks */
		return 2;
	case PROC_SYNCD: /* the whole protocol of local programs; all it may cost is data */
		return 0;
	default: /* hellos and echo replies; without netd a server is thought dead */
		return 1;
	}
}
