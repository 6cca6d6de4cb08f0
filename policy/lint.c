/* SPDX-License-Identifier: ISC */
/*
 * Checks the tables of policy/ for what has cost other daemons a hole, and then itself: each table
 * with a planted defect must be rejected for that defect. Run by `make check`.
 */
#include "config.h"

#include <seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "policy.h"

enum { DEFECTS_SHOWN = 20, FD_HIGHEST = 1023 };

static unsigned defects;
static char first_defect[256];
static int quiet;

__attribute__((format(printf, 1, 2))) static void
defect(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (defects++ == 0)
		snprintf(first_defect, sizeof(first_defect), "%s", text);
	if (!quiet && defects <= DEFECTS_SHOWN)
		fprintf(stderr, "policy: %s\n", text);
}

static int
has_conditions(const struct allowed_call *c)
{
	return c->condition[0].op != CONDITION_NONE;
}

/* The arguments that a line looks at, a bit each. */
static unsigned
arguments_of(const struct allowed_call *c)
{
	unsigned mask = 0;

	for (size_t i = 0; i < POLICY_CONDITIONS; i++) {
		if (c->condition[i].op != CONDITION_NONE)
			mask |= 1U << c->condition[i].arg;
	}
	return mask;
}

static int
same_conditions(const struct allowed_call *a, const struct allowed_call *b)
{
	for (size_t i = 0; i < POLICY_CONDITIONS; i++) {
		const struct condition *x = &a->condition[i], *y = &b->condition[i];

		if (x->op != y->op || x->arg != y->arg || x->a != y->a || x->b != y->b)
			return 0;
	}
	return 1;
}

static const struct condition *
condition_on(const struct allowed_call *c, unsigned arg)
{
	for (size_t i = 0; i < POLICY_CONDITIONS; i++) {
		if (c->condition[i].op != CONDITION_NONE && c->condition[i].arg == arg)
			return &c->condition[i];
	}
	return NULL;
}

static int
is_word(const struct policy *p, const char *word, size_t len)
{
	for (size_t i = 0; i < p->n_words; i++) {
		if (strlen(p->words[i].word) == len && strncmp(p->words[i].word, word, len) == 0)
			return 1;
	}
	return 0;
}

/* Lines of one kind: sorted, names known, nothing twice. */
static void
check_calls_order(const struct allowed_call *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int order;

		if (!filter_name_known(c[i].name))
			defect("%s %s: no such system call", c[i].word, c[i].name);
		if (i == 0)
			continue;
		order = strcmp(c[i - 1].word, c[i].word);
		if (order == 0)
			order = strcmp(c[i - 1].name, c[i].name);
		if (order > 0)
			defect("%s %s: not sorted", c[i].word, c[i].name);
		if (order == 0 && same_conditions(&c[i - 1], &c[i]))
			defect("%s %s: the same line twice", c[i].word, c[i].name);
	}
}

static void
check_words(const struct policy *p)
{
	for (size_t i = 0; i < p->n_words; i++) {
		int used = 0;

		if (i > 0 && strcmp(p->words[i - 1].word, p->words[i].word) >= 0)
			defect("promise %s: not sorted", p->words[i].word);
		for (size_t r = 0; r < p->n_roles; r++)
			used |= policy_has_word(p->roles[r].promises, p->words[i].word);
		if (!used)
			defect("promise %s: no process has it", p->words[i].word);
	}
	for (size_t i = 0; i < p->n_promises; i++) {
		if (!is_word(p, p->promises[i].word, strlen(p->promises[i].word)))
			defect("%s %s: unknown promise", p->promises[i].word, p->promises[i].name);
	}
}

