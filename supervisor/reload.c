/* SPDX-License-Identifier: ISC */
/*
 * SIGHUP: parse aside, ask everybody, then all change or nobody does. The old config stays in force
 * until the last child has agreed to the new one.
 */
#include "config.h"

#include "supervisor.h"

#include <stdio.h>
#include <string.h>

enum { REQUEST_BURST = 10, REQUEST_RATE = 1 };

static struct transaction transaction = {.serial = 1};
static struct conf pending; /* parsed and checked, not in force */
static uv_timer_t timer;
static int timer_made;
static struct bucket requests; /* of administrators, through roled */
static uv_timer_t later;       /* the turn of one that came too soon */
static int later_made, later_waits;

/* The last outcome, for a roled that starts later. */
static struct {
	int valid;
	int64_t when_ms;
	enum reload_result result;
	enum process process;
	char text[CONF_ERROR_TEXT];
} last;

static void begin_parse(void);

uint64_t
reload_serial(void)
{
	return transaction.serial;
}

int
reload_preparing(void)
{
	return transaction.phase == TRANSACTION_PREPARING;
}

static void
send_state(struct proc *roled, enum reload_result result, enum process process, const char *text,
    int64_t when_ms)
{
	static struct msg m;

	if (roled->step != STEP_UP)
		return;
	msg_begin(&m, MSG_RELOAD_STATE);
	msg_put_u64(&m, transaction.serial);
	msg_put_i64(&m, when_ms);
	msg_put_u8(&m, (uint8_t)result);
	msg_put_u8(&m, (uint8_t)process);
	msg_put_u8(&m, 0);
	msg_put_bytes(&m, text, strlen(text));
	proc_send(roled, &m);
}

void
reload_report_last(struct proc *roled)
{
	if (last.valid)
		send_state(roled, last.result, last.process, last.text, last.when_ms);
}

/* It is over: log, tell roled, let those go on that waited, and go again when asked to. */
static void
end(enum reload_result result, enum process process, const char *text)
{
	int committed = result == RELOAD_DONE;
	enum transaction_next next;

	if (timer_made)
		uv_timer_stop(&timer);
	last.valid = 1;
	last.when_ms = now_ms();
	last.result = result;
	last.process = process;
	snprintf(last.text, sizeof(last.text), "%s", text);
	next = transaction_end(&transaction, committed);
	if (committed || result == RELOAD_UNCHANGED)
		log_info("reload: %s", last.text);
	else if (result == RELOAD_BAD_CONFIG && config_errors_logged() > 0)
		log_error("reload refused, the old config stays in force: %u error%s in the file, "
			  "see above",
		    config_errors_logged(), config_errors_logged() > 1 ? "s" : "");
	else
		log_error("reload refused, the old config stays in force: %s", last.text);
	reload_report_last(proc_of(PROC_ROLED));
	processes_release_held();
	if (next == NEXT_PARSE && !sup.stopping)
		begin_parse();
}

/* Tell those that were asked. */
static void
decide(enum message_type decision)
{
	for (int i = 0; i < N_CHILDREN; i++) {
		struct proc *p = proc_of(children[i]);

		if ((transaction.asked & 1U << p->process) && p->step == STEP_UP)
			proc_decide(p, decision, transaction.serial + 1);
		if (p->step == STEP_UP)
			p->control.state = S_RUN;
	}
}

static void
refuse(enum reload_result result, enum process process, const char *text)
{
	decide(MSG_ABORT);
	sockets_decide(0);
	end(result, process, text);
}

void
reload_cancel(void)
{
	if (reload_preparing())
		refuse(RELOAD_REFUSED, PROC_SUPERVISOR, "the daemon is being stopped");
}

static void
commit(void)
{
	decide(MSG_COMMIT);
	files_update_data_socket(&sup.conf.general, &pending.general);
	sup.conf = pending;
	processes_forget_configs();
	sockets_decide(1);
	sockets_update_targets();
	actions_send_config(&sup.conf);
	end(RELOAD_DONE, PROC_SUPERVISOR, "done");
}

static void
on_timeout(uv_timer_t *t)
{
	char text[CONF_ERROR_TEXT];

	(void)t;
	for (int i = 0; i < N_CHILDREN; i++) {
		enum process p = children[i];

		if (!(transaction.waiting & 1U << p))
			continue;
		snprintf(text, sizeof(text), "%s did not answer within %d s", process_name(p),
		    CONFIGURE_MS / 1000);
		refuse(RELOAD_TIMEOUT, p, text);
		return;
	}
}

