/* SPDX-License-Identifier: ISC */
/*
 * roled with hostile neighbours: every channel that it has (supervisor, netd, icmpd, keyd, an admin
 * client, and syncd) is fed packets made from the input, in the order of the input. The real
 * tables, handlers, links and role machine run; files are real, processes and sockets of partners
 * are not.
 *
 * Input: u8 which channel, u8 message type, u8 state of the channel (and with TIME_LEAP, time
 * passes first), u8 length of the body, body; and so on. Time is that of the input alone. Types are
 * made valid for the direction half of the time by taking them modulo the table.
 */
#include "config.h"

#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "roled/roled.h"

enum { CHANNELS = 6, CLIENT = 4, FAR = 40, TURNS = 2, PACKETS = 40 };
enum { TIME_START_MS = 1000000, TIME_LEAP = 0x80, TIME_LEAP_MS = 700 };

static const enum process peers[CHANNELS] = {
    PROC_SUPERVISOR, PROC_NETD, PROC_ICMPD, PROC_KEYD, PROC_CTL, PROC_SYNCD};

struct roled roled;
static struct conf conf;
static struct ledger ledger; /* empty */
static int ends[CHANNELS];   /* the hostile ends, moved above FAR */

/* ---- time */

static int64_t time_ms = TIME_START_MS;

int64_t
now_ms(void)
{
	return time_ms;
}

int64_t
now_us(void)
{
	return time_ms * 1000;
}

/* ---- what main.c has */

void
roled_wake_at(int64_t due_ms)
{
	(void)due_ms;
}

void
roled_end_soon(int exit_code, int64_t at_ms)
{
	roled.exit_code = exit_code;
	roled.exit_ms = at_ms;
}

void
roled_exit(int exit_code)
{
	(void)exit_code;
	abort(); /* nobody but a broken supervisor makes it leave, and that is looked at below */
}

/* ---- surroundings */

static void
quiet_log(enum log_level level, const char *text)
{
	if (getenv("FUZZ_LOG") != NULL)
		dprintf(2, "%d %s\n", (int)level, text);
}

static void
make_conf(void)
{
	struct conf_general *g = &conf.general;

	conf_defaults(&conf);
	strcpy(g->group, "fuzz");
	g->n_servers = 3;
	g->n_references = 1;
	g->n_checks = 1;
	strcpy(conf.check[0].name, "c");
	for (uint8_t i = 0; i < 3; i++) {
		struct conf_server *s = &conf.server[i];

		s->name[0] = (char)('a' + i);
		s->n_paths = 1;
		s->port = 5481;
		s->kind = i == 2 ? KIND_DMZ : KIND_STANDARD;
		s->path[0].family = AF_INET;
		s->path[0].bytes[3] = (uint8_t)(i + 1);
		memset(s->key_status, i + 1, 32);
		memset(s->key_data, i + 11, 32);
	}
	conf.reference[0].addr = conf.server[0].path[0];
	conf_digest(&conf, conf.digest);
}

/* A file on its fixed number. */
static void
put_file(int number)
{
	char path[] = "/tmp/bh-fuzz-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0)
		abort();
	unlink(path);
	if (fd != number) {
		if (dup2(fd, number) != number)
			abort();
		close(fd);
	}
}

/* Nothing else may land on a fixed number. */
static void
keep_number(int number)
{
	if (fcntl(number, F_GETFD) < 0 && dup2(FD_LEDGER, number) != number)
		abort();
}

static void
set_up_once(void)
{
	static int done;

	if (done)
		return;
	done = 1;
	signal(SIGPIPE, SIG_IGN);
	log_to(quiet_log);
	log_on_fatal(abort); /* no packet ends it that way */
	if (sodium_init() < 0)
		abort();
	make_conf();
	for (int fd = 3; fd < FAR; fd++) /* ours from now on, whatever the test runner left there */
		close(fd);
	for (int fd = 3; fd < FD_FIRST_FREE; fd++)
		put_file(fd);
	if (ledger_open(&ledger, FD_LEDGER) != STORE_OK)
		abort();
}

static int
pair_at(int number)
{
	int fds[2], far;

	if (channel_pair(fds) != 0)
		abort();
	far = fcntl(fds[1], F_DUPFD_CLOEXEC, FAR);
	close(fds[1]);
	if (far < 0 || dup2(fds[0], number) != number)
		abort();
	close(fds[0]);
	return far;
}

/* A client, as accept would have brought it. */
static void
put_client(void)
{
	int fds[2];

	if (channel_pair(fds) != 0)
		abort();
	ends[CLIENT] = fds[1];
	admin_add_client(fds[0], 0);
}

static void
start(void)
{
	uint8_t content[STORE_CONTENT];
	size_t len;

	memset(&roled, 0, sizeof(roled));
	roled.boot = 7;
	time_ms = TIME_START_MS;
	uv_loop_init(&roled.loop);
	for (int i = 0; i < CHANNELS; i++) {
		if (i == CLIENT)
			continue;
		ends[i] = pair_at(peers[i] == PROC_SUPERVISOR ? FD_CONTROL : FD_EDGE(peers[i]));
	}
	if (ftruncate(FD_STATE, 0) != 0)
		abort();
	store_open(&roled.store, FD_STATE, content, &len);
	roled.ledger = ledger; /* what the file has of others is not looked at */
	machine_persisted_blank(&roled.persisted);
	ipc_init();
	loop_detach_channel(&roled.child.control); /* read by hand: its end is the end of roled */
	links_init(&roled.links, &roled.loop, &ipc_links_ops, &roled, roled.boot);
	put_client();
	roled.introduced = 1;
	roled.child.conf[0] = conf;
	roled.child.committed = 1;
	links_configure(&roled.links, NULL, child_conf(&roled.child));
	input_start(now_ms());
	links_net_up(&roled.links);
	input_local(PROC_NETD, 1);
}

