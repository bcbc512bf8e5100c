"""What one way of choosing earns over another, absolute and relative, with intervals that hold at any time.

Subjects are what is random, not trials: somebody who comes twenty times is one draw. So sums are kept by subject bucket, a
salted hash, and errors are those of a ratio of sums over independent buckets (linearised, as for a cluster sample: Cochran,
Sampling Techniques, 1977, 6.3). The interval is the asymptotic confidence sequence of bandits/sequence.py at that error. Its
clock is how many rewards the data are worth, (usual reward / error)^2: it does not stand where rewards are rare, and repeat visits
do not drive it.

The relative interval is Fieller's at the sequence's width: every ratio q for which treated - q control is not told from 0.
A reward-poor control makes it wide or endless, never wrong.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bandits.posterior import Floats
from bandits.sequence import ALPHA, Z, always_valid, breadth

TIGHTEST = 400.0  # worth so many rewards an interval is narrowest, about 15 % of the mean to either side
BUCKETS = (
    20  # of subjects that earned something, on either side: with fewer an error is not known well enough to build on
)
DOUBT = 30.0  # degrees of freedom that a crowding of 1 stands for
WORTH = 5.0  # rewards that weighed trials should be worth


class Sums(NamedTuple):
    """By subject bucket, f8[2,B] each: row 0 what is judged, row 1 what it is compared with."""

    weight: Floats  # trials, each worth 1 / its propensity where that is what makes the two comparable
    total: Floats  # of their rewards, worth as much


class Effect(NamedTuple):
    """Per trial, in the unit of the totals; nan where there is none."""

    treated: float  # mean of row 0
    control: float  # mean of row 1
    difference: float
    error: float  # its standard error
    low: float  # the 95 % interval that holds at any time
    high: float
    relative: float  # difference / control
    relative_error: float
    relative_low: float  # may be -inf: the control may be worth next to nothing
    relative_high: float
    p: float  # that there is no difference: always valid
    fixed_low: float  # the 95 % interval for one look that was planned before anything was seen
    fixed_high: float


NONE = Effect(*[math.nan] * 13)


def within(found: Effect, span: float) -> Effect:
    """The intervals cut to what differences of means can be that lie no more than `span` apart: it loses no truth."""
    ends = (found.low, found.high, found.fixed_low, found.fixed_high)
    low, high, fixed_low, fixed_high = (min(max(end, -span), span) if not math.isnan(end) else end for end in ends)
    return found._replace(low=low, high=high, fixed_low=fixed_low, fixed_high=fixed_high)


def known(sums: Sums) -> bool:
    """Whether enough subjects earned something on both sides to speak of an error."""
    return earning(sums) >= BUCKETS


def earning(sums: Sums) -> int:
    """Buckets of subjects with a reward, on the side that has fewer."""
    return int((sums.total != 0.0).sum(axis=1).min())


def supported(sums: Sums, squares: Floats, rate: float) -> bool:
    """`known`, and for weighed trials that no few of them stand for most of the traffic.

    squares (f8[2]) are sums of squared weights, rate the share of trials with a reward. A side is worth (sum w)^2 / sum w^2
    trials; where these would bring next to no reward, its mean is that of the trials before odds fell, and so is its error.
    """
    total = sums.weight.sum(axis=1)
    return known(sums) and bool((rate * total * total >= WORTH * squares).all())


def compare(sums: Sums, size: float, alpha: float = ALPHA, least: tuple[float, float] = (0.0, 0.0)) -> Effect:
    """Row 0 over row 1. `size`: a usual reward for the clock, see `usual`; NONE where a side has no weight.

    Intervals that hold at any time, and p, are tuned for the level `alpha`. `least`: squared errors of the sides where these
    cannot be told from the few rewards of their own.
    """
    weight, total = sums.weight.sum(axis=1), sums.total.sum(axis=1)
    if min(weight) <= 0.0:
        return NONE
    mean = total / weight
    off, cov = _off(sums)
    np.fill_diagonal(cov, np.maximum(np.diag(cov), least))
    one, other = float(mean[0]), float(mean[1])
    difference, gap = one - other, off[0] - off[1]
    error = math.sqrt(max(cov[0, 0] - 2.0 * cov[0, 1] + cov[1, 1], 0.0))
    if error == 0.0:
        return Effect(one, other, difference, 0.0, *[math.nan] * 9)
    clock = size / error**2
    dof = freedom(gap) if gap.any() else gap.size - 1.0
    z = breadth(clock, alpha, TIGHTEST)
    wide = heavier(z, dof)
    ratio, ratio_error = relative(one, other, cov)
    below, above = fieller(one, other, cov, wide)
    once = heavier(Z, dof) * error
    return Effect(
        one, other, difference, error, difference - wide * error, difference + wide * error, ratio, ratio_error,
        below - 1.0, above - 1.0, always_valid(lighter(difference / error, dof), clock, alpha, TIGHTEST),
        difference - once, difference + once,
    )  # fmt: skip


def variances(sums: Sums) -> Floats:
    """f8[2]: the squared error of each side's mean."""
    return np.diag(_off(sums)[1]).copy()


