/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: the attempts, and which layer refuses each of them. The number is that of the list
 * in doc/privsep.md. A column says what comes of it behind that layer alone; where there is none
 * the layer leaves the attempt as it is without any sandbox, which is tried as well. What comes of
 * it behind several layers follows: it is refused when one of them refuses it alone.
 *
 * K killed, T trapped, E any errno, an errno by name, "through"; where it depends on the kernel:
 * MDWE (executable memory, 6.3), NET and SCOPE (Landlock ABI 4 and 6). Of what only syncd may do,
 * which has a folder of its own: OPEN is T and OWN is EACCES for the others, and nothing for syncd.
 * TOGETHER: what user, limits, Landlock and namespaces do together and none of them does alone.
 * BARE: without any sandbox, where it is not "through". An error there: the arguments are such that
 * nothing is harmed, or the kernel may lack it.
 */
/* a row is a line */
/* clang-format off */
#define TRY(number, text, name, ...)	   {number, text, try_##name, 0, {__VA_ARGS__}}
/* who has what it aims at: in the place of the others it is tried too, and may fail anyway */
#define TRY_OF(who, number, text, name, ...) {number, text, try_##name, who, {__VA_ARGS__}}
#define FILTER	 [L_FILTER]
#define STAGE0	 [L_STAGE0]
#define LANDLOCK [L_LANDLOCK]
#define SPACES	 [L_SPACES]
#define USER	 [L_USER]
#define LIMITS	 [L_LIMITS]
#define TOGETHER [C_TOGETHER]
#define BARE	 [C_BARE]
#define NETD	 (1U << PROC_NETD)
#define ICMPD	 (1U << PROC_ICMPD)
#define ROLED	 (1U << PROC_ROLED)
#define KEYD	 (1U << PROC_KEYD)
#define SYNCD	 (1U << PROC_SYNCD)
#define PARSER	 (1U << PROC_PARSER)

