/* SPDX-License-Identifier: ISC */
/*
 * The file that bulkheadctl snapshot makes: a copy of the replicated data at one position. Pure: no
 * I/O. syncd writes and applies it, bulkheadctl checks it without looking into the records.
 *
 * All numbers little endian. Head: "BULKSNAP", u32 version, u32 zero, 16 bytes id of the group's
 * data, u64 epoch, u64 index, u64 keys, i64 wall clock (Unix ms), 64 bytes name of the group, 64
 * bytes name of the server, both filled up with zeros. Then records: u32 kind, u32 length, so many
 * bytes. Kind 1: operations that build the data on an empty store, in the form of syncd/change.h.
 * Kind 2, the last: u64 number of operations in all records, 32 bytes BLAKE2b of every byte before
 * them. Nothing follows.
 *
 * The checksum is against damage. Who can write the file can make one that fits: it is as secret,
 * and to be guarded as well, as the data.
 */
#ifndef BH_LIB_SNAPSHOT_H
#define BH_LIB_SNAPSHOT_H

#include <sodium.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SNAPSHOT_VERSION = 1,
	SNAPSHOT_ID = 16,
	SNAPSHOT_NAME = 64,
	SNAPSHOT_HEAD = 16 + SNAPSHOT_ID + 32 + 2 * SNAPSHOT_NAME,
	SNAPSHOT_RECORD = 8, /* in front of each record */
	SNAPSHOT_SUM = 32,
	SNAPSHOT_END = SNAPSHOT_RECORD + 8 + SNAPSHOT_SUM,
	SNAPSHOT_ITEMS_MAX = 0x7fffff00, /* bytes of a record, as of a change */
};

struct snapshot_head {
	uint8_t id[SNAPSHOT_ID];
	uint64_t epoch, index, keys;
	int64_t saved_ms; /* wall clock, for display only */
	char group[SNAPSHOT_NAME], server[SNAPSHOT_NAME];
};

/* Writing: the bytes that each call makes go out in order, behind each record head its items. */
struct snapshot_writer {
	crypto_generichash_state sum;
	uint64_t operations;
};
void snapshot_begin(
    struct snapshot_writer *w, const struct snapshot_head *h, uint8_t out[SNAPSHOT_HEAD]);
void snapshot_items(struct snapshot_writer *w, const uint8_t *items, size_t len,
    uint64_t operations, uint8_t out[SNAPSHOT_RECORD]);
void snapshot_end(struct snapshot_writer *w, uint8_t out[SNAPSHOT_END]);

/* Reading, piece by piece as the bytes come. */
enum snapshot_part {
	SNAPSHOT_MORE,
	SNAPSHOT_GOT_HEAD,
	SNAPSHOT_GOT_ITEMS,
	SNAPSHOT_GOT_END,
	SNAPSHOT_BAD
};
struct snapshot_reader {
	struct snapshot_head head;
	uint64_t operations; /* that the end speaks of; the reader of the items compares */
	const char *error;   /* SNAPSHOT_BAD: what is wrong */
	/* SNAPSHOT_MORE: bytes that the next part has, as far as it is known */
	size_t need;
	const uint8_t *items; /* SNAPSHOT_GOT_ITEMS: in data, good as long as that is */
	size_t items_len;
	enum { SNAPSHOT_AT_HEAD, SNAPSHOT_AT_RECORD, SNAPSHOT_AT_END } state;
	crypto_generichash_state sum;
};
void snapshot_reader_init(struct snapshot_reader *r);
/*
 * The next part of what begins at data; *used bytes are done with. After SNAPSHOT_GOT_END the sum
 * was right, and any byte more is SNAPSHOT_BAD; so is everything after that.
 */
enum snapshot_part snapshot_read(
    struct snapshot_reader *r, const uint8_t *data, size_t len, size_t *used);

#endif
