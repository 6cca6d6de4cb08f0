/* SPDX-License-Identifier: ISC */
/*
 * The handshake Noise_IK_25519_ChaChaPoly_BLAKE2b (Noise specification, revision 34) as a state
 * machine without I/O. The steps with our static private key are done elsewhere: where one is due,
 * noise_write, noise_read and noise_dh return NOISE_NEED_DH, the owner asks for
 * DH(our static key, n->dh_public) and goes on with noise_dh(). Ephemeral keys never leave here.
 *
 *	initiator: noise_write (1 DH), noise_read (1 DH), noise_split
 *	responder: noise_read (2 DH: after the first the remote static key is known, so that the
 *	           owner can refuse it before the second), noise_write (none), noise_split
 */
#ifndef BH_LIB_NOISE_H
#define BH_LIB_NOISE_H

#include <stddef.h>
#include <stdint.h>

enum {
	NOISE_KEY = 32,	    /* X25519 keys, ChaCha20-Poly1305 keys, DH results */
	NOISE_HASH = 64,    /* BLAKE2b */
	NOISE_TAG = 16,	    /* Poly1305 */
	NOISE_BUFFER = 512, /* largest handshake message here; the specification allows 65535 */
};

enum noise_role { NOISE_INITIATOR, NOISE_RESPONDER };
enum noise_result { NOISE_ERROR = -1, NOISE_OK, NOISE_NEED_DH };

/* A key and its counter: CipherState of the specification. */
struct noise_cipher {
	uint8_t key[NOISE_KEY];
	uint64_t nonce; /* of the next message */
};

/* Read-only for owners but through the functions below. */
struct noise {
	enum noise_role role;
	uint8_t state;		/* enum state of noise.c */
	uint8_t message, token; /* position in the pattern */
	uint8_t has_ephemeral;	/* set by noise_set_ephemeral */
	/* remote_static is known: initiator always, responder after the first DH */
	uint8_t has_remote;
	uint8_t chaining[NOISE_HASH];
	uint8_t hash[NOISE_HASH]; /* after the last message: the handshake hash (channel binding) */
	struct noise_cipher cipher;
	uint8_t static_public[NOISE_KEY];
	uint8_t ephemeral_secret[NOISE_KEY];
	uint8_t ephemeral_public[NOISE_KEY];
	uint8_t remote_static[NOISE_KEY];
	uint8_t remote_ephemeral[NOISE_KEY];
	/* NOISE_NEED_DH: the public key to combine with our static key */
	uint8_t dh_public[NOISE_KEY];
	uint8_t in[NOISE_BUFFER]; /* payload to write, or message to read */
	size_t in_len, in_pos;
	uint8_t out[NOISE_BUFFER]; /* NOISE_OK: message written, or payload read */
	size_t out_len;
};

/*
 * Begin a handshake. remote_static is the responder's public key for an initiator and NULL for a
 * responder. Returns 0, or -1 when the arguments are not so.
 */
int noise_init(struct noise *n, enum noise_role role, const void *prologue, size_t prologue_len,
    const uint8_t static_public[NOISE_KEY], const uint8_t *remote_static);

/*
 * Make the next message around a payload, or take one in. NOISE_OK: it is in n->out (the message,
 * or the payload of the one read), n->out_len bytes, until the next call. NOISE_NEED_DH: see above;
 * the arguments have been copied. NOISE_ERROR: not our turn, too long, forged, or a public key of
 * low order; the handshake is over and everything secret is wiped.
 */
enum noise_result noise_write(struct noise *n, const void *payload, size_t len);
enum noise_result noise_read(struct noise *n, const void *message, size_t len);

/* Go on with the result of the DH asked for; NULL when it was refused (the handshake is over). */
enum noise_result noise_dh(struct noise *n, const uint8_t *shared);

/*
 * The two transport keys, from our point of view. Wipes n (n->hash is kept until noise_wipe).
 * Returns 0, or -1 when the handshake is not done.
 */
int noise_split(struct noise *n, struct noise_cipher *send, struct noise_cipher *receive);

/* Wipe everything; called on every path, harmless twice. */
void noise_wipe(struct noise *n);

/* For tests against vectors: use this ephemeral secret in place of a random one. */
void noise_set_ephemeral(struct noise *n, const uint8_t secret[NOISE_KEY]);

/*
 * CipherState functions, for transport messages too. out of noise_encrypt has room for len +
 * NOISE_TAG bytes, out of noise_decrypt for len - NOISE_TAG; in and out may be the same. They
 * return 0, or -1: forged (nothing of out may be used, the nonce stays), or the nonce is used up.
 */
int noise_encrypt(struct noise_cipher *c, const void *ad, size_t ad_len, const void *in, size_t len,
    uint8_t *out);
int noise_decrypt(struct noise_cipher *c, const void *ad, size_t ad_len, const void *in, size_t len,
    uint8_t *out);
/* Replace the key (REKEY of the specification); the nonce goes on. */
void noise_rekey(struct noise_cipher *c);

#endif
