/* SPDX-License-Identifier: ISC */
/*
 * The bytes that roled takes from outside and from its files. The first byte of the input chooses:
 * a status record of a partner, the role state, a ledger entry. What decodes must encode to the
 * same bytes again.
 */
#include "config.h"

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "roled/roled.h"

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	struct status_record r = {.kind = RECORD_STATUS,
	    .boot_id = 1,
	    .seq = 1,
	    .main_age_ms = -1,
	    .in_sync_age_ms = -1,
	    .heard_age_ms = -1,
	    .main_heard_age_ms = -1};

	if (size < 1 + STATUS_SIZE)
		return 0;
	out[0] = 0;
	status_encode(out + 1, &r);
	return 1 + STATUS_SIZE;
}

static void
try_status(const uint8_t *data, size_t size)
{
	uint8_t again[STATUS_SIZE];
	struct status_record r;

	if (status_decode(data, size, &r) != STATUS_RECORD)
		return;
	status_encode(again, &r);
	if (size != STATUS_SIZE || memcmp(again, data, size) != 0)
		abort();
}

static void
try_persisted(const uint8_t *data, size_t size)
{
	uint8_t again[STORE_CONTENT];
	struct machine_persisted p;

	if (size > STORE_CONTENT || persisted_decode(data, size, &p) != 0)
		return;
	if (persisted_encode(again, &p) != size || memcmp(again, data, size) != 0)
		abort();
}

static void
try_entry(const uint8_t *data, size_t size)
{
	uint8_t again[LEDGER_CONTENT];
	static struct entry e;

	if (size > LEDGER_CONTENT || entry_decode(data, size, &e) != 0)
		return;
	if (entry_encode(again, &e) != size || memcmp(again, data, size) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0] % 3) {
	case 0:
		try_status(data + 1, size - 1);
		break;
	case 1:
		try_persisted(data + 1, size - 1);
		break;
	default:
		try_entry(data + 1, size - 1);
		break;
	}
	return 0;
}
