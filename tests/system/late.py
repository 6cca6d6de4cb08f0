# SPDX-License-Identifier: ISC
"""For test_late.py: the tool that makes faults in a running daemon, and what processes use up."""
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys

import bulkhead
import process
from bulkhead import CHILDREN, SCALE, now_s, pause, wait_for

FAULTS = os.path.join(bulkhead.TOP, "tests", "breach", "faults.py")
FIRST_FREE = 16  # below are the fixed numbers (policy/roles.h)
ENDS_MAX = 4  # each end of a child doubles the delay of its next start, from 10 ms (supervisor/backoff.h)
SYS = {"sendto": 44, "sendmsg": 46, "recvmsg": 47, "socketpair": 53, "accept4": 288, "getrandom": 318,
       "splice": 275, "fdatasync": 75, "pwrite64": 18}


ENVIRONMENT = dict(os.environ, BULKHEAD_SITES=os.path.join(bulkhead.BUILD, "results", "call-sites.json"))


def learn():
    """Have the tool take the programs and their libraries apart, once for all tests."""
    os.makedirs(os.path.dirname(ENVIRONMENT["BULKHEAD_SITES"]), exist_ok=True)
    subprocess.run([sys.executable, "-B", FAULTS, "learn", *(os.path.join(bulkhead.LIBEXEC, n) for n in
                    (*CHILDREN, "parser"))], check=True, env=ENVIRONMENT, stdin=subprocess.DEVNULL)


class Fault:
    """tests/breach/faults.py at work; what it saw is in result after the block."""

    def __init__(self, *args):
        self.args, self.result, self.lines = [str(a) for a in args], None, b""

    def __enter__(self):
        self.popen = subprocess.Popen([sys.executable, "-B", "-X", "faulthandler", FAULTS, *self.args], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
        process.owned.add(self.popen.pid)
        self.said = self.read()  # it traces now
        return self

    def read(self):
        if not self.lines:
            if not select.select([self.popen.stdout], [], [], bulkhead.patience(bulkhead.DEADLINE_S))[0]:
                self.popen.send_signal(signal.SIGABRT)  # says where it was
                raise AssertionError("faults.py %s does not answer\n%s"
                                     % (" ".join(self.args), self.popen.stderr.read().decode()))
            self.lines = os.read(self.popen.stdout.fileno(), 1 << 20)
            while self.lines and not self.lines.endswith(b"\n"):
                more = os.read(self.popen.stdout.fileno(), 1 << 20)
                self.lines += more or b"\n"
        line, _, self.lines = self.lines.partition(b"\n")
        if not line:
            raise AssertionError("faults.py %s: %s" % (" ".join(self.args), self.popen.stderr.read().decode()))
        return json.loads(line)

    def child(self):
        """Wait for the child that is started under trace; returns its pid."""
        return self.until("traced")

    def until(self, key, value=None):
        """Read on to a line with this key (and value); returns what it says there."""
        while True:
            line = self.read()
            if key in line and value in (None, line[key]):
                return line[key]

    def __exit__(self, kind, value, trace):
        try:
            self.popen.stdin.close()
            while kind is None and self.result is None:
                line = self.read()
                self.result = line if "end" in line else None
        finally:
            try:
                self.popen.wait(bulkhead.patience(5 * SCALE))
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
            process.owned.discard(self.popen.pid)
            for f in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
                f.close()

    def ended(self):
        """Has the tool, and with it the process, come to an end by itself?"""
        return self.popen.poll() is not None


def call(pid, *calls):
    """Make the process call functions: call(pid, ("malloc", 100), ("free", "@")). Returns how it ended, or
    "lives", and how many calls have come back."""
    args = []
    for c in calls:
        args += ["--"] * bool(args) + [str(a) for a in c]
    p = subprocess.run([sys.executable, "-B", FAULTS, "call", str(pid), *args], capture_output=True, text=True,
                       timeout=bulkhead.patience(bulkhead.DEADLINE_S), stdin=subprocess.DEVNULL, env=ENVIRONMENT)
    assert p.returncode == 0, p.stderr
    answer = json.loads(p.stdout)
    return answer["end"], len(answer["results"])


def sites(program):
    """{"netd+0x1234": (function, allocator)}: where the program itself asks for memory."""
    p = subprocess.run([sys.executable, "-B", FAULTS, "sites", os.path.join(bulkhead.LIBEXEC, program)],
                       capture_output=True, text=True, check=True)
    return {fields[0]: (fields[1], fields[2]) for fields in map(str.split, p.stdout.splitlines())}


def settled_child(server, name):
    """Pid of a child that is up."""
    return wait_next(server, name, None)


def wait_next(server, name, old):
    """Wait until the next one of that name is up; returns its pid."""
    return server.wait_child(name, old)


def rested(server):
    """Before a child is ended: when one has ended a few times already, the whole guard is stopped in order
    and started, so that no start is delayed for long."""
    rows = wait_for(server.processes, lambda: "%s says what runs\n%s" % (server.name, server.log()[-2000:]))
    if max(rows[n]["restarts"] for n in CHILDREN) < ENDS_MAX:
        return
    group, since = server.group, len(server.log())
    main = group.wait_pair()[0]
    epoch, hooks = server.epoch(), main.role_hooks()
    assert main is not server and server.stop()[1] == 0, server.log()[since:]
    server.start()
    assert group.wait_pair()[0] is main and (server.epoch(), main.role_hooks()) == (epoch, hooks), group.report()


def usage(server, seconds=1.0):
    """Share of a CPU that each process takes within the time: {name: 0.01}."""
    pids = {n: p for n, p in {"supervisor": server.pid, **{n: server.child(n) for n in CHILDREN}}.items() if p}
    before, began = {n: process.cpu_seconds([p]) for n, p in pids.items()}, now_s()
    pause(seconds)
    return {n: (process.cpu_seconds([p]) - before[n]) / (now_s() - began) for n, p in pids.items()}


def memory_kib(server):
    """Anonymous memory of each process: {name: KiB}; what it has allocated, without the programs' text."""
    found = {}
    for name, pid in {"supervisor": server.pid, **{n: server.child(n) for n in CHILDREN}}.items():
        with open("/proc/%d/status" % pid) as f:
            found[name] = next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))
    return found


