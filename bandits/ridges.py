"""Ridge regressions of all arms of a slot, for `auto`: inverses, coefficients towards a prior mean, what is left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOATS, FLOATS2, FLOATS2_OUT, FLOATS3, FLOATS3_OUT, FLOATS_OUT, INTS, entry
from bandits.linear import factorise, gram, invert


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


@entry(FLOATS3, FLOATS2, FLOATS, FLOATS, FLOATS, FLOATS2, FLOATS2, FLOATS_OUT, nogil=True)
def residuals(
    xx: NDArray[np.float64],
    xr: NDArray[np.float64],
    s2: NDArray[np.float64],
    n: NDArray[np.float64],
    prior: NDArray[np.float64],
    mean: NDArray[np.float64],
    theta: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Fill out (f8[K]) with what each arm leaves over, sum (r - x.theta)^2, and what the prior takes; 0 without trials.

    A fit of more coefficients than trials leaves no residual, but there is noise: hence the prior's part.
    """
    d = theta.shape[1]
    for k in range(n.size):
        total, taken = s2[k], 0.0
        for i in range(d):
            inner = -2.0 * xr[k, i]
            for j in range(d):
                inner += xx[k, i, j] * theta[k, j]
            total += theta[k, i] * inner
            taken += prior[i] * (theta[k, i] - mean[k, i]) ** 2
        out[k] = max(total, 0.0) + taken if n[k] > 0.0 else 0.0


@entry(FLOATS3, FLOATS2, FLOATS_OUT, nogil=True)
def on_average(xx: NDArray[np.float64], theta: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Fill out (f8[K]) with what each arm would have earned in all trials together, so far as theta (f8[K,d]) knows."""
    for j in range(theta.shape[1]):
        total = 0.0
        for k in range(theta.shape[0]):
            total += xx[k, 0, j]
        for k in range(theta.shape[0]):
            out[k] += total * theta[k, j]
