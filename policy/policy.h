/* SPDX-License-Identifier: ISC */
/*
 * Inside of policy/: the tables of promises.def, denied.def and supervisor.def as data, and what
 * seccomp.c, landlock.c, privdrop.c and sigsys.c offer to sandbox.c, to the lint, to the page
 * generator and to the tests. Other folders use sandbox.h.
 */
#ifndef BH_POLICY_POLICY_H
#define BH_POLICY_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "sandbox.h"

enum {
	POLICY_CONDITIONS = 3,	 /* most conditions on one line */
	POLICY_BLOCKS = 32,	 /* most (mask, value) pairs a condition comes to */
	POLICY_NUMBER_MAX = 599, /* highest system call number that gets a rule of its own */
};

/*
 * A condition on one argument. The kernel compares 64-bit registers while the calls take ints, so
 * all but IS_NULL look at the low 32 bits only: an upper half cannot turn a match into something
 * else, and what does not match is refused.
 */
enum condition_op {
	CONDITION_NONE,
	CONDITION_EQUALS, /* a */
	CONDITION_BITS,	  /* all bits of a, any of b, no other */
	CONDITION_FDS,	  /* a descriptor from a to b */
	CONDITION_NULL,	  /* a null pointer, all 64 bits */
	CONDITION_SELF,	  /* own process id */
};
struct condition {
	uint8_t op;  /* enum condition_op */
	uint8_t arg; /* 0..5 */
	uint32_t a, b;
};

/* One line of promises.def, supervisor.def or sanitizer.def (word is the file's name there). */
struct allowed_call {
	const char *word;
	const char *name;
	struct condition condition[POLICY_CONDITIONS]; /* all must hold */
	const char *reason;
};
struct promise_word {
	const char *word;
	const char *text;
};

enum denial { DENIAL_KILL, DENIAL_ENOSYS };
/* One line of denied.def. */
struct denied_call {
	const char *name;
	uint8_t denial; /* enum denial */
	uint8_t always; /* 1: for the supervisor and from before the exec (stage 0); 0: for roles */
	const char *reason;
};

struct policy {
	const struct promise_word *words;
	size_t n_words;
	const struct allowed_call *promises;
	size_t n_promises;
	const struct allowed_call *supervisor;
	size_t n_supervisor;
	const struct allowed_call *sanitizer; /* none but in a build with sanitizers */
	size_t n_sanitizer;
	const struct denied_call *denied;
	size_t n_denied;
	const struct role_row *roles;
	size_t n_roles;
};
extern const struct policy policy;

/* 1 when the word is one of the words of list (separated by blanks). */
int policy_has_word(const char *list, const char *word);
/* The line of denied.def for a call, NULL when there is none. */
const struct denied_call *policy_denied(const struct policy *p, const char *name);

/* A condition as masked comparisons: it holds when one of them does. */
struct block {
	uint64_t mask, value;
};
/* Returns how many of out were filled; 0 for a condition that is none. self: own process id. */
size_t policy_blocks(const struct condition *c, uint32_t self, struct block out[POLICY_BLOCKS]);

/* mismatch.c: comparisons of single arguments that none of the n lines of one call allows. */
enum { MISMATCH_RULES = 96, POLICY_LINES = 16 };
struct mismatch {
	size_t n;
	struct {
		unsigned arg;
		int op; /* enum scmp_compare */
		uint64_t a, b;
	} rule[MISMATCH_RULES];
};
void policy_mismatch(
    const struct allowed_call *const *lines, size_t n, uint32_t self, struct mismatch *out);

/* sandbox.c: log "sandbox: what: error" and _exit(EXIT_SANDBOX). */
void sandbox_fail(const char *what) __attribute__((noreturn));
void sandbox_fail_errno(const char *what) __attribute__((noreturn));

/* privdrop.c: steps 10 to 15, each fatal when it fails. */
void privdrop_root(const struct sandbox_args *args);
void privdrop_ids(const struct sandbox_args *args);
void privdrop_prove(void);
void privdrop_tie(const struct sandbox_args *args);

/* landlock.c: close the file system. Layers in force (LAYER_LANDLOCK_*); 0: kernel has none; -1. */
int files_enter(enum process process);

/* seccomp.c. Filters are libseccomp's scmp_filter_ctx; NULL with errno on failure. */
enum filter_kind { FILTER_ROLE, FILTER_STAGE0, FILTER_SUPERVISOR };
void *filter_build(enum filter_kind kind, enum process role);
/* The program of a filter; out->filter is malloc'ed. Returns 0 or -1 with errno. */
struct sock_fprog;
int filter_export(void *ctx, struct sock_fprog *out);
/* Number of a call by name here, -1 when this architecture or build does not have it. */
int filter_number(const char *name);
/* 1 when some architecture has a call of that name. */
int filter_name_known(const char *name);
/* seccomp.c: load the role's filter. Returns 0, 1 when the kernel has no seccomp, -1 with errno. */
int calls_enter(enum process role);

/* sigsys.c: name every call that the filter traps. To be called before the filter is loaded. */
int sigsys_install(const char *who);

#endif
