"""The draw of an arm from a pmf: an exponential race.

Arm k finishes at e_k / p_k with e_k = -ln U(salt, unit, arm number); the first wins. Each arm wins with
probability exactly p_k (e_k / p_k is exponential with rate p_k), and because an arm keeps its e_k, few units move
when the pmf moves. The uniforms are a hash, so a draw can be repeated by whoever knows salt and unit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bandits._jit import FLOATS, FLOATS_OUT, INTS, INTS_OUT, WORD, WORDS, entry, inlined, jit

LESS = 1.0 - 1e-6


@jit
def mix(z: np.uint64) -> np.uint64:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014; constants of Stafford's variant 13)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@jit
def uniform(salt: np.uint64, unit: np.uint64, number: np.int64) -> float:
    """A number in (0, 1], a multiple of 2^-53, that belongs to (salt, unit, arm number)."""
    step = np.uint64(0x9E3779B97F4A7C15)
    start = mix(np.uint64(unit) + mix(np.uint64(salt) + step))
    word = mix(start + step * np.uint64(number + 1))
    return float((word >> np.uint64(11)) + np.uint64(1)) * 2.0**-53


@inlined
def race(p: NDArray[np.float64], arms: NDArray[np.int64], unit: np.uint64, salt: np.uint64) -> int:
    """Position of the winner among `arms`; an arm with p = 0 never wins, the first wins where all are 0.

    -ln u > 1 - u, and most arms are late by that already; LESS is for the rounding.
    """
    winner, least = 0, np.inf
    for i in range(arms.size):
        u = uniform(salt, unit, arms[i])
        if LESS * (1.0 - u) < least * p[i]:  # inf * 0 is nan, and not greater
            finish = -math.log(u) / p[i]
            if finish < least:
                winner, least = i, finish
    return winner


@entry(FLOATS, INTS, WORD, WORD)
def draw(p: NDArray[np.float64], arms: NDArray[np.int64], unit: int, salt: int) -> int:
    """The position in `arms` (i8[n], arm numbers) of the arm that (salt, unit) draws from p (f8[n], sums to 1).

    `unit` and `salt` are below 2^64. 53 bits of the hash are used: p below 1e-15 are not resolved.
    """
    return race(p, arms, np.uint64(unit), np.uint64(salt))


@entry(FLOATS, INTS, WORDS, WORD, INTS_OUT, FLOATS_OUT, nogil=True)
def draw_many(
    p: NDArray[np.float64],
    arms: NDArray[np.int64],
    units: NDArray[np.uint64],
    salt: int,
    chosen: NDArray[np.int64],
    propensity: NDArray[np.float64],
) -> None:
    """draw() from one pmf for each of units (u8[N]): fills chosen (i8[N], positions) and propensity (f8[N])."""
    for i in range(units.size):
        winner = race(p, arms, units[i], np.uint64(salt))
        chosen[i] = winner
        propensity[i] = p[winner]
