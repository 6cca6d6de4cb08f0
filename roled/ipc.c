/* SPDX-License-Identifier: ISC */
/*
 * Messages of the other processes of this server. Whatever they say is checked before it counts.
 */
#include "config.h"

#include "roled.h"

#include <stdio.h>
#include <string.h>

#include "lib/linkmsg.h"
#include "lib/log.h"
#include "lib/loop.h"

enum {
	PROBE_BYTES = 27,
	DATA_AGAIN_MS = 1000, /* what syncd is told is said again: it may have had another config */
	NETD_DEAF_MS = 2000,  /* as long as its supervisor waits for an answer */
};

/* ---- to netd and keyd */

static void
send_open(struct links *l, uint32_t token, uint8_t server, uint8_t path, int fd)
{
	(void)l;
	linkmsg_open(&roled.netd, token, server, path, LINK_STATUS, fd);
}

static void
send_take(struct links *l, uint32_t token, int fd)
{
	(void)l;
	linkmsg_take(&roled.netd, token, fd);
}

static void
send_drop(struct links *l, uint32_t token)
{
	(void)l;
	linkmsg_drop(&roled.netd, token);
}

static void
send_dh(struct links *l, uint32_t cookie, const uint8_t public_key[NOISE_KEY])
{
	(void)l;
	linkmsg_ask_dh(&roled.keyd, cookie, public_key);
}

static void
link_event(struct links *l, const struct machine_link *event)
{
	(void)l;
	input_link(event);
}

static void
link_record(
    struct links *l, uint8_t server, uint8_t path, uint8_t direction, const struct status_record *r)
{
	(void)l;
	input_record(server, path, direction, r);
}

const struct links_ops ipc_links_ops = {
    .open = send_open,
    .take = send_take,
    .drop = send_drop,
    .ask_dh = send_dh,
    .event = link_event,
    .record = link_record,
};

/* ---- to syncd */

/* A server is heard when it is not silent by the rules of the machine. */
static int
main_is_heard(const struct machine *m)
{
	if (m->role == ROLE_MAIN)
		return 1;
	return m->main < m->config.n_servers &&
	       (m->partner[m->main].verdict == VERDICT_HEALTHY ||
		   m->partner[m->main].verdict == VERDICT_ICMP_BLOCKED);
}

static uint8_t
data_role_of(const struct machine *m)
{
	switch (m->role) {
	case ROLE_MAIN:
		return DATA_MAIN;
	case ROLE_DMZ:
		return DATA_DMZ;
	default:
		return DATA_STANDBY;
	}
}

void
tell_data_role(void)
{
	const struct machine *m = &roled.machine;
	uint8_t role = data_role_of(m), flags = 0;
	uint8_t main = m->role == ROLE_MAIN ? m->config.self : m->main;
	int64_t now = now_ms();
	static struct msg msg;

	if (main_is_heard(m))
		flags |= DATA_MAIN_HEARD;
	if (m->persisted.position_index > 0)
		flags |= DATA_HAD_DATA;
	if (roled.syncd.fd < 0 ||
	    (roled.data_told && now < roled.data_told_ms + DATA_AGAIN_MS &&
		role == roled.data_role && main == roled.data_main && flags == roled.data_flags &&
		m->persisted.epoch == roled.data_epoch))
		return;
	roled.data_role = role;
	roled.data_main = main;
	roled.data_flags = flags;
	roled.data_epoch = m->persisted.epoch;
	roled.data_told = 1;
	roled.data_told_ms = now;
	msg_begin(&msg, MSG_DATA_ROLE);
	msg_put_u8(&msg, role);
	msg_put_u8(&msg, main);
	msg_put_u8(&msg, flags);
	msg_put_u64(&msg, m->persisted.epoch);
	(void)channel_send(&roled.syncd, &msg);
}

void
ask_drain(uint8_t server)
{
	static struct msg msg;

	msg_begin(&msg, MSG_DATA_DRAIN);
	msg_put_u64(&msg, ++roled.drain_cookie);
	msg_put_u8(&msg, server);
	channel_permit(&roled.syncd, MSG_DATA_DRAINED);
	(void)channel_send(&roled.syncd, &msg);
}

