/* SPDX-License-Identifier: ISC */
/*
 * What two syncd say to each other on sync and request links (doc/protocol.md): frames in the byte
 * stream that the records of a session make, so a frame can be longer than a record. Pure.
 *
 * A frame, little endian: u32 length of what follows (1 to the bound of the receiver), u8 type,
 * body. A position is u64 epoch, u64 index, u64 hash (log.h).
 */
#ifndef BH_SYNCD_WIRE_H
#define BH_SYNCD_WIRE_H

#include "face.h"
#include "log.h"
#include "store.h"

enum wire_type {
	/* sync link; main dialled it */
	WIRE_OFFER = 1, /* main: u64 epoch, 16 bytes store id, where its log ends and begins */
	WIRE_HAVE,	/* standby: u8 flags (enum wire_have), 16 bytes store id, its end */
	WIRE_PROBE,	/* main: u64 index; what have you there? */
	WIRE_FOUND,	/* standby: u8 1 or 0, position */
	WIRE_STREAM,	/* main: position that the changes follow on */
	WIRE_DIVERGED,	/* main: position up to which both are the same; the rest is not main's */
	WIRE_SNAPSHOT,	/* main: position, 16 bytes store id, u64 keys: a snapshot; from where? */
	WIRE_FROM,	/* standby: u16 length, cursor up to which it has that one (0: nothing) */
	WIRE_ITEMS,	/* main: u16 length, cursor behind them, items (change.h) */
	WIRE_COMPLETE,	/* main: the snapshot was all; the stream follows */
	WIRE_CHANGE,	/* main: position, operations (change.h) */
	WIRE_ACK,	/* standby: u64 index in its state, u64 index on its disk */
	WIRE_BEAT,	/* main, request links both: position of the end, each status interval */
	WIRE_PACKED,	/* main: u8 how (PACK_ZSTD), u8 log2 of the window; all records behind its
			   own are compressed */
	/* request link; a standby dialled it */
	WIRE_REQUEST = 32, /* u64 client, request (wire_get_request) */
	WIRE_FORGET,	   /* u64 client: it is gone */
	WIRE_ANSWER,	   /* main: u64 client, position of its newest change, answer in RESP */
	WIRE_REFUSED,	   /* main: u64 client, text: not executed */
	WIRE_ACTION,	   /* u64 client, of this action alone, action (wire_put_action) */
	WIRE_TYPE_MAX
};
enum wire_have {
	HAVE_BLANK = 1,	  /* belongs to no group yet */
	HAVE_NOTHING = 2, /* what it has cannot be followed on: a snapshot, please */
	HAVE_UNPACKS = 4, /* it understands PACKED */
	HAVE_FLAGS = 7
};

enum {
	WIRE_HEADER = 5,
	WIRE_POSITION = 24,
	WIRE_CONTROL_MAX = 1024, /* of every frame but ITEMS, CHANGE, REQUEST, ANSWER, ACTION */
	WIRE_ARGS_MAX = 1 << 20,
	WIRE_COMMANDS_MAX = 1 << 20, /* of a transaction, and keys that it watches */
	WIRE_REQUEST_MIN = 64 << 20, /* bytes that a request may have, however short its values */
	WIRE_SLACK = 16 << 20,	     /* lengths and kinds of up to WIRE_ARGS_MAX arguments */
};

/* Bytes of a request, or of a queued transaction, where a value has up to bulk: two of them. */
static inline size_t
wire_request_max(uint64_t bulk)
{
	return bulk > WIRE_REQUEST_MIN / 2 ? (size_t)bulk * 2 : WIRE_REQUEST_MIN;
}

/* Bytes of the operations of one change. */
static inline size_t
wire_change_max(uint64_t bulk)
{
	return wire_request_max(bulk) + WIRE_SLACK;
}

/* Bytes of the body of any frame. */
static inline size_t
wire_frame_max(uint64_t bulk)
{
	return wire_change_max(bulk) + WIRE_CONTROL_MAX;
}

