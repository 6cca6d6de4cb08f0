/* SPDX-License-Identifier: ISC */
/*
 * What roled tells bulkheadctl over the admin socket: one struct per CTL_* answer, with its encoder
 * and its strict decoder. roled sends the words of its states as text ("standby", "unreachable"),
 * so that the tool needs no table of its own and always shows the daemon's; ages are milliseconds
 * since, -1 for never, taken when the answer was made.
 */
#ifndef BH_LIB_ADMIN_H
#define BH_LIB_ADMIN_H

#include <stdint.h>

#include "conf.h"
#include "message.h"

enum {
	CTL_PROTOCOL = 1, /* CTL_HELLO */
	CTL_WORD = 24,	  /* a state in one word, with the NUL */
	CTL_ADDRESS = 64,
	CTL_OWNER = 64, /* of a pause */
	CTL_REASON = 128,
	CTL_NOTE = 256, /* one sentence */
	CTL_TEXT = 512, /* explanation of an event, or of a refusal in CTL_END */
	CTL_NO_SERVER = 255,
	CTL_EVIDENCE = CONF_SERVERS,
	CTL_ACTION_NAME = 65,
};

/* Times, ages and margins in milliseconds are within it (what a double holds exactly). */
#define CTL_TIME_MAX (INT64_C(1) << 53)

/* The answer of bulkheadctl check. */
enum ctl_level { CTL_LEVEL_OK, CTL_LEVEL_WARNING, CTL_LEVEL_CRITICAL, CTL_LEVEL_MAX };

/* Reasons for which roled refuses or ends a link, each with a counter. */
enum link_counter {
	LINK_C_DIALED,	      /* LINK_OPEN sent */
	LINK_C_UP_OUT,	      /* sessions that we opened and that came up */
	LINK_C_UP_IN,	      /* sessions that a partner opened and that came up */
	LINK_C_REPLACED,      /* ended because a newer session of the same kind came up */
	LINK_C_HELLO_TIMEOUT, /* handshake not complete in time */
	LINK_C_BAD_HELLO,     /* not a hello, or a field out of range */
	LINK_C_BAD_HANDSHAKE, /* hello or answer does not open: wrong key, wrong group or damaged */
	LINK_C_UNKNOWN_KEY,   /* static key that is no configured server's */
	LINK_C_SELF_KEY,      /* our own static key: somebody sends our hellos back */
	LINK_C_NOT_ALLOWED, /* kind that this server may not open to us (a DMZ server dials nobody)
			     */
	LINK_C_REPLAY,	    /* boot id and counter already seen, or superseded boot id */
	LINK_C_BAD_RECORD,  /* record that does not open, or has a forbidden length */
	LINK_C_BAD_STATUS,  /* record that opens but is no status record */
	LINK_C_SLOW,	    /* our records were not taken in time */
	LINK_C_NO_ROOM,	    /* too many links waiting for their handshake */
	LINK_C_KEY_REFUSED, /* keyd did not answer, or refused the key */
	LINK_C_STATUS_IN,   /* status records opened */
	LINK_C_STATUS_OUT,  /* status records sealed */
	LINK_C_TWIN, /* identity of a server that is heard from elsewhere: a copy of it runs */
	LINK_C_MAX
};
const char *link_counter_name(unsigned c); /* "bad-hello"; never NULL */

struct ctl_self {
	char name[CONF_NAME], group[CONF_NAME];
	uint8_t index; /* of this server in the config */
	uint8_t kind;  /* enum server_kind */
	uint8_t mode;  /* enum arbitration_mode */
	char role[CTL_WORD], condition[CTL_WORD];
	uint8_t level;	     /* enum ctl_level */
	char note[CTL_NOTE]; /* why the level is not OK, or what it waits for; may be empty */
	uint64_t epoch;
	uint8_t main_server; /* who is main as far as we know, or CTL_NO_SERVER */
	int64_t role_age_ms; /* in this role since */
	int64_t now_ms;	     /* boottime of the answer; ages count from it */
	int64_t wall_ms;     /* wall clock of the answer, for display only */
	uint64_t boot_id;    /* of this roled: changes with each start of it */
	uint64_t instance;   /* of the supervisor: changes with each start of the whole guard */
	uint32_t generation; /* of this roled under that supervisor */
	uint8_t degraded;    /* 1: running with --allow-degraded */
	uint8_t observe;     /* 1: decides, logs, does nothing */
	uint8_t paused;
	int64_t pause_left_ms;
	char pause_owner[CTL_OWNER], pause_reason[CTL_REASON];
	uint8_t digest[16]; /* of the running config */
	uint64_t conf_serial;
	uint8_t reload_result; /* enum reload_result of the last reload */
	int64_t reload_age_ms; /* -1: none since the start */
	char reload_text[CTL_NOTE];
	uint64_t position; /* of the replicated data */
	uint8_t in_sync;
	uint32_t takeovers;   /* by this server in the flap window */
	int64_t hold_left_ms; /* -1: no take-over is being waited for */
	uint64_t last_event;  /* newest sequence of the ledger */
};

