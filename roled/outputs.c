/* SPDX-License-Identifier: ISC */
/*
 * What the machine wants done, in its order.
 */
#include "config.h"

#include "roled.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "lib/loop.h"

static int64_t
wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static const char *
peer_name(uint8_t peer)
{
	const struct conf *c = child_conf(&roled.child);

	return peer < c->general.n_servers ? c->server[peer].name : "nobody";
}

/* The state is on disk before anything else of the step is done, or nothing of it is done. */
static void
run_persist(int durable, int64_t now)
{
	struct machine_persisted p;
	uint8_t content[STORE_CONTENT];
	size_t n;

	machine_persisted_now(&roled.machine, now, &p);
	n = persisted_encode(content, &p);
	if (n == 0 || store_write(&roled.store, content, n, durable) != 0)
		fatal("the role state cannot be written: %s; no role may be taken without it",
		    n == 0 ? "too long" : strerror(errno));
}

static void
log_entry(const struct ledger_entry *e, const char *note)
{
	char text[CTL_TEXT];
	const char *more = note[0] != '\0' ? " " : "";

	explain_rule(text, sizeof(text), e->rule, e->peer == NOBODY ? "" : peer_name(e->peer));
	switch (rule_severity(e->rule)) {
	case SEVERITY_ALARM:
		log_error("[%s] %s%s%s", rule_name(e->rule), text, more, note);
		break;
	case SEVERITY_WARNING:
		log_warn("[%s] %s%s%s", rule_name(e->rule), text, more, note);
		break;
	case SEVERITY_NOTICE:
		log_info("[%s] %s%s%s", rule_name(e->rule), text, more, note);
		break;
	default:
		log_debug("[%s] %s%s%s", rule_name(e->rule), text, more, note);
	}
}

static void
append(struct entry *e)
{
	static struct ledger_record record;
	const struct machine_config *mc = &roled.machine.config;
	enum ledger_ring ring = e->e.rule == RULE_ACTION ? LEDGER_ACTIONS : LEDGER_DECISIONS;

	for (size_t i = 0; i < MACHINE_SERVERS; i++)
		e->id[i] = i < mc->n_servers ? mc->server[i].id : 0;
	record.boot = roled.boot;
	record.at_ms = now_ms();
	record.wall_ms = wall_ms();
	record.len = entry_encode(record.content, e);
	if (record.len == 0 || ledger_append(&roled.ledger, ring, &record) != 0) {
		if (roled.ledger.failed == 1)
			log_error("the ledger cannot be written: %s; decisions go on without it",
			    strerror(errno));
	}
}

void
outputs_note(enum rule rule, uint8_t peer, const char *note)
{
	static struct entry e;

	machine_event(&roled.machine, now_ms(), rule, peer, &e.e);
	snprintf(e.note, sizeof(e.note), "%s", note);
	log_entry(&e.e, e.note);
	append(&e);
}

static void
run_ledger(const struct ledger_entry *e)
{
	static struct entry entry;

	memset(&entry, 0, sizeof(entry));
	entry.e = *e;
	if (e->kind == LEDGER_NO_DECISION && e->margin_ms != MACHINE_NEVER)
		roled.act_ms = e->at_ms + e->margin_ms;
	else if (e->kind != LEDGER_EVENT)
		roled.act_ms = 0;
	if (e->rule == RULE_HOOK_FAILED || e->rule == RULE_STEP_DOWN_HOOK) {
		memcpy(entry.note, roled.hook_note, sizeof(entry.note));
		roled.hook_note[0] = '\0';
	}
	log_entry(e, entry.note);
	append(&entry);
}

