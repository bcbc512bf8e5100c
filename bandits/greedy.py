"""Epsilon-greedy: the arm with the highest posterior mean, ties split, and a share epsilon for all alike."""

from __future__ import annotations

import numpy as np

from bandits.belief import Arms, Settings, pool, ridge
from bandits.posterior import Floats, Kind, Posterior, Sums, pack
from bandits.prior import Priors


def greedy(sums: Sums, settings: Settings, arms: Arms, priors: Priors | None = None) -> Posterior:
    """LinUCB whose width is 0: all weight to the highest m_k, and epsilon as the floor. With or without features."""
    slot = pool(sums)
    fit = ridge(sums, settings, arms, priors)
    dof: Floats = np.full(sums.n.size, np.inf)
    cov, par = slot.noise**2 * fit.inverse, np.zeros((sums.n.size, 3))
    spread = 1.0 - (1.0 - settings["epsilon"]) * (1.0 - settings["floor"])
    return pack(Kind.LINUCB, par, fit.theta, cov, dof, 0.0, np.ones(1), spread)
