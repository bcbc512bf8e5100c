"""Product columns: Z(F), made in integers from the rounded features in one place for fold, choice and summary.

Rows and tokens carry the main columns F (the constant first). What is learned over are the learning columns: each
main column at its place, and products between them. A product column is a sum of terms sign x_i x_j (several where
pairs share a column by a signed hash), rounded to the grid and kept inside an int16.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits._jit import jit
from bandits.layout import X_SCALE

Ints = NDArray[np.int64]

SHIFT = X_SCALE.bit_length() - 1  # a product of two cells, over 1.0
HALF = X_SCALE // 2  # rounds it half up
LIMIT = 32767
TARGET, LEFT, RIGHT, SIGN = range(4)


class Design(NamedTuple):
    """What the columns of an experiment are; plain data of its numbering, the same for every server."""

    place: Ints  # i8[F]: the learning column of each main column, ascending, place[0] = 0
    terms: Ints  # i8[T,4]: learning column, two main columns, sign; sorted
    missing: Ints  # i8[F]: for the value column of a number its column for missing; -1 for all other columns

    @property
    def columns(self) -> int:
        """Learning columns in all."""
        last = int(self.place[-1])
        return 1 + max(last, int(self.terms[:, TARGET].max())) if len(self.terms) else 1 + last

    @property
    def mains(self) -> Design:
        """The same without products."""
        return Design(np.arange(len(self.place)), np.zeros((0, 4), np.int64), self.missing)


@functools.cache
def plain(columns: int) -> Design:
    """Main columns only, none of them known to be a number."""
    return Design(np.arange(columns), np.zeros((0, 4), np.int64), np.full(columns, -1, np.int64))


@jit
def expand(x: NDArray[np.int16], offset: int, place: Any, terms: Any, out: Ints) -> None:
    """Fill out (i8[learning columns]) from x, units of 2^-12; x begins with main column `offset` (0 or 1).

    place [F] and terms [T,4] may be of integers or of floats that are integers. A shorter x counts as padded with
    zeros, a longer one is cut. out[0] is left as it is where offset is 1.
    """
    size = min(place.shape[0] - offset, x.shape[0])
    out[offset:] = 0
    for j in range(size):
        out[int(place[j + offset])] = x[j]
    for t in range(terms.shape[0]):
        i, j = int(terms[t, LEFT]) - offset, int(terms[t, RIGHT]) - offset
        if i < size and j < size and x[i] != 0 and x[j] != 0:
            product = (np.int64(x[i]) * np.int64(x[j]) + HALF) >> SHIFT
            at = int(terms[t, TARGET])
            out[at] += product if terms[t, SIGN] > 0 else -product
    for c in range(terms.shape[0]):
        at = int(terms[c, TARGET])
        out[at] = min(max(out[at], -LIMIT), LIMIT)


def expanded(x: NDArray[np.int16], design: Design) -> NDArray[np.int64]:
    """expand() for rows i2[N,F] that begin with the constant; for tests and evaluations, one row after another."""
    out = np.zeros((len(x), design.columns), np.int64)
    for row, into in zip(x, out, strict=True):
        expand(row, 0, design.place, design.terms, into)
    return out
