/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl status: what this server is, sees, and why.
 */
#include "ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../lib/units.h"

static const char *
server_name(const struct answer *a, uint8_t index)
{
	for (size_t i = 0; i < a->n_servers; i++) {
		if (a->server[i].index == index)
			return a->server[i].name;
	}
	return "?";
}

/* What is not as it usually is. */
static void
print_notes(const struct ctl_self *s)
{
	char age[UNITS_TEXT];

	if (s->note[0] != '\0')
		printf("  %s\n", s->note);
	if (s->paused)
		printf("  PAUSED for another %s by %s: %s\n", age_text(s->pause_left_ms, age),
		    s->pause_owner, s->pause_reason);
	if (s->observe)
		printf("  OBSERVES ONLY: decides and logs, changes nothing\n");
	if (s->degraded)
		printf("  DEGRADED: a layer of the sandbox is missing (--allow-degraded) or only "
		       "reports (a build for tests)\n");
	if (s->hold_left_ms >= 0)
		printf(
		    "  decides again in %s if nothing changes\n", age_text(s->hold_left_ms, age));
	if (s->reload_age_ms >= 0 && s->reload_result != RELOAD_DONE &&
	    s->reload_result != RELOAD_UNCHANGED)
		printf("  LAST RELOAD (%s ago): %s: %s\n", age_text(s->reload_age_ms, age),
		    reload_word(s->reload_result), s->reload_text);
}

static void
print_head(const struct answer *a)
{
	const struct ctl_self *s = &a->self;
	char age[UNITS_TEXT], hex[33];

	printf("%s in group %s: %s, %s, epoch %" PRIu64 "%s%s\n", s->name, s->group, s->role,
	    s->condition, s->epoch, s->role_age_ms >= 0 ? ", for " : "",
	    s->role_age_ms >= 0 ? age_text(s->role_age_ms, age) : "");
	printf("main: %s · arbitration: %s · config: serial %" PRIu64 ", digest %.8s\n",
	    s->main_server == CTL_NO_SERVER ? "nobody" : server_name(a, s->main_server),
	    arbitration_name(s->mode), s->conf_serial,
	    hex_bytes(s->digest, sizeof(s->digest), hex));
	print_notes(s);
}

/* "0.21ms" */
static void
set_rtt(struct table *t, size_t column, uint32_t us)
{
	if (us > 0)
		table_set(t, column, "%u.%02ums", us / 1000, us / 10 % 100);
}

static void
set_loss(struct table *t, size_t column, uint16_t per_mille)
{
	table_set(t, column, "%u.%u%%", per_mille / 10U, per_mille % 10U);
}

/* What a partner says about itself that is not usual, with commas. */
static void
set_remark(struct table *t, size_t column, const struct ctl_server *s)
{
	char text[TABLE_CELL];

	snprintf(text, sizeof(text), "%s%s%s%s", s->paused ? ", paused" : "",
	    s->observe ? ", observes" : "", s->checks_failing ? ", unhealthy" : "",
	    s->digest_differs ? ", config differs" : "");
	table_set(t, column, "%s", text[0] != '\0' ? text + 2 : "");
}

static void
print_servers(const struct answer *a)
{
	static const char *const headings[] = {"SERVER", "KIND", "ROLE", "CONDITION", "VERDICT",
	    "LINK", "ICMP", "HEARD", "RTT", "LOSS", "REMARK"};
	struct table t;
	char age[UNITS_TEXT];

	table_init(&t, 11, headings, 1 << 7 | 1 << 8 | 1 << 9);
	for (size_t i = 0; i < a->n_servers; i++) {
		const struct ctl_server *s = &a->server[i];

		table_row(&t);
		table_set(&t, 0, "%s%s", s->name, s->self ? "*" : "");
		table_set(&t, 1, "%s", server_kind_name(s->kind));
		if (s->self) {
			table_set(&t, 2, "%s", a->self.role);
			table_set(&t, 3, "%s", a->self.condition);
			continue;
		}
		if (s->links_up > 0) {
			table_set(&t, 2, "%s", s->role);
			table_set(&t, 3, "%s", s->condition);
		} else if (s->status_age_ms >= 0) {
			table_set(&t, 2, "was %s", s->role);
		}
		table_set(&t, 4, "%s", s->verdict);
		table_set(&t, 5, "%s", s->link);
		table_set(&t, 6, "%s", s->icmp);
		table_set(&t, 7, "%s", age_text(s->status_age_ms, age));
		set_rtt(&t, 8, s->rtt_us);
		if (strcmp(s->icmp, "unknown") != 0)
			set_loss(&t, 9, s->loss_per_mille);
		set_remark(&t, 10, s);
	}
	putchar('\n');
	table_print(&t, stdout);
}

