# SPDX-License-Identifier: ISC
"""Real daemons in namespaces: a group of servers on a virtual network, with faults and observations.

    with Group(["alpha", "beta"]) as g:
        g.start()
        main, standby = g.wait_pair()
        main.kill()
        g.wait_main(standby)

Nothing here sleeps for a fixed time: wait_for() waits for a condition with a deadline, holds() checks
that one stays true for a while. Times are CLOCK_BOOTTIME, the clock of the daemons.
"""
import atexit
import collections
import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import net
import process

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BULKHEAD_BUILD", os.path.join(TOP, "build")))
LIBEXEC = os.path.join(BUILD, "libexec")
DAEMON = os.path.join(BUILD, "sbin", "bulkhead")
CTL = os.path.join(BUILD, "sbin", "bulkheadctl")
STAMP = os.path.join(BUILD, "tests", "system", "stamp")


def built_with(name):
    """Is this set in config.h of the build under test?"""
    try:
        with open(os.path.join(BUILD, "config.h")) as f:
            return re.search(r"^#define %s 1" % name, f.read(), re.M) is not None
    except OSError:
        return False


# ASan and UBSan: the programs are slower and larger. The filter names a call, and the process goes on.
SANITIZED, REPORTS_ONLY = built_with("BH_SANITIZERS"), built_with("BH_FILTER_REPORT")
# What `bulkheadctl check` says when all is well: such a sandbox is degraded, a warning.
CHECK_OK = 1 if REPORTS_ONLY else 0
# A slow or crowded machine (emulation): all timings of the daemons times this.
SCALE = float(os.environ.get("BULKHEAD_TEST_SCALE", "1"))
# Every deadline of the tests times this (and times what the load of the machine makes of it, patience()); the
# timings of the daemons stay.
SLOW = 3 if SANITIZED else 1
DEADLINE_S = 20 * SCALE
# With it the confirm time is no rival of proof, however slow that is on a crowded machine.
PATIENT = {"arbitration.confirm": "10s"}
LONG_S = 120 * SCALE  # of what ends by itself: only so that no run hangs for ever
CHILDREN = ("netd", "icmpd", "roled", "keyd", "syncd")
USERS = {"netd": 61001, "icmpd": 61002, "roled": 61003, "keyd": 61004, "syncd": 61006, "parser": 61005}

# Fast enough for a suite of many takeovers, slow enough for two cores with parallel tests.
TEST_MS = {
    "status.interval": 50, "status.dial-timeout": 300, "status.hello-timeout": 1000,
    "status.restart-grace": 5000, "icmp.interval": 50, "arbitration.hold": 700,
    "arbitration.step-down": 450, "arbitration.confirm": 900, "arbitration.join": 1500,
    "role.handover-timeout": 5000, "role.flap-window": 0,
}
TEST_COUNTS = {"status.misses": 6, "icmp.misses": 6}


def now_s():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def pause(seconds):
    """The one place where the harness itself waits between two looks at a condition."""
    time.sleep(seconds)


def record(name, data):
    """Leave figures for the pages that the run makes (tests/breach/matrix.py)."""
    folder = os.path.join(BUILD, "results")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name + ".json"), "w") as f:
        json.dump(data, f)


class Timeout(AssertionError):
    pass


# Programs that a test runs itself (bulkheadctl, bulkhead -n) leave what the sanitizers say here, leaks at
# the exit too; the children have no environment, and say it in the log.
REPORTS = tempfile.mkdtemp(prefix="bht.reports.") if SANITIZED else None
if REPORTS:
    os.chmod(REPORTS, 0o1777)
    os.environ["ASAN_OPTIONS"] = "log_path=%s/report" % REPORTS
    atexit.register(shutil.rmtree, REPORTS, ignore_errors=True)


def take_reports():
    """Texts of the reports that have come since the last call."""
    found = []
    for name in sorted(os.listdir(REPORTS)) if REPORTS else ():
        path = os.path.join(REPORTS, name)
        with open(path, errors="replace") as f:
            found.append(f.read())
        os.unlink(path)
    return found


