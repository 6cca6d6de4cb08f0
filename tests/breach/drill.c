/* SPDX-License-Identifier: ISC */
/*
 * The breach drill: what can a child do that was taken over? One process per attempt and process of
 * the table enters the real sandbox (sandbox_drop, sandbox_enter) with the descriptors of its row
 * and then tries it. The numbers are those of the list in doc/privsep.md.
 *
 *   drill            all attempts; exit 0 when every verdict is the expected one, 77 when it cannot
 * run drill -t | -j    for bulkheadctl drill: the matrix of verdicts as a table, or as JSON; exit 0
 * when everything was denied, else 1
 *   drill -p NAME    as without, those of one process only
 *
 * Verdicts: K killed by the kernel; T trapped, named in the log, ended; an errno name; "through".
 * Then everything again with each layer taken away, and with each layer alone: a wall that only
 * stands because another one does is no wall. A verdict that is better than the table says is wrong
 * as well: then something else refused it, and the layer has not been tried. And each attempt is
 * made without any sandbox: one that fails there too would prove nothing. On an admin's machine it
 * may be the machine that refuses it (noexec on /tmp, sysctls, another security module). That is no
 * hole: with -t and -j it is told, and is not wrong.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drill.h"

enum {
	SKIP = 77,
	FLIGHTS = 8, /* processes at a time; fewer than attempts, so that none meets its own kind */
	RUNS_MAX = 16,
	ROLES_MAX = 8,
	ATTEMPTS_MAX = 256,
	PRINT_MAX = 40, /* lines about wrong verdicts */
};

#include "drill_table.h"

const size_t n_attempts = sizeof(attempts) / sizeof(attempts[0]);
_Static_assert(sizeof(attempts) / sizeof(attempts[0]) <= ATTEMPTS_MAX, "too many attempts");

static struct result results[ATTEMPTS_MAX][ROLES_MAX][RUNS_MAX];
static unsigned wrong;
static int bears_stricter; /* the machine is an admin's */
static const char *only;   /* process, NULL: all */

/* A process that makes its attempt. */
struct flight {
	struct result *result;
	struct drill_report report;
	pid_t pid;
};

const struct result *
drill_result(const struct attempt *a, size_t role, size_t run)
{
	const struct result *r = &results[a - attempts][role][run];

	return r->attempt != NULL ? r : NULL;
}

/* The words of the table that depend on the kernel, and on having a folder of one's own. */
static const char *
translate(const struct drill_role *role, const char *want)
{
	int has_folder = role->process == PROC_SYNCD;

	if (want == NULL)
		return NULL;
	if (strcmp(want, "OPEN") == 0)
		return has_folder ? NULL : "T";
	if (strcmp(want, "OWN") == 0)
		return has_folder ? NULL : "EACCES";
	if (strcmp(want, "MDWE") == 0)
		return drill_has_mdwe() ? "EACCES" : NULL;
	if (strcmp(want, "NET") == 0)
		return drill_landlock_abi() >= 4 ? "EACCES" : NULL;
	if (strcmp(want, "SCOPE") == 0)
		return drill_landlock_abi() >= 6 ? "EPERM" : NULL;
	return want;
}

const char *
drill_column(const struct drill_role *role, const struct attempt *a, unsigned column)
{
	for (size_t i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++) {
		if (exceptions[i].column == column && (exceptions[i].who & 1U << role->process) &&
		    strcmp(exceptions[i].text, a->text) == 0)
			return translate(role, exceptions[i].want);
	}
	/* only a filter refuses what a process does not have */
	if (column != L_FILTER && column != L_STAGE0 && a->who != 0 &&
	    !(a->who & 1U << role->process))
		return NULL;
	return translate(role, a->want[column]);
}

/* Not through, and not something that went wrong before it was tried ("exit 110: ..."). */
static int
is_refusal(const char *verdict)
{
	return strcmp(verdict, "K") == 0 || strcmp(verdict, "T") == 0 ||
	       strcmp(verdict, "no-core") == 0 ||
	       (verdict[0] == 'E' && strchr(verdict, ' ') == NULL);
}

