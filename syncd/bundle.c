/* SPDX-License-Identifier: ISC */
/*
 * Writing a divergence bundle.
 */
#include "config.h"

#include "bundle.h"

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

int64_t
bundle_save(struct store *s, const struct position *from)
{
	static struct writer w;
	struct position end = store_end(s), start = log_start(store_log(s));
	uint64_t first = from->index > start.index ? from->index : start.index;
	char name[80], text[160];
	int64_t n;
	int dir;

	if (end.index <= first)
		return 0;
	snprintf(name, sizeof(name), "bundle-%" PRIu64 "-%" PRIu64 ".redis", end.epoch, end.index);
	w.error = 0;
	w.n = 0;
	w.fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (w.fd < 0) {
		log_error("%s: cannot save a divergence bundle: %s", name, strerror(errno));
		return -1;
	}
	snprintf(text, sizeof(text),
	    "# divergence bundle: changes made here behind %" PRIu64 "/%" PRIu64
	    " that main does not have\n",
	    from->epoch, from->index);
	put_text(&w, text);
	n = write_records(s, &w, first);
	flush_writer(&w);
	if (w.error == 0 && fdatasync(w.fd) != 0)
		w.error = errno;
	close(w.fd);
	dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w.error == 0 && (dir < 0 || fsync(dir) != 0))
		w.error = errno;
	if (dir >= 0)
		close(dir);
	if (w.error != 0) {
		log_error("%s: cannot save a divergence bundle: %s", name, strerror(w.error));
		errno = w.error;
		return -1;
	}
	log_warn("%s: %" PRId64 " changes that main does not have are saved; look at them with "
		 "bulkheadctl bundle show",
	    name, n);
	return n;
}
