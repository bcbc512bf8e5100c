"""What a bucket's visitors would have earned from each arm at the usual level, by one model for all of the past."""

from __future__ import annotations

import math

import numpy as np

from bandits._jit import FLOAT, FLOATS, FLOATS2, FLOATS2_OUT, FLOATS3, entry
from bandits.auto import Side, prepared
from bandits.basis import apply
from bandits.evidence import Choice, prior_of
from bandits.linear import factorise, solve
from bandits.posterior import Floats
from bandits.state import State, Weights

LEAST = 0.03  # of the mean reward that any visitor is expected to earn: a linear model goes below 0


def coefficients(state: State, segment: int, weights: Weights, choice: Choice) -> Floats:
    """f8[K,d]: each arm's ridge regression over the columns of the choice, towards the mean of all trials."""
    design = state.rules.design
    sums, design, t = prepared(state.sums(segment, weights), Side(design, choice))
    prior = prior_of(choice, design, sums.xr.shape[1])
    mean = math.fsum(sums.s1.tolist()) / max(math.fsum(sums.n.tolist()), 1.0)
    theta = np.zeros_like(sums.xr)
    ridge(sums.xx, sums.xr, prior, mean, theta)
    if t is None:
        return theta
    out = np.zeros_like(theta)
    apply(theta, np.ascontiguousarray(t.T), out)
    return out


@entry(FLOATS3, FLOATS2, FLOATS, FLOAT, FLOATS2_OUT, nogil=True)
def ridge(xx: Floats, xr: Floats, prior: Floats, mean: float, theta: Floats) -> None:
    """Fill theta (f8[K,d]) with (S + D)^-1 (b + D mean e_0) of each arm; D has the diagonal `prior` (f8[d])."""
    for k in range(theta.shape[0]):
        work = xx[k].copy()
        for i in range(prior.shape[0]):
            work[i, i] += prior[i]
            theta[k, i] = xr[k, i]
        theta[k, 0] += prior[0] * mean
        factorise(work)
        solve(work, theta[k])


@entry(FLOATS3, FLOATS2, FLOATS2, FLOATS2, FLOAT, FLOATS2_OUT, nogil=True)
def expect(x: Floats, n: Floats, held: Floats, theta: Floats, least: float, out: Floats) -> None:
    """Fill out (f8[B,K]) with expected rewards of n + held trials: no less than `least` each.

    x f8[B,K,d] are the features' sums over the n; those of the holdout, which are not kept, are the bucket's average,
    as who is held out is drawn.
    """
    buckets, arms, d = x.shape
    mean = np.zeros(d)
    for b in range(buckets):
        trials = 0.0
        for k in range(arms):
            trials += n[b, k]
        if trials > 0.0:
            for i in range(d):
                mean[i] = 0.0
                for k in range(arms):
                    mean[i] += x[b, k, i]
                mean[i] /= trials
        for k in range(arms):
            own, other = 0.0, 0.0
            for i in range(d):
                own += theta[k, i] * x[b, k, i]
                other += theta[k, i] * mean[i]
            out[b, k] = max(own, least * n[b, k]) + held[b, k] * max(other, least)
