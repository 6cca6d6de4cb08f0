/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl bundle: divergence bundles, changes that this server made as main and that the group
 * does not have (syncd/bundle.h says how they are written). They are files in the state directory,
 * so that they can be looked at while the daemon is down.
 */
#include "ctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	NAME_MAX_SHOWN = 96,
	BUNDLES_MAX = 1000,
	ARGUMENTS = 8,
	ANSWER_LINE = 512,
	WORD_MAX = 512 << 20
};

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

/*
 * The folder is of syncd, which may have been taken over: what is not a regular file (a link to one
 * of root's, a FIFO that never ends) is not opened, and no part of a file is kept as a whole in
 * memory.
 */
static FILE *
open_bundle(const struct options *o, const char *name)
{
	char path[CONF_COMMAND + NAME_MAX_SHOWN + 8];
	struct stat st;
	FILE *f;
	int fd;

	if (!is_bundle(name))
		die_usage(o, "'%s' is not the name of a bundle; bulkheadctl bundle list shows them",
		    name);
	bundle_path(o, name, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) != 0)
		die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		die(CTL_EXIT_FAILED, "%s: not a regular file", path);
	f = fdopen(fd, "r");
	if (f == NULL)
		die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
	return f;
}

/* syncd writes lines of printable text and nothing else. */
static int
is_text(int c)
{
	return c == '\n' || (c >= 0x20 && c < 0x7f);
}

/* ---- list */

struct bundle {
	char name[NAME_MAX_SHOWN];
	int64_t bytes, saved_ms;
	uint64_t changes, operations;
	int damaged; /* it has something else than lines of text */
};

/* Up to the end or to the first byte that is not text: a hole of any size ends it, too. */
static void
count_lines(const struct options *o, struct bundle *b)
{
	static const char change[] = "# change ";
	FILE *f = open_bundle(o, b->name);
	size_t at = 0, same = 0; /* in the line, of which so many are those of `change` */
	int c;

	while ((c = getc_unlocked(f)) != EOF && is_text(c)) {
		if (at == 0 && c != '#' && c != '\n')
			b->operations++;
		if (same == at && same < sizeof(change) - 1 && c == change[same] &&
		    ++same == sizeof(change) - 1)
			b->changes++;
		at = c == '\n' ? 0 : at + 1;
		same = c == '\n' ? 0 : same;
	}
	b->damaged = c != EOF || ferror(f) || at > 0;
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
	if (dir == NULL)
		die(CTL_EXIT_FAILED, "%s: %s%s", path, strerror(errno),
		    errno == ENOENT ? ": no daemon has run with this state directory" : "");
	while ((entry = readdir(dir)) != NULL && n < BUNDLES_MAX) {
		struct bundle *b = &list[n];

		if (!is_bundle(entry->d_name))
			continue;
		memset(b, 0, sizeof(*b));
		memcpy(b->name, entry->d_name,
		    strlen(entry->d_name) + 1); /* is_bundle() knows its length */
		bundle_path(o, b->name, path, sizeof(path));
		if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
			fprintf(stderr, "bulkheadctl: %s: not a regular file, left out\n", path);
			continue;
		}
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
		    j, json_pack("{s:s, s:I, s:I, s:I, s:I, s:b}", "name", list[i].name, "saved_ms",
			   (json_int_t)list[i].saved_ms, "changes", (json_int_t)list[i].changes,
			   "operations", (json_int_t)list[i].operations, "bytes",
			   (json_int_t)list[i].bytes, "damaged", list[i].damaged));
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
		table_set(&t, 3, "%" PRIu64 "%s", list[i].operations,
		    list[i].damaged ? ", then damaged" : "");
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

/* What is not text does not get to a terminal. */
static void
make_printable(char *block, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!is_text((unsigned char)block[i]))
			block[i] = '?';
	}
}

/* The lines as strings, however many there are. */
static int
bundle_show_json(const struct options *o, const char *name)
{
	FILE *f = open_bundle(o, name);
	int c = getc_unlocked(f);

	printf("{\n  \"bundle\": \"%s\",\n  \"lines\": [", name);
	for (const char *before = ""; c != EOF; before = ",") {
		printf("%s\n    \"", before);
		for (; c != '\n' && c != EOF; c = getc_unlocked(f)) {
			if (c == '"' || c == '\\')
				putchar_unlocked('\\');
			putchar_unlocked(is_text(c) ? c : '?');
		}
		printf("\"");
		if (c != EOF)
			c = getc_unlocked(f);
	}
	printf("\n  ]\n}\n");
	if (ferror(f) || fflush(stdout) != 0)
		die(CTL_EXIT_FAILED, "%s: %s", name, strerror(errno));
	fclose(f);
	return CTL_EXIT_OK;
}

