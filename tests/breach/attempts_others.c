/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: calls that other processes are promised. With attempts 1 (store), 13 (mlock, pair)
 * and 20 (sendfd) there is one for each promise that not all have, so that a process with a promise
 * more than its row says is found. Only the filter refuses them; the arguments are such that the
 * kernel does nothing.
 */
#include "config.h"

#include "attempts.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { LAST_LISTENER = FD_LISTENER + 3, BAD_FLAGS = -1 };

/* from here on an attempt that is one call is one line, as a row of a table */
/* clang-format off */

long try_splice_bytes(void) { return syscall(SYS_splice, -1, NULL, -1, NULL, 1UL, 0); }

long
try_set_alarm(void)
{
	struct itimerval none = {0};

	return syscall(SYS_setitimer, ITIMER_REAL, &none, NULL);
}

long
try_poll_nothing(void)
{
	struct timespec at_once = {0};

	return syscall(SYS_ppoll, NULL, 0UL, &at_once, NULL, 0UL);
}

long
try_wait_for_events(void)
{
	struct epoll_event event;

	return syscall(SYS_epoll_pwait, -1, &event, 1, 0, NULL, 0UL);
}

/* Of netd the last listener, of roled that of bulkheadctl, of syncd that of local programs. */
long try_accept_as_netd(void) { return syscall(SYS_accept4, LAST_LISTENER, NULL, NULL, BAD_FLAGS); }
long try_accept_as_roled(void) { return syscall(SYS_accept4, FD_ADMIN, NULL, NULL, BAD_FLAGS); }
long try_accept_as_syncd(void) { return syscall(SYS_accept4, FD_LOCAL, NULL, NULL, BAD_FLAGS); }

long
try_ask_for_peer(void)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return syscall(SYS_getsockopt, FD_ABSENT, SOL_SOCKET, SO_PEERCRED, &peer, &len);
}

long
try_take_bytes(void)
{
	char byte;

	return syscall(SYS_recvfrom, FD_ABSENT, &byte, 1UL, MSG_DONTWAIT, NULL, NULL);
}

long try_end_stream(void) { return syscall(SYS_shutdown, FD_ABSENT, SHUT_WR); }

long
try_read_state(void)
{
	char byte;

	return syscall(SYS_pread64, FD_STATE, &byte, 1UL, -1L);
}
