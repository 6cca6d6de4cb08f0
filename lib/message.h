/* SPDX-License-Identifier: ISC */
/*
 * One message between two processes of a server: a SOCK_SEQPACKET packet of a 4-byte header (u16
 * type, u16 zero) and a body of fixed-width little-endian fields. messages.def has every type.
 */
#ifndef BH_LIB_MESSAGE_H
#define BH_LIB_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "../policy/roles.h"

enum {
	MSG_SIZE_MAX = 16384, /* whole packet */
	MSG_HEADER = 4,
	MSG_FDS_MAX = 1,
};

#define P(name) (1U << PROC_##name)
#define CHILDREN (P(NETD) | P(ICMPD) | P(ROLED) | P(KEYD) | P(SYNCD))

enum channel_state { S_START = 1, S_RUN = 2, S_PREPARE = 4, S_STOP = 8, S_ANY = 15 };
enum message_flag { F_ONCE = 1, F_PERMIT = 2, F_SECRET = 4 };

enum message_type {
#define MESSAGE(name, number, from, to, min, max, fds, states, flags, text) MSG_##name = number,
#include "messages.def"
#undef MESSAGE
	MSG_TYPE_MAX = 128
};

/* Fields of messages that are enums; every receiver checks the range before use. */
enum link_kind { LINK_STATUS = 1, LINK_SYNC = 2, LINK_REQUEST = 3, LINK_KIND_MAX };
enum link_close {
	CLOSE_LOCAL,	   /* we closed it */
	CLOSE_FIN,	   /* the other end closed in order: its process or kernel said so */
	CLOSE_RESET,	   /* RST on a connection that was up */
	CLOSE_REFUSED,	   /* RST or ICMP refusal as the answer to our SYN */
	CLOSE_TIMEOUT,	   /* SYN unanswered within the dial time-out, or the kernel gave up */
	CLOSE_UNREACHABLE, /* no route, host or network unreachable */
	CLOSE_ERROR,	   /* anything else here (no descriptors, no memory) */
	CLOSE_MAX
};
/* What roled tells syncd of the group, and hears from it. */
/* Why changes of the replicated data are refused; DATA_DISK: until syncd is started again. */
enum data_trouble { DATA_WELL, DATA_FULL, DATA_DISK, DATA_TROUBLE_MAX };
enum data_role { DATA_NOBODY, DATA_MAIN, DATA_STANDBY, DATA_DMZ, DATA_ROLE_MAX };
enum data_role_flag {
	DATA_MAIN_HEARD = 1, /* the server that is main is heard */
	DATA_HAD_DATA = 2,   /* the group has data, as far as this server knows */
	DATA_ROLE_FLAGS = 3
};
enum data_flag {
	DATA_IN_SYNC = 1, /* had all of main's changes when main was last heard */
	DATA_BLANK = 2,	  /* has no data of any group */
	DATA_STALE = 4,	  /* main went on without it for longer than the bound */
	DATA_FLAGS = 7
};
enum target_kind { TARGET_PARTNER, TARGET_REFERENCE, TARGET_KIND_MAX };
enum probe_state { PROBE_UNKNOWN, PROBE_OK, PROBE_LOST, PROBE_STATE_MAX };
enum action {
	ACTION_HOOK,	  /* index: enum hook_kind to run for the present role */
	ACTION_HOOK_TEST, /* index: enum hook_kind; run with BULKHEAD_TEST=1 */
	ACTION_RELOAD,
	ACTION_MAX
};
enum action_result {
	RESULT_OK,
	RESULT_EXIT,	/* code: exit code, not 0 */
	RESULT_SIGNAL,	/* code: signal */
	RESULT_TIMEOUT, /* killed with its process group */
	RESULT_NONE,	/* no command configured */
	RESULT_FAILED,	/* could not be started, code: errno */
	RESULT_MAX
};
enum process_state {
	PROCESS_DOWN,
	PROCESS_STARTING,
	PROCESS_UP,
	PROCESS_BACKOFF,
	PROCESS_STATE_MAX
};
/* What a process was killed for, or refused. */
enum offence {
	OFFENCE_NONE,
	OFFENCE_PROTOCOL,
	OFFENCE_FLOOD,	/* of messages */
	OFFENCE_LOG,	/* a flood of lines */
	OFFENCE_DEAF,	/* its queue is full */
	OFFENCE_SILENT, /* PING unanswered */
	OFFENCE_CLOSED,
	OFFENCE_BROKEN, /* nothing can be sent to it */
	OFFENCE_ACCUSES,
	OFFENCE_NOT_READY,
	OFFENCE_NO_ANSWER,
	OFFENCE_REFUSED,
	OFFENCE_NO_STOP,
	OFFENCE_MAX
};
/* Does a process run the configuration that is in force? As it says itself. */
enum process_config { CONFIG_UNKNOWN, CONFIG_CURRENT, CONFIG_OTHER, PROCESS_CONFIG_MAX };
enum reload_result {
	RELOAD_DONE,
	RELOAD_UNCHANGED, /* the new file says the same */
	RELOAD_BAD_CONFIG,
	RELOAD_REFUSED, /* by the process named */
	RELOAD_TIMEOUT,
	RELOAD_DIED,	       /* the process named ended in the middle */
	RELOAD_RESTART_NEEDED, /* an option that needs a restart changed; text names it */
	RELOAD_RESULT_MAX
};
enum refusal {
	REFUSE_NONE,
	REFUSE_CONFIG,	   /* the messages do not form a config */
	REFUSE_KEY,	   /* keyd: key files unreadable; roled: self's key is not ours */
	REFUSE_RESOURCE,   /* descriptors, memory */
	REFUSE_STATE_FILE, /* roled: role state or ledger cannot be used */
	REFUSE_RUNNING,	   /* roled: a standard server that runs would be taken out */
	REFUSE_DATA,	   /* syncd: its data cannot be opened */
	REFUSE_MAX
};
enum net_counter {
	NET_ACCEPTED,
	NET_ADMITTED,
	NET_SLOTS_FULL,	   /* refused: too many in the hello phase */
	NET_RATE_LIMITED,  /* refused: token bucket of the source */
	NET_BAD_HELLO,	   /* refused: not a hello (magic, version, kind, length) */
	NET_BAD_TAG,	   /* refused: tag does not verify */
	NET_HELLO_TIMEOUT, /* refused: hello not complete in time */
	NET_OWNER_REFUSED, /* refused by roled */
	NET_DIALS,
	NET_DIALS_FAILED,
	NET_COUNTER_MAX
};
/* How an action of a local program ended (doc/data.md). */
enum control_end {
	CONTROL_DONE,	   /* the app answered */
	CONTROL_FAILED,	   /* the app said that it failed */
	CONTROL_LATE,	   /* unknown: an app had it and did not answer in time */
	CONTROL_APP_GONE,  /* unknown: the app that had it ended */
	CONTROL_ROLE_GONE, /* unknown: an app had it when this server ceased to be main */
	/* not executed */
	CONTROL_NO_APP,	    /* no app served it */
	CONTROL_NO_TIME,    /* no app had room for it in time */
	CONTROL_NO_ROOM,    /* too many waited */
	CONTROL_NOT_MAIN,   /* it waited when this server ceased to be main */
	CONTROL_NOT_WANTED, /* who asked for it went before an app was given it */
	CONTROL_END_MAX
};
/* What bulkheadctl does to the data itself, with roled's knowledge only. */
enum data_deed {
	DEED_RESTORE,  /* of a snapshot, begins */
	DEED_RESTORED, /* it is in place */
	DEED_APPLY,    /* of a bundle, begins */
	DEED_APPLIED,  /* so many operations of it were done */
	DEED_DISCARD,
	DEED_MAX
};
enum ctl_result {
	CTL_OK,
	CTL_REFUSED, /* not now or not so; text says why */
	CTL_DENIED,  /* peer uid may not */
	CTL_BAD,     /* malformed request */
	CTL_FAILED,  /* tried and failed */
	CTL_RESULT_MAX
};

