/* SPDX-License-Identifier: ISC */
/*
 * The role machine, single rules of it that the simulator cannot single out: whose word counts, and
 * what a changed configuration means for what was written before.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "roled/machine_internal.h"

enum { SELF, PARTNER, DMZ, N_SERVERS };
enum { START_MS = 100000, INSTANCE = 7, BOOT = 99, EPOCH = 6 };

static struct machine machine;
static struct machine_outputs out;

static void
make_config(struct machine_config *c)
{
	memset(c, 0, sizeof(*c));
	c->self = SELF;
	c->n_servers = N_SERVERS;
	c->mode = ARB_MANUAL;
	c->status_misses = c->icmp_misses = 3;
	c->status_interval_ms = 500;
	c->icmp_interval_ms = 1000;
	c->restart_grace_ms = c->hold_ms = c->step_down_ms = 10000;
	c->confirm_ms = c->join_ms = 5000;
	c->handover_timeout_ms = 10000;
	c->sync_bound_ms = 10000;
	for (uint8_t i = 0; i < N_SERVERS; i++)
		c->server[i] = (struct machine_server){.id = 100U + i,
		    .priority = 100,
		    .kind = i == DMZ ? KIND_DMZ : KIND_STANDARD,
		    .n_paths = 1,
		    .name_rank = i};
}

/* A server whose supervisor lives: it takes up the role that it had. */
static void
start(uint8_t role)
{
	struct machine_config c;
	struct machine_persisted p;
	struct machine_input tick = {.now_ms = START_MS, .kind = IN_TICK};

	make_config(&c);
	machine_persisted_blank(&p);
	p.instance = INSTANCE;
	p.role = role;
	p.epoch = p.epoch_seen = EPOCH;
	p.initialised = 1;
	machine_init(&machine, &c, &p, BOOT, INSTANCE, START_MS);
	machine_step(&machine, &tick, &out);
}

static void
hear(uint8_t from, enum machine_role role, uint64_t epoch)
{
	struct machine_input in = {.now_ms = machine.now_ms + 1, .kind = IN_RECORD};
	struct status_record *r = &in.u.status.record;
	static uint64_t seq;

	in.u.status.partner = from;
	r->kind = RECORD_STATUS;
	r->boot_id = 1000U + from;
	r->seq = ++seq;
	r->role = (uint8_t)role;
	r->condition = CONDITION_READY;
	r->flags = RECORD_HEALTHY | RECORD_IN_SYNC | RECORD_REFERENCES_KEPT;
	r->priority = 65535;
	r->epoch = r->epoch_seen = epoch;
	r->main_age_ms = role == ROLE_MAIN ? 1000000 : -1;
	r->main_heard_age_ms = r->heard_age_ms = 0;
	r->main_id = 100U + from;
	assert_int_equal(machine_record_check(r), 0);
	machine_step(&machine, &in, &out);
}

/* A taken-over DMZ server says that it is main, of the newest epoch there can be. */
static void
test_main_does_not_give_way_to_dmz(void **state)
{
	(void)state;
	start(ROLE_MAIN);
	assert_int_equal(machine.role, ROLE_MAIN);
	hear(DMZ, ROLE_MAIN, UINT64_C(1) << 62);
	hear(DMZ, ROLE_DMZ, UINT64_C(1) << 62);
	assert_int_equal(machine.role, ROLE_MAIN);
	assert_int_equal(machine.main, SELF);
	assert_int_equal(machine.persisted.epoch, EPOCH);
	assert_int_equal(machine.persisted.epoch_seen, EPOCH);
	for (unsigned i = 0; i < out.n; i++) /* nor can it make us write to the disk */
		assert_int_not_equal(out.out[i].kind, OUT_PERSIST);
}

static void
test_main_gives_way_to_better_main(void **state)
{
	(void)state;
	start(ROLE_MAIN);
	hear(PARTNER, ROLE_MAIN, EPOCH + 10);
	assert_int_equal(machine.role, ROLE_STANDBY);
	assert_int_equal(machine.main, PARTNER);
	assert_int_equal(machine.persisted.epoch_seen, EPOCH + 10);
}

