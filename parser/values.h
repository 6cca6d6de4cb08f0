/* SPDX-License-Identifier: ISC */
/*
 * One value as it is written in the file, into the field of its option. Pure.
 */
#ifndef BH_PARSER_VALUES_H
#define BH_PARSER_VALUES_H

#include "../lib/conf_options.h"
#include "lookup.h"

/* Each returns 0, or -1 with what is wrong and what is expected in error. */
int value_number(
    const struct conf_option *o, const char *text, int64_t *v, char *error, size_t size);
int value_name(const char *text, char name[CONF_NAME], char *error, size_t size);
/* An absolute path; with arguments when it is a command. */
int value_path(const char *text, int command, char path[CONF_COMMAND], char *error, size_t size);
int value_address(
    const struct lookup *l, const char *text, struct conf_addr *a, char *error, size_t size);
/* "name", "number", "name:group", "number:number" */
int value_user(const struct lookup *l, const char *text, uint32_t *uid, uint32_t *gid, char *error,
    size_t size);
/* A user of whom only the number counts. */
int value_uid(const struct lookup *l, const char *text, uint32_t *uid, char *error, size_t size);
int value_group(const struct lookup *l, const char *text, uint32_t *gid, char *error, size_t size);
/* A number to run a child as: never 0. */
int value_id(const char *text, uint32_t *id, char *error, size_t size);

#endif
