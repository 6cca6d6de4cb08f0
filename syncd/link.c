/* SPDX-License-Identifier: ISC */
/*
 * Who is dialled when, who is let in, and frames in and out of the records of a session.
 */
#include "config.h"

#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/admin.h"
#include "lib/log.h"
#include "lib/loop.h"

enum {
	PLAIN = RECORD_PLAIN_MAX,
	BUFFER = 2 * (RECORD_PLAIN_MAX + RECORD_OVERHEAD),
	MEMORY = 2 * BUFFER + PLAIN,
	RETRY_MIN_MS = 20,
	RETRY_MAX_MS = 2000,
	STABLE_MS = 5000, /* a link that was up for so long is dialled again at once */
	LOG_INTERVAL_MS = 10000,
	TURN_MS = 200,		/* frames that are there are taken for so long */
	OUT_KEEP = 1 << 20,	/* an empty queue keeps no more memory */
	LIMIT_PARTS = 8,	/* a limited link says something so many times in a second */
	LIMIT_QUEUE = 64 << 10, /* what waits on one, if that is more than a second of it */
	/* longest frames whose beginnings may be kept at a time, of all partners */
	PARTS_MAX = 2,
};

static void session_ask_dh(struct session *s, uint32_t cookie, const uint8_t *public_key);
static int session_identify(struct session *s);
static int session_admit(struct session *s);
static void session_is_up(struct session *s);
static void session_record(struct session *s, const uint8_t *plain, size_t len);
static void session_writable(struct session *s);
static void session_ended(struct session *s, int cause);

static const struct session_ops session_ops = {
    .ask_dh = session_ask_dh,
    .identify = session_identify,
    .admit = session_admit,
    .up = session_is_up,
    .record = session_record,
    .writable = session_writable,
    .ended = session_ended,
};

void
data_links_init(
    struct data_links *l, uv_loop_t *loop, const struct data_links_ops *ops, uint64_t boot)
{
	memset(l, 0, sizeof(*l));
	l->loop = loop;
	l->ops = ops;
	l->boot = boot;
	l->net_up = 1;
}

static unsigned
kind_index(unsigned kind)
{
	return kind == LINK_SYNC ? 0 : 1;
}

static const char *
kind_name(unsigned kind)
{
	return kind == LINK_SYNC ? "sync" : "request";
}

/* ---- one link */

static int
session_is_open(const struct session *s)
{
	return s->state != SESSION_FREE && s->state != SESSION_CLOSING;
}

static struct data_link *
new_link(struct data_links *all)
{
	for (size_t i = 0; i < LINKS_MAX; i++) {
		struct data_link *l = &all->link[i];

		if (l->used || l->session.state != SESSION_FREE)
			continue;
		l->memory = malloc(MEMORY);
		if (l->memory == NULL)
			return NULL;
		l->links = all;
		l->used = 1;
		l->up = l->dirty = l->late = l->unpacking = l->closed = 0;
		l->out_pos = l->part_len = l->part_need = 0;
		l->bytes_in = l->bytes_out = l->wire_out = 0;
		l->plain_left = l->packed_len = 0;
		l->tokens = 0;
		l->tokens_ms = now_ms();
		l->resume_ms = 0;
		l->refused = 0;
		l->feed = NULL;
		change_init(&l->out);
		l->session.ops = &session_ops;
		l->session.user = l;
		l->session.kinds = 1U << LINK_SYNC | 1U << LINK_REQUEST;
		l->session.buffers = (struct session_buffers){.in = l->memory,
		    .out = l->memory + BUFFER,
		    .plain = l->memory + 2 * BUFFER,
		    .in_size = BUFFER,
		    .out_size = BUFFER,
		    .plain_max = PLAIN};
		return l;
	}
	return NULL;
}

