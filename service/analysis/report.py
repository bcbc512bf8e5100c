"""What an experiment has shown, earned and learned, as numbers for people."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bandits.arrival import Arrival, arrival
from bandits.cells import HELD, HISTORY, OUTSIDE, POLICY, REWARDED, TOTAL, count_offset, counts_size
from bandits.recall import SMALL
from bandits.stopping import verdict
from bandits.summary import Summary
from service.analysis.arm_effect import ArmEffect, arm_effect
from service.analysis.costs import taken
from service.analysis.guardrails import GuardrailReport, reports
from service.analysis.influence import Influence, of_attributes, of_features
from service.analysis.lift import Lift, SampleRatio, headline, lifts, sample_ratio
from service.experiment.compiled import Experiment
from service.experiment.metric import Metric
from service.learning.replica import Replica
from service.serving.snapshot import Slot, Snapshot, span_of

Ints = NDArray[np.int64]

AT_ONCE_MS = 3_600_000  # of a window: how soon rewards come within that is not told
GROUP_NAMES = (("policy", POLICY), ("holdout", HELD), ("default", OUTSIDE), ("history", HISTORY))


@dataclass(frozen=True, slots=True)
class Total:
    """What was shown and earned under one metric by one way of choosing."""

    group: str
    metric: str
    trials: int
    rewarded: int
    reward_sum: float
    mean: float
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """What showing the leader for good would cost (bandits/stopping.py)."""

    leader: str
    loss: float
    remaining: float
    settled: bool


@dataclass(frozen=True, slots=True)
class ArmReport:
    """One arm in one segment; values of the primary metric in its own unit, nan where there is none (see experiment.proto)."""

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
    metrics: tuple[Total, ...] = ()
    effect: ArmEffect | None = None
    eligible: bool = True


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
    too_early: bool = False
    totals: tuple[Total, ...] = ()
    served: str = ""  # the arm that everybody gets once the experiment has ended
    stop: Stop | None = None
    attributes: tuple[Influence, ...] = ()


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
    totals: tuple[Total, ...] = ()
    guardrails: tuple[GuardrailReport, ...] = ()
    features: tuple[Influence, ...] = ()
    arrival: Arrival | None = None


def report(snapshot: Snapshot, replica: Replica, stale: bool) -> Report:
    """The report of what the replica has folded. Segments without traffic that only serve the default are left out."""
    exp = snapshot.experiment
    segments, everyone = [], np.zeros((len(exp.arms), counts_size(replica.state.rules.metrics)), np.int64)
    for slot in snapshot.slots:
        counts = replica.state.lifetime(slot.segment)
        everyone += counts
        idle = exp.segments.serves_default[slot.segment] and not counts.any()
        if not idle:
            served = exp.arms[snapshot.after(slot.segment)].id if exp.state == "ended" else ""
            segments.append(replace(_segment(exp, slot, counts, replica), served=served))
    worth, ratio = lifts(replica), sample_ratio(replica)
    return Report(
        exp.name, exp.version, exp.algorithm, exp.primary.id, snapshot.log_id, stale, tuple(segments),
        headline(replica.experiment, worth, ratio), worth, ratio, totals(exp, everyone), reports(replica),
        of_features(snapshot, replica), _arrival(replica),
    )  # fmt: skip


def _arrival(replica: Replica) -> Arrival | None:
    """None where rewards come at once, for people."""
    state = replica.state
    if replica.experiment.primary.window_ms <= AT_ONCE_MS:
        return None
    end = np.array([bucket.end for bucket in state.buckets], np.int64)
    return arrival(state.delays.sum(axis=1), end, replica.touched)


def _past(replica: Replica, segment: int) -> tuple[tuple[ChangeReport, ...], OutageReport | None]:
    experiment = replica.experiment
    past = replica.reviews.pasts(experiment).get(segment)
    if past is None:
        return (), None
    changes = tuple(ChangeReport(experiment.arms[s.arm].id, s.since_ms, s.ratio / SMALL) for s in past.shifts)
    return changes, OutageReport(*past.outage) if past.outage else None


def _segment(exp: Experiment, slot: Slot, counts: Ints, replica: Replica) -> SegmentReport:
    # In a segment that serves the default, what was shown was shown without a draw.
    beliefs = slot.beliefs(exp.primary) if exp.segments.draws(slot.segment) else None
    soon = beliefs is not None and slot.early
    stop = _stop(exp, slot, beliefs) if beliefs is not None and not soon else None
    told = slot.told(beliefs) if beliefs is not None else None
    places = {int(arm): i for i, arm in enumerate(slot.arms)} if beliefs is not None else {}
    in_all = int(counts[:, POLICY].sum())
    arms = tuple(
        replace(
            _arm(exp, k, counts[k], in_all, told, places.get(k)),
            effect=arm_effect(replica, slot.segment, k, counts) if k in places else None,
        )
        for k in range(len(exp.arms))
    )
    name, everyone = exp.segments.ids[slot.segment], totals(exp, counts)
    attributes = of_attributes(exp, slot) if beliefs is not None else ()
    return SegmentReport(name, arms, *_past(replica, slot.segment), soon, everyone, stop=stop, attributes=attributes)


def _stop(exp: Experiment, slot: Slot, beliefs: Summary) -> Stop:
    leader, loss, remaining, settled = verdict(slot.seen, span_of(exp.primary), slot.arms, beliefs)
    return Stop(exp.arms[int(slot.arms[leader])].id, loss, remaining, settled)


def totals(exp: Experiment, counts: Ints) -> tuple[Total, ...]:
    """Everyone who was counted (counts [arms, .]), by what chose for them, under every metric that is in use."""
    shown = [(name, group) for name, group in GROUP_NAMES if counts[:, group].any()]
    return tuple(_total(exp, counts, name, group, metric) for name, group in shown for metric in _metrics(exp))


def _metrics(exp: Experiment) -> list[Metric]:
    return sorted((metric for metric in exp.metrics if metric.live), key=lambda metric: not metric.primary)


def _total(exp: Experiment, counts: Ints, name: str, group: int, metric: Metric) -> Total:
    at, trials = count_offset(metric.number, group), int(counts[:, group].sum())
    cost = taken(exp, metric, counts, group)
    earned = float(counts[:, at + TOTAL].sum()) * metric.unit - cost
    mean = earned / trials if trials else 0.0
    return Total(name, metric.id, trials, int(counts[:, at + REWARDED].sum()), earned, mean, cost)


def _arm(
    exp: Experiment, number: int, counts: Ints, trials_in_all: int, beliefs: Summary | None, at: int | None
) -> ArmReport:
    metric, arm = exp.primary, exp.arms[number]
    mean, low, high, best, loss = [np.nan] * 5
    if beliefs is not None and at is not None:
        mean, low, high, best, loss = (float(column[at]) for column in beliefs)
    own = np.zeros((len(exp.arms), counts.size), np.int64)
    own[number] = counts
    of = tuple(_total(exp, own, "policy", POLICY, one) for one in _metrics(exp))
    held = _total(exp, own, "holdout", HELD, metric)
    return ArmReport(
        arm=arm.id, state=arm.state, trials=of[0].trials, rewarded=of[0].rewarded, reward_sum=of[0].reward_sum,
        mean=of[0].mean, credible_low=low * metric.scale, credible_high=high * metric.scale,
        probability_best=best, expected_loss=loss * metric.scale,
        traffic_share=of[0].trials / trials_in_all if trials_in_all else 0.0,
        holdout_trials=held.trials, holdout_reward_sum=held.reward_sum, posterior_mean=mean * metric.scale, metrics=of,
        eligible=at is not None,
    )  # fmt: skip
