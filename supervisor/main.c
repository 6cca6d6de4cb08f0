/* SPDX-License-Identifier: ISC */
/*
 * bulkhead: the supervisor. Reads the config through the parser, opens what the others need, gives
 * up what it does not need, starts the children, and then acts on signals and messages.
 */
#include "config.h"

#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct supervisor sup = {
    .empty_fd = -1,
    .null_fd = -1,
    .state_fd = -1,
    .ledger_fd = -1,
    .admin_fd = -1,
    .key_status_fd = -1,
    .key_data_fd = -1,
};

static const int handled_signals[] = {SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGCHLD};
enum { N_SIGNALS = sizeof(handled_signals) / sizeof(handled_signals[0]) };

static uv_loop_t main_loop;
static uv_signal_t signals[N_SIGNALS];
static char config_path[PATH_MAX], libexec_path[PATH_MAX];
static int check_only;
static int up_fd = -1; /* pipe to the shell that waits until the daemon is up */
static int is_up;

static void
usage(void)
{
	fprintf(stderr, "usage: bulkhead [-dn] [-f config] [-x libexec] [--allow-degraded]\n"
			"       bulkhead --help | --version\n");
	exit(EXIT_USAGE);
}

static void
help(void)
{
	printf(
	    "usage: bulkhead [-dn] [-f config] [-x libexec] [--allow-degraded]\n\n"
	    "  -d                stay in the foreground and log to standard error\n"
	    "  -n                check the configuration file and exit\n"
	    "  -f config         configuration file\n"
	    "                    (default %s)\n"
	    "  -x libexec        folder of the programs of the other processes\n"
	    "                    (default %s)\n"
	    "  --allow-degraded  start also where a part of the sandbox is missing\n"
	    "  --help, --version\n\n"
	    "exit codes: 0 stopped in order or config good, 1 fatal error, 2 wrong usage or not\n"
	    "root, 78 config cannot be used, 110 no sandbox; see bulkhead(8)\n",
	    SYSCONFDIR "/bulkhead.conf", LIBEXECDIR);
	exit(EXIT_OK);
}

/* path made absolute, because a daemon changes its directory. */
static void
absolute(char *out, const char *path)
{
	char cwd[PATH_MAX] = "";
	int n;

	if (path[0] != '/' && getcwd(cwd, sizeof(cwd)) == NULL) {
		fprintf(stderr, "bulkhead: current directory: %s\n", strerror(errno));
		exit(EXIT_USAGE);
	}
	n = path[0] == '/' ? snprintf(out, PATH_MAX, "%s", path)
			   : snprintf(out, PATH_MAX, "%s/%s", cwd, path);
	if (n < 0 || n >= PATH_MAX) {
		fprintf(stderr, "bulkhead: path too long: %s\n", path);
		exit(EXIT_USAGE);
	}
	for (const char *s = out; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f) {
			fprintf(stderr, "bulkhead: control characters in a path\n");
			exit(EXIT_USAGE);
		}
	}
}

static void
parse_options(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"allow-degraded", no_argument, NULL, 'D'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	int c;

	absolute(config_path, SYSCONFDIR "/bulkhead.conf");
	absolute(libexec_path, LIBEXECDIR);
	while ((c = getopt_long(argc, argv, "df:nx:", longs, NULL)) != -1) {
		switch (c) {
		case 'd':
			sup.foreground = 1;
			break;
		case 'f':
			absolute(config_path, optarg);
			break;
		case 'n':
			check_only = 1;
			break;
		case 'x':
			absolute(libexec_path, optarg);
			break;
		case 'D':
			sup.degraded = 1;
			break;
		case 'h':
			help();
			break;
		case 'V':
			puts(PACKAGE_STRING);
			exit(EXIT_OK);
		default:
			usage();
		}
	}
	if (optind != argc) {
		fprintf(stderr, "bulkhead: unexpected argument '%s'\n", argv[optind]);
		usage();
	}
	sup.config_path = config_path;
	sup.libexec = libexec_path;
}

