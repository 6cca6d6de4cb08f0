# SPDX-License-Identifier: ISC
"""A libexec folder in which one child is replaced by tests/breach/stand_in.c, with its orders written in."""
import os

import bulkhead

PROGRAM = os.path.join(bulkhead.BUILD, "tests", "breach", "stand_in")
MARK, SIZE = b"@stand-in-orders@", 512
FOREVER = 4000000000


def folder(server, child, act, edge="supervisor", first=1, last=1):
    """Programs for this server: the child does act in generations first to last, towards edge."""
    path = os.path.join(server.folder, "libexec")
    os.makedirs(path, exist_ok=True)
    for name in os.listdir(bulkhead.LIBEXEC):
        if not os.path.exists(os.path.join(path, name)):
            os.symlink(os.path.join(bulkhead.LIBEXEC, name), os.path.join(path, name))
    put(path, child, act, edge, first, last)
    return path


def put(path, child, act, edge="supervisor", first=1, last=1):
    """Write the program with these orders; a running supervisor takes it at the next start of the child."""
    orders = "%s|%d|%d|%s|%s\n" % (os.path.join(bulkhead.LIBEXEC, child), first, last, act, edge)
    with open(PROGRAM, "rb") as f:
        code = f.read()
    assert code.count(MARK) == 1 and len(orders) < SIZE
    at = code.index(MARK)
    new = os.path.join(path, child + ".new")
    with open(new, "wb") as f:
        f.write(code[:at] + orders.encode().ljust(SIZE, b"\0") + code[at + SIZE:])
    os.chmod(new, 0o755)
    os.rename(new, os.path.join(path, child))


def real(path, child):
    """Put the real program back."""
    new = os.path.join(path, child + ".new")
    os.symlink(os.path.join(bulkhead.LIBEXEC, child), new)
    os.rename(new, os.path.join(path, child))  # there is one at any time
