/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl's pure parts: port table, firewall rules, plugin line, tables, what it finds in the
 * config, what it lets through to a terminal; and its reading of answers from a socket.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "lib/clock.h"

/* main.c has these; here an error that a test did not expect ends the run. */
void
die(int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	exit(100 + code);
}

void
die_usage(const struct options *o, const char *fmt, ...)
{
	(void)o;
	die(CTL_EXIT_USAGE, "%s", fmt);
}

static struct conf conf;

static void
add_server(const char *name, enum server_kind kind, const char *first, const char *second)
{
	struct conf_server *s = &conf.server[conf.general.n_servers++];
	const char *text[] = {first, second};

	snprintf(s->name, sizeof(s->name), "%s", name);
	s->kind = (uint8_t)kind;
	for (size_t i = 0; i < 2 && text[i] != NULL; i++) {
		s->path[i].family = strchr(text[i], ':') != NULL ? AF_INET6 : AF_INET;
		assert_int_equal(inet_pton(s->path[i].family, text[i], s->path[i].bytes), 1);
		s->n_paths++;
	}
}

static int
setup(void **state)
{
	(void)state;
	conf_defaults(&conf);
	snprintf(conf.general.group, sizeof(conf.general.group), "plant-7");
	add_server("alpha", KIND_STANDARD, "192.0.2.10", "2001:db8::10");
	add_server("beta", KIND_STANDARD, "192.0.2.11", NULL);
	add_server("delta", KIND_DMZ, "203.0.113.5", "2001:db8::5");
	conf.server[1].port = 5490;
	conf.reference[0].addr.family = AF_INET;
	assert_int_equal(inet_pton(AF_INET, "192.0.2.1", conf.reference[0].addr.bytes), 1);
	conf.general.n_references = 1;
	return 0;
}

/* ---- ports */

static void
test_ports(void **state)
{
	static struct port_row rows[PORT_ROWS];

	(void)state;
	assert_int_equal(ports_table(&conf, rows), 7);
	assert_string_equal(rows[0].protocol, "tcp");
	assert_int_equal(rows[0].port, 5481);
	assert_string_equal(rows[0].receiver, "alpha");
	assert_string_equal(rows[0].addresses, "192.0.2.10 2001:db8::10");
	assert_string_equal(rows[0].openers, "beta"); /* a dmz server opens nothing */
	assert_string_equal(rows[1].protocol, "icmp");
	assert_int_equal(rows[1].port, 0);
	assert_int_equal(rows[2].port, 5490);
	assert_string_equal(rows[4].receiver, "delta");
	assert_string_equal(rows[4].openers, "alpha beta");
	assert_string_equal(rows[6].addresses, "192.0.2.1");
	assert_string_equal(rows[6].openers, "alpha beta");
}

static void
test_ports_alone(void **state)
{
	static struct port_row rows[PORT_ROWS];

	(void)state;
	conf.general.n_servers = 1;
	conf.general.n_references = 0;
	assert_int_equal(ports_table(&conf, rows), 0);
}

/* ---- firewall */

static char rules[32768];

static void
expect_rule(const char *text)
{
	if (strstr(rules, text) == NULL)
		fail_msg("'%s' is not in\n%s", text, rules);
}

static void
refuse_rule(const char *text)
{
	if (strstr(rules, text) != NULL)
		fail_msg("'%s' is in\n%s", text, rules);
}

static void
test_firewall_standard(void **state)
{
	(void)state;
	assert_true(firewall_rules(&conf, 0, rules, sizeof(rules)) > 0);
	expect_rule("set openers4 {\n\t\ttype ipv4_addr\n\t\telements = { 192.0.2.11 }");
	refuse_rule("openers6"); /* beta has no IPv6 address: no empty set */
	expect_rule("set dmz4 {\n\t\ttype ipv4_addr\n\t\telements = { 203.0.113.5 }");
	expect_rule("ip6 saddr @dmz6 counter drop");
	expect_rule("ip saddr @openers4 tcp dport 5481 accept");
	expect_rule("ip saddr @openers4 icmp type echo-request accept");
	expect_rule("tcp dport 5481 counter drop");
	expect_rule("policy accept");
	refuse_rule("chain output");
	/* what a dmz server opens is refused before anything is accepted from addresses */
	assert_true(strstr(rules, "@dmz4 counter drop") < strstr(rules, "@openers4 tcp"));
	/* the port is this server's */
	conf.general.self = 1;
	assert_true(firewall_rules(&conf, 0, rules, sizeof(rules)) > 0);
	expect_rule("tcp dport 5490 counter drop");
	expect_rule("ip6 saddr @openers6 tcp dport 5490 accept");
	expect_rule("icmpv6 type echo-request accept");
}