/* Give everything back. */
static void
free_link(struct data_link *l)
{
	session_free(&l->session);
	free(l->memory);
	free(l->part);
	free(l->packed);
	packer_free(l->packer);
	unpacker_free(l->unpacker);
	l->packer = NULL;
	l->unpacker = NULL;
	l->memory = l->part = l->packed = NULL;
	l->part_len = l->part_size = 0;
	change_free(&l->out);
	change_init(&l->out);
	l->used = l->up = 0;
}

static const char *
server_name(const struct data_links *all, uint8_t server)
{
	return all->conf != NULL && server < all->conf->general.n_servers
		   ? all->conf->server[server].name
		   : "?";
}

/* How long to wait after the nth failure in a row. */
static int64_t
retry_ms(uint32_t failures)
{
	int64_t ms = RETRY_MIN_MS;

	for (uint32_t i = 1; i < failures && ms < RETRY_MAX_MS; i++)
		ms *= 2;
	return failures == 0 ? 0 : ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
}

/* It is over; redial later if it was ours. */
static void
end_link(struct data_link *l, const char *why)
{
	struct data_links *all = l->links;
	struct session *s = &l->session;
	uint8_t server = s->server;
	unsigned k = kind_index(s->kind);
	uint64_t held;

	if (!l->used)
		return;
	if (!s->identified) {
		free_link(l);
		return;
	}
	if (all->slot[server][k].trying == l) {
		all->slot[server][k].trying = NULL;
		all->slot[server][k].failures++;
		all->slot[server][k].path++;
	}
	for (int end = 0; end < LINK_ENDS; end++) {
		if (all->slot[server][k].up[end] == l)
			all->slot[server][k].up[end] = NULL;
	}
	if (why != NULL &&
	    log_limited(&all->slot[server][k].line, now_ms(), LOG_INTERVAL_MS, &held))
		log_info("the %s link %s %s ended: %s", kind_name(s->kind),
		    s->inbound ? "from" : "to", server_name(all, server), why);
	if (l->up) {
		l->up = 0;
		/* one that ends at once, again and again, is not dialled at once again and again */
		if (now_ms() - s->up_ms >= STABLE_MS)
			all->slot[server][k].failures = 0;
		else if (!s->inbound)
			all->slot[server][k].failures++;
		if (!s->inbound)
			all->slot[server][k].next_dial_ms =
			    now_ms() + retry_ms(all->slot[server][k].failures);
		all->ops->down(l);
	}
	free_link(l);
}

void
link_end(struct data_link *l, const char *why)
{
	end_link(l, why);
}

/* ---- frames out */

size_t
link_queued(const struct data_link *l)
{
	return l->out.len - l->out_pos;
}

/* Bytes per second that the partner may be sent; 0: any number. */
static int64_t
limit_of(const struct data_link *l)
{
	if (l->session.kind != LINK_SYNC || l->session.inbound)
		return 0;
	return l->links->conf->server[link_server(l)].data_limit;
}

int
link_full(const struct data_link *l)
{
	int64_t limit = limit_of(l);
	size_t max = limit == 0 || limit > LINK_QUEUE_MAX ? LINK_QUEUE_MAX
		     : limit < LIMIT_QUEUE		  ? LIMIT_QUEUE
							  : (size_t)limit;

	return link_queued(l) >= max;
}

int
link_put_raw(struct data_link *l, struct slice frames)
{
	if (wire_put_raw(&l->out, frames) != 0) {
		end_link(l, "no memory for what it has to be told");
		return -1;
	}
	l->dirty = 1;
	return 0;
}

int
link_put(struct data_link *l, uint8_t type, struct slice head, struct slice body)
{
	if (wire_put(&l->out, type, head, body) != 0) {
		end_link(l, "no memory for what it has to be told");
		return -1;
	}
	l->dirty = 1;
	return 0;
}