struct ctl_server {
	uint8_t index;
	char name[CONF_NAME];
	uint8_t kind; /* enum server_kind */
	uint8_t self; /* 1: this server; the evidence fields are empty */
	int32_t priority;
	/* what it said, newest record on any link */
	int64_t status_age_ms; /* -1: never heard */
	char role[CTL_WORD], condition[CTL_WORD];
	uint64_t epoch, boot_id, position;
	uint8_t in_sync, paused, observe, checks_failing;
	uint8_t digest_differs;	 /* 1: its config is not ours */
	uint8_t sees_references; /* how many of the reference hosts answer it */
	/* what we see */
	char link[CTL_WORD], icmp[CTL_WORD], verdict[CTL_WORD];
	int64_t verdict_age_ms;
	uint8_t path; /* preferred: the lowest that is up; 255: none */
	uint8_t links_up;
	uint32_t rtt_us;
	uint16_t loss_per_mille;
	int64_t icmp_age_ms; /* since the last answer; -1: never */
};

struct ctl_link {
	uint8_t server, path;
	uint8_t inbound;	   /* 0: we dial it, 1: the partner does */
	char state[CTL_WORD];	   /* "up", "hello", "dialing", "waiting" ... */
	char address[CTL_ADDRESS]; /* of the other end */
	uint32_t sessions;	   /* that came up since roled started; unchanged by a reload */
	int64_t up_age_ms;	   /* -1: not up */
	uint64_t records_in, records_out, bytes_in, bytes_out; /* of the present session */
	int64_t heard_age_ms;				       /* since the last record */
	uint32_t failures;				       /* in a row since it was last up */
	int64_t retry_ms;	 /* until the next dial; -1: none planned */
	char last_end[CTL_WORD]; /* how the last session or dial ended */
};

struct ctl_process {
	uint8_t process; /* enum process */
	uint8_t state;	 /* enum process_state */
	uint8_t layers;	 /* enum sandbox_layer bits */
	uint32_t pid, restarts;
	uint32_t last_status; /* wait status of the previous run; see exit_describe() */
	uint32_t backoff_ms;
	int64_t age_ms;	    /* in this state since */
	uint8_t config;	    /* enum process_config */
	uint8_t digest[16]; /* of all values that it runs with; zero: not known */
	uint32_t accused;   /* how often a peer complained of it */
	uint32_t accuses;   /* how often it complained of a peer */
	/* how often it was killed, by enum offence; [0] is always 0 */
	uint32_t offences[OFFENCE_MAX];
	uint8_t last_offence;
	int64_t offence_age_ms; /* since the last one; -1: never */
};

struct ctl_check {
	uint8_t index;
	char name[CONF_NAME];
	uint8_t known; /* 0: has not run yet */
	uint8_t healthy;
	uint16_t in_a_row; /* results of the present kind */
	uint32_t exit_code;
	int64_t age_ms; /* since the last result */
};

struct ctl_reference {
	uint8_t index;
	char address[CTL_ADDRESS];
	char state[CTL_WORD];
	uint32_t rtt_us;
	uint16_t loss_per_mille;
	int64_t age_ms; /* since the last answer; -1: never */
};

/* The replicated data of this server. */
struct ctl_data {
	char role[CTL_WORD];   /* "main", "standby", "dmz", "none" */
	char stream[CTL_WORD]; /* standby: "up", "handshake", "snapshot", "diverged", "down" */
	uint8_t blank;	       /* 1: no data of any group */
	uint8_t id[16];	       /* of the group's data */
	uint64_t epoch, index; /* newest change ... */
	uint64_t durable;      /* ... and the newest on disk */
	uint64_t log_start;    /* the log goes back to here */
	uint64_t keys;
	uint64_t main_index;	/* standby: main's newest, as it said last */
	int64_t in_sync_age_ms; /* standby: since it had everything; -1: never */
	uint8_t sync_mode;	/* enum sync_mode */
	uint16_t sync_standbys; /* that must have a change, in mode sync */
	uint64_t lost_if_dead;	/* main: changes that no standby has that may take over */
	uint8_t trouble;	/* enum data_trouble */
	uint8_t sync_short;	/* 1: main, mode sync, and so few standbys that writes wait */
	uint16_t bundles;	/* divergence bundles on this server */
	uint64_t used_bytes;	/* of the state, on disk and not yet on it */
	uint64_t room_bytes;	/* that it may still grow by: within data.size, and on the disk */
	uint32_t clients;	/* local programs that are connected */
	uint32_t action_names;	/* that apps of this server serve ... */
	uint32_t action_apps;	/* ... and their connections */
	/* main: for an app; to one that did not answer yet */
	uint32_t actions_waiting, actions_given;
	uint64_t actions_done, actions_failed, actions_unknown, actions_refused; /* ended here */
	int64_t age_ms; /* since syncd said so */
};
/* A partner as main sees it. */
struct ctl_data_partner {
	uint8_t server;
	char state[CTL_WORD]; /* "online", "snapshot", "handshake", "down" */
	uint64_t applied, durable;
	uint64_t lag_changes, lag_bytes;
	int64_t ack_age_ms;  /* since it last acknowledged; -1: never */
	uint64_t sent_bytes; /* on the present link */
	uint64_t wire_bytes; /* that they took, compressed if packed is 1 */
	uint8_t packed;
	uint64_t limit_bytes; /* per second, 0: none */
	/* since the oldest change that it lacks was made, at most; -1: none, or not known */
	int64_t behind_ms;
	uint64_t fill_bytes; /* of changes per second, lately */
	uint64_t room_bytes; /* that may come until the log does not reach back to what it has */
	int64_t forecast_ms; /* until that happens; 0: it needs a snapshot, -1: not in sight */
	uint8_t reaches_short;
};

