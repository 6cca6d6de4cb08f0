/* SPDX-License-Identifier: ISC */
/*
 * The Redis protocol, from the server's side: requests out of a stream of bytes (arrays of bulk
 * strings, and lines as a person types them), and replies in version 2 or 3 of the protocol. Pure:
 * no I/O, no clock. The rules and the words of the errors are those of Redis 7.0 (protocol
 * specification at redis.io, and what the program does).
 */
#ifndef BH_SYNCD_RESP_H
#define BH_SYNCD_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "change.h"

enum {
	RESP_BULK_MAX = 512 * 1024 * 1024, /* default of resp_limits.bulk */
	RESP_ARGS_MAX = 1024 * 1024,
	RESP_LINE_MAX = 64 * 1024, /* a line typed by hand, or one that holds a length */
	RESP_ARGS_KEPT = 1024	   /* more room for arguments than this is given back */
};

/* One argument: where it begins, counted from the start of its request. */
struct resp_arg {
	size_t at;
	size_t len;
};

/* A request that is being read: zero it before the first. */
struct resp_request {
	size_t bulk_max; /* bytes of an argument */
	size_t at;	 /* bytes of the request that are read already */
	long long left;	 /* arguments to come, or 0 outside of an array */
	long long bulk;	 /* length of the argument to come, or -1: not known yet */
	bool array;	 /* inside of an array */
	struct resp_arg *args;
	size_t n, size;
	/* when more is needed: bytes of the request at least, counted from its start */
	size_t need;
	const char *error; /* text of a protocol error */
	char error_text[64];
};

enum resp_result { RESP_MORE, RESP_REQUEST, RESP_ERROR };

void resp_request_init(struct resp_request *r, size_t bulk_max);
void resp_request_free(struct resp_request *r);

/*
 * Reads on in the request that starts at data, of which len bytes are there (the same ones as in
 * the last call, and more). A typed line is unescaped in place. RESP_REQUEST: whole, with
 * args[0..n) (n can be 0: nothing to do) and `at` its length; call resp_request_next() when done
 * with it. RESP_ERROR: error says what for, the stream cannot go on.
 */
enum resp_result resp_request_read(struct resp_request *r, uint8_t *data, size_t len);
void resp_request_next(struct resp_request *r);

/* Replies, one behind the other. */
struct resp_out {
	uint8_t *data;
	size_t len, size;
	size_t max;  /* 0: no bound */
	bool failed; /* beyond max, or no memory: what is there is not whole any more */
	int version; /* 2 or 3 */
};

void resp_out_free(struct resp_out *o);
/* Room for n more bytes, to be written at o->data + o->len: 0, or -1 and failed. */
int resp_reserve(struct resp_out *o, size_t n);
void resp_raw(struct resp_out *o, const void *bytes, size_t n);
void resp_literal(struct resp_out *o, const char *text);
/* Puts bytes where `at` is, what is behind it moves. */
void resp_insert(struct resp_out *o, size_t at, const void *bytes, size_t n);
/* len bytes at `at` go, and n bytes come in their place. */
void resp_replace(struct resp_out *o, size_t at, size_t len, const void *bytes, size_t n);

void resp_status(struct resp_out *o, const char *text);
void resp_ok(struct resp_out *o);
/* "ERR " goes before a text that does not begin with '-'; line ends become blanks. */
void resp_error(struct resp_out *o, const char *text);
void resp_errorf(struct resp_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void resp_int(struct resp_out *o, int64_t n);
void resp_bulk(struct resp_out *o, struct slice s);
void resp_text(struct resp_out *o, const char *text); /* a bulk string */
void resp_bulk_int(struct resp_out *o, int64_t n);
void resp_verbatim(struct resp_out *o, struct slice text);
void resp_null(struct resp_out *o);
void resp_null_array(struct resp_out *o);
void resp_array(struct resp_out *o, size_t n);
void resp_map(struct resp_out *o, size_t n); /* of n pairs; an array of 2n in version 2 */
void resp_set(struct resp_out *o, size_t n);
void resp_push(struct resp_out *o, size_t n);
/* An array whose length is known at its end only: _begin returns the place for _end. */
size_t resp_array_begin(const struct resp_out *o);
void resp_array_end(struct resp_out *o, size_t place, size_t n);

/* Slices. */
struct slice slice_of(const char *text);
bool slice_is(struct slice s, const char *word); /* the same letters, upper or lower */
bool slice_equal(struct slice a, struct slice b);

/* Text of a number and back, as strict as Redis: no blanks, no +, no zeros before it. */
enum { RESP_INT_TEXT = 24, RESP_FLOAT_TEXT = 5 * 1024 };
size_t resp_format_int(char out[RESP_INT_TEXT], int64_t n);
bool resp_parse_int(struct slice s, int64_t *n);
bool resp_parse_float(struct slice s, long double *n);
/* "10.5": 17 digits behind the point at most, no zeros at the end. Returns the length. */
size_t resp_format_float(char out[RESP_FLOAT_TEXT], long double n);

#endif
