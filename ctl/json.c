/* SPDX-License-Identifier: ISC */
/*
 * Answers as JSON. Names are those of the structs in lib/admin.h; ages are milliseconds, null for
 * never; 64-bit ids are hex strings, because many readers keep numbers as doubles.
 */
#include "ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../lib/conf_options.h"
#include "../policy/sandbox.h"

const char *
hex_u64(uint64_t v, char buf[17])
{
	snprintf(buf, 17, "%016" PRIx64, v);
	return buf;
}

const char *
hex_bytes(const uint8_t *bytes, size_t n, char *buf)
{
	for (size_t i = 0; i < n; i++)
		snprintf(buf + 2 * i, 3, "%02x", bytes[i]);
	return buf;
}

static void
set_text(json_t *j, const char *key, const char *text)
{
	json_object_set_new(j, key, json_string(text));
}

static void
set_number(json_t *j, const char *key, uint64_t v)
{
	json_object_set_new(j, key, json_integer((json_int_t)v));
}

static void
set_flag(json_t *j, const char *key, int v)
{
	json_object_set_new(j, key, json_boolean(v));
}

/* Milliseconds since; -1 is never. */
static void
set_age(json_t *j, const char *key, int64_t ms)
{
	json_object_set_new(j, key, ms < 0 ? json_null() : json_integer(ms));
}

static void
set_hex(json_t *j, const char *key, uint64_t v)
{
	char buf[17];

	set_text(j, key, hex_u64(v, buf));
}

/* Name of a server of the answer, null for none. */
static void
set_server(json_t *j, const char *key, const struct answer *a, uint8_t index)
{
	for (size_t i = 0; i < a->n_servers; i++) {
		if (a->server[i].index == index) {
			set_text(j, key, a->server[i].name);
			return;
		}
	}
	json_object_set_new(j, key, json_null());
}

void
json_source(json_t *to, const struct answer *a)
{
	if (!a->has_self)
		return;
	set_text(to, "server", a->self.name);
	set_hex(to, "boot_id", a->self.boot_id);
	set_hex(to, "instance", a->self.instance);
	set_number(to, "generation", a->self.generation);
	set_age(to, "age_ms", answer_age_ms(a));
	set_flag(to, "stale", answer_stale(a));
}

static json_t *
json_reload(const struct ctl_self *s, json_t *j)
{
	set_number(j, "conf_serial", s->conf_serial);
	set_text(j, "reload_result", s->reload_age_ms < 0 ? "none" : reload_word(s->reload_result));
	set_age(j, "reload_age_ms", s->reload_age_ms);
	set_text(j, "reload_text", s->reload_text);
	return j;
}

static json_t *
json_self(const struct answer *a)
{
	static const char *const levels[CTL_LEVEL_MAX] = {"ok", "warning", "critical"};
	const struct ctl_self *s = &a->self;
	json_t *j = json_object();
	char hex[33];

	set_text(j, "name", s->name);
	set_text(j, "group", s->group);
	set_number(j, "index", s->index);
	set_text(j, "kind", server_kind_name(s->kind));
	set_text(j, "mode", arbitration_name(s->mode));
	set_text(j, "role", s->role);
	set_text(j, "condition", s->condition);
	set_text(j, "level", s->level < CTL_LEVEL_MAX ? levels[s->level] : "?");
	set_text(j, "note", s->note);
	set_number(j, "epoch", s->epoch);
	set_server(j, "main_server", a, s->main_server);
	set_age(j, "role_age_ms", s->role_age_ms);
	set_number(j, "now_ms", (uint64_t)s->now_ms);
	set_number(j, "wall_ms", (uint64_t)s->wall_ms);
	set_hex(j, "boot_id", s->boot_id);
	set_hex(j, "instance", s->instance);
	set_number(j, "generation", s->generation);
	set_flag(j, "degraded", s->degraded);
	set_flag(j, "observe", s->observe);
	set_flag(j, "paused", s->paused);
	set_age(j, "pause_left_ms", s->paused ? s->pause_left_ms : -1);
	set_text(j, "pause_owner", s->pause_owner);
	set_text(j, "pause_reason", s->pause_reason);
	set_text(j, "digest", hex_bytes(s->digest, sizeof(s->digest), hex));
	set_number(j, "position", s->position);
	set_flag(j, "in_sync", s->in_sync);
	set_number(j, "takeovers", s->takeovers);
	set_age(j, "hold_left_ms", s->hold_left_ms);
	set_number(j, "last_event", s->last_event);
	return json_reload(s, j);
}

