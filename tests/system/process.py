# SPDX-License-Identifier: ISC
"""Processes as /proc shows them: trees, names, memory, CPU; copies of their sockets; how to end what a test started."""
import ctypes
import errno
import os
import signal
import socket
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SYS_PIDFD_GETFD = 438
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans():
    """Children of a killed daemon become ours, so that none can hide and all are reaped."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent():
    """For preexec_fn: a test run that is killed takes its daemons along; no signal is ignored, as in a background job."""
    for sig in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(sig, signal.SIG_DFL)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _read(pid, name):
    try:
        with open("/proc/%d/%s" % (pid, name), "rb") as f:
            return f.read()
    except OSError:
        return b""


def sockets_of(pid):
    """{number: socket}: copies of the sockets of a process; while we hold them their peers see no end of file."""
    pidfd, found = os.pidfd_open(pid), {}
    for fd in map(int, os.listdir("/proc/%d/fd" % pid)):
        try:
            name = os.readlink("/proc/%d/fd/%d" % (pid, fd))
        except FileNotFoundError:  # closed meanwhile
            continue
        if name.startswith("socket:"):
            copy = _libc.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0)
            if copy < 0 and ctypes.get_errno() == errno.EBADF:
                continue
            assert copy >= 0, os.strerror(ctypes.get_errno())
            found[fd] = socket.socket(fileno=copy)
    os.close(pidfd)
    return found


def children(pid):
    """Its children in the order of their start. One that ends while the kernel makes the list may cost the list
    another one (proc(5)), so two looks have to agree."""
    name, found = "task/%d/children" % pid, None
    while True:
        before, found = found, _read(pid, name)
        if found == before:
            return [int(p) for p in found.split()]


def tree(pid):
    """The process and all below it, parents first."""
    pids, at = [pid], 0
    while at < len(pids):
        pids += children(pids[at])
        at += 1
    return pids


def arguments(pid):
    return [a.decode(errors="replace") for a in _read(pid, "cmdline").split(b"\0")[:-1]]


def state(pid):
    """Letter of the process state; Z and X are dead, "" is gone."""
    stat = _read(pid, "stat").decode(errors="replace")
    return stat.rsplit(")", 1)[1].split()[0] if stat else ""


def alive(pid):
    return state(pid) not in ("", "Z", "X")


def start_time(pid):
    """Ticks since boot; tells two processes of one number apart."""
    stat = _read(pid, "stat").decode(errors="replace")
    return int(stat.rsplit(")", 1)[1].split()[19]) if stat else None


def send(pids, sig):
    for pid in pids:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass


def reap():
    """Collect the end of adopted orphans. Not of children that subprocess waits for."""
    for pid in children(os.getpid()):
        if state(pid) == "Z" and pid not in owned:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


owned = set()  # pids of subprocess.Popen objects of the harness


def end(pids, limit_s=60.0):
    """SIGKILL these processes and wait until none is left."""
    deadline = time.monotonic() + limit_s
    while True:
        left = [p for p in pids if alive(p)]
        reap()
        if not left:
            return
        send(left, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise RuntimeError("processes do not end: %s" % left)
        time.sleep(0.002)


def pss_kib(pids):
    """Proportional set size of all of them together."""
    return sum(int(line.split()[1]) for pid in pids
               for line in _read(pid, "smaps_rollup").splitlines() if line.startswith(b"Pss:"))


def pss_parts_kib(pid):
    """Proportional set size of a process: without pages of files, and with them."""
    sizes = {line.split(b":")[0]: int(line.split()[1]) for line in _read(pid, "smaps_rollup").splitlines()[1:]}
    return sizes[b"Pss"] - sizes[b"Pss_File"], sizes[b"Pss"]


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        stat = _read(pid, "stat").decode(errors="replace")
        if stat:
            total += sum(int(t) for t in stat.rsplit(")", 1)[1].split()[11:13])
    return total / os.sysconf("SC_CLK_TCK")
