/* SPDX-License-Identifier: ISC */
/*
 * The connection to roled on the admin socket: one request, its answers, CTL_END.
 */
#include "ctl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "../lib/clock.h"

enum { EVENTS_MAX = 100000 }; /* more than any ledger holds */

struct client {
	struct channel channel;
	char socket[CONF_COMMAND];
	struct answer *answer; /* being collected */
	client_on_event *on_event;
	void *user;
	int stopped; /* by on_event */
};

/* Length of the UTF-8 character at s, 0 when it is none or a control character. */
static size_t
utf8_length(const unsigned char *s)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0x80 ? 1 : (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : 4;
	uint32_t c = s[0];

	if (n == 1)
		return c >= 0x20 && c != 0x7f;
	if (s[0] < 0xc0 || s[0] >= 0xf8)
		return 0;
	c &= 0x7fU >> n;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || c < 0xa0)
		return 0;
	return n;
}

void
clean_text(char *text)
{
	unsigned char *s = (unsigned char *)text;

	while (*s != '\0') {
		size_t n = utf8_length(s);

		if (n == 0) {
			*s = '?';
			n = 1;
		}
		s += n;
	}
}

/* ---- what comes back */

static int
take_self(struct answer *a, struct msg *m)
{
	if (a->has_self || ctl_get_self(m, &a->self) == -1)
		return -1;
	a->has_self = 1;
	clean_text(a->self.note);
	clean_text(a->self.pause_owner);
	clean_text(a->self.pause_reason);
	clean_text(a->self.reload_text);
	return 0;
}

static int
keep_event(struct answer *a, const struct ctl_event *e)
{
	if (a->n_events == EVENTS_MAX)
		return -1;
	if (a->n_events == a->max_events) {
		size_t max = a->max_events == 0 ? 64 : 2 * a->max_events;
		struct ctl_event *grown = reallocarray(a->event, max, sizeof(*grown));

		if (grown == NULL)
			return -1;
		a->event = grown;
		a->max_events = max;
	}
	a->event[a->n_events++] = *e;
	return 0;
}

static int
take_event(struct client *c, struct msg *m)
{
	static struct ctl_event e;

	if (ctl_get_event(m, &e) == -1)
		return -1;
	clean_text(e.text);
	if (c->on_event == NULL)
		return keep_event(c->answer, &e);
	if (!c->stopped && c->on_event(&e, c->user) != 0)
		c->stopped = 1;
	return 0;
}

#define TAKE(list, count, max, get)                                                                \
	((count) < (max) && get(m, &(list)[(count)]) == 0 ? (void)(count)++, 0 : -1)

static int
on_message(struct channel *channel, struct msg *m)
{
	struct client *c = channel->user;
	struct answer *a = c->answer;

	if (a == NULL || a->has_end)
		return -1;
	switch (m->type) {
	case MSG_CTL_SELF:
		return take_self(a, m);
	case MSG_CTL_SERVER:
		return TAKE(a->server, a->n_servers, CONF_SERVERS, ctl_get_server);
	case MSG_CTL_LINK:
		return TAKE(a->link, a->n_links, ANSWER_LINKS, ctl_get_link);
	case MSG_CTL_PROCESS:
		return TAKE(a->process, a->n_processes, PROC_MAX, ctl_get_process);
	case MSG_CTL_CHECK:
		return TAKE(a->check, a->n_checks, CONF_CHECKS, ctl_get_check);
	case MSG_CTL_REFERENCE:
		return TAKE(a->reference, a->n_references, CONF_REFERENCES, ctl_get_reference);
	case MSG_CTL_COUNTERS:
		a->has_counters = 1;
		return ctl_get_counters(m, &a->counters);
	case MSG_CTL_DATA_STATE:
		a->has_data = 1;
		return ctl_get_data(m, &a->data);
	case MSG_CTL_DATA_PARTNER:
		return TAKE(
		    a->data_partner, a->n_data_partners, CONF_SERVERS, ctl_get_data_partner);
	case MSG_CTL_EVENT:
		return take_event(c, m);
	case MSG_CTL_END:
		a->has_end = 1;
		if (ctl_get_end(m, &a->result, a->text) == -1)
			return -1;
		clean_text(a->text);
		return 0;
	case MSG_CONF_GENERAL:
		a->has_general = 1;
		return conf_apply(&a->conf, m);
	default:
		return conf_apply(&a->conf, m);
	}
}

