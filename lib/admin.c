/* SPDX-License-Identifier: ISC */
/*
 * Encoders and strict decoders of the answers on the admin socket. Pure: no I/O.
 */
#include "admin.h"

#include <string.h>

static const char *const counter_names[LINK_C_MAX] = {
    [LINK_C_DIALED] = "dialed",
    [LINK_C_UP_OUT] = "up-out",
    [LINK_C_UP_IN] = "up-in",
    [LINK_C_REPLACED] = "replaced",
    [LINK_C_HELLO_TIMEOUT] = "hello-timeout",
    [LINK_C_BAD_HELLO] = "bad-hello",
    [LINK_C_BAD_HANDSHAKE] = "bad-handshake",
    [LINK_C_UNKNOWN_KEY] = "unknown-key",
    [LINK_C_SELF_KEY] = "own-key",
    [LINK_C_NOT_ALLOWED] = "not-allowed",
    [LINK_C_REPLAY] = "replay",
    [LINK_C_BAD_RECORD] = "bad-record",
    [LINK_C_BAD_STATUS] = "bad-status",
    [LINK_C_SLOW] = "slow",
    [LINK_C_NO_ROOM] = "no-room",
    [LINK_C_KEY_REFUSED] = "key-refused",
    [LINK_C_STATUS_IN] = "status-in",
    [LINK_C_STATUS_OUT] = "status-out",
    [LINK_C_TWIN] = "twin",
};

/* Name of a counter of links. */
const char *
link_counter_name(unsigned c)
{
	return c < LINK_C_MAX ? counter_names[c] : "?";
}

/* A byte that must be below limit. */
static uint8_t
get_below(struct msg *m, unsigned limit)
{
	uint8_t v = msg_get_u8(m);

	if (v >= limit) {
		m->bad = 1;
		return 0;
	}
	return v;
}

/* A flag: 0 or 1. */
static uint8_t
get_flag(struct msg *m)
{
	return get_below(m, 2);
}

/* Index of a server, or CTL_NO_SERVER. */
static uint8_t
get_peer(struct msg *m)
{
	uint8_t v = msg_get_u8(m);

	if (v >= CONF_SERVERS && v != CTL_NO_SERVER)
		m->bad = 1;
	return v;
}

/*
 * A number of milliseconds from low to CTL_TIME_MAX: whoever reads it may add, subtract and negate
 * without a look at the limits of the type.
 */
static int64_t
get_ms(struct msg *m, int64_t low)
{
	int64_t v = msg_get_i64(m);

	if (v >= low && v <= CTL_TIME_MAX)
		return v;
	m->bad = 1;
	return 0;
}

/*
 * What get_ms() takes: a number beyond it becomes the limit, so that one odd number hides nothing
 * else.
 */
static void
put_ms(struct msg *m, int64_t v, int64_t low)
{
	msg_put_i64(m, v < low ? low : v > CTL_TIME_MAX ? CTL_TIME_MAX : v);
}

/* An age: milliseconds, or -1. */
static int64_t
get_age(struct msg *m)
{
	return get_ms(m, -1);
}

static void
put_age(struct msg *m, int64_t v)
{
	put_ms(m, v, -1);
}

/* Left over or missing, or INT64_MIN for none. */
static int64_t
get_margin(struct msg *m)
{
	int64_t v = msg_get_i64(m);

	if (v == INT64_MIN || (v >= -CTL_TIME_MAX && v <= CTL_TIME_MAX))
		return v;
	m->bad = 1;
	return INT64_MIN;
}

static void
put_margin(struct msg *m, int64_t v)
{
	if (v == INT64_MIN)
		msg_put_i64(m, v);
	else
		put_ms(m, v, -CTL_TIME_MAX);
}

#define GET_STR(m, field) msg_get_str((m), (field), sizeof(field))

