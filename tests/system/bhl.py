# SPDX-License-Identifier: ISC
"""The protocol on port 5481, written from doc/protocol.md and from nothing else.

For tests that speak to a running daemon, well or badly. Needs Debian's python3-cryptography.
Run as a program it recomputes the worked example: bhl.py doc/protocol.md [--print]
"""
import hashlib
import hmac
import os
import re
import socket
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

STATUS, SYNC, REQUEST = 1, 2, 3
HELLO_SIZE, REPLY_SIZE, RECORD_SIZE, STATUS_SIZE = 136, 64, 188, 168
NAME = b"Noise_IK_25519_ChaChaPoly_BLAKE2b"
BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


class Refused(Exception):
    """The other end closed, or sent what the page does not allow."""


def blake2b(data, size, key=b""):
    return hashlib.blake2b(data, digest_size=size, key=key).digest()


def public(secret):
    key = X25519PrivateKey.from_private_bytes(secret).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def dh(secret, remote):
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(remote))


class Keys:
    """The two key pairs of a server."""

    def __init__(self, status=None, data=None):
        self.status_secret = status or os.urandom(32)
        self.data_secret = data or os.urandom(32)
        self.status, self.data = public(self.status_secret), public(self.data_secret)

    def secret(self, kind):
        return self.status_secret if kind == STATUS else self.data_secret

    def public(self, kind):
        return self.status if kind == STATUS else self.data

    def identity(self):
        keys = self.status + self.data
        number = int.from_bytes(keys + blake2b(b"bulkhead identity v1" + keys, 32)[:6], "big")
        return "bh1" + "".join(BASE32[number >> 5 * i & 31] for i in range(111, -1, -1))


def identity_keys(text):
    """The public keys (status, data) in a bh1... text."""
    number = 0
    for c in text[3:].strip():
        number = number << 5 | BASE32.index(c)
    raw = number.to_bytes(70, "big")
    if raw[64:] != blake2b(b"bulkhead identity v1" + raw[:64], 32)[:6]:
        raise ValueError("check value of the identity")
    return raw[:32], raw[32:64]


class Cipher:
    def __init__(self, key):
        self.key, self.n = key, 0

    def nonce(self, n):
        return bytes(4) + struct.pack("<Q", n)

    def seal(self, plain, ad=b""):
        self.n += 1
        return ChaCha20Poly1305(self.key).encrypt(self.nonce(self.n - 1), plain, ad)

    def open(self, sealed, ad=b""):
        plain = ChaCha20Poly1305(self.key).decrypt(self.nonce(self.n), sealed, ad)
        self.n += 1
        return plain

    def rekey_if_due(self):
        if self.n % 65536 == 0:
            self.key = ChaCha20Poly1305(self.key).encrypt(self.nonce(2**64 - 1), bytes(32), b"")[:32]


class Noise:
    """Noise IK; h, ck and the cipher as in the specification."""

    def __init__(self, prologue, responder_public):
        self.h = self.ck = NAME.ljust(64, b"\0")
        self.cipher = None
        self.mix_hash(prologue)
        self.mix_hash(responder_public)

    def mix_hash(self, data):
        self.h = blake2b(self.h + data, 64)

    def hkdf(self, ikm):
        temp = hmac.new(self.ck, ikm, hashlib.blake2b).digest()
        one = hmac.new(temp, b"\1", hashlib.blake2b).digest()
        return one, hmac.new(temp, one + b"\2", hashlib.blake2b).digest()

    def mix_key(self, shared):
        self.ck, key = self.hkdf(shared)
        self.cipher = Cipher(key[:32])

    def seal(self, plain):
        sealed = self.cipher.seal(plain, self.h)
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed):
        plain = self.cipher.open(sealed, self.h)
        self.mix_hash(sealed)
        return plain

    def split(self):
        one, two = self.hkdf(b"")
        return Cipher(one[:32]), Cipher(two[:32])


def prologue(kind, group, version=1):
    return b"bulkhead" + bytes([version, kind]) + group.encode()


