/* SPDX-License-Identifier: ISC */
/*
 * The filters, made from the tables by libseccomp.
 *
 *   role        default KILL_PROCESS; promises allowed, with their conditions; denied.def as it
 *               says; every other call that has a name, and arguments outside the conditions: TRAP,
 *               so that the log names it; numbers
 *               without a name, that is newer than the build: ENOSYS, so that libraries fall back
 *   supervisor  the same with supervisor.def and, without conditions, every promise
 *   stage 0     default ALLOW; the ALWAYS lines of denied.def
 *
 * Another architecture's calls (x32, int 0x80) kill the process in all three.
 *
 * A build with sanitizers has sanitizer.def as well, and reports: TRAP in place of KILL_PROCESS for
 * role and supervisor, and a handler that goes on (sigsys.c). Its stage 0 is that of any build.
 */
#include "config.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/log.h"
#include "policy.h"

#ifdef BH_FILTER_REPORT
#ifndef BH_SANITIZERS
#error "a filter that only reports is for builds with sanitizers"
#endif
/* sigsys.c names also what would be killed without a word, and the process goes on. */
#define ACTION_REFUSE SCMP_ACT_TRAP
#else
#define ACTION_REFUSE SCMP_ACT_KILL_PROCESS
#endif

/* A filter under construction. */
struct builder {
	scmp_filter_ctx ctx;
	uint32_t self;			     /* process id for CONDITION_SELF */
	uint32_t kill;			     /* action of what denied.def says KILL for */
	uint8_t done[POLICY_NUMBER_MAX + 1]; /* the number has a rule */
	int error;
};

static struct sock_fprog stage0;

/* Calls that are newer than libseccomp's own table; number -1 where the architecture lacks it. */
static const struct {
	const char *name;
	int number;
} newer_calls[] = {
#ifdef __x86_64__
    {"uretprobe", 335},
#else
    {"uretprobe", -1},
#endif
};

int
filter_number(const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);

	for (size_t i = 0; nr < 0 && i < sizeof(newer_calls) / sizeof(newer_calls[0]); i++) {
		if (strcmp(newer_calls[i].name, name) == 0)
			nr = newer_calls[i].number;
	}
	return nr >= 0 && nr <= POLICY_NUMBER_MAX ? nr : -1;
}

int
filter_name_known(const char *name)
{
	for (size_t i = 0; i < sizeof(newer_calls) / sizeof(newer_calls[0]); i++) {
		if (strcmp(newer_calls[i].name, name) == 0)
			return 1;
	}
	return seccomp_syscall_resolve_name(name) != __NR_SCMP_ERROR;
}

static void
add_rule(struct builder *b, uint32_t action, int nr, const struct scmp_arg_cmp *cmp, unsigned n)
{
	int r;

	b->done[nr] = 1;
	r = seccomp_rule_add_array(b->ctx, action, nr, n, cmp);
	/* -EACCES: the action is the default one already; -EEXIST: two lines say the same */
	if (r < 0 && r != -EACCES && r != -EEXIST && b->error == 0)
		b->error = -r;
}

/* A rule for every combination of the blocks of the conditions. */
static void
add_conditions(struct builder *b, int nr, const struct allowed_call *c)
{
	struct block blocks[POLICY_CONDITIONS][POLICY_BLOCKS];
	size_t n[POLICY_CONDITIONS], at[POLICY_CONDITIONS] = {0}, i;
	unsigned used = 0;

	while (used < POLICY_CONDITIONS && c->condition[used].op != CONDITION_NONE) {
		n[used] = policy_blocks(&c->condition[used], b->self, blocks[used]);
		if (n[used] == 0) {
			b->error = EINVAL;
			return;
		}
		used++;
	}
	do {
		struct scmp_arg_cmp cmp[POLICY_CONDITIONS];

		for (i = 0; i < used; i++)
			cmp[i] = (struct scmp_arg_cmp){.arg = c->condition[i].arg,
			    .op = SCMP_CMP_MASKED_EQ,
			    .datum_a = blocks[i][at[i]].mask,
			    .datum_b = blocks[i][at[i]].value};
		add_rule(b, SCMP_ACT_ALLOW, nr, cmp, used);
		for (i = 0; i < used && ++at[i] == n[i]; i++)
			at[i] = 0;
	} while (i < used);
}

