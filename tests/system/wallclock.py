# SPDX-License-Identifier: ISC
"""Step the wall clock of single processes, and of nothing else on the machine.

CLOCK_REALTIME has no namespace, and a test that sets the machine's clock by a year harms everything
else that runs on it. The children have an empty environment, so nothing can be preloaded either.
What they call is clock_gettime() of the vDSO, a page that root may write through /proc/PID/mem as a
debugger does: the function's first bytes become a system call plus an offset for the wall clocks.
CLOCK_MONOTONIC and CLOCK_BOOTTIME stay untouched, exactly as after settimeofday(2).
x86-64 only; can_step() says so elsewhere.
"""
import os
import platform
import signal
import struct
import time

CLOCK_GETTIME = 228  # system call number, x86-64


def can_step():
    return platform.machine() == "x86_64"


def _vdso(pid):
    """Range of the vDSO in the process."""
    with open("/proc/%d/maps" % pid) as f:
        for line in f:
            if line.rstrip().endswith("[vdso]"):
                start, end = line.split()[0].split("-")
                return int(start, 16), int(end, 16)
    raise RuntimeError("process %d has no vDSO" % pid)


def _symbol(image, name):
    """Offset of a function in the ELF image of the vDSO (its dynamic symbol table)."""
    sections, = struct.unpack_from("<Q", image, 40)
    size, count = struct.unpack_from("<HH", image, 58)
    table = [struct.unpack_from("<IIQQQQIIQQ", image, sections + i * size) for i in range(count)]
    for kind, offset, length, link, entry in ((s[1], s[4], s[5], s[6], s[9]) for s in table):
        if kind != 11:  # SHT_DYNSYM
            continue
        strings = table[link][4]
        for at in range(offset, offset + length, entry):
            st_name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", image, at)
            end = image.index(b"\0", strings + st_name)
            if image[strings + st_name:end].decode() == name:
                return value
    raise RuntimeError("vDSO has no " + name)


def _code(offset_s):
    """clock_gettime(edi, rsi) as a system call; offset_s added for CLOCK_REALTIME and its coarse twin."""
    return (b"\xb8" + struct.pack("<I", CLOCK_GETTIME)  # mov $228, %eax
            + b"\x0f\x05"                               # syscall
            + b"\x85\xc0" + b"\x75\x17"                 # test %eax, %eax; jnz out
            + b"\x85\xff" + b"\x74\x05"                 # test %edi, %edi; jz add
            + b"\x83\xff\x05" + b"\x75\x0e"             # cmp $5, %edi; jne out
            + b"\x48\xb9" + struct.pack("<q", offset_s)  # add: mov $offset, %rcx
            + b"\x48\x01\x0e"                           # add %rcx, (%rsi)
            + b"\x90"                                   # nop
            + b"\xc3")                                  # out: ret


def _outside(pid, start, end):
    """True when the stopped process is not executing inside the range."""
    with open("/proc/%d/syscall" % pid) as f:
        words = f.read().split()
    return words[0] != "running" and not start <= int(words[-1], 16) < end


def step(pids, offset_s):
    """From now on the wall clock of these processes is the machine's plus offset_s seconds."""
    for pid in pids:
        start, end = _vdso(pid)
        with open("/proc/%d/mem" % pid, "r+b", buffering=0) as memory:
            memory.seek(start)
            image = memory.read(end - start)
            entry = start + _symbol(image, "__vdso_clock_gettime")
            deadline = time.monotonic() + 5
            while True:
                os.kill(pid, signal.SIGSTOP)
                try:
                    if _outside(pid, start, end):
                        memory.seek(entry)
                        memory.write(_code(offset_s))
                        break
                finally:
                    os.kill(pid, signal.SIGCONT)
                if time.monotonic() > deadline:
                    raise RuntimeError("process %d never left the vDSO" % pid)
