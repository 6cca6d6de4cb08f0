/* SPDX-License-Identifier: ISC */
/*
 * Divergence bundles: what this server did as main and main now does not have. A text file in the
 * store folder, bundle-EPOCH-INDEX.redis: comment lines with #, then one line per operation, a
 * Redis command in the quoting of redis-cli, so that an admin can read it and feed it to redis-cli.
 */
#ifndef BH_SYNCD_BUNDLE_H
#define BH_SYNCD_BUNDLE_H

#include <stdbool.h>

#include "store.h"

enum { BUNDLES_KEPT = 64 };

/*
 * Saves the changes behind `from` (index 0: all of the log) up to its end, on disk when it returns.
 * doubtful: main may have some of them. What the log has lost already the file and the log say. No
 * bundle that is there is written over. Returns how many changes, 0 when there were none (no file
 * is made), or -1 with errno and a logged reason: EDQUOT when BUNDLES_KEPT or `bytes` of bundles
 * are there already, so that a main that lies cannot fill the disk.
 */
int64_t bundle_save(struct store *s, const struct position *from, bool doubtful, uint64_t bytes);

/*
 * How many are in the store folder, BUNDLES_KEPT at most; as of some seconds ago, but for those
 * that were saved since.
 */
unsigned bundle_count(int64_t now_ms);

#endif