static json_t *
json_server(const struct ctl_server *s)
{
	json_t *j = json_object();

	set_number(j, "index", s->index);
	set_text(j, "name", s->name);
	set_text(j, "kind", server_kind_name(s->kind));
	set_flag(j, "self", s->self);
	json_object_set_new(j, "priority", json_integer(s->priority));
	set_age(j, "status_age_ms", s->status_age_ms);
	set_text(j, "role", s->role);
	set_text(j, "condition", s->condition);
	set_number(j, "epoch", s->epoch);
	set_hex(j, "boot_id", s->boot_id);
	set_number(j, "position", s->position);
	set_flag(j, "in_sync", s->in_sync);
	set_flag(j, "paused", s->paused);
	set_flag(j, "observe", s->observe);
	set_number(j, "checks_failing", s->checks_failing);
	set_flag(j, "digest_differs", s->digest_differs);
	set_number(j, "sees_references", s->sees_references);
	set_text(j, "link", s->link);
	set_text(j, "icmp", s->icmp);
	set_text(j, "verdict", s->verdict);
	set_age(j, "verdict_age_ms", s->verdict_age_ms);
	json_object_set_new(
	    j, "path", s->path == CTL_NO_SERVER ? json_null() : json_integer(s->path));
	set_number(j, "links_up", s->links_up);
	set_number(j, "rtt_us", s->rtt_us);
	set_number(j, "loss_per_mille", s->loss_per_mille);
	set_age(j, "icmp_age_ms", s->icmp_age_ms);
	return j;
}

static json_t *
json_link(const struct answer *a, const struct ctl_link *l)
{
	json_t *j = json_object();

	set_server(j, "server", a, l->server);
	set_number(j, "server_index", l->server);
	set_number(j, "path", l->path);
	set_flag(j, "inbound", l->inbound);
	set_text(j, "state", l->state);
	set_text(j, "address", l->address);
	set_number(j, "sessions", l->sessions);
	set_age(j, "up_age_ms", l->up_age_ms);
	set_number(j, "records_in", l->records_in);
	set_number(j, "records_out", l->records_out);
	set_number(j, "bytes_in", l->bytes_in);
	set_number(j, "bytes_out", l->bytes_out);
	set_age(j, "heard_age_ms", l->heard_age_ms);
	set_number(j, "failures", l->failures);
	set_age(j, "retry_ms", l->retry_ms);
	set_text(j, "last_end", l->last_end);
	return j;
}

static json_t *
json_process(const struct ctl_process *p)
{
	json_t *j = json_object(), *counts = json_object();
	char text[160];

	set_text(j, "name", process_name((enum process)p->process));
	set_text(j, "state", process_word(p->state));
	set_number(j, "pid", p->pid);
	set_number(j, "restarts", p->restarts);
	set_number(j, "last_status", p->last_status);
	set_text(j, "last_end",
	    p->restarts > 0 ? exit_describe((int)p->last_status, text, sizeof(text)) : "");
	set_number(j, "backoff_ms", p->backoff_ms);
	set_text(j, "layers", layers_text(p->layers, text, sizeof(text)));
	set_age(j, "age_ms", p->age_ms);
	set_text(j, "config", config_word(p->config));
	set_text(
	    j, "config_digest", p->config != CONFIG_UNKNOWN ? hex_bytes(p->digest, 16, text) : "");
	set_number(j, "offences", process_offence_sum(p));
	set_text(j, "last_offence",
	    p->last_offence != OFFENCE_NONE ? offence_text(p->last_offence) : "");
	set_age(j, "last_offence_age_ms", p->offence_age_ms);
	for (unsigned i = 1; i < OFFENCE_MAX; i++) {
		if (p->offences[i] > 0)
			set_number(counts, offence_text(i), p->offences[i]);
	}
	json_object_set_new(j, "offence_counts", counts);
	set_number(j, "accused", p->accused);
	set_number(j, "accuses", p->accuses);
	return j;
}

