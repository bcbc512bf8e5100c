"""What the fold needs to know of a configuration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits.rows import NEVER
from bandits.state import Rules
from service.experiment.compiled import Experiment
from service.experiment.guardrails import guarded


def rules_of(experiment: Experiment) -> Rules:
    """What the fold needs of a configuration."""
    metric = experiment.primary
    low, high = (round(v / metric.unit) for v in (metric.minimum, metric.maximum))
    return Rules(
        segments=len(experiment.segments.ids), arms=len(experiment.arms), metrics=len(experiment.metrics),
        columns=experiment.design.columns, primary=metric.number, low=low, high=high,
        horizon_ms=experiment.horizon_ms, products=experiment.design,
        grid=experiment.numbers.grid, version=experiment.version, applied_ms=experiment.applied_at_ms,
        control=(experiment.holdout_share, experiment.holdout_uniform, experiment.default_arm),
        windows=_windows(experiment), guarded=guarded(experiment),
    )  # fmt: skip


def _windows(experiment: Experiment) -> NDArray[np.int64]:
    """i8[segments, arms, 2]: from and until when each arm may be drawn, milliseconds; 0 and 0: not at all."""
    out = np.zeros((len(experiment.segments.ids), len(experiment.arms), 2), np.int64)
    for arm in experiment.arms:
        if arm.state == "active":
            where = slice(None) if arm.segments is None else sorted(arm.segments)
            out[where, arm.number] = (arm.start_ms or 0, NEVER if arm.end_ms is None else arm.end_ms)
    return out
