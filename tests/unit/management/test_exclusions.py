"""Data taken back over a service: what counts is as if it had never been, and all of it comes back to the bit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bandits.cells import GROUPS
from service.analysis.timeline import Asked
from service.errors import InvalidError, LeverError, NotFoundError
from service.experiment.exclusions import MOST, Excluded
from service.learning.replica import Replica
from service.server.assemble import Service, Tuning, build
from service.store.contract import Checkpointed
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.stage import KEYS, choose, reward, shop, told, visit

FAR = 2**53
SHOP_OF_TWO = """
experiment: shop
arms: [{id: old}, {id: new}]
default_arm: old
holdout: {share: 0.2}
features: {paid: {type: flag}, mobile: {type: flag}}
metrics: [{id: order, primary: true, window: 1h}]
"""


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def service(store: MemoryStore) -> Iterator[Service]:
    made = build(store, KEYS, Metrics(), Tuning(10, 10))
    made.start()
    yield made
    made.stop()


def sums(service: Service) -> dict[str, bytes]:
    """All that counts."""

    def of(_: object, replica: Replica, __: bool) -> dict[str, bytes]:
        return replica.state.fields()

    return service.feed.inspect("shop", of)


def trials(service: Service) -> int:
    def of(_: object, replica: Replica, __: bool) -> int:
        state = replica.state
        return sum(int(state.lifetime(s)[:, :GROUPS].sum()) for s in range(state.rules.segments))

    return service.feed.inspect("shop", of)


def moment(service: Service) -> int:
    """Between the decisions of before and those of after."""
    time.sleep(0.003)
    now = service.feed.inspect("shop", lambda _, replica, __: replica.touched)
    time.sleep(0.003)
    return max(now, time.time_ns() // 1_000_000) - 1


def test_what_is_excluded_counts_nowhere_and_comes_back_to_the_bit(service: Service, store: MemoryStore) -> None:
    service.experiments.put(shop(0.4), 0)
    visit(service, 0, 150)
    until = moment(service)
    visit(service, 150, 250)
    before, all_lifts = sums(service), told(service).lifts
    made, one = service.experiments.exclude("shop", Excluded(1, until))
    assert (one.number, one.trials, made.version) == (1, 150, 2)
    report, timeline = told(service), service.experiments.timeline("shop", Asked())
    assert trials(service) == 250 == sum(total.trials for total in report.totals if total.metric == "order")
    lift = report.lifts[0]
    assert lift.policy_trials + lift.holdout_trials == 250
    assert timeline.lifts[-2].policy_trials == lift.policy_trials
    assert sum(sum(series.trials) for series in timeline.series if series.metric == "order") == 250
    other = build(store, KEYS, Metrics(), Tuning(10, 10))
    other.start()
    other.feed.refresh(60.0)
    assert sums(other) == sums(service)
    other.stop()
    assert list(service.experiments.exclusions("shop")) == [one]
    service.experiments.include("shop", 1)
    assert sums(service) == before
    assert [(a.low, a.high) for a in told(service).lifts] == [(b.low, b.high) for b in all_lifts]
    assert not service.experiments.exclusions("shop")


def test_late_rewards_of_what_is_excluded_do_not_count_until_it_is_back(service: Service) -> None:
    service.experiments.put(shop(0.4), 0)
    early = choose(service, "shop", "ann")
    service.feed.flushed(60.0)
    service.experiments.exclude("shop", Excluded(1, FAR))
    reward(service, early, metric="order", value=1.0)
    choose(service, "shop", "bob")
    service.feed.flushed(60.0)
    service.feed.refresh(60.0)
    assert trials(service) == 0
    assert service.experiments.exclusions("shop")[0].trials == 2
    service.experiments.include("shop", 1)
    assert trials(service) == 2
    assert sum(total.rewarded for total in told(service).totals) == 1


def test_one_arm_alone(service: Service) -> None:
    service.experiments.put(shop(0.4), 0)
    visit(service, 0, 100)
    _, one = service.experiments.exclude("shop", Excluded(1, FAR, ("new",)))
    assert one.arms == ("new",)
    assert {total.group for total in told(service).totals} == {"holdout"}
    service.experiments.put(shop(0.3), None)  # another configuration leaves exclusions as they are
    assert list(service.experiments.exclusions("shop")) == [one]


@pytest.mark.parametrize(
    ("what", "field"),
    [
        (Excluded(0, 5), "from_ms"),
        (Excluded(5, 5), "to_ms"),
        (Excluded(1, 5, ("nobody",)), "arms"),
        (Excluded(60, 80, ("old",)), "from_ms"),  # overlaps
    ],
)
def test_what_cannot_be_excluded_is_refused_by_name(service: Service, what: Excluded, field: str) -> None:
    service.experiments.put(shop(0.4), 0)
    service.experiments.exclude("shop", Excluded(50, 70))
    with pytest.raises(InvalidError) as caught:
        service.experiments.exclude("shop", what)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert service.experiments.get("shop").version == 2


def test_what_is_not_there_is_refused(service: Service) -> None:
    service.experiments.put(shop(0.4), 0)
    with pytest.raises(NotFoundError):
        service.experiments.include("shop", 1)
    with pytest.raises(NotFoundError):
        service.experiments.exclude("nothing", Excluded(1, 2))


def test_so_many_and_no_more(service: Service) -> None:
    service.experiments.put(shop(0.4), 0)
    for i in range(MOST):
        service.experiments.exclude("shop", Excluded(1 + i, 2 + i))
    with pytest.raises(LeverError, match="take one back"):
        service.experiments.exclude("shop", Excluded(100, 200))
    service.experiments.include("shop", 3)
    _, one = service.experiments.exclude("shop", Excluded(100, 200))
    assert one.number == MOST + 1


def test_what_the_log_no_longer_has_cannot_be_excluded(service: Service, store: MemoryStore) -> None:
    service.experiments.put(shop(0.4), 0)
    visit(service, 0, 20)
    for _ in range(2):
        visit(service, 20, 20)
        cut = service.feed.inspect("shop", lambda _, replica, __: replica.whole())
        uid = service.experiments.get("shop").uid
        assert store.checkpoint(uid, replace(cut, keep=FAR)) in (Checkpointed.STORED, Checkpointed.SAME)
    before = sums(service)
    with pytest.raises(InvalidError, match="from_ms: the log is kept since 20") as caught:
        service.experiments.exclude("shop", Excluded(1, FAR))
    assert [violation.field for violation in caught.value.violations] == ["from_ms"]
    assert service.experiments.get("shop").version == 1
    assert sums(service) == before


def test_rows_are_taken_out_as_they_were_learned_from(service: Service) -> None:
    """Products of features came with a later configuration: rows of before have none, and none is taken out."""
    text = SHOP_OF_TWO + "algorithm: {name: ALGORITHM}\n"
    service.experiments.put(text.replace("ALGORITHM", "lints"), 0)
    for step, first in enumerate((0, 100)):
        for i in range(first, first + 100):
            made = choose(service, "shop", f"s{i}", context={"paid": i % 3 == 0, "mobile": i % 2 == 0})
            if i % 4 == 0:
                reward(service, made, metric="order", value=1.0)
        service.feed.flushed(60.0)
        service.feed.refresh(60.0)
        if step == 0:
            service.experiments.put(text.replace("ALGORITHM", "auto"), 1)
    products = service.experiments.get("shop").numbers.products
    before = sums(service)
    service.experiments.exclude("shop", Excluded(1, FAR))
    left = [name for name in sums(service) if name[0] in "cdstl"]
    assert products
    assert left == []
    service.experiments.include("shop", 1)
    assert sums(service) == before
