/* SPDX-License-Identifier: ISC */
/*
 * Evil peers: the cells, all from messages.def, and how they are said. Every type in the wrong
 * direction, and every type of the channel with wrong lengths, wrong numbers and kinds of
 * descriptors, in the wrong state, unasked for; besides broken headers, empty packets, half-closed
 * channels and forged credentials.
 */
#include "config.h"

#include "evil.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"

enum {
	CELLS_MAX = 2048,
	MANY_FDS = 253, /* SCM_MAX_FD of the kernel */
	SEEN_FDS = 16,	/* more than a receiver looks at: truncated */
};

struct cell cells[CELLS_MAX];
size_t n_cells;
pid_t evil_supervisor;
unsigned evil_wrong;
static unsigned tried[PROC_MAX][PROC_MAX], refused[PROC_MAX][PROC_MAX]; /* receiver, sender */

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

static struct cell *
add_single(unsigned type, size_t body, unsigned n_fds, unsigned expected, const char *what)
{
	struct cell *c = add_cell(type, body, n_fds, expected, what);

	c->single = SINGLE;
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
	add_cell(
	    type, MSG_SIZE_MAX - MSG_HEADER, row->fds, V(LENGTH), "as long as a packet can be");
	add_cell(type, PACKET_MAX - MSG_HEADER, row->fds, V(SIZE), "longer than a packet can be");
}

static void
add_descriptors(unsigned type, const struct message_row *row)
{
	static const unsigned numbers[] = {0, 1, 2, SEEN_FDS, MANY_FDS};
	unsigned extra = row->fds + 1U;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (numbers[i] != row->fds)
			add_cell(type, row->min, numbers[i],
			    numbers[i] > SEEN_FDS ? V(SIZE) : V(FDS), "number of descriptors");
	}
	add_cell(type, row->min, extra, V(FDS), "a folder")->kind = FD_FOLDER;
	add_cell(type, row->min, extra, V(FDS), "a terminal")->kind = FD_TERMINAL;
	add_cell(type, row->min, extra, V(FDS), "its own end of the channel")->kind = FD_OWN_END;
}

/*
 * An answer without a question. Zeros are none to a question that is under way; where there is
 * nothing in it, one may be asked for just then, but not two.
 */
static void
add_not_asked_for(unsigned type, const struct message_row *row)
{
	struct cell *c = add_single(type, row->min, row->fds, V(FLAGS) | V(BODY), "not asked for");

	c->single = TIMED;
	if (row->max == 0)
		c->way = WAY_TWICE;
}

/* Right in form, at the wrong time. */
static void
add_wrong_times(
    unsigned type, const struct message_row *row, enum process receiver, enum channel_state state)
{
	/* a serial that was not asked for is not taken for an answer, but no violation either */
	int is_answer = type == MSG_PREPARED && receiver == PROC_SUPERVISOR && state == S_PREPARE;

	if (!(row->states & state))
		add_single(type, row->min, row->fds, V(STATE), "wrong state")->single = TIMED;
	else if ((row->flags & F_PERMIT) && !is_answer)
		add_not_asked_for(type, row);
	else if ((type == MSG_READY || type == MSG_SELF_INFO) && (row->states & state))
		add_single(type, row->min, row->fds, V(FLAGS), "twice")->way = WAY_TWICE;
	else if (type == MSG_STOPPED && state != S_STOP)
		add_single(type, row->min, row->fds, V(BODY), "without a stop")->single = TIMED;
}

/* A type that sender may send to receiver: everything about it is wrong but that. */
static void
add_wrong_forms(unsigned type, const struct message_row *row)
{
	struct cell *c = add_cell(type, row->min, row->fds, V(SIZE), "header that is not zero");

	c->high = 1;
	add_lengths(type, row);
	add_descriptors(type, row);
}

