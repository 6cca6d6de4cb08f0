/* SPDX-License-Identifier: ISC */
/*
 * Who is interested in what: keys that are watched (WATCH), channels and patterns that are listened
 * to. A name has any number of clients, a client any number of names.
 */
#ifndef BH_SYNCD_INTEREST_H
#define BH_SYNCD_INTEREST_H

#include "change.h"

#include <sodium.h>
#include <stdbool.h>

struct client;

enum interest_kind { INTEREST_WATCH, INTEREST_CHANNEL, INTEREST_PATTERN, INTEREST_MAX };

/* One client's interest in one name. */
struct interest {
	struct client *client;
	struct topic *topic;
	struct interest *next, **link;	       /* others in the same name */
	struct interest *next_own, **link_own; /* others of the same client */
	bool expired;			       /* a key that was expired when it was watched */
};

struct topic {
	struct topic *next;
	struct interest *first;
	size_t len;
	uint8_t name[];
};

struct interests {
	struct topic **buckets;
	size_t n_buckets, n_topics;
	uint8_t seed[crypto_shorthash_KEYBYTES];
};

/* Those of one client. */
struct interest_list {
	struct interest *first, **last;
	size_t n;
};

int interests_init(struct interests *t); /* 0, or -1 without memory */
void interests_free(struct interests *t);
struct slice topic_name(const struct topic *t);
/* The topic of that name, or NULL when nobody is interested. */
struct topic *interest_find(const struct interests *t, struct slice name);
/* NULL without memory; *is_new says whether the client had it not before. */
struct interest *interest_add(struct interests *t, struct interest_list *own, struct client *c,
    struct slice name, bool *is_new);
/* Whether the client had it. */
bool interest_remove(
    struct interests *t, struct interest_list *own, struct client *c, struct slice name);
void interest_drop(struct interests *t, struct interest_list *own, struct interest *i);
/* All of that client. */
void interest_clear(struct interests *t, struct interest_list *own);

#endif
