"""No policy believes more of an arm than the arm's own trials show, whatever the range; a prior moves its arm alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bandits.policy import POLICIES, probabilities
from bandits.posterior import Posterior, Sums
from tests.oracles import policy as oracle
from tests.oracles.policy import Floats

CASES = settings(max_examples=60, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)
JUDGED = ["beta", "nig", "lints", "linucb"]  # policies whose beliefs have a width
NARROWER = 1.6  # than Jeffreys' posterior of the same counts: the most that a normal belief may be


def widths(name: str, post: Posterior) -> Floats:
    """Standard deviations of the beliefs about each arm's mean, without context."""
    if name == "beta":
        return np.asarray(stats.beta(post.par[:, 0], post.par[:, 1]).std())
    law = stats.t(np.where(np.isinf(post.dof), 1e9, post.dof), scale=np.sqrt(post.cov[:, 0, 0]))
    return np.asarray(law.std())


@pytest.mark.parametrize("name", JUDGED)
@CASES
@given(
    trials=st.lists(st.integers(0, 3000), min_size=2, max_size=8),
    shares=st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8),
)
def test_no_belief_is_narrower_than_its_counts(name: str, trials: list[int], shares: list[float]) -> None:
    rewarded = [int(n * share**4) for n, share in zip(trials, shares, strict=False)]
    post = POLICIES[name].derive(oracle.counts(trials, rewarded), {}, np.arange(len(trials)))
    n, s = np.array(trials), np.array(rewarded)
    jeffreys = stats.beta(s + 0.5, n - s + 0.5).std()
    empty = s == 0  # an arm without rewards is the one that lost its uncertainty
    assert (widths(name, post)[empty] * NARROWER >= jeffreys[empty]).all()


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "fixed"])
@CASES
@given(arms=st.integers(2, 8), n=st.integers(1, 5000), seed=SEEDS)
def test_a_click_does_not_make_an_arm_worse(name: str, arms: int, n: int, seed: int) -> None:
    """Equal arms have equal odds; one click more never has less than its equals."""
    tolerance = 0.04 if name == "revenue" else 1e-9  # its draws belong to numbers of arms
    every, x = np.arange(arms), np.ones(1)
    equal = int(np.random.default_rng(seed).integers(0, n + 1))
    p = probabilities(POLICIES[name].derive(oracle.counts([n] * arms, [equal] * arms), {}, every), x, every)
    assert p == pytest.approx(np.full(arms, 1 / arms), abs=tolerance)
    clicked = oracle.counts([n] * arms, [1] + [0] * (arms - 1))
    p = probabilities(POLICIES[name].derive(clicked, {}, every), x, every)
    assert p[0] >= p[1:].max() - tolerance
    assert p[1:] == pytest.approx(np.full(arms - 1, p[1]), abs=tolerance)
    assert ((p >= 0) & (p <= 1 + 1e-12)).all()


def scaled(sums: Sums, factor: float) -> Sums:
    """The same rewards under a range that is 1 / factor times as wide."""
    return sums._replace(s1=sums.s1 * factor, s2=sums.s2 * factor**2, xr=sums.xr * factor)


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "revenue"])
@pytest.mark.parametrize("times", [10.0, 200.0, 1e5])
def test_the_declared_range_plays_no_part(name: str, times: float) -> None:
    """Rewards of a tenth, a two-hundredth of what was declared are learned from as well as the largest ones."""
    for seed in range(4):
        sums, cells = oracle.world(seed, trials=400)
        every = np.arange(4)
        near, far = (POLICIES[name].derive(s, {}, every) for s in (sums, scaled(sums, 1 / times)))
        for row in cells[:10]:
            x = row / 4096.0
            assert probabilities(far, x, every) == pytest.approx(probabilities(near, x, every), abs=1e-4)


def test_revenue_does_not_depend_on_the_range_once_something_was_bought() -> None:
    sums = oracle.counts([400, 400, 300], [20, 12, 30])
    every = np.arange(3)
    near, far = (POLICIES["revenue"].derive(s, {}, every) for s in (sums, scaled(sums, 1 / 200)))
    assert probabilities(far, np.ones(1), every) == pytest.approx(probabilities(near, np.ones(1), every), abs=1e-3)


@pytest.mark.parametrize("name", list(POLICIES))
@CASES
@given(
    seed=SEEDS, mean=st.floats(-1.0, 1.0), weight=st.floats(0.1, 1e4), trials=st.sampled_from([0, 3, 60, 2000]),
    columns=st.integers(1, 5),
)  # fmt: skip
def test_a_prior_moves_its_arm_alone(
    name: str, seed: int, mean: float, weight: float, trials: int, columns: int
) -> None:
    arms = 4
    sums, _ = oracle.world(seed, arms, columns, max(trials, 4))
    if trials == 0:
        sums = Sums(*(np.zeros_like(column) for column in sums))
    every = np.arange(arms)
    before = POLICIES[name].derive(sums, {}, every)
    after = POLICIES[name].derive(sums, {}, every, {2: (mean, weight)})
    others = np.array([0, 1, 3])
    for part in ("par", "theta", "cov", "dof"):
        assert getattr(after, part)[others].tobytes() == getattr(before, part)[others].tobytes(), part
    assert (after.alpha, after.floor, after.grid.tobytes()) == (before.alpha, before.floor, before.grid.tobytes())
    if name not in ("uniform", "fixed"):
        assert after.packed.tobytes() != before.packed.tobytes()
