/* SPDX-License-Identifier: ISC */
/*
 * As standby: main's changes are applied as they come, and go to the disk, all of one turn of the
 * loop together. They are acknowledged then when main asks (BEAT), else a little later. A snapshot
 * is loaded beside the data in use and replaces it at its end. What this server has and main has
 * not is saved before it goes.
 */
#include "config.h"

#include "syncd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bundle.h"
#include "lib/log.h"
#include "lib/loop.h"

enum {
	ACK_EVERY_MS = 10,
	/* bytes of bundles, in those of the log; a byte may be written as \xHH */
	BUNDLE_BACKLOGS = 4,
};

enum follow_state {
	FOLLOW_NONE,	/* no link of main, or it has said nothing yet */
	FOLLOW_IDLE,	/* main has no data, and we have none */
	FOLLOW_OFFERED, /* we have said what we have */
	FOLLOW_LOADING, /* a snapshot */
	FOLLOW_STREAMING,
};

static struct {
	enum follow_state state;
	struct data_link *link;
	struct position main_end;   /* as main said last */
	struct position main_start; /* of its log, when it offered */
	int64_t heard_ms;
	uint8_t dirty; /* something was applied and is not on disk, or main asked */
	uint8_t asked; /* main waits for an acknowledgement */
	uint8_t owes;  /* there is something to acknowledge */
	int64_t acked_ms;
	uint8_t nothing;  /* what we have cannot be followed on */
	uint8_t diverged; /* what main has not cannot be saved: it is not followed */
	struct position loading;
	uint8_t id[STORE_ID]; /* of main's data */
} follow;

static int
is_zero(const uint8_t id[STORE_ID])
{
	static const uint8_t zero[STORE_ID];

	return memcmp(id, zero, STORE_ID) == 0;
}

int
follow_allowed(uint8_t server)
{
	const struct conf *c = child_conf(&syncd.child);

	return syncd.role != DATA_MAIN && c->server[server].kind == KIND_STANDARD &&
	       (syncd.main == server || syncd.main == NO_SERVER);
}

void
follow_role(void)
{
	if (follow.link != NULL && !follow_allowed(link_server(follow.link)))
		link_end(follow.link, "that server is not main");
}

void
follow_up(struct data_link *l)
{
	if (follow.link != NULL && follow.link != l)
		link_end(follow.link, "another server is main now");
	follow.link = l;
	follow.state = FOLLOW_NONE;
	follow.heard_ms = now_ms();
}

void
follow_down(struct data_link *l)
{
	if (follow.link != l)
		return;
	follow.link = NULL;
	follow.state = FOLLOW_NONE;
	position_report(now_ms());
}

int
follow_streams(struct position *main_end, int64_t *heard_ms)
{
	*main_end = follow.main_end;
	*heard_ms = follow.heard_ms;
	return follow.state == FOLLOW_STREAMING;
}

/* ---- the beginning */

static void
send_have(void)
{
	struct wire_have_body h = {.flags = HAVE_UNPACKS, .end = store_end(syncd.store)};
	uint8_t out[WIRE_CONTROL_MAX];

	memcpy(h.id, store_id(syncd.store), STORE_ID);
	if (is_zero(h.id))
		h.flags |= HAVE_BLANK;
	if (follow.nothing)
		h.flags |= HAVE_NOTHING;
	follow.state = FOLLOW_OFFERED;
	(void)link_put(follow.link, WIRE_HAVE, (struct slice){out, wire_have_encode(out, &h)},
	    (struct slice){NULL, 0});
}

