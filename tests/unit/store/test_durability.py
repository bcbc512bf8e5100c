"""The promise is what the store's own settings allow."""

from __future__ import annotations

import pytest
import redis

from service.errors import UnavailableError
from service.store.durability import durability
from service.store.embedded import Embedded
from service.store.redis import RedisStore


@pytest.mark.parametrize(
    ("fsync", "words"),
    [
        ("always", "power loss"),
        ("everysec", "up to 2 s"),
        ("no", "not written"),
        ("none (no append-only file)", "no append-only file"),
        ("unknown (append-only file)", "not known"),
    ],
)
def test_what_is_promised(fsync: str, words: str) -> None:
    assert words in durability({"fsync": fsync, "eviction": "noeviction"})


@pytest.mark.parametrize("engine", ["valkey", "debian_redis"])
def test_engines_tell_and_an_evicting_one_is_refused(engine: str, request: pytest.FixtureRequest) -> None:
    running: Embedded = request.getfixturevalue(engine)
    store = RedisStore(running.url)
    assert "power loss" in durability(store.facts())
    with redis.Redis.from_url(running.url) as client:
        client.config_set("maxmemory-policy", "volatile-lru")
        try:
            with pytest.raises(UnavailableError, match=r"volatile-lru.*noeviction"):
                durability(store.facts())
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    store.close()
