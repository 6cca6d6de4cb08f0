/* SPDX-License-Identifier: ISC */
/*
 * Finds a command, checks what can be checked before, executes it as one change, and notifies. The
 * order of the checks and the words of the errors are those of Redis 7.0.
 */
#include "config.h"

#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COMMAND(name, arity, flags, first, last, step, handler, acl, group, since, summary)        \
	{name, arity, flags, first, last, step, handler, acl, group, since, summary},
#define CONTAINER(name, arity, flags, acl, group, since, summary)                                  \
	{name, arity, flags, 0, 0, 0, NULL, acl, group, since, summary},
static const struct command commands[] = {
#include "commands.def"
};
#undef COMMAND
#undef CONTAINER

enum {
	N_COMMANDS = sizeof(commands) / sizeof(commands[0]),
	TABLE_SIZE = 512, /* a power of two, a few times N_COMMANDS */
	NAME_MAX_LEN = 32,
	QUOTED_MAX = 128, /* of a name or of arguments in an error */
	FIRST_SIZE = 64
};

_Static_assert(N_COMMANDS * 2 < TABLE_SIZE, "TABLE_SIZE is too small");

/* Open addressing: index of a command + 1. */
static uint16_t table[TABLE_SIZE];

/* FNV-1a of the lower-case name. */
static uint32_t
hash_name(const char *name, size_t len)
{
	uint32_t h = 2166136261U;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)name[i]) * 16777619U;
	return h;
}

void
command_init(void)
{
	memset(table, 0, sizeof(table));
	for (uint16_t i = 0; i < N_COMMANDS; i++) {
		uint32_t at = hash_name(commands[i].name, strlen(commands[i].name));

		while (table[at % TABLE_SIZE] != 0)
			at++;
		table[at % TABLE_SIZE] = (uint16_t)(i + 1);
	}
}

const struct command *
command_at(size_t i)
{
	return i < N_COMMANDS ? &commands[i] : NULL;
}

static const struct command *
find_name(const char *name, size_t len)
{
	uint32_t at = hash_name(name, len);

	for (; table[at % TABLE_SIZE] != 0; at++) {
		const struct command *cmd = &commands[table[at % TABLE_SIZE] - 1];

		if (strlen(cmd->name) == len && memcmp(cmd->name, name, len) == 0)
			return cmd;
	}
	return NULL;
}

/* Appends s in lower case to name at len. Returns the new length, or 0 when it is too long. */
static size_t
add_lower(char name[NAME_MAX_LEN], size_t len, struct slice s)
{
	if (s.len > NAME_MAX_LEN - 1 - len)
		return 0;
	for (size_t i = 0; i < s.len; i++)
		name[len++] =
		    (char)(s.data[i] >= 'A' && s.data[i] <= 'Z' ? s.data[i] | 0x20 : s.data[i]);
	return len;
}

static bool
is_container(const struct command *cmd)
{
	size_t n = strlen(cmd->name);

	/* what belongs to it comes right behind it */
	return cmd + 1 < commands + N_COMMANDS && strncmp(cmd[1].name, cmd->name, n) == 0 &&
	       cmd[1].name[n] == '|';
}

const struct command *
command_find(const struct slice *argv, size_t argc, const struct command **container)
{
	char name[NAME_MAX_LEN];
	size_t n = add_lower(name, 0, argv[0]);
	const struct command *cmd = n == 0 ? NULL : find_name(name, n);

	*container = NULL;
	if (cmd == NULL || memchr(name, '|', n) != NULL)
		return NULL;
	if (argc < 2 || !is_container(cmd))
		return cmd;
	*container = cmd;
	name[n++] = '|';
	n = add_lower(name, n, argv[1]);
	return n == 0 ? NULL : find_name(name, n);
}

/* ---- errors */

/* The bytes of s up to a NUL, at most max, for an error. */
static int
shown(struct slice s, size_t max)
{
	const uint8_t *nul = s.len == 0 ? NULL : memchr(s.data, 0, s.len);
	size_t n = nul != NULL ? (size_t)(nul - s.data) : s.len;

	return (int)(n < max ? n : max);
}

static void
reply_unknown(struct client *c, const struct slice *argv, size_t argc)
{
	char args[QUOTED_MAX + 8];
	size_t n = 0;

	args[0] = '\0';
	for (size_t i = 1; i < argc && n < QUOTED_MAX; i++) {
		int most = (int)(QUOTED_MAX - n);

		n += (size_t)snprintf(args + n, sizeof(args) - n, "'%.*s' ",
		    shown(argv[i], (size_t)most), (const char *)argv[i].data);
	}
	resp_errorf(&c->out, "unknown command '%.*s', with args beginning with: %s",
	    shown(argv[0], QUOTED_MAX), (const char *)argv[0].data, args);
}

