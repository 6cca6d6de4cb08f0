/* SPDX-License-Identifier: ISC */
/*
 * bulkhead.conf(5) as the parser process understands it: a full file, and what is said about each
 * kind of wrong one.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/conf.h"
#include "parser/file.h"
#include "lib/source.h"

static const struct lookup lookup = {
    .passwd = "root:x:0:0:root:/root:/bin/sh\nscada:x:1001:1002:,,,:/home:/bin/sh\nbroken:x:x:1\n",
    .group = "root:x:0:\nadm:x:4:scada\nwheel:x:10:\n",
    .hosts = "# comment\n127.0.0.1\tlocalhost\n192.0.2.11 beta.example beta # the other\n"
	     "2001:db8::5 six\n",
    .inet6 = "fe800000000000000000000000000001 0b 40 20 80     eth0\n",
    .host = "alpha.example",
};

static char key_a[IDENTITY_TEXT], key_b[IDENTITY_TEXT], key_c[IDENTITY_TEXT];
static struct conf conf;
static char error[CONF_ERROR_TEXT];

static int
setup(void **state)
{
	uint8_t status[32], data[32];
	char *keys[] = {key_a, key_b, key_c};

	(void)state;
	for (uint8_t i = 0; i < 3; i++) {
		memset(status, 1 + i, sizeof(status));
		memset(data, 101 + i, sizeof(data));
		identity_encode(status, data, keys[i]);
	}
	return 0;
}

static int parse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int
parse(const char *fmt, ...)
{
	static char text[SOURCE_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	error[0] = '\0';
	return file_parse(text, (size_t)n, &lookup, &conf, error, sizeof(error));
}

/* A good pair of five lines, then the text; what is said must be exactly this. */
static void
expect(const char *text, const char *said)
{
	int r = parse("group = \"plant-7\"\n"
		      "server \"alpha\" { address = {\"192.0.2.10\"} key = \"%s\" }\n"
		      "server \"beta\" {\n"
		      "	address = {\"192.0.2.11\"} key = \"%s\"\n"
		      "}\n"
		      "%s",
	    key_a, key_b, text);

	if (said == NULL && r == -1)
		fail_msg("refused: %s", error);
	if (said != NULL && strcmp(error, said) != 0)
		fail_msg("\nfor:      %s\nsaid:     %s\nexpected: %s", text, error, said);
}

/* What test_full() says of the servers, and how they watch each other. */
static void
expect_servers(void)
{
	assert_string_equal(conf.general.group, "plant-7");
	assert_int_equal(conf.general.self, 0);
	assert_int_equal(conf.general.n_servers, 3);
	assert_int_equal(conf.server[0].n_paths, 2);
	assert_int_equal(conf.server[0].path[1].family, AF_INET6);
	assert_int_equal(conf.server[0].port, 5482);
	assert_int_equal(conf.server[0].priority, 120);
	assert_int_equal(conf.server[0].key_data[31], 101);
	assert_int_equal(conf.server[1].path[0].bytes[3], 11);
	assert_int_equal(conf.server[2].kind, KIND_DMZ);
	assert_int_equal(conf.server[2].path[0].scope, 11);
	assert_int_equal(conf.general.status_interval_ms, 100);
	assert_int_equal(conf.general.n_references, 2);
	assert_int_equal(conf.general.mode, ARB_REFERENCES);
	assert_true(conf.general.confirm_ms == CONF_NEVER);
	assert_int_equal(conf.general.lease_ms, 30000);
	assert_int_equal(conf.general.renew_ms, 4000);
}

/* What it says of hooks and checks. */
static void
expect_hooks(void)
{
	assert_string_equal(conf.hook[HOOK_MAIN].command, "/bin/become-main now");
	assert_string_equal(conf.hook[HOOK_STOP].command, "/bin/stop \"x\"");
	assert_string_equal(conf.hook[HOOK_ALARM].command, "");
	assert_int_equal(conf.hook[HOOK_ALARM].uid, 1001);
	assert_int_equal(conf.hook[HOOK_MAIN].gid, 1002);
	assert_int_equal(conf.hook[HOOK_MAIN].timeout_ms, 20000);
	assert_int_equal(conf.hook[HOOK_MAIN].on_failure, HOOK_FAIL_UNDO);
	assert_int_equal(conf.general.n_checks, 1);
	assert_int_equal(conf.check[0].gid, 4);
	assert_int_equal(conf.check[0].timeout_ms, 1000);
}

