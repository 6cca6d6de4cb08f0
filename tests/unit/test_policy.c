/* SPDX-License-Identifier: ISC */
/*
 * The filters against the tables: the very program that the kernel gets is run by a small
 * interpreter of our own, over calls and arguments chosen around every condition, and each verdict
 * is compared with what the line of the table says in plain words.
 */
#include "config.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/policy.h"

enum { RANDOM_TRIES = 300, X32_BIT = 0x40000000 };

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t
next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Classic BPF as the kernel runs it over struct seccomp_data. */
static uint32_t
run_filter(const struct sock_fprog *p, const struct seccomp_data *d)
{
	uint32_t a = 0;

	for (uint32_t pc = 0; pc < p->len; pc++) {
		const struct sock_filter *f = &p->filter[pc];

		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(f->k <= sizeof(*d) - 4);
			memcpy(&a, (const uint8_t *)d + f->k, 4);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= f->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += f->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == f->k ? f->jt : f->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > f->k ? f->jt : f->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= f->k ? f->jt : f->jf;
			break;
		case BPF_RET | BPF_K:
			return f->k;
		default:
			fail_msg("instruction 0x%x", f->code);
		}
	}
	fail_msg("ran off the end");
	return 0;
}

static struct sock_fprog
program(enum filter_kind kind, enum process role)
{
	struct sock_fprog p;
	void *ctx;

#ifdef BH_SANITIZERS
	skip(); /* such a filter has sanitizer.def too, and TRAP for all that is refused */
#endif
	ctx = filter_build(kind, role);
	assert_non_null(ctx);
	assert_int_equal(filter_export(ctx, &p), 0);
	seccomp_release(ctx);
	return p;
}

static uint32_t
verdict(const struct sock_fprog *p, int nr, const uint64_t args[6])
{
	struct seccomp_data d = {.nr = nr, .arch = seccomp_arch_native()};

	memcpy(d.args, args, sizeof(d.args));
	return run_filter(p, &d);
}

/* A condition in plain words; strict: the upper half of the register must be clear as well. */
static int
holds(const struct condition *c, uint64_t arg, int strict)
{
	uint32_t low = (uint32_t)arg;

	if (strict && arg > UINT32_MAX)
		return 0;
	switch ((enum condition_op)c->op) {
	case CONDITION_NONE:
		return 1;
	case CONDITION_EQUALS:
		return low == c->a;
	case CONDITION_BITS:
		return (low & c->a) == c->a && (low & ~(c->a | c->b)) == 0;
	case CONDITION_FDS:
		return low >= c->a && low <= c->b;
	case CONDITION_NULL:
		return arg == 0;
	case CONDITION_SELF:
		return low == (uint32_t)getpid();
	}
	return 0;
}

static int
line_allows(const struct allowed_call *c, const uint64_t args[6], int strict)
{
	for (size_t i = 0; i < POLICY_CONDITIONS; i++) {
		if (!holds(&c->condition[i], args[c->condition[i].arg], strict))
			return 0;
	}
	return 1;
}

static int
role_allows(const struct role_row *row, const char *name, const uint64_t args[6], int strict)
{
	for (size_t i = 0; i < policy.n_promises; i++) {
		const struct allowed_call *c = &policy.promises[i];

		if (strcmp(c->name, name) == 0 && policy_has_word(row->promises, c->word) &&
		    line_allows(c, args, strict))
			return 1;
	}
	return 0;
}

