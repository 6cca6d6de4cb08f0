# SPDX-License-Identifier: ISC
"""The breach drill on a running pair: process facts, and calls that the children are made to issue."""
import os
import re
import subprocess
import sys

import pytest

import bulkhead
from bulkhead import CHILDREN, USERS, wait_for

sys.path.insert(0, os.path.join(bulkhead.TOP, "tests", "breach"))
import facts  # noqa: E402

DRILL = os.path.join(bulkhead.BUILD, "tests", "breach", "drill")
PTRACE_DRILL = os.path.join(bulkhead.BUILD, "tests", "breach", "ptrace_drill")


def attempts():
    """[(name, expected verdict)] of the drill by ptrace."""
    p = subprocess.run([PTRACE_DRILL, "-l"], capture_output=True, text=True)
    return [tuple(line.split()) for line in p.stdout.splitlines()] if p.returncode == 0 else []


def issue(pid, attempt):
    """Make the process issue the call; returns verdict and detail."""
    p = subprocess.run([PTRACE_DRILL, str(pid), attempt], capture_output=True, text=True,
                       timeout=bulkhead.DEADLINE_S)
    assert p.returncode in (0, 1), "%s of %d could not be tried: %s" % (attempt, pid, p.stderr)
    verdict, _, detail = p.stdout.strip().partition(" ")
    return verdict, detail


def sanitized():
    with open(os.path.join(bulkhead.BUILD, "config.h")) as f:
        return re.search(r"^#define BH_SANITIZERS 1", f.read(), re.M) is not None


needs_filter = pytest.mark.skipif(sanitized(), reason="a sanitizer build's filter refuses nothing")


@needs_filter
def test_facts(pair):
    """User, capabilities, filters, namespaces, limits and descriptors are those of the policy row."""
    group, main, standby = pair
    for server in (main, standby):
        bad = facts.check(server.popen.pid, USERS)
        assert not bad, "%s: %s" % (server.name, "\n".join(bad))


@needs_filter
def test_facts_after_restarts(pair):
    """The next generation is confined as the first one, and nothing of the old one is left over."""
    group, main, standby = pair
    standby.expect_log(r"SIGSYS|killed for|outside the promises")
    for name in CHILDREN:
        pid = standby.child(name)
        issue(pid, "socket")
        wait_for(lambda: standby.child(name) not in (None, pid), "%s is started again" % name)
        wait_for(lambda: standby.processes().get(name, {}).get("state") == "up", "%s is ready" % name)
    group.wait_pair()
    bad = facts.check(standby.popen.pid, USERS)
    assert not bad, "\n".join(bad)


def up_long_enough(server, name, old):
    """The pid of a child that has been up so long that its next start is not delayed."""
    pid = server.child(name)
    if pid in (None, old):
        return None
    row = server.processes().get(name, {})
    return pid if row.get("state") == "up" and row.get("age_ms", 0) >= 550 else None


@needs_filter
@pytest.mark.parametrize("name", CHILDREN)
def test_calls_are_refused(pair, name):
    """Every call that the child is made to issue is refused, by the kernel or by name in the log."""
    group, main, standby = pair
    standby.expect_log(r"SIGSYS|killed for|outside the promises")
    table, old = attempts(), None
    assert len(table) >= 20
    hooks = len(main.hooks()), len(standby.hooks())
    for attempt, expected in table:
        pid = wait_for(lambda: up_long_enough(standby, name, old), "%s is up" % name)
        verdict, detail = issue(pid, attempt)
        assert verdict == expected, "%s: %s: %s %s, expected %s" % (name, attempt, verdict, detail, expected)
        old = pid if verdict in ("killed", "trapped") else None
        if verdict == "trapped":
            line = r"%s\[%d\].*system call \d+ \(%s\) is outside the promises" % (name, pid, attempt)
            wait_for(lambda: re.search(line, standby.log()), "the log names " + attempt)
        elif verdict == "killed":
            wait_for(lambda: re.search(r"%s\[%d\] ended: .*SIGSYS" % (name, pid), standby.log()),
                     "the log tells of the end by " + attempt)
        else:
            assert standby.child(name) == pid, "%s did not survive %s" % (name, attempt)
    # the other server saw restarts of a child, and no reason to act
    group.wait_pair()
    assert main.role() == "main" and (len(main.hooks()), len(standby.hooks())) == hooks


@needs_filter
def test_drill():
    """The drill of `make check`: every attempt in the sandbox of every row, and by each layer alone."""
    p = subprocess.run([DRILL], capture_output=True, text=True, timeout=300)
    if p.returncode == 77:
        pytest.skip(p.stdout.strip())
    assert p.returncode == 0, p.stderr
