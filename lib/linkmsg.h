/* SPDX-License-Identifier: ISC */
/*
 * What the owner of links (roled, syncd) says to netd, which carries them, and to keyd, which does
 * the static steps of their handshakes; and what these answer, decoded and checked. A channel that
 * is broken shows in the loop, so that nothing here fails.
 */
#ifndef BH_LIB_LINKMSG_H
#define BH_LIB_LINKMSG_H

#include <stdint.h>

#include "channel.h"
#include "conf.h"
#include "noise.h"

enum { LINK_INBOUND_TOKEN = 1U << 31 }; /* set in tokens that netd gives */

/* To netd: dial and carry; take an inbound connection; refuse it. fds stay the caller's. */
void linkmsg_open(struct channel *netd, uint32_t token, uint8_t server, uint8_t path,
    enum link_kind kind, int fd);
void linkmsg_take(struct channel *netd, uint32_t token, int fd);
void linkmsg_drop(struct channel *netd, uint32_t token);
/* To keyd, which answers with KEY_SHARED. */
void linkmsg_ask_dh(struct channel *keyd, uint32_t cookie, const uint8_t public_key[NOISE_KEY]);

/* An admitted hello that waits at netd. */
struct link_in {
	uint32_t token;
	enum link_kind kind;
	struct conf_addr from;
	uint16_t port;
	uint8_t listener;
};

/* LINK_CONNECTED, LINK_CLOSED, LINK_IN, KEY_SHARED: 0, or -1 when the body is malformed. */
int linkmsg_get_connected(struct msg *m, uint32_t *token);
int linkmsg_get_closed(struct msg *m, uint32_t *token, enum link_close *cause);
int linkmsg_get_in(struct msg *m, struct link_in *in);
/* ok 0: keyd refused. The message is wiped; the caller wipes shared. */
int linkmsg_get_shared(struct msg *m, uint32_t *cookie, uint8_t *ok, uint8_t shared[NOISE_KEY]);

#endif
