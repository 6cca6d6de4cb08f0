/* SPDX-License-Identifier: ISC */
/*
 * Breach drill by messages: takes over one end of the channels of a *running* daemon and says what
 * the process behind it must never send. All cells are made from messages.def: every type in the
 * wrong direction, and every type of the channel with wrong lengths, wrong numbers and kinds of
 * descriptors, in the wrong state, unasked for; besides broken headers, empty packets, half-closed
 * channels and forged credentials.
 *
 *   evil_peer children PID SOCKET   the receivers are the children of supervisor PID, and roled on
 *                                   its admin socket
 *   evil_peer supervisor PID COUNT  the receiver is the supervisor: COUNT cells of all, evenly chosen
 *   evil_peer parser PID 0          prints the cells of the parser, for which it stands in: a copy of this
 *                                   program called parser, started by the supervisor, says the one whose
 *                                   number is in the file "cell" of its folder
 *
 * children: the supervisor is stopped meanwhile, and its ends of the control channels are ours: PEER
 * gives a child a new neighbour, which is us, and PEER_BROKEN tells what the child made of it.
 * supervisor: a child is stopped and its end used; the supervisor must kill it. Restarts are delayed
 * for a child that was not up for half a second, so that each cell takes longer.
 *
 * One line per channel: receiver, sender, cells, refused. Each cell that was not is a line on stderr.
 * Exit 0 when all were refused, 1 when not, 2 when it cannot try. That nobody keeps a descriptor is
 * for the caller to see, once the links that are broken on the way are up again.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/channel.h"
#include "lib/clock.h"

enum {
	EXIT_WRONG = 1,
	EXIT_UNTRIED = 2,
	CELLS_MAX = 2048,
	MANY_FDS = 253, /* SCM_MAX_FD of the kernel */
	SEEN_FDS = 16,	/* more than a receiver looks at: truncated */
	PACKET_MAX = 65535,
	WAIT_MS = 5000,
	UP_MS = 800, /* a child that has been up so long is started again at once */
	N_CHILDREN = 4,
	SINGLE_CELLS = 10, /* the last ones of make_cells() */
};
#define V(x) (1U << V_##x)

enum descriptor { FD_PLAIN, FD_FOLDER, FD_TERMINAL, FD_OWN_END };
enum way { WAY_PACKET, WAY_EMPTY, WAY_HALF_CLOSE, WAY_CLOSE };

/* One thing that a receiver must not put up with. */
struct cell {
	enum way way;
	uint16_t type;
	uint16_t high; /* the header's second field, zero in a good packet */
	size_t size;   /* of the whole packet */
	unsigned n_fds;
	enum descriptor kind;
	char fill;  /* of the body */
	int forged; /* with the supervisor's credentials */
	unsigned expected; /* mask of enum channel_violation; 0: none is reported */
	const char *what;
};

static struct cell cells[CELLS_MAX];
static size_t n_cells;
static unsigned tried, refused, wrong;
static pid_t supervisor;

static const enum process children[N_CHILDREN] = {PROC_NETD, PROC_ICMPD, PROC_ROLED, PROC_KEYD};

/* ---- cells, from the table */

static struct cell *
add_cell(unsigned type, size_t body, unsigned n_fds, unsigned expected, const char *what)
{
	struct cell *c = &cells[n_cells];

	if (n_cells == CELLS_MAX)
		abort();
	n_cells++;
	memset(c, 0, sizeof(*c));
	c->type = (uint16_t)type;
	c->size = MSG_HEADER + body;
	c->n_fds = n_fds;
	c->expected = expected;
	c->what = what;
	return c;
}

static void
add_lengths(unsigned type, const struct message_row *row)
{
	if (row->min > 0) {
		add_cell(type, (size_t)row->min - 1, row->fds, V(LENGTH), "a byte too short");
		add_cell(type, 0, row->fds, V(LENGTH), "without a body");
	}
	add_cell(type, (size_t)row->max + 1, row->fds, V(LENGTH), "a byte too long");
	add_cell(type, MSG_SIZE_MAX - MSG_HEADER, row->fds, V(LENGTH), "as long as a packet can be");
	add_cell(type, PACKET_MAX - MSG_HEADER, row->fds, V(SIZE), "longer than a packet can be");
}

