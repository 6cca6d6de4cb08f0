/* SPDX-License-Identifier: ISC */
/*
 * Real-time scheduling, so that load on the machine does not look like a dead partner, with a bound
 * on it: a process that keeps a CPU busy goes back to normal scheduling until it has calmed down. A
 * flood from outside must not become a denial of service of the whole machine, and RLIMIT_RTTIME
 * (spawn.c) would kill where slowing down is enough.
 */
#include "config.h"

#include "supervisor.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BUSY_TICKS = 2 }; /* ticks above nine tenths of a CPU before it is demoted */

/* By system call: musl's wrapper refuses. Returns 0 or -1. */
static int
set_policy(pid_t pid, int policy)
{
	struct sched_param sp = {.sched_priority = (policy & SCHED_RR) ? 1 : 0};

	return (int)syscall(SYS_sched_setscheduler, pid, policy, &sp);
}

void
realtime_self(void)
{
	/* what is forked starts without it; hooks and checks never have it */
	(void)set_policy(0, SCHED_RR | SCHED_RESET_ON_FORK);
}

static int64_t
cpu_us(pid_t pid)
{
	clockid_t clock;
	struct timespec ts;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &ts) != 0)
		return -1;
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void
realtime_watch(struct proc *p)
{
	int64_t at = now_us(), cpu, elapsed, used;

	if (!sup.conf.general.realtime || !role_row(p->process)->realtime || p->pid <= 0)
		return;
	cpu = cpu_us(p->pid);
	if (p->cpu_pid != p->pid || cpu < 0) {
		p->cpu_pid = p->pid;
		p->busy_ticks = 0;
		p->demoted = 0;
		p->cpu_us = cpu;
		p->cpu_at_us = at;
		return;
	}
	elapsed = at - p->cpu_at_us;
	used = cpu - p->cpu_us;
	p->cpu_us = cpu;
	p->cpu_at_us = at;
	if (p->demoted && used * 2 < elapsed) {
		p->demoted = 0;
		p->busy_ticks = 0;
		(void)set_policy(p->pid, SCHED_RR);
	} else if (!p->demoted && used * 10 < elapsed * 9) {
		p->busy_ticks = 0;
	} else if (!p->demoted && ++p->busy_ticks >= BUSY_TICKS) {
		p->demoted = 1;
		(void)set_policy(p->pid, SCHED_OTHER);
		log_warn("%s[%d] keeps a CPU busy: normal scheduling until it calms down",
		    process_name(p->process), (int)p->pid);
	}
}
