#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The pair of ./quickstart: live status until Ctrl-C, or (--once) one takeover with its timings."""
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import bulkhead
import net
import process

# Slower than the tests, faster than the defaults: a person wants to see what happens.
OPTIONS = {
    "status.interval": "100ms", "status.misses": "4", "status.dial-timeout": "500ms",
    "icmp.interval": "100ms", "icmp.misses": "3", "arbitration.hold": "1s",
    "arbitration.step-down": "600ms", "arbitration.confirm": "2s", "arbitration.join": "2s",
}
RESTART_S = 10


def say(text=""):
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the live status ends then, and all of it is taken down
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        say.unread = True


say.unread = False


def step(text):
    say("\n== " + text)


def show(server, *command):
    """Print what an admin sees."""
    say("$ bulkheadctl %s            # on %s" % (" ".join(command), server.name))
    say(textwrap.indent(server.tool(*command).stdout.rstrip(), "  "))


def redis_cli(server, *words):
    """What a program on that server does with its data."""
    p = subprocess.run(["redis-cli", "-s", os.path.join(server.run, "data.sock"), *words], text=True,
                       capture_output=True, timeout=20, stdin=subprocess.DEVNULL)
    answer = (p.stdout + p.stderr).strip()
    say("$ redis-cli -s data.sock %s   # on %s\n  %s" % (" ".join(words), server.name, answer))
    return answer


def data_of(server):
    """As of now; status has what syncd said at the last interval."""
    return (server.json("data") or {}).get("data") or {}


def begin_data(main, standby):
    """The data of the group begins on main; a standby reads what main writes, and the other way round."""
    wait_for = bulkhead.wait_for
    wait_for(lambda: main.tool("init").returncode == 0, lambda: main.tool("init").stderr)
    wait_for(lambda: data_of(standby).get("stream") == "up", "the standby follows")
    assert redis_cli(main, "set", "setpoint", "42") == "OK"
    wait_for(lambda: data_of(main).get("lost_if_dead") == 0, "the standby has it")
    assert redis_cli(standby, "get", "setpoint") == "42"
    assert redis_cli(standby, "incr", "setpoint") == "43"
    wait_for(lambda: data_of(main).get("lost_if_dead") == 0, "the standby has it")


def hook_line(hook, since_s):
    words = " ".join("%s=%s" % (k, v) for k, v in sorted(hook.env.items()) if k.startswith("BULKHEAD_"))
    return "%8.1f ms  hook started: %s" % ((hook.boot_ns / 1e9 - since_s) * 1e3, words)


def once(group):
    step("starting alpha and beta")
    began = bulkhead.now_s()
    group.start()
    main, standby = group.wait_pair()
    say("%8.1f ms  %s is main, %s is standby and ready" % ((bulkhead.now_s() - began) * 1e3, main.name, standby.name))
    show(standby, "status")
    epoch = standby.own()["epoch"]

    step("replicated data: written on main, read on the standby; a write to the standby goes to main")
    begin_data(main, standby)
    show(main, "data")

    step("SIGKILL of every process of %s, the main" % main.name)
    killed = main.kill()
    group.wait_main_hook(standby)
    group.wait_role(standby, "main")
    hook = standby.hook_as("main")
    bulkhead.wait_for(lambda: data_of(standby).get("role") == "main", "syncd knows it")
    say(hook_line(hook, killed))
    assert int(hook.env["BULKHEAD_EPOCH"]) > epoch, "the epoch did not rise"
    show(standby, "explain")
    assert redis_cli(standby, "get", "setpoint") == "43", "the data is not there"
    assert redis_cli(standby, "set", "setpoint", "44") == "OK"

    step("starting %s again: it comes back as standby" % main.name)
    began = bulkhead.now_s()
    main.start()
    group.wait_pair()
    assert main.role() == "standby" and standby.role() == "main", "the role moved back by itself"
    say("%8.1f ms  %s is standby and ready" % ((bulkhead.now_s() - began) * 1e3, main.name))

    step("planned switchover back to %s" % main.name)
    began = bulkhead.now_s()
    runs = len(main.hooks_as("main"))
    standby.tool("switchover", main.name, check=True)
    group.wait_main_hook(main, runs + 1)
    group.wait_role(standby, "standby")
    group.wait_pair()
    say(hook_line(main.hook_as("main", runs), began))
    assert redis_cli(main, "get", "setpoint") == "44", "the data is not there"

    step("orderly stop of both")
    for s in (standby, main):
        pids = s.pids()
        _, status = s.stop()
        assert status == 0, "%s ended with %d" % (s.name, status)
        assert not [p for p in pids if process.alive(p)], "%s left a process" % s.name
    group.check_logs()
    say("all of it worked")


# The ways to break the pair, as a script beside its files: short to type, and it shows what it does.
SCRIPT = """#!/bin/sh
# Break the pair of quickstart: do kill|cut|heal|block SERVER, do SERVER COMMAND... (bulkheadctl)
cd "$(dirname "$0")" || exit 1
usage() { sed -n 's/^# Break/Break/p' "$0" >&2; exit 2; }
run() { echo "+ $*"; "$@"; }
of() { case $1 in
%(servers)s
*) usage ;;
esac; }
case ${1:-} in
kill)
	of "${2:-}"
	pid=$(cat "$2/run/bulkhead.pid") || exit 1
	run kill -9 $pid $(cat /proc/$pid/task/$pid/children) ;;
cut)
	of "${2:-}"
	run ip -n %(switch)s link set $port nomaster ;;
heal)
	of "${2:-}"
	run ip -n %(switch)s link set $port master br0
	ip netns exec $ns nft delete table inet quickstart 2>/dev/null || : ;;
block)
	of "${2:-}"
	run ip netns exec $ns nft \
		"table inet quickstart { chain in { type filter hook input priority -10; tcp dport 5481 drop; tcp sport 5481 drop; }; }" ;;
*)
	of "${1:-}"
	server=$1
	shift
	exec %(ctl)s -f "$server/bulkhead.conf" "$@" ;;
esac
"""


