# SPDX-License-Identifier: ISC
"""A child that dies at its start is tried again, less and less often; the others work on. A start that can never
work ends with one clear line."""
import os
import re
import signal

import pytest

import process
import standin
from bulkhead import CHILDREN, wait_for

LINE = r"%s\[\d+\] (?:ended|was killed).*; starting it again in (\d+) ms"


def waits(server, child, mark=0):
    """Back-off values that were logged, in milliseconds."""
    return [int(ms) for ms in re.findall(LINE % child, server.log()[mark:])]


def crash(make_group, child, act, last=standin.FOREVER):
    """A settled pair; on the standby for roled, else on main, the child then dies at each start."""
    group = make_group(options={"status.restart-grace": "60s"})  # no rival of a start that is late
    for s in group:
        s.libexec = standin.folder(s, "keyd", "none", first=0, last=0)
        s.expect_log(r".")
    group.start()
    main, standby = group.wait_pair()
    server = standby if child == "roled" else main
    mark = len(server.log())
    standin.put(server.libexec, child, act, first=2, last=last)
    os.kill(server.child(child), signal.SIGKILL)
    return group, main, standby, server, mark


@pytest.mark.parametrize("child, act", [
    ("icmpd", "die"), ("keyd", "abort"), ("netd", "die"), ("roled", "die"), ("keyd", "start-refused"),
    ("icmpd", "no-sandbox"), ("syncd", "die"), ("syncd", "start-refused")])
def test_backs_off(make_group, child, act):
    """10 ms, 20 ms, 40 ms ...; the sessions stay up while icmpd, keyd or syncd ends, and no role changes."""
    group, main, standby, server, mark = crash(make_group, child, act)
    others = {n: server.child(n) for n in CHILDREN if n != child}
    epoch = main.epoch()
    sessions = {s: [(l["server"], l["path"], l["inbound"], l["sessions"]) for l in s.links()] for s in group}
    count = 7 if child in ("icmpd", "keyd", "syncd") else 5  # the other two are needed
    seen = wait_for(lambda: waits(server, child, mark)[:count] if len(waits(server, child, mark)) >= count else None,
                    lambda: "%s backs off: %s" % (child, waits(server, child, mark)), step_s=0.002)
    assert seen == [10 * 2 ** i for i in range(count)]
    assert {n: server.child(n) for n in others} == others
    if child in ("icmpd", "keyd", "syncd"):
        wait_for(lambda: server.processes()[child]["state"] == "backoff", lambda: str(server.processes()[child]))
        assert {s: [(l["server"], l["path"], l["inbound"], l["sessions"]) for l in s.links(state="up")]
                for s in group} == sessions, "a session was disturbed"
        group.roles_hold({main: "main", standby: "standby"}, 0.5)
    standin.real(server.libexec, child)
    wait_for(lambda: server.processes().get(child, {}).get("state") == "up", "%s works again" % child)
    group.wait_pair()
    assert main.role() == "main" and main.epoch() == epoch
    assert {n: server.child(n) for n in others} == others


def test_backs_off_further(make_group):
    """Also one that works for a while each time: a second of life is no reason to begin at 10 ms again."""
    group, main, standby, server, mark = crash(make_group, "icmpd", "die", last=5)
    want = [10, 20, 40, 80, 160]
    wait_for(lambda: waits(server, "icmpd", mark) == want, lambda: "%s" % waits(server, "icmpd", mark))
    for wait_ms in (320, 640, 1280):
        wait_for(lambda: (lambda r: r["state"] == "up" and r["age_ms"] >= 1000)(server.processes()["icmpd"]),
                 "icmpd works for a second")
        pid = server.wait_child("icmpd")
        if wait_ms == 1280:  # from now on it is waited for most of the time
            standin.put(server.libexec, "icmpd", "die", first=2, last=standin.FOREVER)
        os.kill(pid, signal.SIGKILL)
        want.append(wait_ms)
        wait_for(lambda: waits(server, "icmpd", mark)[:len(want)] == want, lambda: "%s" % waits(server, "icmpd", mark))
    row = wait_for(lambda: (lambda r: r["state"] == "backoff" and r)(server.processes()["icmpd"]), "status shows it")
    assert row["backoff_ms"] >= 1280 and row["backoff_ms"] in waits(server, "icmpd", mark)
    group.roles_hold({main: "main", standby: "standby"}, 0.5)


