/* SPDX-License-Identifier: ISC */
/*
 * Planned changes: switchover, hand-over of a sick main, ordered stop; and the admin commands.
 *
 * Main offers the role to a standby; when it accepts, main stops its service (standby hook), then
 * says goodbye with that standby as successor, which takes over at once. The standby's consent is
 * good for twice the hand-over time-out on its own clock; main takes the role back only when that
 * time is over for sure, or when the standby refuses, restarts or is proven dead: never two mains.
 */
#include "machine_internal.h"

#include <string.h>

#define PAUSE_MAX_MS (INT64_C(7) * 24 * 3600 * 1000)

/*
 * How long a consent is good: for the standby, and for main, whose clock may run at another rate.
 */
static int64_t
consent_ms(const struct machine_config *c, int as_main)
{
	int64_t ms = 2 * c->handover_timeout_ms;

	return as_main ? ms + ms / 50 + 2 : ms;
}

uint8_t
handover_best(struct step *s, int healthy)
{
	uint8_t best = NOBODY;

	for (uint8_t i = 0; i < s->m->config.n_servers; i++)
		if (evidence_ready(s, i, healthy) &&
		    (best == NOBODY || evidence_before(s->m, i, best)))
			best = i;
	return best;
}

void
handover_begin(struct step *s, enum rule rule, uint8_t to, uint64_t command_id)
{
	struct machine *m = s->m;

	m->handover = HANDOVER_OFFERED;
	m->handover_rule = (uint8_t)rule;
	m->handover_to = to;
	m->handover_ms = m->handover_try_ms = s->now;
	m->handover_accept_ms = 0;
	m->command_id = command_id;
	s->changed = s->announce = 1;
}

/* The hand-over ended, one way or the other. */
static void
handover_end(struct step *s, enum ctl_result result, enum rule rule)
{
	struct machine *m = s->m;

	m->handover = HANDOVER_NONE;
	step_reply(s, &m->command_id, result, rule, m->handover_to);
	ledger_add(s, LEDGER_EVENT, rule, m->handover_to, 0);
	m->handover_to = NOBODY;
	s->changed = s->announce = 1;
}

/* Nothing was given up yet: tell the other one to forget it. */
static void
handover_cancel(struct step *s, enum rule rule)
{
	struct machine *m = s->m;

	if (m->handover_to < m->config.n_servers)
		step_send(s, 1U << m->handover_to, RECORD_CANCEL, NOBODY, rule);
	handover_end(s, CTL_REFUSED, rule);
}

/* The role comes back: nobody has it, for sure. */
static void
handover_take_back(struct step *s, enum rule rule)
{
	struct machine *m = s->m;
	uint8_t to = m->handover_to;

	step_send(s, 1U << to, RECORD_CANCEL, NOBODY, rule);
	m->abdicated = 0;
	handover_end(s, CTL_FAILED, rule);
	if (m->config.mode == ARB_VOTERS || m->stopping)
		return;
	role_promote(s, RULE_TAKE_BACK, to, 0);
}

/* The service has stopped (or its hook failed and the policy says go on): give the role away. */
static void
handover_abdicate(struct step *s)
{
	struct machine *m = s->m;

	m->handover = HANDOVER_ABDICATED;
	m->handover_ms = s->now;
	m->abdicated = 1;
	m->promise_until_ms = s->now;
	s->changed = s->announce = 1;
}

/* The service has stopped and the target has all data: both are waited for, in any order. */
static void
handover_go_on(struct step *s)
{
	if (s->m->handover_event == 0 && !s->m->handover_drains)
		handover_abdicate(s);
}

void
handover_take_drained(struct step *s)
{
	struct machine *m = s->m;

	if (m->handover != HANDOVER_STOPPING || !m->handover_drains)
		return;
	m->handover_drains = 0;
	handover_go_on(s);
}