/* This server. */
void
ctl_put_self(struct msg *m, const struct ctl_self *s)
{
	msg_put_str(m, s->name);
	msg_put_str(m, s->group);
	msg_put_u8(m, s->index);
	msg_put_u8(m, s->kind);
	msg_put_u8(m, s->mode);
	msg_put_str(m, s->role);
	msg_put_str(m, s->condition);
	msg_put_u8(m, s->level);
	msg_put_str(m, s->note);
	msg_put_u64(m, s->epoch);
	msg_put_u8(m, s->main_server);
	put_age(m, s->role_age_ms);
	put_ms(m, s->now_ms, 0);
	put_ms(m, s->wall_ms, 0);
	msg_put_u64(m, s->boot_id);
	msg_put_u64(m, s->instance);
	msg_put_u32(m, s->generation);
	msg_put_u8(m, s->degraded);
	msg_put_u8(m, s->observe);
	msg_put_u8(m, s->paused);
	put_age(m, s->pause_left_ms);
	msg_put_str(m, s->pause_owner);
	msg_put_str(m, s->pause_reason);
	msg_put_bytes(m, s->digest, sizeof(s->digest));
	msg_put_u64(m, s->conf_serial);
	msg_put_u8(m, s->reload_result);
	put_age(m, s->reload_age_ms);
	msg_put_str(m, s->reload_text);
	msg_put_u64(m, s->position);
	msg_put_u8(m, s->in_sync);
	msg_put_u32(m, s->takeovers);
	put_age(m, s->hold_left_ms);
	msg_put_u64(m, s->last_event);
}

int
ctl_get_self(struct msg *m, struct ctl_self *s)
{
	memset(s, 0, sizeof(*s));
	GET_STR(m, s->name);
	GET_STR(m, s->group);
	s->index = get_below(m, CONF_SERVERS);
	s->kind = get_below(m, KIND_MAX);
	s->mode = get_below(m, ARB_MODE_MAX);
	GET_STR(m, s->role);
	GET_STR(m, s->condition);
	s->level = get_below(m, CTL_LEVEL_MAX);
	GET_STR(m, s->note);
	s->epoch = msg_get_u64(m);
	s->main_server = get_peer(m);
	s->role_age_ms = get_age(m);
	s->now_ms = get_ms(m, 0);
	s->wall_ms = get_ms(m, 0);
	s->boot_id = msg_get_u64(m);
	s->instance = msg_get_u64(m);
	s->generation = msg_get_u32(m);
	s->degraded = get_flag(m);
	s->observe = get_flag(m);
	s->paused = get_flag(m);
	s->pause_left_ms = get_age(m);
	GET_STR(m, s->pause_owner);
	GET_STR(m, s->pause_reason);
	msg_get_bytes(m, s->digest, sizeof(s->digest));
	s->conf_serial = msg_get_u64(m);
	s->reload_result = get_below(m, RELOAD_RESULT_MAX);
	s->reload_age_ms = get_age(m);
	GET_STR(m, s->reload_text);
	s->position = msg_get_u64(m);
	s->in_sync = get_flag(m);
	s->takeovers = msg_get_u32(m);
	s->hold_left_ms = get_age(m);
	s->last_event = msg_get_u64(m);
	return msg_end(m);
}

/* One server of the group. */
void
ctl_put_server(struct msg *m, const struct ctl_server *s)
{
	msg_put_u8(m, s->index);
	msg_put_str(m, s->name);
	msg_put_u8(m, s->kind);
	msg_put_u8(m, s->self);
	msg_put_u32(m, (uint32_t)s->priority);
	put_age(m, s->status_age_ms);
	msg_put_str(m, s->role);
	msg_put_str(m, s->condition);
	msg_put_u64(m, s->epoch);
	msg_put_u64(m, s->boot_id);
	msg_put_u64(m, s->position);
	msg_put_u8(m, s->in_sync);
	msg_put_u8(m, s->paused);
	msg_put_u8(m, s->observe);
	msg_put_u8(m, s->checks_failing);
	msg_put_u8(m, s->digest_differs);
	msg_put_u8(m, s->sees_references);
	msg_put_str(m, s->link);
	msg_put_str(m, s->icmp);
	msg_put_str(m, s->verdict);
	put_age(m, s->verdict_age_ms);
	msg_put_u8(m, s->path);
	msg_put_u8(m, s->links_up);
	msg_put_u32(m, s->rtt_us);
	msg_put_u16(m, s->loss_per_mille);
	put_age(m, s->icmp_age_ms);
}

