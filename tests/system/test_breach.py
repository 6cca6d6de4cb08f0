# SPDX-License-Identifier: ISC
"""The breach drill on a running pair: process facts, and calls that the children are made to issue."""
import itertools
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import bulkhead
import net
import process
from bulkhead import CHILDREN, USERS, wait_for
from capture import Capture

sys.path.insert(0, os.path.join(bulkhead.TOP, "tests", "breach"))
import facts  # noqa: E402

WITHOUT = os.path.join(bulkhead.BUILD, "tests", "breach", "without")
CATCH = os.path.join(bulkhead.BUILD, "tests", "breach", "catch")
PTRACE_DRILL = os.path.join(bulkhead.BUILD, "tests", "breach", "ptrace_drill")

WITH_SOCKETS = ("netd", "icmpd")  # the only ones that hold Internet sockets
ELSEWHERE = "192.0.2.99"  # in tests/breach/ptrace_drill.c too


def add_elsewhere(group):
    """A host that nobody is configured with, and that answers: a packet to it leaves."""
    net.ip("-n", group.network.switch, "addr", "add", ELSEWHERE + "/24", "dev", "br0")


def attempts():
    """[(name, {process or None: expected verdict}, on an Internet socket?)] of the drill by ptrace."""
    p = subprocess.run([PTRACE_DRILL, "-l"], capture_output=True, text=True)
    found = []
    for name, expected, *more in (l.split() for l in p.stdout.splitlines() if p.returncode == 0):
        found.append((name, {None: expected, **dict(m.split("=") for m in more if "=" in m)}, "socket" in more))
    return found


class Gone(Exception):
    """The process that was to issue a call had ended before."""


def issue(pid, attempt):
    """Make the process issue the call; returns verdict and detail."""
    def run():
        p = subprocess.run([PTRACE_DRILL, str(pid), attempt], capture_output=True, text=True,
                           timeout=bulkhead.patience(bulkhead.DEADLINE_S))
        if "No such process" in p.stderr or "ended before the attempt" in p.stderr:
            raise Gone("%s of %d" % (attempt, pid))
        assert p.returncode in (0, 1) or "no Internet socket" in p.stderr, \
            "%s of %d could not be tried: %s" % (attempt, pid, p.stderr)
        return p if p.returncode in (0, 1) else None
    p = wait_for(run, "%d has a socket for %s" % (pid, attempt), step_s=0.05)
    verdict, _, detail = p.stdout.strip().partition(" ")
    return verdict, detail


needs_filter = pytest.mark.skipif(
    bulkhead.REPORTS_ONLY, reason="what the filter of this build refuses is reported, and the process goes on")


def layers(server, name):
    return set(server.processes()[name]["layers"].split(","))


@needs_filter
def test_facts(pair):
    """User, capabilities, filters, namespaces, limits and descriptors are those of the policy row."""
    group, main, standby = pair
    for server in (main, standby):
        bad = facts.check(server.popen.pid, USERS)
        assert not bad, "%s: %s" % (server.name, "\n".join(bad))
        for name in CHILDREN:
            assert {"seccomp", "files"} <= layers(server, name), "%s: %s" % (name, server.processes()[name])
        assert not server.own()["degraded"]


@needs_filter
def test_facts_after_restarts(pair):
    """The next generation is confined as the first one, and nothing of the old one is left over."""
    group, main, standby = pair
    standby.provoke(r"SIGSYS|killed for|outside (the|its) promises")
    for name in CHILDREN:
        pid = standby.child(name)
        issue(pid, "socket")
        wait_for(lambda: all_up(standby, {name: pid}), "%s is started again, and ready" % name)
    group.wait_pair()
    bad = facts.check(standby.popen.pid, USERS)
    assert not bad, "\n".join(bad)


def all_up(server, gone):
    """{name: pid} once all children are up again: these ones, and not those before."""
    rows = server.processes()
    pids = {n: server.child(n) for n in CHILDREN}
    for name, pid in pids.items():
        row = rows.get(name, {})
        if pid in (None, gone.get(name)) or (row.get("pid"), row.get("state")) != (pid, "up"):
            return None
    return pids


def kernel_log_has(pid, since_s):
    """Is there a record of the kill since then (time.time()) in the kernel log? An audit daemon may take it elsewhere,
    and the kernel writes ten in five seconds. A number may have been that of another process before."""
    p = subprocess.run(["dmesg"], capture_output=True, text=True)
    stamps = re.findall(r"type=1326 audit\(([\d.]+):.* pid=%d .* sig=31 " % pid, p.stdout)
    return any(float(stamp) > since_s - 0.1 for stamp in stamps)  # the kernel's is that of its last tick


