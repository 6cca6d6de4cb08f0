/* SPDX-License-Identifier: ISC */
/*
 * What netd costs: time it adds to a record, time from a FIN to LINK_CLOSED, throughput, CPU with
 * four status links of a record per 10 ms each way, memory. As root from the build tree; figures
 * are printed, nothing is asserted.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "tests/unit/fake.h"

enum { RECORD = 220, ROUNDS = 20000, ENDS = 500, STATUS_LINKS = 4, STATUS_S = 10 };

static struct fake netd;

struct ends {
	int owner, tcp;
};

static int
by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void
print_quantiles(const char *what, int64_t *us, size_t n)
{
	qsort(us, n, sizeof(*us), by_value);
	printf("%-44s median %lld us, 99 %% %lld us, worst %lld us\n", what, (long long)us[n / 2],
	    (long long)us[n * 99 / 100], (long long)us[n - 1]);
}

/* A connected pair of TCP sockets. */
static void
tcp_pair(int fds[2])
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(in);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	assert_int_equal(bind(l, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&in, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&in, sizeof(in)), 0);
	fds[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	for (int i = 0; i < 2; i++)
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	close(l);
}

/* A link through netd. */
static struct ends
carry(uint32_t token)
{
	int unix_ends[2], tcp[2];
	struct msg m, *dial;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, unix_ends), 0);
	msg_begin(&m, MSG_LINK_OPEN);
	msg_put_u32(&m, token);
	msg_put_u8(&m, 1);
	msg_put_u8(&m, 0);
	msg_put_u8(&m, LINK_STATUS);
	msg_put_fd(&m, unix_ends[1]);
	fake_send(&netd, &netd.roled, &m);
	dial = fake_expect(&netd, MSG_DIAL, 1000);
	assert_non_null(dial);
	tcp_pair(tcp);
	msg_begin(&m, MSG_DIALED);
	msg_put_u32(&m, msg_get_u32(dial));
	msg_put_fd(&m, tcp[0]);
	fake_send(&netd, &netd.control, &m);
	fake_free(dial);
	close(unix_ends[1]);
	close(tcp[0]);
	fake_free(fake_expect(&netd, MSG_LINK_CONNECTED, 1000));
	return (struct ends){unix_ends[0], tcp[1]};
}

/* One record from one end to the other, both held here. Returns us. */
static int64_t
record_us(int from, int to)
{
	uint8_t b[RECORD] = {0};
	int64_t begin = now_us();
	size_t have = 0;

	assert_int_equal(write(from, b, sizeof(b)), sizeof(b));
	while (have < sizeof(b)) {
		ssize_t n = read(to, b + have, sizeof(b) - have);

		assert_true(n > 0);
		have += (size_t)n;
	}
	return now_us() - begin;
}

static void
bench_records(void)
{
	static int64_t us[ROUNDS];
	struct ends e = carry(1);
	int direct[2];

	tcp_pair(direct);
	for (int i = 0; i < ROUNDS; i++)
		us[i] = record_us(direct[0], direct[1]);
	print_quantiles("record, TCP on loopback without netd", us, ROUNDS);
	for (int i = 0; i < ROUNDS; i++)
		us[i] = record_us(e.owner, e.tcp);
	print_quantiles("record, owner to TCP through netd", us, ROUNDS);
	for (int i = 0; i < ROUNDS; i++)
		us[i] = record_us(e.tcp, e.owner);
	print_quantiles("record, TCP to owner through netd", us, ROUNDS);
	close(direct[0]);
	close(direct[1]);
	close(e.owner);
	close(e.tcp);
	fake_free(fake_expect(&netd, MSG_LINK_CLOSED, 2000));
}

static void
bench_ends(void)
{
	static int64_t us[ENDS];

	for (uint32_t i = 0; i < ENDS; i++) {
		struct ends e = carry(100 + i);
		int64_t begin;

		record_us(e.tcp, e.owner);
		begin = now_us();
		close(e.tcp);
		fake_free(fake_expect(&netd, MSG_LINK_CLOSED, 1000));
		us[i] = now_us() - begin;
		close(e.owner);
	}
	print_quantiles("FIN on TCP to LINK_CLOSED at roled", us, ENDS);
}

static void
bench_throughput(void)
{
	static uint8_t buf[1 << 18];
	struct ends e = carry(2);
	const uint64_t total = UINT64_C(4) << 30;
	uint64_t sent = 0, received = 0;
	int64_t begin = now_us(), took;

	fcntl(e.tcp, F_SETFL, O_NONBLOCK);
	fcntl(e.owner, F_SETFL, O_NONBLOCK);
	while (received < total) {
		ssize_t n = sent < total ? write(e.tcp, buf, sizeof(buf)) : 0;

		sent += n > 0 ? (uint64_t)n : 0;
		n = read(e.owner, buf, sizeof(buf));
		received += n > 0 ? (uint64_t)n : 0;
	}
	took = now_us() - begin;
	printf("%-44s %.2f GB/s\n", "bulk, TCP to owner through netd",
	    (double)total / (double)took / 1e3);
	close(e.tcp);
	close(e.owner);
	fake_free(fake_expect(&netd, MSG_LINK_CLOSED, 1000));
}

static long long
field(const char *name, const char *key)
{
	char path[64], line[256];
	long long v = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)netd.pid, name);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (key == NULL)
			v = atoll(line);
		else if (strncmp(line, key, strlen(key)) == 0)
			v = atoll(line + strlen(key));
		else
			continue;
		break;
	}
	if (f != NULL)
		fclose(f);
	return v;
}

static void
bench_status_links(void)
{
	struct ends e[STATUS_LINKS];
	long long cpu_ns;
	int64_t begin;

	cpu_ns = field("schedstat", NULL);
	sleep(STATUS_S / 2);
	printf("%-44s %.4f %% of a core\n", "CPU without links",
	    (double)(field("schedstat", NULL) - cpu_ns) / (STATUS_S / 2) / 1e7);
	for (uint32_t i = 0; i < STATUS_LINKS; i++)
		e[i] = carry(10000 + i);
	cpu_ns = field("schedstat", NULL);
	begin = now_us();
	for (int i = 0; i < STATUS_S * 100; i++) {
		int64_t left;

		for (int j = 0; j < STATUS_LINKS; j++) {
			record_us(e[j].owner, e[j].tcp);
			record_us(e[j].tcp, e[j].owner);
		}
		left = begin + (i + 1) * 10000 - now_us();
		if (left > 0)
			usleep((useconds_t)left);
	}
	printf("%-44s %.3f %% of a core\n", "CPU, 4 links, 100 records/s each way each",
	    (double)(field("schedstat", NULL) - cpu_ns) / STATUS_S / 1e7);
}

int
main(void)
{
	struct conf conf;

	if (!fake_can_run())
		return 77;
	signal(SIGPIPE, SIG_IGN);
	fake_start(&netd, PROC_NETD, 0);
	fake_conf(&conf, 2, 5481);
	fake_configure(&netd, &conf);
	printf("%-44s %lld KiB PSS, %lld KiB private\n", "memory after the start",
	    field("smaps_rollup", "Pss:"),
	    field("smaps_rollup", "Private_Dirty:") + field("smaps_rollup", "Private_Clean:"));
	bench_status_links();
	bench_records();
	bench_ends();
	bench_throughput();
	printf("%-44s %lld KiB PSS, %lld KiB private\n", "memory after all this",
	    field("smaps_rollup", "Pss:"),
	    field("smaps_rollup", "Private_Dirty:") + field("smaps_rollup", "Private_Clean:"));
	fake_stop(&netd);
	return 0;
}