static int
take_offer(struct data_link *l, struct slice body)
{
	const uint8_t *ours = store_id(syncd.store);
	struct wire_offer o;

	if (wire_offer_decode(body, &o) != 0)
		return -1;
	if (o.epoch < syncd.epoch) {
		link_end(l, "its epoch is older than the one that we know");
		return 0;
	}
	if (is_zero(o.id)) {
		if (is_zero(ours)) { /* nobody has data: nothing to follow, nothing missing */
			follow.state = FOLLOW_IDLE;
			position_in_sync();
		} else {
			log_error("%s is main and its data is blank, ours is not: it is not "
				  "followed; restore a snapshot there, or make this server main",
			    child_conf(&syncd.child)->server[link_server(l)].name);
			position_main_blank();
			link_end(l, "its data is blank, and ours is not");
		}
		return 0;
	}
	memcpy(follow.id, o.id, STORE_ID);
	follow.main_end = o.end;
	follow.main_start = o.start;
	if (!is_zero(ours) && memcmp(ours, o.id, STORE_ID) != 0) {
		log_error("the data of this server is of another group than that of main: it is "
			  "not followed; if ours may go, stop this server and move the folder data "
			  "of its state directory away");
		link_end(l, "its data is of another group");
		return 0;
	}
	send_have();
	return 0;
}

static int
take_probe(struct slice body)
{
	struct position at = {0};
	uint8_t out[1 + WIRE_POSITION];
	uint64_t index;

	if (wire_u64_decode(body, &index) != 0 || follow.state != FOLLOW_OFFERED)
		return -1;
	out[0] = log_at(store_log(syncd.store), index, &at) == 1;
	wire_position_encode(out + 1, &at);
	(void)link_put(
	    follow.link, WIRE_FOUND, (struct slice){out, sizeof(out)}, (struct slice){NULL, 0});
	return 0;
}

/* What we have behind `from`, as a bundle. 0, or -1: it cannot be saved, and must not go. */
static int
save_tail(const struct position *from, bool doubtful)
{
	uint64_t backlog = (uint64_t)child_conf(&syncd.child)->general.data_backlog;

	follow.diverged = bundle_save(syncd.store, from, doubtful, BUNDLE_BACKLOGS * backlog) < 0;
	return follow.diverged ? -1 : 0;
}

/* We have changes that main has not. They are saved, then we go back, or take a snapshot. */
static int
take_diverged(struct slice body)
{
	struct position common;

	if (wire_position_decode(body, &common) != 0 || follow.state != FOLLOW_OFFERED ||
	    follow.nothing) /* all was saved already, and main knows */
		return -1;
	if (save_tail(&common, common.index == 0) != 0) {
		link_end(follow.link, "our own changes cannot be saved");
		return 0;
	}
	if (common.index == 0 || store_truncate(syncd.store, &common) != 0)
		follow.nothing = 1;
	send_have();
	return 0;
}

static int
take_stream(struct slice body)
{
	struct position p, end = store_end(syncd.store);

	if (wire_position_decode(body, &p) != 0 || follow.state != FOLLOW_OFFERED ||
	    p.index != end.index || p.hash != end.hash)
		return -1;
	follow.diverged = 0;
	follow.state = FOLLOW_STREAMING;
	follow.dirty = follow.asked = 1;
	return 0;
}

/* ---- a snapshot */

/*
 * The log of main does not go back to what we have: are our changes in its history? Those of one
 * epoch were all made by one main, one behind the other, so they are when its log begins with a
 * later change of our newest epoch. Else nobody can tell, and they are saved before the snapshot
 * takes their place. 0, or -1: they cannot be.
 */
static int
save_doubtful(void)
{
	struct position end = store_end(syncd.store), all = {0};

	if (follow.state != FOLLOW_OFFERED || follow.nothing || end.index == 0 ||
	    end.epoch == follow.main_start.epoch)
		return 0;
	if (save_tail(&all, true) != 0)
		return -1;
	follow.nothing = 1;
	return 0;
}

