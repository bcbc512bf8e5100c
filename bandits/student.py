"""Student's t about 0 with scale 1; above GAUSSIAN degrees of freedom it is taken as the normal distribution."""

from __future__ import annotations

import math

from bandits._jit import jit
from bandits.special import betainc, stirling

GAUSSIAN = 200.0


@jit
def norm(dof: float) -> float:
    """ln of the density at 0."""
    if dof > GAUSSIAN:
        return -0.9189385332046727
    half = 0.5 * dof
    # ln Gamma(half + 1/2) - ln Gamma(half) - ln(pi dof)/2 with the large terms of Stirling's series cancelled
    gap = half * math.log1p(0.5 / half) - 0.5 + stirling(half + 0.5) - stirling(half)
    return gap - 0.9189385332046727


@jit
def fall(dof: float, z: float) -> float:
    """ln density(z) - ln density(0)."""
    if dof > GAUSSIAN:
        return -0.5 * z * z
    return -0.5 * (dof + 1.0) * math.log(1.0 + z * z / dof)


@jit
def reach(dof: float, depth: float) -> float:
    """The z at which the density has fallen by `depth` (logarithm)."""
    if dof > GAUSSIAN:
        return math.sqrt(2.0 * depth)
    return math.sqrt(dof * math.expm1(2.0 * depth / (dof + 1.0)))


@jit
def cdf(dof: float, z: float) -> float:
    """P(T <= z), relatively exact in the lower tail."""
    if dof > GAUSSIAN:
        return 0.5 * math.erfc(-z * 0.7071067811865476)
    square = z * z
    tail = 0.5 * betainc(0.5 * dof, 0.5, dof / (dof + square), square / (dof + square))
    return tail if z <= 0.0 else 1.0 - tail
