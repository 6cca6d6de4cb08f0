/* SPDX-License-Identifier: ISC */
/*
 * Requests of programs on a standby go to main and their answers come back; on main, those of other
 * servers are executed. At most once: a request whose link ended before its answer is never sent
 * again, and its program is told that the outcome is unknown. While no main is known (a switchover)
 * requests wait for a while, and none of them has been sent, or main has said that it did not
 * execute it.
 */
#include "config.h"

#include "syncd.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/loop.h"

#define WIRE_OF_ACTION (UINT64_C(1) << 63) /* apart from the numbers of clients */

enum {
	REMOTES_MAX = 1000, /* programs of one server: no syncd lets in so many */
	/* as the server of a remote client: a program of ours, that we serve as main */
	OWN = NO_SERVER,
	WAIT_MS = 10000, /* for a main */
	/* after main said that it is main no more: another one comes, or it stays */
	AGAIN_MS = 50,
	KEPT_MAX = 1 << 20, /* bytes of a request that can be sent again then */
	/* main itself says that the time of an action is up; it is waited for so long */
	GRACE_MS = 1000,
};

static const char unknown_outcome[] =
    "-UNKNOWN the link to main ended before the answer: the request may or may not have been "
    "executed";
static const char unknown_stay[] =
    "-UNKNOWN this server lost the role of main before enough standbys had the change: it may or "
    "may not stay";
static const char too_long[] = "-ERR the request was executed, and its answer is longer than what "
			       "main may send: see data.bulk\r\n";
static const char too_much[] =
    "-ERR the transaction and the keys that it watches are more than may be sent to main: it was "
    "not executed";
static const char not_main[] = "-MASTERDOWN that server is not main: not executed";
static const char no_main[] =
    "-MASTERDOWN no main is known, or there is no link to it: the request was not executed";

/* A request or an action of a program of ours. */
struct request {
	struct request *next;
	uint64_t client;
	/* how main calls it: the client, or of an action a number of its own */
	uint64_t wire;
	int64_t until_ms; /* while it waits; an action: its time */
	uint8_t action;
	struct data_link *sent; /* NULL: it waits, or is executed here; body has it then */
	uint8_t own;		/* executed here */
	int64_t again_ms;	/* main did not execute it: not before */
	struct change body;	/* a frame; once it is sent only if it is short */
};

static const char too_late[] =
    "-UNKNOWN time-out: main was asked and did not answer in time, the action may or may not have "
    "been executed";

/* A program of another server, or one action of it, on main. */
struct remote {
	struct remote *next;
	uint64_t client;	/* there: request.wire */
	uint64_t face;		/* here, a client of the face */
	struct data_link *link; /* NULL for OWN */
	uint8_t server;
	uint8_t once; /* goes with its answer */
};

static struct request *requests;
static size_t queued_bytes,
    kept_bytes; /* of bodies: of those that wait, and of those that are sent */
static struct remote *remotes;

/* ---- programs of ours */

static struct data_link *
main_link(void)
{
	return syncd.main != NO_SERVER ? data_links_find(&syncd.links, syncd.main, LINK_REQUEST, 0)
				       : NULL;
}

enum face_route
proxy_route(uint64_t *epoch, const char **refusal)
{
	switch (syncd.role) {
	case DATA_MAIN:
		if (feed_leaving())
			return FACE_PROXY; /* waits for the new main */
		if (snapshot_restoring()) {
			*refusal =
			    "-LOADING a snapshot is being restored: writes are refused until it is "
			    "done";
			return FACE_REFUSE;
		}
		if (data_is_blank()) {
			*refusal = "-NOTREADY this group has no data yet; an admin makes it with "
				   "bulkheadctl init on main";
			return FACE_REFUSE;
		}
		*epoch = syncd.epoch;
		return FACE_LOCAL;
	case DATA_STANDBY:
		return FACE_PROXY;
	case DATA_DMZ:
		*refusal = "-READONLY this server is in the DMZ: it takes no writes and asks "
			   "nobody";
		return FACE_REFUSE;
	default:
		*refusal = no_main;
		return FACE_PROXY;
	}
}

static void
free_request(struct request *q)
{
	struct request **p = &requests;

	while (*p != q)
		p = &(*p)->next;
	*p = q->next;
	*(q->sent != NULL ? &kept_bytes : &queued_bytes) -= q->body.len;
	change_free(&q->body);
	free(q);
}

