/* SPDX-License-Identifier: ISC */
/*
 * roled decides: the role machine, its evidence and its actions. Sees no network: bytes of partners
 * come sealed through netd, echo results from icmpd, and hooks are run by others.
 */
#include "config.h"

#include "roled.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "policy/sandbox.h"

static void open_loop(void);
static void open_state(void);
static void wipe(void);

struct roled roled;

int
main(int argc, char **argv)
{
	struct sandbox_args args;

	if (sandbox_parse_args(argc, argv, &args) != 0)
		return EXIT_USAGE;
	log_to_fd(FD_LOG);
	sandbox_drop(&args);
	child_hold_numbers(); /* before anything else takes one that a rule of the sandbox names */

	if (sodium_init() < 0)
		fatal("libsodium does not start");
	log_on_fatal(wipe);
	randombytes_buf(&roled.boot, sizeof(roled.boot));
	open_loop();
	open_state();
	obituary_init();
	ipc_init();
	admin_init();
	links_init(&roled.links, &roled.loop, &ipc_links_ops, &roled, roled.boot);

	child_ready(&roled.child, sandbox_enter(&args));
	uv_run(&roled.loop, UV_RUN_DEFAULT);
	roled_exit(EXIT_FATAL); /* the loop has handles as long as the process lives */
}

static void
wipe(void)
{
	links_close(&roled.links);
}

void
roled_exit(int exit_code)
{
	wipe();
	_exit(exit_code);
}

void
roled_end_soon(int exit_code, int64_t at_ms)
{
	if (roled.exit_ms != 0 && roled.exit_ms <= at_ms)
		return;
	roled.exit_ms = at_ms;
	roled.exit_code = exit_code;
	roled_wake_at(at_ms);
}

/* ---- time */

static void
on_idle(uv_idle_t *idle)
{
	(void)idle;
}

static void arm(int64_t due);

/*
 * Nothing is done in the timer itself: libuv runs timers before it reads, and after a stall the
 * messages that wait are to be heard before silence is judged.
 */
static void
on_timer(uv_timer_t *timer)
{
	(void)timer;
	roled.due_ms = INT64_MAX;
	uv_idle_start(&roled.idle, on_idle); /* so that the loop does not wait */
}

/* The end of every turn of the loop: what is due, then when the next is. */
static void
on_turn(uv_check_t *check)
{
	int64_t now = now_ms(), due;

	(void)check;
	uv_idle_stop(&roled.idle);
	if (roled.running) {
		links_tick(&roled.links, now);
		if (now >= roled.machine_next_ms)
			input_tick(now);
		if (roled.second_ms != 0 && now >= roled.second_ms)
			outputs_second(now);
	}
	if (admin_turn())
		uv_idle_start(&roled.idle, on_idle);
	store_mirror(&roled.store);
	if (roled.exit_ms != 0 && (now >= roled.exit_ms || links_flushed(&roled.links)))
		roled_exit(roled.exit_code);
	due = roled.exit_ms != 0 ? roled.exit_ms : INT64_MAX;
	if (roled.running) {
		int64_t netd_next = ipc_watch_netd(now); /* first: the machine may hear of it */
		int64_t links_next = links_tick(&roled.links, now);

		int64_t admin_next = admin_next_ms(now);

		due = netd_next < due ? netd_next : due;
		due = admin_next < due ? admin_next : due;
		due = links_next < due ? links_next : due;
		due = roled.machine_next_ms < due ? roled.machine_next_ms : due;
		due = roled.second_ms != 0 && roled.second_ms < due ? roled.second_ms : due;
	}
	arm(due);
}

/* Wake up then, if not before. */
static void
arm(int64_t due)
{
	int64_t now;

	if (due == roled.due_ms)
		return;
	roled.due_ms = due;
	if (due == INT64_MAX) {
		uv_timer_stop(&roled.timer);
		return;
	}
	now = now_ms();
	uv_update_time(&roled.loop); /* libuv counts from the start of the turn */
	uv_timer_start(&roled.timer, on_timer, due > now ? (uint64_t)(due - now) : 0, 0);
}

void
roled_wake_at(int64_t due_ms)
{
	if (due_ms < roled.due_ms)
		arm(due_ms);
}

/* ---- warm-up */

static void
open_loop(void)
{
	loop_open(&roled.loop);
	loop_reserve(&roled.loop);
	roled.due_ms = INT64_MAX;
	roled.machine_next_ms = INT64_MAX;
	uv_timer_init(&roled.loop, &roled.timer);
	uv_idle_init(&roled.loop, &roled.idle);
	uv_check_init(&roled.loop, &roled.check);
	uv_check_start(&roled.check, on_turn);
}

/* What earlier runs left. An unusable file is told when the config is refused because of it. */
static void
open_state(void)
{
	uint8_t content[STORE_CONTENT];
	size_t len;

	switch (store_open(&roled.store, FD_STATE, content, &len)) {
	case STORE_OK:
		if (persisted_decode(content, len, &roled.persisted) == 0)
			break;
		log_error(
		    "role.state: written by another version of this program; move it away only "
		    "if this server may start as one that never ran");
		roled.unusable = 1;
		break;
	case STORE_FRESH:
		machine_persisted_blank(&roled.persisted);
		break;
	case STORE_CORRUPT:
		log_error(
		    "role.state: both slots are damaged, so the epoch of this server is unknown; "
		    "move the file away only if this server may start as one that never ran");
		roled.unusable = 1;
		break;
	case STORE_IO:
		log_error("role.state: cannot be read: %s", strerror(errno));
		roled.unusable = 1;
		break;
	}
	if (ledger_open(&roled.ledger, FD_LEDGER) != STORE_OK) {
		log_error("ledger: cannot be read or grown: %s", strerror(errno));
		roled.unusable = 1;
	}
}
