"""Slow twins of effects: bucket by bucket, in words."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits.effect import Sums

Floats = NDArray[np.float64]


def gaps(sums: Sums, ratio: float = 1.0) -> Floats:
    """How much each bucket adds to (mean of the one) - ratio (mean of the other), linearised."""
    out = []
    one, other = (float(sums.total[i].sum() / sums.weight[i].sum()) for i in (0, 1))
    for b in range(sums.weight.shape[1]):
        first = (sums.total[0, b] - one * sums.weight[0, b]) / sums.weight[0].sum()
        second = (sums.total[1, b] - other * sums.weight[1, b]) / sums.weight[1].sum()
        out.append(first - ratio * second)
    return np.array(out)


def error(sums: Sums, ratio: float = 1.0) -> float:
    """The standard error of (mean of the one) - ratio (mean of the other)."""
    each = gaps(sums, ratio)
    return math.sqrt(sum(g * g for g in each.tolist()) * len(each) / (len(each) - 1))


def distance(sums: Sums, ratio: float) -> float:
    """How many standard errors (mean of the one) - ratio (mean of the other) is away from 0."""
    one, other = (float(sums.total[i].sum() / sums.weight[i].sum()) for i in (0, 1))
    return abs(one - ratio * other) / error(sums, ratio)


def freedom(values: Floats) -> float:
    """Degrees of freedom of the variance of values about 0."""
    second = sum(v**2 for v in values.tolist()) / len(values)
    fourth = sum(v**4 for v in values.tolist()) / len(values)
    return float(min(2 * len(values) / max(fourth / second**2 - 1, 1e-9), len(values) - 1))
