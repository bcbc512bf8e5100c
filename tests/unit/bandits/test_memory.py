"""Who changed, and what is tried: stories over sums that a test writes, no server beside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bandits.auto import Side, auto
from bandits.evidence import Choice
from bandits.memory import Found, look
from bandits.policy import POLICIES, probabilities
from bandits.recall import SMALL, UNIT, recall, watched, weights
from bandits.state import Rows, Rules, State, Totals
from bandits.watch import TEST, advice

DAY = 86_400_000
FINE = 1 << 22
BUCKETS = 20
SHOWN = np.array([10, 200, 10])  # a bucket: the middle one leads
RATES = np.array([0.1, 0.2, 0.05])
CHANGE = 14


def past(level: NDArray[np.float64], held: int = 0, arms: int = 3, low: int = 0) -> State:
    """Trials and rewards as expected of the rates times the level (f8[B,K]); the holdout sees the first arm."""
    state = State(Rules(1, arms, 1, 1, 0, low, 1, DAY))
    for b in range(len(level)):
        for k in range(arms):
            for n, flags in ((SHOWN[k] if k < 3 else 5, 0), (held if k == 0 else 0, 1)):
                won = round(float(RATES[min(k, 2)] * level[b, k]) * int(n))
                zero, time = np.zeros(int(n), np.int64), np.full(int(n), b * FINE + 5)
                rows = Rows(time, zero, zero + k, zero + flags, zero, np.zeros((int(n), 0), np.int16))
                state.add_trials(rows)
                first = rows.where(np.arange(n) < won)
                none = np.zeros(won, np.int64)
                state.add_rewards(first, Totals(none, none, none + 1, none, none))
    return state


def found(state: State) -> Found:
    return look(state, 0, BUCKETS * FINE, Choice())


def change(*times: float) -> NDArray[np.float64]:
    """1 until the change, then these."""
    return np.where((np.arange(BUCKETS) >= CHANGE)[:, None], np.array(times), 1.0)


def test_an_even_past_counts_whole_and_nothing_is_tested() -> None:
    said = found(past(change(1, 1, 1)))
    assert said.story.same.min() == 1.0
    assert said.exposure == pytest.approx(1.0, abs=0.1)
    told = advice(said)
    assert (told.floor, told.outage) == (0.0, None)
    assert 0.0 < told.watch.sum() < 0.02
    assert told.watch[1] == 0.0


def test_a_fall_of_all_is_a_level_and_a_fall_of_one_is_its_own() -> None:
    common = found(past(change(0.0, 0.0, 0.0)))
    assert common.story.gain.max() < 0.0
    assert common.exposure[CHANGE + 1 :] == pytest.approx(0.02, abs=0.02)
    down = advice(common).outage
    assert down is not None
    assert down[0] == CHANGE * FINE
    own = found(past(change(1, 0.1, 1), held=40))
    assert own.story.gain[1] > 10.0
    assert own.exposure == pytest.approx(1.0, abs=0.15)
    assert own.story.same[: CHANGE - 1, 1].max() < 0.05
    assert advice(own).outage is None


def test_a_holdout_tells_a_season_from_the_leaders_fall_without_a_test() -> None:
    """Nobody but the leader is shown: only the holdout can tell."""
    shown = SHOWN.copy()
    try:
        SHOWN[:] = (0, 200, 0)
        open_ = found(past(change(1, 0.4, 1)))
        assert abs(open_.story.gain[1]) < 3.0
        assert advice(open_).floor == TEST
        fell, season = found(past(change(1, 0.4, 1), held=60)), found(past(change(0.4, 0.4, 0.4), held=60))
        assert fell.story.gain[1] > 6.0
        assert season.story.gain[1] < -1.0
        assert advice(season).floor == 0.0
    finally:
        SHOWN[:] = shown


def test_an_arm_that_rose_is_tried() -> None:
    told = advice(found(past(change(3, 1, 1))))
    assert told.watch[0] > 3.0 * told.watch[2]
    assert advice(found(past(change(5, 1, 1)))).watch[0] > 0.1
    found_ = found(past(change(8, 1, 1)))
    assert found_.story.gain[0] > 6.0
    assert found_.story.same[: CHANGE - 1, 0].max() < 0.1


def test_negative_rewards_and_few_of_them_have_delay_alone() -> None:
    for state in (past(change(0, 0, 0), low=-1), past(change(1, 1, 1)[:2])):
        said = found(state)
        assert said.story.same.min() == 1.0
        assert (said.exposure == said.come).all()
        assert advice(said).floor == 0.0


def test_forty_arms_are_looked_at_too() -> None:
    said = found(past(np.ones((BUCKETS, 40)), arms=40))
    assert said.story.gain.max() < 6.0
    assert advice(said).watch.sum() < 0.1


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_kept_is_whole_numbers_in_range_and_reads_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    state = past(rng.choice([0.0, 0.5, 1.0, 2.0], (BUCKETS, 3)))
    said = found(state)
    kept = recall(said, advice(said))
    assert all(isinstance(v, int) for v in [*kept.starts, *kept.exposure, kept.floor, *kept.watch.values()])
    read = weights(kept, state)
    assert ((read.rewards >= 0.0) & (read.rewards <= 1.0)).all()
    assert read.rewards == pytest.approx(said.story.same, abs=1.0 / SMALL)
    assert read.trials == pytest.approx(said.weights.trials, abs=0.02)
    assert watched(kept, 3).sum() <= 0.3 + 3 / UNIT


def test_a_bucket_after_the_look_counts_its_rewards_in_full_and_a_merged_one_the_mean() -> None:
    state = past(change(1, 0.1, 1), held=40)
    said = found(state)
    kept = recall(said, advice(said))
    before = weights(kept, state)
    zero = np.zeros(1, np.int64)
    state.add_trials(Rows(np.array([BUCKETS * FINE + 5]), zero, zero, zero, zero, np.zeros((1, 0), np.int16)))
    after = weights(kept, state)
    assert (after.rewards[-1] == 1.0).all()
    assert after.trials[-1] == pytest.approx(kept.exposure[-1] / UNIT)
    state.settle(27 * FINE)
    merged = weights(kept, state)
    assert len(merged.rewards) < len(after.rewards)
    first = [b.width for b in state.buckets].index(2 * FINE)
    at = [b.start for b in state.buckets][first] // FINE
    assert merged.rewards[first] == pytest.approx((before.rewards[at] + before.rewards[at + 1]) / 2)


def test_the_default_policy_tries_what_it_is_told_to_try() -> None:
    state = past(change(1, 1, 1))
    arms, given_ = np.arange(3), {name: s.default for name, s in POLICIES["auto"].settings.items()}
    watch = np.array([0.2, 0.0, 0.1])

    def odds(side: Side) -> NDArray[np.float64]:
        return probabilities(auto(state.sums(0), given_, arms, side), np.ones(1), arms)

    plain, told = odds(Side(choice=Choice())), odds(Side(choice=Choice(), watch=watch, floor=0.3))
    assert told == pytest.approx(0.7 * (0.7 * plain + watch) + 0.1)
    some = probabilities(auto(state.sums(0), given_, arms, Side(choice=Choice(), watch=watch)), np.ones(1), arms[1:])
    assert some.sum() == pytest.approx(1.0)
    assert some[1] > 0.1
