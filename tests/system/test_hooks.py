# SPDX-License-Identifier: ISC
"""Hooks and health checks: environment, order, hanging, failing, forking."""
import os
import pwd
import subprocess

import process
from bulkhead import CHILDREN, CTL, LONG_S, wait_for


def script(server, name, body):
    """An executable shell script in the folder of a server; returns its path."""
    path = os.path.join(server.folder, name)
    with open(path, "w") as f:
        f.write("#!/bin/sh\n" + body)
    os.chmod(path, 0o755)
    return path


def stamp(server):
    return "%s %s" % (server.stamp, server.hook_file)


def hook_events(server, rule, words=""):
    return [e for e in server.events() if e["rule"] == rule and words in e["text"]]


def test_environment(pair):
    """Clean, documented environment; own user; the result is in the ledger."""
    group, main, standby = pair
    run = main.hook_as("main")
    assert run.uid == pwd.getpwnam("nobody").pw_uid
    assert {k for k in run.env if not k.startswith("BULKHEAD_")} <= {"PATH", "PWD", "HOME", "USER", "LOGNAME", "SHELL"}
    for name, value in (("BULKHEAD_ROLE", "main"), ("BULKHEAD_EPOCH", str(main.epoch())),
                        ("BULKHEAD_REASON", "elected"), ("BULKHEAD_SELF", main.name),
                        ("BULKHEAD_GROUP", "test")):
        assert run.env.get(name) == value, (name, run.env)
    event = int(run.env["BULKHEAD_EVENT"])
    assert [e["rule"] for e in main.events() if e["sequence"] == event] == ["elected"], event
    wait_for(lambda: hook_events(main, "hook-ended", "main"), "result in the ledger")


def test_environment_of_the_daemon_stays_outside(make_group):
    """LD_PRELOAD and friends of the daemon reach neither hooks nor children."""
    group = make_group()
    group.environment.update(LD_PRELOAD="/nonexistent.so", SECRET="x", MALLOC_CHECK_="3", OPENSSL_CONF="/nonexistent")
    group.start()
    main, _ = group.wait_pair()
    assert not {"LD_PRELOAD", "SECRET", "MALLOC_CHECK_", "OPENSSL_CONF"} & set(main.hook_as("main").env)
    for name in CHILDREN:
        with open("/proc/%d/environ" % main.child(name), "rb") as f:
            assert f.read() == b""


def test_hook_hangs(make_group):
    """Deadline, then the whole process group is killed; the role is kept and the failure told."""
    group = make_group(options={"hook.timeout": "3s"})  # by then it has started what it leaves behind
    for s in group:
        body = "%s\necho $$ > %s/pid.$$\nsleep 1000 & echo $! > %s/pid.$!\nwait\n" % (stamp(s), s.folder, s.folder)
        s.options = {"hook": {"main": script(s, "hang", body)}}
        os.chmod(s.folder, 0o777)
        s.write_config()
        s.expect_log(r"hook")
    group.start()
    main, standby = group.wait_pair()
    wait_for(lambda: hook_events(main, "hook-failed", "killed"), lambda: str(main.events()))
    pids = [int(n[4:]) for n in os.listdir(main.folder) if n.startswith("pid.")]
    assert len(pids) == 2
    wait_for(lambda: not any(process.alive(p) for p in pids), "process group is gone", 5)
    group.roles_hold({main: "main", standby: "standby"}, 0.5)
    wait_for(lambda: "alarm" in {h.env.get("BULKHEAD_HOOK") for h in main.hooks()}, "alarm hook")


def test_hook_fails(make_group):
    """on-failure = alarm: main stays main, the alarm hook runs, the exit code is in the ledger."""
    group = make_group()
    for s in group:
        s.options = {"hook": {"main": script(s, "fail", "%s\necho something is wrong >&2\nexit 7\n" % stamp(s))}}
        s.write_config()
        s.expect_log(r"hook")
    group.start()
    main, standby = group.wait_pair()
    wait_for(lambda: hook_events(main, "hook-failed", "exit code 7"), lambda: str(main.events()))
    wait_for(lambda: "something is wrong" in main.log(), "output of the hook is in the log")
    wait_for(lambda: "alarm" in {h.env.get("BULKHEAD_HOOK") for h in main.hooks()}, "alarm hook")
    group.roles_hold({main: "main", standby: "standby"}, 0.5)


def test_hook_fails_undo(make_group):
    """on-failure = undo: the role is given back, the partner takes it."""
    group = make_group(options={"hook.on-failure": "undo"})
    alpha, beta = group
    alpha.options = {"hook": {"main": script(alpha, "fail", "%s\nexit 1\n" % stamp(alpha))}}
    alpha.write_config()
    alpha.expect_log(r"hook")
    group.start()
    group.wait_role(beta, "main")
    # when beta was not ready yet as the hook failed, what failed stays, and the role goes as soon as it is
    wait_for(lambda: {"step-down-hook", "step-down-health"} & {e["rule"] for e in alpha.events()}, group.report)
    assert "hook-failed" in [e["rule"] for e in alpha.events()]


