/* SPDX-License-Identifier: ISC */
/*
 * Breach drill by messages: takes over one end of the channels of a *running* daemon and says what
 * the process behind it must never send (evil_cells.c).
 *
 *   evil_peer children PID SOCKET   the receivers are the children of supervisor PID, and roled on
 *                                   its admin socket
 *   evil_peer supervisor PID COUNT PART PARTS
 *                                   the receiver is the supervisor: COUNT cells of all, per child,
 *                                   of which this run says the PART-th of PARTS
 *   evil_peer prepare PID COUNT     the same while it waits for the answer to its PREPARE; the file
 *                                   of its configuration must differ from what is in force
 *   evil_peer stop PID CELL COUNT   the same, of roled, while it waits for the end of roled
 *   evil_peer runner PID CELL COUNT the sender is the runner
 *   evil_peer unused PID 0          what is right in form, of a server or hook that is not there
 *   evil_peer parser PID 0          prints the cells of the parser, for which it stands in: a copy
 *                                   of this program called parser, started by the supervisor, says
 *                                   the one whose number is in the file "cell" of its folder
 *   evil_peer start PID COUNT FIRST prints cells of children that are not up yet, STREAK of COUNT
 *                                   from FIRST on, and ends the real ones: copies of this program
 *                                   with their names say one each, as the files "count" and "first"
 *                                   say, and then are the real one of the folder "real"
 *   evil_peer list RECEIVER SENDER STATE    prints type and fault of each cell
 *   evil_peer host LIBEXEC CONFIG FOLDER COUNT
 *                                   evil_host.c: we are the supervisor, of the real programs
 *   evil_peer admin CTL CONFIG SOCKET COUNT evil_host.c: we are roled, of bulkheadctl
 *
 * children: the supervisor is stopped meanwhile, and its ends of the control channels are ours:
 * PEER gives a child a new neighbour, which is us, and PEER_BROKEN tells what the child made of it.
 * supervisor: a child is stopped and its end used; the supervisor must kill it. Each restart is
 * delayed for twice as long as the one before, so that a server is good for some cells per child
 * only: hence PARTS and FIRST.
 *
 * One line per channel and state: cells, receiver, sender, state, tried, refused. Each cell that
 * was not is a line on stderr. Exit 0 when all were refused, 1 when not, 2 when it cannot try. That
 * nobody keeps a descriptor is for the caller to see, once the links that are broken on the way are
 * up again.
 */
#include "config.h"

#include "evil.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conf.h"

enum {
	RESTS =
	    8, /* seen of it and the supervisor since its exec: it has its first configuration */
	N_CHILDREN = 5,
	STREAK = 5,	  /* generations in a row that are not the real program */
	START_MS = 60000, /* and for each cell: */
	START_CELL_MS = 1000,
};

static pid_t supervisor;

static const enum process children[N_CHILDREN] = {
    PROC_NETD, PROC_ICMPD, PROC_ROLED, PROC_KEYD, PROC_SYNCD};

/* ---- the other processes */

/* Text of /proc/PID/name; its length, 0 when there is none. */
static size_t
read_proc(pid_t pid, const char *name, char *text, size_t size)
{
	char path[96];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

/* Pid of a running child by its name; 0 while there is none. */
static pid_t
child_pid(enum process process)
{
	char name[64], list[1024], args[256], *at = list;

	snprintf(name, sizeof(name), "task/%d/children", (int)supervisor);
	read_proc(supervisor, name, list, sizeof(list));
	for (;;) {
		pid_t pid = (pid_t)strtol(at, &at, 10);
		size_t n;

		if (pid <= 0)
			return 0;
		n = read_proc(pid, "cmdline", args, sizeof(args));
		/* once it has executed its program: name, process-name, generation ... */
		if (n > strlen(args) + 1 &&
		    strcmp(args + strlen(args) + 1, process_name(process)) == 0)
			return pid;
	}
}

/* SIGSTOP; back when it does nothing any more. */
static void
stop_process(pid_t pid)
{
	int64_t end = now_ms() + WAIT_MS;

	if (pid <= 0 || kill(pid, SIGSTOP) != 0)
		evil_untried("no such process to stop");
	for (;;) {
		char text[512];
		const char *name_end;

		read_proc(pid, "stat", text, sizeof(text));
		name_end = strrchr(text, ')');
		if (name_end != NULL && name_end[1] == ' ' && name_end[2] == 'T')
			return;
		if (name_end == NULL || now_ms() > end)
			evil_untried("a process that does not stop");
		(void)poll(NULL, 0, 1);
	}
}

static int
take_descriptor(pid_t pid, int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), copy = -1;

	if (pidfd >= 0) {
		copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
		close(pidfd);
	}
	return copy;
}