static int
take_snapshot(struct slice body)
{
	struct wire_snapshot s;
	struct store_cursor cursor = {.len = 0};
	uint8_t out[WIRE_CONTROL_MAX];

	if (wire_snapshot_decode(body, &s) != 0 || memcmp(s.id, follow.id, STORE_ID) != 0 ||
	    (follow.state != FOLLOW_OFFERED && follow.state != FOLLOW_STREAMING))
		return -1;
	if (store_load_resume(syncd.store, &s.at, &cursor) != 1) {
		cursor.len = 0;
		if (save_doubtful() != 0) {
			link_end(follow.link, "our own changes cannot be saved");
			return 0;
		}
		if (store_load_begin(syncd.store, &s.at, s.id) != 0) {
			link_end(follow.link, "a snapshot cannot be stored here");
			return 0;
		}
	}
	log_info("loading a snapshot of %llu keys at %llu/%llu", (unsigned long long)s.keys,
	    (unsigned long long)s.at.epoch, (unsigned long long)s.at.index);
	follow.loading = s.at;
	follow.state = FOLLOW_LOADING;
	(void)link_put(follow.link, WIRE_FROM,
	    (struct slice){out, wire_cursor_encode(out, &cursor)}, (struct slice){NULL, 0});
	return 0;
}

static int
take_items(struct slice body)
{
	struct store_cursor cursor;
	struct slice items;

	if (wire_items_decode(body, &cursor, &items) != 0 || follow.state != FOLLOW_LOADING)
		return -1;
	if (store_load_items(syncd.store, items, &cursor) != 0) {
		if (errno == EPROTO || errno == EINVAL)
			return -1;
		link_end(follow.link, "a snapshot cannot be stored here");
	}
	return 0;
}

static int
take_complete(struct slice body)
{
	if (body.len != 0 || follow.state != FOLLOW_LOADING)
		return -1;
	if (store_load_end(syncd.store) != 0) {
		link_end(follow.link, "the snapshot cannot be put into place");
		return 0;
	}
	face_replaced(&syncd.face);
	log_info("the snapshot is in place, at %llu/%llu", (unsigned long long)follow.loading.epoch,
	    (unsigned long long)follow.loading.index);
	follow.nothing = follow.diverged = 0;
	follow.state = FOLLOW_STREAMING;
	follow.dirty = follow.asked = 1;
	return 0;
}

/* ---- the stream */

static int
take_change(struct slice body)
{
	struct position at;
	struct slice ops;

	if (wire_change_decode(body, &at, &ops) != 0)
		return -1;
	if (follow.state != FOLLOW_STREAMING)
		return -1;
	if (store_follow(syncd.store, &at, ops) != 0) {
		if (errno == EPROTO || errno == EINVAL)
			return -1;
		link_end(follow.link, "a change cannot be stored here");
		return 0;
	}
	face_changed(&syncd.face, ops);
	if (at.index > follow.main_end.index)
		follow.main_end = at;
	follow.dirty = 1;
	return 0;
}

static int
take_beat(struct slice body)
{
	struct position end;

	if (wire_position_decode(body, &end) != 0)
		return -1;
	follow.main_end = end;
	follow.asked = 1;
	follow.dirty = 1; /* what was behind is not any more, or is: both is news */
	return 0;
}

int
follow_frame(struct data_link *l, uint8_t type, struct slice body)
{
	if (follow.link != l)
		return -1;
	follow.heard_ms = now_ms();
	switch (type) {
	case WIRE_OFFER:
		return take_offer(l, body);
	case WIRE_PROBE:
		return take_probe(body);
	case WIRE_DIVERGED:
		return take_diverged(body);
	case WIRE_STREAM:
		return take_stream(body);
	case WIRE_SNAPSHOT:
		return take_snapshot(body);
	case WIRE_ITEMS:
		return take_items(body);
	case WIRE_COMPLETE:
		return take_complete(body);
	case WIRE_CHANGE:
		return take_change(body);
	case WIRE_BEAT:
		return take_beat(body);
	default:
		return -1;
	}
}

static int
acknowledge(int64_t now)
{
	uint8_t out[16];

	follow.acked_ms = now;
	follow.asked = follow.owes = 0;
	wire_u64_encode(out, store_end(syncd.store).index);
	wire_u64_encode(out + 8, store_durable(syncd.store).index);
	return link_put(
	    follow.link, WIRE_ACK, (struct slice){out, sizeof(out)}, (struct slice){NULL, 0});
}

