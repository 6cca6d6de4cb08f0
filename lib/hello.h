/* SPDX-License-Identifier: ISC */
/*
 * The first bytes of a connection on 5481 (doc/protocol.md): the outer part of the initiator's
 * hello, which netd can check without any secret, and the fixed parts of what the handshake binds.
 * Pure.
 *
 *	0   4  "BHL1"
 *	4   1  version
 *	5   1  kind (enum link_kind)
 *	6   2  zero
 *	8 112  Noise message 1: e 32, s 32 + 16, payload 16 + 16
 *	120 16 tag: keyed BLAKE2b-128 over bytes 0..119
 */
#ifndef BH_LIB_HELLO_H
#define BH_LIB_HELLO_H

#include <stddef.h>
#include <stdint.h>

#include "message.h"

enum {
	HELLO_VERSION = 1,
	HELLO_HEADER = 8,
	HELLO_NOISE = 112,
	HELLO_TAG = 16,
	HELLO_SIZE = HELLO_HEADER + HELLO_NOISE + HELLO_TAG, /* 136 */
	HELLO_PAYLOAD = 16, /* plaintext in Noise message 1 and in message 2 */
	HELLO_REPLY = 64,   /* Noise message 2: e 32, payload 16 + 16 */
	HELLO_TAG_KEY = 32,
	HELLO_PROLOGUE_MAX = 80,
};

enum hello_verdict {
	HELLO_OK,
	HELLO_BAD,     /* not a hello of this version: magic, version, kind or zero bytes */
	HELLO_BAD_TAG, /* made by somebody who does not know our public key */
};

/* The two keys of the tag of a responder: status links, and sync and request links. */
struct hello_keys {
	uint8_t status[HELLO_TAG_KEY];
	uint8_t data[HELLO_TAG_KEY];
};

/* From the public keys of the responder (struct conf_server: key_status, key_data). */
void hello_keys_init(
    struct hello_keys *k, const uint8_t public_status[32], const uint8_t public_data[32]);

/*
 * The outer part around Noise message 1. k: keys of the responder that is dialled. Returns 0, or -1
 * when kind is none.
 */
int hello_encode(uint8_t out[HELLO_SIZE], enum link_kind kind, const uint8_t noise[HELLO_NOISE],
    const struct hello_keys *k);

/*
 * Can these first n bytes (0..HELLO_SIZE) still become a hello? 1 or 0. Lets netd refuse garbage at
 * its first wrong byte.
 */
int hello_plausible(const uint8_t *in, size_t n);

/* Check a whole hello. k: our own keys. *kind is set for HELLO_OK only. */
enum hello_verdict hello_verify(
    const uint8_t in[HELLO_SIZE], const struct hello_keys *k, enum link_kind *kind);

/* Noise message 1 inside a hello, HELLO_NOISE bytes. */
const uint8_t *hello_noise(const uint8_t in[HELLO_SIZE]);

/* Prologue of the handshake: binds version, kind and group. Returns its length. */
size_t hello_prologue(uint8_t out[HELLO_PROLOGUE_MAX], enum link_kind kind, const char *group);

/*
 * Payload of message 1 (boot id of the sender, counter of its hellos) and of message 2 (boot id of
 * the responder, the counter echoed).
 */
struct hello_payload {
	uint64_t boot;
	uint64_t counter;
};
void hello_payload_encode(uint8_t out[HELLO_PAYLOAD], const struct hello_payload *p);
void hello_payload_decode(const uint8_t in[HELLO_PAYLOAD], struct hello_payload *p);

#endif
