/* SPDX-License-Identifier: ISC */
/*
 * Durations, sizes and numbers as admins write them. Pure.
 */
#include "units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	int64_t factor;
};

/* From large to small: parts of a duration come in this order. */
static const struct unit durations[] = {
    {"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit sizes[] = {{"TiB", INT64_C(1) << 40}, {"GiB", INT64_C(1) << 30},
    {"MiB", INT64_C(1) << 20}, {"KiB", INT64_C(1) << 10}, {"B", 1}};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Digits at *p into v; *p moves behind them. */
static enum units_result
take_digits(const char **p, int64_t *v)
{
	int64_t n = 0;

	if (**p < '0' || **p > '9')
		return UNITS_MALFORMED;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		int digit = **p - '0';

		if (n > (INT64_MAX - digit) / 10)
			return UNITS_OVERFLOW;
		n = n * 10 + digit;
	}
	*v = n;
	return UNITS_OK;
}

/* Letters at *p as a row of table; *p moves behind them. NULL when it is none of them. */
static const struct unit *
take_unit(const char **p, const struct unit *table, size_t n)
{
	size_t len = 0;

	while (((*p)[len] >= 'a' && (*p)[len] <= 'z') || ((*p)[len] >= 'A' && (*p)[len] <= 'Z'))
		len++;
	for (size_t i = 0; i < n; i++) {
		if (strlen(table[i].name) == len && memcmp(table[i].name, *p, len) == 0) {
			*p += len;
			return &table[i];
		}
	}
	return NULL;
}

enum units_result
units_parse_duration(const char *text, int64_t *ms)
{
	const struct unit *last = NULL;
	int64_t sum = 0;

	if (strcmp(text, "0") == 0) {
		*ms = 0;
		return UNITS_OK;
	}
	do {
		const struct unit *unit;
		int64_t n;
		enum units_result r = take_digits(&text, &n);

		if (r != UNITS_OK)
			return r;
		if (*text == '\0')
			return UNITS_NO_UNIT;
		unit = take_unit(&text, durations, COUNT(durations));
		if (unit == NULL)
			return UNITS_BAD_UNIT;
		if (last != NULL && unit <= last)
			return UNITS_MALFORMED;
		last = unit;
		if (n > (INT64_MAX - 1 - sum) / unit->factor)
			return UNITS_OVERFLOW;
		sum += n * unit->factor;
	} while (*text != '\0');
	*ms = sum;
	return UNITS_OK;
}

enum units_result
units_parse_size(const char *text, int64_t *bytes)
{
	const struct unit *unit;
	enum units_result r;
	int64_t n;

	if (strcmp(text, "0") == 0) {
		*bytes = 0;
		return UNITS_OK;
	}
	r = take_digits(&text, &n);
	if (r != UNITS_OK)
		return r;
	if (*text == '\0')
		return UNITS_NO_UNIT;
	unit = take_unit(&text, sizes, COUNT(sizes));
	if (unit == NULL || *text != '\0')
		return UNITS_BAD_UNIT;
	if (n > INT64_MAX / unit->factor)
		return UNITS_OVERFLOW;
	*bytes = n * unit->factor;
	return UNITS_OK;
}

enum units_result
units_parse_number(const char *text, int64_t *value)
{
	int negative = *text == '-';
	enum units_result r;

	text += negative;
	r = take_digits(&text, value);
	if (r == UNITS_OK && *text != '\0')
		r = UNITS_MALFORMED;
	if (r == UNITS_OK && negative)
		*value = -*value;
	return r;
}

char *
units_format_duration(int64_t ms, char buf[UNITS_TEXT])
{
	size_t i = 0;

	if (ms == INT64_MAX) {
		snprintf(buf, UNITS_TEXT, "never");
		return buf;
	}
	while (i + 1 < COUNT(durations) && (ms == 0 || ms % durations[i].factor != 0))
		i++;
	snprintf(buf, UNITS_TEXT, "%" PRId64 "%s", ms / durations[i].factor, durations[i].name);
	return buf;
}

char *
units_format_size(int64_t bytes, char buf[UNITS_TEXT])
{
	size_t i = 0;

	while (i + 1 < COUNT(sizes) && (bytes == 0 || bytes % sizes[i].factor != 0))
		i++;
	snprintf(buf, UNITS_TEXT, "%" PRId64 "%s", bytes / sizes[i].factor, sizes[i].name);
	return buf;
}

char *
units_format_age(int64_t ms, char buf[UNITS_TEXT])
{
	size_t i = 0;
	int64_t rest;

	if (ms == INT64_MAX || ms < 0)
		return units_format_duration(ms < 0 ? 0 : ms, buf);
	while (i + 1 < COUNT(durations) && ms < durations[i].factor)
		i++;
	rest = ms % durations[i].factor;
	/* milliseconds matter below ten seconds only */
	if (i + 1 < COUNT(durations) && !(durations[i].factor == 1000 && ms >= 10000) &&
	    rest / durations[i + 1].factor > 0)
		snprintf(buf, UNITS_TEXT, "%" PRId64 "%s %" PRId64 "%s", ms / durations[i].factor,
		    durations[i].name, rest / durations[i + 1].factor, durations[i + 1].name);
	else
		snprintf(
		    buf, UNITS_TEXT, "%" PRId64 "%s", ms / durations[i].factor, durations[i].name);
	return buf;
}
