"""Lever in the comparison is the service: what is chosen is logged, rewarded, folded and forgotten as it would be."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bandits.state import State
from loadtest.learning import lever
from loadtest.learning.learner import Post, blocks, play
from loadtest.learning.lever import LeverLearner, algorithm, document
from loadtest.learning.problems import drawn
from loadtest.learning.problems.table import PROBLEMS
from loadtest.learning.problems.world import Floats, Ints, World
from loadtest.replay.dataset import DataError
from service.experiment.parse import parse


def world(name: str, rounds: int) -> World:
    return PROBLEMS[name].world(1).cut(rounds)


def test_a_choice_and_its_reward_reach_the_state() -> None:
    learner = LeverLearner(world("news", 10), "lever linucb", 1)
    made = learner.choose("someone", {"user": "Tom", "time_of_day": "morning"})
    arm, decision = learner.experiment.arm_numbers[made.arm], made.decision_id
    learner.reward(decision, 1.0)
    assert learner.replica.state.sums(0).n.sum() == 0.0  # not before the next refresh
    learner.refresh()
    sums = learner.replica.state.sums(0)
    assert (sums.n.sum(), sums.n[arm], sums.rewarded[arm], sums.s1[arm]) == (1.0, 1.0, 1.0, 1.0)
    with pytest.raises(RuntimeError, match="DUPLICATE"):
        learner.reward(decision, 1.0)


def test_a_run_can_be_repeated() -> None:
    small = world("marketing", 200)
    first, again, other = (lever.play(small, "lever", seed, 20).arms for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_it_learns_only_at_a_refresh() -> None:
    small = world("news", 600)
    fresh, never = (lever.play(small, "lever linucb", 1, stale).arms for stale in (20, 600))
    rows = np.arange(600)
    assert small.expected[rows, fresh].mean() > 0.6
    # 1/7 with deviation .014 as nothing was learned: seven deviations below the bound
    assert small.expected[rows, never].mean() < 0.25


def test_time_passes_and_late_rewards_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[State] = []
    refresh = LeverLearner.refresh

    def watched(learner: LeverLearner) -> None:
        refresh(learner)
        states[:] = [learner.replica.state]

    monkeypatch.setattr(LeverLearner, "refresh", watched)
    small = world("late-geometric", 2_000)
    chosen, _, resets = lever.play(small, "lever linucb", 1, 50)
    assert resets == 0  # linucb looks for no changes
    (state,) = states
    assert len(state.buckets) > 5
    assert state.sums(0).n.sum() == 1_950  # the last block is not folded any more
    assert small.delay is not None
    rows = np.arange(2_000)
    known = rows + 1 + small.delay[rows, chosen] < 1_950
    assert state.sums(0).rewarded.sum() == small.drawn[rows[known], chosen[known]].sum()


def test_the_experiments_file_declares_the_world() -> None:
    made = json.loads(document(world("revenue", 10), "lever linucb:alpha=0.5,floor=0"))
    assert made["algorithm"] == {"name": "linucb", "alpha": 0.5, "floor": 0.0}
    assert made["metrics"][0] | {"max": 500.0, "unit": 0.01, "outliers": "clip"} == made["metrics"][0]
    assert set(made["features"]) == {"c0", "c1", "c2", "c3"}
    plain = json.loads(document(world("no-context", 10), "lever"))
    assert "algorithm" not in plain
    assert "features" not in plain


def test_policies_are_named_as_in_the_table() -> None:
    assert algorithm("lever") is None
    assert algorithm("lever nig") == {"name": "nig"}
    with pytest.raises(ValueError, match="unknown algorithm 'linucbb'"):
        algorithm("lever linucbb")


def test_outcomes_are_handed_out_once_and_not_before_they_are_known() -> None:
    late = world("late-geometric", 300)
    assert late.delay is not None
    post, seen = Post(late), []
    for row in range(300):
        for known in post.collect(row):
            assert known + late.delay[known, 2] < row
            seen.append(known)
        post.send(row, 2)
    assert len(seen) == len(set(seen)) == int((np.arange(300) + 1 + late.delay[:, 2] < 300).sum())


class Recorder:
    """Always the second arm; remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.rewards = 0.0

    def choose(self, x: Floats) -> Ints:
        return np.ones(len(x), np.int64)

    def learn(self, x: Floats, arms: Ints, rewards: Floats) -> None:
        assert set(arms) == {1}
        self.told.append(len(x))
        self.rewards += float(rewards.sum())


def test_agents_learn_in_batches() -> None:
    small, agent = world("marketing", 100), Recorder()
    assert set(play(small, agent, 30)) == {1}
    assert agent.told == [30, 30, 30]
    assert agent.rewards == small.drawn[:90, 1].sum()
    assert list(blocks(100, 30)) == [(0, 30), (30, 60), (60, 90), (90, 100)]


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_every_problem_is_an_experiment_that_can_be_applied(name: str) -> None:
    try:
        small = PROBLEMS[name].build(1, 50)
    except (ImportError, DataError) as error:
        pytest.skip(str(error))
    assert parse(document(small, "lever")).experiment == "learning"


def test_every_drawn_world_is_an_experiment_that_can_be_applied() -> None:
    for seed in range(1, 41):
        assert parse(document(drawn.world(seed).cut(1), "lever")).experiment == "learning"