def data_socket(server):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    s.settimeout(bulkhead.patience(bulkhead.DEADLINE_S))
    try:
        s.connect(os.path.join(server.run, "data.sock"))
    except BaseException:
        s.close()
        raise
    return s


def talk(server, *requests):
    """Requests of a program on a connection of its own, as lines or as bytes; all that is answered. b"": syncd
    ended, or closed the connection."""
    try:
        with data_socket(server) as s:
            s.sendall(b"".join(r if isinstance(r, bytes) else r.encode() + b"\r\n" for r in (*requests, "QUIT")))
            answer = b""
            while True:
                more = s.recv(1 << 16)
                if not more:
                    return answer
                answer += more
    except ConnectionError:
        return b""


def work_of_data(server):
    """What programs may do at a server that make its syncd allocate: each on a fresh connection, so that every
    first answer finds no buffer."""
    words = ["w%d" % n for n in range(1200)]
    bulk = b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$300000\r\n" + b"x" * 300000 + b"\r\n"
    for requests in (["INCR n"], ["HKEYS none"], ["SUBSCRIBE c"], ["GET n"], ["PING"], ["HELLO 3", "COMMAND INFO get set"],
                     ["CLIENT SETNAME late", "CLIENT LIST"], ["MSET " + " ".join(words)], ["MGET " + " ".join(words[:600])],
                     ["SUBSCRIBE " + " ".join(words)], ["PSUBSCRIBE " + " ".join(words)], ["WATCH " + " ".join(words)],
                     [bulk], ["GET big"], ["HSET h " + " ".join(words[:400])], ["HGETALL h", "HLEN h"],
                     ["HRANDFIELD h 5", "HRANDFIELD h -5 WITHVALUES"], ["HSCAN h 0", "SCAN 0", "KEYS *", "RANDOMKEY"],
                     ["WATCH n", "WATCH " + " ".join(words[:40]), "MULTI", "INCR n", "HSET h g v", "MSET a 1 b 2", "EXEC"],
                     ["PSUBSCRIBE *", "SUBSCRIBE __keyevent@0__:set"], ["HELLO 3", "PSUBSCRIBE a*"],
                     ["SET gone x PX 1"], ["EXISTS n"] * 3000, ["HKEYS none"] * 5000, ["RENAME a c", "DEL b"]):
        talk(server, *requests)
    large = b"*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n$%d\r\n%s\r\n" % (6 << 20, b"x" * (6 << 20))
    talk(server, large, large, large)  # more than a segment of the log
    listens = serves = None
    try:
        serves = data_socket(server)  # an app that takes actions and answers none
        serves.sendall(b"ACTION.SERVE late\r\n")
        serves.recv(1)
        talk(server, "ACTION late payload TIMEOUT 10")
        listens = data_socket(server)  # gets notifications while somebody else changes something
        listens.sendall(b"CONFIG SET notify-keyspace-events KEA\r\nHELLO 3\r\nPSUBSCRIBE *\r\n")
        listens.recv(1)
        for n in range(10):
            talk(server, "MSET n 1 a 2 b 3", "MULTI", "SET n 1", "SET a 1", "SET b 1", "HSET h f 1", "DEL a", "EXEC")
            talk(server, "SET n %d" % n, "INCR n", "EXPIRE n 1000", "SET gone x PX 1")
    except ConnectionError:
        pass
    finally:
        for s in (listens, serves):
            if s:
                s.close()


def descriptors(pid):
    return sorted(int(f) for f in os.listdir("/proc/%d/fd" % pid))


def set_limit(pid, soft, hard):
    """As its own user: that root may do it is not said in a container."""
    with open("/proc/%d/status" % pid) as f:
        user = next(line.split()[1] for line in f if line.startswith("Uid:"))
    subprocess.run(["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "prlimit", "--pid", str(pid),
                    "--nofile=%d:%d" % (soft, hard)], check=True, capture_output=True, text=True)


class NoDescriptors:
    """The process gets no descriptor any more while this is open: only the fixed numbers, which are taken."""

    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        assert set(range(FIRST_FREE)) <= set(descriptors(self.pid))
        with open("/proc/%d/limits" % self.pid) as f:
            self.limits = [int(n) for n in re.search(r"Max open files\s+(\d+)\s+(\d+)", f.read()).groups()]
        set_limit(self.pid, FIRST_FREE, self.limits[1])
        return self

    def __exit__(self, kind, value, trace):
        if process.alive(self.pid):
            set_limit(self.pid, *self.limits)
