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


def links_up(server, count):
    return len(server.links(state="up")) >= count


def watch(group, main, standby):
    """Function that is true while nobody has changed the role or the epoch."""
    epoch, hooks = main.epoch(), (len(main.hooks()), len(standby.hooks()))

    def unchanged():
        return ((len(main.hooks()), len(standby.hooks())) == hooks
                and main.epoch() == epoch)
    return unchanged


@pytest.mark.parametrize("name", CHILDREN)
@pytest.mark.parametrize("where", ["main", "standby"])
def test_killed(pair, name, where):
    group, main, standby = pair
    victim, other = (main, standby) if where == "main" else (standby, main)
    victim.expect_log(r"killed by signal|SIGKILL|ended")
    siblings = {n: victim.child(n) for n in CHILDREN if n != name}
    hooks = len(main.hooks()), len(standby.hooks())
    epoch = main.epoch()
    for i in range(TIMES):
        pid = wait_for(lambda: victim.child(name), "%s runs" % name)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: victim.child(name) not in (None, pid), "%s is started again" % name, step_s=0.002)
        wait_for(lambda: victim.processes().get(name, {}).get("state") == "up", "%s is ready" % name)
        wait_for(lambda: links_up(victim, 2) and links_up(other, 2)
                 and other.view(victim).get("verdict") == "healthy"
                 and victim.view(other).get("verdict") == "healthy",
                 lambda: "links recover after kill %d\n%s" % (i + 1, group.report()))
        assert main.role() == "main" and standby.role() == "standby", group.report()
        wait_for(lambda: victim.processes()[name]["age_ms"] >= STABLE_MS, "%s stays up" % name, 15)
    if LONG:
        waits = re.findall(r"%s\[\d+\] ended: .*; starting it again in (\d+) ms" % name, victim.log())
        assert waits == ["10"] * TIMES
    else:
        victim.check_backoff(name, TIMES)
    assert victim.processes()[name]["restarts"] >= TIMES
    assert {n: victim.child(n) for n in siblings} == siblings, "another child was disturbed"
    assert (len(main.hooks()), len(standby.hooks())) == hooks, "a hook ran"
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