def _off(sums: Sums) -> tuple[Floats, Floats]:
    """How far each bucket is off its side's mean, f8[2,B], of which errors are sums of squares; and these, f8[2,2]."""
    weight, total = sums.weight.sum(axis=1), sums.total.sum(axis=1)
    off = (sums.total - (total / weight)[:, None] * sums.weight) / weight[:, None]
    buckets = off.shape[1]
    return off, off @ off.T * (buckets / (buckets - 1.0))


def usual(n: float, rewarded: float, squares: float) -> float:
    """The square of a usual reward of a trial: (share rewarded) x (mean square). Divided by a squared error it is a number of
    rewards: for 0 and 1 it is the squared mean, and of a metric whose mean is about 0 it still says how large rewards are.
    """
    return rewarded / n * (squares / n) if n > 0.0 else 0.0


def crowding(trials: Floats, totals: Floats, variance: float) -> float:
    """How many times wider, squared, an error is than that of as many independent trials (Kish's design effect), at least 1.

    trials and totals f8[B] by bucket of subjects, variance that of a trial. It is 1 where everyone comes once; visits of one
    subject that go together make it larger. Drawn to 1 as long as few buckets tell.
    """
    n = float(trials.sum())
    if n <= 0.0 or variance <= 0.0:
        return 1.0
    off = totals - float(totals.sum()) / n * trials
    if not off.any():
        return 1.0
    found = float((off * off).sum()) * off.size / (off.size - 1.0) / (n * variance)
    dof = freedom(off)
    return max(1.0, 1.0 + (found - 1.0) * dof / (dof + DOUBT))


def freedom(gap: Floats) -> float:
    """Degrees of freedom of the variance that values f8[B] show: 2 B / (kurtosis - 1), at most B - 1.

    A few buckets that hold nearly all rewards, or nearly all visits, tell less of an error than 256 alike.
    """
    square = gap * gap
    total = float(square.sum())
    kurtosis = gap.size * float((square * square).sum()) / (total * total)
    return min(2.0 * gap.size / max(kurtosis - 1.0, 1e-9), gap.size - 1.0)


def heavier(z: float, dof: float) -> float:
    """Student's quantile where the normal one is z (Hill 1970: exp form of Wallace's approximation)."""
    return math.sqrt(dof * math.expm1(min(z * z / dof * _wallace(dof), 600.0)))


def lighter(t: float, dof: float) -> float:
    """The inverse of `heavier`: the normal quantile where Student's is t."""
    return math.copysign(math.sqrt(dof * math.log1p(t * t / dof) / _wallace(dof)), t)


def _wallace(dof: float) -> float:
    """((8 v + 3) / (8 v + 1))^2: Wallace 1959, z = (8v+1)/(8v+3) sqrt(v ln(1 + t^2/v))."""
    return ((8.0 * dof + 3.0) / (8.0 * dof + 1.0)) ** 2


def relative(one: float, other: float, cov: Floats) -> tuple[float, float]:
    """(one - other) / other and its error to first order; nan where the control earns nothing."""
    if other <= 0.0:
        return math.nan, math.nan
    ratio = one / other
    variance = (cov[0, 0] - 2.0 * ratio * cov[0, 1] + ratio * ratio * cov[1, 1]) / (other * other)
    return ratio - 1.0, math.sqrt(max(float(variance), 0.0))


def fieller(one: float, other: float, cov: Floats, z: float) -> tuple[float, float]:
    """All q with |one - q other| <= z se(one - q other), for a positive `other`; endless where that is not told from 0.

    The set is an interval only where `other` is told from 0; else it is the whole line, or all but a gap: -inf to inf.
    """
    a = other * other - z * z * float(cov[1, 1])
    if a <= 0.0 or other <= 0.0:
        return -math.inf, math.inf
    b = one * other - z * z * float(cov[0, 1])
    c = one * one - z * z * float(cov[0, 0])
    root = math.sqrt(max(b * b - a * c, 0.0))
    return (b - root) / a, (b + root) / a


def share_p(held: Floats, every: Floats, share: float) -> float:
    """Always-valid p-value that subjects were held out with this probability, from trials by bucket (f8[B] both).

    Trials of one subject are not independent, so what varies is judged between buckets, and the Dirichlet test of Lindon
    and Malek (2022), which counts each, would cry wolf. Low also where those held out come more or less often than others.
    """
    gap = held - share * every
    variance = float((gap * gap).sum())
    if variance <= 0.0 or int((every > 0.0).sum()) < BUCKETS:
        return 1.0
    z = lighter(float(gap.sum()) / math.sqrt(variance), freedom(gap))
    # What subjects have been told apart: the clock of a proportion.
    worth = share * (1.0 - share) * float(every.sum()) ** 2 / variance
    return always_valid(z, worth, tightest=10.0 * TIGHTEST)
