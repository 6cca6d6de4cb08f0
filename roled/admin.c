/* SPDX-License-Identifier: ISC */
/*
 * The admin socket: bulkheadctl asks. Root may everything, others whom the socket's group lets in
 * may ask questions only. A client that does not read its answers is cut off.
 */
#include "config.h"

#include "roled.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"

enum {
	DRAIN_PACKETS = 8,
	REST_MS = 100, /* no descriptors or memory: nobody is let in for so long */
	LOG_INTERVAL_MS = 10000,
	FIGURES_MS = 1000, /* so long syncd may take to say how it is */
	SCAN_STEP = 32,	   /* ledger records looked at in one turn of the loop for one client */
};

static int from_ctl(struct channel *c, struct msg *m);
static void on_admin(uv_poll_t *poll, int status, int events);

/* ---- clients */

static void
client_close(struct admin_client *k)
{
	loop_detach_channel(&k->channel);
	channel_close(&k->channel);
	memset(k, 0, sizeof(*k));
	k->channel.fd = -1;
}

static void
on_client_closed(struct channel *c)
{
	client_close(c->user);
}

static void
client_send(struct admin_client *k, struct msg *m)
{
	if (k->used && channel_send(&k->channel, m) != 0)
		k->closing = 1; /* closed at the next turn: a handler may be at work on it */
}

static void
client_end(struct admin_client *k, enum ctl_result result, const char *text)
{
	static struct msg m;

	msg_begin(&m, MSG_CTL_END);
	ctl_put_end(&m, result, text);
	client_send(k, &m);
}

/*
 * Take in what a client asked, and forget it: a close before that would take the answer away again.
 */
static void
drain(int fd)
{
	static uint8_t byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	for (int i = 0; i < DRAIN_PACKETS && recvmsg(fd, &mh, MSG_DONTWAIT) > 0; i++)
		;
}

/* No slot is free: say so and close. */
static void
refuse_client(int fd)
{
	static struct channel c;
	static struct msg m;

	channel_init(&c, fd, PROC_ROLED, PROC_CTL, from_ctl, NULL);
	msg_begin(&m, MSG_CTL_END);
	ctl_put_end(&m, CTL_REFUSED, "too many admin connections are open; try again");
	(void)channel_send(&c, &m);
	drain(fd);
	channel_close(&c);
}

/*
 * A slot for a client that comes while all are in use: root's commands must get through whoever
 * watches. Root takes the place of somebody else, else of who follows the events; others find none.
 */
static struct admin_client *
make_room(uid_t uid)
{
	struct admin_client *oldest = NULL;

	for (size_t i = 0; i < ADMIN_CLIENTS && uid == 0; i++) {
		struct admin_client *k = &roled.client[i];

		if (k->all && !k->follow)
			continue;
		if (oldest == NULL || k->all < oldest->all ||
		    (k->all == oldest->all && k->generation < oldest->generation))
			oldest = k;
	}
	if (oldest == NULL)
		return NULL;
	client_end(oldest, CTL_REFUSED, "ended: an administrator needed the connection");
	drain(oldest->channel.fd);
	client_close(oldest);
	return oldest;
}

void
admin_add_client(int fd, uint32_t uid)
{
	struct admin_client *k = NULL;

	for (size_t i = 0; i < ADMIN_CLIENTS && k == NULL; i++)
		k = roled.client[i].used ? NULL : &roled.client[i];
	if (k == NULL)
		k = make_room(uid);
	if (k == NULL) {
		refuse_client(fd);
		return;
	}
	memset(k, 0, sizeof(*k));
	k->used = 1;
	k->uid = uid;
	k->all = uid == 0;
	k->generation = ++roled.client_generation;
	channel_init(&k->channel, fd, PROC_ROLED, PROC_CTL, from_ctl, k);
	loop_attach_channel(&roled.loop, &k->channel, on_client_closed);
}

void
admin_close_all(void)
{
	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		if (roled.client[i].used)
			client_close(&roled.client[i]);
	}
}

/* Somebody connected: the kernel says who. */
static void
new_client(int fd)
{
	struct ucred who = {0};
	socklen_t len = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0 || len != sizeof(who)) {
		close(fd);
		return;
	}
	admin_add_client(fd, who.uid);
}

static void
on_rested(uv_timer_t *timer)
{
	(void)timer;
	uv_poll_start(&roled.admin, UV_READABLE, on_admin);
}

