# SPDX-License-Identifier: ISC
"""The tests of the tests: a call outside the promises, or a sanitizer's report, fails whichever test it comes up in."""
import os
import re
import signal
import subprocess

import pytest

from bulkhead import LONG_S, REPORTS_ONLY, SANITIZED, TOP, wait_for
from test_breach import PTRACE_DRILL

REPORT = """\
2026-01-01T00:00:00.000Z netd[12] warning: ==12==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x1 at pc 0x2
2026-01-01T00:00:00.000Z roled[13] warning: [main-alone] This server is main and no standby is ready.
2026-01-01T00:00:00.000Z netd[12] warning:     #0 0x3  (/usr/lib/libnothing.so+0x3)
2026-01-01T00:00:00.000Z netd[12] warning: SUMMARY: AddressSanitizer: heap-buffer-overflow (/usr/lib/libnothing.so+0x3)
2026-01-01T00:00:00.000Z netd[12] warning: Shadow bytes around the buggy address:
2026-01-01T00:00:00.000Z netd[14] warning: netd/main.c:1:1: runtime error: signed integer overflow
2026-01-01T00:00:00.000Z supervisor[11] error: netd[14] ended: exit 1 (fatal error, logged before)
"""


def test_forbidden_call_fails_a_test(pair):
    """The line that names process and call is no side effect that a test can expect in passing."""
    group, main, standby = pair
    standby.expect_log(r".")
    attempt, pid = "prlimit64", standby.child("netd")
    drill = subprocess.Popen([PTRACE_DRILL, str(pid), attempt], stdout=subprocess.DEVNULL)
    line = r"%s: .*netd\[%d\].*system call \d+ \(%s\) is outside the promises" % (standby.name, pid, attempt)
    wait_for(lambda: [l for l in group.bad_log_lines() if re.search(line, l)], standby.log)
    if REPORTS_ONLY:  # it waits for an end that does not come
        drill.kill()
    else:
        wait_for(lambda: standby.child("netd") not in (None, pid), "another netd")
    drill.wait()
    standby.provoke(r"outside (the|its) promises")
    assert not group.bad_log_lines()


def test_report_fails_a_test(make_group):
    """Whole up to its summary, without what others say meanwhile."""
    group = make_group(["alpha"])
    server = group["alpha"]
    server.expect_log(r".")
    with open(server.log_file, "w") as f:
        f.write(REPORT)
    expected = [line for line in REPORT.splitlines() if re.search(r"netd\[12\].*(==|#0|SUMMARY)|runtime error", line)]
    found = server.bad_log_lines()
    assert [f.partition(": ")[2][:80] for f in found] == [e[:80] for e in expected], found
    server.provoke(r"AddressSanitizer: heap|runtime error")
    assert not server.bad_log_lines()


def test_supervisor_killed_by_the_kernel_fails_a_test(make_group):
    """It cannot say so itself."""
    group = make_group(["alpha"])
    server = group["alpha"]

    class Ended:
        returncode = -signal.SIGSYS
    server.popen = Ended()
    assert "the supervisor was killed by SIGSYS" in group.bad_log_lines()[0]
    server.popen = None


@pytest.mark.skipif(not SANITIZED, reason="a build without sanitizers")
def test_sanitizer_reports_from_the_empty_root(pair):
    """The report of a child comes through its log pipe, with all that it needs for that allowed."""
    group, main, standby = pair
    pid = standby.child("netd")
    os.kill(pid, signal.SIGSEGV)
    wait_for(lambda: "SUMMARY: AddressSanitizer: SEGV" in standby.log(), "a report")
    wait_for(lambda: standby.child("netd") not in (None, pid), "another netd")
    bad = "\n".join(group.bad_log_lines())
    assert re.search(r"netd\[%d\] warning: ==%d==ERROR: AddressSanitizer: SEGV" % (pid, pid), bad), bad
    assert "outside the promises" not in standby.log()
    standby.provoke(r".")
    standby.expect_log(r".")


def test_words_that_match_nothing(tmp_path):
    """./runtests -k says that nothing matched, not only that something failed."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}  # a run of its own
    p = subprocess.run([os.path.join(TOP, "runtests"), "-k", "no_" + "such_word", "system"], text=True,
                       capture_output=True, timeout=LONG_S, stdin=subprocess.DEVNULL,
                       env=dict(env, BULKHEAD_RESULTS=str(tmp_path), BULKHEAD_TEST_WORKERS="1"))
    assert p.returncode == 1 and "-k 'no_such_word' matches no system test" in p.stdout, p.stdout + p.stderr
