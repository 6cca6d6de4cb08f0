/* SPDX-License-Identifier: ISC */
/*
 * Log lines. A child writes "<level> text\n" to its log pipe with one write(2); the supervisor
 * reads the pipe, makes bytes that are not printable visible, bounds rate and length, and adds time
 * and the name of the process: a line cannot claim to be another's. No stdio, no syslog, no locale.
 */
#ifndef BH_LIB_LOG_H
#define BH_LIB_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_L_ERROR, LOG_L_WARN, LOG_L_INFO, LOG_L_DEBUG, LOG_L_MAX };
enum { LOG_LINE_MAX = 1024 };

/* Where lines go: fd of the pipe in a child; the supervisor sets a writer of its own. */
void log_to_fd(int fd);
void log_to(void (*writer)(enum log_level level, const char *text));
/* What is not so grave is left out: of LOG_L_DEBUG at first. For tests, which provoke errors. */
void log_set_level(enum log_level level);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Log and _exit(EXIT_FATAL): broken invariants and sandbox set-up only. */
void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Call this before fatal() ends the process: for one that must wipe its secrets on every exit. */
void log_on_fatal(void (*wipe)(void));

/* Make bytes printable: backslash, control and non-ASCII bytes as \xNN. Returns out. */
char *log_vis(char *out, size_t size, const void *bytes, size_t n);

/*
 * Bytes as hex digits; out has 2 * n + 1 bytes. In a child's own lines, because the supervisor
 * makes what it reads visible once more. Returns out.
 */
char *log_hex(char *out, const void *bytes, size_t n);

/*
 * A line that outside events can cause: at most one per interval, with the number of those that
 * were held back. Returns 1 when the caller may log now; *held gets the count since the last.
 */
struct log_limit {
	int64_t next_ms;
	uint64_t held;
};
int log_limited(struct log_limit *l, int64_t now_ms, int64_t interval_ms, uint64_t *held);

#endif
