# SPDX-License-Identifier: ISC
"""Main ends in every way that a guard can end, and comes back."""
import os
import re
import shutil
import signal

import pytest

import process
import test_data
from bulkhead import CHILDREN, PATIENT, REPORTS_ONLY, holds, wait_for


def takeover(group, main, standby, *rules):
    """The standby took over once, for one of these reasons, with a higher epoch that its hook was given."""
    group.wait_proof(standby, *rules)
    group.wait_role(standby, "main")
    runs = standby.hooks_as("main")
    assert len(runs) == 1
    assert runs[0].env["BULKHEAD_PEER"] == main.name
    assert int(runs[0].env["BULKHEAD_EPOCH"]) == standby.epoch()
    return runs[0]


def comes_back_as_standby(group, old, new):
    old.start()
    group.wait_pair()
    group.roles_hold({old: "standby", new: "main"}, 1.5)


@pytest.mark.parametrize("mute", [False, True])
def test_sigkill(make_group, mute):
    """The whole guard is gone, the host answers: proof, no need to wait for silence. Killed one by
    one, the last processes may still tell of the death of the first."""
    group = make_group(options=PATIENT)
    group.start()
    main, standby = group.wait_pair()
    epoch = standby.epoch()
    main.kill(mute)
    run = takeover(group, main, standby, "takeover-program-dead", *([] if mute else ["takeover-guard-dead"]))
    assert int(run.env["BULKHEAD_EPOCH"]) == epoch + 1
    comes_back_as_standby(group, main, standby)


def test_sigstop(pair):
    """A frozen guard keeps its port open: confirm time. When it thaws it must not act as main."""
    group, main, standby = pair
    main.freeze()
    takeover(group, main, standby, "takeover-offline")
    main.thaw()
    # roled itself saw the gap; the supervisor may find its children silent and start them again
    main.expect_log(r"silent|no answer|PING")
    assert group.wait_pair()[0] is standby
    group.roles_hold({main: "standby", standby: "main"}, 1.5)


def test_clean_stop(pair):
    group, main, standby = pair
    _, status = main.stop()
    assert status == 0
    wait_for(lambda: standby.hooks_as("main"), "hook of the new main")
    run = standby.hook_as("main")
    assert run.env["BULKHEAD_REASON"] in ("takeover-stopped", "takeover-switchover")
    assert run.env["BULKHEAD_PEER"] == main.name
    group.wait_role(standby, "main")
    assert "stop" in {h.env.get("BULKHEAD_HOOK") for h in main.hooks()}, "the stop hook did not run"
    comes_back_as_standby(group, main, standby)


def test_stop_of_standby_changes_nothing(pair):
    group, main, standby = pair
    _, status = standby.stop()
    assert status == 0
    wait_for(lambda: main.view(standby).get("verdict") == "stopped", "goodbye of the standby is seen")
    group.roles_hold({main: "main"}, 1.5)
    comes_back_as_standby(group, standby, main)


def test_sigkill_of_standby_changes_nothing(pair):
    group, main, standby = pair
    standby.kill(mute=True)
    group.wait_dead(main, standby, "program-dead")
    group.roles_hold({main: "main"}, 1.5)
    comes_back_as_standby(group, standby, main)


def test_reboot(pair):
    """The machine of main resets: no goodbye, no FIN, its address silent; later it is back."""
    group, main, standby = pair
    group.network.port_member(main.name, False)
    main.kill()
    takeover(group, main, standby, "takeover-unreachable")
    group.network.heal()
    comes_back_as_standby(group, main, standby)


def test_guard_back_at_once(pair):
    """Killed and started again within milliseconds: one main, whoever it is."""
    group, main, standby = pair
    main.kill()
    main.start()
    group.wait_pair()
    roles = {s: s.role() for s in group}
    assert sorted(roles.values()) == ["main", "standby"]
    group.roles_hold(roles, 1.5)


def test_both_killed(pair):
    """Both guards die at once and come back: one main, with a higher epoch."""
    group, main, standby = pair
    epoch = main.epoch()
    for s in (main, standby):
        s.kill()
    group.start()
    new, _ = group.wait_pair()
    assert new.epoch() > epoch


