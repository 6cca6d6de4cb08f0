/* SPDX-License-Identifier: ISC */
/*
 * Breach drill on a running daemon: makes the process itself issue a system call, as code of an
 * intruder in it would, and says what became of it. Nothing in the daemon helps: root's ptrace puts
 * a call instruction where the process happens to stand, and takes it away again if it lives.
 *
 * ptrace_drill -l prints the attempts, one per line: name, expected verdict, "socket" when it needs
 * an Internet socket that the process holds, "syncd=" verdict when it is another for syncd, which
 * has files. ptrace_drill PID ATTEMPT prints one line: verdict, a blank, detail.
 *
 * Verdicts: killed (by the kernel), trapped (SIGSYS handler: named in the log, exit 112), refused
 * (an error, detail is its name; the process lives on), through.
 * Exit 0 when the verdict is the expected one, 1 when not, 2 when it could not be tried.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __x86_64__
int
main(void)
{
	printf("ptrace_drill: x86-64 only\n");
	return 77;
}
#else

#define OWN_PAGE ((uint64_t)-1)	  /* replaced: address of the text below on the stack */
#define SUPERVISOR ((uint64_t)-2) /* replaced: parent of the process */
#define SOCKET ((uint64_t)-3)	  /* replaced: the first Internet socket among its descriptors */
#define X32 0x40000000
enum door { SYSCALL, INT80 };
enum {
	EXIT_WRONG = 1,
	EXIT_UNTRIED = 2,
	STACK_BELOW = 2048,
	WAIT_S = 20,
	FD_FIRST = 16,
	FD_END = 768
};
/* What lies at OWN_PAGE, for those that get so far. */
enum payload {
	PATH,
	NAME,
	DATA,
	DEVICE,
	OPTIONS,
	ONE,
	FILTER,
	ADDRESS,
	MESSAGE,
	VECTOR,
	REDIRECT,
	ZEROES
};
enum { PAYLOAD_SIZE = 128 };

