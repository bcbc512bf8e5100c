"""The draw: exact frequencies, repeatable, stable when the pmf moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from bandits.draw import draw, draw_many
from bandits.pmf import ALONE
from bandits.policy import POLICIES, decide, decide_batch, probabilities
from tests.oracles import policy as oracle

N = 200_000
UNITS = np.arange(N, dtype=np.uint64)
P = np.array([0.5, 0.3, 0.15, 0.04, 0.01])
ARMS = np.array([0, 1, 5, 17, 40])


def many(p: NDArray[np.float64], arms: NDArray[np.int64], units: NDArray[np.uint64], salt: int) -> NDArray[np.int64]:
    chosen, propensity = np.empty(len(units), np.int64), np.empty(len(units))
    draw_many(p, arms, units, salt, chosen, propensity)
    assert (propensity == p[chosen]).all()
    return chosen


def test_draw_against_python_integers() -> None:
    rng = np.random.default_rng(0)
    for unit in rng.integers(0, 2**64, 300, dtype=np.uint64).tolist():
        salt = unit ^ 0xABCDEF
        assert draw(P, ARMS, unit, salt) == oracle.draw(P, ARMS.tolist(), unit, salt)
    assert draw(P, ARMS, 2**64 - 1, 2**64 - 1) == oracle.draw(P, ARMS.tolist(), 2**64 - 1, 2**64 - 1)


@settings(deadline=None)
@given(
    weights=st.lists(st.one_of(st.just(0.0), st.floats(1e-12, 1.0), st.just(1e-300)), min_size=1, max_size=30),
    unit=st.integers(0, 2**64 - 1),
    salt=st.integers(0, 2**64 - 1),
)
def test_an_arm_that_is_passed_over_could_not_win(weights: list[float], unit: int, salt: int) -> None:
    p = np.array(weights)
    p /= max(p.sum(), 1e-300)
    arms = np.arange(len(p))
    assert draw(p, arms, unit, salt) == oracle.draw(p, arms.tolist(), unit, salt)


@pytest.mark.parametrize("salt", [0, 1, 2**63, 12345678901234567890])
@pytest.mark.parametrize("spread", [1, 2**32, 0x9E3779B97F4A7C15])
def test_frequencies(salt: int, spread: int) -> None:
    """Counting units, units that differ in their upper half, and units a golden-ratio step apart."""
    chosen = many(P, ARMS, UNITS * np.uint64(spread), salt)
    assert stats.chisquare(np.bincount(chosen, minlength=5), P * N).pvalue > 0.001


def test_draws_of_two_experiments_are_independent() -> None:
    first, second = many(P, ARMS, UNITS, 1), many(P, ARMS, UNITS, 2)
    table = np.zeros((5, 5))
    np.add.at(table, (first, second), 1)
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_an_arm_of_no_chance_never_wins() -> None:
    p = np.array([0.0, 1.0, 0.0])
    assert set(many(p, np.arange(3), UNITS[:20_000], 3).tolist()) == {1}


def test_adding_an_arm_of_five_percent_moves_five_percent() -> None:
    before = many(np.array([0.4, 0.35, 0.25]), np.array([0, 1, 2]), UNITS, 7)
    after = many(np.array([0.38, 0.3325, 0.2375, 0.05]), np.array([0, 1, 2, 3]), UNITS, 7)
    moved = before != after
    assert (after[moved] == 3).all()  # the others kept their odds: nobody moves between them
    assert abs(moved.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / N)


def test_the_place_in_the_list_does_not_matter() -> None:
    """What is drawn belongs to the arm's number, not to its position."""
    chosen = ARMS[many(P, ARMS, UNITS[:5000], 11)]
    order = np.array([3, 1, 4, 0, 2])
    again = ARMS[order][many(P[order], ARMS[order], UNITS[:5000], 11)]
    assert (chosen == again).all()


@pytest.mark.parametrize("name", list(POLICIES))
def test_served_propensity_against_frequency(name: str) -> None:
    """One subject's features, 200,000 units: arms come as often as their propensity says."""
    sums, cells = oracle.world(12, arms=5, trials=40)
    settings = {"0": 3.0, "2": 1.0, "4": 0.5} if name == "fixed" else {}
    arms = np.arange(5)
    post = POLICIES[name].derive(sums, settings, arms)
    p = probabilities(post, cells[0] / 4096.0, arms)
    rows = np.repeat(cells[:1], N, axis=0)
    chosen, propensity = np.empty(N, np.int64), np.empty(N)
    decide_batch(post, rows, arms, UNITS, 5, chosen, propensity)
    assert (propensity == p[chosen]).all()
    assert p.max() < 0.97  # a choice there is
    seen = np.bincount(chosen, minlength=5)
    assert not seen[p == 0].any()
    assert stats.chisquare(seen[p > 0], p[p > 0] * N).pvalue > 0.001


@pytest.mark.parametrize("name", list(POLICIES))
def test_batch_is_decide_row_by_row(name: str) -> None:
    sums, cells = oracle.world(13, arms=5, trials=200)
    arms = np.array([0, 1, 3])
    post = POLICIES[name].derive(sums, {}, np.arange(5))
    units = np.random.default_rng(1).integers(0, 2**64, 200, dtype=np.uint64)
    chosen, propensity, out = np.empty(200, np.int64), np.empty(200), np.empty(3)
    decide_batch(post, cells[:200], arms, units, 2**64 - 5, chosen, propensity)
    if post.kind in ALONE:
        out = probabilities(post, cells[0] / 4096.0, arms)
    for i in range(200):
        unit = int(units[i])
        if post.kind in ALONE:
            assert draw(out, arms, unit, 2**64 - 5) == chosen[i]
        else:
            assert decide(post.packed, cells[i], arms, unit, 2**64 - 5, out) == chosen[i]
        assert out[chosen[i]] == propensity[i]


@pytest.mark.parametrize("name", ["beta", "fixed", "revenue", "uniform"])
def test_a_pmf_that_no_context_moves_is_not_decided(name: str) -> None:
    sums, cells = oracle.world(13, arms=5, trials=200)
    post = POLICIES[name].derive(sums, {}, np.arange(5))
    with pytest.raises(ValueError, match="no context"):
        decide(post.packed, cells[0], np.arange(5), 1, 2, np.empty(5))
