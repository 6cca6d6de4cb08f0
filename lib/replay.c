/* SPDX-License-Identifier: ISC */
/*
 * The replay rule for hellos; see replay.h.
 */
#include "config.h"

#include "replay.h"

int
replay_allows(const struct replay *r, const struct hello_payload *p)
{
	for (size_t i = 0; i < r->n_old; i++) {
		if (r->old[i] == p->boot)
			return 0;
	}
	if (!r->known || p->boot != r->boot || p->counter > r->highest)
		return 1;
	if (r->highest - p->counter >= REPLAY_WINDOW)
		return 0;
	return !(r->window >> (r->highest - p->counter) & 1);
}

void
replay_confirm(struct replay *r, const struct hello_payload *p)
{
	uint64_t ahead;

	if (!r->known || r->boot != p->boot) {
		if (r->known) {
			r->old[r->next_old] = r->boot;
			r->next_old = (uint8_t)((r->next_old + 1) % REPLAY_BOOTS);
			if (r->n_old < REPLAY_BOOTS)
				r->n_old++;
		}
		r->known = 1;
		r->boot = p->boot;
		r->highest = p->counter;
		r->window = 1;
		return;
	}
	if (p->counter > r->highest) {
		ahead = p->counter - r->highest;
		r->window = ahead < REPLAY_WINDOW ? r->window << ahead | 1 : 1;
		r->highest = p->counter;
	} else if (r->highest - p->counter < REPLAY_WINDOW) {
		r->window |= UINT64_C(1) << (r->highest - p->counter);
	}
}
