/* SPDX-License-Identifier: ISC */
/*
 * The supervisor with everybody hostile: channels 0 to 3 of table.h are its children in the order
 * of children[], 4 is the runner, 5 the parser; the body of a packet for 6 goes into roled's log
 * pipe. Its real tables, handlers, reload and sockets run; processes are not started, and to kill
 * one ends it at once. Time is that of the input: a millisecond for each packet, and TIME_LEAP_MS
 * where a packet says so. Compiled with fork, kill, waitpid, uv_timer_start and uv_timer_stop of
 * this file for those of the supervisor, which is the same for each input (again.h).
 */
#include "config.h"

#undef fork
#undef kill
#undef waitpid
#undef channel_pair
#undef uv_timer_start
#undef uv_timer_stop

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "again.h"
#include "fuzz.h"
#include "lib/clock.h"
#include "supervisor/supervisor.h"
#include "table.h"

enum { RUNNER = N_CHILDREN, PARSER, CHANNELS, LOG = CHANNELS, FIRST_PID = 1 << 28 };
enum { TIME_START_MS = 1000000, TIME_LEAP_MS = 600, TIMERS = 2 * N_CHILDREN + 5 };

pid_t fuzz_fork(void);
int fuzz_kill(pid_t pid, int sig);
pid_t fuzz_waitpid(pid_t pid, int *status, int options);
int fuzz_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat);
int fuzz_timer_stop(uv_timer_t *timer);
int fuzz_channel_pair(int fds[2]);

extern struct channel runner_channel;
struct supervisor sup = {.empty_fd = -1,
    .null_fd = -1,
    .state_fd = -1,
    .ledger_fd = -1,
    .admin_fd = -1,
    .key_status_fd = -1,
    .key_data_fd = -1,
    .foreground = 1};

static uv_loop_t loop;
static struct conf good;
static struct table_channel list[CHANNELS];
static struct channel parser_channel; /* stands for that of conffile.c, which is not visible */
static int log_end = -1, last_far = -1;
static pid_t next_pid = FIRST_PID;
/* Processes that have been killed and not been waited for. */
static pid_t dead[CHANNELS + 1];

/* ---- in place of the system's */

static void
forget_end(struct table_channel *t)
{
	if (t->end >= 0)
		close(t->end);
	t->end = -1;
}

int
fuzz_kill(pid_t pid, int sig)
{
	if (pid < FIRST_PID || sig != SIGKILL)
		abort(); /* it signals somebody that is not its child */
	if (pid == runner_pid)
		return 0; /* its end would be that of the supervisor */
	for (size_t i = 0; i < sizeof(dead) / sizeof(dead[0]); i++) {
		if (dead[i] == pid)
			return 0;
	}
	for (size_t i = 0; i < sizeof(dead) / sizeof(dead[0]); i++) {
		if (dead[i] == 0) {
			dead[i] = pid;
			return 0;
		}
	}
	abort();
}

pid_t
fuzz_waitpid(pid_t pid, int *status, int options)
{
	(void)options;
	for (size_t i = 0; i < sizeof(dead) / sizeof(dead[0]); i++) {
		pid_t found = dead[i];

		if (found == 0 || (pid > 0 && pid != found))
			continue;
		dead[i] = 0;
		*status = SIGKILL;
		return found;
	}
	errno = ECHILD;
	return pid > 0 ? pid : -1;
}

pid_t
fuzz_fork(void)
{
	return next_pid++;
}

/* The far end of the pair that is made for the runner is kept. */
int
fuzz_channel_pair(int fds[2])
{
	if (channel_pair(fds) != 0)
		return -1;
	if (last_far >= 0)
		close(last_far);
	last_far = fcntl(fds[1], F_DUPFD_CLOEXEC, TABLE_FAR);
	return 0;
}

/* ---- time */

static int64_t time_ms = TIME_START_MS;
static struct {
	uv_timer_t *timer;
	uv_timer_cb cb;
	int64_t due_ms, repeat_ms;
} timers[TIMERS];

int64_t
now_ms(void)
{
	return time_ms;
}

int64_t
now_us(void)
{
	return time_ms * 1000;
}

