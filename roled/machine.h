/* SPDX-License-Identifier: ISC */
/*
 * The role machine: who is main, and why. Pure: state + input -> state + outputs; no clock, no
 * allocation, no I/O. The same object is linked into roled, the simulator (tests/sim) and the unit
 * tests. doc/roles.md has the rules in words, rules.def every reason it can give.
 *
 * How roled uses it:
 *   machine_config_make()   from the committed struct conf
 *   machine_init()          with the persisted state, once
 *   machine_step()          for every event, with the time of *now*; first an IN_TICK. Do the
 * outputs in order; an OUT_PERSIST with durable set is on disk before the next one outputs.next_ms
 * at the latest then, an IN_TICK (an earlier one does no harm) machine_record()        makes the
 * record of an OUT_SEND for one partner Events that wait together are best given before the IN_TICK
 * that is due at the same time.
 *
 * Times are milliseconds of CLOCK_BOOTTIME, ages are milliseconds, MACHINE_NEVER is "never".
 */
#ifndef BH_ROLED_MACHINE_H
#define BH_ROLED_MACHINE_H

#include <stdint.h>

#include "../lib/conf.h"
#include "../lib/message.h"

enum {
	MACHINE_SERVERS = CONF_SERVERS,
	MACHINE_PATHS = CONF_PATHS,
	MACHINE_REFERENCES = CONF_REFERENCES,
	MACHINE_CHECKS = CONF_CHECKS,
	MACHINE_OUTPUTS = 160,	/* more than one step can make in a group of the largest size */
	MACHINE_TAKEOVERS = 16, /* remembered for flap damping */
	MACHINE_OWNER = 64,	/* with the NUL */
	MACHINE_REASON = 128,
	NOBODY = 255, /* no server */
};
#define MACHINE_NEVER INT64_MAX

enum rule {
#define RULE(id, number, name, severity, text) RULE_##id = number,
#include "rules.def"
#undef RULE
	RULE_MAX = 160
};
enum severity { SEVERITY_INFO, SEVERITY_NOTICE, SEVERITY_WARNING, SEVERITY_ALARM, SEVERITY_MAX };

enum machine_role { ROLE_STANDBY, ROLE_MAIN, ROLE_PERMANENT, ROLE_DMZ, ROLE_MAX };
enum condition {
	CONDITION_STARTING, /* join phase, or nobody is known to be main */
	CONDITION_SYNCHRONISING,
	CONDITION_READY,
	CONDITION_STALE,
	CONDITION_ISOLATED, /* hears neither the others nor a reference */
	CONDITION_PAUSED,
	CONDITION_STOPPING,
	CONDITION_MAX
};

/* What the evidence about one partner says: the rows of the table in doc/roles.md. */
enum verdict {
	VERDICT_UNKNOWN, /* not heard since we started */
	VERDICT_HEALTHY,
	VERDICT_ICMP_BLOCKED, /* link up, no echo reply */
	VERDICT_STOPPED,      /* signed goodbye */
	VERDICT_GUARD_DEAD,   /* signed obituary */
	VERDICT_PROGRAM_DEAD, /* a link ended by FIN, redial refused, host answers */
	VERDICT_RESTARTING,   /* links ended, redial accepted: a child over there restarts */
	VERDICT_SUSPECT,      /* link lost or late, the evidence is not complete */
	VERDICT_OFFLINE,      /* silent, redial unanswered or blocked, host answers */
	VERDICT_UNREACHABLE,  /* silent, no echo reply; references are seen (or there are none) */
	VERDICT_ISOLATED,     /* silent, no echo reply, too few references: it may be us */
	VERDICT_MAX
};

/* ---- configuration */
struct machine_server {
	uint32_t id;	  /* names the server in records, whatever the order in the file */
	int32_t priority; /* higher wins */
	uint8_t kind;	  /* enum server_kind */
	uint8_t n_paths;
	uint8_t name_rank; /* place in the order of names, the last tie-break */
};

