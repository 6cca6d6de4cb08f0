# SPDX-License-Identifier: ISC
"""What the benchmarks share: the harness of the system tests, peers, tables."""
import csv
import os
import signal
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "system"))

import bulkhead  # noqa: E402
import net  # noqa: E402
import process  # noqa: E402

# What both are given: a message every 10 ms, lost after 3.
FAST = {
    "status.interval": "10ms", "icmp.interval": "10ms", "status.dial-timeout": "30ms",
    "arbitration.hold": "30ms", "arbitration.step-down": "20ms", "arbitration.confirm": "60ms",
    "status.misses": "3", "icmp.misses": "3",
}


def table(title, head, rows):
    """Print rows of texts under a head, columns aligned."""
    rows = [[str(c) for c in r] for r in [head, *rows]]
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    print("\n" + title)
    for i, r in enumerate(rows):
        print("  ".join(c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(r, widths))))
        if i == 0:
            print("  ".join("-" * w for w in widths))
    sys.stdout.flush()


def quantiles(values):
    """Median, lowest, highest and count as texts; dashes where nothing was measured."""
    if not values:
        return ["-", "-", "-", "0"]
    return ["%.2f" % statistics.median(values), "%.2f" % min(values), "%.2f" % max(values), str(len(values))]


def ratio(ours, peers):
    return "%.2f" % (statistics.median(ours) / statistics.median(peers)) if ours and peers else "-"


def redis_benchmark(path, test, n, clients, pipeline, keys=100000, size=3):
    """One run of it on a Unix socket: what it prints as numbers by their names (rps, p50_latency_ms, ...)."""
    out = subprocess.run(["redis-benchmark", "-s", path, "-t", test, "-n", str(n), "-c", str(clients), "-P",
                          str(pipeline), "-r", str(keys), "-d", str(size), "--csv"],
                         capture_output=True, text=True, check=True).stdout
    line = next(csv.DictReader(out.splitlines()))
    return {k: float(v) for k, v in line.items() if k != "test"}


def progress(text):
    print(text, file=sys.stderr, flush=True)


class Keepalived:
    """Debian's keepalived on the two servers of a network: alpha is master, beta the backup."""
    def __init__(self, network, advert_ms=10, realtime=False):
        self.NAME = "keepalived rt" if realtime else "keepalived"
        self.network, self.advert_ms = network, advert_ms
        self.folder = tempfile.mkdtemp(prefix="bht-keepalived.")
        self.hook_file = os.path.join(self.folder, "hooks")
        self.popen = {}
        for name, priority in (("alpha", 200), ("beta", 100)):
            # state, where beta becomes master, is written by the same program as our hook
            notify = "notify_master \"%s %s\"" % (bulkhead.STAMP, self.hook_file) if name == "beta" else ""
            notify += "\nnotify_backup \"%s %s\"" % (bulkhead.STAMP, self.hook_file + "." + name)
            with open(os.path.join(self.folder, name + ".conf"), "w") as f:
                f.write("global_defs {\n router_id %s\n script_user root\n vrrp_version 3\n"
                        " vrrp_garp_master_delay 0\n%s}\n"
                        "vrrp_instance V {\n state BACKUP\n nopreempt\n interface eth0\n"
                        " virtual_router_id 51\n priority %d\n advert_int %g\n"
                        " virtual_ipaddress { 192.0.2.100/24 }\n %s\n}\n"
                        % (name, " vrrp_rt_priority 50\n" if realtime else "", priority, advert_ms / 1000,
                           notify))

    def _start(self, name):
        path = os.path.join(self.folder, name)
        for end in (".pid", ".vpid"):
            if os.path.exists(path + end):
                os.unlink(path + end)
        with open(path + ".log", "a") as log:
            self.popen[name] = subprocess.Popen(
                ["nsenter", "--net=%s/%s" % (net.NETNS_DIR, self.network.ns[name]), "--",
                 "keepalived", "-n", "-l", "-P", "-f", path + ".conf", "-p", path + ".pid", "-r", path + ".vpid"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=process.die_with_parent)
        process.owned.add(self.popen[name].pid)

    def _has_address(self, name):
        return "192.0.2.100" in net.ip("-n", self.network.ns[name], "addr", "show", "dev", "eth0")

    def _backup(self, name):
        return os.path.exists(self.hook_file + "." + name)

    def start(self):
        """alpha master, beta settled as backup."""
        for end in ("", ".alpha", ".beta"):
            if os.path.exists(self.hook_file + end):
                os.unlink(self.hook_file + end)
        self._start("alpha")
        bulkhead.wait_for(lambda: self._has_address("alpha"), "keepalived of alpha is master")
        self._start("beta")
        bulkhead.wait_for(lambda: self._backup("beta"), "keepalived of beta is backup")
        bulkhead.pause(0.3)  # both keep their roles for a while before the event

    def main(self):
        return "alpha"

    def fault(self, what):
        return _fault(self.network, "alpha", what, process.tree(self.popen["alpha"].pid))

    def takeovers(self):
        """Boottime seconds of the runs of beta's script as master."""
        if not os.path.exists(self.hook_file):
            return []
        with open(self.hook_file) as f:
            return [int(line.split("\t")[0]) / 1e9 for line in f.read().splitlines()]

    def pids(self, name):
        return process.tree(self.popen[name].pid)

    def stop(self):
        for p in self.popen.values():
            pids = process.tree(p.pid)
            process.send(pids, signal.SIGCONT)
            process.send(pids, signal.SIGKILL)
            p.wait()
            process.owned.discard(p.pid)
            process.end(pids)
        self.popen.clear()
        for ns in self.network.ns.values():
            net.ip("-n", ns, "addr", "del", "192.0.2.100/24", "dev", "eth0", check=False)
        self.network.heal()


class Bulkhead:
    """Our pair on the same namespaces."""
    NAME = "bulkhead"

    def __init__(self, group):
        self.group = group

    def start(self):
        for s in self.group:
            with open(s.hook_file, "w"):
                pass
        self.group.start()
        self.active, self.standby = self.group.wait_pair()
        self.runs = len(self.standby.hooks_as("main"))
        bulkhead.pause(0.3)

    def main(self):
        return self.active.name

    def fault(self, what):
        return _fault(self.group.network, self.active.name, what, self.active.pids())

    def takeovers(self):
        return [h.boot_ns / 1e9 for h in self.standby.hooks_as("main")[self.runs:]]

    def pids(self, name):
        return self.group[name].pids()

    def stop(self):
        for s in self.group:
            s.destroy()
        self.group.network.heal()


def _fault(network, name, what, pids):
    """Make the fault; returns its time. No program is started in between."""
    at = bulkhead.now_s()
    if what == "kill":
        process.send(pids, signal.SIGKILL)
    elif what == "stop":
        process.send(pids, signal.SIGSTOP)
    elif what == "blackhole":
        network.port_member(name, False)
    else:
        raise ValueError(what)
    return at


def both(options=None):
    """A group and keepalived on the same network: (Bulkhead, Keepalived)."""
    group = bulkhead.Group(["alpha", "beta"], options={**FAST, **(options or {})})
    return Bulkhead(group), Keepalived(group.network)
