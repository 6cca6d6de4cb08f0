/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: what a process that was taken over would try. System calls by number where the C
 * library would get in the way. Arguments are such that nothing is harmed where an attempt gets
 * through.
 */
#include "config.h"

#include "attempts.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, MANY = 2000 /* descriptors: more than any row has */ };
#define MUCH (UINT64_C(1) << 30) /* bytes: more than any row has */
#define HIGH_BIT (1UL << 32)

static char other_stack[4 * PAGE] __attribute__((aligned(16)));
static char *const no_strings[] = {NULL};

static void *
fresh_page(void)
{
	return mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* from here on an attempt that is one call is one line, as a row of a table */
/* clang-format off */

/* ---- files */

long try_open_shadow(void) { return syscall(SYS_openat, AT_FDCWD, "/etc/shadow", O_RDONLY); }
long try_open_own_memory(void) { return syscall(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR); }
long try_open_root(void) { return syscall(SYS_openat, AT_FDCWD, ".", O_RDONLY | O_DIRECTORY); }
long try_open_null(void) { return syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY); }

long
try_openat2_null(void)
{
	uint64_t how[3] = {O_RDONLY, 0, 0};

	return syscall(SYS_openat2, AT_FDCWD, "/dev/null", how, sizeof(how));
}

long
try_creat_file(void)
{
	long fd = syscall(SYS_openat, AT_FDCWD, "drill-file", O_CREAT | O_WRONLY, 0600);

	if (fd >= 0)
		unlinkat(AT_FDCWD, "drill-file", 0); /* a call that syncd has */
	return fd;
}

long
try_reopen_descriptor(void)
{
	return syscall(SYS_openat, AT_FDCWD, "/proc/self/fd/0", O_RDONLY);
}

/* ENOENT when there is none but those of the row. */
long
try_stray_descriptors(void)
{
	for (int fd = 0; fd < 1024; fd++) {
		int open_now = fcntl(fd, F_GETFD) >= 0;
		int expected = fd < 64 && (drill_target.expected_fds >> fd & 1);

		if (open_now != expected)
			return fd;
	}
	errno = ENOENT;
	return -1;
}

/* ---- code */

long try_execve_shell(void) { return syscall(SYS_execve, "/bin/true", no_strings, no_strings); }

long
try_execveat_descriptor(void)
{
	return syscall(SYS_execveat, 0, "", no_strings, no_strings, AT_EMPTY_PATH);
}

/* A program that only ends, put into a file that has no name anywhere. */
long
try_execve_memfd(void)
{
#ifdef __x86_64__
	int fd = (int)syscall(SYS_memfd_create, "x", 0);

	if (fd < 0)
		return -1;
	if (write(fd, drill_program, sizeof(drill_program)) != (ssize_t)sizeof(drill_program))
		return -1;
	return syscall(SYS_execveat, fd, "", no_strings, no_strings, AT_EMPTY_PATH);
#else
	return syscall(SYS_memfd_create, "x", 0);
#endif
}

long
try_gain_execution(void)
{
	return syscall(SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */);
}

static long
map(int prot, int flags, int fd)
{
	void *p = mmap(NULL, PAGE, prot, flags, fd, 0);

	return p == MAP_FAILED ? -1 : 0;
}