int
link_pack(struct data_link *l)
{
	static const uint8_t body[] = {PACK_ZSTD, PACK_WINDOW_LOG};

	if (l->packer != NULL)
		return 0;
	l->packer = packer_new();
	l->packed = malloc(PLAIN);
	if (l->packer == NULL || l->packed == NULL) {
		packer_free(l->packer);
		free(l->packed);
		l->packer = NULL;
		l->packed = NULL;
		return -1;
	}
	l->packed_len = 0;
	if (!link_put(l, WIRE_PACKED, (struct slice){body, sizeof(body)}, (struct slice){NULL, 0}))
		l->plain_left = link_queued(l);
	return 0;
}

/* Bytes that the next record may have; 0: none before resume_ms. */
static size_t
allowance(struct data_link *l)
{
	int64_t limit = limit_of(l), now = now_ms(), record = limit / LIMIT_PARTS;

	if (limit == 0)
		return PLAIN;
	if (record > PLAIN)
		record = PLAIN;
	/* what was not used up is worth a quarter of a second, or a record */
	l->tokens += (now - l->tokens_ms < 1000 ? now - l->tokens_ms : 1000) * limit;
	l->tokens_ms = now;
	if (l->tokens > limit * 250 && l->tokens > record * 1000)
		l->tokens = limit * 250 > record * 1000 ? limit * 250 : record * 1000;
	if (l->tokens > 0)
		return (size_t)record;
	l->resume_ms = now + (record * 500 - l->tokens) / limit + 1;
	return 0;
}

/* The next record of at most max bytes: 0 when there is none. */
static size_t
next_record(struct data_link *l, size_t max, const uint8_t **bytes)
{
	size_t n = link_queued(l), used = 0;

	if (l->packer == NULL || l->plain_left > 0) {
		*bytes = l->out.data + l->out_pos;
		if (l->plain_left > 0 && n > l->plain_left)
			n = l->plain_left;
		return n < max ? n : max;
	}
	if (l->packed_len == 0 && (n > 0 || pack_waits(l->packer))) {
		long len = pack(l->packer, l->out.data + l->out_pos, n, &used, l->packed, max);

		l->out_pos += used;
		l->bytes_out += used;
		if (len < 0) {
			end_link(l, "its data cannot be compressed");
			return 0;
		}
		l->packed_len = (size_t)len;
	}
	*bytes = l->packed;
	return l->packed_len;
}

/* That record went out. */
static void
record_left(struct data_link *l, const uint8_t *bytes, size_t n)
{
	l->wire_out += n;
	if (limit_of(l) > 0)
		l->tokens -= (int64_t)(n + RECORD_OVERHEAD) * 1000;
	if (bytes == l->packed) {
		l->packed_len = 0;
		return;
	}
	l->out_pos += n;
	l->bytes_out += n;
	l->plain_left -= l->plain_left > 0 ? n : 0;
}

/* As many records as there is room for, and the limit of the partner allows. */
static void
pump(struct data_link *l)
{
	int was_full = link_full(l);
	const uint8_t *bytes;
	size_t n, max;

	l->dirty = 0;
	l->resume_ms = 0;
	while (l->up && (max = allowance(l)) > 0 && (n = next_record(l, max, &bytes)) > 0) {
		if (session_send(&l->session, bytes, n) != 0)
			break;
		record_left(l, bytes, n);
	}
	if (!l->used)
		return;
	if (l->out_pos == l->out.len) {
		l->out_pos = l->out.len = 0;
		if (l->out.size > OUT_KEEP) {
			change_free(&l->out);
			change_init(&l->out);
		}
	} else if (l->out_pos > l->out.len / 2) {
		memmove(l->out.data, l->out.data + l->out_pos, l->out.len - l->out_pos);
		l->out.len -= l->out_pos;
		l->out_pos = 0;
	}
	if (was_full && l->up && !link_full(l))
		l->links->ops->room(l);
}

