/* SPDX-License-Identifier: ISC */
/*
 * The nftables rules of this server, of the running config. The rules are pure, the command asks
 * for the config.
 *
 * The table is one of its own, replaced as a whole when it is loaded again, and a drop in it is
 * final; what it accepts can still be dropped by another table. Without --strict it refuses only
 * what concerns the guard: its port for strangers, and everything that a DMZ server would open.
 */
#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct rules {
	const struct conf *c;
	const struct conf_server *self;
	char *buf;
	size_t size, len;
	int full;
};

static void add(struct rules *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
add(struct rules *r, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(r->buf + r->len, r->size - r->len, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= r->size - r->len)
		r->full = 1;
	else
		r->len += (size_t)n;
}

static int
is_opener(const struct rules *r, const struct conf_server *s)
{
	return s != r->self && s->kind != KIND_DMZ;
}

static int
is_dmz(const struct rules *r, const struct conf_server *s)
{
	return s != r->self && s->kind == KIND_DMZ;
}

static int
is_partner(const struct rules *r, const struct conf_server *s)
{
	return s != r->self;
}

/*
 * A set with the addresses of one family of the servers that match; nothing when there are none, so
 * that nft does not see an empty set. Returns 1 when it was written.
 */
static int
add_set(struct rules *r, const char *name, uint8_t family,
    int match(const struct rules *, const struct conf_server *))
{
	char text[64];
	size_t n = 0;

	for (size_t i = 0; i < r->c->general.n_servers; i++) {
		const struct conf_server *s = &r->c->server[i];

		for (size_t p = 0; match(r, s) && p < s->n_paths; p++) {
			struct conf_addr a = s->path[p];

			if (a.family != family)
				continue;
			a.scope = 0; /* nft takes no interface in an address */
			if (n++ == 0)
				add(r, "\tset %s%d {\n\t\ttype %s\n\t\telements = { ", name,
				    family == AF_INET ? 4 : 6,
				    family == AF_INET ? "ipv4_addr" : "ipv6_addr");
			add(r, "%s%s", n > 1 ? ", " : "", conf_addr_text(&a, text, sizeof(text)));
		}
	}
	if (n > 0)
		add(r, " }\n\t}\n");
	return n > 0;
}

/* One rule per family that the set has. */
static void
add_rule(struct rules *r, const char *direction, const char *name, const int has[2],
    const char *rest4, const char *rest6)
{
	if (has[0])
		add(r, "\t\tip %s @%s4 %s\n", direction, name, rest4);
	if (has[1])
		add(r, "\t\tip6 %s @%s6 %s\n", direction, name, rest6);
}

/* What every host needs for IPv6 and for paths with small packets. */
static void
add_basics(struct rules *r)
{
	add(r, "\t\tct state established,related accept\n");
	add(r, "\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, "
	       "nd-router-advert, mld-listener-query, mld-listener-report, mld2-listener-report } "
	       "accept\n");
}

static void
add_input(struct rules *r, int strict, const int openers[2], const int dmz[2])
{
	char rest[64];

	snprintf(rest, sizeof(rest), "tcp dport %u accept", r->self->port);
	add(r, "\tchain input {\n\t\ttype filter hook input priority filter - 5; policy %s;\n",
	    strict ? "drop" : "accept");
	add(r, "\t\tiif lo accept\n");
	add_basics(r);
	if (strict)
		add(r, "\t\tct state invalid drop\n");
	add_rule(r, "saddr", "dmz", dmz, "counter drop", "counter drop");
	add_rule(r, "saddr", "openers", openers, rest, rest);
	add_rule(r, "saddr", "openers", openers, "icmp type echo-request accept",
	    "icmpv6 type echo-request accept");
	if (!strict)
		add(r, "\t\ttcp dport %u counter drop\n", r->self->port);
	add(r, "\t}\n");
}

/* A DMZ server answers, and opens nothing towards the others. */
static void
add_output(struct rules *r, const int partners[2])
{
	add(r,
	    "\tchain output {\n\t\ttype filter hook output priority filter - 5; policy accept;\n");
	add(r, "\t\toif lo accept\n");
	add_basics(r);
	add_rule(r, "daddr", "partners", partners, "counter drop", "counter drop");
	add(r, "\t}\n");
}

int
firewall_rules(const struct conf *c, int strict, char *buf, size_t size)
{
	struct rules r = {.c = c, .self = &c->server[c->general.self], .buf = buf, .size = size};
	int openers[2], dmz[2], partners[2] = {0, 0};

	add(&r, "# Bulkhead group %s, rules of server %s\n", c->general.group, r.self->name);
	add(&r, "table inet bulkhead\ndelete table inet bulkhead\ntable inet bulkhead {\n");
	openers[0] = add_set(&r, "openers", AF_INET, is_opener);
	openers[1] = add_set(&r, "openers", AF_INET6, is_opener);
	dmz[0] = add_set(&r, "dmz", AF_INET, is_dmz);
	dmz[1] = add_set(&r, "dmz", AF_INET6, is_dmz);
	if (r.self->kind == KIND_DMZ) {
		partners[0] = add_set(&r, "partners", AF_INET, is_partner);
		partners[1] = add_set(&r, "partners", AF_INET6, is_partner);
	}
	add_input(&r, strict, openers, dmz);
	if (r.self->kind == KIND_DMZ)
		add_output(&r, partners);
	add(&r, "}\n");
	return r.full ? -1 : (int)r.len;
}

int
cmd_firewall(const struct options *o, int argc, char **argv)
{
	static struct answer a;
	static char rules[32768];
	int strict = argc == 2 && strcmp(argv[1], "--strict") == 0;
	json_t *j;

	if (argc > 1 + strict)
		die_usage(o, "'%s' is not known here; --strict is", argv[1]);
	ask_config(o, &a);
	if (firewall_rules(&a.conf, strict, rules, sizeof(rules)) == -1)
		die(CTL_EXIT_FAILED, "the rules are too long");
	if (!o->json) {
		fputs(rules, stdout);
		return CTL_EXIT_OK;
	}
	j = json_object();
	json_source(j, &a);
	json_object_set_new(j, "nftables", json_string(rules));
	json_object_set_new(j, "strict", json_boolean(strict));
	json_print(j);
	return CTL_EXIT_OK;
}
