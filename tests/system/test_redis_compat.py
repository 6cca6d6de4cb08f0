# SPDX-License-Identifier: ISC
"""The local face of syncd beside Debian's redis-server: the same bytes for the same commands.

Every line of TABLE, a seeded random sequence, pieces, garbage: sent to both, answers compared as raw
bytes. What differs on purpose is in DIFFERENCES, and in doc/data.md.
"""
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BULKHEAD_BUILD", os.path.join(TOP, "build"))
SERVER = os.environ.get("BULKHEAD_RESP_SERVER", os.path.join(BUILD, "tests/unit/resp_server"))
SCALE = float(os.environ.get("BULKHEAD_TEST_SCALE", "1"))
ROUNDS = int(os.environ.get("BULKHEAD_COMPAT_ROUNDS", "6000"))
SEED = int(os.environ.get("BULKHEAD_COMPAT_SEED", "20"))
DEADLINE = 20 * SCALE


class Reader:
    """Splits a stream of bytes into replies: reply() returns (value, its raw bytes)."""

    def __init__(self, sock):
        self.sock, self.buf = sock, b""

    def fill(self):
        piece = self.sock.recv(65536)
        if not piece:
            raise EOFError(self.buf)
        self.buf += piece

    def line(self, at):
        while True:
            end = self.buf.find(b"\r\n", at)
            if end >= 0:
                return self.buf[at:end], end + 2
            self.fill()

    def parse(self, at):
        text, at = self.line(at)
        kind, rest = text[:1], text[1:]
        if kind in b"+-:_,#(":
            return text, at
        if kind in b"$=":
            n = int(rest)
            if n < 0:
                return None, at
            while len(self.buf) < at + n + 2:
                self.fill()
            return self.buf[at:at + n], at + n + 2
        n = int(rest)
        if n < 0:
            return None, at
        items = []
        for _ in range(2 * n if kind == b"%" else n):
            item, at = self.parse(at)
            items.append(item)
        return items, at

    def reply(self):
        value, end = self.parse(0)
        raw, self.buf = self.buf[:end], self.buf[end:]
        return value, raw


class Client(Reader):
    def __init__(self, path):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE)
        sock.connect(path)
        super().__init__(sock)

    def send(self, *args):
        self.sock.sendall(encode(args))

    def do(self, *args):
        self.send(*args)
        return self.reply()

    def rest(self):
        """Everything until the server closes."""
        try:
            while True:
                self.fill()
        except (EOFError, ConnectionResetError):
            return self.buf

    def close(self):
        self.sock.close()


def encode(args):
    out = b"*%d\r\n" % len(args)
    for a in args:
        a = a if isinstance(a, bytes) else str(a).encode()
        out += b"$%d\r\n%s\r\n" % (len(a), a)
    return out


