/* SPDX-License-Identifier: ISC */
/*
 * The configuration file: opened and judged here, read by a throw-away parser in a sandbox of its
 * own, and every value that comes back is checked again.
 */
#include "config.h"

#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/source.h"

enum {
	ERRORS_MAX = 20,
	ERROR_SIZE = 1024,
	MESSAGES_MAX = 1000, /* a second: a whole config has fewer than a hundred */
};

/* One run of the parser. */
struct config_job {
	config_done *done;
	struct conf conf;
	struct channel channel;
	struct log_pipe log;
	uv_timer_t timer;
	pid_t pid;
	int reaped, status;
	int complete;	      /* CONF_DONE came */
	enum offence offence; /* it is killed for that */
	unsigned errors;
	char error[ERROR_SIZE];
};

static struct config_job *job; /* the one that is running */
static uint32_t generation;
static unsigned errors_logged; /* of the last run, line by line */

__attribute__((format(printf, 1, 2))) static void
set_error(const char *fmt, ...)
{
	va_list ap;

	if (job->error[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(job->error, sizeof(job->error), fmt, ap);
	va_end(ap);
}

/* Open the file if only root can have written it. Returns the fd or -1 with the error set. */
static int
open_config(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) != 0) {
		set_error("%s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		set_error("%s: not a regular file", path);
	} else if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		set_error(
		    "%s: must belong to root and be writable by nobody else (is uid %u, mode %04o)",
		    path, (unsigned)st.st_uid, (unsigned)(st.st_mode & 07777));
	} else if (st.st_size > SOURCE_MAX) {
		set_error("%s: %lld bytes, larger than the %d KiB that a config may have", path,
		    (long long)st.st_size, SOURCE_MAX / 1024);
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Its end follows; nobody starts it again before somebody asks for a reload. */
static void
offend(enum offence offence)
{
	unsigned n;

	if (job->offence != OFFENCE_NONE)
		return;
	job->offence = offence;
	n = process_offended(PROC_PARSER, offence);
	log_error("parser[%d] was killed because %s (offence %u)", (int)job->pid,
	    offence_text(offence), n);
}

static void
on_job_freed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Everything of the run goes; the caller is told. */
static void
finish(void)
{
	struct config_job *j = job;

	loop_detach_channel(&j->channel);
	channel_close(&j->channel);
	if (j->pid > 0 && !j->reaped) {
		kill(j->pid, SIGKILL);
		/* does not wait: it is dead or dying */
		while (waitpid(j->pid, &j->status, 0) < 0 && errno == EINTR)
			;
		if (!j->complete && WIFSIGNALED(j->status) && WTERMSIG(j->status) == SIGKILL)
			offend(OFFENCE_CLOSED); /* it would have lived on */
	}
	log_pipe_close(&j->log);
	errors_logged = j->errors;
	if (j->offence != OFFENCE_NONE)
		set_error("%s: the parser was killed because %s", sup.config_path,
		    offence_text(j->offence));
	if (!j->complete && j->error[0] == '\0') {
		char text[128];

		set_error("%s: the parser ended early: %s", sup.config_path,
		    exit_describe(j->status, text, sizeof(text)));
	}
	job = NULL;
	j->done(&j->conf, j->error[0] != '\0' ? j->error : NULL);
	uv_timer_stop(&j->timer);
	j->timer.data = j;
	uv_close((uv_handle_t *)&j->timer, on_job_freed);
}

/* The last message: what has come is a config, and the same one that the parser saw? */
static int
take_done(struct msg *m)
{
	uint8_t digest[16], own[16];
	char error[CONF_ERROR_TEXT];

	msg_get_bytes(m, digest, sizeof(digest));
	if (msg_end(m) != 0)
		return -1;
	conf_digest(&job->conf, own);
	memcpy(job->conf.digest, own, sizeof(own));
	if (memcmp(digest, own, sizeof(own)) != 0) {
		offend(OFFENCE_PROTOCOL);
		set_error("%s: the parser's digest differs from what it sent", sup.config_path);
	} else if (conf_check_all(&job->conf, error, sizeof(error)) != 0) {
		set_error("%s: %s", sup.config_path, error);
	}
	job->complete = 1;
	return 0;
}

static int
on_message(struct channel *c, struct msg *m)
{
	(void)c;
	if (job->complete)
		return -1;
	if (m->type == MSG_CONF_ERROR) {
		char text[CONF_ERROR_TEXT + 1];

		msg_get_text(m, text, sizeof(text));
		if (msg_end(m) != 0)
			return -1;
		if (job->errors++ < ERRORS_MAX)
			log_error("%s:%s", sup.config_path, text);
		set_error("%s:%s", sup.config_path, text);
		return 0;
	}
	if (m->type == MSG_CONF_DONE)
		return take_done(m);
	return conf_apply(&job->conf, m);
}

static void
on_closed(struct channel *c)
{
	char hex[2 * sizeof(c->violation_bytes) + 1];

	if (c->violation != V_NONE) {
		set_error("%s: the parser broke the protocol (%s): %s", sup.config_path,
		    violation_name(c->violation),
		    log_hex(hex, c->violation_bytes, c->violation_len));
		offend(c->violation == V_FLOOD ? OFFENCE_FLOOD : OFFENCE_PROTOCOL);
	}
	finish();
}

static void
on_timeout(uv_timer_t *timer)
{
	(void)timer;
	if (job->offence == OFFENCE_NONE)
		set_error(
		    "%s: the parser did not finish within %d s", sup.config_path, PARSER_MS / 1000);
	offend(OFFENCE_NOT_READY);
	finish();
}

/* Called from within the reading of its log: the end comes a moment later. */
static void
on_log_flood(enum process process)
{
	(void)process;
	if (job == NULL)
		return;
	offend(OFFENCE_LOG);
	uv_timer_start(&job->timer, on_timeout, 0, 0);
}

/* Start the parser. Returns 0 or -1 with the error set. */
static int
start_parser(uv_loop_t *loop)
{
	struct spawn s;
	int fds[2] = {-1, -1}, log_fd = -1, file = open_config(sup.config_path);

	if (file < 0)
		return -1;
	spawn_init(&s, PROC_PARSER);
	s.root_fd = sup.empty_fd >= 0 ? sup.empty_fd : files_temporary_root();
	if (s.root_fd < 0 || channel_pair(fds) != 0) {
		set_error("%s: cannot start the parser: %s", sup.config_path, strerror(errno));
	} else {
		s.generation = ++generation;
		s.uid = sup.uid[PROC_PARSER];
		s.gid = sup.gid[PROC_PARSER];
		s.fd[FD_NULL] = sup.null_fd;
		s.fd[FD_CONTROL] = fds[1];
		s.fd[FD_CONFIG] = file;
		job->pid = spawn_process(&s, &log_fd);
		close(fds[1]);
		if (job->pid < 0)
			set_error("%s: cannot start the parser", sup.config_path);
	}
	close(file);
	if (s.root_fd >= 0 && s.root_fd != sup.empty_fd)
		close(s.root_fd);
	if (job->pid < 0) {
		if (fds[0] >= 0)
			close(fds[0]);
		return -1;
	}
	channel_init(&job->channel, fds[0], PROC_SUPERVISOR, PROC_PARSER, on_message, NULL);
	job->channel.rate_max = MESSAGES_MAX;
	loop_attach_channel(loop, &job->channel, on_closed);
	log_pipe_open(&job->log, loop, log_fd, PROC_PARSER, job->pid, on_log_flood);
	return 0;
}

void
config_parse(uv_loop_t *loop, config_done *done)
{
	job = calloc(1, sizeof(*job));
	if (job == NULL)
		fatal("no memory for a config");
	job->done = done;
	job->pid = -1;
	job->log.fd = -1;
	job->channel.fd = -1;
	conf_defaults(&job->conf);
	uv_timer_init(loop, &job->timer);
	if (start_parser(loop) != 0) {
		job->complete = 1;
		finish();
		return;
	}
	uv_timer_start(&job->timer, on_timeout, PARSER_MS, 0);
}

int
config_reaped(pid_t pid, int status)
{
	if (job == NULL || job->pid != pid)
		return 0;
	job->reaped = 1;
	job->status = status;
	return 1;
}

unsigned
config_errors_logged(void)
{
	return errors_logged;
}

/* ---- at start-up and for -n */

static struct conf *now_conf;
static int now_result;

static void
on_done_now(const struct conf *c, const char *error)
{
	now_result = error == NULL ? 0 : -1;
	if (error == NULL)
		*now_conf = *c;
	else if (errors_logged == 0)
		log_error("%s", error);
}

int
config_parse_now(struct conf *c)
{
	uv_loop_t loop;

	loop_open(&loop);
	now_conf = c;
	config_parse(&loop, on_done_now);
	uv_run(&loop, UV_RUN_DEFAULT); /* ends when the job's handles are closed */
	uv_loop_close(&loop);
	return now_result;
}

/* ---- comparing: as the messages that would be sent, so that padding does not count */

static int
same_message(const struct msg *a, const struct msg *b)
{
	return a->len == b->len && memcmp(a->body, b->body, a->len) == 0;
}

static int
same_general(const struct conf *a, const struct conf *b)
{
	static struct msg x, y;

	msg_begin(&x, MSG_CONF_GENERAL);
	msg_begin(&y, MSG_CONF_GENERAL);
	conf_put_general(&x, &a->general);
	conf_put_general(&y, &b->general);
	return same_message(&x, &y);
}

typedef void put_element(struct msg *m, const struct conf *c, uint8_t index);

static void
put_server(struct msg *m, const struct conf *c, uint8_t i)
{
	msg_begin(m, MSG_CONF_SERVER);
	conf_put_server(m, i, &c->server[i]);
}

static void
put_reference(struct msg *m, const struct conf *c, uint8_t i)
{
	msg_begin(m, MSG_CONF_REFERENCE);
	conf_put_reference(m, i, &c->reference[i]);
}

static void
put_hook(struct msg *m, const struct conf *c, uint8_t i)
{
	msg_begin(m, MSG_CONF_HOOK);
	conf_put_hook(m, i, &c->hook[i]);
}

static void
put_check(struct msg *m, const struct conf *c, uint8_t i)
{
	msg_begin(m, MSG_CONF_CHECK);
	conf_put_check(m, i, &c->check[i]);
}

static int
same_list(const struct conf *a, const struct conf *b, put_element *put, uint8_t n)
{
	static struct msg x, y;

	for (uint8_t i = 0; i < n; i++) {
		put(&x, a, i);
		put(&y, b, i);
		if (!same_message(&x, &y))
			return 0;
	}
	return 1;
}

int
config_same(const struct conf *a, const struct conf *b)
{
	const struct conf_general *g = &a->general;

	/* the general part has the number of elements of each list */
	return same_general(a, b) && same_list(a, b, put_server, g->n_servers) &&
	       same_list(a, b, put_reference, g->n_references) &&
	       same_list(a, b, put_hook, HOOK_MAX) && same_list(a, b, put_check, g->n_checks);
}

static int
send_list(struct channel *to, const struct conf *c, put_element *put, uint8_t n)
{
	static struct msg m;

	for (uint8_t i = 0; i < n; i++) {
		put(&m, c, i);
		if (channel_send(to, &m) != 0)
			return -1;
	}
	return 0;
}

int
config_send(struct channel *to, const struct conf *c)
{
	static struct msg m;
	const struct conf_general *g = &c->general;

	msg_begin(&m, MSG_CONF_GENERAL);
	conf_put_general(&m, g);
	if (channel_send(to, &m) != 0)
		return -1;
	if (send_list(to, c, put_server, g->n_servers) != 0)
		return -1;
	if (to->peer != PROC_RUNNER && send_list(to, c, put_reference, g->n_references) != 0)
		return -1;
	if ((to->peer == PROC_RUNNER || to->peer == PROC_ROLED) &&
	    (send_list(to, c, put_hook, HOOK_MAX) != 0 ||
		send_list(to, c, put_check, g->n_checks) != 0))
		return -1;
	return 0;
}
