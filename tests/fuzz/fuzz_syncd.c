/* SPDX-License-Identifier: ISC */
/*
 * syncd with a hostile supervisor, netd, roled and keyd: channels 0 to 3 of table.h. The process as
 * it is, with a small store in a temporary folder; its exit ends the input, and the next one finds
 * an empty folder.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "again.h"
#include "fuzz.h"
#include "syncd/syncd.h"
#include "table.h"

enum { CHANNELS = 4, SEGMENT = 64 << 10, MAP = 4 << 20 };

static struct store *open_small(void);
_Noreturn void real_exit(int code);
int syncd_main(int argc, char **argv);

/* with arguments: it has a field of that name, too */
#define main(argc, argv) syncd_main(argc, argv)
#define syncd_exit real_exit
#define store_open(path, limits) ((void)(limits), open_small())
#include "syncd/main.c"
#undef store_open
#undef syncd_exit
#undef main

static struct table_channel list[CHANNELS];
static const int numbers[CHANNELS] = {
    FD_CONTROL, FD_EDGE(PROC_NETD), FD_EDGE(PROC_ROLED), FD_EDGE(PROC_KEYD)};
static char folder[64];
static int listener; /* above what is closed after each input */
static jmp_buf left;

/* Its orders to leave come from the supervisor alone, which turn() reads by hand. */
void
syncd_exit(int code)
{
	(void)code;
	longjmp(left, 1);
}

static struct store *
open_small(void)
{
	static const struct store_limits limits = {
	    .map_bytes = MAP, .backlog_bytes = 2 * SEGMENT, .segment_bytes = SEGMENT};
	struct store *s = store_open(folder, &limits);

	if (s == NULL)
		abort(); /* nobody but we writes there */
	return s;
}

static void
clear_folder(void)
{
	DIR *d = opendir(folder);
	struct dirent *e;

	if (d == NULL)
		abort();
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] != '.' && unlinkat(dirfd(d), e->d_name, 0) != 0)
			abort();
	}
	closedir(d);
}

static void
remove_folder(void)
{
	clear_folder();
	rmdir(folder);
}

static void
set_up_once(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	static int done;
	int fd;

	if (done)
		return;
	done = 1;
	table_set_up();
	/* in memory where there is such a place: each input makes all its files */
	strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/bh-fuzz-syncd-XXXXXX"
						     : "/tmp/bh-fuzz-syncd-XXXXXX");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* without a name the kernel gives it one of our own network namespace */
	if (mkdtemp(folder) == NULL || fd < 0 ||
	    bind(fd, (struct sockaddr *)&un, sizeof(un.sun_family)) != 0 || listen(fd, 1) != 0)
		abort();
	listener = fcntl(fd, F_DUPFD_CLOEXEC, TABLE_FAR);
	close(fd);
	if (listener < 0)
		abort();
	atexit(remove_folder);
}

static void
start(void)
{
	struct channel *channels[CHANNELS] = {
	    &syncd.child.control, &syncd.netd, &syncd.roled, &syncd.keyd};

	memset(&syncd, 0, sizeof(syncd));
	syncd.main = NO_SERVER;
	due_ms = INT64_MAX;
	if (dup2(listener, FD_LOCAL) != FD_LOCAL)
		abort();
	for (size_t i = 0; i < CHANNELS; i++)
		list[i] = (struct table_channel){channels[i], table_pair(numbers[i])};
	warm_up();
	loop_detach_channel(&syncd.child.control);
}

static int
turn(size_t which)
{
	(void)which;
	for (int i = 0; i < 3; i++) {
		if (setjmp(left) != 0 || channel_read(&syncd.child.control) < 0)
			return 0;
		uv_run(&syncd.loop, UV_RUN_NOWAIT);
	}
	return 1;
}

static void
stop(void)
{
	syncd.running = 0;
	data_links_net_down(&syncd.links);
	for (size_t i = 0; i < CHANNELS; i++) {
		if (i > 0 && list[i].channel->fd >= 0)
			loop_detach_channel(list[i].channel);
		if (list[i].channel->fd >= 0)
			channel_close(list[i].channel);
		close(list[i].end);
		dup2(FD_EDGE(PROC_BEATD), numbers[i]);
	}
	if (syncd.store != NULL) {
		face_close(&syncd.face);
		while (!face_closed(&syncd.face))
			uv_run(&syncd.loop, UV_RUN_NOWAIT);
		face_free(&syncd.face);
	}
	table_close_loop(&syncd.loop);
	again_feed();
	again_follow();
	again_position();
	again_proxy();
	again_reach();
	store_close(syncd.store);
	table_close_all(FD_FIRST_FREE);
	if (syncd.store != NULL)
		clear_folder();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	set_up_once();
	start();
	table_play(data, size, list, CHANNELS, turn);
	stop();
	return 0;
}

static size_t
append_role(uint8_t *out, size_t size, size_t n, enum data_role role, uint8_t main)
{
	static struct msg m;

	msg_begin(&m, MSG_DATA_ROLE);
	msg_put_u8(&m, (uint8_t)role);
	msg_put_u8(&m, main);
	msg_put_u8(&m, DATA_MAIN_HEARD);
	msg_put_u64(&m, 3);
	return table_append(out, size, n, 2, &m);
}

static size_t
append_link_in(uint8_t *out, size_t size, size_t n, enum link_kind kind)
{
	static const uint8_t address[16] = {127, 0, 0, 2};
	static struct msg m;

	msg_begin(&m, MSG_LINK_IN);
	msg_put_u32(&m, LINK_INBOUND_TOKEN | (uint32_t)kind);
	msg_put_u8(&m, (uint8_t)kind);
	msg_put_u8(&m, 4);
	msg_put_u8(&m, 0);
	msg_put_bytes(&m, address, sizeof(address));
	msg_put_u16(&m, 5481);
	return table_append(out, size, n, 1, &m);
}

/* A standby of b, then main with data; links from and to others; a reload; everything once. */
size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static struct conf c;
	size_t n;

	table_conf(&c);
	n = table_append_conf(out, size, 0, 0, &c, PROC_SYNCD);
	n = table_append_u64(out, size, n, 0, MSG_PREPARE, 1);
	n = table_append_u64(out, size, n, 0, MSG_COMMIT, 1);
	n = append_role(out, size, n, DATA_STANDBY, 1);
	n = append_link_in(out, size, n, LINK_SYNC);
	n = append_role(out, size, n, DATA_MAIN, 0);
	n = append_link_in(out, size, n, LINK_REQUEST);
	n = table_append_u64(out, size, n, 2, MSG_DATA_INIT, 1);
	n = table_append_all(out, size, n, 1, PROC_NETD, PROC_SYNCD);
	n = table_append_all(out, size, n, 2, PROC_ROLED, PROC_SYNCD);
	n = table_append_all(out, size, n, 3, PROC_KEYD, PROC_SYNCD);
	c.general.n_servers = 2;
	n = table_append_conf(out, size, n, 0, &c, PROC_SYNCD);
	n = table_append_u64(out, size, n, 0, MSG_PREPARE, 2);
	n = table_append_u64(out, size, n, 0, MSG_COMMIT, 2);
	return table_append_all(out, size, n, 0, PROC_SUPERVISOR, PROC_SYNCD);
}
