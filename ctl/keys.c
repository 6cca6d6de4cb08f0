/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl keygen and key: the two X25519 keys of this server, one file each, and the public
 * identity made of both. Secrets stay in locked memory and are wiped on every path.
 */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET = 32, HEX = 2 * SECRET, KEYS = 2 };
static const char *const files[KEYS] = {"status.key", "data.key"};

/* One key, in memory of sodium_malloc(). */
struct secret {
	uint8_t key[SECRET];
	char text[HEX + 2]; /* hex digits, newline, NUL */
};

/* Wipe, then report: a secret never outlives the program by an error path. */
#define DIE(s, ...)                                                                                \
	do {                                                                                       \
		sodium_free(s);                                                                    \
		die(CTL_EXIT_FAILED, __VA_ARGS__);                                                 \
	} while (0)

static struct secret *
secret_new(void)
{
	struct secret *s;

	if (sodium_init() == -1)
		die(CTL_EXIT_FAILED, "libsodium cannot be used");
	s = sodium_malloc(sizeof(*s));
	if (s == NULL)
		die(CTL_EXIT_FAILED, "cannot get locked memory: %s", strerror(errno));
	return s;
}

static int
open_state(const struct options *o)
{
	int dir = open(o->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir == -1)
		die(CTL_EXIT_FAILED, "%s: %s%s", o->state_dir, strerror(errno),
		    errno == ENOENT   ? "; bulkheadctl keygen makes it, with the keys"
		    : errno == EACCES ? "; only root has access to the keys"
				      : "");
	return dir;
}

/* The public key of the secret in a file; never returns on an error. */
static void
read_public(const struct options *o, int dir, const char *name, uint8_t public[SECRET])
{
	struct secret *s = secret_new();
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	ssize_t n;
	size_t len;

	if (fd == -1 && errno == ENOENT)
		DIE(s, "%s/%s does not exist; bulkheadctl keygen makes it", o->state_dir, name);
	if (fd == -1 || fstat(fd, &st) == -1)
		DIE(s, "%s/%s: %s", o->state_dir, name, strerror(errno));
	if (!S_ISREG(st.st_mode) || (st.st_mode & 0077) != 0)
		DIE(s, "%s/%s: mode is %04o, expected a regular file of mode 0400", o->state_dir,
		    name, (unsigned)st.st_mode & 07777U);
	n = read(fd, s->text, sizeof(s->text));
	close(fd);
	if (n != HEX + 1 || s->text[HEX] != '\n' ||
	    sodium_hex2bin(s->key, SECRET, s->text, HEX, NULL, &len, NULL) != 0 || len != SECRET ||
	    sodium_is_zero(s->key, SECRET))
		DIE(s, "%s/%s: not a key: expected one line of %d hex digits", o->state_dir, name,
		    HEX);
	if (crypto_scalarmult_base(public, s->key) != 0)
		DIE(s, "%s/%s: not a usable key", o->state_dir, name);
	sodium_free(s);
}

static int
print_identity(const struct options *o, int dir)
{
	uint8_t status[SECRET], data[SECRET];
	char text[IDENTITY_TEXT];

	read_public(o, dir, files[0], status);
	read_public(o, dir, files[1], data);
	identity_encode(status, data, text);
	if (o->json)
		json_print(json_pack("{s:s}", "key", text));
	else
		printf("%s\n", text);
	return CTL_EXIT_OK;
}

int
cmd_key(const struct options *o, int argc, char **argv)
{
	int dir, r;

	if (argc > 1)
		die_usage(o, "'%s' is one argument too many", argv[1]);
	dir = open_state(o);
	r = print_identity(o, dir);
	close(dir);
	return r;
}

/*
 * One keygen at a time: two at once would mix their pairs, or overwrite what the other has just
 * made.
 */
static void
lock_state(const struct options *o, int dir)
{
	if (flock(dir, LOCK_EX | LOCK_NB) == 0)
		return;
	die(CTL_EXIT_FAILED, "%s: %s", o->state_dir,
	    errno == EWOULDBLOCK ? "another bulkheadctl keygen is at work here" : strerror(errno));
}

/* A new key into NAME.new, on the disk; an old one of that name is from an attempt that failed. */
static void
write_secret(const struct options *o, int dir, const char *name)
{
	struct secret *s = secret_new();
	char new[32];
	int fd;

	snprintf(new, sizeof(new), "%s.new", name);
	(void)unlinkat(dir, new, 0);
	randombytes_buf(s->key, SECRET);
	sodium_bin2hex(s->text, HEX + 1, s->key, SECRET);
	s->text[HEX] = '\n';
	fd = openat(dir, new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);
	if (fd == -1)
		DIE(s, "%s/%s: %s", o->state_dir, new, strerror(errno));
	if (write(fd, s->text, HEX + 1) != HEX + 1 || fchmod(fd, 0400) == -1 || fsync(fd) == -1) {
		int saved = errno;

		close(fd);
		(void)unlinkat(dir, new, 0);
		DIE(s, "%s/%s: %s", o->state_dir, new, strerror(saved));
	}
	close(fd);
	sodium_free(s);
}

static void
refuse_to_overwrite(const struct options *o, int dir)
{
	for (size_t i = 0; i < KEYS; i++) {
		struct stat st;

		if (fstatat(dir, files[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			die(CTL_EXIT_FAILED,
			    "%s/%s exists already; with --force new keys take its place, and every "
			    "partner needs the new public key then",
			    o->state_dir, files[i]);
	}
}

int
cmd_keygen(const struct options *o, int argc, char **argv)
{
	int force = argc == 2 && strcmp(argv[1], "--force") == 0;
	int dir, r;
	char new[32];

	if (argc > 1 + force)
		die_usage(o, "'%s' is not known here; --force is", argv[1]);
	if (mkdir(o->state_dir, 0700) == -1 && errno != EEXIST)
		die(CTL_EXIT_FAILED, "%s: %s%s", o->state_dir, strerror(errno),
		    errno == EACCES ? "; only root has access to the keys" : "");
	dir = open_state(o);
	lock_state(o, dir);
	if (!force)
		refuse_to_overwrite(o, dir);
	for (size_t i = 0; i < KEYS; i++)
		write_secret(o, dir, files[i]);
	for (size_t i = 0; i < KEYS; i++) {
		snprintf(new, sizeof(new), "%s.new", files[i]);
		if (renameat(dir, new, dir, files[i]) == -1)
			die(CTL_EXIT_FAILED, "%s/%s: %s", o->state_dir, files[i], strerror(errno));
	}
	if (fsync(dir) == -1)
		die(CTL_EXIT_FAILED, "%s: %s", o->state_dir, strerror(errno));
	r = print_identity(o, dir);
	close(dir);
	return r;
}