static void
add_descriptors(unsigned type, const struct message_row *row)
{
	static const unsigned numbers[] = {0, 1, 2, SEEN_FDS, MANY_FDS};
	unsigned extra = row->fds + 1U;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (numbers[i] != row->fds)
			add_cell(type, row->min, numbers[i], numbers[i] > SEEN_FDS ? V(SIZE) : V(FDS),
			    "number of descriptors");
	}
	add_cell(type, row->min, extra, V(FDS), "a folder")->kind = FD_FOLDER;
	add_cell(type, row->min, extra, V(FDS), "a terminal")->kind = FD_TERMINAL;
	add_cell(type, row->min, extra, V(FDS), "its own end of the channel")->kind = FD_OWN_END;
}

/* A type that sender may send to receiver: everything about it is wrong but that. */
static void
add_wrong_forms(unsigned type, const struct message_row *row, enum channel_state state)
{
	struct cell *c = add_cell(type, row->min, row->fds, V(SIZE), "header that is not zero");

	c->high = 1;
	add_lengths(type, row);
	add_descriptors(type, row);
	if (!(row->states & state))
		add_cell(type, row->min, row->fds, V(STATE), "wrong state");
	else if (row->flags & F_PERMIT) /* zeros are no answer to a question that is under way */
		add_cell(type, row->min, row->fds, V(FLAGS) | V(BODY), "not asked for");
}

/* Right in form, but of a server, path, action, process or cause that cannot be. */
static void
add_impossible(enum process receiver, enum process sender, enum channel_state state)
{
	static const enum message_type types[] = {MSG_DIAL, MSG_ACTION, MSG_PEER_BROKEN, MSG_LINK_IN,
	    MSG_LINK_CLOSED, MSG_LINK_OPEN, MSG_ICMP_REPORT};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		const struct message_row *row = message_row(types[i]);

		if ((row->from & (1U << sender)) && (row->to & (1U << receiver)) && (row->states & state))
			add_cell(types[i], row->min, row->fds, V(BODY), "impossible values")->fill = (char)-1;
	}
}

/* All that sender must not say to receiver, whose channel is in that state. */
static void
make_cells(enum process receiver, enum process sender, enum channel_state state)
{
	n_cells = 0;
	for (unsigned type = 0; type <= MSG_TYPE_MAX; type++) {
		const struct message_row *row = message_row(type);

		if (row == NULL)
			add_cell(type, 0, 0, V(TYPE), "no such type");
		else if (!(row->from & (1U << sender)))
			add_cell(type, row->min, row->fds, V(FROM), "wrong direction");
		else if (!(row->to & (1U << receiver)))
			add_cell(type, row->min, row->fds, V(TO), "not for this one");
		else
			add_wrong_forms(type, row, state);
	}
	add_cell(UINT16_MAX, 0, 0, V(TYPE), "no such type");
	add_impossible(receiver, sender, state);
	/* said by root for the others; in the place of a child the kernel does not let it out at all */
	add_cell(MSG_PING, 8, 0, sender == PROC_PARSER ? 0 : V(FROM), "forged credentials")->forged = 1;
	for (size_t size = 1; size < MSG_HEADER; size++)
		add_cell(0, 0, 0, V(SIZE), "less than a header")->size = size;
	add_cell(0, 0, 0, V(SIZE), "empty packet")->way = WAY_EMPTY;
	add_cell(0, 0, 0, 0, "half-closed")->way = WAY_HALF_CLOSE;
	add_cell(0, 0, 0, 0, "closed")->way = WAY_CLOSE;
}

/* ---- the other processes */

static _Noreturn void
untried(const char *what)
{
	fprintf(stderr, "evil_peer: %s: %s\n", what, strerror(errno));
	kill(supervisor, SIGCONT);
	_exit(EXIT_UNTRIED);
}

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
		if (n > strlen(args) + 1 && strcmp(args + strlen(args) + 1, process_name(process)) == 0)
			return pid;
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

/* ---- saying it */

