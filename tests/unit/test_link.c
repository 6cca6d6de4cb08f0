/* SPDX-License-Identifier: ISC */
/*
 * Two tables of links against each other in one process: a wire in place of netd, a key holder in
 * place of keyd, and everything that can be wrong with a hello or a record.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "lib/clock.h"
#include "roled/link.h"

enum { ALPHA, BETA, GAMMA, PEERS = 2, WIRES = 64, EVENTS = 256, ASKED = 64, DEADLINE_MS = 60000 };

/* One dialled connection: the ends that netd would hold. */
struct wire {
	int used;
	int from;  /* peer that dialled */
	int fd[2]; /* [0] of the dialler, [1] of the other; -1 */
	uint32_t token[2];
	size_t passed[2];	   /* bytes towards [1], towards [0] */
	uint8_t first[HELLO_SIZE]; /* what the dialler said first */
	size_t n_first;
	int cut; /* nothing passes any more */
};

struct asked {
	int peer;
	uint32_t cookie;
	uint8_t public_key[32];
};

struct peer {
	struct links links;
	struct conf conf[2];
	int current;
	uint8_t secret_status[32], secret_data[32];
	struct machine_link event[EVENTS];
	int n_events, opens_at[EVENTS]; /* dials made when the event came */
	int n_opens;
	int n_records, n_drops;
	struct status_record last;
};

static uv_loop_t loop;
static struct peer peer[PEERS];
static struct wire wire[WIRES];
static struct asked asked[ASKED];
static int n_asked;
static int deliver;	/* dials reach the other side */
static int keys_answer; /* the key holder works */
static int corrupt;	/* flip a bit of the next bytes towards [1] */

static int
index_of(const struct links *l)
{
	return l == &peer[BETA].links;
}

/* ---- netd and keyd */

static void
on_open(struct links *l, uint32_t token, uint8_t server, uint8_t path, int fd)
{
	int me = index_of(l);

	(void)server;
	(void)path;
	peer[me].n_opens++;
	for (int i = 0; i < WIRES; i++) {
		if (wire[i].used)
			continue;
		memset(&wire[i], 0, sizeof(wire[i]));
		wire[i].used = 1;
		wire[i].from = me;
		wire[i].fd[0] = dup(fd);
		wire[i].fd[1] = -1;
		wire[i].token[0] = token;
		return;
	}
	fail_msg("no wire left");
}

static void
on_take(struct links *l, uint32_t token, int fd)
{
	(void)l;
	for (int i = 0; i < WIRES; i++) {
		if (wire[i].used && wire[i].token[1] == token)
			wire[i].fd[1] = dup(fd);
	}
}

static void
on_drop(struct links *l, uint32_t token)
{
	(void)token;
	peer[index_of(l)].n_drops++;
}

static void
on_ask(struct links *l, uint32_t cookie, const uint8_t *public_key)
{
	assert_true(n_asked < ASKED);
	asked[n_asked].peer = index_of(l);
	asked[n_asked].cookie = cookie;
	memcpy(asked[n_asked++].public_key, public_key, 32);
}

static void
on_event(struct links *l, const struct machine_link *e)
{
	struct peer *p = &peer[index_of(l)];

	assert_true(p->n_events < EVENTS);
	p->opens_at[p->n_events] = p->n_opens;
	p->event[p->n_events++] = *e;
}

static void
on_record(
    struct links *l, uint8_t server, uint8_t path, uint8_t direction, const struct status_record *r)
{
	struct peer *p = &peer[index_of(l)];

	(void)server;
	(void)path;
	(void)direction;
	p->n_records++;
	p->last = *r;
}

static const struct links_ops ops = {on_open, on_take, on_drop, on_ask, on_event, on_record};

static void
answer_keys(void)
{
	int n = n_asked;

	if (!keys_answer)
		return;
	n_asked = 0;
	for (int i = 0; i < n; i++) {
		uint8_t shared[32];
		struct peer *p = &peer[asked[i].peer];
		int ok = crypto_scalarmult(shared, p->secret_status, asked[i].public_key) == 0;

		links_shared(&p->links, asked[i].cookie, ok ? shared : NULL);
	}
}

static uint32_t
new_token(void)
{
	static uint32_t next;

	return LINK_INBOUND_TOKEN | ++next;
}

static void
source_of(int from, struct conf_addr *a)
{
	memset(a, 0, sizeof(*a));
	a->family = AF_INET;
	a->bytes[0] = 10;
	a->bytes[3] = (uint8_t)(1 + from);
}

