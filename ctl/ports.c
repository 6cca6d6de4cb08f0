/* SPDX-License-Identifier: ISC */
/*
 * The port table: who receives what from whom, of the running config. The table is pure, the
 * command asks for the config.
 */
#include "ctl.h"

#include <stdio.h>
#include <string.h>

/* Addresses of a server, separated by blanks. */
static void
list_addresses(const struct conf_server *s, char *buf, size_t size)
{
	char text[64];
	size_t n = 0;

	buf[0] = '\0';
	for (size_t p = 0; p < s->n_paths && p < CONF_PATHS && n < size; p++)
		n += (size_t)snprintf(buf + n, size - n, "%s%s", p > 0 ? " " : "",
		    conf_addr_text(&s->path[p], text, sizeof(text)));
}

/* Every server but the receiver and those of kind dmz, which open nothing. */
static void
list_openers(const struct conf *c, size_t receiver, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < c->general.n_servers && n < size; i++) {
		if (i != receiver && c->server[i].kind != KIND_DMZ)
			n += (size_t)snprintf(
			    buf + n, size - n, "%s%s", n > 0 ? " " : "", c->server[i].name);
	}
}

size_t
ports_table(const struct conf *c, struct port_row rows[PORT_ROWS])
{
	size_t n = 0;

	memset(rows, 0, PORT_ROWS * sizeof(*rows));
	for (size_t i = 0; i < c->general.n_servers && i < CONF_SERVERS; i++) {
		const struct conf_server *s = &c->server[i];
		struct port_row *tcp = &rows[n], *icmp = &rows[n + 1];

		list_openers(c, i, tcp->openers, sizeof(tcp->openers));
		if (tcp->openers[0] == '\0')
			continue; /* alone, or only dmz servers beside it */
		tcp->protocol = "tcp";
		tcp->port = s->port;
		tcp->purpose = "status links";
		snprintf(tcp->receiver, sizeof(tcp->receiver), "%s", s->name);
		list_addresses(s, tcp->addresses, sizeof(tcp->addresses));
		*icmp = *tcp;
		icmp->protocol = "icmp";
		icmp->port = 0;
		icmp->purpose = "hardware poll (echo)";
		n += 2;
	}
	for (size_t i = 0; i < c->general.n_references && i < CONF_REFERENCES; i++) {
		struct port_row *r = &rows[n++];

		r->protocol = "icmp";
		r->purpose = "reference host (echo)";
		snprintf(r->receiver, sizeof(r->receiver), "reference");
		conf_addr_text(&c->reference[i].addr, r->addresses, sizeof(r->addresses));
		list_openers(c, SIZE_MAX, r->openers, sizeof(r->openers));
	}
	return n;
}

static void
print_json(const struct answer *a, const struct port_row *rows, size_t n)
{
	json_t *j = json_object(), *list = json_array();

	json_source(j, a);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(
		    list, json_pack("{s:s, s:o, s:s, s:s, s:s, s:s}", "protocol", rows[i].protocol,
			      "port", rows[i].port != 0 ? json_integer(rows[i].port) : json_null(),
			      "receiver", rows[i].receiver, "addresses", rows[i].addresses,
			      "openers", rows[i].openers, "purpose", rows[i].purpose));
	json_object_set_new(j, "ports", list);
	json_print(j);
}

int
cmd_ports(const struct options *o, int argc, char **argv)
{
	static const char *const headings[] = {
	    "PROTOCOL", "PORT", "RECEIVED BY", "ADDRESSES", "OPENED BY", "PURPOSE"};
	static struct port_row rows[PORT_ROWS];
	static struct answer a;
	struct table t;
	size_t n;

	if (argc > 1)
		die_usage(o, "'%s' is one argument too many", argv[1]);
	ask_config(o, &a);
	n = ports_table(&a.conf, rows);
	if (o->json) {
		print_json(&a, rows, n);
		return CTL_EXIT_OK;
	}
	table_init(&t, 6, headings, 1 << 1);
	for (size_t i = 0; i < n; i++) {
		table_row(&t);
		table_set(&t, 0, "%s", rows[i].protocol);
		if (rows[i].port != 0)
			table_set(&t, 1, "%u", rows[i].port);
		table_set(&t, 2, "%s", rows[i].receiver);
		table_set(&t, 3, "%s", rows[i].addresses);
		table_set(&t, 4, "%s", rows[i].openers);
		table_set(&t, 5, "%s", rows[i].purpose);
	}
	table_print(&t, stdout);
	if (n == 0)
		printf("no port is used: this server has no partner\n");
	return CTL_EXIT_OK;
}