int
ctl_get_server(struct msg *m, struct ctl_server *s)
{
	memset(s, 0, sizeof(*s));
	s->index = get_below(m, CONF_SERVERS);
	GET_STR(m, s->name);
	s->kind = get_below(m, KIND_MAX);
	s->self = get_flag(m);
	s->priority = (int32_t)msg_get_u32(m);
	s->status_age_ms = get_age(m);
	GET_STR(m, s->role);
	GET_STR(m, s->condition);
	s->epoch = msg_get_u64(m);
	s->boot_id = msg_get_u64(m);
	s->position = msg_get_u64(m);
	s->in_sync = get_flag(m);
	s->paused = get_flag(m);
	s->observe = get_flag(m);
	s->checks_failing = get_flag(m);
	s->digest_differs = get_flag(m);
	s->sees_references = msg_get_u8(m);
	GET_STR(m, s->link);
	GET_STR(m, s->icmp);
	GET_STR(m, s->verdict);
	s->verdict_age_ms = get_age(m);
	s->path = msg_get_u8(m);
	if (s->path >= CONF_PATHS && s->path != CTL_NO_SERVER)
		m->bad = 1;
	s->links_up = msg_get_u8(m);
	s->rtt_us = msg_get_u32(m);
	s->loss_per_mille = msg_get_u16(m);
	if (s->loss_per_mille > 1000)
		m->bad = 1;
	s->icmp_age_ms = get_age(m);
	return msg_end(m);
}

/* One link: a partner's path in one direction. */
void
ctl_put_link(struct msg *m, const struct ctl_link *l)
{
	msg_put_u8(m, l->server);
	msg_put_u8(m, l->path);
	msg_put_u8(m, l->inbound);
	msg_put_str(m, l->state);
	msg_put_str(m, l->address);
	msg_put_u32(m, l->sessions);
	put_age(m, l->up_age_ms);
	msg_put_u64(m, l->records_in);
	msg_put_u64(m, l->records_out);
	msg_put_u64(m, l->bytes_in);
	msg_put_u64(m, l->bytes_out);
	put_age(m, l->heard_age_ms);
	msg_put_u32(m, l->failures);
	put_age(m, l->retry_ms);
	msg_put_str(m, l->last_end);
}

int
ctl_get_link(struct msg *m, struct ctl_link *l)
{
	memset(l, 0, sizeof(*l));
	l->server = get_below(m, CONF_SERVERS);
	l->path = get_below(m, CONF_PATHS);
	l->inbound = get_flag(m);
	GET_STR(m, l->state);
	GET_STR(m, l->address);
	l->sessions = msg_get_u32(m);
	l->up_age_ms = get_age(m);
	l->records_in = msg_get_u64(m);
	l->records_out = msg_get_u64(m);
	l->bytes_in = msg_get_u64(m);
	l->bytes_out = msg_get_u64(m);
	l->heard_age_ms = get_age(m);
	l->failures = msg_get_u32(m);
	l->retry_ms = get_age(m);
	GET_STR(m, l->last_end);
	return msg_end(m);
}

/* One process of this server. */
void
ctl_put_process(struct msg *m, const struct ctl_process *p)
{
	msg_put_u8(m, p->process);
	msg_put_u8(m, p->state);
	msg_put_u8(m, p->layers);
	msg_put_u32(m, p->pid);
	msg_put_u32(m, p->restarts);
	msg_put_u32(m, p->last_status);
	msg_put_u32(m, p->backoff_ms);
	put_age(m, p->age_ms);
	msg_put_u8(m, p->config);
	msg_put_bytes(m, p->digest, sizeof(p->digest));
	msg_put_u32(m, p->accused);
	msg_put_u32(m, p->accuses);
	for (size_t i = 1; i < OFFENCE_MAX; i++)
		msg_put_u32(m, p->offences[i]);
	msg_put_u8(m, p->last_offence);
	put_age(m, p->offence_age_ms);
}

