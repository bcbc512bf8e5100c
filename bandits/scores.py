"""Centre and variance of every arm's score at x, from a packed posterior (its layout: posterior.py)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits._jit import inlined, jit
from bandits.posterior import ARMS, BLOCK, COLUMNS, HEADER, SCORES

Floats = NDArray[np.float64]


@inlined
def blocks(packed: Floats) -> int:
    """How many BLOCKs of columns there are; x of the scores is so long, padded with zeros."""
    return (int(packed[COLUMNS]) + BLOCK - 1) // BLOCK


@inlined
def slopes(arms: int) -> int:
    """How long the coefficients of a column are, padding included."""
    return (arms + BLOCK - 1) // BLOCK * BLOCK


@inlined
def scores(packed: Floats, x: Floats, work: Floats, centre: Floats, variance: Floats) -> None:
    """Fill centre and variance (f8[K]) with theta_k.x and x' cov_k x.

    x is f8[BLOCK * blocks], what is beyond the d columns does not matter; work, f8[x.size * K + slopes] or longer, is overwritten.
    """
    arms, filled = int(packed[ARMS]), 0
    rows = packed[HEADER + SCORES * arms :]
    for j in range(x.size):
        filled += x[j] != 0.0
    if 2 * filled > x.size:
        by_block(rows, x, work, centre, variance)
    else:
        by_pair(rows, x, work, centre, variance)


@jit
def by_pair(rows: Floats, x: Floats, index: Floats, centre: Floats, variance: Floats) -> None:
    """Pair by pair of the columns that are not zero, whose numbers fill `index`."""
    arms, count = centre.size, 0
    first = slopes(arms)
    centre[:] = 0.0
    variance[:] = 0.0
    for j in range(x.size):
        value = x[j]
        if value == 0.0:
            continue
        index[count] = j
        count += 1
        g = j // BLOCK
        length = first + (g + 1) * BLOCK * arms
        # the blocks before have BLOCK rows each, of coefficients and of 1, 2, ... g times BLOCK columns
        start = BLOCK * g * first + BLOCK * BLOCK * arms * (g * (g + 1) // 2) + (j - BLOCK * g) * length
        row = rows[start : start + length]
        for k in range(arms):
            centre[k] += value * row[k]
        for p in range(count):
            i = int(index[p])
            factor = value * x[i]
            own = row[first + i * arms : first + (i + 1) * arms]
            for k in range(arms):
                variance[k] += factor * own[k]


@inlined
def by_block(rows: Floats, x: Floats, moved: Floats, centre: Floats, variance: Floats) -> None:
    """Four columns at a time, over rows and arms at once: a loop over a few arms alone is no vector code.

    The order of the sums is written out, so it is the same in every kernel and on every machine.
    """
    arms, start = centre.size, 0
    first, wide = slopes(arms), BLOCK * arms
    # theta_k.x, and for column i and arm k the sum of x_j times what stands in row j for it
    for at in range(first + x.size * arms):
        moved[at] = 0.0
    for g in range(x.size // BLOCK):
        a, b, c, d = x[BLOCK * g], x[BLOCK * g + 1], x[BLOCK * g + 2], x[BLOCK * g + 3]
        length = first + wide * (g + 1)
        one, two = rows[start : start + length], rows[start + length : start + 2 * length]
        start += 2 * length
        three, four = rows[start : start + length], rows[start + length : start + 2 * length]
        start += 2 * length
        for at in range(length):
            moved[at] += (a * one[at] + b * two[at]) + (c * three[at] + d * four[at])
    for k in range(arms):
        centre[k], variance[k] = moved[k], 0.0
    for g in range(x.size // BLOCK):
        a, b, c, d = x[BLOCK * g], x[BLOCK * g + 1], x[BLOCK * g + 2], x[BLOCK * g + 3]
        m = moved[first + g * wide : first + (g + 1) * wide]
        for k in range(arms):
            variance[k] += (a * m[k] + b * m[arms + k]) + (c * m[2 * arms + k] + d * m[3 * arms + k])
