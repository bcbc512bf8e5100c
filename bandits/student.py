"""Student's t about 0 with scale 1; above GAUSSIAN degrees of freedom it is taken as the normal distribution."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

GAUSSIAN = 200.0
TAIL = 1e-11  # what is beyond `reach` on either side, at most, and at least a third of it

# Rows of a belief about several: centre, scale, degrees of freedom, ln density at 0 and reach of each, all given, and room.
CENTRE, SCALE, DOF, NORM, UPPER, ABOVE = range(6)
REACH = UPPER  # what is given in that row


def norm(dof: float) -> float:
    """ln of the density at 0, within 1e-13."""
    if dof > GAUSSIAN:
        return -0.9189385332046727
    return math.lgamma(0.5 * dof + 0.5) - math.lgamma(0.5 * dof) - 0.5 * math.log(math.pi * dof)


def reach(dof: float) -> float:
    """The z beyond which less than TAIL is left.

    With u = 1 + z^2/dof and f_0 the density at 0, P(T > z) < f_0 sqrt(1/dof + 1/z^2) u^(-dof/2); here z > 3.
    Below 0.2 degrees of freedom it is cut at 1e54.
    """
    if dof > GAUSSIAN:
        return math.sqrt(2.0 * (norm(dof) + 0.5 * math.log(1.0 / 9.0) - math.log(TAIL)))
    depth = norm(dof) + 0.5 * math.log(1.0 / dof + 1.0 / 9.0) - math.log(TAIL)
    return math.sqrt(dof * math.expm1(min(2.0 * depth / dof, 250.0)))


def laws(dof: NDArray[np.float64]) -> NDArray[np.float64]:
    """f8[3,K] of dof (f8[K], above 0): dof, ln density at 0, reach. Constants of a snapshot."""
    each = [(norm(d), reach(d)) for d in dof.tolist()]
    return np.array([dof, *zip(*each, strict=True)]) if each else np.zeros((3, 0))
