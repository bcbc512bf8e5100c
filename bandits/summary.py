"""What a posterior says about each arm, for people: mean, interval, chance to be best, expected loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits import quadrature
from bandits._jit import FLOATS, FLOATS2_OUT, INTS, entry
from bandits.pmf import BETA, BETA_STEP, STUDENT_STEP, panel, table_of
from bandits.posterior import KIND, Floats, Posterior


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


@entry(FLOATS, FLOATS, INTS, FLOATS2_OUT, nogil=True)
def summarise(packed: Floats, x: Floats, arms: NDArray[np.int64], out: Floats) -> None:
    """Fill out (f8[5,n]) with the rows of a Summary."""
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
