/* SPDX-License-Identifier: ISC */
/*
 * The answers to "status": what the machine, the links and the supervisor's messages say, put into
 * the structs of lib/admin.h.
 */
#include "config.h"

#include "roled.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/loop.h"

#define WORD(field, text) snprintf((field), sizeof(field), "%s", (text))

static int64_t
age(int64_t now, int64_t then)
{
	return then > 0 && then <= now ? now - then : -1;
}

static const char *
probe_word(unsigned state)
{
	static const char *const words[PROBE_STATE_MAX] = {"unknown", "ok", "lost"};

	return state < PROBE_STATE_MAX ? words[state] : "?";
}

static enum ctl_level
level_of(unsigned rule)
{
	switch (rule_severity(rule)) {
	case SEVERITY_ALARM:
		return CTL_LEVEL_CRITICAL;
	case SEVERITY_WARNING:
		return CTL_LEVEL_WARNING;
	default:
		return CTL_LEVEL_OK;
	}
}

static const char *
name_of(uint8_t server)
{
	const struct conf *c = child_conf(&roled.child);

	return server < c->general.n_servers ? c->server[server].name : "";
}

/*
 * A partner that took leave of a roled before this one, and has not been heard since: for display
 * only, the machine has to hear by itself what it acts on.
 */
static unsigned
shown_verdict(const struct machine *m, uint8_t i)
{
	unsigned verdict = m->partner[i].verdict;

	return verdict == VERDICT_UNKNOWN && (m->persisted.left >> i & 1) ? VERDICT_STOPPED
									  : verdict;
}

/* Raise the level; the first sentence of the highest level is kept. */
static void
raise_level(struct ctl_self *s, enum ctl_level level, const char *note)
{
	if (level <= s->level)
		return;
	s->level = (uint8_t)level;
	WORD(s->note, note);
}

static void
raise_rule(struct ctl_self *s, enum rule rule)
{
	char text[CTL_NOTE];

	explain_rule(text, sizeof(text), (uint8_t)rule, "");
	raise_level(s, level_of(rule), text);
}

/* What syncd says of the data here. */
static void
report_data_level(struct ctl_self *s)
{
	if (roled.data_trouble != DATA_WELL)
		raise_rule(s, roled.data_trouble == DATA_DISK ? RULE_DATA_DISK : RULE_DATA_REFUSED);
	if (roled.data_sync_short)
		raise_rule(s, RULE_SYNC_SHORT);
	if (roled.data_bundles > 0)
		raise_rule(s, RULE_BUNDLE_SAVED);
}

/* How well is it: the reason in force, then alarms, then what is missing for the next failure. */
static void
report_level(struct ctl_self *s)
{
	const struct machine *m = &roled.machine;
	char text[CTL_NOTE];

	explain_rule(text, sizeof(text), m->why, name_of(m->why_peer));
	raise_level(s, level_of(m->why), text);
	for (unsigned rule = 0; rule < RULE_MAX; rule++) {
		if (!(m->alarms[rule / 32] >> (rule % 32) & 1))
			continue;
		explain_rule(text, sizeof(text), (uint8_t)rule, name_of(m->alarm_peer[rule]));
		raise_level(s, level_of(rule), text);
	}
	report_data_level(s);
	for (uint8_t i = 0; i < m->config.n_servers; i++) {
		if (!roled.data_short[i])
			continue;
		explain_rule(text, sizeof(text), RULE_BACKLOG_SHORT, name_of(i));
		raise_level(s, level_of(RULE_BACKLOG_SHORT), text);
	}
	for (uint8_t i = 0; i < m->config.n_servers; i++) {
		unsigned verdict = shown_verdict(m, i);

		if (i == m->config.self || verdict == VERDICT_HEALTHY)
			continue;
		if (verdict == VERDICT_UNKNOWN)
			snprintf(
			    text, sizeof(text), "Partner %s has not been heard yet.", name_of(i));
		else
			snprintf(text, sizeof(text), "Partner %s is %s.", name_of(i),
			    verdict_name(verdict));
		raise_level(s, CTL_LEVEL_WARNING, text);
	}
	if (roled.degraded)
		raise_level(s, CTL_LEVEL_WARNING, "The sandbox is degraded.");
	if (s->paused)
		raise_level(s, CTL_LEVEL_WARNING, "The group is paused.");
	if (s->observe)
		raise_level(s, CTL_LEVEL_WARNING, "This server only observes.");
	if (!m->healthy)
		raise_level(s, CTL_LEVEL_WARNING, "A health check fails.");
}

void
report_self(struct ctl_self *s, int64_t now)
{
	const struct machine *m = &roled.machine;
	const struct conf_general *g = &child_conf(&roled.child)->general;
	struct timespec ts;

	memset(s, 0, sizeof(*s));
	WORD(s->name, name_of(g->self));
	WORD(s->group, g->group);
	s->index = g->self;
	s->kind = m->config.server[g->self].kind;
	s->mode = m->config.mode;
	WORD(s->role, role_name(m->role));
	WORD(s->condition, condition_name(m->condition));
	s->epoch = m->persisted.epoch;
	s->main_server = m->main < CONF_SERVERS ? m->main : CTL_NO_SERVER;
	s->role_age_ms = age(now, roled.role_ms);
	s->now_ms = now;
	clock_gettime(CLOCK_REALTIME, &ts);
	s->wall_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	s->boot_id = roled.boot;
	s->instance = roled.instance;
	s->generation = roled.generation;
	s->degraded = roled.degraded;
	s->observe = m->config.observe != 0;
	s->paused = m->pause_until_ms > now;
	s->pause_left_ms = s->paused ? m->pause_until_ms - now : 0;
	if (s->paused) {
		WORD(s->pause_owner, m->persisted.pause_owner);
		WORD(s->pause_reason, m->persisted.pause_reason);
	}
	memcpy(s->digest, m->config.digest, sizeof(s->digest));
	s->conf_serial = roled.child.conf_serial;
	s->reload_result = roled.reload_result;
	s->reload_age_ms = age(now, roled.reload_ms);
	WORD(s->reload_text, roled.reload_text);
	s->position = m->has_position ? m->position.index : 0;
	s->in_sync = m->has_position ? m->position.in_sync != 0 : m->persisted.position_index == 0;
	for (size_t i = 0; i < MACHINE_TAKEOVERS; i++)
		s->takeovers +=
		    m->takeover_ms[i] > 0 && now - m->takeover_ms[i] <= m->config.flap_window_ms;
	s->hold_left_ms = roled.act_ms > now ? roled.act_ms - now : -1;
	s->last_event = roled.ledger.newest;
	report_level(s);
}

