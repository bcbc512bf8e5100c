"""Entries of the log as the fold takes them."""

from __future__ import annotations

import numpy as np

from bandits.state import Rows
from service.store import rows as layout
from service.store.contract import Entry


def brings_trials(entry: Entry) -> bool:
    """Whether trials come with it. Between flushes the log has rewards of trials that it does not have yet."""
    return entry.trials is not None or any(exposes for _, _, exposes in entry.totals)


def count(entry: Entry) -> int:
    """Rows of an entry."""
    return len(entry.trials or entry.rewards or b"") // entry.stride if entry.stride else 0


def columns(packed: layout.Rows) -> Rows:
    """Rows as the state takes them."""
    fields = (packed[name].astype(np.int64) for name in ("time", "segment", "arm", "flags", "bucket"))
    time, segment, arm, flags, bucket = fields
    version = packed["version"].astype(np.int64)
    return Rows(time, segment, arm, flags, bucket, packed["x"], packed["propensity"].astype(np.float64), version)
