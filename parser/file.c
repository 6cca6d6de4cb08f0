/* SPDX-License-Identifier: ISC */
/*
 * The text of bulkhead.conf(5) into a struct conf.
 *
 * libconfuse does the syntax; its option tables are made from conf_options.def, every option as a
 * string whose callback gets the value when it is read, so that the line is known. It never opens a
 * file here: there is no include function in the tables.
 */
#include "config.h"

#include "file.h"

#include <confuse.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/conf_options.h"
#include "../lib/nearest.h"
#include "../lib/source.h"
#include "values.h"

enum {
	TABLE = 48,    /* options of one section, with the end */
	SECTIONS = 16, /* with the end */
	PLACES = 1024,
	PATH = 2 * CONF_NAME, /* "server NAME.option" */
};

/* Where an option, or the end of a section, stands in the file. */
struct place {
	char path[PATH];
	unsigned line;
};

/* The file being parsed. */
static struct {
	struct conf *conf;
	const struct lookup *lookup;
	char *error;
	size_t size;
	int failed;
	char self[CONF_NAME];  /* as written */
	struct conf_hook hook; /* user, time-out and policy, for all four */
	enum arbitration_profile profile;
	struct place places[PLACES];
	size_t n_places;
} file;

/* Sections of later versions: known here so that the message is a clear one. */
static const char *const later[] = {
    "power", "web", "etcd", "beat", "card", "tls", "api", "metrics"};
/* Sections with a title; the others are there once. */
static const char *const titled[] = {"server", "check"};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- errors */

static int fail(unsigned line, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void on_error(cfg_t *cfg, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* The first error counts; always -1. */
static int
fail(unsigned line, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (file.failed)
		return -1;
	file.failed = 1;
	n = snprintf(file.error, file.size, "%u: ", line);
	va_start(ap, fmt);
	if (n > 0 && (size_t)n < file.size)
		vsnprintf(file.error + n, file.size - (size_t)n, fmt, ap);
	va_end(ap);
	return -1;
}

static int
in_list(const char *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(list[i], name) == 0)
			return 1;
	}
	return 0;
}

/* "status", or "" at the top of the file */
static const char *
section_of(cfg_t *cfg)
{
	return strcmp(cfg_name(cfg), "root") == 0 ? "" : cfg_name(cfg);
}

/* "; did you mean 'interval'?", or where the option belongs */
static void
hint(const char *section, const char *name, char *buf, size_t size)
{
	struct nearest near = {0};
	const char *elsewhere = NULL;

	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];

		if (strcmp(o->section, section) == 0)
			nearest_offer(&near, name, o->name);
		else if (section[0] == '\0')
			nearest_offer(&near, name, o->section);
		if (strcmp(o->name, name) == 0)
			elsewhere = o->section;
	}
	if (near.best != NULL && near.distance > 0)
		snprintf(buf, size, "; did you mean '%s'?", near.best);
	else if (elsewhere != NULL)
		snprintf(buf, size, "; it belongs %s%s",
		    elsewhere[0] != '\0' ? "into section " : "to the top of the file", elsewhere);
	else
		buf[0] = '\0';
}

static void
unknown_option(cfg_t *cfg, const char *name)
{
	const char *section = section_of(cfg);
	char buf[128];

	if (section[0] == '\0' && in_list(later, COUNT(later), name)) {
		(void)fail((unsigned)cfg->line,
		    "section %s belongs to a later version; this one (%s) does not have it", name,
		    PACKAGE_VERSION);
		return;
	}
	hint(section, name, buf, sizeof(buf));
	(void)fail((unsigned)cfg->line, "unknown option '%.60s'%s%s%s", name,
	    section[0] != '\0' ? " in section " : "", section, buf);
}

