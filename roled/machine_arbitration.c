/* SPDX-License-Identifier: ISC */
/*
 * Roles change here and nowhere else: a standby decides whether to take over, a main whether to
 * stay, and two mains which of them goes on.
 */
#include "machine_internal.h"

#include <string.h>

/* ---- change of role */

/*
 * The next epoch for this server: above every one seen, and of a residue class of its own, so that
 * two servers that do not know of each other never take the same one.
 */
uint64_t
role_next_epoch(const struct machine *m)
{
	const struct machine_config *c = &m->config;
	uint64_t n = c->n_servers, e = m->persisted.epoch_seen;

	if (m->persisted.epoch > e)
		e = m->persisted.epoch;
	e++;
	return e + (n + c->server[c->self].name_rank - e % n) % n;
}

/* A take-over without proof counts for flap damping. */
static void
note_takeover(struct machine *m, enum rule rule, int64_t now_ms)
{
	if (rule != RULE_TAKEOVER_OFFLINE && rule != RULE_TAKEOVER_UNREACHABLE &&
	    rule != RULE_TAKEOVER_LEASE)
		return;
	memmove(&m->takeover_ms[1], &m->takeover_ms[0],
	    sizeof(m->takeover_ms) - sizeof(m->takeover_ms[0]));
	m->takeover_ms[0] = now_ms;
}

/*
 * This server becomes main, with an epoch above every one seen; the epoch is on disk before the
 * hook runs. margin: how long the limit of the rule has been over.
 */
void
role_promote(struct step *s, enum rule rule, uint8_t peer, int64_t margin_ms)
{
	struct machine *m = s->m;
	struct machine_persisted *ps = &m->persisted;

	ps->epoch = m->config.mode == ARB_VOTERS ? m->lease_epoch : role_next_epoch(m);
	if (ps->epoch > ps->epoch_seen)
		ps->epoch_seen = ps->epoch;
	m->role = ROLE_MAIN;
	m->main = m->config.self;
	m->main_since_ms = m->ready_ms = m->floor_ms = s->now;
	m->joined = 1;
	m->elect = NOBODY;
	m->may_resume = m->abdicated = 0;
	m->references_kept = evidence_majority(m) && m->config.n_references > 0;
	m->offer_from = NOBODY;
	ps->last_main = ps->initialised = 1;
	ps->clean = 0;
	note_takeover(m, rule, s->now);
	step_persist(s, 1); /* the epoch, before anything is done in it */
	m->hook_event = step_hook(s, OUT_BECOME, HOOK_MAIN, rule, peer);
	m->hook_kind = HOOK_MAIN;
	step_send(s, partner_mask(m), RECORD_STATUS, NOBODY, rule);
	ledger_add(s, LEDGER_DECISION, rule, peer, margin_ms);
	if (rule_severity(rule) == SEVERITY_ALARM)
		step_alarm(s, rule, peer, 1);
	s->changed = s->announce = 1;
}

/*
 * This server gives the role up. The hook comes before the disk: nobody may wait for a disk to stop
 * acting, and a role that was given up without being written is found again by the join phase.
 */
void
role_demote(struct step *s, enum rule rule, uint8_t peer, uint8_t new_main)
{
	struct machine *m = s->m;

	m->role = ROLE_STANDBY;
	m->main = new_main;
	m->references_kept = 0;
	m->elect = NOBODY;
	lease_drop(s);
	m->hook_event = step_hook(s, OUT_BECOME, HOOK_STANDBY, rule, peer);
	m->hook_kind = HOOK_STANDBY;
	step_persist(s, 1);
	ledger_add(s, LEDGER_DECISION, rule, peer, 0);
	step_alarm(s, RULE_NO_STANDBY, NOBODY, 0);
	if (rule_severity(rule) == SEVERITY_ALARM)
		step_alarm(s, rule, peer, 1);
	s->changed = s->announce = 1;
}

/*
 * A main whose epoch is not the highest any more takes a higher one; no hook, it stays what it is.
 */