static void
reply_unknown_sub(struct client *c, const struct command *container, struct slice sub)
{
	char upper[NAME_MAX_LEN];
	size_t n = strlen(container->name);

	for (size_t i = 0; i <= n; i++)
		upper[i] = (char)(container->name[i] >= 'a' && container->name[i] <= 'z'
				      ? container->name[i] & ~0x20
				      : container->name[i]);
	resp_errorf(&c->out, "unknown subcommand '%.*s'. Try %s HELP.", shown(sub, QUOTED_MAX),
	    (const char *)sub.data, upper);
}

void
reply_wrong_type(struct call *a)
{
	resp_error(a->out, "-WRONGTYPE Operation against a key holding the wrong kind of value");
}

void
reply_syntax(struct call *a)
{
	resp_error(a->out, "syntax error");
}

const char *
command_failure(int error)
{
	if (error == ENOSPC)
		return "-DISKFULL no room for this change, it did not happen; reads go on";
	if (error == ENOMEM)
		return "-OOM no memory for this change, it did not happen";
	if (error == E2BIG)
		return "-ERR this change is larger than data.bulk allows, it did not happen";
	return "-IOERR the disk does not take this change, it did not happen";
}

/* ---- execution */

static int64_t
wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void
command_mark(struct face *f, struct client *c, size_t start, size_t end, bool push)
{
	if (start == end)
		return;
	if (f->n_marks == f->marks_size) {
		size_t size = f->marks_size == 0 ? FIRST_SIZE : f->marks_size * 2;
		struct face_mark *marks = realloc(f->marks, size * sizeof(*marks));

		if (marks == NULL) { /* an answer that could not be taken back must not leave */
			c->out.failed = true;
			return;
		}
		f->marks = marks;
		f->marks_size = size;
	}
	f->marks[f->n_marks++] = (struct face_mark){c, start, end, push};
}

/* Whether the answer depends on the data. */
static bool
tells_data(const struct command *cmd)
{
	return (cmd->flags & (CMD_WRITE | CMD_READONLY)) != 0 || cmd->handler == command_exec;
}

/* Ends what a command, whose answer begins at start, did. */
static void
finish(struct client *c, const struct command *cmd, size_t start)
{
	struct face *f = c->face;
	struct position at;
	bool changed = false;
	int failed = db_commit(f, &at, &changed);

	if (failed != 0) {
		f->refused |= failed == ENOSPC;
		c->out.len = start;
		resp_error(&c->out, command_failure(failed));
	}
	if (changed) {
		c->written = at;
		c->owes = at.index;
		f->changed = true;
	}
	if ((c->flags & (CLIENT_MUTE | CLIENT_SKIP)) != 0)
		c->out.len = start;
	if (f->changed && tells_data(cmd))
		command_mark(f, c, start, c->out.len, false);
	command_send_events(f, failed == 0);
	if (cmd->handler == command_exec)
		client_queue_clear(c);
}

static void
call_handler(struct client *c, const struct command *cmd, const struct slice *argv, size_t argc)
{
	struct face *f = c->face;
	struct call a = {f, c, &c->out, cmd, argv, argc};

	f->db.writing = (cmd->flags & CMD_WRITE) != 0;
	cmd->handler(&a);
}

void
command_run_queued(
    struct client *c, const struct command *cmd, const struct slice *argv, size_t argc)
{
	c->face->counts.commands++;
	call_handler(c, cmd, argv, argc);
}

/* Answers an error and spoils the transaction that is being queued. */
static void
reject(struct client *c, const struct command *cmd, const char *text)
{
	c->face->counts.rejected++;
	if (cmd != NULL && cmd->handler == command_exec) {
		resp_errorf(&c->out, "-EXECABORT Transaction discarded because of: %s",
		    *text == '-' ? text + 1 : text);
		client_queue_clear(c);
		interest_clear(&c->face->watches, &c->watched);
		c->flags &= ~(unsigned)(CLIENT_MULTI | CLIENT_SPOILED | CLIENT_WATCH_BROKEN);
		return;
	}
	if ((c->flags & CLIENT_MULTI) != 0)
		c->flags |= CLIENT_SPOILED;
	resp_error(&c->out, text);
}

