"""The pmf of a packed posterior at x over the eligible arms, and the choice made from it: one compiled call each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits import student, students
from bandits._jit import (
    CELLS,
    CELLS2,
    FLOATS,
    FLOATS_OUT,
    INTS,
    INTS_OUT,
    WORD,
    WORDS,
    borrowed,
    entry,
    inlined,
    jit,
)
from bandits.context_free import among_betas, floored, weighted
from bandits.draw import draw_many, race
from bandits.expansion import expand
from bandits.layout import X_SCALE
from bandits.linucb import shares
from bandits.optimist import optimistic
from bandits.posterior import ALPHA, ARMS, BLOCK, COLUMNS, GRID, HEADER, KIND, LAW, LEAST, MAINS, TERMS, Kind
from bandits.revenue import product_odds
from bandits.scores import blocks, scores, slopes
from bandits.squarecb import inverse_gaps

Floats = NDArray[np.float64]

# Kernels want plain ints.
LINUCB, LINTS = int(Kind.LINUCB), int(Kind.LINTS)
SQUARECB, REVENUE, OPTIMIST = int(Kind.SQUARECB), int(Kind.REVENUE), int(Kind.OPTIMIST)
ALONE = (int(Kind.UNIFORM), int(Kind.FIXED), int(Kind.BETA), REVENUE)  # of which no pmf is made from scores
ONCE = (*ALONE, int(Kind.NIG))  # whose pmf is the same at every x

CELL = 1.0 / X_SCALE  # what a feature's unit is worth
SCORED = 3  # numbers of an arm that a pmf is made of, at the most


@inlined
def room(packed: Floats) -> Floats:
    """What a choice writes its intermediate results into: values of the columns, then what `masses` needs."""
    arms, size = int(packed[ARMS]), BLOCK * blocks(packed)
    return np.empty(size + size * arms + slopes(arms) + SCORED * arms + int(packed[GRID]))


@inlined
def features(packed: Floats, x: NDArray[np.int16], values: Floats) -> None:
    """What the scores are linear in, units of 1: x (i2[<= F], units of 2^-12), or its learning columns; padded with 0."""
    columns, mains, terms = int(packed[COLUMNS]), int(packed[MAINS]), int(packed[TERMS])
    values[:] = 0.0
    if terms == 0:
        for j in range(min(columns, x.size)):
            values[j] = CELL * x[j]
        return
    end = packed.size - int(packed[GRID])
    start = end - 4 * terms
    z = np.zeros(columns, np.int64)
    expand(x, 0, packed[start - mains : start], packed[start:end].reshape(terms, 4), z)
    for j in range(columns):
        values[j] = CELL * z[j]


@jit
def among_students(packed: Floats, centre: Floats, variance: Floats, arms: NDArray[np.int64], out: Floats) -> None:
    """Fill out with the probability of each score to be the greatest."""
    total = int(packed[ARMS])
    law = HEADER + LAW * total
    belief = np.empty((6, arms.size))
    for i in range(arms.size):
        k = arms[i]
        belief[student.CENTRE, i] = centre[k]
        belief[student.SCALE, i] = np.sqrt(max(variance[k], 1e-300))
        belief[student.DOF, i] = packed[law + k]
        belief[student.NORM, i] = packed[law + total + k]
        belief[student.REACH, i] = packed[law + 2 * total + k]
    students.greatest(belief, out)


@inlined
def indexed(packed: Floats, centre: Floats, width: Floats, arms: NDArray[np.int64], best: Floats, out: Floats) -> None:
    """Fill out with the LinUCB pmf; width comes as the variances."""
    alpha, least, n = packed[ALPHA], packed[LEAST], arms.size
    for i in range(n):  # ascending, so that compacting in place never overwrites what is still needed
        k = arms[i]
        centre[i], width[i] = max(centre[k], least), alpha * np.sqrt(max(width[k], 0.0))
    shares(centre[:n], width[:n], packed[packed.size - int(packed[GRID]) :], best, out)


@jit
def hopeful(
    packed: Floats, centre: Floats, variance: Floats, least: Floats, arms: NDArray[np.int64], out: Floats
) -> None:
    """Fill out with the optimist's pmf; the first parameter of an arm is its least chance."""
    n = arms.size
    numbers = packed[packed.size - int(packed[GRID]) :]
    for i in range(n):  # ascending, so that compacting in place never overwrites what is still needed
        k = arms[i]
        centre[i], variance[i] = max(centre[k], packed[LEAST]), max(variance[k], 0.0)
        least[i] = packed[HEADER + k]
    optimistic(centre[:n], variance[:n], least[:n], numbers, out)


@jit
def gapped(packed: Floats, centre: Floats, arms: NDArray[np.int64], out: Floats) -> None:
    """Fill out with the SquareCB pmf."""
    for i in range(arms.size):
        centre[i] = centre[arms[i]]
    inverse_gaps(centre[: arms.size], packed[ALPHA], out)


@jit
def tried(packed: Floats, arms: NDArray[np.int64], out: Floats) -> None:
    """Give every arm beside its part of the rest the share that it is tried with: the second parameter."""
    total, rest = int(packed[ARMS]), 1.0
    for k in arms:
        rest -= packed[HEADER + total + k]
    for i in range(arms.size):
        out[i] = rest * out[i] + packed[HEADER + total + arms[i]]