struct machine_config {
	struct machine_server server[MACHINE_SERVERS];
	uint8_t self, n_servers, n_references, n_checks;
	uint8_t mode; /* enum arbitration_mode */
	uint8_t observe;
	uint8_t hook_failure[HOOK_MAX]; /* enum hook_failure */
	uint8_t digest[16];
	uint16_t status_misses, icmp_misses;
	int64_t status_interval_ms, icmp_interval_ms;
	int64_t restart_grace_ms, hold_ms, step_down_ms, confirm_ms, join_ms;
	int64_t lease_ms, renew_ms, watchdog_ms, stop_ms;
	int64_t handover_timeout_ms, flap_window_ms, flap_hold_max_ms;
	int64_t sync_bound_ms;
	uint64_t sync_bound_items;
};

/* ---- what survives a restart: plain data, written and read by roled field by field */
struct machine_persisted {
	uint64_t instance;   /* of the supervisor, that wrote it */
	uint64_t epoch;	     /* of the main we are, or followed last */
	uint64_t epoch_seen; /* highest ever seen or voted for; the next promotion is above it */
	uint64_t position_index; /* of our data when last told; without any: of the group's; 0: none
				    known */
	uint64_t event;		 /* last event number given out */
	uint8_t role;		 /* enum machine_role */
	uint8_t last_main;	 /* 1: we were the last main that we know of */
	uint8_t clean;		 /* 1: stopped in order as main, and nobody took over */
	uint8_t stale;		 /* 1: known to be behind; never main before it has synchronised */
	uint8_t initialised;	 /* 1: the group has had a main */
	uint32_t left;		 /* mask of partners that said goodbye and were not heard since */
	uint32_t outvoted;    /* mask of partners declared dead by the operator or by the voters */
	uint64_t voted_epoch; /* voters: highest epoch we voted in ... */
	uint8_t voted_for;    /* ... and for whom, or NOBODY */
	int64_t lease_until_ms; /* voters, while main: end of the lease on the clock of this boot */
	uint64_t pause_left_ms; /* 0: not paused; as of when it was written */
	char pause_owner[MACHINE_OWNER];
	char pause_reason[MACHINE_REASON];
	uint8_t n_takeovers; /* automatic ones, newest first, ages as of when it was written */
	int64_t takeover_age_ms[MACHINE_TAKEOVERS];
	uint8_t n_servers; /* indexes and masks here are of this list: */
	uint32_t server_id[MACHINE_SERVERS];
};

/* ---- records between servers, as they travel on status links */
enum record_kind {
	RECORD_STATUS = 1,
	RECORD_GOODBYE,	 /* main: I gave up the role, successor may take it; else: I stop */
	RECORD_OBITUARY, /* the supervisor here died */
	RECORD_OFFER,	 /* main to one standby: would you take over? */
	RECORD_ACCEPT,	 /* yes, if your goodbye comes within twice the hand-over time-out */
	RECORD_REFUSE,	 /* no, or no longer; reason says why */
	RECORD_CANCEL,	 /* main: the offer is withdrawn; answered by REFUSE */
	RECORD_KIND_MAX
};
enum record_flag {
	RECORD_PAUSED = 1,
	RECORD_OBSERVING = 2,
	RECORD_REFERENCES_KEPT = 4, /* main: had its references all the time */
	RECORD_STOPPING = 8,
	RECORD_STALLED = 16, /* was frozen and has not settled yet */
	RECORD_HEALTHY = 32, /* no health check fails */
	RECORD_IN_SYNC = 64,
	RECORD_HANDOVER = 128, /* a planned hand-over is under way */
	RECORD_BLANK = 256,    /* has no data, and the group has some */
	RECORD_WAS_MAIN = 512, /* goodbye: sent by (former) main; it is an abdication */
	/* has not looked yet what data it has; its position is of before */
	RECORD_DATA_UNKNOWN = 1024,
	RECORD_FLAGS = 2047
};

