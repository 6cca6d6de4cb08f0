/* SPDX-License-Identifier: ISC */
/*
 * Evil peers behind the real programs: we start netd, icmpd, roled, keyd, syncd, the parser and the
 * runner as their supervisor does, in their real sandboxes, lead them into each state of a channel
 * and then say, as the supervisor or as a neighbour, what must not be said. A child that its
 * supervisor speaks to like that has to end with EXIT_PROTOCOL; a neighbour is cut off and
 * reported. The supervisor is root: that its children bear a confused one is robustness, no wall.
 */
#include "config.h"

#include "evil.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/clock.h"
#include "supervisor/supervisor.h"

enum {
	CONF_PACKETS = 128,
	LIFE_LOG = 4096,
	STOP_MS = 60000,
	LINK_TOKEN = 7,
	COOKIE = 77,
	ALIVE = -1, /* instead of an exit code */
};

struct supervisor sup;

/* What the real parser made of the file. */
static struct {
	uint8_t bytes[CONF_PACKETS][MSG_SIZE_MAX];
	size_t size[CONF_PACKETS];
	size_t n;
	struct conf conf;
} config;

/* One process that we started. */
static struct life {
	enum process process;
	pid_t pid;
	int control, log;
	int edge[PROC_MAX]; /* our end in the place of that neighbour; -1 */
} life;

static const char *config_path, *folder;

/* ---- starting a process */

int
is_edge(enum process a, enum process b)
{
	static const uint32_t of[PROC_MAX] = {[PROC_NETD] = P(ROLED) | P(SYNCD),
	    [PROC_ICMPD] = P(ROLED),
	    [PROC_ROLED] = P(NETD) | P(ICMPD) | P(KEYD) | P(SYNCD),
	    [PROC_KEYD] = P(ROLED) | P(SYNCD),
	    [PROC_SYNCD] = P(NETD) | P(ROLED) | P(KEYD)};

	return (of[a] >> b & 1) != 0;
}

static int
open_in(const char *where, const char *name, int flags)
{
	char path[CONF_COMMAND + 64];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", where, name);
	fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd < 0)
		evil_untried(path);
	return fd;
}

static int
listen_at(const char *path, int type)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) != 0 || listen(fd, 4) != 0)
		evil_untried(path);
	return fd;
}

static void
fill_resources(struct spawn *s)
{
	static int admin = -1, local = -1;
	char path[512];

	if (s->process == PROC_PARSER)
		s->fd[FD_CONFIG] = open(config_path, O_RDONLY | O_CLOEXEC);
	if (s->process == PROC_KEYD) {
		s->fd[FD_KEY_STATUS] =
		    open_in(config.conf.general.state_dir, "status.key", O_RDONLY);
		s->fd[FD_KEY_DATA] = open_in(config.conf.general.state_dir, "data.key", O_RDONLY);
	}
	if (s->process == PROC_SYNCD) {
		if (local < 0) {
			snprintf(path, sizeof(path), "%s/data.sock", folder);
			local = listen_at(path, SOCK_STREAM);
		}
		s->fd[FD_LOCAL] = dup(local);
	}
	if (s->process != PROC_ROLED)
		return;
	if (admin < 0) {
		snprintf(path, sizeof(path), "%s/admin.sock", folder);
		admin = listen_at(path, SOCK_SEQPACKET);
	}
	s->fd[FD_STATE] = open_in(folder, "role.state", O_RDWR | O_CREAT | O_TRUNC);
	s->fd[FD_LEDGER] = open_in(folder, "ledger", O_RDWR | O_CREAT | O_TRUNC);
	s->fd[FD_ADMIN] = dup(admin);
}

/* The real program in its real sandbox, with us at the other ends of its channels. */
static void
life_start(enum process process)
{
	static uint32_t generation;
	struct spawn s;
	int fds[2];

	memset(&life, 0, sizeof(life));
	life.process = process;
	spawn_init(&s, process);
	s.generation = ++generation;
	s.uid = sup.uid[process];
	s.gid = sup.gid[process];
	s.root_fd = process == PROC_SYNCD ? sup.store_fd : sup.empty_fd;
	s.fd[FD_NULL] = sup.null_fd;
	fill_resources(&s);
	if (channel_pair(fds) != 0)
		evil_untried("channel");
	life.control = fds[0];
	s.fd[FD_CONTROL] = fds[1];
	for (enum process p = PROC_SUPERVISOR; p < PROC_MAX; p++) {
		life.edge[p] = -1;
		if (!is_edge(process, p))
			continue;
		if (channel_pair(fds) != 0)
			evil_untried("channel");
		life.edge[p] = fds[0];
		s.fd[FD_EDGE(p)] = fds[1];
	}
	life.pid = spawn_process(&s, &life.log);
	for (int i = FD_CONTROL; i < SPAWN_FDS; i++) {
		if (s.fd[i] >= 0)
			close(s.fd[i]);
	}
	if (life.pid < 0)
		evil_untried("start");
}

