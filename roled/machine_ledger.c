/* SPDX-License-Identifier: ISC */
/*
 * Outputs of a step and the reasons that go with them. A reason is written when it changes, not at
 * every step: the ledger tells why something was done, and since when and why nothing was.
 */
#include "machine_internal.h"

#include <string.h>

static struct {
	const char *name, *text;
	enum severity severity;
} const rules[RULE_MAX] = {
#define RULE(id, number, name, severity, text) [number] = {name, text, SEVERITY_##severity},
#include "rules.def"
#undef RULE
};

/* Name of a rule in tables, JSON and hooks; never NULL. */
const char *
rule_name(unsigned rule)
{
	return rule < RULE_MAX && rules[rule].name != NULL ? rules[rule].name : "unknown";
}

/* The sentence of a rule; never NULL. */
const char *
rule_text(unsigned rule)
{
	return rule < RULE_MAX && rules[rule].text != NULL ? rules[rule].text : "Unknown reason.";
}

/* How much a rule matters. */
enum severity
rule_severity(unsigned rule)
{
	return rule < RULE_MAX ? rules[rule].severity : SEVERITY_INFO;
}

/*
 * A zeroed output at the end of the list. When the list is full it goes nowhere and is counted; the
 * bounds of the rules keep that from happening.
 */
struct machine_output *
step_emit(struct step *s, enum output_kind kind)
{
	struct machine_output *o = &s->out->out[MACHINE_OUTPUTS];

	if (s->out->n < MACHINE_OUTPUTS)
		o = &s->out->out[s->out->n++];
	else
		s->out->dropped++;
	memset(o, 0, sizeof(*o));
	o->kind = (uint8_t)kind;
	return o;
}

/* Write the role state; durable: before anything after it in the list. */
void
step_persist(struct step *s, int durable)
{
	step_emit(s, OUT_PERSIST)->u.persist.durable = (uint8_t)durable;
}

/* All servers but this one. */
uint32_t
partner_mask(const struct machine *m)
{
	return ((1U << m->config.n_servers) - 1U) & ~(1U << m->config.self);
}

/* A record to every partner of the mask. */
void
step_send(struct step *s, uint32_t mask, enum record_kind kind, uint8_t successor, enum rule reason)
{
	struct machine_output *o;

	mask &= partner_mask(s->m);
	if (mask == 0)
		return;
	o = step_emit(s, OUT_SEND);
	o->u.send.mask = mask;
	o->u.send.kind = (uint8_t)kind;
	o->u.send.successor = successor;
	o->u.send.reason = (uint8_t)reason;
}

/* Answer an admin command, once; *id becomes 0. */
void
step_reply(struct step *s, uint64_t *id, enum ctl_result result, enum rule rule, uint8_t peer)
{
	struct machine_output *o;

	if (*id == 0)
		return;
	o = step_emit(s, OUT_REPLY);
	o->u.reply.id = *id;
	o->u.reply.result = (uint8_t)result;
	o->u.reply.rule = (uint8_t)rule;
	o->u.reply.peer = peer;
	*id = 0;
}

/* Switch an alarm; only a change is an output. Returns whether it changed. */
int
step_alarm(struct step *s, enum rule rule, uint8_t peer, int on)
{
	uint32_t *word = &s->m->alarms[rule / 32], bit = 1U << (rule % 32);
	struct machine_output *o;

	if (((*word & bit) != 0) == (on != 0))
		return 0;
	*word ^= bit;
	if (on)
		s->m->alarm_peer[rule] = peer;
	o = step_emit(s, OUT_ALARM);
	o->u.alarm.rule = (uint8_t)rule;
	o->u.alarm.peer = on ? peer : s->m->alarm_peer[rule];
	o->u.alarm.on = on != 0;
	return 1;
}

