/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: the stage. Descriptors as the supervisor lays them out, something to aim at, and
 * how an attempt ended.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempts.h"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

/* Nobody accepts what the attempts connect: there is room for all of them. */
enum {
	DRILL_USER = 61901,
	ATTEMPT_MS = 20000,
	BACKLOG = 4096,
	SHARED = 4096,
	FOLDER_DEPTH = 2, /* scratch, what an attempt made in it */
};
#define M(x) (1U << (x))

const struct drill_role drill_roles[] = {
    {PROC_NETD, M(PROC_ROLED) | M(PROC_SYNCD), M(12) | M(13), 0, 0, 0, SOCK_STREAM},
    {PROC_ICMPD, M(PROC_ROLED), 0, 0, 0, 0, SOCK_RAW},
    {PROC_ROLED, M(PROC_NETD) | M(PROC_ICMPD) | M(PROC_KEYD) | M(PROC_SYNCD), 0,
	M(FD_STATE) | M(FD_LEDGER), M(FD_ADMIN), 0, 0},
    {PROC_KEYD, M(PROC_ROLED) | M(PROC_SYNCD), 0, 0, 0, 0, 0},
    {PROC_SYNCD, M(PROC_NETD) | M(PROC_ROLED) | M(PROC_KEYD), 0, 0, 0, M(FD_LOCAL), 0},
    {PROC_PARSER, 0, 0, M(FD_CONFIG), 0, 0, 0},
};
const size_t drill_n_roles = sizeof(drill_roles) / sizeof(drill_roles[0]);
struct drill_targets drill_target;

static char folder[64], empty[80], store[80];
static char scratch[80]; /* in place of the empty folder, which stays empty, for attempts of root */
static const char *root; /* one of them: the working directory of the attempt */
static pid_t namespaces; /* a process that is in namespaces of its own */
enum { NAMESPACES = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP };

void
drill_die(const char *what)
{
	dprintf(STDERR_FILENO, "R setup: %s: %s\n", what, strerror(errno));
	_exit(99);
}

int
drill_has_mdwe(void)
{
	return prctl(PR_GET_MDWE, 0, 0, 0, 0) >= 0;
}

long
drill_landlock_abi(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
}

const char *
drill_lacks(void)
{
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0 && errno == EINVAL)
		return "seccomp";
	return drill_landlock_abi() < 0 ? "Landlock" : NULL;
}

static int
listening_tcp(unsigned short *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, len) != 0 || listen(fd, BACKLOG) != 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &len) != 0)
		return -1;
	*port = ntohs(in.sin_port);
	return fd;
}

static int
listening_unix(const char *name, int abstract)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(un.sun_path + abstract, name, strlen(name));
	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&un,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)abstract +
			    strlen(name))) != 0 ||
	    listen(fd, BACKLOG) != 0)
		return -1;
	return fd;
}

/* A listening socket that has a name of the kernel's choice. */
static int
listening_local(void)
{
	const struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&un, sizeof(un.sun_family)) != 0 ||
	    listen(fd, 1) != 0)
		return -1;
	return fd;
}

/*
 * The folder that is the root of syncd, as supervisor/files.c makes it, and what it must not reach
 * from there: a file beside it that everybody may write, and in it a link to that file, as if one
 * had been put there. Returns 0 or -1 with errno.
 */
static int
make_store(void)
{
	char link[96];
	int fd, r;

	snprintf(store, sizeof(store), "%s/store", folder);
	snprintf(link, sizeof(link), "%s/way-out", store);
	snprintf(drill_target.outside, sizeof(drill_target.outside), "%s/outside", folder);
	fd = open(drill_target.outside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	r = fchmod(fd, 0666);
	close(fd);
	if (r != 0 || mkdir(store, 0710) != 0 || chmod(store, 0710) != 0 ||
	    symlink(drill_target.outside, link) != 0)
		return -1;
	return chown(store, DRILL_USER, 0);
}

/*
 * A folder of a drill and everything below it, by descriptors: files and folders that attempts made
 * and were ended in the middle of.
 */
static void
remove_folder(int parent, const char *name, int depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    unlinkat(fd, entry->d_name, 0) == 0)
			continue;
		if (depth > 0)
			remove_folder(fd, entry->d_name, depth - 1);
	}
	if (dir != NULL)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	unlinkat(parent, name, AT_REMOVEDIR);
}

