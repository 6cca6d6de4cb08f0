# SPDX-License-Identifier: ISC
"""Strangers, thieves and replays on port 5481: refused and counted, and the good links never notice.

They speak with tests/system/bhl.py, the second implementation of doc/protocol.md. A "thief" has the key
files of the standby, which is the only way to get further than the tag and the static key.
"""
import os
import re
import socket
import struct
import time

import pytest

import net
from bulkhead import LONG_S, TOP, Timeout, holds, wait_for

bhl = pytest.importorskip("bhl")

PORT = 5481
ETH_P_ALL = 3


def address(group, server):
    return group.network.addresses(server.name)[0]


def connect(group, server, namespace=None):
    """A connection from the switch, whose addresses belong to no server."""
    def make():
        family = socket.AF_INET6 if ":" in address(group, server) else socket.AF_INET
        s = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        s.settimeout(LONG_S)
        s.connect((address(group, server), PORT))
        return s
    return net.in_namespace(namespace or group.network.switch, make)


def keys_of(server):
    """The secrets of a server, as who has broken into it."""
    def secret(name):
        with open(os.path.join(server.state, name)) as f:
            return bytes.fromhex(f.read().strip())
    return bhl.Keys(secret("status.key"), secret("data.key"))


def ended(sock):
    """The answer until the other end closes; raises when it does not close."""
    data = b""
    try:
        while True:
            more = sock.recv(4096)
            if not more:
                return data
            data += more
    except ConnectionError:
        return data


def counters(server):
    """The counters of status by name; those of netd and of roled together where both have one."""
    found = {}
    for group in ((server.status() or {}).get("counters") or {}).values():
        for name, n in group.items():
            found[name] = found.get(name, 0) + n
    return found


class Undisturbed:
    """While this is open no good link may end and no role may change."""

    def __init__(self, group, main, standby):
        self.group, self.main, self.standby = group, main, standby

    def sessions(self):
        return {s.name: [(l["server"], l["path"], l["inbound"], l["sessions"], l["state"])
                         for l in s.links()] for s in (self.main, self.standby)}

    def __enter__(self):
        self.before = self.sessions()
        assert all(l[4] == "up" for s in self.before.values() for l in s) and len(self.before) == 2
        return self

    def check(self):
        assert self.sessions() == self.before, self.group.report()
        assert (self.main.role(), self.standby.role()) == ("main", "standby"), self.group.report()

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.check()
            holds(lambda: self.sessions() == self.before, self.group.report, 0.5)


def attack_garbage(keys, me, remote):
    return b"GET / HTTP/1.0\r\n\r\n"


def attack_random(keys, me, remote):
    return os.urandom(bhl.HELLO_SIZE)


def attack_version(keys, me, remote):
    i = bhl.Initiator(me, remote, "test")
    return bhl.outer(bhl.STATUS, i.message(), remote, version=2)


def attack_bad_tag(keys, me, remote):
    return bhl.outer(bhl.STATUS, bhl.Initiator(me, remote, "test").message(), me.status)


def attack_unknown_server(keys, me, remote):
    return bhl.Initiator(me, remote, "test").hello()


def attack_wrong_group(keys, me, remote):
    return bhl.Initiator(keys, remote, "other").hello()


def attack_claimed_key(keys, me, remote):
    """Shows the standby's public key without having the secret."""
    me.status = keys.status
    return bhl.Initiator(me, remote, "test").hello()


def attack_own_key(keys, me, remote):
    me.status = remote
    return bhl.Initiator(me, remote, "test").hello()


def attack_low_order(keys, me, remote):
    hello = bhl.Initiator(keys, remote, "test").hello()
    return bhl.outer(bhl.STATUS, bytes(32) + hello[40:120], remote)


# what is sent, and the counter that must show it: each check of the page has its own
ATTACKS = {
    attack_garbage: "bad-hello", attack_random: "bad-hello", attack_version: "bad-hello",
    attack_bad_tag: "bad-tag", attack_unknown_server: "unknown-key", attack_wrong_group: "bad-handshake",
    attack_claimed_key: "bad-handshake", attack_own_key: "own-key", attack_low_order: "key-refused",
}


