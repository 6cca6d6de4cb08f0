/* SPDX-License-Identifier: ISC */
/*
 * The configuration: defaults, encoders and strict decoders, the rules between options, the digest;
 * and the durations and nearest names that the parser and bulkheadctl show.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/conf.h"
#include "lib/conf_options.h"
#include "lib/message.h"
#include "lib/nearest.h"
#include "lib/units.h"

static struct conf conf;

static void
set_addr(struct conf_addr *a, const char *text)
{
	a->family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
	assert_int_equal(inet_pton(a->family, text, a->bytes), 1);
}

static void
add_server(const char *name, enum server_kind kind, const char *address)
{
	uint8_t i = conf.general.n_servers++;
	struct conf_server *s = &conf.server[i];

	snprintf(s->name, sizeof(s->name), "%s", name);
	s->kind = (uint8_t)kind;
	set_addr(&s->path[0], address);
	s->n_paths = 1;
	memset(s->key_status, 0x10 + i, sizeof(s->key_status));
	memset(s->key_data, 0x40 + i, sizeof(s->key_data));
}

/* A pair with two reference hosts and a check, as every test starts from. */
static int
setup(void **state)
{
	(void)state;
	conf_defaults(&conf);
	snprintf(conf.general.group, sizeof(conf.general.group), "plant-7");
	add_server("alpha", KIND_STANDARD, "192.0.2.10");
	set_addr(&conf.server[0].path[1], "2001:db8::10");
	conf.server[0].n_paths = 2;
	add_server("beta", KIND_STANDARD, "192.0.2.11");
	set_addr(&conf.reference[0].addr, "192.0.2.1");
	set_addr(&conf.reference[1].addr, "192.0.2.254");
	conf.general.n_references = 2;
	conf.general.mode = ARB_REFERENCES;
	snprintf(conf.hook[HOOK_MAIN].command, CONF_COMMAND, "/bin/become main");
	conf.hook[HOOK_MAIN].uid = 1000;
	conf.hook[HOOK_MAIN].gid = 100;
	conf.general.n_checks = 1;
	snprintf(conf.check[0].name, CONF_NAME, "app");
	snprintf(conf.check[0].command, CONF_COMMAND, "/bin/alive");
	return 0;
}

static void
expect_bad(const char *start)
{
	char error[CONF_ERROR_TEXT] = "";

	assert_int_equal(conf_check_all(&conf, error, sizeof(error)), -1);
	if (strncmp(error, start, strlen(start)) != 0)
		fail_msg("'%s' does not start with '%s'", error, start);
}

static void
expect_good(void)
{
	char error[CONF_ERROR_TEXT] = "";

	if (conf_check_all(&conf, error, sizeof(error)) == -1)
		fail_msg("refused: %s", error);
}

/* ---- option table */

static void
test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];

		assert_true(conf_find_option(o->section, o->name) == o);
		assert_true(o->min <= o->value || !conf_is_number(o));
		assert_true(o->value <= o->max || !conf_is_number(o) ||
			    (o->type == CT_MS_NEVER && o->value == CONF_NEVER));
		assert_non_null(o->text);
		if (conf_is_number(o))
			assert_true(o->size == 1 || o->size == 2 || o->size == 4 || o->size == 8);
		if (conf_word(o->type, 0) != NULL) {
			assert_non_null(conf_word(o->type, (unsigned)o->max));
			assert_null(conf_word(o->type, (unsigned)o->max + 1));
		}
	}
	assert_null(conf_find_option("status", "intervall"));
}

static void
test_defaults(void **state)
{
	(void)state;
	assert_int_equal(conf.general.status_interval_ms, 500);
	assert_int_equal(conf.general.status_misses, 4);
	assert_int_equal(conf.general.hold_ms, 6000);
	assert_int_equal(conf.server[1].port, 5481);
	assert_int_equal(conf.server[1].priority, 100);
	assert_int_equal(conf.check[0].fall, 3);
	assert_int_equal(conf.hook[HOOK_STOP].timeout_ms, 10000);
	assert_string_equal(conf.general.run_dir, RUNDIR);
	expect_good();
}