/* ---- receivers: the children */

static int controls[PROC_MAX]; /* the supervisor's ends of the control channels */

static void
drain(int sock)
{
	static char packet[PACKET_MAX];

	while (take_packet(sock, packet, sizeof(packet)) > 0)
		;
}

static const char probe[] = "which end is it?";

/*
 * Is that packet among those that wait there? All of them are taken; others speak meanwhile, too.
 */
static int
has_probe(int sock)
{
	static char packet[PACKET_MAX];
	ssize_t n;
	int found = 0;

	while ((n = take_packet(sock, packet, sizeof(packet))) > 0)
		found |= n == sizeof(probe) && memcmp(packet, probe, sizeof(probe)) == 0;
	return found;
}

/*
 * Which of the supervisor's sockets is the other end of the child's control channel? One packet
 * tells.
 */
static int
find_control(pid_t pid)
{
	int end = take_descriptor(pid, FD_CONTROL), found = -1;

	if (end < 0)
		evil_untried("control channel");
	for (int round = 0; round < 2; round++) {
		for (int fd = 3; fd < 256 && found < 0; fd++) {
			int copy = take_descriptor(supervisor, fd), type = 0;
			socklen_t len = sizeof(type);

			if (copy < 0)
				continue;
			if (getsockopt(copy, SOL_SOCKET, SO_TYPE, &type, &len) != 0 ||
			    type != SOCK_SEQPACKET) {
				close(copy);
				continue;
			}
			if (has_probe(copy))
				found = copy;
			else
				close(copy);
		}
		if (round == 0 && send(end, probe, sizeof(probe), MSG_NOSIGNAL) != sizeof(probe))
			evil_untried("probe");
	}
	close(end);
	return found;
}

/* The child gets a new neighbour: us. Returns our end. */
static int
become_peer(enum process child, enum process peer)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	uint8_t packet[MSG_HEADER + 2] = {MSG_PEER, 0, 0, 0, (uint8_t)peer};
	struct iovec iov = {packet, sizeof(packet)};
	struct msghdr mh = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
	int fds[2];

	if (channel_pair(fds) != 0)
		evil_untried("channel");
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fds[1], sizeof(int));
	if (sendmsg(controls[child], &mh, MSG_NOSIGNAL) < 0)
		evil_untried("PEER");
	close(fds[1]);
	return fds[0];
}

/* The child's PEER_BROKEN: the violation; V_NONE when none comes, or one about something else. */
static unsigned
read_report(enum process child, enum process peer, const struct cell *c, int ms)
{
	int64_t end = now_ms() + ms;

	for (;;) {
		struct pollfd p = {.fd = controls[child], .events = POLLIN};
		int64_t left = end - now_ms();
		uint8_t b[128];
		ssize_t n;

		if (left < 0 || poll(&p, 1, (int)left) <= 0)
			return V_NONE;
		n = take_packet(p.fd, b, sizeof(b));
		if (n == 0)
			return V_MAX; /* it has ended */
		if (n >= MSG_HEADER + 2 && (b[0] | b[1] << 8) == MSG_PEER_BROKEN && b[4] == peer)
			return is_quoted(c, b + 6, (size_t)n - 6) ? b[5] : V_NONE;
	}
}

static void
try_at_child(enum process child, enum process peer, const struct cell *c)
{
	int sock = become_peer(child, peer);
	const char *instead = NULL;
	unsigned v;

	if (say(c, sock) != 0)
		evil_untried(c->what);
	/* after our own close there is nothing to be seen at this end */
	if (c->way != WAY_CLOSE && wait_cut(sock, WAIT_MS) != 0)
		instead = "not cut off";
	else if ((v = read_report(child, peer, c, c->expected != 0 ? WAIT_MS : 1)) == V_MAX)
		instead = "the receiver has ended";
	else if (c->expected != 0 ? !(c->expected >> v & 1) : v != V_NONE)
		instead = violation_name((enum channel_violation)v);
	count_cell(child, peer, c, instead);
	close(sock);
}

