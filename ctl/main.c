/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl: asks the running daemon, and makes keys. See bulkheadctl(8).
 */
#include "config.h"

#include "ctl.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/nearest.h"

struct command {
	const char *name;
	int (*run)(const struct options *o, int argc, char **argv);
	unsigned needs; /* of the config file */
	const char *arguments;
	const char *text;
};

static const struct command commands[] = {
    {"status", cmd_status, NEEDS_SOCKET, "", "what this server is, sees and does"},
    {"explain", cmd_explain, NEEDS_SOCKET, "[EVENT]",
	"why it has its role, or why it decided so, with the evidence"},
    {"events", cmd_events, NEEDS_SOCKET, "[-n N] [--decisions] [--follow]",
	"the decision ledger, oldest first"},
    {"data", cmd_data, NEEDS_SOCKET, "",
	"the replicated data: where each server is, and what would be lost"},
    {"init", cmd_init, NEEDS_SOCKET, "[--replace none]",
	"begin the data of the group on this server, once per group"},
    {"bundle", cmd_bundle, NEEDS_STATE | NEEDS_SOCKET,
	"list | show BUNDLE | export BUNDLE FILE | apply BUNDLE | discard BUNDLE --confirm",
	"changes that this server made as main and that the group does not have"},
    {"snapshot", cmd_snapshot, NEEDS_SOCKET, "save FILE | show FILE | restore FILE [--replace OLD]",
	"a copy of the data in a file, and back; OLD gets what was there, none loses it"},
    {"switchover", cmd_switchover, NEEDS_SOCKET, "[SERVER]",
	"hand the role of main over to a ready standby"},
    {"promote", cmd_promote, NEEDS_SOCKET, "--confirm SERVER",
	"become main; you confirm that SERVER, the old main, is dead"},
    {"pause", cmd_pause, NEEDS_SOCKET, "--reason TEXT [--for TIME] [--owner NAME]",
	"change no role by itself until the time is over (4h when not given)"},
    {"resume", cmd_resume, NEEDS_SOCKET, "", "end a pause"},
    {"reload", cmd_reload, NEEDS_SOCKET, "", "check the configuration file and put it into force"},
    {"ports", cmd_ports, NEEDS_SOCKET, "", "who opens which port to whom"},
    {"firewall", cmd_firewall, NEEDS_SOCKET, "[--strict]", "nftables rules of this server"},
    {"check", cmd_check, NEEDS_SOCKET, "",
	"for monitoring: exit code 0 ok, 1 warning, 2 critical, 3 unknown"},
    {"drill", cmd_drill, 0, "[-x DIRECTORY]",
	"try to break out of the sandboxes on this machine; 0 when everything was denied"},
    {"key", cmd_key, NEEDS_STATE, "", "the public identity of this server"},
    {"keygen", cmd_keygen, NEEDS_STATE, "[--force]", "make the keys of this server"},
    {"hook", cmd_hook, NEEDS_SOCKET, "test KIND",
	"run a hook with BULKHEAD_TEST=1: main, standby, stop or alarm"},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Prefer the plugin's answer to a check that fails in any way. */
static int running_check;

void
die(int code, const char *fmt, ...)
{
	va_list ap;

	(void)fflush(stdout);
	va_start(ap, fmt);
	if (running_check) {
		printf("UNKNOWN - ");
		vprintf(fmt, ap);
		putchar('\n');
		(void)fflush(stdout);
		code = CHECK_UNKNOWN;
	} else {
		fprintf(stderr, "bulkheadctl: ");
		vfprintf(stderr, fmt, ap);
		fputc('\n', stderr);
	}
	va_end(ap);
	exit(code);
}

void
die_usage(const struct options *o, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clean_text(text);
	for (size_t i = 0; i < COUNT(commands); i++) {
		if (o->command != NULL && strcmp(o->command, commands[i].name) == 0)
			die(CTL_EXIT_USAGE, "%s: %s; usage: bulkheadctl %s%s%s", o->command, text,
			    commands[i].name, commands[i].arguments[0] != '\0' ? " " : "",
			    commands[i].arguments);
	}
	die(CTL_EXIT_USAGE, "%s; bulkheadctl --help lists the commands", text);
}

static void
help(void)
{
	printf("usage: bulkheadctl [--json] [-f CONFIG] [--socket PATH] [--state DIR] COMMAND\n\n");
	for (size_t i = 0; i < COUNT(commands); i++)
		printf("  %s%s%s\n      %s\n", commands[i].name,
		    commands[i].arguments[0] != '\0' ? " " : "", commands[i].arguments,
		    commands[i].text);
	printf("\n  -f CONFIG      find the daemon and its files by this file (default " SYSCONFDIR
	       "/bulkhead.conf)\n"
	       "  --socket PATH  socket of the daemon\n"
	       "  --state DIR    directory of the keys\n"
	       "  --json         answer as JSON\n"
	       "  --version      print the version\n"
	       "\nexit codes: 0 ok, 1 refused or failed, 2 wrong usage, 3 no answer of the daemon, "
	       "4 the "
	       "answer is stale\n");
}

static void
copy_path(const struct options *o, const char *option, char to[CONF_COMMAND], const char *path)
{
	if (path[0] == '\0' || strlen(path) >= CONF_COMMAND)
		die_usage(o, "%s: expected a path of at most %d bytes", option, CONF_COMMAND - 1);
	snprintf(to, CONF_COMMAND, "%s", path);
}

/* Options before the command. */
static void
read_options(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'},
	    {"socket", required_argument, NULL, 's'}, {"state", required_argument, NULL, 'S'},
	    {"config", required_argument, NULL, 'f'}, {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'v'}, {NULL, 0, NULL, 0}};
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+:f:h", longs, NULL)) != -1) {
		switch (opt) {
		case 'f':
			o->config = optarg;
			break;
		case 'j':
			o->json = 1;
			break;
		case 's':
			copy_path(o, "--socket", o->socket, optarg);
			break;
		case 'S':
			copy_path(o, "--state", o->state_dir, optarg);
			break;
		case 'h':
			help();
			exit(CTL_EXIT_OK);
		case 'v':
			printf("bulkheadctl %s\n", PACKAGE_VERSION);
			exit(CTL_EXIT_OK);
		default:
			die_usage(o, "unknown option or missing value: %s", argv[optind - 1]);
		}
	}
}

