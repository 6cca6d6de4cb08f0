/* SPDX-License-Identifier: ISC */
/*
 * The role machine, rule by rule: each row of the evidence table, each reason of rules.def. The
 * machine is driven by hand here; tests/sim has whole groups.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "roled/machine.h"

enum { SELF = 0, PEER = 1, THIRD = 2 };

/* One server under test, and what the last step said. */
static struct {
	struct machine m;
	struct machine_config config;
	struct machine_persisted disk;
	struct machine_outputs out;
	struct machine_input in;
	int64_t now;
	uint64_t boot[MACHINE_SERVERS], seq[MACHINE_SERVERS];
	struct status_record record; /* of PEER, to be changed and sent */
} t;

static uint8_t seen[RULE_MAX];

/* ---- driving */

static void
step(void)
{
	t.in.now_ms = t.now;
	machine_step(&t.m, &t.in, &t.out);
	assert_int_equal(t.out.dropped, 0);
	assert_true(t.out.next_ms > t.now);
	seen[t.m.why] = 1;
	for (unsigned i = 0; i < t.out.n; i++) {
		const struct machine_output *o = &t.out.out[i];

		if (o->kind == OUT_LEDGER)
			seen[o->u.ledger.rule] = 1;
		if (o->kind == OUT_REPLY)
			seen[o->u.reply.rule] = 1;
		if (o->kind == OUT_ALARM)
			seen[o->u.alarm.rule] = 1;
		if (o->kind == OUT_SEND)
			seen[o->u.send.reason] = 1;
	}
	memset(&t.in, 0, sizeof(t.in));
}

static void
tick(int64_t ms)
{
	t.now += ms;
	step();
}

/* Time goes by as roled would let it: a step at each wanted moment. */
static void
pass(int64_t ms)
{
	int64_t end = t.now + ms;

	while (t.out.next_ms < end) {
		t.now = t.out.next_ms;
		step();
	}
	t.now = end;
	step();
}

static void
link_event(uint8_t who, uint8_t path, uint8_t direction, uint8_t event, uint8_t cause)
{
	t.in.kind = IN_LINK;
	t.in.u.link = (struct machine_link){who, path, direction, event, cause};
	step();
}

static void
links_up(uint8_t who)
{
	link_event(who, 0, LINK_OUT, LINK_UP, 0);
	link_event(who, 0, LINK_IN, LINK_UP, 0);
}

static void
links_lost(uint8_t who, uint8_t cause)
{
	link_event(who, 0, LINK_OUT, LINK_LOST, cause);
	link_event(who, 0, LINK_IN, LINK_LOST, cause);
}

static void
icmp(uint8_t kind, uint8_t index)
{
	t.in.kind = IN_ICMP;
	t.in.u.icmp.kind = kind;
	t.in.u.icmp.index = index;
	t.in.u.icmp.state = PROBE_OK;
	t.in.u.icmp.last_ok_ms = t.now;
	step();
}

static void
references_answer(unsigned n)
{
	for (uint8_t i = 0; i < n; i++)
		icmp(TARGET_REFERENCE, i);
}

static struct status_record
blank_record(uint8_t who)
{
	struct status_record r;

	memset(&r, 0, sizeof(r));
	r.kind = RECORD_STATUS;
	r.role = ROLE_STANDBY;
	r.condition = CONDITION_READY;
	r.flags = RECORD_HEALTHY | RECORD_IN_SYNC;
	r.priority = 100;
	r.epoch = r.epoch_seen = r.position_epoch = 4;
	r.main_age_ms = r.main_heard_age_ms = r.heard_age_ms = -1;
	r.boot_id = t.boot[who];
	memcpy(r.digest, t.config.digest, sizeof(r.digest));
	return r;
}

/* A record of a partner arrives. */
static void
hear(uint8_t who, struct status_record r)
{
	r.seq = ++t.seq[who];
	t.in.kind = IN_RECORD;
	t.in.u.status.partner = who;
	t.in.u.status.direction = LINK_OUT;
	t.in.u.status.record = r;
	step();
}

static struct status_record
main_record(uint8_t who, uint64_t epoch)
{
	struct status_record r = blank_record(who);

	r.role = ROLE_MAIN;
	r.epoch = r.epoch_seen = r.position_epoch = epoch;
	r.main_age_ms = 60000;
	r.main_id = t.config.server[who].id;
	r.main_heard_age_ms = 0;
	r.heard_age_ms = 100;
	r.flags |= RECORD_REFERENCES_KEPT;
	r.successor_id = t.config.server[SELF].id;
	return r;
}

/* A standby that follows us. */
static struct status_record
follower_record(uint8_t who)
{
	struct status_record r = blank_record(who);

	r.main_id = t.config.server[SELF].id;
	r.main_heard_age_ms = 10;
	r.heard_age_ms = 10;
	r.epoch = r.epoch_seen = r.position_epoch = t.m.persisted.epoch;
	return r;
}

static void
admin(enum admin_command command, uint8_t server, int64_t ms)
{
	t.in.kind = IN_ADMIN;
	t.in.u.admin.id = 77;
	t.in.u.admin.command = (uint8_t)command;
	t.in.u.admin.server = server;
	t.in.u.admin.ms = ms;
	strcpy(t.in.u.admin.owner, "op");
	strcpy(t.in.u.admin.reason, "test");
	step();
}

static void
result(uint64_t event, uint8_t outcome)
{
	t.in.kind = IN_ACTION_RESULT;
	t.in.u.result.event = event;
	t.in.u.result.result = outcome;
	step();
}

static void
local(enum process p, uint8_t up)
{
	t.in.kind = IN_LOCAL;
	t.in.u.local.process = (uint8_t)p;
	t.in.u.local.up = up;
	step();
}

static void
check(uint8_t healthy)
{
	t.in.kind = IN_CHECK;
	t.in.u.check.healthy = healthy;
	step();
}

static void
reconfigure(void)
{
	t.in.kind = IN_CONFIG;
	t.in.u.config = t.config;
	step();
}

/* ---- looking */

static const struct machine_output *
find(enum output_kind kind)
{
	for (unsigned i = 0; i < t.out.n; i++)
		if (t.out.out[i].kind == kind)
			return &t.out.out[i];
	return NULL;
}

static const struct machine_output *
find_send(enum record_kind kind)
{
	for (unsigned i = 0; i < t.out.n; i++)
		if (t.out.out[i].kind == OUT_SEND && t.out.out[i].u.send.kind == kind)
			return &t.out.out[i];
	return NULL;
}

static int
alarm_is(enum rule rule, int on)
{
	for (unsigned i = 0; i < t.out.n; i++)
		if (t.out.out[i].kind == OUT_ALARM && t.out.out[i].u.alarm.rule == rule &&
		    t.out.out[i].u.alarm.on == on)
			return 1;
	return 0;
}

static void
assert_becomes(enum machine_role role, enum rule rule)
{
	const struct machine_output *o = find(OUT_BECOME);

	assert_non_null(o);
	assert_string_equal(rule_name(o->u.become.rule), rule_name(rule));
	assert_int_equal(o->u.become.role, role);
	assert_int_equal(t.m.role, role);
}

static void
assert_waits(enum rule rule)
{
	assert_null(find(OUT_BECOME));
	assert_string_equal(rule_name(t.m.why), rule_name(rule));
}

static void
assert_reply(enum ctl_result result_, enum rule rule)
{
	const struct machine_output *o = find(OUT_REPLY);

	assert_non_null(o);
	assert_int_equal(o->u.reply.id, 77);
	assert_string_equal(rule_name(o->u.reply.rule), rule_name(rule));
	assert_int_equal(o->u.reply.result, result_);
}

/* ---- beginnings */

static void
make_config(uint8_t mode, uint8_t n)
{
	struct machine_config *c = &t.config;

	memset(&t, 0, sizeof(t));
	t.now = 1000000;
	c->self = SELF;
	c->n_servers = n;
	c->n_references = mode == ARB_MANUAL ? 0 : 3;
	c->n_checks = 1;
	c->mode = mode;
	for (uint8_t i = 0; i < n; i++) {
		c->server[i] = (struct machine_server){10U + i, 100, KIND_STANDARD, 1, i};
		t.boot[i] = 500 + i;
	}
	c->digest[0] = 1;
	c->status_interval_ms = 100;
	c->status_misses = 3;
	c->icmp_interval_ms = 100;
	c->icmp_misses = 3;
	c->restart_grace_ms = 2000;
	c->hold_ms = 1000;
	c->step_down_ms = 600;
	c->confirm_ms = 1500;
	c->join_ms = 500;
	c->lease_ms = 1000;
	c->renew_ms = 100;
	c->watchdog_ms = 100;
	c->stop_ms = 50;
	c->handover_timeout_ms = 400;
	c->flap_window_ms = 60000;
	c->flap_hold_max_ms = 8000;
	c->sync_bound_ms = 1000;
	machine_persisted_blank(&t.disk);
	t.disk.n_servers = n;
	for (uint8_t i = 0; i < n; i++)
		t.disk.server_id[i] = c->server[i].id;
}

static void
start(void)
{
	machine_init(&t.m, &t.config, &t.disk, 42, 7, t.now);
	tick(0);
}

/* A standby that follows PEER, which is main in epoch 4 and has answered everything until now. */
static void
begin_standby(uint8_t mode, uint8_t n)
{
	make_config(mode, n);
	start();
	assert_becomes(ROLE_STANDBY, RULE_STARTED);
	links_up(PEER);
	icmp(TARGET_PARTNER, PEER);
	references_answer(t.config.n_references);
	hear(PEER, main_record(PEER, 4));
	assert_int_equal(t.m.main, PEER);
	assert_waits(RULE_MAIN_HEALTHY);
	assert_int_equal(t.m.condition, CONDITION_READY);
}

