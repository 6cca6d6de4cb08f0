/* SPDX-License-Identifier: ISC */
/*
 * What a hook or check is given: its arguments and its environment. Pure.
 */
#ifndef BH_SUPERVISOR_HOOK_ENV_H
#define BH_SUPERVISOR_HOOK_ENV_H

#include <stdint.h>

#include "../lib/conf.h"

enum {
	HOOK_ARGS = 64, /* with the NULL */
	HOOK_ENV = 16,
	HOOK_ENV_BYTES = 2048,
	HOOK_NO_PEER = 255,
};

/* Roles as hooks see them; on the wire of RUN_HOOK. */
enum hook_role {
	HOOK_ROLE_MAIN,
	HOOK_ROLE_STANDBY,
	HOOK_ROLE_PERMANENT,
	HOOK_ROLE_DMZ,
	HOOK_ROLE_MAX
};

struct hook_run {
	uint64_t event; /* of roled; comes back with the result */
	uint64_t epoch;
	uint32_t entry; /* in the ledger */
	uint8_t kind;	/* enum hook_kind */
	uint8_t role;	/* enum hook_role */
	uint8_t reason; /* number of roled/rules.def */
	uint8_t peer;	/* index of a server, or HOOK_NO_PEER */
	uint8_t test;
};

struct hook_env {
	char *entry[HOOK_ENV]; /* NULL at the end */
	char bytes[HOOK_ENV_BYTES];
	unsigned n;
	uint32_t used;
};

struct hook_args {
	char *entry[HOOK_ARGS];
	char bytes[CONF_COMMAND];
};

/* Split at blanks; no quoting. Returns 0, or -1 when there is nothing or too much. */
int hook_split(struct hook_args *a, const char *command);
/* Environment of a hook: BULKHEAD_* and PATH. Returns 0, or -1 when it does not fit. */
int hook_environment(struct hook_env *e, const struct conf *c, const struct hook_run *r);
/* Environment of the health check of that index. */
int check_environment(struct hook_env *e, const struct conf *c, uint8_t index);
/* Is it the number of a rule of roled/rules.def? */
int hook_reason_valid(uint8_t reason);

/* Health of one check: a change needs as many results in a row as rise and fall say. */
struct health {
	uint8_t known; /* the first result decides at once */
	uint8_t healthy;
	uint16_t in_a_row; /* results like the last one */
	uint8_t last;
};
/* One more result. Returns 1 when healthy has changed or was not known before. */
int health_update(struct health *h, int ok, uint16_t rise, uint16_t fall);

#endif
