"""Lift and effects of arms: published figures, scipy, slow twins, and what must hold whatever the data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bandits import effect, sequence
from tests.oracles import effect as oracle
from tests.oracles.effect import Floats

CASES = settings(max_examples=100, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)


def sums_like(seed: int, buckets: int = 256) -> tuple[effect.Sums, float]:
    """Two sides of any size, rates and values; and a usual reward's square."""
    rng = np.random.default_rng(seed)
    n = rng.poisson(10 ** rng.uniform(0, 2, 2)[:, None], (2, buckets)).astype(float)
    rate = 10 ** rng.uniform(-2, -0.1, 2)
    count = rng.binomial(n.astype(int), rate[:, None])
    total = count * rng.lognormal(0, 1, (2, buckets)) if rng.random() < 0.5 else count.astype(float)
    return effect.Sums(n, total), effect.usual(n.sum(), count.sum(), max(float((total**2).sum()), 1e-9))


def test_growthbook_sequential_relative_lift() -> None:
    """gbstats, TestSequentialTTest.test_sequential_test_runs: .50336 in (-.55844, 1.56516), error .33341, p 1."""
    n, total, squares = np.array([3461, 3000]), np.array([2422.7, 1396.87]), np.array([134698.29, 52377.9767])
    mean, variance = total / n, (squares - total**2 / n) / (n - 1) / n
    relative, error = effect.relative(float(mean[0]), float(mean[1]), np.diag(variance))
    half = error * sequence.breadth(float(n.sum()), tightest=1000)
    assert [relative, error] == pytest.approx([0.50336, 0.33341], abs=1e-5)
    assert [relative - half, relative + half] == pytest.approx([-0.55844, 1.56516], abs=1e-5)
    assert sequence.always_valid(relative / error, float(n.sum()), tightest=1000) == 1.0


@given(st.floats(0.01, 6.0), st.floats(1.0, 1e6))
def test_p_is_the_level_at_which_the_interval_touches_zero(z: float, n: float) -> None:
    """And 1 / p is the normal mixture's e-value (Howard et al. 2021, confseq's uniform_boundaries.h)."""
    p = sequence.always_valid(z, n)
    rho2 = sequence.always_valid.__globals__["_square"](sequence.ALPHA, sequence.TIGHTEST)
    v, s, rho = n, z * math.sqrt(n), 1 / rho2
    log_e = 0.5 * math.log(rho / (v + rho)) + s * s / (2 * (v + rho))
    assert p == pytest.approx(min(1.0, math.exp(-log_e)), rel=1e-9)
    assert (p < sequence.ALPHA) == (z > sequence.breadth(n))


@pytest.mark.parametrize("dof", [3.0, 10.0, 63.0, 255.0])
@pytest.mark.parametrize("z", [0.5, 1.96, 3.0, 4.5])
def test_a_heavier_tail_is_students(z: float, dof: float) -> None:
    exact = stats.t(dof).isf(stats.norm.sf(z))
    if dof < 10:
        assert effect.heavier(z, dof) > 0.99 * exact  # rather wide than narrow
    else:
        assert effect.heavier(z, dof) == pytest.approx(exact, rel=0.02)
    assert effect.lighter(effect.heavier(z, dof), dof) == pytest.approx(z)
    assert effect.lighter(-effect.heavier(z, dof), dof) == pytest.approx(-z)


@CASES
@given(SEEDS)
def test_the_error_is_that_of_the_slow_twin(seed: int) -> None:
    sums, size = sums_like(seed)
    got = effect.compare(sums, size)
    if not got.error > 0.0:
        return
    assert got.error == pytest.approx(oracle.error(sums))
    assert effect.freedom(oracle.gaps(sums)) == pytest.approx(oracle.freedom(oracle.gaps(sums)))
    if math.isfinite(got.relative_low):
        for ratio in (1 + got.relative_low, 1 + got.relative_high):
            assert oracle.distance(sums, ratio) == pytest.approx((got.high - got.low) / 2 / got.error, rel=1e-5)


def test_the_error_is_that_of_the_bootstrap_over_subjects() -> None:
    """Visitors who come 1 to 20 times and differ: sums over 256 buckets know what a resampling of subjects shows."""
    rng = np.random.default_rng(5)
    weight, total, value = np.zeros((2, 256)), np.zeros((2, 256)), []
    visits, keen = rng.integers(1, 21, 8000), rng.choice([0.2, 1.8], 8000)
    won, side, bucket = rng.binomial(visits, 0.1 * keen), rng.random(8000) < 0.3, rng.integers(0, 256, 8000)
    for s, here in enumerate((~side, side)):
        weight[s] = np.bincount(bucket[here], visits[here], 256)
        total[s] = np.bincount(bucket[here], won[here], 256)
    for _ in range(500):
        at = rng.integers(0, 8000, 8000)
        v, w, h = visits[at], won[at], side[at]
        value.append(w[~h].sum() / v[~h].sum() - w[h].sum() / v[h].sum())
    got = effect.compare(effect.Sums(weight, total), 0.01)
    assert got.error == pytest.approx(np.std(value), rel=0.12)
    trials = total.sum(axis=1) / weight.sum(axis=1)
    assert got.error > 1.3 * math.sqrt((trials * (1 - trials) / weight.sum(axis=1)).sum())