/* ---- encoding */

static int
send_part(struct conf *to, struct msg *m)
{
	assert_false(m->bad);
	assert_true(m->len >= message_row(m->type)->min && m->len <= message_row(m->type)->max);
	return conf_apply(to, m);
}

static void
send_all(const struct conf *from, struct conf *to)
{
	static struct msg m;

	msg_begin(&m, MSG_CONF_GENERAL);
	conf_put_general(&m, &from->general);
	assert_int_equal(send_part(to, &m), 0);
	for (uint8_t i = 0; i < from->general.n_servers; i++) {
		msg_begin(&m, MSG_CONF_SERVER);
		conf_put_server(&m, i, &from->server[i]);
		assert_int_equal(send_part(to, &m), 0);
	}
	for (uint8_t i = 0; i < from->general.n_references; i++) {
		msg_begin(&m, MSG_CONF_REFERENCE);
		conf_put_reference(&m, i, &from->reference[i]);
		assert_int_equal(send_part(to, &m), 0);
	}
	for (uint8_t i = 0; i < HOOK_MAX; i++) {
		msg_begin(&m, MSG_CONF_HOOK);
		conf_put_hook(&m, i, &from->hook[i]);
		assert_int_equal(send_part(to, &m), 0);
	}
	for (uint8_t i = 0; i < from->general.n_checks; i++) {
		msg_begin(&m, MSG_CONF_CHECK);
		conf_put_check(&m, i, &from->check[i]);
		assert_int_equal(send_part(to, &m), 0);
	}
}

static void
test_round_trip(void **state)
{
	static struct conf copy;
	uint8_t a[16], b[16];

	(void)state;
	conf.general.confirm_ms = CONF_NEVER;
	conf.general.self = 1;
	conf.general.uid[PROC_NETD] = 61001;
	conf.general.admin_gid = 50;
	conf.general.data_mode = SOCKET_WORLD;
	conf.general.n_data_readers = 2;
	conf.general.data_reader[0] = 1001;
	conf.general.data_reader[1] = UINT32_MAX - 1;
	conf.server[1].priority = 7;
	conf.check[0].rise = 9;
	conf_defaults(&copy);
	send_all(&conf, &copy);
	assert_memory_equal(&conf.general, &copy.general, sizeof(conf.general));
	assert_memory_equal(conf.server, copy.server, sizeof(conf.server));
	assert_memory_equal(conf.reference, copy.reference, sizeof(conf.reference));
	assert_memory_equal(conf.hook, copy.hook, sizeof(conf.hook));
	assert_memory_equal(conf.check, copy.check, sizeof(conf.check));
	assert_true(conf_reads_only(&copy.general, 1001));
	assert_false(conf_reads_only(&copy.general, 0));
	conf_digest(&conf, a);
	conf_digest(&copy, b);
	assert_memory_equal(a, b, sizeof(a));
}

/* The largest of everything still fits its row of the message table. */
static void
test_largest(void **state)
{
	static struct conf copy;

	(void)state;
	memset(conf.general.group, 'g', CONF_NAME - 1);
	memset(conf.general.state_dir, '/', CONF_COMMAND - 1);
	memset(conf.general.run_dir, '/', CONF_COMMAND - 1);
	conf.general.n_data_readers = CONF_READERS;
	memset(conf.server[0].name, 's', CONF_NAME - 1);
	memset(conf.hook[0].command, '/', CONF_COMMAND - 1);
	memset(conf.check[0].command, '/', CONF_COMMAND - 1);
	memset(conf.check[0].name, 'c', CONF_NAME - 1);
	send_all(&conf, &copy);
}

