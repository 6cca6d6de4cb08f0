#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What one server's guard costs at rest, beside keepalived: memory, CPU, time until it is ready.
usage: footprint.py [--seconds N] [--reps N]
Default timings of both (status every 500 ms; adverts every 1 s), then 10 ms. Figures are printed,
nothing is asserted.
"""
import argparse
import sys

from common import *


def ready_ms(server):
    """From exec of the daemon until its admin socket answers with all children in their sandboxes."""
    server.start()
    at = server.started_s

    def up():
        p = server.processes()
        return all(p.get(n, {}).get("state") == "up" for n in bulkhead.CHILDREN)
    bulkhead.wait_for(up, "ready", step_s=0.001)
    # the log has the moment itself; asking with the tool costs some milliseconds more
    return (bulkhead.now_s() - at) * 1e3


def at_rest(guard, seconds):
    """PSS in KiB, processes and share of a core in per cent of the standby."""
    pids = guard.pids("beta")
    cpu = process.cpu_seconds(pids)
    bulkhead.pause(seconds)
    cpu = process.cpu_seconds(pids) - cpu
    return process.pss_kib(pids), len(pids), cpu / seconds * 100


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seconds", type=int, default=30)
    p.add_argument("--reps", type=int, default=10)
    o = p.parse_args()
    process.adopt_orphans()
    rows = []
    slow = {k: None for k in FAST}
    for label, advert, options in (("default", 1000, slow), ("10 ms", 10, {})):
        guard, _ = both(options)
        peer = Keepalived(guard.group.network, advert)
        try:
            for g in (guard, peer):
                g.start()
                pss, count, cpu = at_rest(g, o.seconds)
                rows.append([label, g.NAME, "%.1f" % (pss / 1024), count, "%.3f" % cpu])
                g.stop()
            if label == "default":
                times = []
                for _ in range(o.reps):
                    times.append(ready_ms(guard.group["beta"]))
                    guard.group["beta"].destroy()
        finally:
            guard.group.close()
    table("one server at rest", ["timings", "guard", "PSS MiB", "processes", "CPU % of a core"], rows)
    table("exec until ready, ms", ["guard", "median", "min", "max", "n"], [["bulkhead", *quantiles(times)]])


if __name__ == "__main__":
    sys.exit(main())
