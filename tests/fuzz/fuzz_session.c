/* SPDX-License-Identifier: ISC */
/*
 * The byte stream of a link as a session takes it: the hello, and then records, in pieces of any
 * size, damaged anywhere. The partner is real (its own handshake and its own keys); the input says
 * what it seals, what happens to the bytes on the way, and when how many of them arrive.
 *
 * Input: u8 start (0 up, 1 answered and not yet confirmed, 2 nothing said yet, 3 dialled), then
 * steps: u8 what, u8 number, and with RECORD and BYTES that many bytes. What must come out is
 * known: every record in front of the first damage, as it was sealed and in order, and nothing
 * behind it.
 */
#include "config.h"

#include "fuzz.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/admin.h"
#include "lib/log.h"
#include "lib/session.h"
#include "roled/status.h"

enum { STEPS = 64, WIRE = 16384, RECORDS = STEPS + 1 };
enum { RECORD, BYTES, DAMAGE, ARRIVE, END, SAY, STEP_MAX };
enum { START_UP, START_CONFIRM, START_HELLO, START_DIAL, START_MAX };

/* 0: the session under test; 1: the partner */
static uint8_t secret[2][32], public_key[2][32];
static struct hello_keys hello_keys;
static struct conf_server partner_conf;
static struct session_self self = {.group = "fuzz", .boot = 7};
static struct record up_record[2]; /* of a link that is up */
static uv_loop_t loop;
static struct session session;
static uint8_t stream_in[8 * (RECORD_OVERHEAD + STATUS_SIZE)],
    stream_out[8 * (RECORD_OVERHEAD + STATUS_SIZE)];
static uint8_t stream_plain[STATUS_SIZE];

/* ---- one run */

static struct noise noise; /* of the partner */
static struct record record;
static uint8_t wire[WIRE];		       /* on the way to the session */
static size_t wire_len, wire_pos, wire_damage; /* what is before wire_damage is as it was sealed */
static struct {
	size_t end; /* in wire */
	size_t len;
	uint8_t plain[STATUS_SIZE];
} sealed[RECORDS];
static size_t n_sealed, n_received;
static int far = -1, ended, is_up, wants_dh, partner_ready;
static uint8_t dh_public[32];

static void
on_ask_dh(struct session *s, uint32_t cookie, const uint8_t public_asked[NOISE_KEY])
{
	if (s != &session || cookie != 5 || wants_dh)
		abort();
	memcpy(dh_public, public_asked, sizeof(dh_public));
	wants_dh = 1;
}

static int
on_identify(struct session *s)
{
	return memcmp(s->noise.remote_static, public_key[1], 32) == 0 ? 0 : LINK_C_UNKNOWN_KEY;
}

static int
on_admit(struct session *s)
{
	if (s->payload.boot != 9 || s->payload.counter != 3)
		abort(); /* nobody but the partner can have said it, and that is what it said */
	return 0;
}

static void
on_up(struct session *s)
{
	(void)s;
	if (is_up || ended)
		abort();
	is_up = 1;
}

static void
on_record(struct session *s, const uint8_t *plain, size_t len)
{
	(void)s;
	if (ended || !is_up || n_received >= n_sealed || sealed[n_received].end > wire_damage ||
	    len != sealed[n_received].len || memcmp(plain, sealed[n_received].plain, len) != 0)
		abort();
	n_received++;
}

/* As links do: what failed goes at once; of an end of the stream netd says more before it goes. */
static void
on_ended(struct session *s, int cause)
{
	if (ended++ > 0)
		abort();
	if (cause != SESSION_EOF)
		session_free(s);
}

static const struct session_ops ops = {.ask_dh = on_ask_dh,
    .identify = on_identify,
    .admit = on_admit,
    .up = on_up,
    .record = on_record,
    .ended = on_ended};

/* Bytes onto the wire as somebody on the way would put them there. */
static void
put_wire(const uint8_t *bytes, size_t n)
{
	if (n > sizeof(wire) - wire_len)
		n = sizeof(wire) - wire_len;
	memcpy(wire + wire_len, bytes, n);
	wire_len += n;
}

/* Nothing from here on is what the partner has sent. */
static void
damage_at(size_t at)
{
	if (at < wire_damage)
		wire_damage = at;
}

static enum noise_result
serve(struct noise *n, enum noise_result r)
{
	while (r == NOISE_NEED_DH) {
		uint8_t shared[32];

		r = noise_dh(
		    n, crypto_scalarmult(shared, secret[1], n->dh_public) == 0 ? shared : NULL);
	}
	return r;
}

