/* SPDX-License-Identifier: ISC */
/*
 * zstd as links use it.
 */
#include "config.h"

#include "pack.h"

#include <stdlib.h>
#include <zstd.h>

enum {
	LEVEL = 1,	    /* main compresses for every partner in its one thread */
	PIECE = 128 * 1024, /* a block of zstd */
};

struct packer {
	ZSTD_CCtx *context;
	size_t group; /* bytes of frames since the last whole flush */
	int waits;
};

struct unpacker {
	ZSTD_DCtx *context;
	ZSTD_inBuffer in;
	size_t group; /* bytes of frames that this record has given */
	uint8_t full; /* the last piece was: there may be more of it */
	uint8_t piece[PIECE];
};

/* The contexts get their memory with the first bytes: here, not when the link is busy. */
static int
warm_up_packer(struct packer *p)
{
	uint8_t out[64];
	size_t used;

	return pack(p, (const uint8_t *)"", 0, &used, out, sizeof(out)) == 0 ? 0 : -1;
}

struct packer *
packer_new(void)
{
	struct packer *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->context = ZSTD_createCCtx();
	if (p->context != NULL &&
	    !ZSTD_isError(ZSTD_CCtx_setParameter(p->context, ZSTD_c_compressionLevel, LEVEL)) &&
	    !ZSTD_isError(ZSTD_CCtx_setParameter(p->context, ZSTD_c_windowLog, PACK_WINDOW_LOG)) &&
	    warm_up_packer(p) == 0)
		return p;
	packer_free(p);
	return NULL;
}

void
packer_free(struct packer *p)
{
	if (p != NULL)
		ZSTD_freeCCtx(p->context);
	free(p);
}

long
pack(struct packer *p, const uint8_t *in, size_t n, size_t *used, uint8_t *out, size_t size)
{
	ZSTD_inBuffer from = {in, n, 0};
	ZSTD_outBuffer to = {out, size, 0};
	size_t r;

	if (from.size > PACK_GROUP - p->group)
		from.size = PACK_GROUP - p->group;
	r = ZSTD_compressStream2(p->context, &to, &from, ZSTD_e_flush);
	*used = from.pos;
	if (ZSTD_isError(r))
		return -1;
	p->waits = r != 0;
	p->group = p->waits ? p->group + from.pos : 0;
	return (long)to.pos;
}

int
pack_waits(const struct packer *p)
{
	return p->waits;
}

/* RFC 8878, 3.1.1: the header of a frame with our window is what the buffers are made for. */
static int
warm_up_unpacker(struct unpacker *u)
{
	static const uint8_t header[] = {0x28, 0xb5, 0x2f, 0xfd, 0, (PACK_WINDOW_LOG - 10) << 3};
	struct slice none;

	unpack_begin(u, header, sizeof(header));
	return unpack(u, &none) == 0 &&
		       !ZSTD_isError(ZSTD_DCtx_reset(u->context, ZSTD_reset_session_only))
		   ? 0
		   : -1;
}

struct unpacker *
unpacker_new(void)
{
	struct unpacker *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return NULL;
	u->context = ZSTD_createDCtx();
	if (u->context != NULL &&
	    !ZSTD_isError(
		ZSTD_DCtx_setParameter(u->context, ZSTD_d_windowLogMax, PACK_WINDOW_LOG)) &&
	    warm_up_unpacker(u) == 0)
		return u;
	unpacker_free(u);
	return NULL;
}

void
unpacker_free(struct unpacker *u)
{
	if (u != NULL)
		ZSTD_freeDCtx(u->context);
	free(u);
}

void
unpack_begin(struct unpacker *u, const uint8_t *in, size_t n)
{
	u->in = (ZSTD_inBuffer){in, n, 0};
	u->group = 0;
	u->full = 0;
}

int
unpack(struct unpacker *u, struct slice *piece)
{
	while (u->in.pos < u->in.size || u->full) {
		ZSTD_outBuffer to = {u->piece, sizeof(u->piece), 0};
		size_t r = ZSTD_decompressStream(u->context, &to, &u->in);

		/* 0: the stream is at its end, and ours has none */
		if (ZSTD_isError(r) || r == 0 || to.pos > PACK_GROUP - u->group)
			return -1;
		u->group += to.pos;
		u->full = to.pos == to.size;
		if (to.pos == 0)
			continue;
		piece->data = u->piece;
		piece->len = to.pos;
		return 1;
	}
	return 0;
}