static int
odd_descriptor(const struct cell *c, int own)
{
	switch (c->kind) {
	case FD_FOLDER:
		return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case FD_TERMINAL:
		return open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	case FD_OWN_END:
		return dup(own);
	default:
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
}

/* Control data of the cell. Returns its length. */
static size_t
fill_control(const struct cell *c, int odd, char *control, size_t size)
{
	struct msghdr mh = {.msg_control = control, .msg_controllen = size};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
	struct ucred forged = {supervisor, 0, 0};

	memset(control, 0, size);
	cm->cmsg_level = SOL_SOCKET;
	if (c->forged) {
		cm->cmsg_type = SCM_CREDENTIALS;
		cm->cmsg_len = CMSG_LEN(sizeof(forged));
		memcpy(CMSG_DATA(cm), &forged, sizeof(forged));
		return CMSG_SPACE(sizeof(forged));
	}
	if (c->n_fds == 0)
		return 0;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(c->n_fds * sizeof(int));
	for (unsigned i = 0; i < c->n_fds; i++)
		memcpy(CMSG_DATA(cm) + i * sizeof(int), &odd, sizeof(int));
	return CMSG_SPACE(c->n_fds * sizeof(int));
}

static int
say_packet(const struct cell *c, int sock)
{
	static char packet[PACKET_MAX];
	static union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MANY_FDS * sizeof(int))];
	} control;
	struct iovec iov = {packet, c->way == WAY_EMPTY ? 0 : c->size};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	int odd = odd_descriptor(c, sock), r;

	memset(packet, c->fill, sizeof(packet));
	packet[0] = (char)c->type;
	packet[1] = (char)(c->type >> 8);
	packet[2] = (char)c->high;
	packet[3] = 0;
	mh.msg_controllen = fill_control(c, odd, control.bytes, sizeof(control.bytes));
	mh.msg_control = mh.msg_controllen > 0 ? control.bytes : NULL;
	r = sendmsg(sock, &mh, MSG_NOSIGNAL) >= 0 ? 0 : -1;
	close(odd);
	return r;
}

static int
say(const struct cell *c, int sock)
{
	switch (c->way) {
	case WAY_HALF_CLOSE:
		return shutdown(sock, SHUT_WR);
	case WAY_CLOSE:
		return shutdown(sock, SHUT_RDWR);
	default:
		return say_packet(c, sock);
	}
}

static void
complain(enum process receiver, enum process sender, const struct cell *c, const char *instead)
{
	wrong++;
	fprintf(stderr, "evil_peer: %s to %s: %s, %zu bytes, %u descriptors (%s): %s\n",
	    process_name(sender), process_name(receiver), message_name(c->type), c->size, c->n_fds,
	    c->what, instead);
}

static void
print_result(enum process receiver, enum process sender)
{
	printf("%s\t%s\t%u\t%u\n", process_name(receiver), process_name(sender), tried, refused);
	tried = refused = 0;
}

/* ---- receivers: the children */

static int controls[PROC_MAX]; /* the supervisor's ends of the control channels */

static void
drain(int sock)
{
	static char packet[PACKET_MAX];

	while (recv(sock, packet, sizeof(packet), MSG_DONTWAIT) > 0)
		;
}

/* Which of the supervisor's sockets is the other end of the child's control channel? One packet tells. */
static int
find_control(pid_t pid)
{
	int end = take_descriptor(pid, FD_CONTROL), found = -1;

	if (end < 0)
		untried("control channel");
	for (int round = 0; round < 2; round++) {
		for (int fd = 3; fd < 256 && found < 0; fd++) {
			int copy = take_descriptor(supervisor, fd), type = 0;
			struct pollfd p = {.fd = copy, .events = POLLIN};
			socklen_t len = sizeof(type);

			if (copy < 0)
				continue;
			if (getsockopt(copy, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_SEQPACKET) {
				close(copy);
				continue;
			}
			if (round == 1 && poll(&p, 1, 0) == 1)
				found = copy;
			drain(copy);
			if (found < 0)
				close(copy);
		}
		if (round == 0 && send(end, "probe", 5, MSG_NOSIGNAL) != 5)
			untried("probe");
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
	uint8_t packet[MSG_HEADER + 1] = {MSG_PEER, 0, 0, 0, (uint8_t)peer};
	struct iovec iov = {packet, sizeof(packet)};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
	    .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
	int fds[2];

	if (channel_pair(fds) != 0)
		untried("channel");
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fds[1], sizeof(int));
	if (sendmsg(controls[child], &mh, MSG_NOSIGNAL) < 0)
		untried("PEER");
	close(fds[1]);
	return fds[0];
}

/* Read until end of file. Returns 0 when the receiver closed it, -1 when it did not in time. */
static int
wait_cut(int sock, int ms)
{
	static char packet[PACKET_MAX];
	int64_t end = now_ms() + ms;

	for (;;) {
		struct pollfd p = {.fd = sock, .events = POLLIN};
		int64_t left = end - now_ms();

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return -1;
		if (p.revents & POLLHUP)
			return 0;
		if (recv(sock, packet, sizeof(packet), MSG_DONTWAIT) == 0)
			return 0;
	}
}

/* Does the report quote the start of that packet? */
static int
is_quoted(const struct cell *c, const uint8_t *bytes, size_t n)
{
	size_t size = c->way == WAY_EMPTY ? 0 : c->size < MSG_HEADER ? c->size : MSG_HEADER;
	const uint8_t header[MSG_HEADER] = {
	    (uint8_t)c->type, (uint8_t)(c->type >> 8), (uint8_t)c->high, 0};

	return n >= size && memcmp(bytes, header, size) == 0;
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
		n = recv(p.fd, b, sizeof(b), MSG_DONTWAIT);
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
	unsigned v;

	tried++;
	if (say(c, sock) != 0)
		untried(c->what);
	/* after our own close there is nothing to be seen at this end */
	if (c->way != WAY_CLOSE && wait_cut(sock, WAIT_MS) != 0) {
		complain(child, peer, c, "not cut off");
	} else if ((v = read_report(child, peer, c, c->expected != 0 ? WAIT_MS : 1)) == V_MAX) {
		complain(child, peer, c, "the receiver has ended");
	} else if (c->expected != 0 ? !(c->expected >> v & 1) : v != V_NONE) {
		complain(child, peer, c, violation_name((enum channel_violation)v));
	} else {
		refused++;
	}
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
		wrong++;
	}
	print_result(child, peer);
}

