# SPDX-License-Identifier: ISC
"""Walls that only a running daemon shows: users, sockets that root hands out, and where the keys are."""
import os
import re
import signal
import socket
import struct
import subprocess

import pytest

import bhl
import bulkhead
import process
import standin
import test_data
import tracer
from bulkhead import CHILDREN, CTL, DAEMON, LIBEXEC, LONG_S, USERS, wait_for
from test_breach import all_up, needs_filter

SO_LOCK_FILTER = 44  # linux, not in the socket module
FIRST_FREE, LISTENER = 16, 12
READ_SIZE = 1 << 20
ADMIN_GROUP = 61099


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
    raw = [s for s in process.sockets_of(main.child("icmpd")).values() if s.type == socket.SOCK_RAW]
    assert len(raw) >= 2, "targets: the partner and a reference"
    allowed = set(group.network.references()) | set(group.network.addresses(standby.name))
    for s in raw:
        assert s.getsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER) == 1, "its filter can be taken off"
        assert remote_of(main.pid, os.fstat(s.fileno()).st_ino) in allowed
        s.close()


def listeners(pid):
    """Inodes of the listening sockets of netd."""
    found = {fd: os.fstat(s.fileno()).st_ino for fd, s in process.sockets_of(pid).items() if LISTENER <= fd < FIRST_FREE}
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
                               main.config, *args], text=True, capture_output=True, timeout=LONG_S)
    p = tool("status")
    assert p.returncode == 0 and "alpha" in p.stdout, p
    for word in ("switchover", "resume", "reload", "init"):
        p = tool(word)
        assert p.returncode != 0 and "only root" in p.stderr, p


def test_data_folder_of_another(make_group):
    """The root of syncd must be its own, and no link to somewhere else: else nothing starts."""
    server = make_group(["alpha"])["alpha"]
    data = os.path.join(server.state, "data")
    elsewhere = os.path.join(server.folder, "elsewhere")

    def refused(words):
        since = len(server.log())
        server.start()
        assert server.wait_exit() != 0
        assert re.search(words, server.log()[since:]), server.log()[since:]
    os.mkdir(elsewhere, 0o710)
    os.chown(elsewhere, USERS["syncd"], 0)
    os.symlink(elsewhere, data)
    refused(r"/data: (Not a directory|Too many levels of symbolic links)")
    os.unlink(data)
    for uid, gid, mode in ((USERS["netd"], 0, 0o710), (0, 0, 0o710), (USERS["syncd"], USERS["syncd"], 0o710),
                           (USERS["syncd"], 0, 0o750), (USERS["syncd"], 0, 0o711), (USERS["syncd"], 0, 0o2710)):
        os.mkdir(data)
        os.chown(data, uid, gid)
        os.chmod(data, mode)
        refused(r"/data: must belong to the user of syncd")
        os.rmdir(data)
    server.start()
    wait_for(lambda: server.role() == "main", "it makes its own")


def held_inodes(pid):
    found = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            found.add(os.stat("/proc/%d/fd/%s" % (pid, fd)).st_ino)
        except FileNotFoundError:  # closed meanwhile
            pass
    return found


@pytest.mark.skipif(not tracer.SUPPORTED, reason="x86-64 only")
def test_lock_of_a_file_without_a_name(make_group):
    """Between open and lock, one that ends takes the pid file away and a third one makes its own: that one counts."""
    group = make_group(["alpha"])
    server = group["alpha"]
    inside, path = server.inside, os.path.join(server.run, "bulkhead.pid")
    server.inside = lambda: [*inside(), "sh", "-c", 'kill -STOP $$; exec "$@"', "sh"]
    server.start()
    server.inside = inside
    wait_for(lambda: process.state(server.pid) == "T", "it waits to be traced")
    tracee, stop = tracer.Tracee(server.pid), None
    while stop != "entry" or tracee.registers().orig_rax != tracer.SYS_FLOCK:
        stop = tracee.next()
        assert stop in ("entry", "exit"), server.log()
    os.unlink(path)
    with open(path, "w"):
        pass
    fresh = os.stat(path).st_ino
    tracee.detach()
    server.signal(signal.SIGCONT)
    wait_for(lambda: server.role() == "main", "it is up")
    assert fresh == os.stat(path).st_ino and fresh in held_inodes(server.pid), "the lock is on a file without a name"
    with open(path) as f:
        assert int(f.read()) == server.pid
    server.stop()
    assert not os.path.exists(path)


