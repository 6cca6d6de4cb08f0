/* SPDX-License-Identifier: ISC */
/*
 * The secrets. They lie in one sodium_malloc region: locked, out of core dumps, guard pages on both
 * sides, and without access rights but for the length of one computation.
 */
#include "keyd.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"

enum { SECRET = 32, HEX = 2 * SECRET, FILE_MAX = HEX + 2 };

struct secrets {
	uint8_t secret[KEY_COUNT][SECRET];
	char text[FILE_MAX]; /* a file while it is read */
};

static const char *const key_file[KEY_COUNT] = {
    [KEY_STATUS] = "status.key",
    [KEY_DATA] = "data.key",
};

static struct secrets *secrets;
static uint8_t public_keys[KEY_COUNT][SECRET];
static int present[KEY_COUNT];

static void
lock(void)
{
	if (sodium_mprotect_noaccess(secrets) != 0)
		fatal("cannot take the rights from the memory of the keys");
}

static void
unlock(void)
{
	if (sodium_mprotect_readwrite(secrets) != 0)
		fatal("cannot get the rights to the memory of the keys");
}

int
keys_init(void)
{
	secrets = sodium_malloc(sizeof(*secrets));
	if (secrets == NULL) {
		log_error("cannot lock memory for the keys: %s", strerror(errno));
		return -1;
	}
	log_on_fatal(keys_wipe);
	lock();
	return 0;
}

/* Is it what bulkheadctl keygen writes? Returns 0 or -1 (logged). */
static int
check_file(const char *name, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0) {
		log_error("%s cannot be read (%s); bulkheadctl keygen makes it", name,
		    errno == EBADF ? "it is not there" : strerror(errno));
		return -1;
	}
	if (!S_ISREG(st.st_mode) || (st.st_mode & 0077) != 0) {
		log_error("%s: mode is %04o, expected a regular file of mode 0400", name,
		    (unsigned)st.st_mode & 07777U);
		return -1;
	}
	return 0;
}

/* The file's text into a secret. Returns 0 or -1. The memory is unlocked. */
static int
parse_secret(enum key key, size_t len)
{
	const char *end;
	size_t n;

	if (len < HEX || len > HEX + 1 || (len == HEX + 1 && secrets->text[HEX] != '\n'))
		return -1;
	if (sodium_hex2bin(secrets->secret[key], SECRET, secrets->text, HEX, NULL, &n, &end) != 0 ||
	    n != SECRET || end != secrets->text + HEX)
		return -1;
	/* an empty disk block is no key */
	if (sodium_is_zero(secrets->secret[key], SECRET))
		return -1;
	return crypto_scalarmult_base(public_keys[key], secrets->secret[key]);
}

int
keys_read(enum key key, int fd)
{
	size_t len = 0;
	ssize_t n = 0;

	present[key] = 0;
	if (check_file(key_file[key], fd) != 0) {
		close(fd);
		return -1;
	}
	unlock();
	while (len < sizeof(secrets->text)) {
		n = pread(fd, secrets->text + len, sizeof(secrets->text) - len, (off_t)len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (n < 0)
		log_error("%s: %s", key_file[key], strerror(errno));
	else if (parse_secret(key, len) == 0)
		present[key] = 1;
	else
		log_error("%s: not a key: expected one line of 64 hex digits", key_file[key]);
	sodium_memzero(secrets->text, sizeof(secrets->text));
	if (!present[key])
		sodium_memzero(secrets->secret[key], SECRET);
	lock();
	close(fd);
	return present[key] ? 0 : -1;
}

int
keys_public(enum key key, uint8_t out[32])
{
	if (!present[key])
		return -1;
	memcpy(out, public_keys[key], SECRET);
	return 0;
}

int
keys_dh(enum key key, const uint8_t public_key[32], uint8_t shared[32])
{
	int r = -1;

	if (present[key]) {
		unlock();
		r = crypto_scalarmult(shared, secrets->secret[key], public_key);
		lock();
	}
	if (r != 0)
		sodium_memzero(shared, SECRET);
	return r;
}

void
keys_wipe(void)
{
	struct secrets *s = secrets;

	/* first: a failure in here comes back by way of fatal() */
	secrets = NULL;
	memset(present, 0, sizeof(present));
	if (s != NULL)
		sodium_free(s); /* gives access, wipes, unmaps */
}
