"""A category: one of declared texts. A column a value, one for unknown values, one for missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bandits.layout import X_SCALE
from service.experiment.features.column import Column, Value
from service.experiment.features.feature_type import (
    FINE,
    HIGH_BYTE,
    UNKNOWN_TEXT,
    UNKNOWN_VALUE,
    Cells,
    Decode,
    Encoding,
    FeatureType,
    Rows,
    Test,
    high_byte_of,
)
from service.experiment.spec import MISSING, UNKNOWN, VALUE, ColumnSpec, ConditionSpec, FeatureSpec
from service.text.csv_table import Table
from service.text.fields import Fields
from service.text.tree import Item

_VALUE = 256  # characters


class Category(FeatureType):
    """Values that were dropped keep their columns, which stay zero."""

    name = "category"
    wanted = "a text"

    def read(self, fields: Fields) -> FeatureSpec:
        """`values`: the texts."""
        values = fields.texts("values", required=True) or ()
        for number, value in enumerate(values):
            if not 0 < len(value) <= _VALUE:
                fields.add(f"values[{number}]", f"must have 1 to {_VALUE} characters")
        return FeatureSpec(self.name if fields.fine("values") else "", values)

    def read_condition(self, fields: Fields, name: str, item: Item, feature: FeatureSpec) -> ConditionSpec:
        """A value or a list of them."""
        items = item.value if isinstance(item.value, list) else [item]
        texts: list[str] = []
        for value in (element.value for element in items):
            if not isinstance(value, str):
                fields.add(name, "is a category: must be one of its values or a list of them")
            elif value not in feature.values:
                fields.add(name, f'"{value[:80]}" is not one of its values: {", ".join(feature.values)}')
            else:
                texts.append(value)
        if not items:
            fields.add(name, "must not be an empty list")
        return ConditionSpec(name, self.name, texts=tuple(texts))

    def columns(self, name: str, feature: FeatureSpec) -> list[ColumnSpec]:
        """One a value, then unknown, then missing."""
        values = [ColumnSpec(name, VALUE, value) for value in feature.values]
        return [*values, ColumnSpec(name, UNKNOWN), ColumnSpec(name, MISSING)]

    def live(self, column: ColumnSpec, feature: FeatureSpec) -> bool:
        """A value's column is, while the value is declared."""
        return column.value in feature.values

    def encoding(self, name: str, feature: FeatureSpec, numbers: Mapping[ColumnSpec, int]) -> Encoding:
        """One of the columns is 1."""
        known = {value: numbers[ColumnSpec(name, VALUE, value)] for value in feature.values}
        unknown = numbers[ColumnSpec(name, UNKNOWN)]
        places: dict[Value, int] = {value: high_byte_of(number) for value, number in known.items()}
        strange = high_byte_of(unknown)

        def put(x: bytearray, value: Value) -> int:
            if not isinstance(value, str):
                raise self.wrong(name)
            x[places.get(value, strange)] = HIGH_BYTE
            return FINE if value in places else UNKNOWN_VALUE

        def put_many(x: Cells, rows: Rows, column: Column) -> tuple[int, int]:
            if column.codes is None:
                raise self.wrong(name)
            table = np.array([known.get(text, unknown) for text in column.dictionary], np.intp)
            columns = table[column.codes[rows]] if len(rows) else np.zeros(0, np.intp)
            x[rows, columns] = X_SCALE
            return 0, int(np.count_nonzero(columns == unknown))

        return Encoding(put, put_many, str, places)

    def decoding(self, name: str, feature: FeatureSpec, numbers: Mapping[ColumnSpec, int]) -> Decode:
        """As it was; one that was not declared when it came is UNKNOWN_TEXT."""
        own = [
            (column.value, number)
            for column, number in numbers.items()
            if (column.feature, column.role) == (name, VALUE)
        ]

        def decode(cells: Sequence[int]) -> Value | None:
            return next((value for value, number in own if cells[number]), UNKNOWN_TEXT)

        return decode

    def test(self, condition: ConditionSpec) -> Test:
        """It is one of the texts."""
        return frozenset[Value | None](condition.texts).__contains__

    def test_many(self, condition: ConditionSpec, column: Column, rows: Rows) -> NDArray[np.bool_]:
        """It is one of the texts."""
        if column.codes is None or not len(rows):
            return np.zeros(len(rows), np.bool_)
        wanted = np.array([text in condition.texts for text in column.dictionary], np.bool_)
        holds: NDArray[np.bool_] = wanted[column.codes[rows]]
        return holds

    def cells(self, table: Table, name: str) -> Column:
        """The cells as they are."""
        cells = table.columns[name]
        dictionary = tuple(dict.fromkeys(cells))
        places = {value: place for place, value in enumerate(dictionary)}
        codes = np.array([places[cell] for cell in cells], np.int64)
        return Column(codes != places.get("", -1), codes=codes, dictionary=dictionary)

    def guess(self, table: Table, name: str) -> FeatureSpec | None:
        """Anything is a category."""
        return FeatureSpec(self.name, tuple(sorted({cell for cell in table.columns[name] if cell})))
