"""Which products of features are numbered columns too (design decision 15): chosen once, from the schema alone.

Pairs of values of features, and squares of numbers; never two values of one category, which exclude each other, and
nothing with an unknown or missing value. Where there are more pairs than room they share columns by a balanced hash
with signs. A pair that has a column keeps it; features that come later get products only where room is left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

from service.experiment.features.registry import TYPES
from service.experiment.spec import MAX_COLUMNS, MISSING, VALUE, ColumnSpec, FeatureSpec, Kept

if TYPE_CHECKING:
    from bandits.expansion import Design


class ProductSpec(Kept, frozen=True):
    """One term of a product column: sign x left x right; `column` is a number among the learning columns."""

    column: int
    left: int
    right: int
    sign: int


def products(
    columns: Sequence[ColumnSpec], features: Mapping[str, FeatureSpec], old: Sequence[ProductSpec], room: int
) -> tuple[ProductSpec, ...]:
    """The terms of `old` and, behind them, new ones in at most `room` new columns; sorted by column."""
    taken = {(term.left, term.right) for term in old}
    fresh = [pair for pair in pairs(columns, features) if pair not in taken]
    first = len(columns) + len({term.column for term in old})
    room = min(room, MAX_COLUMNS - first)
    if room <= 0 or not fresh:
        return tuple(old)
    if len(fresh) <= room:
        return (*old, *(ProductSpec(first + n, i, j, 1) for n, (i, j) in enumerate(fresh)))
    # By rank of a hash rather than by the hash itself: every column takes the same number of pairs, to within one.
    ranked = sorted(fresh, key=_hash)
    terms = [ProductSpec(first + n % room, i, j, 1 if _hash((i, j))[-1] & 1 else -1) for n, (i, j) in enumerate(ranked)]
    return (*old, *sorted(terms, key=lambda term: (term.column, term.left, term.right)))


def pairs(columns: Sequence[ColumnSpec], features: Mapping[str, FeatureSpec]) -> list[tuple[int, int]]:
    """Pairs of main columns that can both be other than zero, in order; of one column only a number's square."""
    values = [
        number
        for number, column in enumerate(columns)
        if column.role == VALUE
        and (feature := features.get(column.feature)) is not None
        and TYPES[feature.type].live(column, feature)
    ]
    return [
        (i, j)
        for i, j in combinations_with_replacement(values, 2)
        if columns[i].feature != columns[j].feature or (i == j and TYPES[features[columns[i].feature].type].quantity)
    ]


def design_of(
    columns: Sequence[ColumnSpec], features: Mapping[str, FeatureSpec], terms: Sequence[ProductSpec]
) -> Design:
    """The same for the kernels. Main columns have the numbers that no product has, in order."""
    from bandits.expansion import Design

    taken = {term.column for term in terms}
    total = len(columns) + len(taken)
    place = [number for number in range(total) if number not in taken]
    missing = np.full(len(columns), -1, np.int64)
    gone = {column.feature: number for number, column in enumerate(columns) if column.role == MISSING}
    for number, column in enumerate(columns):
        spec = features.get(column.feature)
        if column.role == VALUE and spec is not None and TYPES[spec.type].quantity:
            missing[number] = gone[column.feature]
    flat = [(term.column, term.left, term.right, term.sign) for term in terms]
    return Design(np.array(place, np.int64), np.array(flat, np.int64).reshape(-1, 4), missing)


def _hash(pair: tuple[int, int]) -> bytes:
    return hashlib.blake2b(f"{pair[0]},{pair[1]}".encode(), digest_size=8).digest()
