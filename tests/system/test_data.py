# SPDX-License-Identifier: ISC
"""Replicated data: local programs speak the Redis protocol to their server, main pushes, standbys follow,
requests travel back. Real daemons in namespaces, python3-redis as the stock client."""
import glob
import itertools
import os
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
import redis

import bulkhead
import process
from bulkhead import wait_for

LONG = bool(os.environ.get("BULKHEAD_TEST_LONG"))
FD_SYNCD = 11  # of roled: its channel to syncd
DATA_DRAIN, NO_SERVER = 86, 255


def data_socket(path, timeout):
    """A connection to a data socket, which waits where too many others do: with a time-out set before it would fail."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(bulkhead.LONG_S), 0))
    s.connect(path)
    s.settimeout(timeout)
    return s


class Connection(redis.connection.UnixDomainSocketConnection):
    host, port = "data.sock", 0  # python3-redis 4.3 names them in the text of an error

    def _connect(self):
        return data_socket(self.path, self.socket_timeout)


def pool(server, kind=Connection, timeout=bulkhead.LONG_S, **kw):
    return redis.ConnectionPool(connection_class=kind, path=os.path.join(server.run, "data.sock"), socket_timeout=timeout,
                                **kw)


def connect(server, **kw):
    return redis.Redis(connection_pool=pool(server), **kw)


def data_of(server):
    """What syncd says now; what it said last when it does not answer within a second, {} when there is nothing."""
    return (server.json("data") or {}).get("data") or {}


def begin(group, main):
    """The group has data from now on, every other server follows, and their programs' requests reach main."""
    wait_for(lambda: data_of(main).get("role") == "main", lambda: "syncd knows its role: %s" % data_of(main))
    main.tool("init", check=True)
    wait_following(group, main)
    for s in group.running():
        if s.kind != "dmz":
            assert connect(s).delete("nothing") == 0


def wait_following(group, main):
    """Every running server has everything that main has now."""
    want = connect(main).info("replication")["master_repl_offset"]
    role = {"dmz": "dmz"}

    def follows(s):
        d = data_of(s)
        return d.get("stream") == "up" and d["durable"] >= want and d["role"] == role.get(s.kind, "standby")
    for s in group.running():
        if s is not main:
            wait_for(lambda: follows(s), lambda: "%s has change %d: %s" % (s.name, want, data_of(s)))


def with_data(group):
    """Starts a group that has data then: (group, main, first other)."""
    group.start()
    main, other = group.wait_pair()
    begin(group, main)
    return group, main, other


@pytest.fixture
def data(make_group):
    """A pair with data: (group, main, standby)."""
    return with_data(make_group())


def wait_check(server, code, words=""):
    """Wait until check says so."""
    def look():
        p = server.tool("check")
        return p.returncode == code and words in p.stdout
    wait_for(look, lambda: server.tool("check"))


class Waiting:
    """A command on a connection of its own, whose answer does not come for now."""

    def __init__(self, server, *words):
        self.server, self.socket = server, data_socket(os.path.join(server.run, "data.sock"), bulkhead.LONG_S)
        self.socket.sendall(b"".join(Connection().pack_command(*words)))

    def waits(self):
        """It has been read and has no answer: behind turns of syncd's loop, in any of which that would have left."""
        other = connect(self.server)
        for _ in range(20):
            assert other.ping()
        return not select.select([self.socket], [], [], 0)[0]

    def answer(self):
        """A line, waited for; b"" when the connection ends."""
        with self.socket:
            text = b""
            while not text.endswith(b"\r\n"):
                more = self.socket.recv(4096)
                if not more:
                    break
                text += more
        return text.strip()


def leaving(main):
    """Main has begun to hand over, and its syncd knows: programs wait for the next main."""
    wait_for(lambda: data_of(main).get("role") == "standby", lambda: "main hands over: %s" % data_of(main))
    write = Waiting(main, "SET", "during", "1")
    assert write.waits()
    return write


