/* SPDX-License-Identifier: ISC */
/*
 * keyd with a hostile supervisor, roled and syncd: channels 0 to 2 of table.h. Its own files,
 * with secrets that nobody else has; a secret that comes out of a channel ends the run.
 */
#include "keyd/keys.c"

#include "keyd/ipc.c"

#include <stdlib.h>
#include <sys/socket.h>

#include "fuzz.h"
#include "table.h"

/* All bytes of the first secret, of the second one more; and how many of them are looked for. */
enum { FIRST_SECRET = 0xa5, TELLTALE = 8 };

static struct table_channel list[3] = {{.end = -1}, {.end = -1}, {.end = -1}};

/* As keys_read() would have left it. */
static void
put_secrets(void)
{
	if (keys_init() != 0)
		abort();
	unlock();
	for (int k = 0; k < KEY_COUNT; k++) {
		memset(secrets->secret[k], FIRST_SECRET + k, SECRET);
		if (crypto_scalarmult_base(public_keys[k], secrets->secret[k]) != 0)
			abort();
		present[k] = 1;
	}
	lock();
}

static void
watch_end(int end)
{
	static uint8_t packet[MSG_SIZE_MAX];
	uint8_t secret[TELLTALE];
	ssize_t n;

	while ((n = recv(end, packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
		for (int k = 0; k < KEY_COUNT; k++) {
			memset(secret, FIRST_SECRET + k, sizeof(secret));
			for (size_t i = 0; i + sizeof(secret) <= (size_t)n; i++) {
				if (memcmp(packet + i, secret, sizeof(secret)) == 0)
					abort();
			}
		}
	}
}

static int
turn(size_t which)
{
	int r = channel_read(list[which].channel);

	watch_end(list[0].end);
	watch_end(list[1].end);
	watch_end(list[2].end);
	if (r < 0 && which == 0)
		return 0; /* the end of keyd */
	if (r < 0)
		child_edge_lost(&child, list[which].channel);
	return !stopping;
}

/* Refused bytes are sent back: an input that has a secret can have it from there. */
static int
knows_secret(const uint8_t *data, size_t size)
{
	size_t run = 0;

	for (size_t i = 0; i < size; i++) {
		if (data[i] < FIRST_SECRET || data[i] >= FIRST_SECRET + KEY_COUNT)
			run = 0;
		else if (++run == TELLTALE / 2)
			return 1;
	}
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int done;

	if (!done) {
		table_set_up();
		put_secrets();
		log_on_fatal(abort); /* keys.c has set its own */
		done = 1;
	}
	if (knows_secret(data, size))
		return 0;
	list[0].end = table_pair(FD_CONTROL);
	list[1].end = table_pair(FD_EDGE(PROC_ROLED));
	list[2].end = table_pair(FD_EDGE(PROC_SYNCD));
	keyd_init_ipc();
	stopping = 0;
	list[0].channel = &child.control;
	list[1].channel = &askers[0].channel;
	list[2].channel = &askers[1].channel;
	table_play(data, size, list, 3, turn);
	if (secrets == NULL || !present[KEY_STATUS] || !present[KEY_DATA])
		abort();
	for (size_t i = 0; i < 3; i++) {
		static const int fds[3] = {FD_CONTROL, FD_EDGE(PROC_ROLED), FD_EDGE(PROC_SYNCD)};

		channel_close(list[i].channel);
		close(list[i].end);
		dup2(FD_EDGE(PROC_BEATD), fds[i]);
	}
	return 0;
}

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static struct conf c;
	size_t n = 0;

	if (sodium_init() < 0)
		return 0;
	table_conf(&c);
	for (int k = 0; k < KEY_COUNT; k++) {
		uint8_t secret[SECRET];

		memset(secret, FIRST_SECRET + k, sizeof(secret));
		(void)crypto_scalarmult_base(
		    k == KEY_STATUS ? c.server[0].key_status : c.server[0].key_data, secret);
	}
	n = table_append_conf(out, size, n, 0, &c, PROC_KEYD);
	n = table_append_u64(out, size, n, 0, MSG_PREPARE, 1);
	n = table_append_u64(out, size, n, 0, MSG_COMMIT, 1);
	n = table_append_all(out, size, n, 1, PROC_ROLED, PROC_KEYD);
	n = table_append_all(out, size, n, 2, PROC_SYNCD, PROC_KEYD);
	return table_append_all(out, size, n, 0, PROC_SUPERVISOR, PROC_KEYD);
}
