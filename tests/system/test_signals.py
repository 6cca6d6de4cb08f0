# SPDX-License-Identifier: ISC
"""Every signal to every process, against the table of doc/privsep.md, which has a line for each."""
import os
import re
import signal

import pytest

import process
from bulkhead import CHILDREN, TOP, holds, wait_for

PROCESSES = ("supervisor", "runner", *CHILDREN)
# Outcomes of the table; the test of each is below.
OUTCOMES = ("nothing", "reload", "dump", "switchover", "stop", "leaves", "restart", "resumes")


def table():
    """{signal: {process: outcome}} from the document."""
    with open(os.path.join(TOP, "doc", "privsep.md")) as f:
        rows = re.findall(r"^\| (SIG[^|]*?) \| (.*) \|$", f.read(), re.M)
    return {name: dict(zip(PROCESSES, cells.split(" | "))) for names, cells in rows for name in names.split(", ")}


TABLE = table()
# What a process says of a signal that was sent; with ASan also of SIGSEGV, SIGBUS and SIGFPE.
SENT = (r"SIGSYS was sent by process|the runner ended \(signal 31 |"
        r"AddressSanitizer:DEADLYSIGNAL|==\d+==ERROR: AddressSanitizer: (SEGV|BUS|FPE) on unknown address|"
        r"==\d+==(The signal is caused|Register values|Hint:|ABORTING|WARNING: reading executable name)|"
        r"AddressSanitizer can not provide additional info|SUMMARY: AddressSanitizer: (SEGV|BUS|FPE) ")
NAMES = [s.name for s in signal.Signals if s.name not in ("SIGRTMAX", "SIGKILL", "SIGSTOP", "SIGCLD", "SIGPOLL")]


def test_table_is_complete():
    known = {s.name for s in signal.Signals} - {"SIGRTMAX", "SIGCLD", "SIGPOLL"}
    assert set(TABLE) == known
    assert {o for row in TABLE.values() for o in row.values()} <= set(OUTCOMES)
    with open(os.path.join(TOP, "doc", "man", "bulkhead.8")) as f:
        page = f.read()
    for name in ("SIGHUP", "SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGPIPE"):
        assert re.search(r"^\.(It )?Dv .*%s" % name, page, re.M), name


def pid_of(server, name):
    if name == "supervisor":
        return server.pid
    if name != "runner":
        return server.child(name)
    return [p for p in process.children(server.pid) if p not in [server.child(c) for c in CHILDREN]][0]


def send(server, name, sig):
    """Send a signal; returns the pid and where the log ends."""
    pid, mark = pid_of(server, name), len(server.log())
    os.kill(pid, getattr(signal, sig))
    return pid, mark


def check(server, name, sig, outcome, unharmed):
    """A signal that the server outlives."""
    if name in CHILDREN:
        server.wait_child(name)
    pid, mark = send(server, name, sig)
    if name in CHILDREN and outcome == "nothing":
        unharmed.append((sig, pid))
    what = lambda: "%s to %s: %s\n%s" % (sig, name, outcome, server.log()[mark:])
    if outcome == "restart":
        wait_for(lambda: server.child(name) not in (None, pid), what)
        if sig == "SIGSYS":  # not a system call
            wait_for(lambda: "%s: SIGSYS was sent by process %d, ending" % (name, os.getpid()) in server.log()[mark:], what)
        wait_for(lambda: re.search(r"%s\[%d\] ended: .*; starting it again in \d+ ms" % (name, pid),
                                   server.log()[mark:]), what)
        return
    said = {"reload": "reload: the file says the same", "dump": "state: config",
            "switchover": "planned switchover asked for"}
    if outcome in said:
        wait_for(lambda: said[outcome] in server.log()[mark:], what)
    if outcome == "resumes":
        os.kill(pid, signal.SIGCONT)
    # whatever has been sent before has been dealt with when an answer comes
    holds(lambda: pid_of(server, name) == pid and process.alive(pid), what, 0.05)
    assert outcome != "nothing" or "SIG" not in server.log()[mark:], what()


