/* SPDX-License-Identifier: ISC */
/*
 * Noise_IK_25519_ChaChaPoly_BLAKE2b on libsodium. Names in capitals in the comments are those of
 * the specification, https://noiseprotocol.org/noise.html revision 34.
 */
#include "noise.h"

#include <sodium.h>
#include <string.h>

enum { BLOCK = 128 }; /* BLOCKLEN of BLAKE2b, for HMAC */

/* Where a handshake stands. A wiped one is dead. */
enum state { DEAD, IDLE, NEEDS_DH, DONE };

enum token { E, S, EE, ES, SE, SS, PAYLOAD };

/* IK:  <- s  ...  -> e, es, s, ss  <- e, ee, se */
static const uint8_t pattern[2][5] = {
    {E, ES, S, SS, PAYLOAD},
    {E, EE, SE, PAYLOAD},
};
enum { MESSAGES = 2 };

static const char protocol_name[] = "Noise_IK_25519_ChaChaPoly_BLAKE2b";
_Static_assert(sizeof(protocol_name) - 1 <= NOISE_HASH, "a longer name would have to be hashed");
_Static_assert(NOISE_HASH == crypto_generichash_BYTES_MAX, "BLAKE2b-512");
_Static_assert(NOISE_TAG == crypto_aead_chacha20poly1305_ietf_ABYTES, "Poly1305");

/* ---- hashing */

/* HMAC-BLAKE2b over two pieces; libsodium has HMAC for SHA-2 only. */
static void
hmac(uint8_t out[NOISE_HASH], const uint8_t key[NOISE_HASH], const void *a, size_t a_len,
    const void *b, size_t b_len)
{
	crypto_generichash_state st;
	uint8_t pad[BLOCK], inner[NOISE_HASH];

	memset(pad, 0x36, sizeof(pad));
	for (size_t i = 0; i < NOISE_HASH; i++)
		pad[i] ^= key[i];
	crypto_generichash_init(&st, NULL, 0, NOISE_HASH);
	crypto_generichash_update(&st, pad, sizeof(pad));
	crypto_generichash_update(&st, a, a_len);
	crypto_generichash_update(&st, b, b_len);
	crypto_generichash_final(&st, inner, sizeof(inner));

	for (size_t i = 0; i < BLOCK; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	crypto_generichash_init(&st, NULL, 0, NOISE_HASH);
	crypto_generichash_update(&st, pad, sizeof(pad));
	crypto_generichash_update(&st, inner, sizeof(inner));
	crypto_generichash_final(&st, out, NOISE_HASH);

	sodium_memzero(&st, sizeof(st));
	sodium_memzero(pad, sizeof(pad));
	sodium_memzero(inner, sizeof(inner));
}

/* HKDF with two outputs. */
static void
hkdf(const uint8_t chaining[NOISE_HASH], const uint8_t *ikm, size_t ikm_len,
    uint8_t one[NOISE_HASH], uint8_t two[NOISE_HASH])
{
	static const uint8_t first = 1, second = 2;
	uint8_t temp[NOISE_HASH];

	hmac(temp, chaining, ikm, ikm_len, NULL, 0);
	hmac(one, temp, &first, 1, NULL, 0);
	hmac(two, temp, one, NOISE_HASH, &second, 1);
	sodium_memzero(temp, sizeof(temp));
}

/* ---- CipherState */

/* ChaChaPoly of the specification: 32 zero bits, then the counter little endian. */
static void
make_nonce(uint8_t out[crypto_aead_chacha20poly1305_ietf_NPUBBYTES], uint64_t n)
{
	memset(out, 0, 4);
	for (size_t i = 0; i < 8; i++)
		out[4 + i] = (uint8_t)(n >> (8 * i));
}

int
noise_encrypt(
    struct noise_cipher *c, const void *ad, size_t ad_len, const void *in, size_t len, uint8_t *out)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

	if (c->nonce == UINT64_MAX)
		return -1;
	make_nonce(nonce, c->nonce);
	if (crypto_aead_chacha20poly1305_ietf_encrypt(
		out, NULL, in, len, ad, ad_len, NULL, nonce, c->key) != 0)
		return -1;
	c->nonce++;
	return 0;
}

int
noise_decrypt(
    struct noise_cipher *c, const void *ad, size_t ad_len, const void *in, size_t len, uint8_t *out)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

	if (c->nonce == UINT64_MAX || len < NOISE_TAG)
		return -1;
	make_nonce(nonce, c->nonce);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(
		out, NULL, NULL, in, len, ad, ad_len, nonce, c->key) != 0)
		return -1;
	c->nonce++;
	return 0;
}

