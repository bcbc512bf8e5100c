"""Which of several independent Betas is the greatest: pi_k = int f_k(t) prod_{j != k} F_j(t) dt, on the logit axis.

One march over Gauss-Legendre panels (rule.py). A panel is as long as the narrowest density at that place allows, so
widths may differ by any factor; a panel far from a density is longer in proportion, as in t = m + s sinh(v). The F_j
are carried along by integrating the densities with the same nodes; products without the k-th factor are prefix times
suffix, so nothing is divided and no logarithm is taken. The march goes up, so that small chances are relatively exact.

A single panel of 128 nodes over the whole range is as good only while widths are alike: with a new arm, Beta(1, 1),
beside Beta(2000, 4000) and Beta(1999, 3999) its probabilities are wrong by 0.036.

`shapes` are f8[n,2]: a and b of each. A table describes the unknowns, f8[7,n]: a, b, centre, scale, ln density at the
centre, upper end, and F where the march is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits import beta
from bandits._jit import jit
from bandits.rule import INNER, NODES, PLACES, WEIGHTS, collect

Floats = NDArray[np.float64]

A, B, CENTRE, SCALE, NORM, UPPER, BELOW = range(7)
DEPTH = 60.0  # the fall of a density (logarithm) beyond which it is taken as 0: 1e-26
STEP = 1.0  # length of a panel in scales: a probability is right within 1e-12, with 200 arms of 1e9 trials within 1e-8


@jit
def table_of(shapes: Floats) -> Floats:
    """The table, but for F."""
    table = np.empty((7, shapes.shape[0]))
    for k in range(shapes.shape[0]):
        a, b = shapes[k, 0], shapes[k, 1]
        table[A, k], table[B, k], table[BELOW, k] = a, b, 0.0
        table[CENTRE, k], table[SCALE, k], table[NORM, k] = beta.mode(a, b), beta.width(a, b), beta.norm(a, b)
        table[UPPER, k] = table[CENTRE, k] + beta.reach(a, b, 1.0, DEPTH)
    return table


@jit
def density(table: Floats, k: int, t: float) -> float:
    """f_k(t), with respect to the logit."""
    return math.exp(table[NORM, k] + beta.fall(table[A, k], table[B, k], t - table[CENTRE, k]))


@jit
def lower_end(table: Floats, k: int) -> float:
    """Where f_k begins."""
    return float(table[CENTRE, k] - beta.reach(table[A, k], table[B, k], -1.0, DEPTH))


@jit
def stride(table: Floats, k: int, t: float) -> float:
    """How long a panel from t may be for f_k: STEP scales near the centre, in proportion further out."""
    return float(STEP * max(table[SCALE, k], 0.25 * abs(t - table[CENTRE, k])))


@jit
def mass(table: Floats, k: int, low: float, high: float) -> float:
    """int f_k from low to high."""
    total, t = 0.0, low
    while t < high:
        step = min(stride(table, k, t), high - t)
        half = 0.5 * max(step, 1e-15 * abs(t))
        for j in range(NODES):
            total += half * WEIGHTS[j] * density(table, k, t + half * PLACES[j])
        t += 2.0 * half
    return total


@jit
def below(table: Floats, k: int, t: float) -> float:
    """F_k(t), relatively exact in the lower tail."""
    if t <= table[CENTRE, k]:
        return mass(table, k, lower_end(table, k), t)
    return max(0.0, 1.0 - mass(table, k, t, table[UPPER, k]))


@jit
def carry(table: Floats, k: int, t: float, half: float, f: Floats, cdf: Floats) -> None:
    """Fill f and cdf with f_k, times half the length, and F_k at the nodes of the panel from t; carry F_k to its end."""
    if t >= table[UPPER, k]:
        f[:] = 0.0
        cdf[:] = 1.0
        return
    for i in range(NODES):
        f[i] = half * density(table, k, t + half * PLACES[i])
        cdf[i] = table[BELOW, k]
    for j in range(NODES):
        value = f[j]
        for i in range(NODES):
            cdf[i] += INNER[j, i] * value
        table[BELOW, k] += WEIGHTS[j] * value
    for i in range(NODES):
        cdf[i] = min(max(cdf[i], 0.0), 1.0)


@jit
def contenders(table: Floats) -> tuple[NDArray[np.int64], float, float]:
    """Those that can be the greatest, and where that greatest may lie: low, high. Fills in F at low."""
    low, high, count = -np.inf, -np.inf, 0
    for k in range(table.shape[1]):
        low, high = max(low, lower_end(table, k)), max(high, table[UPPER, k])
    live = np.empty(table.shape[1], np.int64)
    for k in range(table.shape[1]):
        if table[UPPER, k] > low:
            live[count] = k
            count += 1
    if count > 1:
        for k in live[:count]:
            table[BELOW, k] = below(table, k, low)
    return live[:count], low, high


@jit
def natural(t: float) -> float:
    """The chance whose logit is t."""
    return 1.0 / (1.0 + math.exp(-t)) if t > -700.0 else 0.0


@jit
def greatest(shapes: Floats, out: Floats) -> float:
    """Fill out (f8[n]) with the probability of each to be greatest, summing to 1; returns E[max].

    Unknowns whose upper end is below another's lower end get 0.
    """
    table = table_of(shapes)
    live, t, high = contenders(table)
    out[:] = 0.0
    if live.size == 1:
        out[live[0]] = 1.0
        return natural(table[CENTRE, live[0]])
    f, cdf, product = np.empty((live.size, NODES)), np.empty((live.size, NODES)), np.empty(NODES)
    expected, shortest = 0.0, 1e-14 * (high - t)
    while t < high:
        length = high - t
        for k in live:
            if t < table[UPPER, k]:
                length = min(length, stride(table, k, t))
        half = 0.5 * max(length, shortest)
        for p in range(live.size):
            carry(table, live[p], t, half, f[p], cdf[p])
        collect(live, f, cdf, product, out)
        for j in range(NODES):
            value = WEIGHTS[j] * natural(t + half * PLACES[j])
            for p in range(live.size):
                expected += value * f[p, j]
        t += 2.0 * half
    total = out.sum()
    for k in range(out.size):
        out[k] /= total
    return float(expected / total)


@jit
def quantile(table: Floats, k: int, q: float) -> float:
    """The t with F_k(t) = q, for q not in the far tails: march to its panel, then Newton kept inside the panel."""
    low, high, base = lower_end(table, k), table[UPPER, k], 0.0
    while low < high:
        end = min(high, low + stride(table, k, low))
        inside = mass(table, k, low, end)
        if base + inside >= q or end <= low:
            high = end
            break
        base += inside
        low = end
    start, t = low, 0.5 * (low + high)
    for _ in range(60):
        gap = base + mass(table, k, start, t) - q
        low, high = (t, high) if gap < 0.0 else (low, t)
        step = t - gap / density(table, k, t)
        if not low <= step <= high:
            step = 0.5 * (low + high)
        if abs(step - t) <= 1e-14 * max(abs(t), table[SCALE, k]):
            return float(step)
        t = step
    return float(t)
