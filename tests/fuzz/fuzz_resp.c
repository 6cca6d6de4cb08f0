/* SPDX-License-Identifier: ISC */
/*
 * A stream of requests, cut anywhere: the first byte of the input says how many bytes come at a
 * time, and whole or in pieces the same requests come out of it. The second byte chooses a bound
 * for arguments. Each argument is tried as a number and as a pattern too, and told in a reply.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "syncd/glob.h"
#include "syncd/resp.h"

enum { KINDS = 4 };

/* What came out: requests, arguments, and a sum of all bytes. */
struct outcome {
	size_t requests, arguments;
	uint64_t sum;
	bool error;
};

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static const char seed[] =
	    "\x07\x40*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\n12.50\r\n"
	    "get a\r\n*0\r\n*1\r\n$4\r\nPING\r\necho \"x\\x41 \\n\" 'it\\'s'\r\n"
	    "*2\r\n$4\r\nKEYS\r\n$9\r\n[^a-c]*\\?\r\n";
	size_t n = sizeof(seed) - 1;

	if (n > size)
		n = size;
	memcpy(out, seed, n);
	return n;
}

static void
use(struct outcome *o, const struct resp_request *r, const uint8_t *data)
{
	struct slice first = {data, 0};
	struct resp_out out = {.version = 2 + (int)(r->n % 2), .max = 1 << 20};

	o->requests++;
	for (size_t i = 0; i < r->n; i++) {
		struct slice s = {data + r->args[i].at, r->args[i].len};
		char text[RESP_INT_TEXT];
		long double real;
		int64_t n;

		if (r->args[i].at > r->at || r->args[i].len > r->at - r->args[i].at)
			abort();
		o->arguments++;
		for (size_t b = 0; b < s.len; b++)
			o->sum = o->sum * 31 + s.data[b];
		if (resp_parse_int(s, &n) &&
		    (resp_format_int(text, n) != s.len || memcmp(text, s.data, s.len) != 0))
			abort(); /* there is one text of each number */
		(void)resp_parse_float(s, &real);
		if (i == 0)
			first = s;
		else
			(void)glob_match(s, first, o->sum % 2 == 0);
		resp_bulk(&out, s);
		resp_verbatim(&out, s);
	}
	resp_out_free(&out);
}

/* Feeds copies of the data, piece bytes at a time. */
static struct outcome
feed(const uint8_t *data, size_t size, size_t piece, size_t bulk_max)
{
	struct outcome o = {0};
	struct resp_request r;
	uint8_t *copy = malloc(size + 1);
	size_t at = 0, have = 0;

	if (copy == NULL)
		abort();
	resp_request_init(&r, bulk_max);
	while (!o.error) {
		enum resp_result got = resp_request_read(&r, copy + at, have - at);

		if (got == RESP_MORE) {
			size_t n = piece < size - have ? piece : size - have;

			if (r.need <= have - at)
				abort(); /* it has that much already */
			if (n == 0)
				break;
			memcpy(copy + have, data + have, n);
			have += n;
			continue;
		}
		o.error = got == RESP_ERROR;
		if (o.error)
			break;
		use(&o, &r, copy + at);
		if (r.at == 0 || r.at > have - at)
			abort();
		at += r.at;
		resp_request_next(&r);
	}
	resp_request_free(&r);
	free(copy);
	return o;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t bounds[KINDS] = {16, 1024, 1 << 20, RESP_BULK_MAX};
	struct outcome whole, pieces;
	size_t piece;

	if (size < 2)
		return 0;
	piece = data[0] > 0 ? data[0] : 1;
	whole = feed(data + 2, size - 2, size, bounds[data[1] % KINDS]);
	pieces = feed(data + 2, size - 2, piece, bounds[data[1] % KINDS]);
	if (whole.requests != pieces.requests || whole.arguments != pieces.arguments ||
	    whole.sum != pieces.sum || whole.error != pieces.error)
		abort();
	return 0;
}
