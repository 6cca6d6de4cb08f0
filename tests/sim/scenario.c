/* SPDX-License-Identifier: ISC */
/*
 * One fault at a time: what comes of it, by which rule, and when. Server 0 is main before each. The
 * table is printed by "sim --scenarios"; doc/roles.md shows it.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

enum { SCENARIO_SEEDS = 5 };

struct scenario {
	const char *name;
	uint8_t mode, n, fast, paths;
	void (*act)(void);
	uint8_t who; /* becomes main, or NOBODY: no role changes at all */
	enum rule rule;
	int64_t min_ms, max_ms; /* after the fault */
	uint8_t why_server;	/* whose reason is looked at in the end, or NOBODY */
	enum rule why;
	int64_t run_ms;	 /* looked at for so long */
	uint8_t changes; /* of roles altogether; 0: do not care */
};

static const struct scenario *now_running;

/* ---- what happens */

static void
nothing(void)
{
}

static void
kill_guard(void)
{
	server_guard_kill(0);
}

static void
kill_supervisor(void)
{
	server_orphan(0);
	event_at(w.now_us + 30 * MS, EV_LIFE, 0)->what = LIFE_DEAD;
}

static void
stop_main(void)
{
	server_admin(0, ADMIN_STOP, NOBODY, 15000);
}

static void
stop_standby(void)
{
	server_admin(1, ADMIN_STOP, NOBODY, 15000);
}

static void
switchover(void)
{
	server_admin(0, ADMIN_SWITCHOVER, 1, 0);
}

static void
switchover_hook_hangs(void)
{
	w.server[0].hook_hangs = 1;
	switchover();
}

/* The target accepts, and is dead before the goodbye. */
static void
switchover_target_dies(void)
{
	switchover();
	run_until(w.now_us + 2 * MS, NULL);
	server_host_crash(1);
}

/* The path dies between consent and goodbye: main comes back when the consent has expired. */
static void
switchover_path_dies(void)
{
	switchover();
	run_until(w.now_us + 2 * MS, NULL);
	w.cut[0][1][0] = w.cut[1][0][0] = 1;
}

static void
power_off(void)
{
	server_host_crash(0);
}

static void
power_off_standby(void)
{
	server_host_crash(1);
}

static void
freeze_guard(void)
{
	server_freeze(0, 1);
}

/* Main is frozen, the other takes over, main wakes up. */
static void
freeze_and_wake(void)
{
	server_freeze(0, 2);
	event_at(w.now_us + 20 * SEC, EV_LIFE, 0)->what = LIFE_THAW;
}

static void
freeze_standby(void)
{
	server_freeze(1, 2);
	event_at(w.now_us + 20 * SEC, EV_LIFE, 1)->what = LIFE_THAW;
}

static void
isolate(unsigned a)
{
	for (unsigned b = 0; b < w.n; b++)
		for (unsigned p = 0; p < w.n_paths; p++)
			w.cut[a][b][p] = w.cut[b][a][p] = 1;
	memset(w.ref_cut[a], 1, sizeof(w.ref_cut[a]));
}

static void
isolate_main(void)
{
	w.exclusive = w.fast < 2;
	isolate(0);
}

static void
isolate_standby(void)
{
	isolate(1);
}

/*
 * The cable of the standby is out, and is put back: the references answer before main is dialled.
 */
static void
isolate_standby_and_heal(void)
{
	isolate(1);
	run_until(w.now_us + 20 * SEC, NULL);
	memset(w.ref_cut, 0, sizeof(w.ref_cut));
	run_until(w.now_us + 1500 * MS, NULL);
	memset(w.cut, 0, sizeof(w.cut));
}

static void
isolate_main_and_heal(void)
{
	isolate(0);
	run_until(w.now_us + 20 * SEC, NULL);
	memset(w.ref_cut, 0, sizeof(w.ref_cut));
	memset(w.cut, 0, sizeof(w.cut));
}

static void
cut_pair(void)
{
	memset(w.cut, 1, sizeof(w.cut));
}

static void
cut_pair_and_heal(void)
{
	cut_pair();
	run_until(w.now_us + 20 * SEC, NULL);
	memset(w.cut, 0, sizeof(w.cut));
}

static void
cut_one_path(void)
{
	w.cut[0][1][0] = w.cut[1][0][0] = 1;
}

static void
block_icmp(void)
{
	w.icmp_cut[0][1] = w.icmp_cut[1][0] = 1;
}

static void
drop_port(void)
{
	memset(w.port, BLOCK_DROP, sizeof(w.port));
}

static void
reject_port(void)
{
	memset(w.port, BLOCK_REJECT, sizeof(w.port));
}

static void
drop_one_way(void)
{
	memset(w.port[1][0], BLOCK_DROP, sizeof(w.port[1][0]));
}

static void
references_down(void)
{
	memset(w.ref_cut, 1, sizeof(w.ref_cut));
}

/* References and standby are gone, in this order of harm: main was alone for good reason. */
static void
standby_dead_then_references(void)
{
	server_host_crash(1);
	run_until(w.now_us + 40 * SEC, NULL);
	references_down();
	run_until(w.now_us + 20 * SEC, NULL);
	memset(w.ref_cut, 0, sizeof(w.ref_cut));
}

