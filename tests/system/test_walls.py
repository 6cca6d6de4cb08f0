# SPDX-License-Identifier: ISC
"""Walls that only a running daemon shows: users, sockets that root hands out, and where the keys are."""
import ctypes
import os
import re
import signal
import socket
import struct
import subprocess

import bulkhead
from bulkhead import CHILDREN, CTL, DAEMON, LIBEXEC, SCALE, USERS, wait_for
from test_breach import SYS_PIDFD_GETFD

SO_LOCK_FILTER = 44  # linux, not in the socket module
FIRST_FREE, LISTENER = 16, 12
READ_SIZE = 1 << 20
ADMIN_GROUP = 61099


def sockets_of(pid):
    """{number: socket}: copies of the sockets of a process."""
    libc, pidfd, found = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid), {}
    for fd in map(int, os.listdir("/proc/%d/fd" % pid)):
        if os.readlink("/proc/%d/fd/%d" % (pid, fd)).startswith("socket:"):
            copy = libc.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0)
            assert copy >= 0, os.strerror(ctypes.get_errno())
            found[fd] = socket.socket(fileno=copy)
    os.close(pidfd)
    return found


def test_users_must_differ(make_group):
    """Two processes of one user could read each other's memory: refused before anything starts."""
    group = make_group(["alpha"])
    server = group["alpha"]
    own, same = ("icmpd = %d\n" % USERS[n] for n in ("icmpd", "netd"))
    text = group.config_text(server)
    assert own in text
    server.write_config(text.replace(own, same))
    server.start()
    assert server.wait_exit() != 0
    assert re.search(r"user.icmpd is %d, which is also user.netd" % USERS["netd"], server.log())


def remote_of(pid, inode):
    """Where a raw IPv4 socket is connected to; getpeername(2) does not tell."""
    with open("/proc/%d/net/raw" % pid) as f:
        for fields in (line.split() for line in f.readlines()[1:]):
            if int(fields[9]) == inode:
                return socket.inet_ntoa(struct.pack("=I", int(fields[2].split(":")[0], 16)))
    return None


def test_sockets_of_icmpd(pair):
    """Raw sockets: connected to a target of the config, and with a filter that cannot be taken off."""
    group, main, standby = pair
    raw = [s for s in sockets_of(main.child("icmpd")).values() if s.type == socket.SOCK_RAW]
    assert len(raw) >= 2, "targets: the partner and a reference"
    allowed = set(group.network.references()) | set(group.network.addresses(standby.name))
    for s in raw:
        assert s.getsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER) == 1, "its filter can be taken off"
        assert remote_of(main.pid, os.fstat(s.fileno()).st_ino) in allowed
        s.close()


def listeners(pid):
    """Inodes of the listening sockets of netd."""
    found = {fd: os.fstat(s.fileno()).st_ino for fd, s in sockets_of(pid).items() if LISTENER <= fd < FIRST_FREE}
    return set(found.values())


def test_listener_is_fresh(pair):
    """What a hijacked netd did to its listener ends with it: the next one gets another socket."""
    group, main, standby = pair
    standby.expect_log(r"netd\[\d+\] ended")
    pid = standby.child("netd")
    old = listeners(pid)
    assert old
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: standby.child("netd") not in (None, pid) and listeners(standby.child("netd")),
             "a new netd has listeners")
    assert not old & listeners(standby.child("netd"))
    group.wait_pair()


def test_admin_group_reads_only(make_group):
    """A member of admin-group sees everything and changes nothing."""
    group = make_group()
    for server in group:
        server.extra = "admin-group = %d\n" % ADMIN_GROUP
        server.write_config()
    group.start()
    main, _ = group.wait_pair()
    for folder in (group.folder, main.folder, main.run):
        os.chmod(folder, 0o755)
    os.chmod(main.config, 0o644)

    def tool(*args):
        return subprocess.run(["setpriv", "--reuid=nobody", "--regid=%d" % ADMIN_GROUP, "--clear-groups", CTL, "-f",
                               main.config, *args], text=True, capture_output=True, timeout=20 * SCALE)
    p = tool("status")
    assert p.returncode == 0 and "alpha" in p.stdout, p
    for word in ("switchover", "resume", "reload"):
        p = tool(word)
        assert p.returncode != 0 and "only root" in p.stderr, p