/* Nothing of the caller's environment matters, reaches a child, or can be read in /proc. */
static void
clean_process(void)
{
	static char *no_environment[] = {NULL};
	int fd;

	for (char **e = environ; *e != NULL; e++)
		memset(*e, 0, strlen(*e));
	environ = no_environment;
	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			exit(EXIT_FATAL);
	} while (fd <= STDERR_FILENO); /* 0, 1 and 2 exist from now on */
	close(fd);
	if (syscall(SYS_close_range, STDERR_FILENO + 1U, ~0U, 0U) != 0)
		exit(EXIT_FATAL);
	umask(022);
	signal(SIGPIPE, SIG_IGN);
	/* a guard that stands still under a terminal is no guard */
	signal(SIGTSTP, SIG_IGN);
	signal(SIGTTIN, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	/* until the loop has its handlers: one that comes during the start must not end it */
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	if (chdir("/") != 0)
		exit(EXIT_FATAL);
}

/* The shell waits here until the daemon is up or has failed. */
static _Noreturn void
wait_until_up(int fd)
{
	uint8_t code = EXIT_FATAL;

	while (read(fd, &code, 1) < 0 && errno == EINTR)
		;
	_exit(code);
}

/* Into the background; errors of the start still go to stderr. */
static void
daemonize(void)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		log_error("cannot become a daemon: %s (processes or open files of this machine "
			  "used up?); -d stays in the foreground",
		    strerror(errno));
		exit(EXIT_FATAL);
	}
	if (pid > 0) {
		close(fds[1]);
		wait_until_up(fds[0]);
	}
	close(fds[0]);
	up_fd = fds[1];
	setsid();
}

/* Tell the waiting shell, once. */
static void
tell_shell(int code)
{
	uint8_t byte = (uint8_t)code;

	if (up_fd < 0)
		return;
	if (write(up_fd, &byte, 1) < 0)
		log_warn("who started us has not waited for the result: %s", strerror(errno));
	close(up_fd);
	up_fd = -1;
}

void
supervisor_is_up(void)
{
	int fd;

	if (is_up)
		return;
	is_up = 1;
	log_info("up: %s of group %s, config %s%s", sup.conf.server[sup.conf.general.self].name,
	    sup.conf.general.group, sup.config_path,
	    sup.degraded ? ", DEGRADED sandbox allowed" : "");
	if (sandbox_reports())
		log_warn("DEGRADED: this build is for tests, its seccomp filters only report; "
			 "configure without --enable-sanitizers for one that confines");
	if (sup.foreground)
		return;
	tell_shell(EXIT_OK);
	logger_detach();
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i <= STDERR_FILENO && fd >= 0; i++)
		dup2(fd, i);
	if (fd >= 0)
		close(fd);
}

void
supervisor_give_up(int exit_code)
{
	processes_stop_now(exit_code);
}

void
supervisor_end(int exit_code)
{
	actions_stop_runner();
	files_remove();
	log_info("stopped");
	tell_shell(exit_code);
	_exit(exit_code);
}

/* Every signal that is registered has its case here. */
static void
on_signal(uv_signal_t *handle, int signo)
{
	static struct msg m;

	(void)handle;
	switch (signo) {
	case SIGHUP:
		reload_request();
		break;
	case SIGTERM:
	case SIGINT:
		if (sup.stopping) {
			log_warn("%s again: stopping now", signo == SIGTERM ? "SIGTERM" : "SIGINT");
			processes_stop_now(sup.exit_code);
		} else {
			log_info("%s: stopping", signo == SIGTERM ? "SIGTERM" : "SIGINT");
			processes_stop(EXIT_OK);
		}
		break;
	case SIGUSR1:
		log_info("state: config %s, serial %llu", sup.config_path,
		    (unsigned long long)reload_serial());
		sockets_dump();
		processes_dump();
		break;
	case SIGUSR2:
		log_info("SIGUSR2: planned switchover asked for");
		msg_begin(&m, MSG_SWITCHOVER);
		proc_send(proc_of(PROC_ROLED), &m);
		break;
	case SIGCHLD:
		processes_reap();
		break;
	default:
		break;
	}
}

static void
start_loop(void)
{
	sup.loop = &main_loop;
	loop_open(sup.loop);
	for (int i = 0; i < N_SIGNALS; i++) {
		uv_signal_init(sup.loop, &signals[i]);
		uv_signal_start(&signals[i], on_signal, handled_signals[i]);
	}
}

