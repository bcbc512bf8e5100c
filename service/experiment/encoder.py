"""Features to numbered columns: int16 in units of 2^-12 within [-1, 1], the same whether one row or a batch.

Column 0 is the constant. A category has a column a value, one for unknown values, one for missing; a flag and a
number have a value column and one for missing. A number in [min, max] becomes 2 (v - min) / (max - min) - 1. Columns
of features or values that were dropped stay and are zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidError
from service.experiment.numbering import MISSING, UNKNOWN, VALUE, ColumnSpec
from service.experiment.spec import FeatureSpec

ONE: Final = 4096
_HIGH_BYTE: Final = ONE >> 8  # int16 little endian 4096 is 00 10

Value = float | str | bool


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


@dataclass
class Column:
    """One feature of n subjects; exactly one of numbers (f8[n]), codes (integers[n]) and flags (bool[n]) is set.

    `codes` index `dictionary`. `present` None means present for all; where it is false any value may stand.
    """

    present: NDArray[np.bool_] | None = None
    numbers: NDArray[np.float64] | None = None
    codes: NDArray[np.integer] | None = None
    dictionary: Sequence[str] = ()
    flags: NDArray[np.bool_] | None = None

    def rows(self, name: str, n: int) -> NDArray[np.intp]:
        """Numbers of the rows where it is present. InvalidError where the arrays do not fit n subjects."""
        given = [a for a in (self.numbers, self.codes, self.flags) if a is not None]
        if len(given) != 1:
            raise InvalidError.field(f"context.{name}", "must have exactly one of numbers, texts and flags")
        if given[0].shape != (n,) or (self.present is not None and self.present.shape != (n,)):
            raise InvalidError.field(f"context.{name}", f"must have one value for each of the {n} subjects")
        rows = np.arange(n) if self.present is None else np.flatnonzero(self.present)
        if self.codes is not None and len(rows):
            codes = self.codes[rows]
            if int(codes.min()) < 0 or int(codes.max()) >= len(self.dictionary):
                raise InvalidError.field(f"context.{name}", "an index is outside the dictionary")
        return rows


class _Field(NamedTuple):
    """How one live feature is encoded; columns are numbers of columns."""

    name: str
    type: str
    missing: int
    value: int  # the value column; of a category the column of unknown values
    values: Mapping[str, int]  # a category's columns by value
    low: float
    high: float
    middle: float
    scale: float

    def high_bytes(self) -> tuple[str, int, int, dict[str, int], float, float, float, float]:
        """The same with positions in the row's bytes, for `encode`: the high byte of a column."""
        at = {value: 2 * column - 1 for value, column in self.values.items()}
        return self.type, 2 * self.missing - 1, 2 * self.value - 1, at, self.low, self.high, self.middle, self.scale


