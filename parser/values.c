/* SPDX-License-Identifier: ISC */
/*
 * One value as it is written in the file, into the field of its option. Pure.
 */
#include "values.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "../lib/nearest.h"
#include "../lib/units.h"

enum { SHOWN = 60 }; /* bytes of a wrong value that are repeated */

static int bad(char *error, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Write the sentence; always -1. */
static int
bad(char *error, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error, size, fmt, ap);
	va_end(ap);
	return -1;
}

/* "1ms is out of range; it must be 5ms to 1min" */
static int
out_of_range(const struct conf_option *o, const char *text, char *error, size_t size)
{
	char min[UNITS_TEXT], max[UNITS_TEXT];

	if (o->type == CT_MS || o->type == CT_MS_NEVER) {
		units_format_duration(o->min, min);
		units_format_duration(o->max, max);
	} else if (o->type == CT_SIZE) {
		units_format_size(o->min, min);
		units_format_size(o->max, max);
	} else {
		snprintf(min, sizeof(min), "%" PRId64, o->min);
		snprintf(max, sizeof(max), "%" PRId64, o->max);
	}
	return bad(error, size, "%.*s is out of range; it must be %s to %s%s", SHOWN, text, min,
	    max, o->type == CT_MS_NEVER ? ", or never" : "");
}

static int
value_duration(const struct conf_option *o, const char *text, int64_t *v, char *error, size_t size)
{
	if (o->type == CT_MS_NEVER && strcmp(text, "never") == 0) {
		*v = CONF_NEVER;
		return 0;
	}
	switch (units_parse_duration(text, v)) {
	case UNITS_OK:
		break;
	case UNITS_NO_UNIT:
		return bad(error, size,
		    "'%.*s' has no unit; write ms, s, min, h or d behind it, as in %.*sms", SHOWN,
		    text, SHOWN, text);
	case UNITS_BAD_UNIT:
		return bad(error, size,
		    "'%.*s' has an unknown unit; the units are ms, s, min, h and d, behind whole "
		    "numbers",
		    SHOWN, text);
	case UNITS_OVERFLOW:
		return out_of_range(o, text, error, size);
	default:
		return bad(error, size, "'%.*s' is not a duration, such as 500ms or 2s%s", SHOWN,
		    text, o->type == CT_MS_NEVER ? ", nor never" : "");
	}
	if (*v < o->min || *v > o->max)
		return out_of_range(o, text, error, size);
	return 0;
}

static int
value_size(const struct conf_option *o, const char *text, int64_t *v, char *error, size_t size)
{
	switch (units_parse_size(text, v)) {
	case UNITS_OK:
		break;
	case UNITS_NO_UNIT:
		return bad(error, size,
		    "'%.*s' has no unit; write B, KiB, MiB, GiB or TiB behind it, as in %.*sMiB",
		    SHOWN, text, SHOWN, text);
	case UNITS_BAD_UNIT:
		return bad(error, size,
		    "'%.*s' has an unknown unit; the units are B, KiB, MiB, GiB and TiB, behind a "
		    "whole number",
		    SHOWN, text);
	case UNITS_OVERFLOW:
		return out_of_range(o, text, error, size);
	default:
		return bad(error, size, "'%.*s' is not a size, such as 64MiB", SHOWN, text);
	}
	if (*v < o->min || *v > o->max)
		return out_of_range(o, text, error, size);
	return 0;
}

static int
value_word(const struct conf_option *o, const char *text, int64_t *v, char *error, size_t size)
{
	struct nearest near = {0};
	const char *word;
	char list[128] = "";
	size_t n = 0;

	for (unsigned i = 0; (word = conf_word(o->type, i)) != NULL; i++) {
		if (strcmp(word, text) == 0) {
			*v = i;
			return 0;
		}
		nearest_offer(&near, text, word);
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", i > 0 ? ", " : "", word);
	}
	if (o->type == CT_ARBITRATION && strcmp(text, "etcd") == 0)
		return bad(error, size, "etcd belongs to a later version; this one has %s", list);
	if (near.best != NULL)
		return bad(error, size, "'%.*s' is not one of %s; did you mean '%s'?", SHOWN, text,
		    list, near.best);
	return bad(error, size, "'%.*s' is not one of %s", SHOWN, text, list);
}

int
value_number(const struct conf_option *o, const char *text, int64_t *v, char *error, size_t size)
{
	if (conf_word(o->type, 0) != NULL)
		return value_word(o, text, v, error, size);
	if (o->type == CT_MS || o->type == CT_MS_NEVER)
		return value_duration(o, text, v, error, size);
	if (o->type == CT_SIZE)
		return value_size(o, text, v, error, size);
	switch (units_parse_number(text, v)) {
	case UNITS_OK:
		break;
	case UNITS_OVERFLOW:
		return out_of_range(o, text, error, size);
	default:
		return bad(error, size, "'%.*s' is not a number", SHOWN, text);
	}
	if (*v < o->min || *v > o->max)
		return out_of_range(o, text, error, size);
	return 0;
}

