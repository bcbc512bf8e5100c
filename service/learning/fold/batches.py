"""Entries of the log as the state takes them: checked, in batches of one kind and width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bandits.rows import Rows, Totals
from service.experiment.compiled import Experiment
from service.learning.bounds import bounds_of
from service.store import rows as layout
from service.store.contract import Entry
from service.store.entries import joined


def batches(run: Sequence[Entry], experiment: Experiment) -> Iterator[tuple[Rows, Totals | None]]:
    """Trials without totals, rewards with theirs. Late rewards are none. CorruptError where rows contradict the experiment."""
    for stride in {entry.stride for entry in run}:
        same = [entry for entry in run if entry.stride == stride and not entry.late]
        trials = [entry for entry in same if entry.trials]
        if trials:
            yield columns(_sound(trials, experiment)), None
        rewards = [entry for entry in same if entry.rewards]
        if rewards:
            yield _rewards(rewards, experiment)


def _rewards(entries: Sequence[Entry], experiment: Experiment) -> tuple[Rows, Totals]:
    packed = _sound(entries, experiment)
    rows = columns(packed)
    totals = np.array([t for e in entries for t in e.totals], np.int64).reshape(-1, 3)
    arrived = np.repeat([e.time for e in entries], [len(e.totals) for e in entries]).astype(np.int64)
    metric = packed["metric"].astype(np.int64)
    metric[metric == layout.NO_METRIC] = -1
    old, new, exposes = (np.ascontiguousarray(totals[:, i]) for i in range(3))
    return rows, Totals(metric, old, new, exposes, np.maximum(arrived - rows.time, 0))


def _sound(entries: Sequence[Entry], experiment: Experiment) -> layout.Rows:
    packed = joined(entries)
    bounds_of(experiment).check(entries, packed)
    return packed


def columns(packed: layout.Rows) -> Rows:
    """Rows as the state takes them."""
    fields = (packed[name].astype(np.int64) for name in ("time", "segment", "arm", "flags", "bucket"))
    time, segment, arm, flags, bucket = fields
    version = packed["version"].astype(np.int64)
    return Rows(time, segment, arm, flags, bucket, packed["x"], packed["propensity"].astype(np.float64), version)


def brings_trials(entry: Entry) -> bool:
    """Whether trials come with it. Between flushes the log has rewards of trials that it does not have yet."""
    return entry.trials is not None or any(exposes for _, _, exposes in entry.totals)


def count(entry: Entry) -> int:
    """Rows of an entry."""
    return len(entry.trials or entry.rewards or b"") // entry.stride if entry.stride else 0
