"""Did the arms change? A Bayes factor between one model for all of the past and two, before and after a cut.

-2 ln BF = sum over arms of the deviance of (all) less those of (before) and (after), with the prior of the slot's model
and, as noise, the arm's raw reward variance: with the variance that is left of a fit there were one to two false
alarms a run in worlds that did not change, with the raw one none (18 problems). Cuts are ends of time buckets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bandits.auto import Side, prepared, regression
from bandits.cells import DELAY_BINS
from bandits.evidence import Choice, forms, prior_of
from bandits.posterior import Floats, Sums
from bandits.state import State

THRESHOLD = 40.0
WORSE = 3.0  # standard errors by which what came after must fall short of what was known before,
LOSS = 0.2  # and share of it: less is a season, and starting again would cost more than it
BACK = (1, 2, 4, 8, 16, 32)  # buckets that the tests look back
PATIENCE = 4  # a bucket is judged when it is this many times older than 95 % of rewards take
PRIOR_TRIALS = 10.0
RARE = 20.0


def change(state: State, segment: int, now_ms: int, cut_ms: int, choice: Choice) -> int | None:
    """The time at which the segment's arms changed, a bucket's start after `cut_ms`, or None."""
    found: tuple[float, int] | None = None
    for at, before, after in _cuts(state, segment, now_ms, cut_ms):
        old, new = state.sums(segment, before), state.sums(segment, after)
        factor = log_factor(old, new, state, choice)
        if factor > THRESHOLD and (found is None or factor > found[0]) and worse(old, new, state, choice):
            found = factor, at
    return found[1] if found else None


def _cuts(state: State, segment: int, now_ms: int, cut_ms: int) -> Sequence[tuple[int, Floats, Floats]]:
    """(time, weights before, weights after) over the buckets that rewards had time to reach."""
    patience = PATIENCE * slow_ms(state, segment)
    shown = np.any(state.index[:, segment] >= 0, axis=1).tolist()
    ripe = [i for i, b in enumerate(state.buckets) if shown[i] and b.start >= cut_ms and b.end + patience <= now_ms]
    out = []
    for back in BACK:
        if back < len(ripe):
            before, after = np.zeros(len(state.buckets)), np.zeros(len(state.buckets))
            before[ripe[:-back]], after[ripe[-back:]] = 1.0, 1.0
            out.append((state.buckets[ripe[-back]].start, before, after))
    return out


def slow_ms(state: State, segment: int) -> int:
    """An upper bound of the delay of 95 % of first rewards so far."""
    seen = np.cumsum(state.delays[:, segment].sum(axis=0))
    if len(seen) == 0 or seen[-1] == 0:
        return 0
    return 1 << min(int(np.searchsorted(seen, math.ceil(0.95 * int(seen[-1])))), DELAY_BINS - 1) + 4


def log_factor(before: Sums, after: Sums, state: State, choice: Choice) -> float:
    """-2 ln of the Bayes factor of no change against a change."""
    both = Sums(*(a + b for a, b in zip(before, after, strict=True)))
    arms = np.flatnonzero((before.n > 0.0) & (after.n > 0.0))  # the others have nothing to say
    if len(arms) == 0:
        return 0.0
    side = Side(state.rules.design, choice)
    model, design, t = prepared(both, side)
    prior = prior_of(choice, design, model.xr.shape[1])
    scale = 1.0 / _noise(both)
    total = _deviance(model, prior, scale, arms)
    return total - sum(_deviance(prepared(s, side, t)[0], prior, scale, arms) for s in (before, after))


def worse(before: Sums, after: Sums, state: State, choice: Choice) -> bool:
    """Whether the rewards after a cut clearly fall short of what the model before it expects of them.

    A model that is only nearly right learns other coefficients as the policy shows an arm to other visitors, and then
    earns more than was expected. A change that asks for starting again costs rewards.
    """
    side = Side(state.rules.design, choice)
    arms = np.flatnonzero((before.n > 0.0) & (after.n > 0.0))
    model, design, t = prepared(before, side)
    prior = prior_of(choice, design, model.xr.shape[1])
    theta = regression(model, prior).theta
    seen = prepared(after, side, t)[0].xx[:, 0]
    expected = math.fsum((theta[arms] * seen[arms]).ravel().tolist())
    square = math.fsum((after.n * _noise(before) ** 2)[arms].tolist())
    short = expected - math.fsum(after.s1[arms].tolist())
    return short > WORSE * math.sqrt(square) and short > LOSS * abs(expected)


def _deviance(model: Sums, prior: Floats, scale: Floats, arms: NDArray[np.int64]) -> float:
    """-2 ln ML with known noise, without the squares of rewards, which are the same on both sides."""
    found = np.zeros(4)
    forms(model.xx, model.xr * scale[:, None], prior, arms, found)
    return float(found[1] - found[0] - found[2] * found[2] / found[3])


def _noise(sums: Sums) -> Floats:
    """f8[K], standard deviations of the arms' rewards, shrunk towards that of all arms and never below it.

    An arm with one rare reward in hundreds of trials seems to have no noise, and the next reward would be a change.
    For the same reason one reward in hundreds of trials of any arm is taken for no more than RARE variances.
    """
    n, s1, s2 = (math.fsum(column.tolist()) for column in (sums.n, sums.s1, sums.s2))
    typical = s2 / max(math.fsum(sums.rewarded.tolist()), 1.0)  # the square of one reward
    pooled = max(s2 / n - (s1 / n) ** 2, typical / RARE, 1e-9)
    own = np.maximum(sums.s2 - np.divide(sums.s1**2, sums.n, out=np.zeros_like(sums.n), where=sums.n > 0.0), 0.0)
    shrunk = (own + PRIOR_TRIALS * pooled) / (np.maximum(sums.n, 0.0) + PRIOR_TRIALS)
    return np.asarray(np.sqrt(np.maximum(shrunk, pooled)))
