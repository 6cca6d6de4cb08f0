# SPDX-License-Identifier: ISC
"""Running children without one layer: what the others refuse, so that none hides a hole of another."""
import pytest

import bulkhead
from bulkhead import CHILDREN, wait_for
from test_breach import ATTEMPTS, all_up, attempts, issue, needs_filter, take_away

# Without any filter, by the other layers: root folder, user, limits, Landlock (doc/privsep.md).
REFUSED = {
    "open": "ENOENT EACCES", "openat": "ENOENT EACCES", "execve": "ENOENT EACCES EAGAIN", "execveat": "ENOENT EACCES EAGAIN",
    "fork": "EAGAIN", "vfork": "EAGAIN", "clone": "EAGAIN", "mprotect_exec": "EACCES", "ptrace": "EPERM",
    "process_vm_readv": "EPERM", "process_vm_writev": "EPERM", "kill": "EPERM", "tgkill": "EPERM", "setuid": "EPERM",
    "setgroups": "EPERM", "unshare": "EPERM", "settimeofday": "EPERM",
}
# Nothing but the filter refuses these. What a new socket reaches: nothing, in an empty network namespace.
THROUGH = ("socket", "socket_unix", "mmap_exec", "memfd_create", "shmget", "inotify_init1", "prctl_dumpable")
# Without Landlock every call that it would refuse ends as ever.
LANDLOCK = ("open", "openat", "execve", "ptrace", "process_vm_readv", "kill", "mount", "connect", "bind")


def degraded(make_group, layer):
    """A pair of which the standby runs as on a kernel without that layer."""
    group = make_group()
    take_away(group["beta"], layer)
    group["beta"].flags = ["--allow-degraded"]
    group["beta"].expect_log(r".")
    group.start()
    group.wait_pair()
    return group, group["beta"]


@needs_filter
def test_without_a_filter(make_group):
    """The other layers refuse what they have to, each by its own error; the rest is what only a filter refuses."""
    group, server = degraded(make_group, "seccomp")
    cells = []
    for name in CHILDREN:
        pid = server.child(name)
        for attempt, errors in REFUSED.items():
            verdict, detail = issue(pid, attempt)
            assert verdict == "refused" and detail in errors.split(), "%s: %s: %s %s" % (name, attempt, verdict, detail)
            cells.append({"process": name, "attempt": attempt, "verdict": detail})
        for attempt in THROUGH:
            verdict, detail = issue(pid, attempt)
            assert verdict == "through", "%s: %s: %s %s" % (name, attempt, verdict, detail)
        assert server.child(name) == pid, "%s did not survive" % name
    bulkhead.record("breach-unfiltered", cells)
    group.wait_pair()


@needs_filter
@pytest.mark.parametrize("name", CHILDREN)
def test_without_landlock(make_group, name):
    """The filter does not need Landlock: the same verdicts as with it."""
    group, server = degraded(make_group, "landlock")
    server.provoke(r"SIGSYS|killed for|outside (the|its) promises")
    expected, gone = {a[0]: a[1].get(name, a[1][None]) for a in attempts()}, {}
    for number, attempt in enumerate(LANDLOCK):
        if number % ATTEMPTS == ATTEMPTS - 1:  # the wait before its next start grows
            server.stop()
            server.start()
            group.wait_pair()
            gone = {}
        pid = wait_for(lambda: all_up(server, gone), "all children are up", step_s=0.05)[name]
        verdict, detail = issue(pid, attempt)
        assert verdict == expected[attempt], "%s: %s: %s %s" % (name, attempt, verdict, detail)
        gone = {name: pid} if verdict in ("killed", "trapped") else {}
    group.wait_pair()