struct status_record {
	uint8_t kind; /* enum record_kind */
	uint64_t boot_id, seq;
	uint64_t uptime_ms;
	uint8_t role;	   /* enum machine_role */
	uint8_t condition; /* enum condition */
	uint16_t flags;	   /* enum record_flag */
	uint8_t reason;	   /* enum rule: REFUSE and GOODBYE: why; else the present reason */
	int32_t priority;
	uint64_t epoch; /* of the main that the sender is or follows */
	uint64_t epoch_seen;
	uint64_t position_epoch, position_index;
	int64_t main_age_ms;	   /* main: since when, -1 when not main */
	int64_t in_sync_age_ms;	   /* since it was last known to be in sync, -1 never */
	int64_t heard_age_ms;	   /* since it last heard the server this is sent to, -1 never */
	uint32_t main_id;	   /* whom it takes for main, 0 nobody ... */
	int64_t main_heard_age_ms; /* ... and when it last heard that one, -1 never */
	uint32_t elect_id;	   /* nobody is main: who should be, 0 no opinion */
	/*
	 * GOODBYE: who may take the role, 0 any ready standby. Else the heir, who takes over when
	 * main dies, 0 none: from main as it says, from others as main said last.
	 */
	uint32_t successor_id;
	uint64_t pause_left_ms;
	uint8_t digest[16];
	/* voters */
	uint64_t lease_epoch;  /* asks for a lease of this epoch, 0 not ... */
	int64_t lease_sent_ms; /* ... when, on the sender's clock */
	uint64_t grant_epoch;  /* grants the receiver's request of this epoch, 0 not ... */
	int64_t grant_echo_ms; /* ... which was sent then, on the receiver's clock */
};

/* ---- inputs */
enum input_kind {
	IN_TICK,
	IN_CONFIG,
	IN_RECORD,
	IN_LINK,
	IN_ICMP,
	IN_LOCAL,
	IN_CHECK,
	IN_POSITION,
	IN_ACTION_RESULT,
	IN_DRAINED, /* the answer to OUT_DRAIN: the target has all of our data */
	IN_ADMIN,
	IN_ORPHANED, /* our supervisor is gone: obituary */
	IN_MAX
};

enum link_direction { LINK_OUT, LINK_IN, LINK_DIRECTION_MAX };
enum link_event {
	LINK_UP,		/* handshake done (responder: first record opened) */
	LINK_LOST,		/* was up; cause */
	LINK_DIAL_CONNECTED,	/* TCP is there, handshake under way */
	LINK_DIAL_FAILED,	/* no TCP: cause */
	LINK_HANDSHAKE_FAILED,	/* TCP was there and ended before the link was up: cause */
	LINK_HANDSHAKE_TIMEOUT, /* TCP was there, the other side said nothing in time */
	LINK_EVENT_MAX
};

struct machine_link {
	uint8_t partner, path, direction, event, cause;
};

struct machine_icmp {
	uint8_t kind; /* enum target_kind */
	uint8_t index, path;
	uint8_t state;	    /* enum probe_state */
	int64_t last_ok_ms; /* 0 never */
	int64_t rtt_us;
	uint16_t loss_permille;
};

/* A process of ours that evidence comes through: PROC_NETD or PROC_ICMPD. */
struct machine_local {
	uint8_t process, up;
};

struct machine_check {
	uint8_t index, healthy;
};

/*
 * Our own data. Until the first one arrives we count as in sync at (epoch, 0) when no data of the
 * group is known, else as not knowing what we have: never main. blank: no data of any group.
 */
struct machine_position {
	uint64_t epoch, index;
	uint64_t behind_items;
	int64_t behind_ms;
	uint8_t in_sync, blank, stale;
};

struct machine_action_result {
	uint64_t event;
	uint8_t result; /* enum action_result */
	uint32_t code;
	int64_t duration_ms;
};

enum admin_command {
	ADMIN_SWITCHOVER,
	ADMIN_PROMOTE,
	ADMIN_PAUSE,
	ADMIN_RESUME,
	ADMIN_STOP,
	ADMIN_MAX
};
struct machine_admin {
	uint64_t id;	 /* comes back in OUT_REPLY; 0 when nobody waits */
	uint8_t command; /* enum admin_command */
	uint8_t server;	 /* SWITCHOVER: target or NOBODY; PROMOTE: the dead server */
	int64_t ms;	 /* PAUSE: how long; STOP: time left */
	char owner[MACHINE_OWNER];
	char reason[MACHINE_REASON];
};

struct machine_input {
	int64_t now_ms;
	uint8_t kind; /* enum input_kind */
	union {
		struct machine_config config;
		struct {
			uint8_t partner, path, direction;
			struct status_record record;
		} status;
		struct machine_link link;
		struct machine_icmp icmp;
		struct machine_local local;
		struct machine_check check;
		struct machine_position position;
		struct machine_action_result result;
		struct machine_admin admin;
	} u;
};