/* Who waits goes on waiting; the socket stays readable, and would have us turn without end. */
static void
rest(int error)
{
	static struct log_limit limit;
	uint64_t held;

	if (log_limited(&limit, now_ms(), LOG_INTERVAL_MS, &held))
		log_error("cannot accept an admin connection (errno %d), %llu more times", error,
		    (unsigned long long)held);
	uv_poll_stop(&roled.admin);
	uv_timer_start(&roled.admin_rest, on_rested, REST_MS, 0);
}

static void
on_admin(uv_poll_t *poll, int status, int events)
{
	(void)poll;
	(void)events;
	if (status < 0) {
		rest(-status);
		return;
	}
	for (int i = 0; i < ADMIN_CLIENTS; i++) {
		int fd = accept4(FD_ADMIN, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && errno != EAGAIN)
			rest(errno);
		if (fd < 0)
			return;
		new_client(fd);
	}
}

void
admin_init(void)
{
	for (size_t i = 0; i < ADMIN_CLIENTS; i++)
		roled.client[i].channel.fd = -1;
	if (uv_poll_init(&roled.loop, &roled.admin, FD_ADMIN) != 0)
		fatal("cannot watch the admin socket");
	uv_timer_init(&roled.loop, &roled.admin_rest);
	uv_poll_start(&roled.admin, UV_READABLE, on_admin);
}

/* ---- answers that come later */

/* Number of a client in commands to the machine; never 0. */
static uint64_t
client_id(const struct admin_client *k)
{
	return (uint64_t)k->generation * ADMIN_CLIENTS + (uint64_t)(k - roled.client);
}

void
admin_reply(uint64_t id, enum ctl_result result, const char *text)
{
	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		struct admin_client *k = &roled.client[i];

		if (!k->used || id == 0 || client_id(k) != id)
			continue;
		if (result != CTL_OK)
			log_info("the command is refused: %s", text);
		client_end(k, result, text);
	}
}

void
admin_action_result(uint64_t event, enum action_result result, uint32_t code, uint32_t duration_ms)
{
	char text[CTL_NOTE];

	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		struct admin_client *k = &roled.client[i];

		if (!k->used || k->waits_event != event)
			continue;
		k->waits_event = 0;
		switch (result) {
		case RESULT_OK:
			snprintf(
			    text, sizeof(text), "The hook ended well after %u ms.", duration_ms);
			break;
		case RESULT_EXIT:
			snprintf(text, sizeof(text),
			    "The hook ended with exit code %u after %u ms.", code, duration_ms);
			break;
		case RESULT_SIGNAL:
			snprintf(text, sizeof(text), "The hook was ended by signal %u after %u ms.",
			    code, duration_ms);
			break;
		case RESULT_TIMEOUT:
			snprintf(text, sizeof(text),
			    "The hook took too long and was killed after %u ms.", duration_ms);
			break;
		case RESULT_NONE:
			snprintf(text, sizeof(text), "No such hook is configured.");
			break;
		default:
			if (code == EBUSY)
				snprintf(
				    text, sizeof(text), "Another test of a hook is under way.");
			else
				snprintf(text, sizeof(text),
				    "The hook could not be started (error %u).", code);
			break;
		}
		client_end(k,
		    result == RESULT_OK	    ? CTL_OK
		    : result == RESULT_NONE ? CTL_REFUSED
					    : CTL_FAILED,
		    text);
	}
}

void
admin_reloaded(enum reload_result result, const char *text)
{
	enum ctl_result r =
	    result == RELOAD_DONE || result == RELOAD_UNCHANGED ? CTL_OK : CTL_FAILED;

	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		if (!roled.client[i].used || !roled.client[i].waits_reload)
			continue;
		roled.client[i].waits_reload = 0;
		client_end(&roled.client[i], r, text);
	}
}

/* ---- questions */

/* What syncd said last, with its age. */
static void
put_data(struct admin_client *k)
{
	static struct msg m;
	struct ctl_data d = roled.data;
	int64_t now = now_ms();

	if (d.age_ms == 0)
		return; /* never */
	d.age_ms = now - d.age_ms;
	msg_begin(&m, MSG_CTL_DATA_STATE);
	ctl_put_data(&m, &d);
	client_send(k, &m);
	for (size_t i = 0; i < CONF_SERVERS; i++) {
		if (roled.data_partner[i].state[0] == '\0')
			continue;
		msg_begin(&m, MSG_CTL_DATA_PARTNER);
		ctl_put_data_partner(&m, &roled.data_partner[i]);
		client_send(k, &m);
	}
}

