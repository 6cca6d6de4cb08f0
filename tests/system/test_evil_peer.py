# SPDX-License-Identifier: ISC
"""One end of a channel in other hands: whatever it says that it must not say, it is cut off."""
import os
import re
import shutil
import signal
import subprocess

import pytest

import bulkhead
import process
from bulkhead import CHILDREN, SCALE, wait_for
from test_hostile import PORT

EVIL_PEER = os.path.join(bulkhead.BUILD, "tests", "breach", "evil_peer")
ALL = 1200  # more than any channel has: BULKHEAD_EVIL_CELLS=1200 tries all there are


def cells(default):
    """Cells per channel and state where each costs a process; deterministic, see choose_cell() of the program."""
    return int(os.environ.get("BULKHEAD_EVIL_CELLS", default))


def play(*args, limit_s=60):
    """Lines of the program, split; it must have found nothing."""
    p = subprocess.run([EVIL_PEER, *map(str, args)], capture_output=True, text=True, timeout=bulkhead.patience(limit_s * SCALE))
    assert p.returncode == 0, "exit %d\n%s%s" % (p.returncode, p.stdout, p.stderr)
    return [line.split("\t") for line in p.stdout.splitlines()]


def counted(rows):
    """[[receiver, sender, state, tried, refused]]; all must have been refused."""
    found = [[*r[1:4], int(r[4]), int(r[5])] for r in rows if r[0] == "cells"]
    assert all(tried == refused for *_, tried, refused in found), found
    return found


def give_data(group, main):
    """The group has data, and the links for it are up: until then main dials again and again."""
    wait_for(lambda: main.tool("init").returncode == 0, lambda: main.tool("init").stderr)
    wait_data(group)


def wait_data(group):
    wait_for(lambda: all(((s.status() or {}).get("data") or {}).get("stream") == "up" for s in group.running()
                         if s.role() != "main"), "everybody follows")


def wait_requests(group):
    """Each standby's request link is up, too: nothing but the log tells it."""
    for server in group.running():
        if server.role() != "main" and server.kind != "dmz":
            wait_for(lambda s=server: re.search(r"the request link to \w+ is up", s.log(whole=False)),
                     "the request link of %s is up" % server.name)


def settled_descriptors(server, links=2):
    """What to compare with: all that can be up is up."""
    wait_data(server.group)
    wait_requests(server.group)
    return descriptors(server, links)


def descriptors(server, links=2):
    """{name: number of descriptors} of the supervisor and its children, with their links up."""
    wait_data(server.group)
    wait_for(lambda: len(server.links(state="up")) == links, "all links are up")
    pids = {n: server.child(n) for n in CHILDREN}
    pids["supervisor"] = server.popen.pid
    try:
        return {n: count_descriptors(server, p) for n, p in pids.items() if p}
    except FileNotFoundError:
        return {}  # a process has ended since


def count_descriptors(server, pid):
    """Without the files of its data, of which syncd has as many as it needs."""
    count, folder = 0, "/proc/%d/fd" % pid
    for fd in os.listdir(folder):
        try:
            count += not os.readlink(os.path.join(folder, fd)).startswith(os.path.join(server.state, "data", ""))
        except FileNotFoundError:
            pass  # closed since
    return count


def check_descriptors(server, before, links=2):
    """Nobody has kept one of what was sent; those of links come and go."""
    def settled():
        now = descriptors(server, links)
        return len(now) == len(before) and all(now[n] <= before[n] for n in before)
    wait_for(settled, lambda: "descriptors were %s, are %s" % (before, descriptors(server, links)))


def check_undisturbed(group, main, standby, hooks):
    group.wait_pair()
    assert main.role() == "main" and standby.role() == "standby", group.report()
    assert (main.role_hooks(), standby.role_hooks()) == hooks, "a hook ran"


CLOSED = "was killed because it closed its channel"


def check_log(server, rows, closed=True):
    """Type and reason of each violation are in the log, and closed channels are told as what they are."""
    log = server.log()
    for _, child, name, reasons in (r for r in rows if r[0] == "log" and r[3]):
        line = r"%s broke the protocol with %s \((%s)\)" % (child, re.escape(name), reasons.strip("|"))
        assert re.search(line, log), "the log has no line %s" % line
    if closed:
        wait_for(lambda: CLOSED in server.log(), "closed channels")


