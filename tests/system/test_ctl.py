# SPDX-License-Identifier: ISC
"""bulkheadctl: commands, exit codes, --json, a terminal, refusals."""
import json
import os
import pty
import select
import stat
import subprocess
import tempfile

import pytest

from bulkhead import CHECK_OK, CTL, LONG_S, wait_for

READING = ("status", "explain", "events", "ports", "firewall", "check", "key")


@pytest.mark.parametrize("command", READING)
def test_reading_commands(pair, command):
    group, main, standby = pair
    code = CHECK_OK if command == "check" else 0
    for s in (main, standby):
        p = s.tool(command)
        assert p.returncode == code, (command, p)
        assert p.stdout.strip() and not p.stderr, (command, p)
        assert "\033" not in p.stdout, "colours in a pipe"
        p = s.tool("--json", command)
        assert p.returncode == code, (command, p)
        json.loads(p.stdout)


def test_json_has_age_and_source(pair):
    """Every answer says how old it is and from which boot."""
    _, main, _ = pair
    for command in ("status", "events", "explain"):
        answer = main.json(command)
        text = json.dumps(answer)
        assert "boot_id" in text and "age" in text, (command, answer)


def test_status_tells_the_pair(pair):
    _, main, standby = pair
    text = main.tool("status").stdout
    for word in (main.name, standby.name, "main", "standby"):
        assert word in text


def test_table_on_a_terminal(pair):
    """On a terminal the tables fit and are complete."""
    _, main, _ = pair
    master, slave = pty.openpty()
    p = subprocess.Popen([*main.inside(), CTL, "-f", main.config, "status"], stdin=slave, stdout=slave,
                         stderr=slave, env={"TERM": "xterm", "PATH": os.environ["PATH"]})
    os.close(slave)
    shown = b""
    while True:
        if not select.select([master], [], [], LONG_S)[0]:
            break
        try:
            more = os.read(master, 65536)
        except OSError:
            break
        if not more:
            break
        shown += more
    os.close(master)
    assert p.wait() == 0 and b"alpha" in shown


@pytest.mark.parametrize("arguments", [[], ["stauts"], ["status", "surplus"], ["promote"], ["promote", "beta"],
                                       ["pause"], ["explain", "not-a-number"], ["--no-such-option"],
                                       ["switchover", "omega"], ["hook", "test", "nonsense"]])
def test_wrong_usage(pair, arguments):
    """Refused with one line that names what was wrong; nothing happens."""
    group, main, standby = pair
    p = main.tool(*arguments)
    assert p.returncode not in (0, -11, -6), p
    assert p.stderr.strip(), p
    assert main.role() == "main" and standby.role() == "standby"


def test_nearest_command_is_named(pair):
    _, main, _ = pair
    assert "status" in main.tool("stauts").stderr


def test_check_codes(pair):
    """0 ok, 1 warning, 2 critical, 3 unknown: the convention of monitoring plugins."""
    group, main, standby = pair
    assert main.tool("check").returncode == CHECK_OK
    standby.kill()
    wait_for(lambda: main.tool("check").returncode in (1, 2), lambda: str(main.tool("check")))
    p = standby.tool("check")
    assert p.returncode == 3 and p.stdout.strip().startswith("UNKNOWN"), p


def test_no_daemon(make_group):
    """Not running: said so, with an exit code of its own kind."""
    group = make_group(["alpha"])
    p = group["alpha"].tool("status")
    assert p.returncode not in (0, 2) and "admin.sock" in p.stderr, p


def test_pause_and_resume(pair):
    """Pause needs an owner, a reason and an end; nothing happens meanwhile; it survives a restart."""
    group, main, standby = pair
    standby.tool("pause", "--owner", "ann", "--reason", "new switch", "--for", "10min", check=True)
    for s in group:
        wait_for(lambda: s.own().get("condition") == "paused", group.report)
    main.kill()
    wait_for(lambda: "wait-paused" in [e["rule"] for e in standby.events()], lambda: str(standby.events()))
    group.roles_hold({standby: "standby"}, 1.5)
    standby.kill()
    standby.start()
    wait_for(lambda: standby.own().get("paused"), "still paused")
    assert "ann" in standby.tool("status").stdout
    main.start()
    wait_for(lambda: main.own().get("role"), "main answers")
    standby.tool("resume", check=True)
    group.wait_pair()


def test_pause_has_limits(pair):
    _, main, _ = pair
    p = main.tool("pause", "--owner", "ann", "--reason", "x", "--for", "8d")
    assert p.returncode != 0 and "7" in p.stderr
    assert not main.own()["paused"]


def test_promote_needs_the_name_of_a_dead_server(pair):
    group, main, standby = pair
    p = standby.tool("promote", "--confirm", main.name)
    assert p.returncode != 0 and p.stderr.strip(), "a living main must not be declared dead"
    p = standby.tool("promote", "--confirm", "omega")
    assert p.returncode != 0 and "omega" in p.stderr
    group.roles_hold({main: "main", standby: "standby"}, 0.5)