/* Connections of bulkheadctl, before the hello: all that is said is wrong. */
static void
attack_admin(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	make_cells(PROC_ROLED, PROC_CTL, S_START);
	for (size_t i = 0; i < n_cells; i++) {
		int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

		if (sock < 0 || connect(sock, (struct sockaddr *)&un, sizeof(un)) != 0)
			untried(path);
		tried++;
		if (say(&cells[i], sock) != 0)
			untried(cells[i].what);
		if (cells[i].way != WAY_CLOSE && wait_cut(sock, WAIT_MS) != 0)
			complain(PROC_ROLED, PROC_CTL, &cells[i], "not cut off");
		else
			refused++;
		close(sock);
	}
	print_result(PROC_ROLED, PROC_CTL);
}

/* The two neighbours get each other again. */
static void
reconnect(enum process a, enum process b)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	uint8_t packet[MSG_HEADER + 1] = {MSG_PEER, 0, 0, 0, (uint8_t)b};
	struct iovec iov = {packet, sizeof(packet)};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
	    .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
	int end = become_peer(b, a);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &end, sizeof(int));
	if (sendmsg(controls[a], &mh, MSG_NOSIGNAL) < 0)
		untried("PEER");
	close(end);
}

static void
attack_children(const char *admin)
{
	static const enum process edges[][2] = {{PROC_NETD, PROC_ROLED}, {PROC_ICMPD, PROC_ROLED},
	    {PROC_KEYD, PROC_ROLED}};

	for (size_t i = 0; i < N_CHILDREN; i++) {
		pid_t pid = child_pid(children[i]);

		if (pid == 0)
			untried("no such child");
		kill(supervisor, SIGSTOP);
		controls[children[i]] = find_control(pid);
		if (controls[children[i]] < 0)
			untried("control channel of the supervisor");
	}
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		attack_child(edges[i][1], edges[i][0]);
		attack_child(edges[i][0], edges[i][1]);
		reconnect(edges[i][0], edges[i][1]);
	}
	attack_admin(admin);
	kill(supervisor, SIGCONT);
}

/* ---- receiver: the supervisor */

struct victim {
	enum process process;
	pid_t pid;
	int64_t since_ms;
	size_t next; /* cell */
};

/* Has it been up long enough to be started again at once? */
static int
is_up(struct victim *v)
{
	pid_t pid = child_pid(v->process);

	if (pid != v->pid) {
		v->pid = pid;
		v->since_ms = now_ms();
	}
	return pid != 0 && now_ms() - v->since_ms >= UP_MS;
}

static int
wait_end(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, WAIT_MS) == 1 ? 0 : -1;
}

/* What the log must have, one per cell on stdout: the caller compares. */
static void
print_expected(enum process child, const struct cell *c)
{
	printf("log\t%s\t%s\t", process_name(child), 
	    message_name(c->size < MSG_HEADER || c->way != WAY_PACKET ? MSG_TYPE_MAX : c->type));
	for (unsigned v = 1; v < V_MAX; v++) {
		if (c->expected >> v & 1)
			printf("%s|", violation_name((enum channel_violation)v));
	}
	printf("\n");
}

