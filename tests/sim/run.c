/* SPDX-License-Identifier: ISC */
/*
 * One group and one run of it.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

int only_mode = -1;

/* ---- a group for a seed */

static void
slow_timings(struct machine_config *c)
{
	c->status_interval_ms = 500;
	c->status_misses = 4;
	c->icmp_interval_ms = 1000;
	c->icmp_misses = 3;
	c->restart_grace_ms = 6000;
	c->hold_ms = 6000;
	c->step_down_ms = 4000;
	c->confirm_ms = 5000;
	c->join_ms = 5000;
	c->handover_timeout_ms = 3000;
	c->flap_window_ms = 60000;
	c->flap_hold_max_ms = 24000;
	c->lease_ms = 12000;
	c->renew_ms = 2000;
	c->watchdog_ms = 3000;
	c->stop_ms = 1000;
}

static void
fast_timings(struct machine_config *c)
{
	c->status_interval_ms = 20;
	c->status_misses = 3;
	c->icmp_interval_ms = 20;
	c->icmp_misses = 3;
	c->restart_grace_ms = 1000;
	c->hold_ms = 100;
	c->step_down_ms = 60;
	c->confirm_ms = 1000;
	c->join_ms = 500;
	c->handover_timeout_ms = 500;
	c->flap_window_ms = 10000;
	c->flap_hold_max_ms = 3000;
	c->lease_ms = 1000;
	c->renew_ms = 100;
	c->watchdog_ms = 200;
	c->stop_ms = 50;
}

/* The shortest that the config takes, as in tests/bench. */
static void
shortest_timings(struct machine_config *c)
{
	fast_timings(c);
	c->status_interval_ms = c->icmp_interval_ms = 10;
	c->hold_ms = 30;
	c->step_down_ms = 20;
	c->confirm_ms = 60;
}

/* Configuration of server i; priorities of a reload are kept. */
void
world_config(unsigned i, struct machine_config *c)
{
	struct machine_config old = *c;

	memset(c, 0, sizeof(*c));
	c->self = (uint8_t)i;
	c->n_servers = (uint8_t)w.n;
	c->n_references = (uint8_t)w.n_refs;
	c->n_checks = 1;
	c->mode = w.mode;
	c->observe = w.observing >> i & 1;
	c->hook_failure[HOOK_MAIN] = w.fast ? HOOK_FAIL_UNDO : HOOK_FAIL_ALARM;
	c->hook_failure[HOOK_STANDBY] = (uint8_t)(w.n % 2 ? HOOK_FAIL_UNDO : HOOK_FAIL_ALARM);
	if (w.fast == 2)
		shortest_timings(c);
	else if (w.fast)
		fast_timings(c);
	else
		slow_timings(c);
	for (unsigned k = 0; k < w.n; k++) {
		c->server[k].id = 1000 + k;
		c->server[k].kind = w.kind[k];
		c->server[k].n_paths = (uint8_t)w.n_paths;
		c->server[k].priority = old.n_servers ? old.server[k].priority : 100;
		c->server[k].name_rank = (uint8_t)k;
	}
}

static void
choose_group(uint64_t seed)
{
	w.mode = only_mode >= 0 ? (uint8_t)only_mode : (uint8_t)(seed % 3);
	w.fast = rnd_chance(15) != 0;
	w.n = w.mode == ARB_VOTERS ? 3 + (unsigned)(rnd() % 3) : rnd_chance(60) ? 2 : 3 + rnd() % 2;
	for (unsigned i = 2; i < w.n; i++)
		w.kind[i] = w.mode == ARB_VOTERS || rnd_chance(50) ? KIND_STANDARD
			    : rnd_chance(60)			   ? KIND_PERMANENT
								   : KIND_DMZ;
	if (w.mode == ARB_VOTERS && w.n > 3)
		w.kind[w.n - 1] = rnd_chance(50) ? KIND_DMZ : KIND_PERMANENT;
	w.n_refs = w.mode == ARB_REFERENCES ? 1 + (unsigned)(rnd() % REFS) : (unsigned)(rnd() % 2);
	w.n_paths = 1 + (unsigned)(rnd() % 2);
	w.delay_us = w.fast ? 100 : 300;
	w.quiet_run = rnd_chance(5) != 0;
	w.with_data = rnd_chance(50) != 0;
	w.observing = rnd_chance(4) ? (1 << SERVERS) - 1 : 0;
	w.calm_us = w.fast ? 25 * SEC : 240 * SEC;
	w.end_us = w.calm_us + (w.fast ? 40 * SEC : 110 * SEC);
}

