/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl snapshot: the replicated data into a file, and a file back into its place. The data
 * comes from syncd itself, over root's connection to the data socket. A file is checked as a whole
 * before anything is done with it.
 */
#include "config.h"

#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "../lib/snapshot.h"

enum { BLOCK = 64 * 1024, LINE = 512 };

/* A snapshot that goes by: what of it is not a whole part yet waits in data. */
struct passing {
	struct snapshot_reader reader;
	uint8_t *data;
	size_t len, size;
	uint64_t bytes;
	int complete;
};

/* Is removed when we do not get to the end. */
static char temporary[CONF_COMMAND + 16];

static void
remove_temporary(void)
{
	if (temporary[0] != '\0')
		unlink(temporary);
}

static void
on_signal(int number)
{
	remove_temporary();
	_exit(128 + number);
}

/* ---- checking */

static void
passing_init(struct passing *p)
{
	memset(p, 0, sizeof(*p));
	snapshot_reader_init(&p->reader);
}

/* Take n more bytes in. NULL, or what is wrong with them. */
static const char *
passing_take(struct passing *p, const uint8_t *bytes, size_t n)
{
	size_t at = 0, used;

	if (p->size - p->len < n) {
		size_t size = 2 * p->size > p->len + n ? 2 * p->size : p->len + n;
		uint8_t *data = realloc(p->data, size);

		if (data == NULL)
			return "out of memory";
		p->data = data;
		p->size = size;
	}
	memcpy(p->data + p->len, bytes, n);
	p->len += n;
	p->bytes += n;
	for (;; at += used) {
		enum snapshot_part part =
		    snapshot_read(&p->reader, p->data + at, p->len - at, &used);

		if (part == SNAPSHOT_BAD)
			return p->reader.error;
		if (part == SNAPSHOT_MORE)
			break;
		p->complete = part == SNAPSHOT_GOT_END;
	}
	p->len -= at;
	memmove(p->data, p->data + at, p->len);
	return NULL;
}

static int
open_file(const struct options *o, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) != 0)
		die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		die_usage(o, "'%s' is not a regular file", path);
	return fd;
}

/* The whole file must be right. */
static void
check_file(int fd, const char *path, struct passing *p)
{
	static uint8_t block[BLOCK];
	const char *error = NULL;
	ssize_t n;

	passing_init(p);
	while (error == NULL && (n = read(fd, block, sizeof(block))) != 0) {
		if (n < 0)
			die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
		error = passing_take(p, block, (size_t)n);
	}
	free(p->data);
	if (error == NULL && !p->complete)
		error = "the snapshot is not complete";
	if (error != NULL)
		die(CTL_EXIT_FAILED, "%s: %s", path, error);
	if (lseek(fd, 0, SEEK_SET) != 0)
		die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
}

/* ---- what is printed */

static json_t *
json_snapshot(const char *path, const struct passing *p)
{
	const struct snapshot_head *h = &p->reader.head;
	char id[2 * SNAPSHOT_ID + 1];

	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "file", path,
	    "bytes", (json_int_t)p->bytes, "group", h->group, "server", h->server, "id",
	    hex_bytes(h->id, SNAPSHOT_ID, id), "epoch", (json_int_t)h->epoch, "index",
	    (json_int_t)h->index, "keys", (json_int_t)h->keys, "operations",
	    (json_int_t)p->reader.operations, "saved_ms", (json_int_t)h->saved_ms);
}

static void
print_snapshot(const char *path, const struct passing *p)
{
	const struct snapshot_head *h = &p->reader.head;
	char when[32];

	printf("%s: %" PRIu64 " keys of %s (group %s) at change %" PRIu64 " of epoch %" PRIu64
	       ", saved %s, %" PRIu64 " bytes\n",
	    path, h->keys, h->server, h->group, h->index, h->epoch,
	    wall_text(h->saved_ms, when, sizeof(when)), p->bytes);
}

/* ---- the connection */

/* A line of the daemon, without its end. 0, or -1: it closed. */
static int
read_line(int fd, char line[LINE])
{
	size_t n = 0;

	while (n < LINE - 1) {
		ssize_t r = read(fd, line + n, 1);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -1;
		if (line[n++] == '\n')
			break;
	}
	line[n] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	clean_text(line);
	return 0;
}

