#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The pair of ./quickstart: live status until Ctrl-C, or (--once) one takeover with its timings."""
import os
import signal
import subprocess
import sys
import textwrap

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
    print(text, flush=True)


def step(text):
    say("\n== " + text)


def show(server, *command):
    """Print what an admin sees."""
    say("$ bulkheadctl %s            # on %s" % (" ".join(command), server.name))
    say(textwrap.indent(server.tool(*command).stdout.rstrip(), "  "))


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

    step("SIGKILL of every process of %s, the main" % main.name)
    killed = main.kill()
    group.wait_main_hook(standby)
    group.wait_role(standby, "main")
    hook = standby.hooks_as("main")[0]
    say(hook_line(hook, killed))
    assert int(hook.env["BULKHEAD_EPOCH"]) > epoch, "the epoch did not rise"
    show(standby, "explain")

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
    say(hook_line(main.hooks_as("main")[runs], began))

    step("orderly stop of both")
    for s in (standby, main):
        pids = s.pids()
        _, status = s.stop()
        assert status == 0, "%s ended with %d" % (s.name, status)
        assert not [p for p in pids if process.alive(p)], "%s left a process" % s.name
    group.check_logs()
    say("all of it worked")


def guide(group):
    """What to look at and how to break it, with commands to paste."""
    lines = ["In another terminal (root):"]
    for s in group:
        lines.append("  export BH_%s='%s -f %s'" % (s.name.upper(), bulkhead.CTL, s.config))
    lines += [
        "  $BH_ALPHA status; $BH_BETA explain; $BH_ALPHA events; $BH_ALPHA ports; $BH_BETA --json status",
        "  $BH_ALPHA switchover            hand over in order (say it to the main)",
        "Break it:",
    ]
    for s in group:
        lines.append("  kill -9 %s   # the whole guard of %s; it is started again after %d s"
                     % (" ".join(map(str, s.pids())), s.name, RESTART_S))
    for s in group:
        lines.append("  ip -n %s link set %s nomaster   # cut off %s; heal: ... master br0"
                     % (group.network.switch, group.network.port(s.name), s.name))
    lines.append("  ip netns exec %s nft add table inet t   # and any firewall rule you like" % group["alpha"].namespace)
    lines.append("Ctrl-C here takes all of it down.")
    return "\n".join(lines)


def screen(group, down, tty):
    parts = ["\033[H\033[2J"] if tty else []
    for s in group:
        if s in group.running():
            text = s.tool("status", timeout=5).stdout.rstrip()
        else:
            left = max(0, down[s] + RESTART_S - bulkhead.now_s())
            text = "%s: dead (started again in %.0f s)" % (s.name, left)
        parts.append(text + "\n")
        runs = s.hooks()[-1:]
        if runs:
            parts.append("last hook of %s: %s\n" % (s.name, " ".join(
                "%s=%s" % (k, v) for k, v in sorted(runs[0].env.items()) if k.startswith("BULKHEAD_"))))
    parts.append(guide(group))
    return "\n".join(parts)


def live(group):
    group.start()
    group.wait_pair()
    tty, down, last = sys.stdout.isatty(), {}, None
    while True:
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
            say(screen(group, down, tty))
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
