/* SPDX-License-Identifier: ISC */
/*
 * The table of links: who is dialled when, who is let in, which session counts.
 */
#include "config.h"

#include "link.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/loop.h"

enum {
	/* TCP was accepted and ended: the guard there may be dying just now */
	RETRY_CONNECTED_TRIES = 40,
	RETRY_CAP_MIN_MS = 1000,
	RETRY_CAP_MAX_MS = 5000,
	SILENT_FLOOR_MS = 30000, /* a link without records is closed after this, or 10 x silence */
	REASON_MS = 500,	 /* netd says why a stream ended, or is itself gone */
	SPARE_MS = 1000,	 /* netd has its own limits; ours is behind them */
	LOG_INTERVAL_MS = 10000,
	END_LOG_MS = 100,
};

static void session_ask_dh(struct session *s, uint32_t cookie, const uint8_t *public_key);
static int session_identify(struct session *s);
static int session_admit(struct session *s);
static void session_is_up(struct session *s);
static void session_record(struct session *s, const uint8_t *plain, size_t len);
static void session_ended(struct session *s, int cause);

static const struct session_ops session_ops = {
    .ask_dh = session_ask_dh,
    .identify = session_identify,
    .admit = session_admit,
    .up = session_is_up,
    .record = session_record,
    .ended = session_ended,
};

void
links_init(struct links *l, uv_loop_t *loop, const struct links_ops *ops, void *user, uint64_t boot)
{
	memset(l, 0, sizeof(*l));
	l->loop = loop;
	l->ops = ops;
	l->user = user;
	l->boot = boot;
	for (size_t s = 0; s < CONF_SERVERS; s++) {
		for (size_t p = 0; p < CONF_PATHS; p++) {
			for (size_t d = 0; d < LINK_DIRECTION_MAX; d++) {
				struct link *k = &l->link[s][p][d];

				k->server = (uint8_t)s;
				k->path = (uint8_t)p;
				k->direction = (uint8_t)d;
			}
		}
	}
}

static struct link *
link_of(struct links *l, const struct session *s)
{
	return &l->link[s->server][s->path][s->inbound ? LINK_IN : LINK_OUT];
}

static int
session_is_open(const struct session *s)
{
	return s->state != SESSION_FREE && s->state != SESSION_CLOSING;
}

/* Inbound and not yet the link of anybody. */
static int
session_is_pending(const struct session *s)
{
	return session_is_open(s) && s->inbound && s->state != SESSION_UP;
}

/* How the last session or dial ended. */
static void
set_cause(struct link *k, unsigned cause)
{
	k->ended = 1;
	k->last_cause = (uint8_t)cause;
}

static struct session *
new_session(struct links *l)
{
	for (size_t i = 0; i < LINKS_SESSIONS; i++) {
		struct session *s = &l->session[i];

		if (s->state == SESSION_FREE) {
			s->ops = &session_ops;
			s->user = l;
			s->kinds = 1U << LINK_STATUS;
			s->buffers = (struct session_buffers){.in = l->memory[i].in,
			    .out = l->memory[i].out,
			    .plain = l->memory[i].plain,
			    .in_size = LINK_BUFFER,
			    .out_size = LINK_BUFFER,
			    .plain_max = STATUS_SIZE};
			return s;
		}
	}
	return NULL;
}

static struct session *
find_token(struct links *l, uint32_t token)
{
	for (size_t i = 0; i < LINKS_SESSIONS; i++) {
		if (session_is_open(&l->session[i]) && l->session[i].token == token)
			return &l->session[i];
	}
	return NULL;
}

static void
tell(struct links *l, const struct link *k, enum link_event event, enum link_close cause)
{
	struct machine_link e = {.partner = k->server,
	    .path = k->path,
	    .direction = k->direction,
	    .event = (uint8_t)event,
	    .cause = (uint8_t)cause};

	l->ops->event(l, &e);
}

/* ---- log */