/* ---- outputs */
enum output_kind {
	OUT_PERSIST, /* write machine.persisted (machine_persisted_now) */
	OUT_BECOME,  /* a role begins: run the hook, tell everybody */
	OUT_HOOK,    /* run a hook without a change of role (stop) */
	OUT_SEND,   /* machine_record() to each partner of the mask, on all its links that are up */
	OUT_DRAIN,  /* hand-over: stop writes, give the target all that it lacks; then IN_DRAINED */
	OUT_REDIAL, /* partner: close silent outbound links, forget the back-off, dial now */
	OUT_LEDGER,
	OUT_REPLY,   /* answer of an admin command */
	OUT_ALARM,   /* on or off */
	OUT_STOPPED, /* we may end; handed_over */
	OUT_MAX
};

enum ledger_kind { LEDGER_DECISION, LEDGER_NO_DECISION, LEDGER_EVENT, LEDGER_KIND_MAX };

/* Why, with all that was known: what bulkheadctl explain prints. */
struct ledger_entry {
	int64_t at_ms;
	uint64_t epoch;
	uint8_t kind; /* enum ledger_kind */
	uint8_t rule; /* enum rule */
	uint8_t peer; /* server that it is about, or NOBODY */
	uint8_t role, condition;
	uint8_t refs_seen, refs_total;
	uint8_t n_partners; /* servers of the group; entry [self] is zero */
	int64_t margin_ms;  /* DECISION: past the limit by; NO_DECISION: left until it acts, or
			       MACHINE_NEVER */
	struct {
		uint8_t verdict;      /* enum verdict */
		uint8_t links_up;     /* both directions, all paths */
		uint8_t icmp;	      /* enum probe_state */
		uint8_t role;	      /* as it said last */
		int32_t heard_age_ms; /* status record; -1 never */
		int32_t icmp_age_ms;  /* -1 never */
	} partner[MACHINE_SERVERS];
};

struct machine_output {
	uint8_t kind; /* enum output_kind */
	union {
		struct {
			uint8_t durable; /* 0: a later write may replace it */
		} persist;
		struct {
			uint8_t role; /* enum machine_role */
			uint8_t hook; /* enum hook_kind */
			uint8_t rule, peer;
			uint64_t epoch, event; /* event comes back in IN_ACTION_RESULT */
		} become;		       /* OUT_BECOME and OUT_HOOK */
		struct {
			uint32_t mask;	   /* of server indexes */
			uint8_t kind;	   /* enum record_kind */
			uint8_t successor; /* GOODBYE: index or NOBODY */
			uint8_t reason;	   /* enum rule */
		} send;
		struct {
			uint8_t partner;
		} redial, drain;
		struct ledger_entry ledger;
		struct {
			uint64_t id;
			uint8_t result; /* enum ctl_result */
			uint8_t rule, peer;
		} reply;
		struct {
			uint8_t rule, peer, on;
		} alarm;
		struct {
			uint8_t handed_over;
		} stopped;
	} u;
};

struct machine_outputs {
	int64_t next_ms; /* wake up then at the latest */
	unsigned n;
	unsigned dropped;				/* did not fit: 0, the tests check */
	struct machine_output out[MACHINE_OUTPUTS + 1]; /* the last takes what does not fit */
};

/* ---- state */
enum dial_state {
	DIAL_NONE,
	DIAL_PENDING,
	DIAL_OPEN,
	DIAL_REFUSED,
	DIAL_UNANSWERED,
	DIAL_HANDSHAKE_SILENT
};

struct machine_path {
	uint8_t up[LINK_DIRECTION_MAX];
	uint8_t dial;	     /* enum dial_state: outcome of the newest dial */
	int64_t dial_ms;     /* when that was known */
	int64_t fin_ms;	     /* a link that was up ended by FIN; 0 not since the last link */
	int64_t reset_ms;    /* ... by RST or otherwise */
	int64_t out_lost_ms; /* the outbound one ended: a refusal afterwards means something */
	uint8_t icmp;	     /* enum probe_state as icmpd said; decisions are from the age */
	int64_t icmp_ok_ms;  /* last echo reply; 0 never */
	int64_t icmp_rtt_us;
	uint16_t icmp_loss_permille;
};

