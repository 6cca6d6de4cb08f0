/* SPDX-License-Identifier: ISC */
/*
 * The role machine, entry: the course of one step, time, configuration, records, names. The rules
 * are in the machine_*.c files (machine_internal.h has the list).
 */
#include "machine_internal.h"

#include <string.h>

enum { LONGEST_SLEEP_MS = 3600000 };
#define EPOCH_MAX (UINT64_C(1) << 62)
#define SPAN_MAX (INT64_C(1) << 50) /* of an age or time from outside, ms */

/* ---- time */

int
step_reached(struct step *s, int64_t at_ms)
{
	if (at_ms == MACHINE_NEVER)
		return 0;
	if (s->now >= at_ms)
		return 1;
	if (at_ms < s->out->next_ms)
		s->out->next_ms = at_ms;
	return 0;
}

int64_t
ms_add(int64_t at_ms, int64_t span_ms)
{
	if (at_ms == MACHINE_NEVER || span_ms == MACHINE_NEVER || span_ms > MACHINE_NEVER - at_ms)
		return MACHINE_NEVER;
	return at_ms + span_ms;
}

/* ---- configuration */

/* Place of server i in the order of names. */
static uint8_t
rank_name(const struct conf *c, unsigned i)
{
	uint8_t rank = 0;

	for (unsigned k = 0; k < c->general.n_servers; k++)
		rank = (uint8_t)(rank + (strcmp(c->server[k].name, c->server[i].name) < 0));
	return rank;
}

/* A number for a server that all servers of the group derive alike; never 0. */
static uint32_t
make_id(const struct conf_server *s)
{
	uint32_t id = 0;

	for (unsigned k = 0; k < 4; k++)
		id = id << 8 | s->key_status[k];
	return id != 0 ? id : 1;
}

static void
config_make_timings(struct machine_config *mc, const struct conf_general *g)
{
	mc->status_misses = g->status_misses;
	mc->icmp_misses = g->icmp_misses;
	mc->status_interval_ms = g->status_interval_ms;
	mc->icmp_interval_ms = g->icmp_interval_ms;
	mc->restart_grace_ms = g->restart_grace_ms;
	mc->hold_ms = g->hold_ms;
	mc->step_down_ms = g->step_down_ms;
	mc->confirm_ms = g->confirm_ms;
	mc->join_ms = g->join_ms;
	mc->lease_ms = g->lease_ms;
	mc->renew_ms = g->renew_ms;
	mc->watchdog_ms = g->watchdog_ms;
	mc->stop_ms = (g->lease_ms - 2 * g->watchdog_ms) / 6;
	mc->handover_timeout_ms = g->handover_timeout_ms;
	mc->flap_window_ms = g->flap_window_ms;
	mc->flap_hold_max_ms = g->flap_hold_max_ms;
	mc->sync_bound_ms = g->sync_bound_ms;
	mc->sync_bound_items = g->sync_bound_items;
}

void
machine_config_make(struct machine_config *mc, const struct conf *c)
{
	memset(mc, 0, sizeof(*mc));
	mc->self = c->general.self;
	mc->n_servers = c->general.n_servers;
	mc->n_references = c->general.n_references;
	mc->n_checks = c->general.n_checks;
	mc->mode = c->general.mode;
	mc->observe = c->general.observe;
	config_make_timings(mc, &c->general);
	for (unsigned i = 0; i < HOOK_MAX; i++)
		mc->hook_failure[i] = c->hook[i].on_failure;
	for (unsigned i = 0; i < mc->n_servers; i++) {
		mc->server[i].id = make_id(&c->server[i]);
		mc->server[i].priority = c->server[i].priority;
		mc->server[i].kind = c->server[i].kind;
		mc->server[i].n_paths = c->server[i].n_paths;
		mc->server[i].name_rank = rank_name(c, i);
	}
	memcpy(mc->digest, c->digest, sizeof(mc->digest));
}

uint8_t
server_of_id(const struct machine_config *c, uint32_t id)
{
	for (unsigned i = 0; i < c->n_servers; i++)
		if (id != 0 && c->server[i].id == id)
			return (uint8_t)i;
	return NOBODY;
}