static _Noreturn void
runner_start_child(int fd, int log_fd, pid_t parent)
{
	signal(SIGPIPE, SIG_DFL);
	runner_main(fd, log_fd, parent);
}

/* The runner is no program of its own: the supervisor forks it, and so do we. */
static void
life_start_runner(void)
{
	int fds[2], log_fds[2];
	pid_t parent = getpid();

	memset(&life, 0, sizeof(life));
	life.process = PROC_RUNNER;
	for (enum process p = PROC_SUPERVISOR; p < PROC_MAX; p++)
		life.edge[p] = -1;
	if (channel_pair(fds) != 0 || pipe2(log_fds, O_CLOEXEC | O_NONBLOCK) != 0)
		evil_untried("channel");
	(void)fflush(stdout);
	life.pid = fork();
	if (life.pid == 0)
		runner_start_child(fds[1], log_fds[1], parent);
	close(fds[1]);
	close(log_fds[1]);
	life.control = fds[0];
	life.log = log_fds[0];
	if (life.pid < 0)
		evil_untried("fork");
}

/* Its exit code, ALIVE when it does not end in time, 128 and the signal. */
static int
wait_exit(int ms)
{
	int64_t end = now_ms() + ms;
	int status;

	while (waitpid(life.pid, &status, WNOHANG) == 0) {
		if (now_ms() >= end)
			return ALIVE;
		poll(NULL, 0, 1);
	}
	life.pid = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void
print_log(void)
{
	char text[LIFE_LOG];
	ssize_t n;

	while ((n = read(life.log, text, sizeof(text))) > 0)
		(void)fwrite(text, 1, (size_t)n, stderr);
}

static void
life_end(void)
{
	int status;

	if (life.pid > 0) {
		kill(life.pid, SIGKILL);
		while (waitpid(life.pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	close(life.control);
	close(life.log);
	for (enum process p = PROC_SUPERVISOR; p < PROC_MAX; p++) {
		if (life.edge[p] >= 0)
			close(life.edge[p]);
	}
}

/* ---- leading it into a state */

static void
send_packet(int sock, enum message_type type, const void *body, size_t size, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	uint8_t header[MSG_HEADER] = {(uint8_t)type};
	struct iovec iov[2] = {{header, sizeof(header)}, {(void *)(uintptr_t)body, size}};
	struct msghdr mh = {.msg_iov = iov, .msg_iovlen = 2};
	struct cmsghdr *cm;

	if (fd >= 0) {
		mh.msg_control = &control;
		mh.msg_controllen = sizeof(control.bytes);
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &fd, sizeof(int));
	}
	/* one that has ended already is seen where its answer is awaited */
	if (sendmsg(sock, &mh, MSG_NOSIGNAL) < 0 && errno != EPIPE)
		evil_untried(message_name(type));
}

static void
send_u64(enum message_type type, uint64_t value)
{
	uint8_t body[8];

	for (int i = 0; i < 8; i++)
		body[i] = (uint8_t)(value >> (8 * i));
	send_packet(life.control, type, body, sizeof(body), -1);
}

/*
 * Read on until a packet of that type comes. Returns its size, or -1: end of file, or not in time.
 */
static ssize_t
read_until(int sock, enum message_type type, uint8_t *packet, size_t size)
{
	int64_t end = now_ms() + WAIT_MS;

	for (;;) {
		struct pollfd p = {.fd = sock, .events = POLLIN};
		int64_t left = end - now_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return -1;
		n = take_packet(sock, packet, size);
		if (n <= 0)
			return -1;
		if (n >= MSG_HEADER && (packet[0] | packet[1] << 8) == (int)type)
			return n;
	}
}

static void
expect(int sock, enum message_type type)
{
	uint8_t packet[MSG_SIZE_MAX];

	if (read_until(sock, type, packet, sizeof(packet)) < 0) {
		print_log();
		fprintf(stderr, "evil_peer: %s did not say %s\n", process_name(life.process),
		    message_name(type));
		evil_untried("not led into its state");
	}
}

/* All that was said before has been dealt with. */
static void
settle(void)
{
	send_u64(MSG_PING, COOKIE);
	expect(life.control, MSG_PONG);
}

/* The configuration, as far as this process gets it. */
static void
send_config(void)
{
	for (size_t i = 0; i < config.n; i++) {
		unsigned type = config.bytes[i][0];

		if (!(message_row(type)->to & (1U << life.process)) || type == MSG_CONF_DONE)
			continue;
		if (send(life.control, config.bytes[i], config.size[i], MSG_NOSIGNAL) < 0)
			evil_untried("configuration");
	}
}

static void
ask_prepare(uint64_t serial)
{
	send_config();
	send_u64(MSG_PREPARE, serial);
	expect(life.control, MSG_PREPARED);
}

/*
 * netd ends at once on STOP unless it carries something: a link to the partner, whose both ends are
 * ours.
 */
static void
carry_link(int keep[2])
{
	uint8_t open[7] = {LINK_TOKEN, 0, 0, 0, 0, 0, LINK_STATUS}, packet[MSG_SIZE_MAX];
	int owner[2], tcp[2];

	open[4] = config.conf.general.self == 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, owner) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, tcp) != 0)
		evil_untried("link");
	send_packet(life.edge[PROC_ROLED], MSG_LINK_OPEN, open, sizeof(open), owner[1]);
	if (read_until(life.control, MSG_DIAL, packet, sizeof(packet)) < 0)
		evil_untried("no DIAL");
	send_packet(life.control, MSG_DIALED, packet + MSG_HEADER, 4, tcp[1]);
	expect(life.edge[PROC_ROLED], MSG_LINK_CONNECTED);
	close(owner[1]);
	close(tcp[1]);
	keep[0] = owner[0];
	keep[1] = tcp[0];
}

