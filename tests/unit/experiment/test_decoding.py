"""From encoded columns back to what a user sent: as far as a row tells, and never to something that is encoded otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.layout import X_SCALE
from service.experiment.encoder import Encoder
from service.experiment.features.column import Value
from service.experiment.features.feature_type import UNKNOWN_TEXT
from service.experiment.features.registry import TYPES, feature_columns
from service.experiment.spec import CONSTANT, ColumnSpec, FeatureSpec


def back(feature: FeatureSpec, value: Value) -> tuple[Value | None, list[int]]:
    """What a value is after it was encoded, and its cells."""
    columns = [ColumnSpec("", CONSTANT), *feature_columns("other", FeatureSpec("flag")), *feature_columns("f", feature)]
    numbers = {column: number for number, column in enumerate(columns)}
    encoder = Encoder(columns, {"other": FeatureSpec("flag"), "f": feature})
    cells = [X_SCALE, *memoryview(encoder.encode({"f": value, "other": True}).x).cast("h")]
    return TYPES[feature.type].decoding("f", feature, numbers)(cells), cells


ends = st.floats(-1e12, 1e12).filter(lambda end: end == 0 or abs(end) > 1e-6)


@given(ends, ends, st.floats(-2e12, 2e12))
@settings(max_examples=500, deadline=None)
def test_a_number_is_one_that_is_encoded_alike(one: float, other: float, value: float) -> None:
    low, high = min(one, other), max(one, other)
    if high - low < 1e-9 * max(1.0, abs(low), abs(high)):
        return
    feature = FeatureSpec("number", (), low, high)
    found, cells = back(feature, value)
    assert isinstance(found, float)
    assert low <= found <= high
    assert abs(found - min(max(value, low), high)) <= (high - low) / 8192 * 1.001 + abs(high) * 1e-12
    assert back(feature, found)[1] == cells


@pytest.mark.parametrize(("low", "high"), [(0, 50), (-10, 10), (0, 1000), (1, 2000)])
def test_small_whole_numbers_come_back_as_they_were(low: int, high: int) -> None:
    feature = FeatureSpec("number", (), float(low), float(high))
    assert all(back(feature, float(value))[0] == value for value in range(low, high + 1))


@given(st.floats(0, 1).map(lambda value: round(value, 2)))
def test_shares_come_back_with_the_digits_they_had(value: float) -> None:
    assert back(FeatureSpec("number", (), 0.0, 1.0), value)[0] == value


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=8, unique=True), st.text(min_size=1, max_size=5))
def test_a_category_is_what_it_was_or_unknown(values: list[str], value: str) -> None:
    feature = FeatureSpec("category", tuple(values))
    assert back(feature, value)[0] == (value if value in values else UNKNOWN_TEXT)


def test_a_flag_is_what_it_was() -> None:
    assert [back(FeatureSpec("flag"), value)[0] for value in (True, False)] == [True, False]