int64_t
data_links_pump(struct data_links *all)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < LINKS_MAX; i++) {
		struct data_link *l = &all->link[i];

		if (!l->used)
			continue;
		if (l->dirty || (l->resume_ms != 0 && now_ms() >= l->resume_ms))
			pump(l);
		if (l->used && l->dirty) /* there was room, and the owner filled it */
			next = 0;
		else if (l->used && l->resume_ms != 0 && l->resume_ms < next)
			next = l->resume_ms;
	}
	return next;
}

static void
session_writable(struct session *s)
{
	pump(s->user);
}

/* ---- frames in */

static size_t
frame_max(const struct data_link *l)
{
	return wire_frame_max((uint64_t)l->links->conf->general.data_bulk);
}

/* The partner is not what it should be: its link ends, with a line of its own in the log. */
static void
fault(struct data_link *l, const char *what)
{
	const struct session *s = &l->session;
	uint64_t held;

	if (log_limited(&l->links->slot[s->server][kind_index(s->kind)].fault, now_ms(),
		LOG_INTERVAL_MS, &held))
		log_warn("the %s link %s %s: %s", kind_name(s->kind), s->inbound ? "from" : "to",
		    server_name(l->links, s->server), what);
	end_link(l, what);
}

/* A frame that cannot be: size, or of no type (0). */
static void
refuse_frame(struct data_link *l, size_t size)
{
	char text[128];

	snprintf(text, sizeof(text), "a message of %zu bytes came; data.bulk here allows %zu", size,
	    frame_max(l));
	fault(l, size > WIRE_CONTROL_MAX + WIRE_HEADER ? text : "the partner broke the protocol");
}

/* Main compresses from the next record on; left: bytes behind this frame. 0 or -1. */
static int
take_packed(struct data_link *l, struct slice body, size_t left)
{
	uint8_t how, window_log;

	if (wire_packed_decode(body, &how, &window_log) != 0 || how != PACK_ZSTD ||
	    window_log > PACK_WINDOW_LOG || left != 0 || l->unpacker != NULL ||
	    l->session.kind != LINK_SYNC || !l->session.inbound)
		return -1;
	l->unpacker = unpacker_new();
	if (l->unpacker == NULL)
		end_link(l, "no memory to decompress what it sends");
	return 0;
}

/* A turn of the loop has its time for frames, and ends with the one that is begun in it. */
static int
has_time(struct data_links *all)
{
	int64_t now = now_ms();

	if (all->turn_ms == 0)
		all->turn_ms = now;
	return now - all->turn_ms < TURN_MS;
}

/* What has come waits for the next turn. */
static void
hold(struct data_link *l)
{
	l->late = 1;
	l->part_need = 0;
	session_hold(&l->session, 1);
}

/*
 * All whole frames of n bytes that there is time for. 0 and how many bytes they were, or -1: the
 * link is gone.
 */
static int
take_frames(struct data_link *l, const uint8_t *in, size_t n, size_t *used_all)
{
	struct slice body;
	uint8_t type;
	size_t used;

	*used_all = 0;
	for (;;) {
		int r;

		if (!has_time(l->links)) {
			hold(l);
			return 0;
		}
		r = wire_next(in + *used_all, n - *used_all, frame_max(l), &type, &body, &used);

		if (r == 0) {
			l->part_need = used;
			return 0;
		}
		if (r < 0) {
			refuse_frame(l, used);
			return -1;
		}
		*used_all += used;
		if ((type == WIRE_PACKED ? take_packed(l, body, n - *used_all)
					 : l->links->ops->frame(l, type, body)) != 0) {
			if (l->used)
				fault(l, "the partner broke the protocol");
			return -1;
		}
		if (!l->used || !l->up)
			return -1;
	}
}

/* Bytes that the beginnings of frames take on all links. */
static size_t
parts_size(const struct data_links *all)
{
	size_t sum = 0;

	for (size_t i = 0; i < LINKS_MAX; i++)
		sum += all->link[i].part_size;
	return sum;
}