int
ctl_get_process(struct msg *m, struct ctl_process *p)
{
	memset(p, 0, sizeof(*p));
	p->process = get_below(m, PROC_MAX);
	p->state = get_below(m, PROCESS_STATE_MAX);
	p->layers = msg_get_u8(m);
	p->pid = msg_get_u32(m);
	p->restarts = msg_get_u32(m);
	p->last_status = msg_get_u32(m);
	p->backoff_ms = msg_get_u32(m);
	p->age_ms = get_age(m);
	p->config = get_below(m, PROCESS_CONFIG_MAX);
	msg_get_bytes(m, p->digest, sizeof(p->digest));
	p->accused = msg_get_u32(m);
	p->accuses = msg_get_u32(m);
	for (size_t i = 1; i < OFFENCE_MAX; i++)
		p->offences[i] = msg_get_u32(m);
	p->last_offence = get_below(m, OFFENCE_MAX);
	p->offence_age_ms = get_age(m);
	return msg_end(m);
}

/* The replicated data. */
void
ctl_put_data(struct msg *m, const struct ctl_data *d)
{
	msg_put_str(m, d->role);
	msg_put_str(m, d->stream);
	msg_put_u8(m, d->blank);
	msg_put_bytes(m, d->id, sizeof(d->id));
	msg_put_u64(m, d->epoch);
	msg_put_u64(m, d->index);
	msg_put_u64(m, d->durable);
	msg_put_u64(m, d->log_start);
	msg_put_u64(m, d->keys);
	msg_put_u64(m, d->main_index);
	msg_put_i64(m, d->in_sync_age_ms);
	msg_put_u8(m, d->sync_mode);
	msg_put_u16(m, d->sync_standbys);
	msg_put_u64(m, d->lost_if_dead);
	msg_put_u8(m, d->trouble);
	msg_put_u8(m, d->sync_short);
	msg_put_u16(m, d->bundles);
	msg_put_u64(m, d->used_bytes);
	msg_put_u64(m, d->room_bytes);
	msg_put_u32(m, d->clients);
	msg_put_u32(m, d->action_names);
	msg_put_u32(m, d->action_apps);
	msg_put_u32(m, d->actions_waiting);
	msg_put_u32(m, d->actions_given);
	msg_put_u64(m, d->actions_done);
	msg_put_u64(m, d->actions_failed);
	msg_put_u64(m, d->actions_unknown);
	msg_put_u64(m, d->actions_refused);
	msg_put_i64(m, d->age_ms);
}

int
ctl_get_data(struct msg *m, struct ctl_data *d)
{
	memset(d, 0, sizeof(*d));
	GET_STR(m, d->role);
	GET_STR(m, d->stream);
	d->blank = get_flag(m);
	msg_get_bytes(m, d->id, sizeof(d->id));
	d->epoch = msg_get_u64(m);
	d->index = msg_get_u64(m);
	d->durable = msg_get_u64(m);
	d->log_start = msg_get_u64(m);
	d->keys = msg_get_u64(m);
	d->main_index = msg_get_u64(m);
	d->in_sync_age_ms = get_age(m);
	d->sync_mode = get_below(m, SYNC_MODE_MAX);
	d->sync_standbys = msg_get_u16(m);
	d->lost_if_dead = msg_get_u64(m);
	d->trouble = get_below(m, DATA_TROUBLE_MAX);
	d->sync_short = get_flag(m);
	d->bundles = msg_get_u16(m);
	d->used_bytes = msg_get_u64(m);
	d->room_bytes = msg_get_u64(m);
	d->clients = msg_get_u32(m);
	d->action_names = msg_get_u32(m);
	d->action_apps = msg_get_u32(m);
	d->actions_waiting = msg_get_u32(m);
	d->actions_given = msg_get_u32(m);
	d->actions_done = msg_get_u64(m);
	d->actions_failed = msg_get_u64(m);
	d->actions_unknown = msg_get_u64(m);
	d->actions_refused = msg_get_u64(m);
	d->age_ms = get_age(m);
	return msg_end(m);
}

void
ctl_put_data_partner(struct msg *m, const struct ctl_data_partner *p)
{
	msg_put_u8(m, p->server);
	msg_put_str(m, p->state);
	msg_put_u64(m, p->applied);
	msg_put_u64(m, p->durable);
	msg_put_u64(m, p->lag_changes);
	msg_put_u64(m, p->lag_bytes);
	msg_put_i64(m, p->ack_age_ms);
	msg_put_u64(m, p->sent_bytes);
	msg_put_u64(m, p->wire_bytes);
	msg_put_u8(m, p->packed);
	msg_put_u64(m, p->limit_bytes);
	msg_put_i64(m, p->behind_ms);
	msg_put_u64(m, p->fill_bytes);
	msg_put_u64(m, p->room_bytes);
	msg_put_i64(m, p->forecast_ms);
	msg_put_u8(m, p->reaches_short);
}

