# SPDX-License-Identifier: ISC
"""syncd and the whole guard are killed at random moments, also while they start, while programs write: every
acknowledged change is there afterwards, and nothing is half applied.

BULKHEAD_TEST_LONG=1: 500 kills of a server, 60 in a pair. BULKHEAD_KILL_SEED=N draws the moments again.
"""
import os
import random
import signal
import threading
import time

import pytest
import redis

import bulkhead
from bulkhead import wait_for
from test_data import LONG, begin, connect, wait_following

# The last is a defect of python3-redis: it looks for the host of a Unix socket when one ends.
LOST = (redis.exceptions.RedisError, OSError, AttributeError)
LARGE = 100000  # bytes of the value that does not fit one write


class Client(threading.Thread):
    """Writes in four ways without end, and notes what was acknowledged and what was tried."""

    def __init__(self, servers, name):
        super().__init__(daemon=True)
        self.servers, self.name_, self.stopping = servers, name, False
        self.single, self.checked = [], 0      # acknowledged keys; that many were looked at
        self.acked = {"x": 0, "b": 0, "c": 0}  # the newest of each kind
        self.tried = {"x": 0, "b": 0, "c": 0}
        self.start()

    def one(self, client, n):
        me = self.name_
        kind = n % 4
        if kind == 0:
            client.set("s:%s:%d" % (me, n), n)
            self.single.append(n)
        elif kind == 1:
            self.tried["x"] = n
            with client.pipeline(transaction=True) as p:
                p.set("x:" + me, n).hset("h:" + me, "f", n).set("y:" + me, n)
                p.execute()
            self.acked["x"] = n
        elif kind == 2:
            self.tried["c"] += 1
            client.incr("c:" + me)
            self.acked["c"] += 1
        else:
            self.tried["b"] = n
            client.set("b:" + me, (b"%d " % n) * (LARGE // len(b"%d " % n)))
            self.acked["b"] = n

    def run(self):
        client, n, server = None, 0, 0
        while not self.stopping:
            n += 1
            try:
                if client is None:
                    server += 1
                    client = connect(self.servers[server % len(self.servers)])
                self.one(client, n)
            except LOST:
                client = None
                time.sleep(0.002)  # the socket of a server that is down refuses at once

    def stop(self):
        self.stopping = True
        self.join(30)
        assert not self.is_alive()

    def total(self):
        return len(self.single) + self.acked["c"]

    def check(self, client, again=False):
        """What is there is what was acknowledged, or tried since."""
        me, low = self.name_, dict(self.acked)
        if again:
            self.checked = 0
        singles = self.single[self.checked:]
        with client.pipeline(transaction=True) as p:
            x, h, y, c, b = p.get("x:" + me).hget("h:" + me, "f").get("y:" + me).get("c:" + me).get("b:" + me).execute()
        assert x == h == y, "half a transaction"
        assert low["x"] <= int(x or 0) <= self.tried["x"]
        assert low["c"] <= int(c or 0) <= self.tried["c"]
        if b or low["b"]:
            n = int(b.split(b" ", 1)[0])
            assert b == (b"%d " % n) * (LARGE // len(b"%d " % n)), "half a value"
            assert low["b"] <= n <= self.tried["b"]
        for start in range(0, len(singles), 1000):
            part = singles[start:start + 1000]
            values = client.mget(["s:%s:%d" % (me, n) for n in part])
            assert [n for n, v in zip(part, values) if v != b"%d" % n] == [], "acknowledged and gone"
        self.checked += len(singles)


def check_when_up(server, clients, again=False):
    def served():
        try:
            client = connect(server)
            client.ping()
            return client
        except LOST:
            return None
    client = wait_for(served, "syncd serves")
    for c in clients:
        c.check(client, again)


def draw():
    seed = int(os.environ.get("BULKHEAD_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
    print("BULKHEAD_KILL_SEED=%d" % seed)
    return random.Random(seed)


def wait_progress(clients):
    assert all(c.is_alive() for c in clients)
    at = sum(c.total() for c in clients)
    wait_for(lambda: sum(c.total() for c in clients) > at, "a write is acknowledged")


def test_killed_at_random_moments(make_group):
    group, rng = make_group(("alpha",)), draw()
    server = group["alpha"]
    server.expect_log(r"fatal|violat")  # a child that finds its peers dead may say so
    group.start()
    group.wait_role(server, "main")
    wait_for(lambda: server.tool("init").returncode == 0, lambda: server.tool("init").stderr)
    clients = [Client([server], name) for name in "abc"]
    wait_progress(clients)
    kills, wanted, began = {"syncd": 0, "guard": 0}, 500 if LONG else 20, time.monotonic()
    while sum(kills.values()) < wanted:
        # few of syncd in one life of the guard: the delays of its restarts grow
        for _ in range(rng.randrange(3)):
            if rng.random() < 0.5:
                check_when_up(server, clients)
                wait_progress(clients)
            time.sleep(rng.uniform(0, 0.05))
            pid = server.child("syncd")
            if pid:
                os.kill(pid, signal.SIGKILL)
                kills["syncd"] += 1
                wait_for(lambda: server.child("syncd") != pid, "it is gone")
        if rng.random() < 0.6:
            check_when_up(server, clients)
            wait_progress(clients)
        time.sleep(rng.uniform(0, 0.1))
        server.kill(mute=rng.random() < 0.5)
        kills["guard"] += 1
        server.start()
    group.wait_role(server, "main")
    wait_for(lambda: all(c.single and c.acked["c"] for c in clients), "each has written in each way")
    for c in clients:
        c.stop()
    check_when_up(server, clients, again=True)
    bulkhead.record("kills", {"kills": kills, "acknowledged": sum(c.total() for c in clients),
                              "seconds": round(time.monotonic() - began)})


@pytest.mark.parametrize("what", ["guard", "syncd"])
def test_killed_in_a_pair(make_group, what):
    """In sync mode either server may be killed at any time: what was acknowledged is on both."""
    group, rng = make_group(options={"sync.mode": "sync"}), draw()
    group.start()
    main, standby = group.wait_pair()
    begin(group, main)
    servers = [main, standby]
    clients = [Client(servers, name) for name in "ab"]
    for s in servers:
        s.expect_log(r"fatal|violat")
    for _ in range((60 if LONG else 4) // 2):
        wait_progress(clients)
        time.sleep(rng.uniform(0, 0.1))
        victim = rng.choice(servers)
        if what == "guard":
            victim.kill(mute=rng.random() < 0.5)
            victim.start()
        else:
            victim.kill_child("syncd")
        main, _ = group.wait_pair()
        check_when_up(main, clients)
    wait_progress(clients)
    for c in clients:
        c.stop()
    main, standby = group.wait_pair()
    wait_following(group, main)
    for s in (main, standby):
        check_when_up(s, clients, again=True)