/*
 * Start it and bring it into the state. S_STOP: it stands still, and STOP waits for it, so that
 * what is said next is read in the same turn; keep: descriptors to close afterwards, or -1.
 */
static void
bring(enum process process, enum channel_state state, int keep[2])
{
	const uint8_t self[14] = {1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
	const uint8_t stop[4] = {(uint8_t)(STOP_MS & 255), (uint8_t)(STOP_MS >> 8)};
	siginfo_t info;

	keep[0] = keep[1] = -1;
	life_start(process);
	expect(life.control, MSG_READY);
	if (state == S_START)
		return;
	if (process == PROC_ROLED)
		send_packet(life.control, MSG_SELF_INFO, self, sizeof(self), -1);
	ask_prepare(1);
	send_u64(MSG_COMMIT, 1);
	settle();
	if (state == S_PREPARE)
		ask_prepare(2);
	if (state != S_STOP)
		return;
	if (process == PROC_NETD)
		carry_link(keep);
	kill(life.pid, SIGSTOP);
	if (waitid(P_PID, (id_t)life.pid, &info, WSTOPPED) != 0)
		evil_untried("stop");
	send_packet(life.control, MSG_STOP, stop, sizeof(stop), -1);
}

static void
let_go(const int keep[2])
{
	for (int i = 0; i < 2; i++) {
		if (keep[i] >= 0)
			close(keep[i]);
	}
	life_end();
}

/* ---- the supervisor is evil */

/* How must it end? icmpd and syncd end at once, and read nothing after STOP. */
static int
right_code(enum channel_state state, const struct cell *c)
{
	if (state == S_STOP && (life.process == PROC_ICMPD || life.process == PROC_SYNCD))
		return EXIT_OK;
	return c->expected != 0 ? EXIT_PROTOCOL : EXIT_CHANNEL;
}

static void
judge_exit(enum channel_state state, const struct cell *c)
{
	enum process process = life.process;
	int right = right_code(state, c), code = wait_exit(WAIT_MS);
	char text[96];

	/* an end in order may be over before the end of the channel is seen */
	if (code == right || (state == S_STOP && c->expected == 0 && code == EXIT_OK)) {
		count_cell(process, PROC_SUPERVISOR, c, NULL);
		return;
	}
	snprintf(text, sizeof(text), code == ALIVE ? "it lives on" : "exit code %d, not %d", code,
	    right);
	count_cell(process, PROC_SUPERVISOR, c, text);
	print_log();
}

static void
supervisor_to_child(enum process process, enum channel_state state, size_t count)
{
	int keep[2];

	make_cells(process, PROC_SUPERVISOR, state);
	for (size_t i = 0; i < count && i < n_cells; i++) {
		const struct cell *c = choose_cell(i, count);

		bring(process, state, keep);
		if (say(c, life.control) != 0)
			evil_untried(c->what);
		if (state == S_STOP)
			kill(life.pid, SIGCONT);
		judge_exit(state, c);
		let_go(keep);
	}
	print_result(process, PROC_SUPERVISOR, state);
}

/* A question out of place is answered, and nothing has changed. */
static void
prepare_of_nothing(enum process process)
{
	static const struct cell c = {
	    .type = MSG_PREPARE, .size = MSG_HEADER + 8, .what = "of nothing"};
	uint8_t packet[MSG_SIZE_MAX];
	int keep[2];

	bring(process, S_RUN, keep);
	send_u64(MSG_PREPARE, 2);
	count_cell(process, PROC_SUPERVISOR, &c,
	    read_until(life.control, MSG_REFUSED, packet, sizeof(packet)) < 0
		? "not answered by REFUSED"
		: NULL);
	settle();
	let_go(keep);
}

static const enum message_type odd_types[] = {MSG_LISTENER, MSG_DIALED, MSG_TARGET, MSG_PEER};
static const char *const odd_names[] = {"/dev/null", "/", "/dev/ptmx"};
enum {
	N_ODD = sizeof(odd_types) / sizeof(odd_types[0]),
	N_ODD_NAMES = sizeof(odd_names) / sizeof(odd_names[0])
};

void
list_odd(enum process process)
{
	for (size_t i = 0; i < N_ODD * N_ODD_NAMES; i++) {
		enum message_type type = odd_types[i / N_ODD_NAMES];

		if (message_row(type)->to & (1U << process))
			printf("%s\t%s\n", message_name(type), odd_names[i % N_ODD_NAMES]);
	}
	printf("%s\tof nothing\n", message_name(MSG_PREPARE));
}

/* The message is right, its descriptor is another thing: an end with a reason, or nothing. */
static void
try_odd(enum process process, enum message_type type, const char *name)
{
	const struct message_row *row = message_row(type);
	const struct cell c = {.type = (uint16_t)type,
	    .size = MSG_HEADER + (size_t)row->min,
	    .n_fds = 1,
	    .what = name};
	static uint8_t packet[MSG_SIZE_MAX];
	uint8_t body[8] = {0};
	int keep[2], fd, code = ALIVE;

	bring(process, S_RUN, keep);
	if (type == MSG_PEER)
		body[0] = process == PROC_ROLED ? PROC_ICMPD : PROC_ROLED;
	if (type == MSG_TARGET)
		body[4] = 4; /* the family */
	fd = open(name, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	send_packet(life.control, type, body, row->min, fd);
	close(fd);
	send_u64(MSG_PING, COOKIE);
	if (read_until(life.control, MSG_PONG, packet, sizeof(packet)) < 0)
		code = wait_exit(WAIT_MS);
	if (code == ALIVE || code == EXIT_FATAL || code == EXIT_PROTOCOL) {
		count_cell(process, PROC_SUPERVISOR, &c, NULL);
	} else {
		count_cell(process, PROC_SUPERVISOR, &c, "ends without a reason");
		print_log();
	}
	let_go(keep);
}

static void
odd_descriptors(enum process process)
{
	for (size_t i = 0; i < N_ODD * N_ODD_NAMES; i++) {
		if (message_row(odd_types[i / N_ODD_NAMES])->to & (1U << process))
			try_odd(process, odd_types[i / N_ODD_NAMES], odd_names[i % N_ODD_NAMES]);
	}
}

/* ---- a neighbour is evil */

/*
 * The child's PEER_BROKEN about that neighbour: the violation; V_NONE: none comes, V_MAX: it has
 * ended.
 */
static unsigned
read_report(enum process peer, const struct cell *c, int ms)
{
	int64_t end = now_ms() + ms;

	for (;;) {
		struct pollfd p = {.fd = life.control, .events = POLLIN};
		int64_t left = end - now_ms();
		uint8_t b[MSG_SIZE_MAX];
		ssize_t n;

		if (left < 0 || poll(&p, 1, (int)left) <= 0)
			return V_NONE;
		n = take_packet(p.fd, b, sizeof(b));
		if (n <= 0)
			return V_MAX;
		if (n >= MSG_HEADER + 2 && (b[0] | b[1] << 8) == MSG_PEER_BROKEN && b[4] == peer &&
		    b[5] != V_CLOSED)
			return is_quoted(c, b + 6, (size_t)n - 6) ? b[5] : V_NONE;
	}
}

/* Said to a child that lives on: cut off, and reported where there is something to report. */
static void
try_neighbour(enum process peer, const struct cell *c)
{
	enum process process = life.process;
	const char *instead = NULL;
	uint8_t name[2] = {(uint8_t)peer, 0};
	unsigned v;
	int fds[2];

	if (channel_pair(fds) != 0)
		evil_untried("channel");
	send_packet(life.control, MSG_PEER, name, sizeof(name), fds[1]);
	close(fds[1]);
	close(life.edge[peer]);
	life.edge[peer] = fds[0];
	if (say(c, life.edge[peer]) != 0)
		evil_untried(c->what);
	if (c->way != WAY_CLOSE && wait_cut(life.edge[peer], WAIT_MS) != 0)
		instead = "not cut off";
	else if ((v = read_report(peer, c, c->expected != 0 ? WAIT_MS : 1)) == V_MAX)
		instead = "the receiver has ended";
	else if (c->expected != 0 ? !(c->expected >> v & 1) : v != V_NONE)
		instead = violation_name((enum channel_violation)v);
	count_cell(process, peer, c, instead);
	if (instead != NULL)
		print_log();
}

static void
neighbour_to_child(enum process process, enum process peer, enum channel_state state)
{
	int keep[2];

	make_cells(process, peer, state);
	bring(process, state, keep);
	if (state == S_STOP) {
		kill(life.pid, SIGCONT);
		settle();
	}
	for (size_t i = 0; i < n_cells; i++)
		try_neighbour(peer, &cells[i]);
	settle();
	let_go(keep);
	print_result(process, peer, state);
}

/*
 * Right in form, but of what is not used: answered where there is an answer, nobody is cut off, and
 * nothing is dialled. self: this server's own index is put there; 0: none.
 */
static const struct unused {
	enum process to, from;
	const char *what;
	uint8_t type, self;
	uint8_t body[11];
	uint8_t answer, at, expected; /* type, place and value of a byte; 0: nothing is said */
} unused[] = {
    {PROC_NETD, PROC_SYNCD, "server that is not configured", MSG_LINK_OPEN, 0,
	{1, 0, 0, 0, CONF_SERVERS - 1, 0, LINK_SYNC}, MSG_LINK_CLOSED, 4, CLOSE_ERROR},
    {PROC_NETD, PROC_SYNCD, "no server at all", MSG_LINK_OPEN, 0,
	{2, 0, 0, 0, UINT8_MAX, 0, LINK_SYNC}, MSG_LINK_CLOSED, 4, CLOSE_ERROR},
    {PROC_NETD, PROC_SYNCD, "path that is not configured", MSG_LINK_OPEN, 0,
	{3, 0, 0, 0, 1, UINT8_MAX, LINK_REQUEST}, MSG_LINK_CLOSED, 4, CLOSE_ERROR},
    {PROC_NETD, PROC_SYNCD, "this server itself", MSG_LINK_OPEN, 4, {4, 0, 0, 0, 0, 0, LINK_SYNC},
	MSG_LINK_CLOSED, 4, CLOSE_ERROR},
    {PROC_NETD, PROC_SYNCD, "kind of link of another", MSG_LINK_OPEN, 0,
	{5, 0, 0, 0, 1, 0, LINK_STATUS}, MSG_LINK_CLOSED, 4, CLOSE_ERROR},
    {PROC_NETD, PROC_ROLED, "kind of link of another", MSG_LINK_OPEN, 0,
	{6, 0, 0, 0, 1, 0, LINK_REQUEST}, MSG_LINK_CLOSED, 4, CLOSE_ERROR},
    {PROC_NETD, PROC_SYNCD, "link that is not there", MSG_LINK_DROP, 0, {7, 0, 0, 128}, 0, 0, 0},
    {PROC_SYNCD, PROC_ROLED, "main that is not configured", MSG_DATA_ROLE, 0,
	{DATA_STANDBY, CONF_SERVERS - 1, 0, 1}, 0, 0, 0},
    {PROC_SYNCD, PROC_ROLED, "main that is this server, a standby", MSG_DATA_ROLE, 1,
	{DATA_STANDBY, 0, DATA_MAIN_HEARD, 1}, 0, 0, 0},
    {PROC_SYNCD, PROC_ROLED, "server that is not configured", MSG_DATA_DRAIN, 0,
	{1, 0, 0, 0, 0, 0, 0, 0, CONF_SERVERS - 1}, 0, 0, 0},
    {PROC_SYNCD, PROC_ROLED, "this server itself", MSG_DATA_DRAIN, 8, {2}, 0, 0, 0},
    {PROC_SYNCD, PROC_ROLED, "not as main", MSG_DATA_INIT, 0, {3}, MSG_DATA_RESULT, 8, CTL_REFUSED},
    {PROC_SYNCD, PROC_NETD, "link that is not there", MSG_LINK_CONNECTED, 0, {9}, 0, 0, 0},
    {PROC_SYNCD, PROC_NETD, "link that is not there", MSG_LINK_CLOSED, 0, {9}, 0, 0, 0},
    {PROC_KEYD, PROC_SYNCD, "public key of zeros", MSG_KEY_DH, 0, {8}, MSG_KEY_SHARED, 4, 0},
};
enum { N_UNUSED = sizeof(unused) / sizeof(unused[0]) };

void
list_unused(enum process to, enum process from)
{
	for (size_t i = 0; i < N_UNUSED; i++) {
		if (unused[i].to == to && unused[i].from == from)
			printf("%s\t%s\n", message_name(unused[i].type), unused[i].what);
	}
}

/* How it was not put up with; NULL: it was. */
static const char *
say_unused(const struct unused *u)
{
	static uint8_t packet[MSG_SIZE_MAX];
	uint8_t body[64] = {0};
	int stream[2] = {-1, -1};
	struct pollfd p = {.fd = life.edge[u->from], .events = POLLIN};
	ssize_t n;

	memcpy(body, u->body, sizeof(u->body));
	if (u->self != 0)
		body[u->self] = config.conf.general.self;
	if (message_row(u->type)->fds > 0 &&
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, stream) != 0)
		evil_untried("stream");
	send_packet(p.fd, u->type, body, message_row(u->type)->min, stream[1]);
	if (stream[0] >= 0) {
		close(stream[0]);
		close(stream[1]);
	}
	if (u->answer != 0) {
		n = read_until(p.fd, u->answer, packet, sizeof(packet));
		if (n < MSG_HEADER + u->at + 1 || packet[MSG_HEADER + u->at] != u->expected)
			return "not answered as it has to be";
	}
	/* it is dealt with when a second PING is answered: a turn of the loop has passed */
	settle();
	settle();
	while (poll(&p, 1, 0) > 0) {
		n = take_packet(p.fd, packet, sizeof(packet));
		if (n <= 0)
			return "cut off";
		if (packet[0] == MSG_DATA_DRAINED)
			return "taken for a server";
	}
	if (u->to == PROC_SYNCD) {
		p.fd = life.edge[PROC_NETD];
		while (poll(&p, 1, 0) > 0 && take_packet(p.fd, packet, sizeof(packet)) > 0) {
			if (packet[0] == MSG_LINK_OPEN)
				return "a link is opened";
		}
	}
	return NULL;
}

static void
say_all_unused(enum process to, enum process from)
{
	int keep[2];

	for (size_t i = 0; i < N_UNUSED; i++) {
		const struct unused *u = &unused[i];
		const struct cell c = {.type = u->type,
		    .size = MSG_HEADER + (size_t)message_row(u->type)->min,
		    .n_fds = message_row(u->type)->fds,
		    .what = u->what};
		const char *instead;

		if (u->to != to || u->from != from)
			continue;
		bring(to, S_RUN, keep);
		instead = say_unused(u);
		count_cell(to, from, &c, instead);
		if (instead != NULL)
			print_log();
		let_go(keep);
	}
}

/* It has been told to stop: it cuts off and reports all the same, and ends in order. */
static void
neighbour_to_stopping(enum process process, enum process peer, size_t count)
{
	int keep[2];

	make_cells(process, peer, S_STOP);
	for (size_t i = 0; i < count && i < n_cells; i++) {
		const struct cell *c = choose_cell(i, count);
		char text[96];
		unsigned v;
		int code;

		bring(process, S_STOP, keep);
		if (say(c, life.edge[peer]) != 0)
			evil_untried(c->what);
		kill(life.pid, SIGCONT);
		code = wait_exit(WAIT_MS);
		v = read_report(peer, c, 0);
		snprintf(text, sizeof(text), "exit code %d, %s", code,
		    v < V_MAX ? violation_name((enum channel_violation)v) : "no report");
		count_cell(process, peer, c,
		    code == EXIT_OK &&
			    (c->expected != 0 ? v < V_MAX && (c->expected >> v & 1) : v == V_MAX)
			? NULL
			: text);
		if (code != EXIT_OK)
			print_log();
		let_go(keep);
	}
	print_result(process, peer, S_STOP);
}

/* ---- the parser and the runner */

/* Read what the parser says until it ends. Returns its exit code; the packets into config. */
static int
read_parser(void)
{
	config.n = 0;
	for (;;) {
		struct pollfd p = {.fd = life.control, .events = POLLIN};
		ssize_t n;

		if (config.n == CONF_PACKETS || poll(&p, 1, WAIT_MS) <= 0)
			return ALIVE;
		n = take_packet(life.control, config.bytes[config.n], MSG_SIZE_MAX);
		if (n <= 0)
			return wait_exit(WAIT_MS);
		config.size[config.n++] = (size_t)n;
	}
}

/* The configuration, from the real parser. */
static void
learn_config(void)
{
	static struct msg m;

	life_start(PROC_PARSER);
	if (read_parser() != EXIT_OK || config.n < 2 ||
	    config.bytes[config.n - 1][0] != MSG_CONF_DONE) {
		print_log();
		evil_untried("the parser has not understood the configuration");
	}
	conf_defaults(&config.conf);
	for (size_t i = 0; i + 1 < config.n; i++) {
		msg_begin(&m, (enum message_type)config.bytes[i][0]);
		m.len = config.size[i] - MSG_HEADER;
		memcpy(m.body, config.bytes[i] + MSG_HEADER, m.len);
		if (conf_apply(&config.conf, &m) != 0)
			evil_untried("a message of the parser");
	}
	life_end();
}

/* It takes nothing from its supervisor at all: whatever is said, the configuration is the same. */
static void
supervisor_to_parser(size_t count)
{
	uint8_t done[MSG_SIZE_MAX];
	size_t n = config.n, size = config.size[config.n - 1];

	memcpy(done, config.bytes[n - 1], size);
	make_cells(PROC_PARSER, PROC_SUPERVISOR, S_START);
	for (size_t i = 0; i < count && i < n_cells; i++) {
		const struct cell *c = choose_cell(i, count);
		int code, same;

		life_start(PROC_PARSER);
		if (say(c, life.control) != 0)
			evil_untried(c->what);
		code = read_parser();
		same = config.n == n && config.size[n - 1] == size &&
		       memcmp(config.bytes[n - 1], done, size) == 0;
		count_cell(PROC_PARSER, PROC_SUPERVISOR, c,
		    c->way == WAY_CLOSE
			? (code == EXIT_CHANNEL ? NULL : "not ended by a closed channel")
			: (code == EXIT_OK && same ? NULL
						   : "another configuration, or another end"));
		life_end();
	}
	print_result(PROC_PARSER, PROC_SUPERVISOR, S_START);
	learn_config();
}

static void
supervisor_to_runner(void)
{
	make_cells(PROC_RUNNER, PROC_SUPERVISOR, S_START);
	for (size_t i = 0; i < n_cells; i++) {
		life_start_runner();
		send_config();
		send_packet(life.control, MSG_RUN_CONFIG, NULL, 0, -1);
		send_u64(MSG_RUN_PING, COOKIE);
		expect(life.control, MSG_RUN_PONG);
		if (say(&cells[i], life.control) != 0)
			evil_untried(cells[i].what);
		judge_exit(S_START, &cells[i]);
		life_end();
	}
	print_result(PROC_RUNNER, PROC_SUPERVISOR, S_START);
}

/* ---- all of it */

/* The root of syncd, as supervisor/files.c makes it. */
static void
open_store(void)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/data", folder);
	if (mkdir(path, 0710) != 0 || chown(path, sup.uid[PROC_SYNCD], 0) != 0)
		evil_untried(path);
	sup.store_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sup.store_fd < 0)
		evil_untried(path);
}

