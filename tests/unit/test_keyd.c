/* SPDX-License-Identifier: ISC */
/*
 * keyd without its sandbox: key files, DH steps over the real channel, rate, config, new peers.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "keyd/keyd.h"
#include "lib/clock.h"
#include "lib/log.h"

static uint8_t secret[KEY_COUNT][32], public[KEY_COUNT][32];

/* A file of the text with a mode; its descriptor. */
static int
file(const char *text, mode_t mode)
{
	char path[] = "/tmp/bulkhead-test-key-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	unlink(path);
	return fd;
}

static void
hex_line(char out[66], const uint8_t key[32])
{
	sodium_bin2hex(out, 65, key, 32);
	strcat(out, "\n");
}

static void
load_keys(void)
{
	char line[66];

	assert_int_equal(keys_init(), 0);
	for (int k = 0; k < KEY_COUNT; k++) {
		randombytes_buf(secret[k], 32);
		crypto_scalarmult_base(public[k], secret[k]);
		hex_line(line, secret[k]);
		assert_int_equal(keys_read((enum key)k, file(line, 0400)), 0);
	}
}

static void
test_key_files(void **state)
{
	char good[66], line[80];
	uint8_t key[32], other[32];
	int fd;

	(void)state;
	log_set_level(LOG_L_ERROR);
	assert_int_equal(keys_init(), 0);
	randombytes_buf(key, sizeof(key));
	hex_line(good, key);

	assert_int_equal(keys_public(KEY_STATUS, other), -1);
	assert_int_equal(keys_read(KEY_STATUS, file(good, 0440)), -1);
	assert_int_equal(keys_read(KEY_STATUS, file(good, 0604)), -1);
	assert_int_equal(keys_read(KEY_STATUS, file("", 0400)), -1);
	snprintf(line, sizeof(line), "%.63s\n", good);
	assert_int_equal(keys_read(KEY_STATUS, file(line, 0400)), -1);
	snprintf(line, sizeof(line), "%.64s0\n", good);
	assert_int_equal(keys_read(KEY_STATUS, file(line, 0400)), -1);
	snprintf(line, sizeof(line), "%.64s\n\n", good);
	assert_int_equal(keys_read(KEY_STATUS, file(line, 0400)), -1);
	snprintf(line, sizeof(line), "%.63sg\n", good);
	assert_int_equal(keys_read(KEY_STATUS, file(line, 0400)), -1);
	memset(line, '0', 64);
	line[64] = '\0';
	assert_int_equal(keys_read(KEY_STATUS, file(line, 0400)), -1);
	assert_int_equal(keys_read(KEY_STATUS, -1), -1);
	fd = open("/dev/zero", O_RDONLY);
	assert_int_equal(keys_read(KEY_STATUS, fd), -1);
	assert_int_equal(fcntl(fd, F_GETFD), -1); /* closed in any case */
	assert_int_equal(keys_public(KEY_STATUS, other), -1);

	snprintf(line, sizeof(line), "%.64s", good); /* the newline may be missing */
	assert_int_equal(keys_read(KEY_STATUS, file(line, 0400)), 0);
	fd = file(good, 0600);
	assert_int_equal(keys_read(KEY_STATUS, fd), 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(keys_public(KEY_STATUS, other), 0);
	crypto_scalarmult_base(key, key);
	assert_memory_equal(other, key, 32);
	keys_wipe();
	assert_int_equal(keys_public(KEY_STATUS, other), -1);
	keys_wipe();
}

/* ---- where the secrets are in memory */

static uint8_t hidden[32]; /* a secret, inverted, so that this copy is not found */
static int wiped_before_unmap = -1;
static uint8_t *looked_at; /* what the search reads into: not searched */
enum { LOOK_MAX = 32 << 20 };

/* How often the hidden secret is in n bytes, as it is or as hex. */
static unsigned
count_in(const uint8_t *bytes, size_t n, int hex)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = hex ? 64 : 32, k;
	unsigned found = 0;

	for (size_t i = 0; i + len <= n; i++) {
		for (k = 0; k < len; k++) {
			uint8_t byte = hex ? hidden[k / 2] ^ 0xff : hidden[k] ^ 0xff;

			if (bytes[i + k] !=
			    (hex ? (uint8_t)digits[k % 2 ? byte & 15 : byte >> 4] : byte))
				break;
		}
		found += k == len;
	}
	return found;
}