/* Sends one command, or what is queued, to main. */
static void
proxy(struct client *c, const struct command *cmd, const struct slice *argv, size_t argc)
{
	struct face *f = c->face;
	struct face_command one = {argv, argc}, *all = &one;
	struct face_watched *watched = NULL;
	struct face_request r = {.n_commands = 1, .version = c->out.version};
	const char *refusal = "-MASTERDOWN there is no way to main";
	size_t n = 0;

	if (cmd->handler == command_exec) {
		r.transaction = true;
		r.n_commands = c->queue.n_commands;
		all = calloc(r.n_commands + 1, sizeof(*all));
		watched = calloc(c->watched.n + 1, sizeof(*watched));
		if (all == NULL || watched == NULL) {
			reject(c, cmd, command_failure(ENOMEM));
			goto out;
		}
		for (size_t i = 0; i < r.n_commands; i++) {
			all[i].argv = c->queue.args + c->queue.commands[i].first;
			all[i].argc = c->queue.commands[i].argc;
		}
		for (struct interest *w = c->watched.first; w != NULL; w = w->next_own) {
			watched[n].key = topic_name(w->topic);
			db_digest(f, watched[n].key, watched[n].digest);
			n++;
		}
	}
	r.commands = all;
	r.watched = watched;
	r.n_watched = n;
	if (f->calls->proxy == NULL || f->calls->proxy(f->arg, c->id, &r, &refusal) != 0)
		reject(c, cmd, refusal);
	else
		client_proxied(c);
out:
	if (all != &one)
		free(all);
	free(watched);
}

bool
command_reads_only(const struct client *c)
{
	const struct face *f = c->face;

	return (c->flags & CLIENT_REMOTE) == 0 && f->calls->reads_only != NULL &&
	       f->calls->reads_only(f->arg, c->uid);
}

enum face_route
command_route(struct client *c, const char **refusal)
{
	struct face *f = c->face;
	enum face_route r;

	*refusal = "-READONLY this server is not main";
	r = f->calls->route(f->arg, &f->db.epoch, refusal);
	return r == FACE_PROXY && (c->flags & CLIENT_REMOTE) != 0 ? FACE_REFUSE : r;
}

/* EXEC when something of it changes data and main is elsewhere, or nowhere. Whether that is so. */
static bool
exec_elsewhere(struct client *c, const struct command *cmd, enum face_route where)
{
	if (where != FACE_PROXY || (c->flags & (CLIENT_SPOILED | CLIENT_WATCH_BROKEN)) != 0)
		return false;
	for (size_t i = 0; i < c->queue.n_args; i++)
		c->queue.args[i].data = c->queue.bytes + (uintptr_t)c->queue.args[i].data;
	proxy(c, cmd, NULL, 0);
	client_queue_clear(c);
	interest_clear(&c->face->watches, &c->watched);
	c->flags &= ~(unsigned)CLIENT_MULTI;
	return true;
}

/* Whether the command is answered already, because it is not to be done now or here. */
static bool
divert(struct client *c, const struct command *cmd, const struct slice *argv, size_t argc)
{
	bool queueing = (c->flags & CLIENT_MULTI) != 0;
	bool changes = (cmd->flags & CMD_WRITE) != 0,
	     waits = cmd->handler == command_wait || cmd->handler == command_waitaof;
	enum face_route where = FACE_LOCAL;
	const char *refusal;

	if (cmd->handler == command_exec)
		changes = queueing && c->queue.writes;
	if (changes && command_reads_only(c)) {
		reject(c, cmd, "-NOPERM this user may only read");
		return true;
	}
	if (changes || (waits && !queueing))
		where = command_route(c, &refusal);
	if (where == FACE_REFUSE && changes) {
		reject(c, cmd, refusal);
		return true;
	}
	if (c->out.version < 3 && (client_subscriptions(c) > 0 || c->serves.n > 0) &&
	    (cmd->flags & CMD_LISTEN) == 0) {
		char text[NAME_MAX_LEN + 160];

		snprintf(text, sizeof(text),
		    "Can't execute '%s': only %s(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
		    "RESET are allowed in this context",
		    cmd->name, c->serves.n > 0 ? "ACTION.* / " : "");
		reject(c, cmd, text);
		return true;
	}
	if (queueing && (cmd->flags & CMD_ALONE) != 0) {
		reject(c, cmd, "Command not allowed inside a transaction");
		return true;
	}
	if (queueing && (cmd->flags & CMD_NOW) == 0) {
		if (client_queue_add(c, cmd, argv, argc) != 0)
			reject(c, NULL, "the transaction is too large");
		else
			resp_literal(&c->out, "+QUEUED\r\n");
		return true;
	}
	if (cmd->handler == command_exec)
		return exec_elsewhere(c, cmd, where);
	if (where == FACE_PROXY)
		proxy(c, cmd, argv, argc);
	return where == FACE_PROXY;
}

