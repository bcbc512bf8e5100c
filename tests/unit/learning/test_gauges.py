"""Gauges of an experiment as a whole: what marks them, what does not, and that they leave with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.learning.gauges import Gauges
from service.learning.replica import Replica
from service.learning.snapshot_file import SnapshotFile
from service.server.assemble import Service, Tuning, build
from service.serving.store_clock import StoreClock
from service.store.counted import Counted
from service.store.memory import MemoryStore
from service.store.redis import RedisStore
from service.telemetry.metrics import Metrics
from tests.rig.experiments import spending
from tests.rig.stage import KEYS, choose, one_valued

NOWHERE = "redis://127.0.0.1:1/0"  # nobody listens there


class Later(StoreClock):
    """An hour from now."""

    def now_ms(self) -> int:
        return super().now_ms() + 3_600_000


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = build(MemoryStore(), KEYS, Metrics(), Tuning(10, 10), snapshot_file=SnapshotFile(tmp_path / "shelf"))
    made.start()
    made.experiments.put(spending(), 0)
    yield made
    made.stop()


def replica(service: Service) -> Replica:
    (made,) = service.feed.replicas.values()
    return made


def test_a_snapshot_from_a_file_is_as_old_as_its_newest_entry(service: Service, tmp_path: Path) -> None:
    choose(service, "hero", "ann")
    service.stop()
    metrics = Metrics()
    away = Counted(RedisStore(NOWHERE), metrics)
    again = build(away, KEYS, metrics, Tuning(10, 10), snapshot_file=SnapshotFile(tmp_path / "shelf"), clock=Later())
    again.start()
    try:
        assert choose(again, "hero", "ann").stale
        assert one_valued(metrics, "lever_snapshot_age_seconds")["hero",] >= 3600
    finally:
        again.stop(flush_s=0.0)
    assert one_valued(metrics, "lever_store_up") == {(): 0.0}
    assert one_valued(metrics, "lever_store_errors_total")["poll", "UnreachableError"] >= 1


def test_a_checkpoint_that_is_due_lets_its_age_grow(service: Service) -> None:
    choose(service, "hero", "ann")
    service.feed.flushed(60.0)
    service.feed.refresh(60.0)
    service.stop()
    for due, diverged in ((False, False), (True, False), (False, True)):
        metrics, held = Metrics(), replica(service)
        held.cut = held.whole() if due else None
        Gauges(metrics).current([held], lambda _, diverged=diverged: diverged)  # type: ignore[misc]
        marked = ("hero",) in one_valued(metrics, "lever_checkpoint_age_seconds")
        assert marked == (not due and not diverged)
        assert one_valued(metrics, "lever_log_entries") == {("hero",): 1.0}


def test_rare_counters_are_there_from_the_start(service: Service) -> None:
    metrics = Metrics()
    Gauges(metrics).loaded(replica(service), diverged=False)
    causes = {("hero", cause): 0.0 for cause in ("late", "lost", "full")}
    assert one_valued(metrics, "lever_trials_dropped_total") == causes
    assert one_valued(metrics, "lever_features_unknown_total") == {("hero",): 0.0}


def test_the_deleted_leave_unless_their_name_was_taken(service: Service) -> None:
    metrics = Metrics()
    gauges, other = Gauges(metrics), replica(service)
    gauges.loaded(other, diverged=True)
    gauges.derived(other)
    gauges.current([other], lambda _: False)
    gauges.tell("hero", lost=1)
    gauges.tell("other", lost=1)
    gauges.deleted("hero", [other])
    assert one_valued(metrics, "lever_lost") == {("hero",): 0.0, ("other",): 1.0}
    gauges.deleted("hero", [])
    left = {key for name, rows in metrics.samples().items() if not name.endswith("_total") for key, _ in rows if key}
    assert left == {("other",)}