static void
try_at_supervisor(struct victim *v, const struct cell *c)
{
	int pidfd = (int)syscall(SYS_pidfd_open, v->pid, 0), end;

	kill(v->pid, SIGSTOP);
	end = take_descriptor(v->pid, FD_CONTROL);
	if (pidfd < 0 || end < 0)
		untried("control channel of a child");
	tried++;
	if (say(c, end) != 0)
		untried(c->what);
	if (wait_end(pidfd) != 0) {
		complain(PROC_SUPERVISOR, v->process, c, "the sender lives on");
		kill(v->pid, SIGCONT);
	} else {
		refused++;
	}
	print_expected(v->process, c);
	close(end);
	close(pidfd);
}

/* Of all cells count evenly, but always those at the end, of which there is one of each. */
static const struct cell *
choose_cell(size_t number, size_t count)
{
	if (count >= n_cells || number < SINGLE_CELLS)
		return &cells[n_cells - 1 - number];
	return &cells[(number - SINGLE_CELLS) * (n_cells - SINGLE_CELLS) / (count - SINGLE_CELLS)];
}

static void
attack_supervisor(size_t count)
{
	struct victim v[N_CHILDREN] = {{0}};
	unsigned all[N_CHILDREN][2] = {{0}};
	size_t per_child = (count + N_CHILDREN - 1) / N_CHILDREN, done = 0;

	for (size_t i = 0; i < N_CHILDREN; i++)
		v[i].process = children[i];
	while (done < per_child * N_CHILDREN) {
		for (size_t i = 0; i < N_CHILDREN; i++) {
			if (v[i].next == per_child || !is_up(&v[i]))
				continue;
			make_cells(PROC_SUPERVISOR, v[i].process, S_RUN);
			if (v[i].next < n_cells)
				try_at_supervisor(&v[i], choose_cell(v[i].next, per_child));
			all[i][0] += tried;
			all[i][1] += refused;
			tried = refused = 0;
			v[i].next++;
			done++;
		}
		poll(NULL, 0, 5);
	}
	for (size_t i = 0; i < N_CHILDREN; i++) {
		while (!is_up(&v[i]))
			poll(NULL, 0, 5);
		tried = all[i][0];
		refused = all[i][1];
		print_result(PROC_SUPERVISOR, v[i].process);
	}
}

/* ---- in the place of the parser */

static void
print_parser(void)
{
	make_cells(PROC_SUPERVISOR, PROC_PARSER, S_START);
	for (size_t i = 0; i < n_cells; i++)
		print_expected(PROC_PARSER, &cells[i]);
}

static _Noreturn void
stand_in(void)
{
	char path[4096], number[16] = "";
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("cell"));
	int fd;
	size_t cell;

	supervisor = getppid();
	if (n <= 0)
		_exit(EXIT_UNTRIED);
	path[n] = '\0';
	memcpy(strrchr(path, '/') + 1, "cell", sizeof("cell"));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, number, sizeof(number) - 1) <= 0)
		_exit(EXIT_UNTRIED);
	close(fd);
	cell = (size_t)strtoul(number, NULL, 10);
	make_cells(PROC_SUPERVISOR, PROC_PARSER, S_START);
	if (cell >= n_cells || say(&cells[cell], FD_CONTROL) != 0)
		_exit(EXIT_UNTRIED);
	(void)wait_cut(FD_CONTROL, WAIT_MS);
	_exit(0);
}

int
main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[0], "parser") == 0)
		stand_in();
	if (argc != 4 || (supervisor = (pid_t)atoi(argv[2])) <= 1) {
		fprintf(stderr, "usage: evil_peer children PID SOCKET | supervisor PID COUNT | parser PID 0\n");
		return EXIT_UNTRIED;
	}
	signal(SIGPIPE, SIG_IGN);
	if (strcmp(argv[1], "children") == 0)
		attack_children(argv[3]);
	else if (strcmp(argv[1], "supervisor") == 0)
		attack_supervisor((size_t)strtoul(argv[3], NULL, 10));
	else if (strcmp(argv[1], "parser") == 0)
		print_parser();
	else
		return EXIT_UNTRIED;
	return wrong > 0 ? EXIT_WRONG : 0;
}