static json_t *
json_check(const struct ctl_check *c)
{
	json_t *j = json_object();

	set_text(j, "name", c->name);
	set_flag(j, "known", c->known);
	set_flag(j, "healthy", c->healthy);
	set_number(j, "in_a_row", c->in_a_row);
	set_number(j, "exit_code", c->exit_code);
	set_age(j, "age_ms", c->age_ms);
	return j;
}

static json_t *
json_reference(const struct ctl_reference *r)
{
	json_t *j = json_object();

	set_text(j, "address", r->address);
	set_text(j, "state", r->state);
	set_number(j, "rtt_us", r->rtt_us);
	set_number(j, "loss_per_mille", r->loss_per_mille);
	set_age(j, "age_ms", r->age_ms);
	return j;
}

static json_t *
json_counters(const struct ctl_counters *c)
{
	json_t *j = json_object(), *net = json_object(), *link = json_object();

	for (unsigned i = 0; i < NET_COUNTER_MAX; i++)
		set_number(net, net_counter_name(i), c->net[i]);
	for (unsigned i = 0; i < LINK_C_MAX; i++)
		set_number(link, link_counter_name(i), c->link[i]);
	json_object_set_new(j, "net", net);
	json_object_set_new(j, "link", link);
	return j;
}

static json_t *
json_data_partner(const struct answer *a, const struct ctl_data_partner *p)
{
	json_t *j = json_object();

	for (size_t i = 0; i < a->n_servers; i++) {
		if (a->server[i].index == p->server)
			set_text(j, "name", a->server[i].name);
	}
	set_text(j, "state", p->state);
	set_number(j, "applied", p->applied);
	set_number(j, "durable", p->durable);
	set_number(j, "lag_changes", p->lag_changes);
	set_number(j, "lag_bytes", p->lag_bytes);
	set_age(j, "ack_age_ms", p->ack_age_ms);
	set_number(j, "sent_bytes", p->sent_bytes);
	set_number(j, "wire_bytes", p->wire_bytes);
	set_flag(j, "compressed", p->packed);
	set_number(j, "limit_bytes", p->limit_bytes);
	set_age(j, "oldest_missing_ms", p->behind_ms);
	set_number(j, "fill_bytes", p->fill_bytes);
	set_number(j, "room_bytes", p->room_bytes);
	set_age(j, "log_lasts_ms", p->forecast_ms);
	set_flag(j, "log_short", p->reaches_short);
	return j;
}

static json_t *
json_actions(const struct ctl_data *d)
{
	json_t *j = json_object();

	set_number(j, "names", d->action_names);
	set_number(j, "apps", d->action_apps);
	set_number(j, "waiting", d->actions_waiting);
	set_number(j, "given", d->actions_given);
	set_number(j, "done", d->actions_done);
	set_number(j, "failed", d->actions_failed);
	set_number(j, "unknown", d->actions_unknown);
	set_number(j, "refused", d->actions_refused);
	return j;
}

