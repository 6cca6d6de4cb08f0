/* SPDX-License-Identifier: ISC */
/* supervisor/actions.c, and a way to have it as at its start: see again.h. */
#include "supervisor/actions.c"

#include "again.h"

void
end_actions(void)
{
	loop_detach_channel(&runner_channel);
	channel_close(&runner_channel);
	log_pipe_close(&runner_log);
}

void
again_actions(void)
{
	memset(&runner_channel, 0, sizeof(runner_channel));
	memset(&runner_log, 0, sizeof(runner_log));
	runner_channel.fd = runner_log.fd = runner_log_fd = -1;
	runner_pid = -1;
	heard_ms = 0;
	memset(cookies, 0, sizeof(cookies));
	next_cookie = 0;
	killed_for = OFFENCE_NONE;
	memset(&linger, 0, sizeof(linger));
	outstanding = 0;
	test_event = 0;
	role = HOOK_ROLE_STANDBY;
	memset(checks, 0, sizeof(checks));
}
