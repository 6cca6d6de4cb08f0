/* SPDX-License-Identifier: ISC */
/*
 * The role state file and the ledger file.
 */
#include "config.h"

#include "store.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

static const uint8_t magic[8] = {'B', 'H', 'S', 'T', 'A', 'T', 'E', '1'};

static void
put_le(uint8_t *p, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t
get_le(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

/* Check value of a block of size bytes, at its end. */
static void
seal_block(uint8_t *block, size_t size)
{
	crypto_generichash(
	    block + size - STORE_CHECK, STORE_CHECK, block, size - STORE_CHECK, NULL, 0);
}

static int
block_is_valid(const uint8_t *block, size_t size)
{
	uint8_t check[STORE_CHECK];

	crypto_generichash(check, sizeof(check), block, size - STORE_CHECK, NULL, 0);
	return memcmp(check, block + size - STORE_CHECK, STORE_CHECK) == 0;
}

/* Whole blocks or an error: a short transfer on a file is one. */
static int
read_at(int fd, uint8_t *p, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t r = pread(fd, p, n, (off_t)at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		if (r == 0) { /* past the end: as if never written */
			memset(p, 0, n);
			return 0;
		}
		p += r;
		at += (uint64_t)r;
		n -= (size_t)r;
	}
	return 0;
}

static int
write_at(int fd, const uint8_t *p, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t r = pwrite(fd, p, n, (off_t)at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		p += r;
		at += (uint64_t)r;
		n -= (size_t)r;
	}
	return 0;
}

static int
slot_is_valid(const uint8_t *slot)
{
	return memcmp(slot, magic, sizeof(magic)) == 0 && get_le(slot + 16, 2) <= STORE_CONTENT &&
	       get_le(slot + 8, 8) != 0 && block_is_valid(slot, STORE_SLOT);
}

enum store_result
store_open(struct store *s, int fd, uint8_t content[STORE_CONTENT], size_t *len)
{
	uint8_t file[2 * STORE_SLOT];
	int valid[2], newest;

	memset(s, 0, sizeof(*s));
	s->fd = fd;
	*len = 0;
	if (read_at(fd, file, sizeof(file), 0) != 0)
		return STORE_IO;
	if (sodium_is_zero(file, sizeof(file)))
		return STORE_FRESH;
	for (int i = 0; i < 2; i++)
		valid[i] = slot_is_valid(file + i * STORE_SLOT);
	if (!valid[0] && !valid[1])
		return STORE_CORRUPT;
	newest = valid[1] && (!valid[0] || get_le(file + STORE_SLOT + 8, 8) > get_le(file + 8, 8));
	memcpy(s->slot, file + newest * STORE_SLOT, STORE_SLOT);
	s->sequence = get_le(s->slot + 8, 8);
	s->next = (uint8_t)!newest;
	s->mirror = 1;
	*len = (size_t)get_le(s->slot + 16, 2);
	memcpy(content, s->slot + STORE_HEADER, *len);
	return STORE_OK;
}

int
store_write(struct store *s, const uint8_t *content, size_t len, int durable)
{
	uint8_t slot[STORE_SLOT] = {0};

	if (len > STORE_CONTENT) {
		errno = EINVAL;
		return -1;
	}
	memcpy(slot, magic, sizeof(magic));
	put_le(slot + 8, s->sequence + 1, 8);
	put_le(slot + 16, len, 2);
	memcpy(slot + STORE_HEADER, content, len);
	seal_block(slot, STORE_SLOT);
	if (write_at(s->fd, slot, STORE_SLOT, (uint64_t)s->next * STORE_SLOT) != 0 ||
	    (durable && fdatasync(s->fd) != 0))
		return -1;
	memcpy(s->slot, slot, STORE_SLOT);
	s->sequence++;
	s->next = !s->next;
	s->mirror = 1;
	return 0;
}

void
store_mirror(struct store *s)
{
	if (!s->mirror)
		return;
	s->mirror = 0;
	(void)write_at(s->fd, s->slot, STORE_SLOT, (uint64_t)s->next * STORE_SLOT);
}

/* Where a place of a ring is in the file. */
static uint64_t
ledger_offset(unsigned ring, uint32_t place)
{
	return ((uint64_t)ring * LEDGER_RECORDS + place) * LEDGER_RECORD;
}

/* What is in a ring. 0, or -1: it cannot be read. */
static int
read_ring(struct ledger *l, unsigned ring)
{
	static uint8_t block[64 * LEDGER_RECORD]; /* 64 KiB: not on the stack */
	uint64_t newest = 0;

	for (uint32_t place = 0; place < LEDGER_RECORDS; place++) {
		const uint8_t *record = block + place % 64 * LEDGER_RECORD;
		uint64_t sequence;

		if (place % 64 == 0 &&
		    read_at(l->fd, block, sizeof(block), ledger_offset(ring, place)) != 0)
			return -1;
		sequence = get_le(record, 8);
		if (sequence == 0 || !block_is_valid(record, LEDGER_RECORD))
			continue;
		l->ring[ring].sequence[place] = sequence;
		if (sequence > newest) {
			newest = sequence;
			l->ring[ring].next = (place + 1) % LEDGER_RECORDS;
		}
	}
	if (newest > l->newest)
		l->newest = newest;
	return 0;
}

enum store_result
ledger_open(struct ledger *l, int fd)
{
	static const uint8_t empty[LEDGER_RECORD];
	const uint64_t size = ledger_offset(LEDGER_RINGS, 0);
	off_t end = lseek(fd, 0, SEEK_END);

	memset(l, 0, sizeof(*l));
	l->fd = fd;
	if (end < 0)
		return STORE_IO;
	for (uint64_t at = (uint64_t)end / LEDGER_RECORD * LEDGER_RECORD; at < size;
	     at += LEDGER_RECORD) {
		if (write_at(fd, empty, LEDGER_RECORD, at) != 0)
			return STORE_IO;
	}
	for (unsigned ring = 0; ring < LEDGER_RINGS; ring++) {
		if (read_ring(l, ring) != 0)
			return STORE_IO;
	}
	return STORE_OK;
}

int
ledger_append(struct ledger *l, enum ledger_ring ring, struct ledger_record *r)
{
	uint8_t block[LEDGER_RECORD] = {0};
	uint32_t place = l->ring[ring].next;

	if (r->len > LEDGER_CONTENT)
		return -1;
	r->sequence = l->newest + 1;
	put_le(block, r->sequence, 8);
	put_le(block + 8, r->boot, 8);
	put_le(block + 16, (uint64_t)r->at_ms, 8);
	put_le(block + 24, (uint64_t)r->wall_ms, 8);
	put_le(block + 32, r->len, 2);
	memcpy(block + LEDGER_HEADER, r->content, r->len);
	seal_block(block, LEDGER_RECORD);
	l->newest++; /* a failed write leaves a gap, never a second record of this number */
	l->ring[ring].next = (place + 1) % LEDGER_RECORDS;
	l->ring[ring].sequence[place] = 0;
	if (write_at(l->fd, block, LEDGER_RECORD, ledger_offset(ring, place)) != 0) {
		l->failed++;
		return -1;
	}
	l->ring[ring].sequence[place] = r->sequence;
	return 0;
}

int
ledger_read(const struct ledger *l, uint64_t sequence, struct ledger_record *r)
{
	uint8_t block[LEDGER_RECORD];
	uint32_t at = 0;

	while (at < LEDGER_RINGS * LEDGER_RECORDS &&
	       l->ring[at / LEDGER_RECORDS].sequence[at % LEDGER_RECORDS] != sequence)
		at++;
	if (sequence == 0 || at == LEDGER_RINGS * LEDGER_RECORDS ||
	    read_at(l->fd, block, sizeof(block), ledger_offset(0, at)) != 0)
		return -1;
	if (get_le(block, 8) != sequence || !block_is_valid(block, sizeof(block)) ||
	    get_le(block + 32, 2) > LEDGER_CONTENT)
		return -1;
	r->sequence = sequence;
	r->boot = get_le(block + 8, 8);
	r->at_ms = (int64_t)get_le(block + 16, 8);
	r->wall_ms = (int64_t)get_le(block + 24, 8);
	r->len = (size_t)get_le(block + 32, 2);
	memcpy(r->content, block + LEDGER_HEADER, r->len);
	return 0;
}

uint64_t
ledger_before(const struct ledger *l, uint64_t sequence)
{
	uint64_t found = 0;

	for (unsigned ring = 0; ring < LEDGER_RINGS; ring++) {
		for (uint32_t place = 0; place < LEDGER_RECORDS; place++) {
			uint64_t n = l->ring[ring].sequence[place];

			if (n < sequence && n > found)
				found = n;
		}
	}
	return found;
}

uint64_t
ledger_after(const struct ledger *l, uint64_t sequence)
{
	uint64_t found = 0;

	for (unsigned ring = 0; ring < LEDGER_RINGS; ring++) {
		for (uint32_t place = 0; place < LEDGER_RECORDS; place++) {
			uint64_t n = l->ring[ring].sequence[place];

			if (n > sequence && (found == 0 || n < found))
				found = n;
		}
	}
	return found;
}