static int
send_request(struct request *q, struct data_link *l)
{
	if (q->action)
		wire_action_left(&q->body, q->until_ms - now_ms());
	if (link_put_raw(l, (struct slice){q->body.data, q->body.len}) != 0)
		return -1;
	queued_bytes -= q->body.len;
	if (q->body.len <= KEPT_MAX && kept_bytes <= QUEUED_MAX) {
		kept_bytes += q->body.len;
	} else {
		change_free(&q->body);
		change_init(&q->body);
	}
	q->sent = l;
	return 0;
}

static struct request *
new_request(uint64_t client, uint64_t wire, int64_t until_ms)
{
	struct request *q = queued_bytes <= QUEUED_MAX ? calloc(1, sizeof(*q)) : NULL;

	if (q == NULL)
		return NULL;
	q->client = client;
	q->wire = wire;
	q->until_ms = until_ms;
	change_init(&q->body);
	return q;
}

/* Its frame is made: it goes to main, or waits for one. 0, or -1: neither. */
static int
begin_request(struct request *q)
{
	struct data_link *l = main_link();

	queued_bytes += q->body.len;
	q->next = requests;
	requests = q;
	if (l != NULL && !link_full(l) && send_request(q, l) != 0) {
		free_request(q);
		return -1;
	}
	syncd_wake_at(q->sent == NULL ? q->until_ms : now_ms());
	return 0;
}

int
proxy_request(uint64_t client, const struct face_request *in, const char **refusal)
{
	struct request *q = new_request(client, client, now_ms() + WAIT_MS);
	uint64_t bulk = (uint64_t)child_conf(&syncd.child)->general.data_bulk;
	int r = -1;

	*refusal = no_main;
	if (q == NULL)
		return -1;
	if (in->n_watched > WIRE_COMMANDS_MAX || in->n_commands > WIRE_COMMANDS_MAX)
		*refusal = too_much;
	else if (wire_put_request(&q->body, client, in) == 0)
		r = 0;
	if (r == 0 && q->body.len > wire_frame_max(bulk)) { /* main would end the link */
		*refusal = too_much;
		r = -1;
	}
	if (r == 0)
		return begin_request(q);
	change_free(&q->body);
	free(q);
	return -1;
}

int
proxy_action(uint64_t client, const struct face_action *a, const char **refusal)
{
	static uint64_t last;
	uint64_t wire = WIRE_OF_ACTION | ++last;
	struct request *q = new_request(client, wire, now_ms() + a->left_ms);

	*refusal = no_main;
	if (q == NULL)
		return -1;
	q->action = 1;
	if (wire_put_action(&q->body, wire, a) != 0) {
		change_free(&q->body);
		free(q);
		return -1;
	}
	return begin_request(q);
}

static struct request *
find_request(uint64_t wire)
{
	struct request *q = requests;

	while (q != NULL && q->wire != wire)
		q = q->next;
	return q;
}

/* Main is told that nobody waits for it any more. */
static void
send_forget(struct data_link *l, uint64_t wire)
{
	uint8_t out[8];

	(void)link_put(l, WIRE_FORGET, (struct slice){out, wire_u64_encode(out, wire)},
	    (struct slice){NULL, 0});
}

/* What waits goes out, oldest last in the list: from the end. */
static void
send_waiting(struct data_link *l)
{
	struct request *order[64];
	int64_t now = now_ms();
	size_t n;

	do {
		n = 0;
		for (struct request *q = requests; q != NULL; q = q->next) {
			if (q->sent != NULL || q->own || q->again_ms > now)
				continue;
			memmove(order + 1, order, (n < 63 ? n : 63) * sizeof(order[0]));
			order[0] = q;
			n += n < 64;
		}
		for (size_t i = 0; i < n; i++) {
			if (!l->used || link_full(l) || send_request(order[i], l) != 0)
				return;
		}
	} while (n == 64);
}

void
proxy_room(struct data_link *l)
{
	if (l == main_link())
		send_waiting(l);
}

/* ---- programs of others */

static struct remote *
find_remote(uint8_t server, uint64_t client)
{
	struct remote *r = remotes;

	while (r != NULL && (r->server != server || r->client != client))
		r = r->next;
	return r;
}

static void
free_remote(struct remote *r)
{
	struct remote **p = &remotes;

	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	face_remote_free(&syncd.face, r->face);
	free(r);
}

static size_t
count_remotes(uint8_t server)
{
	size_t n = 0;

	for (const struct remote *r = remotes; r != NULL; r = r->next)
		n += r->server == server;
	return n;
}

