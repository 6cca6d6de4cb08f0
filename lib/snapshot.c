/* SPDX-License-Identifier: ISC */
/*
 * Snapshot files (snapshot.h).
 */
#include "config.h"

#include "snapshot.h"

#include <string.h>

enum { KIND_ITEMS = 1, KIND_END = 2 };

static const uint8_t magic[8] = {'B', 'U', 'L', 'K', 'S', 'N', 'A', 'P'};

static uint8_t *
put_number(uint8_t *p, uint64_t v, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		*p++ = (uint8_t)(v >> (8 * i));
	return p;
}

static uint64_t
get_number(const uint8_t *p, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = bytes; i > 0; i--)
		v = v << 8 | p[i - 1];
	return v;
}

/* ---- writing */

void
snapshot_begin(struct snapshot_writer *w, const struct snapshot_head *h, uint8_t out[SNAPSHOT_HEAD])
{
	uint8_t *p = out;

	memset(out, 0, SNAPSHOT_HEAD);
	memcpy(p, magic, sizeof(magic));
	p = put_number(p + sizeof(magic), SNAPSHOT_VERSION, 4);
	p = put_number(p, 0, 4);
	memcpy(p, h->id, SNAPSHOT_ID);
	p = put_number(p + SNAPSHOT_ID, h->epoch, 8);
	p = put_number(p, h->index, 8);
	p = put_number(p, h->keys, 8);
	p = put_number(p, (uint64_t)h->saved_ms, 8);
	memcpy(p, h->group, strnlen(h->group, SNAPSHOT_NAME - 1));
	memcpy(p + SNAPSHOT_NAME, h->server, strnlen(h->server, SNAPSHOT_NAME - 1));
	w->operations = 0;
	crypto_generichash_init(&w->sum, NULL, 0, SNAPSHOT_SUM);
	crypto_generichash_update(&w->sum, out, SNAPSHOT_HEAD);
}

void
snapshot_items(struct snapshot_writer *w, const uint8_t *items, size_t len, uint64_t operations,
    uint8_t out[SNAPSHOT_RECORD])
{
	put_number(put_number(out, KIND_ITEMS, 4), len, 4);
	crypto_generichash_update(&w->sum, out, SNAPSHOT_RECORD);
	crypto_generichash_update(&w->sum, items, len);
	w->operations += operations;
}

void
snapshot_end(struct snapshot_writer *w, uint8_t out[SNAPSHOT_END])
{
	uint8_t *p = put_number(out, KIND_END, 4);

	p = put_number(put_number(p, 8 + SNAPSHOT_SUM, 4), w->operations, 8);
	crypto_generichash_update(&w->sum, out, (size_t)(p - out));
	crypto_generichash_final(&w->sum, p, SNAPSHOT_SUM);
}

/* ---- reading */

void
snapshot_reader_init(struct snapshot_reader *r)
{
	memset(r, 0, sizeof(*r));
	crypto_generichash_init(&r->sum, NULL, 0, SNAPSHOT_SUM);
	r->need = SNAPSHOT_HEAD;
}

static enum snapshot_part
bad(struct snapshot_reader *r, const char *error)
{
	r->error = error;
	return SNAPSHOT_BAD;
}

static enum snapshot_part
more(struct snapshot_reader *r, size_t need)
{
	r->need = need;
	return SNAPSHOT_MORE;
}

/* A name in its field: printable, zeros behind it. 0 or -1. */
static int
get_name(const uint8_t *p, char name[SNAPSHOT_NAME])
{
	size_t n = strnlen((const char *)p, SNAPSHOT_NAME);

	for (size_t i = 0; i < SNAPSHOT_NAME; i++) {
		if (i < n ? p[i] <= 0x20 || p[i] >= 0x7f : p[i] != 0)
			return -1;
	}
	memcpy(name, p, SNAPSHOT_NAME);
	return n > 0 && n < SNAPSHOT_NAME ? 0 : -1;
}