static const char *
cause_sentence(int cause)
{
	switch (cause) {
	case LINK_C_HELLO_TIMEOUT:
		return "the handshake was not complete in time";
	case LINK_C_BAD_HELLO:
		return "it is not a hello";
	case LINK_C_BAD_HANDSHAKE:
		return "the handshake does not open: made with another key or group, or damaged";
	case LINK_C_UNKNOWN_KEY:
		return "its key is no configured server's";
	case LINK_C_SELF_KEY:
		return "it shows our own key";
	case LINK_C_NOT_ALLOWED:
		return "that server may not open this kind of link to us";
	case LINK_C_REPLAY:
		return "the hello was seen before";
	case LINK_C_TWIN:
		return "its identity is that of a server which is heard from elsewhere: was its "
		       "state directory copied?";
	case LINK_C_BAD_RECORD:
		return "a record does not open";
	case LINK_C_BAD_STATUS:
		return "a record is no status record of this version";
	case LINK_C_NO_ROOM:
		return "too many handshakes are under way";
	case LINK_C_KEY_REFUSED:
		return "keyd did not do the key step";
	default:
		return "it ended during the handshake";
	}
}

/* One refused connection: counted, and a line at most every ten seconds for each cause. */
static void
count_refusal(struct links *l, int cause, int inbound, const struct conf_addr *from, uint16_t port,
    const char *server)
{
	char address[64], more[64] = "";
	uint64_t held;

	if (cause < 0 || cause >= LINK_C_MAX)
		return;
	l->count[cause]++;
	if (!log_limited(&l->limit[cause], now_ms(), LOG_INTERVAL_MS, &held))
		return;
	if (held > 0)
		snprintf(more, sizeof(more), " (%llu more since the last such line)",
		    (unsigned long long)held);
	if (inbound)
		log_warn("refused a connection from %s port %u%s%s: %s%s",
		    conf_addr_text(from, address, sizeof(address)), port,
		    server != NULL ? ", server " : "", server != NULL ? server : "",
		    cause_sentence(cause), more);
	else
		log_warn("the link to %s failed: %s%s", server, cause_sentence(cause), more);
}

static void
log_end(struct links *l, struct link *k, const char *what, unsigned cause)
{
	static const char *const names[CLOSE_MAX] = {"closed on this side", "ended in order",
	    "reset", "refused", "timed out", "unreachable", "an error on this side"};
	uint64_t held;

	if (log_limited(&k->end_limit, now_ms(), END_LOG_MS, &held))
		log_info("the link %s %s on path %u %s: %s",
		    k->direction == LINK_OUT ? "to" : "from", l->conf->server[k->server].name,
		    k->path + 1U, what, cause < CLOSE_MAX ? names[cause] : "?");
}

/* ---- dialling */

/* How long to wait after the nth failure in a row: at once, 1, 2, 5, 10, 20, 50 ... */
static int64_t
retry_delay(const struct links *l, uint32_t failures)
{
	static const int64_t first[] = {0, 1, 2, 5, 10, 20, 50};
	int64_t cap = 4 * l->conf->general.status_interval_ms;
	int64_t delay;

	if (failures < sizeof(first) / sizeof(first[0]))
		return first[failures];
	if (cap < RETRY_CAP_MIN_MS)
		cap = RETRY_CAP_MIN_MS;
	if (cap > RETRY_CAP_MAX_MS)
		cap = RETRY_CAP_MAX_MS;
	delay = 50;
	for (uint32_t n = sizeof(first) / sizeof(first[0]); n <= failures && delay < cap; n++)
		delay *= 2;
	return delay < cap ? delay : cap;
}

/* The same after TCP was accepted and ended at once: the answer that counts is a few ms away. */
static int64_t
retry_connected(uint32_t failures)
{
	return failures <= 6 ? 1 : failures <= 12 ? 2 : 5;
}

