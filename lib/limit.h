/* SPDX-License-Identifier: ISC */
/*
 * A token bucket per source address in a table of fixed size: what outsiders can make it cost is
 * known beforehand. IPv6 sources count by /64 (one host owns at least that), IPv4 sources one by
 * one, also when they come in their IPv4-mapped form. Pure: the time is given by the caller.
 */
#ifndef BH_LIB_LIMIT_H
#define BH_LIB_LIMIT_H

#include <stdint.h>

enum {
	LIMIT_ENTRIES = 1024, /* power of two */
	LIMIT_PROBES = 8,     /* places where one source may be found */
	LIMIT_SEED = 16,
};

/* Who counts as one source. Two keys are the same source when all their bytes are. */
struct limit_key {
	uint8_t family;	  /* 4 or 6; 0: none */
	uint8_t bytes[8]; /* IPv4 address, or the /64, zero-padded */
};

struct limit_entry {
	struct limit_key key;
	uint32_t milli_tokens; /* at the time of: */
	int64_t at_ms;
};

struct limit {
	uint32_t burst; /* a source that was silent long enough may take so many at once */
	uint32_t rate;	/* and then so many per second; 0: no more */
	uint8_t seed[LIMIT_SEED]; /* of the hash: nobody outside can choose colliding sources */
	struct limit_entry entry[LIMIT_ENTRIES];
};

/* An empty table. seed: random bytes. */
void limit_init(struct limit *l, const uint8_t seed[LIMIT_SEED], uint32_t burst, uint32_t rate);

/* New limits; what sources have used up stays used up. */
void limit_set(struct limit *l, uint32_t burst, uint32_t rate);

/* The source of an address in network order; family 4 (in the first four bytes) or 6. */
void limit_key_of(uint8_t family, const uint8_t address[16], struct limit_key *key);
int limit_key_equal(const struct limit_key *a, const struct limit_key *b);

/*
 * May this source have one more now? 1, and the token is taken, or 0. now_ms: monotonic; a step
 * back counts as no time gone by. When all places of a source are taken by others, the entry that
 * says least (most tokens) makes room, and the newcomer starts with one token instead of a full
 * burst unless that entry was full again.
 */
int limit_take(struct limit *l, const struct limit_key *key, int64_t now_ms);

#endif
