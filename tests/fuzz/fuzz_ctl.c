/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl with a roled that lies: channel 0 of table.h, its real receive table, and a request
 * that waits for its answer.
 */
#include "ctl/client.c"

#include <stdlib.h>

#include "fuzz.h"
#include "table.h"

void
die(int code, const char *fmt, ...)
{
	(void)code;
	(void)fmt;
	abort();
}

void
die_usage(const struct options *o, const char *fmt, ...)
{
	(void)o;
	(void)fmt;
	abort();
}

static struct client client;
static struct answer answer;
static struct table_channel list[1] = {{.end = -1}};

static int
turn(size_t which)
{
	char error[CTL_TEXT + CONF_COMMAND] = "";

	(void)which;
	/* a deadline that has passed: what has come is read, nothing is waited for */
	if (channel_read(&client.channel) < 0 || answer.has_end)
		return 0;
	return read_answer(&client, now_ms() - 1, error, sizeof(error)) == -1;
}

/* Text of others is shown on a terminal. */
static void
check_text(const char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int done;
	char line[2048];

	if (!done)
		table_set_up();
	done = 1;
	memset(&client, 0, sizeof(client));
	memset(&answer, 0, sizeof(answer));
	list[0] = (struct table_channel){&client.channel, table_pair(FD_CONTROL)};
	channel_init(&client.channel, FD_CONTROL, PROC_CTL, PROC_ROLED, on_message, &client);
	client.answer = &answer;
	table_play(data, size, list, 1, turn);
	check_text(answer.text);
	for (size_t i = 0; i < answer.n_events; i++) {
		check_text(answer.event[i].text);
		json_decref(json_event(&answer.event[i]));
	}
	if (answer.has_self) {
		(void)check_line(&answer, line, sizeof(line));
		json_decref(json_status(&answer));
	}
	answer_free(&answer);
	channel_close(&client.channel);
	close(list[0].end);
	dup2(FD_EDGE(PROC_BEATD), FD_CONTROL);
	return 0;
}

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static struct conf c;
	static struct answer a;
	static struct ctl_event e;
	static struct msg m;
	size_t n;

	table_conf(&c);
	n = table_append_conf(out, size, 0, 0, &c, PROC_CTL);
	memcpy(a.self.name, "alpha", 6);
	memcpy(a.self.role, "main", 5);
	msg_begin(&m, MSG_CTL_SELF);
	ctl_put_self(&m, &a.self);
	n = table_append(out, size, n, 0, &m);
	msg_begin(&m, MSG_CTL_SERVER);
	ctl_put_server(&m, &a.server[0]);
	n = table_append(out, size, n, 0, &m);
	msg_begin(&m, MSG_CTL_LINK);
	ctl_put_link(&m, &a.link[0]);
	n = table_append(out, size, n, 0, &m);
	msg_begin(&m, MSG_CTL_PROCESS);
	ctl_put_process(&m, &a.process[0]);
	n = table_append(out, size, n, 0, &m);
	msg_begin(&m, MSG_CTL_COUNTERS);
	ctl_put_counters(&m, &a.counters);
	n = table_append(out, size, n, 0, &m);
	e.n_evidence = 1;
	memcpy(e.evidence[0].name, "beta", 5);
	msg_begin(&m, MSG_CTL_EVENT);
	ctl_put_event(&m, &e);
	n = table_append(out, size, n, 0, &m);
	msg_begin(&m, MSG_CTL_END);
	ctl_put_end(&m, CTL_OK, "done");
	return table_append(out, size, n, 0, &m);
}
