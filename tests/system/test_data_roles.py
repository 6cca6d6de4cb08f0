# SPDX-License-Identifier: ISC
"""What a program hears on a connection that stays while its server becomes main, or is main no more."""
import os
import signal
import threading

import pytest
import redis

import bulkhead
from bulkhead import wait_for
from test_data import begin, connect, data, wait_following  # noqa: F401 (data is a fixture)


@pytest.fixture
def synced(make_group):
    """A pair with data in mode sync: (group, main, standby)."""
    g = make_group(options={"sync.mode": "sync"})
    g.start()
    main, standby = g.wait_pair()
    begin(g, main)
    return g, main, standby


def test_reads_behind_a_write_of_before(synced):
    """Mode sync: a program that wrote on main reads on, on a standby and on a main without one."""
    group, main, standby = synced
    client, other = connect(main), connect(standby)
    assert client.set("x", "1")
    main.tool("switchover", check=True)
    group.wait_role(standby, "main")
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
    writes.join(20)
    assert len(answers) == 1 and isinstance(answers[0], redis.exceptions.ConnectionError), answers
    assert "not enough standbys are known to have its changes" in main.log()
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


def wait_leaving(main):
    """Main has begun to hand over: its own programs wait."""
    def waits():
        client = redis.Redis(unix_socket_path=os.path.join(main.run, "data.sock"), socket_timeout=0.3)
        try:
            client.set("before", "1")
            return False
        except redis.exceptions.TimeoutError:
            return True
    wait_for(waits, "writes wait")


def wait_asked(server, n):
    """So many programs of that server wait for an answer of main."""
    command = ("incr", "set")
    wait_for(lambda: sum(c["cmd"] in command for c in connect(server).client_list()) >= n, "they ask")


def test_requests_behind_a_large_one(data):  # noqa: F811
    """What finds the link to main full goes out when there is room, not when the link comes up the next time."""
    _, main, standby = data
    pid = main.child("syncd")
    os.kill(pid, signal.SIGSTOP)
    try:
        asks = [Asks(standby, "SET", "large", b"x" * (32 << 20))]
        wait_asked(standby, 1)
        asks += [Asks(standby, "INCR", "n") for _ in range(3)]
        wait_asked(standby, 4)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [a.get() for a in asks][0] is True and sorted(a.get() for a in asks[1:]) == [1, 2, 3]


def test_a_handover_that_is_given_up(data):  # noqa: F811
    """Writes wait for the next main; when this one stays it, they are executed here."""
    group, main, standby = data
    assert connect(main).incr("n") == 1
    os.kill(standby.child("syncd"), signal.SIGSTOP)
    assert connect(main).incr("n") == 2
    switchover = threading.Thread(target=main.tool, args=("switchover",), daemon=True)
    switchover.start()
    wait_leaving(main)
    asks = Asks(main, "INCR", "n")
    switchover.join(bulkhead.LONG_S)
    os.kill(standby.child("syncd"), signal.SIGCONT)
    assert asks.get() == 3 and main.role() == "main"


def test_a_program_of_a_third_server_during_a_handover(make_group):
    """Main takes nothing while it hands over: what a standby sends it then is executed by the next main, once."""
    group = make_group(("alpha", "beta", "gamma"))
    group.start()
    main, _ = group.wait_pair()
    begin(group, main)
    target, third = [s for s in group if s is not main]
    assert connect(third).incr("n") == 1
    wait_following(group, main)
    os.kill(target.child("syncd"), signal.SIGSTOP)
    assert connect(main).incr("n") == 2
    switchover = threading.Thread(target=main.tool, args=("switchover", target.name), daemon=True)
    switchover.start()
    wait_leaving(main)
    asks = [Asks(third, "INCR", "n"), Asks(third, "ACTION", "none", "x"), Asks(third, "INCR", "n")]
    wait_asked(third, 2)
    os.kill(target.child("syncd"), signal.SIGCONT)
    switchover.join(bulkhead.LONG_S)
    group.wait_role(target, "main")
    answers = [a.get() for a in asks]
    assert sorted([answers[0], answers[2]]) == [3, 4] and str(answers[1]).startswith("NOAPP"), answers