/* Actions of local programs that ended, all of one kind (doc/data.md). */
struct ctl_action {
	char name[CTL_ACTION_NAME]; /* "*": of several names and programs */
	char server[CONF_NAME];	    /* of the program */
	uint32_t uid, pid;	    /* of the program; pid 0: not known, or of several */
	uint32_t app_uid, app_pid;  /* that was given it; pid 0: none was */
	uint8_t end;		    /* enum control_end */
	uint32_t times;		    /* at least 1 */
	uint32_t took_ms;	    /* the longest */
};

/* Counters since the start of netd and of roled. */
struct ctl_counters {
	uint64_t net[NET_COUNTER_MAX];
	uint64_t link[LINK_C_MAX];
};

/* What was known about one server when a ledger entry was written. */
struct ctl_evidence {
	uint8_t server;
	char name[CONF_NAME]; /* as configured now */
	char link[CTL_WORD], icmp[CTL_WORD], verdict[CTL_WORD], role[CTL_WORD];
	uint64_t epoch;
	int64_t status_age_ms, icmp_age_ms; /* then; -1: never */
};

/* One ledger record, made readable by roled. */
struct ctl_event {
	uint64_t sequence;
	uint64_t boot_id;	 /* of the roled that wrote it */
	int64_t at_ms;		 /* boottime when written */
	int64_t wall_ms;	 /* wall clock when written, for display only */
	uint8_t decision;	 /* 1: a decision or a non-decision, 0: an observation */
	char rule[CTL_WORD * 2]; /* name of the rule */
	char role[CTL_WORD], condition[CTL_WORD]; /* of this server after it */
	uint64_t epoch;
	uint8_t peer; /* server it is about, or CTL_NO_SERVER */
	char peer_name[CONF_NAME];
	uint8_t references_seen, references_total;
	/* time left or over with regard to the limit of the rule; INT64_MIN: none */
	int64_t margin_ms;
	char text[CTL_TEXT]; /* the whole in one or two sentences */
	uint8_t n_evidence;
	struct ctl_evidence evidence[CTL_EVIDENCE];
};

/*
 * Encoders append to a message begun with the type of the struct. Decoders return 0, or -1 when a
 * field is out of range, a string is not printable or too long, or bytes are missing or left over.
 */
void ctl_put_self(struct msg *m, const struct ctl_self *s);
int ctl_get_self(struct msg *m, struct ctl_self *s);
void ctl_put_server(struct msg *m, const struct ctl_server *s);
int ctl_get_server(struct msg *m, struct ctl_server *s);
void ctl_put_link(struct msg *m, const struct ctl_link *l);
int ctl_get_link(struct msg *m, struct ctl_link *l);
void ctl_put_process(struct msg *m, const struct ctl_process *p);
int ctl_get_process(struct msg *m, struct ctl_process *p);
void ctl_put_check(struct msg *m, const struct ctl_check *c);
int ctl_get_check(struct msg *m, struct ctl_check *c);
void ctl_put_reference(struct msg *m, const struct ctl_reference *r);
int ctl_get_reference(struct msg *m, struct ctl_reference *r);
void ctl_put_counters(struct msg *m, const struct ctl_counters *c);
int ctl_get_counters(struct msg *m, struct ctl_counters *c);
void ctl_put_data(struct msg *m, const struct ctl_data *d);
int ctl_get_data(struct msg *m, struct ctl_data *d);
void ctl_put_data_partner(struct msg *m, const struct ctl_data_partner *p);
int ctl_get_data_partner(struct msg *m, struct ctl_data_partner *p);
void ctl_put_action(struct msg *m, const struct ctl_action *a);
int ctl_get_action(struct msg *m, struct ctl_action *a);
void ctl_put_event(struct msg *m, const struct ctl_event *e);
int ctl_get_event(struct msg *m, struct ctl_event *e);
void ctl_put_end(struct msg *m, enum ctl_result result, const char *text);
int ctl_get_end(struct msg *m, uint8_t *result, char text[CTL_TEXT]);

#endif
