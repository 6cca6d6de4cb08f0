/* SPDX-License-Identifier: ISC */
/*
 * Events into the machine, one step each. A link event that an output causes (a redial that fails
 * at once) waits until the outputs of the present step are done.
 */
#include "config.h"

#include "roled.h"

#include <string.h>

#include "lib/loop.h"

/* Both are big: one of each for the whole process. */
static struct machine_input in;
static struct machine_outputs out;

static void
step_once(void)
{
	in.now_ms = now_ms();
	roled.busy = 1;
	machine_step(&roled.machine, &in, &out);
	roled.machine_next_ms = out.next_ms;
	outputs_run(&out, in.now_ms);
	roled.busy = 0;
	tell_data_role();
}

/* The input in `in`, then the link events that it caused. */
static void
step(void)
{
	step_once();
	for (unsigned i = 0; i < roled.n_waiting; i++) {
		in.kind = IN_LINK;
		in.u.link = roled.waiting[i];
		step_once();
	}
	roled.n_waiting = 0;
	roled_wake_at(roled.machine_next_ms);
}

void
input_start(int64_t now)
{
	struct machine_config mc;

	machine_config_make(&mc, child_conf(&roled.child));
	machine_init(&roled.machine, &mc, &roled.persisted, roled.boot, roled.instance, now);
	roled.running = 1;
	input_tick(now);
}

void
input_tick(int64_t now)
{
	(void)now;
	in.kind = IN_TICK;
	step();
}

void
input_config(const struct conf *c)
{
	in.kind = IN_CONFIG;
	machine_config_make(&in.u.config, c);
	step();
}

/* A running standard server that the new config would take out, or NOBODY. */
uint8_t
input_dropped(const struct conf *new)
{
	static struct machine_config mc;

	machine_config_make(&mc, new);
	return machine_find_dropped(&roled.machine, &mc);
}

void
input_link(const struct machine_link *event)
{
	if (!roled.running)
		return;
	if (roled.busy) {
		if (roled.n_waiting < WAITING_EVENTS)
			roled.waiting[roled.n_waiting++] = *event;
		return;
	}
	in.kind = IN_LINK;
	in.u.link = *event;
	step();
}

void
input_record(uint8_t partner, uint8_t path, uint8_t direction, const struct status_record *r)
{
	if (!roled.running)
		return;
	in.kind = IN_RECORD;
	in.u.status.partner = partner;
	in.u.status.path = path;
	in.u.status.direction = direction;
	in.u.status.record = *r;
	step();
}

void
input_icmp(const struct machine_icmp *probe)
{
	in.kind = IN_ICMP;
	in.u.icmp = *probe;
	step();
}

void
input_local(enum process process, int up)
{
	if (!roled.running)
		return;
	in.kind = IN_LOCAL;
	in.u.local.process = (uint8_t)process;
	in.u.local.up = up != 0;
	step();
}

void
input_check(uint8_t index, int healthy)
{
	in.kind = IN_CHECK;
	in.u.check.index = index;
	in.u.check.healthy = healthy != 0;
	step();
}

void
input_action_result(uint64_t event, enum action_result result, uint32_t code, int64_t duration_ms)
{
	in.kind = IN_ACTION_RESULT;
	in.u.result.event = event;
	in.u.result.result = (uint8_t)result;
	in.u.result.code = code;
	in.u.result.duration_ms = duration_ms;
	step();
}

void
input_position(const struct machine_position *p)
{
	if (!roled.running)
		return;
	in.kind = IN_POSITION;
	in.u.position = *p;
	step();
}

void
input_drained(void)
{
	in.kind = IN_DRAINED;
	step();
}

void
input_admin(const struct machine_admin *command)
{
	in.kind = IN_ADMIN;
	in.u.admin = *command;
	step();
}

void
input_orphaned(void)
{
	in.kind = IN_ORPHANED;
	step();
}
