"""Why a context has the odds that it has: what is believed of each arm there, and what each column adds to that."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.expansion import LEFT, RIGHT, TARGET, expanded
from bandits.layout import X_SCALE
from bandits.policy import probabilities
from bandits.posterior import Floats, Kind, Posterior


class Explanation(NamedTuple):
    """For n arms, in units of the normalised reward. mean = base + main.sum(1) + pairs.sum(1), to rounding.

    `base` is what the arm earns from the average visitor. `main` has what each main column adds to that because of how
    this context differs from the average one, `pairs` the same for pairs of main columns, `which` names these. What a
    belief without features says has no columns: F is 1, P is 0, and the mean is the base. `deviation` is the scale of
    the belief about the mean, its standard deviation where that is normal; nan where the policy has no belief (uniform, fixed).
    """

    probability: Floats  # f8[n]
    mean: Floats  # f8[n]
    deviation: Floats  # f8[n]
    base: Floats  # f8[n]
    main: Floats  # f8[n,F]
    pairs: Floats  # f8[n,P]
    which: NDArray[np.int64]  # i8[P,2]: main columns; (-1, -1) for products of which this context has none


def explain(post: Posterior, x: NDArray[np.int16], centre: Floats, arms: NDArray[np.int64]) -> Explanation:
    """Explain the odds of `arms` (i8[n], ascending, eligible) at x (i2[F], the constant first, units of 2^-12).

    `centre` is the average context over the columns of the posterior, in units of 1 (f8[d]).
    """
    probability = probabilities(post, x / X_SCALE, arms)
    if post.kind in (Kind.UNIFORM, Kind.FIXED, Kind.BETA, Kind.REVENUE):
        return _alone(post, arms, probability)
    columns = post.theta.shape[1]
    z = np.zeros(columns)
    cells = expanded(x[None, :], post.design)[0] if post.design is not None else x
    size = min(columns, len(cells))
    z[:size] = cells[:size] / X_SCALE
    theta, cov = post.theta[arms], post.cov[arms]
    added = theta * (z - centre[:columns])
    place = post.design.place if post.design is not None else np.arange(columns)
    pairs, which = _pairs(post, x, added)
    deviation = np.sqrt(np.maximum(np.einsum("i,kij,j->k", z, cov, z), 0.0))
    return Explanation(probability, theta @ z, deviation, theta @ centre[:columns], added[:, place], pairs, which)


def _alone(post: Posterior, arms: NDArray[np.int64], probability: Floats) -> Explanation:
    """Of a belief about the arm's mean and nothing else."""
    n = len(arms)
    mean = deviation = np.full(n, np.nan)
    if post.kind in (Kind.BETA, Kind.REVENUE):
        a, b = post.par[arms, 0], post.par[arms, 1]
        mean = a / (a + b)
        deviation = np.sqrt(mean * (1.0 - mean) / (a + b + 1.0))
    if post.kind == Kind.REVENUE:  # a chance times a value that is independent of it
        value, square = post.theta[arms, 0], post.cov[arms, 0, 0] * post.dof[arms] / (post.dof[arms] - 2.0)
        deviation = np.sqrt(mean * mean * square + deviation * deviation * (value * value + square))
        mean = mean * value - post.par[arms, 2]
    return Explanation(
        probability, mean, deviation, mean, np.zeros((n, 1)), np.zeros((n, 0)), np.zeros((0, 2), np.int64)
    )


def _pairs(post: Posterior, x: NDArray[np.int16], added: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """What product columns add, by the pairs that make them: where several share a column, by their size in x."""
    terms = post.design.terms if post.design is not None else np.zeros((0, 4), np.int64)
    effects: list[Floats] = []
    which: list[tuple[int, int]] = []
    padded = np.zeros(int(terms[:, [LEFT, RIGHT]].max()) + 1 if len(terms) else 0)
    padded[: len(x)] = x[: len(padded)]
    for column in np.unique(terms[:, TARGET]):
        mine = terms[terms[:, TARGET] == column]
        size = np.abs(padded[mine[:, LEFT]] * padded[mine[:, RIGHT]])
        if not size.any():
            effects.append(added[:, column])
            which.append((-1, -1))
            continue
        for term in np.flatnonzero(size):
            effects.append(added[:, column] * size[term] / size.sum())
            which.append((int(mine[term, LEFT]), int(mine[term, RIGHT])))
    if not which:
        return np.zeros((len(added), 0)), np.zeros((0, 2), np.int64)
    return np.stack(effects, axis=1), np.array(which, np.int64)