/* The same in all private memory of this process, with rights or without; perms: of the last. */
static unsigned
count_in_memory(int hex, char perms[5])
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int mem = open("/proc/self/mem", O_RDONLY);
	char line[512], rights[5];
	unsigned long start, end;
	unsigned found = 0;

	assert_true(maps != NULL && mem >= 0);
	while (fgets(line, sizeof(line), maps) != NULL) {
		unsigned here;
		ssize_t n;

		if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) != 3 ||
		    end - start > LOOK_MAX || (uint8_t *)start == looked_at)
			continue;
		n = pread(mem, looked_at, end - start, (off_t)start);
		here = n > 0 ? count_in(looked_at, (size_t)n, hex) : 0;
		found += here;
		if (here > 0 && perms != NULL)
			memcpy(perms, rights, 5);
	}
	close(mem);
	fclose(maps);
	return found;
}

/* In place of the C library's, for what libsodium gives back. */
int munmap(void *start, size_t n);
int
munmap(void *start, size_t n)
{
	if (wiped_before_unmap >= 0 && start != looked_at) {
		int mem = open("/proc/self/mem", O_RDONLY);
		ssize_t have =
		    n <= LOOK_MAX ? pread(mem, looked_at, n, (off_t)(uintptr_t)start) : 0;

		/* a guard page in front ends the read: page by page then */
		for (size_t at = 0; have <= 0 && at < n; at += 4096) {
			if (pread(mem, looked_at, 4096, (off_t)((uintptr_t)start + at)) == 4096 &&
			    count_in(looked_at, 4096, 0) > 0)
				wiped_before_unmap = 0;
		}
		if (have > 0 && count_in(looked_at, (size_t)have, 0) > 0)
			wiped_before_unmap = 0;
		close(mem);
	}
	return (int)syscall(SYS_munmap, start, n);
}

