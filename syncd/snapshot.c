/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl snapshot: a copy of the data leaves on root's connection to the data socket while
 * writes go on, or comes in on one and replaces everything. Root's connection comes to us directly,
 * so that no other process of the guard has to be trusted with the data.
 *
 * What comes in is loaded beside the data in use (store_load_begin) and replaces it in one step
 * when the last byte of the file has been found right. It becomes the newest change of the group,
 * so that no server can take it for something old: all others get it from main as a snapshot.
 * Meanwhile writes are refused: nothing can be acknowledged and then be replaced.
 */
#include "config.h"

#include "syncd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/snapshot.h"

enum {
	STALL_MS = 60000,	 /* the other end takes or sends nothing */
	STEP_BYTES = 256 * 1024, /* in one turn of the loop */
	TEXT = 256,
};

/* A copy that leaves. */
static struct {
	uv_poll_t poll;
	int fd;			 /* -1: none */
	uint8_t polled, closing; /* the handle */
	int64_t moved_ms;
	struct store_copy *copy; /* NULL: to be taken when nothing waits for its sync */
	struct store_cursor cursor;
	struct snapshot_writer writer;
	struct change items;
	uint8_t head[SNAPSHOT_HEAD + 8];
	size_t head_len, sent; /* of head and items together */
	uint8_t ended;
} save = {.fd = -1};

/* One that comes in. */
static struct {
	uv_poll_t poll;
	int fd;
	uint8_t polled, closing;
	uint8_t as_main; /* who we were when it began */
	uint8_t loading, complete;
	int64_t moved_ms;
	uint8_t *in;
	size_t len, size;
	struct snapshot_reader reader;
	uint64_t operations;
} restore = {.fd = -1};

static void on_save(uv_poll_t *poll, int status, int events);
static void on_restore(uv_poll_t *poll, int status, int events);

/* ---- saving */

static void
on_save_closed(uv_handle_t *handle)
{
	(void)handle;
	save.closing = 0;
}

static void
end_save(const char *why)
{
	if (why != NULL)
		log_warn("a snapshot was not saved: %s", why);
	store_copy_close(save.copy);
	save.copy = NULL;
	change_free(&save.items);
	if (save.polled) {
		save.closing = 1;
		uv_close((uv_handle_t *)&save.poll, on_save_closed);
	}
	save.polled = 0;
	close(save.fd);
	save.fd = -1;
}

/* The copy begins at the newest change. 0, or -1 when it cannot. */
static int
open_copy(void)
{
	const struct conf *c = child_conf(&syncd.child);
	struct snapshot_head h = {0};
	struct position at;
	struct timespec t;

	if (uv_poll_init(&syncd.loop, &save.poll, save.fd) != 0)
		return -1;
	save.polled = 1;
	if (store_checkpoint(syncd.store, true) != 0 ||
	    (save.copy = store_copy_open(syncd.store)) == NULL)
		return -1;
	at = store_copy_position(save.copy);
	clock_gettime(CLOCK_REALTIME, &t);
	memcpy(h.id, store_id(syncd.store), SNAPSHOT_ID);
	h.epoch = at.epoch;
	h.index = at.index;
	h.keys = store_count(syncd.store);
	h.saved_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	snprintf(h.group, sizeof(h.group), "%s", c->general.group);
	snprintf(h.server, sizeof(h.server), "%s", c->server[c->general.self].name);
	memcpy(save.head, "+OK\r\n", 5);
	snapshot_begin(&save.writer, &h, save.head + 5);
	save.head_len = SNAPSHOT_HEAD + 5;
	log_info("a snapshot of %llu keys at %llu/%llu is being saved", (unsigned long long)h.keys,
	    (unsigned long long)h.epoch, (unsigned long long)h.index);
	uv_poll_start(&save.poll, UV_WRITABLE, on_save);
	return 0;
}

/* The next record. 1, 0 when the end is on its way already, -1. */
static int
next_record(void)
{
	int r;

	if (save.ended)
		return 0;
	change_clear(&save.items);
	save.sent = 0;
	r = store_copy_next(save.copy, &save.cursor, ITEMS_MAX, &save.items);
	if (r < 0)
		return -1;
	if (r > 0) {
		snapshot_items(
		    &save.writer, save.items.data, save.items.len, save.items.n_ops, save.head);
		save.head_len = SNAPSHOT_RECORD;
	} else {
		snapshot_end(&save.writer, save.head);
		save.head_len = SNAPSHOT_END;
		save.ended = 1;
	}
	return 1;
}