static void
test_standby_does_not_follow_dmz(void **state)
{
	(void)state;
	start(ROLE_STANDBY);
	hear(DMZ, ROLE_MAIN, EPOCH + 10);
	assert_int_equal(machine.main, NOBODY);
	hear(PARTNER, ROLE_MAIN, EPOCH);
	assert_int_equal(machine.main, PARTNER);
	hear(DMZ, ROLE_MAIN, EPOCH + 20);
	assert_int_equal(machine.main, PARTNER);
	assert_int_equal(machine.persisted.epoch, EPOCH);
}

/* Who had left is known by id: the order in the file may be another one at the next start. */
static void
test_marks_follow_servers(void **state)
{
	struct machine_config c;
	struct machine_server first;
	struct machine_persisted p;

	(void)state;
	start(ROLE_STANDBY);
	machine.persisted.left = 1U << PARTNER;
	machine.persisted.outvoted = 1U << DMZ;
	machine.persisted.voted_for = PARTNER;
	machine_persisted_now(&machine, START_MS, &p);
	make_config(&c);
	first = c.server[SELF];
	c.server[SELF] = c.server[DMZ];
	c.server[DMZ] = c.server[PARTNER];
	c.server[PARTNER] = first;
	c.self = PARTNER;
	machine_init(&machine, &c, &p, BOOT, INSTANCE + 1, START_MS);
	assert_int_equal(machine.persisted.left, 1U << DMZ);
	assert_int_equal(machine.persisted.outvoted, 1U << SELF);
	assert_int_equal(machine.persisted.voted_for, DMZ);

	/* one that is not in the file any more has no mark */
	c.n_servers = 2;
	machine_init(&machine, &c, &p, BOOT, INSTANCE + 1, START_MS);
	assert_int_equal(machine.persisted.left, 0);
	assert_int_equal(machine.persisted.voted_for, NOBODY);
}

/* A dial that this server could not make is no sign that the partner does not answer. */
static void
test_own_failure_is_no_evidence(void **state)
{
	static const uint8_t says[CLOSE_MAX] = {[CLOSE_LOCAL] = DIAL_PENDING,
	    [CLOSE_ERROR] = DIAL_PENDING,
	    [CLOSE_REFUSED] = DIAL_REFUSED,
	    [CLOSE_TIMEOUT] = DIAL_UNANSWERED,
	    [CLOSE_UNREACHABLE] = DIAL_UNANSWERED};
	struct machine_input in = {.kind = IN_LINK};

	(void)state;
	start(ROLE_STANDBY);
	for (uint8_t cause = 0; cause < CLOSE_MAX; cause++) {
		if (cause == CLOSE_FIN || cause == CLOSE_RESET)
			continue; /* of connections only */
		in.now_ms = machine.now_ms + 1;
		in.u.link = (struct machine_link){.partner = PARTNER,
		    .direction = LINK_OUT,
		    .event = LINK_DIAL_FAILED,
		    .cause = cause};
		machine_step(&machine, &in, &out);
		assert_int_equal(machine.partner[PARTNER].path[0].dial, says[cause]);
	}
}

/* What does not fit is counted, and leaves what is there alone. */
static void
test_full_list_of_outputs(void **state)
{
	struct step s = {.m = &machine, .out = &out};

	(void)state;
	out.n = out.dropped = 0;
	for (int i = 0; i < MACHINE_OUTPUTS; i++)
		(void)step_emit(&s, OUT_BECOME);
	step_persist(&s, 1);
	assert_int_equal(out.n, MACHINE_OUTPUTS);
	assert_int_equal(out.dropped, 1);
	assert_int_equal(out.out[MACHINE_OUTPUTS - 1].kind, OUT_BECOME);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_main_does_not_give_way_to_dmz),
	    cmocka_unit_test(test_main_gives_way_to_better_main),
	    cmocka_unit_test(test_standby_does_not_follow_dmz),
	    cmocka_unit_test(test_marks_follow_servers),
	    cmocka_unit_test(test_own_failure_is_no_evidence),
	    cmocka_unit_test(test_full_list_of_outputs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