static void
raise_epoch(struct step *s, uint8_t peer)
{
	struct machine_persisted *ps = &s->m->persisted;

	ps->epoch = ps->epoch_seen = role_next_epoch(s->m);
	step_persist(s, 1);
	ledger_add(s, LEDGER_EVENT, RULE_EPOCH_RAISED, peer, 0);
	s->changed = s->announce = 1;
}

/*
 * A hook for a role failed: into the ledger, and an operator is needed unless the config says not.
 */
void
role_hook_failed(struct step *s, uint8_t kind, int64_t duration_ms)
{
	int wanted = s->m->config.hook_failure[kind] != HOOK_FAIL_CONTINUE;

	step_alarm(s, RULE_HOOK_FAILED, NOBODY, wanted);
	ledger_add(s, LEDGER_EVENT, RULE_HOOK_FAILED, NOBODY, duration_ms);
}

/* The result of a hook for a role. */
void
role_take_result(struct step *s, const struct machine_action_result *r)
{
	struct machine *m = s->m;
	uint8_t failed = r->result != RESULT_OK && r->result != RESULT_NONE;
	uint8_t target;

	if (r->event == 0 || r->event != m->hook_event)
		return;
	m->hook_event = 0;
	if (failed)
		role_hook_failed(s, m->hook_kind, r->duration_ms);
	else
		step_alarm(s, RULE_HOOK_FAILED, NOBODY, 0);
	if (m->hook_kind != HOOK_MAIN)
		return;
	if (m->config.hook_failure[HOOK_MAIN] != HOOK_FAIL_UNDO)
		failed = 0;
	if (m->hook_failed != failed) { /* counts as a failing check: nobody hands over to us */
		m->hook_failed = failed;
		m->healthy = (uint8_t)machine_healthy(m);
		s->announce = s->changed = 1;
	}
	target = handover_best(s, 1);
	if (failed && m->role == ROLE_MAIN && m->handover == HANDOVER_NONE && target != NOBODY)
		handover_begin(s, RULE_STEP_DOWN_HOOK, target, 0);
}

/* ---- who is main */

/* What decides between two mains: 1 when we come first. */
static int
main_comes_first(const struct machine *m, unsigned i, const struct status_record *r)
{
	int64_t age_ms = m->now_ms - m->main_since_ms;
	const struct machine_server *self = &m->config.server[m->config.self];
	unsigned kept = (r->flags & RECORD_REFERENCES_KEPT) != 0;

	if (kept != m->references_kept)
		return m->references_kept > kept;
	if (r->epoch != m->persisted.epoch)
		return m->persisted.epoch > r->epoch;
	if (r->priority != self->priority)
		return self->priority > r->priority;
	if (age_ms / 1000 != r->main_age_ms / 1000)
		return age_ms > r->main_age_ms;
	return self->name_rank < m->config.server[i].name_rank;
}

/* Follow partner i, which is main. */
void
role_follow(struct step *s, uint8_t i, const struct status_record *r)
{
	struct machine *m = s->m;
	struct machine_persisted *ps = &m->persisted;
	int new_main = m->main != i || !m->joined;

	m->main = i;
	m->joined = 1;
	m->elect = NOBODY;
	m->may_resume = m->abdicated = 0;
	if (m->offer_from != i)
		m->offer_from = NOBODY;
	step_alarm(s, RULE_STEP_DOWN_ISOLATED, NOBODY, 0);
	step_alarm(s, RULE_STEP_DOWN_LEASE, NOBODY, 0);
	if (new_main || ps->epoch != r->epoch) {
		ps->epoch = r->epoch;
		ps->last_main = ps->clean = 0;
		ps->initialised = 1;
		step_persist(s, 1);
	}
	if (!new_main)
		return;
	ledger_add(s, LEDGER_EVENT, RULE_FOLLOWS, i, 0);
	s->changed = s->announce = 1;
}

