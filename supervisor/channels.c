/* SPDX-License-Identifier: ISC */
/*
 * The channel matrix: which process may talk to which. Nothing else exists.
 */
#include "config.h"

#include "supervisor.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* One line per edge; the control channel of each child to the supervisor comes on top. */
static struct edge {
	enum process end[2];
	int kept[2]; /* socket for that end, waiting for its process to be started; -1: none */
} matrix[] = {
    {{PROC_NETD, PROC_ROLED}, {-1, -1}},
    {{PROC_ICMPD, PROC_ROLED}, {-1, -1}},
    {{PROC_ROLED, PROC_KEYD}, {-1, -1}},
    {{PROC_NETD, PROC_SYNCD}, {-1, -1}},
    {{PROC_ROLED, PROC_SYNCD}, {-1, -1}},
    {{PROC_SYNCD, PROC_KEYD}, {-1, -1}},
};
enum { N_EDGES = sizeof(matrix) / sizeof(matrix[0]) };

int
channels_edge(enum process a, enum process b)
{
	for (size_t i = 0; i < N_EDGES; i++) {
		if ((matrix[i].end[0] == a && matrix[i].end[1] == b) ||
		    (matrix[i].end[0] == b && matrix[i].end[1] == a))
			return 1;
	}
	return 0;
}

static void
drop_kept(struct edge *e, int side)
{
	if (e->kept[side] >= 0)
		close(e->kept[side]);
	e->kept[side] = -1;
}

/* A running process gets the new end of its channel to peer. */
static void
tell_peer(struct proc *p, enum process peer, int same, int fd)
{
	static struct msg m;

	msg_begin(&m, MSG_PEER);
	msg_put_u8(&m, (uint8_t)peer);
	msg_put_u8(&m, same != 0);
	msg_put_fd(&m, fd);
	proc_send(p, &m);
	close(fd);
}

/* One edge of the process about to start. Returns 0 or -1. */
static int
connect_edge(struct edge *e, int side, struct spawn *s)
{
	struct proc *other = proc_of(e->end[!side]);
	int fds[2];

	if (e->kept[side] < 0) {
		if (channel_pair(fds) != 0) {
			log_error("cannot make the channel of %s and %s, the start is tried again: "
				  "%s (open files or memory of this machine used up?)",
			    process_name(e->end[0]), process_name(e->end[1]), strerror(errno));
			return -1;
		}
		e->kept[side] = fds[0];
		drop_kept(e, !side);
		if (other->pid > 0)
			tell_peer(other, e->end[side], 0, fds[1]);
		else
			e->kept[!side] = fds[1];
	}
	s->fd[FD_EDGE(e->end[!side])] = e->kept[side];
	return 0;
}

int
channels_renew(enum process a, enum process b)
{
	struct proc *p = proc_of(a), *q = proc_of(b);
	int fds[2];

	if (p->pid <= 0 || q->pid <= 0) /* the start of the other one makes it */
		return 0;
	if (channel_pair(fds) != 0) {
		log_error("cannot make a new channel of %s and %s, one of them is restarted: "
			  "%s (open files or memory of this machine used up?)",
		    process_name(a), process_name(b), strerror(errno));
		return -1;
	}
	tell_peer(p, b, 1, fds[0]);
	tell_peer(q, a, 1, fds[1]);
	return 0;
}

int
channels_connect(struct spawn *s)
{
	for (size_t i = 0; i < N_EDGES; i++) {
		for (int side = 0; side < 2; side++) {
			if (matrix[i].end[side] == s->process &&
			    connect_edge(&matrix[i], side, s) != 0)
				return -1;
		}
	}
	return 0;
}

void
channels_release(struct spawn *s)
{
	for (size_t i = 0; i < N_EDGES; i++) {
		for (int side = 0; side < 2; side++) {
			if (matrix[i].end[side] == s->process)
				drop_kept(&matrix[i], side);
		}
	}
}

void
channels_drop(enum process process)
{
	for (size_t i = 0; i < N_EDGES; i++) {
		if (matrix[i].end[0] == process || matrix[i].end[1] == process) {
			drop_kept(&matrix[i], 0);
			drop_kept(&matrix[i], 1);
		}
	}
}
