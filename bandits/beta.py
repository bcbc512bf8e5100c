"""The Beta distribution on the logit axis t = ln(theta / (1 - theta)), where its density is smooth and log-concave.

With c = logit(a/(a+b)) the mode, g(t) = exp(norm + fall(t - c)). Written as the fall from the mode nothing cancels:
at a = b = 1e9 the textbook form loses ten digits.
"""

from __future__ import annotations

import math

from bandits._jit import jit
from bandits.special import stirling


@jit
def mode(a: float, b: float) -> float:
    """Where the density on the logit axis is greatest: also logit of the mean."""
    return math.log(a / b)


@jit
def width(a: float, b: float) -> float:
    """Standard deviation of the Gaussian that has the same curvature at the mode."""
    return math.sqrt((a + b) / a / b)


@jit
def norm(a: float, b: float) -> float:
    """ln g at the mode."""
    gap = stirling(a + b) - stirling(a) - stirling(b)
    return 0.5 * math.log(a / (a + b) * b / 6.283185307179586) + gap


@jit
def fall(a: float, b: float, delta: float) -> float:
    """ln g(mode + delta) - ln g(mode), never positive."""
    if delta <= 0.0:
        return a * delta - (a + b) * math.log1p(a / (a + b) * math.expm1(delta))
    return -b * delta - (a + b) * math.log1p(b / (a + b) * math.expm1(-delta))


@jit
def reach(a: float, b: float, side: float, depth: float) -> float:
    """Distance from the mode towards `side` (-1 or 1) at which the density has fallen by `depth` (logarithm)."""
    far = width(a, b)
    while fall(a, b, side * far) > -depth:
        far *= 2.0
    near = 0.5 * far
    for _ in range(12):
        middle = 0.5 * (near + far)
        if fall(a, b, side * middle) > -depth:
            near = middle
        else:
            far = middle
    return far