/* Servers that never ran, with clocks of their own, all powered on within two seconds. */
void
group_begin(uint64_t seed, void (*choose)(uint64_t seed))
{
	memset(&w, 0, sizeof(w));
	rnd_seed(seed);
	events_clear();
	choose(seed);
	for (unsigned i = 0; i < w.n; i++) {
		struct server *s = &w.server[i];

		s->offset_ms = rnd_between(1000, 100000000);
		s->ppm = rnd_between(-9000, 9000);
		machine_persisted_blank(&s->disk);
		world_config(i, &s->config);
		event_at(rnd_between(0, s->config.icmp_interval_ms) * MS, EV_PING, i);
		event_at(rnd_between(0, 2000) * MS, EV_LIFE, i)->what = LIFE_HOST;
	}
}

/* ---- one run */

static void
dispatch(struct event *e)
{
	switch (e->kind) {
	case EV_TICK:
	case EV_RESULT:
	case EV_DRAINED:
		server_event(e);
		break;
	case EV_PING:
	case EV_PONG:
		ping_event(e);
		break;
	case EV_FAULT:
		fault_event();
		break;
	case EV_LIFE:
		life_event(e);
		break;
	case EV_HEAL:
		heal_event(e);
		break;
	default:
		net_event(e);
		break;
	}
}

int64_t
queue_us(int64_t now_us)
{
	return (now_us / (20 * MS) + 1) * 20 * MS;
}

/*
 * Whether the event is for a process that is frozen, and waits in its queue; nothing overtakes it.
 */
static int
must_wait(const struct event *e)
{
	static const uint8_t waits[EV_MAX] = {[EV_TICK] = 1,
	    [EV_RECORD] = 1,
	    [EV_LINK] = 1,
	    [EV_FIN] = 1,
	    [EV_DIAL] = 1,
	    [EV_SYN] = 1,
	    [EV_SHAKE] = 1,
	    [EV_RESULT] = 1,
	    [EV_DRAINED] = 1};

	return waits[e->kind] && (w.server[e->a].frozen || w.now_us < w.server[e->a].drain_us);
}

/* In the first half minute nothing goes wrong: one main, once. */
static void
check_beginning(void)
{
	unsigned promotions = w.n_promotions;

	if (w.observing)
		return;
	if (promotions != 1)
		fail("a fresh group made %u mains before the first fault", promotions);
}

/* Events up to a time; before() is called ahead of each. */
void
run_until(int64_t until_us, void (*before)(void))
{
	static struct event e;
	struct event *next;

	while (w.failure[0] == '\0' && (next = event_next()) != NULL) {
		e = *next;
		if (e.at_us >= until_us) {
			event_again(&e, e.at_us);
			w.now_us = until_us;
			return;
		}
		w.now_us = e.at_us;
		if (before != NULL)
			before();
		watchdogs();
		if (must_wait(&e))
			/* as roled: what waits is read before a timer is looked at */
			event_again(&e, queue_us(w.now_us) + (e.kind == EV_TICK));
		else
			dispatch(&e);
	}
}

static int64_t look_us;

/* The operator looks now and then. */
static void
look(void)
{
	if (w.now_us < look_us)
		return;
	look_us = w.now_us + rnd_between(5, 20) * SEC;
	operator_look();
}

int
run_seed(uint64_t seed)
{
	group_begin(seed, choose_group);
	look_us = 10 * SEC;
	note("seed %llu: %u servers, %u paths, %s, %u references%s%s%s", (unsigned long long)seed,
	    w.n, w.n_paths, arbitration_name(w.mode), w.n_refs, w.fast ? ", fast" : "",
	    w.observing ? ", observing" : "", w.quiet_run ? ", quiet" : "");
	run_until(w.fast ? 5 * SEC : 30 * SEC, look);
	if (w.failure[0] == '\0')
		check_beginning();
	event_at(w.now_us, EV_FAULT, 0);
	run_until(w.calm_us, look);
	if (w.failure[0] == '\0')
		heal_all();
	run_until(w.end_us, NULL);
	if (w.failure[0] == '\0')
		check_end();
	if (w.failure[0] == '\0' && w.quiet_run && !w.observing && w.n_promotions != 1)
		fail("nothing went wrong, and there were %u promotions", w.n_promotions);
	return w.failure[0] == '\0' ? 0 : -1;
}
