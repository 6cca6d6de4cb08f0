/* SPDX-License-Identifier: ISC */
/*
 * What tests/bench/data.py asks two servers with, and measures the limits of the machine with. One
 * blocking client in the Redis protocol, the same for both.
 *
 *	data ask SOCKET COUNT [COMMAND]
 *		SET with COMMAND ("WAIT 1 0") behind it in one packet: us p50 p99
 *	data lag MAIN STANDBY COUNT
 *		from the answer of SET on MAIN until GET on STANDBY has it: us p50 p99
 *	data fill SOCKET FIRST LAST BYTES
 *		SET key:%012d of numbers FIRST to LAST, pipelined
 *	data aead MIB, data tcp MIB
 *		records of 64 KiB sealed, writes of 64 KiB on loopback TCP: MiB/s
 *	data disk FILE MIB
 *		written one behind the other and synced at the end: MiB/s
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/record.h"

enum {
	BUFFER = 64 * 1024,
	VALUE_MAX = 1 << 20,
	WINDOW = 4 << 20,
	VALUE = 84,
	WARM = 50,
	MIB = 1 << 20
};

struct client {
	int fd;
	size_t at, len;
	char in[BUFFER];
};

static char value[VALUE_MAX];

static void
must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct client *
client_open(const char *path)
{
	struct client *c = calloc(1, sizeof(*c));
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	must(c != NULL && strlen(path) < sizeof(a.sun_path), path);
	strcpy(a.sun_path, path);
	c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	must(c->fd >= 0 && connect(c->fd, (struct sockaddr *)&a, sizeof(a)) == 0, path);
	return c;
}

static void
put(struct client *c, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t w = send(c->fd, bytes, n, MSG_NOSIGNAL);

		must(w > 0, "send");
		bytes += w;
		n -= (size_t)w;
	}
}

static void
fetch(struct client *c)
{
	ssize_t n = recv(c->fd, c->in, sizeof(c->in), 0);

	must(n > 0, "recv");
	c->at = 0;
	c->len = (size_t)n;
}

static int
get(struct client *c)
{
	if (c->at == c->len)
		fetch(c);
	return (unsigned char)c->in[c->at++];
}

/* A line without its end, cut off at size. */
static void
get_line(struct client *c, char *text, size_t size)
{
	size_t n = 0;
	int ch;

	while ((ch = get(c)) != '\r') {
		if (n + 1 < size)
			text[n++] = (char)ch;
	}
	text[n] = '\0';
	(void)get(c);
}

/* One answer, no array: its text, cut off at size; empty for none. An error ends the program. */
static void
simple_answer(struct client *c, char *text, size_t size)
{
	size_t n, len;

	get_line(c, text, size);
	if (text[0] == '-') {
		fprintf(stderr, "answer: %s\n", text);
		exit(1);
	}
	if (text[0] != '$') {
		memmove(text, text + 1, strlen(text));
		return;
	}
	if (text[1] == '-') {
		text[0] = '\0';
		return;
	}
	n = strtoul(text + 1, NULL, 10);
	len = n < size ? n : size - 1;
	for (size_t i = 0; i < n + 2; i++) {
		char ch = (char)get(c);

		if (i < len)
			text[i] = ch;
	}
	text[len] = '\0';
}

/* One answer; of an array the last element. */
static void
answer(struct client *c, char *text, size_t size)
{
	size_t n = 1;

	if (c->at == c->len)
		fetch(c);
	if (c->in[c->at] == '*') {
		get_line(c, text, size);
		n = strtoul(text + 1, NULL, 10);
	}
	while (n-- > 0)
		simple_answer(c, text, size);
}

static size_t
make_set(char *out, size_t size, const char *key, const char *bytes, size_t n)
{
	int head =
	    snprintf(out, size, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(key), key, n);

	memcpy(out + head, bytes, n);
	memcpy(out + head + n, "\r\n", 2);
	return (size_t)head + n + 2;
}

static int
by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void
print_times(int64_t *ns, size_t n)
{
	qsort(ns, n, sizeof(*ns), by_size);
	printf("%.1f %.1f\n", (double)ns[n / 2] / 1e3, (double)ns[n * 99 / 100] / 1e3);
}

static void
ask(const char *path, size_t n, const char *then)
{
	struct client *c = client_open(path);
	int64_t *ns = calloc(n + WARM, sizeof(*ns));
	char out[1024], key[32], text[256];

	must(ns != NULL, "memory");
	for (size_t i = 0; i < n + WARM; i++) {
		size_t len;
		int64_t begin = now_ns();

		snprintf(key, sizeof(key), "ask:%06zu", i);
		len = make_set(out, sizeof(out), key, value, VALUE);
		if (then != NULL)
			len += (size_t)snprintf(out + len, sizeof(out) - len, "%s\r\n", then);
		put(c, out, len);
		answer(c, text, sizeof(text));
		if (then != NULL) {
			answer(c, text, sizeof(text));
			must(strcmp(text, "0") != 0, "nobody has it");
		}
		ns[i] = now_ns() - begin;
	}
	print_times(ns + WARM, n);
}