/* Errors that libconfuse finds itself. */
static void
on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	static const char unknown[] = "no such option '", duplicate[] = "found duplicate title '";
	char text[256], *end;

	vsnprintf(text, sizeof(text), fmt, ap);
	end = strrchr(text, '\'');
	if (strncmp(text, unknown, strlen(unknown)) == 0 && end != NULL) {
		*end = '\0';
		unknown_option(cfg, text + strlen(unknown));
	} else if (strncmp(text, duplicate, strlen(duplicate)) == 0) {
		(void)fail((unsigned)cfg->line, "%s is there twice", text + strlen(duplicate) - 1);
	} else {
		(void)fail((unsigned)cfg->line, "%s", text);
	}
}

/* ---- places */

static const struct place *
find_place(const char *path)
{
	for (size_t i = 0; i < file.n_places; i++) {
		if (strcmp(file.places[i].path, path) == 0)
			return &file.places[i];
	}
	return NULL;
}

/* Note that path stands in line; -1 (reported) when it stood somewhere already. */
static int
add_place(const char *path, unsigned line)
{
	const struct place *p = find_place(path);

	if (p != NULL)
		return fail(line, "%s is there twice; first in line %u", path, p->line);
	if (file.n_places == PLACES)
		return fail(line, "too many options");
	snprintf(file.places[file.n_places].path, PATH, "%s", path);
	file.places[file.n_places++].line = line;
	return 0;
}

/* "status", "server alpha" */
static void
section_path(cfg_t *cfg, char path[PATH])
{
	const char *title = cfg_title(cfg);

	snprintf(path, PATH, "%s%s%.63s", section_of(cfg), title != NULL ? " " : "",
	    title != NULL ? title : "");
}

/* "group", "status.interval", "server alpha.key" */
static void
option_path(cfg_t *cfg, const char *name, char path[PATH])
{
	char section[PATH];

	section_path(cfg, section);
	snprintf(path, PATH, "%.100s%s%.24s", section, section[0] != '\0' ? "." : "", name);
}

/* Line of the first option or section that the sentence speaks of, the longest where two start. */
static unsigned
line_of(const char *sentence)
{
	const char *first = NULL;
	size_t length = 0;
	unsigned line = 1;

	for (size_t i = 0; i < file.n_places; i++) {
		const char *at = strstr(sentence, file.places[i].path);
		size_t n = strlen(file.places[i].path);

		if (at == NULL || (first != NULL && at > first) || (at == first && n <= length))
			continue;
		first = at;
		length = n;
		line = file.places[i].line;
	}
	return line;
}

/* ---- values */

/*
 * The element of a list with names that is called title, or a new one; NULL (reported) when full.
 */
static void *
titled_element(cfg_t *cfg, const char *title)
{
	struct conf *c = file.conf;
	int server = strcmp(cfg_name(cfg), "server") == 0;
	uint8_t *n = server ? &c->general.n_servers : &c->general.n_checks;
	uint8_t max = server ? CONF_SERVERS : CONF_CHECKS;
	char error[256], *name;

	for (uint8_t i = 0; i < *n; i++) {
		if (strcmp(server ? c->server[i].name : c->check[i].name, title) == 0)
			return server ? (void *)&c->server[i] : (void *)&c->check[i];
	}
	if (*n == max) {
		(void)fail((unsigned)cfg->line, "%s '%.60s' is one too many; %u are possible",
		    cfg_name(cfg), title, max);
		return NULL;
	}
	name = server ? c->server[*n].name : c->check[*n].name;
	if (value_name(title, name, error, sizeof(error)) == -1) {
		(void)fail((unsigned)cfg->line, "%s: %s", cfg_name(cfg), error);
		return NULL;
	}
	(*n)++;
	return server ? (void *)&c->server[*n - 1] : (void *)&c->check[*n - 1];
}

static int
store_address(const struct conf_option *o, void *owner, const char *text, char *error, size_t size)
{
	struct conf_server *s = owner;
	struct conf_general *g = &file.conf->general;
	int server = o->owner == CONF_OF_server;
	uint8_t *n = server ? &s->n_paths : &g->n_references;
	struct conf_addr *a;

	if (*n >= o->max) {
		snprintf(error, size, "there are more than %" PRId64, o->max);
		return -1;
	}
	a = server ? &s->path[*n] : &file.conf->reference[*n].addr;
	if (value_address(file.lookup, text, a, error, size) == -1)
		return -1;
	(*n)++;
	return 0;
}

