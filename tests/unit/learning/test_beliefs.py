"""The gauges of what was learned say what a report says, and nothing of what is gone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from service.analysis.report import report
from service.learning import beliefs
from service.learning.beliefs import Beliefs
from service.server.assemble import Service, Tuning, build
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.experiments import spending
from tests.rig.stage import KEYS, choose, one_valued, reward


@pytest.fixture
def service() -> Iterator[Service]:
    made = build(MemoryStore(), KEYS, Metrics(), Tuning(10, 10))
    made.start()
    yield made
    made.stop()


def taught(service: Service, name: str = "hero", visits: int = 400) -> None:
    """Choices of which b earns most; four hundred are enough to say so."""
    for i in range(visits):
        made = choose(service, name, f"s{i}", context={"plan": "paid" if i % 2 else "free"})
        if made.arm == "b" or i % 5 < 2:
            reward(service, made, value=20.0)
    service.feed.flushed(60.0)
    service.feed.refresh(60.0)


@pytest.mark.parametrize(
    ("algorithm", "visits", "early"), [("auto", 400, None), ("uniform", 400, False), ("lints", 20, True)]
)
def test_the_gauges_are_the_reports(service: Service, algorithm: str, visits: int, early: bool | None) -> None:
    service.experiments.put(spending(algorithm=algorithm), 0)
    taught(service, visits=visits)
    metrics = Metrics()
    Beliefs(service.directory, metrics).turn()
    told_report = service.feed.inspect("hero", report)
    told = {("hero", s.segment, arm.arm): arm for s in told_report.segments for arm in s.arms}
    assert one_valued(metrics, "lever_posterior_mean") == {
        key: arm.posterior_mean for key, arm in told.items() if not math.isnan(arm.posterior_mean)
    }
    assert one_valued(metrics, "lever_probability_best") == {
        key: arm.probability_best for key, arm in told.items() if not math.isnan(arm.probability_best)
    }
    # What auto starves is not known before.
    assert early in (None, all(segment.too_early for segment in told_report.segments))
    least = one_valued(metrics, "lever_propensity_min")
    assert set(least) == {("hero", "default"), ("hero", "paid")}
    assert all(0 < value <= 1 / 3 for value in least.values())


def test_the_least_propensity_is_that_of_the_least_likely_arm(service: Service) -> None:
    service.experiments.put(spending(algorithm="nig"), 0)
    taught(service)
    metrics = Metrics()
    Beliefs(service.directory, metrics).turn()
    for slot, segment in zip(service.directory.by_name["hero"].slots, ("default", "paid"), strict=True):
        assert one_valued(metrics, "lever_propensity_min")["hero", segment] == min(slot.pmf)


def test_what_is_gone_is_told_no_more(service: Service) -> None:
    for name in ("hero", "other"):
        service.experiments.put(spending(name), 0)
        taught(service, name)
    metrics = Metrics()
    told = Beliefs(service.directory, metrics, every_s=0.0)
    told.turn()
    assert len(one_valued(metrics, "lever_posterior_mean")) == 12
    service.experiments.put(spending(state=", state: paused"), 1)
    service.experiments.delete("other", 1)
    service.feed.refresh(60.0)
    told.turn()
    rest = {("hero", segment, arm) for segment in ("default", "paid") for arm in ("a", "b")}
    assert (
        set(one_valued(metrics, "lever_posterior_mean")) == rest >= set(one_valued(metrics, "lever_probability_best"))
    )
    assert set(one_valued(metrics, "lever_propensity_min")) == {("hero", "default"), ("hero", "paid")}


def test_nothing_is_told_of_arms_that_nobody_was_shown(service: Service) -> None:
    service.experiments.put(spending(), 0)
    metrics = Metrics()
    Beliefs(service.directory, metrics).turn()
    assert not one_valued(metrics, "lever_posterior_mean")
    assert not one_valued(metrics, "lever_probability_best")
    assert len(one_valued(metrics, "lever_propensity_min")) == 2


def test_an_experiment_is_looked_at_again_when_it_is_due(service: Service) -> None:
    service.experiments.put(spending(), 0)
    soon, late = Metrics(), Metrics()
    lookers = [Beliefs(service.directory, soon, every_s=0.0), Beliefs(service.directory, late)]
    for looker in lookers:
        looker.turn()
    before = one_valued(soon, "lever_posterior_mean")
    taught(service)
    for looker in lookers:
        looker.turn()
    assert one_valued(late, "lever_posterior_mean") == before
    assert one_valued(soon, "lever_posterior_mean") != before


def test_segments_that_no_longer_fit_are_left_out(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beliefs, "MAX_SERIES", 8)
    for name in ("hero", "other"):
        service.experiments.put(spending(name), 0)
        taught(service, name)
    metrics = Metrics()
    told = Beliefs(service.directory, metrics, every_s=0.0)
    told.turn()
    assert len(one_valued(metrics, "lever_posterior_mean")) == 6
    assert len(one_valued(metrics, "lever_propensity_min")) == 2
    service.experiments.delete("hero", 1)
    service.feed.refresh(60.0)
    taught(service, "other")
    told.turn()
    assert {key[0] for key in one_valued(metrics, "lever_posterior_mean")} == {"other"}
    assert len(one_valued(metrics, "lever_posterior_mean")) == 6
