/* SPDX-License-Identifier: ISC */
/*
 * For targets that feed the receive tables of one process: each of its channels has a hostile end,
 * and the input is a list of packets for them.
 *
 * A packet of the input: u8 which channel; u8 type; u8 how (bits 0-2: state of the receiver, 0 to 3
 * as it is; bit 3: time passes first, where the target has a time of its own; bits 4-5: kind of
 * descriptor; bit 6: one descriptor too many; bit 7: one too few); u16 length of the body; body.
 * Answers are permitted, or no handler of them would be reached.
 */
#ifndef BH_TESTS_FUZZ_TABLE_H
#define BH_TESTS_FUZZ_TABLE_H

#include "lib/channel.h"
#include "lib/conf.h"

enum {
	TABLE_FAR = 700,    /* hostile ends are above; what the process opens is below */
	TABLE_PACKETS = 64, /* of one input */
	TABLE_CHANNELS = 8, /* at most */
	TABLE_HEAD = 5,
};

/* One channel of the process. */
struct table_channel {
	struct channel *channel;
	int end; /* the hostile one; -1: none */
};

/* Quiet log, SIGPIPE, a network of our own (as root), and /dev/null on 3 up to FD_FIRST_FREE. */
void table_set_up(void);
/* A new pair with its near end on that number; returns the hostile end. */
int table_pair(int number);
/* A small config of 3 servers on loopback that passes all checks. */
void table_conf(struct conf *c);
/*
 * Give the packets one by one; after each one turn() lets the process read, and says 0 when the
 * input is over. A channel without a hostile end is passed over.
 */
void table_play(const uint8_t *data, size_t size, struct table_channel *list, size_t n,
    int (*turn)(size_t which));
/* Throw away what the process has said. */
void table_drain(const struct table_channel *list, size_t n);
/* What the process opened: that number and up to TABLE_FAR. */
void table_close_all(int from);
/* With all its handles; loop.c. */
struct uv_loop_s;
void table_close_loop(struct uv_loop_s *loop);
/* When set: may change the body of a packet, for numbers that the process chose itself. */
extern void (*table_adjust)(unsigned type, uint8_t *body, size_t n);
/* When set: time passes. */
extern void (*table_later)(void);
/* For seeds: append a packet, or the messages of a whole config. Returns the new length. */
size_t table_append(uint8_t *out, size_t size, size_t n, uint8_t which, const struct msg *m);
size_t table_append_conf(
    uint8_t *out, size_t size, size_t n, uint8_t which, const struct conf *c, enum process to);
size_t table_append_u64(
    uint8_t *out, size_t size, size_t n, uint8_t which, enum message_type type, uint64_t value);
/* One packet of the shortest length of each type that may go from one to the other. */
size_t table_append_all(
    uint8_t *out, size_t size, size_t n, uint8_t which, enum process from, enum process to);

#endif
