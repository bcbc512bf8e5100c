"""How far arms may lie from each other where nothing else tells them apart: the prior of the constant of `auto`.

In trials a prior means little where rewards are rare: beside a rate of .5 % one trial's is a deviation of 7 %, and an arm that
nobody knows looks like the best of all. Here it is in parts of the rate: a deviation is the arms' common mean, which is
what Beta(1, 1/mean - 1) says, or the way from there to the best arm where that is further, so that a new arm may be the best.
"""

from __future__ import annotations

import math

from bandits.belief import pool
from bandits.evidence import CONSTANT
from bandits.posterior import Floats, Sums


def precision(sums: Sums) -> float:
    """Trials that an arm's prior counts for, CONSTANT or more; CONSTANT while nobody earned anything.

    For rewards that cannot be negative. A deviation d of a prior is worth variance / d^2 trials.
    """
    slot, seen = pool(sums), sums.n > 0.0
    if not slot.mean > 0.0:
        return CONSTANT
    n, s1 = sums.n[seen], sums.s1[seen]
    mean = _sum(s1 / (n + CONSTANT)) / _sum(n / (n + CONSTANT))
    near = max(CONSTANT, slot.variance / mean**2)
    best = float(((s1 + near * mean) / (n + near)).max())
    return max(CONSTANT, slot.variance / max(mean, best - mean) ** 2)


def _sum(values: Floats) -> float:
    """The same bits whatever numpy's vector width."""
    return math.fsum(values.tolist())