/* Both of us are main. */
static void
resolve_two_mains(struct step *s, uint8_t i, const struct status_record *r)
{
	struct machine *m = s->m;
	uint32_t had = m->alarms[RULE_TWO_MAINS / 32];

	step_alarm(s, RULE_TWO_MAINS, i, 1);
	if (had != m->alarms[RULE_TWO_MAINS / 32])
		ledger_add(s, LEDGER_EVENT, RULE_TWO_MAINS, i, 0);
	if (machine_paused(s) || machine_observing(m))
		return;
	if (!main_comes_first(m, i, r)) {
		m->handover = HANDOVER_NONE;
		step_reply(s, &m->command_id, CTL_FAILED, RULE_STEP_DOWN_TWO_MAINS, i);
		role_demote(s, RULE_STEP_DOWN_TWO_MAINS, i, NOBODY);
		if (r->epoch >= m->persisted.epoch) /* else it raises its epoch first */
			role_follow(s, i, r);
		return;
	}
	if (had != m->alarms[RULE_TWO_MAINS / 32])
		ledger_add(s, LEDGER_EVENT, RULE_TWO_MAINS_WON, i, 0);
	if (r->epoch >= m->persisted.epoch)
		raise_epoch(s, i);
	s->answer |= 1U << i;
}

/*
 * A partner knows a newer epoch. When it hears a main of that epoch, which we do not hear, there
 * are two mains and we are the older one. When its main is gone, ours goes on above it.
 */
static void
main_is_outdated(struct step *s, uint8_t i, const struct status_record *r)
{
	struct machine *m = s->m;
	uint8_t other = server_of_id(&m->config, r->main_id);

	if (machine_paused(s) || machine_observing(m))
		return;
	if (!server_is_partner(m, other, KIND_STANDARD) || r->main_heard_age_ms < 0 ||
	    r->main_heard_age_ms >= evidence_silence_ms(&m->config)) {
		raise_epoch(s, i);
		return;
	}
	step_alarm(s, RULE_TWO_MAINS, other, 1);
	m->handover = HANDOVER_NONE;
	step_reply(s, &m->command_id, CTL_FAILED, RULE_STEP_DOWN_TWO_MAINS, other);
	role_demote(s, RULE_STEP_DOWN_TWO_MAINS, other, NOBODY);
}

/* A main heard partner i: is there another main, or a newer epoch? */
static void
main_hears(struct step *s, uint8_t i, const struct status_record *r)
{
	struct machine *m = s->m;

	if (r->role == ROLE_MAIN && r->kind != RECORD_OBITUARY) {
		resolve_two_mains(s, i, r);
		return;
	}
	if (r->epoch > m->persisted.epoch && m->config.mode != ARB_VOTERS &&
	    !server_is_partner(m, i, KIND_DMZ))
		main_is_outdated(s, i, r);
	if (m->alarm_peer[RULE_TWO_MAINS] == i)
		step_alarm(s, RULE_TWO_MAINS, i, 0);
}

/* Every record: who is main now. */
void
role_track_main(struct step *s, unsigned i, const struct status_record *r)
{
	struct machine *m = s->m;
	uint8_t peer = (uint8_t)i;
	const struct status_record *other;

	if (m->role == ROLE_MAIN) {
		main_hears(s, peer, r);
		return;
	}
	if (r->role == ROLE_MAIN && r->kind != RECORD_OBITUARY) {
		if (r->epoch < m->persisted.epoch)
			return;
		if (server_is_partner(m, m->main, KIND_STANDARD) && m->main != peer) {
			other = &m->partner[m->main].last;
			if (evidence_fresh(s, m->main) && other->role == ROLE_MAIN &&
			    other->epoch >= r->epoch)
				return;
		}
		if (m->handover == HANDOVER_ABDICATED || m->handover == HANDOVER_STOPPING)
			return; /* handover_take_record decides */
		role_follow(s, peer, r);
		step_alarm(s, RULE_TWO_MAINS, peer, 0);
		step_alarm(s, RULE_STEP_DOWN_TWO_MAINS, peer, 0);
	} else if (m->main == peer && m->partner[i].gone == 0 &&
		   (r->flags & RECORD_HANDOVER) == 0) {
		m->main = NOBODY;
		s->changed = s->announce = 1;
	} else if (m->main == NOBODY && r->kind == RECORD_GOODBYE &&
		   (r->flags & RECORD_WAS_MAIN) != 0 && r->epoch >= m->persisted.epoch &&
		   m->handover == HANDOVER_NONE) {
		m->main = peer; /* it was, and now offers the role */
		s->changed = 1;
	}
}