/* What was applied goes to the disk, and is acknowledged if it is time for that. */
static void
settle(int64_t now)
{
	follow.dirty = 0;
	if (store_flush(syncd.store) != 0) {
		link_end(follow.link, "changes cannot be stored here");
		return;
	}
	follow.owes = 1;
	if ((follow.asked || now - follow.acked_ms >= ACK_EVERY_MS) && acknowledge(now) != 0)
		return;
	if (follow.state == FOLLOW_STREAMING &&
	    store_end(syncd.store).index >= follow.main_end.index)
		position_in_sync();
}

void
follow_checkpoint(void)
{
	if (follow.state == FOLLOW_STREAMING) /* a failure shows at the next flush */
		(void)store_checkpoint(syncd.store, false);
}

/* An acknowledgement once in a status interval at least: it shows that we live. */
static int64_t
acknowledge_due(void)
{
	if (follow.link == NULL || follow.state == FOLLOW_NONE)
		return INT64_MAX;
	return follow.acked_ms +
	       (follow.owes ? ACK_EVERY_MS : child_conf(&syncd.child)->general.status_interval_ms);
}

int64_t
follow_turn(int64_t now)
{
	if (now >= acknowledge_due())
		follow.dirty = follow.asked = 1;
	if (follow.dirty && follow.link != NULL && follow.state != FOLLOW_NONE)
		settle(now);
	return acknowledge_due();
}

/* ---- what is shown */

const char *
follow_state(void)
{
	static const char *const words[] = {"down", "no data", "handshake", "snapshot", "up"};

	return follow.diverged ? "diverged" : words[follow.state];
}

/* What a replica says in INFO replication, in the words of Redis. */
void
follow_describe(struct resp_out *text)
{
	const struct conf *c = child_conf(&syncd.child);
	char address[64], line[512];
	int64_t now = now_ms();
	uint64_t end = store_end(syncd.store).index;
	int n;

	if (syncd.main == NO_SERVER) {
		n = snprintf(line, sizeof(line), "master_link_status:down\r\n");
	} else {
		const struct conf_server *m = &c->server[syncd.main];

		n = snprintf(line, sizeof(line),
		    "master_name:%s\r\nmaster_host:%s\r\nmaster_port:%u\r\n"
		    "master_link_status:%s\r\nmaster_last_io_seconds_ago:%lld\r\n"
		    "master_sync_in_progress:%d\r\nslave_repl_offset:%llu\r\n"
		    "master_repl_offset_seen:%llu\r\nstaleness_ms:%lld\r\n",
		    m->name, conf_addr_text(&m->path[0], address, sizeof(address)), m->port,
		    follow.state == FOLLOW_STREAMING ? "up" : "down",
		    follow.heard_ms > 0 ? (long long)((now - follow.heard_ms) / 1000) : -1LL,
		    follow.state == FOLLOW_LOADING, (unsigned long long)end,
		    (unsigned long long)follow.main_end.index, (long long)position_staleness(now));
	}
	if (n > 0 && (size_t)n < sizeof(line))
		resp_raw(text, line, (size_t)n);
}

void
follow_role_answer(struct resp_out *answer)
{
	const struct conf *c = child_conf(&syncd.child);
	static const char *const states[] = {
	    "connect", "connected", "connecting", "sync", "connected"};
	char address[64] = "";
	uint16_t port = 0;

	if (syncd.main != NO_SERVER) {
		conf_addr_text(&c->server[syncd.main].path[0], address, sizeof(address));
		port = c->server[syncd.main].port;
	}
	resp_array(answer, 5);
	resp_text(answer, "slave");
	resp_text(answer, address);
	resp_int(answer, port);
	resp_text(answer, states[follow.state]);
	resp_int(answer, (int64_t)store_end(syncd.store).index);
}