/* ---- connection */

static int
connect_to(const char *path, char *error, size_t size)
{
	/* a daemon that hangs takes no connections, and connect(2) waits for room */
	static const struct timeval limit = {.tv_sec = ANSWER_TIMEOUT_MS / 1000};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(un.sun_path)) {
		snprintf(error, size, "%s is too long for the path of a socket", path);
		return -1;
	}
	memcpy(un.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == -1 ||
	    connect(fd, (struct sockaddr *)&un, sizeof(un)) == -1) {
		const char *what = strerror(errno);

		if (errno == ENOENT || errno == ECONNREFUSED)
			what = "the daemon is not running";
		else if (errno == EAGAIN)
			what = "the daemon does not answer";
		else if (errno == EACCES)
			what = "only root and the admin-group of bulkhead.conf may use it";
		snprintf(error, size, "%s: %s", path, what);
		if (fd != -1)
			close(fd);
		return -1;
	}
	return fd;
}

struct client *
client_open(const struct options *o, char *error, size_t size)
{
	static struct msg m;
	struct client *c = calloc(1, sizeof(*c));
	int fd;

	if (c == NULL) {
		snprintf(error, size, "out of memory");
		return NULL;
	}
	fd = connect_to(o->socket, error, size);
	if (fd == -1) {
		free(c);
		return NULL;
	}
	snprintf(c->socket, sizeof(c->socket), "%s", o->socket);
	channel_init(&c->channel, fd, PROC_CTL, PROC_ROLED, on_message, c);
	msg_begin(&m, MSG_CTL_HELLO);
	msg_put_u32(&m, CTL_PROTOCOL);
	(void)channel_send(&c->channel, &m); /* a refusal is read as the answer to the request */
	return c;
}

void
client_close(struct client *c)
{
	channel_close(&c->channel);
	free(c);
}

/* Wait for the socket until the deadline (-1: none). Returns 0, or -1 when it has passed. */
static int
wait_readable(struct client *c, int64_t deadline)
{
	for (;;) {
		struct pollfd p = {.fd = c->channel.fd,
		    .events = (short)(POLLIN | (c->channel.head != NULL ? POLLOUT : 0))};
		int64_t left = deadline == -1 ? -1 : deadline - now_ms();
		int n;

		if (deadline != -1 && left <= 0)
			return -1;
		n = poll(&p, 1, (int)(left > 60000 ? 60000 : left));
		if (n == -1 && errno != EINTR)
			return -1;
		if (n > 0)
			return 0;
	}
}

static int
read_answer(struct client *c, int64_t deadline, char *error, size_t size)
{
	while (!c->answer->has_end && !c->stopped) {
		if (wait_readable(c, deadline) == -1) {
			snprintf(error, size, "%s: the daemon does not answer", c->socket);
			return -1;
		}
		if (channel_read(&c->channel) == -1 && !c->answer->has_end) {
			if (c->channel.violation != V_NONE)
				snprintf(error, size,
				    "%s: the answer cannot be understood (%s); do "
				    "bulkheadctl and the daemon have one version?",
				    c->socket, violation_name(c->channel.violation));
			else
				snprintf(error, size,
				    "%s: the daemon closed the connection without an answer",
				    c->socket);
			return -1;
		}
		(void)channel_flush(&c->channel);
	}
	return 0;
}

int
client_ask(struct client *c, struct msg *m, int timeout_ms, struct answer *a,
    client_on_event *on_event, void *user, char *error, size_t size)
{
	int64_t deadline = timeout_ms == -1 ? -1 : now_ms() + timeout_ms;
	int r;

	memset(a, 0, sizeof(*a));
	c->answer = a;
	c->on_event = on_event;
	c->user = user;
	c->stopped = 0;
	/* a refused connection is closed already, but what it said can be read */
	(void)channel_send(&c->channel, m);
	r = read_answer(c, deadline, error, size);
	c->answer = NULL;
	return r;
}

void
answer_free(struct answer *a)
{
	free(a->event);
	a->event = NULL;
}

int64_t
answer_age_ms(const struct answer *a)
{
	return a->has_self ? now_ms() - a->self.now_ms : 0;
}

int
answer_stale(const struct answer *a)
{
	int64_t age = answer_age_ms(a);

	return age > STALE_MS || age < 0;
}

/* ---- for commands */

