/* SPDX-License-Identifier: ISC */
/*
 * The handshake against public test vectors of its exact name, and everything that must be refused.
 *
 * One vector is written down here: that of cacophony
 * (https://github.com/haskell-cryptography/cacophony, vectors/cacophony.txt, public domain). Where
 * Debian's package golang-github-flynn-noise-dev is installed (or NOISE_VECTORS names its
 * vectors.txt), all vectors of that file are run too.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/noise.h"

#define FLYNN_VECTORS "/usr/share/gocode/src/github.com/flynn/noise/vectors.txt"
#define NAME "Noise_IK_25519_ChaChaPoly_BLAKE2b"

enum { MESSAGES_MAX = 8, BYTES_MAX = 1024 };

struct bytes {
	uint8_t b[BYTES_MAX];
	size_t n;
};

/* One published handshake with its transport messages; they alternate, initiator first. */
struct vector {
	struct bytes prologue, init_static, resp_static, init_ephemeral, resp_ephemeral, hash;
	struct bytes payload[MESSAGES_MAX], message[MESSAGES_MAX];
	size_t n;
};

/* One end with its static secret: what keyd is in the product. */
struct end {
	struct noise n;
	uint8_t secret[32], public[32];
	int asked; /* static DH steps */
	struct noise_cipher send, receive;
};

static void
from_hex(struct bytes *to, const char *hex)
{
	assert_int_equal(
	    sodium_hex2bin(to->b, sizeof(to->b), hex, strlen(hex), "\r\n", &to->n, NULL), 0);
}

static void
end_init(struct end *e, enum noise_role role, const uint8_t *secret, const void *prologue,
    size_t prologue_len, const uint8_t *remote)
{
	memset(e, 0, sizeof(*e));
	if (secret != NULL)
		memcpy(e->secret, secret, 32);
	else
		randombytes_buf(e->secret, 32);
	crypto_scalarmult_base(e->public, e->secret);
	assert_int_equal(noise_init(&e->n, role, prologue, prologue_len, e->public, remote), 0);
}

/* Answer static DH requests until the step is through. */
static enum noise_result
serve(struct end *e, enum noise_result r)
{
	while (r == NOISE_NEED_DH) {
		uint8_t shared[32];

		e->asked++;
		if (crypto_scalarmult(shared, e->secret, e->n.dh_public) != 0)
			r = noise_dh(&e->n, NULL);
		else
			r = noise_dh(&e->n, shared);
	}
	return r;
}

/* Write at one end, read at the other. */
static void
pass(struct end *from, struct end *to, const struct bytes *payload, const struct bytes *expected)
{
	struct bytes wire;

	assert_int_equal(serve(from, noise_write(&from->n, payload->b, payload->n)), NOISE_OK);
	wire.n = from->n.out_len;
	memcpy(wire.b, from->n.out, wire.n);
	if (expected != NULL) {
		assert_int_equal(wire.n, expected->n);
		assert_memory_equal(wire.b, expected->b, wire.n);
	}
	assert_int_equal(serve(to, noise_read(&to->n, wire.b, wire.n)), NOISE_OK);
	assert_int_equal(to->n.out_len, payload->n);
	assert_memory_equal(to->n.out, payload->b, payload->n);
}

static void
pass_transport(struct noise_cipher *send, struct noise_cipher *receive, const struct bytes *payload,
    const struct bytes *expected)
{
	uint8_t wire[BYTES_MAX], plain[BYTES_MAX];

	assert_int_equal(noise_encrypt(send, NULL, 0, payload->b, payload->n, wire), 0);
	assert_int_equal(payload->n + NOISE_TAG, expected->n);
	assert_memory_equal(wire, expected->b, expected->n);
	assert_int_equal(noise_decrypt(receive, NULL, 0, wire, expected->n, plain), 0);
	assert_memory_equal(plain, payload->b, payload->n);
}

