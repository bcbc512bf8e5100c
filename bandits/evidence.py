"""How much prior and which columns: chosen by the marginal likelihood of what was seen.

-2 ln ML = N ln(sum Q / N) + sum_k (ln|S_k + D| - ln|D|) with Q the quadratic form that is left of the rewards, noise
integrated out; D = ridge on main columns, ridge x ratio on products, ratio inf: no products. So products switch
themselves on where they pay. A pure function of the sums.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOATS, FLOATS2, FLOATS3, FLOATS_OUT, INTS, entry
from bandits.expansion import Design
from bandits.linear import factorise
from bandits.posterior import Floats, Sums

RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0)  # of features
# An effect of e beside a rate q is a ridge of (1 - q) / (q e^2) trials, e in parts of the rate: where rewards are rare
# these are small effects, not none at all.
TIGHT = (1_000.0, 10_000.0)
SURE = 4.0  # by which those must be likelier: who holds features close stops looking at what else they may do
CONSTANT = 1.0  # prior precision of the constant, fixed: trials that an arm's prior counts for
RATIOS = (10.0, 30.0, 100.0)  # 1 and 3 were taken too readily, and led to exploring what did not pay
PAYS = 2.0  # by which products must be likelier: held close enough they are no different from none
ENOUGH = 16.0  # trials before anything is chosen
MOST_ARMS = 32  # that are asked, those with the most trials: they carry the evidence


class Choice(NamedTuple):
    """What was chosen: prior precision of main columns, and how many times more of products (inf: none)."""

    ridge: float = 1.0
    ratio: float = math.inf


def prior_of(choice: Choice, design: Design, columns: int) -> Floats:
    """The diagonal of D over `columns` learning columns."""
    prior = np.full(columns, choice.ridge)
    products = np.ones(columns, np.bool_)
    products[design.place] = False
    prior[products] *= choice.ratio
    prior[0] = CONSTANT
    return prior


def choose(sums: Sums, mains: Sums, design: Design) -> Choice:
    """The choice for these sums: over learning columns, and the same over main columns only."""
    if math.fsum(sums.n.tolist()) < ENOUGH:
        return Choice()
    few = mains if len(design.terms) == 0 else sums
    asked = np.argsort(-sums.n, kind="stable")[:MOST_ARMS].astype(np.int64)
    asked = np.sort(asked[sums.n[asked] > 0.0])

    def score(choice: Choice) -> float:
        chosen = mains if math.isinf(choice.ratio) else few
        d = chosen.xr.shape[1]
        prior = prior_of(choice, design.mains if math.isinf(choice.ratio) else design, d)
        costs = (0.0 if math.isinf(choice.ratio) else PAYS) + (SURE if choice.ridge > RIDGES[-1] else 0.0)
        return deviance(chosen, prior, asked) + costs

    def likeliest(ratio: float) -> Choice:
        loose = min((Choice(ridge, ratio) for ridge in RIDGES), key=score)
        closer = TIGHT if loose.ridge == RIDGES[-1] else ()
        return min([loose, *(Choice(ridge, ratio) for ridge in closer)], key=score)

    best = likeliest(math.inf)
    if len(design.terms) == 0:
        return best
    # Where products are all that matters main columns alone look best held tight; so products are tried loose as well.
    starts = sorted({best.ridge, RIDGES[0]})
    best = min([best, *(Choice(ridge, ratio) for ridge in starts for ratio in RATIOS)], key=score)
    return likeliest(best.ratio)


def deviance(sums: Sums, prior: Floats, asked: NDArray[np.int64]) -> float:
    """-2 ln ML of the asked arms together, up to a constant; the prior's mean is the likeliest common constant."""
    n, s1, s2 = (math.fsum(column[asked].tolist()) for column in (sums.n, sums.s1, sums.s2))
    found = np.zeros(4)
    forms(sums.xx, sums.xr, prior, asked, found)
    left = s2 - found[0] - found[2] * found[2] / found[3]
    # A thousandth of the rewards' own variance: a perfect fit of a few trials is no proof.
    small = 1e-3 * max(s2 - s1 * s1 / n, 0.0) + 1e-12
    return n * math.log((max(left, 0.0) + small) / n) + float(found[1])


def constant(sums: Sums, prior: Floats, arms: NDArray[np.int64]) -> float:
    """The likeliest common constant: arms that differ count alike, however often each was shown.

    The mean of all trials would be that of the favourite arm, and an arm that nobody knows would start as high.
    """
    found = np.zeros(4)
    forms(sums.xx, sums.xr, prior, arms, found)
    return float(found[2] / found[3]) if found[3] > 0.0 else 0.0


@entry(FLOATS3, FLOATS2, FLOATS, INTS, FLOATS_OUT, nogil=True)
def forms(
    xx: NDArray[np.float64],
    xr: NDArray[np.float64],
    prior: NDArray[np.float64],
    arms: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Fill out (f8[4]) with sums over the arms, A = S + D, e the constant's unit vector, D_0 its prior precision.

    b' A^-1 b; ln|A| - ln|D|; D_0 e' A^-1 b; D_0 - D_0^2 e' A^-1 e. With a prior mean m e the quadratic form that is left
    of the rewards is sum r^2 - out[0] - 2 m out[2] + m^2 out[3], least at m = out[2] / out[3].
    """
    d = xr.shape[1]
    y, z = np.empty(d), np.empty(d)
    out[:] = 0.0
    for k in arms:
        work = xx[k].copy()
        for i in range(d):
            work[i, i] += prior[i]
            y[i] = xr[k, i]
            z[i] = 0.0
        z[0] = 1.0
        factorise(work)
        out[3] += prior[0]
        for i in range(d):
            y[i] /= work[i, i]
            z[i] /= work[i, i]
            for j in range(i + 1, d):
                y[j] -= work[i, j] * y[i]
                z[j] -= work[i, j] * z[i]
            out[0] += y[i] * y[i]
            out[1] += 2.0 * math.log(work[i, i]) - math.log(prior[i])
            out[2] += prior[0] * z[i] * y[i]
            out[3] -= prior[0] * prior[0] * z[i] * z[i]
