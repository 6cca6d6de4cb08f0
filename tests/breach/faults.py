# SPDX-License-Identifier: ISC
"""Faults in a running daemon, by root's ptrace: memory that is not there, calls of the C library made
in the process itself, system calls that fail. The daemon helps in nothing; its sandbox stays in force.

    faults.py sites PROGRAM                the places in a program that ask for memory
    faults.py learn PROGRAM...             take them and their libraries apart, for the commands below
    faults.py start SUPERVISOR ROLE [SITE [ERRNO CALL...]]
                                           the next ROLE that SUPERVISOR starts, from its first instruction
    faults.py run PID SITE [ERRNO CALL...] a process that runs; these system calls (numbers) of it fail
    faults.py call PID FUNCTION [ARG...] [-- FUNCTION [ARG...]]...
                                           make it call functions of its libraries; an argument is a number,
                                           text, or a result: @ of the call before, @0 of the first

start and run note every place that asks for memory, and the first time that it is SITE there is none ("": look
only; "-": do not even look). They end with the process, or when standard input ends. Each
answers in lines of JSON, of which the last has "end". x86-64 only (exit code 77 elsewhere).
"""
import bisect
import ctypes
import json
import os
import platform
import re
import signal
import struct
import subprocess
import sys
import threading

# function: what it returns when there is no memory
ALLOCATORS = {
    "malloc": 0, "calloc": 0, "realloc": 0, "reallocarray": 0, "memalign": 0, "aligned_alloc": 0,
    "strdup": 0, "strndup": 0, "posix_memalign": 12, "mmap": -1, "mmap64": -1, "mremap": -1,
    "vasprintf": -1, "asprintf": -1, "__vasprintf_chk": -1, "__asprintf_chk": -1,
    "sodium_malloc": 0, "sodium_allocarray": 0,
    "__libc_malloc": 0, "__libc_calloc": 0, "__libc_realloc": 0,  # of a program that has its own malloc
    "setenv": -1, "fdopendir": 0, "opendir": 0, "__cxa_atexit": -1, "fopen": 0, "fmemopen": 0, "getline": -1,
}
INNER = ("__libc_malloc", "__libc_calloc", "__libc_realloc")
ENOMEM = 12
SIGTRAP = signal.SIGTRAP

TRACEME, PEEKUSER, CONT, GETREGS, SETREGS, DETACH, SYSCALL = 0, 3, 7, 12, 13, 17, 24
SETOPTIONS, GETEVENTMSG, GETSIGINFO, SEIZE, INTERRUPT = 0x4200, 0x4201, 0x4202, 0x4206, 0x4207
GET_SYSCALL_INFO = 0x420e
O_SYSGOOD, O_FORK, O_VFORK, O_CLONE, O_EXEC = 1, 2, 4, 8, 16
EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_STOP = 1, 2, 3, 4, 128
WALL = 0x40000000

REGS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
        "fs_base gs_base ds es fs gs").split()
SYS_GETPID = 39  # in every promise set, without conditions

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class Ended(Exception):
    """The process is gone; status: how."""

    def __init__(self, status):
        super().__init__(describe(status))
        self.status = status


def ptrace(request, pid, address=0, data=0):
    if _libc.ptrace(request, pid, address, data) == -1:
        error = ctypes.get_errno()
        raise OSError(error, "ptrace %#x: %s" % (request, os.strerror(error)))


def describe(status):
    if os.WIFSIGNALED(status):
        return "signal %d" % os.WTERMSIG(status)
    return "exit %d" % os.WEXITSTATUS(status)


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in REGS]

    def copy(self):
        other = Registers()
        ctypes.memmove(ctypes.byref(other), ctypes.byref(self), ctypes.sizeof(self))
        return other


# ---- programs

def symbols(path, dynamic=True):
    """name -> offset in the file's address space; of a program without -D: all functions."""
    p = subprocess.run(["nm", *(["-D"] if dynamic else []), "--defined-only", path], capture_output=True, text=True)
    found = {}
    for line in p.stdout.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] in "TtWwiVv":
            found.setdefault(fields[2].split("@")[0], int(fields[0], 16))
    return found


