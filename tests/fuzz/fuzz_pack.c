/* SPDX-License-Identifier: ISC */
/*
 * Compressed records of a link, from the outside: the input is records, each with two bytes of
 * length before it, on one stream. No record gives more than it may, and what we compress comes
 * back.
 */
#include "config.h"

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "syncd/pack.h"

static void
try_records(const uint8_t *data, size_t size)
{
	struct unpacker *u = unpacker_new();
	size_t at = 0;
	int r = 0;

	if (u == NULL)
		abort();
	while (r == 0 && size - at >= 2) {
		size_t n = (size_t)data[at] | (size_t)data[at + 1] << 8, sum = 0;
		struct slice piece;

		at += 2;
		if (n > size - at)
			n = size - at;
		unpack_begin(u, data + at, n);
		while ((r = unpack(u, &piece)) == 1) {
			if (piece.len == 0 || piece.len > PACK_GROUP - sum)
				abort();
			sum += piece.len;
		}
		at += n;
	}
	unpacker_free(u);
}

/* The first byte says how long records are. */
static void
try_there_and_back(const uint8_t *data, size_t size)
{
	struct packer *p = packer_new();
	struct unpacker *u = unpacker_new();
	uint8_t record[4096];
	size_t in = 1, out = 1, used, max = 16 + (size_t)data[0] * 16;

	if (p == NULL || u == NULL)
		abort();
	while (in < size || pack_waits(p)) {
		long n = pack(p, data + in, size - in, &used, record, max);
		struct slice piece;
		int r;

		if (n <= 0 || (size_t)n > max)
			abort();
		in += used;
		unpack_begin(u, record, (size_t)n);
		while ((r = unpack(u, &piece)) == 1) {
			if (piece.len > size - out ||
			    memcmp(data + out, piece.data, piece.len) != 0)
				abort();
			out += piece.len;
		}
		if (r != 0)
			abort();
	}
	if (out != size)
		abort();
	packer_free(p);
	unpacker_free(u);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	try_records(data, size);
	try_there_and_back(data, size);
	return 0;
}

/* Two records of one stream. */
size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static const char text[] = "a frame, and a frame, and another frame, and a frame like it";
	struct packer *p = packer_new();
	size_t at = 0, used;

	for (int i = 0; p != NULL && i < 2 && size - at > 2 + sizeof(text); i++) {
		long n = pack(
		    p, (const uint8_t *)text, sizeof(text), &used, out + at + 2, size - at - 2);

		if (n <= 0)
			abort();
		out[at] = (uint8_t)n;
		out[at + 1] = (uint8_t)(n >> 8);
		at += 2 + (size_t)n;
	}
	packer_free(p);
	return at;
}
