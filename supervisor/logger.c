/* SPDX-License-Identifier: ISC */
/*
 * The log of the whole guard: lines of the supervisor, and lines of the children from their pipes.
 * Writing never blocks the supervisor: a reader of stderr or a system logger that is stuck costs
 * lines, which are counted, never a role.
 */
#include "config.h"

#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum {
	PIPE_BURST = 200, /* lines of a child at once, and per second */
	PIPE_RATE = 50,
	/* it bounds the output of each hook itself, and must not lose its own lines */
	RUNNER_FACTOR = 10,
	PIPE_BUDGET = 16,
};

/* Where lines go. A write returns 0, or -1 when the line is lost. */
typedef int sink_write(enum log_level level, const char *name, pid_t pid, const char *text);
static sink_write write_stderr, write_syslog;
static struct sink {
	sink_write *write;
	int on;
	uint64_t lost;
} sinks[] = {{write_stderr, 1, 0}, {write_syslog, 0, 0}};
enum { SINK_STDERR, SINK_SYSLOG, N_SINKS };
static int syslog_fd = -1;

static const char *const level_names[LOG_L_MAX] = {"error", "warning", "info", "debug"};

static int
write_stderr(enum log_level level, const char *name, pid_t pid, const char *text)
{
	struct pollfd pfd = {.fd = STDERR_FILENO, .events = POLLOUT};
	char line[3 * LOG_LINE_MAX], when[32];
	struct timespec ts;
	struct tm tm;
	int n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	n = snprintf(line, sizeof(line), "%s.%03ldZ %s[%d] %s: %s\n", when, ts.tv_nsec / 1000000,
	    name, (int)pid, level_names[level], text);
	if (n < 0)
		return -1;
	if ((size_t)n >= sizeof(line)) {
		n = sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	/*
	 * a pipe is writable when PIPE_BUF bytes fit, and a line is shorter: this write waits for
	 * nobody
	 */
	return poll(&pfd, 1, 0) == 1 && write(STDERR_FILENO, line, (size_t)n) >= 0 ? 0 : -1;
}

/* One datagram to the system logger; syslog(3) would wait for a logger that is stuck. */
static int
write_syslog(enum log_level level, const char *name, pid_t pid, const char *text)
{
	static const int priority[LOG_L_MAX] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	char line[3 * LOG_LINE_MAX];
	int n;

	if (syslog_fd < 0) {
		syslog_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (syslog_fd >= 0 &&
		    connect(syslog_fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
			close(syslog_fd);
			syslog_fd = -1;
		}
	}
	n = snprintf(line, sizeof(line), "<%d>bulkhead[%d]: %s[%d] %s",
	    LOG_DAEMON | priority[level], (int)getpid(), name, (int)pid, text);
	if (n < 0 || syslog_fd < 0)
		return -1;
	if ((size_t)n >= sizeof(line))
		n = sizeof(line) - 1;
	if (send(syslog_fd, line, (size_t)n, MSG_NOSIGNAL) >= 0)
		return 0;
	if (errno != EAGAIN && errno != EMSGSIZE) { /* the logger was restarted */
		close(syslog_fd);
		syslog_fd = -1;
	}
	return -1;
}

static void
write_line(enum log_level level, const char *name, pid_t pid, const char *text)
{
	char note[64];

	for (int i = 0; i < N_SINKS; i++) {
		struct sink *s = &sinks[i];

		if (!s->on)
			continue;
		snprintf(
		    note, sizeof(note), "%llu log lines were lost", (unsigned long long)s->lost);
		if (s->lost > 0 && s->write(LOG_L_WARN, "supervisor", getpid(), note) == 0)
			s->lost = 0;
		if (s->lost > 0 || s->write(level, name, pid, text) != 0)
			s->lost++;
	}
}

static void
own_line(enum log_level level, const char *text)
{
	write_line(level, "supervisor", getpid(), text);
}

void
logger_init(int foreground)
{
	sinks[SINK_SYSLOG].on = !foreground;
	log_to(own_line);
}

void
logger_detach(void)
{
	sinks[SINK_STDERR].on = 0;
}

/* A whole line of a child: "<level> text"; anything else is a library's last words. */
static void
pipe_line(struct log_pipe *p, char *line, size_t len)
{
	char vis[2 * LOG_LINE_MAX];
	enum log_level level = LOG_L_WARN;

	if (len >= 2 && line[0] >= '0' && line[0] < '0' + LOG_L_MAX && line[1] == ' ') {
		level = (enum log_level)(line[0] - '0');
		line += 2;
		len -= 2;
	}
	if (!bucket_take(&p->bucket, now_ms())) {
		p->held++;
		return;
	}
	if (p->held > 0) {
		snprintf(vis, sizeof(vis), "%llu lines held back, too many",
		    (unsigned long long)p->held);
		p->held = 0;
		write_line(LOG_L_WARN, process_name(p->process), p->pid, vis);
	}
	write_line(level, process_name(p->process), p->pid, log_vis(vis, sizeof(vis), line, len));
}

/* One that writes without end costs root its time, however few lines are let through. */
static void
pipe_count(struct log_pipe *p, size_t n)
{
	int64_t now = now_ms();

	if (now - p->second_ms >= 1000) {
		p->second_ms = now;
		p->second_bytes = 0;
	}
	p->second_bytes += n;
	if (p->second_bytes > LOG_FLOOD_BYTES && !p->flooded) {
		p->flooded = 1;
		p->flood(p->process);
	}
}

/* Bytes have come: hand out the whole lines, keep the rest. */
static void
pipe_bytes(struct log_pipe *p, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n') {
			if (!p->cut || p->len > 0)
				pipe_line(p, p->line, p->len);
			p->len = 0;
			p->cut = 0;
		} else if (p->cut) {
			continue;
		} else {
			p->line[p->len++] = bytes[i];
			if (p->len == sizeof(p->line)) {
				pipe_line(p, p->line, p->len);
				p->len = 0;
				p->cut = 1;
			}
		}
	}
}