static void
check_roles(const struct policy *p)
{
	for (size_t r = 0; r < p->n_roles; r++) {
		const struct role_row *row = &p->roles[r];
		const char *at = row->promises;

		while (*at != '\0') {
			size_t len = strcspn(at, " ");

			if (!is_word(p, at, len))
				defect("%s: unknown promise %.*s", row->name, (int)len, at);
			at += len;
			at += strspn(at, " ");
		}
		if (row->nofile <= FD_FIRST_FREE || row->nofile > FD_HIGHEST + 1)
			defect("%s: nofile %u", row->name, row->nofile);
		if (strcmp(row->name, process_name(row->process)) != 0)
			defect("%s: not the name of its process", row->name);
		for (size_t k = 0; k < r; k++) {
			if (strcmp(p->roles[k].user, row->user) == 0)
				defect("%s: same user as %s", row->name, p->roles[k].name);
		}
	}
}

/*
 * Pointers are compared in full, everything else in its low half: a full comparison of an int would
 * refuse what the kernel takes, and a deny rule made of one is passed by setting bit 32.
 */
static int
is_pointer(const char *name, unsigned arg)
{
	return arg == 4 && (strcmp(name, "recvfrom") == 0 || strcmp(name, "sendto") == 0);
}

/* A range of descriptors lies within one of the groups of policy/roles.h. */
static int
descriptors_in_one_group(uint32_t first, uint32_t last)
{
	if (first > last)
		return 0;
	if (first >= FD_CONTROL && last < FD_RESOURCE)
		return 1;
	if (first >= FD_RESOURCE && last < FD_FIRST_FREE)
		return 1;
	return first >= FD_FIRST_FREE && last <= FD_HIGHEST;
}

static void
check_condition(const struct allowed_call *c, const struct condition *k)
{
	struct block blocks[POLICY_BLOCKS];

	if (k->arg > 5)
		defect("%s %s: argument %u", c->word, c->name, k->arg);
	if (k->op == CONDITION_NULL && !is_pointer(c->name, k->arg))
		defect("%s %s: unmasked condition on argument %u, which is no pointer", c->word,
		    c->name, k->arg);
	if (k->op != CONDITION_NULL && is_pointer(c->name, k->arg))
		defect("%s %s: argument %u is a pointer: only null or not can be told", c->word,
		    c->name, k->arg);
	if (k->op == CONDITION_BITS && (k->a & k->b) != 0)
		defect("%s %s: bits both required and optional", c->word, c->name);
	if (k->op == CONDITION_FDS && !descriptors_in_one_group(k->a, k->b))
		defect("%s %s: descriptors %u to %u out of range", c->word, c->name, k->a, k->b);
	if (policy_blocks(k, 1, blocks) == 0)
		defect("%s %s: condition cannot be expressed", c->word, c->name);
}

static void
check_conditions(const struct allowed_call *c)
{
	unsigned seen = 0;

	for (size_t i = 0; i < POLICY_CONDITIONS; i++) {
		const struct condition *k = &c->condition[i];

		if (k->op == CONDITION_NONE)
			continue;
		if (i > 0 && c->condition[i - 1].op == CONDITION_NONE)
			defect("%s %s: gap between conditions", c->word, c->name);
		if (seen & 1U << k->arg)
			defect("%s %s: two conditions on argument %u", c->word, c->name, k->arg);
		seen |= 1U << k->arg;
		check_condition(c, k);
	}
}

/* Does a promise open files by name? Then a map of one can change no more than write can. */
static int
opens_files(const struct policy *p, const char *word)
{
	for (size_t i = 0; i < p->n_promises; i++) {
		if (strcmp(p->promises[i].word, word) == 0 &&
		    strcmp(p->promises[i].name, "openat") == 0)
			return 1;
	}
	return 0;
}

