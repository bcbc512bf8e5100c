"""Arms that changed inside: they please other visitors than before, though perhaps as many. Since when?

For each arm and each bucket that a change may have come before, the evidence of two regressions, before it and since, over
that of one for all of the past:

gain = ln ML(before) + ln ML(since) - ln ML(all),   -2 ln ML = Q / v + ln|S + D| - ln|D|,

Q the square that is left of the rewards (evidence.py). What was expected before follows the level that all arms share; what
is since does not: who earns from other visitors now did not fall with everyone. The noise v is that of all arms, or that
of a coin in either part that came up once more each way: a few trials that all went alike are sure of nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bandits._jit import FLOAT, FLOATS, FLOATS2, FLOATS2_OUT, FLOATS3, entry
from bandits.auto import Side, prepared
from bandits.evidence import Choice, prior_of
from bandits.linear import factorise
from bandits.posterior import Floats, Sums
from bandits.state import State, Weights

MOST = 40_000  # arms x columns^2: beyond, nothing is asked
SURE = 9.0  # nats that a change must be worth


class Change(NamedTuple):
    """Of an arm."""

    gain: float  # nats
    same: Floats  # f8[B]: probability that it is now what it was in the bucket


class Past(NamedTuple):
    """A segment's sums by bucket, all arms', in the basis of the choice."""

    buckets: list[Sums]
    prior: Floats  # f8[d]

    @classmethod
    def of(cls, state: State, segment: int, choice: Choice) -> Past | None:
        """None where there are no features, or too many."""
        side = Side(state.rules.design, choice)
        total, design, t = prepared(state.sums(segment), side)
        arms, d = total.xr.shape
        if d == 1 or arms * d * d > MOST:
            return None
        buckets, one = [], np.zeros((len(state.buckets), arms))
        for b in range(len(one)):
            one[:] = 0.0
            one[b] = 1.0
            buckets.append(prepared(state.sums(segment, Weights(one, one)), side, t)[0])
        return cls(buckets, prior_of(choice, design, d))

    def column(self, name: str) -> Floats:
        """f8[B,K]: n, s1 or s2."""
        return np.array([getattr(one, name) for one in self.buckets])


def changes(past: Past, come: Floats, level: Floats, shown: list[int]) -> dict[int, Change]:
    """Those of the arms that surely changed; come, level f8[B]."""
    n, s1, s2 = (past.column(name) for name in ("n", "s1", "s2"))
    trials, seen, square = (_sum(column) for column in (n, s1, s2))
    if seen <= 0.0:
        return {}
    mean = seen / max(_sum(n * (come * level)[:, None]), 1.0)
    found = {k: np.zeros((len(level) + 1, 4)) for k in shown}
    for k, out in found.items():
        xx = np.array([one.xx[k] for one in past.buckets])
        xr = np.array([one.xr[k] for one in past.buckets])
        splits(xx, xr, np.ascontiguousarray(s2[:, k]), come * level, come, past.prior, mean, out)
    left = _sum(np.array([min(out[-1, 0], float((out[:-1, 0] + out[:-1, 2]).min())) for out in found.values()]))
    raw, size = square / trials - (seen / trials) ** 2, square / seen
    noise = max(left + 2.0 * raw, 0.0) / (trials + 2.0)
    made = {}
    for k, out in found.items():
        gain = _gains(out, np.maximum(noise, coins(n[:, k], s1[:, k], s2[:, k], size)))
        if len(gain) and gain.max() > SURE:
            odds = [math.exp(g - float(gain.max())) for g in gain.tolist()]
            same = np.concatenate([[0.0], np.cumsum(odds)]) / math.fsum(odds)
            made[k] = Change(float(gain.max()), np.minimum(same, 1.0))
    return made


def _gains(out: Floats, noise: Floats) -> Floats:
    """f8[B-1]: of a change before each bucket but the first; noise f8[B-1]."""
    two = out[1:-1, 0] + out[1:-1, 2], out[1:-1, 1] + out[1:-1, 3]
    return np.asarray(-0.5 * ((two[0] - out[-1, 0]) / noise + two[1] - out[-1, 1]))


def coins(n: Floats, s1: Floats, s2: Floats, size: float) -> Floats:
    """f8[B-1]: the greater variance of before and since, for a change before each bucket but the first; n, s1, s2 f8[B].

    Infinite where there is nothing on either side. `size` is that of a reward.
    """
    made = []
    for step in (1, -1):
        trials, seen, square = (np.cumsum(column[::step])[:-1][::step] for column in (n, s1, s2))
        variance = (square + size * size) / (trials + 2.0) - ((seen + size) / (trials + 2.0)) ** 2
        made.append(np.where(trials > 0.0, np.maximum(variance, 0.0), math.inf))
    return np.maximum(made[0], made[1])


@entry(FLOATS3, FLOATS2, FLOATS, FLOATS, FLOATS, FLOATS, FLOAT, FLOATS2_OUT, nogil=True)
def splits(
    xx: Floats, xr: Floats, s2: Floats, level: Floats, since: Floats, prior: Floats, mean: float, out: Floats
) -> None:
    """Fill out (f8[B+1,4]) with Q and ln|S + D| - ln|D| of the buckets before each, and of those from it on.

    xx f8[B,d,d], xr f8[B,d], s2 f8[B]; what is expected before is times `level`, from then on times `since`, both f8[B]. The
    prior has the precisions `prior` (f8[d]) and `mean` on the constant.
    """
    buckets, d = xr.shape
    out[:] = 0.0
    for side in range(2):
        square, total, vector, work = 0.0, np.zeros((d, d)), np.zeros(d), np.empty((d, d))
        for step in range(buckets):
            b = step if side == 0 else buckets - 1 - step
            at = level[b] if side == 0 else since[b]
            square += s2[b]
            for i in range(d):
                vector[i] += at * xr[b, i]
                for j in range(d):
                    total[i, j] += at * at * xx[b, i, j]
                    work[i, j] = total[i, j]
                work[i, i] += prior[i]
            factorise(work)
            left, log = square + prior[0] * mean * mean, 0.0
            y = vector.copy()
            y[0] += prior[0] * mean
            for i in range(d):
                y[i] /= work[i, i]
                for j in range(i + 1, d):
                    y[j] -= work[i, j] * y[i]
                left -= y[i] * y[i]
                log += 2.0 * math.log(work[i, i]) - math.log(prior[i])
            place = b + 1 if side == 0 else b
            out[place, 2 * side] = max(left, 0.0)
            out[place, 2 * side + 1] = log


def _sum(values: Floats) -> float:
    """The same bits whatever numpy's vector width."""
    return math.fsum(values.ravel().tolist())