static struct remote *
get_remote(uint8_t server, uint64_t client, struct data_link *l)
{
	struct remote *r = find_remote(server, client);

	if (r != NULL)
		return r;
	if (count_remotes(server) >= REMOTES_MAX)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return NULL;
	r->face = face_remote_new(&syncd.face);
	if (r->face == 0) {
		free(r);
		return NULL;
	}
	r->server = server;
	r->client = client;
	r->link = l;
	r->next = remotes;
	remotes = r;
	return r;
}

/* The program that asked is gone. */
static void
forget_request(struct request *q)
{
	struct remote *r = q->own ? find_remote(OWN, q->wire) : NULL;
	struct data_link *l = q->action ? q->sent : NULL;
	uint64_t wire = q->wire;

	if (r != NULL)
		free_remote(r);
	free_request(q);
	if (l != NULL)
		send_forget(l, wire);
}

void
proxy_forget(uint64_t client)
{
	struct request *q = requests;
	struct data_link *l;

	while (q != NULL && q->client != client)
		q = q->next;
	if (q != NULL)
		forget_request(q);
	l = main_link(); /* which may end with what is put into it */
	if (l != NULL)
		send_forget(l, client);
}

static void
refuse_remote(struct data_link *l, uint64_t client, const char *why)
{
	uint8_t head[8];

	(void)link_put(
	    l, WIRE_REFUSED, (struct slice){head, wire_u64_encode(head, client)}, slice_of(why));
}

/*
 * Answers wait for the link, or for the disk before: is there room for more? Returns 0; 1 when
 * there is none; -1: the link has ended, because each program of the partner has one request under
 * way and so cannot have been refused twice without one of these answers having been read.
 */
static int
answers_wait(struct data_link *l)
{
	if (link_queued(l) + syncd.face.remote_bytes < QUEUED_MAX) {
		l->refused = 0;
		return 0;
	}
	if (l->refused++ < 2 * REMOTES_MAX)
		return 1;
	log_warn("%s asks on and on and does not read the answers: its link is closed",
	    child_conf(&syncd.child)->server[link_server(l)].name);
	link_end(l, "the partner does not read its answers");
	return -1;
}

/* A request of another server's program. 0, or -1: malformed. */
static int
take_request(struct data_link *l, struct slice body)
{
	struct face_request r;
	struct remote *remote;
	uint64_t client;
	void *memory;
	int wait;

	if (wire_request_decode(body, &client, &r, &memory) != 0) {
		free(memory);
		return -1;
	}
	if (syncd.role != DATA_MAIN || feed_leaving()) {
		refuse_remote(l, client, not_main);
		free(memory);
		return 0;
	}
	wait = answers_wait(l);
	remote = wait == 0 ? get_remote(link_server(l), client, l) : NULL;
	if (wait < 0) {
		free(memory);
		return 0;
	}
	if (remote == NULL || face_remote_run(&syncd.face, remote->face, &r) != 0)
		refuse_remote(l, client, "-BUSY main has no room for the request: not executed");
	free(memory);
	return 0;
}

/* An action of another server's program. 0, or -1: malformed. */
static int
take_action(struct data_link *l, struct slice body)
{
	const struct conf *c = child_conf(&syncd.child);
	struct face_action a;
	struct remote *remote;
	uint64_t client;
	int wait;

	if (wire_action_decode(body, &client, &a) != 0)
		return -1;
	if (syncd.role != DATA_MAIN || feed_leaving()) {
		refuse_remote(l, client, not_main);
		return 0;
	}
	wait = answers_wait(l);
	if (wait < 0)
		return 0;
	remote = wait == 0 ? get_remote(link_server(l), client, l) : NULL;
	if (remote != NULL)
		remote->once = 1;
	if (remote == NULL ||
	    face_remote_act(&syncd.face, remote->face, &a, c->server[link_server(l)].name) != 0)
		refuse_remote(
		    l, client, "-BUSY main has no room for the action: it was not executed");
	return 0;
}

void
proxy_remote_answer(uint64_t face, struct slice answer, const struct position *last)
{
	struct remote *r = remotes;
	struct data_link *l;
	uint8_t head[8 + WIRE_POSITION];

	while (r != NULL && r->face != face)
		r = r->next;
	if (r == NULL)
		return;
	if (r->server == OWN) {
		struct request *q = find_request(r->client);

		free_remote(r);
		if (q != NULL) {
			uint64_t client = q->client;

			free_request(q);
			face_answer(&syncd.face, client, answer);
		}
		return;
	}
	if (answer.len > wire_change_max((uint64_t)child_conf(&syncd.child)->general.data_bulk))
		answer = slice_of(too_long);
	wire_u64_encode(head, r->client);
	wire_position_encode(head + 8, last);
	l = r->link;
	if (r->once)
		free_remote(r);
	(void)link_put(l, WIRE_ANSWER, (struct slice){head, sizeof(head)}, answer);
}