def test_config_of_another(make_group):
    """A config that somebody else may have written is not even parsed."""
    server = make_group(["alpha"])["alpha"]
    server.write_config()
    check = [DAEMON, "-n", "-x", LIBEXEC, "-f", server.config]
    assert subprocess.run(check, capture_output=True, timeout=20 * SCALE).returncode == 0
    for change in (lambda: os.chmod(server.config, 0o620), lambda: os.chmod(server.config, 0o602),
                   lambda: (os.chmod(server.config, 0o600), os.chown(server.config, 65534, 0))):
        change()
        p = subprocess.run(check, capture_output=True, text=True, timeout=20 * SCALE)
        assert p.returncode == 78 and "must belong to root" in p.stderr, p


# ---- the keys

def forms(server):
    """{what: bytes} to look for: both secrets raw, as hex, and as X25519 uses them (clamped)."""
    found = {}
    for name in ("status.key", "data.key"):
        with open(os.path.join(server.state, name)) as f:
            text = f.read().strip()
        raw = bytes.fromhex(text)
        clamped = bytes([raw[0] & 248]) + raw[1:31] + bytes([raw[31] & 127 | 64])
        # a half is enough to be seen where a copy was cut or overwritten in part
        found.update({name + " raw": raw[:16], name + " raw, end": raw[16:], name + " hex": text[:32].encode(),
                      name + " HEX": text[:32].upper().encode(), name + " clamped": clamped[:16],
                      name + " clamped, end": clamped[16:]})
    return found


def scan(pid, needles):
    """Names of the needles in the memory of a process: all mappings, also those without rights."""
    found, overlap = set(), 64
    with open("/proc/%d/maps" % pid) as f:
        maps = [line.split() for line in f]
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as mem:
        for fields in maps:
            at, end = (int(x, 16) for x in fields[0].split("-"))
            if fields[-1] in ("[vvar]", "[vvar_vclock]", "[vsyscall]") or end - at > 1 << 30:
                continue
            tail = b""
            while at < end:
                try:
                    mem.seek(at)
                    chunk = mem.read(min(READ_SIZE, end - at))
                except OSError:  # a guard page, or never touched
                    chunk = b""
                if not chunk:
                    at, tail = at + 4096, b""
                    continue
                found |= {name for name, needle in needles.items() if needle in tail + chunk}
                tail, at = chunk[-overlap:], at + len(chunk)
    return found


def test_keys_are_in_keyd_only(pair):
    """Root looks through the memory of every process of both servers, in use for some handshakes."""
    group, main, standby = pair
    for server in (main, standby):
        needles = forms(server)
        keyd = server.child("keyd")
        control = scan(keyd, needles)
        assert {"status.key raw", "data.key raw"} <= control, "the scan does not see what keyd holds"
        assert not any(n.lower().endswith("hex") for n in control), "keyd keeps the text of the file: %s" % control
        others = [p for p in server.pids() if p != keyd]
        assert len(others) >= len(CHILDREN), "supervisor, runner and the other children"
        for pid in others:
            found = scan(pid, needles)
            assert not found, "%s of %d: %s" % (bulkhead.process.arguments(pid), pid, found)


def test_keyd_takes_its_keys_along(pair):
    """A keyd that was killed in the middle leaves them to nobody, and the next one has them again."""
    group, main, standby = pair
    standby.expect_log(r"keyd\[\d+\] ended")
    needles, pid = forms(standby), standby.child("keyd")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: standby.child("keyd") not in (None, pid), "a new keyd")
    wait_for(lambda: standby.processes().get("keyd", {}).get("state") == "up", "keyd is up")
    for other in standby.pids():
        if other != standby.child("keyd"):
            assert not scan(other, needles)
    assert "status.key raw" in scan(standby.child("keyd"), needles)
