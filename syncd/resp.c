/* SPDX-License-Identifier: ISC */
/*
 * The Redis protocol: requests in, replies out (resp.h).
 */
#include "config.h"

#include "resp.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARGS_FIRST = 16, OUT_FIRST = 16 * 1024, NUMBER_MAX = 21 };

void
resp_request_init(struct resp_request *r, size_t bulk_max)
{
	memset(r, 0, sizeof(*r));
	r->bulk_max = bulk_max;
	r->bulk = -1;
}

void
resp_request_free(struct resp_request *r)
{
	free(r->args);
	r->args = NULL;
	r->n = r->size = 0;
}

void
resp_request_next(struct resp_request *r)
{
	if (r->size > RESP_ARGS_KEPT)
		resp_request_free(r);
	r->n = r->at = r->need = 0;
	r->left = 0;
	r->bulk = -1;
	r->array = false;
}

static enum resp_result
refuse(struct resp_request *r, const char *text)
{
	r->error = text;
	return RESP_ERROR;
}

static enum resp_result
more(struct resp_request *r, size_t need)
{
	r->need = need;
	return RESP_MORE;
}

/* Room for one more argument. */
static int
add_arg(struct resp_request *r, size_t at, size_t len)
{
	if (r->n == r->size) {
		size_t size = r->size == 0 ? ARGS_FIRST : r->size * 2;
		struct resp_arg *args = realloc(r->args, size * sizeof(*args));

		if (args == NULL)
			return -1;
		r->args = args;
		r->size = size;
	}
	r->args[r->n].at = at;
	r->args[r->n++].len = len;
	return 0;
}

/*
 * The number on the line that begins with a marker at r->at: 1, and r->at is behind the line; 0
 * when the line is not whole; -1 with *too_long when it will not be, else when it is no number.
 */
static int
read_length(struct resp_request *r, const uint8_t *data, size_t len, long long *n, bool *too_long)
{
	const uint8_t *line = data + r->at, *end = memchr(line, '\r', len - r->at);
	struct slice digits = {line + 1, 0};
	int64_t value;

	*too_long = false;
	if (end == NULL) {
		*too_long = len - r->at > RESP_LINE_MAX;
		return *too_long ? -1 : 0;
	}
	if ((size_t)(end - data) + 2 > len)
		return 0;
	digits.len = end > line ? (size_t)(end - line) - 1 : 0;
	if (!resp_parse_int(digits, &value))
		return -1;
	*n = value;
	r->at = (size_t)(end - data) + 2;
	return 1;
}

/* The next argument of an array. */
static enum resp_result
read_bulk(struct resp_request *r, const uint8_t *data, size_t len)
{
	bool too_long;

	if (r->bulk < 0) {
		int got;

		if (r->at >= len)
			return more(r, r->at + 1);
		/* the line is looked at first, its marker then: so does Redis */
		if (data[r->at] != '$' && memchr(data + r->at, '\r', len - r->at) != NULL) {
			snprintf(r->error_text, sizeof(r->error_text),
			    "Protocol error: expected '$', got '%c'", data[r->at]);
			return refuse(r, r->error_text);
		}
		got = read_length(r, data, len, &r->bulk, &too_long);
		if (got == 0)
			return more(r, len + 1);
		if (too_long)
			return refuse(r, "Protocol error: too big bulk count string");
		if (got < 0 || r->bulk < 0 || (unsigned long long)r->bulk > r->bulk_max)
			return refuse(r, "Protocol error: invalid bulk length");
	}
	if (len - r->at < (size_t)r->bulk + 2)
		return more(r, r->at + (size_t)r->bulk + 2);
	if (add_arg(r, r->at, (size_t)r->bulk) != 0)
		return refuse(r, "Protocol error: out of memory");
	r->at += (size_t)r->bulk + 2;
	r->bulk = -1;
	r->left--;
	return RESP_REQUEST;
}

