"""The simulated shop: what is true in it, and when its tag is broken."""

from __future__ import annotations

import numpy as np
import pytest

from service.demo.world import DAY_MS, HERO, HOUR_MS, LETTER, OFFER, WORLDS, World, broken_now, broken_then
from service.experiment.compiled import build, read
from service.experiment.parse import parse


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_the_world_knows_what_the_experiment_can_choose(world: World) -> None:
    experiment = read(build(parse(world.text), world.text, "0" * 16, 0, None))
    assert experiment.name == world.name
    assert set(world.earns) == set(experiment.segments.ids)
    for rates in world.earns.values():
        assert set(rates) == {arm.id for arm in experiment.arms}
    assert set(world.context) == set(experiment.spec.features)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_as_many_come_in_a_day_as_it_says(world: World) -> None:
    step = 0.01
    came = sum(world.rate(hour * HOUR_MS) * step for hour in np.arange(0, 24, step))
    assert came == pytest.approx(world.visits, rel=0.01)


def test_rewards_come_as_often_as_is_true() -> None:
    rng, n = np.random.default_rng(5), 20_000
    seen = [HERO.events(rng, "default", "free-delivery", (), broken=False) for _ in range(n)]
    rate = HERO.earns["default"]["free-delivery"]
    assert sum(map(bool, seen)) == pytest.approx(n * rate, abs=5 * (n * rate) ** 0.5)


def test_a_broken_tag_tells_nothing_and_a_letter_is_exposed_all_the_same() -> None:
    rng = np.random.default_rng(5)
    assert not any(HERO.events(rng, "returning", "welcome-back", (), broken=True) for _ in range(500))
    shown = [LETTER.events(rng, "default", "plain", (), broken=True) for _ in range(500)]
    assert {event.metric for events in shown for event in events} <= {"", "unsubscribed"}


def test_an_order_is_told_with_its_amount() -> None:
    rng = np.random.default_rng(5)
    events = [event for _ in range(200) for event in OFFER.events(rng, "default", "gift", (), broken=False)]
    amounts = [event.value for event in events if event.metric == "revenue"]
    assert len(amounts) == sum(event.metric == "order" for event in events) > 0
    assert all(amount and amount > 0 for amount in amounts)


def test_the_tag_breaks_in_the_middle_and_at_the_end_of_the_past_and_is_mended_after_a_while() -> None:
    begun, ended = 0, 14 * DAY_MS
    hours = [hour for hour in range(14 * 24) if broken_then(HERO, hour * HOUR_MS, begun, ended)]
    assert hours == [*range(7 * 24, 7 * 24 + 18), *range(14 * 24 - 4, 14 * 24)]
    assert not broken_then(OFFER, ended, begun, ended)
    assert [broken_now(HERO, s) for s in (0.0, 89.0, 90.0, 1199.0, 1201.0, 1799.0, 1800.0)] == [
        True, True, False, False, True, True, False,
    ]  # fmt: skip