static void
restart_children(void)
{
	for (unsigned i = 0; i < 2; i++) {
		server_roled_kill(i);
		run_until(w.now_us + 300 * MS, NULL);
		server_roled_start(i);
		run_until(w.now_us + 3 * SEC, NULL);
		server_local(i, PROC_NETD, 0);
		run_until(w.now_us + 300 * MS, NULL);
		server_local(i, PROC_NETD, 1);
		run_until(w.now_us + 3 * SEC, NULL);
		server_local(i, PROC_ICMPD, 0);
		run_until(w.now_us + 300 * MS, NULL);
		server_local(i, PROC_ICMPD, 1);
		run_until(w.now_us + 6 * SEC, NULL);
	}
}

/*
 * A port that was rejected from here, and then a child that restarts over there: FIN and a refusal.
 */
static void
reject_one_way_and_restart(void)
{
	memset(w.port[1][0], BLOCK_REJECT, sizeof(w.port[1][0]));
	run_until(w.now_us + 10 * SEC, NULL);
	server_local(0, PROC_NETD, 0);
	run_until(w.now_us + 300 * MS, NULL);
	server_local(0, PROC_NETD, 1);
}

static void
both_power_cycle(void)
{
	for (unsigned i = 0; i < w.n; i++) {
		server_host_crash(i);
		event_at(w.now_us + 5 * SEC + i * 300 * MS, EV_LIFE, i)->what = LIFE_HOST;
	}
}

/* All servers have data, and all of it. */
static void
give_data(void)
{
	w.with_data = 1;
	for (unsigned i = 0; i < w.n; i++)
		server_store_tell(i);
	run_until(w.now_us + 2 * SEC, NULL);
}

static void
lose_data(unsigned i)
{
	w.server[i].store = STORE_LOST;
	server_store_shut(i, 50 * MS);
}

static void
standby_lost_data(void)
{
	give_data();
	lose_data(1);
	run_until(w.now_us + SEC, NULL);
	server_host_crash(0);
}

static void
store_is_shut(void)
{
	give_data();
	server_store_shut(1, 3600 * SEC);
	server_host_crash(0);
}

/* A standby that never had data hears that the group has. */
static void
new_standby_without_data(void)
{
	w.server[1].store = STORE_LOST;
	give_data();
	server_host_crash(0);
}

static void
lost_in_power_cut(void)
{
	give_data();
	w.server[0].store = STORE_LOST;
	both_power_cycle();
}

static void
all_lost_in_power_cut(void)
{
	w.server[1].store = STORE_LOST;
	lost_in_power_cut();
}

/* 0 would come first, but takes its time to look at its data, longer than the other one waits. */
static void
store_opens_late(void)
{
	give_data();
	w.server[0].store_us = 60 * SEC;
	both_power_cycle();
}

/* ... and not as long. */
static void
store_opens_soon(void)
{
	give_data();
	w.server[0].store_us = SEC;
	both_power_cycle();
}

static void
main_lost_data(void)
{
	give_data();
	lose_data(0);
}

static void
all_lost_data(void)
{
	give_data();
	lose_data(1);
	run_until(w.now_us + SEC, NULL);
	lose_data(0);
}

static void
promoted_without_data(void)
{
	standby_lost_data();
	run_until(w.now_us + 20 * SEC, NULL);
	server_admin(1, ADMIN_PROMOTE, 0, 0);
}

/* Main crashed with its standby and comes back alone: it cannot know what the other one did. */
static void
both_crash_main_returns(void)
{
	server_host_crash(0);
	server_host_crash(1);
	event_at(w.now_us + 5 * SEC, EV_LIFE, 0)->what = LIFE_HOST;
}

/* Standby stopped, then main; main starts alone: its record says that it may act. */
static void
orderly_stop_main_returns(void)
{
	server_admin(1, ADMIN_STOP, NOBODY, 15000);
	run_until(w.now_us + 500 * MS, NULL);
	server_guard_kill(1);
	w.server[1].host = 0;
	run_until(w.now_us + 3 * SEC, NULL);
	server_admin(0, ADMIN_STOP, NOBODY, 15000);
	run_until(w.now_us + 1 * SEC, NULL);
	server_guard_kill(0);
	w.n_changes = 0;
	server_power(0);
}

static void
operator_promotes(void)
{
	server_host_crash(0);
	run_until(w.now_us + 10 * SEC, NULL);
	server_admin(1, ADMIN_PROMOTE, 0, 0);
}

static void
operator_is_wrong(void)
{
	server_admin(1, ADMIN_PROMOTE, 0, 0);
}

static void
pause_and_power_off(void)
{
	server_admin(1, ADMIN_PAUSE, NOBODY, 20000);
	server_host_crash(0);
}

/* The pause was given on the server that then dies. */
static void
pause_on_main_and_power_off(void)
{
	server_admin(0, ADMIN_PAUSE, NOBODY, 20000);
	run_until(w.now_us + SEC, NULL);
	server_host_crash(0);
}

static void
observe_and_power_off(void)
{
	struct machine_input in = {.kind = IN_CONFIG};

	w.server[1].config.observe = 1;
	in.u.config = w.server[1].config;
	server_input(1, &in);
	server_host_crash(0);
}

static void
never_confirm_and_freeze(void)
{
	struct machine_input in = {.kind = IN_CONFIG};

	w.server[1].config.confirm_ms = MACHINE_NEVER;
	in.u.config = w.server[1].config;
	server_input(1, &in);
	server_freeze(0, 1);
}

