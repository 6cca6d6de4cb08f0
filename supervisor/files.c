/* SPDX-License-Identifier: ISC */
/*
 * What the supervisor opens for others: directories, pid file, the files of roled, the key files of
 * keyd (opened, never read), the folder of syncd, the sockets of bulkheadctl and of local programs.
 */
#include "config.h"

#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	STATE_SIZE = 1024, /* two slots of 512 bytes */
	ADMIN_BACKLOG = 16,
	DATA_BACKLOG = 128,
	PID_TRIES = 10,
	PATH_SIZE = CONF_COMMAND + 32,
};

static const mode_t data_modes[SOCKET_MODE_MAX] = {
    [SOCKET_ROOT] = 0600, [SOCKET_GROUP] = 0660, [SOCKET_WORLD] = 0666};
static char pid_path[PATH_SIZE], admin_path[PATH_SIZE], data_path[PATH_SIZE];
static int pid_fd = -1; /* locked, until we end */

/* Make the last element of a path when it is missing; only root may write there. 0 or -1. */
static int
make_directory(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) != 0 && errno != EEXIST) {
		log_error("%s: cannot make the directory: %s", path, strerror(errno));
		return -1;
	}
	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
		log_error("%s: not a directory", path);
		return -1;
	}
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		log_error(
		    "%s: must belong to root and be writable by nobody else (is uid %u, mode %04o)",
		    path, (unsigned)st.st_uid, (unsigned)(st.st_mode & 07777));
		return -1;
	}
	return 0;
}

/* The empty root of the children. */
static int
open_empty(const char *run_dir)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/empty", run_dir);
	if (make_directory(path, 0555) != 0)
		return -1;
	sup.empty_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sup.empty_fd < 0 || fchmod(sup.empty_fd, 0555) != 0) {
		log_error("%s: %s", path, strerror(errno));
		return -1;
	}
	return 0;
}

int
files_temporary_root(void)
{
	static const char *const where[] = {"/run/bulkhead-XXXXXX", "/tmp/bulkhead-XXXXXX"};

	for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
		char path[32];
		int fd;

		snprintf(path, sizeof(path), "%s", where[i]);
		if (mkdtemp(path) == NULL)
			continue;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			fchmod(fd, 0555);
		rmdir(path); /* nothing can ever be made in a directory that is gone */
		if (fd >= 0)
			return fd;
	}
	return -1;
}

/* Is that file still the one of this name? */
static int
is_at(const char *path, int fd)
{
	struct stat here, there;

	return fstat(fd, &here) == 0 && lstat(path, &there) == 0 && here.st_dev == there.st_dev &&
	       here.st_ino == there.st_ino;
}

/*
 * The locked pid file, or -1 (logged). One that ends may take the file away between our open and
 * our lock: a lock on what has no name any more keeps nobody out.
 */
static int
lock_pid_file(void)
{
	for (int i = 0; i < PID_TRIES; i++) {
		/*
		 * root's to read: who can read it can lock it, and keep the next guard from
		 * starting
		 */
		int fd = open(pid_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0 || fchmod(fd, 0600) != 0) {
			log_error("%s: %s", pid_path, strerror(errno));
			if (fd >= 0)
				close(fd);
			return -1;
		}
		if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
			log_error(
			    "%s: another bulkhead is running with this run directory", pid_path);
			close(fd);
			return -1;
		}
		if (is_at(pid_path, fd))
			return fd;
		close(fd);
	}
	log_error("%s: somebody takes it away again and again", pid_path);
	return -1;
}

/* One guard per run directory. */
static int
open_pid_file(const char *run_dir)
{
	char text[16];
	int fd, n;

	snprintf(pid_path, sizeof(pid_path), "%s/bulkhead.pid", run_dir);
	fd = lock_pid_file();
	if (fd < 0)
		return -1;
	pid_fd = fd; /* the name is ours to remove from here on */
	n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) {
		log_error("%s: cannot write: %s", pid_path, strerror(errno));
		return -1;
	}
	return 0; /* stays open: the lock lives with it */
}

/* The root of syncd: its own folder, which group root may enter, so that its chroot(2) works. */
static int
open_store(const char *state_dir)
{
	char path[PATH_SIZE];
	struct stat st;
	uid_t uid = sup.uid[PROC_SYNCD];

	snprintf(path, sizeof(path), "%s/data", state_dir);
	if (mkdir(path, 0710) == 0) {
		if (lchown(path, uid, 0) != 0 || chmod(path, 0710) != 0) {
			log_error("%s: cannot give it to syncd: %s", path, strerror(errno));
			return -1;
		}
	} else if (errno != EEXIST) {
		log_error("%s: cannot make the directory: %s", path, strerror(errno));
		return -1;
	}
	sup.store_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sup.store_fd < 0 || fstat(sup.store_fd, &st) != 0) {
		log_error("%s: %s", path, strerror(errno));
		return -1;
	}
	if (st.st_uid != uid || st.st_gid != 0 || (st.st_mode & 07777) != 0710) {
		log_error("%s: must belong to the user of syncd, uid %u, and group root, with mode "
			  "0710 (is uid %u, gid %u, mode %04o)",
		    path, (unsigned)uid, (unsigned)st.st_uid, (unsigned)st.st_gid,
		    (unsigned)(st.st_mode & 07777));
		return -1;
	}
	return 0;
}