static enum resp_result
read_array(struct resp_request *r, const uint8_t *data, size_t len)
{
	if (!r->array) {
		bool too_long;
		int got = read_length(r, data, len, &r->left, &too_long);

		if (got == 0)
			return more(r, len + 1);
		if (too_long)
			return refuse(r, "Protocol error: too big mbulk count string");
		if (got < 0 || r->left > RESP_ARGS_MAX)
			return refuse(r, "Protocol error: invalid multibulk length");
		r->array = true;
	}
	while (r->left > 0) {
		enum resp_result result = read_bulk(r, data, len);

		if (result != RESP_REQUEST)
			return result;
	}
	return RESP_REQUEST;
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int
hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One escape sequence in double quotes at p (behind the backslash). Returns its length. */
static size_t
unescape(const uint8_t *p, const uint8_t *end, uint8_t *out)
{
	static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
	const char *known;

	if (*p == 'x' && end - p >= 3 && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0) {
		*out = (uint8_t)(hex_digit(p[1]) * 16 + hex_digit(p[2]));
		return 3;
	}
	known = *p == 0 ? NULL : strchr(from, *p);
	*out = known != NULL ? (uint8_t)to[known - from] : *p;
	return 1;
}

/*
 * One word of a typed line, unescaped to where it stands. *p moves behind it. Returns its length,
 * or -1 when quotes are not closed, or something sticks to them.
 */
static ptrdiff_t
read_word(uint8_t **p, uint8_t *end)
{
	uint8_t *start = *p, *out = start, *in = start;
	uint8_t quote = 0;

	for (;; in++) {
		if (in == end) {
			if (quote != 0)
				return -1;
			break;
		}
		if (quote == 0) {
			if (is_blank(*in))
				break;
			if (*in == '"' || *in == '\'')
				quote = *in;
			else
				*out++ = *in;
		} else if (quote == '"' && *in == '\\' && end - in > 1) {
			in += unescape(in + 1, end, out++);
		} else if (quote == '\'' && *in == '\\' && end - in > 1 && in[1] == '\'') {
			*out++ = '\'';
			in++;
		} else if (*in == quote) {
			in++;
			if (in < end && !is_blank(*in))
				return -1;
			break;
		} else
			*out++ = *in;
	}
	*p = in;
	return out - start;
}

static enum resp_result
read_line(struct resp_request *r, uint8_t *data, size_t len)
{
	uint8_t *nul = memchr(data, 0, len), *end, *p = data;
	/* a line ends nowhere behind a NUL, as in Redis */
	uint8_t *newline = memchr(data, '\n', nul != NULL ? (size_t)(nul - data) : len);

	if (newline == NULL)
		return len > RESP_LINE_MAX ? refuse(r, "Protocol error: too big inline request")
					   : more(r, len + 1);
	end = newline > data && newline[-1] == '\r' ? newline - 1 : newline;
	for (;;) {
		uint8_t *start;
		ptrdiff_t n;

		while (p < end && is_blank(*p))
			p++;
		if (p == end)
			break;
		start = p;
		n = read_word(&p, end);
		if (n < 0)
			return refuse(r, "Protocol error: unbalanced quotes in request");
		if (add_arg(r, (size_t)(start - data), (size_t)n) != 0)
			return refuse(r, "Protocol error: out of memory");
	}
	r->at = (size_t)(newline - data) + 1;
	return RESP_REQUEST;
}

enum resp_result
resp_request_read(struct resp_request *r, uint8_t *data, size_t len)
{
	if (len == 0)
		return more(r, 1);
	return r->array || data[0] == '*' ? read_array(r, data, len) : read_line(r, data, len);
}

/* ---- replies */

void
resp_out_free(struct resp_out *o)
{
	free(o->data);
	o->data = NULL;
	o->len = o->size = 0;
}

int
resp_reserve(struct resp_out *o, size_t n)
{
	size_t size;
	uint8_t *data;

	if (o->failed)
		return -1;
	if (o->size - o->len >= n)
		return 0;
	if ((o->max != 0 && (n > o->max || o->len > o->max - n)) || n > SIZE_MAX / 4 - o->len) {
		o->failed = true;
		return -1;
	}
	size = o->size == 0 ? OUT_FIRST : o->size + o->size / 2;
	if (size < o->len + n)
		size = o->len + n;
	data = realloc(o->data, size);
	if (data == NULL) {
		o->failed = true;
		return -1;
	}
	o->data = data;
	o->size = size;
	return 0;
}

void
resp_raw(struct resp_out *o, const void *bytes, size_t n)
{
	if (n == 0 || resp_reserve(o, n) != 0)
		return;
	memcpy(o->data + o->len, bytes, n);
	o->len += n;
}

void
resp_literal(struct resp_out *o, const char *text)
{
	resp_raw(o, text, strlen(text));
}

void
resp_replace(struct resp_out *o, size_t at, size_t len, const void *bytes, size_t n)
{
	if (n > len && resp_reserve(o, n - len) != 0)
		return;
	memmove(o->data + at + n, o->data + at + len, o->len - at - len);
	if (n > 0)
		memcpy(o->data + at, bytes, n);
	o->len = o->len - len + n;
}

void
resp_insert(struct resp_out *o, size_t at, const void *bytes, size_t n)
{
	resp_replace(o, at, 0, bytes, n);
}

/* A marker, a number, the end of the line. */
static size_t
format_head(char out[RESP_INT_TEXT + 3], char marker, int64_t n)
{
	size_t len;

	out[0] = marker;
	len = resp_format_int(out + 1, n) + 1;
	out[len++] = '\r';
	out[len++] = '\n';
	return len;
}

static void
put_head(struct resp_out *o, char marker, int64_t n)
{
	if (resp_reserve(o, RESP_INT_TEXT + 3) == 0)
		o->len += format_head((char *)o->data + o->len, marker, n);
}

void
resp_status(struct resp_out *o, const char *text)
{
	resp_raw(o, "+", 1);
	resp_literal(o, text);
	resp_raw(o, "\r\n", 2);
}

void
resp_ok(struct resp_out *o)
{
	resp_raw(o, "+OK\r\n", 5);
}

void
resp_error(struct resp_out *o, const char *text)
{
	size_t start, n = strlen(text);

	while (n > 0 && (text[n - 1] == '\r' || text[n - 1] == '\n'))
		n--;
	if (*text != '-')
		resp_raw(o, "-ERR ", 5);
	start = o->len;
	resp_raw(o, text, n);
	for (size_t i = start; i < o->len; i++)
		if (o->data[i] == '\r' || o->data[i] == '\n')
			o->data[i] = ' ';
	resp_raw(o, "\r\n", 2);
}

void
resp_errorf(struct resp_out *o, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	resp_error(o, text);
}

void
resp_int(struct resp_out *o, int64_t n)
{
	put_head(o, ':', n);
}

void
resp_bulk(struct resp_out *o, struct slice s)
{
	size_t n;

	if (resp_reserve(o, s.len + RESP_INT_TEXT + 5) != 0)
		return;
	n = o->len + format_head((char *)o->data + o->len, '$', (int64_t)s.len);
	if (s.len > 0)
		memcpy(o->data + n, s.data, s.len);
	n += s.len;
	o->data[n++] = '\r';
	o->data[n++] = '\n';
	o->len = n;
}

void
resp_text(struct resp_out *o, const char *text)
{
	resp_bulk(o, slice_of(text));
}

void
resp_bulk_int(struct resp_out *o, int64_t n)
{
	char text[RESP_INT_TEXT];
	struct slice s = {(uint8_t *)text, resp_format_int(text, n)};

	resp_bulk(o, s);
}

void
resp_verbatim(struct resp_out *o, struct slice text)
{
	if (o->version < 3) {
		resp_bulk(o, text);
		return;
	}
	put_head(o, '=', (int64_t)text.len + 4);
	resp_raw(o, "txt:", 4);
	resp_raw(o, text.data, text.len);
	resp_raw(o, "\r\n", 2);
}

void
resp_null(struct resp_out *o)
{
	resp_literal(o, o->version < 3 ? "$-1\r\n" : "_\r\n");
}

void
resp_null_array(struct resp_out *o)
{
	resp_literal(o, o->version < 3 ? "*-1\r\n" : "_\r\n");
}

void
resp_array(struct resp_out *o, size_t n)
{
	put_head(o, '*', (int64_t)n);
}

void
resp_map(struct resp_out *o, size_t n)
{
	put_head(o, o->version < 3 ? '*' : '%', (int64_t)(o->version < 3 ? 2 * n : n));
}

void
resp_set(struct resp_out *o, size_t n)
{
	put_head(o, o->version < 3 ? '*' : '~', (int64_t)n);
}

void
resp_push(struct resp_out *o, size_t n)
{
	put_head(o, o->version < 3 ? '*' : '>', (int64_t)n);
}

size_t
resp_array_begin(const struct resp_out *o)
{
	return o->len;
}

void
resp_array_end(struct resp_out *o, size_t place, size_t n)
{
	char head[RESP_INT_TEXT + 3];

	if (!o->failed)
		resp_insert(o, place, head, format_head(head, '*', (int64_t)n));
}

/* ---- slices and numbers */

struct slice
slice_of(const char *text)
{
	return (struct slice){(const uint8_t *)text, strlen(text)};
}

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool
slice_is(struct slice s, const char *word)
{
	for (size_t i = 0; i < s.len; i++)
		if (word[i] == '\0' || lower(s.data[i]) != lower((uint8_t)word[i]))
			return false;
	return word[s.len] == '\0';
}

bool
slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

size_t
resp_format_int(char out[RESP_INT_TEXT], int64_t n)
{
	uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
	char digits[NUMBER_MAX];
	size_t count = 0, len = 0;

	do {
		digits[count++] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (n < 0)
		out[len++] = '-';
	while (count > 0)
		out[len++] = digits[--count];
	return len;
}

bool
resp_parse_int(struct slice s, int64_t *n)
{
	bool negative = s.len > 0 && s.data[0] == '-';
	size_t i = negative ? 1 : 0;
	uint64_t value = 0, most = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;

	if (s.len == i || s.len > NUMBER_MAX)
		return false;
	if (s.data[i] == '0') {
		*n = 0;
		return s.len == 1;
	}
	for (; i < s.len; i++) {
		unsigned digit = (unsigned)s.data[i] - '0';

		if (digit > 9 || value > (most - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*n = (int64_t)(negative ? 0 - value : value);
	return true;
}

bool
resp_parse_float(struct slice s, long double *n)
{
	char text[256], *end;

	if (s.len == 0 || s.len >= sizeof(text) || is_blank(s.data[0]))
		return false;
	memcpy(text, s.data, s.len);
	text[s.len] = '\0';
	errno = 0;
	*n = strtold(text, &end);
	if (end != text + s.len || isnan(*n))
		return false;
	return errno != ERANGE || (*n != HUGE_VALL && *n != -HUGE_VALL && *n != 0);
}

size_t
resp_format_float(char out[RESP_FLOAT_TEXT], long double n)
{
	int printed = snprintf(out, RESP_FLOAT_TEXT, "%.17Lf", n);
	size_t len = printed < 0 ? 0 : (size_t)printed;

	if (len >= RESP_FLOAT_TEXT)
		len = RESP_FLOAT_TEXT - 1;
	if (memchr(out, '.', len) != NULL) {
		while (len > 0 && out[len - 1] == '0')
			len--;
		if (len > 0 && out[len - 1] == '.')
			len--;
	}
	if (len == 2 && memcmp(out, "-0", 2) == 0) {
		out[0] = '0';
		len = 1;
	}
	return len;
}