static const struct command *
find_command(const struct options *o, const char *name)
{
	struct nearest near = {0};

	for (size_t i = 0; i < COUNT(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
		nearest_offer(&near, name, commands[i].name);
	}
	if (near.best != NULL)
		die_usage(o, "unknown command '%.40s'; did you mean '%s'?", name, near.best);
	die_usage(o, "unknown command '%.40s'", name);
}

/* --json and --help are taken behind the command, too; the others belong to the command. */
static int
take_common(struct options *o, const struct command *c, int argc, char **argv)
{
	int n = 1;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			printf("usage: bulkheadctl %s %s\n  %s\n", c->name, c->arguments, c->text);
			exit(CTL_EXIT_OK);
		}
		if (strcmp(argv[i], "--json") == 0)
			o->json = 1;
		else
			argv[n++] = argv[i];
	}
	argv[n] = NULL;
	return n;
}

int
main(int argc, char **argv)
{
	struct options o = {0};
	const struct command *c;
	int n, code;

	signal(SIGPIPE, SIG_IGN);
	read_options(&o, argc, argv);
	if (optind >= argc)
		die_usage(&o, "a command is missing");
	argc -= optind;
	argv += optind;
	c = find_command(&o, argv[0]);
	o.command = c->name;
	running_check = c->run == cmd_check;
	n = take_common(&o, c, argc, argv);
	find_options(&o, c->needs);
	code = c->run(&o, n, argv);
	if (fflush(stdout) != 0 || ferror(stdout))
		die(CTL_EXIT_FAILED, "cannot write the answer");
	return code;
}