static void
attack_child(enum process child, enum process peer)
{
	pid_t pid = child_pid(child);

	make_cells(child, peer, S_RUN);
	for (size_t i = 0; i < n_cells; i++)
		try_at_child(child, peer, &cells[i]);
	if (child_pid(child) != pid) {
		fprintf(stderr, "evil_peer: %s has ended\n", process_name(child));
		evil_wrong++;
	}
	print_result(child, peer, S_RUN);
}

/* A connection of bulkheadctl, in S_RUN after its hello. */
static int
connect_admin(const char *path, enum channel_state state)
{
	const uint8_t hello[MSG_HEADER + 4] = {MSG_CTL_HELLO, 0, 0, 0, 1};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (sock < 0 || connect(sock, (struct sockaddr *)&un, sizeof(un)) != 0)
		evil_untried(path);
	if (state == S_RUN && send(sock, hello, sizeof(hello), MSG_NOSIGNAL) < 0)
		evil_untried("hello");
	return sock;
}

/* We are bulkheadctl: before the hello all that is said is wrong, and after it much. */
static void
attack_admin(const char *path, enum channel_state state)
{
	make_cells(PROC_ROLED, PROC_CTL, state);
	for (size_t i = 0; i < n_cells; i++) {
		int sock = connect_admin(path, state);

		if (say(&cells[i], sock) != 0)
			evil_untried(cells[i].what);
		count_cell(PROC_ROLED, PROC_CTL, &cells[i],
		    cells[i].way != WAY_CLOSE && wait_cut(sock, WAIT_MS) != 0 ? "not cut off"
									      : NULL);
		close(sock);
	}
	print_result(PROC_ROLED, PROC_CTL, state);
}

/* The two neighbours get each other again. */
static void
reconnect(enum process a, enum process b)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	uint8_t packet[MSG_HEADER + 2] = {MSG_PEER, 0, 0, 0, (uint8_t)b};
	struct iovec iov = {packet, sizeof(packet)};
	struct msghdr mh = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
	int end = become_peer(b, a);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &end, sizeof(int));
	if (sendmsg(controls[a], &mh, MSG_NOSIGNAL) < 0)
		evil_untried("PEER");
	close(end);
}

static void
attack_children(const char *admin)
{
	static const enum process edges[][2] = {{PROC_NETD, PROC_ROLED}, {PROC_ICMPD, PROC_ROLED},
	    {PROC_KEYD, PROC_ROLED}, {PROC_NETD, PROC_SYNCD}, {PROC_ROLED, PROC_SYNCD},
	    {PROC_KEYD, PROC_SYNCD}};

	for (size_t i = 0; i < N_CHILDREN; i++) {
		pid_t pid = child_pid(children[i]);

		if (pid == 0)
			evil_untried("no such child");
		stop_process(supervisor);
		controls[children[i]] = find_control(pid);
		if (controls[children[i]] < 0)
			evil_untried("control channel of the supervisor");
	}
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		attack_child(edges[i][1], edges[i][0]);
		attack_child(edges[i][0], edges[i][1]);
		reconnect(edges[i][0], edges[i][1]);
	}
	attack_admin(admin, S_START);
	attack_admin(admin, S_RUN);
	kill(supervisor, SIGCONT);
}

/* ---- receiver: the supervisor */

struct victim {
	enum process process;
	pid_t pid;
	unsigned rests;
	size_t next; /* cell */
};

/* Does it wait in its loop? */
static int
waits(pid_t pid)
{
	static const long calls[] = {
#ifdef SYS_epoll_wait
	    SYS_epoll_wait,
#endif
#ifdef SYS_poll
	    SYS_poll, SYS_restart_syscall,
#endif
	    SYS_epoll_pwait, SYS_ppoll};
	char text[256], *end;
	long call;

	if (read_proc(pid, "syscall", text, sizeof(text)) == 0)
		return 0;
	call = strtol(text, &end, 10); /* or "running" */
	for (size_t i = 0; end != text && i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i] == call)
			return 1;
	}
	return 0;
}

/* The child has done all that it was told, and then the supervisor all that it was told by it. */
static int
is_at_rest(pid_t pid)
{
	int end = take_descriptor(pid, FD_CONTROL), in = 1, out = 1, rest;

	if (end < 0)
		return 0;
	rest = waits(pid) && ioctl(end, SIOCINQ, &in) == 0 && in == 0 &&
	       ioctl(end, SIOCOUTQ, &out) == 0 && out == 0 && waits(supervisor);
	close(end);
	return rest;
}

