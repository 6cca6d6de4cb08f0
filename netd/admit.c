/* SPDX-License-Identifier: ISC */
/*
 * Connections from outside until they have said a good hello and their owner has taken them.
 * Everything here is bounded before anybody has proven anything: slots, slots per source, hellos
 * per second and source, bytes, time. Addresses of partners have slots and buckets of their own, so
 * that a flood from elsewhere leaves them room.
 *
 * libuv's own accept is not used: it reacts to EMFILE by opening a file, which the sandbox kills.
 */
#include "config.h"

#include "netd.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"

enum {
	ACCEPT_BUDGET = 32, /* per wake-up; then the listeners rest, so that a flood is bounded: */
	REST_MS = 1,
	REST_EXHAUSTED_MS = 100, /* no descriptors or memory */
	PARTNER_FACTOR = 10,	 /* a partner's bucket: redials after a loss come fast */
	SLOT_BITS = 9,
	HELLOS = HELLOS_OTHER + HELLOS_PARTNER,
};
_Static_assert(HELLOS <= 1 << SLOT_BITS, "a token holds the slot");
_Static_assert((2 * CONF_PATHS + LINKS_DATA) * (CONF_SERVERS - 1) < LINKS,
    "every link of the largest group fits");

enum hello_state {
	HELLO_FREE,
	HELLO_READING,
	HELLO_WAITING, /* LINK_IN is with its owner */
	HELLO_CLOSING, /* libuv has not let go of the handle */
};

/* One connection in the hello phase. */
struct hello {
	enum hello_state state;
	int fd;
	uint8_t whose; /* enum owner, of a waiting one */
	uint32_t token;
	int64_t deadline_ms;
	size_t have;
	struct source source;
	uv_poll_t poll;
	uint8_t bytes[HELLO_SIZE];
};

struct listener {
	uv_poll_t *poll; /* NULL: FD_LISTENER + slot is not a listener now */
	int watching;
};

static void on_listener(uv_poll_t *poll, int status, int events);
static void on_hello(uv_poll_t *poll, int status, int events);
static void on_rested(uv_timer_t *timer);
static void on_hello_closed(uv_handle_t *handle);
static void on_listener_closed(uv_handle_t *handle);

/* The first HELLOS_PARTNER slots are for addresses of partners. */
static struct hello hellos[HELLOS];
static struct listener listeners[LISTENERS];
static uv_timer_t rest_timer;
static struct limit limit_other, limit_partner;
static struct hello_keys own_keys;
static unsigned slots_other; /* of the config */
static struct log_limit exhausted_log;

/* Before the sandbox is entered. */
void
admit_init(void)
{
	uint8_t seed[LIMIT_SEED];

	randombytes_buf(seed, sizeof(seed));
	limit_init(&limit_other, seed, 1, 1);
	limit_init(&limit_partner, seed, 1, 1);
	uv_timer_init(&netd_loop, &rest_timer);
}

/* A config is in force. Connections that were let in before are not judged again. */
void
admit_configure(const struct conf *conf)
{
	const struct conf_general *g = &conf->general;
	const struct conf_server *self = &conf->server[g->self];

	hello_keys_init(&own_keys, self->key_status, self->key_data);
	slots_other = g->slots < HELLOS_OTHER ? g->slots : HELLOS_OTHER;
	limit_set(&limit_other, g->burst, g->rate);
	limit_set(&limit_partner, (uint32_t)g->burst * PARTNER_FACTOR,
	    (uint32_t)g->rate * PARTNER_FACTOR);
}

/* ---- listeners */

static void
listener_watch(struct listener *l, int on)
{
	if (l->poll == NULL || l->watching == on)
		return;
	l->watching = on;
	if (on)
		uv_poll_start(l->poll, UV_READABLE, on_listener);
	else
		uv_poll_stop(l->poll);
}

/* Accept nothing for a while: a bound on the work that a flood can make. */
static void
listeners_rest(uint64_t ms)
{
	for (int i = 0; i < LISTENERS; i++)
		listener_watch(&listeners[i], 0);
	uv_timer_start(&rest_timer, on_rested, ms, 0);
}