def tag_key(responder_public):
    return blake2b(b"bulkhead hello v1" + responder_public, 32)


def outer(kind, message, responder_public, version=1, magic=b"BHL1"):
    """The hello around Noise message 1."""
    start = magic + bytes([version, kind, 0, 0]) + message
    return start + blake2b(start, 16, tag_key(responder_public))


class Initiator:
    """The dialling end. remote: the responder's public key for this kind."""

    def __init__(self, keys, remote, group, kind=STATUS, boot=None, counter=1, ephemeral=None):
        self.keys, self.remote, self.kind = keys, remote, kind
        self.ephemeral = ephemeral or os.urandom(32)
        self.payload = (boot or os.urandom(8)) + struct.pack("<Q", counter)
        self.noise = Noise(prologue(kind, group), remote)

    def message(self):
        n, secret = self.noise, self.keys.secret(self.kind)
        e = public(self.ephemeral)
        n.mix_hash(e)
        n.mix_key(dh(self.ephemeral, self.remote))
        s = n.seal(self.keys.public(self.kind))
        n.mix_key(dh(secret, self.remote))
        return e + s + n.seal(self.payload)

    def hello(self):
        return outer(self.kind, self.message(), self.remote)

    def finish(self, reply):
        """Message 2. Returns (boot id of the responder, cipher to send, cipher to receive)."""
        n = self.noise
        re = reply[:32]
        n.mix_hash(re)
        n.mix_key(dh(self.ephemeral, re))
        n.mix_key(dh(self.keys.secret(self.kind), re))
        payload = n.open(reply[32:])
        if payload[8:] != self.payload[8:]:
            raise Refused("the echo of the counter is wrong")
        return (payload[:8],) + n.split()


class Responder:
    def __init__(self, keys, group, kind=STATUS, boot=None, ephemeral=None):
        self.keys, self.kind, self.boot = keys, kind, boot or os.urandom(8)
        self.ephemeral = ephemeral or os.urandom(32)
        self.noise = Noise(prologue(kind, group), keys.public(kind))

    def read(self, hello):
        """Returns the initiator's public key; its payload is self.payload then."""
        n, secret = self.noise, self.keys.secret(self.kind)
        if hello != outer(self.kind, hello[8:120], self.keys.public(self.kind)):
            raise Refused("outer part of the hello")
        self.re = hello[8:40]
        n.mix_hash(self.re)
        n.mix_key(dh(secret, self.re))
        self.remote = n.open(hello[40:88])
        n.mix_key(dh(secret, self.remote))
        self.payload = n.open(hello[88:120])
        return self.remote

    def reply(self):
        """Returns (message 2, cipher to receive, cipher to send)."""
        n, e = self.noise, public(self.ephemeral)
        n.mix_hash(e)
        n.mix_key(dh(self.ephemeral, self.re))
        n.mix_key(dh(self.ephemeral, self.remote))
        message = e + n.seal(self.boot + self.payload[8:])
        return (message,) + n.split()


def seal_record(cipher, plain):
    sealed = cipher.seal(plain)
    cipher.rekey_if_due()
    return struct.pack("<I", len(sealed)) + sealed


def read_exactly(sock, n):
    data = b""
    while len(data) < n:
        try:
            more = sock.recv(n - len(data))
        except (ConnectionError, socket.timeout) as e:
            raise Refused(str(e)) from e
        if not more:
            raise Refused("closed after %d bytes" % len(data))
        data += more
    return data


class Link:
    """A status link over a connected socket, as the initiator."""

    def __init__(self, sock, keys, remote, group, **kw):
        self.sock = sock
        self.handshake = Initiator(keys, remote, group, **kw)
        self.hello = self.handshake.hello()

    def open(self):
        self.sock.sendall(self.hello)
        self.boot, self.out, self.into = self.handshake.finish(read_exactly(self.sock, REPLY_SIZE))
        return self

    def send(self, plain):
        self.sock.sendall(seal_record(self.out, plain))

    def receive(self):
        size, = struct.unpack("<I", read_exactly(self.sock, 4))
        plain = self.into.open(read_exactly(self.sock, size))
        self.into.rekey_if_due()
        return plain


