/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: the attempts themselves, and the stage on which they are made.
 */
#ifndef BH_TESTS_BREACH_ATTEMPTS_H
#define BH_TESTS_BREACH_ATTEMPTS_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "policy/policy.h"

enum { FD_ABSENT = 63 }; /* a number that no process has */

/* A process of the table and what it inherits. */
struct drill_role {
	enum process process;
	unsigned peers;	    /* mask of enum process: channels besides the one to the supervisor */
	unsigned listeners; /* mask of descriptors that are listening TCP sockets */
	unsigned files;	    /* mask of descriptors that are regular files */
	unsigned admin;	    /* mask of descriptors that are listening Unix sockets */
	unsigned local;	    /* the same, and real ones: connections can be accepted */
	int socket;	    /* SOCK_STREAM, SOCK_RAW: a connected one at FD_FIRST_FREE; 0: none */
};
extern const struct drill_role drill_roles[];
extern const size_t drill_n_roles;

/* The parent's side of an attempt: its result comes by a pipe that is its log as well. */
struct drill_report {
	int pipe[2];
	int control[2]; /* control channel; the other end stays open while it is tried */
};

/* 0 when this machine or user cannot run the drill. */
int drill_prepare(void);
void drill_clean_up(void);
/* What this kernel can refuse by itself: executable memory; what Landlock covers (-1: nothing). */
int drill_has_mdwe(void);
long drill_landlock_abi(void);
/* The part of the sandbox that this kernel does not have; NULL: it has all. */
const char *drill_lacks(void);
/* What the attempts aim at. */
struct drill_targets {
	pid_t supervisor;
	pid_t same_user;     /* a process with the user of the attempt, easy to trace */
	unsigned short port; /* TCP, loopback */
	int shared;	     /* System V segment of the supervisor's namespace */
	char pathname[96];
	/* a plain file beside the root folders that everybody may read and write */
	char outside[96];
	char abstract[64];
	unsigned long long expected_fds; /* bit per descriptor below 64 */
};
extern struct drill_targets drill_target;
extern const uint8_t drill_program[132]; /* an ELF program that only ends */
void drill_die(const char *what) __attribute__((noreturn));
/*
 * In the process of the attempt: fixed descriptors as the supervisor lays them out, and the working
 * directory. is_root: the attempt is made as root, who could write to the empty folder.
 */
void drill_descriptors(
    const struct drill_role *role, const struct drill_report *report, int is_root);
void drill_core_limit(rlim_t limit);
void drill_namespaces(void);
void drill_join_namespaces(void);
void drill_parse_args(enum process process, struct sandbox_args *args);
void drill_report_open(struct drill_report *r);
void drill_report_started(struct drill_report *r);
void drill_report_result(long result);
/* Wait for the process and say how the attempt ended. */
void drill_report_read(struct drill_report *r, pid_t pid, char *verdict, size_t size);

/*
 * Every attempt returns what its system call returned: -1 with errno when it was refused. The rest
 * is "through".
 */
/* clang-format off */
#define ATTEMPTS(X) \
	X(open_shadow) X(open_own_memory) X(open_root) X(open_null) X(openat2_null) \
	X(creat_file) X(reopen_descriptor) X(stray_descriptors) X(execve_shell) \
	X(execveat_descriptor) X(mmap_rwx) X(mmap_rx) X(mprotect_x) X(mmap_file) \
	X(make_memfd) X(attach_shm) X(remap_pages) X(protect_with_key) X(make_child) \
	X(make_vfork) X(make_clone) X(make_clone3) X(make_thread) X(become_root) \
	X(become_root_all) X(change_group) X(change_groups) X(set_capabilities) \
	X(keep_capabilities) X(change_securebits) X(unshare_user) X(unshare_net) \
	X(enter_namespace) X(mount_proc) X(pivot) X(chroot_again) X(add_filter) \
	X(set_dumpable) X(allow_tracer) X(change_memory_map) X(drop_death_signal) \
	X(make_ring) X(x32_getpid) X(int80_getpid) X(ioctl_high) X(fcntl_high) \
	X(mprotect_high) X(shutdown_high) X(setsockopt_high) X(raise_limit) \
	X(raise_limit_of_parent) X(crash) X(kill_supervisor) X(kill_group) X(kill_all) \
	X(kill_sibling) X(tgkill_supervisor) X(pidfd_kill) X(queue_signal) \
	X(trace_sibling) X(trace_same_user) X(read_sibling) X(steal_descriptor) \
	X(open_sibling_memory) X(connect_abstract) X(connect_pathname) X(get_shm) \
	X(get_semaphore) X(get_queue) X(open_queue) X(use_keyring) X(watch_files) \
	X(watch_mount) X(fault_memory) X(count_events) X(load_bpf) X(send_on_resource) \
	X(send_on_unknown) X(sendmsg_on_channel) X(send_to_address) X(send_fastopen) \
	X(socket_inet) X(socket_udp) X(socket_inet6) X(socket_raw) X(socket_packet) \
	X(socket_unix) X(socket_netlink) X(socket_alg) X(socket_vsock) X(pair_datagram) \
	X(bind_descriptor) X(listen_descriptor) X(connect_unspec) X(tcp_connect) \
	X(tcp_bind) X(shutdown_listener) X(shutdown_listener_read) \
	X(set_option_on_listener) X(own_listener) X(async_listener) X(replace_handler) \
	X(replace_control) X(set_clock) X(reboot_machine) X(execve_memfd) \
	X(gain_execution) X(chroot_in_user_namespace) X(change_real_user) \
	X(change_file_user) X(read_same_user) X(open_same_user_maps) \
	X(open_same_user_environ) X(open_same_user_descriptor) X(steal_from_same_user) \
	X(attach_shared) X(exceed_memory) X(exceed_locked) X(exceed_pipes) X(exceed_file) \
	X(exceed_pairs) X(mmap_high) X(madvise_high) X(tgkill_high) X(sendto_high) \
	X(sendmsg_high) X(socketpair_high) X(getsockopt_high) X(dup3_high) \
	X(accept4_high) X(pipe2_high) X(send_on_all_others) X(bind_to_device) \
	X(set_ip_options) X(include_header) X(attach_filter) X(detach_filter) \
	X(unlock_filter) X(send_elsewhere) X(sendmsg_elsewhere) X(sendmmsg_elsewhere) \
	X(connect_elsewhere) X(disconnect_socket) X(make_transparent) X(adjust_clock) X(send_udp) \
	X(listen_unbound) X(open_path_high) X(open_above) X(follow_link) X(open_by_handle) \
	X(rename_out) X(link_outside) X(make_folder) X(make_link) X(make_device) X(make_fifo) \
	X(make_unnamed) X(change_mode) X(change_owner) X(set_attribute) X(run_own_file) \
	X(map_own_code) X(protect_own_map) X(splice_bytes) X(set_alarm) X(poll_nothing) \
	X(wait_for_events) X(accept_as_netd) X(accept_as_roled) X(accept_as_syncd) \
	X(ask_for_peer) X(take_bytes) X(end_stream) X(read_state)
/* clang-format on */
#define X(name) long try_##name(void);
ATTEMPTS(X)
#undef X

#endif