void
noise_rekey(struct noise_cipher *c)
{
	static const uint8_t zeros[NOISE_KEY];
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	uint8_t out[NOISE_KEY + NOISE_TAG];

	make_nonce(nonce, UINT64_MAX);
	crypto_aead_chacha20poly1305_ietf_encrypt(
	    out, NULL, zeros, sizeof(zeros), NULL, 0, NULL, nonce, c->key);
	memcpy(c->key, out, NOISE_KEY);
	sodium_memzero(out, sizeof(out));
}

/* ---- SymmetricState */

static void
mix_hash(struct noise *n, const void *data, size_t len)
{
	crypto_generichash_state st;

	crypto_generichash_init(&st, NULL, 0, NOISE_HASH);
	crypto_generichash_update(&st, n->hash, NOISE_HASH);
	crypto_generichash_update(&st, data, len);
	crypto_generichash_final(&st, n->hash, NOISE_HASH);
}

static void
mix_key(struct noise *n, const uint8_t shared[NOISE_KEY])
{
	uint8_t key[NOISE_HASH];

	hkdf(n->chaining, shared, NOISE_KEY, n->chaining, key);
	memcpy(n->cipher.key, key, NOISE_KEY);
	n->cipher.nonce = 0;
	sodium_memzero(key, sizeof(key));
}

/* ENCRYPTANDHASH at the end of out. Returns 0 or -1. */
static int
put_sealed(struct noise *n, const uint8_t *data, size_t len)
{
	uint8_t *to = n->out + n->out_len;

	if (sizeof(n->out) - n->out_len < NOISE_TAG ||
	    len > sizeof(n->out) - n->out_len - NOISE_TAG)
		return -1;
	if (noise_encrypt(&n->cipher, n->hash, NOISE_HASH, data, len, to) != 0)
		return -1;
	n->out_len += len + NOISE_TAG;
	mix_hash(n, to, len + NOISE_TAG);
	return 0;
}

/* DECRYPTANDHASH of the next len bytes of in, tag included. Returns 0 or -1. */
static int
get_sealed(struct noise *n, size_t len, uint8_t *to)
{
	const uint8_t *from = n->in + n->in_pos;

	if (len > n->in_len - n->in_pos)
		return -1;
	if (noise_decrypt(&n->cipher, n->hash, NOISE_HASH, from, len, to) != 0)
		return -1;
	n->in_pos += len;
	mix_hash(n, from, len);
	return 0;
}

/* ---- HandshakeState */

static int
writes(const struct noise *n)
{
	return (n->message % 2 == 0) == (n->role == NOISE_INITIATOR);
}

static int
do_ephemeral(struct noise *n)
{
	if (!writes(n)) {
		if (n->in_len - n->in_pos < NOISE_KEY)
			return -1;
		memcpy(n->remote_ephemeral, n->in + n->in_pos, NOISE_KEY);
		n->in_pos += NOISE_KEY;
		mix_hash(n, n->remote_ephemeral, NOISE_KEY);
		return 0;
	}
	if (sizeof(n->out) - n->out_len < NOISE_KEY)
		return -1;
	if (!n->has_ephemeral)
		randombytes_buf(n->ephemeral_secret, NOISE_KEY);
	if (crypto_scalarmult_base(n->ephemeral_public, n->ephemeral_secret) != 0)
		return -1;
	memcpy(n->out + n->out_len, n->ephemeral_public, NOISE_KEY);
	n->out_len += NOISE_KEY;
	mix_hash(n, n->ephemeral_public, NOISE_KEY);
	return 0;
}

static int
do_static(struct noise *n)
{
	if (writes(n))
		return put_sealed(n, n->static_public, NOISE_KEY);
	if (get_sealed(n, NOISE_KEY + NOISE_TAG, n->remote_static) != 0)
		return -1;
	n->has_remote = 1;
	return 0;
}

static int
do_payload(struct noise *n)
{
	size_t left = n->in_len - n->in_pos;

	if (writes(n))
		return put_sealed(n, n->in, n->in_len);
	if (get_sealed(n, left, n->out) != 0)
		return -1;
	n->out_len = left - NOISE_TAG;
	return 0;
}

/* A DH token: done here with the ephemeral key, or asked for with the static one. */
static enum noise_result
do_dh(struct noise *n, enum token t)
{
	int initiator = n->role == NOISE_INITIATOR;
	int local_static = t == SS || t == (initiator ? SE : ES);
	int remote_static = t == SS || t == (initiator ? ES : SE);
	const uint8_t *remote = remote_static ? n->remote_static : n->remote_ephemeral;
	uint8_t shared[NOISE_KEY];
	int r;

	if (local_static) {
		memcpy(n->dh_public, remote, NOISE_KEY);
		return NOISE_NEED_DH;
	}
	r = crypto_scalarmult(shared, n->ephemeral_secret, remote); /* -1: low order */
	if (r == 0)
		mix_key(n, shared);
	sodium_memzero(shared, sizeof(shared));
	return r == 0 ? NOISE_OK : NOISE_ERROR;
}