int
value_name(const char *text, char name[CONF_NAME], char *error, size_t size)
{
	if (!conf_name_valid(text))
		return bad(error, size,
		    "'%.*s' is not a name: 1 to %d letters, digits, dots, dashes and underscores, "
		    "a letter, "
		    "digit or underscore first",
		    SHOWN, text, CONF_NAME - 1);
	snprintf(name, CONF_NAME, "%s", text);
	return 0;
}

static size_t
count_words(const char *text)
{
	size_t n = 0;

	for (text += strspn(text, " "); *text != '\0'; text += strspn(text, " ")) {
		text += strcspn(text, " ");
		n++;
	}
	return n;
}

int
value_path(const char *text, int command, char path[CONF_COMMAND], char *error, size_t size)
{
	size_t n = strlen(text);

	if (n >= CONF_COMMAND)
		return bad(
		    error, size, "%zu bytes are too long; %d are allowed", n, CONF_COMMAND - 1);
	if (text[0] != '/')
		return bad(error, size, "'%.*s' must be an absolute path%s", SHOWN, text,
		    command ? ", with arguments behind blanks" : "");
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return bad(error, size, "control character 0x%02x", (unsigned char)text[i]);
	}
	if (command && count_words(text) > CONF_WORDS)
		return bad(error, size, "%zu arguments are too many; %d are allowed",
		    count_words(text) - 1, CONF_WORDS - 1);
	snprintf(path, CONF_COMMAND, "%s", text);
	return 0;
}

/* fe80::1%eth0 or fe80::1%2 */
static int
value_scope(const struct lookup *l, const char *name, uint32_t *scope, char *error, size_t size)
{
	int64_t v;

	if (lookup_interface(l, name, scope) == 0)
		return 0;
	if (units_parse_number(name, &v) == UNITS_OK && v > 0 && v <= INT32_MAX) {
		*scope = (uint32_t)v;
		return 0;
	}
	return bad(
	    error, size, "interface '%.*s' does not exist or has no IPv6 address", SHOWN, name);
}

int
value_address(
    const struct lookup *l, const char *text, struct conf_addr *a, char *error, size_t size)
{
	char literal[INET6_ADDRSTRLEN];
	size_t n = strcspn(text, "%");

	memset(a, 0, sizeof(*a));
	if (n < sizeof(literal)) {
		memcpy(literal, text, n);
		literal[n] = '\0';
		a->family = AF_INET6;
		if (inet_pton(AF_INET6, literal, a->bytes) == 1)
			return text[n] == '\0'
				   ? 0
				   : value_scope(l, text + n + 1, &a->scope, error, size);
		memset(a->bytes, 0, sizeof(a->bytes));
		a->family = AF_INET;
		if (text[n] == '\0' && inet_pton(AF_INET, literal, a->bytes) == 1)
			return 0;
	}
	if (lookup_host(l, text, a) == 0)
		return 0;
	memset(a, 0, sizeof(*a));
	return bad(error, size,
	    "'%.*s' is neither an IPv4 or IPv6 address nor a name in /etc/hosts (DNS is never "
	    "asked)",
	    SHOWN, text);
}

static int
parse_id(const char *text, uint32_t *id)
{
	int64_t v;

	if (units_parse_number(text, &v) != UNITS_OK || v < 0 || v >= UINT32_MAX)
		return -1;
	*id = (uint32_t)v;
	return 0;
}

int
value_group(const struct lookup *l, const char *text, uint32_t *gid, char *error, size_t size)
{
	if (parse_id(text, gid) == 0 || lookup_group(l, text, gid) == 0)
		return 0;
	return bad(error, size,
	    "there is no group '%.*s' in /etc/group; a number can be written too", SHOWN, text);
}

int
value_user(const struct lookup *l, const char *text, uint32_t *uid, uint32_t *gid, char *error,
    size_t size)
{
	const char *group = strchr(text, ':');
	size_t n = strcspn(text, ":");
	char name[CONF_NAME];

	if (n >= sizeof(name))
		return bad(error, size, "'%.*s' is too long for a user name", SHOWN, text);
	memcpy(name, text, n);
	name[n] = '\0';
	if (parse_id(name, uid) == 0) {
		if (lookup_user_group(l, *uid, gid) == -1 && group == NULL)
			return bad(error, size,
			    "user number %s is not in /etc/passwd; write its group too, as in "
			    "%s:%s",
			    name, name, name);
	} else if (lookup_user(l, name, uid, gid) == -1) {
		return bad(error, size,
		    "there is no user '%s' in /etc/passwd; a number can be written too", name);
	}
	if (group != NULL)
		return value_group(l, group + 1, gid, error, size);
	return 0;
}

int
value_uid(const struct lookup *l, const char *text, uint32_t *uid, char *error, size_t size)
{
	uint32_t gid;

	if (parse_id(text, uid) == 0 || lookup_user(l, text, uid, &gid) == 0)
		return 0;
	return bad(error, size,
	    "there is no user '%.*s' in /etc/passwd; a number can be written too", SHOWN, text);
}

int
value_id(const char *text, uint32_t *id, char *error, size_t size)
{
	if (parse_id(text, id) == 0 && *id != 0)
		return 0;
	return bad(error, size, "'%.*s' is not the number of a user other than root", SHOWN, text);
}