def write_script(group):
    network = group.network
    path = os.path.join(group.folder, "do")
    rows = "\n".join("%s) ns=%s port=%s ;;" % (s.name, s.namespace, network.port(s.name)) for s in group)
    with open(path, "w") as f:
        f.write(SCRIPT % {"servers": rows, "switch": network.switch, "ctl": bulkhead.CTL})
    os.chmod(path, 0o755)


def guide(group):
    """What to look at and how to break it, with commands to paste."""
    return [
        "Break it, as root in another terminal:  cd %s" % group.folder,
        "  ./do kill alpha          SIGKILL to all its processes (back after %d s)" % RESTART_S,
        "  ./do cut alpha           take its cable out",
        "  ./do block alpha         a firewall there drops TCP 5481: two mains, by the time confirm",
        "  ./do heal alpha          cable in, firewall away",
        "  ./do alpha switchover    hand over in order (say it to the main)",
        "  ./do beta explain        why? Also: status, data, events, check, --help",
        "Its data:  redis-cli -s alpha/run/data.sock set x 1;  redis-cli -s beta/run/data.sock get x",
    ]


def age(ms):
    s = (ms or 0) // 1000
    return "%d s" % s if s < 120 else "%d min" % (s // 60)


def summary(server, status):
    """Two lines about a server that answers."""
    own, lines = status["self"], []
    lines.append("%s is %s, %s, epoch %d, for %s%s" % (
        server.name, own["role"].upper() if own["role"] == "main" else own["role"], own["condition"], own["epoch"],
        age(own["role_age_ms"]), ": " + own["note"] if own["note"] else ""))
    seen = ["%s %s (link %s, ping %s)" % (s["name"], s["verdict"], s["link"], s["icmp"])
            for s in status["servers"] if not s["self"]]
    references = [r["state"] == "ok" for r in status["references"]]
    lines.append("   sees %s, %d of %d reference hosts" % (", ".join(seen), sum(references), len(references)))
    return lines


def happened(group, seen):
    """What the servers have decided and found, oldest first; what a dead one said is kept."""
    for s in group.running():
        for e in (s.json("events", "-n", "40") or {}).get("events", ()):
            text = e["text"] if e["rule"] != "command" else e["text"].partition(". ")[2]
            seen[s.name, e["sequence"]] = (e["wall_ms"], s.name, e["sequence"], e["rule"], text)
    return [e for e in sorted(seen.values()) if e[3] != "hook-ended"]


def screen(group, down, seen, tty):
    width, height = shutil.get_terminal_size((100, 40)) if tty else (1000, 40)
    top = ["A hot-standby pair on this machine. Ctrl-C takes all of it down.", ""]
    for s in group:
        status = s.status() if s in group.running() else None
        if status:
            top += summary(s, status)
        else:
            left = max(0, down.get(s, bulkhead.now_s()) + RESTART_S - bulkhead.now_s())
            top += ["%s is dead; it is started again in %.0f s" % (s.name, left), ""]
    bottom = [""] + guide(group)
    room = max(1, height - len(top) - len(bottom) - 3)
    events = ["%s  %-5s  %-*s  %s" % (time.strftime("%H:%M:%S", time.localtime(e[0] / 1000)), e[1],
                                      25, e[3], e[4]) for e in happened(group, seen)[-room:]]
    lines = top + ["", "What happened:"] + events + bottom
    return ("\033[H" if tty else "") + "\n".join(
        line[:width - 1] + ("\033[K" if tty else "") for line in lines) + ("\033[J" if tty else "")


def live(group):
    group.start()
    begin_data(*group.wait_pair())
    write_script(group)
    tty, down, seen, last = sys.stdout.isatty(), {}, {}, None
    if tty:
        say("\033[2J")
    while not say.unread:
        for s in group:
            if s in group.running():
                down.pop(s, None)
                continue
            down.setdefault(s, bulkhead.now_s())
            process.end(process.tree(s.pid)[1:])
            if bulkhead.now_s() > down[s] + RESTART_S:
                s.start()
        process.reap()
        roles = [(s.name, s.role() if s in group.running() else "dead") for s in group]
        if tty or roles != last:
            say(screen(group, down, seen, tty))
            last = roles
        bulkhead.pause(0.5)


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    once_only = sys.argv[1:] == ["--once"]
    process.adopt_orphans()
    net.remove_stale()
    for sig in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(sig, interrupted)
    group, result = None, 1
    try:
        group = bulkhead.Group(["alpha", "beta"], options=OPTIONS, prefix="bulkhead-quickstart.")
        (once if once_only else live)(group)
        result = 0
    except KeyboardInterrupt:
        result = 1 if once_only else 0
        say("\ntaking it down")
    except (AssertionError, RuntimeError, OSError, KeyError, subprocess.SubprocessError) as e:
        say("\nFAILED: %s" % e)
        if group:
            group.print_logs()
    finally:
        for sig in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(sig, signal.SIG_IGN)
        if group:
            group.close()
    left = process.children(os.getpid())
    if left:
        say("left behind: %s" % left)
        result = 1
    return result


if __name__ == "__main__":
    sys.exit(main())
