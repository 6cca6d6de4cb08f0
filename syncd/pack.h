/* SPDX-License-Identifier: ISC */
/*
 * Compression of one direction of a link: the stream of frames becomes one zstd stream with a
 * window of 1 << PACK_WINDOW_LOG bytes, cut into records. What went in is flushed, so that the
 * other end has all of it at once; what one record holds is at most PACK_GROUP bytes of frames, so
 * that a small record cannot become an endless one. Pure, but for memory: all of it is taken by the
 * two _new functions, because zstd would take it at the first byte.
 */
#ifndef BH_SYNCD_PACK_H
#define BH_SYNCD_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "change.h"

enum {
	PACK_ZSTD = 1, /* on the wire: how */
	PACK_WINDOW_LOG = 20,
	PACK_WINDOW = 1 << PACK_WINDOW_LOG,
	PACK_GROUP = 1 << 20,
};

struct packer;
struct unpacker;

/* NULL without memory. Freed with _free, NULL too. */
struct packer *packer_new(void);
void packer_free(struct packer *p);
struct unpacker *unpacker_new(void);
void unpacker_free(struct unpacker *u);

/*
 * The next record, of at most size bytes: takes up to n bytes of frames (*used of them) and flushes
 * them, or goes on with what did not fit. Returns its length, 0 when there is nothing to send, -1
 * when zstd fails.
 */
long pack(struct packer *p, const uint8_t *in, size_t n, size_t *used, uint8_t *out, size_t size);
/* More is to come of what pack() took already. */
int pack_waits(const struct packer *p);

/* A record came; in stays the caller's until it is done with. */
void unpack_begin(struct unpacker *u, const uint8_t *in, size_t n);
/*
 * The next piece of what it holds, good until the next call: 1; 0 at its end; -1 when it is no part
 * of such a stream, wants a larger window, ends the stream, or holds more than PACK_GROUP bytes.
 */
int unpack(struct unpacker *u, struct slice *piece);

#endif
