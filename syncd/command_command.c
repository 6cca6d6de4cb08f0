/* SPDX-License-Identifier: ISC */
/*
 * COMMAND: the table, told to clients.
 */
#include "config.h"

#include "command.h"

#include <stdio.h>
#include <string.h>

#include "glob.h"

/* A command of a container has its name in front. */
static bool
is_sub(const struct command *cmd)
{
	return strchr(cmd->name, '|') != NULL;
}

/* How many commands of that container there are; they are right behind it. */
static size_t
count_subs(const struct command *container)
{
	size_t n = 0, len = strlen(container->name);
	const struct command *last = command_at(0);

	if (is_sub(container))
		return 0;
	while (command_at((size_t)(container - last) + n + 1) != NULL &&
	       strncmp(container[n + 1].name, container->name, len) == 0 &&
	       container[n + 1].name[len] == '|')
		n++;
	return n;
}

static size_t
count_commands(void)
{
	size_t n = 0;
	const struct command *cmd;

	for (size_t i = 0; (cmd = command_at(i)) != NULL; i++)
		n += !is_sub(cmd);
	return n;
}

static void
reply_words(struct call *a, const char *const *names, unsigned bits)
{
	size_t n = 0;

	for (unsigned rest = bits; rest != 0; rest &= rest - 1)
		n++;
	resp_set(a->out, n);
	for (size_t i = 0; bits != 0; i++, bits >>= 1)
		if ((bits & 1) != 0)
			resp_status(a->out, names[i]);
}

/* Bits of the classes in the order of Redis. */
enum {
	CAT_KEYSPACE = 1 << 0,
	CAT_READ = 1 << 1,
	CAT_WRITE = 1 << 2,
	CAT_STRING = 1 << 3,
	CAT_HASH = 1 << 4,
	CAT_PUBSUB = 1 << 5,
	CAT_ADMIN = 1 << 6,
	CAT_FAST = 1 << 7,
	CAT_SLOW = 1 << 8,
	CAT_DANGEROUS = 1 << 9,
	CAT_CONNECTION = 1 << 10,
	CAT_TRANSACTION = 1 << 11
};

static unsigned
categories(const struct command *cmd)
{
	static const struct {
		unsigned acl, flags, category;
	} rules[] = {{ACL_KEYSPACE, 0, CAT_KEYSPACE}, {0, CMD_READONLY, CAT_READ},
	    {0, CMD_WRITE, CAT_WRITE}, {ACL_STRING, 0, CAT_STRING}, {ACL_HASH, 0, CAT_HASH},
	    {0, CMD_PUBSUB, CAT_PUBSUB}, {ACL_ADMIN, CMD_ADMIN, CAT_ADMIN}, {0, CMD_FAST, CAT_FAST},
	    {ACL_DANGEROUS, CMD_ADMIN, CAT_DANGEROUS}, {ACL_CONNECTION, 0, CAT_CONNECTION},
	    {ACL_TRANSACTION, 0, CAT_TRANSACTION}};
	unsigned c = 0;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if ((cmd->acl & rules[i].acl) != 0 || (cmd->flags & rules[i].flags) != 0)
			c |= rules[i].category;
	return (c & CAT_FAST) != 0 ? c : c | CAT_SLOW;
}

static void
reply_info(struct call *a, const struct command *cmd)
{
	static const char *const flags[] = {"write", "readonly", "denyoom", "admin", "pubsub",
	    "noscript", "loading", "stale", "skip_slowlog", "fast", "no_auth", "allow_busy"};
	static const char *const classes[] = {"@keyspace", "@read", "@write", "@string", "@hash",
	    "@pubsub", "@admin", "@fast", "@slow", "@dangerous", "@connection", "@transaction"};
	size_t n = count_subs(cmd);

	resp_array(a->out, 10);
	resp_text(a->out, cmd->name);
	resp_int(a->out, cmd->arity);
	reply_words(a, flags, cmd->flags & CMD_SHOWN);
	resp_int(a->out, cmd->first_key);
	resp_int(a->out, cmd->last_key);
	resp_int(a->out, cmd->key_step);
	reply_words(a, classes, categories(cmd));
	resp_array(a->out, 0); /* tips */
	resp_array(a->out, 0); /* key specifications: the three numbers above say all */
	resp_array(a->out, n);
	for (size_t i = 1; i <= n; i++)
		reply_info(a, cmd + i); /* those have none of their own */
}

/* The command of that name, "get" or "client|list". */
static const struct command *
find_named(struct slice name)
{
	const struct command *cmd;

	for (size_t i = 0; (cmd = command_at(i)) != NULL; i++)
		if (slice_is(name, cmd->name))
			return cmd;
	return NULL;
}

