# SPDX-License-Identifier: ISC
"""What leaves a server, and what one generation of a child leaves to the next: with and without its filter."""
import os
import signal
import socket
import sys

import bulkhead
import net
from bulkhead import CHILDREN, wait_for
from capture import Capture
from test_breach import ELSEWHERE, add_elsewhere, all_up, issue, needs_filter, take_away

sys.path.insert(0, os.path.join(bulkhead.TOP, "tests", "breach"))
import facts  # noqa: E402

def send_strange(group, server):
    """What the capture has to see: another destination, a forged source, options."""
    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"x", (ELSEWHERE, 9))
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
            s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([7, 7, 4, 0, 0, 0, 0, 0]))
            s.sendto(bytes([8, 0, 0xf7, 0xff, 0, 0, 0, 0]), (group.network.references()[0], 0))
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
            header = bytes([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0]) + socket.inet_aton("203.0.113.1")
            s.sendto(header + socket.inet_aton(group.network.references()[0]) + bytes([8, 0, 0xf7, 0xff, 0, 0, 0, 0]),
                     (group.network.references()[0], 0))
    net.in_namespace(server.namespace, send)


def test_nothing_else_leaves(make_group):
    """From start to takeover and stop: the link port of partners, echo to targets, and nothing else."""
    group = make_group()
    add_elsewhere(group)
    captures = {s: Capture(group, s) for s in group}
    group.start()
    main, standby = group.wait_pair()
    main.kill()
    group.wait_role(standby, "main")
    standby.stop()
    for server, capture in captures.items():
        odd, frames = capture.odd()
        assert not odd, "%s: %s" % (server.name, odd)
        assert frames > 20
    seen, reasons = captures[standby], []
    send_strange(group, standby)

    def all_seen():
        reasons.extend(seen.odd()[0])
        return all(any(r.startswith(text) for r in reasons)
                   for text in ("protocol 17 ", "forged source: ", "IP options: "))
    wait_for(all_seen, lambda: "the capture sees what is strange: %s" % reasons)
    for capture in captures.values():
        capture.close()


@needs_filter
def test_icmpd_reaches_its_targets_only(pair):
    """A hijacked icmpd can send other ICMP messages, from this server's address, to its targets."""
    group, main, standby = pair
    capture = Capture(group, standby)
    assert issue(standby.child("icmpd"), "control_icmp_type")[0] == "through"
    odd = []
    wait_for(lambda: odd.extend(capture.odd()[0]) or odd, "the packet leaves")
    targets = set(group.network.references()) | set(group.network.addresses(main.name))
    assert len(odd) == 1 and odd[0].startswith("ICMP type 5: ") and odd[0].split()[-1] in targets, odd
    capture.close()


def inodes(pid):
    """What only one process may have had: sockets and pipes."""
    found = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            link = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except FileNotFoundError:
            continue
        if link.startswith(("socket:", "pipe:")):
            found.add(link)
    return found


def spoil(server, pids):
    """All that a child can do to its descriptors when no filter is there."""
    for name, attempts in {"netd": ("listener_own", "listener_async", "shutdown"),
                           "icmpd": ("socket_own", "socket_header_included", "socket_ip_options"),
                           "roled": ("admin_own", "admin_async", "admin_shutdown")}.items():
        for attempt in attempts:
            verdict, detail = issue(pids[name], attempt)
            assert verdict == "through", "%s: %s without a filter: %s %s" % (name, attempt, verdict, detail)
        bad = facts.check_sockets(name, pids[name])
        assert bad, "nothing is to be seen of what %s did to its sockets" % name


@needs_filter
def test_next_generation_has_nothing_of_the_old(make_group):
    """A hijacked generation, without its filter, spoils its sockets; the next one works, and shares none."""
    group = make_group()
    server = group["beta"]
    take_away(server, "seccomp")
    server.flags = ["--allow-degraded"]
    server.expect_log(r".")
    add_elsewhere(group)
    group.start()
    group.wait_pair()
    pids = {n: server.child(n) for n in CHILDREN}
    old = set().union(*map(inodes, pids.values()))
    capture = Capture(group, server)
    assert issue(pids["icmpd"], "socket_sendto_elsewhere")[0] == "through"
    odd = []
    wait_for(lambda: odd.extend(capture.odd()[0]) or any(r.endswith(ELSEWHERE) for r in odd), "it leaves: %s" % odd)
    spoil(server, pids)
    for name, pid in pids.items():
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: server.child(name) not in (None, pid), "%s is started again" % name)
    fresh = wait_for(lambda: all_up(server, pids), "all are ready")
    capture.odd()
    group.wait_pair()
    assert server.tool("status").returncode == 0
    for name in CHILDREN:
        pid = fresh[name]
        bad = facts.check_sockets(name, pid)
        assert not bad, "%s: %s" % (name, bad)
        both = old & inodes(pid)
        assert not both, "%s holds what the generation before it held: %s" % (name, both)
    assert not capture.odd()[0], "something strange still leaves"
    capture.close()
