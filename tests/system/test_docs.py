# SPDX-License-Identifier: ISC
"""What the documents say is tried: configurations, commands, options, links."""
import functools
import os
import re
import shutil
import subprocess
import sys

import pytest

from bulkhead import BUILD, CTL, DAEMON, LIBEXEC, LONG_S, TOP

MANUALS = {n: os.path.join(TOP, "doc", "man", n) for n in ("bulkhead.8", "bulkheadctl.8", "bulkhead.conf.5")}


def read(*parts):
    with open(os.path.join(TOP, *parts)) as f:
        return f.read()


def manual_text(name):
    """A manual as an admin reads it, without bold and underline."""
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed")
    shown = subprocess.run(["mandoc", "-T", "utf8", MANUALS[name]], text=True, capture_output=True, check=True).stdout
    return re.sub(r".\x08", "", shown)


def literal_blocks(name):
    """Displays of a manual: what stands between .Bd -literal and .Ed."""
    source = read("doc", "man", name)
    blocks = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", source, re.M | re.S)
    return [b.replace("\\e", "\\").replace("\\&", "").replace("\\(dq", '"') for b in blocks]


def configurations():
    """Every complete configuration in README and manuals: (where, text)."""
    found = [("README.md", b) for b in re.findall(r"^```\w*\n(.*?)^```$", read("README.md"), re.M | re.S)]
    for name in MANUALS:
        if os.path.exists(MANUALS[name]):
            found += [(name, b) for b in literal_blocks(name)]
    return [(w, b) for w, b in found if re.search(r"^group\s*=", b, re.M) and "server " in b]


def test_there_are_examples():
    where = {w for w, _ in configurations()}
    assert {"README.md", "bulkhead.conf.5"} <= where


def test_configurations_are_good(make_group, tmp_path):
    """`bulkhead -n` takes every example, with real keys and an existing user in the place of theirs."""
    group = make_group(["alpha", "beta", "gamma"])
    keys = [s.key for s in group]
    for number, (where, text) in enumerate(configurations()):
        text = re.sub(r"bh1\.\.\.", lambda m, n=iter(keys * 8): next(n), text)
        text = re.sub(r'user(\s*)=(\s*)"\w+"', r'user\1=\2"nobody"', text)
        text = re.sub(r'admin-group(\s*)=(\s*)"\w+"', r'admin-group\1=\2"nogroup"', text)
        first = re.search(r'^server "([^"]+)"', text, re.M).group(1)
        if not re.search(r"^self\s*=", text, re.M):
            text = 'self = "%s"\n' % first + text
        if not re.search(r"^user\s*\{", text, re.M):
            text += "\nuser { netd = 61001 icmpd = 61002 roled = 61003 keyd = 61004 syncd = 61006 parser = 61005 }\n"
        path = tmp_path / ("%d.conf" % number)
        path.write_text(text)
        path.chmod(0o600)
        p = subprocess.run([DAEMON, "-n", "-x", LIBEXEC, "-f", str(path)], text=True, capture_output=True, timeout=LONG_S)
        assert p.returncode == 0, "%s:\n%s\n%s" % (where, text, p.stderr)


def test_every_option_is_in_the_manual():
    text = manual_text("bulkhead.conf.5")
    rows = re.findall(r'^OPTION\("([^"]*)", "([^"]+)"', read("lib", "conf_options.def"), re.M)
    assert len(rows) > 40
    missing = [r for r in rows if not re.search(r"(^|\W)%s(\W|$)" % re.escape(r[1]), text)]
    assert not missing


def test_every_command_is_in_the_manual():
    text = manual_text("bulkheadctl.8")
    p = subprocess.run([CTL, "--help"], text=True, capture_output=True, timeout=LONG_S)
    for command in ("status", "explain", "events", "switchover", "promote", "pause", "resume", "reload", "ports",
                    "firewall", "check", "key", "keygen", "hook test"):
        assert command in text, command
        assert command.split()[0] in p.stdout + p.stderr, command


def test_every_counter_is_in_the_manual():
    words = manual_text("bulkheadctl.8").partition("WORDS")[2].replace("\u2010", "-")
    for source in (("ctl", "words.c"), ("lib", "admin.c")):
        names = re.findall(r'^\s*\[(?:NET|LINK_C)_\w+\] = "([\w-]+)"', read(*source), re.M)
        assert len(names) >= 10
        missing = [n for n in names if not re.search(r"(^|[^\w-])%s($|[^\w-])" % n, words)]
        assert not missing, source


def test_options_of_the_programs_are_in_the_manuals():
    for program, manual in ((DAEMON, "bulkhead.8"), (CTL, "bulkheadctl.8")):
        p = subprocess.run([program, "--help"], text=True, capture_output=True, timeout=LONG_S)
        said = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", p.stdout + p.stderr))
        assert said, program
        text = manual_text(manual).replace("\u2010", "-").replace("\u2212", "-")
        assert not [o for o in said if o not in text and o != "--help"], (program, said)


