"""What the owner of a CSV file says of it, and its rows as a spreadsheet numbers them."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TextIO

import msgspec

from service.errors import InvalidError, Violation

MOST_BYTES = 30 << 20  # of a file that goes to a server, which takes messages of 32 MB
DELIMITERS = (",", ";", "\t", "|")
_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"}
_MANY = 12  # columns that are told by name
_CELL = 1 << 20  # characters
_HEAD = 1 << 18  # characters in which the header is looked for
_SEP = re.compile(r'"?sep=(.)"?\r?\n')  # Excel's own first line, which it shows to nobody
_INDEX = "Unnamed: 0"  # what pandas calls the numbers of rows, where it calls them anything

Row = tuple[int, list[str]]
Broken = Callable[[int, str], None]  # a row's number, and what is wrong with it


class Format(msgspec.Struct, frozen=True):
    """How a file is to be read; all empty: as it looks.

    `columns` gives names of ours to columns of the file; `leave_out` are names of the file's columns that are not
    read, with * and ?; `categories` are columns whose numbers are names.
    """

    delimiter: str = ""
    decimal: str = ""
    columns: dict[str, str] = {}
    leave_out: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def checked(self) -> Format:
        """With the delimiter as a character. InvalidError."""
        delimiter = _NAMES.get(self.delimiter, self.delimiter)
        if len(delimiter) > 1 or delimiter in ('"', "\n", "\r"):
            raise InvalidError.field("delimiter", f'must be one character or the word tab, not "{self.delimiter[:20]}"')
        if self.decimal not in ("", ".", ","):
            raise InvalidError.field("decimal", f'must be "." or ",", not "{self.decimal[:20]}"')
        return msgspec.structs.replace(self, delimiter=delimiter)

    def changes_meaning(self) -> bool:
        """Whether the same text read without it could mean something else."""
        return bool(self.decimal or self.columns or self.leave_out or self.categories)


def rows(file: TextIO, required: Sequence[str], form: Format, broken: Broken | None = None) -> Iterator[Row]:
    """The rows that are not blank, each with its number; the header is the first of them. The file is at its beginning.

    InvalidError: no CSV. With `broken` a single row that is none is told there and left out.
    """
    head = file.read(_HEAD)
    marked = head.startswith("\ufeff")
    if "\0" in head[:10_000]:
        raise InvalidError.field("file", "has zero bytes, so it is no text, or UTF-16: say --encoding utf-16-le")
    head = head.removeprefix("\ufeff")
    excel = _SEP.match(head)
    if excel:
        head = head[excel.end() :]
    delimiter = form.delimiter or (excel[1] if excel else _delimiter(head, {form.columns.get(n, n) for n in required}))
    file.seek(0)
    file.read(marked + (excel.end() if excel else 0))
    for row in _records(file, delimiter, broken):
        cells = row[1]
        if (cells and cells[0].strip()) or not _blank(cells):
            yield row


def named(header: Row, required: Sequence[str], form: Format) -> dict[str, int]:
    """The place of each column by its name here. InvalidError.

    What is left out is not there, nor is a column without a name.
    """
    row, cells = header
    theirs = [cell.strip() for cell in cells]
    for name in {name for name in theirs if name and theirs.count(name) > 1}:
        raise InvalidError.field(f"row {row}", f'the column "{name}" is given twice')
    places = {name: place for place, name in enumerate(theirs) if name and (place or not _index(name, form))}
    wrong = [_no_column(f"columns {ours}", name, theirs) for ours, name in form.columns.items() if name not in places]
    wrong += [
        _no_column("leave-out", pattern, theirs)
        for pattern in form.leave_out
        if not any(fnmatchcase(name, pattern) for name in theirs)
    ]
    if wrong:
        raise InvalidError(wrong)
    found = {ours: places[name] for ours, name in form.columns.items()}
    for name, place in places.items():
        needed = name in required and name not in form.columns
        left = not needed and any(fnmatchcase(name, pattern) for pattern in form.leave_out)
        if name in form.columns.values() or left:
            continue
        if name in found:
            said = f'would be the file\'s "{form.columns[name]}" and its own "{name}": leave that one out'
            raise InvalidError.field(f"column {name}", said)
        found[name] = place
    missing = [name for name in required if name not in found]
    if missing:
        said = f"is missing; the file has {_shown(theirs)}"
        raise InvalidError([Violation(f"column {name}", f"{said}{_which(name, theirs)}") for name in missing])
    return found


def _index(name: str, form: Format) -> bool:
    return name == _INDEX and name not in form.columns.values()


def _no_column(field: str, name: str, theirs: Sequence[str]) -> Violation:
    close = difflib.get_close_matches(name, [name for name in theirs if name], 1)
    hint = f'did you mean "{close[0]}"?' if close else f"it has {_shown(theirs)}"
    return Violation(field, f'the file has no column "{name[:80]}"; {hint}')


def _shown(theirs: Sequence[str]) -> str:
    given = [name[:40] for name in theirs if name]
    more = f" and {len(given) - _MANY:,} more" if len(given) > _MANY else ""
    return (", ".join(given[:_MANY]) or "no columns") + more


def _which(name: str, theirs: Sequence[str]) -> str:
    """How to say which column it is."""
    lower = {their.lower(): their for their in theirs if their}
    close = difflib.get_close_matches(name, list(lower), 1)
    return f"; say which it is: --columns {name}={lower[close[0]] if close else 'NAME'}" if lower else ""


def _delimiter(text: str, wanted: set[str]) -> str:
    """The first under which the header has all that is wanted, else the one that makes the most of it."""
    widths: dict[str, int] = {}
    for delimiter in DELIMITERS:
        header = _header(text, delimiter)
        if wanted <= {cell.strip() for cell in header}:
            return delimiter
        widths[delimiter] = len(header)
    return max(DELIMITERS, key=lambda delimiter: widths[delimiter])


def _header(text: str, delimiter: str) -> list[str]:
    """The first row that is not blank; empty where there is none."""
    try:
        return next((cells for _, cells in _records(io.StringIO(text, newline=""), delimiter) if not _blank(cells)), [])
    except InvalidError:
        return []


def _records(file: TextIO, delimiter: str, broken: Broken | None = None) -> Iterator[Row]:
    """All rows with their numbers, blank ones too: a cell may have several lines, which are one row."""
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    before, number = csv.field_size_limit(_CELL), 0
    try:
        while True:
            number += 1
            try:
                yield number, next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if broken is None or "end of data" in str(error):  # then nobody knows where the row ends
                    raise InvalidError.field(f"row {number}", f"is no CSV: {_told(str(error))}") from None
                broken(number, f"is no CSV: {_told(str(error))}")
    finally:
        csv.field_size_limit(before)


def _told(error: str) -> str:
    if "end of data" in error:
        return "a quotation mark is opened here and never closed"
    if "field limit" in error:
        return f"a cell has more than {_CELL:,} characters; is a quotation mark never closed?"
    return error


def _blank(cells: Sequence[str]) -> bool:
    return not any(map(str.strip, cells))
