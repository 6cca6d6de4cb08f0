# SPDX-License-Identifier: ISC
"""Virtual networks for tests, benchmarks and quickstart: one namespace per server, one for the switch.

The switch is a namespace with a bridge per path. The bridges carry addresses and so answer as the
reference hosts. A server is attached by a veth pair, or, to get delay and loss, by two TAP devices
with a forwarder between them (netem is not in every kernel).

Every name carries the pid of the process that made it, so that parallel runs never meet and a later
run can tell (and remove) what a killed one left.
"""
import collections
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import re
import select
import socket
import struct
import subprocess
import threading
import time

PREFIX = "bht"
NETNS_DIR = "/run/netns"
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_sequence = itertools.count(1)


def run(*args, stdin=None, check=True, timeout=120):
    """Run a program to its end; returns its standard output, raises with its errors."""
    p = subprocess.run(args, input=stdin, text=True, capture_output=True, timeout=timeout)
    if check and p.returncode:
        raise RuntimeError("%s: exit %d: %s" % (" ".join(args), p.returncode, p.stderr.strip()))
    return p.stdout


def ip(*args, check=True):
    """The ip(8) command: one line of arguments, or a list of lines that run as one batch."""
    if len(args) == 1 and isinstance(args[0], list):
        return run("ip", "-batch", "-", stdin="\n".join(args[0]) + "\n", check=check)
    return run("ip", *args, check=check)