static void
connect_wire(struct wire *w)
{
	struct conf_addr a;

	source_of(w->from, &a);
	w->token[1] = new_token();
	links_incoming(&peer[!w->from].links, w->token[1], &a, 40000, 0);
	links_connected(&peer[w->from].links, w->token[0]);
}

/* The wire is gone, as netd would tell it. */
static void
end_wire(struct wire *w, enum link_close cause)
{
	struct wire old = *w;

	/* netd closes after its word, but the end of the stream is there when the word is read */
	w->used = 0;
	close(old.fd[0]);
	if (old.fd[1] >= 0)
		close(old.fd[1]);
	links_closed(&peer[old.from].links, old.token[0], cause);
	if (old.fd[1] >= 0)
		links_closed(&peer[!old.from].links, old.token[1], cause);
}

/* Bytes of one direction. Returns -1 when the reading end is closed. */
static int
pass(struct wire *w, int to)
{
	uint8_t b[4096];
	ssize_t n = recv(w->fd[!to], b, sizeof(b), MSG_DONTWAIT);

	if (n < 0)
		return 0;
	if (n == 0)
		return -1;
	if (to == 1) {
		for (ssize_t i = 0; i < n && w->n_first < HELLO_SIZE; i++)
			w->first[w->n_first++] = b[i];
		if (corrupt && w->passed[1] > HELLO_SIZE) {
			b[n / 2] ^= 1;
			corrupt = 0;
		}
	}
	w->passed[to] += (size_t)n;
	return send(w->fd[to], b, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -1;
}

static void
pump_wires(void)
{
	for (int i = 0; i < WIRES; i++) {
		struct wire *w = &wire[i];

		if (!w->used || w->cut)
			continue;
		if (w->fd[1] < 0 && deliver && w->token[1] == 0)
			connect_wire(w);
		if (w->fd[1] >= 0 && (pass(w, 1) != 0 || pass(w, 0) != 0))
			end_wire(w, CLOSE_FIN);
	}
}

static void
turn(void)
{
	for (int i = 0; i < PEERS; i++)
		links_tick(&peer[i].links, now_ms());
	pump_wires();
	answer_keys();
	uv_run(&loop, UV_RUN_NOWAIT);
}

#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		int64_t until = now_ms() + DEADLINE_MS;                                            \
		while (!(condition)) {                                                             \
			turn();                                                                    \
			if (now_ms() > until)                                                      \
				fail_msg("waited in vain for %s", #condition);                     \
		}                                                                                  \
	} while (0)

static void
turns(int n)
{
	for (int i = 0; i < n; i++)
		turn();
}

/* ---- configuration */

static void
make_server(struct conf_server *s, const char *name, int n, const struct peer *p)
{
	memset(s, 0, sizeof(*s));
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->kind = KIND_STANDARD;
	s->n_paths = 1;
	s->port = 5481;
	source_of(n, &s->path[0]);
	if (p == NULL) {
		memset(s->key_status, 0x40 + n, sizeof(s->key_status));
		memset(s->key_data, 0x50 + n, sizeof(s->key_data));
		return;
	}
	crypto_scalarmult_base(s->key_status, p->secret_status);
	crypto_scalarmult_base(s->key_data, p->secret_data);
}

static struct conf *
conf_of(int who)
{
	return &peer[who].conf[peer[who].current];
}

static int
set_up(void **state)
{
	(void)state;
	memset(peer, 0, sizeof(peer));
	memset(wire, 0, sizeof(wire));
	n_asked = corrupt = 0;
	deliver = keys_answer = 1;
	uv_loop_init(&loop);
	for (int i = 0; i < PEERS; i++) {
		randombytes_buf(peer[i].secret_status, 32);
		randombytes_buf(peer[i].secret_data, 32);
	}
	for (int i = 0; i < PEERS; i++) {
		int slow = getenv("BULKHEAD_VALGRIND") != NULL ? 10 : 1;
		struct conf_general *g = &peer[i].conf[0].general;

		snprintf(g->group, sizeof(g->group), "test");
		g->self = (uint8_t)i;
		g->n_servers = 2;
		g->status_interval_ms = 50;
		g->status_misses = 3;
		g->dial_timeout_ms = slow * 300;
		g->hello_timeout_ms = slow * 200;
		make_server(&peer[i].conf[0].server[ALPHA], "alpha", ALPHA, &peer[ALPHA]);
		make_server(&peer[i].conf[0].server[BETA], "beta", BETA, &peer[BETA]);
		links_init(&peer[i].links, &loop, &ops, NULL, 1000 + (uint64_t)i);
	}
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < PEERS; i++)
		links_close(&peer[i].links);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	for (int i = 0; i < WIRES; i++) {
		if (!wire[i].used)
			continue;
		close(wire[i].fd[0]);
		if (wire[i].fd[1] >= 0)
			close(wire[i].fd[1]);
	}
	return 0;
}

