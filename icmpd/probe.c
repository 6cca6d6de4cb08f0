/* SPDX-License-Identifier: ISC */
/*
 * Targets and their probes. An answer counts when it carries the identifier of the slot, a sequence
 * number of the last PROBES requests and the random cookie of that very request: nobody who has not
 * seen our request can fake a living host.
 *
 * All that is known is reported once per interval: as soon as every target has answered that did so
 * in the interval before, else at its end, and at once when the state of a target changes or one
 * answers again. So what roled knows of the last answer is a round trip old and not an interval,
 * for the reference hosts also while a partner is silent.
 *
 * A target is lost after so many intervals in a row in which no answer came, to whichever request:
 * with a round trip longer than the interval every single request is late and the host is fine.
 */
#include "config.h"

#include "icmpd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/icmp.h"
#include "lib/log.h"

enum {
	PROBES = 64,	  /* requests that an answer may still come to */
	LOSS_PROBES = 32, /* newest of them that make up the loss figure */
	READ_BUDGET = 16, /* packets per target and wake-up */
};

struct probe {
	uint64_t cookie;
	int64_t sent_us;
	int answered;
};

struct target {
	uv_poll_t *poll; /* NULL: no target */
	int fd;
	uint8_t slot, kind, index, path, family;
	enum probe_state state;
	uint8_t heard;	 /* an answer has come since the last interval began */
	uint16_t misses; /* intervals in a row without */
	uint64_t sent;	 /* requests; the sequence number is its low 16 bits */
	uint32_t rtt_us;
	int64_t answer_ms, sent_ms;
	struct probe probe[PROBES];
};

static void on_interval(uv_timer_t *timer);
static void on_packet(uv_poll_t *poll, int status, int events);
static void on_closed(uv_handle_t *handle);
static void target_send(struct target *t, uint64_t cookie);
static int target_read(struct target *t);

static struct target targets[TARGETS];
static uv_timer_t timer;
static int64_t interval_ms;
static uint16_t misses_lost;
static int reported; /* the answers of this interval */

void
probe_init(void)
{
	uv_timer_init(&icmpd_loop, &timer);
}

void
probe_configure(const struct conf *conf)
{
	misses_lost = conf->general.icmp_misses;
	if (conf->general.icmp_interval_ms == interval_ms)
		return;
	interval_ms = conf->general.icmp_interval_ms;
	uv_timer_start(&timer, on_interval, (uint64_t)interval_ms, (uint64_t)interval_ms);
}

int
probe_add(uint8_t slot, uint8_t kind, uint8_t index, uint8_t path, uint8_t family, int fd)
{
	struct target *t = &targets[slot];
	uv_poll_t *poll = malloc(sizeof(*poll)); /* that of before may still be closing */
	uint64_t cookie;

	if (poll == NULL)
		fatal("no memory for target %u", slot);
	probe_remove(slot);
	if (uv_poll_init(&icmpd_loop, poll, fd) != 0) {
		free(poll);
		close(fd);
		return -1;
	}
	memset(t, 0, sizeof(*t));
	t->fd = fd;
	t->slot = slot;
	t->kind = kind;
	t->index = index;
	t->path = path;
	t->family = family;
	t->poll = poll;
	t->poll->data = t;
	uv_poll_start(t->poll, UV_READABLE, on_packet);
	if (getrandom(&cookie, sizeof(cookie), 0) == (ssize_t)sizeof(cookie))
		target_send(t, cookie); /* the first answer need not wait for the interval */
	return 0;
}

void
probe_remove(uint8_t slot)
{
	struct target *t = &targets[slot];

	if (t->poll == NULL)
		return;
	uv_close((uv_handle_t *)t->poll, on_closed);
	t->poll = NULL;
	close(t->fd);
}

static void
on_closed(uv_handle_t *handle)
{
	free(handle);
}

