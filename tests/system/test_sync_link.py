# SPDX-License-Identifier: ISC
"""The sync link: what a partner that knows the key can cost, and what a slow one does. Real daemons."""
import glob
import os
import re
import signal
import struct
import time

import pytest

from bulkhead import SANITIZED, SLOW, wait_for
from test_data import Writer, begin, connect, data, data_of, missing, try_set, wait_following, \
    with_data  # noqa: F401 (data: a fixture)
from test_protocol import connect as dial, ended, keys_of

bhl = pytest.importorskip("bhl")

CHANGE, BEAT, PACKED, REQUEST = 11, 13, 14, 32


def frame(kind, body):
    return struct.pack("<IB", len(body) + 1, kind) + body


def memory_of(server, what="VmData"):
    """KiB of private memory that syncd has asked for; the map of the store is not in it."""
    with open("/proc/%d/status" % server.child("syncd")) as f:
        return next(int(l.split()[1]) for l in f if l.startswith(what))


class Thief:
    """A data link to victim by who has the keys of owner."""

    def __init__(self, group, owner, victim, kind):
        self.link = bhl.Link(dial(group, victim), keys_of(owner), bhl.identity_keys(victim.key)[1], "test", kind=kind)
        self.link.open()

    def send(self, stream):
        for at in range(0, len(stream), 65519):
            self.link.send(stream[at:at + 65519])

    def ended(self):
        """The victim closes, and whatever it said before does not matter."""
        self.link.sock.settimeout(10 * SLOW)  # of silence they are longer
        ended(self.link.sock)


def thieves(group, main, standby):
    """Each kind of link in the hands of a thief: (thief, victim, a frame that may be long)."""
    yield Thief(group, standby, main, bhl.REQUEST), main, REQUEST
    yield Thief(group, main, standby, bhl.SYNC), standby, CHANGE


@pytest.mark.skipif(SANITIZED, reason="the memory of a sanitizer's runtime is in the figures")
def test_long_messages_of_a_thief(make_group):
    """A partner's key gives nobody the memory of syncd: a length is checked against data.bulk before anything
    is kept, and what is kept is what has come."""
    group, main, standby = with_data(make_group(options={"data.bulk": "16MiB"}))
    for thief, victim, kind in thieves(group, main, standby):
        before = memory_of(victim)
        thief.send(frame(BEAT, bytes(24)) if kind == REQUEST else b"")
        thief.send(struct.pack("<IB", 0x7fffff00, kind) + bytes(100000))
        thief.ended()
        victim.wait_log("a message of 2147483396 bytes came; data.bulk here allows")
        assert memory_of(victim) - before < 4096
    for thief, victim, kind in thieves(group, main, standby):
        before = memory_of(victim)
        thief.send(frame(BEAT, bytes(24)) if kind == REQUEST else b"")
        thief.send(struct.pack("<IB", 70 << 20, kind) + bytes(8 << 20))  # and no more
        wait_for(lambda: memory_of(victim) - before >= 8 << 10, "the beginning of it has come")
        assert memory_of(victim) - before < 24 << 10
        thief.link.sock.close()
        wait_for(lambda: memory_of(victim) - before < 4096, "it is gone")


def request(client, *words):
    """A request frame of one command, of a program of the partner."""
    args = b"".join(struct.pack("<I", len(w)) + w for w in words)
    return frame(REQUEST, struct.pack("<QBBIII", client, 2, 0, 0, 1, len(words)) + args)


def lonely_main(group):
    """Main with data, and who speaks to it in the place of its standby, which is down."""
    _, main, standby = with_data(group)
    standby.stop()
    thief = Thief(group, standby, main, bhl.REQUEST)
    thief.send(frame(BEAT, bytes(24)))
    return main, thief


def test_many_programs_of_a_thief(make_group):
    """Programs that a partner makes up neither take the memory of main nor the places of its own programs."""
    main, thief = lonely_main(make_group())
    thief.send(b"".join(request(c, b"SET", b"k", b"v") for c in range(1, 3001)))
    thief.send(request(1, b"SET", b"done", b"1"))
    wait_for(lambda: connect(main).get("done") == b"1", "a program of main is served, and all requests were looked at")
    wait_for(lambda: data_of(main)["clients"] >= 1000, lambda: data_of(main))
    assert data_of(main)["clients"] < 1100
    thief.link.sock.close()
    wait_for(lambda: data_of(main)["clients"] < 100, "they are gone with their link")


