#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Count test results: prints `passed failed skipped`.
usage: count.py BUILD-DIRECTORY      results of make check: cases of cmocka programs, else programs
       count.py --junit FILE         a JUnit XML file
"""
import os
import re
import sys
import xml.etree.ElementTree


def programs(directory):
    """Sum of all .trs files that automake left below the directory, not of builds inside it."""
    passed = failed = skipped = 0
    for folder, subfolders, files in os.walk(directory):
        if folder != directory and "config.status" in files:
            subfolders.clear()
            continue
        for name in (f for f in files if f.endswith(".trs")):
            base = os.path.join(folder, name[:-4])
            with open(base + ".trs") as f:
                result = re.findall(r"^:test-result: (\w+)", f.read(), re.M)
            with open(base + ".log", errors="replace") as f:
                text = f.read()
            cases = [sum(int(n) for n in re.findall(r"\[  %s  \] (\d+) test\(s\)[,.:]" % w, text))
                     for w in ("PASSED", "FAILED", "SKIPPED")]
            if "FAIL" in result or "ERROR" in result:
                passed, failed = passed + cases[0], failed + max(1, cases[1])
            elif "SKIP" in result:
                skipped += 1
            else:
                passed, skipped = passed + max(1, cases[0]), skipped + cases[2]
    return passed, failed, skipped


def junit(file):
    passed = failed = skipped = 0
    try:
        cases = xml.etree.ElementTree.parse(file).getroot().iter("testcase")
    except (OSError, xml.etree.ElementTree.ParseError):
        return 0, 1, 0
    for case in cases:
        kinds = {e.tag for e in case}
        if kinds & {"failure", "error"}:
            failed += 1
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


if __name__ == "__main__":
    print(*(junit(sys.argv[2]) if sys.argv[1] == "--junit" else programs(os.path.normpath(sys.argv[1]))))
