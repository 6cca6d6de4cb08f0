# SPDX-License-Identifier: ISC
"""SIGHUP: everything wrong is refused with file:line and changes nothing; what is right takes effect
without disturbing what did not change."""
import os
import re
import signal
import subprocess

import pytest

import bulkhead
import process
import standin
from bulkhead import CHILDREN, DAEMON, LIBEXEC, LONG_S, PATIENT, holds, wait_for

# name: (what is replaced, by what, what the message must name); {line} is found in the file
BROKEN = {
    "syntax": (r"\Z", "status {\n", r":\d+:"),
    "unknown key": (r"status \{", "status {\n\tintervall = \"50ms\"", r":\d+:.*intervall.*interval"),
    "unknown section": (r"\Z", "statsu {\n}\n", r":\d+:.*statsu.*status"),
    "no unit": (r'interval = "50ms"', 'interval = "50"', r":\d+:.*(unit|ms)"),
    "wrong unit": (r'interval = "50ms"', 'interval = "50mb"', r":\d+:"),
    "out of range": (r'interval = "50ms"', 'interval = "0ms"', r":\d+:.*interval"),
    "duplicate option": (r"status \{", "status {\n\tinterval = \"70ms\"", r":\d+:.*interval"),
    "duplicate server": (r'server "beta"', 'server "alpha"', r":\d+:.*alpha"),
    "unknown self": (r'self = "\w+"', 'self = "omega"', r"omega"),
    "bad key": (r'key = "bh1', 'key = "bh2', r":\d+:.*key"),
    "bad address": (r'address = \{"[^"]*"', 'address = {"192.0.2.999"', r":\d+:.*192.0.2.999"),
    "impossible timing": (r'step-down = "\d+ms"', 'step-down = "60s"', r"step-down"),
    "unknown user": (r'user = "nobody"', 'user = "no-such-user"', r":\d+:.*no-such-user"),
    "relative hook": (r'main = "/', 'main = "', r":\d+:.*main"),
    "no such kind": (r'kind = "standard"', 'kind = "standart"', r":\d+:.*standart.*standard"),
}


def reload_state(server):
    own = server.own()
    return own.get("conf_serial"), own.get("reload_result"), own.get("reload_text", "")


def counters(group):
    """What must not move while a configuration is refused, or does not touch it."""
    return [(s.name, l["server"], l["path"], l["inbound"], l["sessions"], l["state"])
            for s in group for l in s.links()]


def pids(group):
    """The processes that stay; the parser comes and goes."""
    return [(s.pid, *(s.child(n) for n in CHILDREN)) for s in group]


def test_broken_configs(pair):
    group, main, standby = pair
    assert len(BROKEN) >= 12
    main.expect_log(r"conf|config|reload")
    good = group.config_text(main)
    before = counters(group), pids(group), main.epoch(), main.role_hooks()
    digest = main.own().get("digest")
    assert digest.strip("0") and digest == standby.own().get("digest")
    for name, (pattern, replacement, names) in BROKEN.items():
        text = re.sub(pattern, lambda _: replacement, good, count=1)
        assert text != good, name
        main.write_config(text)
        mark = len(main.log())
        main.signal(signal.SIGHUP)
        line = wait_for(lambda: [l for l in main.log()[mark:].splitlines() if re.search(names, l.partition(" error: ")[2])],
                        lambda: "%s: %s is named in\n%s" % (name, names, main.log()[mark:]))[0]
        assert os.path.basename(main.config) in line or name in ("unknown self", "impossible timing"), line
        wait_for(lambda: "refused" in str(main.own().get("reload_result")) or
                 main.own().get("reload_result") in ("bad-config", "restart-needed"),
                 lambda: "%s: status shows the refusal: %s" % (name, main.own()))
        wait_for(lambda: "reload refused" in main.log()[mark:], "the end is logged")
        wait_for(lambda: main.log()[mark:].count(main.own().get("reload_text") or "?") == 1,
                 lambda: "%s: it is said once: %s" % (name, main.log()[mark:]))
        # the same is found without a running daemon
        check = main_check(main)
        assert check.returncode != 0 and re.search(names, check.stderr + check.stdout), (name, check)
    assert (counters(group), pids(group), main.epoch(), main.role_hooks()) == before
    assert main.own().get("digest") == digest
    group.roles_hold({main: "main", standby: "standby"}, 0.5)
    # a good file is taken again
    main.write_config(good.replace('misses = 6', 'misses = 7', 1))
    main.tool("reload", check=True)
    assert counters(group) == before[0]


