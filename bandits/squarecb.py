"""SquareCB, inverse-gap weighting (Foster and Rakhlin 2020, arXiv:2002.04926, algorithm 1).

With b the arm of the highest posterior mean: p_k = 1 / (K + gamma (m_b - m_k)) for the others, the rest for b.
gamma = scale n^exponent. Means are in units of the size of a reward that is not 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits._jit import jit
from bandits.belief import Arms, Settings, pool, ridge
from bandits.posterior import Floats, Kind, Posterior, Sums, pack
from bandits.prior import Priors


def squarecb(sums: Sums, settings: Settings, arms: Arms, priors: Priors | None = None) -> Posterior:
    """The posterior; its alpha is gamma over the size of a reward."""
    slot = pool(sums)
    fit = ridge(sums, settings, arms, priors)
    gamma = settings["gamma_scale"] * max(slot.trials, 0.0) ** settings["gamma_exponent"] / slot.size
    dof: Floats = np.full(sums.n.size, np.inf)
    cov, par = slot.noise**2 * fit.inverse, np.zeros((sums.n.size, 3))
    return pack(Kind.SQUARECB, par, fit.theta, cov, dof, gamma, np.zeros(0), settings["floor"])


@jit
def inverse_gaps(centre: NDArray[np.float64], gamma: float, out: NDArray[np.float64]) -> None:
    """Fill out (f8[n]) with the pmf over n arms; arms that share the highest mean share what is left for it."""
    n, best, ties, others = centre.size, -np.inf, 0.0, 0.0
    for k in range(n):
        best = max(best, centre[k])
    for k in range(n):
        if centre[k] == best:
            ties += 1.0
        else:
            out[k] = 1.0 / (n + gamma * (best - centre[k]))
            others += out[k]
    for k in range(n):
        if centre[k] == best:
            out[k] = (1.0 - others) / ties
