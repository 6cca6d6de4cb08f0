/* SPDX-License-Identifier: ISC */
/*
 * Which call a process was killed for. The filter kills without a word of ours; the kernel writes
 * an audit record, and where no audit daemon takes it away it is in the kernel log. For the log
 * only: nothing depends on finding it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy.h"

enum { RECORD_SIZE = 2048, RECORDS_AT_ONCE = 4096, KILLS_KEPT = 16 };

static int records_fd = -1;
/* The last kills that were read: several children may end at once. */
static struct kill {
	pid_t pid;
	unsigned long nr;
	uint32_t arch;
} kills[KILLS_KEPT];
static size_t n_kills;

int
sandbox_killrecord_open(void)
{
	records_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (records_fd >= 0 && lseek(records_fd, 0, SEEK_END) < 0) {
		close(records_fd);
		records_fd = -1;
	}
	return records_fd >= 0 ? 0 : -1;
}

/* A number after " key=" of an audit record. Returns 0 or -1. */
static int
field(const char *record, const char *key, int base, unsigned long *out)
{
	const char *at = strstr(record, key);
	char *end;

	if (at == NULL)
		return -1;
	at += strlen(key);
	errno = 0;
	*out = strtoul(at, &end, base);
	return end != at && errno == 0 ? 0 : -1;
}

/* Keep what one record says, when it is one of a kill. */
static void
note(const char *record)
{
	unsigned long pid, nr, arch, sig;
	struct kill *k;

	/* AUDIT_SECCOMP; pid stands before anything that a process can choose */
	if (strstr(record, "type=1326 ") == NULL || field(record, " pid=", 10, &pid) != 0)
		return;
	record = strrchr(record, '"'); /* behind the names of program and file */
	if (record == NULL || field(record, " sig=", 10, &sig) != 0 || sig == 0 ||
	    field(record, " arch=", 16, &arch) != 0 || field(record, " syscall=", 10, &nr) != 0)
		return;
	k = &kills[n_kills++ % KILLS_KEPT];
	k->pid = (pid_t)pid;
	k->nr = nr;
	k->arch = (uint32_t)arch;
}

/* Read what the kernel log has got since the last time. */
static void
read_records(void)
{
	for (int i = 0; i < RECORDS_AT_ONCE && records_fd >= 0; i++) {
		char record[RECORD_SIZE];
		ssize_t n = read(records_fd, record, sizeof(record) - 1);

		if (n < 0 && (errno == EPIPE || errno == EINVAL || errno == EINTR))
			continue; /* overwritten meanwhile, or too long to be ours */
		if (n <= 0)
			return;
		record[n] = '\0';
		/* what follows are fields of the kernel log */
		record[strcspn(record, "\n")] = '\0';
		note(record);
	}
}

const char *
sandbox_killrecord(pid_t pid, char *buf, size_t size)
{
	read_records();
	for (size_t i = 0; i < KILLS_KEPT; i++) {
		const struct kill *k = &kills[i];
		const char *what = "no name here";
		char *name = NULL;

		if (k->pid != pid)
			continue;
		if (k->arch != seccomp_arch_native())
			what = "of another architecture";
		else if (k->nr <= INT32_MAX)
			name = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), (int)k->nr);
		snprintf(buf, size, "system call %lu (%s)", k->nr, name != NULL ? name : what);
		free(name);
		return buf;
	}
	return NULL;
}
