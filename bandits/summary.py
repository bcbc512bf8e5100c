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

from bandits import betas
from bandits._jit import FLOATS, FLOATS2, FLOATS2_OUT, FLOATS3, FLOATS_OUT, entry
from bandits.cells import HISTORY, POLICY, REWARDED, count_offset
from bandits.linear import factorise
from bandits.posterior import Floats, Sums
from bandits.prior import Priors, with_priors

SMALL = 1e-3  # prior precision of the constant: what is left of an arm without trials
RIDGE = 1.0  # of the features: where an arm was shown to few, its mean is not extrapolated
ENOUGH = 30.0  # trials of an arm that was shown, before it is compared with others
SURE = 1e12  # trials that a belief is worth at the most
SPREADS = (1.0, 0.3, 0.1)  # of arms about their family's mean, in means


class Seen(NamedTuple):
    """An arm's own trials, moved to the average context: f8[K] each; in all of them r is normalised as in Sums."""

    n: Floats  # trials they are worth there, no more than there were
    s1: Floats  # sum of r
    s2: Floats  # sum of r^2
    slot: Floats  # f8[4]: n, rewarded, s1, s2 of all arms together
    costs: Floats | None = None  # f8[K]: of showing each, which its rewards are without; None: nothing


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


def early(trials: Floats, rewarded: Floats) -> bool:
    """Whether it is too early to say which arm is the best, f8[n] both: an arm was shown, but seldom, or only one has rewards,
    and few. (Where there is one arm alone there is nothing to say too early.)
    """
    few = (trials > 0.0) & (trials < ENOUGH)
    lonely = int((rewarded > 0.0).sum()) < 2 and float(rewarded.max(initial=0.0)) < ENOUGH
    return trials.size > 1 and (bool(few.any()) or lonely)


def soon(counts: NDArray[np.int64], metric: int) -> bool:
    """`early` of a segment's arms by their counts over all time (i8[n, .], see cells.py): what was forgotten was seen, too."""
    policy, history = (count_offset(metric, group) + REWARDED for group in (POLICY, HISTORY))
    trials, rewarded = counts[:, POLICY] + counts[:, HISTORY], counts[:, policy] + counts[:, history]
    return early(trials.astype(np.float64), rewarded.astype(np.float64))


def told(said: Summary, tried: NDArray[np.bool_], too_early: bool) -> Summary:
    """What is told of it to people: nothing expected of arms without a trial, and while it is too early no winner. nan else."""
    mean, low, high = (np.where(tried, column, np.nan) for column in (said.mean, said.low, said.high))
    unknown = np.full(said.best.size, np.nan)
    return Summary(mean, low, high, *((unknown, unknown) if too_early else (said.best, said.loss)))


def seen(sums: Sums, x: Floats, priors: Priors | None = None) -> Seen:
    """The arms' trials at x (f8[d]), those of their priors among them; sums are over main columns."""
    out, own = np.zeros((3, sums.n.size)), with_priors(sums, priors)
    at_average(own.xx, own.xr, own.s2, own.n, x, out)
    every = (sums.n, sums.rewarded, sums.s1, sums.s2)
    return Seen(out[0], out[1], out[2], np.array([math.fsum(column.tolist()) for column in every]))


def thinned(given: Seen, crowding: float) -> Seen:
    """The same as fewer trials: where visits of one subject go together, n of them tell as much as n / crowding."""
    return given._replace(n=given.n / crowding, s1=given.s1 / crowding, s2=given.s2 / crowding)


