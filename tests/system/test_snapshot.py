# SPDX-License-Identifier: ISC
"""bulkheadctl snapshot: a consistent file while writes go on, and a file back into place, on all servers."""
import glob
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
import redis

import snapshots
from bulkhead import CTL, LONG_S, wait_for
from test_data import Writer, connect, data_of, data, data_socket, missing, try_set, wait_following  # noqa: F401
from test_data_access import client_as


def contents(server):
    """Everything that a server has: {key: value}, by the Redis protocol."""
    client = connect(server)
    keys = list(client.scan_iter(count=1000))
    with client.pipeline(transaction=False) as p:
        for key in keys:
            p.type(key)
        types = p.execute()
        for key, kind in zip(keys, types):
            p.hgetall(key) if kind == b"hash" else p.get(key)
        return dict(zip(keys, p.execute()))


def fill(client, n=3000, size=300):
    with client.pipeline(transaction=False) as p:
        for i in range(n):
            p.set("k%d" % i, b"%d" % i + b"v" * size)
        p.execute()


def snapshot_file(group, name="saved"):
    return os.path.join(group.folder, name)


def save(server, path):
    server.tool("snapshot", "save", path, check=True)
    return snapshots.load(path)


def no_leftovers(path):
    assert [f for f in glob.glob(glob.escape(path) + "*") if f != path] == []


def test_saved_while_writing(data):
    """What is saved is the data at one change: all before it, nothing of any behind it, no transaction in half."""
    group, main, standby = data
    fill(connect(main), 8000)
    wait_following(group, main)
    writer = Writer([main])
    stop = threading.Event()

    def transactions():
        client, n = connect(main), 0
        while not stop.is_set():
            n += 1
            with client.pipeline(transaction=True) as p:
                p.set("t1", n).hset("t2", "f", n).set("t3", n)
                p.execute()
    thread = threading.Thread(target=transactions, daemon=True)
    thread.start()
    path = snapshot_file(group)
    try:
        for server in (main, standby, main):
            writer.wait_progress(50)
            before = len(writer.acked)
            head, values, _ = save(server, path)
            assert head["group"] == "test" and head["server"] == server.name
            mine = sorted(int(k[1:]) for k in values if k[:1] == b"w")
            assert mine == list(range(len(mine))), "nothing is missing in between"
            assert server is not main or len(mine) >= before
            assert values.get(b"t1") == (values.get(b"t2") or {}).get(b"f") == values.get(b"t3")
            assert all(values[b"k%d" % i] == b"%d" % i + b"v" * 300 for i in range(8000))
            assert os.stat(path).st_mode & 0o7777 == 0o600
            no_leftovers(path)
    finally:
        stop.set()
        thread.join(LONG_S)
        writer.stop()
    assert missing(main, writer) == []
    shown = main.json("snapshot", "show", path)["snapshot"]
    assert (shown["index"], shown["keys"], shown["group"]) == (head["index"], head["keys"], "test")
    # standard output carries the same form
    p = subprocess.run([*main.inside(), CTL, "-f", main.config, "snapshot", "save", "-"], capture_output=True,
                       stdin=subprocess.DEVNULL, check=True)
    assert snapshots.parse(p.stdout)[1] == contents(main)


