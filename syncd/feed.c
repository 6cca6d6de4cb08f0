/* SPDX-License-Identifier: ISC */
/*
 * As main: each partner gets the changes in order, from the log where it is behind, or a snapshot
 * where the log does not go back so far. A partner that does not read holds up nobody: its queue is
 * bounded (link_full), what it lacks is read from the log again when there is room.
 */
#include "config.h"

#include "syncd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/loop.h"

enum feed_state {
	FEED_DOWN,
	FEED_OFFERED, /* HAVE is awaited */
	FEED_PROBING, /* where do both logs part? FOUND is awaited */
	FEED_ASKED,   /* FROM is awaited */
	FEED_COPYING, /* a snapshot is under way */
	FEED_STREAMING,
};
static const char *const state_names[] = {
    "down", "handshake", "handshake", "snapshot", "snapshot", "online"};

/* One partner. It outlives its link, so that a snapshot can be gone on with. */
struct feed {
	struct data_link *link; /* NULL: down */
	enum feed_state state;
	uint64_t next;		   /* index of the change to be sent next */
	uint64_t applied, durable; /* acknowledged */
	uint64_t asked;		   /* an acknowledgement of all up to here is under way */
	uint64_t held;		   /* as far as we know it has that, also while it is away */
	uint8_t known;		   /* held is */
	uint8_t unpacks;	   /* what is compressed, it said */
	uint64_t low, high;	   /* probing: the same at low if that was seen, not at high + 1 */
	uint8_t low_seen;
	int64_t acked_ms, beat_ms;
	struct store_copy *copy;
	struct store_cursor cursor;
	int64_t copy_until_ms; /* without a link */
};

static struct feed feeds[CONF_SERVERS];
static struct change scratch;
static uint64_t drain_cookie;
static uint8_t drain_server = NO_SERVER; /* it has not everything yet */
static uint8_t leaving_to = NO_SERVER;	 /* the role goes there: no writes, its link stays up */
static uint64_t leaving_epoch;		 /* ours when it began to go */

static void feed_pump(struct feed *f);

static struct feed *
feed_of(const struct data_link *l)
{
	return &feeds[link_server(l)];
}

static const char *
partner_name(const struct feed *f)
{
	return child_conf(&syncd.child)->server[f - feeds].name;
}

static void
drop_copy(struct feed *f)
{
	if (f->copy != NULL)
		store_copy_close(f->copy);
	f->copy = NULL;
}

/* Compress for it, or not, as the config says. 0, or -1: its link had to end. */
static int
fit_packing(struct feed *f)
{
	int wanted = child_conf(&syncd.child)->server[f - feeds].data_compress;

	if (f->link == NULL)
		return 0;
	if (!wanted && f->link->packer != NULL) { /* a stream that has begun cannot stop */
		link_end(f->link, "it is not to be compressed any more");
		return -1;
	}
	if (wanted && f->unpacks && link_pack(f->link) != 0)
		log_warn("no memory to compress for %s: it is sent as it is", partner_name(f));
	return f->link != NULL ? 0 : -1;
}

/* ---- which links we want */

void
feed_role(void)
{
	const struct conf *c = child_conf(&syncd.child);

	if (syncd.main != NO_SERVER && syncd.main != c->general.self)
		leaving_to = drain_server = NO_SERVER; /* it has arrived */
	if (syncd.role == DATA_MAIN && syncd.epoch > leaving_epoch)
		leaving_to = drain_server = NO_SERVER; /* it has come back */
	for (uint8_t i = 0; i < CONF_SERVERS; i++) {
		int wanted = (syncd.role == DATA_MAIN || i == leaving_to) &&
			     i < c->general.n_servers && i != c->general.self;

		data_links_want(&syncd.links, i, LINK_SYNC, wanted);
		if (wanted)
			(void)fit_packing(&feeds[i]);
		if (!wanted) {
			drop_copy(&feeds[i]);
			memset(&feeds[i], 0, sizeof(feeds[i]));
		}
	}
}