static void
begin(int who)
{
	links_configure(&peer[who].links, NULL, conf_of(who));
	links_net_up(&peer[who].links);
}

static struct link *
link_at(int who, int server, int direction)
{
	return &peer[who].links.link[server][0][direction];
}

/* A record as an initiator sends it first. */
static void
say(int who, int to)
{
	struct status_record r = {.kind = RECORD_STATUS,
	    .boot_id = 1000 + (uint64_t)who,
	    .seq = 1,
	    .main_age_ms = -1,
	    .in_sync_age_ms = -1,
	    .heard_age_ms = -1,
	    .main_heard_age_ms = -1};

	r.priority = 100 + who;
	links_send(&peer[who].links, (uint8_t)to, LINKS_ALL, &r);
}

static int
both_up(void)
{
	say(ALPHA, BETA);
	say(BETA, ALPHA);
	return link_at(ALPHA, BETA, LINK_OUT)->up != NULL &&
	       link_at(ALPHA, BETA, LINK_IN)->up != NULL &&
	       link_at(BETA, ALPHA, LINK_OUT)->up != NULL &&
	       link_at(BETA, ALPHA, LINK_IN)->up != NULL;
}

static struct wire *
wire_of(int from)
{
	for (int i = 0; i < WIRES; i++) {
		if (wire[i].used && wire[i].from == from && wire[i].fd[1] >= 0)
			return &wire[i];
	}
	fail_msg("no wire");
	return NULL;
}

static int
saw(int who, int direction, int event, int cause)
{
	int n = 0;

	for (int i = 0; i < peer[who].n_events; i++) {
		const struct machine_link *e = &peer[who].event[i];

		n += e->direction == direction && e->event == event && e->cause == cause;
	}
	return n;
}

static uint64_t
count(int who, enum link_counter c)
{
	return peer[who].links.count[c];
}

/* Only alpha dials: beta's side is what is looked at. */
static void
one_way(void)
{
	begin(ALPHA);
	links_configure(&peer[BETA].links, NULL, conf_of(BETA));
}

static void
alpha_is_in(void)
{
	one_way();
	UNTIL((say(ALPHA, BETA), link_at(BETA, ALPHA, LINK_IN)->up != NULL));
}

/* Somebody else's connection to beta with these bytes; returns our end. */
static int
intrude(const uint8_t *bytes, size_t n)
{
	struct conf_addr a;
	struct wire *w = NULL;
	int end;

	for (int i = 0; i < WIRES && w == NULL; i++) {
		if (!wire[i].used)
			w = &wire[i];
	}
	assert_non_null(w);
	memset(w, 0, sizeof(*w));
	w->used = 1;
	w->cut = 1;
	w->fd[0] = w->fd[1] = -1;
	w->token[1] = new_token();
	source_of(9, &a);
	links_incoming(&peer[BETA].links, w->token[1], &a, 1, 0);
	end = w->fd[1];
	w->used = 0;
	if (end >= 0)
		assert_int_equal(send(end, bytes, n, MSG_NOSIGNAL), n);
	return end;
}

/* ---- tests */

static void
both_directions_come_up(void **state)
{
	(void)state;
	/* a slow machine, or valgrind, is no reason to dial again */
	for (int i = 0; i < PEERS; i++) {
		conf_of(i)->general.dial_timeout_ms = DEADLINE_MS;
		conf_of(i)->general.hello_timeout_ms = DEADLINE_MS;
		conf_of(i)->general.status_misses = DEADLINE_MS / 50;
	}
	begin(ALPHA);
	begin(BETA);
	UNTIL(both_up());
	assert_int_equal(saw(ALPHA, LINK_OUT, LINK_DIAL_CONNECTED, CLOSE_LOCAL), 1);
	assert_int_equal(saw(ALPHA, LINK_OUT, LINK_UP, CLOSE_LOCAL), 1);
	assert_int_equal(saw(BETA, LINK_IN, LINK_UP, CLOSE_LOCAL), 1);
	UNTIL(peer[ALPHA].n_records > 0 && peer[BETA].n_records > 0);
	assert_int_equal(peer[BETA].last.priority, 100);
	assert_int_equal(peer[ALPHA].last.priority, 101);
}