@pytest.mark.parametrize("name", PROCESSES)
def test_signals(pair, name):
    """All that the process outlives, one after the other, to one of the standby; no role moves."""
    group, main, standby = pair
    standby.expect_log(r".")
    standby.provoke(SENT)
    hooks = main.role_hooks(), standby.role_hooks()
    unharmed = []
    # first those that do nothing: roled and netd would end a second after a false SIGUSR1
    for sig in sorted(NAMES, key=lambda s: TABLE[s][name] != "nothing"):
        if unharmed and TABLE[sig][name] != "nothing":
            holds(lambda: pid_of(standby, name) == unharmed[0][1], "one of %s ended %s" % (unharmed, name), 1.2)
            unharmed = []
        if TABLE[sig][name] not in ("stop", "leaves", "restart"):
            check(standby, name, sig, TABLE[sig][name], unharmed)
    if unharmed:
        holds(lambda: pid_of(standby, name) == unharmed[0][1], "one of %s ended %s" % (unharmed, name), 1.2)
    group.wait_pair()
    assert main.role() == "main" and (main.role_hooks(), standby.role_hooks()) == hooks


# Each restart is delayed for twice as long as the one before: a few for each pair of servers.
RESTARTS = 6
SHARES = {n: [s for s in [*NAMES, "SIGKILL", "SIGSTOP"] if TABLE[s][n] == "restart"] for n in CHILDREN}
SHARES = [(n, SHARES[n][i:i + RESTARTS]) for n in CHILDREN for i in range(0, len(SHARES[n]), RESTARTS)]


@pytest.mark.parametrize("name, signals", SHARES, ids=lambda v: v if isinstance(v, str) else v[0])
def test_signals_that_end_a_child(pair, name, signals):
    """It is started again; no role moves."""
    group, main, standby = pair
    standby.expect_log(r".")
    standby.provoke(SENT)
    hooks = main.role_hooks(), standby.role_hooks()
    for sig in signals:
        if sig in NAMES:
            check(standby, name, sig, "restart", [])
        else:
            check_end(standby, name, sig)
    standby.check_backoff(name, len(signals))
    group.wait_pair()
    assert main.role() == "main" and (main.role_hooks(), standby.role_hooks()) == hooks


def check_end(server, name, sig):
    server.wait_child(name)
    pid, mark = send(server, name, sig)
    wait_for(lambda: server.child(name) not in (None, pid), "%s is replaced after %s" % (name, sig))
    assert sig == "SIGKILL" or re.search(r"%s\[%d\] was killed because" % (name, pid), server.log()[mark:])


# Each needs a server of its own, and most go the same way: all of them with BULKHEAD_TEST_LONG=1.
SHORT = ("SIGTERM", "SIGINT", "SIGKILL", "SIGQUIT", "SIGSEGV", "SIGSYS", "SIGRTMIN")
ENDS = [(n, s) for s in NAMES + ["SIGKILL"] for n in PROCESSES
        if TABLE[s][n] in ("stop", "leaves") and (s in SHORT or os.environ.get("BULKHEAD_TEST_LONG"))]


@pytest.mark.parametrize("name, sig", ENDS, ids=lambda v: v)
def test_signals_that_end_the_server(pair, name, sig):
    """stop: in order. leaves: at once, the partner is told or finds out; nothing is left in either case."""
    group, main, standby = pair
    main.expect_log(r".")
    main.provoke(SENT)
    pids = main.pids()
    send(main, name, sig)
    status = main.wait_exit()
    if TABLE[sig][name] == "stop":
        assert status == (0 if name == "supervisor" else 1), status
        assert re.search(r"roled has left the group, another server is main", main.log())
    wait_for(lambda: not [p for p in pids if process.alive(p)], "nothing is left", 5)
    group.wait_role(standby, "main")
