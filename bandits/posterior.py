"""What is believed about the arms of a slot, in one layout for all policies, and the sums it is derived from."""

from __future__ import annotations

import enum
import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.expansion import Design
from bandits.student import laws

Floats = NDArray[np.float64]


class Kind(enum.IntEnum):
    """Which pmf a posterior has."""

    UNIFORM = 0
    FIXED = 1
    BETA = 2
    NIG = 3
    LINUCB = 4
    LINTS = 5
    SQUARECB = 6
    REVENUE = 7
    OPTIMIST = 8


class Sums(NamedTuple):
    """One slot's sums, arms indexed by arm number 0..K-1, float64, already weighted for forgetting.

    Rewards r are normalised to [-1, 1]; x[0] = 1 always; d = 1 where there are no features.
    """

    n: Floats  # f8[K] trials
    rewarded: Floats  # f8[K] trials whose total is not zero
    s1: Floats  # f8[K] sum of r
    s2: Floats  # f8[K] sum of r^2
    xx: Floats  # f8[K,d,d] sum of x x'
    xr: Floats  # f8[K,d] sum of r x


class Posterior(NamedTuple):
    """Result of a derive, never changed afterwards; the arrays are read-only but for `packed`.

    `par` are context-free parameters: (a, b, 0) of a Beta, (mean, scale, dof) of a Student t, (weight, 0, 0), (a, b, cost) of REVENUE.
    The score of arm k at x is centred at theta_k.x with scale sqrt(x' cov_k x) and `dof` degrees of freedom (inf:
    normal). Context-free policies have d = 1, and there theta, cov, dof are the Normal-Inverse-Gamma belief about
    the mean reward (not for BETA). `packed` is all of it for the kernels: unpacking a NamedTuple costs more than
    a decision.
    """

    kind: int
    par: Floats  # f8[K,3]
    theta: Floats  # f8[K,d]
    cov: Floats  # f8[K,d,d]
    dof: Floats  # f8[K]
    alpha: float  # LINUCB only
    grid: Floats  # f8[G], LINUCB only
    floor: float  # total mass mixed in: p = (1 - floor) p + floor / n
    packed: Floats  # f8[...], see pack
    design: Design | None = None  # where the posterior is about products too; else its columns are the main columns
    least: float = -math.inf  # LINUCB only: no mean reward can be lower, so no centre is taken for lower


# Layout of `packed`: HEADER numbers; par[3,K]; dof[K], ln density at 0 [K], reach[K] (zeros where no score is a
# Student t, see student.laws); what scores are made of; place[F], terms[T,4] where there are products; grid[G].
# The arms are innermost so that loops over them are vector code. F is 0 where there are no products.
# Scores: columns, padded with zeros to a whole number of BLOCKs, each with a row: theta's coefficients of it, [K] padded to a
# multiple of BLOCK, and what it is multiplied with in a quadratic form, [i, K] for the columns i up to the end of its block: cov
# doubled before itself, as the form takes it twice, as it is for itself, 0 behind. Rows of a block are of equal length.
BLOCK = 4
KIND, ARMS, COLUMNS, GRID, ALPHA, FLOOR, MAINS, TERMS, LEAST, HEADER = range(10)
LAW, SCORES = 3, 6  # rows of K numbers after the header: where dof and its constants begin, and what scores are made of


@functools.cache
def _triangle(columns: int) -> tuple[NDArray[np.int64], Floats]:
    """Places of the packed triangle in a flat [d, d], and what is there is multiplied by: 2, 1 or 0."""
    wide = -(-columns // BLOCK) * BLOCK
    pairs = [(i, j) for j in range(wide) for i in range((j // BLOCK + 1) * BLOCK)]
    at = np.array([i * columns + j if i <= j < columns else 0 for i, j in pairs], np.int64)
    times = np.array([0.0 if i > j or j >= columns else 1.0 + (i < j) for i, j in pairs])
    at.flags.writeable = times.flags.writeable = False
    return at, times


def _rows(theta: Floats, cov: Floats) -> list[Floats]:
    """What scores are made of, block by block."""
    arms, columns = theta.shape
    at, times = _triangle(columns)
    triangle = (cov.reshape(arms, -1)[:, at] * times).T
    slopes = np.pad(theta.T, ((0, -columns % BLOCK), (0, -arms % BLOCK)))
    found, begin = [], 0
    for g in range(0, columns, BLOCK):
        end = begin + BLOCK * (g + BLOCK)
        found.append(np.hstack([slopes[g : g + BLOCK], triangle[begin:end].reshape(BLOCK, -1)]).ravel())
        begin = end
    return found


def charged(post: Posterior, costs: Floats | None) -> Posterior:
    """The same about what arms earn beyond their costs (f8[K], in units of the sums): every mean lies so much lower.

    A cost is known, so nothing is learned of it: it may change at any time, and what was summed stays. ValueError for BETA, which
    believes in a chance.
    """
    if costs is None or post.kind in (Kind.UNIFORM, Kind.FIXED):
        return post
    if post.kind == Kind.BETA:
        raise ValueError("a chance of a reward has no cost")
    par, theta = post.par.copy(), post.theta.copy()
    if post.kind == Kind.REVENUE:
        par[:, 2] = costs  # theta is the value of an order there, which is not what a trial earns
    else:
        theta[:, 0] -= costs
    least = post.least - float(costs.max(initial=0.0))
    return pack(
        Kind(post.kind),
        par,
        theta,
        post.cov.copy(),
        post.dof.copy(),
        post.alpha,
        post.grid.copy(),
        post.floor,
        post.design,
        least,
    )


def pack(
    kind: int,
    par: Floats,
    theta: Floats,
    cov: Floats,
    dof: Floats,
    alpha: float,
    grid: Floats,
    floor: float,
    design: Design | None = None,
    least: float = -math.inf,
) -> Posterior:
    """The posterior with its packed form; `design` where theta and cov are over learning columns with products."""
    arms, columns = theta.shape
    law = laws(dof) if kind in (Kind.NIG, Kind.LINTS) else np.stack([dof, 0.0 * par[:, 0], 0.0 * par[:, 0]])
    place, terms = (design.place, design.terms) if design is not None else (np.zeros(0), np.zeros((0, 4)))
    sizes = [len(place), len(terms)]
    header = np.array([kind, arms, columns, grid.size, alpha, floor, *sizes, least], dtype=np.float64)
    parts = [header, par.T.ravel(), law.ravel(), *_rows(theta, cov), place, terms.ravel(), grid]
    packed: Floats = np.concatenate(parts, dtype=np.float64)
    for array in (par, theta, cov, dof, grid):
        array.flags.writeable = False
    return Posterior(int(kind), par, theta, cov, dof, float(alpha), grid, float(floor), packed, design, least)
