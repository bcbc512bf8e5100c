"""The log as a table: one line a row, names instead of numbers, for data scientists and for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from bandits import layout as bits
from service.errors import CorruptError
from service.experiment.compiled import Experiment, read
from service.experiment.features.column import Value
from service.experiment.features.feature_type import Decode
from service.experiment.features.registry import TYPES
from service.experiment.spec import MISSING, VALUE, ColumnSpec
from service.learning.bounds import bounds_of
from service.store import rows as layout
from service.store.contract import START, Entry, Store
from service.store.entries import rows_of

CONTEXT, ENCODED = "context.", "x."  # columns of a feature's value, and of what it was encoded to


class LogColumn(NamedTuple):
    """One column: `type` is text, integer, unsigned (64 bits both), number or flag."""

    name: str
    type: str


# docs/log.md says what they mean.
COLUMNS = (
    LogColumn("entry", "text"), LogColumn("logged_ms", "integer"), LogColumn("kind", "text"),
    LogColumn("decision", "text"), LogColumn("decided_ms", "integer"), LogColumn("version", "integer"),
    LogColumn("segment", "text"), LogColumn("arm", "text"), LogColumn("propensity", "number"),
    LogColumn("unit", "unsigned"), LogColumn("bucket", "integer"), LogColumn("holdout", "flag"),
    LogColumn("deferred", "flag"), LogColumn("history", "flag"), LogColumn("fixed", "flag"),
    LogColumn("sticky", "flag"), LogColumn("subset", "flag"), LogColumn("metric", "text"), LogColumn("old_total", "number"),
    LogColumn("new_total", "number"), LogColumn("exposes", "flag"),
)  # fmt: skip
KINDS = ("trial", "exposure", "reward", "retraction", "late")  # a retraction is of a reward, or of a row of history
_FLAGS = (
    ("holdout", bits.HOLDOUT), ("deferred", bits.DEFERRED), ("history", bits.HISTORY),
    ("fixed", bits.UNDRAWN), ("sticky", bits.STICKY), ("subset", bits.SUBSET),
)  # fmt: skip

Record = dict[str, Value]


def columns_of(experiment: Experiment) -> list[LogColumn]:
    """All columns that rows of an experiment have, those of features that were dropped too."""
    features = experiment.numbers.features
    values = [LogColumn(CONTEXT + name, TYPES[feature.type].cell) for name, feature in features.items()]
    encoded = [LogColumn(ENCODED + column_name(c), "number") for c in experiment.numbers.columns[1:]]
    return [*COLUMNS, *values, *encoded]


@dataclass(slots=True)
class LogTable:
    """Turns entries into records. Configurations by version are given, or come by in the log itself.

    `kind` is one of KINDS; totals are in the metric's natural unit. Features are there twice: `context.<feature>` is its
    value as far as the log has it, none where it is missing; `x.<column>` are the encoded columns in [-1, 1].
    """

    versions: dict[int, Experiment] = field(default_factory=dict)
    _readers: dict[int, _Features] = field(default_factory=dict)

    @property
    def newest(self) -> Experiment | None:
        """The newest configuration."""
        return self.versions[max(self.versions)] if self.versions else None

    def records(self, entry: Entry) -> Iterator[Record]:
        """The records of one entry; none for a configuration."""
        if entry.config is not None:
            experiment = read(entry.config)
            self.versions[experiment.version] = experiment
        else:
            yield from self._rows(entry, reward=entry.trials is None)

    def _rows(self, entry: Entry, reward: bool) -> Iterator[Record]:
        packed = rows_of(entry)
        newest = self.newest
        if newest is not None:
            bounds_of(newest).check([entry], packed)
        for i, row in enumerate(packed):
            exp = self.versions.get(int(row["version"]), newest)
            record = self._record(entry, row, exp)
            if reward:
                record |= self._totals(entry, row, entry.totals[i] if not entry.late else (0, 0, 0), exp)
            if exp is not None:
                reader = self._readers.get(exp.version) or self._readers.setdefault(exp.version, _Features.of(exp))
                record |= reader.read(row["x"])
            yield record

    def _record(self, entry: Entry, row: np.void, exp: Experiment | None) -> Record:
        flags, arm, segment = int(row["flags"]), int(row["arm"]), int(row["segment"])
        record: Record = {
            "entry": entry.id,
            "logged_ms": entry.time,
            "kind": "trial",
            "decision": f"{int(row['prefix']):016x}-{int(row['counter'])}",
            "decided_ms": int(row["time"]),
            "version": int(row["version"]),
            "segment": exp.segments.ids[segment] if exp else str(segment),
            "arm": exp.arms[arm].id if exp else str(arm),
            "propensity": float(row["propensity"]),
            "unit": int(row["unit"]),
            "bucket": int(row["bucket"]),
        }
        record |= {name: bool(flags & bit) for name, bit in _FLAGS}
        return record | {"metric": "", "old_total": 0.0, "new_total": 0.0, "exposes": False}

    def _totals(self, entry: Entry, row: np.void, totals: tuple[int, int, int], exp: Experiment | None) -> Record:
        number = int(row["metric"])
        exposure, back = number == layout.NO_METRIC, bool(int(row["flags"]) & bits.RETRACTION)
        unit = exp.metrics[number].unit if exp and not exposure else 1.0
        return {
            "kind": "late" if entry.late else "retraction" if back else "exposure" if exposure else "reward",
            "metric": "" if exposure else exp.metrics[number].id if exp else str(number),
            "old_total": totals[0] * unit,
            "new_total": totals[1] * unit,
            "exposes": totals[2] > 0,
        }


@dataclass(frozen=True, slots=True)
class _Features:
    """Reads the features of rows that one version's configuration made."""

    encoded: tuple[str, ...]  # names of all columns but the constant
    values: tuple[tuple[str, int, Decode], ...]  # name, column for missing, decoding

    @classmethod
    def of(cls, experiment: Experiment) -> _Features:
        numbers = {column: number for number, column in enumerate(experiment.numbers.columns)}
        return cls(
            tuple(ENCODED + column_name(column) for column in experiment.numbers.columns[1:]),
            tuple(
                (CONTEXT + name, numbers[ColumnSpec(name, MISSING)], TYPES[spec.type].decoding(name, spec, numbers))
                for name, spec in experiment.spec.features.items()
            ),
        )

    def read(self, x: np.ndarray[tuple[int], np.dtype[np.int16]]) -> Record:
        cells = [bits.X_SCALE, *x.tolist()]
        # A row is as long as what there was when it was made.
        cells += [0] * (1 + len(self.encoded) - len(cells))
        record: Record = {}
        for name, missing, decode in self.values:
            if missing <= len(x) and not cells[missing]:
                value = decode(cells)
                if value is not None:
                    record[name] = value
        return record | {name: cell / bits.X_SCALE for name, cell in zip(self.encoded, cells[1:], strict=False)}


def column_name(column: ColumnSpec) -> str:
    """A feature column in words: `visits`, `industry=software`, `industry:missing`."""
    if column.role != VALUE:
        return f"{column.feature}:{column.role}"
    return f"{column.feature}={column.value}" if column.value else column.feature


def entries(store: Store, uid: str, after: str = START) -> Iterator[Entry]:
    """The experiment's log as it stands, oldest first. CorruptError if it is no log, UnavailableError if it is away."""
    cursor = after
    while True:
        poll = store.poll({uid: cursor}, listed=False)
        if uid in poll.damaged:
            raise CorruptError(f"the log of {uid} cannot be read: {poll.damaged[uid]}")
        for entry in poll.of(uid):
            yield entry
            cursor = entry.id
        if not poll.more:
            return


def opened(store: Store, uid: str) -> LogTable:
    """A table that knows the configurations of an experiment which its kept log may no longer have."""
    loaded = store.load(uid)
    records: Mapping[int, bytes] = loaded.history
    known = [read(record) for record in (*records.values(), loaded.record)]
    return LogTable({experiment.version: experiment for experiment in known})
