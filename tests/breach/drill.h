/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: the layers of the sandbox, the runs in which some of them are missing, the table of
 * attempts, and what came of each.
 */
#ifndef BH_TESTS_BREACH_DRILL_H
#define BH_TESTS_BREACH_DRILL_H

#include <stddef.h>

#include "attempts.h"

/* The layers, in the order in which a child gets them. doc/privsep.md says what each refuses. */
enum layer { L_SPACES, L_STAGE0, L_USER, L_LIMITS, L_LANDLOCK, L_FILTER, L_MAX };
#define WALL(layer) (1U << (layer))
#define ALL_WALLS (WALL(L_MAX) - 1)
#define SECCOMP (WALL(L_FILTER) | WALL(L_STAGE0))
extern const char *const layer_names[L_MAX];

/* A run makes every attempt in every process' place behind the same walls. */
struct run {
	const char *name;
	unsigned walls; /* mask of WALL() */
};
/* No sandbox first: what an attempt comes to there is what a layer leaves alone. */
enum { RUN_BARE, RUN_FULL };
extern const struct run runs[];
extern const size_t n_runs;

/* Columns of the table: a verdict per layer that refuses the attempt, alone. */
enum {
	C_BARE = L_MAX, /* without any sandbox; NULL: it gets through */
	C_TOGETHER, /* all layers but the filters together, where that is more than each alone */
	C_MAX
};

struct attempt {
	int number; /* of the list in doc/privsep.md */
	const char *text;
	long (*make)(void);
	unsigned who; /* mask of enum process: those that have what it aims at; 0: all */
	const char *want[C_MAX];
};
extern const struct attempt attempts[];
extern const size_t n_attempts;

/* One cell: an attempt in the place of one process in one run. */
struct result {
	const struct attempt *attempt;
	const struct drill_role *role;
	const struct run *run;
	int is_denial; /* something is to be denied here; else it shows how far the layers reach */
	int is_wrong;
	/* refused by the machine itself, so that a layer could not show its work */
	int is_stricter;
	char verdict[96];
	char want[48]; /* the verdicts that are right, by blanks */
};

/* The cell, NULL when there is none. */
const struct result *drill_result(const struct attempt *a, size_t role, size_t run);
/* What the table says of one layer (or C_BARE, C_TOGETHER) for one process; NULL: nothing. */
const char *drill_column(const struct drill_role *role, const struct attempt *a, unsigned column);
/*
 * Cells of a run (or of all: n_runs) in which something is to be denied, how many were, wrong ones,
 * and those in which the machine was stricter than the table.
 */
struct drill_count {
	unsigned tried, denied, shown, wrong, stricter;
};
struct drill_count drill_count(size_t run);

/* walls.c: before all attempts. Returns 0 or -1 with errno. */
int walls_prepare(void);
/*
 * walls.c: in the process of the attempt; dump_core: a crash may leave a core as far as the limit
 * goes.
 */
void walls_enter(const struct drill_role *role, unsigned walls, int dump_core);

/* print.c: verdicts as words for people into buf, which is returned. */
const char *drill_words(const char *verdicts, char *buf, size_t size);
void print_table(void);
void print_json(void);

#endif
