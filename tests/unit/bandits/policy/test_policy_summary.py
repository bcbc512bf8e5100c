"""Beliefs of the Normal-Inverse-Gamma policy and the special functions under all of them, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special as reference
from scipy import stats

from bandits import beta, special, student
from bandits.policy import POLICIES, probabilities
from bandits.posterior import Sums
from bandits.rule import rule
from tests.oracles import policy as oracle


def test_nig_against_its_definition() -> None:
    """algorithms.md A2, with b by its textbook subtraction."""
    sums, _ = oracle.world(7)
    settings = {"m0": 0.1, "kappa0": 2.0, "a0": 3.0, "b0": 0.2}
    post = POLICIES["nig"].derive(sums, settings, np.array([0, 1, 2]))
    for k in range(3):
        n, s1, s2 = sums.n[k], sums.s1[k], sums.s2[k]
        kappa, a = 2.0 + n, 3.0 + n / 2
        mean = (2.0 * 0.1 + s1) / kappa
        b = 0.2 + 0.5 * (s2 + 2.0 * 0.1**2 - kappa * mean**2)
        assert post.par[k] == pytest.approx([mean, np.sqrt(b / (a * kappa)), 2 * a], rel=1e-12)
    assert post.par[3] == pytest.approx([0.1, np.sqrt(0.2 / 6.0), 6.0])  # not asked for: the prior


def test_nig_defaults_are_pooled() -> None:
    sums, _ = oracle.world(7)
    untried = Sums(*(np.concatenate([column, np.zeros_like(column[:1])]) for column in sums))
    post = POLICIES["nig"].derive(untried, {}, np.arange(5))
    n, mean = sums.n.sum(), sums.s1.sum() / sums.n.sum()
    noise, first = oracle.noise(sums), max(oracle.noise(sums) ** 2, oracle.unseen(sums) / 2)
    assert post.par[4] == pytest.approx([mean, np.sqrt(first), 4.0])
    for k in range(4):  # an arm's own noise, but never less than that of all together
        n, s1, s2 = sums.n[k], sums.s1[k], sums.s2[k]
        found = (s1 + mean) / (n + 1)
        b = 2 * first + 0.5 * (s2 + mean**2 - (n + 1) * found**2)
        own = max(b / (2 + n / 2), noise**2)
        assert post.par[k] == pytest.approx([found, np.sqrt(own / (n + 1)), 4 + n], rel=1e-12)


def test_nig_survives_a_large_mean() -> None:
    """A hundred million rewards near 0.9 that vary by 1e-4: the variance is not lost to cancellation."""
    n, mean, spread = 1e8, 0.9, 1e-4
    column = np.array([n])
    sums = Sums(column, column, column * mean, column * (mean**2 + spread**2), column[:, None, None], column[:, None])
    scale = POLICIES["nig"].derive(sums, {}, np.arange(1)).par[0, 1]
    assert scale == pytest.approx(spread / np.sqrt(n), rel=1e-3)


def test_an_arm_without_rewards_is_as_uncertain_as_the_others_make_it() -> None:
    """Fifty trials each, one reward in all: it used to be .993 for the arm that has it."""
    sums = oracle.counts([50, 50, 50], [1, 0, 0])
    p = probabilities(POLICIES["nig"].derive(sums, {"floor": 0.0}, np.arange(3)), np.ones(1), np.arange(3))
    assert p[1] == pytest.approx(p[2], abs=1e-12)
    assert 0.5 < p[0] < 0.9


def test_stirling() -> None:
    for z in (0.01, 0.5, 1.0, 15.9, 16.0, 400.0):
        exact = reference.gammaln(z) - ((z - 0.5) * np.log(z) - z + 0.5 * np.log(2 * np.pi))
        assert special.stirling(z) == pytest.approx(exact, abs=2e-13)


@pytest.mark.parametrize("dof", [0.02, 0.5, 1.0, 2.0, 4.5, 30.0, 199.0, 201.0, np.inf])
def test_student(dof: float) -> None:
    law = stats.norm() if dof > 200 else stats.t(dof)
    assert student.norm(dof) == pytest.approx(law.logpdf(0.0), abs=1e-12)
    far = student.reach(dof)
    assert law.sf(far) <= student.TAIL or far > 1e50
    assert law.sf(far) >= student.TAIL / 3
    assert student.laws(np.array([dof, 7.0])).tolist() == [
        [dof, 7.0],
        [student.norm(dof), student.norm(7.0)],
        [far, student.reach(7.0)],
    ]


def test_exponentials_and_logarithms() -> None:
    x = np.concatenate([1.0 + np.logspace(-17, 0, 300), np.logspace(0, 300, 300)])
    found = x.copy()
    special.logarithms(found, found.view(np.int64), np.empty(x.size))
    assert found == pytest.approx(np.log(x), abs=1e-14, rel=1e-15)
    x = np.concatenate([np.linspace(-699.0, 699.0, 2_001), np.array([0.0, -1e-300, 0.5 * np.log(2.0)])])
    given, found = x.copy(), np.empty(x.size)
    special.exponentials(given, given.view(np.int64), 3.0, found)
    assert found == pytest.approx(3.0 * np.exp(x), rel=1e-12)
    given = np.array([-701.0, -1e300, -np.inf])
    special.exponentials(given, given.view(np.int64), 1.0, found[:3])
    assert found[:3] == pytest.approx(np.full(3, np.exp(-700.0)), rel=1e-12)


@pytest.mark.parametrize(("a", "b"), [(0.3, 2.0), (1.0, 1.0), (50.0, 3.0), (2e5, 7e5)])
def test_beta_density_on_the_logit_axis(a: float, b: float) -> None:
    for delta in np.array([-4.0, -1.0, 0.0, 0.5, 3.0]) * beta.width(a, b):
        t = beta.mode(a, b) + delta
        exact = a * -np.logaddexp(0, -t) + b * -np.logaddexp(0, t) - reference.betaln(a, b)
        assert beta.norm(a, b) + beta.fall(a, b, delta) == pytest.approx(exact, abs=1e-8 if a > 1e5 else 1e-12)
    for side in (-1.0, 1.0):
        assert beta.fall(a, b, side * beta.reach(a, b, side, 60.0)) == pytest.approx(-60.0, rel=0.01)


@pytest.mark.parametrize("nodes", [8, 16])
def test_rule_integrates_up_to_its_nodes(nodes: int) -> None:
    flat = rule(nodes)
    x, w, R = flat[:nodes], flat[nodes : 2 * nodes], flat[2 * nodes :].reshape(nodes, nodes).T
    for power in range(nodes):
        assert R @ x**power == pytest.approx((x ** (power + 1) - (-1.0) ** (power + 1)) / (power + 1), abs=1e-14)
    assert w @ x ** (2 * nodes - 2) == pytest.approx(2 / (2 * nodes - 1), abs=1e-14)
