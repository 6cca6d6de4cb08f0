/* SPDX-License-Identifier: ISC */
/*
 * Commands about the server.
 */
#include "config.h"

#include "command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "glob.h"
#include "lib/clock.h"

void
command_dbsize(struct call *a)
{
	resp_int(a->out, (int64_t)store_count(a->f->db.store));
}

void
command_time(struct call *a)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	resp_array(a->out, 2);
	resp_bulk_int(a->out, t.tv_sec);
	resp_bulk_int(a->out, t.tv_nsec / 1000);
}

void
command_flushall(struct call *a)
{
	if (a->argc > 2 ||
	    (a->argc == 2 && !slice_is(a->argv[1], "sync") && !slice_is(a->argv[1], "async"))) {
		reply_syntax(a);
		return;
	}
	if (!a->f->options.flush_permitted) {
		resp_error(
		    a->out, "-NOPERM deleting all keys is not permitted by the configuration");
		return;
	}
	if (store_count(a->f->db.store) > 0)
		db_flush(a->f);
	resp_ok(a->out);
}

static enum face_route
role_of(struct face *f)
{
	const char *refusal;
	uint64_t epoch;

	return f->calls->route(f->arg, &epoch, &refusal);
}

void
command_role(struct call *a)
{
	if (role_of(a->f) != FACE_LOCAL && a->f->calls->role != NULL) {
		a->f->calls->role(a->f->arg, a->out);
		return;
	}
	resp_array(a->out, 3);
	resp_text(a->out, "master");
	resp_int(a->out, (int64_t)store_end(a->f->db.store).index);
	resp_array(a->out, 0);
}

/* ---- INFO */