/* Start a dial: netd gets its end at once, the hello follows when keyd has answered. */
static void
dial(struct links *l, struct link *k, int64_t now)
{
	struct session *s = new_session(l);
	struct session_self self;
	uint32_t token;
	int fds[2];

	k->next_dial_ms = now + RETRY_CAP_MIN_MS;
	if (s == NULL ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
		tell(l, k, LINK_DIAL_FAILED, CLOSE_ERROR);
		return;
	}
	session_self_of(l->conf, l->boot, &self);
	token = l->next_token++ & ~LINK_INBOUND_TOKEN;
	s->token = token;
	s->server = k->server;
	s->path = k->path;
	k->trying = s;
	l->count[LINK_C_DIALED]++;
	l->ops->open(l, token, k->server, k->path, fds[1]);
	close(fds[1]);
	if (session_dial(s, l->loop, fds[0], LINK_STATUS, &self, &l->conf->server[k->server],
		++l->counter, ++l->next_cookie) != 0 &&
	    k->trying == s) {
		k->trying = NULL;
		tell(l, k, LINK_DIAL_FAILED, CLOSE_ERROR);
	}
}

static void
dial_if_due(struct links *l, struct link *k, int64_t now)
{
	if (l->net_up && k->wanted && k->direction == LINK_OUT && k->up == NULL &&
	    k->trying == NULL && now >= k->next_dial_ms)
		dial(l, k, now);
}

/* The partner shows life or death on another link: what we know of this one is old. */
static void
dial_now(struct links *l, uint8_t server, uint8_t path)
{
	struct link *k = &l->link[server][path][LINK_OUT];

	k->next_dial_ms = 0;
	dial_if_due(l, k, now_ms());
}

/* ---- the life of a session */

static void
session_ask_dh(struct session *s, uint32_t cookie, const uint8_t *public_key)
{
	struct links *l = s->user;

	l->ops->ask_dh(l, cookie, public_key);
}

/* The path whose configured address this is, or CONF_PATHS. */
static uint8_t
path_from(const struct conf_server *c, const struct conf_addr *from)
{
	for (uint8_t p = 0; p < c->n_paths; p++) {
		if (c->path[p].family == from->family &&
		    memcmp(c->path[p].bytes, from->bytes, sizeof(from->bytes)) == 0)
			return p;
	}
	return CONF_PATHS;
}

/* Which path an inbound connection came on: by its source address, else by our own listener. */
static uint8_t
path_of(const struct conf_server *c, const struct conf_addr *from, uint8_t listener)
{
	uint8_t p = path_from(c, from);

	return p < c->n_paths ? p : listener < c->n_paths ? listener : 0;
}

/* Whose key is it, and may that server open a status link to us? */
static int
session_identify(struct session *s)
{
	struct links *l = s->user;
	const struct conf_general *g = &l->conf->general;

	for (uint8_t i = 0; i < g->n_servers; i++) {
		const struct conf_server *c = &l->conf->server[i];

		if (memcmp(c->key_status, s->noise.remote_static, NOISE_KEY) != 0)
			continue;
		if (i == g->self)
			return LINK_C_SELF_KEY;
		if (c->kind == KIND_DMZ)
			return LINK_C_NOT_ALLOWED;
		s->server = i;
		s->path = path_of(c, &s->address, s->path); /* until here it held the listener */
		return 0;
	}
	return LINK_C_UNKNOWN_KEY;
}

/*
 * A copy of a server (a cloned disk, a restored machine) must not take its place while it lives:
 * the hello is of another boot, comes from an address that is not the server's, and the server is
 * heard.
 */
static int
is_twin(const struct links *l, const struct session *s)
{
	const struct conf_general *g = &l->conf->general;
	int64_t since_ms = now_ms() - g->status_interval_ms * g->status_misses;

	if (path_from(&l->conf->server[s->server], &s->address) < CONF_PATHS)
		return 0;
	for (size_t p = 0; p < CONF_PATHS; p++) {
		for (size_t d = 0; d < LINK_DIRECTION_MAX; d++) {
			const struct session *up = l->link[s->server][p][d].up;

			if (up != NULL && up->remote_boot != s->payload.boot &&
			    up->heard_ms >= since_ms)
				return 1;
		}
	}
	return 0;
}

static int
session_admit(struct session *s)
{
	struct links *l = s->user;

	if (is_twin(l, s))
		return LINK_C_TWIN;
	return replay_allows(&l->replay[s->server], &s->payload) ? 0 : LINK_C_REPLAY;
}