/* data.read-only */
static int
store_reader(const struct conf_option *o, const char *text, char *error, size_t size)
{
	struct conf_general *g = &file.conf->general;
	uint32_t uid;

	if (g->n_data_readers >= o->max) {
		snprintf(error, size, "there are more than %" PRId64, o->max);
		return -1;
	}
	if (value_uid(file.lookup, text, &uid, error, size) == -1)
		return -1;
	if (conf_reads_only(g, uid)) {
		snprintf(error, size, "user '%.60s' (number %u) is there twice", text, uid);
		return -1;
	}
	g->data_reader[g->n_data_readers++] = uid;
	return 0;
}

static int
store_user(const struct conf_option *o, void *owner, const char *text, char *error, size_t size)
{
	struct conf_check *k = owner;
	struct conf_hook *h = owner;

	if (o->owner == CONF_OF_hook)
		return value_user(file.lookup, text, &h->uid, &h->gid, error, size);
	return value_user(file.lookup, text, &k->uid, &k->gid, error, size);
}

static int
store_command(const struct conf_option *o, void *owner, const char *text, char *error, size_t size)
{
	struct conf_check *k = owner;
	unsigned kind = 0;

	if (o->owner == CONF_OF_check)
		return value_path(text, 1, k->command, error, size);
	while (strcmp(hook_name(kind), o->name) != 0)
		kind++; /* the table has no other hooks */
	return value_path(text, 1, file.conf->hook[kind].command, error, size);
}

/* "user.netd": the process of that name */
static int
store_id(const struct conf_option *o, const char *text, char *error, size_t size)
{
	struct conf_general *g = &file.conf->general;

	for (unsigned p = 0; p < PROC_MAX; p++) {
		if (strcmp(process_name((enum process)p), o->name) != 0)
			continue;
		if (value_id(text, &g->uid[p], error, size) == -1)
			return -1;
		g->gid[p] = g->uid[p];
	}
	return 0;
}

static int
store_key(struct conf_server *s, const char *text, char *error, size_t size)
{
	if (identity_decode(text, s->key_status, s->key_data) == 0)
		return 0;
	snprintf(error, size,
	    "this is not a public identity (bh1..., its check value included); "
	    "bulkheadctl key prints it on that server");
	return -1;
}

static int
store_number(const struct conf_option *o, void *owner, const char *text, char *error, size_t size)
{
	int64_t v;

	if (value_number(o, text, &v, error, size) == -1)
		return -1;
	if (o->type == CT_PROFILE) {
		file.profile = (enum arbitration_profile)v;
		return 0;
	}
	return conf_set_number(o, owner, v);
}

/* One value into the field of option o in owner. */
static int
store(const struct conf_option *o, void *owner, const char *text, char *error, size_t size)
{
	uint8_t *field = (uint8_t *)owner + o->offset;

	switch (o->type) {
	case CT_NAME:
		return value_name(text, (char *)field, error, size);
	case CT_SELF:
		return value_name(text, file.self, error, size);
	case CT_PATH:
		return value_path(text, 0, (char *)field, error, size);
	case CT_GROUP:
		return value_group(file.lookup, text, (uint32_t *)(void *)field, error, size);
	case CT_USER:
		return store_user(o, owner, text, error, size);
	case CT_USERS:
		return store_reader(o, text, error, size);
	case CT_ID:
		return store_id(o, text, error, size);
	case CT_COMMAND:
		return store_command(o, owner, text, error, size);
	case CT_ADDRESSES:
		return store_address(o, owner, text, error, size);
	case CT_KEY:
		return store_key(owner, text, error, size);
	default:
		return store_number(o, owner, text, error, size);
	}
}

/* The struct that the options of a section go into; NULL (reported) when there is no room. */
static void *
owner_of(const struct conf_option *o, cfg_t *cfg)
{
	switch (o->owner) {
	case CONF_OF_server:
	case CONF_OF_check:
		return titled_element(cfg, cfg_title(cfg));
	case CONF_OF_hook:
		return &file.hook;
	default:
		return &file.conf->general;
	}
}