static void
run_vector(const struct vector *v)
{
	static struct end i, r;

	end_init(&r, NOISE_RESPONDER, v->resp_static.b, v->prologue.b, v->prologue.n, NULL);
	end_init(&i, NOISE_INITIATOR, v->init_static.b, v->prologue.b, v->prologue.n, r.public);
	noise_set_ephemeral(&i.n, v->init_ephemeral.b);
	noise_set_ephemeral(&r.n, v->resp_ephemeral.b);

	pass(&i, &r, &v->payload[0], &v->message[0]);
	assert_memory_equal(r.n.remote_static, i.public, 32);
	pass(&r, &i, &v->payload[1], &v->message[1]);
	assert_int_equal(i.asked, 2);
	assert_int_equal(r.asked, 2);
	assert_memory_equal(i.n.hash, r.n.hash, NOISE_HASH);
	if (v->hash.n > 0) {
		assert_int_equal(v->hash.n, NOISE_HASH);
		assert_memory_equal(i.n.hash, v->hash.b, NOISE_HASH);
	}
	assert_int_equal(noise_split(&i.n, &i.send, &i.receive), 0);
	assert_int_equal(noise_split(&r.n, &r.send, &r.receive), 0);
	for (size_t m = 2; m < v->n; m++) {
		if (m % 2 == 0)
			pass_transport(&i.send, &r.receive, &v->payload[m], &v->message[m]);
		else
			pass_transport(&r.send, &i.receive, &v->payload[m], &v->message[m]);
	}
}

static void
test_vector_of_cacophony(void **state)
{
	static struct vector v;
	static const char *const messages[][2] = {
	    {"4c756477696720766f6e204d69736573",
		"ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944ba83a447b38c83e3"
		"27ad936929812f624884847b7831e95e197b2f797088efdd2f88f1db7e1fb0e99c64419097af91ce"
		"e64e470f4b6fcd9298ce0b56fe20f86e13bf70439c538e3602a7127af71a29cc"},
	    {"4d757272617920526f746862617264",
		"95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088439f069b267a06b3de"
		"3ecb1043bcb098e9af91d9c64748d998c7b47890871571"},
	    {"462e20412e20486179656b", "cd54383060e7a28434cca27fb1cc524cfbabeb18181589df219d07"},
	    {"4361726c204d656e676572", "a856d3bf0246bfc476c655009cd1ed677b8dcc5b349ae8ef2a05f2"},
	    {"4a65616e2d426170746973746520536179",
		"49063084b2c51f098337cb8a13739ac848f907e67cfb2cc8a8b60586467aa02fc7"},
	    {"457567656e2042f6686d20766f6e2042617765726b",
		"8b9709d23b47e4639df7678d7a21741eba4ef1e9c60383001c7435549c20f9d56f30e935d3"},
	};

	(void)state;
	from_hex(&v.prologue, "4a6f686e2047616c74");
	from_hex(
	    &v.init_static, "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1");
	from_hex(
	    &v.init_ephemeral, "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a");
	from_hex(
	    &v.resp_static, "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893");
	from_hex(
	    &v.resp_ephemeral, "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b");
	from_hex(&v.hash,
	    "1c8fa891cb414fedba6daa7c6f4ae0a6d98e5f9768cc9cecd27e805614943ee9c8a1b27fbfb76dc19725"
	    "5c8aa69f6b4285c423840b8bedf45e652ca64f797d81");
	v.n = sizeof(messages) / sizeof(messages[0]);
	for (size_t m = 0; m < v.n; m++) {
		from_hex(&v.payload[m], messages[m][0]);
		from_hex(&v.message[m], messages[m][1]);
	}
	run_vector(&v);
}