/*
 * Room for n bytes of frames. Memory is taken for what has come, twice as much each time but never
 * more than the frame needs, whatever its header announces; and all partners together have no more
 * than PARTS_MAX frames.
 */
static int
reserve_part(struct data_link *l, size_t n)
{
	size_t size = l->part_size > 0 ? l->part_size : 2 * PLAIN;
	uint8_t *part;

	if (n <= l->part_size)
		return 0;
	while (size < n)
		size *= 2;
	if (size > l->part_need + PLAIN)
		size = n > l->part_need + PLAIN ? n : l->part_need + PLAIN;
	part = parts_size(l->links) - l->part_size > PARTS_MAX * frame_max(l) - size
		   ? NULL
		   : realloc(l->part, size);
	if (part == NULL) {
		end_link(l, "no memory for a message of the partner");
		return -1;
	}
	l->part = part;
	l->part_size = size;
	return 0;
}

/* Keep the beginning of a frame until the rest is there. */
static int
keep_part(struct data_link *l, const uint8_t *in, size_t n)
{
	if (reserve_part(l, l->part_len + n) != 0)
		return -1;
	memcpy(l->part + l->part_len, in, n);
	l->part_len += n;
	return 0;
}

/* The frames that are whole by now. */
static void
take_part(struct data_link *l)
{
	size_t used;

	if (take_frames(l, l->part, l->part_len, &used) != 0)
		return;
	memmove(l->part, l->part + used, l->part_len - used);
	l->part_len -= used;
	if (l->part_len == 0 && l->part_size > OUT_KEEP) {
		free(l->part);
		l->part = NULL;
		l->part_size = 0;
	}
}

/* A piece of the stream of frames. */
static void
take_stream(struct data_link *l, const uint8_t *plain, size_t len)
{
	size_t used;

	l->bytes_in += len;
	if (l->part_len == 0) {
		if (take_frames(l, plain, len, &used) == 0 && used < len)
			(void)keep_part(l, plain + used, len - used);
		return;
	}
	if (keep_part(l, plain, len) == 0)
		take_part(l);
}

/* What the record that came last holds, until it is all taken or late. */
static void
take_pieces(struct data_link *l)
{
	struct slice piece;
	int r = 0;

	while (!l->late && (r = unpack(l->unpacker, &piece)) == 1) {
		take_stream(l, piece.data, piece.len);
		if (!l->used || !l->up)
			return;
	}
	l->unpacking = l->late;
	if (r < 0)
		fault(l, "what the partner sent cannot be decompressed");
}

static void
session_record(struct session *s, const uint8_t *plain, size_t len)
{
	struct data_link *l = s->user;

	l->heard_ms = now_ms();
	if (l->unpacker == NULL) {
		take_stream(l, plain, len);
	} else {
		unpack_begin(l->unpacker, plain, len);
		take_pieces(l);
	}
}

/* netd says that the other end is gone: what came before counts, also when it is late. */
static void
close_link(struct data_link *l, enum link_close cause)
{
	static const char *const words[CLOSE_MAX] = {"closed on this side", "closed by the partner",
	    "reset", "refused", "timed out", "unreachable", "an error on this side"};
	uint32_t token = l->session.token;

	l->closed = 0;
	session_drain(&l->session);
	if (!l->used || l->session.token != token)
		return;
	if (l->late) {
		l->closed = 1;
		l->close_cause = cause;
	} else {
		end_link(l, words[cause]);
	}
}

/* A turn later: what was kept, then the rest of its record, then what came behind it. */
static void
take_late(struct data_link *l)
{
	l->late = 0;
	l->heard_ms = now_ms(); /* it is we who are slow */
	if (l->part_len > 0)
		take_part(l);
	if (l->used && l->up && l->unpacking)
		take_pieces(l);
	if (l->used && l->up && !l->late)
		session_hold(&l->session, 0);
	if (l->used && !l->late && l->closed)
		close_link(l, l->close_cause);
}