def test_worked_example():
    """The page says what this implementation computes; test_protocol.c checks the other one."""
    assert bhl.main([os.path.join(TOP, "doc", "protocol.md")]) == 0


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda f: f.__name__[7:])
def test_refused(pair, attack):
    """Not one byte comes back, each is counted for what it is, and the log has one line for all."""
    group, main, standby = pair
    remote = bhl.identity_keys(main.key)[0]
    name = ATTACKS[attack]
    before, lines, began = counters(main), main.log().count(": refused "), time.monotonic()
    with Undisturbed(group, main, standby):
        for _ in range(5):
            with connect(group, main) as s:
                s.sendall(attack(keys_of(standby), bhl.Keys(), remote))
                assert ended(s) == b""

        def since(counter):
            return counters(main)[counter] - before[counter]
        # a crowded machine may let one of them wait for too long with its bytes
        wait_for(lambda: since(name) > 0 and since(name) + since("hello-timeout") == 5, lambda: counters(main))
        # one line in 10 s for each cause; it comes another way than the counters
        said = wait_for(lambda: main.log().count(": refused ") - lines, "a line in the log")
        assert said <= 1 + since("hello-timeout") + int(time.monotonic() - began) // 10


def sniff(namespace):
    """A socket that sees every frame on the switch."""
    def make():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.htons(ETH_P_ALL))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        s.settimeout(LONG_S)
        return s
    return net.in_namespace(namespace, make)


def sniffed_hello(sniffer, towards):
    """The next hello of a status link that somebody sends to an IPv4 address."""
    deadline = time.monotonic() + LONG_S
    while time.monotonic() < deadline:
        packet = sniffer.recv(65535)
        if packet[:1] != b"\x45" or packet[9] != socket.IPPROTO_TCP or packet[16:20] != socket.inet_aton(towards):
            continue
        size, = struct.unpack(">H", packet[2:4])
        payload = packet[20 + 4 * (packet[32] >> 4):size]
        if payload.startswith(bytes([*b"BHL1", 1, bhl.STATUS])) and len(payload) == bhl.HELLO_SIZE:
            return payload
    raise Timeout("no hello towards %s" % towards)


def test_replayed_hello(pair):
    """A hello that made a good link once is sent again, by somebody who has no key at all."""
    group, main, standby = pair
    sessions = group.sessions()
    with sniff(group.network.switch) as sniffer:
        os.kill(standby.child("netd"), 9)
        hello = sniffed_hello(sniffer, address(group, main))
    group.wait_links(since=sessions)
    group.wait_pair()
    before = counters(main)
    with Undisturbed(group, main, standby):
        for n in range(5):
            with connect(group, main) as s:
                s.sendall(hello)
                assert ended(s) == b""

        def since(counter):
            return counters(main)[counter] - before[counter]
        # a crowded machine may let one of them wait for too long with its bytes
        wait_for(lambda: since("replay") > 0 and since("replay") + since("hello-timeout") == 5, lambda: counters(main))


def test_unconfirmed_hello(pair):
    """A hello whose sender cannot seal a record (an old one, to a roled that was restarted since)."""
    group, main, standby = pair
    remote = bhl.identity_keys(main.key)[0]
    with Undisturbed(group, main, standby) as good:
        hello = bhl.Initiator(keys_of(standby), remote, "test").hello()
        for _ in range(2):
            with connect(group, main, group.network.ns[standby.name]) as s:
                s.sendall(hello)
                assert len(bhl.read_exactly(s, bhl.REPLY_SIZE)) == bhl.REPLY_SIZE
                good.check()
                s.sendall(os.urandom(bhl.RECORD_SIZE))
                assert ended(s) == b""