long
try_mmap_rwx(void)
{
	return map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

long try_mmap_rx(void) { return map(PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1); }
long try_mmap_file(void) { return map(PROT_READ, MAP_PRIVATE, FD_NULL); }
long try_mprotect_x(void) { return mprotect(fresh_page(), PAGE, PROT_READ | PROT_EXEC); }

long
try_mprotect_high(void)
{
	return syscall(SYS_mprotect, fresh_page(), PAGE, HIGH_BIT | PROT_READ | PROT_EXEC);
}

long try_make_memfd(void) { return syscall(SYS_memfd_create, "x", 0); }
long try_attach_shm(void) { return syscall(SYS_shmat, -1, NULL, 0); }
long try_remap_pages(void) { return syscall(SYS_remap_file_pages, fresh_page(), PAGE, 0, 1, 0); }

long
try_protect_with_key(void)
{
	return syscall(SYS_pkey_mprotect, fresh_page(), PAGE, PROT_READ, -1);
}

/* ---- processes */

long
try_make_child(void)
{
	long pid = syscall(SYS_fork);

	if (pid == 0)
		_exit(0);
	return pid;
}

long
try_make_vfork(void)
{
	pid_t pid = vfork();

	if (pid == 0)
		_exit(0);
	return pid;
}

long
try_make_clone(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return pid;
}

long
try_make_clone3(void)
{
	uint64_t args[8] = {[4] = SIGCHLD};
	long pid = syscall(SYS_clone3, args, sizeof(args));

	if (pid == 0)
		_exit(0);
	return pid;
}

static int
thread(void *unused)
{
	(void)unused;
	return (int)syscall(SYS_exit, 0);
}

long
try_make_thread(void)
{
	return clone(thread, other_stack + sizeof(other_stack),
	    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL);
}

/* ---- powers */

long try_become_root(void) { return syscall(SYS_setuid, 0); }
long try_become_root_all(void) { return syscall(SYS_setresuid, 0, 0, 0); }
long try_change_group(void) { return syscall(SYS_setgid, 0); }

long
try_change_groups(void)
{
	gid_t group = 0;

	return syscall(SYS_setgroups, 1, &group);
}

long
try_set_capabilities(void)
{
	uint32_t head[2] = {0x20080522, 0};		 /* version 3, own process */
	uint32_t data[6] = {1 << 7, 1 << 7, 0, 0, 0, 0}; /* CAP_SETUID */

	return syscall(SYS_capset, head, data);
}

long try_keep_capabilities(void) { return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0); }
long try_change_securebits(void) { return prctl(PR_SET_SECUREBITS, 0, 0, 0, 0); }
long try_unshare_user(void) { return syscall(SYS_unshare, CLONE_NEWUSER); }
long try_unshare_net(void) { return syscall(SYS_unshare, CLONE_NEWNET); }

long
try_enter_namespace(void)
{
	int fd;

	syscall(SYS_setns, -1, 0); /* before the filter ends it for the other call */
	fd = (int)syscall(SYS_pidfd_open, drill_target.supervisor, 0);
	return syscall(SYS_setns, fd, CLONE_NEWNET);
}

long try_mount_proc(void) { return syscall(SYS_mount, "", "/", NULL, 0x2000 /* MS_MOVE */, NULL); }
long try_pivot(void) { return syscall(SYS_pivot_root, "/", "/"); }
long try_chroot_again(void) { return syscall(SYS_chroot, "."); }

/* Root in a namespace of its own would be enough for a chroot. */
long
try_chroot_in_user_namespace(void)
{
	long r = syscall(SYS_unshare, CLONE_NEWUSER);

	return r != 0 ? r : syscall(SYS_chroot, ".");
}

long try_change_real_user(void) { return syscall(SYS_setreuid, 0, -1); }

/* The call returns the old id, whatever happens. */
long
try_change_file_user(void)
{
	long now;

	syscall(SYS_setfsuid, 0);
	now = syscall(SYS_setfsuid, -1);
	errno = EPERM;
	return now == 0 ? 0 : -1;
}

long
try_add_filter(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {1, &allow};

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

long try_set_dumpable(void) { return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); }
long try_allow_tracer(void) { return prctl(PR_SET_PTRACER, -1L, 0, 0, 0); }
long try_change_memory_map(void) { return prctl(PR_SET_MM, PR_SET_MM_START_CODE, 0, 0, 0); }
long try_drop_death_signal(void) { return prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0); }

long
try_replace_handler(void)
{
	uint64_t action[4] = {0}; /* the kernel's struct sigaction: SIG_DFL */

	return syscall(SYS_rt_sigaction, SIGSYS, action, NULL, 8);
}

long
try_make_ring(void)
{
	uint8_t params[120] = {0};

	return syscall(SYS_io_uring_setup, 4, params);
}

/* ---- other doors */

long
try_x32_getpid(void)
{
#ifdef __x86_64__
	return syscall(0x40000000 | SYS_getpid);
#else
	errno = ENOSYS;
	return -1;
#endif
}

long
try_int80_getpid(void)
{
#ifdef __x86_64__
	long r = 20; /* getpid of the 32-bit table */

	__asm__ volatile("int $0x80" : "+a"(r) : : "memory", "r8", "r9", "r10", "r11");
	return r;
#else
	kill(getpid(), SIGSYS);
	return 0;
#endif
}

long
try_mmap_high(void)
{
	return syscall(SYS_mmap, NULL, PAGE, HIGH_BIT | PROT_READ | PROT_EXEC,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1L, 0L);
}

