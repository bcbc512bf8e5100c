"""Bayesian linear regression of the reward on the features, apart for every arm.

Lambda = lambda I + sum x x', mu = Lambda^-1 (sum r x + lambda m0 e_0): ridge regression towards a prior that has
m0 on the intercept. Own loops instead of LAPACK: results do not depend on which BLAS a server has, and the inner
loops run along rows so that the compiler turns them into vector code without reordering a sum.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOAT, FLOATS2, FLOATS2_OUT, FLOATS3, FLOATS3_OUT, FLOATS_OUT, INTS, entry, jit


@jit
def factorise(a: NDArray[np.float64]) -> None:
    """Replace the upper triangle of a (f8[d,d], positive definite) by R with R' R = a (Cholesky)."""
    d = a.shape[0]
    for k in range(d):
        row = a[k]
        scale = 1.0 / math.sqrt(row[k])
        for j in range(k, d):
            row[j] *= scale
        for i in range(k + 1, d):
            target, factor = a[i], row[i]
            for j in range(i, d):
                target[j] -= factor * row[j]


@jit
def solve(r: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Replace y by (R' R)^-1 y for the upper triangular r."""
    d = y.size
    for i in range(d):
        y[i] /= r[i, i]
        for j in range(i + 1, d):
            y[j] -= r[i, j] * y[i]
    for i in range(d - 1, -1, -1):
        for j in range(i + 1, d):
            y[i] -= r[i, j] * y[j]
        y[i] /= r[i, i]


@jit
def invert(r: NDArray[np.float64], x: NDArray[np.float64]) -> None:
    """Fill x (f8[d,d]) with the lower triangular (R')^-1 for the upper triangular r."""
    d = r.shape[0]
    x[:] = 0.0
    for i in range(d):
        target = x[i]
        target[i] = 1.0
        for k in range(i):
            source, factor = x[k], r[k, i]
            for j in range(k + 1):
                target[j] -= factor * source[j]
        scale = 1.0 / r[i, i]
        for j in range(i + 1):
            target[j] *= scale


@jit
def gram(x: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Fill out with x' x for a lower triangular x: with x = (R')^-1 the inverse of R' R."""
    d = x.shape[0]
    out[:] = 0.0
    for k in range(d):
        source = x[k]
        for i in range(k + 1):
            target, factor = out[i], source[i]
            for j in range(k + 1):
                target[j] += factor * source[j]


@entry(FLOATS3, FLOATS2, FLOAT, FLOAT, INTS, FLOATS2_OUT, FLOATS3_OUT, FLOATS_OUT, nogil=True)
def regress(
    xx: NDArray[np.float64],
    xr: NDArray[np.float64],
    ridge: float,
    m0: float,
    arms: NDArray[np.int64],
    theta: NDArray[np.float64],
    inverse: NDArray[np.float64],
    square: NDArray[np.float64],
) -> None:
    """Fill theta (f8[K,d]) with mu, inverse (f8[K,d,d]) with Lambda^-1, square (f8[K]) with mu' Lambda mu.

    Only for the rows in `arms`; xx and xr are as in Sums. Raises nothing: ridge > 0 keeps every pivot positive.
    """
    d = xr.shape[1]
    x = np.empty((d, d))
    y = np.empty(d)
    for k in arms:
        work = xx[k].copy()
        for i in range(d):
            work[i, i] += ridge
        factorise(work)
        invert(work, x)
        gram(x, inverse[k])
        theta[k] = 0.0
        square[k] = 0.0
        for i in range(d):
            y[i] = x[i, 0] * ridge * m0
            for j in range(i + 1):
                y[i] += x[i, j] * xr[k, j]
            square[k] += y[i] * y[i]
            for j in range(i + 1):
                theta[k, j] += x[i, j] * y[i]