/* "key=value" of flynn's file into the vector. */
static void
flynn_line(struct vector *v, const char *key, const char *value)
{
	unsigned m;
	char what[16];

	if (strcmp(key, "prologue") == 0)
		from_hex(&v->prologue, value);
	else if (strcmp(key, "init_static") == 0)
		from_hex(&v->init_static, value);
	else if (strcmp(key, "resp_static") == 0)
		from_hex(&v->resp_static, value);
	else if (strcmp(key, "gen_init_ephemeral") == 0)
		from_hex(&v->init_ephemeral, value);
	else if (strcmp(key, "gen_resp_ephemeral") == 0)
		from_hex(&v->resp_ephemeral, value);
	else if (sscanf(key, "msg_%u_%15s", &m, what) == 2 && m < MESSAGES_MAX) {
		from_hex(strcmp(what, "payload") == 0 ? &v->payload[m] : &v->message[m], value);
		v->n = m + 1;
	}
}

static void
test_vectors_of_flynn(void **state)
{
	const char *path = getenv("NOISE_VECTORS");
	static struct vector v;
	char line[4096];
	int ours = 0, done = 0;
	FILE *f;

	(void)state;
	f = fopen(path != NULL ? path : FLYNN_VECTORS, "r");
	if (f == NULL)
		skip();
	while (fgets(line, sizeof(line), f) != NULL) {
		char *value = strchr(line, '=');

		if (value == NULL) { /* the blank line after a vector */
			if (ours) {
				run_vector(&v);
				done++;
			}
			ours = 0;
			continue;
		}
		*value++ = '\0';
		value[strcspn(value, "\r\n")] = '\0';
		if (strcmp(line, "handshake") == 0) {
			memset(&v, 0, sizeof(v));
			ours = strcmp(value, NAME) == 0;
		} else if (ours)
			flynn_line(&v, line, value);
	}
	fclose(f);
	assert_true(done > 0);
	print_message("%d vectors of " NAME "\n", done);
}

/* ---- what must be refused */

static const struct bytes hello = {.b = "hello", .n = 5};

static void
start_pair(struct end *i, struct end *r)
{
	end_init(r, NOISE_RESPONDER, NULL, "p", 1, NULL);
	end_init(i, NOISE_INITIATOR, NULL, "p", 1, r->public);
}

static int
is_wiped(const struct noise *n)
{
	return sodium_is_zero((const uint8_t *)n, sizeof(*n));
}

static void
test_every_changed_byte(void **state)
{
	static struct end i, r;
	static struct noise before;
	uint8_t wire[NOISE_BUFFER];
	size_t n;

	(void)state;
	for (int message = 0; message < 2; message++) {
		struct end *from = message == 0 ? &i : &r, *to = message == 0 ? &r : &i;

		start_pair(&i, &r);
		if (message == 1)
			pass(&i, &r, &hello, NULL);
		assert_int_equal(serve(from, noise_write(&from->n, "abc", 3)), NOISE_OK);
		n = from->n.out_len;
		memcpy(wire, from->n.out, n);
		before = to->n;
		for (size_t at = 0; at < n; at++) {
			to->n = before;
			wire[at] ^= 1;
			assert_int_equal(serve(to, noise_read(&to->n, wire, n)), NOISE_ERROR);
			assert_true(is_wiped(&to->n));
			wire[at] ^= 1;
		}
		for (size_t len = 0; len < n; len++) {
			to->n = before;
			assert_int_equal(serve(to, noise_read(&to->n, wire, len)), NOISE_ERROR);
		}
		to->n = before;
		assert_int_equal(serve(to, noise_read(&to->n, wire, n)), NOISE_OK);
	}
}

