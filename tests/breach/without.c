/* SPDX-License-Identifier: ISC */
/*
 * Run a program as on a kernel that lacks a part of the sandbox:
 *   without landlock|seccomp|ptrace program argument...
 * The calls of that part answer as a kernel without it does, for the program and all it starts;
 * ptrace as one that forbids it (Yama).
 */
#include "config.h"

#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int
refuse(scmp_filter_ctx ctx, const char *what)
{
	struct scmp_arg_cmp get = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = PR_GET_SECCOMP};
	struct scmp_arg_cmp set = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = PR_SET_SECCOMP};
	int r;

	if (strcmp(what, "landlock") == 0)
		return seccomp_rule_add(
		    ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(landlock_create_ruleset), 0);
	/* other numberings are let through, they are tried too */
	if (strcmp(what, "ptrace") == 0) {
		r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
		if (r != 0)
			return r;
		return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ptrace), 0);
	}
	if (strcmp(what, "seccomp") != 0)
		return -EINVAL;
	r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(seccomp), 0);
	if (r == 0)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1, &get);
	if (r == 0)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1, &set);
	return r;
}

int
main(int argc, char **argv)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	if (argc < 3 || ctx == NULL) {
		fprintf(stderr, "usage: without landlock|seccomp|ptrace program...\n");
		return 2;
	}
	/* without no_new_privs, which the program sets for itself or not, as it would there */
	if (seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0) != 0 || refuse(ctx, argv[1]) != 0 ||
	    seccomp_load(ctx) != 0) {
		fprintf(stderr, "without: cannot take %s away\n", argv[1]);
		return 2;
	}
	execv(argv[2], argv + 2);
	perror(argv[2]);
	return 2;
}
