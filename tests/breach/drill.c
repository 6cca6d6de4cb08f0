/* SPDX-License-Identifier: ISC */
/*
 * The breach drill: what can a child do that was taken over? One process per attempt and process of
 * the table enters the real sandbox (sandbox_drop, sandbox_enter) with the descriptors of its row
 * and then tries it. The numbers are those of the list in doc/privsep.md.
 *
 *   drill            all attempts; exit 0 when every verdict is the expected one, 77 when it cannot run
 *   drill -t         the same, and the table of verdicts as it stands in doc/privsep.md
 *
 * Verdicts: K killed by the kernel; T trapped, named in the log, ended; an errno name; "through".
 * Each layer is also tried without the others: a wall that only stands because another one does is
 * no wall. And each attempt is made without any sandbox where that is harmless: one that fails there
 * too would prove nothing.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempts.h"

enum { SKIP = 77 };

/* Which walls stand while an attempt is made. */
enum walls {
	W_FULL,	    /* everything */
	W_STAGE0,   /* only the filter from before the exec: root, host's namespaces */
	W_LANDLOCK, /* no filter at all: Landlock, user, root folder, namespaces */
	W_NONET,    /* the same in the host's network namespace */
	W_DROP,	    /* user, root folder and capabilities only */
	W_BARE,	    /* nothing: is the attempt one? */
	W_MAX
};
static const char *const wall_names[W_MAX] = {
    "full", "stage 0", "no filter", "no filter, no netns", "user only", "bare"};

#define ANY_ERROR "E"
#include "drill_table.h"

static unsigned wrong, tried;

/* Does the verdict stand in the list of those expected (separated by blanks)? */
static int
is_expected(const char *list, const char *verdict)
{
	if (policy_has_word(list, verdict))
		return 1;
	if (policy_has_word(list, "MDWE"))
		return strcmp(verdict, drill_has_mdwe() ? "EACCES" : "through") == 0;
	return policy_has_word(list, ANY_ERROR) && verdict[0] == 'E' && verdict[1] != '\0';
}

static void
enter_walls(const struct drill_role *role, enum walls walls)
{
	struct sandbox_args args;

	if (walls == W_BARE)
		return;
	if (walls == W_STAGE0) {
		if (sandbox_stage0_apply() != 0)
			drill_die("stage 0");
		return;
	}
	drill_parse_args(role->process, &args);
	if (walls == W_FULL || walls == W_LANDLOCK)
		drill_namespaces();
	if (sandbox_limit_child() != 0)
		drill_die("bounding set");
	if (walls == W_FULL && sandbox_stage0_apply() != 0)
		drill_die("stage 0");
	sandbox_drop(&args);
	if (walls == W_FULL)
		sandbox_enter(&args);
	else if (walls != W_DROP && files_enter() < 0)
		drill_die("Landlock");
}

/* One attempt in a process of its own. The verdict is written to out. */
static void
try_one(const struct drill_role *role, const struct attempt *a, enum walls walls, char *out,
    size_t size)
{
	struct drill_report report;
	pid_t pid;

	drill_report_open(&report);
	pid = fork();
	if (pid == 0) {
		long r;

		drill_descriptors(role, &report);
		/* that a crash leaves no core must not hang on the limit */
		drill_core_limit(a->make == try_crash ? RLIM_INFINITY : 0);
		enter_walls(role, walls);
		errno = 0;
		r = a->make();
		drill_report_result(r);
		_exit(0);
	}
	drill_report_read(&report, pid, out, size);
}

static void
judge(const struct drill_role *role, const struct attempt *a, enum walls walls)
{
	const char *want = a->want[walls];
	char verdict[64];

	for (size_t i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++) {
		if (walls == W_FULL && exceptions[i].process == role->process &&
		    strcmp(exceptions[i].text, a->text) == 0)
			want = exceptions[i].want;
	}
	if (want == NULL)
		return;
	try_one(role, a, walls, verdict, sizeof(verdict));
	tried++;
	if (is_expected(want, verdict))
		return;
	wrong++;
	fprintf(stderr, "drill: %s: %d %s (%s): %s, expected %s\n", process_name(role->process),
	    a->number, a->text, wall_names[walls], verdict, want);
}

/* The table for doc/privsep.md: every process under full walls. */
static void
print_table(void)
{
	printf("| no. | attempt |");
	for (size_t r = 0; r < drill_n_roles; r++)
		printf(" %s |", process_name(drill_roles[r].process));
	printf(" without the filter |\n|---|---|");
	for (size_t r = 0; r <= drill_n_roles; r++)
		printf("---|");
	printf("\n");
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		const struct attempt *a = &attempts[i];
		char verdict[64];

		if (a->want[W_FULL] == NULL)
			continue;
		printf("| %d | %s |", a->number, a->text);
		for (size_t r = 0; r < drill_n_roles; r++) {
			try_one(&drill_roles[r], a, W_FULL, verdict, sizeof(verdict));
			printf(" %s |", verdict);
		}
		if (a->want[W_LANDLOCK] != NULL) {
			try_one(&drill_roles[0], a, W_LANDLOCK, verdict, sizeof(verdict));
			printf(" %s |\n", verdict);
		} else {
			printf(" |\n");
		}
	}
}

int
main(int argc, char **argv)
{
	size_t n = sizeof(attempts) / sizeof(attempts[0]);

#ifdef BH_SANITIZERS
	printf("drill: skipped, a sanitizer build's filter refuses nothing\n");
	return SKIP;
#endif
	if (!drill_prepare()) {
		printf("drill: skipped, needs root and namespaces\n");
		return SKIP;
	}
	if (argc == 2 && strcmp(argv[1], "-t") == 0) {
		print_table();
		drill_clean_up();
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t r = 0; r < drill_n_roles; r++)
			judge(&drill_roles[r], &attempts[i], W_FULL);
		/* the walls below do not depend on the row */
		for (enum walls w = W_STAGE0; w < W_MAX; w++)
			judge(&drill_roles[0], &attempts[i], w);
	}
	drill_clean_up();
	printf("drill: %zu attempts, %u tried, %u with an unexpected result\n", n, tried, wrong);
	return wrong > 0;
}
