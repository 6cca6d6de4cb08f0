/* SPDX-License-Identifier: ISC */
/*
 * Token buckets per source: open addressing with a bounded probe, no deletion, ageing by reuse.
 */
#include "limit.h"

#include <sodium.h>
#include <string.h>

_Static_assert(LIMIT_SEED == crypto_shorthash_KEYBYTES, "seed of SipHash");
_Static_assert((LIMIT_ENTRIES & (LIMIT_ENTRIES - 1)) == 0, "the hash is masked");

static uint32_t full(const struct limit *l);

void
limit_init(struct limit *l, const uint8_t seed[LIMIT_SEED], uint32_t burst, uint32_t rate)
{
	memset(l, 0, sizeof(*l));
	memcpy(l->seed, seed, LIMIT_SEED);
	limit_set(l, burst, rate);
}

void
limit_set(struct limit *l, uint32_t burst, uint32_t rate)
{
	l->burst = burst;
	l->rate = rate;
}

void
limit_key_of(uint8_t family, const uint8_t address[16], struct limit_key *key)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291, 2.5.5.2 */

	memset(key, 0, sizeof(*key));
	if (family == 6 && memcmp(address, mapped, sizeof(mapped)) == 0) {
		family = 4;
		address += sizeof(mapped);
	}
	key->family = family;
	memcpy(key->bytes, address, family == 4 ? 4 : 8);
}

int
limit_key_equal(const struct limit_key *a, const struct limit_key *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* Bring an entry up to now. */
static void
refill(const struct limit *l, struct limit_entry *e, int64_t now_ms)
{
	int64_t gone_ms = now_ms - e->at_ms;
	uint64_t tokens;

	if (gone_ms <= 0)
		return;
	e->at_ms = now_ms;
	/* a rate per second is the same number in thousandths per ms; a day bounds the product */
	tokens = e->milli_tokens + (uint64_t)(gone_ms < 86400000 ? gone_ms : 86400000) * l->rate;
	e->milli_tokens = tokens < full(l) ? (uint32_t)tokens : full(l);
}

static uint32_t
full(const struct limit *l)
{
	return (l->burst < UINT32_MAX / 1000 ? l->burst : UINT32_MAX / 1000) * 1000;
}

/* The entry of this source, made when there is none. */
static struct limit_entry *
find(struct limit *l, const struct limit_key *key, int64_t now_ms)
{
	uint8_t hash[crypto_shorthash_BYTES];
	struct limit_entry *best = NULL;
	uint32_t at;

	crypto_shorthash(hash, (const uint8_t *)key, sizeof(*key), l->seed);
	memcpy(&at, hash, sizeof(at));
	for (uint32_t i = 0; i < LIMIT_PROBES; i++) {
		struct limit_entry *e = &l->entry[(at + i) & (LIMIT_ENTRIES - 1)];

		if (e->key.family == 0) {
			if (best == NULL || best->key.family != 0)
				best = e;
			continue;
		}
		refill(l, e, now_ms);
		if (limit_key_equal(&e->key, key))
			return e;
		if (best == NULL || (best->key.family != 0 && e->milli_tokens > best->milli_tokens))
			best = e;
	}
	if (best->key.family == 0 || best->milli_tokens >= full(l))
		best->milli_tokens = full(l);
	else
		best->milli_tokens = full(l) < 1000 ? 0 : 1000;
	best->key = *key;
	best->at_ms = now_ms;
	return best;
}

int
limit_take(struct limit *l, const struct limit_key *key, int64_t now_ms)
{
	struct limit_entry *e = find(l, key, now_ms);

	refill(l, e, now_ms);
	if (e->milli_tokens > full(l)) /* the burst was made smaller */
		e->milli_tokens = full(l);
	if (e->milli_tokens < 1000)
		return 0;
	e->milli_tokens -= 1000;
	return 1;
}
