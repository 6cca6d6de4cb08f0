/* SPDX-License-Identifier: ISC */
/*
 * bulkheadctl drill: the breach drill on this machine. Its attempts are made by processes of its
 * own in the sandboxes of the daemon's children; a running daemon is left alone.
 */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int
cmd_drill(const struct options *o, int argc, char **argv)
{
	char path[CONF_COMMAND + sizeof("/drill")];
	const char *dir = LIBEXECDIR;

	if (argc == 3 && strcmp(argv[1], "-x") == 0)
		dir = argv[2];
	else if (argc == 2 && strcmp(argv[1], "-x") == 0)
		die_usage(o, "-x: expected a directory");
	else if (argc != 1)
		die_usage(o, "unknown argument '%.40s'", argv[1]);
	if (geteuid() != 0)
		die(CTL_EXIT_FAILED,
		    "drill: must be root, to enter the sandboxes as the daemon does");
	if ((size_t)snprintf(path, sizeof(path), "%s/drill", dir) >= sizeof(path))
		die_usage(o, "-x: expected a path of at most %d bytes", CONF_COMMAND - 1);
	if (isatty(STDERR_FILENO))
		fprintf(
		    stderr, "trying to break out of every sandbox; this takes up to a minute\n");
	execl(path, "drill", o->json ? "-j" : "-t", (char *)NULL);
	die(CTL_EXIT_FAILED, "%s: %s (installed as a whole? or -x DIRECTORY)", path,
	    strerror(errno));
}