/* Appends a line of INFO: its end is added. */
static void __attribute__((format(printf, 2, 3))) line(struct resp_out *o, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	resp_raw(o, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
	resp_raw(o, "\r\n", 2);
}

static void
info_server(struct face *f, struct resp_out *o)
{
	struct timespec t;
	int64_t up = (now_ms() - f->started_ms) / 1000;

	clock_gettime(CLOCK_REALTIME, &t);
	line(o, "redis_version:%s", FACE_REDIS_VERSION);
	line(o, "bulkhead_version:%s", PACKAGE_VERSION);
	line(o, "redis_mode:standalone");
	line(o, "arch_bits:%zu", sizeof(void *) * 8);
	line(o, "process_id:%d", (int)getpid());
	line(o, "tcp_port:0");
	line(o, "server_time_usec:%lld", (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
	line(o, "uptime_in_seconds:%lld", (long long)up);
	line(o, "uptime_in_days:%lld", (long long)up / 86400);
}

static void
info_clients(struct face *f, struct resp_out *o)
{
	unsigned n = 0;

	for (struct client *c = f->clients; c != NULL; c = c->next)
		n += (c->flags & (CLIENT_REMOTE | CLIENT_DEAD)) == 0;
	line(o, "connected_clients:%u", n);
	line(o, "maxclients:%u", f->options.clients_max);
	line(o, "blocked_clients:%u", f->n_waiting);
}

/* Not ours, which is bounded by buffers: that of the data, as a monitor of Redis means it. */
static void
info_memory(struct face *f, struct resp_out *o)
{
	struct store_room room;

	store_describe(f->db.store, &room);
	line(o, "used_memory:%llu", (unsigned long long)room.used);
	line(o, "data_room_bytes:%llu", (unsigned long long)room.left);
	line(o, "data_refused:%d", room.trouble != STORE_WELL);
	line(o, "maxmemory:0");
	line(o, "maxmemory_policy:noeviction");
}

static void
info_persistence(struct face *f, struct resp_out *o)
{
	struct position end = store_end(f->db.store), durable = store_durable(f->db.store);

	line(o, "loading:0");
	line(o, "log_epoch:%llu", (unsigned long long)end.epoch);
	line(o, "log_index:%llu", (unsigned long long)end.index);
	line(o, "log_durable_index:%llu", (unsigned long long)durable.index);
}

static void
info_stats(struct face *f, struct resp_out *o)
{
	line(o, "total_connections_received:%llu", (unsigned long long)f->counts.connections);
	line(o, "total_commands_processed:%llu", (unsigned long long)f->counts.commands);
	line(o, "total_error_replies:%llu", (unsigned long long)f->counts.rejected);
	line(o, "expired_keys:%llu", (unsigned long long)f->counts.expired);
	line(o, "keyspace_hits:%llu", (unsigned long long)f->counts.hits);
	line(o, "keyspace_misses:%llu", (unsigned long long)f->counts.misses);
	line(o, "pubsub_channels:%zu", f->channels.n_topics);
	line(o, "pubsub_patterns:%zu", f->patterns.n_topics);
	line(o, "client_output_buffer_limit_disconnections:%llu",
	    (unsigned long long)f->counts.condemned);
	line(o, "changes_undone:%llu", (unsigned long long)f->counts.undone);
}

static void
info_replication(struct face *f, struct resp_out *o)
{
	bool is_main = role_of(f) == FACE_LOCAL;

	line(o, "role:%s", is_main ? "master" : "slave");
	if (f->calls->describe != NULL)
		f->calls->describe(f->arg, o);
	else
		line(o, "connected_slaves:0");
	line(o, "master_repl_offset:%llu", (unsigned long long)store_end(f->db.store).index);
}

static void
info_actions(struct face *f, struct resp_out *o)
{
	struct face_action_counts n;

	face_actions_count(f, &n);
	line(o, "action_names_served:%zu", n.names);
	line(o, "action_connections:%zu", n.apps);
	line(o, "actions_waiting:%zu", n.waiting);
	line(o, "actions_given:%zu", n.given);
	line(o, "actions_done:%llu", (unsigned long long)n.done);
	line(o, "actions_failed:%llu", (unsigned long long)n.failed);
	line(o, "actions_unknown:%llu", (unsigned long long)n.unknown);
	line(o, "actions_refused:%llu", (unsigned long long)n.refused);
}

static void
info_cpu(struct face *f, struct resp_out *o)
{
	struct timespec t;

	(void)f;
	/* user and system time apart would be a system call more in the sandbox */
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	line(o, "used_cpu_total:%lld.%06ld", (long long)t.tv_sec, t.tv_nsec / 1000);
}

static void
info_keyspace(struct face *f, struct resp_out *o)
{
	uint64_t n = store_count(f->db.store);

	if (n > 0)
		line(o, "db0:keys=%llu,expires=0,avg_ttl=0", (unsigned long long)n);
}

static const struct {
	const char *name, *title;
	void (*write)(struct face *f, struct resp_out *o);
} sections[] = {
    {"server", "Server", info_server},
    {"clients", "Clients", info_clients},
    {"memory", "Memory", info_memory},
    {"persistence", "Persistence", info_persistence},
    {"stats", "Stats", info_stats},
    {"replication", "Replication", info_replication},
    {"actions", "Actions", info_actions},
    {"cpu", "CPU", info_cpu},
    {"keyspace", "Keyspace", info_keyspace},
};

static bool
is_wanted(struct call *a, const char *section)
{
	if (a->argc == 1)
		return true;
	for (size_t i = 1; i < a->argc; i++)
		if (slice_is(a->argv[i], section) || slice_is(a->argv[i], "all") ||
		    slice_is(a->argv[i], "default") || slice_is(a->argv[i], "everything"))
			return true;
	return false;
}

void
command_info(struct call *a)
{
	struct resp_out text = {.version = 2};

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		if (!is_wanted(a, sections[i].name))
			continue;
		if (text.len > 0)
			resp_raw(&text, "\r\n", 2);
		line(&text, "# %s", sections[i].title);
		sections[i].write(a->f, &text);
	}
	resp_verbatim(a->out, (struct slice){text.data, text.len});
	resp_out_free(&text);
}

/* ---- SNAPSHOT */

/* SNAPSHOT SAVE, SNAPSHOT RESTORE [REPLACE]: bulkheadctl's. The connection becomes the owner's. */
void
command_snapshot(struct call *a)
{
	struct client *c = a->c;
	bool restores = slice_is(a->argv[1], "restore"),
	     replace = a->argc == 3 && slice_is(a->argv[2], "replace");
	const char *refusal;

	if (!(restores && (a->argc == 2 || replace)) &&
	    !(a->argc == 2 && slice_is(a->argv[1], "save"))) {
		reply_syntax(a);
		return;
	}
	if (c->fd < 0 || c->uid != 0) {
		resp_error(a->out, "-NOPERM only root may save or restore a snapshot");
		return;
	}
	if ((c->flags & CLIENT_MULTI) != 0 || c->out.len > 0 || c->in_at < c->in_len ||
	    client_subscriptions(c) > 0 || a->f->calls->snapshot == NULL) {
		resp_error(a->out, "SNAPSHOT needs a connection of its own");
		return;
	}
	if (restores && a->f->calls->reads_only != NULL &&
	    a->f->calls->reads_only(a->f->arg, c->uid)) {
		resp_error(a->out, "-NOPERM this user may only read");
		return;
	}
	refusal = a->f->calls->snapshot(a->f->arg, c->fd, restores, replace);
	if (refusal != NULL) {
		resp_error(a->out, refusal);
		return;
	}
	c->flags |= CLIENT_GIVEN;
	client_end(c, NULL);
}

/* ---- CONFIG */

/* What programs ask for; our own settings are in bulkhead.conf. number: 0 for a text. */
struct setting {
	const char *name, *text;
	size_t number;
};

/* How a setting is called in the answer: as it was asked for, when that was no pattern. 1 or 0. */
static bool
is_asked(struct call *a, const char *name, struct slice *as)
{
	for (size_t i = 2; i < a->argc; i++) {
		*as = a->argv[i];
		if (slice_is(*as, name))
			return true;
		*as = slice_of(name);
		if (glob_match(a->argv[i], *as, true))
			return true;
	}
	return false;
}

void
command_config_get(struct call *a)
{
	const struct face_options *o = &a->f->options;
	char limit[160];
	const struct setting settings[] = {{"appendfsync", "always", 0}, {"appendonly", "yes", 0},
	    {"client-output-buffer-limit", limit, 0}, {"databases", "1", 0},
	    {"maxclients", NULL, o->clients_max}, {"maxmemory", "0", 0},
	    {"maxmemory-policy", "noeviction", 0}, {"notify-keyspace-events", "AKE", 0},
	    {"port", "0", 0}, {"proto-max-bulk-len", NULL, o->bulk_max}, {"save", "", 0},
	    {"timeout", "0", 0}, {"unixsocket", o->path, 0}};
	struct slice name;
	size_t n = 0, total = sizeof(settings) / sizeof(settings[0]);

	snprintf(limit, sizeof(limit), "normal %zu 0 0 slave 0 0 0 pubsub %zu 0 0", o->output_max,
	    o->output_push_max);
	for (size_t i = 0; i < total; i++)
		n += is_asked(a, settings[i].name, &name);
	resp_map(a->out, n);
	for (size_t i = 0; i < total; i++) {
		if (!is_asked(a, settings[i].name, &name))
			continue;
		resp_bulk(a->out, name);
		if (settings[i].text != NULL)
			resp_text(a->out, settings[i].text);
		else
			resp_bulk_int(a->out, (int64_t)settings[i].number);
	}
}

void
command_config_set(struct call *a)
{
	resp_error(a->out, "CONFIG SET is not supported: settings are made in bulkhead.conf");
}
