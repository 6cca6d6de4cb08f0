/* SPDX-License-Identifier: ISC */
/*
 * ICMP echo: requests byte by byte, replies whole, cut, changed and foreign.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "lib/icmp.h"

static const struct icmp_echo sample = {
    .identifier = ICMP_IDENTIFIER | 7, .sequence = 0x0102, .cookie = 0x1122334455667788};

/* The answer of a host to a request of ours, as a raw socket of that family gives it. */
static size_t
reply(uint8_t family, size_t options, uint8_t *packet)
{
	uint8_t *p = packet;
	uint16_t sum;

	memset(packet, 0, ICMP_PACKET_MAX);
	if (family == 4) {
		p[0] = (uint8_t)(0x45 + options / 4);
		p[3] = (uint8_t)(20 + options + ICMP_ECHO_SIZE);
		p[9] = 1;
		p += 20 + options;
	}
	icmp_encode_request(family, &sample, p);
	p[0] = family == 4 ? 0 : 129;
	p[2] = p[3] = 0;
	sum = icmp_checksum(p, ICMP_ECHO_SIZE);
	p[2] = (uint8_t)(sum >> 8);
	p[3] = (uint8_t)sum;
	return (size_t)(p - packet) + ICMP_ECHO_SIZE;
}

static void
test_checksum(void **state)
{
	/* the example of RFC 1071, section 3, and an odd length */
	static const uint8_t rfc[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

	(void)state;
	assert_int_equal(icmp_checksum(rfc, sizeof(rfc)), 0x220d);
	assert_int_equal(icmp_checksum(rfc, 0), 0xffff);
	assert_int_equal(icmp_checksum(rfc + 3, 1), (uint16_t)~0x0300);
}

static void
test_request(void **state)
{
	static const uint8_t head4[8] = {8, 0, 0, 0, 0xb5, 0x07, 0x01, 0x02};
	static const uint8_t head6[8] = {128, 0, 0, 0, 0xb5, 0x07, 0x01, 0x02};
	static const uint8_t cookie[8] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};
	uint8_t out[ICMP_ECHO_SIZE];

	(void)state;
	icmp_encode_request(4, &sample, out);
	assert_int_equal(icmp_checksum(out, sizeof(out)), 0);
	out[2] = out[3] = 0;
	assert_memory_equal(out, head4, 8);
	assert_memory_equal(out + 8, "bulkhead", 8);
	assert_memory_equal(out + 16, cookie, 8);
	icmp_encode_request(6, &sample, out);
	assert_memory_equal(out, head6, 8); /* the kernel computes the checksum */
}

static void
test_reply(void **state)
{
	uint8_t packet[ICMP_PACKET_MAX];
	struct icmp_echo e;
	size_t n;

	(void)state;
	for (uint8_t family = 4; family <= 6; family += 2) {
		n = reply(family, 0, packet);
		assert_int_equal(icmp_decode_reply(family, packet, n, &e), 0);
		assert_int_equal(e.identifier, sample.identifier);
		assert_int_equal(e.sequence, sample.sequence);
		assert_true(e.cookie == sample.cookie);
	}
	n = reply(4, 40, packet); /* with the longest IP header */
	assert_int_equal(icmp_decode_reply(4, packet, n, &e), 0);
	n = reply(4, 0, packet);
	assert_int_equal(icmp_decode_reply(4, packet, n + 6, &e), 0); /* padding of the link */
}

static void
test_cut_short(void **state)
{
	uint8_t packet[ICMP_PACKET_MAX];
	struct icmp_echo e;

	(void)state;
	for (uint8_t family = 4; family <= 6; family += 2) {
		size_t n = reply(family, 0, packet);

		for (size_t i = 0; i < n; i++)
			assert_int_equal(icmp_decode_reply(family, packet, i, &e), -1);
	}
}

/* No single changed bit passes in IPv4; in IPv6 the kernel checks the sum, we check the rest. */
static void
test_changed(void **state)
{
	uint8_t packet[ICMP_PACKET_MAX];
	struct icmp_echo e;
	size_t n = reply(4, 0, packet);

	(void)state;
	for (size_t i = 20 * 8; i < n * 8; i++) {
		packet[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(icmp_decode_reply(4, packet, n, &e), -1);
		packet[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	n = reply(6, 0, packet);
	assert_int_equal(icmp_decode_reply(6, packet, n + 1, &e), -1);
	packet[0] = 128; /* our own request, as it comes back on loopback */
	assert_int_equal(icmp_decode_reply(6, packet, n, &e), -1);
	packet[0] = 129;
	packet[8] ^= 1;
	assert_int_equal(icmp_decode_reply(6, packet, n, &e), -1);
}

static void
test_ip_header(void **state)
{
	uint8_t packet[ICMP_PACKET_MAX];
	struct icmp_echo e;
	size_t n = reply(4, 0, packet);
	static const struct {
		uint8_t at, value;
	} wrong[] = {{0, 0x65}, {0, 0x44}, {0, 0x40}, {0, 0x4f}, {9, 17}, {2, 1}, {3, 19}, {3, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uint8_t saved = packet[wrong[i].at];

		packet[wrong[i].at] = wrong[i].value;
		assert_int_equal(icmp_decode_reply(4, packet, n, &e), -1);
		packet[wrong[i].at] = saved;
	}
	assert_int_equal(icmp_decode_reply(4, packet, n, &e), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_checksum),
	    cmocka_unit_test(test_request),
	    cmocka_unit_test(test_reply),
	    cmocka_unit_test(test_cut_short),
	    cmocka_unit_test(test_changed),
	    cmocka_unit_test(test_ip_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