static void
reply_infos(struct call *a, size_t from)
{
	const struct command *cmd;

	if (a->argc > from) {
		resp_array(a->out, a->argc - from);
		for (size_t i = from; i < a->argc; i++) {
			cmd = find_named(a->argv[i]);
			if (cmd != NULL)
				reply_info(a, cmd);
			else
				resp_null(a->out);
		}
		return;
	}
	resp_array(a->out, count_commands());
	for (size_t i = 0; (cmd = command_at(i)) != NULL; i++)
		if (!is_sub(cmd))
			reply_info(a, cmd);
}

void
command_command(struct call *a)
{
	reply_infos(a, a->argc);
}

void
command_command_info(struct call *a)
{
	reply_infos(a, 2);
}

void
command_command_count(struct call *a)
{
	resp_int(a->out, (int64_t)count_commands());
}

static void
reply_docs(struct call *a, const struct command *cmd)
{
	size_t n = count_subs(cmd);

	resp_text(a->out, cmd->name);
	resp_map(a->out, n > 0 ? 4 : 3);
	resp_text(a->out, "summary");
	resp_text(a->out, cmd->summary);
	resp_text(a->out, "since");
	resp_text(a->out, cmd->since);
	resp_text(a->out, "group");
	resp_text(a->out, cmd->group);
	if (n == 0)
		return;
	resp_text(a->out, "subcommands");
	resp_map(a->out, n);
	for (size_t i = 1; i <= n; i++)
		reply_docs(a, cmd + i);
}

void
command_command_docs(struct call *a)
{
	const struct command *cmd;
	size_t n = 0;

	for (size_t i = 2; i < a->argc; i++)
		n += find_named(a->argv[i]) != NULL;
	resp_map(a->out, a->argc == 2 ? count_commands() : n);
	for (size_t i = 2; i < a->argc; i++)
		if ((cmd = find_named(a->argv[i])) != NULL)
			reply_docs(a, cmd);
	for (size_t i = 0; a->argc == 2 && (cmd = command_at(i)) != NULL; i++)
		if (!is_sub(cmd))
			reply_docs(a, cmd);
}

void
command_command_list(struct call *a)
{
	bool filter =
	    a->argc == 5 && slice_is(a->argv[2], "filterby") && slice_is(a->argv[3], "pattern");
	size_t place = resp_array_begin(a->out), n = 0;
	const struct command *cmd;

	if (a->argc != 2 && !filter) {
		reply_syntax(a);
		return;
	}
	for (size_t i = 0; (cmd = command_at(i)) != NULL; i++) {
		if (filter ? !glob_match(a->argv[4], slice_of(cmd->name), true) : is_sub(cmd))
			continue;
		resp_text(a->out, cmd->name);
		n++;
	}
	resp_array_end(a->out, place, n);
}

void
command_command_getkeys(struct call *a)
{
	const struct command *container, *cmd = command_find(a->argv + 2, a->argc - 2, &container);
	int n = a->argc - 2 > INT32_MAX ? INT32_MAX : (int)(a->argc - 2), last;

	if (cmd == NULL) {
		resp_error(a->out, "Invalid command specified");
		return;
	}
	if (cmd->first_key == 0) {
		resp_error(a->out, "The command has no key arguments");
		return;
	}
	if (cmd->arity > 0 ? n != cmd->arity : n < -cmd->arity) {
		resp_error(a->out, "Invalid number of arguments specified for command");
		return;
	}
	last = cmd->last_key < 0 ? n + cmd->last_key : cmd->last_key;
	resp_array(a->out, (size_t)((last - cmd->first_key) / cmd->key_step + 1));
	for (int i = cmd->first_key; i <= last; i += cmd->key_step)
		resp_bulk(a->out, a->argv[2 + i]);
}

/* CLIENT HELP and its kin: the container's part of the table. */
void
command_help(struct call *a)
{
	const char *end = strchr(a->cmd->name, '|');
	size_t len = (size_t)(end - a->cmd->name), n;
	const struct command *container =
	    find_named((struct slice){(const uint8_t *)a->cmd->name, len});
	char text[256];

	if (container == NULL)
		return;
	n = count_subs(container);
	resp_array(a->out, 1 + 2 * n);
	snprintf(text, sizeof(text),
	    "%.*s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", (int)len,
	    container->name);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)(text[i] & ~0x20);
	resp_status(a->out, text);
	for (size_t i = 1; i <= n; i++) {
		const char *word = container[i].name + len + 1;
		size_t k = 0;

		for (; word[k] != '\0' && k < sizeof(text) - 1; k++)
			text[k] =
			    (char)(word[k] >= 'a' && word[k] <= 'z' ? word[k] & ~0x20 : word[k]);
		text[k] = '\0';
		resp_status(a->out, text);
		snprintf(text, sizeof(text), "    %s", container[i].summary);
		resp_status(a->out, text);
	}
}
