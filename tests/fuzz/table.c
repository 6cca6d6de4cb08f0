/* SPDX-License-Identifier: ISC */
/*
 * Hostile ends of channels; see table.h.
 */
#include "config.h"

#include "table.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/log.h"

void (*table_adjust)(unsigned type, uint8_t *body, size_t n);
void (*table_later)(void);

/* What goes to the log must be fit for a terminal, whatever it was made of. */
static void
quiet_log(enum log_level level, const char *text)
{
	if (getenv("FUZZ_LOG") != NULL)
		dprintf(2, "%d %s\n", (int)level, text);
	for (const char *s = text; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
			abort();
	}
}

void
table_set_up(void)
{
	struct rlimit files = {.rlim_cur = 2L * TABLE_FAR, .rlim_max = 2L * TABLE_FAR};
	int null_fd;

	signal(SIGPIPE, SIG_IGN);
	log_to(quiet_log);
	log_on_fatal(abort); /* no packet ends a process that way */
	(void)setrlimit(RLIMIT_NOFILE, &files);
	(void)unshare(CLONE_NEWNET); /* nothing that a target does may reach a network */
	if (sodium_init() < 0)
		abort();
	for (int fd = 3; fd < TABLE_FAR; fd++)
		close(fd);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 3; fd < FD_FIRST_FREE; fd++) {
		if (fd != null_fd && dup2(null_fd, fd) < 0)
			abort();
	}
}

int
table_pair(int number)
{
	int fds[2], far;

	if (channel_pair(fds) != 0)
		abort();
	far = fcntl(fds[1], F_DUPFD_CLOEXEC, TABLE_FAR);
	close(fds[1]);
	if (far < 0 || dup2(fds[0], number) != number)
		abort();
	close(fds[0]);
	return far;
}

void
table_conf(struct conf *c)
{
	struct conf_general *g = &c->general;

	conf_defaults(c);
	strcpy(g->group, "fuzz");
	strcpy(g->state_dir, "/var/lib/bulkhead");
	strcpy(g->run_dir, "/run/bulkhead");
	g->n_servers = 3;
	g->n_references = 1;
	g->n_checks = 1;
	strcpy(c->check[0].name, "c");
	strcpy(c->check[0].command, "/bin/true");
	for (uint8_t i = 0; i < 3; i++) {
		struct conf_server *s = &c->server[i];

		s->name[0] = (char)('a' + i);
		s->n_paths = 1;
		s->port = 5481;
		s->kind = i == 2 ? KIND_DMZ : KIND_STANDARD;
		s->path[0].family = AF_INET;
		s->path[0].bytes[0] = 127;
		s->path[0].bytes[3] = (uint8_t)(i + 1);
		memset(s->key_status, i + 1, 32);
		memset(s->key_data, i + 11, 32);
	}
	c->reference[0].addr = c->server[0].path[0];
	c->reference[0].addr.bytes[3] = 9;
	conf_digest(c, c->digest);
}

/* A descriptor of one of four kinds. */
static int
make_fd(unsigned kind)
{
	int fds[2] = {-1, -1};

	switch (kind) {
	case 0:
		(void)socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);
		break;
	case 1:
		(void)socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);
		break;
	case 2:
		return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	default:
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	if (fds[1] >= 0) /* something to read, and then the end */
		(void)!write(fds[1], "BHL1 no hello", 13);
	close(fds[1]);
	return fds[0];
}

