"""Features and attributes in a report: the user's own names and units."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.analysis.influence import Influence
from service.analysis.report import Report, report
from service.server.assemble import Service, Tuning, build
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.stage import KEYS, choose, reward

SHOP = """
experiment: shop
arms:
  - {id: a, attributes: {tone: warm, price: 9, animated: true}}
  - {id: b, attributes: {tone: warm, price: 10, animated: false}}
  - {id: c, attributes: {tone: cool, price: 11, animated: true}}
  - {id: d, attributes: {tone: cool, price: 12}}
default_arm: a
algorithm: uniform
features:
  device: {type: category, values: [mobile, desktop]}
  visits: {type: number, min: 0, max: 20}
  member: {type: flag}
metrics: [{id: spend, unit: 0.01, min: 0, max: 40, window: 1h}]
"""


@pytest.fixture
def service() -> Iterator[Service]:
    made = build(MemoryStore(), KEYS, Metrics(), Tuning(10, 10))
    made.start()
    yield made
    made.stop()


def told(service: Service) -> Report:
    service.feed.flushed(60.0)
    service.feed.refresh(60.0)
    return service.feed.inspect("shop", report)


def by_name(influences: tuple[Influence, ...]) -> dict[tuple[str, str], Influence]:
    return {(one.name, one.value): one for one in influences}


def test_what_moves_the_outcome(service: Service) -> None:
    """Mobile visitors spend twice as much, and 0.25 more with every visit; warm arms bring 4 more."""
    service.experiments.put(SHOP, 0)
    for i in range(1600):
        mobile, visits = i % 2 == 0, i % 7
        context = {"device": "mobile" if mobile else "desktop", "visits": float(visits)}
        made = choose(service, "shop", f"s{i}", context=context | ({"member": True} if i % 3 else {}))
        warm = 4.0 if made.arm in ("a", "b") else 0.0
        reward(service, made, value=(8.0 + warm + i % 3 / 4) * (1.0 if mobile else 0.5) + 0.25 * visits)
    made_of = told(service)
    features = by_name(made_of.features)
    mobile_, visits_ = features["device", "mobile"], features["visits", ""]
    assert mobile_.low < 5.2 < mobile_.high
    assert mobile_.share == pytest.approx(0.5)
    assert visits_.step == pytest.approx(2.0, rel=0.05)  # the standard deviation of 0 to 6, in visits
    assert visits_.low < 0.25 * visits_.step < visits_.high
    assert {name for name, value in features if value not in ("(missing)", "(unknown)")} == {
        "device",
        "visits",
        "member",
    }
    (segment,) = made_of.segments
    attributes = by_name(segment.attributes)
    assert set(attributes) == {("animated", "true"), ("animated", "false"), ("price", ""), ("tone", "warm")}
    warm_ = attributes["tone", "warm"]
    assert warm_.low < 3.0 < warm_.high
    assert warm_.difference == pytest.approx(3.0, abs=0.5)
    assert attributes["animated", "false"].too_early
    assert attributes["price", ""].difference < 0.0 < attributes["price", ""].step


def test_where_there_is_nothing_to_tell(service: Service) -> None:
    service.experiments.put("experiment: shop\narms: [{id: a}, {id: b}]\ndefault_arm: a\nmetrics: [{id: m}]\n", 0)
    service.feed.refresh(60.0)
    assert told(service).features == ()
    assert all(segment.attributes == () for segment in told(service).segments)
