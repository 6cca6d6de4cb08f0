/* SPDX-License-Identifier: ISC */
/*
 * The runner with a hostile supervisor: channel 0 of table.h. No command is ever started: fork
 * fails.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"
#include "table.h"

static int exited;

static pid_t
no_fork(void)
{
	errno = EAGAIN;
	return -1;
}

#define fork no_fork
#define _exit(code) ((void)(code), (void)(exited = 1))
/* runner_main and command_child, which never return, are not reached */
#define _Noreturn
#define runner_main __attribute__((unused)) runner_main_unused
void runner_main_unused(int fd, int log_fd, pid_t supervisor);
#include "supervisor/runner.c"
#undef runner_main
#undef _exit
#undef fork

void
realtime_self(void)
{
}

static struct table_channel list[1] = {{.end = -1}};

static int
turn(size_t which)
{
	(void)which;
	if (channel_read(&channel) < 0)
		return 0;
	checks_due(now_ms());
	return !exited;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int done;

	if (!done)
		table_set_up();
	done = 1;
	exited = incoming_begun = 0;
	for (unsigned i = 0; i < CONF_CHECKS; i++) {
		memset(&checks[i], 0, sizeof(checks[i]));
		checks[i].command.pid = checks[i].command.error_fd = checks[i].command.out.fd = -1;
	}
	for (unsigned i = 0; i < LANES; i++)
		lanes[i].head = lanes[i].len = 0;
	conf_defaults(&conf);
	list[0] = (struct table_channel){&channel, table_pair(FD_CONTROL)};
	channel_init(&channel, FD_CONTROL, PROC_RUNNER, PROC_SUPERVISOR, on_message, NULL);
	table_play(data, size, list, 1, turn);
	channel_close(&channel);
	close(list[0].end);
	dup2(FD_EDGE(PROC_BEATD), FD_CONTROL);
	table_close_all(FD_FIRST_FREE);
	return 0;
}

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static struct conf c;
	static struct msg m;
	size_t n;

	table_conf(&c);
	strcpy(c.hook[0].command, "/bin/true a b");
	n = table_append_conf(out, size, 0, 0, &c, PROC_RUNNER);
	msg_begin(&m, MSG_RUN_CONFIG);
	n = table_append(out, size, n, 0, &m);
	return table_append_all(out, size, n, 0, PROC_SUPERVISOR, PROC_RUNNER);
}