static void
stale_standby(void)
{
	struct machine_input in = {.kind = IN_POSITION};

	in.u.position.epoch = w.server[1].machine.persisted.epoch;
	in.u.position.stale = 1;
	server_input(1, &in);
	server_host_crash(0);
}

static void
behind_standby(void)
{
	struct machine_input in = {.kind = IN_POSITION};

	in.u.position.epoch = w.server[1].machine.persisted.epoch;
	in.u.position.in_sync = 0;
	server_input(1, &in);
	server_host_crash(0);
}

static void
failing_check(void)
{
	struct machine_input in = {.kind = IN_CHECK};

	server_input(0, &in);
}

static void
failing_check_everywhere(void)
{
	struct machine_input in = {.kind = IN_CHECK};

	server_input(1, &in);
	run_until(w.now_us + SEC, NULL);
	server_input(0, &in);
}

/* Main dies again and again without proof: the standby waits longer each time. */
static void
flap(void)
{
	struct server *s = &w.server[1];

	for (unsigned i = 0; i < 3; i++)
		s->machine.takeover_ms[i] = server_ms(1) - 1000 * (i + 1);
	server_host_crash(0);
}

static void
main_path_dies(void)
{
	/* only the path between 0 and 1 is dead; 2 hears both */
	w.cut[0][1][0] = w.cut[1][0][0] = 1;
}

/* A standby that does not hear the other one may not act on proof alone in mode manual. */
static void
heir_is_deaf(void)
{
	w.cut[1][2][0] = w.cut[2][1][0] = 1;
	run_until(w.now_us + 10 * SEC, NULL);
	server_guard_kill(0);
}

/* 1 lost main long ago and believes to be its heir; main has named 2 since, and then dies. */
static void
heir_of_old(void)
{
	memset(w.port[0][1], BLOCK_REJECT, sizeof(w.port[0][1]));
	memset(w.port[1][0], BLOCK_REJECT, sizeof(w.port[1][0]));
	run_until(w.now_us + 20 * SEC, NULL);
	server_host_crash(0);
}

static void
become_permanent(void)
{
	struct machine_input in = {.kind = IN_CONFIG};

	w.kind[0] = KIND_PERMANENT;
	for (unsigned i = 0; i < w.n; i++) {
		w.server[i].config.server[0].kind = KIND_PERMANENT;
		in.u.config = w.server[i].config;
		server_input(i, &in);
	}
}

/* One path is rejected from now on, and netd over there restarts: FIN, a refusal, and an answer. */
static void
reject_one_path_and_restart(void)
{
	w.port[1][0][0] = BLOCK_REJECT;
	server_local(0, PROC_NETD, 0);
	run_until(w.now_us + 300 * MS, NULL);
	server_local(0, PROC_NETD, 1);
	run_until(w.now_us + 3 * SEC, NULL);
	w.port[1][0][0] = BLOCK_NONE;
}

static void
slow_restart(void)
{
	server_local(0, PROC_NETD, 0);
	run_until(w.now_us + 5500 * MS, NULL);
	server_local(0, PROC_NETD, 1);
}

static void
stop_observing_main(void)
{
	struct machine_input in = {.kind = IN_CONFIG};

	w.server[0].config.observe = 1;
	in.u.config = w.server[0].config;
	server_input(0, &in);
	stop_main();
}

static void
power_off_one_reference_down(void)
{
	for (unsigned i = 0; i < w.n; i++)
		w.ref_cut[i][0] = 1;
	run_until(w.now_us + 10 * SEC, NULL);
	server_host_crash(0);
}

/* The switch dies port by port: main first, the references a little later. */
static void
isolate_standby_slowly(void)
{
	struct machine_input in = {.kind = IN_CONFIG};

	w.server[1].config.icmp_misses = 20;
	in.u.config = w.server[1].config;
	server_input(1, &in);
	run_until(w.now_us + SEC, NULL);
	w.cut[0][1][0] = w.cut[1][0][0] = 1;
	run_until(w.now_us + 15 * MS, NULL);
	isolate(1);
}

/* What was sent before a switchover comes after it, on the other path. */
static void
late_path(void)
{
	w.cut[0][1][1] = w.cut[1][0][1] = 1;
	run_until(w.now_us + 900 * MS, NULL);
	server_admin(0, ADMIN_SWITCHOVER, 1, 0);
	run_until(w.now_us + 2500 * MS, NULL);
	w.cut[0][1][1] = w.cut[1][0][1] = 0;
}

/* The heir of an ordered stop crashes and comes back alone: it was last, but not in order. */
static void
crashed_heir_returns(void)
{
	server_admin(0, ADMIN_STOP, NOBODY, 15000);
	run_until(w.now_us + 900 * MS, NULL);
	server_guard_kill(0);
	w.server[0].host = 0;
	run_until(w.now_us + 3 * SEC, NULL);
	server_host_crash(1);
	w.n_changes = 0;
	server_power(1);
}

static void
observer_comes_first(void)
{
	w.observing = 1;
	both_power_cycle();
}

static void
switchover_target_restarts(void)
{
	switchover();
	run_until(w.now_us + 2 * MS, NULL);
	server_roled_kill(1);
	run_until(w.now_us + 200 * MS, NULL);
	server_roled_start(1);
}