/*
 * Is there one to take the place of? A start is three messages, to and fro: after more rests than
 * that it has its first configuration, however long that took.
 */
static int
is_up(struct victim *v)
{
	pid_t pid = child_pid(v->process);

	if (pid != v->pid) {
		v->pid = pid;
		v->rests = 0;
	}
	if (pid != 0 && v->rests < RESTS)
		v->rests += (unsigned)is_at_rest(pid);
	return pid != 0 && v->rests == RESTS;
}

static int
wait_end(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, WAIT_MS) == 1 ? 0 : -1;
}

/* It does nothing any more, and its end of the channel to the supervisor is ours. */
struct taken {
	pid_t pid;
	int pidfd, end;
};

static struct taken
take_over(pid_t pid)
{
	struct taken t = {pid, (int)syscall(SYS_pidfd_open, pid, 0), -1};

	stop_process(pid);
	t.end = take_descriptor(pid, FD_CONTROL);
	if (t.pidfd < 0 || t.end < 0)
		evil_untried("control channel of a child");
	return t;
}

static void
give_up(const struct taken *t)
{
	close(t->end);
	close(t->pidfd);
}

/* Say it in the place of the child, which must not live on. */
static void
try_taken(const struct taken *t, enum process sender, const struct cell *c)
{
	int dead;

	if (say(c, t->end) != 0)
		evil_untried(c->what);
	dead = wait_end(t->pidfd) == 0;
	if (!dead)
		kill(t->pid, SIGCONT);
	count_cell(PROC_SUPERVISOR, sender, c, dead ? NULL : "the sender lives on");
	print_expected(sender, c);
}

static void
try_at_supervisor(struct victim *v, const struct cell *c)
{
	struct taken t = take_over(v->pid);

	try_taken(&t, v->process, c);
	give_up(&t);
}

/*
 * On a crowded machine it may be a while: a child that is silent for too long is killed for that.
 */
static void
answer_ping(const struct taken *t, const uint8_t *packet)
{
	uint8_t answer[MSG_HEADER + 8 + 16] = {MSG_PONG};

	memcpy(answer + MSG_HEADER, packet + MSG_HEADER, 8);
	(void)send(t->end, answer, sizeof(answer), MSG_NOSIGNAL);
}

/* The next packet for a child that was taken over, of that type; its length, or -1. */
static ssize_t
read_until(const struct taken *t, enum message_type type, uint8_t *packet, size_t size)
{
	int64_t end = now_ms() + WAIT_MS;

	for (;;) {
		struct pollfd p = {.fd = t->end, .events = POLLIN};
		int64_t left = end - now_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return -1;
		n = take_packet(t->end, packet, size);
		if (n <= 0)
			return -1;
		if (n >= MSG_HEADER && (packet[0] | packet[1] << 8) == (int)type)
			return n;
		if (n == MSG_HEADER + 8 && (packet[0] | packet[1] << 8) == MSG_PING)
			answer_ping(t, packet);
	}
}

/* Answer a PREPARE with the serial before: no agreement; and a second answer is one too many. */
static void
answer_old_serial(const struct taken *t, const uint8_t *packet)
{
	uint8_t answer[MSG_HEADER + 8] = {MSG_PREPARED};

	memcpy(answer + MSG_HEADER, packet + MSG_HEADER, 8);
	for (int i = 0; i < 8 && answer[MSG_HEADER + i]-- == 0; i++)
		;
	if (send(t->end, answer, sizeof(answer), MSG_NOSIGNAL) < 0)
		evil_untried("an old serial");
}

static const struct cell old_serial = {.type = MSG_PREPARED,
    .size = MSG_HEADER + 8,
    .expected = V(FLAGS),
    .single = TIMED,
    .what = "the old serial, and then another answer"};

/*
 * Has it read all that was said to it, for a moment? A PREPARE of the reload before must not be
 * left, or an answer would be one to that.
 */
static int
is_idle(pid_t pid)
{
	struct pollfd p = {.fd = take_descriptor(pid, FD_CONTROL), .events = POLLIN};
	int idle = p.fd >= 0;

	for (int i = 0; i < 5 && idle; i++)
		idle = poll(&p, 1, 0) == 0 && poll(NULL, 0, 2) == 0;
	close(p.fd);
	return idle;
}

