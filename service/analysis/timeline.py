"""What happened when: arms by hour or day, what was believed of them, and what the policy was worth by the end of each day."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.cells import HISTORY, POLICY, REWARDED, SQUARE_HIGH, SQUARE_LOW, TOTAL, count_offset
from bandits.effect import crowding
from bandits.periods import DAY, HOUR, Periods
from bandits.summary import Seen, early, summary, thinned
from service.analysis.costs import costs_of, sides
from service.analysis.lift import Lift, lift_of
from service.analysis.report import GROUP_NAMES
from service.errors import InvalidError
from service.experiment.compiled import Experiment
from service.experiment.metric import Metric
from service.learning.replica import Replica
from service.serving.snapshot import span_of
from service.store.contract import Event

MOST = 1_000_000  # of (period, segment, arm) in one answer

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Step(enum.IntEnum):
    """How long a period is; the numbers are those of the wire."""

    AUTO = 0  # hours where three days or fewer are asked for and kept by the hour, else days
    HOUR = 1
    DAY = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """Which part of a timeline; times in ms, `to_ms` 0: up to now. `segment` "": all of them together."""

    segment: str = ""
    each_segment: bool = False
    from_ms: int = 0
    to_ms: int = 0
    step: Step = Step.AUTO


class Period(NamedTuple):
    """From and to, ms since 1970."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Series:
    """One arm under one metric and one way of choosing; a number a period (experiment.proto)."""

    segment: str
    arm: str
    metric: str
    group: str
    trials: list[int]
    rewarded: list[int]
    reward_sum: list[float]
    reward_square_sum: list[float]
    traffic_share: list[float]
    mean_propensity: list[float]
    probability_best: list[float]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The past of an experiment."""

    name: str
    metric: str
    kept_from_ms: int
    stale: bool
    periods: tuple[Period, ...]
    series: tuple[Series, ...]
    lifts: tuple[Lift, ...]
    changes: tuple[Event, ...] = ()


class Gathered(NamedTuple):
    """Copies of a replica's sums: P periods, S segments (1 where they are taken together), K arms."""

    experiment: Experiment
    kept_from_ms: int
    touched_ms: int
    stale: bool
    crowding: float
    periods: list[Period]
    segments: list[str]
    before: Ints  # i8[S,K,.] counts of all that came before the first of the periods
    counts: Ints  # i8[P,S,K,.]
    odds: Floats  # f8[P,S,K]
    days: list[
        tuple[Period, Ints, Ints, Ints]
    ]  # by the end of each: sums of lift [2, 1 + metrics, 256], counts of all arms [K, .], of these since the lift began


def gather(replica: Replica, stale: bool, asked: Asked) -> Gathered:
    """Copy what is asked for while the replica stands still. InvalidError names the field that asks for too much or nothing."""
    experiment, state = replica.experiment, replica.state
    if asked.segment and asked.each_segment:
        raise InvalidError.field("each_segment", "must not be set with a segment")
    if asked.segment and asked.segment not in experiment.segments.numbers:
        raise InvalidError.field("segment", f"the experiment has no segment {asked.segment!r}")
    until = asked.to_ms or 2**62
    if until <= asked.from_ms:
        raise InvalidError.field("to_ms", "must be after from_ms")
    kept = [Period(*span) for span in state.periods.spans()]
    periods = _periods(
        [period for period in kept if asked.from_ms < period.end_ms and period.start_ms < until], asked.step
    )
    segments = list(experiment.segments.ids) if asked.each_segment else [asked.segment]
    shape = len(segments), len(experiment.arms), state.counts.shape[1]
    if len(periods) * shape[0] * shape[1] > MOST:
        raise InvalidError.field("from_ms", "that is too much at once: ask for a shorter time, days, or one segment")
    wanted = experiment.segments.numbers[asked.segment] if asked.segment else None
    found = Gathered(
        experiment, kept[0].start_ms if kept else 0, replica.touched, stale, _crowding(replica, wanted), periods, segments,
        np.zeros(shape, np.int64), np.zeros((len(periods), *shape), np.int64), np.zeros((len(periods), *shape[:2])), [],
    )  # fmt: skip
    _fill(found, state.periods, wanted, asked, until)
    return found


def _fill(found: Gathered, periods: Periods, wanted: int | None, asked: Asked, until: int) -> None:
    """Add up the periods; of segment `wanted`, if it is one."""
    starts = [period.start_ms for period in found.periods]
    size, arms = found.before.shape[2], found.before.shape[1]
    all_by: list[tuple[int, Ints, Ints]] = []
    for past in periods.pasts():
        all_by.append((past.end, past.arm, past.counts))
        if past.start >= until:
            continue
        rows = np.arange(past.arm.size) if wanted is None else np.flatnonzero(past.segment == wanted)
        where = (past.segment[rows] * arms if asked.each_segment else 0) + past.arm[rows]
        at = int(np.searchsorted(starts, past.start, side="right")) - 1
        into = found.before if past.end <= asked.from_ms else found.counts[at]
        np.add.at(into.reshape(-1, size)[:, : past.counts.shape[1]], where, past.counts[rows])
        if into is not found.before:
            np.add.at(found.odds[at].reshape(-1), where, past.odds[rows])
    total, before, era = np.zeros((arms, size), np.int64), np.zeros((arms, size), np.int64), 0
    for number, end, cells in periods.lift(len(found.experiment.metrics)):
        if number != era:
            before, era = total.copy(), number
        while all_by and all_by[0][0] <= end:
            _, which, counts = all_by.pop(0)
            np.add.at(total[:, : counts.shape[1]], which, counts)
        if asked.from_ms < end and end - DAY < until:
            begun = periods.eras[number].begun_ms or found.kept_from_ms
            found.days.append((Period(begun, min(end, found.touched_ms)), cells, total.copy(), total - before))