/* A main whose standby PEER is ready. */
static void
begin_main(uint8_t mode, uint8_t n)
{
	struct status_record r;

	make_config(mode, n);
	start();
	for (uint8_t i = 1; i < n; i++) {
		links_up(i);
		icmp(TARGET_PARTNER, i);
	}
	references_answer(t.config.n_references);
	for (uint8_t i = 1; i < n; i++) {
		r = blank_record(i);
		r.flags |= RECORD_BLANK;
		r.epoch = r.epoch_seen = r.position_epoch = 0;
		r.elect_id = t.config.server[SELF].id;
		r.condition = CONDITION_STARTING;
		hear(i, r);
	}
	assert_int_equal(t.m.role, ROLE_MAIN);
	assert_becomes(ROLE_MAIN, RULE_ELECTED);
	for (uint8_t i = 1; i < n; i++)
		hear(i, follower_record(i));
	assert_waits(RULE_MAIN_OK);
}

/* Main says nothing for so long; what else answers, answers. */
static void
silence(int64_t ms, int partner_pings, unsigned references)
{
	for (int64_t gone = 0; gone < ms; gone += 100) {
		pass(100);
		if (partner_pings)
			icmp(TARGET_PARTNER, PEER);
		references_answer(references);
		if (t.m.role == ROLE_MAIN)
			return;
	}
}

/* ---- the evidence table */

static void
test_row_healthy(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	assert_int_equal(t.m.partner[PEER].verdict, VERDICT_HEALTHY);
	for (unsigned i = 0; i < 50; i++) {
		pass(100);
		icmp(TARGET_PARTNER, PEER);
		hear(PEER, main_record(PEER, 4));
	}
	assert_waits(RULE_MAIN_HEALTHY);
}

static void
test_row_icmp_blocked(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	for (unsigned i = 0; i < 50; i++) {
		pass(100);
		hear(PEER, main_record(PEER, 4));
	}
	assert_int_equal(t.m.partner[PEER].verdict, VERDICT_ICMP_BLOCKED);
	assert_waits(RULE_MAIN_HEALTHY);
}

static void
test_row_goodbye(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	r = main_record(PEER, 4);
	r.kind = RECORD_GOODBYE;
	r.role = ROLE_STANDBY;
	r.flags |= RECORD_WAS_MAIN | RECORD_STOPPING;
	r.successor_id = 0;
	hear(PEER, r);
	assert_becomes(ROLE_MAIN, RULE_TAKEOVER_STOPPED);
	assert_int_equal(t.m.partner[PEER].verdict, VERDICT_STOPPED);
	assert_true(t.m.persisted.left & 1U << PEER);
}

static void
test_row_obituary(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	r = main_record(PEER, 4);
	r.kind = RECORD_OBITUARY;
	hear(PEER, r);
	assert_becomes(ROLE_MAIN, RULE_TAKEOVER_GUARD_DEAD);
	assert_int_equal(t.m.partner[PEER].verdict, VERDICT_GUARD_DEAD);
}

static void
test_row_program_dead(void **state)
{
	(void)state;
	begin_standby(ARB_MANUAL, 2);
	links_lost(PEER, CLOSE_FIN);
	assert_waits(RULE_WAIT_EVIDENCE);
	link_event(PEER, 0, LINK_OUT, LINK_DIAL_FAILED, CLOSE_REFUSED);
	assert_becomes(ROLE_MAIN, RULE_TAKEOVER_PROGRAM_DEAD);
}

/* A firewall can forge RST and refusals, but no FIN. */
static void
test_row_program_dead_needs_fin(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	links_lost(PEER, CLOSE_RESET);
	link_event(PEER, 0, LINK_OUT, LINK_DIAL_FAILED, CLOSE_REFUSED);
	assert_null(find(OUT_BECOME));
	silence(1400, 1, 3);
	assert_waits(RULE_WAIT_CONFIRM);
	assert_int_equal(t.m.partner[PEER].verdict, VERDICT_OFFLINE);
	silence(200, 1, 3);
	assert_int_equal(t.m.role, ROLE_MAIN);
}

static void
test_row_program_dead_needs_ping(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	t.m.partner[PEER].path[0].icmp_ok_ms = t.now - 1000;
	links_lost(PEER, CLOSE_FIN);
	link_event(PEER, 0, LINK_OUT, LINK_DIAL_FAILED, CLOSE_REFUSED);
	assert_waits(RULE_WAIT_EVIDENCE);
}

static void
test_row_restarting(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	links_lost(PEER, CLOSE_FIN);
	link_event(PEER, 0, LINK_OUT, LINK_DIAL_CONNECTED, 0);
	assert_waits(RULE_WAIT_RESTART);
	silence(1800, 1, 3);
	assert_waits(RULE_WAIT_RESTART);
	link_event(PEER, 0, LINK_OUT, LINK_HANDSHAKE_TIMEOUT, CLOSE_TIMEOUT);
	assert_waits(RULE_WAIT_RESTART);
	link_event(PEER, 0, LINK_OUT, LINK_UP, 0);
	hear(PEER, main_record(PEER, 4));
	assert_waits(RULE_MAIN_HEALTHY);
}

/* Connected, then closed without a word, then refused: it was dying just then. */
static void
test_row_restarting_was_dying(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	links_lost(PEER, CLOSE_FIN);
	link_event(PEER, 0, LINK_OUT, LINK_DIAL_CONNECTED, 0);
	link_event(PEER, 0, LINK_OUT, LINK_HANDSHAKE_FAILED, CLOSE_FIN);
	assert_waits(RULE_WAIT_RESTART);
	link_event(PEER, 0, LINK_OUT, LINK_DIAL_FAILED, CLOSE_REFUSED);
	assert_becomes(ROLE_MAIN, RULE_TAKEOVER_PROGRAM_DEAD);
}

/* Nobody closed anything: the links are up, and silent (SIGSTOP). */
static void
test_row_offline(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	silence(400, 1, 3);
	assert_true(t.m.partner[PEER].redial_ms != 0); /* a redial tells whether it hangs */
	silence(1000, 1, 3);
	assert_waits(RULE_WAIT_CONFIRM);
	silence(200, 1, 3);
	assert_int_equal(t.m.role, ROLE_MAIN);
	assert_true(seen[RULE_TAKEOVER_OFFLINE]);
}

static void
test_row_offline_never(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	t.config.confirm_ms = MACHINE_NEVER;
	reconfigure();
	silence(20000, 1, 3);
	assert_waits(RULE_WAIT_CONFIRM_NEVER);
}

/*
 * Its port was blocked for long, then it is cut off: it counts its step-down from the last ping,
 * and so do we.
 */
static void
test_row_offline_then_unreachable(void **state)
{
	int64_t heard;

	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	t.config.confirm_ms = MACHINE_NEVER;
	reconfigure();
	silence(5000, 1, 3);
	assert_waits(RULE_WAIT_CONFIRM_NEVER);
	heard = t.now;
	silence(900, 0, 3);
	assert_waits(RULE_WAIT_HOLD);
	silence(200, 0, 3);
	assert_int_equal(t.m.role, ROLE_MAIN);
	assert_true(seen[RULE_TAKEOVER_UNREACHABLE]);
	assert_true(t.m.main_since_ms - heard >= t.config.hold_ms - t.config.icmp_interval_ms);
}

/* ... and when it is this server that is cut off then, no old answer of a reference counts. */
static void
test_row_offline_then_cut_off(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	t.config.confirm_ms = MACHINE_NEVER;
	t.config.icmp_misses = 30; /* references count as seen for longer than hold */
	reconfigure();
	silence(5000, 1, 3);
	pass(20);
	references_answer(3);
	pass(1500);
	assert_int_equal(t.m.role, ROLE_STANDBY);
	pass(5000);
	assert_int_equal(t.m.role, ROLE_STANDBY);
}

static void
test_row_unreachable(void **state)
{
	int64_t heard;

	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	heard = t.now;
	silence(900, 0, 2);
	assert_waits(RULE_WAIT_HOLD);
	silence(200, 0, 2);
	assert_int_equal(t.m.role, ROLE_MAIN);
	assert_true(seen[RULE_TAKEOVER_UNREACHABLE]);
	assert_true(t.m.main_since_ms - heard <= 1001);
	assert_int_equal(t.m.references_kept, 1);
}

/* Two of three references answered, but none after main went silent. */
static void
test_row_unreachable_needs_new_answers(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	t.config.icmp_misses = 30;
	reconfigure();
	t.m.partner[PEER].path[0].icmp_ok_ms = t.m.icmp_from_ms = t.now - 3000;
	pass(1500);
	assert_int_equal(t.m.partner[PEER].verdict, VERDICT_UNREACHABLE);
	assert_waits(RULE_WAIT_HOLD);
	references_answer(1);
	assert_waits(RULE_WAIT_HOLD);
	icmp(TARGET_REFERENCE, 1);
	assert_becomes(ROLE_MAIN, RULE_TAKEOVER_UNREACHABLE);
}