static const struct attempt {
	const char *name, *expected;
	enum door door;
	uint64_t nr, arg[6];
	enum payload payload;
} attempts[] = {
    /* a row is a line */
    /* clang-format off */
    {"open", "trapped", SYSCALL, SYS_open, {OWN_PAGE, O_RDONLY}, PATH},
    {"openat", "trapped", SYSCALL, SYS_openat, {(uint64_t)AT_FDCWD, OWN_PAGE, O_RDONLY}, PATH},
    {"linkat", "trapped", SYSCALL, SYS_linkat, {(uint64_t)AT_FDCWD, OWN_PAGE, (uint64_t)AT_FDCWD, OWN_PAGE, 0}, PATH},
    {"symlinkat", "trapped", SYSCALL, SYS_symlinkat, {OWN_PAGE, (uint64_t)AT_FDCWD, OWN_PAGE}, NAME},
    {"mkdirat", "trapped", SYSCALL, SYS_mkdirat, {(uint64_t)AT_FDCWD, OWN_PAGE, 0700}, NAME},
    {"mknodat", "killed", SYSCALL, SYS_mknodat, {(uint64_t)AT_FDCWD, OWN_PAGE, S_IFIFO | 0600, 0}, NAME},
    {"fchmodat", "trapped", SYSCALL, SYS_fchmodat, {(uint64_t)AT_FDCWD, OWN_PAGE, 0777}, DATA},
    {"fchownat", "trapped", SYSCALL, SYS_fchownat, {(uint64_t)AT_FDCWD, OWN_PAGE, 0, 0, 0}, DATA},
    {"setxattr", "trapped", SYSCALL, SYS_setxattr, {OWN_PAGE, OWN_PAGE, OWN_PAGE, 1, 0}, DATA},
    {"open_by_handle_at", "killed", SYSCALL, SYS_open_by_handle_at, {(uint64_t)AT_FDCWD, OWN_PAGE, O_RDONLY}, PATH},
    {"socket", "killed", SYSCALL, SYS_socket, {AF_INET, SOCK_STREAM, 0}, PATH},
    {"socket_unix", "killed", SYSCALL, SYS_socket, {AF_UNIX, SOCK_STREAM, 0}, PATH},
    {"connect", "killed", SYSCALL, SYS_connect, {3, OWN_PAGE, 16}, PATH},
    {"bind", "killed", SYSCALL, SYS_bind, {3, OWN_PAGE, 16}, PATH},
    {"listen", "killed", SYSCALL, SYS_listen, {3, 1}, PATH},
    {"execve", "killed", SYSCALL, SYS_execve, {OWN_PAGE, 0, 0}, PATH},
    {"fork", "killed", SYSCALL, SYS_fork, {0}, PATH},
    {"clone", "killed", SYSCALL, SYS_clone, {SIGCHLD}, PATH},
    {"clone3", "refused", SYSCALL, SYS_clone3, {OWN_PAGE, 64}, PATH},
    {"mmap_exec", "killed", SYSCALL, SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0}, PATH},
    {"mprotect_exec", "killed", SYSCALL, SYS_mprotect, {OWN_PAGE, 4096, PROT_READ | PROT_EXEC}, PATH},
    {"ptrace", "killed", SYSCALL, SYS_ptrace, {PTRACE_ATTACH, SUPERVISOR, 0, 0}, PATH},
    {"process_vm_readv", "killed", SYSCALL, SYS_process_vm_readv, {SUPERVISOR, OWN_PAGE, 1, OWN_PAGE, 1, 0}, VECTOR},
    {"kill", "killed", SYSCALL, SYS_kill, {SUPERVISOR, 0}, PATH},
    {"setuid", "killed", SYSCALL, SYS_setuid, {0}, PATH},
    {"capset", "killed", SYSCALL, SYS_capset, {OWN_PAGE, OWN_PAGE}, PATH},
    {"unshare", "killed", SYSCALL, SYS_unshare, {CLONE_NEWUSER}, PATH},
    {"mount", "killed", SYSCALL, SYS_mount, {OWN_PAGE, OWN_PAGE, 0, 0x2000, 0}, PATH},
    {"chroot", "killed", SYSCALL, SYS_chroot, {OWN_PAGE}, PATH},
    {"bpf", "killed", SYSCALL, SYS_bpf, {0, 0, 0}, PATH},
    {"seccomp", "killed", SYSCALL, SYS_seccomp, {1, 0, OWN_PAGE}, PATH},
    {"prctl_dumpable", "killed", SYSCALL, SYS_prctl, {PR_SET_DUMPABLE, 1, 0, 0, 0}, PATH},
    {"io_uring_setup", "refused", SYSCALL, SYS_io_uring_setup, {4, OWN_PAGE}, PATH},
    {"new_call", "refused", SYSCALL, 500, {0}, PATH},
    {"x32", "killed", SYSCALL, X32 | SYS_getpid, {0}, PATH},
    {"int80", "killed", INT80, 20, {0}, PATH},
    {"execveat", "killed", SYSCALL, SYS_execveat, {(uint64_t)AT_FDCWD, OWN_PAGE, 0, 0, 0}, PATH},
    {"vfork", "killed", SYSCALL, SYS_vfork, {0}, PATH},
    {"memfd_create", "killed", SYSCALL, SYS_memfd_create, {OWN_PAGE, 0}, PATH},
    {"setgroups", "killed", SYSCALL, SYS_setgroups, {0, OWN_PAGE}, PATH},
    {"setns", "killed", SYSCALL, SYS_setns, {3, 0}, PATH},
    {"pivot_root", "killed", SYSCALL, SYS_pivot_root, {OWN_PAGE, OWN_PAGE}, PATH},
    {"prlimit64", "trapped", SYSCALL, SYS_prlimit64, {0, 7, OWN_PAGE, 0}, PATH},
    {"tgkill", "killed", SYSCALL, SYS_tgkill, {SUPERVISOR, SUPERVISOR, 0}, PATH},
    {"pidfd_getfd", "killed", SYSCALL, SYS_pidfd_getfd, {3, 3, 0}, PATH},
    {"process_vm_writev", "killed", SYSCALL, SYS_process_vm_writev, {SUPERVISOR, OWN_PAGE, 1, OWN_PAGE, 1, 0}, VECTOR},
    {"shmget", "killed", SYSCALL, SYS_shmget, {0, 4096, 0}, PATH},
    {"keyctl", "killed", SYSCALL, SYS_keyctl, {0, 0, 0}, PATH},
    {"inotify_init1", "killed", SYSCALL, SYS_inotify_init1, {0}, PATH},
    {"userfaultfd", "killed", SYSCALL, SYS_userfaultfd, {0}, PATH},
    {"perf_event_open", "killed", SYSCALL, SYS_perf_event_open, {OWN_PAGE, 0, 0, 0, 0}, PATH},
    {"settimeofday", "killed", SYSCALL, SYS_settimeofday, {0, 0}, PATH},
    {"sendto", "trapped", SYSCALL, SYS_sendto, {3, OWN_PAGE, 8, MSG_DONTWAIT, OWN_PAGE, 16}, PATH},
    {"sendmmsg", "trapped", SYSCALL, SYS_sendmmsg, {3, OWN_PAGE, 1, 0}, PATH},
    {"setsockopt", "trapped", SYSCALL, SYS_setsockopt, {16, IPPROTO_IP, IP_HDRINCL, OWN_PAGE, 4}, PATH},
    {"socket_bind_to_device", "trapped", SYSCALL, SYS_setsockopt, {SOCKET, SOL_SOCKET, SO_BINDTODEVICE, OWN_PAGE, 5}, DEVICE},
    {"socket_ip_options", "trapped", SYSCALL, SYS_setsockopt, {SOCKET, IPPROTO_IP, IP_OPTIONS, OWN_PAGE, 8}, OPTIONS},
    {"socket_header_included", "trapped", SYSCALL, SYS_setsockopt, {SOCKET, IPPROTO_IP, IP_HDRINCL, OWN_PAGE, 4}, ONE},
    {"socket_transparent", "trapped", SYSCALL, SYS_setsockopt, {SOCKET, IPPROTO_IP, IP_TRANSPARENT, OWN_PAGE, 4}, ONE},
    {"socket_mark", "trapped", SYSCALL, SYS_setsockopt, {SOCKET, SOL_SOCKET, SO_MARK, OWN_PAGE, 4}, ONE},
    {"socket_attach_filter", "trapped", SYSCALL, SYS_setsockopt, {SOCKET, SOL_SOCKET, SO_ATTACH_FILTER, OWN_PAGE, 16}, FILTER},
    {"socket_detach_filter", "trapped", SYSCALL, SYS_setsockopt, {SOCKET, SOL_SOCKET, SO_DETACH_FILTER, OWN_PAGE, 4}, ONE},
    {"socket_detach_bpf", "trapped", SYSCALL, SYS_setsockopt, {SOCKET, SOL_SOCKET, SO_DETACH_BPF, OWN_PAGE, 4}, ONE},
    {"socket_unlock_filter", "trapped", SYSCALL, SYS_setsockopt, {SOCKET, SOL_SOCKET, SO_LOCK_FILTER, OWN_PAGE, 4}, ZEROES},
    {"socket_sendto_elsewhere", "trapped", SYSCALL, SYS_sendto, {SOCKET, OWN_PAGE, 8, MSG_DONTWAIT, OWN_PAGE, 16}, ADDRESS},
    {"socket_sendmsg_elsewhere", "trapped", SYSCALL, SYS_sendmsg, {SOCKET, OWN_PAGE, MSG_DONTWAIT}, MESSAGE},
    {"socket_sendmmsg_elsewhere", "trapped", SYSCALL, SYS_sendmmsg, {SOCKET, OWN_PAGE, 1, MSG_DONTWAIT}, MESSAGE},
    {"socket_connect_elsewhere", "killed", SYSCALL, SYS_connect, {SOCKET, OWN_PAGE, 16}, ADDRESS},
    {"socket_disconnect", "killed", SYSCALL, SYS_connect, {SOCKET, OWN_PAGE, 16}, ZEROES},
    {"socket_fastopen", "trapped", SYSCALL, SYS_sendto, {SOCKET, OWN_PAGE, 8, MSG_DONTWAIT | MSG_FASTOPEN, 0, 0}, PATH},
    {"socket_bind", "killed", SYSCALL, SYS_bind, {SOCKET, OWN_PAGE, 16}, ADDRESS},
    {"socket_listen", "killed", SYSCALL, SYS_listen, {SOCKET, 5}, PATH},
    {"socket_own", "trapped", SYSCALL, SYS_fcntl, {SOCKET, F_SETOWN, 1}, PATH},
    {"socket_async", "trapped", SYSCALL, SYS_fcntl, {SOCKET, F_SETFL, O_ASYNC}, PATH},
    {"listener_option", "trapped", SYSCALL, SYS_setsockopt, {12, SOL_SOCKET, SO_REUSEPORT, OWN_PAGE, 4}, ONE},
    {"listener_own", "trapped", SYSCALL, SYS_fcntl, {12, F_SETOWN, 1}, PATH},
    {"listener_async", "trapped", SYSCALL, SYS_fcntl, {12, F_SETFL, O_ASYNC}, PATH},
    {"admin_shutdown", "trapped", SYSCALL, SYS_shutdown, {14, SHUT_RDWR}, PATH},
    {"admin_own", "trapped", SYSCALL, SYS_fcntl, {14, F_SETOWN, 1}, PATH},
    {"admin_async", "trapped", SYSCALL, SYS_fcntl, {14, F_SETFL, O_ASYNC}, PATH},
    {"shutdown_read", "trapped", SYSCALL, SYS_shutdown, {12, SHUT_RD}, PATH},
    {"shutdown", "trapped", SYSCALL, SYS_shutdown, {12, SHUT_RDWR}, PATH},
    {"fcntl", "trapped", SYSCALL, SYS_fcntl, {3, F_SETOWN, 1}, PATH},
    {"dup3", "trapped", SYSCALL, SYS_dup3, {0, 3, 0}, PATH},
    /* what icmpd keeps: its targets, by other ICMP messages than echo requests */
    {"control_icmp_type", "through", SYSCALL, SYS_sendto, {SOCKET, OWN_PAGE, 8, MSG_DONTWAIT, 0, 0}, REDIRECT},
    {"control_getpid", "through", SYSCALL, SYS_getpid, {0}, PATH},
    /* clang-format on */
};

