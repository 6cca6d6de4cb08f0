/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: the matrix, for people and as JSON.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "drill.h"

const char *
drill_words(const char *verdicts, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (const char *p = verdicts; *p != '\0' && n < size; p++) {
		int alone = (p == verdicts || p[-1] == ' ') && (p[1] == ' ' || p[1] == '\0');
		const char *word = !alone      ? NULL
				   : *p == 'K' ? "killed"
				   : *p == 'T' ? "trapped"
				   : *p == 'E' ? "any error"
					       : NULL;

		n += (size_t)snprintf(buf + n, size - n, "%.*s",
		    word != NULL ? (int)strlen(word) : 1, word != NULL ? word : p);
	}
	return buf;
}

/* For people; "" where it was not tried. */
static const char *
verdict_word(const struct result *r)
{
	if (r == NULL)
		return "";
	return strcmp(r->verdict, "K") == 0   ? "killed"
	       : strcmp(r->verdict, "T") == 0 ? "trapped"
					      : r->verdict;
}

/* Does this layer, alone, refuse it to every process that has what it aims at? */
static int
denied_alone(const struct attempt *a, size_t run)
{
	unsigned denied = 0;

	for (size_t i = 0; i < drill_n_roles; i++) {
		const struct result *r = drill_result(a, i, run);

		if (r == NULL || (a->who != 0 && !(a->who & 1U << drill_roles[i].process)))
			continue;
		if (!r->is_denial || strcmp(r->verdict, "through") == 0)
			return 0;
		denied++;
	}
	return denied > 0;
}

/* The layers that refuse it, each without the help of another. */
static const char *
layers_alone(const struct attempt *a, char *text, size_t size)
{
	static const char *const shorts[L_MAX] = {
	    "namespaces", "first filter", "user", "limits", "Landlock", "filter"};
	size_t n = 0;

	text[0] = '\0';
	for (size_t run = 0; run < n_runs; run++) {
		for (unsigned l = 0; l < L_MAX; l++) {
			if (runs[run].walls == WALL(l) && denied_alone(a, run) && n < size)
				n += (size_t)snprintf(
				    text + n, size - n, "%s%s", n > 0 ? ", " : "", shorts[l]);
		}
	}
	return text;
}

/* What it comes to without a sandbox, for a process that has what it aims at. */
static const char *
bare_word(const struct attempt *a)
{
	for (size_t i = 0; i < drill_n_roles; i++) {
		if (a->who == 0 || (a->who & 1U << drill_roles[i].process))
			return verdict_word(drill_result(a, i, RUN_BARE));
	}
	return "";
}

static void
print_attempts(void)
{
	char layers[128];

	printf("| %3s | %-39s |", "no.", "attempt");
	for (size_t r = 0; r < drill_n_roles; r++)
		printf(" %-7s |", process_name(drill_roles[r].process));
	printf(" %-57s | %-10s |\n|----:|-----------------------------------------|",
	    "denied by each of these alone", "no sandbox");
	for (size_t r = 0; r < drill_n_roles; r++)
		printf("---------|");
	printf("-----------------------------------------------------------|------------|\n");
	for (size_t i = 0; i < n_attempts; i++) {
		const struct attempt *a = &attempts[i];

		printf("| %3d | %-39s |", a->number, a->text);
		for (size_t r = 0; r < drill_n_roles; r++)
			printf(" %-7s |", verdict_word(drill_result(a, r, RUN_FULL)));
		printf(" %-57s | %-10s |\n", layers_alone(a, layers, sizeof(layers)), bare_word(a));
	}
}

static void
print_runs(void)
{
	printf(
	    "\n| %-33s | tried | denied | left to the other layers |\n"
	    "|-----------------------------------|------:|-------:|-------------------------:|\n",
	    "run");
	for (size_t run = 0; run < n_runs; run++) {
		struct drill_count c = drill_count(run);

		printf(
		    "| %-33s | %5u | %6u | %24u |\n", runs[run].name, c.tried, c.denied, c.shown);
	}
	printf("\n");
}

/* What a process may do because it is its work: through although everything stands. */
static void
print_promised(void)
{
	for (size_t k = 0; k < n_attempts * drill_n_roles; k++) {
		const struct result *r =
		    drill_result(&attempts[k / drill_n_roles], k % drill_n_roles, RUN_FULL);

		if (r != NULL && !r->is_denial)
			printf("%s: %s: %s, as its row promises\n", process_name(r->role->process),
			    r->attempt->text, verdict_word(r));
	}
}

/* What the machine refuses by itself, each once with the error of the first cell. */
static void
print_stricter(void)
{
	size_t said = 0;

	for (size_t k = 0; k < n_attempts * drill_n_roles * n_runs; k++) {
		const struct attempt *a = &attempts[k / n_runs / drill_n_roles];
		const struct result *r = drill_result(a, k / n_runs % drill_n_roles, k % n_runs);

		if (r == NULL || !r->is_stricter || said == (size_t)(a - attempts) + 1)
			continue;
		said = (size_t)(a - attempts) + 1;
		printf("%d %s: refused by this machine, too (%s: %s), so that not every layer "
		       "could be "
		       "tried\n",
		    a->number, a->text, r->run->name, r->verdict);
	}
}

void
print_table(void)
{
	struct drill_count c = drill_count(n_runs);

	print_attempts();
	print_runs();
	print_promised();
	print_stricter();
	printf("%u cells tried, %u denied, %u wrong; %u more show what the attempt does without "
	       "a layer\n",
	    c.tried, c.denied, c.wrong, c.shown);
}

/* No text of the table has a character that JSON would want escaped. */
void
print_json(void)
{
	struct drill_count c = drill_count(n_runs);
	const char *separator = "";
	char want[96];

	printf("{\"tried\": %u, \"denied\": %u, \"wrong\": %u, \"stricter\": %u, \"cells\": [\n",
	    c.tried, c.denied, c.wrong, c.stricter);
	for (size_t i = 0; i < n_attempts; i++) {
		for (size_t k = 0; k < drill_n_roles * n_runs; k++) {
			const struct result *r = drill_result(&attempts[i], k / n_runs, k % n_runs);

			if (r == NULL)
				continue;
			printf("%s  {\"number\": %d, \"attempt\": \"%s\", \"process\": \"%s\", "
			       "\"run\": \"%s\", "
			       "\"verdict\": \"%s\", \"expected\": \"%s\", \"wrong\": %s, "
			       "\"stricter\": %s}",
			    separator, r->attempt->number, r->attempt->text,
			    process_name(r->role->process), r->run->name, verdict_word(r),
			    drill_words(r->want, want, sizeof(want)),
			    r->is_wrong ? "true" : "false", r->is_stricter ? "true" : "false");
			separator = ",\n";
		}
	}
	printf("\n]}\n");
}
