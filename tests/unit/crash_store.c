/* SPDX-License-Identifier: ISC */
/*
 * The store of syncd under SIGKILL and power cuts. A child runs random changes, checkpoints,
 * truncations and loads on a real store, and tells in shared memory what it is about to do and what
 * it was told to be durable. Then
 *  - kill: it is killed at a random moment, many times on the same store;
 *  - power: everything that it writes is recorded. Images of the folder are built for random
 * moments: what was synced is there, of what was written since then each sector of 512 bytes is
 * there or not, of what was made, renamed or removed since the folder was synced a part is. After
 * each the store is opened and must hold everything acknowledged, nothing half applied: its log is
 * the changes in order, its state is what a model makes of them. usage: crash_store [kill ROUNDS |
 * power IMAGES] [SEED]   (BULKHEAD_TEST_LONG=1: 600 and 3000)
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/log.h"
#include "model.h"

enum {
	SHARED = 1 << 30,
	FILES_MAX = 4096,
	FDS_MAX = 256,
	SECTOR = 512,
	ROUNDS_PER_STORE = 8,
	STEPS = 60,
	IMAGES_PER_TRACE = 30,
};

enum event_kind {
	EV_STEP = 1, /* what: enum step_kind; at: of a truncation */
	EV_BODY,     /* a change of the step: epoch, bytes */
	EV_DONE,     /* the step is durable: at */
	EV_CREATE,   /* file: a new one; bytes: its name */
	EV_WRITE,    /* file, offset, bytes; what: 1 when it is synced by itself */
	EV_SYNC,     /* file */
	EV_SIZE,     /* file, offset: its new size */
	EV_RENAME,   /* file; bytes: its new name */
	EV_UNLINK,   /* bytes: name */
	EV_SYNC_DIR,
};

enum step_kind {
	STEP_CHANGES = 1,
	STEP_CHECKPOINT,
	STEP_REOPEN,
	STEP_TRUNCATE,
	STEP_LOAD,
	STEP_FOLLOW
};

struct event {
	uint32_t kind, what, file;
	uint64_t offset, len;
	struct position at;
	/* len bytes follow, then up to 7 to the next */
};

static struct {
	uint64_t used;
	uint8_t bytes[];
} * shared;

static const uint8_t id[STORE_ID] = "a group of tests";
static const struct store_limits limits = {
    .map_bytes = 256 << 20, .backlog_bytes = 1 << 20, .segment_bytes = 64 << 10, .dirty_puts = 150};
static char top[64], shm[64]; /* on a disk, and where a sync costs nothing */
static char source_path[80];

/* What is known of the store: what it was loaded from, and the changes since. */
struct change_made {
	uint64_t epoch;
	struct slice body; /* in shared memory or a copy */
};

struct history {
	bool loaded; /* from the source */
	struct position base, acknowledged;
	struct change_made *changes;
	size_t n, size;
};

static struct history source;

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

static void
die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, " (%s, %s)\n", top, shm);
	exit(1);
}

/* ---- what happened, told in shared memory */

static void
tell(struct event e, const void *bytes, size_t len)
{
	uint64_t at = shared->used;

	if (at + sizeof(e) + len + 8 > SHARED - 64)
		_exit(77);
	e.len = len;
	memcpy(shared->bytes + at, &e, sizeof(e));
	if (len > 0)
		memcpy(shared->bytes + at + sizeof(e), bytes, len);
	__atomic_store_n(
	    &shared->used, at + ((sizeof(e) + len + 7) & ~(size_t)7), __ATOMIC_RELEASE);
}

/* The event at *at, moving it to the next; NULL at the end. */
static const struct event *
next_event(uint64_t *at)
{
	const struct event *e;

	if (*at >= __atomic_load_n(&shared->used, __ATOMIC_ACQUIRE))
		return NULL;
	e = (const struct event *)(const void *)(shared->bytes + *at);
	*at += (sizeof(*e) + e->len + 7) & ~(size_t)7;
	return e;
}

static const uint8_t *
bytes_of(const struct event *e)
{
	return (const uint8_t *)(e + 1);
}

/* ---- recording: these take the place of the C library's, for liblmdb too */

