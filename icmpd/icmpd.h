/* SPDX-License-Identifier: ISC */
/*
 * icmpd probes: one echo per target and interval over sockets that the supervisor has connected,
 * filtered and locked; it can reach nothing else.
 *
 *	main.c	entry, sandbox, loop, messages
 *	probe.c	targets: requests out, answers in, what they say
 */
#ifndef BH_ICMPD_ICMPD_H
#define BH_ICMPD_ICMPD_H

#include <stdint.h>
#include <uv.h>

#include "lib/child.h"

enum {
	TARGETS = 48,	  /* one report holds them all */
	REPORT_SIZE = 27, /* bytes per target */
};

/* main.c */
extern uv_loop_t icmpd_loop;
extern struct child icmpd_child;
void icmpd_report(void);

/* probe.c */
void probe_init(void);
/* New interval and number of unanswered intervals; what is known stays. */
void probe_configure(const struct conf *conf);
/* fd becomes ours; a target in that slot before is forgotten. -1: fd is nothing to wait for. */
int probe_add(uint8_t slot, uint8_t kind, uint8_t index, uint8_t path, uint8_t family, int fd);
void probe_remove(uint8_t slot);
/* Append REPORT_SIZE bytes per target. Returns how many targets there are. */
unsigned probe_report(struct msg *m);
void probe_dump(void);

#endif