static pid_t target;

/* syncd opens files by name, and finds none that is not in its root; NULL: as by the others. */
static const char *
by_syncd(const struct attempt *a)
{
	return a->nr == SYS_openat ? "refused" : NULL;
}

/* The verdict that is right for the process that is tried. */
static const char *
expected(const struct attempt *a)
{
	char path[32], name[16] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)target);
	fd = by_syncd(a) != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd >= 0) {
		ssize_t n = read(fd, name, sizeof(name) - 1);

		close(fd);
		if (n > 0 && strcmp(name, "syncd\n") == 0)
			return by_syncd(a);
	}
	return a->expected;
}

static _Noreturn void
untried(const char *what)
{
	fprintf(stderr, "ptrace_drill: %s: %s\n", what, strerror(errno));
	_exit(EXIT_UNTRIED);
}

/* The end of the waiting: a target that hangs is not a verdict. */
static void
on_alarm(int sig)
{
	(void)sig;
	_exit(EXIT_UNTRIED);
}

static int
wait_target(void)
{
	int status;

	if (waitpid(target, &status, __WALL) != target)
		untried("waitpid");
	return status;
}

static void
write_word(uint64_t at, uint64_t word)
{
	if (ptrace(PTRACE_POKETEXT, target, at, word) != 0)
		untried("poke");
}