static void
responder_waits_for_the_first_record(void **state)
{
	(void)state;
	one_way();
	UNTIL(link_at(ALPHA, BETA, LINK_OUT)->up != NULL);
	turns(50);
	assert_null(link_at(BETA, ALPHA, LINK_IN)->up);
	assert_int_equal(peer[BETA].n_events, 0);
	UNTIL((say(ALPHA, BETA), link_at(BETA, ALPHA, LINK_IN)->up != NULL));
}

static void
replayed_hello_is_refused(void **state)
{
	uint8_t hello[HELLO_SIZE];
	struct session *good;
	int end;

	(void)state;
	alpha_is_in();
	memcpy(hello, wire_of(ALPHA)->first, sizeof(hello));
	good = link_at(BETA, ALPHA, LINK_IN)->up;
	end = intrude(hello, sizeof(hello));
	UNTIL(count(BETA, LINK_C_REPLAY) == 1);
	assert_ptr_equal(link_at(BETA, ALPHA, LINK_IN)->up, good);
	assert_int_equal(link_at(BETA, ALPHA, LINK_IN)->sessions, 1);
	close(end);
}

/* A hello that was held back is new to beta, but its sender cannot go on. */
static void
stolen_hello_disturbs_nothing(void **state)
{
	uint8_t hello[HELLO_SIZE], reply[HELLO_REPLY + 1];
	struct wire *w;
	int end;

	(void)state;
	alpha_is_in();
	deliver = 0;
	w = wire_of(ALPHA);
	end_wire(w, CLOSE_RESET);
	UNTIL((say(ALPHA, BETA),
	    peer[ALPHA].n_opens >= 2 && link_at(ALPHA, BETA, LINK_OUT)->trying != NULL &&
		link_at(ALPHA, BETA, LINK_OUT)->trying->state == SESSION_REPLY));
	for (int i = 0; i < WIRES; i++) {
		if (wire[i].used && wire[i].from == ALPHA)
			w = &wire[i];
	}
	assert_int_equal(recv(w->fd[0], hello, sizeof(hello), 0), sizeof(hello));
	end = intrude(hello, sizeof(hello));
	UNTIL(recv(end, reply, sizeof(reply), MSG_DONTWAIT) == HELLO_REPLY);
	assert_int_equal(send(end, reply, sizeof(reply) - 1, MSG_NOSIGNAL), HELLO_REPLY);
	UNTIL(count(BETA, LINK_C_HELLO_TIMEOUT) + count(BETA, LINK_C_BAD_RECORD) == 1);
	assert_int_equal(link_at(BETA, ALPHA, LINK_IN)->sessions, 1);
	close(end);
}

static void
garbage_is_refused(void **state)
{
	uint8_t bytes[HELLO_SIZE];
	int end;

	(void)state;
	alpha_is_in();
	randombytes_buf(bytes, sizeof(bytes));
	end = intrude(bytes, sizeof(bytes));
	UNTIL(count(BETA, LINK_C_BAD_HELLO) == 1);
	close(end);
	memcpy(bytes, wire_of(ALPHA)->first, sizeof(bytes));
	bytes[40] ^= 1;
	end = intrude(bytes, sizeof(bytes));
	UNTIL(count(BETA, LINK_C_BAD_HELLO) == 2);
	close(end);
	assert_non_null(link_at(BETA, ALPHA, LINK_IN)->up);
}

static void
slow_hello_is_refused(void **state)
{
	uint8_t bytes[HELLO_SIZE];
	int end;

	(void)state;
	alpha_is_in();
	memcpy(bytes, wire_of(ALPHA)->first, sizeof(bytes));
	end = intrude(bytes, sizeof(bytes) - 1);
	UNTIL(count(BETA, LINK_C_HELLO_TIMEOUT) == 1);
	close(end);
	assert_non_null(link_at(BETA, ALPHA, LINK_IN)->up);
}

static void
unknown_key_is_refused(void **state)
{
	(void)state;
	make_server(&conf_of(BETA)->server[ALPHA], "alpha", ALPHA, NULL);
	one_way();
	UNTIL(count(BETA, LINK_C_UNKNOWN_KEY) > 0);
	assert_null(link_at(BETA, ALPHA, LINK_IN)->up);
	UNTIL(saw(ALPHA, LINK_OUT, LINK_HANDSHAKE_FAILED, CLOSE_FIN) > 0);
}