class Names:
    """Addresses of a program in words: function+offset."""

    def __init__(self, path):
        table = symbols(path, dynamic=False) or symbols(path)
        self.rows = sorted((a, n) for n, a in table.items())
        self.starts = [a for a, n in self.rows]

    def __call__(self, address):
        i = bisect.bisect_right(self.starts, address) - 1
        return "%s+%#x" % (self.rows[i][1], address - self.starts[i]) if i >= 0 else "%#x" % address


def find_call_sites(path):
    p = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True)
    names, sites, pending = Names(path), {}, None
    for line in p.stdout.splitlines():
        m = re.match(r"\s*([0-9a-f]+):\t(?:bnd )?(.*)", line)
        if not m:
            continue
        address, text = int(m.group(1), 16), m.group(2)
        if pending:
            sites[pending[0]] = [names(pending[0]).split("+")[0], pending[1], address]
        pending = None
        m = re.match(r"(call|jmp)\s.*<(\w+)@plt>", text)
        if m and m.group(2) in ALLOCATORS and m.group(1) == "call":
            pending = (address, m.group(2))
        elif m and m.group(2) in ALLOCATORS:
            sites[address] = [names(address).split("+")[0], m.group(2), 0]
    return sites


def call_sites(path):
    """{address of the call: [function that calls, allocator, address behind it, 0 of a tail call]}."""
    return {int(address): site for address, site in cached("sites", path, find_call_sites).items()}


# ---- one traced process

