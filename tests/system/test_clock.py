# SPDX-License-Identifier: ISC
"""The wall clock steps by a year: no decision may change."""
import subprocess

import pytest

import wallclock
from bulkhead import CHILDREN, CTL, DAEMON, LIBEXEC, wait_for

YEAR_S = 365 * 86400
pytestmark = pytest.mark.skipif(not wallclock.can_step(), reason="steps the clock of x86-64 processes only")


@pytest.mark.parametrize("where", ["main", "standby", "both"])
@pytest.mark.parametrize("sign", [1, -1])
def test_step(pair, where, sign):
    group, main, standby = pair
    stepped = {"main": [main], "standby": [standby], "both": [main, standby]}[where]
    before = {s: (s.own(), s.role_hooks(), [l["sessions"] for l in s.links()]) for s in group}
    for s in stepped:
        wallclock.step(s.pids(), sign * YEAR_S)
    for s in stepped:  # it worked: the wall clock that the daemon shows is elsewhere
        wait_for(lambda: abs(s.own()["wall_ms"] - before[s][0]["wall_ms"] - sign * YEAR_S * 1000) < 86400e3,
                 "the clock of %s is stepped" % s.name)
    group.roles_hold({main: "main", standby: "standby"}, 2)
    for s in group:
        own, hooks, sessions = before[s]
        assert s.own()["epoch"] == own["epoch"] and s.role_hooks() == hooks
        assert [l["sessions"] for l in s.links()] == sessions, "a link was lost"
    main.kill()
    group.wait_main_hook(standby)
    group.wait_role(standby, "main")


def test_no_other_wall_clock():
    """The step above reaches every wall clock that the programs can read."""
    import os
    programs = [DAEMON] + [os.path.join(LIBEXEC, n) for n in CHILDREN]
    for program in programs:
        symbols = subprocess.run(["nm", "-D", "--undefined-only", program], text=True,
                                 capture_output=True, check=True).stdout
        names = {line.split()[-1].split("@")[0] for line in symbols.splitlines()}
        assert not names & {"time", "gettimeofday", "ftime", "timespec_get", "timerfd_create"}, program
