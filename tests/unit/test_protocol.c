/* SPDX-License-Identifier: ISC */
/*
 * The worked example of doc/protocol.md, recomputed. tests/system/bhl.py does the same from the
 * page alone.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf.h"
#include "lib/hello.h"
#include "lib/noise.h"
#include "lib/record.h"

static char page[65536];
static const char *example;

/* What stands behind "    name =" on the page, up to the next name, without blanks. */
static void
value(const char *name, char *out, size_t size)
{
	char key[64];
	const char *p, *end;
	size_t n = 0;

	snprintf(key, sizeof(key), "\n    %s =", name);
	p = strstr(example, key);
	if (p == NULL)
		fail_msg("%s is not on the page", name);
	p += strlen(key);
	end = strchr(p, '=');
	for (; *p != '\0' && (end == NULL || p < end); p++) {
		if (*p == '\n' && strncmp(p, "\n     ", 6) != 0)
			break;
		if (*p != ' ' && *p != '\n' && n + 1 < size)
			out[n++] = *p;
	}
	out[n] = '\0';
}

static size_t
bytes(const char *name, uint8_t *out, size_t size)
{
	char hex[2048];
	size_t n;

	value(name, hex, sizeof(hex));
	assert_int_equal(sodium_hex2bin(out, size, hex, strlen(hex), NULL, &n, NULL), 0);
	return n;
}

static void
expect(const char *name, const uint8_t *got, size_t n)
{
	uint8_t want[1024];

	assert_int_equal(bytes(name, want, sizeof(want)), n);
	assert_memory_equal(got, want, n);
}

static enum noise_result
serve(struct noise *n, enum noise_result r, const uint8_t secret[32])
{
	while (r == NOISE_NEED_DH) {
		uint8_t shared[32];

		assert_int_equal(crypto_scalarmult(shared, secret, n->dh_public), 0);
		r = noise_dh(n, shared);
	}
	return r;
}

struct keys {
	uint8_t secret[32], status[32], data[32], ephemeral[32];
};

static void
read_keys(struct keys *k, const char *who)
{
	char name[64];

	snprintf(name, sizeof(name), "%s_data_secret", who);
	bytes(name, k->secret, 32);
	crypto_scalarmult_base(k->data, k->secret);
	snprintf(name, sizeof(name), "%s_data_public", who);
	expect(name, k->data, 32);
	snprintf(name, sizeof(name), "%s_status_secret", who);
	bytes(name, k->secret, 32);
	crypto_scalarmult_base(k->status, k->secret);
	snprintf(name, sizeof(name), "%s_status_public", who);
	expect(name, k->status, 32);
	snprintf(name, sizeof(name), "%s_ephemeral_secret", who);
	bytes(name, k->ephemeral, 32);
}

static void
test_identity(void **state)
{
	struct keys r;
	char want[IDENTITY_TEXT], got[IDENTITY_TEXT];

	(void)state;
	read_keys(&r, "responder");
	value("responder_identity", want, sizeof(want));
	identity_encode(r.status, r.data, got);
	assert_string_equal(got, want);
}

static void
test_link(void **state)
{
	static struct noise i, r;
	struct keys ik, rk;
	struct hello_keys hk;
	struct hello_payload p1 = {.boot = UINT64_C(0x8877665544332211), .counter = 7};
	struct hello_payload p2 = {.boot = UINT64_C(0x00ffeeddccbbaa99), .counter = 7};
	uint8_t prologue[HELLO_PROLOGUE_MAX], payload[HELLO_PAYLOAD], hello[HELLO_SIZE],
	    hash[NOISE_HASH];
	uint8_t plain[512], out[1024];
	struct record ir, rr;
	size_t n = hello_prologue(prologue, LINK_STATUS, "pair");

	(void)state;
	read_keys(&ik, "initiator");
	read_keys(&rk, "responder");
	expect("prologue", prologue, n);
	noise_init(&i, NOISE_INITIATOR, prologue, n, ik.status, rk.status);
	noise_init(&r, NOISE_RESPONDER, prologue, n, rk.status, NULL);
	noise_set_ephemeral(&i, ik.ephemeral);
	noise_set_ephemeral(&r, rk.ephemeral);

	hello_payload_encode(payload, &p1);
	expect("payload_1", payload, sizeof(payload));
	assert_int_equal(serve(&i, noise_write(&i, payload, sizeof(payload)), ik.secret), NOISE_OK);
	hello_keys_init(&hk, rk.status, rk.data);
	expect("tag_key", hk.status, sizeof(hk.status));
	assert_int_equal(i.out_len, HELLO_NOISE);
	hello_encode(hello, LINK_STATUS, i.out, &hk);
	expect("hello", hello, sizeof(hello));

	assert_int_equal(
	    serve(&r, noise_read(&r, hello_noise(hello), HELLO_NOISE), rk.secret), NOISE_OK);
	hello_payload_encode(payload, &p2);
	expect("payload_2", payload, sizeof(payload));
	assert_int_equal(serve(&r, noise_write(&r, payload, sizeof(payload)), rk.secret), NOISE_OK);
	expect("reply", r.out, r.out_len);
	assert_int_equal(serve(&i, noise_read(&i, r.out, r.out_len), ik.secret), NOISE_OK);
	memcpy(hash, i.hash, sizeof(hash));
	expect("handshake_hash", hash, sizeof(hash));

	assert_int_equal(record_init(&ir, &i, 512), 0);
	assert_int_equal(record_init(&rr, &r, 512), 0);
	expect("key_to_responder", ir.send.key, 32);
	expect("key_to_initiator", rr.send.key, 32);
	n = bytes("status_1", plain, sizeof(plain));
	expect("record_1", out, record_seal(&ir, plain, n, out, sizeof(out)));
	n = bytes("close_2", plain, sizeof(plain));
	expect("record_2", out, record_seal(&ir, plain, n, out, sizeof(out)));
}

static int
read_page(void **state)
{
	const char *top = getenv("srcdir");
	char path[1024];
	size_t n;
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s/doc/protocol.md", top != NULL ? top : ".");
	f = fopen(path, "r");
	if (f == NULL)
		return -1;
	n = fread(page, 1, sizeof(page) - 1, f);
	fclose(f);
	page[n] = '\0';
	example = strstr(page, "\n## 10. Worked example");
	return example != NULL ? 0 : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_identity),
	    cmocka_unit_test(test_link),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, read_page, NULL);
}
