/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl data: where the replicated data is on each server, and what would be lost if this one
 * died now.
 */
#include "ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../lib/conf_options.h"
#include "../lib/units.h"

enum { FRESH_MS = 900 }; /* roled asks syncd first, and takes older figures after a second only */

static const char *
partner_name(const struct answer *a, uint8_t index)
{
	for (size_t i = 0; i < a->n_servers; i++) {
		if (a->server[i].index == index)
			return a->server[i].name;
	}
	return "?";
}

static void
print_partners(const struct answer *a)
{
	static const char *const headings[] = {"SERVER", "STATE", "HAS", "ON DISK", "LAG",
	    "LAG BYTES", "ACKNOWLEDGED", "SENT", "COMPRESSED", "LIMIT", "OLDEST MISSING",
	    "LOG LASTS"};
	struct table t;
	char text[UNITS_TEXT];

	table_init(&t, 12, headings, 0xffc);
	for (size_t i = 0; i < a->n_data_partners; i++) {
		const struct ctl_data_partner *p = &a->data_partner[i];

		table_row(&t);
		table_set(&t, 0, "%s", partner_name(a, p->server));
		table_set(&t, 1, "%s", p->state);
		if (p->behind_ms >= 0)
			table_set(&t, 10, "%s", age_text(p->behind_ms, text));
		if (p->forecast_ms >= 0)
			table_set(&t, 11, "%s",
			    p->forecast_ms > 0 ? age_text(p->forecast_ms, text) : "snapshot");
		if (strcmp(p->state, "down") == 0)
			continue;
		table_set(&t, 2, "%" PRIu64, p->applied);
		table_set(&t, 3, "%" PRIu64, p->durable);
		table_set(&t, 4, "%" PRIu64, p->lag_changes);
		table_set(&t, 5, "%" PRIu64, p->lag_bytes);
		table_set(&t, 6, "%s ago", age_text(p->ack_age_ms, text));
		table_set(&t, 7, "%" PRIu64, p->wire_bytes);
		if (p->packed && p->wire_bytes > 0)
			table_set(&t, 8, "%.1f:1", (double)p->sent_bytes / (double)p->wire_bytes);
		if (p->limit_bytes > 0)
			table_set(&t, 9, "%s/s", units_format_size((int64_t)p->limit_bytes, text));
	}
	table_print(&t, stdout);
}

/* Nothing where nobody uses them. */
static void
print_actions(const struct ctl_data *d)
{
	if (d->action_apps == 0 &&
	    d->actions_done + d->actions_failed + d->actions_unknown + d->actions_refused == 0)
		return;
	printf(
	    "actions: %u names served on %u connections, %u wait, %u given to apps; ended: %" PRIu64
	    " done, %" PRIu64 " failed, %" PRIu64 " of unknown outcome, %" PRIu64 " not executed\n",
	    d->action_names, d->action_apps, d->actions_waiting, d->actions_given, d->actions_done,
	    d->actions_failed, d->actions_unknown, d->actions_refused);
}

/* What an admin has to do something about. */
static void
print_troubles(const struct ctl_data *d)
{
	if (d->trouble == DATA_DISK)
		printf("THE DISK FAILED: changes are refused until syncd is started again; see the "
		       "log\n");
	if (d->sync_short)
		printf("WRITES WAIT: mode sync needs %u standby servers that follow, and there are "
		       "fewer\n",
		    d->sync_standbys);
	if (d->bundles > 0)
		printf("divergence bundles here: %u; see bulkheadctl bundle list\n", d->bundles);
}

/* As in "12.3 MiB". */
static const char *
size_text(uint64_t bytes, char text[UNITS_TEXT])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double v = (double)bytes;
	size_t i = 0;

	for (; v >= 1024 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
		v /= 1024;
	snprintf(text, UNITS_TEXT, i == 0 ? "%.0f %s" : "%.1f %s", v, units[i]);
	return text;
}

static void
print_data(const struct answer *a)
{
	const struct ctl_data *d = &a->data;
	char text[UNITS_TEXT], used[UNITS_TEXT], left[UNITS_TEXT];

	if (d->age_ms >= FRESH_MS)
		printf("syncd does not answer; this is as of %s ago:\n", age_text(d->age_ms, text));
	if (d->blank) {
		printf("no data: %s\n", strcmp(d->role, "main") == 0
					    ? "bulkheadctl init begins the data of the group here"
					    : "it comes from main, when that has some");
		return;
	}
	printf("%" PRIu64 " keys, newest change %" PRIu64 " of epoch %" PRIu64
	       ", on disk up to %" PRIu64 ", log from %" PRIu64 "\n",
	    d->keys, d->index, d->epoch, d->durable, d->log_start);
	printf("local programs: %u connected · mode: %s\n", d->clients,
	    conf_word(CT_SYNC, d->sync_mode));
	printf("room: %s used, %s left", size_text(d->used_bytes, used),
	    size_text(d->room_bytes, left));
	printf("%s\n", d->trouble == DATA_FULL ? ": CHANGES ARE REFUSED until there is more" : "");
	print_actions(d);
	print_troubles(d);
	if (strcmp(d->role, "main") == 0) {
		printf("if this server died now, %" PRIu64 " changes would be lost\n\n",
		    d->lost_if_dead);
		print_partners(a);
		return;
	}
	printf("stream of main: %s, its newest change is %" PRIu64 "\n", d->stream, d->main_index);
	if (strcmp(d->stream, "diverged") == 0)
		printf("changes of this server cannot be saved, and it does not follow: see the "
		       "log, and bulkheadctl bundle list\n");
	printf("had everything of main: %s%s\n", age_text(d->in_sync_age_ms, text),
	    d->in_sync_age_ms >= 0 ? " ago" : "");
}

int
cmd_data(const struct options *o, int argc, char **argv)
{
	static struct answer a;
	static struct msg m;
	struct client *c;

	if (argc > 1)
		die_usage(o, "'%s' is one argument too many", argv[1]);
	c = client_open_or_die(o);
	msg_begin(&m, MSG_CTL_DATA);
	client_ask_or_die(c, &m, ANSWER_TIMEOUT_MS, &a, NULL, NULL);
	client_close(c);
	if (a.result != CTL_OK)
		die(CTL_EXIT_FAILED, "%s", a.text);
	if (!a.has_data)
		die(CTL_EXIT_NO_DAEMON, "syncd has not said anything yet");
	if (o->json) {
		json_t *j = json_object();

		json_source(j, &a);
		json_object_set_new(j, "data", json_data(&a));
		json_print(j);
	} else {
		print_data(&a);
	}
	return answer_stale(&a) || a.data.age_ms > STALE_MS ? CTL_EXIT_STALE : CTL_EXIT_OK;
}