static void
test_row_isolated(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	silence(5000, 0, 1);
	assert_waits(RULE_WAIT_REFERENCES);
	assert_int_equal(t.m.partner[PEER].verdict, VERDICT_ISOLATED);
	assert_int_equal(t.m.condition, CONDITION_ISOLATED);
	assert_true(t.m.alarms[RULE_WAIT_REFERENCES / 32] & 1U << RULE_WAIT_REFERENCES % 32);
	icmp(TARGET_REFERENCE, 1); /* connected again: the silence begins anew */
	assert_null(find(OUT_BECOME));
	assert_non_null(find(OUT_REDIAL));
	assert_true(seen[RULE_CONNECTED]);
	silence(900, 0, 3);
	assert_int_equal(t.m.role, ROLE_STANDBY);
	silence(200, 0, 3);
	assert_int_equal(t.m.role, ROLE_MAIN);
}

/* We have data up to that change. */
static void
have_data(uint64_t index)
{
	t.in.kind = IN_POSITION;
	memset(&t.in.u.position, 0, sizeof(t.in.u.position));
	t.in.u.position.epoch = t.m.persisted.epoch;
	t.in.u.position.index = index;
	t.in.u.position.in_sync = 1;
	step();
}

/* ---- standby: reasons to wait */

static void
test_manual_waits(void **state)
{
	(void)state;
	begin_standby(ARB_MANUAL, 2);
	silence(20000, 0, 0);
	assert_waits(RULE_WAIT_OPERATOR);
	admin(ADMIN_PROMOTE, PEER, 0);
	assert_becomes(ROLE_MAIN, RULE_TAKEOVER_CONFIRMED);
	assert_reply(CTL_OK, RULE_TAKEOVER_CONFIRMED);
	assert_true(t.m.persisted.outvoted & 1U << PEER);
}

/* What would forbid a take-over at once, each alone. */
static void
test_held(void **state)
{
	static const enum rule rules[] = {RULE_WAIT_STALE, RULE_WAIT_OBSERVING, RULE_WAIT_PAUSED,
	    RULE_WAIT_NOT_IN_SYNC, RULE_WAIT_BLANK, RULE_WAIT_DATA};
	struct status_record r;

	(void)state;
	for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		begin_standby(ARB_MANUAL, 2);
		if (rules[i] == RULE_WAIT_BLANK || rules[i] == RULE_WAIT_DATA)
			have_data(7);
		t.in.kind = IN_POSITION;
		memset(&t.in.u.position, 0, sizeof(t.in.u.position));
		t.in.u.position.epoch = 4;
		t.in.u.position.in_sync = rules[i] != RULE_WAIT_NOT_IN_SYNC;
		t.in.u.position.stale = rules[i] == RULE_WAIT_STALE;
		t.in.u.position.blank = rules[i] == RULE_WAIT_BLANK;
		step();
		if (rules[i] == RULE_WAIT_DATA)
			local(PROC_SYNCD, 0);
		t.config.observe = rules[i] == RULE_WAIT_OBSERVING;
		reconfigure();
		r = main_record(PEER, 4);
		r.kind = RECORD_OBITUARY;
		if (rules[i] == RULE_WAIT_PAUSED)
			r.pause_left_ms = 5000;
		hear(PEER, r);
		assert_waits(rules[i]);
		pass(4000);
		assert_waits(rules[i]);
	}
}

/* Data that is gone: it is told so, and that there was some is not forgotten. */
static void
test_data_is_gone(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	have_data(7);
	assert_non_null(find(OUT_PERSIST)); /* the first time */
	have_data(8);
	assert_null(find(OUT_PERSIST));
	t.in.kind = IN_POSITION;
	t.in.u.position.blank = t.in.u.position.in_sync =
	    1; /* of syncd that was not told yet that there was some */
	step();
	assert_int_equal(t.m.persisted.position_index, 8);
	machine_record(&t.m, t.now, PEER, RECORD_STATUS, NOBODY, RULE_NONE, &r);
	assert_int_equal(r.position_index, 0);
	assert_int_equal(
	    r.flags & (RECORD_BLANK | RECORD_IN_SYNC | RECORD_DATA_UNKNOWN), RECORD_BLANK);
	local(PROC_SYNCD, 0);
	machine_record(&t.m, t.now, PEER, RECORD_STATUS, NOBODY, RULE_NONE, &r);
	assert_int_equal(
	    r.flags & (RECORD_BLANK | RECORD_IN_SYNC | RECORD_DATA_UNKNOWN), RECORD_DATA_UNKNOWN);
	silence(5000, 0, 3);
	assert_int_equal(t.m.role, ROLE_STANDBY);
}

/* A main without its data hands over to who has it; as long as nobody does it says so. */
static void
test_main_lost_data(void **state)
{
	(void)state;
	begin_main(ARB_MANUAL, 2);
	have_data(7);
	t.record = follower_record(PEER);
	t.record.flags &= (uint16_t)~RECORD_IN_SYNC;
	hear(PEER, t.record);
	t.in.kind = IN_POSITION;
	t.in.u.position.blank = 1;
	step();
	assert_waits(RULE_MAIN_BLANK);
	assert_true(alarm_is(RULE_MAIN_BLANK, 1));
	hear(PEER, follower_record(PEER));
	assert_waits(RULE_MAIN_HANDING_OVER);
	assert_int_equal(find_send(RECORD_OFFER)->u.send.reason, RULE_STEP_DOWN_BLANK);
}

/* A server without data hears from a standard partner that the group has some; from no other. */
static void
test_data_of_others(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_MANUAL, 3);
	t.in.kind = IN_POSITION;
	memset(&t.in.u.position, 0, sizeof(t.in.u.position));
	t.in.u.position.blank = t.in.u.position.in_sync = 1;
	step();
	t.config.server[2].kind = KIND_DMZ;
	reconfigure();
	links_up(2);
	r = blank_record(2);
	r.position_index = 3;
	hear(2, r);
	assert_int_equal(t.m.persisted.position_index, 0);
	r = main_record(PEER, 4);
	r.position_index = 3;
	hear(PEER, r);
	assert_int_equal(t.m.persisted.position_index, 3);
	assert_int_equal(t.m.condition, CONDITION_SYNCHRONISING);
}

/* The pause of a main that died holds, and ends by itself. */
static void
test_pause_of_a_dead_main_ends(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	r = main_record(PEER, 4);
	r.kind = RECORD_OBITUARY;
	r.pause_left_ms = 5000;
	hear(PEER, r);
	pass(4999);
	assert_waits(RULE_WAIT_PAUSED);
	pass(1);
	assert_becomes(ROLE_MAIN, RULE_TAKEOVER_GUARD_DEAD);
}

static void
test_stall(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	tick(30000); /* nobody called us for half a minute */
	assert_null(find(OUT_BECOME));
	assert_true(seen[RULE_STALL]);
	assert_int_equal(t.m.stalled, 1);
	references_answer(3);
	icmp(TARGET_PARTNER, PEER);
	assert_null(find(OUT_BECOME));
	pass(299);
	assert_int_equal(t.m.role, ROLE_STANDBY);
	hear(PEER, main_record(PEER, 4));
	assert_int_equal(t.m.stalled, 0);
	assert_waits(RULE_MAIN_HEALTHY);
}

/* An end of a link that waited in the queue of a frozen process is no proof. */
static void
test_stall_old_fin(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	t.now += 30000;
	links_lost(PEER, CLOSE_FIN);
	icmp(TARGET_PARTNER, PEER);
	link_event(PEER, 0, LINK_OUT, LINK_DIAL_FAILED, CLOSE_REFUSED);
	assert_waits(RULE_WAIT_STALLED);
}

/* Late by less than a stall: what was not listened for is not silence. */
static void
test_late_wake_up(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	pass(50);
	tick(t.out.next_ms - t.now + 290);
	assert_int_equal(t.m.stalled, 0);
	assert_true(t.m.partner[PEER].silent_from_ms > t.m.partner[PEER].heard_ms);
	assert_true(t.m.partner[PEER].verdict <= VERDICT_ICMP_BLOCKED);
}

static void
test_own_netd_and_icmpd(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	local(PROC_NETD, 0);
	assert_waits(RULE_WAIT_NETD);
	silence(5000, 0, 3);
	assert_waits(RULE_WAIT_NETD);
	local(PROC_NETD, 1);
	local(PROC_ICMPD, 0);
	assert_waits(RULE_WAIT_ICMPD);
	silence(5000, 0, 0);
	assert_waits(RULE_WAIT_ICMPD);
	local(PROC_ICMPD, 1);
	icmp(TARGET_PARTNER, PEER);
	links_up(PEER);
	hear(PEER, main_record(PEER, 4));
	assert_waits(RULE_MAIN_HEALTHY);
}

static void
test_flap_damping(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	for (unsigned i = 0; i < 3; i++)
		t.m.takeover_ms[i] = t.now - 1000 * (i + 1);
	silence(2900, 0, 3); /* hold + 2 x hold */
	assert_waits(RULE_WAIT_FLAP);
	silence(200, 0, 3);
	assert_int_equal(t.m.role, ROLE_MAIN);
	assert_int_equal(t.m.takeover_ms[0], t.m.main_since_ms);
}

/* A triple: somebody else hears main. */
static void
test_witness(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_REFERENCES, 3);
	links_up(THIRD);
	for (unsigned i = 0; i < 30; i++) {
		r = blank_record(THIRD);
		r.main_id = t.config.server[PEER].id;
		r.main_heard_age_ms = 50;
		hear(THIRD, r);
		silence(100, 0, 3);
	}
	assert_waits(RULE_WAIT_WITNESS);
}

