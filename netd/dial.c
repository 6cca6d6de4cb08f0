/* SPDX-License-Identifier: ISC */
/*
 * Connections to partners before they carry. netd has no socket(2): the supervisor opens the socket
 * and starts the connect to an address of its own table; here we wait for the result and hand it,
 * with the exact cause of a failure, to the owner.
 */
#include "config.h"

#include "link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"

enum {
	SLOT_BITS = 7,	      /* of a dial number; the rest is the serial of the use of that slot */
	SUPERVISOR_MS = 1000, /* it answers at once or is in trouble */
};
_Static_assert(LINKS <= 1 << SLOT_BITS, "a dial number holds the slot");

static struct link *dial_find(uint32_t dial);
static int dial_allowed(
    enum owner whose, uint32_t token, uint8_t server, uint8_t path, uint8_t kind);

/*
 * LINK_OPEN: ask for the socket. fd becomes ours; -1: there was no room for it. A request that
 * cannot be met is answered with LINK_CLOSED like a dial that failed.
 */
void
dial_open(enum owner whose, uint32_t token, uint8_t server, uint8_t path, uint8_t kind, int fd)
{
	struct link *l = NULL;
	uint32_t dial;

	count(NET_DIALS);
	if (fd >= 0 && dial_allowed(whose, token, server, path, kind))
		l = link_new(whose, token, fd);
	if (l == NULL) {
		count(NET_DIALS_FAILED);
		tell_link_closed(whose, token, CLOSE_ERROR, 0, 0);
		if (fd >= 0)
			close(fd);
		return;
	}
	l->state = LINK_ASKED;
	dial = l->serial << SLOT_BITS | (uint32_t)(l - links);
	deadline_set(&l->deadline_ms, SUPERVISOR_MS);
	if (ask_dial(dial, server, path, kind) != 0)
		link_end(l, CLOSE_ERROR);
}

/* Only what the config has; the supervisor checks again. */
static int
dial_allowed(enum owner whose, uint32_t token, uint8_t server, uint8_t path, uint8_t kind)
{
	const struct conf *conf = child_conf(&netd_child);

	if (conf == NULL || link_known(whose, token))
		return 0;
	return server < conf->general.n_servers && server != conf->general.self &&
	       path < conf->server[server].n_paths && owner_of_kind(kind) == whose;
}

/* DIALED: the connect is under way; on the same host it may be over already. */
void
dial_answer(uint32_t dial, int fd)
{
	struct link *l = dial_find(dial);
	const struct conf *conf = child_conf(&netd_child);

	if (l == NULL) { /* closed or timed out meanwhile */
		if (fd >= 0)
			close(fd);
		return;
	}
	l->state = LINK_DIALLING;
	if (fd < 0 || end_open(l, &l->tcp, fd) != 0) {
		count(NET_DIALS_FAILED);
		link_end(l, CLOSE_ERROR);
		return;
	}
	deadline_set(&l->deadline_ms, conf->general.dial_timeout_ms);
	dial_progress(l);
}

/*
 * How far is the connect? A send of nothing tells without getsockopt(2): EAGAIN while it is under
 * way, 0 when TCP is up, else the error of the connect.
 */
void
dial_progress(struct link *l)
{
	static const int on = 1;

	if (send(l->tcp.fd, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) != 0) {
		if (errno == EAGAIN) {
			link_watch_connect(l);
			return;
		}
		count(NET_DIALS_FAILED);
		link_end(l, close_cause(errno));
		return;
	}
	/* if it fails the link is only slower */
	(void)setsockopt(l->tcp.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	tell_link_connected((enum owner)l->whose, l->token);
	link_start(l);
}

/* DIAL_FAILED */
void
dial_fail(uint32_t dial, enum link_close cause)
{
	struct link *l = dial_find(dial);

	if (l == NULL)
		return;
	count(NET_DIALS_FAILED);
	link_end(l, cause);
}

/* The deadline has passed: nobody has answered our SYN, or the supervisor not us. */
void
dial_expired(struct link *l)
{
	count(NET_DIALS_FAILED);
	link_end(l, l->state == LINK_DIALLING ? CLOSE_TIMEOUT : CLOSE_ERROR);
}

/* The link that waits for the answer to this DIAL; NULL when it does not wait any more. */
static struct link *
dial_find(uint32_t dial)
{
	uint32_t slot = dial & ((1U << SLOT_BITS) - 1);
	struct link *l = &links[slot < LINKS ? slot : 0];

	if (slot >= LINKS || l->state != LINK_ASKED ||
	    dial >> SLOT_BITS != (l->serial & (UINT32_MAX >> SLOT_BITS)))
		return NULL;
	return l;
}