class Writer(threading.Thread):
    """Sets key n to n, one after the other, as fast as it is answered; what was acknowledged is in acked."""

    def __init__(self, servers, prefix="w"):
        super().__init__(daemon=True)
        self.servers, self.prefix = itertools.cycle(servers), prefix
        self.acked, self.unknown, self.pauses, self.stopping = [], [], [], False
        self.start()

    def run(self):
        client, last = None, time.monotonic()
        for n in itertools.count():
            while not self.stopping:
                try:
                    if client is None:
                        client = connect(next(self.servers))
                    client.set("%s%d" % (self.prefix, n), n)
                    self.acked.append(n)
                    now = time.monotonic()
                    self.pauses.append(now - last)
                    last = now
                    break
                except redis.exceptions.RedisError:
                    self.unknown.append(n)
                    client = None
                    time.sleep(0.005)  # the socket of a server that is down refuses at once
            if self.stopping:
                return

    def stop(self):
        self.stopping = True
        self.join(bulkhead.LONG_S)
        assert not self.is_alive()
        return self.acked

    def wait_progress(self, n):
        at = len(self.acked)
        wait_for(lambda: len(self.acked) >= at + n, "%d more writes" % n)


def missing(server, writer):
    """Acknowledged writes that the server does not have."""
    client = connect(server)
    gone = []
    for start in range(0, len(writer.acked), 1000):
        part = writer.acked[start:start + 1000]
        values = client.mget(["%s%d" % (writer.prefix, n) for n in part])
        gone += [n for n, v in zip(part, values) if v != b"%d" % n]
    return gone


def try_set(server, key, value):
    try:
        return connect(server).set(key, value)
    except redis.exceptions.RedisError:
        return False


def test_a_group_begins_without_data(pair):
    group, main, standby = pair
    wait_for(lambda: data_of(main).get("role") == "main", "syncd knows its role")
    with pytest.raises(redis.exceptions.ResponseError, match="bulkheadctl init"):
        connect(main).set("x", 1)
    assert standby.tool("init").returncode == 1
    assert main.tool("init", check=True).stdout
    again = main.tool("init")
    assert again.returncode == 1 and "already" in again.stderr
    assert connect(main).set("x", 1)


def test_written_on_main_read_on_standby(data):
    group, main, standby = data
    client = connect(main)
    client.set("text", "plain")
    client.set("gone", "x", px=1)
    client.hset("hash", mapping={"a": 1, "b": "two"})
    client.rename("text", "renamed")
    client.set("big", b"x" * (3 << 20))
    wait_following(group, main)
    there = connect(standby)
    assert there.get("renamed") == b"plain" and there.get("text") is None
    assert there.hgetall("hash") == {b"a": b"1", b"b": b"two"}
    assert there.get("big") == b"x" * (3 << 20)
    wait_for(lambda: there.get("gone") is None, "the key expires")
    info = there.info("replication")
    assert info["role"] == "slave" and info["master_link_status"] == "up" and info["staleness_ms"] >= 0
    assert connect(main).info("replication")["slave0"]["state"] == "online"


def test_written_on_standby(data):
    """A write to a standby is executed on main, in order, and its answer comes back."""
    group, main, standby = data
    client = connect(standby)
    assert [client.incr("n") for _ in range(50)] == list(range(1, 51))
    with client.pipeline(transaction=True) as p:
        p.set("a", "1").incr("a").hset("h", "f", "v")
        assert p.execute() == [True, 2, 1]
    with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
        client.incr("h")
    assert connect(main).get("n") == b"50"
    # somebody else changes what is watched: the transaction is not done
    with client.pipeline() as p:
        p.watch("n")
        connect(main).set("n", "x")
        p.multi()
        p.set("n", "mine")
        with pytest.raises(redis.exceptions.WatchError):
            p.execute()
    wait_following(group, main)
    assert client.get("n") == b"x"


