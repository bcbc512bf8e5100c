"""Days that went by in the simulated shop: what a server that is given them knows."""

from __future__ import annotations

import numpy as np
import pytest

from service.demo.past import column
from service.demo.world import DAY_MS, HERO, HOUR_MS, UNNOTICED_MS, WORLDS, World
from service.serving.personalizer import Mode
from tests.rig.demo.shop import DAYS, NOW, opened, told, writes


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_nobody_is_lost_on_the_way(world: World) -> None:
    report, _ = told()[world.name]
    trials = sum(total.trials for total in report.totals if total.metric == report.metric)
    came = DAYS * world.visits * (0.97 if world.deferred else 1.0)
    assert trials == pytest.approx(came, rel=0.1)


def test_what_was_earned_is_what_is_true() -> None:
    totals = told()["cart-offer"][0].totals
    offer = next(total for total in totals if total.group == "holdout" and total.metric == "order")
    rate = WORLDS[2].earns["default"]["none"]
    assert offer.mean == pytest.approx(rate, abs=5 * (rate / offer.trials) ** 0.5)


@pytest.mark.parametrize("write", range(len(WORLDS)))
def test_the_log_comes_with_its_times(write: int) -> None:
    seed = writes()[write].seed
    assert seed is not None
    times = [entry.time for entry in seed.entries]
    assert times == sorted(times)
    assert NOW - DAYS * DAY_MS <= times[0] <= times[-1] <= NOW


def test_the_timeline_has_every_day() -> None:
    days = [period.start_ms // DAY_MS for period in told()["homepage-hero"][1].periods]
    assert days == [*range((NOW - DAYS * DAY_MS) // DAY_MS, NOW // DAY_MS + 1)]


def test_the_broken_tag_is_found() -> None:
    clock = [NOW]
    service = opened(clock)
    subjects, rng = [f"visitor-{i}" for i in range(3000)], np.random.default_rng(1)
    columns = {name: column(HERO, name, values) for name, values in HERO.crowd(rng, len(subjects))[1].items()}
    service.use_cases.select_batch(HERO.name, subjects, columns, (), False, Mode.NORMAL)
    clock[0] += 60_000
    service.feed.turn()
    segments = service.experiments.report(HERO.name).segments
    since = [segment.outage.from_ms for segment in segments if segment.outage is not None]
    assert since
    assert min(since) > NOW - UNNOTICED_MS - HOUR_MS