/* Of two standbys the heir goes first; without one, who comes first. */
static void
test_heir(void **state)
{
	struct status_record r, obituary;

	(void)state;
	for (unsigned heir = 0; heir < 3; heir++) {
		begin_standby(ARB_MANUAL, 3);
		links_up(THIRD);
		r = blank_record(THIRD);
		r.main_id = t.config.server[PEER].id;
		r.priority = 200;
		hear(THIRD, r);
		obituary = main_record(PEER, 4);
		obituary.kind = RECORD_OBITUARY;
		obituary.successor_id = heir == 0   ? t.config.server[SELF].id
					: heir == 1 ? t.config.server[THIRD].id
						    : 0;
		hear(PEER, obituary);
		if (heir == 0)
			assert_becomes(ROLE_MAIN, RULE_TAKEOVER_GUARD_DEAD);
		else
			assert_waits(RULE_WAIT_BETTER);
	}
}

static void
test_rival(void **state)
{
	struct status_record obituary;

	(void)state;
	begin_standby(ARB_MANUAL, 3);
	obituary = main_record(PEER, 4);
	obituary.kind = RECORD_OBITUARY;
	obituary.successor_id = t.config.server[THIRD].id;
	hear(PEER, obituary);
	assert_waits(RULE_WAIT_RIVAL);
}

static void
test_wait_successor(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_REFERENCES, 3);
	links_up(THIRD);
	hear(THIRD, blank_record(THIRD));
	r = main_record(PEER, 4);
	r.kind = RECORD_GOODBYE;
	r.role = ROLE_STANDBY;
	r.flags |= RECORD_WAS_MAIN | RECORD_HANDOVER;
	r.successor_id = t.config.server[THIRD].id;
	hear(PEER, r);
	assert_waits(RULE_WAIT_SUCCESSOR);
	hear(THIRD, main_record(THIRD, 5));
	assert_waits(RULE_MAIN_HEALTHY);
	assert_int_equal(t.m.main, THIRD);
}

static void
test_permanent_and_dmz(void **state)
{
	static const uint8_t kinds[] = {KIND_PERMANENT, KIND_DMZ};
	struct status_record r;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		make_config(ARB_MANUAL, 2);
		t.config.server[SELF].kind = kinds[i];
		start();
		links_up(PEER);
		hear(PEER, main_record(PEER, 4));
		assert_waits(RULE_FOLLOWER);
		r = main_record(PEER, 4);
		r.kind = RECORD_OBITUARY;
		hear(PEER, r);
		assert_waits(RULE_FOLLOWER);
		admin(ADMIN_PROMOTE, PEER, 0);
		assert_reply(CTL_REFUSED, RULE_NOT_ELIGIBLE);
		assert_int_equal(t.m.role, i == 0 ? ROLE_PERMANENT : ROLE_DMZ);
	}
}

/* ---- join */

static void
test_join_follows_main(void **state)
{
	(void)state;
	make_config(ARB_REFERENCES, 2);
	start();
	assert_int_equal(t.m.condition, CONDITION_STARTING);
	assert_true(seen[RULE_JOIN_ASKING]);
	links_up(PEER);
	assert_non_null(find_send(RECORD_STATUS)); /* the new link gets a record at once */
	hear(PEER, main_record(PEER, 9));
	assert_true(seen[RULE_FOLLOWS]);
	assert_int_equal(t.m.persisted.epoch, 9);
	assert_non_null(find(OUT_PERSIST));
}

static void
test_join_waits_for_partner(void **state)
{
	(void)state;
	make_config(ARB_REFERENCES, 2);
	t.disk.last_main = 1;
	start();
	pass(60000);
	assert_waits(RULE_JOIN_WAIT_PARTNER);
	assert_int_equal(t.m.why_peer, PEER);
}

static void
test_join_lone_start(void **state)
{
	(void)state;
	make_config(ARB_REFERENCES, 2);
	t.disk.last_main = t.disk.clean = t.disk.initialised = 1;
	t.disk.left = 1U << PEER;
	t.disk.epoch = t.disk.epoch_seen = 6;
	start();
	pass(499);
	assert_waits(RULE_JOIN_ASKING);
	pass(1);
	assert_becomes(ROLE_MAIN, RULE_LONE_START);
	assert_true(t.m.persisted.epoch > 6);
}

/* Who comes first: data, then priority, then name; all have to agree. */
static void
test_join_election(void **state)
{
	struct status_record r;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		make_config(ARB_MANUAL, 2);
		t.disk.epoch = t.disk.epoch_seen = 4;
		t.disk.initialised = 1;
		start();
		links_up(PEER);
		r = blank_record(PEER);
		r.condition = CONDITION_STARTING;
		r.position_epoch = i == 0 ? 5 : 4;
		r.priority = i == 1 ? 200 : 100;
		hear(PEER, r);
		assert_waits(i < 2 ? RULE_JOIN_WAIT_ELECTED : RULE_JOIN_WAIT_AGREEMENT);
		assert_int_equal(t.m.elect, i < 2 ? PEER : SELF);
		r.elect_id = t.config.server[SELF].id;
		hear(PEER, r);
		if (i == 2)
			assert_becomes(ROLE_MAIN, RULE_ELECTED);
		else
			assert_waits(RULE_JOIN_WAIT_ELECTED);
	}
}

/*
 * Who does not know yet what data it has is waited for as long as one that starts, from when it was
 * first heard.
 */
static void
test_join_unknown_data(void **state)
{
	struct status_record r;

	(void)state;
	make_config(ARB_MANUAL, 2);
	t.disk.epoch = t.disk.epoch_seen = 4;
	t.disk.initialised = 1;
	start();
	pass(60000);
	assert_waits(RULE_JOIN_WAIT_PARTNER);
	links_up(PEER);
	r = blank_record(PEER);
	r.condition = CONDITION_STARTING;
	r.flags |= RECORD_DATA_UNKNOWN;
	r.position_epoch = r.position_index = 0;
	r.elect_id = t.config.server[SELF].id;
	hear(PEER, r);
	assert_waits(RULE_JOIN_WAIT_DATA);
	assert_int_equal(t.m.why_peer, PEER);
	pass(t.config.join_ms - 100);
	hear(PEER, r);
	assert_waits(RULE_JOIN_WAIT_DATA);
	pass(99);
	hear(PEER, r);
	assert_waits(RULE_JOIN_WAIT_DATA);
	pass(1);
	assert_becomes(ROLE_MAIN, RULE_ELECTED);
}

static void
test_join_handover_and_nobody(void **state)
{
	struct status_record r;

	(void)state;
	make_config(ARB_MANUAL, 2);
	start();
	links_up(PEER);
	r = blank_record(PEER);
	r.flags |= RECORD_HANDOVER;
	hear(PEER, r);
	assert_waits(RULE_JOIN_WAIT_HANDOVER);
	r.flags = RECORD_OBSERVING; /* it will not, and we are blank in a group that has data */
	hear(PEER, r);
	assert_waits(RULE_JOIN_NOBODY);
}

/* roled was restarted under the same supervisor: no hook, no change. */
static void
test_resume(void **state)
{
	(void)state;
	make_config(ARB_REFERENCES, 2);
	t.disk.role = ROLE_MAIN;
	t.disk.last_main = t.disk.initialised = 1;
	t.disk.epoch = t.disk.epoch_seen = 6;
	t.disk.instance = 7;
	start();
	assert_null(find(OUT_BECOME));
	assert_int_equal(t.m.role, ROLE_MAIN);
	assert_int_equal(t.m.persisted.epoch, 6);
	assert_true(seen[RULE_RESUMED]);
	t.disk.instance = 8; /* another supervisor: it starts like any other */
	start();
	assert_becomes(ROLE_STANDBY, RULE_STARTED);
}

/*
 * After that restart nobody was asked yet: no alarm before an answer could have come, and no later
 * step-down.
 */
static void
test_resume_looks_first(void **state)
{
	uint32_t alone, waits;

	(void)state;
	make_config(ARB_REFERENCES, 2);
	t.disk.role = ROLE_MAIN;
	t.disk.last_main = t.disk.initialised = 1;
	t.disk.epoch = t.disk.epoch_seen = 6;
	t.disk.instance = 7;
	start();
	assert_waits(RULE_MAIN_LOOKING);
	pass(299);
	assert_waits(RULE_MAIN_LOOKING);
	pass(1);
	assert_waits(RULE_MAIN_WAIT_STEP_DOWN);
	pass(299);
	assert_int_equal(t.m.role, ROLE_MAIN);
	pass(1);
	assert_becomes(ROLE_STANDBY, RULE_STEP_DOWN_ISOLATED);
	start(); /* everybody answers */
	links_up(PEER);
	icmp(TARGET_PARTNER, PEER);
	references_answer(3);
	hear(PEER, follower_record(PEER));
	assert_waits(RULE_MAIN_OK);
	alone = t.m.counter[RULE_MAIN_ALONE];
	waits = t.m.counter[RULE_MAIN_WAIT_STEP_DOWN];
	assert_int_equal(alone + waits, 0);
	start(); /* the references do, the partner does not */
	references_answer(3);
	assert_waits(RULE_MAIN_LOOKING);
	pass(299);
	references_answer(3);
	pass(1);
	assert_waits(RULE_MAIN_ALONE);
}

/* ---- main */

static void
test_step_down_isolated(void **state)
{
	(void)state;
	begin_main(ARB_REFERENCES, 2);
	pass(400);
	assert_waits(RULE_MAIN_WAIT_STEP_DOWN);
	pass(100);
	assert_int_equal(t.m.role, ROLE_MAIN);
	pass(100);
	assert_becomes(ROLE_STANDBY, RULE_STEP_DOWN_ISOLATED);
	silence(20000, 0, 3);
	assert_waits(RULE_WAIT_PARTNER_MAY_BE_MAIN);
}