static void
test_prologue_and_keys_are_bound(void **state)
{
	static struct end i, r, other;

	(void)state;
	/* another prologue */
	end_init(&r, NOISE_RESPONDER, NULL, "p", 1, NULL);
	end_init(&i, NOISE_INITIATOR, NULL, "q", 1, r.public);
	assert_int_equal(serve(&i, noise_write(&i.n, "", 0)), NOISE_OK);
	assert_int_equal(serve(&r, noise_read(&r.n, i.n.out, i.n.out_len)), NOISE_ERROR);
	/* meant for another responder */
	start_pair(&i, &r);
	end_init(&other, NOISE_RESPONDER, NULL, "p", 1, NULL);
	assert_int_equal(serve(&i, noise_write(&i.n, "", 0)), NOISE_OK);
	assert_int_equal(serve(&other, noise_read(&other.n, i.n.out, i.n.out_len)), NOISE_ERROR);
	/* the initiator claims a static key that it does not have */
	start_pair(&i, &r);
	memcpy(i.n.static_public, other.public, 32);
	assert_int_equal(serve(&i, noise_write(&i.n, "", 0)), NOISE_OK);
	assert_int_equal(serve(&r, noise_read(&r.n, i.n.out, i.n.out_len)), NOISE_ERROR);
	/* a responder that does not have the key that it was dialled for */
	start_pair(&i, &r);
	pass(&i, &r, &hello, NULL);
	assert_int_equal(serve(&r, noise_write(&r.n, "", 0)), NOISE_OK);
	randombytes_buf(i.secret, 32);
	assert_int_equal(serve(&i, noise_read(&i.n, r.n.out, r.n.out_len)), NOISE_ERROR);
}

static void
test_low_order_points(void **state)
{
	/* order 1, 2 (zero), 8 and 8 of curve25519; the other encodings are libsodium's to know */
	static const char *const points[] = {
	    "0000000000000000000000000000000000000000000000000000000000000000",
	    "0100000000000000000000000000000000000000000000000000000000000000",
	    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	};
	static struct end i, r;
	static const uint8_t zero[32];
	struct bytes p;

	(void)state;
	for (size_t k = 0; k < sizeof(points) / sizeof(points[0]); k++) {
		uint8_t wire[NOISE_BUFFER];

		from_hex(&p, points[k]);
		/* as the responder's static key */
		end_init(&i, NOISE_INITIATOR, NULL, "", 0, p.b);
		assert_int_equal(serve(&i, noise_write(&i.n, "", 0)), NOISE_ERROR);
		assert_true(is_wiped(&i.n));
		/* as the initiator's ephemeral */
		start_pair(&i, &r);
		assert_int_equal(serve(&i, noise_write(&i.n, "", 0)), NOISE_OK);
		memcpy(wire, i.n.out, i.n.out_len);
		memcpy(wire, p.b, 32);
		assert_int_equal(serve(&r, noise_read(&r.n, wire, i.n.out_len)), NOISE_ERROR);
		/* as the responder's ephemeral */
		start_pair(&i, &r);
		pass(&i, &r, &hello, NULL);
		assert_int_equal(serve(&r, noise_write(&r.n, "", 0)), NOISE_OK);
		memcpy(wire, r.n.out, r.n.out_len);
		memcpy(wire, p.b, 32);
		assert_int_equal(serve(&i, noise_read(&i.n, wire, r.n.out_len)), NOISE_ERROR);
		assert_true(is_wiped(&i.n));
	}
	/* a key process that answers all zeros */
	start_pair(&i, &r);
	assert_int_equal(noise_write(&i.n, "", 0), NOISE_NEED_DH);
	assert_int_equal(noise_dh(&i.n, zero), NOISE_ERROR);
	assert_true(is_wiped(&i.n));
}

static void
test_wrong_order_of_calls(void **state)
{
	static struct end i, r;
	static uint8_t big[NOISE_BUFFER];
	uint8_t shared[32] = {1};

	(void)state;
	assert_int_equal(noise_init(&i.n, NOISE_INITIATOR, "", 0, shared, NULL), -1);
	assert_int_equal(noise_init(&i.n, NOISE_RESPONDER, "", 0, shared, shared), -1);
	assert_int_equal(noise_write(&i.n, "", 0), NOISE_ERROR);

	start_pair(&i, &r);
	assert_int_equal(noise_read(&i.n, "x", 1), NOISE_ERROR);
	assert_int_equal(noise_write(&r.n, "x", 1), NOISE_ERROR);
	start_pair(&i, &r);
	assert_int_equal(noise_dh(&i.n, shared), NOISE_ERROR);
	start_pair(&i, &r);
	assert_int_equal(noise_write(&i.n, "", 0), NOISE_NEED_DH);
	assert_int_equal(noise_write(&i.n, "", 0), NOISE_ERROR);
	start_pair(&i, &r);
	assert_int_equal(noise_write(&i.n, "", 0), NOISE_NEED_DH);
	assert_int_equal(noise_dh(&i.n, NULL), NOISE_ERROR);
	assert_true(is_wiped(&i.n));
	start_pair(&i, &r);
	assert_int_equal(serve(&i, noise_write(&i.n, big, sizeof(big))), NOISE_ERROR);
	start_pair(&i, &r);
	assert_int_equal(serve(&i, noise_write(&i.n, big, sizeof(big) - 95)), NOISE_ERROR);
	start_pair(&i, &r);
	assert_int_equal(serve(&i, noise_write(&i.n, big, sizeof(big) - 96)), NOISE_OK);
	assert_int_equal(noise_split(&i.n, &i.send, &i.receive), -1);
}