static enum snapshot_part
read_head(struct snapshot_reader *r, const uint8_t *data, size_t len, size_t *used)
{
	struct snapshot_head *h = &r->head;
	const uint8_t *p = data + sizeof(magic) + 8;

	if (len >= sizeof(magic) && memcmp(data, magic, sizeof(magic)) != 0)
		return bad(r, "this is no snapshot");
	if (len < SNAPSHOT_HEAD)
		return more(r, SNAPSHOT_HEAD);
	if (get_number(data + sizeof(magic), 4) != SNAPSHOT_VERSION)
		return bad(r, "the snapshot is of another version of this program");
	memcpy(h->id, p, SNAPSHOT_ID);
	p += SNAPSHOT_ID;
	h->epoch = get_number(p, 8);
	h->index = get_number(p + 8, 8);
	h->keys = get_number(p + 16, 8);
	h->saved_ms = (int64_t)get_number(p + 24, 8);
	if (get_number(data + 12, 4) != 0 || sodium_is_zero(h->id, SNAPSHOT_ID) ||
	    h->epoch > INT64_MAX || h->index > INT64_MAX || h->saved_ms < 0 ||
	    get_name(p + 32, h->group) != 0 || get_name(p + 32 + SNAPSHOT_NAME, h->server) != 0)
		return bad(r, "the head of the snapshot is damaged");
	crypto_generichash_update(&r->sum, data, SNAPSHOT_HEAD);
	r->state = SNAPSHOT_AT_RECORD;
	*used = SNAPSHOT_HEAD;
	return SNAPSHOT_GOT_HEAD;
}

static enum snapshot_part
read_end(struct snapshot_reader *r, const uint8_t *data, size_t len, size_t *used)
{
	size_t before = SNAPSHOT_END - SNAPSHOT_SUM;
	uint8_t sum[SNAPSHOT_SUM];

	if (len < SNAPSHOT_END)
		return more(r, SNAPSHOT_END);
	crypto_generichash_update(&r->sum, data, before);
	crypto_generichash_final(&r->sum, sum, SNAPSHOT_SUM);
	r->state = SNAPSHOT_AT_END;
	*used = SNAPSHOT_END;
	if (memcmp(sum, data + before, SNAPSHOT_SUM) != 0)
		return bad(r, "the snapshot is damaged: its checksum is wrong");
	r->operations = get_number(data + SNAPSHOT_RECORD, 8);
	return SNAPSHOT_GOT_END;
}

static enum snapshot_part
read_record(struct snapshot_reader *r, const uint8_t *data, size_t len, size_t *used)
{
	uint64_t kind, bytes;

	if (len < SNAPSHOT_RECORD)
		return more(r, SNAPSHOT_RECORD);
	kind = get_number(data, 4);
	bytes = get_number(data + 4, 4);
	if (kind == KIND_END && bytes == 8 + SNAPSHOT_SUM)
		return read_end(r, data, len, used);
	if (kind != KIND_ITEMS || bytes == 0 || bytes > SNAPSHOT_ITEMS_MAX)
		return bad(r, "a record of the snapshot is damaged");
	if (len - SNAPSHOT_RECORD < bytes)
		return more(r, SNAPSHOT_RECORD + (size_t)bytes);
	r->items = data + SNAPSHOT_RECORD;
	r->items_len = (size_t)bytes;
	*used = SNAPSHOT_RECORD + r->items_len;
	crypto_generichash_update(&r->sum, data, *used);
	return SNAPSHOT_GOT_ITEMS;
}

enum snapshot_part
snapshot_read(struct snapshot_reader *r, const uint8_t *data, size_t len, size_t *used)
{
	*used = 0;
	if (r->error != NULL)
		return SNAPSHOT_BAD;
	if (r->state == SNAPSHOT_AT_HEAD)
		return read_head(r, data, len, used);
	if (r->state == SNAPSHOT_AT_RECORD)
		return read_record(r, data, len, used);
	return len == 0 ? more(r, 0) : bad(r, "something follows the end of the snapshot");
}
