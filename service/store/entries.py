"""An entry of the log as the fields of a stream, and its rows as arrays: the one place that reads them, and doubts them.

Whatever reads a log reads it through here: both stores, the servers, `lever verify`, tables and evaluations. What does
not decode is a CorruptError that names the entry. What rows may say is judged where they are folded (learning/bounds.py).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from service.errors import CorruptError
from service.store.contract import Entry
from service.store.rows import HEAD, TAIL, Rows, reward_dtype, trial_dtype

SEALED = "1"  # the only format of a checksum so far
_BESIDE = 44  # as in seal.lua
_KINDS = (b"c", b"t", b"r", b"l")  # a configuration, trials, rewards, late rewards
_STRIDE = re.compile(rb"[1-9]\d{0,6}")
_TOTAL = rb"-?\d{1,16}:-?\d{1,16}:(?:[01]|-1)"  # no total has more digits: see claims.EXACT
_TOTALS = re.compile(_TOTAL + rb"(?:," + _TOTAL + rb")*")


def seal(text: bytes) -> str:
    """The checksum that the scripts write (seal.lua): 48 bits of SHA-1, which is there to find damage, not forgery."""
    return SEALED + hashlib.sha1(text, usedforsecurity=False).hexdigest()[:12]


def unsealed(fields: Mapping[bytes, bytes], name: bytes, text: bytes, what: str) -> None:
    """CorruptError unless the checksum in a field is that of `text`; what was written before there were any has none."""
    given = fields.get(name)
    if given is None:
        return
    if not given.startswith(SEALED.encode()):
        raise CorruptError(f"{what} has a checksum of a format that this version does not read")
    if given != seal(text).encode():
        raise CorruptError(f"{what} does not match its checksum")


def decode(name: bytes | str, fields: Mapping[bytes, bytes]) -> Entry:
    """One stream entry. CorruptError if its fields are not those of an entry, or not as they were written."""
    at = name if isinstance(name, str) else name.decode()
    what = f"log entry {at}"
    kinds = [kind for kind in _KINDS if kind in fields]
    if len(kinds) != 1:
        raise CorruptError(f"{what} is not one of ours")
    (kind,) = kinds
    data = fields[kind]
    if kind == b"c":
        unsealed(fields, b"k", _sealed(kind, b"", fields.get(b"b", b""), data), what)
        return Entry(at, config=data, seeded=b"b" in fields)
    stride, totals = fields.get(b"s", b""), fields.get(b"o", b"")
    unsealed(fields, b"k", _sealed(kind, stride, totals, data), what)
    size = int(stride) if _STRIDE.fullmatch(stride) else 0
    fault = misfit(size, len(data), rewards=kind != b"t")
    if fault:
        raise CorruptError(f"{what}: {fault}")
    if kind == b"t":
        return Entry(at, size, trials=data)
    if kind == b"l":
        return Entry(at, size, rewards=data, late=True)
    if not _TOTALS.fullmatch(totals) or totals.count(b",") + 1 != len(data) // size:
        raise CorruptError(f"{what}: its totals are not those of {len(data) // size} rows")
    triples = (part.split(b":") for part in totals.split(b","))
    return Entry(at, size, rewards=data, totals=[(int(old), int(new), int(exposes)) for old, new, exposes in triples])


def encode(entry: Entry) -> dict[bytes, bytes]:
    """The fields of an entry as the scripts write them; the inverse of `decode`."""
    if entry.config is not None:
        fields = {b"c": entry.config} | ({b"b": b"1"} if entry.seeded else {})
        return fields | {b"k": seal(_sealed(b"c", b"", fields.get(b"b", b""), entry.config)).encode()}
    stride, rows = b"%d" % entry.stride, entry.trials or entry.rewards or b""
    kind = b"t" if entry.trials is not None else b"l" if entry.late else b"r"
    totals = b",".join(b"%d:%d:%d" % triple for triple in entry.totals)
    fields = {kind: rows, b"s": stride} | ({b"o": totals} if kind == b"r" else {})
    return fields | {b"k": seal(_sealed(kind, stride, totals, rows)).encode()}


def _sealed(kind: bytes, stride: bytes, told: bytes, data: bytes) -> bytes:
    return b"%b%b;%b;%b" % (kind, stride, told, data)


def weight(fields: Mapping[bytes, bytes]) -> int:
    """The bytes that an entry is counted with, as in seal.lua."""
    return _BESIDE + sum(len(name) + len(value) for name, value in fields.items())


def beyond(log: Sequence[Mapping[bytes, bytes]], most: int) -> int:
    """How many of the oldest entries go so that the rest has at most `most` bytes (0: any number), as in checkpoint.lua."""
    left = most
    for at in range(len(log) - 1, -1, -1) if most else ():
        left -= weight(log[at])
        if left < 0:
            return at + 1
    return 0


def misfit(stride: int, size: int, *, rewards: bool) -> str:
    """Why so many bytes cannot be rows of `stride` bytes, "" if they can."""
    features = stride - HEAD.itemsize - (TAIL.itemsize if rewards else 0)
    if features < 0 or features % 2 or not size or size % stride:
        return f"{size} bytes are not {'reward' if rewards else 'trial'} rows of {stride}"
    return ""


def rows_of(entry: Entry) -> Rows:
    """The rows of an entry that has some, as an array."""
    return joined([entry])


def joined(entries: Sequence[Entry]) -> Rows:
    """The rows of entries of one stride and kind, as one array."""
    first = entries[0]
    extra = HEAD.itemsize + (TAIL.itemsize if first.trials is None else 0)
    columns = (first.stride - extra) // 2
    layout = trial_dtype(columns) if first.trials is not None else reward_dtype(columns)
    return np.frombuffer(b"".join(entry.trials or entry.rewards or b"" for entry in entries), layout)
