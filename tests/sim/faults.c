/* SPDX-License-Identifier: ISC */
/*
 * What goes wrong, and when it is right again. Each fault is a function that looks for a victim and
 * plans its own end; faults overlap.
 */
#include "sim.h"

#include <string.h>

enum heal { HEAL_CUT, HEAL_REFS, HEAL_ICMP, HEAL_PORT, HEAL_LOSS, HEAL_DELAY, HEAL_ALL_REFS };

/* A time between faults, or of one: shorter when the group has short intervals. */
static int64_t
span(int64_t low_ms, int64_t high_ms)
{
	return rnd_between(low_ms, high_ms) * MS / (w.fast ? 6 : 1);
}

static unsigned
any_server(void)
{
	return (unsigned)(rnd() % w.n);
}

/* Main more often than others: faults of main are what this is about. */
static unsigned
some_server(void)
{
	for (unsigned i = 0; i < w.n && rnd_chance(60); i++)
		if (w.server[i].acting)
			return i;
	return any_server();
}

static unsigned
other_server(unsigned a)
{
	unsigned b = (unsigned)(rnd() % (w.n - 1));

	return b >= a ? b + 1 : b;
}

static void
later(unsigned a, enum life what, int64_t in_us)
{
	event_at(w.now_us + in_us, EV_LIFE, a)->what = (uint8_t)what;
}

static void
heal_later(enum heal what, unsigned a, unsigned b, int64_t in_us)
{
	struct event *e = event_at(w.now_us + in_us, EV_HEAL, a);

	e->what = (uint8_t)what;
	e->b = (uint8_t)b;
}

/* ---- servers */

static void
fault_crash(void)
{
	unsigned a = some_server();

	server_host_crash(a);
	later(a, LIFE_HOST, span(4000, 40000));
}

static void
fault_crash_all(void)
{
	for (unsigned a = 0; a < w.n; a++) {
		server_host_crash(a);
		later(a, LIFE_HOST, span(5000, 9000));
	}
}

static void
fault_kill(void)
{
	unsigned a = some_server();

	note("%u guard is killed", a);
	server_guard_kill(a);
	later(a, LIFE_GUARD, span(1000, 30000));
	w.fin_us = w.now_us;
}

static void
fault_orphan(void)
{
	unsigned a = some_server();

	server_orphan(a);
	later(a, LIFE_DEAD, 30 * MS);
	later(a, LIFE_GUARD, span(2000, 30000));
	w.fin_us = w.now_us;
}

static void
fault_freeze(void)
{
	unsigned a = some_server();

	server_freeze(a, 1 + (int)(rnd() % 2));
	later(a, LIFE_THAW, rnd_chance(50) ? span(20, 2000) : span(2000, 25000));
}

static void
fault_roled(void)
{
	unsigned a = some_server();

	note("%u roled is killed", a);
	server_roled_kill(a);
	later(a, LIFE_ROLED, span(50, 2000));
	w.fin_us = w.now_us;
}

static void
fault_netd(void)
{
	unsigned a = some_server();

	if (!w.server[a].netd)
		return;
	note("%u netd is killed", a);
	server_local(a, PROC_NETD, 0);
	later(a, LIFE_NETD, span(50, 1500));
	w.fin_us = w.now_us;
}

static void
fault_icmpd(void)
{
	unsigned a = some_server();

	if (!w.server[a].icmpd)
		return;
	note("%u icmpd is killed", a);
	server_local(a, PROC_ICMPD, 0);
	later(a, LIFE_ICMPD, span(50, 1500));
}

static void
fault_store(void)
{
	unsigned a = some_server();

	note("%u syncd is killed", a);
	w.server[a].store_us = rnd_chance(30) ? span(10, 3000) : 0; /* at later starts */
	server_store_shut(a, span(50, 5000));
}

/* Main keeps its role without data: its standby lost nothing, and an operator decides. */
static void
fault_data_lost(void)
{
	unsigned a = any_server();

	note("%u has lost its data", a);
	w.server[a].store = STORE_LOST;
	server_store_shut(a, span(50, 500));
	later(a, LIFE_FILLED, span(1000, 20000));
	if (rnd_chance(50)) {
		server_host_crash(a);
		later(a, LIFE_HOST, span(100, 5000));
	}
}