/* A value at or beside the edge of a condition on this argument, or anything. */
static uint64_t
value_near(const char *name, unsigned arg)
{
	const struct condition *found[64];
	size_t n = 0;
	uint64_t v;

	for (size_t i = 0; i < policy.n_promises && n < 60; i++) {
		for (size_t k = 0; k < POLICY_CONDITIONS; k++) {
			const struct condition *c = &policy.promises[i].condition[k];

			if (strcmp(policy.promises[i].name, name) == 0 && c->op != CONDITION_NONE &&
			    c->arg == arg)
				found[n++] = c;
		}
	}
	if (n == 0 || next_random() % 16 == 0)
		return next_random() % 3 == 0 ? next_random() : next_random() % 2048;
	const struct condition *c = found[next_random() % n];

	if (c->op == CONDITION_SELF)
		v = (uint64_t)getpid();
	else if (c->op == CONDITION_BITS)
		v = c->a | (c->b & next_random());
	else if (c->op == CONDITION_FDS)
		v = c->a + next_random() % (c->b - c->a + 1);
	else
		v = c->a;
	switch (next_random() % 8) {
	case 0:
		return v ^ UINT64_C(1) << (next_random() % 64);
	case 1:
		return v + 1;
	case 2:
		return v - 1;
	case 3:
		return v | UINT64_C(1) << 32;
	default:
		return v;
	}
}

/* One call of one role over many arguments. */
static void
check_call(const struct role_row *row, const struct sock_fprog *p, int nr, const char *name)
{
	const struct denied_call *d = policy_denied(&policy, name);
	unsigned allowed = 0;

	for (unsigned i = 0; i < RANDOM_TRIES; i++) {
		uint64_t args[6];
		uint32_t v;
		int may, surely;

		for (unsigned k = 0; k < 6; k++)
			args[k] = value_near(name, k);
		v = verdict(p, nr, args);
		may = role_allows(row, name, args, 0);
		surely = role_allows(row, name, args, 1);
		if (surely && v != SECCOMP_RET_ALLOW)
			fail_msg("%s: %s(%#lx, %#lx, %#lx, %#lx, %#lx) is promised: %#x", row->name,
			    name, args[0], args[1], args[2], args[3], args[4], v);
		if (!may && v == SECCOMP_RET_ALLOW)
			fail_msg("%s: %s(%#lx, %#lx, %#lx, %#lx, %#lx) goes through", row->name,
			    name, args[0], args[1], args[2], args[3], args[4]);
		if (!may && d != NULL && d->denial == DENIAL_KILL)
			assert_int_equal(v, SECCOMP_RET_KILL_PROCESS);
		if (!may && d != NULL && d->denial == DENIAL_ENOSYS)
			assert_int_equal(v, SECCOMP_RET_ERRNO | ENOSYS);
		if (!may && d == NULL && v != SECCOMP_RET_KILL_PROCESS)
			assert_int_equal(v, SECCOMP_RET_TRAP);
		allowed += v == SECCOMP_RET_ALLOW;
	}
	/* a promise that lets nothing through would be a filter that refuses everything */
	for (size_t i = 0; i < policy.n_promises; i++) {
		if (strcmp(policy.promises[i].name, name) == 0 &&
		    policy_has_word(row->promises, policy.promises[i].word) && allowed == 0)
			fail_msg("%s: %s is promised, and never came through", row->name, name);
	}
}

static void
roles_follow_tables(void **state)
{
	(void)state;
	for (size_t r = 0; r < policy.n_roles; r++) {
		struct sock_fprog p = program(FILTER_ROLE, policy.roles[r].process);

		for (int nr = 0; nr <= POLICY_NUMBER_MAX; nr++) {
			char *name = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), nr);
			uint64_t args[6] = {0};

			if (name != NULL)
				check_call(&policy.roles[r], &p, nr, name);
			else if (filter_number("uretprobe") == nr)
				assert_int_equal(verdict(&p, nr, args), SECCOMP_RET_ALLOW);
			else
				assert_int_equal(verdict(&p, nr, args), SECCOMP_RET_ERRNO | ENOSYS);
			free(name);
		}
		free(p.filter);
	}
}

/* The other doors into the kernel: x32 numbers, 32-bit calls, numbers out of the table. */
static void
other_doors_kill(void **state)
{
	const enum filter_kind kinds[] = {FILTER_ROLE, FILTER_STAGE0, FILTER_SUPERVISOR};

	(void)state;
	for (size_t k = 0; k < 3; k++) {
		struct sock_fprog p = program(kinds[k], PROC_NETD);

		for (int nr = 0; nr <= POLICY_NUMBER_MAX; nr++) {
			struct seccomp_data d = {.nr = nr, .arch = AUDIT_ARCH_I386};

			assert_int_equal(run_filter(&p, &d), SECCOMP_RET_KILL_PROCESS);
#ifdef __x86_64__
			d.arch = seccomp_arch_native();
			d.nr = nr | X32_BIT;
			assert_int_equal(run_filter(&p, &d), SECCOMP_RET_KILL_PROCESS);
#endif
		}
		free(p.filter);
	}
}

