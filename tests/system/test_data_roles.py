# SPDX-License-Identifier: ISC
"""What a program hears on a connection that stays while its server becomes main, or is main no more."""
import os
import signal
import threading

import pytest
import redis

import bulkhead
from bulkhead import wait_for
from test_data import connect, data, leaving, wait_following, with_data  # noqa: F401 (data is a fixture)


@pytest.fixture
def synced(make_group):
    """A pair with data in mode sync: (group, main, standby)."""
    return with_data(make_group(options={"sync.mode": "sync"}))


def test_reads_behind_a_write_of_before(synced):
    """Mode sync: a program that wrote on main reads on, on a standby and on a main without one."""
    group, main, standby = synced
    client, other = connect(main), connect(standby)
    assert client.set("x", "1")
    group.switchover(main)
    assert client.get("x") == b"1"
    assert client.set("x", "2") and other.set("y", "1")
    assert client.get("y") is not None
    main.kill()
    assert other.get("x") == b"2"


def test_a_write_that_waits_when_the_role_goes(synced):
    """Mode sync: no standby has the change when main loses the role. Its program is not told that it is there when
    the server is main again and the standby has other changes by then; it cannot know, and its connection ends."""
    group, main, standby = synced
    client, answers = connect(main), []
    assert client.set("x", "1")
    os.kill(standby.child("syncd"), signal.SIGSTOP)

    def write():
        try:
            answers.append(client.set("x", "2"))
        except redis.exceptions.ConnectionError as e:
            answers.append(e)
    writes = threading.Thread(target=write, daemon=True)
    writes.start()
    wait_for(lambda: connect(main).get("x") == b"2", "it is done here")
    group.network.cable(main.name, False)
    wait_for(lambda: main.role() != "main", "the role goes")
    writes.join(bulkhead.LONG_S)
    assert len(answers) == 1 and isinstance(answers[0], redis.exceptions.ConnectionError), answers
    main.wait_log("not enough standbys are known to have its changes")
    os.kill(standby.child("syncd"), signal.SIGCONT)
    group.network.cable(main.name, True)
    main, _ = group.wait_pair()
    wait_following(group, main)
    assert connect(main).set("x", "3")


class Asks(threading.Thread):
    """One command on a connection of its own, in the background; its answer or its error is in answer."""

    def __init__(self, server, *command):
        super().__init__(daemon=True)
        self.client, self.command, self.answer = connect(server), command, None
        self.client.ping()
        self.start()

    def run(self):
        try:
            self.answer = self.client.execute_command(*self.command)
        except redis.exceptions.RedisError as e:
            self.answer = e

    def get(self):
        self.join(bulkhead.LONG_S)
        return self.answer


def wait_asked(server, **asked):
    """So many programs of that server wait for an answer of main: nobody else's last command may be one of these."""
    def found():
        last = [c["cmd"] for c in connect(server).client_list()]
        return {command: last.count(command) for command in asked}
    wait_for(lambda: found() == asked, lambda: "they ask: %s" % found())


def test_requests_behind_a_large_one(data):  # noqa: F811
    """What finds the link to main full goes out when there is room, not when the link comes up the next time."""
    _, main, standby = data
    pid = main.child("syncd")
    os.kill(pid, signal.SIGSTOP)
    try:
        asks = [Asks(standby, "SET", "large", b"x" * (32 << 20))]
        wait_asked(standby, set=1)
        asks += [Asks(standby, "INCR", "n") for _ in range(3)]
        wait_asked(standby, set=1, incr=3)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [a.get() for a in asks][0] is True and sorted(a.get() for a in asks[1:]) == [1, 2, 3]


def test_a_handover_that_is_given_up(data):  # noqa: F811
    """Writes wait for the next main; when this one stays it, they are executed here."""
    group, main, standby = data
    assert connect(main).incr("n") == 1
    os.kill(standby.child("syncd"), signal.SIGSTOP)
    assert connect(main).incr("n") == 2

    def given_up():
        return "did not get the last changes of the data in time" in main.tool("switchover").stderr
    switchover = threading.Thread(target=wait_for, args=(given_up, "it is begun and given up"), daemon=True)
    switchover.start()
    write = leaving(main)
    asks = Asks(main, "INCR", "n")
    switchover.join(bulkhead.LONG_S)
    os.kill(standby.child("syncd"), signal.SIGCONT)
    assert asks.get() == 3 and write.answer() == b"+OK" and main.role() == "main"


def test_a_program_of_a_third_server_during_a_handover(make_group):
    """Main takes nothing while it hands over: what a standby sends it then is executed by the next main, once."""
    group, main, _ = with_data(make_group(("alpha", "beta", "gamma"), options={"role.handover-timeout": "60s"}))
    target, third = [s for s in group if s is not main]
    assert connect(third).set("n", "1")
    wait_following(group, main)
    os.kill(target.child("syncd"), signal.SIGSTOP)
    assert connect(main).incr("n") == 2
    switchover = threading.Thread(target=group.switchover, args=(main, target), daemon=True)
    switchover.start()
    leaving(main)
    asks = [Asks(third, "INCR", "n"), Asks(third, "ACTION", "none", "x"), Asks(third, "INCR", "n")]
    wait_asked(third, incr=2, action=1)
    os.kill(target.child("syncd"), signal.SIGCONT)
    switchover.join(bulkhead.LONG_S)
    group.wait_role(target, "main")
    answers = [a.get() for a in asks]
    assert sorted([answers[0], answers[2]]) == [3, 4] and str(answers[1]).startswith("NOAPP"), answers