def main_check(server):
    return subprocess.run([DAEMON, "-n", "-x", LIBEXEC, "-f", server.config], text=True, capture_output=True,
                          timeout=LONG_S)


def test_check_of_a_good_file(pair):
    _, main, _ = pair
    assert main_check(main).returncode == 0


def test_unreadable_and_missing_file(pair):
    group, main, standby = pair
    main.expect_log(r"conf|config|reload")
    before = counters(group), pids(group)
    os.rename(main.config, main.config + ".away")
    mark = len(main.log())
    main.signal(signal.SIGHUP)
    wait_for(lambda: re.search(r"reload refused.*bulkhead\.conf: No such file", main.log()[mark:]),
             "the missing file is named")
    os.rename(main.config + ".away", main.config)
    os.chmod(main.config, 0o666)
    mark = len(main.log())
    main.signal(signal.SIGHUP)
    wait_for(lambda: re.search(r"reload refused.*bulkhead\.conf: .*mode 0666", main.log()[mark:]),
             "a file that others may write is named")
    os.chmod(main.config, 0o600)
    assert (counters(group), pids(group)) == before


def test_timings_change_without_restart(pair):
    """A7: timings change by reload; sessions, processes and roles stay."""
    group, main, standby = pair
    before = counters(group), pids(group)
    group.set("status.interval", "100ms")
    group.set("icmp.interval", "80ms")
    for s in group:
        s.write_config()
        s.tool("reload", check=True)
    assert (counters(group), pids(group)) == before

    def look():
        """Records sent, and when, by one answer of the daemon: how long it took to come does not matter."""
        answer = main.status()
        return [l["records_out"] for l in answer["links"] if not l["inbound"]][0], answer["self"]["now_ms"]
    sent, at_ms = look()
    wait_for(lambda: look()[0] >= sent + 20, "records flow")
    more, end_ms = look()
    assert (end_ms - at_ms) / (more - sent) > 70, "still every 50 ms"
    group.roles_hold({main: "main", standby: "standby"}, 0.5)


def test_age_of_a_reload_outlives_roled(pair):
    """When the last reload was, a roled that starts later knows too."""
    group, main, standby = pair
    standby.expect_log(r"roled\[\d+\] ended")
    standby.write_config(group.config_text(standby).replace("misses = 6", "misses = 7", 1))
    standby.tool("reload", check=True)
    wait_for(lambda: standby.own()["reload_age_ms"] >= 1500, "some time goes by")
    pid = standby.child("roled")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: standby.child("roled") not in (None, pid) and standby.own().get("reload_result") == "done",
             "the new roled answers")
    assert standby.own()["reload_age_ms"] >= 1500
    group.wait_pair()


def test_goodbye_outlives_roled(pair):
    """A partner that took its leave is shown as stopped by a roled that starts later, too."""
    group, main, standby = pair
    main.expect_log(r"roled\[\d+\] ended")
    standby.stop()
    wait_for(lambda: main.view(standby).get("verdict") == "stopped", group.report)
    pid = main.child("roled")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: main.child("roled") not in (None, pid) and main.view(standby), "the new roled answers")
    holds(lambda: main.view(standby)["verdict"] == "stopped", lambda: str(main.view(standby)), 0.3)
    wait_for(lambda: main.role() == "main", "and is main again")
    standby.start()
    wait_for(lambda: main.view(standby).get("verdict") == "healthy", "it is back")


def test_port_changes_without_restart(make_group):
    """A7: another port number; the guard stays, the link moves."""
    # the two do not reload at the same time, and until both have they do not hear each other
    group = make_group(options=PATIENT)
    group.start()
    main, standby = group.wait_pair()
    before = pids(group)
    for s in group:
        s.write_config(group.config_text(s).replace('kind = "standard"', 'kind = "standard"\n\tport = 5490'))
    for s in group:
        s.tool("reload", check=True)
    wait_for(lambda: len(main.links(state="up")) == 2 and len(standby.links(state="up")) == 2
             and all(l["address"].endswith("5490") for s in group for l in s.links(state="up", inbound=False)),
             lambda: str([s.links() for s in group]))
    group.wait_pair()
    assert pids(group) == before and main.role() == "main"