static bool recording;
static struct {
	bool used, dsync;
	uint32_t file;
	uint64_t offset;
} fds[FDS_MAX];
static char file_names[FILES_MAX][32];
static uint32_t n_files;
static int dir_fd = -1;

static void
note_open(int fd, const char *path, int flags)
{
	const char *name = strrchr(path, '/');
	uint32_t file;

	name = name != NULL ? name + 1 : path;
	if (!recording || fd < 0 || fd >= FDS_MAX)
		return;
	memset(&fds[fd], 0, sizeof(fds[fd]));
	if (flags & O_DIRECTORY) {
		if (strstr(path, "/store") != NULL)
			dir_fd = fd;
		return;
	}
	if (strstr(name, "-lock") != NULL || strstr(path, "/source") != NULL)
		return;
	for (file = 0; file < n_files && strcmp(file_names[file], name) != 0; file++)
		;
	if (file == n_files) {
		if ((flags & O_CREAT) == 0 || n_files == FILES_MAX)
			return;
		snprintf(file_names[n_files++], sizeof(file_names[0]), "%s", name);
		tell((struct event){.kind = EV_CREATE, .file = file}, name, strlen(name) + 1);
	}
	fds[fd].used = true;
	fds[fd].dsync = (flags & O_DSYNC) != 0;
	fds[fd].file = file;
}

static bool
is_noted(int fd)
{
	return recording && fd >= 0 && fd < FDS_MAX && fds[fd].used;
}

static void
note_write(int fd, const void *b, ssize_t n, uint64_t at)
{
	if (n > 0 && is_noted(fd))
		tell((struct event){.kind = EV_WRITE,
			 .file = fds[fd].file,
			 .offset = at,
			 .what = fds[fd].dsync},
		    b, (size_t)n);
}

static void
note_sync(int fd)
{
	if (is_noted(fd))
		tell((struct event){.kind = EV_SYNC, .file = fds[fd].file}, NULL, 0);
	else if (recording && fd == dir_fd)
		tell((struct event){.kind = EV_SYNC_DIR}, NULL, 0);
}

int open(const char *path, int flags, ...);
int openat(int dir, const char *path, int flags, ...);

int
open(const char *path, int flags, ...)
{
	va_list ap;
	int fd, mode;

	va_start(ap, flags);
	mode = (flags & O_CREAT) != 0 ? va_arg(ap, int) : 0;
	va_end(ap);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	note_open(fd, path, flags);
	return fd;
}

int
openat(int dir, const char *path, int flags, ...)
{
	va_list ap;
	int fd, mode;

	va_start(ap, flags);
	mode = (flags & O_CREAT) != 0 ? va_arg(ap, int) : 0;
	va_end(ap);
	fd = (int)syscall(SYS_openat, dir, path, flags, mode);
	if (dir == dir_fd)
		note_open(fd, path, flags);
	return fd;
}

int
close(int fd)
{
	if (fd >= 0 && fd < FDS_MAX)
		fds[fd].used = false;
	if (fd == dir_fd)
		dir_fd = -1;
	return (int)syscall(SYS_close, fd);
}

ssize_t
pwrite(int fd, const void *b, size_t n, off_t at)
{
	ssize_t w = syscall(SYS_pwrite64, fd, b, n, at);

	note_write(fd, b, w, (uint64_t)at);
	return w;
}

off_t
lseek(int fd, off_t at, int whence)
{
	off_t r = syscall(SYS_lseek, fd, at, whence);

	if (is_noted(fd) && r >= 0)
		fds[fd].offset = (uint64_t)r;
	return r;
}

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	ssize_t w = syscall(SYS_writev, fd, v, n), left = w;

	for (int i = 0; left > 0 && i < n && is_noted(fd); i++) {
		ssize_t some = left < (ssize_t)v[i].iov_len ? left : (ssize_t)v[i].iov_len;

		note_write(fd, v[i].iov_base, some, fds[fd].offset);
		fds[fd].offset += (uint64_t)some;
		left -= some;
	}
	return w;
}

int
fdatasync(int fd)
{
	int r = (int)syscall(SYS_fdatasync, fd);

	if (r == 0)
		note_sync(fd);
	return r;
}

int
fsync(int fd)
{
	int r = (int)syscall(SYS_fsync, fd);

	if (r == 0)
		note_sync(fd);
	return r;
}

