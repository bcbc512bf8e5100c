"""Regressions, LinUCB and linear Thompson sampling against their definitions and against MABWiser's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bandits.belief import ridge
from bandits.linucb import half_normal, shares
from bandits.policy import POLICIES, decide, probabilities
from bandits.posterior import Kind, Posterior, Sums, pack
from tests.oracles import policy as oracle

Floats = NDArray[np.float64]
LINEAR = ("linucb", "lints")

# The data of MABWiser's tests/test_linucb.py (Apache-2.0): ten trials, five features, lambda 1.
HISTORY = np.array(
    [
        [0, 1, 2, 3, 5], [1, 1, 1, 1, 1], [0, 0, 1, 0, 0], [0, 2, 2, 3, 5], [1, 3, 1, 1, 1],
        [0, 0, 0, 0, 0], [0, 1, 4, 3, 5], [0, 1, 2, 4, 5], [1, 2, 1, 1, 3], [0, 2, 1, 0, 0],
    ],
    dtype=float,
)  # fmt: skip
QUESTIONS = HISTORY[:2]
MABWISER = {
    0.0: (
        [1, 1, 1, 2, 2, 2, 3, 3, 3, 1],
        [0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
        [
            [-0.018378378378378413, 0.0, 0.9966292134831471],
            [0.14054054054054055, 0.0, 0.43258426966292074],
        ],
    ),
    1.0: (
        [1, 1, 1, 2, 2, 3, 3, 3, 3, 3],
        [0, 0, 1, 0, 0, 0, 0, 1, 1, 1],
        [
            [0.9790312458954391, 1.1617706239438832, 1.4247056229871702],
            [0.8896475809353053, 0.923364043088837, 1.457085577251709],
        ],
    ),
}


def score_of(post: Posterior, x: Floats) -> tuple[Floats, Floats]:
    """Centre and scale of every arm's score, from the unpacked arrays."""
    scale = np.sqrt(np.einsum("i,kij,j->k", x, post.cov, x))
    return post.theta @ x, scale


@pytest.mark.parametrize("alpha", MABWISER)
def test_mabwiser_expectations(alpha: float) -> None:
    decisions, rewards, expected = MABWISER[alpha]
    sums = oracle.sums_of(HISTORY, np.array(decisions) - 1, np.array(rewards, dtype=float), 3)
    settings = {"alpha": alpha, "randomised": 0.0, "noise": 1.0, "pooled": 0.0, "floor": 0.0}
    arms = np.arange(3)
    post = POLICIES["linucb"].derive(sums, settings, arms)
    for x, values in zip(QUESTIONS, expected, strict=True):
        centre, scale = score_of(post, x)
        assert centre + alpha * scale == pytest.approx(values, abs=1e-9)
        assert probabilities(post, x, arms).tolist() == [0.0, 0.0, 1.0]


def test_mabwisers_advertisements() -> None:
    """The example of its documentation: scaled features, alpha 1.25, ads 5 and 2."""
    ads = np.array([1, 1, 1, 2, 4, 5, 3, 3, 2, 1, 4, 5, 3, 2, 5]) - 1
    revenues = np.array([10, 17, 22, 9, 4, 20, 7, 8, 20, 9, 50, 5, 7, 12, 10], dtype=float)
    people = np.array(
        [
            [22, 27, 39, 48, 21, 20, 19, 37, 52, 26, 18, 42, 55, 57, 38],  # age
            [0.2, 0.6, 0.99, 0.68, 0.15, 0.23, 0.75, 0.17, 0.33, 0.65, 0.56, 0.22, 0.19, 0.11, 0.83],  # click rate
            [1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 0],  # subscriber
        ]
    ).T
    middle, spread = people.mean(axis=0), people.std(axis=0)
    sums = oracle.sums_of((people - middle) / spread, ads, revenues, 5)
    settings = {"alpha": 1.25, "randomised": 0.0, "noise": 1.0, "pooled": 0.0, "floor": 0.0}
    post = POLICIES["linucb"].derive(sums, settings, np.arange(5))
    shown = [
        int(np.argmax(probabilities(post, (np.array(visitor) - middle) / spread, np.arange(5)))) + 1
        for visitor in ([37, 0.5, 0], [52, 0.6, 1])
    ]
    assert shown == [5, 2]


