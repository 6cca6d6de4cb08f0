# SPDX-License-Identifier: ISC
"""The configuration as an admin meets it without a running daemon: `bulkhead -n` on files of all sorts,
and bulkheadctl on files that are not complete."""
import fcntl
import json
import os
import pwd
import re
import subprocess

import pytest

from bulkhead import CTL, DAEMON, LIBEXEC, LONG_S, TOP

EX_CONFIG = 78


@pytest.fixture
def group(make_group):
    return make_group(["alpha", "beta"])


def check(path):
    p = subprocess.run([DAEMON, "-n", "-x", LIBEXEC, "-f", str(path)], text=True, capture_output=True, timeout=LONG_S)
    assert "\n" not in p.stderr.strip(), "one line: %s" % p.stderr
    return p


def write(tmp_path, text):
    path = tmp_path / "bulkhead.conf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return path


def refused(path, *words):
    p = check(path)
    assert p.returncode == EX_CONFIG, p
    said = p.stderr.partition(" error: ")[2]  # not the time before it, which may have the number of a line
    for w in ("bulkhead.conf:",) + words:
        assert w in said, p.stderr


def test_example(group, tmp_path):
    """The file that comes with the sources, with real keys and users."""
    with open(os.path.join(TOP, "bulkhead.conf.example")) as f:
        text = f.read()
    keys = [group["alpha"].key, group["beta"].key, third_key(tmp_path)]
    for key in keys:
        text = text.replace('"bh1..."', '"%s"' % key, 1)
    text = text.replace('"scada"', '"nobody"').replace('# self = "alpha"', 'self = "alpha" #')
    for command in ("/etc/bulkhead/become-main", "/etc/bulkhead/become-standby", "/usr/local/bin/app-alive",
                    "/usr/bin/logger"):
        text = text.replace(command, "/bin/true")
    text += "user { netd = 61001 icmpd = 61002 roled = 61003 keyd = 61004 syncd = 61006 parser = 61005 }\n"
    p = check(write(tmp_path, text))
    assert p.returncode == 0 and not p.stderr, p.stderr


def test_what_it_names(group):
    """A program that is not there is a warning, a user that is not there is an error."""
    alpha = group["alpha"]
    with open(alpha.config) as f:
        text = f.read()
    with open(alpha.config, "w") as f:
        f.write(text.replace("alarm = \"", "alarm = \"/nonexistent/"))
    p = check(alpha.config)
    assert p.returncode == 0 and alpha.config + ": hook.alarm: /nonexistent/" in p.stderr, p
    with open(alpha.config, "w") as f:
        f.write(text[:text.index("user {\n\tnetd")])
    try:
        pwd.getpwnam("_bh-net")
    except KeyError:
        p = check(alpha.config)
        assert p.returncode == EX_CONFIG and "_bh-net" in p.stderr, p


def test_summary_of_options():
    p = subprocess.run([DAEMON, "--help"], text=True, capture_output=True, timeout=LONG_S)
    assert p.returncode == 0 and "--allow-degraded" in p.stdout and not p.stderr, p


def third_key(tmp_path):
    state = tmp_path / "state"
    p = subprocess.run([CTL, "--state", str(state), "keygen"], text=True, capture_output=True, timeout=LONG_S, check=True)
    return p.stdout.strip()


