/* SPDX-License-Identifier: ISC */
/*
 * Durations, sizes and numbers as admins write them. Pure.
 */
#ifndef BH_LIB_UNITS_H
#define BH_LIB_UNITS_H

#include <stddef.h>
#include <stdint.h>

enum units_result { UNITS_OK, UNITS_MALFORMED, UNITS_NO_UNIT, UNITS_BAD_UNIT, UNITS_OVERFLOW };

/*
 * "500ms", "2s", "1min", "3h", "7d", or a sum of such parts from large to small ("1h30min"). A unit
 * is always written; only "0" may go without.
 */
enum units_result units_parse_duration(const char *text, int64_t *ms);
/* "64KiB", "256MiB", "1GiB", "2TiB", "100B". A unit is always written; only "0" may go without. */
enum units_result units_parse_size(const char *text, int64_t *bytes);
/* Decimal digits only, an optional minus first. */
enum units_result units_parse_number(const char *text, int64_t *value);

enum { UNITS_TEXT = 48 };
/* The shortest exact writing: "1500ms", "2s", "1min", "never" for INT64_MAX. Returns buf. */
char *units_format_duration(int64_t ms, char buf[UNITS_TEXT]);
/* The shortest exact writing: "1536KiB", "2GiB", "0B". Returns buf. */
char *units_format_size(int64_t bytes, char buf[UNITS_TEXT]);
/* For readers: at most two parts, "3h 12min", "250ms". Returns buf. */
char *units_format_age(int64_t ms, char buf[UNITS_TEXT]);

#endif