/* ---- standby */

/* Reasons that forbid any promotion by itself. */
int
standby_held(struct step *s, uint8_t peer)
{
	const struct machine *m = s->m;
	enum rule rule = RULE_NONE;

	if (m->stopping)
		rule = RULE_WAIT_STOPPING;
	else if (machine_paused(s))
		rule = RULE_WAIT_PAUSED;
	else if (m->persisted.stale)
		rule = RULE_WAIT_STALE;
	else if (machine_data_unknown(m))
		rule = RULE_WAIT_DATA;
	else if (machine_blank(m) && m->persisted.initialised)
		rule = RULE_WAIT_BLANK;
	else if (machine_observing(m))
		rule = RULE_WAIT_OBSERVING;
	if (rule == RULE_NONE)
		return 0;
	step_why(s, rule, peer, MACHINE_NEVER);
	return 1;
}

/* How much longer to wait after several take-overs lately: doubles with each, bounded. */
static int64_t
flap_extra_ms(const struct machine *m, int64_t now_ms, int64_t base_ms)
{
	int64_t extra_ms = 0;

	for (unsigned i = 0; i < MACHINE_TAKEOVERS && m->takeover_ms[i] != 0; i++) {
		if (now_ms - m->takeover_ms[i] >= m->config.flap_window_ms)
			break;
		if (i > 0)
			extra_ms = i == 1 ? base_ms : extra_ms * 2;
		if (extra_ms >= m->config.flap_hold_max_ms)
			return m->config.flap_hold_max_ms;
	}
	return extra_ms;
}

/* Somebody we hear has heard main just now: only our path to it is dead. */
static int
standby_has_witness(struct step *s, uint8_t lost)
{
	const struct machine *m = s->m;
	int64_t silence_ms = evidence_silence_ms(&m->config);

	for (uint8_t i = 0; i < m->config.n_servers; i++) {
		const struct status_record *r = &m->partner[i].last;

		if (i == lost || !server_is_partner(m, i, KIND_MAX) || !evidence_heard(s, i))
			continue;
		if (r->main_id != m->config.server[lost].id || r->main_heard_age_ms < 0 ||
		    r->main_heard_age_ms >= silence_ms)
			continue;
		step_why(s, RULE_WAIT_WITNESS, i, MACHINE_NEVER);
		return 1;
	}
	return 0;
}

/* A standby that we hear and that takes over in its turn, as far as it says. */
static int
standby_willing(struct step *s, unsigned i)
{
	const struct status_record *r = &s->m->partner[i].last;
	uint16_t not = RECORD_OBSERVING | RECORD_STOPPING | RECORD_STALLED | RECORD_PAUSED;

	return evidence_heard(s, i) && r->condition != CONDITION_STALE &&
	       (r->flags & RECORD_IN_SYNC) != 0 && (r->flags & not ) == 0 &&
	       r->reason != RULE_WAIT_OPERATOR && r->reason != RULE_WAIT_CONFIRM_NEVER &&
	       r->reason != RULE_WAIT_REFERENCES;
}

/* The heir that the lost main named last, as the one of us knows who heard it last. */
static uint8_t
last_heir(struct step *s, uint8_t lost)
{
	const struct machine *m = s->m;
	const struct machine_partner *p = &m->partner[lost];
	int64_t best_ms = p->heard_ms + m->config.status_interval_ms;
	uint32_t id = p->last.successor_id;

	for (unsigned i = 0; i < m->config.n_servers; i++) {
		const struct status_record *r = &m->partner[i].last;
		int64_t at_ms = m->partner[i].heard_ms - r->main_heard_age_ms;

		if (i == lost || !server_is_partner(m, i, KIND_STANDARD) || !evidence_heard(s, i) ||
		    r->main_id != m->config.server[lost].id || r->main_heard_age_ms < 0 ||
		    at_ms <= best_ms)
			continue;
		best_ms = at_ms;
		id = r->successor_id;
	}
	return server_of_id(&m->config, id);
}

