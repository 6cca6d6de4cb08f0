# SPDX-License-Identifier: ISC
"""A child that was taken over, or is broken, against the real others: it is killed, named and counted; the
supervisor, keyd and roled neither exit nor block nor grow; the partner sees no role change."""
import collections
import os
import re
import select
import signal
import socket
import struct

import pytest

import process
import standin
from bulkhead import CHILDREN, LONG_S, holds, now_s, wait_for

# (child, towards, act, what the log says of it)
MESSAGES = "it floods its channel"
BROKEN = "it broke the protocol"
CLOSED = "it closed its channel"
# all that these two may say at any time is that roled is at fault
ACCUSES = MESSAGES + "|it accuses others too often"
OFFENCES = [(c, "supervisor", *o) for c in CHILDREN for o in (
    ("log", "it floods its log"), ("fds", BROKEN), ("half-close", CLOSED))]
OFFENCES += [
    ("netd", "supervisor", "flood", MESSAGES), ("roled", "supervisor", "flood", MESSAGES),
    ("icmpd", "supervisor", "flood", ACCUSES), ("keyd", "supervisor", "flood", ACCUSES),
    ("syncd", "supervisor", "flood", ACCUSES), ("syncd", "supervisor", "empty", BROKEN),
    ("syncd", "supervisor", "deaf", "it was silent"),
    ("netd", "supervisor", "deaf", "it was silent"), ("keyd", "supervisor", "half-open", "channel"),
    ("keyd", "supervisor", "byte", BROKEN), ("icmpd", "supervisor", "empty", BROKEN),
    ("icmpd", "supervisor", "guess", BROKEN)]
# Towards a peer: it has only the peer's word against it, twice. Of keyd and roled it is roled, the one that is
# nearer to the network, whose life that costs, and roled that has to live with a keyd in other hands.
PEERS = [
    ("netd", "roled", "flood"), ("icmpd", "roled", "flood"), ("roled", "keyd", "flood"),
    ("netd", "roled", "fds"), ("icmpd", "roled", "fds"), ("roled", "keyd", "fds"),
    ("netd", "roled", "half-close"), ("icmpd", "roled", "half-close"), ("roled", "keyd", "half-close"),
    ("netd", "roled", "half-open"), ("netd", "roled", "deaf"), ("icmpd", "roled", "deaf"), ("roled", "keyd", "deaf")]
OFFENCES += [(*o, BROKEN) for o in PEERS]
SERVED_S = 1.0    # SIGHUP and SIGTERM are served within, and later as the machine is crowded
DATA_LINKS = {"netd": 4, "syncd": 4}
GROWTH_KIB = 4096  # of the resident size of a process that lives on


def resident_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        found = re.search(r"VmRSS:\s+(\d+)", f.read())
    return int(found.group(1)) if found else 0  # none: it has ended


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def offend(group, server, child, act, edge="supervisor", generations=1):
    """The child of a settled pair ends, and its next generations are the stand-in; returns where the log ends."""
    pid, mark = server.child(child), len(server.log())
    standin.put(server.libexec, child, act, edge, 2, 1 + generations)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "stand-in: %s towards %s" % (act.removeprefix("once-"), edge) in server.log()[mark:], "the stand-in acts")
    return mark


@pytest.fixture
def hostile(make_group):
    """A settled pair whose programs can be replaced."""
    group = make_group()
    for s in group:
        s.libexec = standin.folder(s, "keyd", "none", first=0, last=0)
        s.expect_log(r".")
    group.start()
    pair = group.wait_pair()
    for s in group:  # a role can be there before syncd has opened its store: descriptors are counted
        wait_for(lambda: "info: up: %s " % s.name in s.log(), "all processes of %s have their config" % s.name)
    return (group, *pair)


def hup_is_served(server):
    """SIGHUP is taken; not told by the end of a reload before."""
    mark = len(server.log())
    server.signal(signal.SIGHUP)
    wait_for(lambda: re.search("reload: (reading|one is under way)", server.log()[mark:]), "SIGHUP is served", SERVED_S, 0.005)


def where(main, standby, child, act=None):
    """Which server is attacked: not main, where the partner must take over from one that says nothing for long."""
    return standby if child == "roled" or (child, act) == ("netd", "deaf") else main