void
feed_moved(const uint8_t moved[CONF_SERVERS])
{
	static struct feed before[CONF_SERVERS];

	memcpy(before, feeds, sizeof(before));
	memset(feeds, 0, sizeof(feeds));
	for (size_t i = 0; i < CONF_SERVERS; i++) {
		if (moved[i] != NO_SERVER)
			feeds[moved[i]] = before[i];
		else
			drop_copy(&before[i]);
	}
	/* the role cannot go to a server that is gone */
	if (drain_server != NO_SERVER)
		drain_server = moved[drain_server];
	if (leaving_to != NO_SERVER)
		leaving_to = moved[leaving_to];
}

/* ---- the beginning of a link */

static void
offer(struct feed *f)
{
	uint8_t out[WIRE_CONTROL_MAX];
	struct wire_offer o = {.epoch = syncd.epoch,
	    .end = store_end(syncd.store),
	    .start = log_start(store_log(syncd.store))};

	memcpy(o.id, store_id(syncd.store), STORE_ID);
	f->state = FEED_OFFERED;
	(void)link_put(f->link, WIRE_OFFER, (struct slice){out, wire_offer_encode(out, &o)},
	    (struct slice){NULL, 0});
}

void
feed_up(struct data_link *l)
{
	struct feed *f = feed_of(l);

	f->link = l;
	f->unpacks = 0;
	f->applied = f->durable = 0;
	f->acked_ms = f->beat_ms = now_ms();
	offer(f);
}

void
feed_down(struct data_link *l)
{
	struct feed *f = feed_of(l);

	if (f->link != l)
		return;
	f->link = NULL;
	f->state = FEED_DOWN;
	f->copy_until_ms = now_ms() + SNAPSHOT_KEPT_MS;
}

void
feed_again(void)
{
	for (size_t i = 0; i < CONF_SERVERS; i++) {
		if (feeds[i].link != NULL)
			offer(&feeds[i]);
	}
}

/* The changes behind that position follow. */
static void
stream_from(struct feed *f, const struct position *p)
{
	uint8_t out[WIRE_POSITION];

	f->state = FEED_STREAMING;
	f->next = p->index + 1;
	f->applied = f->durable = f->asked = f->held = p->index;
	f->known = 1;
	if (link_put(f->link, WIRE_STREAM, (struct slice){out, wire_position_encode(out, p)},
		(struct slice){NULL, 0}) == 0)
		feed_pump(f);
}

/*
 * A copy of everything first. One that was cut off is offered again: the partner has a part of it.
 */
static void
offer_snapshot(struct feed *f)
{
	struct wire_snapshot s = {.keys = store_count(syncd.store)};
	uint8_t out[WIRE_CONTROL_MAX];

	if (f->copy != NULL &&
	    store_copy_position(f->copy).index < log_start(store_log(syncd.store)).index)
		drop_copy(f); /* the log does not join it any more */
	if (f->copy == NULL)
		f->copy = store_copy_open(syncd.store);
	if (f->copy == NULL) {
		link_end(f->link, "a snapshot cannot be taken now");
		return;
	}
	s.at = store_copy_position(f->copy);
	memcpy(s.id, store_id(syncd.store), STORE_ID);
	f->state = FEED_ASKED;
	(void)link_put(f->link, WIRE_SNAPSHOT, (struct slice){out, wire_snapshot_encode(out, &s)},
	    (struct slice){NULL, 0});
}

static int
take_from(struct feed *f, struct slice body)
{
	struct position at;

	if (f->state != FEED_ASKED || wire_cursor_decode(body, &f->cursor) != 0)
		return -1;
	at = store_copy_position(f->copy);
	f->held = at.index; /* when it is through */
	f->known = 1;
	log_info("%s gets a snapshot of %llu keys at %llu/%llu%s", partner_name(f),
	    (unsigned long long)store_count(syncd.store), (unsigned long long)at.epoch,
	    (unsigned long long)at.index, f->cursor.len > 0 ? ", from where it was cut off" : "");
	f->state = FEED_COPYING;
	feed_pump(f);
	return 0;
}