/* Memory rules are by mask: "allow with this flag" would allow RWX as well. */
static void
check_memory(const struct policy *p, const struct allowed_call *c)
{
	static const char *const calls[] = {"mmap", "mmap2", "mprotect", "pkey_mprotect"};
	const uint32_t anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
	const struct condition *k;
	uint32_t shared_only = opens_files(p, c->word) ? MAP_SHARED : 0;
	size_t i = 0;

	while (i < 4 && strcmp(calls[i], c->name) != 0)
		i++;
	if (i == 4)
		return;
	k = condition_on(c, 2);
	if (k == NULL || k->op != CONDITION_BITS ||
	    ((k->a | k->b) & ~(uint32_t)(PROT_READ | PROT_WRITE)))
		defect("%s %s: protection not limited by mask to read and write", c->word, c->name);
	if (i > 1)
		return;
	/*
	 * a file may be looked at where it is, but not run through its map, and changed only by
	 * those that may write it anyway
	 */
	if (k != NULL && ((k->a | k->b) & ~(uint32_t)PROT_READ) == 0)
		shared_only = MAP_SHARED;
	k = condition_on(c, 3);
	if (k == NULL || k->op != CONDITION_BITS ||
	    !((k->a & anonymous) == anonymous ? !(k->b & MAP_SHARED)
					      : shared_only != 0 && (k->a | k->b) == shared_only))
		defect("%s %s: flags not limited by mask to anonymous memory", c->word, c->name);
}

/* dup3 must not replace standard descriptors or the control channel. */
static void
check_dup(const struct allowed_call *c)
{
	const struct condition *k = condition_on(c, 1);

	if (strncmp(c->name, "dup", 3) == 0 &&
	    (k == NULL || k->op != CONDITION_FDS || k->a <= FD_CONTROL || k->b >= FD_FIRST_FREE))
		defect("%s %s: may replace any descriptor", c->word, c->name);
}

/* 1 when no call matches both lines: they want different values of the same argument. */
static int
exclude_each_other(const struct allowed_call *a, const struct allowed_call *b)
{
	for (size_t i = 0; i < POLICY_CONDITIONS; i++) {
		const struct condition *x = &a->condition[i], *y;

		if (x->op != CONDITION_EQUALS)
			continue;
		y = condition_on(b, x->arg);
		if (y != NULL && y->op == CONDITION_EQUALS && x->a != y->a)
			return 1;
	}
	return 0;
}

/*
 * Lines of one call that hold together (one process' promises): they are an OR, so a general line
 * swallows a specific one, and lines on different arguments loosen each other.
 */
static void
check_together(const char *who, const struct allowed_call *a, const struct allowed_call *b)
{
	if (strcmp(a->name, b->name) != 0)
		return;
	if (has_conditions(a) != has_conditions(b))
		defect("%s: %s is allowed in general (%s) and with conditions (%s)", who, a->name,
		    has_conditions(a) ? b->word : a->word, has_conditions(a) ? a->word : b->word);
	else if (arguments_of(a) != arguments_of(b) && !exclude_each_other(a, b))
		defect("%s: %s has rules on different arguments (%s, %s), which are an OR", who,
		    a->name, a->word, b->word);
}

static void
check_combinations(const struct policy *p)
{
	for (size_t r = 0; r < p->n_roles; r++) {
		const char *promised = p->roles[r].promises;

		for (size_t i = 0; i < p->n_promises; i++) {
			if (!policy_has_word(promised, p->promises[i].word))
				continue;
			for (size_t k = 0; k < i; k++) {
				if (policy_has_word(promised, p->promises[k].word))
					check_together(
					    p->roles[r].name, &p->promises[k], &p->promises[i]);
			}
		}
	}
	for (size_t i = 0; i < p->n_supervisor; i++) {
		for (size_t k = 0; k < i; k++)
			check_together("supervisor", &p->supervisor[k], &p->supervisor[i]);
	}
}

/* What is promised must not be denied, nor lost in the supervisor's filter, which is inherited. */
static void
check_against_others(const struct policy *p, const struct allowed_call *c)
{
	const struct denied_call *d = policy_denied(p, c->name);
	int listed = 0, covered = 0;

	if (d != NULL && d->always)
		defect("%s %s: denied from the start on", c->word, c->name);
	if (d != NULL && (!has_conditions(c) || d->denial != DENIAL_KILL))
		defect("%s %s: promised and denied", c->word, c->name);
	for (size_t i = 0; i < p->n_supervisor; i++) {
		if (strcmp(p->supervisor[i].name, c->name) != 0)
			continue;
		listed = 1;
		covered |=
		    !has_conditions(&p->supervisor[i]) || same_conditions(&p->supervisor[i], c);
	}
	if (listed && !covered)
		defect("%s %s: the supervisor's filter, which is inherited, refuses it", c->word,
		    c->name);
}