@CASES
@given(SEEDS)
def test_whatever_the_data(seed: int) -> None:
    sums, size = sums_like(seed)
    got = effect.compare(sums, size)
    if not got.error > 0.0:
        return
    assert got.low < got.fixed_low < got.difference < got.fixed_high < got.high
    assert 0.0 <= got.p <= 1.0
    assert (got.p < 0.05) == (not got.low <= 0.0 <= got.high)
    assert got.relative_low <= got.relative <= got.relative_high
    if math.isfinite(got.relative_low):
        assert (got.relative_low > 0.0, got.relative_high < 0.0) == (got.low > 0.0, got.high < 0.0)
    money = effect.compare(effect.Sums(sums.weight, 0.01 * sums.total), 1e-4 * size)
    assert [money.low, money.relative_high] == pytest.approx([0.01 * got.low, got.relative_high])


def test_a_control_without_rewards_has_no_relative_lift() -> None:
    sums, size = sums_like(3)
    got = effect.compare(effect.Sums(sums.weight, sums.total * [[1.0], [0.0]]), size)
    assert math.isnan(got.relative)
    assert (got.relative_low, got.relative_high) == (-math.inf, math.inf)
    assert effect.compare(effect.Sums(sums.weight * [[1.0], [0.0]], sums.total), size) is effect.NONE
    assert not effect.known(effect.Sums(sums.weight, sums.total * [[1.0], [0.0]]))


def test_trials_that_are_worth_little_do_not_speak() -> None:
    sums, _ = sums_like(9)
    squares = sums.weight.sum(axis=1)  # every weight is 1
    assert effect.supported(sums, squares, 0.1)
    assert not effect.supported(sums, squares * [1e6, 1.0], 0.1)


@pytest.mark.parametrize(("most", "keen"), [(1, (1.0, 1.0)), (20, (1.0, 1.0)), (20, (0.2, 1.8))])
def test_crowding_is_how_many_trials_stand_for_one(most: int, keen: tuple[float, float]) -> None:
    """By theory: 1 + (visits' mean square / mean - 1) x the correlation of two visits of one subject."""
    rng = np.random.default_rng(most)
    visits, own = rng.integers(1, most + 1, 20_000), 0.2 * rng.choice(keen, 20_000)
    won, bucket = rng.binomial(visits, own), rng.integers(0, 256, 20_000)
    trials, totals = (np.bincount(bucket, column, 256) for column in (visits, won))
    again = float((visits**2).sum() / visits.sum() - 1.0)
    exact = 1.0 + again * float(np.var([0.2 * k for k in keen])) / (0.2 * 0.8)
    got = effect.crowding(trials.astype(np.float64), totals.astype(np.float64), 0.2 * 0.8)
    assert got == pytest.approx(exact, rel=0.2)
    assert got >= 1.0


def test_crowding_is_not_found_in_little() -> None:
    nothing = np.zeros(256)
    assert effect.crowding(nothing, nothing, 0.1) == 1.0
    one = nothing.copy()
    one[3] = 5.0
    assert effect.crowding(10 * one + 1, one, 0.01) < 3.0


def held(rng: np.random.Generator, share: float, subjects: int, more: float = 1.0) -> tuple[Floats, Floats]:
    """Trials of the holdout and of all, by bucket; subjects come up to 20 times, in the holdout `more` as often."""
    inside = rng.random(subjects) < share
    visits = rng.integers(1, 21, subjects) * np.where(inside, more, 1.0)
    bucket = rng.integers(0, 256, subjects)
    held, every = np.bincount(bucket[inside], visits[inside], 256), np.bincount(bucket, visits, 256)
    return held.astype(np.float64), every.astype(np.float64)


def test_the_sample_ratio_is_judged_by_subjects() -> None:
    """A test that took visits for independent would cry wolf in a third of these."""
    rng = np.random.default_rng(2)
    assert sum(effect.share_p(*held(rng, 0.05, 3000), 0.05) < 0.01 for _ in range(200)) <= 2
    assert effect.share_p(*held(rng, 0.08, 20_000), 0.05) < 1e-6
    assert effect.share_p(*held(rng, 0.05, 50_000, more=1.3), 0.05) < 1e-3
    assert effect.share_p(np.zeros(256), np.zeros(256), 0.05) == 1.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4), st.floats(1e-3, 1e6))
def test_an_interval_is_cut_to_what_a_difference_can_be(ends: list[float], span: float) -> None:
    (low, high), (fixed_low, fixed_high) = sorted(ends[:2]), sorted(ends[2:])
    found = effect.NONE._replace(low=low, high=high, fixed_low=fixed_low, fixed_high=fixed_high)
    cut = effect.within(found, span)
    for (a, b), (c, d) in (
        ((low, high), (cut.low, cut.high)),
        ((fixed_low, fixed_high), (cut.fixed_low, cut.fixed_high)),
    ):
        assert -span <= c <= d <= span
        for truth in (-span, -span / 3, 0.0, span):
            assert not a <= truth <= b or c <= truth <= d
    assert all(math.isnan(value) for value in effect.within(effect.NONE, span))
