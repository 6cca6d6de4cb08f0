/* SPDX-License-Identifier: ISC */
/*
 * What is known about the partners and the reference hosts, and what it amounts to. The verdict of
 * a partner is the row of the evidence table (doc/roles.md) that fits; nothing here acts.
 *
 * Silence is counted from silent_from_ms: when the partner was heard last, or later when this
 * server could not listen (it was frozen, its netd restarted, it was cut off itself). What was not
 * listened for proves nothing.
 */
#include "machine_internal.h"

#include <string.h>

/* How long a partner may say nothing before it counts as silent. */
int64_t
evidence_silence_ms(const struct machine_config *c)
{
	return c->status_interval_ms * c->status_misses;
}

/* How old an echo reply may be to count as an answer. */
int64_t
evidence_ping_window_ms(const struct machine_config *c)
{
	return c->icmp_interval_ms * c->icmp_misses;
}

/* Links of a partner that are up, both directions. */
unsigned
evidence_links(const struct machine_partner *p)
{
	unsigned n = 0;

	for (unsigned k = 0; k < MACHINE_PATHS; k++)
		n += p->path[k].up[LINK_OUT] + p->path[k].up[LINK_IN];
	return n;
}

/* The partner's silence begins anew: something kept us from hearing it. */
static void
restart_silence(struct step *s, unsigned i)
{
	struct machine_partner *p = &s->m->partner[i];

	if (p->heard_ms == 0)
		return;
	p->silent_from_ms = s->now;
	p->redial_ms = 0;
	s->changed = 1;
}

static void
restart_silence_of_all(struct step *s)
{
	for (unsigned i = 0; i < s->m->config.n_servers; i++)
		restart_silence(s, i);
}

/*
 * The step came later than it was promised. A little: time in which we did not listen is not the
 * partner's silence, and no decision from silence is made before what waits in our queues has been
 * read. A lot (step-down time): we were frozen; see ROLES "own stall".
 */
void
evidence_note_lateness(struct step *s, int64_t late_ms)
{
	struct machine *m = s->m;
	int64_t slack_ms = m->config.status_interval_ms / 2;

	if (slack_ms < 2)
		slack_ms = 2;
	if (late_ms <= slack_ms)
		return;
	m->look_again_ms = s->now + 2;
	if (late_ms < m->config.step_down_ms) {
		for (unsigned i = 0; i < m->config.n_servers; i++) {
			struct machine_partner *p = &m->partner[i];

			p->silent_from_ms += late_ms;
			if (p->silent_from_ms > s->now)
				p->silent_from_ms = s->now;
		}
		return;
	}
	m->stalled = 1;
	m->stall_ms = s->now;
	m->floor_ms = s->now;
	m->references_kept = 0;
	restart_silence_of_all(s);
	ledger_add(s, LEDGER_EVENT, RULE_STALL, NOBODY, late_ms);
}

/*
 * A link that was up has ended. A FIN that was found in the queue soon after a stall is of nobody
 * knows when, and proves no more than a reset.
 */
static void
link_lost(struct step *s, struct machine_path *path, const struct machine_link *l)
{
	const struct machine *m = s->m;
	int old = m->stall_ms != 0 && s->now < m->stall_ms + evidence_silence_ms(&m->config);

	path->up[l->direction] = 0;
	if (l->cause == CLOSE_LOCAL)
		return;
	if (l->cause == CLOSE_FIN && !old)
		path->fin_ms = s->now;
	else
		path->reset_ms = s->now;
	if (l->direction == LINK_OUT) {
		path->out_lost_ms = s->now;
		path->dial = DIAL_PENDING;
		path->dial_ms = s->now;
	}
}

static void
dial_result(struct step *s, struct machine_path *path, enum dial_state state)
{
	path->dial = (uint8_t)state;
	path->dial_ms = s->now;
}

/*
 * What a dial that failed says of the partner: nothing when it failed for reasons of this server.
 */
static enum dial_state
dial_failure(unsigned cause)
{
	switch (cause) {
	case CLOSE_LOCAL:
	case CLOSE_ERROR:
		return DIAL_PENDING;
	case CLOSE_REFUSED:
		return DIAL_REFUSED;
	default:
		return DIAL_UNANSWERED;
	}
}

