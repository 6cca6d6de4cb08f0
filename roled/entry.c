/* SPDX-License-Identifier: ISC */
/*
 * The content of the role state file and of ledger records as bytes: fixed order, little endian,
 * a version in front, strict when read back. Pure.
 */
#include "config.h"

#include "roled.h"

#include <string.h>

enum { ENTRY_VERSION = 1, PERSISTED_VERSION = 2 };

/* Bytes within limits: a field past the end sets bad and reads as zero. */
struct bytes {
	uint8_t *out;
	const uint8_t *in;
	size_t pos, end;
	int bad;
};

static void
put(struct bytes *b, uint64_t v, size_t n)
{
	if (n > b->end - b->pos) {
		b->bad = 1;
		return;
	}
	for (size_t i = 0; i < n; i++)
		b->out[b->pos++] = (uint8_t)(v >> (8 * i));
}

static uint64_t
get(struct bytes *b, size_t n)
{
	uint64_t v = 0;

	if (n > b->end - b->pos) {
		b->bad = 1;
		b->pos = b->end;
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)b->in[b->pos++] << (8 * i);
	return v;
}

static void
put_text(struct bytes *b, const char *s, size_t max)
{
	size_t n = strnlen(s, max - 1);

	put(b, n, 1);
	for (size_t i = 0; i < n; i++)
		put(b, (uint8_t)s[i], 1);
}

static void
get_text(struct bytes *b, char *s, size_t size)
{
	size_t n = (size_t)get(b, 1);

	if (n >= size) {
		b->bad = 1;
		n = 0;
	}
	for (size_t i = 0; i < n; i++) {
		s[i] = (char)get(b, 1);
		if (s[i] < 0x20 || s[i] == 0x7f)
			b->bad = 1;
	}
	s[n] = '\0';
}

size_t
entry_encode(uint8_t out[LEDGER_CONTENT], const struct entry *entry)
{
	const struct ledger_entry *e = &entry->e;
	struct bytes b = {.out = out, .end = LEDGER_CONTENT};
	size_t n = e->n_partners < MACHINE_SERVERS ? e->n_partners : MACHINE_SERVERS;

	put(&b, ENTRY_VERSION, 1);
	put(&b, (uint64_t)e->at_ms, 8);
	put(&b, e->epoch, 8);
	put(&b, e->kind, 1);
	put(&b, e->rule, 1);
	put(&b, e->peer, 1);
	put(&b, e->role, 1);
	put(&b, e->condition, 1);
	put(&b, e->refs_seen, 1);
	put(&b, e->refs_total, 1);
	put(&b, (uint64_t)e->margin_ms, 8);
	put(&b, entry->value, 8);
	put(&b, n, 1);
	for (size_t i = 0; i < n; i++) {
		put(&b, entry->id[i], 4);
		put(&b, e->partner[i].verdict, 1);
		put(&b, e->partner[i].links_up, 1);
		put(&b, e->partner[i].icmp, 1);
		put(&b, e->partner[i].role, 1);
		put(&b, (uint32_t)e->partner[i].heard_age_ms, 4);
		put(&b, (uint32_t)e->partner[i].icmp_age_ms, 4);
	}
	put_text(&b, entry->note, sizeof(entry->note));
	return b.bad ? 0 : b.pos;
}

int
entry_decode(const uint8_t *in, size_t len, struct entry *entry)
{
	struct ledger_entry *e = &entry->e;
	struct bytes b = {.in = in, .end = len};

	memset(entry, 0, sizeof(*entry));
	if (get(&b, 1) != ENTRY_VERSION)
		return -1;
	e->at_ms = (int64_t)get(&b, 8);
	e->epoch = get(&b, 8);
	e->kind = (uint8_t)get(&b, 1);
	e->rule = (uint8_t)get(&b, 1);
	e->peer = (uint8_t)get(&b, 1);
	e->role = (uint8_t)get(&b, 1);
	e->condition = (uint8_t)get(&b, 1);
	e->refs_seen = (uint8_t)get(&b, 1);
	e->refs_total = (uint8_t)get(&b, 1);
	e->margin_ms = (int64_t)get(&b, 8);
	entry->value = get(&b, 8);
	e->n_partners = (uint8_t)get(&b, 1);
	if (e->n_partners > MACHINE_SERVERS || e->kind >= LEDGER_KIND_MAX || e->role >= ROLE_MAX ||
	    e->condition >= CONDITION_MAX || e->refs_total > MACHINE_REFERENCES)
		return -1;
	for (size_t i = 0; i < e->n_partners; i++) {
		entry->id[i] = (uint32_t)get(&b, 4);
		e->partner[i].verdict = (uint8_t)get(&b, 1);
		e->partner[i].links_up = (uint8_t)get(&b, 1);
		e->partner[i].icmp = (uint8_t)get(&b, 1);
		e->partner[i].role = (uint8_t)get(&b, 1);
		e->partner[i].heard_age_ms = (int32_t)get(&b, 4);
		e->partner[i].icmp_age_ms = (int32_t)get(&b, 4);
	}
	get_text(&b, entry->note, sizeof(entry->note));
	return b.bad || b.pos != b.end ? -1 : 0;
}