/* Say that we close for reasons of our own, so that the end proves nothing about us; then close. */
static void
close_politely(struct session *s)
{
	uint8_t plain[STATUS_SIZE];

	if (s->state == SESSION_UP) {
		status_encode_close(plain);
		(void)session_send(s, plain, sizeof(plain));
	}
	session_free(s);
}

static void
session_is_up(struct session *s)
{
	struct links *l = s->user;
	struct link *k = link_of(l, s);
	int was_up = k->up != NULL;

	if (s->inbound) {
		replay_confirm(&l->replay[s->server], &s->payload);
		l->count[LINK_C_UP_IN]++;
	} else {
		k->trying = NULL;
		l->count[LINK_C_UP_OUT]++;
	}
	if (was_up) {
		l->count[LINK_C_REPLACED]++;
		close_politely(k->up);
	}
	k->up = s;
	k->sessions++;
	k->failures = 0;
	log_info("the link %s %s on path %u is up", s->inbound ? "from" : "to",
	    l->conf->server[s->server].name, s->path + 1U);
	tell(l, k, LINK_UP, CLOSE_LOCAL);
	if (s->inbound && session_is_open(s))
		dial_now(l, s->server, s->path);
}

static void
session_record(struct session *s, const uint8_t *plain, size_t len)
{
	struct links *l = s->user;
	struct status_record r;

	switch (status_decode(plain, len, &r)) {
	case STATUS_BAD:
		session_ended(s, LINK_C_BAD_STATUS);
		return;
	case STATUS_CLOSING:
		s->closing = 1;
		return;
	case STATUS_RECORD:
		break;
	}
	l->count[LINK_C_STATUS_IN]++;
	l->ops->record(l, s->server, s->path, s->inbound ? LINK_IN : LINK_OUT, &r);
}

/* A link that was up is no longer; dial again at once when it was ours, or tells of the partner. */
static void
lost(struct links *l, struct link *k, enum link_close cause)
{
	uint8_t server = k->server, path = k->path;
	int64_t now = now_ms();

	k->up = NULL;
	set_cause(k, (unsigned)cause);
	k->failures = 0;
	log_end(l, k, "is lost", cause);
	/* the redial goes out first: the machine's work can wait for its answer */
	if (cause == CLOSE_FIN || cause == CLOSE_RESET || k->direction == LINK_OUT)
		l->link[server][path][LINK_OUT].next_dial_ms = now;
	dial_if_due(l, &l->link[server][path][LINK_OUT], now);
	tell(l, k, LINK_LOST, cause);
}

/* A dial or its handshake failed. */
static void
dial_failed(struct links *l, struct link *k, struct session *s, enum link_close cause,
    enum link_event event)
{
	int connected = s->connected;
	int64_t now = now_ms();

	k->trying = NULL;
	set_cause(k, (unsigned)cause);
	k->failures++;
	k->next_dial_ms = now + retry_delay(l, k->failures);
	if (connected && event == LINK_HANDSHAKE_FAILED && cause != CLOSE_LOCAL &&
	    k->failures < RETRY_CONNECTED_TRIES)
		k->next_dial_ms = now + retry_connected(k->failures);
	tell(l, k, event, cause);
}

/* What its end is for one that is not up: without a connection the partner's port said nothing. */
static enum link_event
failure_of(const struct session *s)
{
	return s->connected ? LINK_HANDSHAKE_FAILED : LINK_DIAL_FAILED;
}

/* The end of a session whose cause is known: bookkeeping, then the slot is given back. */
static void
finish(struct links *l, struct session *s, enum link_close cause, enum link_event failure)
{
	struct link *k;

	if (s->closing)
		cause = CLOSE_LOCAL;
	session_free(s);
	if (!s->identified)
		return;
	k = link_of(l, s);
	if (k->up == s)
		lost(l, k, cause);
	else if (k->trying == s)
		dial_failed(l, k, s, cause, failure);
}

