"""What `auto` does over thousands of decisions: it finds the better arm, and its log can speak of other policies. About 15 s."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from bandits import ope
from bandits.auto import Side
from bandits.policy import POLICIES, decide_batch, probabilities
from tests.oracles import policy as oracle

AUTO = POLICIES["auto"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def shop(
    rates: list[float], decisions: int, seed: int, settings: Mapping[str, float] | None = None
) -> tuple[Ints, Floats]:
    """Arms and propensities of so many decisions without features; snapshots are 20 decisions old or 2 %."""
    rng, arms = np.random.default_rng(seed), np.arange(len(rates))
    n, won = np.zeros(len(rates)), np.zeros(len(rates))
    arm, propensity = np.empty(decisions, np.int64), np.empty(decisions)
    at, rows = 0, np.full((decisions, 1), 4096, np.int16)
    while at < decisions:
        end = min(at + max(20, at // 50), decisions)
        side = Side(least=0.0, control=0)
        assert AUTO.informed is not None
        post = AUTO.informed(oracle.counts(n, won), AUTO.complete(settings or {}), arms, side)
        units = rng.integers(0, 2**63, end - at).astype(np.uint64)
        decide_batch(post, rows[at:end], arms, units, seed, arm[at:end], propensity[at:end])
        paid = rng.random(end - at) < np.array(rates)[arm[at:end]]
        n += np.bincount(arm[at:end], minlength=len(rates))
        won += np.bincount(arm[at:end], weights=paid, minlength=len(rates))
        at = end
    return arm, propensity


def support(arm: Ints, propensity: Floats, target: Floats) -> ope.Support:
    """Of a target that does the same everywhere."""
    n = len(arm)
    every = np.tile(target, (n, 1))
    return ope.support(ope.Logged(arm, propensity, np.zeros(n), np.ones((n, 1)), every, ope.folds(n)))


def test_the_better_of_two_rare_arms_is_found() -> None:
    """1 % and 2 %, 5,000 decisions."""
    most = [np.bincount(shop([0.01, 0.02], 5_000, seed)[0]).argmax() for seed in range(40)]
    assert sum(most) >= 38


@pytest.mark.parametrize("arms", [2, 4, 8])
def test_the_log_speaks_of_an_even_split_the_default_and_the_leader(arms: int) -> None:
    """Of six shops each. One of each may be refused: few rare rows may miss by chance, and a leader may come up late."""
    refused = np.zeros(3)
    for seed in range(6):
        rates = np.random.default_rng([seed, arms]).uniform(0.02, 0.12, arms).tolist()
        arm, propensity = shop(rates, 5_000, seed)
        leader = np.bincount(arm).argmax()
        targets = (np.full(arms, 1 / arms), np.eye(arms)[0], np.eye(arms)[leader])
        refused += [bool(support(arm, propensity, target).refused) for target in targets]
    assert refused.max() <= 1


def test_more_evidence_speaks_of_every_arm_and_less_of_few() -> None:
    rates = [0.03, 0.05, 0.08, 0.12]
    ess = []
    for words in range(3):
        arm, propensity = shop(rates, 5_000, 1, {"evidence": float(words)})
        ess.append([support(arm, propensity, np.eye(4)[k]).ess for k in range(4)])
    less, usual, more = (min(found) for found in ess)
    assert less < usual < more
    assert more > 100


def test_a_cold_batch_is_even() -> None:
    _, propensity = shop([0.1] * 8, 1, 0)
    assert propensity[0] == pytest.approx(0.125, abs=1e-15)
    post = AUTO.informed(oracle.counts([0] * 8, [0] * 8), AUTO.complete({}), np.arange(8), Side(least=0.0, control=3))  # type: ignore[misc]
    assert probabilities(post, np.ones(1), np.arange(8)) == pytest.approx(np.full(8, 0.125), abs=1e-15)