static void
wrong_responder_key_is_refused(void **state)
{
	(void)state;
	make_server(&conf_of(ALPHA)->server[BETA], "beta", BETA, NULL);
	one_way();
	UNTIL(count(BETA, LINK_C_BAD_HELLO) > 0);
	assert_int_equal(peer[BETA].n_events, 0);
}

static void
wrong_group_is_refused(void **state)
{
	(void)state;
	snprintf(conf_of(ALPHA)->general.group, CONF_NAME, "other");
	one_way();
	UNTIL(count(BETA, LINK_C_BAD_HANDSHAKE) > 0);
	assert_int_equal(count(BETA, LINK_C_UP_IN), 0);
}

/* An answer to another hello than the last one. */
static void
answer_must_echo_the_counter(void **state)
{
	struct link *k = link_at(ALPHA, BETA, LINK_OUT);
	struct ctl_link shown;

	(void)state;
	one_way();
	UNTIL(k->trying != NULL && k->trying->state == SESSION_REPLY);
	k->trying->payload.counter++;
	UNTIL(count(ALPHA, LINK_C_BAD_HANDSHAKE) == 1);
	assert_int_equal(count(ALPHA, LINK_C_UP_OUT), 0);
	assert_int_equal(links_describe(&peer[ALPHA].links, 0, now_ms(), &shown), 1);
	assert_string_equal(shown.last_end, "bad-handshake");
}

static void
own_key_is_refused(void **state)
{
	(void)state;
	memcpy(peer[ALPHA].secret_status, peer[BETA].secret_status, 32);
	make_server(&conf_of(ALPHA)->server[ALPHA], "alpha", ALPHA, &peer[BETA]);
	one_way();
	UNTIL(count(BETA, LINK_C_SELF_KEY) > 0);
	assert_null(link_at(BETA, ALPHA, LINK_IN)->up);
}

static void
dmz_may_not_dial(void **state)
{
	(void)state;
	conf_of(BETA)->server[ALPHA].kind = KIND_DMZ;
	one_way();
	UNTIL(count(BETA, LINK_C_NOT_ALLOWED) > 0);
	assert_null(link_at(BETA, ALPHA, LINK_IN)->up);
}

static void
dmz_does_not_dial(void **state)
{
	(void)state;
	conf_of(ALPHA)->server[ALPHA].kind = KIND_DMZ;
	conf_of(BETA)->server[ALPHA].kind = KIND_DMZ;
	begin(ALPHA);
	begin(BETA);
	UNTIL((say(BETA, ALPHA), link_at(ALPHA, BETA, LINK_IN)->up != NULL));
	assert_int_equal(peer[ALPHA].n_opens, 0);
	assert_false(link_at(ALPHA, BETA, LINK_OUT)->wanted);
}

static void
tampered_record_ends_the_link(void **state)
{
	(void)state;
	alpha_is_in();
	corrupt = 1;
	UNTIL((say(ALPHA, BETA), count(BETA, LINK_C_BAD_RECORD) == 1));
	assert_int_equal(saw(BETA, LINK_IN, LINK_LOST, CLOSE_ERROR), 1);
	UNTIL((say(ALPHA, BETA), link_at(BETA, ALPHA, LINK_IN)->up != NULL));
	assert_int_equal(link_at(BETA, ALPHA, LINK_IN)->sessions, 2);
}

static void
record_that_is_no_status_ends_the_link(void **state)
{
	uint8_t plain[STATUS_SIZE] = {STATUS_VERSION, 77};

	(void)state;
	alpha_is_in();
	assert_int_equal(session_send(link_at(ALPHA, BETA, LINK_OUT)->up, plain, sizeof(plain)), 0);
	UNTIL(count(BETA, LINK_C_BAD_STATUS) == 1);
	assert_int_equal(saw(BETA, LINK_IN, LINK_LOST, CLOSE_ERROR), 1);
}

static void
fin_is_told_and_redialled_at_once(void **state)
{
	int opens, n;

	(void)state;
	alpha_is_in();
	opens = peer[ALPHA].n_opens;
	n = peer[ALPHA].n_events;
	deliver = 0;
	end_wire(wire_of(ALPHA), CLOSE_FIN);
	assert_int_equal(peer[ALPHA].n_events, n + 1);
	assert_int_equal(peer[ALPHA].event[n].event, LINK_LOST);
	assert_int_equal(peer[ALPHA].event[n].cause, CLOSE_FIN);
	assert_int_equal(peer[ALPHA].opens_at[n], opens + 1); /* the dial was out before it */
	assert_int_equal(saw(BETA, LINK_IN, LINK_LOST, CLOSE_FIN), 1);
}