void
ask_init(uint64_t cookie, uint8_t replace)
{
	static struct msg msg;

	msg_begin(&msg, MSG_DATA_INIT);
	msg_put_u64(&msg, cookie);
	msg_put_u8(&msg, replace);
	channel_permit(&roled.syncd, MSG_DATA_RESULT);
	(void)channel_send(&roled.syncd, &msg);
}

void
ask_figures(uint64_t cookie)
{
	static struct msg msg;

	msg_begin(&msg, MSG_DATA_ASK);
	msg_put_u64(&msg, cookie);
	channel_permit(&roled.syncd, MSG_DATA_RESULT);
	(void)channel_send(&roled.syncd, &msg);
}

/* ---- to the supervisor */

void
ask_action(enum action action, uint8_t index, uint8_t rule, uint8_t peer, uint64_t epoch,
    uint64_t event, uint64_t entry)
{
	static struct msg m;

	if (roled.orphaned)
		return;
	if (action == ACTION_HOOK || action == ACTION_HOOK_TEST) {
		roled.asked[roled.next_asked].event = event;
		roled.asked[roled.next_asked].hook = index;
		roled.next_asked = (roled.next_asked + 1) % ASKED_HOOKS;
	}
	msg_begin(&m, MSG_ACTION);
	msg_put_u8(&m, (uint8_t)action);
	msg_put_u8(&m, index);
	msg_put_u8(&m, rule);
	msg_put_u8(&m, peer);
	msg_put_u32(&m, (uint32_t)entry);
	msg_put_u64(&m, epoch);
	msg_put_u64(&m, event);
	(void)channel_send(&roled.child.control, &m);
}

/* ---- netd */

int64_t
ipc_watch_netd(int64_t now)
{
	const struct conf_general *g = &child_conf(&roled.child)->general;
	/* half of the time after which a partner counts as silent, so that this is known before */
	int64_t limit_ms = g->status_interval_ms * g->status_misses / 2;
	struct msg m;

	if (roled.netd.fd < 0 || roled.orphaned)
		return INT64_MAX;
	if (roled.net_deaf && now < roled.net_deaf_ms + NETD_DEAF_MS)
		return roled.net_deaf_ms + NETD_DEAF_MS;
	if (roled.net_deaf) { /* it lives for its supervisor, but not for us */
		roled.netd.violation = V_QUEUE;
		child_edge_lost(&roled.child, &roled.netd);
		return INT64_MAX;
	}
	if (roled.net_ping_ms == 0 && now >= roled.net_next_ms) {
		channel_permit(&roled.netd, MSG_NET_PONG);
		msg_begin(&m, MSG_NET_PING);
		(void)channel_send(&roled.netd, &m);
		roled.net_ping_ms = now;
		roled.net_next_ms = now + g->status_interval_ms;
	}
	if (roled.net_ping_ms == 0)
		return INT64_MAX; /* the next turn is soon: status records are due by then */
	if (now < roled.net_ping_ms + limit_ms)
		return roled.net_ping_ms + limit_ms;
	roled.net_deaf = 1;
	roled.net_deaf_ms = now;
	log_warn("netd does not answer: no partner can be heard until it does");
	input_local(PROC_NETD, 0);
	return now + NETD_DEAF_MS;
}

static int
on_net_pong(struct msg *m)
{
	if (msg_end(m) != 0)
		return -1;
	roled.net_ping_ms = 0;
	if (roled.net_deaf) {
		roled.net_deaf = 0;
		log_info("netd answers again");
		input_local(PROC_NETD, 1);
	}
	return 0;
}

static int
on_link_connected(struct msg *m)
{
	uint32_t token;

	if (linkmsg_get_connected(m, &token) != 0)
		return -1;
	links_connected(&roled.links, token);
	return 0;
}

static int
on_link_closed(struct msg *m)
{
	enum link_close cause;
	uint32_t token;

	if (linkmsg_get_closed(m, &token, &cause) != 0)
		return -1;
	links_closed(&roled.links, token, cause);
	return 0;
}