/* Whether i is another server, of that kind (KIND_MAX: of any). */
int
server_is_partner(const struct machine *m, unsigned i, enum server_kind kind)
{
	return i < m->config.n_servers && i != m->config.self &&
	       (kind == KIND_MAX || m->config.server[i].kind == kind);
}

/* The role of a server that is not main. */
static enum machine_role
idle_role(const struct machine_config *c)
{
	switch (c->server[c->self].kind) {
	case KIND_PERMANENT:
		return ROLE_PERMANENT;
	case KIND_DMZ:
		return ROLE_DMZ;
	default:
		return ROLE_STANDBY;
	}
}

/* ---- state of self */

int
machine_observing(const struct machine *m)
{
	return m->config.observe != 0;
}

int
machine_paused(struct step *s)
{
	struct machine *m = s->m;
	int paused = 0;

	if (m->pause_until_ms != 0 && !step_reached(s, m->pause_until_ms))
		paused = 1;
	for (unsigned i = 0; i < m->config.n_servers; i++)
		if (m->partner[i].pause_until_ms != 0 &&
		    !step_reached(s, m->partner[i].pause_until_ms))
			paused = 1;
	return paused;
}

int
machine_in_sync(const struct machine *m)
{
	const struct machine_position *p = &m->position;

	if (!m->has_position)
		return !machine_data_unknown(m);
	return !machine_blank(m) && p->in_sync && p->behind_ms <= m->config.sync_bound_ms &&
	       p->behind_items <= m->config.sync_bound_items;
}

int
machine_blank(const struct machine *m)
{
	if (!m->has_position)
		return !m->persisted.initialised;
	return m->position.blank && m->persisted.position_index > 0;
}

int
machine_data_unknown(const struct machine *m)
{
	return !m->has_position && m->persisted.position_index > 0;
}

int
machine_healthy(const struct machine *m)
{
	for (unsigned i = 0; i < m->config.n_checks && i < MACHINE_CHECKS; i++)
		if (!m->check[i])
			return 0;
	return !m->hook_failed;
}

static enum condition
judge_condition(struct step *s)
{
	const struct machine *m = s->m;

	if (m->stopping || m->orphaned)
		return CONDITION_STOPPING;
	if (m->persisted.stale)
		return CONDITION_STALE;
	if (m->role != ROLE_MAIN && (m->main == NOBODY || !m->joined))
		return m->joined && m->isolated ? CONDITION_ISOLATED : CONDITION_STARTING;
	if (machine_paused(s))
		return CONDITION_PAUSED;
	if (m->isolated)
		return CONDITION_ISOLATED;
	return m->role == ROLE_MAIN || machine_in_sync(m) ? CONDITION_READY
							  : CONDITION_SYNCHRONISING;
}

static void
expire_pause(struct step *s)
{
	struct machine *m = s->m;

	if (m->pause_until_ms == 0 || !step_reached(s, m->pause_until_ms))
		return;
	m->pause_until_ms = 0;
	m->persisted.pause_left_ms = 0;
	s->announce = s->changed = 1;
	ledger_add(s, LEDGER_EVENT, RULE_PAUSE_EXPIRED, NOBODY, 0);
	step_persist(s, 1);
}

/* ---- inputs */

/* The group has data: not forgotten again, also when ours is lost. */
static void
remember_data(struct step *s, uint64_t index)
{
	struct machine_persisted *ps = &s->m->persisted;
	int first = ps->position_index == 0;

	ps->position_index = index;
	if (first) {
		s->changed = s->announce = 1;
		step_persist(s, 1);
	}
}

/* A server without data learns from its partners whether there is some. */
static void
note_data_of_group(struct step *s, unsigned i, const struct status_record *r)
{
	if (s->m->persisted.position_index == 0 && r->position_index > 0 &&
	    server_is_partner(s->m, i, KIND_STANDARD))
		remember_data(s, r->position_index);
}