/* Called by libconfuse with each value as it is read. */
static int
on_value(cfg_t *cfg, cfg_opt_t *opt, const char *text, void *result)
{
	const struct conf_option *o = conf_find_option(section_of(cfg), cfg_opt_name(opt));
	char path[PATH], error[256] = "";
	void *owner;

	if (o == NULL) { /* "status|interval" reaches into a section */
		unknown_option(cfg, cfg_opt_name(opt));
		return -1;
	}
	owner = owner_of(o, cfg);
	option_path(cfg, o->name, path);
	/* of a list, the first value stands for all */
	if (owner == NULL || (opt->nvalues <= 1 && add_place(path, (unsigned)cfg->line) == -1))
		return -1;
	if (text[0] == '\0')
		return fail((unsigned)cfg->line, "%s is empty", path);
	if (store(o, owner, text, error, sizeof(error)) == -1)
		return fail((unsigned)cfg->line, "%s: %s", path, error);
	*(const char **)result = text;
	return 0;
}

/* Called at the closing brace of a section. */
static int
on_section(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *section = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	char path[PATH];

	if (cfg_title(section) != NULL) {
		section->line = cfg->line;
		if (titled_element(section, cfg_title(section)) == NULL)
			return -1;
	}
	section_path(section, path);
	return add_place(path, (unsigned)cfg->line);
}

/* ---- after the last line */

static int
finish_self(void)
{
	struct conf *c = file.conf;
	const char *host = file.lookup->host;
	char name[CONF_NAME];

	/* the name written, or the host's in full, or up to its first dot */
	for (int attempt = 0; attempt < 2; attempt++) {
		size_t n = attempt == 0 ? strlen(host) : strcspn(host, ".");

		if (file.self[0] != '\0')
			snprintf(name, sizeof(name), "%s", file.self);
		else
			snprintf(name, sizeof(name), "%.*s",
			    (int)(n < CONF_NAME ? n : CONF_NAME - 1), host);
		for (uint8_t i = 0; i < c->general.n_servers; i++) {
			if (strcmp(c->server[i].name, name) == 0) {
				c->general.self = i;
				return 0;
			}
		}
	}
	if (file.self[0] == '\0')
		return fail(line_of("self"),
		    "self is not written, and no server has the name of this host, '%.60s'", host);
	return fail(line_of("self"), "self: there is no server '%s' in this file", file.self);
}

static void
finish_profile(void)
{
	static const struct {
		int64_t lease, renew, watchdog;
	} rows[PROFILE_MAX] = {[PROFILE_NORMAL] = {12000, 2000, 3000},
	    [PROFILE_CALM] = {30000, 5000, 8000},
	    [PROFILE_FAST] = {5000, 500, 1000}};
	struct conf_general *g = &file.conf->general;

	if (find_place("arbitration.lease") == NULL)
		g->lease_ms = rows[file.profile].lease;
	if (find_place("arbitration.renew") == NULL)
		g->renew_ms = rows[file.profile].renew;
	if (find_place("arbitration.watchdog") == NULL)
		g->watchdog_ms = rows[file.profile].watchdog;
}

static int
finish_hooks(void)
{
	int any = 0;

	for (unsigned i = 0; i < HOOK_MAX; i++) {
		struct conf_hook *h = &file.conf->hook[i];

		any |= h->command[0] != '\0';
		h->uid = file.hook.uid;
		h->gid = file.hook.gid;
		h->timeout_ms = file.hook.timeout_ms;
		h->on_failure = file.hook.on_failure;
	}
	if (any && find_place("hook.user") == NULL)
		return fail(line_of("hook"), "hook.user is missing; write which user the hooks run "
					     "as (\"root\" where they need it)");
	return 0;
}