/* The target agreed. */
static void
handover_accepted(struct step *s, const struct status_record *r)
{
	struct machine *m = s->m;
	uint8_t rule = m->handover_rule, to = m->handover_to;

	m->handover = HANDOVER_STOPPING;
	m->handover_ms = m->handover_accept_ms = s->now;
	m->handover_boot = r->boot_id;
	/*
	 * syncd knows whether there is data to wait for: the position that we heard may be of
	 * before the first
	 */
	m->handover_drains = m->has_position || machine_data_unknown(m);
	if (m->handover_drains)
		step_emit(s, OUT_DRAIN)->u.drain.partner = to;
	role_demote(s, rule, to, NOBODY);
	m->handover_event = m->hook_event;
}

/* A standby is asked. */
static void
offer_take(struct step *s, uint8_t from, const struct status_record *r)
{
	struct machine *m = s->m;
	enum rule refuse = RULE_NONE;

	if (m->role != ROLE_STANDBY || m->main != from ||
	    m->config.server[m->config.self].kind != KIND_STANDARD)
		refuse = RULE_NOT_ELIGIBLE;
	else if (m->stopping)
		refuse = RULE_WAIT_STOPPING;
	else if (m->persisted.stale)
		refuse = RULE_WAIT_STALE;
	else if (!machine_in_sync(m))
		refuse = RULE_WAIT_NOT_IN_SYNC;
	else if (machine_observing(m))
		refuse = RULE_WAIT_OBSERVING;
	if (refuse != RULE_NONE) {
		step_send(s, 1U << from, RECORD_REFUSE, NOBODY, refuse);
		return;
	}
	if (m->offer_from != from || m->offer_epoch != r->epoch || s->now >= m->offer_until_ms) {
		m->offer_from = from;
		m->offer_epoch = r->epoch;
		m->offer_until_ms = s->now + consent_ms(&m->config, 0);
		ledger_add(s, LEDGER_EVENT, RULE_OFFER_ACCEPTED, from, 0);
	}
	step_send(s, 1U << from, RECORD_ACCEPT, NOBODY, RULE_OFFER_ACCEPTED);
}

/* The standby's side of a hand-over. */
static void
offer_take_record(struct step *s, uint8_t i, const struct status_record *r)
{
	struct machine *m = s->m;

	if (r->kind == RECORD_OFFER)
		offer_take(s, i, r);
	if (r->kind == RECORD_CANCEL) {
		if (m->offer_from == i) {
			m->offer_from = NOBODY;
			ledger_add(s, LEDGER_EVENT, RULE_OFFER_CANCELLED, i, 0);
		}
		step_send(s, 1U << i, RECORD_REFUSE, NOBODY, RULE_OFFER_CANCELLED);
	}
	if (r->kind == RECORD_GOODBYE && m->partner[i].successor == m->config.self &&
	    m->role == ROLE_STANDBY &&
	    (m->offer_from != i || m->offer_epoch != m->persisted.epoch ||
		s->now >= m->offer_until_ms))
		step_send(s, 1U << i, RECORD_REFUSE, NOBODY, RULE_OFFER_EXPIRED);
}

/* Records of a hand-over, both sides. */
void
handover_take_record(struct step *s, unsigned i, const struct status_record *r)
{
	struct machine *m = s->m;

	if (m->handover >= HANDOVER_STOPPING && r->role == ROLE_MAIN &&
	    r->kind != RECORD_OBITUARY && r->epoch >= m->persisted.epoch) {
		handover_end(s, i == m->handover_to ? CTL_OK : CTL_FAILED,
		    i == m->handover_to ? RULE_HANDED_OVER : RULE_FOLLOWS);
		role_follow(s, (uint8_t)i, r);
		return;
	}
	if (m->handover != HANDOVER_NONE && i == m->handover_to) {
		if (r->kind == RECORD_ACCEPT && m->handover == HANDOVER_OFFERED &&
		    m->role == ROLE_MAIN)
			handover_accepted(s, r);
		else if (r->kind == RECORD_REFUSE && m->handover == HANDOVER_OFFERED)
			handover_end(s, CTL_REFUSED, RULE_TARGET_REFUSED);
		else if (r->kind == RECORD_REFUSE && m->handover == HANDOVER_ABDICATED)
			handover_take_back(s, RULE_TARGET_REFUSED);
		return;
	}
	offer_take_record(s, (uint8_t)i, r);
}