/* A drill that was killed could not clean up after itself: nobody holds the lock of its folder. */
static void
remove_stale_folders(void)
{
	DIR *dir = opendir("/tmp");
	struct dirent *entry;
	struct stat st;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		int fd;

		if (strncmp(entry->d_name, "bh-drill.", strlen("bh-drill.")) != 0)
			continue;
		fd = openat(
		    dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (fstat(fd, &st) == 0 && st.st_uid == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			remove_folder(dirfd(dir), entry->d_name, FOLDER_DEPTH);
		close(fd);
	}
	if (dir != NULL)
		closedir(dir);
}

/*
 * A folder with its lock, which goes with this process. Another drill may take it for stale before
 * that.
 */
static int
make_folder(void)
{
	struct stat st;

	for (int i = 0; i < 10; i++) {
		int fd;

		snprintf(folder, sizeof(folder), "/tmp/bh-drill.XXXXXX");
		if (mkdtemp(folder) == NULL)
			return -1;
		fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && stat(folder, &st) == 0)
			return chmod(folder, 0755);
		if (fd >= 0)
			close(fd);
	}
	return -1;
}

/* What an attempt made and left, because it was ended or because it came through. */
static void
remove_traces(pid_t pid)
{
	const char *const folders[] = {store, scratch};
	char path[128];

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/drill-%d", folders[i], (int)pid);
		if (unlink(path) != 0 && errno != ENOENT)
			rmdir(path);
	}
	snprintf(path, sizeof(path), "%s-drill-%d", drill_target.outside, (int)pid);
	unlink(path);
}

/* A process with the user of the attempts that does nothing to protect itself. */
static pid_t
start_same_user(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setresgid(DRILL_USER, DRILL_USER, DRILL_USER) != 0 ||
		    setresuid(DRILL_USER, DRILL_USER, DRILL_USER) != 0)
			_exit(1);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_DUMPABLE, 1);
		for (;;)
			pause();
	}
	return pid;
}

/*
 * Attempts under way, what they started, which falls to us, and our helpers: nobody makes files any
 * more. The kernel's list may lack one for a moment in which another ends; it is over when there is
 * none to wait for.
 */