int
ctl_get_data_partner(struct msg *m, struct ctl_data_partner *p)
{
	memset(p, 0, sizeof(*p));
	p->server = get_below(m, CONF_SERVERS);
	GET_STR(m, p->state);
	p->applied = msg_get_u64(m);
	p->durable = msg_get_u64(m);
	p->lag_changes = msg_get_u64(m);
	p->lag_bytes = msg_get_u64(m);
	p->ack_age_ms = get_age(m);
	p->sent_bytes = msg_get_u64(m);
	p->wire_bytes = msg_get_u64(m);
	p->packed = get_flag(m);
	p->limit_bytes = msg_get_u64(m);
	p->behind_ms = get_age(m);
	p->fill_bytes = msg_get_u64(m);
	p->room_bytes = msg_get_u64(m);
	p->forecast_ms = get_age(m);
	p->reaches_short = get_flag(m);
	return msg_end(m);
}

/* Ended actions. */
void
ctl_put_action(struct msg *m, const struct ctl_action *a)
{
	msg_put_str(m, a->name);
	msg_put_str(m, a->server);
	msg_put_u32(m, a->uid);
	msg_put_u32(m, a->pid);
	msg_put_u32(m, a->app_uid);
	msg_put_u32(m, a->app_pid);
	msg_put_u8(m, a->end);
	msg_put_u32(m, a->times);
	msg_put_u32(m, a->took_ms);
}

int
ctl_get_action(struct msg *m, struct ctl_action *a)
{
	memset(a, 0, sizeof(*a));
	GET_STR(m, a->name);
	GET_STR(m, a->server);
	a->uid = msg_get_u32(m);
	a->pid = msg_get_u32(m);
	a->app_uid = msg_get_u32(m);
	a->app_pid = msg_get_u32(m);
	a->end = get_below(m, CONTROL_END_MAX);
	a->times = msg_get_u32(m);
	a->took_ms = msg_get_u32(m);
	if (a->name[0] == '\0' || a->times == 0)
		return -1;
	return msg_end(m);
}

/* One health check. */
void
ctl_put_check(struct msg *m, const struct ctl_check *c)
{
	msg_put_u8(m, c->index);
	msg_put_str(m, c->name);
	msg_put_u8(m, c->known);
	msg_put_u8(m, c->healthy);
	msg_put_u16(m, c->in_a_row);
	msg_put_u32(m, c->exit_code);
	put_age(m, c->age_ms);
}

int
ctl_get_check(struct msg *m, struct ctl_check *c)
{
	memset(c, 0, sizeof(*c));
	c->index = get_below(m, CONF_CHECKS);
	GET_STR(m, c->name);
	c->known = get_flag(m);
	c->healthy = get_flag(m);
	c->in_a_row = msg_get_u16(m);
	c->exit_code = msg_get_u32(m);
	c->age_ms = get_age(m);
	return msg_end(m);
}

/* One reference host. */
void
ctl_put_reference(struct msg *m, const struct ctl_reference *r)
{
	msg_put_u8(m, r->index);
	msg_put_str(m, r->address);
	msg_put_str(m, r->state);
	msg_put_u32(m, r->rtt_us);
	msg_put_u16(m, r->loss_per_mille);
	put_age(m, r->age_ms);
}

int
ctl_get_reference(struct msg *m, struct ctl_reference *r)
{
	memset(r, 0, sizeof(*r));
	r->index = get_below(m, CONF_REFERENCES);
	GET_STR(m, r->address);
	GET_STR(m, r->state);
	r->rtt_us = msg_get_u32(m);
	r->loss_per_mille = msg_get_u16(m);
	if (r->loss_per_mille > 1000)
		m->bad = 1;
	r->age_ms = get_age(m);
	return msg_end(m);
}