class Encoder:
    """Encodes contexts by the live features of an experiment. Immutable."""

    __slots__ = ("_bytes", "_fields", "_missing", "columns")

    def __init__(self, columns: Sequence[ColumnSpec], features: Mapping[str, FeatureSpec]) -> None:
        self.columns = len(columns)
        self._fields = {name: _field(name, spec, columns) for name, spec in features.items()}
        self._bytes = {name: field.high_bytes() for name, field in self._fields.items()}
        nothing = np.zeros(self.columns - 1, "<i2")
        nothing[[field.missing - 1 for field in self._fields.values()]] = ONE
        self._missing = nothing.tobytes()

    def encode(self, context: Mapping[str, Value]) -> Encoded:
        """One context. InvalidError names `context.<name>` for a wrong kind or a number that is not finite."""
        x = bytearray(self._missing)
        clipped = unknown = 0
        fields = self._bytes
        for name, value in context.items():
            field = fields.get(name)
            if field is None:
                unknown += 1
                continue
            kind, missing, at, values, low, high, middle, scale = field
            x[missing] = 0
            if kind == "category":
                if not isinstance(value, str):
                    raise _wrong_kind(name, kind)
                place = values.get(value)
                if place is None:
                    unknown += 1
                    place = at
                x[place] = _HIGH_BYTE
            elif kind == "flag":
                if not isinstance(value, bool):
                    raise _wrong_kind(name, kind)
                if value:
                    x[at] = _HIGH_BYTE
            else:
                number = value if value.__class__ is float else _number(name, value)
                if not low <= number <= high:
                    number = _clip(name, number, low, high)
                    clipped += 1
                q = round((number - middle) * scale)
                x[at] = q >> 8 & 255
                x[at - 1] = q & 255
        return Encoded(bytes(x), clipped, unknown)

    def encode_columns(self, columns: Mapping[str, Column], n: int) -> EncodedBatch:
        """Encode n contexts given as columns; row i is what `encode` makes of the values present at i. Same errors."""
        x = np.zeros((n, self.columns), np.int16)
        x[:, 0] = ONE
        for field in self._fields.values():
            x[:, field.missing] = ONE
        clipped = unknown = 0
        for name, column in columns.items():
            rows = column.rows(name, n)
            known = self._fields.get(name)
            if known is None:
                unknown += len(rows)
                continue
            x[rows, known.missing] = 0
            if known.type == "category":
                unknown += _put_texts(x, rows, known, column)
            elif known.type == "flag":
                if column.flags is None:
                    raise _wrong_kind(name, known.type)
                x[rows, known.value] = np.where(column.flags[rows], ONE, 0)
            else:
                clipped += _put_numbers(x, rows, known, column)
        return EncodedBatch(x, clipped, unknown)


def _field(name: str, spec: FeatureSpec, columns: Sequence[ColumnSpec]) -> _Field:
    own = [(number, column) for number, column in enumerate(columns) if column.feature == name]
    role = {column.role: number for number, column in own}
    by_value = {column.value: number for number, column in own if column.role == VALUE}
    half = (spec.max - spec.min) / 2
    return _Field(
        name=name,
        type=spec.type,
        missing=role[MISSING],
        value=role[UNKNOWN if spec.type == "category" else VALUE],
        values={value: by_value[value] for value in spec.values},
        low=spec.min,
        high=spec.max,
        middle=spec.min + half,
        scale=ONE / half if half else 0.0,
    )


def _put_texts(x: NDArray[np.int16], rows: NDArray[np.intp], field: _Field, column: Column) -> int:
    """One-hot a category; returns how many values were unknown."""
    if column.codes is None:
        raise _wrong_kind(field.name, field.type)
    table = np.array([field.values.get(text, field.value) for text in column.dictionary], np.intp)
    places = table[column.codes[rows]] if len(rows) else np.zeros(0, np.intp)
    x[rows, places] = ONE
    return int(np.count_nonzero(places == field.value))


def _put_numbers(x: NDArray[np.int16], rows: NDArray[np.intp], field: _Field, column: Column) -> int:
    """Scale and round a number; returns how many were clipped."""
    if column.numbers is None:
        raise _wrong_kind(field.name, field.type)
    numbers = column.numbers[rows]
    if not np.isfinite(numbers).all():
        raise InvalidError.field(f"context.{field.name}", "must be a finite number")
    inside = np.clip(numbers, field.low, field.high)
    x[rows, field.value] = np.rint((inside - field.middle) * field.scale).astype(np.int16)
    return int(np.count_nonzero(inside != numbers))


def _number(name: str, value: Value) -> float:
    """An int or a float's subclass as float."""
    if isinstance(value, (str, bool)) or not isinstance(value, (int, float)):
        raise _wrong_kind(name, "number")
    try:
        return float(value)
    except OverflowError:
        raise InvalidError.field(f"context.{name}", "must be a finite number") from None


def _clip(name: str, number: float, low: float, high: float) -> float:
    if not math.isfinite(number):
        raise InvalidError.field(f"context.{name}", "must be a finite number")
    return low if number < low else high


def _wrong_kind(name: str, kind: str) -> InvalidError:
    wanted = {"category": "a text", "number": "a number", "flag": "a flag (true or false)"}[kind]
    return InvalidError.field(f"context.{name}", f"must be {wanted}, as the experiment declares it")
