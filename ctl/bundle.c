/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl bundle: divergence bundles, changes that this server made as main and that the group
 * does not have (syncd/bundle.h says how they are written). They are files in the state directory,
 * so that they can be looked at while the daemon is down.
 */
#include "ctl.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { NAME_MAX_SHOWN = 96, BUNDLES_MAX = 1000, ARGUMENTS = 8, ANSWER_LINE = 512 };

static const char prefix[] = "bundle-", suffix[] = ".redis";

static void
bundle_path(const struct options *o, const char *name, char *path, size_t size)
{
	int n = snprintf(path, size, "%s/data/%s", o->state_dir, name);

	if (n < 0 || (size_t)n >= size)
		die(CTL_EXIT_FAILED, "the path of %s is too long", name);
}

/* bundle-EPOCH-INDEX.redis, and nothing that leads elsewhere. */
static int
is_bundle(const char *name)
{
	size_t n = strlen(name), head = sizeof(prefix) - 1, tail = sizeof(suffix) - 1;

	return n > head + tail && n < NAME_MAX_SHOWN && strncmp(name, prefix, head) == 0 &&
	       strcmp(name + n - tail, suffix) == 0 &&
	       strspn(name + head, "0123456789-") == n - head - tail;
}

static FILE *
open_bundle(const struct options *o, const char *name)
{
	char path[CONF_COMMAND + NAME_MAX_SHOWN + 8];
	FILE *f;

	if (!is_bundle(name))
		die_usage(o, "'%s' is not the name of a bundle; bulkheadctl bundle list shows them",
		    name);
	bundle_path(o, name, path, sizeof(path));
	f = fopen(path, "re");
	if (f == NULL)
		die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
	return f;
}

/* ---- list */

struct bundle {
	char name[NAME_MAX_SHOWN];
	int64_t bytes, saved_ms;
	uint64_t changes, operations;
};

static void
count_lines(const struct options *o, struct bundle *b)
{
	FILE *f = open_bundle(o, b->name);
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, f) > 0) {
		if (strncmp(line, "# change ", 9) == 0)
			b->changes++;
		else if (line[0] != '#')
			b->operations++;
	}
	free(line);
	fclose(f);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct bundle *)a)->name, ((const struct bundle *)b)->name);
}

static size_t
find_bundles(const struct options *o, struct bundle *list)
{
	char path[CONF_COMMAND + NAME_MAX_SHOWN + 8];
	struct dirent *entry;
	struct stat st;
	size_t n = 0;
	DIR *dir;

	bundle_path(o, "", path, sizeof(path));
	dir = opendir(path);
	if (dir == NULL && errno == ENOENT)
		return 0;
	if (dir == NULL)
		die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)) != NULL && n < BUNDLES_MAX) {
		struct bundle *b = &list[n];

		if (!is_bundle(entry->d_name))
			continue;
		memset(b, 0, sizeof(*b));
		memcpy(b->name, entry->d_name, strlen(entry->d_name) + 1); /* is_bundle() knows its length */
		bundle_path(o, b->name, path, sizeof(path));
		if (stat(path, &st) != 0)
			continue;
		b->bytes = st.st_size;
		b->saved_ms = (int64_t)st.st_mtim.tv_sec * 1000;
		count_lines(o, b);
		n++;
	}
	closedir(dir);
	qsort(list, n, sizeof(*list), by_name);
	return n;
}

static json_t *
bundles_json(const struct bundle *list, size_t n)
{
	json_t *j = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(
		    j, json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", list[i].name, "saved_ms",
			   (json_int_t)list[i].saved_ms, "changes", (json_int_t)list[i].changes,
			   "operations", (json_int_t)list[i].operations, "bytes",
			   (json_int_t)list[i].bytes));
	return json_pack("{s:o}", "bundles", j);
}

static void
bundles_print(const struct bundle *list, size_t n)
{
	static const char *const headings[] = {"BUNDLE", "SAVED", "CHANGES", "OPERATIONS", "BYTES"};
	struct table t;
	char when[32];

	table_init(&t, 5, headings, 1 << 2 | 1 << 3 | 1 << 4);
	for (size_t i = 0; i < n; i++) {
		table_row(&t);
		table_set(&t, 0, "%s", list[i].name);
		table_set(&t, 1, "%s", wall_text(list[i].saved_ms, when, sizeof(when)));
		table_set(&t, 2, "%" PRIu64, list[i].changes);
		table_set(&t, 3, "%" PRIu64, list[i].operations);
		table_set(&t, 4, "%" PRId64, list[i].bytes);
	}
	table_print(&t, stdout);
}

static int
bundle_list(const struct options *o)
{
	static struct bundle list[BUNDLES_MAX];
	size_t n = find_bundles(o, list);

	if (o->json)
		json_print(bundles_json(list, n));
	else if (n == 0)
		printf("no divergence bundles\n");
	else
		bundles_print(list, n);
	return CTL_EXIT_OK;
}

/* ---- show, export */

/* syncd writes printable text only; whatever else is there does not get to a terminal. */
static void
make_printable(char *block, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)block[i];

		if ((c < 0x20 && c != '\n') || c >= 0x7f)
			block[i] = '?';
	}
}

