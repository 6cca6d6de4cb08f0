/* SPDX-License-Identifier: ISC */
/*
 * The message table and the encoders and decoders of fields. Pure: no I/O.
 */
#include "message.h"

#include <string.h>

#define MESSAGE(msg_name, number, from_, to_, min_, max_, fds_, states_, flags_, text)             \
	[number] = {.name = #msg_name,                                                             \
	    .from = (from_),                                                                       \
	    .to = (to_),                                                                           \
	    .min = (min_),                                                                         \
	    .max = (max_),                                                                         \
	    .fds = (fds_),                                                                         \
	    .states = (states_),                                                                   \
	    .flags = (flags_)},
static const struct message_row rows[MSG_TYPE_MAX] = {
#include "messages.def"
};
#undef MESSAGE

const struct message_row *
message_row(unsigned type)
{
	if (type >= MSG_TYPE_MAX || rows[type].name == NULL)
		return NULL;
	return &rows[type];
}

const char *
message_name(unsigned type)
{
	const struct message_row *row = message_row(type);

	return row != NULL ? row->name : "unknown";
}

const char *
offence_text(unsigned offence)
{
	static const char *const text[OFFENCE_MAX] = {
	    [OFFENCE_NONE] = "none",
	    [OFFENCE_PROTOCOL] = "it broke the protocol",
	    [OFFENCE_FLOOD] = "it floods its channel",
	    [OFFENCE_LOG] = "it floods its log",
	    [OFFENCE_DEAF] = "it does not read its channel",
	    [OFFENCE_SILENT] = "it was silent",
	    [OFFENCE_CLOSED] = "it closed its channel",
	    [OFFENCE_BROKEN] = "its channel is broken",
	    [OFFENCE_ACCUSES] = "it accuses others too often",
	    [OFFENCE_NOT_READY] = "it was not ready in time",
	    [OFFENCE_NO_ANSWER] = "it did not answer its first config",
	    [OFFENCE_REFUSED] = "it refused the config",
	    [OFFENCE_NO_STOP] = "it did not stop in time",
	};

	return offence < OFFENCE_MAX ? text[offence] : "?";
}

void
msg_begin(struct msg *m, enum message_type type)
{
	m->type = (uint16_t)type;
	m->bad = 0;
	m->n_fds = 0;
	m->fd = -1;
	m->len = 0;
	m->pos = 0;
}

void
msg_put_bytes(struct msg *m, const void *p, size_t n)
{
	if (n > sizeof(m->body) - m->len) {
		m->bad = 1;
		return;
	}
	if (n > 0)
		memcpy(m->body + m->len, p, n);
	m->len += n;
}

/* The low n bytes of v, little endian. */
static void
put_le(struct msg *m, uint64_t v, size_t n)
{
	uint8_t b[8];

	for (size_t i = 0; i < n; i++)
		b[i] = (uint8_t)(v >> (8 * i));
	msg_put_bytes(m, b, n);
}

void
msg_put_u8(struct msg *m, uint8_t v)
{
	put_le(m, v, 1);
}

void
msg_put_u16(struct msg *m, uint16_t v)
{
	put_le(m, v, 2);
}

void
msg_put_u32(struct msg *m, uint32_t v)
{
	put_le(m, v, 4);
}

void
msg_put_u64(struct msg *m, uint64_t v)
{
	put_le(m, v, 8);
}

void
msg_put_i64(struct msg *m, int64_t v)
{
	put_le(m, (uint64_t)v, 8);
}

void
msg_put_str(struct msg *m, const char *s)
{
	size_t n = strlen(s);

	if (n > UINT16_MAX) {
		m->bad = 1;
		return;
	}
	msg_put_u16(m, (uint16_t)n);
	msg_put_bytes(m, s, n);
}

void
msg_put_fd(struct msg *m, int fd)
{
	m->fd = fd;
	m->n_fds = 1;
}

void
msg_get_bytes(struct msg *m, void *p, size_t n)
{
	if (n > m->len - m->pos) {
		m->bad = 1;
		m->pos = m->len;
		memset(p, 0, n);
		return;
	}
	if (n > 0)
		memcpy(p, m->body + m->pos, n);
	m->pos += n;
}

/* n bytes, little endian; 0 past the end. */
static uint64_t
get_le(struct msg *m, size_t n)
{
	uint8_t b[8] = {0};
	uint64_t v = 0;

	msg_get_bytes(m, b, n);
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)b[i] << (8 * i);
	return v;
}

uint8_t
msg_get_u8(struct msg *m)
{
	return (uint8_t)get_le(m, 1);
}

uint16_t
msg_get_u16(struct msg *m)
{
	return (uint16_t)get_le(m, 2);
}

uint32_t
msg_get_u32(struct msg *m)
{
	return (uint32_t)get_le(m, 4);
}

uint64_t
msg_get_u64(struct msg *m)
{
	return get_le(m, 8);
}

int64_t
msg_get_i64(struct msg *m)
{
	return (int64_t)get_le(m, 8);
}

/* n bytes of text into buf; control bytes, DEL and NUL are refused. */
static void
get_text(struct msg *m, char *buf, size_t size, size_t n)
{
	buf[0] = '\0';
	if (n >= size || n > m->len - m->pos) {
		m->bad = 1;
		m->pos = m->len;
		return;
	}
	msg_get_bytes(m, buf, n);
	buf[n] = '\0';
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)buf[i];

		if (c < 0x20 || c == 0x7f) {
			m->bad = 1;
			buf[0] = '\0';
			return;
		}
	}
}

void
msg_get_str(struct msg *m, char *buf, size_t size)
{
	get_text(m, buf, size, msg_get_u16(m));
}

void
msg_get_text(struct msg *m, char *buf, size_t size)
{
	get_text(m, buf, size, msg_left(m));
}

size_t
msg_left(const struct msg *m)
{
	return m->len - m->pos;
}

int
msg_take_fd(struct msg *m)
{
	int fd = m->fd;

	m->fd = -1;
	m->n_fds = 0;
	return fd;
}

int
msg_end(const struct msg *m)
{
	return !m->bad && m->pos == m->len ? 0 : -1;
}