def test_only_the_changed_partner_is_touched(make_group):
    """Three servers; the address of one changes: the sessions between the others do not move."""
    group = make_group(["alpha", "beta", "gamma"])
    group.start()
    group.wait_pair()
    alpha, beta, gamma = group
    assert all(len(s.links(state="up")) == 4 for s in group)
    index = [s["index"] for s in alpha.status()["servers"] if s["name"] == "beta"][0]
    before = [l for l in counters(group) if l[0] == "alpha" and l[1] in (index, "beta")]
    roles = {s: s.role() for s in group}
    # gamma gets a priority and alpha a backup path for it that does not exist
    alpha.write_config(group.config_text(alpha).replace(
        '{"%s"}' % group.network.address("gamma"), '{"%s", "198.51.100.77"}' % group.network.address("gamma")))
    alpha.tool("reload", check=True)
    wait_for(lambda: [l for l in alpha.links() if l["path"] == 1], "the new path is dialed")
    assert [l for l in counters(group) if l[0] == "alpha" and l[1] in (index, "beta")] == before
    group.roles_hold(roles, 1)


def without(group, server, name):
    """The config of a server, with another server taken out."""
    return re.sub(r'server "%s" \{.*?\n\}\n' % name, "", group.config_text(server), flags=re.S)


def test_running_server_cannot_be_taken_out(pair):
    """Out of sight, the standby would take over or the main stay: two mains on a path that is fine."""
    group, main, standby = pair
    before = counters(group), pids(group)
    for server, other in ((main, standby), (standby, main)):
        server.expect_log(r"config refused|reload")
        server.write_config(without(group, server, other.name))
        assert "stop bulkhead there first (server %s)" % other.name in server.tool("reload").stderr
        server.write_config()
    group.roles_hold({main: "main", standby: "standby"}, 2)
    assert (counters(group), pids(group)) == before
    standby.stop()
    wait_for(lambda: main.view(standby).get("verdict") == "stopped", group.report)
    main.write_config(without(group, main, standby.name))
    main.tool("reload", check=True)
    group.roles_hold({main: "main"}, 1)


def test_restart_needed_is_said(pair):
    """What cannot change while running is refused as a whole and named."""
    group, main, standby = pair
    main.expect_log(r"restart")
    before = counters(group), pids(group)
    main.write_config(group.config_text(main).replace(main.state, main.state + ".new"))
    p = main.tool("reload")
    assert p.returncode != 0 and "state" in p.stdout + p.stderr and "restart" in p.stdout + p.stderr
    assert (counters(group), pids(group)) == before


def test_two_at_once(pair):
    """A second SIGHUP while one is under way is not lost and does no harm."""
    group, main, standby = pair
    before = counters(group), pids(group)
    for n in (7, 8, 9):
        main.write_config(group.config_text(main).replace("misses = 6", "misses = %d" % n, 1))
        main.signal(signal.SIGHUP)
    wait_for(lambda: '"misses": 9' in main.tool("--json", "ports").stdout or main.own()["conf_serial"] >= 2, "applied")
    assert (counters(group), pids(group)) == before
    group.roles_hold({main: "main", standby: "standby"}, 0.5)


@pytest.mark.parametrize("child", CHILDREN)
def test_child_dies_in_the_middle(pair, child):
    """A child is killed while a configuration is pending: old or new one everywhere, nothing else."""
    group, main, standby = pair
    main.expect_log(r"killed|reload|ended|config")
    main.write_config(group.config_text(main).replace("misses = 6", "misses = 7", 1))
    pid = main.child(child)
    os.kill(pid, signal.SIGSTOP)
    main.signal(signal.SIGHUP)
    process.send([pid], signal.SIGKILL)  # or it has been ended as silent
    wait_for(lambda: main.child(child) not in (None, pid), "%s is started again" % child)
    assert group.wait_pair()[0] is main
    main.tool("reload")
    group.wait_pair()
    group.roles_hold({main: "main", standby: "standby"}, 0.5)


def listens(server, port):
    """Does it listen on that TCP port (IPv4)?"""
    with open("/proc/%d/net/tcp" % server.pid) as f:
        return any(fields[1].endswith(":%04X" % port) and fields[3] == "0A" for fields in map(str.split, f))