/* The standby hook of a hand-over ended. */
void
handover_take_result(struct step *s, const struct machine_action_result *r)
{
	struct machine *m = s->m;
	int failed = r->result != RESULT_OK && r->result != RESULT_NONE;

	if (r->event != 0 && r->event == m->stop_event)
		m->stop_event = 0;
	if (m->handover != HANDOVER_STOPPING || r->event == 0 || r->event != m->handover_event)
		return;
	m->handover_event = 0;
	if (failed && m->config.hook_failure[HOOK_STANDBY] == HOOK_FAIL_UNDO)
		handover_take_back(s, RULE_HOOK_FAILED);
	else
		handover_go_on(s);
}

/* After the goodbye: is the successor lost for sure? */
static int
successor_lost(struct step *s)
{
	const struct machine *m = s->m;
	const struct machine_partner *p = &m->partner[m->handover_to];

	if (p->last.boot_id != m->handover_boot && p->last.role != ROLE_MAIN)
		return 1;
	if (p->verdict == VERDICT_PROGRAM_DEAD || p->verdict == VERDICT_GUARD_DEAD ||
	    p->verdict == VERDICT_STOPPED)
		return 1;
	return step_reached(s, m->handover_accept_ms + consent_ms(&m->config, 1));
}

/* A hand-over under way: time limits. */
void
handover_decide(struct step *s)
{
	struct machine *m = s->m;
	int64_t limit_ms = m->handover_ms + m->config.handover_timeout_ms;

	step_why(s, RULE_MAIN_HANDING_OVER, m->handover_to, MACHINE_NEVER);
	if (m->handover_to >= m->config.n_servers) { /* it left the configuration */
		if (m->handover != HANDOVER_OFFERED && m->role != ROLE_MAIN)
			m->main = NOBODY;
		m->handover = HANDOVER_NONE;
		s->changed = 1;
		return;
	}
	switch (m->handover) {
	case HANDOVER_OFFERED:
		if (!evidence_fresh(s, m->handover_to) || step_reached(s, limit_ms))
			handover_cancel(s, RULE_TARGET_SILENT);
		else if (m->config.mode == ARB_VOTERS)
			lease_main(s);
		if (m->handover == HANDOVER_OFFERED && m->role != ROLE_MAIN)
			handover_end(s, CTL_FAILED, RULE_STEP_DOWN_LEASE);
		break;
	case HANDOVER_STOPPING:
		if (!step_reached(s, limit_ms))
			break;
		if (m->handover_drains) { /* changes would be lost: nothing was given away yet */
			m->handover_event = 0;
			m->handover_drains = 0;
			handover_take_back(s, RULE_TARGET_BEHIND);
			break;
		}
		m->handover_event = 0;
		role_hook_failed(s, HOOK_STANDBY, 0);
		if (m->config.hook_failure[HOOK_STANDBY] == HOOK_FAIL_UNDO)
			handover_take_back(s, RULE_HOOK_FAILED);
		else
			handover_abdicate(s);
		break;
	case HANDOVER_ABDICATED:
		if (successor_lost(s))
			handover_take_back(s, RULE_TARGET_SILENT);
		break;
	default:
		break;
	}
}

/* ---- ordered stop */

/* The last words and the stop hook; after it STOPPED. */
static void
stop_finish(struct step *s, int handed_over)
{
	struct machine *m = s->m;

	m->stop_handed_over = (uint8_t)handed_over;
	if (m->abdicated) {
		m->persisted.last_main = m->persisted.clean = 1;
		step_persist(s, 1);
	}
	step_send(s, partner_mask(m), RECORD_GOODBYE,
	    m->handover == HANDOVER_ABDICATED ? m->handover_to : NOBODY, RULE_WAIT_STOPPING);
	m->stop_event = step_hook(s, OUT_HOOK, HOOK_STOP, RULE_STOPPED, NOBODY);
	m->stop_step = STOP_HOOK;
}

