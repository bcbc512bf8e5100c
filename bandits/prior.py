"""Priors of single arms: what a person expects of an arm, as trials that never took place."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bandits.posterior import Sums

Priors = Mapping[int, tuple[float, float]]  # by arm number: mean reward in [-1, 1], weight in trials


def with_priors(sums: Sums, priors: Priors | None) -> Sums:
    """The sums with the pseudo-trials of the priors.

    They stand at the constant alone, every other feature zero, and vary as the slot's rewards do, or as those of a
    coin where there are none yet. So many are rewarded as it takes of the slot's usual reward, or of the largest
    where there are none. They are added after forgetting: a prior is never discounted.
    """
    if not priors:
        return sums
    n, c, s1, s2 = (math.fsum(column.tolist()) for column in (sums.n, sums.rewarded, sums.s1, sums.s2))
    seen = max(s2 / n - (s1 / n) ** 2, 0.0) if n > 0.0 else None
    usual = abs(s1 / c) if c > 0.0 and s1 != 0.0 else 1.0
    made = Sums(*(column.copy() for column in sums))
    for arm, (mean, weight) in priors.items():
        variance = abs(mean) * (1.0 - abs(mean)) if seen is None else seen
        made.n[arm] += weight
        made.rewarded[arm] += weight * min(abs(mean) / usual, 1.0)
        made.s1[arm] += weight * mean
        made.s2[arm] += weight * min(mean * mean + variance, 1.0)
        made.xx[arm, 0, 0] += weight
        made.xr[arm, 0] += weight * mean
    return made