/* NULL when the request is answered with an error. */
static const struct command *
look_up(struct client *c, const struct slice *argv, size_t argc)
{
	const struct command *container, *cmd = command_find(argv, argc, &container);
	int n = argc > INT32_MAX ? INT32_MAX : (int)argc;
	bool wrong = cmd != NULL &&
		     (cmd->handler == NULL || (cmd->arity > 0 ? n != cmd->arity : n < -cmd->arity));

	if (cmd != NULL && !wrong)
		return cmd;
	if (wrong) {
		char text[NAME_MAX_LEN + 64];

		snprintf(
		    text, sizeof(text), "wrong number of arguments for '%s' command", cmd->name);
		reject(c, cmd, text);
		return NULL;
	}
	c->face->counts.rejected++;
	if ((c->flags & CLIENT_MULTI) != 0)
		c->flags |= CLIENT_SPOILED;
	if (container != NULL)
		reply_unknown_sub(c, container, argv[1]);
	else
		reply_unknown(c, argv, argc);
	return NULL;
}

void
command_run(struct client *c, const struct slice *argv, size_t argc)
{
	struct face *f = c->face;
	size_t start = c->out.len;
	const struct command *cmd;

	f->counts.commands++;
	f->db.now_ms = wall_ms();
	cmd = look_up(c, argv, argc);
	if (cmd != NULL)
		c->last = cmd;
	if (cmd != NULL && !divert(c, cmd, argv, argc)) {
		call_handler(c, cmd, argv, argc);
		finish(c, cmd, start);
	} else if ((c->flags & (CLIENT_MUTE | CLIENT_SKIP)) != 0)
		c->out.len = start;
	if (c->state != CLIENT_PROXIED && c->state != CLIENT_ACTS) {
		c->flags &= ~(unsigned)CLIENT_SKIP;
		if ((c->flags & CLIENT_SKIP_NEXT) != 0)
			c->flags = (c->flags & ~(unsigned)CLIENT_SKIP_NEXT) | CLIENT_SKIP;
	}
}

/* All of a transaction that came in one piece. */
static void
run_transaction(struct client *c, const struct face_request *r)
{
	struct face *f = c->face;
	uint8_t digest[DB_DIGEST];

	for (size_t i = 0; i < r->n_watched; i++) {
		db_digest(f, r->watched[i].key, digest);
		if (memcmp(digest, r->watched[i].digest, DB_DIGEST) != 0) {
			resp_null_array(&c->out);
			return;
		}
	}
	resp_array(&c->out, r->n_commands);
	for (size_t i = 0; i < r->n_commands; i++) {
		const struct face_command *one = &r->commands[i];
		const struct command *cmd =
		    one->argc == 0 ? NULL : look_up(c, one->argv, one->argc);

		if (cmd != NULL && (cmd->flags & (CMD_NOW | CMD_ALONE)) != 0)
			resp_error(&c->out, "Command not allowed inside a transaction");
		else if (cmd != NULL)
			command_run_queued(c, cmd, one->argv, one->argc);
		else if (one->argc == 0)
			resp_error(&c->out, "empty command");
	}
}

void
command_run_request(struct client *c, const struct face_request *r)
{
	static const struct slice exec = {(const uint8_t *)"exec", 4};
	const struct command *container;
	const char *refusal;
	size_t start = c->out.len;

	c->out.version = r->version == 3 ? 3 : 2;
	if (!r->transaction) {
		if (r->n_commands == 1 && r->commands[0].argc > 0)
			command_run(c, r->commands[0].argv, r->commands[0].argc);
		else
			resp_error(&c->out, "empty command");
		return;
	}
	c->face->db.now_ms = wall_ms();
	if (command_route(c, &refusal) != FACE_LOCAL) {
		resp_error(&c->out, refusal);
		return;
	}
	/* so that WAIT in it does not wait */
	c->flags |= CLIENT_MULTI;
	run_transaction(c, r);
	c->flags &= ~(unsigned)(CLIENT_MULTI | CLIENT_SPOILED);
	finish(c, command_find(&exec, 1, &container), start);
}
