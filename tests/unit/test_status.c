/* SPDX-License-Identifier: ISC */
/*
 * The bytes of roled: status records between servers, role state and ledger entries on disk. Every
 * field survives, every other length is refused, and bytes at random never do harm.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "roled/roled.h"
#include "roled/status.h"

static void
make_record(struct status_record *r)
{
	memset(r, 0, sizeof(*r));
	r->kind = RECORD_REFUSE;
	r->role = ROLE_MAIN;
	r->condition = CONDITION_READY;
	r->reason = RULE_MAIN_OK;
	r->flags = RECORD_HEALTHY | RECORD_WAS_MAIN;
	r->boot_id = 0x0102030405060708;
	r->seq = 0x1112131415161718;
	r->uptime_ms = 0x212223;
	r->priority = -5;
	r->main_id = 0x31323334;
	r->elect_id = 0x41424344;
	r->successor_id = 0x51525354;
	r->epoch = 0x6162;
	r->epoch_seen = 0x7172;
	r->position_epoch = 0x8182;
	r->position_index = 0x9192;
	r->main_age_ms = 11;
	r->in_sync_age_ms = -1;
	r->heard_age_ms = 12;
	r->main_heard_age_ms = -1;
	r->pause_left_ms = 13;
	memset(r->digest, 0xab, sizeof(r->digest));
	r->lease_epoch = 14;
	r->lease_sent_ms = 15;
	r->grant_epoch = 16;
	r->grant_echo_ms = 17;
}

static void
status_keeps_every_field(void **state)
{
	uint8_t bytes[STATUS_SIZE];
	struct status_record a, b;

	(void)state;
	make_record(&a);
	status_encode(bytes, &a);
	assert_int_equal(status_decode(bytes, sizeof(bytes), &b), STATUS_RECORD);
	assert_int_equal(b.kind, a.kind);
	assert_int_equal(b.role, a.role);
	assert_int_equal(b.condition, a.condition);
	assert_int_equal(b.reason, a.reason);
	assert_int_equal(b.flags, a.flags);
	assert_int_equal(b.boot_id, a.boot_id);
	assert_int_equal(b.seq, a.seq);
	assert_int_equal(b.uptime_ms, a.uptime_ms);
	assert_int_equal(b.priority, a.priority);
	assert_int_equal(b.main_id, a.main_id);
	assert_int_equal(b.elect_id, a.elect_id);
	assert_int_equal(b.successor_id, a.successor_id);
	assert_int_equal(b.epoch, a.epoch);
	assert_int_equal(b.epoch_seen, a.epoch_seen);
	assert_int_equal(b.position_epoch, a.position_epoch);
	assert_int_equal(b.position_index, a.position_index);
	assert_int_equal(b.main_age_ms, a.main_age_ms);
	assert_int_equal(b.in_sync_age_ms, a.in_sync_age_ms);
	assert_int_equal(b.heard_age_ms, a.heard_age_ms);
	assert_int_equal(b.main_heard_age_ms, a.main_heard_age_ms);
	assert_int_equal(b.pause_left_ms, a.pause_left_ms);
	assert_memory_equal(b.digest, a.digest, sizeof(a.digest));
	assert_int_equal(b.lease_epoch, a.lease_epoch);
	assert_int_equal(b.lease_sent_ms, a.lease_sent_ms);
	assert_int_equal(b.grant_epoch, a.grant_epoch);
	assert_int_equal(b.grant_echo_ms, a.grant_echo_ms);
}

/* The layout is a promise to other implementations: offsets of doc/protocol.md. */
static void
status_has_the_documented_layout(void **state)
{
	static const uint8_t boot[8] = {8, 7, 6, 5, 4, 3, 2, 1};
	uint8_t bytes[STATUS_SIZE];
	struct status_record a;

	(void)state;
	make_record(&a);
	status_encode(bytes, &a);
	assert_int_equal(bytes[0], STATUS_VERSION);
	assert_int_equal(bytes[1], RECORD_REFUSE);
	assert_int_equal(bytes[2], ROLE_MAIN);
	assert_int_equal(bytes[3], CONDITION_READY);
	assert_int_equal(bytes[4], RULE_MAIN_OK);
	assert_int_equal(bytes[5], 0);
	assert_int_equal(bytes[6] | bytes[7] << 8, a.flags);
	assert_memory_equal(bytes + 8, boot, 8);
	assert_int_equal(bytes[32], 0xfb);
	assert_int_equal(bytes[36], 0x34);
	assert_int_equal(bytes[48], 0x62);
	assert_int_equal(bytes[88], 0xff);
	assert_int_equal(bytes[112], 13);
	assert_int_equal(bytes[120], 0xab);
	assert_int_equal(bytes[135], 0xab);
	assert_int_equal(bytes[136], 14);
	assert_int_equal(bytes[160], 17);
}

