/* SPDX-License-Identifier: ISC */
/*
 * syncd copies: it keeps the replicated data, serves local programs, and with the syncd of the
 * other servers keeps it the same everywhere. One thread, one loop, no network of its own.
 *
 *	main.c	 entry, sandbox, loop
 *	ipc.c	 messages of supervisor, netd, roled and keyd, and to them
 *	link.c	 data links with the partners; wire.c their frames
 *	feed.c	 as main: to each partner the changes, or a snapshot
 *	follow.c as standby: takes them
 *	proxy.c	 requests of our programs to main, and of others' programs to us
 *	audit.c	 what becomes of actions, to roled
 *	position.c what roled is told of our data, and when
 *	snapshot.c copies of the data for an admin, and back
 *	face.c, client.c, command*.c  local programs, in the Redis protocol
 *	action.c		      what apps do for them
 *	store*.c, log*.c, change.c    the data
 */
#ifndef BH_SYNCD_SYNCD_H
#define BH_SYNCD_SYNCD_H

#include <stdint.h>
#include <uv.h>

#include "face.h"
#include "lib/admin.h"
#include "lib/child.h"
#include "link.h"
#include "store.h"

enum {
	NO_SERVER = 255,
	SNAPSHOT_KEPT_MS = 60000, /* a snapshot that was cut off can be gone on with for so long */
	ITEMS_MAX = 48 * 1024,	  /* bytes of a frame of a snapshot */
	/* bytes of requests that wait for a main, of answers that wait for a link */
	QUEUED_MAX = 64 << 20,
};

struct syncd {
	uv_loop_t loop;
	struct child child;
	struct channel netd, roled, keyd;
	struct store *store;
	struct face face;
	struct data_links links;
	uint8_t role;  /* enum data_role */
	uint8_t main;  /* server, or NO_SERVER */
	uint8_t flags; /* enum data_role_flag */
	uint64_t epoch;
	uint8_t running; /* a config is in force */
	uint8_t stopping;
	uv_timer_t timer;
	uv_prepare_t turn;
};
extern struct syncd syncd;

/*
 * *_tick(now): do what is due; the boottime in ms to be called again at the latest, INT64_MAX: time
 * alone brings nothing. *_moved(): a config is in force, moved[i] is the new index of the old
 * server i, or NO_SERVER. *_up(), *_down(), *_frame(): of the links whose other end is served
 * there; a frame returns 0, or -1 when it breaks the protocol.
 */

/* ipc.c */
void ipc_init(void);
/* To roled: flags are enum data_flag; behind_ms: "in sync" is so old, 0 without the flag. */
void tell_position(
    uint8_t flags, const struct position *p, uint64_t behind_items, int64_t behind_ms);
void tell_drained(uint64_t cookie); /* of the DATA_DRAIN that asked */
void tell_state(const struct ctl_data *d);
void tell_partner(const struct ctl_data_partner *p);
int tell_action(const struct ctl_action *a); /* -1: roled is not there */
extern const struct data_links_ops ipc_links_ops;

/* main.c: do what is due, and be called again then. */
void syncd_wake_at(int64_t due_ms);
_Noreturn void syncd_exit(int code);
enum refusal syncd_open(const struct conf *c); /* the store and the face, with the first config */

/* feed.c: as main */
void feed_again(void); /* our data is new: offer it to all again */
void feed_role(void);  /* the role, the config or the partners changed */
void feed_moved(const uint8_t moved[CONF_SERVERS]);
void feed_up(struct data_link *l);
void feed_down(struct data_link *l);
int feed_frame(struct data_link *l, uint8_t type, struct slice body);
void feed_pump_all(void);					 /* a link has room again */
void feed_changed(const struct position *at, struct slice body); /* a change of ours */
int64_t feed_tick(int64_t now);
void feed_ask(void);	    /* for acknowledgements at once, where somebody waits for them */
uint64_t feed_alone(void);  /* changes that no standby has */
uint64_t feed_needed(void); /* changes behind this index a connected partner still has to get */
size_t feed_count(const struct position *p, int on_disk); /* standbys that have p */
uint64_t feed_released(void); /* sync mode: on enough disks up to here */
int feed_enough(void);	      /* are there as many standbys as an answer waits for? */
/* The role goes to server: tell_drained(cookie) when it has everything. NO_SERVER: it stays. */
void feed_drain(uint64_t cookie, uint8_t server);
int feed_leaving(void);			   /* the role is on its way to another server: no writes */
void feed_describe(struct resp_out *text); /* lines of INFO replication */
void feed_tell(int64_t now);		   /* DATA_PARTNER of each */

/* follow.c: as standby */
void follow_role(void); /* the role or main changed: who is not followed is dismissed */
/* Whether that server may feed us: it is main, or nobody is known to be. */
int follow_allowed(uint8_t server);
void follow_up(struct data_link *l);
void follow_down(struct data_link *l);
int follow_frame(struct data_link *l, uint8_t type, struct slice body);
int64_t follow_turn(int64_t now); /* what was applied goes to the disk, and is acknowledged */
/* Writes the state when it is time: there need be no local program whose turn would see to it. */
void follow_checkpoint(void);
/* For INFO: does the stream of main run; its end; when it was last heard (ms), 0 never. */
int follow_streams(struct position *main_end, int64_t *heard_ms);
const char *follow_state(void);
void follow_describe(struct resp_out *text);	  /* lines of INFO replication */
void follow_role_answer(struct resp_out *answer); /* ROLE of a standby */

/* position.c */
int data_is_blank(void); /* our store belongs to no group yet */
/* without main and data: what begins here comes first when one is elected */
int data_may_begin(void);
void position_in_sync(void);	/* just now we had everything of main */
void position_main_blank(void); /* main lost its data: who had all of it does not fall behind */
void position_report(int64_t now);
int64_t position_tick(int64_t now);
int64_t position_staleness(int64_t now); /* ms since we had everything of main; -1 never */

/* snapshot.c: bulkheadctl snapshot, on root's connection to the data socket */
/* fd is ours when it returns NULL; else the refusal, "-BUSY ...". */
const char *snapshot_begin_on(int fd, bool restores, bool replace);
int snapshot_restoring(void); /* no write may be answered now */
int64_t snapshot_tick(int64_t now);

/* audit.c: ended actions, for the ledger */
void audit_ended(const struct face_ended *e);
int64_t audit_tick(int64_t now);
void audit_now(void);  /* the role may go: what is not told yet */
void audit_last(void); /* the process ends */

/* reach.c: how far back our log goes */
void reach_start(void); /* the store is open */
void reach_changed(const struct position *at);
int64_t reach_tick(int64_t now);
/* The figures of a partner that has everything up to held. */
void reach_describe(struct ctl_data_partner *p, uint64_t held, int connected, int64_t now);

/* proxy.c */
/* For the face: see struct face_calls. */
enum face_route proxy_route(uint64_t *epoch, const char **refusal);
int proxy_request(uint64_t client, const struct face_request *in, const char **refusal);
int proxy_action(uint64_t client, const struct face_action *a, const char **refusal);
void proxy_forget(uint64_t client);
void proxy_role(void); /* the role, the config or main changed */
void proxy_up(struct data_link *l);
void proxy_room(struct data_link *l); /* its queue is short again */
void proxy_down(struct data_link *l);
int proxy_frame(struct data_link *l, uint8_t type, struct slice body);
/* face: our client that stands for a program of another server; last: its newest change. */
void proxy_remote_answer(uint64_t face, struct slice answer, const struct position *last);
int64_t proxy_tick(int64_t now);
void proxy_moved(const uint8_t moved[CONF_SERVERS]);

#endif
