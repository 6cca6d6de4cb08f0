/* SPDX-License-Identifier: ISC */
/*
 * The channels of keyd. The channel says who asks and thereby with which key; a request can name
 * neither key nor length.
 */
#include "keyd.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/log.h"

/* One asker: its channel, the only key it may use, its bucket and its counts. */
static struct asker {
	struct channel channel;
	enum key key;
	struct bucket bucket;
	uint64_t done, refused, limited;
} askers[KEYD_ASKERS] = {{.key = KEY_STATUS}, {.key = KEY_DATA}};
static const enum process asker_process[KEYD_ASKERS] = {PROC_ROLED, PROC_SYNCD};

static struct child child;
static struct log_limit limited_line;
static int stopping;

int
bucket_take(struct bucket *b, int64_t now_ms)
{
	const int64_t full = (int64_t)KEYD_DH_BURST * 1000;
	int64_t gone_ms = now_ms - b->at_ms;

	if (gone_ms > 0) {
		/* a long silence fills it; the bound keeps the product small */
		b->milli += gone_ms < full ? gone_ms * KEYD_DH_RATE : full;
		if (b->milli > full)
			b->milli = full;
		b->at_ms = now_ms;
	}
	if (b->milli < 1000)
		return 0;
	b->milli -= 1000;
	return 1;
}

/* Compute one answer. Returns 1 when shared is good. */
static int
answer_dh(struct asker *a, const uint8_t public_key[32], uint8_t shared[32])
{
	int64_t now = now_ms();
	uint64_t held;

	memset(shared, 0, 32);
	if (!bucket_take(&a->bucket, now)) {
		a->limited++;
		if (log_limited(&limited_line, now, 10000, &held))
			log_warn("%s asks for more than %d handshake steps a second: refused "
				 "(%" PRIu64 " more since the last such line)",
			    process_name(a->channel.peer), KEYD_DH_RATE, held);
		return 0;
	}
	if (keys_dh(a->key, public_key, shared) != 0) {
		a->refused++;
		return 0;
	}
	a->done++;
	return 1;
}

static int
handle_dh(struct asker *a, struct msg *m)
{
	uint32_t cookie = msg_get_u32(m);
	uint8_t public_key[32], shared[32], ok;
	struct msg answer;

	msg_get_bytes(m, public_key, sizeof(public_key));
	if (msg_end(m) != 0)
		return -1;
	ok = (uint8_t)answer_dh(a, public_key, shared);
	msg_begin(&answer, MSG_KEY_SHARED);
	msg_put_u32(&answer, cookie);
	msg_put_u8(&answer, ok);
	msg_put_bytes(&answer, shared, sizeof(shared));
	(void)channel_send(&a->channel, &answer); /* a failure shows as the channel's end */
	sodium_memzero(&answer, sizeof(answer));
	sodium_memzero(shared, sizeof(shared));
	return 0;
}

static int
handle_asker(struct channel *c, struct msg *m)
{
	switch (m->type) {
	case MSG_KEY_DH:
		return handle_dh(c->user, m);
	default:
		return -1;
	}
}

void
keyd_send_public(void)
{
	uint8_t status[32], data[32];
	struct msg m;

	if (keys_public(KEY_STATUS, status) != 0 || keys_public(KEY_DATA, data) != 0)
		return;
	msg_begin(&m, MSG_KEY_PUBLIC);
	msg_put_bytes(&m, status, sizeof(status));
	msg_put_bytes(&m, data, sizeof(data));
	(void)channel_send(&askers[0].channel, &m); /* roled */
}

static void
on_peer_up(struct child *ch, struct channel *c)
{
	(void)ch;
	if (c == &askers[0].channel)
		keyd_send_public();
}

/* Both keys are there, and they are those that the partners know us by. */
static enum refusal
on_prepare(struct child *ch, const struct conf *new, uint8_t *index)
{
	const struct conf_server *self;
	uint8_t status[32], data[32];

	(void)ch;
	*index = new->general.self;
	if (keys_public(KEY_STATUS, status) != 0 || keys_public(KEY_DATA, data) != 0)
		return REFUSE_KEY;
	if (new->general.self >= CONF_SERVERS)
		return REFUSE_CONFIG;
	self = &new->server[new->general.self];
	if (memcmp(self->key_status, status, sizeof(status)) != 0 ||
	    memcmp(self->key_data, data, sizeof(data)) != 0) {
		log_error("the key of server %s (this one) in the configuration is not that of the "
			  "key files "
			  "as they were at the start; bulkheadctl key shows what they hold now",
		    self->name);
		return REFUSE_KEY;
	}
	return REFUSE_NONE;
}

static void
on_stop(struct child *ch, uint32_t ms)
{
	(void)ch;
	(void)ms;
	stopping = 1;
}

static void
on_dump(struct child *ch)
{
	uint8_t key[32];

	(void)ch;
	log_info("keys: status %s, data %s",
	    keys_public(KEY_STATUS, key) == 0 ? "present" : "absent",
	    keys_public(KEY_DATA, key) == 0 ? "present" : "absent");
	for (int i = 0; i < KEYD_ASKERS; i++)
		log_info("handshake steps for %s: %" PRIu64 " done, %" PRIu64
			 " refused (no key or a bad point), "
			 "%" PRIu64 " over the rate of %d a second",
		    process_name(askers[i].channel.peer), askers[i].done, askers[i].refused,
		    askers[i].limited, KEYD_DH_RATE);
}

static const struct child_ops ops = {
    .on_prepare = on_prepare,
    .on_stop = on_stop,
    .on_peer_up = on_peer_up,
    .on_dump = on_dump,
};

struct child *
keyd_init_ipc(void)
{
	child_init(&child, PROC_KEYD, &ops, NULL);
	for (int i = 0; i < KEYD_ASKERS; i++) {
		struct asker *a = &askers[i];

		child_add_edge(&child, &a->channel, asker_process[i], handle_asker, a);
		a->bucket =
		    (struct bucket){.milli = (int64_t)KEYD_DH_BURST * 1000, .at_ms = now_ms()};
	}
	return &child;
}

struct channel *
keyd_asker(int i)
{
	return &askers[i].channel;
}

int
keyd_stopping(void)
{
	return stopping;
}
