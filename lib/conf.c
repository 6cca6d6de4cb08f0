/* SPDX-License-Identifier: ISC */
/*
 * The configuration: defaults, encoding, strict decoding, and the rules between options. Pure: no
 * I/O. Every number comes from the option table, walked by a loop.
 */
#include "conf.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "conf_options.h"
#include "message.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define OPTION(                                                                                    \
    section_, name_, type_, owner_, field_, value_, min_, max_, needs_, restart_, text_)           \
	{.section = (section_),                                                                    \
	    .name = (name_),                                                                       \
	    .type = CT_##type_,                                                                    \
	    .owner = CONF_OF_##owner_,                                                             \
	    .offset = offsetof(struct conf_##owner_, field_),                                      \
	    .size = sizeof(((struct conf_##owner_ *)0)->field_),                                   \
	    .value = (value_),                                                                     \
	    .min = (min_),                                                                         \
	    .max = (max_),                                                                         \
	    .needs = (needs_),                                                                     \
	    .restart = (restart_),                                                                 \
	    .text = (text_)},
const struct conf_option conf_options[] = {
#include "conf_options.def"
};
#undef OPTION
const size_t conf_n_options = COUNT(conf_options);

static const char *const kinds[] = {"standard", "permanent", "dmz"};
static const char *const modes[] = {"references", "manual", "voters"};
static const char *const sync_modes[] = {"async", "sync"};
static const char *const hooks[] = {"main", "standby", "stop", "alarm"};
static const char *const failures[] = {"alarm", "undo", "continue"};
static const char *const sockets[] = {"0600", "0660", "0666"};
static const char *const profiles[] = {"normal", "calm", "fast"};
_Static_assert(COUNT(kinds) == KIND_MAX && COUNT(modes) == ARB_MODE_MAX &&
		   COUNT(sync_modes) == SYNC_MODE_MAX && COUNT(hooks) == HOOK_MAX &&
		   COUNT(failures) == HOOK_FAIL_MAX && COUNT(sockets) == SOCKET_MODE_MAX &&
		   COUNT(profiles) == PROFILE_MAX,
    "a word for every value");

/* ---- option table */

const struct conf_option *
conf_find_option(const char *section, const char *name)
{
	for (size_t i = 0; i < conf_n_options; i++) {
		if (strcmp(conf_options[i].section, section) == 0 &&
		    strcmp(conf_options[i].name, name) == 0)
			return &conf_options[i];
	}
	return NULL;
}

int
conf_is_number(const struct conf_option *o)
{
	return o->type <= CT_LAST_NUMBER;
}

/* The number in the struct of its owner. */
static int64_t
get_number(const struct conf_option *o, const void *owner)
{
	const uint8_t *field = (const uint8_t *)owner + o->offset;
	uint16_t u16;
	int32_t i32;
	int64_t i64;

	switch (o->size) {
	case sizeof(uint8_t):
		return *field;
	case sizeof(u16):
		memcpy(&u16, field, sizeof(u16));
		return u16;
	case sizeof(i32):
		memcpy(&i32, field, sizeof(i32));
		return i32;
	default:
		memcpy(&i64, field, sizeof(i64));
		return i64;
	}
}

int
conf_set_number(const struct conf_option *o, void *owner, int64_t v)
{
	uint8_t *field = (uint8_t *)owner + o->offset;
	uint16_t u16 = (uint16_t)v;
	int32_t i32 = (int32_t)v;

	if ((v < o->min || v > o->max) && !(o->type == CT_MS_NEVER && v == CONF_NEVER))
		return -1;
	switch (o->size) {
	case sizeof(uint8_t):
		*field = (uint8_t)v;
		break;
	case sizeof(u16):
		memcpy(field, &u16, sizeof(u16));
		break;
	case sizeof(i32):
		memcpy(field, &i32, sizeof(i32));
		break;
	default:
		memcpy(field, &v, sizeof(v));
		break;
	}
	return 0;
}

static const char *
word_of(const char *const *table, size_t n, unsigned i)
{
	return i < n ? table[i] : NULL;
}

const char *
conf_word(enum conf_type type, unsigned i)
{
	static const char *const bools[] = {"false", "true"};

	switch (type) {
	case CT_BOOL:
		return word_of(bools, COUNT(bools), i);
	case CT_KIND:
		return word_of(kinds, COUNT(kinds), i);
	case CT_ARBITRATION:
		return word_of(modes, COUNT(modes), i);
	case CT_SYNC:
		return word_of(sync_modes, COUNT(sync_modes), i);
	case CT_FAILURE:
		return word_of(failures, COUNT(failures), i);
	case CT_SOCKET:
		return word_of(sockets, COUNT(sockets), i);
	case CT_PROFILE:
		return word_of(profiles, COUNT(profiles), i);
	default:
		return NULL;
	}
}

const char *
server_kind_name(unsigned kind)
{
	return kind < COUNT(kinds) ? kinds[kind] : "?";
}

const char *
arbitration_name(unsigned mode)
{
	return mode < COUNT(modes) ? modes[mode] : "?";
}

const char *
hook_name(unsigned kind)
{
	return kind < COUNT(hooks) ? hooks[kind] : "?";
}

int
conf_reads_only(const struct conf_general *g, uint32_t uid)
{
	for (size_t i = 0; i < g->n_data_readers && i < CONF_READERS; i++) {
		if (g->data_reader[i] == uid)
			return 1;
	}
	return 0;
}

/* ---- defaults */

static void
owner_defaults(enum conf_owner owner, void *base)
{
	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];

		if (o->owner == owner && conf_is_number(o))
			(void)conf_set_number(o, base, o->value);
	}
}

void
conf_defaults(struct conf *c)
{
	memset(c, 0, sizeof(*c));
	owner_defaults(CONF_OF_general, &c->general);
	for (size_t i = 0; i < CONF_SERVERS; i++)
		owner_defaults(CONF_OF_server, &c->server[i]);
	for (size_t i = 0; i < HOOK_MAX; i++)
		owner_defaults(CONF_OF_hook, &c->hook[i]);
	for (size_t i = 0; i < CONF_CHECKS; i++)
		owner_defaults(CONF_OF_check, &c->check[i]);
	snprintf(c->general.state_dir, sizeof(c->general.state_dir), "%s", STATEDIR);
	snprintf(c->general.run_dir, sizeof(c->general.run_dir), "%s", RUNDIR);
}

/* ---- encoding */

static void
put_numbers(struct msg *m, enum conf_owner owner, const void *base)
{
	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];

		if (o->owner == owner && conf_is_number(o))
			msg_put_i64(m, get_number(o, base));
	}
}

