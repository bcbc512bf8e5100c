"""What goes along with earning more: a visitor's features, an arm's attributes; differences of means with 95 % intervals.

Features are compared inside arms, so that whom a policy shows what plays no part: the slope over strata (segment, arm) of what a trial
earned on a column, strata weighed by what they tell. A trial's variance follows its mean as rewards do that differ little in size,
v(m) = m q - m^2 with q the mean square over the mean of a reward (exact for 0 and 1): so a value that few visitors have and that earns
twice as much is not taken for surer than it is. Visits of one subject that go together widen it (`crowding`).

Attributes are compared between arms, and arms are few: they differ beyond their attributes, by a variance that is estimated (Paule and
Mandel 1982), and what is said is meant for further arms, too. Student's quantile at arms - 2 degrees of freedom, as in Knapp and
Hartung 2003.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.effect import heavier
from bandits.posterior import Floats, Sums
from bandits.sequence import Z

Bools = NDArray[np.bool_]
FEWEST = 20.0  # rewards on either side, before a feature is spoken of
ARMS = 2  # with an attribute, and as many without


class Contrast(NamedTuple):
    """f8[d] each, by column; nan where nothing can be said."""

    difference: Floats  # of means: with a value or without it; of an amount for one deviation more
    error: Floats
    low: Floats
    high: Floats
    share: Floats  # of trials that have the value
    step: Floats  # of an amount: its deviation inside strata, in units of the column; else 0


def features(sums: Sums, crowding: Floats, absent: NDArray[np.int64]) -> Contrast:
    """Every main column but the constant; sums over strata instead of arms, crowding f8[strata].

    absent i8[d]: for an amount the column that says it is missing, -1 for none; -2 for columns that are 0 or 1.
    """
    columns = sums.xr.shape[1]
    out = Contrast(*np.full((6, columns), np.nan))
    used = sums.xx[:, 0, 0] >= 2.0
    if not used.any() or not sums.s1.any():
        return out
    sums, crowding = Sums(*(column[used] for column in sums)), crowding[used]
    for j in range(1, columns):
        found = _value(sums, crowding, j) if absent[j] == -2 else _amount(sums, crowding, j, int(absent[j]))
        if found is not None:
            difference, error, share, step = found
            wide = Z * error
            for column, told in zip(
                out, (difference, error, difference - wide, difference + wide, share, step), strict=True
            ):
                column[j] = told
    return out


def _noise(sums: Sums, mean: Floats) -> Floats:
    """Variances of trials that have these means, by stratum."""
    total = float(sums.s1.sum())
    if (sums.s1 < 0.0).any() or total <= 0.0:
        n = float(sums.n.sum())
        return np.full(mean.shape, max(float(sums.s2.sum()) / n - (total / n) ** 2, 0.0))
    return np.maximum(mean * float(sums.s2.sum()) / total - mean * mean, 0.0)


def _means(sums: Sums) -> Floats:
    """Mean of each stratum's trials, with one more of the mean of all: a stratum without a reward is not without noise."""
    n = sums.xx[:, 0, 0]
    return np.asarray((sums.s1 + float(sums.s1.sum()) / float(n.sum())) / (n + 1.0))


def _value(sums: Sums, crowding: Floats, j: int) -> tuple[float, float, float, float] | None:
    n, shown = sums.xx[:, 0, 0], sums.xx[:, 0, j]
    size = float(np.abs(sums.s1).sum()) / max(float(sums.rewarded.sum()), 1.0)
    mine = float(sums.xr[:, j].sum())
    if min(mine, float(sums.s1.sum()) - mine) < FEWEST * size:
        return None
    part = shown / n
    inside = float((n * part * (1.0 - part)).sum())
    if inside <= 0.0:
        return None
    slope = float((sums.xr[:, j] - part * sums.s1).sum()) / inside
    mean = _means(sums)
    one, other = (np.maximum(mean + slope * off, 0.0) for off in (1.0 - part, -part))
    spread = n * part * (1.0 - part) * ((1.0 - part) * _noise(sums, one) + part * _noise(sums, other))
    return slope, math.sqrt(float((crowding * spread).sum())) / inside, float(shown.sum() / n.sum()), 0.0


def _amount(sums: Sums, crowding: Floats, j: int, gone: int) -> tuple[float, float, float, float] | None:
    n = sums.xx[:, 0, 0]
    if float(sums.rewarded.sum()) < 2.0 * FEWEST:
        return None

    def about(i: int, k: int) -> Floats:
        """Sums of products about the means of strata."""
        return np.asarray(sums.xx[:, i, k] - sums.xx[:, 0, i] * sums.xx[:, 0, k] / n)

    square, product = about(j, j), sums.xr[:, j] - sums.xx[:, 0, j] / n * sums.s1
    there = n
    if gone >= 0:  # those of whom it is not known stand at 0: what they earn otherwise is taken out
        missing, both = about(gone, gone), about(j, gone)
        ratio = np.divide(both, missing, out=np.zeros_like(both), where=missing > 1e-9)
        square, product = (
            square - ratio * both,
            product - ratio * (sums.xr[:, gone] - sums.xx[:, 0, gone] / n * sums.s1),
        )
        there = n - sums.xx[:, 0, gone]
    inside, known = float(square.sum()), float(there.sum())
    if inside <= 1e-6 * max(known, 1.0):
        return None
    step = math.sqrt(inside / known)
    error = math.sqrt(float((crowding * np.maximum(square, 0.0) * _noise(sums, _means(sums))).sum())) / inside
    return step * float(product.sum()) / inside, step * error, known / float(n.sum()), step


class Between(NamedTuple):
    """One attribute; nan where arms are too few."""

    difference: float  # of an arm with it and one without, or for one more of an amount
    error: float
    low: float
    high: float


NOTHING = Between(*[math.nan] * 4)


def attribute(mean: Floats, variance: Floats, z: Floats) -> Between:
    """Of arms' means (f8[K], known with these variances) on an attribute z (f8[K]: 0 or 1, or an amount)."""
    free = mean.size - 2
    if free < ARMS * 2 - 2 or np.unique(z).size < 2:
        return NOTHING
    between = _between(mean, variance, z)
    slope, error, _ = _fit(mean, variance + between, z)
    wide = heavier(Z, float(free)) * error
    return Between(slope, error, slope - wide, slope + wide)


def _fit(mean: Floats, variance: Floats, z: Floats) -> tuple[float, float, float]:
    """Slope, its error, and the sum of squares that are left, over their variances."""
    w = 1.0 / np.maximum(variance, 1e-30)
    middle, level = float((w * z).sum() / w.sum()), float((w * mean).sum() / w.sum())
    inside = float((w * (z - middle) ** 2).sum())
    slope = float((w * (z - middle) * mean).sum()) / inside
    left = float((w * (mean - level - slope * (z - middle)) ** 2).sum())
    return slope, 1.0 / math.sqrt(inside), left


def _between(mean: Floats, variance: Floats, z: Floats) -> float:
    """The variance between arms that makes what is left as large as it should be; 0 where less is left without one."""
    free = mean.size - 2
    if _fit(mean, variance, z)[2] <= free:
        return 0.0
    low, high = 0.0, float(np.ptp(mean)) ** 2 + float(variance.max())
    while _fit(mean, variance + high, z)[2] > free:
        high *= 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _fit(mean, variance + middle, z)[2] > free else (low, middle)
    return high
