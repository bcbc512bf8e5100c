"""What an engine says of itself, for who looks after it. Asks only what every engine answers, managed ones too."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from service.errors import PreconditionError
from service.store.scripts import Keys, info_lines, pairs
from service.store.wire import CLUSTER, NO_CLUSTER, Wire, pool_of


@dataclass(frozen=True)
class Vitals:
    """INFO by name (none where it is forbidden), appendfsync ("" where it is not told), experiments, and the clocks."""

    info: Mapping[str, str]
    fsync: str
    experiments: frozenset[str]
    ahead_s: float  # the store's clock before ours
    unsure_s: float  # by how much `ahead_s` may be wrong: the time the question took


def vitals(url: str, timeout: float = 3.0, prefix: str = "lever") -> Vitals:
    """Ask the engine at `url`. UnavailableError, with no password in it."""
    pool = pool_of(url, timeout)
    try:
        wire = Wire(pool)
        info = wire.told("INFO", "everything") or b""
        asked = time.time()
        ((seconds, micros),) = wire.ask(("TIME",))
        answered = time.time()
        (names,) = wire.ask(("HGETALL", Keys(prefix).names))
        told = dict(pairs(wire.told("CONFIG", "GET", "appendfsync") or []))
        return Vitals(
            info_lines(info.decode(errors="replace")),
            told.get(b"appendfsync", b"").decode(),
            frozenset(name.decode() for name, _ in pairs(names)),
            int(seconds) + int(micros) / 1e6 - (asked + answered) / 2,
            answered - asked,
        )
    finally:
        pool.disconnect()


def refuse_cluster(url: str, timeout: float = 1.0) -> None:
    """PreconditionError for a Redis Cluster. UnavailableError where nobody answers; one that does not tell is let be."""
    pool = pool_of(url, timeout)
    try:
        info = Wire(pool).told("INFO", "cluster") or b""
    finally:
        pool.disconnect()
    if info_lines(info.decode(errors="replace")).get("cluster_enabled") == "1":
        raise PreconditionError(NO_CLUSTER, CLUSTER)
