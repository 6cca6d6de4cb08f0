/* SPDX-License-Identifier: ISC */
/*
 * Users, groups, hosts and interfaces, found in the contents of the system's files. Pure.
 *
 * Only local files: a name server, directory server or NSS module can so neither change a decision
 * nor run code here. numeric ids and addresses need no file.
 */
#include "lookup.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "../lib/units.h"

enum { LINE = 1024, FIELD = 256 };

/* The next line of *text into line, *text behind it. 0 at the end; longer lines are skipped. */
static int
next_line(const char **text, char line[LINE])
{
	while (**text != '\0') {
		size_t n = strcspn(*text, "\n");
		const char *start = *text;

		*text += n + ((*text)[n] == '\n');
		if (n < LINE) {
			memcpy(line, start, n);
			line[n] = '\0';
			return 1;
		}
	}
	return 0;
}

/* Field number i of a line with colons; 0, or -1 when it is not there or too long. */
static int
colon_field(const char *line, unsigned i, char field[FIELD])
{
	size_t n;

	for (; i > 0; i--) {
		line = strchr(line, ':');
		if (line == NULL)
			return -1;
		line++;
	}
	n = strcspn(line, ":");
	if (n >= FIELD)
		return -1;
	memcpy(field, line, n);
	field[n] = '\0';
	return 0;
}

static int
id_field(const char *line, unsigned i, uint32_t *id)
{
	char field[FIELD];
	int64_t v;

	if (colon_field(line, i, field) == -1 || units_parse_number(field, &v) != UNITS_OK ||
	    v < 0 || v >= UINT32_MAX)
		return -1;
	*id = (uint32_t)v;
	return 0;
}

/* Does field 0 say name? */
static int
named(const char *line, const char *name)
{
	char field[FIELD];

	return name[0] != '\0' && colon_field(line, 0, field) == 0 && strcmp(field, name) == 0;
}

int
lookup_user(const struct lookup *l, const char *name, uint32_t *uid, uint32_t *gid)
{
	const char *text = l->passwd;
	char line[LINE];

	while (next_line(&text, line)) {
		if (named(line, name))
			return id_field(line, 2, uid) == -1 || id_field(line, 3, gid) == -1 ? -1
											    : 0;
	}
	return -1;
}

int
lookup_user_group(const struct lookup *l, uint32_t uid, uint32_t *gid)
{
	const char *text = l->passwd;
	char line[LINE];
	uint32_t id;

	while (next_line(&text, line)) {
		if (id_field(line, 2, &id) == 0 && id == uid)
			return id_field(line, 3, gid);
	}
	return -1;
}

int
lookup_group(const struct lookup *l, const char *name, uint32_t *gid)
{
	const char *text = l->group;
	char line[LINE];

	while (next_line(&text, line)) {
		if (named(line, name))
			return id_field(line, 2, gid);
	}
	return -1;
}

/* The next word of *p, *p behind it; NULL at the end of the line or at a comment. */
static char *
next_word(char **p)
{
	char *word = *p + strspn(*p, " \t\r");

	if (*word == '\0' || *word == '#')
		return NULL;
	*p = word + strcspn(word, " \t\r#");
	if (**p == '#')
		**p = '\0';
	else if (**p != '\0')
		*(*p)++ = '\0';
	return word;
}

int
lookup_host(const struct lookup *l, const char *name, struct conf_addr *addr)
{
	const char *text = l->hosts;
	char line[LINE];

	while (next_line(&text, line)) {
		char *p = line, *address = next_word(&p), *word;

		while (address != NULL && (word = next_word(&p)) != NULL) {
			if (strcasecmp(word, name) != 0)
				continue;
			memset(addr, 0, sizeof(*addr));
			addr->family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
			if (inet_pton(addr->family, address, addr->bytes) == 1)
				return 0;
		}
	}
	return -1;
}

/* Lines are "address index prefix scope flags name", numbers in hex. */
int
lookup_interface(const struct lookup *l, const char *name, uint32_t *index)
{
	static const char digits[] = "0123456789abcdef";
	const char *text = l->inet6;
	char line[LINE];

	while (next_line(&text, line)) {
		char *p = line, *word[6];
		uint32_t v = 0;
		size_t n = 0;

		while (n < 6 && (word[n] = next_word(&p)) != NULL)
			n++;
		if (n < 6 || strcmp(word[5], name) != 0 || strlen(word[1]) > 7)
			continue;
		for (const char *c = word[1]; *c != '\0'; c++) {
			const char *d = strchr(digits, *c);

			if (d == NULL)
				return -1;
			v = v * 16 + (uint32_t)(d - digits);
		}
		*index = v;
		return v != 0 ? 0 : -1;
	}
	return -1;
}