static void
on_save(uv_poll_t *poll, int status, int events)
{
	size_t turn = 0;

	(void)poll;
	if (status < 0 || (events & UV_DISCONNECT) != 0) {
		end_save("its taker went away");
		return;
	}
	while (turn < STEP_BYTES) {
		size_t total = save.head_len + save.items.len;
		const uint8_t *from = save.sent < save.head_len
					  ? save.head + save.sent
					  : save.items.data + (save.sent - save.head_len);
		size_t left =
		    save.sent < save.head_len ? save.head_len - save.sent : total - save.sent;
		ssize_t n;
		int r;

		if (left == 0) {
			r = next_record();
			if (r > 0)
				continue;
			end_save(r < 0 ? "the data cannot be read" : NULL);
			return;
		}
		n = send(save.fd, from, left, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			end_save("its taker went away");
			return;
		}
		save.sent += (size_t)n;
		turn += (size_t)n;
		save.moved_ms = now_ms();
	}
}

static const char *
begin_save(int fd)
{
	if (save.fd >= 0 || save.closing)
		return "-BUSY another snapshot is being saved";
	if (data_is_blank())
		return "-NOTREADY there is no data to be saved";
	save.fd = fd;
	save.moved_ms = now_ms();
	save.cursor.len = save.head_len = save.sent = 0;
	save.ended = 0;
	change_init(&save.items);
	syncd_wake_at(now_ms());
	return NULL;
}

/* ---- restoring */

int
snapshot_restoring(void)
{
	return restore.fd >= 0;
}

static void
on_restore_closed(uv_handle_t *handle)
{
	(void)handle;
	restore.closing = 0;
}