/* A file of roled, with all its blocks, so that a full disk cannot stop a decision. */
static int
open_preallocated(const char *dir, const char *name, off_t size)
{
	char path[PATH_SIZE];
	struct stat st;
	int fd, error;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0 || fstat(fd, &st) != 0) {
		log_error("%s: %s", path, strerror(errno));
		return -1;
	}
	if (!S_ISREG(st.st_mode) || st.st_uid != 0 || st.st_nlink != 1 || (st.st_mode & 077) != 0) {
		log_error("%s: must be a regular file of root with mode 0600 and one name", path);
		close(fd);
		return -1;
	}
	error = posix_fallocate(fd, 0, size);
	if (error != 0) {
		log_error(
		    "%s: cannot reserve %lld bytes: %s", path, (long long)size, strerror(error));
		close(fd);
		return -1;
	}
	return fd;
}

/* A private key: opened for keyd, never read here. */
static int
open_key(const char *dir, const char *name)
{
	char path[PATH_SIZE];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) {
		log_error("%s: this server has no identity yet; run: bulkheadctl keygen (-f FILE "
			  "for another config)",
		    path);
		return -1;
	}
	if (fd < 0 || fstat(fd, &st) != 0) {
		log_error("%s: %s", path, strerror(errno));
		return -1;
	}
	if (!S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 077) != 0) {
		log_error("%s: must be a regular file of root with mode 0400", path);
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * A listening Unix socket of root and a group. Made under another name first, so that nobody sees
 * it half done. path gets its name.
 */
static int
open_socket(const char *run_dir, const char *name, int type, int backlog, gid_t gid, mode_t mode,
    char path[PATH_SIZE])
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd, n;

	snprintf(path, PATH_SIZE, "%s/%s", run_dir, name);
	n = snprintf(un.sun_path, sizeof(un.sun_path), "%s.new", path);
	if (n < 0 || (size_t)n >= sizeof(un.sun_path)) {
		log_error("run: %s is too long for a socket path (%zu characters at most)", run_dir,
		    sizeof(un.sun_path) - sizeof("/admin.sock.new"));
		return -1;
	}
	unlink(un.sun_path);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* the directory is root's alone to write: nobody can put another file there in between */
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) != 0 ||
	    lchown(un.sun_path, 0, gid) != 0 || chmod(un.sun_path, mode) != 0 ||
	    listen(fd, backlog) != 0 || rename(un.sun_path, path) != 0) {
		log_error("%s: cannot listen: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* bulkheadctl's. */
static int
open_admin(const struct conf_general *g)
{
	return open_socket(g->run_dir, "admin.sock", SOCK_SEQPACKET, ADMIN_BACKLOG, g->admin_gid,
	    0660, admin_path);
}

/* That of local programs, which speak the Redis protocol. */
static int
open_data(const struct conf_general *g)
{
	return open_socket(g->run_dir, "data.sock", SOCK_STREAM, DATA_BACKLOG, g->data_gid,
	    data_modes[g->data_mode], data_path);
}

void
files_update_data_socket(const struct conf_general *old, const struct conf_general *new)
{
	if (old->data_gid == new->data_gid && old->data_mode == new->data_mode)
		return;
	/*
	 * root's alone in between: nobody gets in by a mode of the one group and the other's number
	 */
	if (chmod(data_path, 0600) != 0 || lchown(data_path, 0, new->data_gid) != 0 ||
	    chmod(data_path, data_modes[new->data_mode]) != 0)
		log_error(
		    "%s: who may connect could not be changed: %s", data_path, strerror(errno));
	else
		log_info("%s: group %u, mode %04o", data_path, new->data_gid,
		    (unsigned)data_modes[new->data_mode]);
}

void
files_renew_socket(enum process process, const struct conf *c)
{
	int *old = process == PROC_ROLED ? &sup.admin_fd : &sup.data_fd;
	int fd = process == PROC_ROLED ? open_admin(&c->general) : open_data(&c->general);

	if (fd < 0)
		return; /* the old one is better than none */
	close(*old);
	*old = fd;
}

int
files_open(const struct conf *c)
{
	const struct conf_general *g = &c->general;

	if (make_directory(g->run_dir, 0755) != 0 || open_pid_file(g->run_dir) != 0)
		return -1;
	if (make_directory(g->state_dir, 0700) != 0 || open_empty(g->run_dir) != 0)
		return -1;
	sup.key_status_fd = open_key(g->state_dir, "status.key");
	if (sup.key_status_fd < 0)
		return -1;
	sup.key_data_fd = open_key(g->state_dir, "data.key");
	if (sup.key_data_fd < 0)
		return -1;
	sup.state_fd = open_preallocated(g->state_dir, "role.state", STATE_SIZE);
	if (sup.state_fd < 0)
		return -1;
	sup.ledger_fd = open_preallocated(g->state_dir, "ledger", LEDGER_BYTES);
	if (sup.ledger_fd < 0)
		return -1;
	if (open_store(g->state_dir) != 0)
		return -1;
	sup.admin_fd = open_admin(g);
	if (sup.admin_fd < 0)
		return -1;
	sup.data_fd = open_data(g);
	return sup.data_fd < 0 ? -1 : 0;
}

void
files_remove(void)
{
	if (admin_path[0] != '\0')
		unlink(admin_path);
	if (data_path[0] != '\0')
		unlink(data_path);
	/* while it is locked; another one may have made its own in place of ours */
	if (pid_fd >= 0 && is_at(pid_path, pid_fd))
		unlink(pid_path);
}