def wait_for(what, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        got = what()
        if got:
            return got
        time.sleep(0.01)
    raise AssertionError("not in time: %s" % what)


class Server:
    started = []

    def __init__(self, argv, path, log):
        self.path, self.log = path, log
        self.process = subprocess.Popen(argv, stdout=open(log, "wb"), stderr=subprocess.STDOUT)
        Server.started.append(self)
        wait_for(self.answers)

    def answers(self):
        assert self.process.poll() is None, open(self.log).read()
        try:
            c = Client(self.path)
        except OSError:
            return False
        ok = c.do("PING")[1] == b"+PONG\r\n"
        c.close()
        return ok

    def stop(self):
        """Ends it: returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def ours(folder, *options):
    store = os.path.join(folder, "store")
    os.makedirs(store, exist_ok=True)
    path = os.path.join(folder, "ours.sock")
    return Server([SERVER, "-f", *options, store, path], path, os.path.join(folder, "ours.log"))


def redis(folder, *options):
    if not shutil.which("redis-server"):
        pytest.skip("no redis-server here: the package is in tests/packages")
    path = os.path.join(folder, "redis.sock")
    return Server(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder,
                   "--notify-keyspace-events", "KEA", "--appendonly", "no", *options], path,
                  os.path.join(folder, "redis.log"))


@pytest.fixture(autouse=True)
def none_is_left(both):
    """What a failed test started goes with it."""
    before = len(Server.started)
    yield
    for s in Server.started[before:]:
        if s.process.poll() is None:
            s.process.kill()
            s.process.wait()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("compat"))
    servers = [redis(folder), ours(folder)]
    yield servers
    codes = [s.stop() for s in servers]
    assert codes == [0, 0], open(servers[1].log).read()


@pytest.fixture
def server(tmp_path):
    s = ours(str(tmp_path))
    yield s
    assert s.stop() == 0


@pytest.fixture
def pair(both):
    """A connection to each, both empty."""
    clients = [Client(s.path) for s in both]
    for c in clients:
        assert c.do("FLUSHALL")[1] == b"+OK\r\n"
    yield clients
    for c in clients:
        c.close()


# ---- the table

# One command a line; an empty line: a new connection and no data. Before the command:
#   ~  elements in any order     =  pairs in any order      ?  shape only
# What TTL and PTTL say may differ by the time that the lines before took.
# "..." as in redis-cli. Commands behind ; go out in one piece.
TABLE = r"""
PING
PING hello
PING a b
ECHO hello
ECHO
ECHO a b
SELECT 0
SELECT abc
SELECT 99999999999
SELECT -1
AUTH x
AUTH default x
AUTH nobody x
AUTH a b c
AUTH
NOSUCH
NOSUCH a b c
nosuch "a\r\nb" c
"NO\nSUCH" x
NOSUCH aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbb ccc
NOSUCH aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccccccccccccc ddd
""

HELLO 4
HELLO x
HELLO 2 FOO
HELLO 2 AUTH a
HELLO 2 AUTH nobody x
HELLO 2 SETNAME "a b"
?HELLO 2 AUTH default x SETNAME me
CLIENT GETNAME
?HELLO
?HELLO 3
CLIENT GETNAME
GET nothing
HGETALL nothing
RESET
GET nothing
CLIENT GETNAME

CLIENT
CLIENT FOO
CLIENT "fo\r\no" bar
CLIENT SETNAME
CLIENT SETNAME a b
CLIENT SETNAME "a b"
CLIENT SETNAME me
CLIENT GETNAME
CLIENT SETNAME ""
CLIENT GETNAME
CLIENT GETNAME x
CLIENT GETREDIR
?CLIENT ID
CLIENT NO-EVICT on
CLIENT NO-EVICT off
CLIENT NO-EVICT maybe
CLIENT NO-EVICT
CLIENT LIST TYPE foo
CLIENT LIST TYPE master
CLIENT LIST ID x
CLIENT LIST ID 999999
CLIENT LIST FOO
CLIENT LIST ID
CLIENT INFO x
CLIENT SETINFO lib-name x
CLIENT REPLY maybe
CLIENT REPLY ON
CLIENT REPLY SKIP ; PING ; ECHO seen
CLIENT REPLY OFF ; PING ; SET a 1 ; CLIENT REPLY SKIP ; NOSUCH ; CLIENT REPLY ON
CLIENT REPLY SKIP ; CLIENT REPLY ON ; PING
GET a

SET a 1
GET a
SET a
SET
GET
GET a b
SET a 1 FOO
SET a 2 NX
GET a
SET b 2 NX
SET c 3 XX
SET b 3 XX
GET b
SET a 1 NX XX
SET a 1 XX NX
SET a 1 EX
SET a 1 EX x
SET a 1 EX 0
SET a 1 EX -1
SET a 1 PX 0
SET a 1 EX 9223372036854775807
SET a 1 PX 9223372036854775807
SET a 1 EX 9223372036854775
SET a 1 PXAT 0
SET a 1 EXAT 9223372036854775807
SET a 1 EX 10 PX 10
SET a 1 EX 10 KEEPTTL
SET a 1 KEEPTTL EX 10
SET a 1 EX 10 PERSIST
SET a 1 PERSIST
SET a 1 EX 100
TTL a
SET a 2 KEEPTTL
TTL a
SET a 3
TTL a
SET a 4 PX 100000
PTTL a
SET a 5 EXAT 33177117420
EXPIRETIME a
SET a 6 PXAT 33177117420123
PEXPIRETIME a
EXPIRETIME a
SET a 7 PXAT 33177117420500
EXPIRETIME a
SET a 7 GET
SET new 1 GET
SET a 8 GET EX 100
TTL a
SET a 9 NX GET
SET newer 9 NX GET
SET newest 9 XX GET
GET newest
SET a 9 XX GET
SET a 9 get nx ex 10
SET a 1 NX NX
SET a 1 EX 10 EX 20
SET a 1 GET GET
SET a 1 KEEPTTL KEEPTTL
SET a 1 PXAT 1
GET a
SET a 1 EXAT 1
EXISTS a
SET a 1 EX 10 NX EX
SET "" empty
GET ""
SET bin "\x00\xff\r\n"
GET bin
SET empty ""
GET empty
STRLEN empty

SETNX a 1
SETNX a 2
SETNX a
GET a
SETEX a 100 v
TTL a
SETEX a 0 v
SETEX a -5 v
SETEX a x v
SETEX a 9223372036854775807 v
SETEX a 1
PSETEX a 100000 v
TTL a
PSETEX a 0 v
PSETEX a x v
PSETEX a 9223372036854775807 v
GETSET a new
TTL a
GETSET nothing first
GETSET a
GETDEL a
GETDEL a
GETDEL
GETEX nothing
SET a v
GETEX a
GETEX a EX 100
TTL a
GETEX a PERSIST
TTL a
GETEX a PX 100000
TTL a
GETEX a EXAT 33177117420
EXPIRETIME a
GETEX a PXAT 33177117420000
PEXPIRETIME a
GETEX a EX
GETEX a EX x
GETEX a EX 0
GETEX a EX 1 PERSIST
GETEX a PERSIST EX 1
GETEX a PERSIST PERSIST
GETEX a NX
GETEX a GET
GETEX a KEEPTTL
GETEX a FOO
GETEX nothing EX x
GETEX nothing FOO
GETEX a PXAT 1
EXISTS a

MSET a 1 b 2
MSET a
MSET a 1 b
MSET a 1 a 2
GET a
MGET a b nothing
MGET
HSET h f v
MGET a h b
MSETNX a 1 c 2
EXISTS c
MSETNX c 1 d 2
MSETNX c 1 d
MSETNX x 1 x 2
GET x
MSET h string
TYPE h

APPEND a one
APPEND a two
GET a
APPEND a ""
APPEND empty ""
EXISTS empty
STRLEN empty
APPEND a
STRLEN a
STRLEN nothing
STRLEN
GETRANGE a 0 2
GETRANGE a 0 -1
GETRANGE a -3 -1
GETRANGE a -1 -3
GETRANGE a 2 1
GETRANGE a 10 20
GETRANGE a -100 100
GETRANGE a -100 -50
GETRANGE a 0 99999999999
GETRANGE a x 1
GETRANGE a 1 x
GETRANGE nothing 0 -1
GETRANGE a 1
SUBSTR a 1 2
SETRANGE a 1 XY
GET a
SETRANGE a 10 end
GET a
SETRANGE new 3 abc
GET new
SETRANGE a -1 x
SETRANGE a x y
SETRANGE nothing 5 ""
EXISTS nothing
SETRANGE a 5 ""
SETRANGE a 536870911 xx
SETRANGE a 536870912 x
SETRANGE a 9223372036854775807 x
SETRANGE a 1
EXPIRE a 100
APPEND a more
TTL a
SETRANGE a 0 Z
TTL a

INCR n
INCR n
INCRBY n 10
INCRBY n -3
DECR n
DECRBY n 5
DECRBY n -5
INCRBY n x
INCRBY n 1.5
INCRBY n " 1"
INCRBY n 01
INCRBY n +1
INCRBY n 9223372036854775808
DECRBY n -9223372036854775808
INCRBY n 9223372036854775807
DECRBY n 9223372036854775807
DECRBY n 9223372036854775807
DECRBY n 100
GET n
SET n 9223372036854775807
INCR n
SET n -9223372036854775808
DECR n
SET n -0
INCR n
SET n ""
INCR n
SET n 1.0
INCR n
SET n 99999999999999999999
INCR n
SET n 5
EXPIRE n 100
INCR n
TTL n
INCR
INCR a b
INCRBY n
DECRBY n
INCRBYFLOAT n 1.5
INCRBYFLOAT n -0.25
INCRBYFLOAT n 1e2
INCRBYFLOAT n 0x10
INCRBYFLOAT n x
INCRBYFLOAT n " 1"
INCRBYFLOAT n "1 "
INCRBYFLOAT n nan
INCRBYFLOAT n inf
INCRBYFLOAT n ""
INCRBYFLOAT n 1e5000
INCRBYFLOAT f 0.1
INCRBYFLOAT f 0.2
INCRBYFLOAT f -0.3
INCRBYFLOAT g 3
INCRBYFLOAT g 1e17
INCRBYFLOAT g 5e-20
TTL n
SET f abc
INCRBYFLOAT f 1
INCRBYFLOAT f
INCRBYFLOAT z -0

HSET h f1 v1
HSET h f1 v2 f2 v3
HSET h f
HSET h f1 v f2
HSET h
HGET h f1
HGET h nothing
HGET nothing f
HGET h
HMSET h f3 v f4 v
HMSET h f3
HMGET h f1 nothing f2
HMGET nothing a b
HMGET h
=HGETALL h
HGETALL nothing
HGETALL
~HKEYS h
~HVALS h
HKEYS nothing
HVALS nothing
HLEN h
HLEN nothing
HEXISTS h f1
HEXISTS h nothing
HEXISTS nothing f
HSTRLEN h f1
HSTRLEN h nothing
HSTRLEN nothing f
HSETNX h f1 x
HSETNX h f9 x
HSETNX new f x
HSETNX h f
HDEL h f1 f2 nothing
HDEL h f1 f1
HDEL nothing f
HDEL h
HDEL new f
EXISTS new
HSET dup a 1 a 2
HLEN dup
HDEL dup a a
EXISTS dup
HSET "" "" ""
=HGETALL ""

HINCRBY h n 5
HINCRBY h n -7
HINCRBY h n x
HINCRBY h n 9223372036854775807
HINCRBY h n 9223372036854775807
HSET h s abc e ""
HINCRBY h s 1
HINCRBY h e 1
HINCRBY h n
HINCRBYFLOAT h f 1.5
HINCRBYFLOAT h f -1
HINCRBYFLOAT h f x
HINCRBYFLOAT h f inf
HINCRBYFLOAT h f nan
HINCRBYFLOAT h s 1
HINCRBYFLOAT h e 1
HINCRBYFLOAT h n 0.5
HINCRBY h n 1
HINCRBYFLOAT h f

HRANDFIELD nothing
HRANDFIELD nothing 5
HRANDFIELD nothing 5 WITHVALUES
HSET h a 1 b 2 c 3
?HRANDFIELD h
HRANDFIELD h 0
HRANDFIELD h 0 WITHVALUES
~HRANDFIELD h 3
~HRANDFIELD h 100
?HRANDFIELD h 2
?HRANDFIELD h -5
?HRANDFIELD h -5 WITHVALUES
?HRANDFIELD h 2 WITHVALUES
HRANDFIELD h x
HRANDFIELD h 1 FOO
HRANDFIELD h 1 WITHVALUES x
HRANDFIELD h -9223372036854775808
HRANDFIELD h 9223372036854775807 WITHVALUES
HRANDFIELD h -9223372036854775807 WITHVALUES
HRANDFIELD
HSET one f v
HRANDFIELD one
HRANDFIELD one 1
HRANDFIELD one -3
HRANDFIELD one 1 WITHVALUES
HRANDFIELD one -2 WITHVALUES

SET s v
HSET h f v
GET h
GETSET h x
GETDEL h
GETEX h
GETEX h EX 10
SET h x GET
APPEND h x
STRLEN h
GETRANGE h 0 1
SETRANGE h 0 x
INCR h
DECRBY h 1
INCRBYFLOAT h 1
SETNX h x
HSET s f v
HMSET s f v
HGET s f
HMGET s f
HGETALL s
HDEL s f
HEXISTS s f
HLEN s
HKEYS s
HVALS s
HSTRLEN s f
HINCRBY s f 1
HINCRBYFLOAT s f 1
HSETNX s f v
HSCAN s 0
HRANDFIELD s
HRANDFIELD s 1
TYPE s
TYPE h
TYPE nothing
TYPE
SET h x
TYPE h

MSET a 1 b 2 c 3
EXISTS a b a nothing
EXISTS
TOUCH a b nothing
DEL a nothing a
DEL
UNLINK b c
DBSIZE
DBSIZE x
~KEYS *
MSET one 1 two 2 three 3 "o*" 4
~KEYS *
~KEYS o*
~KEYS t??
~KEYS [ot]*
~KEYS [^o]*
~KEYS [n-z]wo
~KEYS "o\\*"
~KEYS ""
~KEYS [
~KEYS "o[\\*]"
KEYS
KEYS a b
DBSIZE
RENAME one uno
GET uno
RENAME nothing x
RENAME uno uno
RENAME uno two
GET two
RENAME a
RENAMENX two three
RENAMENX two dos
RENAMENX nothing x
RENAMENX dos dos
EXPIRE dos 100
RENAME dos tres
TTL tres
SET target 1 EX 500
RENAME three target
TTL target
RANDOMKEY x
OBJECT ENCODING nothing
SET int 123
SET str abc
SET long aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
HSET h f v
OBJECT ENCODING int
OBJECT ENCODING str
OBJECT ENCODING long
OBJECT ENCODING h
OBJECT
OBJECT FOO
OBJECT ENCODING

RANDOMKEY
SET only 1
RANDOMKEY
SCAN 0
SCAN x
SCAN 0 COUNT
SCAN 0 COUNT 0
SCAN 0 COUNT x
SCAN 0 MATCH
SCAN 0 FOO bar
SCAN 0 MATCH only COUNT 100
SCAN 0 MATCH none COUNT 100
SCAN 0 TYPE hash
SCAN 0 TYPE string
SCAN 0 TYPE STRING
SCAN 0 TYPE foo
SCAN 0 COUNT -5
SCAN
SCAN " 1"
SCAN 99999999999999999999999
HSCAN nothing 0
HSCAN nothing x
HSCAN nothing 0 COUNT 0
HSET h f v
HSCAN h 0
HSCAN h x
HSCAN h 0 COUNT 0
HSCAN h 0 MATCH f*
HSCAN h 0 MATCH g*
HSCAN h 0 TYPE string
HSCAN h 0 COUNT 5 MATCH f
HSCAN h

SET a 1
EXPIRE a 100
TTL a
PTTL a
EXPIRE a x
EXPIRE a
EXPIRE nothing 10
EXPIRE a 9223372036854775807
EXPIRE a -9223372036854775808
PEXPIRE a 9223372036854775807
PEXPIRE a -9223372036854775808
EXISTS a
SET a 1
EXPIRE a 100 FOO
EXPIRE a 100 NX XX
EXPIRE a 100 NX GT
EXPIRE a 100 GT LT
EXPIRE a 100 XX
TTL a
EXPIRE a 100 GT
EXPIRE a 100 NX
TTL a
EXPIRE a 200 NX
EXPIRE a 200 XX
TTL a
EXPIRE a 100 GT
EXPIRE a 300 GT
TTL a
EXPIRE a 400 LT
EXPIRE a 50 LT
TTL a
EXPIRE a 60 XX GT
TTL a
EXPIRE a 70 xx lt
PERSIST a
PERSIST a
PERSIST nothing
EXPIRE a 100 LT
TTL a
PERSIST a
PEXPIRE a 100000
TTL a
EXPIREAT a 33177117420
EXPIRETIME a
PEXPIRETIME a
TTL nothing
PTTL nothing
EXPIRETIME nothing
PEXPIRETIME nothing
PERSIST a
PTTL a
EXPIRETIME a
PEXPIRETIME a
PEXPIREAT a 33177117420999
PEXPIRETIME a
EXPIRETIME a
EXPIREAT a 1
EXISTS a
SET a 1
PEXPIREAT a 1
EXISTS a
SET a 1
EXPIRE a 0
EXISTS a
SET a 1
EXPIRE a -1
TTL a
SET a 1
EXPIREAT a -5 GT
EXISTS a
EXPIREAT a -5 LT
EXISTS a
TTL
PTTL a b
PERSIST
SET old x PXAT 1 ; APPEND old y ; GET old ; SET old x PXAT 1 ; HSET old f v ; TYPE old
SET old x PXAT 1 ; RENAMENX a old ; SET a 1 ; SET old x PXAT 1 ; RENAMENX a old ; DEL old ; DEL a
SET old x PXAT 1 ; INCR old ; PTTL old ; SET old x PXAT 1 ; SETNX old y ; DEL old

MULTI
MULTI
SET a 1
INCR a
GET a
EXEC
EXEC
DISCARD
MULTI
DISCARD
MULTI x
EXEC x
MULTI
SET a 2
DISCARD
GET a
MULTI
EXEC
MULTI
INCR a
HSET a f v
INCR a
EXEC
GET a
MULTI
SET a 5
NOSUCH
EXEC
GET a
MULTI
GET
SET a 7
EXEC
MULTI
NOSUCH
DISCARD
MULTI
GET a
WATCH a
EXEC
MULTI
CLIENT FOO
EXEC
MULTI
UNWATCH
PING
ECHO x
TYPE a
SELECT 0
EXEC
MULTI
SET m x
RESET
EXEC
GET m
MULTI ; SET p 1 ; INCR p ; EXEC ; GET p
MULTI
INCRBY a x
SET a x EX 0
EXPIRE a 100
TTL a
DEL a
EXEC
MULTI
EXEC now
EXEC
WATCH
WATCH a
MULTI
GET a
EXEC
WATCH a
SET a changed
MULTI
SET a lost
EXEC
GET a
WATCH a
SET a again
UNWATCH
MULTI
SET a kept
EXEC
WATCH a b
DEL b
MULTI
PING
EXEC
WATCH nothing
SET nothing now
MULTI
PING
EXEC
WATCH a
MULTI
SET a x
DISCARD
MULTI
GET a
EXEC
MULTI
WAIT 1 5000
EXEC
SET w 1 PX 1
WATCH w
FLUSHALL
UNWATCH x
WATCH a
EXPIRE a 100
MULTI
PING
EXEC
MULTI
HELLO 9
CLIENT GETNAME
CLIENT NO-EVICT on
COMMAND COUNT x
EXEC

WAIT 0 0
WAIT 0 10
WAIT x 0
WAIT 0 x
WAIT 0 -1
WAIT 1 10
WAIT 1
FLUSHALL
FLUSHALL SYNC
FLUSHALL ASYNC
FLUSHALL FOO
FLUSHDB
FLUSHALL a b
FLUSHDB SYNC x
?TIME
TIME x
?DBSIZE
ROLE x
CONFIG
CONFIG FOO
CONFIG GET
CONFIG GET nothing
CONFIG GET notify-keyspace-events
CONFIG GET save
CONFIG GET maxmemory
CONFIG GET maxmemory nothing MaxMemory
CONFIG GET "notify-k*-events" nothing
CONFIG GET MAXMEMORY
CONFIG GET proto-max-bulk-len
CONFIG SET
COMMAND FOO
COMMAND COUNT x
COMMAND INFO nothing
COMMAND DOCS nothing
COMMAND GETKEYS
COMMAND GETKEYS GET a
COMMAND GETKEYS MSET a 1 b 2 c 3
COMMAND GETKEYS DEL a b c
COMMAND GETKEYS RENAME a b
COMMAND GETKEYS NOSUCH a
COMMAND GETKEYS PING a
COMMAND GETKEYS GET a b
COMMAND GETKEYS OBJECT ENCODING k
COMMAND LIST FILTERBY PATTERN xyz
COMMAND LIST FOO

SUBSCRIBE
PSUBSCRIBE
SUBSCRIBE a
PING
PING x
QUIT

SUBSCRIBE a
SUBSCRIBE a
GET x
NOSUCH
GET
MULTI
RESET
GET x

UNSUBSCRIBE
PUNSUBSCRIBE
UNSUBSCRIBE x
PUNSUBSCRIBE x
PSUBSCRIBE x*
UNSUBSCRIBE
PUNSUBSCRIBE x*
PUNSUBSCRIBE x*
SUBSCRIBE one
UNSUBSCRIBE

MULTI
SUBSCRIBE one
PING
EXEC
UNSUBSCRIBE one

QUIT

QUIT now

MULTI
QUIT
"""

# What is not as Redis 7.0.15 does it, each on purpose: (commands, what we do)
DIFFERENCES = [
    ("SELECT 1", "one database: refused, `DB index is out of range`"),
    ("PUBLISH", "refused: channels carry notifications of keys only"),
    ("CONFIG SET/REWRITE/RESETSTAT", "refused: settings are made in bulkhead.conf"),
    ("CONFIG GET", "a few settings that clients ask for"),
    ("COMMAND INFO", "tips and key specifications are empty"),
    ("COMMAND DOCS", "summary, since and group, in our words"),
    ("CLIENT/COMMAND/CONFIG/OBJECT HELP", "our own lines"),
    ("CLIENT KILL/PAUSE/UNBLOCK/TRACKING/CACHING", "not there: unknown subcommand"),
    ("OBJECT FREQ/IDLETIME/REFCOUNT", "not there: unknown subcommand"),
    ("OBJECT ENCODING", "what Redis says of a value that was set as a whole"),
    ("INFO, ROLE, CLIENT LIST, HELLO", "the same form, our numbers"),
    ("KEYS, SCAN, HGETALL, HKEYS, HVALS, HSCAN", "another order; SCAN keeps no state"),
    ("WAITAOF", "is there, as in Redis 7.2"),
    ("SNAPSHOT", "ours: bulkheadctl's connection for a copy of the data, root's only"),
    ("ACTION, ACTION.*", "ours"),
    ("notifications", "a client gets those of its own command behind the answer"),
    ("FLUSHALL, FLUSHDB", "only where the configuration permits"),
    ("DISKFULL, OOM, IOERR", "errors of our own: the change did not happen"),
    ("arguments", "1048576 at most in a request"),
]


def split(line):
    """Words of a line as redis-cli takes them."""
    words = []
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line):
        if plain:
            words.append(plain.encode())
        else:
            words.append(re.sub(
                rb"\\(x[0-9a-f]{2}|.)",
                lambda m: bytes([int(m[1][1:], 16)]) if len(m[1]) == 3 else
                {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(m[1], m[1]), quoted.encode()))
    return words


def groups():
    return [[line for line in g.split("\n") if line] for g in TABLE.strip("\n").split("\n\n")]


def shape(raw):
    """Raw bytes without what no two servers have in common."""
    raw = re.sub(rb"([$=])\d+\r\n(?!\*).*?\r\n", rb"\1...", raw)
    return re.sub(rb":\d+", b":n", raw)


def same(how, a, b):
    """Whether two (value, raw) are the same in the way of that line."""
    if how.startswith("<") and a[1][:1] == b[1][:1] == b":":
        x, y = int(a[0][1:]), int(b[0][1:])
        return x == y or min(x, y) >= 0 and abs(x - y) <= int(how[1:])
    if how == "~":
        return len(a[1]) == len(b[1]) and sorted(a[0]) == sorted(b[0])
    if how == "=":
        pairs = [sorted(zip(v[::2], v[1::2])) for v in (a[0], b[0])]
        return len(a[1]) == len(b[1]) and pairs[0] == pairs[1] and a[1][:1] == b[1][:1]
    if how == "?":
        return shape(a[1]) == shape(b[1])
    return a[1] == b[1]


def way(line, began):
    """How the answers to a line are compared, in a group of lines that began then."""
    passed = time.monotonic() - began
    if line.startswith("TTL "):
        return "<%d" % (passed + 0.5)  # it is rounded
    if line.startswith("PTTL "):
        return "<%d" % (1000 * passed + 1)
    return ""


def run_line(clients, line):
    """Sends a line to both; returns its way to compare and both lists of answers."""
    how, text = re.match(r"([~=?])?(.*)", line).groups()
    commands = [split(part) for part in text.split(" ; ")]
    answers = []
    for c in clients:
        c.sock.sendall(b"".join(encode(cmd) for cmd in commands) + encode(["ECHO", "-end-"]))
        got = []
        try:
            while True:
                got.append(c.reply())
                if b"-end-" in got[-1][1] or b"'echo'" in got[-1][1] or \
                        (got[-1][1] == b"+QUEUED\r\n" and len(got) > len(commands)):
                    break
        except EOFError:
            got.append((None, b"closed"))
        answers.append(got)
    return how or "", answers


@pytest.mark.parametrize("version", [2, 3])
def test_table(both, version):
    """Every line of the table gives the same bytes."""
    wrong = []
    for number, group in enumerate(groups()):
        clients, began = [Client(s.path) for s in both], time.monotonic()
        for c in clients:
            c.do("FLUSHALL")
            if version == 3:
                c.do("HELLO", "3")
        for line in group:
            how, (a, b) = run_line(clients, line)
            how = how or way(line, began)
            if len(a) != len(b) or not all(
                        same(how if x is not a[-1] else "", x, y) for x, y in zip(a, b)):
                wrong.append((number, line, [x[1] for x in a], [x[1] for x in b]))
            if a[-1][1] == b"closed" or b[-1][1] == b"closed":
                break
        for c in clients:
            c.close()
    for number, line, a, b in wrong:
        print("%d: %s\n   redis %s\n   ours  %s" % (number, line, a[:3], b[:3]))
    assert not wrong, "%d lines differ" % len(wrong)


# ---- a long random sequence

KEYS = ["k%d" % n for n in range(8)]
FIELDS = ["f%d" % n for n in range(5)]
VALUES = ["", "0", "1", "-7", "9223372036854775807", "1.5", "abc", "a longer value, longer than 44 bytes it is",
          b"\x00\r\n\xff", "12abc", " 1", "nan"]
NUMBERS = ["0", "1", "-1", "5", "-12", "100", "9223372036854775807", "-9223372036854775808", "x", "1.5", ""]
TIMES = {"pexpiretime": 1000, "expiretime": 1}  # units in a second: they differ by what a batch took
ENDS = ["0", "-1", "x", "1000", "9223372036854775807", ""]  # none that comes while the test runs: in seconds,
ENDS_MS = ["0", "-1", "x", "1000000", "9223372036854775807", ""]  # in milliseconds
RESULT_ORDER = {"keys": "~", "hkeys": "~", "hvals": "~", "hgetall": "="}


def random_command(r):
    """A command that has one right answer; the names of the arguments say what is put there."""
    form = r.choice("""
        get K;getdel K;strlen K;append K V;set K V;set K V;set K V NX;set K V XX;set K V GET;set K V KEEPTTL;
        set K V EX 1000;set K V PX 1000000;set K V NX GET;set K V EX E;setnx K V;getset K V;mset K V K V;
        msetnx K V K V;mget K K K;getrange K N N;setrange K 3 V;setrange K N V;incr K;decr K;incrby K N;
        decrby K N;incrbyfloat K N;setex K 1000 V;psetex K M V;getex K;getex K PERSIST;getex K EX 1000;
        hset K F V;hset K F V F V;hmset K F V;hget K F;hmget K F F;hgetall K;hdel K F;hdel K F F;hexists K F;
        hlen K;hkeys K;hvals K;hincrby K F N;hincrbyfloat K F N;hsetnx K F V;hstrlen K F;
        del K;unlink K K;exists K K;type K;rename K K;renamenx K K;expire K 1000;expire K 2000 NX;
        expireat K 33177110000 LT;expireat K 33177117421 GT;expire K 700 XX;expire K -1;persist K;expireat K 33177117420;
        expiretime K;pexpiretime K;dbsize;keys *;keys k[1-4];touch K;
        multi;exec;exec;discard;watch K;unwatch;hrandfield K 0;getrange K 0 -1;substr K -3 -1;
        set K;hset K F;get;nosuch K;expire K E;set K V BAD
    """.replace("\n", "").split(";")).split()
    pools = {"K": KEYS, "F": FIELDS, "V": VALUES, "N": NUMBERS, "E": ENDS, "M": ENDS_MS}
    return [r.choice(pools[w]) if w in pools else w for w in form]


@pytest.mark.parametrize("version", [2, 3])
def test_random_sequence(pair, version):
    """Thousands of commands, some of them in transactions, in batches: the same bytes."""
    r = random.Random(SEED + version)
    for c in pair:
        c.do("HELLO", version)
    history, done, queued, longest = [], 0, [], 0
    while done < ROUNDS:
        batch, began = [random_command(r) for _ in range(r.randint(1, 30))], time.monotonic()
        for c in pair:
            c.sock.sendall(b"".join(map(encode, batch)))
        for cmd in batch:
            a, b = (c.reply() for c in pair)
            longest = max(longest, time.monotonic() - began)
            history.append(cmd)
            how = RESULT_ORDER.get(cmd[0], "") if isinstance(a[0], list) else ""
            if cmd[0] in TIMES:
                how = "<%d" % (TIMES[cmd[0]] * longest + 1)
            if b"QUEUED" in a[1]:
                queued.append(cmd)
            if cmd[0] == "exec" and isinstance(a[0], list) and isinstance(b[0], list):
                # element by element, for some of them are in any order
                ways = [RESULT_ORDER.get(q[0], "") for q in queued]
                ok = len(a[0]) == len(b[0]) == len(ways) and all(
                    sorted(x) == sorted(y) if w and isinstance(x, list) and isinstance(y, list)
                    else q[0] in TIMES or x == y
                    for q, w, x, y in zip(queued, ways, a[0], b[0])) and len(a[1]) == len(b[1])
            else:
                ok = same(how, a, b)
            if cmd[0] in ("exec", "discard"):
                queued = []
            assert ok, "seed %d, after %d: %s\nredis %r\nours  %r\nbefore: %s" % (
                SEED + version, done, cmd, a, b, history[-12:])
            done += 1


# ---- pieces, lines, garbage

def conversation(path, pieces):
    """Sends pieces one by one, then tells that no more comes; returns all that was answered."""
    c = Client(path)
    try:
        for p in pieces:
            c.sock.sendall(p)
        c.sock.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        pass
    got = c.rest()
    c.close()
    return got


LINES = [
    b"PING\r\n", b"PING\n", b"  PING  \r\n", b"\r\n\r\nPING\r\n", b"set a 1\r\nget a\r\n",
    b'set a "x\\x41\\n\\r\\t\\b\\a\\q\\"" \r\nget a\r\n', b"set a 'it\\'s \\n'\r\nget a\r\n",
    b'echo "abc\r\n', b"echo 'abc\r\n", b'echo "abc"d\r\n', b"echo 'abc'd\r\n", b'echo ""\r\n', b"echo a\"b c\"\r\n",
    b"*0\r\nPING\r\n", b"*-1\r\nPING\r\n", b"*-5\r\nPING\r\n", b"*x\r\n", b"*\r\n", b"* 1\r\n", b"*1 \r\n", b"*+1\r\n",
    b"*01\r\n", b"*99999999999\r\n", b"*9223372036854775808\r\n", b"*1\r\n:4\r\nPING\r\n", b"*1\r\nPING\r\n",
    b"*1\r\n$x\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$\r\n", b"*1\r\n$536870913\r\n", b"*1\r\n$99999999999999999999\r\n",
    b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n", b"*1\r\n$0\r\n\r\n", b"*2\r\n$0\r\n\r\n$1\r\nx\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n" * 50, b"*1\r\n$4\r\nPING\r\n*x\r\n", b"*" + b"1" * 70000, b"*1\r\n$" + b"1" * 70000,
    b"a" * 70000, b"echo " + b"a" * 60000 + b"\r\n", b"\x00PING\r\n", b"PING\x00x\r\nPING\r\n", b'echo "a\x00b"\r\n',
    b"*1\r\n\r\n", b"*1\r\n$4\rxPING\r\n", b"*1\rx$4\r\nPING\r\n", b"*1\r\n\x01\r\n",
    b"GET / HTTP/1.1\r\n", b"+OK\r\n", b"-ERR\r\n", b"$5\r\n", b"quit\r\n", b"QUIT now\r\nPING\r\n",
]


def test_lines_and_garbage(both):
    """Typed lines, protocol errors and what comes after them: the same bytes, the same end."""
    wrong = []
    for text in LINES:
        a, b = (conversation(s.path, [text]) for s in both)
        if a != b:
            wrong.append((text[:60], a[:200], b[:200]))
    assert not wrong, "\n".join(map(str, wrong))


def test_pieces(both):
    """A stream cut anywhere gives the same answers."""
    stream = b"".join([encode(["SET", "a", b"x" * 300]), b"get a\r\n", encode(["MGET", "a", "b"]), b"*0\r\n",
                       encode(["HSET", "piece", "f", "v"]), b'echo "in pieces"\r\n', encode(["STRLEN", "a"])])
    whole = conversation(both[0].path, [stream])
    r = random.Random(SEED)
    cuts = [[stream[i:i + 1] for i in range(len(stream))]] + [
        [stream[:n], stream[n:]] for n in range(1, len(stream), 7)]
    for _ in range(20):
        at = sorted(r.sample(range(1, len(stream)), 6))
        cuts.append([stream[x:y] for x, y in zip([0] + at, at + [len(stream)])])
    for cut in cuts:
        got = conversation(both[1].path, cut).replace(b":0\r\n", b":1\r\n")
        assert got == whole.replace(b":0\r\n", b":1\r\n"), cut


def test_last_words(both):
    """Who has said all and closes that direction is answered, also while others are connected."""
    said = encode(("SET", "a", "1")) + encode(("INCR", "a"))
    for s in both:
        others = [Client(s.path) for _ in range(3)]
        for _ in range(5):
            c = Client(s.path)
            c.sock.sendall(said)
            c.sock.shutdown(socket.SHUT_WR)
            assert c.rest() == b"+OK\r\n:2\r\n", s.path
            c.close()
        for c in others:
            c.close()


def test_large_values(pair):
    """Values that are longer than any buffer, there and back."""
    for size in (16384, 100000, 5000000):
        value = os.urandom(1000) * (size // 1000)
        for c in pair:
            assert c.do("SET", "big", value)[1] == b"+OK\r\n"
            c.send("GET", "big")
            c.send("APPEND", "big", value)
            c.send("GETRANGE", "big", len(value) - 2, len(value) + 1)
            assert c.reply()[0] == value
        a, b = ([c.reply()[1] for _ in range(2)] for c in pair)
        assert a == b


def test_scan_finds_all(pair):
    """SCAN and HSCAN by pieces find what is there, also while other keys come and go."""
    names = {b"key:%d" % n for n in range(1000)}
    for c in pair:
        for n in names:
            c.send("SET", n, "v")
        for n in names:
            c.send("HSET", "hash", n, b"v" + n)
        for _ in range(2 * len(names)):
            c.reply()
        found, cursor, steps = set(), b"0", 0
        while True:
            (cursor, keys), _ = c.do("SCAN", cursor, "COUNT", 37, "MATCH", "key:*")
            found.update(keys)
            c.do("SET", "other:%d" % steps, 1)
            steps += 1
            if cursor == b"0":
                break
        assert found == names and steps > 10
        found, cursor = {}, b"0"
        while True:
            (cursor, items), _ = c.do("HSCAN", "hash", cursor)
            found.update(zip(items[::2], items[1::2]))
            if cursor == b"0":
                break
        assert found == {n: b"v" + n for n in names}
        assert {c.do("RANDOMKEY")[0] for _ in range(50)} <= names | {b"hash"} | {
            b"other:%d" % n for n in range(steps)}
        fields = c.do("HRANDFIELD", "hash", 100)[0]
        assert len(set(fields)) == 100 and set(fields) <= names
        many = c.do("HRANDFIELD", "hash", -3000)[0]
        assert len(many) == 3000 and 600 < len(set(many)) and set(many) <= names


# ---- notifications

EVENTS = """
SET a 1;SET a 2 EX 100;INCR a;INCRBYFLOAT a 1.5;APPEND a x;SETRANGE a 0 y;GETSET a z;EXPIRE a 50;PERSIST a
SETEX a 100 v;GETEX a PERSIST;GETEX a EX 10;GETEX a PXAT 1;MSET a 1 b 2;MSETNX c 1 d 2;MSETNX c 1 e 1;SETNX a 1;SETNX e 1
RENAME a f;RENAMENX f a;DEL a b c;GETDEL d;DEL nothing;HSET h f v g w;HSETNX h f v;HSETNX h z v;HINCRBY h n 1
HINCRBYFLOAT h n 1;HMSET h f v;HDEL h f;HDEL h g z n;EXPIRE e -1;PEXPIREAT nothing 1;DECRBY n 4
APPEND n "";SETRANGE n 0 "";UNLINK n;FLUSHALL
""".replace("\n", ";").strip(";").split(";")


@pytest.mark.parametrize("version", [2, 3])
def test_notifications(both, version):
    """Another client is told the same events in the same order, by channel and by pattern."""
    told = []
    for s in both:
        c, listener = Client(s.path), Client(s.path)
        c.do("FLUSHALL")
        listener.do("HELLO", version)
        listener.do("PSUBSCRIBE", "__key*__:*")
        listener.send("SUBSCRIBE", "__keyspace@0__:a", "__keyevent@0__:del")
        listener.reply()
        listener.reply()
        for e in EVENTS:
            c.do(*split(e))
        c.do("MULTI")
        c.do("SET", "last", 1)
        c.do("SET", "last", 2)
        c.do("EXEC")
        c.do("SET", "short", 1, "PX", 20)
        raw = b""
        while b"__keyevent@0__:expired" not in raw:
            raw += listener.reply()[1]
        told.append(raw)
        c.close()
        listener.close()
    assert told[0].split(b"pmessage") == told[1].split(b"pmessage")


def test_own_notifications(server):
    """A client that listens (version 3) gets those of its own command, behind the answer."""
    c = Client(server.path)
    c.do("HELLO", 3)
    assert c.do("SUBSCRIBE", "__keyspace@0__:a")[1] == b">3\r\n$9\r\nsubscribe\r\n$16\r\n__keyspace@0__:a\r\n:1\r\n"
    assert c.do("SET", "a", "1")[1] == b"+OK\r\n"
    assert c.reply()[1] == b">3\r\n$7\r\nmessage\r\n$16\r\n__keyspace@0__:a\r\n$3\r\nset\r\n"
    assert c.do("GET", "a")[1] == b"$1\r\n1\r\n"


def watches_one_that_ends(c, key):
    """The key will end soon, and was still there when the client began to watch it."""
    c.do("UNWATCH")
    c.sock.sendall(encode(["SET", key, 1, "PX", 50]) + encode(["WATCH", key]) + encode(["PTTL", key]))
    left = [c.reply()[0] for _ in range(3)][2]
    return int(left[1:]) > 0


def test_expiry(pair):
    """Keys end in time, nobody sees them after, and they are deleted without being asked for."""
    for c in pair:
        for n in range(300):
            c.send("SET", "short:%d" % n, 1, "PX", 30)
        c.send("HSET", "h", "f", "v")
        c.send("PEXPIRE", "h", 30)
        c.send("SET", "stays", 1, "EX", 1000)
        for n in range(303):
            c.reply()
        wait_for(lambda: c.do("DBSIZE")[1] == b":1\r\n")
        assert c.do("EXISTS", "short:1", "h", "stays")[1] == b":1\r\n"
        # a hash that ended and is made again has nothing of the old one
        c.do("HSET", "again", "old", "1")
        c.do("PEXPIRE", "again", 1)
        wait_for(lambda: c.do("TTL", "again")[1] == b":-2\r\n")
        assert c.do("HSET", "again", "new", "1")[1] == b":1\r\n"
        assert c.do("HGETALL", "again")[0] == [b"new", b"1"]
        # a watched key that ends breaks the transaction; one that had ended before does not
        wait_for(lambda: watches_one_that_ends(c, "w"))
        wait_for(lambda: c.do("TTL", "w")[1] == b":-2\r\n")
        c.do("MULTI")
        c.do("PING")
        assert c.do("EXEC")[1] == b"*-1\r\n"


def test_watch_of_others(pair):
    """A change of another client between WATCH and EXEC breaks the transaction, a read does not."""
    for c in pair:
        other = Client(c.sock.getpeername())
        for cmd, broken in ((["SET", "w", 1], True), (["GET", "w"], False), (["DEL", "w"], True), (["DEL", "w"], False),
                            (["HSET", "w", "f", 1], True), (["EXPIRE", "w", 100], True), (["RENAME", "w", "x"], True),
                            (["RENAME", "x", "w"], True), (["SETRANGE", "w", 0, "a"], False), (["HDEL", "w", "z"], False),
                            (["FLUSHALL"], True), (["FLUSHALL"], False), (["MSETNX", "w", 1, "v", 1], True)):
            c.do("WATCH", "w")
            other.do(*cmd)
            c.do("MULTI")
            c.do("PING")
            assert c.do("EXEC")[1] == (b"*-1\r\n" if broken else b"*1\r\n+PONG\r\n"), cmd
        other.close()


# ---- about commands and clients

def test_command_info(pair):
    """Arity, flags, keys and classes of every command of ours are those of Redis."""
    theirs, mine = pair
    names = mine.do("COMMAND", "LIST")[0]
    assert int(mine.do("COMMAND", "COUNT")[0][1:]) == len(names) > 80
    assert len(mine.do("COMMAND")[0]) == len(names)
    names += mine.do("COMMAND", "LIST", "FILTERBY", "PATTERN", "*|*")[0]
    for n in names:
        (a,), (b,) = theirs.do("COMMAND", "INFO", n)[0], mine.do("COMMAND", "INFO", n)[0]
        ours = n in (b"waitaof", b"snapshot") or n.startswith(b"action")
        assert (a is None) == ours, n
        for x, y in zip(a[:7], b[:7]) if not ours else ():
            assert (sorted(x) == sorted(y)) if isinstance(x, list) else x == y, (n, a[:7], b[:7])
        (d,) = [mine.do("COMMAND", "DOCS", n)[0]]
        assert d[0] == n and d[1][0] == b"summary" and len(d[1][1]) > 5, d
    assert len(mine.do("COMMAND", "DOCS")[0]) == 2 * int(mine.do("COMMAND", "COUNT")[0][1:])


def test_client_list_and_info(pair):
    """CLIENT LIST has the fields of Redis in their order; INFO and HELLO what clients look at."""
    fields = []
    for c in pair:
        c.do("CLIENT", "SETNAME", "me")
        line = [x for x in c.do("CLIENT", "LIST")[0].split(b"\n") if b"name=me " in x]
        assert len(line) == 1
        fields.append([w.split(b"=")[0] for w in line[0].split(b" ")])
        values = dict(w.split(b"=") for w in c.do("CLIENT", "INFO")[0].strip().split(b" "))
        assert (values[b"cmd"], values[b"resp"], values[b"flags"], values[b"multi"]) == (b"client|info", b"2", b"U", b"-1")
        assert int(c.do("CLIENT", "ID")[0][1:]) == int(values[b"id"])
        assert c.do("CLIENT", "LIST", "ID", values[b"id"])[0].count(b"\n") == 1
        info = c.do("INFO")[0]
        for name in (b"redis_version:7.0.15", b"role:master", b"connected_clients:", b"uptime_in_seconds:",
                     b"# Server\r\n", b"\r\n\r\n# Replication\r\n", b"master_repl_offset:"):
            assert name in info, name
        assert c.do("INFO", "replication", "clients")[0].count(b"# ") == 2
        assert b"\r\n# CPU\r\nused_cpu_" in info
        assert c.do("ROLE")[0][0] == b"master"
        assert c.do("INFO", "nothing")[1] == b"$0\r\n\r\n"
    assert fields[0] == fields[1]


# ---- what is ours only

def test_differences(server):
    """What is refused on purpose is refused with clear words."""
    c = Client(server.path)
    for cmd, answer in ((["SELECT", 1], b"-ERR DB index is out of range\r\n"),
                        (["PUBLISH", "a", "b"], b"-ERR PUBLISH is not supported: "),
                        (["CONFIG", "SET", "save", ""], b"-ERR CONFIG SET is not supported: "),
                        (["CLIENT", "KILL", "x"], b"-ERR unknown subcommand 'KILL'. Try CLIENT HELP.\r\n"),
                        (["WAITAOF", 1, 0, 0], b"*2\r\n:1\r\n:0\r\n"),
                        (["WAITAOF", 0, 1, 10], b"*2\r\n:1\r\n:0\r\n"),
                        (["WAITAOF", 2, 0, 0], b"-ERR value is out of range"),
                        (["LPUSH", "a", "b"], b"-ERR unknown command 'LPUSH'")):
        got = c.do(*cmd)[1]
        assert got.startswith(answer), (cmd, got)
    for container in ("CLIENT", "COMMAND", "CONFIG", "OBJECT"):
        lines = c.do(container, "HELP")[0]
        assert lines[0].startswith(b"+%s <subcommand>" % container.encode()) and b"+HELP" in lines
    page = open(os.path.join(TOP, "doc", "data.md")).read()
    for what, _ in DIFFERENCES:
        assert what in page, what


def test_wait_in_a_pipeline(server):
    """What stands behind a WAIT is executed after it, in order; other clients go on meanwhile."""
    c, other = Client(server.path), Client(server.path)
    ms, still = 150, False
    while not still:
        ms *= 2
        assert ms < 1000 * DEADLINE, "it does not wait"
        c.sock.sendall(encode(["SET", "a", 1]) + encode(["WAIT", 1, ms]) + encode(["SET", "a", 2]) +
                       encode(["WAITAOF", 1, 0, 0]) + encode(["GET", "a"]))
        assert c.reply()[1] == b"+OK\r\n"
        meanwhile = other.do("GET", "a")[1]
        still = b"blocked_clients:1" in other.do("INFO", "clients")[0]  # else this client came too late
        assert not still or meanwhile == b"$1\r\n1\r\n"
        assert [c.reply()[1] for _ in range(4)] == [b":0\r\n", b"+OK\r\n", b"*2\r\n:1\r\n:0\r\n", b"$1\r\n2\r\n"]
    c.send("WAIT", 1, 0)  # for ever: it goes with the connection
    wait_for(lambda: b"blocked_clients:1" in other.do("INFO", "clients")[0])
    c.close()
    wait_for(lambda: b"blocked_clients:0" in other.do("INFO", "clients")[0])


def test_slow_readers(tmp_path):
    """Who does not read is closed at the limit; the others and memory are not touched by it."""
    s = ours(str(tmp_path), "-o", "3000000", "-p", "1000000")
    good, slow, listener = Client(s.path), Client(s.path), Client(s.path)
    good.do("SET", "big", b"x" * 1000000)
    listener.do("PSUBSCRIBE", "*")
    slow.sock.settimeout(0.2)
    try:
        for _ in range(50):
            slow.send("GET", "big")
    except OSError:
        pass
    wait_for(lambda: b"connected_clients:2" in good.do("INFO", "clients")[0])
    name, changes = b"n" * 100000, 0  # two notifications of that size each
    while b"connected_clients:2" in good.do("INFO", "clients")[0]:
        assert good.do("SET", name, 1)[1] == b"+OK\r\n"
        changes += 1
    assert changes < 12, "who listens has a bound of its own"
    assert b"client_output_buffer_limit_disconnections:2" in good.do("INFO", "stats")[0]
    assert len(listener.rest()) < 8000000
    assert good.do("GET", "big")[0] == b"x" * 1000000
    assert s.stop() == 0


@pytest.fixture
def open_folder():
    """A folder that other users can look into."""
    with tempfile.TemporaryDirectory(prefix="bht-compat.") as folder:
        os.chmod(folder, 0o755)
        yield folder


def test_limits(open_folder):
    """Bounds that the config sets: bytes of an argument, number of clients; who may only read."""
    s = ours(open_folder, "-b", "1000", "-c", "3", "-u", "65534")
    c = Client(s.path)
    assert c.do("SET", "a", b"x" * 1000)[1] == b"+OK\r\n"
    assert c.do("APPEND", "a", "y")[1] == b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
    assert c.do("CONFIG", "GET", "proto-max-bulk-len")[0][1] == b"1000"
    c.send("SET", "a", b"x" * 1001)
    assert c.rest() == b"-ERR Protocol error: invalid bulk length\r\n"
    clients = [Client(s.path) for _ in range(3)]
    assert all(x.do("PING")[1] == b"+PONG\r\n" for x in clients)
    late = Client(s.path)
    late.send("PING")
    late.sock.settimeout(0.2)
    with pytest.raises(socket.timeout):
        late.reply()
    late.sock.settimeout(DEADLINE)
    clients.pop().close()
    assert late.reply()[1] == b"+PONG\r\n"
    for x in clients + [late]:
        x.close()
    # many at once are no more than many in a row
    s.process.send_signal(signal.SIGSTOP)
    many = [Client(s.path) for _ in range(10)]
    for x in many:
        x.send("INFO", "clients")
    s.process.send_signal(signal.SIGCONT)
    for x in many:
        assert int(re.search(rb"connected_clients:(\d+)", x.reply()[0])[1]) <= 3
        x.close()
    if os.geteuid() == 0:
        out = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "redis-cli", "-s", s.path],
                             input=b"SET a 1\nSTRLEN a\nMULTI\nDEL a\nEXEC\n", capture_output=True, timeout=DEADLINE)
        lines = out.stdout.decode().split("\n")
        assert [x.split(" ")[0] for x in lines if x] == ["NOPERM", "1000", "OK", "NOPERM", "EXECABORT"], out
    assert s.stop() == 0


def test_flush_needs_permission(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    path = str(tmp_path / "s.sock")
    s = Server([SERVER, str(store), path], path, str(tmp_path / "log"))
    c = Client(path)
    c.do("SET", "a", 1)
    assert c.do("FLUSHALL")[1].startswith(b"-NOPERM ") and c.do("FLUSHDB")[1].startswith(b"-NOPERM ")
    assert c.do("DBSIZE")[1] == b":1\r\n"
    assert s.stop() == 0


def test_full(tmp_path):
    """No room: writes are refused and happen not at all, reads go on, room is found again."""
    s = ours(str(tmp_path), "-m", str(16 << 20))
    c = Client(s.path)
    n, answer = 0, b"+OK\r\n"
    while answer == b"+OK\r\n":
        answer = c.do("SET", "k%d" % n, b"x" * 50000)[1]
        n += 1
        assert n < 1000
    assert answer.startswith(b"-DISKFULL ")
    memory = dict(re.findall(rb"(\w+):(\d+)", c.do("INFO", "memory")[0]))
    assert memory[b"data_refused"] == b"1" and (8 << 20) < int(memory[b"used_memory"]) < (16 << 20), memory
    assert c.do("GET", "k%d" % (n - 1))[1] == b"$-1\r\n"
    assert c.do("STRLEN", "k0")[1] == b":50000\r\n"
    c.do("MULTI")
    c.do("DEL", "k0")
    for i in range(30):
        c.do("SET", "t%d" % i, b"x" * 900000)
    assert c.do("EXEC")[1].startswith(b"-DISKFULL ")
    assert c.do("EXISTS", "k0", "t0")[1] == b":1\r\n"
    for i in range(n):
        c.do("DEL", "k%d" % i)
    wait_for(lambda: c.do("SET", "again", b"x" * 50000)[1] == b"+OK\r\n")
    assert s.stop() == 0


def test_restart_keeps_all(tmp_path):
    """What was answered is there after SIGKILL."""
    s = ours(str(tmp_path))
    c = Client(s.path)
    for n in range(500):
        c.send("SET", "k%d" % n, n)
        c.send("HSET", "h", n, n)
    for _ in range(1000):
        c.reply()
    s.process.kill()
    s.process.wait()
    s = ours(str(tmp_path))
    c = Client(s.path)
    assert c.do("DBSIZE")[1] == b":501\r\n" and c.do("HLEN", "h")[1] == b":500\r\n"
    assert c.do("GET", "k499")[0] == b"499"
    assert s.stop() == 0


# ---- programs that know nothing of us

def test_redis_cli(both):
    """redis-cli: commands, a pipe of them, --scan, -3, --bigkeys."""
    def cli(path, *args, stdin=b""):
        p = subprocess.run(["redis-cli", "-s", path, *args], input=stdin, capture_output=True, timeout=DEADLINE)
        assert p.returncode == 0, p
        return p.stdout

    outputs = []
    for s in both:
        out = [cli(s.path, "FLUSHALL"), cli(s.path, "SET", "a b", "c"), cli(s.path, "GET", "a b"),
               cli(s.path, "--no-raw", "INCR", "n"), cli(s.path, "--no-raw", "GET", "nothing"),
               cli(s.path, "-3", "--no-raw", "HGETALL", "nothing"),
               cli(s.path, stdin=b"MULTI\nINCR n\nHSET h f v\nEXEC\nHGETALL h\nNOSUCH\n"),
               cli(s.path, "--pipe", stdin=b"".join(encode(["SET", "p%d" % i, i]) for i in range(1000))).split(b"\n")[-2],
               sorted(cli(s.path, "--scan", "--pattern", "p99*").split()),
               cli(s.path, "-n", "0", "PING"), cli(s.path, "--raw", "TYPE", "h")]
        assert b"1003 keys" in cli(s.path, "--bigkeys")
        outputs.append(out)
    assert outputs[0] == outputs[1]
    assert b"replies: 1000" in outputs[1][7]


def test_redis_benchmark(both):
    """redis-benchmark runs its tests of strings and hashes, with and without pipelining."""
    for extra in ([], ["-P", "16"], ["-3"]):
        p = subprocess.run(["redis-benchmark", "-s", both[1].path, "-q", "-n", "2000", "-r", "1000", "-t",
                            "ping_inline,ping_mbulk,set,get,incr,hset,mset", *extra],
                           capture_output=True, timeout=6 * DEADLINE)
        names = re.findall(rb"(\w+).*: [\d.]+ requests per second", p.stdout)
        assert p.returncode == 0 and len(names) == 7 and b"rror" not in p.stdout + p.stderr, p


def test_python_client(both):
    """python3-redis of Debian: the same results as with redis-server."""
    module = pytest.importorskip("redis", reason="python3-redis is not here: it is in tests/packages")
    results = []
    for s in both:
        r = module.Redis(unix_socket_path=s.path, decode_responses=True)
        r.flushall()
        got = [r.ping(), r.set("a", "1", ex=100, nx=True), r.set("a", "2", nx=True), r.get("a"), r.incrby("a", 41), 0 < r.ttl("a") <= 100,
               r.hset("h", mapping={"f": "v", "g": "w"}), r.hgetall("h"), r.hmget("h", "f", "x"), r.mset({"x": 1, "y": 2}),
               sorted(r.keys()), sorted(r.scan_iter(count=2)), dict(r.hscan_iter("h")), r.expire("x", 10, nx=True),
               r.append("y", "z"), r.getrange("y", 0, 0), r.exists("a", "b"), r.type("h"), r.randomkey() in "ahxy", r.dbsize(),
               r.client_setname("me"), r.client_getname(), r.role()[0], r.info("server")["redis_version"], r.time()[0] > 1,
               r.command_getkeys("MSET", "a", 1, "b", 2), r.command()["get"]["arity"], r.config_get("maxmemory"),
               r.wait(0, 10), r.getdel("y"), r.getex("x", persist=True)]
        with r.pipeline() as p:
            p.watch("a")
            p.multi()
            p.incr("a").hincrby("h", "n", 2).get("nothing")
            got.append(p.execute())
        with r.pipeline() as p:
            p.watch("a")
            module.Redis(unix_socket_path=s.path).set("a", "other")
            p.multi()
            p.get("a")
            with pytest.raises(module.WatchError):
                p.execute()
        for bad in (lambda: r.hget("a", "f"), lambda: r.incr("h"), lambda: r.execute_command("NOSUCH"), lambda: r.rename("no", "x")):
            with pytest.raises(module.ResponseError) as e:
                bad()
            got.append(str(e.value))
        listener = r.pubsub()
        listener.psubscribe("__keyspace@0__:*")
        assert listener.get_message(timeout=DEADLINE)["type"] == "psubscribe"
        r.set("told", 1)
        message = listener.get_message(timeout=DEADLINE)
        got.append((message["channel"], message["data"], message["pattern"]))
        listener.close()
        results.append(got)
        r.close()
    assert results[0] == results[1]