static void
encode(struct msg *m, enum message_type type)
{
	msg_begin(m, type);
	switch (type) {
	case MSG_CONF_GENERAL:
		conf_put_general(m, &conf.general);
		break;
	case MSG_CONF_SERVER:
		conf_put_server(m, 0, &conf.server[0]);
		break;
	case MSG_CONF_REFERENCE:
		conf_put_reference(m, 0, &conf.reference[0]);
		break;
	case MSG_CONF_HOOK:
		conf_put_hook(m, 0, &conf.hook[0]);
		break;
	default:
		conf_put_check(m, 0, &conf.check[0]);
		break;
	}
}

static const enum message_type types[] = {
    MSG_CONF_GENERAL, MSG_CONF_SERVER, MSG_CONF_REFERENCE, MSG_CONF_HOOK, MSG_CONF_CHECK};

/* Every shorter body and one byte more is refused, and leaves the target as it was. */
static void
test_truncated(void **state)
{
	static struct msg m;
	static struct conf to, before;

	(void)state;
	conf_defaults(&to);
	before = to;
	for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		size_t whole;

		encode(&m, types[t]);
		whole = m.len;
		for (size_t n = 0; n < whole; n++) {
			encode(&m, types[t]);
			m.len = n;
			assert_int_equal(conf_apply(&to, &m), -1);
		}
		encode(&m, types[t]);
		msg_put_u8(&m, 0);
		assert_int_equal(conf_apply(&to, &m), -1);
		assert_memory_equal(&to, &before, sizeof(to));
	}
	msg_begin(&m, MSG_PING);
	assert_int_equal(conf_apply(&to, &m), -1);
}

/* One wrong field at a time; after each the right value is put back. */
#define REFUSED(type, field, wrong)                                                                \
	do {                                                                                       \
		static struct msg m;                                                               \
		static struct conf to;                                                             \
		__typeof__(field) right = (field);                                                 \
		encode(&m, type);                                                                  \
		assert_int_equal(conf_apply(&to, &m), 0);                                          \
		(field) = (wrong);                                                                 \
		encode(&m, type);                                                                  \
		assert_int_equal(conf_apply(&to, &m), -1);                                         \
		(field) = right;                                                                   \
	} while (0)

static void
test_strict(void **state)
{
	(void)state;
	REFUSED(MSG_CONF_GENERAL, conf.general.self, 2);
	REFUSED(MSG_CONF_GENERAL, conf.general.n_servers, CONF_SERVERS + 1);
	REFUSED(MSG_CONF_GENERAL, conf.general.n_references, CONF_REFERENCES + 1);
	REFUSED(MSG_CONF_GENERAL, conf.general.n_checks, CONF_CHECKS + 1);
	REFUSED(MSG_CONF_GENERAL, conf.general.mode, ARB_MODE_MAX);
	REFUSED(MSG_CONF_GENERAL, conf.general.observe, 2);
	REFUSED(MSG_CONF_GENERAL, conf.general.status_interval_ms, 4);
	REFUSED(MSG_CONF_GENERAL, conf.general.status_interval_ms, -1);
	REFUSED(MSG_CONF_GENERAL, conf.general.status_misses, 1);
	REFUSED(MSG_CONF_GENERAL, conf.general.hold_ms, CONF_NEVER);
	REFUSED(MSG_CONF_GENERAL, conf.general.confirm_ms, CONF_NEVER - 1);
	REFUSED(MSG_CONF_GENERAL, conf.general.uid[PROC_NETD], UINT32_MAX);
	REFUSED(MSG_CONF_GENERAL, conf.general.group[0], '\n');
	REFUSED(MSG_CONF_GENERAL, conf.general.group[0], '/');
	REFUSED(MSG_CONF_GENERAL, conf.general.run_dir[0], 'x');
	REFUSED(MSG_CONF_SERVER, conf.server[0].kind, KIND_MAX);
	REFUSED(MSG_CONF_SERVER, conf.server[0].port, 0);
	REFUSED(MSG_CONF_SERVER, conf.server[0].n_paths, 0);
	REFUSED(MSG_CONF_SERVER, conf.server[0].n_paths, CONF_PATHS + 1);
	REFUSED(MSG_CONF_SERVER, conf.server[0].path[0].family, 7);
	REFUSED(MSG_CONF_SERVER, conf.server[0].path[0].scope, 1);
	REFUSED(MSG_CONF_SERVER, conf.server[0].path[0].bytes[9], 1);
	REFUSED(MSG_CONF_SERVER, conf.server[0].name[0], '\0');
	REFUSED(MSG_CONF_SERVER, conf.server[0].name[0], '.');
	REFUSED(MSG_CONF_SERVER, conf.server[0].priority, -1);
	REFUSED(MSG_CONF_REFERENCE, conf.reference[0].addr.family, 0);
	REFUSED(MSG_CONF_HOOK, conf.hook[0].command[0], 'b');
	REFUSED(MSG_CONF_HOOK, conf.hook[0].command[3], '\x1b');
	REFUSED(MSG_CONF_HOOK, conf.hook[0].on_failure, HOOK_FAIL_MAX);
	REFUSED(MSG_CONF_HOOK, conf.hook[0].uid, UINT32_MAX);
	REFUSED(MSG_CONF_HOOK, conf.hook[0].timeout_ms, 0);
	REFUSED(MSG_CONF_CHECK, conf.check[0].command[0], '\0');
	REFUSED(MSG_CONF_CHECK, conf.check[0].rise, 0);
	REFUSED(MSG_CONF_CHECK, conf.check[0].gid, UINT32_MAX);
}