static void
on_rested(uv_timer_t *timer)
{
	(void)timer;
	for (int i = 0; i < LISTENERS; i++)
		listener_watch(&listeners[i], 1);
}

/*
 * LISTENER: fd becomes ours, on the number of its slot. Returns -1 when it is nothing to wait for.
 */
int
admit_listen(unsigned slot, int fd)
{
	struct listener *l = &listeners[slot];
	int number = FD_LISTENER + (int)slot;

	admit_unlisten(slot);
	if (dup3(fd, number, O_CLOEXEC) != number)
		fatal("cannot take listener %u: errno %d", slot, errno);
	close(fd);
	l->poll = malloc(sizeof(*l->poll)); /* the handle of the one before may still be closing */
	if (l->poll == NULL)
		fatal("no memory for listener %u", slot);
	if (uv_poll_init(&netd_loop, l->poll, number) != 0) {
		free(l->poll);
		l->poll = NULL;
		(void)dup3(FD_NULL, number, O_CLOEXEC);
		return -1;
	}
	l->watching = 0;
	listener_watch(l, 1);
	return 0;
}

/* LISTENER_CLOSE. The number stays taken. */
void
admit_unlisten(unsigned slot)
{
	struct listener *l = &listeners[slot];

	if (l->poll == NULL)
		return;
	uv_close((uv_handle_t *)l->poll, on_listener_closed);
	l->poll = NULL;
	if (dup3(FD_NULL, FD_LISTENER + (int)slot, O_CLOEXEC) < 0)
		fatal("cannot close listener %u: errno %d", slot, errno);
}

static void
on_listener_closed(uv_handle_t *handle)
{
	free(handle);
}

/* Nobody is let in any more; with the supervisor gone this makes the port refuse. */
void
admit_close_all(void)
{
	for (unsigned i = 0; i < LISTENERS; i++)
		admit_unlisten(i);
	uv_timer_stop(&rest_timer);
}

/* ---- accepting */

/* Which configured address of a partner is this? server * CONF_PATHS + path, or -1. */
static int
partner_of(const struct source *s)
{
	const struct conf *conf = child_conf(&netd_child);

	for (int i = 0; conf != NULL && i < conf->general.n_servers; i++) {
		const struct conf_server *server = &conf->server[i];

		for (int j = 0; i != conf->general.self && j < server->n_paths; j++) {
			const struct conf_addr *a = &server->path[j];
			size_t n = s->family == 4 ? 4 : 16;

			if (a->family == (s->family == 4 ? AF_INET : AF_INET6) &&
			    memcmp(a->bytes, s->address, n) == 0)
				return i * CONF_PATHS + j;
		}
	}
	return -1;
}

static void
source_fill(struct source *s, const struct sockaddr_storage *ss, unsigned listener)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

	memset(s, 0, sizeof(*s));
	s->listener = (uint8_t)listener;
	if (ss->ss_family == AF_INET) {
		s->family = 4;
		memcpy(s->address, &in4->sin_addr, 4);
		s->port = ntohs(in4->sin_port);
	} else {
		s->family = 6;
		memcpy(s->address, &in6->sin6_addr, 16);
		s->port = ntohs(in6->sin6_port);
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			s->family = 4;
			memmove(s->address, s->address + 12, 4);
			memset(s->address + 4, 0, 12);
		}
	}
	s->partner = partner_of(s);
	limit_key_of(s->family, s->address, &s->key);
}

/* A slot for this source; NULL when its pool or its share of it is used up. */
static struct hello *
hello_new(const struct source *s)
{
	struct hello *found = NULL;
	unsigned used = 0, own = 0, share = slots_other / 8 > 2 ? slots_other / 8 : 2;
	int partner = s->partner >= 0;
	struct hello *h = partner ? hellos : hellos + HELLOS_PARTNER;
	struct hello *end = partner ? hellos + HELLOS_PARTNER : hellos + HELLOS;

	for (; h < end; h++) {
		if (h->state == HELLO_FREE) {
			if (found == NULL)
				found = h;
			continue;
		}
		used++;
		own += partner ? h->source.partner == s->partner
			       : (unsigned)limit_key_equal(&h->source.key, &s->key);
	}
	if (partner)
		return own < HELLOS_PER_PARTNER ? found : NULL;
	return used < slots_other && own < share ? found : NULL;
}

