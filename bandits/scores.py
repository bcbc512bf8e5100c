"""Centre and variance of every arm's score at x, from a packed posterior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits._jit import jit
from bandits.posterior import ARMS, COLUMNS, HEADER, THETA

Floats = NDArray[np.float64]

FEW = 16  # below so many arms a loop over arms alone is too short for vector code


@jit
def scores(packed: Floats, x: Floats, centre: Floats, variance: Floats) -> None:
    """Fill centre and variance (f8[K]) with theta_k.x and x' cov_k x; zeros of x cost nothing.

    x shorter than the posterior's d counts as padded with zeros; columns beyond d are not known yet and ignored.
    """
    arms, columns = int(packed[ARMS]), int(packed[COLUMNS])
    start = HEADER + THETA * arms
    theta = packed[start : start + columns * arms]
    cov = packed[start + columns * arms : start + columns * (columns + 3) // 2 * arms]
    size, filled = min(columns, x.size), 0
    for j in range(size):
        filled += x[j] != 0.0
    centre[:] = 0.0
    variance[:] = 0.0
    if arms < FEW and 2 * filled > size:
        by_row(theta, cov, x, size, centre, variance)
    else:
        by_pair(theta, cov, x, size, centre, variance)


@jit
def by_pair(theta: Floats, cov: Floats, x: Floats, size: int, centre: Floats, variance: Floats) -> None:
    """Pair by pair of the columns that are not zero."""
    arms = centre.size
    index = np.empty(size, np.int64)
    count = 0
    for j in range(size):
        value = x[j]
        if value == 0.0:
            continue
        index[count] = j
        count += 1
        row = theta[j * arms : (j + 1) * arms]
        for k in range(arms):
            centre[k] += value * row[k]
        for p in range(count):
            i = index[p]
            factor = value * x[i] if i == j else 2.0 * value * x[i]
            start = (j * (j + 1) // 2 + i) * arms
            row = cov[start : start + arms]
            for k in range(arms):
                variance[k] += factor * row[k]


@jit
def by_row(theta: Floats, cov: Floats, x: Floats, size: int, centre: Floats, variance: Floats) -> None:
    """Row by row, over columns and arms at once: a loop over a few arms alone is no vector code."""
    arms = centre.size
    moved = np.zeros(size * arms)  # for column i and arm k: the sum of x_j cov_kji over j >= i
    start = 0
    for j in range(size):
        value, width = x[j], (j + 1) * arms
        row = cov[start : start + width]
        for at in range(width):
            moved[at] += value * row[at]
        start += width
    start = 0
    for j in range(size):
        value, at = x[j], j * arms
        start += at
        for k in range(arms):
            centre[k] += value * theta[at + k]
            variance[k] += value * (2.0 * moved[at + k] - value * cov[start + k])
        start += arms
