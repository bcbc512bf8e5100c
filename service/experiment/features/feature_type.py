"""What a type of feature must know. A new one is a class like this and its line in `registry`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.layout import X_SCALE
from service.errors import InvalidError
from service.experiment.features.column import Column, Value
from service.experiment.spec import MISSING, VALUE, ColumnSpec, ConditionSpec, FeatureSpec
from service.text.csv_table import Table
from service.text.fields import Fields
from service.text.tree import Item

Rows = NDArray[np.intp]
Cells = NDArray[np.int16]

HIGH_BYTE: Final = X_SCALE >> 8  # of a cell of 1.0, int16 little endian: 00 10

UNKNOWN_TEXT: Final = "(unknown)"  # stands for a value that no feature declares

# What a value was beside being encoded.
FINE, CLIPPED, UNKNOWN_VALUE = 0, 1, 2

Put = Callable[[bytearray, Value], int]
PutMany = Callable[[Cells, Rows, Column], tuple[int, int]]
Test = Callable[[Value | None], bool]
Decode = Callable[[Sequence[int]], Value | None]  # of a row's cells, the constant in front


class Scale(NamedTuple):
    """A float in [low, high] becomes (it - middle) * factor, rounded half to even, at `place`; by default none does."""

    low: float = math.inf
    high: float = -math.inf
    middle: float = 0.0
    factor: float = 0.0
    place: int = 0


class Encoding(NamedTuple):
    """How the values of one feature become cells; the column for missing is cleared by the encoder, afterwards.

    `put` writes one value into a row's bytes, little endian without the constant, and says FINE, CLIPPED or
    UNKNOWN_VALUE. `put_many` writes a column's values at `rows` into cells [n, columns] and counts clipped and unknown
    ones. InvalidError names `context.<name>`. What is frequent can be said as data, which spares a choice the call:
    `ones` are values of exactly the type `kind` that only make one column 1; `scale` is for floats. Places are of a
    column's high byte.
    """

    put: Put
    put_many: PutMany
    kind: type | None = None
    ones: Mapping[Value, int] = {}
    scale: Scale = Scale()


class FeatureType(ABC):
    """One type of feature; it has no state of its own.

    `wanted` says in errors what a value must be. `quantity`: the value is an amount, so its square is worth a column
    and its mean is that of those who have one. `cell`: what a table has it as, text, number or flag.
    """

    name: ClassVar[str]
    wanted: ClassVar[str]
    quantity: ClassVar[bool] = False
    cell: ClassVar[str] = "text"

    # In an experiment's file.

    @abstractmethod
    def read(self, fields: Fields) -> FeatureSpec:
        """The feature's keys beside `type`; what is wrong is noted in `fields`."""

    @abstractmethod
    def read_condition(self, fields: Fields, name: str, item: Item, feature: FeatureSpec) -> ConditionSpec:
        """A segment's condition on the feature; what is wrong is noted in `fields`."""

    def fixed(self, feature: FeatureSpec) -> Mapping[str, float]:
        """What an update must not change beside the type, because what was learned depends on it."""
        return {}

    # As columns.

    def columns(self, name: str, feature: FeatureSpec) -> list[ColumnSpec]:
        """The columns, in the order in which they are numbered; the last is the one for missing."""
        return [ColumnSpec(name, VALUE), ColumnSpec(name, MISSING)]

    def live(self, column: ColumnSpec, feature: FeatureSpec) -> bool:
        """Whether a column of a value can still be other than zero."""
        return True

    @abstractmethod
    def encoding(self, name: str, feature: FeatureSpec, numbers: Mapping[ColumnSpec, int]) -> Encoding:
        """The encoding into the columns, which have these numbers."""

    @abstractmethod
    def decoding(self, name: str, feature: FeatureSpec, numbers: Mapping[ColumnSpec, int]) -> Decode:
        """The way back: the value that a row's cells are of, as far as they tell. Not asked where it is missing."""

    # In a segment's rule. Values are as they were sent; one of the wrong kind fails.

    @abstractmethod
    def test(self, condition: ConditionSpec) -> Test:
        """Whether a value holds the condition."""

    @abstractmethod
    def test_many(self, condition: ConditionSpec, column: Column, rows: Rows) -> NDArray[np.bool_]:
        """The same for a column's values at `rows`, bool[rows]."""

    # In CSV files.

    @abstractmethod
    def cells(self, table: Table, name: str) -> Column:
        """A column of the table; an empty cell is missing, what is wrong is noted in the table."""

    def guess(self, table: Table, name: str) -> FeatureSpec | None:
        """The feature that an undeclared column may be; None where it is not of this type, or it never is guessed.

        What is wrong with a column that should be of this type is noted in the table.
        """
        return None

    def wrong(self, name: str) -> InvalidError:
        """The error of a value of another kind."""
        return InvalidError.field(f"context.{name}", f"must be {self.wanted}, as the experiment declares it")


def high_byte_of(column: int) -> int:
    """Where in a row's bytes the high byte of a column stands; the low one is before it."""
    return 2 * column - 1