static uint64_t
read_word(uint64_t at)
{
	errno = 0;
	return (uint64_t)ptrace(PTRACE_PEEKTEXT, target, at, 0);
}

static void
attach(void)
{
	int status;

	if (ptrace(PTRACE_SEIZE, target, 0, PTRACE_O_TRACESYSGOOD) != 0)
		untried("attach");
	if (ptrace(PTRACE_INTERRUPT, target, 0, 0) != 0)
		untried("interrupt");
	status = wait_target();
	if (!WIFSTOPPED(status))
		untried("the process ended before the attempt");
}

static pid_t
parent_of(pid_t pid)
{
	char path[32], text[256] = "";
	int fd, parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 ||
	    sscanf(strrchr(text, ')') != NULL ? strrchr(text, ')') : "", ") %*c %d", &parent) != 1)
		untried("parent");
	close(fd);
	return (pid_t)parent;
}

/* -1 when it holds none. Asked of a duplicate. */
static int
internet_socket(void)
{
	int process = (int)syscall(SYS_pidfd_open, target, 0), found = -1;

	for (int fd = FD_FIRST; process >= 0 && fd < FD_END && found < 0; fd++) {
		int copy = (int)syscall(SYS_pidfd_getfd, process, fd, 0), domain = 0;
		socklen_t len = sizeof(domain);

		if (copy >= 0 && getsockopt(copy, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
		    (domain == AF_INET || domain == AF_INET6))
			found = fd;
		if (copy >= 0)
			close(copy);
	}
	if (process >= 0)
		close(process);
	return found;
}

static uint64_t
argument(uint64_t value, uint64_t page)
{
	if (value == OWN_PAGE)
		return page;
	if (value == SOCKET) {
		int fd = internet_socket();

		if (fd < 0)
			untried("it has no Internet socket");
		return (uint64_t)fd;
	}
	if (value == SUPERVISOR)
		return (uint64_t)parent_of(target);
	return value;
}

/* What is at the page of the attempt; at: its address there. */
static void
make_payload(enum payload payload, uint64_t at, uint8_t out[PAYLOAD_SIZE])
{
	/* an address that nobody is configured with, and its echo port */
	const struct sockaddr_in elsewhere = {.sin_family = AF_INET,
	    .sin_port = htons(7),
	    .sin_addr = {htonl(0xc0000263)} /* 192.0.2.99 */};
	const struct iovec iov = {(void *)(uintptr_t)(at + 112), 8};
	const struct msghdr m = {.msg_name = (void *)(uintptr_t)(at + 80),
	    .msg_namelen = sizeof(elsewhere),
	    .msg_iov = (struct iovec *)(uintptr_t)(at + 96),
	    .msg_iovlen = 1};
	const struct sock_filter all = {0x06, 0, 0, UINT16_MAX}; /* ret 65535 */
	const struct sock_fprog program = {1, (struct sock_filter *)(uintptr_t)(at + 64)};
	const uint8_t echo[8] = {8}, route[8] = {7, 7, 4};
	const int one = 1;

	memset(out, 0, PAYLOAD_SIZE);
	memcpy(out + 64, &all, sizeof(all));
	memcpy(out + 80, &elsewhere, sizeof(elsewhere));
	memcpy(out + 96, &iov, sizeof(iov));
	memcpy(out + 112, echo, sizeof(echo));
	if (payload == PATH)
		memcpy(out, "/etc/passwd", sizeof("/etc/passwd"));
	else if (payload == NAME) /* new in the folder that is the root */
		memcpy(out, "drill", sizeof("drill"));
	else if (payload == DATA) /* of syncd */
		memcpy(out, "data.mdb", sizeof("data.mdb"));
	else if (payload == DEVICE)
		memcpy(out, "eth0", sizeof("eth0"));
	else if (payload == OPTIONS)
		memcpy(out, route, sizeof(route));
	else if (payload == ONE)
		memcpy(out, &one, sizeof(one));
	else if (payload == FILTER)
		memcpy(out, &program, sizeof(program));
	else if (payload == ADDRESS)
		memcpy(out, &elsewhere, sizeof(elsewhere));
	else if (payload == VECTOR)
		memcpy(out, &iov, sizeof(iov));
	else if (payload == REDIRECT)
		out[0] = ICMP_REDIRECT;
	else if (payload == MESSAGE)
		memcpy(out, &m, sizeof(m));
}

/* Put the instruction and the arguments in place. Returns the word that was there. */
static uint64_t
load_attempt(const struct attempt *a, const struct user_regs_struct *saved)
{
	struct user_regs_struct regs = *saved;
	uint64_t page = (saved->rsp - STACK_BELOW) & ~(uint64_t)15;
	uint64_t word = read_word(saved->rip);
	uint8_t payload[PAYLOAD_SIZE];
	uint64_t part;

	make_payload(a->payload, page, payload);
	for (size_t i = 0; i < sizeof(payload); i += sizeof(part)) {
		memcpy(&part, payload + i, sizeof(part));
		write_word(page + i, part);
	}
	/* 0f 05 syscall, cd 80 int 0x80 */
	write_word(saved->rip, (word & ~UINT64_C(0xffff)) | (a->door == SYSCALL ? 0x050f : 0x80cd));
	regs.orig_rax = (unsigned long long)-1; /* nothing to restart */
	regs.rax = a->nr;
	regs.rdi = argument(a->arg[0], page);
	regs.rsi = argument(a->arg[1], page);
	regs.rdx = argument(a->arg[2], page);
	regs.r10 = argument(a->arg[3], page);
	regs.r8 = argument(a->arg[4], page);
	regs.r9 = argument(a->arg[5], page);
	if (strcmp(a->name, "mprotect_exec") == 0)
		regs.rdi &= ~UINT64_C(4095);
	if (ptrace(PTRACE_SETREGS, target, 0, &regs) != 0)
		untried("registers");
	return word;
}

/* As it was, so that a process that lives on does not notice more than a signal. */
static void
restore(struct user_regs_struct saved, uint64_t word)
{
	write_word(saved.rip, word);
	if ((long long)saved.orig_rax >= 0 && (long long)saved.rax < 0) {
		saved.rax = (unsigned long long)-EINTR;
		saved.orig_rax = (unsigned long long)-1;
	}
	if (ptrace(PTRACE_SETREGS, target, 0, &saved) != 0)
		untried("restore");
}

static int
verdict(const struct attempt *a, const char *word, const char *detail)
{
	printf("%s %s\n", word, detail);
	return strcmp(expected(a), word) == 0 ? 0 : EXIT_WRONG;
}

/* The process was given SIGSYS and its handler runs: it must end by itself, with the exit code. */
static int
follow_trap(const struct attempt *a)
{
	siginfo_t info;
	char text[64];
	int status;

	if (ptrace(PTRACE_GETSIGINFO, target, 0, &info) != 0)
		untried("signal");
	if (ptrace(PTRACE_CONT, target, 0, SIGSYS) != 0)
		untried("continue");
	status = wait_target();
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 112)
		return verdict(a, "alive", "after SIGSYS");
	snprintf(text, sizeof(text), "call %d", info.si_syscall);
	return verdict(a, "trapped", text);
}

