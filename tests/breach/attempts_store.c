/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: what a process that was taken over would try with a folder of its own, as syncd has
 * one: ways out of it, other things in it than plain files, and code out of a file that it wrote.
 * The working directory is that folder. Processes that have none fail when they make the file.
 */
#include "config.h"

#include "attempts.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { PAGE = 4096, MODE_RUN = 0700, HANDLE_BYTES = 128 };
#define HIGH_BIT (1UL << 32)

/* mov $60, %eax; xor %edi, %edi; syscall */
const uint8_t drill_program[132] = {0x7f, 'E', 'L', 'F', 2, 1, 1, [16] = 2, [18] = 62, [20] = 1,
    [24] = 0x78, [26] = 0x40, [32] = 64, [52] = 64, [54] = 56, [56] = 1, [64] = 1, [68] = 5,
    [82] = 0x40, [90] = 0x40, [96] = 132, [104] = 132, [113] = 0x10, [120] = 0xb8, 60, 0, 0, 0,
    0x31, 0xff, 0x0f, 0x05};

static char name[32]; /* of this attempt alone: others are made at the same time */
static char *const no_strings[] = {NULL};

/* stage.c removes what has that name. */
static void
choose_name(void)
{
	snprintf(name, sizeof(name), "drill-%d", (int)getpid());
}

/* A plain file of its own, empty. Returns a descriptor or -1 with errno. */
static long
make_own_file(void)
{
	choose_name();
	return syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, MODE_RUN);
}

/* ---- ways out */

long
try_open_path_high(void)
{
	return syscall(SYS_openat, AT_FDCWD, ".", HIGH_BIT | O_PATH);
}

long
try_open_above(void)
{
	char path[160];

	snprintf(path, sizeof(path), "../../../../../../../..%s", drill_target.outside);
	return syscall(SYS_openat, AT_FDCWD, path, O_RDWR);
}

/* A link in the folder, as if somebody had put it there. */
long
try_follow_link(void)
{
	return syscall(SYS_openat, AT_FDCWD, "way-out", O_RDWR);
}

long
try_open_by_handle(void)
{
	union {
		struct file_handle head;
		char room[sizeof(struct file_handle) + HANDLE_BYTES];
	} handle = {.head.handle_bytes = HANDLE_BYTES};
	int mount;

	if (syscall(SYS_name_to_handle_at, AT_FDCWD, drill_target.outside, &handle, &mount, 0) != 0)
		return -1;
	return syscall(SYS_open_by_handle_at, AT_FDCWD, &handle, O_RDWR);
}

long
try_rename_out(void)
{
	char path[128];

	if (make_own_file() < 0)
		return -1;
	snprintf(path, sizeof(path), "%s-%s", drill_target.outside, name);
	return syscall(SYS_renameat, AT_FDCWD, name, AT_FDCWD, path);
}

long
try_link_outside(void)
{
	choose_name();
	return syscall(SYS_linkat, AT_FDCWD, drill_target.outside, AT_FDCWD, name, 0);
}

/* ---- other things than plain files */

long
try_make_folder(void)
{
	choose_name();
	return syscall(SYS_mkdirat, AT_FDCWD, name, MODE_RUN);
}

long
try_make_link(void)
{
	choose_name();
	return syscall(SYS_symlinkat, drill_target.outside, AT_FDCWD, name);
}

/* That of /dev/null. */
long
try_make_device(void)
{
	choose_name();
	return syscall(SYS_mknodat, AT_FDCWD, name, S_IFCHR | MODE_RUN, makedev(1, 3));
}

long
try_make_fifo(void)
{
	choose_name();
	return syscall(SYS_mknodat, AT_FDCWD, name, S_IFIFO | MODE_RUN, 0);
}

long
try_make_unnamed(void)
{
	return syscall(SYS_openat, AT_FDCWD, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, MODE_RUN);
}

/* ---- whose a file is, and who may what with it */

long
try_change_mode(void)
{
	return make_own_file() < 0 ? -1 : syscall(SYS_fchmodat, AT_FDCWD, name, 04755);
}

long
try_change_owner(void)
{
	return make_own_file() < 0 ? -1 : syscall(SYS_fchownat, AT_FDCWD, name, 1, 1, 0);
}

long
try_set_attribute(void)
{
	long fd = make_own_file();

	return fd < 0 ? -1 : syscall(SYS_fsetxattr, fd, "user.drill", "x", 1, 0);
}

/* ---- code out of its own file */

long
try_run_own_file(void)
{
	long fd = make_own_file();

	if (fd < 0 ||
	    write((int)fd, drill_program, sizeof(drill_program)) !=
		(ssize_t)sizeof(drill_program) ||
	    close((int)fd) != 0)
		return -1;
	return syscall(SYS_execveat, AT_FDCWD, name, no_strings, no_strings, 0);
}

long
try_map_own_code(void)
{
	long fd = make_own_file();

	if (fd < 0)
		return -1;
	return mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, (int)fd, 0) == MAP_FAILED ? -1
											     : 0;
}

long
try_protect_own_map(void)
{
	long fd = make_own_file();
	void *p;

	if (fd < 0)
		return -1;
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
	return p == MAP_FAILED ? -1 : mprotect(p, PAGE, PROT_READ | PROT_EXEC);
}