/* The calls of the breach drill keep their line whatever else changes. */
static void
check_denied(const struct policy *p)
{
	static const char *const kill[] = {"bpf", "chroot", "clone", "connect", "execve",
	    "execveat", "fork", "kill", "mount", "prctl", "ptrace", "rt_sigaction", "seccomp",
	    "setuid", "socket", "unshare", "vfork"};
	static const char *const enosys[] = {
	    "clone3", "io_uring_enter", "io_uring_register", "io_uring_setup"};

	for (size_t i = 0; i < p->n_denied; i++) {
		if (!filter_name_known(p->denied[i].name))
			defect("denied %s: no such system call", p->denied[i].name);
		if (i > 0 && strcmp(p->denied[i - 1].name, p->denied[i].name) >= 0)
			defect("denied %s: not sorted", p->denied[i].name);
	}
	for (size_t i = 0; i < sizeof(kill) / sizeof(kill[0]); i++) {
		const struct denied_call *d = policy_denied(p, kill[i]);

		if (d == NULL || d->denial != DENIAL_KILL)
			defect("denied %s: must be KILL", kill[i]);
	}
	for (size_t i = 0; i < sizeof(enosys) / sizeof(enosys[0]); i++) {
		const struct denied_call *d = policy_denied(p, enosys[i]);

		if (d == NULL || d->denial != DENIAL_ENOSYS)
			defect("denied %s: must be NOSYS, so that libraries fall back", enosys[i]);
	}
}

/*
 * The calls of the sanitizers' runtime: in no other build, each with its reason, and none of those
 * that are refused from the start on.
 */
static void
check_sanitizer(const struct policy *p)
{
#ifndef BH_SANITIZERS
	if (p->n_sanitizer > 0 || sandbox_reports())
		defect("a filter with holes for sanitizers, or that only reports, in a build "
		       "without them");
#endif
	check_calls_order(p->sanitizer, p->n_sanitizer);
	for (size_t i = 0; i < p->n_sanitizer; i++) {
		const struct allowed_call *c = &p->sanitizer[i];
		const struct denied_call *d = policy_denied(p, c->name);

		check_conditions(c);
		if (c->reason[0] == '\0')
			defect("sanitizer %s: without a reason", c->name);
		if (d != NULL && d->always)
			defect("sanitizer %s: denied from the start on", c->name);
	}
}

static unsigned
check_policy(const struct policy *p)
{
	defects = 0;
	first_defect[0] = '\0';
	check_words(p);
	check_roles(p);
	check_denied(p);
	check_calls_order(p->promises, p->n_promises);
	check_calls_order(p->supervisor, p->n_supervisor);
	for (size_t i = 0; i < p->n_promises; i++) {
		const struct allowed_call *c = &p->promises[i];

		check_conditions(c);
		check_memory(p, c);
		check_dup(c);
		check_against_others(p, c);
	}
	for (size_t i = 0; i < p->n_supervisor; i++) {
		const struct denied_call *d = policy_denied(p, p->supervisor[i].name);

		check_conditions(&p->supervisor[i]);
		if (d != NULL && d->always)
			defect("supervisor %s: denied from the start on", d->name);
	}
	check_sanitizer(p);
	check_combinations(p);
	return defects;
}

/* ---- the planted defects */

#define C(o, n, x, y)                                                                              \
	{                                                                                          \
		.op = CONDITION_##o, .arg = (n), .a = (x), .b = (y)                                \
	}
#define PLANT(text, ...)                                                                           \
	{                                                                                          \
		text, {__VA_ARGS__}, NULL                                                          \
	}

/*
 * A line put in at its place (or, with word NULL, at the end) of promises.def, and the complaint.
 */
