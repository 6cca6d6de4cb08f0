/* SPDX-License-Identifier: ISC */
/*
 * Who is interested in what (interest.h): a table of names, hashed with a key of this process, so
 * that nobody can choose names that meet in one bucket.
 */
#include "config.h"

#include "interest.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_FIRST = 64 };

int
interests_init(struct interests *t)
{
	memset(t, 0, sizeof(*t));
	randombytes_buf(t->seed, sizeof(t->seed));
	t->buckets = calloc(BUCKETS_FIRST, sizeof(struct topic *));
	t->n_buckets = BUCKETS_FIRST;
	return t->buckets == NULL ? -1 : 0;
}

/* Every client has cleared its own before. */
void
interests_free(struct interests *t)
{
	free(t->buckets);
	t->buckets = NULL;
}

struct slice
topic_name(const struct topic *t)
{
	return (struct slice){t->name, t->len};
}

static size_t
bucket_of(const struct interests *t, const uint8_t *name, size_t len)
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint64_t n;

	crypto_shorthash(hash, name, len, t->seed);
	memcpy(&n, hash, sizeof(n));
	return (size_t)(n % t->n_buckets);
}

struct topic *
interest_find(const struct interests *t, struct slice name)
{
	struct topic *topic = NULL;

	if (t->n_topics > 0)
		topic = t->buckets[bucket_of(t, name.data, name.len)];
	while (topic != NULL &&
	       (topic->len != name.len || memcmp(topic->name, name.data, name.len) != 0))
		topic = topic->next;
	return topic;
}

/* Twice as many buckets; stays as it is without memory. */
static void
grow(struct interests *t)
{
	size_t n_old = t->n_buckets;
	struct topic **old = t->buckets, **buckets = calloc(n_old * 2, sizeof(struct topic *));

	if (buckets == NULL)
		return;
	t->buckets = buckets;
	t->n_buckets = n_old * 2;
	for (size_t i = 0; i < n_old; i++) {
		struct topic *next;

		for (struct topic *topic = old[i]; topic != NULL; topic = next) {
			size_t b = bucket_of(t, topic->name, topic->len);

			next = topic->next;
			topic->next = buckets[b];
			buckets[b] = topic;
		}
	}
	free(old);
}

static struct topic *
add_topic(struct interests *t, struct slice name)
{
	struct topic *topic = malloc(sizeof(*topic) + name.len);
	size_t b;

	if (topic == NULL)
		return NULL;
	if (t->n_topics >= t->n_buckets)
		grow(t);
	b = bucket_of(t, name.data, name.len);
	topic->next = t->buckets[b];
	topic->first = NULL;
	topic->len = name.len;
	memcpy(topic->name, name.data, name.len);
	t->buckets[b] = topic;
	t->n_topics++;
	return topic;
}

static void
remove_topic(struct interests *t, struct topic *topic)
{
	struct topic **link = &t->buckets[bucket_of(t, topic->name, topic->len)];

	while (*link != topic)
		link = &(*link)->next;
	*link = topic->next;
	t->n_topics--;
	free(topic);
}

static struct interest *
find_own(const struct topic *topic, const struct client *c)
{
	struct interest *i = topic->first;

	while (i != NULL && i->client != c)
		i = i->next;
	return i;
}

struct interest *
interest_add(struct interests *t, struct interest_list *own, struct client *c, struct slice name,
    bool *is_new)
{
	struct topic *topic = interest_find(t, name);
	struct interest *i = topic == NULL ? NULL : find_own(topic, c);

	*is_new = i == NULL;
	if (i != NULL)
		return i;
	i = calloc(1, sizeof(*i));
	if (i != NULL && topic == NULL)
		topic = add_topic(t, name);
	if (i == NULL || topic == NULL) {
		free(i);
		return NULL;
	}
	i->client = c;
	i->topic = topic;
	i->next = topic->first;
	i->link = &topic->first;
	if (i->next != NULL)
		i->next->link = &i->next;
	topic->first = i;
	if (own->last == NULL)
		own->last = &own->first;
	i->link_own = own->last;
	*own->last = i;
	own->last = &i->next_own;
	own->n++;
	return i;
}

void
interest_drop(struct interests *t, struct interest_list *own, struct interest *i)
{
	*i->link = i->next;
	if (i->next != NULL)
		i->next->link = i->link;
	*i->link_own = i->next_own;
	if (i->next_own != NULL)
		i->next_own->link_own = i->link_own;
	else
		own->last = i->link_own;
	own->n--;
	if (i->topic->first == NULL)
		remove_topic(t, i->topic);
	free(i);
}

bool
interest_remove(struct interests *t, struct interest_list *own, struct client *c, struct slice name)
{
	struct topic *topic = interest_find(t, name);
	struct interest *i = topic == NULL ? NULL : find_own(topic, c);

	if (i == NULL)
		return false;
	interest_drop(t, own, i);
	return true;
}

void
interest_clear(struct interests *t, struct interest_list *own)
{
	while (own->first != NULL)
		interest_drop(t, own, own->first);
}