def test_restored_on_main(data):
    """Every kind of value comes back, on all servers, as the newest change; what was there is kept in a file."""
    group, main, standby = data
    client, good, old = connect(main), snapshot_file(group), snapshot_file(group, "old")
    later = int(time.time() * 1000) + 86400000
    client.set(b"\x00binary\xff", bytes(range(256)))
    client.set("expires", "x", pxat=later)
    client.hset("hash", mapping={"a": "1", "b": ""})
    client.pexpireat("hash", later)
    client.hset("wide", mapping={"f%d" % i: "v" * 100 for i in range(2000)})
    client.set("big", b"x" * (3 << 20))
    client.set("k" * 1000, "long key")
    fill(client, 1000)
    before = contents(main)
    head, values, expiry = save(main, good)
    assert values == before and expiry == {b"expires": later, b"hash": later}
    with client.pipeline(transaction=False) as p:
        for key in before:
            p.delete(key)
        p.set("new", "1").set("big", "other").execute()
    wait_following(group, main)
    watchers = [connect(s).pipeline() for s in (main, standby)]
    for w in watchers:
        w.watch("nothing")
    replaced = contents(main)
    epoch, newest = data_of(main)["epoch"], data_of(main)["index"]

    refused = main.tool("snapshot", "restore", good)
    assert refused.returncode == 1 and "--replace OLD" in refused.stderr and "2 keys" in refused.stderr
    os.link(good, good + ".link")  # what is kept would be written over what is restored
    refused = main.tool("snapshot", "restore", good, "--replace", good + ".link")
    assert refused.returncode == 2 and "is the file that is restored" in refused.stderr
    assert contents(main) == replaced
    answer = main.json("snapshot", "restore", good, "--replace", old)
    assert answer["result"] == "ok" and answer["snapshot"]["index"] == head["index"]
    assert contents(main) == before
    noted = [e["text"] for e in main.events() if e["rule"] == "command"]
    for what in ("snapshot restore of %d keys", "snapshot restore: %d keys are in place"):
        assert sum(what % len(before) + " (by uid 0)" in text for text in noted) == 1, noted
    assert client.pexpiretime("hash") == later if hasattr(client, "pexpiretime") else client.pttl("hash") > 0
    assert snapshots.load(old)[1] == replaced
    wait_for(lambda: data_of(main)["index"] > newest, "a newer change than any")
    assert data_of(main)["epoch"] == epoch
    wait_following(group, main)
    assert contents(standby) == before
    for w in watchers:
        w.multi()
        w.get("big")
        with pytest.raises(redis.exceptions.WatchError):
            w.execute()
    assert client.set("after", "1") and client.wait(1, 60000) == 1
    wait_following(group, main)
    assert connect(standby).get("after") == b"1"
    assert not glob.glob(os.path.join(standby.state, "data", "bundle-*"))
    # as the data of any other time: over a restart and a switchover
    group.switchover(main)
    wait_following(group, standby)
    del before[b"after" if b"after" in before else b"expires"]
    now = contents(standby)
    assert {k: v for k, v in now.items() if k in before} == before


def test_restored_under_a_writer(data):
    """An acknowledged write is in the file of what was replaced, or in the data: nowhere in between."""
    group, main, standby = data
    fill(connect(main), 5000)
    good, old = snapshot_file(group), snapshot_file(group, "old")
    save(main, good)
    writers = [Writer([main], "a"), Writer([standby], "b")]
    for w in writers:
        w.wait_progress(100)
    main.tool("snapshot", "restore", good, "--replace", old, check=True)
    for w in writers:
        w.wait_progress(50)
        w.stop()
    wait_following(group, main)
    kept, now = snapshots.load(old)[1], contents(main)
    for w in writers:
        lost = [n for n in w.acked if (b"%s%d" % (w.prefix.encode(), n)) not in kept
                and (b"%s%d" % (w.prefix.encode(), n)) not in now]
        assert lost == []
    assert contents(standby) == now
    assert all(now[b"k%d" % i] for i in range(5000))


class Raw:
    """Root's connection to the data socket, with nothing that checks what is sent."""

    def __init__(self, server, request=b"SNAPSHOT RESTORE REPLACE\r\n"):
        self.s = data_socket(os.path.join(server.run, "data.sock"), LONG_S)
        self.s.sendall(request)
        self.said = self.line()

    def line(self):
        text = b""
        while not text.endswith(b"\n"):
            got = self.s.recv(1)
            if not got:
                break
            text += got
        return text.strip().decode()

    def send(self, data, end=True):
        try:
            self.s.sendall(data)
            if end:
                self.s.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has refused already
        return self.line()

    def close(self):
        self.s.close()


