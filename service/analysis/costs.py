"""What arms cost, as reports take it from what they earn: it is known, so it moves every mean and no doubt.

Costs are of trials and stand in the configuration alone, so a change of them is a change of all reports at once. By subjects
only trials are counted, not which arm each was: there the mean cost of the trials of a side is taken.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits.cells import HELD, POLICY
from service.experiment.compiled import Experiment
from service.experiment.metric import Metric
from service.learning.replica import Replica

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def costs_of(experiment: Experiment, metric: Metric) -> Floats:
    """f8[arms]: of a trial, in the metric's own unit; zeros for all metrics but the primary one."""
    return np.array([arm.cost if metric.primary else 0.0 for arm in experiment.arms])


def taken(experiment: Experiment, metric: Metric, counts: Ints, group: int) -> float:
    """The cost of all trials of a group; counts [arms, .]."""
    return float(counts[:, group] @ costs_of(experiment, metric))


def sides(experiment: Experiment, metric: Metric, counts: Ints) -> tuple[float, float]:
    """The mean cost of a trial of the policy and of one of the holdout; counts [arms, .]."""
    policy, held = (
        taken(experiment, metric, counts, group) / max(int(counts[:, group].sum()), 1) for group in (POLICY, HELD)
    )
    default = float(costs_of(experiment, metric)[experiment.default_arm])
    return policy, held if experiment.holdout_uniform else default


def counts_since(replica: Replica, segment: int, since_ms: int) -> Ints:
    """Counts of a segment's arms from this moment on, to the time bucket: [arms, .]."""
    state = replica.state
    out = np.zeros((state.rules.arms, state.counts.shape[1]), np.int64)
    for bucket, row in zip(state.buckets, state.index[:, segment], strict=True):
        if bucket.end > since_ms:
            out[row >= 0] += state.counts[row[row >= 0]]
    return out
