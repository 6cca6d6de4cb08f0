/* SPDX-License-Identifier: ISC */
/*
 * The body of a change, as it comes from another server: what is read is inside it, and what is
 * well-formed is the same when it is written again.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "syncd/change.h"

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static const uint8_t bytes[200] = {'x'};
	struct change c;
	size_t n;

	change_init(&c);
	for (int kind = CHANGE_SET; kind < CHANGE_MAX; kind++) {
		struct change_op op = {.kind = (enum change_kind)kind,
		    .key = {bytes, 3},
		    .field = {bytes, 5},
		    .value = {bytes, sizeof(bytes)},
		    .offset = 300,
		    .expire_ms = 1700000000000};

		if (change_append(&c, &op) != 0)
			abort();
	}
	n = c.len < size ? c.len : size;
	memcpy(out, c.data, n);
	change_free(&c);
	return n;
}

static void
must_be_inside(struct slice s, struct slice body)
{
	if (s.len > 0 && (s.data < body.data || s.len > body.len - (size_t)(s.data - body.data)))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice body = {data, size};
	struct change again;
	struct change_op op;
	size_t pos = 0, n = 0;
	int r;

	change_init(&again);
	while ((r = change_next(body, &pos, &op)) == 1) {
		must_be_inside(op.key, body);
		must_be_inside(op.field, body);
		must_be_inside(op.value, body);
		if (op.expire_ms < 0 || op.offset > CHANGE_KEY_MAX ||
		    change_append(&again, &op) != 0)
			abort();
		n++;
	}
	if (change_check(body) != (r == 0 && n > 0))
		abort();
	if (r == 0 && (again.len != size || (size > 0 && memcmp(again.data, data, size) != 0)))
		abort();
	change_free(&again);
	return 0;
}
