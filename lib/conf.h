/* SPDX-License-Identifier: ISC */
/*
 * The configuration as every process holds it: fixed size, no pointers, checked by conf_check().
 * The parser fills it from bulkhead.conf(5) and sends it as CONF_* messages; the supervisor checks
 * it again and sends each child the parts that it needs with the same encoders.
 *
 * All durations are milliseconds; ranges are those of the option table in conf_options.def.
 */
#ifndef BH_LIB_CONF_H
#define BH_LIB_CONF_H

#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#include "../policy/roles.h"

enum {
	CONF_SERVERS = 16,   /* of a group, self included */
	CONF_PATHS = 2,	     /* addresses of a server: main path, backup path */
	CONF_REFERENCES = 8, /* ICMP reference hosts */
	CONF_CHECKS = 16,
	CONF_HOOKS = 4,	   /* one per enum hook_kind */
	CONF_READERS = 32, /* users of the data socket that may only read */
	CONF_NAME = 64,	   /* with the NUL */
	CONF_COMMAND = 512,
	CONF_WORDS = 63, /* of a command: the program and its arguments */
	CONF_ERROR_TEXT = 512,
	DATA_LIMIT_MIN = 4096, /* bytes per second, of a limit */
};

enum server_kind { KIND_STANDARD, KIND_PERMANENT, KIND_DMZ, KIND_MAX };
enum socket_mode { SOCKET_ROOT, SOCKET_GROUP, SOCKET_WORLD, SOCKET_MODE_MAX };
enum sync_mode { SYNC_ASYNC, SYNC_SYNC, SYNC_MODE_MAX };
enum arbitration_mode { ARB_REFERENCES, ARB_MANUAL, ARB_VOTERS, ARB_MODE_MAX };
enum hook_kind { HOOK_MAIN, HOOK_STANDBY, HOOK_STOP, HOOK_ALARM, HOOK_MAX };
enum hook_failure { HOOK_FAIL_ALARM, HOOK_FAIL_UNDO, HOOK_FAIL_CONTINUE, HOOK_FAIL_MAX };

#define CONF_NEVER INT64_MAX /* "never" where a duration may be never */

/* An IPv4 or IPv6 address; port in host byte order. family 0: empty. */
struct conf_addr {
	uint8_t family;	   /* AF_INET or AF_INET6 */
	uint8_t bytes[16]; /* network order, IPv4 in the first four */
	uint32_t scope;	   /* interface index of an IPv6 link-local address */
};

struct conf_server {
	char name[CONF_NAME];
	uint8_t kind; /* enum server_kind */
	uint8_t n_paths;
	struct conf_addr path[CONF_PATHS];
	uint16_t port;
	int32_t priority;
	uint8_t key_status[32]; /* public X25519 keys of its identity */
	uint8_t key_data[32];
	uint8_t data_compress; /* of what main sends it */
	int64_t data_limit;    /* bytes per second of that, 0: none */
};

struct conf_reference {
	struct conf_addr addr;
};

struct conf_hook {
	char command[CONF_COMMAND]; /* absolute path and arguments, split at blanks; empty: none */
	uint32_t uid, gid;	    /* resolved by the parser */
	int64_t timeout_ms;
	uint8_t on_failure; /* enum hook_failure */
};

struct conf_check {
	char name[CONF_NAME];
	char command[CONF_COMMAND];
	uint32_t uid, gid;
	int64_t interval_ms, timeout_ms;
	uint16_t rise, fall;
};

