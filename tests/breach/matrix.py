#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The breach matrix, from what the system tests left in BUILD/results.

usage: matrix.py BUILD [README]     writes BUILD/doc/breach-matrix.md, and the figures of the README
Exit code 1 when a cell was not denied, or when a part is missing, or a channel of which nothing was tried.
"""
import glob
import json
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

PAGE = """# Breach matrix

Made by the test run; do not edit. The numbers are those of the list in doc/privsep.md; *killed*: by the
kernel; *trapped*: not executed, named in the log, and the process ends; an error otherwise.

## By every sandbox, and by each layer alone

Processes that enter the sandbox of each child with its descriptors and then try (`bulkheadctl drill`).

%s
## By the running children

The running process itself issues the call (`tests/breach/ptrace_drill`). *refused*: with an error.

%s
On a server that runs without any filter: what root folder, user, limits and Landlock refuse by themselves.

%s
## By messages of an evil peer

One end of a channel is in other hands and says all that it must not say, made from `lib/messages.def`
(`tests/breach/evil_peer`), in each state of the channel: at the *start*, when it *runs*, while a reload is
*prepared*, and after the order to *stop*. Refused: the receiver kills or cuts off the sender, names message
and reason, lives on and keeps no descriptor. A process that its supervisor speaks to like that ends with the
exit code for it; the parser takes nothing at all, and a `bulkheadctl` gives up with exit code 3.

Every channel that there is, in both directions: of each row of `policy/roles.def` with the supervisor, each
line of the matrix in `supervisor/channels.c`, the runner's, and the admin socket. icmpd, keyd and syncd
read nothing of a neighbour after *stop*, because they are gone at once.

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


STATES = ("start", "run", "prepare", "stop")


def read(*parts):
    with open(os.path.join(TOP, *parts)) as f:
        return f.read()


def edges():
    """Every channel, [(receiver, sender)] in both directions, from the tables of the program."""
    roles = dict(re.findall(r'^ROLE\((\w+), "(\w+)"', read("policy", "roles.def"), re.M))
    pairs = [(name, "supervisor") for name in roles.values()]
    pairs += [(roles[a], roles[b]) for a, b in
              re.findall(r"^\s*\{\{PROC_(\w+), PROC_(\w+)\}, \{-1, -1\}\},", read("supervisor", "channels.c"), re.M)]
    # processes without a row have a channel to whom they may send
    for sender, receiver in set(re.findall(r"^MESSAGE\(\w+, \d+, P\((\w+)\), P\((\w+)\)", read("lib", "messages.def"), re.M)):
        if sender not in roles and sender != "SUPERVISOR":
            pairs.append((sender.lower(), receiver.lower()))
    assert len(roles) >= 5 and len(pairs) >= len(roles) + 5, "the tables are not understood"
    return sorted({e for a, b in pairs for e in ((a, b), (b, a))})


def peer_table(rows):
    """Rows of figures per channel and state, and the channels of which no cell was tried."""
    figures = {}
    for receiver, sender, state, tried, refused in rows:
        cell = figures.setdefault((receiver, sender), {}).setdefault(state, [0, 0])
        cell[0] += tried
        cell[1] += refused
    lines = ["| receiver | sender | %s | cells | refused |" % " | ".join(STATES), "|---|---|" + "---|" * (len(STATES) + 2)]
    for edge in sorted(set(edges()) | set(figures)):
        states = figures.get(edge, {})
        tried, refused = (sum(c[i] for c in states.values()) for i in (0, 1))
        each = " | ".join(str(states[s][0]) if s in states else "" for s in STATES)
        lines.append("| %s | %s | %s | %d | %d |" % (*edge, each, tried, refused))
    return "\n".join(lines) + "\n", [e for e in edges() if e not in figures]


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
    unfiltered = load(build, "breach-unfiltered")
    peers = [r for r in load(build, "breach-peers-*") if len(r) == 5]
    figures = {
        "Calls from every sandbox and layer": tuple(map(int, counts.groups())) if counts else (0, 0),
        "Calls by the running children": (len(running), sum(c["verdict"] != "through" for c in running)),
        "The same without their filters": (len(unfiltered), sum(c["verdict"] != "through" for c in unfiltered)),
        "Messages of evil peers": (sum(r[3] for r in peers), sum(r[4] for r in peers)),
    }
    tried, denied = (sum(f[i] for f in figures.values()) for i in (0, 1))
    channels, untried = peer_table(peers)
    os.makedirs(os.path.join(build, "doc"), exist_ok=True)
    with open(os.path.join(build, "doc", "breach-matrix.md"), "w") as f:
        f.write(PAGE % (table, running_table(running), running_table(unfiltered), channels, tried, denied))
    if readme:
        put_figures(readme, figures)
    print("breach matrix: %d cells tried, %d denied" % (tried, denied))
    missing = [name for name, f in figures.items() if f[0] == 0]
    missing += ["from %s to %s" % (sender, receiver) for receiver, sender in untried]
    for name in missing:
        print("nothing was tried: %s" % name)
    return 1 if missing or denied != tried else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
