/* SPDX-License-Identifier: ISC */
/*
 * Deterministic simulator of a group: the very objects of the role machine that run in roled, on N
 * servers with clocks of their own, a network that loses, delays and splits, hosts that crash,
 * freeze and restart, and a careful operator. A seed is a run; the same seed is the same run.
 *
 * world.c   clocks, event queue, network, links, ping
 * server.c  one server: what its supervisor, netd, icmpd and roled do around the machine
 * faults.c  what goes wrong, chosen by the seed
 * check.c   the invariants of doc/roles.md
 * scenario.c  single faults with what has to come of them, and when
 * run.c     one group, one run
 * sim.c     options
 */
#ifndef BH_TESTS_SIM_H
#define BH_TESTS_SIM_H

#include <stdint.h>

#include "roled/machine.h"

enum {
	SERVERS = 5,
	PATHS = MACHINE_PATHS,
	REFS = 3,
	HELD = 40, /* records that wait for a cut path, per side of a link */
	EVENTS = 32768,
	PROMOTIONS = 4096,
	CHANGES = 64,
};

#define MS INT64_C(1000)
#define SEC INT64_C(1000000)

/* ---- random numbers: splitmix64 */
uint64_t rnd(void);
int64_t rnd_between(int64_t low, int64_t high); /* both included */
int rnd_chance(unsigned percent);

/* ---- events */
enum event_kind {
	EV_TICK,    /* server a: a timer; gen */
	EV_RECORD,  /* to server a from b over a link */
	EV_RETRY,   /* records held back on a link side are sent again */
	EV_LINK,    /* link event for server a about partner b */
	EV_FIN,	    /* the other end of a link closed it */
	EV_DIAL,    /* server a dials b */
	EV_SYN,	    /* outcome of a dial */
	EV_SHAKE,   /* outcome of a handshake */
	EV_PING,    /* server a pings everybody */
	EV_PONG,    /* an answer */
	EV_RESULT,  /* a hook of server a ended */
	EV_DRAINED, /* the target of its hand-over has all data of server a */
	EV_LIFE,    /* something starts again on server a: what */
	EV_FAULT,   /* the next thing goes wrong */
	EV_HEAL,    /* a fault of the network ends: what */
	EV_MAX
};

struct event {
	int64_t at_us;
	uint64_t order;
	uint8_t kind, a, b, path, side, what;
	uint32_t gen;
	uint64_t value;
	struct status_record record;
};

/* ---- world */
enum side { DIALER, RESPONDER };
enum link_state { L_DOWN, L_SYN, L_SHAKE, L_UP };

/* One TCP connection: a dials b over a path. */
struct tcp {
	uint8_t state;
	uint32_t gen;	 /* a new connection has another one: what belonged to the old is lost */
	uint8_t open[2]; /* this side thinks that it is there */
	uint8_t told[2]; /* ... and its machine was told LINK_UP */
	int64_t ready_us[2]; /* records to that side arrive in order */
	int64_t heard_us[2]; /* last record on that side */
	uint8_t retrying[2];
	unsigned n_held[2];
	struct status_record held[2][HELD]; /* sent by that side, not delivered yet */
	unsigned failures;
	uint8_t dialing;
};

/* The data of a server, in worlds that have data. */
enum store { STORE_FULL, STORE_LOST };

enum block { BLOCK_NONE, BLOCK_DROP, BLOCK_REJECT };

struct server {
	struct machine machine;
	struct machine_persisted disk;
	struct machine_config config;
	uint8_t host, guard, roled, netd, icmpd; /* what is alive */
	uint8_t frozen;				 /* 1 the guard (SIGSTOP), 2 the whole host */
	uint8_t acting;				 /* its service works as main */
	uint8_t hook_fails, hook_hangs;
	uint8_t store;	  /* enum store */
	int64_t store_us; /* how long syncd takes to open it; 0: at once */
	int64_t drain_us; /* after a freeze: what waited is read first */
	int64_t acting_us;
	int64_t offset_ms, ppm; /* of its clock */
	uint64_t instance;
	uint32_t tick_gen;
	int64_t upset_us;     /* last time it was not all there */
	int64_t lonely_us;    /* sees neither references nor partners since; 0 it does */
	int64_t ref_us[REFS]; /* a reference could be reached last */
	uint64_t disk_epoch;
};

struct promotion {
	uint64_t epoch;
	uint8_t server;
	int64_t at_us;
};

struct change {
	uint8_t server, role, rule;
	int64_t at_us;
};