static void
set_checks(unsigned a, int healthy)
{
	struct machine_input in = {.kind = IN_CHECK};

	in.u.check.healthy = (uint8_t)healthy;
	server_input(a, &in);
}

static void
fault_sick(void)
{
	unsigned a = some_server();

	note("%u has a failing check", a);
	set_checks(a, 0);
	later(a, LIFE_HEALTHY, span(3000, 30000));
}

static void
fault_hook(void)
{
	unsigned a = any_server();

	note("%u has a broken hook", a);
	w.server[a].hook_fails = (uint8_t)(rnd() % 2);
	w.server[a].hook_hangs = !w.server[a].hook_fails;
	later(a, LIFE_HOOK, span(5000, 30000));
}

/* ---- network */

static void
cut(unsigned a, unsigned b, int one_way)
{
	for (unsigned p = 0; p < w.n_paths; p++) {
		w.cut[a][b][p] = 1;
		if (!one_way)
			w.cut[b][a][p] = 1;
	}
}

static void
cut_references(unsigned a)
{
	memset(w.ref_cut[a], 1, sizeof(w.ref_cut[a]));
}

static void
fault_isolate(void)
{
	unsigned a = some_server();
	int64_t us = span(200, 40000);

	note("%u is cut off from everything", a);
	for (unsigned b = 0; b < w.n; b++)
		if (b != a) {
			cut(a, b, 0);
			heal_later(HEAL_CUT, a, b, us);
		}
	cut_references(a);
	heal_later(HEAL_REFS, a, 0, us + span(0, 300));
}

static void
fault_partition(void)
{
	unsigned mask = (unsigned)rnd_between(1, (1 << w.n) - 2);
	int64_t us = span(500, 40000);
	int with_refs = rnd_chance(50);

	note("partition %x%s", mask, with_refs ? ", references on one side" : "");
	for (unsigned a = 0; a < w.n; a++)
		for (unsigned b = 0; b < w.n; b++)
			if (a != b && (mask >> a & 1) && !(mask >> b & 1)) {
				cut(a, b, 0);
				heal_later(HEAL_CUT, a, b, us);
			}
	for (unsigned a = 0; a < w.n && with_refs; a++)
		if (mask >> a & 1) {
			cut_references(a);
			heal_later(HEAL_REFS, a, 0, us);
		}
}

static void
fault_cut_pair(void)
{
	unsigned a = some_server(), b = other_server(a);
	int one_way = rnd_chance(50);

	note("%u and %u are cut%s", a, b, one_way ? " one way" : "");
	if (rnd_chance(50))
		cut(a, b, one_way);
	else
		cut(b, a, one_way);
	heal_later(HEAL_CUT, a, b, span(100, 30000));
}

static void
fault_cut_path(void)
{
	unsigned a = some_server(), b = other_server(a);

	note("%u and %u lose their main path", a, b);
	w.cut[a][b][0] = w.cut[b][a][0] = 1;
	heal_later(HEAL_CUT, a, b, span(1000, 30000));
}

static void
fault_references(void)
{
	if (rnd_chance(50)) {
		unsigned a = some_server();

		note("%u loses the references", a);
		cut_references(a);
		heal_later(HEAL_REFS, a, 0, span(1000, 30000));
		return;
	}
	note("references are down");
	for (unsigned a = 0; a < w.n; a++)
		cut_references(a);
	heal_later(HEAL_ALL_REFS, 0, 0, span(1000, 30000));
}

static void
fault_icmp(void)
{
	unsigned a = some_server(), b = other_server(a);

	note("ping from %u to %u is blocked", a, b);
	w.icmp_cut[a][b] = 1;
	if (rnd_chance(50))
		w.icmp_cut[b][a] = 1;
	heal_later(HEAL_ICMP, a, b, span(1000, 40000));
}

