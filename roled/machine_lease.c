/* SPDX-License-Identifier: ISC */
/*
 * Mode voters: main holds a lease that a majority of the voters (standard and permanent servers)
 * renews. A lease runs from when its request was *sent*: the holder acts until D = s + L(1 - rho)
 * on its clock and begins to stop at D - 2W - M; a voter supports nobody else for L(1 + rho) on its
 * own clock after it has granted. As long as clocks run at the right rate within rho, the holder
 * has stopped before any other can have a majority. Votes are on disk before they are sent; a voter
 * that restarts waits out the promise that it may have given.
 */
#include "machine_internal.h"

enum { RHO_DIVISOR = 100 }; /* bound on the rate of a clock: 1 % */

static int
is_voter(const struct machine_config *c, unsigned i)
{
	return i < c->n_servers && c->server[i].kind != KIND_DMZ;
}

/* Grants of others that make a majority together with our own. */
static unsigned
others_needed(const struct machine_config *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n_servers; i++)
		n += (unsigned)is_voter(c, i);
	return n / 2;
}

static int64_t
promise_ms(const struct machine_config *c)
{
	return c->lease_ms + c->lease_ms / RHO_DIVISOR + 1;
}

/*
 * D: end of the lease of lease_epoch from the grants at hand; 0 without a majority. The request
 * that counts is the oldest among the newest that a majority has granted.
 */
static int64_t
lease_end_ms(const struct machine *m)
{
	unsigned needed = others_needed(&m->config);
	int64_t s_ms = m->now_ms;

	if (needed == 0)
		return m->now_ms + m->config.lease_ms;
	for (unsigned round = 0, found = 0; round < MACHINE_SERVERS && found < needed; round++) {
		int64_t next_ms = 0; /* newest granted send time below the last one */

		found = 0;
		for (unsigned i = 0; i < m->config.n_servers; i++) {
			const struct machine_partner *p = &m->partner[i];

			if (!server_is_partner(m, i, KIND_MAX) || !is_voter(&m->config, i) ||
			    p->grant_epoch != m->lease_epoch || p->grant_s_ms == 0)
				continue;
			if (p->grant_s_ms >= s_ms && round > 0)
				found++;
			else if (p->grant_s_ms > next_ms)
				next_ms = p->grant_s_ms;
		}
		if (found >= needed)
			break;
		if (next_ms == 0)
			return 0;
		s_ms = next_ms;
	}
	return s_ms + m->config.lease_ms - m->config.lease_ms / RHO_DIVISOR;
}

void
lease_init(struct machine *m, int64_t now_ms)
{
	if (m->config.mode != ARB_VOTERS)
		return;
	if (m->persisted.voted_epoch != 0)
		m->promise_until_ms = now_ms + promise_ms(&m->config);
	if (m->role != ROLE_MAIN)
		return;
	m->lease_epoch = m->persisted.epoch;
	m->lease_until_ms = m->persisted.lease_until_ms;
	m->lease_ask_ms = m->lease_sent_ms = now_ms;
}

/* Ask the voters: a new send time, told to all at once. */
static void
lease_ask(struct step *s)
{
	s->m->lease_sent_ms = s->now;
	s->m->lease_ask_ms = s->now + s->m->config.renew_ms;
	s->announce = 1;
}

/* End of a candidacy or of a lease. A former main is bound until its lease would have ended. */
void
lease_drop(struct step *s)
{
	struct machine *m = s->m;

	m->lease_want_ms = 0;
	if (m->lease_epoch == 0)
		return;
	m->promise_until_ms = m->lease_until_ms > s->now ? m->lease_until_ms : s->now;
	m->lease_epoch = 0;
	m->lease_until_ms = m->persisted.lease_until_ms = 0;
	for (unsigned i = 0; i < MACHINE_SERVERS; i++)
		m->partner[i].grant_s_ms = 0;
	s->announce = s->changed = 1;
}

