/* SPDX-License-Identifier: ISC */
/*
 * The local face and its owner: where writes go (here, to main, nowhere), answers that are held for
 * standbys, clients of other servers, changes that a failed flush takes back, and actions. The
 * store is real; only its flush can be told to fail.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "model.h"
#include "syncd/client.h"

enum { ROUNDS = 20, ASKED_MAX = 512 };

int __real_store_flush(struct store *s);
int __wrap_store_flush(struct store *s);

static char folder[64];
static struct store *store;
static struct face face;
static uv_loop_t loop;

/* What the owner says and was told. */
static enum face_route where;
static uint64_t released, asked_client, forgotten, answered_client;
static size_t synced;
static char asked[ASKED_MAX], answered[ASKED_MAX];
static struct face_watched asked_watch;
static uid_t reader; /* may only read */
static bool flush_fails;
static unsigned flushes;

/* Each request takes all the time that a turn has. */
static bool slow;

/* So many requests of another app come while one is executed. */
static int meanwhile_fd;
static unsigned meanwhile;
static unsigned n_ended[CONTROL_END_MAX];
static struct face_ended last_ended;
static char last_name[ACTION_NAME + 1], last_server[16];

/* As a full disk: what was changed since the last flush is undone. */
int
__wrap_store_flush(struct store *s)
{
	static struct position durable;

	flushes++;
	if (!flush_fails) {
		int result = __real_store_flush(s);

		durable = store_end(s);
		return result;
	}
	assert_int_equal(store_truncate(s, &durable), 0);
	errno = ENOSPC;
	return -1;
}

static enum face_route
route(void *arg, uint64_t *epoch, const char **refusal)
{
	(void)arg;
	*epoch = 7;
	*refusal = "-READONLY of a test";
	if (slow)
		face.turn_ms = 1;
	if (meanwhile > 0) {
		meanwhile--;
		assert_int_equal(write(meanwhile_fd, "INCR b\n", 7), 7);
	}
	return where;
}

static int
proxy(void *arg, uint64_t client, const struct face_request *r, const char **refusal)
{
	size_t n = 0;

	(void)arg;
	if (asked_client != 0) {
		*refusal = "-MASTERDOWN busy";
		return -1;
	}
	asked_client = client;
	n += (size_t)snprintf(asked, sizeof(asked), "%s%d:", r->transaction ? "T" : "", r->version);
	for (size_t i = 0; i < r->n_commands; i++)
		for (size_t k = 0; k <= r->commands[i].argc; k++)
			n += (size_t)snprintf(asked + n, sizeof(asked) - n,
			    k == r->commands[i].argc ? ";" : " %.*s",
			    k == r->commands[i].argc ? 0 : (int)r->commands[i].argv[k].len,
			    k == r->commands[i].argc ? ""
						     : (const char *)r->commands[i].argv[k].data);
	if (r->n_watched == 1)
		asked_watch = r->watched[0];
	return 0;
}

static void
forget(void *arg, uint64_t client)
{
	(void)arg;
	forgotten = client;
}

static size_t
count_synced(void *arg, const struct position *p, bool on_disk)
{
	(void)arg;
	(void)p;
	return on_disk ? synced / 2 : synced;
}

static uint64_t
get_released(void *arg)
{
	(void)arg;
	return released;
}

static bool
reads_only(void *arg, uid_t uid)
{
	(void)arg;
	return uid == reader;
}

static void
remote_answer(void *arg, uint64_t client, struct slice answer, const struct position *last)
{
	(void)arg;
	(void)last;
	answered_client = client;
	snprintf(answered, sizeof(answered), "%.*s", (int)answer.len, (const char *)answer.data);
}

static int
act(void *arg, uint64_t client, const struct face_action *a, const char **refusal)
{
	(void)arg;
	if (asked_client != 0) {
		*refusal = "-MASTERDOWN busy";
		return -1;
	}
	asked_client = client;
	snprintf(asked, sizeof(asked), "A%d: %.*s %.*s %d %u", a->version, (int)a->name.len,
	    (const char *)a->name.data, (int)a->payload.len, (const char *)a->payload.data,
	    (int)a->left_ms, (unsigned)a->uid);
	return 0;
}

static void
action_ended(void *arg, const struct face_ended *e)
{
	(void)arg;
	n_ended[e->end]++;
	last_ended = *e;
	snprintf(last_name, sizeof(last_name), "%s", e->name);
	snprintf(last_server, sizeof(last_server), "%s", e->server);
}

static bool
may_serve(void *arg, const char **refusal)
{
	(void)arg;
	*refusal = "-READONLY in the DMZ";
	return where != FACE_REFUSE;
}

static const char *
server_name(void *arg)
{
	(void)arg;
	return "alpha";
}

static const struct face_calls calls = {.route = route,
    .act = act,
    .action_ended = action_ended,
    .may_serve = may_serve,
    .server_name = server_name,
    .proxy = proxy,
    .forget = forget,
    .count_synced = count_synced,
    .released = get_released,
    .remote_answer = remote_answer,
    .reads_only = reads_only};

