/* SPDX-License-Identifier: ISC */
/*
 * Messages of the other processes of this server. Whatever they say is checked before it counts.
 */
#include "config.h"

#include "syncd.h"

#include <sodium.h>
#include <string.h>

#include "lib/linkmsg.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "policy/sandbox.h"

/* ---- to netd and keyd */

static void
send_open(uint32_t token, uint8_t server, uint8_t path, enum link_kind kind, int fd)
{
	linkmsg_open(&syncd.netd, token, server, path, kind, fd);
}

static void
send_take(uint32_t token, int fd)
{
	linkmsg_take(&syncd.netd, token, fd);
}

static void
send_drop(uint32_t token)
{
	linkmsg_drop(&syncd.netd, token);
}

static void
send_dh(uint32_t cookie, const uint8_t public_key[NOISE_KEY])
{
	linkmsg_ask_dh(&syncd.keyd, cookie, public_key);
}

/* ---- data links */

static int
link_allowed(uint8_t server, enum link_kind kind)
{
	const struct conf *c = child_conf(&syncd.child);

	if (kind == LINK_SYNC)
		return follow_allowed(server);
	return syncd.role == DATA_MAIN && c->server[server].kind != KIND_DMZ;
}

static int
is_feed(const struct data_link *l)
{
	return l->session.kind == LINK_SYNC && !l->session.inbound;
}

static void
link_up(struct data_link *l)
{
	if (l->session.kind == LINK_REQUEST)
		proxy_up(l);
	else if (is_feed(l))
		feed_up(l);
	else
		follow_up(l);
}

static int
link_frame(struct data_link *l, uint8_t type, struct slice body)
{
	if (l->session.kind == LINK_REQUEST)
		return proxy_frame(l, type, body);
	return is_feed(l) ? feed_frame(l, type, body) : follow_frame(l, type, body);
}

static void
link_down(struct data_link *l)
{
	if (l->session.kind == LINK_REQUEST)
		proxy_down(l);
	else if (is_feed(l))
		feed_down(l);
	else
		follow_down(l);
	syncd_wake_at(now_ms());
}

static void
link_room(struct data_link *l)
{
	if (is_feed(l))
		feed_pump_all();
	else
		proxy_room(l);
}

const struct data_links_ops ipc_links_ops = {
    .open = send_open,
    .take = send_take,
    .drop = send_drop,
    .ask_dh = send_dh,
    .allowed = link_allowed,
    .up = link_up,
    .frame = link_frame,
    .down = link_down,
    .room = link_room,
};

/* ---- netd */

static int
on_link_connected(struct msg *m)
{
	uint32_t token;

	if (linkmsg_get_connected(m, &token) != 0)
		return -1;
	data_links_connected(&syncd.links, token);
	return 0;
}

static int
on_link_closed(struct msg *m)
{
	enum link_close cause;
	uint32_t token;

	if (linkmsg_get_closed(m, &token, &cause) != 0)
		return -1;
	data_links_closed(&syncd.links, token, cause);
	return 0;
}

static int
on_link_in(struct msg *m)
{
	struct link_in in;

	if (linkmsg_get_in(m, &in) != 0 || in.kind == LINK_STATUS)
		return -1;
	if (!syncd.running || syncd.stopping)
		send_drop(in.token);
	else
		data_links_incoming(&syncd.links, in.token, in.kind, &in.from, in.port);
	return 0;
}

static int
from_netd(struct channel *c, struct msg *m)
{
	(void)c;
	switch (m->type) {
	case MSG_LINK_CONNECTED:
		return on_link_connected(m);
	case MSG_LINK_CLOSED:
		return on_link_closed(m);
	case MSG_LINK_IN:
		return on_link_in(m);
	default:
		return -1;
	}
}

/* ---- keyd */

static int
from_keyd(struct channel *c, struct msg *m)
{
	uint8_t shared[NOISE_KEY], ok;
	uint32_t cookie;

	(void)c;
	if (m->type != MSG_KEY_SHARED || linkmsg_get_shared(m, &cookie, &ok, shared) != 0)
		return -1;
	data_links_shared(&syncd.links, cookie, ok ? shared : NULL);
	sodium_memzero(shared, sizeof(shared));
	return 0;
}

/* ---- roled */

void
tell_position(uint8_t flags, const struct position *p, uint64_t behind_items, int64_t behind_ms)
{
	static struct msg m;

	msg_begin(&m, MSG_DATA_POSITION);
	msg_put_u8(&m, flags);
	msg_put_u8(&m, 0);
	msg_put_u64(&m, p->epoch);
	msg_put_u64(&m, p->index);
	msg_put_u64(&m, behind_items);
	msg_put_u64(&m, (uint64_t)behind_ms);
	(void)channel_send(&syncd.roled, &m);
}

void
tell_drained(uint64_t cookie)
{
	static struct msg m;

	msg_begin(&m, MSG_DATA_DRAINED);
	msg_put_u64(&m, cookie);
	(void)channel_send(&syncd.roled, &m);
}

