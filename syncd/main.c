/* SPDX-License-Identifier: ISC */
/*
 * syncd: its story from exec to exit. The store is opened with the first configuration, which has
 * its sizes, inside the sandbox.
 */
#include "config.h"

#include "syncd.h"

#include <sodium.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "policy/sandbox.h"

static void warm_up(void);

struct syncd syncd = {.main = NO_SERVER};

static const struct face_calls face_calls;
static int64_t due_ms = INT64_MAX;

int
main(int argc, char **argv)
{
	struct sandbox_args args;

	log_to_fd(FD_LOG);
	if (sandbox_parse_args(argc, argv, &args) != 0 || args.process != PROC_SYNCD)
		_exit(EXIT_USAGE);
	sandbox_drop(&args);
	warm_up();
	child_ready(&syncd.child, sandbox_enter(&args));
	uv_run(&syncd.loop, UV_RUN_DEFAULT);
	fatal("the loop ended");
}

void
syncd_exit(int code)
{
	audit_last();
	/* what was acknowledged is in the log; a checkpoint makes the next start short */
	if (syncd.store != NULL)
		store_close(syncd.store);
	_exit(code);
}

/* ---- time */

static void
on_timer(uv_timer_t *timer)
{
	(void)timer;
	due_ms = INT64_MAX; /* what is due is done at the end of the turn */
}

void
syncd_wake_at(int64_t at_ms)
{
	int64_t now;

	if (at_ms >= due_ms)
		return;
	due_ms = at_ms;
	now = now_ms();
	uv_update_time(&syncd.loop);
	uv_timer_start(&syncd.timer, on_timer, at_ms > now ? (uint64_t)(at_ms - now) : 0, 0);
}

static void
wake_earlier(int64_t at_ms)
{
	if (at_ms != INT64_MAX)
		syncd_wake_at(at_ms);
}

/*
 * Before the loop waits: what standbys have to do is on its way already (before_sync), what came
 * from main goes to the disk and is acknowledged, the rest is what time brings.
 */
static void
on_turn(uv_prepare_t *prepare)
{
	int64_t now = now_ms();

	(void)prepare;
	if (!syncd.running)
		return;
	wake_earlier(follow_turn(now));
	wake_earlier(data_links_tick(&syncd.links, now));
	wake_earlier(feed_tick(now));
	wake_earlier(position_tick(now));
	wake_earlier(proxy_tick(now));
	wake_earlier(snapshot_tick(now));
	wake_earlier(audit_tick(now));
	wake_earlier(reach_tick(now));
	if (face_gathers(&syncd.face))
		return; /* what it says to standbys leaves in one piece */
	feed_ask();
	wake_earlier(data_links_pump(&syncd.links));
	follow_checkpoint(); /* what it is about is acknowledged already */
}

/* ---- the face */

static enum face_route
face_route(void *arg, uint64_t *epoch, const char **refusal)
{
	(void)arg;
	return proxy_route(epoch, refusal);
}

static int
face_proxy(void *arg, uint64_t client, const struct face_request *r, const char **refusal)
{
	(void)arg;
	return proxy_request(client, r, refusal);
}

static void
face_forget(void *arg, uint64_t client)
{
	(void)arg;
	proxy_forget(client);
}

static size_t
face_count_synced(void *arg, const struct position *p, bool on_disk)
{
	(void)arg;
	return feed_count(p, on_disk);
}

static uint64_t
face_released(void *arg)
{
	(void)arg;
	return feed_released();
}

/* The changes of this turn are on their way to the standbys while our own disk works. */
static void
face_before_sync(void *arg)
{
	(void)arg;
	feed_ask();
	(void)data_links_pump(&syncd.links); /* the turn ends with another one */
}

static void
face_remote_answer(void *arg, uint64_t client, struct slice answer, const struct position *last)
{
	(void)arg;
	proxy_remote_answer(client, answer, last);
}

