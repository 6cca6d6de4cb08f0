# SPDX-License-Identifier: ISC
"""Actions: a program on any server asks, an app on main does it, once, and the ledger tells. Real daemons in
namespaces, python3-redis and redis-cli as the stock clients."""
import os
import re
import signal
import socket
import subprocess
import threading

import pytest
import redis

from bulkhead import LONG_S, wait_for
from test_data import connect, data, data_of, data_socket, pool, with_data  # noqa: F401 (data is a fixture)
from test_redis_compat import Client, encode

Error = redis.exceptions.ResponseError


class App(threading.Thread):
    """An app as a user would write it: a connection of its own that serves names and answers in order.
    do(name, payload) is the answer; None: it does not answer."""

    def __init__(self, server, *names, do=lambda name, payload: payload.upper()):
        super().__init__(daemon=True)
        self.seen, self.late, self.do = [], [], do
        self.connection = pool(server, timeout=None).get_connection("ACTION.SERVE")
        self.call("ACTION.SERVE", *names)
        self.start()

    def call(self, *args):
        self.connection.send_command(*args)
        return self.connection.read_response()

    def run(self):
        try:
            while True:
                try:
                    got = self.connection.read_response()
                except Error as e:
                    self.late.append(str(e))
                    continue
                if not isinstance(got, list):
                    continue
                assert got[0] == b"action" and len(got) == 7, got
                self.seen.append(got[1:])
                answer = self.do(got[1], got[3])
                if isinstance(answer, Exception):
                    self.connection.send_command("ACTION.FAIL", got[2], str(answer))
                elif answer is not None:
                    self.connection.send_command("ACTION.REPLY", got[2], answer)
        except (redis.exceptions.ConnectionError, OSError, ValueError, AttributeError):
            pass

    def payloads(self):
        return [s[2] for s in self.seen]

    def die(self):
        self.connection._sock.shutdown(socket.SHUT_RDWR)
        self.join(LONG_S)


class Ask(threading.Thread):
    """One action that somebody waits for."""

    def __init__(self, server, *args, client=None):
        super().__init__(daemon=True)
        self.client, self.args, self.answer, self.error = client or connect(server), args, None, None
        self.start()

    def run(self):
        try:
            self.answer = self.client.execute_command("ACTION", *self.args)
        except redis.exceptions.RedisError as e:
            self.error = e

    def result(self):
        self.join(LONG_S)
        assert not self.is_alive(), "no answer to %r" % (self.args,)
        return self.error if self.error is not None else self.answer


def act(server, *args):
    return connect(server).execute_command("ACTION", *args)


def audited(server, pattern, times=1):
    """Entries of the ledger about actions, whose text is like the pattern."""
    def found():
        return [e["text"] for e in server.events() if e["rule"] == "action" and re.search(pattern, e["text"])]
    wait_for(lambda: len(found()) >= times, lambda: "%d of %s in the ledger:\n%s"
             % (times, pattern, "\n".join(e["text"] for e in server.events()[-20:])))
    return found()


def actions_of(server):
    return data_of(server).get("actions", {})