/* Ask all children that are up. */
static void
prepare(void)
{
	char error[CONF_ERROR_TEXT];
	uint32_t mask = 0;

	if (sockets_prepare(&pending, 0, error, sizeof(error)) != 0) {
		end(RELOAD_REFUSED, PROC_SUPERVISOR, error);
		return;
	}
	for (int i = 0; i < N_CHILDREN; i++) {
		if (proc_of(children[i])->step == STEP_UP)
			mask |= 1U << children[i];
	}
	if (transaction_prepare(&transaction, mask) == NEXT_COMMIT) {
		commit();
		return;
	}
	if (!timer_made)
		uv_timer_init(sup.loop, &timer);
	timer_made = 1;
	uv_timer_start(&timer, on_timeout, CONFIGURE_MS, 0);
	for (int i = 0; i < N_CHILDREN; i++) {
		struct proc *p = proc_of(children[i]);

		if (!(mask & 1U << p->process))
			continue;
		p->control.state = S_PREPARE;
		proc_ask_prepare(p, &pending, transaction.serial + 1);
	}
}

void
reload_poke(void)
{
	if (transaction.phase == TRANSACTION_WAITING && !processes_configuring())
		prepare();
}

/* The parser has ended. */
static void
on_parsed(const struct conf *c, const char *error)
{
	const char *option;
	char text[CONF_ERROR_TEXT], name[CONF_NAME];

	if (sup.stopping)
		return;
	if (error != NULL) {
		end(RELOAD_BAD_CONFIG, PROC_PARSER, error);
		return;
	}
	if (config_same(&sup.conf, c)) {
		end(RELOAD_UNCHANGED, PROC_SUPERVISOR, "the file says the same as before");
		return;
	}
	option = conf_restart_option(&sup.conf, c, name, sizeof(name));
	if (option != NULL) {
		snprintf(text, sizeof(text), "%s: changing option %s needs a restart",
		    sup.config_path, option);
		end(RELOAD_RESTART_NEEDED, PROC_SUPERVISOR, text);
		return;
	}
	pending = *c;
	transaction_parsed(&transaction);
	reload_poke();
}

static void
begin_parse(void)
{
	config_parse(sup.loop, on_parsed);
}

void
reload_request(void)
{
	if (sup.stopping)
		return;
	if (transaction_request(&transaction) == NEXT_PARSE) {
		log_info("reload: reading %s", sup.config_path);
		begin_parse();
	} else {
		log_info("reload: one is under way, another will follow");
	}
}

static void
on_later(uv_timer_t *t)
{
	(void)t;
	later_waits = 0;
	reload_request_bounded();
}

/* What comes too soon waits, and is answered with all that come meanwhile; it is no result. */
void
reload_request_bounded(void)
{
	int64_t now = now_ms();

	if (later_waits)
		return;
	if (requests.burst == 0)
		bucket_init(&requests, REQUEST_BURST, REQUEST_RATE, now);
	if (bucket_take(&requests, now)) {
		reload_request();
		return;
	}
	log_info("reload: more than one a second was asked for, another will follow");
	if (!later_made)
		uv_timer_init(sup.loop, &later);
	later_made = later_waits = 1;
	uv_timer_start(&later, on_later, 1000 / REQUEST_RATE, 0);
	uv_unref((uv_handle_t *)&later); /* a stop does not wait for it */
}

/* Why a process refuses the pending config; index is what it says about which element. */
static void
refusal_sentence(char *text, size_t size, enum process process, enum refusal reason, uint8_t index)
{
	int n =
	    snprintf(text, size, "%s refuses it: %s", process_name(process), refusal_text(reason));

	if (n < 0 || (size_t)n >= size)
		return;
	if (reason == REFUSE_RUNNING && index < sup.conf.general.n_servers)
		snprintf(text + n, size - (size_t)n, " (server %s)", sup.conf.server[index].name);
	else
		snprintf(text + n, size - (size_t)n, " (element %u)", index);
}

void
reload_answer(enum process process, uint64_t serial, enum refusal reason, uint8_t index)
{
	char text[CONF_ERROR_TEXT];

	switch (transaction_answer(&transaction, process, serial, reason == REFUSE_NONE)) {
	case NEXT_COMMIT:
		commit();
		break;
	case NEXT_ABORT:
		refusal_sentence(text, sizeof(text), process, reason, index);
		refuse(RELOAD_REFUSED, process, text);
		break;
	default:
		break;
	}
}

void
reload_child_died(enum process process)
{
	char text[CONF_ERROR_TEXT];

	if (transaction_died(&transaction, process) != NEXT_ABORT)
		return;
	snprintf(text, sizeof(text), "%s ended while it was asked", process_name(process));
	refuse(RELOAD_DIED, process, text);
}
