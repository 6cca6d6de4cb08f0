/* SPDX-License-Identifier: ISC */
/*
 * Breach drill: entering the sandbox of a process, whole or without some of its layers. The whole
 * one is entered as the children do, by sandbox_drop() and sandbox_enter(); in the other runs the
 * same steps are called one by one.
 */
#include "config.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drill.h"

/* The compiled filter of each row: to make it anew for thousands of attempts takes too long. */
static struct sock_fprog programs[PROC_MAX];

const char *const layer_names[L_MAX] = {"namespaces", "first filter", "user and root folder",
    "limits", "Landlock", "filter of the row"};

const struct run runs[] = {
    [RUN_BARE] = {"no sandbox", 0},
    [RUN_FULL] = {"full sandbox", ALL_WALLS},
    {"without any filter", ALL_WALLS & ~SECCOMP},
    {"without Landlock", ALL_WALLS & ~WALL(L_LANDLOCK)},
    {"as root in the host's root folder", ALL_WALLS & ~WALL(L_USER)},
    {"in the host's namespaces", ALL_WALLS & ~WALL(L_SPACES)},
    {"without limits", ALL_WALLS & ~WALL(L_LIMITS)},
    {"filter of the row alone", WALL(L_FILTER)},
    {"first filter alone", WALL(L_STAGE0)},
    {"Landlock alone", WALL(L_LANDLOCK)},
    {"user and root folder alone", WALL(L_USER)},
    {"namespaces alone", WALL(L_SPACES)},
    {"limits alone", WALL(L_LIMITS)},
};
const size_t n_runs = sizeof(runs) / sizeof(runs[0]);

/*
 * In a process of its own: a filter lets a process signal itself, and that must not be the
 * supervisor.
 */
static void
build_programs(struct sock_filter (*code)[BPF_MAXINSNS], unsigned short *len)
{
	for (size_t i = 0; i < drill_n_roles; i++) {
		struct sock_fprog program;

		if (filter_export(filter_build(FILTER_ROLE, drill_roles[i].process), &program) != 0)
			_exit(1);
		memcpy(code[i], program.filter, program.len * sizeof(code[i][0]));
		len[i] = program.len;
	}
	_exit(0);
}

int
walls_prepare(void)
{
	const char *lacks = drill_lacks();
	struct {
		unsigned short len[PROC_MAX];
		struct sock_filter code[PROC_MAX][BPF_MAXINSNS];
	} *shared =
	    mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	if (lacks != NULL && strcmp(lacks, "seccomp") == 0)
		return sandbox_stage0_prepare();
	if (shared == MAP_FAILED || (pid = fork()) < 0)
		return -1;
	if (pid == 0)
		build_programs(shared->code, shared->len);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		return -1;
	for (size_t i = 0; i < drill_n_roles; i++)
		programs[drill_roles[i].process] =
		    (struct sock_fprog){shared->len[i], shared->code[i]};
	return sandbox_stage0_prepare();
}

static void
limit(int which, rlim_t value)
{
	const struct rlimit rl = {value, value};

	if (setrlimit((__rlimit_resource_t)which, &rl) != 0)
		drill_die("resource limit");
}

/*
 * As supervisor/spawn.c sets those of a child; of a running one tests/breach/facts.py looks at
 * them.
 */
static void
enter_limits(const struct drill_role *role, int dump_core)
{
	const struct role_row *row = role_row(role->process);

	if (!dump_core)
		limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, row->nofile);
	limit(RLIMIT_MEMLOCK, (rlim_t)row->memlock_kib << 10);
	if (row->as_mib > 0)
		limit(RLIMIT_AS, (rlim_t)row->as_mib << 20);
	limit(RLIMIT_NPROC, 0);
	if (process_file_bytes(role->process) != UINT64_MAX)
		limit(RLIMIT_FSIZE, process_file_bytes(role->process));
}

static void
enter_filter(const struct drill_role *role)
{
	if (programs[role->process].filter == NULL)
		return; /* the kernel takes none */
	if (sigsys_install(process_name(role->process)) != 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG,
		&programs[role->process]) != 0)
		drill_die("filter");
}

static void
enter_user(const struct sandbox_args *args)
{
	privdrop_root(args);
	privdrop_ids(args);
	privdrop_prove();
}

void
walls_enter(const struct drill_role *role, unsigned walls, int dump_core)
{
	struct sandbox_args args;

	drill_parse_args(role->process, &args);
	drill_core_limit(dump_core ? RLIM_INFINITY : 0);
	if (walls == ALL_WALLS)
		drill_namespaces();
	else if (walls & WALL(L_SPACES))
		drill_join_namespaces();
	if (walls & WALL(L_LIMITS))
		enter_limits(role, dump_core);
	if (walls & WALL(L_USER) && sandbox_limit_child() != 0)
		drill_die("bounding set");
	if (walls & WALL(L_STAGE0) &&
	    (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || sandbox_stage0_apply() != 0))
		drill_die("first filter");
	if (walls == ALL_WALLS) {
		sandbox_drop(&args);
		sandbox_enter(&args);
		return;
	}
	if (walls & WALL(L_USER))
		enter_user(&args);
	if (walls & WALL(L_LIMITS))
		privdrop_tie(&args);
	if (walls & WALL(L_LANDLOCK) && files_enter(role->process) < 0)
		drill_die("Landlock");
	if (walls & WALL(L_FILTER))
		enter_filter(role);
}
