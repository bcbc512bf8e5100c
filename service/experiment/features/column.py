"""Values of features as callers send them: one at a time, or a column of many subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidError

Value = float | str | bool


@dataclass
class Column:
    """One feature of n subjects; exactly one of numbers (f8[n]), codes (integers[n]) and flags (bool[n]) is set.

    `codes` index `dictionary`. `present` None means present for all; where it is false any value may stand.
    """

    present: NDArray[np.bool_] | None = None
    numbers: NDArray[np.float64] | None = None
    codes: NDArray[np.integer] | None = None
    dictionary: Sequence[str] = ()
    flags: NDArray[np.bool_] | None = None

    def rows(self, name: str, n: int) -> NDArray[np.intp]:
        """Numbers of the rows where it is present. InvalidError where the arrays do not fit n subjects."""
        given = [a for a in (self.numbers, self.codes, self.flags) if a is not None]
        if len(given) != 1:
            raise InvalidError.field(f"context.{name}", "must have exactly one of numbers, texts and flags")
        if given[0].shape != (n,) or (self.present is not None and self.present.shape != (n,)):
            raise InvalidError.field(f"context.{name}", f"must have one value for each of the {n} subjects")
        rows = np.arange(n) if self.present is None else np.flatnonzero(self.present)
        if self.codes is not None and len(rows):
            codes = self.codes[rows]
            if int(codes.min()) < 0 or int(codes.max()) >= len(self.dictionary):
                raise InvalidError.field(f"context.{name}", "an index is outside the dictionary")
        return rows