/* What it says of users, and the rest. */
static void
expect_users(void)
{
	assert_int_equal(conf.general.uid[PROC_NETD], 61001);
	assert_int_equal(conf.general.gid[PROC_KEYD], 61004);
	assert_int_equal(conf.general.admin_gid, 4);
	assert_int_equal(conf.general.data_gid, 4);
	assert_int_equal(conf.general.data_mode, SOCKET_WORLD);
	assert_int_equal(conf.general.n_data_readers, 2);
	assert_int_equal(conf.general.data_reader[0], 1001);
	assert_int_equal(conf.general.data_reader[1], 1009);
	assert_int_equal(conf.general.realtime, 0);
	assert_int_equal(conf.general.observe, 1);
}

static void
test_full(void **state)
{
	(void)state;
	if (parse("# a full file\n"
		  "group = \"plant-7\" /* two\nlines */ self = \"alpha\" // host name\n"
		  "server \"alpha\" {\n"
		  "  kind = \"standard\"\n"
		  "  address = {\"192.0.2.10\", \"2001:db8::10\"}\n"
		  "  port = 5482 priority = 120\n"
		  "  key = \"%s\"\n"
		  "}\n"
		  "server \"beta\" { address = beta key = \"%s\" }\n"
		  "server \"delta\" { kind = dmz address = {\"fe80::5%%eth0\"} key = \"%s\" }\n"
		  "status { interval = 100ms misses = 3 }\n"
		  "icmp { interval = \"200ms\" reference = {\"192.0.2.1\", \"six\"} }\n"
		  "arbitration { confirm = never profile = calm renew = 4s }\n"
		  "sync { mode = async }\n"
		  "hook { main = \"/bin/become-main now\" stop = '/bin/stop \"x\"' user = scada\n"
		  "  timeout = 20s on-failure = undo }\n"
		  "check \"app\" { command = \"/bin/alive\" interval = 1s user = \"1001:adm\" }\n"
		  "user { netd = 61001 keyd = 61004 }\n"
		  "data { socket-group = adm socket-mode = 0666 read-only = {scada, \"1009\"} }\n"
		  "admin-group = adm realtime = false\n"
		  "role { observe = true }\n",
		key_a, key_b, key_c) == -1)
		fail_msg("refused: %s", error);
	expect_servers();
	expect_hooks();
	expect_users();
}

static void
test_defaults(void **state)
{
	(void)state;
	expect("", NULL);
	assert_int_equal(conf.general.self, 0); /* alpha.example up to the dot */
	assert_int_equal(conf.general.mode, ARB_MANUAL);
	expect("self = beta", NULL);
	assert_int_equal(conf.general.self, 1);
	/* lines end as on other systems */
	expect("status { misses = 5 }\r\n", NULL);
	assert_int_equal(conf.general.status_misses, 5);
}

static void
test_unknown(void **state)
{
	(void)state;
	expect("status {\n intervall = 5ms }",
	    "7: unknown option 'intervall' in section status; did you mean 'interval'?");
	expect("status { hold = 5s }",
	    "6: unknown option 'hold' in section status; it belongs into section arbitration");
	expect("statsu { }", "6: unknown option 'statsu'; did you mean 'status'?");
	expect("misses = 3", "6: unknown option 'misses'; it belongs into section icmp");
	expect("qwertz = 3", "6: unknown option 'qwertz'");
	expect("role { group = x }",
	    "6: unknown option 'group' in section role; it belongs to the top of the file");
	expect("\"status|interval\" = 5s", "6: unknown option 'status'");
	expect("\n\npower \"ups-a\" { card = \"192.0.2.50\" }",
	    "8: section power belongs to a later version; this one (" PACKAGE_VERSION
	    ") does not have it");
	expect("web { http = 3052 }", "6: section web belongs to a later version; this one "
				      "(" PACKAGE_VERSION ") does not have it");
	/* nothing of libconfuse opens a file */
	expect("include(\"/etc/passwd\")", "6: unexpected '('; put the value in quotes");
	expect("include = \"/etc/passwd\"", "6: unknown option 'include'");
}