struct client *
client_open_or_die(const struct options *o)
{
	char error[CTL_TEXT + CONF_COMMAND];
	struct client *c = client_open(o, error, sizeof(error));

	if (c == NULL)
		die(CTL_EXIT_NO_DAEMON, "%s", error);
	return c;
}

void
client_ask_or_die(struct client *c, struct msg *m, int timeout_ms, struct answer *a,
    client_on_event *on_event, void *user)
{
	char error[CTL_TEXT + CONF_COMMAND];

	if (client_ask(c, m, timeout_ms, a, on_event, user, error, sizeof(error)) == -1)
		die(CTL_EXIT_NO_DAEMON, "%s", error);
}

int
tell_deed(const struct options *o, enum data_deed deed, uint64_t count, const char *name,
    char *error, size_t size)
{
	static struct answer a;
	static struct msg m;
	struct client *c = client_open(o, error, size);
	int r;

	if (c == NULL)
		return -1;
	msg_begin(&m, MSG_CTL_DEED);
	msg_put_u8(&m, (uint8_t)deed);
	msg_put_u64(&m, count);
	msg_put_bytes(&m, name, strlen(name));
	r = client_ask(c, &m, ANSWER_TIMEOUT_MS, &a, NULL, NULL, error, size);
	client_close(c);
	if (r == 0 && a.result != CTL_OK) {
		snprintf(error, size, "%s", a.text);
		r = -1;
	}
	return r;
}

void
tell_deed_or_die(const struct options *o, enum data_deed deed, uint64_t count, const char *name)
{
	char error[CTL_TEXT + CONF_COMMAND];

	if (tell_deed(o, deed, count, name, error, sizeof(error)) != 0)
		die(CTL_EXIT_FAILED, "%s", error);
}

void
tell_deed_or_warn(const struct options *o, enum data_deed deed, uint64_t count, const char *name)
{
	char error[CTL_TEXT + CONF_COMMAND];

	if (tell_deed(o, deed, count, name, error, sizeof(error)) != 0)
		fprintf(stderr, "bulkheadctl: this is not in the ledger: %s\n", error);
}

void
ask_status(const struct options *o, struct answer *a)
{
	static struct msg m;
	struct client *c = client_open_or_die(o);

	msg_begin(&m, MSG_CTL_STATUS);
	client_ask_or_die(c, &m, ANSWER_TIMEOUT_MS, a, NULL, NULL);
	client_close(c);
	if (a->result != CTL_OK)
		die(CTL_EXIT_FAILED, "%s", a->text);
	if (!a->has_self)
		die(CTL_EXIT_NO_DAEMON, "%s: the answer is not complete", o->socket);
}

void
ask_config(const struct options *o, struct answer *a)
{
	static struct answer status;
	static struct msg m;
	struct client *c = client_open_or_die(o);
	char error[CONF_ERROR_TEXT];

	msg_begin(&m, MSG_CTL_STATUS);
	client_ask_or_die(c, &m, ANSWER_TIMEOUT_MS, &status, NULL, NULL);
	msg_begin(&m, MSG_CTL_CONFIG);
	client_ask_or_die(c, &m, ANSWER_TIMEOUT_MS, a, NULL, NULL);
	client_close(c);
	if (a->result != CTL_OK)
		die(CTL_EXIT_FAILED, "%s", a->text);
	if (!a->has_general || conf_check_all(&a->conf, error, sizeof(error)) == -1)
		die(CTL_EXIT_NO_DAEMON, "%s: the answer is no configuration", o->socket);
	a->has_self = status.has_self;
	a->self = status.self;
}

int
finish_action(const struct options *o, const struct answer *a, const char *done)
{
	static const char *const words[CTL_RESULT_MAX] = {
	    "ok", "refused", "denied", "bad", "failed"};
	const char *text = a->text[0] != '\0'	 ? a->text
			   : a->result == CTL_OK ? done
						 : words[a->result];

	if (o->json) {
		json_t *j = json_object();

		json_object_set_new(j, "result", json_string(words[a->result]));
		json_object_set_new(j, "text", json_string(text));
		json_source(j, a);
		json_print(j);
	}
	if (a->result != CTL_OK)
		die(CTL_EXIT_FAILED, "%s: %s", o->command, text);
	if (!o->json)
		printf("%s\n", text);
	return CTL_EXIT_OK;
}
