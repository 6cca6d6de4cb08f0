/* SPDX-License-Identifier: ISC */
/*
 * The simulator: sim [--seed N] [--seeds FIRST COUNT] [--trace] [--mode references|manual|voters]
 * [--rules]. Without options: the seeds of "make check". A failed seed is printed with the command
 * that tells its story.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int only_mode = -1;

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
	c->observe = w.observing;
	c->hook_failure[HOOK_MAIN] = w.fast ? HOOK_FAIL_UNDO : HOOK_FAIL_ALARM;
	c->hook_failure[HOOK_STANDBY] = (uint8_t)(w.n % 2 ? HOOK_FAIL_UNDO : HOOK_FAIL_ALARM);
	if (w.fast)
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
		    : rnd_chance(60)				     ? KIND_PERMANENT
								     : KIND_DMZ;
	if (w.mode == ARB_VOTERS && w.n > 3)
		w.kind[w.n - 1] = rnd_chance(50) ? KIND_DMZ : KIND_PERMANENT;
	w.n_refs = w.mode == ARB_REFERENCES ? 1 + (unsigned)(rnd() % REFS) : (unsigned)(rnd() % 2);
	w.n_paths = 1 + (unsigned)(rnd() % 2);
	w.delay_us = w.fast ? 100 : 300;
	w.quiet_run = rnd_chance(5) != 0;
	w.observing = rnd_chance(4) != 0;
	w.calm_us = w.fast ? 25 * SEC : 240 * SEC;
	w.end_us = w.calm_us + (w.fast ? 40 * SEC : 110 * SEC);
}

static void
build(uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	rnd_seed(seed);
	events_clear();
	choose_group(seed);
	for (unsigned i = 0; i < w.n; i++) {
		struct server *s = &w.server[i];

		s->offset_ms = rnd_between(1000, 100000000);
		s->ppm = rnd_between(-9000, 9000);
		machine_persisted_blank(&s->disk);
		world_config(i, &s->config);
		event_at(rnd_between(0, s->config.icmp_interval_ms) * MS, EV_PING, i);
		event_at(rnd_between(0, 2000) * MS, EV_LIFE, i)->what = LIFE_HOST;
	}
	event_at(w.fast ? 5 * SEC : 30 * SEC, EV_FAULT, 0);
}

/* ---- one run */

static void
dispatch(struct event *e)
{
	switch (e->kind) {
	case EV_TICK:
	case EV_RESULT:
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

/* Whether the event is for a process that is frozen, and waits in its queue. */
static int
must_wait(const struct event *e)
{
	static const uint8_t waits[EV_MAX] = {[EV_TICK] = 1, [EV_RECORD] = 1, [EV_LINK] = 1,
	    [EV_FIN] = 1, [EV_DIAL] = 1, [EV_SYN] = 1, [EV_SHAKE] = 1, [EV_RESULT] = 1};

	return waits[e->kind] && w.server[e->a].frozen;
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

static int
run(uint64_t seed)
{
	int64_t look_us = 10 * SEC;
	int healed = 0, begun = 0;
	struct event *e;

	build(seed);
	note("seed %llu: %u servers, %u paths, %s, %u references%s%s%s", (unsigned long long)seed,
	    w.n, w.n_paths, arbitration_name(w.mode), w.n_refs, w.fast ? ", fast" : "",
	    w.observing ? ", observing" : "", w.quiet_run ? ", quiet" : "");
	while (w.failure[0] == '\0' && (e = event_next()) != NULL && e->at_us < w.end_us) {
		w.now_us = e->at_us;
		if (!begun && e->kind == EV_FAULT) {
			begun = 1;
			check_beginning();
		}
		if (!healed && w.now_us >= w.calm_us) {
			struct event copy = *e;

			healed = 1;
			heal_all();
			e = &copy;
			dispatch(e);
			continue;
		}
		if (w.now_us >= look_us) {
			struct event copy = *e;

			look_us = w.now_us + rnd_between(5, 20) * SEC;
			if (!healed)
				operator_look();
			watchdogs();
			if (must_wait(&copy))
				event_again(&copy, 20 * MS);
			else
				dispatch(&copy);
			continue;
		}
		watchdogs();
		if (must_wait(e))
			event_again(e, 20 * MS);
		else
			dispatch(e);
	}
	if (w.failure[0] == '\0')
		check_end();
	if (w.failure[0] == '\0' && w.quiet_run && !w.observing && w.n_promotions != 1)
		fail("nothing went wrong, and there were %u promotions", w.n_promotions);
	if (w.failure[0] == '\0')
		return 0;
	printf("seed %llu: at %.3f s: %s\n", (unsigned long long)seed, (double)w.now_us / 1e6,
	    w.failure);
	return -1;
}

/* ---- options */

static void
print_rules(const uint32_t *reached)
{
	for (unsigned i = 1; i < RULE_MAX; i++)
		if (strcmp(rule_name(i), "unknown") != 0)
			printf("%9u %s\n", reached[i], rule_name(i));
}

static int
parse_mode(const char *name)
{
	for (int i = 0; i < ARB_MODE_MAX; i++)
		if (strcmp(arbitration_name((unsigned)i), name) == 0)
			return i;
	return -1;
}

int
main(int argc, char **argv)
{
	static uint32_t reached[RULE_MAX];
	uint64_t first = 1, count = 300, failed = 0;
	int rules = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			first = strtoull(argv[++i], NULL, 10);
			count = 1;
		} else if (strcmp(argv[i], "--seeds") == 0 && i + 2 < argc) {
			first = strtoull(argv[++i], NULL, 10);
			count = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--mode") == 0 && i + 1 < argc) {
			only_mode = parse_mode(argv[++i]);
		} else if (strcmp(argv[i], "--trace") == 0) {
			trace = 1;
		} else if (strcmp(argv[i], "--rules") == 0) {
			rules = 1;
		} else {
			fprintf(stderr, "usage: sim [--seed N | --seeds FIRST COUNT] [--trace] "
					"[--mode references|manual|voters] [--rules]\n");
			return 2;
		}
	}
	for (uint64_t seed = first; seed < first + count; seed++) {
		if (run(seed) != 0) {
			failed++;
			printf("  tests/sim/sim --seed %llu --trace\n", (unsigned long long)seed);
		}
		for (unsigned i = 0; i < RULE_MAX; i++)
			reached[i] += w.reached[i];
		if (failed >= 10)
			break;
	}
	if (rules)
		print_rules(reached);
	printf("%llu seeds, %llu failed\n", (unsigned long long)count, (unsigned long long)failed);
	return failed != 0;
}