def net(given: Seen, span: Span) -> Span:
    """What a mean less the arm's costs can be."""
    if given.costs is None:
        return span
    low, high = span.low - float(given.costs.max()), span.high - float(given.costs.min())
    return Span(low, high, binary=False)


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
    """f8[K,3]: a and b of each arm's Beta on the span less costs, and the mean of its own trials, 0 to 1 on that.

    A cost moves an arm's mean and no variance. `span` is that of rewards.
    """
    costs, outer = (0.0 if given.costs is None else given.costs), net(given, span)
    width = outer.high - outer.low
    s1 = np.clip(given.s1, span.low * given.n, span.high * given.n)
    out = np.empty((given.n.size, 3))
    if outer.binary:
        own = s1 / span.high
        out[:, 0], out[:, 1] = own + 0.5, given.n - own + 0.5
    else:
        first, second = _prior_trial(given.slot, span)
        total = given.n + 1.0
        mean = (s1 + first) / total
        variance = np.maximum((given.s2 + second) / total - mean * mean, 0.0) / (total + 1.0) / (width * width)
        at = (mean - costs - outer.low) / width
        worth = np.clip(at * (1.0 - at) / np.maximum(variance, at * (1.0 - at) / SURE + 1e-300) - 1.0, 1.0, SURE)
        out[:, 0], out[:, 1] = np.maximum(at * worth, 1e-3), np.maximum((1.0 - at) * worth, 1e-3)
    out[:, 2] = out[:, 0] / (out[:, 0] + out[:, 1])
    raw = np.divide(s1, given.n, out=np.zeros_like(s1), where=given.n > 0.0)
    out[:, 2] = np.where(given.n > 0.0, (raw - costs - outer.low) / width, out[:, 2])
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
    """The beliefs about `arms` (i8[n]): Beta distributions, compared by exact quadrature.

    Mean and interval are an arm's own. Which is the best is asked of arms as a family, at several spreads of it.
    """
    own = shapes(given, span)[arms]
    span = net(given, span)
    width = span.high - span.low
    ends, best, loss = np.empty((3, arms.size)), np.zeros(arms.size), np.zeros(arms.size)
    intervals(own, ends)
    for weight, shape in families(own):
        odds = np.empty(arms.size)
        greatest = contest(shape, odds)
        best += weight * odds
        loss += weight * np.maximum(greatest - shape[:, 0] / shape.sum(axis=1), 0.0)
    mean, low, high = (span.low + width * row for row in ends)
    return Summary(mean, low, high, best / best.sum(), width * loss)


def families(own: Floats) -> list[tuple[float, Floats]]:
    """What all arms tell of each: (weight, shapes f8[n,2]) for every spread, by how likely the trials are under it.

    Arms of one experiment are alike. To compare them as if each could be anything is to find a winner too often: of
    many arms that are looked at many times one is ahead by luck.
    """
    s, n = np.maximum(own[:, 0] - 0.5, 0.0), np.maximum(own[:, 0] + own[:, 1] - 1.0, 0.0)
    s = np.minimum(s, n)
    found = []
    for spread in SPREADS:
        a0, b0 = _family(s, n, spread)
        likely = [
            _log_beta(a0 + x, b0 + m - x) - _log_beta(a0, b0) for x, m in zip(s.tolist(), n.tolist(), strict=True)
        ]
        found.append((math.fsum(likely), np.stack([a0 + s, b0 + n - s], axis=1)))
    most = max(weight for weight, _ in found)
    total = math.fsum(math.exp(weight - most) for weight, _ in found)
    return [(math.exp(weight - most) / total, np.ascontiguousarray(shape)) for weight, shape in found]


def _family(s: Floats, n: Floats, spread: float) -> tuple[float, float]:
    """a and b of the family from which arms of this spread come; its mean is theirs, those of more trials first."""
    weight, half = n, 0.5 / (math.fsum(n.tolist()) + 1.0)
    share = np.divide(s, n, out=np.zeros_like(s), where=n > 0.0)
    for _ in range(4):
        total = math.fsum(weight.tolist())
        middle = math.fsum((weight * share).tolist()) / total if total > 0.0 else 0.5
        mean = (1.0 - 2.0 * half) * middle + half  # as if half a trial had paid: never 0 or 1
        less = min(mean, 1.0 - mean)
        worth = max((1.0 - less) / (less * spread * spread) - 1.0, 1.0)
        weight = n / (n + worth)
    return mean * worth, (1.0 - mean) * worth


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


@entry(FLOATS2, FLOATS2_OUT, nogil=True)
def intervals(own: Floats, out: Floats) -> None:
    """Fill out (f8[3,n]) with mean, low and high, on the span from 0 to 1; `own` as from shapes()."""
    table = betas.table_of(own.copy())  # writable, as a pmf's: compiled once
    for i in range(own.shape[0]):
        mean = own[i, 0] / (own[i, 0] + own[i, 1])
        low, high = betas.natural(betas.quantile(table, i, 0.025)), betas.natural(betas.quantile(table, i, 0.975))
        out[0, i], out[1, i], out[2, i] = mean, min(low, mean, own[i, 2]), max(high, mean, own[i, 2])


@entry(FLOATS2, FLOATS_OUT, nogil=True)
def contest(shape: Floats, out: Floats) -> float:
    """Fill out (f8[n]) with P(each is the greatest) of Betas (a, b) = shape (f8[n,2]); returns E[greatest]."""
    return betas.greatest(shape.copy(), out)  # writable, as a pmf's: compiled once