struct world {
	int64_t now_us, end_us, calm_us; /* no faults after calm */
	unsigned n, n_refs, n_paths;
	uint8_t mode, kind[SERVERS];
	uint8_t fast, quiet_run, observing, stale, with_data;
	struct server server[SERVERS];
	struct tcp tcp[SERVERS][SERVERS][PATHS];
	uint8_t cut[SERVERS][SERVERS][PATHS];  /* packets from a to b are lost */
	uint8_t port[SERVERS][SERVERS][PATHS]; /* enum block: 5481 from a to b */
	uint8_t ref_cut[SERVERS][REFS];
	uint8_t icmp_cut[SERVERS][SERVERS];
	unsigned loss;			     /* percent */
	int64_t delay_us;		     /* one way */
	int64_t excuse_us[SERVERS][SERVERS]; /* two mains had an excuse last */
	int64_t reject_us, fin_us;	     /* a firewall began to refuse, a process ended */
	unsigned n_faults, n_becomes;
	unsigned n_promotions;
	struct promotion promotion[PROMOTIONS];
	uint32_t reached[RULE_MAX]; /* rules seen: coverage */
	unsigned n_changes;
	struct change change[CHANGES];	 /* of roles, the first ones */
	int64_t ok_us[SERVERS][SERVERS]; /* all is well between two since; 0 it is not */
	uint8_t scripted;
	uint8_t exclusive; /* no two mains, whatever the mode allows */
	char failure[256];
};

extern struct world w;
extern int trace;

struct event *event_at(int64_t at_us, enum event_kind kind, unsigned a);
struct event *event_next(void); /* NULL: none left; valid until the next event_at */
void events_clear(void);
void event_again(const struct event *e, int64_t at_us);
void rnd_seed(uint64_t seed);

int path_open(unsigned a, unsigned b, unsigned path); /* both ways */
int port_open(unsigned a, unsigned b, unsigned path); /* a can speak to b's port, and hears it */
int partner_path(unsigned a, unsigned b);	      /* any link between them can be made */
int64_t delay_us(void);

void net_send(unsigned from, unsigned to, const struct status_record *r);
void net_close_all(unsigned a, int fin);
void net_close_out(unsigned a, unsigned b, int silent_only);
void net_dial_all(unsigned a);
void net_event(struct event *e);
void ping_event(struct event *e);

/* ---- server.c */
int64_t server_ms(unsigned i); /* its clock */
void server_power(unsigned i); /* host and guard start */
void server_guard_start(unsigned i);
void server_guard_kill(unsigned i);
void server_orphan(unsigned i);
void server_host_crash(unsigned i);
void server_roled_start(unsigned i);
void server_roled_kill(unsigned i);
/* syncd of server i ends, and is back after a time. */
void server_store_shut(unsigned i, int64_t for_us);
void server_store_tell(unsigned i);
void server_local(unsigned i, enum process p, int up);
void server_freeze(unsigned i, int how);
void server_thaw(unsigned i);
void server_input(unsigned i, struct machine_input *in);
void server_event(struct event *e);
void server_admin(unsigned i, enum admin_command c, uint8_t server, int64_t ms);
int server_runs(unsigned i); /* its machine takes inputs now */

/* ---- run.c */
extern int only_mode;
void world_config(unsigned i, struct machine_config *c);
void group_begin(uint64_t seed, void (*choose)(uint64_t seed));
int64_t queue_us(int64_t now_us); /* when what waits for a frozen process is looked at */
void run_until(int64_t until_us, void (*before)(void));
int run_seed(uint64_t seed); /* 0, or -1 and w.failure */

/* ---- scenario.c */
unsigned run_scenarios(int quiet); /* 0 a table, 1 failures, 2 up to the first; how many failed */

/* ---- faults.c */
enum life {
	LIFE_HOST,
	LIFE_GUARD,
	LIFE_ROLED,
	LIFE_NETD,
	LIFE_ICMPD,
	LIFE_THAW,
	LIFE_HEALTHY,
	LIFE_HOOK,
	LIFE_STOPPED,
	LIFE_DEAD,
	LIFE_RESUME,
	LIFE_STORE, /* syncd has opened the store and says what is in it */
	LIFE_FILLED /* it is synchronised, or an operator gave its data back */
};
void fault_event(void);
void life_event(struct event *e);
void heal_event(struct event *e);
void heal_all(void);
void operator_look(void);
void watchdogs(void);

/* ---- check.c */
void check_all(void);
void check_promotion(unsigned i, uint64_t epoch, enum rule rule, uint8_t peer);
void check_persist(unsigned i);
void check_end(void);
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
