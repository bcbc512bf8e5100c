"""CSV files that people bring: columns of text, and what is wrong with them by row, as a spreadsheet numbers rows.

Everything is read and judged before anything is done with it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidError, Violation
from service.text.csv_cells import COMMA, GROUPED, amount, comma, hint, missing, moment, point, quoted
from service.text.csv_format import Format, Row, named, rows

_SHOWN = 20  # problems that are told one by one
_TRUE, _FALSE = ("true", "1"), ("false", "0")


class RowProblems:
    """What was found wrong. All is counted, the first twenty are told."""

    def __init__(self, numbers: Sequence[int]) -> None:
        """`numbers` are those of the rows, as a spreadsheet shows them."""
        self._numbers = numbers
        self._found: list[tuple[int, str, str]] = []

    def add(self, index: int, column: str, message: str) -> None:
        """Note what is wrong with a column of the row at `index` (0: the first below the header)."""
        self._found.append((index, column, message))

    def reasons(self) -> dict[int, str]:
        """What is wrong with each row, by its index; the rest is fine."""
        wrong: dict[int, list[str]] = {}
        for index, column, message in self._found:
            wrong.setdefault(index, []).append(f"{column}: {message}")
        return {index: "; ".join(told) for index, told in sorted(wrong.items())}

    def check(self) -> None:
        """Raise InvalidError with everything that was noted, by row."""
        if not self._found:
            return
        found = sorted(self._found, key=lambda problem: problem[0])
        violations = [Violation(f"row {self._numbers[i]}, {column}", message) for i, column, message in found[:_SHOWN]]
        if len(found) > _SHOWN:
            violations.append(Violation("rows", f"{len(found) - _SHOWN:,} problems more"))
        raise InvalidError(violations)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of stripped text, all of the same length, and what is wrong so far.

    `number` reads a cell with the file's decimal sign: nan or infinite where it says so, None where it is no number.
    `categories` are columns whose numbers are names.
    """

    columns: dict[str, list[str]]
    rows: int
    problems: RowProblems
    number: Callable[[str], float | None] = point
    categories: frozenset[str] = frozenset()

    def numbers(self, name: str, low: float = -math.inf, high: float = math.inf) -> NDArray[np.float64]:
        """A column of finite numbers in [low, high]; what is not is noted and read as nan."""
        out = np.full(self.rows, np.nan)
        for index, cell in enumerate(self.columns[name]):
            value = self.number(cell)
            if value is None or not math.isfinite(value):
                self.problems.add(index, name, f"must be a finite number, not {quoted(cell)}{hint(cell)}")
            elif not low <= value <= high:
                self.problems.add(index, name, f"must be between {low:g} and {high:g}, not {value:g}")
            else:
                out[index] = value
        return out

    def optional_numbers(self, name: str) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """The same where cells may be missing, as NA or NaN too: which rows have a number, and which; else it is 0."""
        plain = self._plain(self.columns[name])
        if plain is not None:
            return np.ones(self.rows, np.bool_), plain
        present, out = np.zeros(self.rows, np.bool_), np.zeros(self.rows)
        for index, cell in enumerate(self.columns[name]):
            if missing(cell):
                continue
            value = self.number(cell)
            if value is None or not math.isfinite(value):
                self.problems.add(index, name, f"must be a finite number, not {quoted(cell)}{hint(cell)}")
            else:
                present[index], out[index] = True, value
        return present, out

    def _plain(self, cells: Sequence[str]) -> NDArray[np.float64] | None:
        """The numbers in cells that are all finite numbers with a decimal point; None where one is not."""
        try:
            out = np.array(list(map(float, cells)), np.float64)
        except ValueError:
            return None
        fine = self.number is point and np.isfinite(out).all() and "_" not in "".join(cells)
        return out if fine else None

    def times(self, name: str) -> NDArray[np.int64]:
        """A column of moments, milliseconds since 1970: ISO 8601 (UTC where no zone is given) or such a number.

        What is neither is noted and read as -1.
        """
        out = np.full(self.rows, -1, np.int64)
        for index, cell in enumerate(self.columns[name]):
            at = moment(cell)
            if at is None:
                self.problems.add(index, name, f"must be a time such as 2026-11-01T09:30:00Z, not {quoted(cell)}")
            else:
                out[index] = at
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
        cells = self.columns[name]
        known = {cell: "" if missing(cell) else cell.lower() for cell in set(cells)}
        wrong = {cell for cell, read in known.items() if read and read not in (*_TRUE, *_FALSE)}
        for index, cell in enumerate(cells) if wrong else ():
            if cell in wrong:
                self.problems.add(index, name, f"must be true or false, not {quoted(cell)}")
        given, true = ({cell: test(read) for cell, read in known.items()} for test in (bool, _TRUE.__contains__))
        return np.array([given[c] for c in cells], np.bool_), np.array([true[c] for c in cells], np.bool_)

    def unknown(self, known: Iterable[str]) -> None:
        """InvalidError where a column is none of these."""
        strange = [name for name in self.columns if name not in set(known)]
        if strange:
            said = f"is not known; known here: {', '.join(sorted(known))}; --leave-out leaves it out"
            raise InvalidError.field(f"column {strange[0]}", said)


