/* SPDX-License-Identifier: ISC */
/*
 * Prints doc/ipc.md from messages.def: the build's own program, installed nowhere.
 */
#include <stdio.h>

#include "message.h"

struct doc_row {
	const char *name;
	unsigned number;
	const char *text;
};

static const struct doc_row texts[] = {
#define MESSAGE(name, number, from, to, min, max, fds, states, flags, text) {#name, number, text},
#include "messages.def"
#undef MESSAGE
};

/* "netd roled" */
static void
print_mask(uint32_t mask)
{
	const char *sep = "";

	for (unsigned p = 0; p < PROC_MAX; p++) {
		if (mask & (1U << p)) {
			printf("%s%s", sep, process_name((enum process)p));
			sep = " ";
		}
	}
}

static void
print_states(unsigned states)
{
	static const char *const names[] = {"start", "run", "prepare", "stop"};
	const char *sep = "";

	if (states == S_ANY) {
		printf("any");
		return;
	}
	for (unsigned i = 0; i < 4; i++) {
		if (states & (1U << i)) {
			printf("%s%s", sep, names[i]);
			sep = " ";
		}
	}
}

int
main(void)
{
	printf("# Messages between the processes\n\n"
	       "Generated from `lib/messages.def`. One message is one `SOCK_SEQPACKET` packet: u16 "
	       "type, u16 zero, body; little endian, %d bytes at most.\n\n"
	       "| message | number | from | to | body bytes | fds | states | flags | meaning |\n"
	       "|---|---|---|---|---|---|---|---|---|\n",
	    MSG_SIZE_MAX);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const struct message_row *row = message_row(texts[i].number);

		printf("| %s | %u | ", texts[i].name, texts[i].number);
		print_mask(row->from);
		printf(" | ");
		print_mask(row->to);
		printf(" | %u..%u | %u | ", row->min, row->max, row->fds);
		print_states(row->states);
		printf(" | %s%s%s | %s |\n", row->flags & F_ONCE ? "once" : "",
		    row->flags & F_PERMIT ? "answer" : "", row->flags & F_SECRET ? " secret" : "",
		    texts[i].text);
	}
	return 0;
}