static void
test_split_and_wipe(void **state)
{
	static struct end i, r;
	uint8_t hash[NOISE_HASH];

	(void)state;
	start_pair(&i, &r);
	pass(&i, &r, &hello, NULL);
	pass(&r, &i, &hello, NULL);
	memcpy(hash, i.n.hash, sizeof(hash));
	assert_int_equal(noise_split(&i.n, &i.send, &i.receive), 0);
	assert_int_equal(noise_split(&r.n, &r.send, &r.receive), 0);
	assert_memory_equal(i.send.key, r.receive.key, 32);
	assert_memory_equal(i.receive.key, r.send.key, 32);
	assert_memory_not_equal(i.send.key, i.receive.key, 32);
	assert_memory_equal(i.n.hash, hash, sizeof(hash));
	memset(i.n.hash, 0, sizeof(i.n.hash));
	assert_true(is_wiped(&i.n)); /* nothing else was left */
	assert_int_equal(noise_write(&i.n, "", 0), NOISE_ERROR);
}

static void
test_cipher(void **state)
{
	struct noise_cipher a = {.nonce = 5}, b;
	uint8_t zeros[64] = {0}, stream[32], wire[64 + NOISE_TAG], plain[64];
	static const uint8_t last[12] = {0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255};

	(void)state;
	randombytes_buf(a.key, sizeof(a.key));
	b = a;
	/*
	 * REKEY is the first 32 bytes of the key stream under the last nonce; block 0 is Poly1305's
	 */
	crypto_stream_chacha20_ietf_xor_ic(stream, zeros, sizeof(stream), last, 1, a.key);
	noise_rekey(&a);
	assert_memory_equal(a.key, stream, sizeof(stream));
	assert_int_equal(a.nonce, 5);

	noise_rekey(&b);
	assert_int_equal(noise_encrypt(&a, "ad", 2, zeros, sizeof(zeros), wire), 0);
	assert_int_equal(noise_decrypt(&b, "aD", 2, wire, sizeof(wire), plain), -1);
	assert_int_equal(noise_decrypt(&b, "ad", 2, wire, NOISE_TAG - 1, plain), -1);
	assert_int_equal(b.nonce, 5);
	assert_int_equal(noise_decrypt(&b, "ad", 2, wire, sizeof(wire), plain), 0);
	assert_int_equal(noise_decrypt(&b, "ad", 2, wire, sizeof(wire), plain), -1); /* replayed */
	a.nonce = UINT64_MAX;
	b.nonce = UINT64_MAX;
	assert_int_equal(noise_encrypt(&a, NULL, 0, zeros, 1, wire), -1);
	assert_int_equal(noise_decrypt(&b, NULL, 0, wire, sizeof(wire), plain), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vector_of_cacophony),
	    cmocka_unit_test(test_vectors_of_flynn),
	    cmocka_unit_test(test_every_changed_byte),
	    cmocka_unit_test(test_prologue_and_keys_are_bound),
	    cmocka_unit_test(test_low_order_points),
	    cmocka_unit_test(test_wrong_order_of_calls),
	    cmocka_unit_test(test_split_and_wipe),
	    cmocka_unit_test(test_cipher),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
