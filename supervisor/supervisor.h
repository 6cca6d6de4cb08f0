/* SPDX-License-Identifier: ISC */
/*
 * The supervisor: root, few capabilities, no outside bytes. Opens sockets, starts and watches the
 * sandboxed processes, reloads, hands hooks to the runner. One struct for the whole process; each
 * file owns the functions of its section.
 */
#ifndef BH_SUPERVISOR_H
#define BH_SUPERVISOR_H

#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "../lib/channel.h"
#include "../lib/conf.h"
#include "../lib/log.h"
#include "../lib/loop.h"
#include "../policy/sandbox.h"
#include "backoff.h"
#include "bucket.h"
#include "dispute.h"
#include "transaction.h"

enum {
	N_CHILDREN = 5, /* netd, icmpd, roled, keyd, syncd */
	TICK_MS = 500,
	READY_MS = 5000,
	CONFIGURE_MS = 2000, /* answer to PREPARE, at a start and at a reload */
	SILENT_MS = 2000,
	SILENT_DISK_MS = 10000,	   /* syncd: a sync of a slow disk stands in its way */
	CONFIGURE_DISK_MS = 60000, /* ... and at its start the log of changes is applied */
	STALL_MS = 1000,       /* a gap of our own that is longer says nothing about the children */
	STOP_CHILD_MS = 1000,  /* from STOP to SIGKILL for all but roled */
	STOP_MARGIN_MS = 2000, /* on top of the hand-over time-out */
	PARSER_MS = 5000,
	LINGER_MS = 200, /* from the end of its channel to its own end */
	/* of one child in a second; what it says is held back long before */
	LOG_FLOOD_BYTES = 1 << 20,
	COOKIES = 16,	      /* PINGs that may be unanswered: then no more are sent */
	MESSAGE_BURST = 2000, /* of one child: far above 30 dials that all fail at once */
	MESSAGE_RATE = 500,
	LISTENERS = CONF_PATHS,
	TARGETS = CONF_SERVERS * CONF_PATHS + CONF_REFERENCES,
};

/* ---- log: logger.c */

/* Log pipe of a child: lines are made printable, bounded, and tagged with its name and pid. */
struct log_pipe {
	uv_poll_t *poll; /* NULL: not watched */
	int fd;		 /* -1: none */
	enum process process;
	pid_t pid;
	uint8_t flooded; /* somebody has been told, see log_pipe_open() */
	void (*flood)(enum process process);
	size_t len;
	char line[LOG_LINE_MAX];
	uint8_t cut; /* rest of an overlong line is dropped */
	struct bucket bucket;
	uint64_t held;
	int64_t second_ms; /* bytes are counted since then */
	size_t second_bytes;
};

/* Log to stderr (foreground) or to the system log, later both to the system log only. */
void logger_init(int foreground);
/* Daemon is up: stderr is given back, the system log stays. */
void logger_detach(void);
/*
 * Read a child's pipe in loop until its end; the fd becomes the log's. flood is called once, when
 * it has written more than LOG_FLOOD_BYTES in a second.
 */
void log_pipe_open(struct log_pipe *p, uv_loop_t *loop, int fd, enum process process, pid_t pid,
    void (*flood)(enum process process));
/* Read what is left without waiting, then close. */
void log_pipe_close(struct log_pipe *p);

/* ---- starting a process: spawn.c */

enum { SPAWN_FDS = 16 };
struct spawn {
	enum process process;
	uint32_t generation;
	uid_t uid;
	gid_t gid;
	int realtime;
	int root_fd;	   /* directory that becomes its root: empty, but for syncd */
	int fd[SPAWN_FDS]; /* fd number in the child -> ours; -1: closed there */
};

/* Everything -1 and zero. */
void spawn_init(struct spawn *s, enum process process);
/*
 * Fork and exec in the order of entering. Returns the pid, or -1 (logged). *log_fd: its log pipe.
 */
pid_t spawn_process(const struct spawn *s, int *log_fd);
/* Are all programs there? -1 and one line that names the missing one. */
int spawn_check_programs(int parser_only);
/* Users of the children: from c, else by the name of roles.def. Returns 0 or -1 (logged). */
int spawn_find_users(const struct conf *c);

/* ---- configuration: conffile.c */

