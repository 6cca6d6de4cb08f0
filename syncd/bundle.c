/* SPDX-License-Identifier: ISC */
/*
 * Writing a divergence bundle.
 */
#include "config.h"

#include "bundle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"

/* A file written through a buffer; the first error stays. */
struct writer {
	int fd, error;
	size_t n;
	uint8_t buffer[64 * 1024];
};

static void
flush_writer(struct writer *w)
{
	size_t at = 0;

	while (w->error == 0 && at < w->n) {
		ssize_t n = write(w->fd, w->buffer + at, w->n - at);

		if (n > 0)
			at += (size_t)n;
		else if (n < 0 && errno != EINTR)
			w->error = errno;
	}
	w->n = 0;
}

static void
put_bytes(struct writer *w, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i++) {
		if (w->n == sizeof(w->buffer))
			flush_writer(w);
		w->buffer[w->n++] = p[i];
	}
}

static void
put_text(struct writer *w, const char *text)
{
	put_bytes(w, text, strlen(text));
}

/* " \"text\"" in the quoting of redis-cli. */
static void
put_quoted(struct writer *w, struct slice s)
{
	static const char digits[] = "0123456789abcdef";

	put_text(w, " \"");
	for (size_t i = 0; i < s.len; i++) {
		uint8_t b = s.data[i];
		char hex[4] = {'\\', 'x', digits[b >> 4], digits[b & 15]};

		if (b == '"' || b == '\\') {
			put_text(w, "\\");
			put_bytes(w, &b, 1);
		} else if (b >= 0x20 && b < 0x7f) {
			put_bytes(w, &b, 1);
		} else {
			put_bytes(w, hex, sizeof(hex));
		}
	}
	put_text(w, "\"");
}

static void
put_number(struct writer *w, int64_t v)
{
	char text[32];

	snprintf(text, sizeof(text), " %" PRId64, v);
	put_text(w, text);
}

static void
put_op(struct writer *w, const struct change_op *op)
{
	static const char *const words[CHANGE_MAX] = {[CHANGE_SET] = "SET",
	    [CHANGE_DEL] = "DEL",
	    [CHANGE_EXPIRE] = "PEXPIREAT",
	    [CHANGE_HSET] = "HSET",
	    [CHANGE_HDEL] = "HDEL",
	    [CHANGE_RENAME] = "RENAME",
	    [CHANGE_FLUSH] = "FLUSHALL",
	    [CHANGE_SPLICE] = "SETRANGE"};
	bool persist = op->kind == CHANGE_EXPIRE && op->expire_ms == 0;

	put_text(w, persist ? "PERSIST" : words[op->kind]);
	if (op->kind != CHANGE_FLUSH)
		put_quoted(w, op->key);
	if (op->kind == CHANGE_HSET || op->kind == CHANGE_HDEL || op->kind == CHANGE_RENAME)
		put_quoted(w, op->field);
	if (op->kind == CHANGE_SPLICE)
		put_number(w, (int64_t)op->offset);
	if (op->kind == CHANGE_SET || op->kind == CHANGE_HSET || op->kind == CHANGE_SPLICE)
		put_quoted(w, op->value);
	if (op->kind == CHANGE_EXPIRE && !persist)
		put_number(w, op->expire_ms);
	if (op->kind == CHANGE_SET && op->expire_ms != 0) {
		put_text(w, " PXAT");
		put_number(w, op->expire_ms);
	}
	put_text(w, "\n");
}

/* One record of the log. 0 or -1. */
static int
put_record(struct writer *w, const struct position *at, struct slice body)
{
	struct change_op op;
	char text[80];
	size_t pos = 0;
	int r;

	snprintf(text, sizeof(text), "# change %" PRIu64 "/%" PRIu64 "\n", at->epoch, at->index);
	put_text(w, text);
	while ((r = change_next(body, &pos, &op)) > 0)
		put_op(w, &op);
	return r;
}

static int64_t
write_records(struct store *s, struct writer *w, uint64_t from)
{
	struct log *log = store_log(s);
	int64_t n = 0;

	for (uint64_t i = from + 1; i <= log_end(log).index && w->error == 0; i++) {
		struct position at;
		struct slice body;

		if (log_read(log, i, &at, &body) != 1 || put_record(w, &at, body) != 0) {
			w->error = EIO;
			break;
		}
		n++;
	}
	return n;
}

/* ---- which are there */

enum { NAME_SIZE = 96, LOOK_MS = 5000 };
static const char part[] = "bundle.part"; /* until it is whole and on the disk */

/* For the figures: an admin may remove some at any time. */
static struct {
	int64_t looked_ms; /* 0: look now */
	unsigned n;
} known;

struct present {
	unsigned n;
	uint64_t bytes;
};

static int
add_present(int dir, const char *name, struct present *p)
{
	static const char head[] = "bundle-", tail[] = ".redis";
	size_t n = strlen(name);
	int fd;
	off_t size;

	if (strncmp(name, head, sizeof(head) - 1) != 0 || n < sizeof(head) + sizeof(tail) ||
	    strcmp(name + n - (sizeof(tail) - 1), tail) != 0)
		return 0;
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -1; /* an admin removed it just now */
	size = lseek(fd, 0, SEEK_END);
	close(fd);
	if (size < 0)
		return -1;
	p->n++;
	p->bytes += (uint64_t)size;
	return 0;
}