static int
on_link_in(struct msg *m)
{
	struct link_in in;

	if (linkmsg_get_in(m, &in) != 0)
		return -1;
	if (!roled.running || roled.orphaned || roled.stopped_sent || in.kind != LINK_STATUS) {
		if (in.kind != LINK_STATUS) /* nobody here serves it */
			roled.links.count[LINK_C_NOT_ALLOWED]++;
		send_drop(&roled.links, in.token);
		return 0;
	}
	links_incoming(&roled.links, in.token, &in.from, in.port, in.listener);
	return 0;
}

static int
on_net_counters(struct msg *m)
{
	uint64_t count[NET_COUNTER_MAX];

	for (size_t i = 0; i < NET_COUNTER_MAX; i++)
		count[i] = msg_get_u64(m);
	if (msg_end(m) != 0)
		return -1;
	memcpy(roled.net_count, count, sizeof(count));
	return 0;
}

static int
ipc_from_netd(struct channel *c, struct msg *m)
{
	(void)c;
	switch (m->type) {
	case MSG_LINK_CONNECTED:
		return on_link_connected(m);
	case MSG_LINK_CLOSED:
		return on_link_closed(m);
	case MSG_LINK_IN:
		return on_link_in(m);
	case MSG_NET_COUNTERS:
		return on_net_counters(m);
	case MSG_NET_PONG:
		return on_net_pong(m);
	default:
		return -1;
	}
}

/* ---- icmpd */

/* Is this target in the config in force? A report may be of the one before. */
static int
probe_is_known(const struct machine_icmp *p)
{
	const struct conf *c = child_conf(&roled.child);

	if (p->kind == TARGET_REFERENCE)
		return p->index < c->general.n_references;
	return p->index < c->general.n_servers && p->index != c->general.self &&
	       p->path < c->server[p->index].n_paths;
}

static int
ipc_from_icmpd(struct channel *c, struct msg *m)
{
	(void)c;
	if (m->type != MSG_ICMP_REPORT || msg_left(m) % PROBE_BYTES != 0)
		return -1;
	while (msg_left(m) > 0) {
		struct machine_icmp p = {0};
		uint8_t zero;

		p.kind = msg_get_u8(m);
		p.index = msg_get_u8(m);
		p.path = msg_get_u8(m);
		p.state = msg_get_u8(m);
		p.loss_permille = msg_get_u16(m);
		zero = msg_get_u8(m);
		p.rtt_us = msg_get_u32(m);
		p.last_ok_ms = msg_get_i64(m);
		(void)msg_get_u64(m); /* when it was last asked */
		if (p.kind >= TARGET_KIND_MAX || p.index >= CONF_SERVERS || p.path >= CONF_PATHS ||
		    p.state >= PROBE_STATE_MAX || p.loss_permille > 1000 || zero != 0 ||
		    p.last_ok_ms < 0 || p.last_ok_ms > now_ms())
			return -1;
		if (roled.running && probe_is_known(&p))
			input_icmp(&p);
	}
	return msg_end(m);
}

/* ---- syncd */

static int
on_data_position(struct msg *m)
{
	struct machine_position p = {0};
	uint8_t flags = msg_get_u8(m), zero = msg_get_u8(m);

	p.epoch = msg_get_u64(m);
	p.index = msg_get_u64(m);
	p.behind_items = msg_get_u64(m);
	p.behind_ms = msg_get_i64(m);
	if (msg_end(m) != 0 || (flags & ~DATA_FLAGS) != 0 || zero != 0 || p.behind_ms < 0 ||
	    p.epoch > INT64_MAX || p.index > INT64_MAX)
		return -1;
	p.in_sync = (flags & DATA_IN_SYNC) != 0;
	p.blank = (flags & DATA_BLANK) != 0;
	p.stale = (flags & DATA_STALE) != 0;
	input_position(&p);
	return 0;
}

static int
on_data_drained(struct msg *m)
{
	uint64_t cookie = msg_get_u64(m);

	if (msg_end(m) != 0)
		return -1;
	if (roled.running && cookie == roled.drain_cookie)
		input_drained();
	return 0;
}

/*
 * May what syncd says of the state of the data make one more entry now? A syncd in other hands
 * must not push the decisions out of the ledger, or call a hook for each message. What found no
 * room is still to be said, and is looked at again with syncd's next word, one interval later.
 */
