/* SPDX-License-Identifier: ISC */
/*
 * Two tables of data links against each other: main and a standby that is slow with what it gets. A
 * turn ends in time, nothing is lost, and the order stays, with and without compression, also when
 * the other end is gone meanwhile.
 */
#include "config.h"

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

#include "lib/loop.h"
#include "syncd/link.h"
#include "syncd/wire.h"

enum { MAIN, STANDBY, PEERS, DEADLINE_MS = 20000, FRAMES = 300, LONG = 100000 };

static struct peer {
	struct data_links links;
	struct conf conf;
	uint8_t secret[NOISE_KEY];
	int wire; /* the end that netd would hold; -1 */
	uint32_t token;
	uint32_t asked;
	uint8_t public_key[NOISE_KEY];
	int downs;
} peer[PEERS];

static uv_loop_t loop[PEERS];
static int me; /* whose callbacks are called; the table does not say */
static struct {
	unsigned n;	   /* frames that the standby took */
	unsigned in_turn;  /* ... in this turn of the loop */
	unsigned most;	   /* ... in any */
	unsigned end_at;   /* it ends the link with this one */
	unsigned after_up; /* turns between the first and the last */
} taken;
static int slow; /* each frame takes all the time that a turn has */

/* ---- netd, keyd, syncd */

static void
on_open(uint32_t token, uint8_t server, uint8_t path, enum link_kind kind, int fd)
{
	struct conf_addr from = {.family = AF_INET, .bytes = {10, 0, 0, 1}};

	(void)server;
	(void)path;
	peer[MAIN].wire = dup(fd);
	peer[MAIN].token = token;
	me = STANDBY;
	data_links_incoming(&peer[STANDBY].links, LINK_INBOUND_TOKEN | 1, kind, &from, 40000);
	me = MAIN;
	data_links_connected(&peer[MAIN].links, token);
}

static void
on_take(uint32_t token, int fd)
{
	peer[STANDBY].wire = dup(fd);
	peer[STANDBY].token = token;
}

static void
on_drop(uint32_t token)
{
	(void)token;
	fail_msg("refused");
}

static void
on_ask_dh(uint32_t cookie, const uint8_t public_key[NOISE_KEY])
{
	peer[me].asked = cookie;
	memcpy(peer[me].public_key, public_key, NOISE_KEY);
}

static int
on_allowed(uint8_t server, enum link_kind kind)
{
	return server == MAIN && kind == LINK_SYNC;
}

/* Only a record proves to the standby that the link is one. */
static void
on_up(struct data_link *l)
{
	if (l->links == &peer[MAIN].links)
		link_put(l, WIRE_ACK, (struct slice){NULL, 0}, (struct slice){NULL, 0});
}

/* Frames are numbered; every tenth is longer than a record. */
static int
on_frame(struct data_link *l, uint8_t type, struct slice body)
{
	if (type == WIRE_ACK)
		return 0;
	assert_int_equal(type, WIRE_CHANGE);
	assert_int_equal(body.len, taken.n % 10 == 0 ? LONG : 4);
	for (size_t i = 0; i < body.len; i++)
		assert_int_equal(body.data[i], (uint8_t)(taken.n + i / 4));
	taken.n++;
	taken.in_turn++;
	if (slow)
		peer[STANDBY].links.turn_ms = 1;
	if (taken.n == taken.end_at)
		link_end(l, NULL);
	return 0;
}

static void
on_down(struct data_link *l)
{
	peer[l->links == &peer[STANDBY].links].downs++;
}

static void
on_room(struct data_link *l)
{
	(void)l;
}

static const struct data_links_ops ops = {
    on_open, on_take, on_drop, on_ask_dh, on_allowed, on_up, on_frame, on_down, on_room};

static void
answer_key(void)
{
	uint8_t shared[NOISE_KEY];
	uint32_t cookie = peer[me].asked;

	if (cookie == 0)
		return;
	peer[me].asked = 0; /* it may ask for the next at once */
	assert_int_equal(crypto_scalarmult(shared, peer[me].secret, peer[me].public_key), 0);
	data_links_shared(&peer[me].links, cookie, shared);
}

static void
pass(int from, int to)
{
	static uint8_t b[65536];
	ssize_t n;

	if (peer[from].wire < 0 || peer[to].wire < 0)
		return;
	while ((n = recv(peer[from].wire, b, sizeof(b), MSG_DONTWAIT | MSG_PEEK)) > 0) {
		ssize_t sent = send(peer[to].wire, b, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent <= 0 || recv(peer[from].wire, b, (size_t)sent, 0) != sent)
			return;
	}
}

