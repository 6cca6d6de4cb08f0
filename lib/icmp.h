/* SPDX-License-Identifier: ISC */
/*
 * ICMP echo for IPv4 (RFC 792) and IPv6 (RFC 4443): build a request, judge what came back. Pure.
 *
 * What a raw socket gives differs: an IPv4 packet comes with its IP header and an unchecked
 * checksum; of an IPv6 packet only the ICMPv6 part comes, checked by the kernel, which also fills
 * in the checksum of what is sent.
 */
#ifndef BH_LIB_ICMP_H
#define BH_LIB_ICMP_H

#include <stddef.h>
#include <stdint.h>

enum {
	ICMP_PAYLOAD = 16, /* "bulkhead" and the cookie */
	ICMP_ECHO_SIZE = 8 + ICMP_PAYLOAD,
	ICMP_PACKET_MAX = 60 + ICMP_ECHO_SIZE, /* largest IPv4 header in front */
	ICMP_IDENTIFIER = 0xB500, /* | slot of the target: also in the filter of its socket */
};

struct icmp_echo {
	uint16_t identifier;
	uint16_t sequence;
	uint64_t cookie; /* random per request: only who has seen the request can answer it */
};

/* Build the request. family: 4 or 6. */
void icmp_encode_request(uint8_t family, const struct icmp_echo *e, uint8_t out[ICMP_ECHO_SIZE]);

/*
 * Is this packet, as received from a raw socket of that family, a whole and intact echo reply to a
 * request of ours? Fills e and returns 0, or returns -1. The caller compares e with what it sent.
 */
int icmp_decode_reply(uint8_t family, const uint8_t *packet, size_t n, struct icmp_echo *e);

/* Internet checksum (RFC 1071) of n bytes, as a number to be stored high byte first. */
uint16_t icmp_checksum(const uint8_t *p, size_t n);

#endif
