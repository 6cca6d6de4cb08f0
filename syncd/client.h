/* SPDX-License-Identifier: ISC */
/*
 * One connection of an app: what it sent and is not executed yet, what it is to be sent, and what
 * it said about itself. A client without a socket stands for one of another server.
 */
#ifndef BH_SYNCD_CLIENT_H
#define BH_SYNCD_CLIENT_H

#include "face.h"

enum client_flag {
	CLIENT_MULTI = 1 << 0,
	CLIENT_SPOILED = 1 << 1,      /* a queued command was refused: EXEC will be too */
	CLIENT_WATCH_BROKEN = 1 << 2, /* a watched key changed */
	CLIENT_CLOSE_AFTER = 1 << 3,  /* when its answers are sent */
	CLIENT_DEAD = 1 << 4,
	CLIENT_REMOTE = 1 << 6,
	CLIENT_MUTE = 1 << 7,	   /* CLIENT REPLY OFF */
	CLIENT_SKIP_NEXT = 1 << 8, /* CLIENT REPLY SKIP: the next command's answer */
	CLIENT_SKIP = 1 << 9,
	CLIENT_IN_TURN = 1 << 10, /* in face.turn */
	CLIENT_NO_EVICT = 1 << 11,
	CLIENT_GIVEN = 1 << 13, /* its socket is somebody else's */
	CLIENT_KNOWN = 1 << 14, /* the owner may keep something of it: main was asked */
	CLIENT_LATE = 1 << 15	/* in face.late: the turn is over before its requests are */
};

enum client_state {
	CLIENT_RUNS,
	CLIENT_PROXIED, /* main was asked */
	CLIENT_WAITS,	/* WAIT, WAITAOF */
	CLIENT_HELD,	/* its answers wait for standbys (sync mode) */
	CLIENT_ACTS	/* it waits for the end of its action */
};

/* Queued commands of MULTI: their bytes one behind the other. */
struct client_queue {
	uint8_t *bytes;
	size_t len, size;
	struct slice *args; /* data is an offset into bytes until EXEC */
	size_t n_args, args_size;
	struct queued {
		const struct command *command;
		size_t first, argc;
	} * commands;
	size_t n_commands, commands_size;
	bool writes;
};

struct client {
	struct face *face;
	struct client *next, **link; /* face.clients */
	struct client *next_turn, *next_dead, *next_late;
	uint64_t id;
	int fd;
	uv_poll_t poll;
	int events; /* that the poll handle waits for */
	uid_t uid;
	pid_t pid;
	unsigned flags;
	enum client_state state;
	int64_t since_ms, active_ms; /* CLOCK_BOOTTIME */

	uint8_t *in;
	size_t in_at, in_len, in_size;
	struct resp_request request;
	struct resp_out out;
	size_t sent, counted; /* counted: of out, in face.remote_bytes */

	char *name;
	const struct command *last;
	struct client_queue queue;
	struct interest_list watched, channels, patterns;
	struct position written; /* its newest change */
	/* what it is to be sent says that standbys have this change (sync mode); 0: said */
	uint64_t owes;
	struct interest_list serves; /* names of actions */
	unsigned n_given;	     /* actions that it has and did not answer */
	uint64_t given_turn;	     /* when it was given the last one: actions.turn */

	int64_t wait_until_ms; /* 0: for ever */
	size_t wait_standbys;
	bool wait_disk, wait_local;
};

/* fd: a connected socket, -1 for a remote one. NULL: no memory. */
struct client *client_new(struct face *f, int fd, uid_t uid, pid_t pid);
/* No more of it; freed at the end of the turn. why is logged, NULL: nothing special. */
void client_end(struct client *c, const char *why);
void client_free_dead(struct face *f);
struct client *client_find(struct face *f, uint64_t id);

/* It has something to send or to execute in this turn. */
void client_in_turn(struct client *c);
/* One of another server: its answer counts among face.remote_bytes. */
void client_count(struct client *c);
/* Its request went to main. */
void client_proxied(struct client *c);
/* The answer that it waited for is there, or there is none to be: it goes on. */
void client_answered(struct client *c);
/* Executes what is there as far as possible, and as the turn has time. */
void client_run(struct client *c);
/* Those whose requests the last turn had no time for: the first one goes on now. */
void client_run_late(struct face *f);
/* Sends what is there; waits for room in the socket, or for its state. */
void client_send(struct client *c);

/* 0, or -1: too large or no memory. */
int client_queue_add(
    struct client *c, const struct command *cmd, const struct slice *argv, size_t argc);
void client_queue_clear(struct client *c);
int client_set_name(struct client *c, struct slice name);
size_t client_subscriptions(const struct client *c);
/* Nothing that would be seen by a new connection is left (RESET). */
void client_reset(struct client *c);
/* The line of CLIENT LIST, without its end. */
void client_describe(const struct client *c, struct resp_out *text);

#endif