/* The reason now in force; due: when it would act. The last one of a step counts. */
void
step_why(struct step *s, enum rule rule, uint8_t peer, int64_t due_ms)
{
	s->why = (uint8_t)rule;
	s->why_peer = peer;
	s->why_due_ms = due_ms;
}

/* An age for the ledger: -1 never, bounded. */
static int32_t
ledger_age(int64_t now_ms, int64_t at_ms)
{
	int64_t age = now_ms - at_ms;

	if (at_ms == 0)
		return -1;
	return age > INT32_MAX ? INT32_MAX : age < 0 ? 0 : (int32_t)age;
}

/* One partner's evidence as it is now. */
static void
ledger_fill_partner(const struct machine *m, struct ledger_entry *e, unsigned i)
{
	const struct machine_partner *p = &m->partner[i];
	int64_t icmp_ms = 0;

	for (unsigned k = 0; k < MACHINE_PATHS; k++)
		if (p->path[k].icmp_ok_ms > icmp_ms)
			icmp_ms = p->path[k].icmp_ok_ms;
	e->partner[i].verdict = p->verdict;
	e->partner[i].links_up = (uint8_t)evidence_links(p);
	e->partner[i].icmp = p->icmp;
	e->partner[i].role = p->last.role;
	e->partner[i].heard_age_ms = ledger_age(m->now_ms, p->heard_ms);
	e->partner[i].icmp_age_ms = ledger_age(m->now_ms, icmp_ms);
}

void
machine_event(
    const struct machine *m, int64_t now_ms, enum rule rule, uint8_t peer, struct ledger_entry *e)
{
	memset(e, 0, sizeof(*e));
	e->at_ms = now_ms;
	e->epoch = m->persisted.epoch;
	e->kind = LEDGER_EVENT;
	e->rule = (uint8_t)rule;
	e->peer = peer;
	e->role = m->role;
	e->condition = m->condition;
	e->refs_seen = m->refs_seen;
	e->refs_total = m->config.n_references;
	e->n_partners = m->config.n_servers;
	for (unsigned i = 0; i < m->config.n_servers; i++)
		if (i != m->config.self)
			ledger_fill_partner(m, e, i);
}

/* An entry with the evidence of this moment. */
void
ledger_add(struct step *s, enum ledger_kind kind, enum rule rule, uint8_t peer, int64_t margin_ms)
{
	struct ledger_entry *e = &step_emit(s, OUT_LEDGER)->u.ledger;

	s->m->counter[rule]++;
	machine_event(s->m, s->now, rule, peer, e);
	e->kind = (uint8_t)kind;
	e->margin_ms = margin_ms;
}

/* End of a step: when the reason is another one, say so, and switch its alarm. */
void
ledger_finish(struct step *s)
{
	struct machine *m = s->m;
	int64_t left = s->why_due_ms == MACHINE_NEVER ? MACHINE_NEVER : s->why_due_ms - s->now;

	if (s->why == m->why && s->why_peer == m->why_peer)
		return;
	if (s->why != m->why && rule_severity(m->why) == SEVERITY_ALARM)
		step_alarm(s, m->why, m->why_peer, 0);
	m->why = s->why;
	m->why_peer = s->why_peer;
	ledger_add(s, LEDGER_NO_DECISION, m->why, m->why_peer, left);
	if (rule_severity(m->why) == SEVERITY_ALARM)
		step_alarm(s, m->why, m->why_peer, 1);
}

/* Start a hook; its event number comes back with the result. */
uint64_t
step_hook(struct step *s, enum output_kind kind, enum hook_kind hook, enum rule rule, uint8_t peer)
{
	struct machine *m = s->m;
	struct machine_output *o = step_emit(s, kind);

	m->persisted.event++;
	o->u.become.role = m->role;
	o->u.become.hook = (uint8_t)hook;
	o->u.become.rule = (uint8_t)rule;
	o->u.become.peer = peer;
	o->u.become.epoch = m->persisted.epoch;
	o->u.become.event = m->persisted.event;
	return m->persisted.event;
}