int
ftruncate(int fd, off_t size)
{
	int r = (int)syscall(SYS_ftruncate, fd, size);

	if (r == 0 && is_noted(fd))
		tell(
		    (struct event){.kind = EV_SIZE, .file = fds[fd].file, .offset = (uint64_t)size},
		    NULL, 0);
	return r;
}

int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	int r = (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
	uint32_t file;

	if (r != 0 || !recording)
		return r;
	for (file = 0; file < n_files && strcmp(file_names[file], from) != 0; file++)
		;
	if (file == n_files)
		die("rename of %s, which was never made", from);
	snprintf(file_names[file], sizeof(file_names[0]), "%s", to);
	tell((struct event){.kind = EV_RENAME, .file = file}, to, strlen(to) + 1);
	return r;
}

int
unlinkat(int dir, const char *name, int flags)
{
	int r = (int)syscall(SYS_unlinkat, dir, name, flags);

	if (r != 0 || !recording)
		return r;
	for (uint32_t file = 0; file < n_files; file++)
		if (strcmp(file_names[file], name) == 0)
			file_names[file][0] = '\0';
	tell((struct event){.kind = EV_UNLINK}, name, strlen(name) + 1);
	return r;
}

/* ---- histories */

static void
history_add(struct history *h, uint64_t epoch, struct slice body)
{
	if (h->n == h->size) {
		h->size = h->size * 2 + 64;
		h->changes = reallocarray(h->changes, h->size, sizeof(*h->changes));
		if (h->changes == NULL)
			die("no memory");
	}
	h->changes[h->n++] = (struct change_made){epoch, body};
}

static void
history_clear(struct history *h)
{
	h->n = 0;
	h->loaded = false;
	memset(&h->base, 0, sizeof(h->base));
	memset(&h->acknowledged, 0, sizeof(h->acknowledged));
}

static struct slice
keep(const void *bytes, size_t len)
{
	uint8_t *copy = malloc(len);

	if (copy == NULL)
		die("no memory");
	memcpy(copy, bytes, len);
	return (struct slice){copy, len};
}

static struct model *
fold(const struct history *h)
{
	struct model *m = model_new();

	for (size_t i = 0; h->loaded && i < source.n; i++)
		model_apply_body(m, source.changes[i].body);
	for (size_t i = 0; i < h->n; i++)
		model_apply_body(m, h->changes[i].body);
	return m;
}

static bool
same_position(const struct position *a, const struct position *b)
{
	return a->epoch == b->epoch && a->index == b->index && a->hash == b->hash;
}

/* The events up to a place: what was acknowledged, and which step was under way. */
struct pending {
	uint32_t kind; /* 0: none */
	struct position at;
	size_t first; /* of its changes, which are in the history behind what was acknowledged */
};

static void
apply_events(struct history *h, struct pending *p, uint64_t *at, uint64_t until)
{
	const struct event *e;

	while (*at < until && (e = next_event(at)) != NULL) {
		switch (e->kind) {
		case EV_STEP:
			*p = (struct pending){e->what, e->at, h->n};
			break;
		case EV_BODY:
			history_add(h, e->at.epoch, keep(bytes_of(e), e->len));
			break;
		case EV_DONE:
			if (p->kind == STEP_TRUNCATE)
				h->n = (size_t)(e->at.index - h->base.index);
			if (p->kind == STEP_LOAD) {
				h->n = 0;
				h->loaded = true;
				h->base = e->at;
			}
			h->acknowledged = e->at;
			p->kind = 0;
			break;
		default:
			break;
		}
	}
}

/* ---- the child */

static struct store *
open_store(const char *path)
{
	struct store *s = store_open(path, &limits);

	if (s == NULL)
		die("the store does not open");
	return s;
}