static void
print_links(const struct answer *a)
{
	static const char *const headings[] = {
	    "LINK", "PATH", "STATE", "ADDRESS", "UP", "HEARD", "SESSIONS", "FAILED", "LAST END"};
	struct table t;
	char age[UNITS_TEXT];

	table_init(&t, 9, headings, 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7);
	for (size_t i = 0; i < a->n_links; i++) {
		const struct ctl_link *l = &a->link[i];

		table_row(&t);
		table_set(&t, 0, "%s %s", l->inbound ? "from" : "to", server_name(a, l->server));
		table_set(&t, 1, "%u", l->path + 1U);
		table_set(&t, 2, "%s", l->state);
		table_set(&t, 3, "%s", l->address);
		if (l->up_age_ms >= 0) {
			table_set(&t, 4, "%s", age_text(l->up_age_ms, age));
			table_set(&t, 5, "%s", age_text(l->heard_age_ms, age));
		}
		table_set(&t, 6, "%u", l->sessions);
		table_set(&t, 7, "%u", l->failures);
		table_set(&t, 8, "%s", l->last_end);
	}
	if (a->n_links > 0)
		putchar('\n');
	table_print(&t, stdout);
}

/* What a process was killed for, and the complaints; nothing for one without a record. */
static void
print_offences(const struct ctl_process *p)
{
	const char *gap = ": ", *name = process_name((enum process)p->process);
	char age[UNITS_TEXT];

	if (process_offence_sum(p) > 0) {
		printf("%s was killed", name);
		for (unsigned i = 1; i < OFFENCE_MAX; i++) {
			if (p->offences[i] == 0)
				continue;
			printf("%s%u time%s because %s", gap, p->offences[i],
			    p->offences[i] == 1 ? "" : "s", offence_text(i));
			gap = ", ";
		}
		printf("; the last time %s ago because %s\n", age_text(p->offence_age_ms, age),
		    offence_text(p->last_offence));
	}
	if (p->accused > 0 || p->accuses > 0)
		printf("%s: complaints about it %u, by it %u\n", name, p->accused, p->accuses);
}

static void
print_processes(const struct answer *a)
{
	static const char *const headings[] = {"PROCESS", "STATE", "PID", "FOR", "RESTARTS",
	    "NEXT TRY", "OFFENCES", "CONFIG", "SANDBOX"};
	struct table t;
	char text[160];

	table_init(&t, 9, headings, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6);
	for (size_t i = 0; i < a->n_processes; i++) {
		const struct ctl_process *p = &a->process[i];

		table_row(&t);
		table_set(&t, 0, "%s", process_name((enum process)p->process));
		table_set(&t, 1, "%s", process_word(p->state));
		if (p->pid != 0)
			table_set(&t, 2, "%u", p->pid);
		table_set(&t, 3, "%s", age_text(p->age_ms, text));
		table_set(&t, 4, "%u", p->restarts);
		if (p->state == PROCESS_BACKOFF)
			table_set(&t, 5, "%s", age_text(p->backoff_ms, text));
		table_set(&t, 6, "%" PRIu64, process_offence_sum(p));
		table_set(&t, 7, "%s", config_word(p->config));
		table_set(&t, 8, "%s", layers_text(p->layers, text, sizeof(text)));
	}
	if (a->n_processes > 0)
		putchar('\n');
	table_print(&t, stdout);
	for (size_t i = 0; i < a->n_processes; i++)
		print_offences(&a->process[i]);
}