/* The hook comes before the disk when the role is given up, after it when it is taken. */
static void
test_order_of_outputs(void **state)
{
	unsigned persist = 0, become = 0;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	links_lost(PEER, CLOSE_FIN);
	link_event(PEER, 0, LINK_OUT, LINK_DIAL_FAILED, CLOSE_REFUSED);
	for (unsigned i = 0; i < t.out.n; i++) {
		if (t.out.out[i].kind == OUT_PERSIST && t.out.out[i].u.persist.durable && !persist)
			persist = i + 1;
		if (t.out.out[i].kind == OUT_BECOME)
			become = i + 1;
	}
	assert_true(persist > 0 && persist < become);
	begin_main(ARB_REFERENCES, 2);
	while (t.m.role == ROLE_MAIN)
		pass(10);
	persist = become = 0;
	for (unsigned i = 0; i < t.out.n; i++) {
		if (t.out.out[i].kind == OUT_PERSIST && !persist)
			persist = i + 1;
		if (t.out.out[i].kind == OUT_BECOME)
			become = i + 1;
	}
	assert_true(become > 0 && become < persist);
}

/* A group in which only one server may be main misses no standby. */
static void
test_only_candidate(void **state)
{
	(void)state;
	make_config(ARB_MANUAL, 1);
	start();
	tick(0);
	assert_int_equal(t.m.role, ROLE_MAIN);
	assert_waits(RULE_MAIN_ONLY);
	for (unsigned i = 0; i < 100; i++)
		pass(100);
	assert_waits(RULE_MAIN_ONLY);
	assert_int_equal(t.m.alarms[RULE_NO_STANDBY / 32] >> (RULE_NO_STANDBY % 32) & 1, 0);
}

/* The standby had been gone long before: main comes back when the references do. */
static void
test_resume_after_isolation(void **state)
{
	(void)state;
	begin_main(ARB_REFERENCES, 2);
	silence(5000, 0, 0);
	begin_main(ARB_REFERENCES, 2);
	for (unsigned i = 0; i < 50; i++) {
		pass(100);
		references_answer(3);
	}
	assert_waits(RULE_MAIN_ALONE);
	pass(1000);
	assert_int_equal(t.m.role, ROLE_STANDBY);
	for (unsigned i = 0; i < 15 && t.m.role != ROLE_MAIN; i++) {
		references_answer(3);
		pass(100);
	}
	assert_int_equal(t.m.role, ROLE_MAIN);
	assert_true(seen[RULE_RESUMED_CONNECTED]);
}

static void
test_main_cut_off_manual(void **state)
{
	(void)state;
	begin_main(ARB_MANUAL, 2);
	pass(5000);
	assert_waits(RULE_MAIN_CUT_OFF);
	assert_true(seen[RULE_NO_STANDBY]);
}

/* Order of two mains: references kept, epoch, priority, longest, name. */
static void
test_two_mains(void **state)
{
	struct status_record r;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		int wins = i % 2;

		begin_main(ARB_REFERENCES, 2);
		t.m.references_kept = i < 2 ? (uint8_t)wins : 1;
		r = main_record(PEER, t.m.persisted.epoch);
		if (i < 2 && wins)
			r.flags &= (uint16_t)~RECORD_REFERENCES_KEPT;
		if (i == 2 || i == 3)
			r.epoch = wins ? 1 : t.m.persisted.epoch + 5;
		if (i == 4 || i == 5)
			r.priority = wins ? 50 : 150;
		r.main_age_ms = i == 7 ? 0 : i == 6 ? 100000 : 0;
		if (i == 7)
			t.m.main_since_ms -= 50000;
		hear(PEER, r);
		if (wins) {
			assert_null(find(OUT_BECOME));
			assert_true(t.m.persisted.epoch > r.epoch);
			assert_true(seen[RULE_TWO_MAINS_WON]);
		} else {
			assert_becomes(ROLE_STANDBY, RULE_STEP_DOWN_TWO_MAINS);
		}
		assert_true(alarm_is(RULE_TWO_MAINS, 1));
	}
}

/* In a paused group nothing is changed: both stay, with the alarm. */
static void
test_two_mains_paused(void **state)
{
	(void)state;
	begin_main(ARB_REFERENCES, 2);
	admin(ADMIN_PAUSE, NOBODY, 60000);
	assert_reply(CTL_OK, RULE_PAUSED);
	hear(PEER, main_record(PEER, 50));
	assert_int_equal(t.m.role, ROLE_MAIN);
	assert_true(alarm_is(RULE_TWO_MAINS, 1));
}

static void
test_epoch_raised(void **state)
{
	struct status_record r;

	(void)state;
	begin_main(ARB_MANUAL, 2);
	r = follower_record(PEER);
	r.epoch = r.epoch_seen = 40;
	r.main_id = 0;
	hear(PEER, r);
	assert_int_equal(t.m.role, ROLE_MAIN);
	assert_null(find(OUT_BECOME));
	assert_true(t.m.persisted.epoch > 40);
	assert_true(seen[RULE_EPOCH_RAISED]);
}

/* A third server hears a newer main, which we do not hear. */
static void
test_two_mains_by_a_third(void **state)
{
	struct status_record r;

	(void)state;
	begin_main(ARB_REFERENCES, 3);
	r = follower_record(THIRD);
	r.epoch = r.epoch_seen = 40;
	r.main_id = t.config.server[PEER].id;
	r.main_heard_age_ms = 10;
	hear(THIRD, r);
	assert_becomes(ROLE_STANDBY, RULE_STEP_DOWN_TWO_MAINS);
}

static void
test_epochs_are_of_one_server(void **state)
{
	(void)state;
	begin_standby(ARB_MANUAL, 3);
	t.m.persisted.epoch_seen = 10;
	pass(5000);
	admin(ADMIN_PROMOTE, PEER, 0);
	assert_int_equal(t.m.role, ROLE_MAIN);
	assert_int_equal(t.m.persisted.epoch, 12); /* above 10, and 12 mod 3 is our rank */
}

static void
test_sick_main(void **state)
{
	(void)state;
	begin_main(ARB_REFERENCES, 2);
	check(0);
	assert_true(seen[RULE_CHECK_FAILED]);
	assert_int_equal(t.m.handover, HANDOVER_OFFERED);
	assert_non_null(find_send(RECORD_OFFER));
	begin_main(ARB_REFERENCES, 2);
	t.record = follower_record(PEER);
	t.record.flags = RECORD_IN_SYNC; /* no better off */
	hear(PEER, t.record);
	check(0);
	assert_waits(RULE_MAIN_UNHEALTHY);
	check(1);
	assert_true(seen[RULE_CHECK_RECOVERED]);
	assert_waits(RULE_MAIN_OK);
}

static void
test_hook_of_main_fails(void **state)
{
	uint64_t event;

	(void)state;
	for (unsigned undo = 0; undo < 2; undo++) {
		begin_main(ARB_REFERENCES, 2);
		t.config.hook_failure[HOOK_MAIN] = undo ? HOOK_FAIL_UNDO : HOOK_FAIL_ALARM;
		reconfigure();
		event = t.m.hook_event;
		assert_true(event != 0);
		result(event, RESULT_TIMEOUT);
		assert_true(alarm_is(RULE_HOOK_FAILED, 1));
		assert_int_equal(t.m.handover, undo ? HANDOVER_OFFERED : HANDOVER_NONE);
	}
	t.record = follower_record(PEER);
	t.record.kind = RECORD_ACCEPT;
	hear(PEER, t.record);
	assert_becomes(ROLE_STANDBY, RULE_STEP_DOWN_HOOK);
}

/* "continue only logs": nobody is called, the ledger has it all the same. */
static void
test_hook_fails_and_nobody_minds(void **state)
{
	(void)state;
	begin_main(ARB_REFERENCES, 2);
	t.config.hook_failure[HOOK_MAIN] = HOOK_FAIL_CONTINUE;
	reconfigure();
	result(t.m.hook_event, RESULT_EXIT);
	assert_true(seen[RULE_HOOK_FAILED]);
	assert_false(alarm_is(RULE_HOOK_FAILED, 1));
	assert_int_equal(t.m.handover, HANDOVER_NONE);
}

static void
test_reconfigured(void **state)
{
	(void)state;
	begin_main(ARB_REFERENCES, 2);
	t.config.server[SELF].kind = KIND_PERMANENT;
	reconfigure();
	assert_non_null(find(OUT_BECOME));
	assert_int_equal(t.m.role, ROLE_PERMANENT);
	assert_true(seen[RULE_STEP_DOWN_RECONFIGURED]);
}

/* Servers change places in the file: what is known of them moves along. */
static void
test_reordered(void **state)
{
	struct machine_server peer;

	(void)state;
	begin_standby(ARB_REFERENCES, 3);
	peer = t.config.server[PEER];
	t.config.server[PEER] = t.config.server[THIRD];
	t.config.server[THIRD] = peer;
	reconfigure();
	assert_int_equal(t.m.main, THIRD);
	assert_int_equal(t.m.partner[THIRD].verdict, VERDICT_HEALTHY);
	assert_int_equal(t.m.partner[PEER].heard_ms, 0);
	assert_waits(RULE_MAIN_HEALTHY);
}

/* ---- hand-over */

