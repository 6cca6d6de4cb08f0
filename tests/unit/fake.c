/* SPDX-License-Identifier: ISC */
/*
 * A child on its own; see fake.h.
 */
#include "config.h"

#include "fake.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "policy/roles.h"
#include "policy/sandbox.h"

enum { FAKE_UID = 64123, HIGH_FD = 200 };

static int keep(struct channel *c, struct msg *m);

int
fake_can_run(void)
{
	if (geteuid() == 0)
		return 1;
	fprintf(stderr, "the sandbox is entered as root: skipped\n");
	return 0;
}

/* In the child: descriptors as in policy/roles.h, the empty folder, then the program. */
static void
run_child(enum process process, int control, int roled, int syncd, int log, const char *empty,
    unsigned nofile)
{
	char path[4096], uid[16], parent[16];
	const char *dir = getenv("BH_LIBEXEC");
	int null = open("/dev/null", O_RDWR), from[16];
	struct rlimit rl = {nofile, nofile};

	snprintf(path, sizeof(path), "%s/%s", dir != NULL ? dir : "libexec", process_name(process));
	snprintf(uid, sizeof(uid), "%d", FAKE_UID);
	snprintf(parent, sizeof(parent), "%d", (int)getppid());
	for (int i = 0; i < 16; i++)
		from[i] = -1;
	from[FD_NULL] = fcntl(null, F_DUPFD_CLOEXEC, HIGH_FD);
	from[FD_LOG] = from[FD_LOG + 1] = fcntl(log, F_DUPFD_CLOEXEC, HIGH_FD);
	from[FD_CONTROL] = fcntl(control, F_DUPFD_CLOEXEC, HIGH_FD);
	from[FD_EDGE(PROC_ROLED)] = fcntl(roled, F_DUPFD_CLOEXEC, HIGH_FD);
	from[FD_EDGE(PROC_SYNCD)] = fcntl(syncd, F_DUPFD_CLOEXEC, HIGH_FD);
	for (int i = 0; i < HIGH_FD; i++)
		close(i);
	for (int i = 0; i < 16; i++) {
		if (from[i] >= 0)
			dup2(from[i], i);
	}
	if (nofile > 0)
		setrlimit(RLIMIT_NOFILE, &rl);
	/* relative to the build tree, so before the change of folder; the descriptor outlives it */
	int exe = open(path, O_PATH | O_CLOEXEC);
	char *argv[] = {(char *)(uintptr_t)process_name(process),
	    (char *)(uintptr_t)process_name(process), "1", uid, uid, parent, "0", NULL};
	char *env[] = {NULL};

	if (chdir(empty) == 0)
		fexecve(exe, argv, env);
	_exit(99);
}

void
fake_start(struct fake *f, enum process process, unsigned nofile)
{
	char empty[] = "/tmp/bulkhead-empty-XXXXXX";
	int control[2], roled[2], syncd[2];
	struct msg *ready;

	memset(f, 0, sizeof(*f));
	f->process = process;
	f->log = memfd_create("log", MFD_CLOEXEC);
	assert_non_null(mkdtemp(empty));
	assert_int_equal(chmod(empty, 0555), 0);
	assert_int_equal(channel_pair(control), 0);
	assert_int_equal(channel_pair(roled), 0);
	assert_int_equal(channel_pair(syncd), 0);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0)
		run_child(process, control[1], roled[1], syncd[1], f->log, empty, nofile);
	close(control[1]);
	close(roled[1]);
	close(syncd[1]);
	f->syncd = syncd[0];
	channel_init(&f->control, control[0], PROC_SUPERVISOR, process, keep, f);
	channel_init(&f->roled, roled[0], PROC_ROLED, process, keep, f);
	ready = fake_expect(f, MSG_READY, 5000);
	rmdir(empty);
	if (ready == NULL)
		(void)fake_log_count(f, "");
	assert_non_null(ready);
	fake_free(ready);
	f->control.state = S_RUN;
	f->roled.state = S_RUN;
}

void
fake_conf(struct conf *conf, unsigned n, uint16_t port)
{
	conf_defaults(conf);
	snprintf(conf->general.group, sizeof(conf->general.group), "test");
	conf->general.n_servers = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		struct conf_server *s = &conf->server[i];

		snprintf(s->name, sizeof(s->name), "server-%u", i);
		s->n_paths = 1;
		s->path[0].family = AF_INET;
		s->path[0].bytes[0] = 127;
		s->path[0].bytes[3] = (uint8_t)(1 + i);
		s->port = port;
		memset(s->key_status, (int)(0x10 + i), sizeof(s->key_status));
		memset(s->key_data, (int)(0x40 + i), sizeof(s->key_data));
	}
}

void
fake_send(struct fake *f, struct channel *c, struct msg *m)
{
	(void)f;
	assert_int_equal(channel_send(c, m), 0);
}

static void
send_serial(struct fake *f, enum message_type type)
{
	struct msg m;

	msg_begin(&m, type);
	msg_put_u64(&m, f->serial);
	fake_send(f, &f->control, &m);
}