struct machine_partner {
	struct status_record last; /* newest record; valid when heard_ms > 0 */
	int64_t heard_ms;	   /* newest record of this boot of it; 0 never */
	int64_t unknown_ms;	   /* it does not know its data since; 0: it does */
	int64_t silent_from_ms; /* silence is counted from here: heard, or later when we could not
				   hear */
	int64_t contact_ms;	/* it and we heard each other then; 0 never */
	int64_t redial_ms;	/* we asked for a redial; 0 not since it was heard */
	int64_t pause_until_ms; /* it said that the group is paused; 0 not */
	uint64_t old_boot_id;	/* records of it are late ones */
	uint8_t verdict;	/* enum verdict */
	int64_t verdict_ms;	/* since */
	uint8_t verdict_logged; /* last one in the ledger */
	uint8_t icmp;		/* enum probe_state, over its paths */
	uint8_t gone;		/* 0, or enum rule of the goodbye or obituary ... */
	int64_t gone_ms;	/* ... and when it came */
	uint8_t successor;	/* of its goodbye: index or NOBODY */
	uint8_t abdicated;	/* its goodbye gave up the role of main */
	int64_t grant_s_ms;	/* voters: send time of our request that it granted last; 0 none */
	uint64_t grant_epoch;
	uint64_t ask_epoch; /* voters: its newest request ... */
	int64_t ask_sent_ms;
	uint8_t ask_granted; /* ... and that we granted it */
	struct machine_path path[MACHINE_PATHS];
};

struct machine_reference {
	uint8_t state; /* enum probe_state */
	int64_t ok_ms; /* last echo reply; 0 never */
	int64_t rtt_us;
	uint16_t loss_permille;
};

enum handover {
	HANDOVER_NONE,
	HANDOVER_OFFERED,
	HANDOVER_STOPPING,
	HANDOVER_ABDICATED,
	HANDOVER_MAX
};

enum stop_step { STOP_BEGIN, STOP_HANDOVER, STOP_SERVICE, STOP_HOOK, STOP_DONE };

struct machine {
	struct machine_config config;
	struct machine_persisted persisted;
	uint64_t boot_id, seq;
	uint8_t role;	   /* enum machine_role */
	uint8_t condition; /* enum condition */
	uint8_t main;	   /* index of main as we know it (may be self), or NOBODY */
	uint8_t why;	   /* enum rule: the reason now in force ... */
	uint8_t why_peer;  /* ... and whom it is about */
	uint8_t joined;	   /* the join phase is over */
	uint8_t resumed;   /* role taken from the state of the same supervisor instance */
	uint8_t started;   /* the first step was made */
	uint8_t elect;	   /* who should be main now that nobody is, or NOBODY */
	uint8_t heir;	   /* as main: the standby that takes over when we die, or NOBODY */
	uint8_t healthy;   /* no health check fails */
	uint8_t refs_seen;
	uint8_t references_kept; /* since we are main */
	uint8_t stalled;	 /* we were frozen and nobody was heard since */
	uint8_t isolated;
	uint8_t may_resume; /* stepped down isolated: 1 a partner may be main, 2 they were gone
			       before */
	uint8_t orphaned;
	uint8_t abdicated; /* our goodbye gives up the role of main */
	int64_t started_ms, main_since_ms;
	int64_t now_ms;		/* of the last input */
	int64_t promised_ms;	/* next_ms of the last step */
	int64_t look_again_ms;	/* woke up late: no decision from silence before */
	int64_t stall_ms;	/* end of the last stall */
	int64_t floor_ms;	/* what was not heard before then proves nothing about us */
	int64_t isolated_ms;	/* since, or end of the last */
	int64_t refs_from_ms;	/* a majority of the references is seen since, 0 not */
	int64_t send_ms;	/* next status record */
	int64_t icmp_from_ms;	/* icmpd works since; 0: it does not */
	int64_t netd_from_ms;	/* netd works since; 0: it does not */
	int64_t pause_until_ms; /* 0 not paused */
	int64_t takeover_ms[MACHINE_TAKEOVERS]; /* newest first */
	struct machine_position position;
	uint8_t has_position;
	uint8_t check[MACHINE_CHECKS]; /* 1 healthy */
	struct machine_partner partner[MACHINE_SERVERS];
	struct machine_reference reference[MACHINE_REFERENCES];
	/* planned hand-over, as main */
	uint8_t handover;      /* enum handover */
	uint8_t handover_rule; /* why: switchover, stop, health */
	uint8_t handover_to;
	int64_t handover_ms;	 /* the present step began */
	int64_t handover_try_ms; /* the last one was begun */
	int64_t ready_ms;	 /* main: a standby was ready then */
	int64_t handover_accept_ms;
	uint64_t handover_event; /* hook that we wait for */
	uint8_t handover_drains; /* IN_DRAINED is awaited */
	uint64_t handover_boot;	 /* boot id of the target that accepted */
	uint64_t command_id;	 /* admin command to answer, 0 none */
	uint64_t stop_command_id;
	/* as standby: offer that we accepted */
	uint8_t offer_from; /* or NOBODY */
	uint64_t offer_epoch;
	int64_t offer_until_ms;
	/* role hooks */
	uint64_t hook_event; /* the last one started */
	uint8_t hook_kind, hook_failed;
	/* ordered stop */
	uint8_t stopping;  /* 0, 1 handing over or hook, 2 stopped */
	uint8_t stop_step; /* enum stop_step */
	uint8_t stop_handed_over;
	int64_t stop_until_ms;
	uint64_t stop_event; /* stop hook that we wait for */
	/* voters */
	uint64_t lease_epoch;	  /* we ask for, or hold, a lease of this epoch; 0 not */
	int64_t lease_ask_ms;	  /* next request */
	int64_t lease_sent_ms;	  /* the present request was first sent */
	int64_t lease_want_ms;	  /* main was lost then, 0 not */
	int64_t lease_retry_ms;	  /* no new candidacy before */
	int64_t lease_until_ms;	  /* D of the lease we hold; 0 none */
	int64_t candidate_ms;	  /* this candidacy began */
	uint8_t lease_rule;	  /* why we are a candidate */
	int64_t promise_until_ms; /* as voter: we support nobody else before */
	/* shown */
	uint32_t alarms[RULE_MAX / 32];
	uint8_t alarm_peer[RULE_MAX];
	uint32_t counter[RULE_MAX]; /* per cause: decisions, and non-decisions that began */
};