/* Connect and say what is wanted; it has been agreed to when this returns. */
static int
begin(const struct options *o, const char *request)
{
	int fd = connect_data(o);
	char line[LINE];

	if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request) ||
	    read_line(fd, line) != 0)
		die(CTL_EXIT_NO_DAEMON, "the daemon does not answer on its data socket");
	if (strcmp(line, "+OK") != 0)
		die(CTL_EXIT_FAILED, "snapshot: %s", line + (line[0] == '-'));
	return fd;
}

/* ---- save */

static void
write_all(int out, const char *path, const uint8_t *bytes, size_t n)
{
	while (n > 0) {
		ssize_t r = write(out, bytes, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
		bytes += r;
		n -= (size_t)r;
	}
}

/* What comes from the daemon goes to out, and is checked on its way. */
static void
take_all(int fd, int out, const char *path, struct passing *p)
{
	static uint8_t block[BLOCK];
	const char *error = NULL;
	ssize_t n;

	passing_init(p);
	while (error == NULL && (n = read(fd, block, sizeof(block))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error = strerror(errno);
			break;
		}
		write_all(out, path, block, (size_t)n);
		error = passing_take(p, block, (size_t)n);
	}
	free(p->data);
	close(fd);
	if (error == NULL && !p->complete)
		error = "the daemon ended it before the end; its log says why";
	if (error != NULL)
		die(CTL_EXIT_FAILED, "%s: %s", path, error);
}

/* A new file beside path, that only root reads. */
static int
open_temporary(const struct options *o, const char *path)
{
	struct stat st;
	int n = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path), out;

	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		die_usage(o, "'%s' is there and is not a regular file", path);
	if (n < 0 || (size_t)n >= sizeof(temporary))
		die_usage(o, "'%s' is too long", path);
	out = mkostemp(temporary, O_CLOEXEC); /* 0600 */
	if (out < 0) {
		temporary[0] = '\0';
		die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
	}
	atexit(remove_temporary);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);
	return out;
}

/* The complete file gets its name: a power cut leaves the old one or the new one. */
static void
put_in_place(int out, const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[CONF_COMMAND];
	int dir, r;

	snprintf(folder, sizeof(folder), "%.*s",
	    slash == NULL   ? 1
	    : slash == path ? 1
			    : (int)(slash - path),
	    slash == NULL ? "." : path);
	r = fsync(out) != 0 || close(out) != 0 || rename(temporary, path) != 0;
	if (r == 0) {
		temporary[0] = '\0';
		dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = dir < 0 || fsync(dir) != 0;
		if (dir >= 0)
			close(dir);
	}
	if (r != 0)
		die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
}

static void
save_to(const struct options *o, const char *path, struct passing *p)
{
	int to_stdout = strcmp(path, "-") == 0, fd, out;

	if (to_stdout && isatty(STDOUT_FILENO))
		die_usage(o, "a snapshot is nothing for a terminal");
	out = to_stdout ? STDOUT_FILENO : open_temporary(o, path);
	fd = begin(o, "SNAPSHOT SAVE\r\n");
	take_all(fd, out, to_stdout ? "standard output" : path, p);
	if (!to_stdout)
		put_in_place(out, path);
}

/* What the file at path has. */
static int
show(const struct options *o, const char *path, const struct passing *p)
{
	if (o->json)
		json_print(json_pack("{s:o}", "snapshot", json_snapshot(path, p)));
	else
		print_snapshot(path, p);
	return CTL_EXIT_OK;
}

static int
snapshot_save(const struct options *o, const char *path)
{
	struct passing p;

	save_to(o, path, &p);
	if (strcmp(path, "-") == 0)
		return CTL_EXIT_OK;
	return show(o, path, &p);
}

static int
snapshot_show(const struct options *o, const char *path)
{
	int fd = open_file(o, path);
	struct passing p;

	check_file(fd, path, &p);
	close(fd);
	return show(o, path, &p);
}

/* ---- restore */

