"""A type of feature is one class: one that nobody knew goes from the file to a score by being registered."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from bandits.layout import X_SCALE
from bandits.policy import POLICIES, probabilities
from bandits.posterior import Sums
from service.analysis.trials_from_csv import trials_of
from service.errors import InvalidError
from service.experiment.compiled import Experiment, build, read
from service.experiment.features.column import Column, Value
from service.experiment.features.feature_type import (
    FINE,
    HIGH_BYTE,
    Cells,
    Decode,
    Encoding,
    FeatureType,
    Rows,
    Test,
    high_byte_of,
)
from service.experiment.features.registry import TYPES
from service.experiment.parse import parse
from service.experiment.spec import MISSING, VALUE, ColumnSpec, ConditionSpec, FeatureSpec
from service.management.warm_start import parse as history
from service.text.csv_table import Table
from service.text.fields import Fields
from service.text.tree import Item


class Weekday(FeatureType):
    """The day of an ISO date that comes as a text: a column for the weekend, one for working days."""

    name = "weekday"
    wanted = "a date"

    def read(self, fields: Fields) -> FeatureSpec:
        return FeatureSpec(self.name)

    def read_condition(self, fields: Fields, name: str, item: Item, feature: FeatureSpec) -> ConditionSpec:
        if item.value not in ("weekend", "work"):
            fields.add(name, "is a weekday: must be weekend or work")
        return ConditionSpec(name, self.name, texts=(str(item.value),))

    def columns(self, name: str, feature: FeatureSpec) -> list[ColumnSpec]:
        return [ColumnSpec(name, VALUE, kind) for kind in ("weekend", "work")] + [ColumnSpec(name, MISSING)]

    def encoding(self, name: str, feature: FeatureSpec, numbers: Mapping[ColumnSpec, int]) -> Encoding:
        def number(value: Value) -> int:
            kind = kind_of(value)
            if kind is None:
                raise self.wrong(name)
            return numbers[ColumnSpec(name, VALUE, kind)]

        def put(x: bytearray, value: Value) -> int:
            x[high_byte_of(number(value))] = HIGH_BYTE
            return FINE

        def put_many(x: Cells, rows: Rows, column: Column) -> tuple[int, int]:
            if column.codes is None:
                raise self.wrong(name)
            places = [number(column.dictionary[code]) for code in column.codes[rows]]
            x[rows, places] = X_SCALE
            return 0, 0

        return Encoding(put, put_many)

    def decoding(self, name: str, feature: FeatureSpec, numbers: Mapping[ColumnSpec, int]) -> Decode:
        kinds = [(column.value, number) for column, number in numbers.items() if column.role == VALUE]
        return lambda cells: next((kind for kind, number in kinds if cells[number]), None)

    def test(self, condition: ConditionSpec) -> Test:
        return lambda value: (kind_of(value) or "") in condition.texts

    def test_many(self, condition: ConditionSpec, column: Column, rows: Rows) -> NDArray[np.bool_]:
        codes = [] if column.codes is None else column.codes[rows].tolist()
        return np.array([(kind_of(column.dictionary[code]) or "") in condition.texts for code in codes], np.bool_)

    def cells(self, table: Table, name: str) -> Column:
        cells = table.columns[name]
        for index, cell in enumerate(cells):
            if cell and kind_of(cell) is None:
                table.problems.add(index, name, "must be a date")
        return Column(np.array([c != "" for c in cells]), codes=np.arange(len(cells)), dictionary=cells)

    def guess(self, table: Table, name: str) -> FeatureSpec | None:
        days = [cell for cell in table.columns[name] if cell]
        return FeatureSpec(self.name) if days and all(kind_of(cell) for cell in days) else None


def kind_of(value: Value | None) -> str | None:
    try:
        return "weekend" if np.is_busday(np.datetime64(str(value), "D"), "1111100") == np.False_ else "work"
    except ValueError:
        return None


FILE = """
experiment: hero
arms: [{id: a}, {id: b}]
default_arm: a
algorithm: linucb
metrics: [{id: click}]
features:
  day: {type: weekday}
  visits: {type: number, min: 0, max: 10}