static void
stop_done(struct step *s)
{
	struct machine *m = s->m;

	m->stopping = 2;
	m->stop_step = STOP_DONE;
	ledger_add(s, LEDGER_DECISION, RULE_STOPPED, NOBODY, 0);
	step_reply(s, &m->stop_command_id, CTL_OK, RULE_STOPPED, NOBODY);
	step_emit(s, OUT_STOPPED)->u.stopped.handed_over = m->stop_handed_over;
}

/* Main is to stop and there is nobody to hand over to: stop the service, then say so. */
static void
stop_alone(struct step *s)
{
	struct machine *m = s->m;

	role_demote(s, RULE_STEP_DOWN_ALONE, NOBODY, NOBODY);
	m->abdicated = 1;
	m->stop_step = STOP_SERVICE;
}

/* First step of a stop: hand over when main and somebody is ready. */
static void
stop_begin(struct step *s)
{
	struct machine *m = s->m;
	uint8_t target = handover_best(s, 0);

	if (m->handover != HANDOVER_NONE) /* one is under way: it goes on, as a stop */
		m->stop_step = STOP_HANDOVER;
	else if (m->role != ROLE_MAIN)
		stop_finish(s, 0);
	else if (target == NOBODY || machine_observing(m))
		stop_alone(s);
	else {
		m->stop_step = STOP_HANDOVER;
		handover_begin(s, RULE_STEP_DOWN_STOP, target, m->command_id);
	}
}

/* The hand-over of a stop ended somehow. */
static void
stop_after_handover(struct step *s)
{
	struct machine *m = s->m;

	if (m->handover != HANDOVER_NONE) {
		handover_decide(s);
		if (m->handover != HANDOVER_NONE)
			return;
	}
	if (m->main != NOBODY && m->main != m->config.self) {
		stop_finish(s, 1);
	} else if (m->role == ROLE_MAIN) {
		stop_alone(s);
	} else { /* the service is stopped and nobody has the role */
		m->abdicated = 1;
		stop_finish(s, 0);
	}
}

/* An ordered stop, step by step, within its time. */
void
stop_decide(struct step *s)
{
	struct machine *m = s->m;
	int late = step_reached(s, m->stop_until_ms);

	step_why(s, RULE_WAIT_STOPPING, NOBODY, m->stop_until_ms);
	switch (m->stop_step) {
	case STOP_BEGIN:
		stop_begin(s);
		break;
	case STOP_HANDOVER:
		if (late && m->handover == HANDOVER_OFFERED)
			handover_cancel(s, RULE_TARGET_SILENT);
		else if (late && m->handover == HANDOVER_STOPPING)
			handover_abdicate(s);
		else if (late && m->handover == HANDOVER_ABDICATED)
			stop_finish(s, 0);
		else
			stop_after_handover(s);
		break;
	case STOP_SERVICE:
		if (m->hook_event == 0 || late)
			stop_finish(s, 0);
		break;
	case STOP_HOOK:
		if (m->stop_event == 0 || late)
			stop_done(s);
		break;
	default:
		break;
	}
}

/* ---- admin commands */

/* Why a partner may not be handed the role. */
static enum rule
not_ready_rule(struct step *s, uint8_t target)
{
	const struct status_record *r = &s->m->partner[target].last;

	if (!server_is_partner(s->m, target, KIND_STANDARD))
		return RULE_TARGET_KIND;
	if (!evidence_heard(s, target))
		return RULE_TARGET_NOT_HEARD;
	if (r->role == ROLE_STANDBY &&
	    ((r->flags & RECORD_IN_SYNC) == 0 || r->condition == CONDITION_STALE))
		return RULE_TARGET_LACKS_DATA;
	return RULE_TARGET_NOT_READY;
}

/* When none is ready: of whom to say why; a partner that is heard before one that is not. */
static uint8_t
nearest_target(struct step *s)
{
	uint8_t nearest = NOBODY;

	for (uint8_t i = 0; i < s->m->config.n_servers; i++)
		if (server_is_partner(s->m, i, KIND_STANDARD) &&
		    (nearest == NOBODY || (!evidence_heard(s, nearest) && evidence_heard(s, i))))
			nearest = i;
	return nearest;
}

