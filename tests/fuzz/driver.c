/* SPDX-License-Identifier: ISC */
/*
 * Runs a fuzz target without a fuzzer: the files named on the command line (what a fuzzer once
 * found), or its corpus and a fixed number of mutations of its seed, the same in every run.
 * --seed FILE writes the seed. Built with --enable-fuzzer only that is left: the main program is
 * libFuzzer's or that of AFL++. tests/fuzz/run does all of it.
 */
#include "config.h"

#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef FUZZ_ROUNDS
#define FUZZ_ROUNDS 5000
#endif
enum { INPUT_MAX = 8192, ROUNDS = FUZZ_ROUNDS, PATH_SIZE = 1024 };

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* --seed FILE: writes it and ends. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static uint8_t seed[INPUT_MAX];
	size_t n;
	FILE *f;

	if (*argc != 3 || strcmp((*argv)[1], "--seed") != 0)
		return 0;
	n = fuzz_seed(seed, sizeof(seed));
	f = fopen((*argv)[2], "wb");
	if (f == NULL || fwrite(seed, 1, n, f) != n || fclose(f) != 0) {
		perror((*argv)[2]);
		exit(1);
	}
	exit(0);
}

#ifndef BH_FUZZER

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

/*
 * The inputs in tests/fuzz/corpus that are this program's, where make check says where the tree is.
 */
static int
run_corpus(const char *program)
{
	const char *top = getenv("srcdir"), *name = strrchr(program, '/');
	char folder[PATH_SIZE / 2], path[PATH_SIZE];
	struct dirent **list;
	int failed = 0, n;

	name = name != NULL ? name + 1 : program;
	snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s", top != NULL ? top : ".", name);
	n = scandir(
	    folder, &list, NULL, alphasort); /* at once: a target may close all descriptors */
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, list[i]->d_name);
		if (list[i]->d_name[0] != '.')
			failed |= run_file(path);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return failed;
}

int
main(int argc, char **argv)
{
	static uint8_t seed[INPUT_MAX], b[INPUT_MAX];
	size_t n;
	int failed = 0;

	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		failed |= run_file(argv[i]);
	if (argc > 1)
		return failed;
	if (run_corpus(argv[0]) != 0)
		return 1;
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

#endif
