/* SPDX-License-Identifier: ISC */
/*
 * The supervisor died: say so on every link, then go. The kernel tells by SIGUSR1 (parent-death
 * signal) or by the end of the control channel, whichever comes first.
 */
#include "config.h"

#include "roled.h"

#include <signal.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "policy/sandbox.h"

static pid_t supervisor;

/*
 * The kernel sends it in the name of the parent that dies; from anybody else it would be a false
 * obituary. The hard limit first: whatever state the process is in, it is gone after a second.
 */
static void
on_signal(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	if (info->si_pid != supervisor)
		return;
	alarm(1);
	uv_async_send(&roled.orphan); /* async-signal-safe, says libuv */
}

static void
on_orphan(uv_async_t *async)
{
	(void)async;
	obituary_begin(EXIT_CHANNEL);
}

void
obituary_init(void)
{
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

	if (uv_async_init(&roled.loop, &roled.orphan, on_orphan) != 0)
		fatal("cannot make the wake-up for the death of the supervisor");
	supervisor = getppid(); /* sandbox_drop() has seen that it is */
	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGUSR1, &sa, NULL) != 0)
		fatal("cannot catch SIGUSR1");
}

void
obituary_begin(int exit_code)
{
	if (roled.orphaned)
		return;
	roled.orphaned = 1;
	alarm(1);
	if (roled.running && roled.obituary_allowed && !roled.stopped_sent)
		input_orphaned();
	roled_end_soon(exit_code, now_ms() + FLUSH_MS);
}
