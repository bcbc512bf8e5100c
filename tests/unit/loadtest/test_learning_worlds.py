"""The problems: seeded, within their ranges, true to what was published, and paying what they say on average."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loadtest.learning.problems import published as known
from loadtest.learning.problems.table import PROBLEMS
from loadtest.learning.problems.world import CATEGORY, FLAG, NUMBER, World, one_hot, values

ELSEWHERE = {"open-bandit", "breast", "wine", "iris"}  # need a download or another library
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


@pytest.mark.parametrize("name", ["breast", "wine", "iris"])
def test_the_right_class_pays(name: str) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn comes with the peers")
    made = world(name)
    assert set(made.drawn.sum(axis=1)) == {1.0}
    assert made.oracle == 1.0