/* A new file that only root reads, as the data itself. */
static FILE *
create_export(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (f == NULL)
		die(CTL_EXIT_FAILED, "%s: %s%s", path, strerror(errno),
		    errno == EEXIST ? "; nothing is written over it" : "");
	return f;
}

static int
say_done(const struct options *o, const char *text)
{
	if (o->json)
		json_print(json_pack("{s:s, s:s}", "result", "ok", "text", text));
	else
		printf("%s\n", text);
	return CTL_EXIT_OK;
}

static int
bundle_copy(const struct options *o, const char *name, const char *to)
{
	FILE *f = open_bundle(o, name), *out = to != NULL ? create_export(to) : stdout;
	char block[65536], text[2 * CONF_COMMAND];
	size_t n;

	while ((n = fread(block, 1, sizeof(block), f)) > 0) {
		if (to == NULL)
			make_printable(block, n);
		if (fwrite(block, 1, n, out) != n)
			break;
	}
	if (ferror(f) || ferror(out) || fflush(out) != 0 || (to != NULL && fclose(out) != 0))
		die(CTL_EXIT_FAILED, "%s: %s", to != NULL ? to : name, strerror(errno));
	fclose(f);
	if (to == NULL)
		return CTL_EXIT_OK;
	snprintf(text, sizeof(text), "%s is in %s", name, to);
	return say_done(o, text);
}

/* ---- apply: each line to the data socket, as a request */

/*
 * A line is read twice: for the lengths of its words, which a request begins with, then for the
 * words.
 */
struct line {
	off_t at;
	int n;
	size_t len[ARGUMENTS];
};
enum { WORD_END = -1, WORD_DAMAGED = -2 };

static int
hex_digit(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that a \ stands for, or WORD_DAMAGED. */
static int
escaped_byte(FILE *f)
{
	int c = getc_unlocked(f), high, low;

	if (c == '\n' || !is_text(c))
		return WORD_DAMAGED;
	if (c != 'x')
		return c;
	high = hex_digit(getc_unlocked(f));
	low = high >= 0 ? hex_digit(getc_unlocked(f)) : -1;
	return low >= 0 ? high << 4 | low : WORD_DAMAGED;
}

/* The next byte of a word, WORD_END (what ends a plain word is left there), or WORD_DAMAGED. */
static int
word_byte(FILE *f, int quoted)
{
	int c = getc_unlocked(f);

	if (!quoted && (c == ' ' || c == '\n')) {
		ungetc(c, f);
		return WORD_END;
	}
	if (quoted && c == '"')
		return WORD_END;
	if (c == '\n' || !is_text(c))
		return WORD_DAMAGED;
	return quoted && c == '\\' ? escaped_byte(f) : c;
}

/* To the next word of the line. 1: it is in quotes, 0: it is not, WORD_END: there is none. */
static int
word_begin(FILE *f)
{
	int c;

	do
		c = getc_unlocked(f);
	while (c == ' ');
	if (c == '\n' || c == EOF)
		return WORD_END;
	if (c == '"')
		return 1;
	ungetc(c, f);
	return 0;
}

static int
skip_comments(FILE *f)
{
	int c;

	while ((c = getc_unlocked(f)) == '#') {
		while ((c = getc_unlocked(f)) != '\n' && is_text(c))
			;
		if (c != '\n')
			return -1;
	}
	if (c != EOF)
		ungetc(c, f);
	return c != EOF;
}

/* What a bundle consists of: each of them is answered by one line. */
static int
is_operation(const char *word)
{
	static const char *const words[] = {
	    "SET", "DEL", "PEXPIREAT", "PERSIST", "HSET", "HDEL", "RENAME", "FLUSHALL", "SETRANGE"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(word, words[i]) == 0)
			return 1;
	}
	return 0;
}

/* Measures the next operation. 1; 0 at the end; -1: it is not one that syncd writes. */
static int
measure_line(FILE *f, struct line *l)
{
	char word[16] = "";
	int quoted, c = skip_comments(f);

	if (c != 1)
		return c;
	l->at = ftello(f);
	l->n = 0;
	while ((quoted = word_begin(f)) != WORD_END) {
		size_t n = 0;

		if (l->n == ARGUMENTS)
			return -1;
		while ((c = word_byte(f, quoted)) >= 0 && n < WORD_MAX) {
			if (l->n == 0 && n < sizeof(word) - 1)
				word[n] = (char)c;
			n++;
		}
		if (c != WORD_END || (l->n == 0 && n >= sizeof(word)))
			return -1;
		l->len[l->n++] = n;
	}
	return is_operation(word) ? 1 : -1;
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
	    connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0) {
		const char *what = strerror(errno);

		if (errno == ENOENT || errno == ECONNREFUSED)
			what = "the daemon is not running";
		else if (errno == EACCES)
			what = "only root may do this";
		die(CTL_EXIT_NO_DAEMON, "%s: %s", un.sun_path, what);
	}
	return fd;
}

