/* SPDX-License-Identifier: ISC */
/*
 * Commands about the connection itself.
 */
#include "config.h"

#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
command_ping(struct call *a)
{
	struct slice empty = {(const uint8_t *)"", 0};

	if (a->argc > 2) {
		resp_errorf(a->out, "wrong number of arguments for '%s' command", a->cmd->name);
	} else if (a->out->version < 3 && client_subscriptions(a->c) > 0) {
		resp_array(a->out, 2);
		resp_text(a->out, "pong");
		resp_bulk(a->out, a->argc == 2 ? a->argv[1] : empty);
	} else if (a->argc == 2)
		resp_bulk(a->out, a->argv[1]);
	else
		resp_status(a->out, "PONG");
}

void
command_echo(struct call *a)
{
	resp_bulk(a->out, a->argv[1]);
}

void
command_select(struct call *a)
{
	int64_t n;

	if (arg_int(a, a->argv[1], &n, NULL) != 0)
		return;
	if (n < INT32_MIN || n > INT32_MAX)
		resp_error(
		    a->out, "value is out of range, value must between -2147483648 and 2147483647");
	else if (n != 0)
		resp_error(a->out, "DB index is out of range");
	else
		resp_ok(a->out);
}

void
command_quit(struct call *a)
{
	resp_ok(a->out);
	a->c->flags |= CLIENT_CLOSE_AFTER;
}

void
command_reset(struct call *a)
{
	client_reset(a->c);
	resp_status(a->out, "RESET");
}

static bool
is_default_user(struct slice user)
{
	return user.len == 7 && memcmp(user.data, "default", 7) == 0;
}

static const char wrong_password[] =
    "-WRONGPASS invalid username-password pair or user is disabled.";

void
command_auth(struct call *a)
{
	if (a->argc > 3)
		reply_syntax(a);
	else if (a->argc == 2)
		resp_error(a->out,
		    "AUTH <password> called without any password configured for the default user. "
		    "Are you sure your configuration is correct?");
	else if (is_default_user(a->argv[1]))
		resp_ok(a->out);
	else
		resp_error(a->out, wrong_password);
}

static bool
is_good_name(struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.data[i] < '!' || name.data[i] > '~')
			return false;
	return true;
}

static const char bad_name[] =
    "Client names cannot contain spaces, newlines or special characters.";

/* The map that HELLO answers. */
static void
reply_hello(struct call *a)
{
	const char *refusal;
	uint64_t epoch;
	bool is_main = a->f->calls->route(a->f->arg, &epoch, &refusal) == FACE_LOCAL;

	resp_map(a->out, 7);
	resp_text(a->out, "server");
	resp_text(a->out, "redis");
	resp_text(a->out, "version");
	resp_text(a->out, FACE_REDIS_VERSION);
	resp_text(a->out, "proto");
	resp_int(a->out, a->out->version);
	resp_text(a->out, "id");
	resp_int(a->out, (int64_t)a->c->id);
	resp_text(a->out, "mode");
	resp_text(a->out, "standalone");
	resp_text(a->out, "role");
	resp_text(a->out, is_main ? "master" : "replica");
	resp_text(a->out, "modules");
	resp_array(a->out, 0);
}

void
command_hello(struct call *a)
{
	int64_t version = 0;
	struct slice name = {NULL, 0};

	if (a->argc >= 2 && arg_int(a, a->argv[1], &version,
				"Protocol version is not an integer or out of range") != 0)
		return;
	if (a->argc >= 2 && (version < 2 || version > 3)) {
		resp_error(a->out, "-NOPROTO unsupported protocol version");
		return;
	}
	for (size_t i = 2; i < a->argc; i++) {
		size_t more = a->argc - 1 - i;

		if (slice_is(a->argv[i], "auth") && more >= 2) {
			if (!is_default_user(a->argv[i + 1])) {
				resp_error(a->out, wrong_password);
				return;
			}
			i += 2;
		} else if (slice_is(a->argv[i], "setname") && more >= 1) {
			name = a->argv[++i];
			if (!is_good_name(name)) {
				resp_error(a->out, bad_name);
				return;
			}
		} else {
			resp_errorf(a->out, "Syntax error in HELLO option '%.*s'",
			    (int)a->argv[i].len, (const char *)a->argv[i].data);
			return;
		}
	}
	if (name.data != NULL && client_set_name(a->c, name) != 0) {
		resp_error(a->out, command_failure(ENOMEM));
		return;
	}
	if (version != 0)
		a->out->version = (int)version;
	reply_hello(a);
}

