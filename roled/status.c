/* SPDX-License-Identifier: ISC */
/*
 * The status record on the wire; see status.h for the layout.
 */
#include "config.h"

#include "status.h"

#include <string.h>

/* Bytes being written or read; the layout is fixed, so the end is where the last field ends. */
struct cursor {
	uint8_t *out;
	const uint8_t *in;
};

static void
put(struct cursor *c, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		*c->out++ = (uint8_t)(v >> (8 * i));
}

static uint64_t
get(struct cursor *c, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)*c->in++ << (8 * i);
	return v;
}

void
status_encode(uint8_t out[STATUS_SIZE], const struct status_record *r)
{
	struct cursor c = {.out = out};

	put(&c, STATUS_VERSION, 1);
	put(&c, r->kind, 1);
	put(&c, r->role, 1);
	put(&c, r->condition, 1);
	put(&c, r->reason, 1);
	put(&c, 0, 1);
	put(&c, r->flags, 2);
	put(&c, r->boot_id, 8);
	put(&c, r->seq, 8);
	put(&c, r->uptime_ms, 8);
	put(&c, (uint32_t)r->priority, 4);
	put(&c, r->main_id, 4);
	put(&c, r->elect_id, 4);
	put(&c, r->successor_id, 4);
	put(&c, r->epoch, 8);
	put(&c, r->epoch_seen, 8);
	put(&c, r->position_epoch, 8);
	put(&c, r->position_index, 8);
	put(&c, (uint64_t)r->main_age_ms, 8);
	put(&c, (uint64_t)r->in_sync_age_ms, 8);
	put(&c, (uint64_t)r->heard_age_ms, 8);
	put(&c, (uint64_t)r->main_heard_age_ms, 8);
	put(&c, r->pause_left_ms, 8);
	memcpy(c.out, r->digest, sizeof(r->digest));
	c.out += sizeof(r->digest);
	put(&c, r->lease_epoch, 8);
	put(&c, (uint64_t)r->lease_sent_ms, 8);
	put(&c, r->grant_epoch, 8);
	put(&c, (uint64_t)r->grant_echo_ms, 8);
}

void
status_encode_close(uint8_t out[STATUS_SIZE])
{
	memset(out, 0, STATUS_SIZE);
	out[0] = STATUS_VERSION;
	out[1] = STATUS_CLOSE;
}

/* The fields after version and kind. */
static void
decode_fields(struct cursor *c, struct status_record *r)
{
	r->boot_id = get(c, 8);
	r->seq = get(c, 8);
	r->uptime_ms = get(c, 8);
	r->priority = (int32_t)get(c, 4);
	r->main_id = (uint32_t)get(c, 4);
	r->elect_id = (uint32_t)get(c, 4);
	r->successor_id = (uint32_t)get(c, 4);
	r->epoch = get(c, 8);
	r->epoch_seen = get(c, 8);
	r->position_epoch = get(c, 8);
	r->position_index = get(c, 8);
	r->main_age_ms = (int64_t)get(c, 8);
	r->in_sync_age_ms = (int64_t)get(c, 8);
	r->heard_age_ms = (int64_t)get(c, 8);
	r->main_heard_age_ms = (int64_t)get(c, 8);
	r->pause_left_ms = get(c, 8);
	memcpy(r->digest, c->in, sizeof(r->digest));
	c->in += sizeof(r->digest);
	r->lease_epoch = get(c, 8);
	r->lease_sent_ms = (int64_t)get(c, 8);
	r->grant_epoch = get(c, 8);
	r->grant_echo_ms = (int64_t)get(c, 8);
}

enum status_verdict
status_decode(const uint8_t *in, size_t len, struct status_record *r)
{
	struct cursor c = {.in = in};
	uint8_t close_record[STATUS_SIZE];

	memset(r, 0, sizeof(*r));
	if (len != STATUS_SIZE || get(&c, 1) != STATUS_VERSION)
		return STATUS_BAD;
	r->kind = (uint8_t)get(&c, 1);
	if (r->kind == STATUS_CLOSE) {
		status_encode_close(close_record);
		return memcmp(in, close_record, STATUS_SIZE) == 0 ? STATUS_CLOSING : STATUS_BAD;
	}
	r->role = (uint8_t)get(&c, 1);
	r->condition = (uint8_t)get(&c, 1);
	r->reason = (uint8_t)get(&c, 1);
	if (get(&c, 1) != 0)
		return STATUS_BAD;
	r->flags = (uint16_t)get(&c, 2);
	decode_fields(&c, r);
	return machine_record_check(r) == 0 ? STATUS_RECORD : STATUS_BAD;
}