def test_large_transactions_on_standby(make_group):
    """What a program may queue and watch goes to main, or is refused: nobody else loses the link to main by it."""
    group, main, standby = with_data(make_group(options={"data.bulk": "1MiB"}))
    client, links = connect(standby), standby.log().count("the request link to %s is up" % main.name)
    with client.pipeline(transaction=True) as p:
        for _ in range(70000):
            p.incr("n")
        assert p.execute()[-1] == 70000
    keys = [b"%d" % n for n in range(70000)]
    with client.pipeline() as p:
        p.watch(*keys)
        p.multi()
        p.set("x", "1")
        assert p.execute() == [True]
    # longer than a message may be, with these bounds
    with client.pipeline() as p:
        for at in (0, 700):
            p.watch(*[b"%d" % n + b"x" * 60000 for n in range(at, at + 700)])
        p.multi()
        p.set("x", "2")
        with pytest.raises(redis.exceptions.ExecAbortError, match="more than may be sent to main"):
            p.execute()
    wait_following(group, main)
    assert client.get("x") == b"1" and client.incr("n") == 70001
    assert standby.log().count("the request link to %s is up" % main.name) == links


def test_wait(data):
    group, main, standby = data
    client = connect(main)
    client.set("x", 1)
    assert client.wait(1, 60000) == 1
    assert client.execute_command("WAITAOF", 1, 1, 60000) == [1, 1]
    os.kill(standby.child("syncd"), signal.SIGSTOP)
    client.set("x", 2)
    assert client.wait(1, 100) == 0
    os.kill(standby.child("syncd"), signal.SIGCONT)
    assert client.wait(1, 60000) == 1


def test_sync_waits_for_the_second_disk(make_group):
    """An answer in mode sync means that two disks have the change."""
    group, main, standby = with_data(make_group(options={"sync.mode": "sync"}))
    connect(main).set("x", 1)
    os.kill(standby.child("syncd"), signal.SIGSTOP)
    write = Waiting(main, "SET", "x", "2")
    assert write.waits()
    os.kill(standby.child("syncd"), signal.SIGCONT)
    assert write.answer() == b"+OK"
    assert connect(main).set("x", 3)
    wait_following(group, main)
    assert connect(standby).get("x") == b"3"


def test_sync_waits_for_who_may_take_over(make_group):
    """The disk of a DMZ or permanent server is no answer: they never become main. That writes wait is told."""
    group, main, beta = with_data(make_group(
        ("alpha", "beta", "gamma", "delta"), kinds={"gamma": "permanent", "delta": "dmz"}, options={"sync.mode": "sync"}))
    gamma, delta = group["gamma"], group["delta"]

    def told():
        rules = [e["rule"] for e in main.events()]
        return rules.count("sync-short"), rules.count("sync-enough")
    wait_for(lambda: not data_of(main)["sync_short"], lambda: data_of(main))  # where the beginning took long it was
    short, enough = told()
    assert short == enough
    beta.stop()
    before = data_of(main)["index"]
    write = Waiting(main, "SET", "x", "1")
    for s in (gamma, delta):
        wait_for(lambda: data_of(s)["durable"] > before, lambda: "%s has it: %s" % (s.name, data_of(s)))
    wait_check(main, 2, "every program that writes waits")
    wait_for(lambda: data_of(main)["sync_short"] and data_of(main)["lost_if_dead"] == 1, lambda: data_of(main))
    assert "WRITES WAIT: mode sync needs 1 standby servers" in main.tool("data").stdout
    assert write.waits() and connect(main).get("x") == b"1"
    beta.start()
    assert write.answer() == b"+OK"
    wait_check(main, bulkhead.CHECK_OK)
    wait_for(lambda: told() == (short + 1, enough + 1), main.events)