@pytest.mark.skipif(SANITIZED, reason="the memory of a sanitizer's runtime is in the figures")
def test_unread_answers_of_a_thief(make_group):
    """A partner that asks and does not read costs main a bounded amount of memory, and then its link."""
    main, thief = lonely_main(make_group(options={"data.bulk": "16MiB", "status.dial-timeout": "3s"}))
    connect(main).set("big", bytes(8 << 20))
    idle, before = memory_of(main), memory_of(main, "VmHWM")
    try:
        for _ in range(100):
            thief.send(b"".join(request(1 + c % 50, b"GET", b"big") for c in range(1000)))
    except OSError:
        pass
    main.wait_log("does not read the answers: its link is closed")
    assert memory_of(main, "VmHWM") - before < 256 << 10
    wait_for(lambda: memory_of(main) - idle < 32 << 10, "what waited is gone")
    assert connect(main).get("big") == bytes(8 << 20)


def partner_of(main, other):
    """What main says of a partner's stream."""
    for p in data_of(main).get("partners", ()):
        if p["name"] == other.name:
            return p
    return {}


def noise(n):
    return os.urandom(n)


def fill(server, prefix, values):
    with connect(server).pipeline(transaction=False) as p:
        for n, v in enumerate(values):
            p.set("%s%d" % (prefix, n), v)
        p.execute()


def wipe(server):
    """Everything it had is gone."""
    for f in glob.glob(os.path.join(server.state, "data", "*")):
        os.remove(f)


def start_blank(group, main, blank):
    """All start anew, one of them without data: main has everything in its state, of which a snapshot is made."""
    wait_following(group, main)
    for s in group.running():
        if s is not main:
            s.stop()
    main.stop()
    wipe(blank)
    group.start()
    group.wait_role(main, "main")


def reload(*servers):
    for s in servers:
        s.write_config()
        s.tool("reload", check=True)


def test_compression(make_group):
    """Changes and snapshots leave compressed where the configuration says so; a reload takes it back."""
    group = make_group()
    group.set_servers("data-compress", "true")
    group.start()
    main, standby = group.wait_pair()
    begin(group, main)
    values = [b"a value that comes again and again %d " % n * 30 for n in range(2000)]
    for what in ("changes", "snapshot"):
        fill(main, what, values)
        wait_following(group, main)
        p = wait_for(lambda: (lambda q: q.get("compressed") and q["sent_bytes"] and q)(partner_of(main, standby)),
                     lambda: partner_of(main, standby))
        assert 0 < p["wire_bytes"] * 4 < p["sent_bytes"], (what, p)
        assert connect(standby).mget(["%s%d" % (what, n) for n in range(2000)]) == values
        standby.stop()
        wipe(standby)
        standby.start()
        group.wait_pair()
        wait_following(group, main)
        standby.wait_log("the snapshot is in place", whole=False)
    assert ":1" in main.tool("data", check=True).stdout
    for s in group:
        del s.about["data-compress"]
    reload(*group)
    fill(main, "plain", values)
    wait_following(group, main)
    assert connect(standby).get("plain1999") == values[1999]
    wait_for(lambda: partner_of(main, standby).get("compressed") is False, lambda: partner_of(main, standby))


def test_compressed_junk(data):  # noqa: F811
    """A partner with the key that sends what is no compressed stream, or says it twice."""
    group, main, standby = data
    for said in ((frame(PACKED, b"\1\x14"), b"no such stream"), (frame(PACKED, b"\2\x14"),),
                 (frame(PACKED, b"\1\x1f"),), (frame(PACKED, b"\1\x14") + b"behind it",)):
        thief = Thief(group, main, standby, bhl.SYNC)
        for stream in said:
            thief.send(stream)
        thief.ended()
    standby.wait_log("%s: what the partner sent cannot be decompressed" % main.name)


def test_limit(make_group):
    """What a partner gets in a second is bounded, a snapshot and the stream; nobody else waits for it."""
    group = make_group(("alpha", "beta", "gamma"), kinds={"gamma": "permanent"}, options={"sync.mode": "sync"})
    group, main, beta = with_data(group)
    gamma = group["gamma"]
    fill(main, "k", [noise(8192) for _ in range(100)])
    wait_following(group, main)
    gamma.about["data-limit"] = '"16KiB"'  # a minute, that nothing here needs
    for s in group:
        s.write_config()
    start_blank(group, main, gamma)
    wait_for(lambda: partner_of(main, gamma).get("state") == "snapshot", lambda: partner_of(main, gamma))
    writer = Writer([main])
    writer.wait_progress(100)  # on the disk of beta: not of gamma
    assert partner_of(main, gamma)["state"] == "snapshot"
    writer.stop()
    gamma.about["data-limit"] = '"256KiB"'
    started, before = time.monotonic(), partner_of(main, gamma)["wire_bytes"]
    reload(*group)
    wait_following(group, main)
    took, p = time.monotonic() - started, partner_of(main, gamma)
    assert p["limit_bytes"] == 256 << 10 and p["wire_bytes"] - before > 600 << 10
    assert took > (p["wire_bytes"] - before) / p["limit_bytes"] / 2
    assert connect(gamma).dbsize() == connect(main).dbsize() and missing(gamma, writer) == []
    gamma.about.clear()  # the stream, faster than it could be before
    reload(*group)
    fill(main, "k", [noise(65536) for _ in range(200)])
    wait_following(group, main)
    assert partner_of(main, gamma)["limit_bytes"] == 0


