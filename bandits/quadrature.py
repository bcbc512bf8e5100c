"""Which of several independent unknowns is greatest: pi_k = int f_k(t) prod_{j != k} F_j(t) dt.

One march over panels serves every family. A panel is as long as the narrowest density at that place allows, so
widths may differ by any factor; a panel far from a density is longer in proportion, as in t = m + s sinh(v). The F_j
are carried along by integrating the densities with the same nodes (rule.py); products without the k-th factor are
prefix times suffix, so nothing is divided and no logarithm is taken.

A single panel of 128 nodes over the whole range is as good only while widths are alike: with a new arm, Beta(1, 1),
beside Beta(2000, 4000) and Beta(1999, 3999) its probabilities are wrong by 0.036.

A table describes the unknowns, f8[7, n]: shape, second shape, centre, scale are given; ln density at the centre,
upper end and F are filled in here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits import beta, student
from bandits._jit import jit

BETA = 0  # on the logit axis; shapes a and b
STUDENT = 1  # shape dof
SHAPE, SECOND, CENTRE, SCALE, NORM, UPPER, BELOW = range(7)

# The fall of a density (logarithm) beyond which it is taken as 0: 1e-26 and, where tails are heavy, 1e-13.
BETA_DEPTH = 60.0
STUDENT_DEPTH = 30.0


@jit
def density(family: int, table: NDArray[np.float64], k: int, t: float) -> float:
    """f_k(t), with respect to the axis the family lives on."""
    if family == BETA:
        return math.exp(table[NORM, k] + beta.fall(table[SHAPE, k], table[SECOND, k], t - table[CENTRE, k]))
    z = (t - table[CENTRE, k]) / table[SCALE, k]
    return math.exp(table[NORM, k] + student.fall(table[SHAPE, k], z)) / float(table[SCALE, k])


@jit
def lower_end(family: int, table: NDArray[np.float64], k: int) -> float:
    """Where f_k begins."""
    if family == BETA:
        return float(table[CENTRE, k] - beta.reach(table[SHAPE, k], table[SECOND, k], -1.0, BETA_DEPTH))
    return float(table[CENTRE, k] - table[SCALE, k] * student.reach(table[SHAPE, k], STUDENT_DEPTH))


@jit
def prepare(family: int, table: NDArray[np.float64]) -> None:
    """Fill in the norm and the upper end of each unknown; for BETA also centre and scale."""
    for k in range(table.shape[1]):
        a, b = table[SHAPE, k], table[SECOND, k]
        if family == BETA:
            table[CENTRE, k] = beta.mode(a, b)
            table[SCALE, k] = beta.width(a, b)
            table[NORM, k] = beta.norm(a, b)
            table[UPPER, k] = table[CENTRE, k] + beta.reach(a, b, 1.0, BETA_DEPTH)
        else:
            table[NORM, k] = student.norm(a)
            table[UPPER, k] = table[CENTRE, k] + table[SCALE, k] * student.reach(a, STUDENT_DEPTH)


@jit
def stride(table: NDArray[np.float64], k: int, t: float, step: float) -> float:
    """How long a panel from t may be for f_k: `step` scales near the centre, in proportion further out."""
    return float(step * max(table[SCALE, k], 0.25 * abs(t - table[CENTRE, k])))


@jit
def mass(family: int, table: NDArray[np.float64], k: int, low: float, high: float, rule: NDArray[np.float64]) -> float:
    """int f_k from low to high."""
    nodes = int(math.sqrt(rule.size + 1.0)) - 1
    total, t = 0.0, low
    while t < high:
        step = min(stride(table, k, t, 1.0), high - t)
        half = 0.5 * max(step, 1e-15 * abs(t))
        for j in range(nodes):
            total += half * rule[nodes + j] * density(family, table, k, t + half * (1.0 + rule[j]))
        t += 2.0 * half
    return total


@jit
def below(family: int, table: NDArray[np.float64], k: int, t: float, rule: NDArray[np.float64]) -> float:
    """F_k(t), relatively exact in the lower tail."""
    if family == STUDENT:
        return student.cdf(table[SHAPE, k], (t - table[CENTRE, k]) / table[SCALE, k])
    if t <= table[CENTRE, k]:
        return mass(family, table, k, lower_end(family, table, k), t, rule)
    return max(0.0, 1.0 - mass(family, table, k, t, table[UPPER, k], rule))


@jit
def carry(
    family: int,
    table: NDArray[np.float64],
    k: int,
    t: float,
    half: float,
    rule: NDArray[np.float64],
    f: NDArray[np.float64],
    cdf: NDArray[np.float64],
) -> None:
    """Fill f and cdf (f8[nodes]) with f_k and F_k at the nodes of the panel from t, and carry F_k to its end."""
    nodes = f.size
    if t >= table[UPPER, k]:
        f[:] = 0.0
        cdf[:] = 1.0
        return
    for i in range(nodes):
        f[i] = half * density(family, table, k, t + half * (1.0 + rule[i]))
        cdf[i] = table[BELOW, k]
    for j in range(nodes):
        row = nodes * (2 + j)
        value = f[j]
        for i in range(nodes):
            cdf[i] += rule[row + i] * value
        table[BELOW, k] += rule[nodes + j] * value
    for i in range(nodes):
        cdf[i] = min(max(cdf[i], 0.0), 1.0)


@jit
def collect(
    live: NDArray[np.int64],
    count: int,
    weights: NDArray[np.float64],
    f: NDArray[np.float64],
    cdf: NDArray[np.float64],
    products: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add a panel to out: f_k times the F of all others; leaves the density of the maximum in `products`."""
    nodes = weights.size
    products[:] = 1.0
    for p in range(count):
        for j in range(nodes):
            f[p, j] *= products[j]
            products[j] *= cdf[p, j]
    products[:] = 1.0
    for p in range(count - 1, -1, -1):
        total = 0.0
        for j in range(nodes):
            f[p, j] *= products[j]
            products[j] *= cdf[p, j]
            total += weights[j] * f[p, j]
        out[live[p]] += total
    products[:] = 0.0
    for p in range(count):
        for j in range(nodes):
            products[j] += f[p, j]


