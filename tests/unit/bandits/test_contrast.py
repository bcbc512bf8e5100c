"""What goes along with earning more: against plain arithmetic, as properties, and true as often as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bandits import contrast
from bandits.posterior import Sums
from loadtest.coverage import influence
from tests.oracles import policy as oracle

ABSENT = np.array([-2, -2, 3, -2])


def shop(seed: int, trials: int = 3000, arms: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, Sums]:
    """A value, an amount and whether it is missing; arms that differ, and are shown to whom they please."""
    rng = np.random.default_rng(seed)
    value, gone = rng.random(trials) < 0.3, rng.random(trials) < 0.2
    amount = np.where(gone, 0.0, rng.uniform(-1, 1, trials))
    x = np.stack([np.ones(trials), value, amount, gone], axis=1)
    arm = np.where(value & (rng.random(trials) < 0.7), 0, rng.integers(0, arms, trials))
    chance = 0.1 + 0.1 * value + 0.05 * amount + 0.05 * arm
    reward = (rng.random(trials) < chance).astype(float)
    return x, arm, reward, oracle.sums_of(x, arm, reward, arms)


def test_a_value_is_compared_inside_arms() -> None:
    x, arm, reward, sums = shop(1)
    got = contrast.features(sums, np.ones(3), ABSENT)
    top = bottom = variance = 0.0
    for k in range(3):
        has, rest = (reward[(arm == k) & (x[:, 1] == one)] for one in (1, 0))
        weight = len(has) * len(rest) / (len(has) + len(rest))
        top, bottom = top + weight * (has.mean() - rest.mean()), bottom + weight
        variance += weight**2 * (has.var() / len(has) + rest.var() / len(rest))
    assert got.difference[1] == pytest.approx(top / bottom)
    assert got.error[1] == pytest.approx(math.sqrt(variance) / bottom, rel=0.03)
    assert got.share[1] == pytest.approx(x[:, 1].mean())
    assert got.low[1] < 0.1 < got.high[1]


def test_an_amount_is_that_of_those_who_have_one() -> None:
    x, arm, reward, sums = shop(2)
    got = contrast.features(sums, np.ones(3), ABSENT)
    known = x[:, 3] == 0
    design = np.column_stack([x[known, 2], *(arm[known] == k for k in range(3))])
    slope = np.linalg.lstsq(design, reward[known], rcond=None)[0][0]
    assert got.difference[2] / got.step[2] == pytest.approx(slope)
    assert got.step[2] == pytest.approx(x[known, 2].std(), rel=0.01)
    alike = contrast.features(sums, np.full(3, 4.0), ABSENT)
    assert alike.error[2] == pytest.approx(2.0 * got.error[2])  # four visits of one subject that go together are one


def test_nothing_is_said_of_few_rewards() -> None:
    *_, sums = shop(3, trials=200)
    assert np.isnan(contrast.features(sums, np.ones(3), ABSENT).low[1])
    empty = oracle.sums_of(np.ones((5, 4)), np.zeros(5, np.int64), np.zeros(5), 3)
    assert np.isnan(np.array(contrast.features(empty, np.ones(3), ABSENT))).all()


def test_an_attribute_is_compared_between_arms() -> None:
    """Where arms are known well it is the t test of their means."""
    mean, z = np.array([0.10, 0.13, 0.12, 0.18, 0.16, 0.21]), np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    got = contrast.attribute(mean, np.full(6, 1e-9), z)
    test = stats.ttest_ind(mean[3:], mean[:3]).confidence_interval(0.95)
    assert got.difference == pytest.approx(mean[3:].mean() - mean[:3].mean())
    assert (got.low, got.high) == pytest.approx((test.low, test.high), abs=2e-3)


@given(seed=st.integers(0, 2**32 - 1), arms=st.integers(0, 9))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_what_is_said_is_in_order(seed: int, arms: int) -> None:
    rng = np.random.default_rng(seed)
    mean, variance = rng.random(arms), 10 ** rng.uniform(-12, 0, arms)
    got = contrast.attribute(mean, variance, rng.integers(0, 2, arms).astype(float))
    assert math.isnan(got.low) or got.low < got.difference < got.high
    *_, sums = shop(seed, int(rng.integers(1, 400)))
    found = contrast.features(sums, 1.0 + rng.random(3), ABSENT)
    told = ~np.isnan(found.low)
    assert (found.low[told] <= found.difference[told]).all()
    assert (found.difference[told] <= found.high[told]).all()


def test_intervals_hold_the_truth() -> None:
    """160 experiments; the standard error of a coverage is about two hundredths. The long form is `loadtest coverage`."""
    row = influence.simulate(160, "uniform", 1, (0.05, 0.3))
    coverage = row["influence_interval_coverage"]
    assert isinstance(coverage, dict)
    assert set(coverage) == {"amount", "attribute", "value"}
    assert all(share > 0.88 for share in coverage.values())