/* Main: renew, and stop in time when that does not work. */
void
lease_main(struct step *s)
{
	struct machine *m = s->m;
	const struct machine_config *c = &m->config;
	int64_t end_ms = lease_end_ms(m);

	if (m->lease_epoch == 0)
		m->lease_epoch = m->persisted.epoch;
	if (end_ms > m->lease_until_ms) {
		m->lease_until_ms = m->persisted.lease_until_ms = end_ms;
		if (others_needed(c) > 0)
			step_persist(s, 0);
	}
	if (step_reached(s, m->lease_ask_ms)) {
		lease_ask(s);
		(void)step_reached(s, m->lease_ask_ms);
	}
	if (step_reached(s, m->lease_until_ms - 2 * c->watchdog_ms - c->stop_ms))
		role_demote(s, RULE_STEP_DOWN_LEASE, NOBODY, NOBODY);
}

/*
 * When a candidacy may begin: main is lost, our promise to another is over, and those who come
 * before us have had their turn; two candidates at once would split the votes.
 */
static int64_t
candidacy_ms(struct step *s)
{
	const struct machine *m = s->m;
	int64_t at_ms = m->lease_want_ms, rank = 0;

	if (m->persisted.voted_for != m->config.self && m->promise_until_ms > at_ms)
		at_ms = m->promise_until_ms;
	if (m->lease_retry_ms > at_ms)
		at_ms = m->lease_retry_ms;
	for (unsigned i = 0; i < m->config.n_servers; i++)
		if (server_is_partner(m, i, KIND_STANDARD) && evidence_heard(s, i) &&
		    i != m->main && evidence_before(m, i, m->config.self))
			rank++;
	return at_ms + rank * m->config.renew_ms;
}

/* Begin to ask for the lease; our own vote goes first and is on disk. */
static void
candidate_begin(struct step *s, enum rule rule)
{
	struct machine *m = s->m;
	struct machine_persisted *ps = &m->persisted;

	if (ps->voted_for != m->config.self || ps->voted_epoch < ps->epoch_seen ||
	    ps->voted_epoch <= ps->epoch) {
		ps->voted_epoch = ps->epoch_seen = role_next_epoch(m);
		ps->voted_for = m->config.self;
		step_persist(s, 1);
	}
	m->lease_epoch = ps->voted_epoch;
	m->lease_rule = (uint8_t)rule;
	m->lease_until_ms = 0;
	m->candidate_ms = s->now;
	for (unsigned i = 0; i < MACHINE_SERVERS; i++)
		m->partner[i].grant_s_ms = 0;
	lease_ask(s);
}

/* This server wants to be main, for that reason, and may when a majority grants the lease. */
void
lease_candidate(struct step *s, enum rule rule, uint8_t peer)
{
	struct machine *m = s->m;
	const struct machine_config *c = &m->config;
	int64_t end_ms;

	if (standby_held(s, peer))
		return;
	step_why(s, RULE_WAIT_VOTERS, peer, MACHINE_NEVER);
	if (m->lease_want_ms == 0)
		m->lease_want_ms = s->now;
	if (m->lease_epoch == 0) {
		if (!step_reached(s, candidacy_ms(s)))
			return;
		candidate_begin(s, rule);
	}
	end_ms = lease_end_ms(m);
	if (end_ms != 0 && s->now < end_ms - 2 * c->watchdog_ms - c->stop_ms) {
		m->lease_until_ms = m->persisted.lease_until_ms = end_ms;
		m->lease_ask_ms = m->lease_sent_ms + c->renew_ms;
		role_promote(s, rule, peer, 0);
	} else if (step_reached(s, m->candidate_ms + c->renew_ms)) {
		lease_drop(s);
		m->lease_retry_ms = s->now + c->renew_ms * (1 + c->server[c->self].name_rank) / 2;
	}
}