/* An index out of range is refused whatever the rest says. */
static void
test_index(void **state)
{
	static const struct {
		enum message_type type;
		uint8_t limit;
	} rows[] = {{MSG_CONF_SERVER, CONF_SERVERS}, {MSG_CONF_REFERENCE, CONF_REFERENCES},
	    {MSG_CONF_HOOK, HOOK_MAX}, {MSG_CONF_CHECK, CONF_CHECKS}};
	static struct msg m;
	static struct conf to;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		encode(&m, rows[i].type);
		m.body[0] = (uint8_t)(rows[i].limit - 1);
		assert_int_equal(conf_apply(&to, &m), 0);
		encode(&m, rows[i].type);
		m.body[0] = rows[i].limit;
		assert_int_equal(conf_apply(&to, &m), -1);
	}
}

/* ---- rules */

static void
test_rules_servers(void **state)
{
	(void)state;
	set_addr(&conf.server[1].path[0], "192.0.2.10");
	expect_bad("server beta.address: 192.0.2.10 is also an address of server alpha");
	set_addr(&conf.server[1].path[0], "224.0.0.1");
	expect_bad("server beta.address: 224.0.0.1 is a multicast address");
	set_addr(&conf.server[1].path[0], "::");
	expect_bad("server beta.address: :: is the unspecified address");
	set_addr(&conf.server[1].path[0], "fe80::1");
	expect_bad("server beta.address: fe80::1 is a link-local address without");
	conf.server[1].path[0].scope = 3;
	expect_good();
	conf.server[1].path[0].scope = 0;
	set_addr(&conf.server[1].path[0], "2001:db8::11");
	expect_good();
	snprintf(conf.server[1].name, CONF_NAME, "alpha");
	expect_bad("server alpha is there twice");
	snprintf(conf.server[1].name, CONF_NAME, "beta");
	memcpy(conf.server[1].key_data, conf.server[0].key_data, 32);
	expect_bad("server beta.key is also the key of server alpha");
	memset(conf.server[1].key_data, 0, 32);
	expect_bad("server beta.key is missing");
	memset(conf.server[1].key_data, 9, 32);
	conf.server[1].data_limit = DATA_LIMIT_MIN - 1;
	expect_bad("server beta.data-limit is less than 4KiB");
	conf.server[1].data_limit = DATA_LIMIT_MIN;
	expect_good();
	memset(conf.server[1].key_data, 9, 32);
	conf.server[0].kind = KIND_PERMANENT;
	conf.server[1].kind = KIND_DMZ;
	expect_bad("server: no server is of kind standard");
}