int
fuzz_timer_stop(uv_timer_t *timer)
{
	for (size_t i = 0; i < TIMERS; i++) {
		if (timers[i].timer == timer)
			timers[i].timer = NULL;
	}
	return 0;
}

/* The back-off of a process is over at once. */
int
fuzz_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
	fuzz_timer_stop(timer);
	for (int i = 0; i < N_CHILDREN; i++) {
		if (timer == &proc_of(children[i])->retry)
			timeout = 0;
	}
	for (size_t i = 0; i < TIMERS; i++) {
		if (timers[i].timer != NULL)
			continue;
		timers[i].timer = timer;
		timers[i].cb = cb;
		timers[i].due_ms = time_ms + (int64_t)timeout;
		timers[i].repeat_ms = (int64_t)repeat;
		return 0;
	}
	abort();
}

/* Those that are due; one that starts another waits for the next call. */
static void
run_timers(void)
{
	for (size_t i = 0; i < TIMERS; i++) {
		uv_timer_t *timer = timers[i].timer;

		if (timer == NULL || timers[i].due_ms > time_ms)
			continue;
		timers[i].due_ms = time_ms + timers[i].repeat_ms;
		if (timers[i].repeat_ms == 0)
			timers[i].timer = NULL;
		timers[i].cb(timer);
	}
}

/* ---- in place of spawn.c, main.c and realtime.c */

void
spawn_init(struct spawn *s, enum process process)
{
	memset(s, 0, sizeof(*s));
	s->process = process;
	for (int i = 0; i < SPAWN_FDS; i++)
		s->fd[i] = -1;
}

pid_t
spawn_process(const struct spawn *s, int *log_fd)
{
	int which = PARSER, fds[2];

	for (int i = 0; i < N_CHILDREN; i++) {
		if (children[i] == s->process)
			which = i;
	}
	forget_end(&list[which]);
	if (last_far >= 0) /* of this pair: nobody else may hold that end */
		close(last_far);
	last_far = -1;
	list[which].end = fcntl(s->fd[FD_CONTROL], F_DUPFD_CLOEXEC, TABLE_FAR);
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
		abort();
	*log_fd = fds[0];
	if (s->process == PROC_ROLED) {
		if (log_end >= 0)
			close(log_end);
		log_end = fcntl(fds[1], F_DUPFD_CLOEXEC, TABLE_FAR);
	}
	close(fds[1]);
	return next_pid++;
}

void
realtime_self(void)
{
}

void
realtime_watch(struct proc *p)
{
	(void)p;
}

void
files_renew_socket(enum process process, const struct conf *c)
{
	(void)process;
	(void)c;
}

void
files_update_data_socket(const struct conf_general *old, const struct conf_general *new)
{
	(void)old;
	(void)new;
}

void
files_remove(void)
{
}

int
files_temporary_root(void)
{
	return open("/", O_RDONLY | O_CLOEXEC);
}

void
supervisor_is_up(void)
{
}

void
supervisor_give_up(int exit_code)
{
	(void)exit_code;
}

void
supervisor_end(int exit_code)
{
	(void)exit_code;
	abort(); /* no child can end it */
}

/* Forked by the real one. */
void
runner_main(int fd, int log_fd, pid_t supervisor)
{
	(void)fd;
	(void)log_fd;
	(void)supervisor;
	abort();
}

/* ---- the run */

static unsigned last_type;

static void time_leap(void);

static void
note_type(unsigned type, uint8_t *body, size_t n)
{
	(void)body;
	(void)n;
	last_type = type;
}

/* In earnest the supervisor ends with the runner, so that there is one at the start only. */
static void
start_runner(void)
{
	if (actions_start_runner() != 0)
		abort();
	list[RUNNER].end = last_far;
	last_far = -1;
	actions_attach();
}

static char conf_path[] = "/tmp/bh-fuzz-conf-XXXXXX"; /* empty, for who opens it; goes at exit */

static void
remove_conf(void)
{
	unlink(conf_path);
}

static void
set_up(void)
{
	table_set_up();
	table_adjust = note_type;
	table_later = time_leap;
	sup.config_path = conf_path;
	close(mkstemp(conf_path));
	atexit(remove_conf);
	(void)chmod(conf_path, 0600);
	table_conf(&good);
	for (int i = 0; i < CHANNELS; i++)
		list[i].end = -1;
}