/* Send one packet with some descriptors. */
static void
give(int end, const uint8_t *packet, size_t n, unsigned n_fds, unsigned kind)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)packet, .iov_len = n};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[2] = {-1, -1};

	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = make_fd(kind);
	if (n_fds > 0 && fds[0] >= 0) {
		struct cmsghdr *cm;

		memset(&control, 0, sizeof(control));
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, n_fds * sizeof(int));
	}
	(void)sendmsg(end, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	for (unsigned i = 0; i < n_fds; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

void
table_drain(const struct table_channel *list, size_t n)
{
	static uint8_t packet[MSG_SIZE_MAX];
	struct pollfd ready[TABLE_CHANNELS];

	for (size_t i = 0; i < n; i++)
		ready[i] = (struct pollfd){.fd = list[i].end, .events = POLLIN};
	if (poll(ready, n, 0) <= 0)
		return;
	for (size_t i = 0; i < n; i++) {
		while ((ready[i].revents & POLLIN) &&
		       recv(list[i].end, packet, sizeof(packet), MSG_DONTWAIT) > 0)
			;
	}
}

/* The packet into the channel, which is brought into the state that the input asks for. */
static void
play_one(const struct table_channel *t, uint8_t type, uint8_t how, const uint8_t *body, size_t n)
{
	static const enum channel_state states[] = {S_START, S_RUN, S_PREPARE, S_STOP};
	static uint8_t packet[MSG_SIZE_MAX];
	const struct message_row *row = message_row(type);
	unsigned n_fds = row != NULL ? row->fds : 0;

	if ((how & 7) >= 4)
		t->channel->state = states[how & 3];
	if (row != NULL && (row->flags & F_PERMIT) && t->channel->permit[type] == 0)
		channel_permit(t->channel, (enum message_type)type);
	if (how & 0x40)
		n_fds++;
	if ((how & 0x80) && n_fds > 0)
		n_fds--;
	memset(packet, 0, MSG_HEADER);
	packet[0] = type;
	memcpy(packet + MSG_HEADER, body, n);
	if (table_adjust != NULL)
		table_adjust(type, packet + MSG_HEADER, n);
	give(t->end, packet, MSG_HEADER + n, n_fds, how >> 4 & 3);
}

void
table_play(const uint8_t *data, size_t size, struct table_channel *list, size_t n,
    int (*turn)(size_t which))
{
	if (n > TABLE_CHANNELS)
		abort();
	for (int i = 0; i < TABLE_PACKETS && size >= TABLE_HEAD; i++) {
		size_t len = (size_t)data[3] | (size_t)data[4] << 8, which = data[0] % n;
		const uint8_t *body = data + TABLE_HEAD;

		if (len > size - TABLE_HEAD)
			len = size - TABLE_HEAD;
		if (len > MSG_SIZE_MAX - MSG_HEADER)
			len = MSG_SIZE_MAX - MSG_HEADER;
		if (table_later != NULL && (data[2] & 8))
			table_later();
		if (list[which].end >= 0 && list[which].channel->fd >= 0) {
			play_one(&list[which], data[1] % MSG_TYPE_MAX, data[2], body, len);
			if (!turn(which))
				return;
			table_drain(list, n);
		}
		data = body + len;
		size -= TABLE_HEAD + len;
	}
}

void
table_close_all(int from)
{
	if (syscall(SYS_close_range, (unsigned)from, TABLE_FAR - 1U, 0U) != 0)
		abort();
}

/* ---- seeds */

size_t
table_append(uint8_t *out, size_t size, size_t n, uint8_t which, const struct msg *m)
{
	if (m->bad || size - n < TABLE_HEAD + m->len)
		return n;
	out[n++] = which;
	out[n++] = (uint8_t)m->type;
	out[n++] = 0;
	out[n++] = (uint8_t)m->len;
	out[n++] = (uint8_t)(m->len >> 8);
	memcpy(out + n, m->body, m->len);
	return n + m->len;
}

size_t
table_append_u64(
    uint8_t *out, size_t size, size_t n, uint8_t which, enum message_type type, uint64_t value)
{
	static struct msg m;

	msg_begin(&m, type);
	msg_put_u64(&m, value);
	return table_append(out, size, n, which, &m);
}

size_t
table_append_conf(
    uint8_t *out, size_t size, size_t n, uint8_t which, const struct conf *c, enum process to)
{
	static struct msg m;

	msg_begin(&m, MSG_CONF_GENERAL);
	conf_put_general(&m, &c->general);
	n = table_append(out, size, n, which, &m);
	for (uint8_t i = 0; i < c->general.n_servers; i++) {
		msg_begin(&m, MSG_CONF_SERVER);
		conf_put_server(&m, i, &c->server[i]);
		n = table_append(out, size, n, which, &m);
	}
	if (to != PROC_RUNNER) {
		msg_begin(&m, MSG_CONF_REFERENCE);
		conf_put_reference(&m, 0, &c->reference[0]);
		n = table_append(out, size, n, which, &m);
	}
	if (to != PROC_RUNNER && to != PROC_SUPERVISOR)
		return n;
	msg_begin(&m, MSG_CONF_HOOK);
	conf_put_hook(&m, 0, &c->hook[0]);
	n = table_append(out, size, n, which, &m);
	msg_begin(&m, MSG_CONF_CHECK);
	conf_put_check(&m, 0, &c->check[0]);
	return table_append(out, size, n, which, &m);
}

size_t
table_append_all(
    uint8_t *out, size_t size, size_t n, uint8_t which, enum process from, enum process to)
{
	static struct msg m;

	for (unsigned type = 0; type < MSG_TYPE_MAX; type++) {
		const struct message_row *row = message_row(type);

		if (row == NULL || !(row->from & (1U << from)) || !(row->to & (1U << to)))
			continue;
		msg_begin(&m, (enum message_type)type);
		memset(m.body, 0, row->min);
		m.len = row->min;
		n = table_append(out, size, n, which, &m);
	}
	return n;
}
