/* SPDX-License-Identifier: ISC */
/*
 * Transport records of a link after the handshake: u32 length of the ciphertext (little endian),
 * ciphertext (ChaCha20-Poly1305 with the counter nonce of Noise). Both sides replace a direction's
 * key by Noise's REKEY after every RECORD_REKEY records of it. Pure: bytes in, bytes out.
 */
#ifndef BH_LIB_RECORD_H
#define BH_LIB_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "noise.h"

enum {
	RECORD_HEADER = 4,
	RECORD_OVERHEAD = RECORD_HEADER + NOISE_TAG, /* bytes on the wire beyond the plaintext */
	RECORD_PLAIN_MAX = 65535 - NOISE_TAG,	     /* 65519 */
	RECORD_MAX = RECORD_HEADER + 65535,
	RECORD_REKEY = 1 << 16,
};

struct record {
	struct noise_cipher send, receive;
	size_t plain_max; /* a longer record closes the link: bound of the kind of link */
	uint64_t sent, received;
	uint8_t broken; /* a record failed; nothing more is opened or sealed */
};

/*
 * Start with the keys of a finished handshake (noise_split is called here; n is wiped). plain_max:
 * longest plaintext taken, at most RECORD_PLAIN_MAX. Returns 0, or -1 when the handshake is not
 * done.
 */
int record_init(struct record *r, struct noise *n, size_t plain_max);

/*
 * Seal one record into out. Returns its bytes on the wire (len + RECORD_OVERHEAD), or 0 when it is
 * longer than plain_max or than size allows, or the link is broken.
 */
size_t record_seal(struct record *r, const void *plain, size_t len, uint8_t *out, size_t size);

enum record_result {
	RECORD_BROKEN = -1, /* length out of range or forged: close the link */
	RECORD_MORE,	    /* not complete yet; *used is 0 */
	RECORD_OK,	    /* plain has *len bytes (may be 0); *used bytes of in are done with */
};

/*
 * Open the record at the start of in, n bytes of stream. plain has room for r->plain_max bytes. A
 * length out of range is refused when the header is complete, so the owner never needs to hold more
 * than RECORD_OVERHEAD + r->plain_max bytes.
 */
enum record_result record_open(
    struct record *r, const uint8_t *in, size_t n, size_t *used, uint8_t *plain, size_t *len);

/* Wipe the keys; nothing can be sealed or opened any more. */
void record_wipe(struct record *r);

#endif