const struct attempt attempts[] = {
    TRY(1, "open /etc/shadow", open_shadow, FILTER = "OPEN", LANDLOCK = "EACCES", USER = "ENOENT"),
    TRY(1, "open /proc/self/mem", open_own_memory, FILTER = "OPEN", LANDLOCK = "EACCES", USER = "ENOENT"),
    TRY(1, "open the root folder", open_root, FILTER = "OPEN", LANDLOCK = "OWN"),
    TRY(1, "open /dev/null", open_null, FILTER = "OPEN", LANDLOCK = "EACCES", USER = "ENOENT"),
    TRY(1, "openat2 /dev/null", openat2_null, FILTER = "T", LANDLOCK = "EACCES", USER = "ENOENT"),
    TRY(1, "creat a file", creat_file, FILTER = "OPEN", LANDLOCK = "OWN", USER = "OWN"),
    TRY(2, "reopen a descriptor through /proc", reopen_descriptor, FILTER = "OPEN", LANDLOCK = "EACCES", USER = "ENOENT"),
    TRY(3, "descriptors that are not in the row", stray_descriptors, BARE = "ENOENT"),
    TRY(4, "execve", execve_shell, FILTER = "K", LANDLOCK = "EACCES", USER = "ENOENT", TOGETHER = "EAGAIN"),
    TRY(4, "execveat of a descriptor", execveat_descriptor, FILTER = "K", TOGETHER = "EAGAIN", BARE = "EACCES"),
    TRY(4, "execveat of a memfd", execve_memfd, FILTER = "K", LIMITS = "EFBIG", TOGETHER = "EAGAIN EFBIG"),
    TRY(5, "mmap read, write, execute", mmap_rwx, FILTER = "K", LIMITS = "MDWE"),
    TRY(5, "mmap read, execute", mmap_rx, FILTER = "K"),
    TRY(5, "mprotect execute", mprotect_x, FILTER = "K", LIMITS = "MDWE"),
    TRY(5, "mmap of a descriptor", mmap_file, FILTER = "K", BARE = "E"),
    TRY(5, "memfd_create", make_memfd, FILTER = "K"),
    TRY(5, "shmat", attach_shm, FILTER = "K", BARE = "E"),
    TRY(5, "remap_file_pages", remap_pages, FILTER = "K", BARE = "E"),
    TRY(5, "pkey_mprotect", protect_with_key, FILTER = "K", BARE = "through E"),
    TRY(5, "personality READ_IMPLIES_EXEC", gain_execution, FILTER = "K"),
    TRY(6, "fork", make_child, FILTER = "K", TOGETHER = "EAGAIN"),
    TRY(6, "vfork", make_vfork, FILTER = "K", TOGETHER = "EAGAIN"),
    TRY(6, "clone", make_clone, FILTER = "K", TOGETHER = "EAGAIN"),
    TRY(6, "clone3", make_clone3, FILTER = "ENOSYS", TOGETHER = "EAGAIN"),
    TRY(6, "clone of a thread", make_thread, FILTER = "K", TOGETHER = "EAGAIN"),
    TRY(7, "setuid(0)", become_root, FILTER = "K", USER = "EPERM"),
    TRY(7, "setresuid(0)", become_root_all, FILTER = "K", USER = "EPERM"),
    TRY(7, "setgid(0)", change_group, FILTER = "K", USER = "EPERM"),
    TRY(7, "setgroups", change_groups, FILTER = "K", USER = "EPERM"),
    TRY(7, "capset", set_capabilities, FILTER = "K", USER = "EPERM"),
    TRY(7, "prctl(PR_SET_KEEPCAPS)", keep_capabilities, FILTER = "K", USER = "EPERM"),
    TRY(7, "prctl(PR_SET_SECUREBITS)", change_securebits, FILTER = "K", USER = "EPERM"),
    TRY(7, "setreuid(0)", change_real_user, FILTER = "K", USER = "EPERM"),
    TRY(7, "setfsuid(0)", change_file_user, FILTER = "K", USER = "EPERM"),
    TRY(8, "unshare(NEWUSER)", unshare_user, FILTER = "K", USER = "EPERM"),
    TRY(8, "unshare(NEWNET)", unshare_net, FILTER = "K", USER = "EPERM"),
    TRY(8, "setns", enter_namespace, FILTER = "K", STAGE0 = "K", LANDLOCK = "EPERM", USER = "EPERM"),
    TRY(8, "mount", mount_proc, FILTER = "K", STAGE0 = "K", LANDLOCK = "EPERM", USER = "EPERM", BARE = "E"),
    TRY(8, "pivot_root", pivot, FILTER = "K", STAGE0 = "K", LANDLOCK = "EPERM", USER = "EPERM", BARE = "E"),
    TRY(8, "chroot", chroot_again, FILTER = "K", USER = "EPERM"),
    TRY(8, "unshare(NEWUSER), then chroot", chroot_in_user_namespace, FILTER = "K", USER = "EPERM"),
    TRY(9, "another seccomp filter", add_filter, FILTER = "K", USER = "EACCES", TOGETHER = "through"),
    TRY(9, "prctl(PR_SET_DUMPABLE, 1)", set_dumpable, FILTER = "K"),
    TRY(9, "prctl(PR_SET_PTRACER)", allow_tracer, FILTER = "K", BARE = "through EINVAL"),
    TRY(9, "prctl(PR_SET_MM)", change_memory_map, FILTER = "K", USER = "EPERM", BARE = "E"),
    TRY(9, "prctl(PR_SET_PDEATHSIG, 0)", drop_death_signal, FILTER = "K"),
    TRY(9, "another SIGSYS handler", replace_handler, FILTER = "K"),
    TRY(10, "io_uring_setup", make_ring, FILTER = "ENOSYS", STAGE0 = "ENOSYS", BARE = "through E"),
    TRY(11, "getpid by its x32 number", x32_getpid, FILTER = "K", STAGE0 = "K", BARE = "ENOSYS through"),
    TRY(11, "getpid by int 0x80", int80_getpid, FILTER = "K", STAGE0 = "K"),
    TRY(12, "ioctl with bit 32 set", ioctl_high, FILTER = "K T", BARE = "E"),
    TRY(12, "fcntl(F_SETFL) with bit 32 set", fcntl_high, FILTER = "K T"),
    TRY(12, "mprotect execute with bit 32 set", mprotect_high, FILTER = "K", BARE = "E"),
    TRY(12, "shutdown with bit 32 set", shutdown_high, FILTER = "K T"),
    TRY(12, "setsockopt with bit 32 set", setsockopt_high, FILTER = "K T"),
    TRY(12, "mmap execute with bit 32 set", mmap_high, FILTER = "K"),
    TRY(12, "madvise with bit 32 set", madvise_high, FILTER = "T"),
    TRY(12, "tgkill with bit 32 set", tgkill_high, FILTER = "K", LANDLOCK = "SCOPE", USER = "EPERM"),
    TRY(12, "sendto(MSG_OOB) with bit 32 set", sendto_high, FILTER = "T", BARE = "E"),
    TRY_OF(NETD, 12, "sendmsg with bit 32 set", sendmsg_high, FILTER = "T"),
    TRY(12, "socketpair with bit 32 set", socketpair_high, FILTER = "K"),
    TRY(12, "getsockopt with bit 32 set", getsockopt_high, FILTER = "T"),
    TRY(12, "dup3 with bit 32 set", dup3_high, FILTER = "T"),
    TRY(12, "accept4 with bit 32 set", accept4_high, FILTER = "T", BARE = "E"),
    TRY(12, "pipe2 with bit 32 set", pipe2_high, FILTER = "T"),
    TRY(12, "open as a path with bit 32 set", open_path_high, FILTER = "T"),
    TRY(13, "prlimit of itself", raise_limit, FILTER = "T", USER = "EPERM", BARE = "through EPERM"),
    TRY(13, "prlimit of the supervisor", raise_limit_of_parent, FILTER = "T", USER = "EPERM"),
    TRY(13, "more memory than its limit", exceed_memory, LIMITS = "ENOMEM"),
    TRY(13, "more locked memory than its limit", exceed_locked, FILTER = "T", USER = "through ENOMEM EPERM", TOGETHER = "ENOMEM"),
    TRY(13, "more pipes than its limit", exceed_pipes, FILTER = "T", LIMITS = "EMFILE"),
    TRY(13, "more socket pairs than its limit", exceed_pairs, FILTER = "K", LIMITS = "EMFILE"),
    TRY_OF(ROLED, 13, "more in its file than its limit", exceed_file, FILTER = "T", LIMITS = "EFBIG"),
    TRY(14, "core dump", crash, FILTER = "no-core", USER = "no-core", LIMITS = "no-core"),
    TRY(15, "kill the supervisor", kill_supervisor, FILTER = "K", LANDLOCK = "SCOPE", USER = "EPERM"),
    TRY(15, "kill the process group", kill_group, FILTER = "K"),
    TRY(15, "kill(-1)", kill_all, FILTER = "K"),
    TRY(15, "kill a process of the same user", kill_sibling, FILTER = "K", LANDLOCK = "SCOPE"),
    TRY(15, "tgkill the supervisor", tgkill_supervisor, FILTER = "K", LANDLOCK = "SCOPE", USER = "EPERM"),
    TRY(15, "pidfd_open, pidfd_send_signal", pidfd_kill, FILTER = "K", LANDLOCK = "SCOPE", USER = "EPERM"),
    TRY(15, "rt_sigqueueinfo", queue_signal, FILTER = "K", LANDLOCK = "SCOPE", USER = "EPERM"),
    TRY(16, "ptrace the supervisor", trace_sibling, FILTER = "K", STAGE0 = "K", LANDLOCK = "EPERM", USER = "EPERM"),
    TRY(16, "ptrace a process of the same user", trace_same_user, FILTER = "K", STAGE0 = "K", LANDLOCK = "EPERM"),
    TRY(16, "process_vm_readv", read_sibling, FILTER = "K", STAGE0 = "K", LANDLOCK = "EPERM", USER = "EPERM"),
    TRY(16, "pidfd_getfd", steal_descriptor, FILTER = "K", STAGE0 = "K", LANDLOCK = "EPERM", USER = "EPERM"),
    TRY(16, "open /proc/pid/mem of the supervisor", open_sibling_memory, FILTER = "OPEN", LANDLOCK = "EACCES", USER = "ENOENT"),
    TRY(16, "process_vm_readv, same user", read_same_user, FILTER = "K", STAGE0 = "K", LANDLOCK = "EPERM"),
    TRY(16, "open /proc/pid/maps, same user", open_same_user_maps, FILTER = "OPEN", LANDLOCK = "EACCES", USER = "ENOENT"),
    TRY(16, "open /proc/pid/environ, same user", open_same_user_environ, FILTER = "OPEN", LANDLOCK = "EACCES", USER = "ENOENT"),
    TRY(16, "open /proc/pid/fd/0, same user", open_same_user_descriptor, FILTER = "OPEN", LANDLOCK = "EACCES", USER = "ENOENT"),
    TRY(16, "pidfd_getfd, same user", steal_from_same_user, FILTER = "K", STAGE0 = "K", LANDLOCK = "EPERM"),
    TRY(17, "connect to an abstract socket", connect_abstract, FILTER = "K", LANDLOCK = "SCOPE", SPACES = "ECONNREFUSED"),
    TRY(17, "connect to a socket in the file system", connect_pathname, FILTER = "K", USER = "ENOENT"),
    TRY(18, "shmget", get_shm, FILTER = "K"),
    TRY(18, "semget", get_semaphore, FILTER = "K"),
    TRY(18, "msgget", get_queue, FILTER = "K"),
    TRY(18, "mq_open", open_queue, FILTER = "K", LANDLOCK = "EACCES"),
    TRY(18, "keyctl", use_keyring, FILTER = "K", STAGE0 = "K", BARE = "through E"),
    TRY(18, "inotify_init", watch_files, FILTER = "K"),
    TRY(18, "fanotify_init", watch_mount, FILTER = "K", STAGE0 = "K", USER = "EPERM"),
    TRY(18, "userfaultfd", fault_memory, FILTER = "K", STAGE0 = "K", USER = "EPERM through", BARE = "through E"),
    TRY(18, "perf_event_open", count_events, FILTER = "K", STAGE0 = "K", BARE = "E"),
    TRY(18, "bpf", load_bpf, FILTER = "K", STAGE0 = "K", BARE = "E"),
    TRY(18, "settimeofday", set_clock, FILTER = "K", STAGE0 = "K", BARE = "E"),
    TRY(18, "reboot", reboot_machine, FILTER = "K", STAGE0 = "K", USER = "EPERM", BARE = "E"),
    TRY(18, "shmat of a segment outside", attach_shared, FILTER = "K", SPACES = "EINVAL", USER = "EACCES"),
    TRY(18, "adjtimex", adjust_clock, FILTER = "K", STAGE0 = "K", USER = "EPERM", BARE = "through EPERM"),
    TRY(20, "send on a resource descriptor", send_on_resource, FILTER = "T", BARE = "E"),
    TRY(20, "send on descriptors it does not have", send_on_unknown, FILTER = "EBADF T", BARE = "EBADF"),
    TRY(20, "sendmsg on the control channel", sendmsg_on_channel, FILTER = "T"),
    TRY(20, "send on all descriptors of others", send_on_all_others, FILTER = "T EBADF", BARE = "EBADF"),
    TRY(37, "send to an address", send_to_address, FILTER = "T"),
    TRY_OF(NETD, 37, "connect by MSG_FASTOPEN", send_fastopen, FILTER = "T", BARE = "EISCONN"),
    TRY(37, "socket: TCP", socket_inet, FILTER = "K"),
    TRY(37, "socket: UDP", socket_udp, FILTER = "K"),
    TRY(37, "socket: TCP over IPv6", socket_inet6, FILTER = "K", BARE = "through E"),
    TRY(37, "socket: raw", socket_raw, FILTER = "K", USER = "EPERM"),
    TRY(37, "socket: packet", socket_packet, FILTER = "K", USER = "EPERM"),
    TRY(37, "socket: Unix", socket_unix, FILTER = "K"),
    TRY(37, "socket: netlink", socket_netlink, FILTER = "K"),
    TRY(37, "socket: AF_ALG", socket_alg, FILTER = "K", BARE = "through E"),
    TRY(37, "socket: vsock", socket_vsock, FILTER = "K", BARE = "through E"),
    TRY(37, "socketpair: datagram", pair_datagram, FILTER = "K"),
    TRY(37, "bind", bind_descriptor, FILTER = "K"),
    TRY(37, "listen without bind", listen_descriptor, FILTER = "K", BARE = "EINVAL"),
    TRY(37, "connect(AF_UNSPEC)", connect_unspec, FILTER = "K", BARE = "EINVAL"),
    TRY(37, "send by UDP", send_udp, FILTER = "K", SPACES = "ENETUNREACH"),
    TRY(37, "listen on a new socket without bind", listen_unbound, FILTER = "K"),
    TRY_OF(NETD | ICMPD, 38, "SO_BINDTODEVICE on its socket", bind_to_device, FILTER = "T"),
    TRY_OF(NETD | ICMPD, 38, "IP_OPTIONS on its socket", set_ip_options, FILTER = "T"),
    TRY_OF(ICMPD, 38, "IP_HDRINCL on its socket", include_header, FILTER = "T"),
    TRY_OF(NETD | ICMPD, 38, "IP_TRANSPARENT on its socket", make_transparent, FILTER = "T", USER = "EPERM"),
    TRY_OF(NETD | ICMPD, 38, "another filter on its socket", attach_filter, FILTER = "T", USER = "through EPERM"),
    TRY_OF(ICMPD, 38, "the filter of its socket off", detach_filter, FILTER = "T", BARE = "EPERM"),
    TRY_OF(ICMPD, 38, "the lock of that filter off", unlock_filter, FILTER = "T", BARE = "EPERM"),
    TRY_OF(NETD | ICMPD, 39, "sendto elsewhere on its socket", send_elsewhere, FILTER = "T"),
    TRY_OF(NETD | ICMPD, 39, "sendmsg elsewhere on its socket", sendmsg_elsewhere, FILTER = "T"),
    TRY_OF(NETD | ICMPD, 39, "sendmmsg elsewhere on its socket", sendmmsg_elsewhere, FILTER = "T"),
    TRY_OF(NETD | ICMPD, 39, "connect its socket elsewhere", connect_elsewhere, FILTER = "K"),
    TRY_OF(NETD | ICMPD, 39, "disconnect its socket", disconnect_socket, FILTER = "K"),
    TRY_OF(NETD, 40, "shutdown of a listener", shutdown_listener, FILTER = "T"),
    TRY_OF(NETD, 40, "shutdown of a listener for reading", shutdown_listener_read, FILTER = "T"),
    TRY_OF(NETD, 40, "socket option on a listener", set_option_on_listener, FILTER = "T"),
    TRY_OF(NETD, 40, "fcntl(F_SETOWN)", own_listener, FILTER = "T"),
    TRY_OF(NETD, 40, "fcntl(F_SETFL, O_ASYNC)", async_listener, FILTER = "T"),
    TRY(40, "dup3 onto the control channel", replace_control, FILTER = "T"),
    TRY(43, "connect by TCP", tcp_connect, FILTER = "K", LANDLOCK = "NET", SPACES = "ENETUNREACH"),
    TRY(43, "bind a TCP port", tcp_bind, FILTER = "K", LANDLOCK = "NET"),
    TRY(51, "open a file outside by ..", open_above, FILTER = "OPEN", LANDLOCK = "EACCES", USER = "ENOENT"),
    TRY_OF(SYNCD, 51, "open a file outside by a link", follow_link, FILTER = "OPEN", LANDLOCK = "EACCES", USER = "ENOENT"),
    TRY(51, "open a file outside by its handle", open_by_handle, FILTER = "K", STAGE0 = "K", LANDLOCK = "E", USER = "ENOENT", BARE = "through E"),
    TRY(51, "rename its file to the outside", rename_out, FILTER = "OPEN", LANDLOCK = "EACCES", USER = "EACCES ENOENT"),
    TRY(51, "hard link to a file outside", link_outside, FILTER = "T", LANDLOCK = "EACCES EXDEV", USER = "ENOENT"),
    TRY(52, "make a folder", make_folder, FILTER = "T", LANDLOCK = "EACCES", USER = "OWN"),
    TRY(52, "make a symbolic link", make_link, FILTER = "T", LANDLOCK = "EACCES", USER = "OWN"),
    TRY(52, "make a device node", make_device, FILTER = "K", LANDLOCK = "EACCES", USER = "EACCES EPERM", BARE = "through EPERM"),
    TRY(52, "make a named pipe", make_fifo, FILTER = "K", LANDLOCK = "EACCES", USER = "OWN"),
    TRY(52, "make a file without a name", make_unnamed, FILTER = "T", LANDLOCK = "OWN", USER = "OWN", BARE = "through E"),
    TRY(52, "change the mode of its file", change_mode, FILTER = "T", LANDLOCK = "OWN", USER = "OWN"),
    TRY(52, "give its file to another user", change_owner, FILTER = "T", LANDLOCK = "OWN", USER = "EACCES EPERM"),
    TRY(52, "an attribute of its file", set_attribute, FILTER = "T", LANDLOCK = "OWN", USER = "OWN", BARE = "through E"),
    TRY(53, "run a file that it wrote", run_own_file, FILTER = "T", LANDLOCK = "EACCES", USER = "OWN", LIMITS = "EFBIG"),
    TRY(53, "map a file that it made as code", map_own_code, FILTER = "T", LANDLOCK = "OWN", USER = "OWN"),
    TRY(53, "make code of a file that it mapped", protect_own_map, FILTER = "T", LANDLOCK = "OWN", USER = "OWN", LIMITS = "MDWE"),
    TRY(54, "splice", splice_bytes, FILTER = "T", BARE = "E"),
    TRY(54, "alarm", set_alarm, FILTER = "T"),
    TRY(54, "poll", poll_nothing, FILTER = "T"),
    TRY(54, "epoll_wait", wait_for_events, FILTER = "T", BARE = "E"),
    TRY(54, "accept as netd does", accept_as_netd, FILTER = "T", BARE = "E"),
    TRY(54, "accept as roled does", accept_as_roled, FILTER = "T", BARE = "E"),
    TRY(54, "accept as syncd does", accept_as_syncd, FILTER = "T", BARE = "E"),
    TRY(54, "ask who the other end is", ask_for_peer, FILTER = "T", BARE = "E"),
    TRY(54, "take bytes of a socket", take_bytes, FILTER = "T", BARE = "E"),
    TRY(54, "end a stream", end_stream, FILTER = "T", BARE = "E"),
    TRY(54, "read a state file", read_state, FILTER = "T", BARE = "E"),
};
/* clang-format on */