void
fake_configure(struct fake *f, const struct conf *conf)
{
	struct msg m, *answer;

	msg_begin(&m, MSG_CONF_GENERAL);
	conf_put_general(&m, &conf->general);
	fake_send(f, &f->control, &m);
	for (uint8_t i = 0; i < conf->general.n_servers; i++) {
		msg_begin(&m, MSG_CONF_SERVER);
		conf_put_server(&m, i, &conf->server[i]);
		fake_send(f, &f->control, &m);
	}
	f->serial++;
	channel_permit(&f->control, MSG_PREPARED);
	channel_permit(&f->control, MSG_REFUSED);
	send_serial(f, MSG_PREPARE);
	answer = fake_expect(f, MSG_PREPARED, 2000);
	assert_non_null(answer);
	fake_free(answer);
	send_serial(f, MSG_COMMIT);
}

/* Handler of both channels: into the inbox. */
static int
keep(struct channel *c, struct msg *m)
{
	struct fake *f = c->user;
	struct msg *copy = malloc(sizeof(*copy));

	assert_non_null(copy);
	assert_true(f->n_inbox < FAKE_INBOX);
	*copy = *m;
	(void)msg_take_fd(m);
	f->inbox[f->n_inbox++] = copy;
	return 0;
}

static void
read_channel(struct channel *c)
{
	if (channel_read(c) >= 0)
		return;
	if (c->violation != V_NONE)
		fail_msg("the child broke the protocol: %s", violation_name(c->violation));
	channel_close(c);
}

void
fake_poll(struct fake *f, int ms)
{
	struct pollfd p[2] = {
	    {.fd = f->control.fd, .events = POLLIN}, {.fd = f->roled.fd, .events = POLLIN}};

	if (poll(p, 2, ms) <= 0)
		return;
	if (p[0].revents)
		read_channel(&f->control);
	if (p[1].revents)
		read_channel(&f->roled);
}

struct msg *
fake_expect(struct fake *f, enum message_type type, int ms)
{
	int64_t end = now_ms() + ms;

	for (;;) {
		int64_t left;

		for (size_t i = 0; i < f->n_inbox; i++) {
			struct msg *m = f->inbox[i];

			if (m->type != type)
				continue;
			f->n_inbox--;
			memmove(&f->inbox[i], &f->inbox[i + 1], (f->n_inbox - i) * sizeof(m));
			return m;
		}
		left = end - now_ms();
		if (left <= 0 || (f->control.fd < 0 && f->roled.fd < 0))
			return NULL;
		fake_poll(f, (int)left);
	}
}

void
fake_free(struct msg *m)
{
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

static void
empty_inbox(struct fake *f)
{
	while (f->n_inbox > 0)
		fake_free(f->inbox[--f->n_inbox]);
}

void
fake_new_roled(struct fake *f)
{
	struct msg m;
	int fds[2];

	channel_close(&f->roled);
	empty_inbox(f);
	assert_int_equal(channel_pair(fds), 0);
	channel_init(&f->roled, fds[0], PROC_ROLED, f->process, keep, f);
	f->roled.state = S_RUN;
	msg_begin(&m, MSG_PEER);
	msg_put_u8(&m, PROC_ROLED);
	msg_put_u8(&m, 0);
	msg_put_fd(&m, fds[1]);
	fake_send(f, &f->control, &m);
	close(fds[1]);
}

int
fake_wait_end(struct fake *f, int ms)
{
	int64_t end = now_ms() + ms;

	while (f->pid > 0) {
		pid_t r = waitpid(f->pid, &f->status, WNOHANG);

		if (r == f->pid)
			f->pid = 0;
		else if (now_ms() > end)
			return -1;
		else
			fake_poll(f, 1);
	}
	return f->status;
}

/* The log so far, NUL-terminated; to be freed. */
static char *
read_log(struct fake *f)
{
	off_t size = lseek(f->log, 0, SEEK_END);
	char *text = malloc((size_t)size + 1);

	assert_non_null(text);
	assert_int_equal(pread(f->log, text, (size_t)size, 0), size);
	text[size] = '\0';
	return text;
}

unsigned
fake_log_count(struct fake *f, const char *needle)
{
	char *text = read_log(f);
	unsigned n = 0;

	if (*needle == '\0')
		fprintf(stderr, "---- log of %s\n%s----\n", process_name(f->process), text);
	for (char *p = text; *needle != '\0' && (p = strstr(p, needle)) != NULL; p++)
		n++;
	free(text);
	return n;
}

void
fake_stop(struct fake *f)
{
	char what[128];
	int by_us = 0;

	if (f->pid > 0 && waitpid(f->pid, &f->status, WNOHANG) == f->pid)
		f->pid = 0;
	if (f->pid > 0) {
		by_us = 1;
		kill(f->pid, SIGKILL);
		waitpid(f->pid, &f->status, 0);
		f->pid = 0;
	}
	channel_close(&f->control);
	close(f->syncd);
	channel_close(&f->roled);
	empty_inbox(f);
	if (getenv("FAKE_LOG") != NULL || fake_log_count(f, "ERROR: ") > 0)
		(void)fake_log_count(f, "");
	assert_int_equal(fake_log_count(f, "ERROR: "), 0);
	if (!by_us && !WIFEXITED(f->status))
		fail_msg("%s: %s", process_name(f->process),
		    exit_describe(f->status, what, sizeof(what)));
	if (!by_us && WEXITSTATUS(f->status) == EXIT_SIGSYS)
		fail_msg("%s made a call outside its promises", process_name(f->process));
	close(f->log);
}