/* ---- frames */

/* The answer to a request that went out on this link. */
static int
take_answer(struct data_link *l, struct slice body)
{
	struct position at;
	struct slice text;
	struct request *q;
	uint64_t client;

	if (wire_answer_decode(body, &client, &at, &text) != 0)
		return -1;
	q = find_request(client);
	if (q == NULL || q->sent != l)
		return 0; /* its program has gone */
	client = q->client;
	free_request(q);
	face_answer(&syncd.face, client, text);
	return 0;
}

/*
 * Who was asked is not main, or soon no more, and has not executed it: it waits for the next one.
 */
static bool
wait_again(struct request *q, const char *refusal)
{
	static const char code[] = "-MASTERDOWN ";
	int64_t again_ms = now_ms() + AGAIN_MS;

	if (strncmp(refusal, code, sizeof(code) - 1) != 0 || q->body.len == 0 ||
	    again_ms >= q->until_ms)
		return false;
	kept_bytes -= q->body.len;
	queued_bytes += q->body.len;
	q->sent = NULL;
	q->again_ms = again_ms;
	syncd_wake_at(again_ms);
	return true;
}

static int
take_refused(struct data_link *l, struct slice body)
{
	struct slice text;
	struct request *q;
	uint64_t client;
	char line[256];

	if (wire_refused_decode(body, &client, &text) != 0 || text.len == 0 ||
	    text.len >= sizeof(line) || text.data[0] != '-')
		return -1;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < 0x20 || text.data[i] >= 0x7f)
			return -1;
	}
	memcpy(line, text.data, text.len);
	line[text.len] = '\0';
	q = find_request(client);
	if (q == NULL || q->sent != l)
		return 0;
	if (wait_again(q, line))
		return 0;
	client = q->client;
	free_request(q);
	face_refuse(&syncd.face, client, line);
	return 0;
}

int
proxy_frame(struct data_link *l, uint8_t type, struct slice body)
{
	struct position end;
	struct remote *r;
	uint64_t client;

	if (type == WIRE_BEAT)
		return wire_position_decode(body, &end);
	if (!l->session.inbound) {
		if (type == WIRE_ANSWER)
			return take_answer(l, body);
		return type == WIRE_REFUSED ? take_refused(l, body) : -1;
	}
	if (type == WIRE_REQUEST)
		return take_request(l, body);
	if (type == WIRE_ACTION)
		return take_action(l, body);
	if (type != WIRE_FORGET || wire_u64_decode(body, &client) != 0)
		return -1;
	r = find_remote(link_server(l), client);
	if (r != NULL)
		free_remote(r);
	return 0;
}

/* Something for the other end to hear; the first one also proves to main that the link is live. */
static void
beat(struct data_link *l)
{
	struct position end = store_end(syncd.store);
	uint8_t out[WIRE_POSITION];

	(void)link_put(l, WIRE_BEAT, (struct slice){out, wire_position_encode(out, &end)},
	    (struct slice){NULL, 0});
}

void
proxy_up(struct data_link *l)
{
	beat(l);
	if (l->used && !l->session.inbound)
		send_waiting(l);
}

/* Every link, once in a status interval. */
static int64_t
beat_tick(int64_t now)
{
	static int64_t beat_ms;
	int64_t interval_ms = child_conf(&syncd.child)->general.status_interval_ms;

	if (now < beat_ms + interval_ms)
		return beat_ms + interval_ms;
	beat_ms = now;
	for (uint8_t i = 0; i < CONF_SERVERS; i++) {
		for (int inbound = 0; inbound < 2; inbound++) {
			struct data_link *l =
			    data_links_find(&syncd.links, i, LINK_REQUEST, inbound);

			if (l != NULL)
				beat(l);
		}
	}
	return now + interval_ms;
}

void
proxy_down(struct data_link *l)
{
	struct request *next_request;
	struct remote *next_remote;

	for (struct request *q = requests; q != NULL; q = next_request) {
		uint64_t client = q->client;

		next_request = q->next;
		if (q->sent != l)
			continue;
		free_request(q);
		face_refuse(&syncd.face, client, unknown_outcome);
	}
	for (struct remote *r = remotes; r != NULL; r = next_remote) {
		next_remote = r->next;
		if (r->link == l)
			free_remote(r);
	}
}

/* ---- roles */