void
tell_state(const struct ctl_data *d)
{
	static struct msg m;

	msg_begin(&m, MSG_DATA_STATE);
	ctl_put_data(&m, d);
	(void)channel_send(&syncd.roled, &m);
}

void
tell_partner(const struct ctl_data_partner *p)
{
	static struct msg m;

	msg_begin(&m, MSG_DATA_PARTNER);
	ctl_put_data_partner(&m, p);
	(void)channel_send(&syncd.roled, &m);
}

int
tell_action(const struct ctl_action *a)
{
	static struct msg m;

	msg_begin(&m, MSG_DATA_ACTION);
	ctl_put_action(&m, a);
	return channel_send(&syncd.roled, &m);
}

static void
tell_result(uint64_t cookie, enum ctl_result result, const char *text)
{
	static struct msg m;

	msg_begin(&m, MSG_DATA_RESULT);
	msg_put_u64(&m, cookie);
	msg_put_u8(&m, (uint8_t)result);
	msg_put_bytes(&m, text, strlen(text));
	(void)channel_send(&syncd.roled, &m);
}

/* The data of the group begins here. */
static int
on_init(struct msg *m)
{
	uint64_t cookie = msg_get_u64(m);
	uint8_t replace = msg_get_u8(m), id[STORE_ID];

	if (msg_end(m) != 0 || replace > 1)
		return -1;
	if (!syncd.running) {
		tell_result(cookie, CTL_REFUSED, "syncd is starting; try again");
		return 0;
	}
	if (!data_is_blank()) {
		tell_result(cookie, CTL_REFUSED, "this group has data already");
		return 0;
	}
	if (syncd.role != DATA_MAIN && !(replace && data_may_begin())) {
		tell_result(cookie, CTL_REFUSED, "this server is not main");
		return 0;
	}
	if (!replace && (syncd.flags & DATA_HAD_DATA) != 0) {
		tell_result(cookie, CTL_REFUSED,
		    "this group has data, only this server has not: make one main that has it, "
		    "restore "
		    "a snapshot, or lose it with --replace none");
		return 0;
	}
	randombytes_buf(id, sizeof(id));
	id[0] |= 1; /* never all zero */
	if (store_init(syncd.store, id) != 0) {
		tell_result(cookie, CTL_FAILED, "the store cannot be written, the log says why");
		return 0;
	}
	log_info("the data of the group begins here");
	tell_result(cookie, CTL_OK, "the data of the group begins here; the standbys follow");
	position_report(now_ms());
	feed_again();
	face_progress(&syncd.face);
	return 0;
}

static int
on_role(struct msg *m)
{
	const struct conf *c = child_conf(&syncd.child);
	uint8_t role = msg_get_u8(m), main = msg_get_u8(m), flags = msg_get_u8(m);
	uint64_t epoch = msg_get_u64(m);

	if (msg_end(m) != 0 || role >= DATA_ROLE_MAX || (flags & ~DATA_ROLE_FLAGS) != 0 ||
	    (main != NO_SERVER && main >= CONF_SERVERS))
		return -1;
	if (c != NULL && main != NO_SERVER && main >= c->general.n_servers)
		return 0; /* of a config that is not ours yet, or no more; it is said again */
	if (c == NULL) {  /* looked at with the config */
		syncd.role = role;
		syncd.main = main;
		syncd.flags = flags;
		syncd.epoch = epoch;
		return 0;
	}
	if (role != syncd.role || main != syncd.main)
		log_info("role %s, main is %s, epoch %llu",
		    role == DATA_MAIN	   ? "main"
		    : role == DATA_STANDBY ? "standby"
		    : role == DATA_DMZ	   ? "dmz"
					   : "none",
		    main == NO_SERVER ? "not known" : c->server[main].name,
		    (unsigned long long)epoch);
	if (syncd.role == DATA_MAIN && role != DATA_MAIN)
		face_demoted(&syncd.face);
	else if (syncd.role != DATA_MAIN && role == DATA_MAIN)
		face_promoted(&syncd.face);
	syncd.role = role;
	syncd.main = main;
	syncd.flags = flags;
	syncd.epoch = epoch;
	if (role != DATA_MAIN) {
		face_actions_stop(&syncd.face); /* before the links of those who asked go */
		audit_now();
	}
	follow_role();
	feed_role();
	proxy_role();
	face_progress(&syncd.face);
	position_report(now_ms());
	syncd_wake_at(now_ms());
	return 0;
}

static int
on_drain(struct msg *m)
{
	const struct conf *c = child_conf(&syncd.child);
	uint64_t cookie = msg_get_u64(m);
	uint8_t server = msg_get_u8(m);

	if (msg_end(m) != 0 || (server != NO_SERVER && server >= CONF_SERVERS))
		return -1;
	/* a server of another config is passed over, and nobody waits for itself */
	if (c != NULL &&
	    (server == NO_SERVER || (server < c->general.n_servers && server != c->general.self))) {
		feed_drain(cookie, server);
		audit_now();
	}
	return 0;
}