static void
test_rules_references(void **state)
{
	(void)state;
	set_addr(&conf.reference[1].addr, "192.0.2.1");
	expect_bad("icmp.reference: 192.0.2.1 is there twice");
	set_addr(&conf.reference[1].addr, "192.0.2.11");
	expect_bad("icmp.reference: 192.0.2.11 is an address of server beta");
	conf.general.n_references = 0;
	expect_bad("arbitration.mode references needs at least one host");
	conf.general.mode = ARB_MANUAL;
	expect_good();
}

static void
test_rules_times(void **state)
{
	(void)state;
	conf.general.hold_ms = 1999;
	expect_bad(
	    "arbitration.hold is 1999ms; it must be at least status.interval x status.misses, "
	    "which is 2s");
	conf.general.mode = ARB_MANUAL;
	expect_good();
	conf.general.mode = ARB_REFERENCES;
	conf.general.hold_ms = 4499;
	expect_bad("arbitration.step-down is 4s; plus status.interval");
	conf.general.hold_ms = 4500;
	expect_good();
	conf.general.icmp_interval_ms = 2001;
	expect_bad("arbitration.step-down is 4s; it must be at least two times icmp.interval");
	conf.general.icmp_interval_ms = 2000;
	expect_good();
	conf.general.icmp_interval_ms = 1000;
	conf.general.flap_hold_max_ms = 1000;
	expect_bad("role.flap-hold-max is 1s");
	conf.general.flap_hold_max_ms = 120000;
	conf.general.watchdog_ms = 5000;
	expect_bad("arbitration.lease is 12s");
	conf.general.watchdog_ms = 3000;
	conf.check[0].timeout_ms = 5001;
	expect_bad("check app.timeout is 5001ms");
	conf.check[0].timeout_ms = 5000;
	expect_good();
	memset(conf.check, 0, sizeof(conf.check)); /* a process without checks */
	expect_good();
}

static void
test_rules_voters(void **state)
{
	(void)state;
	conf.general.mode = ARB_VOTERS;
	add_server("delta", KIND_DMZ, "192.0.2.12");
	expect_bad(
	    "arbitration.mode voters needs three servers that are not of kind dmz; there are 2");
	conf.server[2].kind = KIND_PERMANENT;
	expect_good();
}

/* Who can never take over is none of the standbys that an answer waits for. */
static void
test_rules_sync(void **state)
{
	(void)state;
	conf.general.sync_standbys = 2;
	add_server("delta", KIND_PERMANENT, "192.0.2.12");
	expect_good(); /* async */
	conf.general.sync_mode = SYNC_SYNC;
	expect_bad("sync.standbys is 2, but only 1 other servers are of kind standard");
	conf.server[2].kind = KIND_STANDARD;
	expect_good();
}

static void
test_rules_rest(void **state)
{
	(void)state;
	conf.general.uid[PROC_NETD] = 7;
	conf.general.uid[PROC_KEYD] = 7;
	expect_bad("user.keyd is 7, which is also user.netd");
	conf.general.uid[PROC_KEYD] = 8;
	expect_good();
	conf.hook[HOOK_MAIN].uid = 8;
	expect_bad("hook.user is 8, which is user.keyd");
	conf.hook[HOOK_MAIN].uid = 9;
	conf.check[0].uid = 7;
	expect_bad("check app.user is 7, which is user.netd");
	conf.check[0].uid = 9;
	memset(conf.general.run_dir, '/', 93);
	expect_bad("run has 93 bytes");
	conf.general.run_dir[92] = '\0';
	expect_good();
	snprintf(conf.general.state_dir, CONF_COMMAND, "%s", conf.general.run_dir);
	expect_bad("state and run are the same directory");
	conf.general.group[0] = '\0';
	expect_bad("group is missing");
}