class Watch:
    """Those that must bear it: neither end, nor grow, nor change a role."""

    def __init__(self, group, main, standby, server, but=()):
        self.group, self.main, self.standby, self.server = group, main, standby, server
        self.epoch, self.hooks = main.epoch(), self.role_hooks()
        self.pids = {n: server.child(n) for n in CHILDREN if n not in but}
        self.before = {p: (resident_kib(p), descriptors(p)) for p in [server.pid, *self.pids.values()]}

    def role_hooks(self):
        return [s.role_hooks() for s in self.group]

    def check(self):
        self.group.wait_pair()
        assert self.main.role() == "main" and self.main.epoch() == self.epoch
        assert self.role_hooks() == self.hooks
        assert {n: self.server.child(n) for n in self.pids} == self.pids, "another process was disturbed"
        assert process.alive(self.server.pid)
        for pid, (kib, fds) in self.before.items():
            assert resident_kib(pid) <= kib + GROWTH_KIB, "%s has grown" % process.arguments(pid)
            # a sync and a request link may have come up meanwhile: two ends each in netd, one in syncd
            fds += DATA_LINKS.get(process.arguments(pid)[0], 0)
            wait_for(lambda: descriptors(pid) <= fds,
                     lambda: "%s lost descriptors: %d, %d" % (process.arguments(pid), fds, descriptors(pid)))


@pytest.mark.parametrize("child, edge, act, why", OFFENCES, ids=lambda v: None if " " in v else v)
def test_offender_is_killed(hostile, child, edge, act, why):
    group, main, standby = hostile
    server = where(main, standby, child, act)
    # keyd's second complaint may come through before its flood is noticed, and costs roled its life
    spared = [child, "roled"] if (child, why) == ("keyd", ACCUSES) else [child]
    watch = Watch(group, main, standby, server, spared)
    mark = offend(group, server, child, act, edge)
    hup_is_served(server)
    line = wait_for(lambda: re.search(r"%s\[\d+\] was killed because (.*); starting it again in (\d+) ms "
                                      r"\(restart (\d+), offence (\d+)\)" % child, server.log()[mark:]),
                    lambda: "%s is killed and named\n%s" % (child, server.log()[mark:][-3000:]))
    assert re.search(why, line.group(1)), line.group(0)
    assert (int(line.group(3)), int(line.group(4))) == (2, 1), line.group(0)
    said = r"%s broke the protocol towards %s with .*; " % (child, edge)
    if edge != "supervisor":
        assert re.search(said + "both get a new channel", server.log()[mark:])
        assert re.search(said + "it is killed", server.log()[mark:])
    if act == "deaf" and edge != "supervisor":
        assert "its channel (does not read its channel)" in server.log()[mark:]
    hup_is_served(server)
    watch.check()
    row = wait_for(lambda: server.processes().get(child, {}).get("restarts", 0) >= 2 and server.processes().get(child),
                   "status counts it")
    assert row["restarts"] == 2 and row["offences"] == 1 and row["offence_counts"] == {line.group(1): 1}, row
    assert row["last_offence"] == line.group(1) and 0 <= row["last_offence_age_ms"] < 60000
    assert row["accused"] == (2 if edge != "supervisor" else 0), row
    assert "%s was killed: 1 time because %s" % (child, line.group(1)) in server.tool("status").stdout
    assert not [r for n, r in server.processes().items() if n not in spared and r["offences"]]
    assert len(server.log()) - mark < 200000, "a flood came through to the log"


# ---- the word of one child against another

@pytest.mark.parametrize("child, edge, act", [
    ("netd", "roled", "flood"), ("icmpd", "roled", "fds"), ("roled", "keyd", "half-close"), ("netd", "roled", "deaf"),
    ("netd", "roled", "accuse"), ("icmpd", "roled", "accuse"), ("keyd", "roled", "accuse"), ("roled", "netd", "accuse")])