/* The last words to bulkheadctl; a short line always finds room. */
static void
end_restore(int done, const char *text)
{
	char line[TEXT + 16];
	int n = snprintf(line, sizeof(line), "%s%.*s\r\n", done ? "+" : "-ERR ", TEXT, text);

	(void)send(restore.fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (done)
		log_warn("%s", text);
	else
		log_error("a snapshot was not restored, the data is as before: %s", text);
	if (restore.loading)
		store_load_abort(syncd.store);
	restore.loading = 0;
	free(restore.in);
	restore.in = NULL;
	if (restore.polled) {
		restore.closing = 1;
		uv_close((uv_handle_t *)&restore.poll, on_restore_closed);
	}
	restore.polled = 0;
	close(restore.fd);
	restore.fd = -1;
	face_progress(&syncd.face);
}

/* Who may: main, or, while there is none, a server without data. */
static int
may_restore(void)
{
	if (syncd.role == DATA_MAIN)
		return !feed_leaving();
	return data_may_begin();
}

static int
begin_load(void)
{
	const struct snapshot_head *h = &restore.reader.head;
	struct position end = store_end(syncd.store), p;

	/* newer than what anybody has, with a history of its own */
	p.epoch = syncd.epoch > end.epoch ? syncd.epoch : end.epoch;
	p.epoch = p.epoch > 0 ? p.epoch : 1;
	p.index = (end.index > h->index ? end.index : h->index) + 1;
	randombytes_buf(&p.hash, sizeof(p.hash));
	return store_load_begin(syncd.store, &p, data_is_blank() ? h->id : store_id(syncd.store));
}

/* Operations of a record. -1: malformed. */
static int64_t
count_operations(struct slice body)
{
	struct change_op op;
	size_t pos = 0;
	int64_t n = 0;
	int r;

	while ((r = change_next(body, &pos, &op)) == 1)
		n++;
	return r == 0 ? n : -1;
}

static const char *
take_records(struct slice body)
{
	static const struct store_cursor none = {.len = 0};
	int64_t n = count_operations(body);

	if (n <= 0)
		return "a record of the snapshot is damaged";
	restore.operations += (uint64_t)n;
	if (store_load_items(syncd.store, body, &none) == 0)
		return NULL;
	if (errno == EPROTO || errno == EINVAL)
		return "a record of the snapshot is damaged";
	return errno == ENOSPC ? "there is no room for it on the disk or in data.size"
			       : "the disk does not take it";
}

/* What has come, as far as it goes; used bytes are done with. NULL, or what is wrong. */
static const char *
take_parts(size_t *at)
{
	size_t used;

	for (;; *at += used) {
		struct snapshot_reader *r = &restore.reader;
		const char *error = NULL;

		switch (snapshot_read(r, restore.in + *at, restore.len - *at, &used)) {
		case SNAPSHOT_MORE:
			return NULL;
		case SNAPSHOT_GOT_HEAD:
			restore.loading = begin_load() == 0;
			if (!restore.loading)
				return "the store cannot take a snapshot now";
			break;
		case SNAPSHOT_GOT_ITEMS:
			error = take_records((struct slice){r->items, r->items_len});
			break;
		case SNAPSHOT_GOT_END:
			if (r->operations != restore.operations)
				return "the snapshot does not have all of its operations";
			restore.complete = 1;
			break;
		default:
			return r->error;
		}
		if (error != NULL)
			return error;
	}
}

/* Everything was right: it takes the place of the data. */
static void
put_into_place(void)
{
	const struct snapshot_head *h = &restore.reader.head;
	struct position old = store_end(syncd.store), now;
	uint64_t keys = store_count(syncd.store);
	char text[TEXT];

	if (store_load_end(syncd.store) != 0) {
		end_restore(0, "the snapshot cannot be put into place");
		return;
	}
	restore.loading = 0;
	now = store_end(syncd.store);
	snprintf(text, sizeof(text),
	    "%llu keys of the snapshot of %s at %llu/%llu are the data now, at %llu/%llu, in place "
	    "of %llu keys at %llu/%llu",
	    (unsigned long long)store_count(syncd.store), h->server, (unsigned long long)h->epoch,
	    (unsigned long long)h->index, (unsigned long long)now.epoch,
	    (unsigned long long)now.index, (unsigned long long)keys, (unsigned long long)old.epoch,
	    (unsigned long long)old.index);
	face_replaced(&syncd.face);
	end_restore(1, text);
	position_report(now_ms());
	feed_again();
}

/* Room for what is coming: twice as much each time, not more than is needed. 0 or -1. */
static int
make_room(void)
{
	size_t want = restore.len + STEP_BYTES, size = 2 * restore.size;
	uint8_t *in;

	if (restore.size >= want)
		return 0;
	size = size < want ? want : size;
	in = realloc(restore.in, size);
	if (in == NULL)
		return -1;
	restore.in = in;
	restore.size = size;
	return 0;
}

static void
on_restore(uv_poll_t *poll, int status, int events)
{
	const char *error;
	size_t at = 0;
	ssize_t n;

	(void)poll;
	(void)events;
	if (status < 0 || make_room() != 0) {
		end_restore(0, status < 0 ? "its connection failed" : "there is no memory for it");
		return;
	}
	n = recv(restore.fd, restore.in + restore.len, STEP_BYTES, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		if (restore.complete) /* snapshot_tick() goes on */
			uv_poll_stop(&restore.poll);
		else
			end_restore(0, "the snapshot is not complete");
		return;
	}
	restore.len += (size_t)n;
	restore.moved_ms = now_ms();
	error = may_restore() ? take_parts(&at) : "the role of this server changed";
	if (error != NULL) {
		end_restore(0, error);
		return;
	}
	restore.len -= at;
	memmove(restore.in, restore.in + at, restore.len);
}

static const char *
begin_restore(int fd, int replace)
{
	int as_main = syncd.role == DATA_MAIN;

	if (restore.fd >= 0 || restore.closing)
		return "-BUSY another snapshot is being restored";
	if (!may_restore())
		return as_main ? "-BUSY the role is on its way to another server"
			       : "-READONLY a snapshot is restored on main";
	if (!replace && (!as_main || !data_is_blank()))
		return as_main ? "-EXISTS this group has data: it would be replaced on all servers"
			       : "-EXISTS no main is known, and this group may have data elsewhere";
	restore.fd = fd;
	restore.loading = restore.complete = 0;
	restore.moved_ms = now_ms();
	restore.len = restore.size = 0;
	restore.operations = 0;
	snapshot_reader_init(&restore.reader);
	syncd_wake_at(now_ms());
	return NULL;
}

/* From here on writes are refused; the sender may begin. */
static void
start_restore(void)
{
	if (uv_poll_init(&syncd.loop, &restore.poll, restore.fd) != 0) {
		end_restore(0, "its connection cannot be watched");
		return;
	}
	restore.polled = 1;
	uv_poll_start(&restore.poll, UV_READABLE, on_restore);
	(void)send(restore.fd, "+OK\r\n", 5, MSG_DONTWAIT | MSG_NOSIGNAL);
	log_warn("a snapshot is being restored: writes are refused until it is done");
}

/* ---- both */

const char *
snapshot_begin_on(int fd, bool restores, bool replace)
{
	if (!syncd.running || syncd.stopping)
		return "-NOTREADY syncd is starting or stopping";
	return restores ? begin_restore(fd, replace) : begin_save(fd);
}

int64_t
snapshot_tick(int64_t now)
{
	int64_t due = INT64_MAX;

	/*
	 * a change that waits for its sync must not be synced, or undone, by anybody but the face
	 */
	if (save.fd >= 0 && save.head_len == 0) {
		if (syncd.face.changed)
			due = now;
		else if (open_copy() != 0)
			end_save("the data cannot be read, or its state not be written");
	}
	if (restore.fd >= 0 && !restore.polled)
		start_restore();
	if (restore.fd >= 0 && !may_restore())
		end_restore(0, "the role of this server changed");
	else if (restore.fd >= 0 && restore.complete) {
		if (syncd.face.changed)
			due = now;
		else
			put_into_place();
	}
	if (save.fd >= 0 && restore.fd >= 0)
		restore.moved_ms = now; /* what is replaced is saved first */
	if (save.copy != NULL && store_copy_hurts(save.copy))
		end_save("changes need the room that it holds");
	if (save.fd >= 0 && now >= save.moved_ms + STALL_MS)
		end_save("its taker does not read");
	if (restore.fd >= 0 && now >= restore.moved_ms + STALL_MS)
		end_restore(0, "nothing more of it came");
	if (due == INT64_MAX && (save.fd >= 0 || restore.fd >= 0))
		due = now + STALL_MS / 4;
	return due;
}
