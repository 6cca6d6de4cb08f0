/* SPDX-License-Identifier: ISC */
/*
 * Where the daemon keeps its socket and its keys: "run" and "state" at the top of bulkhead.conf.
 * The rest of the file is not looked at, so that keygen works before it is complete.
 */
#include "config.h"

#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/source.h"

struct cursor {
	const char *p;
	unsigned depth;
};

static int
is_word(char c)
{
	return c != '\0' && strchr(" \t\r\n{}=,\"'", c) == NULL;
}

/*
 * The next token into buf: a word or a string, decoded, or one of {}=,. Returns 'w', 's' or the
 * character; 0 at the end.
 */
static int
next_token(struct cursor *c, char *buf, size_t size)
{
	size_t n = 0;
	char quote;

	c->p += strspn(c->p, " \t\r\n");
	if (*c->p == '\0')
		return 0;
	quote = *c->p == '"' || *c->p == '\'' ? *c->p++ : '\0';
	if (quote == '\0' && !is_word(*c->p)) {
		snprintf(buf, size, "%c", *c->p);
		return *c->p++;
	}
	while (*c->p != '\0' && (quote != '\0' ? *c->p != quote : is_word(*c->p))) {
		if (*c->p == '\\' && c->p[1] != '\0' &&
		    (quote == '"' || (quote == '\'' && (c->p[1] == '\'' || c->p[1] == '\\'))))
			c->p++;
		if (n + 1 < size)
			buf[n++] = *c->p;
		c->p++;
	}
	buf[n] = '\0';
	c->p += quote != '\0' && *c->p == quote;
	return quote != '\0' ? 's' : 'w';
}

/* Keep the lines before this one; a string or a brace that it leaves open does no harm. */
static void
cut_before(char *text, unsigned line)
{
	for (; line > 1 && *text != '\0'; text++)
		line -= *text == '\n';
	*text = '\0';
}

/* Step over an equal sign when it comes next. */
static int
take_equals(struct cursor *c)
{
	c->p += strspn(c->p, " \t\r\n");
	if (*c->p != '=')
		return 0;
	c->p++;
	return 1;
}

unsigned
find_dirs(char *text, size_t len, char state_dir[CONF_COMMAND], char run_dir[CONF_COMMAND],
    char *error, size_t size)
{
	char token[CONF_COMMAND], sentence[256];
	struct cursor c = {.p = text};
	unsigned found = 0;
	int kind;
	unsigned line = source_prepare(text, len, sentence, sizeof(sentence));

	/* a file that is wrong further down still says where the running daemon is */
	if (line != 0)
		cut_before(text, line);
	while ((kind = next_token(&c, token, sizeof(token))) != 0) {
		char *dir = strcmp(token, "state") == 0 ? state_dir
			    : strcmp(token, "run") == 0 ? run_dir
							: NULL;

		if (kind == '{')
			c.depth++;
		else if (kind == '}' && c.depth > 0)
			c.depth--;
		if (kind != 'w' || dir == NULL || c.depth > 0 || !take_equals(&c) ||
		    !next_token(&c, token, sizeof(token)))
			continue;
		if (token[0] != '/') {
			snprintf(error, size, "1: state and run must be absolute paths");
			return NEEDS_STATE | NEEDS_SOCKET;
		}
		snprintf(dir, CONF_COMMAND, "%s", token);
		found |= dir == state_dir ? NEEDS_STATE : NEEDS_SOCKET;
	}
	if (line == 0)
		return 0;
	snprintf(error, size, "%u: %s", line, sentence);
	return (NEEDS_STATE | NEEDS_SOCKET) & ~found;
}

/* The file into text. Returns its length, or -1 with errno. */
static ssize_t
read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t len = 0;
	ssize_t n;

	if (fd == -1)
		return -1;
	while (len < size - 1 && (n = read(fd, text + len, size - 1 - len)) != 0) {
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1) {
			int saved = errno;

			close(fd);
			errno = saved;
			return -1;
		}
		len += (size_t)n;
	}
	close(fd);
	text[len] = '\0';
	return (ssize_t)len;
}

/*
 * What the command needs cannot be read from the file. The daemon of a default file is most likely
 * where it always is, and who has just broken that file needs its status most. Keys are neither
 * made nor read on a guess, and who names a file means that one.
 */
static void
do_without(const struct options *o, unsigned unknown, const char *path, const char *error)
{
	if (o->config != NULL || (unknown & NEEDS_STATE))
		die(CTL_EXIT_USAGE, "%s:%s", path, error);
	fprintf(stderr,
	    "bulkheadctl: warning: %s:%s; looking for the daemon in " RUNDIR ", --socket names "
	    "another place\n",
	    path, error);
}

void
find_options(struct options *o, unsigned needs)
{
	static char text[SOURCE_MAX + 2];
	const char *path = o->config != NULL ? o->config : SYSCONFDIR "/bulkhead.conf";
	char state_dir[CONF_COMMAND] = STATEDIR, run_dir[CONF_COMMAND] = RUNDIR;
	char error[512];
	unsigned unknown = 0;
	ssize_t len = read_file(path, text, sizeof(text));

	if (len == -1 && o->config != NULL)
		die(CTL_EXIT_USAGE, "%s: %s", path, strerror(errno));
	if (o->state_dir[0] != '\0')
		needs &= ~(unsigned)NEEDS_STATE;
	if (o->socket[0] != '\0')
		needs &= ~(unsigned)NEEDS_SOCKET;
	if (len > SOURCE_MAX) {
		unknown = NEEDS_STATE | NEEDS_SOCKET;
		snprintf(error, sizeof(error), "1: the file is larger than 256 KiB");
	} else if (len >= 0) {
		unknown = find_dirs(text, (size_t)len, state_dir, run_dir, error, sizeof(error));
	}
	if (unknown & needs)
		do_without(o, unknown & needs, path, error);
	if (o->state_dir[0] == '\0')
		snprintf(o->state_dir, sizeof(o->state_dir), "%s", state_dir);
	if (o->socket[0] == '\0' && (size_t)snprintf(o->socket, sizeof(o->socket), "%s/admin.sock",
					run_dir) >= sizeof(o->socket))
		die(CTL_EXIT_USAGE, "%s: run is too long", path);
}
