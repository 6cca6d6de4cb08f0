#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The breach matrix, from what the system tests left in BUILD/results.

usage: matrix.py BUILD [README]     writes BUILD/doc/breach-matrix.md, and the figures of the README
Exit code 1 when a cell was not denied, or when a part is missing.
"""
import glob
import json
import os
import re
import sys

PAGE = """# Breach matrix

Made by the test run; do not edit. The numbers are those of the list in doc/privsep.md; *killed*: by the
kernel; *trapped*: not executed, named in the log, and the process ends; an error otherwise.

## By every sandbox, and by each layer alone

Processes that enter the sandbox of each child with its descriptors and then try (`bulkheadctl drill`).

%s
## By the running children

The running process itself issues the call (`tests/breach/ptrace_drill`). *refused*: with an error.

%s
## By messages of an evil peer

One end of a channel of a running daemon is in other hands and says all that it must not say, made from
`lib/messages.def` (`tests/breach/evil_peer`). Refused: the receiver kills or cuts off the sender, names
message and reason, lives on and keeps no descriptor.

%s
%d cells tried, %d denied.
"""


def load(build, pattern):
    parts = []
    for name in sorted(glob.glob(os.path.join(build, "results", pattern + ".json"))):
        with open(name) as f:
            parts += json.load(f)
    return parts


def running_table(cells):
    names = sorted({c["process"] for c in cells})
    rows = {}
    for c in cells:
        rows.setdefault(c["attempt"], {})[c["process"]] = c["verdict"]
    lines = ["| call | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    lines += ["| %s | %s |" % (a, " | ".join(v.get(n, "") for n in names)) for a, v in sorted(rows.items())
              if not a.startswith("control_")]
    return "\n".join(lines) + "\n"


def peer_table(rows):
    lines = ["| receiver | sender | cells | refused |", "|---|---|---|---|"]
    return "\n".join(lines + ["| %s | %s | %s | %s |" % tuple(r) for r in rows]) + "\n"


def put_figures(readme, figures):
    """Replace the numbers of our rows in the table of the README."""
    with open(readme) as f:
        text = f.read()
    for name, (tried, denied) in figures.items():
        text = re.sub(r"^\| %s \|.*$" % re.escape(name), "| %s | %d | %d |" % (name, tried, denied), text, flags=re.M)
    with open(readme, "w") as f:
        f.write(text)


def main(build, readme=None):
    table = "\n".join(load(build, "breach-drill"))
    counts = re.search(r"^(\d+) cells tried, (\d+) denied", table, re.M)
    running = [c for c in load(build, "breach-running-*") if not c["attempt"].startswith("control_")]
    peers = [r for r in load(build, "breach-peers-*") if len(r) == 4]
    figures = {
        "Calls from every sandbox and layer": tuple(map(int, counts.groups())) if counts else (0, 0),
        "Calls by the running children": (len(running), sum(c["verdict"] != "through" for c in running)),
        "Messages of evil peers": (sum(int(r[2]) for r in peers), sum(int(r[3]) for r in peers)),
    }
    tried, denied = (sum(f[i] for f in figures.values()) for i in (0, 1))
    os.makedirs(os.path.join(build, "doc"), exist_ok=True)
    with open(os.path.join(build, "doc", "breach-matrix.md"), "w") as f:
        f.write(PAGE % (table, running_table(running), peer_table(peers), tried, denied))
    if readme:
        put_figures(readme, figures)
    print("breach matrix: %d cells tried, %d denied" % (tried, denied))
    missing = [name for name, f in figures.items() if f[0] == 0]
    for name in missing:
        print("nothing was tried: %s" % name)
    return 1 if missing or denied != tried else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