/* ---- the life of a session */

static void
session_ask_dh(struct session *s, uint32_t cookie, const uint8_t *public_key)
{
	struct data_link *l = s->user;

	l->links->ops->ask_dh(cookie, public_key);
}

/* Whose key is it, and may that server open this kind of link to us? */
static int
session_identify(struct session *s)
{
	struct data_link *l = s->user;
	const struct conf *c = l->links->conf;

	for (uint8_t i = 0; i < c->general.n_servers; i++) {
		if (memcmp(c->server[i].key_data, s->noise.remote_static, NOISE_KEY) != 0)
			continue;
		if (i == c->general.self)
			return LINK_C_SELF_KEY;
		s->server = i;
		return l->links->ops->allowed(i, (enum link_kind)s->kind) ? 0 : LINK_C_NOT_ALLOWED;
	}
	return LINK_C_UNKNOWN_KEY;
}

static int
session_admit(struct session *s)
{
	struct data_link *l = s->user;

	return replay_allows(&l->links->slot[s->server][kind_index(s->kind)].replay, &s->payload)
		   ? 0
		   : LINK_C_REPLAY;
}

static void
session_is_up(struct session *s)
{
	struct data_link *l = s->user, *old;
	struct data_links *all = l->links;
	unsigned k = kind_index(s->kind), end = s->inbound != 0;

	if (s->inbound)
		replay_confirm(&all->slot[s->server][k].replay, &s->payload);
	else
		all->slot[s->server][k].trying = NULL;
	old = all->slot[s->server][k].up[end];
	all->slot[s->server][k].up[end] = NULL;
	if (old != NULL)
		end_link(old, "the partner opened a new one");
	all->slot[s->server][k].up[end] = l;
	l->up = 1;
	l->heard_ms = now_ms();
	log_info("the %s link %s %s is up", kind_name(s->kind), s->inbound ? "from" : "to",
	    server_name(all, s->server));
	all->ops->up(l);
	if (l->used)
		pump(l);
}

static void
session_ended(struct session *s, int cause)
{
	struct data_link *l = s->user;
	struct data_links *all = l->links;
	uint64_t held;

	if (cause != SESSION_EOF && s->inbound && s->state != SESSION_UP) {
		all->refused++;
		if (log_limited(&all->refusal, now_ms(), LOG_INTERVAL_MS, &held))
			log_info("refused a data link: %s (%llu more since the last such line)",
			    link_counter_name((unsigned)cause), (unsigned long long)held);
	}
	end_link(l, cause == SESSION_EOF ? "the stream ended" : link_counter_name((unsigned)cause));
}

/* ---- dialling */

static void
dial(struct data_links *all, uint8_t server, enum link_kind kind)
{
	const struct conf_server *to = &all->conf->server[server];
	unsigned k = kind_index(kind);
	struct data_link *l = new_link(all);
	struct session_self self;
	int fds[2];

	if (l == NULL)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
		free_link(l);
		return;
	}
	session_self_of(all->conf, all->boot, &self);
	l->session.token = all->next_token++ & ~LINK_INBOUND_TOKEN;
	l->session.server = server;
	l->session.path = (uint8_t)(all->slot[server][k].path % to->n_paths);
	all->slot[server][k].trying = l;
	all->ops->open(l->session.token, server, l->session.path, kind, fds[1]);
	close(fds[1]);
	if (session_dial(&l->session, all->loop, fds[0], kind, &self, to, ++all->counter,
		++all->next_cookie) != 0 &&
	    all->slot[server][k].trying == l) {
		all->slot[server][k].trying = NULL;
		free_link(l);
	}
}

