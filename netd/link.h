/* SPDX-License-Identifier: ISC */
/*
 * One connection between TCP and the Unix stream of its owner, from LINK_OPEN or LINK_TAKE to the
 * end. The pipe belongs to the slot and outlives its connections: the sandbox allows no new ones.
 */
#ifndef BH_NETD_LINK_H
#define BH_NETD_LINK_H

#include "netd.h"

enum link_state {
	LINK_FREE,
	LINK_ASKED,    /* DIAL is with the supervisor */
	LINK_DIALLING, /* the connect is under way */
	LINK_CARRYING,
	LINK_LINGERING, /* over for the owner: its rest goes out, what comes in is dropped */
	LINK_CLOSING,	/* waits for libuv to let go of the handles */
};

/* What a flow waits for. */
enum flow_wait {
	FLOW_SOURCE,	  /* something to read */
	FLOW_DESTINATION, /* room for what was read */
	FLOW_ENDED,	  /* nothing: the source has ended, and all of it was passed on */
};

/*
 * One direction. It takes from its source only what there is room for, so at the end of the source
 * everything has been passed on.
 */
struct flow {
	uint64_t bytes;
	enum flow_wait wait;
	uint8_t dead; /* the destination takes nothing any more: what is read is dropped */
};

/* One end: a socket and what we wait for on it. */
struct end {
	int fd;		/* -1: closed */
	int events;	/* of uv_poll; 0: stopped */
	uint8_t polled; /* the handle is in use */
	uv_poll_t poll;
};

struct link {
	enum link_state state;
	uint8_t handles; /* libuv handles that are not closed yet */
	uint8_t told;	 /* the owner knows that it is over */
	uint8_t other;	 /* inbound from an address that is no partner's */
	uint8_t shut;	 /* our FIN is sent */
	uint8_t whose;	 /* enum owner, which knows it by: */
	uint32_t token;
	uint32_t serial; /* of the use of this slot: an old answer to DIAL finds another one */
	int64_t deadline_ms;
	int tcp_error; /* errno that ended TCP, 0: none */
	struct end tcp, owner;
	struct flow in, out; /* TCP to owner, owner to TCP through the pipe: */
	int pipe[2];
	size_t held; /* bytes in it; it is read into when it is empty only */
};

extern struct link links[LINKS];

/* TCP is up and opened: take the owner's end too, and move what is there already. */
void link_start(struct link *l);
/* Over: LINK_CLOSED unless told, then both ends are closed and the slot is freed. */
void link_end(struct link *l, enum link_close cause);
/* Wait until the connect of a dialled socket has come to an end. */
void link_watch_connect(struct link *l);
/* Take fd as the end, not watched yet. Returns 0, or -1 when it cannot be; link_end closes it. */
int end_open(struct link *l, struct end *e, int fd);

/* dial.c */
void dial_progress(struct link *l);
void dial_expired(struct link *l);

#endif
