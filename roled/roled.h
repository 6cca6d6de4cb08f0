/* SPDX-License-Identifier: ISC */
/*
 * roled decides. One struct for the whole process; each file owns the functions of its section.
 *
 *	messages, timers, links -> inputs.c -> machine.c -> outputs.c -> files, links, supervisor
 */
#ifndef BH_ROLED_H
#define BH_ROLED_H

#include <stdint.h>
#include <uv.h>

#include "lib/admin.h"
#include "lib/channel.h"
#include "lib/child.h"
#include "lib/conf.h"
#include "link.h"
#include "machine.h"
#include "store.h"

enum {
	ADMIN_CLIENTS = 8,
	WAITING_EVENTS = 256, /* link events that came while the machine was at work */
	ASKED_HOOKS = 16,
	ALARMS = 32,   /* that wait for their hook; what does not fit is in the ledger only */
	FLUSH_MS = 20, /* last words are given this long to leave */
	/*
	 * entries that what syncd says of the data may make: so many at once, then one in that time
	 */
	DATA_NOTES_BURST = 32,
	DATA_NOTE_MS = 10000,
};
/* Event numbers of actions that the machine does not know of: hook tests, alarm hooks. */
#define EVENT_OF_ROLED (UINT64_C(1) << 40)

/* ---- ledger entries as bytes: entry.c */

/* A ledger entry with what roled adds: names are looked up by id when it is read. */
struct entry {
	struct ledger_entry e;
	uint32_t id[MACHINE_SERVERS]; /* machine_server.id at the time of writing */
	uint64_t value;		      /* of some rules: exit code, duration */
	char note[CTL_NOTE];	      /* who asked, output of a check ...; may be empty */
};
/* Returns the length, at most LEDGER_CONTENT. */
size_t entry_encode(uint8_t out[LEDGER_CONTENT], const struct entry *e);
int entry_decode(const uint8_t *in, size_t len, struct entry *e);
size_t persisted_encode(uint8_t out[STORE_CONTENT], const struct machine_persisted *p);
int persisted_decode(const uint8_t *in, size_t len, struct machine_persisted *p);

/* ---- one connection of bulkheadctl: admin.c */
enum listing { LISTING_NONE, LISTING_SEARCH, LISTING_SEND };
/* NEXT: asked when the question before is answered */
enum figures { FIGURES_NONE, FIGURES_ASKED, FIGURES_NEXT };
struct admin_client {
	struct channel channel;
	uint8_t used;
	uint8_t closing;     /* answered with a refusal: goes when that is sent */
	uint8_t all;	     /* uid 0: may everything; else questions only */
	uint32_t generation; /* tells this client of the slot from the one before */
	uint32_t uid;
	uint64_t waits_event; /* hook test whose result it waits for; 0: none */
	uint8_t waits_reload;
	uint64_t waits_data;	  /* cookie of a command that syncd works on; 0: none */
	uint8_t waits_figures;	  /* enum figures: asked for the data */
	int64_t figures_until_ms; /* then it gets those of before, with their age */
	/* events: next one to send, how many are left, then follow or end */
	uint8_t listing; /* enum listing */
	uint8_t follow, decisions;
	uint64_t next, left, found;
};

struct roled {
	struct child child;
	struct channel netd, icmpd, keyd, syncd;
	uv_loop_t loop;
	uv_timer_t timer; /* wakes the loop when something is due */
	uv_idle_t idle;
	uv_check_t check; /* runs what is due, after all messages that came with it */
	uv_async_t orphan;
	uv_poll_t admin;
	uv_timer_t admin_rest; /* while it runs nobody is let in */
	struct links links;
	struct store store;
	struct ledger ledger;
	struct machine_persisted persisted; /* as read at the start */
	uint8_t unusable;		    /* state files cannot be used: refuse every config */
	uint64_t boot;			    /* random, of this start */
	uint64_t instance;		    /* of the supervisor */
	uint32_t generation;
	uint8_t degraded, obituary_allowed, introduced;
	uint8_t public_known; /* keyd said who we are: */
	uint8_t public_status[32], public_data[32];