json_t *
json_data(const struct answer *a)
{
	const struct ctl_data *d = &a->data;
	static const char *const trouble[DATA_TROUBLE_MAX] = {"none", "full", "disk"};
	json_t *j = json_object(), *list = json_array();
	char hex[33];

	set_text(j, "role", d->role);
	set_text(j, "stream", d->stream);
	set_flag(j, "blank", d->blank);
	set_text(j, "id", hex_bytes(d->id, sizeof(d->id), hex));
	set_number(j, "epoch", d->epoch);
	set_number(j, "index", d->index);
	set_number(j, "durable", d->durable);
	set_number(j, "log_start", d->log_start);
	set_number(j, "keys", d->keys);
	set_number(j, "main_index", d->main_index);
	set_age(j, "in_sync_age_ms", d->in_sync_age_ms);
	set_text(j, "mode", conf_word(CT_SYNC, d->sync_mode));
	set_number(j, "standbys", d->sync_standbys);
	set_number(j, "lost_if_dead", d->lost_if_dead);
	set_text(j, "trouble", trouble[d->trouble]);
	set_flag(j, "sync_short", d->sync_short);
	set_number(j, "bundles", d->bundles);
	set_number(j, "used_bytes", d->used_bytes);
	set_number(j, "room_bytes", d->room_bytes);
	set_number(j, "clients", d->clients);
	json_object_set_new(j, "actions", json_actions(d));
	set_age(j, "age_ms", d->age_ms);
	for (size_t i = 0; i < a->n_data_partners; i++)
		json_array_append_new(list, json_data_partner(a, &a->data_partner[i]));
	json_object_set_new(j, "partners", list);
	return j;
}

json_t *
json_status(const struct answer *a)
{
	json_t *j = json_object(), *list;

	json_source(j, a);
	json_object_set_new(j, "self", json_self(a));
	json_object_set_new(j, "servers", list = json_array());
	for (size_t i = 0; i < a->n_servers; i++)
		json_array_append_new(list, json_server(&a->server[i]));
	json_object_set_new(j, "links", list = json_array());
	for (size_t i = 0; i < a->n_links; i++)
		json_array_append_new(list, json_link(a, &a->link[i]));
	json_object_set_new(j, "processes", list = json_array());
	for (size_t i = 0; i < a->n_processes; i++)
		json_array_append_new(list, json_process(&a->process[i]));
	json_object_set_new(j, "checks", list = json_array());
	for (size_t i = 0; i < a->n_checks; i++)
		json_array_append_new(list, json_check(&a->check[i]));
	json_object_set_new(j, "references", list = json_array());
	for (size_t i = 0; i < a->n_references; i++)
		json_array_append_new(list, json_reference(&a->reference[i]));
	if (a->has_counters)
		json_object_set_new(j, "counters", json_counters(&a->counters));
	json_object_set_new(j, "data", a->has_data ? json_data(a) : json_null());
	return j;
}

static json_t *
json_evidence(const struct ctl_evidence *v)
{
	json_t *j = json_object();

	set_text(j, "name", v->name);
	set_text(j, "link", v->link);
	set_text(j, "icmp", v->icmp);
	set_text(j, "verdict", v->verdict);
	set_text(j, "role", v->role);
	set_age(j, "status_age_ms", v->status_age_ms);
	set_age(j, "icmp_age_ms", v->icmp_age_ms);
	return j;
}

json_t *
json_event(const struct ctl_event *e)
{
	json_t *j = json_object(), *list = json_array();

	set_number(j, "sequence", e->sequence);
	set_hex(j, "boot_id", e->boot_id);
	set_number(j, "at_ms", (uint64_t)e->at_ms);
	set_number(j, "wall_ms", (uint64_t)e->wall_ms);
	set_flag(j, "decision", e->decision);
	set_text(j, "rule", e->rule);
	set_text(j, "role", e->role);
	set_text(j, "condition", e->condition);
	set_number(j, "epoch", e->epoch);
	json_object_set_new(j, "peer",
	    e->peer == CTL_NO_SERVER && e->peer_name[0] == '\0' ? json_null()
								: json_string(e->peer_name));
	set_number(j, "references_seen", e->references_seen);
	set_number(j, "references_total", e->references_total);
	json_object_set_new(
	    j, "margin_ms", e->margin_ms == INT64_MIN ? json_null() : json_integer(e->margin_ms));
	set_text(j, "text", e->text);
	for (size_t i = 0; i < e->n_evidence; i++)
		json_array_append_new(list, json_evidence(&e->evidence[i]));
	json_object_set_new(j, "evidence", list);
	return j;
}

void
json_print(json_t *j)
{
	if (json_dumpf(j, stdout, JSON_INDENT(2)) == -1)
		die(CTL_EXIT_FAILED, "cannot write the answer");
	putchar('\n');
	json_decref(j);
}
