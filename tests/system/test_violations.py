# SPDX-License-Identifier: ISC
"""A child that was taken over, or is broken, against the real others: it is killed, named and counted; the
supervisor, keyd and roled neither exit nor block nor grow; the partner sees no role change."""
import os
import re
import signal

import pytest

import process
import standin
from bulkhead import CHILDREN, now_s, wait_for

# (child, towards, act, what the log says of it)
MESSAGES = "it floods its channel"
BROKEN = "it broke the protocol"
CLOSED = "it closed its channel"
# all that these two may say at any time is that roled is at fault, and once a minute that is believed
ACCUSES = MESSAGES + "|it accuses others too often"
OFFENCES = [(c, "supervisor", *o) for c in CHILDREN for o in (
    ("log", "it floods its log"), ("fds", BROKEN), ("half-close", CLOSED))]
OFFENCES += [
    ("netd", "supervisor", "flood", MESSAGES), ("roled", "supervisor", "flood", MESSAGES),
    ("icmpd", "supervisor", "flood", ACCUSES), ("keyd", "supervisor", "flood", ACCUSES),
    ("netd", "supervisor", "deaf", "it was silent"), ("keyd", "supervisor", "half-open", "channel"),
    ("keyd", "supervisor", "byte", BROKEN), ("icmpd", "supervisor", "empty", BROKEN),
    ("netd", "roled", "flood", BROKEN), ("icmpd", "roled", "flood", BROKEN), ("keyd", "roled", "flood", BROKEN),
    ("roled", "keyd", "flood", BROKEN), ("roled", "netd", "flood", BROKEN),
    ("netd", "roled", "fds", BROKEN), ("icmpd", "roled", "fds", BROKEN), ("roled", "keyd", "fds", BROKEN),
    ("netd", "roled", "half-close", BROKEN), ("icmpd", "roled", "half-close", BROKEN),
    ("roled", "keyd", "half-close", BROKEN), ("netd", "roled", "half-open", BROKEN),
    ("icmpd", "supervisor", "guess", BROKEN),
    ("netd", "roled", "deaf", BROKEN),
]
SERVED_S = 1.0    # SIGHUP and SIGTERM are served within
GROWTH_KIB = 4096  # of the resident size of a process that lives on


def resident_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def offend(group, server, child, act, edge="supervisor", generations=1):
    """The child of a settled pair ends, and its next generations are the stand-in; returns where the log ends."""
    pid, mark = server.child(child), len(server.log())
    standin.put(server.libexec, child, act, edge, 2, 1 + generations)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "stand-in: %s towards %s" % (act, edge) in server.log()[mark:], "the stand-in acts")
    return mark


@pytest.fixture
def hostile(make_group):
    """A settled pair whose programs can be replaced."""
    group = make_group()
    for s in group:
        s.libexec = standin.folder(s, "keyd", "none", first=0, last=0)
        s.expect_log(r".")
    group.start()
    return (group, *group.wait_pair())


def hup_is_served(server):
    mark, at = len(server.log()), now_s()
    server.signal(signal.SIGHUP)
    wait_for(lambda: "reload: " in server.log()[mark:], "SIGHUP is served", SERVED_S, 0.005)
    return now_s() - at


@pytest.mark.parametrize("child, edge, act, why", OFFENCES, ids=lambda v: None if " " in v else v)
def test_offender_is_killed(hostile, child, edge, act, why):
    group, main, standby = hostile
    server = standby if child == "roled" else main
    epoch, hooks = main.epoch(), [len(s.hooks()) for s in group]
    bystanders = {n: server.child(n) for n in CHILDREN if n != child}
    if why == ACCUSES:
        del bystanders["roled"]
    watched = {"supervisor": server.pid, **bystanders}
    before = {n: (resident_kib(p), descriptors(p)) for n, p in watched.items()}
    mark = offend(group, server, child, act, edge)
    hup_is_served(server)
    line = wait_for(lambda: re.search(r"%s\[\d+\] was killed because (.*); starting it again in (\d+) ms "
                                      r"\(restart (\d+), offence (\d+)\)" % child, server.log()[mark:]),
                    lambda: "%s is killed and named\n%s" % (child, server.log()[mark:][-3000:]))
    assert re.search(why, line.group(1)), line.group(0)
    assert (int(line.group(3)), int(line.group(4))) == (2, 1), line.group(0)
    assert edge == "supervisor" or re.search(r"%s broke the protocol towards %s" % (child, edge), server.log()[mark:])
    if (act, edge) == ("half-open", "roled"):  # before roled finds out that nothing is answered
        assert "(closed its channel and lives on)" in server.log()[mark:]
    hup_is_served(server)
    group.wait_pair()
    assert main.role() == "main" and main.epoch() == epoch and [len(s.hooks()) for s in group] == hooks
    assert {n: server.child(n) for n in bystanders} == bystanders, "another process was disturbed"
    assert server.processes()["roled"]["restarts"] <= (2 if child == "roled" else 1 if why == ACCUSES else 0)
    assert process.alive(server.pid) and server.processes()[child]["restarts"] == 2
    for name, pid in watched.items():
        kib, fds = before[name]
        assert resident_kib(pid) <= kib + GROWTH_KIB, "%s has grown" % name
        wait_for(lambda: descriptors(pid) <= fds, lambda: "%s lost descriptors: %d, %d" % (name, fds, descriptors(pid)))
    assert len(server.log()) - mark < 200000, "a flood came through to the log"


@pytest.mark.parametrize("child, act, edge", [
    ("netd", "flood", "supervisor"), ("icmpd", "flood", "roled"), ("keyd", "log", "supervisor"),
    ("icmpd", "half-close", "supervisor"), ("netd", "deaf", "supervisor"), ("keyd", "fds", "roled")])
def test_stop_under_attack(hostile, child, act, edge):
    """SIGTERM in the middle of it: the role is handed over, and everything ends."""
    group, main, standby = hostile
    pids = main.pids()
    offend(group, main, child, act, edge, generations=standin.FOREVER)
    mark, at = len(main.log()), now_s()
    main.signal(signal.SIGTERM)
    wait_for(lambda: "SIGTERM: stopping" in main.log()[mark:], "SIGTERM is served", SERVED_S, 0.005)
    assert main.wait_exit() == 0
    assert not [p for p in pids if process.alive(p)]
    group.wait_role(standby, "main")