def test_observe_only(make_group):
    """Decides, says what it would have done, does nothing."""
    group = make_group(options={"role.observe": "false"})
    group.start()
    main, standby = group.wait_pair()
    group.set("role.observe", "true")
    standby.write_config()
    standby.tool("reload", check=True)
    hooks = standby.role_hooks()
    main.kill()
    wait_for(lambda: "wait-observing" in [e["rule"] for e in standby.events()], lambda: str(standby.events()))
    group.roles_hold({standby: "standby"}, 1.5)
    assert standby.role_hooks() == hooks


def test_explain_names_the_evidence(pair):
    group, main, standby = pair
    main.kill(mute=True)
    group.wait_role(standby, "main")
    # which proof came first is a race of the kills, an obituary, or the port that nobody serves; on a
    # machine with much else to do the confirm time may be over before either
    number, rule = [(e["sequence"], e["rule"]) for e in standby.events() if e["rule"].startswith("takeover-")][0]
    assert rule in ("takeover-program-dead", "takeover-guard-dead", "takeover-offline")
    text = standby.tool("explain", check=True).stdout
    assert rule in text and main.name in text
    event = standby.json("explain")
    assert "evidence" in json.dumps(event)
    assert rule in standby.tool("explain", str(number), check=True).stdout


def test_ledger_survives_a_restart(pair):
    group, main, standby = pair
    first = standby.events()[0]
    standby.stop()
    standby.start()
    group.wait_pair()
    assert standby.events()[0] == first or first["sequence"] in [e["sequence"] for e in standby.events()]


def test_socket_is_for_root_only(pair):
    _, main, _ = pair
    mode = os.stat(os.path.join(main.run, "admin.sock")).st_mode
    assert stat.S_ISSOCK(mode) and not mode & 0o007
    os.chmod(main.folder, 0o755)
    os.chmod(main.run, 0o755)
    os.chmod(main.config, 0o644)
    p = subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", CTL, "-f", main.config, "status"],
                       text=True, capture_output=True, timeout=LONG_S)
    assert p.returncode != 0


def test_keygen_refuses_to_overwrite(make_group):
    group = make_group(["alpha"])
    alpha = group["alpha"]
    before = {n: open(os.path.join(alpha.state, n)).read() for n in os.listdir(alpha.state)}
    assert {"status.key", "data.key"} <= set(before)
    for n in ("status.key", "data.key"):
        assert stat.S_IMODE(os.stat(os.path.join(alpha.state, n)).st_mode) == 0o400
    p = alpha.tool("keygen")
    assert p.returncode != 0 and "key" in p.stderr
    assert {n: open(os.path.join(alpha.state, n)).read() for n in os.listdir(alpha.state)} == before
    assert alpha.key.startswith("bh1") and alpha.tool("key").stdout.strip() == alpha.key


PLACES = 8  # for connections at a time (ADMIN_CLIENTS)


def test_many_clients(pair):
    """Forty at once, and one that says nothing: all others are answered, the daemon is well."""
    import socket
    group, main, standby = pair
    mute = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mute.connect(os.path.join(main.run, "admin.sock"))
    clients = [subprocess.Popen([CTL, "-f", main.config, "--json", "status"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
               for _ in range(40)]
    good = 0
    for c in clients:
        out, errors = c.communicate(timeout=LONG_S)
        good += c.returncode == 0 and bool(json.loads(out))
        assert c.returncode == 0 or b"too many admin connections are open; try again" in errors, errors
    mute.close()
    assert good >= PLACES - 1, "refused: %d of 40" % (40 - good)
    wait_for(lambda: main.tool("status").returncode == 0, "the last of them has been seen to go")
    group.roles_hold({main: "main", standby: "standby"}, 0.5)


def test_followers_do_not_lock_out_an_administrator(pair):
    """All connections are taken by programs that follow the events: a command still gets through."""
    group, main, standby = pair
    files = [tempfile.TemporaryFile() for _ in range(20)]
    followers = [subprocess.Popen([CTL, "-f", main.config, "events", "--follow"], stdout=f,
                                  stderr=subprocess.PIPE, text=True) for f in files]
    try:
        wait_for(lambda: sum(f.poll() is None for f in followers) <= PLACES, "some are turned away")
        # the others are answered: they have said that they only follow
        wait_for(lambda: all(p.poll() is not None or os.fstat(f.fileno()).st_size for p, f in zip(followers, files)),
                 "the others follow")
        for _ in range(10):
            main.tool("status", check=True)
        main.tool("pause", "--reason", "test", check=True)
        main.tool("resume", check=True)
        gone = {f.stderr.read() for f in followers if f.poll() is not None}
        # refused at the door, while those inside had not said yet that they only follow
        assert gone and gone <= {"bulkheadctl: ended: an administrator needed the connection\n",
                                 "bulkheadctl: too many admin connections are open; try again\n"}
    finally:
        for f in followers:
            f.kill()
            f.wait()
            f.stderr.close()
        for f in files:
            f.close()
    group.roles_hold({main: "main", standby: "standby"}, 0.5)