def test_stopped_standby(make_group):
    """One that takes nothing holds up neither main, whose answers wait for one disk, nor the others."""
    group, main, beta = with_data(make_group(("alpha", "beta", "gamma"), kinds={"gamma": "permanent"},
                                             options={"sync.mode": "sync"}))
    gamma = group["gamma"]
    stopped = gamma.child("syncd")
    os.kill(stopped, signal.SIGSTOP)
    writer = Writer([main, beta])
    fill(main, "k", [noise(1 << 20) for _ in range(24)])
    writer.wait_progress(300)
    want = connect(main).info("replication")["master_repl_offset"]
    wait_for(lambda: data_of(beta)["durable"] >= want, lambda: data_of(beta))
    wait_for(lambda: partner_of(main, gamma)["lag_bytes"] > 16 << 20, lambda: partner_of(main, gamma))
    os.kill(stopped, signal.SIGCONT)
    writer.stop()
    wait_following(group, main)
    assert missing(beta, writer) == [] and missing(gamma, writer) == []


def test_cut_snapshot_goes_on(make_group):
    """A link that breaks in the middle of a snapshot: what the standby has is not sent again."""
    group = make_group()
    group, main, standby = with_data(group)
    fill(main, "k", [noise(8192) for _ in range(200)])
    total = 200 * 8192
    wait_following(group, main)
    group.set_servers("data-limit", '"128KiB"')
    start_blank(group, main, standby)
    writer = Writer([main])
    wait_for(lambda: partner_of(main, standby).get("state") == "snapshot"
             and partner_of(main, standby)["wire_bytes"] > total * 0.2, lambda: partner_of(main, standby))
    writer.stop()
    os.kill(main.child("netd"), signal.SIGKILL)
    main.wait_log("from where it was cut off", whole=False)
    for s in group:
        s.about.clear()
    reload(*group)
    wait_for(lambda: partner_of(main, standby).get("state") == "online", lambda: partner_of(main, standby))
    wait_following(group, main)
    # a change of the writer takes 45 bytes at least; from the start it would be the whole of the rest
    assert partner_of(main, standby)["wire_bytes"] - 45 * len(writer.acked) < total * 0.9
    standby.wait_log("the snapshot is in place", whole=False)
    assert standby.log(whole=False).count("the snapshot is in place") == 1
    assert connect(standby).dbsize() == connect(main).dbsize() and missing(standby, writer) == []


def bundles(server):
    return glob.glob(os.path.join(server.state, "data", "bundle-*"))


def push_log_beyond(server, index):
    """Writes until the log of the server begins behind that index."""
    for _ in range(20):
        if data_of(server)["log_start"] > index:
            return
        for _ in range(4):
            fill(server, "push", [noise(1 << 20) for _ in range(4)])  # the data stays small
        want = connect(server).info("replication")["master_repl_offset"]
        wait_for(lambda: data_of(server)["durable"] >= want, "status knows of it")
    raise AssertionError("the log still begins at %s" % data_of(server))


def test_catch_up_or_snapshot(make_group):
    """What the log has, comes from it; a standby that is further behind gets a snapshot. Writes go on."""
    group, main, standby = with_data(make_group(options={"data.backlog": "64MiB"}))
    writer = Writer([main])
    for snapshots in (0, 1):
        writer.wait_progress(50)
        standby.stop()
        if snapshots:
            push_log_beyond(main, data_of(main)["index"])  # what the standby has at most
        writer.wait_progress(50)
        standby.start()
        group.wait_pair()
        writer.wait_progress(50)
        wait_following(group, main)
        if snapshots:
            standby.wait_log("the snapshot is in place", whole=False)
        assert standby.log(whole=False).count("the snapshot is in place") == snapshots
    writer.stop()
    wait_following(group, main)
    assert missing(standby, writer) == [] and connect(standby).dbsize() == connect(main).dbsize()
    assert bundles(standby) == []  # all of it was main's


