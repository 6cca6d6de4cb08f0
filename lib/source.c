/* SPDX-License-Identifier: ISC */
/*
 * The text of the config file before libconfuse sees it. Pure.
 *
 * libconfuse 3.3 counts two lines too many for each comment, takes an unclosed comment or section
 * for the end of the file, drops characters that it does not know, and puts environment variables
 * into strings. All of that would make a wrong file look right or an error point to the wrong line;
 * so comments are blanked here, and what it would swallow is refused.
 */
#include "source.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH = 2 }; /* a list in a section */

struct source {
	char *text;
	size_t len, pos;
	unsigned line;
	unsigned open[DEPTH], depth; /* lines of the braces that are open */
	char *error;
	size_t size;
};

static int refuse(struct source *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Write the sentence; always -1. */
static int
refuse(struct source *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->error, s->size, fmt, ap);
	va_end(ap);
	return -1;
}

/* What cannot stand anywhere in the file. */
static int
check_byte(struct source *s)
{
	unsigned char c = (unsigned char)s->text[s->pos];

	if (c == '\r' && s->text[s->pos + 1] == '\n')
		return 0;
	if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
		return refuse(s, "control character 0x%02x; the file must be text", c);
	return 0;
}

/* Blank up to the end of the line. */
static int
line_comment(struct source *s)
{
	for (; s->pos < s->len && s->text[s->pos] != '\n'; s->pos++) {
		if (check_byte(s) == -1)
			return -1;
		s->text[s->pos] = ' ';
	}
	return 0;
}

static int
block_comment(struct source *s)
{
	unsigned start = s->line;

	for (; s->pos < s->len; s->pos++) {
		if (check_byte(s) == -1)
			return -1;
		if (s->text[s->pos] == '*' && s->text[s->pos + 1] == '/') {
			memset(s->text + s->pos, ' ', 2);
			s->pos += 2;
			return 0;
		}
		if (s->text[s->pos] == '\n')
			s->line++;
		else
			s->text[s->pos] = ' ';
	}
	s->line = start;
	return refuse(s, "this comment is not closed; '*/' is missing");
}

/* From behind the opening quote to behind the closing one. */
static int
quoted(struct source *s, char quote)
{
	for (; s->pos < s->len && s->text[s->pos] != '\n'; s->pos++) {
		char c = s->text[s->pos], next = s->text[s->pos + 1];

		if (check_byte(s) == -1)
			return -1;
		if (c == quote) {
			s->pos++;
			return 0;
		}
		if (c == '\\' && quote == '"' && (next == '\0' || strchr("\"\\$", next) == NULL))
			return refuse(s,
			    "in double quotes only \\\\, \\\" and \\$ are known after a "
			    "backslash; single quotes take it as it is");
		if (c == '$' && next == '{' && quote == '"')
			return refuse(s, "variables are not replaced; write \\${ for these two "
					 "characters");
		if (c == '\\' && (next == quote || next == '\\' || quote == '"'))
			s->pos++;
	}
	return refuse(s, "this string is not closed on its line; a %c is missing", quote);
}

static int
brace(struct source *s, char c)
{
	if (c == '{' && s->depth == DEPTH)
		return refuse(s, "a '{' inside of a list");
	if (c == '{')
		s->open[s->depth++] = s->line;
	else if (s->depth > 0)
		s->depth--; /* one too many is libconfuse's to report */
	return 0;
}

/* A character outside strings and comments. */
static int
plain(struct source *s)
{
	static const char known[] =
	    " \t\r\n{}=,_.-:%@/"
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	char c = s->text[s->pos];

	if (check_byte(s) == -1)
		return -1;
	if ((unsigned char)c >= 0x80)
		return refuse(
		    s, "byte 0x%02x outside of quotes; put the value in quotes", (unsigned char)c);
	if (strchr(known, c) == NULL)
		return refuse(s, "unexpected '%c'; put the value in quotes", c);
	if ((c == '{' || c == '}') && brace(s, c) == -1)
		return -1;
	if (c == '\n')
		s->line++;
	s->pos++;
	return 0;
}

/* One step: a comment, a string, or a character. */
static int
step(struct source *s)
{
	char c = s->text[s->pos], next = s->text[s->pos + 1];

	if (c == '#' || (c == '/' && next == '/'))
		return line_comment(s);
	if (c == '/' && next == '*')
		return block_comment(s);
	if (c == '"' || c == '\'') {
		s->pos++;
		return quoted(s, c);
	}
	return plain(s);
}

unsigned
source_prepare(char *text, size_t len, char *error, size_t size)
{
	struct source s = {.text = text, .len = len, .line = 1, .error = error, .size = size};

	while (s.pos < s.len) {
		if (step(&s) == -1)
			return s.line;
	}
	if (s.depth > 0) {
		(void)refuse(&s, "this '{' is not closed; a '}' is missing");
		return s.open[s.depth - 1];
	}
	return 0;
}
