/* SPDX-License-Identifier: ISC */
/*
 * Prints the option lists of bulkhead.conf(5) from conf_options.def: the build's own program,
 * installed nowhere. tests/unit/manual.sh compares them with the manual.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "conf_options.h"
#include "units.h"

enum { LINE = 78 };

/* A sentence in lines that are not too long, a new one after each semicolon, as mdoc(7) asks. */
static void
print_text(const char *text)
{
	size_t column = 0;

	while (*text != '\0') {
		size_t n = strcspn(text, " ");

		if (column > 0 && (column + 1 + n > LINE || text[-2] == ';')) {
			putchar('\n');
			column = 0;
		}
		if (column > 0)
			putchar(' ');
		printf("%.*s", (int)n, text);
		column += (column > 0) + n;
		text += n;
		text += *text == ' ';
	}
	printf(".\n");
}

static void
print_words(const struct conf_option *o)
{
	const char *word;

	printf(" Cm");
	for (unsigned i = 0; (word = conf_word(o->type, i)) != NULL; i++)
		printf("%s %s", i > 0 ? " |" : "", word);
}

/* What stands behind the equal sign. */
static void
print_value(const struct conf_option *o)
{
	static const char *const names[] = {
	    [CT_U16] = "number",
	    [CT_I32] = "number",
	    [CT_U64] = "number",
	    [CT_MS] = "duration",
	    [CT_MS_NEVER] = "duration",
	    [CT_SIZE] = "size",
	    [CT_NAME] = "name",
	    [CT_SELF] = "name",
	    [CT_PATH] = "directory",
	    [CT_GROUP] = "group",
	    [CT_USER] = "user",
	    [CT_USERS] = "users",
	    [CT_ID] = "number",
	    [CT_COMMAND] = "command",
	    [CT_ADDRESSES] = "addresses",
	    [CT_KEY] = "identity",
	};

	if (conf_word(o->type, 0) != NULL)
		print_words(o);
	else
		printf(" Ar %s", names[o->type]);
	if (o->type == CT_MS_NEVER)
		printf(" | Cm never");
	putchar('\n');
}

static const char *
number_text(const struct conf_option *o, int64_t v, char buf[UNITS_TEXT])
{
	if (o->type == CT_MS || o->type == CT_MS_NEVER)
		return units_format_duration(v, buf);
	if (o->type == CT_SIZE)
		return units_format_size(v, buf);
	snprintf(buf, UNITS_TEXT, "%" PRId64, v);
	return buf;
}

/* "Default 500ms, from 5ms to 1min." */
static void
print_numbers(const struct conf_option *o)
{
	char value[UNITS_TEXT], min[UNITS_TEXT], max[UNITS_TEXT];

	if (conf_word(o->type, 0) != NULL && o->type != CT_ARBITRATION)
		printf("Default:\n.Cm %s .\n", conf_word(o->type, (unsigned)o->value));
	else if (conf_is_number(o) && o->type != CT_ARBITRATION)
		printf("Default: %s; from %s to %s.\n", number_text(o, o->value, value),
		    number_text(o, o->min, min), number_text(o, o->max, max));
	else if (o->type == CT_ADDRESSES || o->type == CT_USERS)
		printf("At most %" PRId64 ".\n", o->max);
	if (o->restart)
		printf("A change needs a restart.\n");
}

static void
print_option(const struct conf_option *o)
{
	printf(".It Ic %s No =", o->name);
	print_value(o);
	print_text(o->text);
	print_numbers(o);
}

int
main(void)
{
	const char *section = NULL;

	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];

		if (section == NULL || strcmp(section, o->section) != 0) {
			if (section != NULL)
				printf(".El\n");
			section = o->section;
			if (section[0] != '\0')
				printf(".Ss Section %s\n", section);
			else
				printf(".Ss Top of the file\n");
			printf(".Bl -tag -width Ds\n");
		}
		print_option(o);
	}
	printf(".El\n");
	return fflush(stdout) == 0 ? 0 : 1;
}