struct drill_count
drill_count(size_t run)
{
	struct drill_count c = {0};

	for (size_t k = 0; k < n_attempts * drill_n_roles * n_runs; k++) {
		const struct result *r = drill_result(
		    &attempts[k / n_runs / drill_n_roles], k / n_runs % drill_n_roles, k % n_runs);

		if (r == NULL || (run < n_runs && k % n_runs != run))
			continue;
		c.wrong += r->is_wrong != 0;
		c.stricter += r->is_stricter != 0;
		c.tried += r->is_denial != 0;
		c.denied += r->is_denial && is_refusal(r->verdict);
		c.shown += !r->is_denial;
	}
	return c;
}

/* Does the verdict stand in the list of those expected (separated by blanks)? */
static int
is_expected(const char *list, const char *verdict)
{
	if (policy_has_word(list, verdict))
		return 1;
	return policy_has_word(list, "E") && verdict[0] == 'E' && verdict[1] != '\0';
}

static void
add_words(char *list, size_t size, const char *words)
{
	size_t n = strlen(list);

	if (words != NULL)
		snprintf(list + n, size - n, "%s%s", n > 0 ? " " : "", words);
}

/* A filter comes before everything else, and of two filters the stricter answer counts. */
static const char *
verdict_of_filters(const struct result *r)
{
	static const unsigned filters[] = {L_FILTER, L_STAGE0};
	const char *want = NULL;

	for (size_t i = 0; i < 2 && want == NULL; i++) {
		if (r->run->walls & WALL(filters[i]))
			want = drill_column(r->role, r->attempt, filters[i]);
	}
	return want;
}

/* The verdicts of the layers that refuse it in this run. "" when none does. */
static void
refusals(const struct result *r, char *list, size_t size)
{
	static const unsigned others[] = {L_SPACES, L_USER, L_LIMITS, L_LANDLOCK};
	unsigned all_others = ALL_WALLS & ~SECCOMP;

	list[0] = '\0';
	add_words(list, size, verdict_of_filters(r));
	if (list[0] == '\0' && (r->run->walls & all_others) == all_others)
		add_words(list, size, drill_column(r->role, r->attempt, C_TOGETHER));
	if (list[0] != '\0')
		return;
	for (size_t i = 0; i < 4; i++) {
		if (r->run->walls & WALL(others[i]))
			add_words(list, size, drill_column(r->role, r->attempt, others[i]));
	}
}

/* What is to come of it. */
static void
expect(struct result *r)
{
	size_t role = (size_t)(r->role - drill_roles);
	const char *bare = drill_column(r->role, r->attempt, C_BARE);

	if (r->run->walls == 0) {
		int has_it = r->attempt->who == 0 || (r->attempt->who & 1U << r->role->process);

		add_words(r->want, sizeof(r->want),
		    !has_it	   ? "E through"
		    : bare != NULL ? bare
				   : "through");
		return;
	}
	refusals(r, r->want, sizeof(r->want));
	r->is_denial = r->want[0] != '\0';
	if (!r->is_denial)
		add_words(r->want, sizeof(r->want),
		    results[r->attempt - attempts][role][RUN_BARE].verdict);
	/* behind all walls nothing may come of it, whatever refuses it */
	r->is_denial =
	    (r->is_denial || r->run->walls == ALL_WALLS) && !policy_has_word(r->want, "through");
}

/*
 * Refused with an error that is not that of the layers. Where a filter has to answer nothing can
 * have come before it: there it is the filter that is not what it should be.
 */
static int
is_stricter(const struct result *r)
{
	return is_refusal(r->verdict) && r->verdict[0] == 'E' && verdict_of_filters(r) == NULL;
}

static void
start(struct flight *f, struct result *r)
{
	f->result = r;
	drill_report_open(&f->report);
	f->pid = fork();
	if (f->pid < 0)
		drill_die("fork");
	if (f->pid == 0) {
		long done;

		signal(SIGXFSZ, SIG_IGN); /* where no file may grow write(2) says so */
		drill_descriptors(r->role, &f->report, !(r->run->walls & WALL(L_USER)));
		/* that a crash leaves no core must not hang on the limit alone */
		walls_enter(r->role, r->run->walls, r->attempt->make == try_crash);
		errno = 0;
		done = r->attempt->make();
		drill_report_result(done);
		_exit(0);
	}
	drill_report_started(&f->report);
}

