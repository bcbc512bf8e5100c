"""`auto`: what a user gets without choosing. A linear model per arm that finds out by itself how much prior it needs.

Prior precision and the use of products by evidence (evidence.py); from 20 arms on prior means learned from all arms
(hierarchy.py); a width with a smaller prior than the mean's, in the arm's own noise; the score is m + z alpha w with one
shared half-normal z (linucb.py). Constants are those of trials over 18 problems; they are coarse.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bandits.basis import back, basis, change
from bandits.belief import LEAST_B, Arms, Settings, given, pool
from bandits.evidence import Choice, choose, constant, prior_of
from bandits.expansion import Design, plain
from bandits.hierarchy import effects, invert_all, residuals, towards
from bandits.linucb import POINTS, half_normal
from bandits.posterior import Floats, Kind, Posterior, Sums, pack
from bandits.prior import Priors, with_priors

ALPHA = 0.8
ALPHA_MANY = 0.4  # where there are many arms: to learn all of them would take longer than there is
FLOOR = (0.01, 0.002)  # of a new slot, and of one that has seen enough
FLOOR_TRIALS = 0.5  # trials an arm gets from the floor alone while it stays at its highest
WIDTH_RIDGE = 0.3  # most prior precision in the width
MANY = 20  # arms from which on prior means are learned
SHARED = 0.3  # prior precision of the common mean, in units of D
ATTRIBUTE = 1.0  # and of the effect of an attribute's value on the constant
ATTRIBUTE_TIMES = 30.0  # times that of its effects on what features do
CLOSE = 30.0  # times D: how close arms are held to their means while these are learned
SWEEPS = 10
PRIOR_TRIALS = 10.0  # that the pooled noise counts for in an arm's own


class Side(NamedTuple):
    """What a slot knows beside its sums; all of it the same on every server."""

    design: Design | None = None  # None: main columns only
    choice: Choice | None = None  # None: chosen from these very sums
    groups: Floats | None = None  # f8[G,K]: which arms share a value of an attribute, 1 or 0
    least: float = -math.inf  # that a trial can earn, in units of the sums
    priors: Priors | None = None  # of single arms


class Fit(NamedTuple):
    """A regression per arm."""

    theta: Floats  # f8[K,d]
    noise: Floats  # f8[K], a variance
    mean: Floats  # f8[K,d], of the prior


def auto(sums: Sums, settings: Settings, arms: Arms, side: Side | None = None) -> Posterior:
    """The posterior; `sums` are over learning columns."""
    side = side or Side()
    design = side.design or plain(sums.xr.shape[1])
    choice = side.choice or chosen(sums, design)
    seen, main, t = prepared(sums, Side(design, choice))
    believed = prepared(with_priors(sums, side.priors), Side(design, choice), t)[0] if side.priors else seen
    sums, design = seen, main
    columns = sums.xr.shape[1]
    prior = prior_of(choice, design, columns)
    fit = regression(sums, prior, side.groups)
    width = prior_of(Choice(min(choice.ridge, WIDTH_RIDGE), choice.ratio), design, columns)
    own = np.array(sorted(side.priors or {}), np.int64)
    cov, solved = np.zeros_like(sums.xx), np.zeros_like(sums.xr)
    invert_all(believed.xx, believed.xr, prior, own, cov, solved)
    towards(cov, solved, prior, fit.mean, own, fit.theta)
    invert_all(believed.xx, believed.xr, width, arms, cov, solved)
    cov *= fit.noise[:, None, None]
    theta, cov = back(fit.theta, cov, t)
    par = np.zeros((sums.n.size, 3))
    par[:, 0] = fit.noise
    grid, dof = half_normal(POINTS).copy(), np.full(sums.n.size, np.inf)
    alpha, floor = (
        given(settings, "alpha", ALPHA_MANY if len(arms) >= MANY else ALPHA),
        given(settings, "floor", floor_of(sums, arms)),
    )
    return pack(
        Kind.LINUCB, par, theta, cov, dof, alpha, grid, floor, design if len(design.terms) else None, side.least
    )


def floor_of(sums: Sums, arms: Arms) -> float:
    """The floor where none is set: high while little is known, lower once every arm has some trials.

    A share of 1 % for ever is most of the regret of a slot that has learned (trials: geometric mean ratio to the best
    peer .62 at 0, .65 at .002, .70 at .01). Forgetting and a detected change take trials away and so raise it again.
    """
    trials = max(_sum(sums.n[arms]), 1.0)
    return min(FLOOR[0], max(FLOOR[1], FLOOR_TRIALS * len(arms) / trials))


def chosen(sums: Sums, design: Design) -> Choice:
    """The evidence's choice, in the bases that the fits use."""
    few = prepared(sums, Side(design, Choice()))[0]
    many = prepared(sums, Side(design, Choice(ratio=1.0)))[0] if len(design.terms) else few
    return choose(many, few, design)