static int64_t
tick_slot(struct data_links *all, uint8_t server, enum link_kind kind, int64_t now)
{
	unsigned k = kind_index(kind);
	int64_t due;

	if (!all->slot[server][k].wanted || all->slot[server][k].up[0] != NULL ||
	    all->slot[server][k].trying != NULL || !all->net_up)
		return INT64_MAX;
	due = all->slot[server][k].next_dial_ms;
	if (now < due)
		return due;
	all->slot[server][k].next_dial_ms =
	    now + RETRY_MIN_MS + retry_ms(all->slot[server][k].failures);
	dial(all, server, kind);
	return all->slot[server][k].next_dial_ms;
}

/* A handshake has its time; so has a dial that nobody answers. */
static int64_t
expire(struct data_link *l, int64_t now)
{
	const struct conf_general *g = &l->links->conf->general;
	int64_t due = l->session.started_ms + g->dial_timeout_ms + g->hello_timeout_ms;
	int64_t silent_ms = LINK_SILENT_FACTOR * g->status_interval_ms;

	if (l->up)
		due = l->heard_ms + (silent_ms > LINK_SILENT_MS ? silent_ms : LINK_SILENT_MS);
	if (now < due)
		return due;
	end_link(l, l->up ? "the partner is silent" : "no answer in time");
	return INT64_MAX;
}

int64_t
data_links_tick(struct data_links *all, int64_t now)
{
	int64_t next = INT64_MAX, due;

	if (all->conf == NULL)
		return next;
	for (size_t i = 0; i < LINKS_MAX; i++) {
		if (all->link[i].used && all->link[i].late) {
			all->turn_ms = 0; /* a time for each, or the first would leave none */
			take_late(&all->link[i]);
			next = 0;
		}
		if (all->link[i].used && (due = expire(&all->link[i], now)) < next)
			next = due;
	}
	all->turn_ms = 0;
	for (uint8_t s = 0; s < all->conf->general.n_servers; s++) {
		if ((due = tick_slot(all, s, LINK_SYNC, now)) < next)
			next = due;
		if ((due = tick_slot(all, s, LINK_REQUEST, now)) < next)
			next = due;
	}
	return next;
}

void
data_links_want(struct data_links *all, uint8_t server, enum link_kind kind, int wanted)
{
	unsigned k = kind_index(kind);

	if (all->slot[server][k].wanted == (wanted != 0))
		return;
	all->slot[server][k].wanted = wanted != 0;
	all->slot[server][k].failures = 0;
	all->slot[server][k].next_dial_ms = 0;
	if (!wanted && all->slot[server][k].trying != NULL)
		end_link(all->slot[server][k].trying, NULL);
	if (!wanted && all->slot[server][k].up[0] != NULL)
		end_link(all->slot[server][k].up[0], NULL);
}

void
data_links_dismiss(struct data_links *all, uint8_t server, enum link_kind kind)
{
	struct data_link *l = all->slot[server][kind_index(kind)].up[1];

	if (l != NULL)
		end_link(l, NULL);
}

struct data_link *
data_links_find(const struct data_links *all, uint8_t server, enum link_kind kind, int inbound)
{
	return server < CONF_SERVERS ? all->slot[server][kind_index(kind)].up[inbound != 0] : NULL;
}

/* ---- messages of netd and keyd */

static struct data_link *
find_token(struct data_links *all, uint32_t token)
{
	for (size_t i = 0; i < LINKS_MAX; i++) {
		struct data_link *l = &all->link[i];

		if (l->used && session_is_open(&l->session) && l->session.token == token)
			return l;
	}
	return NULL;
}

void
data_links_connected(struct data_links *all, uint32_t token)
{
	struct data_link *l = find_token(all, token);

	if (l != NULL && !l->session.inbound)
		l->session.connected = 1;
}

void
data_links_closed(struct data_links *all, uint32_t token, enum link_close cause)
{
	struct data_link *l = find_token(all, token);

	if (l != NULL)
		close_link(l, cause);
}

