# SPDX-License-Identifier: ISC
"""Data links in other hands: who may open one, and what is said on one that is open.

The other end speaks with bhl.py and the keys of a server whose guard was stopped (or of nobody); sections 11
and 12 of doc/protocol.md are written down here a second time.
"""
import os
import socket
import struct

import pytest

import bulkhead
import late
import net
from bulkhead import SANITIZED, wait_for
from test_data import Waiting, begin, connect as connect_data, data_of, wait_following, with_data
from test_protocol import PORT, address, connect, keys_of

bhl = pytest.importorskip("bhl")

OFFER, HAVE, PROBE, FOUND, STREAM, DIVERGED, SNAPSHOT, FROM, ITEMS, COMPLETE, CHANGE, ACK, BEAT = range(1, 14)
REQUEST, FORGET, ANSWER, REFUSED = range(32, 36)
BLANK, NOTHING = 1, 2
POSITION = struct.Struct("<QQQ")
BROKEN = "the partner broke the protocol"


def siphash(key, data):
    """SipHash-2-4, 64 bits."""
    mask = (1 << 64) - 1
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]

    def turn(x, n):
        return (x << n | x >> (64 - n)) & mask

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & mask
            v[1] = turn(v[1], 13) ^ v[0]
            v[0] = turn(v[0], 32)
            v[2] = (v[2] + v[3]) & mask
            v[3] = turn(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & mask
            v[3] = turn(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & mask
            v[1] = turn(v[1], 17) ^ v[2]
            v[2] = turn(v[2], 32)
    rest = len(data) % 8
    last = data[len(data) - rest:].ljust(7, b"\0") + bytes([len(data) & 255])
    for at in range(0, len(data) - rest, 8):
        m, = struct.unpack_from("<Q", data, at)
        v[3] ^= m
        rounds(2)
        v[0] ^= m
    m, = struct.unpack("<Q", last)
    v[3] ^= m
    rounds(2)
    v[0] ^= m
    v[2] ^= 0xff
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def following(before, operations, epoch=None, index=None):
    """Position of the change with these operations behind a position."""
    epoch, index = epoch or before[0], index or before[1] + 1
    return epoch, index, siphash(b"bulkhead changes", struct.pack("<IQQQ", len(operations), epoch, index, before[2]) +
                                 operations)


def set_operation(key, value):
    return b"\1" + bytes([len(key)]) + key + bytes(8) + bytes([len(value)]) + value


class DataLink:
    """Frames in the records of an open link."""

    def __init__(self, sock, out, into):
        self.sock, self.out, self.into, self.stream = sock, out, into, b""

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.sock.close()

    def say(self, kind, body=b""):
        self.raw(struct.pack("<IB", 1 + len(body), kind) + body)

    def raw(self, data):
        self.sock.sendall(bhl.seal_record(self.out, data))

    def ack(self, applied, durable):
        self.say(ACK, struct.pack("<QQ", applied, durable))

    def hear(self, *kinds):
        """The next frame (of these kinds, others are passed over): (kind, body)."""
        while True:
            while len(self.stream) < 5 or len(self.stream) < 4 + struct.unpack_from("<I", self.stream)[0]:
                size, = struct.unpack("<I", bhl.read_exactly(self.sock, 4))
                self.stream += self.into.open(bhl.read_exactly(self.sock, size))
                self.into.rekey_if_due()
            end = 4 + struct.unpack_from("<I", self.stream)[0]
            kind, body, self.stream = self.stream[4], self.stream[5:end], self.stream[end:]
            if kind in kinds or not kinds and kind != BEAT:
                return kind, body


def cut_off(link, alive):
    """The other end closes, though something is heard from us all the time: (kind, body) that is always right."""
    link.sock.settimeout(1)
    deadline = bulkhead.now_s() + bulkhead.patience(bulkhead.DEADLINE_S)
    while bulkhead.now_s() < deadline:
        try:
            link.say(*alive)
            if not link.sock.recv(1 << 16):
                return
        except socket.timeout:
            continue
        except ConnectionError:
            return
    raise AssertionError("the link is still open")


STANDBY_LIVES, MAIN_LIVES = (ACK, bytes(16)), (BEAT, bytes(24))


def dial(group, namespace, server, keys, kind, boot=None, counter=1):
    """Open a link to a server from a namespace; raises bhl.Refused when it is not let in."""
    link = bhl.Link(connect(group, server, group.network.ns.get(namespace)), keys, bhl.identity_keys(server.key)[1],
                    "test", kind=kind, boot=boot, counter=counter)
    try:
        link.open()
    except BaseException:
        link.sock.close()
        raise
    return DataLink(link.sock, link.out, link.into)


def refused(group, namespace, server, keys, kind, **kw):
    """Not a byte comes back."""
    try:
        dial(group, namespace, server, keys, kind, **kw).sock.close()
    except bhl.Refused as e:
        return "after 0 bytes" in str(e) or "reset" in str(e).lower()
    return False


def test_links_are_refused(make_group):
    """Each by its reason: unknown key, the status key, a server that is not main, one that is, a replay."""
    group, main, standby = with_data(make_group(("alpha", "beta", "gamma")))
    other = next(s for s in group if s not in (main, standby))
    other.stop()
    keys, status = keys_of(other), keys_of(other).status_secret
    pids = [s.child("syncd") for s in (main, standby)]
    for server, kind, who in ((main, bhl.REQUEST, bhl.Keys()), (standby, bhl.SYNC, bhl.Keys()),
                              (main, bhl.REQUEST, bhl.Keys(status, status)),
                              (standby, bhl.SYNC, bhl.Keys(data=keys_of(main).status_secret)),
                              (main, bhl.REQUEST, bhl.Keys(data=keys_of(main).data_secret)),
                              (main, bhl.SYNC, keys), (standby, bhl.SYNC, keys), (standby, bhl.REQUEST, keys)):
        assert refused(group, None, server, who, kind), "%s takes a link of kind %d" % (server.name, kind)
    # one that is let in, and its hello once more
    boot = os.urandom(8)
    with dial(group, other.name, main, keys, bhl.REQUEST, boot=boot, counter=5) as link:
        link.say(BEAT, POSITION.pack(0, 0, 0))
        link.hear(BEAT)
    assert refused(group, other.name, main, keys, bhl.REQUEST, boot=boot, counter=5), "a replay is let in"
    with dial(group, other.name, main, keys, bhl.REQUEST, boot=boot, counter=6):
        pass
    assert [s.child("syncd") for s in (main, standby)] == pids


def test_dmz_server_cannot_open(make_group):
    """Neither the link that writes nor the one that feeds, whatever role the others have."""
    group = make_group(("alpha", "beta", "delta"), kinds={"delta": "dmz"})
    server, thief = group["beta"], keys_of(group["delta"])
    server.options = {"arbitration": {"hold": "60s"}}
    server.write_config()
    server.start()  # it waits for the others, and knows no main
    wait_for(lambda: data_of(server).get("role") == "standby", "syncd knows its role")
    with dial(group, "alpha", server, keys_of(group["alpha"]), bhl.SYNC):
        pass  # of a server that may be main it takes one
    assert refused(group, "delta", server, thief, bhl.SYNC), "a DMZ server feeds"
    server.stop()
    server.options = {}
    server.write_config()
    group.start("alpha", "beta")
    main, standby = group.wait_pair()
    begin(group, main)
    with dial(group, standby.name, main, keys_of(standby), bhl.REQUEST):
        pass
    assert refused(group, "delta", main, thief, bhl.REQUEST), "a DMZ server writes"
    assert refused(group, "delta", standby, thief, bhl.SYNC), "a DMZ server feeds"


# ---- a standby in other hands


class FalseStandby:
    """Takes the links that main opens to a server that is not there; sync links are answered."""

    def __init__(self, group, server):
        self.group, self.keys = group, keys_of(server)

        def make():
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address(group, server), PORT))
            s.listen(16)
            s.settimeout(bulkhead.LONG_S)
            return s
        self.listener = net.in_namespace(group.network.ns[server.name], make)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.listener.close()

    def answer(self, sock):
        """The link and main's offer on it; None: it is a status link, or main has given it up, for we were slow."""
        try:
            hello = bhl.read_exactly(sock, bhl.HELLO_SIZE)
            if hello[5] != bhl.SYNC:
                return None
            responder = bhl.Responder(self.keys, "test", kind=bhl.SYNC)
            responder.read(hello)
            message, into, out = responder.reply()
            sock.sendall(message)
            link = DataLink(sock, out, into)
            return (link, *link.hear())
        except (bhl.Refused, ConnectionError):
            return None

    def accept(self, buffer=None):
        """The next sync link, up to main's offer: (link, epoch, id, end, start)."""
        answered = None
        while answered is None:
            if buffer:
                self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            sock, _ = self.listener.accept()
            sock.settimeout(bulkhead.LONG_S)
            answered = self.answer(sock)
            if answered is None:
                sock.close()
        link, kind, body = answered
        assert kind == OFFER and len(body) == 8 + 16 + 48
        return link, struct.unpack_from("<Q", body)[0], body[8:24], POSITION.unpack_from(body, 24), \
            POSITION.unpack_from(body, 48)

    def follow(self, **kw):
        """A link that main streams on: (link, end)."""
        link, _, ident, end, _ = self.accept(**kw)
        link.say(HAVE, b"\0" + ident + POSITION.pack(*end))
        kind, body = link.hear()
        assert kind == STREAM and POSITION.unpack(body) == end
        return link, end


