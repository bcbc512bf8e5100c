"""The log as a table: one line a row, names instead of numbers, for data scientists and for tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from bandits import layout as bits
from service.errors import CorruptError
from service.experiment.compiled import Experiment, read
from service.experiment.spec import VALUE, ColumnSpec
from service.learning.bounds import bounds_of
from service.store import rows as layout
from service.store.contract import START, Entry, Store
from service.store.entries import rows_of

COLUMNS = (
    "entry", "logged_ms", "kind", "decision", "decided_ms", "version", "segment", "arm", "propensity", "unit",
    "bucket", "holdout", "deferred", "history", "fixed", "sticky", "metric", "old_total", "new_total", "exposes",
)  # fmt: skip
_FLAGS = (
    ("holdout", bits.HOLDOUT), ("deferred", bits.DEFERRED), ("history", bits.HISTORY),
    ("fixed", bits.UNDRAWN), ("sticky", bits.STICKY),
)  # fmt: skip

Record = dict[str, object]


@dataclass(slots=True)
class LogTable:
    """Turns entries into records. Configurations are taken from the log itself as they come by.

    `kind` is trial, reward, exposure, retraction (of a reward, or of a row of history) or late; totals are in the metric's natural unit; features are the rounded
    columns in [-1, 1], named `x.<column>`.
    """

    experiment: Experiment | None = field(default=None)

    def records(self, entry: Entry) -> Iterator[Record]:
        """The records of one entry; none for a configuration."""
        if entry.config is not None:
            self.experiment = read(entry.config)
        else:
            yield from self._rows(entry, reward=entry.trials is None)

    def _rows(self, entry: Entry, reward: bool) -> Iterator[Record]:
        packed = rows_of(entry)
        if self.experiment is not None:
            bounds_of(self.experiment).check([entry], packed)
        for i, row in enumerate(packed):
            record = self._record(entry, row)
            if reward:
                record |= self._totals(entry, row, entry.totals[i] if not entry.late else (0, 0, 0))
            yield record

    def _record(self, entry: Entry, row: np.void) -> Record:
        exp = self.experiment
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
        record |= {"metric": "", "old_total": 0.0, "new_total": 0.0, "exposes": False}
        names = [column_name(c) for c in exp.numbers.columns[1:]] if exp else ()
        record |= {f"x.{name}": float(v) / bits.X_SCALE for name, v in zip(names, row["x"], strict=False)}
        return record

    def _totals(self, entry: Entry, row: np.void, totals: tuple[int, int, int]) -> Record:
        number, exp = int(row["metric"]), self.experiment
        exposure, back = number == layout.NO_METRIC, bool(int(row["flags"]) & bits.RETRACTION)
        unit = exp.metrics[number].unit if exp and not exposure else 1.0
        return {
            "kind": "late" if entry.late else "retraction" if back else "exposure" if exposure else "reward",
            "metric": "" if exposure else exp.metrics[number].id if exp else str(number),
            "old_total": totals[0] * unit,
            "new_total": totals[1] * unit,
            "exposes": totals[2] > 0,
        }


def column_name(column: ColumnSpec) -> str:
    """A feature column in words: `visits`, `industry=software`, `industry:missing`."""
    if column.role != VALUE:
        return f"{column.feature}:{column.role}"
    return f"{column.feature}={column.value}" if column.value else column.feature


def entries(store: Store, uid: str, after: str = START) -> Iterator[Entry]:
    """The experiment's log as it stands, oldest first. CorruptError if it is no log."""
    cursor = after
    while True:
        poll = store.poll({uid: cursor})
        if uid in poll.damaged:
            raise CorruptError(f"the log of {uid} cannot be read: {poll.damaged[uid]}")
        for entry in poll.entries.get(uid, ()):
            yield entry
            cursor = entry.id
        if not poll.more:
            return