struct wire_offer {
	uint64_t epoch;
	uint8_t id[STORE_ID];
	struct position end, start;
};
struct wire_have_body {
	uint8_t flags;
	uint8_t id[STORE_ID];
	struct position end;
};
struct wire_snapshot {
	struct position at;
	uint8_t id[STORE_ID];
	uint64_t keys;
};

/*
 * The first frame in n bytes: 1 with *type, *body and *used, 0 when it is not all there (*used:
 * bytes it will have, 0 not known yet), -1 when its body is longer than max (*used as before) or it
 * is of no type (*used is 0).
 */
int wire_next(
    const uint8_t *in, size_t n, size_t max, uint8_t *type, struct slice *body, size_t *used);

/* Append a frame; the body is one of the encoders' below, or raw. 0, or -1 without memory. */
int wire_put(struct change *out, uint8_t type, struct slice head, struct slice body);
/* Append whole frames. */
int wire_put_raw(struct change *out, struct slice frames);

size_t wire_offer_encode(uint8_t out[WIRE_CONTROL_MAX], const struct wire_offer *o);
size_t wire_have_encode(uint8_t out[WIRE_CONTROL_MAX], const struct wire_have_body *h);
size_t wire_snapshot_encode(uint8_t out[WIRE_CONTROL_MAX], const struct wire_snapshot *s);
size_t wire_position_encode(uint8_t out[WIRE_POSITION], const struct position *p);
size_t wire_cursor_encode(uint8_t out[WIRE_CONTROL_MAX], const struct store_cursor *c);
size_t wire_u64_encode(uint8_t out[8], uint64_t v);

/* 0, or -1 when the body is not exactly that. The slices of the last three point into it. */
int wire_offer_decode(struct slice body, struct wire_offer *o);
int wire_have_decode(struct slice body, struct wire_have_body *h);
int wire_snapshot_decode(struct slice body, struct wire_snapshot *s);
int wire_position_decode(struct slice body, struct position *p);
int wire_found_decode(struct slice body, uint8_t *found, struct position *p);
int wire_ack_decode(struct slice body, uint64_t *applied, uint64_t *durable);
int wire_u64_decode(struct slice body, uint64_t *v);
int wire_packed_decode(struct slice body, uint8_t *how, uint8_t *window_log);
int wire_cursor_decode(struct slice body, struct store_cursor *c);
int wire_items_decode(struct slice body, struct store_cursor *cursor, struct slice *items);
int wire_change_decode(struct slice body, struct position *at, struct slice *ops);
int wire_answer_decode(
    struct slice body, uint64_t *client, struct position *at, struct slice *text);
int wire_refused_decode(struct slice body, uint64_t *client, struct slice *text);

/*
 * A request: u64 client, u8 protocol version, u8 transaction, u32 n watched, each u32 length, key,
 * 32 bytes digest; u32 n commands, each u32 n arguments, each u32 length, bytes.
 * Encoding appends to out: 0, or -1 without memory. Decoding: 0 with r, whose arrays live in
 * *memory (freed by the caller with free(), also after -1).
 */
int wire_put_request(struct change *out, uint64_t client, const struct face_request *r);
int wire_request_decode(struct slice body, uint64_t *client, struct face_request *r, void **memory);

/*
 * An action: u64 client, u8 protocol version, u32 uid, u32 pid of the program, u32 ms that are left
 * (1 to ACTION_MS_MAX), u8 length, name, payload. Decoding: 0 or -1; slices point into the body.
 */
int wire_put_action(struct change *out, uint64_t client, const struct face_action *a);
int wire_action_decode(struct slice body, uint64_t *client, struct face_action *a);
/* The frame of an action that has waited: ms that are left now. */
void wire_action_left(struct change *frame, int64_t left_ms);
bool wire_name_ok(struct slice name);

#endif