static void
end_all_children(void)
{
	char path[64], list[4096];
	pid_t ended;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	do {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd >= 0 ? read(fd, list, sizeof(list) - 1) : 0;

		if (fd >= 0)
			close(fd);
		list[n > 0 ? n : 0] = '\0';
		for (char *at = list, *end; (n = strtol(at, &end, 10)) > 1 && end != at; at = end)
			kill((pid_t)n, SIGKILL);
		while ((ended = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (ended == 0)
			(void)poll(NULL, 0, 1);
	} while (ended == 0);
}

/* Ctrl-C: nothing is left behind. Forks that have not gone their own way yet take no part. */
static void
on_end(int sig)
{
	if (getpid() == drill_target.supervisor)
		drill_clean_up();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* Namespaces are costly to make: but for the whole sandbox, all attempts share these. */
static pid_t
start_namespaces(void)
{
	char ready;
	int fds[2];
	pid_t pid;

	if (pipe(fds) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(NAMESPACES) != 0 || write(fds[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	if (pid > 0 && read(fds[0], &ready, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(fds[0]);
	return pid;
}

static int
prepare(void)
{
	if (geteuid() != 0)
		return 0;
	/* what an attempt leaves running is ours to end */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
		return 0;
	namespaces = start_namespaces();
	if (namespaces < 0)
		return 0;
	remove_stale_folders();
	if (make_folder() != 0)
		return 0;
	snprintf(empty, sizeof(empty), "%s/empty", folder);
	snprintf(scratch, sizeof(scratch), "%s/scratch", folder);
	snprintf(drill_target.pathname, sizeof(drill_target.pathname), "%s/socket", folder);
	snprintf(
	    drill_target.abstract, sizeof(drill_target.abstract), "bh-drill-%d", (int)getpid());
	if (mkdir(empty, 0555) != 0 || mkdir(scratch, 0555) != 0 ||
	    listening_tcp(&drill_target.port) < 0 || listening_unix(drill_target.pathname, 0) < 0 ||
	    listening_unix(drill_target.abstract, 1) < 0 ||
	    chmod(drill_target.pathname, 0777) != 0 || make_store() != 0)
		return 0;
	drill_target.supervisor = getpid();
	drill_target.shared = shmget(IPC_PRIVATE, SHARED, IPC_CREAT | 0600);
	if (drill_target.shared < 0)
		return 0;
	drill_target.same_user = start_same_user();
	signal(SIGINT, on_end);
	signal(SIGTERM, on_end);
	return drill_target.same_user > 0 && sandbox_stage0_prepare() == 0;
}

/* Who ends it meanwhile has to wait until all that is made can be taken away again. */
int
drill_prepare(void)
{
	sigset_t ends, before;
	int prepared;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, &before);
	prepared = prepare();
	sigprocmask(SIG_SETMASK, &before, NULL);
	return prepared;
}

void
drill_clean_up(void)
{
	end_all_children();
	shmctl(drill_target.shared, IPC_RMID, NULL);
	remove_folder(AT_FDCWD, folder, FOLDER_DEPTH);
}

static void
put_at(int fd, int number)
{
	if (fd < 0 || dup2(fd, number) != number)
		drill_die("descriptor");
	drill_target.expected_fds |= 1ULL << number;
}

static int
channel_end(void)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) != 0)
		drill_die("socketpair");
	return fds[0]; /* the other end stays open until close_range() */
}

/* A connected socket as the supervisor hands it out; its filter cannot be taken off again. */
static int
connected_socket(int type)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
	    .sin_port = type == SOCK_STREAM ? htons(drill_target.port) : 0,
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {1, &none};
	int one = 1;
	int fd = socket(AF_INET, type, type == SOCK_STREAM ? 0 : IPPROTO_ICMP);

	if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof(in)) != 0)
		drill_die("socket");
	if (type == SOCK_RAW &&
	    (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &one, sizeof(one)) != 0))
		drill_die("socket filter");
	return fd;
}

void
drill_descriptors(const struct drill_role *role, const struct drill_report *report, int is_root)
{
	unsigned short port;
	int from = fcntl(report->pipe[1], F_DUPFD, 200); /* out of the way of the fixed numbers */
	int control = fcntl(report->control[1], F_DUPFD, 200);

	drill_target.expected_fds = 0;
	put_at(open("/dev/null", O_RDONLY), FD_NULL);
	put_at(from, 1);
	put_at(from, 2);
	for (int fd = FD_CONTROL; fd < 200; fd++)
		close(fd);
	put_at(control, FD_CONTROL);
	for (unsigned p = 0; p < PROC_MAX; p++) {
		if (role->peers & M(p))
			put_at(fcntl(channel_end(), F_DUPFD, 100), FD_EDGE(p));
	}
	for (int fd = FD_RESOURCE; fd < FD_FIRST_FREE; fd++) {
		if (role->listeners & M(fd))
			put_at(fcntl(listening_tcp(&port), F_DUPFD, 100), fd);
		if (role->files & M(fd))
			put_at(fcntl((int)syscall(SYS_memfd_create, "a file of its own", 0U),
				   F_DUPFD, 100),
			    fd);
		if (role->admin & M(fd))
			put_at(fcntl(channel_end(), F_DUPFD, 100), fd);
		if (role->local & M(fd))
			put_at(fcntl(listening_local(), F_DUPFD, 100), fd);
	}
	if (role->socket != 0)
		put_at(fcntl(connected_socket(role->socket), F_DUPFD, 100), FD_FIRST_FREE);
	for (int fd = FD_CONTROL; fd <= FD_FIRST_FREE; fd++) {
		if (!(drill_target.expected_fds >> fd & 1))
			close(fd);
	}
	close_range(FD_FIRST_FREE + 1, ~0U, 0);
	root = role->process == PROC_SYNCD ? store : is_root ? scratch : empty;
	if (chdir(root) != 0)
		drill_die("chdir");
}