static void
status_is_strict(void **state)
{
	uint8_t bytes[STATUS_SIZE + 1] = {0}, bad[STATUS_SIZE];
	struct status_record a, b;

	(void)state;
	make_record(&a);
	status_encode(bytes, &a);
	for (size_t n = 0; n <= STATUS_SIZE + 1; n++)
		assert_int_equal(
		    status_decode(bytes, n, &b), n == STATUS_SIZE ? STATUS_RECORD : STATUS_BAD);
	for (size_t at = 0; at < 6; at++) { /* version, kind, role, condition, reason, zero */
		memcpy(bad, bytes, sizeof(bad));
		bad[at] = 0xf0;
		assert_int_equal(status_decode(bad, sizeof(bad), &b), STATUS_BAD);
	}
	memcpy(bad, bytes, sizeof(bad));
	bad[7] = 0x80;
	assert_int_equal(status_decode(bad, sizeof(bad), &b), STATUS_BAD);
	for (size_t at = 80; at <= 104; at += 8) { /* ages below -1 */
		memcpy(bad, bytes, sizeof(bad));
		memset(bad + at, 0xff, 8);
		bad[at] = 0xfe;
		assert_int_equal(status_decode(bad, sizeof(bad), &b), STATUS_BAD);
	}
	status_encode_close(bytes);
	assert_int_equal(status_decode(bytes, STATUS_SIZE, &b), STATUS_CLOSING);
	for (size_t at = 2; at < STATUS_SIZE; at++) {
		bytes[at] = 1;
		assert_int_equal(status_decode(bytes, STATUS_SIZE, &b), STATUS_BAD);
		bytes[at] = 0;
	}
}

static void
random_bytes_do_no_harm(void **state)
{
	uint8_t bytes[LEDGER_CONTENT];
	struct machine_persisted p;
	struct status_record r;
	static struct entry e;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		size_t n = randombytes_uniform(sizeof(bytes) + 1);

		randombytes_buf(bytes, sizeof(bytes));
		bytes[0] = 1;
		(void)status_decode(bytes, n < STATUS_SIZE ? n : STATUS_SIZE, &r);
		(void)entry_decode(bytes, n, &e);
		bytes[0] = 2;
		(void)persisted_decode(bytes, n < STORE_CONTENT ? n : STORE_CONTENT, &p);
	}
}

static void
role_state_keeps_every_field(void **state)
{
	uint8_t bytes[STORE_CONTENT];
	struct machine_persisted a, b;
	size_t n;

	(void)state;
	memset(&a, 0, sizeof(a));
	a.instance = 1;
	a.epoch = 2;
	a.epoch_seen = UINT64_MAX;
	a.position_index = 4;
	a.event = 5;
	a.role = ROLE_MAIN;
	a.last_main = a.clean = a.stale = a.initialised = 1;
	a.left = 0x80000001;
	a.outvoted = 7;
	a.voted_epoch = 8;
	a.voted_for = NOBODY;
	a.lease_until_ms = -9;
	a.pause_left_ms = 10;
	memset(a.pause_owner, 'o', sizeof(a.pause_owner) - 1);
	memset(a.pause_reason, 'r', sizeof(a.pause_reason) - 1);
	a.n_takeovers = MACHINE_TAKEOVERS;
	for (int i = 0; i < MACHINE_TAKEOVERS; i++)
		a.takeover_age_ms[i] = 1000 + i;
	a.n_servers = MACHINE_SERVERS;
	for (unsigned i = 0; i < MACHINE_SERVERS; i++)
		a.server_id[i] = UINT32_MAX - i;
	n = persisted_encode(bytes, &a); /* the longest there is: it has to fit */
	assert_true(n > 0);
	assert_int_equal(persisted_decode(bytes, n, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(persisted_decode(bytes, cut, &b), -1);
	machine_persisted_blank(&a);
	n = persisted_encode(bytes, &a);
	assert_int_equal(persisted_decode(bytes, n, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
}

static void
entry_keeps_every_field(void **state)
{
	uint8_t bytes[LEDGER_CONTENT];
	static struct entry a, b;
	size_t n;

	(void)state;
	memset(&a, 0, sizeof(a));
	a.e.at_ms = 1;
	a.e.epoch = 2;
	a.e.kind = LEDGER_NO_DECISION;
	a.e.rule = RULE_WAIT_HOLD;
	a.e.peer = 3;
	a.e.role = ROLE_STANDBY;
	a.e.condition = CONDITION_READY;
	a.e.refs_seen = 1;
	a.e.refs_total = 2;
	a.e.margin_ms = MACHINE_NEVER;
	a.value = 4;
	a.e.n_partners = MACHINE_SERVERS;
	for (int i = 0; i < MACHINE_SERVERS; i++) {
		a.id[i] = 0x80000000U + (uint32_t)i;
		a.e.partner[i].verdict = VERDICT_OFFLINE;
		a.e.partner[i].links_up = 2;
		a.e.partner[i].icmp = PROBE_LOST;
		a.e.partner[i].role = ROLE_MAIN;
		a.e.partner[i].heard_age_ms = -1;
		a.e.partner[i].icmp_age_ms = INT32_MAX;
	}
	memset(a.note, 'n', sizeof(a.note) - 1);
	n = entry_encode(bytes, &a);
	assert_true(n > 0);
	assert_int_equal(entry_decode(bytes, n, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(entry_decode(bytes, cut, &b), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(status_keeps_every_field),
	    cmocka_unit_test(status_has_the_documented_layout),
	    cmocka_unit_test(status_is_strict),
	    cmocka_unit_test(random_bytes_do_no_harm),
	    cmocka_unit_test(role_state_keeps_every_field),
	    cmocka_unit_test(entry_keeps_every_field),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