@inlined
def among_scores(packed: Floats, x: Floats, work: Floats, arms: NDArray[np.int64], out: Floats) -> None:
    """Fill out with the pmf of what is believed about scores at x."""
    kind, total = int(packed[KIND]), int(packed[ARMS])
    start = x.size * total + slopes(total)
    centre, variance = work[start : start + total], work[start + total : start + 2 * total]
    rest = work[start + 2 * total :]  # `room` has as much as is needed
    scores(packed, x, work[:start], centre, variance)
    if kind == LINUCB:
        indexed(packed, centre, variance, arms, rest[: int(packed[GRID])], out)
    elif kind == SQUARECB:
        gapped(packed, centre, arms, out)
    elif kind == OPTIMIST:
        hopeful(packed, centre, variance, rest[:total], arms, out)
        tried(packed, arms, out)
    else:
        among_students(packed, centre, variance, arms, out)


@inlined
def masses(packed: Floats, x: Floats, work: Floats, arms: NDArray[np.int64], out: Floats) -> None:
    """Fill out (f8[n]) with the floored pmf over `arms` at x (units of 1); work is overwritten."""
    if arms.size == 1:
        out[0] = 1.0
    else:
        among_scores(borrowed(packed), borrowed(x), borrowed(work), borrowed(arms), borrowed(out))
        floored(packed, out)


@entry(FLOATS, CELLS, INTS, WORD, WORD, FLOATS_OUT)
def decide(packed: Floats, x: NDArray[np.int16], arms: NDArray[np.int64], unit: int, salt: int, out: Floats) -> int:
    """Choose: fill out (f8[n]) with the floored pmf and return the POSITION in `arms` of the drawn arm.

    `packed` is Posterior.packed, x is i2[<= d] in units of 2^-12 with x[0] = X_SCALE, arms are i8[n], n >= 1, eligible
    arm numbers, ascending and below K; unit and salt are below 2^64. Any array but out may be read-only.
    ValueError for a kind of ALONE, whose pmf no context moves: that is kept, and draw() draws from it.
    """
    if int(packed[KIND]) in ALONE:
        raise ValueError("no context moves this pmf: fill and draw")
    size, work = BLOCK * blocks(packed), room(packed)
    features(packed, x, work[:size])
    masses(packed, work[:size], work[size:], arms, out)
    return race(out, arms, np.uint64(unit), np.uint64(salt))


@entry(FLOATS, CELLS2, INTS, WORDS, WORD, INTS_OUT, FLOATS_OUT, FLOATS, nogil=True)
def without_lock(
    packed: Floats,
    rows: NDArray[np.int16],
    arms: NDArray[np.int64],
    units: NDArray[np.uint64],
    salt: int,
    chosen: NDArray[np.int64],
    found: Floats,
    x: Floats,
) -> None:
    """Of what is believed about scores, what decide_rows does (found: propensities) and, where there are no units, fill.

    One kernel, as all that makes a pmf would be in each.
    """
    many, size, work = units.size > 0, BLOCK * blocks(packed), room(packed)
    values, out = work[:size], np.empty(arms.size) if many else found
    if not many:
        known = min(int(packed[COLUMNS]), x.size)
        values[:] = 0.0
        for j in range(known):
            values[j] = x[j]
    for i in range(max(units.size, 1)):
        if many:
            features(packed, rows[i], values)
        masses(packed, values, work[size:], arms, out)
        if many:
            winner = race(out, arms, units[i], np.uint64(salt))
            chosen[i] = winner
            found[i] = out[winner]


# What a kernel is given for what it is not asked.
NO_ROWS, NO_UNITS = np.empty((0, 0), np.int16), np.empty(0, np.uint64)
NO_CHOICES, NOTHING = np.empty(0, np.int64), np.empty(0)


def decide_rows(
    packed: Floats,
    rows: NDArray[np.int16],
    arms: NDArray[np.int64],
    units: NDArray[np.uint64],
    salt: int,
    chosen: NDArray[np.int64],
    propensity: Floats,
) -> None:
    """decide() for each row of i2[N,d]; a pmf that no context moves is computed once. See policy.decide_batch."""
    if packed[KIND] in ONCE:
        out = np.empty(arms.size)
        fill(packed, np.ones(1), arms, out)
        draw_many(out, arms, units, salt, chosen, propensity)
    elif units.size:
        without_lock(packed, rows, arms, units, salt, chosen, propensity, NOTHING)


def fill(packed: Floats, x: Floats, arms: NDArray[np.int64], out: Floats) -> None:
    """The pmf alone, for refreshes: fill out (f8[n]) at x, f8[d] in units of 1."""
    if packed[KIND] == Kind.BETA:
        among_betas(packed, arms, out)
    elif packed[KIND] == REVENUE:
        product_odds(packed, arms, out)
    elif packed[KIND] in ALONE:
        weighted(packed, arms, out)
    else:
        without_lock(packed, NO_ROWS, arms, NO_UNITS, 0, NO_CHOICES, out, x)
