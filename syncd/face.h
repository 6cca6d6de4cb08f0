/* SPDX-License-Identifier: ISC */
/*
 * The local face: apps of this server talk the Redis protocol on a Unix socket. What is read in one
 * turn of the loop is executed, then made durable with one store_flush(), then answered. A turn
 * with changes goes on while others have sent more meanwhile, a few looks at most: a sync costs as
 * much as the execution of some dozens of commands, so what is there already has a part in it.
 *
 * The face does not know whether it is main: it asks its owner (struct face_calls) for each write.
 */
#ifndef BH_SYNCD_FACE_H
#define BH_SYNCD_FACE_H

#include "db.h"
#include "interest.h"
#include "lib/message.h"
#include "resp.h"
#include "store.h"

#include <sys/types.h>
#include <uv.h>

/* What clients are told, that choose their behaviour by it. */
#define FACE_REDIS_VERSION "7.0.15"

/* What is to be executed elsewhere, or for somebody elsewhere. Slices are good during the call. */
struct face_watched {
	struct slice key;
	uint8_t digest[DB_DIGEST]; /* of the value that the app has seen (db_digest) */
};
struct face_command {
	const struct slice *argv;
	size_t argc;
};
struct face_request {
	const struct face_command *commands;
	size_t n_commands;		    /* 1, or any number of a transaction */
	bool transaction;		    /* all or nothing, answered as EXEC does */
	const struct face_watched *watched; /* changed since: the transaction is not done */
	size_t n_watched;
	int version; /* of the protocol, of the answer */
};

/* An action that a program wants done by an app on main. */
enum {
	ACTION_NAME = 64,	 /* bytes of its name: letters, digits and ._:/@- */
	ACTION_MS = 10000,	 /* default of face_options.action_ms */
	ACTION_MS_MAX = 3600000, /* time-out: 1 ms to 1 h */
	ACTION_TEXT = 512	 /* bytes of the text of a failure */
};
struct face_action {
	struct slice name, payload;
	int64_t left_ms; /* until its time is up */
	uid_t uid;	 /* of the program */
	pid_t pid;
	int version; /* of the protocol, of the answer */
};
/* How one ended. */
struct face_ended {
	const char *name, *server; /* the server of the program */
	uid_t uid;
	pid_t pid;
	uid_t app_uid; /* that was given it ... */
	pid_t app_pid; /* ... or 0: none was */
	enum control_end end;
	int64_t took_ms;
};
struct face_action_counts {
	size_t names, apps, waiting, given;	 /* now: given to an app, without an answer yet */
	uint64_t done, failed, unknown, refused; /* ended, since the start */
};

enum face_route {
	FACE_LOCAL, /* we are main: *epoch is set */
	FACE_PROXY, /* main is another server: send it there */
	FACE_REFUSE /* *refusal is the answer, with its code: "-READONLY ..." */
};

/*
 * What the owner gives. Any pointer but route may be NULL. Nothing of the face may be called from
 * inside of these but face_remote_free().
 */
struct face_calls {
	enum face_route (*route)(void *arg, uint64_t *epoch, const char **refusal);
	/*
	 * Sends a request of that client to main. 0: face_answer() comes later, or face_refuse();
	 * the client's further input waits. -1: it cannot be sent, *refusal is the answer.
	 */
	int (*proxy)(
	    void *arg, uint64_t client, const struct face_request *r, const char **refusal);
	/* A client that an answer was to come for is gone. */
	void (*forget)(void *arg, uint64_t client);
	/* How many standbys have p, in memory or on disk, for WAIT; face_progress(): it grew. */
	size_t (*count_synced)(void *arg, const struct position *p, bool on_disk);
	/* Answers to changes up to this index may leave (sync mode); NULL: all. */
	uint64_t (*released)(void *arg);
	/*
	 * The changes of this turn are made; our own disk comes next: others can have them
	 * meanwhile.
	 */
	void (*before_sync)(void *arg);
	/*
	 * The answer to a request of face_remote_run(); last is the newest change of that client.
	 */
	void (*remote_answer)(
	    void *arg, uint64_t client, struct slice answer, const struct position *last);
	/* Lines "name:value\r\n" of INFO replication behind role: */
	void (*describe)(void *arg, struct resp_out *text);
	/* The answer to ROLE of a server that is not main. */
	void (*role)(void *arg, struct resp_out *answer);
	/*
	 * Whether this user may only read: asked at each change, a reload may have another answer.
	 */
	bool (*reads_only)(void *arg, uid_t uid);
	/*
	 * Root wants a copy of the data on this connection, or to send one that replaces it. NULL:
	 * the connection is the owner's, who answers on it and closes it, from the next turn of the
	 * loop on. Else the refusal.
	 */
	const char *(*snapshot)(void *arg, int fd, bool restores, bool replace);
	/* Sends an action of that client to main; as proxy(). */
	int (*act)(void *arg, uint64_t client, const struct face_action *a, const char **refusal);
	/* An action ended that came here as to main. */
	void (*action_ended)(void *arg, const struct face_ended *e);
	/* Whether apps of this server may serve actions, now or as main later; else *refusal. */
	bool (*may_serve)(void *arg, const char **refusal);
	/* Name of this server, never NULL. */
	const char *(*server_name)(void *arg);
};

