/* SPDX-License-Identifier: ISC */
/*
 * Deadlines of all slots on one timer, counters for roled, and the log lines that outsiders cause.
 */
#include "config.h"

#include "netd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "lib/log.h"
#include "lib/loop.h"

static void on_deadline(uv_timer_t *timer);
static void on_counters(uv_timer_t *timer);

static uv_timer_t deadline_timer;
static int64_t deadline_next_ms; /* when the timer is due; NEVER: not armed */
static uv_timer_t counters_timer;
static int64_t counters_sent_ms;
static uint64_t counters[NET_COUNTER_MAX];
static struct log_limit refusal_log[NET_COUNTER_MAX];

void
limits_init(void)
{
	uv_timer_init(&netd_loop, &deadline_timer);
	uv_timer_init(&netd_loop, &counters_timer);
}

/* The timer runs only while some slot has a deadline: an idle netd is not woken. */
static void
deadline_arm(int64_t due_ms, int64_t now)
{
	if (deadline_next_ms != NEVER && deadline_next_ms <= due_ms)
		return;
	deadline_next_ms = due_ms;
	uv_update_time(&netd_loop); /* libuv counts from the start of this wake-up */
	uv_timer_start(
	    &deadline_timer, on_deadline, due_ms > now ? (uint64_t)(due_ms - now) : 0, 0);
}

/* Set a deadline of a slot: after_ms from now. */
void
deadline_set(int64_t *deadline_ms, int64_t after_ms)
{
	int64_t now = now_ms();

	*deadline_ms = now + after_ms;
	deadline_arm(*deadline_ms, now);
}

static void
on_deadline(uv_timer_t *timer)
{
	int64_t now = now_ms(), links_next, hellos_next;

	(void)timer;
	deadline_next_ms = NEVER;
	links_next = link_expire(now);
	hellos_next = admit_expire(now);
	if (links_next != NEVER)
		deadline_arm(links_next, now);
	if (hellos_next != NEVER)
		deadline_arm(hellos_next, now);
}

/* Count, and see to it that roled is told within the interval. */
void
count(enum net_counter counter)
{
	int64_t gone_ms;

	counters[counter]++;
	if (uv_is_active((uv_handle_t *)&counters_timer))
		return;
	gone_ms = now_ms() - counters_sent_ms;
	uv_timer_start(&counters_timer, on_counters,
	    gone_ms >= COUNTERS_INTERVAL_MS ? 1 : (uint64_t)(COUNTERS_INTERVAL_MS - gone_ms), 0);
}

static void
on_counters(uv_timer_t *timer)
{
	(void)timer;
	counters_sent_ms = now_ms();
	tell_counters(counters);
}

/* roled is new: it gets them all. */
void
counters_tell(void)
{
	on_counters(&counters_timer);
}

/* A connection from outside was refused: count it, and one line per cause and interval. */
void
count_refusal(enum net_counter counter, const struct source *s, const char *why)
{
	char text[INET6_ADDRSTRLEN] = "?";
	uint64_t held;

	count(counter);
	if (!log_limited(&refusal_log[counter], now_ms(), LOG_INTERVAL_MS, &held))
		return;
	inet_ntop(s->family == 4 ? AF_INET : AF_INET6, s->address, text, sizeof(text));
	if (held == 0)
		log_warn("refused %s port %u: %s", text, s->port, why);
	else
		log_warn("refused %s port %u: %s (%llu more since the last such line)", text,
		    s->port, why, (unsigned long long)held);
}

void
counters_dump(void)
{
	log_info(
	    "accepted %llu, admitted %llu; refused: no slot %llu, rate %llu, not a hello %llu, "
	    "tag %llu, too slow %llu, by roled %llu; dials %llu, failed %llu",
	    (unsigned long long)counters[NET_ACCEPTED], (unsigned long long)counters[NET_ADMITTED],
	    (unsigned long long)counters[NET_SLOTS_FULL],
	    (unsigned long long)counters[NET_RATE_LIMITED],
	    (unsigned long long)counters[NET_BAD_HELLO], (unsigned long long)counters[NET_BAD_TAG],
	    (unsigned long long)counters[NET_HELLO_TIMEOUT],
	    (unsigned long long)counters[NET_OWNER_REFUSED],
	    (unsigned long long)counters[NET_DIALS],
	    (unsigned long long)counters[NET_DIALS_FAILED]);
}

enum link_close
close_cause(int error)
{
	switch (error) {
	case 0:
		return CLOSE_FIN;
	case ECONNREFUSED:
		return CLOSE_REFUSED;
	case ECONNRESET:
	case EPIPE:
		return CLOSE_RESET;
	case ETIMEDOUT:
		return CLOSE_TIMEOUT;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case EHOSTDOWN:
	case EADDRNOTAVAIL:
		return CLOSE_UNREACHABLE;
	default:
		return CLOSE_ERROR;
	}
}