def test_hook_environment_is_in_the_manual(pair):
    group, main, standby = pair
    text = manual_text("bulkhead.conf.5") + manual_text("bulkhead.8")
    used = {k for s in group for h in s.hooks() for k in h.env if k.startswith("BULKHEAD_")}
    assert len(used) >= 5 and not [k for k in used if k not in text]


def test_every_signal_is_in_the_manual():
    text = manual_text("bulkhead.8")
    for name in ("SIGHUP", "SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2"):
        assert name in text


def test_links_of_the_documents():
    """Files that the documents name exist."""
    for document in ("README.md", "HACKING.md", "doc/privsep.md", "doc/protocol.md"):
        text = read(*document.split("/"))
        base = os.path.dirname(os.path.join(TOP, document))
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            made = os.path.join(BUILD, os.path.relpath(base, TOP), target)  # from the tables, by make
            assert os.path.exists(os.path.join(base, target)) or os.path.exists(made), "%s: %s" % (document, target)
    for path in re.findall(r"`((?:[a-z]+/)+[a-z_.]+[a-z])`", read("HACKING.md")):
        assert any(os.path.exists(os.path.join(TOP, d, path)) for d in ("", "tests", BUILD)) \
            or path.startswith("build/"), path


def test_privsep_lists_every_process(pair):
    """The ps listing and the table name exactly the processes that run."""
    group, main, _ = pair
    import process
    text = read("doc", "privsep.md")
    for pid in main.pids():
        name = os.path.basename((process.arguments(pid) or ["bulkhead"])[0])
        assert name in text, name


def known_tests():
    """Names of all tests, in C and Python."""
    sources = "".join(read(folder, name) for folder in ("tests/unit", "tests/system")
                      for name in os.listdir(os.path.join(TOP, folder)) if name.endswith((".c", ".py")))
    written = set(re.findall(r"^(\w+)\(void \*\*state\)$", sources, re.M))
    registered = set(re.findall(r"^\t    (?:cmocka_unit_test\w*|\w*TEST)\((\w+)\b", sources, re.M))
    return written & registered | set(re.findall(r"^def (test_\w+)\(", sources, re.M))


@functools.lru_cache(maxsize=None)
def known_cells(receiver, sender, state):
    """What the evil peers say on that channel: {(message, what is wrong)}; nothing where there is no channel."""
    sys.path.insert(0, os.path.join(TOP, "tests", "breach"))
    import matrix
    if (receiver, sender) not in matrix.edges():
        return set()
    p = subprocess.run([os.path.join(BUILD, "tests", "breach", "evil_peer"), "list", receiver, sender, state],
                       text=True, capture_output=True)
    return {tuple(line.split("\t")) for line in p.stdout.splitlines()}


IN_TABLE = r"TRY(_OF)?\(([\w| ]+, )?%s, "  # of the drill, by its number
CELL = re.compile(r"(\w+) < (\w+), (\w+): (\w+), (.+)")


def ties(statement, tests, table):
    """What shows it: everything that is named exists, or that is an error."""
    found = []
    for name in re.findall(r"`([^`]+)`", statement):
        cell = CELL.fullmatch(name)
        if cell:
            receiver, sender, state, message, what = cell.groups()
            assert (message, what) in known_cells(receiver, sender, state), "no such cell: " + name
        elif "_" in name or "<" in name:
            assert name in tests, "no test " + name
        else:
            assert name in ("bulkheadctl",), "what is `%s`?" % name
            continue
        found.append(name)
    for list_ in re.findall(r"\bD ((?:\d+(?:, )?)+)", statement):
        for number in re.findall(r"\d+", list_):
            assert re.search(IN_TABLE % number, table), "nothing in the drill has number " + number
            found.append(number)
    return found


def proofs(page, tests, table):
    """Statements of the section with what shows them; one without is an error. What follows a semicolon is one."""
    section = page.split("### What a break-in of each can still do")[1].split("\n## ")[0]
    lines = re.findall(r"^- (.*?)(?=\n- |\n\n|\Z)", section, re.M | re.S)
    found = []
    for line in lines:
        # a clause without a colon belongs to the next one, which shows both
        for statement in re.findall(r".*?: .*?(?:;|\.?\s*\Z)", re.sub(r"`[^`]*`", lambda m: m[0].replace(";", ","),
                                    " ".join(line.split()))):
            found.append((statement, ties(statement, tests, table)))
            assert found[-1][1], "nothing shows: " + statement
    assert len(lines) > 25 and len(found) > len(lines)
    return found


def test_break_ins_name_their_proof():
    """What doc/privsep.md says of a break-in names tests and cells that exist and numbers of the drill's table."""
    proofs(read("doc", "privsep.md"), known_tests(), read("tests", "breach", "drill_table.h"))


