/* SPDX-License-Identifier: ISC */
/*
 * icmpd: its story from exec to exit, and its few messages.
 */
#include "config.h"

#include "icmpd.h"

#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "policy/sandbox.h"

static void warm_up(void);
static void on_control_closed(struct channel *c);
static void on_roled_closed(struct channel *c);
static void on_commit(struct child *ch, const struct conf *old);
static void on_stop(struct child *ch, uint32_t ms);
static void on_peer_down(struct child *ch, struct channel *c);
static void on_peer_up(struct child *ch, struct channel *c);
static void on_dump(struct child *ch);
static int ipc_from_supervisor(struct child *ch, struct msg *m);
static int ipc_from_roled(struct channel *c, struct msg *m);

uv_loop_t icmpd_loop;
struct child icmpd_child;

static struct channel roled;

static const struct child_ops ops = {
    .on_commit = on_commit,
    .on_stop = on_stop,
    .on_peer_down = on_peer_down,
    .on_peer_up = on_peer_up,
    .on_dump = on_dump,
    .on_other = ipc_from_supervisor,
};

int
main(int argc, char **argv)
{
	struct sandbox_args args;
	unsigned layers;

	log_to_fd(FD_LOG);
	if (sandbox_parse_args(argc, argv, &args) != 0 || args.process != PROC_ICMPD)
		_exit(EXIT_USAGE);
	sandbox_drop(&args);
	warm_up();
	layers = sandbox_enter(&args);
	child_ready(&icmpd_child, layers);
	uv_run(&icmpd_loop, UV_RUN_DEFAULT);
	fatal("the loop ended");
}

/* Everything that opens descriptors. */
static void
warm_up(void)
{
	child_hold_numbers();
	loop_open(&icmpd_loop);
	loop_reserve(&icmpd_loop);
	child_init(&icmpd_child, PROC_ICMPD, &ops, NULL);
	child_add_edge(&icmpd_child, &roled, PROC_ROLED, ipc_from_roled, NULL);
	loop_attach_channel(&icmpd_loop, &icmpd_child.control, on_control_closed);
	loop_attach_channel(&icmpd_loop, &roled, on_roled_closed);
	probe_init();
}

/* All that is known, to roled. Without one nobody misses it: the next gets it at its start. */
void
icmpd_report(void)
{
	struct msg m;

	msg_begin(&m, MSG_ICMP_REPORT);
	if (probe_report(&m) > 0)
		(void)channel_send(&roled, &m);
}

/* ---- messages */

static int
take_target(struct msg *m)
{
	uint8_t slot = msg_get_u8(m), kind = msg_get_u8(m), index = msg_get_u8(m);
	uint8_t path = msg_get_u8(m), family = msg_get_u8(m);
	int known, fd;

	if (msg_end(m) != 0 || child_conf(&icmpd_child) == NULL)
		return -1;
	known = kind == TARGET_PARTNER ? index < CONF_SERVERS && path < CONF_PATHS
				       : kind == TARGET_REFERENCE && index < CONF_REFERENCES;
	if (slot >= TARGETS || !known || (family != 4 && family != 6))
		return -1;
	fd = msg_take_fd(m);
	if (fd < 0)
		fatal("no descriptor is left for target %u", slot);
	return probe_add(slot, kind, index, path, family, fd);
}

static int
take_target_close(struct msg *m)
{
	uint8_t slot = msg_get_u8(m);

	if (msg_end(m) != 0 || slot >= TARGETS)
		return -1;
	probe_remove(slot);
	return 0;
}

/* Of the control channel, what is not common to all children. */
static int
ipc_from_supervisor(struct child *ch, struct msg *m)
{
	(void)ch;
	switch (m->type) {
	case MSG_TARGET:
		return take_target(m);
	case MSG_TARGET_CLOSE:
		return take_target_close(m);
	default:
		return -1;
	}
}

/* roled has nothing to say to us. */
static int
ipc_from_roled(struct channel *c, struct msg *m)
{
	(void)c;
	(void)m;
	return -1;
}

/* ---- common life of a child */

static void
on_control_closed(struct channel *c)
{
	(void)c;
	_exit(child_control_exit(&icmpd_child));
}

static void
on_commit(struct child *ch, const struct conf *old)
{
	(void)old;
	probe_configure(child_conf(ch));
}

static void
on_stop(struct child *ch, uint32_t ms)
{
	(void)ch;
	(void)ms;
	_exit(EXIT_OK);
}

static void
on_peer_down(struct child *ch, struct channel *c)
{
	(void)ch;
	loop_detach_channel(c);
}

static void
on_peer_up(struct child *ch, struct channel *c)
{
	(void)ch;
	loop_attach_channel(&icmpd_loop, c, on_roled_closed);
	icmpd_report();
}

static void
on_roled_closed(struct channel *c)
{
	child_edge_lost(&icmpd_child, c);
}

static void
on_dump(struct child *ch)
{
	(void)ch;
	probe_dump();
}