@pytest.fixture
def alone(make_group):
    """Function: a main with data, whose standby was stopped in order: (group, main, the standby's place)."""
    def make(options=None):
        group, main, standby = with_data(make_group(options=options))
        connect_data(main).set("x", "first")
        wait_following(group, main)
        standby.stop()
        main.expect_log(BROKEN)
        return group, main, standby
    return make


def slave(main):
    return connect_data(main).info("replication").get("slave0", {})


def test_standby_in_other_hands(alone):
    """In mode sync an answer leaves when a standby that follows says that its disk has the change, not earlier."""
    group, main, standby = alone({"sync.mode": "sync"})
    pid = main.child("syncd")
    write = Waiting(main, "SET", "x", "second")
    assert write.waits(), "nobody has it"
    assert connect_data(main).get("x") == b"second"
    with FalseStandby(group, standby) as false:
        link, end = false.follow()
        with link:
            assert end[1] >= 2 and write.answer() == b"+OK", "it is the end that was shown"
            write = Waiting(main, "SET", "x", "third")
            kind, body = link.hear(CHANGE)
            at = POSITION.unpack_from(body)
            assert at == following(end, body[24:]) and body[24:] == set_operation(b"x", b"third")
            link.ack(at[1], at[1] - 1)
            wait_for(lambda: slave(main).get("offset") == at[1], lambda: slave(main))
            assert slave(main)["durable"] == at[1] - 1 and write.waits(), "its disk has not got it"
            link.ack(at[1], at[1])
            assert write.answer() == b"+OK"
            link.ack(at[1] + 1, at[1] + 1)  # of what there is not
            cut_off(link, STANDBY_LIVES)
        # what it says before it follows does not count
        link, _, ident, end, _ = false.accept()
        with link:
            link.say(HAVE, bytes([NOTHING]) + ident + POSITION.pack(*end))
            kind, body = link.hear()
            assert kind == SNAPSHOT
            link.ack(end[1], end[1])
            link.say(FROM, bytes(2))
            link.hear(COMPLETE)
            write = Waiting(main, "SET", "x", "fourth")
            assert slave(main)["durable"] == 0 and write.waits(), "it never said that the snapshot is on its disk"
            link.ack(end[1] + 1, end[1] + 1)
            assert write.answer() == b"+OK"
    assert main.child("syncd") == pid and main.role() == "main"