/* The target is frozen in between and finds the goodbye in its socket when the consent is over. */
static void
switchover_goodbye_is_late(void)
{
	switchover();
	run_until(w.now_us + 2 * MS, NULL);
	server_freeze(1, 1);
	event_at(w.now_us + 10 * SEC, EV_LIFE, 1)->what = LIFE_THAW;
}

/* What ended while the standby was frozen is found together with what is refused now. */
static void
freeze_restart_reject(void)
{
	server_freeze(1, 1);
	run_until(w.now_us + SEC, NULL);
	server_local(0, PROC_NETD, 0);
	run_until(w.now_us + 300 * MS, NULL);
	server_local(0, PROC_NETD, 1);
	run_until(w.now_us + 8 * SEC, NULL);
	memset(w.port, BLOCK_REJECT, sizeof(w.port));
	server_thaw(1);
	run_until(w.now_us + 2300 * MS, NULL);
	memset(w.port, BLOCK_NONE, sizeof(w.port));
}

/* Two of three do not hear each other and are both main; the third hears both. */
static void
two_mains_do_not_hear_each_other(void)
{
	server_host_crash(2);
	w.cut[0][1][0] = w.cut[1][0][0] = 1;
	run_until(w.now_us + 20 * SEC, NULL);
	server_power(2);
}

static void
operator_names_another(void)
{
	server_host_crash(0);
	run_until(w.now_us + 10 * SEC, NULL);
	server_admin(1, ADMIN_PROMOTE, 2, 0);
}

/* Nobody is main in a paused group, and the operator names a server that is well. */
static void
operator_names_a_live_one(void)
{
	server_admin(0, ADMIN_PAUSE, NOBODY, 600000);
	server_admin(1, ADMIN_PAUSE, NOBODY, 600000);
	both_power_cycle();
	run_until(w.now_us + 15 * SEC, NULL);
	server_admin(1, ADMIN_PROMOTE, 0, 0);
}

/* The only voter that main has restarts, and hears somebody else first. */
static void
voter_restarts(void)
{
	w.cut[0][2][0] = w.cut[2][0][0] = 1;
	run_until(w.now_us + 30 * SEC, NULL);
	server_roled_kill(1);
	w.cut[0][1][0] = w.cut[1][0][0] = 1;
	run_until(w.now_us + 100 * MS, NULL);
	server_roled_start(1);
}

/* The voter with the newest data does not want to be main, and gives no vote to older data. */
static void
newest_data_observes(void)
{
	struct machine_input in = {.kind = IN_CONFIG};

	for (unsigned i = 1; i < 3; i++) {
		struct machine_input p = {.kind = IN_POSITION};

		p.u.position.epoch = w.server[i].machine.persisted.epoch;
		p.u.position.index = i;
		p.u.position.in_sync = 1;
		server_input(i, &p);
	}
	w.server[2].config.observe = 1;
	in.u.config = w.server[2].config;
	server_input(2, &in);
	run_until(w.now_us + SEC, NULL);
	server_host_crash(0);
}

static void
minority_is_cut(void)
{
	isolate(0);
}

/* ---- the table */

#define REFERENCES ARB_REFERENCES
#define MANUAL ARB_MANUAL
#define VOTERS ARB_VOTERS
#define SLOW 0
#define FAST 1
#define SHORTEST 2
#define NO_CHANGE NOBODY, RULE_NONE, 0, 0
#define NO_REASON NOBODY, RULE_NONE

