/* SPDX-License-Identifier: ISC */
/*
 * Random numbers, the event queue, and the network: packets, TCP connections with retransmission,
 * dials with back-off, ping.
 */
#include "sim.h"

#include <string.h>

struct world w;

static struct event pool[EVENTS];
static uint32_t heap[EVENTS], spare[EVENTS];
static unsigned n_heap, n_spare;
static uint64_t order, rnd_state;

/* ---- random numbers */

void
rnd_seed(uint64_t seed)
{
	rnd_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

uint64_t
rnd(void)
{
	uint64_t z = (rnd_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

int64_t
rnd_between(int64_t low, int64_t high)
{
	return low + (int64_t)(rnd() % (uint64_t)(high - low + 1));
}

int
rnd_chance(unsigned percent)
{
	return rnd() % 100 < percent;
}

/* ---- event queue: a heap of pool indexes */

static int
before(uint32_t x, uint32_t y)
{
	if (pool[x].at_us != pool[y].at_us)
		return pool[x].at_us < pool[y].at_us;
	return pool[x].order < pool[y].order;
}

void
events_clear(void)
{
	n_heap = n_spare = 0;
	order = 0;
	for (uint32_t i = 0; i < EVENTS; i++)
		spare[n_spare++] = EVENTS - 1 - i;
}

/* A new event in the queue; events of one moment come in their order. */
static struct event *
event_put(int64_t at_us, uint64_t place, enum event_kind kind, unsigned a)
{
	uint32_t i, k;
	struct event *e;

	if (n_spare == 0) {
		fail("the simulator has too many events");
		return &pool[0];
	}
	i = spare[--n_spare];
	e = &pool[i];
	e->at_us = at_us < w.now_us ? w.now_us : at_us;
	e->order = place;
	e->kind = (uint8_t)kind;
	e->a = (uint8_t)a;
	e->b = e->path = e->side = e->what = 0;
	e->gen = 0;
	e->value = 0;
	for (k = n_heap++; k > 0 && before(i, heap[(k - 1) / 2]); k = (k - 1) / 2)
		heap[k] = heap[(k - 1) / 2];
	heap[k] = i;
	return e;
}

struct event *
event_at(int64_t at_us, enum event_kind kind, unsigned a)
{
	return event_put(at_us, ++order, kind, a);
}

struct event *
event_next(void)
{
	static struct event out;
	uint32_t last, top, k = 0;

	if (n_heap == 0)
		return NULL;
	top = heap[0];
	last = heap[--n_heap];
	for (;;) {
		uint32_t c = 2 * k + 1;

		if (c >= n_heap)
			break;
		if (c + 1 < n_heap && before(heap[c + 1], heap[c]))
			c++;
		if (!before(heap[c], last))
			break;
		heap[k] = heap[c];
		k = c;
	}
	heap[k] = last;
	spare[n_spare++] = top;
	out = pool[top];
	return &out;
}

/* The event comes later, and keeps its place among the others that come then. */
void
event_again(const struct event *e, int64_t at_us)
{
	struct event copy = *e;
	struct event *o = event_put(at_us, copy.order, (enum event_kind)copy.kind, copy.a);

	copy.at_us = o->at_us;
	*o = copy;
}

/* ---- packets */

int64_t
delay_us(void)
{
	return w.delay_us + rnd_between(20, 20 + w.delay_us / 5 + 200);
}

int
path_open(unsigned a, unsigned b, unsigned path)
{
	return path < w.n_paths && !w.cut[a][b][path] && !w.cut[b][a][path];
}

int
port_open(unsigned a, unsigned b, unsigned path)
{
	return path_open(a, b, path) && w.port[a][b][path] == BLOCK_NONE;
}

int
partner_path(unsigned a, unsigned b)
{
	for (unsigned p = 0; p < w.n_paths; p++) {
		if (w.kind[a] != KIND_DMZ && port_open(a, b, p))
			return 1;
		if (w.kind[b] != KIND_DMZ && port_open(b, a, p))
			return 1;
	}
	return 0;
}

/* ---- links */

static int64_t
status_us(void)
{
	return w.server[0].config.status_interval_ms * MS;
}

/* Servers at the two sides of a link that a dials to b. */
static unsigned
at_side(unsigned a, unsigned b, unsigned side)
{
	return side == DIALER ? a : b;
}

static void
link_tell(unsigned i, unsigned partner, unsigned path, unsigned side, unsigned what, unsigned cause,
    int64_t at_us)
{
	struct event *e = event_at(at_us, EV_LINK, i);

	e->b = (uint8_t)partner;
	e->path = (uint8_t)path;
	e->side = (uint8_t)side;
	e->what = (uint8_t)what;
	e->value = cause;
}

static void
dial_later(unsigned a, unsigned b, unsigned path, int64_t in_us)
{
	struct tcp *t = &w.tcp[a][b][path];
	struct event *e;

	if (t->dialing)
		return;
	t->dialing = 1;
	e = event_at(w.now_us + in_us, EV_DIAL, a);
	e->b = (uint8_t)b;
	e->path = (uint8_t)path;
	e->gen = t->gen;
}

/* As the redial of roled: at once, 1, 2, 5, 10 ... doubling, up to 5 s. */
static int64_t
back_off_us(struct tcp *t)
{
	static const int first_ms[] = {0, 1, 2, 5, 10, 20, 50};
	int64_t cap = 5 * SEC, us;

	if (t->failures < 7)
		return first_ms[t->failures++] * MS;
	us = 50 * MS << (t->failures < 14 ? t->failures - 6 : 8);
	t->failures++;
	return us > cap ? cap : us;
}

/* The connection is no more; what travels on it is lost. */
static void
link_reset(struct tcp *t)
{
	t->gen++;
	t->state = L_DOWN;
	t->dialing = 0;
	memset(t->open, 0, sizeof(t->open));
	memset(t->told, 0, sizeof(t->told));
	memset(t->retrying, 0, sizeof(t->retrying));
	memset(t->n_held, 0, sizeof(t->n_held));
	t->ready_us[0] = t->ready_us[1] = 0;
}

/* One side learns that its connection ended. */
static void
link_ends(unsigned a, unsigned b, unsigned path, unsigned side, enum link_close cause)
{
	struct tcp *t = &w.tcp[a][b][path];
	unsigned me = at_side(a, b, side), other = at_side(a, b, !side);

	t->open[side] = 0;
	if (t->told[side])
		link_tell(me, other, path, side == DIALER ? LINK_OUT : LINK_IN, LINK_LOST, cause,
		    w.now_us);
	t->told[side] = 0;
	if (side != DIALER)
		return;
	link_reset(t);
	t->failures = 0;
	if (w.server[a].netd && w.server[a].guard)
		dial_later(a, b, path, 0);
}

/*
 * The dialer closes: the slot is free for its next dial at once. The other side is told in order
 * when packets get there; else it stays half-open until something new comes. said: a last record
 * says that it is on purpose.
 */
static void
dialer_closes(unsigned a, unsigned b, unsigned path, int fin, int said)
{
	struct tcp *t = &w.tcp[a][b][path];
	int64_t at = w.now_us + delay_us();

	if (at <= t->ready_us[RESPONDER])
		at = t->ready_us[RESPONDER] + 1;
	if (t->state == L_UP && t->open[RESPONDER] && t->told[RESPONDER] && fin &&
	    path_open(a, b, path) && t->n_held[DIALER] == 0)
		link_tell(b, a, path, LINK_IN, LINK_LOST, said ? CLOSE_LOCAL : CLOSE_FIN, at);
	link_reset(t);
}

/* The responder closes: the dialer gets a FIN, or a RST when it sends the next time. */
static void
responder_closes(unsigned a, unsigned b, unsigned path, int fin)
{
	struct tcp *t = &w.tcp[a][b][path];
	int64_t at = w.now_us + delay_us();
	struct event *e;

	if (at <= t->ready_us[DIALER])
		at = t->ready_us[DIALER] + 1;
	if (t->open[DIALER] && fin && path_open(a, b, path) && t->n_held[RESPONDER] == 0) {
		e = event_at(at, EV_FIN, a);
		e->b = (uint8_t)b;
		e->path = (uint8_t)path;
		e->side = DIALER;
		e->gen = t->gen;
	}
	t->open[RESPONDER] = t->told[RESPONDER] = 0;
	t->n_held[RESPONDER] = 0;
}

/* Everything that server a has open ends with its process (fin) or its host. */
void
net_close_all(unsigned a, int fin)
{
	for (unsigned b = 0; b < w.n; b++)
		for (unsigned p = 0; p < w.n_paths && b != a; p++) {
			dialer_closes(a, b, p, fin, 0);
			if (w.tcp[b][a][p].state == L_UP)
				responder_closes(b, a, p, fin);
		}
}

/* roled closes its outbound links to b (those that are silent) and dials anew. */
void
net_close_out(unsigned a, unsigned b, int silent_only)
{
	if (w.kind[a] == KIND_DMZ || !w.server[a].netd)
		return;
	for (unsigned p = 0; p < w.n_paths; p++) {
		struct tcp *t = &w.tcp[a][b][p];

		if (t->state == L_UP && t->open[DIALER] && silent_only &&
		    w.now_us - t->heard_us[DIALER] < 2 * status_us())
			continue;
		if (t->state == L_UP) {
			int told = t->told[DIALER];

			dialer_closes(a, b, p, 1, 1);
			if (told)
				link_tell(a, b, p, LINK_OUT, LINK_LOST, CLOSE_LOCAL, w.now_us);
		}
		t->failures = 0;
		if (t->state == L_DOWN) {
			t->dialing = 0;
			t->gen++;
			dial_later(a, b, p, 0);
		}
	}
}

void
net_dial_all(unsigned a)
{
	for (unsigned b = 0; b < w.n; b++)
		for (unsigned p = 0; p < w.n_paths; p++)
			if (b != a && w.kind[a] != KIND_DMZ && w.tcp[a][b][p].state == L_DOWN) {
				w.tcp[a][b][p].failures = 0;
				dial_later(a, b, p, 0);
			}
}

/* What the kernel and the firewall over there answer to a SYN. */
static void
dial(struct event *e)
{
	unsigned a = e->a, b = e->b, p = e->path;
	struct tcp *t = &w.tcp[a][b][p];
	struct server *to = &w.server[b];
	int64_t at = w.now_us + 2 * delay_us();
	struct event *o;

	if (e->gen != t->gen)
		return;
	t->dialing = 0;
	if (t->state != L_DOWN || !server_runs(a) || !w.server[a].netd)
		return;
	t->state = L_SYN;
	t->gen++;
	o = event_at(at, EV_SYN, a);
	if (!path_open(a, b, p) || !to->host || to->frozen == 2 || w.port[a][b][p] == BLOCK_DROP) {
		o->value = CLOSE_TIMEOUT;
		/* a dial that nobody answers ends by its time-out */
		o->what = 1;
	} else if (w.port[a][b][p] == BLOCK_REJECT || !to->guard) {
		o->value = CLOSE_REFUSED;
	} else {
		o->value = CLOSE_MAX; /* connected */
	}
	o->b = (uint8_t)b;
	o->path = (uint8_t)p;
	o->gen = t->gen;
}

static void
syn_outcome(struct event *e)
{
	unsigned a = e->a, b = e->b, p = e->path;
	struct tcp *t = &w.tcp[a][b][p];
	struct event *o;

	if (e->gen != t->gen || t->state != L_SYN)
		return;
	if (e->what == 1) {
		o = event_at(w.now_us + SEC, EV_SYN, a);
		o->b = e->b;
		o->path = e->path;
		o->gen = e->gen;
		o->value = e->value;
		return;
	}
	if (e->value != CLOSE_MAX) {
		t->state = L_DOWN;
		link_tell(a, b, p, LINK_OUT, LINK_DIAL_FAILED, (unsigned)e->value, w.now_us);
		dial_later(a, b, p, back_off_us(t));
		return;
	}
	t->state = L_SHAKE;
	link_tell(a, b, p, LINK_OUT, LINK_DIAL_CONNECTED, 0, w.now_us);
	o = event_at(w.now_us + 2 * delay_us() + 300, EV_SHAKE, a);
	o->b = e->b;
	o->path = e->path;
	o->gen = e->gen;
}

/*
 * The handshake needs netd and roled over there; without them it is silent, without a guard it
 * ends.
 */
static void
shake_outcome(struct event *e)
{
	unsigned a = e->a, b = e->b, p = e->path;
	struct tcp *t = &w.tcp[a][b][p];
	struct server *to = &w.server[b];
	struct event *o;

	if (e->gen != t->gen || t->state != L_SHAKE)
		return;
	if (e->what == 0 && port_open(a, b, p) && to->guard && to->roled && to->netd &&
	    !to->frozen && to->host) {
		t->state = L_UP;
		t->open[DIALER] = t->open[RESPONDER] = 1;
		t->told[DIALER] = 1;
		t->heard_us[0] = t->heard_us[1] = w.now_us;
		t->failures = 0;
		link_tell(a, b, p, LINK_OUT, LINK_UP, 0, w.now_us);
		return;
	}
	if (e->what == 0 && to->host && !to->guard && path_open(a, b, p)) {
		t->state = L_DOWN;
		link_tell(a, b, p, LINK_OUT, LINK_HANDSHAKE_FAILED, CLOSE_FIN, w.now_us);
		dial_later(a, b, p, 2 * MS);
		return;
	}
	if (e->what == 0) { /* silence until the time-out */
		o = event_at(w.now_us + 2 * SEC, EV_SHAKE, a);
		o->b = e->b;
		o->path = e->path;
		o->gen = e->gen;
		o->what = 1;
		return;
	}
	t->state = L_DOWN;
	link_tell(a, b, p, LINK_OUT, LINK_HANDSHAKE_TIMEOUT, CLOSE_TIMEOUT, w.now_us);
	dial_later(a, b, p, back_off_us(t));
}

/* ---- records on a link */

static void
deliver(unsigned a, unsigned b, unsigned p, unsigned from_side, const struct status_record *r)
{
	struct tcp *t = &w.tcp[a][b][p];
	int64_t at = w.now_us + delay_us();
	struct event *e;

	if (at <= t->ready_us[!from_side])
		at = t->ready_us[!from_side] + 1;
	t->ready_us[!from_side] = at;
	e = event_at(at, EV_RECORD, at_side(a, b, !from_side));
	e->b = (uint8_t)at_side(a, b, from_side);
	e->path = (uint8_t)p;
	e->side = (uint8_t)!from_side;
	e->gen = t->gen;
	e->record = *r;
}

/* Nobody is at the other end any more: its kernel says so when it can. */
static void
refuse_record(unsigned a, unsigned b, unsigned p, unsigned from_side)
{
	struct event *e;

	e = event_at(w.now_us + 2 * delay_us(), EV_FIN, at_side(a, b, from_side));
	e->b = (uint8_t)at_side(a, b, !from_side);
	e->path = (uint8_t)p;
	e->side = (uint8_t)from_side;
	e->gen = w.tcp[a][b][p].gen;
	e->value = 1; /* RST */
}

static void
hold(unsigned a, unsigned b, unsigned p, unsigned from_side, const struct status_record *r)
{
	struct tcp *t = &w.tcp[a][b][p];
	struct event *e;

	if (t->n_held[from_side] < HELD)
		t->held[from_side][t->n_held[from_side]++] = *r;
	if (t->retrying[from_side])
		return;
	t->retrying[from_side] = 1;
	e = event_at(w.now_us + rnd_between(30, 300) * MS, EV_RETRY, at_side(a, b, from_side));
	e->b = (uint8_t)at_side(a, b, !from_side);
	e->path = (uint8_t)p;
	e->side = (uint8_t)from_side;
	e->gen = t->gen;
}

static void
send_on(unsigned a, unsigned b, unsigned p, unsigned side, const struct status_record *r)
{
	struct tcp *t = &w.tcp[a][b][p];
	unsigned from = at_side(a, b, side), to = at_side(a, b, !side);

	if (t->state != L_UP || !t->open[side])
		return;
	if (t->n_held[side] > 0 || !path_open(from, to, p) || w.port[a][b][p] == BLOCK_DROP ||
	    w.server[to].frozen == 2 || !w.server[to].host || rnd_chance(w.loss)) {
		hold(a, b, p, side, r);
		return;
	}
	if (w.port[a][b][p] == BLOCK_REJECT || !t->open[!side]) {
		refuse_record(a, b, p, side);
		return;
	}
	deliver(a, b, p, side, r);
}

void
net_send(unsigned from, unsigned to, const struct status_record *r)
{
	for (unsigned p = 0; p < w.n_paths; p++) {
		send_on(from, to, p, DIALER, r);
		send_on(to, from, p, RESPONDER, r);
	}
}

/* A retransmission: everything that waited goes out together, or waits longer. */
static void
retry(struct event *e)
{
	unsigned a = e->side == DIALER ? e->a : e->b, b = e->side == DIALER ? e->b : e->a;
	struct tcp *t = &w.tcp[a][b][e->path];
	unsigned n = t->n_held[e->side];
	struct event *o;

	if (e->gen != t->gen || t->state != L_UP || !t->open[e->side])
		return;
	if (!path_open(a, b, e->path) || w.port[a][b][e->path] == BLOCK_DROP ||
	    !w.server[e->b].host || w.server[e->b].frozen == 2 || rnd_chance(w.loss)) {
		o = event_at(w.now_us + rnd_between(200, 1500) * MS, EV_RETRY, e->a);
		o->b = e->b;
		o->path = e->path;
		o->side = e->side;
		o->gen = e->gen;
		return;
	}
	t->retrying[e->side] = 0;
	t->n_held[e->side] = 0;
	if (!t->open[!e->side] || w.port[a][b][e->path] == BLOCK_REJECT) {
		refuse_record(a, b, e->path, e->side);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		deliver(a, b, e->path, e->side, &t->held[e->side][i]);
}

static void
record_arrives(struct event *e)
{
	unsigned a = e->side == DIALER ? e->a : e->b, b = e->side == DIALER ? e->b : e->a;
	struct tcp *t = &w.tcp[a][b][e->path];
	struct machine_input in = {.kind = IN_RECORD};

	if (e->gen != t->gen || !t->open[e->side])
		return;
	if (!server_runs(e->a))
		return;
	t->heard_us[e->side] = w.now_us;
	if (!t->told[e->side]) {
		struct machine_input up = {.kind = IN_LINK};

		t->told[e->side] = 1;
		up.u.link.partner = e->b;
		up.u.link.path = e->path;
		up.u.link.direction = e->side == DIALER ? LINK_OUT : LINK_IN;
		up.u.link.event = LINK_UP;
		server_input(e->a, &up);
	}
	in.u.status.partner = e->b;
	in.u.status.path = e->path;
	in.u.status.direction = e->side == DIALER ? LINK_OUT : LINK_IN;
	in.u.status.record = e->record;
	server_input(e->a, &in);
}

static void
link_event(struct event *e)
{
	struct machine_input in = {.kind = IN_LINK};

	in.u.link.partner = e->b;
	in.u.link.path = e->path;
	in.u.link.direction = e->side;
	in.u.link.event = e->what;
	in.u.link.cause = (uint8_t)e->value;
	server_input(e->a, &in);
}

void
net_event(struct event *e)
{
	switch (e->kind) {
	case EV_RECORD:
		record_arrives(e);
		break;
	case EV_RETRY:
		retry(e);
		break;
	case EV_LINK:
		link_event(e);
		break;
	case EV_FIN: {
		unsigned a = e->side == DIALER ? e->a : e->b, b = e->side == DIALER ? e->b : e->a;

		if (e->gen == w.tcp[a][b][e->path].gen && w.tcp[a][b][e->path].open[e->side])
			link_ends(a, b, e->path, e->side, e->value ? CLOSE_RESET : CLOSE_FIN);
		break;
	}
	case EV_DIAL:
		dial(e);
		break;
	case EV_SYN:
		syn_outcome(e);
		break;
	case EV_SHAKE:
		shake_outcome(e);
		break;
	default:
		break;
	}
}

/* ---- ping */

static void
ping_one(unsigned a, enum target_kind kind, unsigned index, unsigned path, int answers)
{
	struct event *e;

	if (!answers || rnd_chance(w.loss) || rnd_chance(w.loss))
		return;
	e = event_at(w.now_us + 2 * delay_us(), EV_PONG, a);
	e->what = (uint8_t)kind;
	e->b = (uint8_t)index;
	e->path = (uint8_t)path;
}

static void
ping_round(unsigned a)
{
	for (unsigned b = 0; b < w.n; b++)
		for (unsigned p = 0; p < w.n_paths && b != a; p++)
			ping_one(a, TARGET_PARTNER, b, p,
			    path_open(a, b, p) && w.server[b].host && w.server[b].frozen != 2 &&
				!w.icmp_cut[a][b]);
	for (unsigned r = 0; r < w.n_refs; r++)
		ping_one(a, TARGET_REFERENCE, r, 0, !w.ref_cut[a][r]);
}

void
ping_event(struct event *e)
{
	struct server *s = &w.server[e->a];
	struct machine_input in = {.kind = IN_ICMP};

	if (e->kind == EV_PING) {
		event_at(w.now_us + s->config.icmp_interval_ms * MS, EV_PING, e->a);
		if (server_runs(e->a) && s->icmpd && w.kind[e->a] != KIND_DMZ)
			ping_round(e->a);
		return;
	}
	if (!s->icmpd || !server_runs(e->a))
		return;
	in.u.icmp.kind = e->what;
	in.u.icmp.index = e->b;
	in.u.icmp.path = e->path;
	in.u.icmp.state = PROBE_OK;
	in.u.icmp.last_ok_ms = server_ms(e->a);
	server_input(e->a, &in);
}
