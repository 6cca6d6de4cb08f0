/* SPDX-License-Identifier: ISC */
/*
 * Nobody is known to be main: after a start, or when main gave up without a successor. Everybody is
 * asked before anything; who comes first (data, priority, name) becomes main when all others agree.
 */
#include "machine_internal.h"

/* What the join phase found out about the standard servers. */
struct roll_call {
	uint8_t missing;     /* must be heard and was not, or NOBODY */
	uint8_t excluded;    /* had left or was declared dead, and is not heard */
	uint8_t handing;     /* is in the middle of a hand-over */
	uint8_t main;	     /* says that it is main (with an epoch that we cannot follow yet) */
	uint8_t starting;    /* n of partners heard */
	uint8_t initialised; /* somebody has had a main */
};

static void
roll_call(struct step *s, struct roll_call *c)
{
	const struct machine *m = s->m;
	uint32_t away = m->persisted.left | m->persisted.outvoted;

	*c = (struct roll_call){NOBODY, NOBODY, NOBODY, NOBODY, 0, m->persisted.initialised};
	for (uint8_t i = 0; i < m->config.n_servers; i++) {
		const struct status_record *r = &m->partner[i].last;

		if (!server_is_partner(m, i, KIND_STANDARD))
			continue;
		if (!evidence_heard(s, i)) {
			if ((away & 1U << i) != 0)
				c->excluded = i;
			else if (c->missing == NOBODY)
				c->missing = i;
			continue;
		}
		c->starting++;
		if ((r->flags & RECORD_HANDOVER) != 0)
			c->handing = i;
		if (r->role == ROLE_MAIN)
			c->main = i;
		if ((r->flags & RECORD_BLANK) == 0)
			c->initialised = 1;
	}
}

/*
 * A server that counts and has not looked yet what data it has; NOBODY when that is known, or over.
 */
static uint8_t
data_awaited(struct step *s)
{
	const struct machine *m = s->m;

	if (machine_data_unknown(m) && !step_reached(s, m->started_ms + m->config.join_ms))
		return m->config.self;
	for (uint8_t i = 0; i < m->config.n_servers; i++)
		if (server_is_partner(m, i, KIND_STANDARD) && evidence_heard(s, i) &&
		    m->partner[i].unknown_ms != 0 &&
		    !step_reached(s, m->partner[i].unknown_ms + m->config.join_ms))
			return i;
	return NOBODY;
}

/* Whether a server may be elected. */
static int
electable(struct step *s, unsigned i, const struct roll_call *c)
{
	const struct machine *m = s->m;
	const struct status_record *r = &m->partner[i].last;

	if (i == m->config.self)
		return m->config.server[i].kind == KIND_STANDARD && !m->persisted.stale &&
		       !machine_observing(m) && !m->stopping && !machine_data_unknown(m) &&
		       !(machine_blank(m) && c->initialised);
	return server_is_partner(m, i, KIND_STANDARD) && evidence_heard(s, i) &&
	       (r->flags & (RECORD_OBSERVING | RECORD_STOPPING | RECORD_DATA_UNKNOWN)) == 0 &&
	       r->condition != CONDITION_STALE &&
	       !((r->flags & RECORD_BLANK) != 0 && c->initialised);
}

static uint8_t
elect_first(struct step *s, const struct roll_call *c)
{
	uint8_t first = NOBODY;

	for (uint8_t i = 0; i < s->m->config.n_servers; i++)
		if (electable(s, i, c) && (first == NOBODY || evidence_before(s->m, i, first)))
			first = i;
	return first;
}

/* A partner that does not want to see us as main (yet), or NOBODY. */
static uint8_t
find_dissent(struct step *s)
{
	const struct machine *m = s->m;
	uint32_t id = m->config.server[m->config.self].id;

	for (uint8_t i = 0; i < m->config.n_servers; i++)
		if (server_is_partner(m, i, KIND_STANDARD) && evidence_heard(s, i) &&
		    m->partner[i].last.elect_id != id)
			return i;
	return NOBODY;
}

/* Everybody who counts was heard: the first of us becomes main when all agree. */
static void
join_elect(struct step *s, const struct roll_call *c)
{
	struct machine *m = s->m;
	uint8_t first = elect_first(s, c), awaited = data_awaited(s), dissent;

	if (first != m->elect) {
		m->elect = first;
		s->announce = 1;
	}
	if (first != NOBODY && first != m->config.self) {
		step_why(s, RULE_JOIN_WAIT_ELECTED, first, MACHINE_NEVER);
	} else if (awaited != NOBODY) {
		step_why(s, RULE_JOIN_WAIT_DATA, awaited, MACHINE_NEVER);
	} else if (first == NOBODY) {
		if (!standby_held(s, NOBODY))
			step_why(s, RULE_JOIN_NOBODY, NOBODY, MACHINE_NEVER);
	} else {
		dissent = find_dissent(s);
		if (dissent != NOBODY)
			step_why(s, RULE_JOIN_WAIT_AGREEMENT, dissent, MACHINE_NEVER);
		else
			role_promote(s, RULE_ELECTED, NOBODY, 0);
	}
}