def test_from_any_server(data):  # noqa: F811
    """Main and standby ask, in both versions of the protocol; the ledger of main has who, where, what, how."""
    group, main, standby = data
    app = App(main, "valve/1", "pump", do=lambda n, p: ValueError("stuck\nfast") if p == b"bad" else n + b":" + p)
    assert act(main, "valve/1", "open") == b"valve/1:open"
    assert act(standby, "pump", b"\x00\xff secret") == b"pump:\x00\xff secret"
    with pytest.raises(Error, match="FAILED stuck fast"):
        act(standby, "valve/1", "bad")
    with pytest.raises(Error, match="NOAPP .*not executed"):
        act(standby, "fan", "on")
    assert [(s[3], s[4]) for s in app.seen] == [(main.name.encode(), b"0"), (standby.name.encode(), b"0"),
                                                (standby.name.encode(), b"0")]
    assert {s[5] for s in app.seen} == {b"%d" % main.epoch()}
    # version 3: actions are pushes, apart from answers, so everything else goes on the same connection
    new = Client(os.path.join(main.run, "data.sock"))
    new.do("HELLO", 3)
    assert new.do("ACTION.SERVE", "three")[0] == b"+OK"
    ask = Ask(standby, "three", "x")
    push, raw = new.reply()
    assert raw.startswith(b">7\r\n") and push[:2] + push[3:5] == [b"action", b"three", b"x", standby.name.encode()]
    assert new.do("SET", "by", "app")[0] == b"+OK"
    assert new.do("ACTION.REPLY", push[2], "y")[0] == b"+OK" and ask.result() == b"y"
    pid = os.getpid()
    audited(main, r" valve/1, for uid 0 \(pid %d\) on %s: done by uid 0 \(pid %d\), after \d+ ms\."
            % (pid, main.name, pid))
    audited(main, r" pump, for uid 0 \(pid %d\) on %s: done by uid 0" % (pid, standby.name))
    audited(main, r" valve/1, for uid 0 \(pid %d\) on %s: failed by uid 0" % (pid, standby.name))
    audited(main, r" fan, for uid 0 \(pid %d\) on %s: not executed \(no app served it\), after" % (pid, standby.name))
    assert "secret" not in str(main.events()) + main.log()
    wait_for(lambda: actions_of(main) == {"names": 3, "apps": 2, "waiting": 0, "given": 0, "done": 3, "failed": 1,
                                          "unknown": 0, "refused": 1}, lambda: actions_of(main))
    assert "3 names served on 2 connections" in main.tool("data", check=True).stdout
    assert connect(main).info("actions")["actions_done"] == 3


def test_with_redis_cli(data):  # noqa: F811
    group, main, standby = data
    app = App(main, "lamp")
    for version in ("-2", "-3"):
        p = subprocess.run(["redis-cli", version, "-s", os.path.join(standby.run, "data.sock"), "ACTION", "lamp", "on",
                            "TIMEOUT", "60000"], text=True, capture_output=True, timeout=LONG_S)
        assert p.stdout.strip() == "ON", p
    p = subprocess.run(["redis-cli", "-s", os.path.join(main.run, "data.sock"), "ACTION", "door", "open"], text=True,
                       capture_output=True, timeout=LONG_S)
    assert p.stdout.startswith("NOAPP "), p
    assert app.payloads() == [b"on", b"on"]


def test_in_order_with_writes(data):  # noqa: F811
    """A pipeline on a standby: its writes and actions are answered in their order, each after the one before."""
    group, main, standby = data
    seen = []
    app = App(main, "step", do=lambda n, p: seen.append(connect(main).get("n")) or p)
    sock = data_socket(os.path.join(standby.run, "data.sock"), LONG_S)
    sock.sendall(b"".join(encode(("INCR", "n")) + encode(("ACTION", "step", "s%d" % i)) for i in range(20)))
    want = b"".join(b":%d\r\n$%d\r\ns%d\r\n" % (i + 1, len("s%d" % i), i) for i in range(20))
    got = b""
    while len(got) < len(want):
        more = sock.recv(65536)
        assert more, "it closed after %r" % got
        got += more
    assert got == want and seen == [b"%d" % (i + 1) for i in range(20)]
    assert app.payloads() == [b"s%d" % i for i in range(20)]


