/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl: what its files share. Unlike the daemon's processes this is a plain program of the
 * admin who runs it: stdio, no sandbox, no secrets but in keys.c.
 */
#ifndef BH_CTL_CTL_H
#define BH_CTL_CTL_H

#include <jansson.h>
#include <stdint.h>

#include "../lib/admin.h"
#include "../lib/channel.h"

/* Exit codes (bulkheadctl(8)); `check` has those of monitoring plugins. */
enum {
	CTL_EXIT_OK = 0,
	CTL_EXIT_FAILED = 1,	/* refused, or tried and failed */
	CTL_EXIT_USAGE = 2,	/* wrong command line */
	CTL_EXIT_NO_DAEMON = 3, /* the daemon cannot be reached or does not answer */
	CTL_EXIT_STALE = 4,	/* it answered, but with something old */
};
enum { CHECK_OK, CHECK_WARNING, CHECK_CRITICAL, CHECK_UNKNOWN };

enum {
	ANSWER_LINKS = 128,
	ANSWER_TIMEOUT_MS = 5000,
	STALE_MS = 3000, /* roled answers within milliseconds; see answer_stale() */
	PAUSE_MAX_MS = 7 * 86400 * 1000,
	PAUSE_DEFAULT_MS = 4 * 3600 * 1000,
};

/* Options of the command line that every command sees. */
struct options {
	const char *config; /* NULL: the default one, if it can be read */
	char state_dir[CONF_COMMAND], socket[CONF_COMMAND];
	int json;
	const char *command; /* as written, for messages */
};

/* Everything that one request can bring back. */
struct answer {
	int has_self, has_counters, has_general, has_data, has_end;
	struct ctl_self self;
	struct ctl_server server[CONF_SERVERS];
	struct ctl_link link[ANSWER_LINKS];
	struct ctl_process process[PROC_MAX];
	struct ctl_check check[CONF_CHECKS];
	struct ctl_reference reference[CONF_REFERENCES];
	struct ctl_counters counters;
	struct ctl_data data;
	struct ctl_data_partner data_partner[CONF_SERVERS];
	size_t n_data_partners, n_servers, n_links, n_processes, n_checks, n_references;
	struct conf conf;	 /* CTL_CONFIG */
	struct ctl_event *event; /* malloc'd */
	size_t n_events, max_events;
	uint8_t result; /* of CTL_END */
	char text[CTL_TEXT];
};

/* client.c: the connection. Errors are reported on stderr and end the program. */
struct client;
typedef int client_on_event(const struct ctl_event *e, void *user);
/* Connect and say hello. Returns NULL with a sentence in error when there is no daemon. */
struct client *client_open(const struct options *o, char *error, size_t size);
void client_close(struct client *c);
/*
 * Send m and collect the answer up to CTL_END into a (zeroed first). timeout_ms -1: none; on_event:
 * called for each event instead of keeping it, non-zero stops. Returns 0, or -1 with a sentence in
 * error.
 */
int client_ask(struct client *c, struct msg *m, int timeout_ms, struct answer *a,
    client_on_event *on_event, void *user, char *error, size_t size);
void answer_free(struct answer *a);
/* Age of the answer in milliseconds; 1 when it is so old that it says nothing about now. */
int64_t answer_age_ms(const struct answer *a);
int answer_stale(const struct answer *a);
/* Make text fit for terminals and JSON: valid UTF-8 without control characters, in place. */
void clean_text(char *text);

/* For commands: connect, ask without body, die with CTL_EXIT_NO_DAEMON when it does not work. */
struct client *client_open_or_die(const struct options *o);
void client_ask_or_die(struct client *c, struct msg *m, int timeout_ms, struct answer *a,
    client_on_event *on_event, void *user);
/* CTL_STATUS in one call. */
void ask_status(const struct options *o, struct answer *a);
/* The running config, and CTL_SELF for its source. */
void ask_config(const struct options *o, struct answer *a);
/*
 * Into the ledger: what is about to be done to the data, or was (enum data_deed). count: of keys or
 * operations; name: of a bundle, or "". Returns 0, or -1 with a sentence in error.
 */
int tell_deed(const struct options *o, enum data_deed deed, uint64_t count, const char *name,
    char *error, size_t size);
/* The same, what must not be done untold: dies. */
void tell_deed_or_die(
    const struct options *o, enum data_deed deed, uint64_t count, const char *name);
/* The same, what is done anyway: a failure is a line on stderr. */
void tell_deed_or_warn(
    const struct options *o, enum data_deed deed, uint64_t count, const char *name);
/* Print what CTL_END said and return the exit code for it. */
int finish_action(const struct options *o, const struct answer *a, const char *done);