size_t
persisted_encode(uint8_t out[STORE_CONTENT], const struct machine_persisted *p)
{
	struct bytes b = {.out = out, .end = STORE_CONTENT};
	size_t n = p->n_takeovers < MACHINE_TAKEOVERS ? p->n_takeovers : MACHINE_TAKEOVERS;
	size_t servers = p->n_servers < MACHINE_SERVERS ? p->n_servers : MACHINE_SERVERS;

	put(&b, PERSISTED_VERSION, 1);
	put(&b, p->instance, 8);
	put(&b, p->epoch, 8);
	put(&b, p->epoch_seen, 8);
	put(&b, p->position_index, 8);
	put(&b, p->event, 8);
	put(&b, p->role, 1);
	put(&b, p->last_main, 1);
	put(&b, p->clean, 1);
	put(&b, p->stale, 1);
	put(&b, p->initialised, 1);
	put(&b, p->left, 4);
	put(&b, p->outvoted, 4);
	put(&b, p->voted_epoch, 8);
	put(&b, p->voted_for, 1);
	put(&b, (uint64_t)p->lease_until_ms, 8);
	put(&b, p->pause_left_ms, 8);
	put_text(&b, p->pause_owner, sizeof(p->pause_owner));
	put_text(&b, p->pause_reason, sizeof(p->pause_reason));
	put(&b, n, 1);
	for (size_t i = 0; i < n; i++)
		put(&b, (uint64_t)p->takeover_age_ms[i], 8);
	put(&b, servers, 1);
	for (size_t i = 0; i < servers; i++)
		put(&b, p->server_id[i], 4);
	return b.bad ? 0 : b.pos;
}

int
persisted_decode(const uint8_t *in, size_t len, struct machine_persisted *p)
{
	struct bytes b = {.in = in, .end = len};

	memset(p, 0, sizeof(*p));
	if (get(&b, 1) != PERSISTED_VERSION)
		return -1;
	p->instance = get(&b, 8);
	p->epoch = get(&b, 8);
	p->epoch_seen = get(&b, 8);
	p->position_index = get(&b, 8);
	p->event = get(&b, 8);
	p->role = (uint8_t)get(&b, 1);
	p->last_main = (uint8_t)get(&b, 1);
	p->clean = (uint8_t)get(&b, 1);
	p->stale = (uint8_t)get(&b, 1);
	p->initialised = (uint8_t)get(&b, 1);
	p->left = (uint32_t)get(&b, 4);
	p->outvoted = (uint32_t)get(&b, 4);
	p->voted_epoch = get(&b, 8);
	p->voted_for = (uint8_t)get(&b, 1);
	p->lease_until_ms = (int64_t)get(&b, 8);
	p->pause_left_ms = get(&b, 8);
	get_text(&b, p->pause_owner, sizeof(p->pause_owner));
	get_text(&b, p->pause_reason, sizeof(p->pause_reason));
	p->n_takeovers = (uint8_t)get(&b, 1);
	if (p->role >= ROLE_MAX || p->last_main > 1 || p->clean > 1 || p->stale > 1 ||
	    p->initialised > 1 || (p->voted_for >= MACHINE_SERVERS && p->voted_for != NOBODY) ||
	    p->n_takeovers > MACHINE_TAKEOVERS)
		return -1;
	for (size_t i = 0; i < p->n_takeovers; i++)
		p->takeover_age_ms[i] = (int64_t)get(&b, 8);
	p->n_servers = (uint8_t)get(&b, 1);
	if (p->n_servers > MACHINE_SERVERS)
		return -1;
	for (size_t i = 0; i < p->n_servers; i++)
		p->server_id[i] = (uint32_t)get(&b, 4);
	return b.bad || b.pos != b.end ? -1 : 0;
}