static void
answer_status(struct admin_client *k)
{
	static struct msg m;
	const struct conf_general *g = &child_conf(&roled.child)->general;
	int64_t now = now_ms();
	static union {
		struct ctl_self self;
		struct ctl_server server;
		struct ctl_link link;
		struct ctl_process process;
		struct ctl_check check;
		struct ctl_reference reference;
		struct ctl_counters counters;
	} u;

	report_self(&u.self, now);
	msg_begin(&m, MSG_CTL_SELF);
	ctl_put_self(&m, &u.self);
	client_send(k, &m);
	for (uint8_t i = 0; i < g->n_servers; i++) {
		report_server(&u.server, i, now);
		msg_begin(&m, MSG_CTL_SERVER);
		ctl_put_server(&m, &u.server);
		client_send(k, &m);
	}
	for (unsigned i = 0; links_describe(&roled.links, i, now, &u.link); i++) {
		msg_begin(&m, MSG_CTL_LINK);
		ctl_put_link(&m, &u.link);
		client_send(k, &m);
	}
	for (uint8_t i = 0; i < PROC_MAX; i++) {
		if (!roled.process_known[i])
			continue;
		report_process(&u.process, i, now);
		msg_begin(&m, MSG_CTL_PROCESS);
		ctl_put_process(&m, &u.process);
		client_send(k, &m);
	}
	for (uint8_t i = 0; i < g->n_checks; i++) {
		report_check(&u.check, i, now);
		msg_begin(&m, MSG_CTL_CHECK);
		ctl_put_check(&m, &u.check);
		client_send(k, &m);
	}
	for (uint8_t i = 0; i < g->n_references; i++) {
		report_reference(&u.reference, i, now);
		msg_begin(&m, MSG_CTL_REFERENCE);
		ctl_put_reference(&m, &u.reference);
		client_send(k, &m);
	}
	memcpy(u.counters.net, roled.net_count, sizeof(u.counters.net));
	memcpy(u.counters.link, roled.links.count, sizeof(u.counters.link));
	msg_begin(&m, MSG_CTL_COUNTERS);
	ctl_put_counters(&m, &u.counters);
	client_send(k, &m);
	put_data(k);
	client_end(k, CTL_OK, "");
}

static void
answer_figures(struct admin_client *k)
{
	static struct ctl_server server;
	static struct ctl_self self;
	static struct msg m;
	int64_t now = now_ms();

	report_self(&self, now);
	msg_begin(&m, MSG_CTL_SELF);
	ctl_put_self(&m, &self);
	client_send(k, &m);
	for (uint8_t i = 0; i < child_conf(&roled.child)->general.n_servers; i++) {
		report_server(&server, i, now);
		msg_begin(&m, MSG_CTL_SERVER);
		ctl_put_server(&m, &server);
		client_send(k, &m);
	}
	put_data(k);
	client_end(k, CTL_OK, "");
}

static void
ask_next_figures(void)
{
	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		struct admin_client *k = &roled.client[i];

		if (!k->used || k->waits_figures != FIGURES_NEXT)
			continue;
		k->waits_figures = FIGURES_ASKED;
		if (roled.figures_cookie == 0)
			ask_figures(roled.figures_cookie = ++roled.next_cookie);
	}
}

/*
 * Who asks what would be lost is told how it is now, not how it was when syncd last reported: syncd
 * is asked, with one question at a time for all who wait.
 */
static void
answer_data(struct admin_client *k)
{
	if (roled.syncd.fd < 0) {
		answer_figures(k);
		return;
	}
	k->waits_figures = FIGURES_NEXT;
	k->figures_until_ms = now_ms() + FIGURES_MS;
	roled_wake_at(k->figures_until_ms);
	if (roled.figures_cookie == 0)
		ask_next_figures();
}

/* Those who wait so far, or less far, get what there is. */
static void
figures_end(enum figures far)
{
	roled.figures_cookie = 0;
	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		struct admin_client *k = &roled.client[i];

		if (!k->used || k->waits_figures == FIGURES_NONE || k->waits_figures > far)
			continue;
		k->waits_figures = FIGURES_NONE;
		answer_figures(k);
	}
}

void
admin_syncd_down(void)
{
	figures_end(FIGURES_NEXT);
}