static const struct scenario scenarios[] = {
    {"nothing at all", REFERENCES, 2, SLOW, 1, nothing, NO_CHANGE, 1, RULE_MAIN_HEALTHY, 60000, 0},
    {"main's guard SIGKILLed", REFERENCES, 2, SLOW, 1, kill_guard, 1, RULE_TAKEOVER_PROGRAM_DEAD, 0,
	5, NO_REASON, 30000, 1},
    {"main's guard SIGKILLed, two paths", REFERENCES, 2, SLOW, 2, kill_guard, 1,
	RULE_TAKEOVER_PROGRAM_DEAD, 0, 5, NO_REASON, 30000, 1},
    {"main's guard SIGKILLed, manual", MANUAL, 2, SLOW, 1, kill_guard, 1,
	RULE_TAKEOVER_PROGRAM_DEAD, 0, 5, NO_REASON, 30000, 1},
    {"main's supervisor killed", REFERENCES, 2, SLOW, 1, kill_supervisor, 1,
	RULE_TAKEOVER_GUARD_DEAD, 0, 3, NO_REASON, 30000, 1},
    {"main stopped in order", REFERENCES, 2, SLOW, 1, stop_main, 1, RULE_TAKEOVER_SWITCHOVER, 0,
	100, NO_REASON, 800, 2},
    {"main stopped in order, manual", MANUAL, 2, SLOW, 1, stop_main, 1, RULE_TAKEOVER_SWITCHOVER, 0,
	100, NO_REASON, 800, 2},
    {"standby stopped in order", REFERENCES, 2, SLOW, 1, stop_standby, NO_CHANGE, 0,
	RULE_MAIN_ALONE, 800, 0},
    {"switchover", REFERENCES, 2, SLOW, 1, switchover, 1, RULE_TAKEOVER_SWITCHOVER, 0, 100, 0,
	RULE_MAIN_HEALTHY, 20000, 2},
    {"switchover, voters", VOTERS, 3, SLOW, 1, switchover, 1, RULE_TAKEOVER_SWITCHOVER, 0, 200, 0,
	RULE_MAIN_HEALTHY, 20000, 2},
    {"switchover, the old main's hook hangs", REFERENCES, 2, SLOW, 1, switchover_hook_hangs, 1,
	RULE_TAKEOVER_SWITCHOVER, 2900, 3300, 0, RULE_MAIN_HEALTHY, 20000, 2},
    {"switchover, the target dies in it", REFERENCES, 2, SLOW, 1, switchover_target_dies, 0,
	RULE_TAKE_BACK, 100, 7000, 0, RULE_MAIN_ALONE, 20000, 2},
    {"switchover, the path dies in it, manual", MANUAL, 2, SLOW, 1, switchover_path_dies, 0,
	RULE_TAKE_BACK, 5900, 6400, 1, RULE_WAIT_OPERATOR, 20000, 2},
    {"main's power off", REFERENCES, 2, SLOW, 1, power_off, 1, RULE_TAKEOVER_UNREACHABLE, 5400,
	7100, NO_REASON, 30000, 1},
    {"main's power off, 20 ms x 3", REFERENCES, 2, FAST, 1, power_off, 1, RULE_TAKEOVER_UNREACHABLE,
	79, 125, NO_REASON, 5000, 1},
    {"main's power off, 10 ms x 3, hold 30 ms", REFERENCES, 2, SHORTEST, 1, power_off, 1,
	RULE_TAKEOVER_UNREACHABLE, 19, 33, NO_REASON, 5000, 1},
    {"main's cable out, 10 ms x 3, hold 30 ms", REFERENCES, 2, SHORTEST, 1, isolate_main, 1,
	RULE_TAKEOVER_UNREACHABLE, 19, 33, NO_REASON, 500, 2},
    {"main's guard SIGSTOPped, 10 ms x 3, confirm 60 ms", REFERENCES, 2, SHORTEST, 1, freeze_guard,
	1, RULE_TAKEOVER_OFFLINE, 49, 64, NO_REASON, 500, 1},
    {"nothing at all, 10 ms x 3", REFERENCES, 2, SHORTEST, 1, nothing, NO_CHANGE, 1,
	RULE_MAIN_HEALTHY, 30000, 0},
    {"main's power off, manual", MANUAL, 2, SLOW, 1, power_off, NO_CHANGE, 1, RULE_WAIT_OPERATOR,
	60000, 0},
    {"main's power off, voters", VOTERS, 3, SLOW, 1, power_off, 1, RULE_TAKEOVER_LEASE, 9000, 14500,
	NO_REASON, 30000, 1},
    {"main's power off, triple", REFERENCES, 3, SLOW, 1, power_off, 1, RULE_TAKEOVER_UNREACHABLE,
	5400, 7100, 2, RULE_MAIN_HEALTHY, 30000, 1},
    {"main's guard SIGKILLed, triple", MANUAL, 3, SLOW, 1, kill_guard, 1,
	RULE_TAKEOVER_PROGRAM_DEAD, 0, 5, 2, RULE_MAIN_HEALTHY, 30000, 1},
    {"standby's power off", REFERENCES, 2, SLOW, 1, power_off_standby, NO_CHANGE, 0,
	RULE_MAIN_ALONE, 60000, 0},
    {"main's guard SIGSTOPped", REFERENCES, 2, SLOW, 1, freeze_guard, 1, RULE_TAKEOVER_OFFLINE,
	4400, 5700, NO_REASON, 30000, 1},
    {"main's guard SIGSTOPped, confirm never", REFERENCES, 2, SLOW, 1, never_confirm_and_freeze,
	NO_CHANGE, 1, RULE_WAIT_CONFIRM_NEVER, 60000, 0},
    {"main frozen for 20 s, wakes up", REFERENCES, 2, SLOW, 1, freeze_and_wake, 1,
	RULE_TAKEOVER_UNREACHABLE, 5400, 7100, 0, RULE_MAIN_HEALTHY, 40000, 2},
    {"standby frozen for 20 s, wakes up", REFERENCES, 2, SLOW, 1, freeze_standby, NO_CHANGE, 1,
	RULE_MAIN_HEALTHY, 40000, 0},
    {"standby's cable out", REFERENCES, 2, SLOW, 1, isolate_standby, NO_CHANGE, 1,
	RULE_WAIT_REFERENCES, 60000, 0},
    {"standby's cable out and in again", REFERENCES, 2, SLOW, 1, isolate_standby_and_heal,
	NO_CHANGE, 1, RULE_MAIN_HEALTHY, 60000, 0},
    {"main's cable out", REFERENCES, 2, SLOW, 1, isolate_main, 1, RULE_TAKEOVER_UNREACHABLE, 5400,
	7100, 0, RULE_WAIT_PARTNER_MAY_BE_MAIN, 60000, 2},
    {"main's cable out and in again", REFERENCES, 2, SLOW, 1, isolate_main_and_heal, 1,
	RULE_TAKEOVER_UNREACHABLE, 5400, 7100, 0, RULE_MAIN_HEALTHY, 40000, 2},
    {"main's cable out, manual", MANUAL, 2, SLOW, 1, isolate_main, NO_CHANGE, 1, RULE_WAIT_OPERATOR,
	60000, 0},
    {"path between both dead, references seen", REFERENCES, 2, SLOW, 1, cut_pair, 1,
	RULE_TAKEOVER_UNREACHABLE, 5400, 7100, NO_REASON, 30000, 1},
    {"path between both dead for 20 s", REFERENCES, 2, SLOW, 1, cut_pair_and_heal, 1,
	RULE_TAKEOVER_UNREACHABLE, 5400, 7100, 0, RULE_MAIN_HEALTHY, 40000, 2},
    {"one of two paths dead", REFERENCES, 2, SLOW, 2, cut_one_path, NO_CHANGE, 1, RULE_MAIN_HEALTHY,
	60000, 0},
    {"path between two of three dead", REFERENCES, 3, SLOW, 1, main_path_dies, NO_CHANGE, 1,
	RULE_WAIT_WITNESS, 60000, 0},
    {"ICMP blocked", REFERENCES, 2, SLOW, 1, block_icmp, NO_CHANGE, 1, RULE_MAIN_HEALTHY, 60000, 0},
    {"5481 dropped both ways", REFERENCES, 2, SLOW, 1, drop_port, 1, RULE_TAKEOVER_OFFLINE, 4400,
	5700, NO_REASON, 30000, 1},
    {"5481 rejected both ways", REFERENCES, 2, SLOW, 1, reject_port, 1, RULE_TAKEOVER_OFFLINE, 4400,
	5700, NO_REASON, 30000, 1},
    {"5481 rejected both ways, manual", MANUAL, 2, SLOW, 1, reject_port, NO_CHANGE, 1,
	RULE_WAIT_OPERATOR, 60000, 0},
    {"5481 dropped one way", REFERENCES, 2, SLOW, 1, drop_one_way, NO_CHANGE, 1, RULE_MAIN_HEALTHY,
	60000, 0},
    {"5481 rejected one way, then netd of main restarts", REFERENCES, 2, SLOW, 1,
	reject_one_way_and_restart, NO_CHANGE, 1, RULE_MAIN_HEALTHY, 30000, 0},
    {"references down", REFERENCES, 2, SLOW, 1, references_down, NO_CHANGE, 0, RULE_MAIN_OK, 60000,
	0},
    {"standby dead, then references down and back", REFERENCES, 2, SLOW, 1,
	standby_dead_then_references, 0, RULE_RESUMED_CONNECTED, 60000, 70000, 0, RULE_MAIN_ALONE,
	90000, 2},
    {"each child of both killed alone", REFERENCES, 2, SLOW, 1, restart_children, NO_CHANGE, 1,
	RULE_MAIN_HEALTHY, 60000, 0},
    {"power cut of both", REFERENCES, 2, SLOW, 1, both_power_cycle, 0, RULE_ELECTED, 5000, 6000, 1,
	RULE_MAIN_HEALTHY, 30000, 3},
    {"power cut of both, manual", MANUAL, 2, SLOW, 1, both_power_cycle, 0, RULE_ELECTED, 5000, 6000,
	1, RULE_MAIN_HEALTHY, 30000, 3},
    {"power cut of both, main returns alone", REFERENCES, 2, SLOW, 1, both_crash_main_returns,
	NOBODY, RULE_NONE, 0, 0, 0, RULE_JOIN_WAIT_PARTNER, 60000, 1},
    {"orderly stop of both, main returns alone", REFERENCES, 2, SLOW, 1, orderly_stop_main_returns,
	0, RULE_LONE_START, 5000, 11000, 0, RULE_MAIN_ALONE, 30000, 2},
    {"main dead, operator confirms", MANUAL, 2, SLOW, 1, operator_promotes, 1,
	RULE_TAKEOVER_CONFIRMED, 10000, 10001, 1, RULE_MAIN_ALONE, 30000, 1},
    {"main alive, operator is wrong", MANUAL, 2, SLOW, 1, operator_is_wrong, NO_CHANGE, 1,
	RULE_MAIN_HEALTHY, 10000, 0},
    {"paused, main's power off", REFERENCES, 2, SLOW, 1, pause_and_power_off, 1,
	RULE_TAKEOVER_UNREACHABLE, 19800, 20300, NO_REASON, 30000, 1},
    {"paused on main, its power off", REFERENCES, 2, SLOW, 1, pause_on_main_and_power_off, 1,
	RULE_TAKEOVER_UNREACHABLE, 19800, 20300, NO_REASON, 30000, 1},
    {"observing, main's power off", REFERENCES, 2, SLOW, 1, observe_and_power_off, NO_CHANGE, 1,
	RULE_WAIT_OBSERVING, 60000, 0},
    {"standby is stale, main's power off", REFERENCES, 2, SLOW, 1, stale_standby, NO_CHANGE, 1,
	RULE_WAIT_STALE, 60000, 0},
    {"standby is behind, main's power off", REFERENCES, 2, SLOW, 1, behind_standby, NO_CHANGE, 1,
	RULE_WAIT_NOT_IN_SYNC, 60000, 0},
    {"standby lost its data, main's power off", REFERENCES, 2, SLOW, 1, standby_lost_data,
	NO_CHANGE, 1, RULE_WAIT_BLANK, 60000, 0},
    {"standby lost its data, operator promotes it", REFERENCES, 2, SLOW, 1, promoted_without_data,
	NO_CHANGE, 1, RULE_WAIT_BLANK, 60000, 0},
    {"new standby without data, main's power off", REFERENCES, 2, SLOW, 1, new_standby_without_data,
	NO_CHANGE, 1, RULE_WAIT_BLANK, 60000, 0},
    {"standby's store is shut, main's power off", REFERENCES, 2, SLOW, 1, store_is_shut, NO_CHANGE,
	1, RULE_WAIT_DATA, 60000, 0},
    {"main lost its data", REFERENCES, 2, SLOW, 1, main_lost_data, 1, RULE_TAKEOVER_SWITCHOVER,
	2000, 3000, 1, RULE_MAIN_ALONE, 30000, 2},
    {"standby, then main lost its data", REFERENCES, 2, SLOW, 1, all_lost_data, NO_CHANGE, 0,
	RULE_MAIN_BLANK, 30000, 0},
    {"power cut of both, 0 lost its data", REFERENCES, 2, SLOW, 1, lost_in_power_cut, 1,
	RULE_ELECTED, 5000, 9000, 0, RULE_MAIN_HEALTHY, 30000, 0},
    {"power cut of both, both lost their data", REFERENCES, 2, SLOW, 1, all_lost_in_power_cut,
	NOBODY, RULE_NONE, 0, 0, 0, RULE_WAIT_BLANK, 60000, 2},
    {"power cut of both, 0 opens its store late", REFERENCES, 2, SLOW, 1, store_opens_late, 1,
	RULE_ELECTED, 5000, 30000, 0, RULE_MAIN_HEALTHY, 60000, 0},
    {"power cut of both, 0 opens its store soon", REFERENCES, 2, SLOW, 1, store_opens_soon, 0,
	RULE_ELECTED, 6000, 9000, 1, RULE_MAIN_HEALTHY, 30000, 0},
    {"health check fails on main", REFERENCES, 2, SLOW, 1, failing_check, 1,
	RULE_TAKEOVER_SWITCHOVER, 0, 100, 0, RULE_MAIN_HEALTHY, 30000, 2},
    {"health check fails on both", REFERENCES, 2, SLOW, 1, failing_check_everywhere, NO_CHANGE, 0,
	RULE_MAIN_UNHEALTHY, 30000, 0},
    {"fourth loss of main in a row", REFERENCES, 2, SLOW, 1, flap, 1, RULE_TAKEOVER_UNREACHABLE,
	17400, 19100, NO_REASON, 30000, 1},
    {"triple, standbys do not hear each other, main killed", MANUAL, 3, SLOW, 1, heir_is_deaf, 1,
	RULE_TAKEOVER_PROGRAM_DEAD, 10000, 10005, 2, RULE_WAIT_RIVAL, 30000, 1},
    {"triple, 1 lost main before, main's power off", REFERENCES, 3, SLOW, 1, heir_of_old, 2,
	RULE_TAKEOVER_UNREACHABLE, 25400, 27100, 1, RULE_MAIN_HEALTHY, 40000, 1},
    {"main reconfigured as permanent", REFERENCES, 3, SLOW, 1, become_permanent, 1, RULE_ELECTED, 0,
	100, 0, RULE_FOLLOWER, 30000, 2},
    {"one path rejected, netd of main restarts", REFERENCES, 2, SLOW, 2,
	reject_one_path_and_restart, NO_CHANGE, 1, RULE_MAIN_HEALTHY, 30000, 0},
    {"netd of main away for 5.5 s (grace 6 s)", REFERENCES, 2, SLOW, 1, slow_restart, NO_CHANGE, 1,
	RULE_MAIN_HEALTHY, 30000, 0},
    {"main only observes, and is stopped in order", REFERENCES, 2, SLOW, 1, stop_observing_main, 1,
	RULE_TAKEOVER_STOPPED, 0, 100, NO_REASON, 800, 2},
    {"main's power off, one of two references down", REFERENCES, 2, SLOW, 1,
	power_off_one_reference_down, NO_CHANGE, 1, RULE_WAIT_REFERENCES, 60000, 0},
    {"standby's switch dies port by port", REFERENCES, 2, FAST, 1, isolate_standby_slowly,
	NO_CHANGE, 1, RULE_WAIT_REFERENCES, 5000, 0},
    {"records from before a switchover come late", REFERENCES, 2, SLOW, 2, late_path, 1,
	RULE_TAKEOVER_SWITCHOVER, 900, 1000, 0, RULE_MAIN_HEALTHY, 20000, 2},
    {"heir of an ordered stop crashes, returns alone", REFERENCES, 2, SLOW, 1, crashed_heir_returns,
	NOBODY, RULE_NONE, 0, 0, 1, RULE_JOIN_WAIT_PARTNER, 60000, 1},
    {"power cut of both, the first one only observes", REFERENCES, 2, SLOW, 1, observer_comes_first,
	1, RULE_ELECTED, 5000, 6000, 0, RULE_MAIN_HEALTHY, 30000, 3},
    {"switchover, the target's roled restarts in it", REFERENCES, 2, SLOW, 1,
	switchover_target_restarts, 0, RULE_TAKE_BACK, 200, 1000, 1, RULE_MAIN_HEALTHY, 20000, 2},
    {"switchover, the goodbye comes too late", MANUAL, 2, SLOW, 1, switchover_goodbye_is_late, 0,
	RULE_TAKE_BACK, 5900, 6400, 1, RULE_MAIN_HEALTHY, 20000, 2},
    {"standby frozen, netd of main restarts, 5481 rejected", REFERENCES, 2, SLOW, 1,
	freeze_restart_reject, NO_CHANGE, 1, RULE_MAIN_HEALTHY, 30000, 0},
    {"two mains that do not hear each other, a third does", REFERENCES, 3, SLOW, 1,
	two_mains_do_not_hear_each_other, 1, RULE_TAKEOVER_UNREACHABLE, 5400, 7100, 2,
	RULE_MAIN_HEALTHY, 40000, 3},
    {"main dead, operator names a live standby", MANUAL, 3, SLOW, 1, operator_names_another,
	NO_CHANGE, 1, RULE_WAIT_OPERATOR, 30000, 0},
    {"nobody is main, operator names a live server", MANUAL, 2, SLOW, 1, operator_names_a_live_one,
	NOBODY, RULE_NONE, 0, 0, 1, RULE_WAIT_PAUSED, 30000, 2},
    {"main's last voter restarts", VOTERS, 3, SLOW, 1, voter_restarts, 1, RULE_ELECTED, 40000,
	50000, NO_REASON, 30000, 2},
    {"voters: the newest data only observes", VOTERS, 3, SLOW, 1, newest_data_observes, NO_CHANGE,
	1, RULE_WAIT_VOTERS, 60000, 0},
    {"main cut off from two voters", VOTERS, 3, SLOW, 1, minority_is_cut, 1, RULE_TAKEOVER_LEASE,
	9000, 15500, NO_REASON, 30000, 2},
};

