"""Special functions that Numba does not have."""

from __future__ import annotations

import math

from bandits._jit import jit


@jit
def stirling(z: float) -> float:
    """ln Gamma(z) - [(z - 1/2) ln z - z + ln(2 pi)/2] for z > 0, to 1e-16 where z >= 16.

    What is left after the big terms cancel: ln Gamma itself at 1e9 has an absolute error of 1e-6.
    """
    if z >= 16.0:
        r = 1.0 / (z * z)
        return (1.0 / 12 - r * (1.0 / 360 - r * (1.0 / 1260 - r * (1.0 / 1680 - r * (1.0 / 1188))))) / z
    return math.lgamma(z) - ((z - 0.5) * math.log(z) - z + 0.9189385332046727)


@jit
def fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22) by Lentz's method, x < (a+1)/(a+b+2)."""
    tiny = 1e-300
    c = 1.0
    d = 1.0 / max(1.0 - (a + b) * x / (a + 1.0), tiny)
    value = d
    for m in range(1, 100_000):
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        for term in (even, odd):
            d = 1.0 + term * d
            c = 1.0 + term / c
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


@jit
def betainc(a: float, b: float, x: float, y: float) -> float:
    """Regularised incomplete beta function I_x(a, b), y = 1 - x given apart so that neither end cancels.

    The number of terms grows with the lesser of a and b: used where one of them is 1/2.
    """
    if x <= 0.0:
        return 0.0
    if y <= 0.0:
        return 1.0
    log_front = a * math.log(x * (a + b) / a) + b * math.log(y * (a + b) / b)
    log_front += 0.5 * math.log(a * b / (6.283185307179586 * (a + b)))
    front = math.exp(log_front + stirling(a + b) - stirling(a) - stirling(b))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * fraction(a, b, x) / a
    return 1.0 - front * fraction(b, a, y) / b