/* Right in form, but of a server, path, action, process, serial or cause that cannot be. */
static void
add_impossible(enum process receiver, enum process sender, enum channel_state state)
{
	static const enum message_type types[] = {MSG_DIAL, MSG_ACTION, MSG_PEER_BROKEN,
	    MSG_LINK_IN, MSG_LINK_CLOSED, MSG_LINK_OPEN, MSG_ICMP_REPORT, MSG_RUN_RESULT,
	    MSG_RUN_CHECK, MSG_COMMIT, MSG_CONF_GENERAL, MSG_CONF_SERVER, MSG_CONF_REFERENCE,
	    MSG_CONF_HOOK, MSG_CONF_CHECK, MSG_LISTENER, MSG_LISTENER_CLOSE, MSG_DIAL_FAILED,
	    MSG_TARGET, MSG_TARGET_CLOSE, MSG_PEER, MSG_ACTION_RESULT, MSG_CHECK_STATE,
	    MSG_PROCESS_STATE, MSG_RELOAD_STATE, MSG_RUN_HOOK, MSG_STOPPED, MSG_CTL_SELF,
	    MSG_CTL_SERVER, MSG_CTL_LINK, MSG_CTL_PROCESS, MSG_CTL_EVENT, MSG_CTL_END,
	    MSG_CTL_DATA_STATE, MSG_CTL_DATA_PARTNER, MSG_LINK_CONNECTED, MSG_DATA_ROLE,
	    MSG_DATA_POSITION, MSG_DATA_DRAIN, MSG_DATA_STATE, MSG_DATA_PARTNER, MSG_DATA_ACTION};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		const struct message_row *row = message_row(types[i]);

		if ((row->from & (1U << sender)) && (row->to & (1U << receiver)) &&
		    (row->states & state))
			/* 255 of DATA_DRAIN: go on */
			add_single(types[i], row->min, row->fds, V(BODY), "impossible values")
			    ->fill = types[i] == MSG_DATA_DRAIN ? SCHAR_MAX : (char)-1;
	}
	if (receiver == PROC_RUNNER)
		add_single(MSG_RUN_CONFIG, 0, 0, V(BODY), "in force without having come");
}

/* About no message at all. */
static void
add_packets(enum process receiver, enum process sender, enum channel_state state)
{
	/* of a type that is said by others; in the place of a child the kernel lets none out */
	enum message_type other = sender == PROC_SUPERVISOR ? MSG_READY : MSG_PING;
	int in_place = receiver == PROC_SUPERVISOR && state == S_START && sender != PROC_RUNNER;

	if (!in_place || sender == PROC_PARSER)
		add_single(
		    other, message_row(other)->min, 0, in_place ? 0 : V(FROM), "forged credentials")
		    ->forged = 1;
	for (size_t size = 1; size < MSG_HEADER; size++)
		add_single(0, 0, 0, V(SIZE), "less than a header")->size = size;
	add_single(0, 0, 0, V(SIZE), "empty packet")->way = WAY_EMPTY;
	if (receiver != PROC_CTL &&
	    sender != PROC_CTL) { /* their socket has no stamps: lib/channel.c */
		add_single(0, 0, 0, V(SIZE), "two empty packets")->way = WAY_EMPTY_TWICE;
		add_single(0, 0, 0, V(SIZE), "empty packet, then half-closed")->way =
		    WAY_EMPTY_CLOSE;
	}
	add_single(0, 0, 0, 0, "half-closed")->way = WAY_HALF_CLOSE;
	add_single(0, 0, 0, 0, "closed")->way = WAY_CLOSE;
}

void
make_cells(enum process receiver, enum process sender, enum channel_state state)
{
	n_cells = 0;
	for (unsigned type = 0; type <= MSG_TYPE_MAX; type++) {
		const struct message_row *row = message_row(type);

		if (row == NULL) {
			add_cell(type, 0, 0, V(TYPE), "no such type");
		} else if (!(row->from & (1U << sender))) {
			add_cell(type, row->min, row->fds, V(FROM), "wrong direction");
		} else if (!(row->to & (1U << receiver))) {
			add_cell(type, row->min, row->fds, V(TO), "not for this one");
		} else {
			add_wrong_forms(type, row);
			add_wrong_times(type, row, receiver, state);
		}
	}
	add_cell(UINT16_MAX, 0, 0, V(TYPE), "no such type");
	add_impossible(receiver, sender, state);
	add_packets(receiver, sender, state);
}

/* The number-th cell with that value of single, from the end of the list. */
static const struct cell *
cell_from_end(int single, size_t number)
{
	for (size_t i = n_cells; i-- > 0;) {
		if (cells[i].single == single && number-- == 0)
			return &cells[i];
	}
	return NULL;
}

static size_t
count_like(int single)
{
	size_t n = 0;

	for (size_t i = 0; i < n_cells; i++)
		n += cells[i].single == single;
	return n;
}