def test_stop_while_a_config_is_pending(pair):
    """The reload is given up before the stop begins: the role is handed over all the same."""
    group, main, standby = pair
    main.expect_log(r"reload refused")
    main.write_config(group.config_text(main).replace('kind = "standard"', 'kind = "standard"\n\tport = 5490'))
    keyd, began = main.child("keyd"), bulkhead.now_s()
    os.kill(keyd, signal.SIGSTOP)
    main.signal(signal.SIGHUP)
    wait_for(lambda: listens(main, 5490), "the new port is there, and all are asked")
    main.signal(signal.SIGTERM)
    wait_for(lambda: "SIGTERM: stopping" in main.log(), "SIGTERM is seen")
    # on a crowded machine keyd may have been waited for, or been listened to, for long enough
    late = bulkhead.now_s() - began > 1.5
    process.send([keyd], signal.SIGCONT)  # its answer comes while roled hands over
    assert main.wait_exit() == 0
    assert late or "reload refused, the old config stays in force: the daemon is being stopped" in main.log()
    assert "roled has left the group, another server is main" in main.log(), main.log()[-2000:]
    assert "broke the protocol" not in main.log() and "was refused (" not in main.log()
    group.wait_role(standby, "main")


# ---- a child that does not keep to the rules of a reload

def with_stand_in(make_group, child, act):
    """A settled pair; on the standby, the child is a stand-in that answers the next PREPARE in its own way."""
    group = make_group(options=PATIENT)  # the links of a stand-in for roled, and with a keyd that is stopped, are down
    for s in group:
        s.libexec = standin.folder(s, "keyd", "none", first=0, last=0)
        s.expect_log(r".")
    group.start()
    main, standby = group.wait_pair()
    pid, before = standby.child(child), values(standby)
    standin.put(standby.libexec, child, act, first=2, last=2)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: process.arguments(standby.child(child) or 0)[1:3] == [child, "2"], "the stand-in runs")
    wait_for(lambda: ask_in_log(standby, child), "the stand-in has its first config")
    return group, main, standby, before


def ask_in_log(server, child):
    """SIGUSR1 shows a child that is up, also when roled itself is the stand-in and nobody answers bulkheadctl."""
    mark = len(server.log())
    server.signal(signal.SIGUSR1)
    wait_for(lambda: re.search(r" %s: .*generation 2" % child, server.log()[mark:]) or "keyd:" in server.log()[mark:],
             "state in the log")
    return re.search(r" %s: up, .*generation 2," % child, server.log()[mark:])


def dumped_serial(server):
    mark = len(server.log())
    server.signal(signal.SIGUSR1)
    return int(wait_for(lambda: re.search(r"state: config \S+, serial (\d+)", server.log()[mark:]), "dump").group(1))


def generation(server, child):
    return int((process.arguments(server.child(child) or 0) + ["", "", "0"])[2])


def bring_back(server, child):
    """End the stand-in, if it lives; the next generation is the real program."""
    pid = server.child(child)
    if pid and generation(server, child) == 2:
        process.send([pid], signal.SIGKILL)  # it may be about to be ended by itself
    wait_for(lambda: generation(server, child) > 2 and server.processes().get(child, {}).get("state") == "up",
             "the real %s is up" % child)


ANSWERS = [("prepare-refused", "refused", "%s refuses it: not enough descriptors or memory (element 3)"),
           ("prepare-never", "timeout", "%s did not answer within 2 s"),
           ("prepare-wrong", "timeout", "%s did not answer within 2 s"),
           ("prepare-die", "died", "%s ended while it was asked"),
           ("prepared-die", "died", "%s ended while it was asked")]


def values_said(server):
    return {n: p["config_digest"] for n, p in server.processes().items() if p["config_digest"]}


def values(server):
    """{process: digest of all values that it says it runs with}, once all have said it."""
    rows = wait_for(lambda: (lambda r: len(r) == 2 + len(CHILDREN) and r)(
        {n: p["config_digest"] for n, p in server.processes().items() if p["config"] == "current"}),
        lambda: "everybody runs the config in force: %s" % {n: p["config"] for n, p in server.processes().items()})
    assert all(len(d) == 32 for d in rows.values())
    return rows


