/* SPDX-License-Identifier: ISC */
/*
 * The config file as text: never a crash, an error always has a line of the file, and what is taken
 * passes the checks that the supervisor makes again. bulkheadctl looks at the same text.
 */
#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "lib/conf.h"
#include "parser/file.h"

/* Referred to by find.c, not reached from find_dirs. */
void
die(int code, const char *fmt, ...)
{
	(void)code;
	(void)fmt;
	abort();
}

static const struct lookup lookup = {.passwd = "root:x:0:0::/:/\nscada:x:5:6::/:/\n",
    .group = "adm:x:4:\n",
    .hosts = "192.0.2.9 router\n",
    .inet6 = "fe800000000000000000000000000001 0b 40 20 80     eth0\n",
    .host = "alpha"};

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static const char text[] =
	    "# c\ngroup = \"g\" self = alpha /* x\n y */\n"
	    "server \"alpha\" { kind = \"standard\" address = {\"192.0.2.1\", \"2001:db8::1\"} "
	    "port = 5481\n"
	    " priority = 9 key = \"%s\" }\n"
	    "server \"beta\" { address = {'192.0.2.2'} key = \"%s\" }\n"
	    "status { interval = 500ms misses = 4 dial-timeout = \"1s\" }\n"
	    "icmp { reference = {\"192.0.2.8\", \"router\"} }\n"
	    "arbitration { mode = references confirm = never profile = calm }\n"
	    "hook { main = \"/bin/x \\\"a\\\" \\\\ \\$\" user = \"scada:adm\" on-failure = undo }\n"
	    "check \"app\" { command = '/bin/y' user = 0 interval = 1min30s }\n"
	    "user { netd = 61001 }\nstate = \"/s\" run = \"/r\" admin-group = 4\n";
	static struct conf conf;
	char key[2][IDENTITY_TEXT], copy[4096], error[CONF_ERROR_TEXT];
	uint8_t status[32], data[32];
	int n;

	for (uint8_t i = 0; i < 2; i++) {
		memset(status, 3 + i, sizeof(status));
		memset(data, 5 + i, sizeof(data));
		identity_encode(status, data, key[i]);
	}
	n = snprintf((char *)out, size, text, key[0], key[1]);
	memcpy(copy, out, (size_t)n + 1);
	if (file_parse(copy, (size_t)n, &lookup, &conf, error, sizeof(error)) == -1)
		abort(); /* mutations of what is refused anyway show little */
	return (size_t)n;
}

static unsigned
lines_of(const uint8_t *data, size_t size)
{
	unsigned n = 1;

	for (size_t i = 0; i < size; i++)
		n += data[i] == '\n';
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf conf;
	char error[CONF_ERROR_TEXT] = "", state_dir[CONF_COMMAND], run_dir[CONF_COMMAND];
	char *text = malloc(size + 1);
	char *end;

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (file_parse(text, size, &lookup, &conf, error, sizeof(error)) == -1) {
		unsigned long line = strtoul(error, &end, 10);

		if (line == 0 || line > lines_of(data, size) || end[0] != ':' || end[1] != ' ')
			abort();
	} else if (conf_check_all(&conf, error, sizeof(error)) == -1) {
		abort();
	}
	memcpy(text, data, size);
	text[size] = '\0';
	(void)find_dirs(text, size, state_dir, run_dir, error, sizeof(error));
	free(text);
	return 0;
}
