/* SPDX-License-Identifier: ISC */
/*
 * netd carries: it admits connections on 5481, asks for dials, and moves bytes between TCP and the
 * Unix stream of the owner. It sees sealed records only and parses nothing but
 * the outer part of the hello.
 *
 *	main.c	entry, sandbox, loop, the end
 *	ipc.c	messages of the supervisor and of the owners of links (roled: status; syncd: sync
 *		and request), and to them
 *	admit.c	listeners and connections that have not said a good hello yet
 *	dial.c	connections under way to a partner
 *	splice.c connections that carry
 *	limits.c deadlines, counters, log lines about outsiders
 */
#ifndef BH_NETD_NETD_H
#define BH_NETD_NETD_H

#include <stdint.h>
#include <uv.h>

#include "lib/child.h"
#include "lib/hello.h"
#include "lib/limit.h"

enum {
	LISTENERS = 4,
	LINKS = 96,		/* connections that carry or are being dialled, each with a pipe */
	HELLOS_OTHER = 256,	/* at most so many hello slots for sources that are no partners */
	HELLOS_PARTNER = 64,	/* and so many for addresses of partners, which are apart ... */
	HELLOS_PER_PARTNER = 4, /* ... so that neither outsiders nor one partner take them all */
	LINKS_DATA = 2,		/* of a partner: a sync link and a request link */
	LINKS_OTHER = 8,  /* links from other addresses, so that the partners' always find room */
	OBITUARY_MS = 50, /* what is left to do when the supervisor has died */
	LINGER_MS = 1000, /* we closed first: wait so long for the other end to close too */
	OWNER_MS = 1000,  /* its owner must have taken or dropped an admitted hello by then */
	LOG_INTERVAL_MS = 10000, /* one line per cause of refusal */
	COUNTERS_INTERVAL_MS = 1000,
	NEVER = 0, /* deadline_ms of a slot that has none */
};

#define TOKEN_INBOUND UINT32_C(0x80000000)

/* Who makes the handshake of a link, and names it by a token. */
enum owner { OWNER_ROLED, OWNER_SYNCD, OWNER_MAX };

/* Where an inbound connection comes from. */
struct source {
	uint8_t family; /* 4 or 6; IPv4-mapped addresses are 4 */
	uint8_t address[16];
	uint16_t port;
	uint8_t listener;
	int partner; /* server * CONF_PATHS + path of the configured address, or -1 */
	struct limit_key key;
};

/* main.c */
extern uv_loop_t netd_loop;
extern struct child netd_child;
extern struct channel netd_owner[OWNER_MAX];
void netd_check_end(void); /* called when a link is gone: are we done? */

/* ipc.c */
int ipc_from_owner(struct channel *c, struct msg *m);
enum owner owner_of_kind(unsigned kind); /* enum link_kind; OWNER_MAX: there is no such kind */
int ipc_from_supervisor(struct child *ch, struct msg *m);
int ask_dial(uint32_t dial, uint8_t server, uint8_t path, uint8_t kind);
int tell_link_in(uint32_t token, enum link_kind kind, const struct source *s);
void tell_link_connected(enum owner whose, uint32_t token);
void tell_link_closed(
    enum owner whose, uint32_t token, enum link_close cause, uint64_t in, uint64_t out);
void tell_counters(const uint64_t counter[NET_COUNTER_MAX]);

/* admit.c */
void admit_init(void);
void admit_configure(const struct conf *conf);
int admit_listen(unsigned slot, int fd); /* fd becomes ours; -1: it is nothing to wait for */
void admit_unlisten(unsigned slot);
void admit_close_all(void); /* the listeners: nobody is let in any more */
void admit_drop_waiting(enum owner whose);
/* fd becomes ours; -1: there was no room for it */
void admit_take(enum owner whose, uint32_t token, int fd);
void admit_drop(enum owner whose, uint32_t token);
int64_t admit_expire(int64_t now); /* close what is late; next deadline or NEVER */
void admit_dump(void);

/* dial.c: links before they carry; fd becomes theirs, -1: there was no room for it */
void dial_open(
    enum owner whose, uint32_t token, uint8_t server, uint8_t path, uint8_t kind, int fd);
void dial_answer(uint32_t dial, int fd);
void dial_fail(uint32_t dial, enum link_close cause);

/* splice.c */
struct link;
void link_init(void);
/* owner becomes the link's; NULL when full */
struct link *link_new(enum owner whose, uint32_t token, int owner);
void link_carry_inbound(enum owner whose, uint32_t token, int tcp, int owner,
    const struct source *s, const uint8_t hello[HELLO_SIZE]);
int link_known(enum owner whose, uint32_t token);
unsigned link_count_other(void);
void link_orphan(enum owner whose); /* it is gone: what it has said is still carried */
unsigned link_busy(void);
void link_shut_all(void);
int64_t link_expire(int64_t now);
void link_dump(void);

/* limits.c */
void limits_init(void);
void deadline_set(int64_t *deadline_ms, int64_t after_ms); /* from now */
void count(enum net_counter counter);
void count_refusal(enum net_counter counter, const struct source *s, const char *why);
void counters_tell(void);
void counters_dump(void);
/* enum link_close for what ended a TCP connection: an errno, or 0 for a FIN. */
enum link_close close_cause(int error);

#endif