def test_no_room_is_told(make_group):
    """Writes that are refused for want of room are an alarm, until there is room."""
    group, main, _ = with_data(make_group(options={"data.size": "64MiB"}))
    client = connect(main)
    room = data_of(main)["room_bytes"]
    with pytest.raises(redis.exceptions.ResponseError, match="DISKFULL"):
        for n in range(100):
            client.set("k%d" % n, b"x" * 1000000)
    wait_check(main, 2, "no room for the replicated data")
    shown = data_of(main)
    assert shown["trouble"] == "full" and shown["room_bytes"] < 1000000 < shown["used_bytes"] < room, shown
    assert "CHANGES ARE REFUSED" in main.tool("data").stdout
    wait_for(lambda: "data-full" in [h.env["BULKHEAD_REASON"] for h in main.hooks_as("alarm")], "the alarm's hook")
    for n in range(0, 100, 2):
        client.delete("k%d" % n)
    wait_for(lambda: data_of(main)["trouble"] == "none", lambda: data_of(main))
    assert client.set("again", b"x" * 1000000)
    rules = [e["rule"] for e in main.events()]
    assert rules.count("data-full") == 1 and rules.count("data-taken") == 1, rules


def test_disk_that_the_data_fills(make_group):
    """The log leaves the state its room on a disk that is smaller than both: deletions make room, and writes go on."""
    group = make_group()
    main, standby = group
    folder = os.path.join(main.state, "data")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=0710,uid=%d,gid=0" % bulkhead.USERS["syncd"], "tmpfs",
                    folder], check=True)
    try:
        group.start()
        if group.wait_pair()[0] is standby:  # the disk of main is the small one
            group.switchover(standby)
        begin(group, main)
        client = connect(main)
        with pytest.raises(redis.exceptions.ResponseError, match="DISKFULL"):
            for n in range(100):
                client.set("k%d" % n, b"x" * 1000000)
        for key in client.keys():
            assert client.delete(key) == 1
        assert client.set("again", b"x" * 1000000) and client.dbsize() == 1
        wait_following(group, main)
        assert "cannot be written" not in main.log()
        assert [s.stop()[1] for s in group] == [0, 0]
    finally:
        group.end()
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_main_dies(make_group, mode):
    """In sync mode nothing that was acknowledged is lost, whatever dies when."""
    group, main, standby = with_data(make_group(options={"sync.mode": mode}))
    writer = Writer([main, standby])
    writer.wait_progress(200)
    there = wait_for(lambda: connect(standby).dbsize(), "the standby follows")
    main.kill()
    group.wait_role(standby, "main")
    if mode == "async":  # in mode sync a write needs a second disk
        writer.wait_progress(100)
    main.start()
    group.wait_pair()
    writer.wait_progress(100)
    writer.stop()
    wait_following(group, standby)
    if mode == "sync":
        assert missing(standby, writer) == []
    else:  # only what was under way at that moment: the end of what the old main acknowledged
        gone = missing(standby, writer)
        assert gone == [] or gone == list(range(max(gone[0], there), gone[0] + len(gone))), (there, gone)
    assert connect(main).dbsize() == connect(standby).dbsize()


def test_switchovers(data):
    """Planned switchovers under a writer at full speed: nothing that was acknowledged is lost."""
    group, main, standby = data
    writers = [Writer([main, standby], "a"), Writer([standby, main], "b")]
    for _ in range(200 if LONG else 40):
        for w in writers:
            w.wait_progress(20)
        main, standby = group.switchover(main), main
    for w in writers:
        w.wait_progress(20)
        w.stop()
    wait_following(group, main)
    for w in writers:
        assert missing(main, w) == [] and missing(standby, w) == []
    bulkhead.record("switchover-pause", {"longest_s": [max(w.pauses) for w in writers]})


def test_no_writes_while_the_role_goes(make_group):
    """From the command on nothing is executed that the next main might not have: programs wait for it."""
    group, main, standby = with_data(make_group(options={"role.handover-timeout": "60s"}))
    client = connect(main)
    client.set("first", "1")
    wait_following(group, main)
    os.kill(standby.child("syncd"), signal.SIGSTOP)  # it cannot say that it has everything
    assert client.set("before", "1")
    asks = threading.Thread(target=group.switchover, args=(main,), daemon=True)
    asks.start()
    write = leaving(main)
    assert standby.role() == "standby"
    os.kill(standby.child("syncd"), signal.SIGCONT)
    wait_for(lambda: group.wait_pair()[0] is standby, "the role has gone")
    asks.join(bulkhead.LONG_S)
    assert write.answer() == b"+OK"
    assert connect(standby).get("before") == connect(standby).get("during") == b"1"
    assert connect(main).set("after", "1")