/* Main with a consent; the hook is under way. */
static uint64_t
begin_handover(void)
{
	begin_main(ARB_MANUAL, 2);
	admin(ADMIN_SWITCHOVER, NOBODY, 0);
	assert_waits(RULE_MAIN_HANDING_OVER);
	assert_non_null(find_send(RECORD_OFFER));
	t.record = follower_record(PEER);
	t.record.kind = RECORD_ACCEPT;
	hear(PEER, t.record);
	assert_becomes(ROLE_STANDBY, RULE_STEP_DOWN_SWITCHOVER);
	assert_null(find_send(RECORD_GOODBYE));
	return find(OUT_BECOME)->u.become.event;
}

static void
test_switchover(void **state)
{
	(void)state;
	result(begin_handover(), RESULT_OK);
	assert_non_null(find_send(RECORD_GOODBYE));
	assert_int_equal(find_send(RECORD_GOODBYE)->u.send.successor, PEER);
	hear(PEER, main_record(PEER, t.m.persisted.epoch + 1));
	assert_reply(CTL_OK, RULE_HANDED_OVER);
	assert_waits(RULE_MAIN_HEALTHY);
}

/* We have data up to that change. */

/*
 * A main whose syncd said last that it has data up to index, and whose standby hook runs; the event
 * of the hook.
 */
static uint64_t
begin_drain(uint64_t index)
{
	begin_main(ARB_MANUAL, 2);
	have_data(index);
	admin(ADMIN_SWITCHOVER, PEER, 0);
	t.record = follower_record(PEER);
	t.record.kind = RECORD_ACCEPT;
	hear(PEER, t.record);
	assert_int_equal(find(OUT_DRAIN)->u.drain.partner, PEER);
	return find(OUT_BECOME)->u.become.event;
}

static void
drained(void)
{
	t.in.kind = IN_DRAINED;
	step();
}

/* The role goes when the service has stopped and the target has all data, whatever comes first. */
static void
test_switchover_drains(void **state)
{
	uint64_t hook;

	(void)state;
	result(begin_drain(7), RESULT_OK);
	assert_null(find_send(RECORD_GOODBYE));
	drained();
	assert_int_equal(find_send(RECORD_GOODBYE)->u.send.successor, PEER);
	result(begin_drain(0), RESULT_OK); /* its first change may have come since */
	assert_null(find_send(RECORD_GOODBYE));
	drained();
	assert_int_equal(find_send(RECORD_GOODBYE)->u.send.successor, PEER);
	hook = begin_drain(7);
	drained();
	assert_null(find_send(RECORD_GOODBYE));
	drained(); /* said twice: as good as once */
	assert_null(find_send(RECORD_GOODBYE));
	result(hook, RESULT_OK);
	assert_int_equal(find_send(RECORD_GOODBYE)->u.send.successor, PEER);
}

/* A target that does not get the last changes does not get the role. */
static void
test_switchover_cannot_drain(void **state)
{
	(void)state;
	result(begin_drain(7), RESULT_OK);
	pass(400);
	assert_becomes(ROLE_MAIN, RULE_TAKE_BACK);
	assert_reply(CTL_FAILED, RULE_TARGET_BEHIND);
	drained(); /* too late: nothing is given away */
	assert_null(find_send(RECORD_GOODBYE));
	assert_int_equal(t.m.role, ROLE_MAIN);
}

static void
test_switchover_hook_undo(void **state)
{
	(void)state;
	begin_main(ARB_MANUAL, 2);
	t.config.hook_failure[HOOK_STANDBY] = HOOK_FAIL_UNDO;
	reconfigure();
	admin(ADMIN_SWITCHOVER, PEER, 0);
	t.record = follower_record(PEER);
	t.record.kind = RECORD_ACCEPT;
	hear(PEER, t.record);
	result(find(OUT_BECOME)->u.become.event, RESULT_EXIT);
	assert_becomes(ROLE_MAIN, RULE_TAKE_BACK);
	assert_reply(CTL_FAILED, RULE_HOOK_FAILED);
	assert_non_null(find_send(RECORD_CANCEL));
}

/* Not before the consent has expired on any clock; then with a higher epoch. */
static void
test_switchover_taken_back(void **state)
{
	uint64_t epoch;

	(void)state;
	result(begin_handover(), RESULT_OK);
	epoch = t.m.persisted.epoch;
	pass(2 * 400);
	assert_int_equal(t.m.role, ROLE_STANDBY);
	pass(20);
	assert_int_equal(t.m.role, ROLE_MAIN);
	assert_true(seen[RULE_TAKE_BACK] && seen[RULE_TARGET_SILENT]);
	assert_true(t.m.persisted.epoch > epoch);
}

static void
test_switchover_refused(void **state)
{
	(void)state;
	result(begin_handover(), RESULT_OK);
	t.record = follower_record(PEER);
	t.record.kind = RECORD_REFUSE;
	hear(PEER, t.record);
	assert_becomes(ROLE_MAIN, RULE_TAKE_BACK);
	assert_reply(CTL_FAILED, RULE_TARGET_REFUSED);
}

static void
test_switchover_commands(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	admin(ADMIN_SWITCHOVER, NOBODY, 0);
	assert_reply(CTL_REFUSED, RULE_NOT_MAIN);
	begin_main(ARB_MANUAL, 2);
	admin(ADMIN_PROMOTE, PEER, 0);
	assert_reply(CTL_REFUSED, RULE_ALREADY_MAIN);
	admin(ADMIN_SWITCHOVER, 9, 0);
	assert_reply(CTL_BAD, RULE_BAD_COMMAND);
	r = follower_record(PEER);
	r.flags &= (uint16_t)~RECORD_IN_SYNC;
	hear(PEER, r);
	admin(ADMIN_SWITCHOVER, PEER, 0);
	assert_reply(CTL_REFUSED, RULE_TARGET_LACKS_DATA);
	admin(ADMIN_SWITCHOVER, NOBODY, 0);
	assert_reply(CTL_REFUSED, RULE_TARGET_LACKS_DATA);
	r = follower_record(PEER);
	r.flags |= RECORD_STALLED;
	hear(PEER, r);
	admin(ADMIN_SWITCHOVER, NOBODY, 0);
	assert_reply(CTL_REFUSED, RULE_TARGET_NOT_READY);
	hear(PEER, follower_record(PEER));
	admin(ADMIN_SWITCHOVER, PEER, 0);
	assert_null(find(OUT_REPLY));
	admin(ADMIN_SWITCHOVER, PEER, 0);
	assert_reply(CTL_REFUSED, RULE_BUSY);
}

/* Why there is nobody to switch over to; of several, of one that is heard. */
static void
test_switchover_without_target(void **state)
{
	struct status_record r;

	(void)state;
	begin_main(ARB_MANUAL, 4);
	t.config.server[3].kind = KIND_DMZ;
	reconfigure();
	admin(ADMIN_SWITCHOVER, 3, 0);
	assert_reply(CTL_REFUSED, RULE_TARGET_KIND);
	pass(60000);
	admin(ADMIN_SWITCHOVER, PEER, 0);
	assert_reply(CTL_REFUSED, RULE_TARGET_NOT_HEARD);
	admin(ADMIN_SWITCHOVER, NOBODY, 0);
	assert_reply(CTL_REFUSED, RULE_TARGET_NOT_HEARD);
	r = follower_record(2);
	r.condition = CONDITION_STALE;
	hear(2, r);
	admin(ADMIN_SWITCHOVER, NOBODY, 0);
	assert_reply(CTL_REFUSED, RULE_TARGET_LACKS_DATA);
	t.config.server[1].kind = t.config.server[2].kind = KIND_PERMANENT;
	reconfigure();
	admin(ADMIN_SWITCHOVER, NOBODY, 0);
	assert_reply(CTL_REFUSED, RULE_NO_TARGET);
}

/* The other side of it. */
static void
test_offer(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	r = main_record(PEER, 4);
	r.kind = RECORD_OFFER;
	hear(PEER, r);
	assert_non_null(find_send(RECORD_ACCEPT));
	assert_true(seen[RULE_OFFER_ACCEPTED]);
	r.kind = RECORD_GOODBYE;
	r.role = ROLE_STANDBY;
	r.flags |= RECORD_WAS_MAIN | RECORD_HANDOVER;
	hear(PEER, r);
	assert_becomes(ROLE_MAIN, RULE_TAKEOVER_SWITCHOVER);
}

static void
test_offer_expires(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	r = main_record(PEER, 4);
	r.kind = RECORD_OFFER;
	hear(PEER, r);
	pass(2 * 400);
	r.kind = RECORD_GOODBYE;
	r.role = ROLE_STANDBY;
	r.flags |= RECORD_WAS_MAIN | RECORD_HANDOVER;
	hear(PEER, r);
	assert_waits(RULE_OFFER_EXPIRED);
	assert_non_null(find_send(RECORD_REFUSE));
}

static void
test_offer_refused_and_cancelled(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	t.config.observe = 1;
	reconfigure();
	r = main_record(PEER, 4);
	r.kind = RECORD_OFFER;
	hear(PEER, r);
	assert_non_null(find_send(RECORD_REFUSE));
	t.config.observe = 0;
	reconfigure();
	hear(PEER, r);
	assert_non_null(find_send(RECORD_ACCEPT));
	r.kind = RECORD_CANCEL;
	hear(PEER, r);
	assert_non_null(find_send(RECORD_REFUSE));
	assert_true(seen[RULE_OFFER_CANCELLED]);
	r.kind = RECORD_GOODBYE;
	r.role = ROLE_STANDBY;
	r.flags |= RECORD_WAS_MAIN | RECORD_HANDOVER;
	hear(PEER, r);
	assert_null(find(OUT_BECOME));
}

