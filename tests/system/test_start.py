# SPDX-License-Identifier: ISC
"""Starts: together, alone, in turn."""
import pytest

from bulkhead import holds, wait_for

ROUNDS = 50
PART = 10  # rounds of one test, so that parallel workers share them


@pytest.mark.parametrize("part", range(ROUNDS // PART))
def test_together(make_group, part):
    """Both started at the same time, again and again: exactly one main each time."""
    group = make_group(options={"arbitration.join": "600ms"})
    for i in range(PART):
        group.start()
        main, standby = group.wait_pair()
        assert [s.role() for s in group].count("main") == 1
        runs = [h for s in group for h in s.hooks_as("main") if h.boot_ns / 1e9 >= s.started_s]
        assert len(runs) == 1, "round %d: hooks %s" % (i + 1, runs)
        # leave in a different way each time
        if i % 3 == 0:
            for s in group:
                s.kill()
        else:
            for s in ((main, standby) if i % 3 == 1 else (standby, main)):
                s.stop()


def test_alone_waits_for_partner(make_group):
    """The first start ever, alone: it cannot know, waits, and says for whom."""
    group = make_group()
    group.start("alpha")
    alpha = group["alpha"]
    wait_for(lambda: "join-wait-partner" in [e["rule"] for e in alpha.events()], group.report)
    assert "beta" in alpha.own()["note"]
    group.roles_hold({alpha: "standby"}, 2)
    group.start("beta")
    group.wait_pair()


def test_alone_after_clean_stop_as_last_main(make_group):
    """It was the last main, stopped in order after its partner had left: it may start alone."""
    group = make_group()
    group.start()
    main, standby = group.wait_pair()
    standby.stop()
    wait_for(lambda: main.view(standby).get("verdict") == "stopped", group.report)
    main.stop()
    main.start()
    group.wait_role(main, "main")
    assert main.hook_as("main", 1).env["BULKHEAD_REASON"] == "lone-start"


def test_late_partner_does_not_disturb(make_group):
    """A server that starts later follows the main that is there, whatever its priority."""
    group = make_group()
    group.start()
    main, standby = group.wait_pair()
    main.stop()
    group.wait_role(standby, "main")
    epoch = standby.epoch()
    main.start()
    group.wait_pair()
    assert standby.role() == "main" and standby.epoch() == epoch


def test_highest_priority_first(make_group):
    group = make_group()
    group.start()
    main, _ = group.wait_pair()
    assert main.name == "alpha"


def test_triple_with_permanent(make_group):
    """Three standard servers and a permanent one: one main, takeovers until one is left."""
    group = make_group(["alpha", "beta", "gamma", "delta"], kinds={"delta": "permanent"})
    group.start()
    wait_for(lambda: len(group.mains()) == 1 and all(
        s.own().get("condition") == "ready" for s in group), group.report)
    first = group.mains()[0]
    assert group["delta"].role() == "permanent"
    first.kill()
    others = [s for s in group if s is not first and s.name != "delta"]
    second = wait_for(lambda: [s for s in others if s.role() == "main"], group.report)[0]
    holds(lambda: len(group.mains()) == 1 and second.role() == "main", group.report, 1.5)
    assert group["delta"].role() == "permanent"
