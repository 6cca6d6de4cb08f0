/* SPDX-License-Identifier: ISC */
/*
 * The local face alone, as main, for tests: opens the store in a folder and answers on a Unix
 * socket until SIGTERM. No sandbox and no other server. It prints "ready" when apps can connect.
 * usage: resp_server FOLDER SOCKET [-f] [-o bytes of output] [-p of notifications]
 *        [-b bytes of an argument] [-c clients] [-u uid that may only read] [-m mapped bytes]
 *   -f   FLUSHALL is permitted
 */
#include "config.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"
#include "syncd/face.h"

enum { EPOCH = 1, LISTEN_QUEUE = 511 };

static uid_t reader = (uid_t)-1;

static enum face_route
route(void *arg, uint64_t *epoch, const char **refusal)
{
	(void)arg;
	(void)refusal;
	*epoch = EPOCH;
	return FACE_LOCAL;
}

static bool
reads_only(void *arg, uid_t uid)
{
	(void)arg;
	return uid == reader;
}

static int
listen_on(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(a.sun_path) || fd < 0)
		return -1;
	strcpy(a.sun_path, path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, LISTEN_QUEUE) != 0)
		return -1;
	return chmod(path, 0666) == 0 ? fd : -1;
}

static void
on_signal(uv_signal_t *s, int number)
{
	(void)number;
	face_close(s->data);
	uv_close((uv_handle_t *)s, NULL);
}

static size_t
number(const char *text)
{
	return (size_t)strtoull(text, NULL, 10);
}

static void
options(int argc, char **argv, struct face_options *o, struct store_limits *limits)
{
	int c;

	while ((c = getopt(argc, argv, "fo:p:b:c:u:m:")) != -1) {
		switch (c) {
		case 'f':
			o->flush_permitted = true;
			break;
		case 'o':
			o->output_max = o->output_push_max = number(optarg);
			break;
		case 'p':
			o->output_push_max = number(optarg);
			break;
		case 'b':
			o->bulk_max = number(optarg);
			break;
		case 'c':
			o->clients_max = (unsigned)number(optarg);
			break;
		case 'u':
			reader = (uid_t)number(optarg);
			break;
		case 'm':
			limits->map_bytes = number(optarg);
			break;
		default:
			exit(2);
		}
	}
}

int
main(int argc, char **argv)
{
	static const struct face_calls calls = {.route = route, .reads_only = reads_only};
	struct store_limits limits = {
	    .map_bytes = (uint64_t)8 << 30, .backlog_bytes = (uint64_t)64 << 20};
	struct face_options o = {0};
	uint8_t id[STORE_ID];
	struct store *store;
	struct face face;
	uv_signal_t term;
	uv_loop_t loop;
	int fd;

	options(argc, argv, &o, &limits);
	log_to_fd(STDERR_FILENO);
	if (argc - optind != 2 || sodium_init() < 0 || uv_loop_init(&loop) != 0)
		return 2;
	o.path = argv[optind + 1];
	store = store_open(argv[optind], &limits);
	if (store != NULL && sodium_is_zero(store_id(store), STORE_ID)) {
		randombytes_buf(id, sizeof(id));
		if (store_init(store, id) != 0)
			return 1;
	}
	fd = listen_on(o.path);
	if (store == NULL || fd < 0 || face_open(&face, &loop, fd, store, &calls, NULL, &o) != 0) {
		fprintf(stderr, "resp_server: %s\n", strerror(errno));
		return 1;
	}
	uv_signal_init(&loop, &term);
	term.data = &face;
	uv_signal_start(&term, on_signal, SIGTERM);
	puts("ready");
	fflush(stdout);
	uv_run(&loop, UV_RUN_DEFAULT);
	face_free(&face);
	uv_loop_close(&loop);
	store_close(store);
	return 0;
}