/* What is there must be named before it is replaced. Whether there is something to be kept here. */
static int
look_at_present(const struct options *o, const char *old)
{
	static struct answer a;

	ask_status(o, &a);
	if (!a.has_data)
		die(CTL_EXIT_NO_DAEMON, "syncd has not said anything yet");
	for (size_t i = 0; i < a.n_servers; i++) {
		if (!a.server[i].self && strcmp(a.server[i].role, "main") == 0 &&
		    strcmp(a.data.role, "main") != 0)
			die(CTL_EXIT_FAILED,
			    "a snapshot is restored on main, which is %s: run it there, or make "
			    "this server main before",
			    a.server[i].name);
	}
	if (old != NULL)
		return !a.data.blank;
	if (!a.data.blank)
		die(CTL_EXIT_FAILED,
		    "this group has %" PRIu64 " keys, up to change %" PRIu64 " of epoch %" PRIu64
		    "; --replace OLD saves them to the file OLD and replaces them on all servers, "
		    "--replace none loses them",
		    a.data.keys, a.data.index, a.data.epoch);
	for (size_t i = 0; i < a.n_servers; i++) {
		if (!a.server[i].self && a.server[i].position > 0)
			die(CTL_EXIT_FAILED,
			    "this server has no data, but %s has, up to change %" PRIu64
			    ": make it main instead, or replace its data with --replace none",
			    a.server[i].name, a.server[i].position);
	}
	return 0;
}

/* The file to the daemon, which may refuse in the middle: it says why. */
static void
send_file(int fd, int file, const char *path)
{
	static uint8_t block[BLOCK];
	ssize_t n;

	while ((n = read(file, block, sizeof(block))) > 0) {
		size_t at = 0;

		while (at < (size_t)n) {
			ssize_t r = send(fd, block + at, (size_t)n - at, MSG_NOSIGNAL);

			if (r < 0 && errno == EINTR)
				continue;
			if (r < 0)
				return;
			at += (size_t)r;
		}
	}
	if (n < 0)
		die(CTL_EXIT_FAILED, "%s: %s", path, strerror(errno));
	(void)shutdown(fd, SHUT_WR);
}

static int
snapshot_restore(const struct options *o, const char *path, const char *old)
{
	static const struct timeval forever;
	int file = open_file(o, path), keep, fd;
	struct passing p, present;
	struct stat a, b;
	char line[LINE];

	/* what is restored must be there as long as it is not known to be good */
	if (old != NULL && fstat(file, &a) == 0 && stat(old, &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino)
		die_usage(o, "'%s' is the file that is restored: write another name for OLD", old);

	check_file(file, path, &p);
	keep = look_at_present(o, old);
	fd = begin(o, old != NULL ? "SNAPSHOT RESTORE REPLACE\r\n" : "SNAPSHOT RESTORE\r\n");
	tell_deed_or_die(o, DEED_RESTORE, p.reader.head.keys, "");
	/* nothing is written any more: what is kept is all that there was */
	if (keep && strcmp(old, "none") != 0)
		save_to(o, old, &present);
	send_file(fd, file, path);
	close(file);
	/* a large one takes its time; a daemon that dies closes */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
	if (read_line(fd, line) != 0)
		die(CTL_EXIT_FAILED, "the daemon closed the connection without an answer; "
				     "bulkheadctl data says which data is in place");
	close(fd);
	if (line[0] != '+')
		die(CTL_EXIT_FAILED, "not restored, the data is as before: %s",
		    strncmp(line, "-ERR ", 5) == 0 ? line + 5 : line);
	tell_deed_or_warn(o, DEED_RESTORED, p.reader.head.keys, "");
	if (o->json)
		json_print(json_pack("{s:s, s:s, s:o}", "result", "ok", "text", line + 1,
		    "snapshot", json_snapshot(path, &p)));
	else
		printf("%s; the other servers follow\n", line + 1);
	return CTL_EXIT_OK;
}

int
cmd_snapshot(const struct options *o, int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (sodium_init() < 0)
		die(CTL_EXIT_FAILED, "libsodium does not start");
	if (strcmp(verb, "save") == 0 && argc == 3)
		return snapshot_save(o, argv[2]);
	if (strcmp(verb, "show") == 0 && argc == 3)
		return snapshot_show(o, argv[2]);
	if (strcmp(verb, "restore") == 0 && argc == 3)
		return snapshot_restore(o, argv[2], NULL);
	if (strcmp(verb, "restore") == 0 && argc == 5 && strcmp(argv[3], "--replace") == 0)
		return snapshot_restore(o, argv[2], argv[4]);
	if (argc < 2)
		die_usage(o, "what is to be done is missing");
	die_usage(o, "unknown, or with a wrong number of arguments: '%s'", verb);
}
