"""What another policy would have earned, from the log of the one that chose: off-policy evaluation.

Definitions as in Saito, Aihara, Matsutani, Narita: "Open Bandit Dataset and Pipeline" (NeurIPS 2021), w = target
probability / logged propensity:
IPS    mean(w r)
SNIPS  sum(w r) / sum(w)
DM     mean(sum_a target(a) q(x, a)), q a ridge regression an arm, fitted on the other folds; a point without an interval,
       as the spread of q over rows says nothing of q's own error: such an interval held the truth in 0 to 15 % of logs
DR     DM + mean(w (r - q(x, a)))
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.sequence import Z, bootstrap, halfwidth

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FOLDS = 3
LEAST_ESS = 100.0  # effective rows
MOST_SHARE = 0.05  # of all weight on a single row
SHOWS = 10  # an arm that was expected to be shown less often than this is not supported
MOST_UNSUPPORTED = 0.1  # of the target's choices
_TILT = 5.0  # standard errors by which the mean weight may miss 1
_REPLICATES = 1000
_SEED = 20_260_101
_BLOCK = 4096


class Logged(NamedTuple):
    """n rows, at most one of any unit, and what the target policy would have done in each.

    propensity: of the logged arm, in (0, 1]. x[:, 0] = 1. target: the target's pmf. fold: 0..FOLDS-1; a target that was
    learned from the log must have been learned from the rows of other folds only.
    """

    arm: Ints  # i8[n]
    propensity: Floats  # f8[n]
    reward: Floats  # f8[n]
    x: Floats  # f8[n,d]
    target: Floats  # f8[n,K]
    fold: Ints  # i8[n]


class Support(NamedTuple):
    """How much of the target the log can speak of; `refused` says why it cannot, "" where it can."""

    rows: int
    ess: float  # (sum w)^2 / sum w^2: rows of the target's own that the log is worth
    share: float  # largest weight / sum of weights
    mean_weight: float  # 1 where propensities are true and the target is supported
    unsupported: float  # estimated share of the target's choices that the log shows too rarely
    refused: str


class Estimate(NamedTuple):
    """One estimator's answer; the intervals are normal, bootstrap and anytime-valid ones, each of 95 %.

    Error and intervals are nan where none can be given.
    """

    name: str
    value: float
    error: float  # standard error
    low: float
    high: float
    boot_low: float
    boot_high: float
    any_low: float
    any_high: float


def folds(n: int) -> Ints:
    """i8[n], the fold of each row: equal shares, shuffled by a fixed seed.

    Dealt out in turn they would follow any rhythm in the log: a visitor from every country once in each fold, or never.
    """
    return np.random.default_rng(_SEED).permutation(np.arange(n, dtype=np.int64) % FOLDS)


def weights(log: Logged) -> Floats:
    """f8[n], the importance weights."""
    taken: Floats = log.target[np.arange(log.arm.size), log.arm]
    return taken / log.propensity


def pooled(log: Logged, held: Bools) -> Logged:
    """Rows of two draws over the same traffic, those of a holdout (`held`) beside the policy's: each side counts by the rows it is worth.

    Both tell of the same mean, so weights that do not look at rewards leave no bias; a side that is worth little must not
    drown the other only as it has more rows. Propensities are changed so that weights average 1 as before.
    """
    w, sides = weights(log), (held, ~held)
    worth = [_worth(w[side]) for side in sides]
    if max(worth) <= 0.0 or not held.any():
        return log
    propensity = log.propensity.copy()
    for side, rows in zip(sides, worth, strict=True):
        share = rows / math.fsum(worth)
        propensity[side] = propensity[side] * (side.sum() / held.size) / share if share > 0.0 else math.inf
    return log._replace(propensity=propensity)


def _worth(w: Floats) -> float:
    """Rows of the target's own that these weights are worth."""
    return float(w.sum()) ** 2 / float((w * w).sum()) if w.any() else 0.0