@pytest.mark.parametrize("text,words", [
    ("", ("1:", "group")),
    ("group = \"g\"\n\nweb { http = 3052 }\n", ("3:", "later version")),
    ("group = \"g\"\npower \"ups-a\" { card = \"192.0.2.50\" }\n", ("2:", "later version")),
    ("group = \"g\"\narbitration { mode = \"etcd\" }\n", ("2:", "later version", "references")),
    ("group = \"g\"\n\n/* never closed\n", ("3:", "comment")),
    ("group = \"g\nself = \"x\"\n", ("1:", "string")),
    ("group = \"${HOME}\"\n", ("1:", "variables")),
    ("group = g\ninclude(\"/etc/shadow\")\n", ("2:", "unexpected")),
    ("group = g\nserver \"a\" { address = \"no.such.host.example\" }\n", ("2:", "/etc/hosts")),
    (b"group = g\n\0", ("2:", "control character")),
    (b"\x7fELF\x02\x01\x01", ("1:", "control character")),
    ("#" * (256 * 1024 + 1), ("256 KiB",)),
    ("x" * (200 * 1024), ("1:", "unknown option")),
    ("group = g\n" + "status { misses = 3 }\n" * 5000, ("3:", "twice")),
    ("{" * 50000, ("1:",)),
], ids=range(15))
def test_refused(tmp_path, text, words):
    refused(write(tmp_path, text), *words)


def test_comments_do_not_move_lines(tmp_path):
    text = "# one\n// two\n/* three\nfour */ group = g # five\n\nstatus {\n\t# seven\n\tmisses = none\n}\n"
    refused(write(tmp_path, text), ":8:", "status.misses")


def test_not_a_file(tmp_path):
    """Missing, a folder, a device, a pipe: said so, and nothing waits for it."""
    fifo = tmp_path / "bulkhead.conf"
    os.mkfifo(fifo)
    for path in (tmp_path / "missing.conf", tmp_path, "/dev/zero", fifo):
        p = check(path)
        assert p.returncode not in (0, -11, -6) and str(path) in p.stderr, p


def test_too_large(tmp_path):
    """One limit, whoever finds it first, and it is the one of the manual."""
    for size in (256 * 1024 + 1, 1 << 24):
        p = check(write(tmp_path, "#" * size))
        assert p.returncode == EX_CONFIG and "larger than the 256 KiB" in p.stderr, p


def test_arguments():
    """What is wrong with the command line is said."""
    p = subprocess.run([DAEMON, "bulkhead.conf"], text=True, capture_output=True, timeout=LONG_S)
    assert p.returncode == 2 and "unexpected argument 'bulkhead.conf'\nusage: " in p.stderr, p


def test_ctl_without_a_complete_file(group):
    """keygen and key work before there are keys in the file; a broken file still says where to look."""
    alpha = group["alpha"]
    alpha.write_config(group.config_text(alpha) + "\nstatus {\n")
    assert alpha.tool("key").stdout.strip() == alpha.key
    alpha.write_config("server {{{\n")
    p = alpha.tool("key")
    assert p.returncode == 2 and "bulkhead.conf:1:" in p.stderr
    p = alpha.tool("--state", "/nonexistent", "key")
    assert p.returncode == 1 and "/nonexistent: No such file or directory; bulkheadctl keygen makes it" in p.stderr, p


# A machine of its own: the default folders are there, and nothing of this machine's.
DEFAULTS = """set -e
mount --make-rprivate /
mount -t tmpfs none /usr/local
mkdir -p "${1%/*}" "$3"
cp "$2" "$1"
mount --bind "$4" "$3"
shift 4
exec "$@"
"""


