# SPDX-License-Identifier: ISC
"""Who may use the data socket, and who may only read: real connections of other users, and reloads."""
import os
import re
import socket

import pytest
import redis

import bulkhead
from bulkhead import wait_for
from test_data import connect, data_socket, pool, wait_following, with_data

MEMBER, READER, OTHER, GROUP = 61100, 61101, 61102, 61110


def socket_as(path, uid, gid):
    """A connection that was made by that user, in a process of his; errors are raised here."""
    here, there = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            s = data_socket(path, None)
            socket.send_fds(there, [b"+"], [s.fileno()])
        except OSError as e:
            there.send(b"%d" % e.errno)
        finally:
            os._exit(0)
    there.close()
    with here:
        text, fds, _, _ = socket.recv_fds(here, 16, 1)
    os.waitpid(pid, 0)
    if not fds:
        number = int(text)
        raise OSError(number, os.strerror(number))
    return socket.socket(fileno=fds[0])


class ConnectionAs(redis.connection.UnixDomainSocketConnection):
    """As of the stock client, but connected by another user."""

    def __init__(self, uid, gid, **kw):
        super().__init__(**kw)
        self.uid, self.gid = uid, gid

    def _connect(self):
        s = socket_as(self.path, self.uid, self.gid)
        s.settimeout(self.socket_timeout)
        return s


def client_as(server, uid, gid=None):
    return redis.Redis(connection_pool=pool(server, ConnectionAs, uid=uid, gid=uid if gid is None else gid,
                                            max_connections=1))


def who_gets_in(server):
    """Which of root, a member of the group, and another user can connect and read."""
    found = set()
    for name, uid, gid in (("root", 0, 0), ("member", MEMBER, GROUP), ("other", OTHER, OTHER)):
        try:
            client_as(server, uid, gid).get("x")
            found.add(name)
        except redis.exceptions.ConnectionError as e:
            assert "13" in str(e) or "denied" in str(e), e
    return found


def reload(group, server):
    server.write_config()
    server.tool("reload", check=True)


def test_mode_and_group(make_group):
    """Root only, a group, everybody: from the start and by a reload; who is in stays in."""
    group, main, standby = with_data(make_group(options={"data.socket-group": str(GROUP)}))
    assert who_gets_in(main) == {"root", "member"}
    member = client_as(main, MEMBER, GROUP)
    assert member.set("x", "1")
    path = os.path.join(main.run, "data.sock")
    for mode, number, found in (("0600", GROUP, {"root"}), ("0666", GROUP, {"root", "member", "other"}),
                                ("0660", OTHER, {"root", "other"}), ("0660", GROUP, {"root", "member"})):
        main.options.setdefault("data", {}).update({"socket-mode": mode, "socket-group": str(number)})
        reload(group, main)
        st = os.stat(path)
        assert (st.st_mode & 0o7777, st.st_uid, st.st_gid) == (int(mode, 8), 0, number)
        assert who_gets_in(main) == found
        assert member.set("x", mode)  # a connection that is open stays
    main.options["data"]["socket-mode"] = "0600"
    reload(group, main)
    pid = main.child("syncd")
    os.kill(pid, 9)  # the socket of the next one is as the configuration of now says
    wait_for(lambda: main.child("syncd") not in (None, pid), "syncd is back")
    wait_for(lambda: who_gets_in(main) == {"root"}, "root's alone")
    with pytest.raises(redis.exceptions.ConnectionError):
        member.get("x")
    # what opens more than it should is refused
    main.options["data"]["socket-mode"] = "0777"
    main.write_config()
    main.expect_log(r"reload refused|socket-mode")
    refused = main.tool("reload")
    assert refused.returncode == 1 and "0600, 0660, 0666" in refused.stderr
    assert os.stat(path).st_mode & 0o7777 == 0o600


def assert_reads_only(client):
    for command in (("SET", "x", "2"), ("DEL", "x"), ("HSET", "h", "f", "v"), ("EXPIRE", "x", "10"), ("INCR", "n"),
                    ("RENAME", "x", "y"), ("FLUSHALL",), ("FLUSHDB",), ("GETDEL", "x")):
        with pytest.raises(redis.exceptions.ResponseError, match="may only read"):
            client.execute_command(*command)
    with client.pipeline(transaction=True) as p:
        p.get("x").set("x", "2")
        with pytest.raises(redis.exceptions.ResponseError, match="may only read"):
            p.execute()
    with client.pipeline(transaction=True) as p:
        p.get("x").strlen("x")
        assert p.execute() == [b"1", 1]
    assert client.get("x") == b"1" and client.hgetall("h") == {}
    assert client.wait(0, 100) >= 0


def test_readers(make_group):
    """A user who may only read, on main and on a standby; a reload is in force for open connections, too."""
    group, main, standby = with_data(make_group(
        options={"data.socket-mode": "0666", "data.read-only": '{"%d"}' % READER, "data.flush": "true"}))
    connect(main).set("x", "1")
    wait_following(group, main)
    for server in (main, standby):
        reader, other = client_as(server, READER), client_as(server, OTHER)
        assert_reads_only(reader)
        assert other.set("y", "1") and other.wait(1, 60000) == 1
        server.options.setdefault("data", {})["read-only"] = '{"%d", "0"}' % OTHER
        reload(group, server)
        assert reader.set("y", "2")
        assert_reads_only(other)
        assert_reads_only(connect(server))  # root can be named, too
        server.options["data"]["read-only"] = None
        reload(group, server)
        assert other.set("y", "3") and connect(server).delete("y") == 1
    # what was queued before the reload is refused as a whole
    s = socket_as(os.path.join(main.run, "data.sock"), READER, READER)
    with s:
        s.settimeout(bulkhead.LONG_S)
        s.sendall(b"MULTI\r\nSET x 2\r\n")
        answer = b""
        while not answer.endswith(b"+QUEUED\r\n"):
            answer += s.recv(100)
        main.options["data"]["read-only"] = '{"%d"}' % READER
        reload(group, main)
        s.sendall(b"EXEC\r\n")
        assert s.recv(200).startswith(b"-EXECABORT Transaction discarded because of: NOPERM")
    assert connect(main).get("x") == b"1"
    # who connected is in the log
    wait_for(lambda: re.search(r"app connected: uid (%d|%d|0), pid \d+" % (READER, OTHER), main.log()), "the log has it")