static void
test_digest(void **state)
{
	static struct conf other;
	uint8_t a[16], b[16];

	(void)state;
	other = conf;
	other.server[0] = conf.server[1];
	other.server[1] = conf.server[0];
	other.general.self = 1;
	other.general.n_references = 0;
	snprintf(other.hook[0].command, CONF_COMMAND, "/other");
	conf_digest(&conf, a);
	conf_digest(&other, b);
	assert_memory_equal(a, b, sizeof(a));
	other.server[0].port = 5482;
	conf_digest(&other, b);
	assert_memory_not_equal(a, b, sizeof(a));
	other.server[0].port = 5481;
	other.general.hold_ms++;
	conf_digest(&other, b);
	assert_memory_not_equal(a, b, sizeof(a));
}

static void
test_restart(void **state)
{
	static struct conf new;
	char buf[64];

	(void)state;
	new = conf;
	assert_null(conf_restart_option(&conf, &new, buf, sizeof(buf)));
	new.general.hold_ms++;
	assert_null(conf_restart_option(&conf, &new, buf, sizeof(buf)));
	/* the order of servers may change, who we are may not */
	new.server[0] = conf.server[1];
	new.server[1] = conf.server[0];
	new.general.self = 1;
	assert_null(conf_restart_option(&conf, &new, buf, sizeof(buf)));
	new.general.self = 0;
	assert_string_equal(conf_restart_option(&conf, &new, buf, sizeof(buf)), "self");
	new = conf;
	new.general.uid[PROC_ROLED] = 5;
	assert_string_equal(conf_restart_option(&conf, &new, buf, sizeof(buf)), "user.roled");
	new = conf;
	snprintf(new.general.run_dir, CONF_COMMAND, "/other");
	assert_string_equal(conf_restart_option(&conf, &new, buf, sizeof(buf)), "run");
}

static void
test_address(void **state)
{
	struct sockaddr_storage ss;
	char buf[64];

	(void)state;
	assert_string_equal(
	    conf_addr_text(&conf.server[0].path[0], buf, sizeof(buf)), "192.0.2.10");
	assert_int_equal(
	    conf_addr_sockaddr(&conf.server[0].path[0], 5481, &ss), sizeof(struct sockaddr_in));
	assert_int_equal(ntohs(((struct sockaddr_in *)&ss)->sin_port), 5481);
	conf.server[0].path[1].scope = 4;
	assert_string_equal(
	    conf_addr_text(&conf.server[0].path[1], buf, sizeof(buf)), "2001:db8::10%4");
	assert_int_equal(
	    conf_addr_sockaddr(&conf.server[0].path[1], 1, &ss), sizeof(struct sockaddr_in6));
	conf.server[0].path[0].family = 0;
	assert_string_equal(conf_addr_text(&conf.server[0].path[0], buf, sizeof(buf)), "?");
	assert_int_equal(conf_addr_sockaddr(&conf.server[0].path[0], 1, &ss), 0);
	assert_string_equal(conf_addr_text(&conf.server[1].path[0], buf, 4), "?");
}

/* ---- units and nearest names */