/* The figures as of now; what local programs were answered is in them. */
static int
on_ask(struct msg *m)
{
	uint64_t cookie = msg_get_u64(m);

	if (msg_end(m) != 0)
		return -1;
	position_report(now_ms());
	tell_result(cookie, CTL_OK, "as of now");
	return 0;
}

static int
from_roled(struct channel *c, struct msg *m)
{
	(void)c;
	switch (m->type) {
	case MSG_DATA_ROLE:
		return on_role(m);
	case MSG_DATA_DRAIN:
		return on_drain(m);
	case MSG_DATA_INIT:
		return on_init(m);
	case MSG_DATA_ASK:
		return on_ask(m);
	default:
		return -1;
	}
}

/* ---- common life of a child */

static enum refusal
on_prepare(struct child *ch, const struct conf *new, uint8_t *index)
{
	char error[CONF_ERROR_TEXT];

	(void)ch;
	*index = new->general.self;
	/* a server that did not come would have no path to be dialled by */
	if (conf_check_all(new, error, sizeof(error)) != 0) {
		log_error("config refused: %s", error);
		return REFUSE_CONFIG;
	}
	return syncd_open(new);
}

static void
on_commit(struct child *ch, const struct conf *old)
{
	uint8_t moved[CONF_SERVERS];
	const struct conf *c = child_conf(ch);

	data_links_configure(&syncd.links, old, c, moved);
	feed_moved(moved);
	proxy_moved(moved);
	if (old != NULL && syncd.main != NO_SERVER)
		syncd.main = moved[syncd.main];
	if (syncd.main != NO_SERVER && syncd.main >= c->general.n_servers)
		syncd.main = NO_SERVER;
	syncd.running = 1;
	syncd.face.options.bulk_max = (size_t)c->general.data_bulk; /* for new connections */
	syncd.face.options.request_max = wire_request_max((uint64_t)c->general.data_bulk);
	store_limit_change(syncd.store, wire_change_max((uint64_t)c->general.data_bulk));
	syncd.face.options.flush_permitted = c->general.data_flush;
	syncd.face.options.action_ms = c->general.data_action_ms;
	feed_role();
	feed_pump_all(); /* a full link has room where the limit of the partner is higher now */
	follow_role();
	proxy_role();
	position_report(now_ms());
	syncd_wake_at(now_ms());
}

static void
on_stop(struct child *ch, uint32_t ms)
{
	(void)ch;
	(void)ms;
	syncd.stopping = 1;
	syncd_exit(EXIT_OK);
}

static void on_edge_closed(struct channel *c);

static void
on_peer_down(struct child *ch, struct channel *c)
{
	(void)ch;
	loop_detach_channel(c);
	if (c->peer == PROC_NETD)
		data_links_net_down(&syncd.links);
	else if (c->peer == PROC_KEYD)
		data_links_key_down(&syncd.links);
}

static void
on_peer_up(struct child *ch, struct channel *c)
{
	(void)ch;
	loop_attach_channel(&syncd.loop, c, on_edge_closed);
	if (c->peer == PROC_NETD)
		data_links_net_up(&syncd.links);
	else if (c->peer == PROC_KEYD)
		data_links_key_down(&syncd.links);
	else
		position_report(now_ms());
	syncd_wake_at(now_ms());
}

static void
on_edge_closed(struct channel *c)
{
	child_edge_lost(&syncd.child, c);
}

static void
on_control_closed(struct channel *c)
{
	(void)c;
	syncd_exit(child_control_exit(&syncd.child));
}

static void
on_dump(struct child *ch)
{
	struct position end, durable;

	(void)ch;
	if (syncd.store == NULL)
		return;
	end = store_end(syncd.store);
	durable = store_durable(syncd.store);
	log_info("data: %llu keys, end %llu/%llu, on disk %llu/%llu",
	    (unsigned long long)store_count(syncd.store), (unsigned long long)end.epoch,
	    (unsigned long long)end.index, (unsigned long long)durable.epoch,
	    (unsigned long long)durable.index);
}

static const struct child_ops ops = {
    .on_prepare = on_prepare,
    .on_commit = on_commit,
    .on_stop = on_stop,
    .on_peer_down = on_peer_down,
    .on_peer_up = on_peer_up,
    .on_dump = on_dump,
};

void
ipc_init(void)
{
	child_init(&syncd.child, PROC_SYNCD, &ops, NULL);
	child_add_edge(&syncd.child, &syncd.netd, PROC_NETD, from_netd, NULL);
	child_add_edge(&syncd.child, &syncd.roled, PROC_ROLED, from_roled, NULL);
	child_add_edge(&syncd.child, &syncd.keyd, PROC_KEYD, from_keyd, NULL);
	loop_attach_channel(&syncd.loop, &syncd.child.control, on_control_closed);
	loop_attach_channel(&syncd.loop, &syncd.netd, on_edge_closed);
	loop_attach_channel(&syncd.loop, &syncd.roled, on_edge_closed);
	loop_attach_channel(&syncd.loop, &syncd.keyd, on_edge_closed);
}