def test_ctl_with_a_broken_default_file(pair, tmp_path):
    """Who has just broken the file needs the status of the daemon that runs with the old one. Keys are not
    looked for on a guess, and a file that was named is the one that counts."""
    main = pair[1]
    text = subprocess.run([CTL, "--help"], text=True, capture_output=True, check=True).stdout
    path = re.search(r"\(default (.*/bulkhead.conf)\)", text).group(1)
    p = main.tool("-f", "/nonexistent", "status")
    assert p.returncode == 2 and "/nonexistent" in p.stderr
    main.write_config("server {{{\n")
    p = main.tool("status")
    assert p.returncode == 2 and "bulkhead.conf:1:" in p.stderr and not p.stdout
    if not path.startswith("/usr/local/"):
        pytest.skip("built for the folders of the system: %s" % path)
    run = "/usr/local/var/run/bulkhead"

    def tool(content, *args):
        source = write(tmp_path, content)
        return subprocess.run(["unshare", "-m", "sh", "-c", DEFAULTS, "sh", path, source, run, main.run, CTL, *args],
                              text=True, capture_output=True, timeout=LONG_S)

    for content, said in (("server {{{\n", ":1: "), ("#" * 300000, ":1: the file is larger than 256 KiB")):
        p = tool(content, "status")
        assert p.returncode == 0 and "%s in group" % main.name in p.stdout and path + said in p.stderr, p
        p = tool(content, "--json", "status")
        assert p.returncode == 0 and json.loads(p.stdout)["server"] == main.name, p
        p = tool(content, "check")
        assert p.returncode != 3 and "UNKNOWN" not in p.stdout, p
        for command in ("key", "keygen"):
            p = tool(content, command)
            assert p.returncode == 2 and path + said in p.stderr and not p.stdout, p
        assert "admin.sock" in tool(content, "--socket", "/nonexistent/admin.sock", "status").stderr
    # where the daemon is stands before what is wrong
    p = tool("run = %s\nserver {{{\n" % run, "status")
    assert p.returncode == 0 and not p.stderr, p


def test_keygen_is_alone(tmp_path):
    """Two at once neither mix their keys nor overwrite each other's: one is refused."""
    state = tmp_path / "state"
    state.mkdir(0o700)
    command = [CTL, "--state", str(state), "keygen"]
    with open("/dev/null") as null:
        lock = os.open(state, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        for arguments in ([], ["--force"]):
            p = subprocess.run(command + arguments, text=True, capture_output=True, timeout=LONG_S)
            assert p.returncode == 1 and "another bulkheadctl keygen is at work here" in p.stderr, p
        assert os.listdir(state) == []
        os.close(lock)
        running = [subprocess.Popen(command, text=True, stdin=null, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                   for _ in range(8)]
        answers = [(p.communicate(timeout=LONG_S), p.returncode) for p in running]
    made = [out for (out, _), code in answers if code == 0]
    assert len(made) == 1, answers
    key = subprocess.run(command[:-1] + ["key"], text=True, capture_output=True, timeout=LONG_S, check=True)
    assert key.stdout == made[0] and sorted(os.listdir(state)) == ["data.key", "status.key"]


def test_keygen_is_atomic(group, tmp_path):
    """What a failed attempt left behind is not used; --force replaces both keys."""
    alpha = group["alpha"]
    with open(os.path.join(alpha.state, "status.key.new"), "w") as f:
        f.write("half")
    p = alpha.tool("keygen", "--force", check=True)
    assert p.stdout.strip().startswith("bh1") and p.stdout.strip() != alpha.key
    assert sorted(n for n in os.listdir(alpha.state) if "key" in n) == ["data.key", "status.key"]
    # damaged, too open, a link: never used
    name = os.path.join(alpha.state, "data.key")
    os.chmod(name, 0o640)
    assert "mode" in alpha.tool("key").stderr
    os.chmod(name, 0o600)
    with open(name, "w") as f:
        f.write("0" * 64 + "\n")
    assert "not a key" in alpha.tool("key").stderr
    os.rename(name, name + ".moved")
    os.symlink(name + ".moved", name)
    assert alpha.tool("key").returncode == 1


def test_ctl_help():
    for args in (["--help"], ["status", "--help"], ["hook", "--help"], ["--version"]):
        p = subprocess.run([CTL, *args], text=True, capture_output=True, timeout=LONG_S)
        assert p.returncode == 0 and p.stdout and not p.stderr, (args, p)


def test_ctl_answer_cannot_be_written(group):
    """A full disk is an error, not silence."""
    with open("/dev/full", "w") as full:
        p = subprocess.run([CTL, "-f", group["alpha"].config, "key"], stdout=full, stderr=subprocess.PIPE, text=True,
                           timeout=LONG_S)
    assert p.returncode == 1 and "cannot write" in p.stderr
