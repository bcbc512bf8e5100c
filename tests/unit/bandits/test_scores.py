"""Scores against the definition, by each way there is to add them up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bandits.posterior import Kind, Posterior, pack
from bandits.scores import FEW, scores

Floats = NDArray[np.float64]


def posterior(arms: int, columns: int, seed: int) -> Posterior:
    random = np.random.default_rng(seed)
    root = random.standard_normal((arms, columns, columns))
    cov = root @ root.transpose(0, 2, 1)
    dof, theta = np.full(arms, np.inf), random.standard_normal((arms, columns))
    return pack(Kind.LINUCB, np.zeros((arms, 3)), theta, cov, dof, 1.0, np.ones(1), 0.0, None)


@pytest.mark.parametrize("arms", [1, 3, FEW - 1, FEW, 40])
@settings(deadline=None)
@given(
    columns=st.integers(1, 20),
    given_columns=st.integers(1, 25),
    zeros=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_are_the_products(arms: int, columns: int, given_columns: int, zeros: float, seed: int) -> None:
    """Few and many arms, full and sparse contexts, shorter and longer than the posterior."""
    post, random = posterior(arms, columns, seed), np.random.default_rng(seed)
    x = random.uniform(-1.0, 1.0, given_columns) * (random.random(given_columns) >= zeros)
    centre, variance = np.empty(arms), np.empty(arms)
    scores(post.packed, x, centre, variance)
    full = np.zeros(columns)
    full[: min(columns, given_columns)] = x[:columns]
    assert centre == pytest.approx(post.theta @ full, rel=1e-9, abs=1e-9)
    assert variance == pytest.approx(np.einsum("i,kij,j->k", full, post.cov, full), rel=1e-9, abs=1e-9)
