/* SPDX-License-Identifier: ISC */
/*
 * The state machine of a reload.
 */
#include "transaction.h"

enum transaction_next
transaction_request(struct transaction *t)
{
	if (t->phase != TRANSACTION_IDLE) {
		t->again = 1;
		return NEXT_NOTHING;
	}
	t->phase = TRANSACTION_PARSING;
	return NEXT_PARSE;
}

void
transaction_parsed(struct transaction *t)
{
	if (t->phase == TRANSACTION_PARSING)
		t->phase = TRANSACTION_WAITING;
}

enum transaction_next
transaction_prepare(struct transaction *t, uint32_t mask)
{
	if (t->phase != TRANSACTION_WAITING)
		return NEXT_NOTHING;
	t->phase = TRANSACTION_PREPARING;
	t->asked = mask;
	t->waiting = mask;
	return mask == 0 ? NEXT_COMMIT : NEXT_NOTHING;
}

enum transaction_next
transaction_answer(struct transaction *t, unsigned process, uint64_t serial, int agrees)
{
	uint32_t bit = 1U << process;

	if (t->phase != TRANSACTION_PREPARING || serial != t->serial + 1 || !(t->waiting & bit))
		return NEXT_NOTHING;
	t->waiting &= ~bit;
	if (!agrees)
		return NEXT_ABORT;
	return t->waiting == 0 ? NEXT_COMMIT : NEXT_NOTHING;
}

enum transaction_next
transaction_died(struct transaction *t, unsigned process)
{
	if (t->phase != TRANSACTION_PREPARING || !(t->asked & 1U << process))
		return NEXT_NOTHING;
	t->asked &= ~(1U << process);
	t->waiting &= ~(1U << process);
	return NEXT_ABORT;
}

enum transaction_next
transaction_end(struct transaction *t, int committed)
{
	int again = t->again;

	if (committed)
		t->serial++;
	t->phase = TRANSACTION_IDLE;
	t->asked = 0;
	t->waiting = 0;
	t->again = 0;
	return again ? transaction_request(t) : NEXT_NOTHING;
}
