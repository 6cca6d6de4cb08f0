# SPDX-License-Identifier: ISC
"""Each child killed alone, again and again: it comes back, the links come back, no role changes."""
import os
import re
import signal

import pytest

import process
from bulkhead import CHILDREN, wait_for

# Each time it is started again, the wait is twice as long, until it has lived for 10 s: with BULKHEAD_TEST_LONG=1
# it is killed twenty times.
LONG = bool(os.environ.get("BULKHEAD_TEST_LONG"))
TIMES, STABLE_MS = (20, 10000) if LONG else (5, 0)


@pytest.mark.parametrize("name", CHILDREN)
@pytest.mark.parametrize("where", ["main", "standby"])
def test_killed(pair, name, where):
    group, main, standby = pair
    victim, other = (main, standby) if where == "main" else (standby, main)
    victim.expect_log(r"killed by signal|SIGKILL|ended")
    siblings = {n: victim.child(n) for n in CHILDREN if n != name}
    hooks = main.role_hooks(), standby.role_hooks()
    epoch = main.epoch()
    for i in range(TIMES):
        sessions = group.sessions()
        victim.kill_child(name)
        if name in ("netd", "roled"):  # a link has two ends, and this one may have forgotten how many it has had
            group.wait_links(since={k: n for k, n in sessions.items() if k[0] == other.name})
        group.wait_links()
        wait_for(lambda: other.view(victim).get("verdict") == "healthy"
                 and victim.view(other).get("verdict") == "healthy",
                 lambda: "links recover after kill %d\n%s" % (i + 1, group.report()))
        assert main.role() == "main" and standby.role() == "standby", group.report()
        wait_for(lambda: victim.processes()[name]["age_ms"] >= STABLE_MS, "%s stays up" % name)
    if LONG:
        waits = re.findall(r"%s\[\d+\] ended: .*; starting it again in (\d+) ms" % name, victim.log())
        assert waits == ["10"] * TIMES
    else:
        victim.check_backoff(name, TIMES)
    assert victim.processes()[name]["restarts"] >= TIMES
    assert {n: victim.child(n) for n in siblings} == siblings, "another child was disturbed"
    assert (main.role_hooks(), standby.role_hooks()) == hooks, "a hook ran"
    assert main.epoch() == epoch
    group.roles_hold({main: "main", standby: "standby"}, 1)


@pytest.mark.parametrize("name", CHILDREN)
def test_hangs(pair, name):
    """A stopped child does not answer its supervisor: it is killed and started again."""
    group, main, standby = pair
    main.expect_log(r"killed|silent|PING|answer")
    pid = main.child(name)
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: main.child(name) not in (None, pid), "%s is replaced" % name)
    group.wait_pair()
    assert not process.alive(pid)


def test_crash_loop_backs_off(pair):
    """A child that ends again and again is started less and less often; the others work on."""
    group, main, standby = pair
    main.expect_log(r"killed by signal|SIGKILL|ended")
    seen, roled = set(), main.child("roled")

    def next_one():
        pid = main.child("icmpd")
        if pid and pid not in seen:
            seen.add(pid)
            os.kill(pid, signal.SIGKILL)
        return main.processes().get("icmpd", {}).get("backoff_ms", 0) >= 320
    wait_for(next_one, "back-off of icmpd grows", step_s=0.002)
    assert main.child("roled") == roled
    group.roles_hold({main: "main", standby: "standby"}, 0.5)
    group.wait_pair()
