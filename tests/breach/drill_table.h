/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: the attempts and their expected verdicts. The number is that of the list in
 * doc/privsep.md. K killed, T trapped, E any errno, an errno by name, "through";
 * MDWE: EACCES where the kernel can refuse executable memory by itself (6.3).
 */
struct attempt {
	int number;
	const char *text;
	long (*make)(void);
	const char *want[W_MAX];
};

#define TRY(number, text, name, ...) {number, text, try_##name, {__VA_ARGS__}}
#define FULL	 [W_FULL]
#define STAGE0	 [W_STAGE0]
#define LANDLOCK [W_LANDLOCK]
#define NONET	 [W_NONET]
#define DROP	 [W_DROP]
#define BARE	 [W_BARE]

static const struct attempt attempts[] = {
    TRY(1, "open /etc/shadow", open_shadow, FULL = "T", LANDLOCK = "E", DROP = "E", BARE = "through"),
    TRY(1, "open /proc/self/mem", open_own_memory, FULL = "T", LANDLOCK = "E", DROP = "E", BARE = "through"),
    TRY(1, "open the root folder", open_root, FULL = "T", LANDLOCK = "EACCES", BARE = "through"),
    TRY(1, "open /dev/null", open_null, FULL = "T", LANDLOCK = "E", DROP = "E", BARE = "through"),
    TRY(1, "openat2 /dev/null", openat2_null, FULL = "T", LANDLOCK = "E", DROP = "E", BARE = "through"),
    TRY(1, "creat a file", creat_file, FULL = "T", LANDLOCK = "EACCES", DROP = "EACCES", BARE = "through"),
    TRY(2, "reopen a descriptor through /proc", reopen_descriptor, FULL = "T", LANDLOCK = "E", BARE = "through"),
    TRY(3, "descriptors that are not in the row", stray_descriptors, FULL = "ENOENT", LANDLOCK = "ENOENT"),
    TRY(4, "execve", execve_shell, FULL = "K", LANDLOCK = "E", DROP = "E"),
    TRY(4, "execveat of a descriptor", execveat_descriptor, FULL = "K", LANDLOCK = "E", DROP = "E"),
    TRY(5, "mmap read, write, execute", mmap_rwx, FULL = "K", DROP = "MDWE", BARE = "through"),
    TRY(5, "mmap read, execute", mmap_rx, FULL = "K", BARE = "through"),
    TRY(5, "mprotect execute", mprotect_x, FULL = "K", DROP = "MDWE", BARE = "through"),
    TRY(5, "mmap of a descriptor", mmap_file, FULL = "K"),
    TRY(5, "memfd_create", make_memfd, FULL = "K", BARE = "through"),
    TRY(5, "shmat", attach_shm, FULL = "K", BARE = "EINVAL"),
    TRY(5, "remap_file_pages", remap_pages, FULL = "K", BARE = "EINVAL"),
    TRY(5, "pkey_mprotect", protect_with_key, FULL = "K", BARE = "through"),
    TRY(6, "fork", make_child, FULL = "K", BARE = "through"),
    TRY(6, "vfork", make_vfork, FULL = "K", BARE = "through"),
    TRY(6, "clone", make_clone, FULL = "K", BARE = "through"),
    TRY(6, "clone3", make_clone3, FULL = "ENOSYS", BARE = "through"),
    TRY(6, "clone of a thread", make_thread, FULL = "K", BARE = "through"),
    TRY(7, "setuid(0)", become_root, FULL = "K", LANDLOCK = "EPERM", DROP = "EPERM", BARE = "through"),
    TRY(7, "setresuid(0)", become_root_all, FULL = "K", LANDLOCK = "EPERM", DROP = "EPERM", BARE = "through"),
    TRY(7, "setgid(0)", change_group, FULL = "K", DROP = "EPERM", BARE = "through"),
    TRY(7, "setgroups", change_groups, FULL = "K", DROP = "EPERM", BARE = "through"),
    TRY(7, "capset", set_capabilities, FULL = "K", DROP = "EPERM"),
    TRY(7, "prctl(PR_SET_KEEPCAPS)", keep_capabilities, FULL = "K", DROP = "EPERM", BARE = "through"),
    TRY(7, "prctl(PR_SET_SECUREBITS)", change_securebits, FULL = "K", DROP = "EPERM", BARE = "through"),
    TRY(8, "unshare(NEWUSER)", unshare_user, FULL = "K", BARE = "through"),
    TRY(8, "unshare(NEWNET)", unshare_net, FULL = "K", LANDLOCK = "EPERM", DROP = "EPERM", BARE = "through"),
    TRY(8, "setns", enter_namespace, FULL = "K", STAGE0 = "K"),
    TRY(8, "mount", mount_proc, FULL = "K", STAGE0 = "K", LANDLOCK = "EPERM", DROP = "EPERM"),
    TRY(8, "pivot_root", pivot, FULL = "K", STAGE0 = "K", LANDLOCK = "EPERM", DROP = "EPERM"),
    TRY(8, "chroot", chroot_again, FULL = "K", LANDLOCK = "EPERM", DROP = "EPERM", BARE = "through"),
    TRY(9, "another seccomp filter", add_filter, FULL = "K", BARE = "through"),
    TRY(9, "prctl(PR_SET_DUMPABLE, 1)", set_dumpable, FULL = "K", BARE = "through"),
    TRY(9, "prctl(PR_SET_PTRACER)", allow_tracer, FULL = "K"),
    TRY(9, "prctl(PR_SET_MM)", change_memory_map, FULL = "K", DROP = "EPERM"),
    TRY(9, "prctl(PR_SET_PDEATHSIG, 0)", drop_death_signal, FULL = "K", BARE = "through"),
    TRY(9, "another SIGSYS handler", replace_handler, FULL = "K", BARE = "through"),
    TRY(10, "io_uring_setup", make_ring, FULL = "ENOSYS", STAGE0 = "ENOSYS"),
    TRY(11, "getpid by its x32 number", x32_getpid, FULL = "K", STAGE0 = "K", BARE = "ENOSYS through"),
    TRY(11, "getpid by int 0x80", int80_getpid, FULL = "K", STAGE0 = "K", BARE = "through"),
    TRY(12, "ioctl with bit 32 set", ioctl_high, FULL = "K T", BARE = "E"),
    TRY(12, "fcntl(F_SETFL) with bit 32 set", fcntl_high, FULL = "K T", BARE = "through"),
    TRY(12, "mprotect execute with bit 32 set", mprotect_high, FULL = "K", BARE = "E"),
    TRY(12, "shutdown with bit 32 set", shutdown_high, FULL = "K T"),
    TRY(12, "setsockopt with bit 32 set", setsockopt_high, FULL = "K T"),
    TRY(13, "prlimit of itself", raise_limit, FULL = "T", DROP = "EPERM"),
    TRY(13, "prlimit of the supervisor", raise_limit_of_parent, FULL = "T", DROP = "EPERM"),
    TRY(14, "core dump", crash, FULL = "no-core", DROP = "no-core"),
    TRY(15, "kill the supervisor", kill_supervisor, FULL = "K", LANDLOCK = "EPERM", DROP = "EPERM"),
    TRY(15, "kill the process group", kill_group, FULL = "K"),
    TRY(15, "kill(-1)", kill_all, FULL = "K"),
    TRY(15, "kill a process of the same user", kill_sibling, FULL = "K", LANDLOCK = "EPERM", DROP = "through"),
    TRY(15, "tgkill the supervisor", tgkill_supervisor, FULL = "K", LANDLOCK = "EPERM", DROP = "EPERM"),
    TRY(15, "pidfd_open, pidfd_send_signal", pidfd_kill, FULL = "K", LANDLOCK = "EPERM", DROP = "EPERM"),
    TRY(15, "rt_sigqueueinfo", queue_signal, FULL = "K", LANDLOCK = "EPERM", DROP = "EPERM"),
    TRY(16, "ptrace the supervisor", trace_sibling, FULL = "K", STAGE0 = "K", LANDLOCK = "EPERM", DROP = "EPERM"),
    TRY(16, "ptrace a process of the same user", trace_same_user, FULL = "K", STAGE0 = "K", LANDLOCK = "EPERM", DROP = "through EPERM"),
    TRY(16, "process_vm_readv", read_sibling, FULL = "K", STAGE0 = "K", LANDLOCK = "EPERM", DROP = "EPERM"),
    TRY(16, "pidfd_getfd", steal_descriptor, FULL = "K", STAGE0 = "K", LANDLOCK = "E"),
    TRY(16, "open /proc/pid/mem of the supervisor", open_sibling_memory, FULL = "T", LANDLOCK = "E", DROP = "E"),
    TRY(17, "connect to an abstract socket", connect_abstract, FULL = "K", LANDLOCK = "E", NONET = "EPERM", DROP = "through", BARE = "through"),
    TRY(17, "connect to a socket in the file system", connect_pathname, FULL = "K", LANDLOCK = "ENOENT", DROP = "ENOENT", BARE = "through"),
    TRY(18, "shmget", get_shm, FULL = "K", BARE = "through"),
    TRY(18, "semget", get_semaphore, FULL = "K", BARE = "through"),
    TRY(18, "msgget", get_queue, FULL = "K", BARE = "through"),
    TRY(18, "mq_open", open_queue, FULL = "K", BARE = "E"),
    TRY(18, "keyctl", use_keyring, FULL = "K", STAGE0 = "K", BARE = "E through"),
    TRY(18, "inotify_init", watch_files, FULL = "K", BARE = "through"),
    TRY(18, "fanotify_init", watch_mount, FULL = "K", STAGE0 = "K"),
    TRY(18, "userfaultfd", fault_memory, FULL = "K", STAGE0 = "K"),
    TRY(18, "perf_event_open", count_events, FULL = "K", STAGE0 = "K"),
    TRY(18, "bpf", load_bpf, FULL = "K", STAGE0 = "K"),
    TRY(20, "send on a resource descriptor", send_on_resource, FULL = "T"),
    TRY(20, "send on descriptors it does not have", send_on_unknown, FULL = "EBADF T"),
    TRY(20, "sendmsg on the control channel", sendmsg_on_channel, FULL = "T"),
    TRY(37, "send to an address", send_to_address, FULL = "T"),
    TRY(37, "connect by MSG_FASTOPEN", send_fastopen, FULL = "T"),
    TRY(37, "socket: TCP", socket_inet, FULL = "K", LANDLOCK = "through", BARE = "through"),
    TRY(37, "socket: UDP", socket_udp, FULL = "K", BARE = "through"),
    TRY(37, "socket: TCP over IPv6", socket_inet6, FULL = "K", BARE = "through"),
    TRY(37, "socket: raw", socket_raw, FULL = "K", LANDLOCK = "EPERM", DROP = "EPERM", BARE = "through"),
    TRY(37, "socket: packet", socket_packet, FULL = "K", LANDLOCK = "EPERM", DROP = "EPERM"),
    TRY(37, "socket: Unix", socket_unix, FULL = "K", BARE = "through"),
    TRY(37, "socket: netlink", socket_netlink, FULL = "K", BARE = "through"),
    TRY(37, "socket: AF_ALG", socket_alg, FULL = "K"),
    TRY(37, "socket: vsock", socket_vsock, FULL = "K"),
    TRY(37, "socketpair: datagram", pair_datagram, FULL = "K", BARE = "through"),
    TRY(37, "bind", bind_descriptor, FULL = "K"),
    TRY(37, "listen without bind", listen_descriptor, FULL = "K"),
    TRY(37, "connect(AF_UNSPEC)", connect_unspec, FULL = "K"),
    TRY(43, "connect by TCP", tcp_connect, FULL = "K", LANDLOCK = "E", NONET = "EACCES", DROP = "through", BARE = "through"),
    TRY(43, "bind a TCP port", tcp_bind, FULL = "K", LANDLOCK = "EACCES", NONET = "EACCES", DROP = "through", BARE = "through"),
    TRY(40, "shutdown of a listener", shutdown_listener, FULL = "T"),
    TRY(40, "shutdown of a listener for reading", shutdown_listener_read, FULL = "T"),
    TRY(40, "socket option on a listener", set_option_on_listener, FULL = "T"),
    TRY(40, "fcntl(F_SETOWN)", own_listener, FULL = "T"),
    TRY(40, "fcntl(F_SETFL, O_ASYNC)", async_listener, FULL = "T"),
    TRY(40, "dup3 onto the control channel", replace_control, FULL = "T"),
    TRY(18, "settimeofday", set_clock, FULL = "K", STAGE0 = "K", DROP = "E"),
    TRY(18, "reboot", reboot_machine, FULL = "K", STAGE0 = "K", DROP = "EPERM"),
};

/* Where a row differs under full walls. */
static const struct {
	enum process process;
	const char *text, *want;
} exceptions[] = {
    /* roled hands descriptors to netd */
    {PROC_ROLED, "sendmsg on the control channel", "through"},
};
