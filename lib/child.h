/* SPDX-License-Identifier: ISC */
/*
 * The part of life that every sandboxed child has in common, on its control channel: READY, config
 * in two phases, PING, STOP, DUMP, and new ends of the channels to restarted peers. Needs no loop:
 * the owner polls child->control with poll(2) or attaches it to libuv (loop_attach_channel).
 *
 *	child_init(&ch, process, &ops, user);
 *	child_add_edge(&ch, &roled, handler, user);	for each peer in FD_EDGE
 *	... attach or poll ch.control and the edges; sandbox_enter() ...
 *	child_ready(&ch, layers);
 *
 * Channel states follow the config: S_START until the first COMMIT, S_RUN, S_PREPARE between
 * PREPARE and COMMIT or ABORT, S_STOP after STOP. They are set on the control channel and on all
 * edges.
 */
#ifndef BH_LIB_CHILD_H
#define BH_LIB_CHILD_H

#include "channel.h"
#include "conf.h"

enum {
	CHILD_EDGES = 4,
	EDGE_RATE_MAX = 5000, /* packets a second of a peer: far above a storm of new links */
	EDGE_LOST_MS = 1000,  /* no new end for so long: the peer may live on without one */
};

struct child;

/* Every callback may be NULL. ch->user is the owner's. */
struct child_ops {
	/*
	 * A whole config has come: can it be used? new stays aside, child_conf() is still the old
	 * one. Take what may fail (memory) here. *index: which element is wrong, sent with a
	 * refusal.
	 */
	enum refusal (*on_prepare)(struct child *ch, const struct conf *new, uint8_t *index);
	/* child_conf() is now the new one; old is the one before, NULL at the first COMMIT. */
	void (*on_commit)(struct child *ch, const struct conf *old);
	void (*on_abort)(struct child *ch);
	/* End in order within ms; the owner exits (at once where it has nothing to hand over). */
	void (*on_stop)(struct child *ch, uint32_t ms);
	/*
	 * The peer of an edge is gone: forget what was known of it, detach c from the loop. c is
	 * closed by the caller afterwards.
	 */
	void (*on_peer_down)(struct child *ch, struct channel *c);
	/* An edge has a fresh channel to a fresh process: attach c to the loop, say hello. */
	void (*on_peer_up)(struct child *ch, struct channel *c);
	/* Write your state to the log. */
	void (*on_dump)(struct child *ch);
	/* Any other message of the control channel. Returns 0, or -1 when its body is malformed. */
	int (*on_other)(struct child *ch, struct msg *m);
};

struct child {
	struct channel control;
	enum process self;
	const struct child_ops *ops;
	void *user;
	struct channel *edge[CHILD_EDGES];
	int64_t lost_ms[CHILD_EDGES]; /* its edge ended then; 0: it has not */
	size_t n_edges;
	struct conf conf[2]; /* current and pending */
	uint8_t current;
	uint8_t committed; /* there is a current one */
	uint8_t filling;   /* CONF_* messages have come since the last PREPARE, COMMIT or ABORT */
	uint8_t has_general;
	uint8_t prepared; /* the pending one was accepted with this serial: */
	uint64_t serial;
	uint64_t conf_serial; /* of the current one */
};

/*
 * First thing of the warm-up: put /dev/null on every fixed number (FD_EDGE_BASE up to
 * FD_FIRST_FREE) that was not inherited, so that what the process opens itself never lands there.
 * The numbers are taken over with dup3 when the supervisor sends what belongs on them.
 */
void child_hold_numbers(void);

/*
 * Start on FD_CONTROL. The struct is big (two configs): static, not on the stack. ops and user live
 * as long as ch.
 */
void child_init(struct child *ch, enum process self, const struct child_ops *ops, void *user);

/*
 * c is the channel to peer on FD_EDGE(peer), inherited at the start; handler and user as in
 * channel_init. on_peer_up is not called for this first one.
 */
void child_add_edge(
    struct child *ch, struct channel *c, enum process peer, channel_handler *handler, void *user);

/* In the sandbox, ready for a config. layers: result of sandbox_enter(). */
void child_ready(struct child *ch, unsigned layers);

/* The config in force; NULL before the first COMMIT. */
const struct conf *child_conf(const struct child *ch);

/*
 * To be called when an edge ended (end of file or violation; from the closed callback of the loop).
 * A violation is logged and reported (PEER_BROKEN): the supervisor replaces the culprit, and the
 * fresh end comes with PEER. Calls on_peer_down, closes the channel and keeps its descriptor number
 * taken (/dev/null), so that nothing else can land on FD_EDGE(peer) until PEER puts the new end
 * there.
 */
void child_edge_lost(struct child *ch, struct channel *c);

/*
 * Exit code for the end of the control channel: EXIT_PROTOCOL when the supervisor's message was
 * refused (logged), EXIT_CHANNEL when it is gone.
 */
int child_control_exit(const struct child *ch);

#endif