/* What netd and the handshake said about one link. */
void
evidence_take_link(struct step *s, const struct machine_link *l)
{
	struct machine_path *path;

	if (!server_is_partner(s->m, l->partner, KIND_MAX) || l->path >= MACHINE_PATHS ||
	    l->direction >= LINK_DIRECTION_MAX)
		return;
	path = &s->m->partner[l->partner].path[l->path];
	switch (l->event) {
	case LINK_UP: /* the handshake is a sign of life; its first record is on the way */
		path->up[l->direction] = 1;
		path->fin_ms = path->reset_ms = 0;
		restart_silence(s, l->partner);
		if (l->direction == LINK_OUT) {
			path->out_lost_ms = 0;
			dial_result(s, path, DIAL_OPEN);
		}
		s->answer |= 1U << l->partner;
		break;
	case LINK_LOST:
		link_lost(s, path, l);
		break;
	case LINK_DIAL_CONNECTED:
	case LINK_HANDSHAKE_FAILED: /* accepted, then closed: it may be dying just now */
		dial_result(s, path, DIAL_OPEN);
		break;
	case LINK_DIAL_FAILED:
		dial_result(s, path, dial_failure(l->cause));
		break;
	case LINK_HANDSHAKE_TIMEOUT:
		dial_result(s, path, DIAL_HANDSHAKE_SILENT);
		break;
	default:
		break;
	}
}

/* An echo report; an answer from the future counts as of now. */
void
evidence_take_icmp(struct step *s, const struct machine_icmp *ic)
{
	int64_t ok_ms = ic->last_ok_ms > s->now ? s->now : ic->last_ok_ms;
	struct machine *m = s->m;

	if (ic->kind == TARGET_REFERENCE && ic->index < m->config.n_references) {
		struct machine_reference *r = &m->reference[ic->index];

		r->state = ic->state;
		r->rtt_us = ic->rtt_us;
		r->loss_permille = ic->loss_permille;
		if (ok_ms > r->ok_ms)
			r->ok_ms = ok_ms;
	} else if (ic->kind == TARGET_PARTNER && ic->path < MACHINE_PATHS &&
		   server_is_partner(m, ic->index, KIND_MAX)) {
		struct machine_path *path = &m->partner[ic->index].path[ic->path];

		path->icmp = ic->state;
		path->icmp_rtt_us = ic->rtt_us;
		path->icmp_loss_permille = ic->loss_permille;
		if (ok_ms > path->icmp_ok_ms)
			path->icmp_ok_ms = ok_ms;
	}
}

/* netd or icmpd of this server went or came: what comes through it is unknown meanwhile. */
void
evidence_take_local(struct step *s, const struct machine_local *l)
{
	struct machine *m = s->m;

	if (l->process == PROC_ICMPD)
		m->icmp_from_ms = l->up ? s->now : 0;
	if (l->process == PROC_SYNCD && !l->up && m->has_position) {
		m->has_position = 0; /* what it said ages; it says it again when it is back */
		s->changed = s->announce = 1;
	}
	if (l->process != PROC_NETD)
		return;
	m->netd_from_ms = l->up ? s->now : 0;
	for (unsigned i = 0; i < m->config.n_servers; i++)
		for (unsigned k = 0; k < MACHINE_PATHS; k++) {
			struct machine_path *path = &m->partner[i].path[k];

			path->up[LINK_OUT] = path->up[LINK_IN] = 0;
			path->fin_ms = path->reset_ms = path->out_lost_ms = 0;
			path->dial = DIAL_NONE;
		}
	restart_silence_of_all(s);
}

/* A partner that had left is back. */
static void
note_return(struct step *s, unsigned i)
{
	struct machine_persisted *ps = &s->m->persisted;
	uint32_t bit = 1U << i;

	if (((ps->left | ps->outvoted) & bit) == 0)
		return;
	ps->left &= ~bit;
	ps->outvoted &= ~bit;
	step_persist(s, 1);
}

/* Goodbye and obituary: the partner's own word, signed. */
static void
note_last_words(struct step *s, unsigned i, const struct status_record *r)
{
	struct machine_partner *p = &s->m->partner[i];

	p->gone = r->kind == RECORD_OBITUARY ? RULE_PARTNER_GUARD_DEAD : RULE_PARTNER_STOPPED;
	p->gone_ms = s->now;
	p->abdicated = r->kind == RECORD_GOODBYE && (r->flags & RECORD_WAS_MAIN) != 0;
	p->successor = server_of_id(&s->m->config, r->successor_id);
	s->changed = 1;
	if (r->kind == RECORD_GOODBYE && (r->flags & RECORD_STOPPING) != 0 &&
	    server_is_partner(s->m, i, KIND_STANDARD) && (s->m->persisted.left & 1U << i) == 0) {
		s->m->persisted.left |= 1U << i;
		step_persist(s, 1);
	}
}

