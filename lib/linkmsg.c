/* SPDX-License-Identifier: ISC */
/*
 * Messages about links (linkmsg.h).
 */
#include "config.h"

#include "linkmsg.h"

#include <sodium.h>
#include <string.h>
#include <sys/socket.h>

/* ---- to netd and keyd */

void
linkmsg_open(
    struct channel *netd, uint32_t token, uint8_t server, uint8_t path, enum link_kind kind, int fd)
{
	static struct msg m;

	msg_begin(&m, MSG_LINK_OPEN);
	msg_put_u32(&m, token);
	msg_put_u8(&m, server);
	msg_put_u8(&m, path);
	msg_put_u8(&m, (uint8_t)kind);
	msg_put_fd(&m, fd);
	(void)channel_send(netd, &m);
}

void
linkmsg_take(struct channel *netd, uint32_t token, int fd)
{
	static struct msg m;

	msg_begin(&m, MSG_LINK_TAKE);
	msg_put_u32(&m, token);
	msg_put_fd(&m, fd);
	(void)channel_send(netd, &m);
}

void
linkmsg_drop(struct channel *netd, uint32_t token)
{
	static struct msg m;

	msg_begin(&m, MSG_LINK_DROP);
	msg_put_u32(&m, token);
	(void)channel_send(netd, &m);
}

void
linkmsg_ask_dh(struct channel *keyd, uint32_t cookie, const uint8_t public_key[NOISE_KEY])
{
	static struct msg m;

	msg_begin(&m, MSG_KEY_DH);
	msg_put_u32(&m, cookie);
	msg_put_bytes(&m, public_key, NOISE_KEY);
	channel_permit(keyd, MSG_KEY_SHARED);
	(void)channel_send(keyd, &m);
}

/* ---- from them */

int
linkmsg_get_connected(struct msg *m, uint32_t *token)
{
	*token = msg_get_u32(m);
	return msg_end(m) != 0 || (*token & LINK_INBOUND_TOKEN) != 0 ? -1 : 0;
}

int
linkmsg_get_closed(struct msg *m, uint32_t *token, enum link_close *cause)
{
	uint8_t c;

	*token = msg_get_u32(m);
	c = msg_get_u8(m);
	(void)msg_get_u64(m); /* bytes in and out */
	(void)msg_get_u64(m);
	if (msg_end(m) != 0 || c >= CLOSE_MAX)
		return -1;
	*cause = (enum link_close)c;
	return 0;
}

int
linkmsg_get_in(struct msg *m, struct link_in *in)
{
	uint8_t kind, family;

	memset(in, 0, sizeof(*in));
	in->token = msg_get_u32(m);
	kind = msg_get_u8(m);
	family = msg_get_u8(m);
	in->listener = msg_get_u8(m);
	msg_get_bytes(m, in->from.bytes, sizeof(in->from.bytes));
	in->port = msg_get_u16(m);
	if (msg_end(m) != 0 || (in->token & LINK_INBOUND_TOKEN) == 0 || kind < LINK_STATUS ||
	    kind >= LINK_KIND_MAX || (family != 4 && family != 6))
		return -1;
	in->kind = (enum link_kind)kind;
	in->from.family = family == 4 ? AF_INET : AF_INET6;
	return 0;
}

int
linkmsg_get_shared(struct msg *m, uint32_t *cookie, uint8_t *ok, uint8_t shared[NOISE_KEY])
{
	int r;

	*cookie = msg_get_u32(m);
	*ok = msg_get_u8(m);
	msg_get_bytes(m, shared, NOISE_KEY);
	r = msg_end(m) != 0 || *ok > 1 ? -1 : 0;
	sodium_memzero(m->body, m->len);
	return r;
}