/* 0 or -1: there is no memory. */
static int
serve_request(struct request *q, struct slice body)
{
	struct face_request r;
	struct remote *remote;
	uint64_t wire;
	void *memory;
	int result = -1;

	if (wire_request_decode(body, &wire, &r, &memory) == 0) {
		remote = get_remote(OWN, q->wire, NULL);
		result = remote != NULL ? face_remote_run(&syncd.face, remote->face, &r) : -1;
		if (result != 0 && remote != NULL)
			free_remote(remote);
	}
	free(memory);
	return result;
}

static int
serve_action(struct request *q, struct slice body)
{
	const struct conf *c = child_conf(&syncd.child);
	struct remote *remote = get_remote(OWN, q->wire, NULL);
	struct face_action a;
	uint64_t wire;

	wire_action_left(&q->body, q->until_ms - now_ms());
	if (remote == NULL || wire_action_decode(body, &wire, &a) != 0 ||
	    face_remote_act(&syncd.face, remote->face, &a, c->server[c->general.self].name) != 0) {
		if (remote != NULL)
			free_remote(remote);
		return -1;
	}
	return 0;
}

/* We are main now: what waited for one is executed here. */
static void
serve_own(void)
{
	struct request *q = requests;

	while (q != NULL) {
		struct slice body = {q->body.data + WIRE_HEADER, q->body.len - WIRE_HEADER};
		uint64_t client = q->client;

		if (q->sent != NULL || q->own) {
			q = q->next;
			continue;
		}
		q->own = 1;
		if ((q->action ? serve_action(q, body) : serve_request(q, body)) == 0)
			continue;
		free_request(q);
		face_refuse(&syncd.face, client, no_main);
		q = requests; /* the program may have asked for more */
	}
}

/* We are main no more: of what we executed ourselves, the answers that went with the role. */
static void
refuse_own(void)
{
	struct request *q = requests;

	while (q != NULL) {
		struct remote *r = q->own ? find_remote(OWN, q->wire) : NULL;
		uint64_t client = q->client;

		if (!q->own || (r != NULL && face_remote_lives(&syncd.face, r->face))) {
			q = q->next;
			continue;
		}
		forget_request(q);
		face_refuse(&syncd.face, client, unknown_stay);
		q = requests; /* the program may have asked for more */
	}
}

void
proxy_role(void)
{
	const struct conf *c = child_conf(&syncd.child);

	for (uint8_t i = 0; i < CONF_SERVERS; i++) {
		int wanted = syncd.role == DATA_STANDBY && i == syncd.main &&
			     i < c->general.n_servers && i != c->general.self;

		data_links_want(&syncd.links, i, LINK_REQUEST, wanted);
		if (syncd.role != DATA_MAIN)
			data_links_dismiss(&syncd.links, i, LINK_REQUEST);
	}
	if (syncd.role == DATA_MAIN && !feed_leaving())
		serve_own();
	else if (syncd.role != DATA_MAIN)
		refuse_own();
}

void
proxy_moved(const uint8_t moved[CONF_SERVERS])
{
	for (struct remote *r = remotes; r != NULL; r = r->next) {
		if (r->server != OWN)
			r->server = moved[r->server]; /* a link that went has freed its own */
	}
}

/* What was refused by who was not main, and may go out again. Returns when there is more of it. */
static int64_t
again_tick(int64_t now)
{
	struct data_link *l = main_link();
	int64_t due = INT64_MAX;
	bool waits = false;

	for (struct request *q = requests; q != NULL; q = q->next) {
		if (q->again_ms == 0 || q->sent != NULL || q->own)
			continue;
		if (q->again_ms > now)
			due = q->again_ms < due ? q->again_ms : due;
		else
			waits = true;
	}
	if (waits && l != NULL)
		send_waiting(l);
	return due;
}

int64_t
proxy_tick(int64_t now)
{
	struct request *q;
	int64_t due = beat_tick(now), again = again_tick(now);

	due = again < due ? again : due;
	q = requests;

	while (q != NULL) {
		int64_t until_ms = q->until_ms + (q->sent != NULL ? GRACE_MS : 0);
		const char *error = q->sent != NULL ? too_late : no_main;
		uint64_t client = q->client;

		if (q->own || (q->sent != NULL && !q->action) || now < until_ms) {
			if (!q->own && (q->sent == NULL || q->action) && until_ms < due)
				due = until_ms;
			q = q->next;
			continue;
		}
		forget_request(q);
		face_refuse(&syncd.face, client, error);
		q = requests; /* the program may have asked for more */
	}
	return due;
}
