"""What rows of a log may say under a configuration. What says otherwise is not folded, and is its experiment's trouble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits import layout as bits
from service.errors import CorruptError
from service.experiment.compiled import Experiment
from service.store.contract import Entry
from service.store.entries import rows_of
from service.store.rows import NO_METRIC, Rows

YEAR_MS = 366 * 86_400_000
_DECISION = bits.HOLDOUT | bits.DEFERRED | bits.HISTORY | bits.UNDRAWN | bits.UNCOUNTED | bits.STICKY | bits.SUBSET
_FLAGS = _DECISION | bits.RETRACTION

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What rows can name under a configuration: numbers below these. `columns` are those of a row, the constant out."""

    version: int
    segments: int
    arms: int
    metrics: int
    columns: int

    def check(self, entries: Sequence[Entry], rows: Rows) -> None:
        """CorruptError, with the first entry at fault, where rows contradict the configuration.

        Rows of a version that the log does not have are let through: a store that fails over may lose a
        configuration and keep what was chosen by it. What such rows name in vain is counted by the fold, not folded.
        """
        if not self._wrong(rows, entries[-1].time).any():
            return
        for entry in entries:
            here = rows_of(entry)
            wrong = np.flatnonzero(self._wrong(here, entry.time))
            if len(wrong) and _newer(here[wrong[:1]]).any():
                raise CorruptError(
                    f"log entry {entry.id}: row {wrong[0]} says what only a newer version of Lever knows: upgrade this server"
                )
            if len(wrong):
                raise CorruptError(
                    f"log entry {entry.id}: row {wrong[0]} is none of this experiment at version {self.version}"
                )

    def _wrong(self, rows: Rows, entry_ms: int) -> Mask:
        named: Mask = (rows["segment"] >= self.segments) | (rows["arm"] >= self.arms)
        if "metric" in (rows.dtype.names or ()):
            named |= (rows["metric"] >= self.metrics) & (rows["metric"] != NO_METRIC)
        if rows["x"].shape[1] > self.columns:
            named |= rows["x"][:, self.columns :].any(axis=1)
        named &= rows["version"] <= self.version
        named |= (rows["time"] < 0) | (rows["time"] > entry_ms + YEAR_MS)
        named |= (rows["propensity"] < 0) | (rows["propensity"] > 1 + 1e-9)  # history has none: NaN
        named |= _newer(rows)
        x = rows["x"]
        return named | ((x > bits.X_SCALE) | (x < -bits.X_SCALE)).any(axis=1)


def _newer(rows: Rows) -> Mask:
    """Rows with a flag, or a byte, that nothing is written into so far."""
    unknown: Mask = ((rows["flags"] & ~np.uint16(_FLAGS)) != 0) | (rows["reserved"] != 0)
    return unknown


def bounds_of(experiment: Experiment) -> Bounds:
    """What rows of the log can name."""
    segments, arms, metrics = len(experiment.segments.ids), len(experiment.arms), len(experiment.metrics)
    return Bounds(experiment.version, segments, arms, metrics, experiment.columns - 1)