def check_end(server, name, pid, attempt, verdict, since_s):
    """The log tells how it ended and names the call; what was merely refused has not hurt."""
    if verdict == "trapped":
        # the name of the attempt is that of the call, or says on what it is made
        call = attempt if re.match("socket_|listener_|admin_|shutdown_", attempt) is None else r"\w+"
        line = r"%s\[%d\].*system call \d+ \(%s\) is outside the promises" % (name, pid, call)
    elif verdict == "killed":
        line = r"%s\[%d\] ended: .*SIGSYS" % (name, pid)
    else:
        assert server.child(name) == pid, "%s did not survive %s" % (name, attempt)
        return
    wait_for(lambda: re.search(line, server.log()), "the log tells of the end of %s by %s" % (name, attempt))
    if verdict == "killed" and kernel_log_has(pid, since_s):
        wait_for(lambda: re.search(r"%s\[%d\] was killed for system call \d+ \(" % (name, pid), server.log()),
                 "the log names the call that killed %s (%s)" % (name, attempt))


def catch_parser(server):
    """Have the server read its config again; the pid of its parser, stopped while it parses."""
    steps = itertools.chain((5000, 500), itertools.repeat(50))

    def caught():
        p = subprocess.run([CATCH, str(server.popen.pid), str(next(steps))], capture_output=True, text=True, timeout=bulkhead.patience(bulkhead.DEADLINE_S))
        return int(p.stdout) if p.returncode == 0 else None
    return wait_for(caught, "the parser is caught at its work")


def parsers(server):
    return [p for p in process.children(server.popen.pid) if process.arguments(p)[1:2] == ["parser"]]


def reload_ends(server, pid, before, words):
    """Wait for the words of the end of the reload by that parser; false: on a crowded machine the supervisor has run
    out of patience with it."""
    given_up = r"parser\[%d\] was killed because it was not ready in time" % pid
    wait_for(lambda: re.search("%s|%s" % (words, given_up), server.log()[before:]), "the reload ends: %s" % words)
    wait_for(lambda: pid not in parsers(server), "the parser is gone")
    return re.search(given_up, server.log()[before:]) is None


def issue_by_one_parser(server, attempt, expected):
    """The running parser issues the call; the config that it was to read is not taken, or read as ever. None when the
    supervisor has run out of patience with it."""
    pid, before = catch_parser(server), len(server.log())
    try:
        verdict, detail = issue(pid, attempt)
    except Gone:
        verdict, detail = "died", "before"
    if verdict == "died" and not reload_ends(server, pid, before, "reload refused"):
        return None
    assert verdict == expected, "parser: %s: %s %s, expected %s" % (attempt, verdict, detail, expected)
    if verdict in ("killed", "trapped"):
        ended = reload_ends(server, pid, before, r"reload refused.*the parser ended early: (signal 31|exit 112)")
    else:
        process.send([pid], signal.SIGCONT)
        ended = reload_ends(server, pid, before, "the file says the same as before")
    return {"process": "parser", "attempt": attempt, "verdict": verdict} if ended else None


def issue_by_parser(server, attempt, expected):
    cell = wait_for(lambda: issue_by_one_parser(server, attempt, expected), "a parser lives for long enough to issue " + attempt)
    wait_for(lambda: not parsers(server), "the parser is gone")
    return cell


@needs_filter
def test_facts_of_the_parser(pair):
    """Stopped in the middle of its file, it has what its row says and nothing else."""
    group, main, standby = pair

    def look():
        pid, before = catch_parser(standby), len(standby.log())
        standby.signal(signal.SIGSTOP)  # or it may run out of patience while it is looked at
        wait_for(lambda: process.state(standby.pid) == "T", "the supervisor stands still")
        looked = process.alive(pid)
        if looked:
            bad = facts.check_child("parser", pid, facts.rows()["parser"], USERS["parser"])
            bad += facts.check_namespaces({"supervisor": standby.popen.pid, "parser": pid})
            assert not bad, "\n".join(bad)
        process.send([pid], signal.SIGCONT)
        standby.signal(signal.SIGCONT)
        reload_ends(standby, pid, before, "the file says the same as before")
        return looked
    wait_for(look, "a parser that is still there")


