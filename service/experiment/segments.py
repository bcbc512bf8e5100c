"""Which segment a context is in: the first rule that holds, in the order of the file, else number 0, `default`.

Rules read the values as they were sent, not the rounded features; a missing value or one of the wrong kind fails its
condition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.experiment.features.column import Column, Value
from service.experiment.features.registry import TYPES
from service.experiment.spec import SegmentSpec


class Segments:
    """The segments of an experiment by number. Immutable. `live`: named in the newest configuration."""

    __slots__ = ("_many", "_one", "ids", "live", "numbers", "serves_default")

    def __init__(self, numbered: Sequence[SegmentSpec], order: Sequence[SegmentSpec]) -> None:
        """`numbered` has every segment ever seen by number, `order` those of the newest file, `default` last."""
        self.ids = tuple(segment.id for segment in numbered)
        self.numbers: Mapping[str, int] = {segment_id: number for number, segment_id in enumerate(self.ids)}
        self.serves_default = tuple(segment.serve_default for segment in numbered)
        named = {segment.id for segment in order}
        self.live = tuple(segment_id in named for segment_id in self.ids)
        rules = [(self.numbers[segment.id], segment.when) for segment in order if segment.when]
        self._many = tuple(rules)
        self._one = tuple(
            (number, tuple((one.feature, TYPES[one.type].test(one)) for one in conditions))
            for number, conditions in rules
        )

    def draws(self, number: int) -> bool:
        """Whether the policy may choose in this segment: it is in use, and does not serve the default."""
        return self.live[number] and not self.serves_default[number]

    def match(self, context: Mapping[str, Value]) -> int:
        """Number of the context's segment."""
        get = context.get
        for number, conditions in self._one:
            for feature, holds in conditions:
                if not holds(get(feature)):
                    break
            else:
                return number
        return 0

    def match_columns(self, columns: Mapping[str, Column], n: int) -> NDArray[np.intp]:
        """Numbers of the segments of n contexts given as columns, intp[n]; row i agrees with `match`."""
        found = np.zeros(n, np.intp)
        left = np.ones(n, np.bool_)
        for number, conditions in self._many:
            holds = left.copy()
            for condition in conditions:
                column = columns.get(condition.feature)
                held = np.zeros(n, np.bool_)
                if column is not None:
                    rows = column.rows(condition.feature, n)
                    held[rows] = TYPES[condition.type].test_many(condition, column, rows)
                holds &= held
            found[holds] = number
            left &= ~holds
        return found
