#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The figures of fuzzing and of planted holes, from what the runs left in BUILD, in README.md and
tests/fuzz/README.md (those of the breach drill are put there by tests/breach/matrix.py).

usage: figures.py [--top TOP] BUILD     writes them; what has no results stays as it is
       figures.py [--top TOP] --check   says what is missing or not a figure; exit code 1 when something is
"""
import glob
import os
import re
import sys

BEGIN, END = "<!-- figures of the runs: tests/figures.py -->", "<!-- end of figures -->"
ATTACKS = ("Calls from every sandbox and layer", "Calls by the running children",
           "The same without their filters", "Messages of evil peers")
FUZZED = re.compile(r"^Fuzzing: (\d+) targets, ([\d.]+) million inputs, (\d+) CPU seconds or more each; coverage of "
                    r"the edges of its\nprogram from (\d+) % \((\w+)\) to (\d+) % \((\w+)\)\.", re.M)
HEAD = "| target | executions | CPU s | edges reached | of | coverage |\n|---|---|---|---|---|---|\n"


def read(*parts):
    with open(os.path.join(*parts)) as f:
        return f.read()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def block(text):
    """What is between the markers, or None."""
    parts = re.findall(re.escape(BEGIN) + r"\n(.*?)" + re.escape(END), text, re.S)
    return parts[0] if len(parts) == 1 else None


def put_block(path, new):
    parts = re.compile("(" + re.escape(BEGIN) + r"\n).*?(" + re.escape(END) + ")", re.S)
    write(path, parts.sub(lambda m: m.group(1) + new + m.group(2), read(path)))


def targets(top):
    return sorted(os.path.basename(p)[5:-2] for p in glob.glob(os.path.join(top, "tests", "fuzz", "fuzz_*.c")))


def fuzz_rows(build, names):
    """Per target the sums of its runs since it last failed: {name: (executions, cpu, reached, of)}."""
    path, rows = os.path.join(build, "fuzz", "history"), {}
    for line in read(path).splitlines() if os.path.exists(path) else []:
        name, executions, reached, of, _, cpu, verdict = (c.strip() for c in line.strip("|").split("|"))
        if verdict != "clean":
            rows.pop(name, None)
        elif name in names:
            before = rows.get(name, (0, 0, 0, 0))
            rows[name] = (before[0] + int(executions), before[1] + int(cpu), max(before[2], int(reached)), int(of))
    return rows


def percent(row):
    return round(100 * row[2] / row[3]) if row[3] else 0


def put_fuzz(top, rows):
    lines = ["| %s | %d | %d | %d | %d | %d %% |\n" % (n, r[0], r[1], r[2], r[3], percent(r))
             for n, r in sorted(rows.items())]
    put_block(os.path.join(top, "tests", "fuzz", "README.md"), HEAD + "".join(lines))
    low, high = (choose(rows, key=lambda n: percent(rows[n])) for choose in (min, max))
    sentence = ("Fuzzing: %d targets, %.1f million inputs, %d CPU seconds or more each; coverage of the edges of its\n"
                "program from %d %% (%s) to %d %% (%s)." % (
                    len(rows), sum(r[0] for r in rows.values()) / 1e6, min(r[1] for r in rows.values()),
                    percent(rows[low]), low, percent(rows[high]), high))
    readme = os.path.join(top, "README.md")
    put_block(readme, FUZZED.sub(lambda _: sentence, block(read(readme))))


def put_planted(top, build):
    path = os.path.join(build, "results", "planted.log")
    found = re.search(r"^(\d+) holes planted, (\d+) caught", read(path), re.M) if os.path.exists(path) else None
    holes = len(re.findall(r"^hole ", read(top, "tests", "planted", "holes.txt"), re.M))
    if found is None or int(found.group(1)) != holes:
        return False  # not of all of them
    readme = os.path.join(top, "README.md")
    put_block(readme, re.sub(r"^(\| %s \|.*\n)(\| Planted holes \|.*\n)?" % ATTACKS[-1],
                             r"\1| Planted holes | %s | %s |\n" % found.groups(), block(read(readme)), flags=re.M))
    return True


def check(top):
    """What is wrong, as sentences."""
    wrong, text, table = [], block(read(top, "README.md")), block(read(top, "tests", "fuzz", "README.md"))
    if text is None or table is None:
        return ["README.md or tests/fuzz/README.md does not have its markers once"]
    for name in ATTACKS:
        found = re.search(r"^\| %s \| (\d+) \| (\d+) \|$" % re.escape(name), text, re.M)
        if not found or int(found.group(1)) == 0 or found.group(1) != found.group(2):
            wrong.append("README.md: '%s' is missing, or not all were refused" % name)
    found = re.search(r"^\| Planted holes \| (\d+) \| (\d+) \|$", text, re.M)
    if found and found.group(1) != found.group(2):
        wrong.append("README.md: not all planted holes were caught")
    rows = dict(re.findall(r"^\| (\w+) \| (\d+) \| \d+ \| \d+ \| \d+ \| \d+ % \|$", table, re.M))
    for name in sorted(set(rows) - set(targets(top))):
        wrong.append("tests/fuzz/README.md: there is no target %s any more" % name)
    found = FUZZED.search(text)
    if not found or int(found.group(1)) != len(rows) or not {found.group(5), found.group(7)} <= set(rows):
        wrong.append("README.md: the sentence on fuzzing does not go with the table of tests/fuzz/README.md")
    elif abs(sum(map(int, rows.values())) / 1e6 - float(found.group(2))) > 0.06:
        wrong.append("README.md: %s million inputs are not the sum of tests/fuzz/README.md" % found.group(2))
    return wrong


def main(args):
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if args[:1] == ["--top"]:
        top, args = args[1], args[2:]
    if args == ["--check"]:
        wrong = check(top)
        print("\n".join(wrong) or "the figures are complete")
        return 1 if wrong else 0
    if len(args) != 1:
        sys.exit(__doc__)
    rows = fuzz_rows(args[0], targets(top))
    missing = sorted(set(targets(top)) - set(rows))
    if rows and not missing:
        put_fuzz(top, rows)
    print("fuzzing: %s" % ("nothing yet of " + " ".join(missing) if missing else "%d targets" % len(rows)))
    print("planted holes: %s" % ("put" if put_planted(top, args[0]) else "no run of all of them"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
