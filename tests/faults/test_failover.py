"""A store that lost the end of its log, or changed its ways, behind a connection that did not show it."""

from __future__ import annotations

import pytest
import structlog

from service.server.assemble import Service
from service.store.wire import watch
from tests.rig.ground import Ground
from tests.rig.stage import one_valued
from tests.rig.waiting import eventually


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EVERY_S", 0.05)


def value(server: Service, family: str, *labels: str) -> float:
    return one_valued(server.metrics, family).get(labels, 0.0)


def lose_end(ground: Ground, server: Service) -> None:
    """The last entry goes, as where it was not replicated; nobody's connection breaks."""
    (uid,) = server.feed.replicas
    with ground.raw as raw:
        log = f"{ground.world.prefix}:{{{uid}}}:log"
        raw.xdel(log, raw.xrevrange(log, count=1)[0][0])


def test_a_lost_end_that_new_entries_overtook_is_read_anew(ground: Ground) -> None:
    server, other = ground.service(), ground.service()
    tokens = ground.choose(server, 40)
    ground.settle()
    ground.click(server, tokens[:10])
    ground.settle()
    with structlog.testing.capture_logs() as logs:
        lose_end(ground, server)
        ground.choose(server, 20)
        ground.settle()
        for each in (server, other):
            eventually(lambda each=each: value(each, "lever_log_ends_lost_total", "hero") == 1)  # type: ignore[misc]
    assert sum("lost the end" in line["event"] for line in logs) == 2
    (uid,) = server.feed.replicas
    bits = [each.feed.replicas[uid].fields() for each in ground.world.services]
    fresh = ground.world.service()
    ground.settle()
    assert fresh.feed.replicas[uid].rows == 60
    assert bits == [fresh.feed.replicas[uid].fields()] * 2, "what was lost counts nowhere"
    assert value(fresh, "lever_log_ends_lost_total", "hero") == 0


def test_a_lost_end_is_noticed_by_the_engines_id_before_anything_new_comes(ground: Ground) -> None:
    server = ground.service()
    ground.choose(server, 10)
    ground.settle()
    (uid,) = server.feed.replicas
    session = server.feed._follower._session
    lose_end(ground, server)
    with ground.raw as raw:
        raw.replicaof("127.0.0.1", 1)
        raw.replicaof("NO", "ONE")  # promoted: another replication id
    eventually(lambda: value(server, "lever_log_ends_lost_total", "hero") == 1)
    assert server.feed.replicas[uid].rows == 0
    assert server.feed._follower._session != session


def test_another_engine_with_the_same_log_raises_no_alarm(ground: Ground) -> None:
    server = ground.service()
    ground.choose(server, 10)
    ground.settle()
    (replica,) = server.feed.replicas.values()
    with ground.raw as raw:
        raw.replicaof("127.0.0.1", 1)
        raw.replicaof("NO", "ONE")
    eventually(lambda: server.feed.replicas.get(replica.uid) not in (None, replica))
    assert value(server, "lever_log_ends_lost_total", "hero") == 0
    assert ground.proved().trials == 10


def test_an_eviction_policy_that_changes_is_an_alarm_while_it_lasts(ground: Ground) -> None:
    server = ground.service()
    with ground.raw as raw, structlog.testing.capture_logs() as logs:
        raw.config_set("maxmemory-policy", "allkeys-lru")
        eventually(lambda: value(server, "lever_store_evicts") == 1)
        raw.config_set("maxmemory-policy", "noeviction")
        eventually(lambda: value(server, "lever_store_evicts") == 0)
    assert [line["policy"] for line in logs if "evict" in line["event"]] == ["allkeys-lru", "noeviction"]