static void
admin_switchover(struct step *s, const struct machine_admin *a)
{
	struct machine *m = s->m;
	uint64_t id = a->id;
	uint8_t target = a->server == NOBODY ? handover_best(s, 0) : a->server;

	if (target == NOBODY)
		target = nearest_target(s);
	if (m->role != ROLE_MAIN && m->handover == HANDOVER_NONE)
		step_reply(s, &id, CTL_REFUSED, RULE_NOT_MAIN, m->main);
	else if (m->handover != HANDOVER_NONE || m->stopping)
		step_reply(s, &id, CTL_REFUSED, RULE_BUSY, m->handover_to);
	else if (target == NOBODY)
		step_reply(s, &id, CTL_REFUSED, RULE_NO_TARGET, NOBODY);
	else if (!server_is_partner(m, target, KIND_MAX))
		step_reply(s, &id, CTL_BAD, RULE_BAD_COMMAND, target);
	else if (!evidence_ready(s, target, 0))
		step_reply(s, &id, CTL_REFUSED, not_ready_rule(s, target), target);
	else
		handover_begin(s, RULE_STEP_DOWN_SWITCHOVER, target, id);
}

/*
 * The silent server that may be main and was not confirmed to be dead, or NOBODY: the main that we
 * knew; when we know none, any that is missing.
 */
static uint8_t
unconfirmed(struct step *s, uint8_t dead)
{
	const struct machine *m = s->m;
	uint32_t away = m->persisted.left | m->persisted.outvoted | 1U << dead;

	if (server_is_partner(m, m->main, KIND_STANDARD))
		return m->main == dead ? NOBODY : m->main;
	for (uint8_t i = 0; i < m->config.n_servers; i++)
		if (server_is_partner(m, i, KIND_STANDARD) && !evidence_fresh(s, i) &&
		    (away & 1U << i) == 0)
			return i;
	return NOBODY;
}

/* Why an operator's promotion cannot be; RULE_NONE when it can. */
static enum rule
promote_refusal(struct step *s, uint8_t dead, uint8_t *peer)
{
	struct machine *m = s->m;

	*peer = dead;
	if (m->config.server[m->config.self].kind != KIND_STANDARD)
		return RULE_NOT_ELIGIBLE;
	if (m->role == ROLE_MAIN)
		return RULE_ALREADY_MAIN;
	if (m->stopping || m->handover != HANDOVER_NONE)
		return RULE_BUSY;
	if (!server_is_partner(m, dead, KIND_STANDARD))
		return RULE_BAD_COMMAND;
	if (evidence_fresh(s, dead))
		return RULE_SERVER_ALIVE;
	for (uint8_t i = 0; i < m->config.n_servers; i++)
		if (server_is_partner(m, i, KIND_STANDARD) && evidence_fresh(s, i) &&
		    m->partner[i].last.role == ROLE_MAIN) {
			*peer = i;
			return RULE_SERVER_ALIVE;
		}
	if (m->persisted.stale)
		return RULE_WAIT_STALE;
	if (machine_data_unknown(m))
		return RULE_WAIT_DATA;
	if (machine_blank(m) && m->persisted.initialised)
		return RULE_WAIT_BLANK;
	if (machine_observing(m))
		return RULE_WAIT_OBSERVING;
	if (m->config.mode == ARB_VOTERS)
		return RULE_WAIT_VOTERS;
	return RULE_NONE;
}

static void
admin_promote(struct step *s, const struct machine_admin *a)
{
	struct machine *m = s->m;
	uint64_t id = a->id;
	uint8_t peer, other;
	enum rule refusal = promote_refusal(s, a->server, &peer);

	if (refusal != RULE_NONE) {
		step_reply(
		    s, &id, refusal == RULE_BAD_COMMAND ? CTL_BAD : CTL_REFUSED, refusal, peer);
		return;
	}
	other = unconfirmed(s, a->server);
	m->persisted.outvoted |= 1U << a->server;
	if (other != NOBODY) {
		step_persist(s, 1);
		s->changed = 1;
		step_reply(s, &id, CTL_REFUSED, RULE_CONFIRM_OTHER, other);
		return;
	}
	role_promote(s, RULE_TAKEOVER_CONFIRMED, a->server, 0);
	step_reply(s, &id, CTL_OK, RULE_TAKEOVER_CONFIRMED, a->server);
}

