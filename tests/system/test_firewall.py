# SPDX-License-Identifier: ISC
"""Rules that `bulkheadctl firewall` prints, loaded in the namespaces: what passes, what does not."""
import socket

import pytest

import net
from bulkhead import LONG_S, wait_for

PORT = 5481


def connects(group, source, address, port, limit_s=0.4):
    """What comes of a TCP connection from the namespace of source: "open", "refused" by the host, None when
    nothing comes back."""
    def attempt():
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        s.settimeout(limit_s)
        try:
            s.connect((address, port))
            return "open"
        except ConnectionRefusedError:
            return "refused"
        except (TimeoutError, OSError):
            return None
        finally:
            s.close()
    return net.in_namespace(source, attempt)


def is_open(group, source, address, port):
    return connects(group, source, address, port, LONG_S) == "open"


def pings(source, address):
    p = net.run("nsenter", "--net=%s/%s" % (net.NETNS_DIR, source), "ping", "-n", "-c", "2", "-i", "0.2", "-W", "1",
                address, check=False)
    return " 0% packet loss" in p


def load(group):
    """Every server loads its own rules, with a default of drop for all that they do not allow."""
    for s in group:
        rules = s.tool("firewall", "--strict", check=True).stdout
        group.network.firewall(s.name, rules)


@pytest.mark.parametrize("family", [4, 6])
def test_pair(make_group, family):
    group = make_group(family=family)
    group.start()
    main, standby = group.wait_pair()
    load(group)
    epoch = main.epoch()
    # links made before and after the rules were loaded work
    main.expect_log(r"killed|ended")
    before = group.sessions()
    main.kill_child("netd")
    group.wait_links(since=before)
    group.roles_hold({main: "main", standby: "standby"}, 1)
    assert main.epoch() == epoch
    here, there = group.network.ns[standby.name], group.network.address(main.name)
    assert is_open(group, here, there, PORT)
    # neither another port, nor another source
    assert connects(group, here, there, PORT + 1) is None
    assert connects(group, group.network.switch, there, PORT) is None
    # a partner may ping, and the reference hosts are reached
    for address in (there, group.network.references()[0]):
        wait_for(lambda: pings(here, address), "%s answers" % address)


def test_dmz(make_group):
    """A6: the DMZ server opens nothing; the others open status links and ICMP to it."""
    group = make_group(["alpha", "beta", "delta"], kinds={"delta": "dmz"})
    group.start()
    alpha, beta, delta = group
    wait_for(lambda: all(s.role() for s in group), group.report)
    load(group)
    wait_for(lambda: len(group.mains()) == 1 and delta.role() == "dmz"
             and len(delta.links(state="up", inbound=True)) == 2, group.report)
    assert not delta.links(inbound=False), "a DMZ server dials nobody"
    ns, address = group.network.ns, group.network.address
    # towards it: links and ping
    assert is_open(group, ns["alpha"], address("delta"), PORT)
    wait_for(lambda: pings(ns["alpha"], address("delta")), "it answers")
    # from it: nothing at all, to nobody, on no port
    for name in ("alpha", "beta"):
        assert connects(group, ns["delta"], address(name), PORT) is None
        assert connects(group, ns["delta"], address(name), 22) is None
        assert not pings(ns["delta"], address(name))
    # and the others would not let it in, even if its own rules were gone
    group.network.firewall("delta", "")
    for name in ("alpha", "beta"):
        assert connects(group, ns["delta"], address(name), PORT) is None
        assert not pings(ns["delta"], address(name))
    group.roles_hold({s: s.role() for s in group}, 1)


def test_dmz_sends_nothing_first(make_group):
    """Even without a firewall: no SYN and no echo request leaves a DMZ server."""
    group = make_group(["alpha", "beta", "delta"], kinds={"delta": "dmz"})
    alpha, beta, delta = group
    net.run(*delta.inside(), "nft", "-f", "-", stdin="""table inet watch {
 chain out { type filter hook output priority 0
  tcp flags & (syn | ack) == syn counter
  icmp type echo-request counter
  icmpv6 type echo-request counter
 }
}
""")
    group.start()
    wait_for(lambda: len(group.mains()) == 1 and delta.role() == "dmz", group.report)
    group.roles_hold({s: s.role() for s in group}, 2)
    shown = net.run(*delta.inside(), "nft", "list", "table", "inet", "watch")
    assert shown.count("packets 0 bytes 0") == 3, shown


def test_ports(pair):
    """A8: the port table of the running config."""
    group, main, standby = pair
    text = main.tool("ports", check=True).stdout
    assert "5481" in text and "tcp" in text.lower() and "icmp" in text.lower()
    rows = main.json("ports")["ports"]
    assert any(r.get("port") in (5481, "5481") for r in rows)
