"""Whether an arm does harm under some metric: a guardrail's test, which may be looked at as often as one likes.

An arm is harmful where the interval of bandits/effect.py that holds at any time leaves out all that the guardrail allows. Arms and
guardrails of the experiment share 1 %, so that of a hundred experiments without harm at most one ever pauses an arm; as only
one end of an interval pauses, both together may miss twice as often. *Most*: the mean total of the arm's own trials. *Drop* and *rise*: what a trial earns relative to one of the
holdout, trials weighed by 1 / propensity, so that neither whom the policy chose an arm for nor when it did makes it look better
or worse, and rewards that have not come yet are missing on both sides alike.

Few rewards say little of their own error, and an arm that earns none at all must still be found out, as must one of which everybody
complains. So errors are never taken to be smaller than they would be at the bound.
"""

from __future__ import annotations

import enum
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.effect import BUCKETS, Sums, compare, variances
from bandits.posterior import Floats

FALSE_PAUSES = 0.01  # share of experiments without harm in which an arm may ever be paused


class Kind(enum.Enum):
    """What is bounded."""

    MOST = "max"  # the mean, from above
    DROP = "max_drop"  # the share by which it is below the holdout's
    RISE = "max_rise"  # the share by which it is above the holdout's


class Bound(NamedTuple):
    """A guardrail on one metric; `limit` above 0 for MOST, in [0, 1) for DROP, from 0 for RISE."""

    kind: Kind
    limit: float

    @property
    def factor(self) -> float:
        """What the arm's mean may be, in parts of what it is compared with."""
        return {Kind.MOST: 1.0, Kind.DROP: 1.0 - self.limit, Kind.RISE: 1.0 + self.limit}[self.kind]


class Evidence(NamedTuple):
    """Row 0 the arm, row 1 the holdout (of MOST nothing). `size` and `rate` are of the side of `earner`."""

    weight: Floats  # f8[2,B]: trials by bucket of subjects, as they are worth
    total: Floats  # f8[2,B]: of their rewards
    squares: Floats  # f8[2]: sums of squared weights
    size: float  # a usual reward, squared (bandits/effect.py)
    rate: float  # share of trials with a reward
    costs: tuple[float, float] = (0.0, 0.0)  # of a trial of either side, which the totals are without; not of MOST


class Judged(NamedTuple):
    """The mean (MOST), or how far it is above the holdout's, as a share of that; nan while it is too early."""

    estimate: float
    low: float  # of the interval at the guardrail's level; of shares it may be endless
    high: float
    error: float  # standard error
    early: bool
    harm: bool


EARLY = Judged(math.nan, math.nan, math.nan, math.nan, early=True, harm=False)


def level(arms: int, guardrails: int) -> float:
    """How often one interval may miss, at either end, where so many arms may be paused by so many guardrails."""
    return 2.0 * FALSE_PAUSES / max(arms * guardrails, 1)


def earner(bound: Bound) -> int:
    """The row of Evidence that earns more where there is harm: the holdout's of a drop, else the arm's."""
    return 1 if bound.kind is Kind.DROP else 0


def suspects(bound: Bound, own: Floats, drawn: Floats, holdout: Floats) -> NDArray[np.bool_]:
    """bool[K]: arms whose mean is beyond the bound, by chance or not: the only ones worth a test. f8[K] each, nan: none."""
    with np.errstate(invalid="ignore"):
        if bound.kind is Kind.MOST:
            return np.asarray(own > bound.limit)
        if bound.kind is Kind.DROP:
            return np.asarray(drawn < bound.factor * holdout)
        return np.asarray(drawn > bound.factor * holdout)


def judge(bound: Bound, seen: Evidence, alpha: float) -> Judged:
    """What is known of an arm at the level `alpha`.

    EARLY until subjects of 20 buckets earned something on the side of `earner`, and the trials of both are worth 20 rewards.
    """
    rich, factor = earner(bound), bound.factor
    sums, squares = Sums(seen.weight, seen.total * np.array([[1.0], [factor]])), seen.squares
    if bound.kind is Kind.MOST:
        own = seen.weight[0]
        sums, squares = Sums(np.stack([own, own]), np.stack([seen.total[0], bound.limit * own])), squares[[0, 0]]
    trials = sums.weight.sum(axis=1)
    if not (trials > 0.0).all() or int((sums.total[rich] != 0.0).sum()) < BUCKETS:
        return EARLY
    worth = trials * trials / squares
    if float(worth.min()) * seen.rate < BUCKETS:
        return EARLY
    taken = np.array(seen.costs)[:, None] * seen.weight * np.array([[1.0], [factor]])
    left = sums if not any(seen.costs) else Sums(sums.weight, sums.total - taken)
    found = compare(left, seen.size, alpha, _least(bound, seen, sums, worth))
    if found.control < 0.0:
        return EARLY  # a share of what is below 0 means nothing
    harm = found.high < 0.0 if bound.kind is Kind.DROP else found.low > 0.0
    if bound.kind is Kind.MOST:
        low, high = bound.limit + found.low, bound.limit + found.high
        return Judged(found.treated, low, high, found.error, early=False, harm=harm)
    shares = (found.relative, found.relative_low, found.relative_high)
    estimate, low, high = (factor * (1.0 + share) - 1.0 for share in shares)
    return Judged(estimate, low, high, factor * found.relative_error, early=False, harm=harm)


def _least(bound: Bound, seen: Evidence, sums: Sums, worth: Floats) -> tuple[float, float]:
    """Squared errors that the two sides have at the bound, where both earn the same, whatever the rewards that came are like.

    Rewards of 0 and 1 vary as their mean allows, others as those of the side that earns more, and no trial is quite like the
    rest. Between buckets of subjects one side varies as the other does.
    """
    rich, most = earner(bound), bound.kind is Kind.MOST
    side = 0 if most else 1 - rich
    square = seen.size / seen.rate**2
    usual = float(seen.total[rich].sum() / seen.weight[rich].sum()) / seen.rate
    level_row = 0 if bound.kind is Kind.RISE else 1
    mean = float(sums.total[level_row].sum() / sums.weight[level_row].sum())
    spread = mean * square / usual - mean * mean if usual != 0.0 else 0.0
    least = [0.0, 0.0]
    least[side] = max(spread, square / worth[side]) / worth[side]
    if not most:
        beside = float(variances(sums)[rich] * worth[rich] / worth[side]) * max(bound.factor, 1.0 / bound.factor)
        least[side] = max(least[side], beside)
    return least[0], least[1]