/* ---- where two logs part: bisection over what is in ours */

/* The index that is asked for next: first whether our log goes back to what both have at all. */
static uint64_t
probed(const struct feed *f)
{
	return f->low_seen ? f->low + (f->high - f->low + 1) / 2 : f->low;
}

static void
probe(struct feed *f)
{
	uint8_t out[8];
	uint64_t middle = probed(f);

	f->state = FEED_PROBING;
	(void)link_put(f->link, WIRE_PROBE, (struct slice){out, wire_u64_encode(out, middle)},
	    (struct slice){NULL, 0});
}

static void
diverged(struct feed *f)
{
	struct position p = {0};
	uint8_t out[WIRE_POSITION];

	if (!f->low_seen || log_at(store_log(syncd.store), f->low, &p) != 1)
		memset(&p, 0, sizeof(p)); /* they parted before our log begins */
	log_warn("%s has changes that are not ours, behind %llu/%llu: it saves them as a "
		 "divergence bundle and follows",
	    partner_name(f), (unsigned long long)p.epoch, (unsigned long long)p.index);
	f->state = FEED_OFFERED;
	(void)link_put(f->link, WIRE_DIVERGED, (struct slice){out, wire_position_encode(out, &p)},
	    (struct slice){NULL, 0});
}

static int
take_found(struct feed *f, struct slice body)
{
	uint64_t middle = probed(f);
	struct position theirs, ours;
	uint8_t found;

	if (wire_found_decode(body, &found, &theirs) != 0 || f->state != FEED_PROBING)
		return -1;
	if (found && theirs.index == middle && log_at(store_log(syncd.store), middle, &ours) == 1 &&
	    ours.hash == theirs.hash) {
		f->low = middle;
		f->low_seen = 1;
	} else if (f->low_seen) {
		f->high = middle - 1;
	}
	if (!f->low_seen || f->low >= f->high)
		diverged(f);
	else
		probe(f);
	return 0;
}

/* The partner said what it has. */
static int
take_have(struct feed *f, struct slice body)
{
	struct log *log = store_log(syncd.store);
	struct wire_have_body have;
	struct position ours;
	struct position start = log_start(log), end = store_end(syncd.store);

	if (wire_have_decode(body, &have) != 0 || f->state != FEED_OFFERED)
		return -1;
	f->unpacks = (have.flags & HAVE_UNPACKS) != 0;
	if (fit_packing(f) != 0)
		return 0;
	if ((have.flags & (HAVE_BLANK | HAVE_NOTHING)) != 0) {
		offer_snapshot(f);
		return 0;
	}
	if (memcmp(have.id, store_id(syncd.store), STORE_ID) != 0) {
		log_error(
		    "%s has data of another group: it cannot follow; if its data may go, stop "
		    "it and move the folder data of its state directory away",
		    partner_name(f));
		link_end(f->link, "its data is of another group");
		return 0;
	}
	if (have.end.index < start.index) { /* the log does not go back so far */
		offer_snapshot(f);
		return 0;
	}
	if (have.end.index <= end.index && log_at(log, have.end.index, &ours) == 1 &&
	    ours.hash == have.end.hash) {
		stream_from(f, &ours);
		return 0;
	}
	f->low = start.index;
	f->high = have.end.index < end.index ? have.end.index : end.index;
	f->low_seen = start.index == 0; /* before the first change all are the same */
	if (f->low_seen && f->low >= f->high)
		diverged(f);
	else
		probe(f);
	return 0;
}

/* ---- the stream */

static int
put_change(struct feed *f, const struct position *at, struct slice body)
{
	uint8_t head[WIRE_POSITION];

	if (link_put(f->link, WIRE_CHANGE, (struct slice){head, wire_position_encode(head, at)},
		body) != 0)
		return -1;
	f->next = at->index + 1;
	return 0;
}

