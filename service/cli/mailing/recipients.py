"""A list of recipients, a portion at a time: who they are, what is known of them, and what is wrong with some of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from service.cli.mailing.seen import Seen, hashes_of
from service.errors import InvalidError
from service.experiment.features.column import Column
from service.experiment.features.registry import TYPES
from service.experiment.spec import FeatureSpec
from service.pb.lever.v1 import personalization_pb2 as pb
from service.text.csv_format import Format
from service.text.csv_table import Part, Table, parts

SUBJECT = "subject"
SIZE = 10_000  # of a portion: as many as one call chooses for
_SUBJECT_BYTES = 512
_TEXT_BYTES = 1_024
_ALL = 2.0**64


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row for whom nothing was chosen."""

    row: int
    reason: str
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class Portion:
    """Some rows of the list. `mark` is a checksum of all subjects up to its end."""

    rows: int
    mark: int
    subjects: list[str]
    kept: list[list[str]]  # columns that are copied, in their order
    context: list[pb.FeatureColumn]
    rejected: list[Rejected]


@dataclass(frozen=True, slots=True)
class Wave:
    """A random share of a list, the same for every reading of it: those with hashes in [low, high) of all."""

    low: float = 0.0
    high: float = 1.0

    def has(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Who is in it."""
        at = hashes / _ALL
        return (at >= self.low) & ((at < self.high) | (self.high >= 1.0))


class Recipients:
    """The list. Read once from its beginning; constant memory beside the hashes of who was seen."""

    def __init__(
        self, file: TextIO, form: Format, features: Mapping[str, FeatureSpec], salt: str,
        keep: Sequence[str] = (), wave: Wave | None = None,
    ) -> None:  # fmt: skip
        self._file, self._form, self._keep = file, form, tuple(keep)
        self._features, self._salt, self._wave = features, salt, wave or Wave()
        self._seen, self._mark = Seen(), 0
        self.wave = (self._wave.low, self._wave.high)
        self.copied = [form.columns.get(name, name) for name in (SUBJECT, *self._keep)]  # as the list calls them
        self.header: list[str] = []  # of the list, once a portion was read
        self.unread: list[str] = []  # columns of the list that play no part
        self.absent: list[str] = []  # features that the list does not have

    def __iter__(self) -> Iterator[Portion]:
        """InvalidError where the file is none, names a column that it lacks, or ends inside a quotation."""
        numeric = {name for name, feature in self._features.items() if TYPES[feature.type].quantity}
        first = True
        for part in parts(self._file, (SUBJECT, *self._keep), self._form, SIZE, numeric):
            if first:
                self.header = part.header
                known = {SUBJECT, *self._keep, *self._features}
                self.unread = [name for name in part.table.columns if name not in known]
                self.absent = [name for name in self._features if name not in part.table.columns]
                first = False
            yield self._portion(part)
        if first:
            raise InvalidError.field("file", "has no rows below its header")

    def _portion(self, part: Part) -> Portion:
        table = part.table
        subjects = table.columns[SUBJECT]
        told = "\0".join([*subjects, *(str(number) for number, _ in part.broken), ""])
        self._mark = zlib.crc32(told.encode(), self._mark)
        cells = {n: TYPES[f.type].cells(table, n) for n, f in self._features.items() if n in table.columns}
        _check(table, subjects, cells)
        hashes = hashes_of(subjects, self._salt)
        good = self._wave.has(hashes)
        good[list(table.problems.reasons())] = False
        places = np.flatnonzero(good)
        again = places[~self._seen.add(hashes[places])]
        for place in again.tolist():
            table.problems.add(place, SUBJECT, "is on the list before: nobody is chosen for twice")
        good[again] = False
        wrong = table.problems.reasons()
        rejected = [Rejected(part.rows[i][0], wrong[i], part.rows[i][1]) for i in wrong]
        if self._wave.low > 0.0:  # what is wrong with a row was told with the first wave
            rejected = [one for one, i in zip(rejected, wrong, strict=True) if i in set(again.tolist())]
        else:
            rejected += [Rejected(number, why, ()) for number, why in part.broken]
        kept = [table.columns[name] for name in (SUBJECT, *self._keep)]
        if not good.all():
            places = np.flatnonzero(good)
            at = places.tolist()
            kept = [[column[i] for i in at] for column in kept]
            cells = {name: _of(column, places) for name, column in cells.items()}
        context = [_wire(name, column) for name, column in cells.items()] if kept[0] else []
        rejected.sort(key=lambda one: one.row)
        return Portion(len(part.rows) + len(part.broken), self._mark, kept[0], kept, context, rejected)


def _check(table: Table, subjects: Sequence[str], cells: Mapping[str, Column]) -> None:
    """Note what a server would refuse a whole call for."""
    for index, subject in enumerate(subjects):
        if not subject:
            table.problems.add(index, SUBJECT, "must be given")
        elif len(subject) * 4 > _SUBJECT_BYTES and len(subject.encode()) > _SUBJECT_BYTES:
            table.problems.add(index, SUBJECT, f"is longer than {_SUBJECT_BYTES} bytes")
    for name, column in cells.items():
        for code, text in enumerate(column.dictionary):
            if len(text) * 4 > _TEXT_BYTES and len(text.encode()) > _TEXT_BYTES and column.codes is not None:
                for index in np.flatnonzero(column.codes == code).tolist():
                    table.problems.add(index, name, f"is longer than {_TEXT_BYTES} bytes")


def _of(column: Column, places: NDArray[np.intp]) -> Column:
    """Some rows of it."""
    dictionary, codes = column.dictionary, column.codes
    if codes is not None:
        used, codes = np.unique(codes[places], return_inverse=True)
        dictionary = tuple(dictionary[code] for code in used.tolist())
    return Column(
        None if column.present is None else column.present[places],
        None if column.numbers is None else column.numbers[places],
        codes, dictionary,
        None if column.flags is None else column.flags[places],
    )  # fmt: skip


def _wire(name: str, column: Column) -> pb.FeatureColumn:
    made = pb.FeatureColumn(feature=name, dictionary=column.dictionary)
    if column.present is not None and not column.present.all():
        made.present = column.present.tobytes()
    if column.numbers is not None:
        made.numbers.extend(column.numbers.tolist())
    if column.codes is not None:
        made.texts.extend(column.codes.tolist())
    if column.flags is not None:
        made.flags = column.flags.tobytes()
    return made
