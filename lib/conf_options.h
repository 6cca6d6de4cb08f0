/* SPDX-License-Identifier: ISC */
/*
 * The option table of bulkhead.conf(5), made from conf_options.def.
 */
#ifndef BH_LIB_CONF_OPTIONS_H
#define BH_LIB_CONF_OPTIONS_H

#include "conf.h"

enum conf_type {
	/* a number in the field of the row, checked against min and max */
	CT_BOOL,
	CT_U16,
	CT_I32,
	CT_U64,
	CT_MS,	     /* a duration with its unit */
	CT_MS_NEVER, /* or "never" */
	CT_SIZE,     /* bytes with their unit */
	CT_KIND,     /* words: conf_word() */
	CT_ARBITRATION,
	CT_SYNC,
	CT_FAILURE,
	CT_SOCKET, /* mode of a socket */
	CT_LAST_NUMBER = CT_SOCKET,
	/* the rest has code of its own in the parser and in the encoders */
	CT_PROFILE, /* words too, but no field: sets other defaults */
	CT_NAME,
	CT_SELF,
	CT_PATH,
	CT_GROUP,
	CT_USER,
	CT_USERS,
	CT_ID,
	CT_COMMAND,
	CT_ADDRESSES,
	CT_KEY,
};

enum conf_owner { CONF_OF_general, CONF_OF_server, CONF_OF_hook, CONF_OF_check };
enum arbitration_profile { PROFILE_NORMAL, PROFILE_CALM, PROFILE_FAST, PROFILE_MAX };

struct conf_option {
	const char *section, *name;
	enum conf_type type;
	enum conf_owner owner;
	size_t offset; /* in struct conf_<owner> */
	size_t size;
	int64_t value, min, max; /* value: the default */
	uint32_t needs;
	int restart;
	const char *text;
};

extern const struct conf_option conf_options[];
extern const size_t conf_n_options;

/* Row of an option, NULL when there is none. */
const struct conf_option *conf_find_option(const char *section, const char *name);
/* 1 when the row is a plain number (conf_set_number). */
int conf_is_number(const struct conf_option *o);
/* Puts the number into the struct of its owner; -1 when v is out of range. */
int conf_set_number(const struct conf_option *o, void *owner, int64_t v);
/* Word number i of a type that takes words; NULL past the last one. */
const char *conf_word(enum conf_type type, unsigned i);

#endif
