/* SPDX-License-Identifier: ISC */
/*
 * The breach drill: what can a child do that was taken over? One process per attempt and process of
 * the table enters the real sandbox (sandbox_drop, sandbox_enter) with the descriptors of its row
 * and then tries it. The numbers are those of the list in doc/privsep.md.
 *
 *   drill            all attempts; exit 0 when every verdict is the expected one, 77 when it cannot run
 *   drill -t | -j    for bulkheadctl drill: the matrix of verdicts as a table, or as JSON; exit 0 when
 *                    everything was denied, else 1
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
    "full", "first filter alone", "no filter", "no filter, host's network", "user alone", "no sandbox"};

#define ANY_ERROR "E"
#include "drill_table.h"
#define N_ATTEMPTS (sizeof(attempts) / sizeof(attempts[0]))

/* One cell of the matrix that was tried. */
struct result {
	const struct attempt *attempt;
	enum process process;
	enum walls walls;
	int is_wrong;
	char verdict[64];
	const char *want;
};
enum { RESULTS_MAX = 2048 };

static struct result results[RESULTS_MAX];
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

/* What is to come of it; NULL when it is not tried there. */
static const char *
expectation(const struct drill_role *role, const struct attempt *a, enum walls walls)
{
	for (size_t i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++) {
		if (walls == W_FULL && exceptions[i].process == role->process &&
		    strcmp(exceptions[i].text, a->text) == 0)
			return exceptions[i].want;
	}
	return a->want[walls];
}

static void
judge(const struct drill_role *role, const struct attempt *a, enum walls walls)
{
	const char *want = expectation(role, a, walls);
	struct result *r = &results[tried];

	if (want == NULL)
		return;
	if (tried == RESULTS_MAX)
		drill_die("too many attempts");
	tried++;
	r->attempt = a;
	r->process = role->process;
	r->walls = walls;
	r->want = want;
	try_one(role, a, walls, r->verdict, sizeof(r->verdict));
	r->is_wrong = !is_expected(want, r->verdict);
	if (!r->is_wrong)
		return;
	wrong++;
	fprintf(stderr, "drill: %s: %d %s (%s): %s, expected %s\n", process_name(role->process),
	    a->number, a->text, wall_names[walls], r->verdict, want);
}

static void
judge_all(void)
{
	for (size_t i = 0; i < N_ATTEMPTS; i++) {
		for (size_t r = 0; r < drill_n_roles; r++)
			judge(&drill_roles[r], &attempts[i], W_FULL);
		/* the walls below do not depend on the row */
		for (enum walls w = W_STAGE0; w < W_MAX; w++)
			judge(&drill_roles[0], &attempts[i], w);
	}
}

/* ---- the matrix */

static const struct result *
find_result(const struct attempt *a, enum process process, enum walls walls)
{
	for (unsigned i = 0; i < tried; i++) {
		if (results[i].attempt == a && results[i].process == process && results[i].walls == walls)
			return &results[i];
	}
	return NULL;
}

/*
 * Cells in which something is to be denied, and how many were. The others are there to show that an
 * attempt is one, or that a layer does not reach so far.
 */
static void
count_cells(unsigned *cells, unsigned *denied)
{
	*cells = *denied = 0;
	for (unsigned i = 0; i < tried; i++) {
		const struct result *r = &results[i];

		if (r->walls == W_BARE || policy_has_word(r->want, "through"))
			continue;
		(*cells)++;
		*denied += strcmp(r->verdict, "through") != 0;
	}
}

/* For people; "" where it was not tried. */
static const char *
verdict_word(const struct result *r)
{
	if (r == NULL)
		return "";
	return strcmp(r->verdict, "K") == 0 ? "killed" : strcmp(r->verdict, "T") == 0 ? "trapped" : r->verdict;
}

static int
is_denied(const struct attempt *a, enum walls walls)
{
	const struct result *r = find_result(a, drill_roles[0].process, walls);

	return r != NULL && strcmp(r->verdict, "through") != 0;
}

/* The layers that refuse it each without the help of the filter of the row. */
static const char *
other_layers(const struct attempt *a, char *text, size_t size)
{
	const char *first = is_denied(a, W_STAGE0) ? "first filter, " : "";
	const char *files = (is_denied(a, W_LANDLOCK) || is_denied(a, W_NONET)) && !is_denied(a, W_DROP)
				? "Landlock or namespaces, " : "";
	const char *user = is_denied(a, W_DROP) ? "user and root folder, " : "";
	size_t n = (size_t)snprintf(text, size, "%s%s%s", first, files, user);

	if (n >= 2)
		text[n - 2] = '\0';
	return text;
}

static void
print_table(void)
{
	char layers[96];
	unsigned n, denied;

	printf("| %3s | %-39s |", "no.", "attempt");
	for (size_t r = 0; r < drill_n_roles; r++)
		printf(" %-7s |", process_name(drill_roles[r].process));
	printf(" %-39s | %-10s |\n|%s|%s|", "denied without the filter of its row by", "no sandbox", "----:",
	    "-----------------------------------------");
	for (size_t r = 0; r < drill_n_roles; r++)
		printf("---------|");
	printf("-----------------------------------------|------------|\n");
	for (size_t i = 0; i < N_ATTEMPTS; i++) {
		const struct attempt *a = &attempts[i];

		printf("| %3d | %-39s |", a->number, a->text);
		for (size_t r = 0; r < drill_n_roles; r++)
			printf(" %-7s |", verdict_word(find_result(a, drill_roles[r].process, W_FULL)));
		printf(" %-39s | %-10s |\n", other_layers(a, layers, sizeof(layers)),
		    verdict_word(find_result(a, drill_roles[0].process, W_BARE)));
	}
	count_cells(&n, &denied);
	printf("\n%u cells tried, %u denied, %u wrong; %u more show what the attempt does without a layer\n", n,
	    denied, wrong, tried - n);
}

/* No text of the table has a character that JSON would want escaped. */
static void
print_json(void)
{
	unsigned n, denied;

	count_cells(&n, &denied);
	printf("{\"tried\": %u, \"denied\": %u, \"wrong\": %u, \"cells\": [\n", n, denied, wrong);
	for (unsigned i = 0; i < tried; i++) {
		const struct result *r = &results[i];

		printf("  {\"number\": %d, \"attempt\": \"%s\", \"process\": \"%s\", \"walls\": \"%s\", "
		       "\"verdict\": \"%s\", \"expected\": \"%s\", \"wrong\": %s}%s\n",
		    r->attempt->number, r->attempt->text, process_name(r->process), wall_names[r->walls],
		    verdict_word(r), r->want, r->is_wrong ? "true" : "false", i + 1 < tried ? "," : "");
	}
	printf("]}\n");
}

int
main(int argc, char **argv)
{
	int option = argc > 1 ? getopt(argc, argv, "tj") : -1;

#ifdef BH_SANITIZERS
	fprintf(stderr, "drill: skipped, a sanitizer build's filter refuses nothing\n");
	return option == -1 ? SKIP : 1;
#endif
	if (!drill_prepare()) {
		fprintf(stderr, "drill: skipped, needs root and namespaces\n");
		return option == -1 ? SKIP : 1;
	}
	judge_all();
	drill_clean_up();
	if (option == 't')
		print_table();
	else if (option == 'j')
		print_json();
	else
		printf("drill: %zu attempts, %u tried, %u with an unexpected result\n", N_ATTEMPTS, tried,
		    wrong);
	return wrong > 0;
}
