"""What buckets tell of a level: of all arms together (season, outage), or of one arm's ratio to what it was.

Rewards are counted in units of phi = sum r^2 / sum r, so that their variance is about their number, as that of Poisson
counts: S ln l - E l for S rewards where E were expected at the level 1. Levels are hidden Markov chains on logarithmic
grids (chain.py). Half of their jumps end at 1, and how often they jump is chosen by evidence from a ladder of rates.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOATS, FLOATS2, FLOATS2_OUT, FLOATS_OUT, INT, INTS, entry
from bandits.chain import forward, smooth
from bandits.posterior import Floats

DAY_MS = 86_400_000
CALM_MS = 200 * DAY_MS  # expected time between jumps of any arm where nothing else is known
STEP = 8.0  # of the ladder of rates,
FASTEST = 0.15  # a fine bucket, the last of them
DEAR = 2.0  # nats that a faster rate must be worth, a step
BASE = 0.5  # share of jumps that end at 1
SPREAD = 2.0  # octaves, the deviation of the others


class Grid(NamedTuple):
    """The values that a level takes."""

    values: Floats  # f8[G]
    logs: Floats  # f8[G]
    ends: Floats  # f8[G]: where jumps end
    start: Floats  # f8[G]: belief before the first bucket
    near: int  # places apart that count as the same value


class Path(NamedTuple):
    """What a chain says bucket by bucket, up to the last one."""

    grid: Grid
    like: Floats  # f8[B,G]
    hop: Floats  # f8[B]: of the rate that has the evidence
    steps: Floats  # f8[B]: log likelihood of each bucket given those before
    now: Floats  # f8[G]: belief in the last, over all rates


class Smooth(NamedTuple):
    """What it says of each bucket given all."""

    belief: Floats  # f8[B,G]
    same: Floats  # f8[B]: probability that it is now what it was
    mean: Floats  # f8[B]


def grid(exponents: NDArray[np.float64], known: float, near: int) -> Grid:
    """Values 2^exponents (0 among them); `known` is the share of levels that begin at 1."""
    values = np.array([2.0**e for e in exponents.tolist()])
    spread = np.array([math.exp(-0.5 * (e / SPREAD) ** 2) if e else 0.0 for e in exponents.tolist()])
    ends = np.where(values == 1.0, BASE, (1.0 - BASE) * spread / math.fsum(spread.tolist()))
    logs = np.array([math.log(v) for v in values.tolist()])
    return Grid(values, logs, ends, (1.0 - known) * ends + known * (values == 1.0), near)


STEPS = np.array([-6, -5, -4, -3, -2.5, -2, -1.5, -1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3])
COMMON = grid(STEPS, 0.0, 0)
ALONE = grid(STEPS, 0.98, 0)  # of an arm: it begins as its past as a whole says, or nearly
OWN = grid(np.arange(-20, 21) / 4.0, 0.98, 1)


@entry(FLOATS, FLOATS, FLOATS, FLOATS, FLOATS2_OUT, FLOATS_OUT, nogil=True)
def poisson(seen: Floats, expected: Floats, values: Floats, logs: Floats, like: Floats, top: Floats) -> None:
    """Fill like (f8[B,G]) with the likelihood of each value over the greatest, and top (f8[B]) with the latter's log."""
    for b in range(seen.shape[0]):
        top[b] = -math.inf
        for g in range(values.shape[0]):
            like[b, g] = seen[b] * logs[g] - expected[b] * values[g]
            top[b] = max(top[b], like[b, g])
        for g in range(values.shape[0]):
            like[b, g] = math.exp(like[b, g] - top[b])


@entry(INTS, FLOATS, INT, FLOATS2_OUT, nogil=True)
def hops(middle: NDArray[np.int64], rates: Floats, fine: int, out: Floats) -> None:
    """Fill out (f8[R,B]) with the probability of a jump between the middles of buckets; middle i8[B] in ms / 2."""
    for r in range(rates.shape[0]):
        out[r, 0] = 0.0
        for b in range(1, middle.shape[0]):
            out[r, b] = 1.0 - math.pow(1.0 - rates[r], (middle[b] - middle[b - 1]) / (2.0 * fine))


def ladder(fine: int, arms: int) -> Floats:
    """f8[R]: probabilities of a jump a fine bucket, slowest first.

    The more arms, the rarer are an arm's: what all of them are watched with then grows as the root of their number.
    """
    rates = [min(fine / (CALM_MS * max(arms, 1)), FASTEST)]
    while rates[-1] * STEP < FASTEST:
        rates.append(rates[-1] * STEP)
    return np.array([*rates, FASTEST])


@entry(FLOATS2, FLOATS, FLOATS_OUT, nogil=True)
def means(belief: Floats, values: Floats, out: Floats) -> None:
    """Fill out (f8[B]) with the mean of the values (f8[G]) under each bucket's belief (f8[B,G])."""
    for b in range(belief.shape[0]):
        out[b] = 0.0
        for g in range(values.shape[0]):
            out[b] += belief[b, g] * values[g]


def told(seen: Floats, expected: Floats, of: Grid) -> tuple[Floats, Floats]:
    """What each bucket tells of each value: `like` and `top` as the chain takes them."""
    like, top = np.zeros((len(seen), len(of.values))), np.zeros(len(seen))
    poisson(seen, expected, of.values, of.logs, like, top)
    return like, top


def path(seen: Floats, due: Floats, rates: Floats, of: Grid) -> Path:
    """The level that explains seen (f8[B]) where so many were due (f8[B]); rates f8[R,B], see hops."""
    like, top = told(seen, due, of)
    steps, now, found = np.zeros((len(rates), len(seen))), np.zeros((len(rates), len(of.values))), []
    for r, hop in enumerate(rates):
        forward(like, top, hop, of.ends, of.start, now[r], steps[r])
        found.append(math.fsum(steps[r].tolist()) - DEAR * r)
    best = int(np.argmax(found))
    odds = [math.exp(score - found[best]) for score in found]
    mixed = np.array([math.fsum(o * v for o, v in zip(odds, column, strict=True)) for column in now.T.tolist()])
    return Path(of, like, rates[best], steps[best], mixed / math.fsum(odds))


def smoothed(of: Path) -> Smooth:
    """The same given all buckets."""
    belief, same, mean = np.zeros_like(of.like), np.zeros(len(of.like)), np.zeros(len(of.like))
    smooth(of.like, of.hop, of.grid.ends, of.grid.start, of.grid.near, belief, same)
    means(belief, of.grid.values, mean)
    return Smooth(belief, same, mean)


def steady(buckets: int) -> Smooth:
    """A level that is 1 throughout."""
    ones = np.ones(buckets)
    return Smooth(np.tile(COMMON.values == 1.0, (buckets, 1)).astype(np.float64), ones, ones)
