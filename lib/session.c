/* SPDX-License-Identifier: ISC */
/*
 * One connection: handshake, then records.
 */
#include "config.h"

#include "session.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin.h"
#include "log.h"
#include "loop.h"

enum { READS = 32 }; /* recv calls per wake-up, so that one link cannot starve the loop */

static void on_ready(uv_poll_t *poll, int status, int events);
static void advance(struct session *s, enum noise_result result);
static void take_input(struct session *s);

static int
is_open(const struct session *s)
{
	return s->state != SESSION_FREE && s->state != SESSION_CLOSING;
}

static void
end_session(struct session *s, int cause)
{
	if (is_open(s))
		s->ops->ended(s, cause);
}

static void
end_of_stream(struct session *s)
{
	s->eof = 1;
	s->eof_ms = now_ms();
	end_session(s, SESSION_EOF);
}

/* Nothing is read while keyd works: the kernel holds it. */
static int
may_read(const struct session *s)
{
	return is_open(s) && s->state != SESSION_DH && !s->eof && !s->held;
}

/* Poll for what the state needs. */
static void
watch(struct session *s)
{
	int events = 0;

	if (!is_open(s))
		return;
	if (may_read(s))
		events |= UV_READABLE;
	if (s->out_pos < s->out_len)
		events |= UV_WRITABLE;
	if (events == s->events)
		return;
	s->events = events;
	if (events != 0)
		uv_poll_start(&s->poll, events, on_ready);
	else
		uv_poll_stop(&s->poll);
}

static void
flush(struct session *s)
{
	while (s->out_pos < s->out_len) {
		ssize_t n = send(s->fd, s->buffers.out + s->out_pos, s->out_len - s->out_pos,
		    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n < 0) { /* dead: the reading side reports it */
			s->out_pos = s->out_len;
			break;
		}
		s->out_pos += (size_t)n;
	}
	if (s->out_pos == s->out_len)
		s->out_pos = s->out_len = 0;
	watch(s);
}

/* Room for n more bytes at the end of out: 1 or 0. */
static int
make_room(struct session *s, size_t n)
{
	struct session_buffers *b = &s->buffers;

	if (s->out_pos > 0 && n > b->out_size - s->out_len) {
		memmove(b->out, b->out + s->out_pos, s->out_len - s->out_pos);
		s->out_len -= s->out_pos;
		s->out_pos = 0;
	}
	return n <= b->out_size - s->out_len;
}

static void
write_bytes(struct session *s, const uint8_t *bytes, size_t n)
{
	if (!make_room(s, n))
		return; /* cannot be: only the handshake writes here, into an empty buffer */
	memcpy(s->buffers.out + s->out_len, bytes, n);
	s->out_len += n;
	s->bytes_out += n;
	flush(s);
}

/* What is in the buffer and not yet done with. */
static const uint8_t *
input(const struct session *s)
{
	return s->buffers.in + s->in_pos;
}

static size_t
input_len(const struct session *s)
{
	return s->in_len - s->in_pos;
}

/* The first n bytes of the input are done with. */
static void
consume(struct session *s, size_t n)
{
	s->in_pos += n;
	if (s->in_pos == s->in_len)
		s->in_pos = s->in_len = 0;
}

/* Where the next bytes go, as many as fit. */
static uint8_t *
input_room(struct session *s, size_t *room)
{
	struct session_buffers *b = &s->buffers;

	if (s->in_pos > 0 && b->in_size - s->in_len < b->in_size / 2) {
		memmove(b->in, b->in + s->in_pos, s->in_len - s->in_pos);
		s->in_len -= s->in_pos;
		s->in_pos = 0;
	}
	*room = b->in_size - s->in_len;
	return b->in + s->in_len;
}

static int
start(struct session *s, uv_loop_t *loop, int fd, const struct session_self *self, uint32_t cookie)
{
	s->fd = fd;
	s->events = 0;
	s->cookie = cookie;
	s->boot = self->boot;
	s->group = self->group;
	memcpy(s->key_status, self->key_status, NOISE_KEY);
	memcpy(s->key_data, self->key_data, NOISE_KEY);
	s->starved = s->held = 0;
	s->identified = s->connected = s->hello_sent = s->closing = s->eof = 0;
	s->started_ms = now_ms();
	s->connected_ms = s->up_ms = s->heard_ms = s->eof_ms = 0;
	s->remote_boot = 0;
	s->records_in = s->records_out = s->bytes_in = s->bytes_out = 0;
	s->in_pos = s->in_len = s->out_len = s->out_pos = 0;
	memset(&s->record, 0, sizeof(s->record));
	if (uv_poll_init(loop, &s->poll, fd) != 0) {
		close(fd);
		s->fd = -1;
		s->state = SESSION_FREE;
		return -1;
	}
	s->poll.data = s;
	return 0;
}

/* Our key for links of a kind. */
static const uint8_t *
own_key(const struct session *s)
{
	return s->kind == LINK_STATUS ? s->key_status : s->key_data;
}

void
session_self_of(const struct conf *c, uint64_t boot, struct session_self *self)
{
	const struct conf_server *me = &c->server[c->general.self];

	self->group = c->general.group;
	self->key_status = me->key_status;
	self->key_data = me->key_data;
	self->boot = boot;
}

