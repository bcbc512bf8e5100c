"""SelectBatch on the wire: the columns of a question to arrays, and an answer's arrays to columns."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidError
from service.experiment.features.column import Column
from service.pb.lever.v1 import personalization_pb2 as pb
from service.serving.batch import BatchDecision

KINDS = ("numbers", "texts", "flags")
TEXT_BYTES = 1_024


def answer(batch: BatchDecision) -> pb.SelectBatchResponse:
    """The columns of an answer, one element a subject in each."""
    return pb.SelectBatchResponse(
        decision_ids=batch.tokens, arms=batch.arms.tolist(), arm_ids=batch.arm_ids, payloads_json=batch.payloads,
        propensities=batch.propensities.tolist(), segments=batch.segments.tolist(), segment_ids=batch.segment_ids,
        reasons=batch.reasons.tolist(), holdout=batch.holdout, stale=batch.stale, experiment_version=batch.version,
        frozen=batch.frozen,
    )  # fmt: skip


def columns(context: Iterable[pb.FeatureColumn], n: int) -> dict[str, Column]:
    """Columns by feature name, each for n subjects. InvalidError names the field: `context[2].texts`."""
    made: dict[str, Column] = {}
    for index, column in enumerate(context):
        at = f"context[{index}]"
        if not column.feature:
            raise InvalidError.field(f"{at}.feature", "must be given")
        if column.feature in made:
            raise InvalidError.field(f"{at}.feature", f"{column.feature!r} has a column already")
        made[column.feature] = _column(column, at, n)
    return made


def _column(column: pb.FeatureColumn, at: str, n: int) -> Column:
    filled = [kind for kind in KINDS if len(getattr(column, kind))]
    if len(filled) != 1:
        raise InvalidError.field(at, "must have exactly one of numbers, texts and flags")
    kind = filled[0]
    given = len(getattr(column, kind))
    if given != n:
        raise InvalidError.field(f"{at}.{kind}", f"has {given:,} values for {n:,} subjects")
    if column.present and len(column.present) != n:
        raise InvalidError.field(f"{at}.present", f"has {len(column.present):,} bytes for {n:,} subjects")
    present = _mask(column.present) if column.present else None
    if kind == "numbers":
        return Column(present=present, numbers=np.fromiter(column.numbers, np.float64, n))
    if kind == "flags":
        return Column(present=present, flags=_mask(column.flags))
    return _texts(column, at, n, present)


def _texts(column: pb.FeatureColumn, at: str, n: int, present: NDArray[np.bool_] | None) -> Column:
    dictionary = tuple(column.dictionary)
    for index, text in enumerate(dictionary):
        if len(text.encode()) > TEXT_BYTES:
            raise InvalidError.field(f"{at}.dictionary[{index}]", f"is longer than {TEXT_BYTES} bytes")
    codes = np.fromiter(column.texts, np.int64, n)
    counted = codes if present is None else codes[present]
    if len(counted) and int(counted.max()) >= len(dictionary):
        raise InvalidError.field(f"{at}.texts", f"has an index beyond the {len(dictionary):,} of the dictionary")
    return Column(present=present, codes=codes, dictionary=dictionary)


def _mask(data: bytes) -> NDArray[np.bool_]:
    return np.frombuffer(data, np.uint8).astype(np.bool_)
