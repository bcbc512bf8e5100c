"""What a report and an explanation say is possible, under every policy: in the metric's range, and in order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bandits.policy import POLICIES
from service.analysis.report import ArmReport, Report, report
from service.experiment.features.column import Value
from service.server.assemble import Service, Tuning, build
from service.serving.explainer import Reasons
from service.serving.personalizer import Decision
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.stage import KEYS, choose, reward

ALGORITHMS = [name for name in POLICIES if name not in ("uniform", "fixed")]
CONFIG = """
experiment: {name}
arms: [{{id: a, attributes: {{tone: warm}}}}, {{id: b}}, {{id: c, attributes: {{tone: cool}}}}, {{id: gone, state: paused}}, {{id: own, segments: [paid]}}]
default_arm: a
algorithm: {algorithm}
holdout: {{share: 0.2}}
features: {{plan: {{type: category, values: [free, paid, staff]}}, visits: {{type: number, min: 0, max: 10}}}}
segments: [{{id: paid, when: {{plan: paid}}}}, {{id: staff, when: {{plan: staff}}, serve: default}}]
metrics: [{{id: m, window: 1h{metric}}}]
"""
METRICS = {"": (0.0, 1.0), ", unit: 0.01, min: 0, max: 50": (0.0, 50.0), ", unit: 0.5, min: -4, max: 20": (-4.0, 20.0)}
POSITIVE = ("beta", "revenue")  # they take no rewards below 0
NAMES = itertools.count()
FEW = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = build(MemoryStore(), KEYS, Metrics(), Tuning(10, 10))
    made.start()
    yield made
    made.stop()


def started(service: Service, algorithm: str, metric: str) -> str:
    name = f"e{next(NAMES)}"
    service.experiments.put(CONFIG.format(name=name, algorithm=algorithm, metric=metric), 0)
    service.feed.refresh(60.0)
    return name


def told(service: Service, name: str) -> Report:
    service.feed.flushed(60.0)
    service.feed.refresh(60.0)
    return service.feed.inspect(name, report)


def context(rng: np.random.Generator) -> dict[str, Value]:
    known: dict[str, Value] = {"plan": str(rng.choice(["free", "paid", "staff"])), "visits": float(rng.integers(0, 11))}
    return {key: value for key, value in known.items() if rng.random() < 0.9}


def ordered(low: float, middle: float, high: float) -> bool:
    """The interval contains its estimate; or there is none of the three."""
    if math.isnan(middle):
        return math.isnan(low) and math.isnan(high)
    tiny = 1e-9 * max(1.0, abs(low), abs(high))
    return low <= middle + tiny and middle <= high + tiny


def possible(arm: ArmReport, low: float, high: float) -> None:
    """Of one arm of a report."""
    assert ordered(arm.credible_low, arm.posterior_mean, arm.credible_high)
    assert math.isnan(arm.posterior_mean) or low <= arm.credible_low <= arm.credible_high <= high
    assert low <= arm.mean <= high
    assert math.isnan(arm.probability_best) or 0.0 <= arm.probability_best <= 1.0 + 1e-9
    assert math.isnan(arm.expected_loss) or 0.0 <= arm.expected_loss <= high - low
    assert 0.0 <= arm.traffic_share <= 1.0
    assert arm.eligible or math.isnan(arm.probability_best + arm.posterior_mean)
    if arm.effect is not None:
        effect = arm.effect
        assert ordered(effect.low, effect.difference, effect.high)
        assert ordered(effect.relative_low, effect.relative, effect.relative_high) or math.isinf(effect.relative_low)
        assert math.isnan(effect.p_value) or 0.0 <= effect.p_value <= 1.0


def report_is_possible(found: Report, low: float, high: float) -> None:
    for segment in found.segments:
        for arm in segment.arms:
            possible(arm, low, high)
        odds = [arm.probability_best for arm in segment.arms if not math.isnan(arm.probability_best)]
        assert math.fsum(odds) == pytest.approx(1.0) if odds else True
        assert segment.segment != "staff" or not any(arm.eligible for arm in segment.arms)
        assert [arm.eligible for arm in segment.arms if arm.arm == "gone"] == [False]
        assert [arm.eligible for arm in segment.arms if arm.arm == "own"] == [segment.segment == "paid"]
        if segment.stop is not None and not math.isnan(segment.stop.loss):
            assert segment.stop.loss >= 0.0
            assert segment.stop.remaining >= 0.0
    for one in (*found.features, *(one for segment in found.segments for one in segment.attributes)):
        assert ordered(one.low, one.difference, one.high)
        assert bool(one.too_early) == math.isnan(one.low)
        assert 0.0 <= one.share <= 1.0 + 1e-9
    for lift in found.lifts:
        assert ordered(lift.low, lift.difference, lift.high)
        assert ordered(lift.fixed_low, lift.difference, lift.fixed_high)
        assert math.isnan(lift.p_value) or 0.0 <= lift.p_value <= 1.0


def reasons_are_possible(found: Reasons, low: float, high: float) -> None:
    odds = [arm.probability for arm in found.arms if arm.probability is not None]
    if found.segment == "staff":
        assert (found.served, found.arms) == ("a", ())
    else:
        assert math.fsum(odds) == pytest.approx(1.0)
    assert all(0.0 <= one <= 1.0 + 1e-9 for one in odds)
    for arm in found.arms:
        if arm.mean is None:
            assert arm.low is arm.high is arm.base is None
            continue
        assert arm.low is not None
        assert arm.high is not None
        assert arm.base is not None
        assert low <= arm.low <= arm.mean <= arm.high <= high
        assert low <= arm.base <= high
        assert arm.base + math.fsum(part.effect for part in arm.parts) == pytest.approx(arm.mean, abs=1e-6 * high)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@FEW
@given(seed=st.integers(0, 2**32 - 1), metric=st.sampled_from(list(METRICS)))
def test_all_that_is_said_is_possible(service: Service, algorithm: str, seed: int, metric: str) -> None:
    metric = "" if algorithm in POSITIVE and METRICS[metric][0] < 0.0 else metric
    (low, high), rng = METRICS[metric], np.random.default_rng(seed)
    name, rate = started(service, algorithm, metric), 10 ** rng.uniform(-2, 0)
    report_is_possible(told(service, name), low, high)
    visits = int(10 ** rng.uniform(0, 2.5))
    for i in range(visits):
        made = choose(service, name, f"s{rng.integers(0, visits)}", context=context(rng))
        if rng.random() < rate:
            value = 1.0 if not metric else float(np.rint(2.0 * rng.uniform(low, high)) / 2.0)
            reward(service, made, value=value)
        if i % 50 == 49:
            service.feed.flushed(60.0)
            service.feed.refresh(60.0)
    report_is_possible(told(service, name), low, high)
    for _ in range(4):
        reasons_are_possible(service.experiments.explain(name, context(rng)), low, high)


def shown(service: Service, name: str, who: int, known: dict[str, Value], arm: str) -> Decision:
    """The first subject of these that is not in the holdout is shown the arm."""
    tried = (choose(service, name, f"{who}-{k}", context=known, arms=[arm]) for k in range(99))
    return next(made for made in tried if not made.holdout)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@FEW
@given(seed=st.integers(0, 2**32 - 1), metric=st.sampled_from(list(METRICS)))
def test_a_clicked_arm_is_no_worse_than_its_unclicked_equals(
    service: Service, algorithm: str, seed: int, metric: str
) -> None:
    """The same visitors saw each arm; one of them clicked, on one arm."""
    metric = "" if algorithm in POSITIVE and METRICS[metric][0] < 0.0 else metric
    rng = np.random.default_rng(seed)
    name, crowd = started(service, algorithm, metric), int(10 ** rng.uniform(0, 1.6))
    lucky, clicked = int(rng.integers(0, crowd)), str(rng.choice(["a", "b", "c"]))
    contexts: list[dict[str, Value]] = [
        {"plan": str(rng.choice(["free", "free", "paid"])), "visits": float(rng.integers(0, 11))} for _ in range(crowd)
    ]
    contexts[lucky]["plan"] = "free"
    for i, known in enumerate(contexts):
        for arm in ("a", "b", "c"):
            made = shown(service, name, i, known, arm)
            if i == lucky and arm == clicked:
                reward(service, made, value=1.0)
    found = told(service, name)
    arms = {arm.arm: arm for arm in next(s for s in found.segments if s.segment == "default").arms}
    for other in {"a", "b", "c"} - {clicked}:
        if arms[other].trials == arms[clicked].trials:
            assert arms[clicked].posterior_mean >= arms[other].posterior_mean - 1e-9
            assert not arms[clicked].probability_best < arms[other].probability_best - 1e-9
            assert not arms[clicked].expected_loss > arms[other].expected_loss + 1e-9
    reasons = {arm.arm: arm for arm in service.experiments.explain(name, contexts[lucky]).arms}
    for other in {"a", "b", "c"} - {clicked}:
        assert (reasons[clicked].mean or 0.0) >= (reasons[other].mean or 0.0) - 1e-9
        assert (reasons[clicked].probability or 0.0) >= (reasons[other].probability or 0.0) - 1e-9
