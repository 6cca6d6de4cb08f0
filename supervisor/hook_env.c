/* SPDX-License-Identifier: ISC */
/*
 * Arguments and environment of hooks and checks.
 */
#include "hook_env.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HOOK_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const reasons[256] = {
#define RULE(id, number, name, severity, text) [number] = name,
#include "../roled/rules.def"
#undef RULE
};

static const char *const roles[HOOK_ROLE_MAX] = {"main", "standby", "permanent", "dmz"};

int
hook_reason_valid(uint8_t reason)
{
	return reasons[reason] != NULL;
}

/* Name of a rule of roled/rules.def, "unknown" when there is none. */
static const char *
hook_reason(uint8_t reason)
{
	return reasons[reason] != NULL ? reasons[reason] : "unknown";
}

int
hook_split(struct hook_args *a, const char *command)
{
	unsigned n = 0;
	char *save = NULL;

	if (strlen(command) >= sizeof(a->bytes))
		return -1;
	memcpy(a->bytes, command, strlen(command) + 1);
	for (char *s = strtok_r(a->bytes, " \t", &save); s != NULL;
	     s = strtok_r(NULL, " \t", &save)) {
		if (n == HOOK_ARGS - 1)
			return -1;
		a->entry[n++] = s;
	}
	a->entry[n] = NULL;
	return n > 0 && a->entry[0][0] == '/' ? 0 : -1;
}

/* Add NAME=value. What does not fit marks the whole environment as bad (n over the end). */
__attribute__((format(printf, 2, 3))) static void
add(struct hook_env *e, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (e->n >= HOOK_ENV - 1) {
		e->n = HOOK_ENV;
		return;
	}
	va_start(ap, fmt);
	n = vsnprintf(e->bytes + e->used, sizeof(e->bytes) - e->used, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(e->bytes) - e->used) {
		e->n = HOOK_ENV;
		return;
	}
	e->entry[e->n++] = e->bytes + e->used;
	e->entry[e->n] = NULL;
	e->used += (uint32_t)n + 1;
}

static void
begin(struct hook_env *e, const struct conf *c)
{
	const struct conf_general *g = &c->general;

	e->n = 0;
	e->used = 0;
	e->entry[0] = NULL;
	add(e, HOOK_PATH);
	add(e, "BULKHEAD_GROUP=%s", g->group);
	add(e, "BULKHEAD_SELF=%s", g->self < g->n_servers ? c->server[g->self].name : "");
}

int
hook_environment(struct hook_env *e, const struct conf *c, const struct hook_run *r)
{
	const char *peer = r->peer < c->general.n_servers ? c->server[r->peer].name : "";

	begin(e, c);
	add(e, "BULKHEAD_HOOK=%s", hook_name(r->kind));
	add(e, "BULKHEAD_EVENT=%u", r->entry);
	add(e, "BULKHEAD_ROLE=%s", r->role < HOOK_ROLE_MAX ? roles[r->role] : "");
	add(e, "BULKHEAD_EPOCH=%llu", (unsigned long long)r->epoch);
	add(e, "BULKHEAD_REASON=%s", hook_reason(r->reason));
	add(e, "BULKHEAD_PEER=%s", peer);
	if (r->test)
		add(e, "BULKHEAD_TEST=1");
	return e->n < HOOK_ENV ? 0 : -1;
}

int
check_environment(struct hook_env *e, const struct conf *c, uint8_t index)
{
	begin(e, c);
	add(e, "BULKHEAD_CHECK=%s", c->check[index].name);
	return e->n < HOOK_ENV ? 0 : -1;
}

int
health_update(struct health *h, int ok, uint16_t rise, uint16_t fall)
{
	uint8_t now = ok != 0;

	if (h->known && h->last == now) {
		if (h->in_a_row < UINT16_MAX)
			h->in_a_row++;
	} else {
		h->in_a_row = 1;
	}
	h->last = now;
	if (!h->known) {
		h->known = 1;
		h->healthy = now;
		return 1;
	}
	if (now == h->healthy || h->in_a_row < (now ? rise : fall))
		return 0;
	h->healthy = now;
	return 1;
}
