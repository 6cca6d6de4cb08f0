# SPDX-License-Identifier: ISC
"""Faults of the network: who takes over, who does not, and what they say about it."""
import pytest

from bulkhead import PATIENT, wait_for

PORT = 5481
ICMP = "meta l4proto { icmp, ipv6-icmp } th dport >= 0"
ECHO = ("icmp type { echo-request, echo-reply }", "icmpv6 type { echo-request, echo-reply }")
TCP_IN = "tcp dport %d" % PORT
TCP_BOTH = (TCP_IN, "tcp sport %d" % PORT)


def last_rule(server):
    """Rule that is in force on a server, by the newest decision or non-decision of its ledger."""
    decisions = [e for e in server.events() if e.get("decision")]
    return decisions[-1]["rule"] if decisions else None


def wait_rule(group, server, rule):
    wait_for(lambda: rule in [e["rule"] for e in server.events()],
             lambda: "%s says %s\n%s\n%s" % (server.name, rule, group.report(),
                                             [e["rule"] for e in server.events()]))


@pytest.mark.parametrize("fault", ["cable", "port_member"])
def test_main_cut_off(pair, fault):
    """Main loses its cable (or is in a black hole): it steps down before the standby takes over."""
    group, main, standby = pair
    getattr(group.network, fault)(main.name, False)
    taken = group.wait_main_hook(standby)
    assert standby.hook_as("main").env["BULKHEAD_REASON"] == "takeover-unreachable"
    left = wait_for(lambda: [h for h in main.hooks_as("standby") if h.env["BULKHEAD_REASON"] == "step-down-isolated"],
                    "main stepped down")
    assert left[0].boot_ns / 1e9 < taken, "two mains for a while"
    wait_for(lambda: main.own()["condition"] == "isolated", group.report)
    group.network.heal()
    assert group.wait_pair()[0] is standby
    group.roles_hold({main: "standby", standby: "main"}, 1.5)


@pytest.mark.parametrize("fault", ["cable", "port_member"])
def test_standby_cut_off(pair, fault):
    """The standby hears nobody: it is the isolated one, and says so; main stays main."""
    group, main, standby = pair
    getattr(group.network, fault)(standby.name, False)
    wait_for(lambda: standby.own()["condition"] == "isolated", group.report)
    wait_for(lambda: standby.view(main)["verdict"] == "isolated", group.report)
    wait_for(lambda: main.view(standby)["verdict"] == "unreachable", group.report)
    group.roles_hold({main: "main", standby: "standby"}, 2)
    group.network.heal()
    assert group.wait_pair()[0] is main


def test_both_cut_off(pair):
    """Partner and references are gone for both: nobody is main; after the heal one is again."""
    group, main, standby = pair
    for s in (main, standby):
        group.network.port_member(s.name, False)
    for s in (main, standby):  # the standby may have taken over before it was cut off, too
        group.wait_role(s, "standby")
        wait_for(lambda: s.own()["condition"] == "isolated", group.report)
    group.roles_hold({main: "standby", standby: "standby"}, 2)
    group.network.heal()
    group.wait_pair()


def test_icmp_blocked(pair):
    """No answer to ping, links up: a warning, nothing else."""
    group, main, standby = pair
    for s in (main, standby):
        group.network.drop(s.name, *ECHO)
    for s, other in ((main, standby), (standby, main)):
        wait_for(lambda: s.view(other)["verdict"] == "icmp-blocked", group.report)
    group.roles_hold({main: "main", standby: "standby"}, 2)
    group.network.heal()
    group.wait_pair()


@pytest.mark.parametrize("verdict", ["drop", "reject with tcp reset"])
def test_port_blocked(pair, verdict):
    """5481 blocked, ping answered: "offline", and a takeover when the confirm time is over."""
    group, main, standby = pair
    group.network.drop(main.name, *TCP_BOTH, verdict=verdict)
    group.wait_main_hook(standby)
    assert standby.hook_as("main").env["BULKHEAD_REASON"] == "takeover-offline"
    group.network.heal()
    group.wait_pair()


@pytest.mark.parametrize("verdict", ["drop", "reject with tcp reset"])
def test_port_blocked_confirm_never(make_group, verdict):
    """The same with confirm = never: an operator decides."""
    group = make_group(options={"arbitration.confirm": "never"})
    group.start()
    main, standby = group.wait_pair()
    group.network.drop(main.name, *TCP_BOTH, verdict=verdict)
    wait_for(lambda: standby.view(main)["verdict"] == "offline", group.report)
    wait_rule(group, standby, "wait-confirm-never")
    group.roles_hold({main: "main", standby: "standby"}, 3)
    standby.tool("promote", "--confirm", main.name, check=True)
    group.wait_role(standby, "main")
    group.network.heal()
    assert group.wait_pair()[0] is standby


