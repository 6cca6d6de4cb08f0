/* SPDX-License-Identifier: ISC */
/*
 * The rules between options. A sentence starts with the option that is wrong, written
 * section.option or server NAME.option, so that the parser can find its line. Pure.
 */
#include "conf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "units.h"

/* sun_path has 108 bytes with the NUL, and "/admin.sock.new" comes behind it */
enum { RUN_DIR_MAX = 92 };

struct report {
	char *text;
	size_t size;
};

static int bad(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Write the sentence; always -1. */
static int
bad(struct report *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (r->size > 0)
		vsnprintf(r->text, r->size, fmt, ap);
	va_end(ap);
	return -1;
}

/* The sum of two durations, one of which may be never. */
static int64_t
add_ms(int64_t a, int64_t b)
{
	return a > INT64_MAX - b ? INT64_MAX : a + b;
}

static int
same_addr(const struct conf_addr *a, const struct conf_addr *b)
{
	return a->family == b->family && a->scope == b->scope &&
	       memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* NULL when a host can have the address, else what it is. */
static const char *
addr_fault(const struct conf_addr *a)
{
	static const uint8_t zero[16];
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	size_t n = a->family == AF_INET ? 4 : 16;

	if (a->family != AF_INET && a->family != AF_INET6)
		return "no address";
	if (memcmp(a->bytes, zero, n) == 0)
		return "the unspecified address";
	if (a->family == AF_INET && a->bytes[0] == 0)
		return "an address of network 0";
	if (a->family == AF_INET && a->bytes[0] >= 224)
		return a->bytes[0] < 240 ? "a multicast address"
					 : "a reserved or broadcast address";
	if (a->family == AF_INET6 && a->bytes[0] == 0xff)
		return "a multicast address";
	if (a->family == AF_INET6 && memcmp(a->bytes, mapped, sizeof(mapped)) == 0)
		return "an IPv4 address written as IPv6";
	if (a->family == AF_INET6 && a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80 &&
	    a->scope == 0)
		return "a link-local address without its interface (fe80::1%eth0)";
	return NULL;
}

/* Names, keys and addresses of server i against itself and all before it. */
static int
check_server(const struct conf *c, size_t i, struct report *r)
{
	static const uint8_t zero[32];
	const struct conf_server *s = &c->server[i];
	char text[64];

	if (s->name[0] == '\0' || s->n_paths == 0 || s->n_paths > CONF_PATHS)
		return bad(r, "server %s.address is missing", s->name);
	if (memcmp(s->key_status, zero, 32) == 0 || memcmp(s->key_data, zero, 32) == 0)
		return bad(r, "server %s.key is missing: bulkheadctl key prints it on that server",
		    s->name);
	if (s->data_limit > 0 && s->data_limit < DATA_LIMIT_MIN)
		return bad(r,
		    "server %s.data-limit is less than 4KiB in a second; 0 is without limit",
		    s->name);
	for (size_t p = 0; p < s->n_paths; p++) {
		const char *fault = addr_fault(&s->path[p]);

		conf_addr_text(&s->path[p], text, sizeof(text));
		if (fault != NULL)
			return bad(r, "server %s.address: %s is %s", s->name, text, fault);
		for (size_t q = 0; q < p; q++) {
			if (same_addr(&s->path[p], &s->path[q]))
				return bad(
				    r, "server %s.address: %s is there twice", s->name, text);
		}
	}
	for (size_t j = 0; j < i; j++) {
		const struct conf_server *o = &c->server[j];

		if (strcmp(s->name, o->name) == 0)
			return bad(r, "server %s is there twice", s->name);
		if (memcmp(s->key_status, o->key_status, 32) == 0 ||
		    memcmp(s->key_data, o->key_data, 32) == 0)
			return bad(
			    r, "server %s.key is also the key of server %s", s->name, o->name);
		for (size_t p = 0; p < s->n_paths; p++)
			for (size_t q = 0; q < o->n_paths; q++)
				if (same_addr(&s->path[p], &o->path[q]))
					return bad(r,
					    "server %s.address: %s is also an address of server %s",
					    s->name,
					    conf_addr_text(&s->path[p], text, sizeof(text)),
					    o->name);
	}
	return 0;
}

static int
check_servers(const struct conf *c, struct report *r)
{
	size_t standard = 0, voters = 0;

	if (c->general.n_servers == 0 || c->general.n_servers > CONF_SERVERS)
		return bad(r, "server: there is none, and this server must be one of them");
	if (c->general.self >= c->general.n_servers)
		return bad(r, "self is no server of this file");
	for (size_t i = 0; i < c->general.n_servers; i++) {
		if (check_server(c, i, r) == -1)
			return -1;
		standard += c->server[i].kind == KIND_STANDARD;
		voters += c->server[i].kind != KIND_DMZ;
	}
	if (standard == 0)
		return bad(r, "server: no server is of kind standard, so none could be main");
	if (c->general.sync_mode == SYNC_SYNC && c->general.sync_standbys >= standard)
		return bad(r,
		    "sync.standbys is %u, but only %zu other servers are of kind standard: no "
		    "write "
		    "would ever be answered",
		    c->general.sync_standbys, standard - 1);
	if (c->general.mode == ARB_VOTERS && voters < 3)
		return bad(r,
		    "arbitration.mode voters needs three servers that are not of kind dmz; "
		    "there are %zu",
		    voters);
	return 0;
}

static int
check_references(const struct conf *c, struct report *r)
{
	char text[64];

	for (size_t i = 0; i < c->general.n_references; i++) {
		const struct conf_addr *a = &c->reference[i].addr;
		const char *fault = addr_fault(a);

		conf_addr_text(a, text, sizeof(text));
		if (fault != NULL)
			return bad(r, "icmp.reference: %s is %s", text, fault);
		for (size_t j = 0; j < i; j++) {
			if (same_addr(a, &c->reference[j].addr))
				return bad(r, "icmp.reference: %s is there twice", text);
		}
		for (size_t j = 0; j < c->general.n_servers; j++)
			for (size_t p = 0; p < c->server[j].n_paths; p++)
				if (same_addr(a, &c->server[j].path[p]))
					return bad(r,
					    "icmp.reference: %s is an address of server %s; a "
					    "reference must be a host outside the group",
					    text, c->server[j].name);
	}
	if (c->general.mode == ARB_REFERENCES && c->general.n_references == 0)
		return bad(
		    r, "arbitration.mode references needs at least one host in icmp.reference");
	return 0;
}

/* Durations of the modes that take over by time. */
static int
check_hold(const struct conf_general *g, struct report *r)
{
	int64_t silent = g->status_interval_ms * g->status_misses;
	char a[UNITS_TEXT], b[UNITS_TEXT];

	if (g->mode == ARB_MANUAL)
		return 0; /* nothing is decided by time alone */
	if (g->hold_ms < silent)
		return bad(r,
		    "arbitration.hold is %s; it must be at least status.interval x status.misses, "
		    "which is %s",
		    units_format_duration(g->hold_ms, a), units_format_duration(silent, b));
	if (g->flap_hold_max_ms < g->hold_ms)
		return bad(r,
		    "role.flap-hold-max is %s; it must not be shorter than arbitration.hold, "
		    "which is %s",
		    units_format_duration(g->flap_hold_max_ms, a),
		    units_format_duration(g->hold_ms, b));
	if (g->mode != ARB_REFERENCES)
		return 0;
	/* a main must be gone before a standby that lost it takes over (ROLES: step-down < hold) */
	if (add_ms(g->step_down_ms, g->status_interval_ms) > g->hold_ms)
		return bad(r,
		    "arbitration.step-down is %s; plus status.interval it must not be longer "
		    "than arbitration.hold, which is %s",
		    units_format_duration(g->step_down_ms, a),
		    units_format_duration(g->hold_ms, b));
	/* one lost echo or message must not be enough */
	if (g->step_down_ms < 2 * g->icmp_interval_ms)
		return bad(r,
		    "arbitration.step-down is %s; it must be at least two times icmp.interval, "
		    "which is %s",
		    units_format_duration(g->step_down_ms, a),
		    units_format_duration(g->icmp_interval_ms, b));
	if (g->step_down_ms < 2 * g->status_interval_ms)
		return bad(r,
		    "arbitration.step-down is %s; it must be at least two times status.interval, "
		    "which is %s",
		    units_format_duration(g->step_down_ms, a),
		    units_format_duration(g->status_interval_ms, b));
	return 0;
}

/*
 * Mode voters: the holder acts until s + L (1 - rho) with rho 1 %, and gives up soft by two
 * watchdog times before; at least two renewals must fit before that.
 */
static int
check_lease(const struct conf_general *g, struct report *r)
{
	int64_t usable = g->lease_ms - g->lease_ms / 100 - 2 * g->watchdog_ms;
	char a[UNITS_TEXT], b[UNITS_TEXT], c[UNITS_TEXT];

	if (usable >= 2 * g->renew_ms)
		return 0;
	return bad(r,
	    "arbitration.lease is %s; less 1 %% and two times arbitration.watchdog (%s) it must "
	    "have room for two of arbitration.renew (%s)",
	    units_format_duration(g->lease_ms, a), units_format_duration(g->watchdog_ms, b),
	    units_format_duration(g->renew_ms, c));
}

static int
check_checks(const struct conf *c, struct report *r)
{
	size_t present = 0;
	char a[UNITS_TEXT], b[UNITS_TEXT];

	for (size_t i = 0; i < c->general.n_checks && i < CONF_CHECKS; i++)
		present += c->check[i].name[0] != '\0';
	if (present == 0)
		return 0; /* not sent to this process */
	for (size_t i = 0; i < c->general.n_checks && i < CONF_CHECKS; i++) {
		const struct conf_check *k = &c->check[i];

		if (k->name[0] == '\0' || k->command[0] == '\0')
			return bad(r, "check %s.command is missing", k->name);
		for (size_t j = 0; j < i; j++) {
			if (strcmp(k->name, c->check[j].name) == 0)
				return bad(r, "check %s is there twice", k->name);
		}
		if (k->timeout_ms > k->interval_ms)
			return bad(r,
			    "check %s.timeout is %s; it must not be longer than the interval, %s",
			    k->name, units_format_duration(k->timeout_ms, a),
			    units_format_duration(k->interval_ms, b));
	}
	return 0;
}

/* Two children of one uid could signal and trace each other: the ids must differ. */
static int
check_users(const struct conf_general *g, struct report *r)
{
	for (unsigned i = 0; i < PROC_MAX; i++) {
		for (unsigned j = 0; j < i && g->uid[i] != 0; j++) {
			if (g->uid[i] == g->uid[j])
				return bad(r,
				    "user.%s is %u, which is also user.%s; every process needs an "
				    "id of its own",
				    process_name((enum process)i), g->uid[i],
				    process_name((enum process)j));
		}
	}
	return 0;
}

/* A hook or check that runs as a process of ours could signal and trace it. */
static int
check_runner(const struct conf *c, struct report *r)
{
	for (unsigned p = 0; p < PROC_MAX; p++) {
		uint32_t uid = c->general.uid[p];

		if (uid == 0)
			continue;
		for (size_t i = 0; i < HOOK_MAX; i++) {
			if (c->hook[i].command[0] != '\0' && c->hook[i].uid == uid)
				return bad(r,
				    "hook.user is %u, which is user.%s; hooks need another user",
				    uid, process_name((enum process)p));
		}
		for (size_t i = 0; i < c->general.n_checks; i++) {
			if (c->check[i].command[0] != '\0' && c->check[i].uid == uid)
				return bad(r,
				    "check %s.user is %u, which is user.%s; checks need another "
				    "user",
				    c->check[i].name, uid, process_name((enum process)p));
		}
	}
	return 0;
}

int
conf_check_all(const struct conf *c, char *error, size_t size)
{
	struct report r = {error, size};

	if (!conf_name_valid(c->general.group))
		return bad(&r, "group is missing");
	if (check_servers(c, &r) == -1 || check_references(c, &r) == -1 ||
	    check_hold(&c->general, &r) == -1 || check_lease(&c->general, &r) == -1 ||
	    check_checks(c, &r) == -1 || check_users(&c->general, &r) == -1 ||
	    check_runner(c, &r) == -1)
		return -1;
	if (strlen(c->general.run_dir) > RUN_DIR_MAX)
		return bad(&r,
		    "run has %zu bytes; at most %d are possible for the path of a socket",
		    strlen(c->general.run_dir), RUN_DIR_MAX);
	if (strcmp(c->general.state_dir, c->general.run_dir) == 0)
		return bad(&r, "state and run are the same directory; they must differ");
	return 0;
}