static void
number_too_high_kills(void **state)
{
	struct sock_fprog p = program(FILTER_ROLE, PROC_KEYD);
	const int numbers[] = {POLICY_NUMBER_MAX + 1, 4096, INT32_MAX, -1, INT32_MIN};
	const uint64_t args[6] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		assert_int_equal(verdict(&p, numbers[i], args), SECCOMP_RET_KILL_PROCESS);
	free(p.filter);
}

/* Stage 0 refuses what is never needed and lets everything else through to the program's start. */
static void
stage0_follows_table(void **state)
{
	struct sock_fprog p = program(FILTER_STAGE0, PROC_SUPERVISOR);
	const uint64_t args[6] = {0};

	(void)state;
	for (int nr = 0; nr <= POLICY_NUMBER_MAX; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), nr);
		const struct denied_call *d = name != NULL ? policy_denied(&policy, name) : NULL;
		uint32_t want = SECCOMP_RET_ALLOW;

		if (d != NULL && d->always)
			want = d->denial == DENIAL_KILL ? SECCOMP_RET_KILL_PROCESS
							: SECCOMP_RET_ERRNO | ENOSYS;
		assert_int_equal(verdict(&p, nr, args), want);
		free(name);
	}
	free(p.filter);
}

/* Filters add up: what a child may do later, the supervisor's must let through. */
static void
supervisor_contains_roles(void **state)
{
	struct sock_fprog s = program(FILTER_SUPERVISOR, PROC_SUPERVISOR);

	(void)state;
	for (size_t i = 0; i < policy.n_promises; i++) {
		int nr = filter_number(policy.promises[i].name);

		for (unsigned k = 0; nr >= 0 && k < RANDOM_TRIES; k++) {
			uint64_t args[6];

			for (unsigned n = 0; n < 6; n++)
				args[n] = value_near(policy.promises[i].name, n);
			if (line_allows(&policy.promises[i], args, 1))
				assert_int_equal(verdict(&s, nr, args), SECCOMP_RET_ALLOW);
		}
	}
	free(s.filter);
}

