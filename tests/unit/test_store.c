/* SPDX-License-Identifier: ISC */
/*
 * The role state file and the ledger on real files: restarts, torn and damaged slots, the ring.
 */
#include "config.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "roled/store.h"

static int
temp_file(void)
{
	char path[] = "/tmp/bh-test-store-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	return fd;
}

static void
damage(int fd, off_t at)
{
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 0x10;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
}

/* Content "n" as written by write number n. */
static void
assert_content(int fd, uint8_t n)
{
	uint8_t content[STORE_CONTENT];
	struct store s;
	size_t len;

	assert_int_equal(store_open(&s, fd, content, &len), STORE_OK);
	assert_int_equal(len, 100);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(content[i], n);
}

static void
write_content(struct store *s, uint8_t n)
{
	uint8_t content[100];

	memset(content, n, sizeof(content));
	assert_int_equal(store_write(s, content, sizeof(content), 1), 0);
}

/* In place of the C library's: how often it was asked for. */
static int synced;
int fdatasync(int fd);
int
fdatasync(int fd)
{
	synced++;
	return fsync(fd);
}

/* An epoch is on the disk when the write returns; what may be lost is not waited for. */
static void
durable_means_on_disk(void **state)
{
	uint8_t content[STORE_CONTENT] = {0};
	struct store s;
	size_t len;
	int fd = temp_file();

	(void)state;
	store_open(&s, fd, content, &len);
	synced = 0;
	assert_int_equal(store_write(&s, content, 10, 0), 0);
	assert_int_equal(synced, 0);
	assert_int_equal(store_write(&s, content, 10, 1), 0);
	assert_true(synced > 0);
	close(fd);
}

static void
state_survives(void **state)
{
	uint8_t content[STORE_CONTENT];
	struct store s;
	size_t len;
	int fd = temp_file();

	(void)state;
	assert_int_equal(store_open(&s, fd, content, &len), STORE_FRESH);
	assert_int_equal(len, 0);
	assert_int_equal(ftruncate(fd, 2 * STORE_SLOT), 0);
	assert_int_equal(store_open(&s, fd, content, &len), STORE_FRESH);
	for (uint8_t n = 1; n < 8; n++) {
		write_content(&s, n);
		assert_content(fd, n);
	}
	memset(content, 0, sizeof(content));
	assert_int_equal(store_write(&s, content, STORE_CONTENT + 1, 1), -1);
	assert_content(fd, 7);
	close(fd);
}

/* A write that was cut off leaves the one before; a damaged slot after the mirror loses nothing. */
static void
one_slot_is_enough(void **state)
{
	uint8_t content[STORE_CONTENT];
	struct store s;
	size_t len;

	(void)state;
	for (off_t at = 0; at < STORE_SLOT; at += 7) {
		int fd = temp_file();

		assert_int_equal(store_open(&s, fd, content, &len), STORE_FRESH);
		write_content(&s, 1); /* slot 0 */
		write_content(&s, 2); /* slot 1 */
		damage(fd, STORE_SLOT + at);
		assert_content(fd, 1);
		close(fd);

		fd = temp_file();
		assert_int_equal(store_open(&s, fd, content, &len), STORE_FRESH);
		write_content(&s, 1);
		write_content(&s, 2);
		store_mirror(&s); /* slot 0 */
		damage(fd, STORE_SLOT + at);
		assert_content(fd, 2);
		close(fd);
	}
}

static void
mirror_then_write(void **state)
{
	uint8_t content[STORE_CONTENT];
	struct store s;
	size_t len;
	int fd = temp_file();

	(void)state;
	assert_int_equal(store_open(&s, fd, content, &len), STORE_FRESH);
	write_content(&s, 1);
	store_mirror(&s);
	write_content(&s, 2); /* over one of the two copies of 1 */
	assert_content(fd, 2);
	damage(fd, (s.next ^ 1) * STORE_SLOT + 40);
	assert_content(fd, 1);
	close(fd);
}