/*
 * One standby acts, the others wait. The heir that main named last goes first; without it, who
 * comes first of those who hear each other. A standby that is not the heir and does not hear all
 * others cannot know: with proof of death alone it needs the operator (manual) or the references.
 */
static int
standby_waits_for_other(struct step *s, uint8_t lost)
{
	const struct machine *m = s->m;
	uint8_t heir = last_heir(s, lost);
	uint32_t away = m->persisted.left | m->persisted.outvoted;
	int blind = m->config.mode == ARB_MANUAL || !evidence_majority(m);

	if (heir == m->config.self)
		return 0;
	if (server_is_partner(m, heir, KIND_STANDARD) && standby_willing(s, heir)) {
		step_why(s, RULE_WAIT_BETTER, heir, MACHINE_NEVER);
		return 1;
	}
	for (uint8_t i = 0; i < m->config.n_servers; i++) {
		if (i == lost || !server_is_partner(m, i, KIND_STANDARD))
			continue;
		if (standby_willing(s, i) && evidence_before(m, i, m->config.self)) {
			step_why(s, RULE_WAIT_BETTER, i, MACHINE_NEVER);
			return 1;
		}
		if (blind && !evidence_heard(s, i) && (away & 1U << i) == 0 &&
		    m->partner[i].verdict != VERDICT_PROGRAM_DEAD &&
		    m->partner[i].verdict != VERDICT_GUARD_DEAD) {
			step_why(s, RULE_WAIT_RIVAL, i, MACHINE_NEVER);
			return 1;
		}
	}
	return 0;
}

/* The rule would act now: last conditions, then the take-over. */
static void
standby_act(struct step *s, enum rule rule, uint8_t lost, int proven, int64_t due_ms)
{
	struct machine *m = s->m;

	if (standby_held(s, lost))
		return;
	if (!machine_in_sync(m)) {
		step_why(s, RULE_WAIT_NOT_IN_SYNC, lost, MACHINE_NEVER);
		return;
	}
	if (!proven && !step_reached(s, m->look_again_ms)) {
		step_why(s, RULE_WAIT_STALLED, lost, m->look_again_ms);
		return;
	}
	if (!proven && standby_has_witness(s, lost))
		return;
	if (m->config.mode == ARB_VOTERS) {
		lease_candidate(s, rule, lost);
		return;
	}
	if (standby_waits_for_other(s, lost))
		return;
	role_promote(s, rule, lost, s->now - due_ms);
}

/*
 * Silence that becomes a reason at due. A main that answered ping until now steps down no earlier
 * than step-down from now, however long its links had been silent before: so long "unreachable"
 * waits.
 */
static void
standby_wait(struct step *s, enum rule wait, enum rule act, uint8_t lost, int64_t base_ms)
{
	struct machine *m = s->m;
	int64_t from_ms = m->partner[lost].silent_from_ms, due_ms, flap_ms;
	int64_t ping_ms = evidence_ping_ms(&m->partner[lost]);

	if (from_ms < ping_ms && act == RULE_TAKEOVER_UNREACHABLE)
		from_ms = ping_ms;
	due_ms = ms_add(from_ms, base_ms);
	flap_ms = ms_add(due_ms, flap_extra_ms(m, s->now, base_ms));
	if (!step_reached(s, due_ms)) {
		step_why(s, m->stalled ? RULE_WAIT_STALLED : wait, lost, due_ms);
		return;
	}
	if (!step_reached(s, flap_ms)) {
		step_why(s, RULE_WAIT_FLAP, lost, flap_ms);
		return;
	}
	if (act == RULE_TAKEOVER_UNREACHABLE && m->config.mode == ARB_REFERENCES &&
	    2 * evidence_references_since(m, lost) <= m->config.n_references) {
		step_why(s, wait, lost, MACHINE_NEVER);
		return;
	}
	standby_act(s, act, lost, 0, flap_ms);
}