static void
add_denied(struct builder *b, int always_only)
{
	for (size_t i = 0; i < policy.n_denied; i++) {
		const struct denied_call *d = &policy.denied[i];
		int nr = filter_number(d->name);

		if (nr < 0 || b->done[nr] || (always_only && !d->always))
			continue;
		add_rule(
		    b, d->denial == DENIAL_ENOSYS ? SCMP_ACT_ERRNO(ENOSYS) : b->kill, nr, NULL, 0);
	}
}

/* TRAP for what has a name, ENOSYS for what has none. */
static void
add_rest(struct builder *b)
{
	for (int nr = 0; nr <= POLICY_NUMBER_MAX; nr++) {
		char *name;

		if (b->done[nr])
			continue;
		name = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), nr);
		add_rule(b, name != NULL ? SCMP_ACT_TRAP : SCMP_ACT_ERRNO(ENOSYS), nr, NULL, 0);
		free(name);
	}
}

/*
 * TRAP for the arguments that the lines of a call leave out, so that the log names the call; where
 * denied.def says KILL they are left to the default action.
 */
static void
add_mismatches(struct builder *b, const struct allowed_call *calls, size_t n, const char *promised)
{
	const struct allowed_call *lines[POLICY_LINES];
	struct mismatch m;

	for (size_t i = 0; i < n; i++) {
		int nr = filter_number(calls[i].name);
		size_t n_lines = 0;

		if (nr < 0 || !b->done[nr] || calls[i].condition[0].op == CONDITION_NONE ||
		    policy_denied(&policy, calls[i].name) != NULL)
			continue;
		for (size_t k = 0; k < n && n_lines < POLICY_LINES; k++) {
			if (strcmp(calls[k].name, calls[i].name) != 0 ||
			    !policy_has_word(promised, calls[k].word))
				continue;
			if (n_lines == 0 && k != i)
				break; /* not the first line of this call: done already */
			lines[n_lines++] = &calls[k];
		}
		policy_mismatch(lines, n_lines, b->self, &m);
		for (size_t k = 0; k < m.n; k++) {
			struct scmp_arg_cmp cmp = {.arg = m.rule[k].arg,
			    .op = (enum scmp_compare)m.rule[k].op,
			    .datum_a = m.rule[k].a,
			    .datum_b = m.rule[k].b};
			add_rule(b, SCMP_ACT_TRAP, nr, &cmp, 1);
		}
	}
}

/* What the sanitizers' runtime calls by itself: nothing in a build without them. */
static void
add_sanitizer(struct builder *b)
{
	for (size_t i = 0; i < policy.n_sanitizer; i++) {
		int nr = filter_number(policy.sanitizer[i].name);

		if (nr >= 0)
			add_conditions(b, nr, &policy.sanitizer[i]);
	}
}

static void
add_role(struct builder *b, const struct role_row *row)
{
	add_sanitizer(b);
	for (size_t i = 0; i < policy.n_promises; i++) {
		const struct allowed_call *c = &policy.promises[i];
		int nr = filter_number(c->name);

		if (nr >= 0 && policy_has_word(row->promises, c->word))
			add_conditions(b, nr, c);
	}
	add_mismatches(b, policy.promises, policy.n_promises, row->promises);
	add_denied(b, 0);
	add_rest(b);
}

static void
add_supervisor(struct builder *b)
{
	uint8_t own[POLICY_NUMBER_MAX + 1] = {0};

	add_sanitizer(b);
	for (size_t i = 0; i < policy.n_supervisor; i++) {
		int nr = filter_number(policy.supervisor[i].name);

		if (nr < 0)
			continue;
		own[nr] = 1;
		add_conditions(b, nr, &policy.supervisor[i]);
	}
	add_mismatches(b, policy.supervisor, policy.n_supervisor, "supervisor");
	for (size_t i = 0; i < policy.n_promises; i++) {
		int nr = filter_number(policy.promises[i].name);

		/* its own conditions, where it has some, are wider (lint) */
		if (nr >= 0 && !own[nr] && !b->done[nr])
			add_rule(b, SCMP_ACT_ALLOW, nr, NULL, 0);
	}
	add_denied(b, 1);
	for (size_t i = 0; i < policy.n_denied; i++) {
		int nr = filter_number(policy.denied[i].name);

		if (nr >= 0 && !b->done[nr] && policy.denied[i].denial == DENIAL_ENOSYS)
			add_rule(b, SCMP_ACT_ERRNO(ENOSYS), nr, NULL, 0);
	}
	add_rest(b);
}

