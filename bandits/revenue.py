"""Two-part revenue Thompson sampling: the chance of an order (Beta) times the value of one (Normal-Inverse-Gamma).

The chance is learned from all traffic and fast, the value from buyers only and slowly; as one number a rare, heavy-tailed
reward takes far longer. Values are raw and winsorised (a metric's total is clipped to its range before it teaches), not
logarithms: the posterior mean of a log-normal's mean is infinite.

The product has no simple law. Its pmf is the share of 4,096 pairs of draws in which an arm is the highest. The draws are
the same numbers for every arm and server, made from a hash; so the pmf is a function of the sums, smooth from one
refresh to the next, and exact, because an arm is drawn from the very shares that were counted.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOATS, FLOATS_OUT, INTS, entry, jit
from bandits.belief import LEAST_B, Arms, Settings, context_free
from bandits.context_free import floored
from bandits.draw import uniform
from bandits.posterior import ARMS, BLOCK, HEADER, LAW, THETA, Floats, Kind, Posterior, Sums
from bandits.prior import Priors, with_priors

DRAWS = 4096
SALT_CHANCE, SALT_VALUE, SALT_SPREAD, SALT_POWER = 1, 2, 3, 16
TINY = 1e-100


def revenue(sums: Sums, settings: Settings, arms: Arms, priors: Priors | None = None) -> Posterior:
    """The posterior: par (a, b, 0) of the chance, and (mean, scale, dof) of the value where other policies have beliefs.

    Orders are trials whose total is not zero. `m0`, the prior mean of a value, is that of all orders.
    """
    m0, spread = _value(sums)
    sums = with_priors(sums, priors)
    kappa0, a0 = settings["kappa0"], settings["a0"]
    b0 = max(LEAST_B * m0 * m0, a0 * spread)
    par, belief = np.zeros((sums.n.size, 3)), np.zeros((sums.n.size, 3))
    par[:, 0], par[:, 1] = settings["prior_a"], settings["prior_b"]
    c = np.zeros_like(sums.n)
    c[arms] = np.maximum(sums.rewarded[arms], 0.0)
    par[:, 0] += c
    par[arms, 1] += np.maximum(sums.n[arms] - c[arms], 0.0)
    own = np.divide(sums.s1, c, out=np.full_like(c, m0), where=c > 0.0)
    gap = np.maximum(sums.s2 - c * own * own, 0.0) * (c > 0.0) + kappa0 * c / (kappa0 + c) * (own - m0) ** 2
    a = a0 + 0.5 * c
    belief[:, 0] = m0 + c / (kappa0 + c) * (own - m0)
    belief[:, 1] = np.sqrt((b0 + 0.5 * gap) / (a * (kappa0 + c)))
    belief[:, 2] = 2.0 * a
    return context_free(Kind.REVENUE, par, belief, settings)


def _value(sums: Sums) -> tuple[float, float]:
    """Mean and variance of an order's value over all arms, without their priors.

    Two orders that nobody has seen come first; where there is no order yet, one may be worth all that is declared.
    """
    orders, s1, s2 = (math.fsum(column.tolist()) for column in (sums.rewarded, sums.s1, sums.s2))
    m0 = s1 / orders if orders > 0.0 else 1.0
    return m0, (max(s2 - orders * m0 * m0, 0.0) + 2.0 * 0.25 * m0 * m0) / (max(orders, 0.0) + 2.0)


@jit
def normal(salt: int, draw: int, number: int) -> float:
    """A standard normal number that belongs to (salt, draw, number): Box and Muller."""
    u = uniform(np.uint64(salt), np.uint64(draw), np.int64(2 * number))
    v = uniform(np.uint64(salt), np.uint64(draw), np.int64(2 * number + 1))
    return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)


@jit
def gamma_draw(shape: float, salt: int, draw: int, number: int) -> float:
    """A gamma number of this shape: one of shape + 1, the cube of a normal one to within half a percent (Wilson and
    Hilferty 1931), times U^(1 / shape), which is exact.
    """
    more = shape + 1.0
    base = 1.0 - 1.0 / (9.0 * more) + normal(salt, draw, number) / (3.0 * math.sqrt(more))
    u = uniform(np.uint64(salt + SALT_POWER), np.uint64(draw), np.int64(number))
    return float(max(more * max(base, TINY) ** 3 * u ** (1.0 / shape), TINY))


@jit
def product_draws(packed: Floats, arms: NDArray[np.int64], out: NDArray[np.float64]) -> None:
    """Fill out (f8[n, DRAWS]) with the draws of each arm's chance x value - cost: the same numbers for the same arm."""
    total = int(packed[ARMS])
    theta, cov = HEADER + THETA * total, HEADER + (THETA + BLOCK) * total
    for i in range(arms.size):
        k = arms[i]
        shape = 0.5 * packed[HEADER + LAW * total + k]
        for draw in range(out.shape[1]):
            x = gamma_draw(packed[HEADER + k], SALT_CHANCE, draw, 2 * k)
            y = gamma_draw(packed[HEADER + total + k], SALT_CHANCE, draw, 2 * k + 1)
            spread = gamma_draw(shape, SALT_SPREAD, draw, k) / shape
            value = packed[theta + k] + math.sqrt(packed[cov + k] / spread) * normal(SALT_VALUE, draw, k)
            out[i, draw] = x / (x + y) * value - packed[HEADER + 2 * total + k]


@jit
def product_shares(packed: Floats, arms: NDArray[np.int64], out: NDArray[np.float64]) -> float:
    """Fill out (f8[n]) with the share of draws in which each arm is the highest, ties split; returns E[max]."""
    draws = np.empty((arms.size, DRAWS))
    product_draws(packed, arms, draws)
    out[:] = 0.0
    greatest = 0.0
    for draw in range(DRAWS):
        best, ties = -np.inf, 0.0
        for i in range(arms.size):
            best = max(best, draws[i, draw])
        for i in range(arms.size):
            ties += 1.0 if draws[i, draw] == best else 0.0
        for i in range(arms.size):
            if draws[i, draw] == best:
                out[i] += 1.0 / (ties * DRAWS)
        greatest += best / DRAWS
    return greatest


@entry(FLOATS, INTS, FLOATS_OUT, nogil=True)
def product_odds(packed: Floats, arms: NDArray[np.int64], out: NDArray[np.float64]) -> None:
    """Fill out (f8[n]) with the floored pmf over `arms` of REVENUE."""
    product_shares(packed, arms, out)
    floored(packed, out)