static int
finish_checks(void)
{
	char path[PATH];

	for (uint8_t i = 0; i < file.conf->general.n_checks; i++) {
		struct conf_check *k = &file.conf->check[i];

		snprintf(path, sizeof(path), "check %s.user", k->name);
		if (find_place(path) == NULL)
			return fail(line_of(path),
			    "%s is missing; write which user the check runs as", path);
		snprintf(path, sizeof(path), "check %s.timeout", k->name);
		if (find_place(path) == NULL && k->timeout_ms > k->interval_ms)
			k->timeout_ms = k->interval_ms;
	}
	return 0;
}

/* What needs the whole file. */
static int
finish(void)
{
	char error[CONF_ERROR_TEXT];
	struct conf_general *g = &file.conf->general;

	if (find_place("group") == NULL)
		return fail(1,
		    "group is missing; it names the group of servers, as in group = \"plant-7\"");
	if (g->n_servers == 0)
		return fail(1, "there is no server section; every server of the group needs one");
	if (find_place("arbitration.mode") == NULL)
		g->mode = g->n_references > 0 ? ARB_REFERENCES : ARB_MANUAL;
	finish_profile();
	if (finish_self() == -1 || finish_hooks() == -1 || finish_checks() == -1)
		return -1;
	if (conf_check_all(file.conf, error, sizeof(error)) == -1)
		return fail(line_of(error), "%s", error);
	return 0;
}

/* ---- libconfuse's tables */

static cfg_opt_t tables[SECTIONS][TABLE];
static const char *table_names[SECTIONS];

/* The table of a section, made when it is first asked for; table 0 is the top. */
static cfg_opt_t *
table_of(const char *section)
{
	for (size_t i = 0; i < SECTIONS; i++) {
		if (table_names[i] == NULL)
			table_names[i] = section;
		if (strcmp(table_names[i], section) == 0)
			return tables[i];
	}
	abort(); /* SECTIONS is too small for conf_options.def */
}

static cfg_opt_t *
free_row(cfg_opt_t *table)
{
	int n = cfg_numopts(table);

	if (n + 1 >= TABLE)
		abort();
	return &table[n];
}

static void
build_tables(void)
{
	cfg_opt_t *top = table_of("");

	for (size_t i = 0; i < conf_n_options; i++) {
		const struct conf_option *o = &conf_options[i];
		cfg_opt_t *row = free_row(table_of(o->section));

		row->name = o->name;
		row->type = CFGT_STR;
		row->flags = CFGF_NODEFAULT |
			     (o->type == CT_ADDRESSES || o->type == CT_USERS ? CFGF_LIST : 0);
		row->parsecb = (cfg_callback_t)on_value;
	}
	for (size_t i = 1; i < SECTIONS && table_names[i] != NULL; i++) {
		cfg_opt_t *row = free_row(top);

		row->name = table_names[i];
		row->type = CFGT_SEC;
		row->subopts = tables[i];
		row->flags = CFGF_NODEFAULT;
		if (in_list(titled, COUNT(titled), table_names[i]))
			row->flags |= CFGF_TITLE | CFGF_MULTI | CFGF_NO_TITLE_DUPES;
		row->validcb = on_section;
	}
}

int
file_parse(char *text, size_t len, const struct lookup *lookup, struct conf *conf, char *error,
    size_t size)
{
	char sentence[256];
	unsigned line;
	cfg_t *cfg;

	memset(&file, 0, sizeof(file));
	memset(tables, 0, sizeof(tables));
	memset(table_names, 0, sizeof(table_names));
	file.conf = conf;
	file.lookup = lookup;
	file.error = error;
	file.size = size;
	conf_defaults(conf);
	file.hook = conf->hook[0];

	line = source_prepare(text, len, sentence, sizeof(sentence));
	if (line != 0)
		return fail(line, "%s", sentence);
	build_tables();
	cfg = cfg_init(tables[0], CFGF_NONE);
	if (cfg == NULL)
		return fail(1, "out of memory");
	cfg_set_error_function(cfg, on_error);
	if (cfg_parse_buf(cfg, text) != CFG_SUCCESS)
		(void)fail((unsigned)cfg->line, "this cannot be understood");
	cfg_free(cfg);
	return file.failed ? -1 : finish();
}
