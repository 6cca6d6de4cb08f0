/* SPDX-License-Identifier: ISC */
/*
 * The status record as it travels in one sealed record of a status link: fixed size, little endian,
 * no padding. Pure. doc/protocol.md has the same table in words.
 *
 *	0    1 version, now 1
 *	1    1 kind: enum record_kind, or STATUS_CLOSE
 *	2    1 role (enum machine_role)
 *	3    1 condition
 *	4    1 reason (enum rule)
 *	5    1 zero
 *	6    2 flags (enum record_flag)
 *	8    8 boot id            16   8 sequence           24   8 uptime, ms
 *	32   4 priority           36   4 id of main         40   4 id elected
 *	44   4 id of successor    48   8 epoch              56   8 highest epoch seen
 *	64   8 position: epoch    72   8 position: index    80   8 main since, ms
 *	88   8 in sync, ms ago    96   8 heard you, ms ago  104  8 heard main, ms ago
 *	112  8 pause left, ms     120 16 config digest      136  8 lease epoch
 *	144  8 lease sent, ms     152  8 grant epoch        160  8 grant echo, ms
 */
#ifndef BH_ROLED_STATUS_H
#define BH_ROLED_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include "machine.h"

enum {
	STATUS_VERSION = 1,
	STATUS_SIZE = 168,
	/*
	 * Kind of the last record of a connection that its sender closes for reasons of its own
	 * (replaced, silent, no longer configured): the end that follows says nothing about the
	 * sender. All fields after the kind are zero. Never given to the machine.
	 */
	STATUS_CLOSE = 128,
};

enum status_verdict { STATUS_BAD = -1, STATUS_RECORD, STATUS_CLOSING };

void status_encode(uint8_t out[STATUS_SIZE], const struct status_record *r);
void status_encode_close(uint8_t out[STATUS_SIZE]);

/* Anything but exactly such a record with every field in range is STATUS_BAD. */
enum status_verdict status_decode(const uint8_t *in, size_t len, struct status_record *r);

#endif