/* One accepted connection: into a slot, or closed. */
static void
admit_one(int fd, const struct source *s)
{
	struct limit *limit = s->partner >= 0 ? &limit_partner : &limit_other;
	const struct conf *conf = child_conf(&netd_child);
	struct hello *h;

	count(NET_ACCEPTED);
	if (!limit_take(limit, &s->key, now_ms())) {
		count_refusal(NET_RATE_LIMITED, s, "too many connections per second from there");
		close(fd);
		return;
	}
	h = conf != NULL ? hello_new(s) : NULL;
	if (h == NULL) {
		count_refusal(NET_SLOTS_FULL, s, "too many connections without a hello");
		close(fd);
		return;
	}
	if (uv_poll_init(&netd_loop, &h->poll, fd) != 0) {
		count_refusal(NET_SLOTS_FULL, s, "cannot be watched");
		close(fd);
		return;
	}
	h->poll.data = h;
	h->state = HELLO_READING;
	h->fd = fd;
	h->have = 0;
	h->source = *s;
	deadline_set(&h->deadline_ms, conf->general.hello_timeout_ms);
	uv_poll_start(&h->poll, UV_READABLE, on_hello);
}

static void
on_listener(uv_poll_t *poll, int status, int events)
{
	uv_os_fd_t number = -1;
	uint64_t held;

	(void)status;
	(void)events;
	uv_fileno((uv_handle_t *)poll, &number);
	for (int i = 0; i < ACCEPT_BUDGET; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		struct source s;
		int fd =
		    accept4(number, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			source_fill(&s, &ss, (unsigned)(number - FD_LISTENER));
			admit_one(fd, &s);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			if (log_limited(&exhausted_log, now_ms(), LOG_INTERVAL_MS, &held))
				log_error("cannot accept: out of descriptors or memory (errno %d)",
				    errno);
			count(NET_SLOTS_FULL);
			listeners_rest(REST_EXHAUSTED_MS);
			return;
		}
		if (errno == EAGAIN)
			return;
		/* anything else ended one connection before we had it: accept(2) */
	}
	listeners_rest(REST_MS);
}

/* ---- hellos */

static void
hello_free(struct hello *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	h->state = HELLO_CLOSING;
	uv_close((uv_handle_t *)&h->poll, on_hello_closed);
}

static void
on_hello_closed(uv_handle_t *handle)
{
	struct hello *h = handle->data;

	h->state = HELLO_FREE;
}

static void
hello_refuse(struct hello *h, enum net_counter counter, const char *why)
{
	count_refusal(counter, &h->source, why);
	hello_free(h);
}

/* Links that addresses of no partner may have: what the partners, both ways on all paths, leave. */
static unsigned
links_for_others(void)
{
	unsigned partners = child_conf(&netd_child)->general.n_servers - 1U;
	unsigned left = LINKS - (2 * CONF_PATHS + LINKS_DATA) * partners;

	return left < LINKS_OTHER ? left : LINKS_OTHER;
}

/* All bytes are here: is it one for us, and who takes it? */
static void
hello_complete(struct hello *h)
{
	static uint32_t serial;
	enum link_kind kind;

	switch (hello_verify(h->bytes, &own_keys, &kind)) {
	case HELLO_OK:
		break;
	case HELLO_BAD_TAG:
		hello_refuse(h, NET_BAD_TAG, "hello made without our public key");
		return;
	default:
		hello_refuse(h, NET_BAD_HELLO, "not a hello of this version");
		return;
	}
	if (h->source.partner < 0 && link_count_other() >= links_for_others()) {
		hello_refuse(
		    h, NET_SLOTS_FULL, "too many links from addresses that are no partner's");
		return;
	}
	h->token = TOKEN_INBOUND | (++serial << SLOT_BITS) | (uint32_t)(h - hellos);
	h->state = HELLO_WAITING;
	deadline_set(&h->deadline_ms, OWNER_MS);
	uv_poll_stop(&h->poll); /* whatever follows the hello is not for us */
	h->whose = (uint8_t)owner_of_kind(kind);
	if (tell_link_in(h->token, kind, &h->source) != 0) {
		hello_refuse(
		    h, NET_OWNER_REFUSED, "the process for this kind of link is not there");
		return;
	}
	count(NET_ADMITTED);
}