static void
test_durations(void **state)
{
	static const struct {
		const char *text;
		enum units_result result;
		int64_t ms;
	} rows[] = {{"500ms", UNITS_OK, 500}, {"2s", UNITS_OK, 2000}, {"1min", UNITS_OK, 60000},
	    {"3h", UNITS_OK, 10800000}, {"7d", UNITS_OK, 604800000}, {"1h30min", UNITS_OK, 5400000},
	    {"0", UNITS_OK, 0}, {"0ms", UNITS_OK, 0}, {"500", UNITS_NO_UNIT, 0},
	    {"5m", UNITS_BAD_UNIT, 0}, {"5 s", UNITS_BAD_UNIT, 0}, {"5sec", UNITS_BAD_UNIT, 0},
	    {"", UNITS_MALFORMED, 0}, {"-5s", UNITS_MALFORMED, 0}, {"s", UNITS_MALFORMED, 0},
	    {"1.5s", UNITS_BAD_UNIT, 0}, {"1s2h", UNITS_MALFORMED, 0}, {"1s1s", UNITS_MALFORMED, 0},
	    {"1s ", UNITS_MALFORMED, 0}, {"106751991168d", UNITS_OVERFLOW, 0},
	    {"9223372036854775807ms", UNITS_OVERFLOW, 0},
	    {"99999999999999999999ms", UNITS_OVERFLOW, 0}};
	char buf[UNITS_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t ms = -1;

		if (units_parse_duration(rows[i].text, &ms) != rows[i].result)
			fail_msg("%s", rows[i].text);
		if (rows[i].result == UNITS_OK)
			assert_int_equal(ms, rows[i].ms);
	}
	assert_string_equal(units_format_duration(1500, buf), "1500ms");
	assert_string_equal(units_format_duration(120000, buf), "2min");
	assert_string_equal(units_format_duration(0, buf), "0ms");
	assert_string_equal(units_format_duration(CONF_NEVER, buf), "never");
	assert_string_equal(units_format_age(90061000, buf), "1d 1h");
	assert_string_equal(units_format_age(2250, buf), "2s 250ms");
	assert_string_equal(units_format_age(12250, buf), "12s");
	assert_string_equal(units_format_age(250, buf), "250ms");
	assert_string_equal(units_format_age(7200000, buf), "2h");
}

static void
test_numbers(void **state)
{
	int64_t v;

	(void)state;
	assert_int_equal(units_parse_number("5481", &v), UNITS_OK);
	assert_int_equal(v, 5481);
	assert_int_equal(units_parse_number("-3", &v), UNITS_OK);
	assert_int_equal(v, -3);
	assert_int_equal(units_parse_number("0x10", &v), UNITS_MALFORMED);
	assert_int_equal(units_parse_number("+1", &v), UNITS_MALFORMED);
	assert_int_equal(units_parse_number("--1", &v), UNITS_MALFORMED);
	assert_int_equal(units_parse_number("9223372036854775808", &v), UNITS_OVERFLOW);
}

static void
test_nearest(void **state)
{
	struct nearest n = {0};

	(void)state;
	assert_int_equal(nearest_distance("interval", "intervall"), 1);
	assert_int_equal(nearest_distance("misses", "msises"), 1);
	assert_int_equal(nearest_distance("", "abc"), 3);
	assert_int_equal(nearest_distance("kitten", "sitting"), 3);
	nearest_offer(&n, "intervall", "misses");
	assert_null(n.best);
	nearest_offer(&n, "intervall", "interval");
	nearest_offer(&n, "intervall", "internal");
	assert_string_equal(n.best, "interval");
	n = (struct nearest){0};
	nearest_offer(&n, "xy", "on");
	assert_null(n.best);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_table, setup),
	    cmocka_unit_test_setup(test_defaults, setup),
	    cmocka_unit_test_setup(test_round_trip, setup),
	    cmocka_unit_test_setup(test_largest, setup),
	    cmocka_unit_test_setup(test_truncated, setup),
	    cmocka_unit_test_setup(test_strict, setup),
	    cmocka_unit_test_setup(test_index, setup),
	    cmocka_unit_test_setup(test_rules_servers, setup),
	    cmocka_unit_test_setup(test_rules_references, setup),
	    cmocka_unit_test_setup(test_rules_times, setup),
	    cmocka_unit_test_setup(test_rules_voters, setup),
	    cmocka_unit_test_setup(test_rules_sync, setup),
	    cmocka_unit_test_setup(test_rules_rest, setup),
	    cmocka_unit_test_setup(test_digest, setup),
	    cmocka_unit_test_setup(test_restart, setup),
	    cmocka_unit_test_setup(test_address, setup),
	    cmocka_unit_test(test_durations),
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_nearest),
	};

	if (sodium_init() == -1)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