static void
test_where_the_secrets_are(void **state)
{
	uint8_t shared[32], key[32], point[32];
	char line[66], perms[5] = "";

	(void)state;
#ifdef BH_SANITIZERS
	skip(); /* the shadow and its own copies */
#endif
	looked_at =
	    mmap(NULL, LOOK_MAX + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(looked_at != MAP_FAILED);
	assert_int_equal(keys_init(), 0);
	randombytes_buf(key, sizeof(key));
	crypto_scalarmult_base(point, key);
	for (int i = 0; i < 32; i++)
		hidden[i] = key[i] ^ 0xff;
	hex_line(line, key);
	sodium_memzero(key, sizeof(key));
	assert_int_equal(
	    count_in_memory(1, NULL), 1); /* the search finds what is there: our line */
	assert_int_equal(keys_read(KEY_STATUS, file(line, 0400)), 0);
	sodium_memzero(line, sizeof(line));
	assert_int_equal(count_in_memory(1, NULL), 0);
	assert_int_equal(count_in_memory(0, perms), 1);
	assert_string_equal(perms, "---p");

	/* and so it is after a use, and after a refused one */
	assert_int_equal(keys_dh(KEY_STATUS, point, shared), 0);
	assert_int_equal(keys_dh(KEY_STATUS, (const uint8_t[32]){1}, shared), -1);
	assert_int_equal(count_in_memory(0, perms), 1);
	assert_string_equal(perms, "---p");

	wiped_before_unmap = 1;
	keys_wipe();
	assert_int_equal(wiped_before_unmap, 1);
	wiped_before_unmap = -1;
	assert_int_equal(count_in_memory(0, NULL), 0);
	munmap(looked_at, LOOK_MAX + 4096);
}

static void
test_dh(void **state)
{
	static const uint8_t low[32] = {1};
	uint8_t other_secret[32], other[32], shared[32], expected[32];

	(void)state;
	load_keys();
	randombytes_buf(other_secret, 32);
	crypto_scalarmult_base(other, other_secret);
	for (int k = 0; k < KEY_COUNT; k++) {
		assert_int_equal(keys_dh((enum key)k, other, shared), 0);
		assert_int_equal(crypto_scalarmult(expected, other_secret, public[k]), 0);
		assert_memory_equal(shared, expected, 32);
	}
	memset(shared, 0xff, sizeof(shared));
	assert_int_equal(keys_dh(KEY_STATUS, low, shared), -1);
	assert_true(sodium_is_zero(shared, 32));
	keys_wipe();
	assert_int_equal(keys_dh(KEY_STATUS, other, shared), -1);
	assert_true(sodium_is_zero(shared, 32));
}

static void
test_bucket(void **state)
{
	struct bucket b = {.milli = (int64_t)KEYD_DH_BURST * 1000, .at_ms = 1000};
	int n = 0;

	(void)state;
	while (bucket_take(&b, 1000))
		n++;
	assert_int_equal(n, KEYD_DH_BURST);
	assert_false(bucket_take(&b, 1000));
	assert_false(bucket_take(&b, 500)); /* a step back gives nothing */
	assert_true(bucket_take(&b, 1000 + 1000 / KEYD_DH_RATE));
	assert_false(bucket_take(&b, 1000 + 1000 / KEYD_DH_RATE));
	for (n = 0; bucket_take(&b, 3000); n++)
		;
	assert_in_range(n, 2 * KEYD_DH_RATE - 2, 2 * KEYD_DH_RATE);
	for (n = 0; bucket_take(&b, INT64_MAX / 2); n++)
		;
	assert_int_equal(n, KEYD_DH_BURST);
}

/* ---- over the channels; descriptors 3 and FD_EDGE(ROLED) are keyd's here too */

static struct channel supervisor, roled;
static struct child *keyd;
static struct msg last;
static unsigned n_answers, n_good;

static int
on_message(struct channel *c, struct msg *m)
{
	(void)c;
	last = *m;
	n_answers++;
	if (m->type == MSG_KEY_SHARED && m->body[4])
		n_good++;
	return 0;
}

/* A pair with one end at a fixed number. Returns the other. */
static int
edge(int number)
{
	int fds[2], other;

	assert_int_equal(channel_pair(fds), 0);
	other = fcntl(fds[0], F_DUPFD_CLOEXEC, 40);
	assert_true(other >= 40);
	close(fds[0]);
	if (fds[1] != number) {
		assert_int_equal(dup2(fds[1], number), number);
		close(fds[1]);
	}
	return other;
}

static void
pump(void)
{
	for (int i = 0; i < 20; i++) {
		assert_true(channel_read(&keyd->control) >= 0);
		if (keyd_asker(0)->fd >= 0 && channel_read(keyd_asker(0)) < 0)
			child_edge_lost(keyd, keyd_asker(0));
		channel_flush(&keyd->control);
		channel_flush(keyd_asker(0));
		if (supervisor.fd >= 0)
			assert_true(channel_read(&supervisor) >= 0);
		if (roled.fd >= 0)
			(void)channel_read(&roled);
	}
}

static void
ask_dh(const uint8_t point[32], uint32_t cookie)
{
	struct msg m;

	msg_begin(&m, MSG_KEY_DH);
	msg_put_u32(&m, cookie);
	msg_put_bytes(&m, point, 32);
	channel_permit(&roled, MSG_KEY_SHARED);
	assert_int_equal(channel_send(&roled, &m), 0);
}

static void
send_serial(enum message_type type, uint64_t serial)
{
	struct msg m;

	msg_begin(&m, type);
	msg_put_u64(&m, serial);
	if (type == MSG_PREPARE) {
		channel_permit(&supervisor, MSG_PREPARED);
		channel_permit(&supervisor, MSG_REFUSED);
	}
	assert_int_equal(channel_send(&supervisor, &m), 0);
}

/* The part of a config that keyd looks at, with this status key for self. */
static void
send_config(const uint8_t status[32])
{
	static struct conf c;
	struct msg m;

	conf_defaults(&c);
	strcpy(c.general.group, "pair");
	c.general.n_servers = 1;
	strcpy(c.server[0].name, "alpha");
	c.server[0].n_paths = 1;
	c.server[0].path[0] = (struct conf_addr){.family = AF_INET, .bytes = {192, 0, 2, 1}};
	c.server[0].port = 5481;
	memcpy(c.server[0].key_status, status, 32);
	memcpy(c.server[0].key_data, public[KEY_DATA], 32);
	msg_begin(&m, MSG_CONF_GENERAL);
	conf_put_general(&m, &c.general);
	assert_int_equal(channel_send(&supervisor, &m), 0);
	msg_begin(&m, MSG_CONF_SERVER);
	conf_put_server(&m, 0, &c.server[0]);
	assert_int_equal(channel_send(&supervisor, &m), 0);
}

static void
start(void)
{
	channel_close(&supervisor);
	channel_close(&roled);
	channel_init(&supervisor, edge(FD_CONTROL), PROC_SUPERVISOR, PROC_KEYD, on_message, NULL);
	channel_init(&roled, edge(FD_EDGE(PROC_ROLED)), PROC_ROLED, PROC_KEYD, on_message, NULL);
	keyd = keyd_init_ipc();
	n_answers = n_good = 0;
}

static void
expect_public(void)
{
	assert_int_equal(last.type, MSG_KEY_PUBLIC);
	assert_memory_equal(last.body, public[KEY_STATUS], 32);
	assert_memory_equal(last.body + 32, public[KEY_DATA], 32);
}

static void
test_answers(void **state)
{
	static const uint8_t low[32] = {0};
	uint8_t other_secret[32], other[32], expected[32];
	int64_t began_ms;

	(void)state;
	load_keys();
	start();
	child_ready(keyd, 3);
	keyd_send_public();
	pump();
	assert_int_equal(n_answers, 2);
	expect_public();

	/* the status key, and only that, for roled */
	randombytes_buf(other_secret, 32);
	crypto_scalarmult_base(other, other_secret);
	assert_int_equal(crypto_scalarmult(expected, other_secret, public[KEY_STATUS]), 0);
	ask_dh(other, 0xabcd);
	pump();
	assert_int_equal(last.type, MSG_KEY_SHARED);
	assert_int_equal(msg_get_u32(&last), 0xabcd);
	assert_int_equal(msg_get_u8(&last), 1);
	assert_memory_equal(last.body + 5, expected, 32);

	/* low order: refused, and keyd goes on */
	ask_dh(low, 7);
	pump();
	assert_int_equal(msg_get_u32(&last), 7);
	assert_int_equal(msg_get_u8(&last), 0);
	assert_true(sodium_is_zero(last.body + 5, 32));

	/* beyond the burst: refused, not ignored */
	n_answers = n_good = 0;
	began_ms = now_ms();
	for (unsigned i = 0; i < KEYD_DH_BURST + 100; i++) {
		ask_dh(other, i);
		if (i % 20 == 0)
			pump();
	}
	pump();
	assert_int_equal(n_answers, KEYD_DH_BURST + 100);
	/* and what has been refilled meanwhile: all of it where this is slow, as under valgrind */
	assert_in_range(n_good, KEYD_DH_BURST - 2,
	    KEYD_DH_BURST + (now_ms() - began_ms + 1) * KEYD_DH_RATE / 1000);
	keys_wipe();
}

static void
test_config_must_name_our_key(void **state)
{
	(void)state;
	load_keys();
	start();
	send_config(public[KEY_STATUS]);
	send_serial(MSG_PREPARE, 1);
	pump();
	assert_int_equal(last.type, MSG_PREPARED);
	send_serial(MSG_COMMIT, 1);
	pump();
	assert_int_equal(keyd_asker(0)->state, S_RUN);

	send_config(public[KEY_DATA]);
	send_serial(MSG_PREPARE, 2);
	pump();
	assert_int_equal(last.type, MSG_REFUSED);
	assert_true(msg_get_u64(&last) == 2);
	assert_int_equal(msg_get_u16(&last), REFUSE_KEY);
	assert_int_equal(keyd_asker(0)->state, S_RUN);

	keys_wipe(); /* as if they had never been readable */
	send_config(public[KEY_STATUS]);
	send_serial(MSG_PREPARE, 3);
	pump();
	assert_int_equal(last.type, MSG_REFUSED);
}

static void
test_roled_restarts(void **state)
{
	uint8_t other[32], s[32] = {77};
	struct msg m;
	int fds[2];

	(void)state;
	load_keys();
	start();
	crypto_scalarmult_base(other, s);
	channel_close(&roled);
	pump();
	assert_int_equal(keyd_asker(0)->fd, -1);
	assert_true(fcntl(FD_EDGE(PROC_ROLED), F_GETFD) >= 0); /* the number stays taken */

	assert_int_equal(channel_pair(fds), 0);
	msg_begin(&m, MSG_PEER);
	msg_put_u8(&m, PROC_ROLED);
	msg_put_u8(&m, 0);
	msg_put_fd(&m, fds[1]);
	assert_int_equal(channel_send(&supervisor, &m), 0);
	close(fds[1]);
	channel_init(&roled, fds[0], PROC_ROLED, PROC_KEYD, on_message, NULL);
	n_answers = 0;
	pump();
	assert_int_equal(keyd_asker(0)->fd, FD_EDGE(PROC_ROLED));
	assert_int_equal(n_answers, 1);
	expect_public();
	n_good = 0;
	ask_dh(other, 1);
	pump();
	assert_int_equal(n_good, 1);
	keys_wipe();
}

static void
test_bad_asker_is_cut_off_and_reported(void **state)
{
	uint8_t packet[MSG_HEADER + 35] = {MSG_KEY_DH}; /* one byte short */

	(void)state;
	load_keys();
	start();
	assert_int_equal(send(roled.fd, packet, sizeof(packet), 0), (ssize_t)sizeof(packet));
	pump();
	assert_int_equal(keyd_asker(0)->fd, -1);
	assert_int_equal(last.type, MSG_PEER_BROKEN);
	assert_int_equal(msg_get_u8(&last), PROC_ROLED);
	assert_int_equal(msg_get_u8(&last), V_LENGTH);
	assert_memory_equal(last.body + 2, packet, sizeof(packet));
	assert_false(keyd_stopping());
	keys_wipe();
}

/* A request is 36 bytes: no other length, no other type and no descriptor gets an answer. */
static void
test_every_other_request_is_refused(void **state)
{
	static const size_t lengths[] = {0, 1, 4, 31, 32, 35, 37, 64, 68, 255, 4096};
	static const uint8_t types[] = {
	    0, MSG_KEY_PUBLIC, MSG_KEY_SHARED, MSG_READY, MSG_PREPARE, MSG_STOP, 93, 127};
	static uint8_t packet[MSG_HEADER + 4096];

	(void)state;
	load_keys();
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]) + sizeof(types); i++) {
		int of_length = i < sizeof(lengths) / sizeof(lengths[0]);
		size_t n = of_length ? lengths[i] : 36;

		start();
		n_answers = 0;
		memset(packet, 9, sizeof(packet));
		packet[0] =
		    of_length ? MSG_KEY_DH : types[i - sizeof(lengths) / sizeof(lengths[0])];
		packet[1] = packet[2] = packet[3] = 0;
		assert_int_equal(
		    send(roled.fd, packet, MSG_HEADER + n, 0), (ssize_t)(MSG_HEADER + n));
		pump();
		assert_int_equal(keyd_asker(0)->fd, -1);
		assert_int_equal(n_answers, 1);
		assert_int_equal(last.type, MSG_PEER_BROKEN);
	}
	keys_wipe();
}

static void
test_stop(void **state)
{
	struct msg m;

	(void)state;
	start();
	msg_begin(&m, MSG_STOP);
	msg_put_u32(&m, 1000);
	assert_int_equal(channel_send(&supervisor, &m), 0);
	pump();
	assert_true(keyd_stopping());
}

/* cmocka and the shell may own the fixed numbers: take them all first. */
static int
reserve(void **state)
{
	(void)state;
	for (int fd = FD_CONTROL; fd < FD_FIRST_FREE; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && dup2(0, fd) < 0)
			return -1;
	}
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_key_files),
	    cmocka_unit_test(test_where_the_secrets_are),
	    cmocka_unit_test(test_dh),
	    cmocka_unit_test(test_bucket),
	    cmocka_unit_test(test_answers),
	    cmocka_unit_test(test_config_must_name_our_key),
	    cmocka_unit_test(test_roled_restarts),
	    cmocka_unit_test(test_bad_asker_is_cut_off_and_reported),
	    cmocka_unit_test(test_every_other_request_is_refused),
	    cmocka_unit_test(test_stop),
	};

	if (sodium_init() < 0)
		return 1;
	supervisor.fd = roled.fd = -1;
	return cmocka_run_group_tests(tests, reserve, NULL);
}
