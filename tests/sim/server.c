/* SPDX-License-Identifier: ISC */
/*
 * One server around its role machine: clock, supervisor, netd, icmpd, roled, hooks, state file.
 * Does with the outputs what roled does with them.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

static struct machine_outputs out;

/* The clock of server i: an offset and a rate of its own, as CLOCK_BOOTTIME. */
int64_t
server_ms(unsigned i)
{
	const struct server *s = &w.server[i];

	return s->offset_ms + (w.now_us + w.now_us * s->ppm / 1000000) / 1000;
}

int
server_runs(unsigned i)
{
	const struct server *s = &w.server[i];

	return s->host && s->guard && s->roled && !s->frozen;
}

static void
set_acting(unsigned i, int acting)
{
	struct server *s = &w.server[i];

	if (s->acting == acting)
		return;
	s->acting = (uint8_t)acting;
	s->acting_us = w.now_us;
	note("%u %s main", i, acting ? "ACTS as" : "no longer acts as");
}

/* ---- outputs */

static void
become(unsigned i, const struct machine_output *o)
{
	struct server *s = &w.server[i];
	struct event *e;

	note("%u becomes %s, epoch %llu: %s (%d)", i, role_name(o->u.become.role),
	    (unsigned long long)o->u.become.epoch, rule_name(o->u.become.rule), o->u.become.peer);
	w.n_becomes++;
	if (w.n_changes < CHANGES)
		w.change[w.n_changes++] =
		    (struct change){(uint8_t)i, o->u.become.role, o->u.become.rule, w.now_us};
	if (o->u.become.role == ROLE_MAIN)
		check_promotion(
		    i, o->u.become.epoch, (enum rule)o->u.become.rule, o->u.become.peer);
	set_acting(i, o->u.become.role == ROLE_MAIN);
	if (s->hook_hangs)
		return;
	e = event_at(w.now_us + rnd_between(2, 60) * MS, EV_RESULT, i);
	e->value = o->u.become.event;
	e->what = s->hook_fails ? RESULT_EXIT : RESULT_OK;
	e->gen = (uint32_t)s->machine.boot_id;
}

static void
run_hook_only(unsigned i, const struct machine_output *o)
{
	struct event *e = event_at(w.now_us + rnd_between(2, 60) * MS, EV_RESULT, i);

	e->value = o->u.become.event;
	e->what = RESULT_OK;
	e->gen = (uint32_t)w.server[i].machine.boot_id;
}

static void
send_records(unsigned i, const struct machine_output *o)
{
	struct server *s = &w.server[i];
	struct status_record r;

	for (unsigned k = 0; k < w.n; k++) {
		if ((o->u.send.mask & 1U << k) == 0 || k == i)
			continue;
		machine_record(&s->machine, server_ms(i), (uint8_t)k,
		    (enum record_kind)o->u.send.kind, o->u.send.successor,
		    (enum rule)o->u.send.reason, &r);
		if (r.kind != RECORD_STATUS)
			note("%u sends %s to %u", i, record_kind_name(r.kind), k);
		if (machine_record_check(&r) == -1)
			fail("server %u made a record that it would refuse", i);
		if (r.grant_epoch != 0 && s->disk.voted_epoch < r.grant_epoch)
			fail("%u votes in epoch %llu before that is on disk", i,
			    (unsigned long long)r.grant_epoch);
		net_send(i, k, &r);
	}
}

static void
ledger(unsigned i, const struct ledger_entry *e)
{
	w.reached[e->rule]++;
	if (trace)
		note("%u %s: %s (%d) %s/%s refs %u/%u margin %lld", i,
		    e->kind == LEDGER_DECISION	    ? "DECIDES"
		    : e->kind == LEDGER_NO_DECISION ? "waits"
						    : "sees",
		    rule_name(e->rule), e->peer, role_name(e->role), condition_name(e->condition),
		    e->refs_seen, e->refs_total,
		    e->margin_ms == MACHINE_NEVER ? -1LL : (long long)e->margin_ms);
	if (e->rule == RULE_TWO_MAINS && e->peer < w.n && !w.server[e->peer].acting &&
	    w.now_us - w.server[e->peer].acting_us > SEC && w.scripted)
		fail("%u believes an old record of %u", i, e->peer);
	if (rule_name(e->rule)[0] == 'u')
		fail("server %u wrote a reason without a name: %u", i, e->rule);
}