/* After a restart the newest slot is the last one that may be written over. */
static void
restart_then_write(void **state)
{
	uint8_t content[STORE_CONTENT];
	struct store s;
	size_t len;

	(void)state;
	for (uint8_t writes = 1; writes < 4; writes++) {
		int fd = temp_file();

		assert_int_equal(store_open(&s, fd, content, &len), STORE_FRESH);
		for (uint8_t n = 1; n <= writes; n++)
			write_content(&s, n);
		assert_int_equal(store_open(&s, fd, content, &len), STORE_OK);
		write_content(&s, 9);
		assert_content(fd, 9);
		damage(fd, !s.next * STORE_SLOT + 40); /* the write was cut off */
		assert_content(fd, writes);
		close(fd);
	}
}

static void
both_damaged_is_told(void **state)
{
	uint8_t content[STORE_CONTENT];
	struct store s;
	size_t len;
	int fd = temp_file();

	(void)state;
	assert_int_equal(store_open(&s, fd, content, &len), STORE_FRESH);
	write_content(&s, 1);
	write_content(&s, 2);
	damage(fd, 30);
	damage(fd, STORE_SLOT + 30);
	assert_int_equal(store_open(&s, fd, content, &len), STORE_CORRUPT);
	close(fd);
	fd = open("/dev/null", O_WRONLY);
	assert_int_equal(store_open(&s, fd, content, &len), STORE_IO);
	close(fd);
}

static void
append_to(struct ledger *l, enum ledger_ring ring, uint64_t n)
{
	static struct ledger_record r;

	memset(&r, 0, sizeof(r));
	r.boot = 7;
	r.at_ms = (int64_t)n;
	r.wall_ms = -1;
	r.len = 8;
	memcpy(r.content, &n, sizeof(n));
	assert_int_equal(ledger_append(l, ring, &r), 0);
	assert_int_equal(r.sequence, n);
}

static void
append(struct ledger *l, uint64_t n)
{
	append_to(l, LEDGER_DECISIONS, n);
}

static void
assert_record(const struct ledger *l, uint64_t n)
{
	static struct ledger_record r;
	uint64_t got;

	assert_int_equal(ledger_read(l, n, &r), 0);
	memcpy(&got, r.content, sizeof(got));
	assert_int_equal(got, n);
	assert_int_equal(r.len, 8);
	assert_int_equal(r.boot, 7);
	assert_int_equal(r.at_ms, n);
	assert_int_equal(r.wall_ms, -1);
}

static void
ledger_is_a_ring(void **state)
{
	static struct ledger_record r;
	static struct ledger l;
	int fd = temp_file();

	(void)state;
	assert_int_equal(ledger_open(&l, fd), STORE_OK);
	assert_int_equal(lseek(fd, 0, SEEK_END), (off_t)2 * LEDGER_RECORDS * LEDGER_RECORD);
	assert_int_equal(ledger_after(&l, 0), 0);
	assert_int_equal(ledger_read(&l, 1, &r), -1);
	assert_int_equal(ledger_read(&l, 0, &r), -1);
	for (uint64_t n = 1; n <= 10; n++)
		append(&l, n);
	assert_int_equal(ledger_open(&l, fd), STORE_OK); /* a restart */
	assert_int_equal(l.newest, 10);
	assert_record(&l, 1);
	assert_record(&l, 10);
	for (uint64_t n = 11; n <= LEDGER_RECORDS + 5; n++)
		append(&l, n);
	assert_int_equal(ledger_open(&l, fd), STORE_OK);
	assert_int_equal(l.newest, LEDGER_RECORDS + 5);
	assert_int_equal(ledger_after(&l, 0), 6);
	assert_int_equal(ledger_before(&l, 6), 0);
	assert_int_equal(ledger_read(&l, 5, &r), -1);
	assert_record(&l, 6);
	assert_record(&l, LEDGER_RECORDS + 5);
	assert_int_equal(ledger_read(&l, LEDGER_RECORDS + 6, &r), -1);
	assert_int_equal(lseek(fd, 0, SEEK_END), (off_t)2 * LEDGER_RECORDS * LEDGER_RECORD);
	close(fd);
}