def test_children_cut_off_evil_peers(pair):
    """Every message of the table in every wrong form, at the running children and the admin socket."""
    group, main, standby = pair
    standby.expect_log(r".")
    give_data(group, main)
    hooks, supervisor = (main.role_hooks(), standby.role_hooks()), standby.popen.pid
    before = settled_descriptors(standby)
    pids = {n: standby.child(n) for n in CHILDREN}
    rows = counted(play("children", supervisor, os.path.join(standby.run, "admin.sock")))
    assert len(rows) == 14 and all(r[3] > 100 for r in rows), rows
    assert {n: standby.child(n) for n in CHILDREN} == pids, "a child has ended"
    check_undisturbed(group, main, standby, hooks)
    check_descriptors(standby, before)
    refused = wait_for(lambda: re.findall(r"(\w+)\[\d+\].* a message of (\w+) was refused \((.+?)\)", standby.log()),
                       "refused messages are in the log")
    bulkhead.record("breach-peers-children", rows)
    # the log is rate-limited
    assert {(a, b) for a, b, _ in refused} <= {(r[0], r[1]) for r in rows}


SAME_SERVER = 5  # cells of a child at the same server: its restarts are delayed for 10, 20, 40, 80, 160 ms


def added(parts):
    """Rows of several runs: those of one channel and state added up."""
    sums = {}
    for receiver, sender, state, tried, refused in (row for rows in parts for row in rows):
        t, r = sums.get((receiver, sender, state), (0, 0))
        sums[receiver, sender, state] = t + tried, r + refused
    return [[*k, *v] for k, v in sums.items()]


