/* SPDX-License-Identifier: ISC */
/*
 * A child on its own: the real program in its real sandbox, with the test as supervisor and as
 * roled. Used where the whole daemon would be in the way of the fault to be made.
 */
#ifndef BH_TESTS_FAKE_H
#define BH_TESTS_FAKE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/channel.h"
#include "lib/conf.h"

enum { FAKE_INBOX = 256 };

/* What must come has come after that, on a crowded machine too; nothing is told by how soon. */
enum { SOON_MS = 20000 };

struct fake {
	pid_t pid;  /* 0: waited for */
	int status; /* of wait, once it has ended */
	enum process process;
	struct channel control, roled;
	int syncd;		       /* our end of its channel to syncd, which says nothing */
	struct msg *inbox[FAKE_INBOX]; /* received and not asked for yet, in order */
	size_t n_inbox;
	int log; /* what it logs, a file */
	uint64_t serial;
};

/* 1 when the test can run at all (root); else says why on stderr. */
int fake_can_run(void);

/*
 * Start libexec/<name of process> of the build tree and wait for READY. nofile 0: as in roles.def.
 * Any failure here and below ends the test.
 */
void fake_start(struct fake *f, enum process process, unsigned nofile);
/* CONF_*, PREPARE, PREPARED, COMMIT. */
void fake_configure(struct fake *f, const struct conf *conf);
/* A config of n servers at 127.0.0.1, .2 ..., self 0, all with the same port and keys by index. */
void fake_conf(struct conf *conf, unsigned n, uint16_t port);

void fake_send(struct fake *f, struct channel *c, struct msg *m);
/* The next message of that type within ms, NULL when none comes; others stay in the inbox. */
struct msg *fake_expect(struct fake *f, enum message_type type, int ms);
void fake_free(struct msg *m); /* with its descriptor */
/* Read what has come, waiting at most ms for the first. */
void fake_poll(struct fake *f, int ms);
/* A new roled: the old end is closed, PEER carries the new one. */
void fake_new_roled(struct fake *f);
/* Wait for its end. Returns the wait status, -1 when it lives on after ms. */
int fake_wait_end(struct fake *f, int ms);
/* How often text is in the log. */
unsigned fake_log_count(struct fake *f, const char *text);
/* Kill and forget; a SIGSYS or a sanitizer report at any time before fails the test. */
void fake_stop(struct fake *f);

#endif
