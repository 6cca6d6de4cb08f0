/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: what a process that was taken over would try with the descriptors that it has, and
 * with new ones to the network.
 */
#include "config.h"

#include "attempts.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define HIGH_BIT (1UL << 32)

static char byte[1];

/* from here on an attempt that is one call is one line, as a row of a table */
/* clang-format off */

/* ---- descriptors that it has */

long
try_send_on_resource(void)
{
	return syscall(SYS_sendto, FD_RESOURCE, "x", 1, MSG_NOSIGNAL, NULL, 0);
}

long
try_send_on_unknown(void)
{
	return syscall(SYS_sendto, FD_ABSENT, "x", 1, MSG_NOSIGNAL, NULL, 0);
}

long
try_sendmsg_on_channel(void)
{
	struct iovec iov = {byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	return syscall(SYS_sendmsg, FD_CONTROL, &m, MSG_NOSIGNAL);
}

long
try_send_to_address(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/x"};

	return syscall(SYS_sendto, FD_CONTROL, "x", 1, 0, &un, sizeof(un));
}

long
try_send_fastopen(void)
{
	return syscall(SYS_sendto, FD_FIRST_FREE, "x", 1, MSG_FASTOPEN, NULL, 0);
}

long try_socket_inet(void) { return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0); }
long try_socket_udp(void) { return syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0); }
long try_socket_inet6(void) { return syscall(SYS_socket, AF_INET6, SOCK_STREAM, 0); }
long try_socket_raw(void) { return syscall(SYS_socket, AF_INET, SOCK_RAW, IPPROTO_ICMP); }
long try_socket_packet(void) { return syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0); }
long try_socket_unix(void) { return syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0); }
long try_socket_netlink(void) { return syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0); }
long try_socket_alg(void) { return syscall(SYS_socket, AF_ALG, SOCK_SEQPACKET, 0); }
long try_socket_vsock(void) { return syscall(SYS_socket, AF_VSOCK, SOCK_STREAM, 0); }

long
try_pair_datagram(void)
{
	int fds[2];

	return syscall(SYS_socketpair, AF_UNIX, SOCK_DGRAM, 0, fds);
}

long
try_bind_descriptor(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	return syscall(SYS_bind, FD_CONTROL, &un, sizeof(un.sun_family));
}

long try_listen_descriptor(void) { return syscall(SYS_listen, FD_CONTROL, 5); }

long
try_connect_unspec(void)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	return syscall(SYS_connect, FD_CONTROL, &none, sizeof(none));
}

static long
tcp(long call, unsigned short port)
{
	struct sockaddr_in in = {
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? fd : syscall(call, fd, &in, sizeof(in));
}

/* To the port of the same number, where nobody listens: the packet is on its way. */
long
try_send_udp(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
	    .sin_port = htons(drill_target.port),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	long fd = syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0);

	return fd < 0 ? fd : syscall(SYS_sendto, fd, byte, 1UL, 0, &in, sizeof(in));
}

long
try_listen_unbound(void)
{
	long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? fd : syscall(SYS_listen, fd, 1);
}

long try_tcp_connect(void) { return tcp(SYS_connect, drill_target.port); }
long try_tcp_bind(void) { return tcp(SYS_bind, 0); }
long try_shutdown_listener(void) { return syscall(SYS_shutdown, FD_LISTENER, SHUT_RDWR); }
long try_shutdown_listener_read(void) { return syscall(SYS_shutdown, FD_LISTENER, SHUT_RD); }

