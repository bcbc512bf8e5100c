"""What trials say of each arm, for people: mean, interval, chance to be best, expected loss.

The same for every algorithm: how choices are made plays no part in what is believed of them. An arm's mean at the slot's
average context comes from its own trials alone, and is believed as a Beta distribution on the range that the metric
has: for a metric of 0 and 1 that of Jeffreys, (s + 1/2, n - s + 1/2); for others the one of the same mean and variance.
So no belief leaves the range, and none is narrower than the arm's own trials make it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits import quadrature
from bandits._jit import FLOATS, FLOATS2, FLOATS2_OUT, FLOATS3, entry
from bandits.linear import factorise
from bandits.pmf import BETA_STEP
from bandits.posterior import BETA_NODES, Floats, Sums
from bandits.prior import Priors, with_priors
from bandits.rule import rule

SMALL = 1e-3  # prior precision of the constant: what is left of an arm without trials
RIDGE = 1.0  # of the features: where an arm was shown to few, its mean is not extrapolated
SURE = 1e12  # trials that a belief is worth at the most


class Seen(NamedTuple):
    """An arm's own trials, moved to the average context: f8[K] each; in all of them r is normalised as in Sums."""

    n: Floats  # trials they are worth there, no more than there were
    s1: Floats  # sum of r
    s2: Floats  # sum of r^2
    slot: Floats  # f8[4]: n, rewarded, s1, s2 of all arms together


class Span(NamedTuple):
    """What a mean can be, normalised; `binary`: a trial earns nothing or `high`."""

    low: float
    high: float
    binary: bool


class Summary(NamedTuple):
    """f8[n] each, in units of the normalised reward."""

    mean: Floats
    low: Floats  # 95 % credible interval, equal tails; the trials' own mean is always inside
    high: Floats
    best: Floats  # P(this arm has the greatest mean)
    loss: Floats  # E[greatest mean] - mean: what is given up by always showing this arm


def seen(sums: Sums, x: Floats, priors: Priors | None = None) -> Seen:
    """The arms' trials at x (f8[d]), those of their priors among them; sums are over main columns."""
    out, own = np.zeros((3, sums.n.size)), with_priors(sums, priors)
    at_average(own.xx, own.xr, own.s2, own.n, x, out)
    every = (sums.n, sums.rewarded, sums.s1, sums.s2)
    return Seen(out[0], out[1], out[2], np.array([math.fsum(column.tolist()) for column in every]))


@entry(FLOATS3, FLOATS2, FLOATS, FLOATS, FLOATS, FLOATS2_OUT, nogil=True)
def at_average(xx: Floats, xr: Floats, s2: Floats, n: Floats, x: Floats, out: Floats) -> None:
    """Fill out (f8[3,K]) with n, s1, s2 of a Seen: a ridge regression an arm, A = S + D.

    The mean at x is b'A^-1 x; it is known as well as that of 1 / x'A^-1 x trials, at most n as x[0] = 1.
    """
    d = x.size
    y, z = np.empty(d), np.empty(d)
    for k in range(n.size):
        if n[k] <= 0.0:
            continue
        work = xx[k].copy()
        for i in range(d):
            work[i, i] += SMALL if i == 0 else RIDGE
            y[i], z[i] = xr[k, i], x[i]
        factorise(work)
        mean, spread, left = 0.0, 0.0, s2[k]
        for i in range(d):
            y[i] /= work[i, i]
            z[i] /= work[i, i]
            for j in range(i + 1, d):
                y[j] -= work[i, j] * y[i]
                z[j] -= work[i, j] * z[i]
            mean += y[i] * z[i]
            spread += z[i] * z[i]
            left -= y[i] * y[i]
        out[0, k] = min(max(1.0 / spread - SMALL, 0.0), n[k])
        out[1, k] = mean / spread * out[0, k] / max(1.0 / spread - SMALL, 1e-300)
        own = out[1, k] / out[0, k] if out[0, k] > 0.0 else 0.0
        out[2, k] = out[0, k] * (max(left, 0.0) / n[k] + own * own)


def shapes(given: Seen, span: Span) -> Floats:
    """f8[K,3]: a and b of each arm's Beta on the span, and the mean of its own trials, 0 to 1 on the span."""
    width = span.high - span.low
    s1 = np.clip(given.s1, span.low * given.n, span.high * given.n)
    out = np.empty((given.n.size, 3))
    if span.binary:
        own = s1 / span.high
        out[:, 0], out[:, 1] = own + 0.5, given.n - own + 0.5
    else:
        first, second = _prior_trial(given.slot, span)
        total = given.n + 1.0
        mean = (s1 + first) / total
        variance = np.maximum((given.s2 + second) / total - mean * mean, 0.0) / (total + 1.0) / (width * width)
        at = (mean - span.low) / width
        worth = np.clip(at * (1.0 - at) / np.maximum(variance, at * (1.0 - at) / SURE + 1e-300) - 1.0, 1.0, SURE)
        out[:, 0], out[:, 1] = np.maximum(at * worth, 1e-3), np.maximum((1.0 - at) * worth, 1e-3)
    prior = out[:, 0] / (out[:, 0] + out[:, 1])
    raw = np.divide(s1, given.n, out=prior * width + span.low, where=given.n > 0.0)
    out[:, 2] = (raw - span.low) / width
    return out


def _prior_trial(slot: Floats, span: Span) -> tuple[float, float]:
    """r and r^2 of the one trial that stands before an arm's own: a usual reward, or half of one.

    Half, as in Jeffreys' prior, where next to no trial is rewarded: an arm without a reward is not worth nothing, and
    not surely little. A whole one where all are: a rating of 4 out of 5 is not half missing.
    """
    n, rewarded, s1, s2 = slot.tolist()
    if rewarded <= 0.0 or n <= 0.0:
        usual = span.high if span.high > 0.0 else span.low
        return 0.5 * usual, 0.5 * usual * usual
    share = 0.5 * (1.0 + min((rewarded + 0.5) / (n + 1.0), 1.0))
    return share * s1 / rewarded, share * s2 / rewarded


def summary(given: Seen, span: Span, arms: NDArray[np.int64]) -> Summary:
    """The beliefs about `arms` (i8[n]): Beta distributions, compared by exact quadrature."""
    out = np.empty((5, arms.size))
    summarise(shapes(given, span)[arms], rule(BETA_NODES), out)
    width = span.high - span.low
    mean, low, high = (span.low + width * out[row] for row in range(3))
    return Summary(mean, low, high, out[3], width * out[4])


@entry(FLOATS2, FLOATS, FLOATS2_OUT, nogil=True)
def summarise(given: Floats, rule: Floats, out: Floats) -> None:
    """Fill out (f8[5,n]) with the rows of a Summary, on the span from 0 to 1; `given` as from shapes()."""
    table = np.empty((7, given.shape[0]))
    for i in range(given.shape[0]):
        table[quadrature.SHAPE, i], table[quadrature.SECOND, i] = given[i, 0], given[i, 1]
    greatest = quadrature.greatest(quadrature.BETA, table, rule, BETA_STEP, out[3])
    for i in range(given.shape[0]):
        mean = given[i, 0] / (given[i, 0] + given[i, 1])
        low = quadrature.natural(quadrature.BETA, quadrature.quantile(quadrature.BETA, table, i, 0.025, rule))
        high = quadrature.natural(quadrature.BETA, quadrature.quantile(quadrature.BETA, table, i, 0.975, rule))
        out[0, i] = mean
        out[1, i], out[2, i] = min(low, mean, given[i, 2]), max(high, mean, given[i, 2])
        out[4, i] = max(0.0, greatest - mean)