long
try_madvise_high(void)
{
	return syscall(SYS_madvise, fresh_page(), PAGE, HIGH_BIT | MADV_DONTFORK);
}

long
try_tgkill_high(void)
{
	return syscall(SYS_tgkill, HIGH_BIT | (unsigned)drill_target.supervisor,
	    HIGH_BIT | (unsigned)drill_target.supervisor, 0);
}

long try_ioctl_high(void) { return syscall(SYS_ioctl, FD_NULL, HIGH_BIT | TCGETS, other_stack); }
long try_fcntl_high(void) { return syscall(SYS_fcntl, FD_NULL, HIGH_BIT | F_SETFL, O_NONBLOCK); }
long try_shutdown_high(void) { return syscall(SYS_shutdown, FD_CONTROL, HIGH_BIT | SHUT_RDWR); }

long
try_setsockopt_high(void)
{
	int one = 1;

	return syscall(
	    SYS_setsockopt, FD_CONTROL, HIGH_BIT | SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
}

long
try_raise_limit(void)
{
	struct rlimit limit;

	if (syscall(SYS_prlimit64, 0, RLIMIT_NICE, NULL, &limit) != 0)
		return -1;
	limit.rlim_cur = ++limit.rlim_max;
	return syscall(SYS_prlimit64, 0, RLIMIT_NICE, &limit, NULL);
}

/* To what it is: of another process that is enough of an attempt. */
long
try_raise_limit_of_parent(void)
{
	struct rlimit limit;

	if (syscall(SYS_prlimit64, drill_target.supervisor, RLIMIT_NICE, NULL, &limit) != 0)
		return -1;
	return syscall(SYS_prlimit64, drill_target.supervisor, RLIMIT_NICE, &limit, NULL);
}

long
try_exceed_memory(void)
{
	return mmap(NULL, MUCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0) == MAP_FAILED
		   ? -1
		   : 0;
}

/* More than 1 MiB, which is the most that any row has, and less than its address space. */
long
try_exceed_locked(void)
{
	void *p = mmap(NULL, MUCH >> 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -1 : syscall(SYS_mlock, p, MUCH >> 8);
}

long
try_exceed_pipes(void)
{
	int fds[2];

	for (int i = 0; i < MANY / 2; i++) {
		if (syscall(SYS_pipe2, fds, O_CLOEXEC | O_NONBLOCK) != 0)
			return -1;
	}
	return 0;
}

long
try_exceed_file(void)
{
	return syscall(SYS_pwrite64, FD_LEDGER, "x", 1, LEDGER_BYTES);
}

long
try_exceed_pairs(void)
{
	int fds[2];

	for (int i = 0; i < MANY / 2; i++) {
		if (syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
			fds) != 0)
			return -1;
	}
	return 0;
}

long
try_crash(void)
{
	char *page = fresh_page();

	if (munmap(page, PAGE) != 0)
		return -1;
	*(volatile char *)page = 1;
	return 0;
}

/* ---- other processes. Signal 0 is checked as any other and does nothing. */

long try_kill_supervisor(void) { return syscall(SYS_kill, drill_target.supervisor, 0); }
long try_kill_group(void) { return syscall(SYS_kill, 0, 0); }
long try_kill_all(void) { return syscall(SYS_kill, -1, 0); }
long try_kill_sibling(void) { return syscall(SYS_kill, drill_target.same_user, 0); }

long
try_tgkill_supervisor(void)
{
	return syscall(SYS_tgkill, drill_target.supervisor, drill_target.supervisor, 0);
}

long
try_pidfd_kill(void)
{
	long fd = syscall(SYS_pidfd_open, drill_target.supervisor, 0);

	return fd < 0 ? fd : syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0);
}

long
try_queue_signal(void)
{
	siginfo_t info = {.si_code = SI_QUEUE};

	return syscall(SYS_rt_sigqueueinfo, drill_target.supervisor, 0, &info);
}

long
try_trace_sibling(void)
{
	return syscall(SYS_ptrace, PTRACE_SEIZE, drill_target.supervisor, 0, 0);
}

long
try_trace_same_user(void)
{
	return syscall(SYS_ptrace, PTRACE_SEIZE, drill_target.same_user, 0, 0);
}

/* Both are forks of one process: what is here is there at the same address. */
static long
read_memory_of(pid_t pid)
{
	struct iovec local = {other_stack, 1}, remote = {other_stack, 1};

	return syscall(SYS_process_vm_readv, pid, &local, 1L, &remote, 1L,
	    0L); /* the last is read from the stack, all of it */
}

