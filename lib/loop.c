/* SPDX-License-Identifier: ISC */
/*
 * Channels on a libuv loop. uv_poll and our own recvmsg/sendmsg: libuv's pipes know no SEQPACKET
 * and take descriptors from the peer at any time.
 */
#include "config.h"

#include "loop.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "log.h"

enum { LAST_WORDS = 16 }; /* rounds of CHANNEL_BUDGET packets: more than a socket holds */

struct channel_io {
	uv_poll_t poll;
	uv_timer_t pause;
	int open;		 /* handles that libuv has not let go of */
	struct channel *channel; /* NULL once detached */
	channel_closed *closed;
	int writing;
};

static void on_ready(uv_poll_t *poll, int status, int events);

/* ---- the loop */

static void *
must(void *memory)
{
	if (memory == NULL)
		fatal("no memory for the event loop");
	return memory;
}

static void *
loop_malloc(size_t size)
{
	return must(malloc(size));
}

static void *
loop_calloc(size_t n, size_t size)
{
	return must(calloc(n, size));
}

static void *
loop_realloc(void *memory, size_t size)
{
	return must(realloc(memory, size));
}

void
loop_open(uv_loop_t *loop)
{
	int r;

	(void)uv_replace_allocator(loop_malloc, loop_realloc, loop_calloc, free);
	r = uv_loop_init(loop);
	if (r != 0)
		fatal("cannot make the event loop: %s", uv_strerror(r));
}

static void
on_nothing(uv_poll_t *poll, int status, int events)
{
	(void)poll;
	(void)status;
	(void)events;
}

/* libuv's table grows to the highest number that is watched, and never shrinks. */
void
loop_reserve(uv_loop_t *loop)
{
	static uv_poll_t poll; /* until the first turn of the loop */
	struct rlimit limit;
	int fd = eventfd(0, EFD_CLOEXEC), last;

	if (fd < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
		fatal("cannot prepare the event loop");
	last = (int)limit.rlim_cur - 1;
	if (dup3(fd, last, O_CLOEXEC) != last || uv_poll_init(loop, &poll, last) != 0 ||
	    uv_poll_start(&poll, UV_READABLE, on_nothing) != 0)
		fatal("cannot prepare the event loop for %d descriptors", last + 1);
	uv_close((uv_handle_t *)&poll, NULL);
	close(last);
	close(fd);
}

/* ---- channels */

static void
on_handle_closed(uv_handle_t *handle)
{
	struct channel_io *io = handle->data;

	if (--io->open == 0)
		free(io);
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
on_pause_over(uv_timer_t *timer)
{
	struct channel_io *io = timer->data;

	if (io->channel != NULL && channel_flush(io->channel) != 0)
		report_closed(io->channel);
}

/*
 * on: something is queued. While the kernel has no memory for it the socket claims to be writable.
 */
static void
want_write(struct channel *c, int on)
{
	struct channel_io *io = c->io;
	int watch = on && !c->starved;

	if (io == NULL)
		return;
	if (on && c->starved && !uv_is_active((uv_handle_t *)&io->pause))
		uv_timer_start(&io->pause, on_pause_over, CHANNEL_PAUSE_MS, 0);
	if (io->writing == watch)
		return;
	io->writing = watch;
	uv_poll_start(&io->poll, UV_READABLE | (watch ? UV_WRITABLE : 0), on_ready);
}

static void
on_ready(uv_poll_t *poll, int status, int events)
{
	struct channel_io *io = poll->data;
	struct channel *c = io->channel;

	if (c == NULL)
		return;
	if (status < 0) {
		/*
		 * the peer has ended and left something unread: what it said is heard all the same
		 */
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
	io->pause.data = io;
	io->open = 2;
	uv_timer_init(loop, &io->pause);
	r = uv_poll_init(loop, &io->poll, c->fd);
	if (r != 0)
		fatal("cannot watch the channel to %s: %s", process_name(c->peer), uv_strerror(r));
	c->io = io;
	c->want_write = want_write;
	uv_poll_start(&io->poll, UV_READABLE, on_ready);
	want_write(c, c->head != NULL);
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
	uv_close((uv_handle_t *)&io->pause, on_handle_closed);
}
