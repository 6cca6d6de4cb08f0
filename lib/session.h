/* SPDX-License-Identifier: ISC */
/*
 * One connection with a partner as its owner (roled, syncd) sees it: a Unix stream whose other end
 * netd carries to a TCP connection. Handshake (lib/noise.h inside lib/hello.h) and records
 * (lib/record.h), in the owner's buffers and without allocation. What a session may do is the
 * owner's to judge.
 */
#ifndef BH_LIB_SESSION_H
#define BH_LIB_SESSION_H

#include <stdint.h>
#include <uv.h>

#include "conf.h"
#include "hello.h"
#include "noise.h"
#include "record.h"

enum {
	SESSION_EOF = -1, /* as a cause: the stream ended; else enum link_counter */
};

/*
 * Memory of a session, the owner's: in and out hold at least one whole record of plain_max bytes
 * (RECORD_OVERHEAD more) and HELLO_SIZE, plain the opened record.
 */
struct session_buffers {
	uint8_t *in, *out, *plain;
	size_t in_size, out_size;
	size_t plain_max; /* longest plaintext in either direction, at most RECORD_PLAIN_MAX */
};

enum session_state {
	SESSION_FREE,
	SESSION_HELLO,	 /* inbound: the hello is awaited */
	SESSION_DH,	 /* keyd is asked */
	SESSION_REPLY,	 /* outbound: hello written, the answer is awaited */
	SESSION_CONFIRM, /* inbound: answered; only a first record proves that it is no replay */
	SESSION_UP,
	SESSION_CLOSING, /* closed; libuv still holds the handle */
};

struct session;

struct session_ops {
	/* Ask keyd for DH(our status key, public); the answer goes to session_shared(). */
	void (*ask_dh)(struct session *s, uint32_t cookie, const uint8_t public_key[NOISE_KEY]);
	/*
	 * Inbound: s->noise.remote_static is known; set s->server. Returns 0 or the cause to
	 * refuse.
	 */
	int (*identify)(struct session *s);
	/* Inbound: s->payload is known. Returns 0 or the cause to refuse. */
	int (*admit)(struct session *s);
	/* Live and confirmed. */
	void (*up)(struct session *s);
	/* A record was opened; plain is good until the callback returns, or while held. */
	void (*record)(struct session *s, const uint8_t *plain, size_t len);
	/* There is room in out again after session_send() refused; may be NULL. */
	void (*writable)(struct session *s);
	/*
	 * Over: cause is SESSION_EOF or enum link_counter. The owner frees it, at once or later;
	 * after SESSION_EOF nothing more is read.
	 */
	void (*ended)(struct session *s, int cause);
};

struct session {
	enum session_state state;
	const struct session_ops *ops; /* these four are set by the owner before the start */
	void *user;
	struct session_buffers buffers;
	uint8_t kinds; /* mask of 1U << enum link_kind that are let in */
	uint8_t kind;  /* enum link_kind: of the dial, or of the hello that came */
	uv_poll_t poll;
	int fd;
	int events;	 /* polled for */
	uint32_t token;	 /* of netd's messages */
	uint32_t cookie; /* of the KEY_DH under way */
	uint8_t inbound, server, path;
	uint8_t identified;	  /* server is proven (inbound) or wanted (outbound) */
	uint8_t connected;	  /* outbound: TCP is up */
	uint8_t hello_sent;	  /* outbound */
	uint8_t closing;	  /* the other end announced that it closes */
	uint8_t eof;		  /* the stream has ended */
	uint8_t starved;	  /* session_send() had no room */
	uint8_t held;		  /* session_hold() */
	struct conf_addr address; /* inbound: of the other end, as netd says */
	uint16_t port;
	struct hello_keys hello_keys;  /* of the responder */
	struct hello_payload payload;  /* of message 1 */
	uint64_t boot, remote_boot;    /* ours; the other roled's, proven when up */
	const char *group;	       /* of the config, while the handshake lasts */
	uint8_t key_status[NOISE_KEY]; /* ours, public: of status links ... */
	uint8_t key_data[NOISE_KEY];   /* ... and of sync and request links */
	struct noise noise;
	struct record record;
	int64_t started_ms, connected_ms, up_ms, heard_ms, eof_ms;
	uint64_t records_in, records_out, bytes_in, bytes_out;
	size_t in_pos, in_len, out_len, out_pos;
};

/* What both sides of a handshake need to know of us. */
struct session_self {
	const char *group;
	const uint8_t *key_status, *key_data; /* public */
	uint64_t boot;
};
/* Good for as long as c is in force. boot: of this life of the process. */
void session_self_of(const struct conf *c, uint64_t boot, struct session_self *self);

/*
 * Begin on one end of a stream, which becomes the session's; ops, user, buffers and (inbound) kinds
 * are set by the caller before. Outbound: counter is that of this hello. Returns 0, or -1 when the
 * loop has no room.
 */
int session_dial(struct session *s, uv_loop_t *loop, int fd, enum link_kind kind,
    const struct session_self *self, const struct conf_server *partner, uint64_t counter,
    uint32_t cookie);
int session_accept(
    struct session *s, uv_loop_t *loop, int fd, const struct session_self *self, uint32_t cookie);

/* The answer of keyd; shared is NULL when it refused. */
void session_shared(struct session *s, const uint8_t *shared);

/*
 * Seal a record and write it. Returns 0, or -1 when it was not taken: not up, or the partner does
 * not read and the buffer is full. Never calls ended: a dead stream shows in the loop.
 */
int session_send(struct session *s, const uint8_t *plain, size_t len);

/* Read what is there now, up to its end; may call ended. */
void session_drain(struct session *s);

/*
 * held 1: no more records are handed over and nothing is read, also from within the record
 * callback, whose plain stays good until held is 0 again. 0: what has come meanwhile is handed
 * over, in this call.
 */
void session_hold(struct session *s, int held);

/* 1 when everything sent has gone into the stream. */
int session_flushed(const struct session *s);

/* Wipe, close the stream, give the slot back when libuv has let go. No callback. */
void session_free(struct session *s);

#endif
