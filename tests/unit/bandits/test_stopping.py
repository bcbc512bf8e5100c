"""When there is little left to find out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from bandits.stopping import LOSS, Verdict, verdict
from bandits.summary import Span, families, seen, shapes, summary
from tests.oracles import policy as oracle

YES_NO = Span(0.0, 1.0, True)


def said(n: list[float], s: list[float], span: Span = YES_NO) -> Verdict:
    own, arms = seen(oracle.counts(n, s), np.ones(1)), np.arange(len(n))
    return verdict(own, span, arms, summary(own, span, arms))


def test_a_clear_leader_is_settled_and_a_race_is_not() -> None:
    assert said([9000, 9000], [900, 300]).settled
    assert said([9000, 9000], [900, 300]).leader == 0
    assert not said([300, 300], [30, 29]).settled
    assert not said([9, 9], [0, 0]).settled


def test_two_that_are_alike_are_settled_once_that_is_known() -> None:
    """Nothing is to be won by knowing which."""
    few, many = said([2000, 2000], [200, 202]), said([400_000, 400_000], [40_000, 40_100])
    assert not few.settled
    assert many.settled
    assert many.remaining < few.remaining


def test_what_may_be_won_against_an_integral() -> None:
    n, s = [4000.0, 4000.0], [400.0, 380.0]
    own = shapes(seen(oracle.counts(n, s), np.ones(1)), YES_NO)
    got = said(n, s)
    mean = float(own[0, 0] / own[0, :2].sum())

    def above(gain: float) -> float:
        """P(the other arm earns more than the leader by that)."""
        total = 0.0
        for weight, shape in families(own):
            one, other = (stats.beta(*row) for row in shape)
            total += weight * integrate.quad(lambda t, a=one, b=other: a.pdf(t) * b.sf(t + gain), 0.05, 0.16)[0]
        return total

    assert above(0.7 * got.remaining * mean) > 0.05 > above(1.4 * got.remaining * mean)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 1)), min_size=1, max_size=6))
def test_whatever_the_data(arms: list[tuple[int, float]]) -> None:
    got = said([float(n) for n, _ in arms], [float(int(n * share)) for n, share in arms])
    assert 0 <= got.leader < len(arms)
    assert got.loss >= 0.0
    assert got.remaining >= 0.0
    assert got.settled == (got.loss < LOSS)


def test_a_leader_that_earns_nothing_settles_nothing() -> None:
    got = said([500.0, 500.0], [-100.0, -200.0], Span(-1.0, 0.0, False))
    assert np.isnan(got.loss)
    assert not got.settled
    assert said([50.0], [5.0]).remaining == pytest.approx(0.0)