/* What the session has said to the partner. */
static void
hear(void)
{
	static uint8_t in[sizeof(stream_out)];
	ssize_t n = recv(far, in, sizeof(in), MSG_DONTWAIT);
	uint8_t payload[HELLO_PAYLOAD], plain[STATUS_SIZE];
	size_t pos = 0, used, len;

	if (n <= 0)
		return;
	if (partner_ready) {
		while (pos < (size_t)n) {
			if (record_open(&record, in + pos, (size_t)n - pos, &used, plain, &len) !=
			    RECORD_OK)
				abort(); /* it seals for us, and writes nothing else */
			pos += used;
		}
	} else if (session.inbound) {
		if (n != HELLO_REPLY ||
		    serve(&noise, noise_read(&noise, in, HELLO_REPLY)) != NOISE_OK ||
		    record_init(&record, &noise, STATUS_SIZE) != 0)
			abort();
		partner_ready = 1;
	} else {
		struct hello_payload p;

		if (n != HELLO_SIZE ||
		    serve(&noise, noise_read(&noise, hello_noise(in), HELLO_NOISE)) != NOISE_OK)
			abort();
		hello_payload_decode(noise.out, &p);
		hello_payload_encode(payload, &(struct hello_payload){9, p.counter});
		if (serve(&noise, noise_write(&noise, payload, sizeof(payload))) != NOISE_OK)
			abort();
		put_wire(noise.out, noise.out_len);
		if (record_init(&record, &noise, STATUS_SIZE) != 0)
			abort();
		partner_ready = 1;
	}
}

/* Let the session work until nothing is left to do. keyd answers. */
static void
work(void)
{
	for (int i = 0; i < 4; i++) {
		uint8_t shared[32];

		uv_run(&loop, UV_RUN_NOWAIT);
		hear();
		if (!wants_dh)
			continue;
		wants_dh = 0;
		session_shared(
		    &session, crypto_scalarmult(shared, secret[0], dh_public) == 0 ? shared : NULL);
	}
}

/* ---- the steps */

static void
seal(const uint8_t *plain, size_t len)
{
	size_t n;

	if (!partner_ready || n_sealed == RECORDS)
		return;
	n = record_seal(&record, plain, len, wire + wire_len, sizeof(wire) - wire_len);
	if (n == 0)
		return;
	wire_len += n;
	sealed[n_sealed].end = wire_len;
	sealed[n_sealed].len = len;
	memcpy(sealed[n_sealed++].plain, plain, len);
}

static void
arrive(size_t n)
{
	if (n > wire_len - wire_pos)
		n = wire_len - wire_pos;
	if (n > 0 && send(far, wire + wire_pos, n, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)n)
		return;
	wire_pos += n;
	work();
}

/* Returns how many bytes of data it took. */
static size_t
step(uint8_t what, uint8_t number, const uint8_t *data, size_t size)
{
	size_t n = number < size ? number : size;

	switch (what % STEP_MAX) {
	case RECORD:
		seal(data, n < STATUS_SIZE ? n : STATUS_SIZE);
		return n;
	case BYTES:
		if (n > 0)
			damage_at(wire_len);
		put_wire(data, n);
		return n;
	case DAMAGE: /* one bit of what has not arrived */
		if (wire_pos < wire_len) {
			size_t at = wire_pos + number % (wire_len - wire_pos);

			if (at >= wire_damage) /* a second time would mend it */
				return 0;
			damage_at(at);
			wire[at] ^= (uint8_t)(1U << (number & 7));
		}
		return 0;
	case ARRIVE:
		arrive(number);
		return 0;
	case END:
		shutdown(far, SHUT_WR);
		work();
		return 0;
	default:
		(void)session_send(&session, data, n < STATUS_SIZE ? n : STATUS_SIZE);
		work();
		return n;
	}
}

/* ---- set-up */

static void
quiet_log(enum log_level level, const char *text)
{
	(void)level;
	(void)text;
}

static void
set_up(void)
{
	struct noise n[2];
	uint8_t prologue[HELLO_PROLOGUE_MAX], payload[HELLO_PAYLOAD] = {0};
	size_t len;

	log_to(quiet_log);
	log_on_fatal(abort);
	if (sodium_init() < 0 || uv_loop_init(&loop) != 0)
		abort();
	for (int i = 0; i < 2; i++) {
		memset(secret[i], i + 1, 32);
		crypto_scalarmult_base(public_key[i], secret[i]);
	}
	self.key_status = self.key_data = public_key[0];
	memcpy(partner_conf.key_status, public_key[1], 32);
	memcpy(partner_conf.key_data, public_key[1], 32);
	hello_keys_init(&hello_keys, public_key[0], public_key[0]);
	/* a link that is up: with the partner's key on both sides, which serve() has */
	len = hello_prologue(prologue, LINK_STATUS, self.group);
	if (noise_init(&n[0], NOISE_RESPONDER, prologue, len, public_key[1], NULL) != 0 ||
	    noise_init(&n[1], NOISE_INITIATOR, prologue, len, public_key[1], public_key[1]) != 0 ||
	    serve(&n[1], noise_write(&n[1], payload, sizeof(payload))) != NOISE_OK ||
	    serve(&n[0], noise_read(&n[0], n[1].out, n[1].out_len)) != NOISE_OK ||
	    serve(&n[0], noise_write(&n[0], payload, sizeof(payload))) != NOISE_OK ||
	    serve(&n[1], noise_read(&n[1], n[0].out, n[0].out_len)) != NOISE_OK ||
	    record_init(&up_record[0], &n[0], STATUS_SIZE) != 0 ||
	    record_init(&up_record[1], &n[1], STATUS_SIZE) != 0)
		abort();
}