static void
admin_pause(struct step *s, const struct machine_admin *a)
{
	struct machine *m = s->m;
	struct machine_persisted *ps = &m->persisted;
	uint64_t id = a->id;

	if (a->ms <= 0 || a->ms > PAUSE_MAX_MS || a->owner[0] == '\0' || a->reason[0] == '\0') {
		step_reply(s, &id, CTL_BAD, RULE_BAD_COMMAND, NOBODY);
		return;
	}
	m->pause_until_ms = s->now + a->ms;
	ps->pause_left_ms = (uint64_t)a->ms;
	memcpy(ps->pause_owner, a->owner, sizeof(ps->pause_owner));
	memcpy(ps->pause_reason, a->reason, sizeof(ps->pause_reason));
	ps->pause_owner[MACHINE_OWNER - 1] = ps->pause_reason[MACHINE_REASON - 1] = '\0';
	step_persist(s, 1);
	ledger_add(s, LEDGER_EVENT, RULE_PAUSED, NOBODY, a->ms);
	step_reply(s, &id, CTL_OK, RULE_PAUSED, NOBODY);
	s->changed = s->announce = 1;
}

/* Ends our own pause, and the pauses of partners that are not there to end them. */
static void
admin_resume(struct step *s, const struct machine_admin *a)
{
	struct machine *m = s->m;
	uint64_t id = a->id;
	uint8_t elsewhere = NOBODY;
	int had = m->pause_until_ms != 0;

	for (uint8_t i = 0; i < m->config.n_servers; i++) {
		if (m->partner[i].pause_until_ms == 0 || m->partner[i].pause_until_ms <= s->now)
			continue;
		if (evidence_fresh(s, i)) {
			elsewhere = i;
		} else {
			m->partner[i].pause_until_ms = 0;
			had = 1;
		}
	}
	m->pause_until_ms = 0;
	m->persisted.pause_left_ms = 0;
	if (had) {
		step_persist(s, 1);
		ledger_add(s, LEDGER_EVENT, RULE_RESUMED_PAUSE, NOBODY, 0);
		s->changed = s->announce = 1;
	}
	if (elsewhere != NOBODY)
		step_reply(s, &id, CTL_REFUSED, RULE_PAUSED_ELSEWHERE, elsewhere);
	else
		step_reply(s, &id, had ? CTL_OK : CTL_REFUSED,
		    had ? RULE_RESUMED_PAUSE : RULE_NOT_PAUSED, NOBODY);
}

static void
admin_stop(struct step *s, const struct machine_admin *a)
{
	struct machine *m = s->m;

	if (m->stopping) {
		if (s->now + a->ms < m->stop_until_ms)
			m->stop_until_ms = s->now + a->ms; /* a second one is more urgent */
		return;
	}
	m->stopping = 1;
	m->stop_step = STOP_BEGIN;
	m->stop_until_ms = s->now + (a->ms > 0 ? a->ms : 0);
	m->stop_command_id = a->id;
	if (m->role != ROLE_MAIN)
		lease_drop(s);
	s->changed = s->announce = 1;
}

void
admin_take(struct step *s, const struct machine_admin *a)
{
	switch (a->command) {
	case ADMIN_SWITCHOVER:
		admin_switchover(s, a);
		break;
	case ADMIN_PROMOTE:
		admin_promote(s, a);
		break;
	case ADMIN_PAUSE:
		admin_pause(s, a);
		break;
	case ADMIN_RESUME:
		admin_resume(s, a);
		break;
	case ADMIN_STOP:
		admin_stop(s, a);
		break;
	default:
		break;
	}
}
