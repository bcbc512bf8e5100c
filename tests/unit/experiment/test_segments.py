"""Matching: first rule that holds, the default, and that rows and columns agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidError
from service.experiment.features.column import Column
from service.experiment.segments import Segments
from service.experiment.spec import ConditionSpec, SegmentSpec

SOFTWARE = ConditionSpec("industry", "category", texts=("software",))
ONLINE = ConditionSpec("source", "category", texts=("ads", "search"))
SOME = ConditionSpec("visits", "number", low=3.0, high=10.0)
LUCKY = ConditionSpec("visits", "number", numbers=(0.0, 7.0, 13.0))
MANY = ConditionSpec("visits", "number", low=20.0)
BACK = ConditionSpec("returning", "flag", flag=True)
NEW = ConditionSpec("returning", "flag", flag=False)

ORDER = (
    SegmentSpec("enterprise", (SOFTWARE, ONLINE, SOME, BACK)),
    SegmentSpec("lucky", (LUCKY,)),
    SegmentSpec("many", (MANY,), serve_default=True),
    SegmentSpec("new", (NEW,)),
    SegmentSpec("default"),
)
# numbers are those of first sight: `gone` was dropped, `new` came before `lucky`
NUMBERED = (ORDER[4], ORDER[0], SegmentSpec("gone", (BACK,)), ORDER[3], ORDER[1], ORDER[2])
SEGMENTS = Segments(NUMBERED, ORDER)


def test_numbers() -> None:
    assert SEGMENTS.ids == ("default", "enterprise", "gone", "new", "lucky", "many")
    assert SEGMENTS.live == (True, True, False, True, True, True)
    assert SEGMENTS.serves_default == (False, False, False, False, False, True)


@pytest.mark.parametrize(
    ("context", "segment"),
    [
        ({"industry": "software", "source": "ads", "visits": 3.0, "returning": True}, "enterprise"),
        ({"industry": "software", "source": "search", "visits": 10, "returning": True}, "enterprise"),
        ({"industry": "software", "source": "search", "visits": 10.5, "returning": True}, "default"),
        ({"industry": "software", "source": "mail", "visits": 5.0, "returning": True}, "default"),
        ({"industry": "software", "source": "ads", "visits": 5.0}, "default"),
        ({"industry": "software", "source": "ads", "visits": 7.0, "returning": True}, "enterprise"),
        ({"visits": 7.0, "returning": False}, "lucky"),
        ({"visits": 7}, "lucky"),
        ({"visits": 0}, "lucky"),
        ({"visits": False}, "default"),
        ({"visits": "7"}, "default"),
        ({"visits": float("nan")}, "default"),
        ({"visits": 1e300}, "many"),
        ({"visits": 20.0, "returning": False}, "many"),
        ({"returning": False}, "new"),
        ({"returning": 0.0}, "default"),
        ({"returning": True}, "default"),
        ({}, "default"),
    ],
)
def test_match(context: dict[str, Any], segment: str) -> None:
    assert SEGMENTS.ids[SEGMENTS.match(context)] == segment


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidError, match=r"^context\.visits: must have one value for each of the 3 subjects$"):
        SEGMENTS.match_columns({"visits": Column(numbers=np.zeros(2))}, 3)
    with pytest.raises(InvalidError, match=r"^context\.industry: an index is outside the dictionary$"):
        SEGMENTS.match_columns({"industry": Column(codes=np.array([5]), dictionary=["a"])}, 1)


CONTEXT = st.fixed_dictionaries(
    {},
    optional={
        "industry": st.sampled_from(["software", "retail"]),
        "source": st.sampled_from(["ads", "search", "mail"]),
        "visits": st.sampled_from([0.0, 2.999, 3.0, 7.0, 10.0, 10.001, 13.0, 20.0]),
        "returning": st.booleans(),
    },
)
FILLER: dict[str, Any] = {"industry": "software", "source": "ads", "visits": 7.0, "returning": True}


def columns(contexts: list[dict[str, Any]]) -> dict[str, Column]:
    """The contexts as columns; what would match stands where nothing is present."""
    out: dict[str, Column] = {}
    for name, filler in FILLER.items():
        present = np.array([name in context for context in contexts], np.bool_)
        values = [context.get(name, filler) for context in contexts]
        if name == "visits":
            out[name] = Column(present, numbers=np.array(values, np.float64))
        elif name == "returning":
            out[name] = Column(present, flags=np.array(values, np.bool_))
        else:
            texts = sorted(set(values))
            out[name] = Column(present, codes=np.array([texts.index(v) for v in values], np.uint32), dictionary=texts)
    return out


@settings(deadline=None)
@given(st.lists(CONTEXT, min_size=1, max_size=20))
def test_rows_and_columns_agree(contexts: list[dict[str, Any]]) -> None:
    found = SEGMENTS.match_columns(columns(contexts), len(contexts))
    assert found.tolist() == [SEGMENTS.match(context) for context in contexts]


def test_no_features_at_all() -> None:
    assert SEGMENTS.match_columns({}, 3).tolist() == [0, 0, 0]
    assert Segments((SegmentSpec("default", serve_default=True),), (SegmentSpec("default"),)).match({"a": 1.0}) == 0
