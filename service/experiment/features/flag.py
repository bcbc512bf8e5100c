"""A flag: true or false. A column that is 1 where it is true, and one for missing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bandits.layout import X_SCALE
from service.experiment.features.column import Column, Value
from service.experiment.features.feature_type import (
    Cells,
    Decode,
    Encoding,
    FeatureType,
    Rows,
    Test,
    high_byte_of,
)
from service.experiment.spec import MISSING, VALUE, ColumnSpec, ConditionSpec, FeatureSpec
from service.text.csv_table import Table
from service.text.fields import Fields
from service.text.tree import Bad, Item


class Flag(FeatureType):
    """Nothing but a boolean is one: not 1, not "true"."""

    name = "flag"
    wanted = "a flag (true or false)"
    cell = "flag"

    def read(self, fields: Fields) -> FeatureSpec:
        """Nothing beside its type."""
        return FeatureSpec(self.name)

    def read_condition(self, fields: Fields, name: str, item: Item, feature: FeatureSpec) -> ConditionSpec:
        """True or false."""
        if not isinstance(item.value, (bool, Bad)):
            fields.add(name, "is a flag: must be true or false")
        return ConditionSpec(name, self.name, flag=item.value is True)

    def encoding(self, name: str, feature: FeatureSpec, numbers: Mapping[ColumnSpec, int]) -> Encoding:
        """1 where it is true."""
        number, missing = numbers[ColumnSpec(name, VALUE)], numbers[ColumnSpec(name, MISSING)]
        place, nowhere = high_byte_of(number), high_byte_of(missing)  # the latter is cleared anyhow

        def put(x: bytearray, value: Value) -> int:
            raise self.wrong(name)

        def put_many(x: Cells, rows: Rows, column: Column) -> tuple[int, int]:
            if column.flags is None:
                raise self.wrong(name)
            x[rows, number] = np.where(column.flags[rows], X_SCALE, 0)
            return 0, 0

        return Encoding(put, put_many, bool, {True: place, False: nowhere})

    def decoding(self, name: str, feature: FeatureSpec, numbers: Mapping[ColumnSpec, int]) -> Decode:
        """As it was."""
        number = numbers[ColumnSpec(name, VALUE)]
        return lambda cells: cells[number] > 0

    def test(self, condition: ConditionSpec) -> Test:
        """It is that one."""
        wanted = condition.flag
        return lambda value: value is wanted

    def test_many(self, condition: ConditionSpec, column: Column, rows: Rows) -> NDArray[np.bool_]:
        """It is that one."""
        if column.flags is None:
            return np.zeros(len(rows), np.bool_)
        holds: NDArray[np.bool_] = column.flags[rows].astype(np.bool_) == condition.flag
        return holds

    def cells(self, table: Table, name: str) -> Column:
        """true and false, or 1 and 0."""
        present, flags = table.flags(name)
        return Column(present, flags=flags)