def status_record(boot=b"\1" * 8, seq=1, kind=1, role=0, condition=0, reason=0, flags=32, uptime_ms=0,
        priority=0, main=0, elect=0, successor=0, epoch=0, epoch_seen=0, position=(0, 0), ages=(-1,) * 4,
        pause_ms=0, digest=bytes(16), lease=(0, 0), grant=(0, 0)):
    """Section 7, as bytes."""
    return (struct.pack("<BBBBBBH", 1, kind, role, condition, reason, 0, flags) + boot +
        struct.pack("<QQiIII", seq, uptime_ms, priority, main, elect, successor) +
        struct.pack("<QQQQ", epoch, epoch_seen, *position) + struct.pack("<qqqqQ", *ages, pause_ms) +
        digest + struct.pack("<QqQq", *lease, *grant))


def server_id(status_public):
    return int.from_bytes(status_public[:4], "big") or 1


def close_record():
    return bytes([1, 128]) + bytes(STATUS_SIZE - 2)


# ---- the worked example

def example():
    """Names and values of section 10, in order."""
    def run(first):
        return bytes(range(first, first + 32))

    initiator, responder = Keys(run(0), run(32)), Keys(run(64), run(96))
    i = Initiator(initiator, responder.status, "pair", boot=bytes.fromhex("1122334455667788"), counter=7,
        ephemeral=run(128))
    r = Responder(responder, "pair", boot=bytes.fromhex("99aabbccddeeff00"), ephemeral=run(160))
    hello = i.hello()
    if r.read(hello) != initiator.status or r.payload != i.payload:
        raise Refused("the responder read something else")
    reply, r_in, r_out = r.reply()
    boot, i_out, i_in = i.finish(reply)
    if (boot, i_out.key, i_in.key) != (r.boot, r_in.key, r_out.key):
        raise Refused("the two ends differ")
    plain = status_record(boot=bytes.fromhex("1122334455667788"), condition=2, main=0, epoch=3)
    close = close_record()
    return [
        ("initiator_status_secret", initiator.status_secret),
        ("initiator_data_secret", initiator.data_secret),
        ("initiator_status_public", initiator.status),
        ("initiator_data_public", initiator.data),
        ("responder_status_secret", responder.status_secret),
        ("responder_data_secret", responder.data_secret),
        ("responder_status_public", responder.status),
        ("responder_data_public", responder.data),
        ("initiator_ephemeral_secret", i.ephemeral),
        ("responder_ephemeral_secret", r.ephemeral),
        ("prologue", prologue(STATUS, "pair")),
        ("payload_1", i.payload),
        ("tag_key", tag_key(responder.status)),
        ("hello", hello),
        ("payload_2", r.boot + i.payload[8:]),
        ("reply", reply),
        ("handshake_hash", i.noise.h),
        ("key_to_responder", i_out.key),
        ("key_to_initiator", i_in.key),
        ("status_1", plain),
        ("record_1", seal_record(i_out, plain)),
        ("close_2", close),
        ("record_2", seal_record(i_out, close)),
    ], responder.identity()


def main(args):
    values, identity = example()
    text = "responder_identity = %s\n" % identity
    for name, value in values:
        hexed = value.hex()
        lines = [hexed[at:at + 64] for at in range(0, len(hexed), 64)]
        text += "%s = %s\n" % (name, lines[0]) if len(lines) == 1 else "\n    ".join([name + " ="] + lines) + "\n"
    if "--print" in args:
        sys.stdout.write("".join("    " + line + "\n" for line in text.splitlines()))
        return 0
    with open(args[0], encoding="utf-8") as f:
        page = f.read()
    if re.sub(r"\s+", "", text) not in re.sub(r"\s+", "", page):
        print("%s: the worked example is not what this program computes (bhl.py --print)" % args[0])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