def test_bundle_of_a_hijacked_syncd(make_group):
    """What syncd has written reaches the terminal of root as text and nothing else."""
    server = make_group(["alpha"])["alpha"]
    os.mkdir(os.path.join(server.state, "data"))
    with open(os.path.join(server.state, "data", "bundle-1-2.redis"), "wb") as f:
        f.write(b'SET "a" "b"\n\x1b]0;title\x07 \x9b2J\xc2\x9b\r\n')
    p = server.tool("bundle", "show", "bundle-1-2.redis")
    assert p.returncode == 0 and p.stdout == 'SET "a" "b"\n?]0;title? ?2J???\n', p


def test_bundle_that_syncd_did_not_write(make_group):
    """Root reads the folder of syncd: its files cost it no memory, and only operations on data are applied."""
    server = make_group(["alpha"])["alpha"]
    server.start()
    wait_for(lambda: server.role() == "main", "it is up")
    wait_for(lambda: server.tool("init").returncode == 0, lambda: server.tool("init").stderr)
    inside, folder = server.inside, os.path.join(server.state, "data")
    server.inside = lambda: [*inside(), *([] if bulkhead.SANITIZED else ["prlimit", "--as=268435456", "--"])]
    bundles = {"bundle-1-1.redis": b"", "bundle-1-2.redis": b'# change 1/2\nSET "a" "1"\n\x1b]0;title\x07 "b"\n',
               "bundle-1-3.redis": b'SET "a" "2"\n"\\x1b]0;title\\x07" "b"\n', "bundle-1-4.redis": b'SET "a" "3"\nGET "a"\n',
               "bundle-1-5.redis": b'SET "a" "4', "bundle-1-6.redis": b'SET "a" "5\\x0a" \nHSET "h" "f" ""\n'}
    for name, text in bundles.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(text)
    os.truncate(os.path.join(folder, "bundle-1-1.redis"), 1 << 40)
    os.symlink("bundle-1-6.redis", os.path.join(folder, "bundle-1-7.redis"))
    os.mkfifo(os.path.join(folder, "bundle-1-8.redis"))
    p = server.tool("bundle", "list")
    assert p.returncode == 0 and "\x1b" not in p.stdout + p.stderr and p.stderr.count("not a regular file") == 2, p
    listed = {b["name"]: (b["changes"], b["operations"], b["damaged"]) for b in server.json("bundle", "list")["bundles"]}
    assert listed == {"bundle-1-1.redis": (0, 0, True), "bundle-1-2.redis": (1, 1, True),
                      "bundle-1-3.redis": (0, 2, False), "bundle-1-4.redis": (0, 2, False),
                      "bundle-1-5.redis": (0, 1, True), "bundle-1-6.redis": (0, 2, False)}
    for n, applied in ((1, None), (2, b"1"), (3, b"2"), (4, b"3"), (5, b"3"), (7, b"3"), (8, b"3")):
        p = server.tool("bundle", "apply", "bundle-1-%d.redis" % n)
        assert p.returncode == 1 and len(p.stderr) < 300 and "\x1b" not in p.stderr, p
        assert ("damaged" in p.stderr) == (n < 7), p
        assert test_data.connect(server).get("a") == applied, p
    p = server.tool("bundle", "apply", "bundle-1-6.redis", check=True)
    assert "2 operations applied" in p.stdout
    client = test_data.connect(server)
    assert client.get("a") == b"5\n" and client.hgetall("h") == {b"f": b""}
    for n in (7, 8):
        assert server.tool("bundle", "show", "bundle-1-%d.redis" % n).returncode == 1
        server.tool("bundle", "discard", "bundle-1-%d.redis" % n, "--confirm", check=True)