static void
turn(void)
{
	for (me = 0; me < PEERS; me++) {
		taken.in_turn = 0;
		data_links_tick(&peer[me].links, now_ms());
		data_links_pump(&peer[me].links);
		if (taken.in_turn > taken.most)
			taken.most = taken.in_turn;
		uv_run(&loop[me], UV_RUN_NOWAIT);
	}
	for (me = 0; me < PEERS; me++)
		answer_key();
	pass(MAIN, STANDBY);
	pass(STANDBY, MAIN);
	taken.after_up += taken.n > 0 && taken.n < FRAMES;
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

/* ---- begin and end */

static int
set_up(void **state)
{
	uint8_t moved[CONF_SERVERS];

	(void)state;
	memset(peer, 0, sizeof(peer));
	memset(&taken, 0, sizeof(taken));
	slow = 1;
	for (int i = 0; i < PEERS; i++)
		randombytes_buf(peer[i].secret, NOISE_KEY);
	for (int i = 0; i < PEERS; i++) {
		struct conf_general *g = &peer[i].conf.general;

		peer[i].wire = -1;
		uv_loop_init(&loop[i]);
		snprintf(g->group, sizeof(g->group), "test");
		g->self = (uint8_t)i;
		g->n_servers = PEERS;
		g->status_interval_ms = 60000;
		g->dial_timeout_ms = g->hello_timeout_ms = DEADLINE_MS;
		g->data_bulk = 1 << 20;
		for (int k = 0; k < PEERS; k++) {
			struct conf_server *s = &peer[i].conf.server[k];

			snprintf(s->name, sizeof(s->name), "%s", k == MAIN ? "main" : "standby");
			s->n_paths = 1;
			crypto_scalarmult_base(s->key_data, peer[k].secret);
		}
		data_links_init(&peer[i].links, &loop[i], &ops, 1000 + (uint64_t)i);
		data_links_configure(&peer[i].links, NULL, &peer[i].conf, moved);
		data_links_net_up(&peer[i].links);
	}
	data_links_want(&peer[MAIN].links, STANDBY, LINK_SYNC, 1);
	UNTIL(data_links_find(&peer[MAIN].links, STANDBY, LINK_SYNC, 0) != NULL &&
	      data_links_find(&peer[STANDBY].links, MAIN, LINK_SYNC, 1) != NULL);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	for (me = 0; me < PEERS; me++) {
		data_links_net_down(&peer[me].links);
		if (peer[me].wire >= 0)
			close(peer[me].wire);
		uv_run(&loop[me], UV_RUN_DEFAULT);
		assert_int_equal(uv_loop_close(&loop[me]), 0);
	}
	return 0;
}

static void
send_frames(void)
{
	struct data_link *l = data_links_find(&peer[MAIN].links, STANDBY, LINK_SYNC, 0);
	static uint8_t body[LONG];

	for (unsigned n = 0; n < FRAMES; n++) {
		for (size_t i = 0; i < LONG; i++)
			body[i] = (uint8_t)(n + i / 4);
		assert_int_equal(
		    link_put(l, WIRE_CHANGE, (struct slice){body, n % 10 == 0 ? LONG : 4},
			(struct slice){NULL, 0}),
		    0);
	}
}

static void
pack_if(void **state)
{
	if (*(int *)*state)
		assert_int_equal(
		    link_pack(data_links_find(&peer[MAIN].links, STANDBY, LINK_SYNC, 0)), 0);
}

/* ---- tests */

static void
test_turn_has_an_end(void **state)
{
	pack_if(state);
	send_frames();
	UNTIL(taken.n == FRAMES);
	assert_int_equal(taken.most, 1);
	assert_in_range(taken.after_up, FRAMES / 2, 100 * FRAMES);
	assert_int_equal(peer[STANDBY].downs, 0);
	/* and no longer: what comes now is taken as it comes */
	slow = 0;
	taken.n = taken.most = 0;
	send_frames();
	UNTIL(taken.n == FRAMES);
	assert_int_equal(peer[STANDBY].links.link[0].late, 0);
}

/* Main is gone; all that it had sent counts, and the end is told after it. */
static void
test_end_waits_for_what_is_late(void **state)
{
	struct data_link *l;

	pack_if(state);
	send_frames();
	l = data_links_find(&peer[MAIN].links, STANDBY, LINK_SYNC, 0);
	UNTIL(link_queued(l) == 0 && session_flushed(&l->session) && taken.n < FRAMES);
	turn();
	assert_in_range(taken.n, 1, FRAMES - 1);
	close(peer[STANDBY].wire);
	peer[STANDBY].wire = -1;
	me = STANDBY;
	data_links_closed(&peer[STANDBY].links, peer[STANDBY].token, CLOSE_RESET);
	assert_int_equal(peer[STANDBY].downs, 0);
	UNTIL(peer[STANDBY].downs == 1);
	assert_in_range(taken.n, FRAMES / 2, FRAMES); /* the rest was on the way */
	assert_null(data_links_find(&peer[STANDBY].links, MAIN, LINK_SYNC, 1));
}

/* Its owner ends it while frames wait. */
static void
test_ended_while_late(void **state)
{
	pack_if(state);
	taken.end_at = 7;
	send_frames();
	UNTIL(peer[STANDBY].downs == 1);
	for (int i = 0; i < 10; i++)
		turn();
	assert_int_equal(taken.n, 7);
}

int
main(void)
{
	static int plain = 0, packed = 1;
	const struct CMUnitTest tests[] = {
	    {"turn has an end", test_turn_has_an_end, set_up, tear_down, &plain},
	    {"turn has an end, packed", test_turn_has_an_end, set_up, tear_down, &packed},
	    {"end waits for what is late", test_end_waits_for_what_is_late, set_up, tear_down,
		&plain},
	    {"end waits for what is late, packed", test_end_waits_for_what_is_late, set_up,
		tear_down, &packed},
	    {"ended while late", test_ended_while_late, set_up, tear_down, &plain},
	    {"ended while late, packed", test_ended_while_late, set_up, tear_down, &packed},
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