static void
test_firewall_strict(void **state)
{
	(void)state;
	assert_true(firewall_rules(&conf, 1, rules, sizeof(rules)) > 0);
	expect_rule("hook input priority filter - 5; policy drop;");
	expect_rule("ct state invalid drop");
	refuse_rule("tcp dport 5481 counter drop");
}

static void
test_firewall_dmz(void **state)
{
	(void)state;
	conf.general.self = 2;
	assert_true(firewall_rules(&conf, 0, rules, sizeof(rules)) > 0);
	expect_rule("elements = { 192.0.2.10, 192.0.2.11 }");
	refuse_rule("set dmz");
	expect_rule("chain output");
	expect_rule("ip daddr @partners4 counter drop");
	expect_rule("ip6 daddr @partners6 counter drop");
}

static void
test_firewall_small_buffer(void **state)
{
	int whole;

	(void)state;
	whole = firewall_rules(&conf, 0, rules, sizeof(rules));
	for (int n = 1; n <= whole; n += 7)
		assert_int_equal(firewall_rules(&conf, 0, rules, (size_t)n), -1);
	assert_int_equal(firewall_rules(&conf, 0, rules, (size_t)whole + 1), whole);
}

/* ---- check */

static void
good_answer(struct answer *a)
{
	memset(a, 0, sizeof(*a));
	a->has_self = 1;
	a->self.now_ms = now_ms();
	snprintf(a->self.name, CONF_NAME, "alpha");
	snprintf(a->self.role, CTL_WORD, "main");
	snprintf(a->self.condition, CTL_WORD, "ready");
	a->self.epoch = 7;
	a->n_servers = 2;
	a->server[0].self = 1;
	snprintf(a->server[1].name, CONF_NAME, "beta");
	a->server[1].status_age_ms = 1234;
	a->server[1].rtt_us = 210;
}

static void
test_check(void **state)
{
	static struct answer a;
	char line[1024];

	(void)state;
	good_answer(&a);
	assert_int_equal(check_line(&a, line, sizeof(line)), CHECK_OK);
	assert_ptr_equal(strstr(line, "OK - alpha is main, ready | epoch=7 "), line);
	assert_non_null(strstr(line, " 'heard_beta'=1.234s 'rtt_beta'=0.000210s"));
	a.server[1].status_age_ms = -1;
	snprintf(a.self.note, CTL_NOTE, "no | standby");
	a.self.level = CTL_LEVEL_WARNING;
	assert_int_equal(check_line(&a, line, sizeof(line)), CHECK_WARNING);
	assert_ptr_equal(strstr(line, "WARNING - alpha is main, ready: no / standby | "), line);
	assert_non_null(strstr(line, "'heard_beta'=U"));
	a.self.level = CTL_LEVEL_CRITICAL;
	assert_int_equal(check_line(&a, line, sizeof(line)), CHECK_CRITICAL);
	a.self.now_ms -= STALE_MS + 100;
	assert_true(answer_stale(&a));
	assert_int_equal(check_line(&a, line, sizeof(line)), CHECK_UNKNOWN);
	assert_ptr_equal(strstr(line, "UNKNOWN - "), line);
}

/* Put v, lowest byte first, over the one place of the message where the number mark is. */
static void
overwrite(struct msg *m, uint64_t mark, uint64_t v)
{
	size_t found = 0;

	for (size_t i = 0; i + 8 <= m->len; i++) {
		uint64_t there = 0;

		for (size_t k = 0; k < 8; k++)
			there |= (uint64_t)m->body[i + k] << 8 * k;
		if (there != mark)
			continue;
		found++;
		for (size_t k = 0; k < 8; k++)
			m->body[i + k] = (uint8_t)(v >> 8 * k);
	}
	assert_int_equal(found, 1);
}

/* Numbers of a daemon that lies are refused before anybody counts with them; ours are made fit. */
static void
test_times(void **state)
{
	static const int64_t bad[] = {INT64_MIN, -2, CTL_TIME_MAX + 1, INT64_MAX};
	enum { MARK = 0x1234567 };
	static struct ctl_self s, back;
	static struct ctl_event e;
	static struct msg m;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t *const times[] = {&s.now_ms, &s.wall_ms, &s.role_age_ms, &s.hold_left_ms};

		for (size_t k = 0; k < sizeof(times) / sizeof(times[0]); k++) {
			*times[k] = MARK;
			msg_begin(&m, MSG_CTL_SELF);
			ctl_put_self(&m, &s);
			overwrite(&m, MARK, (uint64_t)bad[i]);
			assert_int_equal(ctl_get_self(&m, &back), -1);
			*times[k] = bad[i];
			msg_begin(&m, MSG_CTL_SELF);
			ctl_put_self(&m, &s);
			assert_int_equal(ctl_get_self(&m, &back), 0);
			*times[k] = 0;
		}
		e.margin_ms = MARK;
		msg_begin(&m, MSG_CTL_EVENT);
		ctl_put_event(&m, &e);
		overwrite(&m, MARK, (uint64_t)bad[i]);
		assert_int_equal(ctl_get_event(&m, &e),
		    bad[i] == INT64_MIN || bad[i] == -2 ? 0 : -1); /* none; missing */
	}
}

