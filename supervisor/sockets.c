/* SPDX-License-Identifier: ISC */
/*
 * Sockets for the children, which have no socket system call: listeners and dials of netd, ICMP
 * targets of icmpd. Addresses come from the configuration only; a child names indexes.
 */
#include "config.h"

#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/icmp.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78 /* linux/in6.h, which cannot be included beside netinet/in.h */
#endif

enum {
	BACKLOG = 64,
	DIAL_BURST = 100, /* per address: quick redials after a loss ... */
	DIAL_RATE = 50,	  /* ... and what can go on, per second */
	ICMP_BUFFER = 32768,
	ICMP_REPLY_4 = 0,
	ICMP_REPLY_6 = 129,
	COMPLAIN_MS = 60000,
};

/* A listener and where it listens. same: of the prepared ones, the current one stays in use. */
struct listener {
	int fd; /* -1: none */
	int same;
	struct conf_addr addr;
	uint16_t port;
};
static struct listener current[LISTENERS] = {{.fd = -1}, {.fd = -1}};
static struct listener prepared[LISTENERS] = {{.fd = -1}, {.fd = -1}};

struct target {
	int used, sent;
	uint8_t kind, index, path;
	struct conf_addr addr, local; /* local.family 0: any */
};
static struct target targets[TARGETS];

static struct bucket dial_bucket[CONF_SERVERS][CONF_PATHS];
static struct log_limit dial_complaint, target_complaint;
static uint64_t dials, dials_refused;

static int
same_addr(const struct conf_addr *a, const struct conf_addr *b)
{
	return a->family == b->family && a->scope == b->scope &&
	       memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static int
set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

/*
 * How long the kernel may hold our unacknowledged bytes: past the point where the link is given up.
 */
static int
user_timeout_ms(const struct conf_general *g)
{
	int64_t ms = g->status_interval_ms * g->status_misses + g->dial_timeout_ms;

	return ms > 120000 ? 120000 : (int)ms;
}

/* Of both directions; an accepted connection has them from its listener. */
static int
tcp_options(int fd, const struct conf_general *g)
{
	if (set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) != 0 ||
	    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1) != 0 ||
	    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, user_timeout_ms(g)) != 0)
		return -1;
	return 0;
}

/* Closes it; -1 with the errno of what failed before. */
static int
give_up(int fd)
{
	int error = errno;

	close(fd);
	errno = error;
	return -1;
}

/* ---- listeners */

/*
 * Returns the listening socket or -1 with errno. shared: beside one of our own on the same address.
 */
static int
open_listener(const struct conf_addr *addr, uint16_t port, const struct conf_general *g, int shared)
{
	struct sockaddr_storage ss;
	socklen_t len = conf_addr_sockaddr(addr, port, &ss);
	int fd = socket(addr->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		return -1;
	if (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) == 0 &&
	    (!shared || set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) == 0) &&
	    (addr->family == AF_INET ? set_int(fd, IPPROTO_IP, IP_FREEBIND, 1) == 0
				     : set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) == 0 &&
					   set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1) == 0) &&
	    tcp_options(fd, g) == 0 && bind(fd, (struct sockaddr *)&ss, len) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	return give_up(fd);
}

/* SO_REUSEPORT would share the port with another guard: at the start nobody may be there. */
static int
port_is_free(const struct conf_addr *addr, uint16_t port, const struct conf_general *g)
{
	int fd = open_listener(addr, port, g, 0);

	if (fd < 0)
		return 0;
	close(fd);
	return 1;
}

static int
prepare_listener(struct listener *l, const struct listener *now, const struct conf_addr *addr,
    const struct conf *c, int first)
{
	uint16_t port = c->server[c->general.self].port;

	l->addr = *addr;
	l->port = port;
	l->same = now->fd >= 0 && same_addr(&now->addr, addr) && now->port == port;
	l->fd = -1;
	if (l->same)
		return 0;
	if (first && !port_is_free(addr, port, &c->general))
		return -1;
	l->fd = open_listener(addr, port, &c->general, 1);
	return l->fd < 0 ? -1 : 0;
}

int
sockets_prepare(const struct conf *c, int first, char *error, size_t size)
{
	const struct conf_server *self = &c->server[c->general.self];
	char text[64];

	for (int i = 0; i < LISTENERS; i++) {
		prepared[i] = (struct listener){.fd = -1};
		if (i >= self->n_paths)
			continue;
		if (prepare_listener(&prepared[i], &current[i], &self->path[i], c, first) != 0) {
			snprintf(error, size, "server \"%s\": cannot listen on %s port %u: %s",
			    self->name, conf_addr_text(&self->path[i], text, sizeof(text)),
			    self->port, strerror(errno));
			while (i-- > 0)
				if (prepared[i].fd >= 0)
					close(prepared[i].fd);
			return -1;
		}
	}
	return 0;
}

