"""Explanations against what they explain: the parts add up, and name the columns that matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.auto import Side
from bandits.expansion import Design, expanded
from bandits.explanation import explain
from bandits.policy import POLICIES, probabilities
from bandits.posterior import Sums
from tests.oracles import policy as oracle

ARMS = np.arange(4)
LINEAR = ("auto", "linucb", "lints", "squarecb", "greedy")


def centre_of(sums: Sums) -> np.ndarray:
    total = sums.xx[:, 0, :].sum(axis=0)
    return np.asarray(total / total[0])


@pytest.mark.parametrize("name", LINEAR)
@given(seed=st.integers(0, 200), row=st.integers(0, 300))
@settings(max_examples=4, deadline=None, derandomize=True)
def test_the_parts_add_up_to_the_mean(name: str, seed: int, row: int) -> None:
    sums, cells = oracle.world(seed)
    post = POLICIES[name].derive(sums, {}, ARMS)
    x, centre = cells[row], centre_of(sums)
    found = explain(post, x, centre, ARMS)
    for k in ARMS:
        mean = math.fsum(post.theta[k] * x / 4096.0)
        assert found.mean[k] == pytest.approx(mean, abs=1e-12)
        assert math.fsum([found.base[k], *found.main[k], *found.pairs[k]]) == pytest.approx(mean, abs=1e-12)
        variance = x @ post.cov[k] @ x / 4096.0**2
        assert found.deviation[k] == pytest.approx(math.sqrt(max(variance, 0.0)), rel=1e-9)
    assert found.probability.tolist() == probabilities(post, x / 4096.0, ARMS).tolist()
    assert explain(post, np.rint(centre * 4096).astype(np.int16), centre, ARMS).main == pytest.approx(0.0, abs=1e-3)


def test_a_pair_that_decides_is_named() -> None:
    """Arm 1 earns where columns 1 and 2 agree, arm 0 where they differ; alone neither says anything."""
    design = Design(np.arange(3), np.array([(3, 1, 2, 1)], np.int64), np.full(3, -1, np.int64))
    rng = np.random.default_rng(3)
    cells = np.concatenate([np.ones((4000, 1)), rng.choice([-1.0, 1.0], (4000, 2))], axis=1)
    cells = (cells * 4096).astype(np.int16)
    z = expanded(cells, design) / 4096.0
    arm = rng.integers(0, 2, len(z))
    reward = (arm == (cells[:, 1] == cells[:, 2])).astype(float)
    sums = oracle.sums_of(z, arm, reward, 2)
    informed = POLICIES["auto"].informed
    assert informed is not None
    post = informed(sums, POLICIES["auto"].complete({}), np.arange(2), Side(design=design))
    assert post.design is not None
    x = np.array([4096, 4096, 4096], np.int16)
    found = explain(post, x, centre_of(sums), np.arange(2))
    at = int(np.argmax(np.abs(found.pairs[1])))
    assert found.which[at].tolist() == [1, 2]
    assert found.pairs[1, at] > 0.2 > abs(found.main[1]).max()
    assert found.base + found.main.sum(1) + found.pairs.sum(1) == pytest.approx(found.mean, abs=1e-9)


def test_a_pair_that_this_context_does_not_have_has_no_name() -> None:
    design = Design(np.arange(3), np.array([(3, 1, 2, 1)], np.int64), np.full(3, -1, np.int64))
    rng = np.random.default_rng(5)
    cells = (np.concatenate([np.ones((900, 1)), rng.choice([0.0, 1.0], (900, 2))], axis=1) * 4096).astype(np.int16)
    z = expanded(cells, design) / 4096.0
    arm, reward = rng.integers(0, 2, len(z)), z[:, 3]
    sums = oracle.sums_of(z, arm, reward, 2)
    informed = POLICIES["auto"].informed
    assert informed is not None
    post = informed(sums, POLICIES["auto"].complete({}), np.arange(2), Side(design=design))
    found = explain(post, np.array([4096, 4096, 0], np.int16), centre_of(sums), np.arange(2))
    assert found.which.tolist() == [[-1, -1]]
    assert found.base + found.main.sum(1) + found.pairs.sum(1) == pytest.approx(found.mean, abs=1e-9)


def test_beliefs_without_features() -> None:
    sums = oracle.counts([10.0, 10.0], [0.0, 5.0])
    one = np.array([4096], np.int16)
    beta = explain(POLICIES["beta"].derive(sums, {}, np.arange(2)), one, np.ones(1), np.arange(2))
    assert beta.mean.tolist() == pytest.approx([1 / 12, 0.5])
    assert beta.deviation[1] == pytest.approx(math.sqrt(0.25 / 13))
    assert beta.probability[1] > 0.9
    rng = np.random.default_rng(1)
    post = POLICIES["revenue"].derive(sums, {}, np.arange(2))
    told = explain(post, one, np.ones(1), np.arange(2))
    chance = rng.beta(post.par[1, 0], post.par[1, 1], 400_000)
    value = post.theta[1, 0] + math.sqrt(post.cov[1, 0, 0]) * rng.standard_t(post.dof[1], 400_000)
    assert told.mean[1] == pytest.approx((chance * value).mean(), rel=0.02)
    assert told.deviation[1] == pytest.approx((chance * value).std(), rel=0.03)
    post = POLICIES["uniform"].derive(sums, {}, np.arange(2))
    assert np.isnan(explain(post, one, np.ones(1), np.arange(2)).mean).all()