def test_two_apps_share(data):  # noqa: F811
    """Each action goes to one app; one that hangs is given no more than its share, and the others go on."""
    group, main, standby = data
    both = [App(main, "job"), App(main, "job")]
    asks = [Ask(standby if i % 2 else main, "job", "j%d" % i) for i in range(40)]
    assert sorted(a.result() for a in asks) == sorted(b"J%d" % i for i in range(40))
    assert sorted(both[0].payloads() + both[1].payloads()) == sorted(b"j%d" % i for i in range(40))
    assert both[0].seen and both[1].seen
    for app in both:
        app.die()
    stuck, good = App(main, "job", do=lambda n, p: None), App(main, "job")
    asks = [Ask(main, "job", "k%d" % i, "TIMEOUT", 60000) for i in range(60)]
    wait_for(lambda: sum(a.answer is not None for a in asks) + len(stuck.seen) == 60, "the others are answered")
    assert 0 < len(stuck.seen) <= 16
    stuck.die()
    results = [a.result() for a in asks]
    unknown = [str(r) for r in results if isinstance(r, Exception)]
    assert len(stuck.seen) == len(unknown) and all("UNKNOWN the app that had" in u for u in unknown)
    assert len(good.seen) == 60 - len(unknown)


def not_executed(server):
    """No app had it in time. Of a main that is slower than the grace of a second it is not known: asked again."""
    with pytest.raises(Error, match="TIMEOUT .*not executed|UNKNOWN time-out: main was asked") as told:
        act(server, "slow", "never", "TIMEOUT", 50)
    return "not executed" in str(told.value)


def test_times_and_deaths(data):  # noqa: F811
    """Not executed as long as no app has it, of unknown outcome from then on."""
    group, main, standby = data
    app = App(main, "slow", do=lambda n, p: None)
    for where in (main, standby):
        with pytest.raises(Error, match="UNKNOWN time-out"):
            act(where, "slow", "x", "TIMEOUT", 50)
    # its places fill up, and then nobody takes any more
    asks = [Ask(main, "slow", "fill", "TIMEOUT", 60000) for _ in range(14)]
    wait_for(lambda: len(app.seen) == 16, lambda: app.seen)
    for where in (main, standby):
        wait_for(lambda: not_executed(where), "it is told that it was not executed")
    waiting = [Ask(s, "slow", "never", "TIMEOUT", 60000) for s in group]
    wait_for(lambda: actions_of(main).get("waiting") == 2, lambda: actions_of(main))
    # a late answer is refused, and makes room for one more
    app.connection.send_command("ACTION.REPLY", app.seen[0][1], "late")
    wait_for(lambda: len(app.seen) == 17 and app.late, "the app is told, and given the next")
    assert "NOACTION the time" in app.late[0]
    app.die()
    ends = sorted(str(a.result()) for a in waiting)
    assert "NOAPP" in ends[0] and "UNKNOWN the app that had" in ends[1]
    assert all("UNKNOWN the app that had" in str(a.result()) for a in asks)
    audited(main, r"slow, for uid 0 .*outcome unknown \(no answer in time\)", 1)
    audited(main, r"slow, for uid 0 .*not executed \(no app had room in time\)", 1)
    audited(main, r"slow, for uid 0 .*outcome unknown \(the app ended\) by uid 0", 1)


def test_default_time_out_is_reloaded(make_group):
    """From an hour, longer than any client here waits, to no time at all."""
    group, main, standby = with_data(make_group(options={"data.action-timeout": "1h"}))
    app = App(main, "slow", do=lambda n, p: None)
    for s in group:
        s.options["data"] = {"action-timeout": "40ms"}
        s.write_config()
        s.tool("reload", check=True)
    for where in (main, standby):
        with pytest.raises(Error, match="UNKNOWN time-out"):
            act(where, "slow", "x")
    wait_for(lambda: len(app.seen) == 2, lambda: app.seen)