static void
lag(const char *path, const char *standby, size_t n)
{
	struct client *c = client_open(path), *s = client_open(standby);
	static const char look[] = "*2\r\n$3\r\nGET\r\n$3\r\nlag\r\n";
	int64_t *ns = calloc(n + WARM, sizeof(*ns)), begin;
	char out[1024], want[32], text[256];

	must(ns != NULL, "memory");
	for (size_t i = 0; i < n + WARM; i++) {
		snprintf(want, sizeof(want), "%zu.%lld", i, (long long)now_ns());
		put(c, out, make_set(out, sizeof(out), "lag", want, strlen(want)));
		answer(c, text, sizeof(text));
		begin = now_ns();
		do {
			put(s, look, sizeof(look) - 1);
			answer(s, text, sizeof(text));
		} while (strcmp(text, want) != 0);
		ns[i] = now_ns() - begin;
	}
	print_times(ns + WARM, n);
}

static void
fill(const char *path, unsigned long long first, unsigned long long last, size_t bytes)
{
	struct client *c = client_open(path);
	char *out = malloc(bytes + 128), key[32], text[256];
	size_t window = WINDOW / (bytes + 128) + 1, open = 0;

	must(out != NULL && bytes <= VALUE_MAX, "bytes");
	randombytes_buf(value, bytes); /* else compression would decide */
	for (; first <= last; first++) {
		snprintf(key, sizeof(key), "key:%012llu", first);
		memcpy(value, key + 4, bytes < 12 ? bytes : 12);
		put(c, out, make_set(out, bytes + 128, key, value, bytes));
		if (++open < window && first < last)
			continue;
		for (; open > 0; open--)
			answer(c, text, sizeof(text));
	}
}

static void
print_rate(size_t mib, int64_t begin_ns)
{
	printf("%.0f\n", (double)mib * 1e9 / (double)(now_ns() - begin_ns));
}

static void
aead(size_t mib)
{
	static uint8_t out[RECORD_PLAIN_MAX + RECORD_OVERHEAD];
	struct record r = {.plain_max = RECORD_PLAIN_MAX};
	int64_t begin = now_ns();

	randombytes_buf(r.send.key, sizeof(r.send.key));
	for (size_t done = 0; done < mib * MIB; done += RECORD_PLAIN_MAX)
		must(record_seal(&r, value, RECORD_PLAIN_MAX, out, sizeof(out)) > 0, "seal");
	print_rate(mib, begin);
}

static void
tcp(size_t mib)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;
	int64_t begin;
	pid_t reader;

	must(bind(listener, (struct sockaddr *)&a, len) == 0 && listen(listener, 1) == 0 &&
		 getsockname(listener, (struct sockaddr *)&a, &len) == 0,
	    "listen");
	reader = fork();
	must(reader >= 0, "fork");
	if (reader == 0) {
		ssize_t n = 1;

		fd = accept(listener, NULL, NULL);
		while (n > 0)
			n = recv(fd, value, sizeof(value), 0);
		_exit(0);
	}
	fd = socket(AF_INET, SOCK_STREAM, 0);
	must(connect(fd, (struct sockaddr *)&a, len) == 0, "connect");
	begin = now_ns();
	for (size_t done = 0; done < mib * MIB; done += BUFFER)
		must(send(fd, value, BUFFER, MSG_NOSIGNAL) == BUFFER, "send");
	close(fd);
	must(waitpid(reader, NULL, 0) == reader, "wait");
	print_rate(mib, begin);
}

static void
disk(const char *path, size_t mib)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	int64_t begin = now_ns();

	must(fd >= 0, path);
	for (size_t i = 0; i < mib; i++)
		must(write(fd, value, MIB) == MIB, path);
	must(fdatasync(fd) == 0, path);
	print_rate(mib, begin);
	must(unlink(path) == 0, path);
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	must(sodium_init() >= 0, "libsodium");
	if (strcmp(what, "ask") == 0 && argc >= 4)
		ask(argv[2], strtoul(argv[3], NULL, 10), argc > 4 ? argv[4] : NULL);
	else if (strcmp(what, "lag") == 0 && argc == 5)
		lag(argv[2], argv[3], strtoul(argv[4], NULL, 10));
	else if (strcmp(what, "fill") == 0 && argc == 6)
		fill(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10),
		    strtoul(argv[5], NULL, 10));
	else if (strcmp(what, "aead") == 0 && argc == 3)
		aead(strtoul(argv[2], NULL, 10));
	else if (strcmp(what, "tcp") == 0 && argc == 3)
		tcp(strtoul(argv[2], NULL, 10));
	else if (strcmp(what, "disk") == 0 && argc == 4)
		disk(argv[2], strtoul(argv[3], NULL, 10));
	else {
		fprintf(stderr, "what it can be asked is at the top of tests/bench/data.c\n");
		return 2;
	}
	return 0;
}