static int
note_has_room(void)
{
	int64_t now = now_ms(), least = now - (int64_t)DATA_NOTES_BURST * DATA_NOTE_MS;

	if (roled.data_notes_ms < least)
		roled.data_notes_ms = least;
	if (roled.data_notes_ms + DATA_NOTE_MS > now) {
		if (!roled.data_notes_full)
			log_warn("syncd's state changes too often: %d entries in the ledger at "
				 "once, then one every %d s",
			    DATA_NOTES_BURST, DATA_NOTE_MS / 1000);
		roled.data_notes_full = 1;
		return 0;
	}
	roled.data_notes_full = 0;
	roled.data_notes_ms += DATA_NOTE_MS;
	return 1;
}

/* What an admin has to know of the data here: into the ledger when it begins and when it ends. */
static void
note_state(const struct ctl_data *d)
{
	char note[CTL_NOTE];

	if (d->trouble != roled.data_trouble && note_has_room()) {
		roled.data_trouble = d->trouble;
		if (d->trouble == DATA_WELL)
			outputs_note(RULE_DATA_TAKEN, NOBODY, "");
		else
			outputs_note_alarm(
			    d->trouble == DATA_DISK ? RULE_DATA_DISK : RULE_DATA_REFUSED);
	}
	if (d->sync_short != roled.data_sync_short && note_has_room()) {
		roled.data_sync_short = d->sync_short;
		if (d->sync_short)
			outputs_note_alarm(RULE_SYNC_SHORT);
		else
			outputs_note(RULE_SYNC_ENOUGH, NOBODY, "");
	}
	if (d->bundles > roled.data_bundles && note_has_room()) {
		roled.data_bundles = d->bundles;
		snprintf(note, sizeof(note), "There are %u.", d->bundles);
		outputs_note(RULE_BUNDLE_SAVED, NOBODY, note);
	} else if (d->bundles == 0 && roled.data_bundles > 0 && note_has_room()) {
		roled.data_bundles = 0;
		outputs_note(RULE_BUNDLE_NONE, NOBODY, "");
	} else if (d->bundles > 0 && d->bundles < roled.data_bundles) {
		roled.data_bundles = d->bundles;
	}
}

static int
on_data_state(struct msg *m)
{
	struct ctl_data d;

	if (ctl_get_data(m, &d) != 0)
		return -1;
	roled.data = d;
	roled.data.age_ms = now_ms();
	if (roled.running)
		note_state(&d);
	if (strcmp(d.role, "main") != 0) /* only main knows of its partners */
		memset(roled.data_short, 0, sizeof(roled.data_short));
	for (size_t i = 0; i < CONF_SERVERS; i++)
		roled.data_partner[i].state[0] = '\0';
	return 0;
}

/* A partner that the log does not reach back to any more, or soon: once into the ledger. */
static void
note_backlog(const struct ctl_data_partner *p)
{
	if (p->reaches_short == roled.data_short[p->server] || !note_has_room())
		return;
	roled.data_short[p->server] = p->reaches_short;
	outputs_note(p->reaches_short ? RULE_BACKLOG_SHORT : RULE_BACKLOG_ENOUGH, p->server, "");
}

static int
on_data_partner(struct msg *m)
{
	const struct conf *c = child_conf(&roled.child);
	struct ctl_data_partner p;

	if (ctl_get_data_partner(m, &p) != 0)
		return -1;
	roled.data_partner[p.server] = p;
	if (roled.running && p.server < c->general.n_servers)
		note_backlog(&p);
	return 0;
}

/* How an action ended, in words. */
static const char *
control_text(uint8_t end)
{
	static const char *const text[CONTROL_END_MAX] = {
	    [CONTROL_DONE] = "done",
	    [CONTROL_FAILED] = "failed",
	    [CONTROL_LATE] = "outcome unknown (no answer in time)",
	    [CONTROL_APP_GONE] = "outcome unknown (the app ended)",
	    [CONTROL_ROLE_GONE] = "outcome unknown (this server ceased to be main)",
	    [CONTROL_NO_APP] = "not executed (no app served it)",
	    [CONTROL_NO_TIME] = "not executed (no app had room in time)",
	    [CONTROL_NO_ROOM] = "not executed (too many waited)",
	    [CONTROL_NOT_MAIN] = "not executed (this server ceased to be main)",
	    [CONTROL_NOT_WANTED] = "not executed (who asked was gone)",
	};

	return text[end];
}