/* One change of the step, told before it is made. */
static void
make_change(struct store *s, struct dice *d, struct model *m, uint64_t epoch, bool follow)
{
	static uint8_t large[400000];
	struct change body;
	struct change_op op;
	struct position at;

	change_init(&body);
	for (uint32_t n = dice_roll(d, 4) + 1; n > 0; n--) {
		dice_op(d, m, &op);
		if (op.kind == CHANGE_SET && dice_roll(d, 60) == 0) { /* more than a segment */
			memset(large, (int)dice_roll(d, 256), sizeof(large));
			op.value = (struct slice){large, 100000 + dice_roll(d, 300000)};
		}
		change_append(&body, &op);
		model_apply(m, &op);
	}
	tell((struct event){.kind = EV_BODY, .at = {.epoch = epoch}}, body.data, body.len);
	if (store_begin(s, epoch) != 0)
		die("begin: %s", strerror(errno));
	for (size_t pos = 0; change_next((struct slice){body.data, body.len}, &pos, &op) == 1;)
		if (store_apply(s, &op) != 0)
			die("apply: %s", strerror(errno));
	if (follow) { /* the same by the other way in: what hash it has is learned by trying */
		struct position end;

		store_cancel(s);
		end = store_end(s);
		at = (struct position){epoch, end.index + 1, 0};
		if (store_follow(s, &at, (struct slice){body.data, body.len}) == 0 ||
		    errno != EPROTO)
			die("a change with a wrong hash was taken");
		if (log_append(store_log(s), epoch, (struct slice){body.data, body.len}, &at) !=
			0 &&
		    (errno != ENOSPC || store_checkpoint(s, true) != 0 ||
			log_append(store_log(s), epoch, (struct slice){body.data, body.len}, &at) !=
			    0))
			die("append: %s", strerror(errno));
		log_unappend(store_log(s));
		if (store_follow(s, &at, (struct slice){body.data, body.len}) != 0)
			die("follow: %s", strerror(errno));
	} else if (store_end_change(s, &at) != 0)
		die("end: %s", strerror(errno));
	change_free(&body);
}

static void
load(struct store *s, struct dice *d)
{
	struct store *from = open_store(source_path);
	struct store_copy *c = store_copy_open(from);
	struct position p = store_copy_position(c);
	struct store_cursor at = {.len = 0};
	struct change body;
	int r;

	change_init(&body);
	if (store_load_resume(s, &p, &at) == 0 && store_load_begin(s, &p, id) != 0)
		die("load: %s", strerror(errno));
	while ((r = store_copy_next(c, &at, dice_roll(d, 2000), &body)) == 1) {
		if (store_load_items(s, (struct slice){body.data, body.len}, &at) != 0)
			die("items: %s", strerror(errno));
		if (dice_roll(d, 8) == 0 && store_checkpoint(s, true) != 0)
			die("checkpoint: %s", strerror(errno));
		change_clear(&body);
	}
	if (r != 0 || store_load_end(s) != 0)
		die("end of load: %s", strerror(errno));
	change_free(&body);
	store_copy_close(c);
	store_close(from);
}

static enum step_kind
choose(struct dice *d)
{
	uint32_t n = dice_roll(d, 100);

	return n < 70	? STEP_CHANGES
	       : n < 80 ? STEP_FOLLOW
	       : n < 88 ? STEP_CHECKPOINT
	       : n < 91 ? STEP_REOPEN
	       : n < 97 ? STEP_TRUNCATE
			: STEP_LOAD;
}