/* find.c: what a command has to know of a config file. */
enum { NEEDS_SOCKET = 1, NEEDS_STATE = 2 };
/*
 * State and run directory of a config file. Returns those that it may name where it cannot be read
 * (NEEDS_*), with a sentence in error when the file is wrong; else 0.
 */
unsigned find_dirs(char *text, size_t len, char state_dir[CONF_COMMAND], char run_dir[CONF_COMMAND],
    char *error, size_t size);
/*
 * Fill in what the command line did not give. Exits when the config does not tell what is needed.
 */
void find_options(struct options *o, unsigned needs);

/* table.c */
enum { TABLE_COLUMNS = 12, TABLE_CELL = 80 };
struct table {
	size_t n_columns, n_rows;
	uint16_t right;				 /* bit per column: numbers */
	char (*cell)[TABLE_COLUMNS][TABLE_CELL]; /* row 0 has the headings */
};
void table_init(struct table *t, size_t n_columns, const char *const *headings, uint16_t right);
void table_row(struct table *t);
void table_set(struct table *t, size_t column, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Print and free; columns that are empty in all rows are left out. */
void table_print(struct table *t, FILE *out);

/* json.c */
json_t *json_status(const struct answer *a);
json_t *json_data(const struct answer *a);
json_t *json_event(const struct ctl_event *e);
/* Source and age, for every answer: boot_id, generation, age_ms, stale. */
void json_source(json_t *to, const struct answer *a);
/* Print and free. */
void json_print(json_t *j);
const char *hex_u64(uint64_t v, char buf[17]);
const char *hex_bytes(const uint8_t *bytes, size_t n, char *buf);

/* words.c */
const char *reload_word(unsigned result);
const char *process_word(unsigned state);
const char *config_word(unsigned config); /* enum process_config */
uint64_t process_offence_sum(const struct ctl_process *p);
const char *layers_text(unsigned layers, char *buf, size_t size);
const char *net_counter_name(unsigned counter);
/* "3h 12min", "-" for never (-1) */
const char *age_text(int64_t ms, char *buf);
/* "2026-11-20 14:03:01", local time */
const char *wall_text(int64_t wall_ms, char *buf, size_t size);

/* ports.c: pure */
enum { PORT_ROWS = 2 * CONF_SERVERS + CONF_REFERENCES };
struct port_row {
	const char *protocol; /* "tcp", "icmp" */
	uint16_t port;	      /* 0 with ICMP */
	char receiver[CONF_NAME];
	char addresses[160];
	char openers[CONF_SERVERS * CONF_NAME];
	const char *purpose;
};
/* The port table of the whole group. Returns the number of rows. */
size_t ports_table(const struct conf *c, struct port_row rows[PORT_ROWS]);

/* firewall.c: pure */
/*
 * The nftables rules of server self into buf. strict: everything else on the way in is refused,
 * too. Returns the length, or -1 when buf is too small.
 */
int firewall_rules(const struct conf *c, int strict, char *buf, size_t size);

/* bundle.c: a connection to the data socket of the daemon. */
int connect_data(const struct options *o);

/* check.c: the line of the plugin, pure; returns the exit code. */
int check_line(const struct answer *a, char *buf, size_t size);

/* Commands: argc and argv start with the name of the command. Return the exit code. */
int cmd_status(const struct options *o, int argc, char **argv);
int cmd_explain(const struct options *o, int argc, char **argv);
int cmd_events(const struct options *o, int argc, char **argv);
int cmd_switchover(const struct options *o, int argc, char **argv);
int cmd_promote(const struct options *o, int argc, char **argv);
int cmd_pause(const struct options *o, int argc, char **argv);
int cmd_resume(const struct options *o, int argc, char **argv);
int cmd_reload(const struct options *o, int argc, char **argv);
int cmd_hook(const struct options *o, int argc, char **argv);
int cmd_ports(const struct options *o, int argc, char **argv);
int cmd_firewall(const struct options *o, int argc, char **argv);
int cmd_check(const struct options *o, int argc, char **argv);
int cmd_drill(const struct options *o, int argc, char **argv);
int cmd_key(const struct options *o, int argc, char **argv);
int cmd_snapshot(const struct options *o, int argc, char **argv);
int cmd_bundle(const struct options *o, int argc, char **argv);
int cmd_data(const struct options *o, int argc, char **argv);
int cmd_init(const struct options *o, int argc, char **argv);
int cmd_keygen(const struct options *o, int argc, char **argv);

/* Report on stderr behind "bulkheadctl: " and exit with code. */
void die(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
/* Wrong arguments of a command: says what, and how to ask for help. */
void die_usage(const struct options *o, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));

#endif
