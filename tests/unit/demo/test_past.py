"""Days that went by in the simulated shop: what a server that is given them knows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from service.analysis.report import Report
from service.demo.past import column, past
from service.demo.world import DAY_MS, HERO, HOUR_MS, UNNOTICED_MS, WORLDS, World
from service.security.secrets import Secrets
from service.server.assemble import build
from service.serving.personalizer import Mode
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics

Known = Mapping[str, Report]

NOW = 1_790_000_000_000
KEYS = Secrets([b"a token key for tests only"], b"a subject key for tests only")


@pytest.fixture(scope="module")
def known() -> Known:
    """The reports of a service over a store that was given three days."""
    store = MemoryStore(lambda: NOW + 1000)
    for put in past(KEYS, NOW, 3):
        store.put(put)
    service = build(store, KEYS, Metrics())
    service.feed.turn()
    return {world.name: service.experiments.report(world.name) for world in WORLDS}


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_nobody_is_lost_on_the_way(known: Known, world: World) -> None:
    trials = sum(total.trials for total in known[world.name].totals if total.metric == known[world.name].metric)
    came = 3 * world.visits * (0.97 if world.deferred else 1.0)
    assert trials == pytest.approx(came, rel=0.15)


def test_what_was_earned_is_what_is_true(known: Known) -> None:
    offer = next(total for total in known["cart-offer"].totals if total.group == "holdout" and total.metric == "order")
    rate = WORLDS[2].earns["default"]["none"]
    assert offer.mean == pytest.approx(rate, abs=5 * (rate / offer.trials) ** 0.5)


def test_the_log_comes_with_its_times() -> None:
    first, *_ = past(KEYS, NOW, 1)
    assert first.seed is not None
    times = [entry.time for entry in first.seed.entries]
    assert times == sorted(times)
    assert NOW - DAY_MS <= times[0] <= times[-1] <= NOW


def test_the_broken_tag_is_found() -> None:
    clock, store = [NOW], MemoryStore(lambda: clock[0])
    for put in past(KEYS, NOW, 3):
        store.put(put)
    service = build(store, KEYS, Metrics())
    service.feed.turn()
    subjects, rng = [f"visitor-{i}" for i in range(3000)], np.random.default_rng(1)
    columns = {name: column(HERO, name, values) for name, values in HERO.crowd(rng, len(subjects))[1].items()}
    service.use_cases.select_batch(HERO.name, subjects, columns, (), False, Mode.NORMAL)
    clock[0] += 60_000
    service.feed.turn()
    segments = service.experiments.report(HERO.name).segments
    assert all(segment.outage is not None for segment in segments)
    assert {segment.outage.from_ms // HOUR_MS for segment in segments if segment.outage} <= {
        (NOW - UNNOTICED_MS) // HOUR_MS
    }
