/* SPDX-License-Identifier: ISC */
/*
 * Runs a fuzz target without libFuzzer: the files named on the command line (what a fuzzer once
 * found), or a fixed number of mutations of its seed, the same in every run.
 *
 *	clang -fsanitize=fuzzer,address,undefined -I. tests/fuzz/fuzz_record.c lib/record.c
 * lib/noise.c -lsodium
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_MAX = 4096, ROUNDS = 5000 };

static uint64_t state = 88172645463325252U;

/* xorshift64: the same numbers everywhere. */
static uint32_t
number(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

/* A few changes to an input: bits, bytes, lengths, pieces moved. Returns its new size. */
static size_t
mutate(uint8_t *b, size_t n)
{
	for (uint32_t i = number(4) + 1; i > 0; i--) {
		switch (number(5)) {
		case 0:
			if (n > 0)
				b[number((uint32_t)n)] ^= (uint8_t)(1U << number(8));
			break;
		case 1:
			if (n > 0)
				b[number((uint32_t)n)] = (uint8_t)number(256);
			break;
		case 2:
			n = number((uint32_t)n + 1);
			break;
		case 3:
			for (uint32_t more = number(64); more > 0 && n < INPUT_MAX; more--)
				b[n++] = (uint8_t)number(256);
			break;
		default:
			if (n > 8)
				memmove(b + number((uint32_t)n / 2), b + number((uint32_t)n / 2),
				    number((uint32_t)n / 2));
			break;
		}
	}
	return n;
}

static int
run_file(const char *path)
{
	static uint8_t b[INPUT_MAX];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (f == NULL) {
		perror(path);
		return 1;
	}
	n = fread(b, 1, sizeof(b), f);
	fclose(f);
	LLVMFuzzerTestOneInput(b, n);
	return 0;
}

int
main(int argc, char **argv)
{
	static uint8_t seed[INPUT_MAX], b[INPUT_MAX];
	size_t n;
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= run_file(argv[i]);
	if (argc > 1)
		return failed;
	n = fuzz_seed(seed, sizeof(seed));
	LLVMFuzzerTestOneInput(seed, n);
	for (int i = 0; i < ROUNDS; i++) {
		uint8_t *exact;
		size_t len;

		memcpy(b, seed, n);
		len = mutate(b, n);
		exact = malloc(
		    len > 0 ? len : 1); /* its own block, so that ASan sees one byte too far */
		if (exact == NULL)
			return 1;
		memcpy(exact, b, len);
		LLVMFuzzerTestOneInput(exact, len);
		free(exact);
	}
	return 0;
}