def with_places(line):
    """A line of a sanitizer's report with file:line after program+offset; there is no /proc in the empty root."""
    at = re.search(r"\((/[^()+]+)\+(0x[0-9a-f]+)\)", line)
    if not at or " in " in line:
        return line
    p = subprocess.run(["addr2line", "-Cfpse", *at.groups()], text=True, capture_output=True)
    return "%s %s" % (line, p.stdout.strip())


def patience(seconds):
    """A deadline that is so long on a quiet machine: where more processes want to run than there are cores
    everything takes so many times longer."""
    return seconds * SLOW * max(1, os.getloadavg()[0] / os.cpu_count())


def wait_for(condition, what, limit_s=None, step_s=0.01):
    """Wait until condition() is true and return its value; what: the sentence of the failure."""
    limit_s = patience(limit_s or DEADLINE_S)
    deadline = now_s() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if now_s() > deadline:
            detail = what() if callable(what) else what
            raise Timeout("not within %g s: %s" % (limit_s, detail))
        pause(step_s)


def holds(condition, what, seconds, step_s=0.02):
    """Check that condition() stays true for so long."""
    end = now_s() + seconds * SCALE
    while now_s() < end:
        if not condition():
            raise AssertionError("did not stay so: %s" % (what() if callable(what) else what))
        pause(step_s)


def duration(ms):
    return "never" if ms is None else "%dms" % ms


Hook = collections.namedtuple("Hook", "boot_ns wall_ns uid env")