def test_a_drain_holds_writes(data):
    """Also before syncd hears of its new role: roled's word that the role is about to go is enough."""
    group, main, standby = data
    assert connect(main).set("before", "1")
    standby.stop()  # it cannot say that it has everything
    to = [s.name for s in group].index(standby.name)
    with process.sockets_of(main.child("roled"))[FD_SYNCD] as roled:
        roled.send(struct.pack("<HHQB", DATA_DRAIN, 0, 1, to))

        def held():
            write = Waiting(main, "SET", "during", "1")
            return write if write.waits() else None
        write = wait_for(held, "a write waits")
        roled.send(struct.pack("<HHQB", DATA_DRAIN, 0, 1, NO_SERVER))
    assert write.answer() == b"+OK"
    assert "has everything" not in main.log()


def test_state_of_a_standby_is_written(data):
    """Also where no local program is: else all changes since the start wait in memory, for the first write as main."""
    group, main, standby = data
    file = os.path.join(standby.state, "data", "data.mdb")
    client = connect(main)
    for n in range(0, 100, 20):
        client.mset({"k%d" % i: b"x" * (1 << 20) for i in range(n, n + 20)})
    wait_following(group, main)
    wait_for(lambda: os.stat(file).st_blocks * 512 > 32 << 20, lambda: "%d KiB" % (os.stat(file).st_blocks // 2))


def test_catch_up(data):
    group, main, standby = data
    standby.stop()
    snapshots = standby.log().count("loading a snapshot")
    client = connect(main)
    with client.pipeline(transaction=False) as p:
        for n in range(5000):
            p.set("k%d" % n, "v" * 100)
        p.execute()
    standby.start()
    group.wait_pair()
    wait_following(group, main)
    assert connect(standby).dbsize() == 5000
    assert standby.log().count("loading a snapshot") == snapshots, "the log went back far enough"


def test_snapshot(data):
    """A standby whose data is gone gets a snapshot while writes go on."""
    group, main, standby = data
    with connect(main).pipeline(transaction=False) as p:
        for n in range(20000):
            p.set("k%d" % n, "v" * 100)
        p.execute()
    standby.stop()
    for f in glob.glob(os.path.join(standby.state, "data", "*")):
        os.remove(f)
    writer = Writer([main])
    standby.start()
    group.wait_pair()
    writer.wait_progress(200)
    writer.stop()
    wait_following(group, main)
    standby.wait_log("the snapshot is in place", whole=False)
    assert connect(standby).dbsize() == connect(main).dbsize()
    assert missing(standby, writer) == []


def test_old_main_with_changes_of_its_own(data):
    """What only the dead main had is saved as a divergence bundle when it comes back, and it follows."""
    group, main, standby = data
    connect(main).set("both", "1")
    wait_following(group, main)
    os.kill(standby.child("syncd"), signal.SIGSTOP)
    client = connect(main)
    for n in range(30):
        client.set("own%d" % n, "only \"here\"\n")
    stopped = standby.child("syncd")
    main.kill(mute=True)
    group.wait_role(standby, "main")
    process.send([stopped], signal.SIGKILL)  # what waited for it in its sockets goes with it
    wait_for(lambda: try_set(standby, "after", "2"), "writes at the new main")
    assert connect(standby).get("own1") is None
    main.start()
    group.wait_pair()
    wait_following(group, standby)
    assert connect(main).get("own1") is None and connect(main).get("after") == b"2"
    bundles = glob.glob(os.path.join(main.state, "data", "bundle-*"))
    assert len(bundles) == 1
    with open(bundles[0]) as f:
        lines = [l for l in f.read().splitlines() if not l.startswith("#")]
    assert len(lines) == 30 and lines[0] == r'SET "own0" "only \"here\"\x0a"'
    name = os.path.basename(bundles[0])
    wait_for(lambda: data_of(main)["bundles"] == 1, lambda: data_of(main))
    wait_check(main, 1, "bulkheadctl bundle list")
    saved = wait_for(lambda: [e["text"] for e in main.events() if e["rule"] == "bundle-saved"], "the ledger tells of it")
    assert len(saved) == 1 and saved[0].endswith(" There are 1.")
    listed = main.json("bundle", "list")["bundles"]
    assert [(b["name"], b["changes"], b["operations"]) for b in listed] == [(name, 30, 30)]
    assert name in main.tool("bundle", "list", check=True).stdout
    assert main.tool("bundle", "show", name, check=True).stdout.count("\nSET ") == 30
    with open(bundles[0]) as f:
        assert main.json("bundle", "show", name) == {"bundle": name, "lines": f.read().splitlines()}
    copy = os.path.join(main.folder, "copy")
    assert main.json("bundle", "export", name, copy)["result"] == "ok"
    assert os.stat(copy).st_mode & 0o777 == 0o600, "the data is nobody else's to read"
    again = main.tool("bundle", "export", name, copy)
    assert again.returncode == 1 and "nothing is written over it" in again.stderr
    # it is applied where it lies: this server sends the writes to main
    assert "30 operations" in main.tool("bundle", "apply", name, check=True).stdout
    assert connect(standby).get("own29") == b'only "here"\n'
    assert main.tool("bundle", "discard", name).returncode == 2
    main.tool("bundle", "discard", name, "--confirm", check=True)
    assert main.json("bundle", "list")["bundles"] == []
    assert main.tool("bundle", "list", check=True).stdout == "no divergence bundles\n"
    wait_check(main, bulkhead.CHECK_OK)
    wait_for(lambda: [e["rule"] for e in main.events()].count("bundle-none") == 1, "the ledger has the end of it")
    noted = "\n".join(e["text"] for e in main.events() if e["rule"] == "command")
    for what in ("apply %s", "apply %s: 30 operations were done", "discard %s"):
        assert "bundle " + what % name + " (by uid 0)" in noted, noted


def test_bundles_have_a_bound(data):
    """A server that may save no more bundles keeps what it has, does not follow, and says what is to be done."""
    group, main, standby = data
    folder = os.path.join(main.state, "data")
    owner = os.stat(folder).st_uid
    os.kill(standby.child("syncd"), signal.SIGSTOP)
    connect(main).set("own", "1")
    stopped, offset = standby.child("syncd"), connect(main).info("replication")["master_repl_offset"]
    wait_for(lambda: data_of(main)["index"] == offset, "its end is known")
    end = data_of(main)
    main.kill(mute=True)
    first, big = "bundle-%d-%d.redis" % (end["epoch"], end["index"]), "bundle-1-100001.redis"
    for name in [first, big] + ["bundle-1-%d.redis" % n for n in range(100002, 100064)]:
        with open(os.path.join(folder, name), "w") as f:
            f.write("# kept\n")
        os.chown(os.path.join(folder, name), owner, 0)
    os.truncate(os.path.join(folder, big), 4 * (256 << 20))
    group.wait_role(standby, "main")
    process.send([stopped], signal.SIGKILL)
    wait_for(lambda: try_set(standby, "after", "2"), "writes at the new main")
    main.start()
    wait_for(lambda: data_of(main).get("stream") == "diverged", lambda: "it says so: %s" % main.log()[-3000:])
    main.wait_log("64 divergence bundles")
    assert "bulkheadctl bundle list" in main.tool("data").stdout
    assert len(glob.glob(os.path.join(folder, "bundle-*"))) == 64 and connect(main).get("own") == b"1"
    main.tool("bundle", "discard", "bundle-1-100002.redis", "--confirm", check=True)
    main.wait_log("63 divergence bundles of 1024 MiB")  # there are too many bytes, too
    assert data_of(main)["stream"] == "diverged" and connect(main).get("own") == b"1"
    main.tool("bundle", "discard", big, "--confirm", check=True)
    group.wait_pair()
    wait_following(group, standby)
    assert connect(main).get("own") is None and connect(main).get("after") == b"2"
    with open(os.path.join(folder, first)) as f:
        assert f.read() == "# kept\n"
    with open(os.path.join(folder, first.replace(".redis", "-2.redis"))) as f:
        assert 'SET "own" "1"\n' in f.read()


def test_syncd_is_killed(data):
    """Its restart changes no role, and loses nothing."""
    group, main, standby = data
    writer = Writer([main])
    for server in (main, standby, main):
        writer.wait_progress(100)
        pid = server.child("syncd")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: server.child("syncd") not in (None, pid), "syncd is back")
    writer.wait_progress(100)
    writer.stop()
    assert main.role() == "main"
    wait_for(lambda: data_of(main).get("role") == "main", "syncd knows")
    wait_following(group, main)
    assert missing(main, writer) == [] and missing(standby, writer) == []


def test_outcome_unknown(data):
    """Main dies with a request of a standby's program in its hands: it is not sent again, and its program told."""
    group, main, standby = data
    client, answers = connect(standby), []
    assert client.set("n", 1)  # the request link is up
    pid = main.child("syncd")
    os.kill(pid, signal.SIGSTOP)

    def ask():
        try:
            answers.append(client.incr("n"))
        except redis.exceptions.ResponseError as e:
            answers.append(str(e))
    asks = threading.Thread(target=ask, daemon=True)
    asks.start()
    # no command before was this one: it goes out when it is read
    other = connect(standby)
    wait_for(lambda: any(c["cmd"] == "incrby" for c in other.client_list()), "it is sent")
    os.kill(pid, signal.SIGKILL)
    asks.join(bulkhead.LONG_S)
    assert len(answers) == 1 and str(answers[0]).startswith("UNKNOWN"), answers
    wait_for(lambda: try_set(standby, "after", "1"), "requests travel again")
    assert connect(standby).get("n") in (b"1", b"2")


def test_dmz(make_group):
    """A DMZ server has the data, reads, takes no writes and opens nothing."""
    group, main, _ = with_data(make_group(("alpha", "beta", "delta"), kinds={"delta": "dmz"}))
    delta = group["delta"]
    connect(main).set("x", "1")
    wait_following(group, main)
    client = connect(delta)
    assert client.get("x") == b"1"
    with pytest.raises(redis.exceptions.ReadOnlyError, match="DMZ"):
        client.set("x", "2")
    assert connect(main).get("x") == b"1"


def test_figures_are_of_now(data):
    """What would be lost is asked of syncd with the question: no figure of before a write that was answered."""
    _, main, _ = data

    def answered():
        """Older than that they are those of a syncd that did not answer within a second, which may be."""
        return wait_for(lambda: (lambda d: d["age_ms"] < 900 and d)(data_of(main)), lambda: data_of(main))
    client = connect(main)
    before = answered()
    for n in range(1, 21):
        client.set("figure%d" % n, n)
        now = answered()
        assert (now["keys"], now["index"]) == (before["keys"] + n, before["index"] + n)
    wait_for(lambda: re.search(r"app connected: uid 0, pid \d+$", main.log(), re.M), "the log has it")
    assert "(0 more" not in main.log()


def test_figures_of_a_frozen_syncd(data):
    """It does not answer: the last figures, and in words how old they are."""
    _, main, _ = data
    connect(main).set("x", "1")
    wait_for(lambda: main.json("data")["data"]["keys"] == 1, "the key")
    pid = main.child("syncd")
    os.kill(pid, signal.SIGSTOP)
    try:
        shown = main.tool("data").stdout
    finally:
        os.kill(pid, signal.SIGCONT)
    assert re.match(r"syncd does not answer; this is as of \d.* ago:\n1 keys, ", shown), shown
    wait_for(lambda: main.tool("data").stdout.startswith("1 keys, "), "it answers again")
