/* SPDX-License-Identifier: ISC */
/*
 * Landlock: every right that the running kernel knows is handled, and no rule gives one back. The
 * numbers are our own: Debian 12's headers stop at ABI 2. What it does not cover (UDP, raw sockets,
 * pathname Unix sockets, unbound listen) is covered by seccomp, the network namespace and the root.
 */
#include "config.h"

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "policy.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

/* struct landlock_ruleset_attr, as long as ABI 6 knows it. */
struct ruleset {
	uint64_t fs, net, scoped;
};
enum { CREATE_RULESET_VERSION = 1, ABI_MAX = 7 };

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

int
files_enter(void)
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
	if (syscall(SYS_landlock_restrict_self, (int)fd, 0) != 0) {
		saved = errno;
		close((int)fd);
		errno = saved;
		return -1;
	}
	close((int)fd);
	return layers;
}