static void
set_up(const char *libexec)
{
	static char empty[512];

	evil_supervisor = getpid();
	sup.libexec = libexec;
	sup.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	snprintf(empty, sizeof(empty), "%s/empty", folder);
	if (mkdir(empty, 0555) != 0 && errno != EEXIST)
		evil_untried(empty);
	sup.empty_fd = open(empty, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sup.null_fd < 0 || sup.empty_fd < 0 || sandbox_stage0_prepare() != 0 ||
	    spawn_find_users(NULL) != 0)
		evil_untried("set-up");
	learn_config();
	if (spawn_find_users(&config.conf) != 0)
		evil_untried("users");
	open_store();
}

int
evil_host(const char *libexec, const char *path, const char *where, size_t count)
{
	static const enum process hosted[] = {
	    PROC_NETD, PROC_ICMPD, PROC_ROLED, PROC_KEYD, PROC_SYNCD};
	static const enum channel_state states[] = {S_START, S_RUN, S_PREPARE, S_STOP};

	config_path = path;
	folder = where;
	set_up(libexec);
	for (size_t s = 0; s < sizeof(states) / sizeof(states[0]); s++) {
		for (size_t i = 0; i < sizeof(hosted) / sizeof(hosted[0]); i++) {
			if (states[s] == S_RUN) {
				prepare_of_nothing(hosted[i]);
				odd_descriptors(hosted[i]);
			}
			supervisor_to_child(hosted[i], states[s], count);
		}
		for (size_t i = 0; i < sizeof(hosted) / sizeof(hosted[0]); i++) {
			for (enum process p = PROC_SUPERVISOR; p < PROC_MAX; p++) {
				if (!is_edge(hosted[i], p))
					continue;
				if (states[s] == S_RUN)
					say_all_unused(hosted[i], p);
				/*
				 * roled waits for its partners; netd empties its links; icmpd, keyd
				 * and syncd just go
				 */
				if (states[s] != S_STOP || hosted[i] == PROC_ROLED)
					neighbour_to_child(hosted[i], p, states[s]);
				else if (hosted[i] == PROC_NETD)
					neighbour_to_stopping(hosted[i], p, count);
			}
		}
	}
	supervisor_to_parser(count);
	supervisor_to_runner();
	return evil_wrong > 0 ? EVIL_WRONG : 0;
}