static void
send_listener(struct proc *netd, int slot)
{
	static struct msg m;

	if (netd->step != STEP_UP)
		return;
	if (current[slot].fd < 0) {
		msg_begin(&m, MSG_LISTENER_CLOSE);
		msg_put_u8(&m, (uint8_t)slot);
	} else {
		msg_begin(&m, MSG_LISTENER);
		msg_put_u8(&m, (uint8_t)slot);
		msg_put_fd(&m, current[slot].fd);
	}
	proc_send(netd, &m);
}

void
sockets_decide(int commit)
{
	struct proc *netd = proc_of(PROC_NETD);

	for (int i = 0; i < LISTENERS; i++) {
		int old = current[i].fd;

		if (!commit) {
			if (prepared[i].fd >= 0)
				close(prepared[i].fd);
		} else if (!prepared[i].same && (old >= 0 || prepared[i].fd >= 0)) {
			current[i] = prepared[i];
			if (netd != NULL)
				send_listener(netd, i);
			if (old >= 0)
				close(old);
		}
		prepared[i] = (struct listener){.fd = -1};
	}
}

void
sockets_send_listeners(struct proc *netd)
{
	for (int i = 0; i < LISTENERS; i++) {
		if (current[i].fd >= 0)
			send_listener(netd, i);
	}
}

void
sockets_renew_listeners(void)
{
	for (int i = 0; i < LISTENERS; i++) {
		struct listener *l = &current[i];
		int fresh;

		if (l->fd < 0)
			continue;
		fresh = open_listener(&l->addr, l->port, &sup.conf.general, 1);
		if (fresh < 0) {
			log_warn("port %u: no fresh listener, the old one stays: %s", l->port,
			    strerror(errno));
			continue;
		}
		close(l->fd);
		l->fd = fresh;
	}
}

/* ---- dials */

/*
 * Own address of the same path, when it can talk to the other; NULL when the kernel shall choose.
 */
static const struct conf_addr *
own_address(const struct conf *c, uint8_t path, uint8_t family)
{
	const struct conf_server *self = &c->server[c->general.self];

	if (path < self->n_paths && self->path[path].family == family)
		return &self->path[path];
	return NULL;
}

static int
bind_own(int fd, const struct conf_addr *own)
{
	struct sockaddr_storage ss;
	socklen_t len;

	if (own == NULL || own->family == 0)
		return 0;
	if (own->family == AF_INET)
		(void)set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	len = conf_addr_sockaddr(own, 0, &ss);
	return bind(fd, (struct sockaddr *)&ss, len);
}

static enum link_close
cause_of(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return CLOSE_REFUSED;
	case ETIMEDOUT:
		return CLOSE_TIMEOUT;
	case EADDRNOTAVAIL: /* our own address is not there: its interface is down */
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case EHOSTDOWN:
		return CLOSE_UNREACHABLE;
	default:
		return CLOSE_ERROR;
	}
}