def _periods(kept: Sequence[Period], step: Step) -> list[Period]:
    """The periods to show: those that are kept, or their days."""
    if not kept:
        return []
    short = kept[-1].end_ms - kept[0].start_ms <= 3 * DAY and all(p.end_ms - p.start_ms == HOUR for p in kept)
    if step is Step.HOUR or (step is Step.AUTO and short):
        return list(kept)
    days = sorted({period.start_ms - period.start_ms % DAY for period in kept})
    return [Period(day, day + DAY) for day in days]


def _crowding(replica: Replica, segment: int | None) -> float:
    """How much the policy's trials go together by subject, as it is now."""
    metric, cells = replica.experiment.primary, replica.state.subjects.lift[:, POLICY]
    counts = [replica.state.lifetime(s).sum(axis=0) for s in range(len(cells)) if segment in (None, s)]
    lift = cells.sum(axis=0) if segment is None else cells[segment]
    n, _, s1, s2 = _learned(sum(counts[1:], counts[0])[None, :], metric)[:, 0].tolist()
    if n <= 0.0:
        return 1.0
    totals = (lift[1 + metric.number] * (metric.unit / metric.scale)).astype(np.float64)
    return crowding(lift[0].astype(np.float64), totals, s2 / n - (s1 / n) ** 2)


def timeline(found: Gathered) -> Timeline:
    """What was gathered, as numbers for people."""
    experiment = found.experiment
    metrics = sorted((m for m in experiment.metrics if m.live), key=lambda m: not m.primary)
    series = [
        one
        for s, segment in enumerate(found.segments)
        for one in _series(found, s, segment, metrics, best(found) if len(found.segments) == 1 else None)
    ]
    lifts = [
        replace(
            lift_of(metric, "", cells, counts, (period.start_ms, period.end_ms), sides(experiment, metric, since)),
            buckets=None,
        )
        for period, cells, counts, since in found.days
        for metric in metrics
        if cells[1, 0].any()
    ]
    return Timeline(
        experiment.name, experiment.primary.id, found.kept_from_ms, found.stale, tuple(found.periods), tuple(series),
        tuple(lifts),
    )  # fmt: skip


def _series(
    found: Gathered, s: int, segment: str, metrics: Sequence[Metric], chances: Floats | None
) -> Iterator[Series]:
    counts = found.counts[:, s]
    drawn = counts[:, :, POLICY]
    share = np.divide(drawn, drawn.sum(axis=1, keepdims=True), out=np.zeros(drawn.shape), where=drawn > 0)
    odds = np.divide(found.odds[:, s], drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
    for k, arm in enumerate(found.experiment.arms):
        for name, group in GROUP_NAMES:
            if not counts[:, k, group].any():
                continue
            for metric in metrics:
                n, rewarded, total, squares = _told(counts[:, k], metric, group)
                cost = float(costs_of(found.experiment, metric)[k])
                total, squares = total - cost * n, squares - 2.0 * cost * total + cost * cost * n
                policy = group == POLICY
                yield Series(
                    segment, arm.id, metric.id, name, n.tolist(), rewarded.tolist(), total.tolist(), squares.tolist(),
                    share[:, k].tolist() if policy else [], odds[:, k].tolist() if policy else [],
                    chances[:, k].tolist() if policy and metric.primary and chances is not None else [],
                )  # fmt: skip


def _told(counts: Ints, metric: Metric, group: int) -> tuple[Ints, Ints, Floats, Floats]:
    """Trials, rewarded, sum and sum of squares in the metric's own unit; counts [..., .]."""
    at = count_offset(metric.number, group)
    squares = counts[..., at + SQUARE_HIGH].astype(np.float64) * 2.0**32 + counts[..., at + SQUARE_LOW]
    total = counts[..., at + TOTAL].astype(np.float64) * metric.unit
    return counts[..., group], counts[..., at + REWARDED], total, squares * metric.unit**2


def _learned(counts: Ints, metric: Metric) -> Floats:
    """f8[4, ...]: n, rewarded, s1, s2 of what teaches, normalised; counts [..., .]."""
    parts = [np.array(_told(counts, metric, group), np.float64) for group in (POLICY, HISTORY)]
    sums: Floats = parts[0] + parts[1]
    sums[2] /= metric.scale
    sums[3] /= metric.scale**2
    return sums


def best(found: Gathered) -> Floats:
    """f8[P,K]: what was believed by the end of each period to be the chance that an arm is the best, over all traffic.

    Asked of the arms that were shown before and still are shown later, or may be; nan for others, and while it is too early.
    """
    metric, arms = found.experiment.primary, found.experiment.arms
    sums = _learned(found.before[0] + found.counts[:, 0].cumsum(axis=0), metric)
    shown = _learned(found.counts[:, 0], metric)[0] > 0.0
    shown |= np.array([arm.state == "active" for arm in arms])
    later = np.logical_or.accumulate(shown[::-1], axis=0)[::-1]
    out = np.full(sums.shape[1:], np.nan)
    for p in range(len(out)):
        n, rewarded, s1, s2 = (np.ascontiguousarray(column[p]) for column in sums)
        n = np.maximum(n, rewarded)
        which = np.flatnonzero((n > 0.0) & later[p])
        if which.size > (len(arms) > 1) and not early(n[which], rewarded[which]):
            slot = np.array([column.sum() for column in (n, rewarded, s1, s2)])
            out[p, which] = summary(
                thinned(Seen(n, s1, s2, slot, found.experiment.costs), found.crowding), span_of(metric), which
            ).best
    return out
