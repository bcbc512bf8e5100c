"""`loadtest coverage`: worlds are what they say, and a few hundred experiments come out as promised."""

from __future__ import annotations

import numpy as np
import pytest

from bandits import effect
from bandits.policy import POLICIES
from bandits.summary import Seen, Summary, summary
from loadtest.coverage import effects, pauses
from loadtest.coverage.command import BASES, Look, Tally, World, draw, play, simulate


def test_a_world_has_the_base_rate_that_it_was_asked_for() -> None:
    worlds = [draw(np.random.default_rng(seed), 0.05, orders=False) for seed in range(400)]
    assert np.median([world.chance.mean() for world in worlds]) == pytest.approx(0.05, rel=0.15)
    assert {world.truth.size for world in worlds} == set(range(2, 9))


def test_an_experiment_is_played_to_its_end() -> None:
    for orders in (False, True):
        world = World(0.3, np.array([[0.2, 0.4], [0.2, 0.4]]), 3000, orders)
        looks = list(play(world, POLICIES["uniform"], np.random.default_rng(1)))
        assert looks[-1].trials.sum() == 3000
        assert looks[-1].said.low == pytest.approx(world.truth, rel=0.3)
        assert looks[-1].said.mean == pytest.approx(world.truth, rel=0.2)


def test_what_is_counted() -> None:
    world = World(0.05, np.array([[0.04, 0.06]] * 2), 1000, False)
    said = Summary(*np.array([[0.04, 0.05], [0.03, 0.055], [0.05, 0.057], [0.95, 0.05], [0.0, 0.0]]))
    tally = Tally()

    def see(trials: tuple[float, float], rewarded: tuple[float, float]) -> None:
        n, s = np.array(trials), np.array(rewarded)
        tally.see(Look(world, n, s, Seen(n, s, s, np.array([n.sum(), s.sum(), s.sum(), s.sum()])), said))

    see((20, 500), (1, 30))  # too early: 20 trials
    see((200, 500), (0, 29))  # too early: one arm with rewards
    assert tally.row()["p_best_true"] is None
    assert tally.row()["stop_error"] is None
    see((200, 500), (8, 30))
    row = tally.row()
    assert row["report_interval_coverage"] == {"0.05": 0.5}
    assert (row["p_best_said"], row["p_best_true"]) == (1, 0.0)
    # A leader with 8 of 200 may well be 30 % worse than the other: that much was said to be left.
    assert (row["stop_said"], row["stop_loss"], row["stop_error"]) == (1, pytest.approx(1 / 3), 0.0)
    see((200, 500), (8, 30))  # it was told to stop before
    assert tally.row()["stop_said"] == 1


def test_a_stop_beside_a_better_arm_is_an_error() -> None:
    world = World(0.05, np.array([[0.02, 0.08]] * 2), 1000, False)
    n, s = np.array([9000.0, 9000.0]), np.array([540.0, 90.0])
    own = Seen(n, s, s, np.array([n.sum(), s.sum(), s.sum(), s.sum()]))
    tally = Tally()
    tally.see(Look(world, n, s, own, summary(own, world.span, np.arange(2))))
    assert (tally.row()["stop_said"], tally.row()["stop_error"]) == (1, 1.0)


def test_effects_are_true() -> None:
    """60 experiments; far more in the long form."""
    row = effects.simulate(60, "beta", 5, (0.05, 0.3))
    assert int(str(row["lifts"])) > 30
    assert int(str(row["arms"])) > 5
    assert float(str(row["miss_rate_lift"])) <= 0.05 + 2 * 0.03
    assert float(str(row["miss_rate_arm"])) <= 0.05 + 2 * 0.05


def test_an_experiment_that_missed_once_has_missed() -> None:
    good = effect.NONE._replace(low=0.0, high=1.0, relative_low=0.0, relative_high=1.0, fixed_low=0.0, fixed_high=1.0)
    misses = effects.Misses()
    misses.see(
        iter(
            [
                effects.Seen(None, {}),
                effects.Seen((good, 2.0, 0.5), {1: (good, 0.5)}),
                effects.Seen((good, 0.5, 0.5), {1: (good, 0.5)}),
            ]
        )
    )
    misses.see(
        iter([effects.Seen((good, 0.5, 0.5), {1: (good, -1.0), 2: (good, 0.1)}), effects.Seen((good, 3.0, 0.5), {})])
    )
    misses.see(iter([effects.Seen(None, {})]))
    assert misses == effects.Misses(lifts=2, lifts_missed=2, planned=2, planned_missed=1, arms=3, arms_missed=1)


def test_what_is_kept_is_what_came() -> None:
    setting = effects.Setting(np.array([[0.2, 0.4]] * 2), 4000, 5, 0.3, sticky=False, orders=False)
    *_, kept = effects.play(setting, POLICIES["uniform"], np.random.default_rng(1))
    trials = kept.weight.sum(axis=1)
    assert trials[1] / trials.sum() == pytest.approx(0.3, abs=0.03)
    assert kept.total[1].sum() / trials[1] == pytest.approx(0.2, abs=0.04)
    assert kept.arm_weight.sum(axis=1) == pytest.approx([trials[0]] * 2, rel=0.1)
    assert kept.worth / kept.chosen == pytest.approx(0.3)
    seen = effects.look(kept, setting)
    assert seen.lift is not None
    assert seen.lift[1:] == pytest.approx((0.1, 0.5))
    assert seen.arms[1][1] == pytest.approx(0.2)


def test_reports_are_true() -> None:
    """200 experiments; coverage of so few has a standard error of two to three hundredths."""
    row = simulate(200, "beta", 3)
    found = row["report_interval_coverage"]
    assert isinstance(found, dict)
    assert set(found) == {f"{base:g}" for base in BASES}
    assert all(0.88 < share <= 1.0 for share in found.values())
    assert float(str(row["p_best_true"])) >= 0.9


def test_guardrails_pause_what_does_harm_and_little_else() -> None:
    """24 months without harm and 8 with it; a thousand in the long form."""
    row = pauses.simulate(24, "beta", 4)
    assert float(str(row["false_pause_rate"])) <= 1 / 24
    assert int(str(row["months_long_enough"])) >= 2
    assert float(str(row["pause_power"])) >= 0.7


def test_a_month_has_the_chances_that_it_says() -> None:
    month = pauses.Month(
        np.full((2, 2), 0.1), np.array([[0.01, 0.05]] * 2), np.array([[0.02, 0.01], [0.06, 0.03]]), 40_000, 5, 0.3, 1,
        pauses.REVENUE,
    )  # fmt: skip
    *_, kept = pauses.play(month, POLICIES["uniform"], np.random.default_rng(1))
    assert kept.trials[2] / kept.trials.sum() == pytest.approx(0.3, abs=0.03)
    assert kept.sizes[pauses.COMPLAINT, :, 0] / kept.trials == pytest.approx([0.01, 0.05, 0.01], rel=0.15)
    found = pauses.look(kept, np.array([1]))
    assert month.truth(1.0) == -0.5
    assert found[1, pauses.REVENUE].estimate == pytest.approx(-0.5, abs=0.1)
    assert found[1, pauses.COMPLAINT].harm
    assert found[1, pauses.REVENUE].harm