static int
on_data_action(struct msg *m)
{
	struct ctl_action a;
	char note[2 * CTL_NOTE], who[64] = "", app[64] = "", times[32] = "", most[16] = "";

	if (ctl_get_action(m, &a) != 0)
		return -1;
	if (a.times > 1) {
		snprintf(times, sizeof(times), " %u times", a.times);
		snprintf(most, sizeof(most), " at most");
	}
	if (a.pid != 0)
		snprintf(who, sizeof(who), " (pid %u)", a.pid);
	if (a.app_pid != 0)
		snprintf(app, sizeof(app), " by uid %u (pid %u)", a.app_uid, a.app_pid);
	if (strcmp(a.name, "*") == 0)
		snprintf(note, sizeof(note), "Several%s: %s, after %u ms%s.", times,
		    control_text(a.end), a.took_ms, most);
	else
		snprintf(note, sizeof(note), "%s%s, for uid %u%s on %s: %s%s, after %u ms%s.",
		    a.name, times, a.uid, who, a.server, control_text(a.end), app, a.took_ms, most);
	outputs_note(RULE_ACTION, NOBODY, note);
	return 0;
}

static int
on_data_result(struct msg *m)
{
	uint64_t cookie = msg_get_u64(m);
	uint8_t result = msg_get_u8(m);
	char text[CTL_NOTE];

	msg_get_text(m, text, sizeof(text));
	if (msg_end(m) != 0 || result >= CTL_RESULT_MAX)
		return -1;
	admin_data_result(cookie, (enum ctl_result)result, text);
	return 0;
}

static int
ipc_from_syncd(struct channel *c, struct msg *m)
{
	(void)c;
	switch (m->type) {
	case MSG_DATA_STATE:
		return on_data_state(m);
	case MSG_DATA_PARTNER:
		return on_data_partner(m);
	case MSG_DATA_RESULT:
		return on_data_result(m);
	case MSG_DATA_ACTION:
		return on_data_action(m);
	case MSG_DATA_POSITION:
		return on_data_position(m);
	case MSG_DATA_DRAINED:
		return on_data_drained(m);
	default:
		return -1;
	}
}

/* ---- keyd */

static int
on_key_public(struct msg *m)
{
	const struct conf *c = child_conf(&roled.child);

	msg_get_bytes(m, roled.public_status, sizeof(roled.public_status));
	msg_get_bytes(m, roled.public_data, sizeof(roled.public_data));
	if (msg_end(m) != 0)
		return -1;
	roled.public_known = 1;
	if (c != NULL &&
	    (memcmp(roled.public_status, c->server[c->general.self].key_status, 32) != 0 ||
		memcmp(roled.public_data, c->server[c->general.self].key_data, 32) != 0))
		log_error(
		    "the key of server %s in the config is not the one of this server: partners "
		    "will refuse its links; 'bulkheadctl key' prints the right one",
		    c->server[c->general.self].name);
	return 0;
}

static int
on_key_shared(struct msg *m)
{
	uint8_t ok, shared[NOISE_KEY];
	uint32_t cookie;

	if (linkmsg_get_shared(m, &cookie, &ok, shared) != 0)
		return -1;
	links_shared(&roled.links, cookie, ok ? shared : NULL);
	explicit_bzero(shared, sizeof(shared));
	return 0;
}

static int
ipc_from_keyd(struct channel *c, struct msg *m)
{
	(void)c;
	switch (m->type) {
	case MSG_KEY_PUBLIC:
		return on_key_public(m);
	case MSG_KEY_SHARED:
		return on_key_shared(m);
	default:
		return -1;
	}
}

/* ---- supervisor */