long
try_set_option_on_listener(void)
{
	int one = 1;

	return syscall(SYS_setsockopt, FD_LISTENER, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
}

long try_own_listener(void) { return syscall(SYS_fcntl, FD_LISTENER, F_SETOWN, 1); }
long try_async_listener(void) { return syscall(SYS_fcntl, FD_LISTENER, F_SETFL, O_ASYNC); }
long try_replace_control(void) { return syscall(SYS_dup3, FD_NULL, FD_CONTROL, O_CLOEXEC); }

/* Any descriptor below 64 that is not of its row, by guessing. */
long
try_send_on_all_others(void)
{
	for (int fd = FD_CONTROL; fd < 64; fd++) {
		if (drill_target.expected_fds >> fd & 1)
			continue;
		if (syscall(SYS_sendto, fd, byte, 1UL, MSG_NOSIGNAL, NULL, 0UL) >= 0)
			return fd;
	}
	return -1;
}

/* ---- sockets that it has: FD_FIRST_FREE is a connected one where the process has any */

static long
set_option(int level, int name, const void *value, size_t len)
{
	return syscall(SYS_setsockopt, FD_FIRST_FREE, level, name, value, len);
}

long
try_bind_to_device(void)
{
	return set_option(SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof("lo"));
}

long
try_set_ip_options(void)
{
	/* a record of route with room for one address */
	const uint8_t options[8] = {7, 7, 4, 0, 0, 0, 0, 0};

	return set_option(IPPROTO_IP, IP_OPTIONS, options, sizeof(options));
}

static long
set_one(int level, int name)
{
	const int one = 1;

	return set_option(level, name, &one, sizeof(one));
}

long try_include_header(void) { return set_one(IPPROTO_IP, IP_HDRINCL); }
long try_make_transparent(void) { return set_one(IPPROTO_IP, IP_TRANSPARENT); }
long try_detach_filter(void) { return set_one(SOL_SOCKET, SO_DETACH_FILTER); }

long
try_unlock_filter(void)
{
	const int none = 0;

	return set_option(SOL_SOCKET, SO_LOCK_FILTER, &none, sizeof(none));
}

long
try_attach_filter(void)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, UINT16_MAX);
	struct sock_fprog program = {1, &all};

	return set_option(SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

/* Another address than that which the socket is connected to. */
static const struct sockaddr_in elsewhere = {
    .sin_family = AF_INET, .sin_port = 0x0100, .sin_addr = {0x0200007f /* 127.0.0.2 */}};

long
try_send_elsewhere(void)
{
	const uint8_t echo[8] = {8};

	return syscall(SYS_sendto, FD_FIRST_FREE, echo, sizeof(echo), MSG_NOSIGNAL, &elsewhere,
	    sizeof(elsewhere));
}

static long
send_message_elsewhere(long call)
{
	struct sockaddr_in to = elsewhere;
	uint8_t echo[8] = {8};
	struct iovec iov = {echo, sizeof(echo)};
	struct mmsghdr m = {
	    .msg_hdr = {
		.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov, .msg_iovlen = 1}};

	if (call == SYS_sendmsg)
		return syscall(call, FD_FIRST_FREE, &m.msg_hdr, MSG_NOSIGNAL);
	return syscall(call, FD_FIRST_FREE, &m, 1, MSG_NOSIGNAL);
}

long try_sendmsg_elsewhere(void) { return send_message_elsewhere(SYS_sendmsg); }
long try_sendmmsg_elsewhere(void) { return send_message_elsewhere(SYS_sendmmsg); }

long
try_connect_elsewhere(void)
{
	return syscall(SYS_connect, FD_FIRST_FREE, &elsewhere, sizeof(elsewhere));
}

long
try_disconnect_socket(void)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	return syscall(SYS_connect, FD_FIRST_FREE, &none, sizeof(none));
}

/* ---- bit 32 set in an argument that a filter looks at: the kernel does not see that bit */

long
try_sendto_high(void)
{
	return syscall(SYS_sendto, FD_CONTROL, byte, 1UL, HIGH_BIT | MSG_OOB, NULL, 0UL);
}

long
try_sendmsg_high(void)
{
	struct iovec iov = {byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	return syscall(SYS_sendmsg, HIGH_BIT | FD_FIRST_FREE, &m, MSG_NOSIGNAL);
}

long
try_socketpair_high(void)
{
	int fds[2];

	return syscall(SYS_socketpair, HIGH_BIT | AF_UNIX, HIGH_BIT | SOCK_DGRAM, 0, fds);
}

long
try_getsockopt_high(void)
{
	int value;
	socklen_t len = sizeof(value);

	return syscall(
	    SYS_getsockopt, FD_CONTROL, HIGH_BIT | SOL_SOCKET, HIGH_BIT | SO_RCVBUF, &value, &len);
}

long try_dup3_high(void) { return syscall(SYS_dup3, FD_NULL, HIGH_BIT | FD_CONTROL, O_CLOEXEC); }

long
try_accept4_high(void)
{
	return syscall(SYS_accept4, HIGH_BIT | FD_CONTROL, NULL, NULL, SOCK_NONBLOCK);
}

long
try_pipe2_high(void)
{
	int fds[2];

	return syscall(SYS_pipe2, fds, HIGH_BIT | O_DIRECT);
}
