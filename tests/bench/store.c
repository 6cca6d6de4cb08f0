/* SPDX-License-Identifier: ISC */
/*
 * What the store of syncd costs: random SETs of 100 bytes in batches, each batch one flush of the
 * log, with checkpoints; syncs, bytes written, pauses, memory. Figures are printed, nothing is
 * asserted.
 * usage: tests/bench/store [FOLDER [KEYS [CHECKPOINT_MIB]]]
 *        (a new folder in FOLDER, on the disk to be measured; KEYS: only for so many;
 *        CHECKPOINT_MIB: dirty pages of a checkpoint)
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "syncd/store.h"
#include "tests/unit/model.h"

enum { VALUE = 100, NAME = 24 };

static uint64_t syncs, written, state = 88172645463325252U;
static char path[4096];

int
fdatasync(int fd)
{
	syncs++;
	return (int)syscall(SYS_fdatasync, fd);
}

ssize_t
pwrite(int fd, const void *b, size_t n, off_t at)
{
	written += n;
	return syscall(SYS_pwrite64, fd, b, n, at);
}

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	for (int i = 0; i < n; i++)
		written += v[i].iov_len;
	return syscall(SYS_writev, fd, v, n);
}

static uint64_t
number(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static void
must(int r, const char *what)
{
	if (r == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void
set(struct store *s, uint64_t n)
{
	static uint8_t value[VALUE];
	char name[NAME];
	struct change_op op = {
	    .kind = CHANGE_SET, .key = {(uint8_t *)name, 0}, .value = {value, VALUE}};

	op.key.len = (size_t)snprintf(name, sizeof(name), "key:%012llu", (unsigned long long)n);
	must(store_begin(s, 1), "begin");
	must(store_apply(s, &op), "apply");
	must(store_end_change(s, NULL), "end");
}

static long long
status(const char *file, const char *key)
{
	char line[256];
	long long v = -1;
	FILE *f = fopen(file, "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, key, strlen(key)) == 0)
			v = atoll(line + strlen(key));
	if (f != NULL)
		fclose(f);
	return v;
}

static long long
cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Batches for some seconds. */
static void
run(struct store *s, uint64_t keys, int batch, int seconds)
{
	int64_t begin = now_us(), took, turn, longest = 0;
	uint64_t puts = 0, syncs_before = syncs, written_before = written, flushes = 0;
	long long cpu = cpu_us();

	while (now_us() - begin < seconds * INT64_C(1000000)) {
		turn = now_us();
		for (int i = 0; i < batch; i++)
			set(s, number(keys));
		must(store_flush(s), "flush");
		must(store_checkpoint(s, false), "checkpoint");
		turn = now_us() - turn;
		longest = turn > longest ? turn : longest;
		puts += (uint64_t)batch;
		flushes++;
	}
	took = now_us() - begin;
	printf(
	    "%9llu keys, batch %4d: %8.0f puts/s, %6.0f flushes/s, CPU %.2f us/put, %.3f "
	    "syncs/flush, %5.0f B written/put, longest turn %lld ms, RSS %lld MiB (private %lld)\n",
	    (unsigned long long)keys, batch, (double)puts * 1e6 / (double)took,
	    (double)flushes * 1e6 / (double)took, (double)(cpu_us() - cpu) / (double)puts,
	    (double)(syncs - syncs_before) / (double)flushes,
	    (double)(written - written_before) / (double)puts, (long long)longest / 1000,
	    status("/proc/self/status", "VmRSS:") / 1024,
	    status("/proc/self/status", "RssAnon:") / 1024);
}

int
main(int argc, char **argv)
{
	uint64_t sizes[] = {10000, 1000000};
	static const int batches[] = {1, 50, 800};
	static const uint8_t id[STORE_ID] = "bench";
	struct store_limits limits = {.map_bytes = (uint64_t)64 << 30, .backlog_bytes = 256 << 20};
	size_t n_sizes = argc > 2 ? 1 : sizeof(sizes) / sizeof(sizes[0]);
	struct store *s;

	if (argc > 2)
		sizes[0] = strtoull(argv[2], NULL, 10);
	if (argc > 3)
		limits.dirty_bytes = strtoull(argv[3], NULL, 10) << 20;
	snprintf(path, sizeof(path), "%s/bench-store-XXXXXX", argc > 1 ? argv[1] : ".");
	if (mkdtemp(path) == NULL)
		must(-1, path);
	s = store_open(path, &limits);
	if (s == NULL)
		return 1;
	must(store_init(s, id), "init");
	for (size_t i = 0; i < n_sizes; i++) {
		int64_t begin = now_us();
		uint64_t had = store_count(s);

		for (uint64_t k = had; k < sizes[i]; k++) {
			set(s, k);
			if (k % 800 == 0) {
				must(store_flush(s), "flush");
				must(store_checkpoint(s, false), "checkpoint");
			}
		}
		printf("filled up to %llu keys: %.0f puts/s\n", (unsigned long long)sizes[i],
		    (double)(sizes[i] - had) * 1e6 / (double)(now_us() - begin));
		for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++)
			run(s, sizes[i], batches[b], 8);
	}
	{
		int64_t begin = now_us();

		must(store_checkpoint(s, true), "checkpoint");
		printf("a last checkpoint: %lld ms\n", (long long)(now_us() - begin) / 1000);
	}
	store_close(s);
	remove_folder(path);
	return 0;
}
