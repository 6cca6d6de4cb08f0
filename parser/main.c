/* SPDX-License-Identifier: ISC */
/*
 * The throw-away process that parses bulkhead.conf(5).
 *
 * Takes copies of the system's files, gives up its rights, takes a copy of the config, enters the
 * sandbox, and only then looks at any of it. Sends the config, or the one line that is wrong with
 * it, and ends.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "../lib/channel.h"
#include "../lib/conf.h"
#include "../lib/log.h"
#include "../lib/source.h"
#include "../policy/sandbox.h"
#include "file.h"
#include "lookup.h"

static char passwd[LOOKUP_MAX + 1], group[LOOKUP_MAX + 1], hosts[LOOKUP_MAX + 1];
static char inet6[64 * 1024 + 1];
static char text[SOURCE_MAX + 2]; /* one byte more than allowed, to see that there is one */
static struct utsname host;
static struct conf conf;

/* No file is a terminal here: flex would ask with an ioctl that the sandbox does not allow. */
int
isatty(int fd)
{
	(void)fd;
	errno = ENOTTY;
	return 0;
}

/* Up to size - 1 bytes of fd and a NUL. Returns their number, or -1. */
static ssize_t
slurp_fd(int fd, char *buf, size_t size)
{
	size_t len = 0;

	while (len < size - 1) {
		ssize_t n = read(fd, buf + len, size - 1 - len);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
	return (ssize_t)len;
}

/* A file that may be missing. Nothing is understood yet: these bytes are parsed in the sandbox. */
static void
slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	buf[0] = '\0';
	if (fd == -1)
		return;
	if (slurp_fd(fd, buf, size) == -1)
		buf[0] = '\0';
	close(fd);
}

/* The interfaces of the supervisor's network namespace; ours is empty. */
static void
slurp_interfaces(pid_t supervisor)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/net/if_inet6", (long)supervisor);
	slurp(path, inet6, sizeof(inet6));
}

/* The supervisor sends nothing here. */
static int
on_message(struct channel *c, struct msg *m)
{
	(void)c;
	(void)m;
	return -1;
}

static void
send_message(struct channel *c, struct msg *m)
{
	if (channel_send(c, m) == -1)
		_exit(EXIT_CHANNEL);
}

static void
send_lists(struct channel *c)
{
	static struct msg m;

	for (uint8_t i = 0; i < conf.general.n_servers; i++) {
		msg_begin(&m, MSG_CONF_SERVER);
		conf_put_server(&m, i, &conf.server[i]);
		send_message(c, &m);
	}
	for (uint8_t i = 0; i < conf.general.n_references; i++) {
		msg_begin(&m, MSG_CONF_REFERENCE);
		conf_put_reference(&m, i, &conf.reference[i]);
		send_message(c, &m);
	}
	for (uint8_t i = 0; i < HOOK_MAX; i++) {
		msg_begin(&m, MSG_CONF_HOOK);
		conf_put_hook(&m, i, &conf.hook[i]);
		send_message(c, &m);
	}
	for (uint8_t i = 0; i < conf.general.n_checks; i++) {
		msg_begin(&m, MSG_CONF_CHECK);
		conf_put_check(&m, i, &conf.check[i]);
		send_message(c, &m);
	}
}

static void
send_conf(struct channel *c)
{
	static struct msg m;
	uint8_t digest[sizeof(conf.digest)];

	msg_begin(&m, MSG_CONF_GENERAL);
	conf_put_general(&m, &conf.general);
	send_message(c, &m);
	send_lists(c);
	conf_digest(&conf, digest);
	msg_begin(&m, MSG_CONF_DONE);
	msg_put_bytes(&m, digest, sizeof(digest));
	send_message(c, &m);
}

static void
send_error(struct channel *c, const char *error)
{
	char visible[4 * CONF_ERROR_TEXT];
	static struct msg m;
	size_t n = strlen(error);

	log_vis(visible, sizeof(visible), error, n);
	n = strlen(visible);
	msg_begin(&m, MSG_CONF_ERROR);
	msg_put_bytes(&m, visible, n < CONF_ERROR_TEXT ? n : CONF_ERROR_TEXT - 1);
	send_message(c, &m);
}

/* Until the last message is in the socket; the supervisor reads, or ends this process. */
static void
flush(struct channel *c)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; c->head != NULL && i < 2000; i++) {
		if (channel_flush(c) == -1)
			_exit(EXIT_CHANNEL);
		if (c->head != NULL)
			(void)nanosleep(&pause, NULL);
	}
	if (c->head != NULL)
		fatal("the supervisor does not read");
}

/* What is said about a config that could not be read as a whole; NULL when it was. */
static const char *
read_config(ssize_t *len)
{
	*len = slurp_fd(FD_CONFIG, text, sizeof(text));
	if (*len == -1)
		return "1: the file cannot be read";
	if (*len > SOURCE_MAX)
		return "1: the file is larger than 256 KiB";
	return NULL;
}

int
main(int argc, char **argv)
{
	static char error[CONF_ERROR_TEXT];
	struct lookup lookup = {.passwd = passwd,
	    .group = group,
	    .hosts = hosts,
	    .inet6 = inet6,
	    .host = host.nodename};
	struct sandbox_args args;
	struct channel control;
	const char *unreadable;
	ssize_t len;

	if (sandbox_parse_args(argc, argv, &args) == -1 || args.process != PROC_PARSER)
		return EXIT_USAGE;
	log_to_fd(FD_LOG);
	slurp("/etc/passwd", passwd, sizeof(passwd));
	slurp("/etc/group", group, sizeof(group));
	slurp("/etc/hosts", hosts, sizeof(hosts));
	slurp_interfaces(args.supervisor);
	(void)uname(&host);

	sandbox_drop(&args);
	if (sodium_init() == -1)
		fatal("libsodium cannot be used");
	channel_init(&control, FD_CONTROL, PROC_PARSER, PROC_SUPERVISOR, on_message, NULL);
	control.essential = 1;
	unreadable = read_config(&len);
	(void)sandbox_enter(&args);

	if (unreadable != NULL)
		send_error(&control, unreadable);
	else if (file_parse(text, (size_t)len, &lookup, &conf, error, sizeof(error)) == -1)
		send_error(&control, error);
	else
		send_conf(&control);
	flush(&control);
	_exit(EXIT_OK);
}