/* Steps until they are done or somebody kills us. before: what is in the store. */
static void
run_steps(const char *path, const struct history *before, uint64_t seed, int steps)
{
	struct history copy = *before, *h = &copy;
	struct dice d = {seed};
	struct store *s = open_store(path);
	struct model *m = fold(h);
	struct pending none = {0};
	uint64_t told = shared->used, epoch = store_end(s).epoch + 1;

	h->changes = NULL;
	h->n = h->size = 0;
	for (size_t i = 0; i < before->n; i++)
		history_add(h, before->changes[i].epoch, before->changes[i].body);

	if (store_end(s).index == 0 && store_id(s)[0] == 0 && store_init(s, id) != 0)
		die("init: %s", strerror(errno));
	for (; steps != 0; steps--) {
		struct event e = {.kind = EV_STEP, .what = choose(&d), .at = store_end(s)};
		uint64_t oldest = log_start(store_log(s)).index, span;

		if (e.what == STEP_TRUNCATE) {
			span = e.at.index - (oldest > h->base.index ? oldest : h->base.index);
			span = span > 40 ? 40 : span;
			if (log_at(store_log(s), e.at.index - dice_roll(&d, (uint32_t)span + 1),
				&e.at) != 1)
				die("no position to truncate to");
		}
		if (e.what == STEP_LOAD)
			e.at = source.acknowledged;
		tell(e, NULL, 0);
		if (e.what == STEP_CHANGES || e.what == STEP_FOLLOW)
			for (uint32_t n = dice_roll(&d, 8) + 1; n > 0; n--)
				make_change(s, &d, m, epoch, e.what == STEP_FOLLOW);
		else if (e.what == STEP_CHECKPOINT && store_checkpoint(s, true) != 0)
			die("checkpoint: %s", strerror(errno));
		else if (e.what == STEP_REOPEN) {
			store_close(s);
			s = open_store(path);
		} else if (e.what == STEP_LOAD)
			load(s, &d);
		else if (e.what == STEP_TRUNCATE && store_truncate(s, &e.at) != 0 &&
			 errno != ESTALE)
			die("truncate: %s", strerror(errno));
		if (store_flush(s) != 0 || store_checkpoint(s, false) != 0)
			die("flush: %s", strerror(errno));
		tell((struct event){.kind = EV_DONE, .at = store_end(s)}, NULL, 0);
		if (e.what == STEP_TRUNCATE || e.what == STEP_LOAD) {
			apply_events(h, &none, &told, UINT64_MAX);
			model_free(m);
			m = fold(h);
			epoch = store_end(s).epoch + 1;
		}
	}
}

/* ---- checking */

/* Every record that the log still has is the change that was made. */
static void
check_log(struct store *s, const struct history *h)
{
	struct position at;
	struct slice body;

	for (uint64_t i = log_start(store_log(s)).index + 1; i <= store_end(s).index; i++) {
		const struct change_made *c;

		if (i <= h->base.index)
			die("record %llu is of before the load", (unsigned long long)i);
		c = &h->changes[i - h->base.index - 1];
		if (log_read(store_log(s), i, &at, &body) != 1)
			die("record %llu cannot be read", (unsigned long long)i);
		if (at.index != i || at.epoch != c->epoch || body.len != c->body.len ||
		    memcmp(body.data, c->body.data, body.len) != 0)
			die("record %llu is another", (unsigned long long)i);
	}
}

/* Opens the store after a crash; h becomes what is in it. */
static void
check(const char *path, struct history *h, const struct pending *p)
{
	struct store *s = open_store(path);
	struct position end = store_end(s), acknowledged = h->acknowledged;
	uint64_t lowest = acknowledged.index, highest = h->base.index + h->n;
	const char *different;
	struct model *m;

	if (p->kind == STEP_TRUNCATE)
		lowest = p->at.index;
	if (p->kind == STEP_LOAD && same_position(&end, &p->at)) {
		h->n = 0;
		h->loaded = true;
		h->base = p->at;
		lowest = highest = p->at.index;
	}
	if (end.index < lowest || end.index > highest)
		die("the store ends at %llu, acknowledged was %llu, told %llu (step %u)",
		    (unsigned long long)end.index, (unsigned long long)lowest,
		    (unsigned long long)highest, (unsigned int)p->kind);
	if (end.index == acknowledged.index && !same_position(&end, &acknowledged) &&
	    p->kind != STEP_LOAD && acknowledged.index > 0)
		die("another history");
	h->n = (size_t)(end.index - h->base.index);
	h->acknowledged = end;
	check_log(s, h);
	m = fold(h);
	different = model_compare(m, s);
	if (different != NULL)
		die("the state is not the changes up to %llu: %s", (unsigned long long)end.index,
		    different);
	model_free(m);
	store_close(s);
}

/* ---- SIGKILL */

static void
fresh(const char *path)
{
	remove_folder(path);
	if (mkdir(path, 0700) != 0)
		die("%s: %s", path, strerror(errno));
}

/* Until the child has done so many steps, however long this machine takes for them. */
static void
wait_for_steps(uint32_t steps)
{
	uint64_t at = 0;
	const struct event *e;

	for (int tries = 0; steps > 0; tries++) {
		while (steps > 0 && (e = next_event(&at)) != NULL)
			steps -= e->kind == EV_DONE;
		if (steps > 0)
			usleep(200);
		if (tries > 100000)
			die("the child does nothing");
	}
}

