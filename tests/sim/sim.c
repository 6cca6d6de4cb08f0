/* SPDX-License-Identifier: ISC */
/*
 * The simulator: sim [--scenarios] [--seed N] [--seeds FIRST COUNT] [--trace]
 * [--mode references|manual|voters] [--rules]. Without options, as in "make check": all scenarios
 * and some hundred seeds. A failed seed is printed with the command that tells its story.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
print_rules(const uint32_t *reached)
{
	for (unsigned i = 1; i < RULE_MAX; i++)
		if (strcmp(rule_name(i), "unknown") != 0)
			printf("%9u %s\n", reached[i], rule_name(i));
}

static int
parse_mode(const char *name)
{
	for (int i = 0; i < ARB_MODE_MAX; i++)
		if (strcmp(arbitration_name((unsigned)i), name) == 0)
			return i;
	return -1;
}

int
main(int argc, char **argv)
{
	static uint32_t reached[RULE_MAX];
	uint64_t first = 1, count = 300, failed = 0;
	int rules = 0, scenarios = argc == 1;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			first = strtoull(argv[++i], NULL, 10);
			count = 1;
		} else if (strcmp(argv[i], "--seeds") == 0 && i + 2 < argc) {
			first = strtoull(argv[++i], NULL, 10);
			count = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--mode") == 0 && i + 1 < argc) {
			only_mode = parse_mode(argv[++i]);
		} else if (strcmp(argv[i], "--trace") == 0) {
			trace = 1;
		} else if (strcmp(argv[i], "--rules") == 0) {
			rules = 1;
		} else if (strcmp(argv[i], "--scenarios") == 0) {
			scenarios = 1;
			count = 0;
		} else {
			fprintf(stderr,
			    "usage: sim [--scenarios] [--seed N | --seeds FIRST COUNT] [--trace] "
			    "[--mode references|manual|voters] [--rules]\n");
			return 2;
		}
	}
	if (scenarios)
		failed += run_scenarios(argc == 1);
	for (uint64_t seed = first; seed < first + count; seed++) {
		if (run_seed(seed) != 0) {
			failed++;
			printf("seed %llu: at %.3f s: %s\n", (unsigned long long)seed,
			    (double)w.now_us / 1e6, w.failure);
			printf("  tests/sim/sim --seed %llu --trace\n", (unsigned long long)seed);
		}
		for (unsigned i = 0; i < RULE_MAX; i++)
			reached[i] += w.reached[i];
		if (failed >= 10)
			break;
	}
	if (rules)
		print_rules(reached);
	if (count > 0 || failed > 0)
		printf("%llu seeds, %llu failures\n", (unsigned long long)count,
		    (unsigned long long)failed);
	return failed != 0;
}