static int
setup(void **state)
{
	static const struct store_limits limits = {
	    .map_bytes = 64 << 20, .backlog_bytes = 4 << 20, .segment_bytes = 256 << 10};
	static const struct face_options options = {.flush_permitted = true};
	static const uint8_t id[STORE_ID] = "a group of tests";

	(void)state;
	where = FACE_LOCAL;
	released = UINT64_MAX;
	asked_client = forgotten = answered_client = synced = 0;
	flush_fails = false;
	reader = (uid_t)-2;
	meanwhile = 0;
	slow = false;
	memset(n_ended, 0, sizeof(n_ended));
	memset(asked, 0, sizeof(asked));
	memset(answered, 0, sizeof(answered));
	strcpy(folder, "/tmp/bh-test-face-XXXXXX");
	assert_non_null(mkdtemp(folder));
	store = store_open(folder, &limits);
	assert_non_null(store);
	assert_int_equal(store_init(store, id), 0);
	assert_int_equal(__wrap_store_flush(store), 0);
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(face_open(&face, &loop, -1, store, &calls, NULL, &options), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	face_close(&face);
	while (!face_closed(&face))
		uv_run(&loop, UV_RUN_NOWAIT);
	face_free(&face);
	assert_int_equal(uv_loop_close(&loop), 0);
	store_close(store);
	return remove_folder(folder);
}

static void
turns(void)
{
	for (int i = 0; i < ROUNDS; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
}

/* An app: its end of the connection, and the client of the face. */
struct app {
	int fd;
	struct client *c;
};

static struct app
connect_app(void)
{
	int fds[2];
	struct app a;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	a.fd = fds[0];
	a.c = client_new(&face, fds[1], 1000, 1);
	assert_non_null(a.c);
	return a;
}

static void
say(struct app a, const char *text)
{
	assert_int_equal(write(a.fd, text, strlen(text)), strlen(text));
	turns();
}

static void
hear(struct app a, const char *text)
{
	char got[1024];
	ssize_t n = read(a.fd, got, sizeof(got) - 1);

	got[n < 0 ? 0 : n] = '\0';
	assert_string_equal(got, text);
}

static void
test_local(void **state)
{
	struct app a = connect_app();

	(void)state;
	say(a, "SET a 1\nGET a\n");
	hear(a, "+OK\r\n$1\r\n1\r\n");
	assert_int_equal(store_durable(store).index, 1);
	assert_int_equal(store_durable(store).epoch, 7);
	say(a, "MULTI\nSET a 2\nHSET h f v\nDEL a\nEXEC\n");
	assert_int_equal(store_durable(store).index, 2); /* one change */
	close(a.fd);
	turns();
	assert_int_equal(face.n_clients, 0);
}

static void
test_proxy_keeps_order(void **state)
{
	struct app a = connect_app(), b = connect_app();

	(void)state;
	say(a, "SET a 1\n");
	hear(a, "+OK\r\n");
	where = FACE_PROXY;
	say(a, "GET a\nSET a 2\nGET a\nHELLO\n");
	assert_string_equal(asked, "2: SET a 2;");
	hear(a, "$1\r\n1\r\n"); /* what is behind the SET waits */
	say(b, "GET a\n");
	hear(b, "$1\r\n1\r\n"); /* others do not */
	face_answer(&face, asked_client, (struct slice){(const uint8_t *)"+MAIN\r\n", 7});
	asked_client = 0;
	turns();
	{
		char got[1024] = "";

		assert_true(read(a.fd, got, sizeof(got) - 1) > 0);
		assert_int_equal(strncmp(got, "+MAIN\r\n$1\r\n1\r\n*14\r\n", 19), 0);
		assert_non_null(strstr(got, "replica"));
	}
	say(a, "CLIENT REPLY SKIP\nSET a 3\n");
	face_answer(&face, asked_client, (struct slice){(const uint8_t *)"+MAIN\r\n", 7});
	turns();
	hear(a, "");
	asked_client = 0;
	say(b, "SET b 1\n");
	face_refuse(&face, asked_client, "-MASTERDOWN gone");
	turns();
	hear(b, "-MASTERDOWN gone\r\n");
	say(a, "SET a 4\n"); /* nobody takes it */
	hear(a, "-MASTERDOWN busy\r\n");
	asked_client = 0;
	say(b, "WAIT 1 100\n"); /* it is main who knows */
	assert_string_equal(asked, "2: WAIT 1 100;");
	close(b.fd);
	turns();
	assert_int_equal(forgotten, asked_client);
	face_answer(&face, asked_client,
	    (struct slice){(const uint8_t *)":1\r\n", 4}); /* too late: nothing */
	close(a.fd);
	turns();
}

static void
test_proxied_transaction(void **state)
{
	struct app a = connect_app();
	uint8_t digest[DB_DIGEST];

	(void)state;
	say(a, "HSET h f v g w\n");
	hear(a, ":2\r\n");
	where = FACE_PROXY;
	say(a, "MULTI\nGET h\nEXEC\n"); /* it only reads */
	hear(a, "+OK\r\n+QUEUED\r\n*1\r\n-WRONGTYPE Operation against a key holding the wrong kind "
		"of value\r\n");
	say(a, "WATCH h\nMULTI\nGET a\nSET a 2\nEXEC\nPING\n");
	hear(a, "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n");
	assert_string_equal(asked, "T2: GET a; SET a 2;");
	db_digest(&face, (struct slice){(const uint8_t *)"h", 1}, digest);
	assert_memory_equal(asked_watch.digest, digest, DB_DIGEST);
	face_answer(&face, asked_client, (struct slice){(const uint8_t *)"*-1\r\n", 5});
	turns();
	hear(a, "*-1\r\n+PONG\r\n");
	close(a.fd);
	turns();
}

/* The user of an app may only read, from one moment to the other. */
static void
test_reader(void **state)
{
	static const char no[] = "-NOPERM this user may only read\r\n";
	struct app a = connect_app();
	char text[256];

	(void)state;
	say(a, "SET a 1\nMULTI\nSET a 2\n");
	hear(a, "+OK\r\n+OK\r\n+QUEUED\r\n");
	reader = 1000;
	say(a, "EXEC\n");
	hear(a, "-EXECABORT Transaction discarded because of: NOPERM this user may only read\r\n");
	say(a, "SET a 3\nFLUSHALL\nGET a\nWAIT 0 0\nMULTI\nGET a\nEXEC\n");
	snprintf(
	    text, sizeof(text), "%s%s$1\r\n1\r\n:0\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\n1\r\n", no, no);
	hear(a, text);
	where = FACE_PROXY; /* nothing of it goes to main either, but WAIT: main knows */
	say(a, "DEL a\n");
	hear(a, no);
	assert_string_equal(asked, "");
	say(a, "WAIT 1 100\n");
	assert_string_equal(asked, "2: WAIT 1 100;");
	face_answer(&face, asked_client, (struct slice){(const uint8_t *)":1\r\n", 4});
	turns();
	hear(a, ":1\r\n");
	where = FACE_LOCAL;
	say(a, "MULTI\nDEL a\nEXEC\n");
	snprintf(text, sizeof(text),
	    "+OK\r\n%s-EXECABORT Transaction discarded because of previous errors.\r\n", no);
	hear(a, text);
	reader = (uid_t)-2;
	say(a, "DEL a\n");
	hear(a, ":1\r\n");
	close(a.fd);
	turns();
}

static void
test_refused(void **state)
{
	struct app a = connect_app();

	(void)state;
	where = FACE_REFUSE;
	say(a, "SET a 1\nGET a\nMULTI\nSET a 1\nEXEC\nWAIT 0 0\n");
	hear(a, "-READONLY of a test\r\n$-1\r\n+OK\r\n-READONLY of a test\r\n-EXECABORT "
		"Transaction discarded because of "
		"previous errors.\r\n:0\r\n");
	/* main is lost in the middle of a transaction */
	where = FACE_LOCAL;
	say(a, "MULTI\nSET a 1\n");
	where = FACE_REFUSE;
	say(a, "EXEC\nEXEC\n");
	hear(a,
	    "+OK\r\n+QUEUED\r\n-EXECABORT Transaction discarded because of: READONLY of a test\r\n"
	    "-ERR EXEC without MULTI\r\n");
	close(a.fd);
	turns();
}

static void
test_held(void **state)
{
	struct app a = connect_app(), b = connect_app();

	(void)state;
	released = 0;
	say(a, "SET a 1\nSET b 1\n");
	hear(a, ""); /* on disk here, and nowhere else */
	say(b, "GET a\n");
	hear(b, "$1\r\n1\r\n");
	released = 1;
	face_progress(&face);
	turns();
	hear(a, "");
	say(a, "PING\n");
	released = 2;
	face_progress(&face);
	turns();
	hear(a, "+OK\r\n+OK\r\n+PONG\r\n");
	released = 0;
	say(a, "SET a 2\n");
	close(a.fd); /* while it is held */
	turns();
	assert_int_equal(face.n_clients, 1);
	assert_int_equal(face.n_waiting, 0);
	close(b.fd);
	turns();
}

/*
 * What standbys have had once they have: a program that wrote reads on, however few of them are
 * left.
 */
static void
test_held_once(void **state)
{
	struct app a = connect_app();

	(void)state;
	released = 1;
	say(a, "SET a 1\n");
	hear(a, "+OK\r\n");
	released = 0;
	say(a, "GET a\n");
	hear(a, "$1\r\n1\r\n");
	say(a, "SET a 2\n");
	hear(a, "");
	released = UINT64_MAX;
	face_progress(&face);
	turns();
	hear(a, "+OK\r\n");
	close(a.fd);
	turns();
}

static bool
is_closed(struct app a)
{
	char byte;

	return recv(a.fd, &byte, 1, MSG_DONTWAIT) == 0;
}

/* The role goes: what waits for standbys is never said, WAIT is answered, and all others go on. */
static void
test_demoted(void **state)
{
	struct app a = connect_app(), b = connect_app(), c = connect_app(), d = connect_app();
	struct slice set[] = {slice_of("SET"), slice_of("r"), slice_of("1")};
	struct face_command one_set = {set, 3};
	struct face_request one = {.commands = &one_set, .n_commands = 1, .version = 2};
	uint64_t id = face_remote_new(&face);

	(void)state;
	released = 1;
	say(a, "SET a 1\n");
	hear(a, "+OK\r\n");
	say(b, "SET b 1\n");
	hear(b, "");
	say(c, "WAIT 2 0\nPING\n");
	hear(c, "");
	assert_int_equal(face_remote_run(&face, id, &one), 0);
	turns();
	say(d, "SET d 1\nWAIT 1 0\n");
	assert_int_equal(face.n_waiting, 4);
	synced = 1;
	face_demoted(&face);
	where = FACE_PROXY;
	released = 0;
	turns();
	assert_int_equal(face.n_waiting, 0);
	assert_false(face_remote_lives(&face, id));
	assert_true(is_closed(b));
	assert_true(is_closed(d));
	hear(c, ":1\r\n+PONG\r\n");
	say(a, "GET a\n");
	hear(a, "$1\r\n1\r\n");
	assert_string_equal(answered, "");
	close(a.fd);
	close(b.fd);
	close(c.fd);
	close(d.fd);
	turns();
}

/*
 * What a program wrote elsewhere is here, or it is not: WAIT of a new main counts who has all of
 * that.
 */
static void
test_promoted(void **state)
{
	struct app a = connect_app(), b = connect_app();

	(void)state;
	say(b, "SET b 1\n");
	hear(b, "+OK\r\n");
	face_demoted(&face);
	assert_int_equal(face.clients->written.index, 0);
	face_promoted(&face);
	for (const struct client *c = face.clients; c != NULL; c = c->next)
		assert_int_equal(c->written.index, store_end(store).index);
	assert_true(store_end(store).index > 0);
	close(a.fd);
	close(b.fd);
	turns();
	(void)face_remote_new(&face);
	assert_int_equal(face.clients->written.index, store_end(store).index);
	face_remote_free(&face, face.clients->id);
	turns();
}

/* A request that never ends is given up at the bound, whatever it announces. */
static void
test_request_bound(void **state)
{
	static char part[40000];
	struct app a = connect_app(), b = connect_app();

	(void)state;
	face.options.request_max = 100000;
	memset(part, 'x', sizeof(part) - 1);
	say(a, "*2\r\n$3\r\nGET\r\n$90000000\r\n");
	for (int i = 0; i < 2; i++)
		say(a, part);
	assert_int_equal(face.n_clients, 2);
	for (int i = 0; i < 2; i++)
		say(a, part);
	assert_int_equal(face.n_clients, 1);
	close(a.fd);
	say(b, "PING\n");
	hear(b, "+PONG\r\n");
	close(b.fd);
	turns();
}

/* A pipeline of slow requests is executed over many turns, and others have theirs in between. */
static void
test_turn_has_an_end(void **state)
{
	struct app a = connect_app(), b = connect_app(), c = connect_app();
	char text[400 * 7];
	ssize_t n;

	(void)state;
	slow = true;
	for (size_t i = 0; i < sizeof(text); i += 7)
		memcpy(text + i, "INCR n\n", 7);
	assert_int_equal(write(a.fd, text, sizeof(text)), sizeof(text));
	assert_int_equal(write(c.fd, text, sizeof(text)), sizeof(text));
	turns();
	say(b, "GET n\n");
	n = recv(b.fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	assert_true(n > 4);
	text[n] = '\0';
	assert_in_range(strtol(strchr(text, '\n'), NULL, 10), 1, 799);
	close(c.fd); /* with answers that it did not read */
	while (face.late != NULL)
		uv_run(&loop, UV_RUN_ONCE);
	turns();
	assert_int_equal(face.n_clients, 2);
	say(b, "GET n\n");
	n = recv(b.fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	assert_true(n > 4);
	text[n] = '\0';
	assert_in_range(strtol(strchr(text, '\n'), NULL, 10), 400, 799);
	close(a.fd);
	close(b.fd);
	turns();
}

static void
test_wait(void **state)
{
	struct app a = connect_app();

	(void)state;
	say(a, "SET a 1\nWAIT 2 0\nPING\n");
	hear(a, "+OK\r\n");
	synced = 1;
	face_progress(&face);
	turns();
	hear(a, "");
	synced = 2;
	face_progress(&face);
	turns();
	hear(a, ":2\r\n+PONG\r\n");
	say(a, "WAITAOF 1 1 0\n");
	hear(a, "*2\r\n:1\r\n:1\r\n");
	close(a.fd);
	turns();
}

static void
test_remote(void **state)
{
	struct slice set[] = {
	    {(const uint8_t *)"SET", 3}, {(const uint8_t *)"a", 1}, {(const uint8_t *)"1", 1}};
	struct slice get[] = {{(const uint8_t *)"HGETALL", 7}, {(const uint8_t *)"nothing", 7}};
	struct face_command commands[] = {{set, 3}, {get, 2}};
	struct face_watched watched = {.key = set[1]};
	struct face_request one = {.commands = commands, .n_commands = 1, .version = 2};
	struct face_request all = {
	    .commands = commands, .n_commands = 2, .transaction = true, .version = 3};
	uint64_t id = face_remote_new(&face);

	(void)state;
	assert_int_not_equal(id, 0);
	assert_int_equal(face_remote_run(&face, id, &one), 0);
	turns();
	assert_int_equal(answered_client, id);
	assert_string_equal(answered, "+OK\r\n");
	assert_int_equal(store_durable(store).index, 1);
	assert_int_equal(face_remote_run(&face, id, &all), 0);
	turns();
	assert_string_equal(answered, "*2\r\n+OK\r\n%0\r\n");
	/* what was watched is not as it was seen */
	all.watched = &watched;
	all.n_watched = 1;
	assert_int_equal(face_remote_run(&face, id, &all), 0);
	turns();
	assert_string_equal(answered, "_\r\n");
	db_digest(&face, set[1], watched.digest);
	assert_int_equal(face_remote_run(&face, id, &all), 0);
	turns();
	assert_string_equal(answered, "*2\r\n+OK\r\n%0\r\n");
	/* not main any more: it is not sent on again */
	where = FACE_PROXY;
	assert_int_equal(face_remote_run(&face, id, &one), 0);
	turns();
	assert_string_equal(answered, "-READONLY of a test\r\n");
	assert_int_equal(face_remote_run(&face, id, &all), 0);
	turns();
	assert_string_equal(answered, "-READONLY of a test\r\n");
	face_remote_free(&face, id);
	turns();
	assert_int_equal(face.n_clients, 0);
	assert_int_equal(face_remote_run(&face, id, &one), -1);
}

/*
 * An answer that there is no room for is not "not executed": the change is there, or it is undone
 * with its turn.
 */
static void
test_remote_answer_too_large(void **state)
{
	static char text[30000];
	struct slice set[] = {
	    slice_of("SET"), slice_of("a"), {(const uint8_t *)text, sizeof(text)}};
	struct slice get[] = {slice_of("GET"), slice_of("a")};
	struct face_command commands[] = {{set, 3}, {get, 2}, {get, 2}};
	struct face_request all = {
	    .commands = commands, .n_commands = 3, .transaction = true, .version = 2};
	uint64_t id;

	(void)state;
	memset(text, 'x', sizeof(text));
	face.options.output_max = 40000;
	id = face_remote_new(&face);
	for (int i = 0; i < 2; i++) {
		flush_fails = i == 1;
		assert_int_equal(face_remote_run(&face, id, &all), 0);
		turns();
		assert_memory_equal(answered, "-UNKNOWN ", 9);
		assert_int_equal(store_durable(store).index, 1);
		answered[0] = '\0';
	}
	flush_fails = false;
	all.n_commands = 1;
	assert_int_equal(face_remote_run(&face, id, &all), 0);
	turns();
	assert_string_equal(answered, "*1\r\n+OK\r\n");
	face_remote_free(&face, id);
	turns();
}

/* What comes while others are executed is synced with them; but nobody waits for that for ever. */
static void
test_gathers(void **state)
{
	struct app a = connect_app(), b = connect_app(), idle = connect_app();
	char got[64];

	(void)state;
	meanwhile_fd = b.fd;
	meanwhile = 1;
	flushes = 0;
	say(a, "INCR a\n");
	hear(a, ":1\r\n");
	hear(b, ":1\r\n");
	assert_int_equal(flushes, 1);

	meanwhile = 1000;
	assert_int_equal(write(a.fd, "INCR a\n", 7), 7);
	for (int i = 0; i < 10; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	hear(a, ":2\r\n");
	assert_int_equal(flushes, 3);
	meanwhile = 0;
	turns();
	assert_true(read(b.fd, got, sizeof(got)) > 0);
	close(a.fd);
	close(b.fd);
	close(idle.fd);
	turns();
}

static void
test_taken_back(void **state)
{
	static const char words[] =
	    "-DISKFULL no room for this change, it did not happen; reads go on\r\n";
	static const char several[] = "PING\nSET a 2\nECHO x\nGET a\nMULTI\nINCR a\nEXEC\n";
	struct app a = connect_app(), b = connect_app(), listener = connect_app();
	char expected[512];

	(void)state;
	say(a, "SET a 1\n");
	hear(a, "+OK\r\n");
	say(listener, "PSUBSCRIBE *\n");
	assert_true(read(listener.fd, expected, sizeof(expected)) > 0);
	flush_fails = true;
	/* both in one turn: what b reads was never true */
	assert_int_equal(write(a.fd, several, sizeof(several) - 1), sizeof(several) - 1);
	assert_int_equal(write(b.fd, "GET a\nPING\n", 11), 11);
	turns();
	snprintf(expected, sizeof(expected), "+PONG\r\n%s$1\r\nx\r\n%s+OK\r\n+QUEUED\r\n%s", words,
	    words, words);
	hear(a, expected);
	hear(listener, "");
	assert_true(read(b.fd, expected, sizeof(expected)) > 0);
	say(a, "GET a\n");
	hear(a, "$1\r\n1\r\n");
	flush_fails = false;
	say(a, "INCR a\n");
	hear(a, ":2\r\n");
	hear(listener, "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$16\r\n__keyspace@0__:a\r\n$"
		       "6\r\nincrby\r\n*4\r\n$8\r\npmessage\r\n"
		       "$1\r\n*\r\n$21\r\n__keyevent@0__:incrby\r\n$1\r\na\r\n");
	assert_int_equal(face.counts.undone, 1);
	close(a.fd);
	close(b.fd);
	close(listener.fd);
	turns();
}

/* On a standby: what comes from main is told, and breaks transactions. */
static void
test_changed_by_main(void **state)
{
	struct app a = connect_app(), listener = connect_app();
	struct change_op op = {.kind = CHANGE_HSET,
	    .key = {(const uint8_t *)"k", 1},
	    .field = {(const uint8_t *)"f", 1},
	    .value = {(const uint8_t *)"v", 1}};
	struct change body;
	char got[512] = "";

	(void)state;
	where = FACE_PROXY;
	say(listener, "SUBSCRIBE __keyevent@0__:hset\n");
	assert_true(read(listener.fd, got, sizeof(got)) > 0);
	say(a, "WATCH k\nMULTI\nPING\n");
	change_init(&body);
	assert_int_equal(change_append(&body, &op), 0);
	face_changed(&face, (struct slice){body.data, body.len});
	turns();
	say(a, "EXEC\n");
	hear(a, "+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n");
	hear(listener, "*3\r\n$7\r\nmessage\r\n$19\r\n__keyevent@0__:hset\r\n$1\r\nk\r\n");
	change_free(&body);
	close(a.fd);
	close(listener.fd);
	turns();
}

/* ---- actions */

enum { GIVEN_MAX = 16 };

/* Waits until the app is sent something, and compares it. */
static void
hear_in_time(struct app a, const char *text)
{
	char got[1024];
	ssize_t n = -1;

	for (int i = 0; i < 10000 && n < 0; i++) {
		turns();
		n = read(a.fd, got, sizeof(got) - 1);
		if (n < 0)
			usleep(1000);
	}
	got[n < 0 ? 0 : n] = '\0';
	assert_string_equal(got, text);
}

static struct app
connect_server(const char *name)
{
	struct app a = connect_app();
	char line[128];

	snprintf(line, sizeof(line), "ACTION.SERVE %s\n", name);
	say(a, line);
	hear(a, "+OK\r\n");
	return a;
}

/* Number of the action in a push. */
static int
take_push(struct app a, const char *name, const char *payload)
{
	char got[1024], expected[1024];
	ssize_t n = read(a.fd, got, sizeof(got) - 1);
	char *id;

	assert_true(n > 0);
	got[n] = '\0';
	id = strstr(got, name);
	assert_non_null(id);
	id = strchr(strchr(id, '$'), '\n') + 1;
	snprintf(expected, sizeof(expected),
	    "*7\r\n$6\r\naction\r\n$%zu\r\n%s\r\n$%zu\r\n%d\r\n$%zu\r\n%s\r\n$5\r\nalpha\r\n"
	    "$4\r\n1000\r\n$1\r\n7\r\n",
	    strlen(name), name, strcspn(id, "\r"), atoi(id), strlen(payload), payload);
	assert_string_equal(got, expected);
	return atoi(id);
}

static void
say_id(struct app a, const char *word, int id, const char *rest)
{
	char line[128];

	snprintf(line, sizeof(line), "%s %d %s\n", word, id, rest);
	say(a, line);
}

static void
test_action(void **state)
{
	struct app caller = connect_app(), app, other;
	int id;

	(void)state;
	say(caller, "ACTION valve open\nPING\n");
	hear(caller, "-NOAPP no app on main serves this action: it was not executed\r\n+PONG\r\n");
	assert_int_equal(n_ended[CONTROL_NO_APP], 1);
	app = connect_server("valve");
	other = connect_server("pump");
	say(caller, "ACTION valve open\nPING\n");
	hear(caller, ""); /* what is behind it waits */
	hear(other, "");
	id = take_push(app, "valve", "open");
	say_id(other, "ACTION.REPLY", id, "mine");
	hear(other, "-NOACTION this connection was given no action of that number\r\n");
	say(app, "ACTION.REPLY x y\nACTION.REPLY 99 y\n");
	hear(app, "-ERR the number of an action is not an integer\r\n"
		  "-NOACTION this connection was given no action of that number\r\n");
	hear(caller, "");
	say_id(app, "ACTION.REPLY", id, "opened");
	hear(app, "+OK\r\n");
	hear(caller, "$6\r\nopened\r\n+PONG\r\n");
	assert_int_equal(n_ended[CONTROL_DONE], 1);
	assert_string_equal(last_name, "valve");
	assert_string_equal(last_server, "alpha");
	assert_int_equal(last_ended.uid, 1000);
	assert_int_equal(last_ended.app_pid, 1);
	say_id(app, "ACTION.REPLY", id, "again");
	hear(app, "-NOACTION this connection was given no action of that number\r\n");
	/* the app says that it failed: its words, on one line */
	say(caller, "CLIENT REPLY SKIP\nACTION valve shut\nACTION valve shut\n");
	say_id(app, "ACTION.REPLY", take_push(app, "valve", "shut"), "x"); /* skipped */
	hear(caller, "");
	assert_int_equal(read(app.fd, (char[6]){0}, 5), 5);
	id = take_push(app, "valve", "shut");
	say_id(app, "ACTION.FAIL", id, "\"it is\\nstuck\"");
	hear(caller, "-FAILED it is stuck\r\n");
	assert_int_equal(n_ended[CONTROL_FAILED], 1);
	hear(app, "+OK\r\n");
	say(app, "ACTION.UNSERVE\n");
	say(caller, "ACTION valve open\n");
	hear(caller, "-NOAPP no app on main serves this action: it was not executed\r\n");
	close(app.fd);
	close(other.fd);
	close(caller.fd);
	turns();
	assert_int_equal(face.served.n_topics, 0);
}

static void
test_action_words(void **state)
{
	struct app a = connect_app(), app = connect_server("valve"), only;
	char line[128];

	(void)state;
	say(a, "ACTION valve\nACTION va*lve x\nACTION valve x TIMEOUT\nACTION valve x LIMIT 5\n");
	hear(a, "-ERR wrong number of arguments for 'action' command\r\n"
		"-ERR the name of an action is 1 to 64 letters, digits and . _ : / @ -\r\n"
		"-ERR syntax error\r\n-ERR syntax error\r\n");
	say(a,
	    "ACTION valve x TIMEOUT 0\nACTION valve x TIMEOUT 3600001\nACTION valve x TIMEOUT y\n");
	hear(a, "-ERR the time-out of an action is 1 to 3600000 milliseconds\r\n"
		"-ERR the time-out of an action is 1 to 3600000 milliseconds\r\n"
		"-ERR value is not an integer or out of range\r\n");
	snprintf(line, sizeof(line), "ACTION.SERVE %065d\n", 1);
	say(a, line);
	hear(a, "-ERR the name of an action is 1 to 64 letters, digits and . _ : / @ -\r\n");
	say(a, "MULTI\nACTION valve x\nEXEC\n");
	hear(a, "+OK\r\n-ERR Command not allowed inside a transaction\r\n"
		"-EXECABORT Transaction discarded because of previous errors.\r\n");
	/* version 2: a push could be taken for the answer of anything else */
	say(app, "GET a\nPING\n");
	hear(app,
	    "-ERR Can't execute 'get': only ACTION.* / (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
	    "QUIT / RESET are allowed in this context\r\n+PONG\r\n");
	say(app, "RESET\nGET a\n");
	hear(app, "+RESET\r\n$-1\r\n");
	reader = 1000;
	only = connect_app();
	say(only, "ACTION valve x\nACTION.SERVE valve\n");
	hear(only, "-NOPERM this user may only read\r\n-NOPERM this user may only read\r\n");
	/* an app that may only read from now on is given nothing */
	reader = (uid_t)-2;
	say(app, "ACTION.SERVE valve\n");
	hear(app, "+OK\r\n");
	reader = 1000;
	app.c->uid = 1000;
	only.c->uid = 1001;
	say(only, "ACTION valve x TIMEOUT 1\n");
	hear_in_time(
	    only, "-TIMEOUT no app had room for the action in time: it was not executed\r\n");
	hear(app, "");
	reader = (uid_t)-2;
	where = FACE_REFUSE;
	say(a, "ACTION valve x\nACTION.SERVE valve\n");
	hear(a, "-READONLY of a test\r\n-READONLY in the DMZ\r\n");
	assert_int_equal(n_ended[CONTROL_NO_APP], 0);
	close(a.fd);
	close(app.fd);
	close(only.fd);
	turns();
}

/*
 * One goes to exactly one, in turn; an app that has enough gets no more, and what waits comes next.
 */
static void
test_action_shared(void **state)
{
	struct app one = connect_server("valve"), two = connect_server("valve"), caller[40];
	unsigned given[2];
	char got[8192];
	int id;

	(void)state;
	for (size_t i = 0; i < 40; i++) {
		caller[i] = connect_app();
		say(caller[i], "ACTION valve x\n");
		given[0] = one.c->n_given;
		given[1] = two.c->n_given;
		assert_in_range(given[0] - given[1] + 1, 0, 2); /* never more than one apart */
		assert_int_equal(given[0] + given[1], i < 2 * GIVEN_MAX ? i + 1 : 2 * GIVEN_MAX);
	}
	assert_int_equal(face.actions.n_waiting, 40 - 2 * GIVEN_MAX);
	assert_int_equal(face.actions.bytes, 40 - 2 * GIVEN_MAX);
	assert_true(read(two.fd, got, sizeof(got)) > 0);
	/* its first; every other one is its own */
	id = atoi(strstr(strstr(got, "valve"), "$1") + 4);
	say_id(two, "ACTION.REPLY", id, "y");
	hear(caller[id - 1], "$1\r\ny\r\n");
	assert_int_equal(two.c->n_given, GIVEN_MAX);
	assert_int_equal(face.actions.n_waiting, 40 - 2 * GIVEN_MAX - 1);
	/* it goes: what it had is unknown, what waits is not */
	close(two.fd);
	turns();
	assert_int_equal(n_ended[CONTROL_APP_GONE], GIVEN_MAX);
	hear(caller[id + 1], "-UNKNOWN the app that had the action is gone: it may or may not have "
			     "been executed\r\n");
	assert_int_equal(face.actions.n_waiting, 40 - 2 * GIVEN_MAX - 1);
	close(one.fd);
	turns();
	assert_int_equal(n_ended[CONTROL_APP_GONE], 2 * GIVEN_MAX);
	assert_int_equal(n_ended[CONTROL_NO_APP], 40 - 2 * GIVEN_MAX - 1);
	hear(caller[39], "-NOAPP no app on main serves this action: it was not executed\r\n");
	for (size_t i = 0; i < 40; i++)
		close(caller[i].fd);
	turns();
	assert_int_equal(face.n_clients, 0);
	assert_int_equal(face.n_waiting, 0);
	assert_null(face.actions.first);
}

/* Its time is over: given or not. The app keeps the place, and its late answer goes nowhere. */
static void
test_action_times_out(void **state)
{
	struct app app = connect_server("valve"), caller = connect_app(), busy = connect_app();
	int id;

	(void)state;
	say(caller, "ACTION valve x TIMEOUT 1\n");
	hear_in_time(caller,
	    "-UNKNOWN time-out: an app has the action and did not answer in time, it may "
	    "or may not have been executed\r\n");
	id = take_push(app, "valve", "x");
	assert_int_equal(app.c->n_given, 1);
	assert_int_equal(n_ended[CONTROL_LATE], 1);
	say(busy, "HELLO 3\nACTION.SERVE self\n");
	assert_true(read(busy.fd, (char[1024]){0}, 1024) > 0);
	/* who waits for its own action cannot do it: it is not given */
	say(busy, "ACTION self x TIMEOUT 1\n");
	hear_in_time(
	    busy, "-TIMEOUT no app had room for the action in time: it was not executed\r\n");
	assert_int_equal(n_ended[CONTROL_NO_TIME], 1);
	say_id(app, "ACTION.REPLY", id, "y");
	hear(app,
	    "-NOACTION the time of this action was over before: who asked for it was told that its "
	    "outcome is unknown\r\n");
	assert_int_equal(app.c->n_given, 0);
	hear(caller, "");
	assert_null(face.actions.first);
	close(app.fd);
	close(caller.fd);
	close(busy.fd);
	turns();
}

/* Who asked goes; the role goes. */
static void
test_action_ends_between(void **state)
{
	struct app app = connect_server("valve"), caller[GIVEN_MAX + 2];
	int id = 0;

	(void)state;
	for (size_t i = 0; i < GIVEN_MAX + 2; i++) {
		caller[i] = connect_app();
		say(caller[i], i == 0 ? "ACTION valve x\n" : "ACTION valve y\n");
		if (i == 0)
			id = take_push(app, "valve", "x");
	}
	assert_int_equal(face.actions.n_waiting, 2);
	close(caller[0].fd); /* the app has it */
	close(caller[GIVEN_MAX].fd);
	turns();
	assert_int_equal(n_ended[CONTROL_NOT_WANTED], 1);
	assert_int_equal(face.actions.n_waiting, 1);
	where = FACE_PROXY; /* the role is on its way: nothing is given */
	assert_true(read(app.fd, (char[8192]){0}, 8192) > 0);
	say_id(app, "ACTION.REPLY", id, "z");
	hear(app, "+OK\r\n");
	assert_int_equal(n_ended[CONTROL_DONE], 1);
	assert_int_equal(face.actions.n_waiting, 1);
	face_actions_stop(&face);
	turns();
	hear(caller[1],
	    "-UNKNOWN this server is no longer main, and an app had the action: it may or may "
	    "not have been executed\r\n");
	hear(caller[GIVEN_MAX + 1],
	    "-MASTERDOWN this server is no longer main: the action was not executed\r\n");
	assert_int_equal(n_ended[CONTROL_ROLE_GONE], GIVEN_MAX - 1);
	assert_int_equal(n_ended[CONTROL_NOT_MAIN], 1);
	assert_int_equal(app.c->n_given, GIVEN_MAX - 1);
	say_id(app, "ACTION.REPLY", id + 1, "z");
	assert_int_equal(app.c->n_given, GIVEN_MAX - 2);
	/* it serves on: the role comes back */
	where = FACE_LOCAL;
	say(caller[1], "ACTION valve x\n");
	assert_int_equal(app.c->n_given, GIVEN_MAX - 1);
	close(app.fd);
	turns();
	assert_int_equal(n_ended[CONTROL_APP_GONE], 1);
	assert_null(face.actions.first);
	for (size_t i = 1; i < GIVEN_MAX + 2; i++)
		if (i != GIVEN_MAX)
			close(caller[i].fd);
	turns();
	assert_int_equal(face.n_clients, 0);
}

/* More than may wait. */
static void
test_action_flood(void **state)
{
	struct app app = connect_server("valve"), caller[300];
	unsigned busy = 0;

	(void)state;
	for (size_t i = 0; i < 300; i++) {
		caller[i] = connect_app();
		say(caller[i], "ACTION valve x\n");
	}
	assert_int_equal(app.c->n_given, GIVEN_MAX);
	assert_int_equal(face.actions.n_waiting, 256);
	for (size_t i = 0; i < 300; i++) {
		char got[128];
		ssize_t n = read(caller[i].fd, got, sizeof(got));

		busy += n > 5 && memcmp(got, "-BUSY", 5) == 0;
	}
	assert_int_equal(busy, 300 - 256 - GIVEN_MAX);
	assert_int_equal(n_ended[CONTROL_NO_ROOM], busy);
	for (size_t i = 0; i < 300; i++)
		close(caller[i].fd);
	turns();
	assert_int_equal(face.actions.n_waiting, 0);
	assert_int_equal(face.actions.bytes, 0);
	assert_int_equal(n_ended[CONTROL_NOT_WANTED], 256);
	close(app.fd);
	turns();
	assert_null(face.actions.first);
}

/* From and for other servers; and what must not come as a request. */
static void
test_action_remote(void **state)
{
	struct slice serve[] = {
	    {(const uint8_t *)"ACTION.SERVE", 12}, {(const uint8_t *)"pump", 4}};
	struct slice ask[] = {{(const uint8_t *)"ACTION", 6}, {(const uint8_t *)"valve", 5},
	    {(const uint8_t *)"x", 1}};
	struct face_command commands[] = {{serve, 2}, {ask, 3}};
	struct face_request request = {.commands = commands, .n_commands = 1, .version = 2};
	struct face_action action = {.name = ask[1],
	    .payload = ask[2],
	    .left_ms = 60000,
	    .uid = 77,
	    .pid = 12,
	    .version = 3};
	struct app app = connect_app(), a = connect_app();
	uint64_t id = face_remote_new(&face);

	(void)state;
	say(app, "HELLO 3\nACTION.SERVE valve\n");
	assert_true(read(app.fd, (char[1024]){0}, 1024) > 0);
	assert_int_equal(face_remote_run(&face, id, &request), 0);
	turns();
	assert_string_equal(answered, "-ERR an action is no request\r\n");
	commands[0] = commands[1];
	assert_int_equal(face_remote_run(&face, id, &request), 0);
	turns();
	assert_string_equal(answered, "-ERR an action is no request\r\n");
	request.transaction = true;
	assert_int_equal(face_remote_run(&face, id, &request), 0);
	turns();
	assert_string_equal(answered, "*1\r\n-ERR Command not allowed inside a transaction\r\n");
	memset(answered, 0, sizeof(answered));
	assert_int_equal(face_remote_act(&face, id, &action, "beta"), 0);
	turns();
	assert_int_equal(face_remote_act(&face, id, &action, "beta"), -1); /* one at a time */
	hear(app,
	    ">7\r\n$6\r\naction\r\n$5\r\nvalve\r\n$1\r\n1\r\n$1\r\nx\r\n$4\r\nbeta\r\n$2\r\n77\r\n"
	    "$1\r\n7\r\n");
	assert_string_equal(answered, "");
	say(app, "ACTION.REPLY 1 y\n");
	assert_string_equal(answered, "$1\r\ny\r\n");
	assert_string_equal(last_server, "beta");
	assert_int_equal(last_ended.uid, 77);
	assert_int_equal(last_ended.pid, 12);
	where = FACE_PROXY; /* main is elsewhere: neither served here, nor sent on */
	assert_int_equal(face_remote_act(&face, id, &action, "beta"), 0);
	turns();
	assert_string_equal(answered, "-READONLY of a test\r\n");
	say(a, "ACTION valve open TIMEOUT 500\nPING\n");
	assert_string_equal(asked, "A2: valve open 500 1000");
	hear(a, "");
	face_answer(&face, asked_client, (struct slice){(const uint8_t *)"$2\r\nok\r\n", 8});
	turns();
	hear(a, "$2\r\nok\r\n+PONG\r\n");
	close(a.fd); /* main may keep something of whoever asked it */
	turns();
	assert_int_equal(forgotten, asked_client);
	face_remote_free(&face, id);
	close(app.fd);
	turns();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_local, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_proxy_keeps_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_proxied_transaction, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_reader, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_held, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_held_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_demoted, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_promoted, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_request_bound, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_turn_has_an_end, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_wait, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_remote, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_remote_answer_too_large, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_gathers, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_taken_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_changed_by_main, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_action, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_action_words, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_action_shared, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_action_times_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_action_ends_between, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_action_flood, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_action_remote, setup, teardown),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