/* Where a process differs: by its promises and by its descriptors. */
static const struct {
	unsigned who;
	const char *text;
	unsigned column;
	const char *want;
} exceptions[] = {
    /* they hand descriptors to netd */
    {ROLED | SYNCD, "sendmsg on the control channel", L_FILTER, NULL},
    /* promised to it, and bounded by its limits */
    {ROLED | SYNCD, "more socket pairs than its limit", L_FILTER, NULL},
    {KEYD, "more locked memory than its limit", L_FILTER, NULL},
    {ROLED | SYNCD, "more in its file than its limit", L_FILTER, NULL},
    /* syncd maps as much as the configuration says */
    {SYNCD, "more memory than its limit", L_LIMITS, NULL},
    /* they write files; what they have of processes is none */
    {ROLED | SYNCD, "execveat of a memfd", L_LIMITS, NULL},
    {ROLED | SYNCD, "run a file that it wrote", L_LIMITS, NULL},
    {SYNCD, "run a file that it wrote", C_TOGETHER, "EAGAIN"},
    /* it can make the file, and then comes to what the others do not come to */
    {SYNCD, "run a file that it wrote", L_FILTER, "K"},
    {SYNCD, "map a file that it made as code", L_FILTER, "K"},
    {SYNCD, "make code of a file that it mapped", L_FILTER, "K"},
    /* promised to it */
    {NETD, "splice", L_FILTER, NULL},
    {NETD | ROLED, "alarm", L_FILTER, NULL},
    {KEYD, "poll", L_FILTER, NULL},
    {NETD | ICMPD | ROLED | SYNCD, "epoll_wait", L_FILTER, NULL},
    {NETD, "accept as netd does", L_FILTER, NULL},
    {NETD | ROLED, "accept as roled does", L_FILTER, NULL},
    {NETD | SYNCD, "accept as syncd does", L_FILTER, NULL},
    {ROLED | SYNCD, "ask who the other end is", L_FILTER, NULL},
    {NETD | ICMPD | ROLED | SYNCD, "take bytes of a socket", L_FILTER, NULL},
    {NETD | ROLED | SYNCD, "end a stream", L_FILTER, NULL},
    {ROLED | SYNCD, "read a state file", L_FILTER, NULL},
    /* the number is in the range of its sockets */
    {NETD | ICMPD | ROLED | SYNCD, "send on descriptors it does not have", L_FILTER, "EBADF"},
    /* its filter is locked */
    {ICMPD, "another filter on its socket", C_BARE, "EPERM"},
    /* TCP is connected once; a raw socket again and again */
    {NETD, "connect its socket elsewhere", C_BARE, "EISCONN"},
    {NETD, "connect its socket elsewhere", L_LANDLOCK, "NET"},
};