def support(log: Logged) -> Support:
    """Whether the log can answer for this target at all."""
    n, w = log.arm.size, weights(log)
    total, squares = float(w.sum()), float((w * w).sum())
    if total <= 0.0:
        return Support(n, 0.0, 0.0, 0.0, 1.0, "the log never shows an arm that the policy would choose")
    never = np.bincount(log.arm, minlength=log.target.shape[1]) == 0
    rare = float(w[log.propensity < SHOWS / n].sum()) / n
    unsupported = float(log.target[:, never].sum()) / n + rare
    ess, share, mean = total * total / squares, float(w.max()) / total, total / n
    return Support(n, ess, share, mean, unsupported, _refusal(w, ess, share, mean, unsupported))


def _refusal(w: Floats, ess: float, share: float, mean: float, unsupported: float) -> str:
    """The plain reason, "" for none."""
    if ess < LEAST_ESS:
        return f"the effective sample size of {w.size:,} rows is {ess:,.1f}, at least {LEAST_ESS:.0f} is needed"
    if share > MOST_SHARE:
        return f"one trial alone makes up {share:.0%} of the estimate, more than the {MOST_SHARE:.0%} that are allowed"
    if unsupported > MOST_UNSUPPORTED:
        return (
            f"{min(unsupported, 1.0):.0%} of the policy's choices are arms that the log had little chance to show (fewer "
            f"than {SHOWS} times), more than the {MOST_UNSUPPORTED:.0%} that are allowed"
        )
    if abs(mean - 1.0) > _TILT * float(w.std()) / math.sqrt(w.size) + 1e-6:
        return (
            f"its trials weigh {mean:.3f} on average, where it should be 1: either the policy chooses arms that could not "
            "have been drawn, or the logged propensities are not the true ones"
        )
    return ""


def regression(x: Floats, arm: Ints, reward: Floats, arms: int, ridge: float = 1.0) -> Floats:
    """f8[K,d]: an arm's expected reward is theta_a.x; ridge towards the mean of all rows on the constant."""
    d = x.shape[1]
    mean = float(reward.mean()) if reward.size else 0.0
    theta = np.zeros((arms, d))
    theta[:, 0] = mean
    for a in np.unique(arm):
        own = x[arm == a]
        pull = own.T @ (reward[arm == a] - mean)
        theta[a] += np.linalg.solve(own.T @ own + ridge * np.eye(d), pull)
    return theta


def model(log: Logged) -> tuple[Floats, Floats]:
    """f8[n] twice: the model's value of the target at each row, and of the arm that was shown; cross-fitted."""
    value, shown = np.empty(log.arm.size), np.empty(log.arm.size)
    for fold in range(FOLDS):
        rest = log.fold != fold
        theta = regression(log.x[rest], log.arm[rest], log.reward[rest], log.target.shape[1])
        mine = np.flatnonzero(log.fold == fold)
        for start in range(0, mine.size, _BLOCK):  # n x K at once may not fit
            rows = mine[start : start + _BLOCK]
            value[rows] = ((log.x[rows] @ theta.T) * log.target[rows]).sum(axis=1)
            shown[rows] = (log.x[rows] * theta[log.arm[rows]]).sum(axis=1)
    return value, shown


def estimate(name: str, top: Floats, bottom: Floats) -> Estimate:
    """sum(top) / sum(bottom) with its intervals; the error is that of the ratio to first order (n - 1)."""
    n = top.size
    value = float(top.sum() / bottom.sum())
    scores = (top - value * bottom) / float(bottom.mean())
    variance = float((scores * scores).sum()) / max(n - 1, 1)
    error, half = math.sqrt(variance / n), halfwidth(variance, n)
    boot = bootstrap(top, bottom, _REPLICATES, np.random.default_rng(_SEED))
    return Estimate(name, value, error, value - Z * error, value + Z * error, *boot, value - half, value + half)


def logged(reward: Floats) -> Estimate:
    """What the logging policy itself earned on the same rows."""
    return estimate("logged", reward, np.ones(reward.size))


def estimates(log: Logged) -> tuple[Estimate, ...]:
    """All four, whatever `support` says of them: ask it first."""
    w, one = weights(log), np.ones(log.arm.size)
    value, shown = model(log)
    return (
        estimate("IPS", w * log.reward, one),
        estimate("SNIPS", w * log.reward, w),
        Estimate("DM", float(value.mean()), *[math.nan] * 7),
        estimate("DR", value + w * (log.reward - shown), one),
    )
