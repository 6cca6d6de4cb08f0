/* SPDX-License-Identifier: ISC */
/*
 * Has this hello been here before? Per partner: the boot id of its present roled with a window over
 * the counters of its hellos, and the boot ids that it has left behind. Only a link that proved to
 * be live (its first record opened) changes anything here, so a replayed hello cannot push a live
 * partner out. Pure.
 */
#ifndef BH_LIB_REPLAY_H
#define BH_LIB_REPLAY_H

#include <stdint.h>

#include "hello.h"

enum {
	REPLAY_WINDOW = 64, /* hellos on two paths may overtake each other */
	REPLAY_BOOTS = 16,  /* superseded boot ids remembered */
};

struct replay {
	uint8_t known; /* boot is set */
	uint64_t boot;
	uint64_t highest; /* counter */
	uint64_t window;  /* bit n: highest - n was seen */
	uint64_t old[REPLAY_BOOTS];
	uint8_t n_old, next_old;
};

/* 1 when a hello with this payload may be answered, 0 when it is a replay. */
int replay_allows(const struct replay *r, const struct hello_payload *p);

/* The link of this hello is live. */
void replay_confirm(struct replay *r, const struct hello_payload *p);

#endif