def in_namespace(name, function):
    """Call function in a thread that is inside the namespace; sockets that it makes stay there."""
    result, failure = [], []

    def body():
        try:
            fd = os.open(os.path.join(NETNS_DIR, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(fd, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns %s" % name)
            finally:
                os.close(fd)
            result.append(function())
        except BaseException as e:  # handed to the caller below
            failure.append(e)
    t = threading.Thread(target=body)
    t.start()
    t.join()
    if failure:
        raise failure[0]
    return result[0]


def remove_stale():
    """Remove namespaces whose maker is gone."""
    for name in sorted(os.listdir(NETNS_DIR)) if os.path.isdir(NETNS_DIR) else ():
        m = re.fullmatch(PREFIX + r"(\d+)-.*", name)
        if m and not os.path.exists("/proc/" + m.group(1)):
            ip("netns", "del", name, check=False)


class LinkControl:
    """Changes links through one netlink socket, so that no program is started in a measured time."""
    RTM_NEWLINK, NLM_F_REQUEST, NLM_F_ACK, IFLA_MASTER, IFF_UP = 16, 1, 4, 10, 1

    def __init__(self, namespace):
        def make():
            s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            s.bind((0, 0))
            return s, dict((n, i) for i, n in socket.if_nameindex())
        self.socket, self.index = in_namespace(namespace, make)

    def _change(self, device, flags, mask, attributes=b""):
        body = struct.pack("=BBHiII", 0, 0, 0, self.index[device], flags, mask) + attributes
        head = struct.pack("=IHHII", 16 + len(body), self.RTM_NEWLINK,
                           self.NLM_F_REQUEST | self.NLM_F_ACK, 1, 0)
        self.socket.send(head + body)
        error = struct.unpack_from("=i", self.socket.recv(8192), 16)[0]
        if error:
            raise OSError(-error, "%s: %s" % (device, os.strerror(-error)))

    def up(self, device, up=True):
        self._change(device, self.IFF_UP if up else 0, self.IFF_UP)

    def master(self, device, bridge=None):
        """Put the device into the bridge, or take it out (None): frames then go nowhere."""
        index = self.index[bridge] if bridge else 0
        self._change(device, 0, 0, struct.pack("=HHI", 8, self.IFLA_MASTER, index))

    def close(self):
        self.socket.close()


class Forwarder(threading.Thread):
    """Carries frames between two TAP devices with a delay and a share of loss, one way or both."""
    TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454ca, 2, 0x1000

    def __init__(self, server_ns, server_device, switch_ns, switch_device):
        super().__init__(daemon=True, name="forwarder")
        self.fds = [in_namespace(ns, lambda d=dev: self._tap(d))
                    for ns, dev in ((server_ns, server_device), (switch_ns, switch_device))]
        self.delay_ms, self.loss = 0.0, 0.0
        self.blocked = [False, False]  # from the server, towards the server
        self.random = random.Random(1)
        self.wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.start()

    @classmethod
    def _tap(cls, device):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.ioctl(fd, cls.TUNSETIFF,
                    struct.pack("=16sH22x", device.encode(), cls.IFF_TAP | cls.IFF_NO_PI))
        return fd

    def _take(self, side, queue):
        """Read what waits on one side and put what is not lost into the queue of due frames."""
        for _ in range(64):
            try:
                frame = os.read(self.fds[side], 65536)
            except BlockingIOError:
                return
            if self.blocked[side] or self.random.random() < self.loss:
                continue
            due = time.monotonic() + self.delay_ms / 1000
            heapq.heappush(queue, (due, next(_sequence), 1 - side, frame))

    def run(self):
        queue = []
        try:
            while True:
                wait = max(0.0, queue[0][0] - time.monotonic()) if queue else None
                ready = select.select([*self.fds, self.wake[0]], [], [], wait)[0]
                if self.wake[0] in ready:
                    return
                for side in (0, 1):
                    if self.fds[side] in ready:
                        self._take(side, queue)
                while queue and queue[0][0] <= time.monotonic():
                    _, _, side, frame = heapq.heappop(queue)
                    try:
                        os.write(self.fds[side], frame)
                    except OSError:
                        pass  # device down or its queue full: a lost frame
        except OSError:
            pass  # the namespace is being removed
        finally:
            for fd in (*self.fds, *self.wake):
                os.close(fd)

    def stop(self):
        try:
            os.write(self.wake[1], b"x")
        except OSError:
            pass
        self.join(5)


Path = collections.namedtuple("Path", "network references")
PATHS4 = (Path("192.0.2.", ("192.0.2.254", "192.0.2.253")),
          Path("198.51.100.", ("198.51.100.254",)))
PATHS6 = (Path("2001:db8:1::", ("2001:db8:1::fffe", "2001:db8:1::fffd")),
          Path("2001:db8:2::", ("2001:db8:2::fffe",)))


class Network:
    """Namespaces of the named servers, each with eth0 (and eth1 with two paths) on the switch."""

    def __init__(self, names, paths=1, family=4, forwarded=()):
        self.names, self.n_paths, self.family = list(names), paths, family
        self.table = PATHS4 if family == 4 else PATHS6
        tag = "%s%d-%d-" % (PREFIX, os.getpid(), next(_sequence))
        self.switch = tag + "switch"
        self.ns = {n: tag + n for n in self.names}
        self.forwarder, self.control = {}, {}
        try:
            self._build(forwarded)
        except BaseException:
            self.close()
            raise

    def _build(self, forwarded):
        for ns in (self.switch, *self.ns.values()):
            ip("netns", "add", ns)
        prefix = "24" if self.family == 4 else "64"
        nodad = "" if self.family == 4 else " nodad"
        lines = ["link set lo up"]
        for p in range(self.n_paths):
            # an address of its own: a bridge without one takes that of a port, and changes it when
            # the port leaves, which the servers would learn late
            lines += ["link add br%d address 02:00:00:00:00:%02x type bridge stp_state 0 forward_delay 0"
                      " mcast_snooping 0" % (p, 0xf0 + p),
                      "link set br%d up" % p]
            lines += ["addr add %s/%s dev br%d%s" % (a, prefix, p, nodad)
                      for a in self.table[p].references]
        run("ip", "-n", self.switch, "-batch", "-", stdin="\n".join(lines) + "\n")
        for n in self.names:
            self._attach(n, n in forwarded, prefix, nodad)
        self.control = {n: LinkControl(ns) for n, ns in (*self.ns.items(), (None, self.switch))}

    def _attach(self, name, forwarded, prefix, nodad):
        ns, lines, ports = self.ns[name], ["link set lo up"], []
        for p in range(self.n_paths):
            port = self.port(name, p)
            if forwarded:
                self.forwarder[name, p] = Forwarder(ns, "eth%d" % p, self.switch, port)
            else:
                ip("-n", self.switch, "link", "add", port, "type", "veth",
                   "peer", "name", "eth%d" % p, "netns", ns)
            ports.append("link set %s master br%d up" % (port, p))
            lines += ["addr add %s/%s dev eth%d%s" % (self.address(name, p), prefix, p, nodad),
                      "link set eth%d up" % p]
        run("ip", "-n", self.switch, "-batch", "-", stdin="\n".join(ports) + "\n")
        run("ip", "-n", ns, "-batch", "-", stdin="\n".join(lines) + "\n")

    def port(self, name, path=0):
        """Name of the switch port of a server."""
        return "p%d-%d" % (self.names.index(name), path)

    def address(self, name, path=0):
        return self.table[path].network + str(self.names.index(name) + 1)

    def addresses(self, name):
        return [self.address(name, p) for p in range(self.n_paths)]

    def references(self):
        return [a for p in range(self.n_paths) for a in self.table[p].references]

    def _paths(self, path):
        return range(self.n_paths) if path is None else (path,)

    def cable(self, name, connected, path=None):
        """Pull the cable of a server (its own carrier goes) or put it back."""
        for p in self._paths(path):
            self.control[None].up(self.port(name, p), connected)

    def port_member(self, name, member, path=None):
        """Take the switch port out of the bridge (a black hole: nobody loses carrier), or back."""
        for p in self._paths(path):
            self.control[None].master(self.port(name, p), "br%d" % p if member else None)

    def firewall(self, name, rules):
        """Load nftables rules in the namespace of a server, instead of all that were there."""
        run("nsenter", "--net=%s/%s" % (NETNS_DIR, self.ns[name]), "nft", "-f", "-",
            stdin="flush ruleset\n" + rules)

    def drop(self, name, *matches, verdict="drop"):
        """Refuse what matches (nft expressions) on the way into a server; no match: all open."""
        if not matches:
            return self.firewall(name, "")
        body = "\n".join("%s counter %s" % (m, verdict) for m in matches)
        return self.firewall(name, "table inet fault {\nchain in {\n"
                             "type filter hook input priority -10\n%s\n}\n}\n" % body)

    def heal(self):
        """Undo every fault."""
        for n in self.names:
            self.firewall(n, "")
            self.cable(n, True)
            self.port_member(n, True)
        for f in self.forwarder.values():
            f.delay_ms, f.loss, f.blocked = 0.0, 0.0, [False, False]

    def close(self):
        for f in self.forwarder.values():
            f.stop()
        for c in self.control.values():
            c.close()
        for ns in (*self.ns.values(), self.switch):
            ip("netns", "del", ns, check=False)