/* The stream ended, or broke a rule. */
static void
session_ended(struct session *s, int cause)
{
	struct links *l = s->user;
	struct link *k = s->identified ? link_of(l, s) : NULL;
	const char *name = s->identified ? l->conf->server[s->server].name : NULL;

	if (cause == SESSION_EOF)
		return; /* netd has said why before it closed: its message is on the way */
	count_refusal(l, cause, s->inbound, &s->address, s->port, name);
	if (cause == LINK_C_HELLO_TIMEOUT && !s->inbound)
		finish(l, s, CLOSE_TIMEOUT, LINK_HANDSHAKE_TIMEOUT);
	else
		finish(
		    l, s, cause == LINK_C_KEY_REFUSED ? CLOSE_LOCAL : CLOSE_ERROR, failure_of(s));
	if (k != NULL) /* more precise than what finish() knows */
		set_cause(k, CLOSE_MAX + (unsigned)cause);
}

/* ---- messages of netd and keyd */

void
links_connected(struct links *l, uint32_t token)
{
	struct session *s = find_token(l, token);
	struct link *k;

	if (s == NULL || s->inbound || s->connected)
		return;
	s->connected = 1;
	s->connected_ms = now_ms();
	k = link_of(l, s);
	if (k->trying == s)
		tell(l, k, LINK_DIAL_CONNECTED, CLOSE_LOCAL);
}

void
links_closed(struct links *l, uint32_t token, enum link_close cause)
{
	struct session *s = find_token(l, token);

	if (s == NULL)
		return;
	session_drain(s); /* the last words are before the end */
	if (!session_is_open(s) || s->token != token)
		return;
	finish(l, s, cause, failure_of(s));
}

static unsigned
count_pending(const struct links *l)
{
	unsigned n = 0;

	for (size_t i = 0; i < LINKS_SESSIONS; i++)
		n += (unsigned)session_is_pending(&l->session[i]);
	return n;
}

void
links_incoming(
    struct links *l, uint32_t token, const struct conf_addr *from, uint16_t port, uint8_t listener)
{
	struct session *s = NULL;
	struct session_self self;
	int fds[2];

	if (count_pending(l) < LINKS_PENDING)
		s = new_session(l);
	if (s == NULL || l->conf == NULL ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
		count_refusal(l, LINK_C_NO_ROOM, 1, from, port, NULL);
		l->ops->drop(l, token);
		return;
	}
	session_self_of(l->conf, l->boot, &self);
	s->token = token;
	s->address = *from;
	s->port = port;
	s->path = listener;
	if (session_accept(s, l->loop, fds[0], &self, ++l->next_cookie) != 0)
		l->ops->drop(l, token);
	else
		l->ops->take(l, token, fds[1]);
	close(fds[1]);
}

void
links_shared(struct links *l, uint32_t cookie, const uint8_t *shared)
{
	for (size_t i = 0; i < LINKS_SESSIONS; i++) {
		struct session *s = &l->session[i];

		if (s->state == SESSION_DH && s->cookie == cookie) {
			session_shared(s, shared);
			return;
		}
	}
}

void
links_net_down(struct links *l)
{
	l->net_up = 0;
	for (size_t i = 0; i < LINKS_SESSIONS; i++) {
		struct session *s = &l->session[i];

		if (session_is_open(s))
			finish(l, s, CLOSE_LOCAL, failure_of(s));
	}
}

void
links_net_up(struct links *l)
{
	l->net_up = 1;
	for (size_t s = 0; s < CONF_SERVERS; s++) {
		for (size_t p = 0; p < CONF_PATHS; p++) {
			l->link[s][p][LINK_OUT].failures = 0;
			l->link[s][p][LINK_OUT].next_dial_ms = 0;
		}
	}
}

void
links_key_down(struct links *l)
{
	for (size_t i = 0; i < LINKS_SESSIONS; i++) {
		if (l->session[i].state == SESSION_DH)
			session_ended(&l->session[i], LINK_C_KEY_REFUSED);
	}
}

/* ---- time */

