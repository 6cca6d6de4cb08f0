/* SPDX-License-Identifier: ISC */
/*
 * keyd keeps the long-term secrets of this server: what its files share.
 */
#ifndef BH_KEYD_KEYD_H
#define BH_KEYD_KEYD_H

#include <stddef.h>
#include <stdint.h>

#include "lib/child.h"

/* ---- keys.c: the secrets, in locked memory that is unreadable but while one is used */

enum key { KEY_STATUS, KEY_DATA, KEY_COUNT };

/* Locked memory for the secrets; before the sandbox. Returns 0 or -1 (logged). */
int keys_init(void);

/*
 * Read one secret: 64 hex digits and a newline, in a regular file that only its owner can read. The
 * descriptor is closed in any case. Returns 0, or -1 with the reason logged.
 */
int keys_read(enum key key, int fd);

/* Public key of a secret that was read. Returns 0, or -1 when there is none. */
int keys_public(enum key key, uint8_t out[32]);

/*
 * The static Diffie-Hellman step of a handshake. Returns 0, or -1 (shared is zero then): no such
 * secret, or a public key of low order.
 */
int keys_dh(enum key key, const uint8_t public_key[32], uint8_t shared[32]);

/* Wipe and free; harmless twice. Every way out of the process passes here. */
void keys_wipe(void);

/* ---- ipc.c: the channels */

/*
 * DH steps a second that one channel may ask for, and in one go. A handshake takes two at each end;
 * 15 partners on two paths that all dial and are dialled at once need 120. An X25519 step takes 30
 * to 50 us here, so that a hijacked asker gets no more than 1 % of a core.
 */
enum { KEYD_DH_RATE = 200, KEYD_DH_BURST = 400 };

struct bucket {
	int64_t milli; /* tokens x 1000 */
	int64_t at_ms;
};

/* Take one token; 1, or 0 when there is none. Pure. */
int bucket_take(struct bucket *b, int64_t now_ms);

/* Everything that asks; static in ipc.c. Returns the child for the poll loop in main.c. */
struct child *keyd_init_ipc(void);
/* The channels to roled and syncd, polled beside the control channel: 0 to KEYD_ASKERS - 1. */
enum { KEYD_ASKERS = 2 };
struct channel *keyd_asker(int i);
/* Our public keys to roled, where they could be read. */
void keyd_send_public(void);
/* 1 once STOP has come. */
int keyd_stopping(void);

#endif
