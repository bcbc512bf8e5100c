"""The prior mean of many arms, learned from all of them: what an arm starts from before it has shown anything.

theta_k ~ N(m0 + sum of the effects of its attributes, D^-1) times the noise. With A_k = S_k + D, P_k = D - D A_k^-1 D and
q_k = D A_k^-1 b_k, an effect's normal equations are sum_k P_k (.) = sum_k q_k, plus its own small prior; they are
solved block by block (Gauss-Seidel), one block for m0 and one for each value of an attribute. Whether they are
worth it is judged by the marginal likelihood, as everything in evidence.py.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOAT, FLOATS, FLOATS2, FLOATS2_OUT, FLOATS3, FLOATS3_OUT, FLOATS_OUT, INTS, entry, jit
from bandits.linear import factorise, gram, invert


@jit
def _solve(r: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Replace y by (R'R)^-1 y for the upper triangular r."""
    d = y.size
    for i in range(d):
        y[i] /= r[i, i]
        for j in range(i + 1, d):
            y[j] -= r[i, j] * y[i]
    for i in range(d - 1, -1, -1):
        for j in range(i + 1, d):
            y[i] -= r[i, j] * y[j]
        y[i] /= r[i, i]


@entry(FLOATS3, FLOATS2, FLOATS, FLOATS2, FLOATS2, INTS, FLOAT, FLOATS2_OUT, FLOATS2_OUT, nogil=True)
def effects(
    inverse: NDArray[np.float64],
    solved: NDArray[np.float64],
    prior: NDArray[np.float64],
    member: NDArray[np.float64],
    own: NDArray[np.float64],
    arms: NDArray[np.int64],
    sweeps: float,
    mean: NDArray[np.float64],
    out: NDArray[np.float64],
) -> float:
    """Fill out (f8[G,d]) with the effects of G groups of arms and add them to mean (f8[K,d], the arms' prior means).

    inverse [K,d,d] and solved [K,d] are A_k^-1 and A_k^-1 b_k; member [G,K] says which arms share an effect (1 or
    0), of all arms; only those in `arms` are asked. own [G,d] is the weight of each effect's prior, in units of D.
    Returns what the effects cost: their ln|posterior precision| - ln|prior precision|, block by block, so no less than
    the true one.
    """
    groups, d = out.shape
    left = np.empty((groups, d, d))
    y = np.empty(d)
    out[:] = 0.0
    cost = 0.0
    for g in range(groups):
        left[g] = 0.0
        for k in arms:
            if member[g, k] > 0.0:
                for i in range(d):
                    for j in range(d):
                        left[g, i, j] -= prior[i] * inverse[k, i, j] * prior[j]
                    left[g, i, i] += prior[i]
        for i in range(d):
            left[g, i, i] += own[g, i] * prior[i]
        factorise(left[g])
        for i in range(d):
            cost += 2.0 * math.log(left[g, i, i]) - math.log(own[g, i] * prior[i])
    for _ in range(int(sweeps)):
        for g in range(groups):
            y[:] = 0.0
            for k in range(mean.shape[0]):
                if member[g, k] > 0.0:
                    for i in range(d):
                        mean[k, i] -= out[g, i]
            for k in arms:
                if member[g, k] > 0.0:
                    for i in range(d):
                        value = solved[k, i] - mean[k, i]
                        for j in range(d):
                            value += inverse[k, i, j] * prior[j] * mean[k, j]
                        y[i] += prior[i] * value
            _solve(left[g], y)
            out[g] = y
            for k in range(mean.shape[0]):
                if member[g, k] > 0.0:
                    for i in range(d):
                        mean[k, i] += out[g, i]
    return cost


@entry(FLOATS3, FLOATS2, FLOATS, INTS, FLOATS3_OUT, FLOATS2_OUT, nogil=True)
def invert_all(
    xx: NDArray[np.float64],
    xr: NDArray[np.float64],
    prior: NDArray[np.float64],
    arms: NDArray[np.int64],
    inverse: NDArray[np.float64],
    solved: NDArray[np.float64],
) -> None:
    """Fill inverse (f8[K,d,d]) with A_k^-1 and solved (f8[K,d]) with A_k^-1 b_k for the arms."""
    d = xr.shape[1]
    x = np.empty((d, d))
    for k in arms:
        work = xx[k].copy()
        for i in range(d):
            work[i, i] += prior[i]
        factorise(work)
        invert(work, x)
        gram(x, inverse[k])
        for i in range(d):
            total = 0.0
            for j in range(d):
                total += inverse[k, i, j] * xr[k, j]
            solved[k, i] = total


@entry(FLOATS3, FLOATS2, FLOATS, FLOATS2, INTS, FLOATS2_OUT, nogil=True)
def towards(
    inverse: NDArray[np.float64],
    solved: NDArray[np.float64],
    prior: NDArray[np.float64],
    mean: NDArray[np.float64],
    arms: NDArray[np.int64],
    theta: NDArray[np.float64],
) -> None:
    """Fill theta (f8[K,d]) with A_k^-1 (b_k + D mean_k) for the arms."""
    d = theta.shape[1]
    for k in arms:
        for i in range(d):
            total = solved[k, i]
            for j in range(d):
                total += inverse[k, i, j] * prior[j] * mean[k, j]
            theta[k, i] = total


@entry(FLOATS3, FLOATS2, FLOATS, FLOATS2, FLOATS, INTS, FLOATS_OUT, nogil=True)
def residuals(
    xx: NDArray[np.float64],
    xr: NDArray[np.float64],
    s2: NDArray[np.float64],
    theta: NDArray[np.float64],
    n: NDArray[np.float64],
    arms: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Fill out (f8[K]) with each arm's residual sum of squares, sum (r - x.theta)^2 >= 0; 0 without trials."""
    d = theta.shape[1]
    for k in arms:
        total = s2[k]
        for i in range(d):
            inner = -2.0 * xr[k, i]
            for j in range(d):
                inner += xx[k, i, j] * theta[k, j]
            total += theta[k, i] * inner
        out[k] = max(total, 0.0) if n[k] > 0.0 else 0.0
