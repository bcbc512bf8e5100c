"""Rows, claims and checkpoints for the contract suite."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from service.store.contract import Aggregate, Checkpoint, Claim, Entry, Put, Store
from service.store.rows import HEAD_STRUCT, NO_METRIC, TAIL_STRUCT

LIMIT = 2**53 - 1
HOUR = 3_600_000
TRIAL_SIZE = HEAD_STRUCT.size
REWARD_SIZE = HEAD_STRUCT.size + TAIL_STRUCT.size


def head(prefix: int, counter: int, time: int) -> bytes:
    return HEAD_STRUCT.pack(prefix, counter, 1, time, 0xFEDC_BA98_7654_3210, 0.25, 2, 3, 0, 255, 0)


def claim(
    now: int,
    counter: int = 1,
    value: int = 1,
    aggregate: Aggregate = Aggregate.FIRST,
    event: bytes = b"",
    metric: int = 0,
    deferred: bool = False,
    prefix: int = 2**64 - 1,
    limit: int = LIMIT,
    late: bool = False,
) -> Claim:
    row = head(prefix, counter, now) + TAIL_STRUCT.pack(metric)
    deadline = now - 1 if late else now + HOUR
    return Claim(prefix, counter, now, row, metric, value, aggregate, event, deadline, deadline, deferred, limit)


def exposure(now: int, counter: int = 1, deferred: bool = True) -> Claim:
    return claim(now, counter, value=0, metric=NO_METRIC, deferred=deferred)


def widened(of: Claim, features: bytes) -> Claim:
    return replace(of, row=of.row + features)


def create(store: Store, uid: str, name: str | None = None, record: bytes = b"first") -> None:
    store.put(Put(uid, name or f"name of {uid}", 1, 0, record))


def log(store: Store, uid: str, cursor: str = "0-0") -> list[Entry]:
    return list(store.poll({uid: cursor}, limit=100_000).entries.get(uid, ()))


def now(store: Store) -> int:
    return store.poll({}).now


def fold(id: str, base: str | None, fields: Mapping[str, bytes], rows: int = 0, keep: int = 0) -> Checkpoint:  # noqa: A002
    """A checkpoint that writes all of its fields."""
    canonical = b"".join(name.encode() + b"=" + value for name, value in sorted(fields.items()))
    size = sum(map(len, fields.values()))
    return Checkpoint(id, base, rows, size, hashlib.sha256(canonical).hexdigest(), fields, keep=keep)


def loaded(store: Store) -> Checkpoint:
    found = store.load("u").checkpoint
    assert found is not None
    return found
