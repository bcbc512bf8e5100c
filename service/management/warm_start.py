"""Warm start: what was learned before Lever, appended to the log as history rows.

A history row is claimed as a deferred decision is, by the file's digest and the row's number: the claim, its trial and
its reward are one step, so a file sent again, or again after a crash half-way, counts once. (A watermark would
forget the file after a day.) History teaches, is reported apart, and is no part of any evaluation.
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from bandits.layout import HISTORY, RETRACTION
from service.analysis.log_table import entries
from service.errors import InvalidError, PreconditionError
from service.experiment.compiled import Experiment
from service.experiment.features.registry import TYPES
from service.experiment.metric import Metric
from service.experiment.spec import DAY_MS
from service.management.verify import complete
from service.serving.rewarder import widened
from service.store import rows as layout
from service.store.contract import Act, Aggregate, Claim, Entry, Outcome, Store
from service.store.entries import rows_of
from service.text.csv_format import Format
from service.text.csv_table import Table, read

REQUIRED = ("arm", "reward")
_OPTIONAL = ("metric", "segment", "time")
_STEP = 500  # claims of one call
_KEEP_MS = 400 * DAY_MS  # how long a file is known
_EARLIEST_MS = 946_684_800_000  # the year 2000
_GRAINS = 16  # times of history are kept to a sixteenth of their age, or finer

Ints = NDArray[np.int64]


class Way(enum.StrEnum):
    """What to do with a file of history."""

    TEACH = "teach"
    JUDGE = "judge"  # and write nothing
    UNDO = "undo"  # take back what it taught


@dataclass(frozen=True, slots=True)
class Warmed:
    """What became of a file: rows that were taken, rows for which nothing changed, values that no feature declares."""

    applied: int
    repeated: int
    rewarded: int
    unknown: int


@dataclass(frozen=True, slots=True)
class History:
    """A checked file: n rows ready to be claimed."""

    rows: layout.Rows  # reward rows
    value: Ints  # in units of the row's metric
    unknown: int


def warm_start(
    store: Store,
    uid: str,
    experiment: Experiment,
    text: str,
    now_ms: int,
    form: Format | None = None,
    judge: bool = False,
) -> Warmed:
    """Append a history file, or only `judge` it. InvalidError, by row, before anything is written. UnavailableError: send it again."""
    history = parse(experiment, text, now_ms, form or Format())
    rewarded = int((history.value != 0).sum())
    if judge:
        return Warmed(len(history.rows), 0, rewarded, history.unknown)
    outcomes: Counter[Outcome] = Counter()
    for start in range(0, len(history.rows), _STEP):
        places = range(start, min(start + _STEP, len(history.rows)))
        outcomes.update(store.claim(uid, [_claim(experiment, history, place, now_ms) for place in places]))
    if set(outcomes) - {Outcome.APPLIED, Outcome.DUPLICATE}:
        raise PreconditionError(f"the store refused rows: {dict(outcomes)}")
    return Warmed(outcomes[Outcome.APPLIED], outcomes[Outcome.DUPLICATE], rewarded, history.unknown)


def undo(store: Store, uid: str, experiment: Experiment, text: str, now_ms: int, form: Format | None = None) -> Warmed:
    """Take back what a file taught: its rows leave sums and records as they came, so that it can be taught again.

    The rows are read from the log, as the times of history depend on when it was taught. PreconditionError where the
    log does not reach back so far, or a restore has ended what was before it. UnavailableError: send it again.
    """
    history = parse(experiment, text, now_ms, form or Format())
    log = list(entries(store, uid))
    taught = _taught(log, _file_number(text, form or Format()))
    missing = len(history.rows) - len(taught)
    if missing and not complete(log):
        raise PreconditionError(
            f"the log no longer has {missing:,} of the file's rows: they cannot be taken back", "LOG_TRIMMED"
        )
    outcomes: Counter[Outcome] = Counter()
    counters = sorted(taught)
    for start in range(0, len(counters), _STEP):
        step = [_forgetting(experiment, n, *taught[n], now_ms) for n in counters[start : start + _STEP]]
        outcomes.update(store.claim(uid, widened(step)))
    if outcomes[Outcome.LATE]:
        raise PreconditionError(
            "the experiment was restored after this file was taught: its records are gone", "RESTORED"
        )
    rewarded = int((history.value != 0).sum())
    return Warmed(outcomes[Outcome.APPLIED], outcomes[Outcome.DUPLICATE] + missing, rewarded, history.unknown)


def _taught(log: Sequence[Entry], prefix: int) -> dict[int, tuple[bytes, int]]:
    """By number: the newest row of the log that taught each row of a file, and its metric."""
    found: dict[int, tuple[bytes, int]] = {}
    for entry in log:
        if not entry.rewards or entry.late:
            continue
        packed = rows_of(entry)
        for place in np.flatnonzero((packed["prefix"] == prefix) & ((packed["flags"] & HISTORY) != 0)).tolist():
            if entry.totals[place][2] == 1:
                row = packed[place]
                found[int(row["counter"])] = (row.tobytes(), int(row["metric"]))
    return found


def _forgetting(experiment: Experiment, counter: int, row: bytes, metric: int, now_ms: int) -> Claim:
    prefix, _, version, *_ = layout.HEAD_STRUCT.unpack_from(row)
    return Claim(
        prefix=prefix, counter=counter, time=0, row=layout.flagged(row, RETRACTION), metric=metric, value=0,
        aggregate=Aggregate.FIRST, event=b"", deadline=now_ms + DAY_MS, expires=now_ms + _KEEP_MS, deferred=True, limit=0,
        act=Act.FORGET, moves=experiment.moved(metric, version),
    )  # fmt: skip


def parse(experiment: Experiment, text: str, now_ms: int, form: Format | None = None) -> History:
    """Read and judge a whole file. Columns: arm, reward; metric, segment, time (else now); features."""
    form = form or Format()
    declared = experiment.spec.features
    names = [name for name, feature in declared.items() if TYPES[feature.type].cell != "number"]
    table = read(text, REQUIRED, form, ("arm", *_OPTIONAL, *names))
    table.unknown((*REQUIRED, *_OPTIONAL, *declared))
    out = np.zeros(table.rows, layout.reward_dtype(experiment.columns - 1))
    out["arm"] = table.codes("arm", [arm.id for arm in experiment.arms], "arm")
    time = _times(table, now_ms)
    out["time"] = coarse(time, now_ms)
    metric, value = _rewards(table, experiment)
    given = {name: TYPES[declared[name].type].cells(table, name) for name in table.columns if name in declared}
    if "segment" in table.columns:
        out["segment"] = table.codes("segment", experiment.segments.ids, "segment")
    table.problems.check()
    if "segment" not in table.columns:
        out["segment"] = experiment.segments.match_columns(given, table.rows)
    encoded = experiment.encoder.encode_columns(given, table.rows)
    out["x"] = encoded.x[:, 1:]
    out["prefix"] = _file_number(text, form)
    out["counter"], out["version"] = np.arange(table.rows), experiment.version
    out["flags"], out["propensity"] = HISTORY, np.nan  # nobody knows it
    out["metric"] = np.where(value == 0, layout.NO_METRIC, metric)
    return History(out, value, encoded.unknown)


def _file_number(text: str, form: Format) -> int:
    """What tells this file from others: how its lines end makes none, what its columns are taken for does."""
    data = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    if form.changes_meaning():
        data += b"\0" + msgspec.json.encode(msgspec.structs.replace(form, delimiter=""), order="sorted")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def coarse(time: Ints, now_ms: int) -> Ints:
    """Times rounded down to a power of two below a sixteenth of their age.

    Old buckets are as wide as that anyhow; without it, years of history would open thousands of fine ones at once.
    """
    grain = np.maximum((now_ms - time) // _GRAINS, 1)
    width = np.int64(1) << np.floor(np.log2(grain)).astype(np.int64)
    return time - time % width


def _claim(experiment: Experiment, history: History, place: int, now_ms: int) -> Claim:
    row = history.rows[place]
    metric = int(row["metric"])
    limit = 0 if metric == layout.NO_METRIC else experiment.metrics[metric].limit
    moves = experiment.moved(metric, experiment.version)
    return Claim(
        # Claims of history are filed under the day 0, whatever time a row is given: the same file, the same claims.
        prefix=int(row["prefix"]), counter=int(row["counter"]), time=0, row=row.tobytes(), metric=metric,
        value=int(history.value[place]), aggregate=Aggregate.FIRST, event=b"", deadline=now_ms + DAY_MS,
        expires=now_ms + _KEEP_MS, deferred=True, limit=limit, moves=moves,
    )  # fmt: skip


def _times(table: Table, now_ms: int) -> Ints:
    if "time" not in table.columns:
        return np.full(table.rows, now_ms, np.int64)
    time = table.times("time")
    for index in np.flatnonzero(time > now_ms).tolist():
        table.problems.add(index, "time", "is in the future")
    for index in np.flatnonzero((time < _EARLIEST_MS) & (time != -1)).tolist():
        table.problems.add(index, "time", "is before the year 2000")
    return np.clip(time, _EARLIEST_MS, now_ms)


def _rewards(table: Table, experiment: Experiment) -> tuple[Ints, Ints]:
    """Metric and total of each row, the total in the metric's units; 0 is a trial without a reward."""
    names = list(experiment.metric_numbers)
    metric = np.full(table.rows, experiment.primary.number, np.int64)
    if "metric" in table.columns:
        metric = np.array([experiment.metric_numbers[n] for n in names], np.int64)[
            table.codes("metric", names, "metric")
        ]
    value = np.zeros(table.rows, np.int64)
    for index, total in enumerate(table.numbers("reward").tolist()):
        if total and not math.isnan(total):
            try:
                value[index] = _units(experiment.metrics[int(metric[index])], total)
            except InvalidError as error:
                table.problems.add(index, "reward", error.violations[0].message)
    return metric, value


def _units(metric: Metric, total: float) -> int:
    """A trial's total in units; that of a metric that sums may be that of several rewards."""
    if metric.floored and total < 0:
        raise InvalidError.field("value", f'must not be negative for the metric "{metric.id}"')
    units = round(total / metric.unit)
    if metric.aggregate is Aggregate.SUM and abs(units) <= metric.limit and (total > 0 or metric.minimum < 0):
        return units
    return metric.units(total)
