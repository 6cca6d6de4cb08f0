#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Time from a fault on main until the standby's program runs, beside keepalived; false takeovers.
usage: failover.py [--reps N] [--seconds N] [--only faults|stress]
Both have the same namespaces, the same faults, a message every 10 ms and three misses, and start the
same program when they take over; runs alternate. Figures are printed, nothing is asserted.
  kill       SIGKILL of every process of main's guard
  stop       SIGSTOP of them
  blackhole  main's switch port leaves the bridge; nobody loses carrier
"""
import argparse
import sys
import tempfile

from common import *

LOADS = {
    "cpu 8": ["--cpu", "8"],
    "mixed": ["--cpu", "4", "--fork", "4", "--vm", "2", "--vm-bytes", "256M", "--hdd", "2",
              "--hdd-bytes", "64M", "--switch", "2"],
}


def one(guard, fault, limit_s=3):
    """Milliseconds from the fault to the takeover; None when there was none."""
    guard.start()
    try:
        if guard.takeovers():
            progress("%s: took over before the fault" % guard.NAME)
        at = guard.fault(fault)
        bulkhead.wait_for(lambda: [t for t in guard.takeovers() if t >= at], "takeover", limit_s, 0.002)
        return ([t for t in guard.takeovers() if t >= at][0] - at) * 1e3
    except bulkhead.Timeout as e:
        progress("%s %s: %s" % (guard.NAME, fault, e))
        return None
    finally:
        guard.stop()


def faults(reps):
    for fault in ("kill", "blackhole", "stop"):
        guards = both()
        got = {g.NAME: [] for g in guards}
        try:
            for i in range(reps):
                for guard in guards:
                    ms = one(guard, fault)
                    if ms is not None:
                        got[guard.NAME].append(ms)
                progress("%s %d: %s" % (fault, i + 1, {n: round(v[-1], 2) for n, v in got.items() if v}))
        finally:
            guards[0].group.close()
        table("%s of main until the takeover program starts, ms" % fault,
              ["guard", "median", "min", "max", "n"], [[n, *quantiles(v)] for n, v in got.items()])
        print("bulkhead / keepalived: %s" % ratio(got["bulkhead"], got["keepalived"]), flush=True)


def stress(seconds):
    rows = []
    for load, arguments in LOADS.items():
        guards = both({"role.flap-window": "0ms"})
        guards += (Keepalived(guards[0].group.network, realtime=True),)
        try:
            for guard in guards:
                guard.start()
                pids = guard.pids("beta")
                cpu = process.cpu_seconds(pids)
                with tempfile.TemporaryDirectory(prefix="bht-stress.") as folder:
                    subprocess.run(["stress-ng", *arguments, "--timeout", "%ds" % seconds, "--quiet",
                                    "--temp-path", folder], check=True, stdin=subprocess.DEVNULL)
                used = process.cpu_seconds(pids) - cpu
                rows.append([load, guard.NAME, len(guard.takeovers()), "%.2f" % used])
                progress(rows[-1])
                guard.stop()
        finally:
            guards[0].group.close()
    table("false takeovers in %d s of load" % seconds, ["load", "guard", "takeovers", "CPU s of standby"], rows)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--reps", type=int, default=50)
    p.add_argument("--seconds", type=int, default=60)
    p.add_argument("--only", choices=("faults", "stress"))
    o = p.parse_args()
    process.adopt_orphans()
    if o.only != "stress":
        faults(o.reps)
    if o.only != "faults":
        stress(o.seconds)


if __name__ == "__main__":
    sys.exit(main())
