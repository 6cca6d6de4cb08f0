/* SPDX-License-Identifier: ISC */
/*
 * The bh1... text of a server's public keys.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <ctype.h>
#include <sodium.h>
#include <string.h>

#include "lib/conf.h"

enum { LENGTH = 3 + 112 };

static void
make_keys(uint8_t status[32], uint8_t data[32])
{
	uint8_t secret[32];

	randombytes_buf(secret, sizeof(secret));
	crypto_scalarmult_base(status, secret);
	randombytes_buf(secret, sizeof(secret));
	crypto_scalarmult_base(data, secret);
}

static void
test_round_trip(void **state)
{
	uint8_t status[32], data[32], s[32], d[32];
	char text[IDENTITY_TEXT];

	(void)state;
	for (int i = 0; i < 100; i++) {
		make_keys(status, data);
		identity_encode(status, data, text);
		assert_int_equal(strlen(text), LENGTH);
		assert_memory_equal(text, "bh1", 3);
		assert_int_equal(strspn(text + 3, "0123456789abcdefghjkmnpqrstvwxyz"), LENGTH - 3);
		assert_int_equal(identity_decode(text, s, d), 0);
		assert_memory_equal(s, status, 32);
		assert_memory_equal(d, data, 32);
	}
}

static void
test_known_text(void **state)
{
	/* computed apart from this code, with python's hashlib.blake2b */
	static const char known[] = "bh1"
				    "000g40r40m30e209185gr38e1w8124gk2gahc5rr34d1p70x3rfzzzqxzkxzny"
				    "fryzvfbx7kybrz1vzexqpeqtq9x3kydsf4wfhe3r0vdj4whd35";
	uint8_t status[32], data[32];
	char text[IDENTITY_TEXT];

	(void)state;
	for (size_t i = 0; i < 32; i++) {
		status[i] = (uint8_t)i;
		data[i] = (uint8_t)(0xff - i);
	}
	identity_encode(status, data, text);
	assert_string_equal(text, known);
}

static void
test_typing(void **state)
{
	uint8_t status[32], data[32], s[32], d[32];
	char text[IDENTITY_TEXT], typed[IDENTITY_TEXT];

	(void)state;
	make_keys(status, data);
	identity_encode(status, data, text);
	/* what is read aloud or typed from paper */
	strcpy(typed, text);
	for (size_t i = 3; typed[i] != '\0'; i++) {
		if (typed[i] == '0')
			typed[i] = 'O';
		else if (typed[i] == '1')
			typed[i] = i % 2 ? 'l' : 'I';
		else
			typed[i] = (char)toupper(typed[i]);
	}
	assert_int_equal(identity_decode(typed, s, d), 0);
	assert_memory_equal(s, status, 32);
	/* every wrong character and every swap of two is noticed */
	for (size_t i = 3; i < LENGTH; i++) {
		strcpy(typed, text);
		typed[i] = typed[i] == '7' ? '8' : '7';
		assert_int_equal(identity_decode(typed, s, d), -1);
		typed[i] = 'u';
		assert_int_equal(identity_decode(typed, s, d), -1);
		typed[i] = '\xe9';
		assert_int_equal(identity_decode(typed, s, d), -1);
		if (i + 1 < LENGTH && text[i] != text[i + 1]) {
			strcpy(typed, text);
			typed[i] = text[i + 1];
			typed[i + 1] = text[i];
			assert_int_equal(identity_decode(typed, s, d), -1);
		}
		strcpy(typed, text);
		typed[i] = '\0';
		assert_int_equal(identity_decode(typed, s, d), -1);
	}
	strcpy(typed, text);
	strcat(typed, "0");
	assert_int_equal(identity_decode(typed, s, d), -1);
	strcpy(typed, text);
	typed[2] = '2';
	assert_int_equal(identity_decode(typed, s, d), -1);
	assert_int_equal(identity_decode("", s, d), -1);
}

static void
test_bad_keys(void **state)
{
	uint8_t status[32], data[32], zero[32] = {0}, s[32], d[32];
	char text[IDENTITY_TEXT];

	(void)state;
	make_keys(status, data);
	identity_encode(status, status, text);
	assert_int_equal(identity_decode(text, s, d), -1);
	identity_encode(zero, data, text);
	assert_int_equal(identity_decode(text, s, d), -1);
	identity_encode(status, zero, text);
	assert_int_equal(identity_decode(text, s, d), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_known_text),
	    cmocka_unit_test(test_typing),
	    cmocka_unit_test(test_bad_keys),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