static int
get_numbers(struct msg *m, enum conf_owner owner, void *base)
{
	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];

		if (o->owner == owner && conf_is_number(o) &&
		    conf_set_number(o, base, msg_get_i64(m)) == -1)
			return -1;
	}
	return 0;
}

int
conf_name_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n >= CONF_NAME || name[0] == '.' || name[0] == '-')
		return 0;
	return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
	       n;
}

static int
get_name(struct msg *m, char name[CONF_NAME])
{
	msg_get_str(m, name, CONF_NAME);
	return conf_name_valid(name) ? 0 : -1;
}

/* An absolute path, or a command line that starts with one. */
static int
get_path(struct msg *m, char path[CONF_COMMAND])
{
	msg_get_str(m, path, CONF_COMMAND);
	return path[0] == '/' ? 0 : -1;
}

static void
put_addr(struct msg *m, const struct conf_addr *a)
{
	msg_put_u8(m, a->family);
	msg_put_bytes(m, a->bytes, sizeof(a->bytes));
	msg_put_u32(m, a->scope);
}

static int
get_addr(struct msg *m, struct conf_addr *a)
{
	static const uint8_t zero[16];

	a->family = msg_get_u8(m);
	msg_get_bytes(m, a->bytes, sizeof(a->bytes));
	a->scope = msg_get_u32(m);
	if (a->family == AF_INET)
		return a->scope == 0 && memcmp(a->bytes + 4, zero, 12) == 0 ? 0 : -1;
	return a->family == AF_INET6 ? 0 : -1;
}