static void
end_of_the_stream_waits_for_the_word_of_netd(void **state)
{
	struct wire w;

	(void)state;
	alpha_is_in();
	w = *wire_of(ALPHA);
	wire_of(ALPHA)->used = 0;
	deliver = 0;
	close(w.fd[0]);
	close(w.fd[1]);
	turns(5);
	assert_non_null(link_at(BETA, ALPHA, LINK_IN)->up);
	links_closed(&peer[BETA].links, w.token[1], CLOSE_FIN);
	assert_int_equal(saw(BETA, LINK_IN, LINK_LOST, CLOSE_FIN), 1);
	UNTIL(saw(ALPHA, LINK_OUT, LINK_LOST, CLOSE_LOCAL) == 1); /* no word: nothing is proven */
}

static void
last_words_are_heard_before_the_end(void **state)
{
	struct wire *w;
	int before;

	(void)state;
	alpha_is_in();
	turns(10);
	w = wire_of(ALPHA);
	before = peer[BETA].n_records;
	say(ALPHA, BETA);
	assert_int_equal(pass(w, 1), 0);
	end_wire(w, CLOSE_FIN); /* beta's loop has not run since */
	assert_int_equal(peer[BETA].n_records, before + 1);
	assert_int_equal(saw(BETA, LINK_IN, LINK_LOST, CLOSE_FIN), 1);
}

static void
polite_close_proves_nothing(void **state)
{
	(void)state;
	alpha_is_in();
	turns(10);
	links_redial(&peer[ALPHA].links, BETA, 0);
	UNTIL(saw(BETA, LINK_IN, LINK_LOST, CLOSE_LOCAL) == 1 ||
	      link_at(BETA, ALPHA, LINK_IN)->sessions == 2);
	assert_int_equal(saw(BETA, LINK_IN, LINK_LOST, CLOSE_FIN), 0);
	assert_int_equal(saw(ALPHA, LINK_OUT, LINK_LOST, CLOSE_LOCAL), 1);
	UNTIL((say(ALPHA, BETA), link_at(BETA, ALPHA, LINK_IN)->sessions == 2));
}

