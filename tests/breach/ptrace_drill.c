/* SPDX-License-Identifier: ISC */
/*
 * Breach drill on a running daemon: makes the process itself issue a system call, as code of an
 * intruder in it would, and says what became of it. Nothing in the daemon helps: root's ptrace puts a
 * call instruction where the process happens to stand, and takes it away again if it lives.
 *
 *   ptrace_drill -l              the attempts, one per line: name, expected verdict
 *   ptrace_drill PID ATTEMPT     one line: verdict, a blank, detail
 *
 * Verdicts: killed (by the kernel), trapped (SIGSYS handler: named in the log, exit 112), refused
 * (an error, detail is its name; the process lives on), through.
 * Exit 0 when the verdict is the expected one, 1 when not, 2 when it could not be tried.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
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

#define OWN_PAGE   ((uint64_t)-1) /* replaced: address of the text below on the stack */
#define SUPERVISOR ((uint64_t)-2) /* replaced: parent of the process */
#define X32	   0x40000000
enum door { SYSCALL, INT80 };
enum { EXIT_WRONG = 1, EXIT_UNTRIED = 2, STACK_BELOW = 2048, WAIT_S = 5 };

static const struct attempt {
	const char *name, *expected;
	enum door door;
	uint64_t nr, arg[6];
} attempts[] = {
    {"open", "trapped", SYSCALL, SYS_open, {OWN_PAGE, O_RDONLY}},
    {"openat", "trapped", SYSCALL, SYS_openat, {(uint64_t)AT_FDCWD, OWN_PAGE, O_RDONLY}},
    {"socket", "killed", SYSCALL, SYS_socket, {AF_INET, SOCK_STREAM, 0}},
    {"socket_unix", "killed", SYSCALL, SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
    {"connect", "killed", SYSCALL, SYS_connect, {3, OWN_PAGE, 16}},
    {"bind", "killed", SYSCALL, SYS_bind, {3, OWN_PAGE, 16}},
    {"listen", "killed", SYSCALL, SYS_listen, {3, 1}},
    {"execve", "killed", SYSCALL, SYS_execve, {OWN_PAGE, 0, 0}},
    {"fork", "killed", SYSCALL, SYS_fork, {0}},
    {"clone", "killed", SYSCALL, SYS_clone, {SIGCHLD}},
    {"clone3", "refused", SYSCALL, SYS_clone3, {OWN_PAGE, 64}},
    {"mmap_exec", "killed", SYSCALL, SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0}},
    {"mprotect_exec", "killed", SYSCALL, SYS_mprotect, {OWN_PAGE, 4096, PROT_READ | PROT_EXEC}},
    {"ptrace", "killed", SYSCALL, SYS_ptrace, {PTRACE_ATTACH, SUPERVISOR, 0, 0}},
    {"process_vm_readv", "killed", SYSCALL, SYS_process_vm_readv, {SUPERVISOR, 0, 0, 0, 0, 0}},
    {"kill", "killed", SYSCALL, SYS_kill, {SUPERVISOR, 0}},
    {"setuid", "killed", SYSCALL, SYS_setuid, {0}},
    {"capset", "killed", SYSCALL, SYS_capset, {OWN_PAGE, OWN_PAGE}},
    {"unshare", "killed", SYSCALL, SYS_unshare, {CLONE_NEWUSER}},
    {"mount", "killed", SYSCALL, SYS_mount, {OWN_PAGE, OWN_PAGE, 0, 0x2000, 0}},
    {"chroot", "killed", SYSCALL, SYS_chroot, {OWN_PAGE}},
    {"bpf", "killed", SYSCALL, SYS_bpf, {0, 0, 0}},
    {"seccomp", "killed", SYSCALL, SYS_seccomp, {1, 0, OWN_PAGE}},
    {"prctl_dumpable", "killed", SYSCALL, SYS_prctl, {PR_SET_DUMPABLE, 1, 0, 0, 0}},
    {"io_uring_setup", "refused", SYSCALL, SYS_io_uring_setup, {4, OWN_PAGE}},
    {"new_call", "refused", SYSCALL, 500, {0}},
    {"x32", "killed", SYSCALL, X32 | SYS_getpid, {0}},
    {"int80", "killed", INT80, 20, {0}},
    {"execveat", "killed", SYSCALL, SYS_execveat, {(uint64_t)AT_FDCWD, OWN_PAGE, 0, 0, 0}},
    {"vfork", "killed", SYSCALL, SYS_vfork, {0}},
    {"memfd_create", "killed", SYSCALL, SYS_memfd_create, {OWN_PAGE, 0}},
    {"setgroups", "killed", SYSCALL, SYS_setgroups, {0, OWN_PAGE}},
    {"setns", "killed", SYSCALL, SYS_setns, {3, 0}},
    {"pivot_root", "killed", SYSCALL, SYS_pivot_root, {OWN_PAGE, OWN_PAGE}},
    {"prlimit64", "trapped", SYSCALL, SYS_prlimit64, {0, 7, OWN_PAGE, 0}},
    {"tgkill", "killed", SYSCALL, SYS_tgkill, {SUPERVISOR, SUPERVISOR, 0}},
    {"pidfd_getfd", "killed", SYSCALL, SYS_pidfd_getfd, {3, 3, 0}},
    {"process_vm_writev", "killed", SYSCALL, SYS_process_vm_writev, {SUPERVISOR, 0, 0, 0, 0, 0}},
    {"shmget", "killed", SYSCALL, SYS_shmget, {0, 4096, 0}},
    {"keyctl", "killed", SYSCALL, SYS_keyctl, {0, 0, 0}},
    {"inotify_init1", "killed", SYSCALL, SYS_inotify_init1, {0}},
    {"userfaultfd", "killed", SYSCALL, SYS_userfaultfd, {0}},
    {"perf_event_open", "killed", SYSCALL, SYS_perf_event_open, {OWN_PAGE, 0, 0, 0, 0}},
    {"settimeofday", "killed", SYSCALL, SYS_settimeofday, {0, 0}},
    {"sendto", "trapped", SYSCALL, SYS_sendto, {3, OWN_PAGE, 8, MSG_DONTWAIT, OWN_PAGE, 16}},
    {"sendmmsg", "trapped", SYSCALL, SYS_sendmmsg, {3, OWN_PAGE, 1, 0}},
    {"setsockopt", "trapped", SYSCALL, SYS_setsockopt, {16, IPPROTO_IP, IP_HDRINCL, OWN_PAGE, 4}},
    {"shutdown", "trapped", SYSCALL, SYS_shutdown, {12, SHUT_RDWR}},
    {"fcntl", "trapped", SYSCALL, SYS_fcntl, {3, F_SETOWN, 1}},
    {"dup3", "trapped", SYSCALL, SYS_dup3, {0, 3, 0}},
    {"control_getpid", "through", SYSCALL, SYS_getpid, {0}},
};

static pid_t target;

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

static uint64_t
argument(uint64_t value, uint64_t page)
{
	if (value == OWN_PAGE)
		return page;
	if (value == SUPERVISOR)
		return (uint64_t)parent_of(target);
	return value;
}

/* Put the instruction and the arguments in place. Returns the word that was there. */
static uint64_t
load_attempt(const struct attempt *a, const struct user_regs_struct *saved)
{
	struct user_regs_struct regs = *saved;
	uint64_t page = (saved->rsp - STACK_BELOW) & ~(uint64_t)15;
	uint64_t word = read_word(saved->rip);
	const char path[16] = "/etc/passwd";
	uint64_t part;

	for (size_t i = 0; i < sizeof(path); i += sizeof(part)) {
		memcpy(&part, path + i, sizeof(part));
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
	return strcmp(a->expected, word) == 0 ? 0 : EXIT_WRONG;
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
		return verdict(a, WTERMSIG(status) == SIGSYS ? "killed" : "died",
		    strsignal(WTERMSIG(status)));
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
			printf("%s %s\n", attempts[i].name, attempts[i].expected);
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