static void
finish(struct flight *f)
{
	struct result *r = f->result;

	if (r == NULL)
		return;
	f->result = NULL;
	drill_report_read(&f->report, f->pid, r->verdict, sizeof(r->verdict));
	expect(r);
	if (is_expected(r->want, r->verdict))
		return;
	r->is_stricter = bears_stricter && is_stricter(r);
	r->is_wrong = !r->is_stricter;
	wrong += r->is_wrong != 0;
}

/* A crash is harmless only where it cannot leave a core file on the machine. */
static int
is_harmless(const struct attempt *a, const struct run *run)
{
	return a->make != try_crash || (run->walls & (WALL(L_USER) | WALL(L_LIMITS)));
}

static int
is_asked_for(const struct drill_role *role)
{
	return only == NULL || strcmp(process_name(role->process), only) == 0;
}

static void
judge_all(void)
{
	struct flight flights[FLIGHTS] = {0};
	unsigned n = 0;

	for (size_t k = 0; k < n_runs * drill_n_roles; k++) {
		for (size_t i = 0; i < n_attempts; i++) {
			struct result *r = &results[i][k % drill_n_roles][k / drill_n_roles];

			if (!is_harmless(&attempts[i], &runs[k / drill_n_roles]) ||
			    !is_asked_for(&drill_roles[k % drill_n_roles]))
				continue;
			r->attempt = &attempts[i];
			r->role = &drill_roles[k % drill_n_roles];
			r->run = &runs[k / drill_n_roles];
			finish(&flights[n % FLIGHTS]);
			start(&flights[n++ % FLIGHTS], r);
		}
	}
	for (unsigned i = 0; i < FLIGHTS; i++)
		finish(&flights[n++ % FLIGHTS]);
}

/* What was not as expected; what is open first. */
static void
complain(void)
{
	char got[96], want[96];
	unsigned said = 0;

	for (size_t k = 0; k < 2 * n_runs * drill_n_roles * n_attempts; k++) {
		const struct result *r = drill_result(&attempts[k % n_attempts],
		    k / n_attempts % drill_n_roles, k / n_attempts / drill_n_roles % n_runs);
		int later = k >= n_runs * drill_n_roles * n_attempts;

		if (r == NULL || !r->is_wrong || later == (r->is_denial && !is_refusal(r->verdict)))
			continue;
		if (++said <= PRINT_MAX)
			fprintf(stderr, "drill: %s: %d %s (%s): %s, expected %s\n",
			    process_name(r->role->process), r->attempt->number, r->attempt->text,
			    r->run->name, drill_words(r->verdict, got, sizeof(got)),
			    drill_words(r->want, want, sizeof(want)));
	}
	if (wrong > PRINT_MAX)
		fprintf(stderr, "drill: and %u more\n", wrong - PRINT_MAX);
}

int
main(int argc, char **argv)
{
	int option = argc > 1 ? getopt(argc, argv, "tjp:") : -1;
	unsigned cells;

	bears_stricter = option == 't' || option == 'j';
#ifdef BH_SANITIZERS
	fprintf(stderr,
	    "drill: skipped, the filter of a sanitizer build reports and the process goes on\n");
	return option == -1 || option == 'p' ? SKIP : 1;
#endif
	if (option == 'p')
		only = optarg;
	if (n_runs > RUNS_MAX || drill_n_roles > ROLES_MAX || walls_prepare() != 0 ||
	    !drill_prepare()) {
		fprintf(stderr, "drill: skipped, needs root and namespaces\n");
		return option == -1 || option == 'p' ? SKIP : 1;
	}
	if (drill_lacks() != NULL)
		fprintf(stderr,
		    "drill: this kernel has no %s. The daemon starts on it with --allow-degraded "
		    "only; "
		    "what is open then:\n",
		    drill_lacks());
	judge_all();
	drill_clean_up();
	complain();
	cells = drill_count(n_runs).tried + drill_count(n_runs).shown;
	if (option == 't')
		print_table();
	else if (option == 'j')
		print_json();
	else
		printf("drill: %u cells, %u with an unexpected result\n", cells, wrong);
	return wrong > 0 || cells == 0;
}
