"""Stores under test: one contract, each store that keeps it, and a way to lose everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis

from service.store.embedded import Embedded
from service.store.memory import MemoryStore
from service.store.redis import RedisStore


@dataclass
class Subject:
    """A store under test. `again` gives another user of the same store; `raw` looks inside, where there is an engine."""

    store: MemoryStore | RedisStore
    lose: Callable[[], object]
    again: Callable[[], MemoryStore | RedisStore]
    engine: Embedded | None = None
    prefix: str = ""

    @property
    def raw(self) -> redis.Redis:
        """A plain client of the engine."""
        assert self.engine is not None
        return redis.Redis.from_url(self.engine.url, protocol=2)


def keys(subject: Subject, pattern: str) -> list[str]:
    with subject.raw as raw:
        return sorted(key.decode() for key in raw.scan_iter(f"{subject.prefix}:{pattern}"))


def dump(subject: Subject) -> dict[str, bytes | None]:
    """All that is stored, byte for byte."""
    with subject.raw as raw:
        return {key: raw.dump(key) for key in keys(subject, "*")}


@contextmanager
def setting(subject: Subject, name: str, value: int) -> Iterator[None]:
    with subject.raw as raw:
        old = raw.config_get(name)[name]
        raw.config_set(name, value)
        try:
            yield
        finally:
            raw.config_set(name, old)
