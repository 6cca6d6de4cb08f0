/* SPDX-License-Identifier: ISC */
/*
 * A stream of records, cut anywhere: the first byte of the input says how many bytes come at a
 * time.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "lib/record.h"

enum { PLAIN = 168, BUFFER = RECORD_OVERHEAD + PLAIN };

static void
start(struct record *r)
{
	memset(r, 0, sizeof(*r));
	r->plain_max = PLAIN;
}

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static const uint8_t plain[PLAIN];
	struct record r;
	size_t n = 1;

	start(&r);
	out[0] = 100;
	for (size_t i = 0; i < 5; i++)
		n += record_seal(&r, plain, i * 42, out + n, size - n);
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t buffer[BUFFER], plain[PLAIN];
	struct record r;
	size_t have = 0, piece;

	if (size == 0)
		return 0;
	piece = data[0] > 0 ? data[0] : 1;
	data++;
	size--;
	start(&r);
	while (size > 0) {
		size_t used, len, n = piece < size ? piece : size;

		/* the promise of record.h: this buffer is never full and still incomplete */
		if (n > sizeof(buffer) - have)
			n = sizeof(buffer) - have;
		if (n == 0)
			abort();
		memcpy(buffer + have, data, n);
		have += n;
		data += n;
		size -= n;
		for (;;) {
			enum record_result result =
			    record_open(&r, buffer, have, &used, plain, &len);

			if (result == RECORD_BROKEN)
				return 0;
			if (used > have || len > sizeof(plain))
				abort();
			if (result == RECORD_MORE)
				break;
			memmove(buffer, buffer + used, have - used);
			have -= used;
		}
	}
	return 0;
}