static void
reply(unsigned i, const struct machine_output *o)
{
	w.reached[o->u.reply.rule]++;
	note("%u answers the operator: %u %s (%d)", i, o->u.reply.result,
	    rule_name(o->u.reply.rule), o->u.reply.peer);
}

static void
run_outputs(unsigned i)
{
	struct server *s = &w.server[i];

	for (unsigned k = 0; k < out.n; k++) {
		const struct machine_output *o = &out.out[k];

		switch (o->kind) {
		case OUT_PERSIST:
			machine_persisted_now(&s->machine, server_ms(i), &s->disk);
			check_persist(i);
			break;
		case OUT_BECOME:
			become(i, o);
			break;
		case OUT_HOOK:
			run_hook_only(i, o);
			break;
		case OUT_SEND:
			send_records(i, o);
			break;
		case OUT_DRAIN: /* the data here is always with the target after a while */
			event_at(w.now_us + 5 * MS, EV_DRAINED, i)->gen =
			    (uint32_t)s->machine.boot_id;
			break;
		case OUT_REDIAL:
			net_close_out(i, o->u.redial.partner, 1);
			break;
		case OUT_LEDGER:
			ledger(i, &o->u.ledger);
			break;
		case OUT_REPLY:
			reply(i, o);
			break;
		case OUT_STOPPED:
			note("%u stopped, handed over %u", i, o->u.stopped.handed_over);
			event_at(w.now_us + 30 * MS, EV_LIFE, i)->what = LIFE_STOPPED;
			break;
		default:
			break;
		}
	}
	if (out.dropped != 0)
		fail("server %u had more outputs than fit", i);
}

static void
wake(unsigned i, int64_t at_ms)
{
	struct server *s = &w.server[i];
	int64_t in_us = (at_ms - server_ms(i)) * MS;
	struct event *e;

	if (in_us > 3600 * SEC)
		in_us = 3600 * SEC;
	e = event_at(w.now_us + in_us + rnd_between(50, 900), EV_TICK, i);
	e->gen = ++s->tick_gen;
}

/* One input, and what comes of it. Nothing happens when the machine does not run. */
void
server_input(unsigned i, struct machine_input *in)
{
	struct server *s = &w.server[i];

	if (!server_runs(i) || w.failure[0] != '\0')
		return;
	in->now_ms = server_ms(i);
	machine_step(&s->machine, in, &out);
	if (out.next_ms <= in->now_ms)
		fail("server %u wants to be woken in the past", i);
	wake(i, out.next_ms);
	run_outputs(i);
	check_all();
}

/* ---- life */

/* What syncd says: in step with all others, or nothing at all. */
void
server_store_tell(unsigned i)
{
	struct server *s = &w.server[i];
	struct machine_input in = {.kind = IN_POSITION};

	if (!w.with_data)
		return;
	if (s->store == STORE_LOST)
		in.u.position.blank = 1;
	else
		in.u.position.epoch = in.u.position.index = in.u.position.in_sync = 1;
	server_input(i, &in);
}

void
server_store_shut(unsigned i, int64_t for_us)
{
	struct machine_input in = {.kind = IN_LOCAL};

	in.u.local.process = PROC_SYNCD;
	server_input(i, &in);
	event_at(w.now_us + for_us, EV_LIFE, i)->what = LIFE_STORE;
}

void
server_roled_start(unsigned i)
{
	struct server *s = &w.server[i];
	struct machine_input in = {.kind = IN_TICK};

	s->roled = 1;
	s->upset_us = w.now_us;
	world_config(i, &s->config);
	machine_init(&s->machine, &s->config, &s->disk, rnd() | 1, s->instance, server_ms(i));
	if (w.stale == i + 1) {
		struct machine_input p = {.kind = IN_POSITION};

		server_input(i, &in);
		p.u.position.epoch = s->disk.epoch;
		p.u.position.stale = 1;
		server_input(i, &p);
	}
	server_input(i, &in);
	if (s->store_us != 0)
		event_at(w.now_us + s->store_us, EV_LIFE, i)->what = LIFE_STORE;
	else
		server_store_tell(i);
	if (!s->netd)
		server_local(i, PROC_NETD, 0);
	if (!s->icmpd)
		server_local(i, PROC_ICMPD, 0);
	net_dial_all(i);
}

void
server_guard_start(unsigned i)
{
	struct server *s = &w.server[i];

	if (s->guard || !s->host)
		return;
	note("%u guard starts", i);
	s->guard = s->netd = s->icmpd = 1;
	s->instance = rnd() | 1;
	server_roled_start(i);
}

void
server_power(unsigned i)
{
	w.server[i].host = 1;
	server_guard_start(i);
}