def test_damaged_files(data):
    """Whatever is wrong with a file, the data is as before; it is found before anything is touched."""
    group, main, standby = data
    client, path = connect(main), snapshot_file(group)
    fill(client, 200)
    client.hset("h", "f", "v")
    save(main, path)
    with open(path, "rb") as f:
        whole = f.read()
    client.set("newer", "1")
    before = contents(main)
    bad = snapshot_file(group, "bad")
    cuts = [0, 7, 100, snapshots.HEAD.size + 5, len(whole) // 2, len(whole) - 1]
    flips = [9, 20, snapshots.HEAD.size + 1, snapshots.HEAD.size + 6, len(whole) // 3, len(whole) - 38, len(whole) - 1]
    cases = [whole[:n] for n in cuts] + [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1:] for n in flips]
    cases += [whole + b"\0", b"x" * 5000, snapshots.make([], version=2)]
    main.expect_log("a snapshot was not restored")
    for text in cases:
        with open(bad, "wb") as f:
            f.write(text)
        p = main.tool("snapshot", "restore", bad, "--replace", "none")
        assert p.returncode == 1 and "snapshot" in p.stderr, p
    assert main.tool("snapshot", "show", bad).returncode == 1
    assert "a snapshot is being restored" not in main.log(), "found before the daemon was asked"
    assert main.tool("snapshot", "restore", "/dev/null", "--replace", "none").returncode == 2

    # the daemon believes nobody: the same, and what has a checksum that fits
    good = snapshots.op_set(b"a", b"1")
    hostile = [snapshots.make([good], operations=2), snapshots.make([good, b""]), snapshots.make([good + b"\xff"]),
               snapshots.make([b"\x02\x01a"]), snapshots.make([b"\x07"]), snapshots.make([b"\x06\x01a\x01b"]),
               snapshots.make([good, snapshots.op_hset(b"a", b"f", b"v")]), snapshots.make([good], ident=b"\0" * 16),
               snapshots.make([good], version=2), snapshots.make([good], end=False),
               snapshots.make([], end=False) + struct.pack("<II", 1, 0xffffffff) + b"x" * 100,
               snapshots.make([], end=False) + struct.pack("<II", 3, 8) + b"x" * 8]
    for text in cases[:-3] + hostile:
        raw = Raw(main)
        assert raw.said == "+OK"
        assert raw.send(text).startswith("-ERR "), text[:300]
        raw.close()
        assert client.set("newer", "1"), "writes go on"
        assert contents(main) == before


def test_aborted(data):
    """The sender ends in the middle, or syncd does: the data is as before, and writes go on."""
    group, main, standby = data
    client, path = connect(main), snapshot_file(group)
    fill(client, 2000)
    save(main, path)
    with open(path, "rb") as f:
        whole = f.read()
    client.set("newer", "1")
    before = contents(main)
    main.expect_log("a snapshot was not restored")
    raw = Raw(main)
    raw.s.sendall(whole[:len(whole) // 2])
    with pytest.raises(redis.exceptions.RedisError, match="being restored"):
        client.set("refused", "1")
    with pytest.raises(redis.exceptions.RedisError, match="being restored"):
        connect(standby).set("refused", "1")
    assert client.get("newer") == b"1"  # reads go on
    assert Raw(main).said.startswith("-BUSY")
    raw.close()
    wait_for(lambda: try_set(main, "again", "1"), "writes go on")
    client.delete("again")
    assert contents(main) == before
    # syncd is killed in the middle
    raw = Raw(main)
    raw.s.sendall(whole[:len(whole) // 2])
    pid = main.child("syncd")
    os.kill(pid, signal.SIGKILL)
    raw.close()
    wait_for(lambda: main.child("syncd") not in (None, pid), "syncd is back")
    wait_for(lambda: try_set(main, "again", "1"), "writes go on")
    connect(main).delete("again")
    assert contents(main) == before
    # a standby's syncd and a switchover in the middle: the role goes on, the restore does not
    raw = Raw(main)
    raw.s.sendall(whole[:len(whole) // 2])
    group.switchover(main)
    assert raw.send(whole[len(whole) // 2:]).startswith("-ERR ")
    wait_following(group, standby)
    assert contents(standby) == before


def test_who_may(data):
    """Root, and to restore only on main; a standby, another user, an open transaction are refused."""
    group, main, standby = data
    path = snapshot_file(group)
    connect(main).set("x", "1")
    wait_following(group, main)
    save(standby, path)
    for more in ((), ("--replace", "none")):
        refused = standby.tool("snapshot", "restore", path, *more)
        assert refused.returncode == 1 and "restored on main, which is %s" % main.name in refused.stderr, refused
    main.options.setdefault("data", {})["socket-mode"] = "0666"
    main.write_config()
    main.tool("reload", check=True)
    for verb in (("SAVE",), ("RESTORE",), ("RESTORE", "REPLACE")):
        with pytest.raises(redis.exceptions.ResponseError, match="only root"):
            client_as(main, 61200).execute_command("SNAPSHOT", *verb)
    assert Raw(main, b"PING\r\nSNAPSHOT SAVE\r\n").line().startswith("-ERR SNAPSHOT needs a connection")
    raw = Raw(main, b"MULTI\r\n")
    raw.s.sendall(b"SNAPSHOT SAVE\r\n")
    assert raw.line().startswith("-ERR SNAPSHOT needs a connection")
    raw.s.sendall(b"EXEC\r\nPING\r\n")
    assert (raw.line(), raw.line()) == ("*0", "+PONG")  # it is an ordinary connection as before
    for words in (("SNAPSHOT", "LOAD"), ("SNAPSHOT", "SAVE", "x"), ("SNAPSHOT", "RESTORE", "x")):
        with pytest.raises(redis.exceptions.ResponseError, match="syntax"):
            connect(main).execute_command(*words)
    slow = Raw(main, b"SNAPSHOT SAVE\r\n")  # does not read on
    assert slow.said == "+OK"
    slow.close()
    wait_for(lambda: main.tool("snapshot", "save", path).returncode == 0, "the next one can save")
    standby.stop()
    stopped = standby.tool("snapshot", "save", path + ".stopped")
    assert stopped.returncode == 3 and "the daemon is not running" in stopped.stderr


def test_disk_full(data):
    """No room for the file: an error, nothing left of it, and the file of before is as it was."""
    group, main, standby = data
    client = connect(main)
    client.set("x", "1")
    folder = os.path.join(group.folder, "small")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
    try:
        path = os.path.join(folder, "saved")
        save(main, path)
        with open(path, "rb") as f:
            before = f.read()
        client.set("big", b"x" * (1 << 20))
        p = main.tool("snapshot", "save", path)
        assert p.returncode == 1 and "No space left" in p.stderr
        with open(path, "rb") as f:
            assert f.read() == before
        no_leftovers(path)
        # what would be replaced cannot be kept: nothing is replaced
        good = snapshot_file(group)
        save(main, good)
        main.expect_log("a snapshot was not restored")
        p = main.tool("snapshot", "restore", good, "--replace", os.path.join(folder, "old"))
        assert p.returncode == 1 and "No space left" in p.stderr
        assert os.listdir(folder) == ["saved"]
        wait_for(lambda: try_set(main, "x", "2"), "writes go on")
        assert client.strlen("big") == 1 << 20
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_instead_of_init(make_group):
    """A new group begins with the data of an old one."""
    group = make_group()
    group.start()
    main, standby = group.wait_pair()
    path = snapshot_file(group)
    with open(path, "wb") as f:
        f.write(snapshots.make([snapshots.op_set(b"a", b"1"), snapshots.op_hset(b"h", b"f", b"v")], keys=2))
    wait_for(lambda: data_of(main).get("role") == "main", "syncd has started")
    nothing = main.tool("snapshot", "save", snapshot_file(group, "none"))
    assert nothing.returncode == 1 and "no data" in nothing.stderr
    no_leftovers(snapshot_file(group, "none"))
    main.tool("snapshot", "restore", path, check=True)
    wait_following(group, main)
    assert contents(standby) == contents(main) == {b"a": b"1", b"h": {b"f": b"v"}}
    assert connect(standby).set("b", "2")
    again = main.tool("init")
    assert again.returncode == 1 and "already" in again.stderr


def waits_blank(server):
    return [e["sequence"] for e in server.events() if e["rule"] == "wait-blank"]


def lose_all_data(group):
    """All servers stop, lose their data folders and start again; they hear each other, and nobody becomes main."""
    before = {}
    for s in group:
        before[s] = waits_blank(s)
        s.stop()
        shutil.rmtree(os.path.join(s.state, "data"))
    group.start()
    for s in group:
        wait_for(lambda: set(waits_blank(s)) - set(before[s]) and len(s.links(state="up")) == 2, "it waits without data")
        s.provoke("wait-blank|join-nobody")
    group.roles_hold({s: "standby" for s in group}, 0.5)


def test_all_data_is_lost_without_snapshot(data):
    """... nor before init is told to give it up."""
    group, main, standby = data
    connect(main).set("x", "1")
    wait_following(group, main)
    lose_all_data(group)
    refused = standby.tool("init")
    assert refused.returncode == 1 and "--replace none" in refused.stderr, refused.stderr
    standby.tool("init", "--replace", "none", check=True)
    again = standby.tool("init", "--replace", "none")
    assert again.returncode == 1 and "already" in again.stderr, again.stderr
    main, other = group.wait_pair()
    assert main is standby, "it has the data of the group, if nothing is in it"
    wait_following(group, main)
    assert connect(main).dbsize() == 0 and connect(other).set("after", "1")


def test_blank_standby_does_not_take_over(data):
    """A standby that lost its data while main was away stays standby when main dies."""
    group, main, standby = data
    connect(main).set("x", "1")
    wait_following(group, main)
    seen = waits_blank(standby)
    for s in (standby, main):
        s.stop()
    shutil.rmtree(os.path.join(standby.state, "data"))
    standby.start()
    wait_for(lambda: data_of(standby).get("blank") is True, "it looked")
    promoted = standby.tool("promote", "--confirm", main.name)
    assert promoted.returncode == 1 and "no data" in promoted.stderr, promoted.stderr
    group.roles_hold({standby: "standby"}, 0.5)
    main.start()
    group.wait_pair()
    wait_following(group, main)
    assert main.role() == "main" and connect(standby).get("x") == b"1"
    assert waits_blank(standby) == seen, "it had a partner to wait for"


def test_all_data_is_lost(data):
    """Every server comes back without its data folder: nobody is main before a snapshot begins the data again."""
    group, main, standby = data
    path = snapshot_file(group)
    fill(connect(main), 500)
    before = contents(main)
    wait_following(group, main)
    save(main, path)
    lose_all_data(group)
    refused = standby.tool("snapshot", "restore", path)
    assert refused.returncode == 1 and "no main is known" in refused.stderr, refused.stderr
    standby.tool("snapshot", "restore", path, "--replace", "none", check=True)
    main, standby = group.wait_pair()
    wait_following(group, main)
    assert contents(standby) == contents(main) == before
    assert connect(standby).set("after", "1")


def test_without_main(data):
    """A server alone, without data and without a main: a restore there has to be said twice, then it wins."""
    group, main, standby = data
    path = snapshot_file(group)
    connect(main).set("x", "1")
    wait_following(group, main)
    save(main, path)
    before = contents(main)
    for s in (standby, main):
        s.stop()
    shutil.rmtree(os.path.join(standby.state, "data"))
    standby.start()  # was not main last: it waits for the other
    wait_for(lambda: data_of(standby).get("blank") is True and standby.role() == "standby", "it waits without data")
    refused = standby.tool("snapshot", "restore", path)
    assert refused.returncode == 1 and "no main is known" in refused.stderr
    standby.tool("snapshot", "restore", path, "--replace", "none", check=True)
    main.start()
    main, standby = group.wait_pair()
    wait_following(group, main)
    assert contents(main) == contents(standby) == before
    assert connect(standby).set("after", "1")


def test_blank_main_beside_data(data):
    """Main's data is lost, a standby has it: a restore says so, and main hands over, unless the group is paused."""
    group, main, standby = data
    path = snapshot_file(group)
    connect(main).set("x", "1")
    wait_following(group, main)
    save(main, path)
    main.tool("pause", "--reason", "test", check=True)
    main.provoke("main-blank")
    pid = main.child("syncd")
    os.kill(pid, signal.SIGSTOP)  # so that it does not write while its folder goes
    for f in glob.glob(os.path.join(main.state, "data", "*")):
        os.remove(f)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: main.child("syncd") not in (None, pid) and data_of(main).get("blank") is True, "it is blank")
    refused = main.tool("snapshot", "restore", path)
    assert refused.returncode == 1 and "%s has, up to change 1" % standby.name in refused.stderr
    standby.wait_log("data is blank, ours is not")  # it does not follow that
    group.roles_hold({main: "main", standby: "standby"}, 0.5)
    main.tool("resume", check=True)
    group.wait_role(standby, "main")
    assert "step-down-blank" in [e["rule"] for e in main.events()], main.events()
    group.wait_pair()
    wait_following(group, standby)
    assert contents(main) == contents(standby) and connect(main).get("x") == b"1"