def read(text: str, required: Sequence[str], form: Format | None = None, names: Sequence[str] = ()) -> Table:
    """The table in a CSV text; `names` are columns that have no numbers, whatever they look like.

    InvalidError: no CSV, no rows, columns missing or given twice, rows of another width.
    """
    form = (form or Format()).checked()
    header, *lines = list(rows(io.StringIO(text, newline=""), required, form)) or [(1, [])]
    made = _Shape(header, required, form, names)
    if not lines:
        raise InvalidError.field("file", "has no rows below its header")
    problems = RowProblems([number for number, _ in lines])
    for index, (_, cells) in enumerate(lines):
        if len(cells) != made.width:
            problems.add(index, "cells", made.misfit(cells))
    problems.check()
    return made.table(lines, problems)


class Part(NamedTuple):
    """Some rows of a long file: those that are rows, as a table with a place for each, and what is wrong with the rest."""

    table: Table
    rows: list[Row]
    broken: list[tuple[int, str]]  # numbers of rows that are none, and why
    header: list[str]  # as the file has it


def parts(
    file: TextIO, required: Sequence[str], form: Format, size: int, numeric: Collection[str] | None = None
) -> Iterator[Part]:
    """A CSV file `size` rows at a time, from its beginning; the decimal sign is that of the first part.

    `numeric` are the columns whose numbers are read, None: all may be. InvalidError as `read`, but for single rows.
    """
    form, broken = form.checked(), list[tuple[int, str]]()
    given = rows(file, required, form, lambda number, why: broken.append((number, why)))
    header = next(given, (1, []))
    made = _Shape(header, required, form)
    if numeric is not None:
        made.declare(numeric)
    while some := list(islice(given, size)):
        lines = [row for row in some if len(row[1]) == made.width]
        if len(lines) < len(some):
            broken += [(number, made.misfit(cells)) for number, cells in some if len(cells) != made.width]
        table = made.table(lines, RowProblems([number for number, _ in lines]))
        yield Part(table, lines, sorted(broken), header[1])
        broken.clear()
    if broken:
        yield Part(made.table([], RowProblems([])), [], sorted(broken), header[1])


class _Shape:
    """What a header says of the rows below it."""

    def __init__(self, header: Row, required: Sequence[str], form: Format, names: Sequence[str] = ()) -> None:
        """`names` are columns that have no numbers. InvalidError."""
        self.places, self.width, self.names = named(header, required, form), len(header[1]), names
        self._row, self._form, self._decimal, self._declared = header[0], form, form.decimal, False
        # The first is an index, as pandas and R write it; the last is what comes of a delimiter too many.
        self._nameless = [place for place, name in enumerate(header[1]) if place and not name.strip()]
        strange = [name for name in form.categories if name not in self.places]
        if strange:
            raise InvalidError.field("category", f'there is no column "{strange[0][:80]}"')

    def declare(self, numeric: Collection[str]) -> None:
        """These columns, and no others, have numbers: a cell of theirs that is none is wrong by itself."""
        self.names, self._declared = [name for name in self.places if name not in numeric], True

    def misfit(self, cells: Sequence[str]) -> str:
        """What is wrong with a row of another width."""
        return f"has {len(cells)}, the header has {self.width}"

    def table(self, lines: Sequence[Row], problems: RowProblems) -> Table:
        """Rows of the right width as a table; the first one that has rows says what the decimal sign is."""
        whole = list(zip(*(cells for _, cells in lines), strict=True)) or [()] * self.width
        for place in self._nameless:
            if any(map(str.strip, whole[place])):
                raise InvalidError.field(f"row {self._row}", f"column {place + 1} has no name")
        columns = {name: list(map(str.strip, whole[place])) for name, place in self.places.items()}
        if not self._decimal and lines:
            numeric = {n: cells for n, cells in columns.items() if n not in (*self._form.categories, *self.names)}
            if self._declared:
                numeric = {n: [cell if amount(cell) else "" for cell in cells] for n, cells in numeric.items()}
            self._decimal = _decimal(numeric, problems)
        reads = comma if self._decimal == "," else point
        return Table(columns, len(lines), problems, reads, frozenset(self._form.categories))


def _decimal(columns: dict[str, list[str]], problems: RowProblems) -> str:
    """The decimal sign of the file, from the columns that have nothing but numbers.

    "1,234" alone does not tell; where it is not told otherwise, or where columns contradict, that is an InvalidError.
    """
    commas: list[tuple[int, str, str]] = []
    points: list[str] = []
    unclear: list[tuple[int, str, str]] = []
    for name, cells in columns.items():
        have = [(index, cell) for index, cell in enumerate(cells) if not missing(cell)]
        odd = [(index, cell) for index, cell in have if "," in cell]
        if not odd:
            if any("." in cell and point(cell) is not None for _, cell in have):
                points.append(name)
        elif all(COMMA.fullmatch(cell) or GROUPED.fullmatch(cell) or point(cell) is not None for _, cell in have):
            told = next((found for found in odd if COMMA.fullmatch(found[1]) and not GROUPED.fullmatch(found[1])), None)
            (unclear if told is None else commas).append((*(told or odd[0]), name))
    if commas and not points:
        return ","
    for index, cell, name in commas:
        said = f'{quoted(cell)} has a decimal comma, "{points[0]}" has decimal points'
        problems.add(
            index, name, f'{said}; --decimal "," or "." says which it is, --category NAME that these are names'
        )
    for index, cell, name in unclear:
        said = f"{quoted(cell)} may be {cell.replace(',', '.')} or {cell.replace(',', '')}"
        problems.add(index, name, f'{said}: say --decimal "," or write it without a comma')
    problems.check()
    return "."