static void
on_hello(uv_poll_t *poll, int status, int events)
{
	struct hello *h = poll->data;
	ssize_t n;

	(void)status; /* an error of the socket shows in recv */
	(void)events;
	do {
		n = recv(h->fd, h->bytes + h->have, HELLO_SIZE - h->have, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		hello_refuse(h, NET_BAD_HELLO,
		    n == 0 ? "closed before its hello" : "reset before its hello");
		return;
	}
	h->have += (size_t)n;
	if (!hello_plausible(h->bytes, h->have))
		hello_refuse(h, NET_BAD_HELLO, "not a hello of this version");
	else if (h->have == HELLO_SIZE)
		hello_complete(h);
}

/* The hello that waits for this owner under this token, or NULL. */
static struct hello *
hello_waiting(enum owner whose, uint32_t token)
{
	uint32_t slot = token & ((1U << SLOT_BITS) - 1);

	if (slot >= HELLOS || hellos[slot].state != HELLO_WAITING || hellos[slot].token != token ||
	    hellos[slot].whose != whose)
		return NULL;
	return &hellos[slot];
}

/* LINK_TAKE: fd becomes ours; -1: there was no room for it. */
void
admit_take(enum owner whose, uint32_t token, int fd)
{
	struct hello *h = hello_waiting(whose, token);
	int tcp;

	if (h == NULL) { /* the answer came too late */
		tell_link_closed(whose, token, CLOSE_TIMEOUT, 0, 0);
		if (fd >= 0)
			close(fd);
		return;
	}
	if (fd < 0) {
		tell_link_closed(whose, token, CLOSE_ERROR, 0, 0);
		hello_refuse(h, NET_SLOTS_FULL, "no descriptors are left");
		return;
	}
	tcp = h->fd;
	h->fd = -1;
	hello_free(h); /* before the link watches the same descriptor */
	link_carry_inbound(whose, token, tcp, fd, &h->source, h->bytes);
}

/* LINK_DROP */
void
admit_drop(enum owner whose, uint32_t token)
{
	struct hello *h = hello_waiting(whose, token);

	if (h == NULL)
		return;
	/* not a warning: the owner starts or stops, or it tells itself why */
	count(NET_OWNER_REFUSED);
	log_debug("nobody takes the link of token %u now", token);
	hello_free(h);
}

/* An owner is gone: the hellos that it was told of mean nothing to the next one. */
void
admit_drop_waiting(enum owner whose)
{
	for (int i = 0; i < HELLOS; i++) {
		if (hellos[i].state == HELLO_WAITING && hellos[i].whose == whose)
			hello_free(&hellos[i]);
	}
}

/* Close what is late. Returns the next deadline, or NEVER. */
int64_t
admit_expire(int64_t now)
{
	int64_t next = NEVER;

	for (int i = 0; i < HELLOS; i++) {
		struct hello *h = &hellos[i];

		if (h->state != HELLO_READING && h->state != HELLO_WAITING)
			continue;
		if (h->deadline_ms > now) {
			if (next == NEVER || h->deadline_ms < next)
				next = h->deadline_ms;
		} else if (h->state == HELLO_READING) {
			hello_refuse(h, NET_HELLO_TIMEOUT, "no whole hello in time");
		} else {
			hello_refuse(h, NET_OWNER_REFUSED,
			    "the process for this kind of link did not answer in time");
		}
	}
	return next;
}

void
admit_dump(void)
{
	unsigned partner = 0, other = 0;

	for (int i = 0; i < HELLOS; i++) {
		if (hellos[i].state != HELLO_FREE)
			*(i < HELLOS_PARTNER ? &partner : &other) += 1;
	}
	log_info(
	    "hello slots in use: %u of partners, %u of %u others", partner, other, slots_other);
}