static enum noise_result
fail(struct noise *n)
{
	noise_wipe(n);
	return NOISE_ERROR;
}

/* Work off the tokens of the present message until it is complete or a static DH is due. */
static enum noise_result
run(struct noise *n)
{
	for (;;) {
		enum token t = pattern[n->message][n->token];
		enum noise_result r;

		switch (t) {
		case E:
			r = do_ephemeral(n) == 0 ? NOISE_OK : NOISE_ERROR;
			break;
		case S:
			r = do_static(n) == 0 ? NOISE_OK : NOISE_ERROR;
			break;
		case PAYLOAD:
			if (do_payload(n) != 0)
				return fail(n);
			sodium_memzero(n->in, sizeof(n->in));
			n->token = 0;
			n->message++;
			n->state = n->message == MESSAGES ? DONE : IDLE;
			return NOISE_OK;
		default:
			r = do_dh(n, t);
			break;
		}
		if (r == NOISE_ERROR)
			return fail(n);
		if (r == NOISE_NEED_DH) {
			n->state = NEEDS_DH;
			return NOISE_NEED_DH;
		}
		n->token++;
	}
}

int
noise_init(struct noise *n, enum noise_role role, const void *prologue, size_t prologue_len,
    const uint8_t static_public[NOISE_KEY], const uint8_t *remote_static)
{
	memset(n, 0, sizeof(*n));
	if ((role == NOISE_INITIATOR) != (remote_static != NULL))
		return -1;
	n->role = role;
	n->state = IDLE;
	memcpy(n->static_public, static_public, NOISE_KEY);
	if (remote_static != NULL) {
		memcpy(n->remote_static, remote_static, NOISE_KEY);
		n->has_remote = 1;
	}
	memcpy(n->hash, protocol_name, sizeof(protocol_name) - 1);
	memcpy(n->chaining, n->hash, NOISE_HASH);
	mix_hash(n, prologue, prologue_len);
	mix_hash(n, role == NOISE_INITIATOR ? n->remote_static : n->static_public, NOISE_KEY);
	return 0;
}

/* Take the input of a message and work on it. */
static enum noise_result
start(struct noise *n, int writing, const void *in, size_t len)
{
	if (n->state != IDLE || writes(n) != writing || len > sizeof(n->in))
		return fail(n);
	if (len > 0)
		memcpy(n->in, in, len);
	n->in_len = len;
	n->in_pos = 0;
	n->out_len = 0;
	return run(n);
}

enum noise_result
noise_write(struct noise *n, const void *payload, size_t len)
{
	return start(n, 1, payload, len);
}

enum noise_result
noise_read(struct noise *n, const void *message, size_t len)
{
	return start(n, 0, message, len);
}

enum noise_result
noise_dh(struct noise *n, const uint8_t *shared)
{
	/* an all-zero result means a low-order public key; keyd refuses it too */
	if (n->state != NEEDS_DH || shared == NULL || sodium_is_zero(shared, NOISE_KEY))
		return fail(n);
	mix_key(n, shared);
	n->token++;
	return run(n);
}

int
noise_split(struct noise *n, struct noise_cipher *send, struct noise_cipher *receive)
{
	uint8_t one[NOISE_HASH], two[NOISE_HASH], hash[NOISE_HASH];
	struct noise_cipher *to_responder = n->role == NOISE_INITIATOR ? send : receive;
	struct noise_cipher *to_initiator = n->role == NOISE_INITIATOR ? receive : send;

	if (n->state != DONE)
		return -1;
	hkdf(n->chaining, NULL, 0, one, two);
	memcpy(to_responder->key, one, NOISE_KEY);
	memcpy(to_initiator->key, two, NOISE_KEY);
	to_responder->nonce = 0;
	to_initiator->nonce = 0;
	sodium_memzero(one, sizeof(one));
	sodium_memzero(two, sizeof(two));

	memcpy(hash, n->hash, NOISE_HASH);
	noise_wipe(n);
	memcpy(n->hash, hash, NOISE_HASH);
	return 0;
}

void
noise_wipe(struct noise *n)
{
	sodium_memzero(n, sizeof(*n));
}

void
noise_set_ephemeral(struct noise *n, const uint8_t secret[NOISE_KEY])
{
	memcpy(n->ephemeral_secret, secret, NOISE_KEY);
	n->has_ephemeral = 1;
}