/* ---- find */

static unsigned
find(const char *config, char *state_dir, char *run_dir, char *error)
{
	char text[1024];

	snprintf(text, sizeof(text), "%s", config);
	snprintf(state_dir, CONF_COMMAND, "old-state");
	snprintf(run_dir, CONF_COMMAND, "old-run");
	return find_dirs(text, strlen(text), state_dir, run_dir, error, 256);
}

static void
test_find(void **state)
{
	char s[CONF_COMMAND], r[CONF_COMMAND], error[256];

	(void)state;
	assert_int_equal(
	    find("# state = \"/comment\"\nstate = \"/var/a \\\"b\\\"\"\nrun = '/run/x'\n"
		 "server \"state\" { run = \"/inside\" }",
		s, r, error),
	    0);
	assert_string_equal(s, "/var/a \"b\"");
	assert_string_equal(r, "/run/x");
	assert_int_equal(find("group = \"state = /no\" run=/bare", s, r, error), 0);
	assert_string_equal(s, "old-state");
	assert_string_equal(r, "/bare");
	assert_int_equal(find("state state = /x", s, r, error), 0);
	assert_int_equal(find("state", s, r, error), 0);
	assert_int_equal(find("state = ", s, r, error), 0);
	assert_string_equal(s, "old-state");
	assert_int_equal(find("run = \"relative\"", s, r, error), NEEDS_STATE | NEEDS_SOCKET);
	assert_int_equal(find("\nrun = \"/x", s, r, error), NEEDS_STATE | NEEDS_SOCKET);
	assert_string_equal(error, "2: this string is not closed on its line; a \" is missing");
	/* wrong behind what is looked for */
	assert_int_equal(find("run = /r\nstate = \"/s\"\nserver {\nport = \"", s, r, error), 0);
	assert_string_equal(s, "/s");
	assert_string_equal(r, "/r");
	/* what stands before that is known */
	assert_int_equal(find("run = /r\nserver {", s, r, error), NEEDS_STATE);
	assert_string_equal(r, "/r");
	assert_int_equal(find("state = /s\nserver {", s, r, error), NEEDS_SOCKET);
}

/* ---- tables and texts */

static void
test_table(void **state)
{
	static const char *const headings[] = {"NAME", "EMPTY", "AGE"};
	char *shown;
	size_t size;
	FILE *out = open_memstream(&shown, &size);
	struct table t;

	(void)state;
	table_init(&t, 3, headings, 1 << 2);
	table_row(&t);
	table_set(&t, 0, "alph\xc3\xa4"); /* five characters, six bytes */
	table_set(&t, 2, "%dms", 5);
	table_row(&t);
	table_set(&t, 0, "b");
	table_print(&t, out);
	table_init(&t, 3, headings, 0);
	table_print(&t, out); /* without rows: nothing */
	fclose(out);
	assert_string_equal(shown, "NAME   AGE\nalph\xc3\xa4  5ms\nb\n");
	free(shown);
}

static void
expect_clean(const char *text, const char *clean)
{
	char copy[64];

	snprintf(copy, sizeof(copy), "%s", text);
	clean_text(copy);
	assert_string_equal(copy, clean);
}

static void
test_clean_text(void **state)
{
	(void)state;
	expect_clean("plain", "plain");
	expect_clean("Stra\xc3\x9f"
		     "e \xe2\x82\xac \xf0\x9f\x9a\xa2",
	    "Stra\xc3\x9f"
	    "e \xe2\x82\xac \xf0\x9f\x9a\xa2");
	expect_clean("\x1b[31m\n\x7f", "?[31m??");
	expect_clean("\xc2\x9b"
		     "31m",
	    "??31m");				       /* an 8-bit escape sequence */
	expect_clean("\xff\xc3", "??");		       /* no UTF-8, cut */
	expect_clean("\xc0\xaf\xed\xa0\x80", "?????"); /* overlong, surrogate */
	expect_clean("\xf4\x90\x80\x80", "????");      /* beyond the last character */
}

/* ---- the connection */

struct fake {
	char path[64];
	int listener;
	struct options o;
};

