/* SPDX-License-Identifier: ISC */
/*
 * Divergence bundles: what this server did as main and main now does not have. A text file in the
 * store folder, bundle-EPOCH-INDEX.redis: comment lines with #, then one line per operation, a Redis
 * command in the quoting of redis-cli, so that an admin can read it and feed it to redis-cli.
 */
#ifndef BH_SYNCD_BUNDLE_H
#define BH_SYNCD_BUNDLE_H

#include "store.h"

enum { BUNDLES_KEPT = 64 };

/*
 * Saves the changes behind `from` up to the end of the log, on disk when it returns; no bundle that is
 * there is written over. Returns how many changes, 0 when there were none (no file is made), or -1 with
 * errno and a logged reason: EDQUOT when BUNDLES_KEPT or `bytes` of bundles are there already, so that a
 * main that lies cannot fill the disk.
 */
int64_t bundle_save(struct store *s, const struct position *from, uint64_t bytes);

#endif