static void
run_kill(int rounds, uint64_t seed)
{
	struct history h = {0};
	struct dice d = {seed};
	char path[80];
	uint64_t changes = 0;
	uint32_t seen[STEP_FOLLOW + 1] = {0};

	snprintf(path, sizeof(path), "%s/store", top);
	for (int round = 0; round < rounds; round++) {
		struct pending p = {0};
		uint64_t at = 0;
		int status;
		pid_t pid;

		if (round % ROUNDS_PER_STORE == 0) {
			fresh(path);
			history_clear(&h);
		}
		shared->used = 0;
		pid = fork();
		if (pid == 0) {
			run_steps(path, &h, dice_roll(&d, UINT32_MAX) + 1U, -1);
			_exit(0);
		}
		dice_roll(&d, 2); /* or all rounds would have the same seed */
		wait_for_steps(dice_roll(&d, 20));
		usleep(dice_roll(&d, 3000));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			die("the child ended by itself: status %d", status);
		apply_events(&h, &p, &at, UINT64_MAX);
		seen[p.kind]++;
		check(path, &h, &p);
		changes += h.n;
	}
	printf("%d kills, %llu changes looked at; in the middle of: changes %u, following %u, "
	       "checkpoint %u, "
	       "reopening %u, truncation %u, load %u\n",
	    rounds, (unsigned long long)changes, seen[STEP_CHANGES], seen[STEP_FOLLOW],
	    seen[STEP_CHECKPOINT], seen[STEP_REOPEN], seen[STEP_TRUNCATE], seen[STEP_LOAD]);
}

/* ---- power cuts */

/* A file as it would be: what was synced, and what was written since. */
struct file {
	uint8_t *bytes; /* synced */
	uint64_t size, room;
	uint64_t *since; /* places of the events */
	size_t n_since, size_since;
};

struct disk {
	struct file files[FILES_MAX];
	uint32_t n_files;
	uint64_t *dir; /* events since the folder was synced */
	size_t n_dir, size_dir;
	char names[FILES_MAX][32]; /* in the folder when it was last synced */
};

static void
push(uint64_t **list, size_t *n, size_t *size, uint64_t v)
{
	if (*n == *size) {
		*size = *size * 2 + 64;
		*list = reallocarray(*list, *size, sizeof(**list));
		if (*list == NULL)
			die("no memory");
	}
	(*list)[(*n)++] = v;
}

static void
put_bytes(struct file *f, uint64_t at, const uint8_t *b, uint64_t n)
{
	if (at + n > f->room) {
		f->room = (at + n) * 2;
		f->bytes = realloc(f->bytes, f->room);
		if (f->bytes == NULL)
			die("no memory");
	}
	if (at + n > f->size) {
		memset(f->bytes + f->size, 0, at + n - f->size);
		f->size = at + n;
	}
	if (b != NULL)
		memcpy(f->bytes + at, b, n);
}

static void
apply_write(struct file *f, const struct event *e)
{
	if (e->kind == EV_SIZE) {
		put_bytes(f, e->offset, NULL, 0);
		f->size = e->offset;
	} else {
		put_bytes(f, e->offset, bytes_of(e), e->len);
	}
}

static void
apply_name(char names[][32], const struct event *e)
{
	const char *name = (const char *)bytes_of(e);

	for (uint32_t i = 0; i < FILES_MAX; i++)
		if (strcmp(names[i], name) == 0)
			names[i][0] = '\0';
	if (e->kind != EV_UNLINK)
		snprintf(names[e->file], sizeof(names[0]), "%s", name);
}

static const struct event *
event_at(uint64_t at)
{
	return (const struct event *)(const void *)(shared->bytes + at);
}