def test_stop_now(make_group):
    """A second SIGTERM does not wait for the hand-over, which here lacks changes that the other server cannot take."""
    group = make_group(options={"role.handover-timeout": "60s"})
    group.start()
    main, standby = group.wait_pair()
    test_data.begin(group, main)
    test_data.connect(main).set("x", 0)
    test_data.wait_following(group, main)
    pids, syncd = main.pids(), standby.child("syncd")
    os.kill(standby.pid, signal.SIGSTOP)  # it would end a child that is silent
    os.kill(syncd, signal.SIGSTOP)
    test_data.connect(main).set("x", 1)
    main.signal(signal.SIGTERM)
    wait_for(lambda: "SIGTERM: stopping" in main.log(), "the hand-over begins")
    holds(lambda: main.popen.poll() is None, "it waits for the other server", 0.5)
    main.signal(signal.SIGTERM)
    main.wait_exit()
    assert standby.child("syncd") == syncd, "it waited until the changes could be taken"
    for pid in (syncd, standby.pid):
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not any(process.alive(p) for p in pids), "nothing left", 5)
    group.wait_role(standby, "main")


def test_switchover(pair):
    group, main, standby = pair
    main.tool("switchover", check=True)
    group.wait_role(standby, "main")
    group.wait_role(main, "standby")
    assert standby.hook_as("main").env["BULKHEAD_REASON"] == "takeover-switchover"
    group.wait_pair()
    main_runs = len(main.hooks_as("main"))
    standby.tool("switchover", main.name, check=True)
    group.wait_main_hook(main, main_runs + 1)
    group.wait_pair()
    assert main.role() == "main"


def test_switchover_by_signal(pair):
    group, main, standby = pair
    main.signal(signal.SIGUSR2)
    group.wait_role(standby, "main")
    group.wait_role(main, "standby")


def test_sandbox_is_complete(pair):
    """What the other tests prove is worth something only with the sandbox enforced."""
    group, *servers = pair
    for s in servers:
        assert s.own()["degraded"] is REPORTS_ONLY
        for name in CHILDREN:
            layers = s.processes()[name]["layers"].split(",")
            assert ("seccomp-reports-only" if REPORTS_ONLY else "seccomp") in layers and "files" in layers
            with open("/proc/%d/status" % s.child(name)) as f:
                fields = dict(line.split(":\t", 1) for line in f.read().splitlines())
            assert fields["Seccomp"].strip() == "2" and fields["NoNewPrivs"].strip() == "1"
            assert int(fields["CapEff"], 16) == 0 and int(fields["CapBnd"], 16) == 0


def test_copy_of_main_elsewhere(make_group):
    """The disk of main is cloned and started at another address: the original stays, for all."""
    group = make_group(["alpha", "beta", "gamma"])
    alpha, beta, gamma = group

    def without_gamma(server):
        return re.sub(r'server "gamma" \{.*?\n\}\n', "", group.config_text(server), flags=re.S)
    for s in (alpha, beta):
        s.write_config(without_gamma(s))
        s.start()
    main, standby = group.wait_pair()
    gamma.expect_log("")  # the copy may complain as it likes
    for name in os.listdir(main.state):
        try:
            if os.path.isfile(os.path.join(main.state, name)):
                shutil.copy2(os.path.join(main.state, name), gamma.state)
        except FileNotFoundError:
            pass  # a file that was being replaced
    text = without_gamma(main).replace(main.state, gamma.state).replace(main.run, gamma.run)
    gamma.write_config(text.replace('"%s"' % group.network.address(main.name),
                                    '"%s"' % group.network.address("gamma")))
    gamma.start()
    wait_for(lambda: "was its state directory copied?" in standby.log(), standby.log)
    group.roles_hold({main: "main", standby: "standby", gamma: "standby"}, 2.5)
    gamma.kill()
    group.roles_hold({main: "main", standby: "standby"}, 1.5)
    assert standby.view(main)["verdict"] == "healthy"