static void
test_values(void **state)
{
	(void)state;
	expect("status { interval = 500 }", "6: status.interval: '500' has no unit; write ms, s, "
					    "min, h or d behind it, as in 500ms");
	expect("status { interval = 5m }", "6: status.interval: '5m' has an unknown unit; the "
					   "units are ms, s, min, h and d, behind whole numbers");
	expect("status { interval = 1ms }",
	    "6: status.interval: 1ms is out of range; it must be 5ms to 1min");
	expect("status { interval = soon }",
	    "6: status.interval: 'soon' is not a duration, such as 500ms or 2s");
	expect("status { interval = never }",
	    "6: status.interval: 'never' is not a duration, such as 500ms or 2s");
	expect("arbitration { confirm = 2h }",
	    "6: arbitration.confirm: 2h is out of range; it must be 0ms to 1h, or never");
	expect("status { misses = 4s }", "6: status.misses: '4s' is not a number");
	expect("status { misses = 1 }", "6: status.misses: 1 is out of range; it must be 2 to 100");
	expect("status { interval = \"\" }", "6: status.interval is empty");
	expect("arbitration { mode = refrences }", "6: arbitration.mode: 'refrences' is not one of "
						   "references, manual, voters; did you mean "
						   "'references'?");
	expect("arbitration { mode = etcd }", "6: arbitration.mode: etcd belongs to a later "
					      "version; this one has references, manual, "
					      "voters");
	expect("realtime = yes", "6: realtime: 'yes' is not one of false, true");
	expect("server \"c\" { kind = standart }",
	    "6: server c.kind: 'standart' is not one of standard, permanent, dmz; did you mean "
	    "'standard'?");
	expect("server \"c\" { port = 70000 }",
	    "6: server c.port: 70000 is out of range; it must be 1 to 65535");
	expect("server \"c\" { address = 192.0.2.256 }",
	    "6: server c.address: '192.0.2.256' is neither an IPv4 or IPv6 address nor a name in "
	    "/etc/hosts (DNS is never asked)");
	expect("server \"c\" { address = {\"192.0.2.7\",\n\"192.0.2.8\",\n\"192.0.2.9\"} }",
	    "8: server c.address: there are more than 2");
	expect("server \"c\" { address = \"fe80::1%eth7\" }",
	    "6: server c.address: interface 'eth7' does not exist or has no IPv6 address");
	expect("server \"c\" { key = \"bh1junk\" }",
	    "6: server c.key: this is not a public identity (bh1..., its check value included); "
	    "bulkheadctl key prints it on that server");
	expect("server \"a b\" { port = 1 }", "6: server: 'a b' is not a name: 1 to 63 letters, "
					      "digits, dots, dashes and underscores, a "
					      "letter, digit or underscore first");
	expect("state = \"lib\"", "6: state: 'lib' must be an absolute path");
	expect("admin-group = nobodies", "6: admin-group: there is no group 'nobodies' in "
					 "/etc/group; a number can be written too");
	expect("data { socket-mode = 0777 }",
	    "6: data.socket-mode: '0777' is not one of 0600, 0660, 0666");
	expect("data { read-only = {scada,\nnobody} }",
	    "7: data.read-only: there is no user 'nobody' in /etc/passwd; a number can be written "
	    "too");
	expect("data { read-only = {scada, 1001} }",
	    "6: data.read-only: user '1001' (number 1001) is there twice");
	expect(
	    "user { netd = 0 }", "6: user.netd: '0' is not the number of a user other than root");
	expect("user { netd = _bh-net }",
	    "6: user.netd: '_bh-net' is not the number of a user other than root");
}

