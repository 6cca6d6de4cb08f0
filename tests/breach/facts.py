#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What the kernel says about the processes of a running server, against policy/roles.def.

    facts.py PID        PID: the supervisor; prints one line per deviation, exit 0 when there is none

check() returns the deviations as a list of sentences; tests/system/test_breach.py uses it.
"""
import ctypes
import fcntl
import os
import re
import socket
import stat
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Index in FD_EDGE (policy/roles.h) and who has a channel to whom besides the supervisor.
INDEX = {"netd": 1, "icmpd": 2, "roled": 3, "keyd": 4, "syncd": 8}
EDGES = {"netd": ["roled", "syncd"], "icmpd": ["roled"], "roled": ["netd", "icmpd", "keyd", "syncd"],
         "keyd": ["roled", "syncd"], "syncd": ["netd", "roled", "keyd"], "parser": []}
CONTROL, EDGE_BASE, RESOURCE, FIRST_FREE = 3, 3, 12, 16
# Resources: descriptor -> kind; "?" before it: may be missing (fewer listeners than slots, keys closed).
RESOURCES = {
    "netd": {12: "?socket", 13: "?socket", 14: "?socket", 15: "?socket"},
    "icmpd": {},
    "roled": {12: "file", 13: "file", 14: "socket"},
    "keyd": {},
    "syncd": {12: "socket"},
    "parser": {12: "file"},
}
# What may stand at 16 and above: libuv's own, sockets that were received, accepted or made in pairs, and
# of syncd the files of its store.
FREE = {
    "netd": {"eventpoll", "eventfd", "pipe", "socket"},
    "icmpd": {"eventpoll", "eventfd", "pipe", "socket"},
    "roled": {"eventpoll", "eventfd", "pipe", "socket"},
    "keyd": set(),
    "syncd": {"eventpoll", "eventfd", "pipe", "socket", "file", "folder"},
    "parser": set(),
}
# Domain and type of Internet sockets that one may hold; all others: none.
INTERNET = {"netd": socket.SOCK_STREAM, "icmpd": socket.SOCK_RAW}
# Options that no socket of a child has: level, name, what it would be good for.
OPTIONS = ((socket.IPPROTO_IP, 3, "IP_HDRINCL"), (socket.IPPROTO_IP, 19, "IP_TRANSPARENT"),
           (socket.SOL_SOCKET, socket.SO_MARK, "SO_MARK"), (socket.SOL_SOCKET, socket.SO_BROADCAST, "SO_BROADCAST"))
SO_LOCK_FILTER, F_GETOWN, SYS_PIDFD_GETFD = 44, 9, 438
NAMESPACES = ("net", "mnt", "ipc", "uts", "cgroup")
SUPERVISOR_CAPS = {"CHOWN": 0, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8, "NET_BIND_SERVICE": 10,
                   "NET_RAW": 13, "SYS_CHROOT": 18, "SYS_ADMIN": 21, "SYS_NICE": 23}
FILTERS = 3  # the supervisor's, stage 0, the row's


def rows():
    """roles.def: name -> limits."""
    with open(os.path.join(TOP, "policy", "roles.def")) as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    found = {}
    for m in re.finditer(r'ROLE\(\w+, "(\w+)", "[^"]*", "[^"]*",\s*"[^"]*",\s*"[^"]*",'
                         r'\s*(\d+), (\d+), (\d+), (\d)\)', text):
        name, nofile, as_mib, memlock, realtime = m.groups()
        found[name] = {"nofile": int(nofile), "as": int(as_mib) << 20, "memlock": int(memlock) << 10}
    return found


def read(pid, name):
    with open("/proc/%d/%s" % (pid, name), "rb") as f:
        return f.read().decode(errors="replace")


def status(pid):
    return dict(line.split(":\t", 1) if ":\t" in line else (line.rstrip(":"), "")
                for line in read(pid, "status").splitlines())


def limits(pid):
    """Name -> (soft, hard) as numbers, None: unlimited."""
    found = {}
    for line in read(pid, "limits").splitlines()[1:]:
        m = re.match(r"(Max [a-z -]+?)\s{2,}(\S+)\s+(\S+)", line)
        found[m.group(1)] = tuple(None if v == "unlimited" else int(v) for v in m.groups()[1:])
    return found


def kind(pid, fd):
    path = "/proc/%d/fd/%d" % (pid, fd)
    link = os.readlink(path)
    m = re.match(r"anon_inode:\[(\w+)\]", link)
    if m:
        return m.group(1)
    for name in ("socket", "pipe"):
        if link.startswith(name + ":"):
            return name
    mode = os.stat(path).st_mode
    if link == "/dev/null":
        return "null"
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else link


def descriptors(pid):
    found = {}
    for fd in sorted(int(f) for f in os.listdir("/proc/%d/fd" % pid)):
        try:
            found[fd] = kind(pid, fd)
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def check_descriptors(name, pid):
    bad, have = [], descriptors(pid)
    want = {0: "null", 1: "pipe", 2: "pipe", CONTROL: "socket", **RESOURCES[name]}
    for peer in EDGES[name]:
        want[EDGE_BASE + INDEX[peer]] = "socket"
    for fd, expected in want.items():
        if fd not in have:
            if not expected.startswith("?"):
                bad.append("descriptor %d (%s) is missing" % (fd, expected))
        elif have[fd] != expected.lstrip("?"):
            # /dev/null holds the place of a channel whose peer is being restarted, and of a free slot
            if have[fd] != "null" or not (EDGE_BASE < fd < RESOURCE or expected.startswith("?")):
                bad.append("descriptor %d is %s, not %s" % (fd, have[fd], expected))
    for fd, what in have.items():
        if fd < FIRST_FREE and fd not in want and what != "null":
            bad.append("descriptor %d (%s) is not in its row" % (fd, what))
        if fd >= FIRST_FREE and what not in FREE[name]:
            bad.append("descriptor %d (%s) may not be open in it" % (fd, what))
    return bad


def sockets(pid):
    """{number: socket}: duplicates of the sockets of a process."""
    libc, pidfd, found = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid), {}
    try:
        for fd, what in descriptors(pid).items():
            copy = libc.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0) if what == "socket" else -1
            if copy >= 0:  # else it was closed meanwhile
                found[fd] = socket.socket(fileno=copy)
    finally:
        os.close(pidfd)
    return found


def check_socket(name, fd, s):
    """What is wrong with a socket that the process called name holds."""
    if fcntl.fcntl(s, F_GETOWN) or fcntl.fcntl(s, fcntl.F_GETFL) & os.O_ASYNC:
        return ["has an owner, or signals"]
    if s.family == socket.AF_UNIX:
        return []
    if s.family not in (socket.AF_INET, socket.AF_INET6) or s.type != INTERNET.get(name):
        return ["is of family %d, type %d" % (s.family, s.type)]
    # a raw socket that includes headers may send whatever source it likes
    bad = ["has " + text for level, option, text in OPTIONS
           if (text != "IP_HDRINCL" or s.type == socket.SOCK_RAW) and s.family == socket.AF_INET
           and s.getsockopt(level, option)]
    if s.family == socket.AF_INET and s.getsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, 40):
        bad.append("has IP options")
    if s.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).strip(b"\0"):
        bad.append("is bound to a device")
    if s.type == socket.SOCK_RAW and not s.getsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER):
        bad.append("has a filter that can be taken off")
    listens = s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if listens != (name == "netd" and RESOURCE <= fd < FIRST_FREE):
        bad.append("listens" if listens else "does not listen")
    return bad


def check_sockets(name, pid):
    """The sockets of a process: of the kinds of its row, and without any setting that widens them."""
    bad = []
    for fd, s in sockets(pid).items():
        bad += ["socket %d %s" % (fd, b) for b in check_socket(name, fd, s)]
        s.close()
    return bad


def check_limits(name, pid, row):
    have, bad = limits(pid), []
    file_bytes = {"roled": 8 << 20, "syncd": None}.get(name, 0)  # policy/roles.c
    want = {"Max core file size": 0, "Max open files": row["nofile"], "Max locked memory": row["memlock"],
            "Max address space": row["as"] or None, "Max processes": 0, "Max file size": file_bytes}
    for limit, value in want.items():
        if have[limit] != (value, value):
            bad.append("%s is %s, not %s" % (limit, have[limit], value))
    return bad


def check_root(pid):
    """The empty folder, which is root's."""
    root = "/proc/%d/root" % pid
    if os.path.basename(os.readlink(root)) != "empty" or os.listdir(root + "/") or os.stat(root + "/").st_uid:
        return ["root is %s" % os.readlink(root)]
    return []