/* When a session must be further than it is now. */
static int64_t
session_deadline(const struct links *l, const struct session *s)
{
	const struct conf_general *g = &l->conf->general;
	int64_t silent = 10 * g->status_interval_ms * g->status_misses;

	if (s->eof)
		return s->eof_ms + REASON_MS;
	if (s->state == SESSION_UP)
		return s->heard_ms + (silent > SILENT_FLOOR_MS ? silent : SILENT_FLOOR_MS);
	if (s->inbound)
		return s->started_ms + g->hello_timeout_ms;
	if (s->connected)
		return s->connected_ms + g->hello_timeout_ms;
	return s->started_ms + g->dial_timeout_ms + SPARE_MS;
}

static void
session_late(struct links *l, struct session *s)
{
	if (s->eof) {
		finish(l, s, CLOSE_LOCAL, failure_of(s));
		return;
	}
	if (s->state == SESSION_UP) {
		finish(l, s, CLOSE_TIMEOUT, LINK_HANDSHAKE_FAILED);
		return;
	}
	if (s->state == SESSION_DH && (s->inbound || s->connected)) {
		session_ended(s, LINK_C_KEY_REFUSED); /* ours, not the partner's */
		return;
	}
	if (!s->inbound && !s->connected) {
		finish(l, s, CLOSE_TIMEOUT, LINK_DIAL_FAILED);
		return;
	}
	session_ended(s, LINK_C_HELLO_TIMEOUT);
}

int64_t
links_tick(struct links *l, int64_t now)
{
	int64_t next = INT64_MAX;

	if (l->conf == NULL)
		return next;
	for (size_t i = 0; i < LINKS_SESSIONS; i++) {
		struct session *s = &l->session[i];

		if (!session_is_open(s))
			continue;
		if (now >= session_deadline(l, s))
			session_late(l, s);
		if (session_is_open(s) && session_deadline(l, s) < next)
			next = session_deadline(l, s);
	}
	if (!l->net_up)
		return next;
	for (size_t s = 0; s < l->conf->general.n_servers; s++) {
		for (size_t p = 0; p < CONF_PATHS; p++) {
			struct link *k = &l->link[s][p][LINK_OUT];

			dial_if_due(l, k, now);
			if (k->wanted && k->up == NULL && k->trying == NULL &&
			    k->next_dial_ms < next)
				next = k->next_dial_ms;
			if (k->trying != NULL && session_deadline(l, k->trying) < next)
				next = session_deadline(l, k->trying);
		}
	}
	return next;
}

/* ---- records, redials */

unsigned
links_send(struct links *l, uint8_t server, unsigned directions, const struct status_record *record)
{
	uint8_t plain[STATUS_SIZE];
	unsigned taken = 0;

	status_encode(plain, record);
	for (size_t p = 0; p < CONF_PATHS; p++) {
		for (size_t d = 0; d < LINK_DIRECTION_MAX; d++) {
			struct session *s = l->link[server][p][d].up;

			if (s == NULL || !(directions >> d & 1))
				continue;
			if (session_send(s, plain, sizeof(plain)) == 0) {
				l->count[LINK_C_STATUS_OUT]++;
				taken++;
			} else {
				l->count[LINK_C_SLOW]++; /* dropped: the next one is newer */
			}
		}
	}
	return taken;
}

void
links_redial(struct links *l, uint8_t server, int64_t silent_ms)
{
	int64_t now = now_ms();

	for (size_t p = 0; p < CONF_PATHS; p++) {
		struct link *k = &l->link[server][p][LINK_OUT];
		struct session *s = k->up;

		if (!k->wanted)
			continue;
		if (s != NULL && now - s->heard_ms >= silent_ms) {
			close_politely(s);
			lost(l, k, CLOSE_LOCAL);
		}
		k->failures = 0;
		k->next_dial_ms = now;
		dial_if_due(l, k, now);
	}
}

int
links_flushed(const struct links *l)
{
	for (size_t i = 0; i < LINKS_SESSIONS; i++) {
		if (session_is_open(&l->session[i]) && !session_flushed(&l->session[i]))
			return 0;
	}
	return 1;
}

