"""Priors of arms: pseudo-trials that say what real trials of that mean would."""

from __future__ import annotations

import numpy as np
import pytest

from bandits.policy import POLICIES, probabilities
from bandits.posterior import Sums
from bandits.prior import with_priors
from bandits.summary import Span, seen, summary


def empty(arms: int, columns: int) -> Sums:
    n, rewarded, s1, s2 = np.zeros((4, arms))
    return Sums(n, rewarded, s1, s2, np.zeros((arms, columns, columns)), np.zeros((arms, columns)))


def test_without_priors_the_sums_are_the_same_object() -> None:
    sums = empty(2, 1)
    assert with_priors(sums, {}) is sums


def test_a_prior_of_a_yes_or_no_metric_is_so_many_trials() -> None:
    sums = with_priors(empty(2, 3), {1: (0.05, 20.0)})
    assert (sums.n[1], sums.rewarded[1], sums.s1[1]) == pytest.approx((20.0, 1.0, 1.0))
    assert sums.s2[1] == pytest.approx(1.0)  # 0/1 rewards are their own squares
    assert sums.xx[1, 0, 0] == 20.0
    assert sums.xr[1].tolist() == pytest.approx([1.0, 0.0, 0.0])
    assert sums.n[0] == 0.0


@pytest.mark.parametrize("name", ["beta", "nig", "linucb", "lints"])
def test_every_policy_believes_its_priors(name: str) -> None:
    arms = np.arange(3)
    priors = {0: (0.2, 200.0), 1: (0.4, 200.0), 2: (0.3, 200.0)}
    posterior = POLICIES[name].derive(empty(3, 1), {"floor": 0.0}, arms, priors)
    p = probabilities(posterior, np.ones(1), arms)
    assert p[1] > 0.6
    assert p[1] > p[2] >= p[0]
    believed = summary(seen(empty(3, 1), np.ones(1), priors), Span(0.0, 1.0, True), arms)
    assert believed.mean == pytest.approx([0.2, 0.4, 0.3], abs=0.01)
    assert int(np.argmax(believed.best)) == 1


def test_a_prior_varies_as_the_rewards_do() -> None:
    sums = empty(2, 1)
    sums.n[0], sums.s1[0], sums.s2[0] = 100.0, 1.0, 0.0101  # rewards of .01, hardly varying
    made = with_priors(sums, {1: (0.02, 10.0)})
    assert made.s2[1] == pytest.approx(10 * (0.0004 + 0.000001))
    assert sums.n[1] == 0.0  # the fold's own sums are not touched
