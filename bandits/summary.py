"""What a posterior says about each arm, for people: mean, interval, chance to be best, expected loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits import quadrature
from bandits._jit import FLOATS, FLOATS2_OUT, INTS, entry, jit
from bandits.pmf import BETA, BETA_STEP, REVENUE, STUDENT_STEP, panel, table_of
from bandits.posterior import KIND, Floats, Posterior
from bandits.revenue import DRAWS, product_draws, product_shares


class Summary(NamedTuple):
    """f8[n] each, at x, in units of the normalised reward (a Beta: the chance of a reward)."""

    mean: Floats  # posterior mean
    low: Floats  # 95 % credible interval, equal tails
    high: Floats
    best: Floats  # P(this arm has the greatest mean)
    loss: Floats  # E[greatest mean] - mean: what is given up by always showing this arm


def summary(post: Posterior, x: Floats, arms: NDArray[np.int64]) -> Summary:
    """The beliefs about `arms` (i8[n]) at x (f8[<= d], units of 1); neither floor nor alpha have a part in it."""
    out = np.empty((5, arms.size))
    summarise(post.packed, x, arms, out)
    return Summary(*out)


@jit
def drawn(packed: Floats, arms: NDArray[np.int64], out: Floats) -> None:
    """The rows of a Summary from draws, for revenue."""
    greatest = product_shares(packed, arms, out[3])
    draws = np.empty((arms.size, DRAWS))
    product_draws(packed, arms, draws)
    for i in range(arms.size):
        ordered = np.sort(draws[i])
        out[0, i] = draws[i].mean()
        out[1, i], out[2, i] = ordered[int(0.025 * DRAWS)], ordered[int(0.975 * DRAWS)]
        out[4, i] = max(0.0, greatest - out[0, i])


@entry(FLOATS, FLOATS, INTS, FLOATS2_OUT, nogil=True)
def summarise(packed: Floats, x: Floats, arms: NDArray[np.int64], out: Floats) -> None:
    """Fill out (f8[5,n]) with the rows of a Summary."""
    if int(packed[KIND]) == REVENUE:
        drawn(packed, arms, out)
        return
    family = quadrature.BETA if int(packed[KIND]) == BETA else quadrature.STUDENT
    step = BETA_STEP if family == quadrature.BETA else STUDENT_STEP
    table, rule = table_of(packed, x, arms), panel(packed)
    greatest = quadrature.greatest(family, table, rule, step, out[3])
    for i in range(arms.size):
        low = quadrature.quantile(family, table, i, 0.025, rule)
        high = quadrature.quantile(family, table, i, 0.975, rule)
        # The mean of a Beta is where its density on the logit axis has its mode.
        out[0, i] = quadrature.natural(family, table[quadrature.CENTRE, i])
        out[1, i] = quadrature.natural(family, low)
        out[2, i] = quadrature.natural(family, high)
        out[4, i] = max(0.0, greatest - out[0, i])