def test_one_way_firewall(pair):
    """New connections to the standby are blocked: one of the two links is down and shows as such."""
    group, main, standby = pair
    group.network.drop(standby.name, TCP_IN)
    wait_for(lambda: [l["inbound"] for l in main.links(state="up")] == [True], group.report)
    wait_for(lambda: [l["inbound"] for l in standby.links(state="up")] == [False], group.report)
    group.roles_hold({main: "main", standby: "standby"}, 2)
    assert main.view(standby)["verdict"] == standby.view(main)["verdict"] == "healthy"
    group.network.heal()
    wait_for(lambda: len(main.links(state="up")) == 2, group.report)


def test_one_direction_dead(pair):
    """Nothing from main reaches the standby any more; after the heal one of them is main."""
    group, main, standby = pair
    group.network.drop(standby.name, "%s saddr %s" % ("ip", group.network.address(main.name)))
    group.wait_main_hook(standby)
    assert standby.hook_as("main").env["BULKHEAD_REASON"] == "takeover-unreachable"
    group.network.heal()
    new, old = group.wait_pair()
    group.roles_hold({new: "main", old: "standby"}, 1.5)
    # nobody was cut off from the references: two mains for a time, which both must have told
    wait_rule(group, old, "step-down-two-mains")


def test_loss_and_delay(make_group):
    """10 % loss and 50 ms delay: no role change with timings that allow for it."""
    group = make_group(forwarded=["alpha"], options={
        "status.interval": "100ms", "status.misses": "10", "icmp.interval": "100ms", "icmp.misses": "8",
        "status.dial-timeout": "1500ms", "status.hello-timeout": "3s", "arbitration.hold": "2s",
        "arbitration.step-down": "1500ms", "arbitration.confirm": "2s", "arbitration.join": "3s"})
    group.start()
    main, standby = group.wait_pair()
    wire = group.network.forwarder["alpha", 0]
    wire.delay_ms, wire.loss = 25, 0.10  # 50 ms there and back
    epoch = main.epoch()
    group.roles_hold({main: "main", standby: "standby"}, 15)
    assert main.epoch() == epoch
    seen = standby.view(main)
    assert seen["rtt_us"] > 40000 and standby.own()["condition"] == "ready"
    # and a real death is still seen through it
    main.kill()
    group.wait_main_hook(standby)


def test_ipv6_only(make_group):
    group = make_group(family=6, options=PATIENT)
    group.start()
    main, standby = group.wait_pair()
    assert all(":" in l["address"] for l in main.links(state="up"))
    main.kill(mute=True)
    group.wait_proof(standby, "takeover-program-dead")
    main.start()
    group.wait_pair()
    runs = len(main.hooks_as("main"))
    group.network.port_member(standby.name, False)
    group.wait_main_hook(main, runs + 1)


def test_two_paths(make_group):
    """Main path cut: the backup path carries on, roles stay; back to the main path by itself."""
    group = make_group(paths=2)
    group.start()
    main, standby = group.wait_pair()
    assert len(main.links(state="up")) == 4 and standby.view(main)["path"] == 0
    group.network.port_member(main.name, False, path=0)
    wait_for(lambda: standby.view(main).get("path") == 1 and main.view(standby).get("path") == 1, group.report)
    group.roles_hold({main: "main", standby: "standby"}, 2)
    group.network.heal()
    wait_for(lambda: standby.view(main).get("path") == 0, group.report)
    wait_for(lambda: len(main.links(state="up")) == 4, group.report)
    # both paths cut
    group.network.port_member(main.name, False)
    group.wait_main_hook(standby)
    assert standby.hook_as("main").env["BULKHEAD_REASON"] == "takeover-unreachable"


def test_manual_mode_waits(make_group):
    """Without references silence proves nothing: the operator is asked."""
    group = make_group(references=False)
    group.start()
    main, standby = group.wait_pair()
    group.network.port_member(main.name, False)
    wait_rule(group, standby, "wait-operator")
    group.roles_hold({standby: "standby"}, 2)
    standby.tool("promote", "--confirm", main.name, check=True)
    group.wait_role(standby, "main")


def test_proof_works_in_manual_mode(make_group):
    group = make_group(references=False)
    group.start()
    main, standby = group.wait_pair()
    main.kill(mute=True)
    group.wait_proof(standby, "takeover-program-dead")


def test_promote_needs_the_name_of_the_old_main(make_group):
    """Three servers, main cut off, one standby dead: to name the dead standby says nothing about main."""
    group = make_group(["alpha", "beta", "gamma"], options={"arbitration.mode": "manual"})
    group.start()
    main, standby = group.wait_pair()
    third = [s for s in group if s not in (main, standby)][0]
    third.kill()
    group.network.port_member(main.name, False)
    wait_for(lambda: standby.view(main).get("verdict") == "unreachable"
             and standby.view(third).get("verdict") not in ("healthy", "suspect"), group.report)
    p = standby.tool("promote", "--confirm", third.name)
    assert p.returncode == 1 and main.name in p.stderr, p
    assert standby.role() == "standby"
    standby.tool("promote", "--confirm", main.name, check=True)
    group.wait_role(standby, "main")