static const struct plant {
	const char *complaint;
	struct allowed_call line;
	const char *at_end;
} plants[] = {
    PLANT("no such system call", "stdio", "opennat", {C(NONE, 0, 0, 0)}, ""),
    PLANT("unknown promise", "sttdio", "uname", {C(NONE, 0, 0, 0)}, ""),
    PLANT("the same line twice", "stdio", "brk", {C(NONE, 0, 0, 0)}, ""),
    PLANT("unmasked condition", "stdio", "shutdown", {C(NULL, 1, 0, 0)}, ""),
    PLANT("is a pointer", "chan", "recvfrom", {C(EQUALS, 4, 4096, 0)}, ""),
    PLANT("argument 6", "stdio", "uname", {C(EQUALS, 6, 1, 0)}, ""),
    PLANT("two conditions on argument 1", "stdio", "uname",
	{C(EQUALS, 1, 1, 0), C(EQUALS, 1, 2, 0)}, ""),
    PLANT("gap between", "stdio", "uname", {C(NONE, 0, 0, 0), C(EQUALS, 1, 2, 0)}, ""),
    PLANT("protection not limited", "stdio", "mmap", {C(BITS, 2, 0, 7), C(BITS, 3, 0x22, 0)}, ""),
    PLANT("protection not limited", "stdio", "mprotect", {C(EQUALS, 2, 1, 0)}, ""),
    PLANT("protection not limited", "stdio", "mprotect", {C(BITS, 2, 4, 3)}, ""),
    PLANT("flags not limited", "stdio", "mmap", {C(BITS, 2, 0, 3), C(BITS, 3, 2, 0x20)}, ""),
    PLANT("flags not limited", "stdio", "mmap", {C(BITS, 2, 0, 3), C(BITS, 3, 0x22, 1)}, ""),
    PLANT("flags not limited", "stdio", "mmap", {C(BITS, 2, 0, 3), C(BITS, 3, 1, 0)}, ""),
    PLANT("flags not limited", "store", "mmap", {C(BITS, 2, 0, 3), C(BITS, 3, 0, 3)}, ""),
    PLANT("protection not limited", "store", "mmap", {C(BITS, 2, 0, 5), C(BITS, 3, 1, 0)}, ""),
    PLANT("allowed in general", "stream", "shutdown", {C(NONE, 0, 0, 0)}, ""),
    PLANT("which are an OR", "stream", "setsockopt", {C(EQUALS, 2, 1, 0)}, ""),
    PLANT("which are an OR", "dgram", "recvmsg", {C(EQUALS, 2, 0, 0)}, ""),
    PLANT("out of range", "chan", "recvmsg", {C(FDS, 0, 0, 5)}, ""),
    PLANT("out of range", "chan", "recvmsg", {C(FDS, 0, 3, 20)}, ""),
    PLANT("out of range", "chan", "recvmsg", {C(FDS, 0, 16, 4096)}, ""),
    PLANT("out of range", "chan", "recvmsg", {C(FDS, 0, 9, 4)}, ""),
    PLANT("may replace any", "chan", "dup3", {C(FDS, 1, 3, 5), C(BITS, 2, 0, 0)}, ""),
    PLANT("may replace any", "chan", "dup2", {C(NONE, 0, 0, 0)}, ""),
    PLANT("required and optional", "stdio", "uname", {C(BITS, 0, 3, 2)}, ""),
    PLANT("promised and denied", "stdio", "socket", {C(NONE, 0, 0, 0)}, ""),
    PLANT("promised and denied", "stdio", "clone3", {C(EQUALS, 0, 0, 0)}, ""),
    PLANT("denied from the start on", "stdio", "ptrace", {C(EQUALS, 0, 0, 0)}, ""),
    PLANT("supervisor's filter", "evloop", "ioctl", {C(EQUALS, 1, 0x5412, 0)}, ""),
    {"not sorted", {"accept", "accept", {C(NONE, 0, 0, 0)}, ""}, "end"},
};

