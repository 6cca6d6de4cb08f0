/* SPDX-License-Identifier: ISC */
/*
 * A snapshot file that somebody brings: read at once and in two pieces it is the same, every part
 * is inside it, and only its own checksum lets it end. A checksum that was put right leads further,
 * so that what is behind it is tried too.
 */
#include "config.h"

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "lib/snapshot.h"
#include "syncd/change.h"

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static const struct snapshot_head head = {.id = {1},
	    .epoch = 3,
	    .index = 77,
	    .keys = 2,
	    .saved_ms = 1700000000000,
	    .group = "g",
	    .server = "alpha"};
	static const uint8_t bytes[100] = {'x'};
	struct snapshot_writer w;
	struct change c;
	uint8_t text[SNAPSHOT_HEAD + 2 * (SNAPSHOT_RECORD + 512) + SNAPSHOT_END];
	size_t n = SNAPSHOT_HEAD;

	snapshot_begin(&w, &head, text);
	for (int i = 0; i < 2; i++) {
		struct change_op op = {.kind = i ? CHANGE_HSET : CHANGE_SET,
		    .key = {bytes, 3},
		    .field = {bytes, 5},
		    .value = {bytes, sizeof(bytes)}};

		change_init(&c);
		if (change_append(&c, &op) != 0)
			abort();
		snapshot_items(&w, c.data, c.len, c.n_ops, text + n);
		memcpy(text + n + SNAPSHOT_RECORD, c.data, c.len);
		n += SNAPSHOT_RECORD + c.len;
		change_free(&c);
	}
	snapshot_end(&w, text + n);
	n += SNAPSHOT_END;
	n = n < size ? n : size;
	memcpy(out, text, n);
	return n;
}

/* What came of it: the parts, as a number, and how far it was read. */
struct result {
	uint64_t parts;
	size_t at;
	enum snapshot_part last;
};

static void
look_at_operations(const struct snapshot_reader *r)
{
	struct slice body = {r->items, r->items_len};
	struct change_op op;
	size_t pos = 0, steps = 0;

	while (change_next(body, &pos, &op) == 1) {
		if (pos > body.len || ++steps > body.len)
			abort();
	}
}

/* From where it is to the end of data. */
static void
read_on(struct snapshot_reader *r, const uint8_t *data, size_t len, struct result *to)
{
	size_t used;

	for (;;) {
		to->last = snapshot_read(r, data + to->at, len - to->at, &used);
		if (used > len - to->at)
			abort();
		if (to->last == SNAPSHOT_MORE && r->need != 0 && r->need <= len - to->at)
			abort();
		if (to->last == SNAPSHOT_BAD && (r->error == NULL || *r->error == '\0'))
			abort();
		if (to->last == SNAPSHOT_MORE || to->last == SNAPSHOT_BAD)
			return;
		if (used == 0)
			abort();
		if (to->last == SNAPSHOT_GOT_ITEMS) {
			if (r->items < data + to->at || r->items_len == 0 ||
			    r->items_len > used - (size_t)(r->items - (data + to->at)))
				abort();
			look_at_operations(r);
		}
		to->parts = to->parts * 5 + to->last;
		to->at += used;
	}
}

static struct result
read_all(const uint8_t *data, size_t len, size_t cut)
{
	struct snapshot_reader r;
	struct result to = {0};

	snapshot_reader_init(&r);
	read_on(&r, data, cut, &to);
	if (to.last == SNAPSHOT_MORE)
		read_on(&r, data, len, &to);
	return to;
}

/* With the checksum put right it ends, when it ended but for that. */
static void
try_repaired(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len);
	struct result was = read_all(data, len, len), now;

	if (copy == NULL)
		abort();
	memcpy(copy, data, len);
	crypto_generichash(
	    copy + len - SNAPSHOT_SUM, SNAPSHOT_SUM, data, len - SNAPSHOT_SUM, NULL, 0);
	now = read_all(copy, len, len);
	if (was.last == SNAPSHOT_MORE && was.at == len && was.parts % 5 == SNAPSHOT_GOT_END &&
	    memcmp(copy, data, len) != 0)
		abort(); /* another checksum was good enough */
	if (now.last == SNAPSHOT_MORE && now.at == len && was.at > now.at)
		abort();
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result whole = read_all(data, size, size), parts;

	if (sodium_init() < 0)
		abort();
	parts = read_all(data, size, size > 0 ? data[size - 1] % size : 0);
	if (parts.parts != whole.parts || parts.at != whole.at || parts.last != whole.last)
		abort();
	if (size >= SNAPSHOT_HEAD + SNAPSHOT_END)
		try_repaired(data, size);
	return 0;
}
