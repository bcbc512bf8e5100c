"""LinUCB with a shared random width: scores m_k + z alpha w_k, z half-normal on a grid (RandUCB, Vaswani et al. 2020).

The pmf is the share of grid points at which an arm has the highest score. With the one point z = 1 it is the
textbook index of Li, Chu, Langford, Schapire 2010, algorithm 1.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from bandits._jit import jit

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


@jit
def shares(
    centre: NDArray[np.float64], width: NDArray[np.float64], grid: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Fill out (f8[n]) with the share of grid points at which each line centre + z width is highest, ties split.

    Plain n x 32 comparisons: from 3 to 200 arms faster than passes of vector code, and ties are exact.
    """
    n, part = centre.size, 1.0 / grid.size
    out[:] = 0.0
    for z in grid:
        best, winner, ties = centre[0] + z * width[0], 0, 1
        for k in range(1, n):
            value = centre[k] + z * width[k]
            if value > best:
                best, winner, ties = value, k, 1
            elif value == best:
                ties += 1
        if ties == 1:
            out[winner] += part
        else:
            for k in range(n):
                if centre[k] + z * width[k] == best:
                    out[k] += part / ties
