/* SPDX-License-Identifier: ISC */
/*
 * Ledger records made readable for bulkheadctl.
 */
#include "config.h"

#include "roled.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/units.h"

void
explain_rule(char *out, size_t size, uint8_t rule, const char *peer)
{
	const char *in = rule_text(rule);
	size_t o = 0;

	while (*in != '\0' && o + 1 < size) {
		if (in[0] == '%' && in[1] == 'P') {
			int n = snprintf(
			    out + o, size - o, "%s", peer[0] != '\0' ? peer : "the partner");

			o = (size_t)n < size - o ? o + (size_t)n : size - 1;
			in += 2;
		} else {
			out[o++] = *in++;
		}
	}
	out[o] = '\0';
}

/* Append to a text of fixed size; what does not fit is cut. */
__attribute__((format(printf, 3, 4))) static void
add(char *text, size_t size, const char *fmt, ...)
{
	size_t n = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + n, size - n, fmt, ap);
	va_end(ap);
}

static const char *
icmp_word(unsigned state)
{
	static const char *const words[PROBE_STATE_MAX] = {"unknown", "ok", "lost"};

	return state < PROBE_STATE_MAX ? words[state] : "?";
}

/* Index in the present config of the server with that id, or CTL_NO_SERVER. */
static uint8_t
index_of(const struct machine_config *mc, uint32_t id)
{
	for (uint8_t i = 0; i < mc->n_servers; i++) {
		if (id != 0 && mc->server[i].id == id)
			return i;
	}
	return CTL_NO_SERVER;
}

/* A link that has not ended says little when the partner is silent on it. */
static const char *
link_word(unsigned links_up, unsigned verdict)
{
	if (links_up == 0)
		return "down";
	switch (verdict) {
	case VERDICT_OFFLINE:
	case VERDICT_UNREACHABLE:
	case VERDICT_ISOLATED:
		return "silent";
	default:
		return "up";
	}
}

static void
explain_evidence(const struct entry *e, const struct conf *c, const struct machine_config *mc,
    struct ctl_event *out)
{
	for (uint8_t i = 0; i < e->e.n_partners; i++) {
		struct ctl_evidence *v = &out->evidence[out->n_evidence];
		uint8_t now = index_of(mc, e->id[i]);

		if (now == mc->self)
			continue;
		v->server = now != CTL_NO_SERVER ? now : i;
		snprintf(v->name, sizeof(v->name), "%s",
		    now != CTL_NO_SERVER ? c->server[now].name : "(removed)");
		snprintf(v->link, sizeof(v->link), "%s",
		    link_word(e->e.partner[i].links_up, e->e.partner[i].verdict));
		snprintf(v->icmp, sizeof(v->icmp), "%s", icmp_word(e->e.partner[i].icmp));
		snprintf(
		    v->verdict, sizeof(v->verdict), "%s", verdict_name(e->e.partner[i].verdict));
		snprintf(v->role, sizeof(v->role), "%s",
		    e->e.partner[i].heard_age_ms < 0 ? "" : role_name(e->e.partner[i].role));
		v->epoch = 0;
		v->status_age_ms =
		    e->e.partner[i].heard_age_ms < 0 ? -1 : e->e.partner[i].heard_age_ms;
		v->icmp_age_ms = e->e.partner[i].icmp_age_ms < 0 ? -1 : e->e.partner[i].icmp_age_ms;
		out->n_evidence++;
	}
}

/* The sentence of the rule, how close it was, and what roled noted. */
static void
explain_text(const struct entry *e, struct ctl_event *out)
{
	char margin[UNITS_TEXT];

	explain_rule(out->text, sizeof(out->text), e->e.rule, out->peer_name);
	if (e->note[0] != '\0')
		add(out->text, sizeof(out->text), " %s", e->note);
	if (out->margin_ms == INT64_MIN)
		return;
	if (e->e.kind == LEDGER_DECISION && e->e.margin_ms > 0)
		add(out->text, sizeof(out->text), " (%s past the limit)",
		    units_format_age(e->e.margin_ms, margin));
	else if (e->e.kind == LEDGER_NO_DECISION)
		add(out->text, sizeof(out->text), " (decides again in %s if nothing changes)",
		    units_format_age(e->e.margin_ms, margin));
}

int
explain_record(const struct ledger_record *record, const struct conf *c,
    const struct machine_config *mc, struct ctl_event *out)
{
	static struct entry e;
	uint8_t peer;

	memset(out, 0, sizeof(*out));
	if (entry_decode(record->content, record->len, &e) != 0)
		return -1;
	out->sequence = record->sequence;
	out->boot_id = record->boot;
	out->at_ms = record->at_ms;
	out->wall_ms = record->wall_ms;
	out->decision = e.e.kind != LEDGER_EVENT;
	snprintf(out->rule, sizeof(out->rule), "%s", rule_name(e.e.rule));
	snprintf(out->role, sizeof(out->role), "%s", role_name(e.e.role));
	snprintf(out->condition, sizeof(out->condition), "%s", condition_name(e.e.condition));
	out->epoch = e.e.epoch;
	peer = e.e.peer < e.e.n_partners ? index_of(mc, e.id[e.e.peer]) : CTL_NO_SERVER;
	out->peer = peer;
	if (peer != CTL_NO_SERVER)
		snprintf(out->peer_name, sizeof(out->peer_name), "%s", c->server[peer].name);
	out->references_seen = e.e.refs_seen;
	out->references_total = e.e.refs_total;
	out->margin_ms =
	    e.e.margin_ms == MACHINE_NEVER || e.e.kind == LEDGER_EVENT ? INT64_MIN : e.e.margin_ms;
	explain_evidence(&e, c, mc, out);
	explain_text(&e, out);
	return 0;
}