@pytest.mark.parametrize(("columns", "weight", "pooled"), [(1, 1.0, 1), (6, 0.3, 1), (26, 1.0, 0), (64, 5.0, 1)])
def test_regressions_against_lapack(columns: int, weight: float, pooled: int) -> None:
    sums, _ = oracle.world(1, arms=4, columns=columns)
    mean = float(sums.s1.sum() / sums.n.sum())
    fit = ridge(sums, {"lambda": weight, "pooled": pooled}, np.array([0, 1, 3]))
    for k in (0, 1, 3):
        theta, inverse = oracle.ridge(sums, k, weight, mean * pooled)
        assert fit.theta[k] == pytest.approx(theta, abs=1e-11)
        assert fit.inverse[k] == pytest.approx(inverse, abs=1e-11)
        assert fit.left[k] == pytest.approx(oracle.left(sums, k, weight, mean * pooled), rel=1e-9)
    every = [oracle.left(sums, k, weight, mean * pooled) for k in range(4)]
    assert fit.pooled == pytest.approx((sum(every) + 2 * oracle.noise(sums) ** 2) / (sums.n.sum() + 2), rel=1e-9)
    # Arm 2 was not asked for: it has the prior.
    assert fit.theta[2, 0] == pytest.approx(mean * pooled)
    assert not fit.theta[2, 1:].any()
    assert fit.inverse[2] == pytest.approx(np.eye(columns) / weight)


def test_regression_of_collinear_columns_stays_positive() -> None:
    x = np.ones((1000, 4))
    x[:, 2] = x[:, 1] = np.random.default_rng(2).uniform(size=1000)
    sums = oracle.sums_of(x * 1.0, np.zeros(1000, np.int64), x[:, 1], 1)
    large = Sums(*(1e6 * column for column in sums))
    fit = ridge(large, {"lambda": 1e-3, "pooled": 0.0}, np.array([0]))
    values = np.linalg.eigvalsh(fit.inverse[0])
    assert values.min() > 0
    assert values.max() == pytest.approx(1000.0, rel=1e-3)  # the direction that was never seen keeps its prior
    assert fit.theta[0] @ x[0] == pytest.approx(x[0, 1], abs=1e-6)


def test_lints_against_its_definition() -> None:
    sums, cells = oracle.world(3, trials=60)
    arms = np.arange(4)
    post = POLICIES["lints"].derive(sums, {"floor": 0.0, "a0": 3.0}, arms)
    mean = sums.s1.sum() / sums.n.sum()
    left = [oracle.left(sums, k, 1.0, mean) for k in range(4)]
    pooled = (sum(left) + 2 * oracle.noise(sums) ** 2) / (sums.n.sum() + 2)
    for k in range(4):
        theta, inverse = oracle.ridge(sums, k, 1.0, mean)
        a = 3.0 + sums.n[k] / 2
        assert post.theta[k] == pytest.approx(theta, abs=1e-12)
        first = max(pooled, oracle.unseen(sums) / 2)
        noise = max((3.0 * first + 0.5 * left[k]) / a, pooled)  # an arm's own, never less than that of all
        assert post.cov[k] == pytest.approx(noise * inverse, abs=1e-12)
        assert post.dof[k] == 2 * a
    for row in cells[:5]:
        exact = oracle.greatest(oracle.Students(*score_of(post, row / 4096.0), post.dof))[0]
        assert probabilities(post, row / 4096.0, arms) == pytest.approx(exact, abs=1e-8)


def test_lints_pmf_is_what_sampling_the_coefficients_gives() -> None:
    sums, cells = oracle.world(4, arms=3, trials=30)
    post = POLICIES["lints"].derive(sums, {"floor": 0.0}, np.arange(3))
    x, n, rng = cells[7] / 4096.0, 200_000, np.random.default_rng(5)
    score = np.empty((3, n))
    for k in range(3):
        a = post.dof[k] / 2
        spread = np.sqrt(a / rng.gamma(a, 1.0, n))  # theta = mu + spread L g, g standard normal
        root = np.linalg.cholesky(post.cov[k])
        score[k] = post.theta[k] @ x + spread * (rng.normal(size=(n, len(x))) @ (root.T @ x))
    empirical = np.bincount(score.argmax(axis=0), minlength=3)
    expected = probabilities(post, x, np.arange(3)) * n
    assert expected.min() > 1000
    assert stats.chisquare(empirical, expected).pvalue > 0.001