/*
 * The epochs that a partner knows. A DMZ server has no say in who is main, nor in how it is
 * numbered.
 */
static void
note_epochs(struct step *s, unsigned i, const struct status_record *r)
{
	struct machine_persisted *ps = &s->m->persisted;

	if (server_is_partner(s->m, i, KIND_DMZ))
		return;
	if (r->epoch > ps->epoch_seen)
		ps->epoch_seen = r->epoch;
	if (r->epoch_seen > ps->epoch_seen)
		ps->epoch_seen = r->epoch_seen;
}

/* Times that follow from a record that has just come. */
static void
note_heard(struct step *s, struct machine_partner *p, const struct status_record *r)
{
	p->heard_ms = p->silent_from_ms = s->now;
	p->redial_ms = 0;
	p->pause_until_ms = r->pause_left_ms > 0 ? s->now + (int64_t)r->pause_left_ms : 0;
	if (r->heard_age_ms >= 0 && s->now - r->heard_age_ms > p->contact_ms)
		p->contact_ms = s->now - r->heard_age_ms;
}

/* Whether any partner that was heard has another configuration than we have. */
static void
compare_configs(struct step *s, unsigned i)
{
	const struct machine *m = s->m;
	uint8_t peer = NOBODY;

	for (unsigned k = 0; k < m->config.n_servers; k++)
		if (k != m->config.self && m->partner[k].heard_ms != 0 &&
		    memcmp(m->partner[k].last.digest, m->config.digest, 16) != 0)
			peer = (uint8_t)(k == i || peer == NOBODY ? k : peer);
	step_alarm(s, RULE_CONFIG_DIFFERS, peer, peer != NOBODY);
}

int
evidence_take_record(
    struct step *s, unsigned i, unsigned path, unsigned direction, const struct status_record *r)
{
	struct machine_partner *p;

	if (!server_is_partner(s->m, i, KIND_MAX) || path >= MACHINE_PATHS ||
	    direction >= LINK_DIRECTION_MAX || machine_record_check(r) == -1)
		return -1;
	p = &s->m->partner[i];
	if (p->old_boot_id != 0 && r->boot_id == p->old_boot_id && evidence_fresh(s, i))
		return -1; /* late; but if the newer one has gone, it was a copy of this one */
	p->path[path].up[direction] = 1;
	if (p->heard_ms != 0 && r->boot_id == p->last.boot_id && r->seq <= p->last.seq)
		return -1;
	if (p->heard_ms == 0 || r->boot_id != p->last.boot_id) {
		p->old_boot_id = p->heard_ms != 0 ? p->last.boot_id : 0;
		p->unknown_ms = 0;
		s->answer |= 1U << i;
	}
	if (p->heard_ms == 0 || r->role != p->last.role || r->condition != p->last.condition)
		s->changed = 1;
	p->last = *r;
	if ((r->flags & RECORD_DATA_UNKNOWN) == 0)
		p->unknown_ms = 0;
	else if (p->unknown_ms == 0)
		p->unknown_ms = s->now;
	note_heard(s, p, r);
	note_epochs(s, i, r);
	if (r->kind == RECORD_GOODBYE || r->kind == RECORD_OBITUARY) {
		note_last_words(s, i, r);
	} else if ((r->flags & RECORD_STOPPING) == 0) { /* its last records follow its goodbye */
		p->gone = 0;
		note_return(s, i);
	}
	compare_configs(s, i);
	return 0;
}

int
evidence_fresh(struct step *s, unsigned i)
{
	const struct machine_partner *p = &s->m->partner[i];

	return p->heard_ms != 0 && p->gone == 0 && evidence_links(p) > 0 &&
	       !step_reached(s, p->silent_from_ms + evidence_silence_ms(&s->m->config));
}

int
evidence_heard(struct step *s, unsigned i)
{
	return evidence_fresh(s, i) && s->m->partner[i].heard_ms >= s->m->stall_ms;
}

/* A DMZ server opens nothing: it pings nobody, and knows nothing from ping. */
static int
pings(const struct machine *m)
{
	return m->icmp_from_ms != 0 && m->config.server[m->config.self].kind != KIND_DMZ;
}

