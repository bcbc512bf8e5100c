"""From sums to posteriors, one function per policy: (sums, settings, arm numbers, priors of arms) -> Posterior.

Settings are complete (policy.Policy.complete): the defaults stand in the table of policies and nowhere else. What is
pooled over arms is pooled from what was seen, without the priors of arms: a prior moves its arm alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.linear import regress
from bandits.linucb import POINTS, half_normal
from bandits.posterior import Floats, Kind, Posterior, Sums, pack
from bandits.prior import Priors, with_priors

Settings = Mapping[str, float]
Arms = NDArray[np.int64]

LEAST_B = 1e-8  # of an inverse-gamma scale: rewards that never varied still leave some doubt
TINY = 1e-24  # of a noise: the square of a unit of the finest grid


class Pool(NamedTuple):
    """All arms of a slot together: trials, mean reward, raw variance; noise is a standard deviation, shrunk."""

    trials: float
    mean: float
    variance: float
    noise: float
    size: float  # of a reward: the root of the mean square of those that were not 0; 1 where there are none
    unseen: float  # variance of a trial before it is seen


def pool(sums: Sums) -> Pool:
    """The pool. Sums by fsum: the same bits on every machine, whatever numpy's vector width.

    Everything scales with the rewards: what range was declared plays no part.
    """
    n, c, s1, s2 = (math.fsum(column.tolist()) for column in (sums.n, sums.rewarded, sums.s1, sums.s2))
    mean = s1 / n if n > 0.0 else 0.0
    square = max(0.0, s2 - mean * s1)
    # Two trials that nobody has seen come first: a few equal rewards are no proof of no noise.
    unseen = _unseen(n, c, s1, s2)
    noise = math.sqrt((square + 2.0 * unseen) / (max(n, 0.0) + 2.0))
    size = math.sqrt(s2 / c) if c > 0.0 and s2 > 0.0 else 1.0
    return Pool(n, mean, square / n if n > 0.0 else 0.0, noise, size, unseen)


def _unseen(n: float, c: float, s1: float, s2: float) -> float:
    """The variance of a trial before it is seen: that of a coin for "rewarded or not", and that of what a reward is.

    Where rewards differ from each other (it is no yes or no), the coin counts for as much as trials go without one.
    """
    if c <= 0.0 or s2 <= 0.0:
        return 0.25
    value = s1 / c
    spread = max(s2 / c - value * value, 0.0)
    varies = spread > 1e-10 * value * value
    without = (n - c + 0.5) / (n + 1.0) if varies else 1.0
    return spread + 0.25 * without * value * value


def given(settings: Settings, name: str, learned: float) -> float:
    """A setting whose default is nan, or where nobody set it what was learned from the data."""
    value = float(settings.get(name, math.nan))
    return learned if math.isnan(value) else value


def student(sums: Sums, settings: Settings, arms: Arms, priors: Priors | None = None) -> Floats:
    """f8[K,3]: mean, scale, dof of each arm's mean reward under the Normal-Inverse-Gamma model (Murphy 2007, 3).

    b is summed from squares that cannot be negative: within the arm, and between its mean and the prior's.
    """
    slot = pool(sums)
    sums = with_priors(sums, priors)
    m0, kappa0 = given(settings, "m0", slot.mean), settings["kappa0"]
    a0, b0 = settings["a0"], settings["b0"]
    n, s1, s2 = (np.zeros_like(column) for column in (sums.n, sums.s1, sums.s2))
    n[arms], s1[arms], s2[arms] = np.maximum(sums.n[arms], 0.0), sums.s1[arms], sums.s2[arms]
    own = np.divide(s1, n, out=np.full_like(s1, m0), where=n > 0.0)
    kappa = kappa0 + n
    mean = m0 + n / kappa * (own - m0)
    gap = np.maximum(s2 - n * own * own, 0.0) + kappa0 * n / kappa * (own - m0) ** 2
    a, variance = noises(gap, n, (a0, b0), slot.noise**2, slot.unseen)
    return np.stack([mean, np.sqrt(variance / kappa), 2.0 * a], axis=1)


def noises(gap: Floats, n: Floats, prior: tuple[float, float], pooled: float, unseen: float) -> tuple[Floats, Floats]:
    """a (f8[K]) and b / a (f8[K]), the noise, of inverse-gamma beliefs (prior a0, b0) from squares `gap` of n trials.

    An arm that had no reward yet shows no variance at all. So where b0 is not set (nan), an arm's noise is that of its
    own trials after two that nobody has seen, and never less than that of all arms together.
    """
    a0, b0 = prior
    a = a0 + 0.5 * n
    if not math.isnan(b0):
        return a, (max(LEAST_B, b0) + 0.5 * gap) / a
    return a, np.maximum((a0 * max(pooled, 0.5 * unseen) + 0.5 * gap) / a, max(pooled, TINY))


def context_free(kind: Kind, par: Floats, belief: Floats, settings: Settings) -> Posterior:
    """A posterior that reads no features."""
    theta, cov = belief[:, :1].copy(), (belief[:, 1:2] ** 2)[:, :, None]
    return pack(kind, par, theta, cov, belief[:, 2].copy(), 0.0, np.zeros(0), settings["floor"])


def beta(sums: Sums, settings: Settings, arms: Arms, priors: Priors | None = None) -> Posterior:
    """Beta-Bernoulli Thompson sampling on rewarded or not; fractional counts are fine."""
    sums = with_priors(sums, priors)
    par = np.zeros((sums.n.size, 3))
    par[:, 0], par[:, 1] = settings["prior_a"], settings["prior_b"]
    par[arms, 0] += np.maximum(sums.rewarded[arms], 0.0)
    par[arms, 1] += np.maximum(sums.n[arms] - sums.rewarded[arms], 0.0)
    return context_free(Kind.BETA, par, np.zeros_like(par), settings)


def nig(sums: Sums, settings: Settings, arms: Arms, priors: Priors | None = None) -> Posterior:
    """Normal-Inverse-Gamma Thompson sampling on the reward."""
    par = student(sums, settings, arms, priors)
    return context_free(Kind.NIG, par, par, settings)


def uniform(sums: Sums, settings: Settings, arms: Arms, priors: Priors | None = None) -> Posterior:
    """Every eligible arm alike."""
    par = np.zeros((sums.n.size, 3))
    return context_free(Kind.UNIFORM, par, par, settings)


def fixed(sums: Sums, settings: Settings, arms: Arms, priors: Priors | None = None) -> Posterior:
    """Given weights, settings {"0": weight of arm number 0, ...}, missing 0."""
    par = np.zeros((sums.n.size, 3))
    par[:, 0] = [max(0.0, settings.get(str(k), 0.0)) for k in range(len(par))]
    return context_free(Kind.FIXED, par, np.zeros_like(par), settings)


class Ridge(NamedTuple):
    """A regression per arm: coefficients, inverse precision, and the squares that are left, the prior's included."""

    theta: Floats  # f8[K,d]
    inverse: Floats  # f8[K,d,d]
    left: Floats  # f8[K]
    trials: Floats  # f8[K], the prior's included; 0 where nobody asked
    pooled: float  # what is left of a trial, over all arms and without their priors: a variance