/* A reload is under way and waits for this child; the first cell is an answer to the one before. */
static void
try_at_prepare(struct victim *v, size_t count)
{
	struct taken t = take_over(v->pid);
	const struct cell *c = v->next == 0 ? &old_serial : choose_cell(v->next - 1, count - 1);
	uint8_t packet[MSG_SIZE_MAX];

	drain(t.end);
	kill(supervisor, SIGHUP);
	if (read_until(&t, MSG_PREPARE, packet, sizeof(packet)) != MSG_HEADER + 8)
		evil_untried("no PREPARE");
	if (v->next == 0)
		answer_old_serial(&t, packet);
	try_taken(&t, v->process, c);
	give_up(&t);
}

/* How many cells of this state are tried? */
static size_t
limit_of(const struct victim *v, enum channel_state state, size_t count)
{
	make_cells(PROC_SUPERVISOR, v->process, state);
	return count < n_cells + (state == S_PREPARE) ? count : n_cells + (state == S_PREPARE);
}

/*
 * Each child says count of its cells, or those of a part of them; one after the other while a
 * reload is under way.
 */
static void
attack_supervisor(enum channel_state state, size_t count, size_t part, size_t parts)
{
	struct victim v[N_CHILDREN] = {{0}};
	size_t left = N_CHILDREN;

	for (size_t i = 0; i < N_CHILDREN; i++)
		v[i] = (struct victim){.process = children[i], .next = part};
	for (size_t i = 0; left > 0; i = (i + 1) % N_CHILDREN) {
		size_t limit = limit_of(&v[i], state, count);

		if (v[i].next >= limit || !is_up(&v[i]) ||
		    (state == S_PREPARE && !is_idle(v[i].pid))) {
			poll(NULL, 0, 2);
			continue;
		}
		if (state == S_PREPARE)
			try_at_prepare(&v[i], limit);
		else
			try_at_supervisor(&v[i], choose_cell(v[i].next, limit));
		v[i].next += parts;
		left -= v[i].next >= limit;
	}
	for (size_t i = 0; i < N_CHILDREN; i++) {
		while (!is_up(&v[i]))
			poll(NULL, 0, 5);
		print_result(PROC_SUPERVISOR, v[i].process, state);
	}
}

/* The supervisor has been told to stop and waits for roled, which is us. */
static void
attack_stop(size_t number, size_t count)
{
	struct taken t = take_over(child_pid(PROC_ROLED));
	uint8_t packet[MSG_SIZE_MAX];
	const struct cell *c;

	make_cells(PROC_SUPERVISOR, PROC_ROLED, S_STOP);
	c = choose_cell(number, count);
	drain(t.end);
	kill(supervisor, SIGTERM);
	if (read_until(&t, MSG_STOP, packet, sizeof(packet)) < 0)
		evil_untried("no STOP");
	if (c != NULL) {
		try_taken(&t, PROC_ROLED, c);
		print_result(PROC_SUPERVISOR, PROC_ROLED, S_STOP);
	} else {
		kill(t.pid, SIGKILL);
	}
	give_up(&t);
}

/* Pid of the process that runs the hooks; it has no program of its own. */
static pid_t
runner_pid(void)
{
	char name[64], list[1024], *at = list;

	snprintf(name, sizeof(name), "task/%d/children", (int)supervisor);
	read_proc(supervisor, name, list, sizeof(list));
	for (;;) {
		pid_t pid = (pid_t)strtol(at, &at, 10);

		if (pid <= 0)
			evil_untried("no runner");
		if (read_proc(pid, "comm", name, sizeof(name)) > 0 &&
		    strcmp(name, "bulkhead-runner\n") == 0)
			return pid;
	}
}

static void
attack_from_runner(size_t number, size_t count)
{
	struct taken t = take_over(runner_pid());
	const struct cell *c;

	make_cells(PROC_SUPERVISOR, PROC_RUNNER, S_START);
	c = choose_cell(number, count);
	if (c != NULL) {
		try_taken(&t, PROC_RUNNER, c);
		print_result(PROC_SUPERVISOR, PROC_RUNNER, S_START);
	} else {
		kill(t.pid, SIGKILL);
	}
	give_up(&t);
}

/*
 * ---- right in form, but of what the configuration does not use: nothing follows, nobody is killed
 */

/* One question to the supervisor, and the body of the answer that it must give. */
struct unused {
	enum process sender;
	const char *what;
	uint8_t type, body[24], size;
	uint8_t answer, expected[5], at, n; /* type; n bytes from at of its body */
};

