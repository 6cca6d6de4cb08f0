/* SPDX-License-Identifier: ISC */
/*
 * Prints doc/policy.md from the tables: the build's own program, installed nowhere.
 *   policy_doc            the page
 *   policy_doc -p NAME    libseccomp's readable form of one filter: a process of roles.def,
 *                         "supervisor" or "stage0"; to be compared between two versions
 */
#include "config.h"

#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "policy.h"

static void
print_condition(const struct condition *c)
{
	switch ((enum condition_op)c->op) {
	case CONDITION_NONE:
		break;
	case CONDITION_EQUALS:
		printf("argument %u is %u", c->arg, c->a);
		break;
	case CONDITION_BITS:
		printf("argument %u ", c->arg);
		if (c->a != 0)
			printf("has 0x%x, ", c->a);
		printf("has no bit outside 0x%x", c->a | c->b);
		break;
	case CONDITION_FDS:
		printf("descriptor %u", c->a);
		if (c->b != c->a)
			printf(" to %u", c->b);
		break;
	case CONDITION_NULL:
		printf("argument %u is null", c->arg);
		break;
	case CONDITION_SELF:
		printf("own process id");
		break;
	}
}

static void
print_call(const struct allowed_call *c)
{
	printf("| `%s` | ", c->name);
	for (size_t i = 0; i < POLICY_CONDITIONS && c->condition[i].op != CONDITION_NONE; i++) {
		if (i > 0)
			printf("; ");
		print_condition(&c->condition[i]);
	}
	printf(" | %s |\n", c->reason);
}

static void
print_roles(void)
{
	printf("## Processes\n\n| process | verb | user | promises | descriptors besides 0 to 11 | "
	       "files | memory MiB | locked KiB | real time "
	       "|\n|---|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < policy.n_roles; i++) {
		const struct role_row *r = &policy.roles[i];

		printf("| %s | %s | `%s` | %s | %s | %u | %u | %u | %s |\n", r->name, r->what,
		    r->user, r->promises, r->fds, r->nofile, r->as_mib, r->memlock_kib,
		    r->realtime ? "yes" : "no");
	}
}

static void
print_promises(void)
{
	printf("\n## Promises\n\nSeveral lines for one call: any of them. A condition looks at the "
	       "low 32 bits of the register; null means all 64.\n");
	for (size_t w = 0; w < policy.n_words; w++) {
		printf("\n### %s: %s\n\n| call | only when | why |\n|---|---|---|\n",
		    policy.words[w].word, policy.words[w].text);
		for (size_t i = 0; i < policy.n_promises; i++) {
			if (strcmp(policy.promises[i].word, policy.words[w].word) == 0)
				print_call(&policy.promises[i]);
		}
	}
}

static void
print_denied(void)
{
	printf("\n## Answers of their own\n\n| call | answer | from | why |\n|---|---|---|---|\n");
	for (size_t i = 0; i < policy.n_denied; i++) {
		const struct denied_call *d = &policy.denied[i];

		printf("| `%s` | %s | %s | %s |\n", d->name,
		    d->denial == DENIAL_KILL ? "process is killed" : "ENOSYS",
		    d->always ? "before exec; supervisor too" : "entering the sandbox", d->reason);
	}
	printf(
	    "\nEvery other call that has a name here is trapped: it is not executed, its name is "
	    "logged, the process ends. Numbers up to %d without a name are newer than this build: "
	    "ENOSYS. Anything else, and every call of another architecture (x32, int 0x80), kills "
	    "the process.\n",
	    POLICY_NUMBER_MAX);
}

static void
print_page(void)
{
	printf("<!-- made by policy/policy_doc from the tables of policy/; do not edit -->\n"
	       "# The policy of every process\n\n"
	       "How it is entered and why: [privsep.md](privsep.md).\n\n");
	print_roles();
	print_promises();
	print_denied();
	printf(
	    "\n## Supervisor\n\nIts own calls, and those of a child until the filter of its row; "
	    "every promise is added without conditions.\n\n| call | only when | why "
	    "|\n|---|---|---|\n");
	for (size_t i = 0; i < policy.n_supervisor; i++)
		print_call(&policy.supervisor[i]);
}

static int
print_filter(const char *name)
{
	enum filter_kind kind = FILTER_ROLE;
	enum process process = PROC_SUPERVISOR;
	void *ctx;
	int r;

	if (strcmp(name, "supervisor") == 0) {
		kind = FILTER_SUPERVISOR;
	} else if (strcmp(name, "stage0") == 0) {
		kind = FILTER_STAGE0;
	} else {
		for (size_t i = 0; i < policy.n_roles; i++) {
			if (strcmp(policy.roles[i].name, name) == 0)
				process = policy.roles[i].process;
		}
	}
	ctx = filter_build(kind, process);
	if (ctx == NULL) {
		fprintf(stderr, "policy_doc: no filter %s\n", name);
		return 2;
	}
	r = seccomp_export_pfc(ctx, STDOUT_FILENO);
	seccomp_release(ctx);
	return r == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "-p") == 0)
		return print_filter(argv[2]);
	if (argc != 1) {
		fprintf(stderr, "usage: policy_doc [-p process|supervisor|stage0]\n");
		return 2;
	}
	print_page();
	return 0;
}
