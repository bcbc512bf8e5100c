"""What an engine says of itself, for who looks after it. Asks only what every engine answers, managed ones too."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from service.store.scripts import Keys, pairs
from service.store.wire.link import Link
from service.store.wire.watch import told
from service.store.wire.wire import Wire


@dataclass(frozen=True)
class Vitals:
    """INFO by name (none where it is forbidden), appendfsync ("" where it is not told), experiments, and the clocks."""

    info: Mapping[str, str]
    fsync: str
    experiments: frozenset[str]
    ahead_s: float  # the store's clock before ours
    unsure_s: float  # by how much `ahead_s` may be wrong: the time the question took
    name: str = ""  # of a cluster's primary: its address


def vitals(url: str, timeout: float = 3.0, prefix: str = "lever") -> list[Vitals]:
    """Ask the engine at `url`, or each primary of the cluster there. UnavailableError, with no password in it."""
    link, keys = Link(url, timeout, timeout), Keys(prefix)
    try:
        wire = link.ways().wire
        (names,) = wire.ask(("HGETALL", keys.names))
        experiments = frozenset(name.decode() for name, _ in pairs(names))
        return [_of(engine, experiments) for engine in wire.parts()]
    finally:
        link.close()


def _of(engine: Wire, experiments: frozenset[str]) -> Vitals:
    info, fsync = told(engine, "everything")
    asked = time.time()
    ((seconds, micros),) = engine.ask(("TIME",))
    answered = time.time()
    ahead_s = int(seconds) + int(micros) / 1e6 - (asked + answered) / 2
    return Vitals(info, fsync, experiments, ahead_s, answered - asked, engine.name)