/* ---- stop, pause, obituary, promote */

static void
test_stop_of_main(void **state)
{
	uint64_t event;

	(void)state;
	begin_main(ARB_REFERENCES, 2);
	admin(ADMIN_STOP, NOBODY, 5000);
	assert_non_null(find_send(RECORD_OFFER));
	t.record = follower_record(PEER);
	t.record.kind = RECORD_ACCEPT;
	hear(PEER, t.record);
	assert_becomes(ROLE_STANDBY, RULE_STEP_DOWN_STOP);
	result(find(OUT_BECOME)->u.become.event, RESULT_OK);
	assert_non_null(find_send(RECORD_GOODBYE));
	hear(PEER, main_record(PEER, t.m.persisted.epoch + 1));
	assert_non_null(find_send(RECORD_GOODBYE));
	assert_non_null(find(OUT_HOOK));
	event = find(OUT_HOOK)->u.become.event;
	assert_null(find(OUT_STOPPED));
	result(event, RESULT_NONE);
	assert_int_equal(find(OUT_STOPPED)->u.stopped.handed_over, 1);
	assert_int_equal(t.m.persisted.clean, 0);
}

static void
test_stop_of_lone_main(void **state)
{
	(void)state;
	begin_main(ARB_MANUAL, 2);
	pass(3000);
	admin(ADMIN_STOP, NOBODY, 5000);
	assert_becomes(ROLE_STANDBY, RULE_STEP_DOWN_ALONE);
	assert_null(find_send(RECORD_GOODBYE)); /* the service still runs */
	result(find(OUT_BECOME)->u.become.event, RESULT_OK);
	assert_int_equal(find_send(RECORD_GOODBYE)->u.send.successor, NOBODY);
	pass(5000);
	assert_int_equal(t.m.stopping, 2);
	assert_int_equal(t.m.persisted.clean, 1);
	assert_int_equal(t.m.persisted.last_main, 1);
}

static void
test_stop_of_standby(void **state)
{
	(void)state;
	begin_standby(ARB_REFERENCES, 2);
	admin(ADMIN_STOP, NOBODY, 5000);
	assert_non_null(find_send(RECORD_GOODBYE));
	assert_waits(RULE_WAIT_STOPPING);
	assert_int_equal(t.m.condition, CONDITION_STOPPING);
	result(find(OUT_HOOK)->u.become.event, RESULT_OK);
	assert_int_equal(find(OUT_STOPPED)->u.stopped.handed_over, 0);
	assert_true(seen[RULE_STOPPED]);
}

static void
test_pause(void **state)
{
	struct machine_persisted p;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	admin(ADMIN_RESUME, NOBODY, 0);
	assert_reply(CTL_REFUSED, RULE_NOT_PAUSED);
	admin(ADMIN_PAUSE, NOBODY, INT64_C(8) * 24 * 3600 * 1000);
	assert_reply(CTL_BAD, RULE_BAD_COMMAND);
	admin(ADMIN_PAUSE, NOBODY, 10000);
	assert_reply(CTL_OK, RULE_PAUSED);
	assert_int_equal(t.m.condition, CONDITION_PAUSED);
	pass(4000);
	machine_persisted_now(&t.m, t.now, &p);
	assert_int_equal(p.pause_left_ms, 6000);
	t.disk = p; /* it survives a restart */
	start();
	assert_string_equal(t.m.persisted.pause_owner, "op");
	assert_int_equal(t.m.pause_until_ms - t.now, 6000);
	pass(6000);
	assert_true(seen[RULE_PAUSE_EXPIRED]);
	assert_int_equal(t.m.pause_until_ms, 0);
	admin(ADMIN_PAUSE, NOBODY, 10000);
	admin(ADMIN_RESUME, NOBODY, 0);
	assert_reply(CTL_OK, RULE_RESUMED_PAUSE);
}

static void
test_pause_elsewhere(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	r = main_record(PEER, 4);
	r.pause_left_ms = 60000;
	r.flags |= RECORD_PAUSED;
	hear(PEER, r);
	assert_int_equal(t.m.condition, CONDITION_PAUSED);
	admin(ADMIN_RESUME, NOBODY, 0);
	assert_reply(CTL_REFUSED, RULE_PAUSED_ELSEWHERE);
	pass(3000); /* it is gone, so its pause can be ended here */
	admin(ADMIN_RESUME, NOBODY, 0);
	assert_reply(CTL_OK, RULE_RESUMED_PAUSE);
}

static void
test_obituary(void **state)
{
	(void)state;
	begin_main(ARB_REFERENCES, 2);
	t.in.kind = IN_ORPHANED;
	step();
	assert_non_null(find_send(RECORD_OBITUARY));
	tick(100);
	assert_int_equal(t.out.n, 0);
}

static void
test_promote_refused(void **state)
{
	(void)state;
	begin_standby(ARB_MANUAL, 3);
	admin(ADMIN_PROMOTE, PEER, 0);
	assert_reply(CTL_REFUSED, RULE_SERVER_ALIVE);
	admin(ADMIN_PROMOTE, SELF, 0);
	assert_reply(CTL_BAD, RULE_BAD_COMMAND);
	pass(5000);
	admin(ADMIN_PROMOTE, THIRD, 0);
	assert_reply(CTL_REFUSED, RULE_CONFIRM_OTHER);
	assert_int_equal(t.m.role, ROLE_STANDBY);
}

/* ---- records */

static void
test_config_differs(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	r = main_record(PEER, 4);
	r.digest[0] ^= 1;
	hear(PEER, r);
	assert_true(alarm_is(RULE_CONFIG_DIFFERS, 1));
	hear(PEER, main_record(PEER, 4));
	assert_true(alarm_is(RULE_CONFIG_DIFFERS, 0));
}

static void
test_old_records(void **state)
{
	struct status_record r;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	r = blank_record(PEER);
	r.kind = RECORD_GOODBYE;
	r.flags |= RECORD_WAS_MAIN;
	t.seq[PEER] = 0; /* older than what we have heard */
	hear(PEER, r);
	assert_waits(RULE_MAIN_HEALTHY);
	t.boot[PEER] = 900; /* it restarted ... */
	hear(PEER, main_record(PEER, 4));
	r.boot_id = 501; /* ... and this is of before */
	t.seq[PEER] = 1000;
	hear(PEER, r);
	assert_waits(RULE_MAIN_HEALTHY);
}

static void
test_bad_records(void **state)
{
	struct status_record r, good;

	(void)state;
	begin_standby(ARB_MANUAL, 2);
	good = main_record(PEER, 4);
	good.seq = 1;
	assert_int_equal(machine_record_check(&good), 0);
#define BAD(field, value)                                                                          \
	do {                                                                                       \
		r = good;                                                                          \
		r.field = (value);                                                                 \
		assert_int_equal(machine_record_check(&r), -1);                                    \
	} while (0)
	BAD(kind, 0);
	BAD(kind, RECORD_KIND_MAX);
	BAD(role, ROLE_MAX);
	BAD(condition, CONDITION_MAX);
	BAD(flags, 0x8000);
	BAD(reason, RULE_MAX);
	BAD(boot_id, 0);
	BAD(seq, 0);
	BAD(epoch, UINT64_MAX);
	BAD(epoch_seen, UINT64_MAX);
	BAD(position_epoch, UINT64_MAX);
	BAD(lease_epoch, UINT64_MAX);
	BAD(grant_epoch, UINT64_MAX);
	BAD(main_age_ms, -2);
	BAD(heard_age_ms, INT64_MAX);
	BAD(main_heard_age_ms, INT64_MIN);
	BAD(in_sync_age_ms, INT64_MAX);
	BAD(lease_sent_ms, INT64_MAX);
	BAD(grant_echo_ms, -2);
	BAD(pause_left_ms, UINT64_MAX);
}

/* ---- voters */

/* A voter that follows PEER, which holds the lease of epoch 4. */
static struct status_record
begin_voter(void)
{
	struct status_record r;

	begin_standby(ARB_VOTERS, 3);
	links_up(THIRD);
	hear(THIRD, blank_record(THIRD));
	r = main_record(PEER, 4);
	r.lease_epoch = 4;
	r.lease_sent_ms = 12345;
	hear(PEER, r);
	return r;
}

static void
test_vote(void **state)
{
	struct status_record r, made;

	(void)state;
	begin_voter();
	assert_non_null(find(OUT_PERSIST));
	t.config.observe = 1; /* it votes, and is no candidate itself */
	reconfigure();
	assert_int_equal(t.m.persisted.voted_epoch, 4);
	machine_record(&t.m, t.now, PEER, RECORD_STATUS, NOBODY, RULE_NONE, &made);
	assert_int_equal(made.grant_epoch, 4);
	assert_int_equal(made.grant_echo_ms, 12345);
	r = blank_record(THIRD); /* another one, while the promise lasts */
	r.lease_epoch = 5;
	r.lease_sent_ms = 1;
	hear(THIRD, r);
	machine_record(&t.m, t.now, THIRD, RECORD_STATUS, NOBODY, RULE_NONE, &made);
	assert_int_equal(made.grant_epoch, 0);
	pass(1011);
	hear(THIRD, r);
	machine_record(&t.m, t.now, THIRD, RECORD_STATUS, NOBODY, RULE_NONE, &made);
	assert_int_equal(made.grant_epoch, 5);
	assert_int_equal(t.m.persisted.voted_for, THIRD);
}