def prepared(sums: Sums, side: Side, t: Floats | None = None) -> tuple[Sums, Design, Floats | None]:
    """The sums that the side's choice asks for, in the basis of its prior; the design and that basis.

    `t` is a basis that was made before, None: made from these sums.
    """
    design, choice = side.design or plain(sums.xr.shape[1]), side.choice or Choice()
    if math.isinf(choice.ratio):
        sums, design = restrict(sums, design), design.mains
    t = basis(np.asarray(sums.xx.sum(axis=0)), design) if t is None else t
    xx, xr = change(sums.xx, sums.xr, t)
    return sums._replace(xx=xx, xr=xr), design, t


def restrict(sums: Sums, design: Design) -> Sums:
    """The sums over main columns only."""
    if len(design.terms) == 0:
        return sums
    at = design.place
    return sums._replace(xx=np.ascontiguousarray(sums.xx[:, at[:, None], at]), xr=np.ascontiguousarray(sums.xr[:, at]))


def regression(sums: Sums, prior: Floats, groups: Floats | None) -> Fit:
    """Coefficients and noise of every arm: one without trials has the prior mean."""
    slot = pool(sums)
    arms, d = sums.xr.shape
    every = np.arange(arms)
    seen = np.flatnonzero(sums.n > 0.0)
    inverse, solved = np.zeros_like(sums.xx), np.zeros_like(sums.xr)
    invert_all(sums.xx, sums.xr, prior, every, inverse, solved)
    mean = np.zeros((arms, d))
    mean[:, 0] = constant(sums, prior, seen)
    if len(seen) >= MANY:
        mean = _means(sums, CLOSE * prior, mean, groups, seen)
    theta = np.empty_like(solved)
    towards(inverse, solved, prior, mean, every, theta)
    rss = np.zeros(arms)
    residuals(sums.xx, sums.xr, sums.s2, theta, sums.n, every, rss)
    # With what the prior takes: a fit of more coefficients than trials leaves no residual, but there is noise.
    rss[seen] += [_sum(row) for row in prior * (theta[seen] - mean[seen]) ** 2]
    pooled = max((_sum(rss) + 2.0 * slot.variance) / (max(slot.trials, 0.0) + 2.0), LEAST_B)
    return Fit(theta, (rss + PRIOR_TRIALS * pooled) / (np.maximum(sums.n, 0.0) + PRIOR_TRIALS), mean)


def _means(sums: Sums, prior: Floats, base: Floats, groups: Floats | None, seen: Arms) -> Floats:
    """Prior means of all arms: the common constant, a common regression, or that and the attributes' effects.

    Arms that may go their own ways as freely as the posterior lets them would leave next to nothing for what they
    share to explain; so the prior that is given is closer. An arm that nobody has seen stands at its mean.
    """
    inverse, solved = np.zeros_like(sums.xx), np.zeros_like(sums.xr)
    invert_all(sums.xx, sums.xr, prior, seen, inverse, solved)
    common = np.ones((1, len(sums.n)))
    candidates = [np.zeros((0, len(sums.n))), common]
    if groups is not None and len(groups):
        candidates.append(np.concatenate([common, groups]))
    best, least = base, math.inf
    for member in candidates:
        mean, cost, penalty = base.copy(), 0.0, 0.0
        own = np.full((len(member), base.shape[1]), ATTRIBUTE * ATTRIBUTE_TIMES)
        own[:, 0] = ATTRIBUTE
        own[:1] = SHARED
        out = np.zeros((len(member), base.shape[1]))
        if len(member):
            cost = effects(inverse, solved, prior, member, own, seen, float(SWEEPS), mean, out)
            penalty = _sum(own * prior * out * out)
        score = _deviance(sums, prior, inverse, solved, mean, seen, penalty) + cost
        if score < least - 2.0:
            best, least = mean, score
    return best


def _deviance(
    sums: Sums, prior: Floats, inverse: Floats, solved: Floats, mean: Floats, seen: Arms, penalty: float
) -> float:
    """-2 ln ML of the arms' own coefficients given these means, without the determinants they all share."""
    theta = np.zeros_like(solved)
    towards(inverse, solved, prior, mean, seen, theta)
    n, right = _sum(sums.n[seen]), sums.xr + prior * mean
    left = _sum(sums.s2[seen]) + _sum(prior * mean[seen] ** 2) - _sum(right[seen] * theta[seen]) + penalty
    return n * math.log(max(left, 1e-12) / n)


def _sum(values: Floats) -> float:
    """The same bits whatever numpy's vector width."""
    return math.fsum(values.ravel().tolist())
