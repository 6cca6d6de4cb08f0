/* SPDX-License-Identifier: ISC */
/*
 * Weighing the complaints of children about each other.
 */
#include "dispute.h"

#include <string.h>

static int
is_fresh(int64_t then_ms, int64_t now_ms, int64_t limit_ms)
{
	return then_ms != 0 && now_ms - then_ms < limit_ms;
}

/* Does anybody else complain of it, too? */
static int
has_witness(const struct disputes *d, enum process accuser, enum process accused, int64_t now_ms)
{
	for (int p = 0; p < PROC_MAX; p++) {
		if (p != (int)accuser && d->by[p][accused].standing &&
		    is_fresh(d->by[p][accused].last_ms, now_ms, DISPUTE_MS))
			return 1;
	}
	return 0;
}

enum dispute_verdict
dispute_weigh(struct disputes *d, enum process accuser, enum process accused, int64_t now_ms)
{
	unsigned n;

	if (d->by[accused][accuser].n > 0 &&
	    is_fresh(d->by[accused][accuser].last_ms, now_ms, DISPUTE_CROSS_MS))
		return DISPUTE_IGNORE;
	if (!is_fresh(d->by[accuser][accused].last_ms, now_ms, DISPUTE_MS))
		d->by[accuser][accused].n = 0;
	n = ++d->by[accuser][accused].n;
	d->by[accuser][accused].last_ms = now_ms;
	d->by[accuser][accused].standing = 1;
	if (has_witness(d, accuser, accused, now_ms))
		return DISPUTE_ACCUSED;
	if (n % 2 == 1)
		return DISPUTE_RENEW;
	return process_distance(accuser) > process_distance(accused) && n < DISPUTE_PATIENCE
		   ? DISPUTE_ACCUSED
		   : DISPUTE_ACCUSER;
}

void
dispute_forget(struct disputes *d, enum process process)
{
	memset(d->by[process], 0, sizeof(d->by[process]));
	for (int p = 0; p < PROC_MAX; p++)
		d->by[p][process].standing = 0;
}