static void
pump_changes(struct feed *f)
{
	struct log *log = store_log(syncd.store);

	while (f->state == FEED_STREAMING && !link_full(f->link) && f->next <= log_end(log).index) {
		struct position at;
		struct slice body;
		int r = log_read(log, f->next, &at, &body);

		if (r < 0) {
			link_end(f->link, "the log cannot be read");
			return;
		}
		if (r == 0) {
			log_warn("%s is further behind than the log goes back: it gets a snapshot",
			    partner_name(f));
			offer_snapshot(f);
			return;
		}
		if (put_change(f, &at, body) != 0)
			return;
	}
}

static void
pump_copy(struct feed *f)
{
	uint8_t head[WIRE_CONTROL_MAX];

	while (f->state == FEED_COPYING && !link_full(f->link)) {
		int r;

		change_clear(&scratch);
		r = store_copy_next(f->copy, &f->cursor, ITEMS_MAX, &scratch);
		if (r < 0) {
			link_end(f->link, "the snapshot cannot be read");
			return;
		}
		if (r > 0) {
			if (link_put(f->link, WIRE_ITEMS,
				(struct slice){head, wire_cursor_encode(head, &f->cursor)},
				(struct slice){scratch.data, scratch.len}) != 0)
				return;
			continue;
		}
		if (link_put(f->link, WIRE_COMPLETE, (struct slice){NULL, 0},
			(struct slice){NULL, 0}) != 0)
			return;
		f->state = FEED_STREAMING;
		f->asked = store_copy_position(f->copy).index;
		f->next = f->asked + 1;
		drop_copy(f);
	}
}

static void
feed_pump(struct feed *f)
{
	if (f->link == NULL)
		return;
	if (f->state == FEED_COPYING)
		pump_copy(f);
	if (f->link != NULL && f->state == FEED_STREAMING)
		pump_changes(f);
}

void
feed_pump_all(void)
{
	for (size_t i = 0; i < CONF_SERVERS; i++)
		feed_pump(&feeds[i]);
}

/* Just made, so it need not be read again for those that are up to date. */
void
feed_changed(const struct position *at, struct slice body)
{
	for (size_t i = 0; i < CONF_SERVERS; i++) {
		struct feed *f = &feeds[i];

		if (f->link == NULL || f->state != FEED_STREAMING)
			continue;
		if (at->index < f->next) /* our disk did not take what it was sent before */
			link_end(f->link, "a change was taken back");
		else if (f->next == at->index && !link_full(f->link))
			(void)put_change(f, at, body);
	}
}

/* ---- acknowledgements */

static void
check_drained(void)
{
	struct position end = store_end(syncd.store);
	struct feed *f;

	if (drain_server == NO_SERVER)
		return;
	f = &feeds[drain_server];
	if (end.index == 0) { /* there is no data */
		drain_server = NO_SERVER;
		tell_drained(drain_cookie);
		return;
	}
	if (f->link == NULL || f->state != FEED_STREAMING || f->durable < end.index)
		return;
	log_info("%s has everything, up to %llu/%llu", partner_name(f),
	    (unsigned long long)end.epoch, (unsigned long long)end.index);
	drain_server = NO_SERVER;
	tell_drained(drain_cookie);
}

void
feed_drain(uint64_t cookie, uint8_t server)
{
	drain_cookie = cookie;
	drain_server = leaving_to = server;
	leaving_epoch = syncd.epoch;
	check_drained();
}

int
feed_leaving(void)
{
	return leaving_to != NO_SERVER;
}

static int
take_ack(struct feed *f, struct slice body)
{
	uint64_t applied, durable;

	if (wire_ack_decode(body, &applied, &durable) != 0)
		return -1;
	if (f->state != FEED_STREAMING)
		return 0; /* of what it had before, which need not be ours */
	if (applied > store_end(syncd.store).index)
		return -1;
	f->applied = applied;
	f->durable = f->held = durable;
	f->acked_ms = now_ms();
	check_drained();
	face_progress(&syncd.face);
	return 0;
}