/* The real promises with one line more. Returns 1 when the lint complains as it should. */
static int
try_plant(const struct plant *plant)
{
	static struct allowed_call calls[512];
	struct policy p = policy;
	size_t at = 0;

	while (plant->at_end == NULL && at < policy.n_promises &&
	       (strcmp(policy.promises[at].word, plant->line.word) < 0 ||
		   (strcmp(policy.promises[at].word, plant->line.word) == 0 &&
		       strcmp(policy.promises[at].name, plant->line.name) < 0)))
		at++;
	if (plant->at_end != NULL)
		at = policy.n_promises;
	memcpy(calls, policy.promises, at * sizeof(calls[0]));
	calls[at] = plant->line;
	memcpy(calls + at + 1, policy.promises + at, (policy.n_promises - at) * sizeof(calls[0]));
	p.promises = calls;
	p.n_promises = policy.n_promises + 1;
	if (check_policy(&p) > 0 && strstr(first_defect, plant->complaint) != NULL)
		return 1;
	fprintf(stderr, "policy: planted %s %s was not rejected with \"%s\" but \"%s\"\n",
	    plant->line.word, plant->line.name, plant->complaint, first_defect);
	return 0;
}

/* Lines of sanitizer.def that must be rejected; in a build without sanitizers every one is. */
static int
try_sanitizer(void)
{
	static const struct allowed_call lines[] = {
	    {.word = "sanitizer", .name = "readlink", .reason = ""},
	    {.word = "sanitizer", .name = "ptrace", .reason = "leaks"}};
	struct policy p = policy;
	int good = 1;

	for (size_t i = 0; i < 2; i++) {
		const char *complaint = i == 0 ? "without a reason" : "denied from the start on";

		p.sanitizer = &lines[i];
		p.n_sanitizer = 1;
#ifndef BH_SANITIZERS
		complaint = "in a build without them";
#endif
		good &= check_policy(&p) > 0 && strstr(first_defect, complaint) != NULL;
	}
	if (!good)
		fprintf(stderr, "policy: a planted line for sanitizers was not rejected: %s\n",
		    first_defect);
	return good;
}

/* Rows of roles.def and denied.def that must be rejected. */
static int
try_rows(void)
{
	struct role_row rows[8];
	struct denied_call denied[256];
	struct policy p = policy;
	int good = 1;

	memcpy(rows, policy.roles, policy.n_roles * sizeof(rows[0]));
	p.roles = rows;
	rows[0].promises = "stdio evloop chan accept stream splice alarm exec";
	good &= check_policy(&p) > 0 && strstr(first_defect, "unknown promise exec") != NULL;
	rows[0] = policy.roles[0];
	rows[0].nofile = FD_FIRST_FREE;
	good &= check_policy(&p) > 0 && strstr(first_defect, "nofile") != NULL;
	rows[0] = policy.roles[0];
	rows[1].user = rows[0].user;
	good &= check_policy(&p) > 0 && strstr(first_defect, "same user") != NULL;
	p.roles = policy.roles;
	for (size_t i = 0; i < policy.n_denied; i++) {
		size_t n = policy.n_denied - 1;

		memcpy(denied, policy.denied, i * sizeof(denied[0]));
		memcpy(denied + i, policy.denied + i + 1, (n - i) * sizeof(denied[0]));
		p.denied = denied;
		p.n_denied = n;
		if (strcmp(policy.denied[i].name, "execve") == 0)
			good &=
			    check_policy(&p) > 0 && strstr(first_defect, "must be KILL") != NULL;
	}
	if (!good)
		fprintf(stderr, "policy: a planted row was not rejected: %s\n", first_defect);
	return good;
}

int
main(void)
{
	size_t n = sizeof(plants) / sizeof(plants[0]), caught = 0;

	if (check_policy(&policy) > 0) {
		fprintf(stderr, "policy: %u defects\n", defects);
		return 1;
	}
	quiet = 1;
	for (size_t i = 0; i < n; i++)
		caught += (size_t)try_plant(&plants[i]);
	if (caught != n || !try_rows() || !try_sanitizer())
		return 1;
	printf("policy: %zu promised calls, %zu denied, no defect; %zu planted defects caught\n",
	    policy.n_promises, policy.n_denied, caught + 6);
	if (sandbox_reports())
		printf("policy: DEGRADED: the filters of this build only report, and have %zu "
		       "calls for sanitizers\n",
		    policy.n_sanitizer);
	return 0;
}
