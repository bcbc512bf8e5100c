"""The fast harness chooses what the service's own path chooses, to the bit; and what makes it faster still changes little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadtest.learning import fast, lever
from loadtest.learning.learner import blocks
from loadtest.learning.problems.table import PROBLEMS
from loadtest.learning.problems.world import World


def world(name: str, rounds: int) -> World:
    return PROBLEMS[name].world(1).cut(rounds)


@pytest.mark.parametrize(
    "name", ["marketing", "late-geometric", "gaussian", "opposed", "no-context", "revenue", "weekends"]
)
@pytest.mark.parametrize("policy", ["lever", "lever linucb:alpha=0.5,floor=0", "lever beta"])
def test_it_chooses_what_the_service_chooses(name: str, policy: str) -> None:
    """Categories, flags, numbers, products, late and negative rewards, order values; contextual and not."""
    small = world(name, 700)
    own, service = fast.play(small, policy, 3, 25), lever.play(small, policy, 3, 25)
    assert np.array_equal(own.arms, service.arms)
    assert own.propensity is not None
    assert service.propensity is not None
    assert np.array_equal(own.propensity, service.propensity)
    assert own.resets == service.resets


def test_rewards_after_their_window_do_not_teach() -> None:
    """A store that moves 20 s a decision leaves a window of 90 of them; what comes later counts nothing."""
    late = replace(world("late-geometric", 1_500), step_ms=20_000)
    assert late.delay is not None
    punctual = replace(late, drawn=np.where(late.delay < 90, late.drawn, 0.0))
    first, second = (fast.play(w, "lever linucb", 1, 50).arms for w in (late, punctual))
    assert np.array_equal(first, second)


def test_snapshots_may_grow_old_with_the_run() -> None:
    assert list(blocks(70, 10, 0.5)) == [(0, 10), (10, 20), (20, 30), (30, 45), (45, 67), (67, 70)]
    small = world("news", 2_000)
    rows = np.arange(2_000)
    earned = [
        small.expected[rows, fast.play(small, "lever linucb", 1, 20, grow, True).arms].mean() for grow in (0.0, 0.05)
    ]
    assert earned[1] > earned[0] - 0.05
