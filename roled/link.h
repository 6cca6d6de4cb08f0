/* SPDX-License-Identifier: ISC */
/*
 * The links of this server: for every partner and path the one that we dial and the one that the
 * partner dials, with redials, admission, the replay rule and counters. Knows netd and keyd only as
 * callbacks, so that the tests run two of them against each other in one process.
 */
#ifndef BH_ROLED_LINK_H
#define BH_ROLED_LINK_H

#include <stdint.h>
#include <uv.h>

#include "lib/admin.h"
#include "lib/conf.h"
#include "lib/linkmsg.h"
#include "lib/log.h"
#include "machine.h"
#include "lib/session.h"
#include "lib/replay.h"
#include "status.h"

enum {
	LINKS_PENDING = 16, /* inbound handshakes at a time */
	LINKS_SESSIONS = 2 * (CONF_SERVERS - 1) * CONF_PATHS * 2 + LINKS_PENDING,
	LINK_RECORDS = 8, /* of a session in a buffer */
	LINK_BUFFER = LINK_RECORDS * (RECORD_OVERHEAD + STATUS_SIZE),
};

struct links;

struct links_ops {
	/* To netd: dial and carry; take an inbound connection; refuse it. fds stay the caller's. */
	void (*open)(struct links *l, uint32_t token, uint8_t server, uint8_t path, int fd);
	void (*take)(struct links *l, uint32_t token, int fd);
	void (*drop)(struct links *l, uint32_t token);
	/* To keyd; answered with links_shared(). */
	void (*ask_dh)(struct links *l, uint32_t cookie, const uint8_t public_key[NOISE_KEY]);
	/* To the machine. */
	void (*event)(struct links *l, const struct machine_link *event);
	void (*record)(struct links *l, uint8_t server, uint8_t path, uint8_t direction,
	    const struct status_record *record);
};

/* One partner, path and direction. */
struct link {
	uint8_t server, path, direction; /* its own place in the table */
	uint8_t wanted;			 /* 0: not configured, or not allowed */
	uint8_t ended;			 /* last_cause is set */
	uint8_t last_cause; /* enum link_close, or CLOSE_MAX + enum link_counter, of the last end */
	struct session *up; /* NULL: none */
	struct session *trying; /* outbound: dial or handshake under way */
	uint32_t sessions;	/* that came up */
	uint32_t failures;	/* dials since it was last up */
	int64_t next_dial_ms;	/* outbound and nothing under way: then */
	struct log_limit end_limit;
};

struct links {
	uv_loop_t *loop;
	const struct links_ops *ops;
	void *user;
	const struct conf *conf;
	uint64_t boot;	  /* random, of this process */
	uint64_t counter; /* of our hellos */
	uint32_t next_token, next_cookie;
	uint8_t net_up; /* netd is there */
	struct link link[CONF_SERVERS][CONF_PATHS][LINK_DIRECTION_MAX];
	struct replay replay[CONF_SERVERS];
	struct session session[LINKS_SESSIONS];
	struct {
		uint8_t in[LINK_BUFFER], out[LINK_BUFFER], plain[STATUS_SIZE];
	} memory[LINKS_SESSIONS];
	uint64_t count[LINK_C_MAX];
	struct log_limit limit[LINK_C_MAX];
};

void links_init(
    struct links *l, uv_loop_t *loop, const struct links_ops *ops, void *user, uint64_t boot);

/*
 * A config is in force. Links to partners whose name, keys, address and port are unchanged stay
 * with their counters; the others are closed. old is NULL the first time. Events are given with the
 * server indexes of the new config.
 */
void links_configure(struct links *l, const struct conf *old, const struct conf *new);

/* Do what is due: dials, time-outs. Returns when to be called again at the latest. */
int64_t links_tick(struct links *l, int64_t now);

/* netd went (its end of every stream with it) or is there again. */
void links_net_down(struct links *l);
void links_net_up(struct links *l);
/* keyd went or is there again: what it was asked before will not be answered. */
void links_key_down(struct links *l);

/* Messages of netd and keyd, already decoded; unknown tokens and cookies are late ones: ignored. */
void links_connected(struct links *l, uint32_t token);
void links_closed(struct links *l, uint32_t token, enum link_close cause);
void links_incoming(
    struct links *l, uint32_t token, const struct conf_addr *from, uint16_t port, uint8_t listener);
void links_shared(struct links *l, uint32_t cookie, const uint8_t *shared);

/*
 * Seal one record on the links of a server that are up, of the directions in the mask (1U << enum
 * link_direction). Returns on how many it was taken.
 */
enum { LINKS_OUT = 1U << LINK_OUT, LINKS_IN = 1U << LINK_IN, LINKS_ALL = LINKS_OUT | LINKS_IN };
unsigned links_send(
    struct links *l, uint8_t server, unsigned directions, const struct status_record *record);

/* Close outbound links of a server that are silent for the given time, and dial now. */
void links_redial(struct links *l, uint8_t server, int64_t silent_ms);

/* 1 when everything sent has gone into the streams. */
int links_flushed(const struct links *l);

/* Close all, wipe all. */
void links_close(struct links *l);

/* A struct ctl_link for each configured link: the nth, 0 when there is no nth. */
int links_describe(const struct links *l, unsigned nth, int64_t now, struct ctl_link *out);

#endif