def test_supervisor_kills_evil_children(make_group):
    """What a child must not say to its supervisor costs it its life, with type and reason in the log."""
    group, count, found = make_group(), cells(16), []
    for server in group:
        server.expect_log(r".")
    # ALL: no child has so many to say to it
    parts = -(-min(count, 300) // SAME_SERVER)
    for part in range(parts):
        group.start()
        main, standby = group.wait_pair()
        if part == 0:
            give_data(group, main)
        hooks, supervisor = (main.role_hooks(), standby.role_hooks()), standby.popen.pid
        before = settled_descriptors(standby)
        rows = play("supervisor", supervisor, count, part, parts)
        found.append(counted(rows))
        assert standby.popen.poll() is None and standby.popen.pid == supervisor
        check_undisturbed(group, main, standby, hooks)
        check_descriptors(standby, before)
        check_log(standby, rows, closed=False)
        for server in group:
            server.stop()
    assert any(CLOSED in server.log() for server in group), "closed channels"
    found = added(found)
    assert {r[1] for r in found} == set(CHILDREN) and all(r[3] >= min(count, 100) for r in found), found
    bulkhead.record("breach-peers-supervisor", found)


def test_supervisor_kills_evil_children_in_a_reload(pair):
    """The same while it waits for their answers to PREPARE; an answer with the serial before is none."""
    group, main, standby = pair
    standby.expect_log(r".")
    give_data(group, main)
    hooks, supervisor = (main.role_hooks(), standby.role_hooks()), standby.popen.pid
    before, count = settled_descriptors(standby), cells(6)
    standby.write_config(group.config_text(standby).replace("misses = 6", "misses = 7", 1))
    rows = play("prepare", supervisor, count, limit_s=40 + 6 * count)
    found = counted(rows)
    assert {r[1] for r in found} == set(CHILDREN) and all(r[3] >= min(count, 100) for r in found), found
    # the old configuration is still in force everywhere, and the next reload goes through
    check_undisturbed(group, main, standby, hooks)
    assert standby.own()["conf_serial"] == 1 and "reload: done" not in standby.log()
    assert len(re.findall(r"reload refused, the old config stays in force: \w+ ended while it was asked",
                          standby.log())) == sum(r[3] for r in found)
    check_log(standby, rows)
    standby.tool("reload", check=True)
    assert standby.own()["conf_serial"] == 2
    check_descriptors(standby, before)
    bulkhead.record("breach-peers-prepare", found)


def programs(group, names):
    """A folder of programs in which these are the evil peer, and the real ones beside it."""
    folder = os.path.join(group.folder, "libexec")
    shutil.copytree(bulkhead.LIBEXEC, folder)
    shutil.copytree(bulkhead.LIBEXEC, os.path.join(folder, "real"))
    for name in names:
        put(folder, name)
    return folder


def put(folder, name):
    shutil.copy(EVIL_PEER, os.path.join(folder, name + ".new"))
    os.rename(os.path.join(folder, name + ".new"), os.path.join(folder, name))


def test_supervisor_kills_evil_children_before_they_are_up(make_group):
    """A program that says something wrong as its first word: killed, delayed, and nothing else happens."""
    group, count = make_group(["alpha"]), cells(10)
    server = group["alpha"]
    server.expect_log(r".")
    server.libexec = programs(group, CHILDREN)
    first, parts = 0, []
    while first == 0 or (first < count and parts[-1]):
        parts.append(say_at_start(server, count, first))
        first += SAME_SERVER
    found = added(parts)
    assert {r[1] for r in found} == set(CHILDREN) and all(r[3] >= min(count, 100) for r in found), found
    bulkhead.record("breach-peers-start", found)


def say_at_start(server, count, first):
    """SAME_SERVER cells of each child, from number first on; counted rows."""
    for name, number in (("count", count), ("first", first)):
        with open(os.path.join(server.libexec, name), "w") as f:
            f.write(str(number))
    mark = len(server.log())
    server.start()
    wait_for(lambda: "info: up: %s " % server.name in server.log()[mark:], "all processes have their config")
    before = len(os.listdir("/proc/%d/fd" % server.pid))
    rows = play("start", server.pid, count, first, limit_s=120)
    wait_for(lambda: set(server.processes()) >= set(CHILDREN), "the real ones are up")
    log, said, found = server.log()[mark:], {}, []
    for _, child, name, reasons in rows:
        said.setdefault(child, []).append((name, reasons.strip("|")))
    for child, list_ in said.items():
        ends = {int(n): why for why, n in re.findall(
            r"%s\[\d+\] was killed because (.*?); starting it again in \d+ ms \(restart (\d+)," % child, log)}
        for number, (name, reasons) in enumerate(list_):
            why = ends.get(2 + number)  # the first one was real
            assert why == ("it broke the protocol" if reasons else "it closed its channel"), (child, name, reasons, why)
            line = r"%s broke the protocol with %s \((%s)\)" % (child, re.escape(name), reasons)
            assert not reasons or re.search(line, log), "the log has no line %s" % line
        found.append(["supervisor", child, "start", len(list_), len(list_)])
    wait_for(lambda: len(os.listdir("/proc/%d/fd" % server.pid)) <= before, "no descriptor is kept")
    server.stop()
    return found


@pytest.mark.parametrize("sender, how, status", [("roled", "stop", 0), ("runner", "runner", 1)])
def test_supervisor_ends_in_order(make_group, sender, how, status):
    """roled breaks the rules while it is to stop, or the runner at any time: the guard ends in order."""
    group, count, found = make_group(["alpha"]), cells(6), []
    server = group["alpha"]
    server.expect_log(r".")
    for number in range(count):
        mark = len(server.log())
        server.start()
        wait_for(lambda: server.own() and "info: up: %s " % server.name in server.log()[mark:], "it is up")
        pids = server.pids()
        rows = play(how, server.pid, number, count)
        assert server.wait_exit() == status, server.log()[mark:]
        wait_for(lambda: not [p for p in pids if process.alive(p)], "nothing is left", 5)  # as a hook of the runner
        if not rows:
            break  # there are no more
        found += counted(rows)
        for _, _, name, reasons in (r for r in rows if r[0] == "log"):
            line = r"%s broke the protocol with %s \((%s)\)" % (sender, re.escape(name), reasons.strip("|"))
            assert not reasons or re.search(line, server.log()[mark:]), "the log has no line %s" % line
    total = sum(r[3] for r in found)
    assert total >= min(count, 100)
    bulkhead.record("breach-peers-" + how, [["supervisor", sender, found[0][2], total, sum(r[4] for r in found)]])


def test_supervisor_uses_only_what_is_configured(make_group):
    """Numbers that are right but that the configuration does not use: no socket, no hook, nobody is killed."""
    group = make_group(["alpha", "beta", "gamma"], kinds={"beta": "permanent", "gamma": "dmz"})
    for server in group:
        text, n = re.subn(r"\n\tstop = .*", "", group.config_text(server))
        assert n == 1
        server.write_config(text)
    group.start()
    main, standby = group.wait_pair()
    server = group["beta"]
    server.expect_log(r"never opens")
    give_data(group, main)
    wait_for(lambda: len(server.links(state="up")) == 3, "all links are up, that to gamma, too")
    wait_requests(group)
    pids = {n: server.child(n) for n in CHILDREN}
    sockets = dialled(server)
    rows = counted(play("unused", server.pid, 0))
    assert [r[1:4] for r in rows] == [["netd", "run", 7], ["roled", "run", 3]]
    assert dialled(server) <= sockets, "a connection was opened"
    runs = [h for h in server.hooks() if h.env["BULKHEAD_HOOK"] == "stop"]
    assert not runs, "a hook ran that is not configured"
    alarm = [h.env for h in server.hooks() if h.env["BULKHEAD_HOOK"] == "alarm" and h.env["BULKHEAD_EVENT"] == "0"][-1]
    assert alarm["BULKHEAD_PEER"] == "", "of a server that is not configured only the number is known"
    assert {n: server.child(n) for n in CHILDREN} == pids
    group.wait_pair()
    bulkhead.record("breach-peers-unused", rows)


def dialled(server):
    """Remote addresses of the TCP sockets in the namespace of the server, but for those that it listens on or accepted."""
    found = set()
    for name in ("tcp", "tcp6"):
        with open("/proc/%d/net/%s" % (server.pid, name)) as f:
            found |= {line.split()[2] for line in f.readlines()[1:] if not line.split()[1].endswith(":%04X" % PORT)}
    return found


def log_from(server, start):
    with open(server.log_file, errors="replace") as f:
        f.seek(start)
        return f.read()


def test_supervisor_refuses_an_evil_parser(make_group):
    """A parser in other hands: no reload, the old configuration stays, and the reason is told."""
    group = make_group()
    server = group["beta"]
    server.expect_log(r".")
    server.libexec = programs(group, ())
    group.start()
    main, standby = group.wait_pair()
    give_data(group, main)
    before, hooks = settled_descriptors(server), (main.role_hooks(), standby.role_hooks())
    put(server.libexec, "parser")
    rows, refused = play("parser", server.popen.pid, 0), 0
    assert len(rows) > 100
    for number, (_, _, name, reasons) in enumerate(rows):
        with open(os.path.join(server.libexec, "cell"), "w") as f:
            f.write(str(number))
        start = os.path.getsize(server.log_file)
        os.kill(server.popen.pid, signal.SIGHUP)
        said = re.compile(r"the parser broke the protocol \((%s)\)" % reasons.strip("|") if reasons else r"error: .*parser")
        wait_for(lambda: said.search(log_from(server, start)), "cell %d, %s: %s" % (number, name, said.pattern), step_s=0.002)
        refused += 1
    check_undisturbed(group, main, standby, hooks)
    check_descriptors(server, before)
    bulkhead.record("breach-peers-parser", [["supervisor", "parser", "start", len(rows), refused]])


def test_children_bear_an_evil_supervisor(make_group):
    """The real programs with us as their supervisor and neighbours, in every state of their channels.

    The supervisor is root, so this is no wall: but a confused one gets an exit code, and nothing undefined.
    """
    group, count = make_group(["alpha", "beta"]), cells(16)
    folder = os.path.join(group.folder, "host")
    os.mkdir(folder, 0o755)
    rows = counted(play("host", bulkhead.LIBEXEC, group["alpha"].config, folder, count, limit_s=120 + count * 2))
    states = {}
    for receiver, sender, state, tried, _ in rows:
        states.setdefault((receiver, sender), set()).add(state)
        assert tried >= min(count, 100), (receiver, sender, state)
    every = {"start", "run", "prepare", "stop"}
    for child in CHILDREN:
        assert states[child, "supervisor"] == every
        assert child == "roled" or states["roled", child] == every, child
    assert states["netd", "roled"] == states["netd", "syncd"] == every
    for edge in (("icmpd", "roled"), ("keyd", "roled"), ("keyd", "syncd"), ("syncd", "netd"), ("syncd", "roled"),
                 ("syncd", "keyd")):
        assert states[edge] == every - {"stop"}  # they are gone at once
    assert {("parser", "supervisor"), ("runner", "supervisor")} <= set(states)
    bulkhead.record("breach-peers-host", rows)


def test_bulkheadctl_bears_an_evil_guard(make_group):
    """roled in other hands, and an admin who asks it: exit code 3, and nothing of it on the terminal."""
    server = make_group(["alpha"])["alpha"]
    rows = counted(play("admin", bulkhead.CTL, server.config, os.path.join(server.run, "admin.sock"), ALL))
    assert [r[:3] for r in rows] == [["ctl", "roled", "run"]] and rows[0][3] > 100
    bulkhead.record("breach-peers-admin", rows)