static int
on_self_info(struct msg *m)
{
	uint64_t instance = msg_get_u64(m);
	uint32_t generation = msg_get_u32(m);
	uint8_t degraded = msg_get_u8(m), obituary = msg_get_u8(m);

	if (msg_end(m) != 0)
		return -1;
	roled.instance = instance;
	roled.generation = generation;
	/* apart from those of the roled before, whose hooks may still run */
	roled.own_event = (uint64_t)(generation & 0xfffff) << 20;
	roled.degraded = degraded != 0;
	roled.obituary_allowed = obituary != 0;
	roled.introduced = 1;
	return 0;
}

/* "hook main", or "hook" when it was asked for before this roled started. */
static const char *
asked_hook(uint64_t event)
{
	for (size_t i = 0; i < ASKED_HOOKS; i++) {
		if (event != 0 && roled.asked[i].event == event)
			return hook_name(roled.asked[i].hook);
	}
	return "of an earlier run";
}

/* How a hook ended, for the ledger. */
static void
describe_hook(char note[CTL_NOTE], uint64_t event, enum action_result result, uint32_t code,
    uint32_t duration_ms)
{
	const char *name = asked_hook(event);

	switch (result) {
	case RESULT_OK:
		snprintf(note, CTL_NOTE, "Hook %s: well, after %u ms.", name, duration_ms);
		break;
	case RESULT_EXIT:
		snprintf(
		    note, CTL_NOTE, "Hook %s: exit code %u after %u ms.", name, code, duration_ms);
		break;
	case RESULT_SIGNAL:
		snprintf(
		    note, CTL_NOTE, "Hook %s: signal %u after %u ms.", name, code, duration_ms);
		break;
	case RESULT_TIMEOUT:
		snprintf(note, CTL_NOTE,
		    "Hook %s: time-out, killed with its process group after %u ms.", name,
		    duration_ms);
		break;
	default:
		snprintf(note, CTL_NOTE, "Hook %s: could not be started: %s.", name,
		    strerror((int)code));
		break;
	}
}

/* What the machine did not put into the ledger itself. */
static void
note_hook(enum action_result result)
{
	if (roled.hook_note[0] == '\0' || result == RESULT_NONE)
		return;
	outputs_note(
	    result == RESULT_OK ? RULE_HOOK_ENDED : RULE_HOOK_FAILED, NOBODY, roled.hook_note);
}

static int
on_action_result(struct msg *m)
{
	uint64_t event = msg_get_u64(m);
	uint8_t result = msg_get_u8(m);
	uint32_t code = msg_get_u32(m), duration_ms = msg_get_u32(m);

	if (msg_end(m) != 0 || result >= RESULT_MAX)
		return -1;
	if (!roled.running)
		return 0;
	describe_hook(roled.hook_note, event, (enum action_result)result, code, duration_ms);
	outputs_alarm_ended(event);
	if ((event & EVENT_OF_ROLED) != 0)
		admin_action_result(event, (enum action_result)result, code, duration_ms);
	else
		input_action_result(event, (enum action_result)result, code, duration_ms);
	note_hook((enum action_result)result);
	roled.hook_note[0] = '\0';
	return 0;
}

static int
on_check_state(struct msg *m)
{
	struct ctl_check k = {0};

	k.index = msg_get_u8(m);
	k.healthy = msg_get_u8(m);
	k.in_a_row = msg_get_u16(m);
	k.exit_code = msg_get_u32(m);
	k.known = 1;
	k.age_ms = now_ms();
	if (msg_end(m) != 0 || k.index >= CONF_CHECKS || k.healthy > 1)
		return -1;
	roled.checks[k.index] = k;
	if (roled.running && k.index < child_conf(&roled.child)->general.n_checks)
		input_check(k.index, k.healthy);
	return 0;
}

static int
on_process_state(struct msg *m)
{
	struct ctl_process p;

	if (ctl_get_process(m, &p) != 0)
		return -1;
	roled.process[p.process] = p;
	roled.process_known[p.process] = 1;
	return 0;
}