def test_hello_of_a_copy(pair):
    """The right key, from an address that is not the server's, while the server is heard."""
    group, main, standby = pair
    remote = bhl.identity_keys(main.key)[0]
    before, tries = counters(main), 0
    with Undisturbed(group, main, standby):
        while True:
            with connect(group, main) as s:
                s.sendall(bhl.Initiator(keys_of(standby), remote, "test").hello())
                assert ended(s) == b""
            tries, after = tries + 1, counters(main)
            if after["twin"] > before["twin"]:
                break
            # only a crowded machine may make it wait for too long with its bytes
            wait_for(lambda: counters(main)["hello-timeout"] == before["hello-timeout"] + tries, lambda: counters(main))
        assert after["twin"] == before["twin"] + 1


def test_other_implementation(pair):
    """The page is enough: a link made from it comes up, in place of the standby's own."""
    group, main, standby = pair
    standby.stop()
    group.wait_role(main, "main")
    remote = bhl.identity_keys(main.key)[0]
    keys = keys_of(standby)
    before = counters(main)["up-in"]
    link = bhl.Link(connect(group, main, group.network.ns[standby.name]), keys, remote, "test",
                    boot=b"\x01" * 8, counter=1)
    with link.sock:
        link.open().send(bhl.status_record(condition=2))
        wait_for(lambda: counters(main)["up-in"] == before + 1, group.report)
        records = [link.receive() for _ in range(3)]
        assert all(len(r) == bhl.STATUS_SIZE and r[0] == 1 and r[1] == 1 and r[2] == 1 for r in records)
        numbers = [int.from_bytes(r[16:24], "little") for r in records]
        assert numbers == sorted(set(numbers))
        # a record that opens and is none closes the link
        link.send(b"\x02" * bhl.STATUS_SIZE)
        ended(link.sock)


def test_slow_hellos(pair):
    """All slots for strangers are taken by connections that say a byte now and then."""
    group, main, standby = pair
    hello = bhl.Initiator(bhl.Keys(), bhl.identity_keys(main.key)[0], "test").hello()
    with Undisturbed(group, main, standby):
        slow = [connect(group, main) for _ in range(100)]
        try:
            for s in slow:
                try:
                    s.sendall(hello[:1])
                except ConnectionError:
                    pass
            for s in slow:
                assert ended(s) == b""
        finally:
            for s in slow:
                s.close()


def test_partner_gets_in_beside_slow_hellos(pair):
    group, main, standby = pair
    slow = [connect(group, main) for _ in range(100)]
    try:
        before = group.sessions()
        standby.kill_child("netd")
        group.wait_links(since=before)
        group.roles_hold({main: "main", standby: "standby"}, 0.5)
    finally:
        for s in slow:
            s.close()


def test_ten_thousand_connections(pair):
    """A flood of connections, garbage in every second one: no link ends, memory stays where it was."""
    group, main, standby = pair

    def resident(name):
        with open("/proc/%d/status" % main.child(name)) as f:
            return next(int(l.split()[1]) for l in f if l.startswith("VmRSS"))
    before = resident("netd")
    with Undisturbed(group, main, standby):
        def flood():
            for n in range(10000):
                s = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
                s.settimeout(LONG_S)
                try:
                    s.connect((address(group, main), PORT))
                    if n % 2:
                        s.sendall(b"\0" * 64)
                except (ConnectionError, socket.timeout):
                    pass
                finally:
                    s.close()
        net.in_namespace(group.network.switch, flood)
    wait_for(lambda: counters(main)["rate-limited"] > 0, lambda: counters(main))
    assert resident("netd") - before < 4096


def test_refusals_are_counted_since_the_start_of_netd(pair):
    """What status says of them names that start, and is right after a restart too."""
    group, main, standby = pair

    def refuse():
        """One more, and what status says then."""
        with connect(group, main) as sock:
            try:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            except ConnectionError:
                pass  # one of too many at once
            ended(sock)
        return counted()

    def counted():
        return re.search(r"^refused since netd started, (\S+) ago: (?:.*, )?bad-hello (\d+)", main.tool("status").stdout, re.M)

    wait_for(lambda: int((refuse() or [0] * 3)[2]) >= 2, lambda: main.tool("status").stdout)
    main.expect_log("netd.* ended")
    sessions = group.sessions()
    main.kill_child("netd")
    group.wait_links(since=sessions)
    assert not counted()
    wait_for(refuse, lambda: main.tool("status").stdout)
