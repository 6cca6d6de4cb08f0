# SPDX-License-Identifier: ISC
"""The sync link: what a partner that knows the key can cost, and what a slow one does. Real daemons."""
import os
import struct

import pytest

from bulkhead import SANITIZED, wait_for
from test_data import begin, connect, data, wait_following  # noqa: F401 (data is a fixture)
from test_protocol import connect as dial, ended, keys_of

bhl = pytest.importorskip("bhl")

ITEMS, CHANGE, BEAT, REQUEST = 9, 11, 13, 32


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
        self.link.sock.settimeout(20)
        ended(self.link.sock)


def thieves(group, main, standby):
    """Each kind of link in the hands of a thief: (thief, victim, a frame that may be long)."""
    yield Thief(group, standby, main, bhl.REQUEST), main, REQUEST
    yield Thief(group, main, standby, bhl.SYNC), standby, CHANGE


@pytest.mark.skipif(SANITIZED, reason="the memory of a sanitizer's runtime is in the figures")
def test_long_messages_of_a_thief(make_group):
    """A partner's key gives nobody the memory of syncd: a length is checked against data.bulk before anything
    is kept, and what is kept is what has come."""
    group = make_group(options={"data.bulk": "16MiB"})
    group.start()
    main, standby = group.wait_pair()
    begin(group, main)
    for thief, victim, kind in thieves(group, main, standby):
        before = memory_of(victim)
        thief.send(frame(BEAT, bytes(24)) if kind == REQUEST else b"")
        thief.send(struct.pack("<IB", 0x7fffff00, kind) + bytes(100000))
        thief.ended()
        assert "sent a message of 2147483396 bytes; data.bulk here allows" in victim.log()
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
    group.start()
    main, standby = group.wait_pair()
    begin(group, main)
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
    assert 1000 <= main.status()["data"]["clients"] < 1100
    thief.link.sock.close()
    wait_for(lambda: main.status()["data"]["clients"] < 100, "they are gone with their link")


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
    wait_for(lambda: "does not read the answers: its link is closed" in main.log(), lambda: "it is cut off\n" + main.log()[-2000:])
    assert memory_of(main, "VmHWM") - before < 256 << 10
    wait_for(lambda: memory_of(main) - idle < 32 << 10, "what waited is gone")
    assert connect(main).get("big") == bytes(8 << 20)
