/* SPDX-License-Identifier: ISC */
/*
 * icmpd with a hostile supervisor and a hostile roled: channels 0 and 1 of table.h. The process as
 * it is but for its exits, which end the input.
 */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"
#include "table.h"

static int exited;

#define main icmpd_main
#define _exit(code) ((void)(code), (void)(exited = 1))
int icmpd_main(int argc, char **argv);
#include "icmpd/main.c"
#undef _exit
#undef main
#include "icmpd/probe.c"

static struct table_channel list[2] = {{.end = -1}, {.end = -1}};

static int
turn(size_t which)
{
	(void)which;
	for (int i = 0; i < 2 && !exited; i++)
		uv_run(&icmpd_loop, UV_RUN_NOWAIT);
	return !exited;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int done;

	if (!done)
		table_set_up();
	done = 1;
	exited = 0;
	list[0] = (struct table_channel){&icmpd_child.control, table_pair(FD_CONTROL)};
	list[1] = (struct table_channel){&roled, table_pair(FD_EDGE(PROC_ROLED))};
	warm_up();
	table_play(data, size, list, 2, turn);
	for (uint8_t i = 0; i < TARGETS; i++)
		probe_remove(i);
	for (size_t i = 0; i < 2; i++) {
		loop_detach_channel(list[i].channel);
		channel_close(list[i].channel);
		close(list[i].end);
		dup2(FD_EDGE(PROC_BEATD), i == 0 ? FD_CONTROL : FD_EDGE(PROC_ROLED));
	}
	table_close_loop(&icmpd_loop);
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
	n = table_append_conf(out, size, 0, 0, &c, PROC_ICMPD);
	n = table_append_u64(out, size, n, 0, MSG_PREPARE, 1);
	n = table_append_u64(out, size, n, 0, MSG_COMMIT, 1);
	for (uint8_t i = 0; i < 3; i++) {
		msg_begin(&m, MSG_TARGET);
		msg_put_u8(&m, i);
		msg_put_u8(&m, i == 2 ? TARGET_REFERENCE : TARGET_PARTNER);
		msg_put_u8(&m, i % 2);
		msg_put_u8(&m, 0);
		msg_put_u8(&m, 4);
		n = table_append(out, size, n, 0, &m);
	}
	return table_append_all(out, size, n, 0, PROC_SUPERVISOR, PROC_ICMPD);
}
