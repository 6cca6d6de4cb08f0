# SPDX-License-Identifier: ISC
"""Fixtures: a fresh group per test, torn down after it whatever happens, logs checked."""
import os

import pytest

import bulkhead
import net
import process


def pytest_configure(config):
    process.adopt_orphans()
    if not hasattr(config, "workerinput"):  # the first process of a run, not a parallel worker
        net.remove_stale()


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root for namespaces and sandbox"))


@pytest.fixture
def make_group():
    """Function that makes a Group; all are ended after the test, and their logs are checked."""
    groups = []

    def make(*args, **kw):
        groups.append(bulkhead.Group(*args, **kw))
        return groups[-1]
    yield make
    bad = []
    for g in groups:
        g.print_logs()  # shown by pytest for a failed test only
        g.end()
        bad += g.bad_log_lines()
    for g in groups:
        g.close()
    assert not bad, "log:\n" + "\n".join(bad[:60])


@pytest.fixture(autouse=True)
def no_reports():
    """Programs that the test ran itself have nothing to report either: errors, leaks."""
    bulkhead.take_reports()
    yield
    reports = bulkhead.take_reports()
    assert not reports, "\n".join(reports)


@pytest.fixture
def pair(make_group):
    """A running, settled hot-standby pair: (group, main, standby)."""
    g = make_group()
    g.start()
    return (g, *g.wait_pair())
