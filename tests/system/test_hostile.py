# SPDX-License-Identifier: ISC
"""Floods and forgeries while the guard has work to do: a takeover, a redial, a dead host to notice.

What a single bad connection gets is in test_protocol.py.
"""
import os
import random
import signal
import socket
import struct
import threading

import pytest

import net
from bulkhead import PATIENT, SCALE, wait_for
from test_protocol import Undisturbed, address, connect, counters

PORT = 5481
IDENTIFIER = 0xB500  # of our echo requests, plus the slot of the target; no secret


class Flood:
    """Something that a thread in a namespace does over and over while this is open."""

    def __init__(self, namespace, step):
        self.over, self.steps = threading.Event(), 0
        self.thread = threading.Thread(target=lambda: net.in_namespace(namespace, self.run))
        self.step = step

    def run(self):
        while not self.over.is_set():
            self.step()
            self.steps += 1

    def __enter__(self):
        self.thread.start()
        wait_for(lambda: self.steps >= 3, "the flood has begun")
        return self

    def __exit__(self, kind, value, trace):
        self.over.set()
        self.thread.join()


def connections(group, *servers, held=200):
    """A step that makes connections to the servers and keeps the newest of them open."""
    sockets = []

    def step():
        for server in servers:
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            s.setblocking(False)
            s.connect_ex((address(group, server), PORT))
            sockets.append(s)
        while len(sockets) > held:
            sockets.pop(0).close()
    return step


def checksum(data):
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


def ip_packet(source, target, protocol, payload):
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def icmp(kind, code, rest):
    data = struct.pack(">BBH", kind, code, 0) + rest
    return data[:2] + struct.pack(">H", checksum(data)) + data[4:]


def raw_socket():
    """Sends packets as they are, whatever source they name."""
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return s


def links_up(server, count):
    return len(server.links(state="up")) == count


def test_takeover_during_flood(make_group):
    """Both are flooded when main's guard is killed: proof still comes through."""
    group = make_group(options=PATIENT)
    group.start()
    main, standby = group.wait_pair()
    with Flood(group.network.switch, connections(group, main, standby)):
        main.kill(mute=True)
        group.wait_proof(standby, "takeover-program-dead", "takeover-guard-dead")


def test_flood_changes_nothing(pair):
    group, main, standby = pair
    with Undisturbed(group, main, standby) as good:
        with Flood(group.network.switch, connections(group, main, standby)) as flood:
            wait_for(lambda: flood.steps > 3000, "the flood lasts", 60 * SCALE)
            wait_for(lambda: sum(counters(main)[n] for n in ("slots-full", "rate-limited")) > 1000,
                     lambda: counters(main))
            good.check()


def test_flood_from_a_partner(make_group):
    """A partner's host is in other hands: the other partner still gets in, both ways."""
    group = make_group(("alpha", "beta", "gamma"), kinds={"gamma": "permanent"})
    group.start()
    group.wait_pair()
    main = group.mains()[0]
    other = group["beta"] if main is group["alpha"] else group["alpha"]
    with Flood(group.network.ns["gamma"], connections(group, main, other)):
        before = group.sessions()
        other.kill_child("netd")
        group.wait_links(main, other, since=before)
        group.wait_links()
        group.roles_hold({main: "main", other: "standby"}, 1)


def test_syn_flood(pair):
    """Connections that never get beyond the first packet, from addresses that nobody has."""
    group, main, standby = pair
    sender = net.in_namespace(group.network.switch, raw_socket)
    target = address(group, main)

    def step():
        source = "10.%d.%d.%d" % tuple(random.randrange(1, 250) for _ in range(3))
        head = struct.pack(">HHIIBBHHH", random.randrange(1024, 65536), PORT,
                           random.randrange(1 << 32), 0, 0x50, 2, 65535, 0, 0)
        pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack(">HH", 6, len(head))
        head = head[:16] + struct.pack(">H", checksum(pseudo + head)) + head[18:]
        try:
            sender.sendto(ip_packet(source, target, 6, head), (target, 0))
        except OSError:
            pass
    with sender, Flood(group.network.switch, step) as flood:
        wait_for(lambda: flood.steps > 5000, "the flood lasts", 60 * SCALE)
        before = group.sessions()
        standby.kill_child("netd")
        group.wait_links(since=before)
        group.roles_hold({main: "main", standby: "standby"}, 0.5)


def test_forged_echo_replies(pair):
    """A dead main whose address goes on answering ping, as far as one can without our requests."""
    group, main, standby = pair
    sender = net.in_namespace(group.network.switch, raw_socket)
    source, target = address(group, main), address(group, standby)
    packets = [ip_packet(source, target, 1, icmp(0, 0, struct.pack(
        ">HH", IDENTIFIER | slot, n) + b"bulkhead" + os.urandom(8)))
        for slot in range(4) for n in range(0, 600)]

    def step():
        for p in random.sample(packets, 200):
            try:
                sender.sendto(p, (target, 0))
            except OSError:
                pass
    with sender, Flood(group.network.switch, step):
        group.network.port_member(main.name, False)
        wait_for(lambda: standby.view(main).get("icmp") == "lost", group.report)
        group.wait_main_hook(standby)
        assert standby.hook_as("main").env["BULKHEAD_REASON"] == "takeover-unreachable"


def test_icmp_noise(pair):
    """Complaints about our own packets, replies cut short, changed, oversized: nobody minds."""
    group, main, standby = pair
    sender = net.in_namespace(group.network.switch, raw_socket)
    source, target = address(group, main), address(group, standby)
    echo = struct.pack(">HH", IDENTIFIER, 1) + b"bulkhead" + bytes(8)
    quoted = ip_packet(target, source, 1, icmp(8, 0, echo))[:28]
    noise = [icmp(3, code, bytes(4) + quoted) for code in range(16)]
    noise += [icmp(5, 1, socket.inet_aton("192.0.2.1") + quoted), icmp(11, 0, bytes(4) + quoted),
              icmp(12, 0, bytes(4) + quoted), icmp(0, 1, echo), icmp(0, 0, echo + bytes(1400))]
    noise += [icmp(0, 0, echo[:n]) for n in range(4, len(echo), 2)]
    packets = [ip_packet(source, target, 1, n) for n in noise]
    icmpd = standby.child("icmpd")

    def is_sent(packet):
        try:
            return sender.sendto(packet, (target, 0))
        except OSError:  # no room in a queue
            return 0
    with sender, Undisturbed(group, main, standby):
        for _ in range(50):
            for p in packets:
                wait_for(lambda: is_sent(p), "the packet is sent")
        wait_for(lambda: [standby.view(main).get(k) for k in ("verdict", "icmp")] == ["healthy", "ok"], group.report)
    assert standby.child("icmpd") == icmpd


@pytest.mark.parametrize("child", ["netd", "roled"])
def test_frozen_child_under_flood(pair, child):
    """A child that hangs while connections pour in is replaced, and the pair finds together again."""
    group, main, standby = pair
    with Flood(group.network.switch, connections(group, standby)):
        pid = standby.child(child)
        os.kill(pid, signal.SIGSTOP)
        standby.wait_child(child, pid)
        group.wait_links()
    group.roles_hold({main: "main", standby: "standby"}, 0.5)
    assert not standby.hooks_as("main")
