"""CSV files that people bring: columns of text, and what is wrong with them by row, as a spreadsheet numbers rows.

Row 1 is the header. Everything is read and judged before anything is done with it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidError, Violation

FIRST = 2  # the row below the header
_SHOWN = 20  # problems that are told one by one
_FIELD = 1 << 20  # characters of one cell
_TRUE, _FALSE = ("true", "1"), ("false", "0")


class RowProblems:
    """What was found wrong. All is counted, the first twenty are told."""

    def __init__(self) -> None:
        self._found: list[tuple[int, str, str]] = []

    def add(self, index: int, column: str, message: str) -> None:
        """Note what is wrong with a column of the row at `index` (0: the first below the header)."""
        self._found.append((index + FIRST, column, message))

    def check(self) -> None:
        """Raise InvalidError with everything that was noted, by row."""
        if not self._found:
            return
        found = sorted(self._found, key=lambda problem: problem[0])
        violations = [Violation(f"row {row}, {column}", message) for row, column, message in found[:_SHOWN]]
        if len(found) > _SHOWN:
            violations.append(Violation("rows", f"{len(found) - _SHOWN:,} problems more"))
        raise InvalidError(violations)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of stripped text, all of the same length, and what is wrong so far."""

    columns: dict[str, list[str]]
    rows: int
    problems: RowProblems

    def numbers(self, name: str, low: float = -math.inf, high: float = math.inf) -> NDArray[np.float64]:
        """A column of finite numbers in [low, high]; what is not is noted and read as nan."""
        out = np.full(self.rows, np.nan)
        for index, cell in enumerate(self.columns[name]):
            value = number(cell)
            if value is None or not math.isfinite(value):
                self.problems.add(index, name, f"must be a finite number, not {quoted(cell)}")
            elif not low <= value <= high:
                self.problems.add(index, name, f"must be between {low:g} and {high:g}, not {value:g}")
            else:
                out[index] = value
        return out

    def times(self, name: str) -> NDArray[np.int64]:
        """A column of moments, milliseconds since 1970: ISO 8601 (UTC where no zone is given) or such a number.

        What is neither is noted and read as -1.
        """
        out = np.full(self.rows, -1, np.int64)
        for index, cell in enumerate(self.columns[name]):
            moment = _moment(cell)
            if moment is None:
                self.problems.add(index, name, f"must be a time such as 2026-11-01T09:30:00Z, not {quoted(cell)}")
            else:
                out[index] = moment
        return out

    def codes(self, name: str, known: Sequence[str], what: str) -> NDArray[np.int64]:
        """A column of names as their places in `known`; `what` is what they name."""
        places = {name: place for place, name in enumerate(known)}
        out = np.zeros(self.rows, np.int64)
        for index, cell in enumerate(self.columns[name]):
            place = places.get(cell)
            if place is None:
                self.problems.add(index, name, f"there is no {what} {quoted(cell)}")
            else:
                out[index] = place
        return out

    def flags(self, name: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """A column of true and false (or 1 and 0): which rows have one, and which."""
        cells = [cell.lower() for cell in self.columns[name]]
        for index, cell in enumerate(cells):
            if cell and cell not in (*_TRUE, *_FALSE):
                self.problems.add(index, name, f"must be true or false, not {quoted(cell)}")
        return np.array([c != "" for c in cells], np.bool_), np.array([c in _TRUE for c in cells], np.bool_)

    def unknown(self, known: Iterable[str]) -> None:
        """InvalidError where a column is none of these."""
        strange = [name for name in self.columns if name not in set(known)]
        if strange:
            raise InvalidError.field(f"column {strange[0]}", f"is not known; known here: {', '.join(sorted(known))}")


def read(text: str, required: Sequence[str]) -> Table:
    """The table in a CSV text. InvalidError: no CSV, no rows, columns missing or given twice, rows of another width."""
    before = csv.field_size_limit(_FIELD)
    try:
        lines = [line for line in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True) if line]
    except csv.Error as error:
        raise InvalidError.field("file", f"is no CSV: {error}") from None
    finally:
        csv.field_size_limit(before)
    header = [name.strip() for name in lines[0]] if lines else []
    for name in header:
        if not name or header.count(name) > 1:
            raise InvalidError.field("row 1", f"the column {quoted(name)} is given twice" if name else "has no name")
    missing = [name for name in required if name not in header]
    if missing:
        raise InvalidError([Violation(f"column {name}", "is missing") for name in missing])
    if len(lines) < FIRST:
        raise InvalidError.field("file", "has no rows below its header")
    problems = RowProblems()
    for index, line in enumerate(lines[1:]):
        if len(line) != len(header):
            problems.add(index, "cells", f"has {len(line)}, the header has {len(header)}")
    problems.check()
    columns = {name: [line[at].strip() for line in lines[1:]] for at, name in enumerate(header)}
    return Table(columns, len(lines) - 1, problems)


def number(cell: str) -> float | None:
    """The number in a cell, which may be nan or infinite; None where it is none."""
    try:
        return float(cell) if "_" not in cell else None
    except ValueError:
        return None


def quoted(cell: str) -> str:
    """A cell as it is shown."""
    return f'"{cell[:40]}"' if cell else "nothing"


def _moment(cell: str) -> int | None:
    value = number(cell)
    if value is not None:
        return round(value) if abs(value) < 1e15 else None
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        return None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
