# SPDX-License-Identifier: ISC
"""Nobody but syncd sees the data: not who listens on the wire, nor any other process of either server."""
import glob
import os
import secrets
import socket
import struct
import threading

import bulkhead
import net
from bulkhead import wait_for
from capture import IPV4, PORT, TCP, Capture
from test_data import begin, connect, wait_following
from test_walls import scan

BULK = 200000  # bytes of the largest value


def streams(frames):
    """{(from, port, to, port): bytes}, what each end said, pieced together again."""
    pieces = {}
    for frame in frames:
        if struct.unpack_from("!H", frame, 12)[0] != IPV4 or frame[14 + 9] != TCP:
            continue
        packet = frame[14:14 + struct.unpack_from("!H", frame, 16)[0] or None]
        tcp = packet[(packet[0] & 15) * 4:]
        source, target = struct.unpack_from("!HH", tcp)
        body = tcp[(tcp[12] >> 4) * 4:]
        if body:
            name = (socket.inet_ntoa(packet[12:16]), source, socket.inet_ntoa(packet[16:20]), target)
            pieces.setdefault(name, {})[struct.unpack_from("!I", tcp, 4)[0]] = body
    found = {}
    for name, parts in pieces.items():
        first = min(parts)
        if max(parts) - first > 1 << 31:  # the numbers began again at 0 in between
            first = min(n for n in parts if n > 1 << 31)
        text = bytearray()
        for n in sorted(parts, key=lambda n: (n - first) & 0xffffffff):
            at = (n - first) & 0xffffffff
            text[at:at + len(parts[n])] = parts[n]  # what was sent twice is there once
        found[name] = text
    return found


class Wire(threading.Thread):
    """All that two servers said to each other since the start. Taken all the time: the room that the kernel has
    for it is full some seconds later."""

    def __init__(self, group):
        super().__init__(daemon=True)
        self.captures = [Capture(group, s) for s in group]
        self.frames, self.lock, self.over, self.failure = [], threading.Lock(), threading.Event(), None
        self.start()

    def run(self):
        try:
            while not self.over.wait(0.05):
                self.drain()
        except AssertionError as e:  # frames were lost; told by the next take()
            self.failure = e

    def drain(self):
        with self.lock:
            for c in self.captures:
                self.frames += c.frames()

    def take(self):
        self.drain()
        if self.failure:
            raise self.failure
        with self.lock:
            return list(self.frames)

    def seen(self, needles):
        said = streams(self.take())
        return {name for name, needle in needles.items() if any(needle in text for text in said.values())}

    def bytes_of_links(self):
        return sum(len(text) for name, text in streams(self.take()).items() if PORT in (name[1], name[3]))

    def close(self):
        self.over.set()
        self.join()
        for c in self.captures:
            c.close()


class Again(threading.Thread):
    """Writes the same again and again, so that it is always somewhere on its way."""

    def __init__(self, server, write):
        super().__init__(daemon=True)
        self.client, self.write, self.stopping, self.n = connect(server), write, False, 0
        self.start()

    def run(self):
        while not self.stopping:
            self.write(self.client, BULK if self.n < 3 else 100)
            self.n += 1

    def stop(self):
        self.stopping = True
        self.join(60)
        assert not self.is_alive() and self.n > 0


def say_in_clear(main, standby, group, token):
    """Bytes of a stranger to the port of the links: refused, but on the wire."""
    def say():
        with socket.create_connection((group.network.addresses(standby.name)[0], PORT), timeout=bulkhead.LONG_S) as s:
            s.sendall(token)
            try:
                while s.recv(100):
                    pass
            except OSError:
                pass
    net.in_namespace(main.namespace, say)


def test_nobody_else_sees_the_data(make_group, request):
    group = make_group(options={"data.size": "64MiB", "data.backlog": "64MiB"})  # small: all of it is looked through
    wire = Wire(group)
    request.addfinalizer(wire.close)
    group.start()
    main, standby = group.wait_pair()
    begin(group, main)
    needles = {"%s %s" % (way, what): secrets.token_hex(16).encode()
               for way in ("written on main", "written on a standby", "sent as a snapshot")
               for what in ("key", "value", "field")}

    def write(way):
        def do(client, size=BULK):
            key, value, field = (needles["%s %s" % (way, what)] for what in ("key", "value", "field"))
            client.set(key, value + b" " + secrets.token_hex(size // 2).encode())
            client.hset(b"hash " + key, field, value)
        return do

    def look(where):
        """At all processes but syncd, of both servers."""
        for s in group:
            others = [p for p in s.pids() if p != s.child("syncd")]
            assert len(others) >= len(bulkhead.CHILDREN) + 1
            for pid in others:
                found = scan(pid, needles)
                assert not found, "%s, %s of %s: %s" % (where, bulkhead.process.arguments(pid), s.name, found)

    for way, server in (("written on main", main), ("written on a standby", standby)):
        writer = Again(server, write(way))
        wait_for(lambda: writer.n >= 3, "some writes")
        look(way)
        writer.stop()
        wait_following(group, main)
    # once more as a whole, to a server that has nothing, with what was written in between
    standby.stop()
    for f in glob.glob(os.path.join(standby.state, "data", "*")):
        os.remove(f)
    write("sent as a snapshot")(connect(main))
    before = wire.bytes_of_links()
    standby.start()
    group.wait_pair()
    wait_following(group, main)
    look("sent as a snapshot")
    wait_for(lambda: "the snapshot is in place" in standby.log(), "it got a snapshot")
    main.tool("snapshot", "save", os.path.join(group.folder, "saved"), check=True)
    look("saved by an administrator")

    # it was there to be seen: in the memory of both syncd, and in the links, sealed
    for s in group:
        write("sent as a snapshot")(connect(s))
        wait_following(group, main)
        connect(s).get(needles["written on main key"])
        for n in ("written on main", "written on a standby"):
            connect(s).hgetall(b"hash " + needles[n + " key"])
        found = scan(s.child("syncd"), needles)
        assert found == set(needles), "the scan does not see %s in syncd" % (set(needles) - found)
    assert wire.bytes_of_links() - before > 3 * BULK, "the snapshot is in the capture"
    token = {"said in clear": secrets.token_hex(16).encode()}
    say_in_clear(main, standby, group, b"x" * 3000 + token["said in clear"])
    wait_for(lambda: wire.seen(token), "the capture shows what is said in clear")
    assert wire.seen(needles) == set()
    assert connect(standby).exists(needles["written on main key"]) == 1
