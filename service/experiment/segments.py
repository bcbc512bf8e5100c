"""Which segment a context is in: the first rule that holds, in the order of the file, else number 0, `default`.

Rules read the values as they were sent, not the rounded features; a missing value or one of the wrong kind fails its
condition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.experiment.encoder import Column, Value
from service.experiment.spec import ConditionSpec, SegmentSpec

_TEXT: Final = 0
_FLAG: Final = 1
_RANGE: Final = 2
_ONE_OF: Final = 3


class _Condition(NamedTuple):
    feature: str
    kind: int
    texts: frozenset[str]
    numbers: frozenset[float]
    low: float
    high: float
    flag: bool


class Segments:
    """The segments of an experiment by number. Immutable. `live`: named in the newest configuration."""

    __slots__ = ("_rules", "ids", "live", "numbers", "serves_default")

    def __init__(self, numbered: Sequence[SegmentSpec], order: Sequence[SegmentSpec]) -> None:
        """`numbered` has every segment ever seen by number, `order` those of the newest file, `default` last."""
        self.ids = tuple(segment.id for segment in numbered)
        self.numbers: Mapping[str, int] = {segment_id: number for number, segment_id in enumerate(self.ids)}
        self.serves_default = tuple(segment.serve_default for segment in numbered)
        named = {segment.id for segment in order}
        self.live = tuple(segment_id in named for segment_id in self.ids)
        self._rules = tuple(
            (self.numbers[segment.id], tuple(_compile(condition) for condition in segment.when))
            for segment in order
            if segment.when
        )

    def match(self, context: Mapping[str, Value]) -> int:
        """Number of the context's segment."""
        get = context.get
        for number, conditions in self._rules:
            for feature, kind, texts, numbers, low, high, flag in conditions:
                value = get(feature)
                if kind == _TEXT:
                    if value not in texts:
                        break
                elif kind == _FLAG:
                    if value is not flag:
                        break
                elif isinstance(value, (str, bool)) or value is None:
                    break
                elif kind == _RANGE:
                    if not low <= value <= high:
                        break
                elif value not in numbers:
                    break
            else:
                return number
        return 0

    def match_columns(self, columns: Mapping[str, Column], n: int) -> NDArray[np.intp]:
        """Numbers of the segments of n contexts given as columns, intp[n]; row i agrees with `match`."""
        found = np.zeros(n, np.intp)
        left = np.ones(n, np.bool_)
        for number, conditions in self._rules:
            holds = left.copy()
            for condition in conditions:
                column = columns.get(condition.feature)
                holds &= False if column is None else _holds(condition, column, n)
            found[holds] = number
            left &= ~holds
        return found


def _compile(spec: ConditionSpec) -> _Condition:
    kind = {"category": _TEXT, "flag": _FLAG, "number": _ONE_OF if spec.numbers else _RANGE}[spec.type]
    return _Condition(
        spec.feature,
        kind,
        frozenset(spec.texts),
        frozenset(spec.numbers),
        -math.inf if spec.low is None else spec.low,
        math.inf if spec.high is None else spec.high,
        spec.flag,
    )


def _holds(condition: _Condition, column: Column, n: int) -> NDArray[np.bool_]:
    """Where a condition holds, bool[n]."""
    rows = column.rows(condition.feature, n)
    holds = np.zeros(n, np.bool_)
    if condition.kind == _TEXT and column.codes is not None and len(rows):
        wanted = np.array([text in condition.texts for text in column.dictionary], np.bool_)
        holds[rows] = wanted[column.codes[rows]]
    elif condition.kind == _FLAG and column.flags is not None:
        holds[rows] = column.flags[rows].astype(np.bool_) == condition.flag
    elif condition.kind == _RANGE and column.numbers is not None:
        numbers = column.numbers[rows]
        holds[rows] = (condition.low <= numbers) & (numbers <= condition.high)
    elif condition.kind == _ONE_OF and column.numbers is not None:
        holds[rows] = np.isin(column.numbers[rows], sorted(condition.numbers))
    return holds