static int
bundle_copy(const struct options *o, const char *name, const char *to)
{
	FILE *f = open_bundle(o, name), *out = to != NULL ? fopen(to, "wxe") : stdout;
	char block[65536];
	size_t n;

	if (out == NULL)
		die(CTL_EXIT_FAILED, "%s: %s", to, strerror(errno));
	while ((n = fread(block, 1, sizeof(block), f)) > 0) {
		if (to == NULL)
			make_printable(block, n);
		if (fwrite(block, 1, n, out) != n)
			break;
	}
	if (ferror(f) || ferror(out) || fflush(out) != 0 || (to != NULL && fclose(out) != 0))
		die(CTL_EXIT_FAILED, "%s: %s", to != NULL ? to : name, strerror(errno));
	fclose(f);
	return CTL_EXIT_OK;
}

/* ---- apply: each line to the data socket, as a request */

struct argument {
	char *text;
	size_t len;
};

static int
hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *p = c != '\0' ? strchr(digits, c) : NULL;

	return p != NULL ? (int)(p - digits) : -1;
}

/* The words of a line, unescaped in place. Returns how many, or -1. */
static int
split_line(char *line, struct argument list[ARGUMENTS])
{
	int n = 0;

	for (char *p = line; *p != '\0';) {
		int quoted;
		char *to;

		p += strspn(p, " \n");
		if (*p == '\0')
			break;
		if (n == ARGUMENTS)
			return -1;
		quoted = *p == '"';
		p += quoted;
		list[n].text = to = p;
		while (*p != '\0' && (quoted ? *p != '"' : *p != ' ' && *p != '\n')) {
			if (quoted && p[0] == '\\' && p[1] == 'x' && hex_digit(p[2]) >= 0 &&
			    hex_digit(p[3]) >= 0) {
				*to++ = (char)(hex_digit(p[2]) << 4 | hex_digit(p[3]));
				p += 4;
			} else {
				p += quoted && p[0] == '\\' && p[1] != '\0';
				*to++ = *p++;
			}
		}
		if (quoted && *p != '"')
			return -1;
		list[n].len = (size_t)(to - list[n].text);
		n++;
		p += *p != '\0';
	}
	return n;
}

int
connect_data(const struct options *o)
{
	static const struct timeval limit = {.tv_sec = 60};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	const char *slash = strrchr(o->socket, '/');
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* beside the admin socket */
	snprintf(un.sun_path, sizeof(un.sun_path), "%.*s/data.sock",
	    slash != NULL ? (int)(slash - o->socket) : 1, slash != NULL ? o->socket : ".");
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
	    connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0)
		die(CTL_EXIT_NO_DAEMON, "%s: %s", un.sun_path, strerror(errno));
	return fd;
}

/* One request and its answer, which is a line for every command that a bundle has. */
static void
request(FILE *f, const struct argument *list, int n, uint64_t done)
{
	char answer[ANSWER_LINE];

	fprintf(f, "*%d\r\n", n);
	for (int i = 0; i < n; i++) {
		fprintf(f, "$%zu\r\n", list[i].len);
		fwrite(list[i].text, 1, list[i].len, f);
		fprintf(f, "\r\n");
	}
	if (fflush(f) != 0 || fgets(answer, sizeof(answer), f) == NULL)
		die(CTL_EXIT_FAILED, "the data socket closed after %" PRIu64 " operations", done);
	answer[strcspn(answer, "\r\n")] = '\0';
	clean_text(answer);
	if (answer[0] == '-')
		die(CTL_EXIT_FAILED, "operation %" PRIu64 " (%.*s) was refused: %s", done + 1,
		    (int)(list[0].len < 20 ? list[0].len : 20), list[0].text, answer + 1);
}

static int
bundle_apply(const struct options *o, const char *name)
{
	FILE *f = open_bundle(o, name), *data = fdopen(connect_data(o), "r+e");
	struct argument list[ARGUMENTS];
	char *line = NULL;
	size_t size = 0;
	uint64_t done = 0;

	if (data == NULL)
		die(CTL_EXIT_FAILED, "%s", strerror(errno));
	while (getline(&line, &size, f) > 0) {
		int n;

		if (line[0] == '#')
			continue;
		n = split_line(line, list);
		if (n < 1)
			die(CTL_EXIT_FAILED, "%s: operation %" PRIu64 " is damaged", name, done + 1);
		request(data, list, n, done);
		done++;
	}
	free(line);
	fclose(f);
	fclose(data);
	printf("%" PRIu64 " operations applied; bulkheadctl bundle discard %s --confirm removes it\n",
	    done, name);
	return CTL_EXIT_OK;
}

/* ---- discard */

static int
bundle_discard(const struct options *o, const char *name)
{
	char path[CONF_COMMAND + NAME_MAX_SHOWN + 8];

	fclose(open_bundle(o, name));
	bundle_path(o, name, path, sizeof(path));
	if (unlink(path) != 0)
		die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
	printf("%s is gone\n", name);
	return CTL_EXIT_OK;
}

int
cmd_bundle(const struct options *o, int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "list") == 0 && argc == 2)
		return bundle_list(o);
	if (strcmp(verb, "show") == 0 && argc == 3)
		return bundle_copy(o, argv[2], NULL);
	if (strcmp(verb, "export") == 0 && argc == 4)
		return bundle_copy(o, argv[2], argv[3]);
	if (strcmp(verb, "apply") == 0 && argc == 3)
		return bundle_apply(o, argv[2]);
	if (strcmp(verb, "discard") == 0 && argc == 4 && strcmp(argv[3], "--confirm") == 0)
		return bundle_discard(o, argv[2]);
	if (strcmp(verb, "discard") == 0 && argc == 3)
		die_usage(o, "what is discarded is lost: write --confirm behind the name");
	die_usage(o, "unknown or incomplete: '%s'", verb);
}
