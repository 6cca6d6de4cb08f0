/* SPDX-License-Identifier: ISC */
/*
 * keyd keeps the long-term secrets of this server and does the static Diffie-Hellman steps of the
 * handshakes with them; nothing else. No event loop library: one poll(2).
 */
#include "keyd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "policy/sandbox.h"

static volatile sig_atomic_t terminated;

static void
on_signal(int sig)
{
	(void)sig;
	terminated = 1;
}

/*
 * A polite signal wipes too; between the look at the flag and poll(2) it waits for the next PING.
 */
static void
catch_signals(void)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = on_signal;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
}

/* Everything that opens, reads or asks the kernel for more than the sandbox allows. */
static struct child *
keyd_warm_up(void)
{
	if (sodium_init() < 0)
		fatal("libsodium cannot be used on this machine");
	catch_signals();
	if (keys_init() != 0)
		fatal("no memory for the keys");
	/*
	 * without its keys keyd lives, so that a reload can say what is wrong; it refuses each
	 * config
	 */
	(void)keys_read(KEY_STATUS, FD_KEY_STATUS);
	(void)keys_read(KEY_DATA, FD_KEY_DATA);
	return keyd_init_ipc();
}

static struct pollfd
poll_entry(const struct channel *c, int *timeout_ms)
{
	/* a closed one is -1: left out */
	return (struct pollfd){.fd = c->fd, .events = channel_events(c, timeout_ms)};
}

/* What poll(2) said of a channel. Returns 0, or -1 when it has ended. */
static int
serve_channel(struct channel *c, short revents)
{
	if (revents == 0 && !c->starved)
		return 0;
	if (revents & POLLNVAL)
		return -1;
	if (((revents & POLLOUT) || c->starved) && channel_flush(c) != 0)
		return -1;
	if ((revents & (POLLIN | POLLHUP | POLLERR)) && channel_read(c) < 0)
		return -1;
	return c->violation == V_QUEUE ? -1 : 0;
}

/* Until the supervisor says STOP or is gone. Returns the exit code. */
static int
keyd_loop(struct child *ch)
{
	while (!keyd_stopping() && !terminated) {
		int timeout_ms = -1;
		struct pollfd p[KEYD_ASKERS + 1];

		for (int i = 0; i < KEYD_ASKERS; i++)
			p[i] = poll_entry(keyd_asker(i), &timeout_ms);
		p[KEYD_ASKERS] = poll_entry(&ch->control, &timeout_ms);
		if (poll(p, KEYD_ASKERS + 1, timeout_ms) < 0) {
			if (errno == EINTR)
				continue;
			fatal("poll: %s", strerror(errno));
		}
		/* control last: a PEER message on it replaces what another entry was about */
		for (int i = 0; i < KEYD_ASKERS; i++) {
			if (serve_channel(keyd_asker(i), p[i].revents) != 0)
				child_edge_lost(ch, keyd_asker(i));
		}
		if (serve_channel(&ch->control, p[KEYD_ASKERS].revents) != 0)
			return child_control_exit(ch);
	}
	return EXIT_OK;
}

int
main(int argc, char **argv)
{
	struct sandbox_args args;
	struct child *ch;
	int code;

	if (sandbox_parse_args(argc, argv, &args) != 0 || args.process != PROC_KEYD)
		return EXIT_USAGE;
	log_to_fd(FD_LOG);
	sandbox_drop(&args);
	ch = keyd_warm_up();
	child_ready(ch, sandbox_enter(&args));
	keyd_send_public();
	code = keyd_loop(ch);
	keys_wipe();
	_exit(code);
}
