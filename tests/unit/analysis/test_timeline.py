"""A timeline over a service whose visitors and rewards are known: it ends where the report is, and says what came before."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from bandits.periods import DAY, HOUR
from service.analysis.timeline import Asked, Series, Step, Timeline
from service.errors import InvalidError
from service.rpc.answers.timeline import asked, timeline_message
from service.server.assemble import Service, Tuning, build
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.stage import KEYS, choose, reward, shop, told, visit


@pytest.fixture
def service() -> Iterator[Service]:
    made = build(MemoryStore(), KEYS, Metrics(), Tuning(10, 10))
    made.start()
    yield made
    made.stop()


def past(service: Service, **what: object) -> Timeline:
    return service.experiments.timeline("shop", Asked(**what))  # type: ignore[arg-type]  # fields of Asked


def one(found: Timeline, arm: str, group: str, metric: str = "order", segment: str = "") -> Series:
    (series,) = [s for s in found.series if (s.arm, s.group, s.metric, s.segment) == (arm, group, metric, segment)]
    return series


def test_a_timeline_ends_where_the_report_is(service: Service) -> None:
    service.experiments.put(shop(0.4), 0)
    visit(service, 0, 600)
    found, report = past(service), told(service)
    new = one(found, "new", "policy")
    assert sum(new.trials) == report.totals[0].trials
    assert sum(new.reward_sum) == sum(new.reward_square_sum) == sum(new.rewarded) == report.totals[0].rewarded
    assert all(share == 1.0 for share, n in zip(new.traffic_share, new.trials, strict=True) if n)
    assert new.mean_propensity[-1] == 1.0
    money = one(found, "old", "holdout", "revenue")
    assert sum(money.reward_sum) == pytest.approx(10.25 * sum(money.rewarded))
    assert sum(money.reward_square_sum) == pytest.approx(10.25**2 * sum(money.rewarded))
    assert (money.traffic_share, money.probability_best) == ([], [])
    for lift, whole in zip(found.lifts[-2:], report.lifts[:2], strict=True):
        assert (lift.metric, lift.low, lift.high, lift.relative_low) == (
            whole.metric,
            whole.low,
            whole.high,
            whole.relative_low,
        )
        assert (lift.policy_trials, lift.holdout_trials, lift.to_ms) == (
            whole.policy_trials,
            whole.holdout_trials,
            whole.to_ms,
        )
    assert [change.what for change in found.changes] == ["created"]


def test_chances_end_where_the_report_is(service: Service) -> None:
    service.experiments.put(
        "{experiment: shop, arms: [{id: old}, {id: new}], default_arm: old, algorithm: beta, metrics: [{id: order, primary: true, window: 1h}]}",
        0,
    )
    for i in range(300):
        made = choose(service, "shop", f"s{i}")
        if i % (2 if made.arm == "new" else 3) == 0:
            reward(service, made, metric="order", value=1.0)
    service.feed.flushed(60.0)
    service.feed.refresh(60.0)
    found, report = past(service), told(service)
    for arm in report.segments[0].arms:
        assert one(found, arm.arm, "policy").probability_best[-1] == pytest.approx(arm.probability_best, abs=1e-9)


def test_too_early_is_said_as_in_the_report(service: Service) -> None:
    service.experiments.put(shop(0.4), 0)
    choose(service, "shop", "ann")
    service.feed.flushed(60.0)
    service.feed.refresh(60.0)
    found = past(service)
    assert all(math.isnan(p) for s in found.series for p in s.probability_best)
    assert all(lift.too_early for lift in found.lifts)


def test_segments_apart_add_up_to_all_of_them(service: Service) -> None:
    service.experiments.put(shop(0.4), 0)
    visit(service, 0, 200)
    whole, apart = past(service), past(service, each_segment=True)
    assert {series.segment for series in apart.series} == {"default", "paid"}
    for series in whole.series:
        parts = [s for s in apart.series if (s.arm, s.group, s.metric) == (series.arm, series.group, series.metric)]
        assert [sum(ns) for ns in zip(*(p.trials for p in parts), strict=True)] == series.trials
    assert (
        one(apart, "new", "policy", segment="paid").trials
        == one(past(service, segment="paid"), "new", "policy", segment="paid").trials
    )
    assert not any(series.probability_best for series in apart.series)


def test_periods_are_hours_or_days_and_what_came_before_still_counts(service: Service) -> None:
    service.experiments.put(shop(0.4), 0)
    visit(service, 0, 200)
    hours, days = past(service, step=Step.HOUR), past(service, step=Step.DAY)
    assert {p.end_ms - p.start_ms for p in hours.periods} == {HOUR}
    assert {p.end_ms - p.start_ms for p in days.periods} == {DAY}
    assert sum(one(days, "new", "policy").trials) == sum(one(hours, "new", "policy").trials)
    later = past(service, from_ms=hours.periods[-1].end_ms, to_ms=2**53)
    assert (later.periods, later.series, later.changes) == ((), (), ())
    assert later.kept_from_ms == hours.kept_from_ms == hours.periods[0].start_ms


@pytest.mark.parametrize(
    ("what", "field"),
    [
        ({"segment": "nowhere"}, "segment"),
        ({"segment": "paid", "each_segment": True}, "each_segment"),
        ({"from_ms": 5, "to_ms": 5}, "to_ms"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(service: Service, what: dict[str, object], field: str) -> None:
    service.experiments.put(shop(0.4), 0)
    with pytest.raises(InvalidError) as caught:
        past(service, **what)
    assert [violation.field for violation in caught.value.violations] == [field]


def test_over_the_wire(service: Service) -> None:
    from service.pb.lever.v1 import experiment_pb2 as pb

    service.experiments.put(shop(0.4), 0)
    visit(service, 0, 100)
    found = service.experiments.timeline("shop", asked(pb.GetTimelineRequest(step=pb.TIMELINE_STEP_DAY)))
    message = timeline_message(found)
    assert [list(s.trials) for s in message.series] == [s.trials for s in found.series]
    assert [lift.to_ms for lift in message.lifts] == [lift.to_ms for lift in found.lifts]
    assert [p.start_ms for p in message.periods] == [p.start_ms for p in found.periods]
    for wrong, field in ((pb.GetTimelineRequest(from_ms=-1), "from_ms"), (pb.GetTimelineRequest(to_ms=-1), "to_ms")):
        with pytest.raises(InvalidError, match=field):
            asked(wrong)