/*
 * Servers 0 (standard), 1 (permanent, this one) and 2 (dmz) are configured, with a path each; of
 * the hooks, stop is not; numbers of the answer: CLOSE_ERROR, RESULT_NONE.
 */
#define NO_DIAL(n, what, ...)                                                                      \
	{                                                                                          \
		PROC_NETD, what, MSG_DIAL, {1, 2, 3, n, __VA_ARGS__}, 7, MSG_DIAL_FAILED,          \
		    {1, 2, 3, n, CLOSE_ERROR}, 0, 5                                                \
	}
static const struct unused questions[] = {
    NO_DIAL(4, "server that is not configured", 3, 0, LINK_STATUS),
    NO_DIAL(5, "last server there can be", CONF_SERVERS - 1, 0, LINK_STATUS),
    NO_DIAL(6, "path that is not configured", 0, 1, LINK_STATUS),
    NO_DIAL(7, "this server itself", 1, 0, LINK_STATUS),
    NO_DIAL(8, "sync link of a server that never is main", 0, 0, LINK_SYNC),
    NO_DIAL(9, "request link to a server that never is main", 2, 0, LINK_REQUEST),
    NO_DIAL(10, "request link to a server that is not configured", 3, 0, LINK_REQUEST),
    {PROC_ROLED, "hook that is not configured", MSG_ACTION, {ACTION_HOOK, HOOK_STOP, 0, UINT8_MAX},
	24, MSG_ACTION_RESULT, {RESULT_NONE}, 8, 1},
    {PROC_ROLED, "test of a hook that is not configured", MSG_ACTION,
	{ACTION_HOOK_TEST, HOOK_STOP, 0, UINT8_MAX}, 24, MSG_ACTION_RESULT, {RESULT_NONE}, 8, 1},
    {PROC_ROLED, "hook for a server that is not configured", MSG_ACTION,
	{ACTION_HOOK, HOOK_ALARM, 0, CONF_SERVERS - 1}, 24, MSG_ACTION_RESULT, {RESULT_OK}, 8, 1},
};

static void
ask_unused(const struct taken *t, const struct unused *q)
{
	const struct cell c = {.type = q->type, .size = MSG_HEADER + q->size, .what = q->what};
	uint8_t packet[MSG_SIZE_MAX] = {q->type};
	ssize_t n;

	memcpy(packet + MSG_HEADER, q->body, q->size);
	if (send(t->end, packet, MSG_HEADER + q->size, MSG_NOSIGNAL) < 0)
		evil_untried(q->what);
	n = read_until(t, q->answer, packet, sizeof(packet));
	if (n < MSG_HEADER + q->at + q->n)
		count_cell(PROC_SUPERVISOR, q->sender, &c, "no answer");
	else if (memcmp(packet + MSG_HEADER + q->at, q->expected, q->n) != 0)
		count_cell(PROC_SUPERVISOR, q->sender, &c, "another answer");
	else
		count_cell(PROC_SUPERVISOR, q->sender, &c, NULL);
}

static void
attack_unused(void)
{
	static const enum process senders[] = {PROC_NETD, PROC_ROLED};

	for (size_t s = 0; s < sizeof(senders) / sizeof(senders[0]); s++) {
		struct taken t = take_over(child_pid(senders[s]));

		drain(t.end);
		for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
			if (questions[i].sender == senders[s])
				ask_unused(&t, &questions[i]);
		}
		kill(t.pid, SIGCONT);
		give_up(&t);
		print_result(PROC_SUPERVISOR, senders[s], S_RUN);
	}
}

/* Is there such a channel, and does one of our modes say its cells in that state? */
static int
is_played(enum process to, enum process from, enum channel_state in)
{
	if (to == PROC_PARSER || from == PROC_PARSER || to == PROC_RUNNER || from == PROC_RUNNER)
		return in == S_START && (to == PROC_SUPERVISOR || from == PROC_SUPERVISOR);
	if (to == PROC_CTL)
		return from == PROC_ROLED && in == S_RUN;
	if (from == PROC_CTL)
		return to == PROC_ROLED && (in == S_START || in == S_RUN);
	if (to == PROC_SUPERVISOR) /* it waits for roled only */
		return role_row(from) != NULL && (in != S_STOP || from == PROC_ROLED);
	if (from == PROC_SUPERVISOR)
		return role_row(to) != NULL;
	return is_edge(to, from) && (in != S_STOP || to == PROC_NETD || to == PROC_ROLED);
}

