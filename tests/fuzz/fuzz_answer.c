/* SPDX-License-Identifier: ISC */
/*
 * Answers on the admin socket from a roled that lies: decoded strictly, and what is taken can be
 * shown as a line for monitoring and as JSON.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "lib/message.h"

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

/* One answer of each kind, each behind its type less MSG_CTL_SELF and its length. */
static size_t
append(uint8_t *out, size_t size, size_t n, const struct msg *m)
{
	if (m->bad || m->len + 3 > size - n)
		abort();
	out[n++] = (uint8_t)(m->type - MSG_CTL_SELF);
	out[n++] = (uint8_t)m->len;
	out[n++] = (uint8_t)(m->len >> 8);
	memcpy(out + n, m->body, m->len);
	return n + m->len;
}

size_t
fuzz_seed(uint8_t *out, size_t size)
{
	static struct answer a;
	static struct ctl_event e;
	static struct msg m;
	size_t n = 0;

	memcpy(a.self.name, "alpha", 6);
	memcpy(a.self.role, "main", 5);
	msg_begin(&m, MSG_CTL_SELF);
	ctl_put_self(&m, &a.self);
	n = append(out, size, n, &m);
	msg_begin(&m, MSG_CTL_SERVER);
	ctl_put_server(&m, &a.server[0]);
	n = append(out, size, n, &m);
	msg_begin(&m, MSG_CTL_LINK);
	ctl_put_link(&m, &a.link[0]);
	n = append(out, size, n, &m);
	msg_begin(&m, MSG_CTL_PROCESS);
	ctl_put_process(&m, &a.process[0]);
	n = append(out, size, n, &m);
	msg_begin(&m, MSG_CTL_COUNTERS);
	ctl_put_counters(&m, &a.counters);
	n = append(out, size, n, &m);
	e.n_evidence = 1;
	memcpy(e.evidence[0].name, "beta", 5);
	msg_begin(&m, MSG_CTL_EVENT);
	ctl_put_event(&m, &e);
	n = append(out, size, n, &m);
	msg_begin(&m, MSG_CTL_END);
	ctl_put_end(&m, CTL_OK, "done");
	return append(out, size, n, &m);
}

/* As client.c takes them. */
static void
take(struct answer *a, struct msg *m)
{
	static struct ctl_event e;

	switch (m->type) {
	case MSG_CTL_SELF:
		a->has_self = ctl_get_self(m, &a->self) == 0;
		clean_text(a->self.note);
		break;
	case MSG_CTL_SERVER:
		a->n_servers = ctl_get_server(m, &a->server[0]) == 0;
		break;
	case MSG_CTL_LINK:
		a->n_links = ctl_get_link(m, &a->link[0]) == 0;
		break;
	case MSG_CTL_PROCESS:
		a->n_processes = ctl_get_process(m, &a->process[0]) == 0;
		break;
	case MSG_CTL_CHECK:
		a->n_checks = ctl_get_check(m, &a->check[0]) == 0;
		break;
	case MSG_CTL_REFERENCE:
		a->n_references = ctl_get_reference(m, &a->reference[0]) == 0;
		break;
	case MSG_CTL_COUNTERS:
		a->has_counters = ctl_get_counters(m, &a->counters) == 0;
		break;
	case MSG_CTL_EVENT:
		if (ctl_get_event(m, &e) == 0)
			json_decref(json_event(&e));
		break;
	default:
		(void)ctl_get_end(m, &a->result, a->text);
		clean_text(a->text);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct answer a;
	static struct msg m;
	char line[2048];

	memset(&a, 0, sizeof(a));
	while (size >= 3) {
		size_t len = (size_t)data[1] | (size_t)data[2] << 8;
		unsigned type = MSG_CTL_SELF + data[0];

		data += 3;
		size -= 3;
		if (len > size || type > MSG_CTL_COUNTERS)
			break;
		msg_begin(&m, (enum message_type)type);
		msg_put_bytes(&m, data, len);
		if (!m.bad)
			take(&a, &m);
		data += len;
		size -= len;
	}
	if (!a.has_self)
		return 0;
	(void)check_line(&a, line, sizeof(line));
	json_decref(json_status(&a));
	return 0;
}