int64_t
admin_next_ms(int64_t now)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		struct admin_client *k = &roled.client[i];

		if (!k->used || k->waits_figures == FIGURES_NONE)
			continue;
		if (now >= k->figures_until_ms) {
			k->waits_figures = FIGURES_NONE;
			answer_figures(k);
		} else if (k->figures_until_ms < next) {
			next = k->figures_until_ms;
		}
	}
	return next;
}

static void
answer_config(struct admin_client *k)
{
	static struct msg m;
	const struct conf *c = child_conf(&roled.child);

	msg_begin(&m, MSG_CONF_GENERAL);
	conf_put_general(&m, &c->general);
	client_send(k, &m);
	for (uint8_t i = 0; i < c->general.n_servers; i++) {
		msg_begin(&m, MSG_CONF_SERVER);
		conf_put_server(&m, i, &c->server[i]);
		client_send(k, &m);
	}
	for (uint8_t i = 0; i < c->general.n_references; i++) {
		msg_begin(&m, MSG_CONF_REFERENCE);
		conf_put_reference(&m, i, &c->reference[i]);
		client_send(k, &m);
	}
	client_end(k, CTL_OK, "");
}

/* u64 first event (0: the last n), u32 n (0: all), u8 follow, u8 decisions only. */
static int
start_events(struct admin_client *k, struct msg *m)
{
	uint64_t first = msg_get_u64(m);
	uint32_t n = msg_get_u32(m);
	uint8_t follow = msg_get_u8(m), decisions = msg_get_u8(m);

	if (msg_end(m) != 0 || follow > 1 || decisions > 1)
		return -1;
	k->listing = LISTING_SEND;
	k->follow = follow;
	k->decisions = decisions;
	k->left = n > 0 ? n : UINT64_MAX;
	k->next = first;
	if (first == 0 && n > 0) {
		k->listing = LISTING_SEARCH; /* backwards, n records from the end */
		k->found = 0;
		k->next = roled.ledger.newest + 1;
	}
	return 0;
}

/* Is this record one that the client asked for? Fills event. */
static int
wanted_event(const struct admin_client *k, uint64_t sequence, struct ctl_event *event)
{
	static struct ledger_record record;

	return ledger_read(&roled.ledger, sequence, &record) == 0 &&
	       explain_record(&record, child_conf(&roled.child), &roled.machine.config, event) ==
		   0 &&
	       (!k->decisions || event->decision);
}

/* Go back until enough records are behind; then they are sent. */
static void
search_step(struct admin_client *k)
{
	static struct ctl_event event;

	for (int i = 0; i < SCAN_STEP; i++) {
		uint64_t before = ledger_before(&roled.ledger, k->next);

		if (before == 0 || k->found >= k->left) {
			k->listing = LISTING_SEND;
			k->left = k->follow ? UINT64_MAX : k->found;
			return;
		}
		k->next = before;
		if (wanted_event(k, k->next, &event))
			k->found++;
	}
}

static void
send_step(struct admin_client *k)
{
	static struct ctl_event event;
	static struct msg m;

	for (int i = 0; i < SCAN_STEP && k->used && !k->closing; i++) {
		uint64_t next = ledger_after(&roled.ledger, k->next > 0 ? k->next - 1 : 0);

		if (next == 0 || k->left == 0) {
			k->next = roled.ledger.newest + 1;
			if (k->follow && k->left > 0)
				return;
			k->listing = LISTING_NONE;
			client_end(k, CTL_OK, "");
			return;
		}
		k->next = next + 1;
		if (!wanted_event(k, next, &event))
			continue;
		msg_begin(&m, MSG_CTL_EVENT);
		ctl_put_event(&m, &event);
		client_send(k, &m);
		k->left--;
	}
}

int
admin_turn(void)
{
	int more = 0;

	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		struct admin_client *k = &roled.client[i];

		if (k->used && k->closing)
			client_close(k);
		if (!k->used || k->listing == LISTING_NONE || k->channel.queued > 0)
			continue;
		if (k->listing == LISTING_SEARCH)
			search_step(k);
		else
			send_step(k);
		more |= k->closing ||
			(k->listing != LISTING_NONE && k->channel.queued == 0 &&
			    (k->listing == LISTING_SEARCH || k->next <= roled.ledger.newest));
	}
	return more;
}

/* ---- commands */

