/* SPDX-License-Identifier: ISC */
/*
 * Divergence bundles: what this server did as main and main now does not have. A text file in the
 * store folder, bundle-EPOCH-INDEX.redis: comment lines with #, then one line per operation, a Redis
 * command in the quoting of redis-cli, so that an admin can read it and feed it to redis-cli.
 */
#ifndef BH_SYNCD_BUNDLE_H
#define BH_SYNCD_BUNDLE_H

#include "store.h"

/*
 * Saves the changes behind `from` up to the end of the log, on disk when it returns. Returns how many,
 * 0 when there were none (no file is made), or -1 with errno and a logged reason.
 */
int64_t bundle_save(struct store *s, const struct position *from);

#endif
