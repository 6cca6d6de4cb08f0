/* SPDX-License-Identifier: ISC */
/*
 * Everything that comes before a link is up: a hello as netd judges it, then inside it Noise
 * message 1 as a responder takes it, and the same bytes as message 2 for an initiator. The keys are
 * fixed.
 */
#include "fuzz.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hello.h"
#include "lib/noise.h"

static uint8_t secret_i[32], secret_r[32], public_i[32], public_r[32];
static struct hello_keys keys;

static void
make_keys(void)
{
	if (secret_i[0] != 0)
		return;
	memset(secret_i, 1, sizeof(secret_i));
	memset(secret_r, 2, sizeof(secret_r));
	crypto_scalarmult_base(public_i, secret_i);
	crypto_scalarmult_base(public_r, secret_r);
	hello_keys_init(&keys, public_r, public_i);
}

static enum noise_result
serve(struct noise *n, enum noise_result r, const uint8_t secret[32])
{
	while (r == NOISE_NEED_DH) {
		uint8_t shared[32];

		r = noise_dh(
		    n, crypto_scalarmult(shared, secret, n->dh_public) == 0 ? shared : NULL);
	}
	return r;
}

/* An initiator with message 1 written. */
static void
dial(struct noise *n)
{
	static const uint8_t payload[HELLO_PAYLOAD] = {1};

	noise_init(n, NOISE_INITIATOR, "p", 1, public_i, public_r);
	noise_set_ephemeral(n, secret_r);
	if (serve(n, noise_write(n, payload, sizeof(payload)), secret_i) != NOISE_OK)
		abort();
}

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	struct noise n;

	(void)size;
	make_keys();
	dial(&n);
	hello_encode(out, LINK_STATUS, n.out, &keys);
	return HELLO_SIZE;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum link_kind kind = LINK_KIND_MAX;
	struct hello_payload p;
	uint8_t hello[HELLO_SIZE];
	struct noise n;

	make_keys();
	(void)hello_plausible(data, size < HELLO_SIZE ? size : HELLO_SIZE);
	if (size >= HELLO_SIZE && hello_verify(data, &keys, &kind) == HELLO_OK &&
	    (kind < LINK_STATUS || kind >= LINK_KIND_MAX))
		abort();

	/* with a right tag the inside is reached whatever it is */
	memset(hello, 0, sizeof(hello));
	memcpy(hello, data, size < HELLO_SIZE ? size : HELLO_SIZE);
	noise_init(&n, NOISE_RESPONDER, "p", 1, public_r, NULL);
	if (serve(&n, noise_read(&n, hello_noise(hello), HELLO_NOISE), secret_r) == NOISE_OK) {
		/* only the owner of that key can have made it */
		if (memcmp(n.remote_static, public_i, 32) != 0 || n.out_len != HELLO_PAYLOAD)
			abort();
		hello_payload_decode(n.out, &p);
	}
	noise_init(&n, NOISE_RESPONDER, "p", 1, public_r, NULL);
	(void)serve(&n, noise_read(&n, data, size), secret_r);

	dial(&n);
	if (serve(&n, noise_read(&n, data, size), secret_i) == NOISE_OK)
		abort(); /* nobody has answered it */
	return 0;
}
