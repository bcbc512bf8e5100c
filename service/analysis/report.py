"""What an experiment has shown, earned and learned, as numbers for people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandits.cells import HELD, POLICY, REWARDED, TOTAL, count_offset
from bandits.recall import SMALL
from bandits.summary import Summary
from service.analysis.lift import Lift, SampleRatio, headline, lifts, sample_ratio
from service.experiment.compiled import Experiment
from service.learning.replica import Replica
from service.serving.snapshot import Slot, Snapshot


@dataclass(frozen=True, slots=True)
class ArmReport:
    """One arm in one segment; values of the primary metric in its own unit (see experiment.proto)."""

    arm: str
    state: str
    trials: int
    rewarded: int
    reward_sum: float
    mean: float
    credible_low: float
    credible_high: float
    probability_best: float
    expected_loss: float
    traffic_share: float
    holdout_trials: int
    holdout_reward_sum: float
    posterior_mean: float


@dataclass(frozen=True, slots=True)
class ChangeReport:
    """An arm that earns otherwise than it did: since when, and how many times as much (0: for some visitors only)."""

    arm: str
    from_ms: int
    times: float


@dataclass(frozen=True, slots=True)
class OutageReport:
    """Next to nothing is earned: since when, and up to when that was seen."""

    from_ms: int
    seen_ms: int


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """One segment."""

    segment: str
    arms: tuple[ArmReport, ...]
    changes: tuple[ChangeReport, ...] = ()
    outage: OutageReport | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The whole experiment at one log id."""

    name: str
    version: int
    algorithm: str
    metric: str
    log_id: str
    stale: bool
    segments: tuple[SegmentReport, ...]
    headline: str
    lifts: tuple[Lift, ...]
    sample_ratio: SampleRatio | None


def report(snapshot: Snapshot, replica: Replica, stale: bool) -> Report:
    """The report of what the replica has folded. Segments without traffic that only serve the default are left out."""
    exp = snapshot.experiment
    segments = []
    for slot in snapshot.slots:
        counts = replica.state.lifetime(slot.segment)
        idle = exp.segments.serves_default[slot.segment] and not counts.any()
        if not idle:
            name = exp.segments.ids[slot.segment]
            segments.append(SegmentReport(name, _arms(exp, slot, counts), *_past(replica, slot.segment)))
    worth, ratio = lifts(replica), sample_ratio(replica)
    return Report(
        exp.name, exp.version, exp.algorithm, exp.primary.id, snapshot.log_id, stale, tuple(segments),
        headline(replica.experiment, worth, ratio), worth, ratio,
    )  # fmt: skip


def _past(replica: Replica, segment: int) -> tuple[tuple[ChangeReport, ...], OutageReport | None]:
    experiment = replica.experiment
    past = replica.reviews.pasts(experiment).get(segment)
    if past is None:
        return (), None
    changes = tuple(ChangeReport(experiment.arms[s.arm].id, s.since_ms, s.ratio / SMALL) for s in past.shifts)
    return changes, OutageReport(*past.outage) if past.outage else None


def _arms(
    exp: Experiment, slot: Slot, counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> tuple[ArmReport, ...]:
    # In a segment that serves the default, what was shown was shown without a draw.
    believed = {int(arm): i for i, arm in enumerate(slot.arms)}
    beliefs = slot.beliefs(exp.primary)
    trials_in_all = int(counts[:, POLICY].sum())
    return tuple(
        _arm(exp, number, counts[number], trials_in_all, beliefs, believed.get(number))
        for number in range(len(exp.arms))
    )


def _arm(
    exp: Experiment,
    number: int,
    counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    trials_in_all: int,
    beliefs: Summary | None,
    at: int | None,
) -> ArmReport:
    metric = exp.primary
    here, held = count_offset(metric.number, POLICY), count_offset(metric.number, HELD)
    trials, earned = int(counts[POLICY]), float(counts[here + TOTAL]) * metric.unit
    believed = [float(column[at]) for column in beliefs] if beliefs is not None and at is not None else [0.0] * 5
    mean, low, high, best, loss = believed
    arm = exp.arms[number]
    return ArmReport(
        arm=arm.id, state=arm.state, trials=trials, rewarded=int(counts[here + REWARDED]), reward_sum=earned,
        mean=earned / trials if trials else 0.0, credible_low=low * metric.scale,
        credible_high=high * metric.scale, probability_best=best, expected_loss=loss * metric.scale,
        traffic_share=trials / trials_in_all if trials_in_all else 0.0,
        holdout_trials=int(counts[HELD]), holdout_reward_sum=float(counts[held + TOTAL]) * metric.unit,
        posterior_mean=mean * metric.scale,
    )  # fmt: skip