/* Say which program of a hook or check cannot be run; it may still be installed. */
static void
warn_of_command(const char *what, const char *name, const char *command)
{
	char path[CONF_COMMAND];

	snprintf(path, sizeof(path), "%.*s", (int)strcspn(command, " \t"), command);
	if (path[0] != '\0' && access(path, X_OK) != 0)
		log_warn("%s: %s%s: %s cannot be run: %s", sup.config_path, what, name, path,
		    strerror(errno));
}

static void
warn_of_commands(const struct conf *c)
{
	for (unsigned i = 0; i < HOOK_MAX; i++)
		warn_of_command("hook.", hook_name(i), c->hook[i].command);
	for (unsigned i = 0; i < c->general.n_checks; i++)
		warn_of_command("check ", c->check[i].name, c->check[i].command);
}

/* Config, files, sockets: all that can be wrong on this machine. Returns an exit code. */
static int
prepare(void)
{
	char error[CONF_ERROR_TEXT];

	if (config_parse_now(&sup.conf) != 0)
		return EXIT_CONFIG;
	warn_of_commands(&sup.conf);
	if (spawn_find_users(&sup.conf) != 0)
		return EXIT_CONFIG;
	if (check_only)
		return EXIT_OK;
	if (files_open(&sup.conf) != 0)
		return EXIT_CONFIG;
	if (sockets_prepare(&sup.conf, 1, error, sizeof(error)) != 0) {
		log_error("%s", error);
		return EXIT_CONFIG;
	}
	sockets_decide(1);
	return EXIT_OK;
}

/* Give up what is not needed from here on. Returns 0 or -1. */
static int
confine(void)
{
	if (sandbox_limit_supervisor() != 0 || sandbox_enter_supervisor(sup.degraded) != 0) {
		log_error("cannot confine the supervisor itself: %s%s", strerror(errno),
		    errno == ENOSYS ? "; this kernel has no seccomp filters, --allow-degraded goes "
				      "on without"
				    : "; it needs its root powers: check what starts it");
		return -1;
	}
	return 0;
}

static int
open_basics(void)
{
	sup.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (sup.null_fd < 0 ||
	    getrandom(&sup.instance, sizeof(sup.instance), 0) != sizeof(sup.instance)) {
		log_error("cannot open /dev/null or get random bytes: %s; both must work for a "
			  "start",
		    strerror(errno));
		return -1;
	}
	(void)sandbox_killrecord_open(); /* for the log only */
	if (sandbox_stage0_prepare() != 0) {
		log_error("cannot prepare the first filter of the children: %s (memory of this "
			  "machine used up?)",
		    strerror(errno));
		return -1;
	}
	return 0;
}

static _Noreturn void
fail(int code)
{
	actions_stop_runner();
	files_remove();
	tell_shell(code);
	_exit(code);
}

int
main(int argc, char **argv)
{
	int code;

	sup.started_ms = now_ms();
	parse_options(argc, argv);
	clean_process();
	logger_init(sup.foreground || check_only);
	if (geteuid() != 0) {
		log_error(
		    "must be started as root, by a service manager or with sudo: every process "
		    "gets a user of its own");
		return EXIT_USAGE;
	}
	if (!sup.foreground && !check_only)
		daemonize();
	if (!check_only && actions_start_runner() != 0)
		fail(EXIT_FATAL);
	if (open_basics() != 0 || spawn_find_users(NULL) != 0)
		fail(EXIT_SANDBOX);
	if (spawn_check_programs(check_only) != 0)
		fail(EXIT_CONFIG);
	code = prepare();
	if (code != EXIT_OK)
		fail(code);
	if (check_only) {
		printf("%s: ok\n", sup.config_path);
		return EXIT_OK;
	}
	start_loop();
	if (confine() != 0)
		fail(EXIT_SANDBOX);
	if (sup.conf.general.realtime)
		realtime_self();
	actions_attach();
	actions_send_config(&sup.conf);
	processes_start();
	uv_run(sup.loop, UV_RUN_DEFAULT);
	supervisor_end(sup.exit_code);
}
