/* SPDX-License-Identifier: ISC */
/*
 * Messages of the supervisor and of the owners of links, and those to them. Every field is judged
 * here before anybody uses it.
 */
#include "config.h"

#include "netd.h"

#include <unistd.h>

#include "lib/log.h"

static int
take_listener(struct msg *m)
{
	uint8_t slot = msg_get_u8(m);
	int fd;

	if (msg_end(m) != 0 || slot >= LISTENERS || child_conf(&netd_child) == NULL)
		return -1;
	fd = msg_take_fd(m);
	if (fd < 0)
		fatal("no descriptor is left for listener %u", slot);
	return admit_listen(slot, fd);
}

static int
take_listener_close(struct msg *m)
{
	uint8_t slot = msg_get_u8(m);

	if (msg_end(m) != 0 || slot >= LISTENERS)
		return -1;
	admit_unlisten(slot);
	return 0;
}

static int
take_dialed(struct msg *m)
{
	uint32_t dial = msg_get_u32(m);

	if (msg_end(m) != 0)
		return -1;
	dial_answer(dial, msg_take_fd(m));
	return 0;
}

static int
take_dial_failed(struct msg *m)
{
	uint32_t dial = msg_get_u32(m);
	uint8_t cause = msg_get_u8(m);

	if (msg_end(m) != 0 || cause >= CLOSE_MAX)
		return -1;
	dial_fail(dial, (enum link_close)cause);
	return 0;
}

/* Of the control channel, what is not common to all children. */
int
ipc_from_supervisor(struct child *ch, struct msg *m)
{
	(void)ch;
	switch (m->type) {
	case MSG_LISTENER:
		return take_listener(m);
	case MSG_LISTENER_CLOSE:
		return take_listener_close(m);
	case MSG_DIALED:
		return take_dialed(m);
	case MSG_DIAL_FAILED:
		return take_dial_failed(m);
	default:
		return -1;
	}
}

enum owner
owner_of_kind(unsigned kind)
{
	switch (kind) {
	case LINK_STATUS:
		return OWNER_ROLED;
	case LINK_SYNC:
	case LINK_REQUEST:
		return OWNER_SYNCD;
	default:
		return OWNER_MAX;
	}
}

static int
take_link_open(enum owner whose, struct msg *m)
{
	uint32_t token = msg_get_u32(m);
	uint8_t server = msg_get_u8(m), path = msg_get_u8(m), kind = msg_get_u8(m);

	if (msg_end(m) != 0 || (token & TOKEN_INBOUND))
		return -1;
	dial_open(whose, token, server, path, kind, msg_take_fd(m));
	return 0;
}

/* Handler of the channels to roled and syncd. */
int
ipc_from_owner(struct channel *c, struct msg *m)
{
	enum owner whose = (enum owner)(c - netd_owner);
	uint32_t token;

	if (m->type == MSG_LINK_OPEN)
		return take_link_open(whose, m);
	if (m->type == MSG_NET_PING) {
		struct msg pong;

		msg_begin(&pong, MSG_NET_PONG);
		(void)channel_send(c, &pong);
		return msg_end(m);
	}
	token = msg_get_u32(m);
	if (msg_end(m) != 0)
		return -1;
	switch (m->type) {
	case MSG_LINK_TAKE:
		admit_take(whose, token, msg_take_fd(m));
		return 0;
	case MSG_LINK_DROP:
		admit_drop(whose, token);
		return 0;
	default:
		return -1;
	}
}

/* DIAL. Returns 0 or -1. */
int
ask_dial(uint32_t dial, uint8_t server, uint8_t path, uint8_t kind)
{
	struct msg m;

	msg_begin(&m, MSG_DIAL);
	msg_put_u32(&m, dial);
	msg_put_u8(&m, server);
	msg_put_u8(&m, path);
	msg_put_u8(&m, kind);
	return channel_send(&netd_child.control, &m);
}

/* LINK_IN. Returns 0, or -1 when the owner is not there. */
int
tell_link_in(uint32_t token, enum link_kind kind, const struct source *s)
{
	struct msg m;

	msg_begin(&m, MSG_LINK_IN);
	msg_put_u32(&m, token);
	msg_put_u8(&m, (uint8_t)kind);
	msg_put_u8(&m, s->family);
	msg_put_u8(&m, s->listener);
	msg_put_bytes(&m, s->address, sizeof(s->address));
	msg_put_u16(&m, s->port);
	return channel_send(&netd_owner[owner_of_kind(kind)], &m);
}

void
tell_link_connected(enum owner whose, uint32_t token)
{
	struct msg m;

	msg_begin(&m, MSG_LINK_CONNECTED);
	msg_put_u32(&m, token);
	(void)channel_send(&netd_owner[whose], &m); /* without it nobody misses it; so below */
}

void
tell_link_closed(enum owner whose, uint32_t token, enum link_close cause, uint64_t in, uint64_t out)
{
	struct msg m;

	msg_begin(&m, MSG_LINK_CLOSED);
	msg_put_u32(&m, token);
	msg_put_u8(&m, (uint8_t)cause);
	msg_put_u64(&m, in);
	msg_put_u64(&m, out);
	(void)channel_send(&netd_owner[whose], &m);
}

void
tell_counters(const uint64_t counter[NET_COUNTER_MAX])
{
	struct msg m;

	msg_begin(&m, MSG_NET_COUNTERS);
	for (int i = 0; i < NET_COUNTER_MAX; i++)
		msg_put_u64(&m, counter[i]);
	(void)channel_send(&netd_owner[OWNER_ROLED], &m);
}