@pytest.mark.parametrize("old, new", [
    ("`test_hangs`.", "`test_hangs_not`."),
    ("D 37, 40, 43", "D 37, 40, 99"),
    ("supervisor < netd, run: DIAL, impossible values", "supervisor < netd, run: DIAL, impossible valves"),
    ("supervisor < netd, run: DIAL, impossible values", "keyd < netd, run: DIAL, no such type"),
    ("roled < keyd, run: LINK_IN, wrong direction", "roled < keyd, later: LINK_IN, wrong direction"),
    (": D 4;", ";"), (": D 4; nor", ": evil peers; nor"), ("`test_bucket`", "`tests`")])
def test_break_ins_without_a_proof_are_found(old, new):
    """The check above fails when a name, a number or a cell does not exist, or nothing is named."""
    page = read("doc", "privsep.md")
    assert old in page
    broken = page.replace(old, new)
    if old == ": D 4;":
        broken = page.replace("It cannot run a program: D 4; nor", "It cannot run a program: so it is; nor")
    with pytest.raises(AssertionError):
        proofs(broken, known_tests(), read("tests", "breach", "drill_table.h"))


def test_every_number_is_tried():
    """Each number of the drill's list has a row that names tests that exist; where it says D the drill has it."""
    page = read("doc", "privsep.md").split("### How each number is tried")[1].split("\nTo change")[0]
    table, known, numbers = read("tests", "breach", "drill_table.h"), known_tests(), []
    for row in re.findall(r"^\| ([\d, ]+) \|.*\| (.*) \|$", page, re.M):
        tests = re.findall(r"`(\w+_\w+)`", row[1])
        assert tests or re.search(r"\b[DP]\b|runtests", row[1]), row
        for name in tests:
            assert name in known, "no test " + name
        for number in row[0].split(", "):
            numbers.append(int(number))
            assert not re.search(r"\bD\b", row[1]) or re.search(IN_TABLE % number, table), number
    assert sorted(numbers) == list(range(1, 55))


FIGURES = os.path.join(TOP, "tests", "figures.py")


def figures(top, *args):
    done = subprocess.run(["python3", FIGURES, "--top", str(top), *args], text=True, capture_output=True)
    return done.returncode, done.stdout + done.stderr


def test_figures_are_there():
    """The tables that runs fill in have a figure in each place, and name nothing that the tree has not."""
    code, text = figures(TOP, "--check")
    assert code == 0, text


def test_holes_still_apply():
    """Each planted hole is an edit of the code as it is now, and names tests that there are."""
    done = subprocess.run([os.path.join(TOP, "tests", "planted", "run"), "-n"], text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_figures_are_taken_over(tmp_path):
    """Made-up results end up in the pages; a finding voids what was before it, a part of the holes is no run."""
    top, build = tmp_path / "top", tmp_path / "build"
    for folder in (top / "tests" / "planted", top / "tests" / "fuzz", build / "fuzz", build / "results"):
        folder.mkdir(parents=True)
    for name in ("README.md", "tests/fuzz/README.md", "tests/planted/holes.txt"):
        shutil.copy(os.path.join(TOP, name), top / name)
    for name in ("one", "two"):
        (top / "tests" / "fuzz" / ("fuzz_%s.c" % name)).write_text("")
    assert "no target hello any more" in figures(top, "--check")[1]
    lines = ["| one | 5000000 | 9 | 100 | 9 % | 70 | FAILED, see x |", "| one | 1000000 | 10 | 100 | 10 % | 300 | clean |",
             "| one | 2000000 | 12 | 100 | 12 % | 301 | clean |", "| two | 500000 | 40 | 80 | 50 % | 600 | clean |"]
    (build / "fuzz" / "history").write_text("\n".join(lines) + "\n")
    holes = len(re.findall("^hole ", (top / "tests" / "planted" / "holes.txt").read_text(), re.M))
    (build / "results" / "planted.log").write_text("%d holes planted, %d caught, 0 not\n" % (holes - 1, holes - 1))
    assert "no run of all" in figures(top, str(build))[1]
    (build / "results" / "planted.log").write_text("%d holes planted, %d caught, 0 not\n" % (holes, holes))
    assert figures(top, str(build)) == (0, "fuzzing: 2 targets\nplanted holes: put\n")
    assert figures(top, "--check") == (0, "the figures are complete\n")
    table, readme = (top / "tests" / "fuzz" / "README.md").read_text(), (top / "README.md").read_text()
    assert "| one | 3000000 | 601 | 12 | 100 | 12 % |\n| two | 500000 | 600 | 40 | 80 | 50 % |\n" in table
    assert "2 targets, 3.5 million inputs, 600 CPU seconds" in readme and "from 12 % (one) to 50 % (two)" in readme
    assert "| Planted holes | %d | %d |" % (holes, holes) in readme
    (top / "README.md").write_text(readme.replace("| %d | %d |" % (holes, holes), "| %d | %d |" % (holes, holes - 1)))
    assert figures(top, "--check")[0] == 1
