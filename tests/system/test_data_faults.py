# SPDX-License-Identifier: ISC
"""The disk under the data fails: calls of the running syncd are told an error (tests/breach/faults.py). What was
not taken is never acknowledged, neither then nor by a later try that seems to go well."""
import os
import platform
import signal

import pytest
import redis

import bulkhead
from bulkhead import wait_for
from late import Fault, SYS, learn, settled_child, wait_next
from test_breach import needs_filter
from test_data import Waiting, connect, data, data_of, wait_check, wait_following, with_data  # noqa: F401 (data is a fixture)
from test_late import not_busy

pytestmark = [needs_filter, pytest.mark.skipif(platform.machine() != "x86_64", reason="faults.py is for x86-64")]

EIO, ENOSPC = 5, 28


@pytest.fixture(scope="module", autouse=True)
def learned():
    learn()


def refused(server, words):
    """A write gets this error, and changes nothing."""
    before = connect(server).get("x")
    with pytest.raises(redis.exceptions.ResponseError, match=words):
        connect(server).set("x", "refused")
    return connect(server).get("x") == before


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_disk_of_main_fails(data, call):  # noqa: F811
    """After the first error no write is acknowledged, though the disk works again; the next syncd has what was."""
    group, main, standby = data
    connect(main).set("x", "before")
    wait_following(group, main)
    pid = settled_child(main, "syncd")
    with Fault("run", pid, "-", EIO, SYS[call]) as f:
        for _ in range(3):
            assert refused(main, "the disk does not take this change")
        f.until("refused")
    assert f.result["end"] == "lives", f.result
    for _ in range(3):  # fsync reports an error once: that it says nothing now means nothing
        assert refused(main, "the disk does not take this change")
    assert connect(main).get("x") == b"before" and main.child("syncd") == pid
    wait_check(main, 2, "The disk under the replicated data failed")
    assert "THE DISK FAILED" in main.tool("data").stdout
    not_busy(main)
    os.kill(pid, signal.SIGKILL)
    wait_next(main, "syncd", pid)
    wait_for(lambda: data_of(main).get("role") == "main", "it knows its role")
    assert connect(main).get("x") == b"before"
    connect(main).set("x", "after")
    wait_following(group, main)
    assert connect(standby).get("x") == b"after"
    wait_check(main, bulkhead.CHECK_OK)


def test_no_room_for_the_log(data):  # noqa: F811
    """Nothing is undone but what found no room, and writes go on once there is some."""
    group, main, standby = data
    connect(main).set("x", "before")
    pid = settled_child(main, "syncd")
    with Fault("run", pid, "-", ENOSPC, SYS["pwrite64"]) as f:
        assert refused(main, "no room for this change")
        f.until("refused")
    assert f.result["end"] == "lives", f.result
    assert connect(main).set("x", "after") and main.child("syncd") == pid
    wait_following(group, main)
    assert connect(standby).get("x") == b"after"


def test_disk_of_a_standby_fails(make_group):
    """In mode sync main's answer waits for a disk, and that of the standby is none any more."""
    group, main, standby = with_data(make_group(options={"sync.mode": "sync"}))
    connect(main).set("x", "before")
    pid = settled_child(standby, "syncd")
    with Fault("run", pid, "-", EIO, SYS["fdatasync"]) as f:
        write = Waiting(main, "SET", "x", "after")
        f.until("refused")
        # not only a checkpoint of what was before
        wait_for(lambda: data_of(standby)["trouble"] == "disk", lambda: data_of(standby))
        assert write.waits()
    assert f.result["end"] == "lives", f.result
    # main opens the link again and again, and is told nothing else
    count = lambda: standby.log().count("the sync link from %s is up" % main.name)
    since = count()
    wait_for(lambda: count() > since, "main tries again")
    assert write.waits(), "what a failed sync may have lost is acknowledged"
    not_busy(standby)
    os.kill(pid, signal.SIGKILL)
    wait_next(standby, "syncd", pid)
    assert write.answer() == b"+OK"
    wait_following(group, main)
    assert connect(standby).get("x") == b"after"