@pytest.mark.parametrize("act, result, text", ANSWERS, ids=[a[0] for a in ANSWERS])
@pytest.mark.parametrize("child", CHILDREN)
def test_one_child_does_not_agree(make_group, child, act, result, text):
    """Whatever one child does instead of agreeing: the old config stays in force in all processes."""
    group, main, standby, first = with_stand_in(make_group, child, act)
    epoch, text, good = main.epoch(), text % child, group.config_text(standby)
    old = values(standby) if child != "roled" else first
    timings = good.replace("misses = 6", "misses = 7", 1).replace('interval = "50ms"', 'interval = "55ms"', 1)
    assert timings.count("misses = 7") == timings.count('"55ms"') == 1
    other = standby.child("keyd" if child != "keyd" else "icmpd")
    standby.write_config(timings)
    if act == "prepared-die":  # before everybody has agreed
        os.kill(other, signal.SIGSTOP)
    standby.signal(signal.SIGHUP)
    wait_for(lambda: "reload refused, the old config stays in force: " + text in standby.log(),
             lambda: standby.log()[-3000:])
    process.send([other], signal.SIGCONT)  # or it has been ended as silent
    assert dumped_serial(standby) == 1
    if child == "roled":  # the stand-in answers no admin: the real one is told when it starts
        bring_back(standby, child)
    wait_for(lambda: (standby.own().get("reload_text"), standby.own().get("reload_result")) == (text, result),
             lambda: "status says who and why: %s\n%s" % (standby.own(), standby.log()[-3000:]))
    assert text in standby.tool("status").stdout and standby.own()["conf_serial"] == 1
    kept = {n: d for n, d in old.items() if n != child}
    holds(lambda: {n: d for n, d in values_said(standby).items() if n in kept} == kept,
          lambda: "values that were refused are in use: %s, %s" % (kept, values_said(standby)), 0.7)
    bring_back(standby, child)
    group.wait_pair()
    assert main.role() == "main" and main.epoch() == epoch and standby.own()["conf_serial"] == 1
    assert values(standby) == old, "values that were refused are in use"
    # and the next one, with everybody agreeing, is taken as a whole
    standby.tool("reload", check=True)
    assert standby.own()["conf_serial"] == dumped_serial(standby) == 2
    new = values(standby)
    assert not set(new.values()) & set(old.values()), "somebody runs with the old values"
    group.wait_pair()


def test_answer_twice_is_a_violation(make_group):
    group, main, standby, _ = with_stand_in(make_group, "icmpd", "prepare-twice")
    standby.write_config(group.config_text(standby).replace("misses = 6", "misses = 7", 1))
    standby.signal(signal.SIGHUP)
    wait_for(lambda: "icmpd broke the protocol with PREPARED" in standby.log(), lambda: standby.log()[-3000:])
    group.wait_pair()
    assert main.role() == "main"


def test_second_request_while_one_waits(make_group):
    """SIGHUP while a child owes its answer: the first is refused, the second is made afterwards, with the newest file."""
    group, main, standby, _ = with_stand_in(make_group, "icmpd", "prepare-never")
    good = group.config_text(standby)
    standby.write_config(good.replace("misses = 6", "misses = 7", 1))
    standby.signal(signal.SIGHUP)
    wait_for(lambda: "stand-in: asked to prepare 2" in standby.log(), "the first one waits")
    standby.write_config(good.replace("misses = 6", "misses = 8", 1))
    standby.signal(signal.SIGHUP)
    wait_for(lambda: "one is under way, another will follow" in standby.log(), "SIGHUP is served at once", 1)
    assert "reload: done" not in standby.log()
    os.kill(standby.child("icmpd"), signal.SIGKILL)
    wait_for(lambda: standby.own().get("conf_serial") == 2, lambda: standby.log()[-3000:])
    wait_for(lambda: standby.own().get("reload_result") == "done", standby.own)
    assert standby.own()["reload_result"] == "done" and standby.log().count("reload: done") == 1
    assert "reload refused, the old config stays in force: icmpd ended while it was asked" in standby.log()
    group.wait_pair()


def test_reloads_over_the_rate(pair):
    """One that comes too soon is served when its time comes; the reason of the last one stays to be seen."""
    group, main, _ = pair
    main.expect_log(r"conf|reload")
    main.write_config(group.config_text(main).replace("misses = 6", "mises = 6", 1))
    assert main.tool("reload").returncode != 0
    reason = main.own()["reload_text"]
    assert re.search(r":\d+:.*mises", reason)
    mark = len(main.log())

    def ask():
        asked = [subprocess.Popen([*main.inside(), bulkhead.CTL, "-f", main.config, "reload"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(5)]
        for p in asked:
            out, _ = p.communicate(timeout=LONG_S)
            assert p.returncode != 0 and "mises" in out, out
        assert main.own()["reload_text"] == reason
        return "more than one a second" in main.log()[mark:]

    wait_for(ask, "more reloads than the rate lets through")
    main.write_config(group.config_text(main))
    wait_for(lambda: main.tool("reload").returncode == 0, "a good file is taken")  # after those that wait
