/* SPDX-License-Identifier: ISC */
/*
 * The handler of SIGSYS: names the call that the filter trapped and ends the process. The call has
 * not been executed. Neither can the handler be replaced (rt_sigaction is in no promise) nor the
 * signal blocked (the kernel forces it).
 *
 * In a build that reports the process goes on, without the call: a sanitizer's report comes whole,
 * and one run of a test names all calls that are missing.
 */
#include "config.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "../lib/log.h"
#include "policy.h"

/* siginfo's si_code of a trapped call; the C library's headers do not have it. */
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

/* Names are looked up beforehand: the handler must not allocate. */
static char names[8192];
static uint16_t name_at[POLICY_NUMBER_MAX + 1]; /* offset in names, 0 is the empty name */
static const char *process = "?";

static void
collect_names(void)
{
	size_t used = 1;

	for (int nr = 0; nr <= POLICY_NUMBER_MAX; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), nr);
		size_t len;

		if (name == NULL)
			continue;
		len = strlen(name) + 1;
		if (len <= sizeof(names) - used) {
			memcpy(names + used, name, len);
			name_at[nr] = (uint16_t)used;
			used += len;
		}
		free(name);
	}
}

/* A line being put together without the C library's help. */
struct line {
	char text[256];
	size_t len;
};

static void
line_add(struct line *l, const char *s)
{
	while (*s != '\0' && l->len < sizeof(l->text))
		l->text[l->len++] = *s++;
}

static void
line_add_number(struct line *l, uint64_t v, unsigned base)
{
	char digits[20];
	size_t n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v != 0);
	while (n > 0 && l->len < sizeof(l->text))
		l->text[l->len++] = digits[--n];
}

int
sandbox_reports(void)
{
#ifdef BH_FILTER_REPORT
	return 1;
#else
	return 0;
#endif
}

/* Go on as if the kernel did not have the call. Returns 0 where the process has to end. */
static int
go_on(ucontext_t *context)
{
	if (!sandbox_reports())
		return 0;
#if defined(__x86_64__)
	context->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
	return 1;
#elif defined(__aarch64__)
	context->uc_mcontext.regs[0] = (unsigned long)-ENOSYS;
	return 1;
#else
	(void)context;
	return 0;
#endif
}

/* Not of a filter: kill(2), which the log must not mistake for a system call. */
static _Noreturn void
end_for_sender(const siginfo_t *info)
{
	struct line l = {.len = 0};

	l.text[l.len++] = (char)('0' + LOG_L_ERROR);
	line_add(&l, " ");
	line_add(&l, process);
	line_add(&l, ": SIGSYS was sent by process ");
	line_add_number(&l, (uint32_t)info->si_pid, 10);
	line_add(&l, ", ending\n");
	if (write(STDERR_FILENO, l.text, l.len) < 0) {
		/* nobody is left to tell */
	}
	_exit(EXIT_FATAL);
}

static void
on_sigsys(int sig, siginfo_t *info, void *context)
{
	struct line l = {.len = 0};
	int nr = info->si_syscall;

	int goes_on;

	(void)sig;
	if (info->si_code != SYS_SECCOMP)
		end_for_sender(info);
	goes_on = go_on(context);
	l.text[l.len++] = (char)('0' + LOG_L_ERROR);
	line_add(&l, " ");
	line_add(&l, process);
	line_add(&l, ": system call ");
	line_add_number(&l, (uint32_t)nr, 10);
	if (nr >= 0 && nr <= POLICY_NUMBER_MAX && name_at[nr] != 0) {
		line_add(&l, " (");
		line_add(&l, names + name_at[nr]);
		line_add(&l, ")");
	}
	line_add(&l, " is outside the promises, called at 0x");
	line_add_number(&l, (uint64_t)(uintptr_t)info->si_call_addr, 16);
	line_add(&l, goes_on ? ", refused\n" : ", ending\n");
	if (write(STDERR_FILENO, l.text, l.len) < 0) {
		/* nobody is left to tell */
	}
	if (!goes_on)
		_exit(EXIT_SIGSYS);
}

int
sigsys_install(const char *who)
{
	struct sigaction sa = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};

	process = who;
	collect_names();
	sigemptyset(&sa.sa_mask);
	return sigaction(SIGSYS, &sa, NULL);
}