static int
on_reload_state(struct msg *m)
{
	uint64_t serial = msg_get_u64(m);
	int64_t when_ms = msg_get_i64(m);
	uint8_t result = msg_get_u8(m), process = msg_get_u8(m), zero = msg_get_u8(m);
	char text[CTL_TEXT];

	msg_get_text(m, text, sizeof(text));
	if (msg_end(m) != 0 || result >= RELOAD_RESULT_MAX || process >= PROC_MAX || zero != 0)
		return -1;
	roled.conf_serial = serial;
	roled.reload_result = result;
	roled.reload_ms = when_ms;
	snprintf(roled.reload_text, sizeof(roled.reload_text), "%.*s", CTL_NOTE - 1, text);
	admin_reloaded((enum reload_result)result, text);
	return 0;
}

static int
on_switchover(struct msg *m)
{
	struct machine_admin command = {.command = ADMIN_SWITCHOVER, .server = NOBODY};

	if (msg_end(m) != 0)
		return -1;
	if (roled.running)
		input_admin(&command);
	return 0;
}

static int
ipc_from_supervisor(struct child *ch, struct msg *m)
{
	(void)ch;
	switch (m->type) {
	case MSG_SELF_INFO:
		return on_self_info(m);
	case MSG_ACTION_RESULT:
		return on_action_result(m);
	case MSG_CHECK_STATE:
		return on_check_state(m);
	case MSG_PROCESS_STATE:
		return on_process_state(m);
	case MSG_RELOAD_STATE:
		return on_reload_state(m);
	case MSG_SWITCHOVER:
		return on_switchover(m);
	default:
		return -1;
	}
}

/* ---- life of the channels */

static void
on_edge_closed(struct channel *c)
{
	child_edge_lost(&roled.child, c);
}

static void
on_control_closed(struct channel *c)
{
	int exit_code = child_control_exit(&roled.child);

	if (c->violation != V_NONE) /* it lives and will start us again: no last words */
		roled_exit(exit_code);
	obituary_begin(exit_code);
}

static enum refusal
on_prepare(struct child *ch, const struct conf *new, uint8_t *index)
{
	const struct conf_server *me = &new->server[new->general.self];
	char error[CONF_ERROR_TEXT];

	*index = new->general.self;
	if (roled.unusable)
		return REFUSE_STATE_FILE;
	if (!roled.introduced)
		return REFUSE_CONFIG;
	if (conf_check_all(new, error, sizeof(error)) != 0) {
		log_error("config refused: %s", error);
		return REFUSE_CONFIG;
	}
	if (roled.public_known && (memcmp(me->key_status, roled.public_status, 32) != 0 ||
				      memcmp(me->key_data, roled.public_data, 32) != 0)) {
		log_error("config refused: the key of server %s is not the one of this server; "
			  "'bulkheadctl key' prints it",
		    me->name);
		return REFUSE_KEY;
	}
	if (roled.running)
		*index = input_dropped(new);
	if (roled.running && *index != NOBODY) {
		log_error(
		    "config refused: server %s runs, and would be main or become main without "
		    "this server knowing; stop bulkhead there first",
		    child_conf(ch)->server[*index].name);
		return REFUSE_RUNNING;
	}
	return REFUSE_NONE;
}

/* The config is in force: links first, so that the machine finds them in their new places. */
static void
on_commit(struct child *ch, const struct conf *old)
{
	const struct conf *c = child_conf(ch);
	int64_t now = now_ms();

	if (old == NULL) {
		links_configure(&roled.links, NULL, c);
		input_start(now);
		links_net_up(&roled.links);
		input_local(PROC_NETD, 1);
		input_local(PROC_ICMPD, 1);
	} else {
		roled.busy = 1; /* what the links say is told after the config */
		links_configure(&roled.links, old, c);
		roled.busy = 0;
		for (size_t i = 0; i < CONF_CHECKS; i++) {
			if (i >= c->general.n_checks ||
			    strcmp(c->check[i].name, old->check[i].name) != 0)
				memset(&roled.checks[i], 0, sizeof(roled.checks[i]));
		}
		input_config(c);
	}
	roled_wake_at(now);
}

static void
on_stop(struct child *ch, uint32_t ms)
{
	struct machine_admin command = {.command = ADMIN_STOP, .server = NOBODY, .ms = ms};

	(void)ch;
	roled.stopping = 1;
	if (roled.running)
		input_admin(&command);
	else
		roled_end_soon(0, now_ms());
}