def check_own_root(pid, uid):
    """A folder of its own with plain files of its own, which nobody else may read; its open files are these."""
    root, bad = "/proc/%d/root/" % pid, []
    st, folder = os.stat(root), os.readlink("/proc/%d/root" % pid)
    if (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) != (uid, 0, 0o710):
        bad.append("its root is user %d's, group %d's, mode %o" % (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)))
    if not os.listdir(root):
        bad.append("its root %s is empty" % folder)
    for name in os.listdir(root):
        st = os.lstat(root + name)
        if not stat.S_ISREG(st.st_mode) or st.st_uid != uid or stat.S_IMODE(st.st_mode) & 0o077 or st.st_nlink != 1:
            bad.append("%s in its root is user %d's, mode %o, %d links" % (name, st.st_uid, st.st_mode, st.st_nlink))
    for fd, what in descriptors(pid).items():
        try:
            link = os.readlink("/proc/%d/fd/%d" % (pid, fd)) if what in ("file", "folder") else folder
        except FileNotFoundError:  # closed meanwhile
            continue
        if link != folder and not link.startswith(folder + "/"):
            bad.append("descriptor %d is %s, outside its root" % (fd, link))
    return bad


def check_child(name, pid, row, uid):
    st, bad = status(pid), []
    if st["Uid"].split() != [str(uid)] * 4 or st["Gid"].split() != [str(uid)] * 4:
        bad.append("user %s group %s, not %d" % (st["Uid"], st["Gid"], uid))
    if st["Groups"].strip():
        bad.append("supplementary groups " + st["Groups"])
    for caps in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        if int(st[caps], 16):
            bad.append("%s is %s" % (caps, st[caps]))
    for key, value in (("NoNewPrivs", 1), ("Seccomp", 2), ("Seccomp_filters", FILTERS), ("Threads", 1)):
        if int(st[key]) != value:
            bad.append("%s is %s, not %d" % (key, st[key], value))
    if os.stat("/proc/%d/fd" % pid).st_uid != 0:
        bad.append("is dumpable")
    if read(pid, "environ"):
        bad.append("has an environment")
    # the supervisor's own value is inherited; syncd, whose memory has no bound, goes first
    above = int(read(pid, "oom_score_adj")) - int(read(int(st["PPid"]), "oom_score_adj"))
    if above != 0 if name != "syncd" else above <= 0:
        bad.append("its oom_score_adj is %d above that of the supervisor" % above)
    argv = read(pid, "cmdline").split("\0")[:-1]
    if len(argv) != 7 or argv[1] != name:
        bad.append("command line " + " ".join(argv))
    bad += check_own_root(pid, uid) if name == "syncd" else check_root(pid)
    for line in read(pid, "maps").splitlines():
        if re.match(r"\S+ .w.?x|\S+ rwx", line):
            bad.append("memory both writable and executable: " + line)
    return bad + check_limits(name, pid, row) + check_descriptors(name, pid) + check_sockets(name, pid)