static void
test_hooks(void **state)
{
	(void)state;
	expect("hook { main = \"become-main\" user = root }",
	    "6: hook.main: 'become-main' must be an absolute path, with arguments behind blanks");
	expect("hook {\n main = \"/bin/x\"\n}\n", "8: hook.user is missing; write which user the "
						  "hooks run as (\"root\" where they need it)");
	expect("hook { main = \"/bin/x\" user = nobody }",
	    "6: hook.user: there is no user 'nobody' in /etc/passwd; a number can be written too");
	expect("hook { main = \"/bin/x\" user = broken }",
	    "6: hook.user: there is no user 'broken' in /etc/passwd; a number can be written too");
	expect("hook { main = \"/bin/x\" user = 61009 }",
	    "6: hook.user: user number 61009 is not in /etc/passwd; write its group too, as in "
	    "61009:61009");
	expect("hook { main = \"/bin/x\" user = root }", NULL);
	assert_int_equal(conf.hook[HOOK_MAIN].uid, 0);
	expect("hook { timeout = 5s }", NULL);
	expect("check \"app\" { command = \"/bin/x\"\n}",
	    "7: check app.user is missing; write which user the check runs as");
	expect("check \"app\" { user = root\n}", "7: check app.command is missing");
	expect("check \"app\" { command = /bin/x user = root timeout = 9s }",
	    "6: check app.timeout is 9s; it must not be longer than the interval, 5s");
}

static void
test_twice(void **state)
{
	(void)state;
	expect("group = \"other\"", "6: group is there twice; first in line 1");
	expect("status { misses = 3\n misses = 4 }",
	    "7: status.misses is there twice; first in line 6");
	expect("status { misses = 3 }\nstatus { interval = 1s }",
	    "7: status is there twice; first in line 6");
	expect("icmp { reference = {\"192.0.2.1\"}\nreference = {\"192.0.2.2\"} }",
	    "7: icmp.reference is there twice; first in line 6");
	expect("icmp { reference = {\"192.0.2.1\",\n\"192.0.2.1\"} }",
	    "6: icmp.reference: 192.0.2.1 is there twice");
	expect("server \"beta\" { port = 1 }", "6: 'beta' is there twice");
	expect("server \"c\" { key = \"bh1\" }",
	    "6: server c.key: this is not a public identity (bh1..., its check value included); "
	    "bulkheadctl key prints it on that server");
}

static void
test_rules(void **state)
{
	char text[512];

	(void)state;
	snprintf(text, sizeof(text), "server \"c\" {\n address = \"192.0.2.11\"\n key = \"%s\"\n}",
	    key_c);
	expect(text, "7: server c.address: 192.0.2.11 is also an address of server beta");
	snprintf(text, sizeof(text), "server \"c\" {\n address = \"192.0.2.12\"\n key = \"%s\"\n}",
	    key_b);
	expect(text, "8: server c.key is also the key of server beta");
	expect("server \"c\" {\n}", "7: server c.address is missing");
	expect("server \"c\" { address = \"192.0.2.12\"\n}",
	    "7: server c.key is missing: bulkheadctl key prints it on that server");
	expect("\narbitration { mode = references }",
	    "7: arbitration.mode references needs at least one host in icmp.reference");
	expect("icmp { reference = \"192.0.2.1\" }\narbitration {\n hold = 3s }",
	    "8: arbitration.step-down is 4s; plus status.interval it must not be longer than "
	    "arbitration.hold, which is 3s");
	expect("icmp { reference = \"192.0.2.1\" }\nstatus { interval = 10s }",
	    "7: arbitration.hold is 6s; it must be at least status.interval x status.misses, which "
	    "is "
	    "40s");
	expect("self = gamma", "6: self: there is no server 'gamma' in this file");
	expect("run = \"/x\"\nstate = \"/x\"",
	    "7: state and run are the same directory; they must differ");
}

static void
test_missing(void **state)
{
	static const char text[] =
	    "group = g server \"other\" { address = \"192.0.2.1\" key = \"%s\" }";

	(void)state;
	assert_int_equal(parse("%s", ""), -1);
	assert_string_equal(
	    error, "1: group is missing; it names the group of servers, as in group = \"plant-7\"");
	assert_int_equal(parse("\ngroup = g"), -1);
	assert_string_equal(
	    error, "1: there is no server section; every server of the group needs one");
	assert_int_equal(parse(text, key_a), -1);
	assert_string_equal(error,
	    "1: self is not written, and no server has the name of this host, 'alpha.example'");
}