/* Every partner that is missing answers neither on a link nor on ping. */
static int
all_missing_dead(struct step *s)
{
	const struct machine *m = s->m;

	for (unsigned i = 0; i < m->config.n_servers; i++)
		if (server_is_partner(m, i, KIND_STANDARD) && !evidence_heard(s, i) &&
		    m->partner[i].icmp != PROBE_LOST)
			return 0;
	return 1;
}

/* We stepped down because we were cut off, and somebody we need to hear is missing. */
static void
join_after_isolation(struct step *s, uint8_t missing)
{
	struct machine *m = s->m;
	int64_t wait_ms =
	    m->config.hold_ms > m->config.join_ms ? m->config.hold_ms : m->config.join_ms;
	int64_t due_ms = m->refs_from_ms == 0 ? MACHINE_NEVER : m->refs_from_ms + wait_ms;

	if (standby_held(s, missing))
		return;
	if (m->may_resume != 2 || m->config.mode != ARB_REFERENCES) {
		step_why(s, RULE_WAIT_PARTNER_MAY_BE_MAIN, missing, MACHINE_NEVER);
		return;
	}
	if (!all_missing_dead(s) || !step_reached(s, due_ms)) {
		step_why(s, RULE_JOIN_ASKING, NOBODY, due_ms);
		return;
	}
	role_promote(s, RULE_RESUMED_CONNECTED, missing, s->now - due_ms);
}

/* Nobody else is there: our own record decides. */
static void
join_alone(struct step *s, const struct roll_call *c)
{
	struct machine *m = s->m;

	if (standby_held(s, c->excluded))
		return;
	if (m->persisted.last_main && m->persisted.clean)
		role_promote(s, RULE_LONE_START, c->excluded, 0);
	else
		step_why(s, RULE_JOIN_WAIT_PARTNER, c->excluded, MACHINE_NEVER);
}

/* A standard server while nobody is main, in the modes without voters. */
static void
join_standard(struct step *s)
{
	struct machine *m = s->m;
	int64_t asked_ms = m->started_ms + m->config.join_ms;
	struct roll_call c;

	roll_call(s, &c);
	if (c.handing != NOBODY || c.main != NOBODY || c.missing != NOBODY)
		m->elect = NOBODY;
	if (c.main != NOBODY) {
		step_why(s, RULE_JOIN_ASKING, NOBODY, MACHINE_NEVER);
	} else if (c.handing != NOBODY) {
		step_why(s, RULE_JOIN_WAIT_HANDOVER, c.handing, MACHINE_NEVER);
	} else if (c.missing != NOBODY && m->may_resume) {
		join_after_isolation(s, c.missing);
	} else if (c.missing != NOBODY) {
		if (step_reached(s, asked_ms))
			step_why(s, RULE_JOIN_WAIT_PARTNER, c.missing, MACHINE_NEVER);
		else
			step_why(s, RULE_JOIN_ASKING, NOBODY, asked_ms);
	} else if (c.excluded != NOBODY && !step_reached(s, asked_ms)) {
		step_why(s, RULE_JOIN_ASKING, NOBODY, asked_ms);
	} else if (c.excluded != NOBODY && c.starting == 0) {
		join_alone(s, &c);
	} else {
		join_elect(s, &c);
	}
}

/* In mode voters a majority decides; a blank server needs to know that all are blank. */
static void
join_voters(struct step *s)
{
	struct machine *m = s->m;
	int64_t asked_ms = m->started_ms + m->config.join_ms;
	struct roll_call c;

	roll_call(s, &c);
	if (c.main != NOBODY || (c.missing != NOBODY && !step_reached(s, asked_ms)))
		step_why(s, RULE_JOIN_ASKING, NOBODY, asked_ms);
	else if (c.handing != NOBODY)
		step_why(s, RULE_JOIN_WAIT_HANDOVER, c.handing, MACHINE_NEVER);
	else if (machine_data_unknown(m))
		step_why(s, RULE_WAIT_DATA, NOBODY, MACHINE_NEVER);
	else if (machine_blank(m) && (c.initialised || c.missing != NOBODY))
		step_why(s, RULE_WAIT_BLANK, NOBODY, MACHINE_NEVER);
	else
		lease_candidate(s, RULE_ELECTED, NOBODY);
}

/* A server that is not main and does not know who is. */
void
join_decide(struct step *s)
{
	struct machine *m = s->m;

	if (m->config.server[m->config.self].kind != KIND_STANDARD) {
		step_why(s, RULE_FOLLOWER, NOBODY, MACHINE_NEVER);
		return;
	}
	if (m->stopping || machine_paused(s)) {
		m->elect = NOBODY;
		(void)standby_held(s, NOBODY);
		return;
	}
	if (m->config.mode == ARB_VOTERS)
		join_voters(s);
	else
		join_standard(s);
}