class Server:
    """One server of a group: its files, its daemon, its admin tool."""

    def __init__(self, group, name, kind):
        self.group, self.name, self.kind = group, name, kind
        self.namespace = group.network.ns[name]
        self.folder = os.path.join(group.folder, name)
        self.state, self.run = (os.path.join(self.folder, d) for d in ("state", "run"))
        self.config = os.path.join(self.folder, "bulkhead.conf")
        self.log_file = os.path.join(self.folder, "log")
        self.hook_file = os.path.join(self.folder, "hooks")
        self.stamp = os.path.join(self.folder, "stamp")
        self.options = {}     # section -> {option: text}; see Group.options
        self.about = {}       # options of its own section "server", in the files of all: {option: text}
        self.extra = ""       # appended to the config as it is
        self.flags = []       # of the daemon
        self.libexec = LIBEXEC  # programs of the children
        self.popen, self.key, self.expected, self.provoked = None, None, [], []
        self.up_pid = None  # of the life in which is_up() has been true
        for d in (self.folder, self.state, self.run):
            os.makedirs(d, mode=0o755)
        os.chmod(self.state, 0o700)
        shutil.copy(STAMP, self.stamp)
        with open(self.hook_file, "w"):
            os.chmod(self.hook_file, 0o666)  # hooks run as nobody

    # -- files

    def keygen(self):
        """Make the two keys and read the public identity, with the tool that an admin uses."""
        self.tool("keygen", check=True)
        self.key = self.tool("key", check=True).stdout.strip()

    def tool(self, *args, check=False, timeout=None):
        """Run bulkheadctl against this server; returns the finished process."""
        p = subprocess.run([*self.inside(), CTL, "-f", self.config, *args], text=True,
                           capture_output=True, timeout=patience(timeout or DEADLINE_S),
                           stdin=subprocess.DEVNULL)
        if check and p.returncode:
            raise RuntimeError("%s: bulkheadctl %s: exit %d: %s%s"
                               % (self.name, " ".join(args), p.returncode, p.stdout, p.stderr))
        return p

    def inside(self):
        """Prefix of a command that runs in the network namespace of this server."""
        return ["nsenter", "--net=%s/%s" % (net.NETNS_DIR, self.namespace), "--"]

    def write_config(self, text=None):
        with open(self.config + ".new", "w") as f:
            f.write(text if text is not None else self.group.config_text(self))
        os.chmod(self.config + ".new", 0o600)
        os.rename(self.config + ".new", self.config)

    # -- life

    def start(self):
        assert self.popen is None or self.popen.poll() is not None, "still runs"
        log = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            self.started_s = now_s()
            self.log_start = os.fstat(log).st_size
            self.popen = subprocess.Popen(
                [*self.inside(), DAEMON, "-d", "-x", self.libexec, "-f", self.config, *self.flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.group.environment,
                cwd="/", start_new_session=True, preexec_fn=process.die_with_parent)
        finally:
            os.close(log)
        process.owned.add(self.popen.pid)

    @property
    def pid(self):
        return self.popen.pid

    def pids(self):
        """Supervisor first, then all below it."""
        return process.tree(self.popen.pid) if self.popen else []

    def child(self, name):
        """Pid of a child by its process name; None while it does not run."""
        for pid in process.children(self.popen.pid):
            args = process.arguments(pid)
            if args and (os.path.basename(args[0]) == name or args[1:2] == [name]):
                return pid
        return None

    def signal(self, sig):
        os.kill(self.popen.pid, sig)

    def wait_exit(self, limit_s=None):
        """Wait for the supervisor to end; returns its exit status as subprocess does."""
        wait_for(lambda: self.popen.poll() is not None, "%s ends" % self.name, limit_s)
        process.owned.discard(self.popen.pid)
        return self.popen.returncode

    def kill(self, mute=False):
        """SIGKILL of every process of the guard; returns the time of the first.

        Supervisor first, and roled may yet tell of that; mute: supervisor last, so that nobody can.
        """
        pids = self.pids()
        if mute:  # it must not start a child again in between
            process.send(pids[:1], signal.SIGSTOP)
            pids.reverse()
        at = now_s()
        process.send(pids, signal.SIGKILL)
        self.wait_exit()
        process.end(pids)
        return at

    def freeze(self):
        """SIGSTOP of the whole guard; returns the time."""
        self.frozen = self.pids()
        at = now_s()
        process.send(self.frozen, signal.SIGSTOP)
        return at

    def thaw(self):
        process.send(self.frozen, signal.SIGCONT)

    def stop(self):
        """Orderly stop by SIGTERM; returns time of the signal and exit status."""
        pids = self.pids()
        at = now_s()
        self.signal(signal.SIGTERM)
        status = self.wait_exit()
        process.end(pids)
        return at, status

    def destroy(self):
        if self.popen is None:
            return
        pids = self.pids()
        process.send(pids, signal.SIGCONT)
        process.send(pids, signal.SIGKILL)
        self.popen.wait()
        process.owned.discard(self.popen.pid)
        process.end(pids)

    # -- observations

    def json(self, *args):
        """Answer of bulkheadctl --json; None when the daemon does not answer (yet)."""
        p = self.tool("--json", *args)
        if p.returncode or not p.stdout.strip():
            return None
        return json.loads(p.stdout)

    def status(self):
        return self.json("status")

    def own(self):
        """What status says about this server itself; {} while it does not answer."""
        return (self.status() or {}).get("self", {})

    def role(self):
        return self.own().get("role")

    def epoch(self):
        return self.own().get("epoch")

    def view(self, partner):
        """What status says about a partner."""
        for s in (self.status() or {}).get("servers", ()):
            if s["name"] == partner.name:
                return s
        return {}

    def links(self, **match):
        return [l for l in (self.status() or {}).get("links", ())
                if all(l.get(k) == v for k, v in match.items())]

    def is_up(self):
        """Once in a life: every process has its config, and roled has been told so."""
        if self.up_pid != self.popen.pid and self.processes() and \
                all(p["config"] != "unknown" for p in self.processes().values()):
            self.up_pid = self.popen.pid
        return self.up_pid == self.popen.pid

    def processes(self):
        return {p["name"]: p for p in (self.status() or {}).get("processes", ())}

    def events(self):
        """The ledger as a list, oldest first."""
        answer = self.json("events") or {}
        return answer.get("events", [])

    def log(self, whole=True):
        """Its log; whole: that of earlier lives, too."""
        try:
            with open(self.log_file, "rb") as f:
                f.seek(0 if whole else self.log_start)
                return f.read().decode(errors="replace")
        except OSError:
            return ""

    def wait_log(self, text, whole=True):
        """Wait until its log has this; lines of the children come by way of the supervisor, behind what they are about."""
        wait_for(lambda: text in self.log(whole), lambda: "%s says: %s\n%s" % (self.name, text, self.log()[-2000:]))

    def hooks(self):
        """Runs of the hook, oldest first."""
        runs = []
        with open(self.hook_file) as f:
            for line in f.read().splitlines():
                boot, wall, uid, *env = line.split("\t")
                runs.append(Hook(int(boot), int(wall), int(uid),
                                 dict(e.split("=", 1) for e in env if "=" in e)))
        return runs

    def hooks_as(self, kind):
        """Runs of the hook of that kind (main, standby, stop, alarm); tests of it do not count."""
        return [h for h in self.hooks()
                if h.env.get("BULKHEAD_HOOK") == kind and "BULKHEAD_TEST" not in h.env]

    def hook_as(self, kind, n=0):
        """The first run of that kind, or the one after n others; waited for."""
        return wait_for(lambda: self.hooks_as(kind)[n:], "run %d of the hook %s of %s" % (n + 1, kind, self.name))[0]

    def _role_hooks(self, since_s=0):
        """Kinds of its hooks that a role had run since then, oldest first. Alarms do not count: of those there are
        some that a slow machine raises."""
        return [h.env["BULKHEAD_HOOK"] for h in self.hooks() if h.boot_ns >= since_s * 1e9
                and h.env.get("BULKHEAD_HOOK") in ("main", "standby", "stop") and "BULKHEAD_TEST" not in h.env]

    def _hook_has_run(self, role):
        """Is the newest one of this life that of this role? It may come after the role is told."""
        return self._role_hooks(self.started_s)[-1:] == ["main" if role == "main" else "standby"]

    def role_hooks(self):
        """Number of its hooks that a role had run, with that of the role in force."""
        wait_for(lambda: (lambda role: role and self._hook_has_run(role))(self.role()),
                 lambda: "the hook of %s for its role has run\n%s" % (self.name, self.hooks()[-3:]))
        return len(self._role_hooks())

    def hooks_ended(self, role, rows):
        """The hook of this role has run, and none runs now; rows: its processes. True where the hooks are not those
        of Group.config_text()."""
        if set(self.group._sections(self).get("hook", {})) & {"main", "standby", "stop", "alarm"}:
            return True
        return self._hook_has_run(role) and not process.children(rows["runner"]["pid"])

    def wait_child(self, name, old=None):
        """Wait until a child is up, and is another one than old; returns its pid."""
        def look():
            row, pid = self.processes().get(name, {}), self.child(name)
            return pid if pid not in (None, old) and pid == row.get("pid") and row.get("state") == "up" else None
        return wait_for(look, lambda: "%s of %s is up\n%s" % (name, self.name, self.log()[-2000:]))

    def kill_child(self, name):
        """SIGKILL of a child; returns the pid of the next one, when it is up."""
        pid = self.wait_child(name)
        os.kill(pid, signal.SIGKILL)
        return self.wait_child(name, pid)

    def check_backoff(self, child, times):
        """The child ended so often, and was started after 10, 20, 40 ms ...; only who lived for ten seconds, which on
        a crowded machine may be, begins at 10 again."""
        ends = [(datetime.datetime.fromisoformat(at), int(ms)) for at, ms in re.findall(
            r"(?m)^(\S+)Z supervisor.* %s\[\d+\] (?:ended|was killed).*; starting it again in (\d+) ms" % child, self.log())]
        assert len(ends) == times, ends
        due, before = 10, None
        for at, ms in ends:
            long_life = before is not None and at - before >= datetime.timedelta(seconds=10)
            assert ms == due or long_life and ms == 10, ends
            due, before = 2 * ms, at

    def expect_log(self, pattern):
        """Lines that match are what the test wants to provoke."""
        self.expected.append(re.compile(pattern))

    def provoke(self, pattern):
        """The test makes a child break out of its promises, or crash: lines that match may say so."""
        self.provoked.append(re.compile(pattern))

    BAD = re.compile(r"violat|fatal|assert", re.I)
    # Never a side effect of something else: a test names what it provokes, expect_log() does not do.
    WORST = re.compile(r"SIGSYS|outside (?:the|its) promises|was killed for system call|core dump|"
                       r"==\d+==|(?:Address|Leak|UndefinedBehavior)Sanitizer|runtime error: ")

    def bad_log_lines(self):
        """Lines that no test may leave behind; after one of a sanitizer all of its report."""
        found, report = [], None
        for line in self.log().splitlines():
            excuses = self.provoked if self.WORST.search(line) else self.expected
            bad = self.WORST.search(line) or self.BAD.search(line)
            source = re.search(r" (\S+\[\d+\]) ", line)
            if bad and not any(e.search(line) for e in excuses):
                report = source and source.group(1)
            elif not report or " warning: " not in line or report not in line:
                continue
            found.append("%s: %s" % (self.name, with_places(line)))
            if "SUMMARY: " in line:  # what follows are bytes of the shadow
                report = None
        if self.popen and self.popen.returncode == -signal.SIGSYS and \
                not any(e.search("supervisor SIGSYS") for e in self.provoked):
            found.append("%s: the supervisor was killed by SIGSYS; the kernel log names the call" % self.name)
        return found


class Group:
    """Servers on one virtual network that make up one redundancy group."""

    def __init__(self, names=("alpha", "beta"), paths=1, family=4, kinds=None, references=True,
                 options=None, forwarded=(), prefix="bht."):
        self.options = {}
        for key, ms in TEST_MS.items():
            self.set(key, duration(round(ms * SCALE)))
        for key, count in TEST_COUNTS.items():
            self.set(key, str(count))
        for key, text in (options or {}).items():
            self.set(key, text)
        self.references = references
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"}
        self.folder = tempfile.mkdtemp(prefix=prefix)
        os.chmod(self.folder, 0o755)
        self.network, self.servers = None, {}
        try:
            self.network = net.Network(names, paths, family, forwarded)
            for n in names:
                self.servers[n] = Server(self, n, (kinds or {}).get(n, "standard"))
            for s in self:
                s.write_config(self.config_text(s, with_keys=False))
                s.keygen()
            for s in self:
                s.write_config()
        except BaseException:
            self.close()
            raise

    def __iter__(self):
        return iter(self.servers.values())

    def __getitem__(self, name):
        return self.servers[name]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.check_logs()
            else:
                self.print_logs()
        finally:
            self.close()

    # -- configuration

    def set(self, key, text):
        """Set an option of all servers: "arbitration.hold", "700ms"; None takes it out."""
        section, name = key.split(".")
        if text is None:
            self.options.get(section, {}).pop(name, None)
        else:
            self.options.setdefault(section, {})[name] = text

    def set_servers(self, name, text):
        """Set an option in the sections of all servers, in all files: "data-limit", '"1MiB"'."""
        for s in self:
            s.about[name] = text
        for s in self:
            s.write_config()

    def _sections(self, server):
        merged = {s: dict(o) for s, o in self.options.items()}
        for section, options in server.options.items():
            for name, text in options.items():
                if text is None:
                    merged.get(section, {}).pop(name, None)
                else:
                    merged.setdefault(section, {})[name] = text
        return merged

    # options whose text is a string and so needs quotes; numbers and words of digits do not
    BARE = re.compile(r"\d+|\{.*\}|true|false", re.S)

    def config_text(self, server, with_keys=True):
        """The config file of one server."""
        hook = "%s %s" % (server.stamp, server.hook_file)
        sections = {"hook": {"main": hook, "standby": hook, "stop": hook, "alarm": hook,
                             "user": "nobody"}}
        if self.references:
            sections["icmp"] = {"reference": "{%s}" % ", ".join(
                '"%s"' % a for a in self.network.references())}
        for section, options in self._sections(server).items():
            merged = sections.setdefault(section, {})
            merged.update(options)
        lines = ['group = "test"', 'self = "%s"' % server.name,
                 'state = "%s"' % server.state, 'run = "%s"' % server.run]
        for s in self:
            lines.append('server "%s" {' % s.name)
            lines.append("\tkind = \"%s\"" % s.kind)
            lines.append("\taddress = {%s}" % ", ".join(
                '"%s"' % a for a in self.network.addresses(s.name)))
            lines.append("\tpriority = %d" % (100 - 10 * list(self.servers).index(s.name)))
            if with_keys and s.key:
                lines.append('\tkey = "%s"' % s.key)
            lines += ["\t%s = %s" % o for o in s.about.items()]
            lines.append("}")
        for section, options in sections.items():
            lines.append("%s {" % section)
            lines += ["\t%s = %s" % (n, t if self.BARE.fullmatch(t) else '"%s"' % t)
                      for n, t in options.items() if t is not None]
            lines.append("}")
        lines.append("user {\n%s\n}" % "\n".join("\t%s = %d" % u for u in USERS.items()))
        return "\n".join(lines) + "\n" + server.extra

    # -- life

    def start(self, *names):
        for s in self:
            if not names or s.name in names:
                s.start()

    def running(self):
        return [s for s in self if s.popen and s.popen.poll() is None]

    def mains(self):
        return [s for s in self.running() if s.role() == "main"]

    def report(self):
        """What everybody says, for the text of a failure."""
        lines = []
        for s in self:
            if s not in self.running():
                lines.append("%s: not running" % s.name)
                continue
            st = s.status() or {}
            own = st.get("self", {})
            lines.append("%s: %s" % (s.name, {k: own.get(k) for k in ("role", "condition", "epoch", "note")}))
            lines += ["  sees %s: %s" % (p["name"], {k: p.get(k) for k in ("role", "link", "icmp", "verdict")})
                      for p in st.get("servers", ()) if p["name"] != s.name]
        return "\n".join(lines)

    def _settled(self, up):
        """(main, first other) when all that wait_pair() promises is true in one look at every server, else None."""
        if up and not all(s.is_up() for s in self.running()):
            return None
        said = {s: s.status() for s in self.running()}
        if not all(said.values()):
            return None
        role = {s: st["self"]["role"] for s, st in said.items()}
        mains = [s for s in said if role[s] == "main"]
        others = [s for s in said if s not in mains]
        if len(mains) != 1 or not others:
            return None
        main, sees = mains[0], {s: {p["name"]: p for p in st["servers"]} for s, st in said.items()}
        for o in others:
            own, seen, known = said[o]["self"], sees[o].get(main.name, {}), sees[main].get(o.name, {})
            if role[o] not in ("standby", "permanent", "dmz") or own["condition"] != "ready" \
                    or (seen.get("role"), seen.get("verdict")) != ("main", "healthy") \
                    or [known.get(k) for k in ("role", "condition", "verdict")] != [role[o], "ready", "healthy"] \
                    or role[o] != "dmz" and own["epoch"] != said[main]["self"]["epoch"]:
                return None
        names = {s.name for s in said}
        if any(l["state"] != "up" for st in said.values() for l in st["links"] if l["server"] in names):
            return None
        for s, st in said.items():
            rows, data = {p["name"]: p for p in st["processes"]}, st.get("data") or {}
            if up and any(p["state"] != "up" for n, p in rows.items() if n != "parser") \
                    or data and (data["role"] == "main") != (s is main) or not s.hooks_ended(role[s], rows):
                return None
        return main, others[0]

    def wait_pair(self, limit_s=None, up=True):
        """Wait for a group that has settled: returns (main, first other).

        One is main, all others are ready beside it, and main knows that. Every status link between servers that
        run is up at both ends, syncd knows the role, and the hook of the role has run and ended.
        up: all processes are up and, once in the life of a server, have their config.
        """
        return wait_for(lambda: self._settled(up), lambda: "one main with ready partners\n" + self.report(), limit_s)

    def sessions(self):
        """{(server, its partner, path, inbound): sessions that have come up}, for wait_links()."""
        return {(s.name, l["server"], l["path"], l["inbound"]): l["sessions"] for s in self.running() for l in s.links()}

    def wait_links(self, *servers, since=None):
        """Wait until all links between these servers (all that run) are up; since: sessions() from before something
        that ends all of them: each has come up again after that."""
        servers = servers or self.running()
        names = {s.name for s in servers}

        def look():
            for s in servers:
                links = [l for l in s.links() if l["server"] in names]
                before = [(since or {}).get((s.name, l["server"], l["path"], l["inbound"]), 0) for l in links]
                if not links or any(l["state"] != "up" or l["sessions"] <= n for l, n in zip(links, before)):
                    return False
            return True
        wait_for(look, lambda: "links of %s\n%s" % (names, self.report()))

    def wait_role(self, server, role, limit_s=None):
        return wait_for(lambda: server.role() == role,
                        lambda: "%s becomes %s\n%s" % (server.name, role, self.report()), limit_s)

    def switchover(self, main, to=None):
        """The role goes from main to a partner that is ready, as an admin asks for it; returns the new main.

        On a crowded machine a partner that stalls is not ready, or silent for too long for these short timings: then
        nothing has changed, and the admin asks again.
        """
        def moved():
            p = main.tool("switchover", *([to.name] if to else []))
            if p.returncode == 0:
                return True
            assert re.search("no standby that is ready|not ready to take over|refused to take over|"
                             "in time; this server stays main", p.stderr), p
            return self.wait_pair()[0] is not main
        wait_for(moved, self.report)
        new = self.wait_pair()[0]
        assert new is not main, self.report()
        return new

    def wait_main_hook(self, server, count=1, limit_s=None):
        """Wait for the count-th run of its hook as main; returns its start in boottime seconds."""
        runs = wait_for(lambda: server.hooks_as("main")[count - 1:],
                        lambda: "hook of %s as main\n%s" % (server.name, self.report()), limit_s)
        return runs[0].boot_ns / 1e9

    @staticmethod
    def no_proof(server):
        """On a crowded machine there may be no proof of death, and silence decides (doc/roles.md): a server that did
        not run for a while finds a FIN in its queues of which it does not know when it came, and a process that is
        killed before it has read all that has come resets the link instead of ending it in order."""
        log = server.log()
        return "stall" in [e["rule"] for e in server.events()] or ": reset" in log and ": ended in order" not in log

    def wait_proof(self, server, *rules):
        """Wait until it has taken over by proof (see no_proof()), for one of these reasons; returns that run of the hook."""
        self.wait_main_hook(server)
        run = server.hook_as("main")
        reasons = [*rules, "takeover-offline"] if self.no_proof(server) else rules
        assert run.env["BULKHEAD_REASON"] in reasons, "%s\n%s" % (run.env, server.events())
        return run

    def wait_dead(self, server, partner, *verdicts):
        """Wait until a server knows by proof that its partner is dead. See no_proof()."""
        def known():
            verdict = server.view(partner).get("verdict")
            return verdict in verdicts or verdict == "offline" and self.no_proof(server)
        wait_for(known, lambda: "%s knows that %s is dead\n%s" % (server.name, partner.name, self.report()))

    def roles_hold(self, expected, seconds):
        """Check that roles stay as they are: {server: role}."""
        for server, role in expected.items():
            assert server.role() == role, "%s is not %s\n%s" % (server.name, role, self.report())
        holds(lambda: all(s.role() == r for s, r in expected.items()), self.report, seconds)

    # -- logs and the end

    def end(self):
        """No process of the group runs any more; logs and files stay."""
        for s in self:
            s.destroy()

    def bad_log_lines(self):
        return [l for s in self for l in s.bad_log_lines()]

    def check_logs(self):
        bad = self.bad_log_lines()
        assert not bad, "log:\n" + "\n".join(bad[:60])

    def print_logs(self):
        for s in self:
            print("---- log of %s\n%s" % (s.name, s.log()[-8000:]))

    def close(self):
        self.end()
        if self.network:
            self.network.close()
        if not os.environ.get("BULKHEAD_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


class Pair(Group):
    """A hot-standby pair that has settled."""

    def __init__(self, **kw):
        super().__init__(("alpha", "beta"), **kw)

    def start_settled(self):
        self.start()
        return self.wait_pair()
