"""The gauges of the lift say what a report says, and nothing of what is gone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from service.analysis.report import Report, report
from service.analysis.worth import Worth
from service.learning.replica import Replica
from service.server.assemble import Service
from service.serving.snapshot import Snapshot
from service.telemetry.metrics import Metrics
from tests.rig.demo.shop import NOW, opened
from tests.rig.stage import one_valued

FAMILIES = {"lever_lift": "relative", "lever_lift_low": "relative_low", "lever_lift_high": "relative_high"}


@pytest.fixture
def service() -> Service:
    return opened([NOW + 1000])


def test_they_are_the_reports(service: Service) -> None:
    metrics = Metrics()
    Worth(service.feed, service.directory, metrics).turn()
    lifts = {
        (name, lift.metric): lift
        for name in service.directory.by_name
        for lift in service.feed.inspect(name, report).lifts
        if not lift.segment and not lift.too_early and math.isfinite(lift.relative_low)
    }
    assert ("cart-offer", "order") in lifts
    for family, field in FAMILIES.items():
        assert one_valued(metrics, family) == {key: getattr(lift, field) for key, lift in lifts.items()}


def test_an_experiment_is_looked_at_again_only_when_it_is_due(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    inspect = service.feed.inspect

    def watched(name: str, look: Callable[[Snapshot, Replica, bool], Report]) -> Report:
        looks.append(name)
        return inspect(name, look)

    monkeypatch.setattr(service.feed, "inspect", watched)
    soon, late = (Worth(service.feed, service.directory, Metrics(), every_s) for every_s in (0.0, 3600.0))
    for told in (soon, late, soon, late):
        told.turn()
    assert len(looks) == 2 * len(service.directory.by_name)  # nothing has changed since
    uid, snapshot = next(iter(service.directory.by_uid.items()))
    service.directory.publish(dict(service.directory.by_uid) | {uid: replace(snapshot)})
    soon.turn()
    late.turn()
    assert len(looks) == 2 * len(service.directory.by_name) + 1
