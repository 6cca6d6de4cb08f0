/* SPDX-License-Identifier: ISC */
/*
 * What roled keeps across restarts, in two files that the supervisor opens for it.
 *
 * Role state (FD_STATE): two slots of 512 bytes; the valid one with the higher sequence counts.
 *	0   8  "BHSTATE1"
 *	8   8  sequence, from 1
 *	16  2  length of the content
 *	18     content, zero up to 496
 *	496 16 BLAKE2b-128 of bytes 0..495
 *
 * Ledger (FD_LEDGER): two preallocated rings of records of 1024 bytes, one behind the other: what
 * happened and was decided, and actions of local programs, so that these never push out those. Both
 * count with one sequence.
 *	0   8  sequence, from 1; 0: never written
 *	8   8  boot id of the roled that wrote it
 *	16  8  boottime, ms
 *	24  8  wall clock, ms since 1970, for display only
 *	32  2  length of the content
 *	34     content, zero up to 1008
 *	1008 16 BLAKE2b-128 of bytes 0..1007
 */
#ifndef BH_ROLED_STORE_H
#define BH_ROLED_STORE_H

#include <stddef.h>
#include <stdint.h>

enum {
	STORE_SLOT = 512,
	STORE_HEADER = 18,
	STORE_CHECK = 16,
	STORE_CONTENT = STORE_SLOT - STORE_HEADER - STORE_CHECK, /* 478 */

	LEDGER_RECORD = 1024,
	LEDGER_RECORDS = 4096, /* of each ring */
	LEDGER_HEADER = 34,
	LEDGER_CONTENT = LEDGER_RECORD - LEDGER_HEADER - STORE_CHECK, /* 974 */
};

enum store_result {
	STORE_OK,
	STORE_FRESH,   /* never written: a new server */
	STORE_CORRUPT, /* something is there, and neither slot is valid */
	STORE_IO,      /* cannot be read or written; errno */
};

struct store {
	int fd;
	uint64_t sequence;	  /* of the newest slot */
	uint8_t next;		  /* slot to write next: the older one */
	uint8_t mirror;		  /* the other slot does not have the newest content yet */
	uint8_t slot[STORE_SLOT]; /* as last written */
};

/* Read the state file. *len gets the length of the content (0 when fresh). */
enum store_result store_open(struct store *s, int fd, uint8_t content[STORE_CONTENT], size_t *len);

/*
 * Write content into the older slot: 0, or -1 with errno and the older content still valid.
 * durable: wait until it is on disk; nothing that depends on it may be done before.
 */
int store_write(struct store *s, const uint8_t *content, size_t len, int durable);

/*
 * Afterwards, when there is time: the same into the other slot (not waited for), so that one
 * damaged slot does not bring back an older state.
 */
void store_mirror(struct store *s);

enum ledger_ring { LEDGER_DECISIONS, LEDGER_ACTIONS, LEDGER_RINGS };

struct ledger {
	int fd;
	uint64_t newest; /* sequence of the last record; 0: none */
	uint64_t failed; /* writes that failed since the start */
	struct {
		uint64_t sequence[LEDGER_RECORDS]; /* of the record at each place; 0: none */
		uint32_t next;			   /* place of the next one: the oldest */
	} ring[LEDGER_RINGS];
};

struct ledger_record {
	uint64_t sequence, boot;
	int64_t at_ms, wall_ms;
	size_t len;
	uint8_t content[LEDGER_CONTENT];
};

/* Find the newest record; make the file full-size when it is shorter. STORE_OK or STORE_IO. */
enum store_result ledger_open(struct ledger *l, int fd);

/* Append: sequence is set. Not waited for: the page cache survives the end of any process. */
int ledger_append(struct ledger *l, enum ledger_ring ring, struct ledger_record *r);

/* Read the record of a sequence: 0, or -1 when it is overwritten, damaged or not there. */
int ledger_read(const struct ledger *l, uint64_t sequence, struct ledger_record *r);

/* The next lower, or higher, sequence that is there; 0 when there is none. */
uint64_t ledger_before(const struct ledger *l, uint64_t sequence);
uint64_t ledger_after(const struct ledger *l, uint64_t sequence);

#endif