/* The partner opens: its hello goes onto the wire. */
static void
partner_dials(void)
{
	uint8_t prologue[HELLO_PROLOGUE_MAX], payload[HELLO_PAYLOAD], hello[HELLO_SIZE];
	size_t n = hello_prologue(prologue, LINK_STATUS, self.group);

	hello_payload_encode(payload, &(struct hello_payload){9, 3});
	if (noise_init(&noise, NOISE_INITIATOR, prologue, n, public_key[1], public_key[0]) != 0)
		abort();
	noise_set_ephemeral(&noise, secret[0]);
	if (serve(&noise, noise_write(&noise, payload, sizeof(payload))) != NOISE_OK ||
	    hello_encode(hello, LINK_STATUS, noise.out, &hello_keys) != 0)
		abort();
	put_wire(hello, sizeof(hello));
}

static void
start(unsigned how)
{
	uint8_t prologue[HELLO_PROLOGUE_MAX];
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
		abort();
	far = fds[1];
	memset(&session, 0, sizeof(session));
	session.ops = &ops;
	session.kinds = 1U << LINK_STATUS;
	session.buffers = (struct session_buffers){.in = stream_in,
	    .out = stream_out,
	    .plain = stream_plain,
	    .in_size = sizeof(stream_in),
	    .out_size = sizeof(stream_out),
	    .plain_max = sizeof(stream_plain)};
	wire_len = wire_pos = n_sealed = n_received = 0;
	wire_damage = sizeof(wire) + 1;
	ended = is_up = wants_dh = partner_ready = 0;
	if (how == START_DIAL) {
		size_t n = hello_prologue(prologue, LINK_STATUS, self.group);

		if (noise_init(&noise, NOISE_RESPONDER, prologue, n, public_key[1], NULL) != 0 ||
		    session_dial(
			&session, &loop, fds[0], LINK_STATUS, &self, &partner_conf, 4, 5) != 0)
			abort();
		work();
		return;
	}
	if (session_accept(&session, &loop, fds[0], &self, 5) != 0)
		abort();
	if (how == START_HELLO) {
		partner_dials();
		return;
	}
	session.record = up_record[0];
	record = up_record[1];
	partner_ready = 1;
	is_up = how == START_UP;
	session.state = is_up ? SESSION_UP : SESSION_CONFIRM;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int done;
	int over = 0;

	if (!done)
		set_up();
	done = 1;
	if (size == 0)
		return 0;
	start(data[0] % START_MAX);
	data++;
	size--;
	for (int i = 0; i < STEPS && size >= 2; i++) {
		size_t n = step(data[0], data[1], data + 2, size - 2);

		over |= data[0] % STEP_MAX == END;
		data += 2 + n;
		size -= 2 + n;
	}
	if (!over) { /* the rest arrives, and then every record that is whole has come out */
		while (wire_pos < wire_len && !ended)
			arrive(255);
		work();
		for (size_t i = 0; i < n_sealed; i++) {
			if (sealed[i].end <= wire_damage && n_received <= i)
				abort();
		}
	}
	session_free(&session);
	uv_run(&loop, UV_RUN_DEFAULT);
	if (session.state != SESSION_FREE)
		abort();
	close(far);
	noise_wipe(&noise);
	return 0;
}

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static const uint8_t steps[] = {START_HELLO, ARRIVE, 100, ARRIVE, 100, RECORD, 5, 'h', 'e',
	    'l', 'l', 'o', ARRIVE, 3, ARRIVE, 255, SAY, 2, 1, 2, RECORD, 0, ARRIVE, 255, RECORD, 1,
	    'x', DAMAGE, 3, ARRIVE, 255, BYTES, 2, 0, 0, END, 0};

	if (size < sizeof(steps))
		return 0;
	memcpy(out, steps, sizeof(steps));
	return sizeof(steps);
}