/* A socket whose connect is under way, or -1 with errno. */
static int
start_connect(const struct conf *c, uint8_t server, uint8_t path)
{
	const struct conf_server *s = &c->server[server];
	struct sockaddr_storage ss;
	socklen_t len = conf_addr_sockaddr(&s->path[path], s->port, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		return -1;
	if (tcp_options(fd, &c->general) == 0 &&
	    bind_own(fd, own_address(c, path, s->path[path].family)) == 0 &&
	    (connect(fd, (struct sockaddr *)&ss, len) == 0 || errno == EINPROGRESS))
		return fd;
	return give_up(fd);
}

static void
dial_failed(struct proc *netd, uint32_t token, enum link_close cause)
{
	static struct msg m;

	msg_begin(&m, MSG_DIAL_FAILED);
	msg_put_u32(&m, token);
	msg_put_u8(&m, (uint8_t)cause);
	proc_send(netd, &m);
}

/*
 * May it be dialled now? Indexes that the config no longer has are no crime: a reload may be under
 * way.
 */
static int
may_open(uint8_t self, uint8_t partner, uint8_t kind)
{
	if (self == KIND_DMZ)
		return 0;
	switch (kind) {
	case LINK_STATUS:
		return 1;
	case LINK_SYNC: /* main dials, and only a standard server becomes main */
		return self == KIND_STANDARD;
	case LINK_REQUEST:
		return partner == KIND_STANDARD;
	default:
		return 0;
	}
}

static int
may_dial(uint8_t server, uint8_t path, uint8_t kind)
{
	const struct conf_general *g = &sup.conf.general;
	struct bucket *b = &dial_bucket[server][path];
	uint64_t held;

	if (server >= g->n_servers || path >= sup.conf.server[server].n_paths || server == g->self)
		return 0;
	if (!may_open(sup.conf.server[g->self].kind, sup.conf.server[server].kind, kind)) {
		if (log_limited(&dial_complaint, now_ms(), COMPLAIN_MS, &held))
			log_warn(
			    "netd asked for a connection that this server never opens (kind %u)",
			    kind);
		return 0;
	}
	if (b->burst == 0)
		bucket_init(b, DIAL_BURST, DIAL_RATE, now_ms());
	if (!bucket_take(b, now_ms())) {
		if (log_limited(&dial_complaint, now_ms(), COMPLAIN_MS, &held))
			log_warn("netd dials %s too often", sup.conf.server[server].name);
		return 0;
	}
	return 1;
}

int
sockets_dial(struct proc *netd, struct msg *m)
{
	static struct msg answer;
	uint32_t token = msg_get_u32(m);
	uint8_t server = msg_get_u8(m), path = msg_get_u8(m), kind = msg_get_u8(m);
	int fd;

	if (msg_end(m) != 0 || server >= CONF_SERVERS || path >= CONF_PATHS || kind == 0 ||
	    kind >= LINK_KIND_MAX)
		return -1;
	dials++;
	if (!may_dial(server, path, kind)) {
		dials_refused++;
		dial_failed(netd, token, CLOSE_ERROR);
		return 0;
	}
	fd = start_connect(&sup.conf, server, path);
	if (fd < 0) {
		dial_failed(netd, token, cause_of(errno));
		return 0;
	}
	msg_begin(&answer, MSG_DIALED);
	msg_put_u32(&answer, token);
	msg_put_fd(&answer, fd);
	proc_send(netd, &answer);
	close(fd);
	return 0;
}

/* ---- ICMP targets */

static unsigned
partner_slot(uint8_t server, uint8_t path)
{
	return (unsigned)server * CONF_PATHS + path;
}

static unsigned
reference_slot(uint8_t index)
{
	return CONF_SERVERS * CONF_PATHS + index;
}

/* What c wants in each slot. A DMZ server opens nothing. */
static void
wanted_targets(const struct conf *c, struct target wanted[TARGETS])
{
	const struct conf_general *g = &c->general;

	memset(wanted, 0, sizeof(struct target) * TARGETS);
	if (c->server[g->self].kind == KIND_DMZ)
		return;
	for (uint8_t i = 0; i < g->n_servers; i++) {
		for (uint8_t p = 0; p < c->server[i].n_paths && i != g->self; p++) {
			struct target *t = &wanted[partner_slot(i, p)];
			const struct conf_addr *own =
			    own_address(c, p, c->server[i].path[p].family);

			*t = (struct target){
			    .used = 1, .kind = TARGET_PARTNER, .index = i, .path = p};
			t->addr = c->server[i].path[p];
			if (own != NULL)
				t->local = *own;
		}
	}
	for (uint8_t i = 0; i < g->n_references; i++) {
		struct target *t = &wanted[reference_slot(i)];

		*t = (struct target){.used = 1, .kind = TARGET_REFERENCE, .index = i};
		t->addr = c->reference[i].addr;
	}
}

static int
same_target(const struct target *a, const struct target *b)
{
	return a->used == b->used && a->kind == b->kind && a->index == b->index &&
	       a->path == b->path && same_addr(&a->addr, &b->addr) &&
	       same_addr(&a->local, &b->local);
}

/* Only echo replies with the identifier of this slot get in; the filter cannot be taken off. */
static int
filter_icmp(int fd, uint8_t family, uint16_t identifier)
{
	struct sock_filter v4[] = {
	    BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), /* X: length of the IP header */
	    BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_REPLY_4, 0, 3),
	    BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, identifier, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, UINT16_MAX),
	    BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_filter v6[] = {
	    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_REPLY_6, 0, 3),
	    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, identifier, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, UINT16_MAX),
	    BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {.len = sizeof(v4) / sizeof(v4[0]), .filter = v4};

	if (family == AF_INET6) {
		struct icmp6_filter types;

		program = (struct sock_fprog){.len = sizeof(v6) / sizeof(v6[0]), .filter = v6};
		ICMP6_FILTER_SETBLOCKALL(&types);
		ICMP6_FILTER_SETPASS(ICMP_REPLY_6, &types);
		if (setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &types, sizeof(types)) != 0)
			return -1;
	} else {
		struct icmp_filter types = {.data = ~(1U << ICMP_REPLY_4)};

		if (setsockopt(fd, SOL_RAW, ICMP_FILTER, &types, sizeof(types)) != 0)
			return -1;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) != 0)
		return -1;
	return set_int(fd, SOL_SOCKET, SO_LOCK_FILTER, 1);
}

