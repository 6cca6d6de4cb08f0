/* SPDX-License-Identifier: ISC */
/*
 * The text of bulkhead.conf(5) into a struct conf. No I/O; one file per process, because libconfuse
 * gives its callbacks no pointer of ours.
 */
#ifndef BH_PARSER_FILE_H
#define BH_PARSER_FILE_H

#include "../lib/conf.h"
#include "lookup.h"

/*
 * Parse text (text[len] is a NUL; it is changed) into conf, with every check. Returns 0, or -1 with
 * "LINE: what is wrong" in error.
 */
int file_parse(char *text, size_t len, const struct lookup *lookup, struct conf *conf, char *error,
    size_t size);

#endif
