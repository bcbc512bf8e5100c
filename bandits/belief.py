"""From sums to posteriors, one function per policy: (sums, settings, arm numbers) -> Posterior.

Settings are complete (policy.Policy.complete): the defaults stand in the table of policies and nowhere else.
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

Settings = Mapping[str, float]
Arms = NDArray[np.int64]

LEAST_B = 1e-8  # of an inverse-gamma scale: rewards that never varied still leave some doubt


class Pool(NamedTuple):
    """All arms of a slot together: trials, mean reward, raw variance; noise is a standard deviation, shrunk."""

    trials: float
    mean: float
    variance: float
    noise: float


def pool(sums: Sums) -> Pool:
    """The pool. Sums by fsum: the same bits on every machine, whatever numpy's vector width."""
    n, s1, s2 = (math.fsum(column.tolist()) for column in (sums.n, sums.s1, sums.s2))
    mean = s1 / n if n > 0.0 else 0.0
    square = max(0.0, s2 - mean * s1)
    # Two trials of variance 1/4 (a coin's) come first: a few equal rewards are no proof of no noise.
    noise = math.sqrt((square + 2 * 0.25) / (max(n, 0.0) + 2))
    return Pool(n, mean, square / n if n > 0.0 else 0.0, noise)


def given(settings: Settings, name: str, learned: float) -> float:
    """A setting whose default is nan, or where nobody set it what was learned from the data."""
    value = float(settings.get(name, math.nan))
    return learned if math.isnan(value) else value


def student(sums: Sums, settings: Settings, arms: Arms) -> Floats:
    """f8[K,3]: mean, scale, dof of each arm's mean reward under the Normal-Inverse-Gamma model (Murphy 2007, 3).

    b is summed from squares that cannot be negative: within the arm, and between its mean and the prior's.
    """
    slot = pool(sums)
    m0, kappa0, a0 = given(settings, "m0", slot.mean), settings["kappa0"], settings["a0"]
    b0 = max(LEAST_B, given(settings, "b0", a0 * slot.variance))
    n, s1, s2 = (np.zeros_like(column) for column in (sums.n, sums.s1, sums.s2))
    n[arms], s1[arms], s2[arms] = np.maximum(sums.n[arms], 0.0), sums.s1[arms], sums.s2[arms]
    own = np.divide(s1, n, out=np.full_like(s1, m0), where=n > 0.0)
    kappa = kappa0 + n
    mean = m0 + n / kappa * (own - m0)
    a = a0 + 0.5 * n
    b = b0 + 0.5 * (np.maximum(s2 - n * own * own, 0.0) + kappa0 * n / kappa * (own - m0) ** 2)
    return np.stack([mean, np.sqrt(b / (a * kappa)), 2.0 * a], axis=1)


def context_free(kind: Kind, par: Floats, belief: Floats, settings: Settings) -> Posterior:
    """A posterior that reads no features."""
    theta, cov = belief[:, :1].copy(), (belief[:, 1:2] ** 2)[:, :, None]
    return pack(kind, par, theta, cov, belief[:, 2].copy(), 0.0, np.zeros(0), settings["floor"])


def beta(sums: Sums, settings: Settings, arms: Arms) -> Posterior:
    """Beta-Bernoulli Thompson sampling on rewarded or not; fractional counts are fine."""
    par = np.zeros((sums.n.size, 3))
    par[:, 0], par[:, 1] = settings["prior_a"], settings["prior_b"]
    par[arms, 0] += np.maximum(sums.rewarded[arms], 0.0)
    par[arms, 1] += np.maximum(sums.n[arms] - sums.rewarded[arms], 0.0)
    return context_free(Kind.BETA, par, np.zeros_like(par), settings)


def nig(sums: Sums, settings: Settings, arms: Arms) -> Posterior:
    """Normal-Inverse-Gamma Thompson sampling on the reward."""
    par = student(sums, settings, arms)
    return context_free(Kind.NIG, par, par, settings)


def uniform(sums: Sums, settings: Settings, arms: Arms, prior: Settings) -> Posterior:
    """Every eligible arm alike; the belief is that of nig with the settings `prior`, for reports."""
    return context_free(Kind.UNIFORM, np.zeros((sums.n.size, 3)), student(sums, prior, arms), settings)


def fixed(sums: Sums, settings: Settings, arms: Arms, prior: Settings) -> Posterior:
    """Given weights, settings {"0": weight of arm number 0, ...}, missing 0; the belief is as uniform's."""
    par = np.zeros((sums.n.size, 3))
    par[:, 0] = [max(0.0, settings.get(str(k), 0.0)) for k in range(len(par))]
    return context_free(Kind.FIXED, par, student(sums, prior, arms), settings)


class Ridge(NamedTuple):
    """A regression per arm: coefficients, inverse precision, mu' Lambda mu, and the prior mean of the intercept."""

    theta: Floats  # f8[K,d]
    inverse: Floats  # f8[K,d,d]
    square: Floats  # f8[K]
    m0: float


def ridge(sums: Sums, settings: Settings, arms: Arms, mean: float) -> Ridge:
    """The regressions; an arm not in `arms` has the prior."""
    weight = settings["lambda"]
    m0 = mean if settings["pooled"] >= 0.5 else 0.0
    theta, square = np.zeros_like(sums.xr), np.full(sums.n.size, weight * m0 * m0)
    theta[:, 0] = m0
    inverse = np.broadcast_to(np.eye(theta.shape[1]) / weight, sums.xx.shape).copy()
    regress(sums.xx, sums.xr, weight, m0, arms, theta, inverse, square)
    return Ridge(theta, inverse, square, m0)


def linucb(sums: Sums, settings: Settings, arms: Arms) -> Posterior:
    """Disjoint LinUCB; the width's unit is the noise, so alpha means the same for every experiment."""
    slot = pool(sums)
    fit = ridge(sums, settings, arms, slot.mean)
    noise = given(settings, "noise", slot.noise)
    grid = half_normal(POINTS) if settings["randomised"] >= 0.5 else np.ones(1)
    dof = np.full(sums.n.size, np.inf)
    alpha, floor = settings["alpha"], settings["floor"]
    return pack(
        Kind.LINUCB, np.zeros((sums.n.size, 3)), fit.theta, noise * noise * fit.inverse, dof, alpha, grid, floor
    )


def lints(sums: Sums, settings: Settings, arms: Arms) -> Posterior:
    """Normal-Inverse-Gamma linear Thompson sampling: at x arm k scores t_{2a}(x.mu, (b/a) x' Lambda^-1 x)."""
    slot = pool(sums)
    fit = ridge(sums, settings, arms, slot.mean)
    a0 = settings["a0"]
    a, b = np.full(sums.n.size, a0), np.full(sums.n.size, max(LEAST_B, given(settings, "b0", a0 * slot.variance)))
    a[arms] += 0.5 * np.maximum(sums.n[arms], 0.0)
    prior = settings["lambda"] * fit.m0 * fit.m0
    b[arms] += 0.5 * np.maximum(sums.s2[arms] + prior - fit.square[arms], 0.0)
    cov = (b / a)[:, None, None] * fit.inverse
    return pack(Kind.LINTS, np.zeros((sums.n.size, 3)), fit.theta, cov, 2.0 * a, 0.0, np.zeros(0), settings["floor"])
