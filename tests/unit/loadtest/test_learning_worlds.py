"""The problems: seeded, within their ranges, true to what was published, and paying what they say on average."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loadtest.learning.problems import drawn, moving
from loadtest.learning.problems import published as known
from loadtest.learning.problems.table import DRAWN, FAMILIES, MIXED, PROBLEMS, REPORTING, SEEDS, TUNING, lay_out, set_of
from loadtest.learning.problems.values import clipped_mean
from loadtest.learning.problems.world import CATEGORY, FLAG, NUMBER, World, one_hot, values

ELSEWHERE = {"open-bandit", "breast", "wine", "iris", "digits", "diabetes"}  # need a download or another library
HERE = sorted(set(PROBLEMS) - ELSEWHERE)


def world(name: str, seed: int = 1) -> World:
    return PROBLEMS[name].build(seed, 1_000)


@pytest.mark.parametrize("name", HERE)
def test_a_seed_is_a_problem_with_its_luck(name: str) -> None:
    assert world(name).digest() == world(name).digest() != world(name, 2).digest()


@pytest.mark.parametrize("name", HERE)
def test_rewards_and_contexts_are_within_what_is_declared(name: str) -> None:
    made = world(name)
    assert made.expected.shape == made.drawn.shape == (1_000, len(made.arms))
    assert made.low <= made.drawn.min() <= made.drawn.max() <= made.high
    assert np.allclose(made.drawn / made.unit, np.round(made.drawn / made.unit), atol=1e-6)
    for i, feature in enumerate(made.features):
        column = made.context[:, i]
        if feature.type == CATEGORY:
            assert set(column) <= set(range(len(feature.values)))
        elif feature.type == FLAG:
            assert set(column) <= {0.0, 1.0}
        elif name != "obp":  # its published contexts have a few beyond four deviations, which are clipped
            assert feature.low <= column.min() <= column.max() <= feature.high
    assert one_hot(made.features, made.context).shape == (1_000, 1 + sum(f.width for f in made.features))


@pytest.mark.parametrize("name", HERE)
def test_arms_pay_what_they_promise(name: str) -> None:
    """Five deviations of the mean over all draws: one false alarm in a million runs of one problem."""
    made = world(name)
    error = (made.drawn - made.expected).mean()
    spread = (made.drawn - made.expected).std() / math.sqrt(made.drawn.size)
    assert abs(error) <= 5.0 * spread


def test_obp_is_the_published_data_set() -> None:
    made = PROBLEMS["obp"].world(1)
    first = [0.80210203, 0.73828559, 0.83199558, 0.81190503, 0.70617705, 0.68985306]
    assert np.allclose(made.context[0], [-0.20470766, 0.47894334, -0.51943872, -0.5557303, 1.96578057])
    assert np.allclose(made.expected[0, [0, 1, 2, 7, 8, 9]], first)
    second = world("obp", 2)
    assert not np.allclose(second.context[0], made.context[0])


def test_news_is_the_tutorials_table_and_changes_midway() -> None:
    for after in (None, known.SCENARIO_2, known.EXCHANGED):
        made = known.news(3, 401, after)
        for row in (0, 57, 200, 201, 400):
            likes = known.LIKES if row <= 200 or after is None else after
            seen = values(made, row)
            place = ("Tom", "Anna").index(str(seen["user"])) * 2 + ("morning", "afternoon").index(
                str(seen["time_of_day"])
            )
            assert known.ARTICLES[int(made.drawn[row].argmax())] == likes[place]
            assert made.drawn[row].sum() == 1.0


def test_late_rewards_come_within_the_window() -> None:
    for name, mean in (("late-geometric", 100.0), ("late-lognormal", 455.0)):
        delay = world(name).delay
        assert delay is not None
        assert 0 <= delay.min() < delay.max() <= 1_750
        assert 0.8 * mean < delay.mean() < 1.2 * mean


def test_arms_of_a_shared_world_have_attributes_of_their_own() -> None:
    arms = world("arms-100").arms
    assert len({tuple(sorted(arm.items())) for arm in arms}) == 100
    assert {len(arm) for arm in arms} == {3}


def test_contexts_are_sent_by_name() -> None:
    made = world("opposed")
    assert [f.type for f in made.features] == [FLAG, CATEGORY, NUMBER]
    sent = values(made, 0)
    assert isinstance(sent["returning"], bool)
    assert sent["device"] in {"phone", "tablet", "desk"}
    assert sent["pages"] == made.context[0, 2]


@pytest.mark.parametrize("name", ["breast", "wine", "iris", "digits", "diabetes"])
def test_the_right_class_pays(name: str) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn comes with the peers")
    made = world(name)
    assert set(made.drawn.sum(axis=1)) == {1.0}
    assert made.oracle == 1.0


def test_every_family_has_problems_to_tune_on_and_others_to_report() -> None:
    for family in FAMILIES:
        assert {p.set for p in PROBLEMS.values() if p.family == family} == {TUNING, REPORTING}
    assert {p.family for p in PROBLEMS.values()} == set(FAMILIES)


def test_a_result_is_of_a_set_only_with_that_sets_problems_and_seeds() -> None:
    assert set_of("marketing", [1, 10]) == TUNING
    assert set_of("site", [1001]) == REPORTING
    assert set_of("site", [1]) == set_of("marketing", [1001]) == set_of("marketing", [1, 1001]) == MIXED
    assert set_of(DRAWN, [SEEDS[TUNING]]) == TUNING
    assert set_of(DRAWN, [SEEDS[REPORTING]]) == REPORTING
    assert set_of("site", [3_000]) == MIXED


def test_lost_rewards_are_worth_what_they_were() -> None:
    rounds = 7 * moving.A_DAY
    lost = PROBLEMS["lost-day"].build(1, rounds)
    day = slice(5 * moving.A_DAY, 6 * moving.A_DAY)
    assert lost.drawn[day].sum() == 0.0
    assert lost.expected[day].mean() > 0.5 * lost.expected.mean()
    assert (lost.drawn.sum(axis=1) > 0.0)[: day.start].any()


def test_a_day_is_a_day() -> None:
    for name in ("weekends", "season", "swings", "rise", "lost-day", "lost-hours"):
        made = world(name)
        assert made.step_ms * moving.A_DAY == 86_400_000
        assert made.window == "1d"
    halves = PROBLEMS["weekends"].build(2, 7 * moving.A_DAY).expected.mean(axis=1)
    assert halves[5 * moving.A_DAY :].mean() == pytest.approx(0.5 * halves[: 5 * moving.A_DAY].mean(), rel=0.05)
    risen = PROBLEMS["rise"].build(2, 900).expected
    assert risen[299].argmin() == risen[300].argmax()


def test_a_clipped_amount_has_the_mean_it_should() -> None:
    """Against a million draws: five standard errors."""
    drawn_ = np.exp(3.0 + 1.1 * np.random.default_rng(5).normal(size=1_000_000))
    clipped = np.minimum(drawn_, 60.0)
    found = clipped_mean(np.array([np.exp(3.0), 100.0]), 1.1, 60.0)[0]
    assert found == pytest.approx(clipped.mean(), abs=5.0 * clipped.std() / 1_000 + 1e-3 * clipped.mean())


@pytest.mark.parametrize("seed", range(1, 13))
def test_drawn_worlds_are_what_they_say(seed: int) -> None:
    shape, made = drawn.shape(seed), lay_out(DRAWN, seed)
    assert (made.rounds, len(made.arms)) == (shape.rounds, shape.arms)
    assert 1_000 <= shape.rounds <= 60_000
    assert 2 <= shape.arms <= 80
    assert len(made.features) == len(shape.sizes) + shape.numbers
    assert made.low <= made.drawn.min() <= made.drawn.max() <= made.high
    error, spread = (made.drawn - made.expected).mean(), (made.drawn - made.expected).std()
    assert abs(error) <= 5.0 * spread / math.sqrt(made.drawn.size) + 2e-3 * abs(made.expected.mean())


def test_drawn_worlds_are_many_kinds() -> None:
    shapes = [drawn.shape(seed) for seed in range(1, 201)]
    assert {s.kind for s in shapes} == {drawn.COINS, drawn.REVENUE, drawn.NORMAL, drawn.SIGNED}
    assert {len(s.sizes) for s in shapes} == {0, 1, 2, 3}
    assert {s.numbers for s in shapes} == set(range(7))
    assert len({s.what for s in shapes}) == 200