int
feed_frame(struct data_link *l, uint8_t type, struct slice body)
{
	struct feed *f = feed_of(l);

	switch (type) {
	case WIRE_HAVE:
		return take_have(f, body);
	case WIRE_FOUND:
		return take_found(f, body);
	case WIRE_FROM:
		return take_from(f, body);
	case WIRE_ACK:
		return take_ack(f, body);
	default:
		return -1;
	}
}

static void
beat(struct feed *f)
{
	struct position end = store_end(syncd.store);
	uint8_t out[WIRE_POSITION];

	(void)link_put(f->link, WIRE_BEAT, (struct slice){out, wire_position_encode(out, &end)},
	    (struct slice){NULL, 0});
}

/*
 * A standby acknowledges at once behind a BEAT, else some times a second: an acknowledgement costs
 * four processes a wake-up, and with many writers in mode async nobody waits for one.
 */
void
feed_ask(void)
{
	const struct conf *c = child_conf(&syncd.child);

	if (syncd.role != DATA_MAIN && !feed_leaving())
		return;
	if (c->general.sync_mode != SYNC_SYNC && syncd.face.n_waiting == 0 &&
	    drain_server == NO_SERVER)
		return;
	for (size_t i = 0; i < CONF_SERVERS; i++) {
		struct feed *f = &feeds[i];

		if (f->link == NULL || f->state != FEED_STREAMING || f->asked + 1 >= f->next)
			continue;
		f->asked = f->next - 1;
		beat(f);
	}
}

/*
 * A partner that takes its snapshot slowly, or not at all, holds room in the file, and may take
 * what cannot be gone on from: then it begins anew.
 */
static void
check_copy(struct feed *f)
{
	const char *why = NULL;

	if (f->copy == NULL)
		return;
	if (store_copy_hurts(f->copy))
		why = "changes need the room that its snapshot holds";
	else if (store_copy_position(f->copy).index < log_start(store_log(syncd.store)).index)
		why = "the log does not join its snapshot any more";
	if (why == NULL)
		return;
	log_warn("%s takes its snapshot too slowly: %s", partner_name(f), why);
	if (f->link != NULL)
		link_end(f->link, why);
	drop_copy(f);
}

int64_t
feed_tick(int64_t now)
{
	const struct conf *c = child_conf(&syncd.child);
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < CONF_SERVERS; i++) {
		struct feed *f = &feeds[i];

		check_copy(f);
		if (f->link == NULL) {
			if (f->copy != NULL && now >= f->copy_until_ms)
				drop_copy(f);
			continue;
		}
		if (now >= f->beat_ms + c->general.status_interval_ms) {
			f->beat_ms = now;
			beat(f);
		}
		if (f->link != NULL && f->beat_ms + c->general.status_interval_ms < next)
			next = f->beat_ms + c->general.status_interval_ms;
	}
	return next;
}

/* ---- how many have it */

size_t
feed_count(const struct position *p, int on_disk)
{
	size_t n = 0;

	for (size_t i = 0; i < CONF_SERVERS; i++) {
		const struct feed *f = &feeds[i];

		n += f->link != NULL && f->state == FEED_STREAMING &&
		     (on_disk ? f->durable : f->applied) >= p->index;
	}
	return n;
}

/* Can the server take over? What only others have is lost for the group when main dies. */
static bool
may_take_over(size_t i)
{
	const struct conf *c = child_conf(&syncd.child);

	return i < c->general.n_servers && c->server[i].kind == KIND_STANDARD;
}

/* How far each standby that may take over has it on disk, the furthest first. Returns how many. */
static size_t
order_standbys(uint64_t best[CONF_SERVERS])
{
	size_t n = 0;

	for (size_t i = 0; i < CONF_SERVERS; i++) {
		size_t k;

		if (feeds[i].link == NULL || feeds[i].state != FEED_STREAMING || !may_take_over(i))
			continue;
		for (k = n++; k > 0 && best[k - 1] < feeds[i].durable; k--)
			best[k] = best[k - 1];
		best[k] = feeds[i].durable;
	}
	return n;
}

