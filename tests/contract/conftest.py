"""One fixture, `subject`: every store that Lever ships, empty, with a way to lose everything."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import redis

from service.store.embedded import Embedded
from service.store.memory import MemoryStore
from service.store.redis import RedisStore

_prefixes = itertools.count(1)


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


def _on(engine: Embedded) -> Iterator[Subject]:
    prefix = f"test{next(_prefixes)}"
    opened: list[RedisStore] = []

    def again() -> RedisStore:
        # Generous: a busy machine must not look like a broken store.
        opened.append(RedisStore(engine.url, prefix, timeout=20.0))
        return opened[-1]

    client = redis.Redis.from_url(engine.url, protocol=2)
    yield Subject(again(), client.flushall, again, engine, prefix)
    client.close()
    for store in opened:
        store.close()


@pytest.fixture(params=["memory", "valkey", "debian_redis"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each store in turn."""
    if request.param == "memory":
        store = MemoryStore()
        yield Subject(store, store.forget, lambda: store)
    else:
        yield from _on(request.getfixturevalue(request.param))


@pytest.fixture(params=["valkey", "debian_redis"])
def engine_subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each store that is an engine, for what only an engine has."""
    yield from _on(request.getfixturevalue(request.param))