static void
print_checks(const struct answer *a)
{
	static const char *const headings[] = {
	    "CHECK", "STATE", "IN A ROW", "EXIT CODE", "LAST RUN"};
	struct table t;
	char age[UNITS_TEXT];

	table_init(&t, 5, headings, 1 << 2 | 1 << 3 | 1 << 4);
	for (size_t i = 0; i < a->n_checks; i++) {
		const struct ctl_check *c = &a->check[i];

		table_row(&t);
		table_set(&t, 0, "%s", c->name);
		table_set(&t, 1, "%s",
		    !c->known	 ? "not run yet"
		    : c->healthy ? "healthy"
				 : "FAILS");
		table_set(&t, 2, "%u", c->in_a_row);
		table_set(&t, 3, "%u", c->exit_code);
		table_set(&t, 4, "%s", age_text(c->age_ms, age));
	}
	if (a->n_checks > 0)
		putchar('\n');
	table_print(&t, stdout);
}

static void
print_references(const struct answer *a)
{
	static const char *const headings[] = {"REFERENCE", "STATE", "HEARD", "RTT", "LOSS"};
	struct table t;
	char age[UNITS_TEXT];

	table_init(&t, 5, headings, 1 << 2 | 1 << 3 | 1 << 4);
	for (size_t i = 0; i < a->n_references && a->self.kind != KIND_DMZ; i++) {
		const struct ctl_reference *r = &a->reference[i];

		table_row(&t);
		table_set(&t, 0, "%s", r->address);
		table_set(&t, 1, "%s", r->state);
		table_set(&t, 2, "%s", age_text(r->age_ms, age));
		set_rtt(&t, 3, r->rtt_us);
		if (strcmp(r->state, "unknown") != 0)
			set_loss(&t, 4, r->loss_per_mille);
	}
	if (t.n_rows > 1)
		putchar('\n');
	table_print(&t, stdout);
}

typedef const char *counter_name(unsigned counter);

/* Counters first to last of a process, which counts from its own start; nothing when all are 0. */
static void
print_refused_by(const struct answer *a, enum process process, const uint64_t *count,
    unsigned first, unsigned last, counter_name *name)
{
	char age[UNITS_TEXT];
	int n = 0;

	for (unsigned i = first; i <= last; i++) {
		if (count[i] == 0)
			continue;
		if (n++ == 0) {
			printf("\nrefused since %s started", process_name(process));
			for (size_t k = 0; k < a->n_processes; k++)
				if (a->process[k].process == process &&
				    a->process[k].state == PROCESS_UP)
					printf(", %s ago", age_text(a->process[k].age_ms, age));
		}
		printf("%s%s %" PRIu64, n == 1 ? ": " : ", ", name(i), count[i]);
	}
	if (n > 0)
		putchar('\n');
}

/* Connections that were refused, by reason; nothing when there were none. */
static void
print_refused(const struct answer *a)
{
	const struct ctl_counters *c = &a->counters;

	if (!a->has_counters)
		return;
	print_refused_by(a, PROC_NETD, c->net, NET_SLOTS_FULL, NET_OWNER_REFUSED, net_counter_name);
	print_refused_by(
	    a, PROC_ROLED, c->link, LINK_C_HELLO_TIMEOUT, LINK_C_KEY_REFUSED, link_counter_name);
}

int
cmd_status(const struct options *o, int argc, char **argv)
{
	static struct answer a;
	char age[UNITS_TEXT], boot[17];

	if (argc > 1)
		die_usage(o, "'%s' is one argument too many", argv[1]);
	ask_status(o, &a);
	if (o->json) {
		json_print(json_status(&a));
	} else {
		print_head(&a);
		print_servers(&a);
		print_links(&a);
		print_references(&a);
		print_checks(&a);
		print_processes(&a);
		print_refused(&a);
		printf("\nanswer: %s old, boot id %s, generation %u\n",
		    age_text(answer_age_ms(&a), age), hex_u64(a.self.boot_id, boot),
		    a.self.generation);
	}
	return answer_stale(&a) ? CTL_EXIT_STALE : CTL_EXIT_OK;
}