int
session_dial(struct session *s, uv_loop_t *loop, int fd, enum link_kind kind,
    const struct session_self *self, const struct conf_server *partner, uint64_t counter,
    uint32_t cookie)
{
	uint8_t prologue[HELLO_PROLOGUE_MAX], payload[HELLO_PAYLOAD];
	size_t n = hello_prologue(prologue, kind, self->group);

	if (start(s, loop, fd, self, cookie) != 0)
		return -1;
	s->inbound = 0;
	s->kind = (uint8_t)kind;
	s->identified = 1;
	s->payload.boot = self->boot;
	s->payload.counter = counter;
	s->state = SESSION_DH;
	hello_keys_init(&s->hello_keys, partner->key_status, partner->key_data);
	hello_payload_encode(payload, &s->payload);
	if (noise_init(&s->noise, NOISE_INITIATOR, prologue, n, own_key(s),
		kind == LINK_STATUS ? partner->key_status : partner->key_data) != 0) {
		session_free(s);
		return -1;
	}
	advance(s, noise_write(&s->noise, payload, sizeof(payload)));
	return 0;
}

int
session_accept(
    struct session *s, uv_loop_t *loop, int fd, const struct session_self *self, uint32_t cookie)
{
	if (start(s, loop, fd, self, cookie) != 0)
		return -1;
	s->inbound = 1;
	hello_keys_init(&s->hello_keys, self->key_status, self->key_data);
	s->state = SESSION_HELLO;
	watch(s);
	return 0;
}

/* Inbound: the whole hello is there. netd has checked the outer part; it is checked again. */
static void
take_hello(struct session *s)
{
	uint8_t prologue[HELLO_PROLOGUE_MAX], noise[HELLO_NOISE];
	enum link_kind kind;
	size_t n;

	if (hello_verify(input(s), &s->hello_keys, &kind) != HELLO_OK) {
		end_session(s, LINK_C_BAD_HELLO);
		return;
	}
	if ((s->kinds & (1U << kind)) == 0) {
		end_session(s, LINK_C_NOT_ALLOWED);
		return;
	}
	s->kind = (uint8_t)kind;
	memcpy(noise, hello_noise(input(s)), sizeof(noise));
	consume(s, HELLO_SIZE);
	n = hello_prologue(prologue, kind, s->group);
	if (noise_init(&s->noise, NOISE_RESPONDER, prologue, n, own_key(s), NULL) != 0) {
		end_session(s, LINK_C_BAD_HANDSHAKE);
		return;
	}
	advance(s, noise_read(&s->noise, noise, sizeof(noise)));
}

/* Outbound: message 1 is made. */
static void
write_hello(struct session *s)
{
	uint8_t hello[HELLO_SIZE];

	if (s->noise.out_len != HELLO_NOISE ||
	    hello_encode(hello, (enum link_kind)s->kind, s->noise.out, &s->hello_keys) != 0) {
		end_session(s, LINK_C_BAD_HANDSHAKE);
		return;
	}
	s->hello_sent = 1;
	s->state = SESSION_REPLY;
	write_bytes(s, hello, sizeof(hello));
}

/* Outbound: message 2 is read; the responder is live, for it answered our fresh key. */
static void
finish_outbound(struct session *s)
{
	struct hello_payload answer;

	if (s->noise.out_len != HELLO_PAYLOAD) {
		end_session(s, LINK_C_BAD_HANDSHAKE);
		return;
	}
	hello_payload_decode(s->noise.out, &answer);
	if (answer.counter != s->payload.counter ||
	    record_init(&s->record, &s->noise, s->buffers.plain_max) != 0) {
		end_session(s, LINK_C_BAD_HANDSHAKE);
		return;
	}
	s->remote_boot = answer.boot;
	s->state = SESSION_UP;
	s->up_ms = s->heard_ms = now_ms();
	s->ops->up(s);
}

/* Inbound: message 1 is read. Answer it; the first record will tell whether it was live. */
static void
answer_hello(struct session *s)
{
	struct hello_payload answer = {.boot = s->boot};
	uint8_t payload[HELLO_PAYLOAD], reply[HELLO_REPLY];
	int cause;

	if (s->noise.out_len != HELLO_PAYLOAD || !s->identified) {
		end_session(s, LINK_C_BAD_HANDSHAKE);
		return;
	}
	hello_payload_decode(s->noise.out, &s->payload);
	cause = s->ops->admit(s);
	if (cause != 0) {
		end_session(s, cause);
		return;
	}
	answer.counter = s->payload.counter;
	hello_payload_encode(payload, &answer);
	if (noise_write(&s->noise, payload, sizeof(payload)) != NOISE_OK ||
	    s->noise.out_len != HELLO_REPLY) {
		end_session(s, LINK_C_BAD_HANDSHAKE);
		return;
	}
	memcpy(reply, s->noise.out, sizeof(reply));
	if (record_init(&s->record, &s->noise, s->buffers.plain_max) != 0) {
		end_session(s, LINK_C_BAD_HANDSHAKE);
		return;
	}
	s->remote_boot = s->payload.boot;
	s->state = SESSION_CONFIRM;
	write_bytes(s, reply, sizeof(reply));
}

