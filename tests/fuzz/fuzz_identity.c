/* SPDX-License-Identifier: ISC */
/*
 * Identities as an administrator may paste them: what is taken must come out again as it is
 * written.
 */
#include "fuzz.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf.h"

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	uint8_t status[32] = {9}, data[32] = {7};
	char text[IDENTITY_TEXT];

	(void)size;
	crypto_scalarmult_base(status, status);
	crypto_scalarmult_base(data, data);
	identity_encode(status, data, text);
	memcpy(out, text, strlen(text));
	return strlen(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t status[32], other[32], again[2][32];
	char *text = malloc(size + 1), back[IDENTITY_TEXT];

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (identity_decode(text, status, other) == 0) {
		identity_encode(status, other, back);
		if (identity_decode(back, again[0], again[1]) != 0 ||
		    strlen(back) != strlen(text) || memcmp(again[0], status, 32) != 0 ||
		    memcmp(again[1], other, 32) != 0)
			abort();
	}
	free(text);
	return 0;
}
