"""Encoding: exact values, refusals, and that rows and columns agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.errors import InvalidError
from service.experiment.encoder import Encoder
from service.experiment.features.column import Column
from service.experiment.features.registry import feature_columns
from service.experiment.spec import CONSTANT, ColumnSpec, FeatureSpec

FEATURES = {
    "industry": FeatureSpec("category", ("software", "retail", "größe")),
    "visits": FeatureSpec("number", (), 0.0, 50.0),
    "age": FeatureSpec("number", (), -0.1, 0.7),
    "returning": FeatureSpec("flag"),
}
COLUMNS = [
    ColumnSpec("", CONSTANT),
    *(column for name, feature in FEATURES.items() for column in feature_columns(name, feature)),
]
ENCODER = Encoder(COLUMNS, FEATURES)
SOFTWARE, RETAIL, GROESSE, UNKNOWN, MISSING, VISITS, NO_VISITS, AGE, NO_AGE, RETURNING, NO_RETURNING = range(11)


def row(context: Mapping[str, Any]) -> dict[int, int]:
    """Non-zero columns of an encoded context, counted without the constant."""
    x = np.frombuffer(ENCODER.encode(context).x, "<i2")
    return {int(place): int(x[place]) for place in np.flatnonzero(x)}


NOTHING = {MISSING: 4096, NO_VISITS: 4096, NO_AGE: 4096, NO_RETURNING: 4096}


def but(*missing: int) -> dict[int, int]:
    return {place: value for place, value in NOTHING.items() if place not in missing}


def test_what_is_missing_has_its_own_column() -> None:
    assert ENCODER.columns == 12
    assert len(ENCODER.encode({}).x) == 22
    assert row({}) == NOTHING


@pytest.mark.parametrize(
    ("context", "expected", "clipped", "unknown"),
    [
        ({"industry": "retail"}, but(MISSING) | {RETAIL: 4096}, 0, 0),
        ({"industry": "größe"}, but(MISSING) | {GROESSE: 4096}, 0, 0),
        ({"industry": "farming"}, but(MISSING) | {UNKNOWN: 4096}, 0, 1),
        ({"returning": True}, but(NO_RETURNING) | {RETURNING: 4096}, 0, 0),
        ({"returning": False}, but(NO_RETURNING), 0, 0),
        ({"visits": 50}, but(NO_VISITS) | {VISITS: 4096}, 0, 0),
        ({"visits": 0.0}, but(NO_VISITS) | {VISITS: -4096}, 0, 0),
        ({"visits": 25}, but(NO_VISITS), 0, 0),
        ({"visits": 30}, but(NO_VISITS) | {VISITS: 819}, 0, 0),
        ({"visits": 51.0}, but(NO_VISITS) | {VISITS: 4096}, 1, 0),
        ({"visits": -1e300}, but(NO_VISITS) | {VISITS: -4096}, 1, 0),
        ({"visits": 10**100}, but(NO_VISITS) | {VISITS: 4096}, 1, 0),
        ({"age": 0.7}, but(NO_AGE) | {AGE: 4096}, 0, 0),
        ({"shoe": 44, "hat": "yes"}, NOTHING, 0, 2),
    ],
)
def test_one_row(context: dict[str, Any], expected: dict[int, int], clipped: int, unknown: int) -> None:
    encoded = ENCODER.encode(context)
    assert (row(context), encoded.clipped, encoded.unknown) == (expected, clipped, unknown)


def test_halves_are_rounded_to_even() -> None:
    encoder = Encoder(
        [ColumnSpec("", CONSTANT), *feature_columns("n", wide := FeatureSpec("number", (), -8192, 8192))], {"n": wide}
    )
    x = [int(np.frombuffer(encoder.encode({"n": v}).x, "<i2")[0]) for v in (1.0, 3.0, -1.0, -3.0, 5.0)]
    assert x == [0, 2, 0, -2, 2]


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"industry": 3.0}, "context.industry: must be a text, as the experiment declares it"),
        ({"industry": True}, "context.industry: must be a text, as the experiment declares it"),
        ({"visits": "3"}, "context.visits: must be a number, as the experiment declares it"),
        ({"visits": True}, "context.visits: must be a number, as the experiment declares it"),
        ({"returning": 1.0}, "context.returning: must be a flag (true or false), as the experiment declares it"),
        ({"returning": "true"}, "context.returning: must be a flag (true or false), as the experiment declares it"),
        ({"visits": float("nan")}, "context.visits: must be a finite number"),
        ({"visits": float("inf")}, "context.visits: must be a finite number"),
        ({"visits": float("-inf")}, "context.visits: must be a finite number"),
        ({"visits": 10**400}, "context.visits: must be a finite number"),
    ],
)
def test_refusals_name_the_feature(context: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        ENCODER.encode(context)
    assert str(caught.value) == message


def flags(*values: bool) -> NDArray[np.bool_]:
    return np.array(values, np.bool_)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (("visits", Column(numbers=np.array([1.0, np.nan]))), "context.visits: must be a finite number"),
        (
            ("visits", Column(flags=flags(True, True))),
            "context.visits: must be a number, as the experiment declares it",
        ),
        (("visits", Column()), "context.visits: must have exactly one of numbers, texts and flags"),
        (("visits", Column(numbers=np.zeros(3))), "context.visits: must have one value for each of the 2 subjects"),
        (
            ("visits", Column(present=flags(True), numbers=np.zeros(2))),
            "context.visits: must have one value for each of the 2 subjects",
        ),
        (
            ("industry", Column(codes=np.array([0, 1], np.uint32), dictionary=["retail"])),
            "context.industry: an index is outside the dictionary",
        ),
        (("industry", Column(numbers=np.zeros(2))), "context.industry: must be a text, as the experiment declares it"),
        (
            ("returning", Column(numbers=np.zeros(2))),
            "context.returning: must be a flag (true or false), as the experiment declares it",
        ),
    ],
)
def test_refusals_of_columns(column: tuple[str, Column], message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        ENCODER.encode_columns(dict([column]), 2)
    assert str(caught.value) == message


def test_absent_places_may_hold_anything() -> None:
    gone = flags(False, False)
    batch = ENCODER.encode_columns(
        {
            "visits": Column(present=gone, numbers=np.array([np.nan, np.inf])),
            "industry": Column(present=gone, codes=np.array([7, 9]), dictionary=[]),
        },
        2,
    )
    assert (batch.clipped, batch.unknown) == (0, 0)
    assert batch.x[0].tobytes()[2:] == batch.x[1].tobytes()[2:] == ENCODER.encode({}).x


def test_no_rows_and_no_columns() -> None:
    assert ENCODER.encode_columns({}, 0).x.shape == (0, 12)
    assert ENCODER.encode_columns({"visits": Column(numbers=np.zeros(0))}, 0).x.shape == (0, 12)
    bare = Encoder([ColumnSpec("", CONSTANT)], {})
    assert bare.encode({"a": 1.0}) == (b"", 0, 1)
    assert bare.encode_columns({}, 2).x.tolist() == [[4096], [4096]]


CONTEXT = st.fixed_dictionaries(
    {},
    optional={
        "industry": st.sampled_from(["software", "retail", "größe", "farming", ""]),
        "visits": st.floats(-1e9, 1e9) | st.floats(-1, 51),
        "age": st.floats(-0.2, 0.8),
        "returning": st.booleans(),
        "shoe": st.floats(0, 1),
    },
)


def columns(contexts: list[dict[str, Any]]) -> dict[str, Column]:
    """The contexts as columns; a dictionary has each text once, in order of appearance."""
    out: dict[str, Column] = {}
    for name in sorted({name for context in contexts for name in context}):
        present = flags(*(name in context for context in contexts))
        if name == "industry":
            texts = list(dict.fromkeys(context.get(name, "retail") for context in contexts))
            codes = np.array([texts.index(context.get(name, "retail")) for context in contexts], np.uint32)
            out[name] = Column(present, codes=codes, dictionary=texts)
        elif name == "returning":
            out[name] = Column(present, flags=flags(*(context.get(name, True) for context in contexts)))
        else:
            out[name] = Column(present, numbers=np.array([context.get(name, np.nan) for context in contexts]))
    return out


@settings(deadline=None)
@given(st.lists(CONTEXT, min_size=1, max_size=20))
def test_rows_and_columns_agree(contexts: list[dict[str, Any]]) -> None:
    batch = ENCODER.encode_columns(columns(contexts), len(contexts))
    rows = [ENCODER.encode(context) for context in contexts]
    assert batch.x.dtype == np.int16
    assert (batch.x[:, 0] == 4096).all()
    assert np.abs(batch.x).max() <= 4096
    assert [line.tobytes()[2:] for line in batch.x] == [encoded.x for encoded in rows]
    assert batch.clipped == sum(encoded.clipped for encoded in rows)
    assert batch.unknown == sum(encoded.unknown for encoded in rows)
