/* SPDX-License-Identifier: ISC */
/*
 * A call that is promised, with an argument that no line allows: without a rule of its own it meets
 * the default action, which kills without a name in our log. Here it gets TRAP, except where
 * denied.def says KILL for the call.
 *
 * The comparisons are made on all 64 bits. That is safe in this direction only: a value that both a
 * line and one of these match (an int with its upper half set) is either let through, as the line
 * says, or refused.
 */
#include "config.h"

#include <seccomp.h>
#include <string.h>

#include "policy.h"

enum { RANGES = 8 };

/* What all the lines of one call allow for one argument: ranges, or bits, or null. */
struct argument {
	unsigned n_ranges;
	struct {
		uint32_t first, last;
	} range[RANGES];
	int bits, null; /* lines of these kinds */
	uint32_t must, may;
	unsigned lines; /* that have a condition on this argument */
};

static void
add_range(struct argument *a, uint32_t first, uint32_t last)
{
	unsigned at = 0;

	if (a->n_ranges == RANGES) {
		a->bits = a->null = 1; /* mixed: no rule */
		return;
	}
	while (at < a->n_ranges && a->range[at].first < first)
		at++;
	memmove(&a->range[at + 1], &a->range[at], (a->n_ranges - at) * sizeof(a->range[0]));
	a->range[at].first = first;
	a->range[at].last = last;
	a->n_ranges++;
}

static void
add_condition(struct argument *a, const struct condition *c, uint32_t self)
{
	switch ((enum condition_op)c->op) {
	case CONDITION_NONE:
		return;
	case CONDITION_EQUALS:
		add_range(a, c->a, c->a);
		break;
	case CONDITION_SELF:
		add_range(a, self, self);
		break;
	case CONDITION_FDS:
		add_range(a, c->a, c->b);
		break;
	case CONDITION_BITS:
		a->must = a->bits ? a->must & c->a : c->a;
		a->may |= c->a | c->b;
		a->bits = 1;
		break;
	case CONDITION_NULL:
		a->null = 1;
		break;
	}
	a->lines++;
}

static void
compare(struct mismatch *m, unsigned arg, enum scmp_compare op, uint64_t a, uint64_t b)
{
	if (m->n == MISMATCH_RULES)
		return; /* the default action refuses what has no rule */
	m->rule[m->n].arg = arg;
	m->rule[m->n].op = (int)op;
	m->rule[m->n].a = a;
	m->rule[m->n++].b = b;
}

/* Below, above and between the ranges, which are sorted and may overlap. */
static void
outside_ranges(struct mismatch *m, unsigned arg, const struct argument *a)
{
	uint64_t end = a->range[0].first; /* first number not looked at yet */

	if (a->n_ranges == 1 && a->range[0].first == a->range[0].last) {
		compare(m, arg, SCMP_CMP_NE, end, 0);
		return;
	}
	if (end > 0)
		compare(m, arg, SCMP_CMP_LT, end, 0);
	for (unsigned i = 0; i < a->n_ranges; i++) {
		struct condition gap = {.op = CONDITION_FDS};
		struct block blocks[POLICY_BLOCKS];

		if (end < a->range[i].first) {
			size_t n;

			gap.a = (uint32_t)end;
			gap.b = a->range[i].first - 1;
			n = policy_blocks(&gap, 0, blocks);
			for (size_t k = 0; k < n; k++)
				compare(
				    m, arg, SCMP_CMP_MASKED_EQ, blocks[k].mask, blocks[k].value);
		}
		if (end <= a->range[i].last)
			end = (uint64_t)a->range[i].last + 1;
	}
	compare(m, arg, SCMP_CMP_GE, end, 0);
}

/* A bit missing that must be set, or one set that no line has. */
static void
outside_bits(struct mismatch *m, unsigned arg, const struct argument *a)
{
	uint32_t top = a->may;

	for (unsigned shift = 1; shift < 32; shift *= 2)
		top |= top >> shift;
	compare(m, arg, SCMP_CMP_GT, top, 0);
	for (uint32_t bit = 1; bit != 0 && bit <= top; bit <<= 1) {
		if (a->must & bit)
			compare(m, arg, SCMP_CMP_MASKED_EQ, bit, 0);
		else if (!(a->may & bit))
			compare(m, arg, SCMP_CMP_MASKED_EQ, bit, bit);
	}
}

void
policy_mismatch(
    const struct allowed_call *const *lines, size_t n, uint32_t self, struct mismatch *out)
{
	out->n = 0;
	for (unsigned arg = 0; arg < 6; arg++) {
		struct argument a = {0};

		for (size_t i = 0; i < n; i++) {
			for (size_t k = 0; k < POLICY_CONDITIONS; k++) {
				if (lines[i]->condition[k].arg == arg)
					add_condition(&a, &lines[i]->condition[k], self);
			}
		}
		if (a.lines != n || n == 0)
			continue; /* some line takes any value */
		if (a.n_ranges > 0 && !a.bits && !a.null)
			outside_ranges(out, arg, &a);
		else if (a.bits && !a.null && a.n_ranges == 0)
			outside_bits(out, arg, &a);
		else if (a.null && !a.bits && a.n_ranges == 0)
			compare(out, arg, SCMP_CMP_NE, 0, 0);
	}
}