/* The measured line as a request. 0, or -1: it is not what it was. */
static int
send_line(FILE *f, const struct line *l, FILE *data)
{
	if (fseeko(f, l->at, SEEK_SET) != 0)
		return -1;
	fprintf(data, "*%d\r\n", l->n);
	for (int i = 0; i < l->n; i++) {
		int quoted = word_begin(f), c;

		if (quoted == WORD_END)
			return -1;
		fprintf(data, "$%zu\r\n", l->len[i]);
		for (size_t n = 0; n < l->len[i]; n++) {
			if ((c = word_byte(f, quoted)) < 0)
				return -1;
			putc_unlocked(c, data);
		}
		if (word_byte(f, quoted) != WORD_END)
			return -1;
		fprintf(data, "\r\n");
	}
	return word_begin(f) == WORD_END ? 0 : -1;
}

/* NULL, or what became of the operation instead. */
static const char *
take_answer(FILE *data)
{
	static char answer[ANSWER_LINE];

	if (fflush(data) != 0 || fgets(answer, sizeof(answer), data) == NULL)
		return "the data socket closed";
	answer[strcspn(answer, "\r\n")] = '\0';
	clean_text(answer);
	if (answer[0] == '+' || answer[0] == ':')
		return NULL;
	return answer[0] == '-' ? answer + 1 : answer;
}

static int
bundle_apply(const struct options *o, const char *name)
{
	FILE *f = open_bundle(o, name), *data = fdopen(connect_data(o), "r+e");
	char text[NAME_MAX_SHOWN + 128];
	const char *refused = NULL;
	struct line line;
	uint64_t done = 0;
	int r;

	if (data == NULL)
		die(CTL_EXIT_FAILED, "%s", strerror(errno));
	tell_deed_or_die(o, DEED_APPLY, 0, name);
	while ((r = measure_line(f, &line)) == 1 && (r = send_line(f, &line, data)) == 0 &&
	       (refused = take_answer(data)) == NULL)
		done++;
	tell_deed_or_warn(o, DEED_APPLIED, done, name);
	if (refused != NULL)
		die(CTL_EXIT_FAILED,
		    "operation %" PRIu64 " of %s was not done, those before it were: %s", done + 1,
		    name, refused);
	if (r != 0 || ferror(f))
		die(CTL_EXIT_FAILED,
		    "%s: operation %" PRIu64 " is damaged, those before it are applied", name,
		    done + 1);
	fclose(f);
	fclose(data);
	snprintf(text, sizeof(text),
	    "%" PRIu64 " operations applied; bulkheadctl bundle discard %s --confirm removes it",
	    done, name);
	return say_done(o, text);
}

/* ---- discard */

static int
bundle_discard(const struct options *o, const char *name)
{
	char path[CONF_COMMAND + NAME_MAX_SHOWN + 8], text[NAME_MAX_SHOWN + 16];

	if (!is_bundle(name))
		die_usage(o, "'%s' is not the name of a bundle; bulkheadctl bundle list shows them",
		    name);
	bundle_path(o, name, path, sizeof(path));
	if (unlink(path) != 0)
		die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
	tell_deed_or_warn(o, DEED_DISCARD, 0, name);
	snprintf(text, sizeof(text), "%s is gone", name);
	return say_done(o, text);
}

int
cmd_bundle(const struct options *o, int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "list") == 0 && argc == 2)
		return bundle_list(o);
	if (strcmp(verb, "show") == 0 && argc == 3)
		return o->json ? bundle_show_json(o, argv[2]) : bundle_copy(o, argv[2], NULL);
	if (strcmp(verb, "export") == 0 && argc == 4)
		return bundle_copy(o, argv[2], argv[3]);
	if (strcmp(verb, "apply") == 0 && argc == 3)
		return bundle_apply(o, argv[2]);
	if (strcmp(verb, "discard") == 0 && argc == 4 && strcmp(argv[3], "--confirm") == 0)
		return bundle_discard(o, argv[2]);
	if (strcmp(verb, "discard") == 0 && argc == 3)
		die_usage(o, "what is discarded is lost: write --confirm behind the name");
	if (argc < 2)
		die_usage(o, "what is to be done is missing");
	die_usage(o, "unknown, or with a wrong number of arguments: '%s'", verb);
}