def test_linucb_against_its_definition() -> None:
    sums, cells = oracle.world(6, trials=60)
    arms = np.array([0, 2, 3])
    post = POLICIES["linucb"].derive(sums, {"alpha": 1.7}, arms)
    for k in arms:
        noise = np.sqrt(max(oracle.noise(sums) ** 2, 2 * oracle.unseen(sums) / (sums.n[k] + 4)))
        theta, inverse = oracle.ridge(sums, int(k), 1.0, sums.s1.sum() / sums.n.sum())
        assert post.theta[k] == pytest.approx(theta, abs=1e-12)
        assert post.cov[k] == pytest.approx(noise**2 * inverse, abs=1e-12)
    for row in cells[:20]:
        centre, scale = score_of(post, row / 4096.0)
        exact = oracle.floored(oracle.shares(centre[arms], 1.7 * scale[arms], post.grid), 0.01)
        assert probabilities(post, row / 4096.0, arms) == pytest.approx(exact, abs=1e-12)


def test_linucb_grid_is_half_normal() -> None:
    assert half_normal(32) == pytest.approx(stats.halfnorm.ppf((np.arange(32) + 0.5) / 32), abs=1e-13)


@pytest.mark.parametrize("seed", range(20))
def test_shares_against_a_loop_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    centre, width = rng.integers(-3, 4, n) / 4.0, rng.integers(0, 4, n) / 4.0  # small grids, so that lines coincide
    out = np.empty(n)
    shares(centre, width, half_normal(32), np.empty(32), out)
    assert out == pytest.approx(oracle.shares(centre, width, half_normal(32)), abs=1e-15)


@pytest.mark.parametrize("name", LINEAR)
def test_nothing_known_is_uniform(name: str) -> None:
    zero = np.zeros(5)
    sums = Sums(zero, zero, zero, zero, np.zeros((5, 4, 4)), np.zeros((5, 4)))
    post = POLICIES[name].derive(sums, {}, np.arange(5))
    assert probabilities(post, np.array([1.0, 0.5, 0.0, -1.0]), np.arange(5)) == pytest.approx(np.full(5, 0.2))


@pytest.mark.parametrize("name", LINEAR)
def test_decide_has_the_bits_of_probabilities(name: str) -> None:
    sums, cells = oracle.world(8, arms=5, columns=9, trials=60)
    arms = np.array([1, 2, 4])
    post = POLICIES[name].derive(sums, {}, np.arange(5))
    out = np.empty(3)
    for unit, row in enumerate(cells[:50]):
        chosen = decide(post.packed, row, arms, unit, 99, out)
        p = probabilities(post, row / 4096.0, arms)
        assert out.tobytes() == p.tobytes()
        assert chosen == oracle.draw(p, arms.tolist(), unit, 99)


@pytest.mark.parametrize("name", LINEAR)
def test_feature_vectors_of_other_lengths(name: str) -> None:
    """A token older than a column is padded with zeros; a column that is newer than the posterior is ignored."""
    sums, cells = oracle.world(9)
    post = POLICIES[name].derive(sums, {}, np.arange(4))
    x = cells[3] / 4096.0
    padded = np.concatenate([x[:3], np.zeros(3)])
    assert (
        probabilities(post, x[:3].copy(), np.arange(4)).tolist() == probabilities(post, padded, np.arange(4)).tolist()
    )
    longer = np.concatenate([x, [0.7]])
    assert probabilities(post, longer, np.arange(4)).tolist() == probabilities(post, x, np.arange(4)).tolist()


def test_textbook_index_gives_all_to_the_best_and_splits_ties() -> None:
    theta = np.array([[0.1], [0.3], [0.3]])
    cov = np.full((3, 1, 1), 0.04)
    post = pack(Kind.LINUCB, np.zeros((3, 3)), theta, cov, np.full(3, np.inf), 1.0, np.ones(1), 0.06)
    assert probabilities(post, np.ones(1), np.arange(3)) == pytest.approx([0.02, 0.49, 0.49])