/* Main said goodbye. */
static void
standby_hears_goodbye(struct step *s, uint8_t lost)
{
	struct machine *m = s->m;
	const struct machine_partner *p = &m->partner[lost];
	int64_t window_ms = 3 * m->config.handover_timeout_ms;

	if (p->successor == m->config.self) {
		if (m->offer_from == lost && m->offer_epoch == m->persisted.epoch &&
		    !step_reached(s, m->offer_until_ms)) {
			if (m->config.mode == ARB_VOTERS)
				lease_candidate(s, RULE_TAKEOVER_SWITCHOVER, lost);
			else
				role_promote(s, RULE_TAKEOVER_SWITCHOVER, lost, 0);
			return;
		}
		step_why(s, RULE_OFFER_EXPIRED, lost, MACHINE_NEVER);
	} else if (!p->abdicated) {
		window_ms = 0;
	} else if (p->successor == NOBODY) {
		standby_act(s, RULE_TAKEOVER_STOPPED, lost, 1, s->now);
		return;
	} else {
		step_why(s, RULE_WAIT_SUCCESSOR, p->successor, p->gone_ms + window_ms);
	}
	if (step_reached(s, p->gone_ms + window_ms)) {
		m->main = NOBODY;
		s->changed = 1;
	}
}

/* Main is gone or silent, in a mode that has an answer to it. */
static void
standby_loses_main(struct step *s, uint8_t lost)
{
	struct machine *m = s->m;
	const struct machine_config *c = &m->config;
	int manual = c->mode == ARB_MANUAL || (c->mode == ARB_REFERENCES && c->n_references == 0);

	switch (m->partner[lost].verdict) {
	case VERDICT_GUARD_DEAD:
		standby_act(s, RULE_TAKEOVER_GUARD_DEAD, lost, 1, s->now);
		break;
	case VERDICT_PROGRAM_DEAD:
		standby_act(s, RULE_TAKEOVER_PROGRAM_DEAD, lost, 1, s->now);
		break;
	case VERDICT_OFFLINE:
		if (manual)
			step_why(s, RULE_WAIT_OPERATOR, lost, MACHINE_NEVER);
		else if (c->mode == ARB_VOTERS)
			standby_act(s, RULE_TAKEOVER_LEASE, lost, 0, s->now);
		else if (c->confirm_ms == MACHINE_NEVER)
			step_why(s, RULE_WAIT_CONFIRM_NEVER, lost, MACHINE_NEVER);
		else
			standby_wait(
			    s, RULE_WAIT_CONFIRM, RULE_TAKEOVER_OFFLINE, lost, c->confirm_ms);
		break;
	case VERDICT_UNREACHABLE:
		if (manual)
			step_why(s, RULE_WAIT_OPERATOR, lost, MACHINE_NEVER);
		else if (c->mode == ARB_VOTERS)
			standby_act(s, RULE_TAKEOVER_LEASE, lost, 0, s->now);
		else
			standby_wait(
			    s, RULE_WAIT_HOLD, RULE_TAKEOVER_UNREACHABLE, lost, c->hold_ms);
		break;
	case VERDICT_ISOLATED:
		if (manual)
			step_why(s, RULE_WAIT_OPERATOR, lost, MACHINE_NEVER);
		else if (c->mode == ARB_VOTERS)
			standby_act(s, RULE_TAKEOVER_LEASE, lost, 0, s->now);
		else
			step_why(s, RULE_WAIT_REFERENCES, lost, MACHINE_NEVER);
		break;
	default:
		break;
	}
}