/* Echo state of a partner over its paths: one answer is enough, all must be silent to be lost. */
static enum probe_state
judge_icmp(struct step *s, const struct machine_partner *p, unsigned n_paths)
{
	int64_t window_ms = evidence_ping_window_ms(&s->m->config);
	unsigned lost = 0;

	if (!pings(s->m) || n_paths == 0)
		return PROBE_UNKNOWN;
	for (unsigned k = 0; k < n_paths && k < MACHINE_PATHS; k++) {
		int64_t ok_ms = p->path[k].icmp_ok_ms;

		if (ok_ms != 0 && !step_reached(s, ok_ms + window_ms))
			return PROBE_OK;
		if (step_reached(s, s->m->icmp_from_ms + window_ms))
			lost++;
	}
	return lost == n_paths ? PROBE_LOST : PROBE_UNKNOWN;
}

/*
 * The whole guard over there is gone: a link that was up ended by FIN (a firewall cannot forge
 * that) and the redial of an outbound link that had worked until then was refused (its supervisor
 * holds the listener). "Until then": a partner that is heard for another interval after a link
 * ended is alive, and a port that was refused before says nothing about now.
 */
static int
program_dead(const struct machine *m, const struct machine_partner *p)
{
	int64_t since_ms = p->heard_ms - m->config.status_interval_ms;
	int fin = 0, refused = 0;

	for (unsigned k = 0; k < MACHINE_PATHS; k++) {
		const struct machine_path *path = &p->path[k];

		if (path->up[LINK_OUT] || path->up[LINK_IN])
			return 0;
		if (path->dial == DIAL_OPEN)
			return 0;
		if (path->fin_ms != 0 && path->fin_ms >= since_ms)
			fin = 1;
		if (path->out_lost_ms == 0 || path->out_lost_ms < since_ms)
			continue; /* it did not work until then */
		if (path->dial != DIAL_REFUSED || path->dial_ms < path->out_lost_ms)
			return 0; /* its answer is still to come, or was none */
		refused = 1;
	}
	return fin && refused;
}

/*
 * Links ended, but a redial was accepted, even if nobody speaks on it yet: a process over there
 * restarts; for the grace time.
 */
static int
restarting(struct step *s, const struct machine_partner *p)
{
	int64_t grace_ms = s->m->config.restart_grace_ms;

	for (unsigned k = 0; k < MACHINE_PATHS; k++) {
		const struct machine_path *path = &p->path[k];
		int64_t lost_ms = path->fin_ms > path->reset_ms ? path->fin_ms : path->reset_ms;

		if (lost_ms != 0 &&
		    (path->dial == DIAL_OPEN || path->dial == DIAL_HANDSHAKE_SILENT) &&
		    !step_reached(s, lost_ms + grace_ms))
			return 1;
	}
	return 0;
}

/* A redial since the silence began was refused, unanswered, or accepted by a program that hangs. */
static int
unanswered(struct step *s, const struct machine_partner *p)
{
	for (unsigned k = 0; k < MACHINE_PATHS; k++) {
		const struct machine_path *path = &p->path[k];

		if (path->dial >= DIAL_REFUSED && path->dial_ms >= p->silent_from_ms)
			return 1;
	}
	return p->redial_ms != 0 &&
	       step_reached(s, p->redial_ms + evidence_silence_ms(&s->m->config));
}

/* The row of the evidence table for a partner. */
static enum verdict
judge(struct step *s, unsigned i)
{
	const struct machine *m = s->m;
	const struct machine_partner *p = &m->partner[i];
	int silent;

	if (p->gone != 0)
		return p->gone == RULE_PARTNER_GUARD_DEAD ? VERDICT_GUARD_DEAD : VERDICT_STOPPED;
	if (p->heard_ms == 0)
		return VERDICT_UNKNOWN;
	if (evidence_fresh(s, i))
		return p->icmp == PROBE_LOST ? VERDICT_ICMP_BLOCKED : VERDICT_HEALTHY;
	if (p->icmp == PROBE_OK && program_dead(m, p))
		return VERDICT_PROGRAM_DEAD;
	silent = step_reached(s, p->silent_from_ms + evidence_silence_ms(&m->config));
	if (m->netd_from_ms == 0 || p->icmp == PROBE_UNKNOWN)
		return VERDICT_SUSPECT;
	if (p->icmp == PROBE_LOST && silent)
		return m->config.n_references == 0 || evidence_majority(m) ? VERDICT_UNREACHABLE
									   : VERDICT_ISOLATED;
	if (restarting(s, p))
		return VERDICT_RESTARTING;
	return silent && unanswered(s, p) ? VERDICT_OFFLINE : VERDICT_SUSPECT;
}