void
conf_put_general(struct msg *m, const struct conf_general *g)
{
	msg_put_str(m, g->group);
	msg_put_u8(m, g->self);
	msg_put_u8(m, g->n_servers);
	msg_put_u8(m, g->n_references);
	msg_put_u8(m, g->n_checks);
	put_numbers(m, CONF_OF_general, g);
	msg_put_str(m, g->state_dir);
	msg_put_str(m, g->run_dir);
	msg_put_u32(m, g->admin_gid);
	msg_put_u32(m, g->data_gid);
	msg_put_u8(m, g->n_data_readers);
	for (size_t i = 0; i < g->n_data_readers && i < CONF_READERS; i++)
		msg_put_u32(m, g->data_reader[i]);
	for (size_t i = 0; i < PROC_MAX; i++) {
		msg_put_u32(m, g->uid[i]);
		msg_put_u32(m, g->gid[i]);
	}
}

static int
get_general(struct msg *m, struct conf_general *g)
{
	memset(g, 0, sizeof(*g));
	if (get_name(m, g->group) == -1)
		return -1;
	g->self = msg_get_u8(m);
	g->n_servers = msg_get_u8(m);
	g->n_references = msg_get_u8(m);
	g->n_checks = msg_get_u8(m);
	if (g->n_servers > CONF_SERVERS || g->self >= g->n_servers ||
	    g->n_references > CONF_REFERENCES || g->n_checks > CONF_CHECKS)
		return -1;
	if (get_numbers(m, CONF_OF_general, g) == -1 || get_path(m, g->state_dir) == -1 ||
	    get_path(m, g->run_dir) == -1)
		return -1;
	g->admin_gid = msg_get_u32(m);
	g->data_gid = msg_get_u32(m);
	g->n_data_readers = msg_get_u8(m);
	if (g->n_data_readers > CONF_READERS)
		return -1;
	for (size_t i = 0; i < g->n_data_readers; i++)
		g->data_reader[i] = msg_get_u32(m);
	for (size_t i = 0; i < PROC_MAX; i++) {
		g->uid[i] = msg_get_u32(m);
		g->gid[i] = msg_get_u32(m);
		if (g->uid[i] == UINT32_MAX || g->gid[i] == UINT32_MAX)
			return -1; /* "leave it as it is" for setresuid(2) */
	}
	return msg_end(m);
}

void
conf_put_server(struct msg *m, uint8_t index, const struct conf_server *s)
{
	msg_put_u8(m, index);
	msg_put_str(m, s->name);
	put_numbers(m, CONF_OF_server, s);
	msg_put_u8(m, s->n_paths);
	for (size_t i = 0; i < s->n_paths && i < CONF_PATHS; i++)
		put_addr(m, &s->path[i]);
	msg_put_bytes(m, s->key_status, sizeof(s->key_status));
	msg_put_bytes(m, s->key_data, sizeof(s->key_data));
}

static int
get_server(struct msg *m, uint8_t *index, struct conf_server *s)
{
	memset(s, 0, sizeof(*s));
	*index = msg_get_u8(m);
	if (*index >= CONF_SERVERS || get_name(m, s->name) == -1 ||
	    get_numbers(m, CONF_OF_server, s) == -1)
		return -1;
	s->n_paths = msg_get_u8(m);
	if (s->n_paths == 0 || s->n_paths > CONF_PATHS)
		return -1;
	for (size_t i = 0; i < s->n_paths; i++) {
		if (get_addr(m, &s->path[i]) == -1)
			return -1;
	}
	msg_get_bytes(m, s->key_status, sizeof(s->key_status));
	msg_get_bytes(m, s->key_data, sizeof(s->key_data));
	return msg_end(m);
}

void
conf_put_reference(struct msg *m, uint8_t index, const struct conf_reference *r)
{
	msg_put_u8(m, index);
	put_addr(m, &r->addr);
}

static int
get_reference(struct msg *m, uint8_t *index, struct conf_reference *r)
{
	memset(r, 0, sizeof(*r));
	*index = msg_get_u8(m);
	if (*index >= CONF_REFERENCES || get_addr(m, &r->addr) == -1)
		return -1;
	return msg_end(m);
}

void
conf_put_hook(struct msg *m, uint8_t index, const struct conf_hook *h)
{
	msg_put_u8(m, index);
	msg_put_str(m, h->command);
	msg_put_u32(m, h->uid);
	msg_put_u32(m, h->gid);
	put_numbers(m, CONF_OF_hook, h);
}