static void
take_record(struct step *s, const struct machine_input *in)
{
	unsigned i = in->u.status.partner;
	const struct status_record *r = &in->u.status.record;

	if (evidence_take_record(s, i, in->u.status.path, in->u.status.direction, r) == -1)
		return;
	note_data_of_group(s, i, r);
	/* what only a standard server can be: the word of any other proves nothing */
	if (r->role == ROLE_MAIN && !server_is_partner(s->m, i, KIND_STANDARD))
		return;
	role_track_main(s, i, r);
	lease_take_record(s, i, r);
	handover_take_record(s, i, r);
}

static void
take_check(struct step *s, const struct machine_check *c)
{
	struct machine *m = s->m;
	uint8_t healthy;

	if (c->index < m->config.n_checks && c->index < MACHINE_CHECKS)
		m->check[c->index] = c->healthy != 0;
	healthy = (uint8_t)machine_healthy(m);
	if (healthy == m->healthy)
		return;
	m->healthy = healthy;
	s->announce = s->changed = 1;
	ledger_add(s, LEDGER_EVENT, healthy ? RULE_CHECK_RECOVERED : RULE_CHECK_FAILED, NOBODY, 0);
}

static void
take_position(struct step *s, const struct machine_position *p)
{
	struct machine *m = s->m;

	m->position = *p;
	if (!m->has_position)
		s->changed = s->announce = 1;
	m->has_position = 1;
	if (p->index > 0)
		remember_data(s, p->index);
	if (m->persisted.stale != p->stale) {
		m->persisted.stale = p->stale;
		step_persist(s, 1);
		s->changed = 1;
	}
}

static void
take_orphaned(struct step *s)
{
	struct machine *m = s->m;

	if (m->orphaned)
		return;
	m->orphaned = 1;
	step_send(s, partner_mask(m), RECORD_OBITUARY, NOBODY, RULE_OBITUARY_SENT);
	ledger_add(s, LEDGER_EVENT, RULE_OBITUARY_SENT, NOBODY, 0);
}

/* A server index, or mask of them, of the old configuration in the new one. */
static uint8_t
map_index(const struct machine_config *from, const struct machine_config *to, uint8_t i)
{
	return i < from->n_servers ? server_of_id(to, from->server[i].id) : NOBODY;
}

static uint32_t
map_mask(const struct machine_config *from, const struct machine_config *to, uint32_t mask)
{
	uint32_t out = 0;

	for (uint8_t i = 0; i < from->n_servers; i++) {
		uint8_t k = map_index(from, to, i);

		if ((mask & 1U << i) != 0 && k != NOBODY)
			out |= 1U << k;
	}
	return out;
}

/* Same servers under other indexes: what is known about them moves with them. */
static void
map_partners(struct machine *m, const struct machine_config *to)
{
	static const struct machine_partner empty;
	const struct machine_config *from = &m->config;
	struct machine_partner old[MACHINE_SERVERS];
	uint8_t *indexes[] = {&m->main, &m->elect, &m->heir, &m->why_peer, &m->handover_to,
	    &m->offer_from, &m->persisted.voted_for};

	memcpy(old, m->partner, sizeof(old));
	for (unsigned i = 0; i < MACHINE_SERVERS; i++)
		m->partner[i] = empty;
	for (uint8_t i = 0; i < from->n_servers; i++) {
		uint8_t k = map_index(from, to, i);

		if (k == NOBODY)
			continue;
		m->partner[k] = old[i];
		m->partner[k].successor = map_index(from, to, old[i].successor);
	}
	for (unsigned i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++)
		*indexes[i] = map_index(from, to, *indexes[i]);
	m->persisted.left = map_mask(from, to, m->persisted.left);
	m->persisted.outvoted = map_mask(from, to, m->persisted.outvoted);
}

uint8_t
machine_find_dropped(const struct machine *m, const struct machine_config *to)
{
	const struct machine_config *from = &m->config;

	if (from->server[from->self].kind != KIND_STANDARD)
		return NOBODY;
	for (uint8_t i = 0; i < from->n_servers; i++) {
		if (!server_is_partner(m, i, KIND_STANDARD) || map_index(from, to, i) != NOBODY)
			continue;
		switch (m->partner[i].verdict) {
		case VERDICT_HEALTHY:
		case VERDICT_ICMP_BLOCKED:
		case VERDICT_RESTARTING:
		case VERDICT_SUSPECT:
			return i;
		default:
			break;
		}
	}
	return NOBODY;
}

