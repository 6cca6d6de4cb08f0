/* SPDX-License-Identifier: ISC */
/*
 * Hook of the tests: appends one line with the time at which it was started and its environment.
 *   stamp FILE
 * Line: CLOCK_BOOTTIME ns, wall clock ns, uid, NAME=value...; fields are separated by tabs and
 * written with one write(2), so that two hooks never mix. Static, so that its start costs little.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long
clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

int
main(int argc, char **argv)
{
	char line[8192];
	long long boot = clock_ns(CLOCK_BOOTTIME), wall = clock_ns(CLOCK_REALTIME);
	int fd, n;
	size_t used, length;

	if (argc != 2)
		return 64;
	n = snprintf(line, sizeof(line), "%lld\t%lld\t%u", boot, wall, (unsigned)getuid());
	if (n < 0)
		return 70;
	used = (size_t)n;
	for (char **e = environ; *e != NULL; e++) {
		length = strlen(*e);
		if (length + 2 > sizeof(line) - used)
			return 70;
		line[used++] = '\t';
		memcpy(line + used, *e, length);
		used += length;
	}
	line[used++] = '\n';
	if ((fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666)) == -1)
		return 73;
	return write(fd, line, used) == (ssize_t)used ? 0 : 74;
}