void
links_close(struct links *l)
{
	for (size_t i = 0; i < LINKS_SESSIONS; i++)
		session_free(&l->session[i]);
	for (size_t s = 0; s < CONF_SERVERS; s++) {
		for (size_t p = 0; p < CONF_PATHS; p++) {
			for (size_t d = 0; d < LINK_DIRECTION_MAX; d++)
				l->link[s][p][d].up = l->link[s][p][d].trying = NULL;
		}
	}
}

/* ---- reload */

static int
same_addr(const struct conf_addr *a, const struct conf_addr *b)
{
	return a->family == b->family && a->scope == b->scope &&
	       memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* May this link exist? A DMZ server dials nobody. */
static int
link_wanted(const struct conf *c, size_t server, size_t path, size_t direction)
{
	const struct conf_general *g = &c->general;
	size_t dialler = direction == LINK_OUT ? g->self : server;

	return server < g->n_servers && server != g->self && path < c->server[server].n_paths &&
	       c->server[dialler].kind != KIND_DMZ;
}

/* Index in the old config of a server of the new one with the same name and keys, or -1. */
static int
old_index(const struct conf *old, const struct conf *new, size_t server)
{
	const struct conf_server *n = &new->server[server];

	for (size_t i = 0; i < old->general.n_servers; i++) {
		const struct conf_server *o = &old->server[i];

		if (i != old->general.self && strcmp(o->name, n->name) == 0 &&
		    memcmp(o->key_status, n->key_status, sizeof(n->key_status)) == 0 &&
		    memcmp(o->key_data, n->key_data, sizeof(n->key_data)) == 0)
			return (int)i;
	}
	return -1;
}

/* Do our own group and keys, which every handshake is bound to, stay what they were? */
static int
same_self(const struct conf *old, const struct conf *new)
{
	const struct conf_server *o = &old->server[old->general.self];
	const struct conf_server *n = &new->server[new->general.self];

	return strcmp(old->general.group, new->general.group) == 0 &&
	       memcmp(o->key_status, n->key_status, sizeof(n->key_status)) == 0 &&
	       memcmp(o->key_data, n->key_data, sizeof(n->key_data)) == 0;
}

/* Can a link of the old config at (from, path) be the one of the new at (server, path)? */
static int
link_stays(const struct conf *old, const struct conf *new, size_t from, size_t server, size_t path,
    size_t direction)
{
	return link_wanted(old, from, path, direction) &&
	       link_wanted(new, server, path, direction) &&
	       same_addr(&old->server[from].path[path], &new->server[server].path[path]) &&
	       (direction == LINK_IN || old->server[from].port == new->server[server].port);
}

/* Put a link of the old table to its new place, with its sessions. */
static void
move_link(struct link *to, const struct link *from)
{
	uint8_t server = to->server;

	*to = *from;
	to->server = server;
	if (to->up != NULL)
		to->up->server = server;
	if (to->trying != NULL)
		to->trying->server = server;
}

void
links_configure(struct links *l, const struct conf *old, const struct conf *new)
{
	static struct link before[CONF_SERVERS][CONF_PATHS][LINK_DIRECTION_MAX];
	static struct replay replay[CONF_SERVERS];
	uint8_t lost_mask[CONF_SERVERS] = {0};
	int keep = old != NULL && same_self(old, new);

	memcpy(before, l->link, sizeof(before));
	memcpy(replay, l->replay, sizeof(replay));
	memset(l->replay, 0, sizeof(l->replay));
	for (size_t s = 0; s < CONF_SERVERS; s++) {
		int from = old != NULL && s < new->general.n_servers ? old_index(old, new, s) : -1;

		if (from >= 0)
			l->replay[s] = replay[from];
		for (size_t i = 0; i < CONF_PATHS * LINK_DIRECTION_MAX; i++) {
			size_t p = i / LINK_DIRECTION_MAX, d = i % LINK_DIRECTION_MAX;
			struct link *k = &l->link[s][p][d];
			struct link blank = {
			    .server = (uint8_t)s, .path = (uint8_t)p, .direction = (uint8_t)d};

			*k = blank;
			if (keep && from >= 0 && link_stays(old, new, (size_t)from, s, p, d)) {
				move_link(k, &before[from][p][d]);
				memset(&before[from][p][d], 0, sizeof(blank));
			} else if (from >= 0 && before[from][p][d].up != NULL) {
				lost_mask[s] |= (uint8_t)(1U << i);
			}
			k->wanted = (uint8_t)link_wanted(new, s, p, d);
		}
	}
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0][0][0]); i++) {
		struct link *gone = &before[0][0][0] + i;

		if (gone->up != NULL)
			close_politely(gone->up);
		if (gone->trying != NULL)
			session_free(gone->trying);
	}
	for (size_t i = 0; i < LINKS_SESSIONS; i++) {
		if (session_is_pending(&l->session[i])) /* its server index may be an old one */
			session_free(&l->session[i]);
	}
	l->conf = new;
	for (size_t s = 0; s < CONF_SERVERS; s++) {
		for (size_t i = 0; i < CONF_PATHS * LINK_DIRECTION_MAX; i++) {
			if (lost_mask[s] >> i & 1)
				tell(l, &l->link[s][i / LINK_DIRECTION_MAX][i % LINK_DIRECTION_MAX],
				    LINK_LOST, CLOSE_LOCAL);
		}
	}
}

