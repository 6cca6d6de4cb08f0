/* SPDX-License-Identifier: ISC */
/*
 * Channels on a libuv loop. uv_poll and our own recvmsg/sendmsg: libuv's pipes know no SEQPACKET and
 * take descriptors from the peer at any time.
 */
#include "loop.h"

#include <stdlib.h>

#include "log.h"

enum { LAST_WORDS = 16 }; /* rounds of CHANNEL_BUDGET packets: more than a socket holds */

struct channel_io {
	uv_poll_t poll;
	struct channel *channel; /* NULL once detached */
	channel_closed *closed;
	int writing;
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void
on_handle_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* The peer is gone or misbehaved: out of the loop first, then the owner is told. */
static void
report_closed(struct channel *c)
{
	struct channel_io *io = c->io;
	channel_closed *closed = io->closed;

	loop_detach_channel(c);
	closed(c);
}

static void
want_write(struct channel *c, int on)
{
	struct channel_io *io = c->io;

	if (io == NULL || io->writing == on)
		return;
	io->writing = on;
	uv_poll_start(&io->poll, UV_READABLE | (on ? UV_WRITABLE : 0), on_ready);
}

static void
on_ready(uv_poll_t *poll, int status, int events)
{
	struct channel_io *io = poll->data;
	struct channel *c = io->channel;

	if (c == NULL)
		return;
	if (status < 0) {
		/* the peer has ended and left something unread: what it said is heard all the same */
		for (int i = 0; i < LAST_WORDS && channel_read(c) > 0; i++)
			;
		if (io->channel == c && c->io == io)
			report_closed(c);
		return;
	}
	if ((events & UV_WRITABLE) && channel_flush(c) != 0) {
		report_closed(c);
		return;
	}
	if ((events & (UV_READABLE | UV_DISCONNECT)) && channel_read(c) < 0) {
		if (io->channel == c && c->io == io)
			report_closed(c);
	}
}

void
loop_attach_channel(uv_loop_t *loop, struct channel *c, channel_closed *closed)
{
	struct channel_io *io = calloc(1, sizeof(*io));
	int r;

	if (io == NULL)
		fatal("no memory for the channel to %s", process_name(c->peer));
	io->channel = c;
	io->closed = closed;
	io->poll.data = io;
	r = uv_poll_init(loop, &io->poll, c->fd);
	if (r != 0)
		fatal("cannot watch the channel to %s: %s", process_name(c->peer), uv_strerror(r));
	c->io = io;
	c->want_write = want_write;
	io->writing = c->head != NULL;
	uv_poll_start(&io->poll, UV_READABLE | (io->writing ? UV_WRITABLE : 0), on_ready);
}

void
loop_detach_channel(struct channel *c)
{
	struct channel_io *io = c->io;

	if (io == NULL)
		return;
	c->io = NULL;
	c->want_write = NULL;
	io->channel = NULL;
	uv_poll_stop(&io->poll);
	uv_close((uv_handle_t *)&io->poll, on_handle_closed);
}