/* What one event does to the disk. */
static void
disk_apply(struct disk *k, uint64_t place)
{
	const struct event *e = event_at(place);
	struct file *f = &k->files[e->file];

	switch (e->kind) {
	case EV_WRITE:
	case EV_SIZE:
		if (e->what == 1)
			apply_write(f, e);
		else
			push(&f->since, &f->n_since, &f->size_since, place);
		break;
	case EV_SYNC:
		for (size_t i = 0; i < f->n_since; i++)
			apply_write(f, event_at(f->since[i]));
		f->n_since = 0;
		break;
	case EV_CREATE:
		k->n_files = e->file + 1;
		/* fallthrough */
	case EV_RENAME:
	case EV_UNLINK:
		push(&k->dir, &k->n_dir, &k->size_dir, place);
		break;
	case EV_SYNC_DIR:
		for (size_t i = 0; i < k->n_dir; i++)
			apply_name(k->names, event_at(k->dir[i]));
		k->n_dir = 0;
		break;
	default:
		break;
	}
}

/* The file with some sectors of what was not synced. */
static void
image_file(const struct file *f, struct dice *d, const char *path)
{
	static const uint32_t chances[] = {0, 10, 50, 90, 100};
	uint32_t chance = chances[dice_roll(d, 5)];
	struct file image = {0};
	int fd;

	put_bytes(&image, 0, f->bytes, f->size);
	for (size_t i = 0; i < f->n_since; i++) {
		const struct event *e = event_at(f->since[i]);
		uint64_t at = e->offset, end = e->offset + e->len;

		if (e->kind == EV_SIZE) {
			if (dice_roll(d, 100) < chance)
				apply_write(&image, e);
			continue;
		}
		while (at < end) {
			uint64_t stop =
			    (at / SECTOR + 1) * SECTOR < end ? (at / SECTOR + 1) * SECTOR : end;

			if (dice_roll(d, 100) < chance)
				put_bytes(&image, at, bytes_of(e) + (at - e->offset), stop - at);
			at = stop;
		}
	}
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || syscall(SYS_ftruncate, fd, image.size) != 0)
		die("%s: %s", path, strerror(errno));
	for (uint64_t at = 0; at < image.size; at += 4096) {
		size_t n = image.size - at < 4096 ? (size_t)(image.size - at) : 4096;
		static const uint8_t zeros[4096];

		if (memcmp(image.bytes + at, zeros, n) != 0 &&
		    syscall(SYS_pwrite64, fd, image.bytes + at, n, at) != (long)n)
			die("%s: %s", path, strerror(errno));
	}
	syscall(SYS_close, fd);
	free(image.bytes);
}

static void
make_image(const struct disk *k, struct dice *d, const char *path)
{
	static char names[FILES_MAX][32];
	size_t some = k->n_dir > 0 ? dice_roll(d, (uint32_t)k->n_dir + 1) : 0;
	char file[128];

	fresh(path);
	memcpy(names, k->names, sizeof(names));
	for (size_t i = 0; i < some; i++)
		apply_name(names, event_at(k->dir[i]));
	for (uint32_t i = 0; i < k->n_files; i++) {
		if (names[i][0] == '\0')
			continue;
		snprintf(file, sizeof(file), "%.80s/%.31s", path, names[i]);
		image_file(&k->files[i], d, file);
	}
}

/* The image can be worked with: some steps more, and all of it is there when it is opened again. */
static void
go_on(const char *path, struct history *h, uint64_t seed)
{
	struct pending p = {0};
	uint64_t at = shared->used;
	int status;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		run_steps(path, h, seed, 3);
		_exit(0); /* without closing the store */
	}
	waitpid(pid, &status, 0);
	if (status != 0)
		die("the image does not work: status %d", status);
	apply_events(h, &p, &at, UINT64_MAX);
	check(path, h, &p);
}

/*
 * Places of events, any with the same chance; for every third only those of truncations, of which
 * there are few.
 */
static void
choose_moments(uint64_t *moments, int n, struct dice *d)
{
	uint32_t seen[2] = {0}, step = 0;
	uint64_t used = shared->used;
	const struct event *e;

	for (uint64_t place = 0, here = 0; place < used; here = place) {
		e = next_event(&place);
		step = e->kind == EV_STEP ? e->what : step;
		for (int i = 0; i < n; i++) {
			bool rare = i % 3 == 2;

			if (rare && step != STEP_TRUNCATE)
				continue;
			if (dice_roll(d, ++seen[rare] / (uint32_t)n + 1) == 0)
				moments[i] = here;
		}
	}
}

