# SPDX-License-Identifier: ISC
"""The supervisor: death without a trace, signals, restarts, powers that it does not have."""
import os
import signal

import pytest

import process
from bulkhead import CHILDREN, LONG_S, PATIENT, wait_for


@pytest.mark.parametrize("where", ["main", "standby"])
def test_sigkill_leaves_nothing(make_group, where):
    """No child is left soon after; on main the survivors' obituary makes the standby take over."""
    group = make_group(options=PATIENT)
    group.start()
    main, standby = group.wait_pair()
    victim = main if where == "main" else standby
    pids = victim.pids()
    assert len(pids) >= 1 + len(CHILDREN)
    victim.signal(signal.SIGKILL)
    victim.wait_exit()

    def left():
        process.reap()
        return [(p, process.arguments(p)) for p in pids if process.alive(p)]
    wait_for(lambda: not left(), lambda: "left: %s" % left(), 5)
    if where == "main":
        group.wait_proof(standby, "takeover-guard-dead", "takeover-program-dead")
        main.start()
        group.wait_pair()
    else:
        group.wait_dead(main, standby, "guard-dead", "program-dead")
        group.roles_hold({main: "main"}, 1)


def test_obituary_is_what_arrives(make_group):
    """SIGKILL of the supervisor alone: the surviving children say so, signed."""
    group = make_group(options=PATIENT)
    group.start()
    main, standby = group.wait_pair()
    main.signal(signal.SIGKILL)
    main.wait_exit()
    group.wait_proof(standby, "takeover-guard-dead")


@pytest.mark.parametrize("name", [s.name for s in signal.Signals if s.name not in (
    "SIGKILL", "SIGSTOP", "SIGTERM", "SIGINT", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGTRAP",
    "SIGSYS", "SIGHUP", "SIGUSR2", "SIGQUIT", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGXCPU", "SIGXFSZ",
    "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPOLL", "SIGIO", "SIGPWR", "SIGSTKFLT", "SIGRTMIN", "SIGRTMAX")] + ["SIGHUP"])
def test_harmless_signals(pair, name):
    """SIGHUP with an unchanged file, SIGUSR1, SIGCHLD, SIGPIPE, SIGWINCH...: no role moves."""
    group, main, standby = pair
    children = [main.child(n) for n in CHILDREN]
    main.signal(getattr(signal, name))
    if name == "SIGUSR1":
        wait_for(lambda: "main" in main.log().split("SIGUSR1", 1)[-1], "dump in the log")
    group.roles_hold({main: "main", standby: "standby"}, 0.7)
    assert [main.child(n) for n in CHILDREN] == children


def test_sigusr1_dumps_state(pair):
    group, main, standby = pair
    mark = len(main.log())
    main.signal(signal.SIGUSR1)
    wait_for(lambda: all(n in main.log()[mark:] for n in CHILDREN), lambda: main.log()[mark:])
    assert standby.name in main.log()[mark:], "the role machine tells what it knows of its partner"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_orderly_stop(pair, name):
    group, main, standby = pair
    pids = main.pids()
    main.signal(getattr(signal, name))
    assert main.wait_exit() == 0
    assert not [p for p in pids if process.alive(p)]
    group.wait_role(standby, "main")
    assert not os.path.exists(os.path.join(main.run, "admin.sock"))


def test_second_start_is_refused(pair):
    """Two guards on one state directory would share an identity: the second says so and ends."""
    import subprocess
    from bulkhead import DAEMON, LIBEXEC
    group, main, standby = pair
    p = subprocess.run([*main.inside(), DAEMON, "-d", "-x", LIBEXEC, "-f", main.config], text=True,
                       capture_output=True, timeout=LONG_S)
    assert p.returncode != 0 and p.stderr.strip()
    group.roles_hold({main: "main", standby: "standby"}, 0.5)


def test_daemonizes(make_group):
    """Without -d it detaches, and is stopped by the pid in its file."""
    import subprocess
    from bulkhead import DAEMON, LIBEXEC
    group = make_group(["alpha"])
    alpha = group["alpha"]
    p = subprocess.run([*alpha.inside(), DAEMON, "-x", LIBEXEC, "-f", alpha.config], text=True, timeout=LONG_S,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert p.returncode == 0
    pid_file = os.path.join(alpha.run, "bulkhead.pid")
    pid = wait_for(lambda: os.path.exists(pid_file) and int(open(pid_file).read() or 0), "pid file")
    pids = process.tree(pid)
    try:
        wait_for(lambda: alpha.role() in ("standby", "main"), "it answers")
        pids = process.tree(pid)
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not process.alive(pid), "it stops")
        process.reap()
        assert not [p for p in pids if process.alive(p)]
    finally:
        process.end(pids)


def test_powers_of_root(pair):
    """The supervisor runs as root with few capabilities, a filter, and no open network."""
    _, main, _ = pair
    with open("/proc/%d/status" % main.pid) as f:
        fields = dict(line.split(":\t", 1) for line in f.read().splitlines())
    capabilities = int(fields["CapEff"], 16)
    assert fields["Seccomp"].strip() == "2"
    for number, name in ((19, "SYS_PTRACE"), (16, "SYS_MODULE"), (17, "SYS_RAWIO"), (25, "SYS_TIME"), (22, "SYS_BOOT")):
        assert not capabilities & 1 << number, name


def runner_of(server):
    """Pid of the process that runs the hooks: a child of the supervisor that is no program of its own."""
    children = [server.child(name) for name in CHILDREN]
    return [p for p in process.children(server.pid) if p not in children][0]


def test_runner_hangs(pair):
    """A main that can run no hook any more gives the role away and ends, instead of waiting for ever."""
    group, main, standby = pair
    main.expect_log("runner")
    runner = runner_of(main)
    os.kill(runner, signal.SIGSTOP)
    group.wait_main_hook(standby)
    assert main.wait_exit() == 1
    assert not process.alive(runner)
    assert "runner[%d] is killed because it was silent" % runner in main.log()


def test_stop_while_the_runner_hangs(pair):
    """SIGTERM with a runner that hangs: the stop hook is given up, the end comes."""
    group, main, standby = pair
    main.expect_log("runner")
    pids = main.pids()
    os.kill(runner_of(main), signal.SIGSTOP)
    main.signal(signal.SIGTERM)
    main.wait_exit(30)
    wait_for(lambda: not [p for p in pids if process.alive(p)], "nothing is left", 5)
    group.wait_role(standby, "main")
