"""Which of several independent normal unknowns is the greatest, by the trapezoidal rule: points at even distances.

What is integrated is analytic and vanishes at both ends, so the error falls as exp(-2 (pi s / step)^2) for one law of scale s
(Trefethen, Weideman, The exponentially convergent trapezoidal rule, SIAM Review 56, 2014), more slowly for the greatest of
many, whose law is narrower: `spacing`. So few points do, shared by all: 40 where panels take 80 (students.py), and a normal's
distribution function needs no integral. Where widths differ much they are too many, and panels it is.

`belief` and what of it is live are as `contenders` leaves them (students.py). A probability is right within 1e-10 (seen: 2e-11).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits._jit import borrowed, inlined, jit
from bandits.special import exponentials
from bandits.student import CENTRE, DOF, GAUSSIAN, SCALE, TAIL

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

POINTS = 8  # of a turn: a register of AVX-512
MOST = 128  # points, beyond which panels cost less
FAR = 7.5  # scales, beyond which nothing is left even of many
DENSITY = 0.3989422804014327  # of a normal law at 0


@jit
def spacing(belief: Floats, live: Ints) -> float:
    """How far points may lie apart, if all those are normal; else 0."""
    least = np.inf
    for k in live:
        if not belief[DOF, k] > GAUSSIAN:
            return 0.0
        least = min(least, belief[SCALE, k])
    return least / (1.1 + 0.8 * math.log(live.size))


@jit
def few(belief: Floats, live: Ints, low: float, high: float) -> bool:
    """Whether `by_points` is to be taken."""
    return high - low <= MOST * spacing(belief, live)


@inlined
def descend(z: Floats, at: int, first: float, pace: float) -> None:
    """Fill z from `at` on with POINTS numbers down from first. Written out, here and below, as only so it is vector code."""
    z[at], z[at + 1], z[at + 2], z[at + 3] = first, first - pace, first - 2.0 * pace, first - 3.0 * pace
    z[at + 4], z[at + 5] = first - 4.0 * pace, first - 5.0 * pace
    z[at + 6], z[at + 7] = first - 6.0 * pace, first - 7.0 * pace


@jit
def distributions(z: Floats, work: Floats, bits: Ints, hazard: Floats, cdf: Floats) -> None:
    """Fill cdf with the distribution function at each z, and hazard with exp(-z^2/2) over it; z > -37.

    Algorithm 5666 of Hart et al., Computer Approximations, 1968, in the form of West, Better approximations to cumulative
    normal functions, 2005, within 1e-13. `bits` is work.view(np.int64).
    """
    for i in range(z.size):
        work[i] = -0.5 * z[i] * z[i]
    exponentials(work, bits, 1.0, hazard)
    for i in range(z.size):
        x, e = abs(z[i]), hazard[i]
        p = ((3.52624965998911e-02 * x + 0.700383064443688) * x + 6.37396220353165) * x + 33.912866078383
        p = ((p * x + 112.079291497871) * x + 221.213596169931) * x + 220.206867912376
        q = ((8.83883476483184e-02 * x + 1.75566716318264) * x + 16.064177579207) * x + 86.7807322029461
        q = (((q * x + 296.564248779674) * x + 637.333633378831) * x + 793.826512519948) * x + 440.413735824752
        tail = e * p / q
        below = 1.0 - tail if z[i] > 0.0 else tail
        cdf[i] = below
        hazard[i] = e / below


@jit
def gather(active: Ints, pace: Floats, hazard: Floats, cdf: Floats, out: Floats) -> float:
    """Add what POINTS bring each of them, and return the chance that the greatest is below the last point."""
    a = b = c = d = e = f = g = h = 1.0
    at = 0
    for _ in active:
        a, b, c, d = a * cdf[at], b * cdf[at + 1], c * cdf[at + 2], d * cdf[at + 3]
        e, f, g, h = e * cdf[at + 4], f * cdf[at + 5], g * cdf[at + 6], h * cdf[at + 7]
        at += POINTS
    at = 0
    for i in range(active.size):
        one = (hazard[at] * a + hazard[at + 4] * e) + (hazard[at + 2] * c + hazard[at + 6] * g)
        two = (hazard[at + 1] * b + hazard[at + 5] * f) + (hazard[at + 3] * d + hazard[at + 7] * h)
        out[active[i]] += pace[i] * (one + two)
        at += POINTS
    return h


@jit
def by_points(belief: Floats, live: Ints, low: float, high: float, scratch: Floats, active: Ints, out: Floats) -> None:
    """Add to out the probability of each of those live to be the greatest. scratch: f8[(4 POINTS + 1) live]; active: i8[live]."""
    belief, scratch, active, size = borrowed(belief), borrowed(scratch), borrowed(active), POINTS * live.size
    z, work, hazard, cdf = scratch[:size], scratch[size : 2 * size], scratch[2 * size : 3 * size], scratch[3 * size :]
    pace, bits, step = scratch[4 * size :], work.view(np.int64), spacing(belief, live)
    t, left = high, 1.0
    while t > low and left > TAIL:
        count = 0
        for k in live:
            if belief[CENTRE, k] + FAR * belief[SCALE, k] > t - (POINTS - 1) * step:
                narrow = 1.0 / belief[SCALE, k]
                pace[count] = DENSITY * step * narrow
                descend(z, count * POINTS, (t - belief[CENTRE, k]) * narrow, step * narrow)
                active[count] = k
                count += 1
        size = count * POINTS
        distributions(z[:size], work[:size], bits[:size], hazard, cdf)
        left = gather(active[:count], pace, hazard, cdf, out)
        t -= POINTS * step