static void
refused_dials_back_off(void **state)
{
	struct link *k = link_at(ALPHA, BETA, LINK_OUT);
	int64_t last = -1, before = 0;

	(void)state;
	deliver = 0;
	one_way();
	for (int n = 1; n <= 20; n++) {
		int64_t delay; /* at least, if the end took no time */

		k->next_dial_ms = 0;
		links_tick(&peer[ALPHA].links, now_ms());
		assert_int_equal(peer[ALPHA].n_opens, n);
		before = now_ms();
		for (int i = 0; i < WIRES; i++) {
			if (wire[i].used)
				end_wire(&wire[i], CLOSE_REFUSED);
		}
		assert_int_equal(saw(ALPHA, LINK_OUT, LINK_DIAL_FAILED, CLOSE_REFUSED), n);
		delay = k->next_dial_ms - now_ms();
		assert_true(k->next_dial_ms - before >= last - 2);
		assert_true(delay <= 5000);
		if (n == 1)
			assert_true(delay <= 1 && k->next_dial_ms >= before);
		last = delay;
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	assert_true(k->next_dial_ms - before >= 500);
}

static void
silent_handshake_is_a_timeout(void **state)
{
	(void)state;
	deliver = 0;
	one_way();
	UNTIL(peer[ALPHA].n_opens == 1);
	for (int i = 0; i < WIRES; i++) {
		if (wire[i].used)
			links_connected(&peer[ALPHA].links, wire[i].token[0]);
	}
	UNTIL(saw(ALPHA, LINK_OUT, LINK_HANDSHAKE_TIMEOUT, CLOSE_TIMEOUT) == 1);
}

/* keyd's silence is ours, not the partner's. */
static void
silent_keyd_is_not_the_partner(void **state)
{
	(void)state;
	keys_answer = 0;
	one_way();
	UNTIL(saw(ALPHA, LINK_OUT, LINK_HANDSHAKE_FAILED, CLOSE_LOCAL) == 1);
	assert_int_equal(saw(ALPHA, LINK_OUT, LINK_HANDSHAKE_TIMEOUT, CLOSE_TIMEOUT), 0);
	assert_int_equal(count(ALPHA, LINK_C_KEY_REFUSED), 1);
	links_key_down(&peer[ALPHA].links);
}

/*
 * Nobody has answered our SYN yet: that keyd was started again is no sign of life of the partner.
 */
static void
keyd_restart_is_no_sign_of_life(void **state)
{
	(void)state;
	deliver = keys_answer = 0;
	one_way();
	UNTIL(peer[ALPHA].n_opens == 1);
	links_key_down(&peer[ALPHA].links);
	assert_int_equal(saw(ALPHA, LINK_OUT, LINK_DIAL_FAILED, CLOSE_LOCAL), 1);
	assert_int_equal(saw(ALPHA, LINK_OUT, LINK_HANDSHAKE_FAILED, CLOSE_LOCAL), 0);
}

static void
netd_restart_is_local(void **state)
{
	(void)state;
	begin(ALPHA);
	begin(BETA);
	UNTIL(both_up());
	links_net_down(&peer[ALPHA].links);
	assert_int_equal(saw(ALPHA, LINK_OUT, LINK_LOST, CLOSE_LOCAL), 1);
	assert_int_equal(saw(ALPHA, LINK_IN, LINK_LOST, CLOSE_LOCAL), 1);
	links_net_up(&peer[ALPHA].links);
	UNTIL(both_up());
}

static void
newer_session_replaces_the_older(void **state)
{
	struct wire *old;

	(void)state;
	alpha_is_in();
	old = wire_of(ALPHA);
	old->cut = 1; /* alpha's host lost its memory: beta never saw the end */
	session_free(link_at(ALPHA, BETA, LINK_OUT)->up);
	link_at(ALPHA, BETA, LINK_OUT)->up = NULL;
	UNTIL((say(ALPHA, BETA), link_at(BETA, ALPHA, LINK_IN)->sessions == 2));
	assert_int_equal(count(BETA, LINK_C_REPLACED), 1);
	assert_int_equal(saw(BETA, LINK_IN, LINK_LOST, CLOSE_FIN), 0);
}

static void
too_many_handshakes_are_refused(void **state)
{
	int end[LINKS_PENDING];

	(void)state;
	alpha_is_in();
	for (int i = 0; i < LINKS_PENDING; i++)
		end[i] = intrude((const uint8_t *)"B", 1);
	assert_int_equal(intrude((const uint8_t *)"B", 1), -1);
	assert_int_equal(count(BETA, LINK_C_NO_ROOM), 1);
	assert_int_equal(peer[BETA].n_drops, 1);
	assert_non_null(link_at(BETA, ALPHA, LINK_IN)->up);
	for (int i = 0; i < LINKS_PENDING; i++)
		close(end[i]);
}

static void
records_go_on_after_rekey(void **state)
{
	(void)state;
	alpha_is_in();
	for (int i = 0; i < RECORD_REKEY + 100; i++) {
		say(ALPHA, BETA);
		if (i % 1000 == 0)
			/* or alpha ends a link that says nothing, if this takes long */
			say(BETA, ALPHA);
		if (i % 4 == 3)
			turn();
	}
	UNTIL(link_at(BETA, ALPHA, LINK_IN)->up->records_in > RECORD_REKEY + 50);
	assert_int_equal(link_at(BETA, ALPHA, LINK_IN)->sessions, 1);
	assert_int_equal(count(BETA, LINK_C_BAD_RECORD), 0);
}

/* ---- reload */

static struct conf *
next_conf(int who)
{
	struct conf *n = &peer[who].conf[!peer[who].current];

	*n = *conf_of(who);
	return n;
}

static void
reload(int who)
{
	const struct conf *old = conf_of(who);

	peer[who].current = !peer[who].current;
	links_configure(&peer[who].links, old, conf_of(who));
}

static void
reload_keeps_what_is_unchanged(void **state)
{
	struct session *in, *out;
	struct conf *n;

	(void)state;
	begin(ALPHA);
	begin(BETA);
	UNTIL(both_up());
	in = link_at(BETA, ALPHA, LINK_IN)->up;
	out = link_at(BETA, ALPHA, LINK_OUT)->up;
	n = next_conf(BETA); /* a third server, and all in another order */
	n->general.n_servers = 3;
	n->general.status_interval_ms = 70;
	n->general.self = 0;
	n->server[0] = conf_of(BETA)->server[BETA];
	make_server(&n->server[1], "gamma", GAMMA, NULL);
	n->server[2] = conf_of(BETA)->server[ALPHA];
	reload(BETA);
	assert_ptr_equal(link_at(BETA, 2, LINK_IN)->up, in);
	assert_ptr_equal(link_at(BETA, 2, LINK_OUT)->up, out);
	assert_int_equal(link_at(BETA, 2, LINK_IN)->sessions, 1);
	assert_int_equal(in->server, 2);
	turns(50);
	assert_int_equal(saw(BETA, LINK_IN, LINK_LOST, CLOSE_LOCAL), 0);
	assert_int_equal(peer[ALPHA].links.link[BETA][0][LINK_OUT].sessions, 1);
	assert_true(link_at(BETA, 1, LINK_OUT)->wanted);
	peer[BETA].n_records = 0;
	UNTIL((say(ALPHA, BETA), peer[BETA].n_records > 0));
}

static void
reload_closes_what_changed(void **state)
{
	struct conf *n;

	(void)state;
	begin(ALPHA);
	begin(BETA);
	UNTIL(both_up());
	n = next_conf(BETA);
	n->server[ALPHA].port = 5482; /* only the link that we dial depends on it */
	reload(BETA);
	assert_null(link_at(BETA, ALPHA, LINK_OUT)->up);
	assert_non_null(link_at(BETA, ALPHA, LINK_IN)->up);
	assert_int_equal(saw(BETA, LINK_OUT, LINK_LOST, CLOSE_LOCAL), 1);
	UNTIL(saw(ALPHA, LINK_IN, LINK_LOST, CLOSE_LOCAL) == 1 || both_up());
	assert_int_equal(saw(ALPHA, LINK_IN, LINK_LOST, CLOSE_FIN), 0);

	n = next_conf(BETA);
	n->general.n_servers = 1;
	n->general.self = 0;
	n->server[0] = n->server[BETA];
	reload(BETA);
	assert_null(link_at(BETA, ALPHA, LINK_IN)->up);
	assert_null(link_at(BETA, BETA, LINK_IN)->up);
}

static void
replay_window(void **state)
{
	struct replay r = {0};
	struct hello_payload p = {.boot = 1, .counter = 100};

	(void)state;
	assert_true(replay_allows(&r, &p));
	replay_confirm(&r, &p);
	assert_false(replay_allows(&r, &p));
	p.counter = 99; /* overtaken on another path */
	assert_true(replay_allows(&r, &p));
	replay_confirm(&r, &p);
	assert_false(replay_allows(&r, &p));
	p.counter = 100 - REPLAY_WINDOW;
	assert_false(replay_allows(&r, &p));
	p.counter = 300;
	replay_confirm(&r, &p);
	p.counter = 100;
	assert_false(replay_allows(&r, &p));
	for (uint64_t boot = 2; boot < 10; boot++) {
		p.boot = boot;
		p.counter = 1;
		assert_true(replay_allows(&r, &p));
		replay_confirm(&r, &p);
		assert_false(replay_allows(&r, &p));
	}
	p.boot = 1;
	p.counter = 1000; /* of a boot that was left behind */
	assert_false(replay_allows(&r, &p));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static void
no_log(enum log_level level, const char *text)
{
	if (getenv("TEST_LOG") != NULL)
		fprintf(stderr, "%d %s\n", (int)level, text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(both_directions_come_up),
	    TEST(responder_waits_for_the_first_record),
	    TEST(replayed_hello_is_refused),
	    TEST(stolen_hello_disturbs_nothing),
	    TEST(garbage_is_refused),
	    TEST(slow_hello_is_refused),
	    TEST(unknown_key_is_refused),
	    TEST(wrong_responder_key_is_refused),
	    TEST(wrong_group_is_refused),
	    TEST(answer_must_echo_the_counter),
	    TEST(own_key_is_refused),
	    TEST(dmz_may_not_dial),
	    TEST(dmz_does_not_dial),
	    TEST(tampered_record_ends_the_link),
	    TEST(record_that_is_no_status_ends_the_link),
	    TEST(fin_is_told_and_redialled_at_once),
	    TEST(end_of_the_stream_waits_for_the_word_of_netd),
	    TEST(last_words_are_heard_before_the_end),
	    TEST(polite_close_proves_nothing),
	    TEST(refused_dials_back_off),
	    TEST(silent_handshake_is_a_timeout),
	    TEST(silent_keyd_is_not_the_partner),
	    TEST(keyd_restart_is_no_sign_of_life),
	    TEST(netd_restart_is_local),
	    TEST(newer_session_replaces_the_older),
	    TEST(too_many_handshakes_are_refused),
	    TEST(records_go_on_after_rekey),
	    TEST(reload_keeps_what_is_unchanged),
	    TEST(reload_closes_what_changed),
	    cmocka_unit_test(replay_window),
	};

	if (sodium_init() < 0)
		return 1;
	log_to(no_log);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
