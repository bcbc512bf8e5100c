"""Columns of a batch to arrays and back, as protobuf itself has them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.pb.lever.v1 import personalization_pb2 as pb
from service.rpc import batch
from service.serving.batch import BatchDecision

WHOLE = st.integers(0, 2**14 + 1) | st.integers(0, 200)
ROW = st.tuples(WHOLE, st.integers(0, 63), st.integers(1, 8), st.floats(0.0, 1.0), st.binary(max_size=200))


@settings(max_examples=40)
@given(st.lists(ROW, min_size=1, max_size=300))
def test_an_answer_is_what_lists_would_make_of_it(rows: list[tuple[int, int, int, float, bytes]]) -> None:
    arms, segments, reasons, propensities, tokens = (list(column) for column in zip(*rows, strict=True))
    mask = bytes(len(rows))
    decided = BatchDecision(
        tokens, np.array(arms), ("a", "b"), ("1", "2"), np.array(propensities), np.array(segments), ("s",), np.array(reasons), mask,
        True, 7, b"f",
    )  # fmt: skip
    assert batch.answer(decided) == pb.SelectBatchResponse(
        decision_ids=tokens, arms=arms, arm_ids=("a", "b"), payloads_json=("1", "2"), propensities=propensities, segments=segments,
        segment_ids=("s",), reasons=reasons, holdout=mask, stale=True, experiment_version=7, frozen=b"f",
    )  # fmt: skip


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(), WHOLE), min_size=1, max_size=300), st.text(min_size=1, max_size=40), st.booleans()
)
def test_columns_are_read_as_they_were_sent(rows: list[tuple[float, int]], name: str, mask: bool) -> None:
    n, (numbers, codes) = len(rows), (list(column) for column in zip(*rows, strict=True))
    present = bytes(i % 2 for i in range(n)) if mask else b""
    dictionary = [f"{i:x}" for i in range(max(codes) + 1)]
    read = batch.columns(
        [
            pb.FeatureColumn(feature=name, numbers=numbers, present=present),
            pb.FeatureColumn(feature=name + "t", texts=codes, dictionary=dictionary, present=present),
        ],
        n,
    )
    np.testing.assert_array_equal(read[name].numbers, numbers)
    np.testing.assert_array_equal(read[name + "t"].codes, codes)
