/* SPDX-License-Identifier: ISC */
/*
 * CONF_* messages from a process that lies: what is taken comes out again byte by byte, and the
 * rules can be checked on whatever was put together.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/conf.h"
#include "lib/message.h"

static const enum message_type types[] = {
    MSG_CONF_GENERAL, MSG_CONF_SERVER, MSG_CONF_REFERENCE, MSG_CONF_HOOK, MSG_CONF_CHECK};

static void
put(struct msg *m, const struct conf *c, uint8_t i)
{
	switch (m->type) {
	case MSG_CONF_GENERAL:
		conf_put_general(m, &c->general);
		break;
	case MSG_CONF_SERVER:
		conf_put_server(m, i, &c->server[i]);
		break;
	case MSG_CONF_REFERENCE:
		conf_put_reference(m, i, &c->reference[i]);
		break;
	case MSG_CONF_HOOK:
		conf_put_hook(m, i, &c->hook[i]);
		break;
	default:
		conf_put_check(m, i, &c->check[i]);
		break;
	}
}

/* One of each message, each behind its type and its length. */
size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static struct conf c;
	static struct msg m;
	size_t n = 0;

	conf_defaults(&c);
	memcpy(c.general.group, "g", 2);
	c.general.n_servers = c.general.n_references = c.general.n_checks = 1;
	memcpy(c.server[0].name, "alpha", 6);
	c.server[0].n_paths = 2;
	c.server[0].path[0].family = c.reference[0].addr.family = AF_INET;
	c.server[0].path[1].family = AF_INET6;
	memcpy(c.check[0].name, "app", 4);
	memcpy(c.check[0].command, "/bin/true", 10);
	for (uint8_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		msg_begin(&m, types[t]);
		put(&m, &c, 0);
		if (m.bad || m.len + 3 > size - n)
			abort();
		out[n++] = t;
		out[n++] = (uint8_t)m.len;
		out[n++] = (uint8_t)(m.len >> 8);
		memcpy(out + n, m.body, m.len);
		n += m.len;
	}
	return n;
}

/* 0 when the message was refused. */
static int
take(struct conf *c, enum message_type type, const uint8_t *body, size_t len)
{
	static struct msg m, again;

	msg_begin(&m, type);
	msg_put_bytes(&m, body, len);
	if (m.bad || conf_apply(c, &m) == -1)
		return 0;
	msg_begin(&again, type);
	put(&again, c, body[0]); /* the index comes first; CONF_GENERAL has none and ignores it */
	if (again.bad || again.len != len || memcmp(again.body, body, len) != 0)
		abort();
	return 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf c;
	char error[CONF_ERROR_TEXT], name[CONF_NAME];
	uint8_t digest[16];

	conf_defaults(&c);
	while (size >= 3) {
		size_t len = (size_t)data[1] | (size_t)data[2] << 8;
		uint8_t t = data[0];

		data += 3;
		size -= 3;
		if (len > size || t >= sizeof(types) / sizeof(types[0]))
			break;
		(void)take(&c, types[t], data, len);
		data += len;
		size -= len;
	}
	(void)conf_check_all(&c, error, sizeof(error));
	(void)conf_restart_option(&c, &c, name, sizeof(name));
	conf_digest(&c, digest);
	return 0;
}