/* Do two records say the same, but for ages and numbers that change all the time? */
static int
says_the_same(const struct status_record *a, const struct status_record *b)
{
	return a->kind == b->kind && a->role == b->role && a->condition == b->condition &&
	       a->flags == b->flags && a->priority == b->priority && a->epoch == b->epoch &&
	       a->epoch_seen == b->epoch_seen && a->main_id == b->main_id &&
	       a->elect_id == b->elect_id && a->successor_id == b->successor_id &&
	       a->lease_epoch == b->lease_epoch && a->lease_sent_ms == b->lease_sent_ms &&
	       a->grant_epoch == b->grant_epoch && a->grant_echo_ms == b->grant_echo_ms &&
	       memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

/*
 * News goes out on every link. What repeats goes out on the links that we dialled, and half an
 * interval later on those that the partner dialled: a kernel that closes a socket with unread bytes
 * sends a reset in place of a FIN, and only a FIN proves a partner's death; so records must not be
 * under way to it on all links at once. Silence is seen sooner by it, too.
 */
static void
run_send(const struct machine_output *o, int64_t now)
{
	struct status_record r;

	roled.second_mask = 0;
	for (uint8_t i = 0; i < roled.machine.config.n_servers; i++) {
		if (!(o->u.send.mask >> i & 1))
			continue;
		machine_record(&roled.machine, now, i, (enum record_kind)o->u.send.kind,
		    o->u.send.successor, (enum rule)o->u.send.reason, &r);
		if (r.kind != RECORD_STATUS || !says_the_same(&r, &roled.sent[i]))
			links_send(&roled.links, i, LINKS_ALL, &r);
		else if (links_send(&roled.links, i, LINKS_OUT, &r) == 0)
			links_send(&roled.links, i, LINKS_IN, &r);
		else
			roled.second_mask |= 1U << i;
		roled.sent[i] = r;
	}
	roled.second_reason = o->u.send.reason;
	roled.second_ms =
	    roled.second_mask != 0 ? now + roled.machine.config.status_interval_ms / 2 : 0;
}

void
outputs_second(int64_t now)
{
	struct status_record r;

	for (uint8_t i = 0; i < roled.machine.config.n_servers; i++) {
		if (!(roled.second_mask >> i & 1))
			continue;
		machine_record(&roled.machine, now, i, RECORD_STATUS, NOBODY,
		    (enum rule)roled.second_reason, &r);
		links_send(&roled.links, i, LINKS_IN, &r);
	}
	roled.second_mask = 0;
	roled.second_ms = 0;
}

/*
 * Number of the ledger entry that tells why there is output i: the nearest with this rule, later or
 * earlier; none of this rule: the last one of the step. Entries before output i are written.
 */
static uint64_t
entry_of(const struct machine_outputs *all, unsigned i, uint8_t rule)
{
	uint64_t n = roled.ledger.newest;

	for (unsigned k = i + 1; k < all->n; k++) {
		if (all->out[k].kind != OUT_LEDGER)
			continue;
		n++;
		if (all->out[k].u.ledger.rule == rule)
			return n;
	}
	for (unsigned k = i, back = 0; k-- > 0;) {
		if (all->out[k].kind != OUT_LEDGER)
			continue;
		if (all->out[k].u.ledger.rule == rule)
			return roled.ledger.newest - back;
		back++;
	}
	return n;
}

static void
run_hook(const struct machine_output *o, uint64_t entry)
{
	ask_action(ACTION_HOOK, o->u.become.hook, o->u.become.rule, o->u.become.peer,
	    o->u.become.epoch, o->u.become.event, entry);
	if (o->kind != OUT_BECOME)
		return;
	roled.role_ms = now_ms();
	log_info("this server is %s now, epoch %llu", role_name(o->u.become.role),
	    (unsigned long long)o->u.become.epoch);
}

/* Links whose partner should have spoken twice since are worth nothing. */
static int64_t
silent_ms(void)
{
	const struct machine_config *mc = &roled.machine.config;

	return 2 * mc->status_interval_ms;
}

static void
run_reply(const struct machine_output *o)
{
	char text[CTL_TEXT];

	explain_rule(text, sizeof(text), o->u.reply.rule,
	    o->u.reply.peer == NOBODY ? "" : peer_name(o->u.reply.peer));
	admin_reply(o->u.reply.id, (enum ctl_result)o->u.reply.result, text);
}

static void
run_stopped(uint8_t handed_over)
{
	static struct msg m;

	if (roled.stopped_sent || roled.orphaned)
		return;
	roled.stopped_sent = 1;
	msg_begin(&m, MSG_STOPPED);
	msg_put_u8(&m, handed_over);
	(void)channel_send(&roled.child.control, &m);
	roled_end_soon(0, now_ms() + FLUSH_MS);
}

static void
next_alarm(void)
{
	if (roled.alarm_event != 0 || roled.n_alarms == 0)
		return;
	roled.alarm_event = EVENT_OF_ROLED | ++roled.own_event;
	ask_action(ACTION_HOOK, HOOK_ALARM, roled.alarm[0].rule, roled.alarm[0].peer,
	    roled.machine.persisted.epoch, roled.alarm_event, roled.alarm[0].entry);
	roled.n_alarms--;
	memmove(roled.alarm, roled.alarm + 1, roled.n_alarms * sizeof(roled.alarm[0]));
}

static void
run_alarm(uint8_t rule, uint8_t peer, uint64_t entry)
{
	if (child_conf(&roled.child)->hook[HOOK_ALARM].command[0] == '\0' ||
	    roled.n_alarms == ALARMS)
		return;
	roled.alarm[roled.n_alarms].entry = (uint32_t)entry;
	roled.alarm[roled.n_alarms].rule = rule;
	roled.alarm[roled.n_alarms++].peer = peer;
}

void
outputs_alarm_ended(uint64_t event)
{
	if (event != roled.alarm_event)
		return;
	roled.alarm_event = 0;
	next_alarm();
}

void
outputs_note_alarm(enum rule rule)
{
	outputs_note(rule, NOBODY, "");
	run_alarm((uint8_t)rule, NOBODY, roled.ledger.newest);
	next_alarm();
}

static void
run_one(const struct machine_outputs *all, unsigned i, int64_t now)
{
	const struct machine_output *o = &all->out[i];

	switch ((enum output_kind)o->kind) {
	case OUT_PERSIST:
		run_persist(o->u.persist.durable, now);
		break;
	case OUT_BECOME:
	case OUT_HOOK:
		run_hook(o, entry_of(all, i, o->u.become.rule));
		break;
	case OUT_SEND:
		run_send(o, now);
		break;
	case OUT_DRAIN:
		ask_drain(o->u.drain.partner);
		break;
	case OUT_REDIAL:
		links_redial(&roled.links, o->u.redial.partner, silent_ms());
		break;
	case OUT_LEDGER:
		run_ledger(&o->u.ledger);
		break;
	case OUT_REPLY:
		run_reply(o);
		break;
	case OUT_ALARM:
		if (o->u.alarm.on)
			run_alarm(
			    o->u.alarm.rule, o->u.alarm.peer, entry_of(all, i, o->u.alarm.rule));
		break;
	case OUT_STOPPED:
		run_stopped(o->u.stopped.handed_over);
		break;
	case OUT_MAX:
		break;
	}
}

void
outputs_run(const struct machine_outputs *o, int64_t now)
{
	for (unsigned i = 0; i < o->n; i++)
		run_one(o, i, now);
	next_alarm(); /* behind all others: nothing of a take-over waits for it */
}