def test_hook_forks(make_group):
    """A hook that leaves a process behind: it is part of the group that the deadline kills, or is left
    alone when the hook itself ended in time; either way nobody waits for it."""
    group = make_group()
    for s in group:
        os.chmod(s.folder, 0o777)
        s.options = {"hook": {"main": script(
            s, "fork", "%s\nsleep 1000 >/dev/null 2>&1 & echo $! > %s/forked\nexit 0\n" % (stamp(s), s.folder))}}
        s.write_config()
    group.start()
    main, standby = group.wait_pair()
    wait_for(lambda: hook_events(main, "hook-ended", "main"), lambda: str(main.events()))
    with open(os.path.join(main.folder, "forked")) as f:
        left = int(f.read())
    # the next hook is not held up by it
    runs = len(main.hooks_as("standby"))
    main.tool("switchover", check=True)
    group.wait_role(standby, "main")
    main.hook_as("standby", runs)
    process.end([left])


def test_strict_order(make_group):
    """One queue: a slow hook delays the next one, they never overlap or overtake."""
    group = make_group()
    for s in group:
        os.chmod(s.folder, 0o777)
        body = ("%s\necho begin $BULKHEAD_EVENT >> %s/order\n" % (stamp(s), s.folder)
                + "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done\n"
                + "echo end $BULKHEAD_EVENT >> %s/order\n" % s.folder)
        path = script(s, "slow", body)
        s.options = {"hook": {"main": path, "standby": path}}
        s.write_config()
    group.start()
    group.wait_pair()
    for _ in range(3):
        group.wait_pair()[0].tool("switchover", check=True)
    group.wait_pair()
    for s in group:
        def lines():
            with open(os.path.join(s.folder, "order")) as f:
                return [line.split() for line in f.read().splitlines()]
        def runs():
            return [h.env["BULKHEAD_HOOK"] for h in s.hooks() if h.env["BULKHEAD_HOOK"] in ("main", "standby")]
        # that of the role that it has now is the last one
        wait_for(lambda: runs()[-1:] == [s.role()] and len(lines()) == 2 * len(runs()), lambda: "hooks end: %s" % lines())
        got = lines()
        assert len(got) >= 2 * 4  # at the start, and at three changes of the role at least
        assert [w for w, _ in got] == ["begin", "end"] * (len(got) // 2)
        numbers = [int(n) for w, n in got if w == "begin"]
        assert numbers == sorted(numbers) and [n for _, n in got[::2]] == [n for _, n in got[1::2]]


def test_hook_test(pair):
    """`hook test` runs the hook with BULKHEAD_TEST=1 and changes nothing."""
    group, main, standby = pair
    before = len(standby.hooks())
    standby.tool("hook", "test", "main", check=True)
    run, = [h for h in standby.hooks()[before:] if "BULKHEAD_TEST" in h.env]
    assert run.env["BULKHEAD_TEST"] == "1" and run.env["BULKHEAD_HOOK"] == "main"
    assert standby.role() == "standby" and main.role() == "main"


def test_check_fails_hands_over(make_group):
    """The application on main is ill, the standby's is well: hand-over; fall and rise are counted."""
    group = make_group()
    for s in group:
        with open(os.path.join(s.folder, "healthy"), "w"):
            pass
        s.extra = ('check "app" {\n\tcommand = "/usr/bin/test -e %s/healthy"\n\tuser = "nobody"\n'
                   '\tinterval = "400ms"\n\ttimeout = "400ms"\n\tfall = 3\n\trise = 2\n}\n' % s.folder)
        s.write_config()
    group.start()
    main, standby = group.wait_pair()

    def check(server):
        return (server.status() or {}).get("checks", [{}])[0]
    wait_for(lambda: check(main).get("healthy") and check(standby).get("healthy"), "checks are known")
    os.unlink(os.path.join(main.folder, "healthy"))
    group.wait_role(standby, "main")
    group.wait_role(main, "standby")
    assert "step-down-health" in [e["rule"] for e in main.events()]
    assert not check(main)["healthy"]
    # ill on both: stay and alarm
    os.unlink(os.path.join(standby.folder, "healthy"))
    wait_for(lambda: check(standby).get("healthy") in (False, 0), "the check fails there too")
    group.roles_hold({standby: "main", main: "standby"}, 1)


def test_roles_do_not_wait_for_a_row_of_tests(make_group):
    """Tests of a slow hook one over the other: one runs, the others are refused, a role comes next."""
    group = make_group(options={"hook.timeout": "%ds" % LONG_S})
    for s in group:  # a test of it lasts until the file is there
        body = "%s\n[ -z \"$BULKHEAD_TEST\" ] || while [ ! -e %s/go ]; do sleep 0.05; done\n" % (stamp(s), s.folder)
        s.options = {"hook": {"alarm": script(s, "slow", body)}}
        s.write_config()
    group.start()
    main, standby = group.wait_pair()
    tests = [subprocess.Popen([CTL, "-f", main.config, "hook", "test", "alarm"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True) for _ in range(5)]
    wait_for(lambda: sum(t.poll() is not None for t in tests) == 4, "all but one have their answer")
    refused = [t for t in tests if t.poll() is not None]
    assert all(t.returncode == 1 and "under way" in t.communicate()[0] for t in refused)
    wait_for(lambda: [h for h in main.hooks() if "BULKHEAD_TEST" in h.env], "the hook runs")
    main.tool("switchover", check=True)  # a role waits for none of them
    group.wait_role(standby, "main")
    assert [t for t in tests if t.poll() is None], "the test of the hook is still under way"
    with open(os.path.join(main.folder, "go"), "w"):
        pass
    last, = [t for t in tests if t not in refused]
    last.communicate()
    assert last.returncode == 0
    main.tool("hook", "test", "alarm", check=True)  # the next one may