def ridge(sums: Sums, settings: Settings, arms: Arms, priors: Priors | None = None) -> Ridge:
    """The regressions; an arm not in `arms` has the prior. A fit of more coefficients than trials leaves no residual,
    but there is noise: so what the prior takes counts as left, too.
    """
    slot, weight = pool(sums), settings["lambda"]
    m0 = slot.mean if settings["pooled"] >= 0.5 else 0.0
    start, theta, square = weight * m0 * m0, np.zeros_like(sums.xr), np.zeros(sums.n.size)
    inverse = np.broadcast_to(np.eye(theta.shape[1]) / weight, sums.xx.shape).copy()
    theta[:, 0] = m0
    seen = np.flatnonzero(sums.n > 0.0)
    regress(sums.xx, sums.xr, weight, m0, seen, theta, inverse, square)
    left = np.zeros(sums.n.size)
    left[seen] = np.maximum(sums.s2[seen] + start - square[seen], 0.0)
    pooled = (math.fsum(left.tolist()) + 2.0 * slot.noise**2) / (max(slot.trials, 0.0) + 2.0)
    believed = with_priors(sums, priors)
    own = np.array(sorted(set(priors or {}) & set(arms.tolist())), np.int64)
    if own.size:
        regress(believed.xx, believed.xr, weight, m0, own, theta, inverse, square)
        left[own] = np.maximum(believed.s2[own] + start - square[own], 0.0)
    for k in set(seen.tolist()) - set(arms.tolist()):
        theta[k], inverse[k], left[k] = np.eye(1, theta.shape[1])[0] * m0, np.eye(theta.shape[1]) / weight, 0.0
    trials = np.zeros(sums.n.size)
    trials[arms] = np.maximum(believed.n[arms], 0.0)
    return Ridge(theta, inverse, left, trials, pooled)


def linucb(sums: Sums, settings: Settings, arms: Arms, priors: Priors | None = None) -> Posterior:
    """Disjoint LinUCB; the width's unit is the noise, so alpha means the same for every experiment.

    The noise is that of all arms, and for an arm of few trials no less than what two unseen ones leave of it.
    """
    slot, fit = pool(sums), ridge(sums, settings, arms, priors)
    noise = settings["noise"]
    variance = np.maximum(slot.noise**2, 2.0 * slot.unseen / (fit.trials + 4.0))
    if not math.isnan(noise):
        variance = np.full(sums.n.size, noise * noise)
    grid = half_normal(POINTS) if settings["randomised"] >= 0.5 else np.ones(1)
    dof = np.full(sums.n.size, np.inf)
    alpha, floor = settings["alpha"], settings["floor"]
    cov, par = variance[:, None, None] * fit.inverse, np.zeros((sums.n.size, 3))
    return pack(Kind.LINUCB, par, fit.theta, cov, dof, alpha, grid, floor)


def lints(sums: Sums, settings: Settings, arms: Arms, priors: Priors | None = None) -> Posterior:
    """Normal-Inverse-Gamma linear Thompson sampling: at x arm k scores t_{2a}(x.mu, (b/a) x' Lambda^-1 x).

    The noise is what the regressions leave; see `noises`.
    """
    fit = ridge(sums, settings, arms, priors)
    prior = (settings["a0"], settings["b0"])
    a, variance = noises(fit.left, fit.trials, prior, fit.pooled, pool(sums).unseen)
    cov, par = variance[:, None, None] * fit.inverse, np.zeros((sums.n.size, 3))
    return pack(Kind.LINTS, par, fit.theta, cov, 2.0 * a, 0.0, np.zeros(0), settings["floor"])
