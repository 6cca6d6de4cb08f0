/* SPDX-License-Identifier: ISC */
/*
 * Steps 10 to 15 of entering the sandbox, in the child, before it reads anything: empty root, own
 * user, no capabilities, proof that there is no way back, and the tie to the life of the
 * supervisor. And the two capability reductions on the supervisor's side.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/securebits.h>

#include "../lib/log.h"
#include "policy.h"

/* Linux 6.3; the headers of Debian 12 do not have it. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1UL
#endif

#define CAP(name) (UINT64_C(1) << CAP_##name)
enum { CAP_NUMBER_MAX = 63 };

/* Set the three capability sets of the process. Returns 0 or -1. */
static int
set_capabilities(uint64_t permitted)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	data[0].permitted = data[0].effective = (uint32_t)permitted;
	data[1].permitted = data[1].effective = (uint32_t)(permitted >> 32);
	return (int)syscall(SYS_capset, &head, data);
}

static int
get_capabilities(uint64_t *permitted, uint64_t *inheritable)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	if (syscall(SYS_capget, &head, data) != 0)
		return -1;
	*permitted = (uint64_t)data[1].permitted << 32 | data[0].permitted;
	*inheritable = (uint64_t)data[1].inheritable << 32 | data[0].inheritable;
	return 0;
}

/* Drop everything but keep from the bounding set, and the ambient set. Async-signal-safe. */
static int
limit_bounding_set(uint64_t keep)
{
	for (unsigned cap = 0; cap <= CAP_NUMBER_MAX; cap++) {
		int held = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (held < 0)
			break; /* the kernel knows no more */
		if (held > 0 && !(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
			return -1;
	}
	return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

int
sandbox_limit_child(void)
{
	return limit_bounding_set(CAP(SETUID) | CAP(SETGID) | CAP(SYS_CHROOT) | CAP(SETPCAP));
}

int
sandbox_limit_supervisor(void)
{
	/*
	 * SETUID SETGID SETPCAP SYS_CHROOT: handed to each child, which gives them up. SYS_ADMIN:
	 * unshare. KILL: stop a child, and the kernel's parent-death signal needs it too. NET_RAW
	 * and NET_BIND_SERVICE: sockets. SYS_NICE: real-time children. CHOWN: admin socket.
	 */
	uint64_t keep = CAP(SETUID) | CAP(SETGID) | CAP(SETPCAP) | CAP(SYS_CHROOT) |
			CAP(SYS_ADMIN) | CAP(KILL) | CAP(NET_RAW) | CAP(NET_BIND_SERVICE) |
			CAP(SYS_NICE) | CAP(CHOWN);
	uint64_t permitted, inheritable;

	if (get_capabilities(&permitted, &inheritable) != 0 || limit_bounding_set(keep) != 0)
		return -1;
	return set_capabilities(permitted & keep);
}

/* Nothing but . and .. in the folder, owned by root, writable by nobody else. */
static void
check_empty_folder(int fd)
{
	struct stat st;
	struct dirent *entry;
	DIR *dir;

	if (fstat(fd, &st) != 0)
		sandbox_fail_errno("cannot look at the working directory");
	if (!S_ISDIR(st.st_mode) || st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)))
		sandbox_fail("the working directory must be root's and writable by root only");
	dir = fdopendir(fd);
	if (dir == NULL)
		sandbox_fail_errno("cannot read the working directory");
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			sandbox_fail("the working directory, which becomes the root, is not empty");
	}
	closedir(dir);
}

/* The folder of a process that has files: its own, and nobody else may look into it. */
static void
check_own_folder(uid_t uid)
{
	struct stat st;

	if (stat(".", &st) != 0)
		sandbox_fail_errno("cannot look at the working directory");
	if (!S_ISDIR(st.st_mode) || st.st_uid != uid || st.st_gid != 0 ||
	    (st.st_mode & 07777) != 0710)
		sandbox_fail(
		    "the working directory must be this user's alone, and root's to enter");
}

static void
check_empty_root(void)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		sandbox_fail_errno("cannot open the working directory");
	check_empty_folder(fd);
}

/* Step 10: the working directory given by the supervisor becomes the root. */
void
privdrop_root(const struct sandbox_args *args)
{
	if (args->process == PROC_SYNCD)
		check_own_folder(args->uid);
	else
		check_empty_root();
	if (chroot(".") != 0 || chdir("/") != 0)
		sandbox_fail_errno("cannot change the root");
}

/* Steps 11 to 13: bounding set, ids, all capability sets. */
void
privdrop_ids(const struct sandbox_args *args)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;

	if (args->uid == 0 || args->gid == 0)
		sandbox_fail("a child does not run as root");
	if (limit_bounding_set(0) != 0)
		sandbox_fail_errno("cannot empty the capability bounding set");
	if (prctl(PR_SET_SECUREBITS,
		SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_NOROOT |
		    SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
		    SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
		0, 0, 0) != 0)
		sandbox_fail_errno("cannot lock the securebits");
	if (setgroups(0, NULL) != 0 || setresgid(args->gid, args->gid, args->gid) != 0 ||
	    setresuid(args->uid, args->uid, args->uid) != 0)
		sandbox_fail_errno("cannot change user and group");
	if (set_capabilities(0) != 0)
		sandbox_fail_errno("cannot give up the capabilities");
	if (getresuid(&r, &e, &s) != 0 || r != args->uid || e != args->uid || s != args->uid ||
	    getresgid(&rg, &eg, &sg) != 0 || rg != args->gid || eg != args->gid ||
	    sg != args->gid || getgroups(0, NULL) != 0)
		sandbox_fail("user and group are not what was set");
}

/* Step 14: every way back must be closed. */
void
privdrop_prove(void)
{
	uint64_t permitted, inheritable;

	if (get_capabilities(&permitted, &inheritable) != 0 || permitted != 0 || inheritable != 0)
		sandbox_fail("capabilities are left");
	for (unsigned cap = 0; cap <= CAP_NUMBER_MAX; cap++) {
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) > 0)
			sandbox_fail("the capability bounding set is not empty");
	}
	if (setuid(0) == 0 || setgid(0) == 0)
		sandbox_fail("root can be had back");
	if (chroot(".") == 0)
		sandbox_fail("the root can be changed again");
	if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 ||
	    open("/proc", O_PATH | O_CLOEXEC) >= 0)
		sandbox_fail("the root has what is not ours");
}

/*
 * Step 15: die with the supervisor, and be no target of ptrace. The change of ids clears the first
 * and rewrites the second, so both are set last and read back.
 */
void
privdrop_tie(const struct sandbox_args *args)
{
	/* netd and roled live on for some milliseconds to tell the partners */
	int want = args->process == PROC_NETD || args->process == PROC_ROLED ? SIGUSR1 : SIGKILL;
	int got = 0;

	if (prctl(PR_SET_PDEATHSIG, want, 0, 0, 0) != 0)
		sandbox_fail_errno("cannot set the parent-death signal");
	if (getppid() != args->supervisor)
		_exit(EXIT_CHANNEL); /* it died before the signal was set */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		sandbox_fail_errno("cannot set no_new_privs");
	/* a kernel before 6.3 does not have it; the filter refuses executable memory anyway */
	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0 && errno != EINVAL)
		sandbox_fail_errno("cannot refuse executable memory");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		sandbox_fail_errno("cannot make the process undumpable");
	if (prctl(PR_GET_PDEATHSIG, &got, 0, 0, 0) != 0 || got != want)
		sandbox_fail("the parent-death signal did not stay");
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		sandbox_fail("the process is still dumpable");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		sandbox_fail("no_new_privs did not stay");
}