def test_switchover(data):  # noqa: F811
    """An app that serves on both servers is asked on the one that is main; callers notice no more than errors
    that say what happened, and nothing is done twice."""
    group, main, standby = data
    apps = {s.name: App(s, "count") for s in group}
    asked, stop = [], threading.Event()

    def ask(server, prefix):
        for n in range(10 ** 6):
            if stop.is_set():
                return
            payload = "%s%d" % (prefix, n)
            try:
                asked.append((payload, act(server, "count", payload)))
            except redis.exceptions.RedisError as e:
                asked.append((payload, e))

    threads = [threading.Thread(target=ask, args=(s, s.name), daemon=True) for s in group]
    for t in threads:
        t.start()
    for _ in range(4):
        n = len(asked)
        wait_for(lambda: len(asked) > n + 40, "actions")
        main, standby = group.switchover(main), main
    n = len(asked)
    wait_for(lambda: sum(not isinstance(r, Exception) for _, r in asked[n:]) > 20, lambda: asked[-5:])
    stop.set()
    for t in threads:
        t.join(LONG_S)
        assert not t.is_alive()
    done = [p.decode() for a in apps.values() for p in a.payloads()]
    assert len(done) == len(set(done)), "done twice"
    assert all(apps[s.name].seen for s in group)
    for payload, result in asked:
        if not isinstance(result, Exception):
            assert result == payload.upper().encode() and payload in done
        elif not str(result).startswith("UNKNOWN"):
            assert payload not in done, (payload, result)
        assert re.match("UNKNOWN|MASTERDOWN|NOAPP", str(result)) or not isinstance(result, Exception), result


def test_role_changes_in_the_middle(data):  # noqa: F811
    """What an app has when the role goes is of unknown outcome, and its late answer is refused."""
    group, main, standby = data
    app, there = App(main, "long", do=lambda n, p: None), App(standby, "long")
    asks = [Ask(s, "long", "x", "TIMEOUT", 60000) for s in group]
    wait_for(lambda: len(app.seen) == 2, "the app has both")
    group.switchover(main)
    assert all(str(a.result()).startswith("UNKNOWN") for a in asks), [a.result() for a in asks]
    app.connection.send_command("ACTION.REPLY", app.seen[0][1], "late")
    wait_for(lambda: app.late, "the app is told")
    wait_for(lambda: data_of(standby).get("role") == "main", "the other is main")
    assert act(main, "long", "y") == b"Y" and there.payloads() == [b"y"]
    audited(main, r"long.*outcome unknown \(this server ceased to be main\) by uid 0")


def test_main_is_killed(data):  # noqa: F811
    """The guard of main dies with actions under way: unknown, and never done again."""
    group, main, standby = data
    app, there = App(main, "long", do=lambda n, p: None), App(standby, "long")
    ask = Ask(standby, "long", "x", "TIMEOUT", 60000)
    wait_for(lambda: app.seen, "the app has it")
    main.kill()
    assert str(ask.result()).startswith("UNKNOWN the link to main ended")
    # asked while nobody is main: it waits for one
    assert act(standby, "long", "y", "TIMEOUT", 30000) == b"Y"
    assert standby.role() == "main"
    assert there.payloads() == [b"y"]


def test_at_most_once(data):  # noqa: F811
    """The links between the two die again and again under actions that count: nothing is counted twice, and what
    was answered was counted."""
    group, main, standby = data
    counts = {}

    def count(name, payload):
        counts[payload] = counts.get(payload, 0) + 1
        return payload

    App(main, "count", do=count)
    results, stop = {}, threading.Event()

    def ask():
        n = 0
        while not stop.is_set():
            n += 1
            payload = b"%d" % n
            try:
                results[payload] = act(standby, "count", payload, "TIMEOUT", 20000)
            except Error as e:
                results[payload] = e

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    for round_ in range(4):
        n = len(results)
        wait_for(lambda: len(results) > n + 20, "actions")
        for server, child in ((standby, "netd"), (main, "netd")):
            pid = server.child(child)
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: server.child(child) not in (None, pid), "%s is back" % child)
    n = len(results)
    wait_for(lambda: len(results) > n + 20, "actions")
    stop.set()
    thread.join(LONG_S)
    assert not thread.is_alive()
    assert set(counts.values()) == {1}
    for payload, result in results.items():
        if not isinstance(result, Exception):
            assert result == payload and payload in counts
        else:
            assert str(result).startswith("UNKNOWN") or payload not in counts, (payload, result)


