"""Features to numbered columns: int16 in units of 1 / X_SCALE within [-1, 1], the same whether one row or a batch.

Column 0 is the constant. What columns a feature has and how its values fill them is its type's (features/). Columns
of features or values that were dropped stay and are zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.layout import X_SCALE
from service.experiment.features.column import Column, Value
from service.experiment.features.feature_type import CLIPPED, HIGH_BYTE, high_byte_of
from service.experiment.features.registry import TYPES
from service.experiment.spec import MISSING, ColumnSpec, FeatureSpec


class Encoded(NamedTuple):
    """One encoded context: `x` is int16 little endian without the constant.

    `clipped` counts numbers outside their range, `unknown` undeclared features and undeclared categories.
    """

    x: bytes
    clipped: int
    unknown: int


class EncodedBatch(NamedTuple):
    """n encoded contexts: `x` is int16[n, columns] with the constant in column 0; counts are over all rows."""

    x: NDArray[np.int16]
    clipped: int
    unknown: int


class Encoder:
    """Encodes contexts by the live features of an experiment. Immutable."""

    __slots__ = ("_many", "_missing", "_nothing", "_one", "columns")

    def __init__(self, columns: Sequence[ColumnSpec], features: Mapping[str, FeatureSpec]) -> None:
        self.columns = len(columns)
        numbers = {column: number for number, column in enumerate(columns)}
        encodings = {name: TYPES[spec.type].encoding(name, spec, numbers) for name, spec in features.items()}
        missing = {name: numbers[ColumnSpec(name, MISSING)] for name in features}
        self._one = {
            name: (high_byte_of(missing[name]), e.put, e.kind, e.ones, *e.scale) for name, e in encodings.items()
        }
        self._many = {name: (missing[name], e.put_many) for name, e in encodings.items()}
        self._nothing = np.zeros(self.columns, "<i2")
        self._nothing[[0, *missing.values()]] = X_SCALE
        self._missing = self._nothing[1:].tobytes()

    def encode(self, context: Mapping[str, Value]) -> Encoded:
        """One context. InvalidError names `context.<name>` for a wrong kind or a number that is not finite."""
        x = bytearray(self._missing)
        clipped = unknown = 0
        fields = self._one
        for name, value in context.items():
            field = fields.get(name)
            if field is None:
                unknown += 1
                continue
            missing, put, kind, ones, low, high, middle, factor, place = field
            if type(value) is kind and value in ones:
                x[ones[value]] = HIGH_BYTE
            elif type(value) is float and low <= value <= high:
                q = round((value - middle) * factor)
                x[place] = q >> 8 & 255
                x[place - 1] = q & 255
            else:
                outcome = put(x, value)
                if outcome == CLIPPED:
                    clipped += 1
                elif outcome:
                    unknown += 1
            x[missing] = 0
        return tuple.__new__(Encoded, (bytes(x), clipped, unknown))  # as Encoded(...) in half the time

    def encode_columns(self, columns: Mapping[str, Column], n: int) -> EncodedBatch:
        """Encode n contexts given as columns; row i is what `encode` makes of the values present at i. Same errors."""
        x = np.tile(self._nothing, (n, 1))
        clipped = unknown = 0
        for name, column in columns.items():
            rows = column.rows(name, n)
            if name not in self._many:
                unknown += len(rows)
                continue
            missing, put_many = self._many[name]
            outside, strange = put_many(x, rows, column)
            x[rows, missing] = 0
            clipped += outside
            unknown += strange
        return EncodedBatch(x, clipped, unknown)