	struct machine machine;
	uint8_t running; /* machine_init was done */
	uint8_t busy;	 /* outputs are under way: link events wait */
	struct machine_link waiting[WAITING_EVENTS];
	unsigned n_waiting;
	int64_t machine_next_ms;
	int64_t due_ms;	    /* the timer is armed for it */
	uint64_t own_event; /* last number given out here */

	/* status records: the second half of an interval (outputs.c) */
	struct status_record sent[MACHINE_SERVERS]; /* last to each partner */
	uint32_t second_mask;
	int64_t second_ms; /* 0: none */
	uint8_t second_reason;

	/* does netd carry? ipc.c */
	int64_t net_ping_ms; /* asked then and not answered; 0: not so */
	int64_t net_next_ms; /* not asked again before */
	int64_t net_deaf_ms; /* since when */
	uint8_t net_deaf;    /* it has not answered in time: what partners say may wait in it */

	/* what syncd was told last, and the cookie of the drain that it works on (0: none) */
	uint8_t data_role, data_main, data_flags, data_told;
	int64_t data_told_ms;
	struct ctl_data data; /* as syncd said last; age_ms holds the boottime of that, 0: never */
	struct ctl_data_partner data_partner[CONF_SERVERS];
	uint8_t data_short[CONF_SERVERS];      /* as noted in the ledger, as are ... */
	uint8_t data_trouble, data_sync_short; /* ... enum data_trouble; mode sync: writes wait */
	uint16_t data_bundles;
	int64_t data_notes_ms;	 /* entries that its state may make are paid for up to this time */
	uint8_t data_notes_full; /* there is no room for another; said once */
	uint64_t next_cookie;
	uint64_t figures_cookie; /* the question that syncd has not answered; 0: none */
	uint64_t data_epoch, drain_cookie;

	/* the end */
	uint8_t orphaned, stopping, stopped_sent;
	int64_t exit_ms; /* 0: not yet */
	int exit_code;

	/* shown to the admin */
	uint64_t net_count[NET_COUNTER_MAX];
	struct ctl_process process[PROC_MAX]; /* age_ms holds the boottime of the change */
	uint8_t process_known[PROC_MAX];
	/* age_ms holds the boottime of the result; names not set */
	struct ctl_check checks[CONF_CHECKS];
	uint64_t conf_serial;
	uint8_t reload_result;
	int64_t reload_ms; /* 0: none since the start */
	char reload_text[CTL_NOTE];
	struct {
		uint64_t event;
		uint8_t hook; /* enum hook_kind */
	} asked[ASKED_HOOKS]; /* last hooks asked for, to name them when they end */
	unsigned next_asked;
	char hook_note[CTL_NOTE]; /* the result being handled, until an entry has taken it */
	/*
	 * alarm hooks: one at a time, so that a slow one cannot use up what the supervisor queues
	 */
	uint64_t alarm_event; /* that runs; 0: none */
	unsigned n_alarms;
	struct {
		uint32_t entry;
		uint8_t rule, peer;
	} alarm[ALARMS];
	int64_t role_ms; /* in this role since */
	int64_t act_ms;	 /* the machine acts then if nothing changes; 0: not so */
	struct admin_client client[ADMIN_CLIENTS];
	uint32_t client_generation;
};
extern struct roled roled;

/* ---- the process: main.c */

/* Something is due at that time: arm the one timer. */
void roled_wake_at(int64_t due_ms);
/* Leave after the last bytes have gone, at the latest at the given time. */
void roled_end_soon(int exit_code, int64_t at_ms);
/* Wipe and leave now. */
void roled_exit(int exit_code) __attribute__((noreturn));

/* ---- messages: ipc.c */

void ipc_init(void);
extern const struct links_ops ipc_links_ops;
/*
 * Ask netd once per status interval whether it carries, whenever the loop turns anyway. A netd that
 * hangs makes all partners silent: until it answers, nothing is concluded from that. Returns when
 * to be called at the latest.
 */