/* Which path is used for preference, and how many links are up. */
static void
report_paths(struct ctl_server *s, uint8_t i)
{
	s->path = CTL_NO_SERVER;
	for (uint8_t p = 0; p < CONF_PATHS; p++) {
		for (size_t d = 0; d < LINK_DIRECTION_MAX; d++) {
			if (roled.links.link[i][p][d].up == NULL)
				continue;
			s->links_up++;
			if (s->path == CTL_NO_SERVER)
				s->path = p;
		}
	}
}

/* The newest echo reply of any path. */
static void
report_icmp(struct ctl_server *s, const struct machine_partner *p, int64_t now)
{
	const struct machine_path *best = &p->path[0];

	for (size_t i = 1; i < MACHINE_PATHS; i++) {
		if (p->path[i].icmp_ok_ms > best->icmp_ok_ms)
			best = &p->path[i];
	}
	WORD(s->icmp, probe_word(p->icmp));
	s->icmp_age_ms = age(now, best->icmp_ok_ms);
	s->rtt_us = best->icmp_rtt_us > 0 ? (uint32_t)best->icmp_rtt_us : 0;
	s->loss_per_mille = best->icmp_loss_permille <= 1000 ? best->icmp_loss_permille : 1000;
}

void
report_server(struct ctl_server *s, uint8_t i, int64_t now)
{
	const struct machine *m = &roled.machine;
	const struct machine_partner *p = &m->partner[i];
	const struct conf_server *c = &child_conf(&roled.child)->server[i];

	memset(s, 0, sizeof(*s));
	s->index = i;
	WORD(s->name, c->name);
	s->kind = c->kind;
	s->self = i == m->config.self;
	s->priority = c->priority;
	s->status_age_ms = s->verdict_age_ms = s->icmp_age_ms = -1;
	s->path = CTL_NO_SERVER;
	if (s->self) {
		WORD(s->role, role_name(m->role));
		WORD(s->condition, condition_name(m->condition));
		s->epoch = m->persisted.epoch;
		s->boot_id = roled.boot;
		s->in_sync =
		    m->has_position ? m->position.in_sync != 0 : m->persisted.position_index == 0;
		s->position = m->has_position ? m->position.index : 0;
		s->paused = m->pause_until_ms > now;
		s->observe = m->config.observe != 0;
		s->checks_failing = !m->healthy;
		return;
	}
	report_paths(s, i);
	report_icmp(s, p, now);
	WORD(s->link, s->links_up > 0 ? "up" : "down");
	WORD(s->verdict, verdict_name(shown_verdict(m, i)));
	s->verdict_age_ms = age(now, p->verdict_ms);
	if (p->heard_ms <= 0)
		return;
	s->status_age_ms = age(now, p->heard_ms);
	WORD(s->role, role_name(p->last.role));
	WORD(s->condition, condition_name(p->last.condition));
	s->epoch = p->last.epoch;
	s->boot_id = p->last.boot_id;
	s->position = p->last.position_index;
	s->in_sync = (p->last.flags & RECORD_IN_SYNC) != 0;
	s->paused = (p->last.flags & RECORD_PAUSED) != 0;
	s->observe = (p->last.flags & RECORD_OBSERVING) != 0;
	s->checks_failing = (p->last.flags & RECORD_HEALTHY) == 0;
	s->digest_differs = memcmp(p->last.digest, m->config.digest, sizeof(p->last.digest)) != 0;
}

void
report_reference(struct ctl_reference *r, uint8_t i, int64_t now)
{
	const struct machine_reference *m = &roled.machine.reference[i];

	memset(r, 0, sizeof(*r));
	r->index = i;
	conf_addr_text(
	    &child_conf(&roled.child)->reference[i].addr, r->address, sizeof(r->address));
	WORD(r->state, probe_word(m->state));
	r->rtt_us = m->rtt_us > 0 ? (uint32_t)m->rtt_us : 0;
	r->loss_per_mille = m->loss_permille <= 1000 ? m->loss_permille : 1000;
	r->age_ms = age(now, m->ok_ms);
}

void
report_check(struct ctl_check *k, uint8_t i, int64_t now)
{
	*k = roled.checks[i];
	k->index = i;
	WORD(k->name, child_conf(&roled.child)->check[i].name);
	k->age_ms = k->known ? age(now, roled.checks[i].age_ms) : -1;
}

void
report_process(struct ctl_process *p, uint8_t i, int64_t now)
{
	*p = roled.process[i];
	p->age_ms = age(now, roled.process[i].age_ms);
	p->offence_age_ms = age(now, roled.process[i].offence_age_ms);
}