void
data_links_incoming(struct data_links *all, uint32_t token, enum link_kind kind,
    const struct conf_addr *from, uint16_t port)
{
	struct data_link *l;
	struct session_self self;
	unsigned pending = 0;
	int fds[2];

	for (size_t i = 0; i < LINKS_MAX; i++)
		pending += all->link[i].used && all->link[i].session.inbound && !all->link[i].up;
	l = all->conf != NULL && pending < LINKS_PENDING ? new_link(all) : NULL;
	if (l == NULL ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
		if (l != NULL)
			free_link(l);
		all->ops->drop(token);
		return;
	}
	session_self_of(all->conf, all->boot, &self);
	l->session.token = token;
	l->session.server = 0;
	l->session.path = 0;
	l->session.kind = (uint8_t)kind;
	l->session.kinds = (uint8_t)(1U << kind); /* netd said so of this hello */
	l->session.address = *from;
	l->session.port = port;
	all->ops->take(token, fds[1]);
	close(fds[1]);
	if (session_accept(&l->session, all->loop, fds[0], &self, ++all->next_cookie) != 0)
		free_link(l);
}

void
data_links_shared(struct data_links *all, uint32_t cookie, const uint8_t *shared)
{
	for (size_t i = 0; i < LINKS_MAX; i++) {
		struct data_link *l = &all->link[i];

		if (l->used && l->session.state == SESSION_DH && l->session.cookie == cookie) {
			session_shared(&l->session, shared);
			return;
		}
	}
}

void
data_links_net_down(struct data_links *all)
{
	all->net_up = 0;
	for (size_t i = 0; i < LINKS_MAX; i++) {
		if (all->link[i].used)
			end_link(&all->link[i], "netd ended");
	}
}

void
data_links_net_up(struct data_links *all)
{
	all->net_up = 1;
}

void
data_links_key_down(struct data_links *all)
{
	for (size_t i = 0; i < LINKS_MAX; i++) {
		if (all->link[i].used && all->link[i].session.state == SESSION_DH)
			end_link(&all->link[i], "keyd ended");
	}
}

/* ---- reload */

/* The same partner, reached in the same way? */
static int
same_server(const struct conf_server *a, const struct conf_server *b)
{
	return strcmp(a->name, b->name) == 0 && a->kind == b->kind && a->port == b->port &&
	       a->n_paths == b->n_paths && memcmp(a->path, b->path, sizeof(a->path)) == 0 &&
	       memcmp(a->key_data, b->key_data, sizeof(a->key_data)) == 0;
}

void
data_links_configure(struct data_links *all, const struct conf *old, const struct conf *new,
    uint8_t moved[CONF_SERVERS])
{
	static struct data_links before;
	const struct conf_server *me = &new->server[new->general.self];

	memset(moved, 255, CONF_SERVERS);
	for (uint8_t i = 0; old != NULL && i < old->general.n_servers; i++) {
		for (uint8_t k = 0; k < new->general.n_servers; k++) {
			if (same_server(&old->server[i], &new->server[k]))
				moved[i] = k;
		}
	}
	if (old != NULL && !same_server(&old->server[old->general.self], me))
		memset(moved, 255, CONF_SERVERS);
	for (size_t i = 0; i < LINKS_MAX; i++) {
		struct data_link *l = &all->link[i];

		if (l->used && (!l->session.identified || moved[l->session.server] == 255))
			end_link(l, "the configuration changed");
	}
	memcpy(before.slot, all->slot, sizeof(before.slot));
	memset(all->slot, 0, sizeof(all->slot));
	for (uint8_t i = 0; i < CONF_SERVERS; i++) {
		if (moved[i] != 255)
			memcpy(all->slot[moved[i]], before.slot[i], sizeof(before.slot[i]));
	}
	for (size_t i = 0; i < LINKS_MAX; i++) {
		if (all->link[i].used)
			all->link[i].session.server = moved[all->link[i].session.server];
	}
	all->conf = new;
}