static void
take_config(struct step *s, const struct machine_config *c)
{
	static const struct machine_reference unseen;
	struct machine *m = s->m;
	int more_references = c->n_references != m->config.n_references;

	if (c->mode == ARB_VOTERS && m->config.mode != ARB_VOTERS && m->role == ROLE_MAIN)
		m->lease_until_ms = s->now + c->lease_ms; /* time to get the first one */
	map_partners(m, c);
	if (c->n_checks != m->config.n_checks)
		memset(m->check, 1, sizeof(m->check));
	m->config = *c;
	m->hook_failed = 0;
	m->healthy = (uint8_t)machine_healthy(m);
	for (unsigned i = c->n_references; i < MACHINE_REFERENCES; i++)
		m->reference[i] = unseen;
	if (more_references)
		m->floor_ms = s->now;
	m->send_ms = s->now;
	s->announce = s->changed = 1;
	ledger_add(s, LEDGER_EVENT, RULE_RECONFIGURED, NOBODY, 0);
	step_persist(s, 1);
	if (m->role == ROLE_MAIN && c->server[c->self].kind != KIND_STANDARD)
		role_demote(s, RULE_STEP_DOWN_RECONFIGURED, NOBODY, NOBODY);
	if (m->role != ROLE_MAIN)
		m->role = (uint8_t)idle_role(c);
}

static void
take_input(struct step *s, const struct machine_input *in)
{
	switch (in->kind) {
	case IN_CONFIG:
		take_config(s, &in->u.config);
		break;
	case IN_RECORD:
		take_record(s, in);
		break;
	case IN_LINK:
		evidence_take_link(s, &in->u.link);
		break;
	case IN_ICMP:
		evidence_take_icmp(s, &in->u.icmp);
		break;
	case IN_LOCAL:
		evidence_take_local(s, &in->u.local);
		break;
	case IN_CHECK:
		take_check(s, &in->u.check);
		break;
	case IN_POSITION:
		take_position(s, &in->u.position);
		break;
	case IN_ACTION_RESULT:
		role_take_result(s, &in->u.result);
		handover_take_result(s, &in->u.result);
		break;
	case IN_DRAINED:
		handover_take_drained(s);
		break;
	case IN_ADMIN:
		admin_take(s, &in->u.admin);
		break;
	case IN_ORPHANED:
		take_orphaned(s);
		break;
	default:
		break;
	}
}

/* ---- one step */

/* The first step: a server that starts makes sure that its service does not act as main. */
static void
take_start(struct step *s)
{
	struct machine *m = s->m;

	m->started = 1;
	if (m->resumed && m->role == ROLE_MAIN) {
		ledger_add(s, LEDGER_DECISION, RULE_RESUMED, NOBODY, 0);
		step_persist(s, 1);
	} else if (!m->resumed) {
		m->hook_event = step_hook(s, OUT_BECOME, HOOK_STANDBY, RULE_STARTED, NOBODY);
		m->hook_kind = HOOK_STANDBY;
		ledger_add(s, LEDGER_DECISION, RULE_STARTED, NOBODY, 0);
	}
	s->announce = 1;
}

/* All rules, once. */
static void
evaluate(struct step *s)
{
	struct machine *m = s->m;

	s->changed = 0;
	expire_pause(s);
	evidence_update(s);
	if (m->stopping)
		stop_decide(s);
	else if (m->handover != HANDOVER_NONE)
		handover_decide(s);
	else if (m->role == ROLE_MAIN)
		main_decide(s);
	else if (m->main == NOBODY)
		join_decide(s);
	else
		standby_decide(s);
}