/* Resume until the next thing that counts. Returns its wait status. */
static int
resume(enum __ptrace_request how)
{
	int status;

	do {
		if (ptrace(how, target, 0, 0) != 0)
			untried("continue");
		status = wait_target();
	} while (WIFSTOPPED(status) && WSTOPSIG(status) != SIGSYS &&
		 WSTOPSIG(status) != (how == PTRACE_SYSCALL ? SIGTRAP | 0x80 : SIGTRAP));
	return status;
}

static int
try_attempt(const struct attempt *a)
{
	struct user_regs_struct saved, after;
	uint64_t word;
	int status;

	attach();
	if (ptrace(PTRACE_GETREGS, target, 0, &saved) != 0)
		untried("registers");
	word = load_attempt(a, &saved);
	status = resume(PTRACE_SYSCALL); /* entry */
	if (WIFSTOPPED(status) && WSTOPSIG(status) != SIGSYS)
		status = resume(PTRACE_SYSCALL); /* exit; a call that kills has one as well */
	if (WIFSTOPPED(status) && WSTOPSIG(status) != SIGSYS) {
		if (ptrace(PTRACE_GETREGS, target, 0, &after) != 0)
			untried("registers");
		restore(saved, word);
		status = resume(PTRACE_SINGLESTEP); /* what is pending happens now */
	}
	if (WIFSIGNALED(status))
		return verdict(
		    a, WTERMSIG(status) == SIGSYS ? "killed" : "died", strsignal(WTERMSIG(status)));
	if (WIFEXITED(status))
		return verdict(a, "died", "exit");
	if (WSTOPSIG(status) == SIGSYS)
		return follow_trap(a);
	if (ptrace(PTRACE_DETACH, target, 0, 0) != 0)
		untried("detach");
	if ((long long)after.rax < 0)
		return verdict(a, "refused", strerrorname_np(-(int)after.rax));
	return verdict(a, "through", "");
}

int
main(int argc, char **argv)
{
	const size_t n = sizeof(attempts) / sizeof(attempts[0]);

	if (argc == 2 && strcmp(argv[1], "-l") == 0) {
		for (size_t i = 0; i < n; i++)
			printf("%s %s%s%s%s\n", attempts[i].name, attempts[i].expected,
			    by_syncd(&attempts[i]) != NULL ? " syncd=" : "",
			    by_syncd(&attempts[i]) != NULL ? by_syncd(&attempts[i]) : "",
			    attempts[i].arg[0] == SOCKET ? " socket" : "");
		return 0;
	}
	if (argc != 3 || (target = (pid_t)atoi(argv[1])) <= 1) {
		fprintf(stderr, "usage: ptrace_drill -l | PID ATTEMPT\n");
		return EXIT_UNTRIED;
	}
	signal(SIGALRM, on_alarm);
	alarm(WAIT_S);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(attempts[i].name, argv[2]) == 0)
			return try_attempt(&attempts[i]);
	}
	fprintf(stderr, "ptrace_drill: no attempt %s\n", argv[2]);
	return EXIT_UNTRIED;
}
#endif