/* A server that is not main, and knows who is. */
void
standby_decide(struct step *s)
{
	struct machine *m = s->m;
	uint8_t main = m->main;

	if (m->config.server[m->config.self].kind != KIND_STANDARD) {
		step_why(s, RULE_FOLLOWER, main, MACHINE_NEVER);
		return;
	}
	switch (m->partner[main].verdict) {
	case VERDICT_UNKNOWN:
	case VERDICT_HEALTHY:
	case VERDICT_ICMP_BLOCKED:
		step_why(s, RULE_MAIN_HEALTHY, main, MACHINE_NEVER);
		lease_drop(s);
		break;
	case VERDICT_STOPPED:
		standby_hears_goodbye(s, main);
		break;
	case VERDICT_RESTARTING:
		step_why(s, RULE_WAIT_RESTART, main, MACHINE_NEVER);
		break;
	case VERDICT_SUSPECT:
		step_why(s,
		    m->netd_from_ms == 0   ? RULE_WAIT_NETD
		    : m->icmp_from_ms == 0 ? RULE_WAIT_ICMPD
		    : m->stalled	   ? RULE_WAIT_STALLED
					   : RULE_WAIT_EVIDENCE,
		    main, MACHINE_NEVER);
		break;
	default:
		standby_loses_main(s, main);
		break;
	}
}

/* ---- main */

/* A standard partner that may take over without us knowing: silent, and not known to be gone. */
static int
may_take_over(struct step *s, unsigned i)
{
	const struct machine *m = s->m;
	const struct machine_partner *p = &m->partner[i];

	if (!server_is_partner(m, i, KIND_STANDARD))
		return 0;
	if (((m->persisted.left | m->persisted.outvoted) & 1U << i) != 0)
		return 0;
	return p->verdict != VERDICT_STOPPED && p->verdict != VERDICT_GUARD_DEAD &&
	       p->verdict != VERDICT_PROGRAM_DEAD;
}

/* When the partner and we last knew of each other: on a link both ways, or on ping. */
static int64_t
last_contact_ms(const struct machine *m, unsigned i)
{
	int64_t at_ms = m->partner[i].contact_ms, ping_ms = evidence_ping_ms(&m->partner[i]);

	if (at_ms < ping_ms)
		at_ms = ping_ms;
	return at_ms > m->floor_ms ? at_ms : m->floor_ms;
}

/*
 * This main was just resumed: it has asked nobody for long enough that silence says something. A
 * matter of what is said only, the step-down time runs on.
 */
static int
main_is_looking(struct step *s)
{
	const struct machine *m = s->m;
	int64_t silence_ms = evidence_silence_ms(&m->config);
	int64_t ping_ms = evidence_ping_window_ms(&m->config);

	return m->resumed &&
	       !step_reached(s, m->started_ms + (silence_ms > ping_ms ? silence_ms : ping_ms));
}

/*
 * 1 when the main stepped down: a partner that may take over and every reference have been silent
 * for the step-down time. Counted in real time, from what was heard last.
 */
static int
main_steps_down_isolated(struct step *s)
{
	struct machine *m = s->m;
	int64_t step_ms = m->config.step_down_ms, refs_ms = evidence_references_ok_ms(m);
	int64_t worst_ms = MACHINE_NEVER;
	uint8_t peer = NOBODY;
	int gone_before = 1;

	if (m->config.mode != ARB_REFERENCES || m->config.n_references == 0)
		return 0;
	for (uint8_t i = 0; i < m->config.n_servers; i++) {
		int64_t at_ms;

		if (!may_take_over(s, i))
			continue;
		at_ms = last_contact_ms(m, i);
		if (at_ms < worst_ms) {
			worst_ms = at_ms;
			peer = i;
		}
		if (refs_ms < at_ms + 2 * m->config.hold_ms)
			gone_before = 0;
	}
	if (peer == NOBODY)
		return 0;
	if (refs_ms > worst_ms)
		worst_ms = refs_ms;
	if (!step_reached(s, worst_ms + step_ms)) {
		if (m->refs_seen == 0 && !evidence_fresh(s, peer) && !main_is_looking(s))
			step_why(s, RULE_MAIN_WAIT_STEP_DOWN, peer, worst_ms + step_ms);
		return 0;
	}
	if (!step_reached(s, m->look_again_ms))
		return 0;
	m->may_resume = gone_before ? 2 : 1;
	role_demote(s, RULE_STEP_DOWN_ISOLATED, peer, NOBODY);
	return 1;
}

