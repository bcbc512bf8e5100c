"""Centre and variance of every arm's score at x, from a packed posterior (its layout: posterior.py)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits._jit import inlined, jit
from bandits.posterior import ARMS, BLOCK, COLUMNS, HEADER, THETA

Floats = NDArray[np.float64]


@inlined
def blocks(packed: Floats) -> int:
    """How many BLOCKs of columns there are; x of the scores is so long, padded with zeros."""
    return (int(packed[COLUMNS]) + BLOCK - 1) // BLOCK


@inlined
def scores(packed: Floats, x: Floats, work: Floats, centre: Floats, variance: Floats) -> None:
    """Fill centre and variance (f8[K]) with theta_k.x and x' cov_k x.

    x is f8[BLOCK * blocks], columns beyond d are not read; work (f8[x.size * K] or longer) is overwritten.
    """
    arms, groups, filled = int(packed[ARMS]), x.size // BLOCK, 0
    start = HEADER + THETA * arms
    theta = packed[start : start + x.size * arms]
    start += x.size * arms
    cov = packed[start : start + BLOCK * BLOCK * arms * groups * (groups + 1) // 2]
    for j in range(x.size):
        filled += x[j] != 0.0
    centre[:] = 0.0
    variance[:] = 0.0
    if 2 * filled > x.size:
        by_block(theta, cov, x, work, centre, variance)
    else:
        by_pair(theta, cov, x, work, centre, variance)


@jit
def by_pair(theta: Floats, cov: Floats, x: Floats, index: Floats, centre: Floats, variance: Floats) -> None:
    """Pair by pair of the columns that are not zero, whose numbers fill `index`."""
    arms, count = centre.size, 0
    for j in range(x.size):
        value = x[j]
        if value == 0.0:
            continue
        index[count] = j
        count += 1
        row = theta[j * arms : (j + 1) * arms]
        for k in range(arms):
            centre[k] += value * row[k]
        length = (j // BLOCK + 1) * BLOCK * arms
        start = (j // BLOCK) * (BLOCK // 2) * length + (j % BLOCK) * length
        for p in range(count):
            i = int(index[p])
            factor = value * x[i]
            row = cov[start + i * arms : start + (i + 1) * arms]
            for k in range(arms):
                variance[k] += factor * row[k]


@inlined
def by_block(theta: Floats, cov: Floats, x: Floats, moved: Floats, centre: Floats, variance: Floats) -> None:
    """Four columns at a time, over rows and arms at once: a loop over a few arms alone is no vector code.

    The order of the sums is written out, so it is the same in every kernel and on every machine.
    """
    arms, start = centre.size, 0
    wide = BLOCK * arms
    moved[: x.size * arms] = 0.0  # for row i and arm k: the sum of x_j cov_kij
    for g in range(x.size // BLOCK):
        a, b, c, d = x[BLOCK * g], x[BLOCK * g + 1], x[BLOCK * g + 2], x[BLOCK * g + 3]
        length = wide * (g + 1)
        one, two = cov[start : start + length], cov[start + length : start + 2 * length]
        start += 2 * length
        three, four = cov[start : start + length], cov[start + length : start + 2 * length]
        start += 2 * length
        for at in range(length):
            moved[at] += (a * one[at] + b * two[at]) + (c * three[at] + d * four[at])
    for g in range(x.size // BLOCK):
        a, b, c, d = x[BLOCK * g], x[BLOCK * g + 1], x[BLOCK * g + 2], x[BLOCK * g + 3]
        m, t = moved[g * wide : (g + 1) * wide], theta[g * wide : (g + 1) * wide]
        for k in range(arms):
            centre[k] += (a * t[k] + b * t[arms + k]) + (c * t[2 * arms + k] + d * t[3 * arms + k])
            variance[k] += (a * m[k] + b * m[arms + k]) + (c * m[2 * arms + k] + d * m[3 * arms + k])