/* What kind of record a partner gets in the regular round. */
static void
send_round(struct step *s, uint32_t mask)
{
	struct machine *m = s->m;
	uint32_t to = m->handover_to < m->config.n_servers ? 1U << m->handover_to : 0;

	if (m->handover == HANDOVER_ABDICATED) {
		step_send(s, mask, RECORD_GOODBYE, m->handover_to, m->handover_rule);
	} else if (m->handover == HANDOVER_OFFERED) {
		step_send(s, mask & to, RECORD_OFFER, NOBODY, m->handover_rule);
		step_send(s, mask & ~to, RECORD_STATUS, NOBODY, m->why);
	} else {
		step_send(s, mask, RECORD_STATUS, NOBODY, m->why);
	}
}

/* Status records: every interval, at once to all on a change, at once to who asks or is new. */
static void
send_status(struct step *s)
{
	struct machine *m = s->m;

	if (m->stop_step >= STOP_HOOK || m->orphaned) /* the last words were sent */
		return;
	if (step_reached(s, m->send_ms) || s->announce) {
		send_round(s, partner_mask(m));
		m->send_ms += m->config.status_interval_ms;
		if (s->announce || m->send_ms <= s->now)
			m->send_ms = s->now + m->config.status_interval_ms;
		(void)step_reached(s, m->send_ms);
	} else if (s->answer != 0) {
		send_round(s, s->answer);
	}
}

static void
finish(struct step *s)
{
	struct machine *m = s->m;
	uint8_t before = m->condition;

	m->condition = (uint8_t)judge_condition(s);
	if (m->condition != before)
		s->announce = 1;
	ledger_finish(s);
	send_status(s);
	if (s->changed)
		(void)step_reached(s, s->now + 1);
	m->promised_ms = s->out->next_ms;
}

void
machine_step(struct machine *m, const struct machine_input *in, struct machine_outputs *out)
{
	struct step s = {
	    .m = m, .out = out, .why = RULE_NONE, .why_peer = NOBODY, .why_due_ms = MACHINE_NEVER};

	s.now = in->now_ms > m->now_ms ? in->now_ms : m->now_ms;
	m->now_ms = s.now;
	out->n = out->dropped = 0;
	out->next_ms = s.now + LONGEST_SLEEP_MS;
	if (m->orphaned)
		return;
	if (!m->started)
		take_start(&s);
	else
		evidence_note_lateness(&s, s.now - m->promised_ms);
	take_input(&s, in);
	for (unsigned round = 0; round < 4; round++) {
		evaluate(&s);
		if (!s.changed)
			break;
	}
	finish(&s);
}

/* ---- begin, persisted state */

void
machine_persisted_blank(struct machine_persisted *p)
{
	memset(p, 0, sizeof(*p));
	p->voted_for = NOBODY;
}

/*
 * The config may have been changed while this server was down: what is written about the servers of
 * the old list is about those of the same id in the new one.
 */
static void
map_persisted(struct machine_persisted *p, const struct machine_config *to)
{
	uint32_t left = 0, outvoted = 0;
	uint8_t voted_for = NOBODY;

	for (uint8_t i = 0; i < p->n_servers && i < MACHINE_SERVERS; i++) {
		uint8_t k = server_of_id(to, p->server_id[i]);

		if (k == NOBODY)
			continue;
		left |= (p->left >> i & 1) << k;
		outvoted |= (p->outvoted >> i & 1) << k;
		if (p->voted_for == i)
			voted_for = k;
	}
	p->left = left;
	p->outvoted = outvoted;
	p->voted_for = voted_for;
}

static void
init_times(struct machine *m, int64_t now_ms)
{
	m->now_ms = m->started_ms = m->send_ms = m->promised_ms = now_ms;
	m->icmp_from_ms = m->netd_from_ms = m->floor_ms = now_ms;
	for (unsigned i = 0; i < MACHINE_TAKEOVERS && i < m->persisted.n_takeovers; i++)
		m->takeover_ms[i] = now_ms - m->persisted.takeover_age_ms[i];
	if (m->persisted.pause_left_ms > 0 && m->persisted.pause_left_ms < (uint64_t)SPAN_MAX)
		m->pause_until_ms = now_ms + (int64_t)m->persisted.pause_left_ms;
}