static int
get_hook(struct msg *m, uint8_t *index, struct conf_hook *h)
{
	memset(h, 0, sizeof(*h));
	*index = msg_get_u8(m);
	msg_get_str(m, h->command, sizeof(h->command));
	if (*index >= HOOK_MAX || (h->command[0] != '\0' && h->command[0] != '/'))
		return -1;
	h->uid = msg_get_u32(m);
	h->gid = msg_get_u32(m);
	if (h->uid == UINT32_MAX || h->gid == UINT32_MAX || get_numbers(m, CONF_OF_hook, h) == -1)
		return -1;
	return msg_end(m);
}

void
conf_put_check(struct msg *m, uint8_t index, const struct conf_check *c)
{
	msg_put_u8(m, index);
	msg_put_str(m, c->name);
	msg_put_str(m, c->command);
	msg_put_u32(m, c->uid);
	msg_put_u32(m, c->gid);
	put_numbers(m, CONF_OF_check, c);
}

static int
get_check(struct msg *m, uint8_t *index, struct conf_check *c)
{
	memset(c, 0, sizeof(*c));
	*index = msg_get_u8(m);
	if (*index >= CONF_CHECKS || get_name(m, c->name) == -1 || get_path(m, c->command) == -1)
		return -1;
	c->uid = msg_get_u32(m);
	c->gid = msg_get_u32(m);
	if (c->uid == UINT32_MAX || c->gid == UINT32_MAX || get_numbers(m, CONF_OF_check, c) == -1)
		return -1;
	return msg_end(m);
}

int
conf_apply(struct conf *c, struct msg *m)
{
	struct conf_general general;
	struct conf_server server;
	struct conf_reference reference;
	struct conf_hook hook;
	struct conf_check check;
	uint8_t i;

	/* into c only what decoded as a whole */
	switch (m->type) {
	case MSG_CONF_GENERAL:
		if (get_general(m, &general) == -1)
			return -1;
		c->general = general;
		return 0;
	case MSG_CONF_SERVER:
		if (get_server(m, &i, &server) == -1)
			return -1;
		c->server[i] = server;
		return 0;
	case MSG_CONF_REFERENCE:
		if (get_reference(m, &i, &reference) == -1)
			return -1;
		c->reference[i] = reference;
		return 0;
	case MSG_CONF_HOOK:
		if (get_hook(m, &i, &hook) == -1)
			return -1;
		c->hook[i] = hook;
		return 0;
	case MSG_CONF_CHECK:
		if (get_check(m, &i, &check) == -1)
			return -1;
		c->check[i] = check;
		return 0;
	default:
		return -1;
	}
}

/* ---- digest, restart, addresses */

static void
digest_number(crypto_generichash_state *state, int64_t v)
{
	uint8_t b[8];

	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)((uint64_t)v >> (8 * i));
	crypto_generichash_update(state, b, sizeof(b));
}

/* Length first, so that no two lists of strings look alike. */
static void
digest_text(crypto_generichash_state *state, const char *text)
{
	size_t n = strlen(text);

	digest_number(state, (int64_t)n);
	crypto_generichash_update(state, (const uint8_t *)text, n);
}

static void
digest_server(crypto_generichash_state *state, const struct conf_server *s)
{
	digest_text(state, s->name);
	digest_number(state, s->kind);
	digest_number(state, s->port);
	digest_number(state, s->priority);
	digest_number(state, s->n_paths);
	for (size_t i = 0; i < s->n_paths; i++) {
		digest_number(state, s->path[i].family == AF_INET6 ? 6 : 4);
		crypto_generichash_update(state, s->path[i].bytes, sizeof(s->path[i].bytes));
	}
	crypto_generichash_update(state, s->key_status, sizeof(s->key_status));
	crypto_generichash_update(state, s->key_data, sizeof(s->key_data));
}

/* The server whose name comes next after the given one; NULL after the last. */
static const struct conf_server *
next_server(const struct conf *c, const char *name)
{
	const struct conf_server *next = NULL;

	for (size_t i = 0; i < c->general.n_servers; i++) {
		const struct conf_server *s = &c->server[i];

		if (strcmp(s->name, name) > 0 && (next == NULL || strcmp(s->name, next->name) < 0))
			next = s;
	}
	return next;
}

