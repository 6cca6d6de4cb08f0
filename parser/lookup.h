/* SPDX-License-Identifier: ISC */
/*
 * Users, groups, hosts and interfaces, found in the contents of the system's files. Pure: the files
 * are read before the process gives up its rights, and understood after it.
 */
#ifndef BH_PARSER_LOOKUP_H
#define BH_PARSER_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#include "../lib/conf.h"

enum { LOOKUP_MAX = 512 * 1024 };

/* Contents of the files, each ended by a NUL; an unreadable one is "". */
struct lookup {
	const char *passwd, *group, *hosts;
	const char *inet6; /* /proc/net/if_inet6: names and numbers of the interfaces */
	const char *host;  /* name of this host, uname(2) */
};

/* All return 0, or -1 when there is no such entry. */
int lookup_user(const struct lookup *l, const char *name, uint32_t *uid, uint32_t *gid);
/* The primary group of a user given by number. */
int lookup_user_group(const struct lookup *l, uint32_t uid, uint32_t *gid);
int lookup_group(const struct lookup *l, const char *name, uint32_t *gid);
/* The first address of a name. */
int lookup_host(const struct lookup *l, const char *name, struct conf_addr *addr);
int lookup_interface(const struct lookup *l, const char *name, uint32_t *index);

#endif