static int
find_present(struct present *p)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0, error;
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	memset(p, 0, sizeof(*p));
	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while (r == 0 && p->n < BUNDLES_KEPT && (e = readdir(d)) != NULL)
		r = add_present(fd, e->d_name, p);
	error = errno;
	closedir(d);
	errno = error;
	return r;
}

unsigned
bundle_count(int64_t now)
{
	struct present p;

	if (known.looked_ms == 0 || now - known.looked_ms >= LOOK_MS) {
		known.looked_ms = now;
		if (find_present(&p) == 0) /* else it is as before */
			known.n = p.n;
	}
	return known.n;
}

/* Room for one more? 0, or -1 with errno and a logged reason. */
static int
find_room(uint64_t bytes)
{
	struct present p;

	if (find_present(&p) != 0) {
		log_error("cannot save a divergence bundle: %s", strerror(errno));
		return -1;
	}
	if (p.n < BUNDLES_KEPT && p.bytes < bytes)
		return 0;
	log_error(
	    "%u divergence bundles of %" PRIu64 " MiB are here, and no more are saved: what this "
	    "server has and main has not stays, and it does not follow until some are gone; see "
	    "bulkheadctl bundle list, bundle apply and bundle discard",
	    p.n, p.bytes >> 20);
	errno = EDQUOT;
	return -1;
}

/* The first name that is free: bundle-EPOCH-INDEX.redis, then bundle-EPOCH-INDEX-2.redis, ... */
static int
free_name(const struct position *end, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, "bundle-%" PRIu64 "-%" PRIu64 ".redis", end->epoch, end->index);
	for (unsigned i = 2; i <= BUNDLES_KEPT + 1; i++) {
		if (faccessat(AT_FDCWD, name, F_OK, 0) != 0)
			return errno == ENOENT ? 0 : -1;
		snprintf(name, NAME_SIZE, "bundle-%" PRIu64 "-%" PRIu64 "-%u.redis", end->epoch,
		    end->index, i);
	}
	errno = EEXIST;
	return -1;
}

/* The first lines: what this is, and what is missing. */
static void
put_heading(
    struct writer *w, const struct position *from, const struct position *start, bool doubtful)
{
	char text[240];

	if (from->index > 0)
		snprintf(text, sizeof(text),
		    "# divergence bundle: changes made here behind %" PRIu64 "/%" PRIu64
		    " that main does not have\n",
		    from->epoch, from->index);
	else
		snprintf(text, sizeof(text),
		    "# divergence bundle: all changes in the log here; the log of main does not go "
		    "back to where its changes part from these\n");
	put_text(w, text);
	if (doubtful)
		put_text(w, "# in doubt: main may have some or all of them\n");
	if (start->index <= from->index)
		return;
	snprintf(text, sizeof(text),
	    "# incomplete: the log here begins behind %" PRIu64 "/%" PRIu64
	    ", changes before that are not in this file\n",
	    start->epoch, start->index);
	put_text(w, text);
}

static void
begin_part(struct writer *w)
{
	w->error = 0;
	w->n = 0;
	w->fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (w->fd < 0)
		w->error = errno;
}

/* It is whole: to the disk, and then it gets its name. */
static void
end_part(struct writer *w, const char *name)
{
	int dir;

	flush_writer(w);
	if (w->error == 0 && fdatasync(w->fd) != 0)
		w->error = errno;
	if (w->fd >= 0)
		close(w->fd);
	if (w->error == 0 && renameat(AT_FDCWD, part, AT_FDCWD, name) != 0)
		w->error = errno;
	if (w->error != 0) {
		(void)unlinkat(AT_FDCWD, part, 0); /* its bytes may be what the disk lacks */
		return;
	}
	dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) != 0)
		w->error = errno;
	if (dir >= 0)
		close(dir);
}

int64_t
bundle_save(struct store *s, const struct position *from, bool doubtful, uint64_t bytes)
{
	static struct writer w;
	struct position end = store_end(s), start = log_start(store_log(s));
	uint64_t first = from->index > start.index ? from->index : start.index;
	char name[NAME_SIZE];
	int64_t n;

	if (end.index <= first)
		return 0;
	if (find_room(bytes) != 0)
		return -1;
	if (free_name(&end, name) != 0) {
		log_error("%s: cannot save a divergence bundle: %s", name, strerror(errno));
		return -1;
	}
	begin_part(&w);
	put_heading(&w, from, &start, doubtful);
	n = write_records(s, &w, first);
	end_part(&w, name);
	if (w.error != 0) {
		log_error("%s: cannot save a divergence bundle: %s", name, strerror(w.error));
		errno = w.error;
		return -1;
	}
	known.looked_ms = 0;
	log_warn("%s: %" PRId64 " changes that main %s are saved; look at them with "
		 "bulkheadctl bundle show",
	    name, n, doubtful ? "may not have" : "does not have");
	if (start.index > from->index)
		log_warn("%s: changes before %" PRIu64 "/%" PRIu64
			 " are not in the log of this server any more and could not be saved",
		    name, start.epoch, start.index);
	return n;
}
