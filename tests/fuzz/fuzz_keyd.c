/* SPDX-License-Identifier: ISC */
/*
 * keyd with a hostile supervisor and a hostile roled: channels 0 and 1 of table.h. Its own files,
 * with secrets that nobody else has; a secret that comes out of a channel ends the run.
 */
#include "keyd/keys.c"

#include "keyd/ipc.c"

#include <stdlib.h>
#include <sys/socket.h>

#include "fuzz.h"
#include "table.h"

static struct table_channel list[2] = {{.end = -1}, {.end = -1}};

/* As keys_read() would have left it. */
static void
put_secrets(void)
{
	if (keys_init() != 0)
		abort();
	unlock();
	for (int k = 0; k < KEY_COUNT; k++) {
		memset(secrets->secret[k], 0xa5 + k, SECRET);
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
	uint8_t secret[8];
	ssize_t n;

	while ((n = recv(end, packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
		for (int k = 0; k < KEY_COUNT; k++) {
			memset(secret, 0xa5 + k, sizeof(secret));
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
	if (r < 0 && which == 0)
		return 0; /* the end of keyd */
	if (r < 0)
		child_edge_lost(&child, &roled.channel);
	return !stopping;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int done;

	if (!done) {
		table_set_up();
		put_secrets();
		done = 1;
	}
	list[0].end = table_pair(FD_CONTROL);
	list[1].end = table_pair(FD_EDGE(PROC_ROLED));
	keyd_init_ipc();
	stopping = 0;
	list[0].channel = &child.control;
	list[1].channel = &roled.channel;
	table_play(data, size, list, 2, turn);
	if (secrets == NULL || !present[KEY_STATUS] || !present[KEY_DATA])
		abort();
	for (size_t i = 0; i < 2; i++) {
		channel_close(list[i].channel);
		close(list[i].end);
		dup2(FD_EDGE(PROC_BEATD), i == 0 ? FD_CONTROL : FD_EDGE(PROC_ROLED));
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

		memset(secret, 0xa5 + k, sizeof(secret));
		(void)crypto_scalarmult_base(
		    k == KEY_STATUS ? c.server[0].key_status : c.server[0].key_data, secret);
	}
	n = table_append_conf(out, size, n, 0, &c, PROC_KEYD);
	n = table_append_u64(out, size, n, 0, MSG_PREPARE, 1);
	n = table_append_u64(out, size, n, 0, MSG_COMMIT, 1);
	n = table_append_all(out, size, n, 1, PROC_ROLED, PROC_KEYD);
	return table_append_all(out, size, n, 0, PROC_SUPERVISOR, PROC_KEYD);
}
