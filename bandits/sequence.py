"""Intervals for a mean: at a sample size fixed beforehand, and at any time one cares to look.

The second kind is the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas
(arXiv 2103.06476, eq. 9; its tuning parameter from eq. 161). It holds at all sample sizes together, so looking at a
report every day and stopping when one likes what one sees costs nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05  # every interval here is a 95 % one
Z = 1.959963984540054  # the standard normal's 97.5 % point
TIGHTEST = 5000  # the sample size at which a sequence is narrowest; to be chosen before looking
_GROUPS = 20_000  # a bootstrap draws rows up to so many, groups of rows beyond


def halfwidth(variance: float, n: int, alpha: float = ALPHA, tightest: int = TIGHTEST) -> float:
    """Half the width at n observations of this variance (n times the squared standard error of the estimate)."""
    return math.sqrt(variance / n) * breadth(n, alpha, tightest)


def breadth(n: float, alpha: float = ALPHA, tightest: float = TIGHTEST) -> float:
    """Half the width in standard errors. Only n / tightest counts: n is any clock that goes as information comes in."""
    x = n * _square(alpha, tightest)
    return math.sqrt(2.0 * (x + 1.0) / x * (0.5 * math.log(x + 1.0) - math.log(alpha)))


def always_valid(z: float, n: float, alpha: float = ALPHA, tightest: float = TIGHTEST) -> float:
    """The p-value that holds at any time: the least level whose sequence, tuned as that of `alpha`, leaves out what is z
    standard errors away. 1 / p is the e-value of a normal mixture.
    """
    x = n * _square(alpha, tightest)
    return min(1.0, math.exp(0.5 * math.log(x + 1.0) - 0.5 * z * z * x / (x + 1.0)))


def _square(alpha: float, tightest: float) -> float:
    """rho^2, eq. 161."""
    level = -2.0 * math.log(alpha)
    return (level + math.log(level + 1.0)) / tightest


def bootstrap(
    top: NDArray[np.float64], bottom: NDArray[np.float64], replicates: int, random: np.random.Generator
) -> tuple[float, float]:
    """The percentile bootstrap's interval for sum(top) / sum(bottom); both f8[n], one pair a row.

    Beyond 20,000 rows they are dealt round into that many groups first: sums over groups vary as sums over rows do,
    and a hundred million rows take no longer.
    """
    if top.size > _GROUPS:
        group = np.arange(top.size) % _GROUPS
        top, bottom = (np.bincount(group, column).astype(np.float64) for column in (top, bottom))
    values = np.empty(replicates)
    for b in range(replicates):
        drawn = random.integers(0, top.size, top.size)
        below = float(bottom[drawn].sum())
        values[b] = top[drawn].sum() / below if below > 0.0 else 0.0
    low, high = np.quantile(values, (ALPHA / 2, 1.0 - ALPHA / 2))
    return float(low), float(high)
