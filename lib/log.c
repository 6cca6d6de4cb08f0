/* SPDX-License-Identifier: ISC */
/*
 * Log lines without stdio: formatted on the stack, one write(2) each.
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../policy/sandbox.h"

static int log_fd = 2;
static void (*log_writer)(enum log_level, const char *);
static enum log_level log_max = LOG_L_INFO;
static void (*log_wipe)(void);

void
log_to_fd(int fd)
{
	log_fd = fd;
	log_writer = NULL;
}

void
log_to(void (*writer)(enum log_level, const char *))
{
	log_writer = writer;
}

void
log_set_level(enum log_level level)
{
	log_max = level;
}

__attribute__((format(printf, 2, 0))) static void
log_write(enum log_level level, const char *fmt, va_list ap)
{
	char line[LOG_LINE_MAX];
	size_t len;
	int n;

	if (level > log_max)
		return;
	line[0] = (char)('0' + level);
	line[1] = ' ';
	n = vsnprintf(line + 2, sizeof(line) - 3, fmt, ap); /* formats to memory: no stdio stream */
	if (n < 0)
		return;
	if (log_writer != NULL) {
		log_writer(level, line + 2);
		return;
	}
	len = strlen(line);
	line[len++] = '\n';
	if (write(log_fd, line, len) < 0) {
		/* a full or closed pipe: nobody is left to tell */
	}
}

#define LOG_FUNCTION(name, level)                                                                  \
	void name(const char *fmt, ...)                                                            \
	{                                                                                          \
		va_list ap;                                                                        \
                                                                                                   \
		va_start(ap, fmt);                                                                 \
		log_write(level, fmt, ap);                                                         \
		va_end(ap);                                                                        \
	}

LOG_FUNCTION(log_error, LOG_L_ERROR)
LOG_FUNCTION(log_warn, LOG_L_WARN)
LOG_FUNCTION(log_info, LOG_L_INFO)
LOG_FUNCTION(log_debug, LOG_L_DEBUG)

void
fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_write(LOG_L_ERROR, fmt, ap);
	va_end(ap);
	if (log_wipe != NULL)
		log_wipe();
	_exit(EXIT_FATAL);
}

void
log_on_fatal(void (*wipe)(void))
{
	log_wipe = wipe;
}

char *
log_vis(char *out, size_t size, const void *bytes, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *b = bytes;
	size_t o = 0;

	for (size_t i = 0; i < n; i++) {
		if (b[i] >= 0x20 && b[i] < 0x7f && b[i] != '\\') {
			if (size - o < 2)
				break;
			out[o++] = (char)b[i];
			continue;
		}
		if (size - o < 5)
			break;
		out[o++] = '\\';
		out[o++] = 'x';
		out[o++] = hex[b[i] >> 4];
		out[o++] = hex[b[i] & 15];
	}
	out[o] = '\0';
	return out;
}

char *
log_hex(char *out, const void *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *b = bytes;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[b[i] >> 4];
		out[2 * i + 1] = digits[b[i] & 15];
	}
	out[2 * n] = '\0';
	return out;
}

int
log_limited(struct log_limit *l, int64_t now_ms, int64_t interval_ms, uint64_t *held)
{
	if (now_ms < l->next_ms) {
		l->held++;
		return 0;
	}
	l->next_ms = now_ms + interval_ms;
	*held = l->held;
	l->held = 0;
	return 1;
}
