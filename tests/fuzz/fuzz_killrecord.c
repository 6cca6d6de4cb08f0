/* SPDX-License-Identifier: ISC */
/*
 * Records of the kernel log, as root reads them to name the call that a child was killed for.
 * Pieces of the input (cut at bytes of 0xff) are whole records; a piece that begins with 0xfe is
 * the name that a process chose for itself, inside a record as the kernel makes it: such a name
 * changes neither who was killed nor for what.
 */
#include "policy/killrecord.c"

#include <sys/socket.h>

#include "fuzz.h"

enum { PIECES = 32, PID = 4242, NR = 59, X86_64 = 0xc000003e };

static int feeder = -1;

/* Fresh state, and a record per packet like /dev/kmsg. */
static void
start(void)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
		abort();
	records_fd = fds[0];
	feeder = fds[1];
	n_kills = 0;
	memset(kills, 0, sizeof(kills));
}

/* audit_log_untrustedstring() of the kernel: quoted, or in hexadecimal when it has odd bytes. */
static size_t
untrusted(char *out, size_t size, const uint8_t *name, size_t n)
{
	size_t o = 0;
	int odd = 0;

	for (size_t i = 0; i < n; i++)
		odd |= name[i] == '"' || name[i] < 0x21 || name[i] > 0x7e;
	if (!odd)
		return (size_t)snprintf(out, size, "\"%.*s\"", (int)n, (const char *)name);
	for (size_t i = 0; i < n; i++)
		o += (size_t)snprintf(out + o, size - o, "%02X", name[i]);
	return o;
}

/* The record of a kill of PID for call NR, by a process that has that name and that program. */
static size_t
make_record(char *out, size_t size, const uint8_t *name, size_t n)
{
	char comm[64], exe[600];
	size_t a = n < 15 ? n : 15, b = n < 250 ? n : 250;

	comm[untrusted(comm, sizeof(comm), name, a)] = '\0';
	exe[untrusted(exe, sizeof(exe), name, b)] = '\0';
	return (size_t)snprintf(out, size,
	    "5,1023,97531,-;audit: type=1326 audit(1700000000.123:45): auid=4294967295 uid=992 "
	    "gid=992 ses=4294967295 pid=%d comm=%s exe=%s sig=31 arch=%x syscall=%d compat=0 "
	    "ip=0x7f0000000000 code=0x80000000\n SUBSYSTEM=x\n",
	    PID, comm, exe, X86_64, NR);
}

/* What is said of a pid can go to the log, whatever it was made of. */
static void
look_up(pid_t pid)
{
	char text[96];
	const char *said = sandbox_killrecord(pid, text, sizeof(text));

	if (said == NULL)
		return;
	if (strncmp(said, "system call ", 12) != 0)
		abort();
	for (; *said != '\0'; said++) {
		if ((unsigned char)*said < 0x20 || (unsigned char)*said > 0x7e)
			abort();
	}
}

/* Whatever its name: nobody else was killed, and for no other call. */
static void
check_name(void)
{
	for (size_t i = 0; i < KILLS_KEPT; i++) {
		const struct kill *k = &kills[i];

		if (k->pid != 0 && (k->pid != PID || k->nr != NR || k->arch != X86_64))
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;

	start();
	for (int i = 0; i < PIECES && data < end; i++) {
		const uint8_t *cut = memchr(data, 0xff, (size_t)(end - data));
		size_t n = (size_t)((cut != NULL ? cut : end) - data);
		char record[RECORD_SIZE];

		if (n > 0 && data[0] == 0xfe) {
			look_up(PID); /* reads what came before */
			n_kills = 0;
			memset(kills, 0, sizeof(kills));
			(void)!send(feeder, record,
			    make_record(record, sizeof(record), data + 1, n - 1), MSG_NOSIGNAL);
			look_up(PID);
			check_name();
		} else {
			(void)!send(feeder, data, n, MSG_NOSIGNAL);
		}
		data = cut != NULL ? cut + 1 : end;
	}
	look_up(PID);
	for (size_t i = 0; i < KILLS_KEPT; i++)
		look_up(kills[i].pid);
	close(feeder);
	close(records_fd);
	return 0;
}

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static const uint8_t names[] = "\xfesyscall=1\xff\xfe\" sig=9 syscall=1\xff";
	char record[RECORD_SIZE];
	size_t n = make_record(record, sizeof(record), (const uint8_t *)"netd", 4);

	if (n + 1 + sizeof(names) > size)
		return 0;
	memcpy(out, record, n);
	out[n] = 0xff;
	memcpy(out + n + 1, names, sizeof(names) - 1);
	return n + sizeof(names);
}
