/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl events and explain: the decision ledger.
 */
#include "ctl.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../lib/units.h"

enum { EXPLAIN_BACK = 200 }; /* decisions looked at to find the last change of role */

static void
begin_events(struct msg *m, uint64_t first, uint32_t n, int follow, int decisions)
{
	msg_begin(m, MSG_CTL_EVENTS);
	msg_put_u64(m, first);
	msg_put_u32(m, n);
	msg_put_u8(m, (uint8_t)follow);
	msg_put_u8(m, (uint8_t)decisions);
}

static void
print_line(const struct ctl_event *e)
{
	char when[32];

	printf("%4" PRIu64 "  %s.%03d  %s  %s\n", e->sequence,
	    wall_text(e->wall_ms, when, sizeof(when)), (int)(e->wall_ms % 1000), e->rule, e->text);
}

static int
follow_event(const struct ctl_event *e, void *user)
{
	const struct options *o = user;
	json_t *j;

	if (!o->json) {
		print_line(e);
	} else {
		j = json_event(e);
		if (json_dumpf(j, stdout, JSON_COMPACT) == -1)
			die(CTL_EXIT_FAILED, "cannot write the answer");
		putchar('\n');
		json_decref(j);
	}
	if (fflush(stdout) != 0)
		die(CTL_EXIT_FAILED, "cannot write the answer");
	return 0;
}

static void
print_events(const struct options *o, const struct answer *source, const struct answer *a)
{
	json_t *j, *list;

	if (!o->json) {
		for (size_t i = 0; i < a->n_events; i++)
			print_line(&a->event[i]);
		if (a->n_events == 0)
			printf("no events\n");
		return;
	}
	j = json_object();
	list = json_array();
	json_source(j, source);
	for (size_t i = 0; i < a->n_events; i++)
		json_array_append_new(list, json_event(&a->event[i]));
	json_object_set_new(j, "events", list);
	json_print(j);
}

int
cmd_events(const struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {{"follow", no_argument, NULL, 'F'},
	    {"decisions", no_argument, NULL, 'd'}, {NULL, 0, NULL, 0}};
	static struct answer status, a;
	static struct msg m;
	struct client *c;
	int follow = 0, decisions = 0, opt;
	int64_t n = 1000;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "+:n:Fd", longs, NULL)) != -1) {
		switch (opt) {
		case 'n':
			if (units_parse_number(optarg, &n) != UNITS_OK || n < 1 || n > 1000000)
				die_usage(o, "-n %s: expected a number from 1 to 1000000", optarg);
			break;
		case 'F':
			follow = 1;
			break;
		case 'd':
			decisions = 1;
			break;
		default:
			die_usage(o, "unknown option or missing value: %s", argv[optind - 1]);
		}
	}
	if (optind < argc)
		die_usage(o, "'%s' is one argument too many", argv[optind]);
	ask_status(o, &status);
	c = client_open_or_die(o);
	begin_events(&m, 0, (uint32_t)n, follow, decisions);
	client_ask_or_die(c, &m, follow ? -1 : 4 * ANSWER_TIMEOUT_MS, &a,
	    follow ? follow_event : NULL, (void *)(uintptr_t)o);
	client_close(c);
	if (a.result != CTL_OK)
		die(CTL_EXIT_FAILED, "%s", a.text);
	if (!follow)
		print_events(o, &status, &a);
	answer_free(&a);
	return answer_stale(&status) && !follow ? CTL_EXIT_STALE : CTL_EXIT_OK;
}

/* ---- explain */

static void
print_evidence(const struct ctl_event *e)
{
	static const char *const headings[] = {
	    "SERVER", "ROLE", "VERDICT", "LINK", "ICMP", "HEARD BEFORE", "PING BEFORE"};
	struct table t;
	char age[UNITS_TEXT];

	table_init(&t, 7, headings, 1 << 5 | 1 << 6);
	for (size_t i = 0; i < e->n_evidence; i++) {
		const struct ctl_evidence *v = &e->evidence[i];

		table_row(&t);
		table_set(&t, 0, "    %s", v->name);
		table_set(&t, 1, "%s", v->role);
		table_set(&t, 2, "%s", v->verdict);
		table_set(&t, 3, "%s", v->link);
		table_set(&t, 4, "%s", v->icmp);
		table_set(&t, 5, "%s", age_text(v->status_age_ms, age));
		table_set(&t, 6, "%s", age_text(v->icmp_age_ms, age));
	}
	if (e->n_evidence > 0)
		snprintf(t.cell[0][0], TABLE_CELL, "    SERVER");
	table_print(&t, stdout);
}

