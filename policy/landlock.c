/* SPDX-License-Identifier: ISC */
/*
 * Landlock: every right that the running kernel knows is handled, and no rule gives one back, but
 * to syncd those over plain files in its own folder, which is its root. The numbers are our own:
 * Debian 12's headers stop at ABI 2. What it does not cover (UDP, raw sockets, pathname Unix
 * sockets, unbound listen) is covered by seccomp, the network namespace and the root.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "policy.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

/* struct landlock_ruleset_attr, as long as ABI 6 knows it. */
struct ruleset {
	uint64_t fs, net, scoped;
};
enum { CREATE_RULESET_VERSION = 1, ABI_MAX = 7, RULE_PATH_BENEATH = 1 };

/* struct landlock_path_beneath_attr */
struct path_rule {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

/*
 * Rights over plain files: write, read, list, remove, make, truncate. No folders, links, devices.
 */
enum {
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_FILE = 1 << 5,
	FS_MAKE_REG = 1 << 8,
	FS_TRUNCATE = 1 << 14,
	FS_STORE =
	    FS_WRITE_FILE | FS_READ_FILE | FS_READ_DIR | FS_REMOVE_FILE | FS_MAKE_REG | FS_TRUNCATE,
};

/* Bits of fs by ABI: 13 rights in 1, then refer (2), truncate (3), device ioctl (5). */
static uint64_t
fs_rights(long abi)
{
	unsigned bits = 13;

	if (abi >= 2)
		bits = 14;
	if (abi >= 3)
		bits = 15;
	if (abi >= 5)
		bits = 16;
	return (UINT64_C(1) << bits) - 1;
}

/*
 * The working directory, which is the root by now, and what is beneath, for plain files only: so it
 * is no more than that folder even if the change of the root had come to nothing. Returns 0 or -1
 * with errno.
 */
static int
allow_store(int ruleset, uint64_t handled)
{
	struct path_rule rule = {.allowed = FS_STORE & handled};
	int fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), r, saved;

	if (fd < 0)
		return -1;
	rule.parent = fd;
	r = (int)syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0);
	saved = errno;
	close(fd);
	errno = saved;
	return r;
}

int
files_enter(enum process process)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
	struct ruleset r = {0};
	size_t size = sizeof(r.fs);
	int layers = LAYER_LANDLOCK_FS, saved;
	long fd;

	if (abi < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -1;
	if (abi > ABI_MAX)
		abi = ABI_MAX;
	r.fs = fs_rights(abi);
	if (abi >= 4) {
		r.net = 3; /* bind and connect by TCP */
		size += sizeof(r.net);
		layers |= LAYER_LANDLOCK_NET;
	}
	if (abi >= 6) {
		r.scoped = 3; /* abstract Unix sockets, signals */
		size += sizeof(r.scoped);
		layers |= LAYER_LANDLOCK_SCOPE;
	}
	fd = syscall(SYS_landlock_create_ruleset, &r, size, 0);
	if (fd < 0)
		return -1;
	if ((process == PROC_SYNCD && allow_store((int)fd, r.fs) != 0) ||
	    syscall(SYS_landlock_restrict_self, (int)fd, 0) != 0) {
		saved = errno;
		close((int)fd);
		errno = saved;
		return -1;
	}
	close((int)fd);
	return layers;
}