/* Returns 0 or an errno value. */
static int
set_attributes(scmp_filter_ctx ctx)
{
	int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0); /* set by privdrop.c */
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	/* an older kernel without logging is no reason to fail */
	return r == -EOPNOTSUPP ? 0 : -r;
}

void *
filter_build(enum filter_kind kind, enum process role)
{
	struct builder b = {.self = (uint32_t)getpid(),
	    .kill = kind == FILTER_STAGE0 ? SCMP_ACT_KILL_PROCESS : ACTION_REFUSE};
	const struct role_row *row = role_row(role);

	if (kind == FILTER_ROLE && row == NULL) {
		errno = EINVAL;
		return NULL;
	}
	b.ctx = seccomp_init(kind == FILTER_STAGE0 ? SCMP_ACT_ALLOW : ACTION_REFUSE);
	if (b.ctx == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	b.error = set_attributes(b.ctx);
	if (kind == FILTER_STAGE0)
		add_denied(&b, 1);
	else if (kind == FILTER_SUPERVISOR)
		add_supervisor(&b);
	else
		add_role(&b, row);
	if (b.error != 0) {
		seccomp_release(b.ctx);
		errno = b.error;
		return NULL;
	}
	return b.ctx;
}

/* 1 when the kernel has filters. */
static int
have_seccomp(void)
{
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 || errno != EINVAL;
}

static int
load_filter(enum filter_kind kind, enum process role)
{
	scmp_filter_ctx ctx;
	int r;

	if (!have_seccomp())
		return 1;
	ctx = filter_build(kind, role);
	if (ctx == NULL || sigsys_install(process_name(role)) != 0)
		return -1;
	r = seccomp_load(ctx);
	seccomp_release(ctx);
	if (r < 0) {
		errno = -r;
		return -1;
	}
	return 0;
}

int
calls_enter(enum process role)
{
	return load_filter(FILTER_ROLE, role);
}

int
sandbox_enter_supervisor(int degraded)
{
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	r = load_filter(FILTER_SUPERVISOR, PROC_SUPERVISOR);
	if (r == 1 && degraded)
		return 0;
	if (r == 1)
		errno = ENOSYS;
	return r == 0 ? 0 : -1;
}

int
filter_export(void *ctx, struct sock_fprog *out)
{
	int fd = memfd_create("filter", MFD_CLOEXEC), r = -1;
	struct sock_filter *code = NULL;
	off_t size;

	if (fd < 0)
		return -1;
	errno = -seccomp_export_bpf(ctx, fd);
	if (errno != 0)
		goto out;
	size = lseek(fd, 0, SEEK_END);
	if (size <= 0 || size > (off_t)(BPF_MAXINSNS * sizeof(*code)) ||
	    (code = malloc((size_t)size)) == NULL || pread(fd, code, (size_t)size, 0) != size)
		goto out;
	out->len = (unsigned short)((size_t)size / sizeof(*code));
	out->filter = code;
	code = NULL;
	r = 0;
out:
	free(code);
	close(fd);
	return r;
}

int
sandbox_stage0_prepare(void)
{
	scmp_filter_ctx ctx;
	int r;

	if (!have_seccomp())
		return 0;
	ctx = filter_build(FILTER_STAGE0, PROC_SUPERVISOR);
	if (ctx == NULL)
		return -1;
	r = filter_export(ctx, &stage0);
	seccomp_release(ctx);
	return r;
}

int
sandbox_stage0_apply(void)
{
	if (stage0.filter == NULL)
		return 0; /* no seccomp in this kernel: the child decides whether it goes on */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, &stage0);
}
