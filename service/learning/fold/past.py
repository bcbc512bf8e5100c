"""The log behind a replica, for what needs rows again that were folded already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from service.experiment.compiled import read
from service.store.contract import START, Entry, Store
from service.store.scripts import order

_PAGE = 1000


class Past(Protocol):
    """One experiment's log as it is kept."""

    def since(self, time_ms: int, until: str) -> Iterator[Sequence[Entry]]:
        """Entries from this moment on, before the entry `until`, in log order, some at a time."""

    def first(self) -> Entry | None:
        """The first entry that is kept."""

    def record(self, version: int) -> bytes | None:
        """A configuration, where it is kept."""


class StoredPast:
    """Past in a store. Raises UnavailableError as that does, CorruptError where the log cannot be read."""

    def __init__(self, store: Store, uid: str) -> None:
        self._store = store
        self._uid = uid

    def since(self, time_ms: int, until: str) -> Iterator[Sequence[Entry]]:
        """Past.since."""
        cursor, end = f"{max(time_ms - 1, 0)}-{2**63 - 1}", order(until)
        while True:
            page = self._store.poll({self._uid: cursor}, _PAGE, listed=False).of(self._uid)
            yield [entry for entry in page if order(entry.id) < end]
            if not page or order(page[-1].id) >= end:
                return
            cursor = page[-1].id

    def first(self) -> Entry | None:
        """Past.first."""
        return next(iter(self._store.poll({self._uid: START}, 1, listed=False).of(self._uid)), None)

    def record(self, version: int) -> bytes | None:
        """Past.record."""
        return self._store.versions(self._uid).get(version)


class ListedPast:
    """Past in a list of entries, with configurations that it may not have any more."""

    def __init__(self, log: Sequence[Entry], records: Mapping[int, bytes]) -> None:
        self._log = log
        written = (entry.config for entry in log if entry.config is not None)
        self._records = {**records, **{read(record).version: record for record in written}}

    def since(self, time_ms: int, until: str) -> Iterator[Sequence[Entry]]:
        """Past.since."""
        yield [entry for entry in self._log if entry.time >= time_ms and order(entry.id) < order(until)]

    def first(self) -> Entry | None:
        """Past.first."""
        return self._log[0] if self._log else None

    def record(self, version: int) -> bytes | None:
        """Past.record."""
        return self._records.get(version)


def reaches(first: Entry | None, time_ms: int) -> bool:
    """Whether a log that begins with this entry has every row of decisions from this moment on."""
    if first is None:
        return False
    if first.config is not None and not first.seeded and read(first.config).version == 1:
        return True  # nothing was ever trimmed
    return first.time <= time_ms