static void
run_loop(void)
{
	time_ms++;
	for (int i = 0; i < 3; i++) {
		run_timers();
		uv_run(&loop, UV_RUN_NOWAIT);
		processes_reap();
	}
}

static void
time_leap(void)
{
	time_ms += TIME_LEAP_MS;
	run_loop();
}

static void
close_handle(uv_handle_t *handle, void *unused)
{
	(void)unused;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* Nothing is left of the supervisor of the input before. */
static void
stop(void)
{
	sup.stopping = 1; /* what ends now starts nothing */
	end_conffile();
	end_processes();
	end_actions();
	end_channels();
	uv_walk(&loop, close_handle, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&loop) != 0)
		abort();
	again_actions();
	again_conffile();
	again_processes();
	again_reload();
	again_sockets();
	for (int i = 0; i < CHANNELS; i++)
		forget_end(&list[i]);
	if (log_end >= 0)
		close(log_end);
	if (last_far >= 0)
		close(last_far);
	log_end = last_far = -1;
	table_close_all(FD_FIRST_FREE);
	memset(timers, 0, sizeof(timers));
	memset(dead, 0, sizeof(dead));
	next_pid = FIRST_PID;
	time_ms = TIME_START_MS;
	last_type = 0;
	sup.stopping = sup.exit_code = 0;
	sup.empty_fd = -1;
}

/* A supervisor that has just started its processes. */
static void
start(void)
{
	static int done;

	if (!done)
		set_up();
	else
		stop();
	done = 1;
	sup.conf = good;
	sup.loop = &loop;
	sup.empty_fd = open("/", O_RDONLY | O_CLOEXEC);
	if (uv_loop_init(&loop) != 0)
		abort();
	processes_start();
	for (int i = 0; i < N_CHILDREN; i++)
		list[i].channel = &proc_of(children[i])->control;
	list[RUNNER].channel = &runner_channel;
	list[PARSER].channel = &parser_channel;
	parser_channel.fd = 0; /* it is open whenever its hostile end is */
	start_runner();
	run_loop();
}

/* A parser ends when it has said the last word. */
static int
turn(size_t which)
{
	run_loop();
	if (which == PARSER && (last_type == MSG_CONF_DONE || last_type == MSG_CONF_ERROR)) {
		forget_end(&list[PARSER]);
		run_loop();
	}
	return 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	start();
	if (size > TABLE_HEAD && data[0] == LOG) { /* one input, one log */
		(void)!write(log_end, data + 1, size - 1 < 4096 ? size - 1 : 4096);
		run_loop();
		return 0;
	}
	table_play(data, size, list, CHANNELS, turn);
	return 0;
}

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static struct conf c;
	static struct msg m;
	uint8_t digest[16];
	size_t n = 0;

	table_conf(&c);
	for (uint8_t i = 0; i < N_CHILDREN; i++) {
		msg_begin(&m, MSG_READY);
		msg_put_u8(&m, 31);
		n = table_append(out, size, n, i, &m);
		n = table_append_u64(out, size, n, i, MSG_PREPARED, 1);
	}
	msg_begin(&m, MSG_ACTION);
	msg_put_u8(&m, ACTION_RELOAD);
	memset(m.body + 1, 0, 23);
	m.len = 24;
	n = table_append(out, size, n, 2, &m);
	c.general.hold_ms++;
	n = table_append_conf(out, size, n, PARSER, &c, PROC_SUPERVISOR);
	conf_digest(&c, digest);
	msg_begin(&m, MSG_CONF_DONE);
	msg_put_bytes(&m, digest, sizeof(digest));
	n = table_append(out, size, n, PARSER, &m);
	for (uint8_t i = 0; i < N_CHILDREN; i++)
		n = table_append_u64(out, size, n, i, MSG_PREPARED, 2);
	n = table_append_all(out, size, n, RUNNER, PROC_RUNNER, PROC_SUPERVISOR);
	for (uint8_t i = 0; i < N_CHILDREN; i++)
		n = table_append_all(out, size, n, i, children[i], PROC_SUPERVISOR);
	return n;
}