/* All images of one trace, in a process of their own. */
static void
cut(uint64_t seed, int images)
{
	static struct disk k;
	static uint64_t moments[IMAGES_PER_TRACE];
	struct history h = {0};
	struct pending p = {0};
	struct dice d = {seed};
	uint64_t at = 0, used = shared->used;
	char path[80];

	snprintf(path, sizeof(path), "%s/image", shm);
	choose_moments(moments, images, &d);
	for (uint64_t place = 0; place < used;) {
		uint64_t here = place;

		next_event(&place);
		disk_apply(&k, here);
		for (int i = 0; i < images; i++) {
			pid_t pid;
			int status;

			if (moments[i] != here)
				continue;
			apply_events(&h, &p, &at, place);
			make_image(&k, &d, path);
			dice_roll(&d, 2);
			if ((pid = fork()) == 0) {
				check(path, &h, &p);
				go_on(path, &h, d.state);
				_exit(0);
			}
			waitpid(pid, &status, 0);
			shared->used = used;
			if (status != 0)
				die("image %d of seed %llu, event at %llu: status %d", i,
				    (unsigned long long)seed, (unsigned long long)here, status);
		}
	}
}

static void
run_power(int images, uint64_t seed)
{
	struct dice d = {seed};
	char path[80];
	int done = 0, traces = 0;

	snprintf(path, sizeof(path), "%s/store", shm);
	while (done < images) {
		int n = images - done < IMAGES_PER_TRACE ? images - done : IMAGES_PER_TRACE, status;
		uint64_t one = dice_roll(&d, UINT32_MAX) + 1U;
		pid_t pid;

		fresh(path);
		shared->used = 0;
		pid = fork();
		if (pid == 0) {
			struct history h = {0};

			recording = true;
			run_steps(path, &h, one, STEPS);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		if (status != 0)
			die("recording with seed %llu: status %d", (unsigned long long)one, status);
		pid = fork();
		if (pid == 0) {
			cut(one, n);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		if (status != 0)
			exit(1);
		done += n;
		traces++;
	}
	printf("%d images of power cuts from %d runs of %d steps\n", images, traces, STEPS);
}

/* ---- all */

/* A store to load from. */
static void
make_source(void)
{
	struct store *s;
	struct dice d = {12345};
	struct model *m = model_new();
	struct position end;
	uint64_t at = 0;
	struct pending p = {0};

	snprintf(source_path, sizeof(source_path), "%s/source", top);
	fresh(source_path);
	s = open_store(source_path);
	if (store_init(s, id) != 0)
		die("init: %s", strerror(errno));
	shared->used = 0;
	for (int i = 0; i < 300; i++)
		make_change(s, &d, m, 2, false);
	end = store_end(s);
	model_free(m);
	store_close(s);
	apply_events(&source, &p, &at, UINT64_MAX);
	source.acknowledged = end;
}

static void
quiet(enum log_level level, const char *line)
{
	if (level == LOG_L_ERROR)
		fprintf(stderr, "%s\n", line);
}

int
main(int argc, char **argv)
{
	bool is_long = getenv("BULKHEAD_TEST_LONG") != NULL;
	int kills = is_long ? 600 : 60, images = is_long ? 3000 : 150;
	uint64_t seed = 88172645463325252U;

	if (argc > 2 && strcmp(argv[1], "kill") == 0) {
		kills = atoi(argv[2]);
		images = 0;
	} else if (argc > 2) {
		images = atoi(argv[2]);
		kills = 0;
	}
	if (argc > 3)
		seed = strtoull(argv[3], NULL, 10);
	log_to(quiet);
	shared = mmap(NULL, SHARED, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	snprintf(top, sizeof(top), "%s/bh-crash-store-XXXXXX",
	    getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
	snprintf(shm, sizeof(shm), "%s/bh-crash-store-XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (shared == MAP_FAILED || mkdtemp(top) == NULL || mkdtemp(shm) == NULL ||
	    sodium_init() < 0)
		die("cannot begin: %s", strerror(errno));
	make_source();
	if (kills > 0)
		run_kill(kills, seed);
	if (images > 0)
		run_power(images, seed);
	remove_folder(top);
	remove_folder(shm);
	fflush(stdout);
	_exit(0); /* without looking for what nobody freed */
}