struct config_job;
/* error NULL: c is good. Called once; the job is gone afterwards. */
typedef void config_done(const struct conf *c, const char *error);
/* Start the parser on the config file; done is called from the loop. */
void config_parse(uv_loop_t *loop, config_done *done);
/* The same on a loop of its own: start-up and -n. Returns 0 with *c, or -1 (logged). */
int config_parse_now(struct conf *c);
/* Errors in the file that the last run named, each with its line in the log. */
unsigned config_errors_logged(void);
/* A process was reaped: was it the parser? 1 or 0. */
int config_reaped(pid_t pid, int status);
/* Do two configs say the same? Compared as they are sent. */
int config_same(const struct conf *a, const struct conf *b);
/* Send the parts of c that this process gets. Returns 0 or -1 (channel broken). */
int config_send(struct channel *to, const struct conf *c);

/* ---- files: files.c */

/* Directories, pid file, key files, state files, admin socket. Returns 0 or -1 (logged). */
int files_open(const struct conf *c);
/*
 * Another Unix socket at the same path, for the next generation of roled or syncd: what a hijacked
 * one did to its listener ends with it. Where that fails (logged) the old one stays.
 */
void files_renew_socket(enum process process, const struct conf *c);
/* A reload changed who may connect to the data socket. */
void files_update_data_socket(const struct conf_general *old, const struct conf_general *new);
/* An unlinked directory: empty root of a parser that runs before the config is known. */
int files_temporary_root(void);
/* Pid file and admin socket go. */
void files_remove(void);

/* ---- processes: processes.c */

enum proc_step {
	STEP_NONE,	/* not running */
	STEP_SPAWNED,	/* READY outstanding */
	STEP_HELD,	/* ready, waits for the end of a reload */
	STEP_PREPARING, /* PREPARED outstanding */
	STEP_UP,
};

struct proc {
	enum process process;
	enum proc_step step;
	enum process_state state;
	pid_t pid;
	uint32_t generation, restarts;
	uint8_t layers;
	int last_status;
	int64_t since_ms;	  /* of state */
	int64_t deadline_ms;	  /* of step; 0: none */
	int64_t up_ms;		  /* COMMIT sent; 0: never in this generation */
	int64_t heard_ms;	  /* last PONG */
	uint64_t cookie[COOKIES]; /* of the last PINGs, not to be guessed; 0: answered */
	unsigned next_cookie;
	uint8_t asked; /* PREPARE outstanding */
	uint8_t stop_sent;
	uint8_t demoted; /* realtime.c: normal scheduling for now */
	unsigned busy_ticks;
	int64_t cpu_us, cpu_at_us; /* at the last tick, of cpu_pid */
	pid_t cpu_pid;
	uint8_t ever_up;
	int64_t started_ms;
	enum offence killed_for; /* what this generation is being killed for */
	uint8_t digest[16];	 /* of what it runs with, by its last PONG */
	uint8_t config;		 /* enum process_config, of that */
	struct backoff backoff;
	struct bucket messages; /* that it may send us */
	struct channel control;
	struct log_pipe log;
	uv_timer_t retry;
};

extern const enum process children[N_CHILDREN];
struct proc *proc_of(enum process process); /* NULL: not a child */
/* Set up the table and start everybody. */
void processes_start(void);
/* Reap all that have ended. */
void processes_reap(void);
/* Send to a child; a full queue or a broken channel kills it. Closed channel: nothing. */
void proc_send(struct proc *p, struct msg *m);
/* One of any process, for status; returns how many it has now. */
unsigned process_offended(enum process process, enum offence offence);
/* PREPARE went out to this child, its answer is allowed. */
void proc_ask_prepare(struct proc *p, const struct conf *c, uint64_t serial);
/* COMMIT or ABORT. */
void proc_decide(struct proc *p, enum message_type decision, uint64_t serial);
/* A reload has ended: those that waited for it get their config. */
void processes_release_held(void);
/* Is a child between READY and COMMIT of its start? */
int processes_configuring(void);
/* Ordered stop: roled hands over, then the rest. Exit code of the supervisor at the end. */
void processes_stop(int exit_code);
void processes_stop_now(int exit_code);
void processes_dump(void);
/* The config in force is another one: what was said of that before does not count. */
void processes_forget_configs(void);
/* The runner has said what it runs with. */
void processes_runner_config(const uint8_t digest[16]);
/* Next step of a stop that is under way, after anything that it waits for. */
void processes_stop_continue(void);

