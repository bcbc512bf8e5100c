"""Contexts of decisions whose rewards are not known yet: they narrow the width of the chosen arm at once.

A snapshot is some hundred milliseconds old. The reward of a decision made since then is unknown, but that its context
was tried is not: with A + x x' in place of A the next decisions explore elsewhere instead of all doing the same. The
covariance C = s^2 A^-1 of the chosen arm becomes C - (C x)(C x)' / (s^2 + x' C x) (Sherman-Morrison), in a copy of the
packed posterior that belongs to one server and one snapshot; the posterior itself is not touched. A propensity is
exact whatever the copy holds: it is the number that the arm is drawn with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits._jit import CELLS, CELLS2, FLOATS_OUT, INTS, INTS_OUT, WORD, WORDS, entry, jit
from bandits.draw import race
from bandits.pmf import features, masses
from bandits.posterior import ARMS, COLUMNS, HEADER

Floats = NDArray[np.float64]


@jit
def narrow(packed: Floats, x: Floats, arm: int) -> None:
    """Take a trial of the arm at x (learning columns, units of 1) into its covariance. par[0] is the noise s^2."""
    arms, columns = int(packed[ARMS]), int(packed[COLUMNS])
    noise = packed[HEADER + arm]
    if noise <= 0.0:
        return
    start = HEADER + 4 * arms + columns * arms
    cov = packed[start : start + columns * (columns + 1) // 2 * arms].reshape(columns * (columns + 1) // 2, arms)
    moved = np.zeros(columns)
    for j in range(min(columns, x.size)):
        if x[j] != 0.0:
            for i in range(columns):
                moved[i] += x[j] * cov[j * (j + 1) // 2 + i if i <= j else i * (i + 1) // 2 + j, arm]
    scale = noise
    for j in range(min(columns, x.size)):
        scale += x[j] * moved[j]
    for j in range(columns):
        factor = moved[j] / scale
        if factor != 0.0:
            for i in range(j + 1):
                cov[j * (j + 1) // 2 + i, arm] -= factor * moved[i]


@entry(FLOATS_OUT, CELLS, INTS, WORD, WORD, FLOATS_OUT)
def decide_pending(
    packed: Floats, x: NDArray[np.int16], arms: NDArray[np.int64], unit: int, salt: int, out: Floats
) -> int:
    """decide() from a slot's own copy, which then knows of this decision.

    Keeps the interpreter lock, so that no two of these calls run at once: the copy needs no lock of its own.
    """
    values = features(packed, x)
    masses(packed, values, arms, out)
    at = race(out, arms, np.uint64(unit), np.uint64(salt))
    narrow(packed, values, arms[at])
    return at


@entry(FLOATS_OUT, CELLS2, INTS, WORDS, WORD, INTS_OUT, FLOATS_OUT, nogil=True)
def decide_rows_pending(
    packed: Floats,
    rows: NDArray[np.int16],
    arms: NDArray[np.int64],
    units: NDArray[np.uint64],
    salt: int,
    chosen: NDArray[np.int64],
    propensity: Floats,
) -> None:
    """decide_pending() for each row of i2[N,d], without the lock: `packed` must belong to this call alone."""
    out = np.empty(arms.size)
    for i in range(units.size):
        values = features(packed, rows[i])
        masses(packed, values, arms, out)
        at = race(out, arms, units[i], np.uint64(salt))
        chosen[i] = at
        propensity[i] = out[at]
        narrow(packed, values, arms[at])


@entry(FLOATS_OUT, CELLS, INTS)
def note(packed: Floats, x: NDArray[np.int16], arm: NDArray[np.int64]) -> None:
    """Take a decision made elsewhere into the copy; arm is i8[1]."""
    narrow(packed, features(packed, x), arm[0])