/* Config of the machine from the config of the server. */
void machine_config_make(struct machine_config *mc, const struct conf *c);

/*
 * A standard partner that runs and is not in the new config (or has another key there), or NOBODY:
 * out of sight it would stay or become main beside this server, although the path is fine.
 */
uint8_t machine_find_dropped(const struct machine *m, const struct machine_config *to);

/* State of a server that never ran. */
void machine_persisted_blank(struct machine_persisted *p);

/*
 * Begin. boot_id: random, of this start of roled; instance: of the supervisor (SELF_INFO): when it
 * is the one of the persisted state the role is taken up again without a hook.
 */
void machine_init(struct machine *m, const struct machine_config *mc,
    const struct machine_persisted *p, uint64_t boot_id, uint64_t instance, int64_t now_ms);

/* One event. out is overwritten. */
void machine_step(struct machine *m, const struct machine_input *in, struct machine_outputs *out);

/* The persisted state to write for an OUT_PERSIST, with ages and remaining times as of now. */
void machine_persisted_now(const struct machine *m, int64_t now_ms, struct machine_persisted *p);

/* The record for one partner of an OUT_SEND; raises seq. */
void machine_record(struct machine *m, int64_t now_ms, uint8_t partner, enum record_kind kind,
    uint8_t successor, enum rule reason, struct status_record *r);

/* 0 when every field of a record from outside is in range, else -1 (machine_step ignores such). */
int machine_record_check(const struct status_record *r);

/* A ledger entry of the caller's own, with the evidence as it is. peer: NOBODY or a server. */
void machine_event(
    const struct machine *m, int64_t now_ms, enum rule rule, uint8_t peer, struct ledger_entry *e);

/* Names for people; never NULL. */
const char *rule_name(unsigned rule); /* "takeover-program-dead" */
const char *rule_text(unsigned rule); /* the sentence; %P stands for the name of the peer */
enum severity rule_severity(unsigned rule);
const char *role_name(unsigned role);
const char *condition_name(unsigned condition);
const char *verdict_name(unsigned verdict);
const char *record_kind_name(unsigned kind); /* for the simulator and the tests */

#endif