segments:
  - {id: rest, when: {day: weekend}}
"""
SATURDAY, MONDAY = "2026-11-28", "2026-11-30"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TYPES, Weekday.name, Weekday())


def made(text: str = FILE, old: Experiment | None = None) -> Experiment:
    return read(build(parse(text), text, "0" * 16, 0, old))


def test_its_file_is_read_and_its_columns_are_numbered() -> None:
    names = [(column.feature, column.value, column.role) for column in made().numbers.columns]
    assert names[1:4] == [("day", "weekend", "value"), ("day", "work", "value"), ("day", "", "missing")]
    with pytest.raises(InvalidError, match=r"features\.day\.min: .*"):
        parse(FILE.replace("type: weekday", "type: weekday, min: 3"))
    with pytest.raises(InvalidError, match=r"segments\[0\]\.when\.day: is a weekday: must be weekend or work"):
        parse(FILE.replace("day: weekend", "day: never"))


def test_its_type_cannot_change() -> None:
    with pytest.raises(InvalidError, match=r"features\.day\.type: cannot change from weekday to flag"):
        made(FILE.replace("type: weekday", "type: flag").replace("day: weekend", "day: true"), made())


def test_rows_columns_and_segments_agree() -> None:
    experiment = made()
    context: list[dict[str, Value]] = [{"day": SATURDAY, "visits": 10.0}, {"day": MONDAY}, {}]
    columns = {
        "day": Column(np.array([True, True, False]), codes=np.arange(3), dictionary=[SATURDAY, MONDAY, ""]),
        "visits": Column(np.array([True, False, False]), numbers=np.array([10.0, 0.0, 0.0])),
    }
    batch = experiment.encoder.encode_columns(columns, 3)
    assert batch.x.tolist() == [
        [4096, 4096, 0, 0, 4096, 0], [4096, 0, 4096, 0, 0, 4096], [4096, 0, 0, 4096, 0, 4096],
    ]  # fmt: skip
    assert [row.tobytes()[2:] for row in batch.x] == [experiment.encoder.encode(one).x for one in context]
    rest = experiment.segments.numbers["rest"]
    assert [experiment.segments.match(one) for one in context] == [rest, 0, 0]
    assert experiment.segments.match_columns(columns, 3).tolist() == [rest, 0, 0]
    with pytest.raises(InvalidError, match=r"context\.day: must be a date, as the experiment declares it"):
        experiment.encoder.encode({"day": 3.0})


def test_its_cells_are_read_from_csv_declared_or_not() -> None:
    table = history(made(), f"arm,reward,day\na,1,{SATURDAY}\nb,0,{MONDAY}\nb,0,\n", 2**40)
    assert table.rows["x"][:, :3].tolist() == [[4096, 0, 0], [0, 4096, 0], [0, 0, 4096]]
    with pytest.raises(InvalidError, match="row 2, day: must be a date"):
        history(made(), "arm,reward,day\na,1,soon\n", 2**40)
    trials = trials_of(f"arm,propensity,reward,day\na,0.5,1,{SATURDAY}\nb,0.5,0,{MONDAY}\n")
    assert trials.x.tolist() == [[4096, 0], [0, 4096]]  # nothing is missing there


def test_a_policy_learns_from_it() -> None:
    """Arm b is rewarded at weekends only; a always."""
    experiment = made()
    x = np.array(
        [np.frombuffer(b"\0\x10" + experiment.encoder.encode({"day": d}).x, "<i2") for d in (SATURDAY, MONDAY)]
    )
    rows = x / X_SCALE
    n = np.full(2, 200.0)
    xx = 100.0 * np.stack([rows.T @ rows] * 2)
    good = 100.0 * np.stack([0.5 * rows.sum(axis=0), rows[0]])
    rewarded = good[:, 0]
    post = POLICIES["linucb"].derive(Sums(n, rewarded, rewarded, rewarded, xx, good), {}, np.arange(2))
    weekend, work = (probabilities(post, row, np.arange(2))[1] for row in rows)
    assert weekend > 0.9
    assert work < 0.1