PARTS = 4  # of the table below, for parallel runs
ATTEMPTS = 6  # at the same server: each that ends a child doubles the wait before its next start


def check_undisturbed(group, main, standby, hooks):
    """The other server saw restarts of children, and no reason to act."""
    group.wait_pair()
    assert main.role() == "main" and (main.role_hooks(), standby.role_hooks()) == hooks


@needs_filter
@pytest.mark.parametrize("part", range(PARTS))
def test_calls_are_refused(pair, part):
    """Every call that a child is made to issue is refused, by the kernel or by name in the log."""
    group, main, standby = pair
    standby.provoke(r"SIGSYS|killed for|outside (the|its) promises")
    table, gone, cells = [a for a in attempts() if a[0] != "control_icmp_type"][part::PARTS], {}, []
    capture = Capture(group, standby)
    add_elsewhere(group)
    assert len(table) >= 15
    serial = standby.own().get("conf_serial")
    hooks = main.role_hooks(), standby.role_hooks()
    for number, (attempt, verdicts, on_socket) in enumerate(table):
        if number % ATTEMPTS == ATTEMPTS - 1:
            check_undisturbed(group, main, standby, hooks)
            standby.stop()
            standby.start()
            group.wait_pair()
            hooks, gone = (main.role_hooks(), standby.role_hooks()), {}
        pids = wait_for(lambda: all_up(standby, gone), "all children are up", step_s=0.05)
        gone = {}
        for name, pid in pids.items():
            if on_socket and name not in WITH_SOCKETS:
                continue  # facts.py sees that it holds none
            expected = verdicts.get(name, verdicts[None])
            since_s = time.time()
            verdict, detail = issue(pid, attempt)
            cells.append({"process": name, "attempt": attempt, "verdict": verdict})
            assert verdict == expected, \
                "%s: %s: %s %s, expected %s" % (name, attempt, verdict, detail, expected)
            if verdict in ("killed", "trapped"):
                gone[name] = pid
            check_end(standby, name, pid, attempt, verdict, since_s)
        if not on_socket:
            cells.append(issue_by_parser(standby, attempt, verdicts[None]))
    wait_for(lambda: standby.own(), "roled answers")
    assert standby.own()["conf_serial"] == serial, "a parser's config was taken"
    odd, frames = capture.odd()
    assert frames and not odd, "it has sent what it must not: %s" % odd
    capture.close()
    check_undisturbed(group, main, standby, hooks)
    bulkhead.record("breach-running-%d" % part, cells)


def take_away(server, part):
    """The server runs as on a kernel without landlock or seccomp."""
    inside = server.inside
    server.inside = lambda: [*inside(), WITHOUT, part]


@pytest.mark.parametrize("part, word", [("landlock", "Landlock"), ("seccomp", "seccomp")])
def test_refuses_without_a_layer(make_group, part, word):
    """A kernel that lacks a layer: the guard does not start, and says what is missing."""
    group = make_group()
    server = group["alpha"]
    server.expect_log(r".")
    take_away(server, part)
    server.start()
    assert server.wait_exit() != 0
    assert re.search("error: .*%s" % word, server.log()), server.log()
    assert "--allow-degraded" in server.log()


@needs_filter
@pytest.mark.parametrize("part, lost, left", [("landlock", "files", "seccomp"), ("seccomp", "seccomp", "files")])
def test_degraded_is_explicit(make_group, part, lost, left):
    """With --allow-degraded it starts without that layer, and everybody is told so."""
    group = make_group()
    server = group["beta"]
    take_away(server, part)
    server.flags = ["--allow-degraded"]
    group.start()
    group.wait_pair()
    assert server.own()["degraded"]
    assert not group["alpha"].own()["degraded"]
    for name in CHILDREN:
        assert left in layers(server, name) and lost not in layers(server, name), server.processes()[name]
    assert "DEGRADED" in server.tool("status").stdout


def test_death_signal_alone(pair):
    """The supervisor is killed while its channels stay open: the children go by the signal alone."""
    group, main, standby = pair
    pids = [p for p in main.pids()[1:] if process.arguments(p)[1:2] and process.arguments(p)[1] in CHILDREN]
    assert len(pids) == len(CHILDREN)
    held = process.sockets_of(main.popen.pid)
    assert held
    os.kill(main.popen.pid, signal.SIGKILL)
    main.wait_exit()
    wait_for(lambda: not any(process.alive(p) for p in pids), "all children have gone")
    for s in held.values():
        s.close()