void
machine_init(struct machine *m, const struct machine_config *mc, const struct machine_persisted *p,
    uint64_t boot_id, uint64_t instance, int64_t now_ms)
{
	int resume = p->instance == instance;

	memset(m, 0, sizeof(*m));
	m->config = *mc;
	m->persisted = *p;
	map_persisted(&m->persisted, mc);
	m->persisted.instance = instance;
	m->persisted.pause_owner[MACHINE_OWNER - 1] = '\0';
	m->persisted.pause_reason[MACHINE_REASON - 1] = '\0';
	m->boot_id = boot_id;
	m->main = m->elect = m->heir = m->why_peer = m->handover_to = m->offer_from = NOBODY;
	m->healthy = 1;
	memset(m->check, 1, sizeof(m->check));
	init_times(m, now_ms);
	m->role = (uint8_t)idle_role(mc);
	m->resumed = (uint8_t)resume;
	if (resume && p->role == ROLE_MAIN && m->role == ROLE_STANDBY) {
		m->role = ROLE_MAIN;
		m->main = mc->self;
		m->joined = 1;
		m->main_since_ms = m->ready_ms = now_ms;
	}
	lease_init(m, now_ms);
}

void
machine_persisted_now(const struct machine *m, int64_t now_ms, struct machine_persisted *p)
{
	*p = m->persisted;
	p->role = m->role;
	p->pause_left_ms = m->pause_until_ms > now_ms ? (uint64_t)(m->pause_until_ms - now_ms) : 0;
	p->n_takeovers = 0;
	for (unsigned i = 0; i < MACHINE_TAKEOVERS; i++) {
		if (m->takeover_ms[i] == 0)
			break;
		p->takeover_age_ms[i] = now_ms - m->takeover_ms[i];
		p->n_takeovers++;
	}
	p->n_servers = m->config.n_servers;
	for (unsigned i = 0; i < MACHINE_SERVERS; i++)
		p->server_id[i] = i < m->config.n_servers ? m->config.server[i].id : 0;
}

/* ---- records */

/* An age for a record: -1 never. */
static int64_t
record_age(int64_t now_ms, int64_t at_ms)
{
	return at_ms == 0 ? -1 : now_ms - at_ms;
}

static uint16_t
record_flags(const struct machine *m, int64_t now_ms)
{
	unsigned f = 0;

	f |= m->pause_until_ms > now_ms ? RECORD_PAUSED : 0U;
	f |= machine_observing(m) ? RECORD_OBSERVING : 0U;
	f |= m->references_kept ? RECORD_REFERENCES_KEPT : 0U;
	f |= m->stopping ? RECORD_STOPPING : 0U;
	f |= m->stalled ? RECORD_STALLED : 0U;
	f |= m->healthy ? RECORD_HEALTHY : 0U;
	f |= machine_in_sync(m) && !m->persisted.stale ? RECORD_IN_SYNC : 0U;
	f |= m->handover >= HANDOVER_STOPPING || m->abdicated ? RECORD_HANDOVER : 0U;
	f |= machine_blank(m) ? RECORD_BLANK : 0U;
	f |= m->abdicated ? RECORD_WAS_MAIN : 0U;
	f |= machine_data_unknown(m) ? RECORD_DATA_UNKNOWN : 0U;
	return (uint16_t)f;
}

/* Whom we take for main, and when it was heard. */
static void
record_fill_main(const struct machine *m, int64_t now_ms, struct status_record *r)
{
	r->main_age_ms = m->role == ROLE_MAIN ? now_ms - m->main_since_ms : -1;
	r->main_heard_age_ms = -1;
	if (m->main < m->config.n_servers) {
		r->main_id = m->config.server[m->main].id;
		if (m->main == m->config.self)
			r->main_heard_age_ms = 0;
		else if (m->partner[m->main].gone == 0)
			r->main_heard_age_ms = record_age(now_ms, m->partner[m->main].heard_ms);
	}
	if (m->main == NOBODY && m->elect < m->config.n_servers)
		r->elect_id = m->config.server[m->elect].id;
}

