/* SPDX-License-Identifier: ISC */
/*
 * The data links of this server: sync links (main dials every partner) and request links (a standby
 * dials main), with redials, admission and the replay rule. What is said on them is frames
 * (wire.h); who says what is feed.c, follow.c and proxy.c. Knows netd and keyd only as callbacks.
 */
#ifndef BH_SYNCD_LINK_H
#define BH_SYNCD_LINK_H

#include <stdint.h>
#include <uv.h>

#include "lib/conf.h"
#include "lib/linkmsg.h"
#include "lib/log.h"
#include "lib/replay.h"
#include "lib/session.h"
#include "pack.h"
#include "wire.h"

enum {
	LINK_KINDS = 2,	   /* LINK_SYNC, LINK_REQUEST */
	LINK_ENDS = 2,	   /* outbound, inbound */
	LINKS_PENDING = 8, /* inbound handshakes at a time */
	LINKS_MAX = CONF_SERVERS * LINK_KINDS * LINK_ENDS + LINKS_PENDING,
	/* both ends say something in every status interval, which may have 60 s ... */
	LINK_SILENT_MS = 15000,
	LINK_SILENT_FACTOR = 4,	  /* ... so this many of them are waited for, if that is longer */
	LINK_QUEUE_MAX = 8 << 20, /* bytes that wait before the owner should stop (link_full) */
};

struct data_links;
struct feed;

/* One connection. */
struct data_link {
	struct data_links *links;
	struct session session;
	uint8_t used;
	uint8_t up;
	uint8_t *memory;   /* of the session's buffers; NULL while free */
	struct change out; /* frames that are not in records yet, from out_pos on */
	size_t out_pos;
	uint8_t *part;			       /* the beginning of a frame */
	size_t part_len, part_size, part_need; /* need: bytes that it will have, 0 not known yet */
	uint8_t dirty;			       /* something was put into out since the last pump */
	uint8_t late;			       /* whole frames wait for the next turn */
	uint8_t unpacking;		       /* pieces of the last record, too */
	uint8_t closed; /* the other end is gone, and that is to be told after them */
	enum link_close close_cause;
	struct feed *feed;	      /* sync, outbound */
	int64_t heard_ms;	      /* a record came */
	uint32_t refused;	      /* requests in a row, for want of room for answers */
	uint64_t bytes_in, bytes_out; /* of frames */
	uint64_t wire_out;	      /* of the records that they left in */
	/* compression: of what goes out behind plain_left bytes, and of what comes in */
	struct packer *packer;
	struct unpacker *unpacker;
	size_t plain_left;
	uint8_t *packed; /* a record that did not leave yet */
	size_t packed_len;
	/* sync, outbound: the limit of the partner */
	int64_t tokens; /* thousandths of bytes that may leave; below 0: owed */
	int64_t tokens_ms, resume_ms;
};

struct data_links_ops {
	/* To netd: dial and carry; take an inbound connection; refuse it. fds stay the caller's. */
	void (*open)(uint32_t token, uint8_t server, uint8_t path, enum link_kind kind, int fd);
	void (*take)(uint32_t token, int fd);
	void (*drop)(uint32_t token);
	/* To keyd; answered with data_links_shared(). */
	void (*ask_dh)(uint32_t cookie, const uint8_t public_key[NOISE_KEY]);
	/* May that server open a link of that kind to us now? */
	int (*allowed)(uint8_t server, enum link_kind kind);
	void (*up)(struct data_link *l);
	/* Returns 0, or -1: the partner broke the protocol, the link is closed. */
	int (*frame)(struct data_link *l, uint8_t type, struct slice body);
	/* It is over: the last that is heard of it. */
	void (*down)(struct data_link *l);
	/* Its queue has become short again after link_full(). */
	void (*room)(struct data_link *l);
};

struct data_links {
	uv_loop_t *loop;
	const struct data_links_ops *ops;
	const struct conf *conf;
	uint64_t boot, counter;
	uint32_t next_token, next_cookie;
	uint8_t net_up;
	struct {
		uint8_t wanted; /* outbound */
		uint8_t path;	/* dialled next */
		uint32_t failures;
		int64_t next_dial_ms;
		struct data_link *up[LINK_ENDS], *trying;
		struct replay replay;
		struct log_limit line, fault;
	} slot[CONF_SERVERS][LINK_KINDS];
	struct data_link link[LINKS_MAX];
	uint64_t refused; /* inbound */
	int64_t turn_ms;  /* when this turn began to take frames; 0: not yet */
	struct log_limit refusal;
};

void data_links_init(
    struct data_links *l, uv_loop_t *loop, const struct data_links_ops *ops, uint64_t boot);

/*
 * A config is in force. Links to partners that are unchanged stay, at their new index; the others
 * are closed. old is NULL the first time. moved[i]: new index of the old server i, or 255.
 */
void data_links_configure(struct data_links *l, const struct conf *old, const struct conf *new,
    uint8_t moved[CONF_SERVERS]);

/* Which outbound link we want now; 0 closes it. */
void data_links_want(struct data_links *l, uint8_t server, enum link_kind kind, int wanted);
/* Close inbound links of a kind from a server. */
void data_links_dismiss(struct data_links *l, uint8_t server, enum link_kind kind);

/* Do what is due. Returns when to be called again at the latest. */
int64_t data_links_tick(struct data_links *l, int64_t now);
/*
 * Everything put since the last time goes into the streams, as far as there is room and the limits
 * of the partners allow. Returns when to be called again at the latest.
 */
int64_t data_links_pump(struct data_links *l);

void data_links_net_down(struct data_links *l);
void data_links_net_up(struct data_links *l);
void data_links_key_down(struct data_links *l);
void data_links_connected(struct data_links *l, uint32_t token);
void data_links_closed(struct data_links *l, uint32_t token, enum link_close cause);
void data_links_incoming(struct data_links *l, uint32_t token, enum link_kind kind,
    const struct conf_addr *from, uint16_t port);
void data_links_shared(struct data_links *l, uint32_t cookie, const uint8_t *shared);

/* The outbound or inbound link that is up, NULL: none. */
struct data_link *data_links_find(
    const struct data_links *l, uint8_t server, enum link_kind kind, int inbound);

/* Queue a frame. 0, or -1 without memory: the link is closed then. */
int link_put(struct data_link *l, uint8_t type, struct slice head, struct slice body);
/* The same with bytes that are whole frames already. */
int link_put_raw(struct data_link *l, struct slice frames);
/* So much waits that the owner should put no more before room() is called. */
int link_full(const struct data_link *l);
size_t link_queued(const struct data_link *l);
/*
 * What is put from now on is compressed; the other end is told, and has said that it can. 0, or -1
 * without memory: then it is not.
 */
int link_pack(struct data_link *l);
/* End it; down() is called. why: for the log, NULL quiet. */
void link_end(struct data_link *l, const char *why);
static inline uint8_t
link_server(const struct data_link *l)
{
	return l->session.server;
}

#endif
