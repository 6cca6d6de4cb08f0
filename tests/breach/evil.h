/* SPDX-License-Identifier: ISC */
/*
 * Evil peers: one thing that a receiver must not put up with is a cell. evil_cells.c makes them
 * from messages.def and says them, evil_peer.c says them to running daemons, evil_host.c to the
 * real programs of the children, which it starts as their supervisor does.
 */
#ifndef BH_TESTS_BREACH_EVIL_H
#define BH_TESTS_BREACH_EVIL_H

#include <sys/types.h>

#include "lib/channel.h"

enum {
	EVIL_WRONG = 1, /* exit codes */
	EVIL_UNTRIED = 2,
	PACKET_MAX = 65535,
	WAIT_MS = 20000,
};
#define V(x) (1U << V_##x)

enum { SINGLE = 1, TIMED = 2 };
enum descriptor { FD_PLAIN, FD_FOLDER, FD_TERMINAL, FD_OWN_END };
enum way {
	WAY_PACKET,
	WAY_TWICE,
	WAY_EMPTY,
	WAY_EMPTY_TWICE,
	WAY_EMPTY_CLOSE,
	WAY_HALF_CLOSE,
	WAY_CLOSE
};

struct cell {
	enum way way;
	uint16_t type;
	uint16_t high; /* the header's second field, zero in a good packet */
	size_t size;   /* of the whole packet */
	unsigned n_fds;
	enum descriptor kind;
	char fill;  /* of the body */
	int forged; /* with the supervisor's credentials */
	int single; /* SINGLE: there is only one like it; TIMED: of the wrong time; 0: one of many
		     */
	unsigned expected; /* mask of enum channel_violation; 0: none is reported */
	const char *what;
};

/* evil_cells.c */

extern struct cell cells[];
extern size_t n_cells;
/* Whose credentials are forged; continued by evil_untried(). */
extern pid_t evil_supervisor;
/* Cells that were not refused, since the start. */
extern unsigned evil_wrong;

/* All that sender must not say to receiver, whose channel is in that state, into cells. */
void make_cells(enum process receiver, enum process sender, enum channel_state state);
/*
 * number < count: one of count cells: all of the wrong time, then evenly half of those of which
 * there is one, then evenly the others. NULL: there are no more.
 */
const struct cell *choose_cell(size_t number, size_t count);
/* Returns 0, or -1 when the kernel did not take it. */
int say(const struct cell *c, int sock);
/*
 * The next packet, without waiting. As recv(2), but for the ECONNRESET of a peer that ended with
 * something unread: what it said before is there still.
 */
ssize_t take_packet(int sock, void *packet, size_t size);
/* Read until end of file. Returns 0 when the receiver closed it, -1 when it did not in time. */
int wait_cut(int sock, int ms);
/* Does a report quote the start of that packet? */
int is_quoted(const struct cell *c, const uint8_t *bytes, size_t n);
const char *state_text(enum channel_state state);
/* Name of the type that a log line gives for it. */
const char *cell_type(const struct cell *c);

/* A cell was tried at receiver; instead: NULL, or how it was not refused. */
void count_cell(
    enum process receiver, enum process sender, const struct cell *c, const char *instead);
/* The line of this channel and state: all that were counted since the last one. */
void print_result(enum process receiver, enum process sender, enum channel_state state);
/* What the log must have, for the caller to compare. */
void print_expected(enum process child, const struct cell *c);
/* Cannot go on: what, with errno. */
_Noreturn void evil_untried(const char *what);

/* evil_host.c: the supervisor is us. Returns the exit code. */
int evil_host(const char *libexec, const char *config, const char *folder, size_t count);
/* Have these two a channel, besides those of the supervisor? supervisor/channels.c has the same. */
int is_edge(enum process a, enum process b);
/* Prints what this file says to that child besides the cells, as the mode list. */
void list_odd(enum process process);
/* The same of what a neighbour says that is right in form, but of what is not used. */
void list_unused(enum process receiver, enum process sender);
/* roled is us: the receiver is bulkheadctl. */
int evil_admin(const char *ctl, const char *config, const char *socket, size_t count);

#endif