def check_supervisor(pid):
    st, bad = status(pid), []
    allowed = sum(1 << n for n in SUPERVISOR_CAPS.values())
    for caps in ("CapPrm", "CapEff", "CapBnd"):
        if int(st[caps], 16) & ~allowed:
            bad.append("%s is %s" % (caps, st[caps]))
    for key, value in (("NoNewPrivs", 1), ("Seccomp", 2), ("Seccomp_filters", 1)):
        if int(st[key]) != value:
            bad.append("%s is %s, not %d" % (key, st[key], value))
    return bad


def check_namespaces(pids):
    """Each child its own, none that of the supervisor."""
    bad = []
    for ns in NAMESPACES:
        seen = {}
        for name, pid in pids.items():
            link = os.readlink("/proc/%d/ns/%s" % (pid, ns))
            if link in seen:
                bad.append("%s: same %s namespace as %s" % (name, ns, seen[link]))
            seen[link] = name
    return bad


def check_channels(pids):
    """No end of a channel is held by two processes."""
    bad, holder = [], {}
    for name, pid in pids.items():
        for fd in range(CONTROL, RESOURCE) if name in INDEX else ():
            try:
                link = os.readlink("/proc/%d/fd/%d" % (pid, fd))
            except FileNotFoundError:
                continue
            if link.startswith("socket:"):
                holder.setdefault(link, set()).add(name)
    for name, pid in pids.items():
        for fd in os.listdir("/proc/%d/fd" % pid):
            try:
                link = os.readlink("/proc/%d/fd/%s" % (pid, fd))
            except FileNotFoundError:
                continue
            if link in holder:
                holder[link].add(name)
    return ["%s is held by %s" % (link, " and ".join(sorted(names)))
            for link, names in holder.items() if len(names) > 1]


def children(supervisor):
    """Name -> pid of the sandboxed children; runner and hooks are not among them."""
    found = {}
    for pid in map(int, read(supervisor, "task/%d/children" % supervisor).split()):
        argv = read(pid, "cmdline").split("\0")[:-1]
        if len(argv) == 7 and argv[1] in INDEX:
            found[argv[1]] = pid
    return found


def check(supervisor, users):
    """All deviations; users: name -> uid."""
    pids, policy = children(supervisor), rows()
    bad = ["%s: does not run" % n for n in INDEX if n not in pids]
    for name, pid in pids.items():
        bad += ["%s: %s" % (name, b) for b in check_child(name, pid, policy[name], users[name])]
    bad += ["supervisor: " + b for b in check_supervisor(supervisor)]
    everyone = {"supervisor": supervisor, **pids}
    return bad + check_namespaces(everyone) + check_channels(everyone)


def main():
    supervisor = int(sys.argv[1])
    # the users as the command lines have them: the check is that the processes obey
    users = {n: int(read(p, "cmdline").split("\0")[3]) for n, p in children(supervisor).items()}
    bad = check(supervisor, users)
    for line in bad:
        print(line)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