def test_pid_file_is_locked_by_root_only(make_group):
    """What is left behind by a guard that was killed: nobody else keeps the next one from starting by a lock on it."""
    server = make_group(["alpha"])["alpha"]
    path = os.path.join(server.run, "bulkhead.pid")
    with open(path, "w"):
        os.chmod(path, 0o644)  # as it may have been left
    server.start()
    wait_for(lambda: server.role() == "main", "it is up")
    server.kill(mute=True)
    for folder in (server.group.folder, server.folder, server.run):
        os.chmod(folder, 0o755)
    holder = subprocess.Popen(["setpriv", "--reuid=nobody", "--regid=%d" % ADMIN_GROUP, "--clear-groups", "flock", path,
                               "sh", "-c", "echo locked; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    try:
        said = holder.stdout.readline()
        server.start()
        wait_for(lambda: server.role() == "main", "it is up again")
    finally:
        said += "".join(holder.communicate())
    assert "Permission denied" in said, said


def test_pid_file_of_another_stays(make_group):
    """What somebody else put in the place of our pid file is not ours to remove."""
    server = make_group(["alpha"])["alpha"]
    server.start()
    wait_for(lambda: server.role() == "main", "it is up")
    path = os.path.join(server.run, "bulkhead.pid")
    os.unlink(path)
    with open(path, "w") as f:
        f.write("1\n")
    server.stop()
    assert os.path.exists(path)


def test_config_of_another(make_group):
    """A config that somebody else may have written is not even parsed."""
    server = make_group(["alpha"])["alpha"]
    server.write_config()
    check = [DAEMON, "-n", "-x", LIBEXEC, "-f", server.config]
    assert subprocess.run(check, capture_output=True, timeout=LONG_S).returncode == 0
    for change in (lambda: os.chmod(server.config, 0o620), lambda: os.chmod(server.config, 0o602),
                   lambda: (os.chmod(server.config, 0o600), os.chown(server.config, 65534, 0))):
        change()
        p = subprocess.run(check, capture_output=True, text=True, timeout=LONG_S)
        assert p.returncode == 78 and "must belong to root" in p.stderr, p


# ---- the keys

def resident_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


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


def is_used(pagemap, at, end):
    """Has a page of this part of memory ever been used: is it there, or swapped out?"""
    pagemap.seek(at // 4096 * 8)
    return any(flags & 0xc0 for flags in pagemap.read((end - at) // 4096 * 8)[7::8])


def scan(pid, needles):
    """Names of the needles in the memory of a process: all mappings, also those without rights. What is mapped but
    was never used, as most of the shadow of ASan, has nothing in it."""
    found, overlap = set(), 64
    with open("/proc/%d/maps" % pid) as f:
        maps = [line.split() for line in f]
    if not maps:  # it has ended
        raise FileNotFoundError("the memory of %d" % pid)
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as mem, \
            open("/proc/%d/pagemap" % pid, "rb", buffering=0) as pagemap:
        for fields in maps:
            at, end = (int(x, 16) for x in fields[0].split("-"))
            if fields[-1] in ("[vvar]", "[vvar_vclock]", "[vsyscall]") or end - at > 1 << 30:
                continue
            tail = b""
            while at < end:
                part = min(at + READ_SIZE, end)
                if fields[4] == "0" and not is_used(pagemap, at, part):
                    at, tail = part, b""
                    continue
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


def scan_others(server, needles):
    """No process but keyd has them; how many were looked through: a hook may end meanwhile."""
    count = 0
    for pid in server.pids():
        if pid == server.child("keyd"):
            continue
        try:
            found = scan(pid, needles)
        except (FileNotFoundError, ProcessLookupError):
            continue
        assert not found, "%s of %d: %s" % (process.arguments(pid), pid, found)
        count += 1
    return count


def test_keys_are_in_keyd_only(pair):
    """Root looks through the memory of every process of both servers, in use for some handshakes."""
    group, main, standby = pair
    for server in (main, standby):
        needles = forms(server)
        keyd = server.child("keyd")
        control = scan(keyd, needles)
        assert {"status.key raw", "data.key raw"} <= control, "the scan does not see what keyd holds"
        assert not any(n.lower().endswith("hex") for n in control), "keyd keeps the text of the file: %s" % control
        assert scan_others(server, needles) >= len(CHILDREN) + 1, "supervisor, runner and the other children"


def test_keyd_takes_its_keys_along(pair):
    """A keyd that was killed in the middle leaves them to nobody, and the next one has them again."""
    group, main, standby = pair
    standby.expect_log(r"keyd\[\d+\] ended")
    needles, pid = forms(standby), standby.child("keyd")
    os.kill(pid, signal.SIGKILL)
    fresh = wait_for(lambda: all_up(standby, {"keyd": pid}), "a new keyd is up")["keyd"]
    assert scan_others(standby, needles) >= len(CHILDREN) + 1
    assert "status.key raw" in scan(fresh, needles)


def addresses(pid, needle):
    """Where it lies in the memory of a process."""
    found = []
    with open("/proc/%d/maps" % pid) as f:
        maps = [line.split() for line in f]
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as mem:
        for fields in maps:
            at, end = (int(x, 16) for x in fields[0].split("-"))
            if fields[-1].startswith("[v") or end - at > 1 << 26:
                continue
            try:
                mem.seek(at)
                text = mem.read(end - at)
            except OSError:
                continue
            if needle in text:
                found.append(at + text.index(needle))
    return found


def fail_poll(server, keyd):
    """The next poll(2) of keyd fails, as it does without memory: fatal()."""
    for _ in range(100):
        if keyd.next() == "exit" and keyd.registers().orig_rax in (tracer.SYS_POLL, tracer.SYS_RESTART):
            keyd.result(-12)
            return
    assert False, "keyd does not poll"


ENDS = {
    "fatal": (fail_poll, r"ended: exit code 1\b|ended: .*fatal"),
    "SIGTERM": (lambda server, keyd: os.kill(keyd.pid, signal.SIGTERM), r"ended: .*0"),
    "SIGINT": (lambda server, keyd: os.kill(keyd.pid, signal.SIGINT), r"ended: .*0"),
    "stop": (lambda server, keyd: server.signal(signal.SIGTERM), None),
}


@needs_filter
@pytest.mark.skipif(not tracer.SUPPORTED, reason="x86-64 only")
@pytest.mark.parametrize("how", ENDS)
def test_keyd_wipes_when_it_ends(pair, how):
    """The running keyd is stopped at each of its last system calls: when it gives the pages of the keys back to the
    kernel, and when it ends, no byte of the keys is left in them or anywhere in its memory."""
    group, main, standby = pair
    standby.expect_log(r".")
    needles, pid, mark = forms(standby), standby.child("keyd"), len(standby.log())
    places = {name: addresses(pid, needle) for name, needle in needles.items() if name.endswith("key raw")}
    assert all(len(at) == 1 for at in places.values()), "the scan does not see what keyd holds: %s" % places
    provoke, line = ENDS[how]
    assert {"status.key raw", "data.key raw"} <= scan(pid, needles)
    keyd = tracer.Tracee(pid)
    provoke(standby, keyd)
    given_back, stop = [], None
    while stop not in ("end", "gone"):
        stop = keyd.next()
        if stop == "entry":
            r = keyd.registers()
            if r.orig_rax == tracer.SYS_MUNMAP and any(r.rdi <= at[0] < r.rdi + r.rsi for at in places.values()):
                standby.signal(signal.SIGSTOP)  # or it is killed as silent, or for not stopping in time, while we look
                given_back.append(scan(pid, needles))
    assert stop == "end", "it was killed before it could do anything"
    left = scan(pid, needles)
    keyd.go()
    standby.signal(signal.SIGCONT)
    assert given_back == [set()], "the pages of the keys were given back with %s" % given_back
    assert not left, "at its end keyd still holds %s" % left
    if line is None:
        assert standby.wait_exit() == 0
        return
    wait_for(lambda: re.search(r"keyd\[%d\] %s" % (pid, line), standby.log()[mark:]), lambda: standby.log()[mark:])
    assert how != "fatal" or re.search(r"keyd\[%d\] error: poll: " % pid, standby.log()[mark:])
    wait_for(lambda: all_up(standby, {"keyd": pid}), "a new keyd")
    assert standby.processes()["keyd"]["restarts"] == 1
    group.wait_pair()


# ---- a roled in other hands, which has a channel to keyd

def with_roled(make_group, act):
    """A settled pair; the standby's roled is the stand-in, which then asks keyd."""
    group = make_group()
    for s in group:
        s.libexec = standin.folder(s, "keyd", "none", first=0, last=0)
        s.expect_log(r".")
    group.start()
    main, standby = group.wait_pair()
    wait_for(lambda: len(standby.links(state="up")) == 2, "all handshakes are over")
    before, mark = steps(standby), len(standby.log())
    standin.put(standby.libexec, "roled", "once-" + act, "keyd", 2, 2)
    os.kill(standby.child("roled"), signal.SIGKILL)
    wait_for(lambda: "stand-in: %s towards keyd" % act in standby.log()[mark:], "the stand-in acts")
    return group, main, standby, mark, before


def steps(server):
    """What keyd has counted: done, refused, over the rate."""
    mark = len(server.log())
    server.signal(signal.SIGUSR1)
    line = wait_for(lambda: re.search(r"handshake steps for roled: (\d+) done, (\d+) refused .*?, (\d+) over the rate",
                                      server.log()[mark:]), "keyd tells its counts")
    return tuple(map(int, line.groups()))


def roled_returns(group, main, standby):
    """The real one is back, and keyd serves it: both links come up, which needs its key steps."""
    os.kill(standby.child("roled"), signal.SIGKILL)
    wait_for(lambda: len(standby.links(state="up")) == 2, lambda: group.report())
    group.wait_pair()
    assert main.role() == "main"


def test_key_requests_at_full_speed(make_group):
    """As many valid requests as go through: the limit holds and is counted, and keyd has time for the supervisor."""
    group, main, standby, mark, before = with_roled(make_group, "key-rate")
    keyd = standby.child("keyd")
    kib, epoch = resident_kib(keyd), main.epoch()
    standby.write_config(group.config_text(standby).replace("misses = 6", "misses = 7", 1))
    standby.signal(signal.SIGHUP)
    wait_for(lambda: "reload: done" in standby.log()[mark:], "keyd answers a reload")
    asked, ms, answered, refused = map(int, wait_for(
        lambda: re.search(r"stand-in: (\d+) asked in (\d+) ms, (\d+) answered, (\d+) refused", standby.log()[mark:]),
        "the attack is over").groups())
    assert answered + refused == asked and asked >= 1000, "keyd owes answers"
    assert 400 <= answered <= 400 + 200 * (ms + 1000) // 1000 and refused >= 100, (asked, ms, answered, refused)
    done, bad, limited = (now - then for now, then in zip(steps(standby), before))
    assert (limited, bad) == (refused, 0) and answered <= done <= answered + 20, (done, bad, limited)
    assert re.search(r"keyd\[%d\] warning: roled asks for more than 200 handshake steps a second" % keyd, standby.log())
    assert standby.child("keyd") == keyd and resident_kib(keyd) <= kib + 1024
    roled_returns(group, main, standby)
    assert main.epoch() == epoch and standby.child("keyd") == keyd
    assert not [r for r in standby.processes().values() if r["offences"]]


def test_key_requests_name_no_key(make_group):
    """Whatever the number in front, it is the status key's step, for the same point the same; none for bad points."""
    group, main, standby, mark, before = with_roled(make_group, "key-ask")
    wait_for(lambda: "stand-in: 7 answered, 2 refused" in standby.log()[mark:], lambda: standby.log()[mark:])
    answers = [(int(c), int(ok), bytes.fromhex(h)) for c, ok, h in re.findall(
        r"stand-in: cookie (\d+), ok (\d), ([0-9a-f]{64})", standby.log()[mark:])]
    secrets = {}
    for name in ("status", "data"):
        with open(os.path.join(standby.state, name + ".key")) as f:
            secrets[name] = bytes.fromhex(f.read().strip())
    shared = {n: bhl.dh(s, bytes([9]) + bytes(31)) for n, s in secrets.items()}
    assert [a for a in answers if a[0] < 100 or a[0] > 101] == [
        (c, 1, shared["status"]) for c in (0, 1, 2, 1 << 31, (1 << 32) - 1, 1, 1)]
    assert [a for a in answers if a[0] in (100, 101)] == [(100, 0, bytes(32)), (101, 0, bytes(32))]
    assert shared["data"] not in [a[2] for a in answers]
    assert steps(standby)[1] - before[1] == 2
    roled_returns(group, main, standby)


@pytest.mark.parametrize("act", ["key-index", "key-short"])
def test_key_request_of_another_form(make_group, act):
    """A number of a key behind the point, or a point that is cut off: the channel is, and keyd serves the next one."""
    group, main, standby, mark, before = with_roled(make_group, act)
    keyd = standby.child("keyd")
    wait_for(lambda: re.search(r"roled broke the protocol towards keyd with KEY_DH \(body length\): \S+; "
                               "both get a new channel", standby.log()[mark:]), lambda: standby.log()[mark:])
    assert re.search(r"keyd\[%d\] warning: a message of roled was refused \(body length\): 5b000000[0-9a-f]+$" % keyd,
                     standby.log(), re.M), "the bytes are readable"
    assert standby.child("keyd") == keyd
    roled_returns(group, main, standby)
    assert standby.child("keyd") == keyd