/* ---- what the admin sees */

static const char *
end_word(unsigned cause)
{
	static const char *const words[CLOSE_MAX] = {
	    "local", "fin", "reset", "refused", "timeout", "unreachable", "error"};

	if (cause < CLOSE_MAX)
		return words[cause];
	return link_counter_name(cause - CLOSE_MAX);
}

static const char *
state_word(const struct link *k)
{
	if (k->up != NULL)
		return "up";
	if (k->direction == LINK_IN)
		return "awaited";
	if (k->trying == NULL)
		return "waiting";
	return k->trying->connected ? "handshake" : "dialing";
}

/* "192.0.2.1:5481", "[2001:db8::1]:5481" */
static void
describe_end(const struct conf_addr *a, uint16_t port, char out[CTL_ADDRESS])
{
	char text[CTL_ADDRESS - 16];

	conf_addr_text(a, text, sizeof(text));
	snprintf(out, CTL_ADDRESS, a->family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, port);
}

int
links_describe(const struct links *l, unsigned nth, int64_t now, struct ctl_link *out)
{
	const struct link *k = NULL;
	const struct session *s;

	for (size_t i = 0; l->conf != NULL && i < sizeof(l->link) / sizeof(l->link[0][0][0]); i++) {
		const struct link *each = &l->link[0][0][0] + i;

		if (each->wanted && nth-- == 0) {
			k = each;
			break;
		}
	}
	if (k == NULL)
		return 0;
	memset(out, 0, sizeof(*out));
	s = k->up;
	out->server = k->server;
	out->path = k->path;
	out->inbound = k->direction == LINK_IN;
	snprintf(out->state, sizeof(out->state), "%s", state_word(k));
	if (s != NULL && s->inbound)
		describe_end(&s->address, s->port, out->address);
	else if (out->inbound)
		conf_addr_text(&l->conf->server[k->server].path[k->path], out->address,
		    sizeof(out->address)); /* it chooses its port when it comes */
	else
		describe_end(&l->conf->server[k->server].path[k->path],
		    l->conf->server[k->server].port, out->address);
	out->sessions = k->sessions;
	out->failures = k->failures;
	out->up_age_ms = s != NULL ? now - s->up_ms : -1;
	out->heard_age_ms = s != NULL ? now - s->heard_ms : -1;
	if (s != NULL) {
		out->records_in = s->records_in;
		out->records_out = s->records_out;
		out->bytes_in = s->bytes_in;
		out->bytes_out = s->bytes_out;
	}
	out->retry_ms = -1;
	if (k->direction == LINK_OUT && s == NULL && k->trying == NULL)
		out->retry_ms = k->next_dial_ms > now ? k->next_dial_ms - now : 0;
	if (k->ended)
		snprintf(out->last_end, sizeof(out->last_end), "%s", end_word(k->last_cause));
	return 1;
}
