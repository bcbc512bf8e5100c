"""Costs of arms: they move what each is believed to earn by what they are, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.auto import Side
from bandits.explanation import explain
from bandits.policy import POLICIES, probabilities
from bandits.posterior import Floats, Posterior, Sums
from bandits.stopping import verdict
from bandits.summary import Span, Summary, seen, summary
from tests.oracles.policy import counts, world

CHARGED = sorted(set(POLICIES) - {"beta", "fixed", "uniform"})
ARMS = np.arange(4)


def believed(name: str, sums: Sums, costs: list[float] | None) -> Posterior:
    policy = POLICIES[name]
    given_costs = None if costs is None else np.array(costs)
    if policy.informed is not None:
        return policy.informed(sums, policy.complete({}), ARMS, Side(least=0.0, costs=given_costs))
    return policy.derive(sums, {}, ARMS, None, given_costs)


def odds(name: str, sums: Sums, costs: list[float] | None, x: Floats) -> Floats:
    return probabilities(believed(name, sums, costs), x, ARMS)


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(CHARGED), seed=st.integers(0, 20), cost=st.floats(0.0, 2.0), arm=st.integers(0, 3))
def test_what_all_cost_alike_decides_nothing_and_what_one_costs_counts_against_it(
    name: str, seed: int, cost: float, arm: int
) -> None:
    sums, _ = world(seed)
    x = sums.xx[:, 0, :].sum(axis=0) / sums.n.sum()
    free = odds(name, sums, None, x)
    assert odds(name, sums, [cost] * 4, x) == pytest.approx(free, abs=1e-9)
    alone = odds(name, sums, [cost if k == arm else 0.0 for k in range(4)], x)
    assert alone[arm] <= free[arm] + 1e-9
    assert alone.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("name", CHARGED)
def test_the_explained_mean_is_what_is_left(name: str) -> None:
    sums, cells = world(3)
    costs = [0.1, 0.0, 0.25, 1.5]
    centre = sums.xx[:, 0, :].sum(axis=0) / sums.n.sum()
    free, left = (explain(believed(name, sums, given), cells[0], centre, ARMS) for given in (None, costs))
    assert left.mean == pytest.approx(free.mean - costs, abs=1e-12)
    assert left.deviation == pytest.approx(free.deviation, abs=1e-12)


def test_a_cost_of_the_whole_gap_turns_the_choice() -> None:
    sums = counts([20_000] * 4, [1_000, 1_000, 2_000, 1_000])
    x = np.ones(1)
    assert odds("auto", sums, None, x)[2] > 0.9
    assert odds("auto", sums, [0.0, 0.0, 0.08, 0.0], x)[2] < 0.05


@pytest.mark.parametrize("name", sorted(set(CHARGED) - {"greedy", "linucb"}))
def test_what_a_cost_is_beside_a_reward_nobody_knows_before_the_first(name: str) -> None:
    """A small one decides nothing then but among equals (greedy, linucb); many trials without any reward tell that all are little worth."""
    costs, x = [0.0, 1e-4, 0.0, 0.0], np.ones(1)
    assert odds(name, counts([0] * 4, [0] * 4), costs, x)[1] == pytest.approx(0.25, abs=0.01)
    assert odds(name, counts([50] * 4, [0] * 4), costs, x)[1] > 0.15
    if name == "auto":
        assert odds(name, counts([50_000] * 4, [0] * 4), costs, x)[1] < 0.01


def test_beta_has_no_costs() -> None:
    with pytest.raises(ValueError, match="no cost"):
        believed("beta", counts([10] * 4, [1] * 4), [0.1] * 4)


@settings(max_examples=25, deadline=None)
@given(costs=st.lists(st.floats(0.0, 3.0), min_size=4, max_size=4), money=st.booleans())
def test_reports_say_what_is_left(costs: list[float], money: bool) -> None:
    """Means and intervals lie lower by what each costs, wherever the range ends; the best is the best of what is left."""
    sums = counts([900, 1000, 1100, 1200], [100, 90, 200, 150])
    if money:
        sums = sums._replace(s2=sums.s1 * 0.9)
    span = Span(0.0, 1.0, binary=not money)

    def said(given_costs: Floats | None) -> Summary:
        return summary(seen(sums, np.ones(1))._replace(costs=given_costs), span, ARMS)

    free, left, none = said(None), said(np.array(costs)), said(np.zeros(4))
    assert left.mean == pytest.approx(none.mean - costs, abs=1e-9)
    assert left.mean == pytest.approx(free.mean - costs, abs=0.002)
    for name in ("low", "high"):  # a Beta on a wider range: its mean and variance are the same, its tails nearly
        own, moved = getattr(free, name), getattr(left, name) + costs
        assert moved == pytest.approx(own, abs=0.15 * float((free.high - free.low).max()))
    gap = np.sort(left.mean)[-1] - np.sort(left.mean)[-2]
    if gap > 0.1:
        assert left.best.argmax() == left.mean.argmax()
        assert left.loss.argmin() == left.mean.argmax()
    assert (
        verdict(seen(sums, np.ones(1))._replace(costs=np.array(costs)), span, ARMS, left).leader == left.loss.argmin()
    )
