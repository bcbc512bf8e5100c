"""Arms that changed inside: the kernel beside its twin, and stories over sums of two kinds of visitors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bandits.posterior import Sums
from bandits.refit import Change, Past, changes, splits
from tests.oracles.memory import oracle_evidence

BUCKETS, CHANGED = 12, 8
SINCE = np.arange(BUCKETS) >= CHANGED
EVEN = np.ones(BUCKETS)


@given(seed=st.integers(0, 2**32 - 1), buckets=st.integers(1, 5))
def test_evidence_is_that_of_rewards_whose_prior_is_a_normal_one(seed: int, buckets: int) -> None:
    rng = np.random.default_rng(seed)
    x, r = rng.uniform(-1.0, 1.0, (buckets, 3, 2)), rng.normal(size=(buckets, 3))
    level, since, prior = rng.uniform(0.1, 2.0, buckets), rng.uniform(0.5, 1.0, buckets), rng.uniform(0.5, 3.0, 2)
    out = np.full((buckets + 1, 4), np.nan)
    xx, xr = np.einsum("bni,bnj->bij", x, x), np.einsum("bni,bn->bi", x, r)
    splits(xx, xr, (r * r).sum(axis=1), level, since, prior, 0.3, out)
    for at in range(buckets + 1):
        before = oracle_evidence(x[:at] * level[:at, None, None], r[:at], prior, 0.3)
        after = oracle_evidence(x[at:] * since[at:, None, None], r[at:], prior, 0.3)
        assert out[at] == pytest.approx([*before, *after], abs=1e-9)


def told(rates: NDArray[np.float64], level: NDArray[np.float64], seed: int = 0, trials: int = 120) -> dict[int, Change]:
    """What is found of visitors of two kinds, as many of either, whom each arm pleases so: f8[B,K,2], times the level."""
    rng, buckets = np.random.default_rng(seed), []
    for b in range(BUCKETS):
        n = rng.multinomial(trials, np.full(2 * rates.shape[1], 0.5 / rates.shape[1])).reshape(-1, 2).astype(float)
        won = rng.binomial(n.astype(int), rates[b] * level[b]).astype(float)
        total, s = n.sum(axis=1), won.sum(axis=1)
        xx = np.stack([np.stack([total, n[:, 1]], -1), np.stack([n[:, 1], n[:, 1]], -1)], -1)
        buckets.append(Sums(total, s, s, s, xx, np.stack([s, won[:, 1]], axis=-1)))
    return changes(Past(buckets, np.ones(2)), EVEN, level, list(range(rates.shape[1])))


USUAL = np.tile([[0.4, 0.1], [0.1, 0.4], [0.2, 0.2]], (BUCKETS, 1, 1))


def test_wishes_that_are_exchanged_are_seen_though_no_average_moves() -> None:
    exchanged = np.where(SINCE[:, None, None], USUAL[:, [1, 0, 2]], USUAL)
    found = told(exchanged, EVEN)
    assert sorted(found) == [0, 1]
    for change in found.values():
        assert change.gain > 9.0
        assert change.same[:CHANGED] == pytest.approx(0.0, abs=0.1)
        assert change.same[CHANGED + 1 :] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("low", [1.0, 0.5, 0.02])
def test_nothing_is_found_where_all_stay_or_fall_together(seed: int, low: float) -> None:
    assert told(USUAL, np.where(SINCE, low, 1.0), seed) == {}
    assert told(0.1 * USUAL, np.where(SINCE, low, 1.0), seed, trials=30) == {}


def test_a_level_that_is_taken_for_low_does_not_hide_whom_an_arm_pleases_now() -> None:
    """As while exchanged wishes still pass for a fall of everyone."""
    exchanged = np.where(SINCE[:, None, None], USUAL[:, [1, 0, 2]], USUAL)
    believed = np.where(SINCE, 0.25, 1.0)
    assert {0, 1} <= told(exchanged / believed[:, None, None], believed).keys()
