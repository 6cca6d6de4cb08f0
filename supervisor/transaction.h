/* SPDX-License-Identifier: ISC */
/*
 * The state machine of a reload: who has been asked, who has answered, what follows. Pure: the
 * caller sends the messages and keeps the time.
 */
#ifndef BH_SUPERVISOR_TRANSACTION_H
#define BH_SUPERVISOR_TRANSACTION_H

#include <stdint.h>

enum transaction_phase {
	TRANSACTION_IDLE,
	TRANSACTION_PARSING,   /* the parser reads the file */
	TRANSACTION_WAITING,   /* parsed; a child is still starting with the old config */
	TRANSACTION_PREPARING, /* children have been asked */
};

enum transaction_next {
	NEXT_NOTHING, /* wait, or nothing was changed */
	NEXT_PARSE,   /* start the parser */
	NEXT_COMMIT,  /* all have agreed */
	NEXT_ABORT,   /* tell those that were asked */
};

struct transaction {
	enum transaction_phase phase;
	uint64_t serial;  /* of the config in force; the one asked for is serial + 1 */
	uint32_t asked;	  /* bit per process: PREPARE sent */
	uint32_t waiting; /* bit per process: its answer is outstanding */
	int again;	  /* a request came meanwhile */
};

/* A reload is asked for: NEXT_PARSE, or it is remembered. */
enum transaction_next transaction_request(struct transaction *t);
/* The file is good; hold while a child is starting. */
void transaction_parsed(struct transaction *t);
/* Children in mask are asked now. Returns NEXT_COMMIT when there are none. */
enum transaction_next transaction_prepare(struct transaction *t, uint32_t mask);
/*
 * An answer. NEXT_ABORT for a refusal, NEXT_COMMIT for the last agreement, NEXT_NOTHING otherwise
 * and for answers that nobody waits for.
 */
enum transaction_next transaction_answer(
    struct transaction *t, unsigned process, uint64_t serial, int agrees);
/* A process ended. NEXT_ABORT when it had been asked. */
enum transaction_next transaction_died(struct transaction *t, unsigned process);
/*
 * It is over (committed: the serial moves on). Returns NEXT_PARSE when another request was
 * remembered: the caller starts the parser again.
 */
enum transaction_next transaction_end(struct transaction *t, int committed);

#endif
