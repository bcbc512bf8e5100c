"""The gauges of the lift say what a report says, and nothing of what is gone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from service.analysis import worth
from service.analysis.report import report
from service.analysis.worth import Worth
from service.server.assemble import Service
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

    def counted(name: str, look: Any) -> Any:
        looks.append(name)
        return inspect(name, look)

    monkeypatch.setattr(service.feed, "inspect", counted)
    soon, late = (Worth(service.feed, service.directory, Metrics(), every_s) for every_s in (0.0, 3600.0))
    for told in (soon, late, soon, late):
        told.turn()
    assert len(looks) == 2 * len(service.directory.by_name)  # nothing has changed since
    uid, snapshot = next(iter(service.directory.by_uid.items()))
    service.directory.publish(dict(service.directory.by_uid) | {uid: replace(snapshot)})
    soon.turn()
    late.turn()
    assert len(looks) == 2 * len(service.directory.by_name) + 1


def test_what_is_deleted_is_forgotten_and_a_failure_concerns_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()
    told = Worth(service.feed, service.directory, metrics, 0.0)
    told.turn()
    names = {name for name, _ in one_valued(metrics, "lever_lift")}
    assert len(names) > 1
    gone = min(names)
    service.directory.publish(
        {uid: one for uid, one in service.directory.by_uid.items() if one.experiment.name != gone}
    )
    told.turn()
    for family in FAMILIES:
        assert {name for name, _ in one_valued(metrics, family)} == names - {gone}

    def broken(_: object) -> object:
        raise ArithmeticError

    monkeypatch.setattr(worth, "whole", broken)
    Worth(service.feed, service.directory, metrics, 0.0).turn()  # logs, and goes on


def test_no_more_series_than_a_process_keeps(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worth, "MAX_SERIES", 2)
    metrics = Metrics()
    Worth(service.feed, service.directory, metrics).turn()
    assert len(one_valued(metrics, "lever_lift")) == 2
    assert "other" not in {name for name, _ in one_valued(metrics, "lever_lift")}