def test_once_costs_the_channel(hostile, child, edge, act):
    """What happens once between two, and what one says once of the other: a fresh channel, and nobody ends."""
    group, main, standby = hostile
    server = where(main, standby, child, act)
    watch = Watch(group, main, standby, server, [child])
    mark = offend(group, server, child, "once-" + act, edge)
    accuser, accused = (child, edge) if act == "accuse" else (edge, child)
    said = "%s broke the protocol towards %s with" % (accused, accuser)
    line = wait_for(lambda: [l for l in server.log()[mark:].splitlines() if said in l], lambda: server.log()[mark:])
    assert "both get a new channel" in line[0]
    stand_in = server.child(child)
    if child != "roled":  # the real roled shows what has been counted
        rows = lambda: {n: (r["accused"], r["accuses"]) for n, r in server.processes().items() if r["accused"] or r["accuses"]}
        wait_for(lambda: rows() == {accused: (1, 0), accuser: (0, 1)}, lambda: "status counts both: %s" % rows())
    holds(lambda: server.child(child) == stand_in, "it lives on", 1.5)
    assert "was killed" not in server.log()[mark:] and server.log()[mark:].count(said) == 1
    standin.real(server.libexec, child)
    os.kill(stand_in, signal.SIGKILL)
    wait_for(lambda: server.processes().get(child, {}).get("restarts") == 2, "the real %s is back" % child)
    watch.check()
    assert not [r for r in server.processes().values() if r["offences"]]


@pytest.mark.parametrize("child, edge", [("netd", "roled"), ("icmpd", "roled"), ("roled", "keyd")])
def test_who_accuses_again_is_killed(hostile, child, edge):
    """A process in other hands says of one that is farther from the network that it broke the protocol, again and
    again, in several lives: never does that cost the other one more than the channel."""
    group, main, standby = hostile
    server = where(main, standby, child)
    watch = Watch(group, main, standby, server, [child])
    mark, lives = offend(group, server, child, "accuse", edge, generations=3), 3
    line = r"%s\[\d+\] was killed because it accuses others too often" % child
    wait_for(lambda: len(re.findall(line, server.log()[mark:])) == lives, lambda: server.log()[mark:][-3000:])
    assert not re.search(r"%s\[\d+\] (was killed|ended)" % edge, server.log()[mark:])
    assert len(re.findall("the one that says so is killed", server.log()[mark:])) == lives
    watch.check()
    rows = wait_for(lambda: server.processes().get(child, {}).get("offences", 0) >= lives and server.processes(), "status counts it")
    assert rows[child]["offence_counts"] == {"it accuses others too often": lives}
    assert (rows[child]["accuses"], rows[edge]["accused"], rows[edge]["offences"]) == (2 * lives, 2 * lives, 0)


@pytest.mark.parametrize("child, edge", [("roled", "netd"), ("keyd", "roled")])
def test_patience_ends(hostile, child, edge):
    """Who is farther from the network is believed the second time, but not about each successor that there is."""
    group, main, standby = hostile
    watch = Watch(group, main, standby, standby, [child, edge])
    mark = offend(group, standby, child, "accuse", edge)
    wait_for(lambda: re.search(r"%s\[\d+\] was killed because it accuses others too often" % child,
                               standby.log()[mark:]), lambda: standby.log()[mark:][-3000:])
    assert len(re.findall(r"%s\[\d+\] was killed because it broke the protocol" % edge, standby.log()[mark:])) == 1
    watch.check()


def test_two_witnesses_are_believed(hostile):
    """netd and icmpd both complain of roled, each once: that is no longer the word of one."""
    group, main, standby = hostile
    epoch = main.epoch()
    mark = offend(group, standby, "netd", "once-accuse", "roled")
    wait_for(lambda: "both get a new channel" in standby.log()[mark:], "the first complaint")
    roled = standby.child("roled")
    assert not re.search(r"roled\[\d+\] (was killed|ended)", standby.log()[mark:])
    offend(group, standby, "icmpd", "once-accuse", "roled")
    wait_for(lambda: "roled[%d] was killed because it broke the protocol" % roled in standby.log()[mark:],
             lambda: standby.log()[mark:][-3000:])
    for name in ("netd", "icmpd"):
        standin.real(standby.libexec, name)
        os.kill(standby.child(name), signal.SIGKILL)
    group.wait_pair()
    assert main.role() == "main" and main.epoch() == epoch