/* One request. An error of the network is a request without an answer. */
static void
target_send(struct target *t, uint64_t cookie)
{
	struct probe *p = &t->probe[++t->sent % PROBES];
	struct icmp_echo e = {.identifier = (uint16_t)(ICMP_IDENTIFIER | t->slot),
	    .sequence = (uint16_t)t->sent,
	    .cookie = cookie};
	uint8_t packet[ICMP_ECHO_SIZE];

	icmp_encode_request(t->family, &e, packet);
	p->cookie = cookie;
	p->answered = 0;
	p->sent_us = now_us();
	t->sent_ms = p->sent_us / 1000;
	if (send(t->fd, packet, sizeof(packet), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug("target %u: send: errno %d", t->slot, errno);
}

/* Did the interval that ends now bring an answer? Returns 1 when the state changes. */
static int
target_judge(struct target *t, int64_t now)
{
	const struct probe *last = &t->probe[t->sent % PROBES];
	int changed = 0;

	if (!t->heard)
		changed = target_read(t); /* we may be late ourselves: look before saying lost */
	if (!t->heard && now - last->sent_us < interval_ms * 500)
		return 0; /* added within this interval */
	if (t->heard) {
		t->heard = 0;
		t->misses = 0;
		return changed; /* the answer has set the state */
	}
	if (t->misses < UINT16_MAX)
		t->misses++;
	if (t->misses < misses_lost || t->state == PROBE_LOST)
		return 0;
	t->state = PROBE_LOST;
	return 1;
}

/* Has every target answered in this interval that did in the one before? */
static int
all_heard(void)
{
	for (int i = 0; i < TARGETS; i++) {
		if (targets[i].poll != NULL && targets[i].state == PROBE_OK &&
		    targets[i].misses == 0 && !targets[i].heard)
			return 0;
	}
	return 1;
}

/* All targets: judge the interval that ends, then begin the next. */
static void
on_interval(uv_timer_t *handle)
{
	uint64_t cookies[TARGETS];
	int64_t now = now_us();
	int changed = 0;

	(void)handle;
	if (getrandom(cookies, sizeof(cookies), 0) != (ssize_t)sizeof(cookies))
		fatal("no random bytes: errno %d", errno);
	for (int i = 0; i < TARGETS; i++) {
		if (targets[i].poll == NULL)
			continue;
		changed |= target_judge(&targets[i], now);
		target_send(&targets[i], cookies[i]);
	}
	if (changed || !reported)
		icmpd_report();
	reported = 0;
}

/* One received packet. Returns 1 when it changes the state of the target, or ends its silence. */
static int
target_packet(struct target *t, const uint8_t *packet, size_t n)
{
	struct icmp_echo e;
	struct probe *p;
	uint16_t age;
	int64_t now = now_us();
	int back = t->misses > 0 && !t->heard;

	if (icmp_decode_reply(t->family, packet, n, &e) != 0 ||
	    e.identifier != (ICMP_IDENTIFIER | t->slot))
		return 0;
	age = (uint16_t)((uint16_t)t->sent - e.sequence);
	if (age >= PROBES || age >= t->sent)
		return 0;
	p = &t->probe[(t->sent - age) % PROBES];
	if (p->answered || p->cookie != e.cookie)
		return 0;
	p->answered = 1;
	t->heard = 1;
	t->rtt_us = (uint32_t)(now - p->sent_us);
	t->answer_ms = now / 1000;
	if (t->state == PROBE_OK)
		return back;
	t->state = PROBE_OK;
	return 1;
}

/* What has come in. Returns 1 when that is to be told at once. */
static int
target_read(struct target *t)
{
	uint8_t packet[ICMP_PACKET_MAX + 1]; /* one more: what fills it is not ours */
	int changed = 0;

	for (int i = 0; i < READ_BUDGET; i++) {
		ssize_t n = recv(t->fd, packet, sizeof(packet), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n > 0) /* an error is an ICMP complaint about a request: it had no answer */
			changed |= target_packet(t, packet, (size_t)n);
	}
	return changed;
}

static void
on_packet(uv_poll_t *poll, int status, int events)
{
	struct target *t = poll->data;

	(void)events;
	if (target_read(t) || (!reported && all_heard())) {
		icmpd_report();
		reported = all_heard();
	}
	if (status < 0) /* libuv stops at an error of the socket */
		uv_poll_start(poll, UV_READABLE, on_packet);
}

/* Unanswered per mille of the newest requests that an answer could have come to. */
static uint16_t
target_loss(const struct target *t, int64_t now)
{
	int64_t ripe_us = interval_ms * 1000 > 2 * (int64_t)t->rtt_us ? interval_ms * 1000
								      : 2 * (int64_t)t->rtt_us;
	unsigned lost = 0, known = 0;

	for (uint64_t i = 0; i < LOSS_PROBES && i < t->sent; i++) {
		const struct probe *p = &t->probe[(t->sent - i) % PROBES];

		if (!p->answered && now - p->sent_us < ripe_us)
			continue;
		known++;
		lost += !p->answered;
	}
	return (uint16_t)(known == 0 ? 0 : lost * 1000 / known);
}

unsigned
probe_report(struct msg *m)
{
	int64_t now = now_us();
	unsigned n = 0;

	for (int i = 0; i < TARGETS; i++) {
		const struct target *t = &targets[i];

		if (t->poll == NULL)
			continue;
		msg_put_u8(m, t->kind);
		msg_put_u8(m, t->index);
		msg_put_u8(m, t->path);
		msg_put_u8(m, (uint8_t)t->state);
		msg_put_u16(m, target_loss(t, now));
		msg_put_u8(m, 0);
		msg_put_u32(m, t->rtt_us);
		msg_put_u64(m, (uint64_t)t->answer_ms);
		msg_put_u64(m, (uint64_t)t->sent_ms);
		n++;
	}
	return n;
}

void
probe_dump(void)
{
	static const char *const states[PROBE_STATE_MAX] = {"unknown", "ok", "lost"};
	int64_t now = now_us();

	for (int i = 0; i < TARGETS; i++) {
		const struct target *t = &targets[i];

		if (t->poll != NULL)
			log_info("target %d (%s %u path %u): %s, loss %u per mille, rtt %u us, "
				 "%llu sent",
			    i, t->kind == TARGET_PARTNER ? "partner" : "reference", t->index,
			    t->path, states[t->state], target_loss(t, now), (unsigned)t->rtt_us,
			    (unsigned long long)t->sent);
	}
}
