"""Special functions that Numba does not have, and the exponential and the logarithm of many numbers at once.

A call of the C library for each number costs 10 ns and keeps a loop from becoming vector code; these cost 2.
Each loop touches a number only as a float or only as bits: LLVM makes no vector code of a loop that does both.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits._jit import jit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LN2 = 0.6931471805599453
LN2_HIGH, LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10  # the high one times 2^10 is exact
TO_BITS = 1.4426950408889634  # 1 / ln 2
TO_WHOLE = 6755399441055744.0  # 1.5 * 2^52: added, it rounds, and the whole number stands in the last bits
HALF_ROOT = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)


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
def logarithms(x: Floats, bits: Ints, spare: Floats) -> None:
    """Put ln x in the place of x (f8[n], finite and not below 1), within 1e-14; `bits` is x.view(np.int64), spare f8[n].

    x = 2^e m with m between sqrt(1/2) and sqrt(2); ln m = 2 artanh q, q = (m - 1) / (m + 1), by its series.
    """
    for i in range(x.size):
        e = (bits[i] - HALF_ROOT) >> 52
        bits[i] -= e << 52
        spare[i] = e
    for i in range(x.size):
        q = (x[i] - 1.0) / (x[i] + 1.0)
        s = q * q
        p = 1.0 / 7 + s * (1.0 / 9 + s * (1.0 / 11 + s * (1.0 / 13 + s * (1.0 / 15))))
        x[i] = spare[i] * LN2 + 2.0 * q * (1.0 + s * (1.0 / 3 + s * (1.0 / 5 + s * p)))


@jit
def exponentials(x: Floats, bits: Ints, factor: float, out: Floats) -> None:
    """Fill out (f8[n]) with factor e^x, relatively within 1e-12, where x (f8[n]) is below 700; below -700 it is e^-700.

    x = n ln 2 + r; e^r by its series, 2^n by its bits. `bits` is x.view(np.int64); x is overwritten.
    """
    for i in range(x.size):
        value = max(-700.0, x[i])
        shifted = value * TO_BITS + TO_WHOLE
        n = shifted - TO_WHOLE
        r = (value - n * LN2_HIGH) - n * LN2_LOW
        p = 1.0 / 720 + r * (1.0 / 5040 + r * (1.0 / 40320 + r * (1.0 / 362880 + r * (1.0 / 3628800))))
        p = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6 + r * (1.0 / 24 + r * (1.0 / 120 + r * p)))))
        out[i] = p * factor
        x[i] = shifted
    for i in range(x.size):
        bits[i] = (bits[i] + 1023) << 52
    for i in range(x.size):
        out[i] *= x[i]