static void
on_peer_down(struct child *ch, struct channel *c)
{
	(void)ch;
	loop_detach_channel(c);
	switch (c->peer) {
	case PROC_NETD:
		roled.net_ping_ms = 0;
		roled.net_deaf = 0;
		input_local(PROC_NETD, 0); /* first, so that the ends of the links prove nothing */
		links_net_down(&roled.links);
		break;
	case PROC_ICMPD:
		input_local(PROC_ICMPD, 0);
		break;
	case PROC_KEYD:
		links_key_down(&roled.links);
		break;
	case PROC_SYNCD:
		input_local(PROC_SYNCD, 0);
		admin_syncd_down();
		if (roled.running && !roled.stopping && roled.data_role == DATA_MAIN &&
		    roled.data.action_names > 0)
			outputs_note(RULE_ACTION_LOST, NOBODY, "");
		break;
	default:
		break;
	}
}

static void
on_peer_up(struct child *ch, struct channel *c)
{
	(void)ch;
	loop_attach_channel(&roled.loop, c, on_edge_closed);
	if (c->peer == PROC_NETD) {
		memset(roled.net_count, 0, sizeof(roled.net_count));
		input_local(PROC_NETD, 1);
		links_net_up(&roled.links);
		roled_wake_at(now_ms());
	} else if (c->peer == PROC_ICMPD) {
		input_local(PROC_ICMPD, 1);
	} else if (c->peer == PROC_KEYD) { /* what was asked while it was away went nowhere */
		links_key_down(&roled.links);
		roled_wake_at(now_ms());
	} else if (c->peer == PROC_SYNCD) {
		roled.data_told = 0;
		if (roled.running)
			tell_data_role();
	}
}

static void
on_dump(struct child *ch)
{
	const struct machine *m = &roled.machine;
	const struct conf *c = child_conf(ch);
	struct ctl_link l;

	if (!roled.running)
		return;
	log_info("role %s, %s, epoch %llu, reason %s", role_name(m->role),
	    condition_name(m->condition), (unsigned long long)m->persisted.epoch,
	    rule_name(m->why));
	for (size_t i = 0; i < c->general.n_servers; i++) {
		if (i != c->general.self)
			log_info("partner %s: %s, heard %lld ms ago", c->server[i].name,
			    verdict_name(m->partner[i].verdict),
			    m->partner[i].heard_ms > 0
				? (long long)(now_ms() - m->partner[i].heard_ms)
				: -1LL);
	}
	for (unsigned i = 0; links_describe(&roled.links, i, now_ms(), &l); i++)
		log_info("link %s %s path %u: %s, %u sessions", l.inbound ? "from" : "to",
		    c->server[l.server].name, l.path + 1U, l.state, l.sessions);
}

static const struct child_ops child_ops = {
    .on_prepare = on_prepare,
    .on_commit = on_commit,
    .on_stop = on_stop,
    .on_peer_down = on_peer_down,
    .on_peer_up = on_peer_up,
    .on_dump = on_dump,
    .on_other = ipc_from_supervisor,
};

void
ipc_init(void)
{
	struct child *ch = &roled.child;

	child_init(ch, PROC_ROLED, &child_ops, &roled);
	child_add_edge(ch, &roled.netd, PROC_NETD, ipc_from_netd, &roled);
	child_add_edge(ch, &roled.icmpd, PROC_ICMPD, ipc_from_icmpd, &roled);
	child_add_edge(ch, &roled.keyd, PROC_KEYD, ipc_from_keyd, &roled);
	child_add_edge(ch, &roled.syncd, PROC_SYNCD, ipc_from_syncd, &roled);
	loop_attach_channel(&roled.loop, &ch->control, on_control_closed);
	loop_attach_channel(&roled.loop, &roled.netd, on_edge_closed);
	loop_attach_channel(&roled.loop, &roled.icmpd, on_edge_closed);
	loop_attach_channel(&roled.loop, &roled.keyd, on_edge_closed);
	loop_attach_channel(&roled.loop, &roled.syncd, on_edge_closed);
}
