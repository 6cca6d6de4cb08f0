/* SPDX-License-Identifier: ISC */
/*
 * Does the simulator find bugs? Each bug of mutants.txt is switched on in a copy of the role
 * machine; scenarios and seeds run until one of them fails. A bug that lives through all of them
 * fails the test. usage: mutants [NAME]
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

enum { SEEDS = 100 };

extern int machine_mutant;
extern const char *const mutant_names[];

/* Where it was found, or NULL. */
static const char *
hunt(void)
{
	static char where[320];

	if (run_scenarios(2) != 0) {
		snprintf(where, sizeof(where), "a scenario: %.250s", w.failure);
		return where;
	}
	for (unsigned seed = 1; seed <= SEEDS; seed++)
		if (run_seed(seed) != 0) {
			snprintf(where, sizeof(where), "seed %u: %.250s", seed, w.failure);
			return where;
		}
	return NULL;
}

int
main(int argc, char **argv)
{
	unsigned alive = 0, n = 0;

	for (int i = 1; mutant_names[i] != NULL; i++) {
		const char *where;

		if (argc > 1 && strcmp(argv[1], mutant_names[i]) != 0)
			continue;
		machine_mutant = i;
		n++;
		where = hunt();
		if (where == NULL)
			alive++;
		printf("%-40s %s\n", mutant_names[i], where != NULL ? where : "NOT FOUND");
	}
	printf("%u bugs, %u not found\n", n, alive);
	return alive != 0 || n == 0;
}