/* ---- running them */

static void
choose(uint64_t seed)
{
	const struct scenario *s = now_running;

	(void)seed;
	w.scripted = 1;
	w.mode = s->mode;
	w.n = s->n;
	w.fast = s->fast;
	w.n_paths = s->paths;
	w.n_refs = s->mode == ARB_MANUAL ? 0 : 2;
	w.delay_us = 100;
	w.calm_us = w.end_us = INT64_MAX;
}

static void
expect(const struct scenario *s, int64_t from_us)
{
	const struct change *c = NULL;
	unsigned changes = w.n_changes;

	for (unsigned i = 0; i < w.n_changes && c == NULL; i++)
		if (w.change[i].role == ROLE_MAIN)
			c = &w.change[i];
	if (s->who == NOBODY && changes != s->changes)
		fail("%u became %s: %s", w.change[0].server, role_name(w.change[0].role),
		    rule_name(w.change[0].rule));
	else if (s->who != NOBODY && c == NULL)
		fail("nobody took over; 1 says %s", rule_name(w.server[1].machine.why));
	else if (s->who != NOBODY && (c->server != s->who || c->rule != s->rule))
		fail("%u became main by %s", c->server, rule_name(c->rule));
	else if (s->who != NOBODY &&
		 ((c->at_us - from_us) / MS < s->min_ms || (c->at_us - from_us) / MS > s->max_ms))
		fail("%u became main after %lld ms", c->server,
		    (long long)(c->at_us - from_us) / 1000);
	else if (s->changes != 0 && changes != s->changes)
		fail("%u changes of role", changes);
	else if (s->why_server != NOBODY && w.server[s->why_server].machine.why != s->why)
		fail("%u says %s", s->why_server, rule_name(w.server[s->why_server].machine.why));
}