static void
face_describe(void *arg, struct resp_out *text)
{
	(void)arg;
	if (syncd.role == DATA_MAIN)
		feed_describe(text);
	else
		follow_describe(text);
}

static void
face_role(void *arg, struct resp_out *answer)
{
	(void)arg;
	follow_role_answer(answer);
}

static bool
face_reads_only(void *arg, uid_t uid)
{
	const struct conf *c = child_conf(&syncd.child);

	(void)arg;
	return c == NULL || conf_reads_only(&c->general, uid);
}

static const char *
face_snapshot(void *arg, int fd, bool restores, bool replace)
{
	(void)arg;
	return snapshot_begin_on(fd, restores, replace);
}

static int
face_act(void *arg, uint64_t client, const struct face_action *a, const char **refusal)
{
	(void)arg;
	return proxy_action(client, a, refusal);
}

static void
face_action_ended(void *arg, const struct face_ended *e)
{
	(void)arg;
	audit_ended(e);
}

/* An app serves on every server that can become main, and is asked while it is. */
static bool
face_may_serve(void *arg, const char **refusal)
{
	(void)arg;
	if (syncd.role == DATA_DMZ)
		*refusal = "-READONLY this server is in the DMZ: it never becomes main, and nobody "
			   "would ask for these actions";
	return syncd.role != DATA_DMZ;
}

static const char *
face_server_name(void *arg)
{
	const struct conf *c = child_conf(&syncd.child);

	(void)arg;
	return c->server[c->general.self].name;
}

static const struct face_calls face_calls = {
    .route = face_route,
    .proxy = face_proxy,
    .forget = face_forget,
    .count_synced = face_count_synced,
    .released = face_released,
    .before_sync = face_before_sync,
    .remote_answer = face_remote_answer,
    .describe = face_describe,
    .role = face_role,
    .reads_only = face_reads_only,
    .snapshot = face_snapshot,
    .act = face_act,
    .action_ended = face_action_ended,
    .may_serve = face_may_serve,
    .server_name = face_server_name,
};

static void
on_change(void *arg, const struct position *at, struct slice body)
{
	(void)arg;
	reach_changed(at);
	if (syncd.role == DATA_MAIN)
		feed_changed(at, body);
}

enum refusal
syncd_open(const struct conf *c)
{
	const struct conf_general *g = &c->general;
	struct store_limits limits = {.map_bytes = (uint64_t)g->data_size,
	    .backlog_bytes = (uint64_t)g->data_backlog,
	    .change_bytes = wire_change_max((uint64_t)g->data_bulk)};
	struct face_options options = {.bulk_max = (size_t)g->data_bulk,
	    .request_max = wire_request_max((uint64_t)g->data_bulk),
	    .flush_permitted = g->data_flush,
	    .action_ms = g->data_action_ms,
	    .path = "data.sock"};

	if (syncd.store != NULL)
		return REFUSE_NONE;
	syncd.store = store_open("/", &limits);
	if (syncd.store == NULL)
		return REFUSE_DATA;
	store_listen(syncd.store, on_change, NULL);
	reach_start();
	if (face_open(
		&syncd.face, &syncd.loop, FD_LOCAL, syncd.store, &face_calls, NULL, &options) != 0)
		fatal("the data socket cannot be served");
	return REFUSE_NONE;
}

/* ---- warm-up */

static void
warm_up(void)
{
	uint64_t boot;

	child_hold_numbers();
	if (sodium_init() < 0)
		fatal("libsodium does not start");
	loop_open(&syncd.loop);
	loop_reserve(&syncd.loop);
	randombytes_buf(&boot, sizeof(boot));
	uv_timer_init(&syncd.loop, &syncd.timer);
	uv_prepare_init(&syncd.loop, &syncd.turn);
	uv_prepare_start(&syncd.turn, on_turn);
	ipc_init();
	data_links_init(&syncd.links, &syncd.loop, &ipc_links_ops, boot);
}