long try_read_sibling(void) { return read_memory_of(drill_target.supervisor); }
long try_read_same_user(void) { return read_memory_of(drill_target.same_user); }

static long
steal_from(pid_t pid)
{
	long fd = syscall(SYS_pidfd_getfd, FD_NULL, 0, 0);

	if (fd < 0 && errno == EBADF) /* no pidfd: the call itself got through */
		fd = syscall(SYS_pidfd_open, pid, 0);
	return fd < 0 ? fd : syscall(SYS_pidfd_getfd, fd, 0, 0);
}

long try_steal_descriptor(void) { return steal_from(drill_target.supervisor); }
long try_steal_from_same_user(void) { return steal_from(drill_target.same_user); }

static long
open_file_of(pid_t pid, const char *name, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return syscall(SYS_openat, AT_FDCWD, path, flags);
}

long try_open_sibling_memory(void) { return open_file_of(drill_target.supervisor, "mem", O_RDWR); }

long
try_open_same_user_maps(void)
{
	return open_file_of(drill_target.same_user, "maps", O_RDONLY);
}

long
try_open_same_user_environ(void)
{
	return open_file_of(drill_target.same_user, "environ", O_RDONLY);
}

long
try_open_same_user_descriptor(void)
{
	return open_file_of(drill_target.same_user, "fd/0", O_RDONLY);
}

static long
connect_unix(const char *name, int abstract)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	long fd = syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0)
		return fd;
	memcpy(un.sun_path + abstract, name, strlen(name));
	return syscall(SYS_connect, fd, &un,
	    offsetof(struct sockaddr_un, sun_path) + (size_t)abstract + strlen(name));
}

long try_connect_abstract(void) { return connect_unix(drill_target.abstract, 1); }
long try_connect_pathname(void) { return connect_unix(drill_target.pathname, 0); }

/* ---- objects of the kernel */

long
try_get_shm(void)
{
	long id = syscall(SYS_shmget, IPC_PRIVATE, PAGE, 0600);

	return id < 0 ? id : syscall(SYS_shmctl, id, IPC_RMID, NULL);
}

/* Made outside, in the namespace of the supervisor. */
long
try_attach_shared(void)
{
	long at = syscall(SYS_shmat, drill_target.shared, NULL, SHM_RDONLY);

	return at == -1 ? -1 : 0;
}

long
try_get_semaphore(void)
{
	long id = syscall(SYS_semget, IPC_PRIVATE, 1, 0600);

	return id < 0 ? id : syscall(SYS_semctl, id, 0, IPC_RMID, 0);
}

long
try_get_queue(void)
{
	long id = syscall(SYS_msgget, IPC_PRIVATE, 0600);

	return id < 0 ? id : syscall(SYS_msgctl, id, IPC_RMID, NULL);
}

long
try_open_queue(void)
{
	char name[32]; /* not that of a drill beside this one */
	long fd;
	int error;

	snprintf(name, sizeof(name), "bh-drill-%d", (int)drill_target.supervisor);
	fd = syscall(SYS_mq_open, name, O_RDONLY | O_CREAT, 0600, NULL);
	error = errno;
	syscall(SYS_mq_unlink, name); /* it may have been made, and then not be opened */
	errno = error;
	return fd;
}

long try_use_keyring(void) { return syscall(SYS_keyctl, 0, -3, 0, 0, 0); }
long try_watch_files(void) { return syscall(SYS_inotify_init1, 0); }
long try_watch_mount(void) { return syscall(SYS_fanotify_init, 0, 0); }
long try_fault_memory(void) { return syscall(SYS_userfaultfd, 0); }
long try_count_events(void) { return syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0); }
long try_load_bpf(void) { return syscall(SYS_bpf, 0, NULL, 0); }

long
try_set_clock(void)
{
	struct timeval never = {.tv_usec = -1};

	return syscall(SYS_settimeofday, &never, NULL);
}

/* To what it is. */
long
try_adjust_clock(void)
{
	struct timex t = {0};

	if (syscall(SYS_adjtimex, &t) < 0)
		return -1;
	t.modes = ADJ_TICK;
	return syscall(SYS_adjtimex, &t);
}

long try_reboot_machine(void) { return syscall(SYS_reboot, 0, 0, 0, NULL); }
