/* SPDX-License-Identifier: ISC */
/*
 * The outer part of the first message of a connection; see hello.h.
 */
#include "hello.h"

#include <sodium.h>
#include <string.h>

static const uint8_t magic[4] = {'B', 'H', 'L', '1'};
static const char tag_context[] = "bulkhead hello v1";
static const char prologue_context[] = "bulkhead";

enum { AT_VERSION = 4, AT_KIND = 5, AT_TAG = HELLO_HEADER + HELLO_NOISE };

_Static_assert(HELLO_SIZE == 136, "doc/protocol.md says so");

static void
tag_key(uint8_t key[HELLO_TAG_KEY], const uint8_t public_key[32])
{
	crypto_generichash_state st;

	crypto_generichash_init(&st, NULL, 0, HELLO_TAG_KEY);
	crypto_generichash_update(&st, (const uint8_t *)tag_context, sizeof(tag_context) - 1);
	crypto_generichash_update(&st, public_key, 32);
	crypto_generichash_final(&st, key, HELLO_TAG_KEY);
}

void
hello_keys_init(
    struct hello_keys *k, const uint8_t public_status[32], const uint8_t public_data[32])
{
	tag_key(k->status, public_status);
	tag_key(k->data, public_data);
}

/* The tag of everything before it. */
static void
make_tag(
    uint8_t tag[HELLO_TAG], const uint8_t *hello, enum link_kind kind, const struct hello_keys *k)
{
	crypto_generichash(tag, HELLO_TAG, hello, AT_TAG, kind == LINK_STATUS ? k->status : k->data,
	    HELLO_TAG_KEY);
}

int
hello_encode(uint8_t out[HELLO_SIZE], enum link_kind kind, const uint8_t noise[HELLO_NOISE],
    const struct hello_keys *k)
{
	if (kind < LINK_STATUS || kind >= LINK_KIND_MAX)
		return -1;
	memset(out, 0, HELLO_HEADER);
	memcpy(out, magic, sizeof(magic));
	out[AT_VERSION] = HELLO_VERSION;
	out[AT_KIND] = (uint8_t)kind;
	memcpy(out + HELLO_HEADER, noise, HELLO_NOISE);
	make_tag(out + AT_TAG, out, kind, k);
	return 0;
}

int
hello_plausible(const uint8_t *in, size_t n)
{
	for (size_t i = 0; i < n && i < HELLO_HEADER; i++) {
		int good;

		if (i < sizeof(magic))
			good = in[i] == magic[i];
		else if (i == AT_VERSION)
			good = in[i] == HELLO_VERSION;
		else if (i == AT_KIND)
			good = in[i] >= LINK_STATUS && in[i] < LINK_KIND_MAX;
		else
			good = in[i] == 0;
		if (!good)
			return 0;
	}
	return 1;
}

enum hello_verdict
hello_verify(const uint8_t in[HELLO_SIZE], const struct hello_keys *k, enum link_kind *kind)
{
	uint8_t tag[HELLO_TAG];

	if (!hello_plausible(in, HELLO_HEADER))
		return HELLO_BAD;
	make_tag(tag, in, (enum link_kind)in[AT_KIND], k);
	if (sodium_memcmp(tag, in + AT_TAG, HELLO_TAG) != 0)
		return HELLO_BAD_TAG;
	*kind = (enum link_kind)in[AT_KIND];
	return HELLO_OK;
}

const uint8_t *
hello_noise(const uint8_t in[HELLO_SIZE])
{
	return in + HELLO_HEADER;
}

size_t
hello_prologue(uint8_t out[HELLO_PROLOGUE_MAX], enum link_kind kind, const char *group)
{
	size_t n = sizeof(prologue_context) - 1, len = strnlen(group, HELLO_PROLOGUE_MAX - n - 2);

	memcpy(out, prologue_context, n);
	out[n++] = HELLO_VERSION;
	out[n++] = (uint8_t)kind;
	memcpy(out + n, group, len);
	return n + len;
}

static void
put_u64(uint8_t *out, uint64_t v)
{
	for (size_t i = 0; i < 8; i++)
		out[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t
get_u64(const uint8_t *in)
{
	uint64_t v = 0;

	for (size_t i = 0; i < 8; i++)
		v |= (uint64_t)in[i] << (8 * i);
	return v;
}

void
hello_payload_encode(uint8_t out[HELLO_PAYLOAD], const struct hello_payload *p)
{
	put_u64(out, p->boot);
	put_u64(out + 8, p->counter);
}

void
hello_payload_decode(const uint8_t in[HELLO_PAYLOAD], struct hello_payload *p)
{
	p->boot = get_u64(in);
	p->counter = get_u64(in + 8);
}
