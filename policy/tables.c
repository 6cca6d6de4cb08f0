/* SPDX-License-Identifier: ISC */
/*
 * promises.def, denied.def, supervisor.def and roles.def as data.
 */
#include "config.h"

#include <string.h>

#include "policy.h"

#ifdef __linux__ /* elsewhere the words of the promises are all there is: pledge.c */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* Linux numbers that an old C library's headers may lack. */
#ifndef MADV_DODUMP
#define MADV_DODUMP 17
#endif

#define ANY                                                                                        \
	{                                                                                          \
		{                                                                                  \
			.op = CONDITION_NONE                                                       \
		}                                                                                  \
	}
#define IF(...)                                                                                    \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}
#define EQUALS(n, value)                                                                           \
	{                                                                                          \
		.op = CONDITION_EQUALS, .arg = (n), .a = (uint32_t)(value)                         \
	}
#define BITS(n, must, may)                                                                         \
	{                                                                                          \
		.op = CONDITION_BITS, .arg = (n), .a = (uint32_t)(must), .b = (uint32_t)(may)      \
	}
#define FDS(n, first, last)                                                                        \
	{                                                                                          \
		.op = CONDITION_FDS, .arg = (n), .a = (uint32_t)(first), .b = (uint32_t)(last)     \
	}
#define NULL_AT(n)                                                                                 \
	{                                                                                          \
		.op = CONDITION_NULL, .arg = (n)                                                   \
	}
#define SELF(n)                                                                                    \
	{                                                                                          \
		.op = CONDITION_SELF, .arg = (n)                                                   \
	}

static const struct allowed_call promises[] = {
#define PROMISE(word, text)
#define CALL(word, name, conditions, reason) {#word, #name, conditions, reason},
#include "promises.def"
#undef PROMISE
#undef CALL
};

static const struct allowed_call supervisor[] = {
#define ALLOW(name, conditions, reason) {"supervisor", #name, conditions, reason},
#include "supervisor.def"
#undef ALLOW
};

#ifdef BH_SANITIZERS
static const struct allowed_call sanitizer[] = {
#define ALLOW(name, conditions, reason) {"sanitizer", #name, conditions, reason},
#include "sanitizer.def"
#undef ALLOW
};
#endif

/* The words of denied.def. */
enum { KILL = DENIAL_KILL, NOSYS = DENIAL_ENOSYS, ALWAYS = 1, ROLE = 0 };
static const struct denied_call denied[] = {
#define DENY(name, answer, from, reason) {#name, answer, from, reason},
#include "denied.def"
#undef DENY
};

#endif

static const struct promise_word words[] = {
#define PROMISE(word, text) {#word, text},
#define CALL(word, name, conditions, reason)
#include "promises.def"
#undef PROMISE
#undef CALL
};

static const struct role_row roles[] = {
#define ROLE(id, name, what, user, promises, fds, nofile, as_mib, memlock_kib, realtime)           \
	{PROC_##id, name, what, user, promises, fds, nofile, as_mib, memlock_kib, realtime},
#include "roles.def"
#undef ROLE
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
const struct policy policy = {
    .words = words,
    .n_words = COUNT(words),
#ifdef __linux__
    .promises = promises,
    .n_promises = COUNT(promises),
    .supervisor = supervisor,
    .n_supervisor = COUNT(supervisor),
#ifdef BH_SANITIZERS
    .sanitizer = sanitizer,
    .n_sanitizer = COUNT(sanitizer),
#endif
    .denied = denied,
    .n_denied = COUNT(denied),
#endif
    .roles = roles,
    .n_roles = COUNT(roles),
};

int
policy_has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	while (*list != '\0') {
		size_t len = strcspn(list, " ");

		if (len == n && strncmp(list, word, n) == 0)
			return 1;
		list += len;
		list += strspn(list, " ");
	}
	return 0;
}

const struct denied_call *
policy_denied(const struct policy *p, const char *name)
{
	for (size_t i = 0; i < p->n_denied; i++) {
		if (strcmp(p->denied[i].name, name) == 0)
			return &p->denied[i];
	}
	return NULL;
}

/*
 * A range of numbers as aligned blocks: 3..11 is 3, 4..7 and 8..11.
 */
static size_t
range_blocks(uint32_t first, uint32_t last, struct block out[POLICY_BLOCKS])
{
	uint64_t at = first;
	size_t n = 0;

	while (at <= last && n < POLICY_BLOCKS) {
		uint64_t size = 1;

		while ((at & (2 * size - 1)) == 0 && at + 2 * size - 1 <= last)
			size *= 2;
		out[n].mask = UINT32_MAX & ~(size - 1);
		out[n++].value = at;
		at += size;
	}
	return at > last ? n : 0;
}

size_t
policy_blocks(const struct condition *c, uint32_t self, struct block out[POLICY_BLOCKS])
{
	switch ((enum condition_op)c->op) {
	case CONDITION_NONE:
		break;
	case CONDITION_EQUALS:
		out[0] = (struct block){UINT32_MAX, c->a};
		return 1;
	case CONDITION_BITS:
		out[0] = (struct block){UINT32_MAX & ~(uint64_t)c->b, c->a};
		return 1;
	case CONDITION_FDS:
		return range_blocks(c->a, c->b, out);
	case CONDITION_NULL:
		out[0] = (struct block){UINT64_MAX, 0};
		return 1;
	case CONDITION_SELF:
		out[0] = (struct block){UINT32_MAX, self};
		return 1;
	}
	return 0;
}

const struct role_row *
role_row(enum process p)
{
	for (size_t i = 0; i < COUNT(roles); i++) {
		if (roles[i].process == p)
			return &roles[i];
	}
	return NULL;
}
