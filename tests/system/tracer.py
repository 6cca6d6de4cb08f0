# SPDX-License-Identifier: ISC
"""A running process under root's ptrace: stops at its system calls and at its end, and what its memory holds there.

x86-64 only, like the drill on running processes."""
import ctypes
import os
import platform
import signal

SUPPORTED = platform.machine() == "x86_64"
CONT, GETREGS, SETREGS, DETACH, SYSCALL, SEIZE, INTERRUPT, SYSCALL_INFO = 7, 12, 13, 17, 24, 0x4206, 0x4207, 0x420e
TRACE_SYSGOOD, TRACE_EXIT = 0x01, 0x40
EVENT_EXIT, EVENT_STOP = 6, 128
WALL = 0x40000000
ENTRY, EXIT = 1, 2
SYS_POLL, SYS_MUNMAP, SYS_RESTART, SYS_FLOCK = 7, 11, 219, 73

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long
_NAMES = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base "
          "ds es fs gs").split()


class Registers(ctypes.Structure):
    _fields_ = [(n, ctypes.c_ulong) for n in _NAMES]


def _ptrace(request, pid, address=None, data=None):
    result = _libc.ptrace(request, pid, address, data)
    if result < 0:
        raise OSError(ctypes.get_errno(), "ptrace %#x: %s" % (request, os.strerror(ctypes.get_errno())))
    return result


class Tracee:
    """Attached from the start, stopped; the caller goes on from stop to stop."""

    def __init__(self, pid):
        self.pid, self.status = pid, None
        _ptrace(SEIZE, pid, None, TRACE_SYSGOOD | TRACE_EXIT)
        _ptrace(INTERRUPT, pid)
        self._wait()

    def _wait(self):
        self.status = os.waitpid(self.pid, WALL)[1]

    def next(self):
        """On to the next system call or end: "entry", "exit", "end" (its memory is still there), "gone"."""
        pass_on = 0
        while True:
            _ptrace(SYSCALL, self.pid, None, pass_on)
            self._wait()
            if not os.WIFSTOPPED(self.status):
                return "gone"
            sig, event, pass_on = os.WSTOPSIG(self.status), self.status >> 16, 0
            if event == EVENT_EXIT:
                return "end"
            if sig == signal.SIGTRAP | 0x80:
                info = (ctypes.c_ubyte * 88)()
                _ptrace(SYSCALL_INFO, self.pid, len(info), ctypes.addressof(info))
                return "entry" if info[0] == ENTRY else "exit"
            if event == 0:
                pass_on = sig

    def registers(self):
        r = Registers()
        _ptrace(GETREGS, self.pid, None, ctypes.addressof(r))
        return r

    def result(self, value):
        """At an exit: let the call have returned that."""
        r = self.registers()
        r.rax = value & (1 << 64) - 1
        _ptrace(SETREGS, self.pid, None, ctypes.addressof(r))

    def detach(self):
        _ptrace(DETACH, self.pid)

    def go(self):
        """Let it run, and end: its parent hears of that."""
        while os.WIFSTOPPED(self.status):
            _ptrace(CONT, self.pid)
            self._wait()