static void
fake_start(struct fake *f)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	memset(f, 0, sizeof(*f));
	snprintf(f->path, sizeof(f->path), "/tmp/bulkhead-test-%ld.sock", (long)getpid());
	(void)unlink(f->path);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", f->path);
	snprintf(f->o.socket, sizeof(f->o.socket), "%s", f->path);
	f->listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(f->listener, 4), 0);
}

static void
fake_stop(struct fake *f)
{
	close(f->listener);
	(void)unlink(f->path);
}

static int
ignore(struct channel *c, struct msg *m)
{
	(void)c;
	(void)m;
	return 0;
}

/* The daemon's end of the next connection. */
static void
fake_accept(struct fake *f, struct channel *c)
{
	int fd = accept(f->listener, NULL, NULL);

	assert_true(fd >= 0);
	channel_init(c, fd, PROC_ROLED, PROC_CTL, ignore, NULL);
}

static void
send_end(struct channel *c, enum ctl_result result, const char *text)
{
	static struct msg m;

	msg_begin(&m, MSG_CTL_END);
	ctl_put_end(&m, result, text);
	assert_int_equal(channel_send(c, &m), 0);
}

static int
ask(struct client *c, int timeout_ms, struct answer *a, char error[512])
{
	static struct msg m;

	msg_begin(&m, MSG_CTL_STATUS);
	return client_ask(c, &m, timeout_ms, a, NULL, NULL, error, 512);
}

static void
test_client(void **state)
{
	static struct answer a;
	static struct msg m;
	struct ctl_reference reference = {.age_ms = 5, .address = "192.0.2.1", .state = "ok"};
	struct fake f;
	struct channel daemon;
	struct client *c;
	char error[512];

	(void)state;
	fake_start(&f);
	c = client_open(&f.o, error, sizeof(error));
	assert_non_null(c);
	fake_accept(&f, &daemon);
	for (uint8_t i = 0; i < 2; i++) {
		reference.index = i;
		msg_begin(&m, MSG_CTL_REFERENCE);
		ctl_put_reference(&m, &reference);
		assert_int_equal(channel_send(&daemon, &m), 0);
	}
	send_end(&daemon, CTL_OK, "well");
	assert_int_equal(ask(c, 2000, &a, error), 0);
	assert_int_equal(a.n_references, 2);
	assert_int_equal(a.reference[1].index, 1);
	assert_string_equal(a.text, "well");
	/* nothing comes */
	assert_int_equal(ask(c, 50, &a, error), -1);
	assert_non_null(strstr(error, "does not answer"));
	/* more than there can be */
	for (uint8_t i = 0; i <= CONF_REFERENCES; i++) {
		reference.index = 0;
		msg_begin(&m, MSG_CTL_REFERENCE);
		ctl_put_reference(&m, &reference);
		assert_int_equal(channel_send(&daemon, &m), 0);
	}
	assert_int_equal(ask(c, 2000, &a, error), -1);
	assert_non_null(strstr(error, "cannot be understood (malformed body)"));
	client_close(c);
	channel_close(&daemon);
	fake_stop(&f);
}

/* What a full daemon does: one CTL_END, then the end, before it reads anything. */
static void
test_client_refused(void **state)
{
	static struct answer a;
	struct fake f;
	struct channel daemon;
	struct client *c;
	char error[512];

	(void)state;
	fake_start(&f);
	c = client_open(&f.o, error, sizeof(error));
	assert_non_null(c);
	fake_accept(&f, &daemon);
	send_end(&daemon, CTL_REFUSED, "too many");
	channel_close(&daemon);
	assert_int_equal(ask(c, 2000, &a, error), 0);
	assert_int_equal(a.result, CTL_REFUSED);
	assert_string_equal(a.text, "too many");
	client_close(c);
	c = client_open(&f.o, error, sizeof(error));
	fake_accept(&f, &daemon);
	channel_close(&daemon);
	assert_int_equal(ask(c, 2000, &a, error), -1);
	assert_non_null(strstr(error, "without an answer"));
	client_close(c);
	fake_stop(&f);
	assert_null(client_open(&f.o, error, sizeof(error)));
	assert_non_null(strstr(error, "not running"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_ports, setup),
	    cmocka_unit_test_setup(test_ports_alone, setup),
	    cmocka_unit_test_setup(test_firewall_standard, setup),
	    cmocka_unit_test_setup(test_firewall_strict, setup),
	    cmocka_unit_test_setup(test_firewall_dmz, setup),
	    cmocka_unit_test_setup(test_firewall_small_buffer, setup),
	    cmocka_unit_test(test_check),
	    cmocka_unit_test(test_times),
	    cmocka_unit_test(test_find),
	    cmocka_unit_test(test_table),
	    cmocka_unit_test(test_clean_text),
	    cmocka_unit_test(test_client),
	    cmocka_unit_test(test_client_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