def test_what_no_standby_says(alone):
    """Frames in the wrong state or direction, of no kind, too long, cut off: the link ends, and nothing else."""
    group, main, standby = alone()
    pid = main.child("syncd")
    number = struct.pack("<Q", 1)
    stream = [(HAVE, bytes(41)), (FOUND, b"\1" + POSITION.pack(1, 1, 1)), (FROM, bytes(2)), (OFFER, bytes(72)),
              (CHANGE, POSITION.pack(1, 3, 0) + set_operation(b"x", b"y")), (BEAT, POSITION.pack(0, 0, 0)),
              (ACK, bytes(15)), (200, b"")]
    with FalseStandby(group, standby) as false:
        for kind, body in stream:
            link, end = false.follow()
            with link:
                link.say(kind, body)
                cut_off(link, STANDBY_LIVES)
        for data in (b"\0\0\0\0\1", struct.pack("<IB", 2000, ACK), struct.pack("<IB", 1 << 31, CHANGE)):
            link, *_ = false.accept()
            with link:
                link.raw(data)
                cut_off(link, STANDBY_LIVES)
    # and on a request link, which main takes
    for kind, body in ((ANSWER, number + POSITION.pack(1, 1, 1) + b"+OK\r\n"), (REFUSED, number + b"-ERR no"),
                       (REQUEST, number), (FORGET, bytes(7)), (OFFER, bytes(72)), (BEAT, b"")):
        with dial(group, standby.name, main, keys_of(standby), bhl.REQUEST) as link:
            link.say(kind, body)
            cut_off(link, MAIN_LIVES)
    assert main.child("syncd") == pid and connect_data(main).get("x") == b"first"


def test_standby_that_takes_nothing(alone):
    """It follows and does not read: main writes on, keeps a bounded part in memory and has it all later."""
    # TCP gives up on who takes nothing for longer than silence and dialling may last together
    group, main, standby = alone({"status.dial-timeout": "30s"})
    client, value = connect_data(main), b"v" * (1 << 20)
    client.set("big", value)
    with FalseStandby(group, standby) as false:
        link, end = false.follow(buffer=1 << 16)
        with link:
            before = late.memory_kib(main)["syncd"]
            for _ in range(64):
                assert client.set("big", value)
                link.ack(end[1], end[1])  # it lives
            grown = late.memory_kib(main)["syncd"] - before
            print("memory grew by %d KiB while 64 MiB were written" % grown)
            assert grown < 40 << 10 or SANITIZED  # whose runtime keeps what was freed
            for index in range(end[1] + 1, end[1] + 1 + 64):
                assert struct.unpack_from("<Q", link.hear(CHANGE)[1], 8)[0] == index
                link.ack(end[1], end[1])
            link.ack(index, index)
            assert client.wait(1, 0) == 1


