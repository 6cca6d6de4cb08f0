/* SPDX-License-Identifier: ISC */
/*
 * ICMP echo packets of both families.
 */
#include "icmp.h"

#include <string.h>

enum {
	V4_ECHO_REPLY = 0,
	V4_ECHO_REQUEST = 8,
	V6_ECHO_REQUEST = 128,
	V6_ECHO_REPLY = 129,
	IP_HEADER_MIN = 20,
	IP_PROTOCOL_ICMP = 1,
};

static const uint8_t mark[8] = {'b', 'u', 'l', 'k', 'h', 'e', 'a', 'd'};

static void
put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint16_t
get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint16_t
icmp_checksum(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;

	for (; n > 1; p += 2, n -= 2) {
		sum += get_u16(p);
		sum = (sum & 0xffff) + (sum >> 16);
	}
	if (n == 1) {
		sum += (uint32_t)p[0] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)~sum;
}

void
icmp_encode_request(uint8_t family, const struct icmp_echo *e, uint8_t out[ICMP_ECHO_SIZE])
{
	memset(out, 0, ICMP_ECHO_SIZE);
	out[0] = family == 4 ? V4_ECHO_REQUEST : V6_ECHO_REQUEST;
	put_u16(out + 4, e->identifier);
	put_u16(out + 6, e->sequence);
	memcpy(out + 8, mark, sizeof(mark));
	for (int i = 0; i < 8; i++)
		out[16 + i] = (uint8_t)(e->cookie >> (8 * i));
	if (family == 4)
		put_u16(out + 2, icmp_checksum(out, ICMP_ECHO_SIZE));
}

/*
 * The ICMP part of an IPv4 packet, its length in *n; NULL when the header is not sound. The kernel
 * took the header apart before us, so this only keeps us from reading nonsense.
 */
static const uint8_t *
skip_ip_header(const uint8_t *packet, size_t *n)
{
	size_t header, total;

	if (*n < IP_HEADER_MIN || packet[0] >> 4 != 4 || packet[9] != IP_PROTOCOL_ICMP)
		return NULL;
	header = (size_t)(packet[0] & 15) * 4;
	total = get_u16(packet + 2);
	if (header < IP_HEADER_MIN || header > *n || total < header || total > *n)
		return NULL;
	*n = total - header;
	return packet + header;
}

int
icmp_decode_reply(uint8_t family, const uint8_t *packet, size_t n, struct icmp_echo *e)
{
	const uint8_t *p = packet;

	if (family == 4 && (p = skip_ip_header(packet, &n)) == NULL)
		return -1;
	if (n != ICMP_ECHO_SIZE)
		return -1;
	if (p[0] != (family == 4 ? V4_ECHO_REPLY : V6_ECHO_REPLY) || p[1] != 0)
		return -1;
	if (family == 4 && icmp_checksum(p, n) != 0)
		return -1;
	if (memcmp(p + 8, mark, sizeof(mark)) != 0)
		return -1;
	e->identifier = get_u16(p + 4);
	e->sequence = get_u16(p + 6);
	e->cookie = 0;
	for (int i = 0; i < 8; i++)
		e->cookie |= (uint64_t)p[16 + i] << (8 * i);
	return 0;
}
