/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl check: a monitoring plugin (exit code 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; one
 * line with performance data, as the Monitoring Plugins Development Guidelines say).
 */
#include "ctl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void add(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void
add(char *buf, size_t size, const char *fmt, ...)
{
	size_t n = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + n, size - n, fmt, ap);
	va_end(ap);
}

/* Seconds with milliseconds; "U" is "not known". */
static void
add_seconds(char *buf, size_t size, const char *prefix, const char *name, int64_t ms)
{
	if (ms < 0)
		add(buf, size, " '%s%s'=U", prefix, name);
	else
		add(buf, size, " '%s%s'=%" PRId64 ".%03ds", prefix, name, ms / 1000,
		    (int)(ms % 1000));
}

static void
add_performance(const struct answer *a, char *buf, size_t size)
{
	unsigned up = 0, restarts = 0;

	for (size_t i = 0; i < a->n_links; i++)
		up += a->link[i].up_age_ms >= 0;
	for (size_t i = 0; i < a->n_processes; i++)
		restarts += a->process[i].restarts;
	add(buf, size, " | epoch=%" PRIu64 " links_up=%u;;;0;%zu restarts=%uc takeovers=%u",
	    a->self.epoch, up, a->n_links, restarts, a->self.takeovers);
	add_seconds(buf, size, "answer_age", "", answer_age_ms(a));
	for (size_t i = 0; i < a->n_servers; i++) {
		const struct ctl_server *s = &a->server[i];

		if (s->self)
			continue;
		add_seconds(buf, size, "heard_", s->name, s->status_age_ms);
		if (s->rtt_us > 0)
			add(buf, size, " 'rtt_%s'=%u.%06us", s->name, s->rtt_us / 1000000,
			    s->rtt_us % 1000000);
	}
}

int
check_line(const struct answer *a, char *buf, size_t size)
{
	static const char *const words[] = {"OK", "WARNING", "CRITICAL"};
	static const int codes[CTL_LEVEL_MAX] = {CHECK_OK, CHECK_WARNING, CHECK_CRITICAL};
	const struct ctl_self *s = &a->self;

	buf[0] = '\0';
	if (answer_stale(a)) {
		add(buf, size, "UNKNOWN - the answer of the daemon is %" PRId64 " ms old",
		    answer_age_ms(a));
		return CHECK_UNKNOWN;
	}
	add(buf, size, "%s - %s is %s, %s", words[s->level], s->name, s->role, s->condition);
	if (s->note[0] != '\0')
		add(buf, size, ": %s", s->note);
	if (s->paused)
		add(buf, size, " (paused by %s)", s->pause_owner);
	for (char *p = buf; *p != '\0'; p++) {
		if (*p == '|') /* starts the performance data */
			*p = '/';
	}
	add_performance(a, buf, size);
	return codes[s->level];
}

/* Everything that goes wrong is UNKNOWN, on stdout: that is what a plugin's caller shows. */
static int
unknown(const struct options *o, const char *text)
{
	if (o->json)
		json_print(json_pack(
		    "{s:s, s:i, s:s}", "level", "unknown", "code", CHECK_UNKNOWN, "text", text));
	else
		printf("UNKNOWN - %s\n", text);
	return CHECK_UNKNOWN;
}

int
cmd_check(const struct options *o, int argc, char **argv)
{
	static struct answer a;
	static struct msg m;
	static const char *const levels[] = {"ok", "warning", "critical", "unknown"};
	char error[CTL_TEXT + CONF_COMMAND], line[4096];
	struct client *c;
	json_t *j;
	int r;

	if (argc > 1) {
		snprintf(error, sizeof(error), "'%.40s' is one argument too many", argv[1]);
		return unknown(o, error);
	}
	c = client_open(o, error, sizeof(error));
	if (c == NULL)
		return unknown(o, error);
	msg_begin(&m, MSG_CTL_STATUS);
	r = client_ask(c, &m, ANSWER_TIMEOUT_MS, &a, NULL, NULL, error, sizeof(error));
	client_close(c);
	if (r == -1)
		return unknown(o, error);
	if (a.result != CTL_OK || !a.has_self)
		return unknown(o, a.text[0] != '\0' ? a.text : "the answer is not complete");
	r = check_line(&a, line, sizeof(line));
	if (!o->json) {
		printf("%s\n", line);
		return r;
	}
	j = json_object();
	json_source(j, &a);
	json_object_set_new(j, "level", json_string(levels[r]));
	json_object_set_new(j, "code", json_integer(r));
	json_object_set_new(j, "text", json_string(line));
	json_print(j);
	return r;
}