@jit
def race_start(
    family: int, table: NDArray[np.float64], rule: NDArray[np.float64], live: NDArray[np.int64]
) -> tuple[int, float, float]:
    """Number of unknowns that can be the greatest (listed in live), and where that greatest may lie: low, high."""
    low, high, count = -np.inf, -np.inf, 0
    prepare(family, table)
    for k in range(table.shape[1]):
        low = max(low, lower_end(family, table, k))
        high = max(high, table[UPPER, k])
    for k in range(table.shape[1]):
        if table[UPPER, k] > low:
            live[count] = k
            count += 1
    if count > 1:
        for p in range(count):
            table[BELOW, live[p]] = below(family, table, live[p], low, rule)
    return count, low, high


@jit
def natural(family: int, t: float) -> float:
    """The unknown itself where the axis shows t."""
    if family == BETA:
        return 1.0 / (1.0 + math.exp(-t)) if t > -700.0 else 0.0
    return t


@jit
def greatest(
    family: int, table: NDArray[np.float64], rule: NDArray[np.float64], step: float, out: NDArray[np.float64]
) -> float:
    """Fill out (f8[n]) with the probability of each to be greatest, summing to 1; returns E[max].

    `step` is the length of a panel in scales where a density is centred. Unknowns whose upper end is below
    another's lower end get 0.
    """
    n = table.shape[1]
    nodes = int(math.sqrt(rule.size + 1.0)) - 1
    live = np.empty(n, np.int64)
    count, t, high = race_start(family, table, rule, live)
    out[:] = 0.0
    if count == 1:
        out[live[0]] = 1.0
        return natural(family, table[CENTRE, live[0]])
    f = np.empty((count, nodes))
    cdf = np.empty((count, nodes))
    products = np.empty(nodes)
    weights = rule[nodes : 2 * nodes]
    expected, shortest = 0.0, 1e-14 * (high - t)
    while t < high:
        length = high - t
        for p in range(count):
            if t < table[UPPER, live[p]]:
                length = min(length, stride(table, live[p], t, step))
        half = 0.5 * max(length, shortest)
        for p in range(count):
            carry(family, table, live[p], t, half, rule, f[p], cdf[p])
        collect(live, count, weights, f, cdf, products, out)
        for j in range(nodes):
            expected += weights[j] * products[j] * natural(family, t + half * (1.0 + rule[j]))
        t += 2.0 * half
    total = out.sum()
    for k in range(n):
        out[k] /= total
    return float(expected / total)


@jit
def quantile(family: int, table: NDArray[np.float64], k: int, q: float, rule: NDArray[np.float64]) -> float:
    """The t with F_k(t) = q, for q not in the far tails: march to its panel, then Newton kept inside the panel."""
    low, high, base = lower_end(family, table, k), table[UPPER, k], 0.0
    while low < high:
        end = min(high, low + stride(table, k, low, 1.0))
        inside = mass(family, table, k, low, end, rule)
        if base + inside >= q or end <= low:
            high = end
            break
        base += inside
        low = end
    start, t = low, 0.5 * (low + high)
    for _ in range(60):
        gap = base + mass(family, table, k, start, t, rule) - q
        low, high = (t, high) if gap < 0.0 else (low, t)
        step = t - gap / density(family, table, k, t)
        if not low <= step <= high:
            step = 0.5 * (low + high)
        if abs(step - t) <= 1e-14 * max(abs(t), table[SCALE, k]):
            return float(step)
        t = step
    return float(t)