def test_snapshot_that_is_not_taken(alone):
    """A standby that asks for a snapshot and takes its time keeps no writes of main from their room."""
    group, main, standby = alone({"data.size": "64MiB"})
    client, value = connect_data(main), b"v" * (256 << 10)
    with FalseStandby(group, standby) as false:
        link, _, ident, _, _ = false.accept()
        with link:
            link.say(HAVE, bytes([BLANK]) + bytes(16) + bytes(24))
            at = POSITION.unpack_from(link.hear(SNAPSHOT)[1])
            for n in range(10000):
                assert client.set("big%d" % (n % 8), value)
                try:
                    link.ack(at[1], at[1])  # it lives
                except ConnectionError:
                    break
            else:
                raise AssertionError("it may hold on to its snapshot")
            main.wait_log("takes its snapshot too slowly")
            while True:
                try:
                    link.hear()
                except (bhl.Refused, OSError):
                    break
        for n in range(400):
            assert client.set("big%d" % (n % 8), value), "the room is there again"


# ---- a main in other hands


def test_main_in_other_hands(make_group):
    """A main that is not what it was: its data is not taken, and nothing of what it says out of turn."""
    group, main, server = with_data(make_group(kinds={"beta": "permanent"}))
    client = connect_data(main)
    client.set("x", "first")
    wait_following(group, main)
    epoch, ident = data_of(server)["epoch"], bytes.fromhex(data_of(server)["id"])
    end = None
    main.stop()
    server.expect_log(BROKEN)
    pid, keys = server.child("syncd"), keys_of(main)
    wait_for(lambda: data_of(server).get("stream") == "down", "the real one is gone")

    def open_link():
        return dial(group, main.name, server, keys, bhl.SYNC)

    def offer(link, epoch=epoch, ident=ident, end=(1, 1, 1)):
        link.say(OFFER, struct.pack("<Q", epoch) + ident + POSITION.pack(*end) + POSITION.pack(0, 0, 0))

    with open_link() as link:
        offer(link)
        kind, body = link.hear()
        assert kind == HAVE and body[1:17] == ident
        end = POSITION.unpack_from(body, 17)
    operations = set_operation(b"x", b"forged")
    at = following(end, operations)
    change = POSITION.pack(*at) + operations
    words = {"its epoch is older than the one that we know": {"epoch": epoch - 1},
             "its data is of another group": {"ident": bytes(15) + b"\1"},
             "its data is blank, and ours is not": {"ident": bytes(16)}}
    for line, how in words.items():
        with open_link() as link:
            offer(link, **how)
            cut_off(link, MAIN_LIVES)
    stream = (STREAM, POSITION.pack(*end))
    for frames in ([(CHANGE, change)],
                   [stream],
                   [None, (CHANGE, change)],
                   [None, (STREAM, POSITION.pack(end[0], end[1], end[2] ^ 1))],
                   [None, stream, (CHANGE, POSITION.pack(at[0], at[1], at[2] ^ 1) + operations)],
                   [None, stream, (CHANGE, POSITION.pack(at[0], at[1] + 1, at[2]) + operations)],
                   [None, stream, (CHANGE, POSITION.pack(*following(end, b"\x63")) + b"\x63")],
                   [None, (SNAPSHOT, POSITION.pack(*at) + bytes(15) + b"\1" + bytes(8))],
                   [None, (ITEMS, bytes(2) + operations)], [None, (COMPLETE, b"")],
                   [None, (HAVE, bytes(41))], [None, (ACK, struct.pack("<QQ", 1, 1))],
                   [None, (FOUND, b"\1" + POSITION.pack(1, 1, 1))], [None, (REQUEST, bytes(18))]):
        with open_link() as link:
            for frame in frames:
                if frame is None:
                    offer(link)
                    assert link.hear()[0] == HAVE
                else:
                    link.say(*frame)
            cut_off(link, MAIN_LIVES)
    assert connect_data(server).get("x") == b"first" and server.child("syncd") == pid
    with open_link() as link:  # and what is right is taken
        offer(link, end=at)
        assert link.hear()[0] == HAVE
        link.say(*stream)
        link.say(CHANGE, change)
        while struct.unpack("<QQ", link.hear(ACK)[1]) != (at[1], at[1]):
            pass
    assert connect_data(server).get("x") == b"forged"