void
server_guard_kill(unsigned i)
{
	struct server *s = &w.server[i];

	if (!s->guard)
		return;
	s->upset_us = w.now_us;
	s->guard = s->roled = s->netd = s->icmpd = s->frozen = 0;
	set_acting(i, 0);
	net_close_all(i, 1);
}

void
server_host_crash(unsigned i)
{
	struct server *s = &w.server[i];

	note("%u host crashes", i);
	s->upset_us = w.now_us;
	s->host = s->guard = s->roled = s->netd = s->icmpd = s->frozen = 0;
	set_acting(i, 0);
	net_close_all(i, 0);
}

/* The supervisor is killed: nothing is acted on any more, roled and netd live a little longer. */
void
server_orphan(unsigned i)
{
	struct machine_input in = {.kind = IN_ORPHANED};

	note("%u supervisor is killed", i);
	set_acting(i, 0);
	w.server[i].upset_us = w.now_us;
	server_input(i, &in);
}

/* roled alone dies: its service works on, its links end. */
void
server_roled_kill(unsigned i)
{
	struct server *s = &w.server[i];

	if (!s->roled)
		return;
	s->roled = 0;
	s->upset_us = w.now_us;
	net_close_all(i, 1);
}

/* netd or icmpd of server i goes or comes. */
void
server_local(unsigned i, enum process p, int up)
{
	struct server *s = &w.server[i];
	struct machine_input in = {.kind = IN_LOCAL};

	s->upset_us = w.now_us;
	if (p == PROC_NETD) {
		s->netd = (uint8_t)up;
		if (!up)
			net_close_all(i, 1);
	} else {
		s->icmpd = (uint8_t)up;
	}
	in.u.local.process = (uint8_t)p;
	in.u.local.up = (uint8_t)up;
	server_input(i, &in);
	if (p == PROC_NETD && up && server_runs(i))
		net_dial_all(i);
}

void
server_freeze(unsigned i, int how)
{
	struct server *s = &w.server[i];

	if (!server_runs(i))
		return;
	note("%u is frozen (%s)", i, how == 1 ? "guard" : "host");
	s->frozen = (uint8_t)how;
	s->upset_us = w.now_us;
}

void
server_thaw(unsigned i)
{
	struct server *s = &w.server[i];

	if (!s->frozen)
		return;
	note("%u is thawed", i);
	s->frozen = 0;
	s->upset_us = w.now_us;
	s->drain_us = queue_us(w.now_us);
}

void
server_admin(unsigned i, enum admin_command c, uint8_t server, int64_t ms)
{
	struct machine_input in = {.kind = IN_ADMIN};

	in.u.admin.id = 1 + rnd() % 1000;
	in.u.admin.command = (uint8_t)c;
	in.u.admin.server = server;
	in.u.admin.ms = ms;
	snprintf(in.u.admin.owner, sizeof(in.u.admin.owner), "operator");
	snprintf(in.u.admin.reason, sizeof(in.u.admin.reason), "maintenance");
	server_input(i, &in);
}

/*
 * The watchdog of mode voters: kicked only while now + 2W <= D, so a main that cannot run is reset
 * before its lease ends.
 */
static void
watchdog(unsigned i)
{
	struct server *s = &w.server[i];

	if (w.mode != ARB_VOTERS || !s->acting || server_runs(i) || !s->host)
		return;
	if (server_ms(i) >= s->machine.lease_until_ms - s->config.watchdog_ms) {
		note("%u is reset by its watchdog", i);
		server_host_crash(i);
		event_at(w.now_us + 20 * SEC, EV_LIFE, i)->what = LIFE_HOST;
	}
}

void
watchdogs(void)
{
	for (unsigned i = 0; i < w.n; i++)
		watchdog(i);
}

/* Events of one server. */
void
server_event(struct event *e)
{
	struct server *s = &w.server[e->a];
	struct machine_input in = {.kind = IN_TICK};

	if (e->kind == EV_TICK && e->gen == s->tick_gen)
		server_input(e->a, &in);
	if (e->kind == EV_DRAINED && e->gen == (uint32_t)s->machine.boot_id) {
		in.kind = IN_DRAINED;
		server_input(e->a, &in);
	}
	if (e->kind == EV_RESULT && e->gen == (uint32_t)s->machine.boot_id) {
		in.kind = IN_ACTION_RESULT;
		in.u.result.event = e->value;
		in.u.result.result = e->what;
		server_input(e->a, &in);
	}
}
