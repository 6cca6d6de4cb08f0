# SPDX-License-Identifier: ISC
"""bulkheadctl drill: what an admin sees of the breach drill, beside a running daemon."""
import fcntl
import glob
import json
import os
import re
import subprocess

import bulkhead
from bulkhead import CHILDREN, SCALE
from test_breach import WITHOUT, needs_filter


# CIS and others want no programs in /tmp, and Yama lets nobody trace who is not its child; the system calls
# behind it are refused then without any sandbox, or by no layer that stands alone.
NOEXEC = """set -e
mount --make-rprivate /
mount -t tmpfs none /mnt
cp "$1" "$2/drill" "$3" /mnt
mount -t tmpfs -o noexec,nosuid,nodev none /tmp
exec /mnt/without ptrace /mnt/bulkheadctl drill -x /mnt
"""


def drill(*args, prefix=()):
    return subprocess.run([*prefix, bulkhead.CTL, "drill", "-x", bulkhead.LIBEXEC, *args], text=True,
                          capture_output=True, timeout=bulkhead.patience(300 * SCALE), stdin=subprocess.DEVNULL)


@needs_filter
def test_drill_beside_a_running_daemon(pair):
    """Everything is denied, and the daemon notices nothing."""
    group, main, standby = pair
    pids = {s: [s.child(n) for n in CHILDREN] for s in pair[1:]}
    p = drill()
    assert p.returncode == 0 and not p.stderr, p.stdout + p.stderr
    lines = p.stdout.splitlines()
    assert all(" %s " % name in lines[0] for name in (*CHILDREN, "parser")) and len(lines) > 100
    tried, denied = re.match(r"(\d+) cells tried, (\d+) denied, 0 wrong", lines[-1]).groups()
    assert tried == denied and int(tried) > 5000, lines[-1]
    for layer in ("filter of the row", "first filter", "Landlock", "user and root folder", "namespaces", "limits"):
        row = [l for l in lines if re.match(r"\| %s alone " % layer, l)]
        assert len(row) == 1 and int(row[0].split("|")[2]) > 15, layer
    # all that gets through the whole sandbox is what a row promises
    assert [l for l in lines if l.endswith(", as its row promises")] == ["%s: through, as its row promises" % l for l in (
        "syncd: open the root folder", "syncd: creat a file", "syncd: more memory than its limit",
        "roled: sendmsg on the control channel", "syncd: sendmsg on the control channel",
        "netd: alarm", "roled: alarm", "keyd: poll")]
    bulkhead.record("breach-drill", lines)
    assert {s: [s.child(n) for n in CHILDREN] for s in pair[1:]} == pids
    group.roles_hold({main: "main", standby: "standby"}, 0.1)


@needs_filter
def test_drill_tells_of_a_hole():
    """On a kernel that lacks a layer the drill does not say that all is well: it shows what is open."""
    p = drill("--json", prefix=(WITHOUT, "seccomp"))
    assert p.returncode == 1 and "this kernel has no seccomp" in p.stderr, p.stderr
    assert re.search(r"\Adrill: .*\n(drill: \w+: \d+ .*: through, expected .*\n){5}", p.stderr), "open ones come first"
    answer = json.loads(p.stdout)
    assert answer["wrong"] > 100 and answer["denied"] < answer["tried"]
    assert [c for c in answer["cells"] if c["wrong"] and c["attempt"] == "socket: TCP" and c["verdict"] == "through"]
    # what a filter has to answer is not excused by an error; this call is not there on such a kernel
    assert {c["attempt"] for c in answer["cells"] if c["stricter"]} == {"another seccomp filter"}
    assert {c["expected"] for c in answer["cells"]} > {"killed", "trapped", "killed trapped", "through", "EPERM"}
    assert not {"K", "T", "E"} & {word for c in answer["cells"] for word in (c["verdict"], *c["expected"].split())}


@needs_filter
def test_drill_on_a_stricter_machine():
    """What the machine refuses by itself is no hole: told, and not wrong."""
    p = subprocess.run(["unshare", "-m", "sh", "-c", NOEXEC, "sh", bulkhead.CTL, bulkhead.LIBEXEC, WITHOUT], text=True,
                       capture_output=True, timeout=bulkhead.patience(300 * SCALE), stdin=subprocess.DEVNULL)
    lines = p.stdout.splitlines()
    assert p.returncode == 0 and not p.stderr, p.stderr
    assert [l for l in lines if l.startswith("53 run a file that it wrote: refused by this machine, too (no sandbox: EACCES)")]
    assert [l for l in lines if l.startswith("16 ptrace a process of the same user: refused by this machine, too (no sandbox: EPERM)")]
    assert re.match(r"(\d+) cells tried, \1 denied, 0 wrong", lines[-1]), lines[-1]


def folder_of(pid, but):
    """The folder of a drill that runs, once it is filled: it holds its lock; but: folders that were there before,
    which it opens to see whether they are stale."""
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            to = os.readlink("/proc/%d/fd/%s" % (pid, fd))
            with open("/proc/%d/fdinfo/%s" % (pid, fd)) as f:
                locked = "FLOCK" in f.read()
        except OSError:
            continue
        if to.startswith("/tmp/bh-drill.") and to not in but and locked and os.path.exists(os.path.join(to, "store")):
            return to
    return None


def begin_drill():
    there = glob.glob("/tmp/bh-drill.*")
    p = subprocess.Popen([bulkhead.CTL, "drill", "-x", bulkhead.LIBEXEC], stdout=subprocess.DEVNULL,
                         stdin=subprocess.DEVNULL)
    return p, bulkhead.wait_for(lambda: folder_of(p.pid, there), "the folder of the drill")


def is_free(folder):
    """Has the last process of a drill that was killed ended, too? It had the lock from it."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # another drill has taken it away
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


@needs_filter
def test_killed_drill_is_cleaned_up():
    """SIGKILL leaves the folder, the next drill takes it away; not that of one that runs. SIGTERM leaves none."""
    killed, stale = begin_drill()
    killed.kill()
    killed.wait()
    bulkhead.wait_for(lambda: is_free(stale), "nobody holds the lock of %s" % stale)
    first, folder = begin_drill()
    try:
        second, other = begin_drill()
        try:
            bulkhead.wait_for(lambda: not os.path.exists(stale), stale)
            assert os.path.exists(folder) and other != folder
            for drill_folder in (folder, other):  # as an attempt does that is ended before it is cleaned up after
                os.mkdir(os.path.join(drill_folder, "scratch", "drill-0"))
        finally:
            second.terminate()
            second.wait()
    finally:
        first.terminate()
        first.wait()
    assert not os.path.exists(folder) and not os.path.exists(other)


def test_drill_needs_root():
    p = drill(prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
    assert p.returncode == 1 and "root" in p.stderr, p.stderr
