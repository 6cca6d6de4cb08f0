# SPDX-License-Identifier: ISC
"""What ./quickstart runs: it works, it can be broken, and it leaves nothing behind."""
import os
import re
import signal
import subprocess
import sys

import pytest

import net
import process
from bulkhead import LONG_S, TOP, wait_for

DEMO = [sys.executable, "-B", os.path.join(TOP, "tests", "system", "demo.py")]


def left_behind(pid):
    """Namespaces of that process; its folder is checked by name."""
    return [n for n in os.listdir(net.NETNS_DIR) if n.startswith("%s%d-" % (net.PREFIX, pid))]


def test_once():
    p = subprocess.Popen([*DEMO, "--once"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = p.communicate(timeout=300)
    assert p.returncode == 0, out
    assert re.search(r"[\d.]+ ms .*BULKHEAD_REASON=takeover-", out), out
    assert "1 keys, newest change 2 of epoch " in out, out  # what has just been written
    assert not left_behind(p.pid)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_live(tmp_path, name):
    """The script beside it breaks the pair; the signals of a terminal end it and all it started."""
    screen = tmp_path / "screen"
    with open(screen, "w") as f:
        p = subprocess.Popen(DEMO, stdout=f, stderr=f, start_new_session=True)
    process.owned.add(p.pid)
    try:
        folder = wait_for(lambda: re.search(r"cd (/tmp/\S+)", screen.read_text()), screen.read_text).group(1)
        pids = wait_for(lambda: process.tree(p.pid)[1:], "daemons run")
        done = subprocess.run(["./do", "kill", "alpha"], cwd=folder, text=True, capture_output=True, timeout=LONG_S)
        assert done.returncode == 0, done
        # by proof, but for a crowded machine: see Group.wait_proof()
        wait_for(lambda: re.search(r"takeover-(guard-dead|program-dead|offline)", screen.read_text()), screen.read_text)
        os.kill(p.pid, getattr(signal, name))
        p.wait(LONG_S)
    finally:
        process.owned.discard(p.pid)
        if p.poll() is None:
            process.end(process.tree(p.pid))
    assert not [q for q in pids if process.alive(q)]
    assert not os.path.exists(folder) and not left_behind(p.pid)


def test_wrong_option():
    p = subprocess.run([os.path.join(TOP, "quickstart"), "--twice"], text=True, capture_output=True, timeout=LONG_S)
    assert p.returncode == 2 and "usage" in p.stderr