static void
stop(void)
{
	struct channel *all[] = {
	    &roled.child.control, &roled.netd, &roled.icmpd, &roled.keyd, &roled.syncd};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		loop_detach_channel(all[i]);
		if (all[i]->fd >= 0)
			channel_close(all[i]);
	}
	admin_close_all();
	links_close(&roled.links);
	uv_run(&roled.loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&roled.loop) != 0)
		abort();
	for (int i = 0; i < CHANNELS; i++)
		close(ends[i]);
	for (int fd = FD_CONTROL; fd < FD_STATE; fd++)
		keep_number(fd);
}

/* ---- packets */

static struct channel *
channel_of(int which)
{
	switch (which) {
	case 0:
		return &roled.child.control;
	case 1:
		return &roled.netd;
	case 2:
		return &roled.icmpd;
	case 3:
		return &roled.keyd;
	case CLIENT:
		return &roled.client[0].channel;
	default:
		return &roled.syncd;
	}
}

/* Throw away what roled has said, so that its queues do not fill. */
static void
listen_a_bit(void)
{
	static uint8_t packet[MSG_SIZE_MAX];
	struct pollfd ready[CHANNELS];

	for (int i = 0; i < CHANNELS; i++)
		ready[i] = (struct pollfd){.fd = ends[i], .events = POLLIN};
	if (poll(ready, CHANNELS, 0) <= 0)
		return;
	for (int i = 0; i < CHANNELS; i++) {
		while ((ready[i].revents & POLLIN) &&
		       recv(ends[i], packet, sizeof(packet), MSG_DONTWAIT) > 0)
			;
	}
}

/* The supervisor cut the offender off and gives roled a fresh channel. */
static void
bring_back(int which)
{
	static struct msg m;
	struct channel supervisor;
	int fds[2];

	close(ends[which]);
	if (peers[which] == PROC_CTL) {
		put_client();
		return;
	}
	if (channel_pair(fds) != 0)
		abort();
	channel_init(&supervisor, ends[0], PROC_SUPERVISOR, PROC_ROLED, NULL, NULL);
	msg_begin(&m, MSG_PEER);
	msg_put_u8(&m, (uint8_t)peers[which]);
	msg_put_u8(&m, 0);
	msg_put_fd(&m, fds[0]);
	if (channel_send(&supervisor, &m) != 0 || channel_read(&roled.child.control) < 0 ||
	    channel_of(which)->fd < 0)
		abort();
	close(fds[0]);
	ends[which] = fds[1];
}

/* What is due at the end of a turn of the loop. */
static void
turn(void)
{
	if (roled.running) {
		(void)ipc_watch_netd(time_ms);
		(void)links_tick(&roled.links, time_ms);
		if (time_ms >= roled.machine_next_ms)
			input_tick(time_ms);
		if (roled.second_ms != 0 && time_ms >= roled.second_ms)
			outputs_second(time_ms);
	}
	(void)admin_turn();
}

static void
give(int which, uint8_t type, uint8_t state, const uint8_t *body, size_t n)
{
	static const enum channel_state states[] = {S_RUN, S_RUN, S_START, S_PREPARE, S_STOP};
	static uint8_t packet[MSG_HEADER + 255];
	struct channel *c = channel_of(which);
	const struct message_row *row = message_row(type);

	if (c->fd < 0)
		bring_back(which);
	c->state = states[state % 5];
	memset(c->once, 0, sizeof(c->once));
	if (row != NULL && (row->flags & F_PERMIT))
		channel_permit(c, (enum message_type)type);
	packet[0] = type;
	packet[1] = packet[2] = packet[3] = 0;
	memcpy(packet + MSG_HEADER, body, n);
	if (send(ends[which], packet, MSG_HEADER + n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
	if (state & TIME_LEAP)
		time_ms += TIME_LEAP_MS;
	for (int i = 0; i < TURNS; i++) {
		time_ms++;
		if (channel_read(&roled.child.control) < 0)
			roled.child.control.violation = V_NONE; /* it would leave; here it stays */
		uv_run(&roled.loop, UV_RUN_NOWAIT);
		turn();
		store_mirror(&roled.store);
		listen_a_bit();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	set_up_once();
	start();
	for (int i = 0; i < PACKETS && size >= 4; i++) {
		size_t n = data[3] < size - 4 ? data[3] : size - 4;

		give(data[0] % CHANNELS, data[1] % MSG_TYPE_MAX, data[2], data + 4, n);
		data += 4 + n;
		size -= 4 + n;
	}
	stop();
	return 0;
}

/* One good message of each kind that somebody may send to roled. */
size_t
fuzz_seed(uint8_t *out, size_t size)
{
	size_t n = 0;

	for (unsigned type = 0; type < MSG_TYPE_MAX; type++) {
		const struct message_row *row = message_row(type);

		if (row == NULL || !(row->to & P(ROLED)) || row->fds > 0 || row->min > 200)
			continue;
		for (uint8_t i = 0; i < CHANNELS; i++) {
			if (!(row->from & (1U << peers[i])) || n + 4 + row->min > size)
				continue;
			out[n++] = i;
			out[n++] = (uint8_t)type;
			out[n++] = 0;
			out[n++] = (uint8_t)row->min;
			memset(out + n, 0, row->min);
			n += row->min;
		}
	}
	return n;
}