/* Ask for a redial once per silence, so that "unanswered" is known and a healed path is found. */
static void
ask_redial(struct step *s, unsigned i)
{
	struct machine_partner *p = &s->m->partner[i];

	if (p->redial_ms != 0 || p->heard_ms == 0 || s->m->netd_from_ms == 0)
		return;
	p->redial_ms = s->now;
	step_emit(s, OUT_REDIAL)->u.redial.partner = (uint8_t)i;
}

static void
log_verdict(struct step *s, unsigned i)
{
	static const uint8_t rule_of[VERDICT_MAX] = {
	    [VERDICT_HEALTHY] = RULE_PARTNER_HEALTHY,
	    [VERDICT_ICMP_BLOCKED] = RULE_PARTNER_ICMP_BLOCKED,
	    [VERDICT_STOPPED] = RULE_PARTNER_STOPPED,
	    [VERDICT_GUARD_DEAD] = RULE_PARTNER_GUARD_DEAD,
	    [VERDICT_PROGRAM_DEAD] = RULE_PARTNER_PROGRAM_DEAD,
	    [VERDICT_RESTARTING] = RULE_PARTNER_RESTARTING,
	    [VERDICT_OFFLINE] = RULE_PARTNER_OFFLINE,
	    [VERDICT_UNREACHABLE] = RULE_PARTNER_UNREACHABLE,
	    [VERDICT_ISOLATED] = RULE_PARTNER_ISOLATED,
	};
	struct machine_partner *p = &s->m->partner[i];

	if (rule_of[p->verdict] == RULE_NONE || p->verdict == p->verdict_logged)
		return;
	p->verdict_logged = p->verdict;
	ledger_add(s, LEDGER_EVENT, rule_of[p->verdict], (uint8_t)i, 0);
}

/* Judge one partner; what we could not see before a way was healed is not its silence. */
static void
update_partner(struct step *s, unsigned i)
{
	struct machine_partner *p = &s->m->partner[i];
	uint8_t before = p->verdict, icmp_before = p->icmp;

	p->icmp = (uint8_t)judge_icmp(s, p, s->m->config.server[i].n_paths);
	p->verdict = (uint8_t)judge(s, i);
	if ((before == VERDICT_ISOLATED && p->verdict != VERDICT_ISOLATED) ||
	    (before == VERDICT_UNREACHABLE && icmp_before == PROBE_LOST && p->icmp == PROBE_OK)) {
		if (p->silent_from_ms != s->now)
			restart_silence(s, i);
		p->verdict = (uint8_t)judge(s, i);
		ask_redial(s, i);
	}
	if (p->verdict == before)
		return;
	p->verdict_ms = s->now;
	s->changed = 1;
	log_verdict(s, i);
	if (p->verdict >= VERDICT_SUSPECT)
		ask_redial(s, i);
}

static void
count_references(struct step *s)
{
	struct machine *m = s->m;
	unsigned seen = 0;

	for (unsigned i = 0; i < m->config.n_references; i++) {
		int64_t ok_ms = m->reference[i].ok_ms;

		if (ok_ms != 0 && !step_reached(s, ok_ms + evidence_ping_window_ms(&m->config)))
			seen++;
	}
	m->refs_seen = (uint8_t)seen;
	if (!evidence_majority(m))
		m->refs_from_ms = 0;
	else if (m->refs_from_ms == 0)
		m->refs_from_ms = s->now;
}

int
evidence_majority(const struct machine *m)
{
	return 2U * m->refs_seen > m->config.n_references;
}

int64_t
evidence_ping_ms(const struct machine_partner *p)
{
	int64_t ok_ms = 0;

	for (unsigned k = 0; k < MACHINE_PATHS; k++)
		if (p->path[k].icmp_ok_ms > ok_ms)
			ok_ms = p->path[k].icmp_ok_ms;
	return ok_ms;
}

unsigned
evidence_references_since(const struct machine *m, unsigned i)
{
	int64_t since_ms = m->partner[i].silent_from_ms + evidence_silence_ms(&m->config) -
			   m->config.status_interval_ms;
	int64_t ping_ms = evidence_ping_ms(&m->partner[i]) + evidence_ping_window_ms(&m->config) -
			  m->config.icmp_interval_ms;
	unsigned n = 0;

	if (since_ms < ping_ms)
		since_ms = ping_ms;
	for (unsigned k = 0; k < m->config.n_references; k++)
		n += m->reference[k].ok_ms > since_ms;
	return n;
}

