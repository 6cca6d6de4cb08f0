/* SPDX-License-Identifier: ISC */
/*
 * One end of a channel between two processes: a SOCK_SEQPACKET socket with the table of
 * messages.def in front of every handler and a bounded queue behind every send.
 *
 * Plain poll(2) users (keyd, parser, bulkheadctl) call channel_read and channel_flush themselves;
 * the others attach the channel to a libuv loop with loop_attach_channel (lib/loop.h).
 */
#ifndef BH_LIB_CHANNEL_H
#define BH_LIB_CHANNEL_H

#include "message.h"

enum {
	CHANNEL_QUEUE_BYTES = 1 << 20, /* beyond it the peer counts as not reading */
	CHANNEL_BUDGET = 64,   /* packets read per wake-up, so that one cannot starve the rest */
	CHANNEL_PAUSE_MS = 10, /* between two tries while the kernel has no memory */
	BEAT_COOKIES = 8,      /* EDGE_PINGs that may be unanswered: then no more are sent */
	BEAT_SILENT_MS = 2500, /* the supervisor is quicker with one that stands still */
	BEAT_SILENT_DISK_MS = 12000, /* ... and with syncd, which may have to wait for a disk */
	/* we stood still ourselves: the peer's silence says nothing */
	BEAT_STALL_MS = 1000,
	BEAT_FIRST_MS = 8000, /* a peer that starts reads only when it is ready */
};

/* Why a packet was refused; the eight checks in the order in which they are made. */
enum channel_violation {
	V_NONE,
	V_SIZE,	  /* empty, shorter than the header, truncated, or header bytes not zero */
	V_TYPE,	  /* unknown type */
	V_FROM,	  /* the peer of this channel may not send it */
	V_TO,	  /* this process does not take it */
	V_LENGTH, /* body shorter or longer than the row says */
	V_FDS,	  /* number of descriptors */
	V_STATE,  /* not in this state of the channel */
	V_FLAGS,  /* ONCE seen twice, or PERMIT without leave */
	V_BODY,	  /* a handler found the fields malformed (not one of the eight) */
	V_QUEUE,  /* the peer does not read */
	V_FLOOD,  /* more packets a second than rate_max */
	V_CLOSED, /* the peer lives, but has closed its end (noticed by lib/child.c) */
	V_MAX
};
const char *violation_name(enum channel_violation v);

struct channel;
/*
 * Called for each packet that passed the checks. m is read with msg_get_*; an fd not taken is
 * closed afterwards; it is -1 when this process had no room for it (logged), which is no fault of
 * the peer. Returns 0, or -1 when the body is malformed (V_BODY).
 */
typedef int channel_handler(struct channel *c, struct msg *m);

struct channel {
	int fd; /* -1: closed */
	enum process self, peer;
	enum channel_state state; /* set by the owner, checked by the receive path */
	channel_handler *handler;
	void *user; /* the owner's */
	enum channel_violation violation;
	uint8_t violation_bytes[64]; /* start of the offending packet */
	uint8_t violation_len;
	uint64_t received, sent;
	uint32_t rate_max; /* packets a second that the peer may send; 0: no bound */
	uint32_t rate_count;
	int64_t rate_ms;   /* start of the second that is counted */
	uint8_t broken;	   /* a send has failed: the peer takes nothing any more */
	uint8_t essential; /* set by the owner: a message that cannot be kept ends the process */
	int64_t beat_ms, beat_heard_ms;	    /* last channel_beat(); last answer, 0: none yet */
	uint64_t beat_cookie[BEAT_COOKIES]; /* not to be guessed; 0: answered */
	unsigned beat_next;
	uint64_t once[2];	       /* bit per type: ONCE already received */
	uint32_t permit[MSG_TYPE_MAX]; /* answers allowed per PERMIT type */
	uint8_t starved; /* the kernel has no memory for what is queued: channel_events */
	struct channel_packet *head, *tail;
	size_t queued;
	void (*want_write)(struct channel *c, int on); /* set by loop.c */
	void *io;
};

/* fd becomes the channel's. The state starts as S_START. */
void channel_init(struct channel *c, int fd, enum process self, enum process peer,
    channel_handler *handler, void *user);
/* Close and free the queue; the struct can be initialised again. */
void channel_close(struct channel *c);

/*
 * Send m, or queue it when the socket is full. Never blocks. Returns 0; -1 when the channel is
 * closed, broken, its queue is over CHANNEL_QUEUE_BYTES (V_QUEUE), or there is no memory for that
 * (fatal on an essential channel). A message that does not match its row is a bug of ours: fatal.
 */
int channel_send(struct channel *c, struct msg *m);

/*
 * Read up to CHANNEL_BUDGET packets and call the handler for each. Returns 1 when there may be
 * more, 0 when the socket is drained, -1 on end of file or error with c->violation V_NONE, or on a
 * violation with c->violation set (the offending packet's start in violation_bytes).
 */
int channel_read(struct channel *c);
/* Write what is queued. Returns 0, or -1 when the peer is gone. */
int channel_flush(struct channel *c);
/*
 * For poll(2): what to wait for, POLLIN and, while something is queued, POLLOUT. But a socket that
 * could not be written to because the kernel had no memory says that it can: while c->starved it is
 * left alone, *timeout_ms is made CHANNEL_PAUSE_MS at most, and channel_flush is called after
 * poll(2).
 */
short channel_events(const struct channel *c, int *timeout_ms);
/*
 * To be called about twice a second for a channel between two children: asks the peer whether it
 * reads (EDGE_PING), as the answer needs what was asked. The answers of both sides are dealt with
 * before any handler. Returns 0, or -1 when the peer has not answered for BEAT_SILENT_MS (V_QUEUE)
 * or nothing can be sent to it.
 */
int channel_beat(struct channel *c, int64_t now_ms);
/* The peer is known to be up: no BEAT_FIRST_MS for it. */
void channel_beat_now(struct channel *c, int64_t now_ms);
/* Allow one more message of a PERMIT type (called when the question is sent). */
void channel_permit(struct channel *c, enum message_type type);

/*
 * A connected pair of channel sockets, close-on-exec and non-blocking. Packets carry time stamps
 * (SO_TIMESTAMP), which tell a packet without a byte from the end of file. Returns 0 or -1.
 */
int channel_pair(int fds[2]);

#endif