/* Everything that is not a list. */
struct conf_general {
	char group[CONF_NAME];
	uint8_t self; /* index of this server */
	uint8_t n_servers, n_references, n_checks;
	/* status links */
	int64_t status_interval_ms; /* a status message on every link */
	uint16_t status_misses;	    /* silent after this many intervals */
	int64_t dial_timeout_ms;    /* SYN unanswered */
	int64_t hello_timeout_ms;   /* handshake unanswered */
	int64_t restart_grace_ms;   /* reset link, redial accepted: partner's child restarts */
	/* ICMP */
	int64_t icmp_interval_ms;
	uint16_t icmp_misses;
	/* arbitration */
	uint8_t mode;	      /* enum arbitration_mode */
	int64_t hold_ms;      /* since partner last heard, before a take-over by references */
	int64_t step_down_ms; /* main: neither partner nor references heard for this long */
	int64_t confirm_ms;   /* "offline" partner, before a take-over; CONF_NEVER */
	int64_t join_ms;      /* start-up: wait for the answers of partners */
	int64_t lease_ms, renew_ms, watchdog_ms; /* voters */
	/* role */
	uint8_t observe; /* decides, logs, does nothing */
	int64_t handover_timeout_ms;
	int64_t flap_window_ms;	  /* takeovers counted in this window ... */
	int64_t flap_hold_max_ms; /* ... make the hold grow, up to this */
	uint8_t sync_mode;	  /* enum sync_mode */
	uint16_t sync_standbys;	  /* that have a change on disk before its answer, in mode sync */
	int64_t sync_bound_ms;	  /* "in sync" must be younger than this */
	uint64_t sync_bound_items;
	/* replicated data */
	int64_t data_size;	     /* bytes that the state may take (address space) */
	int64_t data_backlog;	     /* bytes of the log: how far behind a partner may be */
	int64_t data_backlog_age_ms; /* a change leaves the log after so long; CONF_NEVER */
	int64_t data_bulk;	     /* longest key or value in a request */
	uint8_t data_flush;	     /* 1: FLUSHALL is allowed */
	int64_t data_action_ms;	     /* time-out of an action that names none */
	uint32_t data_gid;	     /* group that may use the data socket */
	uint8_t data_mode;	     /* enum socket_mode: who may connect to it */
	uint8_t n_data_readers;
	uint32_t data_reader[CONF_READERS]; /* users who may only read */
	/* admission on the incoming port */
	uint16_t slots;	      /* connections in the hello phase, all sources */
	uint16_t burst, rate; /* token bucket per source: hellos, hellos per second */
	uint8_t realtime;     /* 1: rows marked so in roles.def get a real-time priority */
	/* process and file settings; these need a restart */
	char state_dir[CONF_COMMAND];	       /* keys, role state, ledger */
	char run_dir[CONF_COMMAND];	       /* admin socket, pid file, empty root */
	uint32_t admin_gid;		       /* group that may use the admin socket */
	uint32_t uid[PROC_MAX], gid[PROC_MAX]; /* 0: look up the user of roles.def */
};

struct conf {
	struct conf_general general;
	struct conf_server server[CONF_SERVERS];
	struct conf_reference reference[CONF_REFERENCES];
	struct conf_hook hook[HOOK_MAX];
	struct conf_check check[CONF_CHECKS];
	uint8_t digest[16]; /* BLAKE2b of what partners must agree on (conf_digest) */
};

struct msg;

/*
 * Encode one section into a message that was begun with the matching CONF_* type. Lists are sent
 * one element per message, index first.
 */
void conf_put_general(struct msg *m, const struct conf_general *g);
void conf_put_server(struct msg *m, uint8_t index, const struct conf_server *s);
void conf_put_reference(struct msg *m, uint8_t index, const struct conf_reference *r);
void conf_put_hook(struct msg *m, uint8_t index, const struct conf_hook *h);
void conf_put_check(struct msg *m, uint8_t index, const struct conf_check *c);

/*
 * Feed one CONF_* message of any type into c. Returns 0, or -1 when it is malformed: ranges,
 * strings (printable, no NUL in them) and the exact end are checked. The receiver of a whole config
 * (supervisor, children) calls this for every message and conf_check at the end.
 */
int conf_apply(struct conf *c, struct msg *m);

/* Defaults of every option. */
void conf_defaults(struct conf *c);

/*
 * Check everything that can be wrong between options (self unknown, hold and step-down that
 * overlap, duplicate addresses...). Returns 0, or -1 with a sentence in error that names the
 * option, what was found and what is expected. A process that was sent no checks at all (netd,
 * icmpd, syncd, bulkheadctl) may call it too.
 */
int conf_check_all(const struct conf *c, char *error, size_t size);

/*
 * Digest of what all servers of a group must agree on: group, servers in any order, status timing,
 * arbitration. Not self, references, hooks, checks, scopes of addresses.
 */
void conf_digest(const struct conf *c, uint8_t out[16]);

/*
 * Digest of all values that a process is sent, timings, hooks and file settings too: what to must
 * have, given c; and what it has, made by itself from its own copy.
 */
void conf_digest_values(const struct conf *c, enum process to, uint8_t out[16]);

/*
 * The first option whose change from old to new needs a restart of the daemon ("run",
 * "user.netd"), or NULL when a reload is enough.
 */
const char *conf_restart_option(
    const struct conf *old, const struct conf *new, char *buf, size_t size);

/* Text of an address ("192.0.2.1", "2001:db8::1"); never NULL. */
const char *conf_addr_text(const struct conf_addr *a, char *buf, size_t size);
/* Fill a sockaddr for the address and port; returns its length. */
socklen_t conf_addr_sockaddr(const struct conf_addr *a, uint16_t port, struct sockaddr_storage *ss);
const char *server_kind_name(unsigned kind);
const char *arbitration_name(unsigned mode);
const char *hook_name(unsigned kind);
/* 1 when that user may only read the data. */
int conf_reads_only(const struct conf_general *g, uint32_t uid);
/* 1 when a name of a group, server or check: letters, digits, dot, dash, underscore. */
int conf_name_valid(const char *name);

/* bh1... public identity: text of the two public keys with a check value, and back (0 or -1). */
enum { IDENTITY_TEXT = 128 };
void identity_encode(const uint8_t status[32], const uint8_t data[32], char out[IDENTITY_TEXT]);
int identity_decode(const char *text, uint8_t status[32], uint8_t data[32]);

#endif