/* A voter's decision about a request. */
static int
may_grant(const struct machine *m, unsigned i, const struct status_record *r)
{
	const struct machine_persisted *ps = &m->persisted;
	uint64_t index = m->has_position ? m->position.index : ps->position_index;
	uint64_t epoch = m->has_position ? m->position.epoch : ps->epoch;

	if (!is_voter(&m->config, m->config.self) || !server_is_partner(m, i, KIND_STANDARD) ||
	    r->lease_epoch < ps->voted_epoch || r->lease_epoch < ps->epoch)
		return 0;
	if (r->lease_epoch == ps->voted_epoch)
		return ps->voted_for == i;
	if (m->role == ROLE_MAIN || m->lease_epoch != 0 || m->now_ms < m->promise_until_ms)
		return 0;
	return r->position_epoch > epoch ||
	       (r->position_epoch == epoch && r->position_index >= index);
}

static void
lease_grant(struct step *s, unsigned i, const struct status_record *r)
{
	struct machine *m = s->m;
	struct machine_partner *p = &m->partner[i];

	if (!may_grant(m, i, r)) {
		p->ask_granted = 0;
		return;
	}
	if (m->persisted.voted_epoch != r->lease_epoch || m->persisted.voted_for != i) {
		m->persisted.voted_epoch = r->lease_epoch;
		m->persisted.voted_for = (uint8_t)i;
		step_persist(s, 1); /* a vote is on disk before it is sent */
		for (unsigned k = 0; k < MACHINE_SERVERS; k++)
			m->partner[k].ask_granted = 0;
	}
	m->promise_until_ms = s->now + promise_ms(&m->config);
	if (!p->ask_granted || p->ask_sent_ms != r->lease_sent_ms)
		s->answer |= 1U << i;
	p->ask_granted = 1;
	p->ask_epoch = r->lease_epoch;
	p->ask_sent_ms = r->lease_sent_ms;
}

/* The one whom we support says that it does not need it: it abdicated, or its candidacy failed. */
static int
is_released(const struct machine *m, const struct status_record *r)
{
	if (r->kind == RECORD_GOODBYE && (r->flags & RECORD_WAS_MAIN) != 0)
		return 1;
	return r->kind != RECORD_GOODBYE && r->role != ROLE_MAIN && r->lease_epoch == 0 &&
	       r->epoch < m->persisted.voted_epoch &&
	       m->partner[m->persisted.voted_for].ask_granted &&
	       m->persisted.epoch < m->persisted.voted_epoch;
}

/* Requests and grants in a record. */
void
lease_take_record(struct step *s, unsigned i, const struct status_record *r)
{
	struct machine *m = s->m;
	struct machine_partner *p = &m->partner[i];

	if (m->config.mode != ARB_VOTERS)
		return;
	if (r->grant_epoch != 0 && r->grant_epoch == m->lease_epoch &&
	    r->grant_echo_ms <= m->lease_sent_ms && r->grant_echo_ms > p->grant_s_ms) {
		p->grant_epoch = r->grant_epoch;
		p->grant_s_ms = r->grant_echo_ms;
	}
	if (i == m->persisted.voted_for && is_released(m, r)) {
		m->promise_until_ms = s->now;
		p->ask_granted = 0;
	}
	if (r->lease_epoch != 0)
		lease_grant(s, i, r);
}

/* The voters' part of a record for partner i. */
void
lease_fill(const struct machine *m, int64_t now_ms, unsigned i, struct status_record *r)
{
	const struct machine_partner *p = &m->partner[i];

	(void)now_ms;
	if (m->config.mode != ARB_VOTERS)
		return;
	if (m->lease_epoch != 0 && is_voter(&m->config, i)) {
		r->lease_epoch = m->lease_epoch;
		r->lease_sent_ms = m->lease_sent_ms;
	}
	if (p->ask_granted && m->persisted.voted_for == i &&
	    m->persisted.voted_epoch == p->ask_epoch) {
		r->grant_epoch = p->ask_epoch;
		r->grant_echo_ms = p->ask_sent_ms;
	}
}
