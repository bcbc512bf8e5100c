"""The basis in which the prior of `auto` is set: numbers are centred and scaled to what was seen of them.

A number's range is declared once and may be far wider than its values: 2 visits of 0..50 are all near -0.92, nearly a
second constant. A ridge in the declared scale would learn such a column slowly. Sums transform exactly, so the
basis is a matter of the read side: with x' = T x, S' = T S T' and b' = T b; theta = T' theta' and C = T' C' T.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOATS2, FLOATS2_OUT, FLOATS3, FLOATS3_OUT, entry, jit
from bandits.expansion import LEFT, RIGHT, TARGET, Design
from bandits.posterior import Floats

SEEN = 2.0  # trials that the prior of a number's mean (0) and variance (1/3, a uniform number's) is worth
LEAST = 1e-4  # of a variance: rounding is 2^-12


def basis(total: Floats, design: Design) -> Floats | None:
    """T, f8[d,d], from all arms' sum x x' together; None for the identity (there are no numbers)."""
    if (design.missing < 0).all():
        return None
    t = np.eye(len(total))
    middle, scale = np.zeros(len(design.place)), np.ones(len(design.place))
    for j in np.flatnonzero(design.missing >= 0).tolist():
        at, gone = int(design.place[j]), int(design.place[design.missing[j]])
        seen = max(total[0, 0] - total[0, gone], 0.0) + SEEN
        middle[j] = total[0, at] / seen
        scale[j] = 1.0 / math.sqrt(max((total[at, at] + SEEN / 3.0) / seen - middle[j] ** 2, LEAST))
        t[at, at], t[at, 0], t[at, gone] = scale[j], -middle[j] * scale[j], middle[j] * scale[j]
    _products(t, total, design, middle)
    return t


def _products(t: Floats, total: Floats, design: Design, middle: Floats) -> None:
    """Products with a number: centred, and scaled so that together they weigh as much as the numbers do."""
    is_number = design.missing >= 0
    with_number = [term for term in design.terms.tolist() if is_number[term[LEFT]] or is_number[term[RIGHT]]]
    columns = sorted({term[TARGET] for term in with_number})
    for target, i, j, sign in with_number:
        own, other = int(design.place[i]), int(design.place[j])
        t[target, other] -= sign * middle[i]
        t[target, own] -= sign * middle[j]
        t[target, 0] += sign * middle[i] * middle[j]
    share = min(1.0, int(is_number.sum()) / max(len(columns), 1))
    for c in columns:
        used = np.flatnonzero(t[c])
        square = max(math.fsum((t[c, used, None] * total[np.ix_(used, used)] * t[c, used]).ravel().tolist()), 0.0)
        t[c] *= math.sqrt(share * (total[0, 0] + SEEN) / (square + SEEN / 9.0))


def change(sums_xx: Floats, sums_xr: Floats, t: Floats | None) -> tuple[Floats, Floats]:
    """S' and b' of all arms."""
    if t is None:
        return sums_xx, sums_xr
    xx, xr = np.empty_like(sums_xx), np.zeros_like(sums_xr)
    congruent(sums_xx, t, xx)
    apply(sums_xr, t, xr)
    return xx, xr


def back(theta: Floats, cov: Floats, t: Floats | None) -> tuple[Floats, Floats]:
    """theta f8[K,d] and cov f8[K,d,d] in the basis of the columns."""
    if t is None:
        return theta, cov
    turned = np.ascontiguousarray(t.T)
    out, coefficients = np.empty_like(cov), np.zeros_like(theta)
    congruent(cov, turned, out)
    apply(theta, turned, coefficients)
    return coefficients, out


@entry(FLOATS2, FLOATS2, FLOATS2_OUT, nogil=True)
def apply(vectors: Floats, t: Floats, out: Floats) -> None:
    """Fill out (f8[K,d]) with t v of each row."""
    for k in range(vectors.shape[0]):
        for i in range(t.shape[0]):
            total = 0.0
            for j in range(t.shape[1]):
                total += t[i, j] * vectors[k, j]
            out[k, i] = total


@jit
def _times(t: NDArray[np.float64], a: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """out = t a; t is mostly zeros."""
    d = a.shape[0]
    out[:] = 0.0
    for i in range(d):
        row = out[i]
        for j in range(d):
            factor = t[i, j]
            if factor != 0.0:
                source = a[j]
                for c in range(d):
                    row[c] += factor * source[c]


@entry(FLOATS3, FLOATS2, FLOATS3_OUT, nogil=True)
def congruent(matrices: Floats, t: Floats, out: Floats) -> None:
    """Fill out (f8[K,d,d]) with t M t' of each symmetric matrix."""
    d = t.shape[0]
    half, turned = np.empty((d, d)), np.empty((d, d))
    for k in range(matrices.shape[0]):
        for i in range(d):
            for j in range(d):
                turned[i, j] = matrices[k, i, j]
        _times(t, turned, half)
        for i in range(d):
            for j in range(d):
                turned[i, j] = half[j, i]
        _times(t, turned, out[k])
