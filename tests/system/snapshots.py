# SPDX-License-Identifier: ISC
"""Snapshot files (lib/snapshot.h), read and made by a second hand."""
import hashlib
import struct

HEAD = struct.Struct("<8sII16sQQQq64s64s")
MAGIC = b"BULKSNAP"
SET, EXPIRE, HSET = 1, 3, 4


def checksum(data):
    return hashlib.blake2b(data, digest_size=32).digest()


def _varint(data, at):
    v = shift = 0
    while True:
        b = data[at]
        at += 1
        v |= (b & 0x7f) << shift
        shift += 7
        if b < 0x80:
            return v, at


def _slice(data, at):
    n, at = _varint(data, at)
    return data[at:at + n], at + n


def parse(data):
    """(head as a dict, {key: bytes or {field: value}}, {key: Unix ms}); the file must be right."""
    magic, version, zero, ident, epoch, index, keys, saved, group, server = HEAD.unpack_from(data)
    assert (magic, version, zero) == (MAGIC, 1, 0)
    head = {"id": ident, "epoch": epoch, "index": index, "keys": keys, "saved_ms": saved,
            "group": group.rstrip(b"\0").decode(), "server": server.rstrip(b"\0").decode()}
    at, operations, values, expiry = HEAD.size, 0, {}, {}
    while True:
        kind, n = struct.unpack_from("<II", data, at)
        if kind == 2:
            break
        body, pos = data[at + 8:at + 8 + n], 0
        assert kind == 1 and len(body) == n
        while pos < n:
            op = body[pos]
            key, pos = _slice(body, pos + 1)
            if op in (SET, EXPIRE):
                ms, = struct.unpack_from("<q", body, pos)
                pos += 8
                if ms:
                    expiry[key] = ms
            if op == HSET:
                field, pos = _slice(body, pos)
            if op in (SET, HSET):
                value, pos = _slice(body, pos)
            if op == SET:
                values[key] = value
            elif op == HSET:
                values.setdefault(key, {})[field] = value
            else:
                assert op == EXPIRE
            operations += 1
        at += 8 + n
    assert n == 40 and struct.unpack_from("<Q", data, at + 8) == (operations,)
    assert data[at + 16:] == checksum(data[:at + 16])
    assert len(values) == keys
    return head, values, expiry


def load(path):
    with open(path, "rb") as f:
        return parse(f.read())


def op_set(key, value, ms=0):
    return bytes([SET]) + _put(key) + struct.pack("<q", ms) + _put(value)


def op_hset(key, field, value):
    return bytes([HSET]) + _put(key) + _put(field) + _put(value)


def _put(s):
    n, out = len(s), b""
    while n >= 0x80:
        out, n = out + bytes([n & 0x7f | 0x80]), n >> 7
    return out + bytes([n]) + s


def make(bodies, operations=None, keys=1, version=1, ident=b"\x01" * 16, end=True):
    """A file of these records, whose checksum is right whatever else is wrong with it."""
    data = HEAD.pack(MAGIC, version, 0, ident, 1, 1, keys, 1700000000000, b"test", b"alpha")
    for body in bodies:
        data += struct.pack("<II", 1, len(body)) + body
    if not end:
        return data
    data += struct.pack("<IIQ", 2, 40, len(bodies) if operations is None else operations)
    return data + checksum(data)