/* ---- real-time scheduling: realtime.c */

/* This process itself, but nothing that it forks. Quietly does nothing where it is not allowed. */
void realtime_self(void);
/* Once a tick: demote a child that keeps a CPU busy, and back. */
void realtime_watch(struct proc *p);

/* ---- channel matrix: channels.c */

/* Ends for a process about to be started: fills spawn.fd[FD_EDGE(...)] and tells running peers. */
int channels_connect(struct spawn *s);
/* The ends in s were inherited (or the start failed): ours are closed. */
void channels_release(struct spawn *s);
/* A process ended: ends kept for its peers are worthless. */
void channels_drop(enum process process);
/* Two that run get a fresh channel to each other; 0 or -1. Nothing while one of them is down. */
int channels_renew(enum process a, enum process b);
/* May these two talk to each other? */
int channels_edge(enum process a, enum process b);

/* ---- sockets: sockets.c */

/*
 * Listening sockets of c, aside; returns 0 or -1 with a sentence in error. first: nobody else may
 * listen.
 */
int sockets_prepare(const struct conf *c, int first, char *error, size_t size);
/* Use what was prepared (1), or forget it (0). */
void sockets_decide(int commit);
/* netd is up: it gets all listeners. icmpd is up: all targets. */
void sockets_send_listeners(struct proc *netd);
void sockets_send_targets(struct proc *icmpd);
/* netd has ended: its listeners may be poisoned, make fresh ones before the old are closed. */
void sockets_renew_listeners(void);
/* icmpd has ended, or the config changed: make targets anew or as far as they changed. */
void sockets_reset_targets(void);
void sockets_update_targets(void);
/* Open targets that could not be opened before (no address or route yet). */
void sockets_retry_targets(void);
/* DIAL of netd. Returns 0, or -1 when the message is out of range. */
int sockets_dial(struct proc *netd, struct msg *m);
void sockets_dump(void);

/* ---- reload: reload.c */

void reload_request(void);
/* The same, asked by roled for an administrator: once a second is enough. */
void reload_request_bounded(void);
void reload_answer(enum process process, uint64_t serial, enum refusal reason, uint8_t index);
const char *refusal_text(enum refusal reason); /* never NULL */
void reload_child_died(enum process process);
/* A child's start has come to an end: a reload may have waited for it. */
void reload_poke(void);
int reload_preparing(void);
/* The daemon is about to stop: the old config stays, and those that were asked are told so. */
void reload_cancel(void);
void reload_report_last(struct proc *roled);
uint64_t reload_serial(void);

/* ---- hooks: actions.c (supervisor's side), runner.c (the process) */

int actions_start_runner(void); /* before capabilities are dropped */
void actions_attach(void);
void actions_send_config(const struct conf *c);
int actions_request(struct proc *roled, struct msg *m);
void actions_runner_ended(int status);
void actions_stop_runner(void);
/* Every tick: ask the runner whether it lives; one that hangs runs no hook, and is killed. */
void actions_watch_runner(int64_t now, int stalled);
int actions_busy(void); /* hooks run or wait */
/* A new roled gets the state of all health checks. */
void actions_report_checks(void);
extern pid_t runner_pid;
void runner_main(int fd, int log_fd, pid_t supervisor) __attribute__((noreturn));

/* ---- the process: main.c */

struct supervisor {
	uv_loop_t *loop;
	const char *config_path; /* absolute */
	const char *libexec;
	int foreground;
	int degraded;
	uint64_t instance; /* random, of this start */
	int64_t started_ms;
	struct conf conf; /* in force */
	int empty_fd;	  /* empty root of the children ... */
	int store_fd;	  /* ... but for syncd: the folder of the data */
	int null_fd;
	int state_fd, ledger_fd, admin_fd, data_fd, key_status_fd, key_data_fd;
	uid_t uid[PROC_MAX]; /* of the children */
	gid_t gid[PROC_MAX];
	int stopping;
	int exit_code;
};
extern struct supervisor sup;
/* All children have been up once: the waiting shell is told. */
void supervisor_is_up(void);
/* Everything has ended. */
void supervisor_end(int exit_code) __attribute__((noreturn));
/* A start that can never work: one line has been logged. */
void supervisor_give_up(int exit_code);

#endif