/* Type and fault of each cell of that channel, for the documents to name. Returns the exit code. */
static int
list_cells(const char *receiver, const char *sender, const char *state)
{
	enum process to = PROC_MAX, from = PROC_MAX;
	enum channel_state in = S_ANY;

	for (enum process p = PROC_SUPERVISOR; p < PROC_MAX; p++) {
		to = strcmp(process_name(p), receiver) == 0 ? p : to;
		from = strcmp(process_name(p), sender) == 0 ? p : from;
	}
	for (enum channel_state s = S_START; s <= S_STOP; s = (enum channel_state)(s << 1))
		in = strcmp(state_text(s), state) == 0 ? s : in;
	if (to == PROC_MAX || from == PROC_MAX || in == S_ANY || !is_played(to, from, in))
		return EVIL_UNTRIED;
	make_cells(to, from, in);
	for (size_t i = 0; i < n_cells; i++)
		printf("%s\t%s\n", cell_type(&cells[i]), cells[i].what);
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
		if (to == PROC_SUPERVISOR && from == questions[i].sender && in == S_RUN)
			printf("%s\t%s\n", message_name(questions[i].type), questions[i].what);
	}
	if (from == PROC_SUPERVISOR && in == S_RUN)
		list_odd(to);
	if (in == S_RUN)
		list_unused(to, from);
	return 0;
}

/* ---- in the place of a child */

static void
print_parser(void)
{
	make_cells(PROC_SUPERVISOR, PROC_PARSER, S_START);
	for (size_t i = 0; i < n_cells; i++)
		print_expected(PROC_PARSER, &cells[i]);
}

/*
 * Which cell does that generation say, when the first one to say one says number first? SIZE_MAX
 * for none: it is the real program, as the very first one is.
 */
static size_t
cell_of(unsigned long generation, size_t count, size_t first)
{
	size_t number = first + generation - 2;

	return generation < 2 || generation > STREAK + 1 || number >= count || number >= n_cells
		   ? SIZE_MAX
		   : number;
}

/* Generation of the running child; 0 while there is none. */
static unsigned long
generation_of(pid_t pid)
{
	char args[256] = "";
	size_t n = pid > 0 ? read_proc(pid, "cmdline", args, sizeof(args)) : 0;
	const char *at = args;

	for (int i = 0; i < 2 && at < args + n; i++)
		at += strlen(at) + 1;
	return at < args + n ? strtoul(at, NULL, 10) : 0;
}

/* End the real ones, until STREAK cells have been said, and print what the log must have. */
static void
attack_start(size_t count, size_t first)
{
	struct victim v[N_CHILDREN] = {{0}};
	int64_t end = now_ms() + START_MS + (int64_t)count * START_CELL_MS;
	size_t done = 0;

	for (size_t i = 0; i < N_CHILDREN; i++) {
		v[i].process = children[i];
		make_cells(PROC_SUPERVISOR, children[i], S_START);
		for (size_t k = first; k < first + STREAK && k < count && k < n_cells; k++)
			print_expected(children[i], choose_cell(k, count));
	}
	for (size_t i = 0; done != (1U << N_CHILDREN) - 1; i = (i + 1) % N_CHILDREN) {
		unsigned long generation;

		make_cells(PROC_SUPERVISOR, children[i], S_START);
		poll(NULL, 0, 5);
		if (now_ms() > end)
			evil_untried("not all cells have been said");
		if (!is_up(&v[i]))
			continue;
		generation = generation_of(v[i].pid);
		if (generation == 1 && cell_of(2, count, first) != SIZE_MAX)
			kill(v[i].pid, SIGKILL);
		else if (generation > 0 && cell_of(generation, count, first) == SIZE_MAX)
			done |= (size_t)1 << i;
	}
}

/* File beside our program; path has room for it. */
static void
beside(char *path, size_t size, const char *name)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 64);

	if (n <= 0)
		_exit(EVIL_UNTRIED);
	path[n] = '\0';
	strcpy(strrchr(path, '/') + 1, name);
}

static size_t
read_number(const char *name)
{
	char path[4096], number[16] = "";
	int fd;

	beside(path, sizeof(path), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, number, sizeof(number) - 1) <= 0)
		_exit(EVIL_UNTRIED);
	close(fd);
	return (size_t)strtoul(number, NULL, 10);
}