static void
supervisor_refuses(void **state)
{
	struct sock_fprog s = program(FILTER_SUPERVISOR, PROC_SUPERVISOR);
	const uint64_t netlink[6] = {16, 3, 0}, inet[6] = {2, 1, 0}, none[6] = {0};
	const uint64_t tiocsti[6] = {0, 0x5412};

	(void)state;
	assert_int_equal(verdict(&s, SYS_socket, inet), SECCOMP_RET_ALLOW);
	assert_int_not_equal(verdict(&s, SYS_socket, netlink), SECCOMP_RET_ALLOW);
	assert_int_not_equal(verdict(&s, SYS_ioctl, tiocsti), SECCOMP_RET_ALLOW);
	assert_int_equal(verdict(&s, SYS_ptrace, none), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(verdict(&s, SYS_mount, none), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(verdict(&s, SYS_setns, none), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(verdict(&s, SYS_io_uring_setup, none), SECCOMP_RET_ERRNO | ENOSYS);
	assert_int_equal(verdict(&s, SYS_execve, none), SECCOMP_RET_ALLOW);
	free(s.filter);
}

static void
ranges_become_exact_blocks(void **state)
{
	(void)state;
	for (uint32_t first = 0; first < 40; first++) {
		for (uint32_t last = first; last < 80; last++) {
			struct condition c = {.op = CONDITION_FDS, .a = first, .b = last};
			struct block blocks[POLICY_BLOCKS];
			size_t n = policy_blocks(&c, 0, blocks);

			for (uint32_t v = 0; v < 100; v++) {
				int in = 0;

				for (size_t i = 0; i < n; i++)
					in |= (v & blocks[i].mask) == blocks[i].value;
				assert_int_equal(in, v >= first && v <= last);
			}
		}
	}
}

static void
arguments_are_strict(void **state)
{
	char *good[] = {"x", "keyd", "3", "61001", "61002", "77", "0", NULL};
	static const struct {
		int at;
		const char *text;
	} bad[] = {{1, "supervisor"}, {1, "keyd "}, {1, ""}, {2, "0"}, {2, ""}, {2, "-1"},
	    {2, "+1"}, {2, " 1"}, {2, "1x"}, {2, "4294967296"}, {3, "0"}, {3, "4294967295"},
	    {4, "0"}, {4, "99999999999999999999999"}, {5, "0"}, {5, "2147483648"}, {6, "2"},
	    {6, "yes"}};
	struct sandbox_args args;

	(void)state;
	assert_int_equal(sandbox_parse_args(7, good, &args), 0);
	assert_int_equal(args.process, PROC_KEYD);
	assert_int_equal(args.generation, 3);
	assert_int_equal(args.uid, 61001);
	assert_int_equal(args.gid, 61002);
	assert_int_equal(args.supervisor, 77);
	assert_int_equal(args.degraded, 0);
	assert_int_equal(sandbox_parse_args(6, good, &args), -1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *argv[8], copy[32];

		memcpy(argv, good, sizeof(good));
		snprintf(copy, sizeof(copy), "%s", bad[i].text);
		argv[bad[i].at] = copy;
		assert_int_equal(sandbox_parse_args(7, argv, &args), -1);
	}
}

static void
exits_are_described(void **state)
{
	char text[128];

	(void)state;
	assert_string_equal(exit_describe(0, text, sizeof(text)), "exit 0 (in order)");
	assert_non_null(strstr(exit_describe(EXIT_SIGSYS << 8, text, sizeof(text)), "system call"));
	assert_non_null(strstr(exit_describe(SIGSYS, text, sizeof(text)), "SIGSYS"));
	assert_non_null(strstr(exit_describe(SIGKILL, text, sizeof(text)), "signal 9"));
	assert_string_equal(exit_describe(5 << 8, text, sizeof(text)), "exit 5");
}

/*
 * In a process of its own: a call that is trapped, or SIGSYS that is sent. Returns its wait status.
 */
static int
under_the_filter(int sent, char *text, size_t size)
{
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || calls_enter(PROC_KEYD) != 0)
			_exit(2);
		if (sent)
			syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), SIGSYS);
		errno = 0;
		_exit(syscall(SYS_getpriority, 0, 0) == -1 && errno == ENOSYS ? 0 : 3);
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	n = read(fds[0], text, size - 1);
	text[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	return status;
}

/* Named and ended; named and refused in a build that reports. */
static void
trapped_call_is_named(void **state)
{
	char text[256];
	int status = under_the_filter(0, text, sizeof(text));

	(void)state;
	assert_non_null(strstr(text, " (getpriority) is outside the promises"));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), sandbox_reports() ? 0 : EXIT_SIGSYS);
}

static void
sent_signal_is_no_call(void **state)
{
	char text[256];
	int status = under_the_filter(1, text, sizeof(text));

	(void)state;
	assert_null(strstr(text, "system call"));
	assert_non_null(strstr(text, "keyd: SIGSYS was sent by process "));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FATAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(roles_follow_tables),
	    cmocka_unit_test(other_doors_kill),
	    cmocka_unit_test(number_too_high_kills),
	    cmocka_unit_test(stage0_follows_table),
	    cmocka_unit_test(supervisor_contains_roles),
	    cmocka_unit_test(supervisor_refuses),
	    cmocka_unit_test(ranges_become_exact_blocks),
	    cmocka_unit_test(arguments_are_strict),
	    cmocka_unit_test(exits_are_described),
	    cmocka_unit_test(trapped_call_is_named),
	    cmocka_unit_test(sent_signal_is_no_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