@pytest.mark.skipif(not os.environ.get("BULKHEAD_TEST_LONG"), reason="four minutes: BULKHEAD_TEST_LONG=1")
def test_backs_off_to_a_minute(make_group):
    """Up to 60 s, no further, for as long as it takes; then a long life makes good."""
    group, main, standby, server, mark = crash(make_group, "icmpd", "die")
    want = [10 * 2 ** i for i in range(13)] + [60000, 60000]
    wait_for(lambda: len(waits(server, "icmpd", mark)) >= len(want), lambda: "%s" % waits(server, "icmpd", mark), 240, 0.1)
    assert waits(server, "icmpd", mark) == want
    standin.real(server.libexec, "icmpd")
    wait_for(lambda: server.processes()["icmpd"]["state"] == "up", "icmpd works again", 75, 0.1)
    group.roles_hold({main: "main", standby: "standby"}, 0.5)
    wait_for(lambda: server.processes()["icmpd"]["age_ms"] >= 61000, "it lives for longer than was waited for", 75, 0.1)
    os.kill(server.child("icmpd"), signal.SIGKILL)
    wait_for(lambda: waits(server, "icmpd", mark)[len(want):] == [10], lambda: "%s" % waits(server, "icmpd", mark))


def test_a_stable_life_starts_over(make_group):
    """Ten seconds of work after short waits: the next end counts as the first."""
    group, main, standby, server, mark = crash(make_group, "icmpd", "die", last=4)
    wait_for(lambda: server.processes()["icmpd"]["restarts"] == 4 and server.processes()["icmpd"]["state"] == "up", "up")
    assert waits(server, "icmpd", mark) == [10, 20, 40, 80]
    wait_for(lambda: server.processes()["icmpd"]["age_ms"] >= 10050, "it lives for ten seconds", 20, 0.05)
    os.kill(server.child("icmpd"), signal.SIGKILL)
    wait_for(lambda: waits(server, "icmpd", mark)[4:] == [10], lambda: "%s" % waits(server, "icmpd", mark))
    group.wait_pair()


def test_dies_the_first_times(make_group):
    """It dies at its first four starts of all, and then works: the guard waits, and comes up."""
    group = make_group()
    server = group["alpha"]
    server.expect_log(r".")
    server.libexec = standin.folder(server, "icmpd", "die", last=4)
    group.start()
    group.wait_pair()
    wait_for(lambda: waits(server, "icmpd") == [10, 20, 40, 80], server.log)
    wait_for(lambda: server.processes()["icmpd"]["state"] == "up", "icmpd works")
    assert server.processes()["icmpd"]["restarts"] == 4


def test_stops_while_one_crashes(make_group):
    """SIGTERM while a child waits for its next start."""
    group, main, standby, server, mark = crash(make_group, "icmpd", "die")
    wait_for(lambda: waits(server, "icmpd", mark)[-1:] >= [640], "it backs off")
    pids = server.pids()
    assert server.stop()[1] == 0
    assert not [p for p in pids if process.alive(p)]
    group.wait_role(standby, "main")


@pytest.mark.parametrize("child, act, code, line", [
    ("keyd", "no-sandbox", 110, "keyd cannot run here"), ("netd", "no-sandbox", 110, "netd cannot run here"),
    ("roled", "start-refused", 78, "roled refuses the config: not enough descriptors or memory"),
    ("keyd", "start-refused", 78, "keyd refuses the config: not enough descriptors or memory"),
    ("syncd", "no-sandbox", 110, "syncd cannot run here"),
    ("syncd", "start-refused", 78, "syncd refuses the config: not enough descriptors or memory")])
def test_never_works(make_group, child, act, code, line):
    """A first start that no other start can cure: the supervisor ends and says why, once."""
    group = make_group(["alpha"])
    server = group["alpha"]
    server.expect_log(r".")
    server.libexec = standin.folder(server, child, act, last=standin.FOREVER)
    server.start()
    assert server.wait_exit() == code
    assert server.log().count(line) == 1, server.log()
    assert "starting it again" not in server.log()
    assert len([l for l in server.log().splitlines() if "supervisor" in l and " error: " in l]) == 1, server.log()


@pytest.mark.parametrize("breakage, line", [("missing", "programs of the children are missing"),
                                            ("no program", "not a program")])
def test_without_a_program(make_group, breakage, line):
    group = make_group(["alpha"])
    server = group["alpha"]
    server.expect_log(r".")
    server.libexec = standin.folder(server, "keyd", "none", first=0, last=0)
    program = os.path.join(server.libexec, "keyd")
    if breakage == "missing":
        os.unlink(program)
    else:
        os.chmod(program, 0o644)
    server.start()
    assert server.wait_exit() == 78
    assert [l for l in server.log().splitlines() if " error: " in l and line in l and program in l]
