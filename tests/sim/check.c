/* SPDX-License-Identifier: ISC */
/*
 * The invariants of doc/roles.md, looked at from outside with the whole truth at hand.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>

int trace;

/* Once: what failed, and when. */
void
fail(const char *fmt, ...)
{
	va_list ap;

	if (w.failure[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(w.failure, sizeof(w.failure), fmt, ap);
	va_end(ap);
	note("FAILED: %s", w.failure);
}

/* A line of the story. */
void
note(const char *fmt, ...)
{
	va_list ap;

	if (!trace)
		return;
	printf("%10.3f ", (double)w.now_us / 1e6);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* How long two mains may know of each other's existence late: redial, handshake, silence. */
static int64_t
heal_bound_us(void)
{
	return w.fast ? 12 * SEC : 18 * SEC;
}

/* Something is wrong with server i that others cannot be blamed for. */
static int
upset(unsigned i)
{
	const struct server *s = &w.server[i];

	return !server_runs(i) || !s->netd || !s->icmpd;
}

/* Two mains are excused while they cannot speak, or one of them does not run. */
static void
look_for_excuses(void)
{
	for (unsigned a = 0; a < w.n; a++)
		for (unsigned b = 0; b < w.n; b++)
			if (a != b && (upset(a) || upset(b) || !partner_path(a, b))) {
				w.excuse_us[a][b] = w.now_us;
				w.ok_us[a][b] = 0;
			} else if (w.ok_us[a][b] == 0 || w.loss > 0) {
				w.ok_us[a][b] = w.now_us;
			}
	for (unsigned a = 0; a < w.n; a++)
		for (unsigned r = 0; r < w.n_refs; r++)
			if (!w.ref_cut[a][r])
				w.server[a].ref_us[r] = w.now_us;
}

static int
group_paused(unsigned i)
{
	const struct machine *m = &w.server[i].machine;
	int64_t now = server_ms(i);

	if (m->pause_until_ms > now)
		return 1;
	for (unsigned k = 0; k < w.n; k++)
		if (m->partner[k].pause_until_ms > now)
			return 1;
	return 0;
}

/* Invariants 1 and 2. */
static void
check_two_mains(void)
{
	for (unsigned a = 0; a < w.n; a++)
		for (unsigned b = a + 1; b < w.n; b++) {
			if (!w.server[a].acting || !w.server[b].acting)
				continue;
			if (w.exclusive)
				fail("%u and %u act as main", a, b);
			if (w.mode == ARB_VOTERS)
				fail("voters: %u and %u act as main", a, b);
			if (w.mode == ARB_MANUAL)
				fail("manual: %u and %u act as main", a, b);
			if (group_paused(a) || group_paused(b))
				w.excuse_us[a][b] = w.now_us; /* nothing is changed by itself */
			if (w.now_us - w.excuse_us[a][b] > heal_bound_us())
				fail("references: %u and %u act as main and can speak", a, b);
		}
}

/* A partner that could take over from main i, as i knows. */
static int
rival_possible(unsigned i)
{
	const struct machine *m = &w.server[i].machine;

	for (unsigned k = 0; k < w.n; k++)
		if (k != i && w.kind[k] == KIND_STANDARD &&
		    ((m->persisted.left | m->persisted.outvoted) & 1U << k) == 0 &&
		    m->partner[k].gone == 0 && m->partner[k].verdict != VERDICT_PROGRAM_DEAD)
			return 1;
	return 0;
}

/* The truth about being cut off: no reference and no partner answers. */
static int
cut_off(unsigned i)
{
	for (unsigned r = 0; r < w.n_refs; r++)
		if (!w.ref_cut[i][r])
			return 0;
	for (unsigned k = 0; k < w.n; k++)
		for (unsigned p = 0; p < w.n_paths && k != i; p++)
			if (w.kind[k] == KIND_STANDARD && path_open(i, k, p) && w.server[k].host)
				return 0;
	return 1;
}

/* Invariant 2, the other half: a main that is cut off stops in time. */
static void
check_step_down(unsigned i)
{
	struct server *s = &w.server[i];
	const struct machine_config *c = &s->config;
	int64_t limit_us = (c->step_down_ms + 2 * c->status_interval_ms + 60) * MS + 2 * w.delay_us;

	if (upset(i) || !cut_off(i) || !rival_possible(i) || group_paused(i) ||
	    s->machine.handover != HANDOVER_NONE || s->machine.stopping) {
		s->lonely_us = w.now_us;
		return;
	}
	if (w.mode == ARB_REFERENCES && s->acting && w.now_us - s->lonely_us > limit_us &&
	    w.now_us - s->upset_us > limit_us && w.now_us - s->acting_us > limit_us)
		fail("references: %u is cut off and still acts as main", i);
}

/* Invariants 5 and 7. */
static void
check_kinds(unsigned i)
{
	if (w.server[i].acting && w.kind[i] != KIND_STANDARD)
		fail("%u is %s and acts as main", i, server_kind_name(w.kind[i]));
}

/* After every step. */
void
check_all(void)
{
	look_for_excuses();
	check_two_mains();
	for (unsigned i = 0; i < w.n; i++) {
		check_step_down(i);
		check_kinds(i);
	}
}

/* Rules that an operator's command is behind. */
static int
commanded(enum rule rule)
{
	return rule == RULE_TAKEOVER_SWITCHOVER || rule == RULE_TAKE_BACK ||
	       rule == RULE_TAKEOVER_CONFIRMED;
}

/* A take-over because of silence needs references that could really be reached. */
static void
check_references(unsigned i)
{
	const struct machine_config *c = &w.server[i].config;
	int64_t window_us = c->icmp_interval_ms * (c->icmp_misses + 1) * MS + 2 * w.delay_us;
	unsigned seen = 0;

	for (unsigned r = 0; r < w.n_refs; r++)
		seen += w.now_us - w.server[i].ref_us[r] <= window_us;
	if (2 * seen <= w.n_refs)
		fail("%u took over with %u of %u references in reach", i, seen, w.n_refs);
}

/* What the rule says about the other server must be true. */
static void
check_truth(unsigned i, enum rule rule, uint8_t peer)
{
	int64_t ok_us;

	if (peer >= w.n || peer == i)
		return;
	if (rule == RULE_TAKEOVER_PROGRAM_DEAD && w.server[peer].guard && w.server[peer].acting)
		fail("%u found the guard of %u dead, but it lives", i, peer);
	if ((rule == RULE_TAKEOVER_GUARD_DEAD || rule == RULE_TAKEOVER_STOPPED ||
		rule == RULE_TAKEOVER_SWITCHOVER) &&
	    w.server[peer].acting)
		fail("%u took over by %s, but %u still acts", i, rule_name(rule), peer);
	ok_us = w.ok_us[i][peer] > w.server[i].upset_us ? w.ok_us[i][peer] : w.server[i].upset_us;
	if (w.server[peer].upset_us > ok_us)
		ok_us = w.server[peer].upset_us;
	if ((rule == RULE_TAKEOVER_OFFLINE || rule == RULE_TAKEOVER_UNREACHABLE) &&
	    w.ok_us[i][peer] != 0 && w.now_us - ok_us > 10 * SEC)
		fail("%u took over by %s from %u, which could be heard", i, rule_name(rule), peer);
}

/* Invariants 3, 5, 7 at a promotion. */
void
check_promotion(unsigned i, uint64_t epoch, enum rule rule, uint8_t peer)
{
	struct server *s = &w.server[i];

	w.reached[rule]++;
	check_truth(i, rule, peer);
	if (s->disk.epoch != epoch)
		fail("%u acts in epoch %llu before it is on disk", i, (unsigned long long)epoch);
	if (w.kind[i] != KIND_STANDARD)
		fail("%u is %s and was promoted", i, server_kind_name(w.kind[i]));
	if (s->machine.persisted.stale)
		fail("%u is stale and was promoted", i);
	if (w.with_data && s->store == STORE_LOST)
		fail("%u has lost its data and was promoted", i);
	if ((w.observing >> i & 1) && !commanded(rule))
		fail("%u only observes and was promoted", i);
	if (group_paused(i) && !commanded(rule))
		fail("%u was promoted in a paused group by %s", i, rule_name(rule));
	if (rule == RULE_TAKEOVER_UNREACHABLE && w.mode == ARB_REFERENCES)
		check_references(i);
	if (w.mode == ARB_MANUAL &&
	    (rule == RULE_TAKEOVER_UNREACHABLE || rule == RULE_TAKEOVER_OFFLINE))
		fail("manual: %u took over because of silence", i);
	for (unsigned k = 0; k < w.n_promotions; k++) {
		const struct promotion *p = &w.promotion[k];

		if (p->server == i && p->epoch >= epoch)
			fail("%u was promoted in epoch %llu again", i, (unsigned long long)epoch);
		if (p->epoch == epoch && p->server != i)
			fail("%u and %u were both promoted in epoch %llu", i, p->server,
			    (unsigned long long)epoch);
	}
	if (w.n_promotions < PROMOTIONS)
		w.promotion[w.n_promotions++] = (struct promotion){epoch, (uint8_t)i, w.now_us};
}

/* Invariant 3: what is on disk never goes back. */
void
check_persist(unsigned i)
{
	struct server *s = &w.server[i];

	if (s->disk.epoch < s->disk_epoch)
		fail("%u wrote epoch %llu after %llu", i, (unsigned long long)s->disk.epoch,
		    (unsigned long long)s->disk_epoch);
	s->disk_epoch = s->disk.epoch;
	if (s->disk.epoch_seen < s->disk.epoch && s->machine.role == ROLE_MAIN)
		fail("%u wrote a highest epoch below its own", i);
}

/* For the story of a failure: what the links are doing. */
static void
note_links(void)
{
	for (unsigned a = 0; a < w.n; a++)
		for (unsigned b = 0; b < w.n; b++)
			for (unsigned p = 0; p < w.n_paths && a != b; p++) {
				const struct tcp *t = &w.tcp[a][b][p];

				note("link %u to %u path %u: state %u, open %u %u, dialing %u", a,
				    b, p, t->state, t->open[0], t->open[1], t->dialing);
			}
}

/* Invariant 6: all is well again, so there is one main that everybody follows, and calm. */
void
check_end(void)
{
	unsigned mains = 0, main = 0;

	note_links();
	for (unsigned i = 0; i < w.n; i++)
		if (w.server[i].acting) {
			mains++;
			main = i;
		}
	if (w.observing) {
		if (mains != 0)
			fail("observing: %u mains", mains);
		return;
	}
	if (mains != 1) {
		fail("at the end there are %u mains; 0: %s, 1: %s", mains,
		    rule_name(w.server[0].machine.why), rule_name(w.server[1].machine.why));
		return;
	}
	for (unsigned i = 0; i < w.n; i++)
		if (i != main && w.server[i].machine.main != main)
			fail("at the end %u does not follow main %u: %s", i, main,
			    rule_name(w.server[i].machine.why));
	if (w.n_becomes > 12 * (w.n_faults + 1) + w.n)
		fail("%u changes of role for %u faults", w.n_becomes, w.n_faults);
}