static void
print_event(const struct ctl_event *e)
{
	char when[32], margin[UNITS_TEXT], boot[17];

	printf("event %" PRIu64 " of %s.%03d: %s\n", e->sequence,
	    wall_text(e->wall_ms, when, sizeof(when)), (int)(e->wall_ms % 1000), e->rule);
	printf("  %s\n", e->text);
	printf("  then: %s, %s, epoch %" PRIu64 "\n", e->role, e->condition, e->epoch);
	if (e->peer_name[0] != '\0')
		printf("  about: %s\n", e->peer_name);
	if (e->references_total > 0)
		printf(
		    "  reference hosts seen: %u of %u\n", e->references_seen, e->references_total);
	if (e->margin_ms != INT64_MIN && e->margin_ms != 0)
		printf("  margin: %s%s\n", e->margin_ms < 0 ? "-" : "",
		    units_format_age(e->margin_ms < 0 ? -e->margin_ms : e->margin_ms, margin));
	if (e->n_evidence > 0)
		printf("  evidence:\n");
	print_evidence(e);
	printf("  written by boot id %s\n", hex_u64(e->boot_id, boot));
}

/* The newest decision after which the role was another than before; NULL when there is none. */
static const struct ctl_event *
last_change(const struct answer *a)
{
	for (size_t i = a->n_events; i > 1; i--) {
		if (strcmp(a->event[i - 1].role, a->event[i - 2].role) != 0)
			return &a->event[i - 1];
	}
	return NULL;
}

static void
print_now(const struct answer *status)
{
	char age[UNITS_TEXT], boot[17];

	printf("%s is %s, %s, epoch %" PRIu64, status->self.name, status->self.role,
	    status->self.condition, status->self.epoch);
	if (status->self.role_age_ms >= 0)
		printf(", for %s", age_text(status->self.role_age_ms, age));
	printf("%s%s\n", status->self.note[0] != '\0' ? ": " : "", status->self.note);
	printf("answer: %s old, boot id %s\n", age_text(answer_age_ms(status), age),
	    hex_u64(status->self.boot_id, boot));
}

/* Why the role is as it is: the last change of it, and the newest decision or non-decision. */
static void
explain_now(const struct options *o, const struct answer *status, const struct answer *a)
{
	const struct ctl_event *newest = a->n_events > 0 ? &a->event[a->n_events - 1] : NULL;
	const struct ctl_event *change = last_change(a);
	json_t *j;

	if (o->json) {
		j = json_object();
		json_source(j, status);
		json_object_set_new(j, "role", json_string(status->self.role));
		json_object_set_new(j, "condition", json_string(status->self.condition));
		json_object_set_new(j, "note", json_string(status->self.note));
		json_object_set_new(j, "change", change != NULL ? json_event(change) : json_null());
		json_object_set_new(j, "newest", newest != NULL ? json_event(newest) : json_null());
		json_print(j);
		return;
	}
	print_now(status);
	if (change != NULL && change != newest) {
		printf("\nhow it came to this role:\n");
		print_event(change);
	}
	if (newest != NULL) {
		printf(
		    "\n%s:\n", change == newest ? "how it came to this role" : "newest decision");
		print_event(newest);
	} else {
		printf("\nno decision is in the ledger yet\n");
	}
}

static void
explain_one(
    const struct options *o, const struct answer *status, const struct answer *a, int64_t number)
{
	json_t *j;

	if (a->n_events == 0 || a->event[0].sequence != (uint64_t)number)
		die(CTL_EXIT_FAILED,
		    "event %" PRId64 " is not in the ledger; the newest is %" PRIu64, number,
		    status->self.last_event);
	if (!o->json) {
		print_event(&a->event[0]);
		return;
	}
	j = json_object();
	json_source(j, status);
	json_object_set_new(j, "event", json_event(&a->event[0]));
	json_print(j);
}

int
cmd_explain(const struct options *o, int argc, char **argv)
{
	static struct answer status, a;
	static struct msg m;
	struct client *c;
	int64_t number = 0;

	if (argc > 2)
		die_usage(o, "'%s' is one argument too many", argv[2]);
	if (argc == 2 && (units_parse_number(argv[1], &number) != UNITS_OK || number < 1))
		die_usage(o, "'%s' is not the number of an event", argv[1]);
	ask_status(o, &status);
	c = client_open_or_die(o);
	if (number > 0)
		begin_events(&m, (uint64_t)number, 1, 0, 0);
	else
		begin_events(&m, 0, EXPLAIN_BACK, 0, 1);
	client_ask_or_die(c, &m, 2 * ANSWER_TIMEOUT_MS, &a, NULL, NULL);
	client_close(c);
	if (a.result != CTL_OK)
		die(CTL_EXIT_FAILED, "%s", a.text);
	if (number > 0)
		explain_one(o, &status, &a, number);
	else
		explain_now(o, &status, &a);
	answer_free(&a);
	return answer_stale(&status) ? CTL_EXIT_STALE : CTL_EXIT_OK;
}