@pytest.mark.parametrize("own", [30, 1500], ids=["behind-the-log", "inside-the-log"])
def test_own_changes_older_than_the_log(make_group, own):
    """An old main whose changes part from those of main before main's log begins: whatever its own log has is
    saved, with the note that main may have some of it, and then it takes a snapshot."""
    group, main, standby = with_data(make_group(options={"data.backlog": "64MiB"}))
    connect(main).set("both", "1")
    wait_following(group, main)
    stopped = standby.child("syncd")
    os.kill(stopped, signal.SIGSTOP)
    fill(main, "own", [b"mine"] * own)
    main.kill(mute=True)
    group.wait_role(standby, "main")
    os.kill(stopped, signal.SIGKILL)
    wait_for(lambda: try_set(standby, "after", "2"), "writes at the new main")
    push_log_beyond(standby, 40)
    assert (data_of(standby)["log_start"] < own) == (own > 1000)
    main.start()
    group.wait_pair()
    wait_following(group, standby)
    assert connect(main).get("own1") is None and connect(main).get("after") == b"2"
    saved = bundles(main)
    assert len(saved) == 1
    main.wait_log("changes that main may not have are saved")
    with open(saved[0]) as f:
        lines = f.read().splitlines()
    assert lines[1].startswith("# in doubt:") and not any("incomplete" in l for l in lines)
    assert [l for l in lines if not l.startswith("#")] == \
        ['SET "both" "1"'] + ['SET "own%d" "mine"' % n for n in range(own)]


def test_reloads_under_a_writer(make_group):
    """The mode changes, a server goes and the order of the others changes, by SIGHUP: no acknowledged write is lost."""
    group, main, beta = with_data(make_group(("alpha", "beta", "gamma"), kinds={"gamma": "permanent"},
                                             options={"sync.mode": "sync"}))
    gamma = group["gamma"]
    start, *blocks = re.split(r'(?m)^(?=server ")', group.config_text(main))
    assert [b.split('"')[1] for b in blocks] == ["alpha", "beta", "gamma"]
    last, _, rest = blocks[2].partition("\n}\n")
    writer = Writer([main, beta])
    for change in ("order", "async", "without gamma", "as before"):
        writer.wait_progress(30)
        for server in (main, beta, gamma):
            text = group.config_text(server)
            start = re.split(r'(?m)^(?=server ")', text)[0]
            if change == "order":
                text = start + blocks[1] + last + "\n}\n" + blocks[0] + rest
            elif change == "async":
                text = text.replace('mode = "sync"', 'mode = "async"')
            elif change == "without gamma" and server is not gamma:
                text = start + blocks[0] + blocks[1] + rest
            server.write_config(text)
            server.tool("reload", check=True)
            writer.wait_progress(10)
    writer.wait_progress(30)
    group.wait_pair()
    wait_following(group, main)
    main.kill()
    group.wait_role(beta, "main")
    main.start()  # or the last write would wait: the disk of gamma does not count
    writer.stop()
    wait_following(group, beta)
    assert missing(beta, writer) == [] and missing(gamma, writer) == []


def test_backlog_age(make_group):
    """A server that is away for longer than data.backlog-age gets a snapshot. Main foretells it and says so, and
    what a connected partner still needs stays."""
    group, main, _ = with_data(make_group(("alpha", "beta", "gamma"), kinds={"gamma": "permanent"},
                                          options={"data.backlog-age": "2s", "data.backlog": "64MiB"}))
    standby = group["gamma"]
    connect(main).set("before", "1")
    wait_following(group, main)
    at = data_of(standby)["index"]
    standby.stop()
    for _ in range(3):
        fill(main, "k", [noise(1 << 20) for _ in range(16)])
    p = wait_for(lambda: (lambda q: q.get("log_short") and q)(partner_of(main, standby)),
                 lambda: partner_of(main, standby))
    assert p["state"] == "down" and p["oldest_missing_ms"] is not None and p["log_lasts_ms"] is not None and p["fill_bytes"] > 0
    wait_for(lambda: data_of(main)["log_start"] > at, lambda: data_of(main))
    wait_for(lambda: partner_of(main, standby).get("log_lasts_ms") == 0, lambda: partner_of(main, standby))
    assert "snapshot" in main.tool("data", check=True).stdout
    main.wait_log("[backlog-short] gamma")
    assert main.log().count("[backlog-short] gamma") == 1  # of beta too it may have been true in passing
    assert "gamma lacks changes" in main.tool("check").stdout
    assert "gamma" in [e["peer"] for e in main.events() if e["rule"] == "backlog-short"]
    standby.start()
    group.wait_pair()
    wait_following(group, main)
    standby.wait_log("the snapshot is in place", whole=False)
    assert standby.log(whole=False).count("the snapshot is in place") == 1 and bundles(standby) == []

    def told(rule):
        return [e["rule"] for e in main.events()].count(rule)
    wait_for(lambda: told("backlog-enough") == told("backlog-short") > 0, main.events)
    p = partner_of(main, standby)
    assert p["oldest_missing_ms"] is None and p["log_lasts_ms"] is None and not p["log_short"]