void
conf_digest(const struct conf *c, uint8_t out[16])
{
	const struct conf_server *s;
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, 16);
	digest_text(&state, "bulkhead config 1");
	digest_text(&state, c->general.group);
	for (s = next_server(c, ""); s != NULL; s = next_server(c, s->name))
		digest_server(&state, s);
	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];

		if (conf_is_number(o) &&
		    (strcmp(o->section, "arbitration") == 0 ||
			(strcmp(o->section, "status") == 0 && strstr(o->name, "timeout") == NULL) ||
			strcmp(o->section, "sync") == 0))
			digest_number(&state, get_number(o, &c->general));
	}
	crypto_generichash_final(&state, out, 16);
}

/* One message of a configuration, with its type and length in front. */
static void
digest_message(crypto_generichash_state *state, const struct msg *m)
{
	digest_number(state, m->type);
	digest_number(state, (int64_t)m->len);
	crypto_generichash_update(state, m->body, m->len);
}

static void
digest_commands(crypto_generichash_state *state, const struct conf *c)
{
	static struct msg m;

	for (uint8_t i = 0; i < HOOK_MAX; i++) {
		msg_begin(&m, MSG_CONF_HOOK);
		conf_put_hook(&m, i, &c->hook[i]);
		digest_message(state, &m);
	}
	for (uint8_t i = 0; i < c->general.n_checks; i++) {
		msg_begin(&m, MSG_CONF_CHECK);
		conf_put_check(&m, i, &c->check[i]);
		digest_message(state, &m);
	}
}

void
conf_digest_values(const struct conf *c, enum process to, uint8_t out[16])
{
	static struct msg m;
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, 16);
	digest_text(&state, "bulkhead values 1");
	msg_begin(&m, MSG_CONF_GENERAL);
	conf_put_general(&m, &c->general);
	digest_message(&state, &m);
	for (uint8_t i = 0; i < c->general.n_servers; i++) {
		msg_begin(&m, MSG_CONF_SERVER);
		conf_put_server(&m, i, &c->server[i]);
		digest_message(&state, &m);
	}
	for (uint8_t i = 0; i < c->general.n_references && to != PROC_RUNNER; i++) {
		msg_begin(&m, MSG_CONF_REFERENCE);
		conf_put_reference(&m, i, &c->reference[i]);
		digest_message(&state, &m);
	}
	if (to == PROC_RUNNER || to == PROC_ROLED)
		digest_commands(&state, c);
	crypto_generichash_final(&state, out, 16);
}

/* 1 when option o of the general part differs. */
static int
option_differs(const struct conf_option *o, const struct conf *a, const struct conf *b)
{
	const uint8_t *fa = (const uint8_t *)&a->general + o->offset;
	const uint8_t *fb = (const uint8_t *)&b->general + o->offset;

	if (o->type == CT_SELF)
		return strcmp(a->server[a->general.self].name, b->server[b->general.self].name) !=
		       0;
	if (o->type == CT_NAME || o->type == CT_PATH)
		return strcmp((const char *)fa, (const char *)fb) != 0;
	return memcmp(fa, fb, o->size) != 0;
}

const char *
conf_restart_option(const struct conf *old, const struct conf *new, char *buf, size_t size)
{
	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];

		if (!o->restart || !option_differs(o, old, new))
			continue;
		snprintf(
		    buf, size, "%s%s%s", o->section, o->section[0] != '\0' ? "." : "", o->name);
		return buf;
	}
	return NULL;
}

const char *
conf_addr_text(const struct conf_addr *a, char *buf, size_t size)
{
	size_t n;

	if (size == 0)
		return "";
	if ((a->family != AF_INET && a->family != AF_INET6) ||
	    inet_ntop(a->family, a->bytes, buf, (socklen_t)size) == NULL)
		snprintf(buf, size, "?");
	n = strlen(buf);
	if (a->family == AF_INET6 && a->scope != 0)
		snprintf(buf + n, size - n, "%%%u", a->scope);
	return buf;
}

socklen_t
conf_addr_sockaddr(const struct conf_addr *a, uint16_t port, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	if (a->family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)ss;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a->bytes, sizeof(in->sin_addr));
		return sizeof(*in);
	}
	if (a->family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		in6->sin6_scope_id = a->scope;
		memcpy(&in6->sin6_addr, a->bytes, sizeof(in6->sin6_addr));
		return sizeof(*in6);
	}
	return 0;
}
