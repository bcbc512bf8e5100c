"""LinUCB with a shared random width: scores m_k + z alpha w_k, z half-normal on a grid (RandUCB, Vaswani et al. 2020).

The pmf is the share of grid points at which an arm has the highest score. With the one point z = 1 it is the
textbook index of Li, Chu, Langford, Schapire 2010, algorithm 1.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from bandits._jit import inlined, jit

POINTS = 32


@functools.cache
def half_normal(points: int) -> NDArray[np.float64]:
    """f8[points], read-only: the quantiles of |N(0, 1)| at (i + 1/2) / points."""
    grid = np.empty(points)
    for i in range(points):
        q, z = (i + 0.5) / points, 0.0
        for _ in range(60):  # Newton on a concave function from the left: monotone, no overshoot
            z += (q - math.erf(z / math.sqrt(2.0))) / (math.sqrt(2.0 / math.pi) * math.exp(-0.5 * z * z))
        grid[i] = z
    grid.flags.writeable = False
    return grid


@inlined
def shares(
    centre: NDArray[np.float64],
    width: NDArray[np.float64],
    grid: NDArray[np.float64],
    best: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Fill out (f8[n]) with the share of grid points at which each line centre + z width is highest, ties split.

    best (f8[grid.size]) is overwritten with the highest at each point. Loops over points are vector code.
    """
    n, points, total = centre.size, grid.size, 0
    for i in range(points):
        best[i] = centre[0] + grid[i] * width[0]
    for k in range(1, n):
        c, w = centre[k], width[k]
        for i in range(points):
            value = c + grid[i] * w
            best[i] = max(best[i], value)
    for k in range(n):
        c, w, count = centre[k], width[k], 0
        for i in range(points):
            count += c + grid[i] * w == best[i]
        out[k] = count / points
        total += count
    if total != points:
        split(centre, width, grid, best, out)


@jit
def split(
    centre: NDArray[np.float64],
    width: NDArray[np.float64],
    grid: NDArray[np.float64],
    best: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """The same where several are highest at some point."""
    out[:] = 0.0
    for i in range(grid.size):
        ties = 0
        for k in range(centre.size):
            ties += centre[k] + grid[i] * width[k] == best[i]
        for k in range(centre.size):
            if centre[k] + grid[i] * width[k] == best[i]:
                out[k] += 1.0 / (ties * grid.size)