# ---- the parser, which runs at a reload only, and the runner, which the supervisor cannot start again

@pytest.mark.parametrize("act, why", [
    ("flood", MESSAGES), ("log", "it floods its log"), ("fds", BROKEN), ("byte", BROKEN), ("empty", BROKEN),
    ("half-close", CLOSED), ("deaf", "it was not ready in time")])
def test_parser_in_other_hands(hostile, act, why):
    """It is killed, named and counted; the old configuration stays; it is not started before the next reload."""
    group, main, standby = hostile
    watch = Watch(group, main, standby, main)
    standin.put(main.libexec, "parser", act, "supervisor", 2, 2)
    mark = len(main.log())
    main.signal(signal.SIGHUP)
    acts = "parser[" if act == "log" else "stand-in: %s towards supervisor" % act
    wait_for(lambda: acts in main.log()[mark:], "the stand-in acts")  # or both SIGHUP would be one
    hup_is_served(main)  # it may be under way, or over
    wait_for(lambda: "reload refused, the old config stays in force" in main.log()[mark:],
             lambda: main.log()[mark:][-2000:])
    assert re.search(r"parser\[\d+\] was killed because %s \(offence 1\)" % why, main.log()[mark:]), main.log()[mark:]
    row = wait_for(lambda: main.processes().get("parser"), "status has a line for it, once it has offended")
    assert row["offence_counts"] == {why: 1} and row["last_offence"] == why and row["state"] == "down"
    wait_for(lambda: main.own().get("reload_result") == "unchanged", "the second reload finds the real parser")
    wait_for(lambda: not [p for p in process.children(main.pid) if process.arguments(p)[:1] == ["parser"]], "it is gone")
    watch.check()
    assert len(main.log()) - mark < 200000, "a flood came through to the log"


@pytest.mark.parametrize("act", ["flood", "deaf"])
def test_stop_with_a_hostile_parser(hostile, act):
    group, main, standby = hostile
    pids = main.pids()
    standin.put(main.libexec, "parser", act, "supervisor", 2, standin.FOREVER)
    mark = len(main.log())
    main.signal(signal.SIGHUP)
    wait_for(lambda: "stand-in: " in main.log()[mark:], "the stand-in acts")
    pids += [p for p in process.children(main.pid) if p not in pids]
    main.signal(signal.SIGTERM)
    wait_for(lambda: "SIGTERM: stopping" in main.log()[mark:], "SIGTERM is served", SERVED_S, 0.005)
    assert main.wait_exit() == 0
    wait_for(lambda: not [p for p in pids if process.alive(p)], "nothing is left")
    group.wait_role(standby, "main")


def runner_of(server):
    return [p for p in process.children(server.pid) if p not in [server.child(c) for c in CHILDREN]][0]


def packet(kind, body=b""):
    return struct.pack("<HH", kind, 0) + body


def flood(end):
    """States of check 0, which this configuration does not have: taken, and forgotten. False: the channel ended before
    11000 were sent within a second, of which more than 5000 (RUNNER_RATE) fall into one second of the guard's; then it
    was the flood that ended it or, on a crowded machine, the silence of the stopped runner."""
    marks, end_s = collections.deque(maxlen=12), now_s() + LONG_S
    try:
        while now_s() < end_s and (len(marks) < 12 or marks[-1] - marks[0] > 1):
            for _ in range(1000):
                end.send(packet(62, bytes(8)))
            marks.append(now_s())
        for _ in range(1000000):
            end.send(packet(62, bytes(8)))
    except OSError:
        pass
    return len(marks) == 12 and marks[-1] - marks[0] <= 1


def guess(end):
    """The answer of a ping that was not read."""
    assert select.select([end], [], [], 10)[0], "one comes every 500 ms"
    end.send(packet(65, b"\1" + bytes(23)))


