# SPDX-License-Identifier: ISC
"""One end of a channel in other hands: whatever it says that it must not say, it is cut off."""
import os
import re
import shutil
import signal
import subprocess

import bulkhead
from bulkhead import CHILDREN, SCALE, wait_for
from test_breach import needs_filter

EVIL_PEER = os.path.join(bulkhead.BUILD, "tests", "breach", "evil_peer")
# Each cell at the supervisor costs it a child; BULKHEAD_EVIL_CELLS=1200 tries all there are.
CELLS = int(os.environ.get("BULKHEAD_EVIL_CELLS", "80"))


def play(*args, limit_s=60):
    """Lines of the program, split; it must have found nothing."""
    p = subprocess.run([EVIL_PEER, *map(str, args)], capture_output=True, text=True, timeout=limit_s * SCALE)
    assert p.returncode == 0, "exit %d\n%s%s" % (p.returncode, p.stdout, p.stderr)
    return [line.split("\t") for line in p.stdout.splitlines()]


def descriptors(server):
    """{name: number of descriptors} of the supervisor and its children, with both links up."""
    wait_for(lambda: len(server.links(state="up")) == 2, "both links are up")
    pids = {n: server.child(n) for n in CHILDREN}
    pids["supervisor"] = server.popen.pid
    return {n: len(os.listdir("/proc/%d/fd" % p)) for n, p in pids.items() if p}


def check_descriptors(server, before):
    """Nobody has kept one of what was sent; those of links come and go."""
    def settled():
        now = descriptors(server)
        return len(now) == len(before) and all(now[n] <= before[n] for n in before)
    wait_for(settled, lambda: "descriptors were %s, are %s" % (before, descriptors(server)))


def check_undisturbed(group, main, standby, hooks):
    group.wait_pair()
    assert main.role() == "main" and standby.role() == "standby", group.report()
    assert (len(main.hooks()), len(standby.hooks())) == hooks, "a hook ran"


@needs_filter
def test_children_cut_off_evil_peers(pair):
    """Every message of the table in every wrong form, at the running children and the admin socket."""
    group, main, standby = pair
    standby.expect_log(r".")
    hooks, supervisor = (len(main.hooks()), len(standby.hooks())), standby.popen.pid
    before = descriptors(standby)
    pids = {n: standby.child(n) for n in CHILDREN}
    rows = play("children", supervisor, os.path.join(standby.run, "admin.sock"))
    tried = {(r[0], r[1]): (int(r[2]), int(r[3])) for r in rows}
    assert len(tried) == 7 and all(t == r and t > 100 for t, r in tried.values()), tried
    assert {n: standby.child(n) for n in CHILDREN} == pids, "a child has ended"
    check_undisturbed(group, main, standby, hooks)
    check_descriptors(standby, before)
    refused = re.findall(r"(\w+)\[\d+\].* a message of (\w+) was refused \((.+?)\)", standby.log())
    bulkhead.record("breach-peers-children", rows)
    assert refused and {(a, b) for a, b, _ in refused} <= set(tried)  # the log is rate-limited


@needs_filter
def test_supervisor_kills_evil_children(pair):
    """What a child must not say to its supervisor costs it its life, with type and reason in the log."""
    group, main, standby = pair
    standby.expect_log(r".")
    hooks, supervisor = (len(main.hooks()), len(standby.hooks())), standby.popen.pid
    before = descriptors(standby)
    rows = play("supervisor", supervisor, CELLS, limit_s=30 + CELLS)
    tried = {r[1]: (int(r[2]), int(r[3])) for r in rows if r[0] == "supervisor"}
    assert set(tried) == set(CHILDREN) and all(t == r and t >= 15 for t, r in tried.values()), tried
    assert standby.popen.poll() is None and standby.popen.pid == supervisor
    check_undisturbed(group, main, standby, hooks)
    check_descriptors(standby, before)
    bulkhead.record("breach-peers-supervisor", [r for r in rows if r[0] != "log"])
    log = standby.log()
    for _, child, name, reasons in (r for r in rows if r[0] == "log" and r[3]):
        line = r"%s broke the protocol with %s \((%s)\)" % (child, re.escape(name), reasons.strip("|"))
        assert re.search(line, log), "the log has no line %s" % line
    # the end of a channel is not a violation, and told as what it is
    wait_for(lambda: re.search(r"was killed because it closed its channel", standby.log()), "closed channels")


def log_from(server, start):
    with open(server.log_file, errors="replace") as f:
        f.seek(start)
        return f.read()


@needs_filter
def test_supervisor_refuses_an_evil_parser(make_group):
    """A parser in other hands: no reload, the old configuration stays, and the reason is told."""
    group = make_group()
    server = group["beta"]
    server.expect_log(r".")
    folder = os.path.join(group.folder, "libexec")
    shutil.copytree(bulkhead.LIBEXEC, folder)
    server.flags = ["-x", folder]
    group.start()
    main, standby = group.wait_pair()
    before, hooks = descriptors(server), (len(main.hooks()), len(standby.hooks()))
    shutil.copy(EVIL_PEER, os.path.join(folder, "parser.new"))
    os.rename(os.path.join(folder, "parser.new"), os.path.join(folder, "parser"))
    rows, refused = play("parser", server.popen.pid, 0), 0
    assert len(rows) > 100
    for number, (_, _, name, reasons) in enumerate(rows):
        with open(os.path.join(folder, "cell"), "w") as f:
            f.write(str(number))
        start = os.path.getsize(server.log_file)
        os.kill(server.popen.pid, signal.SIGHUP)
        said = re.compile(r"the parser broke the protocol \((%s)\)" % reasons.strip("|") if reasons else r"error: .*parser")
        wait_for(lambda: said.search(log_from(server, start)), "cell %d, %s: %s" % (number, name, said.pattern), step_s=0.002)
        refused += 1
    check_undisturbed(group, main, standby, hooks)
    check_descriptors(server, before)
    bulkhead.record("breach-peers-parser", [["supervisor", "parser", len(rows), refused]])