const struct cell *
choose_cell(size_t number, size_t count)
{
	size_t timed = count_like(TIMED), singles = count_like(SINGLE), others = count_like(0),
	       half;

	if (number >= count || number >= n_cells)
		return NULL;
	if (number < timed)
		return cell_from_end(TIMED, number);
	number -= timed;
	if (count >= n_cells)
		return number < singles ? cell_from_end(SINGLE, number)
					: cell_from_end(0, number - singles);
	count -= timed;
	half = (count + 1) / 2 < singles ? (count + 1) / 2 : singles;
	if (number < half)
		return cell_from_end(SINGLE, number * singles / half);
	return cell_from_end(0, (number - half) * others / (count - half));
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
	struct ucred forged = {evil_supervisor, 0, 0};

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
	struct iovec iov = {packet, c->way == WAY_PACKET || c->way == WAY_TWICE ? c->size : 0};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	int odd = odd_descriptor(c, sock), r;

	memset(packet, c->fill, sizeof(packet));
	packet[0] = (char)c->type;
	packet[1] = (char)(c->type >> 8);
	packet[2] = (char)c->high;
	packet[3] = 0;
	mh.msg_controllen = fill_control(c, odd, control.bytes, sizeof(control.bytes));
	mh.msg_control = mh.msg_controllen > 0 ? control.bytes : NULL;
	/* descriptors under way are counted per user, and others of root may send some, too */
	for (int ms = 0; (r = sendmsg(sock, &mh, MSG_NOSIGNAL) >= 0 ? 0 : -1) != 0 &&
			 errno == ETOOMANYREFS && ms < WAIT_MS;
	     ms++)
		(void)poll(NULL, 0, 1);
	close(odd);
	return r;
}

int
say(const struct cell *c, int sock)
{
	switch (c->way) {
	case WAY_TWICE:
	case WAY_EMPTY_TWICE:
		if (say_packet(c, sock) != 0)
			return -1;
		return say_packet(c, sock) == 0 || errno == EPIPE
			   ? 0
			   : -1; /* the first may be enough */
	case WAY_EMPTY_CLOSE:
		return say_packet(c, sock) == 0 ? shutdown(sock, SHUT_WR) : -1;
	case WAY_HALF_CLOSE:
		return shutdown(sock, SHUT_WR);
	case WAY_CLOSE:
		return shutdown(sock, SHUT_RDWR);
	default:
		return say_packet(c, sock);
	}
}

ssize_t
take_packet(int sock, void *packet, size_t size)
{
	ssize_t n;

	do {
		n = recv(sock, packet, size, MSG_DONTWAIT);
	} while (n < 0 && errno == ECONNRESET);
	return n;
}

int
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
		if (take_packet(sock, packet, sizeof(packet)) == 0)
			return 0;
	}
}

int
is_quoted(const struct cell *c, const uint8_t *bytes, size_t n)
{
	size_t size = c->way != WAY_PACKET ? 0 : c->size < MSG_HEADER ? c->size : MSG_HEADER;
	const uint8_t header[MSG_HEADER] = {
	    (uint8_t)c->type, (uint8_t)(c->type >> 8), (uint8_t)c->high, 0};

	return n >= size && memcmp(bytes, header, size) == 0;
}

/* ---- counting */

const char *
state_text(enum channel_state state)
{
	return state == S_START	    ? "start"
	       : state == S_RUN	    ? "run"
	       : state == S_PREPARE ? "prepare"
				    : "stop";
}

const char *
cell_type(const struct cell *c)
{
	int has_type = c->size >= MSG_HEADER && (c->way == WAY_PACKET || c->way == WAY_TWICE);

	return message_name(has_type ? c->type : MSG_TYPE_MAX);
}

void
count_cell(enum process receiver, enum process sender, const struct cell *c, const char *instead)
{
	tried[receiver][sender]++;
	if (instead == NULL) {
		refused[receiver][sender]++;
		return;
	}
	evil_wrong++;
	fprintf(stderr, "evil_peer: %s to %s: %s, %zu bytes, %u descriptors (%s): %s\n",
	    process_name(sender), process_name(receiver), message_name(c->type), c->size, c->n_fds,
	    c->what, instead);
}

void
print_result(enum process receiver, enum process sender, enum channel_state state)
{
	printf("cells\t%s\t%s\t%s\t%u\t%u\n", process_name(receiver), process_name(sender),
	    state_text(state), tried[receiver][sender], refused[receiver][sender]);
	(void)fflush(stdout);
	tried[receiver][sender] = refused[receiver][sender] = 0;
}

void
print_expected(enum process child, const struct cell *c)
{
	printf("log\t%s\t%s\t", process_name(child), cell_type(c));
	for (unsigned v = 1; v < V_MAX; v++) {
		if (c->expected >> v & 1)
			printf("%s|", violation_name((enum channel_violation)v));
	}
	printf("\n");
}

_Noreturn void
evil_untried(const char *what)
{
	fprintf(stderr, "evil_peer: %s: %s\n", what, strerror(errno));
	if (evil_supervisor > 1 && evil_supervisor != getpid())
		kill(evil_supervisor, SIGCONT);
	_exit(EVIL_UNTRIED);
}