# what is done with the runner's own end of its channel
RUNNER_ACTS = {
    "flood": (flood, MESSAGES),
    "guess": (guess, BROKEN),
    "type": (lambda end: end.send(packet(60, bytes(25))), BROKEN),
    "byte": (lambda end: end.send(b"x"), BROKEN),
    "empty": (lambda end: end.send(b""), BROKEN),
    "fds": (lambda end: socket.send_fds(end, [packet(62, bytes(8))], [end.fileno()] * 100), BROKEN),
    "half-close": (lambda end: end.shutdown(socket.SHUT_WR), CLOSED),
    "half-open": (lambda end: end.shutdown(socket.SHUT_RD), "channel"),
}


@pytest.mark.parametrize("act", [*RUNNER_ACTS, "log", "deaf"])
def test_runner_in_other_hands(hostile, act):
    """It is killed and named. Hooks cannot be run any more, so that the guard hands over and stops in order."""
    group, main, standby = hostile
    pids, runner, mark = main.pids(), runner_of(main), len(main.log())
    kib, why = resident_kib(main.pid), {"log": "it floods its log", "deaf": "it was silent"}.get(act)
    end = process.sockets_of(runner)[3]
    os.kill(runner, signal.SIGSTOP)  # what follows is not in its program
    if act == "log":
        with open("/proc/%d/fd/1" % runner, "wb", buffering=0) as log:
            for _ in range(64):
                log.write(b"x" * 63 + b"\n") if select.select([], [log], [], 0.2)[1] else None
            try:
                for _ in range(1 << 16):
                    if not process.alive(runner) or not select.select([], [log], [], 1)[1]:
                        break
                    log.write((b"x" * 63 + b"\n") * 16)
            except BrokenPipeError:
                pass
    elif act != "deaf":
        do, why = RUNNER_ACTS[act]
        if do(end) is False:
            why += "|it was silent"  # it ended before that was a flood for certain
    if act == "deaf":
        hup_is_served(main)
    said = wait_for(lambda: re.search(r"runner\[%d\] is killed because (.*) \(offence 1\)" % runner, main.log()[mark:]),
                    lambda: "the runner is killed and named\n" + main.log()[mark:][-2000:])
    assert re.search(why, said.group(1)), said.group(0)
    end.close()
    assert resident_kib(main.pid) <= kib + GROWTH_KIB
    assert main.wait_exit() == 1
    assert "hooks cannot be run any more; stopping in order" in main.log()[mark:]
    assert len(main.log()) - mark < 400000  # it may write ten times as much as a child
    wait_for(lambda: not [p for p in pids if process.alive(p)], "nothing is left")
    group.wait_role(standby, "main")


@pytest.mark.parametrize("child, act, edge", [
    ("netd", "flood", "supervisor"), ("icmpd", "flood", "roled"), ("keyd", "log", "supervisor"),
    ("icmpd", "half-close", "supervisor"), ("syncd", "flood", "roled"), ("netd", "deaf", "supervisor"), ("keyd", "fds", "roled")])
def test_stop_under_attack(hostile, child, act, edge):
    """SIGTERM in the middle of it: the role is handed over, and everything ends."""
    group, main, standby = hostile
    pids = main.pids()
    offend(group, main, child, act, edge, generations=standin.FOREVER)
    mark = len(main.log())
    main.signal(signal.SIGTERM)
    wait_for(lambda: "SIGTERM: stopping" in main.log()[mark:], "SIGTERM is served", SERVED_S, 0.005)
    assert main.wait_exit() == 0
    wait_for(lambda: not [p for p in pids if process.alive(p)], "nothing is left")
    group.wait_role(standby, "main")


def test_moods_of_syncd(hostile):
    """syncd says by turns that there is no room for changes and that there is: that does not fill the ledger, and what
    found no place in it comes later."""
    group, main, standby = hostile
    mark = len(standby.log())

    def said():
        return [e["rule"] for e in standby.events() if e["rule"] in ("data-full", "data-taken")]
    offend(group, standby, "syncd", "moods", "roled")
    wait_for(lambda: "state changes too often" in standby.log()[mark:], "roled has enough of it")
    assert 2 <= len(said()) <= 64  # of a thousand
    # from now on it says that there is none, again and again
    wait_for(lambda: said()[-1] == "data-full", "its last word is in the ledger")
    wait_for(lambda: "no room" in str(standby.own().get("note")), "and in the status")
    group.wait_pair()
    assert main.role() == "main"
