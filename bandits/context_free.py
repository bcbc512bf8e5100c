"""The pmf of a packed posterior that no context moves, over the eligible arms: equal, fixed weights, or Betas.

The kernel of Betas is apart from those of pmf.py, which have to be there before a server serves; revenue's is in revenue.py.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits import betas
from bandits._jit import FLOATS, FLOATS_OUT, INTS, entry, inlined
from bandits.posterior import ARMS, FLOOR, HEADER, KIND, Kind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@inlined
def floored(packed: Floats, out: Floats) -> None:
    """Mix the floor into a pmf."""
    n, floor = out.size, packed[FLOOR]
    for i in range(n):
        out[i] = (1.0 - floor) * out[i] + floor / n


@entry(FLOATS, INTS, FLOATS_OUT, nogil=True)
def among_betas(packed: Floats, arms: Ints, out: Floats) -> None:
    """Fill out (f8[n]) with the floored probability of each Beta to be the greatest."""
    shapes = np.empty((arms.size, 2))
    for i in range(arms.size):
        shapes[i, 0] = packed[HEADER + arms[i]]
        shapes[i, 1] = packed[HEADER + int(packed[ARMS]) + arms[i]]
    betas.greatest(shapes, out)
    floored(packed, out)


def weighted(packed: Floats, arms: Ints, out: Floats) -> None:
    """Fill out (f8[n]) with the arms' fixed weights, normalised and floored; equal for UNIFORM and where all are zero."""
    weights = packed[HEADER + arms] if packed[KIND] == Kind.FIXED else np.ones(arms.size)
    total, floor = math.fsum(weights.tolist()), packed[FLOOR]
    out[:] = weights / total if total > 0.0 else 1.0 / arms.size
    out *= 1.0 - floor
    out += floor / arms.size