int64_t ipc_watch_netd(int64_t now);
/* To syncd: who is main and what we are, when that is not what it was told last. */
void tell_data_role(void);
/* Hold writes, and say when that server has all data. */
void ask_drain(uint8_t server);
/* The data of the group begins on this server. */
void ask_figures(uint64_t cookie); /* those of the data as of now; answered by DATA_RESULT */
void ask_init(uint64_t cookie, uint8_t replace);
/* ACTION to the supervisor; entry: of the ledger, for the one who reads what a hook has logged. */
void ask_action(enum action action, uint8_t index, uint8_t rule, uint8_t peer, uint64_t epoch,
    uint64_t event, uint64_t entry);

/* ---- events into the machine: inputs.c */

void input_start(int64_t now);
void input_tick(int64_t now);
void input_config(const struct conf *c);
uint8_t input_dropped(const struct conf *new);
void input_link(const struct machine_link *event);
void input_record(uint8_t partner, uint8_t path, uint8_t direction, const struct status_record *r);
void input_icmp(const struct machine_icmp *probe);
void input_local(enum process process, int up);
void input_check(uint8_t index, int healthy);
void input_action_result(
    uint64_t event, enum action_result result, uint32_t code, int64_t duration_ms);
void input_position(const struct machine_position *p);
void input_drained(void);
void input_admin(const struct machine_admin *command);
void input_orphaned(void);

/* ---- what the machine wants done: outputs.c */

void outputs_run(const struct machine_outputs *o, int64_t now);
/* Status records on the links that partners opened, half an interval after those on our own. */
void outputs_second(int64_t now);
/* The alarm hook with this event number ended: the next one may run. */
void outputs_alarm_ended(uint64_t event);
/*
 * An entry of roled's own, with the evidence of now: what an admin commanded, how a hook ended,
 * what became of the data. peer: NOBODY or an index into the servers. note: cut at CTL_NOTE bytes.
 */
void outputs_note(enum rule rule, uint8_t peer, const char *note);
/* An entry of a rule that is an alarm, and its hook. */
void outputs_note_alarm(enum rule rule);

/* ---- entries made readable: explain.c */

/* record may be of an earlier roled or config. Returns 0, or -1 when its content is damaged. */
int explain_record(const struct ledger_record *record, const struct conf *c,
    const struct machine_config *mc, struct ctl_event *out);
/* The sentence of a rule with the name of the peer in it. */
void explain_rule(char *out, size_t size, uint8_t rule, const char *peer);

/* ---- the state of everything for the admin: report.c */

void report_self(struct ctl_self *s, int64_t now);
void report_server(struct ctl_server *s, uint8_t i, int64_t now);
void report_reference(struct ctl_reference *r, uint8_t i, int64_t now);
void report_check(struct ctl_check *k, uint8_t i, int64_t now);
void report_process(struct ctl_process *p, uint8_t i, int64_t now);

/* ---- admin socket: admin.c */

void admin_init(void);
/* A connection of that user; fd becomes ours. */
void admin_add_client(int fd, uint32_t uid);
/* All connections of bulkheadctl; for the tests, which end without the process. */
void admin_close_all(void);
/* Go on with listings, a bounded piece per turn of the loop. 1: there is more to do at once. */
int admin_turn(void);
/* Answer those for whom syncd took too long; when the next has waited long enough, or INT64_MAX. */
int64_t admin_next_ms(int64_t now);
void admin_syncd_down(void); /* who waits for its figures gets those of before */
void admin_reply(uint64_t id, enum ctl_result result, const char *text);
void admin_action_result(
    uint64_t event, enum action_result result, uint32_t code, uint32_t duration_ms);
void admin_reloaded(enum reload_result result, const char *text);
void admin_data_result(uint64_t cookie, enum ctl_result result, const char *text);

/* ---- death of the supervisor: obituary.c */

void obituary_init(void);
/* The control channel ended: send the last words and go. */
void obituary_begin(int exit_code);

#endif