/* A message being built or read. Reading never goes past the end: a failed get sets bad. */
struct msg {
	uint16_t type;
	uint8_t bad; /* put over the maximum, or get past the end */
	uint8_t n_fds;
	int fd;	    /* the one descriptor, or -1; owned by the message until taken */
	size_t len; /* of body */
	size_t pos; /* of reading */
	uint8_t body[MSG_SIZE_MAX - MSG_HEADER];
};

struct message_row {
	const char *name; /* NULL: no such type */
	uint32_t from, to;
	uint16_t min, max;
	uint8_t fds, states, flags;
};

/* Row of a type; NULL when there is none. */
const struct message_row *message_row(unsigned type);
const char *message_name(unsigned type);    /* never NULL */
const char *offence_text(unsigned offence); /* "it was silent"; never NULL */

void msg_begin(struct msg *m, enum message_type type);
void msg_put_u8(struct msg *m, uint8_t v);
void msg_put_u16(struct msg *m, uint16_t v);
void msg_put_u32(struct msg *m, uint32_t v);
void msg_put_u64(struct msg *m, uint64_t v);
void msg_put_i64(struct msg *m, int64_t v);
void msg_put_bytes(struct msg *m, const void *p, size_t n);
void msg_put_str(struct msg *m, const char *s); /* u16 length, bytes; no NUL */
void msg_put_fd(struct msg *m, int fd);		/* sent and kept: the caller still closes it */

uint8_t msg_get_u8(struct msg *m);
uint16_t msg_get_u16(struct msg *m);
uint32_t msg_get_u32(struct msg *m);
uint64_t msg_get_u64(struct msg *m);
int64_t msg_get_i64(struct msg *m);
void msg_get_bytes(struct msg *m, void *p, size_t n);
/*
 * Into a buffer of size bytes, NUL added; an embedded NUL or control byte, or a string that does
 * not fit, is bad.
 */
void msg_get_str(struct msg *m, char *buf, size_t size);
/* The rest of the body as a string; same rules. */
void msg_get_text(struct msg *m, char *buf, size_t size);
size_t msg_left(const struct msg *m);
/* ownership to the caller; -1 when there is none, or was no room for it */
int msg_take_fd(struct msg *m);
/* 0 when every get was in bounds and the body is used up exactly, else -1. */
int msg_end(const struct msg *m);

#endif