static void
fault_port(void)
{
	unsigned a = some_server(), b = other_server(a);
	uint8_t how = rnd_chance(50) ? BLOCK_DROP : BLOCK_REJECT;
	int both = rnd_chance(50);

	if (how == BLOCK_REJECT && w.now_us - w.fin_us < 5 * SEC)
		return;
	if (how == BLOCK_REJECT)
		w.reject_us = w.now_us;
	note("5481 from %u to %u is %s%s", a, b, how == BLOCK_DROP ? "dropped" : "rejected",
	    both ? ", both ways" : "");
	for (unsigned p = 0; p < w.n_paths; p++) {
		w.port[a][b][p] = how;
		if (both)
			w.port[b][a][p] = how;
	}
	heal_later(HEAL_PORT, a, b, span(1000, 40000));
}

static void
fault_quality(void)
{
	if (rnd_chance(50)) {
		w.loss = (unsigned)rnd_between(1, 12);
		heal_later(HEAL_LOSS, 0, 0, span(3000, 30000));
	} else {
		w.delay_us = w.fast ? 3 * MS : 60 * MS;
		heal_later(HEAL_DELAY, 0, 0, span(3000, 30000));
	}
	note("the network gets bad: loss %u %%, delay %lld us", w.loss, (long long)w.delay_us);
}

/* ---- people */

static void
fault_switchover(void)
{
	unsigned a = some_server();

	note("operator: switchover on %u", a);
	server_admin(a, ADMIN_SWITCHOVER, rnd_chance(50) ? NOBODY : (uint8_t)any_server(), 0);
}

static void
fault_pause(void)
{
	unsigned a = some_server();
	int64_t ms = span(3000, 25000) / MS;

	note("operator: pause on %u for %lld ms", a, (long long)ms);
	server_admin(a, ADMIN_PAUSE, NOBODY, ms);
	if (rnd_chance(50))
		later(a, LIFE_RESUME, ms * MS / 2);
}

static void
fault_stop(void)
{
	unsigned a = some_server();

	note("operator: stop of %u", a);
	server_admin(a, ADMIN_STOP, NOBODY, w.fast ? 3000 : 15000);
}

static void
fault_reload(void)
{
	struct machine_input in = {.kind = IN_CONFIG};
	int32_t priority = (int32_t)rnd_between(50, 150);
	unsigned which = any_server();

	note("operator: reload, priority of %u is %d", which, priority);
	for (unsigned a = 0; a < w.n; a++) {
		w.server[a].config.server[which].priority = priority;
		in.u.config = w.server[a].config;
		server_input(a, &in);
	}
}

/*
 * The operator, when nothing goes by itself: looks whether anybody acts as main, and if not, and
 * the server that is not there is really dead, confirms it to a server that is.
 */
void
operator_look(void)
{
	uint8_t dead = NOBODY;

	for (uint8_t i = 0; i < w.n; i++) {
		if (w.server[i].acting)
			return;
		if (w.kind[i] == KIND_STANDARD && !w.server[i].guard)
			dead = i;
		/* one that may become main by itself when it is started is not for dead */
		if (!w.server[i].guard && w.server[i].disk.last_main && w.server[i].disk.clean)
			return;
	}
	for (uint8_t i = 0; i < w.n && dead != NOBODY && rnd_chance(40); i++)
		if (w.kind[i] == KIND_STANDARD && server_runs(i) &&
		    w.server[i].machine.handover == HANDOVER_NONE) {
			/* nobody else may be on the way to the role */
			for (uint8_t k = 0; k < w.n; k++)
				if (k != i && w.server[k].guard && !path_open(i, k, 0))
					return;
			note("operator: promote %u, %u is dead", i, dead);
			server_admin(i, ADMIN_PROMOTE, dead, 0);
			return;
		}
}

/* ---- what happens when */

void
fault_event(void)
{
	static void (*const faults[])(void) = {fault_crash, fault_kill, fault_orphan, fault_freeze,
	    fault_freeze, fault_roled, fault_netd, fault_icmpd, fault_isolate, fault_isolate,
	    fault_partition, fault_partition, fault_cut_pair, fault_cut_path, fault_references,
	    fault_icmp, fault_port, fault_port, fault_quality, fault_switchover, fault_switchover,
	    fault_pause, fault_stop, fault_stop, fault_sick, fault_hook, fault_reload,
	    fault_crash_all, fault_crash, fault_kill, fault_store, fault_data_lost};

	if (w.now_us >= w.calm_us || w.quiet_run)
		return;
	w.n_faults++;
	faults[rnd() % (sizeof(faults) / sizeof(faults[0]))]();
	event_at(w.now_us + span(1500, rnd_chance(30) ? 4000 : 30000), EV_FAULT, 0);
}