/* Started by the supervisor under the name of one of its children. */
static _Noreturn void
stand_in(enum process process, char **argv)
{
	static char *no_environment[] = {NULL};
	char path[4096], real[64];
	size_t number, count;

	evil_supervisor = getppid();
	make_cells(PROC_SUPERVISOR, process, S_START);
	count = process == PROC_PARSER ? n_cells : read_number("count");
	number = process == PROC_PARSER
		     ? read_number("cell")
		     : cell_of(strtoul(argv[2], NULL, 10), count, read_number("first"));
	if (number == SIZE_MAX) {
		snprintf(real, sizeof(real), "real/%s", process_name(process));
		beside(path, sizeof(path), real);
		execve(path, argv, no_environment);
		_exit(EVIL_UNTRIED);
	}
	if (number >= n_cells)
		_exit(EVIL_UNTRIED);
	if (say(process == PROC_PARSER ? &cells[number] : choose_cell(number, count), FD_CONTROL) !=
	    0)
		_exit(EVIL_UNTRIED);
	if (process != PROC_PARSER) /* it is killed for it, or not */
		(void)poll(NULL, 0, WAIT_MS);
	else
		(void)wait_cut(FD_CONTROL, WAIT_MS);
	_exit(0);
}

/* ---- */

static int
usage(void)
{
	fprintf(stderr,
	    "usage: evil_peer children PID SOCKET | supervisor PID COUNT PART PARTS |\n"
	    "       prepare PID COUNT |\n"
	    "       stop PID CELL COUNT | runner PID CELL COUNT | unused PID | parser PID | start "
	    "PID COUNT FIRST |\n"
	    "       list RECEIVER SENDER STATE | host LIBEXEC CONFIG FOLDER COUNT | admin CTL "
	    "CONFIG SOCKET COUNT\n");
	return EVIL_UNTRIED;
}

/* At a running daemon. Returns the exit code. */
static int
attack(const char *how, char **arg)
{
	supervisor = evil_supervisor = (pid_t)atoi(arg[0]);
	if (supervisor <= 1)
		return usage();
	if (strcmp(how, "children") == 0)
		attack_children(arg[1]);
	else if (strcmp(how, "supervisor") == 0 && arg[2] != NULL && arg[3] != NULL)
		attack_supervisor(S_RUN, strtoul(arg[1], NULL, 10), strtoul(arg[2], NULL, 10),
		    strtoul(arg[3], NULL, 10));
	else if (strcmp(how, "prepare") == 0)
		attack_supervisor(S_PREPARE, strtoul(arg[1], NULL, 10), 0, 1);
	else if (strcmp(how, "stop") == 0 && arg[2] != NULL)
		attack_stop(strtoul(arg[1], NULL, 10), strtoul(arg[2], NULL, 10));
	else if (strcmp(how, "runner") == 0 && arg[2] != NULL)
		attack_from_runner(strtoul(arg[1], NULL, 10), strtoul(arg[2], NULL, 10));
	else if (strcmp(how, "start") == 0 && arg[2] != NULL)
		attack_start(strtoul(arg[1], NULL, 10), strtoul(arg[2], NULL, 10));
	else if (strcmp(how, "unused") == 0)
		attack_unused();
	else if (strcmp(how, "parser") == 0)
		print_parser();
	else
		return usage();
	return evil_wrong > 0 ? EVIL_WRONG : 0;
}

int
main(int argc, char **argv)
{
	for (enum process p = PROC_SUPERVISOR; p < PROC_MAX; p++) {
		if (argc > 2 && strcmp(argv[0], argv[1]) == 0 &&
		    strcmp(argv[0], process_name(p)) == 0)
			stand_in(p, argv);
	}
	signal(SIGPIPE, SIG_IGN);
	if (argc == 5 && strcmp(argv[1], "list") == 0)
		return list_cells(argv[2], argv[3], argv[4]);
	if (argc == 6 && strcmp(argv[1], "host") == 0)
		return evil_host(argv[2], argv[3], argv[4], strtoul(argv[5], NULL, 10));
	if (argc == 6 && strcmp(argv[1], "admin") == 0)
		return evil_admin(argv[2], argv[3], argv[4], strtoul(argv[5], NULL, 10));
	return argc >= 4 ? attack(argv[1], argv + 2) : usage();
}
