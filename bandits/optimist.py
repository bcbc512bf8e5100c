"""The pmf of `auto`: optimistic scores, and weights that fall in units of each arm's own doubt, from one frozen posterior.

With m_k the mean and v_k its variance at x the score is u_k = m_k + optimism sqrt(v_k), and with u* the highest
p_k ~ exp(-(u* - u_k)^2 / (2 temperature^2 v_k)): Maillard sampling (Bian and Jun 2022, arXiv:2111.03290) of optimistic
means, K exponentials. Arms that are alike have equal chances, and so has everybody while nothing is known.

No chance is below a least one, which is there for the sake of evidence and is lower for an arm of which a few trials
tell that it is worse: least / (1 + (ease gap^2 / noise)^2). What that takes is taken in proportion to what is above it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits._jit import jit

# Places of the slot's numbers; the noise is a variance.
NOISE, OPTIMISM, TEMPERATURE, EASE, NUMBERS = range(5)
TINY = 1e-300


@jit
def optimistic(
    m: NDArray[np.float64],
    v: NDArray[np.float64],
    least: NDArray[np.float64],
    numbers: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Fill out (f8[n]) with the pmf over n arms of means m and variances v; `least` is changed."""
    n, best, top, total, kept, above = m.size, -np.inf, -np.inf, 0.0, 0.0, 0.0
    for k in range(n):
        out[k] = m[k] + numbers[OPTIMISM] * math.sqrt(v[k])
        best, top = max(best, m[k]), max(top, out[k])
    scale, ease = 2.0 * numbers[TEMPERATURE] * numbers[TEMPERATURE], numbers[EASE] / numbers[NOISE]
    for k in range(n):
        gap = top - out[k]
        out[k] = math.exp(-gap * gap / max(scale * v[k], TINY))
        total += out[k]
        worse = ease * (best - m[k]) * (best - m[k])
        least[k] /= 1.0 + worse * worse
        kept += least[k]
    for k in range(n):
        out[k] = max(out[k] / total - least[k], 0.0)
        above += out[k]
    for k in range(n):
        out[k] = least[k] + (1.0 - kept) * out[k] / above