/* Counters of netd and of the links. */
void
ctl_put_counters(struct msg *m, const struct ctl_counters *c)
{
	msg_put_u8(m, NET_COUNTER_MAX);
	for (size_t i = 0; i < NET_COUNTER_MAX; i++)
		msg_put_u64(m, c->net[i]);
	msg_put_u8(m, LINK_C_MAX);
	for (size_t i = 0; i < LINK_C_MAX; i++)
		msg_put_u64(m, c->link[i]);
}

int
ctl_get_counters(struct msg *m, struct ctl_counters *c)
{
	memset(c, 0, sizeof(*c));
	if (msg_get_u8(m) != NET_COUNTER_MAX)
		return -1;
	for (size_t i = 0; i < NET_COUNTER_MAX; i++)
		c->net[i] = msg_get_u64(m);
	if (msg_get_u8(m) != LINK_C_MAX)
		return -1;
	for (size_t i = 0; i < LINK_C_MAX; i++)
		c->link[i] = msg_get_u64(m);
	return msg_end(m);
}

static void
put_evidence(struct msg *m, const struct ctl_evidence *v)
{
	msg_put_u8(m, v->server);
	msg_put_str(m, v->name);
	msg_put_str(m, v->link);
	msg_put_str(m, v->icmp);
	msg_put_str(m, v->verdict);
	msg_put_str(m, v->role);
	msg_put_u64(m, v->epoch);
	put_age(m, v->status_age_ms);
	put_age(m, v->icmp_age_ms);
}

static void
get_evidence(struct msg *m, struct ctl_evidence *v)
{
	v->server = get_below(m, CONF_SERVERS);
	GET_STR(m, v->name);
	GET_STR(m, v->link);
	GET_STR(m, v->icmp);
	GET_STR(m, v->verdict);
	GET_STR(m, v->role);
	v->epoch = msg_get_u64(m);
	v->status_age_ms = get_age(m);
	v->icmp_age_ms = get_age(m);
}

/* One ledger record. */
void
ctl_put_event(struct msg *m, const struct ctl_event *e)
{
	msg_put_u64(m, e->sequence);
	msg_put_u64(m, e->boot_id);
	put_ms(m, e->at_ms, 0);
	put_ms(m, e->wall_ms, 0);
	msg_put_u8(m, e->decision);
	msg_put_str(m, e->rule);
	msg_put_str(m, e->role);
	msg_put_str(m, e->condition);
	msg_put_u64(m, e->epoch);
	msg_put_u8(m, e->peer);
	msg_put_str(m, e->peer_name);
	msg_put_u8(m, e->references_seen);
	msg_put_u8(m, e->references_total);
	put_margin(m, e->margin_ms);
	msg_put_str(m, e->text);
	msg_put_u8(m, e->n_evidence);
	for (size_t i = 0; i < e->n_evidence && i < CTL_EVIDENCE; i++)
		put_evidence(m, &e->evidence[i]);
}

int
ctl_get_event(struct msg *m, struct ctl_event *e)
{
	memset(e, 0, sizeof(*e));
	e->sequence = msg_get_u64(m);
	e->boot_id = msg_get_u64(m);
	e->at_ms = get_ms(m, 0);
	e->wall_ms = get_ms(m, 0);
	e->decision = get_flag(m);
	GET_STR(m, e->rule);
	GET_STR(m, e->role);
	GET_STR(m, e->condition);
	e->epoch = msg_get_u64(m);
	e->peer = get_peer(m);
	GET_STR(m, e->peer_name);
	e->references_seen = msg_get_u8(m);
	e->references_total = get_below(m, CONF_REFERENCES + 1);
	e->margin_ms = get_margin(m);
	GET_STR(m, e->text);
	e->n_evidence = get_below(m, CTL_EVIDENCE + 1);
	for (size_t i = 0; i < e->n_evidence; i++)
		get_evidence(m, &e->evidence[i]);
	return msg_end(m);
}

/* End of an answer. */
void
ctl_put_end(struct msg *m, enum ctl_result result, const char *text)
{
	msg_put_u8(m, (uint8_t)result);
	msg_put_bytes(m, text, strnlen(text, CTL_TEXT - 1));
}

int
ctl_get_end(struct msg *m, uint8_t *result, char text[CTL_TEXT])
{
	*result = get_below(m, CTL_RESULT_MAX);
	msg_get_text(m, text, CTL_TEXT);
	return msg_end(m);
}