/* Who asked for what: into the ledger. */
static void
note_command(const struct admin_client *k, const char *what)
{
	char note[CTL_NOTE + 32]; /* cut there */

	snprintf(note, sizeof(note), "%s (by uid %u)", what, k->uid);
	outputs_note(RULE_COMMAND, NOBODY, note);
}

static int
command_switchover(struct admin_client *k, struct msg *m)
{
	struct machine_admin a = {.id = client_id(k), .command = ADMIN_SWITCHOVER};

	a.server = msg_get_u8(m);
	if (msg_end(m) != 0)
		return -1;
	if (a.server != NOBODY && a.server >= child_conf(&roled.child)->general.n_servers) {
		client_end(k, CTL_BAD, "there is no server with that index");
		return 0;
	}
	note_command(k, "switchover");
	input_admin(&a);
	return 0;
}

static int
command_promote(struct admin_client *k, struct msg *m)
{
	struct machine_admin a = {.id = client_id(k), .command = ADMIN_PROMOTE, .server = NOBODY};
	const struct conf *c = child_conf(&roled.child);
	char name[CONF_NAME], text[CTL_NOTE];

	msg_get_text(m, name, sizeof(name));
	if (msg_end(m) != 0)
		return -1;
	for (uint8_t i = 0; i < c->general.n_servers; i++) {
		if (strcmp(c->server[i].name, name) == 0)
			a.server = i;
	}
	if (a.server == NOBODY) {
		snprintf(text, sizeof(text), "no server is called %s", name);
		client_end(k, CTL_BAD, text);
		return 0;
	}
	snprintf(text, sizeof(text), "promote, confirming that %s is dead", name);
	note_command(k, text);
	input_admin(&a);
	return 0;
}

static int
command_pause(struct admin_client *k, struct msg *m)
{
	struct machine_admin a = {.id = client_id(k), .command = ADMIN_PAUSE, .server = NOBODY};
	char text[CTL_NOTE];

	a.ms = msg_get_i64(m);
	msg_get_str(m, a.owner, sizeof(a.owner));
	msg_get_str(m, a.reason, sizeof(a.reason));
	if (msg_end(m) != 0)
		return -1;
	if (a.owner[0] == '\0' || a.reason[0] == '\0' || a.ms <= 0) {
		client_end(k, CTL_BAD, "a pause needs an owner, a reason and a duration");
		return 0;
	}
	snprintf(text, sizeof(text), "pause for %lld s, owner %s: %s", (long long)(a.ms / 1000),
	    a.owner, a.reason);
	note_command(k, text);
	input_admin(&a);
	return 0;
}

static int
command_resume(struct admin_client *k, struct msg *m)
{
	struct machine_admin a = {.id = client_id(k), .command = ADMIN_RESUME, .server = NOBODY};

	if (msg_end(m) != 0)
		return -1;
	note_command(k, "resume");
	input_admin(&a);
	return 0;
}

static int
command_reload(struct admin_client *k, struct msg *m)
{
	if (msg_end(m) != 0)
		return -1;
	k->waits_reload = 1;
	ask_action(ACTION_RELOAD, 0, 0, NOBODY, 0, EVENT_OF_ROLED | ++roled.own_event, 0);
	return 0;
}

static int
command_hook_test(struct admin_client *k, struct msg *m)
{
	uint8_t kind = msg_get_u8(m);
	char text[CTL_NOTE];

	if (msg_end(m) != 0 || kind >= HOOK_MAX)
		return -1;
	if (k->waits_event != 0) {
		client_end(k, CTL_REFUSED, "a hook test of this connection is under way");
		return 0;
	}
	snprintf(text, sizeof(text), "test of the hook %s", hook_name(kind));
	note_command(k, text);
	k->waits_event = EVENT_OF_ROLED | ++roled.own_event;
	ask_action(ACTION_HOOK_TEST, kind, RULE_COMMAND, NOBODY, roled.machine.persisted.epoch,
	    k->waits_event, roled.ledger.newest);
	return 0;
}

static int
command_init(struct admin_client *k, struct msg *m)
{
	const struct machine *r = &roled.machine;
	uint8_t replace = msg_get_u8(m);

	if (msg_end(m) != 0 || replace > 1)
		return -1;
	if (r->role != ROLE_MAIN && (!replace || r->main != NOBODY ||
					r->config.server[r->config.self].kind != KIND_STANDARD)) {
		client_end(k, CTL_REFUSED,
		    "the data of a group begins on main, and this server is not; while there is no "
		    "main, on a standard server with --replace none");
		return 0;
	}
	if (roled.syncd.fd < 0 || k->waits_data != 0) {
		client_end(k, CTL_REFUSED, "syncd is not there, or works on another command");
		return 0;
	}
	note_command(k, replace ? "init --replace none" : "init");
	k->waits_data = ++roled.next_cookie;
	ask_init(k->waits_data, replace);
	return 0;
}