static void
test_syntax(void **state)
{
	(void)state;
	expect("status { interval 5s }", "6: missing equal sign after option 'interval'");
	expect("status = 5", "6: missing opening brace for section 'status'");
	expect("status {\n misses = 3\n", "6: this '{' is not closed; a '}' is missing");
	expect("status {\n misses = 3\n role { observe = true }",
	    "6: this '{' is not closed; a '}' is missing");
	expect("status { role { {", "6: a '{' inside of a list");
	expect("status { role { } }", "6: unknown option 'role' in section status");
	expect("server { }", "6: missing title for section 'server'");
	expect("}", "6: unexpected closing brace");
	expect("status { interval = \"5s\n }",
	    "6: this string is not closed on its line; a \" is missing");
	expect("status { interval = '5s }",
	    "6: this string is not closed on its line; a ' is missing");
	expect("\n/* never\nclosed", "7: this comment is not closed; '*/' is missing");
	expect("status { interval = 5s* }", "6: unexpected '*'; put the value in quotes");
	expect("status { interval += 5s }", "6: unexpected '+'; put the value in quotes");
	expect("group\x01", "6: control character 0x01; the file must be text");
	expect("# ok\n# \x1b[31m", "7: control character 0x1b; the file must be text");
	expect("self = alph\xc3\xa4", "6: byte 0xc3 outside of quotes; put the value in quotes");
	expect("self = \"${HOME}\"",
	    "6: variables are not replaced; write \\${ for these two characters");
	expect("self = \"\\x41\"", "6: in double quotes only \\\\, \\\" and \\$ are known after a "
				   "backslash; single quotes take it as it is");
	expect("self = ${HOME}", "6: unexpected '$'; put the value in quotes");
	expect("hook { user = root main = \"/bin/x \\${A} \\\"b\\\" \\\\\" }", NULL);
	assert_string_equal(conf.hook[HOOK_MAIN].command, "/bin/x ${A} \"b\" \\");
	expect("hook { user = root main = '/bin/x ${A} \\n # no comment' }", NULL);
	assert_string_equal(conf.hook[HOOK_MAIN].command, "/bin/x ${A} \\n # no comment");
}

/* Lines are right behind comments of every form; libconfuse alone counts wrong. */
static void
test_lines(void **state)
{
	(void)state;
	expect("# one\n// two\n/* three\n * four */ # and\n/**/\nstatus { x = 1 }",
	    "11: unknown option 'x' in section status");
	expect("status { # one\n misses = 3 // two\n /* three */\n x = 1 }",
	    "9: unknown option 'x' in section status");
}

static void
test_limits(void **state)
{
	static char text[64 * 1024];
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 20; i++)
		n += (size_t)snprintf(
		    text + n, sizeof(text) - n, "server \"s%d\" {\n port = 1 }\n", i);
	expect(text, "35: server 's14' is one too many; 16 are possible");
	memset(text, 'x', 4096);
	memcpy(text, "state = \"/", 10);
	snprintf(text + 4096, 8, "\"\n");
	expect(text, "6: state: 4087 bytes are too long; 511 are allowed");
	n = (size_t)snprintf(text, sizeof(text), "hook { main = \"/bin/x");
	for (int i = 0; i < 63; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, " %d", i);
	snprintf(text + n, sizeof(text) - n, "\" }");
	expect(text, "6: hook.main: 63 arguments are too many; 62 are allowed");
	/* a long word is cut in what is said */
	memset(text, 'y', 4096);
	text[4096] = '\0';
	(void)parse("%s = 1", text);
	assert_true(strlen(error) < 200);
}

static void
test_source_edges(void **state)
{
	char zero[] = "group\0 = x", slash[] = "/", star[] = "/*", quote[] = "\"", back[] = "\"\\";
	char said[256];

	(void)state;
	assert_int_equal(source_prepare(zero, sizeof(zero) - 1, said, sizeof(said)), 1);
	assert_string_equal(said, "control character 0x00; the file must be text");
	assert_int_equal(source_prepare(slash, 1, said, sizeof(said)), 0);
	assert_int_equal(source_prepare(star, 2, said, sizeof(said)), 1);
	assert_int_equal(source_prepare(quote, 1, said, sizeof(said)), 1);
	assert_int_equal(source_prepare(back, 2, said, sizeof(said)), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_full),
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_unknown),
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_hooks),
	    cmocka_unit_test(test_twice),
	    cmocka_unit_test(test_rules),
	    cmocka_unit_test(test_missing),
	    cmocka_unit_test(test_syntax),
	    cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_source_edges),
	};

	if (sodium_init() == -1)
		return 1;
	return cmocka_run_group_tests(tests, setup, NULL);
}