def test_main_is_not_heard(data):  # noqa: F811
    """The cable is out: the one who asked is answered in time all the same, what comes of it later is no answer to
    anything else, and the link goes on."""
    group, main, standby = data
    heard = threading.Event()
    app = App(main, "echo", do=lambda n, p: (p != b"b" or heard.wait(LONG_S)) and p.upper())
    client = connect(standby, single_connection_client=True)
    assert client.execute_command("ACTION", "echo", "a") == b"A"
    ask = Ask(standby, "echo", "b", "TIMEOUT", 2000, client=client)
    wait_for(lambda: len(app.seen) == 2, "the app has it")
    group.network.cable(standby.name, False)
    assert str(ask.result()).startswith("UNKNOWN"), ask.result()
    heard.set()
    group.network.cable(standby.name, True)
    group.wait_pair()
    wait_for(lambda: "up" in (data_of(standby).get("stream"),), lambda: data_of(standby))
    for text in ("c", "d"):
        assert client.execute_command("ACTION", "echo", text, "TIMEOUT", 30000) == text.upper().encode()
    assert app.payloads() == [b"a", b"b", b"c", b"d"]


def test_flood(data):  # noqa: F811
    """More than there is room for: refused at once, answered all, and in the ledger as a few entries that count."""
    group, main, standby = data
    gate = threading.Event()
    app = App(main, "flood", do=lambda n, p: gate.wait(LONG_S) and p)
    # a flood that waits: one connection each
    asks = [Ask(standby, "flood", "w", "TIMEOUT", 60000) for _ in range(300)]
    wait_for(lambda: actions_of(main).get("waiting") == 256, lambda: actions_of(main))
    busy = wait_for(lambda: [a for a in asks if a.error is not None][27:], "those beyond are refused")
    assert busy
    assert connect(main).ping() and connect(main).set("x", 1)
    gate.set()
    results = [a.result() for a in asks]
    assert results.count(b"w") == 272 and sum("BUSY" in str(r) for r in results) == 28
    # a flood that is done at once
    client = connect(main)
    for _ in range(20):
        with client.pipeline(transaction=False) as p:
            for _ in range(100):
                p.execute_command("ACTION", "flood", "x")
            assert p.execute() == [b"x"] * 100
    wait_for(lambda: actions_of(main).get("done") == 2272, lambda: actions_of(main))
    entries = [e["text"] for e in main.events() if e["rule"] == "action"]
    assert 3 <= len(entries) <= 8, entries
    main.stop()  # what is not told yet is told at the end
    main.start()
    group.wait_pair()
    entries = [e["text"] for e in main.events() if e["rule"] == "action"]

    def total(pattern):
        return sum(int((re.search(r" (\d+) times", e) or [0, 1])[1]) for e in entries if re.search(pattern, e))
    assert total("flood.*: done by") == 2272 and total("flood.*too many waited") == 28, entries


def test_programs_come_and_go(data):  # noqa: F811
    """Main keeps nothing of programs of other servers that are gone: a thousand of them, and it takes more."""
    group, main, standby = data
    App(main, "x")
    for n in range(1100):
        client = connect(standby, single_connection_client=True)
        client.incr("n")
        if n % 100 == 0:
            assert client.execute_command("ACTION", "x", "a") == b"A"
        client.close()
    assert connect(main).get("n") == b"1100"
    wait_for(lambda: len(connect(main).client_list()) < 10, lambda: len(connect(main).client_list()))


def test_dmz(make_group):
    """A DMZ server neither asks nor serves."""
    group, main, _ = with_data(make_group(("alpha", "beta", "delta"), kinds={"delta": "dmz"}))
    app = App(main, "valve")
    with pytest.raises(redis.exceptions.ReadOnlyError, match="DMZ"):
        act(group["delta"], "valve", "open")
    with pytest.raises(redis.exceptions.ReadOnlyError, match="DMZ"):
        connect(group["delta"]).execute_command("ACTION.SERVE", "valve")
    assert act(main, "valve", "open") == b"OPEN" and app.payloads() == [b"open"]