static void
on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void
pipe_unwatch(struct log_pipe *p)
{
	if (p->poll == NULL)
		return;
	uv_poll_stop(p->poll);
	p->poll->data = NULL;
	uv_close((uv_handle_t *)p->poll, on_poll_closed);
	p->poll = NULL;
}

/* Returns 1 while there may be more, 0 when it is drained, -1 at its end. */
static int
pipe_read(struct log_pipe *p)
{
	char bytes[1024];

	for (int i = 0; i < PIPE_BUDGET; i++) {
		ssize_t n = read(p->fd, bytes, sizeof(bytes));

		if (n > 0) {
			pipe_count(p, (size_t)n);
			pipe_bytes(p, bytes, (size_t)n);
		} else if (n == 0 || errno != EINTR) {
			return n < 0 && errno == EAGAIN ? 0 : -1;
		}
	}
	return 1;
}

static void
on_log(uv_poll_t *poll, int status, int events)
{
	struct log_pipe *p = poll->data;

	(void)events;
	if (p == NULL)
		return;
	if (status < 0 || pipe_read(p) < 0)
		pipe_unwatch(p);
}

void
log_pipe_open(struct log_pipe *p, uv_loop_t *loop, int fd, enum process process, pid_t pid,
    void (*flood)(enum process process))
{
	memset(p, 0, sizeof(*p));
	p->fd = fd;
	p->process = process;
	p->pid = pid;
	p->flood = flood;
	if (process == PROC_RUNNER)
		bucket_init(
		    &p->bucket, RUNNER_FACTOR * PIPE_BURST, RUNNER_FACTOR * PIPE_RATE, now_ms());
	else
		bucket_init(&p->bucket, PIPE_BURST, PIPE_RATE, now_ms());
	p->poll = calloc(1, sizeof(*p->poll));
	if (p->poll == NULL || uv_poll_init(loop, p->poll, fd) != 0)
		fatal("cannot watch the log pipe of %s", process_name(process));
	p->poll->data = p;
	uv_poll_start(p->poll, UV_READABLE, on_log);
}

void
log_pipe_close(struct log_pipe *p)
{
	if (p->fd < 0)
		return;
	while (pipe_read(p) == 1)
		if (p->held > PIPE_BURST) /* somebody else still writes: enough */
			break;
	if (p->len > 0)
		pipe_line(p, p->line, p->len);
	if (p->held > 0)
		write_line(
		    LOG_L_WARN, process_name(p->process), p->pid, "more lines were held back");
	pipe_unwatch(p);
	close(p->fd);
	p->fd = -1;
}
