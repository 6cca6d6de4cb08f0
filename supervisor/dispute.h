/* SPDX-License-Identifier: ISC */
/*
 * One child says that another broke the protocol towards it. Which of the two lies, nobody can see
 * from outside; so that none can have another killed by its word alone, the first complaint only
 * costs the two their channel. Pure.
 */
#ifndef BH_SUPERVISOR_DISPUTE_H
#define BH_SUPERVISOR_DISPUTE_H

#include <stdint.h>

#include "../policy/roles.h"

enum {
	DISPUTE_MS = 60000,	/* complaints further apart are not about the same thing */
	DISPUTE_CROSS_MS = 200, /* complaints of both about one channel, crossing on the way */
	DISPUTE_PATIENCE = 4,	/* complaints of one that is farther from the network */
};

enum dispute_verdict {
	DISPUTE_IGNORE,
	DISPUTE_RENEW, /* both get a fresh channel to each other */
	DISPUTE_ACCUSED,
	DISPUTE_ACCUSER,
};

struct disputes {
	struct {
		unsigned n; /* complaints in this row */
		int64_t last_ms;
		uint8_t standing; /* it is about the generation that runs: a witness for another */
	} by[PROC_MAX][PROC_MAX]; /* accuser, accused */
};

/*
 * accuser complains of accused. Two different processes that complain of the same one within
 * DISPUTE_MS are believed. One alone has the channel renewed; when it complains again, the end that
 * is nearer to the network is taken for the culprit, whoever of the two that is; one that is
 * farther from it and complains of each successor too is the culprit itself at the
 * DISPUTE_PATIENCE-th time.
 */
enum dispute_verdict dispute_weigh(
    struct disputes *d, enum process accuser, enum process accused, int64_t now_ms);

/* A process has ended: what it said is forgotten, and its successor begins without a record. */
void dispute_forget(struct disputes *d, enum process process);

#endif
