#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Replicated data with real daemons: main and standby beside a Redis primary and its replica.
usage: data.py [--full] [--only SECTION ...] [--rounds N] [--scale X] [--keys N,N] [--snapshot MIB] [--folder DIR]

Both pairs live at the same time in the same two network namespaces; each is asked on the Unix socket of its
first server by the same programs (redis-benchmark, tests/bench/data.c), one after the other, round by round.
Redis has `appendonly yes` and `appendfsync always` on both. Figures are medians, nothing is asserted.

Sections: rate, sync, lag, snapshot, growth. --full: the sizes of a release, 1 GiB and 10^7 keys, which take 25 GB of
disk in DIR and, with --rounds 3 --snapshots 2, 20 minutes; with the default more.
"""
import argparse
import datetime
import glob
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

from common import bulkhead, process, progress, redis_benchmark, table

import test_redis_compat as compat

PORT = 6379
CLIENT = os.path.join(bulkhead.BUILD, "tests", "bench", "data")
SECTIONS = ("rate", "sync", "lag", "snapshot", "growth")


def client(*args):
    """What tests/bench/data prints, as numbers."""
    out = subprocess.run([CLIENT, *map(str, args)], capture_output=True, text=True, check=True).stdout
    return [float(n) for n in out.split()]


def since(pattern, text, form):
    """Time of the last line of a log that matches, in seconds; None: there is none."""
    lines = [l for l in text.splitlines() if re.search(pattern, l)]
    if not lines:
        return None
    stamp = re.search(form, lines[-1]).group(0).rstrip("Z")
    parse = "%Y-%m-%dT%H:%M:%S.%f" if "T" in stamp else "%d %b %Y %H:%M:%S.%f"
    return datetime.datetime.strptime(stamp, parse).timestamp()


class Ours:
    NAME = "Bulkhead"

    def __init__(self, folder, data_mib):
        options = {k: None for k in (*bulkhead.TEST_MS, *bulkhead.TEST_COUNTS)}  # as they are delivered
        options["data.size"] = "%dMiB" % max(1024, data_mib)
        options["data.flush"] = "true"
        self.group = bulkhead.Group(options=options, prefix=os.path.join(folder, "bht-data."))

    def start(self):
        self.group.start()
        self.main, self.standby = self.group.wait_pair(60)
        bulkhead.wait_for(lambda: self.main.tool("init").returncode == 0, "the group has data")
        self.wait_replica()

    def path(self, server=None):
        return os.path.join((server or self.main).run, "data.sock")

    def stream(self):
        return (self.standby.status() or {}).get("data") or {}

    def wait_replica(self):
        def has_all():
            c = compat.Client(self.path())
            want = int(re.search(rb"master_repl_offset:(\d+)", c.do("INFO", "replication")[1]).group(1))
            c.close()
            d = self.stream()
            return d.get("stream") == "up" and d["durable"] >= want
        bulkhead.wait_for(has_all, "the standby has everything", 600)

    def pids(self):
        return {"main": self.main.child("syncd"), "standby": self.standby.child("syncd"),
                "main netd": self.main.child("netd"), "standby netd": self.standby.child("netd")}

    def set_sync(self, mode):
        """sync: an answer is on both disks. Returns what has to follow a SET for that."""
        self.group.set("sync.mode", mode)
        for s in self.group:
            s.write_config()
            s.tool("reload", check=True)
        bulkhead.wait_for(lambda: all(s.json("data")["data"]["mode"] == mode for s in self.group), "mode " + mode)
        return ()

    def replica_path(self):
        return self.path(self.standby)

    def resync(self):
        """The standby starts without data; returns the seconds that the snapshot took."""
        self.standby.stop()
        for f in glob.glob(os.path.join(self.standby.state, "data", "*")):
            os.remove(f)
        os.truncate(self.standby.log_file, 0)
        self.standby.start()
        form = r"\d{4}-\d\d-\d\dT[\d:.]+Z"
        done = bulkhead.wait_for(lambda: since("the snapshot is in place", self.standby.log(), form),
                                 self.group.report, 3600, 0.1)
        took = done - since("loading a snapshot", self.standby.log(), form)
        self.group.wait_pair(60)
        self.wait_replica()
        return took

    def close(self):
        self.group.close()


class Redis:
    NAME = "Redis always"

    def __init__(self, folder, group):
        self.folder, self.group = folder, group
        self.names = list(group.network.ns)

    def _start(self, name, *options):
        folder = os.path.join(self.folder, "redis-" + name)
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "redis.sock")
        return compat.Server(
            [*self.group[name].inside(), "redis-server", "--port", str(PORT), "--bind", self.address(name),
             "--protected-mode", "no", "--unixsocket", path, "--dir", folder, "--save", "", "--appendonly", "yes",
             "--appendfsync", "always", "--repl-diskless-sync-delay", "0", *options],
            path, os.path.join(folder, "log"))

    def address(self, name):
        return self.group.network.addresses(name)[0]

    def start(self):
        self.main = self._start(self.names[0])
        self.start_replica()

    def start_replica(self):
        self.standby = self._start(self.names[1], "--replicaof", "%s %d" % (self.address(self.names[0]), PORT))
        # until then what main shows may be the link of the one before
        bulkhead.wait_for(lambda: "sync: Finished with success" in self.log(), "the replica is there", 3600, 0.1)
        self.wait_replica()

    def path(self):
        return self.main.path

    def replica_path(self):
        return self.standby.path

    def wait_replica(self):
        def has_all():
            c = compat.Client(self.main.path)
            info = c.do("INFO", "replication")[1].decode()
            c.close()
            at = re.search(r"slave0:.*state=online,offset=(\d+)", info)
            return at and at.group(1) == re.search(r"master_repl_offset:(\d+)", info).group(1)
        bulkhead.wait_for(has_all, "the replica has everything", 3600)

    def pids(self):
        return {"main": self.main.process.pid, "standby": self.standby.process.pid}

    def set_sync(self, mode):
        return ("WAIT 1 0",) if mode == "sync" else ()

    def resync(self):
        """The replica starts without data; returns the seconds of the full synchronisation."""
        self._end(self.standby)
        shutil.rmtree(os.path.join(self.folder, "redis-" + self.names[1]))
        self.start_replica()
        form = r"\d\d \w{3} \d{4} [\d:.]+"
        return since("sync: Finished with success", self.log(), form) - since("Full resync from", self.log(), form)

    def log(self):
        with open(self.standby.log, errors="replace") as f:
            return f.read()

    @staticmethod
    def _end(server):
        server.process.kill()
        server.process.wait()

    def close(self):
        for s in compat.Server.started:
            self._end(s)


# ---- what is measured: a function per section, which returns tables

def alternate(both, rounds, what, measure):
    """{name: results of measure(server)}, round by round."""
    got = {s.NAME: [] for s in both}
    for r in range(rounds):
        progress("%s, round %d of %d" % (what, r + 1, rounds))
        for s in both:
            got[s.NAME].append(measure(s))
    return got


def row(label, got, form, aim=""):
    """A line: medians of both, their ratio, what it is to be."""
    ours, peer = (statistics.median(got[n]) for n in (Ours.NAME, Redis.NAME))
    return [label, form % ours, form % peer, "%.2f" % (ours / peer), aim]


HEAD = ["", Ours.NAME, Redis.NAME, "ratio", "aim"]


def spent_us(server, n, run):
    """What run() returns, and CPU in us of all processes of a pair for each of n requests."""
    pids = list(server.pids().values())
    before = process.cpu_seconds(pids)
    result = run()
    return result, (process.cpu_seconds(pids) - before) * 1e6 / n


def rate(both, o):
    rows = []
    for label, clients, pipeline, n in (("SET, 50 clients", 50, 1, 60000),
                                        ("SET, 50 clients, 16 at a time", 50, 16, 400000)):
        n = int(n * o.scale)
        got = alternate(both, o.rounds, label, lambda s: spent_us(
            s, n, lambda: redis_benchmark(s.path(), "set", n, clients, pipeline)["rps"]))
        rows.append(row(label + ": per second", {k: [r for r, _ in v] for k, v in got.items()}, "%.0f", ">= 1"))
        rows.append(row("   CPU of both servers, us each", {k: [c for _, c in v] for k, v in got.items()}, "%.1f"))
    n = int(4000 * o.scale)
    got = alternate(both, o.rounds, "one client", lambda s: client("ask", s.path(), n))
    rows.append(row("SET, one client: us p50", {k: [r[0] for r in v] for k, v in got.items()}, "%.0f", "<= 1"))
    return [("Written on main, on its disk before the answer", HEAD, rows)]


def sync(both, o):
    n = int(4000 * o.scale)
    then = {s.NAME: s.set_sync("sync") for s in both}
    try:
        got = alternate(both, o.rounds, "sync", lambda s: client("ask", s.path(), n, *then[s.NAME]))
    finally:
        for s in both:
            s.set_sync("async")
    rows = [row("one client: us %s" % q, {k: [r[i] for r in v] for k, v in got.items()}, "%.0f", aim)
            for i, q, aim in ((0, "p50", "<= 1"), (1, "p99", ""))]
    return [("On the disks of both servers before the answer (Redis: WAIT 1, which asks for no disk)", HEAD, rows)]


def lag(both, o):
    n = int(2000 * o.scale)
    got = alternate(both, o.rounds, "lag", lambda s: client("lag", s.path(), s.replica_path(), n))
    rows = [row("us %s" % q, {k: [r[i] for r in v] for k, v in got.items()}, "%.0f", aim)
            for i, q, aim in ((0, "p50", "<= 2"), (1, "p99", ""))]
    return [("From the answer on main until a GET on the standby has it", HEAD, rows)]


def empty(s):
    c = compat.Client(s.path())
    c.sock.settimeout(600)
    assert c.do("FLUSHALL")[1] == b"+OK\r\n"
    c.close()
    s.wait_replica()


def fill(s, first, last, size):
    client("fill", s.path(), first, last, size)
    s.wait_replica()


def snapshot(both, o):
    rows = []
    limits = {"AEAD, a core": lambda: client("aead", o.snapshot),
              "loopback TCP": lambda: client("tcp", o.snapshot),
              "disk": lambda: client("disk", os.path.join(o.folder, "limit"), o.snapshot)}
    speed = {k: [] for k in limits}
    for size in (100, 65536):
        for s in both:
            empty(s)
            fill(s, 1, o.snapshot * (1 << 20) // size, size)
        got = alternate(both, o.snapshots, "snapshot of %d MiB in values of %d bytes" % (o.snapshot, size),
                        lambda s: o.snapshot / s.resync())
        for k, measure in limits.items():
            speed[k] += [measure()[0] for _ in range(o.snapshots)]
        rows.append([size, got])
    medians = {k: statistics.median(v) for k, v in speed.items()}
    limit = min(medians.values())
    out = [row("values of %d bytes: MiB/s" % size, got, "%.0f")[:4] +
           ["%.2f" % (statistics.median(got[Ours.NAME]) / limit), ">= 0.5"] for size, got in rows]
    for s in both:
        empty(s)
    return [("Full snapshot of %d MiB of values: MiB/s of values" % o.snapshot, HEAD[:4] + ["of the limit", "aim"], out),
            ("Limits: MiB/s", list(medians), [["%.0f" % v for v in medians.values()]])]


def growth(both, o):
    rows, at = [], 0
    for keys in o.keys:
        for s in both:
            progress("%s: up to %d keys" % (s.NAME, keys))
            fill(s, at + 1, keys, 100)
        at = keys
        n = int(max(60000, min(keys, 300000)) * o.scale)
        got = alternate(both, o.rounds, "%d keys" % keys, lambda s: redis_benchmark(
            s.path(), "set", n, 50, 16, keys=keys, size=100))
        for s in both:
            runs = got[s.NAME]
            main = s.pids()["main"]
            rows.append(["%d" % keys, s.NAME, "%.0f" % statistics.median(r["rps"] for r in runs),
                         "%.2f" % statistics.median(r["p50_latency_ms"] for r in runs),
                         "%.0f" % max(r["max_latency_ms"] for r in runs),
                         *("%.0f" % (kib / 1024) for kib in process.pss_parts_kib(main))])
    for s in both:
        empty(s)
    return [("As the store grows: random SETs of 100 bytes, 50 clients, 16 at a time; main", [
        "keys", "", "per second", "p50 ms", "longest ms", "PSS MiB without files", "with"], rows)]


def options():
    p = argparse.ArgumentParser()
    p.add_argument("--full", action="store_true", help="sizes of a release: 1 GiB, 10^7 keys")
    p.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--scale", type=float, default=1, help="more or fewer requests in each run")
    p.add_argument("--keys", type=lambda t: [int(n) for n in t.split(",")])
    p.add_argument("--snapshot", type=int, metavar="MIB")
    p.add_argument("--snapshots", type=int, default=3, help="rounds of them")
    p.add_argument("--folder", default="/tmp", help="where the servers keep their data")
    o = p.parse_args()
    o.keys = o.keys or ([10**4, 10**6, 10**7] if o.full else [10**4, 10**5])
    o.snapshot = o.snapshot or (1024 if o.full else 64)
    return o


def main():
    o = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with what it cleans up
    subprocess.run(["make", "-s", "-C", bulkhead.BUILD, "tests/bench/data"], check=True, stdout=subprocess.DEVNULL)
    process.adopt_orphans()
    folder = o.folder = os.path.abspath(os.path.join(o.folder, "bht-data-bench.%d" % os.getpid()))
    os.mkdir(folder, 0o755)
    both = []
    began = time.monotonic()
    try:
        both.append(Ours(folder, 4 * o.snapshot + max(o.keys) * 1024 // (1 << 20)))
        both.append(Redis(folder, both[0].group))
        for s in both:
            s.start()
        for s in both:  # files are made, memory is taken
            redis_benchmark(s.path(), "set", 20000, 50, 16)
        tables = []
        for name in SECTIONS:
            if name in o.only:
                for t in globals()[name](both, o):
                    table(*t)
                    tables.append(t)
        print("\nload of the machine %.1f, %.0f minutes" % (os.getloadavg()[1], (time.monotonic() - began) / 60))
    finally:
        for s in reversed(both):
            s.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
