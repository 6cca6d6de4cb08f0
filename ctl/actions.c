/* SPDX-License-Identifier: ISC */
/*
 * Commands that change something: they need root, and roled writes into the ledger who gave them.
 */
#include "ctl.h"

#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/nearest.h"
#include "../lib/units.h"

/*
 * Send what has been put into m and report the end. A roled that hangs is ended by its supervisor.
 */
static int
run_action(const struct options *o, struct msg *m, const char *done)
{
	static struct answer a;
	struct client *c = client_open_or_die(o);

	client_ask_or_die(c, m, -1, &a, NULL, NULL);
	client_close(c);
	return finish_action(o, &a, done);
}

static void
no_arguments(const struct options *o, int argc, char **argv)
{
	if (argc > 1)
		die_usage(o, "'%s' is one argument too many", argv[1]);
}

/* Index of a server by name, as the daemon knows it. */
static uint8_t
server_index(const struct options *o, const char *name)
{
	static struct answer a;
	struct nearest near = {0};

	ask_status(o, &a);
	for (size_t i = 0; i < a.n_servers; i++) {
		if (strcmp(a.server[i].name, name) == 0)
			return a.server[i].index;
		nearest_offer(&near, name, a.server[i].name);
	}
	if (near.best != NULL)
		die(CTL_EXIT_FAILED, "no server is called '%s'; did you mean '%s'?", name,
		    near.best);
	die(CTL_EXIT_FAILED, "no server is called '%s'", name);
}

int
cmd_switchover(const struct options *o, int argc, char **argv)
{
	static struct msg m;
	uint8_t target = CTL_NO_SERVER;

	if (argc > 2)
		die_usage(o, "'%s' is one argument too many", argv[2]);
	if (argc == 2)
		target = server_index(o, argv[1]);
	msg_begin(&m, MSG_CTL_SWITCHOVER);
	msg_put_u8(&m, target);
	return run_action(o, &m, "the role was handed over");
}

int
cmd_init(const struct options *o, int argc, char **argv)
{
	static struct msg m;
	int replace =
	    argc == 3 && strcmp(argv[1], "--replace") == 0 && strcmp(argv[2], "none") == 0;

	if (!replace)
		no_arguments(o, argc, argv);
	msg_begin(&m, MSG_CTL_INIT);
	msg_put_u8(&m, (uint8_t)replace);
	return run_action(o, &m, "the data of the group begins here");
}

int
cmd_promote(const struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
	    {"confirm", required_argument, NULL, 'c'}, {NULL, 0, NULL, 0}};
	static struct msg m;
	const char *name = NULL;
	int opt;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "+:", longs, NULL)) != -1) {
		if (opt != 'c')
			die_usage(o, "unknown option or missing value: %s", argv[optind - 1]);
		name = optarg;
	}
	if (optind < argc)
		die_usage(o, "'%s' is one argument too many", argv[optind]);
	if (name == NULL)
		die_usage(o,
		    "--confirm NAME is missing: the name of the server that you know to be dead");
	if (!conf_name_valid(name))
		die_usage(o, "'%s' is not the name of a server", name);
	msg_begin(&m, MSG_CTL_PROMOTE);
	msg_put_bytes(&m, name, strlen(name));
	return run_action(o, &m, "this server is main");
}

/* Who asks: the user behind sudo, else the user. */
static const char *
default_owner(void)
{
	const char *sudo = getenv("SUDO_USER");
	const struct passwd *pw;

	if (sudo != NULL && conf_name_valid(sudo))
		return sudo;
	pw = getpwuid(getuid());
	return pw != NULL ? pw->pw_name : "root";
}

/* A text that others will read: printable, not too long. */
static void
check_text(const struct options *o, const char *option, const char *text, size_t max)
{
	char copy[CTL_NOTE];

	if (text[0] == '\0' || strlen(text) >= max)
		die_usage(o, "%s: expected 1 to %zu bytes", option, max - 1);
	snprintf(copy, sizeof(copy), "%s", text);
	clean_text(copy);
	if (strcmp(copy, text) != 0)
		die_usage(o, "%s: expected printable UTF-8 text", option);
}

static int64_t
pause_length(const struct options *o, const char *text)
{
	int64_t ms;

	if (units_parse_duration(text, &ms) != UNITS_OK)
		die_usage(o, "--for %s: expected a duration with its unit, such as 30min, 2h or 1d",
		    text);
	if (ms < 1000 || ms > PAUSE_MAX_MS)
		die_usage(o, "--for %s: expected 1s to 7d", text);
	return ms;
}

int
cmd_pause(const struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {{"for", required_argument, NULL, 'f'},
	    {"reason", required_argument, NULL, 'r'}, {"owner", required_argument, NULL, 'o'},
	    {NULL, 0, NULL, 0}};
	static struct msg m;
	const char *reason = NULL, *owner = default_owner();
	int64_t ms = PAUSE_DEFAULT_MS;
	int opt;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "+:", longs, NULL)) != -1) {
		switch (opt) {
		case 'f':
			ms = pause_length(o, optarg);
			break;
		case 'r':
			reason = optarg;
			break;
		case 'o':
			owner = optarg;
			break;
		default:
			die_usage(o, "unknown option or missing value: %s", argv[optind - 1]);
		}
	}
	if (optind < argc)
		die_usage(o, "'%s' is one argument too many", argv[optind]);
	if (reason == NULL)
		die_usage(o, "--reason TEXT is missing: others will want to know");
	check_text(o, "--reason", reason, CTL_REASON);
	check_text(o, "--owner", owner, CTL_OWNER);
	msg_begin(&m, MSG_CTL_PAUSE);
	msg_put_i64(&m, ms);
	msg_put_str(&m, owner);
	msg_put_str(&m, reason);
	return run_action(o, &m, "paused");
}

int
cmd_resume(const struct options *o, int argc, char **argv)
{
	static struct msg m;

	no_arguments(o, argc, argv);
	msg_begin(&m, MSG_CTL_RESUME);
	return run_action(o, &m, "resumed");
}

int
cmd_reload(const struct options *o, int argc, char **argv)
{
	static struct msg m;

	no_arguments(o, argc, argv);
	msg_begin(&m, MSG_CTL_RELOAD);
	return run_action(o, &m, "the new configuration is in force");
}

int
cmd_hook(const struct options *o, int argc, char **argv)
{
	static struct msg m;

	if (argc < 2 || strcmp(argv[1], "test") != 0)
		die_usage(o, "expected: hook test KIND");
	if (argc != 3)
		die_usage(o, "expected one KIND: main, standby, stop or alarm");
	for (uint8_t i = 0; i < HOOK_MAX; i++) {
		if (strcmp(argv[2], hook_name(i)) != 0)
			continue;
		msg_begin(&m, MSG_CTL_HOOK_TEST);
		msg_put_u8(&m, i);
		return run_action(o, &m, "the hook ended well");
	}
	die_usage(o, "'%s' is no hook; the hooks are main, standby, stop and alarm", argv[2]);
}