/* ---- we are roled, of an admin's bulkheadctl */

/* bulkheadctl status, what it prints into *out. Returns its pid. */
static pid_t
start_tool(const char *ctl, const char *path, int *out)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0)
		evil_untried("pipe");
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		dup2(sup.null_fd, STDERR_FILENO);
		execl(ctl, ctl, "-f", path, "status", (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	*out = fds[0];
	return pid;
}

int
evil_admin(const char *ctl, const char *path, const char *socket_path, size_t count)
{
	enum { NO_DAEMON = 3 }; /* ctl/ctl.h */
	int listener = listen_at(socket_path, SOCK_SEQPACKET);

	evil_supervisor = getpid();
	sup.null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	make_cells(PROC_CTL, PROC_ROLED, S_RUN);
	for (size_t i = 0; i < count && i < n_cells; i++) {
		const struct cell *c = choose_cell(i, count);
		struct pollfd p = {.fd = listener, .events = POLLIN};
		char printed[64];
		int out, code, sock;
		ssize_t n;

		memset(&life, 0, sizeof(life));
		life.pid = start_tool(ctl, path, &out);
		sock = poll(&p, 1, WAIT_MS) == 1 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
		if (sock < 0)
			evil_untried("bulkheadctl does not come");
		expect(sock, MSG_CTL_STATUS);
		if (say(c, sock) != 0)
			evil_untried(c->what);
		code = wait_exit(2 * WAIT_MS);
		n = read(out, printed, sizeof(printed));
		count_cell(PROC_CTL, PROC_ROLED, c,
		    code != NO_DAEMON ? "another exit code than 3"
		    : n > 0	      ? "it prints something"
				      : NULL);
		close(out);
		close(sock);
	}
	close(listener);
	unlink(socket_path);
	print_result(PROC_CTL, PROC_ROLED, S_RUN);
	return evil_wrong > 0 ? EVIL_WRONG : 0;
}
