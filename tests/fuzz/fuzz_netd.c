/* SPDX-License-Identifier: ISC */
/*
 * netd with a hostile supervisor, roled and syncd: channels 0 to 2 of table.h. The process as
 * it is but for its exits and its alarm, which end the input.
 */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"
#include "table.h"

static int exited;

#include "netd/link.h"

/* The pipes of the links are made once: they would be most of the work of an input. */
enum { FIRST_FREE = FD_FIRST_FREE + 4 * LINKS };

#define main netd_main
#define link_init() ((void)0)
#define _exit(code) ((void)(code), (void)(exited = 1))
#define alarm(seconds) ((void)(seconds))
int netd_main(int argc, char **argv);
#include "netd/main.c"
#undef link_init
#undef alarm
#undef _exit
#undef main

static struct table_channel list[3] = {{.end = -1}, {.end = -1}, {.end = -1}};

/* netd numbers its dials over all inputs: a small number of the input is that of a slot. */
static void
name_dial(unsigned type, uint8_t *body, size_t n)
{
	const struct link *l;
	uint32_t dial;

	if ((type != MSG_DIALED && type != MSG_DIAL_FAILED) || n < 4 || body[1] != 0)
		return;
	l = &links[body[0] % LINKS];
	dial = l->serial * LINKS + (uint32_t)(l - links);
	for (int i = 0; i < 4; i++)
		body[i] = (uint8_t)(dial >> 8 * i);
}

static int
turn(size_t which)
{
	(void)which;
	for (int i = 0; i < 3 && !exited; i++)
		uv_run(&netd_loop, UV_RUN_NOWAIT);
	return !exited;
}

/* Every link and every hello is closed the way that netd closes them. */
static void
stop(void)
{
	admit_close_all();
	for (enum owner o = OWNER_ROLED; o < OWNER_MAX; o++)
		admit_drop_waiting(o);
	link_shut_all();
	for (enum owner o = OWNER_ROLED; o < OWNER_MAX; o++)
		link_orphan(o);
	/* all deadlines pass */
	(void)link_expire(INT64_MAX);
	(void)admit_expire(INT64_MAX);
	for (size_t i = 0; i < 3; i++) {
		static const int fds[3] = {FD_CONTROL, FD_EDGE(PROC_ROLED), FD_EDGE(PROC_SYNCD)};

		loop_detach_channel(list[i].channel);
		channel_close(list[i].channel);
		close(list[i].end);
		dup2(FD_EDGE(PROC_BEATD), fds[i]);
	}
	uv_run(&netd_loop, UV_RUN_NOWAIT);
	if (link_busy() != 0)
		abort();
	table_close_loop(&netd_loop);
	table_close_all(FIRST_FREE);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int done;

	if (!done) {
		table_set_up();
		link_init();
		table_adjust = name_dial;
		done = 1;
	}
	exited = ending = 0;
	list[0] = (struct table_channel){&netd_child.control, table_pair(FD_CONTROL)};
	list[1] = (struct table_channel){&netd_owner[OWNER_ROLED], table_pair(FD_EDGE(PROC_ROLED))};
	list[2] = (struct table_channel){&netd_owner[OWNER_SYNCD], table_pair(FD_EDGE(PROC_SYNCD))};
	warm_up();
	table_play(data, size, list, 3, turn);
	stop();
	return 0;
}

static size_t
append_open(uint8_t *out, size_t size, size_t n, uint32_t token)
{
	static struct msg m;

	msg_begin(&m, MSG_LINK_OPEN);
	msg_put_u32(&m, token);
	msg_put_u8(&m, 1);
	msg_put_u8(&m, 0);
	msg_put_u8(&m, LINK_STATUS);
	return table_append(out, size, n, 1, &m);
}

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static struct conf c;
	static struct msg m;
	size_t n;

	table_conf(&c);
	n = table_append_conf(out, size, 0, 0, &c, PROC_NETD);
	n = table_append_u64(out, size, n, 0, MSG_PREPARE, 1);
	n = table_append_u64(out, size, n, 0, MSG_COMMIT, 1);
	for (uint32_t i = 0; i < 3; i++) {
		n = append_open(out, size, n, i);
		msg_begin(&m, MSG_DIALED);
		msg_put_u32(&m, i);
		n = table_append(out, size, n, 0, &m);
	}
	n = table_append_all(out, size, n, 1, PROC_ROLED, PROC_NETD);
	return table_append_all(out, size, n, 0, PROC_SUPERVISOR, PROC_NETD);
}