/* Bounds and permissions; 0 is the default. */
struct face_options {
	size_t bulk_max;	/* bytes of an argument or value (512 MiB) */
	size_t request_max;	/* bytes of a request, or of a queued transaction (1 GiB) */
	size_t output_max;	/* bytes that a client lets wait, then it is closed (1 GiB) */
	size_t output_push_max; /* ... a client that listens to notifications (32 MiB) */
	unsigned clients_max;	/* connections (900: descriptors are left for links and files) */
	bool flush_permitted;	/* FLUSHALL and FLUSHDB */
	int64_t action_ms;	/* time-out of an action that names none (ACTION_MS) */
	const char *path;	/* of the socket, to be shown */
};

/* A notification to be sent when its change is done. */
struct face_event {
	const char *name;
	struct slice key;
};

/* Where the answer of a command is that rests on changes that are not on disk yet. */
struct face_mark {
	struct client *client;
	size_t start, end;
	bool push; /* a notification, not an answer */
};

/* Actions that wait or that an app has (action.c), oldest first. */
struct actions {
	struct control *first, **last;
	size_t n_waiting, bytes; /* not given to an app yet, and of their payloads */
	uint64_t next_id, turn;
	bool due; /* an app or room for one went or came */
	uint64_t done, failed, unknown, refused;
};

struct face_counts {
	uint64_t connections, commands, rejected, expired, hits, misses, condemned, undone;
};

struct face {
	uv_loop_t *loop;
	const struct face_calls *calls;
	void *arg;
	struct face_options options;
	struct db db;

	uv_poll_t listener;
	int listen_fd;
	bool listening, accepting, closing;
	bool resting; /* a connection could not be accepted: the queue of the kernel keeps them */
	unsigned n_handles; /* that uv_close has not ended yet */
	uv_prepare_t before_poll;
	uv_check_t after_poll;
	uv_idle_t gather;    /* active: the loop looks for more before the turn ends */
	unsigned gathered;   /* times it has looked in this turn */
	uint64_t n_gathered; /* commands when it did so last */
	uv_timer_t expiry, deadlines, rest, late_ones;

	struct client *late; /* whose requests had no time in the turn, in their order */
	int64_t turn_ms;     /* when this turn began to execute something; 0: not yet */
	/* all; those with something to do; those to be freed */
	struct client *clients, *turn, *dead;
	/* n_remote: of n_clients, without a connection */
	unsigned n_clients, n_remote, n_turn, n_waiting;
	size_t remote_bytes; /* of answers to those, which are not durable yet */
	uint64_t next_id;
	struct interests watches, channels, patterns;
	struct interests served; /* names of actions, and the apps that serve them */
	struct actions actions;

	const struct command *current; /* and the outermost one, EXEC for those of a transaction */
	struct slice *argv;
	size_t argv_size;
	struct face_event *events;
	size_t n_events, events_size;
	struct face_mark *marks;
	size_t n_marks, marks_size;
	bool changed; /* in this turn */
	bool refused; /* a change found no room since the last checkpoint that was forced */
	int64_t forced_ms, started_ms;
	struct face_counts counts;
};

/*
 * Starts: listen_fd is a listening Unix socket, not blocking (-1: none, remote clients only).
 * sodium is initialised. Returns 0, or -1 with a logged reason.
 */
int face_open(struct face *f, uv_loop_t *loop, int listen_fd, struct store *store,
    const struct face_calls *calls, void *arg, const struct face_options *options);
/*
 * Ends all clients; run the loop until face_closed(), then face_free(). For the tests, which go on:
 * syncd itself ends with its face.
 */
void face_close(struct face *f);
bool face_closed(const struct face *f);
void face_free(struct face *f);

/* The answer of main to what calls->proxy() sent: bytes of the protocol. */
void face_answer(struct face *f, uint64_t client, struct slice answer);
/* ... or why there is none: "-READONLY ...". */
void face_refuse(struct face *f, uint64_t client, const char *error);

/*
 * Whether one more request may be executed in this turn. One that takes long is as long as it is;
 * but what else there is waits then, so that this process is not taken for one that hangs.
 */
bool face_has_time(struct face *f);

/* The turn goes on: what is sent to others can wait for more of it. */
bool face_gathers(const struct face *f);

/*
 * Standbys have more than before, or the route changed: WAIT and held answers are looked at again.
 */
void face_progress(struct face *f);

/* A change came from main (standby): notifications are sent, WATCH sees it. */
void face_changed(struct face *f, struct slice body);

/* All data is another: every WATCH is broken. */
void face_replaced(struct face *f);

/*
 * This server is main no more; released and count_synced still speak of that time. Each WAIT is
 * answered, and who waits for standbys to have its change hears nothing: its connection is closed.
 */
void face_demoted(struct face *f);
/* It is main now: what its clients wrote elsewhere, as far as it is here, counts as theirs. */
void face_promoted(struct face *f);

/* Clients of other servers, on main. 0: none could be made. One request at a time for each. */
uint64_t face_remote_new(struct face *f);
/* 0: its answer comes; -1: it was not executed. */
int face_remote_run(struct face *f, uint64_t client, const struct face_request *r);
void face_remote_free(struct face *f, uint64_t client);
bool face_remote_lives(struct face *f, uint64_t client);

/* As face_remote_run(): the action of a program of that server. */
int face_remote_act(
    struct face *f, uint64_t client, const struct face_action *a, const char *server);
/* This server is main no more: what waits was not executed, of what apps have nobody knows. */
void face_actions_stop(struct face *f);
void face_actions_count(const struct face *f, struct face_action_counts *n);

#endif
