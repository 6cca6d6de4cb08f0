#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The local face of syncd beside redis-server, asked by redis-benchmark on a Unix socket.
usage: face.py [-n REQUESTS] [--rounds N] [--clients N]
Every figure is the median of rounds that alternate between the servers, and the CPU that the server
used for a request. Figures are printed, nothing is asserted.
"""
import argparse
import os
import statistics
import sys
import tempfile

from common import process, progress, redis_benchmark, table

import test_redis_compat as compat  # noqa: E402

REDIS = ["--appendonly", "yes", "--appendfsync"]


def servers(folder):
    """Name and server: ours syncs each turn of the loop, as Redis does with `always`."""
    made = {}
    for name, start in (("Bulkhead", compat.ours), ("Redis always", lambda f: compat.redis(f, *REDIS, "always")),
                        ("Redis everysec", lambda f: compat.redis(f, *REDIS, "everysec"))):
        own = os.path.join(folder, name.replace(" ", "-"))
        os.mkdir(own)
        made[name] = start(own)
    return made


def run(server, test, pipeline, args):
    """Requests per second, and CPU in us for each."""
    n = args.n * (4 if pipeline > 1 else 1)
    before = process.cpu_seconds([server.process.pid])
    rps = redis_benchmark(server.path, test, n, args.clients, pipeline)["rps"]
    used = process.cpu_seconds([server.process.pid]) - before
    return rps, used * 1e6 / n


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-n", type=int, default=100000)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--clients", type=int, default=50)
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="bht-face.") as folder:
        made = servers(folder)
        try:
            for s in made.values():  # files are made, memory is taken
                run(s, "set", 16, args)
            rows = []
            for test, pipeline in (("set", 1), ("set", 16), ("get", 1), ("get", 16)):
                got = {name: [] for name in made}
                for r in range(args.rounds):
                    progress("%s -P %d, round %d" % (test, pipeline, r + 1))
                    for name, s in made.items():
                        got[name].append(run(s, test, pipeline, args))
                rows.append(["%s x%d" % (test.upper(), pipeline)] + [
                    "%.0f/s %.1f us" % tuple(statistics.median(x) for x in zip(*got[name])) for name in made])
            table("%d clients: requests per second, CPU of the server per request" % args.clients,
                  ["", *made], rows)
        finally:
            for s in made.values():
                s.stop()


if __name__ == "__main__":
    main()
