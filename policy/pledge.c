/* SPDX-License-Identifier: ISC */
/*
 * The sandbox on OpenBSD, behind the same interface: empty root and own user as on Linux, then
 * unveil() of nothing and pledge() with the words that the promises of the row come to. Chosen by
 * configure where pledge(2) exists; not compiled elsewhere.
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <unistd.h>

#include "../lib/log.h"
#include "policy.h"

/* Promise of promises.def -> words of pledge(2). Those not here need no word beyond stdio. */
static const struct {
	const char *promise, *words;
} words[] = {
    {"accept", "inet"},
    {"admin", "unix"},
    {"chan", "recvfd"},
    {"dgram", "inet"},
    {"local", "unix"},
    {"sendfd", "sendfd"},
    {"stdio", "stdio"},
    {"store", "rpath wpath cpath flock"},
    {"stream", "inet"},
};

void
privdrop_root(const struct sandbox_args *args)
{
	if (chroot(".") != 0 || chdir("/") != 0)
		sandbox_fail_errno("cannot change the root");
}

void
privdrop_ids(const struct sandbox_args *args)
{
	if (args->uid == 0 || args->gid == 0)
		sandbox_fail("a child does not run as root");
	if (setgroups(0, NULL) != 0 || setresgid(args->gid, args->gid, args->gid) != 0 ||
	    setresuid(args->uid, args->uid, args->uid) != 0)
		sandbox_fail_errno("cannot change user and group");
}

void
privdrop_prove(void)
{
	if (setuid(0) == 0 || setgid(0) == 0)
		sandbox_fail("root can be had back");
	if (chroot(".") == 0)
		sandbox_fail("the root can be changed again");
}

/* There is no parent-death signal: the end of the control channel is the only tie. */
void
privdrop_tie(const struct sandbox_args *args)
{
	if (getppid() != args->supervisor)
		_exit(EXIT_CHANNEL);
}

int
files_enter(enum process process)
{
	if (unveil("/", process == PROC_SYNCD ? "rwc" : "") != 0 || unveil(NULL, NULL) != 0)
		return -1;
	return LAYER_LANDLOCK_FS;
}

int
calls_enter(enum process role)
{
	const struct role_row *row = role_row(role);
	char list[128] = "";

	if (row == NULL) {
		errno = EINVAL;
		return -1;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!policy_has_word(row->promises, words[i].promise) ||
		    policy_has_word(list, words[i].words))
			continue;
		if (list[0] != '\0')
			strlcat(list, " ", sizeof(list));
		strlcat(list, words[i].words, sizeof(list));
	}
	return pledge(list, "");
}

int
sandbox_reports(void)
{
	return 0;
}

int
sandbox_limit_child(void)
{
	return 0; /* no capabilities here */
}

int
sandbox_limit_supervisor(void)
{
	return 0;
}

int
sandbox_stage0_prepare(void)
{
	return 0;
}

int
sandbox_stage0_apply(void)
{
	return 0;
}

int
sandbox_enter_supervisor(int degraded)
{
	(void)degraded;
	return pledge(
	    "stdio rpath wpath cpath fattr chown inet unix proc exec id sendfd recvfd", NULL);
}

int
sandbox_killrecord_open(void)
{
	return -1;
}

const char *
sandbox_killrecord(pid_t pid, char *buf, size_t size)
{
	(void)pid;
	(void)buf;
	(void)size;
	return NULL;
}
