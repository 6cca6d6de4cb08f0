/* SPDX-License-Identifier: ISC */
/*
 * A fuzz target is a file with these two functions. With clang -fsanitize=fuzzer the first one is
 * all that libFuzzer needs; with driver.c it is a test of `make check` that runs the same inputs
 * each time.
 */
#ifndef BH_TESTS_FUZZ_H
#define BH_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Try one input; anything but a return or a failed assertion is a defect. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A valid input, for mutations to start from. Returns its size, at most size. */
size_t fuzz_seed(uint8_t *out, size_t size);

#endif
