/* SPDX-License-Identifier: ISC */
/*
 * Compression of links: there and back in records of any size, and what must not come.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "syncd/pack.h"

enum { RECORD = 65519, LONG = 3 << 20 };

static uint8_t text[LONG], got[LONG];

/* Half of it repeats, half of it does not. */
static int
set_up(void **state)
{
	uint32_t x = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++) {
		x = x * 1664525 + 1013904223;
		text[i] = (i & 512) != 0 ? (uint8_t)(x >> 24) : (uint8_t)("a value "[i % 8]);
	}
	return 0;
}

/* What a record gives: its bytes, behind those that got has; -1 when it is refused. */
static long
take(struct unpacker *u, const uint8_t *record, size_t n, size_t at)
{
	size_t sum = 0;
	struct slice piece;
	int r;

	unpack_begin(u, record, n);
	while ((r = unpack(u, &piece)) == 1) {
		assert_true(piece.len > 0 && piece.len <= PACK_GROUP - sum);
		if (at + sum + piece.len <= sizeof(got))
			memcpy(got + at + sum, piece.data, piece.len);
		sum += piece.len;
	}
	return r == 0 ? (long)sum : -1;
}

static void
carry(size_t step, size_t size)
{
	struct packer *p = packer_new();
	struct unpacker *u = unpacker_new();
	uint8_t record[RECORD];
	size_t in = 0, out = 0, records = 0;

	assert_non_null(p);
	assert_non_null(u);
	while (in < sizeof(text) || pack_waits(p)) {
		size_t n = sizeof(text) - in < step ? sizeof(text) - in : step, used;
		long len = pack(p, text + in, n, &used, record, size), there;

		assert_true(len > 0 && (size_t)len <= size);
		in += used;
		records++;
		there = take(u, record, (size_t)len, out);
		assert_true(there >= 0);
		out += (size_t)there;
		if (!pack_waits(p)) /* flushed: the other end has all of it */
			assert_int_equal(out, in);
	}
	assert_int_equal(out, sizeof(text));
	assert_memory_equal(got, text, sizeof(text));
	assert_true(size < RECORD || records * RECORD < sizeof(text) * 3);
	packer_free(p);
	unpacker_free(u);
}

static void
test_there_and_back(void **state)
{
	(void)state;
	carry(sizeof(text), RECORD);
	carry(70000, RECORD);
	carry(5000, 512);
}

static void
test_nothing_to_send(void **state)
{
	struct packer *p = packer_new();
	uint8_t record[64];
	size_t used;

	(void)state;
	assert_int_equal(pack(p, text, 0, &used, record, sizeof(record)), 0);
	assert_false(pack_waits(p));
	assert_int_equal(used, 0);
	packer_free(p);
}

/* A stream that another program makes of n bytes, in one record. */
static size_t
foreign(
    uint8_t *out, size_t size, const uint8_t *in, size_t n, int window_log, ZSTD_EndDirective end)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_inBuffer from = {in, n, 0};
	ZSTD_outBuffer to = {out, size, 0};

	assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log)));
	assert_int_equal(ZSTD_compressStream2(c, &to, &from, end), 0);
	ZSTD_freeCCtx(c);
	return to.pos;
}

static void
test_bombs(void **state)
{
	static uint8_t zeros[PACK_GROUP + 1];
	static uint8_t record[RECORD];
	struct unpacker *u = unpacker_new();
	size_t n;

	(void)state;
	/* as much as may be in one, and one more */
	n = foreign(record, sizeof(record), zeros, PACK_GROUP, PACK_WINDOW_LOG, ZSTD_e_flush);
	assert_true(n < 1000);
	assert_int_equal(take(u, record, n, 0), PACK_GROUP);
	unpacker_free(u);
	u = unpacker_new();
	n = foreign(record, sizeof(record), zeros, PACK_GROUP + 1, PACK_WINDOW_LOG, ZSTD_e_flush);
	assert_int_equal(take(u, record, n, 0), -1);
	unpacker_free(u);
	/* a window that would have to be kept */
	u = unpacker_new();
	n = foreign(record, sizeof(record), text, 20000, PACK_WINDOW_LOG + 1, ZSTD_e_flush);
	assert_int_equal(take(u, record, n, 0), -1);
	unpacker_free(u);
}

static void
test_malformed(void **state)
{
	static uint8_t record[RECORD];
	static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7};
	struct unpacker *u = unpacker_new();
	size_t n;

	(void)state;
	assert_int_equal(take(u, (const uint8_t *)"no such thing", 13, 0), -1);
	unpacker_free(u);
	u = unpacker_new();
	assert_int_equal(take(u, skippable, sizeof(skippable), 0), -1);
	unpacker_free(u);
	/* a stream that ends: ours never do */
	u = unpacker_new();
	n = foreign(record, sizeof(record), text, 100, PACK_WINDOW_LOG, ZSTD_e_end);
	assert_int_equal(take(u, record, n, 0), -1);
	unpacker_free(u);
	/* half of one is no error: the rest may come */
	u = unpacker_new();
	n = foreign(record, sizeof(record), text, 5000, PACK_WINDOW_LOG, ZSTD_e_flush);
	assert_int_equal(take(u, record, n / 2, 0), 0);
	assert_int_equal(take(u, record + n / 2, n - n / 2, 0), 5000);
	assert_memory_equal(got, text, 5000);
	unpacker_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_there_and_back),
	    cmocka_unit_test(test_nothing_to_send),
	    cmocka_unit_test(test_bombs),
	    cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests_name("pack", tests, set_up, NULL);
}