/* ---- CLIENT */

void
command_client_id(struct call *a)
{
	resp_int(a->out, (int64_t)a->c->id);
}

void
command_client_getname(struct call *a)
{
	if (a->c->name != NULL)
		resp_text(a->out, a->c->name);
	else
		resp_null(a->out);
}

void
command_client_setname(struct call *a)
{
	if (!is_good_name(a->argv[2]))
		resp_error(a->out, bad_name);
	else if (client_set_name(a->c, a->argv[2]) != 0)
		resp_error(a->out, command_failure(ENOMEM));
	else
		resp_ok(a->out);
}

void
command_client_getredir(struct call *a)
{
	resp_int(a->out, -1);
}

void
command_client_no_evict(struct call *a)
{
	if (slice_is(a->argv[2], "on"))
		a->c->flags |= CLIENT_NO_EVICT;
	else if (slice_is(a->argv[2], "off"))
		a->c->flags &= ~(unsigned)CLIENT_NO_EVICT;
	else {
		reply_syntax(a);
		return;
	}
	resp_ok(a->out);
}

void
command_client_reply(struct call *a)
{
	if (slice_is(a->argv[2], "on")) {
		a->c->flags &= ~(unsigned)(CLIENT_MUTE | CLIENT_SKIP);
		resp_ok(a->out);
	} else if (slice_is(a->argv[2], "off"))
		a->c->flags |= CLIENT_MUTE;
	else if (slice_is(a->argv[2], "skip")) {
		if ((a->c->flags & CLIENT_MUTE) == 0)
			a->c->flags |= CLIENT_SKIP_NEXT;
	} else
		reply_syntax(a);
}

void
command_client_info(struct call *a)
{
	struct resp_out text = {.version = 2};

	client_describe(a->c, &text);
	resp_raw(&text, "\n", 1);
	resp_verbatim(a->out, (struct slice){text.data, text.len});
	resp_out_free(&text);
}

/* Whether a client is of what CLIENT LIST TYPE asks for: 1, 0, or -1 for an unknown type. */
static int
is_of_type(const struct client *c, struct slice type)
{
	if (slice_is(type, "normal"))
		return client_subscriptions(c) == 0;
	if (slice_is(type, "pubsub"))
		return client_subscriptions(c) > 0;
	return slice_is(type, "master") || slice_is(type, "replica") || slice_is(type, "slave")
		   ? 0
		   : -1;
}

/* The numbers behind CLIENT LIST ID. 0, or -1 and answered. */
static int
list_ids(struct call *a, struct resp_out *text)
{
	for (size_t i = 3; i < a->argc; i++) {
		int64_t id;
		struct client *c;

		if (arg_int(a, a->argv[i], &id, "Invalid client ID") != 0)
			return -1;
		c = client_find(a->f, (uint64_t)id);
		if (c != NULL) {
			client_describe(c, text);
			resp_raw(text, "\n", 1);
		}
	}
	return 0;
}

void
command_client_list(struct call *a)
{
	struct resp_out text = {.version = 2};
	bool by_type = a->argc == 4 && slice_is(a->argv[2], "type");

	if (by_type && is_of_type(a->c, a->argv[3]) < 0) {
		resp_errorf(a->out, "Unknown client type '%.*s'", (int)a->argv[3].len,
		    (const char *)a->argv[3].data);
		return;
	}
	if (a->argc == 2 || by_type) {
		for (struct client *c = a->f->clients; c != NULL; c = c->next)
			if (!by_type || is_of_type(c, a->argv[3]) == 1) {
				client_describe(c, &text);
				resp_raw(&text, "\n", 1);
			}
	} else if (a->argc > 3 && slice_is(a->argv[2], "id")) {
		if (list_ids(a, &text) != 0)
			goto out;
	} else {
		reply_syntax(a);
		goto out;
	}
	resp_verbatim(a->out, (struct slice){text.data, text.len});
out:
	resp_out_free(&text);
}