class Tracee:
    def __init__(self, pid):
        self.pid, self.mem, self.traps, self.modules = pid, None, {}, []

    def wait(self):
        """The next stop: (signal, event)."""
        pid, status = os.waitpid(self.pid, WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            raise Ended(status)
        return os.WSTOPSIG(status), status >> 16

    def seize(self, options=0):
        ptrace(SEIZE, self.pid, 0, O_SYSGOOD | options)
        self.interrupt()

    def interrupt(self):
        ptrace(INTERRUPT, self.pid)
        while True:
            sig, event = self.wait()
            if event == EVENT_STOP:
                return
            self.pass_on(sig, event)

    def pass_on(self, sig, event, how=CONT):
        """Go on from a stop that is not ours; signals are delivered."""
        deliver = sig if not event and sig not in (SIGTRAP, SIGTRAP | 0x80) else 0
        ptrace(how, self.pid, 0, deliver)

    def regs(self):
        r = Registers()
        ptrace(GETREGS, self.pid, 0, ctypes.addressof(r))
        return r

    def at_entry(self):
        """Is it stopped at the entry of a system call, not at its exit?"""
        info = ctypes.create_string_buffer(128)
        ptrace(GET_SYSCALL_INFO, self.pid, len(info), ctypes.addressof(info))
        return info.raw[0] == 1

    def set_regs(self, r):
        ptrace(SETREGS, self.pid, 0, ctypes.addressof(r))

    def open(self):
        """Its memory and its modules, as they are now."""
        if self.mem is None:
            self.mem = os.open("/proc/%d/mem" % self.pid, os.O_RDWR | os.O_CLOEXEC)
        self.modules = []
        with open("/proc/%d/maps" % self.pid) as f:
            lines = [line.split(None, 5) for line in f]
            code = {fields[5] for fields in lines if len(fields) == 6 and "x" in fields[1]}  # not mapped data
            for fields in lines:
                if len(fields) == 6 and fields[5].startswith("/") and fields[5] in code:
                    start, end = (int(x, 16) for x in fields[0].split("-"))
                    self.modules.append((start, end, start - int(fields[2], 16), fields[5].strip()))

    def read(self, address, size):
        return os.pread(self.mem, size, address)

    def write(self, address, data):
        assert os.pwrite(self.mem, data, address) == len(data)

    def bases(self):
        """path -> address where its offset 0 is."""
        found = {}
        for start, end, base, path in self.modules:
            found[path] = min(found.get(path, start), base if base <= start else start)
        return found

    def find(self, name):
        """Address of a function of one of its modules."""
        for path, base in self.bases().items():
            offset = cached_symbols(path).get(name)
            if offset is not None:
                return base + offset
        return None

    def site(self, address):
        """Where in which module: ("netd", offset)."""
        for start, end, base, path in self.modules:
            if start <= address < end:
                return os.path.basename(path), address - self.bases()[path]
        return "?", address

    def trap(self, address):
        if address not in self.traps:
            self.traps[address] = self.read(address, 1)
            self.write(address, b"\xcc")

    def untrap(self, address):
        self.write(address, self.traps.pop(address))

    def call(self, function, *args):
        """Make the stopped process call a function. Returns (rax, signal it stopped with)."""
        saved = self.regs()
        r = saved.copy()
        stack = (saved.rsp - 4096) & ~63
        values = []
        for a in args:
            if isinstance(a, (bytes, str)):
                text = (a.encode() if isinstance(a, str) else a) + b"\0"
                stack = (stack - len(text)) & ~63
                self.write(stack, text)
                values.append(stack)
            else:
                values.append(a & (1 << 64) - 1)
        back = self.find_back()
        stack -= 8
        self.write(stack, struct.pack("<Q", back))
        r.rsp, r.rip, r.rax = stack, function, 0
        r.orig_rax = (1 << 64) - 1
        for name, value in zip(("rdi", "rsi", "rdx", "rcx", "r8", "r9"), values):
            setattr(r, name, value)
        self.set_regs(r)
        ptrace(CONT, self.pid)
        while True:
            sig, event = self.wait()
            now = self.regs()
            if sig == SIGTRAP and not event and now.rip == back + 1:
                break
            if not event and sig not in (signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR1):
                return None, sig
            self.pass_on(sig, event)
        result = now.rax
        if saved.orig_rax < 1 << 63 and saved.rax > (1 << 64) - 4096:  # a call was under way
            saved.rax, saved.orig_rax = (1 << 64) - 4, (1 << 64) - 1  # EINTR
        self.set_regs(saved)
        return result, 0

    def find_back(self):
        """A place to come back to: a trap on the entry of the program, which runs once only."""
        back = entry_of(self.pid)
        self.trap(back)
        return back

    def set_errno(self, value):
        """In the thread that is stopped at the entry of a function."""
        location, _ = self.call(self.find("__errno_location"))
        self.write(location, struct.pack("<i", value))

    def disarm(self):
        for address, byte in self.traps.items():
            self.write(address, byte)
        self.traps = {}

    def detach(self):
        self.disarm()
        ptrace(DETACH, self.pid)
        os.close(self.mem)


_known = {}


def cached(what, path, find):
    """Taking a library apart takes a second: BULKHEAD_SITES names a file that keeps what was found."""
    if not os.path.exists(path):
        return {}
    st, cache = os.stat(path), os.environ.get("BULKHEAD_SITES")
    key = "%s %s %d %d" % (what, path, st.st_mtime_ns, st.st_size)
    if key in _known:
        return _known[key]
    try:
        with open(cache or "/dev/null") as f:
            _known.update(json.load(f))
    except (OSError, ValueError):
        pass
    if key not in _known:
        _known[key] = find(path)
        if cache:
            with open("%s.%d" % (cache, os.getpid()), "w") as f:
                json.dump(_known, f)
            os.rename(f.name, cache)
    return _known[key]


def cached_symbols(path):
    return cached("symbols", path, symbols)


def entry_of(pid):
    """AT_ENTRY of the auxiliary vector."""
    with open("/proc/%d/auxv" % pid, "rb") as f:
        data = f.read()
    for i in range(0, len(data), 16):
        key, value = struct.unpack_from("<QQ", data, i)
        if key == 9:
            return value
    raise RuntimeError("no entry point")


# ---- who asks for memory

class Watch:
    """A trap on every call of an allocator in the program and its libraries, each of which says once that
    it was reached; one of them is told that there is no memory. System calls of the given numbers are not
    made: the process asks for its own number instead and is told the error."""

    def __init__(self, tracee, fail=None, error=0, numbers=()):
        self.t, self.fail, self.error, self.numbers = tracee, fail, error, set(numbers)
        self.hits, self.failed, self.refused, self.at = {}, [], {}, {}
        self.inside, self.stopping = None, False
        self.inner, self.due = [], False

    def arm(self):
        self.t.open()
        for path, base in self.t.bases().items():
            name = os.path.basename(path)
            if name.startswith(("ld-", "libc.")):
                continue  # its functions that need memory are among the allocators
            for address, (function, allocator, behind) in call_sites(path).items():
                self.at[base + address] = ("%s+%#x" % (name, address), function, allocator, behind and base + behind)
                self.t.trap(base + address)
        self.inner = [a for a, (_, _, allocator, _) in self.at.items() if allocator in INNER]

    def on_trap(self):
        """Is this stop at the call of an allocator? Then deal with it."""
        r = self.t.regs()
        at = r.rip - 1
        if at not in self.at:
            return
        site, function, allocator, behind = self.at[at]
        self.hits[site] = [function, allocator]
        self.t.untrap(at)
        r.rip = at
        self.t.set_regs(r)
        if self.due and allocator in INNER:
            site = self.fail
        if site != self.fail:
            answer(reached=site)
            return
        if self.inner and allocator not in INNER:
            self.due = True  # the program's own malloc is asked now, and will not get it
            for inner in self.inner:
                self.t.trap(inner)
            return
        self.due = False
        self.failed.append(site)
        answer(failed=site)
        self.t.set_errno(ENOMEM)
        if behind:
            r.rip = behind
        else:  # a jump instead of call and return
            r.rip = struct.unpack("<Q", self.t.read(r.rsp, 8))[0]
            r.rsp += 8
        r.rax = ALLOCATORS[allocator] & (1 << 64) - 1
        r.orig_rax = (1 << 64) - 1
        self.t.set_regs(r)

    def on_call(self):
        """Entry or exit of a system call."""
        r, entry = self.t.regs(), self.t.at_entry()
        if entry and r.orig_rax in self.numbers and not self.stopping:
            self.inside = r.orig_rax
            r.orig_rax = r.rax = SYS_GETPID
            self.t.set_regs(r)
        elif not entry and self.inside is not None:
            r.rax = (1 << 64) - self.error
            self.t.set_regs(r)
            self.refused[self.inside] = self.refused.get(self.inside, 0) + 1
            if sum(self.refused.values()) == 1:
                answer(refused=self.inside)
            self.inside = None

    def follow(self):
        """Until the process ends, or stop(). Returns how it ended, or "lives"."""
        how = SYSCALL if self.numbers else CONT
        ptrace(how, self.t.pid)
        try:
            while True:
                sig, event = self.t.wait()
                if sig == SIGTRAP | 0x80:
                    self.on_call()
                elif sig == SIGTRAP and not event:
                    self.on_trap()
                # any stop will do: each takes the place of the one that stop() asked for
                if self.stopping and self.inside is None and sig & 0x7f == SIGTRAP:
                    self.t.detach()
                    return "lives"
                if self.stopping:
                    ptrace(INTERRUPT, self.t.pid)
                self.t.pass_on(sig, event, how)
        except Ended as e:
            return describe(e.status)

    def stop(self, *_):
        self.stopping = True
        try:
            ptrace(INTERRUPT, self.t.pid)
        except OSError:
            pass  # it has just ended


def until_stdin_ends(on_end):
    """Have on_end called in this thread, which alone may trace, once standard input ends."""
    signal.signal(signal.SIGUSR2, on_end)
    main_thread = threading.get_ident()

    def wait():
        while os.read(0, 4096):
            pass
        signal.pthread_kill(main_thread, signal.SIGUSR2)
    threading.Thread(target=wait, daemon=True).start()


def answer(**what):
    print(json.dumps(what), flush=True)


def report(watch, end):
    answer(end=end, pid=watch.t.pid, failed=watch.failed, hits=watch.hits, refused=watch.refused)


def run(pid, fail=None, error=0, numbers=()):
    t = Tracee(pid)
    t.open()
    for path in t.bases():  # before it is stopped: it has to answer the supervisor in time
        cached_symbols(path)
        if fail != "-" and not os.path.basename(path).startswith(("ld-", "libc.")):
            call_sites(path)
    t.seize()
    watch = Watch(t, fail, error, numbers)
    if fail != "-":
        watch.arm()
    until_stdin_ends(watch.stop)
    answer(traced=pid)
    report(watch, watch.follow())


def next_child(supervisor, role):
    """Stop the supervisor's next child of this name at its exec."""
    parent = Tracee(supervisor)
    parent.seize(O_FORK | O_VFORK | O_CLONE | O_EXEC)
    ptrace(CONT, supervisor)
    answer(traced=supervisor)
    while True:
        pid, status = os.waitpid(-1, WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if pid == supervisor:
                raise Ended(status)
            continue
        sig, event = os.WSTOPSIG(status), status >> 16
        t = Tracee(pid)
        if event == EVENT_EXEC and pid != supervisor:
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                args = f.read().split(b"\0")
            if args[1:2] == [role.encode()]:
                parent.interrupt()
                ptrace(DETACH, supervisor)
                return t
            ptrace(DETACH, pid)
            continue
        t.pass_on(sig, event)


def start(supervisor, role, fail=None, error=0, numbers=()):
    t = next_child(supervisor, role)
    t.open()
    entry = entry_of(t.pid)
    t.trap(entry)
    ptrace(CONT, t.pid)
    while True:
        sig, event = t.wait()
        if sig == SIGTRAP and not event:
            break
        t.pass_on(sig, event)
    t.open()
    regs = t.regs()
    regs.rip = entry
    t.set_regs(regs)
    t.untrap(entry)
    watch = Watch(t, fail, error, numbers)
    watch.arm()
    until_stdin_ends(watch.stop)
    answer(traced=t.pid)
    report(watch, watch.follow())


# ---- calls in the process itself

def call(pid, *calls):
    """calls: (function, arguments...) each."""
    t = Tracee(pid)
    t.open()
    results, addresses = [], {function: t.find(function) for function, *_ in calls}
    assert None not in addresses.values(), addresses
    t.seize()
    try:
        for function, *args in calls:
            result, sig = t.call(addresses[function], *[results[int(a[1:] or -1)] if str(a).startswith("@") else a
                                                        for a in args])
            if sig:
                ptrace(CONT, pid, 0, sig)
                while True:
                    t.pass_on(*t.wait())
            results.append(result)
        t.detach()
        answer(end="lives", results=results)
    except Ended as e:
        answer(end=describe(e.status), results=results)


def learn(programs):
    """While a process is stopped for us it cannot answer the supervisor: what takes long is done before."""
    for program in programs:
        text = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        for path in [program, *(os.path.realpath(p) for p in re.findall(r"=> (/\S+)", text))]:
            cached_symbols(path)
            if not os.path.basename(path).startswith(("ld-", "libc.")):
                call_sites(path)


def number_or_text(arg):
    try:
        return int(arg, 0)
    except ValueError:
        return arg


def main():
    if platform.machine() != "x86_64":
        print("faults.py: x86-64 only", file=sys.stderr)
        return 77
    what, args = sys.argv[1], sys.argv[2:]
    if what == "sites":
        for address, (function, allocator, _) in sorted(call_sites(args[0]).items()):
            print("%s+%#x %s %s" % (os.path.basename(args[0]), address, function, allocator))
    elif what == "learn":
        learn(args)
    elif what == "start":
        start(int(args[0]), args[1], args[2] if len(args) > 2 else "", int(args[3]) if len(args) > 3 else 0,
              map(int, args[4:]))
    elif what == "run":
        run(int(args[0]), args[1], int(args[2]) if len(args) > 2 else 0, map(int, args[3:]))
    elif what == "call":
        calls = [[]]
        for a in args[1:]:
            if a == "--":
                calls.append([])
            else:
                calls[-1].append(number_or_text(a))
        call(int(args[0]), *calls)
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
