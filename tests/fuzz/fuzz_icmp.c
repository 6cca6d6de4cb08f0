/* SPDX-License-Identifier: ISC */
/*
 * Packets as a raw socket may give them. The first byte chooses the family; what is taken for an
 * answer must be the answer to a request that we would have sent with the same fields.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "lib/icmp.h"

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	struct icmp_echo e = {.identifier = ICMP_IDENTIFIER | 3, .sequence = 9, .cookie = 77};

	(void)size;
	memset(out, 0, 1);
	icmp_encode_request(6, &e, out + 1);
	out[1] = 129;
	return 1 + ICMP_ECHO_SIZE;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t family = size > 0 && (data[0] & 1) ? 4 : 6, *packet, request[ICMP_ECHO_SIZE];
	struct icmp_echo e;
	size_t n = size > 0 ? size - 1 : 0;

	packet = calloc(1, n + 1); /* of its own, so that a sanitizer sees a read behind it */
	if (packet == NULL)
		return 0;
	if (n > 0)
		memcpy(packet, data + 1, n);
	if (icmp_decode_reply(family, packet, n, &e) == 0) {
		size_t header = family == 4 ? (size_t)(packet[0] & 15) * 4 : 0;

		icmp_encode_request(family, &e, request);
		if (n < header + ICMP_ECHO_SIZE ||
		    memcmp(request + 4, packet + header + 4, ICMP_ECHO_SIZE - 4) != 0)
			abort();
	}
	free(packet);
	return 0;
}