/* The handshake went one step on. */
static void
advance(struct session *s, enum noise_result result)
{
	if (result == NOISE_ERROR) {
		end_session(s, LINK_C_BAD_HANDSHAKE);
		return;
	}
	if (result == NOISE_NEED_DH) {
		if (s->inbound && s->noise.has_remote && !s->identified) {
			int cause = s->ops->identify(s);

			if (cause != 0) {
				end_session(s, cause);
				return;
			}
			s->identified = 1;
		}
		s->state = SESSION_DH;
		watch(s);
		s->ops->ask_dh(s, s->cookie, s->noise.dh_public);
		return;
	}
	if (s->inbound)
		answer_hello(s);
	else if (!s->hello_sent)
		write_hello(s);
	else
		finish_outbound(s);
}

void
session_shared(struct session *s, const uint8_t *shared)
{
	if (s->state != SESSION_DH)
		return;
	if (shared == NULL) {
		end_session(s, LINK_C_KEY_REFUSED);
		return;
	}
	advance(s, noise_dh(&s->noise, shared));
	take_input(s);
	watch(s);
}

/* Open one record of in. Returns 1 when there may be another. */
static int
take_record(struct session *s)
{
	size_t used = 0, len = 0;

	switch (record_open(&s->record, input(s), input_len(s), &used, s->buffers.plain, &len)) {
	case RECORD_MORE:
		return 0;
	case RECORD_BROKEN:
		end_session(s, LINK_C_BAD_RECORD);
		return 0;
	case RECORD_OK:
		break;
	}
	consume(s, used);
	s->records_in++;
	s->heard_ms = now_ms();
	if (s->state == SESSION_CONFIRM) {
		s->state = SESSION_UP;
		s->up_ms = s->heard_ms;
		s->ops->up(s);
	}
	if (s->state == SESSION_UP)
		s->ops->record(s, s->buffers.plain, len);
	return is_open(s);
}

/* Work off what is in the buffer. */
static void
take_input(struct session *s)
{
	for (;;) {
		switch (s->state) {
		case SESSION_HELLO:
			if (input_len(s) < HELLO_SIZE)
				return;
			take_hello(s);
			break;
		case SESSION_REPLY:
			if (input_len(s) < HELLO_REPLY)
				return;
			{
				enum noise_result r = noise_read(&s->noise, input(s), HELLO_REPLY);

				consume(s, HELLO_REPLY);
				advance(s, r);
			}
			break;
		case SESSION_CONFIRM:
		case SESSION_UP:
			if (s->held || !take_record(s))
				return;
			break;
		default:
			return;
		}
	}
}

void
session_drain(struct session *s)
{
	for (int i = 0; i < READS && may_read(s); i++) {
		size_t room;
		uint8_t *to = input_room(s, &room);
		ssize_t n = recv(s->fd, to, room, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n <= 0) {
			end_of_stream(s);
			break;
		}
		s->in_len += (size_t)n;
		s->bytes_in += (uint64_t)n;
		take_input(s);
		if ((size_t)n < room) /* a stream gives all it has */
			break;
	}
	watch(s);
}

void
session_hold(struct session *s, int held)
{
	s->held = held != 0;
	if (!s->held && is_open(s))
		take_input(s);
	watch(s);
}

static void
on_ready(uv_poll_t *poll, int status, int events)
{
	struct session *s = poll->data;

	if (!is_open(s))
		return;
	if (status < 0) {
		end_of_stream(s);
		watch(s);
		return;
	}
	if (events & UV_WRITABLE)
		flush(s);
	if (s->starved && s->state == SESSION_UP && session_flushed(s)) {
		s->starved = 0;
		if (s->ops->writable != NULL)
			s->ops->writable(s);
	}
	if (!is_open(s))
		return;
	if (events & (UV_READABLE | UV_DISCONNECT))
		session_drain(s);
}

int
session_send(struct session *s, const uint8_t *plain, size_t len)
{
	size_t n;

	if (s->state != SESSION_UP)
		return -1;
	if (!make_room(s, len + RECORD_OVERHEAD)) {
		s->starved = 1;
		return -1;
	}
	n = record_seal(
	    &s->record, plain, len, s->buffers.out + s->out_len, s->buffers.out_size - s->out_len);
	if (n == 0)
		return -1;
	s->out_len += n;
	s->records_out++;
	s->bytes_out += n;
	flush(s);
	return 0;
}

int
session_flushed(const struct session *s)
{
	return s->out_pos == s->out_len;
}

static void
on_poll_closed(uv_handle_t *handle)
{
	struct session *s = handle->data;

	s->state = SESSION_FREE;
}

void
session_free(struct session *s)
{
	if (!is_open(s))
		return;
	s->state = SESSION_CLOSING;
	noise_wipe(&s->noise);
	record_wipe(&s->record);
	uv_poll_stop(&s->poll);
	uv_close((uv_handle_t *)&s->poll, on_poll_closed);
	close(s->fd);
	s->fd = -1;
}
