/* SPDX-License-Identifier: ISC */
/* supervisor/processes.c, and a way to have it as at its start: see again.h. */
#include "supervisor/processes.c"

#include "again.h"

void
end_processes(void)
{
	for (int i = 0; i < N_CHILDREN; i++) {
		loop_detach_channel(&procs[i].control);
		channel_close(&procs[i].control);
		log_pipe_close(&procs[i].log);
	}
}

void
again_processes(void)
{
	memset(procs, 0, sizeof(procs));
	memset(killed, 0, sizeof(killed));
	memset(records, 0, sizeof(records));
	memset(&disputes, 0, sizeof(disputes));
	memset(runner_digest, 0, sizeof(runner_digest));
	config_ms = 0;
	last_tick_ms = 0;
	stop_phase = STOP_NONE;
	stop_deadline_ms = 0;
}
