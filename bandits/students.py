"""Which of several independent Student t unknowns is the greatest: pi_k = int f_k(t) prod_{j != k} F_j(t) dt.

On the way of every decision of linear Thompson sampling, so it is made for speed; Betas, which reports ask for too
and where tails have to be relatively exact, are in betas.py.

Gauss-Legendre panels of 16 nodes (rule.py), each as long as the narrowest density at that place allows: widths may
differ by any factor, and far from a density a panel is longer in proportion. The march goes down from where nothing
is left above: there every F_j is 1, so no distribution function is ever asked for. Each F_j is 1 less the integral
so far, by the very nodes that its density is needed at. A probability is right within 1e-9 (seen: 2e-11).

`belief` is f8[6,n]: centre, scale, degrees of freedom, ln density at 0 and reach of each (student.laws), all given,
and the mass above the panel, which is filled in. reach becomes the upper end.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits._jit import jit
from bandits.normals import POINTS, by_points, few
from bandits.rule import INNER, NODES, PLACES, WEIGHTS, collect
from bandits.special import exponentials, logarithms
from bandits.student import ABOVE, CENTRE, DOF, GAUSSIAN, NORM, REACH, SCALE, TAIL, UPPER

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# How long a panel may be: in scales; times sqrt(dof), as the density has poles at +-i sqrt(dof); in distances.
STEP, POLE, GROW = 4.5, 1.4, 0.7


@jit
def densities(
    belief: Floats, k: int, t: float, half: float, work: Floats, bits: Ints, spare: Floats, f: Floats
) -> None:
    """Fill f with the density of k at the nodes of the panel down from t, times half its length."""
    dof, norm = belief[DOF, k], belief[NORM, k]
    first, pace = (t - belief[CENTRE, k]) / belief[SCALE, k], half / belief[SCALE, k]
    if dof > GAUSSIAN:
        for i in range(NODES):
            z = first - pace * PLACES[i]
            work[i] = norm - 0.5 * z * z
    else:
        inverse, power = 1.0 / dof, -0.5 * (dof + 1.0)
        for i in range(NODES):
            z = first - pace * PLACES[i]
            work[i] = 1.0 + z * z * inverse
        logarithms(work, bits, spare)
        for i in range(NODES):
            work[i] = norm + power * work[i]
    exponentials(work, bits, pace, f)


@jit
def carry(belief: Floats, k: int, f: Floats, cdf: Floats) -> None:
    """Fill cdf with F_k at the nodes, from f times half the length, and take the mass above to the panel's lower end."""
    above = belief[ABOVE, k]
    for i in range(NODES):
        value = 1.0 - above
        for j in range(NODES):
            value -= INNER[j, i] * f[j]
        cdf[i] = max(0.0, min(1.0, value))
    for j in range(NODES):
        above += WEIGHTS[j] * f[j]
    belief[ABOVE, k] = above


@jit
def contenders(belief: Floats) -> tuple[Ints, float, float]:
    """Those that can be the greatest, and where that greatest may lie: low, high. Fills in the two last rows.

    Centres become distances from that of the unknown whose lower end is the highest: whoever is narrow and not beaten
    lies there, so that no digits are lost. What is narrower than t has digits, elsewhere, is a step to all others.
    """
    n, count, first, low, high = belief.shape[1], 0, 0, -np.inf, -np.inf
    for k in range(n):
        end = belief[CENTRE, k] - belief[SCALE, k] * belief[REACH, k]
        if end > low:
            first, low = k, end
    origin, low = belief[CENTRE, first], -belief[SCALE, first] * belief[REACH, first]
    live = np.empty(n, np.int64)
    for k in range(n):
        belief[CENTRE, k] -= origin
        belief[SCALE, k] = max(belief[SCALE, k], 1e-12 * abs(belief[CENTRE, k]))
        belief[UPPER, k] = belief[CENTRE, k] + belief[SCALE, k] * belief[REACH, k]
        belief[ABOVE, k] = 0.5 * TAIL
        if belief[UPPER, k] > low:
            live[count] = k
            count += 1
            high = max(high, belief[UPPER, k])
    return live[:count], low, high


@jit
def panel_end(belief: Floats, live: Ints, t: float) -> float:
    """Where the panel down from t ends."""
    end = -np.inf
    for k in live:
        away = t - belief[CENTRE, k]
        near = GROW * away if away > 0.0 else -GROW / (1.0 - GROW) * away  # the same panels on both sides
        own = t - max(near, belief[SCALE, k] * min(STEP, POLE * math.sqrt(belief[DOF, k])))
        if belief[UPPER, k] < t:  # nothing of k lies above
            own = min(own, belief[UPPER, k])
        end = max(end, own)
    return min(end, t - 1e-14 * abs(t))


@jit
def left_below(belief: Floats, live: Ints) -> float:
    """The chance that the greatest is below the last panel."""
    chance = 1.0
    for k in live:
        chance *= max(0.0, 1.0 - belief[ABOVE, k])
    return chance


@jit
def by_panels(belief: Floats, live: Ints, low: float, high: float, out: Floats) -> None:
    """Add to out the probability of each of those live to be the greatest."""
    scratch = np.empty((2 * live.size + 2, NODES))
    f, cdf = scratch[: live.size], scratch[live.size : 2 * live.size]
    work, spare = scratch[2 * live.size], scratch[2 * live.size + 1]
    bits, t = work.view(np.int64), high
    while t > low and left_below(belief, live) > TAIL:
        end = panel_end(belief, live, t)
        for p in range(live.size):
            if end >= belief[UPPER, live[p]]:
                f[p, :] = 0.0
                cdf[p, :] = 1.0
            else:
                densities(belief, live[p], t, 0.5 * (t - end), work, bits, spare, f[p])
                carry(belief, live[p], f[p], cdf[p])
        collect(live, f, cdf, work, out)
        t = end


@jit
def greatest(belief: Floats, out: Floats) -> None:
    """Fill out (f8[n]) with the probability of each to be the greatest, summing to 1.

    Unknowns whose upper end is below another's lower end get 0.
    """
    live, low, high = contenders(belief)
    out[:] = 0.0
    if live.size == 1:
        out[live[0]] = 1.0
        return
    if few(belief, live, low, high):
        by_points(belief, live, low, high, np.empty((4 * POINTS + 1) * live.size), np.empty_like(live), out)
    else:
        by_panels(belief, live, low, high, out)
    total = 0.0
    for k in live:
        total += out[k]
    for k in live:
        out[k] /= total