/* A group without another server that may be main lacks nothing when there is no standby. */
static int
only_candidate(const struct machine *m)
{
	for (unsigned i = 0; i < m->config.n_servers; i++)
		if (server_is_partner(m, i, KIND_STANDARD))
			return 0;
	return 1;
}

/* Name the heir, or find that there is none: the alarm waits out the restart of a child. */
static enum rule
main_name_heir(struct step *s)
{
	struct machine *m = s->m;
	uint8_t heir = handover_best(s, 0);
	int ready = heir != NOBODY;

	if (heir != m->heir) {
		m->heir = heir;
		s->announce = 1;
	}
	if (ready)
		m->ready_ms = s->now;
	if (only_candidate(m)) {
		step_alarm(s, RULE_NO_STANDBY, NOBODY, 0);
		return RULE_MAIN_ONLY;
	}
	if ((ready || step_reached(s, m->ready_ms + m->config.restart_grace_ms)) &&
	    step_alarm(s, RULE_NO_STANDBY, NOBODY, !ready) && !ready)
		ledger_add(s, LEDGER_EVENT, RULE_NO_STANDBY, NOBODY, 0);
	return ready ? RULE_MAIN_OK : main_is_looking(s) ? RULE_MAIN_LOOKING : RULE_MAIN_ALONE;
}

/* Hand over to somebody who is better off, once in a flap window. */
static int
main_hands_over_sick(struct step *s, enum rule rule, int healthy)
{
	struct machine *m = s->m;
	uint8_t target = handover_best(s, healthy);

	if (target == NOBODY || machine_paused(s) || machine_observing(m))
		return 0;
	if (m->handover_try_ms != 0 &&
	    !step_reached(s, m->handover_try_ms + m->config.flap_window_ms))
		return 0;
	handover_begin(s, rule, target, 0);
	return 1;
}

/* No partner is heard, and nothing tells who is cut off. */
static int
main_cut_off(struct step *s, uint8_t *peer)
{
	const struct machine *m = s->m;
	int silent = 0;

	for (uint8_t i = 0; i < m->config.n_servers; i++) {
		if (!server_is_partner(m, i, KIND_STANDARD) || !may_take_over(s, i))
			continue;
		if (m->partner[i].verdict != VERDICT_UNREACHABLE)
			return 0;
		silent = 1;
		*peer = i;
	}
	return silent && m->config.n_references == 0;
}

/* A server that is main. */
void
main_decide(struct step *s)
{
	struct machine *m = s->m;
	int held = machine_paused(s) || machine_observing(m);
	uint8_t peer = NOBODY;

	if (m->config.mode == ARB_VOTERS) {
		lease_main(s);
		if (m->role != ROLE_MAIN)
			return;
	}
	step_why(s, main_name_heir(s), NOBODY, MACHINE_NEVER);
	if (main_cut_off(s, &peer))
		step_why(s, RULE_MAIN_CUT_OFF, peer, MACHINE_NEVER);
	if (!m->healthy) {
		step_why(s, RULE_MAIN_UNHEALTHY, NOBODY, MACHINE_NEVER);
		if (main_hands_over_sick(s, RULE_STEP_DOWN_HEALTH, 1))
			return;
	}
	if (machine_blank(m)) {
		step_why(s, RULE_MAIN_BLANK, NOBODY, MACHINE_NEVER);
		if (main_hands_over_sick(s, RULE_STEP_DOWN_BLANK, m->healthy))
			return;
	}
	if (!held)
		(void)main_steps_down_isolated(s);
	else
		step_why(s, machine_observing(m) ? RULE_WAIT_OBSERVING : RULE_WAIT_PAUSED, NOBODY,
		    MACHINE_NEVER);
}