static void
print_line(const struct scenario *s, int64_t from_us)
{
	printf("%-52s %-10s ", s->name, arbitration_name(s->mode));
	if (w.failure[0] != '\0') {
		printf("FAILED: %s\n", w.failure);
		return;
	}
	for (unsigned i = 0; i < w.n_changes; i++)
		if (w.change[i].role == ROLE_MAIN) {
			printf("%u main after %lld ms: %s\n", w.change[i].server,
			    (long long)(w.change[i].at_us - from_us) / 1000,
			    rule_name(w.change[i].rule));
			return;
		}
	printf("nobody; %s\n", rule_name(w.server[s->why_server].machine.why));
}

/* One scenario on one seed; 0 or -1. */
static int
run_scenario(const struct scenario *s, uint64_t seed, int quiet)
{
	int64_t from_us, start_us = s->fast ? 5 * SEC : 30 * SEC;

	now_running = s;
	group_begin(seed, choose);
	note("scenario: %s", s->name);
	run_until(start_us, NULL);
	if (w.server[0].machine.role != ROLE_MAIN)
		fail("0 is not main in the beginning");
	w.n_changes = 0;
	from_us = w.now_us;
	note("now");
	s->act();
	run_until(w.now_us + s->run_ms * MS, NULL);
	if (w.failure[0] == '\0')
		expect(s, from_us);
	if ((!quiet && seed == 1) || (quiet < 2 && w.failure[0] != '\0'))
		print_line(s, from_us);
	return w.failure[0] == '\0' ? 0 : -1;
}

/*
 * All of them, on some seeds each. quiet 0: prints the table; 1: prints those that fail; 2: stops
 * at the first that fails. Returns how many failed.
 */
unsigned
run_scenarios(int quiet)
{
	unsigned failed = 0;

	for (unsigned i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		for (uint64_t seed = 1; seed <= SCENARIO_SEEDS; seed++) {
			if (run_scenario(&scenarios[i], seed, quiet) != 0)
				failed++;
			if (failed && quiet == 2)
				return failed;
		}
	return failed;
}