/* Any number of actions leaves the decisions where they are, in one order with them. */
static void
ledger_actions_are_apart(void **state)
{
	static struct ledger l;
	const uint64_t last = 3 * LEDGER_RECORDS;
	int fd = temp_file();

	(void)state;
	assert_int_equal(ledger_open(&l, fd), STORE_OK);
	append(&l, 1);
	append_to(&l, LEDGER_ACTIONS, 2);
	append(&l, 3);
	assert_int_equal(ledger_after(&l, 1), 2);
	for (uint64_t n = 4; n <= last; n++)
		append_to(&l, LEDGER_ACTIONS, n);
	append(&l, last + 1);
	for (int again = 0; again < 2; again++) {
		assert_record(&l, 1);
		assert_record(&l, 3);
		assert_record(&l, last);
		assert_record(&l, last + 1);
		assert_int_equal(l.newest, last + 1);
		assert_int_equal(ledger_after(&l, 0), 1);
		assert_int_equal(ledger_after(&l, 1), 3);
		assert_int_equal(ledger_after(&l, 3), last - LEDGER_RECORDS + 1);
		assert_int_equal(ledger_before(&l, last - LEDGER_RECORDS + 1), 3);
		assert_int_equal(ledger_before(&l, last + 2), last + 1);
		assert_int_equal(ledger_after(&l, last + 1), 0);
		assert_int_equal(ledger_open(&l, fd), STORE_OK);
	}
	/* both go on behind their newest */
	append_to(&l, LEDGER_ACTIONS, last + 2);
	append(&l, last + 3);
	assert_record(&l, 1);
	assert_record(&l, last + 1);
	assert_int_equal(ledger_after(&l, 3), last - LEDGER_RECORDS + 2);
	close(fd);
}

/* One of before, with decisions only. */
static void
ledger_grows(void **state)
{
	static struct ledger l;
	int fd = temp_file();

	(void)state;
	assert_int_equal(ledger_open(&l, fd), STORE_OK);
	for (uint64_t n = 1; n <= LEDGER_RECORDS + 2; n++)
		append(&l, n);
	assert_int_equal(ftruncate(fd, (off_t)LEDGER_RECORDS * LEDGER_RECORD), 0);
	assert_int_equal(ledger_open(&l, fd), STORE_OK);
	append_to(&l, LEDGER_ACTIONS, LEDGER_RECORDS + 3);
	append(&l, LEDGER_RECORDS + 4);
	assert_int_equal(ledger_after(&l, 0), 4);
	assert_record(&l, 4);
	assert_record(&l, LEDGER_RECORDS + 3);
	close(fd);
}

static void
ledger_damage_is_one_record(void **state)
{
	static struct ledger_record r;
	static struct ledger l;
	int fd = temp_file();

	(void)state;
	assert_int_equal(ledger_open(&l, fd), STORE_OK);
	for (uint64_t n = 1; n <= 5; n++)
		append(&l, n);
	damage(fd, 2 * LEDGER_RECORD + 36);
	damage(fd, 4 * LEDGER_RECORD + 1000);
	assert_int_equal(ledger_open(&l, fd), STORE_OK);
	assert_int_equal(l.newest, 4);
	assert_int_equal(ledger_read(&l, 3, &r), -1);
	assert_record(&l, 4);
	append(&l, 5);
	assert_record(&l, 5);
	r.len = LEDGER_CONTENT + 1;
	assert_int_equal(ledger_append(&l, LEDGER_DECISIONS, &r), -1);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(durable_means_on_disk),
	    cmocka_unit_test(state_survives),
	    cmocka_unit_test(one_slot_is_enough),
	    cmocka_unit_test(mirror_then_write),
	    cmocka_unit_test(restart_then_write),
	    cmocka_unit_test(both_damaged_is_told),
	    cmocka_unit_test(ledger_is_a_ring),
	    cmocka_unit_test(ledger_actions_are_apart),
	    cmocka_unit_test(ledger_grows),
	    cmocka_unit_test(ledger_damage_is_one_record),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
