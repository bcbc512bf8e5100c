"""One fixture, `subject`: every store that Lever ships, empty, with a way to lose everything."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import redis

from loadtest.engines.cluster import Cluster
from service.store.contract import Store
from service.store.embedded import Embedded
from service.store.memory import MemoryStore
from service.store.redis import RedisStore
from tests.rig.credentials import narrow_user
from tests.rig.stores import Subject

_prefixes = itertools.count(1)


def _as_narrow_user(client: redis.Redis) -> None:
    client.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">secret", "~test*", *narrow_user())  # type: ignore[no-untyped-call]


def _on(engine: Embedded, url: str) -> Iterator[Subject]:
    prefix = f"test{next(_prefixes)}"
    opened: list[RedisStore] = []

    def again() -> RedisStore:
        # Generous: a busy machine must not look like a broken store.
        opened.append(RedisStore(url, prefix, timeout=20.0))
        return opened[-1]

    client = redis.Redis.from_url(engine.url, protocol=2)
    _as_narrow_user(client)
    yield Subject(again(), client.flushall, again, engine, prefix)
    client.close()
    for store in opened:
        store.close()


def _single(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Valkey by the default user, as the embedded store is; the other as a user with no command too many."""
    engine: Embedded = request.getfixturevalue(request.param)
    narrow = request.param == "debian_redis"
    yield from _on(engine, engine.url.replace("//", "//narrow:secret@") if narrow else engine.url)


def _on_cluster(cluster: Cluster) -> Iterator[Subject]:
    prefix = f"test{next(_prefixes)}"
    opened: list[RedisStore] = []

    def again() -> RedisStore:
        opened.append(RedisStore(cluster.url.replace("//", "//narrow:secret@"), prefix, timeout=20.0))
        return opened[-1]

    def lose() -> None:
        for member in cluster.primaries():
            member.client.flushall()

    for member in cluster.members:
        _as_narrow_user(member.client)

    yield Subject(again(), lose, again)
    for store in opened:
        store.close()


@pytest.fixture(params=["memory", "valkey", "debian_redis", "clustered"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each store in turn."""
    if request.param == "memory":
        store = MemoryStore()
        yield Subject(store, store.forget, lambda: store)
    elif request.param == "clustered":
        yield from _on_cluster(request.getfixturevalue(request.param))
    else:
        yield from _single(request)


@pytest.fixture(params=["valkey", "debian_redis"])
def engine_subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each store that is an engine, for what only an engine has."""
    yield from _single(request)


@pytest.fixture
def store(subject: Subject) -> Store:
    return subject.store