uint64_t
feed_released(void)
{
	const struct conf_general *g = &child_conf(&syncd.child)->general;
	uint64_t best[CONF_SERVERS];
	size_t n;

	if (g->sync_mode != SYNC_SYNC)
		return UINT64_MAX;
	n = order_standbys(best);
	return g->sync_standbys <= n ? best[g->sync_standbys - 1] : 0;
}

int
feed_enough(void)
{
	const struct conf_general *g = &child_conf(&syncd.child)->general;
	uint64_t best[CONF_SERVERS];

	return g->sync_mode != SYNC_SYNC || order_standbys(best) >= g->sync_standbys;
}

/* ---- what is shown */

/*
 * Changes that would be lost with this server: that no other has which may take over, or, where
 * none may, no other at all.
 */
uint64_t
feed_alone(void)
{
	uint64_t best = 0, end = store_durable(syncd.store).index;
	uint8_t self = child_conf(&syncd.child)->general.self;
	bool any = true;

	for (size_t i = 0; i < CONF_SERVERS; i++)
		any = any && (i == self || !may_take_over(i));
	for (size_t i = 0; i < CONF_SERVERS; i++) {
		if (feeds[i].durable > best && (any || may_take_over(i)))
			best = feeds[i].durable;
	}
	return end > best ? end - best : 0;
}

uint64_t
feed_needed(void)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < CONF_SERVERS; i++) {
		if (feeds[i].link != NULL && feeds[i].known && feeds[i].held < least)
			least = feeds[i].held;
	}
	return least;
}

void
feed_tell(int64_t now)
{
	const struct conf *c = child_conf(&syncd.child);
	uint64_t end = store_end(syncd.store).index;

	for (uint8_t i = 0; i < c->general.n_servers; i++) {
		const struct feed *f = &feeds[i];
		struct ctl_data_partner p = {
		    .server = i, .ack_age_ms = -1, .behind_ms = -1, .forecast_ms = -1};

		if (i == c->general.self)
			continue;
		snprintf(p.state, sizeof(p.state), "%s", state_names[f->state]);
		p.applied = f->applied;
		p.durable = f->durable;
		p.lag_changes = end > f->applied ? end - f->applied : 0;
		p.lag_bytes = log_bytes_behind(store_log(syncd.store), f->applied);
		if (f->acked_ms > 0)
			p.ack_age_ms = now - f->acked_ms;
		p.limit_bytes = (uint64_t)c->server[i].data_limit;
		if (f->known)
			reach_describe(&p, f->held, f->link != NULL, now);
		if (f->link != NULL) {
			p.sent_bytes = f->link->bytes_out;
			p.wire_bytes = f->link->wire_out;
			p.packed = f->link->packer != NULL;
		}
		tell_partner(&p);
	}
}

void
feed_describe(struct resp_out *text)
{
	struct log *log = store_log(syncd.store);
	uint64_t end = store_end(syncd.store).index;
	unsigned n = 0;
	char line[256];

	for (size_t i = 0; i < CONF_SERVERS; i++) {
		const struct feed *f = &feeds[i];
		int len;

		if (f->link == NULL)
			continue;
		len = snprintf(line, sizeof(line),
		    "slave%u:name=%s,state=%s,offset=%llu,durable=%llu,lag=%llu,lag_bytes=%llu\r\n",
		    n++, partner_name(f), state_names[f->state], (unsigned long long)f->applied,
		    (unsigned long long)f->durable,
		    (unsigned long long)(end > f->applied ? end - f->applied : 0),
		    (unsigned long long)log_bytes_behind(log, f->applied));
		if (len > 0 && (size_t)len < sizeof(line))
			resp_raw(text, line, (size_t)len);
	}
}
