/* SPDX-License-Identifier: ISC */
/*
 * The public identity of a server as people copy it: "bh1", then 70 bytes in Crockford's base32
 * (lower case, no i, l, o, u; 112 characters, no padding): status key, data key, 6 check bytes.
 */
#include "conf.h"

#include <sodium.h>
#include <string.h>

enum { KEYS = 64, CHECK = 6, BYTES = KEYS + CHECK, CHARS = BYTES * 8 / 5 };
_Static_assert(BYTES % 5 == 0, "no padding");

static const char prefix[] = "bh1";
static const char check_context[] = "bulkhead identity v1";
static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
_Static_assert(sizeof(prefix) + CHARS <= IDENTITY_TEXT, "fits with its NUL");

/* The first 6 bytes of BLAKE2b-256 over context and keys: typing errors, not attackers. */
static void
identity_check(uint8_t out[CHECK], const uint8_t keys[KEYS])
{
	crypto_generichash_state st;
	uint8_t hash[32];

	crypto_generichash_init(&st, NULL, 0, sizeof(hash));
	crypto_generichash_update(&st, (const uint8_t *)check_context, sizeof(check_context) - 1);
	crypto_generichash_update(&st, keys, KEYS);
	crypto_generichash_final(&st, hash, sizeof(hash));
	memcpy(out, hash, CHECK);
}

void
identity_encode(const uint8_t status[32], const uint8_t data[32], char out[IDENTITY_TEXT])
{
	uint8_t bytes[BYTES];
	unsigned bits = 0, n_bits = 0;
	size_t at = sizeof(prefix) - 1;

	memcpy(bytes, status, 32);
	memcpy(bytes + 32, data, 32);
	identity_check(bytes + KEYS, bytes);
	memcpy(out, prefix, at);
	for (size_t i = 0; i < BYTES; i++) {
		bits = bits << 8 | bytes[i];
		for (n_bits += 8; n_bits >= 5; n_bits -= 5)
			out[at++] = alphabet[bits >> (n_bits - 5) & 31];
		bits &= (1U << n_bits) - 1;
	}
	out[at] = '\0';
}

/* Value of a character, -1 when it is none. Upper case and Crockford's look-alikes are taken. */
static int
digit(char c)
{
	const char *p;

	if (c >= 'A' && c <= 'Z')
		c = (char)(c - 'A' + 'a');
	if (c == 'o')
		c = '0';
	if (c == 'i' || c == 'l')
		c = '1';
	p = c != '\0' ? strchr(alphabet, c) : NULL;
	return p != NULL ? (int)(p - alphabet) : -1;
}

/* A public key with which every DH gives zero. */
static int
low_order(const uint8_t key[32])
{
	static const uint8_t scalar[32] = {8};
	uint8_t out[32];

	return crypto_scalarmult(out, scalar, key) != 0;
}

int
identity_decode(const char *text, uint8_t status[32], uint8_t data[32])
{
	uint8_t bytes[BYTES], check[CHECK];
	size_t at = 0, skip = sizeof(prefix) - 1;
	unsigned bits = 0, n_bits = 0;

	if (strnlen(text, IDENTITY_TEXT) != skip + CHARS || strncmp(text, prefix, skip) != 0)
		return -1;
	for (size_t i = 0; i < CHARS; i++) {
		int d = digit(text[skip + i]);

		if (d < 0)
			return -1;
		bits = bits << 5 | (unsigned)d;
		n_bits += 5;
		if (n_bits >= 8) {
			n_bits -= 8;
			bytes[at++] = (uint8_t)(bits >> n_bits);
			bits &= (1U << n_bits) - 1;
		}
	}
	identity_check(check, bytes);
	if (memcmp(check, bytes + KEYS, CHECK) != 0)
		return -1;
	/* one key for both would let the owner of the data key forge roles */
	if (memcmp(bytes, bytes + 32, 32) == 0 || low_order(bytes) || low_order(bytes + 32))
		return -1;
	memcpy(status, bytes, 32);
	memcpy(data, bytes + 32, 32);
	return 0;
}
