/* SPDX-License-Identifier: ISC */
/*
 * Words of enums, ages and times as bulkheadctl shows them.
 */
#include "ctl.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../lib/units.h"
#include "../policy/sandbox.h"

const char *
reload_word(unsigned result)
{
	static const char *const words[RELOAD_RESULT_MAX] = {
	    [RELOAD_DONE] = "done",
	    [RELOAD_UNCHANGED] = "unchanged",
	    [RELOAD_BAD_CONFIG] = "bad-config",
	    [RELOAD_REFUSED] = "refused",
	    [RELOAD_TIMEOUT] = "timeout",
	    [RELOAD_DIED] = "died",
	    [RELOAD_RESTART_NEEDED] = "restart-needed",
	};

	return result < RELOAD_RESULT_MAX ? words[result] : "?";
}

const char *
process_word(unsigned state)
{
	static const char *const words[PROCESS_STATE_MAX] = {
	    [PROCESS_DOWN] = "down",
	    [PROCESS_STARTING] = "starting",
	    [PROCESS_UP] = "up",
	    [PROCESS_BACKOFF] = "backoff",
	};

	return state < PROCESS_STATE_MAX ? words[state] : "?";
}

const char *
config_word(unsigned config)
{
	static const char *const words[PROCESS_CONFIG_MAX] = {
	    [CONFIG_UNKNOWN] = "unknown",
	    [CONFIG_CURRENT] = "current",
	    [CONFIG_OTHER] = "OTHER",
	};

	return config < PROCESS_CONFIG_MAX ? words[config] : "?";
}

uint64_t
process_offence_sum(const struct ctl_process *p)
{
	uint64_t sum = 0;

	for (unsigned i = 1; i < OFFENCE_MAX; i++)
		sum += p->offences[i];
	return sum;
}

const char *
layers_text(unsigned layers, char *buf, size_t size)
{
	static const struct {
		unsigned bit;
		const char *name;
	} rows[] = {{LAYER_SECCOMP, "seccomp"}, {LAYER_LANDLOCK_FS, "files"},
	    {LAYER_LANDLOCK_NET, "network"}, {LAYER_LANDLOCK_SCOPE, "scope"},
	    {LAYER_REPORTS, "seccomp-reports-only"}};
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && n < size; i++) {
		if (layers & rows[i].bit)
			n += (size_t)snprintf(
			    buf + n, size - n, "%s%s", n > 0 ? "," : "", rows[i].name);
	}
	return buf;
}

const char *
net_counter_name(unsigned counter)
{
	static const char *const names[] = {
	    [NET_ACCEPTED] = "accepted",
	    [NET_ADMITTED] = "admitted",
	    [NET_SLOTS_FULL] = "slots-full",
	    [NET_RATE_LIMITED] = "rate-limited",
	    [NET_BAD_HELLO] = "bad-hello",
	    [NET_BAD_TAG] = "bad-tag",
	    [NET_HELLO_TIMEOUT] = "hello-timeout",
	    [NET_OWNER_REFUSED] = "owner-refused",
	    [NET_DIALS] = "dials",
	    [NET_DIALS_FAILED] = "dials-failed",
	};

	if (counter >= sizeof(names) / sizeof(names[0]) || names[counter] == NULL)
		return "?";
	return names[counter];
}

const char *
age_text(int64_t ms, char *buf)
{
	if (ms < 0)
		snprintf(buf, UNITS_TEXT, "never");
	else
		units_format_age(ms, buf);
	return buf;
}

const char *
wall_text(int64_t wall_ms, char *buf, size_t size)
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;

	if (wall_ms < 0 || localtime_r(&t, &tm) == NULL ||
	    strftime(buf, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(buf, size, "?");
	return buf;
}
