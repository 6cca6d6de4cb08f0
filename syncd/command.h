/* SPDX-License-Identifier: ISC */
/*
 * Commands: commands.def is the table of them, command.c finds, checks and executes; the handlers
 * are in command_*.c.
 */
#ifndef BH_SYNCD_COMMAND_H
#define BH_SYNCD_COMMAND_H

#include "client.h"

enum command_flag { /* the names of COMMAND INFO, in its order */
	CMD_WRITE = 1 << 0,
	CMD_READONLY = 1 << 1,
	CMD_DENYOOM = 1 << 2,
	CMD_ADMIN = 1 << 3,
	CMD_PUBSUB = 1 << 4,
	CMD_NOSCRIPT = 1 << 5,
	CMD_LOADING = 1 << 6,
	CMD_STALE = 1 << 7,
	CMD_SKIP_SLOWLOG = 1 << 8,
	CMD_FAST = 1 << 9,
	CMD_NO_AUTH = 1 << 10,
	CMD_ALLOW_BUSY = 1 << 11,
	CMD_SHOWN = (1 << 12) - 1,
	/* ours */
	CMD_NOW = 1 << 12,    /* executed at once, also between MULTI and EXEC */
	CMD_LISTEN = 1 << 13, /* allowed to a client that listens (version 2) */
	CMD_ALONE = 1 << 14   /* refused inside of a transaction */
};

enum command_class { /* of access control lists, those that are not told by the flags */
	ACL_NONE,
	ACL_KEYSPACE = 1 << 0,
	ACL_STRING = 1 << 1,
	ACL_HASH = 1 << 2,
	ACL_DANGEROUS = 1 << 3,
	ACL_CONNECTION = 1 << 4,
	ACL_TRANSACTION = 1 << 5,
	ACL_ADMIN = 1 << 6
};

/* A command that is being executed. */
struct call {
	struct face *f;
	struct client *c;
	struct resp_out *out;
	const struct command *cmd;
	const struct slice *argv;
	size_t argc;
};
typedef void command_handler(struct call *a);

struct command {
	const char *name; /* "client|list": of a container */
	int arity;	  /* arguments with the name; negative: at least */
	unsigned flags;
	int first_key, last_key, key_step;
	command_handler *handler; /* NULL: a container */
	unsigned acl;
	const char *group, *since, *summary;
};

/* Once, before the first request. */
void command_init(void);
/*
 * The row of argv[0] and, of a container, argv[1]; NULL: there is none, *container is set when it
 * is only what is behind the container that is not known.
 */
const struct command *command_find(
    const struct slice *argv, size_t argc, const struct command **container);
const struct command *command_at(size_t i); /* NULL behind the last */
/* Executes a request of a client, up to its answer. */
void command_run(struct client *c, const struct slice *argv, size_t argc);
/* One command inside of a transaction, which is a change already. */
void command_run_queued(
    struct client *c, const struct command *cmd, const struct slice *argv, size_t argc);
/* All of a transaction: answered as EXEC. */
void command_run_request(struct client *c, const struct face_request *r);
/* Sends the notifications of the change that is done, or forgets those of one that is not. */
void command_send_events(struct face *f, bool done);
/* The key, or all of them, changed: WATCH sees it. */
void command_touch(struct face *f, struct slice key);
void command_touch_all(struct face *f);
/* Where the answers are that a failed flush takes back. */
void command_mark(struct face *f, struct client *c, size_t start, size_t end, bool push);
/* The answer for a change that failed with that errno, with its code: "-ERR ...". */
const char *command_failure(int error);
/* Whether its user may not change anything now. One of another server was looked at there. */
bool command_reads_only(const struct client *c);
/* Where a change or an action of this client is made; the epoch is set when it is here. */
enum face_route command_route(struct client *c, const char **refusal);
/* An action of a client, of a program on that server: answered now or at its end. */
void command_act(struct client *c, const struct face_action *a, const char *server);
/* WAIT and WAITAOF: answers if it is time to (deadline: its time is up). */
bool command_wait_done(struct client *c, bool deadline);

/* Answers that many commands give. */
void reply_wrong_type(struct call *a);
void reply_syntax(struct call *a);
/* Arguments: each answers the error itself and returns -1. text NULL: the usual one. */
int arg_int(struct call *a, struct slice s, int64_t *n, const char *text);
int arg_range(
    struct call *a, struct slice s, int64_t low, int64_t high, int64_t *n, const char *text);
/* The key of argv[i] of that type: 1, 0 not there, -1 answered WRONGTYPE. */
int arg_key(struct call *a, size_t i, enum value_type type, struct value *v);
/*
 * A time that a key ends, as an argument: in s or ms, from now or absolute, to Unix ms. 0, or -1
 * and answered.
 */
int arg_expiry(struct call *a, struct slice s, bool seconds, bool absolute, int64_t *ms);

/* SCAN and HSCAN: options behind the cursor. */
struct scan_options {
	struct slice pattern;
	bool match;
	int64_t count;
	struct slice type;
};
int arg_cursor(struct call *a, struct slice s, uint64_t *cursor);
/* The options in argv[from] and behind it. */
int arg_scan(struct call *a, size_t from, struct scan_options *o);
/* The n elements behind place become the second half of the answer. */
void reply_scan(struct call *a, size_t place, uint64_t cursor, size_t n);

#define COMMAND(name, arity, flags, first, last, step, handler, acl, group, since, summary)        \
	command_handler handler;
#define CONTAINER(name, arity, flags, acl, group, since, summary)
#include "commands.def"
#undef COMMAND
#undef CONTAINER

#endif