void
drill_core_limit(rlim_t limit)
{
	struct rlimit core = {limit, RLIM_INFINITY};

	setrlimit(RLIMIT_CORE, &core);
}

void
drill_namespaces(void)
{
	if (unshare(NAMESPACES) != 0)
		drill_die("unshare");
}

void
drill_join_namespaces(void)
{
	int holder = (int)syscall(SYS_pidfd_open, namespaces, 0);

	if (holder < 0 || syscall(SYS_setns, holder, NAMESPACES) != 0 || close(holder) != 0 ||
	    chdir(root) != 0)
		drill_die("namespaces");
}

void
drill_parse_args(enum process process, struct sandbox_args *args)
{
	char user[16], supervisor[16], name[16];
	char *argv[] = {name, name, (char[]){"1"}, user, user, supervisor,
	    drill_lacks() != NULL ? "1" : "0", NULL};

	snprintf(name, sizeof(name), "%s", process_name(process));
	snprintf(user, sizeof(user), "%d", DRILL_USER);
	snprintf(supervisor, sizeof(supervisor), "%d", (int)getppid());
	if (sandbox_parse_args(7, argv, args) != 0)
		drill_die("arguments");
}

void
drill_report_open(struct drill_report *r)
{
	if (pipe(r->pipe) != 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, r->control) != 0)
		drill_die("pipe");
}

/* With write(2) only: the sandbox is in force. */
void
drill_report_result(long result)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "R %ld %s\n", result,
	    result == -1 ? strerrorname_np(errno) : "through");

	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(98);
}

/* Everything that the attempt wrote, until it ends or its time is up. */
static void
read_report(int fd, pid_t pid, char *text, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t len = 0;

	for (;;) {
		ssize_t n;

		if (poll(&p, 1, ATTEMPT_MS) <= 0) {
			kill(pid, SIGKILL);
			break;
		}
		n = read(fd, text + len, size - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
		if (len == size - 1)
			break;
	}
	text[len] = '\0';
}

/* In the parent, after the fork: the end of the report is the end of the process. */
void
drill_report_started(struct drill_report *r)
{
	close(r->pipe[1]);
	close(r->control[1]);
}

void
drill_report_read(struct drill_report *r, pid_t pid, char *verdict, size_t size)
{
	char text[1024], word[32] = "?";
	const char *line;
	int status;

	read_report(r->pipe[0], pid, text, sizeof(text));
	close(r->pipe[0]);
	close(r->control[0]);
	waitpid(pid, &status, 0);
	remove_traces(pid);
	line = strstr(text, "R ");
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
		snprintf(verdict, size, "K");
	} else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) {
		snprintf(verdict, size, WCOREDUMP(status) ? "core" : "no-core");
	} else if (WIFSIGNALED(status)) {
		snprintf(verdict, size, "signal %d", WTERMSIG(status));
	} else if (WEXITSTATUS(status) == EXIT_SIGSYS &&
		   strstr(text, "is outside the promises") != NULL) {
		snprintf(verdict, size, "T");
	} else if (WEXITSTATUS(status) == 0 && line != NULL &&
		   sscanf(line, "R %*d %31s", word) == 1) {
		snprintf(verdict, size, "%s", word);
	} else if (WEXITSTATUS(status) == 0 && text[0] == '\0') {
		snprintf(verdict, size, "through"); /* another program ran in its place */
	} else {
		text[strcspn(text, "\n")] = '\0';
		snprintf(verdict, size, "exit %d: %.28s", WEXITSTATUS(status), text);
	}
}