/* Something comes back to life, or ends as planned. */
void
life_event(struct event *e)
{
	struct server *s = &w.server[e->a];

	switch (e->what) {
	case LIFE_HOST:
		server_power(e->a);
		break;
	case LIFE_GUARD:
		server_guard_start(e->a);
		break;
	case LIFE_ROLED:
		if (s->guard && s->host && !s->roled)
			server_roled_start(e->a);
		break;
	case LIFE_NETD:
		if (s->guard && s->host && !s->netd)
			server_local(e->a, PROC_NETD, 1);
		break;
	case LIFE_ICMPD:
		if (s->guard && s->host && !s->icmpd)
			server_local(e->a, PROC_ICMPD, 1);
		break;
	case LIFE_THAW:
		server_thaw(e->a);
		break;
	case LIFE_HEALTHY:
		set_checks(e->a, 1);
		break;
	case LIFE_HOOK:
		s->hook_fails = s->hook_hangs = 0;
		break;
	case LIFE_STOPPED:
		server_guard_kill(e->a);
		later(e->a, LIFE_GUARD, span(1000, 30000));
		w.fin_us = w.now_us;
		break;
	case LIFE_DEAD:
		server_guard_kill(e->a);
		break;
	case LIFE_RESUME:
		server_admin(e->a, ADMIN_RESUME, NOBODY, 0);
		break;
	case LIFE_FILLED:
		s->store = STORE_FULL;
		server_store_tell(e->a);
		break;
	case LIFE_STORE:
		server_store_tell(e->a);
		break;
	default:
		break;
	}
}

void
heal_event(struct event *e)
{
	unsigned a = e->a, b = e->b;

	note("healed: %u (%u %u)", e->what, a, b);
	switch (e->what) {
	case HEAL_CUT:
		memset(w.cut[a][b], 0, sizeof(w.cut[a][b]));
		memset(w.cut[b][a], 0, sizeof(w.cut[b][a]));
		break;
	case HEAL_REFS:
		memset(w.ref_cut[a], 0, sizeof(w.ref_cut[a]));
		break;
	case HEAL_ALL_REFS:
		memset(w.ref_cut, 0, sizeof(w.ref_cut));
		break;
	case HEAL_ICMP:
		w.icmp_cut[a][b] = w.icmp_cut[b][a] = 0;
		break;
	case HEAL_PORT:
		memset(w.port[a][b], 0, sizeof(w.port[a][b]));
		memset(w.port[b][a], 0, sizeof(w.port[b][a]));
		break;
	case HEAL_LOSS:
		w.loss = 0;
		break;
	default:
		w.delay_us = w.fast ? 100 : 300;
		break;
	}
}

/* The end of all faults. */
void
heal_all(void)
{
	note("everything is healed");
	memset(w.cut, 0, sizeof(w.cut));
	memset(w.ref_cut, 0, sizeof(w.ref_cut));
	memset(w.icmp_cut, 0, sizeof(w.icmp_cut));
	memset(w.port, 0, sizeof(w.port));
	w.loss = 0;
	w.delay_us = w.fast ? 100 : 300;
	for (unsigned a = 0; a < w.n; a++) {
		server_thaw(a);
		w.server[a].store = STORE_FULL;
		w.server[a].store_us = 0;
		server_store_tell(a);
		w.server[a].hook_fails = w.server[a].hook_hangs = 0;
		if (w.server[a].guard && !w.server[a].roled)
			server_roled_start(a);
		if (w.server[a].guard && !w.server[a].netd)
			server_local(a, PROC_NETD, 1);
		if (w.server[a].guard && !w.server[a].icmpd)
			server_local(a, PROC_ICMPD, 1);
		set_checks(a, 1);
		server_power(a);
	}
}
