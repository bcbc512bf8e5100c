"""Scores against the definition, by each way there is to add them up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bandits.posterior import BLOCK, Kind, Posterior, pack
from bandits.scores import scores

Floats = NDArray[np.float64]


def posterior(arms: int, columns: int, seed: int) -> Posterior:
    random = np.random.default_rng(seed)
    root = random.standard_normal((arms, columns, columns))
    cov = root @ root.transpose(0, 2, 1)
    dof, theta = np.full(arms, np.inf), random.standard_normal((arms, columns))
    return pack(Kind.LINUCB, np.zeros((arms, 3)), theta, cov, dof, 1.0, np.ones(1), 0.0, None)


@pytest.mark.parametrize("arms", [1, 3, 8, 40])
@settings(deadline=None)
@given(
    columns=st.integers(1, 20),
    zeros=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_are_the_products(arms: int, columns: int, zeros: float, seed: int) -> None:
    """Few and many arms, full and sparse contexts; what is beyond the posterior's columns is not read."""
    post, random = posterior(arms, columns, seed), np.random.default_rng(seed)
    x = random.uniform(-1.0, 1.0, -(-columns // BLOCK) * BLOCK)
    x *= random.random(x.size) >= zeros
    centre, variance = np.empty(arms), np.empty(arms)
    scores(post.packed, x, np.empty((x.size + BLOCK) * (arms + BLOCK)), centre, variance)
    x = x[:columns]
    assert centre == pytest.approx(post.theta @ x, rel=1e-9, abs=1e-9)
    assert variance == pytest.approx(np.einsum("i,kij,j->k", x, post.cov, x), rel=1e-9, abs=1e-9)