void
machine_record(struct machine *m, int64_t now_ms, uint8_t partner, enum record_kind kind,
    uint8_t successor, enum rule reason, struct status_record *r)
{
	const struct machine_config *c = &m->config;

	memset(r, 0, sizeof(*r));
	r->kind = (uint8_t)kind;
	r->boot_id = m->boot_id;
	r->seq = ++m->seq;
	r->uptime_ms = (uint64_t)now_ms;
	r->role = m->role;
	r->condition = m->condition;
	r->flags = record_flags(m, now_ms);
	r->reason = (uint8_t)reason;
	r->priority = c->server[c->self].priority;
	r->epoch = m->persisted.epoch;
	r->epoch_seen = m->persisted.epoch_seen;
	r->position_epoch = m->has_position ? m->position.epoch : m->persisted.epoch;
	r->position_index = m->has_position ? m->position.index : m->persisted.position_index;
	r->in_sync_age_ms = machine_in_sync(m) ? 0 : -1;
	r->heard_age_ms =
	    partner < MACHINE_SERVERS ? record_age(now_ms, m->partner[partner].heard_ms) : -1;
	record_fill_main(m, now_ms, r);
	if (kind != RECORD_GOODBYE)
		successor = m->role == ROLE_MAIN ? m->heir : NOBODY;
	if (successor < c->n_servers)
		r->successor_id = c->server[successor].id;
	else if (kind != RECORD_GOODBYE && server_is_partner(m, m->main, KIND_STANDARD))
		r->successor_id = m->partner[m->main].last.successor_id;
	r->pause_left_ms = m->pause_until_ms > now_ms ? (uint64_t)(m->pause_until_ms - now_ms) : 0;
	memcpy(r->digest, c->digest, sizeof(r->digest));
	if (partner < MACHINE_SERVERS)
		lease_fill(m, now_ms, partner, r);
}

static int
span_bad(int64_t ms)
{
	return ms < -1 || ms > SPAN_MAX;
}

int
machine_record_check(const struct status_record *r)
{
	if (r->kind < RECORD_STATUS || r->kind >= RECORD_KIND_MAX || r->role >= ROLE_MAX ||
	    r->condition >= CONDITION_MAX || (r->flags & ~RECORD_FLAGS) != 0 ||
	    r->reason >= RULE_MAX || r->boot_id == 0 || r->seq == 0)
		return -1;
	if (r->epoch > EPOCH_MAX || r->epoch_seen > EPOCH_MAX || r->position_epoch > EPOCH_MAX ||
	    r->lease_epoch > EPOCH_MAX || r->grant_epoch > EPOCH_MAX)
		return -1;
	if (span_bad(r->main_age_ms) || span_bad(r->in_sync_age_ms) || span_bad(r->heard_age_ms) ||
	    span_bad(r->main_heard_age_ms) || span_bad(r->lease_sent_ms) ||
	    span_bad(r->grant_echo_ms) || r->pause_left_ms > (uint64_t)SPAN_MAX)
		return -1;
	return 0;
}

/* ---- names */

static const char *
name_of(const char *const *names, unsigned n, unsigned i)
{
	return i < n ? names[i] : "unknown";
}

const char *
role_name(unsigned role)
{
	static const char *const names[] = {"standby", "main", "permanent", "dmz"};

	return name_of(names, ROLE_MAX, role);
}

const char *
condition_name(unsigned condition)
{
	static const char *const names[] = {
	    "starting", "synchronising", "ready", "stale", "isolated", "paused", "stopping"};

	return name_of(names, CONDITION_MAX, condition);
}

const char *
verdict_name(unsigned verdict)
{
	static const char *const names[] = {"unknown", "healthy", "icmp-blocked", "stopped",
	    "guard-dead", "program-dead", "restarting", "suspect", "offline", "unreachable",
	    "isolated"};

	return name_of(names, VERDICT_MAX, verdict);
}

const char *
record_kind_name(unsigned kind)
{
	static const char *const names[] = {
	    "none", "status", "goodbye", "obituary", "offer", "accept", "refuse", "cancel"};

	return name_of(names, RECORD_KIND_MAX, kind);
}