int64_t
evidence_references_ok_ms(const struct machine *m)
{
	int64_t ok_ms = 0;

	for (unsigned k = 0; k < m->config.n_references; k++)
		if (m->reference[k].ok_ms > ok_ms)
			ok_ms = m->reference[k].ok_ms;
	return ok_ms;
}

/* Cut off: no partner on a link or on ping, and too few references. */
static void
update_isolation(struct step *s)
{
	struct machine *m = s->m;
	unsigned isolated = m->config.n_references > 0 && !evidence_majority(m) && pings(m);
	unsigned partners = 0;

	for (unsigned i = 0; i < m->config.n_servers; i++) {
		if (i == m->config.self || m->partner[i].heard_ms == 0)
			continue;
		partners++;
		if (m->partner[i].verdict != VERDICT_ISOLATED)
			isolated = 0;
	}
	if (partners == 0)
		isolated = 0;
	if (isolated == m->isolated)
		return;
	m->isolated = (uint8_t)isolated;
	m->isolated_ms = s->now;
	s->changed = 1;
	ledger_add(s, LEDGER_EVENT, isolated ? RULE_ISOLATED : RULE_CONNECTED, NOBODY, 0);
	step_alarm(s, RULE_ISOLATED, NOBODY, (int)isolated);
}

/* Whether the references were there all through a split: decides between two mains after it. */
static void
update_references_kept(struct step *s)
{
	struct machine *m = s->m;
	int whole = 1;

	if (m->role != ROLE_MAIN)
		return;
	for (unsigned i = 0; i < m->config.n_servers; i++)
		if (server_is_partner(m, i, KIND_STANDARD) &&
		    (!evidence_fresh(s, i) || m->partner[i].last.role == ROLE_MAIN))
			whole = 0;
	if (!evidence_majority(m))
		m->references_kept = 0;
	else if (whole)
		m->references_kept = 1;
}

/* After a stall: normal again when a standard partner was heard, or a silence time has passed. */
static void
update_stalled(struct step *s)
{
	struct machine *m = s->m;

	if (!m->stalled)
		return;
	if (step_reached(s, m->stall_ms + evidence_silence_ms(&m->config)))
		m->stalled = 0;
	for (unsigned i = 0; i < m->config.n_servers; i++)
		if (server_is_partner(m, i, KIND_STANDARD) && evidence_heard(s, i))
			m->stalled = 0;
	if (!m->stalled)
		s->changed = 1;
}

/* Bring verdicts, references and isolation up to this moment. */
void
evidence_update(struct step *s)
{
	count_references(s);
	for (unsigned i = 0; i < s->m->config.n_servers; i++)
		if (i != s->m->config.self)
			update_partner(s, i);
	update_isolation(s);
	update_references_kept(s);
	update_stalled(s);
}

int
evidence_ready(struct step *s, unsigned i, int healthy)
{
	const struct machine *m = s->m;
	const struct status_record *r = &m->partner[i].last;
	uint16_t want = RECORD_IN_SYNC | (healthy ? RECORD_HEALTHY : 0);
	uint16_t not = RECORD_OBSERVING | RECORD_STOPPING | RECORD_STALLED;

	return server_is_partner(m, i, KIND_STANDARD) && evidence_heard(s, i) &&
	       r->role == ROLE_STANDBY && (r->flags & want) == want && (r->flags & not ) == 0 &&
	       r->condition != CONDITION_STALE && r->main_id == m->config.server[m->config.self].id;
}

/* What evidence_before compares. */
struct standing {
	uint64_t epoch, index;
	int32_t priority;
	uint8_t name_rank;
};

static struct standing
standing_of(const struct machine *m, unsigned i)
{
	const struct status_record *r = &m->partner[i].last;
	struct standing st = {
	    r->position_epoch, r->position_index, r->priority, m->config.server[i].name_rank};

	if (i == m->config.self) {
		st.epoch = m->has_position ? m->position.epoch : m->persisted.epoch;
		st.index = m->has_position ? m->position.index : m->persisted.position_index;
		st.priority = m->config.server[i].priority;
	}
	return st;
}

int
evidence_before(const struct machine *m, unsigned a, unsigned b)
{
	struct standing x = standing_of(m, a), y = standing_of(m, b);

	if (x.epoch != y.epoch)
		return x.epoch > y.epoch;
	if (x.index != y.index)
		return x.index > y.index;
	if (x.priority != y.priority)
		return x.priority > y.priority;
	return x.name_rank < y.name_rank;
}
