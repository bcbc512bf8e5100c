"""A number in a declared range [min, max]: a column with 2 (v - min) / (max - min) - 1, and one for missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bandits.layout import X_SCALE
from service.errors import InvalidError
from service.experiment.features.column import Column, Value
from service.experiment.features.feature_type import (
    CLIPPED,
    FINE,
    Cells,
    Decode,
    Encoding,
    FeatureType,
    Rows,
    Scale,
    Test,
    high_byte_of,
)
from service.experiment.spec import VALUE, ColumnSpec, ConditionSpec, FeatureSpec
from service.text.csv_cells import amount, missing, quoted
from service.text.csv_table import Table
from service.text.fields import Fields
from service.text.tree import Item

_BIG = 1e12
_TINY = 1e-300  # half a range; in a file there are none below 1e-9
_FAR = 1e100  # a range between such numbers is still one


class Number(FeatureType):
    """What lies outside the range is clipped and counted; it must be finite."""

    name = "number"
    wanted = "a number"
    quantity = True
    cell = "number"

    def read(self, fields: Fields) -> FeatureSpec:
        """`min` and `max`."""
        low = fields.number("min", -_BIG, _BIG, required=True) or 0.0
        high = fields.number("max", -_BIG, _BIG, required=True) or 0.0
        # Narrower ranges would not survive the rounding of the ends themselves.
        narrow = high - low < 1e-9 * max(1.0, abs(low), abs(high))
        if narrow and fields.fine("min", "max"):
            fields.add("max", f"must be above min, {low:g}")
        return FeatureSpec(self.name if fields.fine("min", "max") else "", (), low, high)

    def read_condition(self, fields: Fields, name: str, item: Item, feature: FeatureSpec) -> ConditionSpec:
        """A number, a list of them, or {min: …, max: …}."""
        if isinstance(item.value, dict):
            span = Fields(fields.problems, fields.at(name), item)
            low, high = span.number("min"), span.number("max")
            span.done()
            if not item.value.keys() - {"min", "max"} and not (span.has("min") or span.has("max")):
                fields.add(name, "must have min or max")
            if low is not None and high is not None and high < low:
                span.add("max", f"must not be below min, {low:g}")
            return ConditionSpec(name, self.name, low=low, high=high)
        items = item.value if isinstance(item.value, list) else [item]
        numbers = [e.value for e in items if isinstance(e.value, (int, float)) and not isinstance(e.value, bool)]
        if len(numbers) < len(items) or not items:
            fields.add(name, "is a number: must be a number, a list of them or {min: …, max: …}")
        return ConditionSpec(name, self.name, numbers=tuple(float(number) for number in numbers))

    def fixed(self, feature: FeatureSpec) -> Mapping[str, float]:
        """The range."""
        return {"min": feature.min, "max": feature.max}

    def encoding(self, name: str, feature: FeatureSpec, numbers: Mapping[ColumnSpec, int]) -> Encoding:
        """Scaled, rounded half to even."""
        number = numbers[ColumnSpec(name, VALUE)]
        place = high_byte_of(number)
        low, high, middle, scale = _span(feature)

        def put(x: bytearray, value: Value) -> int:
            exact = self._float(name, value)
            inside = min(max(exact, low), high)
            q = round((inside - middle) * scale)
            x[place] = q >> 8 & 255
            x[place - 1] = q & 255
            return FINE if inside == exact else CLIPPED

        def put_many(x: Cells, rows: Rows, column: Column) -> tuple[int, int]:
            if column.numbers is None:
                raise self.wrong(name)
            sent = column.numbers[rows]
            if not np.isfinite(sent).all():
                raise InvalidError.field(f"context.{name}", "must be a finite number")
            inside = np.clip(sent, low, high)
            x[rows, number] = np.rint((inside - middle) * scale).astype(np.int16)
            return int(np.count_nonzero(inside != sent)), 0

        return Encoding(put, put_many, scale=Scale(low, high, middle, scale, place))

    def decoding(self, name: str, feature: FeatureSpec, numbers: Mapping[ColumnSpec, int]) -> Decode:
        """The number with the fewest digits that is encoded so: within 1/8192 of the range, clipped to it."""
        number = numbers[ColumnSpec(name, VALUE)]
        low, high, middle, scale = _span(feature)
        coarse = 1 + math.floor(math.log10(scale)) if scale else 0

        @cache  # of at most 8193 cells
        def shortest(cell: int) -> float:
            exact = min(max(middle + cell / scale if scale else middle, low), high)
            rounded = (min(max(round(exact, digits), low), high) for digits in range(coarse - 2, coarse + 3))
            return next((value for value in rounded if round((value - middle) * scale) == cell), exact)

        return lambda cells: shortest(int(cells[number]))

    def _float(self, name: str, value: Value) -> float:
        """A finite number as float."""
        if isinstance(value, (str, bool)) or not isinstance(value, (int, float)):
            raise self.wrong(name)
        try:
            exact = float(value)
        except OverflowError:
            exact = math.inf
        if not math.isfinite(exact):
            raise InvalidError.field(f"context.{name}", "must be a finite number")
        return exact

    def test(self, condition: ConditionSpec) -> Test:
        """It is one of the numbers where there are any, else in the range."""
        if condition.numbers:
            wanted = frozenset(condition.numbers)
            return lambda value: not isinstance(value, (str, bool)) and value in wanted
        low = -math.inf if condition.low is None else condition.low
        high = math.inf if condition.high is None else condition.high
        return lambda value: not isinstance(value, (str, bool)) and value is not None and low <= value <= high

    def test_many(self, condition: ConditionSpec, column: Column, rows: Rows) -> NDArray[np.bool_]:
        """It is one of the numbers where there are any, else in the range."""
        if column.numbers is None:
            return np.zeros(len(rows), np.bool_)
        numbers = column.numbers[rows]
        if condition.numbers:
            return np.isin(numbers, sorted(condition.numbers))
        low = -math.inf if condition.low is None else condition.low
        high = math.inf if condition.high is None else condition.high
        return (low <= numbers) & (numbers <= high)

    def cells(self, table: Table, name: str) -> Column:
        """Finite numbers; NA, NaN and null are missing as an empty cell is."""
        present, numbers = table.optional_numbers(name)
        return Column(present, numbers=numbers)

    def guess(self, table: Table, name: str) -> FeatureSpec | None:
        """Where cells are numbers, in the range that they have. Where most are, the others are wrong, not all a category."""
        cells = [(index, cell) for index, cell in enumerate(table.columns[name]) if not missing(cell)]
        if name in table.categories or 2 * sum(amount(cell) for _, cell in cells) < max(len(cells), 1):
            return None
        read = [table.number(cell) for _, cell in cells]
        numbers = [value for value in read if value is not None and abs(value) <= _FAR]
        if len(numbers) < len(cells):
            odd = [cell for cell, value in zip(cells, read, strict=True) if value is None or not abs(value) <= _FAR]
            more = f" (and {len(odd) - 1:,} rows more)" if len(odd) > 1 else ""
            said = f"{quoted(odd[0][1])}{more} is no number, as most cells here are"
            table.problems.add(
                odd[0][0], name, f"{said}: --category {name} takes all as names, --leave-out {name} none"
            )
            return FeatureSpec(self.name)
        return FeatureSpec(self.name, (), min(numbers), max(numbers))


def _span(feature: FeatureSpec) -> tuple[float, float, float, float]:
    """Ends and middle of the range, and cells per unit: none where the range is next to nothing."""
    half = (feature.max - feature.min) / 2
    return feature.min, feature.max, feature.min + half, X_SCALE / half if half > _TINY else 0.0
