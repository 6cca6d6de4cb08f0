/* SPDX-License-Identifier: ISC */
/*
 * netd: its story from exec to exit, and its last fifty milliseconds.
 */
#include "config.h"

#include "netd.h"

#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "policy/sandbox.h"

static void warm_up(void);
static void catch_signals(void);
static void on_control_closed(struct channel *c);
static void on_owner_closed(struct channel *c);
static void on_commit(struct child *ch, const struct conf *old);
static void on_stop(struct child *ch, uint32_t ms);
static void on_peer_down(struct child *ch, struct channel *c);
static void on_peer_up(struct child *ch, struct channel *c);
static void on_dump(struct child *ch);

uv_loop_t netd_loop;
struct child netd_child;
struct channel netd_owner[OWNER_MAX];

static pid_t supervisor;
static uv_async_t orphaned; /* the signal that the supervisor is dead has come */
static uv_timer_t end_timer;
static int ending, end_code;

static const struct child_ops ops = {
    .on_commit = on_commit,
    .on_stop = on_stop,
    .on_peer_down = on_peer_down,
    .on_peer_up = on_peer_up,
    .on_dump = on_dump,
    .on_other = ipc_from_supervisor,
};

int
main(int argc, char **argv)
{
	struct sandbox_args args;
	unsigned layers;

	log_to_fd(FD_LOG);
	if (sandbox_parse_args(argc, argv, &args) != 0 || args.process != PROC_NETD)
		_exit(EXIT_USAGE);
	sandbox_drop(&args);
	warm_up();
	layers = sandbox_enter(&args);
	child_ready(&netd_child, layers);
	uv_run(&netd_loop, UV_RUN_DEFAULT);
	fatal("the loop ended");
}

/* Everything that opens descriptors. */
static void
warm_up(void)
{
	child_hold_numbers();
	if (sodium_init() < 0)
		fatal("libsodium does not start");
	loop_open(&netd_loop);
	loop_reserve(&netd_loop);
	catch_signals();
	child_init(&netd_child, PROC_NETD, &ops, NULL);
	child_add_edge(&netd_child, &netd_owner[OWNER_ROLED], PROC_ROLED, ipc_from_owner, NULL);
	child_add_edge(&netd_child, &netd_owner[OWNER_SYNCD], PROC_SYNCD, ipc_from_owner, NULL);
	loop_attach_channel(&netd_loop, &netd_child.control, on_control_closed);
	for (int i = 0; i < OWNER_MAX; i++)
		loop_attach_channel(&netd_loop, &netd_owner[i], on_owner_closed);
	limits_init();
	admit_init();
	link_init();
	uv_timer_init(&netd_loop, &end_timer);
}

/* ---- the end */

/* One last push of what can be written, FIN on every connection, and out. */
static void
end_now(uv_timer_t *timer)
{
	(void)timer;
	link_shut_all();
	_exit(end_code);
}

/*
 * No new connections; those that carry go on until roled has closed them and the other ends have
 * answered, or until the time is up. The supervisor may die while we stop: then the time is
 * shorter.
 */
static void
end_within(int code, uint64_t ms)
{
	uv_update_time(&netd_loop);
	if (ending && uv_timer_get_due_in(&end_timer) <= ms)
		return;
	ending = 1;
	end_code = code;
	admit_close_all();
	uv_timer_start(&end_timer, end_now, ms, 0);
	netd_check_end();
}

void
netd_check_end(void)
{
	if (ending && link_busy() == 0)
		end_now(&end_timer);
}

/* The supervisor is dead. roled writes the obituary to every link and goes; it must get out. */
static void
supervisor_gone(void)
{
	alarm(1); /* the hard limit, whatever happens here; its default action ends us */
	end_within(EXIT_CHANNEL, OBITUARY_MS);
}

static void
on_orphaned(uv_async_t *async)
{
	(void)async;
	supervisor_gone();
}

static void
on_control_closed(struct channel *c)
{
	if (c->violation != V_NONE)
		_exit(child_control_exit(&netd_child));
	supervisor_gone();
}

/*
 * The parent-death signal, sent by the kernel in the name of the parent: the channel says the same,
 * but whichever comes first counts. From anybody else it means nothing.
 */
static void
on_sigusr1(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	if (info->si_pid != supervisor)
		return;
	alarm(1);
	uv_async_send(&orphaned); /* async-signal-safe by its documentation */
}

static void
catch_signals(void)
{
	struct sigaction sa = {.sa_sigaction = on_sigusr1, .sa_flags = SA_RESTART | SA_SIGINFO};

	uv_async_init(&netd_loop, &orphaned, on_orphaned);
	supervisor = getppid(); /* sandbox_drop() has seen that it is */
	sigaction(SIGUSR1, &sa, NULL);
	sa = (struct sigaction){.sa_handler = SIG_IGN};
	sigaction(SIGPIPE, &sa, NULL); /* splice(2) knows no MSG_NOSIGNAL */
}

/* ---- common life of a child */

static void
on_commit(struct child *ch, const struct conf *old)
{
	(void)old;
	admit_configure(child_conf(ch));
}

/* roled has said goodbye on its links; they only have to drain. */
static void
on_stop(struct child *ch, uint32_t ms)
{
	(void)ch;
	end_within(EXIT_OK, ms / 2 < LINGER_MS ? ms / 2 : LINGER_MS);
}

static void
on_peer_down(struct child *ch, struct channel *c)
{
	(void)ch;
	loop_detach_channel(c);
	admit_drop_waiting((enum owner)(c - netd_owner));
	link_orphan((enum owner)(c - netd_owner));
	netd_check_end();
}

static void
on_peer_up(struct child *ch, struct channel *c)
{
	(void)ch;
	loop_attach_channel(&netd_loop, c, on_owner_closed);
	if (c == &netd_owner[OWNER_ROLED])
		counters_tell();
}

static void
on_owner_closed(struct channel *c)
{
	child_edge_lost(&netd_child, c);
}

static void
on_dump(struct child *ch)
{
	(void)ch;
	counters_dump();
	admit_dump();
	link_dump();
}