/* What bulkheadctl does over the data socket and in the folder of bundles: told here first. */
static int
command_deed(struct admin_client *k, struct msg *m)
{
	uint8_t deed = msg_get_u8(m);
	uint64_t count = msg_get_u64(m);
	char name[64], text[CTL_NOTE];

	msg_get_text(m, name, sizeof(name));
	if (msg_end(m) != 0 || deed >= DEED_MAX ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") != strlen(name))
		return -1;
	switch ((enum data_deed)deed) {
	case DEED_RESTORE:
		snprintf(text, sizeof(text), "snapshot restore of %" PRIu64 " keys", count);
		break;
	case DEED_RESTORED:
		snprintf(
		    text, sizeof(text), "snapshot restore: %" PRIu64 " keys are in place", count);
		break;
	case DEED_APPLY:
		snprintf(text, sizeof(text), "bundle apply %s", name);
		break;
	case DEED_APPLIED:
		snprintf(text, sizeof(text), "bundle apply %s: %" PRIu64 " operations were done",
		    name, count);
		break;
	case DEED_DISCARD:
	case DEED_MAX:
		snprintf(text, sizeof(text), "bundle discard %s", name);
		break;
	}
	note_command(k, text);
	client_end(k, CTL_OK, "");
	return 0;
}

void
admin_data_result(uint64_t cookie, enum ctl_result result, const char *text)
{
	char note[CTL_NOTE];

	if (roled.figures_cookie != 0 && cookie == roled.figures_cookie) {
		figures_end(FIGURES_ASKED);
		ask_next_figures();
		return;
	}
	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		struct admin_client *k = &roled.client[i];

		if (!k->used || k->waits_data == 0 || k->waits_data != cookie)
			continue;
		k->waits_data = 0;
		if (result != CTL_OK) {
			snprintf(note, sizeof(note), "init did not happen: %s", text);
			note_command(k, note);
		}
		client_end(k, result, text);
	}
}

static int
command(struct admin_client *k, struct msg *m)
{
	if (!k->all) {
		client_end(k, CTL_DENIED, "only root may do that");
		return 0;
	}
	switch (m->type) {
	case MSG_CTL_SWITCHOVER:
		return command_switchover(k, m);
	case MSG_CTL_PROMOTE:
		return command_promote(k, m);
	case MSG_CTL_PAUSE:
		return command_pause(k, m);
	case MSG_CTL_RESUME:
		return command_resume(k, m);
	case MSG_CTL_RELOAD:
		return command_reload(k, m);
	case MSG_CTL_HOOK_TEST:
		return command_hook_test(k, m);
	case MSG_CTL_INIT:
		return command_init(k, m);
	case MSG_CTL_DEED:
		return command_deed(k, m);
	default:
		return -1;
	}
}

static int
greet(struct admin_client *k, struct msg *m)
{
	uint32_t version = msg_get_u32(m);
	char text[CTL_NOTE];

	if (msg_end(m) != 0)
		return -1;
	if (version != CTL_PROTOCOL) {
		snprintf(text, sizeof(text),
		    "bulkheadctl speaks version %u of the admin protocol, the "
		    "running daemon %u",
		    version, (unsigned)CTL_PROTOCOL);
		client_end(k, CTL_BAD, text);
		k->closing = 1;
		return 0;
	}
	k->channel.state = S_RUN;
	return 0;
}

/* Handler of the admin socket. */
static int
from_ctl(struct channel *c, struct msg *m)
{
	struct admin_client *k = c->user;

	if (m->type == MSG_CTL_HELLO)
		return greet(k, m);
	if (!roled.running) {
		client_end(k, CTL_REFUSED, "the daemon is starting and has no configuration yet");
		return 0;
	}
	switch (m->type) {
	case MSG_CTL_STATUS:
		answer_status(k);
		return 0;
	case MSG_CTL_DATA:
		answer_data(k);
		return 0;
	case MSG_CTL_EVENTS:
		return start_events(k, m);
	case MSG_CTL_CONFIG:
		answer_config(k);
		return 0;
	default:
		return command(k, m);
	}
}