/* A raw socket that can talk to this target only, or -1 with errno. */
static int
open_target(const struct target *t, unsigned slot)
{
	struct sockaddr_storage ss;
	socklen_t len = conf_addr_sockaddr(&t->addr, 0, &ss);
	int protocol = ss.ss_family == AF_INET ? (int)IPPROTO_ICMP : (int)IPPROTO_ICMPV6;
	int fd = socket(ss.ss_family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		return -1;
	/* the filter first: nothing else may get into the queue before it */
	if (filter_icmp(fd, t->addr.family, (uint16_t)(ICMP_IDENTIFIER | slot)) == 0 &&
	    set_int(fd, SOL_SOCKET, SO_RCVBUF, ICMP_BUFFER) == 0 && bind_own(fd, &t->local) == 0 &&
	    connect(fd, (struct sockaddr *)&ss, len) == 0)
		return fd;
	return give_up(fd);
}

static void
send_target(struct proc *icmpd, unsigned slot)
{
	static struct msg m;
	struct target *t = &targets[slot];
	char text[64];
	uint64_t held;
	int fd = open_target(t, slot);

	if (fd < 0) {
		if (log_limited(&target_complaint, now_ms(), COMPLAIN_MS, &held))
			log_warn("no ICMP to %s yet: %s",
			    conf_addr_text(&t->addr, text, sizeof(text)), strerror(errno));
		return;
	}
	msg_begin(&m, MSG_TARGET);
	msg_put_u8(&m, (uint8_t)slot);
	msg_put_u8(&m, t->kind);
	msg_put_u8(&m, t->index);
	msg_put_u8(&m, t->path);
	msg_put_u8(&m, t->addr.family == AF_INET ? 4 : 6);
	msg_put_fd(&m, fd);
	proc_send(icmpd, &m);
	close(fd);
	t->sent = 1;
}

void
sockets_retry_targets(void)
{
	struct proc *icmpd = proc_of(PROC_ICMPD);

	if (icmpd->step != STEP_UP)
		return;
	for (unsigned i = 0; i < TARGETS; i++) {
		if (targets[i].used && !targets[i].sent)
			send_target(icmpd, i);
	}
}

void
sockets_send_targets(struct proc *icmpd)
{
	(void)icmpd;
	sockets_reset_targets();
	wanted_targets(&sup.conf, targets);
	sockets_retry_targets();
}

void
sockets_reset_targets(void)
{
	for (unsigned i = 0; i < TARGETS; i++)
		targets[i].sent = 0;
}

void
sockets_update_targets(void)
{
	static struct target wanted[TARGETS];
	static struct msg m;
	struct proc *icmpd = proc_of(PROC_ICMPD);

	wanted_targets(&sup.conf, wanted);
	for (unsigned i = 0; i < TARGETS; i++) {
		if (same_target(&wanted[i], &targets[i]))
			continue;
		if (targets[i].sent && icmpd->step == STEP_UP) {
			msg_begin(&m, MSG_TARGET_CLOSE);
			msg_put_u8(&m, (uint8_t)i);
			proc_send(icmpd, &m);
		}
		targets[i] = wanted[i];
	}
	sockets_retry_targets();
}

void
sockets_dump(void)
{
	unsigned used = 0, open = 0;
	char text[64];

	for (int i = 0; i < LISTENERS; i++) {
		if (current[i].fd >= 0)
			log_info("listening on %s port %u",
			    conf_addr_text(&current[i].addr, text, sizeof(text)), current[i].port);
	}
	for (unsigned i = 0; i < TARGETS; i++) {
		used += targets[i].used != 0;
		open += targets[i].sent != 0;
	}
	log_info("dials %llu, refused %llu; ICMP targets %u, open %u", (unsigned long long)dials,
	    (unsigned long long)dials_refused, used, open);
}