/* A vote for older data is refused; a restarted voter waits out what it may have promised. */
static void
test_vote_refused(void **state)
{
	struct status_record r;

	(void)state;
	begin_voter();
	t.config.observe = 1;
	reconfigure();
	pass(2000);
	r = blank_record(THIRD);
	r.lease_epoch = 50;
	r.position_epoch = 3;
	hear(THIRD, r);
	assert_int_equal(t.m.partner[THIRD].ask_granted, 0);
	machine_persisted_now(&t.m, t.now, &t.disk);
	start();
	links_up(THIRD);
	t.boot[THIRD] = 901;
	r = blank_record(THIRD);
	r.lease_epoch = 60;
	r.position_epoch = 4;
	hear(THIRD, r);
	assert_int_equal(t.m.partner[THIRD].ask_granted, 0);
	pass(1011);
	hear(THIRD, r);
	assert_int_equal(t.m.partner[THIRD].ask_granted, 1);
}

static void
test_candidate(void **state)
{
	struct status_record r;

	(void)state;
	begin_voter();
	for (unsigned i = 0; i < 100 && t.m.lease_epoch == 0; i++) {
		pass(20);
		hear(THIRD, blank_record(THIRD));
	}
	assert_waits(RULE_WAIT_VOTERS);
	assert_true(t.now - t.m.partner[PEER].heard_ms >= 1011); /* our own promise to PEER */
	assert_true(t.m.lease_epoch > 4);
	assert_int_equal(t.m.persisted.voted_for, SELF);
	r = blank_record(THIRD);
	r.grant_epoch = t.m.lease_epoch;
	r.grant_echo_ms = t.m.lease_sent_ms;
	hear(THIRD, r);
	assert_becomes(ROLE_MAIN, RULE_TAKEOVER_LEASE);
	assert_int_equal(t.m.lease_until_ms, r.grant_echo_ms + 990);
	while (t.m.role == ROLE_MAIN) /* nobody renews */
		pass(1);
	assert_int_equal(t.now, r.grant_echo_ms + 990 - 2 * 100 - 50);
	assert_true(seen[RULE_STEP_DOWN_LEASE]);
}

static void
test_promote_in_voters(void **state)
{
	(void)state;
	begin_voter();
	pass(5000);
	admin(ADMIN_PROMOTE, PEER, 0);
	assert_reply(CTL_REFUSED, RULE_WAIT_VOTERS);
}

/* ---- the table itself */

static void
test_names(void **state)
{
	(void)state;
	for (unsigned i = 0; i < RULE_MAX; i++)
		for (unsigned k = i + 1; k < RULE_MAX; k++)
			if (strcmp(rule_name(i), "unknown") != 0)
				assert_string_not_equal(rule_name(i), rule_name(k));
	assert_string_equal(rule_name(RULE_MAX), "unknown");
	assert_string_equal(verdict_name(VERDICT_ISOLATED), "isolated");
	assert_string_equal(condition_name(CONDITION_STOPPING), "stopping");
	assert_string_equal(role_name(ROLE_DMZ), "dmz");
	assert_string_equal(record_kind_name(RECORD_CANCEL), "cancel");
}

static void
test_config_make(void **state)
{
	static struct conf c;
	struct machine_config mc;

	(void)state;
	c.general.n_servers = 3;
	c.general.self = 2;
	strcpy(c.server[0].name, "gamma");
	strcpy(c.server[1].name, "alpha");
	strcpy(c.server[2].name, "beta");
	c.server[1].key_status[3] = 9;
	c.server[1].priority = -5;
	c.general.hold_ms = 1234;
	machine_config_make(&mc, &c);
	assert_int_equal(mc.server[0].name_rank, 2);
	assert_int_equal(mc.server[1].name_rank, 0);
	assert_int_equal(mc.server[2].name_rank, 1);
	assert_int_equal(mc.server[1].id, 9);
	assert_int_equal(mc.server[1].priority, -5);
	assert_int_equal(mc.hold_ms, 1234);
	assert_int_equal(mc.self, 2);
}

/* Last: every reason that the machine can give was given in these tests. */
static void
test_every_rule_was_seen(void **state)
{
	static const enum rule of_roled[] = {RULE_NONE, RULE_HOOK_ENDED, RULE_COMMAND, RULE_ACTION,
	    RULE_ACTION_LOST, RULE_BACKLOG_SHORT, RULE_BACKLOG_ENOUGH, RULE_DATA_REFUSED,
	    RULE_DATA_DISK, RULE_DATA_TAKEN, RULE_SYNC_SHORT, RULE_SYNC_ENOUGH, RULE_BUNDLE_SAVED,
	    RULE_BUNDLE_NONE};
	unsigned missing = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof(of_roled) / sizeof(of_roled[0]); i++)
		seen[of_roled[i]] = 1;
	for (unsigned i = 0; i < RULE_MAX; i++)
		if (strcmp(rule_name(i), "unknown") != 0 && !seen[i]) {
			print_message("never seen: %s\n", rule_name(i));
			missing++;
		}
	assert_int_equal(missing, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_row_healthy),
    cmocka_unit_test(test_row_icmp_blocked),
    cmocka_unit_test(test_row_goodbye),
    cmocka_unit_test(test_row_obituary),
    cmocka_unit_test(test_row_program_dead),
    cmocka_unit_test(test_row_program_dead_needs_fin),
    cmocka_unit_test(test_row_program_dead_needs_ping),
    cmocka_unit_test(test_row_restarting),
    cmocka_unit_test(test_row_restarting_was_dying),
    cmocka_unit_test(test_row_offline),
    cmocka_unit_test(test_row_offline_never),
    cmocka_unit_test(test_row_offline_then_unreachable),
    cmocka_unit_test(test_row_offline_then_cut_off),
    cmocka_unit_test(test_row_unreachable),
    cmocka_unit_test(test_row_unreachable_needs_new_answers),
    cmocka_unit_test(test_row_isolated),
    cmocka_unit_test(test_manual_waits),
    cmocka_unit_test(test_held),
    cmocka_unit_test(test_data_is_gone),
    cmocka_unit_test(test_data_of_others),
    cmocka_unit_test(test_main_lost_data),
    cmocka_unit_test(test_pause_of_a_dead_main_ends),
    cmocka_unit_test(test_stall),
    cmocka_unit_test(test_stall_old_fin),
    cmocka_unit_test(test_late_wake_up),
    cmocka_unit_test(test_own_netd_and_icmpd),
    cmocka_unit_test(test_flap_damping),
    cmocka_unit_test(test_witness),
    cmocka_unit_test(test_heir),
    cmocka_unit_test(test_rival),
    cmocka_unit_test(test_wait_successor),
    cmocka_unit_test(test_permanent_and_dmz),
    cmocka_unit_test(test_join_follows_main),
    cmocka_unit_test(test_join_waits_for_partner),
    cmocka_unit_test(test_join_lone_start),
    cmocka_unit_test(test_join_election),
    cmocka_unit_test(test_join_unknown_data),
    cmocka_unit_test(test_join_handover_and_nobody),
    cmocka_unit_test(test_resume),
    cmocka_unit_test(test_resume_looks_first),
    cmocka_unit_test(test_step_down_isolated),
    cmocka_unit_test(test_order_of_outputs),
    cmocka_unit_test(test_only_candidate),
    cmocka_unit_test(test_resume_after_isolation),
    cmocka_unit_test(test_main_cut_off_manual),
    cmocka_unit_test(test_two_mains),
    cmocka_unit_test(test_two_mains_paused),
    cmocka_unit_test(test_epoch_raised),
    cmocka_unit_test(test_two_mains_by_a_third),
    cmocka_unit_test(test_epochs_are_of_one_server),
    cmocka_unit_test(test_sick_main),
    cmocka_unit_test(test_hook_of_main_fails),
    cmocka_unit_test(test_hook_fails_and_nobody_minds),
    cmocka_unit_test(test_reconfigured),
    cmocka_unit_test(test_reordered),
    cmocka_unit_test(test_switchover),
    cmocka_unit_test(test_switchover_drains),
    cmocka_unit_test(test_switchover_cannot_drain),
    cmocka_unit_test(test_switchover_hook_undo),
    cmocka_unit_test(test_switchover_taken_back),
    cmocka_unit_test(test_switchover_refused),
    cmocka_unit_test(test_switchover_commands),
    cmocka_unit_test(test_switchover_without_target),
    cmocka_unit_test(test_offer),
    cmocka_unit_test(test_offer_expires),
    cmocka_unit_test(test_offer_refused_and_cancelled),
    cmocka_unit_test(test_stop_of_main),
    cmocka_unit_test(test_stop_of_lone_main),
    cmocka_unit_test(test_stop_of_standby),
    cmocka_unit_test(test_pause),
    cmocka_unit_test(test_pause_elsewhere),
    cmocka_unit_test(test_obituary),
    cmocka_unit_test(test_promote_refused),
    cmocka_unit_test(test_config_differs),
    cmocka_unit_test(test_old_records),
    cmocka_unit_test(test_bad_records),
    cmocka_unit_test(test_vote),
    cmocka_unit_test(test_vote_refused),
    cmocka_unit_test(test_candidate),
    cmocka_unit_test(test_promote_in_voters),
    cmocka_unit_test(test_names),
    cmocka_unit_test(test_config_make),
    cmocka_unit_test(test_every_rule_was_seen),
};

int
main(void)
{
	return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
