"""The kernels behind what is remembered, against their slow twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.chain import forward, smooth
from bandits.delay import ENOUGH, come, curve, shares
from bandits.expected import expect, ridge
from bandits.levels import ALONE, CALM_MS, COMMON, OWN, hops, ladder, path, poisson, smoothed
from tests.oracles.memory import oracle_come, oracle_curve, oracle_expected, oracle_paths

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, buckets=st.integers(1, 6), values=st.integers(2, 4), near=st.integers(0, 2))
def test_a_chain_is_the_sum_over_all_its_paths(seed: int, buckets: int, values: int, near: int) -> None:
    rng = np.random.default_rng(seed)
    like, hop = rng.uniform(0.01, 1.0, (buckets, values)), rng.uniform(0.0, 0.9, buckets)
    ends, start = rng.dirichlet(np.ones(values)), rng.dirichlet(np.ones(values))
    evidence, belief, same = oracle_paths(like, hop, ends, start, near)
    top, now, steps = rng.normal(size=buckets), np.zeros(values), np.zeros(buckets)
    forward(like, top, hop, ends, start, now, steps)
    assert steps.sum() == pytest.approx(evidence + top.sum(), rel=1e-9, abs=1e-9)
    assert now == pytest.approx(belief[-1])
    found, alike = np.zeros_like(like), np.zeros(buckets)
    smooth(like, hop, ends, start, near, found, alike)
    assert found == pytest.approx(belief)
    assert alike == pytest.approx(same)


@given(seed=SEEDS, size=st.integers(1, 5))
def test_a_delay_curve_is_the_product_over_later_delays(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    delays = rng.integers(0, 4, (size, 32)) * (rng.random((size, 32)) < 0.3)
    least = 2 ** rng.integers(2, 36, size)
    out = np.zeros(33)
    curve(delays, least, out)
    assert out == pytest.approx(oracle_curve(delays.tolist(), least.tolist()))
    assert (np.diff(out) >= 0.0).all()
    start = rng.integers(0, 10**9, size)
    end, now = start + rng.integers(1, 10**9, size), int(rng.integers(10**9, 3 * 10**9))
    found = np.zeros(size)
    come(start, end, now, out, found)
    assert found == pytest.approx(
        [oracle_come(int(a), int(b), now, out.tolist()) for a, b in zip(start, end, strict=True)]
    )


def test_the_delay_curve_of_truncated_rewards_is_that_of_all() -> None:
    """Exponential delays of a mean of one hour, seen from buckets of ten minutes over five hours; and no bias by age."""
    rng = np.random.default_rng(7)
    start = np.arange(30) * 600_000
    now = int(start[-1] + 600_000)
    delays = np.zeros((30, 32), np.int64)
    true = np.zeros(30)
    for b in range(30):
        when = start[b] + rng.uniform(0, 600_000, 2_000)
        late = rng.exponential(3_600_000, 2_000)
        seen = when + late <= now
        np.add.at(delays[b], np.minimum(np.floor(np.log2(np.maximum(late[seen], 16.0) / 8.0)), 31).astype(int), 1)
        true[b] = seen.mean()
    found = shares(delays, start, start + 600_000, now)
    # What takes longer than five hours was never seen: a share of e^-5.
    assert found == pytest.approx(true, abs=0.04)
    assert (shares(np.zeros((30, 32), np.int64), start, start + 600_000, now) == 1.0).all()
    few = np.zeros((30, 32), np.int64)
    few[0, 20] = ENOUGH - 1
    assert (shares(few, start, start + 600_000, now) == 1.0).all()


@given(seed=SEEDS)
def test_expected_rewards_are_the_coefficients_times_the_features(seed: int) -> None:
    rng = np.random.default_rng(seed)
    buckets, arms, d = 4, 3, 2
    n, held = rng.integers(0, 5, (buckets, arms)).astype(float), rng.integers(0, 3, (buckets, arms)).astype(float)
    x = n[:, :, None] * rng.uniform(-1, 1, (buckets, arms, d))
    x[:, :, 0] = n
    theta, out = rng.normal(size=(arms, d)), np.zeros((buckets, arms))
    expect(x, n, held, theta, 0.01, out)
    assert out == pytest.approx(oracle_expected(x, n, held, theta, 0.01))


@given(seed=SEEDS)
def test_coefficients_solve_the_normal_equations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.uniform(-1, 1, (2, 8, 3))
    xx, xr, prior = np.einsum("kni,knj->kij", rows, rows), rng.normal(size=(2, 3)), rng.uniform(0.1, 3.0, 3)
    theta = np.zeros((2, 3))
    ridge(xx, xr, prior, 0.3, theta)
    right = xr + np.array([prior[0] * 0.3, 0.0, 0.0])
    for k in range(2):
        assert theta[k] == pytest.approx(np.linalg.solve(xx[k] + np.diag(prior), right[k]))


@given(seed=SEEDS)
def test_likelihoods_are_those_of_poisson_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen, expected = rng.poisson(5.0, 4).astype(float), rng.uniform(0.0, 10.0, 4)
    like, top = np.zeros((4, len(COMMON.values))), np.zeros(4)
    poisson(seen, expected, COMMON.values, COMMON.logs, like, top)
    logs = seen[:, None] * np.log(COMMON.values) - expected[:, None] * COMMON.values
    assert top == pytest.approx(logs.max(axis=1))
    assert like == pytest.approx(np.exp(logs - top[:, None]))


@pytest.mark.parametrize("grid", [COMMON, ALONE, OWN])
def test_grids_hold_probabilities_and_half_of_all_jumps_end_at_one(grid: object) -> None:
    assert isinstance(grid, tuple)
    values, logs, ends, start, _ = grid
    assert math.fsum(ends) == pytest.approx(1.0)
    assert math.fsum(start) == pytest.approx(1.0)
    assert ends[values == 1.0] == pytest.approx([0.5])
    assert np.exp(logs) == pytest.approx(values)


def test_jumps_add_up_over_time() -> None:
    """A bucket twice as wide is twice as likely to hold a jump, nearly; rates go from calm to 15 % a fine bucket."""
    rates = ladder(4_194_304, 4)
    assert rates[0] == pytest.approx(4_194_304 / CALM_MS / 4)
    assert rates[-1] == 0.15
    start, end = np.array([0, 10, 20, 40]), np.array([10, 20, 40, 80])
    out = np.zeros((len(rates), 4))
    hops(start + end, rates, 10, out)
    assert out[:, 0] == pytest.approx(0.0)
    assert 1.0 - out[:, 1] == pytest.approx(1.0 - rates)
    assert 1.0 - out[:, 3] == pytest.approx((1.0 - rates) ** 3.0)


def test_a_level_follows_what_was_earned_and_comes_back() -> None:
    expected, seen = np.full(40, 20.0), np.full(40, 20.0)
    seen[15:22] = 1.0
    rates = np.full((1, 40), 0.01)
    on_the_way = path(seen, expected, rates, COMMON)
    found = smoothed(on_the_way)
    assert found.mean[15:22] == pytest.approx(0.05, abs=0.03)
    assert found.mean[:15] == pytest.approx(1.0, abs=0.03)
    assert found.same[25:] == pytest.approx(1.0, abs=0.05)
    assert found.same[:14] == pytest.approx(1.0, abs=0.05)
    assert found.same[16:21] == pytest.approx(0.0, abs=0.05)
    assert on_the_way.steps.sum() > path(seen, expected, np.zeros((1, 40)), COMMON).steps.sum() + 50.0
    assert on_the_way.now == pytest.approx(found.belief[-1])
